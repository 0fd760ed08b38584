package broker

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/connections"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
	"github.com/jackfield-dev/jackfield/wire"
)

// Caller is who asks, and through which door.
type Caller struct {
	Principal jackfield.Principal
	// Only is the name of the one server that is asked, whose names and URIs are
	// then its own; empty: all servers, under final names.
	Only string
	// Session is the internal id of a downstream session; empty for clients that
	// have none.
	Session string
	Caps    exchange.Capabilities
	// Home takes what a server asks outside of any exchange, for a client with a
	// session; nil: nobody does.
	Home exchange.Peer
}

// Conn is a connection to one server, as the broker uses it.
type Conn interface {
	pool.Conn
	// Do sends a request and returns the server's answer. It fails with an error
	// when the server could not be asked or did not answer; one with a method
	// NotSent that says true proves that it never was.
	Do(ctx context.Context, r *exchange.Request, p exchange.Peer) (exchange.Result, error)
	// Notify passes a client's notification on.
	Notify(ctx context.Context, method string, params wire.Raw) error
	// Listen keeps open what the server tells of in outside of any exchange, until
	// ctx ends or it is lost. An error in whose chain exchange.ErrNoStream is says
	// that there is no such thing.
	Listen(ctx context.Context, in exchange.Interest) error
	// Shape is what is known of the server.
	Shape() exchange.Shape
}

// Connections are where leases come from; *connections.Board[Conn] is one.
type Connections interface {
	// Acquire gives a lease on the connection that a caller may use.
	Acquire(ctx context.Context, w connections.Want) (pool.Lease[Conn], error)
	// Loaded gives a lease on each connection that is open for a caller now.
	Loaded(owner jackfield.Scope, session string) iter.Seq[pool.Lease[Conn]]
	// Drain takes connections out of use.
	Drain(match func(pool.Key) bool)
}

// Options make a Broker. Sees, Lookup, Connections and Catalog must be set.
type Options struct {
	// Sees lists the servers that a principal sees and may use, as they take effect
	// for it, in the order in which they are listed. It decides for lists and calls
	// alike. The slice must not change any more; the same slice for two principals
	// says that they see the same. It is asked once for each request, and must be
	// fast.
	Sees func(jackfield.Principal) []jackfield.Server
	// Public reports whether the servers that Sees listed are what everybody sees who
	// can ask at all, for as long as Sees lists them. Only then lists of them are
	// declared to be the same for everybody (cacheScope "public"), where their servers
	// say so too. It is asked when a slice is new. Nil: they never are.
	Public func(seen []jackfield.Server) bool
	// Lookup finds the definition of a server, whoever sees it.
	Lookup func(jackfield.ServerID) (jackfield.Server, bool)
	// Admit is asked once for each request that goes to a server, before there is a
	// connection; its error is the answer. It is not asked for lists. Nil: all may.
	Admit       func(jackfield.Principal, *jackfield.Server) error
	Connections Connections
	Catalog     *catalog.Catalog
	Limits      Limits
	Trace       *Trace // nil: nobody watches
}

// Limits bound how long and how much. Zero means the default.
type Limits struct {
	Call       time.Duration // a call without an answer or progress, where the definition does not say; 60 s
	Total      time.Duration // a call, whatever its progress; 10 min
	Calls      int           // under way at a time; 16,384
	OwnerCalls int           // of one principal; 1,024
	Result     int           // bytes of one result that is not a list; none but what a connection takes
	Links      int           // resource links remembered of one principal; 256
	Linked     int           // principals whose resource links are remembered; 1,024
	Listeners  int           // clients that listen for changes, and sessions with subscriptions; 100,000
}

// Broker does for callers what they may do. All methods may be called
// concurrently.
type Broker struct {
	o        Options
	links    links
	sessions sync.Map // of *session, by id
	clocks   clocks
	flights  flights
	losses   losses
	unwatch  func()

	classes   *classes
	changing  sync.Mutex    // held while listeners learn what they see now
	changes   atomic.Uint64 // calls of Changed
	listening atomic.Int64  // listeners in the hub
	hub       hub
}

// New makes a Broker. It panics when one of the required options is missing.
func New(o Options) *Broker {
	if o.Sees == nil || o.Lookup == nil || o.Connections == nil || o.Catalog == nil {
		panic("broker: Options.Sees, Lookup, Connections or Catalog is missing")
	}
	o.Limits = o.Limits.withDefaults()
	b := &Broker{
		o:       o,
		classes: newClasses(),
		flights: flights{of: map[string]int{}},
		links:   links{perPrincipal: o.Limits.Links, principals: o.Limits.Linked},
		hub: hub{
			listeners: map[*listener]struct{}{},
			bySession: map[string]map[*listener]struct{}{},
			byOwner:   map[jackfield.Scope]map[*listener]struct{}{},
			lines:     map[pool.Key]*line{},
			byServer:  map[jackfield.ServerID]map[*line]struct{}{},
		},
	}
	b.unwatch = o.Catalog.Watch(b.changed)
	return b
}

// Close ends every stream that is open for listeners and waits for that, until ctx
// ends at the latest. Calls go on.
func (b *Broker) Close(ctx context.Context) error {
	b.unwatch()
	b.hub.mu.Lock()
	b.hub.closed = true
	for _, ln := range b.hub.lines {
		b.endLocked(ln)
	}
	b.hub.mu.Unlock()
	done := make(chan struct{})
	go func() {
		b.hub.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l Limits) withDefaults() Limits {
	if l.Call <= 0 {
		l.Call = time.Minute
	}
	if l.Total <= 0 {
		l.Total = 10 * time.Minute
	}
	set := func(field *int, value int) {
		if *field <= 0 {
			*field = value
		}
	}
	set(&l.Calls, 16_384)
	set(&l.OwnerCalls, 1024)
	set(&l.Links, 256)
	set(&l.Linked, 1024)
	set(&l.Listeners, 100_000)
	return l
}
