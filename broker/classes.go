package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
)

// Bounds of the classes that are kept. More than this cost the making of views anew.
const (
	maxClasses = 1024
	maxSeen    = 1 << 17 // servers that all of them see, counted for each

	fade = time.Minute // how long after a change those are kept that nobody was of since
)

// class is what those have in common who see the same servers, as they take effect
// for them: Options.Sees returns the same slice for each of them.
type class struct {
	servers []jackfield.Server
	public  bool
	byName  map[string]int
	byID    map[jackfield.ServerID]int // of those that can be used
	all     *catalog.View
	only    []atomic.Pointer[catalog.View] // of each server; made when somebody looks
}

// same reports whether two slices are one and the same.
func same(a, b []jackfield.Server) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// server finds a server that the class sees and that can be used.
func (cl *class) server(id jackfield.ServerID) (*jackfield.Server, bool) {
	i, ok := cl.byID[id]
	if !ok {
		return nil, false
	}
	return &cl.servers[i], true
}

// named finds a server that the class sees by its name.
func (cl *class) named(name string) (*jackfield.Server, bool) {
	i, ok := cl.byName[name]
	if !ok {
		return nil, false
	}
	return &cl.servers[i], true
}

// classes are those that were looked at of late.
type classes struct {
	mu     sync.Mutex                      // protects what follows
	recent *lru[*jackfield.Server, *class] // by the first of their servers
	n      int                             // servers that the recent ones see
	// before are those of the time before the last change. What of it nobody sees any
	// more is dropped when it is over for long enough.
	before *lru[*jackfield.Server, *class]
	drop   time.Time
}

func newClasses() *classes {
	return &classes{recent: &lru[*jackfield.Server, *class]{}, before: &lru[*jackfield.Server, *class]{}}
}

// find is the class of those who see the servers; nil when it is not known.
func (cs *classes) find(servers []jackfield.Server) *class {
	key := first(servers)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cl, ok := cs.recent.get(key); ok && same(cl.servers, servers) {
		cs.fadeLocked()
		return cl
	}
	if cl, ok := cs.before.get(key); ok && same(cl.servers, servers) {
		return cs.addLocked(cl)
	}
	return nil
}

// fadeLocked drops what nobody saw since the last change. mu is held.
func (cs *classes) fadeLocked() {
	if cs.before.order.Len() > 0 && time.Now().After(cs.drop) {
		cs.before = &lru[*jackfield.Server, *class]{}
	}
}

// add keeps a class, and returns the one that was kept meanwhile instead.
func (cs *classes) add(cl *class) *class {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.addLocked(cl)
}

// addLocked is add. mu is held.
func (cs *classes) addLocked(cl *class) *class {
	key := first(cl.servers)
	cs.before.remove(key)
	cs.fadeLocked()
	if was, ok := cs.recent.get(key); ok {
		if same(was.servers, cl.servers) {
			return was
		}
		cs.n -= len(was.servers)
	}
	cs.n += len(cl.servers)
	cs.recent.put(key, cl, maxClasses+1)
	for cs.recent.order.Len() > maxClasses || cs.n > maxSeen && cs.recent.order.Len() > 1 {
		oldest := cs.recent.order.Back().Value.(*pair[*jackfield.Server, *class])
		cs.n -= len(oldest.value.servers)
		cs.recent.remove(oldest.key)
	}
	return cl
}

// changed says that what principals see may be another.
func (cs *classes) changed() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.before, cs.drop = cs.recent, time.Now().Add(fade)
	cs.recent, cs.n = &lru[*jackfield.Server, *class]{}, 0
}

// first tells slices apart, all but empty ones, which are alike.
func first(servers []jackfield.Server) *jackfield.Server {
	if len(servers) == 0 {
		return nil
	}
	return &servers[0]
}
