package broker

import (
	"sync"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
)

// maxClasses is how many views are kept of one snapshot. More classes of
// principals than this cost the rebuilding of views.
const maxClasses = 256

// classes are the views of those who see the same servers.
type classes struct {
	mu    sync.Mutex               // protects what follows
	views map[string]*catalog.View // by the set of servers, a bit for each
}

// of is the view of the principal.
func (cs *classes) of(b *Broker, vs *views, p jackfield.Principal) *catalog.View {
	set := make([]byte, (len(vs.servers)+7)/8)
	var seen []jackfield.Server
	for i := range vs.servers {
		if b.allowed(p, &vs.servers[i]) {
			set[i/8] |= 1 << (i % 8)
			seen = append(seen, vs.servers[i])
		}
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if v := cs.views[string(set)]; v != nil {
		return v
	}
	if cs.views == nil || len(cs.views) >= maxClasses {
		cs.views = map[string]*catalog.View{}
	}
	v := b.o.Catalog.View(seen).Private()
	cs.views[string(set)] = v
	return v
}
