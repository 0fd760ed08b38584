// Package eras shows that any client reaches any server: every revision of the
// protocol on the one side with every kind of server on the other, through the
// whole gateway. Each row of the protocol's translation matrix is a test here, by
// its feature; its subtests are the cells.
package eras

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/app"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestMain(m *testing.M) {
	upstreamtest.RunAsChild()
	goleak.VerifyTestMain(m)
}

func patience(t testing.TB) <-chan time.Time {
	t.Helper()
	return time.After(20 * time.Second)
}

// kinds are the servers, by the revision and the transport that they speak.
var kinds = map[string]upstreamtest.Script{
	"2026-07-28 http":        {Era: upstreamtest.Modern},
	"2026-07-28 stdio":       {Era: upstreamtest.Modern, Transport: jackfield.TransportStdio},
	"2025-11-25 http":        {Era: upstreamtest.Legacy},
	"2025-11-25 sessionless": {Era: upstreamtest.Sessionless},
	"2025-06-18 http":        {Era: upstreamtest.Legacy, Version: exchange.V20250618},
	"2025-06-18 stdio":       {Era: upstreamtest.Legacy, Version: exchange.V20250618, Transport: jackfield.TransportStdio},
	"2025-03-26 http":        {Era: upstreamtest.Legacy, Version: exchange.V20250326},
	"2024-11-05 sse":         {Era: upstreamtest.Legacy, Version: exchange.V20241105, Transport: jackfield.TransportSSE},
}

// house is a gateway with every kind of server behind it.
type house struct {
	url     string
	log     *log
	servers map[string]*upstreamtest.Server // by kind
}

// pathOf is where a kind of server stands in the gateway.
func pathOf(kind string) string { return "/mcp/" + strings.ReplaceAll(kind, " ", "-") }

func open(t testing.TB, scripts map[string]upstreamtest.Script, edit ...func(*jackfield.Server)) *house {
	t.Helper()
	h := &house{servers: map[string]*upstreamtest.Server{}}
	config := &app.Config{Listen: "127.0.0.1:0", Data: t.TempDir()}
	for kind, script := range scripts {
		s := upstreamtest.New(t, script)
		h.servers[kind] = s
		server := jackfield.Server{Name: strings.ReplaceAll(kind, " ", "-"), Endpoint: s.Endpoint()}
		for _, f := range edit {
			f(&server)
		}
		config.Servers = append(config.Servers, server)
	}
	h.log = &log{}
	gateway, err := app.New(app.Options{Config: config, Log: slog.New(slog.NewTextHandler(h.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := gateway.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := gateway.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	h.url = gateway.URL()
	return h
}

// log is what the gateway logs.
type log struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (h *house) logs() string {
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	return h.log.text.String()
}

// cells runs a test for each revision of the client and each kind of server.
func cells(t *testing.T, test func(t *testing.T, c *client, s *upstreamtest.Server)) {
	t.Helper()
	h := open(t, kinds)
	for _, version := range append([]string{overSSE}, exchange.Versions...) {
		for kind := range kinds {
			t.Run(version+"/"+kind, func(t *testing.T) {
				test(t, connect(t, h.url, pathOf(kind), version, allCaps(version)), h.servers[kind])
			})
		}
	}
}

// asksFor reports whether a client of that revision can be asked a question.
func asksFor(version, method string) bool {
	return method != "elicitation/create" || version != exchange.V20241105 && version != exchange.V20250326
}

func TestTools(t *testing.T) {
	cells(t, func(t *testing.T, c *client, _ *upstreamtest.Server) {
		result, failed := c.do(t.Context(), "tools/list", `{}`, "")
		if failed != nil || !strings.Contains(string(result), `"name":"echo"`) {
			t.Fatalf("%s %v", result, failed)
		}
		if modern := strings.Contains(string(result), "cacheScope") || strings.Contains(string(result), "resultType"); modern != c.modern() {
			t.Errorf("a list for the other era: %s", result)
		}
		const odd = `9007199254740993 \u0000 "quoted" ünï`
		if got := c.call("echo", `{"text":"9007199254740993 \u00fcn\u00ef"}`, ""); got != "9007199254740993 ünï" {
			t.Errorf("%q for %s", got, odd)
		}
	})
}

func TestPromptsResourcesAndCompletion(t *testing.T) {
	cells(t, func(t *testing.T, c *client, _ *upstreamtest.Server) {
		for method, want := range map[string][2]string{
			"prompts/list":             {`{}`, `"greet"`},
			"prompts/get":              {`{"name":"greet"}`, `"hello"`},
			"resources/list":           {`{}`, `test://a`},
			"resources/templates/list": {`{}`, `test://{id}`},
			"resources/read":           {`{"uri":"test://a"}`, `content of a`},
			"completion/complete":      {`{"ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"x","value":""}}`, `"two"`},
		} {
			result, failed := c.do(t.Context(), method, want[0], "")
			if failed != nil || !strings.Contains(string(result), want[1]) {
				t.Errorf("%s: %s %v", method, result, failed)
			}
		}
	})
}

func TestElicitationSamplingAndRoots(t *testing.T) {
	cells(t, func(t *testing.T, c *client, _ *upstreamtest.Server) {
		for method, answer := range map[string]string{
			"elicitation/create":     `{"action":"accept","content":{"n":9007199254740993}}`,
			"sampling/createMessage": `{"role":"assistant","model":"m","content":{"type":"text","text":"sampled"}}`,
			"roots/list":             `{"roots":[{"uri":"file:///home"}]}`,
		} {
			for _, rounds := range []string{"1", "3"} {
				asked := 0
				c.answer = func(got string, _ wire.Raw) string {
					if asked++; got != method {
						t.Errorf("asked %s", got)
					}
					return answer
				}
				result, failed := c.do(t.Context(), "tools/call", `{"name":"ask","arguments":{"method":"`+method+`","times":`+rounds+`}}`, "")
				if !asksFor(c.version, method) {
					// The server of an older era is told no, the modern one cannot be served.
					if asked != 0 || failed == nil && !strings.Contains(string(result), `decline`) && !strings.Contains(string(result), "not possible") {
						t.Errorf("%s: asked %d, %s %v", method, asked, result, failed)
					}
					continue
				}
				text, _ := textOf(result)
				if failed != nil || asked == 0 || !strings.Contains(text, answer) {
					t.Errorf("%s, %s rounds: asked %d times, %s %v", method, rounds, asked, result, failed)
				}
			}
		}
	})
}

func TestElicitationInURLMode(t *testing.T) {
	cells(t, func(t *testing.T, c *client, _ *upstreamtest.Server) {
		asked := ""
		c.answer = func(_ string, params wire.Raw) string { asked = string(params); return `{"action":"accept"}` }
		result, failed := c.do(t.Context(), "tools/call",
			`{"name":"ask","arguments":{"params":{"mode":"url","url":"https://example.com/x","message":"open","elicitationId":"e1"}}}`, "")
		switch c.version {
		case exchange.Modern:
			if !strings.Contains(asked, `"url":"https://example.com/x"`) || failed != nil || !strings.Contains(string(result), "accept") {
				t.Errorf("asked %s: %s %v", asked, result, failed)
			}
		case exchange.V20251125:
			if !strings.Contains(asked, `"elicitationId"`) || failed != nil || !strings.Contains(string(result), "accept") {
				t.Errorf("asked %s: %s %v", asked, result, failed)
			}
		default: // a legacy server is declined, a modern one's address is told in words
			if asked != "" || failed == nil && !strings.Contains(string(result), "decline") && !strings.Contains(string(result), "not possible") &&
				!strings.Contains(string(result), "open https://example.com/x") && !strings.Contains(string(result), `open\nhttps://example.com/x`) {
				t.Errorf("asked %s: %s %v", asked, result, failed)
			}
		}
	})
}

func TestAnAddressThatHasToBeOpenedFirst(t *testing.T) {
	// Error -32042 of 2025-11-25, by a server of that revision.
	h := open(t, map[string]upstreamtest.Script{"legacy": {Era: upstreamtest.Legacy}})
	for _, version := range exchange.Versions {
		t.Run(version, func(t *testing.T) {
			c := connect(t, h.url, "/mcp/legacy", version, allCaps(version))
			asked := 0
			c.answer = func(_ string, params wire.Raw) string {
				asked++
				if asked > 1 {
					return `{"action":"decline"}`
				}
				return `{"action":"accept"}`
			}
			result, failed := c.do(t.Context(), "tools/call", `{"name":"error","arguments":{"code":-32042,"text":"first this",
				"data":{"elicitations":[{"mode":"url","elicitationId":"e","url":"https://example.com/x","message":"open it"}]}}}`, "")
			switch version {
			case exchange.Modern:
				if asked != 2 || failed == nil || !strings.Contains(failed.Message, "was not opened") {
					t.Errorf("asked %d: %s %v", asked, result, failed)
				}
			case exchange.V20251125:
				if asked != 0 || failed == nil || failed.Code != -32042 {
					t.Errorf("asked %d: %s %v", asked, result, failed)
				}
			default:
				if asked != 0 || failed != nil || !strings.Contains(string(result), "https://example.com/x") || !strings.Contains(string(result), `"isError":true`) {
					t.Errorf("asked %d: %s %v", asked, result, failed)
				}
			}
		})
	}
}

func TestProgressReachesOnlyThoseWhoAskedForIt(t *testing.T) {
	cells(t, func(t *testing.T, c *client, _ *upstreamtest.Server) {
		c.call("progress", `{"steps":3}`, "")
		if heard := c.toldBy("notifications/progress"); len(heard) != 0 {
			t.Errorf("did not ask, and heard %q", heard)
		}
		c.call("progress", `{"steps":3}`, `"progressToken":"my \"own\""`)
		heard := c.toldBy("notifications/progress")
		if len(heard) != 3 {
			t.Fatalf("heard %q", heard)
		}
		for i, got := range heard {
			if !strings.Contains(got, `"progressToken":"my \"own\""`) || !strings.Contains(got, `"progress":`+string(rune('1'+i))) {
				t.Errorf("heard %s", got)
			}
		}
	})
}

func TestLogMessages(t *testing.T) {
	cells(t, func(t *testing.T, c *client, _ *upstreamtest.Server) {
		meta := ""
		if c.modern() {
			meta = `"io.modelcontextprotocol/logLevel":"warning"`
		} else if _, failed := c.do(t.Context(), "logging/setLevel", `{"level":"warning"}`, ""); failed != nil {
			t.Fatal(failed)
		}
		c.call("log", `{"level":"debug","text":"too quiet"}`, meta)
		c.call("log", `{"level":"error","text":"loud"}`, meta)
		heard := strings.Join(c.told(), "\n")
		if strings.Contains(heard, "too quiet") || !strings.Contains(heard, "loud") && !strings.Contains(c.path, "stdio") && !strings.Contains(c.path, "05-sse") {
			t.Errorf("heard %s", heard)
		}
	})
}

func TestCancelling(t *testing.T) {
	cells(t, func(t *testing.T, c *client, s *upstreamtest.Server) {
		calls, cancelled := s.Count("tool:slow"), s.Count("cancelled")+s.Count("abandoned")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = c.once(ctx, "tools/call", `{"name":"slow","arguments":{}}`, "", "")
		}()
		s.Wait(t, "tool:slow", calls+1)
		if !c.modern() { // leaving is not cancelling
			c.send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, c.last.Load()))
		} else {
			cancel()
		}
		deadline := patience(t)
		for s.Count("cancelled")+s.Count("abandoned") <= cancelled {
			select {
			case <-deadline:
				t.Fatal("the server was not told")
			case <-time.After(5 * time.Millisecond):
			}
		}
		cancel()
		<-done
	})
}

func TestChangedListsAndUpdatedResources(t *testing.T) {
	cells(t, func(t *testing.T, c *client, s *upstreamtest.Server) {
		c.call("echo", `{}`, "") // a legacy client hears on connections that are open
		if _, failed := c.do(t.Context(), "tools/list", `{}`, ""); failed != nil {
			t.Fatal(failed) // who has no list is not told that it has changed
		}
		c.listen(`{"toolsListChanged":true,"resourceSubscriptions":["test://a"]}`)
		if !c.modern() {
			if _, failed := c.do(t.Context(), "resources/subscribe", `{"uri":"test://a"}`, ""); failed != nil {
				t.Fatal(failed)
			}
		}
		for kind, want := range map[string][2]string{
			`{"kind":"tools"}`:                     {"notifications/tools/list_changed", ""},
			`{"kind":"updated","text":"test://a"}`: {"notifications/resources/updated", `"uri":"test://a"`},
		} {
			stop := make(chan struct{})
			go func() { // the upstream's stream may stand a moment later
				for {
					select {
					case <-stop:
						return
					case <-time.After(50 * time.Millisecond):
						if s.Listeners() > 0 {
							s.Emit(want[0], map[string]string{"": "{}", `"uri":"test://a"`: `{"uri":"test://a"}`}[want[1]])
						} else {
							_, _ = c.once(t.Context(), "tools/call", `{"name":"change","arguments":`+kind+`}`, "", "")
						}
					}
				}
			}()
			got := c.event(want[0])
			close(stop)
			if !strings.Contains(got, want[1]) || strings.Contains(got, "subscriptionId") != c.modern() {
				t.Errorf("%s: heard %s", kind, got)
			}
			if c.modern() && !strings.Contains(got, `"io.modelcontextprotocol/subscriptionId":"listen-9007199254740993"`) {
				t.Errorf("%s: heard %s", kind, got)
			}
		}
	})
}

func TestContentThatARevisionLacks(t *testing.T) {
	cells(t, func(t *testing.T, c *client, s *upstreamtest.Server) {
		members := `"content":[{"type":"resource_link","uri":"file:///a","name":"a"},{"type":"audio","data":"QUJD","mimeType":"audio/wav"},{"type":"text","text":"t","x":9007199254740993}]`
		result, failed := c.do(t.Context(), "tools/call", `{"name":"raw","arguments":{"result":{`+members+`,"structuredContent":[1],"resultType":"complete"}}}`, "")
		if failed != nil {
			t.Fatal(failed)
		}
		got := string(result)
		for what, has := range map[string]bool{
			`"resource_link"`:    c.version >= exchange.V20250618,
			`"audio"`:            c.version >= exchange.V20250326,
			`9007199254740993`:   true,
			`file:///a`:          true,
			`"structuredContent`: c.modern() || !strings.Contains(c.path, "2026"), // a legacy server's is its own
		} {
			if strings.Contains(got, what) != has {
				t.Errorf("%s: want %t in %s", what, has, got)
			}
		}
	})
}

func TestArgumentsThatTravelInHeaders(t *testing.T) {
	h := open(t, map[string]upstreamtest.Script{"modern": {Header: "Region"}})
	s := h.servers["modern"]
	for i, version := range exchange.Versions {
		t.Run(version, func(t *testing.T) {
			c := connect(t, h.url, "/mcp/modern", version, allCaps(version))
			list, failed := c.do(t.Context(), "tools/list", `{}`, "")
			if failed != nil || !strings.Contains(string(list), `"routed"`) || strings.Contains(string(list), `"badly"`) {
				t.Fatalf("%s %v", list, failed)
			}
			was := s.Header()
			c.params = map[string]string{"Mcp-Param-" + was: "eu"}
			if got := c.call("routed", `{"region":"eu"}`, ""); got != "routed" {
				t.Errorf("got %s", got)
			}
			// The server renames it and tells nobody: the list is fetched anew, and the call
			// sent once more.
			s.Rename("Region" + string(rune('A'+i)))
			calls := s.Count("tools/call")
			if got := c.call("routed", `{"region":"eu"}`, ""); got != "routed" {
				t.Errorf("after the change: %s", got)
			}
			if n := s.Count("tools/call") - calls; n != 2 {
				t.Errorf("%d calls", n)
			}
		})
	}
	if logs := h.logs(); !strings.Contains(logs, "badly") {
		t.Errorf("the tool that was dropped is not named: %s", logs)
	}
}
