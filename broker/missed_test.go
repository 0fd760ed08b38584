package broker

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield/catalog"
)

// subscribed is a house with a server b whose resource somebody is subscribed to.
func subscribed(t *testing.T) (*house, *ear) {
	h := newHouse(t, Options{}, "b")
	h.set("b", func(s *script) { s.lists[catalog.Resources] = []string{"doc://b"} })
	h.do(user("ann"), "resources/list", "")
	e, _ := h.listen(user("ann"), Filter{URIs: []string{"doc://b"}})
	sleep(time.Minute)
	e.heard()
	return h, e
}

const updatedB = `resources/updated {"uri":"doc://b"}`

func TestWhatMayHaveBeenMissedWhileAConnectionWasLostIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, e := subscribed(t)
		defer e.stop()
		h.set("b", func(s *script) { s.dialErr = errors.New("down") })
		h.calls("b")[0].die(errors.New("reset"))
		sleep(time.Minute)
		equal(t, e.heard(), "")
		h.set("b", func(s *script) { s.dialErr = nil })
		sleep(time.Minute)
		equal(t, e.heard(), updatedB)
		h.calls("b")[0].say("notifications/resources/updated", `{"uri":"doc://b"}`)
		equal(t, e.heard(), updatedB)
	})
}

func TestTheOldConnectionIsHeardUntilTheNewOneStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, e := subscribed(t)
		defer e.stop()
		old := h.calls("b")[0]
		h.set("b", func(s *script) { s.def.Version, s.standing = 2, time.Second })
		h.do(user("bob"), "resources/read", `{"uri":"doc://b"}`)
		time.Sleep(500 * time.Millisecond)
		if old.feeds() != "doc://b" {
			t.Fatalf("half a second on, the old connection is heard for %q", old.feeds())
		}
		old.say("notifications/resources/updated", `{"uri":"doc://b"}`)
		equal(t, e.heard(), updatedB)
		sleep(time.Minute)
		equal(t, old.feeds(), "")
		heard := ""
		for _, c := range h.calls("b") { // one may be a probe that nobody needed in the end
			heard += c.feeds()
		}
		equal(t, heard, "doc://b")
		equal(t, e.heard(), updatedB) // whatever came in between
	})
}
