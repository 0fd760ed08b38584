package broker

import (
	"context"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
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

// Filter says which events are wanted.
type Filter struct {
	Tools, Prompts, Resources bool     // changes of these lists
	URIs                      []string // updates of these resources, under the caller's URIs
	Other                     bool     // everything else that belongs to no exchange: log lines, a vendor's
}

// About is what a client is told before it asks for anything.
type About struct {
	Capabilities wire.Raw // an object
	ServerInfo   wire.Raw // the one server's own; nil: the gateway speaks for itself
	Instructions string
	TTL          time.Duration // how long this may be remembered
	Public       bool          // it is the same for everybody
}

// Want is the connection that a call asks for.
type Want struct {
	Server  jackfield.Server
	Owner   jackfield.Scope // the caller's own scope
	Session string          // the caller's downstream session; empty: it has none
	Caps    string          // the client capabilities that the caller declared
}

// Conn is a connection to one server, as the broker uses it.
type Conn interface {
	pool.Conn
	// Do sends a request and returns the server's answer. It fails with an error
	// when the server could not be asked or did not answer.
	Do(ctx context.Context, r *exchange.Request, p exchange.Peer) (exchange.Result, error)
	// Notify passes a client's notification on.
	Notify(ctx context.Context, method string, params wire.Raw) error
	// Shape is what is known of the server.
	Shape() exchange.Shape
}

// Connections are where leases come from; *connections.Board[Conn] is one.
type Connections interface {
	Acquire(ctx context.Context, w Want) (pool.Lease[Conn], error)
}

// Options make a Broker. Servers, Connections and Catalog must be set.
type Options struct {
	// Servers is the registry's snapshot, in the order in which servers are listed.
	// The slice must not change any more; a new snapshot is a new slice.
	Servers     func() []jackfield.Server
	Connections Connections
	Catalog     *catalog.Catalog
	// Access says whether a principal may see and use a server; nil: everybody all.
	Access func(jackfield.Principal, jackfield.Server) jackfield.Access
}

// Broker does for callers what they may do. All methods may be called
// concurrently.
type Broker struct {
	o Options
}

// New makes a Broker.
func New(o Options) *Broker { return &Broker{o: o} }

// Do answers one request. Lists come from the catalog; everything else goes to
// the one server that it is for. r is as it was when Do returns. Errors are
// *jackfield.Error; the server's own error is Result.Err.
func (b *Broker) Do(ctx context.Context, c Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
	return exchange.Result{}, jackfield.Errorf(jackfield.Internal, "%s cannot be answered", r.Method)
}

// About tells what initialize and server/discover tell.
func (b *Broker) About(ctx context.Context, c Caller) (About, error) {
	return About{Capabilities: wire.Raw("{}")}, nil
}

// Listen delivers events to the caller until ctx ends. ready is called once,
// before the first event, with what will be delivered of what f asks for.
// deliver is called from many goroutines, one at a time, and must not block.
func (b *Broker) Listen(ctx context.Context, c Caller, f Filter, ready func(Filter), deliver func(exchange.Event)) error {
	ready(f)
	<-ctx.Done()
	return nil
}

// Notify passes a client's notification on to the servers that it concerns.
func (b *Broker) Notify(ctx context.Context, c Caller, method string, params wire.Raw) {}

// EndSession says that a downstream session is over: its connections are drained.
func (b *Broker) EndSession(id string) {}

// Home is the peer of a downstream session, for a connection that serves it
// alone; nil when the session is not known.
func (b *Broker) Home(session string) exchange.Peer { return nil }

// Event takes what a server said outside of any exchange on the connection of
// key, and gives it to those who listen.
func (b *Broker) Event(key pool.Key, ev exchange.Event) {}
