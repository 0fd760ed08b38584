package broker

import (
	"sync/atomic"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
)

// class is the class of the principal, as things are now.
func (b *Broker) class(p jackfield.Principal) *class {
	servers := b.o.Sees(p)
	if cl := b.classes.find(servers); cl != nil {
		return cl
	}
	cl := &class{
		servers: servers,
		public:  b.o.Public != nil && b.o.Public(servers),
		byName:  make(map[string]int, len(servers)),
		byID:    make(map[jackfield.ServerID]int, len(servers)),
		only:    make([]atomic.Pointer[catalog.View], len(servers)),
		all:     b.o.Catalog.View(servers),
	}
	if !cl.public {
		cl.all.Private()
	}
	for i := range servers {
		cl.byName[servers[i].Name] = i
		if servers[i].Invalid == "" {
			cl.byID[servers[i].ID] = i
		}
	}
	return b.classes.add(cl)
}

// view is what the caller sees.
func (b *Broker) view(c *Caller) (*class, *catalog.View, error) {
	cl := b.class(c.Principal)
	if c.Only == "" {
		return cl, cl.all, nil
	}
	if err := cl.usable(c.Only); err != nil {
		return nil, nil, err
	}
	i := cl.byName[c.Only]
	v := cl.only[i].Load()
	if v == nil {
		v = b.o.Catalog.Only(cl.servers[i])
		if !cl.public {
			v.Private()
		}
		if !cl.only[i].CompareAndSwap(nil, v) {
			v = cl.only[i].Load()
		}
	}
	return cl, v, nil
}

// usable is why the server of that name cannot be used; nil: it can be.
func (cl *class) usable(name string) error {
	s, ok := cl.named(name)
	switch {
	case !ok:
		return cl.unknownServer(name)
	case s.Invalid != "":
		return jackfield.Errorf(jackfield.Unavailable, "the definition of server %q cannot be used: %s", s.Name, s.Invalid)
	}
	return nil
}

// server is the definition of a server as it is now, whoever sees it.
func (b *Broker) server(id jackfield.ServerID) (*jackfield.Server, bool) {
	s, ok := b.o.Lookup(id)
	return &s, ok
}
