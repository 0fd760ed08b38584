package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// FuzzRequest sends arbitrary bytes to both faces. Whatever they are, there is
// one answer: a refusal, one JSON-RPC message, or a stream that ends.
func FuzzRequest(f *testing.F) {
	modernBody, _ := modernCall("1", "tools/call", `"name":"x"`, `"progressToken":1`)
	for _, body := range []string{
		"", "{", "[]", "null", "[null]", modernBody, "[" + modernBody + "]",
		legacyCall("1", "initialize", `{"protocolVersion":"2025-11-25","capabilities":{}}`),
		legacyCall("1152921504606846976", "tools/call", `{"name":"x","_meta":{"progressToken":"t"}}`),
		legacyCall("1", "logging/setLevel", `{"level":"debug"}`),
		legacyCall("1", "subscriptions/listen", `{"notifications":{"toolsListChanged":true}}`),
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`,
		`{"jsonrpc":"2.0","id":1,"result":{}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}`,
		`{"jsonrpc":"2.0","id":null,"method":"x"}`, `{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}`,
		strings.Repeat("[", 1000), strings.Repeat(`{"a":`, 1000),
	} {
		f.Add([]byte(body), "2026-07-28", "tools/call", "x", "")
		f.Add([]byte(body), "2025-03-26", "", "", "p1-0")
		f.Add([]byte(body), "", "", "", "g1-zz")
	}
	h := New(Options{Limits: Limits{Body: 1 << 16}, Broker: &script{
		do: func(ctx context.Context, _ broker.Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			_ = p.Notify(ctx, "notifications/progress", wire.Raw(`{"progress":1}`))
			if r.Resume != nil {
				return exchange.Result{Raw: wire.Raw(`{"requestState":"s"}`), Modern: true, Input: &exchange.Input{State: wire.Raw(`"s"`)}}, nil
			}
			return exchange.Result{Raw: r.Params.Raw()}, nil
		},
		listen: func(_ context.Context, _ broker.Caller, f broker.Filter, ready func(broker.Filter), _ func(exchange.Event)) error {
			ready(f)
			return nil
		},
	}})
	f.Cleanup(func() { _ = h.Close(context.Background()) })
	session := initialize(f, h, "/mcp", "2025-03-26", "{}")
	f.Fuzz(func(t *testing.T, body []byte, version, method, name, event string) {
		hs := header{}
		for k, v := range map[string]string{"MCP-Protocol-Version": version, "Mcp-Method": method, "Mcp-Name": name} {
			if !strings.ContainsAny(v, "\r\n") && v != "" {
				hs = append(hs, k+": "+v)
			}
		}
		for _, hs := range []header{hs, append(slices.Clip(hs), session[0])} {
			w := send(h, http.MethodPost, "/mcp", string(body), hs)
			switch ct := w.Header().Get("Content-Type"); {
			case w.Code == http.StatusAccepted:
				if w.Body.Len() > 0 {
					t.Errorf("202 with %q", w.Body)
				}
			case ct == "text/event-stream":
				for _, ev := range events(t, w.Body) {
					if len(ev.Data) > 0 && !json.Valid(ev.Data) {
						t.Errorf("event %q", ev.Data)
					}
				}
			case ct == "application/json":
				m, err := wire.Parse(w.Body.Bytes())
				if err != nil || m.Kind != wire.Response || w.Code == 200 && m.ID == nil {
					t.Errorf("%d %q: %v", w.Code, w.Body, err)
				}
			default:
				t.Errorf("%d %s %q", w.Code, ct, w.Body)
			}
		}
		if event != "" && !strings.ContainsAny(event, "\r\n") {
			if st, _, err := h.sessions.only(t).resume(event, &h.ledger); err == nil && st == nil {
				t.Error("neither a stream nor an error")
			}
		}
	})
}

// only is the one session there is.
func (t *sessions) only(tb testing.TB) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.known {
		return s
	}
	tb.Fatal("no session")
	return nil
}

// FuzzSeal opens arbitrary text as session id and as request state. Only what was
// sealed for the asker opens.
func FuzzSeal(f *testing.F) {
	h := New(Options{Broker: &script{}, Key: []byte(strings.Repeat("k", 32))})
	f.Cleanup(func() { _ = h.Close(context.Background()) })
	b := binding{subject: "ann", only: "files", method: "tools/call", expires: time.Now().Add(time.Hour)}
	begun, err := h.sessions.open(jackfield.Principal{Subject: "ann"}, "files", client{version: "2025-11-25"}, func(s *session) exchange.Peer { return &home{h, s} })
	if err != nil {
		f.Fatal(err)
	}
	id := begun.name
	state, _ := wire.String(h.sealState(b, relayedState, wire.Raw(`"s"`)))
	f.Add(id)
	f.Add(state)
	f.Add("")
	f.Add(h.states.seal([]byte{byte(relayedState)}))
	f.Add(h.states.seal(append([]byte{byte(parkedState)}, bytes.Repeat([]byte{0xff}, 60)...)))
	f.Add(h.sessions.sealer.seal(append([]byte{sessionVersion}, bytes.Repeat([]byte{0xff}, 40)...)))
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := h.sessions.find(text, "ann", "files"); (err == nil) != (text == id) || err == nil && s == nil {
			t.Errorf("session id %q: %v", text, err)
		} else if err == nil {
			h.sessions.release(s)
		}
		if _, err := h.sessions.find(text, "bob", "files"); err == nil {
			t.Errorf("session id %q opens for bob", text)
		}
		_, raw, err := h.unsealState(b, wire.AppendString(nil, text))
		if err != nil && text == state || err == nil && string(raw) != `"s"` {
			t.Errorf("state %q: %s %v", text, raw, err)
		}
	})
}
