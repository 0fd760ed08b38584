package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/app"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("BENCH_ROLE"); role != "" {
		if err := play(role, os.Getenv("BENCH_UPSTREAM")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// house is a gateway with some servers behind it, all at one address.
func house(tb testing.TB, servers int, url string) *app.App {
	tb.Helper()
	config := &app.Config{Listen: "127.0.0.1:0"}
	for i := range servers {
		config.Servers = append(config.Servers, jackfield.Server{
			Name:     fmt.Sprintf("server%03d", i),
			Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: url},
		})
	}
	a, err := app.New(app.Options{Version: "bench", Config: config})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			tb.Error(err)
		}
	})
	return a
}

// lister is a server with some tools, of the size that tools have.
func lister(tb testing.TB, tools int) string {
	tb.Helper()
	list := make([]string, tools)
	for i := range list {
		list[i] = fmt.Sprintf(`{"name":"tool_number_%03d","description":"%s","inputSchema":{"type":"object","properties":{"path":{"type":"string"},"limit":{"type":"integer"}},"required":["path"]}}`,
			i, strings.Repeat("what it does, ", 10))
	}
	all := `{"resultType":"complete","ttlMs":3600000,"cacheScope":"public","tools":[` + strings.Join(list, ",") + `]}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m, err := wire.Parse(body)
		if err != nil || m.Method != "tools/list" {
			r.URL.Path, r.Body = "/modern", io.NopCloser(bytes.NewReader(body))
			serveFast(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(wire.AppendResult(nil, m.ID, wire.Raw(all)))
	}))
	tb.Cleanup(s.Close)
	return s.URL
}

// client speaks to a gateway without a socket.
type client struct {
	http.Handler
	header http.Header
}

func newClient(tb testing.TB, h http.Handler, modern bool) *client {
	tb.Helper()
	c := &client{h, http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}}
	if modern {
		c.header[versionHeader] = []string{"2026-07-28"}
		return c
	}
	w := c.post(tb, "initialize", `"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}`)
	c.header[versionHeader] = []string{"2025-11-25"}
	c.header[sessionHeader] = w.Header()[sessionHeader]
	return c
}

// post sends a request and returns the answer, which is a result.
func (c *client) post(tb testing.TB, method, params string) *httptest.ResponseRecorder {
	tb.Helper()
	header := c.header.Clone()
	if header.Get(versionHeader) == "2026-07-28" {
		header["Mcp-Method"] = []string{method}
		params = strings.TrimPrefix(params+`,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`, ",")
	}
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params + `}}`
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodPost, "http://localhost/mcp", strings.NewReader(body))
	r.Header = header
	w := httptest.NewRecorder()
	w.Body.Grow(512 << 10)
	c.ServeHTTP(w, r)
	if w.Code != http.StatusOK || !bytes.Contains(w.Body.Bytes()[:40], []byte(`"result"`)) {
		tb.Fatalf("%s: %d %.300s", method, w.Code, w.Body)
	}
	return w
}

// BenchmarkList is a whole tools/list of 1,000 tools, from the request's bytes to
// the answer's, warm, over few servers and over many.
func BenchmarkList(b *testing.B) {
	const tools = 1000
	for _, servers := range []int{20, 200} {
		h := house(b, servers, lister(b, tools/servers)).Handler()
		for _, modern := range []bool{true, false} {
			name := fmt.Sprintf("modern=%v/servers=%d", modern, servers)
			b.Run(name, func(b *testing.B) {
				c := newClient(b, h, modern)
				deadline := time.Now().Add(time.Minute)
				for strings.Count(c.post(b, "tools/list", "").Body.String(), `"inputSchema"`) < tools {
					if time.Now().After(deadline) {
						b.Fatal("the list does not become complete")
					}
				}
				b.ReportAllocs()
				for b.Loop() {
					c.post(b, "tools/list", "")
				}
				b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N), "ms/list")
			})
		}
	}
}

// BenchmarkReady is how long a gateway with 300 servers takes from New until it
// answers, while its servers are listed in the background.
func BenchmarkReady(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		var reached atomic.Int64
		s := httptest.NewUnstartedServer(http.HandlerFunc(serveFast))
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				reached.Add(1)
			}
		}
		s.Start()
		b.StartTimer()
		began := time.Now()
		a := house(b, 300, s.URL+"/modern")
		took := time.Since(began)
		if n := reached.Load(); n != 0 {
			b.Errorf("%d connections before anybody asked", n)
		}
		began = time.Now()
		if err := a.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, a.URL()+"/healthz", http.NoBody)
		if err != nil {
			b.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp, err)
		}
		_ = resp.Body.Close()
		took += time.Since(began)
		b.ReportMetric(took.Seconds()*1e3, "ms-to-ready")
		b.StopTimer()
		if err := a.Stop(context.Background()); err != nil {
			b.Error(err)
		}
		s.Close()
		b.StartTimer()
	}
}
