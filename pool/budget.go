package pool

import (
	"fmt"

	"github.com/jackfield-dev/jackfield"
)

// budget counts open connections against a limit.
type budget struct {
	limit   int
	open    int    // dialing, in use, idle, draining and closing
	closing int    // of open: about to give their place back
	wanted  int    // of closing: promised to queued dials in this run of fillLocked
	dry     uint64 // the run of fillLocked that found no idle one in it
}

func (b *budget) full() bool { return b.open >= b.limit }

// budgets calls do with each budget that s counts in. mu is held.
func (s *slot[C]) budgets(do func(*budget)) {
	do(&s.pool.open)
	do(&s.server.open)
	do(&s.owner.open)
	if s.traits.child {
		do(&s.owner.children)
	}
}

// overLimit is the error for a caller who waits for s, when b has no room.
func (s *slot[C]) overLimit(b *budget) error {
	whose, limit := "this process", "limits.connections.total"
	what := "connections"
	switch b {
	case &s.server.open:
		whose, limit = fmt.Sprintf("server %q", s.key.Server), "limits.connections.perServer"
	case &s.owner.open:
		whose, limit = s.key.Scope.String(), "limits.connections.perOwner"
	case &s.owner.children:
		whose, limit, what = s.key.Scope.String(), "limits.programs.perOwner", "programs"
	}
	return jackfield.OverLimit(limit, "no room for another connection to server %q: all %s that %s may have (%d) are in use; end some",
		s.key.Server, what, whose, b.limit)
}

// in reports whether s counts in b. mu is held.
func (s *slot[C]) in(b *budget) bool {
	found := false
	s.budgets(func(own *budget) { found = found || own == b })
	return found
}

// roomLocked reports whether every budget has a place for s. Where one has not, it
// takes one that is being given back, or sees to it that one is: the least recently
// used idle connection is closed. blocked is a budget in which none is idle; then
// nothing is closed for the others. mu is held.
func (p *Pool[C]) roomLocked(s *slot[C]) (ok bool, blocked *budget) {
	ok = true
	s.budgets(func(b *budget) {
		if b.full() {
			ok = false
			if !b.promising() && p.idlestLocked(b) == nil {
				blocked = b
			}
		}
	})
	if ok || blocked != nil {
		return ok, blocked
	}
	s.budgets(func(b *budget) {
		if !b.full() {
			return
		}
		if !b.promising() {
			p.retireLocked(p.idlestLocked(b), "its place was needed", nil)
		}
		b.wanted++
		p.promised = append(p.promised, b)
	})
	return false, nil
}

// promising reports whether a connection is closing whose place nobody was promised.
func (b *budget) promising() bool { return b.closing > b.wanted }

// unpromiseLocked ends what roomLocked promised. mu is held.
func (p *Pool[C]) unpromiseLocked() {
	for _, b := range p.promised {
		b.wanted--
	}
	p.promised = p.promised[:0]
}

// idlestLocked is the least recently used idle connection that counts in b; nil when
// there is none. mu is held.
func (p *Pool[C]) idlestLocked(b *budget) *slot[C] {
	if b.dry == p.pass {
		return nil // nor was there one for the dial before in the queue
	}
	for s := p.idle.first; s != nil; s = s.next {
		if s.in(b) {
			return s
		}
	}
	b.dry = p.pass
	return nil
}

// list is a list of slots, oldest first. A slot is in one list at a time.
type list[C Conn] struct {
	first, last *slot[C]
	len         int
}

func (l *list[C]) push(s *slot[C]) {
	s.prev, s.next, s.listed = l.last, nil, true
	if l.last == nil {
		l.first = s
	} else {
		l.last.next = s
	}
	l.last = s
	l.len++
}

func (l *list[C]) remove(s *slot[C]) {
	if s.prev == nil {
		l.first = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		l.last = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.prev, s.next, s.listed = nil, nil, false
	l.len--
}
