package catalog

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// Store is where what must outlive the process is kept. Nothing waits for it: a
// store that is slow or fails is tried again, and what is served comes from memory.
type Store interface {
	// Save keeps all that is given, or nothing of it.
	Save(ctx context.Context, k Kept) error
}

// Kept is what outlives the process.
type Kept struct {
	Listings []KeptListing
	Shapes   []KeptShape
}

// KeptListing is what a server lists for one audience. It takes the place of what
// was kept of both before; without lists, nothing is kept of them any more.
type KeptListing struct {
	Server jackfield.ServerID
	Scope  jackfield.Scope // the app's: everybody's
	Lists  []KeptList      // at most one for each kind
}

// KeptList is one list of it, as it was last good.
type KeptList struct {
	Kind        Kind
	Fingerprint string // of the definition that it was listed with
	Items       []wire.Raw
	Fetched     time.Time
	TTL         time.Duration
	Told        bool
	Public      bool
	Cut         string
}

// KeptShape is what is known of a server. It takes the place of what was kept
// before; without a revision in it, nothing is kept any more.
type KeptShape struct {
	Server      jackfield.ServerID
	Fingerprint string // of the definition that it was learned with
	Shape       exchange.Shape
}

const (
	saveWithin = 30 * time.Second // one Save
	firstSave  = time.Second      // after a Save that failed; doubles
	lastSave   = time.Minute      // and no more than this
)

// unsaved is what the store does not have yet. The catalog's mu protects it.
type unsaved struct {
	listings map[key]struct{}
	shapes   map[jackfield.ServerID]struct{}
	saving   bool // a goroutine sees to it
}

// keepLocked sees to it that the entry of k, or that it is gone, will be kept. mu
// is held.
func (c *Catalog) keepLocked(k key) {
	// Keys of what is gone add up while the store fails. What is left out then is
	// only old, and left alone with the next start.
	if c.o.Store == nil || len(c.unsaved.listings) > 2*c.o.Limits.Owners {
		return
	}
	c.unsaved.listings[k] = struct{}{}
	c.saveLocked()
}

// keepShapeLocked is keepLocked for a shape. mu is held.
func (c *Catalog) keepShapeLocked(id jackfield.ServerID) {
	if c.o.Store == nil || len(c.unsaved.shapes) > 2*c.o.Limits.Owners {
		return
	}
	c.unsaved.shapes[id] = struct{}{}
	c.saveLocked()
}

// saveLocked begins to save, unless that is under way. mu is held.
func (c *Catalog) saveLocked() {
	if c.unsaved.saving || c.closed {
		return // Close saves what is left
	}
	c.unsaved.saving = true
	c.running.Go(c.save)
}

// save saves until there is nothing left. What changes meanwhile, however often,
// is saved once.
func (c *Catalog) save() {
	for pause := firstSave; ; pause = min(2*pause, lastSave) {
		if err := c.saveAll(c.ctx); err == nil {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			timer.Stop()
			return // saving stays set: Close does the rest
		}
	}
}

// saveAll saves until there is nothing left, or the first failure.
func (c *Catalog) saveAll(ctx context.Context) error {
	for {
		c.mu.Lock()
		taken := c.unsaved
		if len(taken.listings)+len(taken.shapes) == 0 {
			c.unsaved.saving = false
			c.mu.Unlock()
			return nil
		}
		kept := c.unsavedLocked()
		c.mu.Unlock()
		began := time.Now()
		within, cancel := context.WithTimeout(ctx, saveWithin)
		err := c.o.Store.Save(within, kept)
		cancel()
		if err != nil {
			c.mu.Lock()
			maps.Copy(c.unsaved.listings, taken.listings)
			maps.Copy(c.unsaved.shapes, taken.shapes)
			c.mu.Unlock()
		}
		if c.o.Hooks.Saved != nil {
			c.o.Hooks.Saved(time.Since(began), err)
		}
		if err != nil {
			return err
		}
	}
}

// unsavedLocked takes all that is not saved yet, together: what moved from one
// audience to another is not lost between two Saves. mu is held.
func (c *Catalog) unsavedLocked() Kept {
	var kept Kept
	for k := range c.unsaved.listings {
		kept.Listings = append(kept.Listings, c.keptLocked(k))
	}
	for id := range c.unsaved.shapes {
		r := c.shapes[id]
		kept.Shapes = append(kept.Shapes, KeptShape{Server: id, Fingerprint: r.fingerprint, Shape: r.shape})
	}
	c.unsaved.listings, c.unsaved.shapes = map[key]struct{}{}, map[jackfield.ServerID]struct{}{}
	return kept
}

// keptLocked is what is to be kept of an entry. mu is held.
func (c *Catalog) keptLocked(k key) KeptListing {
	l := KeptListing{Server: k.server, Scope: k.scope}
	e := c.entries[k]
	if e == nil {
		return l
	}
	for kind := range Kind(numKinds) {
		r := &e.lists[kind].record
		if r.list == nil {
			continue
		}
		items := make([]wire.Raw, len(r.list.items))
		for i := range r.list.items {
			items[i] = r.list.items[i].raw
		}
		l.Lists = append(l.Lists, KeptList{
			Kind: kind, Fingerprint: r.fingerprint, Items: items,
			Fetched: r.fetched, TTL: r.ttl, Told: r.told, Public: r.public, Cut: r.cut,
		})
	}
	return l
}

// Restore takes in what was kept by another process, before anybody asks. What is
// of another definition than the one that is now in force, or of a server that is
// no more, is not taken in and no longer kept. Lists count as aged: they are
// answered at once, with their age, and fetched behind. The items must not change
// any more.
func (c *Catalog) Restore(servers []jackfield.Server, k Kept) {
	type present struct {
		jackfield.Server
		fingerprint string
	}
	known := make(map[jackfield.ServerID]present, len(servers))
	for _, s := range servers {
		known[s.ID] = present{s, c.fingerprint(s)}
	}
	shapes := map[jackfield.ServerID]exchange.Shape{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range k.Shapes {
		s, ok := known[r.Server]
		switch {
		case ok && s.Invalid != "": // it may be mended, and then be the same again
		case !ok || r.Fingerprint != s.fingerprint || r.Shape.Version == "":
			c.keepShapeLocked(r.Server)
		case c.shapes[s.ID].shape.Version == "":
			c.shapes[s.ID] = shapeRecord{version: s.Version, fingerprint: s.fingerprint, shape: r.Shape}
			shapes[s.ID] = r.Shape
		}
	}
	// The order decides whose listings go when there are too many.
	slices.SortStableFunc(k.Listings, func(a, b KeptListing) int { return cmp.Compare(a.newest(), b.newest()) })
	for _, l := range k.Listings {
		s, ok := known[l.Server]
		if ok && s.Invalid != "" {
			continue
		}
		if at := (key{l.Server, l.Scope}); !ok || !c.restoreLocked(at, &s.Server, s.fingerprint, shapes[s.ID], l.Lists) {
			c.keepLocked(at)
		}
	}
	c.gen.Add(1)
}

// newest is when the newest of the lists was fetched.
func (l *KeptListing) newest() int64 {
	at := int64(0)
	for i := range l.Lists {
		at = max(at, l.Lists[i].Fetched.UnixNano())
	}
	return at
}

// restoreLocked takes in the lists of one entry and reports whether what is kept
// of it is right. mu is held.
func (c *Catalog) restoreLocked(k key, s *jackfield.Server, fingerprint string, shape exchange.Shape, lists []KeptList) (right bool) {
	if k.scope != jackfield.App() && !c.own(s) {
		return false
	}
	right = true
	now := time.Now()
	for i := range lists {
		l := &lists[i]
		if l.Fingerprint != fingerprint || l.Kind >= numKinds || k.scope == jackfield.App() && !l.Public && c.own(s) {
			right = false
			continue
		}
		e := c.ensureLocked(k)
		c.renewLocked(e, s)
		if e.lists[l.Kind].list != nil {
			continue // what was fetched meanwhile is newer
		}
		fetched := l.Fetched
		if fetched.After(now) {
			fetched = now // another clock
		}
		e.lists[l.Kind] = state{aged: true, restored: true, record: record{
			list:        c.alike.one(l.Kind, prepare(l.Kind, l.Items, checksHeaders(s, shape), func(string, string) { right = false })),
			fingerprint: l.Fingerprint,
			fetched:     fetched, ttl: l.TTL, told: l.Told, public: l.Public, cut: l.Cut,
		}}
	}
	return right
}

// fingerprint is what the store knows the definition by.
func (c *Catalog) fingerprint(s jackfield.Server) string {
	if c.o.Fingerprint == nil {
		return ""
	}
	return c.o.Fingerprint(s)
}

// checksHeaders reports whether tools with bad header annotations are left out: by
// a client that speaks HTTP in the revision that has them.
func checksHeaders(s *jackfield.Server, shape exchange.Shape) bool {
	return s.Endpoint.Transport != jackfield.TransportStdio && shape.Modern()
}

// sameShape reports whether two shapes say the same.
func sameShape(a, b exchange.Shape) bool {
	return a.Transport == b.Transport && a.Version == b.Version && a.Session == b.Session && a.Instructions == b.Instructions &&
		bytes.Equal(a.Capabilities, b.Capabilities) && bytes.Equal(a.ServerInfo, b.ServerInfo)
}
