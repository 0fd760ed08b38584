package upstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// Conn is a connection to one server. Its methods may be called concurrently.
type Conn struct {
	opts  Options
	caps  exchange.Capabilities          // what opts.Caps declares
	shape atomic.Pointer[exchange.Shape] // set once, by the dial
	link  link

	life context.Context //nolint:containedctx // the connection's own life, ended by Close, Abort or the server
	end  context.CancelCauseFunc

	calls      calls
	questions  questions
	pause      pause
	level      logLevel
	ear        ear
	attendance attendance
	crew       crew
	ending     ending
}

// link carries messages to a server and back.
type link interface {
	// admit gets x ready, before anything can arrive for it.
	admit(x *call)
	// do sends a call, hands everything that arrives for it to Conn.receive, and
	// returns its response.
	do(ctx context.Context, x *call) (wire.Message, error)
	// send sends a message that gets no response.
	send(ctx context.Context, m outgoing) error
	// abandon lets the server know that nobody waits for x any more.
	abandon(x *call, why error)
	// close ends the link politely; when ctx ends, at once.
	close(ctx context.Context) error
}

// outgoing is a notification, or the answer to a question of the server's.
type outgoing struct {
	method string // of a notification; empty: an answer
	text   []byte
}

// Dial connects to a server and finds out what it speaks, unless o.Shape says
// so. Its errors are *jackfield.Error with a *DialError inside.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	o = o.withDefaults()
	caps, err := exchange.ParseCapabilities(wire.Raw(o.Caps))
	if err != nil {
		return nil, fmt.Errorf("upstream: Options.Caps: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.InitTimeout)
	defer cancel()
	var came stages
	ctx = came.watch(ctx)
	c, err := dial(ctx, o, caps)
	if errors.Is(err, errDiedOfDiscover) {
		again := o
		again.Shape = &exchange.Shape{Version: exchange.LatestLegacy}
		c, err = dial(ctx, again, caps)
	}
	if err != nil {
		return nil, o.dialError(err, came.at())
	}
	if h := o.Hooks.Shape; h != nil && (o.Shape == nil || !sameShape(*o.Shape, c.Shape())) {
		h(c.Shape())
	}
	return c, nil
}

// dial makes one attempt.
func dial(ctx context.Context, o Options, caps exchange.Capabilities) (*Conn, error) {
	c := &Conn{opts: o, caps: caps}
	c.live(context.Background()) //nolint:contextcheck // it outlives the dial, and would keep all of its contexts
	c.questions.turn = make(chan struct{}, 1)
	err := c.connect(ctx)
	c.opts.Shape = nil // c.shape says more now
	if err == nil {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = c.Close(ctx) // why the dial failed says more
	return nil, err
}

// live begins the connection's life. Its end is the end of every open call.
func (c *Conn) live(ctx context.Context) {
	life, end := context.WithCancelCause(ctx)
	c.life, c.end = life, func(reason error) {
		end(reason)
		c.calls.cut(interrupted(context.Cause(life)))
	}
}

// closeTimeout bounds the end of a connection that was never used.
const closeTimeout = 5 * time.Second

// Shape is what the dial learned of the server.
func (c *Conn) Shape() exchange.Shape {
	if shape := c.shape.Load(); shape != nil {
		return *shape
	}
	return exchange.Shape{}
}

func (c *Conn) modern() bool {
	shape := c.shape.Load()
	return shape != nil && shape.Modern()
}

// Err is why nothing new can go over the connection; nil while it can be used.
func (c *Conn) Err() error {
	if c.life.Err() != nil {
		return context.Cause(c.life)
	}
	if f := c.ending.spent.Load(); f != nil {
		return f
	}
	return nil
}

// Do sends a request and waits for its result. While it is open, notifications
// and questions of the server go to peer; with a nil peer they are dropped and
// declined. When ctx ends the server is told, and Do returns. Every error is a
// *jackfield.Error, but for that of a caller who left; NotSent tells more.
func (c *Conn) Do(ctx context.Context, r *exchange.Request, peer exchange.Peer) (exchange.Result, error) {
	if err := c.pause.refusal(); err != nil {
		return exchange.Result{}, c.opts.callError(r.Method, err)
	}
	res, err := c.do(ctx, r, peer)
	if err != nil {
		c.pause.heed(err)
		return exchange.Result{}, c.opts.callError(r.Method, err)
	}
	return res, nil
}

func (c *Conn) do(ctx context.Context, r *exchange.Request, peer exchange.Peer) (exchange.Result, error) {
	done, err := c.questions.takeTurn(ctx, c, r, peer)
	if err != nil {
		return exchange.Result{}, err
	}
	defer done()
	x := newCall(r.Method)
	// Progress is of use to whoever waits, and shows that somebody is at work, also
	// when the client does not want to hear of it: its face keeps it back.
	x.peer, x.progress = peer, peer != nil
	x.effect = max(x.effect, r.Effect)
	var res exchange.Result
	if c.modern() {
		res, err = c.doModern(ctx, x, r)
	} else {
		res, err = c.doLegacy(ctx, x, r)
	}
	c.note(x, err)
	return res, err
}

// roundTrip sends x and waits for the response.
func (c *Conn) roundTrip(ctx context.Context, x *call) (wire.Message, error) {
	if err := c.Err(); err != nil {
		return wire.Message{}, gone(err)
	}
	c.link.admit(x)
	own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	x.cancel = cancel
	if !c.calls.enter(x, c.opts.Limits.Calls) {
		cancel(nil)
		return wire.Message{}, &failure{
			code: jackfield.Exhausted, notSent: true,
			what: fmt.Sprintf("%d calls are open on one connection already; try again when some have ended", c.opts.Limits.Calls),
		}
	}
	defer c.questions.dropOf(x)
	defer c.calls.leave(x)
	if err := c.Err(); err != nil { // it came too late to be cut
		cancel(nil)
		return wire.Message{}, gone(err)
	}
	detach := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	m, err := c.link.do(own, x)
	detach()
	if !x.lent {
		cancel(nil)
	}
	if err == nil {
		return m, nil
	}
	if ctx.Err() != nil && c.life.Err() == nil && !x.handshake() {
		err = context.Cause(ctx)
		c.link.abandon(x, err)
	}
	return wire.Message{}, err
}

// interrupted is why a call ended that was open at the connection's end. What is
// true of the call that ended it, that the server never took it, is not known of
// the others.
func interrupted(reason error) error {
	if f, ok := reason.(*failure); ok && f.notSent { //nolint:errorlint // the reason itself, not one inside it
		other := *f
		other.notSent = false
		return &other
	}
	return reason
}

// gone is the failure of a call that comes after the connection's end.
func gone(err error) *failure {
	f := *asFailure(err)
	f.notSent = true
	return &f
}

// join returns a context that ends with ctx and with the connection.
func (c *Conn) join(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.life, func() { cancel(context.Cause(c.life)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// Notify sends a notification of the client's: roots/list_changed, a vendor's.
// What the server's protocol revision has no place for is dropped.
func (c *Conn) Notify(ctx context.Context, method string, params wire.Raw) error {
	if c.modern() && method == "notifications/roots/list_changed" {
		return nil
	}
	if err := c.notify(ctx, method, params); err != nil {
		return c.opts.callError(method, err)
	}
	return nil
}

func (c *Conn) notify(ctx context.Context, method string, params wire.Raw) error {
	if err := c.Err(); err != nil {
		return gone(err)
	}
	ctx, leave := c.join(ctx)
	defer leave()
	err := c.link.send(ctx, outgoing{method, wire.AppendNotification(nil, method, params)})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Abort cuts the connection: whatever is open on it fails at once with reason,
// and so does what comes later. Close still has to follow.
func (c *Conn) Abort(reason error) { c.end(reason) }

// Close ends the connection politely: the session is deleted, the process asked
// to end. When ctx ends first it is less polite. It returns nil when nothing is
// left running.
func (c *Conn) Close(ctx context.Context) error {
	c.end(&failure{code: jackfield.Unavailable, what: errClosed.Error(), err: errClosed})
	c.crew.dismiss()
	c.attendance.end(c)
	var err error
	if c.link != nil {
		err = c.link.close(ctx)
	}
	if late := c.crew.wait(ctx); err == nil {
		err = late
	}
	return err
}

// crew are the goroutines of a connection.
type crew struct {
	wg sync.WaitGroup

	mu        sync.Mutex // guards what follows
	n         int
	dismissed bool
}

// maxCrew is more than the calls that may be open: each may leave the end of a
// stream to be read.
const maxCrew = 2 * defaultCalls

// run starts f unless the connection is being closed or has too much to do.
func (w *crew) run(f func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dismissed || w.n >= maxCrew {
		return false
	}
	w.n++
	w.wg.Go(func() {
		defer w.done()
		f()
	})
	return true
}

func (w *crew) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n--
}

// dismiss lets nobody start any more.
func (w *crew) dismiss() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dismissed = true
}

// wait waits until all have ended, or ctx has.
func (w *crew) wait(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		w.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("upstream: still running: %w", context.Cause(ctx))
	}
}
