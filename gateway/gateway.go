package gateway

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// Broker does for a caller what it may do. *broker.Broker is one.
type Broker interface {
	// Do answers one request. Errors that are not the server's own answer are
	// *jackfield.Error.
	Do(ctx context.Context, c broker.Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error)
	// About is what initialize and server/discover tell.
	About(ctx context.Context, c broker.Caller) (broker.About, error)
	// Listen delivers events until ctx ends. It calls ready once, before the first
	// event, with what it will deliver of what f asked for.
	Listen(ctx context.Context, c broker.Caller, f broker.Filter, ready func(broker.Filter), deliver func(exchange.Event)) error
	// Notify passes a client's notification on.
	Notify(ctx context.Context, c broker.Caller, method string, params wire.Raw)
	// EndSession says that a legacy session is over.
	EndSession(id string)
}

// Options are what a Handler is made of. Only Broker must be set.
type Options struct {
	Broker Broker
	// Authenticate says who is calling. An error without a code counts as
	// AuthRequired. Nil: everybody is the principal "local".
	Authenticate func(*http.Request) (jackfield.Principal, error)
	// Find reports whether the path /mcp/{server} exists for p: nil, or the error
	// that the client gets. Nil: every path does, and the Broker answers.
	Find func(p jackfield.Principal, server string) error
	// ParamHeaders says which arguments of a tool its schema mirrors in Mcp-Param
	// headers, so that they can be checked. Nil: they are not checked.
	ParamHeaders func(c broker.Caller, tool string) []ParamHeader
	// Repeatable reports whether carrying out a tool a second time does no harm. Nil:
	// of no tool is that known.
	Repeatable func(c broker.Caller, tool string) bool
	// Guard says which Host and Origin headers are let in besides loopback ones.
	Guard Guard
	// Path is where the handler stands; empty: /mcp.
	Path string
	// SSE is where the handler serves HTTP+SSE, the transport of 2024-11-05; empty:
	// /sse.
	SSE string
	// Key seals session ids and request states: 32 bytes, the same in every
	// replica. Empty: a random one, known to this process only.
	Key []byte
	// ServerInfo is who we say we are where no server speaks for itself; nil:
	// {"name":"jackfield","version":"0"}.
	ServerInfo wire.Raw
	Limits     Limits
	Timing     Timing
	Log        *slog.Logger // nil: nothing is logged
	// Refused is told the HTTP status of each request that is answered with one of
	// 400 or above. Nil: nobody is. It must not block.
	Refused func(status int)
}

// ParamHeader is an argument of a tool that its input schema mirrors in a header
// (2026-07-28, x-mcp-header).
type ParamHeader struct {
	Name string   // what follows Mcp-Param- in the header's name
	Path []string // where the argument stands inside params.arguments
}

// Limits bound what clients can take. Zero means the default.
type Limits struct {
	Body            int // bytes of one request body; 4 MiB
	Bodies          int // bytes of all request bodies in memory; 256 MiB
	Requests        int // requests at once; 16,384
	SessionRequests int // requests at once in one session; 512
	Sessions        int // sessions; 50,000
	OwnerSessions   int // sessions of one principal; 10,000
	Streams         int // event streams that wait for changes; 20,000
	OwnerStreams    int // the same, of one principal; 2,000
	Parked          int // exchanges of modern clients that wait for answers; 1,024
	OwnerParked     int // the same, of one principal; 16
	Events          int // bytes of events that wait, or are kept for clients that come back; 256 MiB
}

// Timing is how long things may take. Zero means the default.
type Timing struct {
	Body      time.Duration // until a request body has arrived; 30 s
	Write     time.Duration // until a client takes what is written to it; 30 s
	Quiet     time.Duration // without an answer until a reply becomes a stream, so that something arrives; 5 s
	KeepAlive time.Duration // between comments on a silent stream; 15 s
	Idle      time.Duration // until an unused session ends; 24 h
	Linger    time.Duration // how long a session without its stream still listens; 30 s
	Replay    time.Duration // how long an answered stream can be resumed; 2 min
	State     time.Duration // how long a request state is good; 15 min
	Park      time.Duration // until a client comes back with the answers to questions it took as a result; 5 min
	Ask       time.Duration // until a client has answered a question; 10 min
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		v   *int
		def int
	}{
		{&l.Body, 4 << 20},
		{&l.Bodies, 256 << 20},
		{&l.Requests, 16384},
		{&l.SessionRequests, 512},
		{&l.Sessions, 50_000},
		{&l.OwnerSessions, 10_000},
		{&l.Streams, 20_000},
		{&l.OwnerStreams, 2_000},
		{&l.Parked, 1024},
		{&l.OwnerParked, 16},
		{&l.Events, 256 << 20},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	return l
}

func (t Timing) withDefaults() Timing {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&t.Body, 30 * time.Second},
		{&t.Write, 30 * time.Second},
		{&t.Quiet, 5 * time.Second},
		{&t.KeepAlive, 15 * time.Second},
		{&t.Idle, 24 * time.Hour},
		{&t.Linger, 30 * time.Second},
		{&t.Replay, 2 * time.Minute},
		{&t.State, 15 * time.Minute},
		{&t.Park, 5 * time.Minute},
		{&t.Ask, 10 * time.Minute},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	return t
}

// Handler is the MCP endpoint. Make one with New, and Close it.
type Handler struct {
	opts     Options
	gate     *gate
	streams  *quota
	sessions *sessions
	parks    *parks
	channels channels
	lastCaps atomic.Pointer[exchange.Capabilities] // that a modern client declared
	states   sealer
	tasks    taskNames
	noted    noted
	clocks   clocks
	bodies   atomic.Int64 // bytes of request bodies in memory
	ledger   ledger
	lastID   atomic.Int64 // of our own requests to clients
}

// New makes a Handler. It panics when o has no Broker or a Key that is neither
// empty nor 32 bytes long.
func New(o Options) *Handler {
	if o.Broker == nil {
		panic("gateway: Options without a Broker")
	}
	if len(o.Key) == 0 {
		o.Key = make([]byte, 32)
		_, _ = rand.Read(o.Key) // never fails
	}
	if len(o.Key) != 32 {
		panic("gateway: Options.Key must be 32 bytes long")
	}
	if o.Path == "" {
		o.Path = "/mcp"
	}
	if o.SSE == "" {
		o.SSE = "/sse"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ServerInfo == nil {
		o.ServerInfo = wire.Raw(`{"name":"jackfield","version":"0"}`)
	}
	o.Limits, o.Timing = o.Limits.withDefaults(), o.Timing.withDefaults()
	h := &Handler{
		opts:    o,
		gate:    newGate(o.Limits.Requests),
		streams: newQuota("open streams", "", o.Limits.Streams, o.Limits.OwnerStreams),
		states:  newSealer(o.Key, "request state"),
		tasks:   newTaskNames(o.Key),
		clocks:  newClocks(o.Timing),
	}
	h.channels.by = make(map[string]*channel)
	h.parks = newParks(o.Limits)
	h.ledger.max = int64(o.Limits.Events)
	h.sessions = newSessions(o, newSealer(o.Key, "session id"))
	var seed [8]byte
	_, _ = rand.Read(seed[:])
	// Ids begin at a random point, so that an answer meant for another process
	// finds nothing here, and stay exact in every client's number type.
	h.lastID.Store(int64(binary.BigEndian.Uint64(seed[:]) >> 16))
	return h
}

// Drain refuses new sessions and requests and waits until those under way are
// answered, or ctx ends. What they need meanwhile still passes: answers to
// questions, as responses or with a retry, cancellations, streams. It returns how
// many are not answered; Close ends them.
func (h *Handler) Drain(ctx context.Context) (left int) {
	quiet := h.gate.quieten()
	select {
	case <-quiet:
		return 0
	case <-ctx.Done():
		return h.gate.underWay()
	}
}

// Close refuses new requests, ends all sessions, streams and requests, and waits
// until the last of them is gone or ctx ends.
func (h *Handler) Close(ctx context.Context) error {
	drained := h.gate.close(errClosing, errCut)
	h.sessions.close(errCut)
	select {
	case <-drained:
		h.parks.close()
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Cut ends what is under way for the principals that match: requests, streams of
// events, sessions and calls that wait for answers. Clients get the reason, an error
// of jackfield's, where something of theirs is not answered yet. A session belongs to
// its subject and may be used with any credential of it; it ends when the principal
// that opened it matches, and with it all that happens in it. A request of the
// session that was made with another credential, which alone matches, ends alone.
//
// What begins later is for Authenticate to judge, which must know by now what match
// knows. match must not call the Handler.
func (h *Handler) Cut(match func(jackfield.Principal) bool, reason error) {
	h.gate.cut(match, reason) // first: who opens a session meanwhile looks whether it was meant
	h.sessions.cut(match, reason)
}

// Status is what a Handler holds now.
type Status struct {
	Requests int   // being answered
	Streams  int   // that wait for changes
	Sessions int   // of legacy clients
	Parked   int   // exchanges of modern clients that wait for answers
	Events   int64 // bytes that wait, or are kept for clients that come back
	Dropped  int64 // notifications, so far, that a client was too slow for
}

// Status reports what the Handler holds now.
func (h *Handler) Status() Status {
	return Status{
		Requests: h.gate.count(), Streams: h.streams.count(), Sessions: h.sessions.count(),
		Parked: h.parks.places.count(),
		Events: h.ledger.bytes.Load(), Dropped: h.ledger.dropped.Load(),
	}
}

// Limits are those in force.
func (h *Handler) Limits() Limits { return h.opts.Limits }

var errClosing = jackfield.Errorf(jackfield.Unavailable, "the gateway is shutting down; try again in a moment")

// errCut is for a call that was sent, perhaps: trying it again may do it twice.
var errCut = jackfield.Errorf(jackfield.Unavailable, "the gateway was shut down before this was answered; whether the server has done it is not known")

// inbound is one HTTP request on its way in.
type inbound struct {
	*Handler
	w     http.ResponseWriter
	r     *http.Request
	visit *visit
	who   jackfield.Principal
	only  string // the server of /mcp/{server}; empty: all
	held  int64  // what the body takes of the memory for bodies
	msg   wire.Message
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &inbound{Handler: h, w: w, r: r}
	if err := h.opts.Guard.Check(r); err != nil {
		x.refuseError(err)
		return
	}
	if allowCrossOrigin(w, r) {
		return
	}
	var ok bool
	var sse bool
	if x.only, ok = below(r.URL.Path, h.opts.Path); !ok {
		x.only, sse = below(r.URL.Path, h.opts.SSE)
	}
	if !ok && !sse {
		x.refuseError(jackfield.Errorf(jackfield.NotFound,
			"there is nothing at this path; the MCP endpoints are %s and %s/{server}", h.opts.Path, h.opts.Path))
		return
	}
	var err error
	cuts := h.gate.cuts.Load()
	if x.who, err = h.authenticate(r); err != nil {
		x.refuseError(err)
		return
	}
	if err = x.found(); err != nil {
		x.refuseError(err)
		return
	}
	if x.visit, err = h.gate.enter(x.who); err != nil {
		x.refuseError(err)
		return
	}
	defer h.gate.leave(x.visit)
	if h.gate.cuts.Load() != cuts { // it may have missed this request, which may be of somebody it was for
		if x.who, err = h.authenticate(r); err != nil {
			x.refuseError(err)
			return
		}
		h.gate.is(x.visit, x.who)
	}
	if sse {
		x.serveSSE()
		return
	}
	switch r.Method {
	case http.MethodPost:
		x.post()
	case http.MethodGet:
		x.get()
	case http.MethodDelete:
		x.delete()
	default:
		x.refuseMethod()
	}
}

// found is why there is nothing at the path of the one server, if it is for one.
func (x *inbound) found() error {
	if x.only == "" || x.opts.Find == nil {
		return nil
	}
	return x.opts.Find(x.who, x.only)
}

// below reports whether path is prefix or one name below it, and which.
func below(path, prefix string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok || rest == "" || rest == "/" {
		return "", ok
	}
	name, ok = strings.CutPrefix(rest, "/")
	return name, ok && !strings.Contains(name, "/")
}

func (h *Handler) authenticate(r *http.Request) (jackfield.Principal, error) {
	if h.opts.Authenticate == nil {
		return jackfield.Principal{Subject: "local"}, nil
	}
	p, err := h.opts.Authenticate(r)
	if err != nil && jackfield.CodeOf(err) == jackfield.Internal {
		err = &jackfield.Error{Code: jackfield.AuthRequired, Message: "this needs a valid bearer token", Err: err}
	}
	return p, err
}

func (x *inbound) refuseMethod() {
	x.w.Header().Set("Allow", "POST, GET, DELETE")
	x.refuse(http.StatusMethodNotAllowed, &wire.Error{
		Code: wire.CodeInvalidRequest, Message: "this endpoint takes POST, and GET and DELETE for sessions",
	})
}
