package gateway

import (
	"container/list"
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// session is one conversation with a legacy client, from initialize to DELETE,
// expiry or eviction.
type session struct {
	id    string              // internal
	name  string              // the same, sealed, as the client holds it
	owner string              // subject of the principal it belongs to
	who   jackfield.Principal // who opened it
	only  string              // server path it was opened on
	client

	home exchange.Peer // for what belongs to none of its requests

	seat seat          // guarded by the table's mu
	over chan struct{} // closed when it has ended

	mu sync.Mutex // guards what follows
	life
}

// client is who the other side said it is; it does not change.
type client struct {
	version string // the protocol revision agreed on
	caps    exchange.Capabilities
	info    wire.Raw // nil when it said nothing, or too much
}

// life is what happens in a session. The session's mu guards it.
type life struct {
	ended  error // why, once it is over
	level  string
	calls  []underway                      // requests under way
	asked  map[string]chan exchange.Answer // our requests under way, by id
	posts  map[string]*post                // streams of POSTs that can be resumed, by name
	made   uint64                          // streams so far
	own    *stream                         // what belongs to no POST; nil: nobody listens to it
	ear    *ear                            // who fills own; nil: nobody
	tuned  *channel                        // that own belongs to; nil: to the session itself
	linger *time.Timer                     // runs when own has no reader, and drops it
}

// seat is a session's place in the table.
type seat struct {
	at   *list.Element // nil once it left
	used time.Time
	busy int // requests and streams inside
}

// sessions is the table of the sessions that this process holds.
type sessions struct {
	sealer  sealer
	replica [8]byte // random; sealed into every id
	all     int
	each    int
	idle    time.Duration
	over    func(*session) // called when a session has left the table

	mu     sync.Mutex          // guards what follows, and every seat
	known  map[string]*session // by name
	owners map[string]int
	order  *list.List  // least recently used at the back
	sweep  *time.Timer // nil while there is no session
	closed error
}

func newSessions(o Options, s sealer) *sessions {
	t := &sessions{
		sealer: s, all: o.Limits.Sessions, each: o.Limits.OwnerSessions, idle: o.Timing.Idle,
		known: make(map[string]*session), owners: make(map[string]int), order: list.New(),
	}
	_, _ = rand.Read(t.replica[:]) // never fails
	t.over = func(s *session) { o.Broker.EndSession(s.id) }
	return t
}

const sessionVersion = 1

// open makes a session for who and seats it. When there is no place, the least
// recently used session that nobody is busy with leaves.
func (t *sessions) open(who jackfield.Principal, only string, c client, home func(*session) exchange.Peer) (*session, error) {
	owner := who.Subject
	id, name := t.mint(owner, only)
	s := &session{id: id, name: name, owner: owner, who: who, only: only, client: c, over: make(chan struct{})}
	s.home = home(s)

	t.mu.Lock()
	evicted, err := t.makeRoomLocked(owner)
	if err == nil {
		t.known[s.name] = s
		t.owners[owner]++
		s.seat = seat{at: t.order.PushFront(s), used: time.Now()}
		if t.sweep == nil {
			t.sweep = time.AfterFunc(t.idle, t.expire)
		}
	}
	t.mu.Unlock()
	t.finish(evicted, jackfield.Errorf(jackfield.NotFound, "the session made room for newer ones; initialize again"))
	if err != nil {
		return nil, err
	}
	return s, nil
}

// mint makes an id, and the same sealed, with whose it is.
func (t *sessions) mint(owner, only string) (id, name string) {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	plain := append([]byte{sessionVersion}, t.replica[:]...)
	plain = append(plain, random[:]...)
	plain = appendText(plain, owner)
	plain = appendText(plain, only)
	return hex.EncodeToString(random[:]), t.sealer.seal(plain)
}

// makeRoomLocked lets one more session in. mu is held.
func (t *sessions) makeRoomLocked(owner string) (evicted []*session, err error) {
	if t.closed != nil {
		return nil, t.closed
	}
	mine := t.owners[owner] >= t.each
	if !mine && len(t.known) < t.all {
		return nil, nil
	}
	for e := t.order.Back(); e != nil; e = e.Prev() {
		if s := e.Value.(*session); s.seat.busy == 0 && (!mine || s.owner == owner) {
			t.removeLocked(s)
			return []*session{s}, nil
		}
	}
	if mine {
		return nil, jackfield.OverLimit("limits.sessions.perOwner", "you have all the sessions that one caller may have (%d), and all are busy; end some and try again", t.each)
	}
	return nil, jackfield.OverLimit("limits.sessions.total", "there are all the sessions that there may be (%d), and all are busy; end some and try again", t.all)
}

// removeLocked takes s out of the table. mu is held.
func (t *sessions) removeLocked(s *session) {
	t.order.Remove(s.seat.at)
	s.seat.at = nil
	delete(t.known, s.name)
	if t.owners[s.owner]--; t.owners[s.owner] == 0 {
		delete(t.owners, s.owner)
	}
}

// find returns the session of that name, busy until release. To anybody but its
// owner, and on any path but its own, it does not exist.
func (t *sessions) find(name, owner, only string) (*session, error) {
	t.mu.Lock()
	if s := t.known[name]; s != nil && s.owner == owner && s.only == only {
		s.seat.busy++ // whoever is busy neither expires nor makes room; release says when that ended
		t.mu.Unlock()
		return s, nil
	}
	t.mu.Unlock()
	return nil, t.missing(name, owner, only)
}

// missing is why there is no session of that name.
func (t *sessions) missing(name, owner, only string) error {
	plain, err := t.sealer.open(name)
	if err != nil || len(plain) < 25 || plain[0] != sessionVersion {
		return jackfield.Errorf(jackfield.NotFound, "there is no such session; initialize again")
	}
	replica, rest := [8]byte(plain[1:9]), plain[25:]
	for _, want := range []string{owner, only} {
		var got string
		var ok bool
		if got, rest, ok = cutText(rest); !ok || got != want {
			return jackfield.Errorf(jackfield.NotFound, "there is no such session; initialize again")
		}
	}
	if replica != t.replica {
		return jackfield.Errorf(jackfield.NotFound,
			"the session belongs to another process of this gateway, or to one that was restarted; initialize again (behind a load balancer, route a session always to the same process)")
	}
	return jackfield.Errorf(jackfield.NotFound, "the session has ended; initialize again")
}

func (t *sessions) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.known)
}

func (t *sessions) release(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.seat.busy--
	if s.seat.at != nil {
		s.seat.used = time.Now()
		t.order.MoveToFront(s.seat.at)
	}
}

// end ends one session.
func (t *sessions) end(s *session, reason error) {
	t.mu.Lock()
	seated := s.seat.at != nil
	if seated {
		t.removeLocked(s)
	}
	t.mu.Unlock()
	if seated {
		t.finish([]*session{s}, reason)
	}
}

// finish ends sessions that have left the table.
func (t *sessions) finish(gone []*session, reason error) {
	for _, s := range gone {
		s.finish(reason)
		t.over(s)
	}
}

// expire ends the sessions that nobody used for too long, and comes again when
// the next one may be due.
func (t *sessions) expire() {
	var gone []*session
	t.mu.Lock()
	now := time.Now()
	next := t.idle
	for e := t.order.Back(); e != nil; {
		s := e.Value.(*session)
		e = e.Prev()
		if s.seat.busy > 0 {
			continue // its release makes it the most recently used
		}
		if left := s.seat.used.Add(t.idle).Sub(now); left > 0 {
			next = left
			break
		}
		t.removeLocked(s)
		gone = append(gone, s)
	}
	if len(t.known) > 0 && t.closed == nil {
		t.sweep.Reset(next)
	} else {
		t.sweep = nil
	}
	t.mu.Unlock()
	t.finish(gone, jackfield.Errorf(jackfield.NotFound, "the session was unused for too long; initialize again"))
}

// close ends all sessions and takes no more.
func (t *sessions) close(reason error) {
	t.mu.Lock()
	t.closed = reason
	if t.sweep != nil {
		t.sweep.Stop()
		t.sweep = nil
	}
	t.mu.Unlock()
	t.cut(func(jackfield.Principal) bool { return true }, reason)
}

// cut ends the sessions that were opened by principals that match.
func (t *sessions) cut(match func(jackfield.Principal) bool, reason error) {
	t.mu.Lock()
	var gone []*session
	for _, s := range t.known {
		if match(s.who) {
			gone = append(gone, s)
		}
	}
	for _, s := range gone {
		t.removeLocked(s)
	}
	t.mu.Unlock()
	t.finish(gone, reason)
}

// finish ends what is under way in the session.
func (s *session) finish(reason error) {
	s.mu.Lock()
	s.ended = reason
	calls, own, ear, linger, tuned := s.calls, s.own, s.ear, s.linger, s.tuned
	for _, p := range s.posts {
		if p.kept != nil {
			p.kept.Stop()
			p.discard()
		}
	}
	s.calls, s.posts, s.own, s.ear, s.linger = nil, nil, nil, nil, nil
	s.mu.Unlock()
	close(s.over)
	for _, c := range calls {
		c.cancel(reason)
	}
	if ear != nil {
		ear.stop()
	}
	if linger != nil {
		linger.Stop()
	}
	switch {
	case tuned != nil:
		tuned.close()
	case own != nil:
		own.discard()
	}
}

// begin notes the request of x under way. The context it returns ends with the
// request, the session, the gate or the client's notifications/cancelled; that the
// client's connection ends is not its business (2025-11-25, transports).
func (s *session) begin(x *inbound) (context.Context, func(), error) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(x.r.Context()))
	done, err := s.enter(x.msg.ID, cancel, x.opts.Limits.SessionRequests)
	if err != nil {
		cancel(err)
		return nil, nil, err
	}
	x.gate.tie(x.visit, cancel)
	return ctx, done, nil
}

// enter adds a request to those under way, unless it may not be there.
func (s *session) enter(id wire.Raw, cancel context.CancelCauseFunc, limit int) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := callKey(id)
	switch {
	case s.ended != nil:
		err = s.ended
	case s.callLocked(key) >= 0:
		err = &wire.Error{Code: wire.CodeInvalidRequest, Message: "a request with this id is under way already"}
	case len(s.calls) >= limit:
		err = jackfield.Errorf(jackfield.Exhausted, "this session has all the requests at once that it may have (%d); wait for some", limit)
	}
	if err != nil {
		return nil, err
	}
	s.calls = append(s.calls, underway{key, cancel})
	return func() {
		s.mu.Lock()
		if i := s.callLocked(key); i >= 0 {
			s.calls = slices.Delete(s.calls, i, i+1)
		}
		if cap(s.calls) > keptCalls && len(s.calls) == 0 {
			s.calls = nil
		}
		s.mu.Unlock()
		cancel(nil)
	}, nil
}

// underway is a request that has no answer yet.
type underway struct {
	key    wire.Raw // its id, as callKey has it
	cancel context.CancelCauseFunc
}

// keptCalls is for how many calls a session keeps room while it has none.
const keptCalls = 4

// callLocked is where a request stands in calls; -1 when it is not under way. mu
// is held.
func (s *session) callLocked(key wire.Raw) int {
	return slices.IndexFunc(s.calls, func(c underway) bool { return string(c.key) == string(key) })
}

// cancel ends a request under way, because the client wants no answer any more.
func (s *session) cancel(id wire.Raw) {
	var cancel context.CancelCauseFunc
	s.mu.Lock()
	if i := s.callLocked(callKey(id)); i >= 0 {
		cancel = s.calls[i].cancel
	}
	s.mu.Unlock()
	if cancel != nil {
		cancel(errCancelled)
	}
}

// callKey makes ids comparable: a string is the same string however it is
// spelled, and never the same as a number.
func callKey(id wire.Raw) wire.Raw {
	if len(id) > 0 && id[0] == '"' {
		if s, ok := wire.String(id); ok {
			return wire.Raw(`"` + s)
		}
	}
	return id
}

// logLevel is the level that the client asked for; empty: it never did.
func (s *session) logLevel() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.level
}

func (s *session) setLogLevel(level string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.level = level
}
