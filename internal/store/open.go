package store

import (
	"context"
	"database/sql"
	"embed"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"

	"github.com/jackfield-dev/jackfield"
)

// How long anything may take, whoever asked for it.
const (
	openWithin  = 2 * time.Minute // with whatever has to be checked, recovered and migrated
	writeWithin = 10 * time.Second
	writeEach   = 5 * time.Millisecond // more, for each of many records in one transaction
	readWithin  = time.Minute          // everything there is, from a slow disk or a far database
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options say where the store is.
type Options struct {
	// Dir is the data directory, with the SQLite database in it.
	Dir string
	// DSN is the address of a PostgreSQL database, postgres://…; when it is there,
	// nothing is kept in Dir.
	DSN jackfield.Secret
	// HintDSN is the address that hints of other processes are listened for at, for
	// when DSN leads through a pooler that knows no LISTEN. Empty: DSN. "off":
	// nowhere; other processes' changes are found by asking.
	HintDSN jackfield.Secret
	// Log takes the causes of failures, which errors leave out; nil: nothing does.
	Log *slog.Logger
}

// Store is a database. All methods may be called concurrently, and all errors are
// *jackfield.Error: Invalid for what no try will make right, Conflict with a
// *record.Conflict in the chain, Unavailable when the disk or the database does not
// do what it should.
type Store struct {
	engine   *engine
	db       *sql.DB // SQLite: the one connection that writes
	reads    *sql.DB // the same as db in PostgreSQL
	log      *slog.Logger
	troubles troubles
	keep     uint64 // how many entries of the log stay

	path string   // SQLite: of the file
	lock *os.File // SQLite: who has the directory

	listens *pgx.ConnConfig // PostgreSQL: where to listen for hints; nil: nowhere
	hearers hearers
}

// engine is what the two databases differ in, beside what they are asked when a
// transaction begins and ends.
type engine struct {
	name    string
	dialect goose.Dialect
	where   string // it is, in messages
}

var (
	sqliteEngine   = &engine{name: "sqlite", dialect: goose.DialectSQLite3, where: "the data directory"}
	postgresEngine = &engine{name: "postgres", dialect: goose.DialectPostgres, where: "the database"}
)

// Open opens the store, and makes it when it is not there. In a directory one
// process at a time has it: Conflict says which. What is damaged, not ours or newer
// than we are is Invalid, and left as it is.
func Open(ctx context.Context, o Options) (*Store, error) {
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	s := &Store{log: o.Log, keep: keepChanges}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	err := s.open(ctx, o)
	if err != nil {
		_ = s.Close() // what is wrong has been said
		return nil, s.explain("the store cannot be opened", err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) error {
	if o.DSN != "" {
		return s.openPostgres(ctx, o)
	}
	return s.openSQLite(ctx, o.Dir)
}

// Engine is the name of the database: sqlite or postgres.
func (s *Store) Engine() string { return s.engine.name }

// Close gives everything back.
func (s *Store) Close() error {
	var first error
	for _, db := range []*sql.DB{s.reads, s.db} {
		if db == nil {
			continue
		}
		if err := db.Close(); err != nil && first == nil {
			first = err
		}
	}
	if s.lock != nil {
		if err := unlock(s.lock); err != nil && first == nil {
			first = err
		}
	}
	return s.explain("the store cannot be closed", first)
}

func provider(dialect goose.Dialect, db *sql.DB) (*goose.Provider, error) {
	sources, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(dialect, db, sources)
}

// migrate brings the database to the newest form.
func (s *Store) migrate(ctx context.Context) error {
	schema, err := provider(s.engine.dialect, s.db)
	if err != nil {
		return err
	}
	has, knows, err := schema.GetVersions(ctx)
	if err != nil {
		return err
	}
	if has > knows {
		return jackfield.Errorf(jackfield.Invalid,
			"%s was written by a newer Jackfield (its form is %d, this one knows %d); run that one, or restore a backup of before", s.place(), has, knows)
	}
	if has == knows {
		return nil
	}
	_, err = schema.Up(ctx)
	return err
}

// place is what the database is called in messages for whoever runs the gateway.
func (s *Store) place() string {
	if s.path != "" {
		return s.path
	}
	return s.engine.where
}
