package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// TestABackupIsOneMomentOfAStoreThatIsBeingWritten: two records that always change
// together are the same in it.
func TestABackupIsOneMomentOfAStoreThatIsBeingWritten(t *testing.T) {
	s := at(t, Options{Dir: t.TempDir()})
	save(t, s, full())
	write(t, s, record.Write{Ref: server("secret"), Sealed: []byte("x"), Seal: 7}, put("a", "0"), put("b", "0"))
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := 1; ctx.Err() == nil; n++ {
			if _, err := s.Write(context.WithoutCancel(ctx), "ann", put("a", fmt.Sprint(n)), put("b", fmt.Sprint(n))); err != nil {
				t.Error(err)
			}
		}
	})
	place := t.TempDir()
	var last uint64
	for i := range 5 {
		path := filepath.Join(place, fmt.Sprint(i))
		before := everythingIn(t, s).Head
		if err := s.Backup(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("the file: %v, %v", info.Mode(), err)
		}
		dir := filepath.Join(t.TempDir(), "new")
		if _, err := Restore(t.Context(), dir, path, false); err != nil {
			t.Fatal(err)
		}
		restored := at(t, Options{Dir: dir})
		r := replicaOf(everythingIn(t, restored))
		a, b := r.records[server("a")], r.records[server("b")]
		if string(a.Body) != string(b.Body) || r.head != b.Revision || r.head < before || r.head < last || r.records[server("secret")].Seal != 7 {
			t.Errorf("restored at %d: %+v, %+v", r.head, a, b)
		}
		last = r.head
		gapless(t, restored)
		same(t, load(t, restored), full())
		if next := write(t, restored, put("c", "")); next[0].Revision != last+1 {
			t.Errorf("the next change is %d", next[0].Revision)
		}
	}
	stop()
	writing.Wait()
	names, err := os.ReadDir(place)
	if err != nil || len(names) != 5 {
		t.Errorf("beside the backups there is something: %v, %v", names, err)
	}
}

func TestABackupTakesNobodysPlace(t *testing.T) {
	s := at(t, Options{Dir: t.TempDir()})
	path := filepath.Join(t.TempDir(), "it's $1; \"there\"?mode=memory#x")
	if err := s.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), path); jackfield.CodeOf(err) != jackfield.Conflict || !strings.Contains(err.Error(), path) {
		t.Errorf("once more: %v", err)
	}
	if err := s.Backup(t.Context(), filepath.Join(path, "below")); jackfield.CodeOf(err) != jackfield.Unavailable {
		t.Errorf("below a file: %v", err)
	}
	if err := at(t, postgres(t)).Backup(t.Context(), path); jackfield.CodeOf(err) != jackfield.Invalid || !strings.Contains(err.Error(), "pg_dump") {
		t.Errorf("of PostgreSQL: %v", err)
	}
	if _, err := Restore(t.Context(), t.TempDir(), path, false); err != nil {
		t.Error(err)
	}
}

func TestOnlyAWholeBackupIsRestoredAndOnlyWhereNothingIs(t *testing.T) {
	s := at(t, Options{Dir: t.TempDir()})
	var many []record.Write
	for i := range 500 {
		many = append(many, put(fmt.Sprint(i), strings.Repeat("x", 200)))
	}
	write(t, s, many...)
	path := filepath.Join(t.TempDir(), "backup")
	if err := s.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, dir, from string, code jackfield.Code, says string) {
		t.Helper()
		if _, err := Restore(t.Context(), dir, from, false); jackfield.CodeOf(err) != code || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("while it runs", filepath.Dir(s.path), path, jackfield.Conflict, "is running")
	dir := filepath.Dir(s.path)
	closed(t, s)
	refused("over a database", dir, path, jackfield.Conflict, "move it away")
	if err := os.Rename(s.path, s.path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path+"-wal", []byte("a log"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("over a log", dir, path, jackfield.Conflict, "-wal")
	if _, err := Open(t.Context(), Options{Dir: dir}); jackfield.CodeOf(err) != jackfield.Invalid || !strings.Contains(err.Error(), "-wal") {
		t.Errorf("a new file beside the log of another: %v", err)
	}

	for what, spoil := range map[string]func([]byte) []byte{
		"cut short":       func(b []byte) []byte { return b[:len(b)/2] },
		"a page of noise": func(b []byte) []byte { clear(b[len(b)-4096:]); return b },
		"text":            func([]byte) []byte { return []byte(strings.Repeat("no database ", 1000)) },
		"nothing":         func([]byte) []byte { return nil },
	} {
		bad := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(bad, spoil(append([]byte{}, good...)), 0o600); err != nil {
			t.Fatal(err)
		}
		to := t.TempDir()
		refused(what, to, bad, jackfield.Invalid, bad)
		if left, err := filepath.Glob(filepath.Join(to, file+"*")); err != nil || len(left) > 0 {
			t.Errorf("%s left %v, %v", what, left, err)
		}
	}
	refused("no file", t.TempDir(), filepath.Join(dir, "none"), jackfield.Invalid, "none")
	refused("a directory", t.TempDir(), dir, jackfield.Invalid, dir)
	if err := os.WriteFile(path+"-wal", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("a live database", t.TempDir(), path, jackfield.Invalid, "jackfield backup")
}

func TestWhatIsThereIsSetAsideOnlyForABackupThatIsWhole(t *testing.T) {
	s := at(t, Options{Dir: t.TempDir()})
	dir := filepath.Dir(s.path)
	write(t, s, put("old", ""))
	path := filepath.Join(t.TempDir(), "backup")
	if err := s.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	write(t, s, put("new", ""))
	if _, err := Restore(t.Context(), dir, path, true); jackfield.CodeOf(err) != jackfield.Conflict || !strings.Contains(err.Error(), "is running") {
		t.Errorf("while it runs: %v", err)
	}
	closed(t, s)
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("no backup"), 0o600); err != nil {
		t.Fatal(err)
	}
	if aside, err := Restore(t.Context(), dir, bad, true); jackfield.CodeOf(err) != jackfield.Invalid || aside != "" {
		t.Errorf("%q %v", aside, err)
	}
	has := func(want string) {
		t.Helper()
		one := at(t, Options{Dir: dir})
		defer closed(t, one)
		var names []string
		for _, r := range everythingIn(t, one).Records {
			names = append(names, r.ID)
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != want {
			t.Errorf("it holds %s, not %s", got, want)
		}
	}
	has("new old")
	aside, err := Restore(t.Context(), dir, path, true)
	if err != nil || !strings.HasPrefix(aside, s.path+".replaced-") {
		t.Fatalf("%q %v", aside, err)
	}
	has("old")
	if err := os.Rename(aside, s.path); err != nil {
		t.Fatal(err)
	}
	has("new old")
}

func TestWhatWasSetAsideComesBack(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	for _, end := range []string{"", "-wal"} {
		if err := os.WriteFile(path+end, []byte(end), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	aside, back, err := setAside(path, time.Now())
	if err != nil || aside == "" {
		t.Fatal(aside, err)
	}
	if _, err := os.Stat(aside + "-wal"); err != nil {
		t.Error(err)
	}
	if err := back(); err != nil {
		t.Error(err)
	}
	for _, end := range []string{"", "-wal"} {
		if text, err := os.ReadFile(path + end); err != nil || string(text) != end {
			t.Errorf("%q %v", text, err)
		}
	}
}
