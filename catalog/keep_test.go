package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// cellar is a store in memory.
type cellar struct {
	mu       sync.Mutex
	listings map[key]KeptListing
	shapes   map[jackfield.ServerID]KeptShape
	saves    []Kept
	took     time.Duration
	err      error
	tries    int
}

func newShelf() *cellar {
	return &cellar{listings: map[key]KeptListing{}, shapes: map[jackfield.ServerID]KeptShape{}}
}

func (s *cellar) Save(ctx context.Context, k Kept) error {
	s.mu.Lock()
	took, err := s.took, s.err
	s.tries++
	s.mu.Unlock()
	if took > 0 {
		select {
		case <-time.After(took):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves = append(s.saves, k)
	for _, l := range k.Listings {
		if s.listings[key{l.Server, l.Scope}] = l; len(l.Lists) == 0 {
			delete(s.listings, key{l.Server, l.Scope})
		}
	}
	for _, sh := range k.Shapes {
		if s.shapes[sh.Server] = sh; sh.Shape.Version == "" {
			delete(s.shapes, sh.Server)
		}
	}
	return nil
}

func (s *cellar) set(f func(*cellar)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// all is what the cellar holds.
func (s *cellar) all() Kept {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var k Kept
	for _, l := range s.listings {
		k.Listings = append(k.Listings, l)
	}
	for _, sh := range s.shapes {
		k.Shapes = append(k.Shapes, sh)
	}
	return k
}

// names are the tools that the cellar holds of a server.
func (s *cellar) names(t *testing.T, server string, scope jackfield.Scope) []string {
	t.Helper()
	for _, l := range s.all().Listings {
		if l.Server != jackfield.ServerID(server) || l.Scope != scope {
			continue
		}
		var names []string
		for _, list := range l.Lists {
			if list.Kind != Tools {
				continue
			}
			for _, raw := range list.Items {
				it, err := parseItem(Tools, raw)
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, it.key)
			}
		}
		return names
	}
	return nil
}

// keeping are options with a store.
func keeping(s *cellar) Options {
	return Options{Store: s, Fingerprint: func(d jackfield.Server) string { return d.Endpoint.URL }}
}

// again is the same world after a restart.
func (w *world) again(o Options, s *cellar) *world {
	w.t.Helper()
	next := newWorld(w.t, o)
	next.servers = w.servers
	next.c.Restore(next.defs(), s.all())
	return next
}

func (w *world) defs() []jackfield.Server {
	var defs []jackfield.Server
	for _, s := range w.servers {
		defs = append(defs, s.def)
	}
	return defs
}

func TestARestoredListIsAnsweredAtOnceWithItsAgeAndFetchedBehind(t *testing.T) {
	for _, told := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			s := newShelf()
			w := newWorld(t, keeping(s), "a")
			w.set("a", func(s *script) {
				s.told, s.ttl, s.cut = told, time.Hour, "more than 3 pages"
				s.names[Prompts], s.names[Resources], s.names[Templates] = []string{"p"}, []string{"x://r"}, []string{"x://{id}"}
			})
			w.list(w.view("a"), Tools)
			fetched := time.Now()
			sleep(time.Minute)

			w = w.again(keeping(s), s)
			w.set("a", func(s *script) { s.took, s.names[Tools] = time.Second, []string{"new"} })
			v := w.view("a")
			p := w.list(v, Tools)
			p.want(t, "a__echo")
			p.wantTook(t, 0)
			if p.TTL != 0 {
				t.Errorf("ttlMs %d of a list of another process", p.TTL)
			}
			l := w.c.Status(w.def("a")).Listings[0].Lists[Tools]
			if !l.Fetched.Equal(fetched) || l.Fresh || l.Cut == "" {
				t.Errorf("status %+v, fetched at %v", l, fetched)
			}
			w.list(v, Prompts).want(t, "a__p")
			w.list(v, Resources).want(t, "x://r")
			w.list(v, Templates).want(t, "x://{id}")
			sleep(time.Second)
			if got := w.told("a"); got != SetOf(Tools) {
				t.Errorf("told of %b, want tools: somebody was given the old list", got)
			}
			p = w.list(v, Tools)
			p.want(t, "a__new")
			if p.TTL == 0 {
				t.Error("what was fetched is not fresh")
			}
			if n := w.visits("a"); n != 2 {
				t.Errorf("%d visits, want one before the restart and one after it", n)
			}
		})
	}
}

func TestWithEveryServerDeadARestartListsEverything(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newShelf()
		w := newWorld(t, keeping(s), "a", "b")
		w.c.Warm(t.Context(), w.defs())
		w = w.again(keeping(s), s)
		for _, name := range []string{"a", "b"} {
			w.set(name, func(s *script) { s.err = errDown })
		}
		w.c.Warm(t.Context(), w.defs())
		synctest.Wait()
		for range 3 {
			p := w.list(w.view("a", "b"), Tools)
			p.want(t, "a__echo", "b__echo")
			p.wantTook(t, 0)
			sleep(time.Hour)
		}
		for _, name := range []string{"a", "b"} {
			if l := w.c.Status(w.def(name)).Listings[0]; !errors.Is(l.Err, errDown) || l.Since.IsZero() {
				t.Errorf("%s: the reason is not told: %+v", name, l)
			}
			if names := s.names(t, name, jackfield.App()); !slices.Equal(names, []string{"echo"}) {
				t.Errorf("%s: the store holds %q", name, names)
			}
		}
	})
}

func TestWarmListsWhatAnotherProcessListedOnceMoreAndThenNoMore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newShelf()
		w := newWorld(t, keeping(s), "a")
		w.c.Warm(t.Context(), w.defs())
		w = w.again(keeping(s), s)
		w.c.Warm(t.Context(), w.defs())
		w.c.Warm(t.Context(), w.defs())
		sleep(time.Hour)
		w.c.Warm(t.Context(), w.defs())
		if n := w.visits("a"); n != 2 {
			t.Errorf("%d visits, want 2", n)
		}
	})
}

func TestWhatWasListedWithAnotherDefinitionIsNotShownAndForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newShelf()
		w := newWorld(t, keeping(s), "a", "gone", "broken")
		w.servers["broken"].def.Endpoint.URL = "before"
		w.c.Warm(t.Context(), w.defs())
		if n := len(s.all().Listings); n != 3 {
			t.Fatalf("%d listings are kept", n)
		}
		w.servers["a"].def.Endpoint.URL = "elsewhere"
		w.set("a", func(s *script) { s.err = errDown })
		w.servers["broken"].def.Invalid = "TOKEN is not set"
		w.servers["broken"].def.Endpoint.URL = ""
		delete(w.servers, "gone")
		w = w.again(keeping(s), s)
		w.list(w.view("a"), Tools).want(t)
		if _, known := w.c.Shape(w.def("a")); known {
			t.Error("the shape of another server is taken for this one's")
		}
		k := s.all()
		if len(k.Listings) != 1 || k.Listings[0].Server != "broken" || len(k.Shapes) != 1 || k.Shapes[0].Server != "broken" {
			t.Errorf("kept: %+v", k)
		}
	})
}

func TestPrivateListsAreKeptForTheirOwnersAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newShelf()
		w := newWorld(t, keeping(s), "a")
		w.set("a", func(s *script) {
			s.def.Usage.RequiresOAuth = true
			s.per = func(o jackfield.Scope) []string { return []string{"of_" + o.ID} }
		})
		w.listFor(ann, w.view("a"), Tools, "").want(t, "a__of_ann")
		w = w.again(keeping(s), s)
		w.set("a", func(s *script) { s.err = errDown })
		w.listFor(ann, w.view("a"), Tools, "").want(t, "a__of_ann")
		w.listFor(bob, w.view("a"), Tools, "").want(t)

		// The definition no longer says that each person signs in, or says it now: in
		// both cases nobody knows whose the lists were. (The fingerprint of the test
		// does not tell.)
		w.servers["a"].def.Usage.RequiresOAuth = false
		w = w.again(keeping(s), s)
		w.list(w.view("a"), Tools).want(t)
		if n := len(s.all().Listings); n != 0 {
			t.Errorf("%d listings are kept", n)
		}
		s.set(func(s *cellar) {
			s.listings[key{"a", jackfield.App()}] = KeptListing{Server: "a", Lists: []KeptList{{Items: []wire.Raw{thing(Tools, "whose")}, Fetched: time.Now()}}}
		})
		w.servers["a"].def.Usage.RequiresOAuth = true
		w = w.again(keeping(s), s)
		w.listFor(ann, w.view("a"), Tools, "").want(t)
	})
}

func TestAListThatBecomesPublicMovesInOneSave(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newShelf()
		w := newWorld(t, keeping(s), "a")
		w.set("a", func(s *script) { s.def.Usage.RequiresOAuth = true })
		w.listFor(ann, w.view("a"), Tools, "")
		if names := s.names(t, "a", ann); len(names) != 1 {
			t.Fatalf("kept for ann: %q", names)
		}
		w.set("a", func(s *script) { s.public = true })
		sleep(10 * time.Minute)
		w.listFor(ann, w.view("a"), Tools, "")
		k := s.all()
		if len(k.Listings) != 1 || k.Listings[0].Scope != jackfield.App() {
			t.Errorf("kept: %+v", k.Listings)
		}
		last := s.saves[len(s.saves)-1]
		if len(last.Listings) != 2 {
			t.Errorf("the last save had %d listings: what moved can be lost in between", len(last.Listings))
		}
	})
}

func TestShapesAreRestoredAndSavedWhenTheyChange(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newShelf()
		w := newWorld(t, keeping(s), "a")
		shape := exchange.Shape{
			Transport: "http", Version: exchange.LatestLegacy, Session: true, Instructions: "i",
			Capabilities: wire.Raw(`{"tools":{}}`), ServerInfo: wire.Raw(`{"name":"a"}`),
		}
		w.c.Learn(w.def("a"), shape)
		for range 100 {
			w.c.Learn(w.def("a"), shape)
		}
		if s.all(); s.tries != 1 {
			t.Errorf("%d saves of one shape", s.tries)
		}
		w = w.again(keeping(s), s)
		if got, known := w.c.Shape(w.def("a")); !known || !sameShape(got, shape) {
			t.Errorf("restored %+v, %v", got, known)
		}
		for i, change := range []func(*exchange.Shape){
			func(s *exchange.Shape) { s.Transport = "sse" }, func(s *exchange.Shape) { s.Version = exchange.Modern },
			func(s *exchange.Shape) { s.Session = false }, func(s *exchange.Shape) { s.Instructions = "" },
			func(s *exchange.Shape) { s.Capabilities = wire.Raw(`{}`) }, func(s *exchange.Shape) { s.ServerInfo = nil },
		} {
			change(&shape)
			w.c.Learn(w.def("a"), shape)
			if k := s.all(); !sameShape(k.Shapes[0].Shape, shape) {
				t.Errorf("change %d is not kept: %+v", i, k.Shapes[0].Shape)
			}
		}
		w.c.Keep(nil)
		if k := s.all(); len(k.Shapes) != 0 {
			t.Errorf("the shape of a removed server is kept: %+v", k)
		}
	})
}

func TestARemovedServerAndAnOwnerTooManyAreForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newShelf()
		o := keeping(s)
		o.Limits.Owners = 2
		w := newWorld(t, o, "a", "mine")
		w.set("mine", func(s *script) { s.def.Usage.RequiresOAuth = true })
		w.list(w.view("a"), Tools)
		for i := range 4 {
			w.listFor(jackfield.User(fmt.Sprint(i)), w.view("mine"), Tools, "")
			sleep(time.Second)
		}
		if n := len(s.all().Listings); n != 3 {
			t.Errorf("%d listings are kept, want everybody's and two owners'", n)
		}
		o.Limits.Owners = 1
		w = w.again(o, s)
		if names := s.names(t, "mine", jackfield.User("3")); len(names) != 1 || len(s.all().Listings) != 2 {
			t.Errorf("of two owners the wrong one went: %+v", s.all().Listings)
		}
		w.c.Keep([]jackfield.Server{w.def("mine")})
		if n := len(s.all().Listings); n != 1 {
			t.Errorf("%d listings are kept, want one owner's", n)
		}
	})
}

func TestManyChangesDuringASaveAreSavedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newShelf()
		s.took = 10 * time.Second
		var names []string
		for i := range 50 {
			names = append(names, fmt.Sprint("s", i))
		}
		w := newWorld(t, keeping(s), names...)
		w.c.Warm(t.Context(), w.defs())
		p := w.list(w.view(names...), Tools)
		p.wantTook(t, 0)
		if len(p.names) != 50 {
			t.Errorf("%d tools while the store is slow", len(p.names))
		}
		sleep(time.Minute)
		if len(s.all().Listings) != 50 || s.tries > 2 {
			t.Errorf("%d listings in %d saves, want 50 in 2 at most", len(s.all().Listings), s.tries)
		}
	})
}

func TestAStoreThatFailsHurtsNobodyAndIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newShelf()
		s.err = errors.New("the disk is full")
		o := keeping(s)
		var mu sync.Mutex
		var told []error
		o.Hooks.Saved = func(_ time.Duration, err error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, err)
		}
		w := newWorld(t, o, "a")
		v := w.view("a")
		w.list(v, Tools).want(t, "a__echo")
		for i := range 60 {
			w.set("a", func(s *script) { s.names[Tools] = []string{fmt.Sprint("t", i)} })
			w.c.Invalidate(w.def("a"), jackfield.App(), "notifications/tools/list_changed")
			p := w.list(v, Tools)
			p.want(t, fmt.Sprint("a__t", i))
			p.wantTook(t, 0)
			sleep(time.Minute)
		}
		if tries := s.tries; tries < 30 || tries > 70 {
			t.Errorf("%d tries within an hour, want about one a minute", tries)
		}
		if len(s.all().Listings) != 0 || len(told) != s.tries || told[0] == nil {
			t.Errorf("told %d times, first %v", len(told), told[0])
		}
		s.set(func(s *cellar) { s.err = nil })
		sleep(2 * time.Minute)
		if names := s.names(t, "a", jackfield.App()); !slices.Equal(names, []string{"t59"}) || told[len(told)-1] != nil {
			t.Errorf("kept %q when the disk had room again", names)
		}
		if n := len(s.all().Shapes); n != 1 {
			t.Errorf("%d shapes are kept", n)
		}
		if len(s.saves) != 1 {
			t.Errorf("%d saves of it", len(s.saves))
		}
	})
}

func TestWhatIsNotSavedYetIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newShelf()
		s.err = errors.New("the disk is full")
		o := keeping(s)
		o.Limits.Owners = 10
		w := newWorld(t, o, "a")
		w.set("a", func(s *script) { s.def.Usage.RequiresOAuth = true })
		for i := range 500 {
			w.listFor(jackfield.User(fmt.Sprint(i)), w.view("a"), Tools, "")
		}
		w.c.mu.Lock()
		n := len(w.c.unsaved.listings)
		w.c.mu.Unlock()
		if n > 21 {
			t.Errorf("%d keys wait for the store", n)
		}
		s.set(func(s *cellar) { s.err = nil })
	})
}

func TestCloseSavesWhatIsLeft(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newShelf()
		s.took = time.Hour // longer than one may take
		w := newWorld(t, keeping(s), "a")
		w.list(w.view("a"), Tools)
		s.set(func(s *cellar) { s.took = time.Second })
		if err := w.c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if names := s.names(t, "a", jackfield.App()); len(names) != 1 {
			t.Errorf("kept %q", names)
		}

		s = newShelf()
		s.err = errDown
		w = newWorld(t, keeping(s), "a")
		w.list(w.view("a"), Tools)
		if err := w.c.Close(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("Close: %v", err)
		}
		s.set(func(s *cellar) { s.err = nil }) // for the Close at the end of the test
	})
}

func TestASaveThatHangsIsGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newShelf()
		s.took = time.Hour
		w := newWorld(t, keeping(s), "a")
		w.list(w.view("a"), Tools)
		sleep(saveWithin / 2)
		s.set(func(s *cellar) { s.took = 0 })
		sleep(saveWithin/2 + firstSave)
		if names := s.names(t, "a", jackfield.App()); len(names) != 1 || s.tries != 2 {
			t.Errorf("kept %q after %d tries", names, s.tries)
		}
	})
}

func TestWhatWasFetchedMeanwhileIsNewerThanWhatWasKept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newShelf()
		w := newWorld(t, keeping(s), "a")
		w.list(w.view("a"), Tools)
		w.c.Restore(w.defs(), Kept{
			Listings: []KeptListing{{Server: "a", Lists: []KeptList{{Kind: Tools, Items: []wire.Raw{thing(Tools, "old")}}}}},
			Shapes:   []KeptShape{{Server: "a", Shape: exchange.Shape{Version: "old"}}},
		})
		w.list(w.view("a"), Tools).want(t, "a__echo")
		if shape, _ := w.c.Shape(w.def("a")); shape.Version == "old" {
			t.Error("the old shape took the place of the new one")
		}
	})
}

func TestAnotherClockMakesNoListYoungerThanNow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newShelf()
		w := newWorld(t, keeping(s), "a")
		w.c.Restore(w.defs(), Kept{Listings: []KeptListing{{Server: "a", Lists: []KeptList{
			{Kind: Tools, Items: []wire.Raw{thing(Tools, "t"), wire.Raw(`{"no":"name"}`)}, Fetched: time.Now().Add(time.Hour), Told: true, TTL: time.Minute},
			{Kind: numKinds, Items: []wire.Raw{thing(Tools, "t")}},
		}}}})
		w.list(w.view("a"), Tools).want(t, "a__t")
		if l := w.c.Status(w.def("a")).Listings[0].Lists[Tools]; l.Fetched.After(time.Now()) {
			t.Errorf("fetched at %v, now is %v", l.Fetched, time.Now())
		}
	})
}
