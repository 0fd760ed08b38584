package catalog

import (
	"container/list"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// Fetched is what one visit to a server brought.
type Fetched struct {
	Shape exchange.Shape
	// Lists has an entry for each kind that was asked for; the others are ignored.
	// A kind that the server does not have is an empty List.
	Lists [numKinds]List
}

// List is all pages of one list, as the server wrote the items.
type List struct {
	Items []wire.Raw // must not change any more
	// TTL is for how long the server said that the list stays fresh. It counts
	// only when Told is set, and less than zero counts as zero.
	TTL    time.Duration
	Told   bool   // the server gave a TTL (2026-07-28); else the gateway's policy decides
	Public bool   // cacheScope "public": the same for everybody
	Cut    string // why the list is not complete; empty when it is
	Err    error  // this list could not be fetched, though the server answered
}

// Options make a Catalog. The zero value of everything but Fetch works.
type Options struct {
	// Fetch asks a server for the lists of the kinds given, on the credentials of
	// owner, over a connection of its own. It is called on a goroutine of the
	// catalog, with a context that belongs to the catalog.
	Fetch func(ctx context.Context, s jackfield.Server, owner jackfield.Scope, kinds Kinds) (Fetched, error)
	// OwnCredentials reports whether each person reaches the server with
	// credentials of their own, so that what is not public must be kept for each of
	// them. Nil: the definition says so.
	OwnCredentials func(jackfield.Server) bool
	// Store keeps listings and shapes for the next process, which takes them in with
	// Restore. Nil: they end with this one.
	Store Store
	// Fingerprint is different for definitions that reach different servers, or the
	// same one on other credentials; it is the same in every process. Required with
	// Store.
	Fingerprint func(jackfield.Server) string
	Limits      Limits
	Hooks       Hooks
}

// Limits bound how long and how much. Zero means the default.
type Limits struct {
	Fetch  time.Duration // one visit to a server; 60 s
	Visits int           // visits under way at once; 64
	Owners int           // listings kept that belong to one owner; 10,000
	Items  int           // items on one page of a view; 1,000
	Bytes  int           // bytes of items on one page of a view; 1 MiB
	Tables int           // bytes, about, of the tables and pages of all views that are kept; 256 MiB
}

// Hooks tell what happens. They are called without a lock held and must not
// block.
type Hooks struct {
	// Fetched is called when a visit to a server ended; err is nil when it succeeded.
	Fetched func(s jackfield.Server, owner jackfield.Scope, took time.Duration, err error)
	// Dropped is called for each reason for which items of a list are not offered,
	// with the name of the first and how many there are.
	Dropped func(s jackfield.Server, kind Kind, name, reason string, items int)
	// Saved is called when the store was written to, or could not be. What could not
	// be saved is tried again.
	Saved func(took time.Duration, err error)
}

// Change says that what a server offers changed.
type Change struct {
	Server jackfield.ServerID
	Scope  jackfield.Scope // whose listing; the app's scope: everybody's
	Kinds  Kinds
}

// Catalog remembers what servers are like and what they offer. All methods may
// be called concurrently.
type Catalog struct {
	o       Options
	ctx     context.Context //nolint:containedctx // the visits belong to the catalog and end with it
	stop    context.CancelFunc
	visits  chan struct{}  // a place for each visit under way
	running sync.WaitGroup // goroutines of visits
	changes watchers
	alike   *alike // apart from the catalog, so that what cleans up keeps nothing of it
	shelf   *shelf // likewise

	// gen grows with everything that a table or its freshness could depend on,
	// except time.
	gen atomic.Uint64

	mu      sync.RWMutex // protects what follows, entries and their states included
	closed  bool
	seq     uint64 // counts invalidations
	entries map[key]*entry
	of      map[jackfield.ServerID]map[jackfield.Scope]*entry // the same by server
	owned   *list.List                                        // the entries that belong to one owner, the last used first
	shapes  map[jackfield.ServerID]shapeRecord
	unsaved unsaved
}

type shapeRecord struct {
	version     uint64 // of the definition
	fingerprint string // of the definition, in the store
	shape       exchange.Shape
}

// New makes a Catalog. Close must be called in the end.
func New(o Options) *Catalog {
	set := func(field *int, value int) {
		if *field <= 0 {
			*field = value
		}
	}
	set(&o.Limits.Visits, 64)
	set(&o.Limits.Owners, 10_000)
	set(&o.Limits.Items, 1000)
	set(&o.Limits.Bytes, 1<<20)
	set(&o.Limits.Tables, 256<<20)
	if o.Limits.Fetch <= 0 {
		o.Limits.Fetch = time.Minute
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Catalog{
		o: o, ctx: ctx, stop: stop,
		visits:  make(chan struct{}, o.Limits.Visits),
		entries: map[key]*entry{},
		of:      map[jackfield.ServerID]map[jackfield.Scope]*entry{},
		alike:   &alike{of: map[likeness][]weak.Pointer[listing]{}},
		shelf:   &shelf{most: o.Limits.Tables},
		owned:   list.New(),
		shapes:  map[jackfield.ServerID]shapeRecord{},
		unsaved: unsaved{listings: map[key]struct{}{}, shapes: map[jackfield.ServerID]struct{}{}},
	}
}

// Close ends what is under way, waits for it and saves what is not saved yet,
// until ctx ends at the latest.
func (c *Catalog) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	done := make(chan struct{})
	go func() {
		c.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return c.saveAll(ctx)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Shape is what is known of the server, at its present version.
func (c *Catalog) Shape(s jackfield.Server) (exchange.Shape, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, ok := c.shapes[s.ID]
	if !ok || r.version != s.Version {
		return exchange.Shape{}, false
	}
	return r.shape, true
}

// Learn remembers what a connection found out about the server.
func (c *Catalog) Learn(s jackfield.Server, shape exchange.Shape) {
	fingerprint := c.fingerprint(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.learnLocked(s, fingerprint, shape)
}

func (c *Catalog) learnLocked(s jackfield.Server, fingerprint string, shape exchange.Shape) {
	r, ok := c.shapes[s.ID]
	if ok && r.version > s.Version {
		return
	}
	c.shapes[s.ID] = shapeRecord{version: s.Version, fingerprint: fingerprint, shape: shape}
	if !ok || r.fingerprint != fingerprint || !sameShape(r.shape, shape) {
		c.keepShapeLocked(s.ID)
	}
}

// Keep forgets every server that is not among those given.
func (c *Catalog) Keep(servers []jackfield.Server) {
	keep := make(map[jackfield.ServerID]bool, len(servers))
	for i := range servers {
		keep[servers[i].ID] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.shapes {
		if !keep[id] {
			delete(c.shapes, id)
			c.keepShapeLocked(id)
		}
	}
	for k, e := range c.entries {
		if !keep[k.server] {
			c.forgetLocked(e)
		}
	}
}

// Retry ends the pause after failures: the server is visited when somebody asks.
func (c *Catalog) Retry(id jackfield.ServerID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	for _, e := range c.of[id] {
		e.admitLocked(c.seq)
	}
	c.gen.Add(1)
}

// Renewed says that owner reaches the server on other credentials than before; the
// app's scope: everybody does. What was listed on the old ones is listed anew when
// somebody asks, and so is what could not be listed for want of them.
func (c *Catalog) Renewed(id jackfield.ServerID, owner jackfield.Scope) {
	var told []Change
	c.mu.Lock()
	for scope, e := range c.of[id] {
		if scope == owner || owner == jackfield.App() {
			told = append(told, c.renewedLocked(id, scope, e))
		}
	}
	c.mu.Unlock()
	for _, ch := range told {
		c.changes.tell(ch)
	}
}

// RenewedAll is Renewed for all servers that these owners reach. There may be many.
func (c *Catalog) RenewedAll(owners map[jackfield.Scope]bool) {
	var told []Change
	c.mu.Lock()
	for k, e := range c.entries {
		if owners[k.scope] {
			told = append(told, c.renewedLocked(k.server, k.scope, e))
		}
	}
	c.mu.Unlock()
	for _, ch := range told {
		c.changes.tell(ch)
	}
}

// renewedLocked is Renewed for one entry. mu is held.
func (c *Catalog) renewedLocked(id jackfield.ServerID, owner jackfield.Scope, e *entry) Change {
	newly := c.invalidateLocked(e, AllKinds, true)
	e.admitLocked(c.seq)
	return Change{Server: id, Scope: owner, Kinds: newly}
}

// own reports whether each person reaches the server on their own credentials.
func (c *Catalog) own(s *jackfield.Server) bool {
	if c.o.OwnCredentials != nil {
		return c.o.OwnCredentials(*s)
	}
	return s.OwnCredentials()
}

// ParamHeaders says which arguments of a tool travel in headers as well. The tool
// goes by the server's own name.
func (c *Catalog) ParamHeaders(s jackfield.ServerID, owner jackfield.Scope, tool string) []ParamHeader {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, scope := range []jackfield.Scope{owner, jackfield.App()} {
		if e := c.entries[key{s, scope}]; e != nil && e.lists[Tools].list != nil {
			return e.lists[Tools].list.headers[tool]
		}
	}
	return nil
}

// Watch calls f for each Change from now on, until stop is called. f must not
// block.
func (c *Catalog) Watch(f func(Change)) (stop func()) { return c.changes.add(f) }

// watchers are the funcs that are told of changes.
type watchers struct {
	mu   sync.Mutex
	next int
	all  map[int]func(Change)
}

func (w *watchers) add(f func(Change)) (remove func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[int]func(Change){}
	}
	w.next++
	n := w.next
	w.all[n] = f
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all, n)
	}
}

func (w *watchers) tell(ch Change) {
	if ch.Kinds == 0 {
		return
	}
	w.mu.Lock()
	all := slices.Collect(maps.Values(w.all))
	w.mu.Unlock()
	for _, f := range all {
		f(ch)
	}
}
