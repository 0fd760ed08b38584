package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// world is a catalog in front of scripted servers, with a clock of its own.
type world struct {
	t       *testing.T
	c       *Catalog
	mu      sync.Mutex
	servers map[jackfield.ServerID]*script
	changes []Change
	dropped []string
}

// script is how a server answers.
type script struct {
	def    jackfield.Server
	names  [numKinds][]string
	raws   [numKinds][]wire.Raw // instead of names
	took   time.Duration        // until it answers
	err    error
	errs   [numKinds]error
	ttl    time.Duration
	told   bool
	public bool
	cut    string
	shape  exchange.Shape
	per    func(jackfield.Scope) []string // tools of each owner

	visits  int
	owners  []jackfield.Scope
	kinds   []Kinds
	open    int
	mostOpn int
}

func newWorld(t *testing.T, o Options, servers ...string) *world {
	w := &world{t: t, servers: map[jackfield.ServerID]*script{}}
	for _, s := range servers {
		w.add(s)
	}
	o.Fetch = w.fetch
	o.Hooks.Dropped = func(s jackfield.Server, k Kind, name, reason string, items int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.dropped = append(w.dropped, fmt.Sprintf("%s/%s/%s: %s (%d)", s.Name, k, name, reason, items))
	}
	w.c = New(o)
	w.c.Watch(func(ch Change) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changes = append(w.changes, ch)
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if err := w.c.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return w
}

func (w *world) add(name string, tools ...string) *script {
	s := &script{def: jackfield.Server{
		ID: jackfield.ServerID(name), Name: name, Version: 1, Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP},
	}}
	s.names[Tools] = append([]string{"echo"}, tools...)
	w.servers[s.def.ID] = s
	return s
}

func (w *world) fetch(ctx context.Context, s jackfield.Server, owner jackfield.Scope, kinds Kinds) (Fetched, error) {
	w.mu.Lock()
	sc := w.servers[s.ID]
	sc.visits++
	sc.owners = append(sc.owners, owner)
	sc.kinds = append(sc.kinds, kinds)
	sc.open++
	sc.mostOpn = max(sc.mostOpn, sc.open)
	got, took, err := sc.answer(owner), sc.took, sc.err
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		sc.open--
		w.mu.Unlock()
	}()
	if took > 0 {
		select {
		case <-time.After(took):
		case <-ctx.Done():
			return Fetched{}, ctx.Err()
		}
	}
	return got, err
}

func (sc *script) answer(owner jackfield.Scope) Fetched {
	got := Fetched{Shape: sc.shape}
	if got.Shape.Version == "" {
		got.Shape.Version = exchange.LatestLegacy
	}
	for k := range Kind(numKinds) {
		names := sc.names[k]
		if k == Tools && sc.per != nil {
			names = sc.per(owner)
		}
		l := List{TTL: sc.ttl, Told: sc.told, Public: sc.public, Cut: sc.cut, Err: sc.errs[k], Items: slices.Clone(sc.raws[k])}
		for _, n := range names {
			l.Items = append(l.Items, thing(k, n))
		}
		got.Lists[k] = l
	}
	return got
}

func thing(k Kind, name string) wire.Raw {
	b := wire.AppendString([]byte(`{"description":"a thing", "`+keyMembers[k][0]+`" : `), name)
	return append(b, `,"x":1.50}`...)
}

// set changes how a server answers.
func (w *world) set(name string, f func(*script)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.servers[jackfield.ServerID(name)])
}

func (w *world) visits(name string) int {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.servers[jackfield.ServerID(name)].visits
}

func (w *world) def(name string) jackfield.Server {
	return w.servers[jackfield.ServerID(name)].def
}

func (w *world) view(names ...string) *View {
	var defs []jackfield.Server
	for _, n := range names {
		defs = append(defs, w.def(n))
	}
	return w.c.View(defs)
}

// told takes the changes that were told since the last time, of one server.
func (w *world) told(name string) Kinds {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var kinds Kinds
	w.changes = slices.DeleteFunc(w.changes, func(ch Change) bool {
		if ch.Server == jackfield.ServerID(name) {
			kinds |= ch.Kinds
			return true
		}
		return false
	})
	return kinds
}

// page is a listing as a client reads it.
type page struct {
	ResultType        string           `json:"resultType"`
	TTL               int64            `json:"ttlMs"`
	Scope             string           `json:"cacheScope"`
	Next              string           `json:"nextCursor"`
	Tools             []map[string]any `json:"tools"`
	Prompts           []map[string]any `json:"prompts"`
	Resources         []map[string]any `json:"resources"`
	ResourceTemplates []map[string]any `json:"resourceTemplates"`

	names []string
	took  time.Duration
}

func (w *world) list(v *View, k Kind) page { return w.listFor(jackfield.User("ann"), v, k, "") }

func (w *world) listFor(owner jackfield.Scope, v *View, k Kind, cursor string) page {
	w.t.Helper()
	p, err := w.tryList(owner, v, k, cursor)
	if err != nil {
		w.t.Fatalf("%s: %v", k.Method(), err)
	}
	return p
}

func (w *world) tryList(owner jackfield.Scope, v *View, k Kind, cursor string) (page, error) {
	w.t.Helper()
	before := time.Now()
	raw, err := v.List(w.t.Context(), owner, k, cursor)
	if err != nil {
		return page{}, err
	}
	var p page
	if err := json.Unmarshal(raw, &p); err != nil {
		w.t.Fatalf("%s: %v in %s", k.Method(), err, raw)
	}
	p.took = time.Since(before)
	items := [][]map[string]any{p.Tools, p.Prompts, p.Resources, p.ResourceTemplates}[k]
	if items == nil {
		w.t.Fatalf("%s: no %q in %s", k.Method(), kindMembers[k], raw)
	}
	for _, it := range items {
		p.names = append(p.names, it[keyMembers[k][0]].(string))
	}
	if p.ResultType != "complete" || p.Scope != "private" && p.Scope != "public" {
		w.t.Fatalf("not a complete modern result: %s", raw)
	}
	return p, nil
}

func (p page) want(t *testing.T, names ...string) {
	t.Helper()
	if !slices.Equal(p.names, names) {
		t.Fatalf("listed %q, want %q", p.names, names)
	}
}

func (p page) wantTook(t *testing.T, d time.Duration) {
	t.Helper()
	if p.took != d {
		t.Fatalf("took %v, want %v", p.took, d)
	}
}

// inBubble runs a test with a clock of its own.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var errDown = errors.New("connection refused")

func has(all []string, part string) bool {
	return slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, part) })
}
