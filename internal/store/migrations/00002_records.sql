-- +goose Up

-- The number of the newest change. Whoever writes takes the next ones from here, in
-- the transaction that writes, so numbers have no gaps and come in the order of the
-- commits.
CREATE TABLE change_head (
    one    BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    number BIGINT NOT NULL
);

INSERT INTO change_head (one, number) VALUES (1, 0);

-- What there is: definitions, people, keys, values.
CREATE TABLE records (
    kind     TEXT   NOT NULL,
    id       TEXT   NOT NULL,
    body     BYTEA  NOT NULL, -- JSON, nothing secret in it
    sealed   BYTEA,           -- what is secret in it
    seal     BIGINT NOT NULL, -- the id of the key that it is sealed with; 0 without sealed
    revision BIGINT NOT NULL, -- the number of the change that wrote it
    version  BIGINT NOT NULL, -- the number of the newest change that said so
    created  BIGINT NOT NULL, -- ms since 1970, by the clock of the database
    changed  BIGINT NOT NULL,
    author   TEXT   NOT NULL, -- the subject of whoever wrote it
    PRIMARY KEY (kind, id)
);

CREATE UNIQUE INDEX records_by_revision ON records (revision);
CREATE INDEX records_by_seal ON records (seal) WHERE sealed IS NOT NULL;

-- The newest changes.
CREATE TABLE change_log (
    number BIGINT NOT NULL PRIMARY KEY,
    kind   TEXT   NOT NULL,
    id     TEXT   NOT NULL,
    gone   BIGINT NOT NULL, -- 1: it was removed
    at     BIGINT NOT NULL, -- ms since 1970
    author TEXT   NOT NULL
);
