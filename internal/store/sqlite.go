package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/jackfield-dev/jackfield"
)

const (
	file = "jackfield.db"

	// application marks the file as ours (PRAGMA application_id): "JckF".
	application = 0x4a636b46

	readers = 4 // connections that read, beside the one that writes
)

// knowNow teaches SQLite the clock that migrations teach PostgreSQL.
var knowNow = sync.OnceValue(func() error {
	return sqlite.RegisterScalarFunction("now_ms", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		return time.Now().UnixMilli(), nil
	})
})

func (s *Store) openSQLite(ctx context.Context, dir string) error {
	s.engine = sqliteEngine
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return jackfield.Errorf(jackfield.Unavailable, "cannot make the data directory: %w; choose another with --data", err)
	}
	if err := knowNow(); err != nil {
		return err
	}
	var err error
	if s.lock, err = lockDir(ctx, dir); err != nil {
		return err
	}
	s.path = filepath.Join(dir, file)
	if err = look(ctx, s.path); err != nil {
		return err
	}
	return s.begin(ctx)
}

// look checks a file that is there, before anything is written to it.
func look(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return strayLog(path)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return jackfield.Errorf(jackfield.Invalid, "%s is not a file; choose another data directory with --data", path)
	case info.Size() == 0:
		return nil // we were killed before the first write
	}
	err = examineAs(ctx, path, "mode=ro") // which leaves the log of a killed process as it is, too
	if code := sqliteCode(err); code == sqlite3.SQLITE_READONLY || code == sqlite3.SQLITE_CANTOPEN {
		err = examineAs(ctx, path, "_pragma=query_only(1)") // what a kill left half done has to be undone first
	}
	if damaged(err) {
		return damagedError(path, err)
	}
	return err
}

func examineAs(ctx context.Context, path, how string) error {
	db, err := sql.Open("sqlite", dsn(path, how))
	if err != nil {
		return err
	}
	return errors.Join(examine(ctx, db, path), db.Close())
}

// strayLog refuses to begin a new file beside the log of another: SQLite would take
// it for its own, and to whom it belongs it may be half of what there was.
func strayLog(path string) error {
	if _, err := os.Stat(path + "-wal"); err != nil {
		return nil
	}
	return jackfield.Errorf(jackfield.Invalid, "%s is gone, but its log %s-wal is there; put the file back, or move the log away as well", path, path)
}

// damagedError says that the file is beyond use. It holds the truth, so nobody but
// a person decides what becomes of it.
func damagedError(path string, err error) error {
	return jackfield.Errorf(jackfield.Invalid,
		"%s is damaged (%w); nothing was changed: move it away, with its -wal and -shm, and put a backup in its place with `jackfield restore`, or begin anew without", path, err)
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
func (s *Store) begin(ctx context.Context) error {
	// SQLite gives the files beside it the same mode.
	f, err := os.OpenFile(s.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err = errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return err
	}
	always := []string{"_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)", "_pragma=foreign_keys(1)"}
	if s.db, err = sql.Open("sqlite", dsn(s.path, append(always, "_txlock=immediate")...)); err != nil {
		return err
	}
	s.db.SetMaxOpenConns(1)
	if err = s.mark(ctx); err != nil {
		return err
	}
	if err = s.migrate(ctx); err != nil {
		return err
	}
	if s.reads, err = sql.Open("sqlite", dsn(s.path, always...)); err != nil {
		return err
	}
	s.reads.SetMaxOpenConns(readers)
	s.reads.SetMaxIdleConns(readers)
	return nil
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

func (d *damage) Error() string { return d.what }

// damaged reports whether the file is beyond use.
func damaged(err error) bool {
	if errors.As(err, new(*damage)) {
		return true
	}
	code := sqliteCode(err)
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

// sqliteCode is what SQLite says went wrong; 0: it was not SQLite.
func sqliteCode(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff // the rest says where
}
