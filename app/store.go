package app

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/store"
)

// openStore opens the store of the data directory. A disk that does not do what it
// should is no reason not to serve: then there is no store, and the reason is
// logged and told by /healthz.
func (p *parts) openStore(ctx context.Context) error {
	if p.config.Data == "" {
		return nil
	}
	s, err := store.Open(ctx, p.config.Data)
	switch {
	case jackfield.CodeOf(err) == jackfield.Unavailable:
		p.saves.ended(p.log, err)
		return nil
	case err != nil:
		return err
	}
	if s.Moved != "" {
		p.log.Warn("the catalog of the last run was damaged, so servers are listed anew", slog.String("moved", s.Moved))
	}
	p.store = s
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
			e.TLS.CA, e.TLS.Cert, e.TLS.Key.Reveal(), e.TLS.ServerName, s.Operator,
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

func revealed(secrets map[string]jackfield.Secret) map[string]string {
	all := make(map[string]string, len(secrets))
	for name, s := range secrets {
		all[name] = s.Reveal()
	}
	return all
}
