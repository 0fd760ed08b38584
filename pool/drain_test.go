package pool

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
)

func TestAConnectionIsNotClosedWhileItIsLeased(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		time.Sleep(24 * time.Hour)
		d.wantOpen()
		l.Release()
		d.wantOpen()
	})
}

func TestAnIdleConnectionIsClosedByTheClockAlone(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		time.Sleep(time.Hour)
		l.Release()
		d.wantClosedAfter(15 * time.Minute)
		pt.wantNothing("docs/ann")
	})
}

func TestEveryUseBeginsANewIdleTime(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		l.Release()
		for range 10 {
			time.Sleep(10 * time.Minute)
			l := pt.acquire("docs/ann", 1).wantLease(d)
			time.Sleep(7 * time.Minute)
			l.Release()
		}
		d.wantClosedAfter(15 * time.Minute)
	})
}

func TestAShortUseMovesTheEndOfTheIdleTime(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		l.Release()
		time.Sleep(5 * time.Minute)
		pt.acquire("docs/ann", 1).wantLease(d).Release()
		d.wantClosedAfter(15 * time.Minute)
	})
}

func TestALongUseIsNoIdleTime(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		l.Release()
		time.Sleep(10 * time.Minute)
		l = pt.acquire("docs/ann", 1).wantLease(d)
		time.Sleep(time.Hour)
		select {
		case <-l.Stale():
			t.Error("a connection in use was taken for idle")
		default:
		}
		l.Release()
		pt.acquire("docs/ann", 1).wantLease(d).Release()
	})
}

// A timer that is stopped too late runs nevertheless.
func TestATimerThatWasTakenBackDoesNothing(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		l.Release()
		pt.p.mu.Lock()
		s := pt.p.slots[key("docs/ann")]
		seq := s.timerSeq
		pt.p.live++
		pt.p.mu.Unlock()
		l = pt.acquire("docs/ann", 1).wantLease(d)
		pt.p.Drain(all)
		pt.p.alarm(s, seq) // for the idle time, while it is draining
		d.wantOpen()
		l.Release()
		d.wantClosed()
	})
}

// While a machine sleeps the timers of its programs stand still.
func TestAConnectionThatSleptThroughItsIdleTimeIsNotHandedOut(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		l.Release()
		pt.p.mu.Lock()
		s := pt.p.slots[key("docs/ann")]
		s.openedAt = s.openedAt.Add(-15 * time.Minute)
		pt.p.mu.Unlock()
		if _, ok := pt.p.TryAcquire(key("docs/ann"), definition(1)); ok {
			t.Error("TryAcquire gave a connection that was idle for too long")
		}
		d.wantOpen()
		l2, _ := pt.open("docs/ann", 1)
		l2.Release()
		d.wantClosed()
	})
}

func TestANewerVersionReplacesTheConnectionAndCallsOnTheOldOneFinish(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		old, d1 := pt.open("docs/ann", 1)
		a := pt.acquire("docs/ann", 2)
		d2 := pt.wantDial("docs/ann")
		if d2.version.Definition != 2 {
			t.Errorf("dialed at version %d", d2.version.Definition)
		}
		select {
		case <-old.Stale():
		default:
			t.Error("a lease on the old connection was not told")
		}
		d2.finish(nil)
		l := a.wantLease(d2)
		time.Sleep(time.Minute)
		d1.wantOpen()
		old.Release()
		d1.wantClosed()
		d2.wantOpen()
		l.Release()
	})
}

func TestAConnectionIsNeverReplacedByAnOlderOne(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 2)
		pt.acquire("docs/ann", 1).wantLease(d).Release()
		pt.wantNoDial()
		l.Release()
	})
}

func TestEachCounterOfAVersionOnlyGrows(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		ask := func(def, cred uint64) *ask {
			return pt.acquireVersions("docs/ann", jackfield.Versions{Definition: def, Credential: cred})
		}
		a := ask(2, 1)
		d1 := pt.wantDial("docs/ann")
		d1.finish(nil)
		a.wantLease(d1).Release()
		b := ask(1, 2) // an older definition, a newer sign-in
		d2 := pt.wantDial("docs/ann")
		if want := (jackfield.Versions{Definition: 2, Credential: 2}); d2.version != want {
			t.Errorf("dialed at %+v, want %+v", d2.version, want)
		}
		d1.wantClosed()
		d2.finish(nil)
		b.wantLease(d2).Release()
	})
}

func TestANewerVersionReplacesADialUnderWayAndItsWaitersFollow(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		a := pt.acquire("docs/ann", 1)
		d1 := pt.wantDial("docs/ann")
		d1.stubborn = true
		b := pt.acquire("docs/ann", 2)
		d2 := pt.wantDial("docs/ann")
		d1.wantCancelled()
		a.wantWaiting()
		d2.finish(nil)
		a.wantLease(d2).Release()
		b.wantLease(d2).Release()
		d1.finish(nil) // late
		d1.wantClosed()
		d2.wantOpen()
	})
}

func TestLeasesOnADrainingConnectionEndAtTheTimeout(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		pt.p.Reset(all)
		st := pt.wantState("docs/ann", Draining, "")
		if st.Reason != "it was reset" || st.Leases != 1 {
			t.Errorf("status %+v", st)
		}
		time.Sleep(5*time.Minute - time.Second)
		d.wantOpen()
		time.Sleep(2 * time.Second)
		d.wantCut("replaced 5m0s ago")
		l.Release()
	})
}

func TestResetDrainsAndTheNextCallerDials(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		other, _ := pt.open("docs/bob", 1)
		pt.p.Reset(is("docs/ann"))
		l2, d2 := pt.open("docs/ann", 1)
		d.wantOpen()
		l.Release()
		d.wantClosed()
		d2.wantOpen()
		select {
		case <-other.Stale():
			t.Error("bob's connection was drained too")
		default:
		}
		l2.Release()
		other.Release()
	})
}

func TestResetOfADialUnderWayLetsItsWaitersDialAnew(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		a := pt.acquire("docs/ann", 1)
		d1 := pt.wantDial("docs/ann")
		pt.p.Reset(all)
		d1.wantCancelled()
		d2 := pt.wantDial("docs/ann")
		d2.finish(nil)
		a.wantLease(d2).Release()
	})
}

func TestDrainEndsDialsUnderWayAndNothingComesBack(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{DialsServer: 1}}, func(pt *poolTest) {
		dialing, queued := pt.acquire("docs/ann", 1), pt.acquire("docs/bob", 1)
		d := pt.wantDial("docs/ann")
		d.stubborn = true
		pt.p.Drain(all)
		dialing.wantError("docs", "closed while it was being opened")
		queued.wantError("docs", "closed while it was being opened")
		d.wantCancelled()
		pt.wantNothing("docs/bob")
		d.finish(nil) // it opens nevertheless
		d.wantClosed()
		time.Sleep(time.Hour)
		pt.wantNoDial()
	})
}

// Between the end of a dial and the moment in which its waiter runs, anything may
// happen to the connection.
func TestAWaiterThatWakesLateFindsOutWhatHappened(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		late := func(k string, meanwhile func()) (again bool, err error) {
			s, err := pt.p.enter(pt.Context(), key(k), definition(1))
			if err != nil {
				t.Fatal(err)
			}
			pt.wantDial(k).finish(nil)
			time.Sleep(time.Hour) // a connection that somebody waits for is not idle
			meanwhile()
			l, again, err := pt.p.wait(pt.Context(), s, key(k))
			l.Release()
			return again, err
		}
		if again, err := late("docs/ann", func() {}); again || err != nil {
			t.Errorf("nothing happened: %v, %v", again, err)
		}
		if again, err := late("docs/bob", func() { pt.p.Reset(all) }); !again {
			t.Errorf("it was reset: %v, %v", again, err)
		}
		if again, err := late("docs/carl", func() { pt.p.Drain(all) }); again || err == nil {
			t.Errorf("it was drained: %v, %v", again, err)
		}
		if again, err := late("docs/dan", func() { pt.p.Cut(all, errRefused) }); again || !errors.Is(err, errRefused) {
			t.Errorf("it was cut: %v, %v", again, err)
		}
	})
}

func TestCutEndsLeasesAtOnceWithTheReason(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		idle, d2 := pt.open("docs/bob", 1)
		idle.Release()
		pt.p.Cut(all, errors.New("the server was removed"))
		d.wantCut("the server was removed")
		d2.wantGone()
		select {
		case <-l.Stale():
		default:
			t.Error("the lease was not told")
		}
		l.Release() // harmless
		pt.wantNothing("docs/ann")
	})
}

func TestCutReachesWhatIsDrainingAndWhatIsDialed(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		pt.p.Drain(all)
		d.wantOpen()
		a := pt.acquire("docs/bob", 1)
		d2 := pt.wantDial("docs/bob")
		pt.p.Cut(all, jackfield.Errorf(jackfield.Forbidden, "access to docs was taken back"))
		d.wantCut("access to docs was taken back")
		pt.wantCode(a.wantError("access to docs was taken back"), jackfield.Forbidden)
		d2.wantCancelled()
		l.Release()
	})
}

func TestACutForgetsAnAttemptAfterAFailure(t *testing.T) {
	o := Options[*conn]{Classify: classify, Limits: Limits{DialsServer: 1}}
	pooled(t, o, func(pt *poolTest) {
		pt.fail("docs/ann", 1, errRefused)
		pt.fail("docs/bob", 1, errRefused)
		time.Sleep(time.Second)
		dialing, queued := pt.acquire("docs/ann", 1), pt.acquire("docs/bob", 1)
		pt.wantDial("docs/ann")
		pt.p.Cut(all, errors.New("the server was removed"))
		dialing.wantError("the server was removed")
		queued.wantError("the server was removed")
		pt.wantNothing("docs/ann")
		pt.wantNothing("docs/bob")
	})
}

func TestTheReasonOfACutReachesWaitersWhateverErrorItIs(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		a := pt.acquire("docs/ann", 1)
		pt.wantDial("docs/ann")
		reason := errors.New("revoked")
		pt.p.Cut(all, reason)
		err := a.wantError("docs", "revoked")
		if !errors.Is(err, reason) {
			t.Errorf("%v does not wrap the reason", err)
		}
		pt.wantCode(err, jackfield.Unavailable)
	})
}

func TestACloseThatHangsIsBoundedAndDisturbsNobody(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		d.conn.hang = true
		l.Retire()
		pt.wantState("docs/ann", Draining, "closing")
		l2, _ := pt.open("docs/ann", 1)
		l2.Release()
		time.Sleep(10*time.Second - time.Millisecond)
		closing := 0
		for _, st := range pt.p.Status() {
			if st.Stage == "closing" {
				closing++
			}
		}
		if closing != 1 {
			t.Errorf("%d connections are closing", closing)
		}
		time.Sleep(2 * time.Millisecond)
		pt.wantState("docs/ann", Ready, "")
	})
}

func TestDrainedWaitsForTheEndOfWhatIsDraining(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		d.conn.hang = true
		pt.p.Drain(all)
		ctx, cancel := context.WithTimeout(pt.Context(), time.Second)
		defer cancel()
		if err := pt.p.Drained(ctx, all); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drained: %v", err)
		}
		if err := pt.p.Drained(ctx, is("docs/bob")); err != nil {
			t.Errorf("Drained, where nothing is draining: %v", err)
		}
		l.Release()
		start := time.Now()
		if err := pt.p.Drained(pt.Context(), all); err != nil || time.Since(start) != 10*time.Second {
			t.Errorf("Drained: %v after %v", err, time.Since(start))
		}
		d.wantClosed()
	})
}

func TestATransientConnectionEndsWithItsLastLease(t *testing.T) {
	o := Options[*conn]{Transient: func(k Key) bool { return k.Isolation.ID == "call:1" }}
	pooled(t, o, func(pt *poolTest) {
		l1, d := pt.open("docs/ann/call:1", 1)
		l2 := pt.acquire("docs/ann/call:1", 1).wantLease(d)
		l1.Release()
		d.wantOpen()
		l2.Release()
		d.wantClosed()

		a := pt.acquire("docs/ann/call:1", 1)
		d = pt.wantDial("docs/ann/call:1")
		a.leave() // and nobody else will come for it
		a.wantError()
		d.wantCancelled()

		a = pt.acquire("docs/ann/call:1", 1)
		pt.wantDial("docs/ann/call:1").finish(errRefused)
		a.wantError("connection refused")
		pt.wantNothing("docs/ann/call:1") // nobody asks for it again
	})
}

func TestCloseWaitsForLeasesAndGoroutines(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		d.conn.hang = true
		closed := make(chan error)
		go func() { closed <- pt.p.Close(pt.Context()) }()
		synctest.Wait()
		pt.wantCode(pt.acquire("docs/ann", 1).wantError("docs", "shutting down"), jackfield.Unavailable)
		time.Sleep(time.Minute)
		d.wantOpen()
		l.Release()
		start := time.Now()
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("Close returned %v after the last release, and the connection takes 10 s to close", took)
		}
		d.wantClosed()
	})
}

func TestCloseCutsWhatOutlivesItsPatience(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		d.conn.hang = true
		ctx, cancel := context.WithTimeout(pt.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		if err := pt.p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("Close took %v, though nothing waits when its ctx has ended", took)
		}
		d.wantCut("shutting down")
		l.Release()
	})
}

func TestCloseReturnsThoughAConnectionDoesNot(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		a := pt.acquire("docs/ann", 1)
		d := pt.wantDial("docs/ann")
		d.stubborn = true
		ctx, cancel := context.WithTimeout(pt.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		if err := pt.p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 4*time.Second {
			t.Errorf("Close: %v after %v", err, time.Since(start))
		}
		a.wantError("shutting down")
		d.finish(nil)
		d.wantClosed()
	})
}

func TestCloseForgetsAttemptsAfterAFailure(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		servers := keys(20, "server%d/ann")
		for _, k := range servers {
			pt.fail(k, 1, errRefused)
		}
		time.Sleep(time.Second)
		asks := pt.acquireAll(servers)
		start := time.Now()
		if err := pt.p.Close(pt.Context()); err != nil || time.Since(start) != 0 {
			t.Errorf("Close: %v after %v", err, time.Since(start))
		}
		for _, a := range asks {
			a.wantError("shutting down")
			pt.wantNothing(a.key)
		}
	})
}

func TestCloseEndsDialsUnderWayAndFailures(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{DialsServer: 1}}, func(pt *poolTest) {
		pt.fail("mail/ann", 1, errRefused)
		pt.fail("todo/ann", 1, errSignIn)
		dialing, queued := pt.acquire("docs/ann", 1), pt.acquire("docs/bob", 1)
		d := pt.wantDial("docs/ann")
		d.stubborn = true
		closed := make(chan error)
		go func() { closed <- pt.p.Close(pt.Context()) }()
		dialing.wantError("shutting down")
		queued.wantError("shutting down")
		d.wantCancelled()
		select {
		case err := <-closed:
			t.Fatalf("Close returned %v while a dial was under way", err)
		default:
		}
		d.finish(nil)
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
		d.wantClosed()
	})
}
