// Package pgtest gives tests a PostgreSQL of their own: a cluster in a temporary
// directory, from the binaries of the system, reached over a socket in that
// directory. One process has one, which is stopped and removed when the process
// ends, however it ends.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	startWithin = time.Minute // on a machine that does many other things
	superuser   = "postgres"
)

// Server is a cluster.
type Server struct {
	bin string   // directory of the binaries
	dir string   // of the cluster and of its socket
	as  []string // how to run a program as somebody who is not root

	leash *os.File // when it closes, the cluster goes

	mu        sync.Mutex
	databases int // guarded by mu
}

var one struct {
	mu     sync.Mutex
	server *Server // guarded by mu
}

// Start gives the cluster of this process, and starts it when it does not run. Tests
// that stop it must not be parallel to others.
func Start(tb testing.TB) *Server {
	tb.Helper()
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.server == nil {
		s, err := begin(context.WithoutCancel(tb.Context()))
		if err != nil {
			tb.Fatal(err)
		}
		one.server = s
	}
	return one.server
}

func begin(ctx context.Context) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	s := &Server{}
	var err error
	if s.bin, err = binaries(); err != nil {
		return nil, err
	}
	// Paths of sockets are short, and whoever is not root must get there: so it is
	// not where TMPDIR says.
	if s.dir, err = os.MkdirTemp("/tmp", "pgtest"); err != nil {
		return nil, err
	}
	if err = s.begin(ctx); err != nil {
		_ = os.RemoveAll(s.dir) // what is wrong has been said
		return nil, err
	}
	return s, nil
}

func (s *Server) begin(ctx context.Context) error {
	if os.Geteuid() == 0 {
		if err := s.demote(); err != nil {
			return err
		}
	}
	if err := s.run(ctx, "initdb", "--no-sync", "-A", "trust", "-U", superuser, "-E", "UTF8", "--no-locale", "-D", s.data()); err != nil {
		return err
	}
	// What a kill takes is not on the disk's way; only a power cut would miss this.
	settings := "listen_addresses = ''\nunix_socket_directories = '" + s.dir + "'\nfsync = off\nmax_connections = 200\nshared_buffers = 16MB\n"
	conf, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = conf.WriteString(settings)
	if closing := conf.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = s.tie(ctx)
	}
	if err == nil {
		err = s.start(ctx)
	}
	return err
}

// tie starts a shell that outlives this process by as long as it takes to end the
// cluster.
func (s *Server) tie(ctx context.Context) error {
	end, leash, err := os.Pipe()
	if err != nil {
		return err
	}
	const script = `trap '' INT TERM HUP; read -r _; "$@"; rm -rf "$0"`
	args := slices.Concat([]string{"-c", script, s.dir}, s.as, []string{filepath.Join(s.bin, "pg_ctl"), "stop", "-w", "-m", "immediate", "-D", s.data()})
	watcher := exec.CommandContext(context.WithoutCancel(ctx), "sh", args...)
	watcher.Stdin = end
	watcher.Dir = "/"
	if err = watcher.Start(); err != nil {
		return err
	}
	s.leash = leash
	return end.Close()
}

// binaries is where the newest PostgreSQL is.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0 is the oldest
		return n
	}
	if len(found) > 0 {
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", fmt.Errorf("PostgreSQL is not installed, and these tests need it: apt-get install postgresql (%w)", err)
	}
	return filepath.Dir(path), nil
}

// demote finds somebody to run as, since PostgreSQL refuses to run as root.
func (s *Server) demote() error {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			return err
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			return err
		}
		s.as = []string{"setpriv", "--reuid", u.Uid, "--regid", u.Gid, "--clear-groups", "--"}
		return os.Chown(s.dir, uid, gid)
	}
	return fmt.Errorf("there is no user postgres or nobody to run PostgreSQL as")
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// run runs one of PostgreSQL's programs to its end.
func (s *Server) run(ctx context.Context, name string, args ...string) error {
	args = slices.Concat(s.as, []string{filepath.Join(s.bin, name)}, args)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = s.dir
	// What the program starts keeps its output, so it is a file and no pipe.
	out, err := os.CreateTemp(s.dir, name)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // it was only for the message
	cmd.Stdout, cmd.Stderr = out, out
	if err = cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name()) // nothing is said then
		return fmt.Errorf("%s: %w\n%s", name, err, said)
	}
	return os.Remove(out.Name())
}

func (s *Server) start(ctx context.Context) error {
	for {
		err := s.run(ctx, "pg_ctl", "start", "-w", "-t", "30", "-D", s.data(), "-l", filepath.Join(s.dir, "log"))
		if err == nil || ctx.Err() != nil {
			return s.withLog(err)
		}
		// Right after a kill the children of the old one are still ending.
		timer := time.NewTimer(100 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return s.withLog(err)
		}
	}
}

func (s *Server) withLog(err error) error {
	if err == nil {
		return nil
	}
	log, _ := os.ReadFile(filepath.Join(s.dir, "log")) // nothing is said then
	return fmt.Errorf("%w\n%s", err, log)
}

// DSN makes a fresh database and gives its address.
func (s *Server) DSN(tb testing.TB) string {
	tb.Helper()
	s.mu.Lock()
	s.databases++
	name := "db" + strconv.Itoa(s.databases)
	s.mu.Unlock()
	if err := s.run(tb.Context(), "createdb", "-h", s.dir, "-U", superuser, name); err != nil {
		tb.Fatal(s.withLog(err))
	}
	return s.Address(name)
}

// Address is that of a database.
func (s *Server) Address(name string) string {
	return (&url.URL{Scheme: "postgres", User: url.User(superuser), Path: "/" + name, RawQuery: url.Values{"host": {s.dir}}.Encode()}).String()
}

// SQL runs a text in a database as psql does, and gives what that prints.
func (s *Server) SQL(tb testing.TB, dsn, text string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), filepath.Join(s.bin, "psql"), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-c", text)
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("%s: %v\n%s", text, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Stop stops the cluster as an operator does who does not wait for anybody. A test
// that does this starts it again.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	if err := s.run(tb.Context(), "pg_ctl", "stop", "-w", "-m", "fast", "-D", s.data()); err != nil {
		tb.Fatal(s.withLog(err))
	}
}

// Start starts it again.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), startWithin)
	defer cancel()
	if err := s.start(ctx); err != nil {
		tb.Fatal(err)
	}
}

// Kill ends the cluster as a power cut does: all of its processes, in mid-word.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	children := s.SQL(tb, s.Address(superuser), "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		tb.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	for _, text := range append([]string{first}, strings.Fields(children)...) {
		pid, err := strconv.Atoi(text)
		if err != nil {
			tb.Fatal(err)
		}
		process, err := os.FindProcess(pid)
		if err != nil {
			tb.Fatal(err)
		}
		if err := process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			tb.Fatal(err)
		}
	}
}
