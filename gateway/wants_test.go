package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
)

func failing(err error) *script {
	return &script{
		do: func(context.Context, broker.Caller, *exchange.Request, exchange.Peer) (exchange.Result, error) {
			return exchange.Result{}, err
		},
		about: func(broker.Caller) (broker.About, error) { return broker.About{}, err },
	}
}

func TestWhatAServerWantsOfItsCallerReachesThePerson(t *testing.T) {
	const says = `server "github" needs your API key (GitHub token): enter it with "jackfield var set github TOKEN"`
	missing := &jackfield.Error{
		Code: jackfield.AuthRequired, Message: says,
		Err: &jackfield.Failure{Kind: jackfield.FailureAuth, Stage: "auth", Message: says},
	}
	h := open(t, Options{Broker: failing(missing)})
	body, _ := modernCall("1", "tools/call", `"name":"x"`, "")
	asked := strings.Replace(body, envelopeMeta, canElicit, 1)
	for name, got := range map[string]string{
		"modern":                  sendModern(h, "/mcp", "1", "tools/call", `"name":"x"`, "").Body.String(),
		"modern, could be parked": send(h, http.MethodPost, "/mcp", asked, header{"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: x"}).Body.String(),
	} {
		if !strings.Contains(got, `"resultType":"complete"`) {
			t.Errorf("%s: %s", name, got)
		}
		checkWants(t, name, got, says)
	}
	h.opts.Broker.(*script).about = nil
	hs := initialize(t, h, "/mcp", "2025-11-25", "{}")
	w := send(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", `{"name":"x"}`), hs)
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "resultType") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	checkWants(t, "legacy", w.Body.String(), says)

	// Nothing else can be words.
	for name, got := range map[string]string{
		"a task":          send(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", `{"name":"x","task":{}}`), hs).Body.String(),
		"a prompt":        send(h, http.MethodPost, "/mcp", legacyCall("1", "prompts/get", `{"name":"x"}`), hs).Body.String(),
		"a modern prompt": sendModern(h, "/mcp", "1", "prompts/get", `"name":"x"`, "").Body.String(),
	} {
		if !strings.Contains(got, `"error":{"code":1401`) || !strings.Contains(got, `"kind":"auth"`) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func checkWants(t *testing.T, name, got, says string) {
	t.Helper()
	var m struct {
		Result struct {
			Content []struct{ Type, Text string }
			IsError bool                       `json:"isError"`
			Meta    map[string]json.RawMessage `json:"_meta"`
		}
	}
	var f jackfield.Failure
	err := json.Unmarshal([]byte(got), &m)
	if err == nil {
		err = json.Unmarshal(m.Result.Meta[metaFailure], &f)
	}
	if err != nil || !m.Result.IsError || len(m.Result.Content) != 1 || m.Result.Content[0].Type != "text" || m.Result.Content[0].Text != says || f.Kind != jackfield.FailureAuth {
		t.Errorf("%s: %s %v", name, got, err)
	}
}

func TestARateThatIsUsedUpSaysWhenThereIsRoomAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := func() error {
			f := &jackfield.Failure{Kind: jackfield.FailureBudget, Limit: "ratePerPerson", Message: "slow down", Next: time.Now().Add(2500 * time.Millisecond)}
			return &jackfield.Error{Code: jackfield.Exhausted, Message: f.Message, Err: f}
		}
		b := failing(over())
		h := New(Options{Broker: b})
		modern := sendModern(h, "/mcp", "1", "tools/call", `"name":"x"`, "")
		refused := send(h, http.MethodPost, "/mcp", legacyCall("0", "initialize", `{"protocolVersion":"2025-11-25"}`), nil)
		if refused.Code != http.StatusTooManyRequests || refused.Header().Get("Retry-After") != "3" {
			t.Errorf("%d %v", refused.Code, refused.Header())
		}
		b.about = nil
		hs := initialize(t, h, "/mcp", "2025-11-25", "{}")
		legacy := send(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", `{"name":"x"}`), hs)
		for _, got := range []string{modern.Body.String(), legacy.Body.String(), refused.Body.String()} {
			if !strings.Contains(got, `"error":{"code":1429,"message":"slow down","data":{"kind":"budget","message":"slow down","limit":"ratePerPerson","nextAttempt":"`) {
				t.Error(got)
			}
		}
		time.Sleep(time.Hour)
		b.about = failing(jackfield.Errorf(jackfield.Unavailable, "away")).about
		if w := send(h, http.MethodPost, "/mcp", legacyCall("0", "initialize", `{"protocolVersion":"2025-11-25"}`), nil); w.Header().Get("Retry-After") != "1" {
			t.Error(w.Header())
		}
		shut(t, h)
	})
}

// A server that is removed ends what is under way on it with a reason that names it,
// in each form that a client may be waiting in.
func TestWhatIsUnderWayOnARemovedServerEndsWithTheReason(t *testing.T) {
	removed := jackfield.Errorf(jackfield.NotFound, "the server %q was removed while this was under way", "files")
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		wait := func(ctx context.Context) error {
			select {
			case <-gone:
				return removed
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		h := New(Options{Broker: &script{
			do: func(ctx context.Context, c broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
				if c.Caps.CanBeAsked() {
					asking, cancel := context.WithCancelCause(ctx)
					go func() { cancel(wait(ctx)) }()
					_, err := p.Ask(asking, []exchange.Question{question("go on?")})
					return exchange.Result{}, err
				}
				return exchange.Result{}, wait(ctx)
			},
			listen: func(ctx context.Context, _ broker.Caller, f broker.Filter, ready func(broker.Filter), _ func(exchange.Event)) error {
				ready(f)
				return wait(ctx)
			},
		}})
		hs := initialize(t, h, "/mcp/files", "2025-11-25", "{}")
		answers := make(chan string, 2)
		go func() {
			answers <- send(h, http.MethodPost, "/mcp/files", legacyCall("1", "tools/call", `{"name":"x"}`), hs).Body.String()
		}()
		go func() {
			answers <- sendModern(h, "/mcp/files", "1", "tools/call", `"name":"x"`, "").Body.String()
		}()
		events := dial(h, http.MethodGet, "/mcp/files", "", hs)
		_ = events.next(t)
		body, own := modernCall("1", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`, "")
		stream := dial(h, http.MethodPost, "/mcp/files", body, own)
		_ = stream.message(t)
		parked := askTool(t, h, "")
		drained := make(chan string)
		go func() { // both calls take long enough to become streams
			drained <- <-answers + <-answers
		}()
		time.Sleep(4 * time.Minute)
		begun := time.Now()
		close(gone)
		if got := <-drained; strings.Count(got, `server \"files\" was removed`) != 2 {
			t.Errorf("the calls: %s", got)
		}
		if got := stream.message(t); !strings.Contains(got, `"error":{"code":-32602,"message":"the server \"files\" was removed`) {
			t.Errorf("the subscription: %s", got)
		}
		stream.wantEnd(t)
		events.wantEnd(t)
		synctest.Wait()
		if n := h.Status().Parked; n != 0 {
			t.Errorf("%d parked", n)
		}
		if got := askTool(t, h, answering(parked.state, `q1={"action":"accept"}`)); !strings.Contains(got.body, `server \"files\" was removed`) {
			t.Errorf("the parked call: %s", got.body)
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("it took %v", took)
		}
		shut(t, h)
	})
}

func TestListeningToOneServerEndsWhenItIsGone(t *testing.T) {
	removed := jackfield.Errorf(jackfield.NotFound, "there is no server %q", "files")
	finds := make(chan error, 2)
	finds <- nil
	finds <- removed
	h := open(t, Options{
		Find: func(jackfield.Principal, string) error { return <-finds },
		Broker: &script{listen: func(ctx context.Context, _ broker.Caller, f broker.Filter, ready func(broker.Filter), deliver func(exchange.Event)) error {
			ready(f)
			deliver(exchange.Event{Method: "notifications/tools/list_changed"})
			<-ctx.Done()
			return nil
		}},
	})
	body, own := modernCall("1", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`, "")
	stream := dial(h, http.MethodPost, "/mcp/files", body, own)
	got := stream.message(t) + stream.message(t) + stream.message(t)
	if !strings.HasSuffix(got, `"error":{"code":-32602,"message":"there is no server \"files\""}}`) {
		t.Error(got)
	}
	stream.wantEnd(t)
}
