package gateway

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/jackfield-dev/jackfield"
)

// gate lets requests in, no more at once than it may, and ends those inside when
// it closes.
type gate struct {
	max int

	mu      sync.Mutex // guards what follows, and every visit
	inside  *visit     // the last that came
	counted int        // of those inside, the ones that max is for
	away    int        // calls whose clients are to come back with answers
	closed  error      // why, once it is
	drained chan struct{}
	quiet   chan struct{} // closed when nobody is counted or away any more; nil before quieten

	draining atomic.Bool   // requests are refused; what helps those under way to end is not
	cuts     atomic.Uint64 // how often cut was called
}

// visit is one request inside the gate. It must not be copied.
type visit struct {
	before, after *visit // who came before and after it, of those inside

	who     jackfield.Principal
	end     context.CancelCauseFunc // nil: nothing to end
	gone    error                   // why it has to end; nil: it has not
	settled bool                    // not counted any more
}

func newGate(limit int) *gate {
	return &gate{max: limit, drained: make(chan struct{})}
}

// enter lets a request of who in.
func (g *gate) enter(who jackfield.Principal) (*visit, error) {
	return g.add(&visit{who: who}, nil)
}

// enterFor lets in what the request v was for, and counts it by itself.
func (g *gate) enterFor(v *visit) (*visit, error) {
	return g.add(&visit{}, v)
}

// stay lets in what goes on behind the request v, and is not counted.
func (g *gate) stay(v *visit) (*visit, error) {
	return g.add(&visit{settled: true}, v)
}

// add lets v in, for the same principal as the one that it comes from, if any.
func (g *gate) add(v, from *visit) (*visit, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		return nil, g.closed
	}
	if from != nil {
		v.who, v.gone = from.who, from.gone
	}
	if !v.settled {
		if g.counted >= g.max {
			return nil, jackfield.Errorf(jackfield.Exhausted, "the gateway has all the requests at once that it may have (%d); try again in a moment", g.max)
		}
		g.counted++
	}
	return g.addLocked(v), nil
}

// addLocked lets v in. mu is held.
func (g *gate) addLocked(v *visit) *visit {
	v.before = g.inside
	if v.before != nil {
		v.before.after = v
	}
	g.inside = v
	return v
}

// settle stops counting v: it stays, as a stream, and those have their own bound.
func (g *gate) settle(v *visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settleLocked(v)
}

// settleLocked is settle. mu is held.
func (g *gate) settleLocked(v *visit) {
	if !v.settled {
		v.settled = true
		g.counted--
		g.quietLocked()
	}
}

// expect adds to the calls whose clients are to come back.
func (g *gate) expect(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.away += n
	g.quietLocked()
}

// quieten says that no new requests are wanted. The channel it returns is closed as
// soon as nobody is counted or away.
func (g *gate) quieten() <-chan struct{} {
	g.draining.Store(true)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.quiet == nil {
		g.quiet = make(chan struct{})
		g.quietLocked()
	}
	return g.quiet
}

// quietLocked closes quiet when it is. mu is held.
func (g *gate) quietLocked() {
	if g.quiet == nil || g.counted+g.away > 0 {
		return
	}
	select {
	case <-g.quiet:
	default:
		close(g.quiet)
	}
}

// count is how many are inside, without those that settled.
func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counted
}

// underWay is how many calls are not answered yet.
func (g *gate) underWay() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counted + g.away
}

func (g *gate) leave(v *visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settleLocked(v)
	if v.before != nil {
		v.before.after = v.after
	}
	if v.after != nil {
		v.after.before = v.before
	} else {
		g.inside = v.before
	}
	if g.closed != nil && g.inside == nil {
		close(g.drained)
	}
}

// bind derives the context that ends with ctx and, with the reason, when the
// gate closes or v has to go.
func (g *gate) bind(ctx context.Context, v *visit) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	g.tie(v, cancel)
	return ctx, cancel
}

// tie has end called, with the reason, when the gate closes or v has to go.
func (g *gate) tie(v *visit, end context.CancelCauseFunc) {
	g.mu.Lock()
	v.end = end
	why := v.gone
	if why == nil {
		why = g.closed
	}
	g.mu.Unlock()
	if why != nil {
		end(why)
	}
}

// is says who v is of, as who is known to be now.
func (g *gate) is(v *visit, who jackfield.Principal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v.who = who
}

// gone is why v has to end; nil when it has not.
func (g *gate) gone(v *visit) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return v.gone
}

// cut ends those inside whose principals match.
func (g *gate) cut(match func(jackfield.Principal) bool, reason error) {
	g.mu.Lock()
	g.cuts.Add(1)
	var ends []context.CancelCauseFunc
	for v := g.inside; v != nil; v = v.before {
		if v.gone == nil && match(v.who) {
			v.gone = reason
			if v.end != nil {
				ends = append(ends, v.end)
			}
		}
	}
	g.mu.Unlock()
	for _, end := range ends {
		end(reason)
	}
}

// close lets nobody in any more, for the one reason, and ends who is inside, for
// the other. The channel it returns is closed when everybody has left.
func (g *gate) close(later, inside error) <-chan struct{} {
	g.mu.Lock()
	var ends []context.CancelCauseFunc
	if g.closed == nil {
		g.closed = later
		for v := g.inside; v != nil; v = v.before {
			if v.end != nil {
				ends = append(ends, v.end)
			}
		}
		if g.inside == nil {
			close(g.drained)
		}
	}
	g.mu.Unlock()
	for _, end := range ends {
		end(inside)
	}
	return g.drained
}

// quota counts what is open, in all and for each owner.
type quota struct {
	what      string // in the plural
	limit     string // its name in the configuration; empty: it is not there
	all, each int

	mu    sync.Mutex // guards what follows
	total int
	by    map[string]int
}

func newQuota(what, limit string, all, each int) *quota {
	return &quota{what: what, limit: limit, all: all, each: each, by: make(map[string]int)}
}

// take takes one place for owner; the caller gives it back.
func (q *quota) take(owner string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.total >= q.all:
		return overLimit(q.limit, ".total", "the gateway has all the %s that it may have (%d); try again later", q.what, q.all)
	case q.by[owner] >= q.each:
		return overLimit(q.limit, ".perOwner", "you have all the %s that one caller may have (%d); end some", q.what, q.each)
	}
	q.total++
	q.by[owner]++
	return nil
}

// overLimit is the error of a limit, which names it if the configuration has it.
func overLimit(limit, part, format string, args ...any) error {
	if limit == "" {
		return jackfield.Errorf(jackfield.Exhausted, format, args...)
	}
	return jackfield.OverLimit(limit+part, format, args...)
}

func (q *quota) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.total
}

func (q *quota) give(owner string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total--
	if q.by[owner]--; q.by[owner] == 0 {
		delete(q.by, owner)
	}
}
