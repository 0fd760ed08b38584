package pool

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// askLocked makes a slot for k and queues its dial, which starts at once when there
// is a place for it. The caller is its first waiter. mu is held, and k is free.
func (p *Pool[C]) askLocked(k Key, v jackfield.Versions, t traits, prior past) (*slot[C], error) {
	srv := p.serverLocked(k.Server)
	defer p.tidyLocked(srv, nil)
	if !t.perKey {
		if err := srv.breaker.refusal(v, time.Now()); err != nil {
			p.recallLocked(k, v, t, prior)
			return nil, err
		}
	}
	if err := p.crowdedLocked(srv); err != nil {
		p.recallLocked(k, v, t, prior)
		return nil, err
	}
	s := p.makeLocked(k, v, t, prior)
	s.waiters++
	s.queued = true
	p.queued++
	if srv.queue = append(srv.queue, s); len(srv.queue) == 1 {
		p.ring = append(p.ring, srv)
	}
	p.fillLocked()
	return s, nil
}

// crowdedLocked is why no dial can wait for a place; nil when one can. mu is held.
func (p *Pool[C]) crowdedLocked(srv *server[C]) error {
	switch {
	case len(srv.queue) >= p.limits.QueueServer:
		return jackfield.OverLimit("limits.queue.perServer",
			"%d connections to server %q are waiting to be opened already; try again in a moment", len(srv.queue), srv.id)
	case p.queued >= p.limits.Queue:
		return jackfield.OverLimit("limits.queue.total",
			"%d connections are waiting to be opened, so server %q has to wait; try again in a moment", p.queued, srv.id)
	}
	return nil
}

// unqueueLocked takes s out of its queue. mu is held.
func (p *Pool[C]) unqueueLocked(s *slot[C]) {
	srv := s.server
	srv.queue = slices.DeleteFunc(srv.queue, func(q *slot[C]) bool { return q == s })
	s.queued = false
	s.blocked = nil
	p.queued--
	if len(srv.queue) > 0 {
		return
	}
	i := slices.Index(p.ring, srv)
	p.ring = slices.Delete(p.ring, i, i+1)
	if i < p.turn {
		p.turn--
	}
}

// fillLocked starts queued dials while there are places, one for each server in
// turn. mu is held.
func (p *Pool[C]) fillLocked() {
	p.pass++
	defer p.unpromiseLocked()
	for left := len(p.ring); left > 0 && p.dialing < p.limits.DialsProcess && len(p.ring) > 0; {
		p.turn %= len(p.ring)
		srv := p.ring[p.turn]
		if s := p.nextLocked(srv); s != nil {
			p.turn++ // before srv may leave the ring
			p.startLocked(s)
			left = len(p.ring)
		} else {
			p.turn++
			left--
		}
	}
}

// nextLocked is the first queued dial of srv that may start. One half of the places
// of the process is for servers that nobody dials: as many that hang as there are
// places in it cannot take the last one from a server that works. mu is held.
func (p *Pool[C]) nextLocked(srv *server[C]) *slot[C] {
	if srv.dialing >= p.limits.DialsServer || srv.dialing > 0 && p.dialing >= (p.limits.DialsProcess+1)/2 {
		return nil
	}
	for _, s := range srv.queue {
		if s.pass == p.pass || s.owner.dialing >= p.limits.DialsOwner {
			continue
		}
		if !s.traits.perKey && !srv.breaker.lets() {
			continue
		}
		ok, blocked := p.roomLocked(s)
		if ok {
			return s
		}
		s.pass = p.pass
		p.blockLocked(s, blocked)
	}
	return nil
}

// blockLocked notes that no budget has room for s, or that one will have. mu is
// held.
func (p *Pool[C]) blockLocked(s *slot[C], blocked *budget) {
	s.blocked = blocked
	if blocked != nil && s.timer == nil {
		p.wakeLocked(s, max(p.limits.Patience, 0))
	}
}

// startLocked starts the dial of s. mu is held.
func (p *Pool[C]) startLocked(s *slot[C]) {
	p.unqueueLocked(s)
	s.budgets(func(b *budget) { b.open++ })
	if b := &s.server.breaker; b.open() && !s.traits.perKey {
		b.probe = s
	}
	p.dialing++
	s.server.dialing++
	s.owner.dialing++
	s.young = true
	s.aging = time.AfterFunc(ownerDialAge, func() { p.aged(s) })
	p.live += 2 // the dial and its timer
	ctx, cancel := context.WithTimeoutCause(context.Background(), dialMax, fmt.Errorf("the dial took longer than %v", dialMax))
	s.cancel = cancel
	go p.dial(ctx, s, s.key)
}

// aged lets a slow dial no longer count for its owner.
func (p *Pool[C]) aged(s *slot[C]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.young {
		s.young = false
		s.owner.dialing--
		p.fillLocked()
	}
	p.live--
	p.stepLocked()
}

// dial runs on a goroutine of its own.
func (p *Pool[C]) dial(ctx context.Context, s *slot[C], k Key) {
	if hook := p.opts.Trace.DialStart; hook != nil {
		hook(k)
	}
	start := time.Now()
	conn, err := p.opts.Dial(ctx, k, s.version)
	took := time.Since(start)
	if err == nil {
		if err = conn.Err(); err != nil {
			p.closeConn(conn, k, "it died at once")
		}
	}
	var f Failure
	if err != nil {
		f = p.opts.Classify(err)
	}
	if hook := p.opts.Trace.DialDone; hook != nil {
		hook(k, took, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialedLocked(s, conn, err, f)
	p.fillLocked()
	p.live--
	p.stepLocked()
}

// dialedLocked takes what a dial brought. mu is held.
func (p *Pool[C]) dialedLocked(s *slot[C], conn C, err error, f Failure) {
	p.dialing--
	s.server.dialing--
	if s.young {
		s.young = false
		s.owner.dialing--
	}
	if s.aging.Stop() {
		p.live--
	}
	s.cancel()
	s.cancel, s.aging = nil, nil
	if err != nil {
		s.budgets(func(b *budget) { b.open-- })
	} else {
		s.conn = conn
	}
	b := &s.server.breaker
	wasProbe := b.probe == s
	if wasProbe {
		b.probe = nil
	}
	switch {
	case s.state != Connecting && err == nil: // given up meanwhile
		p.shutLocked(s, nil)
	case s.state != Connecting:
		p.toLocked(s, gone)
		p.goneLocked(s)
	case err == nil:
		s.openedAt = time.Now()
		s.past = past{good: s.openedAt}
		if !s.traits.perKey && s.version.Definition >= b.definition {
			b.reset()
		}
		p.toLocked(s, Ready)
		p.answerLocked(s, nil)
		p.settleLocked(s)
	default:
		p.failLocked(s, err, f, wasProbe)
	}
}

// serverLocked finds or makes the books on a server. mu is held.
func (p *Pool[C]) serverLocked(id jackfield.ServerID) *server[C] {
	srv := p.servers[id]
	if srv == nil {
		srv = &server[C]{id: id}
		srv.open.limit = p.limits.OpenServer
		p.servers[id] = srv
	}
	return srv
}

// ownerLocked finds or makes the books on an owner. mu is held.
func (p *Pool[C]) ownerLocked(scope jackfield.Scope) *owner {
	o := p.owners[scope]
	if o == nil {
		o = &owner{scope: scope}
		o.open.limit, o.children.limit = p.limits.OpenOwner, p.limits.ChildrenOwner
		if scope.Kind == jackfield.ScopeApp {
			o.open.limit, o.children.limit = unlimited, unlimited
		}
		p.owners[scope] = o
	}
	return o
}

// tidyLocked drops books that say nothing. Either may be nil. mu is held.
func (p *Pool[C]) tidyLocked(srv *server[C], o *owner) {
	if srv != nil && srv.slots == 0 && srv.breaker.last == nil && p.servers[srv.id] == srv {
		delete(p.servers, srv.id)
	}
	if o != nil && o.slots == 0 && p.owners[o.scope] == o {
		delete(p.owners, o.scope)
	}
}
