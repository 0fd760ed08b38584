package broker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
	"github.com/jackfield-dev/jackfield/wire"
)

// broken is a call that ended with its connection.
func broken(kind jackfield.FailureKind) error {
	f := &jackfield.Failure{Kind: kind, Message: `server "a": the process has ended; its last words: out of cheese`}
	return &jackfield.Error{Code: jackfield.Unavailable, Message: f.Message, Err: f}
}

// fallible makes the next calls fail, each with its connection, and counts all.
func (h *house) fallible(errs ...error) (calls *int) {
	calls = new(int)
	h.set("a", func(s *script) {
		s.answer = func(c *conn, ctx context.Context, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			*calls++
			if p != nil && r.Method == "tools/call" && strings.Contains(string(r.Params.Raw()), "asks") {
				_, _ = p.Ask(ctx, nil)
			}
			if *calls <= len(errs) && errs[*calls-1] != nil {
				c.die(errs[*calls-1])
				return exchange.Result{}, errs[*calls-1]
			}
			return exchange.Result{Raw: wire.Raw(`{"ok":true}`)}, nil
		}
	})
	return calls
}

func TestWhatIsSafeIsSentAgainWhenItsConnectionEndsWithoutAnAnswer(t *testing.T) {
	exited := broken(jackfield.FailureExited)
	for name, c := range map[string]struct {
		method, params string
		errs           []error
		calls          int
		ok             bool
	}{
		"a tool that only reads":                  {"tools/call", `{"name":"a__look"}`, []error{exited}, 2, true},
		"a tool that may be called twice":         {"tools/call", `{"name":"a__set"}`, []error{broken(jackfield.FailureBroken)}, 2, true},
		"a prompt":                                {"prompts/get", `{"name":"a__greet"}`, []error{exited}, 2, true},
		"a resource":                              {"resources/read", `{"uri":"test://a"}`, []error{broken(jackfield.FailureSession)}, 2, true},
		"no more than once":                       {"tools/call", `{"name":"a__look"}`, []error{exited, exited}, 2, false},
		"but no tool that says nothing of itself": {"tools/call", `{"name":"a__echo"}`, []error{exited}, 1, false},
		"nor what was answered":                   {"tools/call", `{"name":"a__look"}`, []error{broken(jackfield.FailureHTTP)}, 1, false},
		"nor what took too long":                  {"tools/call", `{"name":"a__look"}`, []error{broken(jackfield.FailureTimeout)}, 1, false},
		"nor what somebody was asked about":       {"tools/call", `{"name":"a__asks"}`, []error{exited}, 1, false},
	} {
		for _, door := range []string{"", "a"} {
			t.Run(name+" "+door, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					again := 0
					h := newHouse(t, Options{Trace: &Trace{Again: func(*jackfield.Server) { again++ }}}, "a")
					h.set("a", func(s *script) {
						s.lists = [4][]string{{"echo", "look", "set", "asks"}, {"greet"}, {"test://a"}}
						s.hints = map[string]string{"look": `{"readOnlyHint":true}`, "asks": `{"readOnlyHint":true}`, "set": `{"idempotentHint":true}`}
					})
					h.do(user("ann"), "tools/list", "")
					calls := h.fallible(c.errs...)
					params := c.params
					if door != "" {
						params = strings.Replace(params, "a__", "", 1)
					}
					r := request(t, c.method, params)
					_, err := h.b.Do(t.Context(), user("ann").only(door), r, &peer{asked: func(context.Context) ([]exchange.Answer, error) { return nil, nil }})
					if (err == nil) != c.ok || *calls != c.calls || again != c.calls-1 {
						t.Errorf("%d calls, of which %d were told as sent again, %v", *calls, again, err)
					}
					if err != nil && c.calls == 1 && errors.Is(c.errs[0], exited) && !strings.Contains(err.Error(), "out of cheese") {
						t.Errorf("the reason is lost: %v", err)
					}
					if r.Effect != exchange.EffectUnknown {
						t.Errorf("the request came back with the effect %v", r.Effect)
					}
				})
			})
		}
	}
}

// lose ends the only open connection to a, as the server's restart does.
func (h *house) lose(why error) {
	for _, c := range h.calls("a") {
		h.b.Lost(*c.key.Load(), why)
		c.die(unsent{why})
	}
}

func TestTheFirstCallAfterALostSessionIsToldAndTheNextGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.legacy("a")
		h.set("a", func(s *script) { s.lists[2] = []string{"test://a"} })
		ann := inSession("ann", "1")
		h.do(ann, "tools/call", `{"name":"a__echo"}`)
		forgot := broken(jackfield.FailureSession)
		h.lose(forgot)
		h.do(ann, "resources/subscribe", `{"uri":"test://a"}`) // misses nothing
		h.fails(ann, "tools/call", `{"name":"a__echo"}`, jackfield.Unavailable, `"a"`, "forgot its session", "call again")
		for _, c := range h.calls("a") {
			for _, got := range c.heard() {
				if strings.HasPrefix(got, "tools/call") {
					t.Errorf("the call was sent: %s", got)
				}
			}
		}
		h.do(ann, "tools/call", `{"name":"a__echo"}`)

		h.lose(broken(jackfield.FailureExited))
		h.fails(ann, "tools/call", `{"name":"a__echo"}`, jackfield.Unavailable, "out of cheese")
		h.do(inSession("bob", "2"), "tools/call", `{"name":"a__echo"}`) // it was not his
		h.do(ann, "tools/call", `{"name":"a__echo"}`)

		h.lose(forgot) // bob's as well
		h.b.EndSession("1")
		equal(t, h.b.losses.n.Load(), 1)
		h.b.EndSession("2")
		equal(t, h.b.losses.n.Load(), 0)
	})
}

func TestALossIsToldOnlyWhereItIsSomebodysOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "b")
		h.set("b", func(s *script) { s.def.Usage.OnSessionLoss = jackfield.LossReplay })
		ann := jackfield.Scope{Kind: jackfield.ScopeUser, ID: "ann"}
		for _, c := range []struct {
			key  pool.Key
			told int64
		}{
			{pool.Key{Server: "a", Scope: jackfield.App()}, 0},
			{pool.Key{Server: "a", Scope: ann, Isolation: pool.Isolation{ID: "listing"}}, 0},
			{pool.Key{Server: "a", Scope: ann, Isolation: pool.Isolation{ID: "call:7"}}, 0},
			{pool.Key{Server: "b", Scope: ann}, 0},
			{pool.Key{Server: "gone", Scope: ann}, 0},
			{pool.Key{Server: "a", Scope: ann}, 1},
			{pool.Key{Server: "a", Scope: ann, Isolation: pool.Isolation{ID: "session:1"}}, 2},
		} {
			h.b.Lost(c.key, errors.New("gone"))
			if n := h.b.losses.n.Load(); n != c.told {
				t.Errorf("%s: %d losses are kept, want %d", c.key, n, c.told)
			}
		}
	})
}

func TestACallThatEndsWithItsConnectionTellsOfTheLossItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.legacy("a")
		ann := inSession("ann", "1")
		h.do(ann, "tools/call", `{"name":"a__echo"}`)
		h.b.Lost(*h.calls("a")[0].key.Load(), errors.New("gone"))
		h.b.losses.n.Store(0) // it happens while the call is open
		why := broken(jackfield.FailureExited)
		h.set("a", func(s *script) {
			s.answer = func(c *conn, _ context.Context, _ *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
				h.b.losses.n.Store(1)
				c.die(why)
				return exchange.Result{}, why
			}
		})
		h.fails(ann, "tools/call", `{"name":"a__echo"}`, jackfield.Unavailable, "out of cheese", "is gone too")
		h.set("a", func(s *script) { s.answer = nil })
		h.do(ann, "tools/call", `{"name":"a__echo"}`)
	})
}
