package broker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// about a task of the server, by its own id for it.
func (h *house) askTask(c Caller, method, server, params string) (exchange.Result, error) {
	h.t.Helper()
	r := request(h.t, method, params)
	r.Server = server
	return h.b.Do(h.ctx(), c, r, nil)
}

func TestARequestAboutATaskReachesTheServerThatMadeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "b")
		for _, c := range []Caller{user("ann"), user("ann").only("b")} {
			for _, m := range []string{"tasks/get", "tasks/update", "tasks/cancel", "tasks/result", "tasks/list"} {
				res, err := h.askTask(c, m, "b", `{"taskId":"t1"}`)
				if err != nil || res.Server != "b" {
					t.Fatalf("%s: %+v, %v", m, res, err)
				}
				got := h.calls("b")[0].heard()
				equal(t, got[len(got)-1], m+` {"taskId":"t1"}`)
			}
		}
		equal(t, len(h.calls("a")), 0)
	})
}

func TestATaskOfAServerThatTheCallerDoesNotSeeIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := seenBy(t, func(p jackfield.Principal, s jackfield.Server) bool {
			return p.Subject == "ann" || s.Name != "b"
		}, "a", "b")
		for _, c := range []struct {
			who    Caller
			server string
		}{
			{user("bob"), "b"},           // it is not for him
			{user("ann").only("a"), "b"}, // not through this door
			{user("ann"), "c"},           // it was removed
			{user("ann"), ""},            // nobody has said whose it is
			{user("ann").only("a"), ""},  // not even here

		} {
			if _, err := h.askTask(c.who, "tasks/get", c.server, `{"taskId":"t1"}`); jackfield.CodeOf(err) != jackfield.NotFound {
				t.Errorf("%+v: %v", c, err)
			}
		}
		equal(t, len(h.calls("b")), 0)
	})
}

func TestTheLinksInWhatATaskCameToKeepWorking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "b")
		link := func(uri string) string { return `{"content":[{"type":"resource_link","uri":"` + uri + `"}]}` }
		h.set("b", func(s *script) {
			s.answer = func(_ *conn, _ context.Context, r *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
				switch r.Method {
				case "tasks/get":
					return exchange.Result{Raw: wire.Raw(`{"status":"completed","result":` + link("got://x") + `}`)}, nil
				case "tasks/result":
					return exchange.Result{Raw: wire.Raw(link("came://x"))}, nil
				}
				return exchange.Result{Raw: wire.Raw(`{}`)}, nil
			}
		})
		for uri, method := range map[string]string{"got://x": "tasks/get", "came://x": "tasks/result"} {
			if _, err := h.askTask(user("ann"), method, "b", `{}`); err != nil {
				t.Fatal(err)
			}
			h.do(user("ann"), "resources/read", `{"uri":"`+uri+`"}`)
			got := h.calls("b")[0].heard()
			equal(t, got[len(got)-1], `resources/read {"uri":"`+uri+`"}`)
		}
	})
}

func TestWhoFollowsATaskHearsOfThatOneOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "b")
		mine := Filter{Tasks: []Task{{"a", "t1"}, {"gone", "t1"}}}
		e, f := h.listen(user("ann"), mine)
		defer e.stop()
		equal(t, f, Filter{Tasks: []Task{{"a", "t1"}}})
		other, _ := h.listen(user("bob"), Filter{Tasks: []Task{{"a", "t2"}, {"b", "t1"}}})
		defer other.stop()
		lists, _ := h.listen(user("eve").only("a"), all)
		defer lists.stop()
		equal(t, h.calls("a")[0].feeds(), "lists,t1,t2")
		equal(t, h.calls("b")[0].feeds(), "t1")
		sleep(time.Minute)
		for _, one := range []*ear{e, other, lists} {
			one.heard()
		}
		h.calls("a")[0].say("notifications/tasks", `{"taskId":"t1","status":"working"}`)
		h.calls("a")[0].say("notifications/tasks", `{"taskId":"t3"}`)
		h.calls("a")[0].say("notifications/tasks", `[]`)
		synctest.Wait()
		equal(t, e.heard(), `tasks {"taskId":"t1","status":"working"}`)
		equal(t, other.heard()+lists.heard(), "")
		e.stop()
		equal(t, h.calls("a")[0].feeds(), "lists,t2")
	})
}

func TestATaskThatTheServerTellsNothingOfIsNotPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "refuses", "silent", "down")
		h.set("refuses", func(s *script) { s.refuses = true })
		h.set("silent", func(s *script) { s.silent = true })
		h.set("down", func(s *script) { s.dialErr = jackfield.Errorf(jackfield.Unavailable, "connection refused") })
		e, f := h.listen(user("ann"), Filter{Tasks: []Task{{"refuses", "t"}, {"silent", "t"}, {"down", "t"}}})
		defer e.stop()
		equal(t, len(f.Tasks), 0)
	})
}

func TestTasksAreAnnouncedWhereThereAreSome(t *testing.T) {
	const (
		words = `{"tools":{},"tasks":{"list":{},"requests":{"tools":{"call":{}}}},"extensions":{"io.modelcontextprotocol/tasks":{},"vendor/x":{},"io.modelcontextprotocol/ui":{"mimeTypes":["m"]}}}`
		ui    = `"io.modelcontextprotocol/ui":{"mimeTypes":["m"]}`
	)
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "old", "new", "none")
		h.legacy("old")
		for _, s := range []string{"old", "new"} {
			h.set(s, func(s *script) { s.shape.Capabilities = wire.Raw(words) })
		}
		h.set("none", func(s *script) { s.shape.Capabilities = wire.Raw(`{"tools":{}}`) })
		equal(t, string(h.about(user("ann")).Capabilities), `{"tools":{"listChanged":true},"tasks":{"list":{},"requests":{"tools":{"call":{}}}},"extensions":{"io.modelcontextprotocol/tasks":{},`+ui+`}}`)
		// Each for itself says what is true in the era in which it is spoken to.
		equal(t, string(h.about(user("ann").only("old")).Capabilities), `{"tools":{},"tasks":{"list":{},"requests":{"tools":{"call":{}}}},"extensions":{"vendor/x":{},`+ui+`}}`)
		equal(t, string(h.about(user("ann").only("new")).Capabilities), `{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{},"vendor/x":{},`+ui+`}}`)
		equal(t, string(h.about(user("ann").only("none")).Capabilities), `{"tools":{}}`)
	})
}
