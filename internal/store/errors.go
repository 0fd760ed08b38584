package store

import (
	"context"
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5/pgconn"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/jackfield-dev/jackfield"
)

// unsure is a commit whose answer never came.
type unsure struct{ error }

func (u *unsure) Unwrap() error { return u.error }

// explain makes err an error for everybody: what could not be done, and what to do.
// The cause goes to the log, since it may name hosts and files.
func (s *Store) explain(what string, err error) error {
	if err == nil {
		s.troubles.over(what)
		return nil
	}
	if own, ok := errors.AsType[*jackfield.Error](err); ok {
		return own
	}
	code, why := s.reason(err)
	if errors.As(err, new(*unsure)) && s.engine == postgresEngine {
		why += "; it is not known whether it was kept, so look before you try again"
	}
	if s.troubles.news(what, why) {
		s.log.Warn("the store failed", slog.String("what", what), slog.Any("error", err))
	}
	return &jackfield.Error{Code: code, Message: what + ": " + why, Err: err}
}

func (s *Store) reason(err error) (jackfield.Code, string) {
	switch {
	case errors.Is(err, context.Canceled):
		return jackfield.Unavailable, "whoever asked has left"
	case errors.Is(err, context.DeadlineExceeded):
		return jackfield.Unavailable, s.engine.where + " did not answer in time; try again"
	case s.engine == sqliteEngine:
		return sqliteReason(err)
	}
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return jackfield.Unavailable, "the database cannot be reached; it is asked again with each try, and the log says more"
	}
	return postgresReason(e.Code)
}

func sqliteReason(err error) (jackfield.Code, string) {
	switch sqliteCode(err) {
	case sqlite3.SQLITE_FULL:
		return jackfield.Unavailable, "the disk is full; make room and try again"
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return jackfield.Unavailable, "the database in the data directory is damaged; stop the gateway and restore a backup"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return jackfield.Unavailable, "another program has the database in the data directory open; end that and try again"
	case sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_MISMATCH:
		return jackfield.Internal, "something is wrong with the gateway; the log says more"
	}
	return jackfield.Unavailable, "the data directory cannot be read or written; the log says more"
}

func postgresReason(code string) (jackfield.Code, string) {
	switch code {
	case "53100":
		return jackfield.Unavailable, "the disk of the database is full; make room and try again"
	case "53300":
		return jackfield.Unavailable, "the database has no connection left; raise its limit, or use a pooler"
	case "25006":
		return jackfield.Unavailable, "the database is read-only, as a standby is; point the address of the store at the primary"
	case "3D000":
		return jackfield.Unavailable, "there is no such database; make it, or mend the address of the store"
	case "42501":
		return jackfield.Unavailable, "the database does not allow its user to do that; make the user the owner of the database"
	case "55P03":
		return jackfield.Unavailable, "somebody else keeps a lock in the database; try again"
	}
	switch code[:min(2, len(code))] {
	case "28":
		return jackfield.Unavailable, "the database refuses the user or the password; mend the address of the store"
	case "22", "23", "42":
		return jackfield.Internal, "something is wrong with the gateway; the log says more"
	}
	return jackfield.Unavailable, "the database does not work now; try again, and see the log"
}
