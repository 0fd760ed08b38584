package broker

import (
	"context"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/connections"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
	"github.com/jackfield-dev/jackfield/wire"
)

// session is what is known of a downstream session.
type session struct {
	home   exchange.Peer
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // its subscriptions end with the session

	// subscriptions are the resources it is subscribed to, for each door it came
	// through. Protected by Broker.hub.mu.
	subscriptions map[string]*listener
}

// known remembers the caller's session.
func (b *Broker) known(c *Caller) *session {
	if c.Session == "" {
		return nil
	}
	if s, ok := b.sessions.Load(c.Session); ok {
		return s.(*session)
	}
	s := &session{home: c.Home, subscriptions: map[string]*listener{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if first, loaded := b.sessions.LoadOrStore(c.Session, s); loaded {
		s.cancel()
		return first.(*session)
	}
	return s
}

// Home is the peer of a downstream session, for a connection that serves it
// alone; nil when the session is not known.
func (b *Broker) Home(id string) exchange.Peer {
	if s, ok := b.sessions.Load(id); ok {
		return s.(*session).home
	}
	return nil
}

// EndSession says that a downstream session is over: its subscriptions end and its
// connections are drained. No request of the session may come after it.
func (b *Broker) EndSession(id string) {
	if s, ok := b.sessions.LoadAndDelete(id); ok {
		s := s.(*session)
		s.cancel()
		b.hub.mu.Lock()
		var all []*listener
		for _, l := range s.subscriptions {
			all = append(all, l)
		}
		clear(s.subscriptions)
		b.hub.mu.Unlock()
		for _, l := range all {
			b.leave(l)
		}
	}
	b.losses.forget(id)
	b.o.Connections.Drain(func(k pool.Key) bool { return sessionOf(k) == id })
}

// subscription is the listener that holds the session's subscriptions through the
// caller's door.
func (q *query) subscription() (*listener, error) {
	s := q.b.known(q.c)
	q.b.hub.mu.Lock()
	l := s.subscriptions[q.c.Only]
	q.b.hub.mu.Unlock()
	if l != nil {
		return l, nil
	}
	l = &listener{
		c: *q.c, owner: q.owner, cl: q.cl, session: s, box: newMailbox(), ctx: s.ctx,
		lines: map[*line]struct{}{}, uris: map[jackfield.ServerID]map[string]string{}, tried: map[jackfield.ServerID]bool{},
	}
	if err := q.b.enter(l, q.asOf); err != nil {
		return nil, err
	}
	q.b.hub.mu.Lock()
	first := s.subscriptions[q.c.Only]
	if first == nil && s.ctx.Err() == nil {
		s.subscriptions[q.c.Only] = l
		first = l
	}
	q.b.hub.mu.Unlock()
	if first != l {
		q.b.leave(l)
	}
	if first == nil {
		return nil, jackfield.Errorf(jackfield.NotFound, "the session is over")
	}
	return first, nil
}

// subscribe subscribes the caller's session to a resource. The server is asked
// itself where that is how its protocol revision does it, so that the caller gets
// its answer; from then on the broker keeps the subscription.
func (q *query) subscribe(ctx context.Context) (exchange.Result, error) {
	t, uri, err := q.subscribed(ctx)
	if err != nil {
		return exchange.Result{}, err
	}
	if !q.b.subscribable(t.Server) {
		return exchange.Result{Err: &wire.Error{
			Code: wire.CodeMethodNotFound, Message: "server \"" + t.Server.Name + "\" does not let anybody subscribe to its resources",
		}}, nil
	}
	l, err := q.subscription()
	if err != nil {
		return exchange.Result{}, err
	}
	res, err := q.tell(ctx, t)
	if err != nil || res.Err != nil {
		return res, err
	}
	q.b.hub.mu.Lock()
	defer q.b.hub.mu.Unlock()
	if !l.sees(t.Server.ID) {
		return exchange.Result{}, q.unknownURI(uri) // no more
	}
	n := 0
	for _, uris := range l.uris {
		n += len(uris)
	}
	_, had := l.uris[t.Server.ID][t.Key]
	if n >= maxURIs && !had {
		return exchange.Result{}, jackfield.Errorf(jackfield.Exhausted, "the session is subscribed to %d resources already; unsubscribe from some first", maxURIs)
	}
	l.subscribeLocked(t.Server.ID, t.Key, uri)
	if had {
		return res, nil
	}
	on := false
	for ln := range l.lines {
		if ln.key.Server == t.Server.ID {
			ln.wanted[feed{uri: t.Key}]++
			ln.look()
			on = true
		}
	}
	if !on {
		q.b.connectLocked(l, t.Server.ID)
	}
	return res, nil
}

// unsubscribe ends a subscription of the caller's session.
func (q *query) unsubscribe(ctx context.Context) (exchange.Result, error) {
	t, _, err := q.subscribed(ctx)
	if err != nil {
		return exchange.Result{}, err
	}
	l, err := q.subscription()
	if err != nil {
		return exchange.Result{}, err
	}
	q.b.hub.mu.Lock()
	others := false
	if _, had := l.uris[t.Server.ID][t.Key]; had {
		for ln := range l.lines {
			if ln.key.Server == t.Server.ID {
				ln.unwantLocked(feed{uri: t.Key})
				others = others || ln.wanted[feed{uri: t.Key}] > 0
				ln.look()
			}
		}
		delete(l.uris[t.Server.ID], t.Key)
		if len(l.uris[t.Server.ID]) == 0 {
			delete(l.uris, t.Server.ID)
			for ln := range l.lines {
				if ln.key.Server == t.Server.ID {
					q.b.detachLocked(l, ln)
				}
			}
		}
	}
	q.b.hub.mu.Unlock()
	if others {
		return exchange.Result{Raw: empty}, nil
	}
	return q.tell(ctx, t)
}

// subscribed is the resource that a subscription is about.
func (q *query) subscribed(ctx context.Context) (catalog.Target, string, error) {
	uri, ok := text(q.r.Params.Get("uri"))
	if !ok || uri == "" || q.c.Session == "" {
		return catalog.Target{}, "", jackfield.Errorf(jackfield.Invalid, "%s needs a session and the uri of a resource, as a string", q.r.Method)
	}
	t, err := q.resource(ctx, uri)
	return t, uri, err
}

// tell asks the server itself, if its revision knows the method.
func (q *query) tell(ctx context.Context, t catalog.Target) (exchange.Result, error) {
	if shape, known := q.b.o.Catalog.Shape(*t.Server); known && shape.Modern() {
		return exchange.Result{Raw: empty}, nil
	}
	return q.rewritten(ctx, "uri", t)
}

const waitNotify = 10 * time.Second // for a server to take a notification

// Notify passes a client's notification on: that its roots have changed, to the
// connections that are the caller's own; a vendor's, to the one server that it
// asks. What concerns nobody is dropped.
func (b *Broker) Notify(ctx context.Context, c Caller, method string, params wire.Raw) {
	cl, v, err := b.view(&c)
	if err != nil {
		return
	}
	b.known(&c)
	owner := c.Principal.Scope()
	ctx, cancel := context.WithTimeout(ctx, waitNotify)
	defer cancel()
	roots := method == "notifications/roots/list_changed"
	switch {
	case c.Only != "" && !roots:
		s := &v.Servers()[0]
		if b.admit(&c, s) != nil {
			return
		}
		lease, err := b.notified(ctx, &c, s)
		if err != nil {
			return // a notification has no answer
		}
		b.opened(s, lease)
		_ = lease.Conn().Notify(ctx, method, params)
		lease.Release()
	case roots:
		for lease := range b.o.Connections.Loaded(owner, c.Session) {
			key := lease.Key()
			s, ok := cl.server(key.Server)
			if ok && key.Scope != jackfield.App() && (c.Only == "" || c.Only == s.Name) {
				_ = lease.Conn().Notify(ctx, method, params) // nor does it have one here
			}
			lease.Release()
		}
	}
}

// notified is the connection that a notification for the server goes to: the one
// that the caller's calls use. A client without a session that does not say what it
// can answer, as it need not in a notification, has it by that it is open.
func (b *Broker) notified(ctx context.Context, c *Caller, s *jackfield.Server) (pool.Lease[Conn], error) {
	owner := c.Principal.Scope()
	if c.Session == "" && c.Caps.Declared == "" {
		for lease := range b.o.Connections.Loaded(owner, "") {
			if lease.Key().Server == s.ID {
				return lease, nil
			}
			lease.Release()
		}
	}
	return b.o.Connections.Acquire(ctx, connections.Want{Server: *s, Owner: owner, Session: c.Session, Caps: c.Caps.Declared})
}
