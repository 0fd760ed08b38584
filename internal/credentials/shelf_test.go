package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/credentials"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// lock is a seal that says what it is bound to, and counts.
type lock struct {
	mu     sync.Mutex
	opened int
}

func (*lock) Seal(bind string, plain []byte) ([]byte, uint32, error) {
	return []byte(bind + "\x00\x00" + string(plain)), 7, nil
}

func (l *lock) Open(bind string, sealed []byte, key uint32) ([]byte, error) {
	l.mu.Lock()
	l.opened++
	l.mu.Unlock()
	plain, ok := strings.CutPrefix(string(sealed), bind+"\x00\x00")
	if !ok || key != 7 {
		return nil, jackfield.Errorf(jackfield.Internal, "it does not open")
	}
	return []byte(plain), nil
}

func (l *lock) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opened
}

// shelf is a store, and the credentials that it keeps current.
type shelf struct {
	*credentials.Credentials
	t    testing.TB
	lock *lock

	people  map[string]credentials.Person // by subject; not changed while anybody asks
	env     map[string]string
	mu      sync.Mutex // guards what follows
	number  uint64
	records map[record.Ref]record.Record
	fail    error
	writes  [][]record.Write
}

func newShelf(t testing.TB) *shelf {
	s := &shelf{t: t, lock: &lock{}, people: map[string]credentials.Person{}, env: map[string]string{}, records: map[record.Ref]record.Record{}}
	s.Credentials = s.process(nil)
	return s
}

// process is what another process knows that has the same store.
func (s *shelf) process(client *http.Client) *credentials.Credentials {
	return credentials.New(credentials.Options{
		Writer: s, Seal: s.lock, HTTP: client,
		Person: func(subject string) (credentials.Person, bool) { p, ok := s.people[subject]; return p, ok },
		Env:    func(name string) (string, bool) { v, ok := s.env[name]; return v, ok },
	})
}

func (s *shelf) Write(_ context.Context, by string, writes ...record.Write) ([]record.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	s.writes = append(s.writes, writes)
	out := make([]record.Record, len(writes))
	batch := record.Batch{}
	for i, w := range writes {
		s.number++
		if w.Remove {
			delete(s.records, w.Ref)
			batch.Gone = append(batch.Gone, w.Ref)
			continue
		}
		out[i] = record.Record{
			Ref: w.Ref, Body: w.Body, Sealed: w.Sealed, Seal: w.Seal, Revision: s.number, Version: s.number, By: by,
			Created: at(s.number), Changed: at(s.number),
		}
		s.records[w.Ref] = out[i]
		batch.Records = append(batch.Records, out[i])
	}
	batch.Head = s.number
	if s.Credentials != nil {
		s.Take(batch)
	}
	return out, nil
}

// at is when a change was.
func at(number uint64) time.Time { return time.Unix(1_800_000_000+int64(number), 0).UTC() }

// all is everything that is stored.
func (s *shelf) all() record.Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.allLocked()
}

// allLocked is all. mu is held.
func (s *shelf) allLocked() record.Batch {
	b := record.Batch{All: true, Head: s.number}
	for _, r := range s.records {
		b.Records = append(b.Records, r)
	}
	return b
}

func (s *shelf) user(subject string) {
	s.t.Helper()
	if _, err := s.Write(s.t.Context(), "admin", record.Write{Ref: record.Ref{Kind: record.User, ID: subject}, Anyway: true, Body: []byte(`{}`)}); err != nil {
		s.t.Fatal(err)
	}
}

var (
	alice = jackfield.User("alice")
	bob   = jackfield.User("bob")
)

// enter enters values as NAME=TEXT, and removes those of NAME alone.
func (s *shelf) enter(owner jackfield.Scope, server jackfield.Server, values ...string) {
	s.t.Helper()
	if err := s.Set(s.t.Context(), jackfield.Principal{Subject: owner.ID}, owner, server, given(values...)); err != nil {
		s.t.Fatal(err)
	}
}

func given(values ...string) map[string]*jackfield.Secret {
	out := map[string]*jackfield.Secret{}
	for _, v := range values {
		name, text, set := strings.Cut(v, "=")
		out[name] = nil
		if secret := jackfield.Secret(text); set {
			out[name] = &secret
		}
	}
	return out
}

// tmpl reads a template: {{user.x}}, {{team}}, {{var.X}} and ${secret}.
func tmpl(text string) jackfield.Template {
	var t jackfield.Template
	for text != "" {
		open, dollar := strings.Index(text, "{{"), strings.Index(text, "${")
		var inside string
		switch {
		case open < 0 && dollar < 0:
			return append(t, jackfield.Part{Text: jackfield.Secret(text)})
		case dollar >= 0 && (open < 0 || dollar < open):
			open = dollar
			inside, _, _ = strings.Cut(text[open+2:], "}")
			t = lead(t, text[:open])
			t = append(t, jackfield.Part{From: jackfield.FromSecret, Name: inside})
			text = text[open+len(inside)+3:]
		default:
			inside, _, _ = strings.Cut(text[open+2:], "}}")
			t = lead(t, text[:open])
			source, name, _ := strings.Cut(inside, ".")
			t = append(t, jackfield.Part{From: jackfield.Source(source), Name: name})
			text = text[open+len(inside)+4:]
		}
	}
	return t
}

func lead(t jackfield.Template, text string) jackfield.Template {
	if text == "" {
		return t
	}
	return append(t, jackfield.Part{Text: jackfield.Secret(text)})
}

// remote is a server that the operator did not define, with headers as NAME, TEMPLATE.
func remote(url string, headers ...string) jackfield.Server {
	s := jackfield.Server{
		ID: "app/github", Name: "github", Version: 1,
		Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: url},
		Vars: []jackfield.Variable{
			{Name: "TOKEN", Title: "GitHub token", Sensitive: true, Required: true},
			{Name: "ORG", Title: "Organisation", Required: true},
			{Name: "NOTE", Sensitive: true},
		},
	}
	if strings.Contains(url, "{") {
		s.Fill.URL = tmpl(url)
	}
	for i := 0; i < len(headers); i += 2 {
		if s.Fill.Headers == nil {
			s.Fill.Headers = map[string]jackfield.Template{}
		}
		s.Fill.Headers[headers[i]] = tmpl(headers[i+1])
	}
	return s
}

func (s *shelf) headers(owner jackfield.Scope, server jackfield.Server) (http.Header, error) {
	return s.Headers(&server, owner)(s.t.Context())
}

func (s *shelf) wantHeader(owner jackfield.Scope, server jackfield.Server, name, want string) {
	s.t.Helper()
	h, err := s.headers(owner, server)
	if err != nil || h.Get(name) != want {
		s.t.Errorf("%s: %q, not %q; %v", name, h.Get(name), want, err)
	}
}

// wantAuth wants an error that only somebody can end, with some words in it.
func wantAuth(t testing.TB, err error, words ...string) {
	t.Helper()
	f := jackfield.FailureOf(err)
	if jackfield.CodeOf(err) != jackfield.AuthRequired || f == nil || f.Kind != jackfield.FailureAuth || !f.Next.IsZero() || f.Message != err.Error() {
		t.Errorf("%v (%+v) is no error that only somebody ends", err, f)
		return
	}
	wantWords(t, err, words...)
}

func wantWords(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error, where there should be one of", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in: %v", w, err)
		}
	}
}

var errAway = jackfield.Errorf(jackfield.Unavailable, "the store is away")

func must[T any](v T, err error) T {
	if err != nil {
		panic(errors.Join(fmt.Errorf("in a test"), err))
	}
	return v
}
