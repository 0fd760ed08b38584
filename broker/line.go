package broker

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/connections"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
)

const (
	firstAgain  = time.Second      // before a connection is made again that somebody listens on; doubles
	lastAgain   = 30 * time.Second // and no more than this
	waitAcquire = time.Minute      // for a connection to listen on
)

// hub knows who listens, and on which connections.
type hub struct {
	mu        sync.Mutex // protects what follows, and the fields that say so
	closed    bool
	listeners map[*listener]struct{}
	bySession map[string]map[*listener]struct{}
	byOwner   map[jackfield.Scope]map[*listener]struct{}
	lines     map[pool.Key]*line
	byServer  map[jackfield.ServerID]map[*line]struct{} // the lines
	running   sync.WaitGroup                            // goroutines of lines
}

// line is a connection that somebody listens on. One goroutine holds a lease on it
// and moves to a new connection when this one is to be closed.
type line struct {
	key    pool.Key
	server string // its name
	want   connections.Want
	cancel context.CancelFunc
	poke   chan struct{} // a token: what is wanted has changed

	// Protected by hub.mu.
	listeners map[*listener]struct{}
	wanted    map[feed]int  // how many want each feed
	agreed    map[feed]bool // whether the server tells what a feed is for; missing: not known yet
	silent    Conn          // the connection, when nothing can be heard on it; the line then holds no lease
}

// enter lets a listener in, who knows what it sees as of so many changes.
func (b *Broker) enter(l *listener, asOf uint64) error {
	if err := b.let(l); err != nil {
		return err
	}
	if b.changes.Load() != asOf {
		b.look(l) // what it sees may have changed before it was in
	}
	return nil
}

func (b *Broker) let(l *listener) error {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	switch {
	case b.hub.closed:
		return jackfield.Errorf(jackfield.Unavailable, "the gateway is shutting down")
	case len(b.hub.listeners) >= b.o.Limits.Listeners:
		return jackfield.Errorf(jackfield.Exhausted, "%d clients listen for changes already, which is as many as there may be", b.o.Limits.Listeners)
	}
	b.hub.listeners[l] = struct{}{}
	put(b.hub.byOwner, l.owner, l)
	if l.c.Session != "" {
		put(b.hub.bySession, l.c.Session, l)
	}
	b.listening.Add(1)
	return nil
}

// leave lets a listener out; what only it listened for ends.
func (b *Broker) leave(l *listener) {
	b.hub.mu.Lock()
	if _, in := b.hub.listeners[l]; in {
		delete(b.hub.listeners, l)
		drop(b.hub.byOwner, l.owner, l)
		drop(b.hub.bySession, l.c.Session, l)
		for ln := range l.lines {
			b.detachLocked(l, ln)
		}
		b.listening.Add(-1)
	}
	b.hub.mu.Unlock()
	l.work.Wait()
}

func put[K, V comparable](m map[K]map[V]struct{}, k K, v V) {
	if m[k] == nil {
		m[k] = map[V]struct{}{}
	}
	m[k][v] = struct{}{}
}

func drop[K, V comparable](m map[K]map[V]struct{}, k K, v V) {
	delete(m[k], v)
	if len(m[k]) == 0 {
		delete(m, k)
	}
}

// hears reports whether what is said on the connection of key is for the listener.
// hub.mu is held.
func (b *Broker) hears(l *listener, key pool.Key) bool {
	switch session := sessionOf(key); {
	case session != "":
		if l.c.Session != session {
			return false
		}
	case key.Isolation.ID != "":
		return false // a probe, a listing, a single call
	case key.Scope != jackfield.App() && key.Scope != l.owner:
		return false
	}
	return l.sees(key.Server) && len(l.feeds(key.Server)) > 0
}

// opened is told of each connection that a call uses, and lets those listen on it
// who want to.
func (b *Broker) opened(s *jackfield.Server, lease pool.Lease[Conn]) {
	if b.listening.Load() == 0 {
		return
	}
	key := lease.Key()
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	if ln := b.hub.lines[key]; ln != nil && (ln.silent == nil || ln.silent == lease.Conn()) {
		return
	}
	all := b.hub.listeners
	if session := sessionOf(key); session != "" {
		all = b.hub.bySession[session]
	} else if key.Scope != jackfield.App() {
		all = b.hub.byOwner[key.Scope]
	}
	for l := range all {
		if b.hears(l, key) {
			b.attachLocked(l, key, s, lease)
		}
	}
}

// attachLocked lets a listener hear what is said on the connection of key. hub.mu
// is held.
func (b *Broker) attachLocked(l *listener, key pool.Key, s *jackfield.Server, lease pool.Lease[Conn]) {
	if _, in := b.hub.listeners[l]; !in || b.hub.closed {
		return
	}
	ln := b.hub.lines[key]
	if ln != nil && ln.silent != nil && ln.silent != lease.Conn() {
		b.startLocked(ln) // a new connection: perhaps this one tells something
	}
	if ln == nil {
		ln = &line{
			key: key, server: s.Name,
			want:      connections.Want{Server: *s, Owner: l.owner, Session: l.c.Session, Caps: l.c.Caps.Declared},
			poke:      make(chan struct{}, 1),
			listeners: map[*listener]struct{}{}, wanted: map[feed]int{},
		}
		b.hub.lines[key] = ln
		put(b.hub.byServer, key.Server, ln)
		b.startLocked(ln)
	}
	ln.joinLocked(l)
}

// joinLocked adds a listener to those who hear what is said on a line. hub.mu is
// held.
func (ln *line) joinLocked(l *listener) {
	if _, on := ln.listeners[l]; on {
		return
	}
	ln.listeners[l] = struct{}{}
	l.lines[ln] = struct{}{}
	for _, f := range l.feeds(ln.key.Server) {
		ln.wanted[f]++
	}
	ln.look()
	l.box.poke()
}

// startLocked begins to listen on a line. hub.mu is held.
func (b *Broker) startLocked(ln *line) {
	ctx, cancel := context.WithCancel(context.Background())
	ln.cancel, ln.silent, ln.agreed = cancel, nil, map[feed]bool{}
	b.hub.running.Go(func() {
		defer cancel()
		b.run(ctx, ln)
	})
}

func (ln *line) look() {
	select {
	case ln.poke <- struct{}{}:
	default:
	}
}

// detachLocked ends a listener's part in a line, and the line with the last. hub.mu
// is held.
func (b *Broker) detachLocked(l *listener, ln *line) {
	delete(l.lines, ln)
	delete(ln.listeners, l)
	for _, f := range l.feeds(ln.key.Server) {
		ln.unwantLocked(f)
	}
	ln.look()
	if len(ln.listeners) == 0 {
		b.endLocked(ln)
	}
}

// unwantLocked takes back one wish for a feed. hub.mu is held.
func (ln *line) unwantLocked(f feed) {
	if ln.wanted[f]--; ln.wanted[f] <= 0 {
		delete(ln.wanted, f)
		delete(ln.agreed, f)
	}
}

// endLocked ends a line. hub.mu is held.
func (b *Broker) endLocked(ln *line) {
	for l := range ln.listeners {
		delete(l.lines, ln)
	}
	clear(ln.listeners)
	if b.hub.lines[ln.key] == ln {
		delete(b.hub.lines, ln.key)
		drop(b.hub.byServer, ln.key.Server, ln)
	}
	ln.cancel()
}

// run listens on a line until it ends, is lost, or turns out to be silent.
func (b *Broker) run(ctx context.Context, ln *line) {
	lease, err := b.acquire(ctx, ln)
	if err != nil {
		b.lost(ctx, ln)
		return
	}
	feeds := b.listenOn(ctx, ln, lease)
	for {
		feeds.adjust()
		select {
		case <-ctx.Done():
			feeds.stop()
			lease.Release()
			return
		case <-ln.poke:
		case <-lease.Stale():
			next, err := b.acquire(ctx, ln)
			if err != nil {
				feeds.stop()
				lease.Release()
				b.lost(ctx, ln)
				return
			}
			// The new one listens before the old one stops.
			old, before := feeds, lease
			b.hub.mu.Lock()
			ln.missLocked()
			ln.agreed = map[feed]bool{}
			b.hub.mu.Unlock()
			lease, feeds = next, b.listenOn(ctx, ln, next)
			feeds.adjust()
			feeds.moved(ctx)
			old.stop()
			before.Release()
		case end := <-feeds.ended:
			if lease.Conn().Err() != nil {
				feeds.stop()
				lease.Release()
				b.lost(ctx, ln)
				return
			}
			if feeds.over(end) && b.silence(ln, feeds, lease.Conn()) {
				feeds.stop()
				lease.Release()
				return
			}
		}
	}
}

var errMoved = errors.New("the connection stands under another key now")

// acquire takes a lease on the line's connection.
func (b *Broker) acquire(ctx context.Context, ln *line) (pool.Lease[Conn], error) {
	ctx, cancel := context.WithTimeout(ctx, waitAcquire)
	defer cancel()
	want := ln.want
	if s, ok := b.server(ln.key.Server); ok {
		want.Server = *s
	}
	lease, err := b.o.Connections.Acquire(ctx, want)
	if err == nil && lease.Key() != ln.key {
		lease.Release()
		return lease, errMoved
	}
	return lease, err
}

// lost takes a line away from those who listen to it, and makes a new one for
// those who named its server.
func (b *Broker) lost(ctx context.Context, ln *line) {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	if ctx.Err() != nil {
		return // it was ended
	}
	_, ok := b.o.Lookup(ln.key.Server)
	ln.missLocked()
	for l := range ln.listeners {
		if ok && l.keeps(ln.key.Server) {
			b.connectLocked(l, ln.key.Server)
		}
		l.box.poke()
	}
	b.endLocked(ln)
}

// silence notes that nothing can be heard on a line, if that is so, and reports
// whether it is. What its server says in answers to calls is heard all the same.
func (b *Broker) silence(ln *line, f *feeds, c Conn) bool {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	for wanted := range ln.wanted {
		if !f.mute[wanted] {
			return false
		}
	}
	ln.silent = c
	return true
}

// connectLocked makes a connection to the server for the listener's sake, again
// and again until there is one. hub.mu is held.
func (b *Broker) connectLocked(l *listener, id jackfield.ServerID) {
	if l.ctx.Err() != nil || b.hub.closed {
		return
	}
	again := l.tried[id]
	if !again {
		l.tried[id] = false
	}
	l.work.Go(func() { b.connect(l, id, again) })
}

func (b *Broker) connect(l *listener, id jackfield.ServerID, again bool) {
	pause := firstAgain
	for {
		if again {
			timer := time.NewTimer(pause/2 + rand.N(pause/2)) //nolint:gosec // no secret depends on it
			select {
			case <-timer.C:
			case <-l.ctx.Done():
				timer.Stop()
				return
			}
			pause = min(2*pause, lastAgain)
		}
		again = true
		s, ok := b.server(id)
		if !ok || !b.wanted(l, id) {
			return
		}
		ctx, cancel := context.WithTimeout(l.ctx, waitAcquire)
		lease, err := b.o.Connections.Acquire(ctx, connections.Want{Server: *s, Owner: l.owner, Session: l.c.Session, Caps: l.c.Caps.Declared})
		cancel()
		key := lease.Key()
		b.hub.mu.Lock()
		l.tried[id] = true
		wanted := l.keeps(id) && !l.on(id)
		if err == nil && wanted {
			b.attachLocked(l, key, s, lease)
		}
		b.hub.mu.Unlock()
		l.box.poke()
		if err == nil {
			lease.Release()
		}
		if err == nil || !wanted || l.ctx.Err() != nil {
			return
		}
	}
}

// wanted reports whether a connection to the server is still to be made for the
// listener's sake.
func (b *Broker) wanted(l *listener, id jackfield.ServerID) bool {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	return l.keeps(id)
}

// feeds are what is being listened for on one connection.
type feeds struct {
	b       *Broker
	ln      *line
	conn    Conn
	ctx     context.Context //nolint:containedctx // the goroutines of the feeds end with it
	cancel  context.CancelFunc
	work    sync.WaitGroup
	ended   chan feedEnd
	running map[feed]context.CancelFunc
	mute    map[feed]bool // feeds that the server does not have
	again   map[feed]int  // failures of feeds in a row
}

type feedEnd struct {
	feed feed
	err  error
}

func (b *Broker) listenOn(ctx context.Context, ln *line, lease pool.Lease[Conn]) *feeds {
	f := &feeds{
		b: b, ln: ln, conn: lease.Conn(), ended: make(chan feedEnd),
		running: map[feed]context.CancelFunc{}, mute: map[feed]bool{}, again: map[feed]int{},
	}
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f
}

// adjust starts and ends feeds as they are wanted.
func (f *feeds) adjust() {
	f.b.hub.mu.Lock()
	var missing []feed
	for one := range f.ln.wanted {
		if f.running[one] == nil && !f.mute[one] {
			missing = append(missing, one)
		}
	}
	for one, cancel := range f.running {
		if f.ln.wanted[one] == 0 {
			cancel()
			delete(f.running, one)
		}
	}
	f.b.hub.mu.Unlock()
	for _, one := range missing {
		ctx, cancel := context.WithCancel(f.ctx)
		f.running[one] = cancel
		pause := time.Duration(0)
		if n := f.again[one]; n > 0 {
			pause = min(lastAgain, firstAgain<<min(n-1, 10))
			pause = pause/2 + rand.N(pause/2) //nolint:gosec // no secret depends on it
		}
		f.work.Go(func() { f.listen(ctx, one, pause) })
	}
}

// listen keeps one feed open. It tells why it ended, but for one that was ended.
func (f *feeds) listen(ctx context.Context, one feed, pause time.Duration) {
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
	told := func() {}
	var once sync.Mutex // protects told
	in := one.interest()
	in.Ready = func(agreed exchange.Interest) {
		stop := f.ready(one, agreed)
		once.Lock()
		defer once.Unlock()
		told = stop
	}
	err := f.conn.Listen(ctx, in)
	once.Lock()
	told()
	once.Unlock()
	select {
	case f.ended <- feedEnd{one, err}:
	case <-ctx.Done():
	}
}

// ready notes what the server agreed to. For as long as it tells of changes, what
// it lists stays fresh.
func (f *feeds) ready(one feed, agreed exchange.Interest) (stop func()) {
	ok := agreed.Lists || len(agreed.URIs) > 0 || len(agreed.Tasks) > 0
	f.b.said(f.ln, one, ok)
	if one != (feed{}) || !ok {
		return func() {}
	}
	f.b.hub.mu.Lock()
	missed := f.ln.missedListsLocked()
	f.b.hub.mu.Unlock()
	if missed {
		f.b.listsMissed(f.ln, f.conn)
	}
	caps := capabilitiesOf(f.conn.Shape())
	s, known := f.b.server(f.ln.key.Server)
	if !known || !caps.tells() {
		return func() {}
	}
	return f.b.o.Catalog.Streaming(*s, f.ln.key.Scope)
}

// over takes note of a feed that ended, and reports whether it is gone for good.
func (f *feeds) over(end feedEnd) bool {
	if cancel := f.running[end.feed]; cancel != nil {
		cancel()
		delete(f.running, end.feed)
	}
	if errors.Is(end.err, exchange.ErrNoStream) {
		f.mute[end.feed] = true
		f.b.said(f.ln, end.feed, false)
		return true
	}
	f.again[end.feed]++
	return false
}

// stop ends all feeds and waits for them.
func (f *feeds) stop() {
	f.cancel()
	f.work.Wait()
}

// said notes whether a server tells what a feed is for.
func (b *Broker) said(ln *line, f feed, agreed bool) {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	if ln.wanted[f] == 0 {
		return
	}
	ln.agreed[f] = agreed
	ln.look()
	if agreed && f.uri != "" {
		b.caughtUpLocked(ln, f.uri)
	}
	for l := range ln.listeners {
		l.box.poke()
	}
}
