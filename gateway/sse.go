package gateway

import (
	"context"
	"net/http"
	"sync"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// channel is the connection of a client that speaks HTTP+SSE (2024-11-05): what it
// says comes in POSTs, and everything for it goes down the one event stream. The
// session that it initializes begins and ends with it.
type channel struct {
	name  string // sealed, as the client holds it
	owner string // subject of the principal it belongs to
	only  string // server path it was opened on
	*stream

	mu      sync.Mutex // guards what follows
	session *session   // nil before initialize
	open    int        // requests that are not answered yet
	closing bool       // the stream ends with the last of them
}

// begin notes a request that is to be answered on the channel.
func (c *channel) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
}

// done says that one was answered.
func (c *channel) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	c.endLocked()
}

// close ends the stream as soon as all requests are answered.
func (c *channel) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	c.endLocked()
}

// endLocked ends the stream if nothing comes any more. mu is held.
func (c *channel) endLocked() {
	if c.closing && c.open == 0 {
		c.end()
	}
}

// channels are those that are open.
type channels struct {
	mu sync.Mutex // guards by
	by map[string]*channel
}

func (t *channels) add(c *channel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.by[c.name] = c
}

func (t *channels) remove(c *channel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.by, c.name)
}

func (t *channels) find(name, owner, only string) *channel {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.by[name]; c != nil && c.owner == owner && c.only == only {
		return c
	}
	return nil
}

// sseParam is the part of the endpoint's address that says which channel it is.
const sseParam = "session"

// serveSSE answers a request at the path for HTTP+SSE.
func (x *inbound) serveSSE() {
	switch x.r.Method {
	case http.MethodGet:
		x.openChannel()
	case http.MethodPost:
		x.postChannel()
	default:
		x.w.Header().Set("Allow", "GET, POST")
		x.refuse(http.StatusMethodNotAllowed, &wire.Error{
			Code: wire.CodeInvalidRequest, Message: "this endpoint takes GET, which opens an event stream, and POST to the address that the stream begins with",
		})
	}
}

// openChannel serves the event stream of a new channel until either side has
// enough. Its first event says where to post.
func (x *inbound) openChannel() {
	if !accepts(x.r.Header["Accept"], "text/event-stream") {
		x.refuseAccept("text/event-stream")
		return
	}
	if x.gate.draining.Load() {
		x.refuseError(errClosing)
		return
	}
	if err := x.streams.take(x.who.Subject); err != nil {
		x.refuseError(err)
		return
	}
	defer x.streams.give(x.who.Subject)
	x.gate.settle(x.visit)
	ctx, cancel := x.gate.bind(x.r.Context(), x.visit)
	defer cancel(nil)
	_, name := x.sessions.mint(x.who.Subject, x.only)
	c := &channel{name: name, owner: x.who.Subject, only: x.only, stream: x.unnamed()}
	x.channels.add(c)
	defer x.hangUp(c)
	t := c.attach()
	defer c.detach(t)
	w := x.eventWriter(x.w)
	if w.begin() != nil || w.endpoint(x.r.URL.EscapedPath()+"?"+sseParam+"="+name) != nil {
		return // the client is gone
	}
	_ = c.pump(ctx, w, t, 0) // nor can anybody be told when it goes later
	if why := x.gate.gone(x.visit); why != nil {
		x.cutChannel(c, w, t, why)
	}
}

// cutChannel ends a channel whose client has to go, with the answers that are due.
func (x *inbound) cutChannel(c *channel, w *eventWriter, t *tap, why error) {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s != nil {
		x.sessions.end(s, why)
	}
	c.close()
	ctx, cancel := context.WithTimeout(x.r.Context(), x.opts.Timing.Write)
	defer cancel()
	_ = c.pump(ctx, w, t, 0) // a client that is gone needs no answers
}

// hangUp ends a channel and its session.
func (x *inbound) hangUp(c *channel) {
	x.channels.remove(c)
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s != nil {
		x.sessions.end(s, jackfield.Errorf(jackfield.NotFound, "the client closed the event stream of the session; connect again"))
		x.sessions.release(s)
	}
	c.discard()
}

// postChannel takes a message for a channel. Its answer goes down the stream.
func (x *inbound) postChannel() {
	if !x.sendsJSON() {
		return
	}
	name := x.r.URL.Query().Get(sseParam)
	c := x.channels.find(name, x.who.Subject, x.only)
	if c == nil {
		x.refuseError(x.sessions.missing(name, x.who.Subject, x.only))
		return
	}
	defer func() { x.bodies.Add(-x.held) }()
	in, ok := x.receive(func([]byte) { x.refuseBatch("send one message a request") })
	if !ok {
		return
	}
	if x.msg.Kind == wire.Request && x.msg.Method == "initialize" {
		x.initializeChannel(c, &in)
		return
	}
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s == nil {
		x.refuse(http.StatusBadRequest, &wire.Error{Code: wire.CodeInvalidRequest, Message: "begin with initialize"})
		return
	}
	switch x.msg.Kind {
	case wire.Response:
		s.answered(x.msg)
	case wire.Notification:
		x.legacyNotification(s, &in)
	case wire.Request:
		if !x.answerLater(c, s, &in) {
			return
		}
	}
	x.w.WriteHeader(http.StatusAccepted)
}

// answerLater has a request answered on the channel, and reports whether it was
// taken.
func (x *inbound) answerLater(c *channel, s *session, in *parts) bool {
	if x.msg.Method != "ping" && x.gate.draining.Load() {
		x.refuseError(errClosing)
		return false
	}
	v, err := x.gate.enterFor(x.visit) // the POST is answered before the request is
	if err != nil {
		x.refuseError(err)
		return false
	}
	y := *x
	y.w, y.visit, x.held = nowhere{}, v, 0
	c.begin()
	go func() {
		defer c.done()
		defer y.gate.leave(v)
		defer y.bodies.Add(-y.held)
		y.legacyRequest(s, in, &reply{x: &y, stream: c.stream, part: true})
	}()
	return true
}

// initializeChannel begins the session of a channel.
func (x *inbound) initializeChannel(c *channel, in *parts) {
	c.mu.Lock()
	begun := c.session != nil
	c.mu.Unlock()
	if begun {
		x.refuse(http.StatusBadRequest, &wire.Error{Code: wire.CodeInvalidRequest, Message: "this connection was initialized already; open another"})
		return
	}
	result, sealed, ok := x.beginSession(in)
	if !ok {
		return
	}
	s, err := x.sessions.find(sealed, x.who.Subject, x.only) // busy until the channel ends
	if err != nil {
		x.refuseError(err)
		return
	}
	s.mu.Lock()
	s.own, s.tuned = c.stream, c
	s.mu.Unlock()
	c.mu.Lock()
	begun = c.session != nil
	if !begun {
		c.session = s
	}
	c.mu.Unlock()
	if begun || x.channels.find(c.name, c.owner, c.only) == nil { // another was faster, or the client is gone
		x.sessions.end(s, jackfield.Errorf(jackfield.NotFound, "the session was never used"))
		if begun {
			x.sessions.release(s)
		}
		x.refuse(http.StatusBadRequest, &wire.Error{Code: wire.CodeInvalidRequest, Message: "this connection is not there to be initialized"})
		return
	}
	c.push(wire.AppendResult(nil, x.msg.ID, result), needed)
	x.listenFor(s)
	x.w.WriteHeader(http.StatusAccepted)
}

// nowhere takes what is written to a response that was given already.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) WriteHeader(int)             {}

// endpoint sends the event that says where to post.
func (e *eventWriter) endpoint(address string) error {
	e.buf = wire.AppendEvent(e.buf[:0], wire.Event{Name: "endpoint", Data: []byte(address)})
	return e.send()
}
