package pool

import (
	"context"
	"fmt"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// State says where a key's connection is in its life.
type State uint8

// The states. A key that the pool holds nothing for is in none of them.
const (
	Connecting State = iota + 1 // being dialed, or waiting for a place to be
	Ready                       // open
	Failed                      // the last dial failed; the next waits for its time or for someone
	Draining                    // open until its last lease is released
	gone                        // closing or closed: no slot comes back from here
)

// String is the state as the API and the CLI write it.
func (s State) String() string {
	switch s {
	case Connecting:
		return "connecting"
	case Ready:
		return "ready"
	case Failed:
		return "failed"
	case Draining:
		return "draining"
	case gone:
		return "gone"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Reasons for which a slot is retired in more than one place.
const (
	reasonIdle  = "nobody used it for a while"
	reasonOlder = "a newer version replaces it"
)

// A slot is one life of one key's connection, from the wish for it to its end, or
// the memory that it failed. It dials at most once. Unless said otherwise its
// fields are guarded by Pool.mu.
type slot[C Conn] struct {
	pool    *Pool[C]
	version jackfield.Versions // set when made
	done    chan struct{}      // closed when the dial ended or was given up; then outcome is set
	stale   chan struct{}      // closed when the slot leaves Ready
	ended   chan struct{}      // closed when nothing of it is left
	conn    C                  // set before Ready, never again: holders of a lease read it without mu

	key    Key
	traits traits
	server *server[C]
	owner  *owner

	state    State
	since    time.Time
	reason   string // why it is draining
	outcome  error  // what its waiters get when done closes and it is not Ready; nil: they look again
	past     past   // the failures in a row before it, or with it
	waiters  int
	leases   int
	holds    []hold
	free     uint32        // the first free place of holds + 1
	openedAt time.Time     // when it became Ready
	idleAt   time.Duration // from then on until it was idle last
	timer    *time.Timer
	timerSeq uint64

	// While connecting.
	queued  bool    // its dial waits for a place
	blocked *budget // has no room for it; nil: a dial place is missing
	pass    uint64  // the run of fillLocked that looked at it last
	young   bool    // counts among its owner's dials
	aging   *time.Timer
	cancel  context.CancelFunc // ends the dial; nil before it starts

	listed     bool // in Pool.idle (Ready) or Pool.failed (Failed)
	prev, next *slot[C]
}

// traits are what the predicates of Options say of a key.
type traits struct{ perKey, child, transient bool }

func (p *Pool[C]) traits(k Key) traits {
	ask := func(predicate func(Key) bool) bool { return predicate != nil && predicate(k) }
	return traits{perKey: ask(p.opts.PerKeyOnly), child: ask(p.opts.Child), transient: ask(p.opts.Transient)}
}

// server is what the pool knows of all slots of one server.
type server[C Conn] struct {
	id      jackfield.ServerID
	slots   int // that name it
	queue   []*slot[C]
	dialing int
	open    budget
	breaker breaker[C]
}

// owner is what the pool knows of all slots of one scope.
type owner struct {
	scope    jackfield.Scope
	slots    int // that name it
	dialing  int // dials younger than ownerDialAge
	open     budget
	children budget
}

// current reports whether s is the slot of its key. mu is held.
func (s *slot[C]) current() bool { return s.pool.slots[s.key] == s }

// toLocked is the only writer of a slot's state. mu is held.
func (p *Pool[C]) toLocked(s *slot[C], to State) {
	legal := false
	switch s.state {
	case 0:
		legal = to == Connecting
	case Connecting:
		legal = to != Connecting
	case Ready:
		legal = to == Draining
	case Failed, Draining:
		legal = to == gone
	case gone:
	}
	if !legal {
		panic(fmt.Sprintf("pool: a slot of %s goes from %v to %v", s.key, s.state, to))
	}
	s.state = to
	s.since = time.Now()
	p.unwakeLocked(s)
}

// makeLocked puts a new slot into the map. mu is held, and k is free.
func (p *Pool[C]) makeLocked(k Key, v jackfield.Versions, t traits, prior past) *slot[C] {
	s := &slot[C]{
		pool:    p,
		version: v,
		key:     k,
		traits:  t,
		past:    prior,
		done:    make(chan struct{}),
		stale:   make(chan struct{}),
		ended:   make(chan struct{}),
		server:  p.serverLocked(k.Server),
		owner:   p.ownerLocked(k.Scope),
	}
	s.server.slots++
	s.owner.slots++
	p.slots[k] = s
	p.toLocked(s, Connecting)
	return s
}

// leaveLocked is the one place where a slot leaves the map. mu is held.
func (p *Pool[C]) leaveLocked(s *slot[C]) {
	delete(p.slots, s.key)
}

// moveLocked puts a ready slot under another key that is free. It refuses when the
// new owner has no room for it. mu is held.
func (p *Pool[C]) moveLocked(s *slot[C], to Key, t traits) bool {
	o := p.ownerLocked(to.Scope)
	if o != s.owner && (o.open.full() || t.child && o.children.full()) {
		p.tidyLocked(nil, o)
		return false
	}
	old := s.owner
	p.leaveLocked(s)
	s.budgets(func(b *budget) { b.open-- })
	s.key, s.traits, s.owner = to, t, o
	s.budgets(func(b *budget) { b.open++ })
	old.slots--
	o.slots++
	p.slots[to] = s
	p.tidyLocked(nil, old)
	return true
}

// retireLocked takes a slot out of use for a reason. What is open on it may finish;
// callers that wait for its dial get err, or look again when it is nil. mu is held.
func (p *Pool[C]) retireLocked(s *slot[C], reason string, err error) {
	switch s.state {
	case Ready:
		p.leaveLocked(s)
		if s.listed {
			p.idle.remove(s)
		}
		p.toLocked(s, Draining)
		s.reason, s.outcome = reason, err // waiters may not have woken yet
		p.ending[s] = struct{}{}
		close(s.stale)
		p.wakeLocked(s, p.limits.Drain)
		p.settleLocked(s)
	case Connecting:
		p.giveUpLocked(s, reason, err)
	case Failed:
		p.forgetLocked(s)
	case Draining, gone:
	}
}

// giveUpLocked ends the wish for a connection before it is open. A dial under way is
// cancelled, and what it brings is closed. Earlier failures are kept when waiters
// get an error. mu is held, s is Connecting.
func (p *Pool[C]) giveUpLocked(s *slot[C], reason string, err error) {
	p.answerLocked(s, err)
	p.leaveLocked(s)
	if s.queued {
		p.unqueueLocked(s)
		p.toLocked(s, gone)
		p.goneLocked(s)
	} else {
		p.toLocked(s, Draining)
		s.reason = reason
		p.ending[s] = struct{}{}
		s.cancel()
	}
	if err != nil {
		p.recallLocked(s.key, s.version, s.traits, s.past)
	}
}

// answerLocked wakes the waiters of s. mu is held.
func (p *Pool[C]) answerLocked(s *slot[C], err error) {
	s.outcome = err
	close(s.done)
}

// forgetLocked drops the memory of a failure. mu is held, s is Failed.
func (p *Pool[C]) forgetLocked(s *slot[C]) {
	p.failed.remove(s)
	p.leaveLocked(s)
	p.toLocked(s, gone)
	p.goneLocked(s)
}

// settleLocked follows the loss of a lease or a waiter. mu is held.
func (p *Pool[C]) settleLocked(s *slot[C]) {
	if s.leases > 0 {
		return
	}
	switch s.state {
	case Draining:
		if s.cancel == nil { // else its dial has yet to end
			p.shutLocked(s, nil)
		}
	case Ready:
		switch {
		case s.waiters > 0:
		case s.traits.transient:
			p.retireLocked(s, "it served its purpose", nil)
		default:
			s.idleAt = time.Since(s.openedAt)
			p.idle.push(s)
			if s.timer == nil {
				p.wakeLocked(s, p.limits.Idle)
			}
		}
	case Connecting:
		if s.waiters == 0 && (s.queued || s.traits.transient) {
			p.giveUpLocked(s, "nobody waits for it", errNobody)
		}
	case Failed, gone:
	}
}

// unusedLocked is how long nobody has used s, which is idle. The wall clock is
// asked, because the other one stands still while a machine sleeps. mu is held.
func (s *slot[C]) unusedLocked(now time.Time) time.Duration {
	return now.Round(0).Sub(s.openedAt.Round(0)) - s.idleAt
}

// cutLocked ends s at once, for a reason. mu is held.
func (p *Pool[C]) cutLocked(s *slot[C], reason error) {
	if s.state != Draining {
		s.past = past{}
		err := reason
		if _, ok := err.(*jackfield.Error); !ok { //nolint:errorlint // the reason itself, not one inside it
			err = jackfield.Errorf(jackfield.Unavailable, "the connection to server %q was cut: %w", s.key.Server, reason)
		}
		p.retireLocked(s, reason.Error(), err)
	}
	if s.state == Draining && s.cancel == nil {
		p.shutLocked(s, reason)
	}
}

// shutLocked is the one place where a connection is closed, once, on a goroutine of
// its own. A reason cuts what is still open on it. mu is held, s is Draining.
func (p *Pool[C]) shutLocked(s *slot[C], cut error) {
	p.toLocked(s, gone)
	s.budgets(func(b *budget) { b.closing++ })
	p.live++
	k, reason := s.key, s.reason
	go func() {
		if cut != nil {
			s.conn.Abort(cut)
		}
		p.closeConn(s.conn, k, reason)
		p.mu.Lock()
		defer p.mu.Unlock()
		s.budgets(func(b *budget) { b.closing--; b.open-- })
		p.goneLocked(s)
		p.fillLocked()
		p.live--
		p.stepLocked()
	}()
}

// closeConn closes a connection within its time.
func (p *Pool[C]) closeConn(conn C, k Key, reason string) {
	ctx, cancel := context.WithTimeout(p.polite, p.limits.Close)
	defer cancel()
	err := conn.Close(ctx)
	if hook := p.opts.Trace.Closed; hook != nil {
		hook(k, reason, err)
	}
}

// goneLocked ends the books on s. mu is held.
func (p *Pool[C]) goneLocked(s *slot[C]) {
	delete(p.ending, s)
	close(s.ended)
	s.server.slots--
	s.owner.slots--
	p.tidyLocked(s.server, s.owner)
	p.stepLocked()
}

// stepLocked tells Close when the last thing has ended. mu is held.
func (p *Pool[C]) stepLocked() {
	if p.closed && !p.over && p.live == 0 && len(p.ending) == 0 {
		p.over = true
		close(p.gone)
	}
}

// wakeLocked has alarm look at s after d, and not before. mu is held.
func (p *Pool[C]) wakeLocked(s *slot[C], d time.Duration) {
	p.unwakeLocked(s)
	seq := s.timerSeq
	p.live++
	s.timer = time.AfterFunc(d, func() { p.alarm(s, seq) })
}

// unwakeLocked takes a wake back. mu is held.
func (p *Pool[C]) unwakeLocked(s *slot[C]) {
	s.timerSeq++
	if s.timer != nil && s.timer.Stop() {
		p.live--
	}
	s.timer = nil
}

// alarm is what a slot's timer does: it ends what has lasted long enough.
func (p *Pool[C]) alarm(s *slot[C], seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live--
	defer p.stepLocked()
	if s.timerSeq != seq {
		return // taken back too late to stop it
	}
	s.timer = nil
	switch s.state {
	case Ready:
		if !s.listed {
			return // in use; its next idle time begins a new wake
		}
		if left := p.limits.Idle - s.unusedLocked(time.Now()); left > 0 {
			p.wakeLocked(s, left)
		} else {
			p.retireLocked(s, reasonIdle, nil)
		}
	case Draining:
		if s.cancel == nil {
			p.shutLocked(s, jackfield.Errorf(jackfield.Unavailable,
				"the connection to server %q was replaced %v ago and had to end", s.key.Server, p.limits.Drain))
		}
	case Failed:
		p.forgetLocked(s)
	case Connecting:
		s.blocked = nil
		p.fillLocked() // things may have changed since it was looked at
		if s.queued && s.blocked != nil {
			p.giveUpLocked(s, "there is no room for it", s.overLimit(s.blocked))
		}
	case gone:
	}
}

func (s *slot[C]) statusLocked() Status {
	st := Status{
		State:    s.state,
		Reason:   s.reason,
		Since:    s.since,
		Leases:   s.leases,
		Waiters:  s.waiters,
		LastGood: s.past.good,
		Version:  s.version,
	}
	switch s.state {
	case Connecting:
		st.Stage = "dialing"
		if s.queued {
			st.Stage = "queued"
		}
	case Failed:
		st.Failure = &s.past.Failure.Failure
		st.Stage = st.Failure.Stage
		st.Since, st.Next, st.Attempts = st.Failure.Since, st.Failure.Next, st.Failure.Attempts
	case gone:
		st.State, st.Stage = Draining, "closing"
	case Ready, Draining:
	}
	return st
}

// newest is the newer of each counter.
func newest(a, b jackfield.Versions) jackfield.Versions {
	return jackfield.Versions{
		Definition: max(a.Definition, b.Definition),
		Credential: max(a.Credential, b.Credential),
	}
}
