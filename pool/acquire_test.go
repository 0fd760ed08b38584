package pool

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
)

func TestManyFirstCallersCauseOneDial(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		var asks []*ask
		for range 200 {
			asks = append(asks, pt.acquire("docs/ann", 1))
		}
		d := pt.wantDial("docs/ann")
		pt.wantNoDial()
		d.finish(nil)
		for _, a := range asks {
			a.wantLease(d).Release()
		}
		pt.wantNoDial()
	})
}

func TestAnOpenConnectionIsSharedAndNotDialedAgain(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l1, d := pt.open("docs/ann", 1)
		l2 := pt.acquire("docs/ann", 1).wantLease(d)
		pt.wantNoDial()
		if st := pt.wantState("docs/ann", Ready, ""); st.Leases != 2 || st.Version.Definition != 1 || st.LastGood.IsZero() {
			t.Errorf("status %+v", st)
		}
		l1.Release()
		l2.Release()
		d.wantOpen()
	})
}

func TestKeysThatDifferInAnyPartShareNothing(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		for _, k := range []string{"docs", "docs/ann", "docs/bob", "docs/ann/session:1", "mail/ann"} {
			l, _ := pt.open(k, 1)
			defer l.Release()
		}
		k := key("docs/ann")
		k.Isolation.Caps = `{"roots":{}}`
		if _, ok := pt.p.TryAcquire(k, definition(1)); ok {
			t.Error("a connection was shared across capabilities")
		}
	})
}

func TestACallerThatLeavesTakesOnlyItselfAway(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		first, second := pt.acquire("docs/ann", 1), pt.acquire("docs/ann", 1)
		d := pt.wantDial("docs/ann")
		first.leave()
		err := first.wantError("docs", "while it was being opened")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v does not wrap the reason of the context", err)
		}
		d.finish(nil)
		second.wantLease(d).Release()
	})
}

func TestADialGoesOnWithoutItsOnlyCaller(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		a := pt.acquire("docs/ann", 1)
		d := pt.wantDial("docs/ann")
		a.leave()
		a.wantError()
		if d.ctx.Err() != nil {
			t.Fatal("the dial ended with its caller")
		}
		d.finish(nil)
		d.wantOpen()
		pt.acquire("docs/ann", 1).wantLease(d).Release()
		time.Sleep(20 * time.Minute)
		d.wantClosed() // it was idle like any other
	})
}

func TestAConnectionThatCameAfterItsCallerLeftIsClosedWhenIdle(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		a := pt.acquire("docs/ann", 1)
		d := pt.wantDial("docs/ann")
		a.leave()
		a.wantError()
		d.finish(nil)
		time.Sleep(15*time.Minute + time.Second)
		d.wantClosed()
	})
}

func TestADeadlineEndsTheWaitAndSaysSo(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		ctx, cancel := context.WithTimeoutCause(pt.Context(), 3*time.Second, errors.New("the call's own deadline"))
		defer cancel()
		start := time.Now()
		_, err := pt.p.Acquire(ctx, key("docs/ann"), definition(1))
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("the wait took %v", took)
		}
		if err == nil || jackfield.CodeOf(err) != jackfield.Unavailable || err.Error() !=
			`the wait for a connection to server "docs" ended while it was being opened: the call's own deadline` {
			t.Errorf("error: %v", err)
		}
		pt.wantDial("docs/ann").finish(nil)
	})
}

func TestACallerThatHasLeftAlreadyCausesNoDial(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		ctx, cancel := context.WithCancel(pt.Context())
		cancel()
		if _, err := pt.p.Acquire(ctx, key("docs/ann"), definition(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("error: %v", err)
		}
		pt.wantNoDial()
	})
}

func TestAQueuedDialThatNobodyWaitsForIsDropped(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{DialsServer: 1}}, func(pt *poolTest) {
		first := pt.acquire("docs/ann", 1)
		d := pt.wantDial("docs/ann")
		second, third := pt.acquire("docs/bob", 1), pt.acquire("docs/bob", 1)
		pt.wantNoDial()
		pt.wantState("docs/bob", Connecting, "queued")
		second.leave()
		second.wantError("while its dial waited for a place")
		pt.wantState("docs/bob", Connecting, "queued")
		third.leave()
		third.wantError()
		pt.wantNothing("docs/bob")
		d.finish(nil)
		pt.wantNoDial()
		first.wantLease(d).Release()
	})
}

func TestADeadConnectionIsNeverHandedOut(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		l.Release()
		d.conn.die("the process ended")
		if _, ok := pt.p.TryAcquire(key("docs/ann"), definition(1)); ok {
			t.Fatal("TryAcquire gave a dead connection")
		}
		d.wantClosed()
		l2, d2 := pt.open("docs/ann", 1)
		d2.conn.die("again")
		a := pt.acquire("docs/ann", 1) // while somebody holds the dead one
		d3 := pt.wantDial("docs/ann")
		d3.finish(nil)
		a.wantLease(d3).Release()
		select {
		case <-l2.Stale():
		default:
			t.Error("who holds the dead connection was not told")
		}
		d2.wantOpen() // it is leased
		l2.Release()
		d2.wantClosed()
	})
}

func TestADeadConnectionIsDialedAgainOnlyByACaller(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		d.conn.die("gone")
		if st := pt.wantState("docs/ann", Failed, "died"); st.Reason != `the connection to server "docs" was lost: gone` {
			t.Errorf("status %+v", st)
		}
		l.Release()
		time.Sleep(24 * time.Hour)
		pt.wantNoDial()
	})
}

func TestAConnectionThatIsDeadOnArrivalIsAFailedDial(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		a := pt.acquire("docs/ann", 1)
		d := pt.wantDial("docs/ann")
		d.conn.die("the process ended at once")
		d.finish(nil)
		a.wantError("the process ended at once", "the next attempt is at")
		d.wantClosed()
		pt.wantState("docs/ann", Failed, "dial")
	})
}

func TestAConnectionThatDiesBetweenDialAndLeaseIsNotHandedOut(t *testing.T) {
	var pt *poolTest
	trace := &Trace{}
	pooled(t, Options[*conn]{Trace: trace}, func(p *poolTest) {
		pt = p
		trace.DialDone = func(Key, time.Duration, error) { pt.all[0].conn.die("lost") }
		a := pt.acquire("docs/ann", 1)
		d := pt.wantDial("docs/ann")
		d.finish(nil)
		a.wantError("lost as soon as it was open")
		d.wantClosed()
		pt.wantNothing("docs/ann")
	})
}

func TestTryAcquireDialsNothingAndTakesOnlyWhatIsCurrent(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		try := func(version uint64) bool {
			l, ok := pt.p.TryAcquire(key("docs/ann"), definition(version))
			l.Release()
			return ok
		}
		if try(1) {
			t.Error("there was nothing")
		}
		a := pt.acquire("docs/ann", 2)
		d := pt.wantDial("docs/ann")
		if try(2) {
			t.Error("it was not open yet")
		}
		d.finish(nil)
		a.wantLease(d).Release()
		if !try(1) || !try(2) || try(3) {
			t.Error("version 2 serves who asks for 1 and 2, not for 3")
		}
		pt.wantNoDial()
		d.wantOpen()
	})
}

func TestWhatIsSlowToOpenIsJoinedByLaterCallers(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		a := pt.acquire("docs/ann", 1)
		d := pt.wantDial("docs/ann")
		time.Sleep(30 * time.Second)
		if st := pt.wantState("docs/ann", Connecting, "dialing"); st.Waiters != 1 {
			t.Errorf("status %+v", st)
		}
		b := pt.acquire("docs/ann", 1)
		pt.wantNoDial()
		d.finish(nil)
		a.wantLease(d).Release()
		b.wantLease(d).Release()
	})
}

func TestADialWithoutADeadlineOfItsOwnEnds(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		a := pt.acquire("docs/ann", 1)
		d := pt.wantDial("docs/ann")
		time.Sleep(10 * time.Minute)
		d.wantCancelled()
		a.wantError("the dial took longer than 10m0s")
	})
}

func TestHooksTellWhatHappens(t *testing.T) {
	var said []string
	hooks := &Trace{
		DialStart: func(k Key) { said = append(said, "dial "+k.String()) },
		DialDone: func(k Key, took time.Duration, err error) {
			said = append(said, "dialed "+k.String()+" in "+took.String()+": "+errText(err))
		},
		Waited: func(k Key, wait time.Duration, err error) {
			said = append(said, "waited "+wait.String()+": "+errText(err))
		},
		Closed: func(k Key, reason string, err error) {
			said = append(said, "closed, "+reason+": "+errText(err))
		},
	}
	pooled(t, Options[*conn]{Trace: hooks}, func(pt *poolTest) {
		a := pt.acquire("docs/ann/session:1", 1)
		d := pt.wantDial("docs/ann/session:1")
		time.Sleep(time.Second)
		d.finish(nil)
		d.conn.closed = errors.New("DELETE answered 500")
		a.wantLease(d).Release()
		pt.p.Drain(all)
		synctest.Wait()
	})
	want := []string{
		"dial docs for user:ann (session:1)",
		"dialed docs for user:ann (session:1) in 1s: none",
		"waited 1s: none",
		"closed, it was disconnected: DELETE answered 500",
	}
	if !slices.Equal(said, want) {
		t.Errorf("hooks said %q", said)
	}
}

func errText(err error) string {
	if err == nil {
		return "none"
	}
	return err.Error()
}

func TestNewPanicsWithoutADial(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("New took a nil Dial")
		}
	}()
	New(Options[*conn]{})
}
