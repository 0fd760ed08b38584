package app

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// observed runs a watch over the file while the steps change it, and tells how
// many changes were told after each step. Steps are two intervals and a half long;
// a change is told after one to two.
func observed(t *testing.T, path string, steps ...func()) (told []int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var count atomic.Int64
		w := watching(path)
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.watch(ctx, func() { count.Add(1) })
		}()
		for _, step := range steps {
			step()
			time.Sleep(2500 * time.Millisecond)
			synctest.Wait()
			told = append(told, int(count.Load()))
		}
		cancel()
		<-done
	})
	return told
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantTold(t *testing.T, got []int, want ...int) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("changes told after each step: %v, want %v", got, want)
		}
	}
}

func TestAFileThatIsWrittenRenamedOverOrGoneIsAChange(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.yaml")
	put(t, path, "a")
	old, err := os.Stat(path)
	must(t, err)
	wantTold(t, observed(t, path,
		func() {},
		func() { put(t, path, "ab") },
		func() {},
		func() { // same size and time, another file
			put(t, path+".new", "cd")
			info, err := os.Stat(path)
			must(t, err)
			must(t, os.Chtimes(path+".new", info.ModTime(), info.ModTime()))
			must(t, os.Rename(path+".new", path))
		},
		func() { // same time and file, another size
			info, err := os.Stat(path)
			must(t, err)
			put(t, path, "longer")
			must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
		},
		func() { must(t, os.Chtimes(path, old.ModTime(), old.ModTime().Add(time.Hour))) },
		func() { must(t, os.Remove(path)) },
		func() {},
		func() { put(t, path, "back") },
	), 0, 1, 1, 2, 3, 4, 5, 5, 6)
}

func TestASwappedSymbolicLinkIsAChange(t *testing.T) {
	// As Kubernetes mounts a ConfigMap: a.yaml -> ..data/a.yaml, ..data -> ..1.
	dir := t.TempDir()
	for _, version := range []string{"..1", "..2"} {
		must(t, os.Mkdir(filepath.Join(dir, version), 0o700))
		put(t, filepath.Join(dir, version, "a.yaml"), "same size")
	}
	data, path := filepath.Join(dir, "..data"), filepath.Join(dir, "a.yaml")
	must(t, os.Symlink("..1", data))
	must(t, os.Symlink("..data/a.yaml", path))
	wantTold(t, observed(t, path,
		func() {},
		func() {
			must(t, os.Symlink("..2", data+"_tmp"))
			must(t, os.Rename(data+"_tmp", data))
		},
		func() {},
	), 0, 1, 1)
}

func TestAFileThatIsStillBeingWrittenIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	put(t, path, "")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		told := make(chan time.Time, 10)
		start := time.Now()
		go watching(path).watch(ctx, func() { told <- time.Now() })
		for i := range 10 { // a line every 0.7 s
			time.Sleep(700 * time.Millisecond)
			put(t, path, string(make([]byte, i+1)))
		}
		time.Sleep(5 * time.Second)
		if len(told) != 1 {
			t.Fatalf("told %d times", len(told))
		}
		if at := (<-told).Sub(start); at < 8*time.Second || at > 9*time.Second {
			t.Errorf("told after %s; the last line was written after 7 s", at)
		}
	})
}

func TestAChangeBetweenReadingAndWatchingIsSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	put(t, path, "mcpServers: {a: {command: x}}")
	c, _, err := Load(path, Overrides{Env: testEnv})
	must(t, err)
	put(t, path, "mcpServers: {ab: {command: x}}")
	w := c.source()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var count atomic.Int64
		go w.watch(ctx, func() { count.Add(1); cancel() })
		synctest.Wait()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if count.Load() != 1 {
			t.Errorf("told %d times", count.Load())
		}
	})
}
