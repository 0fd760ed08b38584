package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
)

func TestAFreshListIsAnsweredFromMemory(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		v := w.view("a")
		w.list(v, Tools).want(t, "a__echo")
		sleep(3 * time.Minute)
		p := w.list(v, Tools)
		p.want(t, "a__echo")
		p.wantTook(t, 0)
		if p.TTL != 2*60*1000 || p.Scope != "private" {
			t.Errorf("ttlMs %d %s, want the two minutes that are left, private", p.TTL, p.Scope)
		}
		if n := w.visits("a"); n != 1 {
			t.Errorf("%d visits, want 1", n)
		}
	})
}

func TestOneVisitBringsAllKindsAndIsSharedByAllWhoWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.set("a", func(s *script) {
			s.took = time.Second
			s.names[Prompts], s.names[Resources], s.names[Templates] = []string{"p"}, []string{"x://r"}, []string{"x://{id}"}
		})
		v := w.view("a")
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				p := w.list(v, Kind(i%numKinds))
				if len(p.names) != 1 || p.took != time.Second {
					t.Errorf("%q after %v", p.names, p.took)
				}
			})
		}
		wg.Wait()
		if n := w.visits("a"); n != 1 {
			t.Errorf("%d visits, want 1", n)
		}
	})
}

func TestAVisitOutlivesItsFirstWaiter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.set("a", func(s *script) { s.took = time.Second })
		v := w.view("a")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := v.List(ctx, jackfield.App(), Tools, ""); err == nil {
			t.Fatal("a caller whose time is up got a list")
		}
		p := w.list(v, Tools)
		p.want(t, "a__echo")
		p.wantTook(t, 900*time.Millisecond)
		if n := w.visits("a"); n != 1 {
			t.Errorf("%d visits, want 1", n)
		}
	})
}

func TestAnAgedListIsAnsweredAtOnceAndFetchedBehind(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		v := w.view("a")
		w.list(v, Tools)
		w.set("a", func(s *script) { s.names[Tools], s.took = []string{"new"}, 10*time.Second })
		sleep(6 * time.Minute)
		p := w.list(v, Tools)
		p.want(t, "a__echo")
		p.wantTook(t, 0)
		if p.TTL != 0 {
			t.Errorf("ttlMs %d of an aged list, want 0", p.TTL)
		}
		if got := w.told("a"); got != 0 {
			t.Errorf("told of %b before it is known", got)
		}
		sleep(10 * time.Second)
		w.list(v, Tools).want(t, "a__new")
		if got := w.told("a"); got != SetOf(Tools) {
			t.Errorf("told of %b, want tools: somebody was given the old list", got)
		}
		if n := w.visits("a"); n != 2 {
			t.Errorf("%d visits, want 2", n)
		}
	})
}

func TestAListThatServersDoNotDateIsFetchedAheadWhileInUse(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		v := w.view("a")
		w.list(v, Tools)
		for range 60 {
			sleep(30 * time.Second)
			if p := w.list(v, Tools); p.TTL == 0 {
				t.Fatal("a list in use has aged")
			}
			st := w.c.Status(w.def("a")).Listings[0].Lists[Tools]
			if age := time.Since(st.Fetched); age > untoldTTL {
				t.Fatalf("a list in use is %v old", age)
			}
		}
		if n := w.visits("a"); n < 7 || n > 9 {
			t.Errorf("%d visits in half an hour, want one every four minutes", n)
		}
	})
}

func TestAChangedListIsAwaitedForASecond(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		v := w.view("a")
		w.list(v, Tools)
		sleep(time.Minute)
		w.set("a", func(s *script) { s.names[Tools], s.took = []string{"new"}, 600*time.Millisecond })
		if !w.c.Invalidate(w.def("a"), jackfield.App(), "notifications/tools/list_changed") {
			t.Fatal("not taken for a notification of a change")
		}
		if got := w.told("a"); got != SetOf(Tools) {
			t.Errorf("told of %b, want tools at once", got)
		}
		p := w.list(v, Tools)
		p.want(t, "a__new")
		p.wantTook(t, 600*time.Millisecond)
		if got := w.told("a"); got != 0 {
			t.Errorf("told once more of %b, though nobody was given the old list", got)
		}
	})
}

func TestAChangedListThatDoesNotComeIsShownAsItWasAndToldLater(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		v := w.view("a")
		w.list(v, Tools)
		sleep(time.Minute)
		w.set("a", func(s *script) { s.names[Tools], s.took = []string{"new"}, 5*time.Second })
		w.c.Invalidate(w.def("a"), jackfield.App(), "notifications/tools/list_changed")
		w.told("a")
		p := w.list(v, Tools)
		p.want(t, "a__echo")
		p.wantTook(t, time.Second)
		if p.TTL != 0 {
			t.Errorf("ttlMs %d of a list known to be wrong, want 0", p.TTL)
		}
		w.list(v, Tools).wantTook(t, 0) // one visit that is slow makes one caller wait
		sleep(4 * time.Second)
		if got := w.told("a"); got != SetOf(Tools) {
			t.Errorf("told of %b, want tools: somebody was given the old list", got)
		}
		w.list(v, Tools).want(t, "a__new")
	})
}

func TestAChangeIsToldOnceMoreToWhoeverBeganToWatchSince(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		v := w.view("a")
		w.list(v, Tools)
		w.c.Invalidate(w.def("a"), jackfield.App(), "notifications/tools/list_changed") // too soon for a visit of its own
		w.c.Invalidate(w.def("a"), jackfield.App(), "notifications/tools/list_changed")
		w.told("a")
		sleep(2 * time.Second)
		w.c.Invalidate(w.def("a"), jackfield.App(), "notifications/tools/list_changed")
		if got := w.told("a"); got != SetOf(Tools) {
			t.Errorf("told of %b, want tools", got)
		}
	})
}

func TestAnAnswerAskedForBeforeAChangeDoesNotCountAsTheAnswerAfterIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		v := w.view("a")
		w.list(v, Tools)
		sleep(6 * time.Minute)
		w.set("a", func(s *script) { s.took = 500 * time.Millisecond })
		w.list(v, Tools) // begins a visit behind, which sees the old list
		sleep(100 * time.Millisecond)
		w.set("a", func(s *script) { s.names[Tools] = []string{"new"} })
		w.c.Invalidate(w.def("a"), jackfield.App(), "notifications/tools/list_changed")
		p := w.list(v, Tools)
		p.want(t, "a__new")
		p.wantTook(t, 900*time.Millisecond)
	})
}

func TestAChangeOfResourcesConcernsTemplatesToo(t *testing.T) {
	if got := changedBy("notifications/resources/list_changed"); got != SetOf(Resources, Templates) {
		t.Errorf("%b", got)
	}
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		if w.c.Invalidate(w.def("a"), jackfield.App(), "notifications/message") {
			t.Error("a log line was taken for a change")
		}
		v := w.view("a")
		w.list(v, Tools)
		sleep(time.Minute)
		w.c.Invalidate(w.def("a"), jackfield.App(), "notifications/prompts/list_changed")
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if got := w.servers["a"].kinds[1]; got != SetOf(Prompts) {
			t.Errorf("fetched %b after a change of prompts, want these alone", got)
		}
	})
}

func TestAStormOfChangesIsFetchedOnceASecond(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		v := w.view("a")
		w.list(v, Tools)
		sleep(time.Minute)
		w.told("a")
		for range 1000 {
			w.c.Invalidate(w.def("a"), jackfield.App(), "notifications/tools/list_changed")
			sleep(10 * time.Millisecond)
		}
		if n := w.visits("a"); n > 12 {
			t.Errorf("%d visits in ten seconds", n)
		}
		w.set("a", func(s *script) { s.names[Tools] = []string{"last"} })
		w.c.Invalidate(w.def("a"), jackfield.App(), "notifications/tools/list_changed")
		w.list(v, Tools).want(t, "a__last")
	})
}

func TestServersThatWereNeverListedAreAwaitedForTwoSecondsTogether(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "fast", "slow", "dead", "hung")
		w.set("fast", func(s *script) { s.took = 100 * time.Millisecond })
		w.set("slow", func(s *script) { s.took = 5 * time.Second })
		w.set("dead", func(s *script) { s.err = errDown })
		w.set("hung", func(s *script) { s.took = time.Hour })
		v := w.view("slow", "fast", "dead", "hung")
		p := w.list(v, Tools)
		p.want(t, "fast__echo")
		p.wantTook(t, 2*time.Second)
		if p.TTL != 0 {
			t.Errorf("ttlMs %d of a list with holes, want 0", p.TTL)
		}
		w.list(v, Tools).wantTook(t, 0) // who comes later does not wait for them again
		if got := w.told("slow"); got != 0 {
			t.Errorf("told of %b before it was listed", got)
		}
		sleep(3 * time.Second)
		if got := w.told("slow"); !got.Has(Tools) {
			t.Error("nobody was told when the rest arrived")
		}
		if got := w.told("fast"); got != 0 {
			t.Errorf("told of %b of a server that everybody saw", got)
		}
		w.list(v, Tools).want(t, "slow__echo", "fast__echo")
	})
}

func TestAnswersThatComeInTimeEndTheWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a", "b")
		w.set("a", func(s *script) { s.took = 300 * time.Millisecond })
		w.set("b", func(s *script) { s.took = 700 * time.Millisecond })
		p := w.list(w.view("a", "b"), Tools)
		p.want(t, "a__echo", "b__echo")
		p.wantTook(t, 700*time.Millisecond)
		if p.TTL < 200_000 {
			t.Errorf("ttlMs %d", p.TTL)
		}
	})
}

func TestAServerThatIsDownIsShownFromItsLastGoodListWithAgeAndReason(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		v := w.view("a")
		w.list(v, Tools)
		good := time.Now()
		w.set("a", func(s *script) { s.err = errDown })
		sleep(6 * time.Minute)
		broke := time.Now()
		for range 600 {
			p := w.list(v, Tools)
			p.want(t, "a__echo")
			p.wantTook(t, 0)
			sleep(time.Second)
		}
		st := w.c.Status(w.def("a")).Listings[0]
		if !errors.Is(st.Err, errDown) || !st.Since.Equal(broke) || !st.Retry.After(broke) {
			t.Errorf("status %+v", st)
		}
		if l := st.Lists[Tools]; !l.Known || l.Count != 1 || !l.Fetched.Equal(good) || l.Fresh {
			t.Errorf("list %+v", l)
		}
		if n := w.visits("a"); n < 12 || n > 30 {
			t.Errorf("%d visits in ten minutes of failures, want one every half to whole minute", n)
		}
		w.set("a", func(s *script) { s.err = nil })
		sleep(time.Minute)
		w.list(v, Tools)
		sleep(time.Second)
		if st := w.c.Status(w.def("a")).Listings[0]; st.Err != nil || !st.Since.IsZero() || !st.Lists[Tools].Fresh {
			t.Errorf("status after recovery %+v", st)
		}
	})
}

func TestAVisitThatHangsEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{Limits: Limits{Fetch: 20 * time.Second}}, "a")
		w.set("a", func(s *script) { s.took = time.Hour })
		v := w.c.Only(w.def("a"))
		p := w.list(v, Tools)
		p.want(t)
		p.wantTook(t, 2*time.Second)
		sleep(19 * time.Second)
		_, err := w.tryList(jackfield.App(), v, Tools, "")
		if err == nil || jackfield.CodeOf(err) != jackfield.Unavailable {
			t.Fatalf("err %v, want why there is no list", err)
		}
		for _, part := range []string{`"a"`, "within 20s", "since 2000-", "tried again"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q is missing from: %v", part, err)
			}
		}
	})
}

func TestAListThatCannotBeFetchedLeavesTheOthersAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.set("a", func(s *script) { s.names[Prompts], s.errs[Prompts] = []string{"p"}, errDown })
		v := w.view("a")
		w.list(v, Tools).want(t, "a__echo")
		w.list(v, Prompts).want(t)
		st := w.c.Status(w.def("a")).Listings[0]
		if !errors.Is(st.Lists[Prompts].Err, errDown) || st.Lists[Prompts].Known || !st.Lists[Tools].Known {
			t.Errorf("%+v", st)
		}
		w.set("a", func(s *script) { s.errs[Prompts] = nil })
		sleep(time.Minute)
		w.list(v, Prompts).want(t, "a__p")
	})
}

func TestWhatAServerSaysOfAgeAndAudienceIsHonouredAndPassedOn(t *testing.T) {
	for name, c := range map[string]struct {
		a, b   func(*script)
		ttl    int64
		scope  string
		second int // visits of a after ten seconds
	}{
		"the least of both":      {a: said(90*time.Second, true), b: said(30*time.Second, true), ttl: 30_000, scope: "public", second: 1},
		"private if one is":      {a: said(90*time.Second, false), b: said(90*time.Second, true), ttl: 90_000, scope: "private", second: 1},
		"less than zero is zero": {a: said(-time.Hour, true), b: said(90*time.Second, true), ttl: 0, scope: "public", second: 2},
		"the gateway's own rule where nothing is said": {
			a: func(*script) {}, b: said(time.Hour, true), ttl: 300_000, scope: "private", second: 1,
		},
		"long": {a: said(time.Hour, true), b: said(2*time.Hour, true), ttl: 3600_000, scope: "public", second: 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t, Options{}, "a", "b")
				w.set("a", c.a)
				w.set("b", c.b)
				v := w.view("a", "b")
				p := w.list(v, Tools)
				if p.TTL != c.ttl || p.Scope != c.scope {
					t.Errorf("ttlMs %d %s, want %d %s", p.TTL, p.Scope, c.ttl, c.scope)
				}
				if p := w.list(w.view("a", "b").Private(), Tools); p.Scope != "private" {
					t.Errorf("%s, though not everybody sees the same", p.Scope)
				}
				sleep(10 * time.Second)
				w.list(v, Tools).wantTook(t, 0)
				if n := w.visits("a"); n != c.second {
					t.Errorf("%d visits, want %d", n, c.second)
				}
			})
		})
	}
}

func said(ttl time.Duration, public bool) func(*script) {
	return func(s *script) { s.ttl, s.told, s.public, s.shape.Version = ttl, true, public, exchange.Modern }
}

func TestAListThatIsNeverFreshIsFetchedOnceASecondAtMost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.set("a", said(0, true))
		v := w.view("a")
		for range 100 {
			w.list(v, Tools).want(t, "a__echo")
			sleep(100 * time.Millisecond)
		}
		if n := w.visits("a"); n < 9 || n > 11 {
			t.Errorf("%d visits in ten seconds", n)
		}
	})
}

func TestAListStaysFreshWhileAStreamWouldTellOfChanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		v := w.view("a")
		w.list(v, Tools)
		stop := w.c.Streaming(w.def("a"), jackfield.User("ann"))
		more := w.c.Streaming(w.def("a"), jackfield.User("bob"))
		sleep(time.Hour)
		if p := w.list(v, Tools); p.TTL != 300_000 {
			t.Errorf("ttlMs %d", p.TTL)
		}
		if n := w.visits("a"); n != 1 {
			t.Errorf("%d visits, want 1", n)
		}
		stop()
		stop()
		sleep(time.Minute)
		if p := w.list(v, Tools); p.TTL != 300_000 {
			t.Errorf("ttlMs %d while one stream is left", p.TTL)
		}
		more()
		sleep(time.Minute)
		if p := w.list(v, Tools); p.TTL != 240_000 {
			t.Errorf("ttlMs %d a minute after the last stream ended", p.TTL)
		}
		sleep(4 * time.Minute)
		w.list(v, Tools)
		if n := w.visits("a"); n != 2 {
			t.Errorf("%d visits after the stream ended, want 2", n)
		}
	})
}

func TestWhatChangedBeforeTheStreamOpenedIsNotMissed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		v := w.view("a")
		w.list(v, Tools)
		sleep(time.Minute)
		w.set("a", func(s *script) { s.names[Tools] = []string{"new"} })
		stop := w.c.Streaming(w.def("a"), jackfield.App())
		synctest.Wait()
		w.list(v, Tools).want(t, "a__new")
		stop()
		if n := w.visits("a"); n != 2 {
			t.Errorf("%d visits, want 2", n)
		}
		// Many streams that open one after the other cost no visit each.
		for range 10 {
			w.c.Streaming(w.def("a"), jackfield.App())()
			sleep(2 * time.Second)
		}
		if n := w.visits("a"); n != 2 {
			t.Errorf("%d visits, want 2", n)
		}
		w.list(v, Tools)
		if n := w.visits("a"); n != 3 {
			t.Errorf("%d visits after somebody asked, want 3", n)
		}
	})
}

func TestANewConnectionListsAServerAnew(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a", "m")
		w.set("m", said(time.Hour, true))
		v := w.view("a", "m")
		w.list(v, Tools)
		sleep(time.Minute)
		w.set("a", func(s *script) { s.names[Tools] = []string{"new"} })
		for range 200 {
			w.c.Connected(w.def("a"), jackfield.User("ann"))
			w.c.Connected(w.def("m"), jackfield.User("ann"))
		}
		synctest.Wait()
		w.list(v, Tools).want(t, "a__new", "m__echo")
		if a, m := w.visits("a"), w.visits("m"); a != 2 || m != 1 {
			t.Errorf("%d and %d visits; want 2 for 200 connections, and 1 where the server dates its list", a, m)
		}
		if got := w.told("a"); got != SetOf(Tools) {
			t.Errorf("told of %b", got)
		}
	})
}

func TestAConnectionEndsThePauseAfterFailures(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.set("a", func(s *script) { s.err = errDown })
		v := w.view("a")
		for range 8 {
			w.list(v, Tools).want(t)
			sleep(time.Minute)
		}
		w.list(v, Tools)
		w.set("a", func(s *script) { s.err = nil })
		sleep(time.Millisecond)
		before := w.visits("a")
		w.list(v, Tools)
		if n := w.visits("a"); n != before {
			t.Fatalf("visited in the pause")
		}
		sleep(30 * time.Second)
		w.c.Connected(w.def("a"), jackfield.App())
		synctest.Wait()
		w.list(v, Tools).want(t, "a__echo")
	})
}

func TestANewVersionIsListedAnewAndAnOldAnswerIsForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		v := w.view("a")
		w.list(v, Tools)
		if _, known := w.c.Shape(w.def("a")); !known {
			t.Fatal("the visit did not teach the shape")
		}
		sleep(6 * time.Minute)
		w.set("a", func(s *script) { s.took, s.names[Tools] = 500*time.Millisecond, []string{"stale"} })
		w.list(v, Tools) // a visit with the old definition is under way
		synctest.Wait()
		w.set("a", func(s *script) { s.def.Version, s.took, s.names[Tools] = 2, 0, []string{"new"} })
		if _, known := w.c.Shape(w.def("a")); known {
			t.Error("the shape of an older version is still taken for true")
		}
		v = w.view("a")
		p := w.list(v, Tools)
		p.want(t, "a__new")
		p.wantTook(t, 500*time.Millisecond) // for the old visit to end
		w.list(w.view("a"), Tools).want(t, "a__new")
	})
}

func TestWarmListsThreeServersAtATimeAndNoneThatMayNotBe(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		var defs []jackfield.Server
		for i := range 12 {
			s := w.add(fmt.Sprintf("s%02d", i))
			s.took = time.Second
			defs = append(defs, s.def)
		}
		defs[1].Invalid = "no such command"
		defs[2].Usage.OnDemand = true
		defs[3].Usage.RequiresOAuth = true
		before := time.Now()
		w.c.Warm(t.Context(), defs)
		if took := time.Since(before); took != 3*time.Second {
			t.Errorf("nine servers of a second each took %v, want three at a time", took)
		}
		for i := range defs {
			want := 1
			if i >= 1 && i <= 3 {
				want = 0
			}
			if n := w.visits(defs[i].Name); n != want {
				t.Errorf("%s: %d visits, want %d", defs[i].Name, n, want)
			}
		}
		before = time.Now()
		w.c.Warm(t.Context(), defs)
		if took := time.Since(before); took != 0 || w.visits("s00") != 1 {
			t.Error("what was listed was listed again")
		}
	})
}

func TestServersThatHangDoNotKeepTheOthersFromBeingListed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		var defs []jackfield.Server
		for i := range 9 {
			s := w.add(fmt.Sprintf("s%d", i))
			if i < 6 {
				s.took = time.Hour
			}
			defs = append(defs, s.def)
		}
		before := time.Now()
		w.c.Warm(t.Context(), defs)
		if took := time.Since(before); took != 2*slowVisit {
			t.Errorf("took %v", took)
		}
		w.list(w.view("s8"), Tools).want(t, "s8__echo")
	})
}

func TestWarmEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		var defs []jackfield.Server
		for i := range 9 {
			s := w.add(fmt.Sprintf("s%d", i))
			s.took = time.Hour
			defs = append(defs, s.def)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		before := time.Now()
		w.c.Warm(ctx, defs)
		if took := time.Since(before); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestAServerOnDemandIsListedOnFirstUse(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.set("a", func(s *script) { s.def.Usage.OnDemand = true })
		v := w.view("a")
		if err := v.Learn(t.Context(), jackfield.App(), time.Second); err != nil || w.visits("a") != 0 {
			t.Fatalf("opened without need (%v)", err)
		}
		w.list(v, Tools).want(t, "a__echo")
	})
}

func TestVisitsAtOnceAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{Limits: Limits{Visits: 2}})
		var names []string
		for i := range 6 {
			s := w.add(fmt.Sprintf("s%d", i))
			s.took = 500 * time.Millisecond
			names = append(names, s.def.Name)
		}
		p := w.list(w.view(names...), Tools)
		p.wantTook(t, 1500*time.Millisecond)
		if len(p.names) != 6 {
			t.Errorf("%q", p.names)
		}
	})
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a", "b")
		w.set("a", func(s *script) { s.took = time.Hour })
		w.list(w.view("a"), Tools)
		if err := w.c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.visits("a") != 1 {
			t.Error("not visited")
		}
		w.list(w.view("b"), Tools).want(t)
		if w.visits("b") != 0 {
			t.Error("visited after Close")
		}
	})
}

func TestACutListSaysSo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.set("a", func(s *script) { s.cut = "more than 50 pages" })
		w.list(w.view("a"), Tools)
		if got := w.c.Status(w.def("a")).Listings[0].Lists[Tools].Cut; got != "more than 50 pages" {
			t.Errorf("%q", got)
		}
	})
}

func TestForgottenServersAreNotKept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a", "b")
		v := w.view("a", "b")
		w.list(v, Tools)
		w.c.Keep([]jackfield.Server{w.def("b")})
		if st := w.c.Status(w.def("a")); st.Known || len(st.Listings) != 0 {
			t.Errorf("%+v", st)
		}
		if st := w.c.Status(w.def("b")); !st.Known || len(st.Listings) != 1 {
			t.Errorf("%+v", st)
		}
	})
}
