package catalog

import (
	"container/list"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/jackfield-dev/jackfield"
)

// What things on the shelf take beside texts, about, in bytes.
const (
	tablesSize = 512
	rowSize    = 96
)

// tables are what one owner is shown of a view, or everybody.
type tables struct {
	view  *View
	owner jackfield.Scope
	of    [numKinds]atomic.Pointer[shown] // nil until somebody looks
	used  atomic.Bool                     // since the shelf was last searched
	place *place
}

// shown is a table, and how fresh it is for those who are shown it.
type shown struct {
	t *table
	f *freshness
}

// built is the table of the kind if it was built from the lists given; nil: it was
// not.
func (ts *tables) built(k Kind, deps []*listing) *table {
	if s := ts.of[k].Load(); s != nil && slices.Equal(s.t.deps, deps) {
		return s.t
	}
	return nil
}

func (ts *tables) put(k Kind, s *shown) {
	ts.of[k].Store(s)
	ts.view.c.shelf.put(ts, k, s.t)
}

// forget drops the tables; whoever looks has them built anew.
func (ts *tables) forget() {
	for k := range ts.of {
		ts.of[k].Store(nil)
	}
	ts.view.mu.Lock()
	defer ts.view.mu.Unlock()
	if ts.view.owners[ts.owner] == ts {
		delete(ts.view.owners, ts.owner)
	}
}

// shelf bounds what the tables of all views take together, and their pages, which are
// quickly written again. When it is full, those go that nobody looked at for longest,
// about. It keeps no view that nobody has any more.
type shelf struct {
	most int // a quarter of it for pages

	mu      sync.Mutex // protects what follows, places, and what tables say of themselves
	ring    list.List  // of *place, those next to go first
	bytes   int        // without pages
	written list.List  // of *table, those of which pages are kept
	pages   int        // bytes of those
}

// place is where tables stand on the shelf.
type place struct {
	tables weak.Pointer[tables]
	held   [numKinds]*table
	at     *list.Element // nil: nothing of it is kept
}

// tables makes tables of a view.
func (s *shelf) tables(v *View, owner jackfield.Scope) *tables {
	ts := &tables{view: v, owner: owner, place: &place{}}
	ts.place.tables = weak.Make(ts)
	runtime.AddCleanup(ts, s.remove, ts.place)
	return ts
}

// put notes that a table is kept. It may be kept in several places, and counts once.
func (s *shelf) put(ts *tables, k Kind, t *table) {
	s.mu.Lock()
	p := ts.place
	if p.at == nil {
		p.at = s.ring.PushBack(p)
		s.bytes += tablesSize
	}
	if was := p.held[k]; was != t {
		s.releaseLocked(was)
		p.held[k] = t
		if t.holders++; t.holders == 1 {
			s.bytes += t.size
			s.countLocked(t)
		}
	}
	over := s.overLocked(p)
	s.mu.Unlock()
	for _, ts := range over {
		ts.forget()
	}
}

// overLocked takes down what there is no room for, but never what stands at keep. mu
// is held.
func (s *shelf) overLocked(keep *place) (over []*tables) {
	for n := 2 * s.ring.Len(); s.bytes > s.most-s.most/4 && s.ring.Len() > 1 && n > 0; n-- {
		p := s.ring.Front().Value.(*place)
		ts := p.tables.Value()
		if p == keep || ts != nil && ts.used.Swap(false) {
			s.ring.MoveToBack(p.at)
			continue
		}
		s.removeLocked(p)
		if ts != nil {
			over = append(over, ts)
		}
	}
	return over
}

// remove clears a place whose tables nobody has any more.
func (s *shelf) remove(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(p)
}

// removeLocked is remove. mu is held.
func (s *shelf) removeLocked(p *place) {
	if p.at == nil {
		return
	}
	s.ring.Remove(p.at)
	p.at = nil
	s.bytes -= tablesSize
	for k := range p.held {
		s.releaseLocked(p.held[k])
		p.held[k] = nil
	}
}

// releaseLocked notes that one place less has a table; nil: none. mu is held.
func (s *shelf) releaseLocked(t *table) {
	if t == nil {
		return
	}
	if t.holders--; t.holders == 0 {
		s.bytes -= t.size
		s.uncountLocked(t)
	}
}

// wrote notes that a page of a table was written and is kept.
func (s *shelf) wrote(t *table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.holders == 0 {
		return // it counts when somebody has it
	}
	s.countLocked(t)
	for n := 2 * s.written.Len(); s.pages > s.most/4 && s.written.Len() > 1 && n > 0; n-- {
		first := s.written.Front().Value.(*table)
		if first == t || first.read.Swap(false) {
			s.written.MoveToBack(first.at)
			continue
		}
		first.unwrite()
		s.uncountLocked(first)
	}
}

// countLocked counts the pages of a table that are kept. mu is held.
func (s *shelf) countLocked(t *table) {
	now := t.kept()
	s.pages += now - t.pages
	if t.pages = now; t.at == nil && now > 0 {
		t.at = s.written.PushBack(t)
	}
}

// uncountLocked counts them no more. mu is held.
func (s *shelf) uncountLocked(t *table) {
	s.pages -= t.pages
	t.pages = 0
	if t.at != nil {
		s.written.Remove(t.at)
		t.at = nil
	}
}
