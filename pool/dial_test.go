package pool

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// keys makes n keys from a pattern with one verb.
func keys(n int, pattern string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(pattern, i)
	}
	return out
}

func (pt *poolTest) acquireAll(ks []string) []*ask {
	var asks []*ask
	for _, k := range ks {
		asks = append(asks, pt.acquire(k, 1))
	}
	return asks
}

// finishAll lets dials succeed as they come, and wants a lease for each who asked.
func (pt *poolTest) finishAll(asks []*ask) {
	pt.Helper()
	for dials := pt.takeDials(); len(dials) > 0; dials = pt.takeDials() {
		for _, d := range dials {
			d.finish(nil)
		}
	}
	for _, a := range asks {
		select {
		case <-a.done:
		default:
			pt.Fatalf("%s still waits", a.key)
		}
		if a.err != nil {
			pt.Fatalf("%s: %v", a.key, a.err)
		}
		a.lease.Release()
	}
}

func TestDialsToOneServerAreBounded(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		asks := pt.acquireAll(keys(200, "docs/owner%d/session:x"))
		if pt.inFlight() != 8 {
			t.Errorf("%d dials are in flight, want 8", pt.inFlight())
		}
		pt.finishAll(asks)
		if pt.peak != 8 || len(pt.all) != 200 {
			t.Errorf("%d dials, at most %d at a time; want 200 and 8", len(pt.all), pt.peak)
		}
	})
}

func TestDialsOfTheProcessAreBounded(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		var ks []string
		for i := range 100 {
			ks = append(ks, fmt.Sprintf("server%d/owner%d", i, i))
		}
		asks := pt.acquireAll(ks)
		if pt.inFlight() != 64 {
			t.Errorf("%d dials are in flight, want 64", pt.inFlight())
		}
		pt.finishAll(asks)
		if pt.peak != 64 || len(pt.all) != 100 {
			t.Errorf("%d dials, at most %d at a time", len(pt.all), pt.peak)
		}
	})
}

// As many servers hang as there are, each with as many callers as it may have: one
// that works is dialed at once.
func TestServersThatHangLeaveAPlaceForOneThatWorks(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		var hung []*ask
		for i := range 30 {
			for j := range 8 {
				hung = append(hung, pt.acquire(fmt.Sprintf("hung%d/owner%d", i, 8*i+j), 1))
			}
		}
		if n := pt.inFlight(); n >= 64 {
			t.Errorf("%d dials are in flight", n)
		}
		for i := range 5 {
			k := fmt.Sprintf("fine%d/ann", i)
			a := pt.acquire(k, 1)
			d := pt.wantDial(k)
			d.finish(nil)
			a.wantLease(d).Release()
		}
		pt.finishAll(hung)
		if pt.peak > 64 {
			t.Errorf("%d dials at a time", pt.peak)
		}
	})
}

func TestDialsOfOneOwnerAreBoundedUntilTheyAreASecondOld(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		asks := pt.acquireAll(keys(40, "server%d/ann"))
		if pt.inFlight() != 16 {
			t.Errorf("%d dials are in flight, want 16", pt.inFlight())
		}
		other := pt.acquire("docs/bob", 1)
		d := pt.wantDial("docs/bob") // ann's wait does not hold bob up
		d.finish(nil)
		other.wantLease(d).Release()
		time.Sleep(time.Second - time.Millisecond)
		if pt.inFlight() != 16 {
			t.Errorf("%d dials are in flight before a second has passed", pt.inFlight())
		}
		time.Sleep(2 * time.Millisecond)
		if pt.inFlight() != 32 {
			t.Errorf("%d dials are in flight after a second, want 32: slow servers hold nobody up", pt.inFlight())
		}
		pt.finishAll(asks)
	})
}

func TestADialThatEndsInTimeMakesRoomForItsOwnersNext(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{DialsOwner: 1}}, func(pt *poolTest) {
		a, b := pt.acquire("docs/ann", 1), pt.acquire("mail/ann", 1)
		d := pt.wantDial("docs/ann")
		pt.wantNoDial()
		d.finish(nil)
		d2 := pt.wantDial("mail/ann")
		time.Sleep(2 * time.Second) // the timer of the first dial counts for nothing now
		c := pt.acquire("todo/ann", 1)
		pt.finishAll([]*ask{c})
		d2.finish(nil)
		a.wantLease(d).Release()
		b.wantLease(d2).Release()
	})
}

// A timer that is stopped too late runs nevertheless.
func TestAnEndedDialCountsForItsOwnerNoMoreThanOnce(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{DialsOwner: 1}}, func(pt *poolTest) {
		l, _ := pt.open("docs/ann", 1)
		pt.p.mu.Lock()
		s := pt.p.slots[key("docs/ann")]
		pt.p.live++
		pt.p.mu.Unlock()
		pt.p.aged(s)
		asks := pt.acquireAll([]string{"mail/ann", "todo/ann"})
		if n := pt.inFlight(); n != 1 {
			t.Errorf("%d dials are in flight", n)
		}
		pt.finishAll(asks)
		l.Release()
	})
}

func TestServersTakeTurns(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{DialsProcess: 1, OpenOwner: 100}}, func(pt *poolTest) {
		var asks []*ask
		asks = append(asks, pt.acquireAll(keys(6, "a/owner%d"))...)
		asks = append(asks, pt.acquireAll(keys(2, "b/owner%d"))...)
		asks = append(asks, pt.acquireAll(keys(3, "c/owner%d"))...)
		pt.finishAll(asks)
		var order string
		for _, d := range pt.all {
			order += string(d.key.Server)
		}
		// The first began at once, the others take turns.
		if order != "abcabcacaaa" && order != "aabcabcacaa" {
			t.Errorf("dialed in the order %s", order)
		}
	})
}

func TestTheFirstThatAsksAServerIsTheFirstToBeDialed(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{DialsServer: 1}}, func(pt *poolTest) {
		ks := keys(5, "docs/owner%d")
		pt.finishAll(pt.acquireAll(ks))
		for i, d := range pt.all {
			if d.key != key(ks[i]) {
				t.Errorf("dial %d was for %v", i, d.key)
			}
		}
	})
}

func TestAQueueThatIsFullSaysSo(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{DialsServer: 1, Queue: 2}}, func(pt *poolTest) {
		asks := pt.acquireAll(keys(3, "docs/owner%d"))
		err := pt.acquire("docs/late", 1).wantError("2 connections are waiting to be opened", "docs", "try again")
		pt.wantCode(err, jackfield.Exhausted)
		pt.acquire("mail/late", 1).wantError("mail", "limits.queue.total") // and no books are begun on it
		if got, want := pt.p.Load(), (Load{Dialing: 1, Queued: 2, Open: 1}); got != want {
			t.Errorf("load %+v, want %+v", got, want)
		}
		pt.finishAll(asks)
	})
}

func TestTheQueueOfOneServerLeavesRoomForOthers(t *testing.T) {
	var refused []string
	hooks := &Trace{Waited: func(_ Key, _ time.Duration, err error) {
		if f := jackfield.FailureOf(err); f != nil {
			refused = append(refused, f.Limit)
		}
	}}
	pooled(t, Options[*conn]{Limits: Limits{DialsServer: 1, QueueServer: 2}, Trace: hooks}, func(pt *poolTest) {
		asks := pt.acquireAll(keys(3, "docs/owner%d"))
		err := pt.acquire("docs/late", 1).wantError(`2 connections to server "docs" are waiting to be opened already; try again in a moment, or raise limits.queue.perServer`)
		pt.wantCode(err, jackfield.Exhausted)
		asks = append(asks, pt.acquire("mail/ann", 1))
		pt.finishAll(asks)
		if !slices.Equal(refused, []string{"limits.queue.perServer"}) {
			t.Errorf("the hook heard of %q", refused)
		}
	})
}

func TestTurnsSurviveServersThatComeAndGo(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{DialsProcess: 2, OpenOwner: 1000}}, func(pt *poolTest) {
		blockers := pt.acquireAll([]string{"x", "y"})
		var asks []*ask
		for _, s := range []string{"a", "b", "c", "d", "e"} {
			asks = append(asks, pt.acquireAll(keys(3, s+"/owner%d"))...)
		}
		for i, a := range asks {
			if i%4 != 0 { // whole servers leave the ring
				a.leave()
				a.wantError()
			}
		}
		stay := slices.DeleteFunc(asks, func(a *ask) bool { return a.err != nil })
		pt.finishAll(append(blockers, stay...))
		if len(pt.all) != 2+len(stay) {
			t.Errorf("%d dials for %d who stayed", len(pt.all), len(stay))
		}
	})
}
