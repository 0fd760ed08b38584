package broker

import (
	"context"
	"sync"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
)

// flights counts the calls that are under way, in all and for each principal. A
// principal without one is not in the table, so the table is no longer than there
// may be calls.
type flights struct {
	mu    sync.Mutex // guards what follows
	total int
	of    map[string]int
}

// take notes one more call, or says which limit it is over.
func (f *flights) take(who string, s *jackfield.Server, most *Limits) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch mine := f.of[who]; {
	case f.total >= most.Calls:
		return jackfield.OverLimit("limits.calls.total",
			"%d calls are under way, so server %q is not asked; try again when some have ended", f.total, s.Name)
	case mine >= most.OwnerCalls:
		return jackfield.OverLimit("limits.calls.perOwner",
			"%d calls of yours are under way, so server %q is not asked; try again when some have ended", mine, s.Name)
	default:
		f.total++
		f.of[who] = mine + 1
	}
	return nil
}

// give notes that a call has ended.
func (f *flights) give(who string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total--
	if f.of[who]--; f.of[who] == 0 {
		delete(f.of, who)
	}
}

// Load is how much of the limits is in use.
type Load struct {
	Calls   int // under way
	Callers int // principals who have calls under way
}

// Load counts, for metrics.
func (b *Broker) Load() Load {
	b.flights.mu.Lock()
	defer b.flights.mu.Unlock()
	return Load{Calls: b.flights.total, Callers: len(b.flights.of)}
}

// Limits are those in force.
func (b *Broker) Limits() Limits { return b.o.Limits }

// admit is why the caller may not ask the server now; nil when it may.
func (b *Broker) admit(c *Caller, s *jackfield.Server) error {
	if b.o.Admit == nil {
		return nil
	}
	return b.o.Admit(c.Principal, s)
}

// counted asks within the limits on calls and on results.
func (q *query) counted(ctx context.Context, s *jackfield.Server) (exchange.Result, error) {
	who := q.c.Principal.Subject
	if err := q.b.flights.take(who, s, &q.b.o.Limits); err != nil {
		return exchange.Result{}, err
	}
	defer q.b.flights.give(who)
	if err := q.b.admit(q.c, s); err != nil {
		return exchange.Result{}, err
	}
	res, err := q.ask(ctx, s)
	if most := q.b.o.Limits.Result; err == nil && most > 0 && len(res.Raw) > most {
		return exchange.Result{}, jackfield.OverLimit("limits.result",
			"server %q answered %s with %d bytes, and an answer may have %d; ask for less", s.Name, q.r.Method, len(res.Raw), most)
	}
	return res, err
}
