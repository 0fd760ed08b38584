package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// poolTest is a pool whose dials the test answers by hand, in a synctest bubble.
// Its words:
//
//	a := pt.acquire("docs/ann", 1)  somebody asks
//	d := pt.wantDial("docs/ann")    the pool dials
//	d.finish(nil)                   the dial ends
//	l := a.wantLease(d)             and who asked has a lease on what it brought
//	d.wantOpen(); d.wantClosed()    what became of the connection
//
// When the test ends the pool is closed; then every connection must have been closed
// once, and no goroutine may be left.
type poolTest struct {
	*testing.T
	p *Pool[*conn]

	mu    sync.Mutex
	dials []*dial // that no wantDial has taken
	all   []*dial
	peak  int // dials in flight at the same time
	now   int
}

// dial is one call of Options.Dial, and the connection that it brings.
type dial struct {
	pt       *poolTest
	key      Key
	version  jackfield.Versions
	ctx      context.Context
	end      chan error
	stubborn bool // does not end with its ctx
	conn     *conn
}

type conn struct {
	mu      sync.Mutex
	dead    error
	closes  int
	aborted error
	hang    bool // Close lasts as long as its ctx
	closed  error
}

func (c *conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

func (c *conn) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closes++
	hang, err := c.hang, c.closed
	c.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (c *conn) Abort(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aborted = reason
}

func (c *conn) die(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = errors.New(why)
}

// pooled runs a test in a bubble around a pool with these options. The backoff is
// always the longest there may be.
func pooled(t *testing.T, o Options[*conn], f func(*poolTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		pt := &poolTest{T: t}
		o.Dial = pt.dial
		pt.p = New(o)
		pt.p.jitter = func(top time.Duration) time.Duration { return top }
		f(pt)
		pt.end()
	})
}

func (pt *poolTest) end() {
	pt.Helper()
	synctest.Wait()
	ctx, cancel := context.WithTimeout(pt.Context(), time.Minute) // less than a drain takes
	defer cancel()
	if err := pt.p.Close(ctx); err != nil {
		pt.Errorf("Close: %v; a lease was leaked", err)
	}
	for _, d := range pt.all {
		d.wantGone()
	}
	pt.p.mu.Lock()
	defer pt.p.mu.Unlock()
	p := pt.p
	if len(p.slots)+len(p.ending)+len(p.owners)+len(p.ring)+p.idle.len+p.failed.len+p.queued+p.dialing+p.live+p.open.open+p.open.closing+p.open.wanted != 0 {
		pt.Errorf("something is left: %d slots, %d ending, %d owners, %d in ring, %d idle, %d failed, %d queued, %d dialing, %d live, budget %+v",
			len(p.slots), len(p.ending), len(p.owners), len(p.ring), p.idle.len, p.failed.len, p.queued, p.dialing, p.live, p.open)
	}
	for _, srv := range p.servers {
		if srv.slots+srv.dialing+srv.open.open+srv.open.closing+len(srv.queue) != 0 || srv.breaker.last == nil {
			pt.Errorf("the books on server %q are left: %+v", srv.id, srv)
		}
	}
}

func (pt *poolTest) dial(ctx context.Context, k Key, v jackfield.Versions) (*conn, error) {
	d := &dial{pt: pt, key: k, version: v, ctx: ctx, end: make(chan error), conn: &conn{}}
	pt.mu.Lock()
	pt.dials = append(pt.dials, d)
	pt.all = append(pt.all, d)
	pt.now++
	pt.peak = max(pt.peak, pt.now)
	pt.mu.Unlock()
	defer func() {
		pt.mu.Lock()
		pt.now--
		pt.mu.Unlock()
	}()
	for {
		done := ctx.Done()
		if d.stubborn {
			done = nil
		}
		select {
		case err := <-d.end:
			if err != nil {
				d.conn = nil
				return nil, err
			}
			return d.conn, nil
		case <-done:
			if d.stubborn {
				continue
			}
			d.conn = nil
			return nil, context.Cause(ctx)
		}
	}
}

// key reads "server", "server/owner" or "server/owner/isolation".
func key(s string) Key {
	parts := strings.SplitN(s, "/", 3)
	k := Key{Server: jackfield.ServerID(parts[0])}
	if len(parts) > 1 && parts[1] != "" {
		k.Scope = jackfield.User(parts[1])
	}
	if len(parts) > 2 {
		k.Isolation.ID = parts[2]
	}
	return k
}

func definition(n uint64) jackfield.Versions { return jackfield.Versions{Definition: n} }

// is matches one key, and all matches every key.
func is(s string) func(Key) bool { return func(k Key) bool { return k == key(s) } }

func all(Key) bool { return true }

// ask is one call of Acquire.
type ask struct {
	pt    *poolTest
	key   string
	leave context.CancelFunc
	done  chan struct{}
	lease Lease[*conn]
	err   error
}

func (pt *poolTest) acquire(k string, version uint64) *ask {
	return pt.acquireVersions(k, definition(version))
}

func (pt *poolTest) acquireVersions(k string, v jackfield.Versions) *ask {
	ctx, cancel := context.WithCancel(pt.Context())
	a := &ask{pt: pt, key: k, leave: cancel, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		defer cancel()
		a.lease, a.err = pt.p.Acquire(ctx, key(k), v)
	}()
	synctest.Wait()
	return a
}

// open acquires and dials.
func (pt *poolTest) open(k string, version uint64) (Lease[*conn], *dial) {
	pt.Helper()
	a := pt.acquire(k, version)
	d := pt.wantDial(k)
	d.finish(nil)
	return a.wantLease(d), d
}

// fail acquires and lets the dial fail.
func (pt *poolTest) fail(k string, version uint64, err error) {
	pt.Helper()
	a := pt.acquire(k, version)
	pt.wantDial(k).finish(err)
	a.wantError(err.Error())
}

func (a *ask) wantLease(d *dial) Lease[*conn] {
	a.pt.Helper()
	synctest.Wait()
	select {
	case <-a.done:
	default:
		a.pt.Fatalf("%s: Acquire still waits", a.key)
	}
	if a.err != nil {
		a.pt.Fatalf("%s: Acquire: %v", a.key, a.err)
	}
	if a.lease.Conn() != d.conn {
		a.pt.Fatalf("%s: Acquire gave another connection", a.key)
	}
	return a.lease
}

func (a *ask) wantWaiting() {
	a.pt.Helper()
	synctest.Wait()
	select {
	case <-a.done:
		a.pt.Fatalf("%s: Acquire does not wait: %v", a.key, a.err)
	default:
	}
}

func (a *ask) wantError(parts ...string) error {
	a.pt.Helper()
	synctest.Wait()
	select {
	case <-a.done:
	default:
		a.pt.Fatalf("%s: Acquire still waits", a.key)
	}
	if a.err == nil {
		a.lease.Release()
		a.pt.Fatalf("%s: Acquire gave a lease; want an error with %q", a.key, parts)
	}
	for _, part := range parts {
		if !strings.Contains(a.err.Error(), part) {
			a.pt.Errorf("%s: Acquire: %q does not say %q", a.key, a.err, part)
		}
	}
	if _, ok := errors.AsType[*jackfield.Error](a.err); !ok {
		a.pt.Errorf("%s: Acquire: %v is no *jackfield.Error", a.key, a.err)
	}
	return a.err
}

func (pt *poolTest) wantCode(err error, code jackfield.Code) {
	pt.Helper()
	if got := jackfield.CodeOf(err); got != code {
		pt.Errorf("the error has code %v, want %v: %v", got, code, err)
	}
}

func (pt *poolTest) wantDial(k string) *dial {
	pt.Helper()
	synctest.Wait()
	pt.mu.Lock()
	defer pt.mu.Unlock()
	i := slices.IndexFunc(pt.dials, func(d *dial) bool { return d.key == key(k) })
	if i < 0 {
		pt.Fatalf("%s is not dialed; these are: %v", k, pt.pendingLocked())
	}
	d := pt.dials[i]
	pt.dials = slices.Delete(pt.dials, i, i+1)
	return d
}

func (pt *poolTest) wantNoDial() {
	pt.Helper()
	synctest.Wait()
	pt.mu.Lock()
	defer pt.mu.Unlock()
	if len(pt.dials) > 0 {
		pt.Fatalf("dialed without need: %v", pt.pendingLocked())
	}
}

func (pt *poolTest) pendingLocked() []string {
	var keys []string
	for _, d := range pt.dials {
		keys = append(keys, d.key.String())
	}
	return keys
}

// takeDials takes all dials that are in flight, in the order in which they began.
func (pt *poolTest) takeDials() []*dial {
	synctest.Wait()
	pt.mu.Lock()
	defer pt.mu.Unlock()
	dials := pt.dials
	pt.dials = nil
	return dials
}

// inFlight is how many dials are under way.
func (pt *poolTest) inFlight() int {
	synctest.Wait()
	pt.mu.Lock()
	defer pt.mu.Unlock()
	return pt.now
}

// finish ends the dial, with a connection or an error.
func (d *dial) finish(err error) {
	d.pt.Helper()
	select {
	case d.end <- err:
	case <-time.After(time.Minute):
		d.pt.Fatalf("the dial of %s does not wait for its end", d.key)
	}
	synctest.Wait()
}

func (d *dial) wantOpen() {
	d.pt.Helper()
	synctest.Wait()
	d.conn.mu.Lock()
	defer d.conn.mu.Unlock()
	if d.conn.closes != 0 || d.conn.aborted != nil {
		d.pt.Fatalf("the connection of %s was closed %d times and cut for: %v", d.key, d.conn.closes, d.conn.aborted)
	}
}

// wantClosed: closed politely, once.
func (d *dial) wantClosed() {
	d.pt.Helper()
	d.wantGone()
	if d.conn.aborted != nil {
		d.pt.Fatalf("the connection of %s was cut for: %v", d.key, d.conn.aborted)
	}
}

// wantClosedAfter: open until then, and closed politely a second later at the most.
func (d *dial) wantClosedAfter(wait time.Duration) {
	d.pt.Helper()
	time.Sleep(wait - time.Second)
	d.wantOpen()
	time.Sleep(2 * time.Second)
	d.wantClosed()
}

// wantCut: cut with a reason that says this, and closed, once.
func (d *dial) wantCut(reason string) {
	d.pt.Helper()
	d.wantGone()
	if d.conn.aborted == nil || !strings.Contains(d.conn.aborted.Error(), reason) {
		d.pt.Fatalf("the connection of %s was cut for %v, want %q", d.key, d.conn.aborted, reason)
	}
}

// wantGone: brought nothing, or that was closed once.
func (d *dial) wantGone() {
	d.pt.Helper()
	synctest.Wait()
	if d.conn == nil {
		return
	}
	d.conn.mu.Lock()
	defer d.conn.mu.Unlock()
	if d.conn.closes != 1 {
		d.pt.Fatalf("the connection of %s was closed %d times", d.key, d.conn.closes)
	}
}

func (d *dial) wantCancelled() {
	d.pt.Helper()
	synctest.Wait()
	if d.ctx.Err() == nil {
		d.pt.Fatalf("the dial of %s was not cancelled", d.key)
	}
}

// status finds the one status of a key.
func (pt *poolTest) status(k string) Status {
	pt.Helper()
	synctest.Wait()
	var found []Status
	for got, st := range pt.p.Status() {
		if got == key(k) {
			found = append(found, st)
		}
	}
	if len(found) != 1 {
		pt.Fatalf("%s has %d statuses: %+v", k, len(found), found)
	}
	return found[0]
}

func (pt *poolTest) wantState(k string, want State, stage string) Status {
	pt.Helper()
	st := pt.status(k)
	if st.State != want || st.Stage != stage {
		pt.Fatalf("%s is %v (%s), want %v (%s)", k, st.State, st.Stage, want, stage)
	}
	return st
}

func (pt *poolTest) wantNothing(k string) {
	pt.Helper()
	synctest.Wait()
	for got, st := range pt.p.Status() {
		if got == key(k) {
			pt.Fatalf("%s should be forgotten, and is %+v", k, st)
		}
	}
}

// The failures of these tests.
type dialError struct {
	Failure
	text string
}

func (e *dialError) Error() string { return e.text }

func classify(err error) Failure {
	if d, ok := errors.AsType[*dialError](err); ok {
		return d.Failure
	}
	return failure(Failure{Temporary: true, DialStage: true}, "connect")
}

func failure(f Failure, stage string) Failure {
	f.Stage = stage
	return f
}

var (
	errRefused = errors.New("connection refused")
	errSignIn  = &dialError{failure(Failure{}, "auth"), "a sign-in is needed"}
	errSlow    = &dialError{failure(Failure{Temporary: true}, "initialize"), "initialize took too long"}
)

func retryAfter(d time.Duration) error {
	return &dialError{failure(Failure{Temporary: true, DialStage: true, RetryAfter: d}, "http"), fmt.Sprintf("503, retry after %v", d)}
}
