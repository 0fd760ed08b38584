package upstream

import (
	"bytes"
	"context"

	"github.com/jackfield-dev/jackfield/wire"
)

// pipe is one byte stream for everything that a server says: the output of a
// process, or the event stream of HTTP+SSE. A reader goroutine hands each
// message to the call that it belongs to.
type pipe struct {
	c *Conn
	// write sends one message. It may be called concurrently.
	write func(ctx context.Context, text []byte) error
	// stop ends what carries the messages.
	stop func(ctx context.Context) error
}

// inboxSize is how many messages may wait for one call. Notifications beyond it
// are dropped; a response always finds its place.
const inboxSize = 64

func (p *pipe) admit(x *call) {
	x.inbox = make(chan wire.Message, inboxSize)
	x.answer = make(chan outcome, 1)
}

func (p *pipe) do(ctx context.Context, x *call) (wire.Message, error) {
	if err := p.write(ctx, x.text()); err != nil {
		return p.orAnswer(ctx, x, err)
	}
	for {
		select {
		case m := <-x.inbox:
			p.c.receive(ctx, x, m)
		case o := <-x.answer:
			p.drain(ctx, x)
			return o.m, o.err
		case <-ctx.Done():
			return p.orAnswer(ctx, x, context.Cause(ctx))
		}
	}
}

// orAnswer is err, unless the answer had come before: a server may answer and then
// end the connection, or the process itself.
func (p *pipe) orAnswer(ctx context.Context, x *call, err error) (wire.Message, error) {
	select {
	case o := <-x.answer:
		if o.err == nil {
			p.drain(ctx, x)
			return o.m, nil
		}
	default:
	}
	return wire.Message{}, err
}

// drain delivers what came before the answer.
func (p *pipe) drain(ctx context.Context, x *call) {
	for {
		select {
		case m := <-x.inbox:
			p.c.receive(ctx, x, m)
		default:
			return
		}
	}
}

func (p *pipe) send(ctx context.Context, m outgoing) error { return p.write(ctx, m.text) }

func (p *pipe) abandon(x *call, why error) { p.c.tellCancelled(x, why) }

func (p *pipe) close(ctx context.Context) error { return p.stop(ctx) }

// read takes one text from the server: a message or a batch. It keeps text.
func (p *pipe) read(text []byte) {
	err := eachMessage(text, func(m wire.Message) bool {
		p.route(m)
		return false
	})
	if err == nil {
		return
	}
	p.c.opts.Hooks.ignored("something that is not JSON-RPC: " + err.Error())
	// A response that cannot be read still ends its call, if it says which.
	if m, _ := wire.Parse(text); m.ID != nil && m.Method == "" {
		if x := p.c.calls.find(m.ID); x != nil {
			x.finish(outcome{err: protocolFailure("its answer to %s is not JSON-RPC: %w", x.method, err)})
		}
	}
}

// tooLong takes the news that a message was dropped for its size. If only one
// call is open, it was that one's; else nobody knows whose.
func (p *pipe) tooLong(limit int) {
	f := tooLarge(limit)
	if x := p.c.calls.only(); x != nil {
		x.finish(outcome{err: f})
		return
	}
	p.c.fail(f)
}

func (p *pipe) route(m wire.Message) {
	switch m.Kind {
	case wire.Response:
		if x := p.c.calls.find(m.ID); x != nil {
			x.finish(outcome{m: m})
			return
		}
		p.c.opts.Hooks.ignored("a response to a request that is not open")
	case wire.Request:
		p.c.askedAtLarge(m)
	case wire.Notification:
		p.routeNotification(m)
	}
}

// routeNotification finds out whose a notification is: a progress token names a
// call, a subscription id a subscription, and anything else belongs to the only
// exchange that is open, or to nobody.
func (p *pipe) routeNotification(m wire.Message) {
	c := p.c
	var x *call
	switch {
	case m.Method == methodProgress:
		if o, err := wire.ScanObject(m.Params, []string{"progressToken"}); err == nil {
			x = c.calls.find(o.Get("progressToken"))
		}
		if x == nil {
			c.opts.Hooks.ignored("progress of a call that is not open")
			return
		}
	case m.Method == methodCancelled:
		c.cancelled(m.Params)
		return
	case isChange(m.Method):
		c.happened(m)
		return
	case m.Method == methodAcknowledged:
		x = c.calls.find(subscriptionID(m.Params))
	default:
		x = c.calls.only()
	}
	if x == nil {
		c.happened(m)
		return
	}
	select {
	case x.inbox <- m:
	default:
		c.opts.Hooks.ignored("a notification, because too many wait to be delivered")
	}
}

const (
	methodAcknowledged = "notifications/subscriptions/acknowledged"
	metaSubscriptionID = "io.modelcontextprotocol/subscriptionId"
)

// subscriptionID is the id of the subscriptions/listen request that a
// notification belongs to (2026-07-28, patterns/subscriptions).
func subscriptionID(params wire.Raw) wire.Raw {
	o, err := wire.ScanObject(params, []string{"_meta"})
	if err != nil {
		return nil
	}
	meta, err := wire.ScanObject(o.Get("_meta"), []string{metaSubscriptionID})
	if err != nil {
		return nil
	}
	return meta.Get(metaSubscriptionID)
}

// happened tells of what belongs to no call.
func (c *Conn) happened(m wire.Message) { c.opts.Hooks.event(m.Method, untagged(m.Params)) }

var (
	metaOnly = []string{"_meta"}
	tagOnly  = []string{metaSubscriptionID}
)

// untagged is a notification's params without the id of our own subscription, which
// means nothing to anybody else.
func untagged(params wire.Raw) wire.Raw {
	if !bytes.Contains(params, []byte(metaSubscriptionID)) {
		return params
	}
	o, err := wire.ScanObject(params, metaOnly)
	if err != nil {
		return params
	}
	meta, err := wire.ScanObject(o.Get("_meta"), tagOnly)
	if err != nil || meta.Get(metaSubscriptionID) == nil {
		return params
	}
	meta.Delete(metaSubscriptionID)
	if meta.Len() == 0 {
		o.Delete("_meta")
	} else {
		o.Set("_meta", meta.Raw())
	}
	return o.Raw()
}
