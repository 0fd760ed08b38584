-- The items of a list, once for all who see the same ones.
CREATE TABLE bodies (
    sum   BLOB NOT NULL PRIMARY KEY, -- SHA-256 of items
    items BLOB NOT NULL              -- a JSON array, each item as its server wrote it
);

-- What a server lists, for one audience.
CREATE TABLE lists (
    server      TEXT    NOT NULL,
    scope       TEXT    NOT NULL, -- app: everybody's; team:ID, user:ID
    kind        TEXT    NOT NULL, -- tools, prompts, resources, templates
    fingerprint TEXT    NOT NULL, -- of the definition that it was listed with
    fetched     INTEGER NOT NULL, -- ms since 1970
    ttl         INTEGER NOT NULL, -- ms that its server said it stays fresh
    told        INTEGER NOT NULL, -- 1: the server said so
    public      INTEGER NOT NULL, -- 1: the server said that everybody sees the same
    cut         TEXT    NOT NULL, -- why it is not complete; empty when it is
    sum         BLOB    NOT NULL REFERENCES bodies (sum),
    PRIMARY KEY (server, scope, kind)
);

CREATE INDEX lists_by_sum ON lists (sum);

-- What was learned of a server by speaking to it.
CREATE TABLE shapes (
    server       TEXT    NOT NULL PRIMARY KEY,
    fingerprint  TEXT    NOT NULL,
    transport    TEXT    NOT NULL,
    version      TEXT    NOT NULL, -- the protocol revision
    keeps_state  INTEGER NOT NULL, -- 1: for each connection
    capabilities BLOB    NOT NULL, -- JSON as the server wrote it; empty when it wrote none
    server_info  BLOB    NOT NULL, -- the same
    instructions TEXT    NOT NULL
);
