package upstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield/exchange"
)

// attendance keeps the GET stream of a legacy server open while a call is open
// that the server may have a question about. Some servers ask there and not on
// the stream of the call, and wait forever when nobody is there.
type attendance struct {
	pointless atomic.Bool // the server offers no such stream
	late      atomic.Bool // a call has waited for it in vain; no other one does

	mu    sync.Mutex // guards what follows
	calls int
	h     *hearing
	timer *time.Timer // runs while calls is zero
}

const (
	// lingering is how long the stream stays after the last call, so that calls in
	// a row share one.
	lingering = 10 * time.Second
	// attendPatience is how long a call waits for the stream to stand.
	attendPatience = 2 * time.Second
)

// mayBeAsked reports whether the server may ask back about r, where nothing says
// that the question is about r.
func (c *Conn) mayBeAsked(r *exchange.Request) bool {
	if l, isHTTP := c.link.(*httpLink); !isHTTP || l.session == "" || c.attendance.pointless.Load() {
		return false
	}
	switch r.Method {
	case "tools/call", "prompts/get", "resources/read", "tasks/result":
		return c.caps.Form || c.caps.URL || c.caps.Sampling || c.caps.Roots
	}
	return false
}

// attend opens the GET stream, unless it stands, and holds it for one call. A
// call does without when the stream cannot be had.
func (c *Conn) attend(ctx context.Context) (leave func(), err error) {
	a := &c.attendance
	h, err := a.enter(c)
	if err != nil {
		return nil, err
	}
	leave = func() { a.exit(c) }
	patience := time.NewTimer(attendPatience)
	defer patience.Stop()
	for {
		_, stands, moved, err := c.ear.state(h, Interest{})
		switch {
		case err != nil:
			if errors.Is(err, ErrNoStream) || asFailure(err).status/100 == 4 {
				a.pointless.Store(true)
			}
			return leave, nil
		case stands || a.late.Load():
			return leave, nil
		}
		select {
		case <-moved:
		case <-patience.C:
			a.late.Store(true)
			return leave, nil
		case <-ctx.Done():
			leave()
			return nil, context.Cause(ctx)
		}
	}
}

func (a *attendance) enter(c *Conn) (*hearing, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.h != nil && c.ear.over(a.h) {
		a.h = nil
	}
	if a.h == nil {
		h, err := c.ear.join(c, Interest{})
		if err != nil {
			return nil, err
		}
		a.h = h
	}
	a.calls++
	return a.h, nil
}

func (a *attendance) exit(c *Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.calls--; a.calls == 0 {
		a.timer = time.AfterFunc(lingering, func() { a.end(c) })
	}
}

// end closes the stream unless somebody came in the meantime.
func (a *attendance) end(c *Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.calls == 0 && a.h != nil {
		c.ear.leave(a.h, Interest{})
		a.h = nil
	}
}
