package gateway

import (
	"testing"

	"github.com/jackfield-dev/jackfield"
)

func TestALimitThatIsReachedIsNamedAsInTheConfiguration(t *testing.T) {
	full := func(all, each int) *sessions {
		o := Options{Limits: Limits{Sessions: all, OwnerSessions: each}}
		o.Timing = o.Timing.withDefaults()
		s := newSessions(o, newSealer(make([]byte, 32), "session id"))
		for _, owner := range []string{"ann", "bob"} {
			one := &session{name: owner, owner: owner}
			one.seat = seat{at: s.order.PushFront(one), busy: 1}
			s.known[owner] = one
			s.owners[owner]++
		}
		return s
	}
	session := func(all, each int, owner string) error {
		_, err := full(all, each).makeRoomLocked(owner)
		return err
	}
	parked := func(all, each int) error {
		places := newParks(Limits{Parked: all, OwnerParked: each}).places
		if err := places.take("ann"); err != nil {
			t.Fatal(err)
		}
		return places.take("ann")
	}
	for want, err := range map[string]error{
		"limits.sessions.total":    session(2, 2, "cem"),
		"limits.sessions.perOwner": session(3, 1, "ann"),
		"limits.parked.total":      parked(1, 2),
		"limits.parked.perOwner":   parked(2, 1),
	} {
		f := jackfield.FailureOf(err)
		if f == nil || f.Kind != jackfield.FailureBudget || f.Limit != want || jackfield.CodeOf(err) != jackfield.Exhausted {
			t.Errorf("%s: %v", want, err)
		}
	}
}
