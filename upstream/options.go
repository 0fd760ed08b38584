package upstream

import (
	"context"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// Options say how to reach a server and what it is told about the asker. The
// zero value of every field but Endpoint works.
type Options struct {
	Name     string // what messages call the server
	Endpoint jackfield.Endpoint

	// Client sends the HTTP requests, each to the address that it names: redirects are
	// followed here (307 and 308, five at most, without credentials to another origin),
	// and its transport decides who may be reached. Cookies are never kept. Nil: a
	// transport of the connection's own, and no redirect to another origin.
	Client *http.Client

	// Header is asked for the headers of every HTTP request to the server, with the
	// context of the call that it is for. They take the place of the Endpoint's of the
	// same name, but never of the protocol's own, and go to the server's own origin
	// only. They are not kept, so a change shows with the next request. An error fails
	// the request, which is not sent; its message names the server. The map is not
	// changed, and may be returned again. Nil: there are none.
	Header func(ctx context.Context) (http.Header, error)

	// Shape is what an earlier connection learned; nil: find out. A shape that
	// turns out wrong costs a probe, nothing else.
	Shape *exchange.Shape

	// Caps is the client capabilities object declared at initialize; empty: {}.
	// Modern servers are told each request's own instead.
	Caps string

	// Home is who answers questions that belong to no call, for a connection that
	// serves one downstream session alone. It is asked each time; nil, or returning
	// nil: there is nobody, and such questions are declined. It must not block.
	Home func() exchange.Peer

	// ParamHeaders says which arguments of a request travel in headers as well
	// (2026-07-28, x-mcp-header); nil: none.
	ParamHeaders func(method, name string) []ParamHeader

	// Guard is the command line, a path first, of a program that calls Guard with
	// the arguments behind it; it stands between us and the process of a stdio
	// server, and ends all that the process started when either of us ends. Empty:
	// nobody does, and what outlives a process or left its group is not reached.
	// Windows has no guards.
	Guard []string

	InitTimeout time.Duration // dial, probe and initialize together; zero: 30 s
	Limits      Limits
	Hooks       Hooks
}

// ParamHeader says that the argument at Path, property names from the outside
// in, travels in the header Mcp-Param-{Name} too.
type ParamHeader struct {
	Name string
	Path []string
}

// Limits bound what a server can make us hold. Zero means the default.
type Limits struct {
	Message   int // bytes of one message, and of one event of a stream; 16 MiB
	Calls     int // open on one connection at a time; 1,024
	Pages     int // of one list; 50
	Items     int // of one list; 10,000
	ListBytes int // of one list; 16 MiB
}

// Hooks are told what happens on a connection. Each may be nil; none may block.
type Hooks struct {
	// Event gets every notification that belongs to no call, and every change of
	// a list or resource wherever it arrived.
	Event func(exchange.Event)
	// Shape gets what a dial learned, when it differs from Options.Shape.
	Shape func(exchange.Shape)
	// Declined counts the server's questions that nobody could be asked.
	Declined func(method, why string)
	// Lost is told, before any call finds out, that a connection which was open ended
	// by itself, and why: the server forgot its session, the process ended, the stream
	// broke. state: the server kept state for the connection, and answered a call that
	// may have changed it.
	Lost func(why error, state bool)
	// Ignored counts what arrived and meant nothing.
	Ignored func(why string)
}

const (
	defaultInitTimeout = 30 * time.Second
	defaultCalls       = 1024
	defaultPages       = 50
	defaultItems       = 10_000
	defaultListBytes   = 16 << 20
)

func (o Options) withDefaults() Options {
	set := func(field *int, value int) {
		if *field <= 0 {
			*field = value
		}
	}
	set(&o.Limits.Message, wire.DefaultMaxMessage)
	set(&o.Limits.Calls, defaultCalls)
	set(&o.Limits.Pages, defaultPages)
	set(&o.Limits.Items, defaultItems)
	set(&o.Limits.ListBytes, defaultListBytes)
	if o.InitTimeout <= 0 {
		o.InitTimeout = defaultInitTimeout
	}
	if o.Caps == "" {
		o.Caps = "{}"
	}
	return o
}

func (h *Hooks) event(method string, params wire.Raw) {
	if h.Event != nil {
		h.Event(exchange.Event{Method: method, Params: params})
	}
}

func (h *Hooks) declined(method, why string) {
	if h.Declined != nil {
		h.Declined(method, why)
	}
}

func (h *Hooks) ignored(why string) {
	if h.Ignored != nil {
		h.Ignored(why)
	}
}

// clientInfo is who we say we are when the asker is unknown.
var clientInfo = func() wire.Raw {
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Path == "github.com/jackfield-dev/jackfield" && info.Main.Version != "" {
		version = info.Main.Version
	}
	b := append([]byte(`{"name":"jackfield","version":`), wire.AppendString(nil, version)...)
	return append(b, '}')
}()
