package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// keyring is who may call with which key: "Bearer subject:key".
type keyring struct {
	mu      sync.Mutex
	revoked map[string]bool
	looked  func() // called when a key was found good
}

func (k *keyring) authenticate(r *http.Request) (jackfield.Principal, error) {
	subject, key, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), ":")
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.revoked[key] {
		return jackfield.Principal{}, jackfield.Errorf(jackfield.AuthRequired, "the key %s was revoked", key)
	}
	if k.looked != nil {
		looked := k.looked
		k.looked = nil
		k.mu.Unlock()
		looked()
		k.mu.Lock()
	}
	return jackfield.Principal{Subject: subject, Credential: key}, nil
}

// revoke takes a key away, as whoever keeps keys does it.
func (k *keyring) revoke(h *Handler, key string) {
	k.mu.Lock()
	if k.revoked == nil {
		k.revoked = map[string]bool{}
	}
	k.revoked[key] = true
	k.mu.Unlock()
	h.Cut(func(p jackfield.Principal) bool { return p.Credential == key }, errRevoked)
}

var errRevoked = jackfield.Errorf(jackfield.AuthRequired, "the key of this request was revoked")

func bearer(key string) string { return "Authorization: Bearer " + key }

// endless answers when it is cancelled, after a word.
func endless(ended *atomic.Int64) *script {
	return &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
		_ = p.Notify(ctx, "notifications/begun", nil)
		<-ctx.Done()
		ended.Add(1)
		return exchange.Result{}, ctx.Err()
	}}
}

// guarded is a Handler whose callers have keys, in a bubble of synctest.
func guarded(t *testing.T, b Broker, test func(h *Handler, k *keyring)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := &keyring{}
		h := New(Options{Authenticate: k.authenticate, Broker: b})
		test(h, k)
		synctest.Wait()
		shut(t, h)
	})
}

// begun begins a session with a key.
func begun(t *testing.T, h *Handler, key, capabilities string) header {
	t.Helper()
	w := send(h, http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":`+capabilities+`}}`, header{bearer(key)})
	return header{bearer(key), "Mcp-Session-Id: " + w.Header().Get("Mcp-Session-Id")}
}

const revokedAnswer = `{"jsonrpc":"2.0","id":1,"error":{"code":1401,"message":"the key of this request was revoked"}}`

func TestACutEndsALegacyCallInMidStreamAndItsSession(t *testing.T) {
	var ended atomic.Int64
	b := endless(&ended)
	guarded(t, b, func(h *Handler, k *keyring) {
		mine := begun(t, h, "ann:one", "{}")
		theirs := begun(t, h, "ann:two", "{}")
		call := dial(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", `{}`), mine)
		other := dial(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", `{}`), theirs)
		if got := call.message(t) + other.message(t); strings.Count(got, "begun") != 2 {
			t.Fatal(got)
		}
		events := dial(h, http.MethodGet, "/mcp", "", mine)
		k.revoke(h, "one")
		if got := call.message(t); got != revokedAnswer {
			t.Error(got)
		}
		call.wantEnd(t)
		events.wantEnd(t)
		synctest.Wait()
		if s := h.Status(); s.Sessions != 1 || s.Requests != 1 || ended.Load() != 1 || b.sessionsEnded() != 1 {
			t.Errorf("%+v, %d ended", s, ended.Load())
		}
		if w := send(h, http.MethodPost, "/mcp", legacyCall("2", "ping", ""), mine); w.Code != http.StatusUnauthorized {
			t.Errorf("with the old key: %d %s", w.Code, w.Body)
		}
		if w := send(h, http.MethodPost, "/mcp", legacyCall("2", "ping", ""), header{bearer("ann:two"), mine[1]}); w.Code != http.StatusNotFound {
			t.Errorf("in the old session: %d %s", w.Code, w.Body)
		}
		if w := send(h, http.MethodPost, "/mcp", legacyCall("2", "ping", ""), theirs); w.Code != http.StatusOK {
			t.Errorf("in the other session: %d %s", w.Code, w.Body)
		}
		k.revoke(h, "two")
		if got := other.message(t); got != revokedAnswer {
			t.Error(got)
		}
		other.wantEnd(t)
	})
}

func TestACutLeavesASessionThatWasOpenedWithAnotherCredential(t *testing.T) {
	var ended atomic.Int64
	guarded(t, endless(&ended), func(h *Handler, k *keyring) {
		hs := begun(t, h, "ann:one", "{}")
		two := header{bearer("ann:two"), hs[1]}
		first := dial(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", `{}`), hs)
		second := dial(h, http.MethodPost, "/mcp", legacyCall("2", "tools/call", `{}`), two)
		events := dial(h, http.MethodGet, "/mcp", "", two)
		_, _ = first.message(t), second.message(t)
		synctest.Wait()
		k.revoke(h, "two")
		if got := second.message(t); !strings.Contains(got, `"id":2,"error":{"code":1401`) {
			t.Error(got)
		}
		second.wantEnd(t)
		events.wantEnd(t)
		synctest.Wait()
		if ended.Load() != 1 || h.Status().Sessions != 1 {
			t.Errorf("%d ended, %+v", ended.Load(), h.Status())
		}
		// Whoever reads the session's stream hears of changes again.
		again := dial(h, http.MethodGet, "/mcp", "", hs)
		synctest.Wait()
		if s := h.Status(); s.Streams != 1 {
			t.Errorf("%+v", s)
		}
		again.leave()
		k.revoke(h, "one")
		if got := first.message(t); got != revokedAnswer {
			t.Error(got)
		}
		first.wantEnd(t)
	})
}

// The listening of a session is that of whoever opened its stream first.
func TestACutOfWhoListensBringsTheReaderBack(t *testing.T) {
	guarded(t, &script{}, func(h *Handler, k *keyring) {
		hs := begun(t, h, "ann:one", "{}")
		first := dial(h, http.MethodGet, "/mcp", "", header{bearer("ann:two"), hs[1]})
		second := dial(h, http.MethodGet, "/mcp", "", hs)
		first.wantEnd(t)
		synctest.Wait()
		k.revoke(h, "two")
		second.wantEnd(t)
		if n := h.Status().Sessions; n != 1 {
			t.Errorf("%d sessions", n)
		}
	})
}

func TestACutEndsEachRequestOfABatchByItself(t *testing.T) {
	var ended atomic.Int64
	guarded(t, endless(&ended), func(h *Handler, k *keyring) {
		w := send(h, http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26"}}`, header{bearer("ann:one")})
		hs := header{bearer("ann:two"), "Mcp-Session-Id: " + w.Header().Get("Mcp-Session-Id")}
		c := dial(h, http.MethodPost, "/mcp", "["+legacyCall("1", "tools/call", "{}")+","+legacyCall("2", "tools/call", "{}")+"]", hs)
		_, _ = c.message(t), c.message(t)
		k.revoke(h, "two")
		if got := c.message(t) + c.message(t); strings.Count(got, `"code":1401`) != 2 || !strings.Contains(got, `"id":1`) || !strings.Contains(got, `"id":2`) {
			t.Error(got)
		}
		c.wantEnd(t)
	})
}

func TestACutEndsModernCallsAndSubscriptions(t *testing.T) {
	var ended atomic.Int64
	guarded(t, endless(&ended), func(h *Handler, k *keyring) {
		body, hs := modernCall("1", "tools/call", `"name":"x"`, "")
		call := dial(h, http.MethodPost, "/mcp", body, as("ann:one", hs))
		other := dial(h, http.MethodPost, "/mcp", body, as("ann:two", hs))
		body, hs = modernCall("1", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`, "")
		stream := dial(h, http.MethodPost, "/mcp", body, as("ann:one", hs))
		_, _, _ = call.message(t), other.message(t), stream.message(t)
		synctest.Wait()
		k.revoke(h, "one")
		for _, c := range []*browser{call, stream} {
			if got := c.message(t); got != revokedAnswer {
				t.Error(got)
			}
			c.wantEnd(t)
		}
		synctest.Wait()
		if s := h.Status(); s.Requests != 1 || s.Streams != 0 || ended.Load() != 1 {
			t.Errorf("%+v", s)
		}
		other.leave()
	})
}

func TestACutEndsParkedCalls(t *testing.T) {
	e := &examiner{rounds: [][]exchange.Question{{question("one")}, {question("two")}}}
	guarded(t, e, func(h *Handler, k *keyring) {
		first := askTool(t, h, "", bearer("ann:one"))
		if h.Status().Parked != 1 {
			t.Fatalf("%+v %+v", h.Status(), first)
		}
		k.revoke(h, "one")
		synctest.Wait()
		if got := e.cancelled(); len(got) != 1 || !errors.Is(got[0], errRevoked) || h.Status().Parked != 0 {
			t.Errorf("%v, %+v", got, h.Status())
		}
		retry := answering(first.state, `q1={"action":"decline"}`)
		if got := askTool(t, h, retry, bearer("ann:one")); got.status != http.StatusUnauthorized {
			t.Errorf("%+v", got)
		}
		if got := askTool(t, h, retry, bearer("ann:two")); !strings.Contains(got.body, "revoked") {
			t.Errorf("%+v", got)
		}
		time.Sleep(h.opts.Timing.Replay + h.opts.Timing.Park) // what is kept of it goes
	})
}

func TestACutEndsWhoWentOnWithAParkedCallWithAnotherCredential(t *testing.T) {
	var ended atomic.Int64
	b := &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
		_, _ = p.Ask(ctx, []exchange.Question{question("one")})
		<-ctx.Done()
		ended.Add(1)
		return exchange.Result{}, ctx.Err()
	}}
	guarded(t, b, func(h *Handler, k *keyring) {
		first := askTool(t, h, "", bearer("ann:one"))
		retry := answering(first.state, `q1={"action":"decline"}`)
		got := make(chan turn)
		go func() { got <- askTool(t, h, retry, bearer("ann:two")) }()
		time.Sleep(time.Second)
		k.revoke(h, "two")
		if end := <-got; !strings.Contains(end.body, `"code":1401`) {
			t.Errorf("%+v", end)
		}
		synctest.Wait()
		if ended.Load() != 1 {
			t.Error("the call goes on, and nobody can come back for it")
		}
	})
}

func TestACutEndsAChannelWithTheAnswersThatAreDue(t *testing.T) {
	var ended atomic.Int64
	b := endless(&ended)
	guarded(t, b, func(h *Handler, k *keyring) {
		c, at := tune(t, h, "/sse", bearer("ann:one"))
		if w := send(h, http.MethodPost, at, hello, header{bearer("ann:one")}); w.Code != http.StatusAccepted {
			t.Fatal(w.Code, w.Body)
		}
		_ = c.message(t)
		for id, key := range map[string]string{"1": "ann:one", "2": "ann:two"} {
			if w := send(h, http.MethodPost, at, legacyCall(id, "tools/call", `{}`), header{bearer(key)}); w.Code != http.StatusAccepted {
				t.Fatal(w.Code, w.Body)
			}
			if got := c.message(t); !strings.Contains(got, "begun") {
				t.Fatal(got)
			}
		}
		k.revoke(h, "one")
		if got := c.message(t) + c.message(t); !strings.Contains(got, revokedAnswer) || !strings.Contains(got, `"id":2,"error":{"code":1401`) {
			t.Error(got)
		}
		c.wantEnd(t)
		synctest.Wait()
		if s := h.Status(); s != (Status{}) || b.sessionsEnded() != 1 {
			t.Errorf("%+v", s)
		}
		if w := send(h, http.MethodPost, at, legacyCall("3", "ping", ""), header{bearer("ann:two")}); w.Code != http.StatusNotFound {
			t.Error(w.Code, w.Body)
		}
	})
}

// A request that was found good just before its key was revoked, and comes in just
// behind, was meant as well.
func TestACutMissesNobodyWhoIsComingIn(t *testing.T) {
	var ended atomic.Int64
	guarded(t, endless(&ended), func(h *Handler, k *keyring) {
		k.looked = func() { k.revoke(h, "one") }
		if w := sendAs(h, "ann:one", "tools/call"); w != http.StatusUnauthorized {
			t.Errorf("%d", w)
		}
		// And one whose session is being opened.
		opening := make(chan struct{})
		h.opts.Broker.(*script).about = func(broker.Caller) (broker.About, error) {
			<-opening
			return broker.About{Capabilities: wire.Raw("{}")}, nil
		}
		done := make(chan string)
		go func() {
			w := send(h, http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}`, header{bearer("ann:three")})
			done <- fmt.Sprint(w.Code, w.Body)
		}()
		synctest.Wait()
		k.revoke(h, "three")
		close(opening)
		if got := <-done; !strings.HasPrefix(got, "401") || h.Status().Sessions != 0 {
			t.Error(got, h.Status())
		}
	})
}

func sendAs(h *Handler, key, method string) int {
	body, hs := modernCall("1", method, `"name":"x"`, "")
	return send(h, http.MethodPost, "/mcp", body, as(key, hs)).Code
}

// Cutting while everything comes and goes ends what it is for, and leaves nothing.
func TestCutsAmongManyRequests(t *testing.T) {
	b := &script{do: func(ctx context.Context, c broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
		if c.Principal.Subject == "brief" {
			return result(`{}`), nil
		}
		<-ctx.Done()
		return exchange.Result{}, ctx.Err()
	}}
	k := &keyring{}
	h := open(t, Options{Authenticate: k.authenticate, Broker: b})
	var all sync.WaitGroup
	for i := range 24 {
		key := fmt.Sprintf("person%d:key%d", i, i)
		all.Go(func() {
			for range 20 {
				if code := sendAs(h, "brief:brief", "tools/call"); code != http.StatusOK {
					t.Errorf("somebody else got %d", code)
				}
			}
		})
		all.Go(func() {
			for sendAs(h, key, "tools/call") != http.StatusUnauthorized { // until it is revoked
			}
		})
		all.Go(func() {
			hs := header{bearer(key)}
			for {
				w := send(h, http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}`, hs)
				if w.Code != http.StatusOK {
					return
				}
				send(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", `{}`), append(hs, "Mcp-Session-Id: "+w.Header().Get("Mcp-Session-Id")))
			}
		})
		all.Go(func() { k.revoke(h, fmt.Sprint("key", i)) })
	}
	all.Wait()
	if s := h.Status(); s.Requests+s.Sessions+s.Streams+s.Parked != 0 {
		t.Errorf("%+v", s)
	}
}
