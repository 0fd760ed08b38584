package gateway

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// nothing is a response that goes nowhere.
type nothing struct{ h http.Header }

func (n *nothing) Header() http.Header         { return n.h }
func (n *nothing) Write(b []byte) (int, error) { return len(b), nil }
func (n *nothing) WriteHeader(int)             {}

// plain makes a handler, and a func that sends it one plain call of the era, by a
// client that can be asked something or not.
func plain(t testing.TB, modern bool, payload int, can ...string) func() {
	answer := exchange.Result{Raw: wire.Raw(`{"content":[{"type":"text","text":"` + strings.Repeat("x", payload) + `"}],"resultType":"complete"}`), Modern: modern}
	h := open(t, Options{Broker: &script{do: func(context.Context, broker.Caller, *exchange.Request, exchange.Peer) (exchange.Result, error) {
		return answer, nil
	}}})
	body, hs := modernCall("1", "tools/call", `"name":"echo","arguments":{"text":"`+strings.Repeat("x", payload)+`"}`, "")
	if !modern {
		body, hs = legacyCall("1", "tools/call", `{"name":"echo","arguments":{"text":"`+strings.Repeat("x", payload)+`"}}`), initialize(t, h, "/mcp", "2025-11-25", "{}")
	}
	if len(can) > 0 {
		body = strings.Replace(body, envelopeMeta, canElicit, 1)
	}
	r := request(context.Background(), http.MethodPost, "/mcp", body, hs)
	reader := bytes.NewReader([]byte(body))
	w := &nothing{make(http.Header)}
	return func() {
		reader.Reset([]byte(body))
		r.Body = io.NopCloser(reader)
		clear(w.h)
		h.ServeHTTP(w, r)
	}
}

func TestAPlainCallAllocatesLittle(t *testing.T) {
	for _, c := range []struct {
		modern bool
		most   float64
	}{{true, 22}, {false, 22}} {
		call := plain(t, c.modern, 64)
		if n := testing.AllocsPerRun(200, call); n > c.most {
			t.Errorf("modern %v: %v allocations", c.modern, n)
		} else {
			t.Logf("modern %v: %v allocations", c.modern, n)
		}
	}
}

// BenchmarkCallThatCanBeAsked is a modern call that the server may have questions
// about, beside one that it may not.
func BenchmarkCallThatCanBeAsked(b *testing.B) {
	for name, call := range map[string]func(){"no": plain(b, true, 64), "yes": plain(b, true, 64, "elicitation")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
	}
}

func BenchmarkCall(b *testing.B) {
	for _, c := range []struct {
		name    string
		modern  bool
		payload int
	}{{"modern/64B", true, 64}, {"modern/16KiB", true, 16 << 10}, {"legacy/64B", false, 64}, {"legacy/16KiB", false, 16 << 10}} {
		b.Run(c.name, func(b *testing.B) {
			call := plain(b, c.modern, c.payload)
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
	}
}

// BenchmarkCallHTTP is the same over a real connection.
func BenchmarkCallHTTP(b *testing.B) {
	h := open(b, Options{Broker: &script{}})
	server := httptest.NewServer(h)
	defer server.Close()
	body, hs := modernCall("1", "tools/call", `"name":"echo"`, "")
	b.ReportAllocs()
	for b.Loop() {
		r := request(context.Background(), http.MethodPost, "/mcp", "", hs)
		r.RequestURI, r.URL.Host, r.Host = "", strings.TrimPrefix(server.URL, "http://"), ""
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		resp, err := server.Client().Do(r)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status)
		}
	}
}
