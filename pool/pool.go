package pool

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// Key decides which calls may share a connection: those with equal keys, and no
// others.
type Key struct {
	Server    jackfield.ServerID
	Scope     jackfield.Scope // whose connection it is
	Isolation Isolation
}

// Isolation divides the connections of one scope to one server. The zero value is
// the connection that the whole scope shares.
type Isolation struct {
	ID   string // "": the whole scope shares it; else who does, as "session:ID" or "call:7"
	Caps string // the client capabilities object declared at initialize; "" for none, and for upstreams without initialize
}

// Probe is the Isolation.ID of a connection that is opened to learn what a server
// is like, before it is known who may share it; see [Lease.Claim].
const Probe = "probe"

// String is the key as messages and logs write it; the capabilities are left out.
func (k Key) String() string {
	if k.Isolation.ID == "" {
		return fmt.Sprintf("%s for %s", k.Server, k.Scope)
	}
	return fmt.Sprintf("%s for %s (%s)", k.Server, k.Scope, k.Isolation.ID)
}

// Conn is what the pool wants of a connection. The pool calls no method of it while
// it holds its lock.
type Conn interface {
	// Err is nil while the connection works, and says why once it is dead. It
	// never blocks.
	Err() error
	// Close ends the connection politely and returns when ctx ends at the latest.
	// The pool calls it exactly once.
	Close(ctx context.Context) error
	// Abort makes everything that is open on the connection fail at once with the
	// reason. Close still follows.
	Abort(reason error)
}

// Failure is what a failed dial says about the next one. The zero value is a
// failure that only someone can end: the key is not dialed again until Reset, or
// until a newer version is asked for.
type Failure struct {
	// What happened. The pool counts: it sets Since, Attempts, Next and Err, and
	// Message where there is none.
	jackfield.Failure

	Temporary  bool          // the same attempt may succeed later with nothing changed by anyone
	RetryAfter time.Duration // the server's own word on when; at most an hour is honoured
	DialStage  bool          // the server could not be reached at all; counts for the server-wide breaker
}

// Options configure a Pool. Only Dial is required.
type Options[C Conn] struct {
	// Dial opens a connection. It has its own deadline; the pool's ctx ends when the
	// connection is no longer wanted, and after ten minutes in any case.
	Dial func(ctx context.Context, k Key, v jackfield.Versions) (C, error)
	// Classify says what a failed dial means; nil: temporary, at dial stage.
	Classify func(error) Failure

	// The predicates below describe keys. nil: no key is so.
	PerKeyOnly func(Key) bool // failures say nothing about other keys of the server (its URL depends on the user)
	Child      func(Key) bool // the connection is a child process: Limits.ChildrenOwner applies
	Transient  func(Key) bool // the connection is drained as soon as its last lease is released

	Limits Limits
	Trace  *Trace
}

// Trace are hooks for logs, metrics and tests. Each may be nil; none is called
// under a lock; they may be called concurrently.
type Trace struct {
	DialStart func(k Key)
	DialDone  func(k Key, took time.Duration, err error)
	Waited    func(k Key, wait time.Duration, err error) // an Acquire that found nothing open has ended; what it was refused for is in jackfield.FailureOf(err)
	Closed    func(k Key, reason string, err error)      // err is what Close returned
}

// Pool leases connections of type C. All methods may be called concurrently.
type Pool[C Conn] struct {
	opts   Options[C]
	limits Limits
	jitter func(time.Duration) time.Duration // tests make it certain

	polite context.Context //nolint:containedctx // of all closes, which no caller owns; ends when Close has waited long enough
	hurry  context.CancelFunc
	gone   chan struct{} // closed when the pool is closed and its last goroutine has ended

	mu       sync.Mutex // guards what follows, and the fields of slots, servers and owners
	slots    map[Key]*slot[C]
	ending   map[*slot[C]]struct{} // out of the map, with a connection or a dial to end
	servers  map[jackfield.ServerID]*server[C]
	owners   map[jackfield.Scope]*owner
	idle     list[C]      // ready and not leased, least recently used first
	failed   list[C]      // oldest failure first
	ring     []*server[C] // servers with queued dials; dials start in turn
	turn     int
	pass     uint64 // counts runs of fillLocked
	queued   int
	dialing  int
	open     budget
	promised []*budget
	live     int // goroutines and timers under way
	closed   bool
	over     bool // gone is closed
}

// New makes a Pool. It panics when o.Dial is nil.
func New[C Conn](o Options[C]) *Pool[C] {
	if o.Dial == nil {
		panic("pool: Options.Dial is nil")
	}
	if o.Classify == nil {
		o.Classify = func(error) Failure {
			return Failure{Failure: jackfield.Failure{Stage: "dial"}, Temporary: true, DialStage: true}
		}
	}
	if o.Trace == nil {
		o.Trace = &Trace{}
	}
	p := &Pool[C]{
		opts:    o,
		limits:  o.Limits.withDefaults(),
		jitter:  fullJitter,
		gone:    make(chan struct{}),
		slots:   make(map[Key]*slot[C]),
		ending:  make(map[*slot[C]]struct{}),
		servers: make(map[jackfield.ServerID]*server[C]),
		owners:  make(map[jackfield.Scope]*owner),
	}
	p.open.limit = p.limits.OpenProcess
	p.polite, p.hurry = context.WithCancel(context.Background())
	return p
}

// Acquire gives a lease on the connection of k, at version v or newer. It dials
// when there is none and waits until ctx ends for it; the dial goes on without the
// caller. It fails at once, with the reason, since when and when the next attempt
// is, while k is known to fail. Errors are *jackfield.Error: Unavailable,
// Exhausted, or the code of the dial's own error.
func (p *Pool[C]) Acquire(ctx context.Context, k Key, v jackfield.Versions) (Lease[C], error) {
	for {
		if l, ok := p.TryAcquire(k, v); ok {
			return l, nil
		}
		start := time.Now()
		s, err := p.enter(ctx, k, v)
		if s == nil && err == nil {
			continue // somebody else was quicker
		}
		var l Lease[C]
		if err == nil {
			var again bool
			if l, again, err = p.wait(ctx, s, k); again {
				continue
			}
		}
		if hook := p.opts.Trace.Waited; hook != nil {
			hook(k, time.Since(start), err)
		}
		return l, err
	}
}

// TryAcquire gives a lease on the connection of k if one is open, alive and not
// older than v. It never dials and never waits.
func (p *Pool[C]) TryAcquire(k Key, v jackfield.Versions) (Lease[C], bool) {
	p.mu.Lock()
	s := p.slots[k]
	if s == nil || s.state != Ready || s.version.Older(v) || !p.takeLocked(s) {
		p.mu.Unlock()
		return Lease[C]{}, false
	}
	l := s.holdLocked()
	p.mu.Unlock()
	if err := s.conn.Err(); err != nil {
		p.bury(l, err)
		return Lease[C]{}, false
	}
	return l, true
}

// enter finds the slot whose dial the caller waits for, and makes it when there is
// none. It is counted among the slot's waiters. A nil slot means: look again.
func (p *Pool[C]) enter(ctx context.Context, k Key, v jackfield.Versions) (*slot[C], error) {
	about := p.traits(k)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed(k)
	}
	if ctx.Err() != nil {
		return nil, errLeft(ctx, k, "before it began")
	}
	prior := past{}
	if s := p.slots[k]; s != nil {
		switch {
		case s.version.Older(v):
			v = newest(s.version, v)
			prior.good = s.past.good
			p.retireLocked(s, reasonOlder, nil)
		case s.state == Ready && p.takeLocked(s):
			p.settleLocked(s)
			return nil, nil
		case s.state == Ready: // its timer stood still while the machine slept
			p.retireLocked(s, reasonIdle, nil)
		case s.state == Connecting:
			s.waiters++
			return s, nil
		default:
			if err := s.past.refusal(time.Now()); err != nil {
				return nil, err
			}
			prior = s.past // half-open: this caller tries
			p.forgetLocked(s)
		}
	}
	return p.askLocked(k, v, about, prior)
}

// wait waits for the dial of s, of whose waiters the caller is one. again means
// that s was taken away for something better.
func (p *Pool[C]) wait(ctx context.Context, s *slot[C], k Key) (l Lease[C], again bool, err error) {
	select {
	case <-s.done:
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		s.waiters--
		doing := "while it was being opened"
		if s.queued {
			doing = "while its dial waited for a place"
		}
		p.settleLocked(s)
		return Lease[C]{}, false, errLeft(ctx, k, doing)
	}
	p.mu.Lock()
	s.waiters--
	if s.state != Ready {
		err = s.outcome
		p.mu.Unlock()
		return Lease[C]{}, err == nil, err
	}
	l = s.holdLocked()
	p.mu.Unlock()
	if err := s.conn.Err(); err != nil {
		p.bury(l, err)
		return Lease[C]{}, false, jackfield.Errorf(jackfield.Unavailable,
			"the connection to server %q was lost as soon as it was open: %w", k.Server, err)
	}
	return l, false, nil
}

// bury gives back a lease on a connection that turned out to be dead.
func (p *Pool[C]) bury(l Lease[C], why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := l.slot; s.freeLocked(l) {
		p.retireLocked(s, "it died: "+why.Error(), nil)
		p.settleLocked(s)
	}
}

// Reset drains what matches, dials under way included, and forgets its failures:
// the next caller dials. Callers that wait for such a dial wait for the next one.
// match is called for each key that the pool knows, and for the bare key of each
// server that cannot be reached: where that matches, all of the server is forgiven,
// else one caller may try at once. It must depend on nothing but the key.
func (p *Pool[C]) Reset(match func(Key) bool) {
	p.each(match, func(s *slot[C]) {
		if s.current() {
			s.server.breaker.due()
			p.retireLocked(s, "it was reset", nil)
		}
	})
	p.forgive(match)
}

// Drain takes what matches out of use, dials under way included, and closes each
// connection when its last lease is released. Callers that wait for such a dial
// get an error. Failures are kept.
func (p *Pool[C]) Drain(match func(Key) bool) {
	p.each(match, func(s *slot[C]) {
		if s.state == Connecting || s.state == Ready {
			p.retireLocked(s, "it was disconnected", jackfield.Errorf(jackfield.Unavailable,
				"the connection to server %q was closed while it was being opened", s.key.Server))
		}
	})
}

// Cut ends what matches at once: leases on it fail with the reason, dials are
// cancelled, failures are forgotten, and what was draining no longer waits.
func (p *Pool[C]) Cut(match func(Key) bool, reason error) {
	p.each(match, func(s *slot[C]) { p.cutLocked(s, reason) })
	p.forgive(match)
}

// Drained waits until no connection that matches is draining or closing, or until
// ctx ends.
func (p *Pool[C]) Drained(ctx context.Context, match func(Key) bool) error {
	var wait []<-chan struct{}
	p.each(match, func(s *slot[C]) {
		if !s.current() {
			wait = append(wait, s.ended)
		}
	})
	for _, ended := range wait {
		select {
		case <-ended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// each calls do, with mu held, for every slot whose key matches; match is called
// without it. Slots made meanwhile are not among them.
func (p *Pool[C]) each(match func(Key) bool, do func(*slot[C])) {
	type entry struct {
		slot *slot[C]
		key  Key
	}
	p.mu.Lock()
	all := make([]entry, 0, len(p.slots)+len(p.ending))
	for k, s := range p.slots {
		all = append(all, entry{s, k})
	}
	for s := range p.ending {
		all = append(all, entry{s, s.key})
	}
	p.mu.Unlock()

	hits := all[:0]
	for _, e := range all {
		if match(e.key) {
			hits = append(hits, e)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range hits {
		do(e.slot)
	}
}

// Load is how much of the pool's limits is in use.
type Load struct {
	Dialing int // dials in flight
	Queued  int // dials that wait for a place
	Open    int // connections: being dialed, in use, idle, draining and closing
	Idle    int // of Open: those that nobody leases
	Failed  int // keys whose failure is remembered
}

// Load counts, for metrics.
func (p *Pool[C]) Load() Load {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Load{Dialing: p.dialing, Queued: p.queued, Open: p.open.open, Idle: p.idle.len, Failed: p.failed.len}
}

// Limits are those in force.
func (p *Pool[C]) Limits() Limits { return p.limits }

// Status is what is known of one key's connection.
type Status struct {
	State    State
	Stage    string             // Connecting: "queued" or "dialing"; Failed: how far the dial came; Draining: "closing" at the end
	Reason   string             // why it failed or ends, for people; empty otherwise
	Failure  *jackfield.Failure // Failed: the last one, not to be changed; nil otherwise
	Since    time.Time          // when it entered the state; Failed: the first failure in a row
	Next     time.Time          // Failed: no attempt before this; zero when only someone can end it
	Attempts int                // Failed: failures in a row
	Leases   int
	Waiters  int       // callers that wait for the dial
	LastGood time.Time // when a connection of this key was last opened; zero: never, as far as is remembered
	Version  jackfield.Versions
}

// Status walks over what the pool holds, in no order, as it was at one moment. A
// key that has one connection draining and another in use comes twice.
func (p *Pool[C]) Status() iter.Seq2[Key, Status] {
	return func(yield func(Key, Status) bool) {
		for _, e := range p.snapshot() {
			if e.alive && e.status.State == Ready {
				if err := e.conn.Err(); err != nil { // noticed by nobody yet
					e.status.State, e.status.Stage, e.status.Failure = Failed, "died", died(e.key, err)
				}
			}
			if f := e.status.Failure; f != nil {
				e.status.Reason = f.At(time.Now())
			}
			if !yield(e.key, e.status) {
				return
			}
		}
	}
}

type snapshotEntry[C Conn] struct {
	key    Key
	status Status
	alive  bool
	conn   C
}

func (p *Pool[C]) snapshot() []snapshotEntry[C] {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]snapshotEntry[C], 0, len(p.slots)+len(p.ending))
	for _, s := range p.slots {
		all = append(all, snapshotEntry[C]{s.key, s.statusLocked(), s.state == Ready, s.conn})
	}
	for s := range p.ending {
		all = append(all, snapshotEntry[C]{key: s.key, status: s.statusLocked()})
	}
	return all
}

// Close drains everything and refuses what comes after. It waits until the last
// lease is released and every goroutine has ended; when ctx ends first it cuts the
// rest, waits a second more for that, and returns the cause of ctx.
func (p *Pool[C]) Close(ctx context.Context) error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		for k, s := range p.slots {
			s.past = past{}
			p.retireLocked(s, "the pool is closing", errClosed(k))
		}
		p.stepLocked()
	}
	p.mu.Unlock()
	select {
	case <-p.gone:
		p.hurry()
		return nil
	case <-ctx.Done():
	}
	p.Cut(func(Key) bool { return true }, jackfield.Errorf(jackfield.Unavailable, "the gateway is shutting down"))
	p.hurry()
	grace := time.NewTimer(time.Second)
	defer grace.Stop()
	select {
	case <-p.gone:
	case <-grace.C:
	}
	return context.Cause(ctx)
}
