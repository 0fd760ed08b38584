package broker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/exchange"
)

func TestWhoSeesSomethingElseIsToldAndNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d := decidedHouse(t, Options{}, "a", "b", "c")
		for _, who := range []string{"ann", "bob", "cat"} {
			d.set(who, h.def("a"), h.def("b"))
		}
		ears := map[string]*ear{}
		for name, c := range map[string]Caller{
			"ann": user("ann"), "ann at a": inSession("ann", "1").only("a"), "ann at b": inSession("ann", "1").only("b"),
			"bob": user("bob"), "cat": user("cat"),
		} {
			e, _ := h.listen(c, all)
			defer e.stop()
			ears[name] = e
		}
		change := func(what string, want map[string]string) {
			t.Helper()
			sleep(time.Minute)
			for _, e := range ears {
				e.heard()
			}
			h.b.Changed(nil)
			for name, e := range ears {
				if got := e.heard(); got != want[name] {
					t.Errorf("%s: %s heard %q, want %q", what, name, got, want[name])
				}
			}
		}
		const every, tools = "tools/list_changed; prompts/list_changed; resources/list_changed", "tools/list_changed"
		change("nothing", nil)
		d.set("ann", h.def("a"), h.def("b"))
		change("a new slice of the same", nil)
		d.set("ann", h.denying("a", "x"), h.def("b"))
		change("a filter", map[string]string{"ann": tools, "ann at a": tools})
		d.set("ann", h.denying("a", "x"), h.def("b"))
		change("the same filter", nil)
		edited := h.def("b")
		edited.Revision++
		d.set("bob", h.def("a"), edited)
		change("a revision", map[string]string{"bob": every})
		d.set("bob", edited, h.def("a"))
		change("the order", map[string]string{"bob": every})
		d.set("ann", h.denying("a", "x"))
		change("one less", map[string]string{"ann": every, "ann at b": every})
		change("still", nil)
		d.set("ann", h.denying("a", "x"), h.def("b"), h.def("c"))
		change("two more", map[string]string{"ann": every, "ann at b": every})
		invalid := h.def("b")
		invalid.Invalid = "url: ${X} is not set"
		d.set("ann", h.denying("a", "x"), invalid, h.def("c"))
		change("one that is of no use", map[string]string{"ann": every, "ann at b": every})
		other := h.def("c")
		other.Name = "a"
		d.set("ann", other)
		change("another of the same name", map[string]string{"ann": every, "ann at a": every})
	})
}

func TestWhoLosesAServerHearsNoMoreOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d := decidedHouse(t, Options{}, "a", "b")
		for _, s := range []string{"a", "b"} {
			h.set(s, func(sc *script) { sc.lists[catalog.Resources] = []string{"doc://" + s} })
		}
		d.set("ann", h.def("a"), h.def("b"))
		d.set("bob", h.def("a"), h.def("b"))
		every := all
		every.URIs, every.Tasks = []string{"doc://a", "doc://b"}, []Task{{Server: "b", ID: "1"}}
		ann, _ := h.listen(user("ann"), every)
		defer ann.stop()
		one, _ := h.listen(user("ann").only("b"), all)
		defer one.stop()
		chat := inSession("ann", "1")
		h.do(chat, "resources/subscribe", `{"uri":"doc://b"}`)
		h.do(chat.only("b"), "resources/subscribe", `{"uri":"doc://b"}`)
		session, _ := h.listen(chat, all)
		defer session.stop()
		bob, _ := h.listen(user("bob"), all)
		defer bob.stop()
		sleep(time.Minute)
		b := h.calls("b")[0]
		equal(t, b.feeds(), "1,doc://b,lists")

		d.set("ann", h.def("a"))
		h.b.Changed(nil)
		equal(t, b.feeds(), "lists") // bob's
		sleep(time.Minute)
		for _, e := range []*ear{ann, one, session, bob} {
			e.heard()
		}
		b.say("notifications/resources/updated", `{"uri":"doc://b"}`)
		b.say("notifications/tasks", `{"taskId":"1"}`)
		b.say("notifications/tools/list_changed", "")
		for _, e := range []*ear{ann, one, session} {
			equal(t, e.heard(), "")
		}
		equal(t, bob.heard(), "tools/list_changed")
		h.calls("a")[0].say("notifications/resources/updated", `{"uri":"doc://a"}`)
		equal(t, ann.heard(), `resources/updated {"uri":"doc://a"}`)
		b.die(errGone) // it is connected again for bob, if at all
		sleep(time.Minute)
		for l := range h.b.hub.listeners {
			if l.owner == jackfield.User("ann") && l.on("b") || len(l.uris["b"])+len(l.tasks["b"]) > 0 {
				t.Errorf("a listener at %q still has something to do with b", l.c.Only)
			}
		}
		h.fails(chat, "resources/subscribe", `{"uri":"doc://b"}`, jackfield.NotFound)
	})
}

func TestWhatWaitsToBeDeliveredIsLostWithItsServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d := decidedHouse(t, Options{}, "a", "b")
		d.set("ann", h.def("a"), h.def("b"))
		l := &listener{
			c: user("ann"), owner: jackfield.User("ann"), cl: h.b.class(user("ann").Principal),
			box: newMailbox(), ctx: t.Context(), lines: map[*line]struct{}{},
		}
		if err := h.b.enter(l, h.b.changes.Load()); err != nil {
			t.Fatal(err)
		}
		defer h.b.leave(l)
		for _, s := range []jackfield.ServerID{"a", "b"} {
			l.box.updated(s, "doc://"+string(s), event("notifications/resources/updated", s))
			l.box.other(event("notifications/message", s))
		}
		d.set("ann", h.def("a"))
		h.b.Changed(nil)
		_, updates, others := l.box.take(true)
		if len(updates) != 1 || updates[0].server != "a" || len(others) != 1 || others[0].Server != "a" {
			t.Errorf("%v %v", updates, others)
		}
	})
}

func TestWhoGainsAServerHearsOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d := decidedHouse(t, Options{}, "a", "b", "c")
		d.set("ann", h.def("a"))
		d.set("bob", h.def("a"), h.def("b"))
		bob, _ := h.listen(user("bob").only("b"), all)
		defer bob.stop()
		ann, _ := h.listen(user("ann"), all)
		defer ann.stop()
		one, _ := h.listen(user("cat").only("b"), all)
		equal(t, jackfield.CodeOf(one.err), jackfield.NotFound)
		h.calls("b")[0].say("notifications/tools/list_changed", "")
		sleep(time.Minute)
		ann.heard()
		d.set("ann", h.def("a"), h.def("b"), h.def("c"))
		h.b.Changed(nil)
		sleep(time.Minute)
		ann.heard()
		h.calls("b")[0].say("notifications/prompts/list_changed", "") // others hear of it already
		equal(t, ann.heard(), "prompts/list_changed")
		bob.stop()
		equal(t, h.calls("b")[0].feeds(), "lists") // for ann
		h.do(user("ann"), "tools/call", `{"name":"c__echo"}`)
		equal(t, h.calls("c")[0].feeds(), "lists") // and what is called from now on
	})
}

func TestWhoAsksAServerAloneHearsUntilItIsGone(t *testing.T) {
	for what, f := range map[string]Filter{"lists": all, "a resource": {URIs: []string{"doc://a"}}} {
		for name, gone := range map[string]func(h *house) []jackfield.Server{
			"lost": func(h *house) []jackfield.Server { return []jackfield.Server{h.def("b")} },
			"of no use": func(h *house) []jackfield.Server {
				a := h.def("a")
				a.Invalid = "url: ${X} is not set"
				return []jackfield.Server{a, h.def("b")}
			},
		} {
			t.Run(what+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h, d := decidedHouse(t, Options{}, "a", "b")
					h.set("a", func(sc *script) { sc.lists[catalog.Resources] = []string{"doc://a"} })
					d.set("ann", h.def("a"), h.def("b"))
					e, _ := h.listen(user("ann").only("a"), f)
					defer e.stop()
					d.set("ann", h.def("a"))
					h.b.Changed(nil)
					sleep(time.Minute)
					if h.calls("a")[0].feeds() == "" {
						t.Fatal("it ended with another server")
					}
					d.set("ann", gone(h)...)
					h.b.Changed(nil)
					synctest.Wait()
					if len(h.b.hub.listeners) != 0 {
						t.Error("it still listens")
					}
					if e.err == nil || !strings.Contains(e.err.Error(), `"a"`) {
						t.Errorf("it ended with %v", e.err)
					}
				})
			})
		}
	}
}

func TestAChangeWhileSomebodyBeginsToListenIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d := decidedHouse(t, Options{}, "a", "b")
		h.set("b", func(s *script) { s.lists[catalog.Resources] = []string{"doc://b"}; s.dialing = time.Second })
		d.set("ann", h.def("a"), h.def("b"))
		f := all
		f.URIs = []string{"doc://b"} // to know whose that is takes a second
		began := make(chan *ear)
		go func() {
			e, _ := h.listen(user("ann"), f)
			began <- e
		}()
		synctest.Wait()
		d.set("ann", h.def("a"))
		h.b.Changed(nil)
		e := <-began
		defer e.stop()
		h.b.hub.mu.Lock()
		for l := range h.b.hub.listeners {
			if l.sees("b") || len(l.uris) > 0 {
				t.Error("it hears of what it lost before it was in")
			}
		}
		h.b.hub.mu.Unlock()
	})
}

// Whatever changes while people come and go, in the end each hears of what it sees,
// and of nothing else.
func TestListenersAndChangesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids []string
		for i := range 8 {
			ids = append(ids, fmt.Sprint("s", i))
		}
		h, d := decidedHouse(t, Options{}, ids...)
		for _, id := range ids {
			h.set(id, func(s *script) { s.lists[catalog.Resources] = []string{"doc://" + id} })
		}
		sees := func(i, round int) []jackfield.Server {
			var seen []jackfield.Server
			for j, id := range ids {
				if (i+j*round)%3 != 0 {
					seen = append(seen, h.def(id))
				}
			}
			return seen
		}
		const people = 50
		for i := range people {
			d.set(fmt.Sprint(i), sees(i, 0)...)
		}
		var work sync.WaitGroup
		ears := make([]*ear, people)
		for i := range people {
			work.Go(func() {
				f := all
				f.URIs = []string{"doc://s1", "doc://s5"}
				for range 3 {
					if ears[i] != nil {
						ears[i].stop()
					}
					ears[i], _ = h.listen(user(fmt.Sprint(i)), f)
				}
			})
			work.Go(func() {
				for round := 1; round < 5; round++ {
					d.set(fmt.Sprint(i), sees(i, round)...)
					h.b.Changed(nil)
				}
			})
		}
		work.Wait()
		synctest.Wait()
		h.b.hub.mu.Lock()
		equal(t, len(h.b.hub.listeners), people)
		for l := range h.b.hub.listeners {
			now := d.Sees(l.c.Principal)
			if !same(now, l.cl.servers) {
				t.Errorf("%s sees something else", l.c.Principal.Subject)
			}
			for ln := range l.lines {
				if _, ok := l.cl.server(ln.key.Server); !ok {
					t.Errorf("%s hears %s", l.c.Principal.Subject, ln.key.Server)
				}
			}
			for id := range l.uris {
				if _, ok := l.cl.server(id); !ok {
					t.Errorf("%s is subscribed at %s", l.c.Principal.Subject, id)
				}
			}
		}
		h.b.hub.mu.Unlock()
		for _, e := range ears {
			e.stop()
		}
		equal(t, len(h.b.hub.lines)+len(h.b.hub.byServer)+len(h.b.hub.listeners), 0)
	})
}

func TestWhoLosesAServerWhileItSubscribesIsNotSubscribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d := decidedHouse(t, Options{}, "a")
		h.legacy("a")
		d.set("ann", h.def("a"))
		h.set("a", func(s *script) {
			s.lists[catalog.Resources] = []string{"doc://a"}
			s.answer = func(*conn, context.Context, *exchange.Request, exchange.Peer) (exchange.Result, error) {
				d.set("ann")
				h.b.Changed(nil)
				return exchange.Result{Raw: empty}, nil
			}
		})
		h.fails(inSession("ann", "1"), "resources/subscribe", `{"uri":"doc://a"}`, jackfield.NotFound)
		for l := range h.b.hub.listeners {
			equal(t, len(l.uris)+len(l.lines), 0)
		}
	})
}
