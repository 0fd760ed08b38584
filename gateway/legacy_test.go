package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestInitializeSettlesTheVersionAndOpensASession(t *testing.T) {
	h := open(t, Options{Broker: &script{about: func(c broker.Caller) (broker.About, error) {
		return broker.About{Capabilities: wire.Raw(`{"tools":{}}`), Instructions: "hi", ServerInfo: wire.Raw(`{"name":"f"}`)}, nil
	}}})
	for asked, want := range map[string]string{
		"2025-11-25": "2025-11-25", "2025-06-18": "2025-06-18", "2025-03-26": "2025-03-26", "2024-11-05": "2024-11-05",
		"2026-07-28": "2025-11-25", "2099-01-01": "2025-11-25", "": "2025-11-25",
	} {
		w := send(h, http.MethodPost, "/mcp/files", legacyCall(`"x"`, "initialize", `{"protocolVersion":"`+asked+`"}`), header{"MCP-Protocol-Version: 2025-11-25"})
		if body := `{"jsonrpc":"2.0","id":"x","result":{"protocolVersion":"` + want + `","capabilities":{"tools":{}},"serverInfo":{"name":"f"},"instructions":"hi"}}`; w.Code != 200 || w.Body.String() != body {
			t.Errorf("%s: %d %s", asked, w.Code, w.Body)
		}
		id := w.Header().Get("Mcp-Session-Id")
		if id == "" || strings.ContainsFunc(id, func(c rune) bool { return c < 0x21 || c > 0x7e }) {
			t.Errorf("session id %q", id)
		}
	}
}

func TestAFailedInitializeOpensNoSession(t *testing.T) {
	h := open(t, Options{Broker: &script{about: func(broker.Caller) (broker.About, error) {
		return broker.About{}, jackfield.Errorf(jackfield.Unavailable, "not now")
	}}})
	w := send(h, http.MethodPost, "/mcp", legacyCall("1", "initialize", `{"protocolVersion":"2025-11-25"}`), nil)
	if code, message, _ := errorOf(t, w); w.Code != 503 || code != codeUnavailable || message != "not now" || w.Header().Get("Mcp-Session-Id") != "" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if len(h.sessions.known) != 0 {
		t.Error("a session was left behind")
	}
}

func TestCapabilitiesAreThoseThatTheVersionKnows(t *testing.T) {
	for _, c := range []struct {
		version, declared    string
		form, url, roots, sm bool
	}{
		{"2025-11-25", `{"elicitation":{"form":{},"url":{}},"roots":{},"sampling":{}}`, true, true, true, true},
		{"2025-11-25", `{"elicitation":{"url":{}}}`, false, true, false, false},
		{"2025-06-18", `{"elicitation":{"url":{}}}`, true, false, false, false},
		{"2025-06-18", `{"elicitation":{}}`, true, false, false, false},
		{"2025-03-26", `{"elicitation":{},"roots":{"listChanged":true}}`, false, false, true, false},
	} {
		got, err := readClient(wire.Raw(`{"protocolVersion":"` + c.version + `","capabilities":` + c.declared + `}`))
		if err != nil || got.caps.Form != c.form || got.caps.URL != c.url || got.caps.Roots != c.roots || got.caps.Sampling != c.sm || got.caps.AsResult {
			t.Errorf("%s %s: %+v %v", c.version, c.declared, got.caps, err)
		}
		if got.caps.Declared != c.declared {
			t.Errorf("declared %s", got.caps.Declared)
		}
	}
}

func TestLegacyRequestReachesTheBrokerAndItsBytesComeBack(t *testing.T) {
	var got *exchange.Request
	var who broker.Caller
	h := open(t, Options{Broker: &script{do: func(_ context.Context, c broker.Caller, r *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
		got, who = r, c
		return result(`{"content":[ {"n":9007199254740993} ],"resultType":"mine"}`), nil
	}}})
	hs := initialize(t, h, "/mcp/files", "2025-06-18", `{"roots":{}}`)
	w := send(h, http.MethodPost, "/mcp/files", legacyCall("1152921504606846976", "tools/call", `{"name":"read","requestState":"x","inputResponses":{},"_meta":{"progressToken":1,"v":2}}`), hs)
	if want := `{"jsonrpc":"2.0","id":1152921504606846976,"result":{"content":[ {"n":9007199254740993} ],"resultType":"mine"}}`; w.Code != 200 || w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if want := `{"name":"read","_meta":{"v":2}}`; string(got.Params.Raw()) != want || got.Resume != nil {
		t.Errorf("params %s", got.Params.Raw())
	}
	if string(got.Meta.ClientInfo) != `{"name":"test","version":"1"}` || !got.Caps.Roots || got.Caps.AsResult {
		t.Errorf("%+v", got)
	}
	if who.Session == "" || who.Home == nil || who.Only != "files" || who.Principal.Subject != "local" {
		t.Errorf("caller %+v", who)
	}
	if send(h, http.MethodPost, "/mcp/files", legacyCall("2", "x/y", ""), hs); notificationParams(&got.Params) != nil {
		t.Errorf("params out of nothing: %s", got.Params.Raw())
	}
}

func TestLegacyAnswers(t *testing.T) {
	for _, c := range []struct {
		method string
		res    exchange.Result
		err    error
		want   string
	}{
		{"tools/call", modernRes(`{"resultType":"complete","content":[],"ttlMs":1,"cacheScope":"public","_meta":{"a":1}}`), nil, `"result":{"content":[],"_meta":{"a":1}}}`},
		{"tools/call", exchange.Result{Err: failure(-32001, "own")}, nil, `"error":{"code":-32001,"message":"own"}}`},
		{"tools/call", exchange.Result{}, jackfield.Errorf(jackfield.NotFound, "no tool"), `"error":{"code":-32602,"message":"no tool"}}`},
		{"resources/read", exchange.Result{}, jackfield.Errorf(jackfield.NotFound, "no resource"), `"error":{"code":-32002,"message":"no resource"}}`},
		{"tools/call", exchange.Result{}, errors.New("secret detail"), `"error":{"code":-32603,"message":"something went wrong inside the gateway; its log says what"}}`},
		{"tools/call", exchange.Result{}, context.DeadlineExceeded, `"error":{"code":1503,"message":"it took too long; try again later"}}`},
	} {
		h := open(t, Options{Broker: &script{do: func(context.Context, broker.Caller, *exchange.Request, exchange.Peer) (exchange.Result, error) {
			return c.res, c.err
		}}})
		hs := initialize(t, h, "/mcp", "2025-11-25", "{}")
		w := send(h, http.MethodPost, "/mcp", legacyCall("1", c.method, "{}"), hs)
		if want := `{"jsonrpc":"2.0","id":1,` + c.want; w.Code != 200 || w.Body.String() != want {
			t.Errorf("%d %s\nwant %s", w.Code, w.Body, want)
		}
	}
}

func TestPingAndLogLevelAreAnsweredHereAndTheLevelFilters(t *testing.T) {
	var level string
	h := open(t, Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
		level = r.Meta.LogLevel
		_ = p.Notify(ctx, "notifications/message", wire.Raw(`{"level":"info","data":1}`))
		_ = p.Notify(ctx, "notifications/message", wire.Raw(`{"level":"error","data":2}`))
		return result(`{}`), nil
	}}})
	hs := initialize(t, h, "/mcp", "2025-06-18", "{}")
	if w := send(h, http.MethodPost, "/mcp", legacyCall("1", "ping", ""), hs); w.Body.String() != `{"jsonrpc":"2.0","id":1,"result":{}}` {
		t.Error(w.Body)
	}
	w := send(h, http.MethodPost, "/mcp", legacyCall("2", "tools/call", "{}"), hs)
	if got := data(events(t, w.Body)); len(got) != 3 || level != "" {
		t.Errorf("before a level was set the server decides: %q, level %q", got, level)
	}
	if w = send(h, http.MethodPost, "/mcp", legacyCall("3", "logging/setLevel", `{"level":"warning"}`), hs); w.Body.String() != `{"jsonrpc":"2.0","id":3,"result":{}}` {
		t.Error(w.Body)
	}
	w = send(h, http.MethodPost, "/mcp", legacyCall("4", "tools/call", "{}"), hs)
	if got := data(events(t, w.Body)); len(got) != 2 || !strings.Contains(got[0], "error") || level != "warning" {
		t.Errorf("%q, level %q", got, level)
	}
}

func TestLegacyStreamsBeginWithAnEventToResumeFrom(t *testing.T) {
	b := &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
		_ = p.Notify(ctx, "notifications/progress", wire.Raw(`{"progressToken":9,"progress":1}`))
		return result(`{}`), nil
	}}
	h := open(t, Options{Broker: b})
	call := legacyCall("1", "tools/call", `{"_meta":{"progressToken":"t"}}`)
	w := send(h, http.MethodPost, "/mcp", call, initialize(t, h, "/mcp", "2025-11-25", "{}"))
	evs := events(t, w.Body)
	if len(evs) != 3 || evs[0].ID != "p1-0" || evs[0].Retry != 2*time.Second || len(evs[0].Data) != 0 || evs[1].ID != "p1-1" || evs[2].ID != "p1-2" {
		t.Errorf("%+v", evs)
	}
	if string(evs[1].Data) != `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}` {
		t.Errorf("%s", evs[1].Data)
	}
	w = send(h, http.MethodPost, "/mcp", call, initialize(t, h, "/mcp", "2025-06-18", "{}"))
	if evs := events(t, w.Body); len(evs) != 2 {
		t.Errorf("an older client gets an event without a message: %+v", evs)
	}
}

func TestAClientIsAskedOnItsOwnStreamAndItsAnswerComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			answers, err := p.Ask(ctx, []exchange.Question{
				{Method: "elicitation/create", Params: wire.Raw(`{"message":"name?","requestedSchema":{}}`)},
				{Method: "roots/list"},
			})
			if err != nil {
				return exchange.Result{}, err
			}
			if answers[1].Err == nil || answers[1].Err.Message != "no roots" {
				t.Errorf("%+v", answers[1])
			}
			return result(string(answers[0].Result)), nil
		}}})
		hs := initialize(t, h, "/mcp", "2025-11-25", `{"elicitation":{},"roots":{}}`)
		other := initialize(t, h, "/mcp", "2025-11-25", `{}`)
		c := dial(h, http.MethodPost, "/mcp", legacyCall(`"mine"`, "tools/call", "{}"), hs)
		var ids []string
		for _, method := range []string{"elicitation/create", "roots/list"} {
			m, err := wire.Parse([]byte(c.message(t)))
			if err != nil || m.Method != method || m.Kind != wire.Request {
				t.Fatalf("%+v %v", m, err)
			}
			ids = append(ids, string(m.ID))
		}
		if n, err := strconv.ParseInt(ids[0], 10, 64); err != nil || n >= 1<<53 || ids[0] == ids[1] {
			t.Errorf("ids %v", ids)
		}
		answer := func(hs header, body string) {
			t.Helper()
			if w := send(h, http.MethodPost, "/mcp", body, hs); w.Code != 202 || w.Body.Len() > 0 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
		answer(other, `{"jsonrpc":"2.0","id":`+ids[0]+`,"result":{"stolen":true}}`)
		answer(hs, `{"jsonrpc":"2.0","id":12345,"result":{}}`)
		answer(hs, `{"jsonrpc":"2.0","id":`+ids[1]+`,"error":{"code":-1,"message":"no roots"}}`)
		answer(hs, `{"jsonrpc":"2.0","id":`+ids[0]+`,"result":{"action":"accept", "content":{}}}`)
		if got := c.message(t); got != `{"jsonrpc":"2.0","id":"mine","result":{"action":"accept", "content":{}}}` {
			t.Error(got)
		}
		c.wantEnd(t)
		shut(t, h)
	})
}

func TestOnlyWhatAClientDeclaredIsAsked(t *testing.T) {
	h := open(t, Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
		for _, q := range []exchange.Question{
			{Method: "elicitation/create", Params: wire.Raw(`{"mode":"url"}`)}, {Method: "sampling/createMessage"}, {Method: "roots/list"}, {Method: "tasks/get"}, {Method: "tools/call"},
		} {
			if _, err := p.Ask(ctx, []exchange.Question{q}); jackfield.CodeOf(err) != jackfield.Unavailable {
				t.Errorf("%s: %v", q.Method, err)
			}
		}
		return result(`{}`), nil
	}}})
	hs := initialize(t, h, "/mcp", "2025-11-25", `{"elicitation":{"form":{}}}`)
	if w := send(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", "{}"), hs); w.Header().Get("Content-Type") != "application/json" {
		t.Error("it was asked")
	}
}

func TestTasksAndAVendorsQuestionsReachTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		methods := []string{"tasks/get", "vendor/question", "ping"}
		h := New(Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			for _, method := range methods {
				if _, err := p.Ask(ctx, []exchange.Question{{Method: method}}); err != nil {
					return exchange.Result{}, err
				}
			}
			return result(`{}`), nil
		}}})
		hs := initialize(t, h, "/mcp", "2025-11-25", `{"tasks":{}}`)
		c := dial(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", "{}"), hs)
		for _, method := range methods {
			m, _ := wire.Parse([]byte(c.message(t)))
			if m.Method != method {
				t.Errorf("the client was asked %q, want %q", m.Method, method)
			}
			send(h, http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{}}`, hs)
		}
		if got := c.message(t); !strings.Contains(got, `"id":1,"result":{}`) {
			t.Error(got)
		}
		c.wantEnd(t)
		shut(t, h)
	})
}

func TestQuestionsAreBoundedAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			_, err := p.Ask(ctx, make([]exchange.Question, 0))
			if err != nil {
				t.Error(err)
			}
			many := make([]exchange.Question, maxAsked+1)
			for i := range many {
				many[i].Method = "roots/list"
			}
			if _, err = p.Ask(ctx, many); jackfield.CodeOf(err) != jackfield.Exhausted {
				t.Error(err)
			}
			_, err = p.Ask(ctx, many[:maxAsked])
			return exchange.Result{}, err
		}}})
		began := time.Now()
		c := dial(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", "{}"), initialize(t, h, "/mcp", "2025-06-18", `{"roots":{}}`))
		for range 2 * maxAsked { // asked, and given up
			_ = c.message(t)
		}
		if got := c.message(t); !strings.Contains(got, "did not answer") || time.Since(began) != 10*time.Minute {
			t.Errorf("%s after %v", got, time.Since(began))
		}
		c.wantEnd(t)
		if s := h.sessions.only(t); s.asked != nil {
			t.Errorf("%d questions are remembered", len(s.asked))
		}
		shut(t, h)
	})
}

func TestAQuestionEndsWithItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{}})
		hs := initialize(t, h, "/mcp", "2025-06-18", `{"roots":{}}`)
		c := dial(h, http.MethodGet, "/mcp", "", hs)
		asked := make(chan error)
		go func() {
			_, err := h.sessions.only(t).home.Ask(context.Background(), []exchange.Question{{Method: "roots/list"}})
			asked <- err
		}()
		_ = c.message(t)
		began := time.Now()
		send(h, http.MethodDelete, "/mcp", "", hs)
		if err := <-asked; jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(err.Error(), "ended its session") || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		c.wantEnd(t)
		shut(t, h)
	})
}

func TestAServersOwnCancellationDoesNotReachTheClient(t *testing.T) {
	h := open(t, Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
		_ = p.Notify(ctx, "notifications/cancelled", wire.Raw(`{"requestId":1}`))
		_ = p.Notify(ctx, "notifications/progress", wire.Raw(`{"progress":1}`))
		return result(`{}`), nil
	}}})
	if w := send(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", "{}"), initialize(t, h, "/mcp", "2025-11-25", "{}")); w.Header().Get("Content-Type") != "application/json" {
		t.Error(w.Body)
	}
}

func TestAnsweredStreamsAreKeptWithinBounds(t *testing.T) {
	h := open(t, Options{Limits: Limits{Events: 10_000}, Broker: &script{do: func(ctx context.Context, _ broker.Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
		_ = p.Notify(ctx, "notifications/x", nil)
		return result(string(r.Params.Raw())), nil
	}}})
	hs := initialize(t, h, "/mcp", "2025-11-25", "{}")
	s := h.sessions.only(t)
	for i := range 2 * maxReplays {
		send(h, http.MethodPost, "/mcp", legacyCall(strconv.Itoa(i), "x", "{}"), hs)
	}
	if len(s.posts) != maxReplays {
		t.Errorf("%d streams are kept", len(s.posts))
	}
	other := initialize(t, h, "/mcp", "2025-11-25", "{}")
	was := h.Status().Events
	send(h, http.MethodPost, "/mcp", legacyCall("1", "x", `{"a":"`+strings.Repeat("x", 10_000)+`"}`), other)
	if now := h.Status().Events; now != was {
		t.Errorf("%d bytes are kept, %d before", now, was)
	}
}

func TestAQuestionThatIsTakenBackIsCancelledAtTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := p.Ask(ctx, []exchange.Question{{Method: "roots/list"}})
			return exchange.Result{}, err
		}}})
		hs := initialize(t, h, "/mcp", "2025-11-25", `{"roots":{}}`)
		c := dial(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", "{}"), hs)
		m, _ := wire.Parse([]byte(c.message(t)))
		if got := c.message(t); got != `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`+string(m.ID)+`}}` {
			t.Error(got)
		}
		if got := c.message(t); !strings.Contains(got, `"id":1,"error":{"code":1503`) {
			t.Error(got)
		}
		c.wantEnd(t)
		shut(t, h)
	})
}

func TestACancelledRequestHasNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &script{do: func(ctx context.Context, _ broker.Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			if r.Method == "tools/call" {
				_ = p.Notify(ctx, "notifications/vendor", nil)
			}
			<-ctx.Done()
			return exchange.Result{}, ctx.Err()
		}}
		h := New(Options{Broker: b})
		hs := initialize(t, h, "/mcp", "2025-11-25", "{}")
		cancel := func(id string) {
			send(h, http.MethodPost, "/mcp", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`+id+`}}`, hs)
		}
		c := dial(h, http.MethodPost, "/mcp", legacyCall(`"a"`, "tools/call", "{}"), hs)
		_ = c.next(t)
		if c.message(t) == "" {
			t.Fatal()
		}
		cancel(`"b"`)
		cancel(`"\u0061"`)
		c.wantEnd(t)
		if w := send(h, http.MethodGet, "/mcp", "", append(hs, "Last-Event-ID: p1-0")); w.Code != 400 {
			t.Errorf("a stream without an answer is kept: %d", w.Code)
		}
		// The same before anything was sent.
		done := make(chan string)
		go func() {
			w := send(h, http.MethodPost, "/mcp", legacyCall("2", "prompts/get", "{}"), hs)
			done <- strconv.Itoa(w.Code) + w.Header().Get("Content-Type") + w.Body.String()
		}()
		synctest.Wait()
		if code, message, _ := errorOf(t, send(h, http.MethodPost, "/mcp", legacyCall("2", "prompts/get", "{}"), hs)); code != -32600 || !strings.Contains(message, "under way") {
			t.Errorf("the same id twice: %d %s", code, message)
		}
		cancel("2")
		if got := <-done; got != "200text/event-stream" {
			t.Error(got)
		}
		if len(b.notified) > 0 {
			t.Errorf("went upstream: %v", b.notified)
		}
		shut(t, h)
	})
}

func TestLegacyNotificationsGoUpstream(t *testing.T) {
	b := &script{}
	h := open(t, Options{Broker: b})
	hs := initialize(t, h, "/mcp", "2025-11-25", "{}")
	for _, m := range []string{`"notifications/initialized"`, `"notifications/roots/list_changed"`, `"notifications/vendor","params":{"_meta":{"v":1}}`} {
		if w := send(h, http.MethodPost, "/mcp", `{"jsonrpc":"2.0","method":`+m+`}`, hs); w.Code != 202 || w.Body.Len() > 0 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if want := []string{"notifications/roots/list_changed ", `notifications/vendor {"_meta":{"v":1}}`}; !slices.Equal(b.notified, want) {
		t.Errorf("%q", b.notified)
	}
}

func TestDeleteEndsTheSessionAndWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			_ = p.Notify(ctx, "notifications/x", nil)
			<-ctx.Done()
			return exchange.Result{}, ctx.Err()
		}}
		h := New(Options{Broker: b})
		hs := initialize(t, h, "/mcp", "2025-06-18", "{}")
		c := dial(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", "{}"), hs)
		_ = c.message(t)
		if w := send(h, http.MethodDelete, "/mcp", "", hs); w.Code != 204 || b.sessionsEnded() != 1 {
			t.Errorf("%d, %d sessions ended", w.Code, b.sessionsEnded())
		}
		if got := c.message(t); !strings.Contains(got, "ended by its client") {
			t.Error(got)
		}
		c.wantEnd(t)
		for _, method := range []string{"POST", "GET", "DELETE"} {
			if w := send(h, method, "/mcp", legacyCall("2", "ping", ""), hs); w.Code != 404 {
				t.Errorf("%s: %d %s", method, w.Code, w.Body)
			}
		}
		shut(t, h)
	})
}

func TestABatchIsAnsweredOnOneStream(t *testing.T) {
	b := &script{do: func(ctx context.Context, _ broker.Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
		if r.Method == "slow" {
			_ = p.Notify(ctx, "notifications/x", nil)
		}
		return result(`{"m":"` + r.Method + `"}`), nil
	}}
	h := open(t, Options{Broker: b})
	hs := initialize(t, h, "/mcp", "2025-03-26", "{}")
	w := send(h, http.MethodPost, "/mcp", ` [`+legacyCall("1", "slow", "")+`,{"jsonrpc":"2.0","method":"notifications/y"},`+legacyCall(`"2"`, "ping", "")+`,{"jsonrpc":"2.0","id":9,"result":{}}]`, hs)
	got := data(events(t, w.Body))
	slices.Sort(got)
	want := []string{`{"jsonrpc":"2.0","id":"2","result":{}}`, `{"jsonrpc":"2.0","id":1,"result":{"m":"slow"}}`, `{"jsonrpc":"2.0","method":"notifications/x"}`}
	if !slices.Equal(got, want) || len(b.notified) != 1 {
		t.Errorf("%q, notified %q", got, b.notified)
	}
	if w = send(h, http.MethodPost, "/mcp", `[{"jsonrpc":"2.0","method":"notifications/y"}]`, hs); w.Code != 202 || w.Body.Len() > 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = send(h, http.MethodPost, "/mcp", `[`+legacyCall("1", "a", "")+`,`+legacyCall("2", "tools/call", `{"_meta":{"progressToken":[]}}`)+`]`, hs)
	if got := data(events(t, w.Body)); len(got) != 2 || !strings.Contains(strings.Join(got, ""), "-32602") {
		t.Errorf("%q", got)
	}
}
