package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/pgtest"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// unavailable fails unless err says that the store is away, and nothing of where it
// is.
func unavailable(t *testing.T, what string, err error) {
	t.Helper()
	if jackfield.CodeOf(err) != jackfield.Unavailable || strings.Contains(err.Error(), "/tmp/") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%s: %v", what, err)
	}
}

// TestADatabaseThatIsAwayIsUnavailableAndComesBack: nobody has to do anything to the
// gateway.
func TestADatabaseThatIsAwayIsUnavailableAndComesBack(t *testing.T) {
	cluster := pgtest.Start(t)
	o := Options{DSN: jackfield.Secret(cluster.DSN(t))}
	s, listener := at(t, o), at(t, o)
	hints := hinted(t, listener)
	r := write(t, s, put("a", "1"))[0]
	for what, end := range map[string]func(testing.TB){"stopped": cluster.Stop, "killed": cluster.Kill} {
		end(t)
		_, err := s.Write(t.Context(), "ann", put("a", "lost"))
		unavailable(t, what+": Write", err)
		_, err = s.All(t.Context())
		unavailable(t, what+": All", err)
		_, err = s.Since(t.Context(), 0)
		unavailable(t, what+": Since", err)
		_, err = s.Seals(t.Context())
		unavailable(t, what+": Seals", err)
		unavailable(t, what+": Reseal", s.Reseal(t.Context(), r, []byte("x"), 1))
		unavailable(t, what+": Save", s.Save(t.Context(), full()))
		_, err = Open(t.Context(), o)
		unavailable(t, what+": Open", err)
		cluster.Start(t)

		if b := everythingIn(t, s); len(b.Records) != 1 || string(b.Records[0].Body) != "1" {
			t.Errorf("%s: %+v", what, b)
		}
		r = write(t, s, put("a", "1"))[0]
		until(t, hints, func() bool {
			b, err := listener.Since(t.Context(), 0)
			return err == nil && b.Head == r.Revision
		})
	}
	gapless(t, s)
	closed(t, s)
	if _, err := s.Write(t.Context(), "ann", put("a", "2")); err == nil {
		t.Error("a closed store took a write")
	}
}

// TestADatabaseThatIsKilledKeepsAllThatItAcknowledged kills PostgreSQL under eight
// writers.
func TestADatabaseThatIsKilledKeepsAllThatItAcknowledged(t *testing.T) {
	cluster := pgtest.Start(t)
	o := Options{DSN: jackfield.Secret(cluster.DSN(t))}
	stores := []*Store{at(t, o), at(t, o)}
	var mu sync.Mutex
	acknowledged := map[string]uint64{} // guarded by mu
	enough := make(chan struct{}, 100)
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	failed := 0 // guarded by mu
	for i := range 8 {
		writing.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				id := fmt.Sprint(i, "/", n)
				r, err := stores[i%2].Write(context.WithoutCancel(ctx), "ann", record.Write{Ref: server(id)})
				mu.Lock()
				if err == nil {
					acknowledged[id] = r[0].Revision
					if len(acknowledged)%100 == 0 {
						poke(enough)
					}
				} else {
					failed++
				}
				mu.Unlock()
				if err != nil {
					unavailable(t, id, err)
					select { // leave the machine to whoever starts it again
					case <-time.After(20 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			}
		})
	}
	for range 2 {
		<-enough
		cluster.Kill(t)
		cluster.Start(t)
		for len(enough) > 0 {
			<-enough
		}
		<-enough // they write again
	}
	stop()
	writing.Wait()
	there := replicaOf(everythingIn(t, stores[0]))
	for id, revision := range acknowledged {
		if there.records[server(id)].Revision != revision {
			t.Errorf("%s was acknowledged as %d: %+v", id, revision, there.records[server(id)])
		}
	}
	gapless(t, stores[1])
	if failed == 0 {
		t.Error("nobody noticed that it was killed")
	}
	t.Logf("%d acknowledged, %d failed, %d there", len(acknowledged), failed, len(there.records))
}

// TestAWriterThatHangsIsUnavailableForOthersAndChangesNothing: its machine is gone, say, and
// its connection still stands.
func TestAWriterThatHangsIsUnavailableForOthersAndChangesNothing(t *testing.T) {
	o := postgres(t)
	s, hung := at(t, o), at(t, o)
	tx, err := hung.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = tx.ExecContext(t.Context(), "SET LOCAL idle_in_transaction_session_timeout = '300ms'; UPDATE change_head SET number = 99"); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Write(short, "ann", put("a", ""))
	unavailable(t, "while it hangs", err)
	if r := write(t, s, put("a", "")); r[0].Revision != 1 { // the server ends what is idle too long
		t.Errorf("after it: %+v", r)
	}
	_ = tx.Rollback() // its connection is gone
	var idle, locks string
	err = s.write(t.Context(), "x", 0, func(ctx context.Context, tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT current_setting('idle_in_transaction_session_timeout'), current_setting('lock_timeout')").Scan(&idle, &locks)
	})
	if err != nil || idle != "15s" || locks != "10s" {
		t.Errorf("writes end after %q and %q, %v", idle, locks, err)
	}
}

// TestAFullDiskChangesNothing: the limit of pages gives what the disk would.
func TestAFullDiskChangesNothing(t *testing.T) {
	dir := t.TempDir()
	s := at(t, Options{Dir: dir})
	write(t, s, put("a", "1"))
	save(t, s, full())
	pages := count(t, s, "PRAGMA page_count")
	if _, err := s.db.ExecContext(t.Context(), fmt.Sprint("PRAGMA max_page_count = ", pages+2)); err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 100_000)
	for range 3 {
		_, err := s.Write(t.Context(), "ann", put("a", "2"), put("b", big))
		if jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(err.Error(), "disk is full") {
			t.Fatalf("Write: %v", err)
		}
		k := generation(1)
		k.Listings[0].Lists[0].Items = raws(`"` + big + `"`)
		if err = s.Save(t.Context(), k); jackfield.CodeOf(err) != jackfield.Unavailable {
			t.Fatalf("Save: %v", err)
		}
		if b := everythingIn(t, s); b.Head != 1 || len(b.Records) != 1 || string(b.Records[0].Body) != "1" {
			t.Fatalf("%+v", b)
		}
		same(t, load(t, s), full())
	}
	write(t, s, put("a", "3")) // what fits goes on
	if _, err := s.db.ExecContext(t.Context(), "PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	if r := write(t, s, put("b", big)); r[0].Revision != 3 {
		t.Errorf("with room again: %+v", r[0].Revision)
	}
	gapless(t, s)
}

func TestWhatIsWrongWithTheAddressIsSaidWithoutItsPassword(t *testing.T) {
	cluster := pgtest.Start(t)
	good := cluster.DSN(t)
	latin := cluster.Address("latin")
	cluster.SQL(t, good, "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
	old := cluster.DSN(t)
	closed(t, at(t, Options{DSN: jackfield.Secret(old)}))
	cluster.SQL(t, old, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)")
	cluster.SQL(t, good, "CREATE ROLE guest LOGIN PASSWORD 'hunter2'")
	for what, c := range map[string]struct {
		o    Options
		code jackfield.Code
		says string
	}{
		"no address":         {Options{DSN: "postgres://a:hunter2@[::1"}, jackfield.Invalid, "postgres://USER:PASSWORD@HOST"},
		"no address to hear": {Options{DSN: jackfield.Secret(good), HintDSN: "postgres://a:hunter2@x:port/db"}, jackfield.Invalid, "postgres://USER:PASSWORD@HOST"},
		"nobody there":       {Options{DSN: "postgres://a:hunter2@127.0.0.1:1/db"}, jackfield.Unavailable, "cannot be reached"},
		"no such database":   {Options{DSN: jackfield.Secret(cluster.Address("none"))}, jackfield.Unavailable, "no such database"},
		"no such user":       {Options{DSN: jackfield.Secret(strings.Replace(good, "postgres@", "nobody:hunter2@", 1))}, jackfield.Unavailable, "refuses the user"},
		"may do nothing":     {Options{DSN: jackfield.Secret(strings.Replace(good, "postgres@", "guest:hunter2@", 1))}, jackfield.Unavailable, "owner of the database"},
		"another encoding":   {Options{DSN: jackfield.Secret(latin)}, jackfield.Invalid, "LATIN1"},
		"a newer form":       {Options{DSN: jackfield.Secret(old)}, jackfield.Invalid, "newer Jackfield (its form is 99"},
		"read only":          {Options{DSN: jackfield.Secret(good + "&default_transaction_read_only=on")}, jackfield.Unavailable, "standby"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			_, err := Open(t.Context(), c.o)
			var own *jackfield.Error
			if !errors.As(err, &own) || own.Code != c.code || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestManyProcessesThatStartAtOnceMigrateOnce on a database with nothing in it.
func TestManyProcessesThatStartAtOnceMigrateOnce(t *testing.T) {
	o := postgres(t)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			s, err := Open(t.Context(), o)
			if err != nil {
				t.Error(err)
				return
			}
			_, err = s.Write(t.Context(), "ann", put("a", ""))
			if err = errors.Join(err, s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := len(gapless(t, at(t, o))); n != 6 {
		t.Errorf("%d changes", n)
	}
}

// older makes a file as the first form was, with something in it.
func older(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, file)
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, text := range []string{
		fmt.Sprintf("PRAGMA application_id = %d; PRAGMA journal_mode = wal", application),
		`CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, is_applied INTEGER NOT NULL,
			tstamp TIMESTAMP DEFAULT (datetime('now')))`,
		"INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (1, 1)",
		form1,
	} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	s := &Store{engine: sqliteEngine, db: db, reads: db}
	save(t, s, full())
}

func TestAFileOfTheFirstFormGoesOn(t *testing.T) {
	dir := t.TempDir()
	older(t, dir)
	s := at(t, Options{Dir: dir})
	same(t, load(t, s), full())
	save(t, s, generation(1))
	write(t, s, put("a", "1"))
	s = at(t, reopened(t, s, Options{Dir: dir}))
	if b := everythingIn(t, s); b.Head != 1 {
		t.Errorf("%+v", b)
	}
}

//go:embed testdata/form1.sql
var form1 string // the schema of the first form, as it was written then
