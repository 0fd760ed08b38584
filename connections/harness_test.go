package connections

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
)

// boardTest is a board over servers that answer by themselves, in a synctest bubble.
// Its words:
//
//	bt.add("docs", modern)                 there is such a server
//	bt.servers["docs"].slow = time.Second  and this is what it is like
//	l := bt.acquire(want)                  somebody's call has a connection
//	bt.wantDials(1)                        so many were dialed
//	bt.end()                               at the end all must be closed, once
type boardTest struct {
	*testing.T
	b *Board[*line]
	o Options[*line]

	mu      sync.Mutex
	servers map[string]*server
	lines   []*line
	dials   []pool.Key
	now     int
	peak    int
	flip    bool // servers show another shape with each dial
}

// server is what a server is really like.
type server struct {
	def   jackfield.Server
	shape exchange.Shape
	slow  time.Duration // a dial takes as long; a quarter of an hour and more: it hangs
	err   error         // what a dial ends with

	known *exchange.Shape // what the catalog has of it
}

// line is a connection.
type line struct {
	server jackfield.Server
	key    pool.Key
	caps   string
	shape  exchange.Shape

	mu      sync.Mutex
	dead    error
	closes  int
	aborted error
	failing error         // what Close returns
	slow    time.Duration // what Close takes
	claimed []pool.Key
}

func (l *line) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

func (l *line) Close(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closes++
	if l.slow > 0 {
		l.mu.Unlock()
		wait(ctx, l.slow)
		l.mu.Lock()
	}
	return l.failing
}

func (l *line) Abort(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.aborted = reason
}

func (l *line) die(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = errors.New(why)
}

func (l *line) closed() bool {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closes > 0
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// The shapes of these tests.
var (
	modern      = exchange.Shape{Transport: "http", Version: exchange.Modern}
	modernStdio = exchange.Shape{Transport: "stdio", Version: exchange.Modern, Session: true}
	stateful    = exchange.Shape{Transport: "http", Version: exchange.V20251125, Session: true}
	sessionless = exchange.Shape{Transport: "http", Version: exchange.V20250618}
	stdio       = exchange.Shape{Transport: "stdio", Version: exchange.V20251125, Session: true}
)

var (
	ann = jackfield.User("ann")
	bob = jackfield.User("bob")
)

// board runs a test in a bubble.
func board(t *testing.T, f func(*boardTest)) { boardWith(t, Options[*line]{}, f) }

func boardWith(t *testing.T, o Options[*line], f func(*boardTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		bt := &boardTest{T: t, servers: make(map[string]*server)}
		o.Lookup, o.All, o.Dial = bt.lookup, bt.all, bt.dial
		o.Shape = bt.shape
		o.ShapeOf = func(l *line) exchange.Shape { return l.shape }
		if o.Claimed == nil {
			o.Claimed = func(l *line, k pool.Key) {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.claimed = append(l.claimed, k)
			}
		}
		bt.o = o
		bt.b = New(o)
		f(bt)
		bt.end()
	})
}

func (bt *boardTest) end() {
	bt.Helper()
	ctx, cancel := context.WithTimeout(bt.Context(), time.Minute) // less than a drain takes
	defer cancel()
	if err := bt.b.Close(ctx); err != nil {
		bt.Errorf("Close: %v; a lease was leaked", err)
	}
	synctest.Wait()
	for _, l := range bt.lines {
		if l.closes != 1 {
			bt.Errorf("the connection of %v was closed %d times", l.key, l.closes)
		}
	}
	if len(bt.b.probes) != 0 {
		bt.Errorf("probes are left: %v", bt.b.probes)
	}
}

// add makes a server; edit may change its definition.
func (bt *boardTest) add(name string, shape exchange.Shape, edit ...func(*jackfield.Server)) *server {
	s := &server{
		def:   jackfield.Server{ID: jackfield.ServerID(name), Name: name, Version: 1},
		shape: shape,
	}
	for _, f := range edit {
		f(&s.def)
	}
	bt.mu.Lock()
	defer bt.mu.Unlock()
	bt.servers[name] = s
	return s
}

func (bt *boardTest) remove(name string) {
	bt.mu.Lock()
	defer bt.mu.Unlock()
	delete(bt.servers, name)
}

// What an edit may do.
func oauth(s *jackfield.Server)    { s.Usage.RequiresOAuth = true }
func onDemand(s *jackfield.Server) { s.Usage.OnDemand = true }
func invalid(s *jackfield.Server)  { s.Invalid = "url: ${MISSING} is not set" }
func sharing(how jackfield.Sharing) func(*jackfield.Server) {
	return func(s *jackfield.Server) { s.Usage.Sharing = how }
}

func (bt *boardTest) lookup(id jackfield.ServerID) (jackfield.Server, bool) {
	bt.mu.Lock()
	defer bt.mu.Unlock()
	s, ok := bt.servers[string(id)]
	if !ok {
		return jackfield.Server{}, false
	}
	return s.def, true
}

func (bt *boardTest) all(jackfield.Scope) []jackfield.Server {
	bt.mu.Lock()
	defer bt.mu.Unlock()
	var all []jackfield.Server
	for _, s := range bt.servers {
		all = append(all, s.def)
	}
	slices.SortFunc(all, func(a, b jackfield.Server) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (bt *boardTest) shape(s jackfield.Server) (exchange.Shape, bool) {
	bt.mu.Lock()
	defer bt.mu.Unlock()
	if known := bt.servers[s.Name].known; known != nil {
		return *known, true
	}
	return exchange.Shape{}, false
}

func (bt *boardTest) dial(ctx context.Context, def jackfield.Server, k pool.Key, caps string) (*line, error) {
	bt.mu.Lock()
	s := bt.servers[def.Name]
	bt.dials = append(bt.dials, k)
	bt.now++
	bt.peak = max(bt.peak, bt.now)
	slow, err, shape := s.slow, s.err, s.shape
	if bt.flip && len(bt.dials)%2 == 0 {
		shape = modern
	}
	bt.mu.Unlock()
	defer func() {
		bt.mu.Lock()
		bt.now--
		bt.mu.Unlock()
	}()
	if slow > 0 {
		wait(ctx, slow)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	l := &line{server: def, key: k, caps: caps, shape: shape}
	bt.mu.Lock()
	defer bt.mu.Unlock()
	bt.lines = append(bt.lines, l)
	return l, nil
}

// want is a call of somebody to a server.
func (bt *boardTest) want(name string, owner jackfield.Scope, session, caps string) Want {
	bt.Helper()
	s, ok := bt.lookup(jackfield.ServerID(name))
	if !ok {
		bt.Fatalf("the test has no server %q", name)
	}
	return Want{Server: s, Owner: owner, Session: session, Caps: caps}
}

func (bt *boardTest) acquire(w Want) pool.Lease[*line] {
	bt.Helper()
	ctx, cancel := context.WithTimeout(bt.Context(), time.Minute)
	defer cancel()
	l, err := bt.b.Acquire(ctx, w)
	if err != nil {
		bt.Fatalf("%s for %v: %v", w.Server.Name, w.Owner, err)
	}
	return l
}

// acquireAll acquires for all at once, and gives the leases in their order.
func (bt *boardTest) acquireAll(wants ...Want) []pool.Lease[*line] {
	bt.Helper()
	leases := make([]pool.Lease[*line], len(wants))
	var wg sync.WaitGroup
	for i, w := range wants {
		wg.Go(func() { leases[i] = bt.acquire(w) })
		synctest.Wait() // they come in this order
	}
	wg.Wait()
	return leases
}

func release(leases ...pool.Lease[*line]) {
	for _, l := range leases {
		l.Release()
	}
}

func (bt *boardTest) wantDials(n int) {
	bt.Helper()
	synctest.Wait()
	bt.mu.Lock()
	defer bt.mu.Unlock()
	if len(bt.dials) != n {
		bt.Errorf("%d dials, want %d: %v", len(bt.dials), n, bt.dials)
	}
}

func (bt *boardTest) wantError(err error, code jackfield.Code, parts ...string) {
	bt.Helper()
	if err == nil {
		bt.Fatalf("no error; want one with %q", parts)
	}
	if got := jackfield.CodeOf(err); got != code {
		bt.Errorf("the error has code %v, want %v: %v", got, code, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			bt.Errorf("%q does not say %q", err, part)
		}
	}
}
