package demo

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// beginLegacy takes what initialize said for the request.
func (c *conn) beginLegacy(m wire.Message, p *params) (*call, *wire.Error) {
	k := &call{conn: c, id: m.ID, token: p.Meta[exchange.MetaProgressToken]}
	switch m.Method {
	case "initialize", "ping":
		return k, nil
	case "server/discover", "subscriptions/listen":
		return nil, noMethod(m.Method)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		return nil, &wire.Error{
			Code:    wire.CodeInvalidRequest,
			Message: "send initialize first, or name the protocol version in params._meta (2026-07-28)",
		}
	}
	k.version, k.caps, k.level = c.client.version, c.client.caps, c.client.level
	return k, nil
}

func noMethod(method string) *wire.Error {
	return &wire.Error{Code: wire.CodeMethodNotFound, Message: "there is no method " + strconv.Quote(method) + " here"}
}

// initialize answers initialize. The client's revision is used when it is one of
// ours, else our newest.
func (c *conn) initialize(p *params) (object, error) {
	caps, err := exchange.ParseCapabilities(p.Capabilities)
	if err != nil {
		return nil, invalid("the client's capabilities cannot be read: %v", err)
	}
	version := exchange.LatestLegacy
	if exchange.IsLegacy(p.ProtocolVersion) {
		version = p.ProtocolVersion
	}
	c.mu.Lock()
	c.client = &client{version: version, caps: caps, watched: map[string]bool{}}
	c.mu.Unlock()
	return object{
		"protocolVersion": version,
		"capabilities":    c.offer.capabilities(),
		"serverInfo":      c.serverInfo(),
		"instructions":    c.offer.instructions,
	}, nil
}

// setLevel answers logging/setLevel.
func (c *conn) setLevel(level string) (object, error) {
	if rank(level) < 0 {
		return nil, invalid("there is no log level %q", level)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.client.level = level
	return object{}, nil
}

// watch answers resources/subscribe and resources/unsubscribe.
func (c *conn) watch(uri string, on bool) (object, error) {
	if _, ok := c.offer.read(uri); !ok && on {
		return nil, noResource(uri, false)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !on:
		delete(c.client.watched, uri)
	case len(c.client.watched) >= maxWatched:
		return nil, invalid("at most %d resources can be subscribed to", maxWatched)
	default:
		c.client.watched[uri] = true
	}
	return object{}, nil
}

// askNow sends a request to the client and waits for the answer.
func (c *conn) askNow(ctx context.Context, method string, p object) (wire.Raw, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	answer := make(chan wire.Message, 1)
	c.mu.Lock()
	c.lastAsk++
	id := strconv.Quote("ask-" + strconv.Itoa(c.lastAsk))
	c.asked[id] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.asked, id)
		c.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	c.send(ctx, wire.AppendRequest(nil, wire.Raw(id), method, raw))
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			return nil, errors.New("the client left before it answered")
		case m.Error != nil:
			return nil, wire.ParseError(m.Error)
		}
		return m.Result, nil
	case <-ctx.Done():
		return nil, errors.New("the client did not answer within " + askFor.Round(time.Second).String())
	}
}
