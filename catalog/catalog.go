package catalog

import (
	"context"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// Kind is one of the four kinds of thing that a server lists.
type Kind uint8

// The kinds.
const (
	Tools Kind = iota
	Prompts
	Resources
	Templates

	numKinds = 4
)

// Kinds is a set of kinds, a bit for each.
type Kinds uint8

// AllKinds is every kind.
const AllKinds Kinds = 1<<numKinds - 1

// SetOf is the set of the kinds given.
func SetOf(kinds ...Kind) Kinds {
	var s Kinds
	for _, k := range kinds {
		s |= 1 << k
	}
	return s
}

// Has reports whether k is in the set.
func (s Kinds) Has(k Kind) bool { return s&(1<<k) != 0 }

// String is the kind as the API and the CLI write it.
func (k Kind) String() string { return kindNames[k] }

// Method is the request that lists things of this kind.
func (k Kind) Method() string { return kindMethods[k] }

var (
	kindNames   = [numKinds]string{"tools", "prompts", "resources", "templates"}
	kindMethods = [numKinds]string{"tools/list", "prompts/list", "resources/list", "resources/templates/list"}
	kindMembers = [numKinds]string{"tools", "prompts", "resources", "resourceTemplates"}
)

// KindOf finds the kind that a request method lists.
func KindOf(method string) (Kind, bool) {
	for k, m := range kindMethods {
		if m == method {
			return Kind(k), true
		}
	}
	return 0, false
}

// Fetched is what one visit to a server brought.
type Fetched struct {
	Shape exchange.Shape
	// Lists has an entry for each kind that was asked for; the others are ignored.
	// A kind that the server does not have is an empty List.
	Lists [numKinds]List
}

// List is all pages of one list, as the server wrote the items.
type List struct {
	Items []wire.Raw
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
	// them. Nil: Usage.RequiresOAuth says so.
	OwnCredentials func(jackfield.Server) bool
	Limits         Limits
	Hooks          Hooks
}

// Hooks tell what happens. They are called without a lock held and must not
// block.
type Hooks struct {
	// Fetched is called when a visit to a server ended; err is nil when it succeeded.
	Fetched func(s jackfield.Server, owner jackfield.Scope, took time.Duration, err error)
	// Dropped is called for each item of a list that is not offered, with the reason.
	Dropped func(s jackfield.Server, kind Kind, name, reason string)
}

// Change says that what a server offers changed.
type Change struct {
	Server jackfield.ServerID
	Scope  jackfield.Scope // whose listing; the app's scope: everybody's
	Kinds  Kinds
}

// Catalog remembers what servers are like and what they offer. All methods may
// be called concurrently.
type Catalog struct{ o Options }

// New makes a Catalog. Close must be called in the end.
func New(o Options) *Catalog { return &Catalog{o: o} }

// Shape is what is known of the server, at its present version.
func (c *Catalog) Shape(s jackfield.Server) (exchange.Shape, bool) { return exchange.Shape{}, false }

// Learn remembers what a connection found out about the server.
func (c *Catalog) Learn(s jackfield.Server, shape exchange.Shape) {}

// Connected says that a new connection to the server was opened on the
// credentials of owner: a server without change notifications is listed anew.
func (c *Catalog) Connected(s jackfield.Server, owner jackfield.Scope) {}

// Invalidate takes a notification of the server: what it says has changed is
// listed anew. It reports whether the method is such a notification.
func (c *Catalog) Invalidate(s jackfield.ServerID, owner jackfield.Scope, method string) bool {
	return false
}

// Warm lists the servers that were never listed, three at a time, and returns
// when each was tried or ctx ends. Servers that are invalid, on demand, or reached
// on a person's own credentials are left alone.
func (c *Catalog) Warm(ctx context.Context, servers []jackfield.Server) {}

// Keep forgets every server that is not among those given.
func (c *Catalog) Keep(servers []jackfield.Server) {}

// Close ends what is under way and waits for it, until ctx ends at the latest.
func (c *Catalog) Close(ctx context.Context) error { return nil }

// Limits bound how long and how much. Zero means the default.
type Limits struct {
	Fetch time.Duration // one visit to a server; 60 s
}
