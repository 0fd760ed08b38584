package store

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/jackfield-dev/jackfield"
)

const (
	dialWithin     = 5 * time.Second
	openAtMost     = 8 // connections to the database
	openIdle       = 4
	connectionLife = 30 * time.Minute
	migrateAgain   = 200 * time.Millisecond // while another process migrates
)

// beginWrite begins each transaction that writes. A process that is gone without a
// word, with its machine, must not keep all others waiting until the system notices,
// which takes hours.
const beginWrite = "SELECT set_config('idle_in_transaction_session_timeout', '15s', true), set_config('lock_timeout', '10s', true)"

// Locks are numbers. They are kept by a transaction, never by a connection, since
// poolers give that to somebody else in between.
const (
	lockMigrations = application<<8 + iota
	lockCatalog
)

func (s *Store) openPostgres(ctx context.Context, o Options) error {
	s.engine = postgresEngine
	config, err := parseDSN(o.DSN)
	if err != nil {
		return err
	}
	switch o.HintDSN {
	case "off":
	case "":
		s.listens = config.Copy()
	default:
		if s.listens, err = parseDSN(o.HintDSN); err != nil {
			return err
		}
	}
	s.db = stdlib.OpenDB(*config)
	s.db.SetMaxOpenConns(openAtMost)
	s.db.SetMaxIdleConns(openIdle)
	s.db.SetConnMaxLifetime(connectionLife)
	s.reads = s.db
	var encoding string
	if err := s.db.QueryRowContext(ctx, "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()").Scan(&encoding); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return jackfield.Errorf(jackfield.Invalid, "the database has the encoding %s, in which not every name can be written; make one with ENCODING 'UTF8'", encoding)
	}
	return s.migrateAlone(ctx)
}

// parseDSN reads the address of a database. What is wrong with one is not quoted: it
// has a password in it.
func parseDSN(dsn jackfield.Secret) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(dsn.Reveal())
	if err != nil {
		return nil, jackfield.Errorf(jackfield.Invalid, "the address of the store cannot be read; write postgres://USER:PASSWORD@HOST:5432/DATABASE")
	}
	if !strings.Contains(dsn.Reveal(), "default_query_exec_mode") {
		// Nothing is prepared: behind a pooler the next statement may come to another
		// connection, which has not heard of it.
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = dialWithin
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "jackfield"
	}
	return config, nil
}

// migrateAlone migrates while no other process does.
func (s *Store) migrateAlone(ctx context.Context) error {
	for {
		done, err := s.tryMigrate(ctx)
		if done || err != nil {
			return err
		}
		timer := time.NewTimer(migrateAgain/2 + rand.N(migrateAgain)) //nolint:gosec // it only spreads who comes when
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// tryMigrate migrates unless another process does. A transaction holds the lock:
// poolers leave it its connection, and it ends with its process. Nobody waits for the
// lock in the database, where whoever waits has a connection of the pooler that the
// one with the lock may need. For the migrations run on another connection: after a
// kill the last of them may still be ending when the next process has the lock, and
// fail it; then that one looks again.
func (s *Store) tryMigrate(ctx context.Context) (done bool, err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }() // there is nothing in it but the lock
	if err = tx.QueryRowContext(ctx, "SELECT pg_try_advisory_xact_lock($1)", int64(lockMigrations)).Scan(&done); err != nil || !done {
		return false, err
	}
	if _, err = tx.ExecContext(ctx, "SELECT set_config('idle_in_transaction_session_timeout', '3min', true)"); err != nil {
		return false, err
	}
	if err = s.migrate(ctx); madeMeanwhile(err) {
		err = s.migrate(ctx)
	}
	if err != nil {
		return false, err
	}
	_, err = s.db.ExecContext(ctx, `CREATE OR REPLACE FUNCTION now_ms() RETURNS BIGINT LANGUAGE sql VOLATILE
		AS 'SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)'`)
	return err == nil, err
}

// madeMeanwhile reports whether err says that something is there already.
func madeMeanwhile(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "42P07" || e.Code == "23505") // duplicate_table, unique_violation
}

// connectionLost reports whether err says nothing but that the connection is gone.
func connectionLost(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(e.Code, "08") || strings.HasPrefix(e.Code, "57P")
	}
	return err != nil && !errors.As(err, new(*jackfield.Error)) && !errors.Is(err, sql.ErrNoRows)
}
