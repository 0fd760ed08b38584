package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// conn is one client at the other end of stdin and stdout.
type conn struct {
	offer *offer
	o     Options
	out   chan []byte // lines for writeLines; closed by Serve when every call has ended
	calls sync.WaitGroup

	mu      sync.Mutex // guards what follows
	open    map[string]*call
	listens map[*listen]struct{}
	asked   map[string]chan<- wire.Message // questions to the client by the id we gave them
	lastAsk int
	client  *client // who said initialize; nil before
}

// client is what a legacy client told us about itself.
type client struct {
	version string
	caps    exchange.Capabilities
	level   string          // logging/setLevel; empty: no log messages
	watched map[string]bool // resources/subscribe
}

// call is one request under way.
type call struct {
	conn    *conn
	id      wire.Raw
	cancel  context.CancelFunc
	modern  bool
	version string
	caps    exchange.Capabilities
	level   string   // log messages of this level and above are wanted; empty: none
	token   wire.Raw // progress token; nil: no progress wanted
	state   string   // requestState of a modern retry
	answers map[string]wire.Raw
}

// params are those members of any request's params that a demo server reads.
type params struct {
	Meta            map[string]wire.Raw `json:"_meta"`
	Name            string              `json:"name"`
	URI             string              `json:"uri"`
	Arguments       wire.Raw            `json:"arguments"`
	Cursor          string              `json:"cursor"`
	Level           string              `json:"level"`
	Ref             reference           `json:"ref"`
	Argument        argument            `json:"argument"`
	RequestID       wire.Raw            `json:"requestId"`
	ProtocolVersion string              `json:"protocolVersion"`
	Capabilities    wire.Raw            `json:"capabilities"`
	Notifications   *interest           `json:"notifications"`
	InputResponses  map[string]wire.Raw `json:"inputResponses"`
	RequestState    string              `json:"requestState"`
}

type object = map[string]any

func newConn(o *offer, options Options) *conn {
	return &conn{
		offer: o, o: options, out: make(chan []byte, 64),
		open:    map[string]*call{},
		listens: map[*listen]struct{}{},
		asked:   map[string]chan<- wire.Message{},
	}
}

// run handles lines until they or ctx end, and waits for the calls under way.
func (c *conn) run(ctx context.Context, lines <-chan line) error {
	calls, cancel := context.WithCancel(ctx)
	defer c.calls.Wait()
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l := <-lines:
			switch {
			case errors.Is(l.err, io.EOF):
				c.finish(cancel)
				return nil
			case l.err != nil:
				return fmt.Errorf("read from the client: %w", l.err)
			case l.tooLong:
				c.refuse(ctx, nil, &wire.Error{
					Code: wire.CodeInvalidRequest, Message: fmt.Sprintf("a message longer than %d bytes", maxLine),
				})
			default:
				c.handle(calls, l.text)
			}
		}
	}
}

// finish lets the calls under way end: those that wait for the client at once,
// the others within endGrace.
func (c *conn) finish(cancel context.CancelFunc) {
	c.mu.Lock()
	for l := range c.listens {
		l.cancel()
	}
	for id, answer := range c.asked {
		close(answer)
		delete(c.asked, id)
	}
	c.mu.Unlock()
	timer := time.AfterFunc(endGrace, cancel)
	defer timer.Stop()
	c.calls.Wait()
}

// handle reads one message and does what it says.
func (c *conn) handle(ctx context.Context, text []byte) {
	m, err := wire.Parse(text)
	if err != nil {
		code := wire.CodeInvalidRequest
		if errors.Is(err, wire.ErrSyntax) {
			code = wire.CodeParse
		}
		c.refuse(ctx, m.ID, &wire.Error{Code: code, Message: err.Error()})
		return
	}
	switch m.Kind {
	case wire.Request:
		c.request(ctx, m)
	case wire.Notification:
		if m.Method == "notifications/cancelled" {
			c.cancelled(m.Params)
		}
	case wire.Response:
		c.mu.Lock()
		answer := c.asked[string(m.ID)]
		delete(c.asked, string(m.ID))
		c.mu.Unlock()
		if answer != nil {
			answer <- m // has room for one
		}
	}
}

func (c *conn) cancelled(raw wire.Raw) {
	var p params
	if json.Unmarshal(raw, &p) != nil {
		return // nobody to tell
	}
	c.mu.Lock()
	k := c.open[string(p.RequestID)]
	c.mu.Unlock()
	if k != nil {
		k.cancel()
	}
}

// request answers a request, in a goroutine of its own when that can take long.
func (c *conn) request(ctx context.Context, m wire.Message) {
	var p params
	if m.Params != nil {
		if err := json.Unmarshal(m.Params, &p); err != nil {
			c.refuse(ctx, m.ID, invalid("the params cannot be read: %v", err))
			return
		}
	}
	k, refused := c.begin(m, &p)
	if refused != nil {
		c.refuse(ctx, m.ID, refused)
		return
	}
	switch m.Method {
	case "tools/call", "subscriptions/listen":
	default:
		c.finished(ctx, k, func() (object, error) { return c.quick(k, m.Method, &p) })
		return
	}
	own, cancel := context.WithCancel(ctx)
	k.cancel = cancel
	if refused = c.admit(k); refused != nil {
		cancel()
		c.refuse(ctx, m.ID, refused)
		return
	}
	c.calls.Go(func() {
		defer cancel()
		defer c.leave(k)
		c.finished(own, k, func() (object, error) {
			if m.Method == "tools/call" {
				return c.callTool(own, k, &p)
			}
			return c.listen(own, k, p.Notifications)
		})
	})
}

func (c *conn) admit(k *call) *wire.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.open) >= maxOpen:
		return &wire.Error{Code: 1429, Message: fmt.Sprintf("%d requests are under way already: wait for one to end", maxOpen)}
	case c.open[string(k.id)] != nil:
		return &wire.Error{Code: wire.CodeInvalidRequest, Message: "a request with this id is under way already"}
	}
	c.open[string(k.id)] = k
	return nil
}

func (c *conn) leave(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, string(k.id))
}

// begin finds out in which era the request is made, and makes the call.
func (c *conn) begin(m wire.Message, p *params) (*call, *wire.Error) {
	if c.o.Era == EraModern || c.o.Era != EraLegacy && p.Meta[exchange.MetaProtocolVersion] != nil {
		return c.beginModern(m, p)
	}
	return c.beginLegacy(m, p)
}

// finished sends what answer returns: a result in the form of the call's era, or
// an error. A call that was cancelled is not answered.
func (c *conn) finished(ctx context.Context, k *call, answer func() (object, error)) {
	result, err := answer()
	var refused *wire.Error
	switch {
	case ctx.Err() != nil:
		return
	case errors.As(err, &refused):
	case err != nil:
		refused = &wire.Error{Code: wire.CodeInternal, Message: err.Error()}
	default:
		if k.modern {
			c.dress(result)
		}
		raw, err := json.Marshal(result)
		if err == nil {
			c.send(ctx, wire.AppendResult(nil, k.id, raw))
			return
		}
		refused = &wire.Error{Code: wire.CodeInternal, Message: err.Error()}
	}
	c.refuse(ctx, k.id, refused)
}

func (c *conn) refuse(ctx context.Context, id wire.Raw, e *wire.Error) {
	c.send(ctx, wire.AppendError(nil, id, e))
}

// notify sends a notification.
func (c *conn) notify(ctx context.Context, method string, p object) {
	raw, err := json.Marshal(p)
	if err != nil {
		return // our own maps of strings and numbers always marshal
	}
	c.send(ctx, wire.AppendNotification(nil, method, raw))
}

// send queues one message for the client, waiting for room while ctx lasts.
func (c *conn) send(ctx context.Context, message []byte) {
	select {
	case c.out <- append(message, '\n'):
	case <-ctx.Done():
	}
}

// progress tells how far the call is, when the client wants to know.
func (k *call) progress(ctx context.Context, done, total int, message string) {
	if k.token == nil {
		return
	}
	k.conn.notify(ctx, "notifications/progress", object{
		"progressToken": k.token, "progress": done, "total": total, "message": message,
	})
}

var levels = []string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

func rank(level string) int {
	for i, l := range levels {
		if l == level {
			return i
		}
	}
	return -1
}

// log sends a log message, when the client wants those of its level.
func (k *call) log(ctx context.Context, level, text string) {
	if k.level == "" || rank(level) < rank(k.level) {
		return
	}
	k.conn.notify(ctx, "notifications/message", object{
		"level": level, "logger": k.conn.offer.name, "data": object{"text": text},
	})
}

// changed tells those who listen that the list of resources, or the resource at
// uri, is no longer what it was.
func (k *call) changed(ctx context.Context, uri string, list bool) {
	c := k.conn
	c.mu.Lock()
	legacyList := list && c.client != nil
	legacyURI := !list && c.client != nil && c.client.watched[uri]
	var modern []*listen
	for l := range c.listens {
		if list && l.lists || !list && l.uris[uri] {
			modern = append(modern, l)
		}
	}
	c.mu.Unlock()
	method, p := "notifications/resources/updated", object{"uri": uri}
	if list {
		method, p = "notifications/resources/list_changed", object{}
	}
	if legacyList || legacyURI {
		c.notify(ctx, method, p)
	}
	for _, l := range modern {
		select {
		case <-l.acked:
		case <-ctx.Done():
			return
		}
		p["_meta"] = object{metaSubscription: l.id}
		c.notify(ctx, method, p)
	}
}

func invalid(format string, args ...any) *wire.Error {
	return &wire.Error{Code: wire.CodeInvalidParams, Message: fmt.Sprintf(format, args...)}
}
