package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
)

const lockFile = "jackfield.lock"

// A process that was killed while it started another leaves the lock to that one
// until it has become its program. It is not worth a refusal.
const (
	lockWithin = 500 * time.Millisecond
	lockEvery  = 20 * time.Millisecond
)

// lockDir takes the data directory for this process. The file stays when the lock
// goes: whoever removed it could remove the one that the next process has locked.
func lockDir(ctx context.Context, dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := openLocked(path)
	for end := time.Now().Add(lockWithin); errors.Is(err, errTaken) && time.Now().Before(end); {
		timer := time.NewTimer(lockEvery)
		select {
		case <-timer.C:
			f, err = openLocked(path)
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
	}
	if errors.Is(err, errTaken) {
		return nil, jackfield.Errorf(jackfield.Conflict,
			"another gateway%s is running with the data directory %s; stop it, or give this one a directory of its own with --data", holder(path), dir)
	}
	if err == nil {
		if err = sign(f); err == nil {
			return f, nil
		}
		err = errors.Join(err, f.Close())
	}
	return nil, jackfield.Errorf(jackfield.Unavailable, "cannot lock the data directory: %w", err)
}

// errTaken is what openLocked says when another process has the file.
var errTaken = errors.New("taken")

// sign writes who holds the lock, for the message of whoever comes second.
func sign(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(fmt.Sprintf("%d\n", os.Getpid())), 0)
	return err
}

// holder says which process has the lock, if that can be known.
func holder(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, 20))
	pid := strings.TrimSpace(string(text))
	if err != nil || pid == "" || strings.Trim(pid, "0123456789") != "" {
		return ""
	}
	return " (process " + pid + ")"
}
