package upstream

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"
)

// pauseMax is the longest time that a server is left alone because it said so in
// answer to a call.
const pauseMax = 5 * time.Minute

// pause remembers that a server asked to be left alone for a while (429 or 503 with
// Retry-After): until then calls on the connection are refused here, with its own
// words. It lasts no longer than the connection, so a new sign-in, a new definition
// or a reset ends it. What it says to a dial is the pool's affair.
type pause struct{ asked atomic.Pointer[failure] }

// heed takes note of what a call ended with.
func (p *pause) heed(err error) {
	f, ok := errors.AsType[*failure](err)
	if !ok || f.retryAfter <= 0 || f.status != http.StatusTooManyRequests && f.status != http.StatusServiceUnavailable {
		return
	}
	asked := *f
	asked.at, asked.notSent = time.Now(), true
	p.asked.Store(&asked)
}

// refusal is why a call is not sent now; nil when it may be.
func (p *pause) refusal() error {
	f := p.asked.Load()
	switch {
	case f == nil:
		return nil
	case time.Since(f.at) < min(f.retryAfter, pauseMax):
		return f
	}
	p.asked.CompareAndSwap(f, nil)
	return nil
}
