package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/connections"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
	"github.com/jackfield-dev/jackfield/wire"
)

// house is a broker on a real board and a real catalog, in front of scripted
// servers.
type house struct {
	t     testing.TB
	b     *Broker
	board *connections.Board[Conn]
	cat   *catalog.Catalog

	credential atomic.Uint64 // its version, of everybody
	public     bool          // servers say that their lists are

	mu       sync.Mutex
	scripts  map[jackfield.ServerID]*script
	snapshot []jackfield.Server
}

// script is how a server behaves. house.mu protects it.
type script struct {
	def      jackfield.Server
	shape    exchange.Shape
	lists    [4][]string
	extra    map[string]string // more members of what is listed under a name
	listErr  error
	dialErr  error
	dialing  time.Duration
	answer   func(c *conn, ctx context.Context, r *exchange.Request, p exchange.Peer) (exchange.Result, error)
	silent   bool              // it offers no stream
	refuses  bool              // it agrees to nothing
	hints    map[string]string // annotations of tools
	standing time.Duration     // before a stream stands
	dials    int
	conns    []*conn
}

const (
	legacyCaps = `{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true},"completions":{},"logging":{}}`
	modern     = exchange.Modern
)

func newHouse(t testing.TB, o Options, names ...string) *house {
	h := &house{t: t, scripts: map[jackfield.ServerID]*script{}}
	for _, n := range names {
		h.add(n)
	}
	h.cat = catalog.New(catalog.Options{Fetch: h.fetch})
	h.board = connections.New(connections.Options[Conn]{
		Lookup:     h.lookup,
		Shape:      h.cat.Shape,
		ShapeOf:    Conn.Shape,
		Dial:       h.dial,
		Credential: func(jackfield.ServerID, jackfield.Scope) uint64 { return h.credential.Load() },
		Claimed:    func(c Conn, k pool.Key) { c.(*conn).key.Store(&k) },
	})
	o.Lookup, o.Connections, o.Catalog = h.lookup, h.board, h.cat
	if o.Sees == nil { // one principal, who sees all
		o.Sees = func(jackfield.Principal) []jackfield.Server { return h.servers() }
		o.Public = func([]jackfield.Server) bool { return true }
	}
	h.b = New(o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		for what, err := range map[string]error{"broker": h.b.Close(ctx), "catalog": h.cat.Close(ctx), "board": h.board.Close(ctx)} {
			if err != nil {
				t.Errorf("closing the %s: %v", what, err)
			}
		}
	})
	return h
}

func (h *house) add(name string) *script {
	s := &script{
		def: jackfield.Server{
			ID: jackfield.ServerID(name), Name: name, Version: 1, Revision: 1,
			Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP},
		},
		shape: exchange.Shape{
			Transport: "http", Version: modern, Capabilities: wire.Raw(legacyCaps),
			ServerInfo: wire.Raw(`{"name":"` + name + `"}`), Instructions: "Use " + name + ".",
		},
	}
	s.lists[catalog.Tools] = []string{"echo"}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.scripts[s.def.ID] = s
	h.snapshot = append(slices.Clone(h.snapshot), s.def)
	return s
}

// set changes how a server behaves, or its definition.
func (h *house) set(name string, f func(*script)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.scripts[jackfield.ServerID(name)]
	f(s)
	h.snapshot = slices.Clone(h.snapshot)
	for i := range h.snapshot {
		if h.snapshot[i].ID == s.def.ID {
			h.snapshot[i] = s.def
		}
	}
}

// legacy makes a server one that keeps sessions.
func (h *house) legacy(name string) {
	h.set(name, func(s *script) { s.shape.Version, s.shape.Session = exchange.LatestLegacy, true })
}

func (h *house) lookup(id jackfield.ServerID) (jackfield.Server, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.scripts[id]
	if !ok {
		return jackfield.Server{}, false
	}
	return s.def, true
}

// eyes decide what each principal sees of a house. Those who see the same are shown
// the same slice, until the snapshot is another.
type eyes struct {
	see func(p jackfield.Principal, s jackfield.Server) bool

	mu    sync.Mutex // protects what follows
	h     *house
	of    []jackfield.Server // the snapshot
	sees  map[string][]jackfield.Server
	asked int
}

func (e *eyes) Sees(p jackfield.Principal) []jackfield.Server {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	all := e.h.servers()
	if !same(all, e.of) {
		e.of, e.sees = all, map[string][]jackfield.Server{}
	}
	var seen []jackfield.Server
	var ids strings.Builder
	for _, s := range all {
		if e.see(p, s) {
			seen = append(seen, s)
			ids.WriteString(string(s.ID) + " ")
		}
	}
	if e.sees[ids.String()] == nil {
		e.sees[ids.String()] = seen
	}
	return e.sees[ids.String()]
}

// seenBy makes a house in which not everybody sees everything.
func seenBy(t testing.TB, see func(p jackfield.Principal, s jackfield.Server) bool, names ...string) *house {
	e := &eyes{see: see}
	e.h = newHouse(t, Options{Sees: e.Sees}, names...)
	return e.h
}

func (h *house) servers() []jackfield.Server {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.snapshot
}

func (h *house) dials(name string) int {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.scripts[jackfield.ServerID(name)].dials
}

// conns are the connections to a server that are open.
func (h *house) conns(name string) []*conn {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.scripts[jackfield.ServerID(name)].conns), func(c *conn) bool { return c.Err() != nil })
}

// calls are those of the open connections that a call uses, not a listing.
func (h *house) calls(name string) []*conn {
	return slices.DeleteFunc(h.conns(name), func(c *conn) bool { return c.key.Load().Isolation.ID == "listing" })
}

func (h *house) dial(ctx context.Context, s jackfield.Server, k pool.Key, caps string) (Conn, error) {
	h.mu.Lock()
	sc := h.scripts[s.ID]
	sc.dials++
	err, took := sc.dialErr, sc.dialing
	h.mu.Unlock()
	if took > 0 {
		select {
		case <-time.After(took):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	c := &conn{h: h, s: sc, dead: make(chan struct{}), caps: caps}
	c.key.Store(&k)
	h.mu.Lock()
	sc.conns = append(sc.conns, c)
	shape := sc.shape
	h.mu.Unlock()
	h.cat.Learn(s, shape)
	h.cat.Connected(s, k.Scope)
	return c, nil
}

func (h *house) fetch(ctx context.Context, s jackfield.Server, owner jackfield.Scope, _ catalog.Kinds) (catalog.Fetched, error) {
	l, err := h.board.Listing(ctx, s, owner)
	if err != nil {
		return catalog.Fetched{}, err
	}
	defer l.Release()
	h.mu.Lock()
	defer h.mu.Unlock()
	sc := h.scripts[s.ID]
	got := catalog.Fetched{Shape: sc.shape}
	for k := range got.Lists {
		got.Lists[k].Public = h.public
		for _, name := range sc.lists[k] {
			member := []string{"name", "name", "uri", "uriTemplate"}[k]
			item := wire.AppendString([]byte(`{"`+member+`":`), name)
			if hints := sc.hints[name]; hints != "" {
				item = append(item, `,"annotations":`+hints...)
			}
			if more := sc.extra[name]; more != "" {
				item = append(item, ","+more...)
			}
			got.Lists[k].Items = append(got.Lists[k].Items, append(item, '}'))
		}
	}
	return got, sc.listErr
}

// conn is a connection to a scripted server.
type conn struct {
	h    *house
	s    *script
	key  atomic.Pointer[pool.Key]
	caps string

	once sync.Once
	dead chan struct{}
	why  error

	mu       sync.Mutex
	got      []string // requests and notifications
	hearing  map[string]int
	mostOpen int
}

func (c *conn) die(why error) {
	c.once.Do(func() {
		c.why = why
		close(c.dead)
	})
}

func (c *conn) Err() error {
	select {
	case <-c.dead:
		return c.why
	default:
		return nil
	}
}

func (c *conn) Close(context.Context) error { c.die(errors.New("closed")); return nil }
func (c *conn) Abort(reason error)          { c.die(reason) }

func (c *conn) Shape() exchange.Shape {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	return c.s.shape
}

func (c *conn) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, what)
}

// heard are the requests and notifications that arrived.
func (c *conn) heard() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

func (c *conn) Do(ctx context.Context, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
	if err := c.Err(); err != nil {
		return exchange.Result{}, unsent{err}
	}
	c.note(r.Method + " " + string(r.Params.Raw()))
	c.h.mu.Lock()
	answer := c.s.answer
	c.h.mu.Unlock()
	if answer != nil {
		return answer(c, ctx, r, p)
	}
	return exchange.Result{Raw: wire.Raw(`{"ok":true}`)}, nil
}

func (c *conn) Notify(_ context.Context, method string, params wire.Raw) error {
	c.note(method + " " + string(params))
	return nil
}

func (c *conn) Listen(ctx context.Context, in exchange.Interest) error {
	c.h.mu.Lock()
	silent, refuses, standing := c.s.silent, c.s.refuses, c.s.standing
	c.h.mu.Unlock()
	if silent {
		return fmt.Errorf("listening: %w", exchange.ErrNoStream)
	}
	feed := strings.Join(append(slices.Clone(in.URIs), in.Tasks...), " ")
	if in.Lists {
		feed = "lists"
	}
	if standing > 0 {
		time.Sleep(standing)
	}
	c.mu.Lock()
	if c.hearing == nil {
		c.hearing = map[string]int{}
	}
	c.hearing[feed]++
	c.mostOpen = max(c.mostOpen, c.hearing[feed])
	c.mu.Unlock()
	if in.Ready != nil {
		if refuses {
			in = exchange.Interest{Ready: in.Ready}
		}
		in.Ready(in)
	}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.hearing[feed]--; c.hearing[feed] == 0 {
			delete(c.hearing, feed)
		}
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.dead:
		return c.why
	}
}

// feeds is what is listened for on the connection.
func (c *conn) feeds() string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for f := range c.hearing {
		all = append(all, f)
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// say is the server saying something outside of any exchange.
func (c *conn) say(method, params string) {
	var raw wire.Raw
	if params != "" {
		raw = wire.Raw(params)
	}
	c.h.b.Event(*c.key.Load(), exchange.Event{Method: method, Params: raw})
}

// unsent is an error that proves that nothing was sent.
type unsent struct{ error }

func (unsent) NotSent() bool { return true }

func (e unsent) Unwrap() error {
	return jackfield.Errorf(jackfield.Unavailable, "the connection is gone: %w", e.error)
}

// A few callers.
func user(name string) Caller { return Caller{Principal: jackfield.Principal{Subject: name}} }

func inSession(name, id string) Caller {
	c := user(name)
	c.Session, c.Home = id, &peer{}
	return c
}

func (c Caller) only(server string) Caller {
	c.Only = server
	return c
}

// peer is a client that is told and asked things.
type peer struct {
	mu    sync.Mutex
	told  []string
	asked func(context.Context) ([]exchange.Answer, error)
}

func (p *peer) Notify(_ context.Context, method string, _ wire.Raw) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, method)
	return nil
}

func (p *peer) Ask(ctx context.Context, _ []exchange.Question) ([]exchange.Answer, error) {
	return p.asked(ctx)
}

func request(t testing.TB, method, params string) *exchange.Request {
	t.Helper()
	r := &exchange.Request{Method: method}
	if params == "" {
		r.Params = wire.NewObject(exchange.ParamKeys)
		return r
	}
	var err error
	if r.Params, err = wire.ScanObject(wire.Raw(params), exchange.ParamKeys); err != nil {
		t.Fatal(err)
	}
	return r
}

// do sends a request that must reach a result.
func (h *house) do(c Caller, method, params string) string {
	h.t.Helper()
	res, err := h.try(c, method, params)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, params, err)
	}
	if res.Err != nil {
		h.t.Fatalf("%s %s: %v", method, params, res.Err)
	}
	return string(res.Raw)
}

func (h *house) try(c Caller, method, params string) (exchange.Result, error) {
	h.t.Helper()
	r := request(h.t, method, params)
	before := string(r.Params.Raw())
	res, err := h.b.Do(h.ctx(), c, r, nil)
	if after := string(r.Params.Raw()); after != before {
		h.t.Fatalf("the request was %s and is %s", before, after)
	}
	return res, err
}

func (h *house) ctx() context.Context {
	if t, ok := h.t.(*testing.T); ok {
		return t.Context()
	}
	return context.Background()
}

// fails is a request that must fail with the code and these parts of a message.
func (h *house) fails(c Caller, method, params string, code jackfield.Code, parts ...string) {
	h.t.Helper()
	res, err := h.try(c, method, params)
	if err == nil || jackfield.CodeOf(err) != code {
		h.t.Fatalf("%s %s: %s %v, want a failure that is %v", method, params, res.Raw, err, code)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			h.t.Errorf("%s %s: %q lacks %q", method, params, err, p)
		}
	}
}

func names(t testing.TB, raw, member, key string) []string {
	t.Helper()
	var r map[string]json.RawMessage
	var items []map[string]any
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	if err := json.Unmarshal(r[member], &items); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	var all []string
	for _, it := range items {
		all = append(all, it[key].(string))
	}
	return all
}

func equal(t testing.TB, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}
