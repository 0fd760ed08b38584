package pool

import (
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
)

func TestOverBudgetTheLeastRecentlyUsedIdleConnectionGoes(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{OpenOwner: 3}}, func(pt *poolTest) {
		l, oldest := pt.open("z/zoe", 1)
		l.Release()
		la, a := pt.open("a/ann", 1)
		lb, b := pt.open("b/ann", 1)
		lc, c := pt.open("c/ann", 1)
		lb.Release()
		lc.Release()
		la.Release()
		pt.acquire("b/ann", 1).wantLease(b).Release() // now c is the oldest
		l, _ = pt.open("d/ann", 1)
		c.wantClosed()
		oldest.wantOpen() // it is not ann's
		a.wantOpen()
		b.wantOpen()
		l.Release()
		other, _ := pt.open("e/bob", 1) // bob has a budget of his own
		other.Release()
		a.wantOpen()
	})
}

func TestWithoutAnIdleOneTheCallerIsToldWhoseBudgetIsUsedUp(t *testing.T) {
	shell := func(k Key) bool { return k.Server == "shell" }
	for name, test := range map[string]struct {
		o          Options[*conn]
		first, ask string
		says       string
	}{
		"process": {Options[*conn]{Limits: Limits{OpenProcess: 1}}, "a/ann", "b/bob", "all connections that this process may have (1) are in use; end some, or raise limits.connections.total"},
		"server":  {Options[*conn]{Limits: Limits{OpenServer: 1}}, "a/ann", "a/bob", `all connections that server "a" may have (1) are in use; end some, or raise limits.connections.perServer`},
		"owner":   {Options[*conn]{Limits: Limits{OpenOwner: 1}}, "a/ann", "b/ann", "all connections that user:ann may have (1) are in use; end some, or raise limits.connections.perOwner"},
		"children": {
			Options[*conn]{Limits: Limits{ChildrenOwner: 1}, Child: shell},
			"shell/ann/session:1", "shell/ann/session:2", "all programs that user:ann may have (1) are in use; end some, or raise limits.programs.perOwner",
		},
	} {
		t.Run(name, func(t *testing.T) {
			pooled(t, test.o, func(pt *poolTest) {
				l, d := pt.open(test.first, 1)
				a := pt.acquire(test.ask, 1)
				pt.wantNoDial()
				time.Sleep(time.Second)
				pt.acquire("b/nobody", 1).leave() // the queue is looked at
				time.Sleep(time.Second - time.Millisecond)
				a.wantWaiting()
				time.Sleep(time.Millisecond)
				err := a.wantError(test.says)
				pt.wantCode(err, jackfield.Exhausted)
				if f := jackfield.FailureOf(err); f == nil || f.Kind != jackfield.FailureBudget || !strings.HasSuffix(test.says, f.Limit) {
					t.Errorf("failure %+v", f)
				}
				pt.wantNothing(test.ask) // this is no failure of the key
				d.wantOpen()
				l.Release()
				l, _ = pt.open(test.ask, 1)
				d.wantClosed()
				l.Release()
			})
		})
	}
}

func TestAConnectionThatIsNoChildCountsNotAsOne(t *testing.T) {
	shell := func(k Key) bool { return k.Server == "shell" }
	pooled(t, Options[*conn]{Limits: Limits{ChildrenOwner: 1}, Child: shell}, func(pt *poolTest) {
		for _, k := range []string{"shell/ann", "docs/ann", "mail/ann"} {
			l, _ := pt.open(k, 1)
			defer l.Release()
		}
	})
}

func TestWhoWaitsForRoomGetsItWhenALeaseIsReleased(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{OpenOwner: 1}}, func(pt *poolTest) {
		l, d := pt.open("a/ann", 1)
		a := pt.acquire("b/ann", 1)
		time.Sleep(time.Second)
		pt.wantNoDial()
		l.Release()
		d.wantClosed()
		d2 := pt.wantDial("b/ann")
		time.Sleep(time.Minute) // the end of its patience no longer counts
		d2.finish(nil)
		a.wantLease(d2).Release()
	})
}

func TestWithoutPatienceTheAnswerComesAtOnce(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{OpenOwner: 1, Patience: -1}}, func(pt *poolTest) {
		l, _ := pt.open("a/ann", 1)
		start := time.Now()
		pt.acquire("b/ann", 1).wantError("no room")
		if time.Since(start) != 0 {
			t.Errorf("the answer took %v", time.Since(start))
		}
		l.Release()
	})
}

func TestAPlaceIsFreeWhenTheOldConnectionIsReallyClosed(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{OpenServer: 2}}, func(pt *poolTest) {
		for _, k := range []string{"a/ann", "a/bob"} {
			l, d := pt.open(k, 1)
			d.conn.hang = true // takes 10 s to close
			l.Release()
		}
		a, b, c := pt.acquire("a/carl", 1), pt.acquire("a/dan", 1), pt.acquire("a/eve", 1)
		pt.wantNoDial()
		time.Sleep(5 * time.Second)
		a.wantWaiting() // two are closing: two of the three wait for their places
		b.wantWaiting()
		c.wantError("no room")
		pt.wantNoDial()
		time.Sleep(5 * time.Second)
		for _, who := range []*ask{a, b} {
			d := pt.wantDial(who.key)
			d.finish(nil)
			who.wantLease(d).Release()
		}
	})
}

func TestOnlyAsManyAreClosedAsPlacesAreNeeded(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{OpenServer: 3, OpenProcess: 3}}, func(pt *poolTest) {
		var open []*dial
		for _, k := range []string{"a/1", "a/2", "a/3"} {
			l, d := pt.open(k, 1)
			d.conn.hang = true
			l.Release()
			open = append(open, d)
		}
		a := pt.acquire("a/ann", 1)
		pt.wantNoDial()
		open[1].wantOpen() // one place, though two budgets are full
		open[2].wantOpen()
		b := pt.acquire("a/bob", 1)
		open[2].wantOpen()
		open[0].wantClosed()
		open[1].wantClosed()
		time.Sleep(10 * time.Second)
		for _, who := range []*ask{a, b} {
			d := pt.wantDial(who.key)
			d.finish(nil)
			who.wantLease(d).Release()
		}
	})
}

func TestNoMoreAreClosedWhenTheQueueIsLookedAtAgain(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{OpenServer: 2}}, func(pt *poolTest) {
		open := make(map[string]*dial)
		for _, k := range []string{"a/1", "a/2", "b/1", "b/2"} {
			l, d := pt.open(k, 1)
			d.conn.hang = true
			l.Release()
			open[k] = d
		}
		a, b := pt.acquire("a/ann", 1), pt.acquire("b/ann", 1)
		for _, k := range []string{"c/bob", "d/bob"} { // each start of a dial begins another round
			l, _ := pt.open(k, 1)
			l.Release()
		}
		open["a/2"].wantOpen()
		open["b/2"].wantOpen()
		time.Sleep(10 * time.Second)
		open["a/1"].wantClosed()
		open["b/1"].wantClosed()
		for _, who := range []*ask{a, b} {
			d := pt.wantDial(who.key)
			d.finish(nil)
			who.wantLease(d).Release()
		}
	})
}

func TestNothingIsClosedForADialThatHasNoRoomElsewhere(t *testing.T) {
	o := Options[*conn]{Limits: Limits{OpenProcess: 3, OpenServer: 2, OpenOwner: 1, Patience: -1}}
	pooled(t, o, func(pt *poolTest) {
		busy, _ := pt.open("a/ann", 1)
		l1, idle1 := pt.open("a/bob", 1)
		l2, idle2 := pt.open("b/carl", 1)
		l1.Release()
		l2.Release()
		pt.acquire("a/ann/session:1", 1).wantError("user:ann")
		idle1.wantOpen()
		idle2.wantOpen()
		busy.Release()
	})
}

func TestAConnectionThatSomebodyWaitsForIsNotIdle(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{OpenOwner: 1, Patience: -1}}, func(pt *poolTest) {
		s, err := pt.p.enter(pt.Context(), key("a/ann"), definition(1))
		if err != nil {
			t.Fatal(err)
		}
		d := pt.wantDial("a/ann")
		d.finish(nil)
		pt.acquire("b/ann", 1).wantError("no room")
		l, _, err := pt.p.wait(pt.Context(), s, key("a/ann"))
		if err != nil {
			t.Fatal(err)
		}
		d.wantOpen()
		l.Release()
	})
}

func TestTheAppHasNoOwnersBudget(t *testing.T) {
	o := Options[*conn]{Limits: Limits{OpenOwner: 1, ChildrenOwner: 1, Patience: -1}, Child: all}
	pooled(t, o, func(pt *poolTest) {
		for _, k := range []string{"a", "b", "c"} {
			l, _ := pt.open(k, 1)
			defer l.Release()
		}
	})
}

func TestAFailedDialGivesItsPlaceBack(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{OpenOwner: 1, Patience: -1}}, func(pt *poolTest) {
		pt.fail("a/ann", 1, errRefused)
		l, d := pt.open("b/ann", 1)
		l.Retire()
		d.wantClosed()
		l, _ = pt.open("c/ann", 1)
		l.Release()
	})
}

func TestADrainingConnectionKeepsItsPlaceUntilItEnds(t *testing.T) {
	pooled(t, Options[*conn]{Limits: Limits{OpenOwner: 1, Patience: -1}}, func(pt *poolTest) {
		old, d := pt.open("a/ann", 1)
		pt.acquire("a/ann", 2).wantError("no room")
		d.wantOpen()
		old.Release()
		d.wantClosed()
		l, _ := pt.open("a/ann", 2)
		l.Release()
	})
}
