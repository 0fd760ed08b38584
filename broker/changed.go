package broker

import (
	"maps"
	"slices"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
)

// atOnce is how many listeners learn what they see now before others get at the hub.
const atOnce = 1000

// Changed says that principals may see other servers than before, or see them
// differently, and that those removed are no more. Whoever listens and sees
// something else now is told that lists have changed; it hears no more of servers
// that it has lost, and its subscriptions there are over.
func (b *Broker) Changed(removed []jackfield.ServerID) {
	b.changes.Add(1)
	b.classes.changed()
	b.changing.Lock()
	defer b.changing.Unlock()
	b.hub.mu.Lock()
	listeners := slices.Collect(maps.Keys(b.hub.listeners))
	b.hub.mu.Unlock()
	now := moves{}
	for some := range slices.Chunk(listeners, atOnce) {
		b.move(now, some...)
	}
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	for _, id := range removed {
		for ln := range b.hub.byServer[id] {
			b.endLocked(ln)
		}
	}
}

// look sees to it that a listener knows what it sees now.
func (b *Broker) look(l *listener) {
	b.changing.Lock()
	defer b.changing.Unlock()
	b.move(moves{}, l)
}

// moves are what it means to be of one class after another.
type moves map[[2]*class]*move

// move is what those get and lose who were of one class and are of another.
type move struct {
	kinds        catalog.Kinds // of lists that differ
	lost, gained []jackfield.ServerID
}

// move gives listeners the classes that they are of now. changing is held.
func (b *Broker) move(known moves, listeners ...*listener) {
	now := make([]*class, len(listeners))
	for i, l := range listeners {
		now[i] = b.present(l)
	}
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	for i, l := range listeners {
		if _, in := b.hub.listeners[l]; in && l.cl != now[i] {
			b.moveLocked(l, now[i], known)
		}
	}
}

// present is the class that the listener is of now. changing is held.
func (b *Broker) present(l *listener) *class {
	if same(l.cl.servers, b.o.Sees(l.c.Principal)) {
		return b.classes.add(l.cl)
	}
	return b.class(l.c.Principal)
}

// moveLocked makes the listener one of another class. hub.mu is held, and changing.
func (b *Broker) moveLocked(l *listener, to *class, known moves) {
	between := [2]*class{l.cl, to}
	l.cl = to
	m := known[between]
	if l.c.Only != "" {
		if m = moveOne(between[0], to, l.c.Only); len(m.lost) > 0 && len(m.gained) == 0 && l.c.Session == "" {
			l.lost = to.usable(l.c.Only)
			l.over()
		}
	} else if m == nil {
		m = moveAll(between[0], to)
		known[between] = m
	}
	for _, id := range m.lost {
		b.loseLocked(l, id)
	}
	for _, id := range m.gained {
		b.gainLocked(l, id)
	}
	if m.kinds != 0 {
		l.box.changed(m.kinds)
	}
}

// moveAll is the move of those who see all that the classes do.
func moveAll(from, to *class) *move {
	m := &move{}
	for i := range from.servers {
		id := from.servers[i].ID
		had, usable := from.server(id)
		s, kept := to.server(id)
		switch {
		case !usable:
		case !kept:
			m.lost = append(m.lost, id)
		default:
			m.kinds |= differing(had, s)
		}
	}
	for i := range to.servers {
		id := to.servers[i].ID
		_, usable := to.server(id)
		if _, had := from.server(id); usable && !had {
			m.gained = append(m.gained, id)
		}
		if i < len(from.servers) && from.servers[i].ID != id {
			m.kinds = catalog.AllKinds // they stand in another order
		}
	}
	if len(m.lost)+len(m.gained) > 0 {
		m.kinds = catalog.AllKinds
	}
	return m
}

// moveOne is the move of those who ask the server of that name alone.
func moveOne(from, to *class, name string) *move {
	a, had := from.named(name)
	b, has := to.named(name)
	had, has = had && a.Invalid == "", has && b.Invalid == ""
	m := &move{}
	switch {
	case had && has && a.ID == b.ID:
		m.kinds = differing(a, b)
		return m
	case had || has:
		m.kinds = catalog.AllKinds
	}
	if had {
		m.lost = []jackfield.ServerID{a.ID}
	}
	if has {
		m.gained = []jackfield.ServerID{b.ID}
	}
	return m
}

// differing are the kinds of list in which two definitions of a server may differ.
func differing(a, b *jackfield.Server) catalog.Kinds {
	switch {
	case a.Name != b.Name, a.Revision != b.Revision, a.Version != b.Version:
		return catalog.AllKinds
	case !sameFilter(a.Tools, b.Tools):
		return catalog.SetOf(catalog.Tools)
	}
	return 0
}

func sameFilter(a, b jackfield.ToolFilter) bool {
	return slices.Equal(a.Allow, b.Allow) && slices.Equal(a.Deny, b.Deny) && slices.EqualFunc(a.Also, b.Also, sameFilter)
}

// loseLocked ends all that the listener has to do with a server. hub.mu is held.
func (b *Broker) loseLocked(l *listener, id jackfield.ServerID) {
	for ln := range l.lines {
		if ln.key.Server == id {
			b.detachLocked(l, ln)
		}
	}
	delete(l.uris, id)
	delete(l.tasks, id)
	delete(l.tried, id)
	maps.DeleteFunc(l.missed, func(is own, _ bool) bool { return is.server == id })
	for _, to := range b.recipientsLocked(l) {
		to.box.forget(id)
	}
}

// gainLocked lets the listener hear of a server that it sees from now on, where
// others hear of it, and connects it if it asked for that server. All others hear
// of it once somebody calls it. hub.mu is held.
func (b *Broker) gainLocked(l *listener, id jackfield.ServerID) {
	for ln := range b.hub.byServer[id] {
		if b.hears(l, ln.key) {
			ln.joinLocked(l)
		}
	}
	b.keepLocked(l, id)
}
