package gateway

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestDrainingRefusesWhatIsNewAndWaitsForWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		statuses := make(chan int, 8)
		h := New(Options{
			Refused: func(status int) { statuses <- status },
			Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
				time.Sleep(3 * time.Second)
				answers, err := p.Ask(ctx, []exchange.Question{{Key: "1", Method: "elicitation/create", Params: wire.Raw("{}")}})
				if err != nil {
					return exchange.Result{}, err
				}
				return exchange.Result{Raw: answers[0].Result}, nil
			}},
		})
		hs := initialize(t, h, "/mcp", "2025-11-25", `{"elicitation":{}}`)
		first := dial(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", `{"name":"x"}`), hs)
		left := make(chan int)
		go func() { left <- h.Drain(t.Context()) }()
		synctest.Wait()

		for _, body := range []string{
			legacyCall("2", "tools/call", `{"name":"x"}`),
			legacyCall("3", "initialize", `{"protocolVersion":"2025-11-25"}`),
		} {
			w := send(h, http.MethodPost, "/mcp", body, hs)
			code, _, _ := errorOf(t, w)
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || code != table[jackfield.Unavailable].rpc {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if got := <-statuses; got != http.StatusServiceUnavailable {
				t.Error(got)
			}
		}
		if w := send(h, http.MethodPost, "/mcp", legacyCall("4", "ping", ""), hs); w.Code != http.StatusOK {
			t.Errorf("a ping: %d %s", w.Code, w.Body)
		}
		// The answer to a question still comes through, or the call could not end.
		question, err := wire.Parse([]byte(first.message(t)))
		if err != nil {
			t.Fatal(err)
		}
		send(h, http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":`+string(question.ID)+`,"result":{"action":"accept"}}`, hs)
		if got := first.message(t); got != `{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}` {
			t.Error(got)
		}
		first.wantEnd(t)
		if n := <-left; n != 0 {
			t.Errorf("%d left", n)
		}
		shut(t, h)
	})
}

func TestDrainingSaysHowManyCallsItDidNotOutwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
			<-ctx.Done()
			return exchange.Result{}, ctx.Err()
		}}})
		done := make(chan string)
		for range 2 {
			go func() { done <- sendModern(h, "/mcp", "1", "tools/call", `"name":"x"`, "").Body.String() }()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if n := h.Drain(ctx); n != 2 {
			t.Errorf("%d left", n)
		}
		shut(t, h)
		for range 2 {
			if got := <-done; !strings.Contains(got, errCut.Message) {
				t.Error(got)
			}
		}
	})
}

func TestDrainingWaitsForACallWhoseClientIsToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &examiner{rounds: [][]exchange.Question{{question("a")}, {question("b")}}}})
		first := askTool(t, h, "")
		left := make(chan int, 1)
		go func() { left <- h.Drain(t.Context()) }()
		synctest.Wait()
		for what, more := range map[string]string{
			"a new call":            "",
			"a state that is not":   answering(`"bogus"`, `q1={}`),
			"a state of another":    `,"arguments":{}` + answering(first.state, `q1={}`),
			"answers without state": `,"inputResponses":{}`,
		} {
			if got := askTool(t, h, more); got.status != http.StatusServiceUnavailable {
				t.Errorf("%s: %+v", what, got)
			}
		}
		second := askTool(t, h, answering(first.state, `q1={"n":1}`))
		if second.asked["q2"] != "b" {
			t.Fatalf("the second round: %+v", second)
		}
		synctest.Wait()
		if len(left) != 0 {
			t.Error("the second question was not waited for")
		}
		if got := askTool(t, h, answering(second.state, `q2={"n":2}`)); !strings.Contains(got.body, `{\"n\":2}`) {
			t.Errorf("the end: %+v", got)
		}
		if n := <-left; n != 0 {
			t.Errorf("%d left", n)
		}
		shut(t, h)
	})
}

func TestDrainingCountsACallWhoseClientDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &examiner{rounds: [][]exchange.Question{{question("a")}}}, Timing: Timing{Park: time.Minute}})
		askTool(t, h, "")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if n := h.Drain(ctx); n != 1 {
			t.Errorf("%d left", n)
		}
		if n := h.Drain(t.Context()); n != 0 { // it expires
			t.Errorf("%d left", n)
		}
		shut(t, h)
	})
}
