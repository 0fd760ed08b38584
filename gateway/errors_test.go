package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
)

func TestEveryCodeHasItsWordsInBothErasAndAtTheDoor(t *testing.T) {
	if len(table) != len(jackfield.Codes()) {
		t.Fatalf("%d rows for %d codes", len(table), len(jackfield.Codes()))
	}
	seen := map[int]jackfield.Code{}
	for _, code := range jackfield.Codes() {
		r := table[code]
		if r.rpc == 0 || r.door < 400 || r.legacy == 0 || r.modern == 0 {
			t.Errorf("%s has a hole: %+v", code, r)
		}
		if r.rpc > -32768 && r.rpc < -32000 != (r.rpc < 0) || r.rpc <= -32000 && r.rpc >= -32099 {
			t.Errorf("%s: %d is not ours to use", code, r.rpc)
		}
		if was, ok := seen[r.rpc]; ok && r.rpc != -32602 {
			t.Errorf("%s and %s are both %d", code, was, r.rpc)
		}
		seen[r.rpc] = code
		// Clients take these for a matter of their own token.
		if r.legacy == 401 || r.modern == 401 || r.legacy == 403 || r.modern == 403 {
			t.Errorf("%s: an answer with %d or %d", code, r.legacy, r.modern)
		}

		h := open(t, Options{Broker: &script{do: func(context.Context, broker.Caller, *exchange.Request, exchange.Peer) (exchange.Result, error) {
			return exchange.Result{}, fmt.Errorf("wrapped: %w", jackfield.Errorf(code, "the server files said no"))
		}}, Authenticate: func(r *http.Request) (jackfield.Principal, error) {
			if r.Header.Get("Authorization") == "" {
				return jackfield.Principal{}, jackfield.Errorf(code, "not you")
			}
			return users(r)
		}})
		w := send(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", "{}"), initializeAs(t, h, "ann"))
		if got, message, _ := errorOf(t, w); w.Code != r.legacy || got != r.rpc || message != "the server files said no" {
			t.Errorf("%s, legacy: %d %s", code, w.Code, w.Body)
		}
		body, hs := modernCall("1", "tools/call", `"name":"x"`, "")
		w = send(h, http.MethodPost, "/mcp", body, as("ann", hs))
		if got, message, _ := errorOf(t, w); w.Code != r.modern || got != r.rpc || message != "the server files said no" {
			t.Errorf("%s, modern: %d %s", code, w.Code, w.Body)
		}
		if code == jackfield.Internal {
			continue // an authentication that fails without a reason is 401, below
		}
		w = send(h, http.MethodPost, "/mcp", body, hs)
		if _, message, _ := errorOf(t, w); w.Code != r.door || message != "not you" {
			t.Errorf("%s, at the door: %d %s", code, w.Code, w.Body)
		}
		if challenge := w.Header().Get("WWW-Authenticate"); (challenge == "Bearer") != (code == jackfield.AuthRequired) {
			t.Errorf("%s: WWW-Authenticate %q", code, challenge)
		}
	}
}

func TestAnAuthenticationThatFailsIsAlwaysAChallenge(t *testing.T) {
	h := open(t, Options{Broker: &script{}, Authenticate: func(*http.Request) (jackfield.Principal, error) {
		return jackfield.Principal{}, errors.New("key 0xsecret did not match")
	}})
	for _, method := range []string{"POST", "GET", "DELETE"} {
		w := send(h, method, "/mcp", "{}", nil)
		if _, message, _ := errorOf(t, w); w.Code != 401 || w.Header().Get("WWW-Authenticate") != "Bearer" || strings.Contains(message, "secret") {
			t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
		}
	}
}

func TestWhatNobodyClassifiedIsForTheLogOnly(t *testing.T) {
	var log bytes.Buffer
	h := open(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Broker: &script{do: func(context.Context, broker.Caller, *exchange.Request, exchange.Peer) (exchange.Result, error) {
		return exchange.Result{}, errors.New("pq: no such table")
	}}})
	w := sendModern(h, "/mcp", "1", "tools/call", `"name":"x"`, "")
	if strings.Contains(w.Body.String(), "pq") || !strings.Contains(log.String(), "pq: no such table") {
		t.Errorf("client: %s, log: %s", w.Body, log.String())
	}
}
