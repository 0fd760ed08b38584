package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/jackfield-dev/jackfield"
)

const (
	file = "jackfield.db"

	// application marks the file as ours (PRAGMA application_id): "JckF".
	application = 0x4a636b46

	openWithin = 30 * time.Second // with whatever has to be checked, recovered and migrated
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is the database of one data directory. All methods may be called
// concurrently.
type Store struct {
	db   *sql.DB
	lock *os.File

	// Moved is where a damaged file was moved to when a new one was begun; empty:
	// there was none.
	Moved string
}

// Open opens the database in the directory, and makes both when they are not
// there. Errors are *jackfield.Error: Conflict when another process has the
// directory, Invalid for a file that is not ours or is newer than we are, and
// Unavailable when the disk does not do what it should.
func Open(ctx context.Context, dir string) (*Store, error) {
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, jackfield.Errorf(jackfield.Unavailable, "cannot make the data directory: %w; choose another with --data", err)
	}
	lock, err := lockDir(ctx, dir)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, filepath.Join(dir, file))
	if err != nil {
		return nil, errors.Join(err, unlock(lock))
	}
	s.lock = lock
	return s, nil
}

func open(ctx context.Context, path string) (*Store, error) {
	s := &Store{}
	err := look(ctx, path)
	if damaged(err) {
		s.Moved, err = moveAside(path, time.Now())
	}
	if err == nil {
		err = s.begin(ctx, path)
	}
	if err == nil {
		return s, nil
	}
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
	}
	if jackfield.CodeOf(err) != jackfield.Internal {
		return nil, err
	}
	return nil, jackfield.Errorf(jackfield.Unavailable, "cannot open %s: %w", path, err)
}

// look checks a file that is there, before anything is written to it.
func look(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return jackfield.Errorf(jackfield.Invalid, "%s is not a file; choose another data directory with --data", path)
	case info.Size() == 0:
		return nil // we were killed before the first write
	}
	db, err := sql.Open("sqlite", dsn(path, "_pragma=query_only(1)"))
	if err != nil {
		return err
	}
	return errors.Join(examine(ctx, db, path), db.Close())
}

// examine tells a file of ours from a damaged one and from somebody else's.
func examine(ctx context.Context, db *sql.DB, path string) error {
	var mark, tables int
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&mark); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return err
	}
	if mark != application && (mark != 0 || tables != 0) {
		return jackfield.Errorf(jackfield.Invalid,
			"%s belongs to another program; choose another data directory with --data, or move the file away", path)
	}
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return &damage{verdict}
	}
	return nil
}

// begin opens the file for good.
func (s *Store) begin(ctx context.Context, path string) error {
	// SQLite gives the files beside it the same mode.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	s.db, err = sql.Open("sqlite", dsn(path,
		"_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)", "_pragma=foreign_keys(1)", "_txlock=immediate"))
	if err != nil {
		return err
	}
	s.db.SetMaxOpenConns(1) // one writer, and whoever reads reads at the start
	if err := s.mark(ctx); err != nil {
		return err
	}
	return s.migrate(ctx, path)
}

// mark makes a new file ours, before there is anything in it.
func (s *Store) mark(ctx context.Context) error {
	var is int
	if err := s.db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&is); err != nil || is == application {
		return err
	}
	_, err := s.db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", application))
	return err
}

// migrate brings the file to the newest form.
func (s *Store) migrate(ctx context.Context, path string) error {
	sources, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	schema, err := goose.NewProvider(goose.DialectSQLite3, s.db, sources)
	if err != nil {
		return err
	}
	has, knows, err := schema.GetVersions(ctx)
	if err != nil {
		return err
	}
	if has > knows {
		return jackfield.Errorf(jackfield.Invalid,
			"%s was written by a newer Jackfield (its form is %d, this one knows %d); run that one, choose another data directory with --data, or move the file away: servers are listed anew then",
			path, has, knows)
	}
	if has == knows {
		return nil
	}
	_, err = schema.Up(ctx)
	return err
}

// Close gives the directory back.
func (s *Store) Close() error { return errors.Join(s.db.Close(), unlock(s.lock)) }

// dsn is the address of the database with options.
func dsn(path string, options ...string) string {
	query := strings.Join(append([]string{"_pragma=busy_timeout(5000)"}, options...), "&")
	path = filepath.ToSlash(path)
	if filepath.VolumeName(path) != "" {
		path = "/" + path // C:/… is a path of a URL only with a slash before it
	}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: query}).String()
}

// damage is what SQLite finds wrong with a file that it can read.
type damage struct{ what string }

func (d *damage) Error() string { return "the file is damaged: " + d.what }

// damaged reports whether the file is beyond use.
func damaged(err error) bool {
	if errors.As(err, new(*damage)) {
		return true
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff // the rest says where
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

// moveAside makes room for a new file. The log of the old one goes with it: to the
// new one it would be poison.
func moveAside(path string, now time.Time) (to string, err error) {
	to = path + ".damaged-" + now.UTC().Format("20060102T150405Z")
	for _, part := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(path+part, to+part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return to, nil
}
