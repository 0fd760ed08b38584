package gateway

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
)

// unannounced sends a body whose length the request does not say.
func unannounced(h http.Handler, body io.Reader, hs header) *httptest.ResponseRecorder {
	r := request(context.Background(), http.MethodPost, "/mcp", "", hs)
	r.Body, r.ContentLength = io.NopCloser(body), -1
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestABodyOfUnknownLengthIsReadWholeOrRefused(t *testing.T) {
	h := open(t, Options{Broker: &script{}, Limits: Limits{Body: 100_000}})
	hs := initialize(t, h, "/mcp", "2025-11-25", "{}")
	for _, n := range []int{0, 1, firstRead, announcedRead, 99_900} {
		call := legacyCall("1", "tools/call", `{"name":"`+strings.Repeat("x", n)+`"}`)
		for _, w := range []*httptest.ResponseRecorder{unannounced(h, strings.NewReader(call), hs), send(h, http.MethodPost, "/mcp", call, hs)} {
			if w.Code != 200 || w.Body.Len() < n || strings.Count(w.Body.String(), "x") != n {
				t.Errorf("%d bytes: %d %.200s", n, w.Code, w.Body)
			}
		}
	}
	call := legacyCall("1", "tools/call", `{"name":"`+strings.Repeat("x", 100_000)+`"}`)
	if w := unannounced(h, strings.NewReader(call), hs); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %.200s", w.Code, w.Body)
	}
	if w := unannounced(h, http.MaxBytesReader(nil, io.NopCloser(strings.NewReader(call)), 10), hs); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a limit in front of ours: %d %s", w.Code, w.Body)
	}
	if n := h.bodies.Load(); n != 0 {
		t.Errorf("%d bytes of bodies are still counted", n)
	}
}

func TestAllBodiesTogetherAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := New(Options{
			Limits: Limits{Bodies: 20_000},
			Broker: &script{do: func(context.Context, broker.Caller, *exchange.Request, exchange.Peer) (exchange.Result, error) {
				<-release
				return result(`{}`), nil
			}},
		})
		hs := initialize(t, h, "/mcp", "2025-11-25", "{}")
		first := make(chan int)
		go func() {
			first <- send(h, http.MethodPost, "/mcp", legacyCall("1", "x", `{"a":"`+strings.Repeat("x", 15_000)+`"}`), hs).Code
		}()
		synctest.Wait()
		w := send(h, http.MethodPost, "/mcp", legacyCall("2", "x", `{"a":"`+strings.Repeat("x", 15_000)+`"}`), hs)
		if code, _, _ := errorOf(t, w); w.Code != http.StatusTooManyRequests || code != codeExhausted {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if ping(h, hs) != 200 {
			t.Error("a small one has no room either")
		}
		close(release)
		if c := <-first; c != 200 || h.bodies.Load() != 0 {
			t.Errorf("%d, %d bytes still counted", c, h.bodies.Load())
		}
		shut(t, h)
	})
}

func TestALateVisitorOfAClosedGateIsEnded(t *testing.T) {
	g := newGate(1)
	v, err := g.enter(jackfield.Principal{})
	if err != nil {
		t.Fatal(err)
	}
	drained := g.close(errClosing, errCut)
	ctx, cancel := g.bind(context.Background(), v)
	defer cancel(nil)
	if context.Cause(ctx) != errClosing { //nolint:errorlint // this very error
		t.Error(context.Cause(ctx))
	}
	g.leave(v)
	<-drained
}

func TestAClientThatLeftIsNoFailureOfTheGateway(t *testing.T) {
	var log bytes.Buffer
	h := open(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
		return exchange.Result{}, ctx.Err()
	}}})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	body, hs := modernCall("1", "tools/call", `"name":"x"`, "")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request(ctx, http.MethodPost, "/mcp", body, hs))
	if code, _, _ := errorOf(t, w); code != table[jackfield.Unavailable].rpc || log.Len() > 0 {
		t.Errorf("%s, log %q", w.Body, log.String())
	}
}
