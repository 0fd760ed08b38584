package connections

import (
	"context"
	"sync"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/pool"
)

// window is how many servers GetMany and All open at a time.
const window = 3

// Repository is a board as one scope sees it. A name is what Options.Find makes of
// it.
type Repository[C pool.Conn] struct {
	board *Board[C]
	scope jackfield.Scope
}

// Repository gives the connections of one scope.
func (b *Board[C]) Repository(scope jackfield.Scope) *Repository[C] {
	return &Repository[C]{board: b, scope: scope}
}

// Outcome is what became of one name: a lease to release, or the reason why there is
// none.
type Outcome[C pool.Conn] struct {
	Lease pool.Lease[C]
	Err   error
}

// Outcomes are the outcomes by name.
type Outcomes[C pool.Conn] map[string]Outcome[C]

// Release releases every lease.
func (o Outcomes[C]) Release() {
	for _, one := range o {
		one.Lease.Release()
	}
}

// Has says whether the scope may connect to the server of that name, and if not,
// why. It changes nothing.
func (r *Repository[C]) Has(name string) jackfield.Access {
	if _, err := r.find(name); err != nil {
		return jackfield.Refuse(err.Error())
	}
	return jackfield.Allow()
}

// Get gives a lease on the connection to the server of that name, dialing it when
// there is none, or the reason why not. The caller releases the lease.
func (r *Repository[C]) Get(ctx context.Context, name string) (pool.Lease[C], error) {
	s, err := r.find(name)
	if err != nil {
		return pool.Lease[C]{}, err
	}
	return r.board.acquire(ctx, &Want{Server: s, Owner: r.scope}, false)
}

// GetMany gets several servers, three at a time: as soon as one is there or has
// failed, the next begins. Each name has its own outcome; when ctx ends, that is
// the reason of those that are missing.
func (r *Repository[C]) GetMany(ctx context.Context, names ...string) Outcomes[C] {
	out := make(Outcomes[C], len(names))
	todo := make([]string, 0, len(names))
	for _, name := range names {
		if _, twice := out[name]; !twice {
			out[name] = Outcome[C]{}
			todo = append(todo, name)
		}
	}
	var mu sync.Mutex // guards out and next
	next := 0
	var wg sync.WaitGroup
	for range min(window, len(todo)) {
		wg.Go(func() {
			for {
				mu.Lock()
				if next == len(todo) {
					mu.Unlock()
					return
				}
				name := todo[next]
				next++
				mu.Unlock()
				l, err := r.Get(ctx, name)
				mu.Lock()
				out[name] = Outcome[C]{l, err}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return out
}

// Loaded gives a lease on each connection that is open now, by name. It dials
// nothing and checks nothing with anybody.
func (r *Repository[C]) Loaded() map[string]pool.Lease[C] {
	out := make(map[string]pool.Lease[C])
	for l := range r.board.Loaded(r.scope, "") {
		if name, ok := r.name(l.Key().Server); ok {
			out[name] = l
		} else {
			l.Release() // everybody's, but for this scope
		}
	}
	return out
}

// All gets every server that the scope sees, as GetMany does; those that it may not
// use have the reason as their outcome.
func (r *Repository[C]) All(ctx context.Context) Outcomes[C] {
	servers := r.board.o.All(r.scope)
	names := make([]string, len(servers))
	for i := range servers {
		names[i] = servers[i].Name
	}
	return r.GetMany(ctx, names...)
}

// Disconnect takes the scope's own connections to a server out of use, those being
// dialed included, and waits until they are closed: calls on them may finish. It
// returns the cause of ctx when that ends first; the closing goes on. A connection
// that everybody shares is the app scope's to disconnect.
func (r *Repository[C]) Disconnect(ctx context.Context, name string) error {
	s, err := r.board.o.Find(r.scope, name)
	if err != nil {
		return err
	}
	return r.drain(ctx, func(k pool.Key) bool { return k.Scope == r.scope && k.Server == s.ID })
}

// DisconnectAll is Disconnect for all servers.
func (r *Repository[C]) DisconnectAll(ctx context.Context) error {
	return r.drain(ctx, func(k pool.Key) bool { return k.Scope == r.scope })
}

func (r *Repository[C]) drain(ctx context.Context, match func(pool.Key) bool) error {
	r.board.pool.Drain(match)
	return r.board.pool.Drained(ctx, match)
}

// find looks a server up and checks that the scope may connect to it.
func (r *Repository[C]) find(name string) (jackfield.Server, error) {
	s, err := r.board.o.Find(r.scope, name)
	if err != nil {
		return s, err
	}
	return s, r.board.forbidden(&s, r.scope)
}

// name is what the scope calls a server; false: it does not see it.
func (r *Repository[C]) name(id jackfield.ServerID) (string, bool) {
	known, ok := r.board.o.Lookup(id)
	if !ok {
		return "", false
	}
	s, err := r.board.o.Find(r.scope, known.Name)
	return s.Name, err == nil && s.ID == id
}
