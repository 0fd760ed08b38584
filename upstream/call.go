package upstream

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// call is one request that we sent, while it is open.
type call struct {
	id     int64
	at     int      // where it stands among those that are open
	key    wire.Raw // the id as it stands in messages; our progress token too
	method string
	params wire.Raw

	modern bool
	name   string // for Mcp-Name; modern
	mirror []pair // Mcp-Param headers; modern

	effect   exchange.Effect
	awaits   bool // a task that it is answered with is waited for
	peer     exchange.Peer
	progress bool // progress was asked for

	listens      bool            // an event stream: no exchange of anybody's
	looks        bool            // at a task, beside the request that is open about it
	acknowledged chan<- wire.Raw // takes the params of its acknowledgement

	session string // the session id that came with an HTTP answer

	cancel context.CancelCauseFunc // ends the call
	lent   bool                    // not yet: somebody reads on, and ends it then

	// On a shared stream, messages reach the call through these.
	inbox  chan wire.Message
	answer chan outcome
}

// pair is one header.
type pair struct{ name, value string }

// outcome is how a call ended on a shared stream.
type outcome struct {
	m   wire.Message
	err error
}

// lastID counts the requests of this process. It begins at a random point, so
// that two replicas that write to one server hardly ever use the same id.
var lastID = func() *atomic.Int64 {
	var id atomic.Int64
	id.Store(rand.Int64N(1 << 48)) //nolint:gosec // apart, not secret
	return &id
}()

func newCall(method string) *call {
	x := &call{id: lastID.Add(1), method: method, effect: exchange.EffectOf(method)}
	x.key = wire.AppendInt(nil, x.id)
	return x
}

// text is the request as it is sent.
func (x *call) text() []byte {
	const envelope = 64
	return wire.AppendRequest(make([]byte, 0, len(x.params)+len(x.method)+envelope), x.key, x.method, x.params)
}

// handshake reports whether the call is part of getting to know the server; such
// a call is never cancelled with a message.
func (x *call) handshake() bool {
	return x.method == "initialize" || x.method == "server/discover"
}

// calls are the calls that are open on a connection.
type calls struct {
	mu   sync.Mutex // guards what follows
	open []*call
}

// enter adds x unless there are limit calls already.
func (s *calls) enter(x *call, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= limit {
		return false
	}
	x.at = len(s.open)
	s.open = append(s.open, x)
	return true
}

// idle reports whether no call is open.
func (s *calls) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) == 0
}

// cut ends all calls.
func (s *calls) cut(reason error) {
	s.mu.Lock()
	ends := make([]context.CancelCauseFunc, 0, len(s.open))
	for _, x := range s.open {
		ends = append(ends, x.cancel)
	}
	s.mu.Unlock()
	for _, end := range ends {
		end(reason)
	}
}

func (s *calls) leave(x *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.open) - 1
	s.open[x.at], s.open[last].at = s.open[last], x.at
	s.open[last] = nil
	s.open = s.open[:last]
}

// find returns the open call whose id, or progress token, is key; nil when there
// is none.
func (s *calls) find(key wire.Raw) *call {
	id, ok := parseID(key)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.open {
		if x.id == id {
			return x
		}
	}
	return nil
}

// only returns the one exchange that is open; nil when there are more or none.
func (s *calls) only() *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found *call
	for _, x := range s.open {
		switch {
		case x.listens, x.looks:
		case found != nil:
			return nil
		default:
			found = x
		}
	}
	return found
}

// parseID reads an id that we may have written.
func parseID(key wire.Raw) (id int64, ok bool) {
	const digits = 18
	if len(key) == 0 || len(key) > digits {
		return 0, false
	}
	for _, c := range key {
		if c < '0' || c > '9' {
			return 0, false
		}
		id = id*10 + int64(c-'0')
	}
	return id, true
}

// receive takes a message that arrived for x. It reports whether it was the
// response. Other messages go where they belong.
func (c *Conn) receive(ctx context.Context, x *call, m wire.Message) (answered bool) {
	switch m.Kind {
	case wire.Response:
		if string(m.ID) == string(x.key) {
			return true
		}
		c.opts.Hooks.ignored("a response to a request that was not sent here")
	case wire.Notification:
		c.notified(ctx, x, m)
	case wire.Request:
		c.asked(x, m)
	}
	return false
}

// notified takes a notification that belongs to x.
func (c *Conn) notified(ctx context.Context, x *call, m wire.Message) {
	switch {
	case isChange(m.Method), m.Method == methodTaskStatus:
		c.happened(m)
	case m.Method == methodCancelled:
		c.cancelled(m.Params)
	case m.Method == methodAcknowledged && x.acknowledged != nil:
		select {
		case x.acknowledged <- m.Params:
		default: // once is enough
		}
	case x.listens:
		c.happened(m)
	case m.Method == methodProgress && !x.progress, x.peer == nil:
		c.opts.Hooks.ignored("a notification that nobody waits for")
	default:
		if err := x.peer.Notify(ctx, m.Method, m.Params); err != nil {
			c.opts.Hooks.ignored("a notification that could not be delivered: " + err.Error())
		}
	}
}

const (
	methodCancelled  = "notifications/cancelled"
	methodProgress   = "notifications/progress"
	methodTaskStatus = "notifications/tasks/status" // 2025-11-25; on any stream
)

// isChange reports whether a notification concerns everybody who knows the
// server, wherever it arrived.
func isChange(method string) bool {
	switch method {
	case "notifications/tools/list_changed", "notifications/prompts/list_changed",
		"notifications/resources/list_changed", "notifications/resources/updated":
		return true
	}
	return false
}

// cancelled takes notifications/cancelled: the server withdraws a question, or
// (2026-07-28, stdio) ends a subscription of ours.
func (c *Conn) cancelled(params wire.Raw) {
	o, err := wire.ScanObject(params, []string{"requestId"})
	if err != nil {
		c.opts.Hooks.ignored("a cancellation that names no request")
		return
	}
	id := o.Get("requestId")
	c.questions.withdraw(string(id))
	if x := c.calls.find(id); x != nil && x.listens && x.answer != nil {
		x.finish(outcome{err: protocolFailure("the server ended the subscription")})
	}
}

// finish ends a call on a shared stream; what comes second is dropped.
func (x *call) finish(o outcome) {
	select {
	case x.answer <- o:
	default:
	}
}

// tellCancelled tells the server that nobody waits for x any more, without
// making anybody wait for that.
func (c *Conn) tellCancelled(x *call, why error) {
	c.crew.run(func() {
		ctx, cancel := context.WithTimeout(c.life, sideTimeout)
		defer cancel()
		params := append([]byte(`{"requestId":`), x.key...)
		params = append(params, `,"reason":`...)
		params = wire.AppendString(params, why.Error())
		params = append(params, '}')
		if err := c.notify(ctx, methodCancelled, params); err != nil {
			c.opts.Hooks.ignored("a cancellation that could not be sent: " + err.Error())
		}
	})
}
