package app

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/seal"
	"github.com/jackfield-dev/jackfield/internal/store"
)

// openStore opens the store of the data directory. A disk that does not do what it
// should is no reason not to serve: then there is no store, and the reason is
// logged and told by /healthz.
func (p *parts) openStore(ctx context.Context) error {
	c := p.config
	if c.Data == "" && c.Store.URL == "" {
		return nil
	}
	keys, err := seal.Load(seal.Options{File: c.Store.MasterKeyFile, Env: c.Store.MasterKey.Reveal(), Dir: c.Data})
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Options{Dir: c.Data, DSN: c.Store.URL, HintDSN: c.Store.HintsURL, Log: p.log})
	switch {
	case jackfield.CodeOf(err) == jackfield.Unavailable && c.Store.URL == "":
		p.saves.ended(p.log, err)
		return nil
	case err != nil:
		return err
	}
	used, err := s.Seals(ctx)
	if err == nil {
		err = keys.Check(used)
	}
	if err != nil {
		return errors.Join(err, s.Close())
	}
	p.store, p.keys = s, keys
	return nil
}

// restore takes in what the last run knew of the servers.
func (p *parts) restore(ctx context.Context) {
	if p.store == nil {
		return
	}
	kept, bad, err := p.store.Load(ctx)
	if err != nil {
		p.saves.ended(p.log, err)
		return
	}
	if bad != nil {
		p.log.Warn("a part of the catalog of the last run was damaged", slog.Any("error", bad))
	}
	p.catalog.Restore(p.servers(), kept)
}

// saves is how writing to the store goes.
type saves struct {
	mu     sync.Mutex
	err    error     // why the last write failed; nil: it did not
	logged time.Time // when that was last said
}

const sayAgain = 10 * time.Minute // that the store fails

// ended is told of each write.
func (s *saves) ended(log *slog.Logger, err error) {
	s.mu.Lock()
	before := s.err
	s.err = err
	say := err != nil && (before == nil || time.Since(s.logged) >= sayAgain)
	if say {
		s.logged = time.Now()
	}
	s.mu.Unlock()
	switch {
	case say:
		log.Error("the catalog cannot be kept; it is served from memory and lost with a restart", slog.Any("error", err))
	case err == nil && before != nil:
		log.Info("the catalog is kept again")
	}
}

// errNotKept is for everybody, with a token or without: what exactly is wrong with
// which file is for the log.
var errNotKept = jackfield.Errorf(jackfield.Unavailable, "the catalog is served from memory and cannot be kept for the next start; the log says why")

// degraded is why the gateway does less than it should; nil: it does not.
func (s *saves) degraded() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return nil
	}
	return errNotKept
}

// degraded is why the gateway does less than it should; nil: it does not.
func (p *parts) degraded() error { return errors.Join(p.saves.degraded(), p.follower.degraded()) }

// backup writes a backup of the store. The database is copied as it is at one moment,
// beside the original, so that whoever reads slowly holds up nobody.
func (p *parts) backup(ctx context.Context, w io.Writer) error {
	dir, err := os.MkdirTemp(p.config.Data, "backup-")
	if err != nil {
		return jackfield.Errorf(jackfield.Unavailable, "there is no place for the copy of the store: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left is found by whoever looks at the disk
	path := filepath.Join(dir, "jackfield.db")
	if err = p.store.Backup(ctx, path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return errors.Join(err, f.Close())
}

// fingerprints makes what the store knows definitions by: an HMAC with a key of
// its own over all that decides a connection, credentials included, since what a
// server lists depends on them. Without the gateway's key it says nothing.
func fingerprints(key []byte) func(jackfield.Server) string {
	derive := hmac.New(sha256.New, key)
	_, _ = derive.Write([]byte("jackfield: fingerprint of a definition")) // never fails
	own := derive.Sum(nil)
	return func(s jackfield.Server) string {
		e := s.Endpoint
		text, err := json.Marshal([]any{
			e.Transport, e.Command, e.Args, revealed(e.Env), e.Dir, e.Limits, e.URL, revealed(e.Headers),
			e.TLS.CA, e.TLS.Cert, e.TLS.Key.Reveal(), e.TLS.ServerName, s.Operator, s.Scope, s.Base, filled(&s.Fill),
			s.Usage.Sharing, s.Usage.RequiresOAuth,
		})
		if err != nil {
			return "" // there is nothing in it that cannot be written
		}
		sum := hmac.New(sha256.New, own)
		_, _ = sum.Write(text) // never fails
		return hex.EncodeToString(sum.Sum(nil))
	}
}

// filled are the templates of a definition, with all that is in them.
func filled(f *jackfield.Fill) []any {
	if f.Empty() {
		return nil
	}
	text := func(t jackfield.Template) [][3]string {
		parts := make([][3]string, len(t))
		for i, p := range t {
			parts[i] = [3]string{p.Text.Reveal(), string(p.From), p.Name}
		}
		return parts
	}
	args, env, headers := map[int][][3]string{}, map[string][][3]string{}, map[string][][3]string{}
	for i, t := range f.Args {
		args[i] = text(t)
	}
	for name, t := range f.Env {
		env[name] = text(t)
	}
	for name, t := range f.Headers {
		headers[name] = text(t)
	}
	return []any{text(f.URL), args, env, headers}
}

func revealed(secrets map[string]jackfield.Secret) map[string]string {
	all := make(map[string]string, len(secrets))
	for name, s := range secrets {
		all[name] = s.Reveal()
	}
	return all
}

// Restore puts a backup of a store in SQLite into a data directory, for the next start
// of a gateway there. A store that is there already is kept with force, under the name
// that is returned. Errors are *jackfield.Error: Conflict when a gateway runs there or,
// without force, there is a store already, Invalid when from is no backup.
func Restore(ctx context.Context, data, from string, force bool) (aside string, err error) {
	return store.Restore(ctx, data, from, force)
}
