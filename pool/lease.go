package pool

import "time"

// Lease is a counted hold on a connection. It is a value: copies are the same
// hold, and releasing it twice, or long after, touches nobody else's.
type Lease[C Conn] struct {
	slot *slot[C]
	gen  uint64
	cell uint32
}

// hold is one place of a slot's table of leases.
type hold struct {
	gen  uint64 // grows when the place is taken and when it is given back: odd while taken
	next uint32 // the next free place + 1; 0: none
}

// takeLocked takes s out of the idle list, if it is there. It reports false, and
// leaves s, when s has been idle for too long. mu is held, s is Ready.
func (p *Pool[C]) takeLocked(s *slot[C]) bool {
	if !s.listed {
		return true
	}
	if s.unusedLocked(time.Now()) >= p.limits.Idle {
		return false
	}
	p.idle.remove(s)
	return true
}

// holdLocked takes a lease on s. mu is held.
func (s *slot[C]) holdLocked() Lease[C] {
	if s.free == 0 {
		s.holds = append(s.holds, hold{})
		s.free = uint32(len(s.holds))
	}
	cell := s.free - 1
	h := &s.holds[cell]
	s.free = h.next
	h.gen++
	s.leases++
	return Lease[C]{slot: s, gen: h.gen, cell: cell}
}

// freeLocked gives the lease back and reports whether it was still held. mu is
// held.
func (s *slot[C]) freeLocked(l Lease[C]) bool {
	h := &s.holds[l.cell]
	if h.gen != l.gen {
		return false
	}
	h.gen++
	h.next = s.free
	s.free = l.cell + 1
	s.leases--
	return true
}

// Conn is the leased connection. It may be used until Release.
func (l Lease[C]) Conn() C {
	if l.slot == nil {
		var none C
		return none
	}
	return l.slot.conn
}

// Key is the key that the connection stands under now.
func (l Lease[C]) Key() Key {
	if l.slot == nil {
		return Key{}
	}
	l.slot.pool.mu.Lock()
	defer l.slot.pool.mu.Unlock()
	return l.slot.key
}

// Release ends the hold. It may be called more than once and on the zero Lease.
func (l Lease[C]) Release() { l.end("") }

// Retire ends the hold and drains the connection: nobody else gets it, and it is
// closed when the others that hold it are done.
func (l Lease[C]) Retire() { l.end("it is no longer needed") }

func (l Lease[C]) end(retire string) {
	s := l.slot
	if s == nil {
		return
	}
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if !s.freeLocked(l) {
		return
	}
	if retire != "" {
		p.retireLocked(s, retire, nil)
	}
	p.settleLocked(s)
	if p.queued > 0 {
		p.fillLocked()
	}
}

// Stale is closed when the connection is being drained or cut: what runs on it may
// finish, and what is open for long moves to a new lease.
func (l Lease[C]) Stale() <-chan struct{} {
	if l.slot == nil {
		return nil
	}
	return l.slot.stale
}

// Claim moves a connection that was opened as a probe to the key it turned out to
// belong to. It reports whether the connection stands under that key now: because
// it did already, or because it stood under a [Probe] key and the new one was
// free: nothing stood there but a failure or an older version.
func (l Lease[C]) Claim(to Key) bool {
	if l.slot == nil {
		return false
	}
	s, p := l.slot, l.slot.pool
	about := p.traits(to)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case s.holds[l.cell].gen != l.gen:
		return false
	case s.key == to:
		return true
	case s.state != Ready || s.key.Isolation.ID != Probe || s.key.Server != to.Server:
		return false
	}
	if other := p.slots[to]; other != nil {
		newer := other.version.Older(s.version) && !s.version.Older(other.version)
		if other.state != Failed && !newer {
			return false
		}
		// What failed or is out of date has had its time.
		p.retireLocked(other, reasonOlder, nil)
	}
	return p.moveLocked(s, to, about)
}
