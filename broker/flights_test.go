package broker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// slow answers after a minute of the bubble, with as much as is asked for.
func slow(size int) func(*conn, context.Context, *exchange.Request, exchange.Peer) (exchange.Result, error) {
	return func(_ *conn, ctx context.Context, _ *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
		select {
		case <-time.After(30 * time.Second):
			return exchange.Result{Raw: wire.Raw(`"` + strings.Repeat("x", size-2) + `"`)}, nil
		case <-ctx.Done():
			return exchange.Result{}, context.Cause(ctx)
		}
	}
}

func TestCallsUnderWayAreBoundedInAllAndForEachPrincipal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{Limits: Limits{Calls: 5, OwnerCalls: 3}}, "a")
		h.do(user("ann"), "tools/list", "")
		h.set("a", func(s *script) { s.answer = slow(10) })
		const call = `{"name":"a__echo"}`
		begin := func(who string, n int) {
			for range n {
				go func() { _, _ = h.b.Do(h.ctx(), user(who), request(t, "tools/call", call), nil) }()
			}
			synctest.Wait()
		}
		begin("ann", 3)
		h.fails(user("ann"), "tools/call", call, jackfield.Exhausted, `3 calls of yours are under way, so server "a" is not asked`, "or raise limits.calls.perOwner")
		begin("bob", 2)
		equal(t, h.b.Load(), Load{Calls: 5, Callers: 2})
		h.fails(user("eve"), "tools/call", call, jackfield.Exhausted, "5 calls are under way", "or raise limits.calls.total")
		_, err := h.try(user("eve"), "tools/call", call)
		if f := jackfield.FailureOf(err); f == nil || f.Kind != jackfield.FailureBudget || f.Limit != "limits.calls.total" {
			t.Errorf("failure %+v", f)
		}
		h.do(user("eve"), "tools/list", "") // a list costs no server anything
		time.Sleep(time.Minute)
		equal(t, h.b.Load(), Load{})
		h.do(user("eve"), "tools/call", call)
	})
}

func TestAResultBeyondTheLimitIsNotPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{Limits: Limits{Result: 100}}, "a")
		h.do(user("ann"), "tools/list", "")
		h.set("a", func(s *script) { s.answer = slow(100) })
		h.do(user("ann"), "tools/call", `{"name":"a__echo"}`)
		h.set("a", func(s *script) { s.answer = slow(101) })
		h.fails(user("ann"), "tools/call", `{"name":"a__echo"}`, jackfield.Exhausted,
			`server "a" answered tools/call with 101 bytes, and an answer may have 100; ask for less, or raise limits.result`)
	})
}

func TestACallThatTakesTooLongIsATimeoutOfTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{Limits: Limits{Call: 10 * time.Second}}, "a")
		h.do(user("ann"), "tools/list", "")
		h.set("a", func(s *script) { s.answer = slow(10) })
		_, err := h.try(user("ann"), "tools/call", `{"name":"a__echo"}`)
		if f := jackfield.FailureOf(err); f == nil || f.Label() != "timeout at call" || f.Message != err.Error() {
			t.Errorf("%v: failure %+v", err, f)
		}
	})
}

func TestACallWhoseTimeEndsWhileItsServerIsConnectedWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		h.do(user("ann"), "tools/list", "")
		for _, c := range h.conns("a") {
			c.die(errors.New("gone"))
		}
		h.set("a", func(s *script) { s.def.Usage.Timeout, s.dialing = 3*time.Second, 10*time.Second })
		_, err := h.try(user("ann"), "tools/call", `{"name":"a__echo"}`)
		if f := jackfield.FailureOf(err); f == nil || f.Label() != "timeout at connect" || f.Message != err.Error() ||
			!strings.Contains(f.Message, `connection to server "a" ended while it was being opened: tools/call was not sent within 3s`) {
			t.Errorf("%v: failure %+v", err, f)
		}
	})
}
