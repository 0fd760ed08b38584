package store

import (
	"context"
	"database/sql"
	"time"
)

// write runs f in one transaction: all that it does is kept, or nothing of it. lock,
// when it is not 0, is one that nobody else has meanwhile.
func (s *Store) write(ctx context.Context, what string, lock int64, f func(context.Context, *sql.Tx) error) error {
	return s.writeIn(ctx, writeWithin, what, lock, f)
}

func (s *Store) writeIn(ctx context.Context, within time.Duration, what string, lock int64, f func(context.Context, *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	committing, err := s.writeOnce(ctx, lock, f)
	if s.engine == postgresEngine && !committing && ctx.Err() == nil && connectionLost(err) {
		// The connection was one from before the database went away and came back.
		committing, err = s.writeOnce(ctx, lock, f)
	}
	if committing && err != nil {
		err = &unsure{err}
	}
	return s.explain(what, err)
}

func (s *Store) writeOnce(ctx context.Context, lock int64, f func(context.Context, *sql.Tx) error) (committing bool, err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	if err = s.first(ctx, tx, lock); err == nil {
		err = f(ctx, tx)
	}
	if err != nil {
		_ = tx.Rollback() // what cannot be rolled back is gone with its connection
		return false, err
	}
	return true, tx.Commit()
}

func (s *Store) first(ctx context.Context, tx *sql.Tx, lock int64) error {
	if s.engine != postgresEngine {
		return nil // one connection writes, and nobody else has the file
	}
	if _, err := tx.ExecContext(ctx, beginWrite); err != nil || lock == 0 {
		return err
	}
	_, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", lock)
	return err
}

// read runs f in a transaction that sees one moment of the store, whatever is
// written meanwhile.
func (s *Store) read(ctx context.Context, what string, f func(context.Context, *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	err := s.readOnce(ctx, f)
	if s.engine == postgresEngine && ctx.Err() == nil && connectionLost(err) {
		err = s.readOnce(ctx, f)
	}
	return s.explain(what, err)
}

func (s *Store) readOnce(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	tx, err := s.reads.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return err
	}
	err = f(ctx, tx)
	_ = tx.Rollback() // nothing was written
	return err
}

// each calls f for each row, until it fails.
func each(ctx context.Context, tx *sql.Tx, f func(*sql.Rows) error, query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err has said what there is to say
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
