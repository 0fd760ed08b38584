package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/alarm"
	"github.com/jackfield-dev/jackfield/wire"
)

// clock ends a call that takes too long. Progress sets it back, and it stands
// still while the client is being asked something; the total is bounded all the
// same. It is the Peer of the call, so that it sees both. Most calls are answered
// before their first time is up, so there is a timer of its own only afterwards.
type clock struct {
	alarm.Alarm
	first     *alarm.Clock
	peer      exchange.Peer // may be nil
	server    string
	method    string
	idle      time.Duration
	total     time.Duration
	cancel    context.CancelCauseFunc
	began     time.Time
	connected atomic.Bool // there was a connection to send the call on

	mu      sync.Mutex // protects what follows
	until   time.Time
	timer   *time.Timer // nil until the first time is up
	over    bool
	asking  int // questions the client thinks about
	asked   bool
	expired *jackfield.Error
}

// clocks are the clocks of calls that may take the same time.
type clocks struct{ all sync.Map } // of *alarm.Clock, by time.Duration

// of is the clock for one time. There are as many as definitions name.
func (c *clocks) of(d time.Duration) *alarm.Clock {
	if clock, ok := c.all.Load(d); ok {
		return clock.(*alarm.Clock)
	}
	clock, _ := c.all.LoadOrStore(d, alarm.New(d))
	return clock.(*alarm.Clock)
}

// startClock begins to count for a call. stop must be called in the end.
func (b *Broker) startClock(ctx context.Context, s *jackfield.Server, method string, peer exchange.Peer) (context.Context, *clock) {
	k := &clock{
		peer: peer, server: s.Name, method: method, idle: b.o.Limits.Call, total: b.o.Limits.Total, began: time.Now(),
	}
	if s.Usage.Timeout > 0 {
		k.idle = s.Usage.Timeout
	}
	k.total = max(k.total, k.idle)
	k.until = k.began.Add(k.idle)
	ctx, k.cancel = context.WithCancelCause(ctx)
	k.first = b.clocks.of(k.idle)
	k.first.Set(&k.Alarm, k)
	return ctx, k
}

func (k *clock) stop() {
	if !k.first.Stop(&k.Alarm) {
		k.mu.Lock()
		k.over = true
		if k.timer != nil {
			k.timer.Stop()
		}
		k.mu.Unlock()
	}
	k.cancel(nil)
}

// Ring is called when the first time is up.
func (k *clock) Ring() { k.expire() }

// expire ends the call.
func (k *clock) expire() {
	k.mu.Lock()
	if left := time.Until(k.until); k.over || left > 0 {
		if !k.over {
			k.timer = time.AfterFunc(left, k.expire)
		}
		k.mu.Unlock()
		return
	}
	if !k.connected.Load() {
		k.expired = tooLong("connect", "%s was not sent within %v; call again, and if the server always needs longer to connect, raise timeout in its definition",
			k.method, k.idle)
	} else if time.Since(k.began) >= k.total && k.total > k.idle {
		k.expired = tooLong("call", "server %q has not finished %s after %v, which is the most that a call may take", k.server, k.method, k.total)
	} else {
		k.expired = tooLong("call", "server %q has neither answered %s nor reported progress for %v; if it needs longer, raise timeout in its definition",
			k.server, k.method, k.idle)
	}
	err := k.expired
	k.mu.Unlock()
	k.cancel(err)
}

// tooLong is the end of a call by the clock, and how far it came.
func tooLong(stage, format string, args ...any) *jackfield.Error {
	f := &jackfield.Failure{Kind: jackfield.FailureTimeout, Stage: stage, Message: fmt.Sprintf(format, args...)}
	return &jackfield.Error{Code: jackfield.Unavailable, Message: f.At(time.Time{}), Err: f}
}

// late is why the call was ended here; nil: it was not.
func (k *clock) late() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.expired == nil {
		return nil
	}
	return k.expired
}

// rewind gives the server its time anew, as far as the total allows.
func (k *clock) rewind() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rewindLocked(0)
}

// rewindLocked counts the questions and sets the timer. mu is held.
func (k *clock) rewindLocked(asked int) {
	k.asking += asked
	if k.expired != nil {
		return
	}
	left := k.total - time.Since(k.began)
	if k.asking == 0 {
		left = min(left, k.idle)
	}
	k.until = time.Now().Add(max(0, left))
	if k.timer != nil {
		k.timer.Reset(max(0, left))
	}
}

// Notify passes a notification on; progress gives the server its time anew.
func (k *clock) Notify(ctx context.Context, method string, params wire.Raw) error {
	if method == "notifications/progress" {
		k.rewind()
	}
	if k.peer == nil {
		return nil
	}
	return k.peer.Notify(ctx, method, params)
}

var errNobody = errors.New("nobody is there to be asked")

// Ask passes questions on. The time a person takes to answer is not the server's.
func (k *clock) Ask(ctx context.Context, questions []exchange.Question) ([]exchange.Answer, error) {
	if k.peer == nil {
		return nil, errNobody
	}
	k.mu.Lock()
	k.asked = true
	k.rewindLocked(+1)
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.rewindLocked(-1)
		k.mu.Unlock()
	}()
	return k.peer.Ask(ctx, questions)
}

// wasAsked reports whether the client was asked anything.
func (k *clock) wasAsked() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked
}
