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

// past is what is remembered of a key's attempts: its failures in a row, if any.
type past struct {
	Failure
	err   error
	tries int       // failures in a row
	since time.Time // the first of them
	next  time.Time // no attempt before; zero: only someone can end it
	good  time.Time // when a connection was last opened
}

// refusal is why the key is not dialed now; nil when it may be.
func (f past) refusal(k Key, now time.Time) error {
	if f.Temporary && !now.Before(f.next) {
		return nil
	}
	return f.error(k, now)
}

// error tells a caller what failed, since when, and when the next attempt is.
func (f past) error(k Key, now time.Time) error {
	return failedError(f.err, k, f.Stage, f.tries, f.since, f.next, now)
}

func failedError(cause error, k Key, stage string, tries int, since, next, now time.Time) error {
	code := jackfield.Unavailable
	text := cause.Error()
	if known, ok := errors.AsType[*jackfield.Error](cause); ok && known.Code != jackfield.Internal {
		code = known.Code
	} else {
		text = fmt.Sprintf("server %q cannot be used (%s): %s", k.Server, stage, text)
	}
	when := "it is not tried again until someone signs in or changes its definition"
	if !next.IsZero() {
		when = "the next attempt is due now"
		if wait := next.Sub(now); wait > 0 {
			when = fmt.Sprintf("the next attempt is at %s, in %v", next.UTC().Format(time.RFC3339), max(wait.Round(100*time.Millisecond), 100*time.Millisecond))
		}
	}
	times := ""
	if tries > 1 {
		times = fmt.Sprintf("%d times ", tries)
	}
	return &jackfield.Error{
		Code:    code,
		Message: fmt.Sprintf("%s (failed %ssince %s; %s)", text, times, since.UTC().Format(time.RFC3339), when),
		Err:     cause,
	}
}

// failLocked records that the dial of s failed. mu is held, s is Connecting.
func (p *Pool[C]) failLocked(s *slot[C], err error, f Failure, wasProbe bool) {
	now := time.Now()
	since := now
	if s.past.tries > 0 {
		since = s.past.since
	}
	s.past = past{Failure: f, err: err, tries: s.past.tries + 1, since: since, good: s.past.good}
	if f.Temporary {
		s.past.next = now.Add(p.backoff(s.past.tries, f.RetryAfter))
	}
	p.answerLocked(s, s.past.error(s.key, now))
	if s.traits.transient { // nobody asks for this key again
		p.leaveLocked(s)
		p.toLocked(s, gone)
		p.goneLocked(s)
	} else {
		p.rememberLocked(s)
	}
	if !s.traits.perKey {
		p.tripLocked(s, err, f, wasProbe)
	}
}

// rememberLocked keeps s as a failure for callers to come. mu is held.
func (p *Pool[C]) rememberLocked(s *slot[C]) {
	p.toLocked(s, Failed)
	p.failed.push(s)
	if s.past.Temporary {
		p.wakeLocked(s, time.Until(s.past.next)+p.limits.Forget)
	}
	if p.failed.len > p.limits.Failed {
		p.forgetLocked(p.failed.first)
	}
}

// recallLocked keeps what was known of k when no new attempt is made. mu is held.
func (p *Pool[C]) recallLocked(k Key, v jackfield.Versions, t traits, prior past) {
	if prior.tries > 0 {
		s := p.makeLocked(k, v, t, prior)
		close(s.done)
		p.rememberLocked(s)
	}
}

// backoff is how long the next attempt waits after so many failures in a row.
func (p *Pool[C]) backoff(tries int, retryAfter time.Duration) time.Duration {
	top := p.limits.BackoffMax
	if n := tries - 1; n < 32 {
		top = min(top, p.limits.BackoffMin<<n)
	}
	return max(p.jitter(top), min(retryAfter, retryAfterMax))
}

// fullJitter is any time up to top.
func fullJitter(top time.Duration) time.Duration { return rand.N(top + 1) } //nolint:gosec // spreads load, hides nothing

// breaker keeps all keys of a server from dialing while the server cannot be
// reached. Its fields are guarded by Pool.mu.
type breaker[C Conn] struct {
	definition uint64 // failures are of this version of the definition
	failures   int    // at dial stage, since the last success
	first      Key    // the key of the first of them
	several    bool   // another key failed as well
	since      time.Time
	until      time.Time // zero: closed; else nobody dials before, and then one
	err        error
	stage      string
	probe      *slot[C] // the one that dials
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
func (b *breaker[C]) refusal(k Key, v jackfield.Versions, now time.Time) error {
	if v.Definition > b.definition {
		b.reset()
		b.definition = v.Definition
	}
	if !b.open() || !now.Before(b.until) {
		return nil
	}
	return failedError(b.err, k, b.stage, b.failures, b.since, b.until, now)
}

// lets reports whether a dial may start: while the breaker is open one at a time
// does, to see. mu is held.
func (b *breaker[C]) lets() bool { return !b.open() || b.probe == nil }

// tripLocked tells the breaker of a failed dial. mu is held.
func (p *Pool[C]) tripLocked(s *slot[C], err error, f Failure, wasProbe bool) {
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
	if b.failures == 0 {
		b.first, b.since = s.key, now
	}
	b.failures++
	b.several = b.several || b.first != s.key
	b.err, b.stage = err, f.Stage
	if b.failures < tripAfter || !b.several && !p.onlyKeyLocked(s) {
		return
	}
	b.until = now.Add(p.backoff(b.failures, f.RetryAfter))
	for _, q := range slices.Clone(s.server.queue) {
		if !q.traits.perKey {
			p.giveUpLocked(q, "the server cannot be reached", failedError(err, q.key, f.Stage, b.failures, b.since, b.until, now))
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
		if srv.breaker.failures > 0 {
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

func errNoRoom(k Key, whose string) error {
	return jackfield.Errorf(jackfield.Exhausted,
		"no room for another connection to server %q: all that %s may have are in use; close some, or raise the limit", k.Server, whose)
}
