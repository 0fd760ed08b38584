package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/jackfield-dev/jackfield"
)

// Backup writes a copy of the SQLite database of one moment, while everything goes
// on. The file must not be there, and appears when it is complete. A PostgreSQL
// database has better tools: Invalid.
func (s *Store) Backup(ctx context.Context, path string) error {
	if s.engine != sqliteEngine {
		return jackfield.Errorf(jackfield.Invalid, "the store is a PostgreSQL database; back it up with pg_dump, or as your database team does")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return jackfield.Errorf(jackfield.Invalid, "cannot write the backup: %w", err)
	}
	if _, err = os.Lstat(path); err == nil {
		return jackfield.Errorf(jackfield.Conflict, "there is a file %s already; choose another name for the backup", path)
	}
	part := path + ".part"
	if err = s.copyTo(ctx, part); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		_ = os.Remove(part) // it may not be there
		return jackfield.Errorf(jackfield.Unavailable, "cannot write the backup: %w", err)
	}
	return nil
}

func (s *Store) copyTo(ctx context.Context, part string) error {
	// SQLite takes an empty file, and leaves it the mode.
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	_, err = s.reads.ExecContext(ctx, "VACUUM INTO $1", part)
	return errors.Join(err, f.Sync(), f.Close())
}

// Restore makes a backup the database of a data directory. It is checked first;
// Conflict when a gateway runs there, or a database is there. With force that one is
// set aside under another name, which is returned.
func Restore(ctx context.Context, dir, from string, force bool) (aside string, err error) {
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return "", jackfield.Errorf(jackfield.Unavailable, "cannot make the data directory: %w; choose another with --data", err)
	}
	lock, err := lockDir(ctx, dir)
	if err != nil {
		return "", err
	}
	defer func() { _ = unlock(lock) }() // it ends with the process at the latest
	path := filepath.Join(dir, file)
	for _, there := range []string{path, path + "-wal"} {
		if info, gone := os.Lstat(there); gone == nil && info.Size() > 0 && !force {
			return "", jackfield.Errorf(jackfield.Conflict, "there is a database already: %s; move it away first", there)
		}
	}
	part := path + ".restoring"
	defer removeAll(part)
	removeAll(part)
	if err = copyFile(part, from); err != nil {
		return "", jackfield.Errorf(jackfield.Invalid, "cannot read the backup: %w", err)
	}
	if err = checkBackup(ctx, part, from); err != nil {
		return "", err
	}
	back := func() error { return nil }
	if force {
		aside, back, err = setAside(path, time.Now())
	}
	if err == nil {
		if err = os.Rename(part, path); err != nil {
			err = errors.Join(err, back())
		}
	}
	if err = errors.Join(err, syncDir(dir)); err != nil {
		return "", jackfield.Errorf(jackfield.Unavailable, "cannot put the backup in place: %w", err)
	}
	return aside, nil
}

// setAside renames a database, when there is one, and says to what, and how it comes
// back. It goes before what it has beside it: a log without its database is noticed,
// and a database without its log would look whole.
func setAside(path string, now time.Time) (aside string, back func() error, err error) {
	name := path + ".replaced-" + now.UTC().Format("20060102-150405.000")
	var moved []string
	back = func() error {
		var all error
		for _, end := range slices.Backward(moved) {
			all = errors.Join(all, os.Rename(name+end, path+end))
		}
		return all
	}
	for _, end := range []string{"", "-wal", "-shm", "-journal"} {
		switch err := os.Rename(path+end, name+end); {
		case err == nil:
			moved = append(moved, end)
			aside = name
		case !errors.Is(err, fs.ErrNotExist):
			return "", nil, errors.Join(err, back())
		}
	}
	return aside, back, nil
}

// removeAll removes a database that was never used.
func removeAll(path string) {
	for _, end := range []string{"", "-wal", "-shm", "-journal"} {
		_ = os.Remove(path + end) // most of them are not there
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was only read
	if info, bad := in.Stat(); bad != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return errors.Join(bad, fmt.Errorf("%s is not a file with something in it", from))
	}
	if _, err = os.Stat(from + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has a log beside it, so it is no backup but a database in use or left by a kill; make a backup with `jackfield backup`, or copy both into the data directory by hand", from)
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// checkBackup looks at the copy, and names what it was copied from.
func checkBackup(ctx context.Context, path, from string) error {
	db, err := sql.Open("sqlite", dsn(path, "_pragma=query_only(1)"))
	if err == nil {
		err = errors.Join(complete(ctx, db, from), db.Close())
	}
	if err == nil {
		return nil
	}
	if own, ok := errors.AsType[*jackfield.Error](err); ok {
		return own
	}
	return jackfield.Errorf(jackfield.Invalid, "%s is damaged or no backup (%w); take another", from, err)
}

func complete(ctx context.Context, db *sql.DB, from string) error {
	if err := examine(ctx, db, from); err != nil {
		return err
	}
	var mark int
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&mark); err != nil {
		return err
	}
	if mark != application {
		return jackfield.Errorf(jackfield.Invalid, "%s is no backup of a gateway", from)
	}
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return &damage{verdict}
	}
	schema, err := provider(goose.DialectSQLite3, db)
	if err != nil {
		return err
	}
	has, knows, err := schema.GetVersions(ctx)
	if err == nil && has > knows {
		err = jackfield.Errorf(jackfield.Invalid, "%s is of a newer Jackfield (its form is %d, this one knows %d); restore it with that one", from, has, knows)
	}
	return err
}
