package catalog

import (
	"container/list"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// The rules of freshness, in numbers.
const (
	waitFirst    = 2 * time.Second      // for a list that was never fetched
	waitChanged  = time.Second          // for a list that its server said has changed
	untoldTTL    = 5 * time.Minute      // of a list whose server says nothing of its age
	untoldAhead  = untoldTTL * 4 / 5    // from then on it is fetched ahead of time while in use
	minVisit     = time.Second          // between visits that nobody waits for
	minReconnect = 30 * time.Second     // between visits for new connections and streams alone
	firstRetry   = time.Second          // after a visit that failed; doubles
	lastRetry    = time.Minute          // and no more than this
	slowVisit    = 5 * time.Second      // from then on a background visit does not keep the next one waiting
	window       = 3                    // background visits at once
	maxKnown     = 365 * 24 * time.Hour // a time that does not come
)

// key is whose listing of which server.
type key struct {
	server jackfield.ServerID
	scope  jackfield.Scope // the app's: everybody's
}

// entry is the listing of one server for one audience. The catalog's mu protects
// it.
type entry struct {
	key
	version uint64 // of the definition that the lists are of
	lists   [numKinds]state
	fetch   *fetch    // the visit under way; nil: none
	visited time.Time // when the last one began

	streams int       // open upstream streams that tell of changes
	watched time.Time // when the last of them ended

	failures int       // in a row
	failed   time.Time // when the first of them was
	retry    time.Time // no visit before this
	barred   bool      // no visit before somebody does something: credentials are missing, or not good
	renewed  uint64    // Catalog.seq, when somebody last did
	err      error     // of the last visit; nil: it succeeded

	use *list.Element // in Catalog.owned; nil for what belongs to everybody
}

// record is what a store has to keep of a list.
type record struct {
	list        *listing // the last good one; nil: never listed
	fingerprint string   // of the definition that it was listed with
	fetched     time.Time
	ttl         time.Duration
	told        bool // the server gave the ttl
	public      bool
	cut         string
}

// state is a list and what is known about its age.
type state struct {
	record
	err       error     // why it could not be fetched the last time, though the server answered
	aged      bool      // it is old before its time: something may have been missed
	restored  bool      // another process fetched it
	changed   uint64    // the invalidation since which it is known to be wrong; 0: it is not
	changedAt time.Time // when that was
	announced time.Time // when the Change of that invalidation was told; zero: it was not
	owed      bool      // somebody was given less than the next visit may bring
}

// need is what a list needs before it can be shown.
type need uint8

const (
	fresh   need = iota
	ahead        // still fresh, but due soon
	aged         // show the last good one, fetch behind
	changed      // wait a moment
	never        // wait longer
)

// due is when the list stops being fresh.
func (e *entry) due(k Kind) time.Time {
	s := &e.lists[k]
	switch {
	case s.told:
		return s.fetched.Add(s.ttl)
	case e.streams > 0:
		return s.fetched.Add(maxKnown)
	case e.watched.After(s.fetched):
		return e.watched.Add(untoldTTL)
	}
	return s.fetched.Add(untoldTTL)
}

// need is what the list of the kind needs now.
func (e *entry) need(k Kind, now time.Time) need {
	s := &e.lists[k]
	due := e.due(k)
	switch {
	case s.list == nil:
		return never
	case s.changed != 0:
		return changed
	case s.aged || !now.Before(due):
		return aged
	case !s.told && !now.Before(due.Add(untoldAhead-untoldTTL)):
		return ahead
	}
	return fresh
}

// lasts is how long the list stays fresh from now, for those who keep a copy, and
// when it has to be looked at again here.
func (e *entry) lasts(k Kind, now time.Time) (ttl time.Duration, look time.Time) {
	s := &e.lists[k]
	due := e.due(k)
	switch n := e.need(k, now); {
	case n >= aged:
		return 0, now
	case s.told:
		return due.Sub(now), due
	case n == ahead:
		return due.Sub(now), now
	}
	return min(due.Sub(now), untoldTTL), due.Add(untoldAhead - untoldTTL)
}

// entryLocked finds the entry that holds, or will hold, the server's list of the
// kind for owner. own: each person reaches it on their own credentials. mu is held.
func (c *Catalog) entryLocked(s *jackfield.Server, own bool, owner jackfield.Scope, k Kind) *entry {
	scope := jackfield.App()
	if own {
		scope = owner
		own := c.entries[key{s.ID, owner}]
		if own == nil || own.lists[k].list == nil {
			// What one person found to be public is everybody's.
			if all := c.entries[key{s.ID, jackfield.App()}]; all != nil && all.lists[k].list != nil {
				c.renewLocked(all, s)
				return all
			}
		}
	}
	e := c.ensureLocked(key{s.ID, scope})
	c.renewLocked(e, s)
	return e
}

// ensureLocked is the entry of the key, made if need be. mu is held.
func (c *Catalog) ensureLocked(k key) *entry {
	e := c.entries[k]
	if e == nil {
		e = &entry{key: k}
		c.entries[k] = e
		if c.of[k.server] == nil {
			c.of[k.server] = map[jackfield.Scope]*entry{}
		}
		c.of[k.server][k.scope] = e
		if k.scope != jackfield.App() {
			e.use = c.owned.PushFront(e)
			if c.owned.Len() > c.o.Limits.Owners {
				c.forgetLocked(c.owned.Back().Value.(*entry))
			}
		}
	} else if e.use != nil {
		c.owned.MoveToFront(e.use)
	}
	return e
}

// renewLocked makes an entry one of the definition's newest version: what it
// lists of an older one may be wrong. mu is held.
func (c *Catalog) renewLocked(e *entry, s *jackfield.Server) {
	if e.version >= s.Version {
		return
	}
	if e.version != 0 {
		c.invalidateLocked(e, AllKinds, false)
	}
	e.version = s.Version
	e.admitLocked(c.seq)
	e.err = nil
}

// admitLocked ends the pause after failures, as of seq. mu is held.
func (e *entry) admitLocked(seq uint64) {
	e.failures, e.retry, e.barred, e.renewed = 0, time.Time{}, false, seq
}

// forgetLocked drops an entry. A visit under way goes on and comes to nothing. mu
// is held.
func (c *Catalog) forgetLocked(e *entry) {
	delete(c.entries, e.key)
	if of := c.of[e.server]; len(of) > 1 {
		delete(of, e.scope)
	} else {
		delete(c.of, e.server)
	}
	if e.use != nil {
		c.owned.Remove(e.use)
	}
	c.keepLocked(e.key)
	c.gen.Add(1)
}

// invalidateLocked marks lists as known to be wrong and returns those that were
// not marked before, or so long ago that somebody may have begun to watch since.
// tell: those who watch are told of these now. mu is held.
func (c *Catalog) invalidateLocked(e *entry, kinds Kinds, tell bool) Kinds {
	c.seq++
	c.gen.Add(1)
	var newly Kinds
	now := time.Now()
	for k := range Kind(numKinds) {
		s := &e.lists[k]
		if !kinds.Has(k) {
			continue
		}
		unmarked := s.changed == 0 || s.list == nil || s.announced.IsZero()
		if unmarked {
			s.changedAt = now
		}
		s.changed = c.seq
		if unmarked || now.Sub(s.announced) >= minVisit {
			newly |= SetOf(k)
			s.owed, s.announced = false, now
		}
		if !tell {
			s.announced = time.Time{}
		}
	}
	return newly
}

// Invalidate takes a notification of the server on a connection of owner: what it
// says has changed is listed anew. It reports whether the method is such a
// notification.
func (c *Catalog) Invalidate(s jackfield.Server, owner jackfield.Scope, method string) bool {
	kinds := changedBy(method)
	if kinds == 0 {
		return false
	}
	var told []Change
	c.mu.Lock()
	for _, e := range c.audiencesLocked(&s, owner) {
		newly := c.invalidateLocked(e, kinds, true)
		told = append(told, Change{Server: s.ID, Scope: e.scope, Kinds: newly})
		if time.Since(e.visited) >= minVisit {
			c.visitLocked(e, s, owner)
		}
	}
	c.mu.Unlock()
	for _, ch := range told {
		c.changes.tell(ch)
	}
	return true
}

// audiencesLocked are the entries that show what owner's connections to the server
// tell of. mu is held.
func (c *Catalog) audiencesLocked(s *jackfield.Server, owner jackfield.Scope) []*entry {
	if !c.own(s) {
		owner = jackfield.App()
	}
	e, all := c.entries[key{s.ID, owner}], c.entries[key{s.ID, jackfield.App()}]
	switch {
	case all == nil || owner == jackfield.App():
		e = c.ensureLocked(key{s.ID, owner})
		c.renewLocked(e, s)
		return []*entry{e}
	case e == nil || e.fetch == nil && !e.listed():
		c.renewLocked(all, s)
		return []*entry{all}
	}
	c.renewLocked(e, s)
	c.renewLocked(all, s)
	return []*entry{e, all}
}

// listed reports whether anything in the entry was ever listed.
func (e *entry) listed() bool {
	for k := range e.lists {
		if e.lists[k].list != nil {
			return true
		}
	}
	return false
}

// Connected says that a new connection to the server was opened on the
// credentials of owner. What servers list that do not say for how long it is good
// is listed anew, and for a server that could not be listed the pause is over. One
// that was never listed waits until somebody asks.
func (c *Catalog) Connected(s jackfield.Server, owner jackfield.Scope) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.audiencesLocked(&s, owner) {
		if e.fetch != nil {
			continue // it may well be the visit's own connection
		}
		e.retry, e.barred = time.Time{}, false
		c.ageLocked(e)
		if e.listed() && time.Since(e.visited) >= minReconnect {
			c.visitLocked(e, s, owner)
		}
	}
}

// ageLocked makes lists old that their servers gave no time for. mu is held.
func (c *Catalog) ageLocked(e *entry) {
	for k := range e.lists {
		if s := &e.lists[k]; s.list != nil && !s.told {
			s.aged = true
		}
	}
	c.gen.Add(1)
}

// Streaming says that from now on, until stop is called, a stream is open on
// which the server tells owner of changes: lists stay fresh until it does.
// Nothing told of what changed before, so lists that were there are fetched once
// more: at once, or when somebody asks if it was only just done.
func (c *Catalog) Streaming(s jackfield.Server, owner jackfield.Scope) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	entries := c.audiencesLocked(&s, owner)
	for _, e := range entries {
		if e.streams++; e.streams > 1 {
			continue
		}
		if time.Since(e.visited) >= minVisit {
			c.ageLocked(e)
		}
		if time.Since(e.visited) >= minReconnect {
			c.visitLocked(e, s, owner)
		}
		c.gen.Add(1)
	}
	stopped := false
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if stopped {
			return
		}
		stopped = true
		for _, e := range entries {
			if e.streams--; e.streams == 0 {
				e.watched = time.Now()
			}
		}
		c.gen.Add(1)
	}
}
