package catalog

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// fetch is one visit to a server.
type fetch struct {
	entry   *entry
	server  jackfield.Server
	owner   jackfield.Scope
	kinds   Kinds
	began   uint64    // Catalog.seq when the server was asked
	started time.Time // when somebody first wanted it
	done    chan struct{}

	fingerprint string // of server
}

// visitLocked begins a visit for everything that is due in e, unless one is under
// way or it is too early for the next. mu is held.
func (c *Catalog) visitLocked(e *entry, s jackfield.Server, owner jackfield.Scope) {
	now := time.Now()
	if c.closed || e.fetch != nil || now.Before(e.retry) || s.Version < e.version || c.barredLocked(e, owner) {
		return
	}
	var kinds Kinds
	urgent := false
	for k := range Kind(numKinds) {
		if n := e.need(k, now); n != fresh {
			kinds |= SetOf(k)
			urgent = urgent || n >= changed
		}
	}
	if kinds == 0 || !urgent && now.Sub(e.visited) < minVisit {
		return
	}
	e.visited = now
	e.fetch = &fetch{entry: e, server: s, owner: owner, kinds: kinds, started: now, done: make(chan struct{})}
	f := e.fetch
	c.running.Go(func() { c.visit(f) })
}

// barredLocked reports whether a visit on the owner's credentials is known to come to
// nothing. mu is held.
func (c *Catalog) barredLocked(e *entry, owner jackfield.Scope) bool {
	if e.scope != owner {
		if own := c.entries[key{e.server, owner}]; own != nil && own.barred {
			return true
		}
	}
	return e.barred
}

// visit asks the server and stores what it says.
func (c *Catalog) visit(f *fetch) {
	began := time.Now()
	got, err := c.ask(f)
	f.fingerprint = c.fingerprint(f.server)
	var lists [numKinds]*listing
	if err == nil {
		for k := range Kind(numKinds) {
			if f.kinds.Has(k) && got.Lists[k].Err == nil {
				var out outcasts
				lists[k] = c.alike.one(k, prepare(k, got.Lists[k].Items, checksHeaders(&f.server, got.Shape), out.add))
				for _, x := range out {
					c.dropped(f.server, k, x.name, x.reason, x.items)
				}
			}
		}
	}
	c.mu.Lock()
	told := c.storeLocked(f, got, lists, err)
	c.mu.Unlock()
	close(f.done)
	if c.o.Hooks.Fetched != nil {
		c.o.Hooks.Fetched(f.server, f.owner, time.Since(began), err)
	}
	for _, ch := range told {
		c.changes.tell(ch)
	}
}

func (c *Catalog) dropped(s jackfield.Server, k Kind, name, reason string, items int) {
	if c.o.Hooks.Dropped != nil {
		c.o.Hooks.Dropped(s, k, name, reason, items)
	}
}

// ask waits for a place among the visits under way and visits the server.
func (c *Catalog) ask(f *fetch) (Fetched, error) {
	select {
	case c.visits <- struct{}{}:
	case <-c.ctx.Done():
		return Fetched{}, context.Cause(c.ctx)
	}
	defer func() { <-c.visits }()
	c.mu.Lock()
	f.began = c.seq
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(c.ctx, c.o.Limits.Fetch)
	defer cancel()
	got, err := c.o.Fetch(ctx, f.server, f.owner, f.kinds)
	if err != nil && ctx.Err() != nil && c.ctx.Err() == nil && !errors.As(err, new(*jackfield.Error)) {
		err = jackfield.Errorf(jackfield.Unavailable, "server %q did not list what it offers within %v", f.server.Name, c.o.Limits.Fetch)
	}
	return got, err
}

// storeLocked keeps what a visit brought and returns who has to be told. mu is
// held.
func (c *Catalog) storeLocked(f *fetch, got Fetched, lists [numKinds]*listing, err error) []Change {
	e := f.entry
	e.fetch = nil
	if c.entries[e.key] != e || e.version != f.server.Version {
		return nil // forgotten, or about a definition that is no longer in force
	}
	if err != nil {
		c.failLocked(f, err)
		return nil
	}
	if got.Shape.Version != "" {
		c.learnLocked(f.server, f.fingerprint, got.Shape)
	}
	told := map[*entry]Kinds{}
	var failed error
	for k := range Kind(numKinds) {
		switch {
		case !f.kinds.Has(k):
		case lists[k] == nil:
			failed = got.Lists[k].Err
			e.lists[k].err = failed
		default:
			home := c.homeLocked(f, k, got.Lists[k].Public)
			if home.storeLocked(c, k, lists[k], &got.Lists[k], f) {
				told[home] |= SetOf(k)
			}
		}
	}
	if failed != nil {
		c.failLocked(f, failed)
	} else {
		e.failures, e.retry, e.failed, e.err = 0, time.Time{}, time.Time{}, nil
	}
	changes := make([]Change, 0, len(told))
	for e, kinds := range told {
		changes = append(changes, Change{Server: e.server, Scope: e.scope, Kinds: kinds})
	}
	return changes
}

// homeLocked is the entry that a list belongs to, now that its audience is known.
// It takes the list away from where it stood if its audience changed. mu is held.
func (c *Catalog) homeLocked(f *fetch, k Kind, public bool) *entry {
	if !c.own(&f.server) {
		return f.entry
	}
	own, all := key{f.server.ID, f.owner}, key{f.server.ID, jackfield.App()}
	home, other := own, all
	if public {
		home, other = all, own
	}
	e := c.ensureLocked(home)
	e.version = f.server.Version
	if from := c.entries[other]; from != nil && other != home && (public || from.lists[k].list != nil) {
		s, was := &e.lists[k], &from.lists[k]
		s.owed = s.owed || was.owed
		if was.changed > s.changed {
			s.changed, s.changedAt, s.announced = was.changed, was.changedAt, was.announced
		}
		*was = state{}
		c.keepLocked(other)
		c.gen.Add(1)
	}
	return e
}

// storeLocked replaces the list of a kind and reports whether those who watch must
// be told. mu is held.
func (e *entry) storeLocked(c *Catalog, k Kind, list *listing, from *List, f *fetch) (tell bool) {
	s := &e.lists[k]
	first := s.list == nil
	differs := first || s.list.sum != list.sum
	if !differs {
		list = s.list // keeps tables valid that were built from it
	}
	if differs || s.public != from.Public || s.changed != 0 || s.aged {
		c.gen.Add(1)
	}
	tell = differs && (s.owed || !first && s.announced.IsZero())
	next := state{record: record{
		list: list, fingerprint: f.fingerprint,
		fetched: time.Now(), ttl: max(0, from.TTL), told: from.Told, public: from.Public, cut: from.Cut,
	}}
	if s.changed > f.began { // it changed once more after the server was asked
		next.changed, next.changedAt, next.announced = s.changed, s.changedAt, s.announced
	}
	*s = next
	c.keepLocked(e.key)
	return tell
}

// failLocked counts a visit that failed and puts the next one off: until somebody
// does something about the credentials, if that is what it failed for. mu is held.
func (c *Catalog) failLocked(f *fetch, err error) {
	e := f.entry
	if jackfield.CodeOf(err) == jackfield.AuthRequired {
		if e.scope != f.owner && c.own(&f.server) {
			e = c.ensureLocked(key{e.server, f.owner}) // nobody else lacks anything
		}
		e.barred = f.began >= e.renewed
	}
	now := time.Now()
	if e.failures == 0 {
		e.failed = now
	}
	pause := min(lastRetry, firstRetry<<min(e.failures, 10))
	e.failures++
	e.err = err
	// Full jitter, but never so soon that a row of failures costs a visit each.
	e.retry = now.Add(pause/2 + rand.N(pause/2)) //nolint:gosec // no secret depends on it
	if e.barred {
		e.retry = time.Time{} // no time ends it
	}
}

// settle waits until the lists of the kind are as good as the rules of freshness
// want them, for the servers that could answer; could is called with mu held.
// patience is how long it waits for those that were never listed.
func (c *Catalog) settle(ctx context.Context, v *View, owner jackfield.Scope, k Kind, patience time.Duration, could func(*jackfield.Server) bool) error {
	asked := time.Now()
	for {
		wait, until := c.pending(v, owner, k, asked, patience, could)
		if wait == nil {
			return nil
		}
		timer := time.NewTimer(time.Until(until))
		select {
		case <-wait.done:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		timer.Stop()
	}
}

// pending begins the visits that are due and finds one to wait for; nil: there is
// none left.
func (c *Catalog) pending(v *View, owner jackfield.Scope, k Kind, asked time.Time, patience time.Duration, could func(*jackfield.Server) bool) (wait *fetch, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for i := range v.servers {
		s := &v.servers[i]
		if could != nil && !could(s) {
			continue
		}
		e := c.entryLocked(s, v.owns[i], owner, k)
		n := e.need(k, now)
		if n == fresh {
			continue
		}
		c.visitLocked(e, *s, owner)
		if e.fetch == nil || n < changed || wait != nil {
			continue
		}
		most, since := patience, e.fetch.started
		if n == changed {
			most = min(patience, waitChanged)
			if at := e.lists[k].changedAt; at.After(since) {
				since = at
			}
		}
		// One visit that hangs makes one caller wait, not each that comes after.
		limit := asked
		if since.Before(asked) {
			limit = since
		}
		if limit = limit.Add(most); now.Before(limit) {
			wait, until = e.fetch, limit
		}
	}
	return wait, until
}

// Warm lists the servers that this process has never listed, three at a time, and
// returns when each was tried or ctx ends. Servers that are invalid, on demand, one
// person's alone, or reached on each person's own credentials are left alone.
func (c *Catalog) Warm(ctx context.Context, servers []jackfield.Server) {
	next := make(chan jackfield.Server)
	var workers sync.WaitGroup
	for range min(window, len(servers)) {
		workers.Go(func() {
			for s := range next {
				c.warm(ctx, s)
			}
		})
	}
	for _, s := range servers {
		if s.Invalid != "" || s.Usage.OnDemand || s.Scope.Kind == jackfield.ScopeUser || c.own(&s) {
			continue
		}
		select {
		case next <- s:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	workers.Wait()
}

// warm begins a visit to a server that was not listed yet and waits for it, for a
// while.
func (c *Catalog) warm(ctx context.Context, s jackfield.Server) {
	c.mu.Lock()
	e := c.entryLocked(&s, false, jackfield.App(), Tools)
	if now := time.Now(); e.need(Tools, now) >= changed || e.lists[Tools].restored {
		c.visitLocked(e, s, jackfield.App())
	}
	f := e.fetch
	c.mu.Unlock()
	if f == nil {
		return
	}
	timer := time.NewTimer(slowVisit)
	defer timer.Stop()
	select {
	case <-f.done:
	case <-timer.C:
	case <-ctx.Done():
	}
}
