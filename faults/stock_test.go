//go:build linux

package faults

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// stock is what a process has taken and not given back.
type stock struct {
	goroutines int
	files      int // sockets and pipes among them
	processes  int // of ours, dead ones that nobody waited for among them
	heap       int // bytes
}

func takeStock() stock {
	runtime.GC()
	runtime.GC() // what the first one finalised
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s := stock{goroutines: runtime.NumGoroutine(), heap: int(m.HeapAlloc), processes: len(children())}
	if all, err := os.ReadDir("/proc/self/fd"); err == nil {
		s.files = len(all)
	}
	return s
}

// String is one row of a table.
func (s stock) String() string {
	return fmt.Sprintf("%10d %6d %9d %8.1f", s.goroutines, s.files, s.processes, float64(s.heap)/(1<<20))
}

const stockHead = "goroutines  files processes  heap/MB"

// more is how much more than b there is, beyond so many goroutines and files.
func (s stock) more(b stock, room int) string {
	const heapRoom = 8 << 20
	var grown []string
	for _, x := range []struct {
		what        string
		now, before int
		room        int
	}{
		{"goroutines", s.goroutines, b.goroutines, room},
		{"files", s.files, b.files, room},
		{"processes", s.processes, b.processes, 0},
		{"bytes of heap", s.heap, b.heap, heapRoom},
	} {
		if x.now > x.before+x.room {
			grown = append(grown, fmt.Sprintf("%d %s instead of %d", x.now, x.what, x.before))
		}
	}
	return strings.Join(grown, ", ")
}

// wantBack wants everything to be given back, in a while.
func (s stock) wantBack(t *testing.T) {
	t.Helper()
	var grown string
	for end := time.Now().Add(patience / 2); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if grown = takeStock().more(s, 8); grown == "" {
			return
		}
	}
	buf := make([]byte, 1<<20)
	t.Errorf("not given back: %s\n%s\n%s", grown, children(), buf[:runtime.Stack(buf, true)])
}

// children are the processes that we or ours started.
func children() []string {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	parents := map[string]string{}
	for _, path := range stats {
		// pid (name) state parent …
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if f := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:]); len(f) > 1 {
			parents[filepath.Base(filepath.Dir(path))] = string(f[1])
		}
	}
	self := fmt.Sprint(os.Getpid())
	var ours []string
	for pid := range parents {
		for up := pid; up != ""; up = parents[up] {
			if parents[up] == self {
				ours = append(ours, pid)
				break
			}
		}
	}
	return ours
}

func lines(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	return bytes.Count(text, []byte("\n"))
}
