package connections

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/pool"
)

// app and user are the repositories of everybody and of one person.
func (bt *boardTest) app() *Repository[*line]  { return bt.b.Repository(jackfield.App()) }
func (bt *boardTest) user() *Repository[*line] { return bt.b.Repository(ann) }

func (bt *boardTest) get(r *Repository[*line], name string) pool.Lease[*line] {
	bt.Helper()
	l, err := r.Get(bt.Context(), name)
	if err != nil {
		bt.Fatalf("Get %s: %v", name, err)
	}
	return l
}

// loaded are the names of what is open now.
func loaded(r *Repository[*line]) []string {
	leases := r.Loaded()
	for _, l := range leases {
		l.Release()
	}
	return slices.Sorted(maps.Keys(leases))
}

func (bt *boardTest) wantLoaded(r *Repository[*line], names ...string) {
	bt.Helper()
	synctest.Wait()
	if got := loaded(r); !slices.Equal(got, names) {
		bt.Errorf("loaded: %v, want %v", got, names)
	}
}

// Has.

func TestHasIsTrueForAServerThatExists(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern)
		if access := bt.app().Has("docs"); !access.Allowed || access.Reason != "" {
			t.Errorf("%+v", access)
		}
	})
}

func TestHasSaysThatThereIsNoSuchServer(t *testing.T) {
	board(t, func(bt *boardTest) {
		if access := bt.app().Has("docs"); access.Allowed || access.Reason != `there is no server named "docs"` {
			t.Errorf("%+v", access)
		}
	})
}

func TestHasChangesNothing(t *testing.T) {
	board(t, func(bt *boardTest) {
		s := bt.add("docs", modern)
		l := bt.get(bt.app(), "docs")
		s.def.Usage.RequiresOAuth = true
		if bt.app().Has("docs").Allowed {
			t.Error("it is allowed")
		}
		select {
		case <-l.Stale():
			t.Error("a question ended a connection")
		default:
		}
		bt.wantDials(1)
		l.Release()
	})
}

// Get.

func TestGetGivesTheConnectionThatIsThere(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern)
		first, second := bt.get(bt.app(), "docs"), bt.get(bt.app(), "docs")
		if first.Conn() != second.Conn() {
			t.Error("another connection")
		}
		bt.wantDials(1)
		release(first, second)
	})
}

func TestGetDialsWithTheDefinitionAndKeepsTheConnection(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern, func(s *jackfield.Server) { s.Endpoint.URL = "https://docs.example/mcp" })
		l := bt.get(bt.app(), "docs")
		if got := l.Conn().server.Endpoint.URL; got != "https://docs.example/mcp" {
			t.Errorf("dialed %q", got)
		}
		l.Release()
		bt.wantLoaded(bt.app(), "docs")
	})
}

func TestFiftyGetsOfOneColdServerDialOnce(t *testing.T) {
	board(t, func(bt *boardTest) {
		for _, name := range []string{"modern", "stateful"} {
			shape := modern
			if name == "stateful" {
				shape = stateful
			}
			bt.add(name, shape).slow = time.Second
			before := len(bt.dials)
			done := make(chan pool.Lease[*line])
			for range 50 {
				go func() { done <- bt.get(bt.app(), name) }()
			}
			for range 50 {
				l := <-done
				defer l.Release()
			}
			bt.wantDials(before + 1)
		}
	})
}

func TestGetReplacesAConnectionThatDied(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern)
		l := bt.get(bt.app(), "docs")
		l.Conn().die("connection reset")
		l.Release()
		l = bt.get(bt.app(), "docs")
		if l.Conn() != bt.lines[1] || !bt.lines[0].closed() {
			t.Error("the dead connection was not replaced and closed")
		}
		l.Release()
	})
}

func TestGetReplacesAConnectionOfAnOlderVersion(t *testing.T) {
	board(t, func(bt *boardTest) {
		s := bt.add("docs", modern)
		l := bt.get(bt.app(), "docs")
		l.Release()
		s.def.Version = 2
		l = bt.get(bt.app(), "docs")
		if l.Conn() != bt.lines[1] || !bt.lines[0].closed() {
			t.Error("the old connection was not replaced and closed")
		}
		l.Release()
	})
}

// The clock is not asked: an edit of the title, however late, is no new version; an
// edit of the URL is one, even within the same millisecond.
func TestOnlyANewVersionReplacesAConnectionAndNoClock(t *testing.T) {
	board(t, func(bt *boardTest) {
		s := bt.add("docs", modern)
		bt.get(bt.app(), "docs").Release()
		time.Sleep(10 * time.Minute)
		s.def.Revision++
		s.def.About.Title = "Documents"
		bt.get(bt.app(), "docs").Release()
		bt.wantDials(1)
		s.def.Version++
		bt.get(bt.app(), "docs").Release()
		s.def.Version++
		bt.get(bt.app(), "docs").Release()
		bt.wantDials(3)
	})
}

func TestGetOfARemovedServerSaysSo(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern)
		bt.get(bt.app(), "docs").Release()
		bt.remove("docs")
		for range 2 {
			_, err := bt.app().Get(bt.Context(), "docs")
			bt.wantError(err, jackfield.NotFound, `there is no server named "docs"`)
		}
		bt.wantLoaded(bt.app())
		// The registry's change ends it, not a question.
		bt.b.Cut(func(k pool.Key) bool { return k.Server == "docs" }, errors.New("removed"))
		if !bt.lines[0].closed() {
			t.Error("the connection of a removed server is open")
		}
	})
}

func TestGetOfAnUnknownServerIsAnErrorForEverybody(t *testing.T) {
	board(t, func(bt *boardTest) {
		for _, r := range []*Repository[*line]{bt.app(), bt.user()} {
			l, err := r.Get(bt.Context(), "nowhere")
			bt.wantError(err, jackfield.NotFound, `"nowhere"`)
			if l.Conn() != nil {
				t.Error("there is a connection")
			}
		}
	})
}

func TestTheErrorsOfADialReachTheCaller(t *testing.T) {
	board(t, func(bt *boardTest) {
		refused := errors.New("connection refused")
		bt.add("docs", modern).err = refused
		_, err := bt.app().Get(bt.Context(), "docs")
		bt.wantError(err, jackfield.Unavailable, `"docs"`, "connection refused")
		if !errors.Is(err, refused) {
			t.Errorf("%v does not wrap its cause", err)
		}
	})
}

func TestGetEndsWithItsCallersContext(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern).slow = time.Hour
		ctx, cancel := context.WithTimeout(bt.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := bt.app().Get(ctx, "docs")
		bt.wantError(err, jackfield.Unavailable, `"docs"`)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestAReplacedConnectionIsNotCutUnderACall(t *testing.T) {
	board(t, func(bt *boardTest) {
		s := bt.add("docs", modern)
		old := bt.get(bt.app(), "docs")
		s.def.Version, s.err = 2, errors.New("connection refused") // the edit was wrong
		_, err := bt.app().Get(bt.Context(), "docs")
		bt.wantError(err, jackfield.Unavailable, "connection refused")
		if bt.lines[0].closed() {
			t.Error("the connection was closed under a call")
		}
		s.def.Version, s.err = 3, nil
		fresh := bt.get(bt.app(), "docs")
		if bt.lines[0].closed() {
			t.Error("the connection was closed under a call")
		}
		old.Release()
		if !bt.lines[0].closed() {
			t.Error("the old connection outlives its last call")
		}
		fresh.Release()
	})
}

// Closing may fail: the connection is out of use all the same.
func TestAConnectionThatFailsToCloseIsGoneAllTheSame(t *testing.T) {
	var said []error
	o := Options[*line]{Trace: &pool.Trace{Closed: func(_ pool.Key, _ string, err error) { said = append(said, err) }}}
	boardWith(t, o, func(bt *boardTest) {
		s := bt.add("docs", modern)
		l := bt.get(bt.app(), "docs")
		failing := errors.New("DELETE answered 500")
		l.Conn().failing = failing
		l.Release()
		s.def.Version = 2
		bt.get(bt.app(), "docs").Release() // replaced
		bt.lines[1].failing = failing
		if err := bt.app().Disconnect(bt.Context(), "docs"); err != nil {
			t.Errorf("Disconnect: %v", err)
		}
		bt.wantLoaded(bt.app())
		bt.get(bt.app(), "docs").Release()
		synctest.Wait()
		if len(said) != 2 || !errors.Is(said[0], failing) || !errors.Is(said[1], failing) {
			t.Errorf("the hooks were told %v", said)
		}
	})
}

// GetMany and All.

func TestGetManyGivesEachNameItsOutcome(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("a", modern)
		bt.add("b", stateful)
		bt.add("c", modern).err = errors.New("500 Internal Server Error")
		bt.add("d", modern, oauth)
		bt.add("e", modern, invalid)
		bt.add("f", modern)
		got := bt.app().GetMany(bt.Context(), "a", "b", "c", "d", "e", "nowhere", "f", "a")
		defer got.Release()
		if len(got) != 7 {
			t.Errorf("%d outcomes", len(got))
		}
		for _, name := range []string{"a", "b", "f"} {
			if got[name].Err != nil || got[name].Lease.Conn().server.Name != name {
				t.Errorf("%s: %v", name, got[name].Err)
			}
		}
		bt.wantError(got["c"].Err, jackfield.Unavailable, "500 Internal Server Error")
		bt.wantError(got["d"].Err, jackfield.Forbidden, "sign-in")
		bt.wantError(got["e"].Err, jackfield.Invalid, "MISSING")
		bt.wantError(got["nowhere"].Err, jackfield.NotFound, "nowhere")
	})
}

// Twelve servers of which every third takes half a second: batches that wait for
// their slowest would take 2 s, a window of three takes less than half of that.
func TestGetManyIsAWindowAndNotBatches(t *testing.T) {
	board(t, func(bt *boardTest) {
		var names []string
		for i := range 12 {
			s := bt.add(fmt.Sprint("s", i), modern)
			s.slow = 50 * time.Millisecond
			if i%3 == 0 {
				s.slow = 500 * time.Millisecond
			}
			names = append(names, s.def.Name)
		}
		start := time.Now()
		bt.app().GetMany(bt.Context(), names...).Release()
		// 4 × 500 ms + 8 × 50 ms over three workers.
		if took := time.Since(start); took > 1100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		if bt.peak != 3 {
			t.Errorf("%d dials at a time, want 3", bt.peak)
		}
		bt.wantDials(12)
	})
}

func TestAHungMemberOfGetManyHoldsNobodyUp(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("hung", modern).slow = time.Hour
		names := []string{"hung"}
		for i := range 6 {
			names = append(names, bt.add(fmt.Sprint("s", i), modern).def.Name)
		}
		ctx, cancel := context.WithTimeout(bt.Context(), time.Second)
		defer cancel()
		got := bt.app().GetMany(ctx, names...)
		defer got.Release()
		for _, name := range names[1:] {
			if got[name].Err != nil {
				t.Errorf("%s: %v", name, got[name].Err)
			}
		}
		bt.wantError(got["hung"].Err, jackfield.Unavailable, `"hung"`)
		bt.wantDials(7) // and nothing is tried again behind anybody's back
		time.Sleep(time.Hour)
		bt.wantDials(7)
	})
}

func TestGetManyThatRunsOutOfTimeSaysWhoIsMissing(t *testing.T) {
	board(t, func(bt *boardTest) {
		var names []string
		for i := range 9 {
			s := bt.add(fmt.Sprint("s", i), modern)
			s.slow = time.Hour
			names = append(names, s.def.Name)
		}
		ctx, cancel := context.WithTimeout(bt.Context(), time.Second)
		defer cancel()
		got := bt.app().GetMany(ctx, names...)
		for _, name := range names {
			if !errors.Is(got[name].Err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, got[name].Err)
			}
		}
		bt.wantDials(3) // the others were never begun
	})
}

// The window is of each call; what bounds them all together is the pool.
func TestManyCallsTogetherKeepToThePoolsBound(t *testing.T) {
	o := Options[*line]{Limits: pool.Limits{DialsOwner: 4}}
	boardWith(t, o, func(bt *boardTest) {
		var names []string
		for i := range 16 {
			s := bt.add(fmt.Sprint("s", i), modern)
			s.slow = 500 * time.Millisecond
			names = append(names, s.def.Name)
		}
		done := make(chan Outcomes[*line])
		for i := range 4 {
			go func() { done <- bt.app().GetMany(bt.Context(), names[4*i:4*i+4]...) }()
		}
		for range 4 {
			got := <-done
			for name, one := range got {
				if one.Err != nil {
					t.Errorf("%s: %v", name, one.Err)
				}
			}
			got.Release()
		}
		if bt.peak != 4 {
			t.Errorf("%d dials at a time, want 4", bt.peak)
		}
	})
}

func TestAllGetsEveryServerAndOneFailureStopsNone(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("a", modern)
		bt.add("b", modern).err = errors.New("connection refused")
		bt.add("c", stateful)
		bt.add("d", modern, onDemand)
		bt.add("e", modern)
		got := bt.app().All(bt.Context())
		defer got.Release()
		if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, []string{"a", "b", "c", "d", "e"}) {
			t.Errorf("outcomes of %v", names)
		}
		bt.wantError(got["b"].Err, jackfield.Unavailable, "connection refused")
		bt.wantError(got["d"].Err, jackfield.Forbidden, "startup: false")
		bt.wantLoaded(bt.app(), "a", "c", "e")
	})
}

// Loaded.

func TestLoadedIsEmptyBeforeAnythingWasOpened(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern)
		bt.wantLoaded(bt.app())
		bt.wantDials(0)
	})
}

func TestLoadedHasOnlyWhatIsOpen(t *testing.T) {
	board(t, func(bt *boardTest) {
		for _, name := range []string{"a", "b", "c"} {
			bt.add(name, modern)
		}
		bt.get(bt.app(), "a").Release()
		bt.get(bt.app(), "c").Release()
		bt.wantLoaded(bt.app(), "a", "c")
		bt.wantDials(2)
	})
}

func TestLoadedDialsNothingWhenAServerTurnsBad(t *testing.T) {
	board(t, func(bt *boardTest) {
		for _, name := range []string{"a", "b"} {
			bt.add(name, modern)
			bt.get(bt.app(), name).Release()
		}
		bt.lines[0].die("connection reset")
		bt.servers["a"].slow, bt.servers["a"].err = time.Hour, errors.New("500 Internal Server Error")
		start := time.Now()
		bt.wantLoaded(bt.app(), "b")
		if time.Since(start) != 0 {
			t.Errorf("a question took %v", time.Since(start))
		}
		bt.wantDials(2)
	})
}

// Disconnect and DisconnectAll.

func TestDisconnectClosesTheConnectionAndForgetsIt(t *testing.T) {
	board(t, func(bt *boardTest) {
		for _, name := range []string{"a", "b"} {
			bt.add(name, modern)
			bt.get(bt.app(), name).Release()
		}
		if err := bt.app().Disconnect(bt.Context(), "a"); err != nil {
			t.Errorf("Disconnect: %v", err)
		}
		if !bt.lines[0].closed() || bt.lines[1].closed() {
			t.Error("a is open, or b was closed")
		}
		bt.wantLoaded(bt.app(), "b")
		if err := bt.app().Disconnect(bt.Context(), "a"); err != nil {
			t.Errorf("Disconnect of what is not connected: %v", err)
		}
		bt.get(bt.app(), "a").Release() // who asks again gets it again
		bt.wantDials(3)
	})
}

func TestDisconnectLetsCallsFinishAndWaitsForThem(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern)
		l := bt.get(bt.app(), "docs")
		go func() {
			time.Sleep(time.Second)
			if bt.lines[0].closed() {
				t.Error("closed under a call")
			}
			l.Release()
		}()
		start := time.Now()
		if err := bt.app().Disconnect(bt.Context(), "docs"); err != nil || time.Since(start) != time.Second {
			t.Errorf("Disconnect: %v after %v", err, time.Since(start))
		}
	})
}

func TestDisconnectWaitsNoLongerThanItsCaller(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern)
		l := bt.get(bt.app(), "docs")
		ctx, cancel := context.WithTimeout(bt.Context(), time.Second)
		defer cancel()
		if err := bt.app().Disconnect(ctx, "docs"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Disconnect: %v", err)
		}
		l.Release()
		if !bt.lines[0].closed() {
			t.Error("the closing did not go on")
		}
	})
}

func TestDisconnectAllClosesEverythingAndDialsUnderWay(t *testing.T) {
	o := Options[*line]{Limits: pool.Limits{DialsServer: 1}}
	boardWith(t, o, func(bt *boardTest) {
		for _, name := range []string{"a", "b"} {
			bt.add(name, modern)
			bt.get(bt.app(), name).Release()
		}
		slow := bt.add("slow", modern)
		slow.slow = time.Minute
		done := make(chan error)
		for range 2 {
			go func() {
				_, err := bt.app().Get(bt.Context(), "slow")
				done <- err
			}()
		}
		synctest.Wait()
		if err := bt.app().DisconnectAll(bt.Context()); err != nil {
			t.Errorf("DisconnectAll: %v", err)
		}
		for range 2 {
			bt.wantError(<-done, jackfield.Unavailable, `"slow"`, "closed while it was being opened")
		}
		bt.wantLoaded(bt.app())
		time.Sleep(time.Hour)
		bt.wantDials(3)
		for _, l := range bt.lines {
			if !l.closed() {
				t.Errorf("the connection of %v survived", l.key)
			}
		}
	})
}

func TestAfterCloseNothingIsOpenedAgain(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern)
		bt.add("slow", modern).slow = time.Minute
		bt.get(bt.app(), "docs").Release()
		late := make(chan error)
		go func() {
			_, err := bt.app().Get(bt.Context(), "slow")
			late <- err
		}()
		synctest.Wait()
		if err := bt.b.Close(bt.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		bt.wantError(<-late, jackfield.Unavailable, "shutting down")
		_, err := bt.app().Get(bt.Context(), "docs")
		bt.wantError(err, jackfield.Unavailable, `"docs"`, "shutting down")
		bt.wantLoaded(bt.app())
		bt.wantDials(2)
	})
}

func TestAPersonDisconnectsTheirOwnAndNotEverybodys(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("shared", modern)
		bt.add("mine", modern, oauth)
		bt.get(bt.user(), "shared").Release()
		bt.get(bt.user(), "mine").Release()
		for _, name := range []string{"shared", "mine"} {
			if err := bt.user().Disconnect(bt.Context(), name); err != nil {
				t.Errorf("Disconnect: %v", err)
			}
		}
		bt.wantLoaded(bt.user(), "shared")
		bt.get(bt.user(), "mine").Release()
		if err := bt.user().DisconnectAll(bt.Context()); err != nil {
			t.Errorf("DisconnectAll: %v", err)
		}
		bt.wantLoaded(bt.user(), "shared")
		if err := bt.app().DisconnectAll(bt.Context()); err != nil {
			t.Errorf("DisconnectAll: %v", err)
		}
		bt.wantLoaded(bt.user())
	})
}

// Idle connections, for the app's scope as well.
func TestConnectionsThatNobodyUsesAreClosedInEveryScope(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern)
		bt.add("mine", modern, oauth)
		bt.get(bt.app(), "docs").Release()
		bt.get(bt.user(), "mine").Release()
		time.Sleep(15*time.Minute + time.Second)
		bt.wantLoaded(bt.user())
		bt.wantDials(2)
		for _, l := range bt.lines {
			if !l.closed() {
				t.Errorf("the connection of %v is open", l.key)
			}
		}
	})
}

// What each scope may open.
