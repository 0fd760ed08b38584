package app

import (
	"context"
	"os"
	"time"
)

// watchInterval is how often a watched file is looked at.
const watchInterval = time.Second

// watched are files and the state in which they were last acted upon. It is
// made before the files are read, so that no change falls between reading and
// watching.
type watched struct {
	paths []string
	acted []os.FileInfo // one a path; nil for a file that is not there
}

func watching(paths ...string) *watched {
	return &watched{paths: paths, acted: look(paths)}
}

// watch calls changed whenever one of the files has changed, until ctx ends. It
// looks at what the paths lead to, so that a file that is written in place, one
// that is renamed over another, and a symbolic link that is swapped (as
// Kubernetes does) are all seen. A change is told once the files have stood
// still for one interval, so that nobody reads half of them; several changes in
// short order are one. changed runs on watch's own goroutine.
func (w *watched) watch(ctx context.Context, changed func()) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	seen := w.acted
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := look(w.paths)
		if same(now, seen) && !same(now, w.acted) {
			w.acted = now
			changed()
		}
		seen = now
	}
}

func look(paths []string) []os.FileInfo {
	out := make([]os.FileInfo, 0, len(paths))
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			info = nil
		}
		out = append(out, info)
	}
	return out
}

func same(a, b []os.FileInfo) bool {
	for i := range a {
		switch {
		case a[i] == nil && b[i] == nil:
		case a[i] == nil || b[i] == nil:
			return false
		case !os.SameFile(a[i], b[i]), a[i].Size() != b[i].Size(), !a[i].ModTime().Equal(b[i].ModTime()):
			return false
		}
	}
	return true
}
