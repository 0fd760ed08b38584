package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestASessionSubscribesAndUnsubscribes(t *testing.T) {
	for _, version := range []string{exchange.LatestLegacy, modern} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, Options{}, "a", "b")
				for _, s := range []string{"a", "b"} {
					h.set(s, func(sc *script) {
						sc.shape.Version, sc.shape.Session = version, version != modern
						sc.lists[catalog.Resources] = []string{"doc://" + s, "same://x"}
					})
				}
				ann := inSession("ann", "1")
				h.do(ann, "resources/subscribe", `{"uri":"doc://a"}`)
				final := catalog.QualifiedURI("b", "same://x")
				h.do(ann, "resources/subscribe", `{"uri":"`+final+`"}`)
				synctest.Wait()
				a, b := h.calls("a")[0], h.calls("b")[0]
				equal(t, a.feeds()+" "+b.feeds(), "doc://a same://x")
				want := "[]"
				if version != modern {
					want = `[resources/subscribe {"uri":"same://x"}]`
				}
				equal(t, b.heard(), want)
				b.say("notifications/resources/updated", `{"uri":"same://x"}`) // nobody is there to hear it
				e, _ := h.listen(ann, all)
				b.say("notifications/resources/updated", `{"uri":"same://x"}`)
				a.say("notifications/resources/updated", `{"uri":"doc://a"}`)
				got := strings.Split(e.heard(), "; ")
				slices.Sort(got)
				equal(t, got, `[resources/updated {"uri":"doc://a"} resources/updated {"uri":"`+final+`"}]`)
				e.stop()
				equal(t, a.feeds()+" "+b.feeds(), "doc://a same://x") // the subscription stays
				h.do(ann, "resources/unsubscribe", `{"uri":"doc://a"}`)
				h.do(ann, "resources/unsubscribe", `{"uri":"doc://a"}`)
				equal(t, a.feeds()+" "+b.feeds(), " same://x")
				h.do(ann, "resources/subscribe", `{"uri":"doc://b"}`)
				h.do(ann, "resources/subscribe", `{"uri":"doc://b"}`)
				equal(t, b.feeds(), "doc://b,same://x")
				h.do(ann, "resources/unsubscribe", `{"uri":"doc://b"}`)
				equal(t, b.feeds(), "same://x")
				h.b.EndSession("1")
				equal(t, b.feeds(), "")
				equal(t, len(h.b.hub.listeners)+len(h.b.hub.lines)+len(h.b.hub.bySession), 0)
			})
		})
	}
}

func TestOneWhoUnsubscribesDoesNotUnsubscribeTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a") // without sessions: all share one connection
		h.set("a", func(s *script) {
			s.shape.Version, s.lists[catalog.Resources] = exchange.LatestLegacy, []string{"doc://a"}
		})
		one, two := inSession("ann", "1"), inSession("ann", "2")
		for _, c := range []Caller{one, two} {
			h.do(c, "resources/subscribe", `{"uri":"doc://a"}`)
		}
		c := slices.DeleteFunc(h.calls("a"), func(c *conn) bool { return len(c.heard()) == 0 })[0]
		h.do(one, "resources/unsubscribe", `{"uri":"doc://a"}`)
		equal(t, c.feeds(), "doc://a")
		equal(t, len(c.heard()), 2) // nobody told the server
		h.do(two, "resources/unsubscribe", `{"uri":"doc://a"}`)
		equal(t, c.feeds(), "")
		equal(t, c.heard()[2], `resources/unsubscribe {"uri":"doc://a"}`)
		h.b.EndSession("1")
		h.b.EndSession("2")
	})
}

func TestASessionThatEndsGivesUpWhatItStillTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.set("a", func(s *script) { s.lists[catalog.Resources] = []string{"doc://a"} })
		h.do(inSession("ann", "1"), "resources/subscribe", `{"uri":"doc://a"}`)
		c := h.calls("a")[0]
		h.set("a", func(s *script) { s.dialErr = errors.New("down") })
		c.die(errors.New("reset"))
		sleep(time.Minute)
		before := time.Now()
		h.b.EndSession("1")
		equal(t, time.Since(before), time.Duration(0))
		dials := h.dials("a")
		sleep(time.Hour)
		equal(t, h.dials("a"), dials)
	})
}

func TestSubscriptionsThatCannotBeAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "mute")
		h.legacy("a")
		h.set("a", func(s *script) {
			s.lists[catalog.Resources] = []string{"doc://a"}
			s.answer = func(*conn, context.Context, *exchange.Request, exchange.Peer) (exchange.Result, error) {
				return exchange.Result{Err: &wire.Error{Code: -32002, Message: "no such thing"}}, nil
			}
		})
		h.set("mute", func(s *script) {
			s.lists[catalog.Resources], s.shape.Capabilities = []string{"doc://mute"}, wire.Raw(`{"resources":{}}`)
		})
		ann := inSession("ann", "1")
		res, err := h.try(ann, "resources/subscribe", `{"uri":"doc://a"}`)
		if err != nil || res.Err == nil || res.Err.Code != -32002 {
			t.Errorf("%v %v, want the server's own answer", res.Err, err)
		}
		equal(t, h.calls("a")[0].feeds(), "")
		res, err = h.try(ann, "resources/subscribe", `{"uri":"doc://mute"}`)
		if err != nil || res.Err == nil || res.Err.Code != wire.CodeMethodNotFound || !strings.Contains(res.Err.Message, "mute") {
			t.Errorf("%v %v", res.Err, err)
		}
		h.fails(ann, "resources/subscribe", `{"uri":"doc://nobody"}`, jackfield.NotFound)
		h.fails(user("ann"), "resources/subscribe", `{"uri":"doc://a"}`, jackfield.Invalid, "session")
		h.b.EndSession("1")
	})
}

func TestSubscriptionsOfASessionAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.set("a", func(s *script) { s.lists[catalog.Templates] = []string{"doc://{id}"} })
		ann := inSession("ann", "1")
		for i := range maxURIs {
			h.do(ann, "resources/subscribe", fmt.Sprintf(`{"uri":"doc://%d"}`, i))
		}
		h.fails(ann, "resources/subscribe", `{"uri":"doc://more"}`, jackfield.Exhausted, "unsubscribe")
		h.do(ann, "resources/subscribe", `{"uri":"doc://7"}`)
		h.b.EndSession("1")
	})
}

// twoSessions are two sessions of one person, each with a connection of its own to
// server a, and both with the one to server shared.
func twoSessions(t *testing.T) (h *house, one, two Caller) {
	h = newHouse(t, Options{}, "a", "shared")
	h.legacy("a")
	one, two = inSession("ann", "1"), inSession("ann", "2")
	for _, c := range []Caller{one, two} {
		h.do(c, "tools/call", `{"name":"a__echo"}`)
		h.do(c, "tools/call", `{"name":"shared__echo"}`)
	}
	return h, one, two
}

func TestASessionThatEndsTakesItsConnectionsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, one, two := twoSessions(t)
		equal(t, h.b.Home("1") == one.Home, true)
		h.b.EndSession("1")
		equal(t, len(h.calls("a")), 1)
		equal(t, sessionOf(*h.calls("a")[0].key.Load()), "2")
		equal(t, len(h.calls("shared")), 1)
		equal(t, h.b.Home("1"), nil)
		equal(t, h.b.Home("2") == two.Home, true)
		h.b.EndSession("nobody")
	})
}

func TestNotificationsOfClientsReachWhomTheyConcern(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, one, _ := twoSessions(t)
		h.b.Notify(t.Context(), one, "notifications/roots/list_changed", nil)
		h.b.Notify(t.Context(), one, "notifications/vendor", wire.Raw(`{}`)) // for nobody in particular
		h.b.Notify(t.Context(), one.only("shared"), "notifications/vendor", wire.Raw(`{"x":1}`))
		h.b.Notify(t.Context(), one.only("nobody"), "notifications/vendor", nil)
		for _, c := range h.calls("a") {
			got := c.heard()
			want := 1
			if sessionOf(*c.key.Load()) == "1" {
				want = 2
			}
			equal(t, len(got), want)
			if want == 2 {
				equal(t, got[1], "notifications/roots/list_changed ")
			}
		}
		got := h.calls("shared")[0].heard()
		equal(t, got[len(got)-1], `notifications/vendor {"x":1}`)
		equal(t, len(got), 3) // and no roots, which are one client's alone
	})
}

func TestANotificationGoesWhereTheCallsOfItsClientGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.legacy("a")
		ann := user("ann").only("a")
		ann.Caps.Declared = `{"roots":{}}`
		h.do(ann, "tools/call", `{"name":"echo"}`)
		before := h.dials("a")
		h.b.Notify(t.Context(), user("ann").only("a"), "notifications/vendor", wire.Raw(`{"x":1}`)) // says nothing of what it can do
		equal(t, h.dials("a"), before)
		h.b.Notify(t.Context(), ann, "notifications/vendor", wire.Raw(`{"x":2}`))
		equal(t, h.dials("a"), before)
		var got []string
		for _, c := range h.calls("a") {
			for _, said := range c.heard() {
				if strings.HasPrefix(said, "notifications/vendor") {
					got = append(got, said)
				}
			}
		}
		equal(t, got, []string{`notifications/vendor {"x":1}`, `notifications/vendor {"x":2}`})
	})
}
