package upstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// Interest is which events somebody listens for.
type Interest = exchange.Interest

// Listen keeps open whatever the server sends events on: the GET stream and
// resource subscriptions (until 2025-11-25), or subscriptions/listen
// (2026-07-28). All who listen on a connection share one of each; it ends with
// the last. Events go to Hooks.Event.
//
// Listen returns when ctx ends, or when the events are lost for good: an error
// that matches ErrNoStream says that the server offers none. A stream that only
// broke is opened again; what may have been missed meanwhile is reported as
// changed.
func (c *Conn) Listen(ctx context.Context, in Interest) error {
	if err := c.Err(); err != nil {
		return c.opts.callError("listening", gone(err))
	}
	h, err := c.ear.join(c, in)
	if err != nil {
		return c.opts.callError("listening", err)
	}
	defer c.ear.leave(h, in)
	ready := in.Ready
	for {
		agreed, covered, moved, err := c.ear.state(h, in)
		switch {
		case err != nil:
			return c.opts.callError("listening", err)
		case covered && ready != nil:
			ready(agreed)
			ready = nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

const maxURIs = 1000 // that one connection is subscribed to

// ear hears the events of a connection for all who listen.
type ear struct {
	mu  sync.Mutex // guards what follows, and every hearing's fields
	now *hearing   // nil while nobody listens
	// ended is the end of the hearing before, which may still be unsubscribing.
	ended <-chan struct{}
}

// hearing lasts from the first listener to the last.
type hearing struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing of it is left
	grown  chan struct{} // a token: somebody came or left

	listeners int
	wanted    wanted         // by all of them
	counts    map[string]int // listeners for each URI
	tasks     map[string]int // and for each task

	moved  chan struct{} // closed, and replaced, when what follows changes
	asked  wanted        // what the server was told
	agreed wanted        // and what it agreed to
	err    error         // why it ended
}

// wanted is a set of events.
type wanted struct {
	standing bool // a stream is open at all
	lists    bool
	uris     map[string]bool
	tasks    map[string]bool
}

func (e *ear) join(c *Conn, in Interest) (*hearing, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.now
	others := 0
	if h != nil {
		others = len(h.counts) + len(h.tasks)
	}
	if others+len(in.URIs)+len(in.Tasks) > maxURIs {
		return nil, &failure{code: jackfield.Exhausted, what: fmt.Sprintf("more than %d resources and tasks are subscribed to on one connection", maxURIs)}
	}
	if h == nil {
		ctx, cancel := context.WithCancel(c.life)
		h = &hearing{
			cancel: cancel, done: make(chan struct{}), grown: make(chan struct{}, 1), moved: make(chan struct{}),
			counts: map[string]int{}, tasks: map[string]int{},
		}
		before := e.ended
		if !c.crew.run(func() { c.hear(ctx, h, before) }) {
			cancel()
			return nil, gone(errClosed)
		}
		e.now, e.ended = h, h.done
	}
	h.listeners++
	h.wanted.lists = h.wanted.lists || in.Lists
	for _, uri := range in.URIs {
		h.counts[uri]++
	}
	for _, id := range in.Tasks {
		h.tasks[id]++
	}
	h.poke()
	return h, nil
}

func (e *ear) leave(h *hearing, in Interest) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, uri := range in.URIs {
		if h.counts[uri]--; h.counts[uri] <= 0 {
			delete(h.counts, uri)
		}
	}
	for _, id := range in.Tasks {
		if h.tasks[id]--; h.tasks[id] <= 0 {
			delete(h.tasks, id)
		}
	}
	if h.listeners--; h.listeners > 0 {
		h.poke()
		return
	}
	h.cancel()
	if e.now == h {
		e.now = nil
	}
}

// poke lets the goroutine of the hearing look again. ear.mu is held.
func (h *hearing) poke() {
	select {
	case h.grown <- struct{}{}:
	default:
	}
}

// state says how far the wish of one listener is fulfilled.
func (e *ear) state(h *hearing, in Interest) (agreed Interest, covered bool, moved <-chan struct{}, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	covered = h.asked.standing && (!in.Lists || h.asked.lists)
	agreed.Lists = in.Lists && h.agreed.lists
	for _, uri := range in.URIs {
		covered = covered && h.asked.uris[uri]
		if h.agreed.uris[uri] {
			agreed.URIs = append(agreed.URIs, uri)
		}
	}
	for _, id := range in.Tasks {
		covered = covered && h.asked.tasks[id]
		if h.agreed.tasks[id] {
			agreed.Tasks = append(agreed.Tasks, id)
		}
	}
	return agreed, covered, h.moved, h.err
}

// over reports whether a hearing has ended.
func (e *ear) over(h *hearing) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return h.err != nil
}

// want is what all listeners want together.
func (e *ear) want(h *hearing) wanted {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := wanted{lists: h.wanted.lists, uris: make(map[string]bool, len(h.counts)), tasks: make(map[string]bool, len(h.tasks))}
	for uri := range h.counts {
		w.uris[uri] = true
	}
	for id := range h.tasks {
		w.tasks[id] = true
	}
	return w
}

// tell notes what the server was told and agreed to.
func (e *ear) tell(h *hearing, asked, agreed wanted) {
	e.mu.Lock()
	defer e.mu.Unlock()
	asked.standing = true
	h.asked, h.agreed = asked, agreed
	close(h.moved)
	h.moved = make(chan struct{})
}

// fell notes that the stream broke: who comes now is not ready before the next
// one stands.
func (e *ear) fell(h *hearing) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h.asked = wanted{}
}

// end ends a hearing.
func (e *ear) end(h *hearing, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if h.err = err; e.now == h {
		e.now = nil
	}
	close(h.moved)
	close(h.done)
}

// covers reports whether w has all of v.
func (w wanted) covers(v wanted) bool {
	if v.lists && !w.lists || !w.standing {
		return false
	}
	for uri := range v.uris {
		if !w.uris[uri] {
			return false
		}
	}
	for id := range v.tasks {
		if !w.tasks[id] {
			return false
		}
	}
	return true
}

// any reports whether there is anything to tell of.
func (w wanted) any() bool { return w.lists || len(w.uris) > 0 || len(w.tasks) > 0 }

// hear is the goroutine of a hearing.
func (c *Conn) hear(ctx context.Context, h *hearing, before <-chan struct{}) {
	defer h.cancel()
	if before != nil {
		<-before
	}
	var err error
	if c.modern() {
		err = c.hearModern(ctx, h)
	} else {
		err = c.hearLegacy(ctx, h)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if dead := c.Err(); dead != nil {
		err = gone(dead)
	}
	c.ear.end(h, err)
}

// stream is an event stream that is open.
type stream struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended
	err    error         // why; fixed once done is closed
	asked  wanted
}

func (s *stream) close() {
	s.cancel()
	<-s.done
}

// reopening is the patience with a stream that breaks.
type reopening struct{ failures int }

// A stream that stood for that long was a good one.
const goodStream = 30 * time.Second

// pause waits before the next attempt; it fails when there were enough.
func (r *reopening) pause(ctx context.Context, opened time.Time, err error) error {
	if time.Since(opened) > goodStream {
		r.failures = 0
	}
	if r.failures++; r.failures > resumeTries {
		return err
	}
	pause := min(defaultPause<<r.failures, longestPause)
	return sleep(ctx, pause/2+rand.N(pause/2)) //nolint:gosec // spreads load, hides nothing
}

// hearModern keeps one subscriptions/listen open. When more is wanted, a new one
// is opened before the old one is closed.
func (c *Conn) hearModern(ctx context.Context, h *hearing) error {
	var (
		now    *stream
		again  reopening
		opened time.Time
		missed bool
	)
	defer func() {
		if now != nil {
			now.close()
		}
	}()
	for {
		if want := c.ear.want(h); now == nil || !now.asked.covers(want) {
			next, agreed, err := c.subscribeBut(ctx, want)
			if err != nil {
				if !missed || errors.Is(err, ErrNoStream) {
					return err
				}
				if err = again.pause(ctx, opened, err); err != nil {
					return err
				}
				continue
			}
			if now != nil {
				now.close()
			}
			now, opened = next, time.Now()
			c.ear.tell(h, now.asked, agreed)
			if missed {
				missed = false
				c.maybeMissed(agreed)
			}
		}
		select {
		case <-h.grown:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-now.done:
			lost := now.err
			now, missed = nil, true
			c.ear.fell(h)
			if err := again.pause(ctx, opened, lost); err != nil {
				return err
			}
		}
	}
}

// subscribeBut subscribes to what is wanted. A server that refuses because of the
// tasks among it tells of the rest: nobody shall go without because somebody named a
// task that is gone.
func (c *Conn) subscribeBut(ctx context.Context, want wanted) (*stream, wanted, error) {
	next, agreed, err := c.subscribe(ctx, want)
	rest := wanted{lists: want.lists, uris: want.uris}
	if err == nil || len(want.tasks) == 0 || !rest.any() || !errors.Is(err, ErrNoStream) {
		return next, agreed, err
	}
	if next, agreed, err = c.subscribe(ctx, rest); err == nil {
		next.asked.tasks = want.tasks
	}
	return next, agreed, err
}

// subscribe opens one subscriptions/listen and waits until it is acknowledged.
func (c *Conn) subscribe(ctx context.Context, want wanted) (*stream, wanted, error) {
	if !want.any() {
		return nil, wanted{}, ErrNoStream
	}
	x := newCall("subscriptions/listen")
	x.modern, x.listens = true, true
	acknowledged := make(chan wire.Raw, 1)
	x.acknowledged = acknowledged
	params, err := listenParams(x, want)
	if err != nil {
		return nil, wanted{}, err
	}
	x.params = params
	want.standing = true
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{cancel: cancel, done: make(chan struct{}), asked: want}
	started := c.crew.run(func() {
		defer close(s.done)
		m, err := c.roundTrip(ctx, x)
		switch {
		case err != nil:
			s.err = err
		case m.Error != nil:
			e := wire.ParseError(m.Error)
			s.err = fmt.Errorf("%w: %w", ErrNoStream, e)
		default:
			s.err = protocolFailure("the server ended the subscription")
		}
	})
	if !started {
		cancel()
		return nil, wanted{}, gone(errClosed)
	}
	patience := time.NewTimer(c.opts.InitTimeout)
	defer patience.Stop()
	select {
	case raw := <-acknowledged:
		agreed, err := agreedIn(raw)
		if err == nil && !agreed.any() {
			err = ErrNoStream // nothing of what was wanted will ever come
		}
		if err != nil {
			s.close()
			return nil, wanted{}, err
		}
		return s, agreed, nil
	case <-s.done:
		cancel()
		return nil, wanted{}, s.err
	case <-patience.C:
		s.close()
		return nil, wanted{}, protocolFailure("it did not acknowledge a subscription within %v", c.opts.InitTimeout)
	case <-ctx.Done():
		s.close()
		return nil, wanted{}, context.Cause(ctx)
	}
}

// maybeMissed reports as changed what may have changed while no stream stood.
func (c *Conn) maybeMissed(agreed wanted) {
	if agreed.lists {
		for _, kind := range []string{"tools", "prompts", "resources"} {
			if c.declares(kind) {
				c.opts.Hooks.event("notifications/"+kind+"/list_changed", nil)
			}
		}
	}
	for uri := range agreed.uris {
		c.opts.Hooks.event("notifications/resources/updated", uriParams(uri))
	}
}

func uriParams(uri string) wire.Raw {
	return append(wire.AppendString([]byte(`{"uri":`), uri), '}')
}

// hearLegacy keeps the GET stream open, where there is one, and subscribes to
// resources one by one. stdio and HTTP+SSE have their stream anyway.
func (c *Conn) hearLegacy(ctx context.Context, h *hearing) error {
	var (
		now    *stream
		at     position
		again  reopening
		opened time.Time
		told   = map[string]bool{} // URIs the server was asked for, and whether it agreed
	)
	l, isHTTP := c.link.(*httpLink)
	ended := (<-chan struct{})(nil)
	defer func() {
		if now != nil {
			now.close()
		}
		c.unsubscribe(told)
	}()
	for {
		if isHTTP && now == nil {
			resumes := at.id != ""
			next, err := l.listen(ctx, &at)
			switch {
			case err == nil:
			case opened.IsZero() || asFailure(err).status/100 == 4 || ctx.Err() != nil:
				return err
			default:
				if err = again.pause(ctx, opened, err); err != nil {
					return err
				}
				continue
			}
			if !opened.IsZero() && !resumes {
				c.maybeMissed(c.heardNow(h))
			}
			now, ended, opened = next, next.done, time.Now()
		}
		want := c.ear.want(h)
		if err := c.adjust(ctx, told, want.uris); err != nil {
			return err
		}
		c.ear.tell(h, want, agreedTo(want.lists, told))
		select {
		case <-h.grown:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ended:
			err := now.err
			now = nil
			c.ear.fell(h)
			if at.retry > 0 && at.id != "" { // the server wants us to come back for more
				err = sleep(ctx, at.pause())
			} else {
				err = again.pause(ctx, opened, err)
			}
			if err != nil {
				return err
			}
		}
	}
}

func (c *Conn) heardNow(h *hearing) wanted {
	c.ear.mu.Lock()
	defer c.ear.mu.Unlock()
	return wanted{lists: h.agreed.lists, uris: maps.Clone(h.agreed.uris)}
}

func agreedTo(lists bool, told map[string]bool) wanted {
	w := wanted{lists: lists, uris: map[string]bool{}}
	for uri, ok := range told {
		if ok {
			w.uris[uri] = true
		}
	}
	return w
}

// listen opens the GET stream.
func (l *httpLink) listen(ctx context.Context, at *position) (*stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	rep, err := l.get(ctx, at)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &stream{cancel: cancel, done: make(chan struct{})}
	started := l.c.crew.run(func() {
		defer close(s.done)
		defer cancel()
		defer rep.drop()
		at.quiet++
		err := l.c.events(rep, at, func(m wire.Message) bool {
			switch m.Kind {
			case wire.Request:
				l.c.askedAtLarge(m)
			case wire.Notification:
				l.c.notifiedAtLarge(m)
			case wire.Response:
				l.c.opts.Hooks.ignored("a response on a stream that is for events")
			}
			return false
		})
		s.err = &failure{code: jackfield.Unavailable, stage: StageHTTP, serverWide: true, err: err, what: "its event stream has ended"}
	})
	if !started {
		rep.drop()
		cancel()
		return nil, gone(errClosed)
	}
	return s, nil
}

// notifiedAtLarge takes a notification that belongs to no call.
func (c *Conn) notifiedAtLarge(m wire.Message) {
	if m.Method == methodCancelled {
		c.cancelled(m.Params)
		return
	}
	c.opts.Hooks.event(m.Method, m.Params)
}

// adjust subscribes to what is wanted and not told, and unsubscribes from what
// is told and not wanted any more.
func (c *Conn) adjust(ctx context.Context, told, want map[string]bool) error {
	for uri := range want {
		if _, known := told[uri]; known {
			continue
		}
		m, err := c.aside(ctx, "resources/subscribe", uriParams(uri))
		if err != nil {
			return err
		}
		told[uri] = m.Error == nil
	}
	for uri, agreed := range told {
		if want[uri] {
			continue
		}
		if agreed {
			if _, err := c.aside(ctx, "resources/unsubscribe", uriParams(uri)); err != nil {
				return err
			}
		}
		delete(told, uri)
	}
	return nil
}

// unsubscribe ends all subscriptions, when the last listener has left.
func (c *Conn) unsubscribe(told map[string]bool) {
	ctx, cancel := context.WithTimeout(c.life, sideTimeout)
	defer cancel()
	if err := c.adjust(ctx, told, nil); err != nil {
		c.opts.Hooks.ignored("subscriptions that could not be ended: " + err.Error())
	}
}

// aside makes a call of our own to a legacy server.
func (c *Conn) aside(ctx context.Context, method string, params wire.Raw) (wire.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.InitTimeout)
	defer cancel()
	x := newCall(method)
	x.params = params
	return c.roundTrip(ctx, x)
}
