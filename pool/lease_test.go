package pool

import (
	"testing"

	"github.com/jackfield-dev/jackfield"
)

func TestALeaseReleasedTwiceTouchesNoOtherHold(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		first, d := pt.open("docs/ann", 1)
		first.Release()
		second := pt.acquire("docs/ann", 1).wantLease(d) // in the same place
		first.Release()
		first.Retire()
		if first.Claim(key("docs")) {
			t.Error("a lease that ended claimed a key")
		}
		pt.p.Drain(all)
		d.wantOpen()
		if st := pt.wantState("docs/ann", Draining, ""); st.Leases != 1 {
			t.Errorf("status %+v", st)
		}
		second.Release()
		second.Release()
		d.wantClosed()
	})
}

func TestCopiesOfALeaseAreOneHold(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		other := pt.acquire("docs/ann", 1).wantLease(d)
		twin := l
		l.Release()
		twin.Release()
		if st := pt.status("docs/ann"); st.Leases != 1 {
			t.Errorf("%d leases are left, want 1", st.Leases)
		}
		other.Release()
	})
}

func TestTheZeroLeaseDoesNothing(t *testing.T) {
	var l Lease[*conn]
	l.Release()
	l.Retire()
	if l.Conn() != nil || l.Key() != (Key{}) || l.Claim(key("docs")) || l.Stale() != nil {
		t.Error("the zero lease holds something")
	}
}

func TestPlacesOfLeasesAreUsedAgain(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, d := pt.open("docs/ann", 1)
		l.Release()
		for range 1000 {
			a := pt.acquire("docs/ann", 1).wantLease(d)
			b := pt.acquire("docs/ann", 1).wantLease(d)
			a.Release()
			b.Release()
		}
		if n := len(pt.p.slots[key("docs/ann")].holds); n != 2 {
			t.Errorf("%d places for 2 leases at a time", n)
		}
	})
}

func TestRetireGivesTheConnectionToNobodyElse(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l1, d := pt.open("docs/ann", 1)
		l2 := pt.acquire("docs/ann", 1).wantLease(d)
		l1.Retire()
		d.wantOpen() // l2 holds it
		l3, d2 := pt.open("docs/ann", 1)
		l2.Release()
		d.wantClosed()
		d2.wantOpen()
		l3.Release()
	})
}

func TestAProbeIsClaimedOnceAndKeepsItsLeases(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		a, b, c := pt.acquire("docs//probe", 1), pt.acquire("docs//probe", 1), pt.acquire("docs//probe", 1)
		d := pt.wantDial("docs//probe")
		d.finish(nil)
		l1, l2, l3 := a.wantLease(d), b.wantLease(d), c.wantLease(d)
		if !l1.Claim(key("docs/ann/session:1")) || !l2.Claim(key("docs/ann/session:1")) {
			t.Error("a free key was not claimed, or not shared by who wants the same")
		}
		if l3.Claim(key("docs/bob/session:2")) {
			t.Error("a connection was claimed twice")
		}
		if l3.Key() != key("docs/ann/session:1") {
			t.Errorf("it stands under %v", l3.Key())
		}
		pt.wantNothing("docs//probe")
		l1.Release()
		l2.Release()
		l3.Release()
		pt.acquire("docs/ann/session:1", 1).wantLease(d).Release()
		d.wantOpen()
	})
}

func TestOnlyAProbeMovesAndOnlyToAFreeKeyOfItsServer(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		l, _ := pt.open("docs/ann", 1)
		defer l.Release()
		if l.Claim(key("docs/bob")) || !l.Claim(key("docs/ann")) {
			t.Error("a connection that is no probe stays where it is")
		}
		probe, _ := pt.open("docs//probe", 1)
		defer probe.Release()
		if probe.Claim(key("docs/ann")) {
			t.Error("a probe took a key that is in use")
		}
		if probe.Claim(key("mail/ann")) {
			t.Error("a probe became the connection of another server")
		}
		waiting := pt.acquire("docs/bob", 1)
		d := pt.wantDial("docs/bob")
		if probe.Claim(key("docs/bob")) {
			t.Error("a probe took a key that is being dialed")
		}
		d.finish(nil)
		waiting.wantLease(d).Release()
		pt.p.Drain(all)
		if probe.Claim(key("docs/carl")) {
			t.Error("a probe that is draining came back into use")
		}
	})
}

func TestAProbeTakesTheKeyOfAFailure(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		pt.fail("docs/ann", 1, errSignIn)
		probe, d := pt.open("docs//probe", 1)
		if !probe.Claim(key("docs/ann")) {
			t.Error("a failure kept a working connection out")
		}
		probe.Release()
		pt.acquire("docs/ann", 1).wantLease(d).Release()
	})
}

func TestAProbeReplacesAnOlderVersion(t *testing.T) {
	pooled(t, Options[*conn]{}, func(pt *poolTest) {
		old, d1 := pt.open("docs/ann", 1)
		probe, d2 := pt.open("docs//probe", 2)
		if !probe.Claim(key("docs/ann")) {
			t.Error("an older version kept a newer one out")
		}
		pt.acquire("docs/ann", 2).wantLease(d2).Release()
		d1.wantOpen()
		old.Release()
		d1.wantClosed()
		older, _ := pt.open("docs//probe", 1)
		if older.Claim(key("docs/ann")) {
			t.Error("an older version replaced a newer one")
		}
		older.Release()
		mixed := pt.acquireVersions("docs//probe", jackfield.Versions{Definition: 1, Credential: 1})
		dm := pt.wantDial("docs//probe")
		dm.finish(nil)
		if mixed.wantLease(dm).Claim(key("docs/ann")) {
			t.Error("what is older in one counter replaced a connection")
		}
		mixed.lease.Retire()
		waiting := pt.acquire("docs/bob", 1)
		d3 := pt.wantDial("docs/bob")
		newer, d4 := pt.open("docs//probe", 3)
		if !newer.Claim(key("docs/bob")) {
			t.Error("the dial of an older version kept a newer one out")
		}
		d3.wantCancelled()
		waiting.wantLease(d4).Release()
		newer.Release()
		probe.Release()
	})
}

func TestAProbeIsNotClaimedByAnOwnerWithoutRoom(t *testing.T) {
	o := Options[*conn]{
		Limits: Limits{OpenOwner: 2, ChildrenOwner: 1},
		Child:  func(k Key) bool { return k.Server == "shell" },
	}
	pooled(t, o, func(pt *poolTest) {
		own, _ := pt.open("shell/ann/probe", 1)
		if !own.Claim(key("shell/ann/session:1")) {
			t.Error("ann has no room for what is hers already")
		}
		defer own.Release()
		probe, _ := pt.open("shell//probe", 1)
		defer probe.Release()
		if probe.Claim(key("shell/ann/session:2")) {
			t.Error("ann has more child processes than she may have")
		}
		l2, _ := pt.open("docs/ann", 1)
		defer l2.Release()
		probe2, _ := pt.open("mail//probe", 1)
		if probe2.Claim(key("mail/ann")) {
			t.Error("ann has more connections than she may have")
		}
		if !probe2.Claim(key("mail/bob")) {
			t.Error("bob has none")
		}
		pt.p.mu.Lock()
		ann, bob := pt.p.owners[jackfield.User("ann")], pt.p.owners[jackfield.User("bob")]
		if ann.open.open != 2 || ann.children.open != 1 || bob.open.open != 1 || bob.children.open != 0 {
			t.Errorf("books: ann %+v, bob %+v", ann, bob)
		}
		pt.p.mu.Unlock()
		probe2.Release()
	})
}
