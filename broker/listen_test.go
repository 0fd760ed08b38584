package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// ear is a Listen under way.
type ear struct {
	t     testing.TB
	mu    sync.Mutex
	ready chan Filter
	got   []string
	err   error
	stop  func()
}

// listen begins to listen, and waits until it is told what it will hear.
func (h *house) listen(c Caller, f Filter) (*ear, Filter) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.ctx())
	e := &ear{t: h.t, ready: make(chan Filter, 2)}
	done := make(chan struct{})
	e.stop = func() {
		cancel()
		<-done
	}
	go func() {
		defer close(done)
		err := h.b.Listen(ctx, c, f, func(f Filter) { e.ready <- f }, func(ev exchange.Event) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.got = append(e.got, strings.TrimSpace(strings.TrimPrefix(ev.Method, "notifications/")+" "+string(ev.Params)))
		})
		e.mu.Lock()
		e.err = err
		e.mu.Unlock()
		if err != nil {
			close(e.ready)
		}
	}()
	return e, <-e.ready
}

// heard takes the events that were delivered since the last time.
func (e *ear) heard() string {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	got := strings.Join(e.got, "; ")
	e.got = nil
	return got
}

func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var all = Filter{Tools: true, Prompts: true, Resources: true}

func TestWhoListensToOneServerHearsItAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "b")
		e, f := h.listen(user("ann").only("a"), all)
		defer e.stop()
		equal(t, f, Filter{Tools: true, Prompts: true, Resources: true})
		equal(t, len(h.calls("a")), 1)
		equal(t, h.calls("a")[0].feeds(), "lists")
		equal(t, h.dials("b"), 0)
		sleep(time.Minute)
		e.heard()
		h.calls("a")[0].say("notifications/prompts/list_changed", "")
		equal(t, e.heard(), "prompts/list_changed")
		e.stop()
		equal(t, h.calls("a")[0].feeds(), "")
	})
}

func TestOneStreamServesAllWhoListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		var ears []*ear
		for i := range 50 {
			e, _ := h.listen(user(fmt.Sprint(i)).only("a"), all)
			ears = append(ears, e)
		}
		c := h.calls("a")[0]
		equal(t, c.feeds(), "lists")
		equal(t, c.mostOpen, 1)
		sleep(time.Minute)
		for _, e := range ears {
			e.heard()
		}
		c.say("notifications/tools/list_changed", "")
		for _, e := range ears {
			equal(t, e.heard(), "tools/list_changed")
		}
		for _, e := range ears {
			equal(t, c.feeds(), "lists")
			e.stop()
		}
		equal(t, c.feeds(), "")
		equal(t, len(h.b.hub.lines)+len(h.b.hub.listeners)+len(h.b.hub.byOwner), 0)
	})
}

func TestOnlyWhatIsWantedIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "b")
		e, f := h.listen(user("ann").only("a"), Filter{Prompts: true})
		defer e.stop()
		equal(t, f, Filter{Prompts: true})
		o, _ := h.listen(user("ann").only("b"), all)
		defer o.stop()
		sleep(time.Minute)
		e.heard()
		o.heard()
		c := h.calls("a")[0]
		c.say("notifications/tools/list_changed", "")
		c.say("notifications/resources/list_changed", "")
		c.say("notifications/resources/updated", `{"uri":"x"}`)
		c.say("notifications/message", `{"level":"info"}`)
		c.say("notifications/vendor", "")
		equal(t, e.heard(), "")
		c.say("notifications/prompts/list_changed", "")
		equal(t, e.heard(), "prompts/list_changed")
		equal(t, o.heard(), "")
	})
}

func TestAllTogetherHearsWhatIsOpenAndWhatCallsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "open", "later", "never")
		h.do(user("bob"), "tools/call", `{"name":"open__echo"}`)
		e, f := h.listen(user("ann"), all)
		defer e.stop()
		equal(t, f, all)
		equal(t, h.calls("open")[0].feeds(), "lists")
		equal(t, h.dials("later")+h.dials("never"), 0)
		h.do(user("bob"), "tools/call", `{"name":"later__echo"}`)
		equal(t, h.calls("later")[0].feeds(), "lists")
		equal(t, h.dials("never"), 0)
		sleep(time.Minute)
		e.heard()
		h.calls("later")[0].say("notifications/resources/list_changed", "")
		equal(t, e.heard(), "resources/list_changed")
	})
}

func TestChangesOfManyServersAreToldTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var servers []string
		for i := range 30 {
			servers = append(servers, fmt.Sprintf("s%02d", i))
		}
		h := newHouse(t, Options{}, servers...)
		for i, s := range servers {
			h.set(s, func(sc *script) { sc.dialing = 3*time.Second + time.Duration(i)*10*time.Millisecond })
		}
		e, _ := h.listen(user("ann"), Filter{Tools: true})
		defer e.stop()
		h.do(user("ann"), "tools/list", "") // incomplete: the rest is owed
		equal(t, e.heard(), "")
		sleep(10 * time.Second)
		got := strings.Split(e.heard(), "; ")
		if len(got) < 2 || len(got) > 12 {
			t.Errorf("told %d times of 30 changes within %v", len(got), 300*time.Millisecond)
		}
		equal(t, len(names(t, h.do(user("ann"), "tools/list", ""), "tools", "name")), 30)
	})
}

func TestResourcesAreHeardUnderTheListenersURIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "b", "mute")
		h.set("mute", func(s *script) { s.shape.Capabilities = wire.Raw(`{"resources":{}}`) })
		for _, s := range []string{"a", "b", "mute"} {
			h.set(s, func(sc *script) { sc.lists[catalog.Resources] = []string{"doc://" + s, "same://x"} })
		}
		h.do(user("ann"), "resources/list", "")
		same := catalog.QualifiedURI("b", "same://x")
		e, f := h.listen(user("ann"), Filter{URIs: []string{"doc://a", same, "nobody://x", "doc://mute", "same://x"}})
		defer e.stop()
		equal(t, f, Filter{URIs: []string{"doc://a", same}})
		equal(t, h.calls("a")[0].feeds(), "doc://a")
		equal(t, h.calls("b")[0].feeds(), "same://x")
		h.calls("b")[0].say("notifications/resources/updated", `{"title":"t","uri":"same://x"}`)
		equal(t, e.heard(), `resources/updated {"title":"t","uri":"`+same+`"}`)
		h.calls("b")[0].say("notifications/resources/updated", `{"uri":"same://x/part"}`)
		equal(t, e.heard(), `resources/updated {"uri":"`+catalog.QualifiedURI("b", "same://x/part")+`"}`)
		h.calls("a")[0].say("notifications/resources/updated", `{"uri":"doc://a/part"}`)
		equal(t, e.heard(), `resources/updated {"uri":"doc://a/part"}`)
		h.calls("a")[0].say("notifications/resources/updated", `{"uri":"same://x"}`)
		h.calls("a")[0].say("notifications/resources/updated", `{"uri":7}`)
		h.calls("a")[0].say("notifications/resources/updated", `[]`)
		h.calls("a")[0].say("notifications/tools/list_changed", "")
		equal(t, e.heard(), "")
	})
}

func TestAStreamMovesToTheNewConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		e, _ := h.listen(user("ann").only("a"), all)
		defer e.stop()
		old := h.calls("a")[0]
		h.set("a", func(s *script) { s.def.Version = 2 })
		h.do(user("bob"), "tools/call", `{"name":"a__echo"}`) // asks for the new version
		sleep(time.Second)
		now := h.calls("a")
		equal(t, len(now), 1)
		if now[0] == old || now[0].feeds() != "lists" || old.feeds() != "" {
			t.Fatalf("the stream stands on the old connection: %q and %q", old.feeds(), now[0].feeds())
		}
		sleep(time.Minute)
		e.heard()
		now[0].say("notifications/tools/list_changed", "")
		equal(t, e.heard(), "tools/list_changed")
	})
}

func TestALostConnectionIsMadeAgainForWhoNamedTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "b")
		h.set("b", func(s *script) { s.lists[catalog.Resources] = []string{"doc://b"} })
		h.do(user("ann"), "resources/list", "")
		one, _ := h.listen(user("ann").only("a"), all)
		defer one.stop()
		uri, _ := h.listen(user("ann"), Filter{URIs: []string{"doc://b"}})
		defer uri.stop()
		for _, s := range []string{"a", "b"} {
			h.set(s, func(s *script) { s.dialErr = errors.New("down") })
			h.calls(s)[0].die(errors.New("reset"))
		}
		sleep(10 * time.Minute)
		equal(t, len(h.calls("a"))+len(h.calls("b")), 0)
		if n := h.dials("a"); n > 60 {
			t.Errorf("%d dials in ten minutes", n)
		}
		for _, s := range []string{"a", "b"} {
			h.set(s, func(s *script) { s.dialErr = nil })
		}
		sleep(3 * time.Minute)
		equal(t, h.calls("a")[0].feeds(), "lists")
		equal(t, h.calls("b")[0].feeds(), "doc://b")
	})
}

func TestListsThatMayHaveChangedUnheardAreToldOfWithTheNewConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		e, _ := h.listen(user("ann").only("a"), all)
		defer e.stop()
		h.do(user("ann").only("a"), "tools/list", "")
		sleep(10 * time.Second) // not so long that a visit is due
		e.heard()
		h.calls("a")[0].die(errors.New("reset"))
		sleep(5 * time.Second)
		if got := e.heard(); !strings.Contains(got, "tools/list_changed") {
			t.Errorf("heard %q", got)
		}
	})
}

func TestALostConnectionIsNotMadeAgainForWhoListensToAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.do(user("ann"), "tools/call", `{"name":"a__echo"}`)
		e, _ := h.listen(user("ann"), all)
		defer e.stop()
		before := h.dials("a")
		h.calls("a")[0].die(errors.New("reset"))
		sleep(time.Hour)
		equal(t, h.dials("a"), before)
		h.do(user("ann"), "tools/call", `{"name":"a__echo"}`)
		equal(t, h.calls("a")[0].feeds(), "lists")
	})
}

func TestAServerWithoutAStreamIsNotPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.set("a", func(s *script) { s.silent = true })
		e, f := h.listen(user("ann").only("a"), all)
		defer e.stop()
		equal(t, f, Filter{})
		// What it says in answers to calls is heard all the same.
		h.do(user("ann").only("a"), "tools/call", `{"name":"echo"}`)
		every, f := h.listen(user("ann"), all)
		defer every.stop()
		equal(t, f, all)
		sleep(time.Minute)
		every.heard()
		h.calls("a")[0].say("notifications/tools/list_changed", "")
		equal(t, every.heard(), "tools/list_changed")
		// Nothing is held for it, and a new connection is tried anew.
		h.set("a", func(s *script) { s.silent = false })
		h.calls("a")[0].die(errors.New("reset"))
		h.do(user("ann"), "tools/call", `{"name":"a__echo"}`)
		equal(t, h.calls("a")[0].feeds(), "lists")
	})
}

func TestWhatAServerRefusesIsNotPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "toolsonly")
		h.set("a", func(s *script) { s.refuses, s.lists[catalog.Resources] = true, []string{"doc://a"} })
		h.set("toolsonly", func(s *script) { s.shape.Capabilities = wire.Raw(`{"tools":{"listChanged":true}}`) })
		h.do(user("ann"), "resources/list", "")
		e, f := h.listen(user("ann"), Filter{Tools: true, URIs: []string{"doc://a"}})
		defer e.stop()
		equal(t, f, Filter{Tools: true})
		o, f := h.listen(user("ann").only("toolsonly"), all)
		defer o.stop()
		equal(t, f, Filter{Tools: true})
	})
}

func TestAServerThatDoesNotAnswerKeepsNobodyWaitingLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.set("a", func(s *script) { s.dialing = 20 * time.Second })
		before := time.Now()
		e, f := h.listen(user("ann").only("a"), all)
		defer e.stop()
		equal(t, time.Since(before), waitReady)
		equal(t, f, all)
		sleep(time.Minute)
		equal(t, h.calls("a")[0].feeds(), "lists")
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.set("a", func(s *script) { s.dialErr = errors.New("down") })
		before := time.Now()
		e, f := h.listen(user("ann").only("a"), all)
		defer e.stop()
		equal(t, time.Since(before), time.Duration(0))
		equal(t, f, all)
	})
}

func TestSessionsHearTheirOwnConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.legacy("a")
		ann, bob := inSession("ann", "1"), inSession("bob", "2")
		every := all
		every.Other = true
		ea, _ := h.listen(ann, every)
		defer ea.stop()
		eb, _ := h.listen(bob, every)
		defer eb.stop()
		lists, _ := h.listen(ann, all)
		defer lists.stop()
		only, _ := h.listen(ann.only("a"), all)
		defer only.stop()
		equal(t, h.dials("a"), 0)
		h.do(ann, "tools/call", `{"name":"a__echo"}`)
		h.do(bob, "tools/call", `{"name":"a__echo"}`)
		equal(t, h.dials("a"), 3) // one to list, one for each
		conns := h.calls("a")
		equal(t, len(conns), 2)
		sleep(time.Minute)
		ea.heard()
		eb.heard()
		lists.heard()
		for _, c := range conns {
			equal(t, c.feeds(), "lists")
			c.say("notifications/message", `{"data":"`+sessionOf(*c.key.Load())+`"}`)
		}
		equal(t, ea.heard(), `message {"data":"1"}`)
		equal(t, eb.heard(), `message {"data":"2"}`)
		equal(t, lists.heard(), "")
		conns[0].say("notifications/tools/list_changed", "")
		equal(t, ea.heard(), "tools/list_changed") // the list is the same for both
		equal(t, eb.heard(), "tools/list_changed")
		// A client that listens later hears what is open already.
		ea.stop()
		lists.stop()
		only.stop()
		for _, c := range conns {
			if sessionOf(*c.key.Load()) == "1" {
				equal(t, c.feeds(), "")
			}
		}
		again, _ := h.listen(ann, every)
		defer again.stop()
		for _, c := range conns {
			equal(t, c.feeds(), "lists")
		}
	})
}

func TestAChangeOnOnesOwnCredentialsIsNotToldToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.set("a", func(s *script) { s.def.Usage.RequiresOAuth = true })
		ea, _ := h.listen(user("ann").only("a"), all)
		defer ea.stop()
		eb, _ := h.listen(user("bob").only("a"), all)
		defer eb.stop()
		conns := h.calls("a")
		equal(t, len(conns), 2)
		sleep(time.Minute)
		ea.heard()
		eb.heard()
		for _, c := range conns {
			if c.key.Load().Scope == jackfield.User("ann") {
				c.say("notifications/tools/list_changed", "")
			}
		}
		equal(t, ea.heard(), "tools/list_changed")
		equal(t, eb.heard(), "")
	})
}

func TestWhatASharedConnectionSaysAtLargeIsNobodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		every := all
		every.Other = true
		e, _ := h.listen(inSession("ann", "1"), every)
		defer e.stop()
		h.do(user("bob"), "tools/call", `{"name":"a__echo"}`)
		sleep(time.Minute)
		e.heard()
		h.calls("a")[0].say("notifications/message", `{"data":"of bob"}`)
		equal(t, e.heard(), "")
	})
}

func TestANewSnapshotIsToldToWhoSeesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "b")
		h.do(user("ann"), "tools/call", `{"name":"b__echo"}`)
		e, _ := h.listen(user("ann"), Filter{Tools: true})
		defer e.stop()
		one, _ := h.listen(user("ann").only("a"), all)
		defer one.stop()
		sleep(time.Minute)
		e.heard()
		one.heard()
		h.add("c")
		h.mu.Lock()
		h.snapshot = slices.DeleteFunc(slices.Clone(h.snapshot), func(s jackfield.Server) bool { return s.Name == "b" })
		h.mu.Unlock()
		h.b.Changed([]jackfield.ServerID{"b"})
		equal(t, e.heard(), "tools/list_changed")
		equal(t, one.heard(), "")
		h.set("a", func(s *script) { s.def.Revision, s.def.Tools.Deny = 2, []string{"x"} })
		h.b.Changed(nil)
		equal(t, one.heard(), "tools/list_changed; prompts/list_changed; resources/list_changed")
		h.b.Changed(nil)
		sleep(time.Second)
		equal(t, one.heard(), "")
		equal(t, h.calls("b")[0].feeds(), "")
		equal(t, names(t, h.do(user("ann"), "tools/list", ""), "tools", "name"), "[a__echo c__echo]")
		h.fails(user("ann"), "tools/call", `{"name":"b__echo"}`, jackfield.NotFound)
	})
}

func TestListenersAreBoundedAndEndWithTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{Limits: Limits{Listeners: 2}}, "a")
		one, _ := h.listen(user("ann"), all)
		defer one.stop()
		two, _ := h.listen(user("ann").only("a"), all)
		three, _ := h.listen(user("ann"), all)
		equal(t, jackfield.CodeOf(three.err), jackfield.Exhausted)
		two.stop()
		four, _ := h.listen(user("ann").only("a"), all)
		defer four.stop()
		five, _ := h.listen(user("ann").only("nobody"), all)
		equal(t, jackfield.CodeOf(five.err), jackfield.NotFound)
		if err := h.b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		equal(t, h.calls("a")[0].feeds(), "")
		six, _ := h.listen(user("ann"), all)
		equal(t, jackfield.CodeOf(six.err), jackfield.Unavailable)
	})
}

func TestWhoIsSlowLosesWhatCannotBeMergedAndHoldsUpNobody(t *testing.T) {
	m := newMailbox()
	for i := range 10_000 {
		m.changed(catalog.SetOf(catalog.Tools))
		m.updated("a", "x", exchange.Event{Params: wire.Raw(fmt.Sprint(i))})
		m.updated("a", fmt.Sprint(i), exchange.Event{})
		m.other(exchange.Event{})
	}
	kinds, updates, others := m.take(false)
	equal(t, fmt.Sprint(kinds, len(updates), string(updates[0].ev.Params), len(others)), fmt.Sprint(0, maxURIs, "9999", maxOthers))
	kinds, updates, others = m.take(true)
	equal(t, fmt.Sprint(kinds, len(updates), len(others)), fmt.Sprint(catalog.SetOf(catalog.Tools), 0, 0))
}

func TestAStreamOnWhichChangesAreNotToldKeepsNothingFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.legacy("a")
		h.set("a", func(s *script) { s.shape.Capabilities = wire.Raw(`{"tools":{"listChanged":true},"prompts":{}}`) })
		ann := inSession("ann", "1").only("a")
		h.do(ann, "tools/call", `{"name":"echo"}`)
		e, _ := h.listen(ann, all)
		defer e.stop()
		h.do(ann, "tools/list", "")
		dials := h.dials("a")
		for range 11 {
			sleep(time.Minute)
			h.do(ann, "tools/list", "")
		}
		equal(t, h.dials("a")-dials, 2)
	})
}

func TestAStreamKeepsListsFreshWhileItStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.legacy("a")
		ann := inSession("ann", "1").only("a")
		h.do(ann, "tools/list", "")
		h.do(ann, "tools/call", `{"name":"echo"}`)
		e, _ := h.listen(ann, all)
		sleep(time.Minute)
		h.do(ann, "tools/list", "") // once more, for the new connection
		dials := h.dials("a")
		for range 60 {
			sleep(time.Minute)
			h.do(ann, "tools/list", "")
		}
		equal(t, h.dials("a"), dials)
		e.stop()
		for range 10 {
			sleep(time.Minute)
			h.do(ann, "tools/list", "")
		}
		if n := h.dials("a") - dials; n < 2 || n > 3 {
			t.Errorf("listed %d times in the ten minutes after the stream ended", n)
		}
	})
}
