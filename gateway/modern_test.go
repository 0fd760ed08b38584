package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

func result(raw string) exchange.Result        { return exchange.Result{Raw: wire.Raw(raw)} }
func modernRes(raw string) exchange.Result     { return exchange.Result{Raw: wire.Raw(raw), Modern: true} }
func failure(code int, msg string) *wire.Error { return &wire.Error{Code: code, Message: msg} }

func TestModernDiscoverNamesVersionsCapabilitiesAndCaching(t *testing.T) {
	h := open(t, Options{Broker: &script{about: func(c broker.Caller) (broker.About, error) {
		if c.Only != "files" || !c.Caps.AsResult || c.Principal.Subject != "local" {
			t.Errorf("caller %+v", c)
		}
		return broker.About{Capabilities: wire.Raw(`{"tools":{}}`), Instructions: `be "nice"`, TTL: time.Minute, Public: true, ServerInfo: wire.Raw(`{"name":"f"}`)}, nil
	}}})
	w := sendModern(h, "/mcp/files", `"a"`, "server/discover", "", "")
	want := `{"jsonrpc":"2.0","id":"a","result":{"resultType":"complete","supportedVersions":["2026-07-28","2025-11-25","2025-06-18","2025-03-26","2024-11-05"],` +
		`"capabilities":{"tools":{}},"instructions":"be \"nice\"","ttlMs":60000,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"f"}}}}`
	if w.Code != 200 || w.Body.String() != want {
		t.Errorf("%d %s\nwant %s", w.Code, w.Body, want)
	}
}

func TestModernRequestReachesTheBrokerWithoutItsEnvelope(t *testing.T) {
	var got *exchange.Request
	var who broker.Caller
	h := open(t, Options{Broker: &script{do: func(_ context.Context, c broker.Caller, r *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
		got, who = r, c
		return modernRes(`{"resultType":"complete","n":9007199254740993}`), nil
	}}})
	w := sendModern(h, "/mcp", "1152921504606846976", "tools/call",
		`"arguments":{"n":9007199254740993, "z":1,"a":2},"vendor":[ 1 ],"name":"read"`,
		`"progressToken":"p","traceparent":"00-1","io.modelcontextprotocol/logLevel":"info","io.modelcontextprotocol/clientInfo":{"name":"c"}`)
	if want := `{"jsonrpc":"2.0","id":1152921504606846976,"result":{"resultType":"complete","n":9007199254740993}}`; w.Body.String() != want {
		t.Errorf("answer %s, want %s", w.Body, want)
	}
	if want := `{"arguments":{"n":9007199254740993, "z":1,"a":2},"vendor":[ 1 ],"name":"read","_meta":{"traceparent":"00-1"}}`; string(got.Params.Raw()) != want {
		t.Errorf("params %s, want %s", got.Params.Raw(), want)
	}
	if got.Meta.LogLevel != "info" || string(got.Meta.ClientInfo) != `{"name":"c"}` || got.Resume != nil {
		t.Errorf("meta %+v", got.Meta)
	}
	if who.Session != "" || who.Home != nil || !got.Caps.AsResult {
		t.Errorf("caller %+v", who)
	}
	if sendModern(h, "/mcp", "1", "tools/call", `"name":"read"`, ""); string(got.Params.Raw()) != `{"name":"read"}` {
		t.Errorf("params %s still have the envelope", got.Params.Raw())
	}
}

func TestModernResultOfALegacyServerIsCompleted(t *testing.T) {
	for _, c := range []struct {
		method, params string
		res            exchange.Result
		status         int
		want           string
	}{
		{"tools/call", `"name":"x"`, result(`{"content":[ ]}`), 200, `{"jsonrpc":"2.0","id":1,"result":{"content":[ ],"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"jackfield","version":"0"}}}}`},
		{"resources/read", `"uri":"u:x"`, result(`{"_meta":{"a":1},"contents":[]}`), 200, `{"jsonrpc":"2.0","id":1,"result":{"_meta":{"a":1,"io.modelcontextprotocol/serverInfo":{"name":"jackfield","version":"0"}},"contents":[],"resultType":"complete","ttlMs":0,"cacheScope":"private"}}`},
		{"resources/read", `"uri":"u:x"`, modernRes(`{"resultType":"complete","ttlMs":7}`), 200, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","ttlMs":7}}`},
		{"resources/read", `"uri":"u:x"`, result(`{"ttlMs":5,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"own"}}}`), 200, `{"jsonrpc":"2.0","id":1,"result":{"ttlMs":5,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"own"}},"resultType":"complete"}}`},
		{"tools/call", `"name":"x"`, exchange.Result{Raw: wire.Raw(`{"resultType":"input_required","inputRequests":{ }}`), Modern: true, Input: &exchange.Input{}}, 200, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{ }}}`},
		{"tools/call", `"name":"x"`, result(`[]`), 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"the server answered with something that is not a valid result: not an acceptable message: not an object"}}`},
		{"resources/read", `"uri":"u:x"`, exchange.Result{Err: failure(-32002, "gone")}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"gone"}}`},
		{"tools/call", `"name":"x"`, exchange.Result{Err: failure(-32601, "no")}, 404, `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}`},
		{"tools/call", `"name":"x"`, exchange.Result{Err: failure(-32021, "no"), Modern: true}, 400, `{"jsonrpc":"2.0","id":1,"error":{"code":-32021,"message":"no"}}`},
		{"tools/call", `"name":"x"`, exchange.Result{Err: failure(-32050, "no")}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"no"}}`},
		{"tools/call", `"name":"x"`, exchange.Result{Err: failure(-32602, "unknown tool")}, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"unknown tool"}}`},
	} {
		h := open(t, Options{Broker: &script{do: func(context.Context, broker.Caller, *exchange.Request, exchange.Peer) (exchange.Result, error) {
			return c.res, nil
		}}})
		w := sendModern(h, "/mcp", "1", c.method, c.params, "")
		if w.Code != c.status || w.Body.String() != c.want {
			t.Errorf("%d %s\nwant %d %s", w.Code, w.Body, c.status, c.want)
		}
	}
}

func TestModernNotificationsComeFirstOnAStreamWithTheClientsOwnToken(t *testing.T) {
	h := open(t, Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
		_ = p.Notify(ctx, "notifications/progress", wire.Raw(`{"progress":1,"progressToken":77}`))
		_ = p.Notify(ctx, "notifications/message", wire.Raw(`{"level":"debug","data":1}`))
		_ = p.Notify(ctx, "notifications/message", wire.Raw(`{"level":"error","data":2}`))
		_ = p.Notify(ctx, "notifications/message", wire.Raw(`{"level":"unheard of","data":3}`))
		_ = p.Notify(ctx, "notifications/tools/list_changed", nil)
		_ = p.Notify(ctx, "notifications/cancelled", wire.Raw(`{"requestId":1}`))
		_ = p.Notify(ctx, "notifications/vendor/x", wire.Raw(`{"a":1}`))
		answers, err := p.Ask(ctx, []exchange.Question{{Method: "elicitation/create"}})
		if err != nil || len(answers) != 1 || answers[0].Err == nil || !strings.Contains(answers[0].Err.Message, "did not say that it can answer") {
			t.Errorf("Ask: %v", err)
		}
		return modernRes(`{"resultType":"complete"}`), nil
	}}})
	w := sendModern(h, "/mcp", `"i\u0064"`, "tools/call", `"name":"x"`, `"progressToken":"to\u006ben","io.modelcontextprotocol/logLevel":"warning"`)
	want := []string{
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken":"to\u006ben"}}`,
		`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":2}}`,
		`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"unheard of","data":3}}`,
		`{"jsonrpc":"2.0","method":"notifications/vendor/x","params":{"a":1}}`,
		`{"jsonrpc":"2.0","id":"i\u0064","result":{"resultType":"complete"}}`,
	}
	evs := events(t, w.Body)
	if got := data(evs); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if evs[0].ID != "" || w.Header().Get("X-Accel-Buffering") != "no" || w.Header().Get("Content-Type") != "text/event-stream" {
		t.Errorf("event id %q, headers %v", evs[0].ID, w.Header())
	}
}

func TestWhatComesBehindTheAnswerIsDropped(t *testing.T) {
	var peer exchange.Peer
	h := open(t, Options{Broker: &script{do: func(_ context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
		peer = p
		return modernRes(`{}`), nil
	}}})
	for _, w := range []*httptest.ResponseRecorder{
		sendModern(h, "/mcp", "1", "tools/call", `"name":"x"`, `"progressToken":1`),
		send(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", `{"_meta":{"progressToken":1}}`), initialize(t, h, "/mcp", "2025-11-25", "{}")),
	} {
		was := w.Body.String()
		_ = peer.Notify(t.Context(), "notifications/progress", wire.Raw(`{}`))
		peer.(interface{ Ring() }).Ring() // as when it rings in this very moment
		if h.Status().Events != 0 || w.Body.String() != was {
			t.Errorf("%+v %s", h.Status(), w.Body)
		}
	}
}

func TestHeadersThatStandTwiceAreRefused(t *testing.T) {
	h := open(t, Options{Broker: &script{}})
	for _, name := range []string{"Mcp-Protocol-Version", "Mcp-Method", "Mcp-Name"} {
		body, hs := modernCall("1", "tools/call", `"name":"x"`, "")
		r := request(t.Context(), http.MethodPost, "/mcp", body, hs)
		r.Header.Add(name, "other")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if code, message, _ := errorOf(t, w); code != wire.CodeHeaderMismatch || !strings.Contains(message, "more than once") {
			t.Errorf("%s: %s", name, w.Body)
		}
	}
}

func TestANegativeLifetimeIsNone(t *testing.T) {
	h := open(t, Options{Broker: &script{about: func(broker.Caller) (broker.About, error) { return broker.About{TTL: -time.Second}, nil }}})
	if w := sendModern(h, "/mcp", "1", "server/discover", "", ""); !strings.Contains(w.Body.String(), `"capabilities":{},"ttlMs":0,"cacheScope":"private"`) {
		t.Error(w.Body)
	}
}

func TestAListenIsNotARequestThatIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{}, Limits: Limits{Requests: 1}})
		body, hs := modernCall("1", "subscriptions/listen", `"notifications":{}`, "")
		c := dial(h, http.MethodPost, "/mcp", body, hs)
		_ = c.message(t)
		if w := sendModern(h, "/mcp", "2", "tools/call", `"name":"x"`, ""); w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		c.leave()
		shut(t, h)
	})
}

func TestModernClientThatAskedForNothingHearsNothing(t *testing.T) {
	h := open(t, Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
		_ = p.Notify(ctx, "notifications/progress", wire.Raw(`{"progress":1,"progressToken":77}`))
		_ = p.Notify(ctx, "notifications/message", wire.Raw(`{"level":"emergency","data":1}`))
		return modernRes(`{}`), nil
	}}})
	if w := sendModern(h, "/mcp", "1", "tools/call", `"name":"x"`, ""); w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
}

func TestModernClientThatHangsUpCancelsItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		h := New(Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
			<-ctx.Done()
			ended <- ctx.Err()
			return exchange.Result{}, ctx.Err()
		}}})
		body, hs := modernCall("1", "tools/call", `"name":"x"`, "")
		c := dial(h, http.MethodPost, "/mcp", body, hs) // returns when the silence made a stream of it
		c.leave()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		shut(t, h)
	})
}

func TestASilentReplyBecomesAStreamAndKeepsItselfAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{do: func(context.Context, broker.Caller, *exchange.Request, exchange.Peer) (exchange.Result, error) {
			time.Sleep(time.Minute)
			return modernRes(`{}`), nil
		}}})
		began := time.Now()
		body, hs := modernCall("1", "tools/call", `"name":"x"`, "")
		c := dial(h, http.MethodPost, "/mcp", body, hs)
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("the stream began after %v", d)
		}
		buf := make([]byte, 100)
		n, err := c.pipe.Read(buf)
		if got := string(buf[:n]); err != nil || got != ": keep-alive\n\n" || time.Since(began) != 20*time.Second {
			t.Errorf("%q %v after %v", got, err, time.Since(began))
		}
		if got := c.message(t); got != `{"jsonrpc":"2.0","id":1,"result":{}}` {
			t.Error(got)
		}
		c.wantEnd(t)
		shut(t, h)
	})
}

func TestModernQuestionsTravelWithASealedStateAndComeBackOpened(t *testing.T) {
	var got *exchange.Request
	h := open(t, Options{
		Authenticate: users, Key: []byte(strings.Repeat("k", 32)),
		Broker: &script{do: func(_ context.Context, _ broker.Caller, r *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
			got = r
			if r.Resume != nil {
				return modernRes(`{"resultType":"complete"}`), nil
			}
			return exchange.Result{
				Raw: wire.Raw(`{"resultType":"input_required","requestState":"upstream state","inputRequests":{"q":{"method":"roots/list"}}}`), Modern: true,
				Input:  &exchange.Input{Questions: []exchange.Question{{Key: "q", Method: "roots/list"}}, State: wire.Raw(`"upstream state"`)},
				Server: "one",
			}, nil
		}},
	})
	ann := header{"Authorization: Bearer ann"}
	body, hs := modernCall("1", "tools/call", `"name":"x","arguments":{"b":1,"a":[2]}`, "")
	w := send(h, http.MethodPost, "/mcp", body, append(hs, ann...))
	o, err := wire.ScanObject(w.Body.Bytes(), []string{"result"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := wire.ScanObject(o.Get("result"), []string{"requestState", "inputRequests"})
	if err != nil || string(r.Get("inputRequests")) != `{"q":{"method":"roots/list"}}` {
		t.Fatalf("%s %v", w.Body, err)
	}
	state := string(r.Get("requestState"))
	if strings.Contains(state, "upstream") {
		t.Errorf("the server's state is readable: %s", state)
	}

	retry := func(who, path, method, params, state string) (int, string) {
		body, hs := modernCall("2", method, params+`,"inputResponses":{"q":{}},"requestState":`+state, `"progressToken":5`)
		w := send(h, http.MethodPost, path, body, append(hs, "Authorization: Bearer "+who))
		return w.Code, w.Body.String()
	}
	// The same request, written in another way, with another _meta.
	if status, body := retry("ann", "/mcp", "tools/call", `"arguments":{ "a":[2],"b":1},"name":"x"`, state); status != 200 || !strings.Contains(body, "complete") {
		t.Errorf("%d %s", status, body)
	}
	if got.Resume == nil || string(got.Resume.State) != `"upstream state"` || string(got.Resume.Answers) != `{"q":{}}` || got.Resume.Server != "one" {
		t.Errorf("resume %+v", got.Resume)
	}
	if params := string(got.Params.Raw()); params != `{"arguments":{ "a":[2],"b":1},"name":"x"}` {
		t.Errorf("params %s", params)
	}
	for name, c := range map[string][5]string{
		"tampered":                     {"ann", "/mcp", "tools/call", `"name":"x","arguments":{"b":1,"a":[2]}`, state[:len(state)-1] + `-TAMPERED"`},
		"cut":                          {"ann", "/mcp", "tools/call", `"name":"x","arguments":{"b":1,"a":[2]}`, state[:len(state)-9] + `"`},
		"another person":               {"bob", "/mcp", "tools/call", `"name":"x","arguments":{"b":1,"a":[2]}`, state},
		"another path":                 {"ann", "/mcp/files", "tools/call", `"name":"x","arguments":{"b":1,"a":[2]}`, state},
		"another method":               {"ann", "/mcp", "prompts/get", `"name":"x","arguments":{"b":1,"a":[2]}`, state},
		"other params":                 {"ann", "/mcp", "tools/call", `"name":"x","arguments":{"b":1,"a":[3]}`, state},
		"another spelling of a number": {"ann", "/mcp", "tools/call", `"name":"x","arguments":{"b":1.0,"a":[2]}`, state},
	} {
		if status, body := retry(c[0], c[1], c[2], c[3], c[4]); status != 400 || !strings.Contains(body, "-32602") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

func TestAStateExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{}})
		b := binding{subject: "ann", method: "tools/call", expires: time.Now().Add(15 * time.Minute)}
		sealed := h.sealState(b, relayedState, wire.Raw(`"up"`))
		time.Sleep(15*time.Minute - time.Second)
		if kind, state, err := h.unsealState(b, sealed); err != nil || kind != relayedState || string(state) != `"up"` {
			t.Errorf("%s %v", state, err)
		}
		time.Sleep(time.Second)
		if _, _, err := h.unsealState(b, sealed); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Error(err)
		}
	})
}

func TestQuestionsOnAMethodThatMustNotAskAreAnError(t *testing.T) {
	h := open(t, Options{Broker: &script{do: func(context.Context, broker.Caller, *exchange.Request, exchange.Peer) (exchange.Result, error) {
		return exchange.Result{Raw: wire.Raw(`{}`), Modern: true, Input: &exchange.Input{}}, nil
	}}})
	if code, _, _ := errorOf(t, sendModern(h, "/mcp", "1", "completion/complete", "", "")); code != -32603 {
		t.Error(code)
	}
}

func TestModernNotificationsGoOnWithoutAnAnswer(t *testing.T) {
	b := &script{}
	h := open(t, Options{Broker: b})
	for method, want := range map[string]string{"notifications/vendor": `notifications/vendor {"a":1}`, "notifications/cancelled": ""} {
		b.notified = nil
		w := send(h, http.MethodPost, "/mcp", `{"jsonrpc":"2.0","method":"`+method+`","params":{"a":1}}`, header{"MCP-Protocol-Version: 2026-07-28"})
		if w.Code != 202 || w.Body.Len() > 0 || strings.Join(b.notified, "") != want {
			t.Errorf("%s: %d %s %v", method, w.Code, w.Body, b.notified)
		}
	}
}

func TestListenAcknowledgesFirstAndTagsWhatItTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deliver := make(chan func(exchange.Event), 1)
		h := New(Options{Broker: &script{listen: func(ctx context.Context, _ broker.Caller, f broker.Filter, ready func(broker.Filter), d func(exchange.Event)) error {
			if !f.Tools || !f.Prompts || f.Resources || f.Other || len(f.URIs) != 2 {
				t.Errorf("filter %+v", f)
			}
			d(exchange.Event{Method: "notifications/tools/list_changed"}) // too early
			ready(broker.Filter{Tools: true, URIs: f.URIs[:1]})
			ready(broker.Filter{}) // once is enough
			deliver <- d
			<-ctx.Done()
			return nil
		}}})
		body, hs := modernCall(`"\u0061b"`, "subscriptions/listen", `"notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourceSubscriptions":["u:a","u:b"]}`, "")
		c := dial(h, http.MethodPost, "/mcp", body, hs)
		if got, want := c.message(t), `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"\u0061b"},"notifications":{"toolsListChanged":true,"resourceSubscriptions":["u:a"]}}}`; got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		d := <-deliver
		d(exchange.Event{Method: "notifications/prompts/list_changed"})
		d(exchange.Event{Method: "notifications/progress", Params: wire.Raw(`{}`)})
		d(exchange.Event{Method: "notifications/tools/list_changed"})
		d(exchange.Event{Method: "notifications/resources/updated", Params: wire.Raw(`{"uri":"u:a","_meta":{"x":1}}`)})
		for _, want := range []string{
			`{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"\u0061b"}}}`,
			`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"u:a","_meta":{"x":1,"io.modelcontextprotocol/subscriptionId":"\u0061b"}}}`,
		} {
			if got := c.message(t); got != want {
				t.Errorf("got %s\nwant %s", got, want)
			}
		}
		closed := make(chan error)
		go func() { closed <- h.Close(context.Background()) }()
		if got, want := c.message(t), `{"jsonrpc":"2.0","id":"\u0061b","result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":"\u0061b","io.modelcontextprotocol/serverInfo":{"name":"jackfield","version":"0"}}}}`; got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		c.wantEnd(t)
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

func TestAListenThatBreaksEndsInGoodOrder(t *testing.T) {
	h := open(t, Options{Broker: &script{listen: func(_ context.Context, _ broker.Caller, f broker.Filter, ready func(broker.Filter), _ func(exchange.Event)) error {
		ready(f)
		return errors.New("lost it")
	}}})
	w := sendModern(h, "/mcp", "1", "subscriptions/listen", `"notifications":{}`, "")
	if evs := events(t, w.Body); len(evs) != 2 || !strings.Contains(string(evs[1].Data), `"id":1,"result":{"resultType":"complete"`) {
		t.Errorf("%q", data(evs))
	}
}

func TestListenThatCannotBeIsAnError(t *testing.T) {
	h := open(t, Options{
		Limits: Limits{OwnerStreams: 1},
		Broker: &script{listen: func(context.Context, broker.Caller, broker.Filter, func(broker.Filter), func(exchange.Event)) error {
			return jackfield.Errorf(jackfield.NotFound, "no server files")
		}},
	})
	for range 3 { // its place is given back every time
		w := sendModern(h, "/mcp/files", "1", "subscriptions/listen", `"notifications":{}`, "")
		if code, message, _ := errorOf(t, w); code != -32602 || message != "no server files" {
			t.Errorf("%d %s", code, message)
		}
	}
	if err := h.streams.take("local"); err != nil {
		t.Fatal(err)
	}
	defer h.streams.give("local")
	if code, _, _ := errorOf(t, sendModern(h, "/mcp", "1", "subscriptions/listen", `"notifications":{}`, "")); code != codeExhausted {
		t.Error(code)
	}
}

func TestMirroredArgumentsAreChecked(t *testing.T) {
	h := open(t, Options{
		Broker: &script{},
		ParamHeaders: func(_ broker.Caller, tool string) []ParamHeader {
			return []ParamHeader{{"Region", []string{"where", "region"}}, {"Count", []string{"n"}}}
		},
	})
	for _, c := range []struct {
		arguments string
		header    header
		code      int
	}{
		{`{"where":{"region":"eu"},"n":42}`, header{"Mcp-Param-Region: eu", "mcp-param-count: 42.0"}, 0},
		{`{"where":{"region":"Hello"}}`, header{"Mcp-Param-Region: =?base64?SGVsbG8=?="}, 0},
		{`{"where":{"region":"Hello"}}`, header{"Mcp-Param-Region: =?base64?SGVsbG8?="}, -32020},
		{`{"where":{"region":"eu"}}`, nil, -32020},
		{`{"where":{"region":"eu"}}`, header{"Mcp-Param-Region: us"}, -32020},
		{`{"where":{"region":null}}`, nil, 0},
		{`{"where":3}`, nil, 0},
		{`{}`, header{"Mcp-Param-Unknown: x"}, 0},
		{`{"where":{"region":"a","region":"b"}}`, header{"Mcp-Param-Region: a"}, -32602},
	} {
		body, hs := modernCall("1", "tools/call", `"name":"x","arguments":`+c.arguments, "")
		w := send(h, http.MethodPost, "/mcp", body, append(hs, c.header...))
		if c.code == 0 {
			if w.Code != 200 {
				t.Errorf("%s %v: %d %s", c.arguments, c.header, w.Code, w.Body)
			}
			continue
		}
		if code, _, _ := errorOf(t, w); code != c.code || w.Code != 400 {
			t.Errorf("%s %v: %d %s", c.arguments, c.header, w.Code, w.Body)
		}
	}
}
