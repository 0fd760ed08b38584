package broker

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
	"github.com/jackfield-dev/jackfield/wire"
)

// Filter says which events are wanted.
type Filter struct {
	Tools, Prompts, Resources bool     // changes of these lists
	URIs                      []string // updates of these resources, under the caller's URIs
	Tasks                     []Task   // how these tasks come along
	Other                     bool     // everything else that belongs to no exchange: log lines, a vendor's
}

const (
	maxURIs   = 1000            // resources that one listener, or one session, is subscribed to
	waitReady = 2 * time.Second // for servers to say what they will tell, before the listener is told
)

// kinds are the kinds of list whose changes are wanted.
func (f *Filter) kinds() catalog.Kinds {
	var k catalog.Kinds
	if f.Tools {
		k |= catalog.SetOf(catalog.Tools)
	}
	if f.Prompts {
		k |= catalog.SetOf(catalog.Prompts)
	}
	if f.Resources {
		k |= catalog.SetOf(catalog.Resources, catalog.Templates)
	}
	return k
}

// listener is somebody who wants events: a Listen under way, or the
// subscriptions of a session, which are there before and after its Listen.
type listener struct {
	c       Caller
	owner   jackfield.Scope
	filter  Filter
	session *session // whose subscriptions these are; nil for a Listen
	box     *mailbox // what the Listen has to deliver

	ctx  context.Context //nolint:containedctx // what it makes the broker do ends with it
	work sync.WaitGroup  // connections being made for it

	over context.CancelFunc // ends ctx

	// Protected by Broker.hub.mu, once it is in the hub.
	lost  error  // why it ended: the one server that it asked is none that it sees
	cl    *class // what it sees; written while Broker.changing is held as well
	lines map[*line]struct{}
	// uris are the resources it is subscribed to: for each server, its URI and
	// that of the listener.
	uris map[jackfield.ServerID]map[string]string
	// missed are those whose updates may have gone unheard.
	missed map[own]bool
	// tasks are the tasks that it follows, of each server.
	tasks map[jackfield.ServerID]map[string]bool
	// tried says of servers that are opened for its sake whether the first attempt
	// is over.
	tried map[jackfield.ServerID]bool
}

// sees reports whether the listener may hear of the server. hub.mu is held.
func (l *listener) sees(id jackfield.ServerID) bool {
	s, ok := l.cl.server(id)
	return ok && (l.c.Only == "" || l.c.Only == s.Name)
}

// feed is one thing that a line listens for: updates of a resource, how a task comes
// along, or, as its zero value, lists and everything else.
type feed struct{ uri, task string }

// interest is the feed in the words of a connection.
func (f feed) interest() exchange.Interest {
	switch {
	case f.uri != "":
		return exchange.Interest{URIs: []string{f.uri}}
	case f.task != "":
		return exchange.Interest{Tasks: []string{f.task}}
	}
	return exchange.Interest{Lists: true}
}

// feeds are what the listener wants a line to the server to listen for. hub.mu is
// held.
func (l *listener) feeds(s jackfield.ServerID) []feed {
	var all []feed
	if l.filter.kinds() != 0 || l.filter.Other {
		all = append(all, feed{})
	}
	for uri := range l.uris[s] {
		all = append(all, feed{uri: uri})
	}
	for id := range l.tasks[s] {
		all = append(all, feed{task: id})
	}
	return all
}

// keeps reports whether a line to the server is opened, and opened again, for the
// listener's sake: it named it, or a resource or a task of it. hub.mu is held.
func (l *listener) keeps(id jackfield.ServerID) bool {
	return l.sees(id) && (len(l.uris[id]) > 0 || len(l.tasks[id]) > 0 || l.c.Only != "" && l.c.Session == "")
}

// Listen delivers events to the caller until ctx ends. ready is called once,
// before the first event, with what will be delivered of what f asks for. deliver
// is called by the goroutine of Listen. Upstream, streams are opened on the
// connections that the caller has open, or opens later; connections are made for
// the resources and tasks named in f, and for a caller without a session for the one server
// it asks; when that is gone, or cannot be used any more, so is the subscription. Errors
// are *jackfield.Error; that ctx ended is none.
func (b *Broker) Listen(ctx context.Context, c Caller, f Filter, ready func(Filter), deliver func(exchange.Event)) error {
	asOf := b.changes.Load()
	cl, v, err := b.view(&c)
	if err != nil {
		return err
	}
	b.known(&c)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &listener{
		c: c, owner: c.Principal.Scope(), cl: cl, filter: f, box: newMailbox(), ctx: ctx, over: cancel,
		lines: map[*line]struct{}{},
	}
	b.resolve(l, v)
	l.follow()
	if err := b.enter(l, asOf); err != nil {
		return err
	}
	defer b.leave(l)
	b.attachOpen(l)
	b.attachKept(l)
	b.awaitReady(l)
	ready(b.honoured(l))
	l.deliver(deliver)
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	return l.lost
}

// deliver delivers events as they come, until the listener's ctx ends.
func (l *listener) deliver(deliver func(exchange.Event)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	quiet := false // changed lists wait for more of them
	for {
		kinds, updates, others := l.box.take(!quiet)
		if kinds &= l.filter.kinds(); kinds != 0 {
			quiet = true
			timer.Reset(quietPeriod)
		}
		for _, n := range notices(kinds) {
			deliver(exchange.Event{Method: n})
		}
		for _, u := range updates {
			deliver(u.ev)
		}
		for _, ev := range others {
			deliver(ev)
		}
		select {
		case <-l.box.wake:
		case <-timer.C:
			quiet = false
		case <-l.ctx.Done():
			return
		}
	}
}

// notices are the notifications that tell of changed lists.
func notices(kinds catalog.Kinds) []string {
	var all []string
	if kinds.Has(catalog.Tools) {
		all = append(all, "notifications/tools/list_changed")
	}
	if kinds.Has(catalog.Prompts) {
		all = append(all, "notifications/prompts/list_changed")
	}
	if kinds.Has(catalog.Resources) || kinds.Has(catalog.Templates) {
		all = append(all, "notifications/resources/list_changed")
	}
	return all
}

// resolve finds the servers of the resources that the listener names.
func (b *Broker) resolve(l *listener, v *catalog.View) {
	l.uris = map[jackfield.ServerID]map[string]string{}
	l.tried = map[jackfield.ServerID]bool{}
	if len(l.filter.URIs) > maxURIs {
		l.filter.URIs = l.filter.URIs[:maxURIs]
	}
	q := query{b: b, c: &l.c, cl: l.cl, v: v, r: &exchange.Request{Method: "subscriptions/listen"}, owner: l.owner}
	for _, uri := range l.filter.URIs {
		t, err := q.resource(l.ctx, uri)
		if err != nil || !b.subscribable(t.Server) {
			continue
		}
		l.subscribeLocked(t.Server.ID, t.Key, uri)
	}
}

// subscribeLocked adds a resource. hub.mu is held, or the listener is not in the
// hub.
func (l *listener) subscribeLocked(s jackfield.ServerID, own, final string) {
	if l.uris[s] == nil {
		l.uris[s] = map[string]string{}
	}
	l.uris[s][own] = final
}

// subscribable reports whether the server lets one subscribe to resources, as far
// as is known.
func (b *Broker) subscribable(s *jackfield.Server) bool {
	shape, known := b.o.Catalog.Shape(*s)
	if !known {
		return true
	}
	caps := capabilitiesOf(shape)
	return caps.Resources != nil && caps.Resources.Subscribe
}

// attachOpen makes the listener hear what is open already.
func (b *Broker) attachOpen(l *listener) {
	for lease := range b.o.Connections.Loaded(l.owner, l.c.Session) {
		key := lease.Key()
		b.hub.mu.Lock()
		if s, ok := l.cl.server(key.Server); ok && b.hears(l, key) {
			b.attachLocked(l, key, s, lease)
		}
		b.hub.mu.Unlock()
		lease.Release()
	}
}

// attachKept opens connections for the listener's sake.
func (b *Broker) attachKept(l *listener) {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	for i := range l.cl.servers {
		b.keepLocked(l, l.cl.servers[i].ID)
	}
}

// keepLocked opens a connection to the server, if that is for the listener's sake
// and it has none. hub.mu is held.
func (b *Broker) keepLocked(l *listener, id jackfield.ServerID) {
	if l.keeps(id) && len(l.feeds(id)) > 0 && !l.on(id) {
		b.connectLocked(l, id)
	}
}

// on reports whether the listener has a line to the server. hub.mu is held.
func (l *listener) on(s jackfield.ServerID) bool {
	for ln := range l.lines {
		if ln.key.Server == s {
			return true
		}
	}
	return false
}

// awaitReady waits until the servers have said what they will tell, for a moment.
func (b *Broker) awaitReady(l *listener) {
	timer := time.NewTimer(waitReady)
	defer timer.Stop()
	for b.pending(l) {
		select {
		case <-l.box.wake:
		case <-timer.C:
			return
		case <-l.ctx.Done():
			return
		}
	}
	l.box.poke() // for what came in the meantime
}

// pending reports whether a server has not said yet what it will tell.
func (b *Broker) pending(l *listener) bool {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	for s, over := range l.tried {
		if !over && !l.on(s) {
			return true
		}
	}
	for ln := range l.lines {
		for _, f := range l.feeds(ln.key.Server) {
			if _, said := ln.agreed[f]; !said {
				return true
			}
		}
	}
	return false
}

// honoured is what the listener will hear of what it wants. Changes of lists are
// noticed here also when a server does not tell of them; but for one server alone
// that has no stream, that would be too late to be a promise.
func (b *Broker) honoured(l *listener) Filter {
	f := l.filter
	f.URIs, f.Tasks = nil, nil
	b.hub.mu.Lock()
	refused := map[jackfield.ServerID]map[feed]bool{}
	for ln := range l.lines {
		for said, agreed := range ln.agreed {
			if agreed {
				continue
			}
			if refused[ln.key.Server] == nil {
				refused[ln.key.Server] = map[feed]bool{}
			}
			refused[ln.key.Server][said] = true
		}
	}
	ours := map[string]bool{}
	for s, uris := range l.uris {
		for own, final := range uris {
			ours[final] = !refused[s][feed{uri: own}]
		}
	}
	for _, t := range l.filter.Tasks {
		if l.tasks[t.Server][t.ID] && !refused[t.Server][feed{task: t.ID}] && l.on(t.Server) {
			f.Tasks = append(f.Tasks, t)
		}
	}
	one, asked := l.cl.named(l.c.Only)
	b.hub.mu.Unlock()
	for _, uri := range l.filter.URIs {
		if ours[uri] {
			f.URIs = append(f.URIs, uri)
		}
	}
	if l.c.Only == "" || !asked {
		return f
	}
	if refused[one.ID][feed{}] {
		f.Tools, f.Prompts, f.Resources = false, false, false
	} else if shape, known := b.o.Catalog.Shape(*one); known {
		caps := capabilitiesOf(shape)
		f.Tools = f.Tools && caps.Tools != nil
		f.Prompts = f.Prompts && caps.Prompts != nil
		f.Resources = f.Resources && caps.Resources != nil
	}
	return f
}

// changed tells those who see the server that something it lists has changed.
func (b *Broker) changed(ch catalog.Change) {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	for l := range b.hub.listeners {
		if (ch.Scope == jackfield.App() || ch.Scope == l.owner) && l.filter.kinds()&ch.Kinds != 0 && l.sees(ch.Server) {
			l.box.changed(ch.Kinds)
		}
	}
}

// Event takes what a server said outside of any exchange on the connection of
// key, and gives it to those who listen to it.
func (b *Broker) Event(key pool.Key, ev exchange.Event) {
	s, ok := b.server(key.Server)
	if !ok || b.o.Catalog.Invalidate(*s, key.Scope, ev.Method) {
		return // the catalog tells of changed lists, to everybody who sees them
	}
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	ln := b.hub.lines[key]
	if ln == nil {
		return
	}
	switch ev.Method {
	case "notifications/resources/updated":
		b.updatedLocked(ln, ev)
		return
	case "notifications/tasks":
		taskLocked(ln, ev)
		return
	}
	ev.Server = string(key.Server)
	if key.Scope == jackfield.App() && key.Isolation.ID == "" {
		return // nobody knows whose it is
	}
	for l := range ln.listeners {
		if l.filter.Other {
			l.box.other(ev)
		}
	}
}

var updatedKeys = []string{"uri"}

// updatedLocked tells those who are subscribed to the resource, or to what it is a
// part of, under the URI that they know. hub.mu is held.
func (b *Broker) updatedLocked(ln *line, ev exchange.Event) {
	params, err := wire.ScanObject(ev.Params, updatedKeys)
	if err != nil {
		return // a malformed notification is nobody's business
	}
	uri, ok := wire.String(params.Get("uri"))
	if !ok {
		return
	}
	for l := range ln.listeners {
		final, ok := l.finalLocked(ln, uri)
		if !ok {
			continue
		}
		out := ev
		if final != uri {
			params.Set("uri", wire.AppendString(nil, final))
			out.Params = params.Raw()
		}
		for _, to := range b.recipientsLocked(l) {
			to.box.updated(ln.key.Server, final, out)
		}
	}
}

// recipientsLocked are those who deliver what the listener hears: for the
// subscriptions of a session, each Listen of the session. hub.mu is held.
func (b *Broker) recipientsLocked(l *listener) []*listener {
	if l.session == nil {
		return []*listener{l}
	}
	var all []*listener
	for to := range b.hub.bySession[l.c.Session] {
		if to.session == nil && to.c.Only == l.c.Only {
			all = append(all, to)
		}
	}
	return all
}

// finalLocked is the listener's URI for a resource of the line's server that it is
// subscribed to. hub.mu is held.
func (l *listener) finalLocked(ln *line, uri string) (string, bool) {
	uris := l.uris[ln.key.Server]
	if final, ok := uris[uri]; ok {
		return final, true
	}
	for own, final := range uris {
		// It may be a part of the one that was subscribed to.
		if len(own) < len(uri) && uri[:len(own)] == own {
			if final == own {
				return uri, true
			}
			return catalog.QualifiedURI(ln.server, uri), true
		}
	}
	return "", false
}

// sessionOf is the session that a connection serves alone; empty: it does not.
func sessionOf(key pool.Key) string {
	id, _ := strings.CutPrefix(key.Isolation.ID, "session:")
	if id == key.Isolation.ID {
		return ""
	}
	return id
}
