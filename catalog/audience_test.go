package catalog

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// own makes a server one that each person reaches with their own credentials.
func (w *world) own(name string, public bool) {
	w.set(name, func(s *script) {
		s.def.Usage.RequiresOAuth = true
		s.public, s.told, s.ttl = public, true, time.Hour
		s.per = func(owner jackfield.Scope) []string { return []string{"of-" + owner.ID} }
	})
}

var ann, bob = jackfield.User("ann"), jackfield.User("bob")

func TestWhatIsPrivateIsKeptForEachOwner(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a", "b")
		w.own("a", false)
		v := w.view("a", "b")
		for range 3 {
			if p := w.listFor(ann, v, Tools, ""); p.Scope != "private" {
				t.Errorf("%s", p.Scope)
			} else {
				p.want(t, "a__of-ann", "b__echo")
			}
			w.listFor(bob, v, Tools, "").want(t, "a__of-bob", "b__echo")
		}
		if n := w.visits("a"); n != 2 {
			t.Errorf("%d visits, want one for each owner", n)
		}
		if n := w.visits("b"); n != 1 {
			t.Errorf("%d visits, want one for both: they show the same credentials", n)
		}
		if _, ok := v.Find(ann, Tools, "a__of-bob"); ok {
			t.Error("ann finds what is bob's")
		}
		if _, ok := v.Find(bob, Tools, "a__of-bob"); !ok {
			t.Error("bob does not find his own")
		}
		if n := len(w.c.Status(w.def("a")).Listings); n != 2 {
			t.Errorf("%d listings", n)
		}
	})
}

func TestWhatIsPublicIsSharedByAll(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.own("a", true)
		v := w.view("a")
		if p := w.listFor(ann, v, Tools, ""); p.Scope != "public" {
			t.Errorf("%s", p.Scope)
		}
		w.listFor(bob, v, Tools, "").want(t, "a__of-ann")
		if n := w.visits("a"); n != 1 {
			t.Errorf("%d visits, want 1", n)
		}
	})
}

func TestAListThatIsNoLongerPublicIsTakenBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.own("a", true)
		v := w.view("a")
		w.listFor(ann, v, Tools, "")
		w.listFor(bob, v, Tools, "").want(t, "a__of-ann")
		w.own("a", false)
		w.c.Invalidate(w.def("a"), bob, "notifications/tools/list_changed")
		synctest.Wait()
		w.listFor(bob, v, Tools, "").want(t, "a__of-bob")
		w.listFor(ann, v, Tools, "").want(t, "a__of-ann") // her own visit
		if n := w.visits("a"); n != 3 {
			t.Errorf("%d visits, want 3", n)
		}
	})
}

func TestAListThatBecomesPublicLeavesNoPrivateOneBehind(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.own("a", false)
		v := w.view("a")
		w.listFor(ann, v, Tools, "").want(t, "a__of-ann")
		w.own("a", true)
		sleep(2 * time.Hour)
		w.listFor(ann, v, Tools, "") // aged: begins the visit that finds it public
		synctest.Wait()
		w.listFor(bob, v, Tools, "").want(t, "a__of-ann")
		if n := w.visits("a"); n != 2 {
			t.Errorf("%d visits, want 2", n)
		}
	})
}

func TestAChangeOnOnesOwnCredentialsConcernsNobodyElse(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.own("a", false)
		v := w.view("a")
		w.listFor(ann, v, Tools, "")
		w.listFor(bob, v, Tools, "")
		sleep(time.Minute)
		w.c.Invalidate(w.def("a"), ann, "notifications/tools/list_changed")
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if got := w.servers["a"].owners; len(got) != 3 || got[2] != ann {
			t.Errorf("visited for %v", got)
		}
		if len(w.changes) != 1 || w.changes[0].Scope != ann {
			t.Errorf("told %v", w.changes)
		}
	})
}

func TestListingsOfOwnersAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{Limits: Limits{Owners: 10}}, "a")
		w.own("a", false)
		v := w.view("a")
		for i := range 100 {
			w.listFor(jackfield.User(fmt.Sprint(i)), v, Tools, "")
			w.listFor(ann, v, Tools, "").want(t, "a__of-ann")
		}
		if n := len(w.c.Status(w.def("a")).Listings); n != 10 {
			t.Errorf("%d listings, want 10", n)
		}
		if n := w.visits("a"); n != 101 {
			t.Errorf("%d visits; who comes back often must not be forgotten", n)
		}
	})
}

func TestTablesOfOwnersAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const most = 1 << 20
		w := newWorld(t, Options{Limits: Limits{Tables: most}}, "a")
		w.own("a", false)
		v := w.view("a")
		for i := range 5000 {
			w.listFor(jackfield.User(fmt.Sprint(i)), v, Tools, "")
			w.listFor(ann, v, Tools, "").want(t, "a__of-ann")
		}
		if n := len(v.owners); n < 100 || n > most/tablesSize {
			t.Errorf("tables of %d owners are kept", n)
		}
		if w.c.shelf.bytes > most || w.c.shelf.bytes < most/2 {
			t.Errorf("%d bytes are kept", w.c.shelf.bytes)
		}
		if v.owners[jackfield.User("0")] != nil || v.owners[jackfield.User("4999")] == nil || v.owners[ann] == nil {
			t.Error("not those were dropped that nobody looked at")
		}
	})
}

func TestWhoWasGivenNothingIsToldWhenItTurnsOutPublic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.own("a", true)
		w.set("a", func(s *script) { s.took = 5 * time.Second })
		v := w.view("a")
		w.listFor(ann, v, Tools, "").want(t)
		sleep(5 * time.Second)
		if got := w.told("a"); !got.Has(Tools) {
			t.Error("nobody was told when the rest arrived")
		}
	})
}

func TestAChangeDuringTheFirstVisitIsNotLostWhenTheListTurnsOutPublic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.own("a", true)
		w.set("a", func(s *script) { s.took = time.Second })
		v := w.view("a")
		go func() { _, _ = v.List(t.Context(), ann, Tools, "") }()
		synctest.Wait()
		w.set("a", func(s *script) { s.per = func(jackfield.Scope) []string { return []string{"new"} } })
		w.c.Invalidate(w.def("a"), ann, "notifications/tools/list_changed")
		sleep(time.Second)
		sleep(time.Second)
		w.listFor(ann, v, Tools, "").want(t, "a__new")
	})
}
