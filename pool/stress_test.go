package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jackfield-dev/jackfield"
)

// stressConn knows how it must not be treated.
type stressConn struct {
	t       *testing.T
	leases  atomic.Int64
	dead    atomic.Bool
	closes  atomic.Int64
	aborted atomic.Bool
}

func (c *stressConn) Err() error {
	if c.dead.Load() {
		return errors.New("died")
	}
	return nil
}

func (c *stressConn) Close(context.Context) error {
	if c.closes.Add(1) != 1 {
		c.t.Error("closed twice")
	}
	if n := c.leases.Load(); n != 0 && !c.aborted.Load() {
		c.t.Errorf("closed politely with %d leases", n)
	}
	return nil
}

func (c *stressConn) Abort(error) { c.aborted.Store(true) }

// Everything at once, on real goroutines and a real clock: what must never happen
// does not, whatever comes first.
func TestNothingBreaksWhenEverythingHappensAtOnce(t *testing.T) {
	defer goleak.VerifyNone(t)
	var (
		mu    sync.Mutex
		conns []*stressConn
		now   atomic.Int64
	)
	p := New(Options[*stressConn]{
		Dial: func(ctx context.Context, _ Key, _ jackfield.Versions) (*stressConn, error) {
			if n := now.Add(1); n > 6 {
				t.Errorf("%d dials in flight", n)
			}
			defer now.Add(-1)
			select {
			case <-time.After(rand.N(300 * time.Microsecond)):
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			if rand.N(10) == 0 {
				return nil, errors.New("refused")
			}
			c := &stressConn{t: t}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			return c, nil
		},
		Transient: func(k Key) bool { return k.Isolation.ID == "call" },
		Limits: Limits{
			DialsProcess: 6, DialsServer: 3, DialsOwner: 4, OpenProcess: 12, OpenServer: 5, OpenOwner: 6, Patience: time.Millisecond,
			Idle: time.Millisecond, Drain: 2 * time.Millisecond, BackoffMin: 100 * time.Microsecond, BackoffMax: time.Millisecond,
			Failed: 4, Forget: time.Millisecond,
		},
	})
	anyKey := func() Key {
		return Key{
			Server:    jackfield.ServerID(fmt.Sprint("s", rand.N(4))),
			Scope:     jackfield.User(fmt.Sprint("u", rand.N(3))),
			Isolation: Isolation{ID: []string{"", "", "call", Probe}[rand.N(4)]},
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	everyNowAndThen := func(d time.Duration, f func()) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(rand.N(d)):
					f()
				}
			}
		})
	}
	var got, failed atomic.Int64
	for range 16 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), rand.N(4*time.Millisecond))
				l, err := p.Acquire(ctx, anyKey(), jackfield.Versions{Definition: uint64(rand.N(3) / 2)})
				cancel()
				if err != nil {
					failed.Add(1)
					continue
				}
				got.Add(1)
				l.Conn().leases.Add(1)
				l.Claim(anyKey())
				time.Sleep(rand.N(200 * time.Microsecond))
				if rand.N(50) == 0 {
					l.Conn().dead.Store(true)
				}
				l.Conn().leases.Add(-1)
				if rand.N(20) == 0 {
					l.Retire()
				}
				l.Release()
			}
		})
	}
	some := func(k Key) bool { return rand.N(3) == 0 && k.Server != "" }
	everyNowAndThen(5*time.Millisecond, func() { p.Reset(some) })
	everyNowAndThen(5*time.Millisecond, func() { p.Drain(some) })
	everyNowAndThen(5*time.Millisecond, func() { p.Cut(some, errors.New("cut")) })
	everyNowAndThen(time.Millisecond, func() {
		for _, st := range p.Status() {
			if st.State < Connecting || st.State > Draining {
				t.Errorf("state %v", st.State)
			}
		}
	})
	time.Sleep(time.Second)
	close(stop)
	wg.Wait()
	if err := p.Close(context.Background()); err != nil {
		t.Errorf("Close: %v", err)
	}
	for _, c := range conns {
		if n := c.closes.Load(); n != 1 {
			t.Fatalf("a connection was closed %d times", n)
		}
	}
	t.Logf("%d leases, %d refusals, %d connections", got.Load(), failed.Load(), len(conns))
	if got.Load() < 100 || len(conns) < 20 {
		t.Error("too little happened for this to prove anything")
	}
}

// A callback that asks the pool something would wait forever if it were called under
// the pool's lock.
func TestNothingOfTheUsersIsCalledUnderTheLock(t *testing.T) {
	defer goleak.VerifyNone(t)
	var p *Pool[*askingConn]
	ask := func() { _ = p.Drained(context.Background(), func(Key) bool { return false }) }
	asking := func(Key) bool { ask(); return false }
	matching := func(Key) bool { ask(); return true }
	p = New(Options[*askingConn]{
		Dial: func(_ context.Context, k Key, _ jackfield.Versions) (*askingConn, error) {
			ask()
			if k.Server == "down" {
				return nil, errRefused
			}
			return &askingConn{ask}, nil
		},
		Classify:   func(error) Failure { ask(); return Failure{} },
		PerKeyOnly: asking,
		Child:      asking,
		Transient:  func(k Key) bool { ask(); return k.Server == "once" },
		Trace: &Trace{
			DialStart: func(Key) { ask() },
			DialDone:  func(Key, time.Duration, error) { ask() },
			Waited:    func(Key, time.Duration, error) { ask() },
			Closed:    func(Key, string, error) { ask() },
		},
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, server := range []jackfield.ServerID{"docs", "once", "down", "docs"} {
			for _, v := range []uint64{1, 2} {
				l, err := p.Acquire(t.Context(), Key{Server: server, Isolation: Isolation{ID: Probe}}, definition(v))
				if err == nil {
					l.Claim(Key{Server: server})
				}
				p.Drain(matching)
				l.Release()
			}
		}
		l, _ := p.Acquire(t.Context(), Key{Server: "docs"}, definition(3))
		for range p.Status() {
			ask()
		}
		p.Cut(matching, errRefused)
		p.Reset(matching)
		l.Release()
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the pool waits for itself")
	}
}

type askingConn struct{ ask func() }

func (c *askingConn) Err() error                  { c.ask(); return nil }
func (c *askingConn) Close(context.Context) error { c.ask(); return nil }
func (c *askingConn) Abort(error)                 { c.ask() }

func TestASlotCannotGoBackwards(t *testing.T) {
	p := New(Options[*conn]{Dial: (&poolTest{}).dial})
	for _, step := range [][2]State{
		{0, Ready},
		{Ready, Connecting},
		{Ready, Failed},
		{Ready, gone},
		{Failed, Ready},
		{Failed, Connecting},
		{Draining, Ready},
		{gone, Connecting},
		{gone, Draining},
		{gone, gone},
		{Connecting, Connecting},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a slot went from %v to %v", step[0], step[1])
				}
			}()
			p.toLocked(&slot[*conn]{pool: p, state: step[0]}, step[1])
		}()
	}
}

func TestStatesHaveNames(t *testing.T) {
	for state, want := range map[State]string{
		Connecting: "connecting", Ready: "ready", Failed: "failed", Draining: "draining", gone: "gone", 9: "State(9)",
	} {
		if state.String() != want {
			t.Errorf("%v, want %s", state, want)
		}
	}
}
