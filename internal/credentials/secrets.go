package credentials

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield"
)

const (
	maxSecret = 64 << 10 // bytes

	filesEvery  = 3 * time.Second  // how often files are looked at
	vaultEvery  = 60 * time.Second // how often Vault is asked
	failedAgain = 15 * time.Second // and when it did not answer, or has never
	passTime    = 20 * time.Second // all of Vault, in one look
	askTime     = 10 * time.Second // one question to Vault
	failedLasts = 2 * time.Second  // callers who come meanwhile share a failure
)

// secrets are the operator's, which stand elsewhere: references and what they are.
type secrets struct {
	vault vault
	log   *slog.Logger
	wake  chan struct{} // there are references that nobody has read

	versions atomic.Pointer[map[jackfield.ServerID]uint64] // never changed, but replaced

	mu    sync.Mutex // guards what follows
	known map[string]*reference
	grown uint64 // the greatest of all versions
}

// reference is a secret that definitions refer to.
type reference struct {
	name string // file:/path or vault:mount/path#field
	text atomic.Pointer[jackfield.Secret]

	turn  chan struct{} // whoever has put something in may read it anew, and guards what follows
	tried time.Time
	err   error // of the last try

	servers []jackfield.ServerID // that use it; guarded by secrets.mu
}

func newSecrets(o Options) *secrets {
	s := &secrets{vault: newVault(o.HTTP, o.Env), log: o.Log, wake: make(chan struct{}, 1), known: map[string]*reference{}}
	s.versions.Store(&map[jackfield.ServerID]uint64{})
	return s
}

func (s *secrets) version(id jackfield.ServerID) uint64 { return (*s.versions.Load())[id] }

// Secrets tells which definitions there are now. The secrets that they refer to are
// read by Run, or when one is needed before that.
func (c *Credentials) Secrets(servers []jackfield.Server) {
	s := c.secrets
	used := map[string][]jackfield.ServerID{}
	there := make(map[jackfield.ServerID]struct{}, len(servers))
	for i := range servers {
		there[servers[i].ID] = struct{}{}
		for t := range servers[i].Fill.All() {
			for _, p := range t {
				ids := used[p.Name]
				if n := len(ids); p.From == jackfield.FromSecret && (n == 0 || ids[n-1] != servers[i].ID) {
					used[p.Name] = append(ids, servers[i].ID)
				}
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	versions := maps.Clone(*s.versions.Load())
	maps.DeleteFunc(versions, func(id jackfield.ServerID, _ uint64) bool { _, ok := there[id]; return !ok })
	maps.DeleteFunc(s.known, func(name string, _ *reference) bool { return used[name] == nil })
	for name, ids := range used {
		s.referenceLocked(name).servers = ids
		for _, id := range ids {
			if _, counted := versions[id]; !counted {
				versions[id] = s.grown // as one of that id may have had before
			}
		}
	}
	s.versions.Store(&versions)
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// referenceLocked finds or makes a reference. mu is held.
func (s *secrets) referenceLocked(name string) *reference {
	r := s.known[name]
	if r == nil {
		r = &reference{name: name, turn: make(chan struct{}, 1)}
		s.known[name] = r
	}
	return r
}

// get is the text of a secret as it was read last. Only one that was never read is
// waited for.
func (s *secrets) get(ctx context.Context, name string) (string, error) {
	s.mu.Lock()
	r := s.referenceLocked(name)
	s.mu.Unlock()
	if text := r.text.Load(); text != nil {
		return text.Reveal(), nil
	}
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-r.turn }()
	if text := r.text.Load(); text != nil {
		return text.Reveal(), nil
	}
	if r.err != nil && time.Since(r.tried) < failedLasts {
		return "", r.err
	}
	ask, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	text, err := s.read(ask, name, nil)
	if ctx.Err() != nil {
		return "", ctx.Err() // which says nothing about the secret
	}
	r.tried, r.err = time.Now(), err
	if err != nil {
		return "", err
	}
	r.text.Store(&text)
	return text.Reveal(), nil
}

// isEnd reports whether an error is that of a caller who left, or whose time was up.
func isEnd(err error) bool {
	return err == context.Canceled || err == context.DeadlineExceeded //nolint:errorlint // a deadline of our own is in a chain
}

// Run keeps the secrets current until ctx ends. changed is called with the servers
// that use a secret which is another now, or which can be read at last.
func (c *Credentials) Run(ctx context.Context, changed func([]Changed)) {
	tick := time.NewTicker(filesEvery)
	defer tick.Stop()
	for {
		if news := c.secrets.look(ctx); len(news) > 0 && changed != nil && ctx.Err() == nil {
			changed(news)
		}
		select {
		case <-ctx.Done():
			return
		case <-c.secrets.wake:
		case <-tick.C:
		}
	}
}

// look reads what is due, files before Vault, so that they need not wait for it.
func (s *secrets) look(ctx context.Context) []Changed {
	s.mu.Lock()
	all := slices.SortedFunc(maps.Values(s.known), func(a, b *reference) int { return cmp.Compare(a.name, b.name) })
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, passTime)
	defer cancel()
	grown := map[jackfield.ServerID]bool{}
	pass := map[string]vaultAnswer{}
	for _, r := range all {
		if s.renew(ctx, r, pass) {
			for _, id := range s.grow(r) {
				grown[id] = true
			}
		}
	}
	var news []Changed
	for _, id := range slices.Sorted(maps.Keys(grown)) {
		news = append(news, Changed{Server: id})
	}
	return news
}

// renew reads one secret anew if that is due, and reports whether it is another now
// than what somebody was given, or was refused.
func (s *secrets) renew(ctx context.Context, r *reference, pass map[string]vaultAnswer) bool {
	select {
	case r.turn <- struct{}{}:
	default:
		return false // somebody reads it just now
	}
	defer func() { <-r.turn }()
	old := r.text.Load()
	every := filesEvery
	if strings.HasPrefix(r.name, vaultPrefix) {
		if every = vaultEvery; r.err != nil || old == nil {
			every = failedAgain
		}
	}
	if !r.tried.IsZero() && time.Since(r.tried) < every {
		return false
	}
	text, err := s.read(ctx, r.name, pass)
	if errors.Is(ctx.Err(), context.Canceled) {
		return false
	}
	refused := r.err != nil && old == nil
	switch {
	case err != nil && r.err == nil:
		s.log.Warn("a secret cannot be read", slog.String("secret", r.name), slog.Any("error", err), slog.Bool("known", old != nil))
	case err == nil && r.err != nil:
		s.log.Info("a secret can be read again", slog.String("secret", r.name))
	}
	r.tried, r.err = time.Now(), err
	if err != nil {
		return false
	}
	r.text.Store(&text)
	return refused || old != nil && *old != text
}

// grow has the versions of all servers grow that use a secret.
func (s *secrets) grow(r *reference) []jackfield.ServerID {
	s.mu.Lock()
	defer s.mu.Unlock()
	versions := maps.Clone(*s.versions.Load())
	for _, id := range r.servers {
		versions[id]++
		s.grown = max(s.grown, versions[id])
	}
	s.versions.Store(&versions)
	return r.servers
}

const (
	filePrefix  = "file:"
	vaultPrefix = "vault:"
)

// read reads a secret from where it stands. pass has what Vault answered in the same
// look; nil: nothing is kept. Errors name the reference.
func (s *secrets) read(ctx context.Context, name string, pass map[string]vaultAnswer) (jackfield.Secret, error) {
	var text string
	var err error
	if path, ok := strings.CutPrefix(name, filePrefix); ok {
		text, err = readFile(path)
	} else if path, ok := strings.CutPrefix(name, vaultPrefix); ok {
		text, err = s.vault.read(ctx, path, pass)
	} else {
		err = errors.New("write file:/path, or vault:mount/path#field")
	}
	switch {
	case err == nil && text == "":
		err = errors.New("it is empty")
	case err == nil && len(text) > maxSecret:
		err = fmt.Errorf("it is longer than %d KiB", maxSecret>>10)
	}
	if err != nil {
		return "", fmt.Errorf("the secret %s cannot be read: %w", name, err)
	}
	return jackfield.Secret(text), nil
}

// readFile reads a secret, which one end of a line does not belong to. Files are
// read and compared each time: that finds what a size and a time would miss, and
// follows links, as Kubernetes exchanges them, to where they lead now.
func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", errors.New("it is not a file") // a pipe would be waited for
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(file, maxSecret+3))
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}
