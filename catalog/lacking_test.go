package catalog

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

var errLacking = jackfield.Errorf(jackfield.AuthRequired, `server "a" needs your API key: enter it with jackfield var set a KEY`)

func TestWithoutCredentialsAServerIsVisitedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a", "b")
		w.own("a", false)
		w.set("a", func(s *script) { s.err = errLacking })
		v, only := w.view("a", "b"), w.c.Only(w.def("a"))
		look := func(want int) {
			t.Helper()
			for range 20 {
				w.listFor(ann, v, Tools, "").wantTook(t, 0)
				sleep(10 * time.Minute)
			}
			if n := w.visits("a"); n != want {
				t.Errorf("%d visits, want %d", n, want)
			}
		}
		w.listFor(ann, v, Tools, "").want(t, "b__echo")
		look(1)
		_, err := w.tryList(ann, only, Tools, "")
		if jackfield.CodeOf(err) != jackfield.AuthRequired || !strings.Contains(err.Error(), errLacking.Message) || !strings.Contains(err.Error(), "is not tried again until someone signs in") {
			t.Errorf("%v", err)
		}
		w.listFor(bob, v, Tools, "") // lacks it too, but nobody knew
		look(2)
		w.c.Renewed("a", ann)
		look(3)
		w.c.Retry("a")
		look(4)
		w.c.Connected(w.def("a"), ann)
		look(5)
		st := w.c.Status(w.def("a")).Listings[0]
		if !st.Barred || !st.Retry.IsZero() || st.Err == nil {
			t.Errorf("%+v", st)
		}
		w.set("a", func(s *script) { s.err = nil })
		look(5)
		w.c.Renewed("a", jackfield.App()) // everybody's
		w.listFor(ann, v, Tools, "").want(t, "a__of-ann", "b__echo")
		w.listFor(bob, v, Tools, "").want(t, "a__of-bob", "b__echo")
	})
}

func TestWhatWasListedStaysWhenCredentialsAreMissing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.own("a", false)
		v := w.view("a")
		w.listFor(ann, v, Tools, "")
		w.set("a", func(s *script) { s.err = errLacking })
		w.c.Renewed("a", ann)
		for range 5 {
			w.listFor(ann, v, Tools, "").want(t, "a__of-ann")
			sleep(time.Hour)
		}
		if n := w.visits("a"); n != 2 {
			t.Errorf("%d visits", n)
		}
		if p, err := w.tryList(ann, w.c.Only(w.def("a")), Tools, ""); err != nil || len(p.names) != 1 {
			t.Errorf("%v %v", p.names, err)
		}
	})
}

func TestNewCredentialsAreToldAndListedWith(t *testing.T) {
	for name, renewed := range map[string]func(*Catalog){
		"of one server": func(c *Catalog) { c.Renewed("a", ann) },
		"of all":        func(c *Catalog) { c.RenewedAll(map[jackfield.Scope]bool{ann: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t, Options{}, "a")
				w.own("a", false)
				v := w.view("a")
				w.listFor(ann, v, Tools, "")
				w.listFor(bob, v, Tools, "")
				w.set("a", func(s *script) { s.per = func(jackfield.Scope) []string { return []string{"other"} } })
				renewed(w.c)
				w.mu.Lock()
				if len(w.changes) != 1 || w.changes[0].Scope != ann {
					t.Errorf("told %v", w.changes)
				}
				w.mu.Unlock()
				w.listFor(ann, v, Tools, "").want(t, "a__other")
				w.listFor(bob, v, Tools, "").want(t, "a__of-bob")
			})
		})
	}
}

func TestAVisitOnOldCredentialsSaysNothingOfTheNew(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.own("a", false)
		w.set("a", func(s *script) { s.err, s.took = errLacking, time.Second })
		v := w.view("a")
		go func() { _, _ = v.List(t.Context(), ann, Tools, "") }()
		synctest.Wait()
		w.c.Renewed("a", ann)
		sleep(time.Second)
		w.set("a", func(s *script) { s.err = nil })
		sleep(lastRetry)
		w.listFor(ann, v, Tools, "").want(t, "a__of-ann")
	})
}

func TestWhoLacksCredentialsKeepsNobodyFromWhatIsPublic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.own("a", true)
		v := w.view("a")
		w.listFor(ann, v, Tools, "")
		sleep(2 * time.Hour)
		w.set("a", func(s *script) { s.err = errLacking })
		for range 5 {
			w.listFor(bob, v, Tools, "").want(t, "a__of-ann")
			sleep(time.Hour)
		}
		w.set("a", func(s *script) { s.err = nil })
		before := w.visits("a")
		w.listFor(ann, v, Tools, "")
		if n := w.visits("a"); before != 2 || n != 3 {
			t.Errorf("%d visits, then %d: bob's is one, and ann's another", before, n)
		}
	})
}

func TestWhatLacksCredentialsIsTheReasonForANameOfIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a", "ab")
		w.own("a", false)
		w.set("a", func(s *script) { s.err = errLacking })
		v := w.view("a", "ab")
		w.listFor(ann, v, Tools, "")
		for name, want := range map[string]bool{"a__search": true, "ab__echo": false, "ab__nothing": false, "c__search": false, "a_x": false} {
			if err := v.Lacking(ann, Tools, name); (jackfield.CodeOf(err) == jackfield.AuthRequired) != want {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := v.Lacking(bob, Tools, "a__search"); err != nil {
			t.Errorf("nobody has tried for bob: %v", err)
		}
	})
}

func TestWarmListsForNobodyWhatIsSomebodys(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "plain", "signin", "filled", "private")
		w.set("signin", func(s *script) { s.def.Usage.RequiresOAuth = true })
		w.set("filled", func(s *script) {
			s.def.Fill.Headers = map[string]jackfield.Template{"X-Key": {{From: jackfield.FromVar, Name: "KEY"}}}
		})
		w.set("private", func(s *script) { s.def.Scope = ann })
		w.c.Warm(t.Context(), []jackfield.Server{w.def("plain"), w.def("signin"), w.def("filled"), w.def("private")})
		for name, want := range map[string]int{"plain": 1, "signin": 0, "filled": 0, "private": 0} {
			if n := w.visits(name); n != want {
				t.Errorf("%s was visited %d times", name, n)
			}
		}
		w.set("filled", func(s *script) { s.per = func(owner jackfield.Scope) []string { return []string{owner.ID} } })
		v := w.view("filled")
		w.listFor(ann, v, Tools, "").want(t, "filled__ann")
		w.listFor(bob, v, Tools, "").want(t, "filled__bob")
	})
}

func TestWhatIsListedAlikeIsInMemoryOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a", "b")
		w.own("a", false)
		w.set("a", func(s *script) {
			s.per = func(owner jackfield.Scope) []string {
				if owner == bob {
					return []string{"bobs"}
				}
				return []string{"same"}
			}
		})
		v := w.view("a", "b")
		people := []jackfield.Scope{ann, bob}
		for i := range 50 {
			people = append(people, jackfield.User(fmt.Sprint(i)))
		}
		pages := map[string]bool{}
		for _, p := range people {
			raw, err := v.List(t.Context(), p, Tools, "")
			if err != nil {
				t.Fatal(err)
			}
			pages[string(raw)] = true
		}
		w.c.mu.Lock()
		first := w.c.entries[key{"a", ann}].lists[Tools].list
		for _, p := range people[2:] {
			if w.c.entries[key{"a", p}].lists[Tools].list != first {
				t.Errorf("%v has a copy", p)
			}
		}
		if w.c.entries[key{"a", bob}].lists[Tools].list == first {
			t.Error("bob has ann's")
		}
		w.c.mu.Unlock()
		if len(pages) != 2 {
			t.Errorf("%d pages", len(pages))
		}
		if v.owners[people[10]].of[Tools].Load().t != v.owners[people[20]].of[Tools].Load().t {
			t.Error("two who are shown the same have a table each")
		}
		if v.owners[bob].of[Tools].Load().t == v.owners[people[20]].of[Tools].Load().t {
			t.Error("bob has the table of somebody who is shown something else")
		}
	})
}

func TestWhatIsAlikeInOneKindIsNotInAnother(t *testing.T) {
	var a alike
	a.of = map[likeness][]weak.Pointer[listing]{}
	raw := []wire.Raw{wire.Raw(`{"name":"n","uri":"u://x"}`)}
	none := func(string, string) { t.Error("dropped") }
	tools, resources := a.one(Tools, prepare(Tools, raw, false, none)), a.one(Resources, prepare(Resources, raw, false, none))
	if tools == resources || resources.items[0].key != "u://x" {
		t.Error("a resource is a tool")
	}
	again := a.one(Tools, prepare(Tools, raw, false, none))
	if again != tools {
		t.Error("the same is there twice")
	}
	other := prepare(Tools, []wire.Raw{wire.Raw(`{"name":"m","uri":"u://x"}`)}, false, none)
	other.sum = tools.sum // as two hashes could be
	if a.one(Tools, other) == tools {
		t.Error("what differs was taken for the same")
	}
	runtime.KeepAlive(resources)
}

func TestWhatNobodyHasAnyMoreIsNotKept(t *testing.T) {
	w := newWorld(t, Options{}, "a")
	for i := range 20 {
		w.set("a", func(s *script) { s.names[Tools] = []string{fmt.Sprint(i)} })
		w.c.Renewed("a", jackfield.App())
		v := w.view("a")
		w.list(v, Tools)
	}
	left := func() (places, lists int) {
		w.c.shelf.mu.Lock()
		defer w.c.shelf.mu.Unlock()
		w.c.alike.mu.Lock()
		defer w.c.alike.mu.Unlock()
		return w.c.shelf.ring.Len(), len(w.c.alike.of)
	}
	// Cleanups run some time after a collection.
	for range 1000 {
		runtime.GC()
		if places, lists := left(); places == 0 && lists <= numKinds { // the last ones
			if w.c.shelf.bytes != 0 || w.c.shelf.pages != 0 || w.c.shelf.written.Len() != 0 {
				t.Errorf("%d bytes and %d of pages are counted", w.c.shelf.bytes, w.c.shelf.pages)
			}
			return
		}
		runtime.Gosched()
	}
	places, lists := left()
	t.Errorf("tables of %d views and %d lists are kept", places, lists)
}

func TestPagesAndTablesOfAllViewsAreBoundedTogether(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const most = 400 << 10
		w := newWorld(t, Options{Limits: Limits{Tables: most}}, "a")
		w.set("a", func(s *script) {
			s.names[Tools] = nil
			for i := range 50 {
				s.names[Tools] = append(s.names[Tools], fmt.Sprintf("tool_%02d_%s", i, strings.Repeat("x", 20)))
			}
		})
		var views []*View
		for i := range 100 {
			s := w.def("a")
			s.Tools.Deny = []string{fmt.Sprintf("tool_%02d*", i%50)}
			views = append(views, w.c.View([]jackfield.Server{s}))
		}
		check := func() {
			t.Helper()
			s := w.c.shelf
			if s.bytes > most-most/4 || s.bytes < most/2 || s.pages > most/4 || s.pages < most/8 {
				t.Fatalf("%d bytes of tables and %d of pages are kept, of %d", s.bytes, s.pages, most)
			}
			pages, tables := 0, 0
			for _, v := range views {
				if s := v.shared.of[Tools].Load(); s != nil {
					tables++
					pages += s.t.kept()
				}
			}
			if pages > most/4 || tables < 30 {
				t.Fatalf("%d bytes of pages, %d tables", pages, tables)
			}
		}
		for round := range 3 {
			for i, v := range views {
				p := w.list(v, Tools)
				denied := fmt.Sprintf("a__tool_%02d_%s", i%50, strings.Repeat("x", 20))
				if len(p.names) != 49 || has(p.names, denied) {
					t.Fatalf("view %d lists %q", i, p.names)
				}
				if _, ok := v.Find(ann, Tools, denied); ok {
					t.Fatalf("view %d finds %q", i, denied)
				}
				w.list(views[0], Tools)
			}
			check()
			if views[0].shared.of[Tools].Load() == nil {
				t.Fatalf("round %d: what everybody looks at is gone", round)
			}
		}
	})
}

func TestACatalogThatNobodyHasAnyMoreIsGone(t *testing.T) {
	gone := make(chan struct{})
	func() {
		c := New(Options{Fetch: func(context.Context, jackfield.Server, jackfield.Scope, Kinds) (Fetched, error) {
			var got Fetched
			got.Lists[Tools].Items = []wire.Raw{thing(Tools, "a thing of its own")}
			return got, nil
		}})
		if _, err := c.View([]jackfield.Server{{ID: "a", Name: "a", Version: 1}}).List(t.Context(), ann, Tools, ""); err != nil {
			t.Fatal(err)
		}
		runtime.AddCleanup(c.entries[key{"a", jackfield.App()}].lists[Tools].list, func(struct{}) { close(gone) }, struct{}{})
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}()
	for range 1000 {
		runtime.GC()
		select {
		case <-gone:
			return
		default:
			runtime.Gosched()
		}
	}
	t.Error("what it had listed is still there")
}
