package gateway

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
)

func as(name string, hs header) header {
	return append(append(header{}, hs...), "Authorization: Bearer "+name)
}

func initializeAs(t testing.TB, h http.Handler, name string) header {
	t.Helper()
	w := send(h, http.MethodPost, "/mcp", legacyCall("0", "initialize", `{"protocolVersion":"2025-11-25","capabilities":{}}`), as(name, nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return as(name, header{"Mcp-Session-Id: " + w.Header().Get("Mcp-Session-Id")})
}

func ping(h http.Handler, hs header) int {
	return send(h, http.MethodPost, "/mcp", legacyCall("1", "ping", ""), hs).Code
}

func TestASessionExistsForItsPrincipalOnly(t *testing.T) {
	h := open(t, Options{Broker: &script{}, Authenticate: users})
	ann := initializeAs(t, h, "ann")
	if ping(h, ann) != 200 {
		t.Error("ann's own session is not there")
	}
	w := send(h, http.MethodPost, "/mcp", legacyCall("1", "ping", ""), as("bob", ann))
	if w.Code != 404 {
		t.Errorf("ann's session for bob: %d %s", w.Code, w.Body)
	}
	unknown := send(h, http.MethodPost, "/mcp", legacyCall("1", "ping", ""), as("bob", header{"Mcp-Session-Id: made-up"}))
	if unknown.Body.String() != w.Body.String() {
		t.Errorf("bob learns that it exists: %s, else %s", w.Body, unknown.Body)
	}
	if w := send(h, http.MethodPost, "/mcp", legacyCall("1", "ping", ""), ann[1:]); w.Code != 401 && w.Code != 400 {
		t.Errorf("%d", w.Code)
	}
}

func TestASessionOfAnotherProcessSaysSo(t *testing.T) {
	key := []byte(strings.Repeat("k", 32))
	a, b := open(t, Options{Broker: &script{}, Key: key}), open(t, Options{Broker: &script{}, Key: key})
	hs := initialize(t, a, "/mcp", "2025-11-25", "{}")
	w := send(b, http.MethodPost, "/mcp", legacyCall("1", "ping", ""), hs)
	if _, message, _ := errorOf(t, w); w.Code != 404 || !strings.Contains(message, "another process") {
		t.Errorf("%d %s", w.Code, message)
	}
}

func TestAnUnusedSessionEndsAndABusyOneDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &script{}
		h := New(Options{Broker: b, Timing: Timing{Idle: time.Hour}})
		used, unused, streaming := initialize(t, h, "/mcp", "2025-11-25", "{}"), initialize(t, h, "/mcp", "2025-11-25", "{}"), initialize(t, h, "/mcp", "2025-11-25", "{}")
		c := dial(h, http.MethodGet, "/mcp", "", streaming)
		for range 3 {
			time.Sleep(50 * time.Minute)
			if ping(h, used) != 200 {
				t.Error("a session in use is gone")
			}
		}
		if n := b.sessionsEnded(); n != 1 {
			t.Errorf("%d sessions ended", n)
		}
		if ping(h, unused) != 404 {
			t.Error("an unused session is still there")
		}
		if ping(h, streaming) != 200 {
			t.Error("a session with an open stream is gone")
		}
		c.leave()
		time.Sleep(2 * time.Hour)
		if n := b.sessionsEnded(); n != 3 || h.sessions.sweep != nil {
			t.Errorf("%d sessions ended, sweep %v", n, h.sessions.sweep)
		}
		if ping(h, initialize(t, h, "/mcp", "2025-11-25", "{}")) != 200 {
			t.Error("no session after all had ended")
		}
		time.Sleep(2 * time.Hour)
		if n := b.sessionsEnded(); n != 4 {
			t.Errorf("%d sessions ended", n)
		}
		shut(t, h)
	})
}

func TestASessionEndsWhenItsTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &script{}
		h := New(Options{Broker: b, Timing: Timing{Idle: time.Hour}})
		hs := initialize(t, h, "/mcp", "2025-11-25", "{}")
		time.Sleep(50 * time.Minute)
		ping(h, hs)
		time.Sleep(time.Hour - time.Second)
		if b.sessionsEnded() != 0 {
			t.Error("ended too early")
		}
		time.Sleep(2 * time.Second)
		if b.sessionsEnded() != 1 {
			t.Error("not ended in time")
		}
		shut(t, h)
	})
}

func TestASessionMakesRoomWhenNobodyIsBusyWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &script{}
		h := New(Options{Broker: b, Authenticate: users, Limits: Limits{Sessions: 4, OwnerSessions: 3}})
		bob := initializeAs(t, h, "bob")
		ann := []header{initializeAs(t, h, "ann"), initializeAs(t, h, "ann"), initializeAs(t, h, "ann")}
		c := dial(h, http.MethodGet, "/mcp", "", ann[0])
		ping(h, ann[1])
		ann = append(ann, initializeAs(t, h, "ann")) // her own least recently used one that is not busy
		for i, want := range []int{200, 200, 404, 200} {
			if got := ping(h, ann[i]); got != want {
				t.Errorf("ann's session %d: %d", i, got)
			}
		}
		if ping(h, bob) != 200 {
			t.Error("bob's session made room for ann's")
		}
		ping(h, ann[1])
		ping(h, ann[3])
		initializeAs(t, h, "cid") // all are taken: bob's is the one not used for longest
		if ping(h, bob) != 404 || b.sessionsEnded() != 2 {
			t.Errorf("bob is still there, %d ended", b.sessionsEnded())
		}
		c.leave()
		shut(t, h)
		if b.sessionsEnded() != 6 {
			t.Errorf("%d ended", b.sessionsEnded())
		}
	})
}

func TestBusySessionsAreNotEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{}, Limits: Limits{Sessions: 1}})
		c := dial(h, http.MethodGet, "/mcp", "", initialize(t, h, "/mcp", "2025-11-25", "{}"))
		w := send(h, http.MethodPost, "/mcp", legacyCall("0", "initialize", `{"protocolVersion":"2025-11-25"}`), nil)
		if code, _, _ := errorOf(t, w); w.Code != 429 || code != codeExhausted || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		c.leave()
		shut(t, h)
	})
}

func TestRequestsAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := New(Options{
			Limits: Limits{SessionRequests: 2, Requests: 4},
			Broker: &script{do: func(context.Context, broker.Caller, *exchange.Request, exchange.Peer) (exchange.Result, error) {
				<-release
				return result(`{}`), nil
			}},
		})
		hs := initialize(t, h, "/mcp", "2025-11-25", "{}")
		get := dial(h, http.MethodGet, "/mcp", "", hs) // a stream is not a request
		codes := make(chan int)
		for i := range 2 {
			go func() { codes <- send(h, http.MethodPost, "/mcp", legacyCall(fmt.Sprint(i), "x", ""), hs).Code }()
		}
		synctest.Wait()
		w := send(h, http.MethodPost, "/mcp", legacyCall("9", "x", ""), hs)
		if code, message, _ := errorOf(t, w); w.Code != 429 || code != codeExhausted || !strings.Contains(message, "session") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		other := initialize(t, h, "/mcp", "2025-11-25", "{}")
		for i := range 2 {
			go func() { codes <- send(h, http.MethodPost, "/mcp", legacyCall(fmt.Sprint(i), "x", ""), other).Code }()
		}
		synctest.Wait()
		w = send(h, http.MethodPost, "/mcp", legacyCall("9", "ping", ""), hs)
		if code, message, _ := errorOf(t, w); w.Code != 429 || code != codeExhausted || !strings.Contains(message, "gateway") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		close(release)
		for range 4 {
			if c := <-codes; c != 200 {
				t.Error(c)
			}
		}
		if ping(h, hs) != 200 {
			t.Error("a place was not given back")
		}
		get.leave()
		shut(t, h)
	})
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{}, Authenticate: users, Limits: Limits{OwnerStreams: 1, Streams: 2}})
		a := dial(h, http.MethodGet, "/mcp", "", initializeAs(t, h, "ann"))
		if w := send(h, http.MethodGet, "/mcp", "", initializeAs(t, h, "ann")); w.Code != 429 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		b := dial(h, http.MethodGet, "/mcp", "", initializeAs(t, h, "bob"))
		cid := initializeAs(t, h, "cid")
		if w := send(h, http.MethodGet, "/mcp", "", cid); w.Code != 429 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		a.leave()
		c := dial(h, http.MethodGet, "/mcp", "", cid)
		b.leave()
		c.leave()
		if h.streams.total != 0 || len(h.streams.by) != 0 {
			t.Errorf("%+v", h.streams)
		}
		shut(t, h)
	})
}

func TestCloseRefusesNewRequestsAndEndsOpenOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			return exchange.Result{}, ctx.Err()
		}}
		h := New(Options{Broker: b})
		hs := initialize(t, h, "/mcp", "2025-11-25", "{}")
		bodies := make(chan string)
		go func() {
			bodies <- send(h, http.MethodPost, "/mcp", legacyCall("1", "x", ""), hs).Body.String()
		}()
		go func() { bodies <- sendModern(h, "/mcp", "1", "tools/call", `"name":"x"`, "").Body.String() }()
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := h.Close(short); err == nil {
			t.Error("Close did not wait")
		}
		if w := send(h, http.MethodPost, "/mcp", legacyCall("1", "ping", ""), hs); w.Code != 503 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		for range 2 {
			if got := <-bodies; got != `{"jsonrpc":"2.0","id":1,"error":{"code":1503,"message":"the gateway was shut down before this was answered; whether the server has done it is not known"}}` {
				t.Error(got)
			}
		}
		if err := h.Close(t.Context()); err != nil || b.sessionsEnded() != 1 {
			t.Errorf("%v, %d sessions ended", err, b.sessionsEnded())
		}
	})
}

func TestAPanicInTheBrokerLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			_ = p.Notify(ctx, "notifications/x", nil)
			panic("broken")
		}}})
		hs := initialize(t, h, "/mcp", "2025-11-25", "{}")
		func() {
			defer func() { _ = recover() }()
			send(h, http.MethodPost, "/mcp", legacyCall("1", "x", ""), hs)
		}()
		func() {
			defer func() { _ = recover() }()
			sendModern(h, "/mcp", "1", "tools/call", `"name":"x"`, "")
		}()
		time.Sleep(time.Hour) // no timer of theirs writes any more
		shut(t, h)
	})
}

func TestAKnownSessionCostsLittle(t *testing.T) {
	const n = 2000
	h := open(t, Options{Broker: &script{}})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		hs := initialize(t, h, "/mcp", "2025-11-25", `{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{"listChanged":true}}`)
		ping(h, hs)
		send(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", `{"name":"x"}`), hs)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; each > 4<<10 {
		t.Errorf("%d bytes a session", each)
	} else {
		t.Logf("%d bytes a session", each)
	}
}

func TestASessionEndsOnce(t *testing.T) {
	b := &script{}
	h := open(t, Options{Broker: b})
	initialize(t, h, "/mcp", "2025-11-25", "{}")
	s := h.sessions.only(t)
	h.sessions.end(s, errClosing)
	h.sessions.end(s, errClosing)
	if b.sessionsEnded() != 1 {
		t.Errorf("ended %d times", b.sessionsEnded())
	}
}

func TestWhoAClientIsKeepsNoRequestAlive(t *testing.T) {
	body := []byte(`{"protocolVersion":"2025-11-25","clientInfo":{"name":"c"}}`)
	c, err := readClient(body)
	clear(body)
	if err != nil || string(c.info) != `{"name":"c"}` {
		t.Errorf("%q %v", c.info, err)
	}
	c, err = readClient([]byte(`{"protocolVersion":"2025-11-25","clientInfo":{"name":"` + strings.Repeat("x", maxClientInfo) + `"}}`))
	if err != nil || c.info != nil {
		t.Errorf("%d bytes of client info are kept: %v", len(c.info), err)
	}
}

func TestSessionErrorsAreJackfieldErrors(t *testing.T) {
	h := open(t, Options{Broker: &script{}})
	if _, err := h.sessions.find("x", "ann", ""); jackfield.CodeOf(err) != jackfield.NotFound {
		t.Error(err)
	}
}
