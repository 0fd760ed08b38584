package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// past is what is remembered of a key's attempts.
type past struct {
	*Failure           // the last of the failures in a row; nil: there is none
	good     time.Time // when a connection was last opened
}

// refusal is why the key is not dialed now; nil when it may be.
func (f past) refusal(now time.Time) error {
	if f.Temporary && !now.Before(f.Next) {
		return nil
	}
	return f.error(now)
}

// error tells a caller what failed, since when, and when the next attempt is.
func (f *Failure) error(now time.Time) error {
	code := jackfield.CodeOf(f.Err)
	if code == jackfield.Internal {
		code = jackfield.Unavailable
	}
	return &jackfield.Error{Code: code, Message: f.At(now), Err: &f.Failure}
}

// after is f as the next of the failures before it, and with what nobody said about
// it.
func (f Failure) after(before *Failure, k Key, err error, now time.Time) *Failure {
	f.Err, f.Since, f.Attempts = err, now, 1
	if before != nil {
		f.Since, f.Attempts = before.Since, before.Attempts+1
	}
	if f.Message == "" {
		f.Message = fmt.Sprintf("server %q cannot be used (%s): %v", k.Server, f.Stage, err)
		if known, ok := errors.AsType[*jackfield.Error](err); ok && known.Code != jackfield.Internal {
			f.Message = known.Message
		}
	}
	return &f
}

// died is the failure of a connection that was lost while nobody used it.
func died(k Key, err error) *jackfield.Failure {
	f := jackfield.Failure{Kind: jackfield.FailureBroken, Message: fmt.Sprintf("the connection to server %q was lost: %v", k.Server, err)}
	if known := jackfield.FailureOf(err); known != nil {
		f.Kind, f.Status = known.Kind, known.Status
	}
	f.Stage, f.Err = "died", err
	return &f
}

// failLocked records that the dial of s failed. mu is held, s is Connecting.
func (p *Pool[C]) failLocked(s *slot[C], err error, f Failure, wasProbe bool) {
	now := time.Now()
	failure := f.after(s.past.Failure, s.key, err, now)
	if failure.Temporary {
		failure.Next = now.Add(p.backoff(failure))
	}
	s.past = past{Failure: failure, good: s.past.good}
	p.answerLocked(s, failure.error(now))
	if s.traits.transient { // nobody asks for this key again
		p.leaveLocked(s)
		p.toLocked(s, gone)
		p.goneLocked(s)
	} else {
		p.rememberLocked(s)
	}
	if !s.traits.perKey {
		p.tripLocked(s, *failure, wasProbe)
	}
}

// rememberLocked keeps s as a failure for callers to come. mu is held.
func (p *Pool[C]) rememberLocked(s *slot[C]) {
	p.toLocked(s, Failed)
	p.failed.push(s)
	if s.past.Temporary {
		p.wakeLocked(s, time.Until(s.past.Next)+p.limits.Forget)
	}
	if p.failed.len > p.limits.Failed {
		p.forgetLocked(p.failed.first)
	}
}

// recallLocked keeps what was known of k when no new attempt is made. mu is held.
func (p *Pool[C]) recallLocked(k Key, v jackfield.Versions, t traits, prior past) {
	if prior.Failure != nil {
		s := p.makeLocked(k, v, t, prior)
		close(s.done)
		p.rememberLocked(s)
	}
}

// backoff is how long the next attempt waits after a failure. To find out whether
// nobody is there any more costs nobody anything, and a server is back the moment
// that it listens again.
func (p *Pool[C]) backoff(f *Failure) time.Duration {
	top := p.limits.BackoffMax
	if f.absent() {
		top = min(top, p.limits.BackoffRefused)
	}
	if n := f.Attempts - 1; n < 32 {
		top = min(top, p.limits.BackoffMin<<n)
	}
	return max(p.jitter(top), min(f.RetryAfter, retryAfterMax))
}

// absent reports whether nobody was there to be asked: no address, nobody at it, or
// a proxy that says so and names no time.
func (f *Failure) absent() bool {
	switch f.Kind { //nolint:exhaustive // all others were answered, or are slow to find out
	case jackfield.FailureRefused, jackfield.FailureDNS, jackfield.FailureUnreachable:
		return true
	case jackfield.FailureHTTP:
		return f.Status >= 502 && f.Status <= 504 && f.RetryAfter == 0
	}
	return false
}

// fullJitter is any time up to top.
func fullJitter(top time.Duration) time.Duration { return rand.N(top + 1) } //nolint:gosec // spreads load, hides nothing

// breaker keeps all keys of a server from dialing while the server cannot be
// reached. Its fields are guarded by Pool.mu.
type breaker[C Conn] struct {
	definition uint64    // failures are of this version of the definition
	last       *Failure  // at dial stage, since the last success; nil: there was none
	first      Key       // the key of the first of them
	several    bool      // another key failed as well
	until      time.Time // zero: closed; else nobody dials before, and then one
	probe      *slot[C]  // the one that dials
}

func (b *breaker[C]) open() bool { return !b.until.IsZero() }

// reset closes the breaker: the server was reached, or someone changed something.
func (b *breaker[C]) reset() { *b = breaker[C]{definition: b.definition} }

// due lets somebody try now, where nobody might for a while.
func (b *breaker[C]) due() {
	if b.open() {
		b.until = time.Unix(0, 0)
	}
}

// refusal is why a key of the server is not dialed now; nil when it may be, or may
// wait for the one that tries. mu is held.
func (b *breaker[C]) refusal(v jackfield.Versions, now time.Time) error {
	if v.Definition > b.definition {
		b.reset()
		b.definition = v.Definition
	}
	if !b.open() || !now.Before(b.until) {
		return nil
	}
	return b.last.error(now)
}

// lets reports whether a dial may start: while the breaker is open one at a time
// does, to see. mu is held.
func (b *breaker[C]) lets() bool { return !b.open() || b.probe == nil }

// tripLocked tells the breaker of a failed dial. mu is held.
func (p *Pool[C]) tripLocked(s *slot[C], f Failure, wasProbe bool) {
	b := &s.server.breaker
	switch {
	case s.version.Definition < b.definition: // says nothing about the server as it is now
		return
	case wasProbe && !f.DialStage:
		b.reset() // it was reached; what is wrong is this key's own affair
		return
	case !f.DialStage || b.open() && !wasProbe:
		return
	}
	now := time.Now()
	if b.last == nil {
		b.first = s.key
	}
	b.several = b.several || b.first != s.key
	b.last = f.after(b.last, s.key, f.Err, now)
	if b.last.Attempts < tripAfter || !b.several && !p.onlyKeyLocked(s) {
		return
	}
	b.until = now.Add(p.backoff(b.last))
	b.last.Next = b.until
	for _, q := range slices.Clone(s.server.queue) {
		if !q.traits.perKey {
			p.giveUpLocked(q, "the server cannot be reached", b.last.error(now))
		}
	}
}

// onlyKeyLocked reports whether s is the only slot of its server in the map. mu is
// held.
func (p *Pool[C]) onlyKeyLocked(s *slot[C]) bool {
	n := 0
	for k := range p.slots {
		if k.Server == s.key.Server {
			n++
		}
	}
	return n == 0 || n == 1 && s.current()
}

// forgive closes the breaker of every server whose bare key matches.
func (p *Pool[C]) forgive(match func(Key) bool) {
	p.mu.Lock()
	var failing []Key
	for id, srv := range p.servers {
		if srv.breaker.last != nil {
			failing = append(failing, Key{Server: id})
		}
	}
	p.mu.Unlock()
	failing = slices.DeleteFunc(failing, func(k Key) bool { return !match(k) })
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range failing {
		if srv := p.servers[k.Server]; srv != nil {
			srv.breaker.reset()
			p.tidyLocked(srv, nil)
		}
	}
	p.fillLocked()
}

var errNobody = jackfield.Errorf(jackfield.Unavailable, "nobody waits for this connection")

func errClosed(k Key) error {
	return jackfield.Errorf(jackfield.Unavailable, "server %q is not connected: the gateway is shutting down", k.Server)
}

func errLeft(ctx context.Context, k Key, doing string) error {
	return jackfield.Errorf(jackfield.Unavailable, "the wait for a connection to server %q ended %s: %w", k.Server, doing, context.Cause(ctx))
}
