package connections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
)

func TestTwoHundredFirstCallsToAModernServerCauseOneDial(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern).slow = time.Second
		var wants []Want
		for i := range 200 {
			wants = append(wants, bt.want("docs", jackfield.User(fmt.Sprint("u", i%50)), fmt.Sprint("s", i), fmt.Sprintf(`{"x":%d}`, i)))
		}
		leases := bt.acquireAll(wants...)
		bt.wantDials(1)
		release(leases...)
	})
}

func TestTwoHundredFirstCallsOfOneSessionToAStatefulServerCauseOneDial(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", stateful).slow = time.Second
		w := bt.want("docs", ann, "chat", "")
		leases := bt.acquireAll(slices.Repeat([]Want{w}, 200)...)
		bt.wantDials(1)
		release(leases...)
	})
}

func TestTwoHundredSessionsOfAStatefulServerDialOnceEachWithinTheBound(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", stateful).slow = time.Second
		var wants []Want
		for i := range 200 {
			wants = append(wants, bt.want("docs", jackfield.User(fmt.Sprint("u", i)), fmt.Sprint("s", i), ""))
		}
		leases := bt.acquireAll(wants...)
		bt.wantDials(200)
		if bt.peak != 8 {
			t.Errorf("%d dials in flight, want 8", bt.peak)
		}
		seen := make(map[*line]bool)
		for _, l := range leases {
			seen[l.Conn()] = true
		}
		if len(seen) != 200 {
			t.Errorf("%d connections for 200 sessions", len(seen))
		}
		release(leases...)
	})
}

// All of one person, who may have 64 connections: those of sessions that are quiet
// make room.
func TestTwoHundredShortCallsOfOnePersonsSessionsAllSucceed(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", stateful).slow = 100 * time.Millisecond
		done := make(chan error)
		for i := range 200 {
			w := bt.want("docs", ann, fmt.Sprint("s", i), "")
			go func() {
				l, err := bt.b.Acquire(bt.Context(), w)
				if err == nil {
					time.Sleep(500 * time.Millisecond)
				}
				l.Release()
				done <- err
			}()
		}
		for range 200 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		bt.wantDials(200)
	})
}

func TestTheProbeOfAStatefulServerGoesToOneOfThoseWhoWait(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", stateful).slow = time.Second
		leases := bt.acquireAll(
			bt.want("docs", ann, "one", ""), bt.want("docs", ann, "two", ""), bt.want("docs", bob, "one", ""),
			bt.want("docs", bob, "", ""), bt.want("docs", ann, "one", ""))
		bt.wantDials(4)
		for i, want := range []string{
			"docs for user:ann (session:one)", "docs for user:ann (session:two)", "docs for user:bob (session:one)",
			"docs for user:bob", "docs for user:ann (session:one)",
		} {
			if got := leases[i].Key().String(); got != want {
				t.Errorf("call %d has the connection of %s, want %s", i, got, want)
			}
		}
		if leases[0].Conn() != leases[4].Conn() {
			t.Error("one session has two connections")
		}
		release(leases...)
	})
}

func TestWhoIsGivenAProbeIsTold(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", stateful)
		l := bt.acquire(bt.want("docs", ann, "one", ""))
		if got := l.Conn().claimed; len(got) != 1 || got[0] != l.Key() {
			t.Errorf("claimed: %v", got)
		}
		l.Release()
		l = bt.acquire(bt.want("docs", ann, "two", "")) // known now: no probe
		if got := l.Conn().claimed; len(got) != 0 {
			t.Errorf("claimed: %v", got)
		}
		l.Release()
	})
}

func TestAProbeThatDeclaredOtherCapabilitiesIsNotUsed(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", sessionless).slow = time.Second
		const roots, sampling = `{"roots":{}}`, `{"sampling":{}}`
		leases := bt.acquireAll(
			bt.want("docs", ann, "one", roots), bt.want("docs", bob, "two", sampling), bt.want("docs", bob, "", ""),
			bt.want("docs", ann, "", roots))
		bt.wantDials(3)
		for i, want := range []string{roots, sampling, "", roots} {
			if got := leases[i].Conn().caps; got != want {
				t.Errorf("call %d has a connection that declared %q", i, got)
			}
		}
		if leases[0].Conn() != leases[3].Conn() {
			t.Error("equal capabilities do not share")
		}
		release(leases...)
	})
}

func TestWhoJoinedAProbeOfOtherCapabilitiesDialsItsOwn(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", sessionless).slow = 10 * time.Second
		const roots, sampling = `{"roots":{}}`, `{"sampling":{}}`
		ctx, cancel := context.WithTimeout(bt.Context(), 5*time.Second)
		defer cancel()
		go func() {
			_, err := bt.b.Acquire(ctx, bt.want("docs", ann, "one", roots)) // and leaves
			bt.wantError(err, jackfield.Unavailable)
		}()
		synctest.Wait()
		l := bt.acquire(bt.want("docs", bob, "two", sampling))
		if got := l.Conn().caps; got != sampling {
			t.Errorf("the connection declared %q", got)
		}
		bt.wantDials(2)
		l.Release()
		l = bt.acquire(bt.want("docs", ann, "one", roots)) // comes back for it
		if got := l.Conn().caps; got != roots {
			t.Errorf("the connection declared %q", got)
		}
		bt.wantDials(2)
		l.Release()
	})
}

func TestEachCredentialHasAProbeOfItsOwn(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern, oauth).slow = time.Second
		leases := bt.acquireAll(bt.want("docs", ann, "", ""), bt.want("docs", bob, "", ""), bt.want("docs", ann, "chat", ""))
		bt.wantDials(2)
		if leases[0].Conn() == leases[1].Conn() {
			t.Error("two people share one person's credentials")
		}
		if leases[0].Conn() != leases[2].Conn() {
			t.Error("one person's calls do not share")
		}
		release(leases...)
	})
}

func TestAProbeThatFailsAnswersAllWhoWait(t *testing.T) {
	board(t, func(bt *boardTest) {
		s := bt.add("docs", modern)
		s.slow, s.err = time.Second, errors.New("connection refused")
		done := make(chan error)
		for i := range 20 {
			w := bt.want("docs", jackfield.User(fmt.Sprint(i)), "", "")
			go func() {
				_, err := bt.b.Acquire(bt.Context(), w)
				done <- err
			}()
		}
		for range 20 {
			bt.wantError(<-done, jackfield.Unavailable, `server "docs"`, "connection refused", "the next attempt is")
		}
		bt.wantDials(1)
	})
}

func TestAProbeWhoseCallersLeftIsJoinedByTheNext(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("npx", stdio).slow = 20 * time.Second
		for range 3 { // an impatient client that comes again
			ctx, cancel := context.WithTimeout(bt.Context(), 5*time.Second)
			_, err := bt.b.Acquire(ctx, bt.want("npx", ann, "chat", ""))
			cancel()
			bt.wantError(err, jackfield.Unavailable, "while it was being opened")
		}
		time.Sleep(10 * time.Second) // now it is open, and nobody is there
		l := bt.acquire(bt.want("npx", ann, "chat", ""))
		bt.wantDials(1)
		if l.Key().String() != "npx for user:ann (session:chat)" {
			t.Errorf("it stands under %v", l.Key())
		}
		l.Release()
	})
}

func TestWhoComesWhileAProbeIsDialedDialsNoOther(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern).slow = 10 * time.Second
		ctx, cancel := context.WithTimeout(bt.Context(), time.Second)
		defer cancel()
		_, err := bt.b.Acquire(ctx, bt.want("docs", ann, "", `{"roots":{}}`))
		bt.wantError(err, jackfield.Unavailable)
		bt.acquire(bt.want("docs", bob, "", `{"sampling":{}}`)).Release()
		bt.wantDials(1)
	})
}

// The dial tells the catalog before the pool can use the connection.
func TestWhoComesWhenAProbeHasToldAndIsNotOpenYetDialsNoOther(t *testing.T) {
	for _, shape := range []exchange.Shape{modern, stateful} {
		board(t, func(bt *boardTest) {
			s := bt.add("docs", shape)
			s.slow = 10 * time.Second
			first := make(chan pool.Lease[*line], 1)
			go func() {
				l, _ := bt.b.Acquire(bt.Context(), bt.want("docs", ann, "chat", ""))
				first <- l
			}()
			time.Sleep(5 * time.Second)
			bt.mu.Lock()
			s.known = &shape
			bt.mu.Unlock()
			second := bt.acquire(bt.want("docs", ann, "chat", ""))
			bt.wantDials(1)
			release(second, <-first)
		})
	}
}

func TestAConnectionSharedByMistakeIsTakenOutOfUse(t *testing.T) {
	board(t, func(bt *boardTest) {
		s := bt.add("docs", stateful)
		s.known = &modern // it was, last time
		l := bt.acquire(bt.want("docs", ann, "chat", ""))
		if l.Key().String() != "docs for user:ann (session:chat)" {
			t.Errorf("it stands under %v", l.Key())
		}
		bt.wantDials(2)
		if !bt.lines[0].closed() {
			t.Error("everybody may still use a connection that keeps state")
		}
		l.Release()
	})
}

func TestAServerThatTurnsOutOtherwiseLaterIsMovedAwayFrom(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern)
		first := bt.acquire(bt.want("docs", ann, "chat", ""))
		first.Conn().shape = stateful // it was restarted as something else
		bt.servers["docs"].shape = stateful
		second := bt.acquire(bt.want("docs", bob, "chat", ""))
		if second.Key().String() != "docs for user:bob (session:chat)" {
			t.Errorf("it stands under %v", second.Key())
		}
		bt.wantDials(2)
		release(first, second)
	})
}

func TestAServerThatShowsAnotherFaceEachTimeIsAnError(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", stateful).known = &modern
		bt.flip = true
		_, err := bt.b.Acquire(bt.Context(), bt.want("docs", ann, "chat", ""))
		bt.wantError(err, jackfield.Unavailable, "docs", "another protocol with every connection")
	})
}

func TestWhatTheBoardSawItRemembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bt := &boardTest{T: t, servers: make(map[string]*server)}
		b := New(Options[*line]{Lookup: bt.lookup, Dial: bt.dial}) // nobody knows shapes: a stateless server
		bt.b = b
		s := bt.add("docs", modern)
		l := bt.acquire(Want{Server: s.def, Owner: ann})
		if l.Key() != (pool.Key{Server: "docs"}) {
			t.Errorf("it stands under %v", l.Key())
		}
		l.Release()
		bt.acquire(Want{Server: s.def, Owner: bob}).Release()
		if bt.dials[0].Isolation.ID != pool.Probe || len(bt.dials) != 1 {
			t.Errorf("dials: %v", bt.dials)
		}
		s.def.Version = 2 // it may be another server now
		bt.acquire(Want{Server: s.def, Owner: bob}).Release()
		if bt.dials[1].Isolation.ID != pool.Probe {
			t.Errorf("dials: %v", bt.dials)
		}
		for range b.Repository(ann).All(t.Context()) {
			t.Error("without a list of servers, All has none")
		}
		bt.end()
	})
}

func TestTheMemoryOfShapesIsBounded(t *testing.T) {
	b := New(Options[*line]{
		Lookup: func(jackfield.ServerID) (jackfield.Server, bool) { return jackfield.Server{}, false },
		Dial:   (&boardTest{}).dial,
	})
	for i := range 3 * sightingsMax {
		b.see(jackfield.Server{ID: jackfield.ServerID(fmt.Sprint(i))}, modern)
		if len(b.seen) > sightingsMax {
			t.Fatalf("%d shapes are remembered", len(b.seen))
		}
	}
}

func TestACallsOwnConnectionEndsWithTheCall(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern, sharing("call"))
		leases := bt.acquireAll(bt.want("docs", ann, "chat", ""), bt.want("docs", ann, "chat", ""))
		bt.wantDials(2)
		if leases[0].Conn() == leases[1].Conn() {
			t.Error("two calls share")
		}
		leases[0].Release()
		if !bt.lines[0].closed() || bt.lines[1].closed() {
			t.Error("the connection of a call outlives it, or ended with another's")
		}
		leases[1].Release()
	})
}

func TestANewSignInReplacesOnlyThatPersonsConnection(t *testing.T) {
	versions := map[jackfield.Scope]uint64{}
	o := Options[*line]{Credential: func(_ jackfield.ServerID, scope jackfield.Scope) uint64 { return versions[scope] }}
	boardWith(t, o, func(bt *boardTest) {
		bt.add("docs", modern, oauth)
		bt.add("open", modern)
		old, other, shared := bt.acquire(bt.want("docs", ann, "", "")), bt.acquire(bt.want("docs", bob, "", "")), bt.acquire(bt.want("open", ann, "", ""))
		versions[ann]++
		fresh := bt.acquire(bt.want("docs", ann, "", ""))
		if fresh.Conn() == old.Conn() {
			t.Error("the old credentials are still used")
		}
		for _, want := range []struct {
			name string
			who  jackfield.Scope
			line *line
		}{{"docs", bob, other.Conn()}, {"open", ann, shared.Conn()}} {
			l := bt.acquire(bt.want(want.name, want.who, "", ""))
			if l.Conn() != want.line {
				t.Errorf("the connection of %v to %s was replaced", want.who, want.name)
			}
			l.Release()
		}
		versions[jackfield.App()]++ // the operator's secret
		l := bt.acquire(bt.want("open", bob, "", ""))
		if l.Conn() == shared.Conn() {
			t.Error("the operator's old secret is still used")
		}
		release(l, old, other, shared, fresh)
	})
}

func TestAServerThatWasRemovedMeanwhileIsNotDialed(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern)
		w := bt.want("docs", ann, "", "")
		bt.remove("docs")
		bt.b.o.Shape = nil
		_, err := bt.b.Acquire(bt.Context(), w)
		bt.wantError(err, jackfield.NotFound, `no server named "docs"`)
		bt.wantDials(0)
	})
}

func TestListingUsesTheSharedConnectionWhereThatDisturbsNobody(t *testing.T) {
	for name, test := range map[string]struct {
		shape exchange.Shape
		edit  func(*jackfield.Server)
		owner jackfield.Scope
		want  string
		ends  bool // it is closed when released
	}{
		"modern":                    {modern, sharing(""), ann, "docs for app", false},
		"sessionless":               {sessionless, sharing(""), jackfield.App(), "docs for app", false},
		"stateful":                  {stateful, sharing(""), ann, "docs for app (listing)", true},
		"stdio":                     {stdio, sharing(""), jackfield.App(), "docs for app (listing)", true},
		"on demand":                 {modern, onDemand, jackfield.App(), "docs for app", false},
		"own credentials":           {modern, oauth, ann, "docs for user:ann", false},
		"own credentials, stateful": {stateful, oauth, ann, "docs for user:ann (listing)", true},
		"said app":                  {stateful, sharing("app"), ann, "docs for app", false},
		"said owner":                {modern, sharing("owner"), ann, "docs for user:ann", false},
		"said owner, stateful":      {stateful, sharing("owner"), ann, "docs for app (listing)", true},
		"a modern process":          {modern, process, ann, "docs for app (listing)", true},
		"said session":              {modern, sharing("session"), ann, "docs for app (listing)", true},
		"said call":                 {modern, sharing("call"), ann, "docs for app (listing)", true},
	} {
		for _, known := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				board(t, func(bt *boardTest) {
					s := bt.add("docs", test.shape, test.edit)
					if known {
						s.known = &test.shape
					}
					l, err := bt.b.Listing(bt.Context(), s.def, test.owner)
					if err != nil {
						t.Fatal(err)
					}
					if got := l.Key().String(); got != test.want {
						t.Errorf("known before: %v: listed on the connection of %s, want %s", known, got, test.want)
					}
					l.Release()
					if bt.lines[0].closed() != test.ends {
						t.Errorf("closed when released: %v", !test.ends)
					}
					bt.wantDials(1)
				})
			})
		}
	}
}

func process(s *jackfield.Server) { s.Endpoint.Transport = jackfield.TransportStdio }

func TestListingUsesAProcessThatRunsAnyway(t *testing.T) {
	board(t, func(bt *boardTest) {
		s := bt.add("docs", modern, process)
		s.known = &modern
		calls := bt.acquire(bt.want("docs", ann, "", ""))
		l, err := bt.b.Listing(bt.Context(), s.def, ann)
		if err != nil {
			t.Fatal(err)
		}
		if l.Conn() != calls.Conn() {
			t.Error("a second process was started to list")
		}
		release(l, calls)
		bt.wantDials(1)
	})
}

func TestListingNeverUsesAClientsSession(t *testing.T) {
	board(t, func(bt *boardTest) {
		s := bt.add("docs", stateful)
		clients := bt.acquire(bt.want("docs", ann, "chat", ""))
		l, err := bt.b.Listing(bt.Context(), s.def, ann)
		if err != nil {
			t.Fatal(err)
		}
		if l.Conn() == clients.Conn() {
			t.Error("the listing runs in a client's session")
		}
		release(l, clients)
	})
}

func TestListingIsRefusedWhereNobodyMayConnect(t *testing.T) {
	board(t, func(bt *boardTest) {
		_, err := bt.b.Listing(bt.Context(), bt.add("docs", modern, oauth).def, jackfield.App())
		bt.wantError(err, jackfield.Forbidden, "docs", "sign-in")
		_, err = bt.b.Listing(bt.Context(), bt.add("bad", modern, invalid).def, ann)
		bt.wantError(err, jackfield.Invalid, "bad", "MISSING")
		bt.wantDials(0)
	})
}

func TestAnInvalidDefinitionIsNeverDialed(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("bad", modern, invalid)
		for _, who := range []jackfield.Scope{ann, jackfield.App()} {
			_, err := bt.b.Acquire(bt.Context(), bt.want("bad", who, "", ""))
			bt.wantError(err, jackfield.Invalid, `"bad"`, "url: ${MISSING} is not set")
		}
		bt.wantDials(0)
	})
}

func TestLoadedGivesWhatTheCallerMayUseAndDialsNothing(t *testing.T) {
	board(t, func(bt *boardTest) {
		for _, name := range []string{"stateful", "modern", "mine", "cold", "gone", "edited", "died", "broken", "listed"} {
			shape := modern
			if name == "stateful" || name == "listed" {
				shape = stateful
			}
			bt.add(name, shape)
		}
		bt.servers["mine"].def.Usage.RequiresOAuth = true
		open := bt.acquireAll(
			bt.want("stateful", ann, "one", ""), bt.want("stateful", ann, "two", ""), bt.want("stateful", ann, "", ""),
			bt.want("stateful", bob, "", ""), bt.want("modern", bob, "", ""), bt.want("mine", ann, "", ""), bt.want("mine", bob, "", ""),
			bt.want("gone", ann, "", ""), bt.want("edited", ann, "", ""), bt.want("died", ann, "", ""), bt.want("broken", ann, "", ""))
		listing, err := bt.b.Listing(bt.Context(), bt.servers["listed"].def, ann)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, listing)
		bt.remove("gone")
		bt.servers["broken"].def.Invalid = "url: ${MISSING} is not set"
		bt.servers["edited"].def.Version = 2
		open[9].Conn().die("the process ended")
		dials := len(bt.dials)

		for _, test := range []struct {
			owner   jackfield.Scope
			session string
			want    []*line
		}{
			{ann, "one", []*line{open[0].Conn(), open[4].Conn(), open[5].Conn()}},
			{ann, "two", []*line{open[1].Conn(), open[4].Conn(), open[5].Conn()}},
			{ann, "", []*line{open[2].Conn(), open[4].Conn(), open[5].Conn()}},
			{ann, "three", []*line{open[2].Conn(), open[4].Conn(), open[5].Conn()}},
			{bob, "one", []*line{open[3].Conn(), open[4].Conn(), open[6].Conn()}},
			{jackfield.App(), "", []*line{open[4].Conn()}},
		} {
			for range 20 { // the pool keeps no order
				got := make(map[*line]bool)
				for l := range bt.b.Loaded(test.owner, test.session) {
					got[l.Conn()] = true
					l.Release()
				}
				if len(got) != len(test.want) || slices.ContainsFunc(test.want, func(l *line) bool { return !got[l] }) {
					t.Fatalf("%v in session %q has %d connections, want %d, or others", test.owner, test.session, len(got), len(test.want))
				}
			}
		}
		for l := range bt.b.Loaded(ann, "one") {
			l.Release()
			break // holds nothing that it did not hand out
		}
		bt.wantDials(dials)
		release(open...)
	})
}

func TestResetCutDrainAndStatusReachThePool(t *testing.T) {
	board(t, func(bt *boardTest) {
		bt.add("docs", modern)
		all := func(pool.Key) bool { return true }
		ends := []func(){
			func() { bt.b.Reset(all) },
			func() { bt.b.Drain(all) },
			func() { bt.b.Cut(all, errors.New("removed")) },
		}
		for i, end := range ends {
			l := bt.acquire(bt.want("docs", ann, "", ""))
			n := 0
			synctest.Wait()
			for k, st := range bt.b.Status() {
				if n++; k.Server != "docs" || st.State != pool.Ready || st.Leases != 1 {
					t.Errorf("%v is %+v", k, st)
				}
			}
			end()
			select {
			case <-l.Stale():
			default:
				t.Errorf("%d: the lease was not told", i)
			}
			if n != 1 {
				t.Errorf("%d: %d connections", i, n)
			}
			l.Release()
		}
		if !bt.lines[2].closed() || bt.lines[2].aborted == nil {
			t.Error("the last one was not cut")
		}
	})
}

func TestChildProcessesCountAgainstTheirOwnBudget(t *testing.T) {
	o := Options[*line]{Limits: pool.Limits{ChildrenOwner: 1, Patience: -1}}
	boardWith(t, o, func(bt *boardTest) {
		bt.add("shell", stdio, func(s *jackfield.Server) { s.Endpoint.Transport = jackfield.TransportStdio })
		l := bt.acquire(bt.want("shell", ann, "one", ""))
		_, err := bt.b.Acquire(bt.Context(), bt.want("shell", ann, "two", ""))
		bt.wantError(err, jackfield.Exhausted, "shell", "all programs that user:ann may have (1)", "limits.programs.perOwner")
		l.Release()
	})
}

func TestNewPanicsWithoutLookupOrDial(t *testing.T) {
	for _, o := range []Options[*line]{{}, {Dial: (&boardTest{}).dial}, {Lookup: (&boardTest{}).lookup}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("New took options that lack something")
				}
			}()
			New(o)
		}()
	}
}

func BenchmarkAcquire(b *testing.B) {
	for name, shape := range map[string]exchange.Shape{"modern": modern, "stateful": stateful} {
		b.Run(name, func(b *testing.B) {
			def := jackfield.Server{ID: "docs", Name: "docs", Version: 1}
			board := New(Options[*line]{
				Lookup: func(jackfield.ServerID) (jackfield.Server, bool) { return def, true },
				Dial: func(context.Context, jackfield.Server, pool.Key, string) (*line, error) {
					return &line{shape: shape}, nil
				},
				ShapeOf: func(l *line) exchange.Shape { return l.shape },
			})
			w := Want{Server: def, Owner: ann, Session: "0123456789abcdef", Caps: `{"sampling":{}}`}
			b.ReportAllocs()
			for b.Loop() {
				l, err := board.Acquire(b.Context(), w)
				if err != nil {
					b.Fatal(err)
				}
				l.Release()
			}
		})
	}
}
