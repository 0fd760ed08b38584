package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/authn"
	"github.com/jackfield-dev/jackfield/internal/credentials"
	"github.com/jackfield-dev/jackfield/internal/record"
	"github.com/jackfield-dev/jackfield/internal/registry"
	"github.com/jackfield-dev/jackfield/pool"
)

// world is the API over the real rooms, with a store in memory. There are the admin
// root; ann, an editor of the team data; bob, who is in it; and eve, who is in none.
type world struct {
	t *testing.T
	*Handler
	edge  *edge
	store *memory

	mu    sync.Mutex
	slots map[pool.Key]pool.Status
	did   []string                     // what the Board and Connect were asked for
	fails map[jackfield.ServerID]error // what connecting to a server fails with
	gone  map[string]bool              // tokens that are refused
}

func newWorld(t *testing.T, file ...jackfield.Server) *world {
	t.Helper()
	w := &world{
		t: t, store: &memory{}, slots: map[pool.Key]pool.Status{}, fails: map[jackfield.ServerID]error{}, gone: map[string]bool{},
	}
	people := authn.New(authn.Options{Writer: w.store})
	reg := registry.New(registry.Options{Writer: w.store, Seal: bare{}, Decide: decide})
	creds := credentials.New(credentials.Options{Writer: w.store, Seal: bare{}, Person: func(subject string) (credentials.Person, bool) {
		p, ok := people.Person(subject)
		return credentials.Person(p), ok
	}})
	events := &Events{}
	w.store.take = func(b record.Batch) {
		people.Take(b)
		creds.Take(b)
		reg.Take(b)
		events.Changed(b)
	}
	if _, err := reg.Apply(file); err != nil {
		t.Fatal(err)
	}
	w.Handler = &Handler{
		Authenticate: w.authenticate,
		Servers:      func() []jackfield.Server { return reg.Snapshot().Servers() },
		Registry:     reg, People: people, Credentials: creds, Board: w, Events: events,
		Connections: w.connections,
		Reset:       func(s jackfield.Server) { w.note("reset " + string(s.ID)) },
		Connect:     w.open,
		Backup: func(_ context.Context, out io.Writer) error {
			_, err := io.WriteString(out, "SQLite format 3\x00…")
			return err
		},
		ReadLog: w.store.readLog,
		Version: "v1.2.3",
	}
	w.edge = w.Handler.edge()
	root := jackfield.Principal{Subject: "root", Role: jackfield.RoleAdmin}
	for _, id := range []string{"data", "ops"} {
		must(people.Teams().Put(t.Context(), root, authn.Team{ID: id}, authn.Condition{}))
	}
	for _, u := range []authn.User{
		{Subject: "root", Role: jackfield.RoleAdmin},
		{Subject: "ann", Role: jackfield.RoleEditor, Teams: []string{"data"}, Email: "ann@example.com", Name: "Ann"},
		{Subject: "bob", Teams: []string{"data"}},
		{Subject: "eve"},
	} {
		must(people.Users().Put(t.Context(), root, u, authn.Condition{}))
	}
	return w
}

// decide knows of rules that deny, and of no others.
func decide(p jackfield.Principal, s *jackfield.Server) (jackfield.Access, jackfield.ToolFilter) {
	if slices.ContainsFunc(s.Rules.Deny, p.Is) {
		return jackfield.Refuse("denied"), jackfield.ToolFilter{}
	}
	return jackfield.Allow(), jackfield.ToolFilter{}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// authenticate takes a subject for its token.
func (w *world) authenticate(r *http.Request) (jackfield.Principal, error) {
	_, who, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	w.mu.Lock()
	defer w.mu.Unlock()
	if who == "" || w.gone[who] {
		return jackfield.Principal{}, jackfield.Errorf(jackfield.AuthRequired, "send a token")
	}
	return w.People.Principal(who), nil
}

func (w *world) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did = append(w.did, what)
}

func (w *world) connections() iter.Seq2[pool.Key, pool.Status] {
	return func(yield func(pool.Key, pool.Status) bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for k, st := range w.slots {
			if !yield(k, st) {
				return
			}
		}
	}
}

func (w *world) open(_ context.Context, who jackfield.Principal, s jackfield.Server) error {
	w.note("connect " + string(s.ID) + " for " + who.Subject)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fails[s.ID]; err != nil {
		return err
	}
	w.slots[pool.Key{Server: s.ID, Scope: who.Scope()}] = pool.Status{State: pool.Ready}
	return nil
}

// Reset and Cut implement Board.
func (w *world) Reset(match func(pool.Key) bool) { w.drop("drained", match) }

// Cut ends connections.
func (w *world) Cut(match func(pool.Key) bool, _ error) { w.drop("cut", match) }

func (w *world) drop(how string, match func(pool.Key) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range w.slots {
		if match(k) {
			delete(w.slots, k)
			w.did = append(w.did, how+" "+k.String())
		}
	}
}

// reply is an answer of the API.
type reply struct {
	*httptest.ResponseRecorder
	t *testing.T
}

// into decodes the body.
func (r reply) into(v any) {
	r.t.Helper()
	if err := json.Unmarshal(r.Body.Bytes(), v); err != nil {
		r.t.Fatalf("%v in %d %s", err, r.Code, r.Body)
	}
}

func (r reply) problem() Problem {
	r.t.Helper()
	var p Problem
	r.into(&p)
	if p.Status != r.Code || p.Title != http.StatusText(r.Code) || p.Code == "" || p.Detail == "" || r.Header().Get("Content-Type") != "application/problem+json" {
		r.t.Errorf("%d %v: not a whole problem: %s", r.Code, r.Header(), r.Body)
	}
	return p
}

// ask asks for a path below the base as somebody, and holds the answer to the
// document. body is JSON text, or marshalled; header are names and values.
func (w *world) ask(as, method, path string, body any, header ...string) reply {
	w.t.Helper()
	var sent io.Reader = http.NoBody
	switch b := body.(type) {
	case nil:
	case string:
		sent = strings.NewReader(b)
	default:
		sent = bytes.NewReader(must(json.Marshal(b)))
	}
	r := httptest.NewRequest(method, base+path, sent)
	if as != "" {
		r.Header.Set("Authorization", "Bearer "+as)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	out := reply{httptest.NewRecorder(), w.t}
	mux := http.NewServeMux()
	mux.Handle("/api/", w.edge.routes.mux)
	mux.ServeHTTP(out, r)
	if out.Header().Get("Cache-Control") != "no-store" || out.Header().Get("X-Content-Type-Options") != "nosniff" {
		w.t.Errorf("%s %s: headers %v", method, path, out.Header())
	}
	w.documented(r, out)
	return out
}

// want asks, and fails if the status is another.
func (w *world) want(status int, as, method, path string, body any, header ...string) reply {
	w.t.Helper()
	out := w.ask(as, method, path, body, header...)
	if out.Code != status {
		w.t.Fatalf("%s %s as %s: %d, want %d: %.2000s", method, path, as, out.Code, status, out.Body)
	}
	return out
}

// documented holds an answer to what the document says of it.
func (w *world) documented(r *http.Request, out reply) {
	w.t.Helper()
	_, pattern := w.edge.routes.mux.Handler(r)
	_, path, _ := strings.Cut(pattern, " ")
	op := operation(w.edge.huma.OpenAPI().Paths[path], r.Method)
	if op == nil {
		return // refused by the mux
	}
	response := op.Responses[statusText(out.Code)]
	if response == nil {
		response = op.Responses["default"]
		if out.Code < 400 {
			w.t.Errorf("%s %s: the document does not know of %d", r.Method, path, out.Code)
		}
	}
	if len(response.Content) == 0 {
		if out.Body.Len() > 0 {
			w.t.Errorf("%s %s %d: a body where the document has none: %s", r.Method, path, out.Code, out.Body)
		}
		return
	}
	media := response.Content[out.Header().Get("Content-Type")]
	if media == nil {
		w.t.Errorf("%s %s %d: the document does not know of %q", r.Method, path, out.Code, out.Header().Get("Content-Type"))
		return
	}
	if r.Method == http.MethodHead || media.Schema == nil || media.Schema.Type == huma.TypeString {
		return
	}
	var v any
	out.into(&v)
	found := &huma.ValidateResult{}
	huma.Validate(w.edge.huma.OpenAPI().Components.Schemas, media.Schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, v, found)
	for _, err := range found.Errors {
		w.t.Errorf("%s %s %d: %v in %.1000s", r.Method, path, out.Code, err, out.Body)
	}
}

func operation(item *huma.PathItem, method string) *huma.Operation {
	if item == nil {
		return nil
	}
	switch method {
	case http.MethodGet, http.MethodHead:
		return item.Get
	case http.MethodPost:
		return item.Post
	case http.MethodPut:
		return item.Put
	case http.MethodDelete:
		return item.Delete
	}
	return nil
}

func statusText(code int) string { return string(must(json.Marshal(code))) }

// server adds a definition.
func (w *world) server(as, scope, name, definition string) Definition {
	w.t.Helper()
	var d Definition
	w.want(http.StatusCreated, as, "POST", "/servers", NewServer{Name: name, Scope: scope, Definition: Document(definition)}).into(&d)
	return d
}

func esc(s string) string { return url.PathEscape(s) }
