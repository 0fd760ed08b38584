package connections

import (
	"context"
	"iter"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
)

// Options configure a Board. Lookup and Dial are required.
type Options[C pool.Conn] struct {
	// Lookup finds a definition; it is the single source of truth. All lists the
	// definitions that a scope sees; nil: none. Find is the one of those that a name
	// stands for, or a *jackfield.Error that says why there is none; nil: the one
	// whose ID is the name.
	Lookup func(jackfield.ServerID) (jackfield.Server, bool)
	All    func(jackfield.Scope) []jackfield.Server
	Find   func(scope jackfield.Scope, name string) (jackfield.Server, error)

	// Dial opens a connection to s that declares caps as the client's capabilities.
	// It has its own deadline.
	Dial func(ctx context.Context, s jackfield.Server, k pool.Key, caps string) (C, error)

	// Shape is what is known of a server from before; nil, or false: what the board
	// saw itself. ShapeOf is what a fresh connection learned; nil: the zero Shape,
	// which is a server without sessions.
	Shape   func(jackfield.Server) (exchange.Shape, bool)
	ShapeOf func(C) exchange.Shape

	// Claimed is called when a connection that was opened as a probe has been given
	// its key, by each caller that is given it so. nil: nothing.
	Claimed func(c C, k pool.Key)

	// Credential is the version of the credentials that a scope uses for a server;
	// nil: 0. It is asked for each call. OwnCredentials says whether each person uses
	// their own; nil: the definition does.
	Credential     func(jackfield.ServerID, jackfield.Scope) uint64
	OwnCredentials func(jackfield.Server) bool

	// For the pool; see pool.Options. Whatever Classify says, what is AuthRequired is
	// dialed again for newer credentials, or after a Reset, and not before.
	Classify func(error) pool.Failure
	Limits   pool.Limits
	Trace    *pool.Trace
}

// Want says for whom a connection is wanted.
type Want struct {
	Server  jackfield.Server
	Owner   jackfield.Scope // the caller's own scope
	Session string          // the downstream session; "" for a client without
	Caps    string          // the client capabilities object that it declared; "" for none
}

// Board finds the connection that a call may use. All methods may be called
// concurrently.
type Board[C pool.Conn] struct {
	o     Options[C]
	pool  *pool.Pool[C]
	calls atomic.Uint64 // numbers connections that serve one call

	mu     sync.Mutex // guards what follows
	probes map[site]*probe
	seen   map[jackfield.ServerID]sighting
	shut   map[site]shut
	resets uint64
}

// site is what one probe is dialed for: a server with one set of credentials.
type site struct {
	server jackfield.ServerID
	scope  jackfield.Scope
}

// probe is a probe that somebody waits for or that is being dialed.
type probe struct {
	caps  string // declared by the first that asked; all others join it
	users int
}

// sighting is what the board saw of a server itself.
type sighting struct {
	version uint64
	shape   exchange.Shape
}

const (
	listing       = "listing"
	sessionPrefix = "session:"
	callPrefix    = "call:"
	sightingsMax  = 4096
	triesMax      = 4
)

// New makes a Board. It panics when Lookup or Dial is nil.
func New[C pool.Conn](o Options[C]) *Board[C] {
	if o.Lookup == nil || o.Dial == nil {
		panic("connections: Options.Lookup or Options.Dial is nil")
	}
	if o.All == nil {
		o.All = func(jackfield.Scope) []jackfield.Server { return nil }
	}
	if o.ShapeOf == nil {
		o.ShapeOf = func(C) exchange.Shape { return exchange.Shape{} }
	}
	if o.Credential == nil {
		o.Credential = func(jackfield.ServerID, jackfield.Scope) uint64 { return 0 }
	}
	if o.Find == nil {
		o.Find = func(_ jackfield.Scope, name string) (jackfield.Server, error) {
			s, ok := o.Lookup(jackfield.ServerID(name))
			if !ok {
				return s, unknown(name)
			}
			return s, nil
		}
	}
	b := &Board[C]{
		o:      o,
		probes: make(map[site]*probe),
		seen:   make(map[jackfield.ServerID]sighting),
		shut:   make(map[site]shut),
	}
	b.pool = pool.New(pool.Options[C]{
		Dial:       b.dial,
		Classify:   classify(o.Classify),
		PerKeyOnly: b.personalURL,
		Child:      b.child,
		Transient:  transient,
		Limits:     o.Limits,
		Trace:      o.Trace,
	})
	return b
}

// Acquire gives a lease on the connection that w may use, and waits until ctx ends
// for it. Errors are *jackfield.Error.
func (b *Board[C]) Acquire(ctx context.Context, w Want) (pool.Lease[C], error) {
	if err := b.forbidden(&w.Server, w.Owner); err != nil {
		return pool.Lease[C]{}, err
	}
	return b.acquire(ctx, &w, false)
}

// Listing gives a lease on a connection to list what s offers to owner. It is the
// shared one where listing disturbs nobody, and one of its own where the server
// keeps state for each connection or would be a process that nobody called; that one
// is closed when it is released. Where the
// server is told once what its client can do, it is told everything.
func (b *Board[C]) Listing(ctx context.Context, s jackfield.Server, owner jackfield.Scope) (pool.Lease[C], error) {
	if s.Usage.OnDemand {
		s.Usage.OnDemand = false // who asks for the listing has decided that
	}
	if err := b.forbidden(&s, owner); err != nil {
		return pool.Lease[C]{}, err
	}
	return b.acquire(ctx, &Want{Server: s, Owner: owner, Caps: exchange.Everything}, true)
}

// acquire finds a connection that stands under the key that its own shape asks for:
// what was known of the server may be missing or wrong.
func (b *Board[C]) acquire(ctx context.Context, w *Want, list bool) (pool.Lease[C], error) {
	c := b.call(w, list)
	shape, known := b.shape(&w.Server)
	if c.child && known {
		calls := c // the process of the calls, if it runs
		calls.child = false
		if l, ok := b.pool.TryAcquire(calls.key(shape, known), c.versions); ok {
			return l, nil
		}
	}
	k := c.key(shape, known)
	if l, ok := b.pool.TryAcquire(k, c.versions); ok {
		if known && alike(shape, b.o.ShapeOf(l.Conn())) {
			return l, nil
		}
		if next, ok := b.place(&c, l, k); !ok {
			k = next
		} else {
			return l, nil
		}
	}
	if probe := c.probe(); k != probe {
		// A probe whose callers all left may be lying about.
		if l, ok := b.pool.TryAcquire(probe, c.versions); ok {
			if _, ok := b.place(&c, l, probe); ok {
				return l, nil
			}
		}
		// What one that is under way has learned is known before it can be used.
		if b.probing(site{probe.Server, probe.Scope}) {
			k = probe
		}
	}
	if err := b.refused(&c); err != nil {
		return pool.Lease[C]{}, err
	}
	for range triesMax {
		l, err := b.ask(ctx, &c, k)
		if err != nil {
			b.refuse(&c, err)
			return l, err
		}
		next, ok := b.place(&c, l, k)
		if ok {
			return l, nil
		}
		k = next
	}
	return pool.Lease[C]{}, jackfield.Errorf(jackfield.Unavailable,
		"server %q shows another protocol with every connection; try again", w.Server.Name)
}

// ask acquires the connection of k. Who asks for a probe joins the one that somebody
// else asked for, whatever capabilities it declares.
func (b *Board[C]) ask(ctx context.Context, c *call, k pool.Key) (pool.Lease[C], error) {
	if k.Isolation.ID == pool.Probe {
		at := site{k.Server, k.Scope}
		k.Isolation.Caps = b.join(at, k.Isolation.Caps)
		defer b.leave(at)
	}
	return b.pool.Acquire(ctx, k, c.versions)
}

// place sees to it that a connection that was asked for under one key stands under
// the one that its shape asks for. When it cannot, it gives the lease back and says
// which key to ask for.
func (b *Board[C]) place(c *call, l pool.Lease[C], asked pool.Key) (next pool.Key, ok bool) {
	shape := b.o.ShapeOf(l.Conn())
	fits := c.key(shape, true)
	if asked == fits {
		return fits, true
	}
	if asked.Isolation.ID != pool.Probe {
		l.Retire() // it was shared by mistake
		return fits, false
	}
	// What a modern server needs to know of the client comes with each request;
	// another was told once and for all, and must have been told the same.
	same := shape.Modern() || l.Key().Isolation.Caps == fits.Isolation.Caps
	if !same || !l.Claim(fits) {
		l.Release() // it is somebody else's, or will be
		return fits, false
	}
	if b.o.Claimed != nil {
		b.o.Claimed(l.Conn(), fits)
	}
	return fits, true
}

// join names the capabilities that the probe of a site declares: those of the first
// that asked for it.
func (b *Board[C]) join(at site, caps string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.probes[at]
	if p == nil {
		p = &probe{caps: caps}
		b.probes[at] = p
	}
	p.users++
	return p.caps
}

// probing reports whether somebody waits for a probe of a site.
func (b *Board[C]) probing(at site) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.probes[at] != nil
}

// leave ends a join.
func (b *Board[C]) leave(at site) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.probes[at]
	if p.users--; p.users == 0 {
		delete(b.probes, at)
	}
}

// dial is what the pool calls.
func (b *Board[C]) dial(ctx context.Context, k pool.Key, _ jackfield.Versions) (C, error) {
	s, ok := b.o.Lookup(k.Server)
	if !ok {
		var none C
		return none, unknown(string(k.Server))
	}
	if k.Isolation.ID == pool.Probe {
		at := site{k.Server, k.Scope}
		b.join(at, k.Isolation.Caps) // as long as it is dialed, nobody begins another
		defer b.leave(at)
	}
	c, err := b.o.Dial(ctx, s, k, k.Isolation.Caps)
	if err == nil {
		b.see(s, b.o.ShapeOf(c))
	}
	return c, err
}

// shape is what is known of a server.
func (b *Board[C]) shape(s *jackfield.Server) (exchange.Shape, bool) {
	if b.o.Shape != nil {
		if shape, ok := b.o.Shape(*s); ok {
			return shape, true
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	got, ok := b.seen[s.ID]
	return got.shape, ok && got.version == s.Version
}

// see remembers the shape of a server, when nobody else does.
func (b *Board[C]) see(s jackfield.Server, shape exchange.Shape) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.seen[s.ID]; !ok && len(b.seen) >= sightingsMax {
		clear(b.seen) // it is only a memory
	}
	b.seen[s.ID] = sighting{s.Version, shape}
}

// Loaded gives a lease on each connection that is open now and that the owner's
// session may use, one for each server: its own before a shared one. It dials
// nothing. The receiver releases the leases.
func (b *Board[C]) Loaded(owner jackfield.Scope, session string) iter.Seq[pool.Lease[C]] {
	own := ""
	if session != "" {
		own = sessionPrefix + session
	}
	return func(yield func(pool.Lease[C]) bool) {
		for _, keys := range b.open(owner, own) {
			for _, k := range keys {
				s, ok := b.o.Lookup(k.Server)
				if !ok || s.Invalid != "" {
					break
				}
				l, ok := b.pool.TryAcquire(k, b.versions(&s, wide(b.own(&s), owner)))
				if !ok {
					continue
				}
				if !yield(l) {
					return
				}
				break
			}
		}
	}
}

// open lists the keys of open connections that the owner may use, by server, best
// first.
func (b *Board[C]) open(owner jackfield.Scope, own string) map[jackfield.ServerID][]pool.Key {
	byServer := make(map[jackfield.ServerID][]pool.Key)
	for k, st := range b.pool.Status() {
		mine := k.Scope == owner && (k.Isolation.ID == "" || k.Isolation.ID == own)
		shared := k.Scope == jackfield.App() && k.Isolation.ID == ""
		if st.State != pool.Ready || !mine && !shared {
			continue
		}
		keys := append(byServer[k.Server], k)
		if k.Isolation.ID != "" {
			keys[0], keys[len(keys)-1] = keys[len(keys)-1], keys[0]
		}
		byServer[k.Server] = keys
	}
	return byServer
}

// Reset drains what matches and forgets its failures: after a change, or when a
// person asks for it. See pool.Pool.Reset.
func (b *Board[C]) Reset(match func(pool.Key) bool) {
	b.pool.Reset(match)
	b.forgive(match)
}

// Cut ends what matches at once, with the reason: removed, revoked, access lost. See
// pool.Pool.Cut.
func (b *Board[C]) Cut(match func(pool.Key) bool, reason error) { b.pool.Cut(match, reason) }

// Drain takes what matches out of use; what runs on it may finish. See
// pool.Pool.Drain.
func (b *Board[C]) Drain(match func(pool.Key) bool) { b.pool.Drain(match) }

// Status is what the board holds. See pool.Pool.Status.
func (b *Board[C]) Status() iter.Seq2[pool.Key, pool.Status] { return b.pool.Status() }

// Load is how much of the limits is in use. See pool.Pool.Load.
func (b *Board[C]) Load() pool.Load { return b.pool.Load() }

// Limits are those in force. See pool.Pool.Limits.
func (b *Board[C]) Limits() pool.Limits { return b.pool.Limits() }

// Close drains everything and refuses what comes after. See pool.Pool.Close.
func (b *Board[C]) Close(ctx context.Context) error { return b.pool.Close(ctx) }

// forbidden is why the owner may not have a connection to s; nil when it may.
func (b *Board[C]) forbidden(s *jackfield.Server, owner jackfield.Scope) error {
	if s.Invalid != "" {
		return jackfield.Errorf(jackfield.Invalid, "the definition of server %q cannot be used: %s", s.Name, s.Invalid)
	}
	if owner != jackfield.App() {
		return nil
	}
	switch {
	case s.Usage.RequiresOAuth:
		return jackfield.Errorf(jackfield.Forbidden,
			"server %q is opened by each person's own sign-in, so nobody has a connection to it for everybody; ask for it as a person", s.Name)
	case b.own(s):
		return jackfield.Errorf(jackfield.Forbidden,
			"server %q is used with each person's own credentials, so nobody has a connection to it for everybody; ask for it as a person", s.Name)
	case s.Usage.OnDemand:
		return jackfield.Errorf(jackfield.Forbidden,
			"server %q is marked startup: false: it is opened when a person calls it, not for everybody", s.Name)
	}
	return nil
}

func unknown(name string) error {
	return jackfield.Errorf(jackfield.NotFound, "there is no server named %q", name)
}

// own reports whether each person reaches s with their own credentials.
func (b *Board[C]) own(s *jackfield.Server) bool {
	if b.o.OwnCredentials != nil {
		return b.o.OwnCredentials(*s)
	}
	return s.OwnCredentials()
}

// personalURL reports whether the address behind k depends on the caller, so that
// nobody there says nothing about the others.
func (b *Board[C]) personalURL(k pool.Key) bool {
	s, ok := b.o.Lookup(k.Server)
	return ok && s.Fill.URL.Personal()
}

// child reports whether the connection of k is a process.
func (b *Board[C]) child(k pool.Key) bool {
	s, ok := b.o.Lookup(k.Server)
	return ok && s.Endpoint.Transport == jackfield.TransportStdio
}

// transient reports whether a connection is of no use to anybody else.
func transient(k pool.Key) bool {
	return k.Isolation.ID == listing || strings.HasPrefix(k.Isolation.ID, callPrefix)
}

// nextCall names a connection that serves one call.
func (b *Board[C]) nextCall() string {
	return callPrefix + strconv.FormatUint(b.calls.Add(1), 10)
}
