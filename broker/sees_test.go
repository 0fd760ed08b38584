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
	"github.com/jackfield-dev/jackfield/wire"
)

var errGone = jackfield.Errorf(jackfield.Unavailable, "the connection is gone")

// decided is what each principal sees of a house, as the test wants it: slices that
// stay what they are until they are set again.
type decided struct {
	mu    sync.Mutex // protects what follows
	of    map[string][]jackfield.Server
	asked int
}

func (d *decided) Sees(p jackfield.Principal) []jackfield.Server {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	return d.of[p.Subject]
}

func (d *decided) set(subject string, seen ...jackfield.Server) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of[subject] = seen
}

// count is how often Sees was asked since the last time.
func (d *decided) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.asked
	d.asked = 0
	return n
}

func decidedHouse(t testing.TB, o Options, names ...string) (*house, *decided) {
	d := &decided{of: map[string][]jackfield.Server{}}
	o.Sees = d.Sees
	return newHouse(t, o, names...), d
}

func (h *house) def(name string) jackfield.Server {
	s, ok := h.lookup(jackfield.ServerID(name))
	if !ok {
		h.t.Fatalf("there is no %s", name)
	}
	return s
}

// denying is a server as those see it who may not use some of its tools.
func (h *house) denying(name string, tools ...string) jackfield.Server {
	s := h.def(name)
	s.Tools.Also = []jackfield.ToolFilter{{Deny: tools}}
	return s
}

func TestWhatIsSeenIsAskedOnceForEachRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d := decidedHouse(t, Options{}, "a", "b")
		h.set("a", func(s *script) { s.lists[catalog.Resources] = []string{"doc://a"} })
		d.set("ann", h.def("a"), h.def("b"))
		ann := user("ann")
		for method, params := range map[string]string{
			"tools/list":               "",
			"tools/call":               `{"name":"a__echo"}`,
			"prompts/get":              `{"name":"nothing"}`,
			"resources/read":           `{"uri":"doc://a"}`,
			"resources/templates/list": "",
			"completion/complete":      `{"ref":{"type":"ref/resource","uri":"doc://a"}}`,
			"vendor/thing":             "",
			"ping":                     "",
		} {
			for _, c := range []Caller{ann, ann.only("a"), ann.only("nothing")} {
				d.count()
				_, _ = h.try(c, method, params)
				if n := d.count(); n != 1 {
					t.Errorf("%s at %q asked %d times", method, c.Only, n)
				}
			}
		}
		_, _ = h.b.About(t.Context(), ann)
		equal(t, d.count(), 1)
		h.b.Notify(t.Context(), ann, "notifications/roots/list_changed", nil)
		equal(t, d.count(), 1)
		e, _ := h.listen(ann, all)
		e.stop()
		equal(t, d.count(), 1)
	})
}

func TestAWarmLookAllocatesNothing(t *testing.T) {
	h, d := decidedHouse(t, Options{}, "a", "b")
	d.set("ann", h.def("a"), h.def("b"))
	for _, c := range []Caller{user("ann"), user("ann").only("b")} {
		n := testing.AllocsPerRun(100, func() {
			if _, _, err := h.b.view(&c); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%v allocations at %q", n, c.Only)
		}
	}
}

func TestEachCallerSeesAServerAsItIsForThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d := decidedHouse(t, Options{}, "a", "b")
		h.set("a", func(s *script) {
			s.lists[catalog.Tools] = []string{"read", "delete_all", "write"}
			s.hints = map[string]string{"delete_all": `{"idempotentHint":true}`, "read": `{"readOnlyHint":true}`}
			s.extra = map[string]string{"delete_all": `"inputSchema":{"type":"object","properties":{"x":{"type":"string","x-mcp-header":"X"}}}`}
		})
		d.set("boss", h.def("a"), h.def("b"))
		d.set("ann", h.denying("a", "delete_*"), h.def("b"))
		d.set("bob", h.denying("a", "write", "read"), h.def("b"))
		for range 2 {
			for who, want := range map[string]string{
				"boss": "[read delete_all write]", "ann": "[read write]", "bob": "[delete_all]",
			} {
				equal(t, names(t, h.do(user(who).only("a"), "tools/list", ""), "tools", "name"), want)
				want = strings.NewReplacer("[", "[a__", " ", " a__", "]", " b__echo]").Replace(want)
				equal(t, names(t, h.do(user(who), "tools/list", ""), "tools", "name"), want)
				for _, tool := range []string{"read", "delete_all", "write"} {
					listed := strings.Contains(want, "a__"+tool)
					for c, name := range map[*Caller]string{new(user(who)): "a__" + tool, new(user(who).only("a")): tool} {
						if !listed {
							h.fails(*c, "tools/call", `{"name":"`+name+`"}`, jackfield.NotFound, name)
						} else {
							h.do(*c, "tools/call", `{"name":"`+name+`"}`)
						}
						equal(t, h.b.Repeatable(*c, name), listed && tool != "write")
						equal(t, len(h.b.ParamHeaders(*c, name)) > 0, listed && tool == "delete_all")
					}
				}
			}
		}
	})
}

func TestWhatOthersSeeIsInNoWordToACaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d := decidedHouse(t, Options{}, "a", "secret")
		h.set("secret", func(s *script) {
			s.lists[catalog.Tools] = []string{"echo"}
			s.lists[catalog.Resources] = []string{"doc://secret"}
			s.lists[catalog.Templates] = []string{"tmpl://{x}"}
			s.lists[catalog.Prompts] = []string{"hello"}
			s.answer = func(*conn, context.Context, *exchange.Request, exchange.Peer) (exchange.Result, error) {
				return exchange.Result{Raw: wire.Raw(`{"content":[{"type":"resource_link","uri":"link://secret"}]}`)}, nil
			}
		})
		d.set("ann", h.def("a"), h.def("secret"))
		ann := user("ann")
		h.do(ann, "tools/call", `{"name":"secret__echo"}`)
		h.do(ann, "resources/read", `{"uri":"link://secret"}`) // she was given the link
		calls := len(h.calls("secret")[0].heard())

		d.set("ann", h.def("a")) // and sees it no more
		other := user("nobody")
		d.set("nobody", h.def("a"))
		_, unknown := h.try(ann.only("nothing"), "tools/list", "")
		for method, params := range map[string]string{
			"tools/call":          `{"name":"secret__echo"}`,
			"prompts/get":         `{"name":"secret__hello"}`,
			"resources/read":      `{"uri":"doc://secret"}`,
			"completion/complete": `{"ref":{"type":"ref/prompt","name":"secret__hello"}}`,
		} {
			_, err := h.try(ann, method, params)
			_, same := h.try(other, method, params) // who never saw it hears the same
			if jackfield.CodeOf(err) != jackfield.NotFound || same == nil || err.Error() != same.Error() {
				t.Errorf("%s: %v and %v", method, err, same)
			}
			_, err = h.try(ann.only("secret"), method, params)
			if jackfield.CodeOf(err) != jackfield.NotFound || err.Error() != strings.Replace(unknown.Error(), "nothing", "secret", 1) {
				t.Errorf("%s: %v", method, err)
			}
		}
		for _, uri := range []string{"link://secret", "jackfield://secret/doc:%2F%2Fsecret", "tmpl://x"} {
			h.fails(ann, "resources/read", `{"uri":"`+uri+`"}`, jackfield.NotFound)
			h.fails(inSession("ann", "1"), "resources/subscribe", `{"uri":"`+uri+`"}`, jackfield.NotFound)
		}
		if _, err := h.askTask(ann, "tasks/get", "secret", `{"taskId":"1"}`); jackfield.CodeOf(err) != jackfield.NotFound {
			t.Error(err)
		}
		equal(t, h.b.Find(ann.Principal, "secret"), strings.Replace(unknown.Error(), "nothing", "secret", 1))
		equal(t, len(h.calls("secret")[0].heard()), calls)
		about, err := h.b.About(t.Context(), ann)
		if err != nil || strings.Contains(about.Instructions, "secret") {
			t.Errorf("%v %s", err, about.Instructions)
		}
	})
}

func TestOneNameIsAnotherServerForEachCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d := decidedHouse(t, Options{}, "team", "own")
		for _, id := range []string{"team", "own"} {
			h.set(id, func(s *script) {
				s.def.Name = "docs"
				s.lists[catalog.Tools] = []string{"of_" + id}
				s.answer = func(*conn, context.Context, *exchange.Request, exchange.Peer) (exchange.Result, error) {
					return exchange.Result{Raw: wire.Raw(`{"by":"` + id + `"}`)}, nil
				}
			})
		}
		d.set("ann", h.def("team"))
		d.set("bob", h.def("own"))
		for who, id := range map[string]string{"ann": "team", "bob": "own"} {
			equal(t, names(t, h.do(user(who), "tools/list", ""), "tools", "name"), "[docs__of_"+id+"]")
			equal(t, h.do(user(who), "tools/call", `{"name":"docs__of_`+id+`"}`), `{"by":"`+id+`"}`)
			equal(t, h.do(user(who).only("docs"), "tools/call", `{"name":"x"}`), `{"by":"`+id+`"}`)
		}
		h.fails(user("ann"), "tools/call", `{"name":"docs__of_own"}`, jackfield.NotFound)
	})
}

func TestOnlyWhatEverybodySeesIsPublic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		public := func([]jackfield.Server) bool { return true }
		for want, o := range map[string]Options{"private": {}, "public": {Public: public}} {
			h, d := decidedHouse(t, o, "a")
			d.set("ann", h.def("a"))
			h.public = true
			for _, c := range []Caller{user("ann"), user("ann").only("a")} {
				if page := h.do(c, "tools/list", ""); !strings.Contains(page, `"cacheScope":"`+want+`"`) {
					t.Errorf("%q: %s", c.Only, page)
				}
			}
		}
	})
}

func TestClassesAreBoundedAndOfNoChangeBeforeTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d := decidedHouse(t, Options{}, "a", "b")
		look := func(who string) *class { return h.b.class(jackfield.Principal{Subject: who}) }
		kept := func() int { return h.b.classes.recent.order.Len() + h.b.classes.before.order.Len() }
		d.set("often", h.def("a"))
		often := look("often")
		for i := range 2 * maxClasses {
			d.set(fmt.Sprint(i), h.def("a"), h.def("b"))
			look(fmt.Sprint(i))
			if look("often") != often {
				t.Fatal("who comes back often was forgotten")
			}
		}
		equal(t, kept(), maxClasses)
		equal(t, h.b.classes.n, 2*maxClasses-1)
		h.b.Changed(nil)
		if look("often") != often {
			t.Error("a change of something else forgot a view")
		}
		equal(t, kept(), maxClasses)
		sleep(fade + time.Second)
		look("often")
		equal(t, kept(), 1)
		equal(t, h.b.classes.n, 1)
		h.b.Changed(nil)
		h.b.Changed(nil)
		equal(t, kept(), 0)

		many := make([]jackfield.Server, maxSeen/4+1+6)
		for i := range 6 {
			d.set(fmt.Sprint("big", i), many[i:i+maxSeen/4+1]...)
			look(fmt.Sprint("big", i))
		}
		equal(t, kept(), 3)
		// A slice that begins like another is another.
		d.set("long", h.def("a"), h.def("b"))
		d.mu.Lock()
		d.of["short"] = d.of["long"][:1]
		d.mu.Unlock()
		equal(t, len(look("long").servers), 2)
		equal(t, len(look("short").servers), 1)
		equal(t, len(look("nothing").servers), 0)
		equal(t, h.b.classes.n, 3*(maxSeen/4+1)+1) // three of the big ones, and the short one
	})
}

func TestARequestIsAdmittedOnceBeforeThereIsAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		full := false
		o := Options{Admit: func(p jackfield.Principal, s *jackfield.Server) error {
			asked = append(asked, p.Subject+" "+s.Name)
			if full {
				return jackfield.Errorf(jackfield.Exhausted, "%s has called %s often enough", p.Subject, s.Name)
			}
			return nil
		}}
		h := newHouse(t, o, "a")
		h.set("a", func(s *script) {
			s.lists[catalog.Resources] = []string{"doc://a"}
			s.hints = map[string]string{"echo": `{"readOnlyHint":true}`}
		})
		ann := user("ann")
		for _, m := range []string{"tools/list", "resources/list", "ping", "logging/setLevel"} {
			h.do(ann, m, "")
		}
		_, _ = h.b.About(t.Context(), ann)
		h.b.Notify(t.Context(), ann, "notifications/roots/list_changed", nil)
		h.fails(ann, "tools/call", `{"name":"a__nothing"}`, jackfield.NotFound)
		equal(t, asked, "[]")
		died := false
		h.set("a", func(s *script) {
			s.answer = func(c *conn, _ context.Context, _ *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
				if !died {
					died = true
					c.die(errGone)
					return exchange.Result{}, unsent{errGone}
				}
				return exchange.Result{Raw: wire.Raw(`{}`)}, nil
			}
		})
		h.do(ann, "tools/call", `{"name":"a__echo"}`) // sent once more, and one call
		equal(t, died, true)
		equal(t, asked, "[ann a]")
		h.do(ann, "resources/read", `{"uri":"doc://a"}`)
		h.do(ann.only("a"), "vendor/thing", "")
		h.b.Notify(t.Context(), ann.only("a"), "notifications/vendor", nil)
		equal(t, len(asked), 4)
		full = true
		for _, c := range h.conns("a") {
			c.die(errGone)
		}
		dials := h.dials("a")
		h.fails(ann, "tools/call", `{"name":"a__echo"}`, jackfield.Exhausted, "ann has called a often enough")
		h.fails(ann.only("a"), "x/y", "", jackfield.Exhausted)
		h.b.Notify(t.Context(), ann.only("a"), "notifications/vendor", nil)
		h.do(ann, "tools/list", "")
		equal(t, h.dials("a"), dials)
		equal(t, h.b.Load(), Load{})
	})
}

func TestWhoLacksCredentialsIsToldAtOnceAndNothingIsDialedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const words = `server "a" needs your API key (Token): enter it with jackfield var set a TOKEN`
		h := newHouse(t, Options{}, "a", "b")
		h.set("a", func(s *script) {
			s.def.Fill.Headers = map[string]jackfield.Template{"Authorization": {{From: jackfield.FromVar, Name: "TOKEN"}}}
			f := &jackfield.Failure{Kind: jackfield.FailureAuth, Message: words}
			s.dialErr = &jackfield.Error{Code: jackfield.AuthRequired, Message: words, Err: f}
		})
		ann := user("ann")
		for range 5 {
			equal(t, names(t, h.do(ann, "tools/list", ""), "tools", "name"), "[b__echo]")
			began := time.Now()
			for _, c := range []Caller{ann, inSession("ann", "1"), inSession("ann", "2")} {
				h.fails(c, "tools/call", `{"name":"a__echo"}`, jackfield.AuthRequired, words)
				h.fails(c.only("a"), "tools/call", `{"name":"echo"}`, jackfield.AuthRequired, words)
				h.fails(c.only("a"), "tools/list", "", jackfield.AuthRequired, words)
			}
			equal(t, time.Since(began), time.Duration(0))
			sleep(time.Hour)
		}
		equal(t, h.dials("a"), 1)
		h.set("a", func(s *script) { s.dialErr = nil })
		h.credential.Store(1)
		h.cat.Renewed("a", jackfield.User("ann"))
		equal(t, names(t, h.do(ann, "tools/list", ""), "tools", "name"), "[a__echo b__echo]")
		h.do(ann, "tools/call", `{"name":"a__echo"}`)
	})
}

// Two principals who see different servers never see each other's, whatever goes on.
func TestNobodySeesWhatIsSomebodyElses(t *testing.T) {
	const people, rounds = 50, 20
	var ids []string
	for i := range people {
		ids = append(ids, fmt.Sprint("own", i))
	}
	h, d := decidedHouse(t, Options{}, append(ids, "shared")...)
	for i, id := range ids {
		h.set(id, func(s *script) {
			s.lists[catalog.Tools] = []string{"mine"}
			s.lists[catalog.Resources] = []string{"doc://" + id}
			s.def.Usage.RequiresOAuth = i%2 == 0
		})
	}
	h.set("shared", func(s *script) {
		for i := range people {
			s.lists[catalog.Tools] = append(s.lists[catalog.Tools], fmt.Sprintf("for_%d_", i))
		}
	})
	// Of the shared server each sees the one tool that is for it.
	sees := func(i int) []jackfield.Server {
		shared := h.def("shared")
		shared.Tools.Also = []jackfield.ToolFilter{{Allow: []string{fmt.Sprintf("for_%d_", i)}}}
		return []jackfield.Server{h.def(ids[i]), shared}
	}
	for i := range people {
		d.set(fmt.Sprint(i), sees(i)...)
	}
	var work sync.WaitGroup
	for i := range people {
		work.Go(func() {
			c, next := user(fmt.Sprint(i)), fmt.Sprint("own", (i+1)%people)
			want := fmt.Sprintf("[own%d__mine shared__for_%d_]", i, i)
			for round := range rounds {
				if got := names(t, h.do(c, "tools/list", ""), "tools", "name"); fmt.Sprint(got) != want {
					t.Errorf("%d lists %v", i, got)
					return
				}
				for _, tool := range []string{next + "__mine", fmt.Sprintf("shared__for_%d_", (i+1)%people)} {
					if _, err := h.try(c, "tools/call", `{"name":"`+tool+`"}`); jackfield.CodeOf(err) != jackfield.NotFound {
						t.Errorf("%d calls %s: %v", i, tool, err)
					}
				}
				if _, err := h.try(c.only(next), "tools/list", ""); jackfield.CodeOf(err) != jackfield.NotFound {
					t.Errorf("%d asks %s: %v", i, next, err)
				}
				h.do(c, "tools/call", fmt.Sprintf(`{"name":"shared__for_%d_"}`, i))
				if round%5 == i%5 {
					d.set(c.Principal.Subject, sees(i)...) // the same in a new slice
					h.b.Changed(nil)
				}
			}
		})
	}
	work.Wait()
}

func event(method string, server jackfield.ServerID) exchange.Event {
	return exchange.Event{Method: method, Server: string(server)}
}
