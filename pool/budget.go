package pool

// budget counts open connections against a limit.
type budget struct {
	name    string // whose, for people
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

// in reports whether s counts in b. mu is held.
func (s *slot[C]) in(b *budget) bool {
	found := false
	s.budgets(func(own *budget) { found = found || own == b })
	return found
}

// roomLocked reports whether every budget has a place for s. Where one has not, the
// least recently used idle connection in it is closed, unless one is closing already
// whose place nobody else was promised; blocked says when there is none. mu is held.
func (p *Pool[C]) roomLocked(s *slot[C]) (ok bool, blocked string) {
	ok = true
	s.budgets(func(b *budget) {
		if !b.full() || blocked != "" {
			return
		}
		ok = false
		if b.closing <= b.wanted && !p.evictLocked(b) {
			blocked = b.name
			return
		}
		b.wanted++
		p.promised = append(p.promised, b)
	})
	return ok, blocked
}

// unpromiseLocked ends what roomLocked promised. mu is held.
func (p *Pool[C]) unpromiseLocked() {
	for _, b := range p.promised {
		b.wanted--
	}
	p.promised = p.promised[:0]
}

// evictLocked closes the least recently used idle connection that counts in b. mu is
// held.
func (p *Pool[C]) evictLocked(b *budget) bool {
	if b.dry == p.pass {
		return false // nor is there one for the next in the queue
	}
	for s := p.idle.first; s != nil; s = s.next {
		if s.in(b) {
			p.retireLocked(s, "its place was needed", nil)
			return true
		}
	}
	b.dry = p.pass
	return false
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
