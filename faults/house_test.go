//go:build linux

package faults

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/app"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/upstream"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "guard" {
		upstream.Guard(os.Args[2:])
	}
	upstreamtest.RunAsChild()
	runAsGateway()
	net.DefaultResolver = names.resolver()
	goleak.VerifyTestMain(m)
}

// guard is this test binary as a guard.
var guard = []string{"/proc/self/exe", "guard"}

// patience is how long anything may take that has to work in the end, on a machine
// that has much else to do.
const patience = 60 * time.Second

// client speaks to a gateway.
type client struct {
	base string
	http *http.Client
	caps string // what it can be asked; empty: nothing
}

// ask sends one request and returns its result or the message of its error. An
// error of another kind is the gateway's own failure.
func (c *client) ask(ctx context.Context, path, method, params string) (result, failed string, err error) {
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params[:len(params)-1]
	if params != "{}" {
		body += ","
	}
	body += `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":` + cmp.Or(c.caps, "{}") + `}}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, strings.NewReader(body))
	if err != nil {
		return "", "", err
	}
	var named struct{ Name string }
	if err = json.Unmarshal([]byte(params), &named); err != nil {
		return "", "", err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		wire.HeaderProtocolVersion: exchange.Modern, wire.HeaderMethod: method, wire.HeaderName: named.Name,
	} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", "", err
	}
	m, err := lastMessage(resp, text)
	if err != nil {
		return "", "", fmt.Errorf("%s: status %d: %w: %.300s", method, resp.StatusCode, err, text)
	}
	if m.Error != nil {
		return "", wire.ParseError(m.Error).Message, nil
	}
	return string(m.Result), "", nil
}

// lastMessage is the answer: the body, or the last event of it.
func lastMessage(resp *http.Response, text []byte) (wire.Message, error) {
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		var last string
		for line := range strings.Lines(string(text)) {
			if data, ok := strings.CutPrefix(line, "data:"); ok && strings.TrimSpace(data) != "" {
				last = strings.TrimSpace(data)
			}
		}
		text = []byte(last)
	}
	return wire.Parse(text)
}

// call calls a tool of one server.
func (c *client) call(ctx context.Context, server, tool, arguments string) (result, failed string, err error) {
	return c.ask(ctx, "/mcp/"+server, "tools/call", `{"name":"`+tool+`","arguments":`+arguments+`}`)
}

// house is a gateway with healthy servers, which are watched all the time.
type house struct {
	*app.App
	client
	logs *logged

	healthy []string
	calls   int // that the healthy ones answered; read it after stop
	slowest time.Duration
	wrong   []string // what befell them
	end     context.CancelFunc
	watched sync.WaitGroup
}

// logged is a log that is shown when a test fails.
type logged struct {
	mu   sync.Mutex
	text []byte
}

func (l *logged) Write(b []byte) (int, error) {
	const most = 1 << 20
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.text) < most {
		l.text = append(l.text, b...)
	}
	return len(b), nil
}

// healthyScripts are the servers beside the broken ones.
var healthyScripts = map[string]upstreamtest.Script{
	"fine-modern": {Era: upstreamtest.Modern},
	"fine-legacy": {Era: upstreamtest.Legacy},
	"fine-stdio":  {Era: upstreamtest.Legacy, Transport: jackfield.TransportStdio},
}

// open starts a gateway with the healthy servers and these. It ends with stop.
func open(t *testing.T, servers []jackfield.Server) *house {
	t.Helper()
	h := &house{logs: &logged{}}
	for name, script := range healthyScripts {
		h.healthy = append(h.healthy, name)
		servers = append(servers, jackfield.Server{Name: name, Endpoint: upstreamtest.New(t, script).Endpoint()})
	}
	const message = 1 << 20
	config := &app.Config{
		Listen: "127.0.0.1:0", Servers: servers,
		Limits: app.Limits{Message: message, Call: patience, Connect: patience},
	}
	var err error
	if h.App, err = app.New(app.Options{Config: config, Guard: guard, Log: slog.New(slog.NewTextHandler(h.logs, nil))}); err != nil {
		t.Fatal(err)
	}
	if err = h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.client = client{base: h.URL(), http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	for end := time.Now().Add(patience); len(h.unlisted(t.Context())) > 0; wait(t.Context(), 50*time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never listed: %q %s", h.unlisted(t.Context()), h.logs.text)
		}
	}
	var ctx context.Context
	ctx, h.end = context.WithCancel(t.Context())
	h.watched.Go(func() { h.watch(ctx) })
	return h
}

// watch calls the healthy servers and lists everything, until ctx ends.
func (h *house) watch(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		name := h.healthy[i%len(h.healthy)]
		begun := time.Now()
		text := fmt.Sprint("call ", i)
		result, failed, err := h.call(ctx, name, "echo", `{"text":"`+text+`"}`)
		took := time.Since(begun)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil || failed != "" || !strings.Contains(result, text):
			h.wrong = append(h.wrong, fmt.Sprintf("%s after %v: %s%s %v", name, took, result, failed, err))
		}
		h.calls++
		h.slowest = max(h.slowest, took)
		if i%50 == len(h.healthy) {
			if short := h.unlisted(ctx); ctx.Err() == nil {
				h.wrong = append(h.wrong, short...)
			}
		}
		wait(ctx, 20*time.Millisecond)
	}
}

// unlisted are the healthy servers of which not every tool is listed, and why, if
// there is no list at all.
func (h *house) unlisted(ctx context.Context) []string {
	counts := map[string]int{}
	params := "{}"
	for {
		result, failed, err := h.ask(ctx, "/mcp", "tools/list", params)
		var page struct{ NextCursor string }
		if err == nil && failed == "" {
			err = json.Unmarshal([]byte(result), &page)
		}
		if err != nil || failed != "" {
			return []string{fmt.Sprintf("no list: %s %v", failed, err)}
		}
		for _, name := range h.healthy {
			counts[name] += strings.Count(result, `"`+name+`__`)
		}
		if page.NextCursor == "" {
			break
		}
		params = fmt.Sprintf(`{"cursor":%q}`, page.NextCursor)
	}
	var short []string
	for _, name := range h.healthy {
		if counts[name] < 10 {
			short = append(short, fmt.Sprintf("the list has %d tools of %s", counts[name], name))
		}
	}
	return short
}

// stop ends the gateway and says what befell the healthy servers.
func (h *house) stop(t *testing.T) {
	t.Helper()
	h.end()
	h.watched.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
	h.http.CloseIdleConnections()
	for i, w := range h.wrong {
		if i == 10 {
			t.Errorf("and %d more", len(h.wrong)-i)
			break
		}
		t.Errorf("a healthy server: %s", w)
	}
	if h.slowest > patience/4 {
		t.Errorf("a healthy server took %v", h.slowest)
	}
	t.Logf("%d calls to healthy servers, the slowest took %v", h.calls, h.slowest.Round(time.Millisecond))
	if t.Failed() {
		t.Logf("%s", h.logs.text[:min(len(h.logs.text), 6_000)])
	}
}

// wait waits, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
