package pool

import (
	"testing"
	"time"
)

// refuse lets several people fail to reach the server, with nothing in between.
func (pt *poolTest) refuse(keys ...string) {
	pt.Helper()
	var asks []*ask
	for _, k := range keys {
		asks = append(asks, pt.acquire(k, 1))
	}
	for i, k := range keys {
		pt.wantDial(k).finish(errRefused)
		asks[i].wantError("connection refused")
	}
}

// wantAll wants all of them to be dialed at once, and to succeed.
func (pt *poolTest) wantAll(asks ...*ask) {
	pt.Helper()
	if n := pt.inFlight(); n != len(asks) {
		pt.Errorf("%d dials are in flight, want %d", n, len(asks))
	}
	for _, a := range asks {
		d := pt.wantDial(a.key)
		d.finish(nil)
		a.wantLease(d).Release()
	}
}

func TestThreeUnreachedFromTwoKeysKeepEverybodyFromDialing(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.refuse("docs/ann", "docs/bob")
		l, _ := pt.open("mail/eve", 1)
		l.Release()
		pt.refuse("docs/carl")
		pt.acquire("docs/dan", 1).wantError("connection refused", "failed 3 times", "in 4s")
		pt.wantNoDial()
		pt.wantNothing("docs/dan") // no slot is made for each who asks
		l, _ = pt.open("todo/dan", 1)
		l.Release()
	})
}

func TestTwoFailuresDoNotOpenTheBreaker(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.refuse("docs/ann", "docs/bob")
		l, _ := pt.open("docs/carl", 1)
		l.Release()
	})
}

func TestASuccessInBetweenKeepsTheBreakerClosed(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.refuse("docs/ann", "docs/bob")
		l, _ := pt.open("docs/carl", 1)
		l.Release()
		pt.refuse("docs/dan", "docs/eve")
		l, _ = pt.open("docs/fay", 1)
		l.Release()
	})
}

func TestOneKeyAmongOthersDoesNotOpenTheBreaker(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		l, _ := pt.open("docs/bob", 1)
		defer l.Release()
		for range 5 {
			time.Sleep(30 * time.Second)
			pt.fail("docs/ann", 1, errRefused)
		}
		l2, _ := pt.open("docs/carl", 1)
		l2.Release()
	})
}

func TestTheOnlyKeyOpensTheBreaker(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		for range 3 {
			time.Sleep(2 * time.Second)
			pt.fail("docs/ann", 1, errRefused)
		}
		pt.acquire("docs/bob", 1).wantError("failed 3 times")
		pt.wantNoDial()
	})
}

func TestSignInsAndSlowCallsDoNotOpenTheBreaker(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		for _, k := range []string{"docs/1", "docs/2", "docs/3", "docs/4"} {
			pt.fail(k, 1, errSignIn)
		}
		for _, k := range []string{"docs/5", "docs/6", "docs/7", "docs/8"} {
			pt.fail(k, 1, errSlow)
		}
		l, _ := pt.open("docs/ann", 1)
		l.Release()
	})
}

func TestFailuresOfAURLThatDependsOnTheUserAreThatUsersAlone(t *testing.T) {
	o := Options[*conn]{Classify: classify, PerKeyOnly: func(k Key) bool { return k.Scope.ID < "a" }}
	pooled(t, o, func(pt *poolTest) {
		pt.fail("docs/ben", 1, errSignIn)
		pt.refuse("docs/1", "docs/2", "docs/3", "docs/4", "docs/5")
		l6, _ := pt.open("docs/6", 1)
		defer l6.Release()
		l, _ := pt.open("docs/ann", 1)
		l.Release()
	})
}

func TestAnOpenBreakerAnswersThoseInTheQueueAtOnce(t *testing.T) {
	o := Options[*conn]{Classify: classify, Limits: Limits{DialsServer: 3}}
	pooled(t, o, func(pt *poolTest) {
		var asks []*ask
		for _, k := range []string{"docs/1", "docs/2", "docs/3", "docs/4", "docs/5", "docs/6"} {
			asks = append(asks, pt.acquire(k, 1))
		}
		dials := pt.takeDials()
		dials[0].finish(errRefused)
		dials[1].finish(errRefused)
		started := pt.takeDials()
		dials[2].finish(errRefused)
		asks[5].wantError("connection refused", "failed 3 times")
		pt.wantNoDial()
		for _, d := range started { // those under way go on, and may end it
			d.finish(nil)
		}
		asks[3].wantLease(started[0]).Release()
		asks[4].wantLease(started[1]).Release()
		l, _ := pt.open("docs/6", 1)
		l.Release()
	})
}

func TestThoseUnderWayWhenTheBreakerOpensDoNotProlongIt(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.refuse("docs/1", "docs/2", "docs/3", "docs/4", "docs/5", "docs/6", "docs/7", "docs/8")
		pt.acquire("docs/ann", 1).wantError("failed 3 times", "in 4s")
	})
}

func TestWhenTheBreakerIsDueOneCallerTriesForAll(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.refuse("docs/1", "docs/2", "docs/3")
		time.Sleep(4 * time.Second)
		a, b, c := pt.acquire("docs/ann", 1), pt.acquire("docs/bob", 1), pt.acquire("docs/carl", 1)
		probe := pt.wantDial("docs/ann")
		pt.wantNoDial()
		b.wantWaiting()
		probe.finish(nil)
		a.wantLease(probe).Release()
		pt.wantAll(b, c)
	})
}

func TestATryThatFailsKeepsTheBreakerOpenForLonger(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.refuse("docs/1", "docs/2", "docs/3")
		time.Sleep(4 * time.Second)
		a, b := pt.acquire("docs/ann", 1), pt.acquire("docs/bob", 1)
		pt.wantDial("docs/ann").finish(errRefused)
		a.wantError("connection refused")
		b.wantError("failed 4 times", "in 8s")
		pt.wantNoDial()
		time.Sleep(8*time.Second - time.Millisecond)
		pt.acquire("docs/bob", 1).wantError("failed 4 times")
		time.Sleep(time.Millisecond)
		l, _ := pt.open("docs/bob", 1)
		l.Release()
	})
}

func TestATryThatNeedsASignInShowsThatTheServerIsThere(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.refuse("docs/1", "docs/2", "docs/3")
		time.Sleep(4 * time.Second)
		a, b, c := pt.acquire("docs/ann", 1), pt.acquire("docs/bob", 1), pt.acquire("docs/carl", 1)
		pt.wantDial("docs/ann").finish(errSignIn)
		a.wantError("a sign-in is needed")
		pt.wantAll(b, c)
	})
}

func TestATryThatIsGivenUpLeavesItsTurnToTheNext(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.refuse("docs/1", "docs/2", "docs/3")
		time.Sleep(4 * time.Second)
		a, b := pt.acquire("docs/ann", 1), pt.acquire("docs/bob", 1)
		pt.wantDial("docs/ann")
		pt.p.Drain(is("docs/ann"))
		a.wantError("closed while it was being opened")
		d := pt.wantDial("docs/bob")
		d.finish(nil)
		b.wantLease(d).Release()
	})
}

func TestTheBreakerHonoursRetryAfter(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		for _, k := range []string{"docs/1", "docs/2", "docs/3"} {
			pt.fail(k, 1, retryAfter(45*time.Second))
		}
		pt.acquire("docs/ann", 1).wantError("in 45s")
	})
}

func TestWhatClosesTheBreaker(t *testing.T) {
	for name, end := range map[string]struct {
		do      func(*poolTest)
		version uint64
	}{
		"Reset of the server":   {func(pt *poolTest) { pt.p.Reset(func(k Key) bool { return k.Server == "docs" }) }, 1},
		"Reset of its bare key": {func(pt *poolTest) { pt.p.Reset(is("docs")) }, 1},
		"Cut of the server":     {func(pt *poolTest) { pt.p.Cut(func(k Key) bool { return k.Server == "docs" }, errRefused) }, 1},
		"a newer definition":    {func(*poolTest) {}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			pooled(t, classified, func(pt *poolTest) {
				pt.refuse("docs/1", "docs/2", "docs/3")
				end.do(pt)
				l, _ := pt.open("docs/ann", end.version)
				l.Release()
			})
		})
	}
}

func TestResetWhereNothingFailsHoldsNobodyUp(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		l, _ := pt.open("docs/ann", 1)
		pt.p.Reset(is("docs/ann"))
		l.Release()
		pt.wantAll(pt.acquire("docs/bob", 1), pt.acquire("docs/carl", 1))
	})
}

func TestResetOfTheServerFreesThoseWhoWaitForATry(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.refuse("docs/1", "docs/2", "docs/3")
		time.Sleep(4 * time.Second)
		try, a, b := pt.acquire("docs/1", 1), pt.acquire("docs/ann", 1), pt.acquire("docs/bob", 1)
		d := pt.wantDial("docs/1")
		pt.wantNoDial()
		pt.p.Reset(is("docs"))
		da, db := pt.wantDial("docs/ann"), pt.wantDial("docs/bob")
		d.finish(errRefused)
		try.wantError("connection refused")
		da.finish(nil)
		db.finish(nil)
		a.wantLease(da).Release()
		b.wantLease(db).Release()
	})
}

func TestResetOfOneKeyLetsOneCallerTry(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.refuse("docs/ann", "docs/bob", "docs/carl")
		pt.p.Reset(is("docs/bob")) // bob clicks "try again"
		b, d := pt.acquire("docs/bob", 1), pt.acquire("docs/dan", 1)
		dial := pt.wantDial("docs/bob")
		pt.wantNoDial()
		dial.finish(errRefused)
		b.wantError("connection refused")
		d.wantError("failed 4 times", "in 8s")
		pt.p.Reset(is("docs/nobody"))
		pt.acquire("docs/dan", 1).wantError("failed 4 times", "in 8s")
	})
}

func TestFailuresOfAnOldDefinitionSayNothingOfTheNewOne(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		var old []*dial
		for _, k := range []string{"docs/1", "docs/2", "docs/3"} {
			pt.acquire(k, 1)
			old = append(old, pt.wantDial(k))
		}
		l, _ := pt.open("docs/ann", 2)
		l.Release()
		for _, d := range old {
			d.finish(errRefused)
		}
		l, _ = pt.open("docs/bob", 2)
		l.Release()
	})
}

func TestASuccessOfAnOldDefinitionDoesNotCloseTheBreaker(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		a := pt.acquire("docs/ann", 1)
		old := pt.wantDial("docs/ann")
		for _, k := range []string{"docs/1", "docs/2", "docs/3"} {
			pt.fail(k, 2, errRefused)
		}
		old.finish(nil)
		a.wantLease(old).Release()
		pt.acquire("docs/bob", 2).wantError("failed 3 times")
	})
}

func TestAKnownFailureIsKeptWhileTheBreakerAnswers(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.fail("docs/ann", 1, errSlow)
		time.Sleep(time.Second)
		pt.refuse("docs/1", "docs/2", "docs/3")
		pt.acquire("docs/ann", 1).wantError("connection refused")
		if st := pt.wantState("docs/ann", Failed, "initialize"); st.Attempts != 1 {
			t.Errorf("status %+v", st)
		}
	})
}
