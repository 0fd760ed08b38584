package broker

import (
	"context"
	"errors"
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

func TestAToolIsCalledUnderTheServersOwnName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "b")
		h.set("b", func(s *script) { s.lists[catalog.Tools] = []string{"echo", "dotted.näme"} })
		equal(t, names(t, h.do(user("ann"), "tools/list", ""), "tools", "name")[:2], "[a__echo b__echo]")
		equal(t, h.do(user("ann"), "tools/call", `{"name":"b__echo", "arguments":{"x":1}}`), `{"ok":true}`)
		equal(t, h.calls("b")[0].heard(), `[tools/call {"name":"echo", "arguments":{"x":1}}]`)
		h.do(user("ann"), "tools/call", `{"arguments":{"name":"other"},"name":"`+catalog.FinalName("b", "dotted.näme")+`"}`)
		equal(t, h.calls("b")[0].heard()[1], `tools/call {"arguments":{"name":"other"},"name":"dotted.näme"}`)
		h.do(user("ann").only("b"), "tools/call", `{"name":"e\u0063ho"}`)
		equal(t, h.calls("b")[0].heard()[2], `tools/call {"name":"e\u0063ho"}`)
		equal(t, len(h.calls("b")), 1)
	})
}

func TestEveryRequestReachesItsServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "b")
		for _, s := range []string{"a", "b"} {
			h.set(s, func(sc *script) {
				sc.lists[catalog.Prompts] = []string{"greet"}
				sc.lists[catalog.Resources] = []string{"doc://" + s, "same://x"}
				sc.lists[catalog.Templates] = []string{"tpl://" + s + "/{id}", "same://{id}"}
			})
		}
		for _, c := range []struct{ method, params, server, want string }{
			{"prompts/get", `{"name":"b__greet"}`, "b", `{"name":"greet"}`},
			{"resources/read", `{"uri":"doc://a"}`, "a", `{"uri":"doc://a"}`},
			{"resources/read", `{"uri":"tpl://b/7"}`, "b", `{"uri":"tpl://b/7"}`},
			{"resources/read", `{"uri":"jackfield://b/same:%2F%2Fx"}`, "b", `{"uri":"same://x"}`},
			{
				"completion/complete", `{"ref":{"type":"ref/prompt","name":"a__greet","v":1},"argument":{"name":"n","value":"v"}}`, "a",
				`{"ref":{"type":"ref/prompt","name":"greet","v":1},"argument":{"name":"n","value":"v"}}`,
			},
			{"completion/complete", `{"ref":{"uri":"tpl://a/{id}","type":"ref/resource"}}`, "a", `{"ref":{"uri":"tpl://a/{id}","type":"ref/resource"}}`},
			{"completion/complete", `{"ref":{"type":"ref/resource","uri":"jackfield://b//same://{id}"}}`, "b", `{"ref":{"type":"ref/resource","uri":"same://{id}"}}`},
			{"completion/complete", `{"ref":{"type":"ref/resource","uri":"doc://b"}}`, "b", `{"ref":{"type":"ref/resource","uri":"doc://b"}}`},
		} {
			h.do(user("ann"), c.method, c.params)
			got := h.calls(c.server)[0].heard()
			equal(t, got[len(got)-1], c.method+" "+c.want)
		}
		// At its own address a server gets everything as it came.
		for _, c := range [][2]string{
			{"prompts/get", `{"name":"greet"}`},
			{"resources/read", `{"uri":"jackfield://b/x"}`},
			{"resources/read", `{"uri":"any:thing"}`},
			{"completion/complete", `{"ref":{"type":"ref/prompt","name":"x"}}`},
			{"vendor/method", `{"deep":[1e5]}`},
		} {
			h.do(user("ann").only("a"), c[0], c[1])
			got := h.calls("a")[0].heard()
			if c[1] == "" {
				c[1] = "{}"
			}
			equal(t, got[len(got)-1], c[0]+" "+c[1])
		}
		equal(t, h.do(user("ann"), "ping", ""), "{}")
		equal(t, h.do(user("ann"), "logging/setLevel", `{"level":"info"}`), "{}")
	})
}

func TestListsComeWithWhatModernClientsNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		for _, m := range []string{"tools/list", "prompts/list", "resources/list", "resources/templates/list"} {
			res, err := h.try(user("ann"), m, "")
			if err != nil || !res.Modern {
				t.Fatal(res, err)
			}
			for _, part := range []string{`"resultType":"complete"`, `"ttlMs":300000`, `"cacheScope":"private"`} {
				if !strings.Contains(string(res.Raw), part) {
					t.Errorf("%s lacks %s", res.Raw, part)
				}
			}
			h.fails(user("ann"), m, `{"cursor":"nonsense"}`, jackfield.Invalid, m)
			h.fails(user("ann"), m, `{"cursor":7}`, jackfield.Invalid, "cursor")
		}
		equal(t, names(t, h.do(user("ann").only("a"), "tools/list", `{"cursor":null}`), "tools", "name"), "[echo]")
	})
}

func TestErrorsTeach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "github", "files", "broken", "down")
		h.set("broken", func(s *script) { s.def.Invalid = "the variable TOKEN is not set" })
		h.set("down", func(s *script) { s.dialErr = jackfield.Errorf(jackfield.Unavailable, "connection refused") })
		h.set("github", func(s *script) { s.lists[catalog.Tools] = []string{"create_issue"} })
		c := user("ann")
		h.do(c, "tools/list", "")
		h.fails(c, "tools/call", `{"name":"github__create_isue"}`, jackfield.NotFound, `"github__create_issue"`, "did you mean")
		h.fails(c, "tools/call", `{"name":"weather"}`, jackfield.NotFound, "tools/list lists what there is", "down: ", "connection refused")
		h.fails(c, "tools/call", `{"name":"broken__x"}`, jackfield.NotFound, "broken: the variable TOKEN is not set")
		h.fails(c, "prompts/get", `{"name":"x"}`, jackfield.NotFound, "no prompt named")
		h.fails(c, "tools/call", `{"name":7}`, jackfield.Invalid, "needs the name")
		h.fails(c, "tools/call", `{}`, jackfield.Invalid, "needs the name")
		h.fails(c, "tools/call", `{"name":"`+strings.Repeat("x", 5000)+`"}`, jackfield.NotFound, "…")
		h.fails(c, "resources/read", `{"uri":"nobody://x"}`, jackfield.NotFound, "nobody://x", "jackfield://{server}")
		h.fails(c, "resources/read", `{"uri":null}`, jackfield.Invalid, "needs the uri")
		h.fails(c, "completion/complete", `{"ref":{"type":"ref/what"}}`, jackfield.Invalid, "ref/prompt")
		h.fails(c, "completion/complete", `{}`, jackfield.Invalid, "ref")
		h.fails(c.only("gitub"), "tools/list", "", jackfield.NotFound, "gitub", "github, files, broken, down")
		h.fails(c.only("broken"), "tools/call", `{"name":"x"}`, jackfield.Unavailable, "broken", "TOKEN")
		h.fails(c.only("down"), "tools/call", `{"name":"x"}`, jackfield.Unavailable, "down", "connection refused")
		h.fails(c.only("down"), "tools/list", "", jackfield.Unavailable, "down", "connection refused", "since 2000-", "the next attempt is at 2000-")
		res, err := h.try(c, "vendor/method", "")
		if err != nil || res.Err == nil || res.Err.Code != wire.CodeMethodNotFound || !strings.Contains(res.Err.Message, "/mcp/{server}") {
			t.Errorf("%v %v", res.Err, err)
		}
		for _, m := range []string{"initialize", "server/discover", "subscriptions/listen", "notifications/x"} {
			if res, err := h.try(c.only("github"), m, ""); err != nil || res.Err == nil || res.Err.Code != wire.CodeMethodNotFound {
				t.Errorf("%s reached the server: %v %v", m, res, err)
			}
		}
	})
}

func TestAMethodThatTheServerRefusesWithAStatusAloneIsNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		status := 400
		h.set("a", func(s *script) {
			s.answer = func(*conn, context.Context, *exchange.Request, exchange.Peer) (exchange.Result, error) {
				return exchange.Result{}, &jackfield.Failure{Kind: jackfield.FailureHTTP, Status: status, Message: "not handled"}
			}
		})
		res, err := h.try(user("ann").only("a"), "vendor/method", "")
		if err != nil || res.Err == nil || res.Err.Code != wire.CodeMethodNotFound || !strings.Contains(res.Err.Message, "not handled") {
			t.Errorf("%v %v", res.Err, err)
		}
		status = 502
		h.fails(user("ann").only("a"), "vendor/method", "", jackfield.Internal, "not handled")
	})
}

func TestAStateIsOnlyForTheServerThatGaveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "b")
		h.do(user("ann"), "tools/list", "")
		r := request(t, "tools/call", `{"name":"b__echo"}`)
		r.Resume = &exchange.Resume{State: wire.Raw(`"s"`), Server: "a"}
		_, err := h.b.Do(t.Context(), user("ann"), r, nil)
		if jackfield.CodeOf(err) != jackfield.Invalid || !strings.Contains(err.Error(), "another server") {
			t.Errorf("a state of a: %v", err)
		}
		r.Resume.Server = "b"
		if _, err = h.b.Do(t.Context(), user("ann"), r, nil); err != nil {
			t.Errorf("a state of b: %v", err)
		}
		equal(t, h.calls("b")[0].heard(), `[tools/call {"name":"echo"}]`)
	})
}

func TestTheToolFilterHoldsAtEveryDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.set("a", func(s *script) {
			s.lists[catalog.Tools] = []string{"read", "delete"}
			s.def.Tools.Deny = []string{"del*"}
		})
		h.fails(user("ann"), "tools/call", `{"name":"a__delete"}`, jackfield.NotFound)
		h.fails(user("ann").only("a"), "tools/call", `{"name":"delete"}`, jackfield.NotFound, `"a"`)
		h.fails(user("ann").only("a"), "tools/call", `{"name":"d\u0065lete"}`, jackfield.NotFound)
		h.fails(user("ann").only("a"), "tools/call", `{"arguments":{}}`, jackfield.Invalid)
		for _, c := range h.calls("a") {
			for _, got := range c.heard() {
				t.Errorf("the server got %s", got)
			}
		}
	})
}

func TestWhoMayNotSeeAServerDoesNotKnowThatItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := seenBy(t, func(p jackfield.Principal, s jackfield.Server) bool {
			return s.Name != "secret" || p.Subject == "boss"
		}, "a", "secret")
		h.set("secret", func(s *script) { s.lists[catalog.Resources] = []string{"doc://secret"} })
		equal(t, names(t, h.do(user("ann"), "tools/list", ""), "tools", "name"), "[a__echo]")
		equal(t, names(t, h.do(user("boss"), "tools/list", ""), "tools", "name"), "[a__echo secret__echo]")
		h.do(user("boss"), "tools/call", `{"name":"secret__echo"}`)
		h.fails(user("ann"), "tools/call", `{"name":"secret__echo"}`, jackfield.NotFound)
		h.fails(user("ann"), "resources/read", `{"uri":"doc://secret"}`, jackfield.NotFound)
		h.fails(user("ann"), "resources/read", `{"uri":"jackfield://secret/doc:%2F%2Fsecret"}`, jackfield.NotFound)
		h.fails(user("ann").only("secret"), "tools/call", `{"name":"echo"}`, jackfield.NotFound, "there are a")
		if _, err := h.try(user("ann").only("secret"), "x", ""); strings.Contains(err.Error(), "secret,") {
			t.Error(err)
		}
		if err := h.b.Find(jackfield.Principal{Subject: "ann"}, "secret"); jackfield.CodeOf(err) != jackfield.NotFound {
			t.Error(err)
		}
		if err := h.b.Find(jackfield.Principal{Subject: "boss"}, "secret"); err != nil {
			t.Error(err)
		}
		if h.b.class(jackfield.Principal{Subject: "ann"}) != h.b.class(jackfield.Principal{Subject: "bob"}) {
			t.Error("two who see the same have two views")
		}
	})
}

func TestANameOfAServerThatWasNeverListedIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "slow", "other")
		h.set("slow", func(s *script) { s.dialing = 20 * time.Second })
		h.set("other", func(s *script) { s.dialing = time.Hour })
		h.do(user("ann"), "tools/call", `{"name":"slow__echo"}`)
		if n := h.dials("other"); n != 0 {
			t.Errorf("%d dials of a server that cannot have the name", n)
		}
	})
}

func TestADeadConnectionIsReplacedOnceWhenNothingWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.do(user("ann"), "tools/call", `{"name":"a__echo"}`)
		calls := 0
		h.set("a", func(s *script) {
			s.answer = func(c *conn, _ context.Context, _ *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
				calls++
				if calls == 1 {
					c.die(errors.New("reset"))
					return exchange.Result{}, unsent{errors.New("reset")}
				}
				return exchange.Result{Raw: wire.Raw(`{"second":true}`)}, nil
			}
		})
		equal(t, h.do(user("ann"), "tools/call", `{"name":"a__echo"}`), `{"second":true}`)
		equal(t, calls, 2)
	})
}

func TestACallIsNeverSentTwiceWhenItMayHaveArrived(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		calls int
	}{
		"broken while it was open":   {jackfield.Errorf(jackfield.Unavailable, "reset"), 1},
		"not sent, again and again":  {unsent{errors.New("reset")}, 2},
		"not sent, but out of room":  {busy{}, 1},
		"an error without any words": {errors.New("eof"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, Options{}, "a")
				calls := 0
				h.set("a", func(s *script) {
					s.answer = func(*conn, context.Context, *exchange.Request, exchange.Peer) (exchange.Result, error) {
						calls++
						return exchange.Result{}, c.err
					}
				})
				_, err := h.try(user("ann"), "tools/call", `{"name":"a__echo"}`)
				var e *jackfield.Error
				if !errors.As(err, &e) || calls != c.calls {
					t.Errorf("%d calls, %v; want %d", calls, err, c.calls)
				}
			})
		})
	}
}

type busy struct{}

func (busy) Error() string { return "busy" }
func (busy) NotSent() bool { return true }
func (busy) Unwrap() error { return jackfield.Errorf(jackfield.Exhausted, "busy") }

func TestTheServersOwnErrorIsAResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.set("a", func(s *script) {
			s.answer = func(*conn, context.Context, *exchange.Request, exchange.Peer) (exchange.Result, error) {
				return exchange.Result{Err: wire.ParseError(wire.Raw(`{"code":-32602,"message":"no","x":1}`))}, nil
			}
		})
		res, err := h.try(user("ann"), "tools/call", `{"name":"a__echo"}`)
		if err != nil || res.Err == nil || res.Err.Code != -32602 {
			t.Errorf("%v %v", res.Err, err)
		}
	})
}

// stuck is a server that answers after a while, and reports progress every so often.
func stuck(answer, progress time.Duration) func(*script) {
	return func(s *script) {
		s.answer = func(_ *conn, ctx context.Context, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			end := time.After(answer)
			for {
				var tick <-chan time.Time
				if progress > 0 {
					tick = time.After(progress)
				}
				select {
				case <-end:
					return exchange.Result{Raw: wire.Raw(`{"late":true}`)}, nil
				case <-tick:
					_ = p.Notify(ctx, "notifications/progress", nil)
				case <-ctx.Done():
					return exchange.Result{}, context.Cause(ctx)
				}
			}
		}
	}
}

func TestACallEndsUnlessThereIsProgress(t *testing.T) {
	for name, c := range map[string]struct {
		timeout, answer, progress time.Duration
		took                      time.Duration
		says                      string
	}{
		"in time":                     {0, 59 * time.Second, 0, 59 * time.Second, ""},
		"too late":                    {0, time.Hour, 0, time.Minute, "progress for 1m0s"},
		"the definition's own time":   {5 * time.Second, time.Hour, 0, 5 * time.Second, "progress for 5s"},
		"with progress":               {0, 5 * time.Minute, 50 * time.Second, 5 * time.Minute, ""},
		"progress without end":        {0, time.Hour, 50 * time.Second, 10 * time.Minute, "after 10m0s"},
		"a long time, with progress":  {20 * time.Minute, 30 * time.Minute, 15 * time.Minute, 20 * time.Minute, "for 20m0s"},
		"a time longer than the most": {20 * time.Minute, time.Hour, 0, 20 * time.Minute, "progress for 20m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, Options{}, "slow")
				h.set("slow", func(s *script) { s.def.Usage.Timeout = c.timeout })
				h.do(user("ann"), "tools/list", "")
				h.set("slow", stuck(c.answer, c.progress))
				before := time.Now()
				_, err := h.try(user("ann"), "tools/call", `{"name":"slow__echo"}`)
				if took := time.Since(before); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if c.says == "" && err != nil || c.says != "" && (jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), `"slow"`)) {
					t.Errorf("%v, want %q", err, c.says)
				}
			})
		})
	}
}

func TestTheTimeAPersonTakesToAnswerIsNotTheServers(t *testing.T) {
	for name, c := range map[string]struct {
		thinks, works, took time.Duration
		fails               bool
	}{
		"three minutes":                  {3 * time.Minute, 30 * time.Second, 3*time.Minute + 30*time.Second, false},
		"for ever":                       {time.Hour, 30 * time.Second, 10 * time.Minute, true},
		"and the server never goes on":   {3 * time.Minute, time.Hour, 4 * time.Minute, true},
		"twice, and the server is quick": {30 * time.Second, 50 * time.Second, 80 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, Options{}, "a")
				h.do(user("ann"), "tools/list", "")
				h.set("a", func(s *script) {
					s.answer = func(_ *conn, ctx context.Context, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
						if _, err := p.Ask(ctx, []exchange.Question{{Method: "elicitation/create"}}); err != nil {
							return exchange.Result{}, err
						}
						select {
						case <-time.After(c.works):
							return exchange.Result{Raw: wire.Raw(`{}`)}, nil
						case <-ctx.Done():
							return exchange.Result{}, context.Cause(ctx)
						}
					}
				})
				client := &peer{asked: func(ctx context.Context) ([]exchange.Answer, error) {
					select {
					case <-time.After(c.thinks):
						return []exchange.Answer{{}}, nil
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}}
				before := time.Now()
				_, err := h.b.Do(t.Context(), user("ann"), request(t, "tools/call", `{"name":"a__echo"}`), client)
				if took := time.Since(before); took != c.took || (err != nil) != c.fails {
					t.Errorf("took %v: %v", took, err)
				}
			})
		})
	}
}

func TestACallWithoutAPeerIsAskedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.set("a", func(s *script) {
			s.answer = func(_ *conn, ctx context.Context, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
				if err := p.Notify(ctx, "notifications/message", nil); err != nil {
					t.Error(err)
				}
				_, err := p.Ask(ctx, nil)
				return exchange.Result{Raw: wire.Raw(fmt.Sprintf("%q", err))}, nil
			}
		})
		equal(t, h.do(user("ann"), "tools/call", `{"name":"a__echo"}`), `"nobody is there to be asked"`)
	})
}

func TestACallerWhoLeavesEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.do(user("ann"), "tools/list", "")
		h.set("a", stuck(time.Hour, 0))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		before := time.Now()
		_, err := h.b.Do(ctx, user("ann"), request(t, "tools/call", `{"name":"a__echo"}`), nil)
		if !errors.Is(err, context.Canceled) || time.Since(before) != time.Second {
			t.Errorf("%v after %v", err, time.Since(before))
		}
	})
}

func TestLinksInResultsCanBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{Limits: Limits{Links: 4}}, "a", "b", "c")
		var result string
		for _, s := range []string{"a", "b", "c"} {
			h.set(s, func(sc *script) {
				sc.lists[catalog.Prompts] = []string{"p"}
				if s != "c" {
					sc.lists[catalog.Resources] = []string{"both://x"}
				}
				sc.answer = func(_ *conn, _ context.Context, r *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
					return exchange.Result{Raw: wire.Raw(result)}, nil
				}
			})
		}
		ann, bob := user("ann"), user("bob")
		reads := func(c Caller, uri string) string {
			res, err := h.try(c, "resources/read", `{"uri":"`+uri+`"}`)
			if err != nil {
				return jackfield.CodeOf(err).String()
			}
			for _, s := range []string{"a", "b"} {
				for _, c := range h.calls(s) {
					if got := c.heard(); len(got) > 0 && got[len(got)-1] == `resources/read {"uri":"`+uri+`"}` {
						c.note("")
						return s
					}
				}
			}
			return fmt.Sprint(res)
		}
		result = `{"content":[{"type":"text","text":"see \"resource"},{"type":"resource_link","uri":"new://1","name":"x"},{"type":"resource","resource":{"uri":"new://2","text":""}}]}`
		h.do(ann, "tools/call", `{"name":"b__echo"}`)
		equal(t, reads(ann, "new://1"), "b")
		equal(t, reads(ann, "new://2"), "b")
		equal(t, reads(bob, "new://1"), "not_found") // it is ann's link
		result = `{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"new://3"}}},{"content":7}]}`
		h.do(ann, "prompts/get", `{"name":"a__p"}`)
		equal(t, reads(ann, "new://3"), "a")
		// What two servers list is not guessed, but for one who was given the link.
		h.fails(ann, "resources/read", `{"uri":"both://x"}`, jackfield.Invalid, "jackfield://a/both:%2F%2Fx or jackfield://b/both:%2F%2Fx")
		result = `{"content":[{"type":"resource_link","uri":"both://x"}]}`
		h.do(ann, "tools/call", `{"name":"c__echo"}`) // which does not have it
		h.fails(ann, "resources/read", `{"uri":"both://x"}`, jackfield.Invalid)
		h.do(ann, "tools/call", `{"name":"b__echo"}`)
		equal(t, reads(ann, "both://x"), "b")
		result = `{"content":[{"type":"resource_link","uri":"new://4"},{"type":"resource_link","uri":"new://5"},{"type":"resource_link","uri":"new://6"}]}`
		h.do(ann, "tools/call", `{"name":"b__echo"}`)
		equal(t, reads(ann, "new://1"), "not_found") // the oldest are forgotten
		equal(t, reads(ann, "new://6"), "b")
	})
}

func TestPrincipalsWithLinksAreBounded(t *testing.T) {
	l := links{perPrincipal: 2, principals: 3}
	for i := range 10 {
		l.note(fmt.Sprint(i), "s", wire.Raw(`{"content":[{"type":"resource_link","uri":"u"}]}`))
	}
	for i, want := range map[int]bool{0: false, 6: false, 7: true, 9: true} {
		if _, ok := l.get(fmt.Sprint(i), "u"); ok != want {
			t.Errorf("principal %d: %v", i, ok)
		}
	}
	l.note("9", "s", wire.Raw(`{"content":[{"type":"resource_link","uri":"`+strings.Repeat("u", maxLink+1)+`"}]}`))
	if _, ok := l.get("9", strings.Repeat("u", maxLink+1)); ok {
		t.Error("a URI beyond the bound was remembered")
	}
	if len(l.all.at) != 3 {
		t.Error("more principals than there may be")
	}
}

func TestCallsOfManyAtOnceShareOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.set("a", func(s *script) { s.dialing = time.Second })
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() { h.do(user(fmt.Sprint(i)), "tools/call", `{"name":"a__echo"}`) })
		}
		wg.Wait()
		equal(t, h.dials("a"), 1)
	})
}
