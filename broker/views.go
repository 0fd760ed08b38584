package broker

import (
	"sync/atomic"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
)

// views are the views of one snapshot of the registry.
type views struct {
	servers []jackfield.Server
	byName  map[string]int
	byID    map[jackfield.ServerID]int
	only    []atomic.Pointer[catalog.View] // of each server; made when somebody looks
	all     *catalog.View                  // of those who see everything
	classes classes                        // of those who do not
}

// current is what belongs to the present snapshot.
func (b *Broker) current() *views {
	servers := b.o.Servers()
	if v := b.views.Load(); v != nil && same(v.servers, servers) {
		return v
	}
	b.viewing.Lock()
	defer b.viewing.Unlock()
	if v := b.views.Load(); v != nil && same(v.servers, servers) {
		return v
	}
	v := &views{
		servers: servers,
		byName:  make(map[string]int, len(servers)),
		byID:    make(map[jackfield.ServerID]int, len(servers)),
		only:    make([]atomic.Pointer[catalog.View], len(servers)),
		all:     b.o.Catalog.View(servers),
	}
	for i := range servers {
		v.byName[servers[i].Name] = i
		v.byID[servers[i].ID] = i
	}
	b.views.Store(v)
	return v
}

// same reports whether two slices are one and the same snapshot.
func same(a, b []jackfield.Server) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// server finds a definition of the present snapshot.
func (b *Broker) server(id jackfield.ServerID) (*jackfield.Server, bool) {
	vs := b.current()
	i, ok := vs.byID[id]
	if !ok {
		return nil, false
	}
	return &vs.servers[i], true
}

// view is what the caller sees.
func (b *Broker) view(c *Caller) (*catalog.View, error) {
	vs := b.current()
	if c.Only == "" {
		if b.o.Access == nil {
			return vs.all, nil
		}
		return vs.classes.of(b, vs, c.Principal), nil
	}
	i, ok := vs.byName[c.Only]
	if !ok || !b.allowed(c.Principal, &vs.servers[i]) {
		return nil, b.unknownServer(vs, c)
	}
	if s := &vs.servers[i]; s.Invalid != "" {
		return nil, jackfield.Errorf(jackfield.Unavailable, "the definition of server %q cannot be used: %s", s.Name, s.Invalid)
	}
	v := vs.only[i].Load()
	if v == nil {
		v = b.o.Catalog.Only(vs.servers[i])
		if b.o.Access != nil {
			v.Private()
		}
		if !vs.only[i].CompareAndSwap(nil, v) {
			v = vs.only[i].Load()
		}
	}
	return v, nil
}

// allowed reports whether the principal may see and use the server.
func (b *Broker) allowed(p jackfield.Principal, s *jackfield.Server) bool {
	return b.o.Access == nil || b.o.Access(p, *s).Allowed
}
