package store

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestMain(m *testing.M) {
	if does := os.Getenv(childVariable); does != "" {
		child(does)
	}
	goleak.VerifyTestMain(m)
}

func opened(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a test may have closed it
	return s
}

func closed(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func save(t *testing.T, s *Store, k catalog.Kept) {
	t.Helper()
	if err := s.Save(t.Context(), k); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, s *Store) catalog.Kept {
	t.Helper()
	k, bad, err := s.Load(t.Context())
	if err != nil || bad != nil {
		t.Fatalf("Load: %v, %v", err, bad)
	}
	return k
}

func raws(texts ...string) []wire.Raw {
	all := make([]wire.Raw, len(texts))
	for i, text := range texts {
		all[i] = wire.Raw(text)
	}
	return all
}

func listing(server string, scope jackfield.Scope, lists ...catalog.KeptList) catalog.KeptListing {
	return catalog.KeptListing{Server: jackfield.ServerID(server), Scope: scope, Lists: lists}
}

var noon = time.UnixMilli(1_800_000_000_123)

// full has something in every field.
func full() catalog.Kept {
	tools := catalog.KeptList{
		Kind: catalog.Tools, Fingerprint: "f1", Fetched: noon, TTL: 90 * time.Second, Told: true, Public: true, Cut: "more than 3 pages",
		Items: raws(`{"name":"a","n":9007199254740993,"x" : 1.50}`, "{\"name\":\"b\",\n\t\"d\":\"\\u00e9 é \u2028\"}"),
	}
	prompts := catalog.KeptList{Kind: catalog.Prompts, Fingerprint: "f1", Fetched: noon, Items: raws()}
	templates := catalog.KeptList{Kind: catalog.Templates, Fingerprint: "f2", Fetched: noon.Add(time.Hour), Items: raws(`{"uriTemplate":"x://{id}"}`)}
	return catalog.Kept{
		Listings: []catalog.KeptListing{
			listing("a", jackfield.App(), prompts, templates, tools),
			listing("a", jackfield.Team("t:1"), tools),
			listing("a", jackfield.User(""), tools),
			listing("a", jackfield.User("ann"), tools, prompts),
			listing("b c/d", jackfield.App(), tools),
		},
		Shapes: []catalog.KeptShape{
			{Server: "a", Fingerprint: "f1", Shape: exchange.Shape{
				Transport: "http", Version: exchange.LatestLegacy, Session: true, Instructions: "be <careful> & \u2028",
				Capabilities: wire.Raw(`{"tools" : {"x": "<>"}}`), ServerInfo: wire.Raw(`{"name":"x"}`),
			}},
			{Server: "b c/d", Fingerprint: "f3", Shape: exchange.Shape{Version: exchange.Modern}},
		},
	}
}

func same(t *testing.T, got, want catalog.Kept) {
	t.Helper()
	if !reflect.DeepEqual(byKind(got), byKind(want)) {
		t.Errorf("loaded\n%+v\nwant\n%+v", got, want)
	}
}

// byKind makes kept comparable: the order of the lists of a listing says nothing.
func byKind(k catalog.Kept) map[string]any {
	all := map[string]any{}
	for _, l := range k.Listings {
		for _, list := range l.Lists {
			all[fmt.Sprint(l.Server, " ", l.Scope, " ", list.Kind)] = fmt.Sprintf("%+v %q", list, list.Items)
		}
	}
	for _, s := range k.Shapes {
		all[string(s.Server)] = fmt.Sprintf("%+v", s)
	}
	return all
}

func TestWhatIsSavedIsLoadedByteByByteAlsoByTheNextProcess(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	same(t, load(t, s), catalog.Kept{})
	save(t, s, full())
	same(t, load(t, s), full())
	closed(t, s)
	same(t, load(t, opened(t, dir)), full())
}

func TestASaveTakesThePlaceOfWhatWasKeptOfTheSameAudienceAndOfNothingElse(t *testing.T) {
	s := opened(t, t.TempDir())
	save(t, s, full())
	want := full()
	want.Listings[3].Lists = []catalog.KeptList{{Kind: catalog.Resources, Fetched: noon, Items: raws(`{"uri":"x"}`)}}
	want.Shapes[0].Shape.Session = false
	save(t, s, catalog.Kept{Listings: want.Listings[3:4], Shapes: want.Shapes[:1]})
	same(t, load(t, s), want)

	// Nothing in it: nothing is kept any more.
	save(t, s, catalog.Kept{
		Listings: []catalog.KeptListing{listing("a", jackfield.App()), listing("never", jackfield.App())},
		Shapes:   []catalog.KeptShape{{Server: "a"}},
	})
	want.Listings, want.Shapes = want.Listings[1:], want.Shapes[1:]
	same(t, load(t, s), want)
}

func count(t *testing.T, s *Store, query string) (n int) {
	t.Helper()
	if err := s.db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestItemsThatManySeeAreKeptOnceAndGoWithTheLast(t *testing.T) {
	s := opened(t, t.TempDir())
	save(t, s, full())
	if n := count(t, s, "SELECT count(*) FROM bodies"); n != 3 {
		t.Errorf("%d bodies for seven lists of three kinds", n)
	}
	gone := full()
	for i := range gone.Listings {
		gone.Listings[i].Lists = nil
	}
	save(t, s, gone)
	if n := count(t, s, "SELECT count(*) FROM bodies"); n != 0 {
		t.Errorf("%d bodies that no list has", n)
	}
}

func TestASaveThatFailsLeavesEverythingAsItWas(t *testing.T) {
	s := opened(t, t.TempDir())
	save(t, s, full())
	k := catalog.Kept{Listings: []catalog.KeptListing{listing("a", jackfield.App()), listing("b c/d", jackfield.App())}}
	if _, err := s.db.ExecContext(t.Context(), "CREATE TRIGGER full BEFORE DELETE ON bodies BEGIN SELECT raise(ABORT, 'the disk is full'); END"); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), k); err == nil {
		t.Fatal("what cannot be written was saved")
	}
	same(t, load(t, s), full())
	if _, err := s.db.ExecContext(t.Context(), "DROP TRIGGER full"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Save(ctx, k); err == nil {
		t.Fatal("it was saved after its time")
	}
	same(t, load(t, s), full())
}

func TestAListThatIsTooLongIsNotKept(t *testing.T) {
	s := opened(t, t.TempDir())
	big := wire.AppendString(nil, strings.Repeat("x", maxItems))
	k := full()
	k.Listings[0].Lists[1].Items = []wire.Raw{big}
	save(t, s, k)
	k.Listings[0].Lists = append(k.Listings[0].Lists[:1], k.Listings[0].Lists[2])
	same(t, load(t, s), k)
}

func TestWhatCannotBeReadIsLeftOutAndToldOf(t *testing.T) {
	for what, damage := range map[string]string{
		"its items are missing or damaged": "UPDATE bodies SET items = CAST('[{}]' AS BLOB) WHERE sum = (SELECT sum FROM lists WHERE kind = 'templates')",
		`there is no kind "tunes"`:         "UPDATE lists SET kind = 'tunes' WHERE kind = 'templates'",
		`there is no scope of kind "vip"`:  "UPDATE lists SET scope = 'vip:1' WHERE kind = 'templates'",
		"its sum is none":                  "PRAGMA foreign_keys = 0; UPDATE lists SET sum = x'00' WHERE kind = 'templates'",
		"shape of a":                       "UPDATE shapes SET capabilities = CAST('{' AS BLOB) WHERE server = 'a'",
		"shape of a: ":                     "UPDATE shapes SET server_info = CAST('[1]' AS BLOB) WHERE server = 'a'",
	} {
		t.Run(what, func(t *testing.T) {
			s := opened(t, t.TempDir())
			save(t, s, full())
			if _, err := s.db.ExecContext(t.Context(), damage); err != nil {
				t.Fatal(err)
			}
			k, bad, err := s.Load(t.Context())
			if err != nil || bad == nil || !strings.Contains(bad.Error(), what) || strings.Contains(bad.Error(), "\n") {
				t.Errorf("Load: %v, %v", bad, err)
			}
			want := full()
			if strings.Contains(damage, "shapes") {
				want.Shapes = want.Shapes[1:]
			} else {
				want.Listings[0].Lists = append(want.Listings[0].Lists[:1], want.Listings[0].Lists[2])
			}
			same(t, k, want)
		})
	}
}

func TestTheFilesAreForTheirOwnerAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // modes say nothing there
	}
	dir := filepath.Join(t.TempDir(), "made")
	s := opened(t, dir)
	save(t, s, full())
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if !names[file] || !names[file+"-wal"] || !names[lockFile] {
		t.Errorf("files: %v", names)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", info.Mode(), err)
	}
}

func TestEveryCommitIsOnTheDiskBeforeItIsAcknowledged(t *testing.T) {
	s := opened(t, t.TempDir())
	var mode string
	if err := s.db.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal_mode %q, %v", mode, err)
	}
	if n := count(t, s, "PRAGMA synchronous"); n != 2 {
		t.Errorf("synchronous %d, want 2, which is FULL", n)
	}
}

func TestOneProcessAtATimeHasTheDirectory(t *testing.T) {
	dir := t.TempDir()
	first := opened(t, dir)
	_, err := Open(t.Context(), Options{Dir: dir})
	if jackfield.CodeOf(err) != jackfield.Conflict {
		t.Fatalf("the second: %v", err)
	}
	for _, part := range []string{fmt.Sprintf("(process %d)", os.Getpid()), dir, "--data"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %q", part, err)
		}
	}
	closed(t, first)
	closed(t, opened(t, dir))
	if runtime.GOOS != "windows" {
		if err := os.WriteFile(filepath.Join(dir, lockFile), []byte("<script>"), 0o600); err != nil {
			t.Fatal(err)
		}
		if who := holder(filepath.Join(dir, lockFile)); who != "" {
			t.Errorf("the message would quote %q", who)
		}
	}
}

// TestADamagedFileIsLeftAsItIsAndOpenSaysWhatToDo: it may be all that is left of
// what people entered.
func TestADamagedFileIsLeftAsItIsAndOpenSaysWhatToDo(t *testing.T) {
	whole := func(t *testing.T) (dir, path string, content []byte) {
		dir = t.TempDir()
		s := opened(t, dir)
		k := full()
		for i := range 200 {
			k.Listings = append(k.Listings, listing(fmt.Sprint("more", i), jackfield.App(), k.Listings[0].Lists...))
		}
		save(t, s, k)
		closed(t, s)
		path = filepath.Join(dir, file)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return dir, path, content
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"no database":          func([]byte) []byte { return []byte("this is no database, and it is long enough to be sure of that") },
		"cut short":            func(b []byte) []byte { return b[:len(b)/2] },
		"a page of zeros":      func(b []byte) []byte { clear(b[4096:8192]); return b },
		"a page of noise":      func(b []byte) []byte { copy(b[8192:], bytes.Repeat([]byte{0xa5}, 4096)); return b },
		"the schema is broken": func(b []byte) []byte { copy(b[100:], bytes.Repeat([]byte{0xff}, 900)); return b },
	} {
		t.Run(name, func(t *testing.T) {
			dir, path, content := whole(t)
			spoiled := spoil(content)
			for file, text := range map[string][]byte{path: spoiled, path + "-wal": []byte("a log")} {
				if err := os.WriteFile(file, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // the lock is given back, and the same answer comes again
				_, err := Open(t.Context(), Options{Dir: dir})
				if jackfield.CodeOf(err) != jackfield.Invalid || !strings.Contains(err.Error(), path+" is damaged") || !strings.Contains(err.Error(), "backup") {
					t.Fatalf("Open: %v", err)
				}
			}
			for file, want := range map[string][]byte{path: spoiled, path + "-wal": []byte("a log")} {
				if is, err := os.ReadFile(file); err != nil || !bytes.Equal(is, want) {
					t.Errorf("%s was touched: %v", file, err)
				}
			}
		})
	}
}

func TestAFileOfSomebodyElseIsNotTouched(t *testing.T) {
	for what, prepare := range map[string]struct{ sql, want string }{
		"of another program":                {"PRAGMA application_id = 77; CREATE TABLE theirs (x)", "another program"},
		"of another program without a mark": {"CREATE TABLE theirs (x)", "another program"},
		"of a newer one": {fmt.Sprintf("PRAGMA application_id = %d; CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, "+
			"version_id INTEGER NOT NULL, is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now')));"+
			"INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (1, 1), (9, 1)", application), "newer Jackfield (its form is 9, this one knows 2)"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, file)
			db, err := sql.Open("sqlite", dsn(path))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = db.ExecContext(t.Context(), prepare.sql); err != nil {
				t.Fatal(err)
			}
			if err = db.Close(); err != nil {
				t.Fatal(err)
			}
			_, err = Open(t.Context(), Options{Dir: dir})
			if jackfield.CodeOf(err) != jackfield.Invalid || !strings.Contains(err.Error(), prepare.want) ||
				!strings.Contains(err.Error(), path) {
				t.Errorf("Open: %v", err)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "*damaged*")); err != nil || len(left) > 0 {
				t.Errorf("moved aside: %v, %v", left, err)
			}
			// The lock is given back, and the same answer comes again.
			if _, err := Open(t.Context(), Options{Dir: dir}); jackfield.CodeOf(err) != jackfield.Invalid {
				t.Errorf("Open once more: %v", err)
			}
		})
	}
}

func TestADiskThatDoesNotDoWhatItShouldIsUnavailable(t *testing.T) {
	dir := t.TempDir()
	notDir := filepath.Join(dir, "file")
	if err := os.WriteFile(notDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: filepath.Join(notDir, "data")}); jackfield.CodeOf(err) != jackfield.Unavailable {
		t.Errorf("below a file: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, lockFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir}); jackfield.CodeOf(err) != jackfield.Unavailable {
		t.Errorf("where the lock is a directory: %v", err)
	}
	odd := t.TempDir()
	if err := os.Mkdir(filepath.Join(odd, file), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: odd}); jackfield.CodeOf(err) != jackfield.Invalid {
		t.Errorf("where the database is a directory: %v", err)
	}
}

func TestNamesOfDirectoriesAreNoSyntax(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a?b=c#d %41&é")
	s := opened(t, dir)
	save(t, s, full())
	closed(t, s)
	if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
		t.Error(err)
	}
	same(t, load(t, opened(t, dir)), full())
}

func FuzzItems(f *testing.F) {
	for _, seed := range []string{`[]`, `[{"name":"a"}]`, `[1, 2 ,"x"]`, `[`, `{}`, `[{"a":[}]`, ` [ ] `, `[1]x`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		items, err := decodeItems(text)
		if err != nil {
			return
		}
		again, err := decodeItems(encodeItems(items))
		if err != nil || !reflect.DeepEqual(items, again) {
			t.Errorf("%q: %q, then %q, %v", text, items, again, err)
		}
	})
}

func FuzzScope(f *testing.F) {
	for _, seed := range []string{"app", "app:", "user:", "user:a:b", "team:x", "vip", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := decodeScope(text); err == nil && s.String() != text {
			t.Errorf("%q became %q", text, s)
		}
	})
}

func BenchmarkSaveOneOfAHundredTools(b *testing.B) {
	s, err := Open(b.Context(), Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var items []wire.Raw
	for i := range 100 {
		items = append(items, wire.Raw(fmt.Sprintf(`{"name":"tool%d","description":%q,"inputSchema":{"type":"object"}}`, i, strings.Repeat("d", 800))))
	}
	for b.Loop() {
		k := catalog.Kept{Listings: []catalog.KeptListing{listing("a", jackfield.App(), catalog.KeptList{Items: items, Fetched: time.Now()})}}
		if err := s.Save(b.Context(), k); err != nil {
			b.Fatal(err)
		}
	}
}
