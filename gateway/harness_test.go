package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a Broker that does what a test says.
type script struct {
	do     func(ctx context.Context, c broker.Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error)
	about  func(broker.Caller) (broker.About, error)
	listen func(ctx context.Context, c broker.Caller, f broker.Filter, ready func(broker.Filter), deliver func(exchange.Event)) error

	mu       sync.Mutex
	notified []string
	ended    []string
}

func (b *script) Do(ctx context.Context, c broker.Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
	if b.do == nil {
		return exchange.Result{Raw: r.Params.Raw()}, nil
	}
	return b.do(ctx, c, r, p)
}

func (b *script) About(_ context.Context, c broker.Caller) (broker.About, error) {
	if b.about == nil {
		return broker.About{Capabilities: wire.Raw(`{"tools":{"listChanged":true}}`)}, nil
	}
	return b.about(c)
}

func (b *script) Listen(ctx context.Context, c broker.Caller, f broker.Filter, ready func(broker.Filter), deliver func(exchange.Event)) error {
	if b.listen != nil {
		return b.listen(ctx, c, f, ready, deliver)
	}
	ready(f)
	<-ctx.Done()
	return nil
}

func (b *script) Notify(_ context.Context, _ broker.Caller, method string, params wire.Raw) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notified = append(b.notified, method+" "+string(params))
}

func (b *script) EndSession(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = append(b.ended, id)
}

func (b *script) sessionsEnded() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.ended)
}

// open makes a Handler that the test closes.
func open(t testing.TB, o Options) *Handler {
	t.Helper()
	h := New(o)
	t.Cleanup(func() { shut(t, h) })
	return h
}

// shut closes a Handler and checks that nothing is left of it.
func shut(t testing.TB, h *Handler) {
	t.Helper()
	if err := h.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if s := h.Status(); s != (Status{Dropped: s.Dropped}) {
		t.Errorf("something is left: %+v", s)
	}
}

// header is a list of names and values: "Name: value". An empty value removes.
type header []string

func (hs header) apply(r *http.Request) {
	for _, line := range hs {
		name, value, _ := strings.Cut(line, ":")
		if value = strings.TrimLeft(value, " "); value == "" {
			r.Header.Del(name)
		} else if strings.EqualFold(name, "host") {
			r.Host = value
		} else {
			r.Header.Set(name, value)
		}
	}
}

func request(ctx context.Context, method, path, body string, hs header) *http.Request {
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(ctx, method, "http://localhost:8420"+path, b)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Accept", "application/json, text/event-stream")
	hs.apply(r)
	return r
}

func send(h http.Handler, method, path, body string, hs header) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request(context.Background(), method, path, body, hs))
	return w
}

const envelopeMeta = `"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}`

// modernCall is a correct modern request and its headers. params are the members
// of params besides _meta; meta those of _meta besides the required ones.
func modernCall(id, method, params, meta string) (string, header) {
	if params != "" {
		params += ","
	}
	if meta != "" {
		meta = "," + meta
	}
	body := `{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `","params":{` + params + `"_meta":{` + envelopeMeta + meta + `}}}`
	hs := header{"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: " + method}
	var p struct {
		Params struct{ Name, URI, TaskID string }
	}
	_ = json.Unmarshal([]byte(body), &p)
	if name := p.Params.Name + p.Params.URI + p.Params.TaskID; name != "" {
		hs = append(hs, "Mcp-Name: "+name)
	}
	return body, hs
}

func sendModern(h http.Handler, path, id, method, params, meta string) *httptest.ResponseRecorder {
	body, hs := modernCall(id, method, params, meta)
	return send(h, http.MethodPost, path, body, hs)
}

// initialize opens a legacy session and returns the headers of its requests.
func initialize(t testing.TB, h http.Handler, path, version, capabilities string) header {
	t.Helper()
	w := send(h, http.MethodPost, path, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"`+version+
		`","capabilities":`+capabilities+`,"clientInfo":{"name":"test","version":"1"}}}`, nil)
	if w.Code != http.StatusOK {
		t.Fatalf("initialize: %d %s", w.Code, w.Body)
	}
	return header{"Mcp-Session-Id: " + w.Header().Get("Mcp-Session-Id"), "MCP-Protocol-Version: " + version}
}

func legacyCall(id, method, params string) string {
	if params != "" {
		params = `,"params":` + params
	}
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `"` + params + `}`
}

// errorOf reads the one JSON-RPC error of an answer.
func errorOf(t testing.TB, w *httptest.ResponseRecorder) (code int, message string, id string) {
	t.Helper()
	var m struct {
		ID    wire.Raw
		Error *struct {
			Code    int
			Message string
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || m.Error == nil {
		t.Fatalf("not one JSON-RPC error: %d %q", w.Code, w.Body)
	}
	return m.Error.Code, m.Error.Message, string(m.ID)
}

// events reads the events of a stream that has ended.
func events(t testing.TB, body io.Reader) []wire.Event {
	t.Helper()
	var out []wire.Event
	r := wire.NewEventReader(body, 0)
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		ev.Data = append([]byte(nil), ev.Data...)
		out = append(out, ev)
	}
}

func data(evs []wire.Event) []string {
	out := make([]string, len(evs))
	for i, ev := range evs {
		out[i] = string(ev.Data)
	}
	return out
}

// browser is a streaming HTTP client of a Handler without a network: what the
// handler writes can be read while it runs.
type browser struct {
	status int
	header http.Header
	events *wire.EventReader
	hangup context.CancelFunc
	done   chan struct{}
	pipe   *io.PipeReader
}

type pipeWriter struct {
	h     http.Header
	w     *io.PipeWriter
	begun chan struct{}
	once  sync.Once
	code  int
}

func (p *pipeWriter) Header() http.Header { return p.h }
func (p *pipeWriter) Flush()              {}
func (p *pipeWriter) WriteHeader(code int) {
	p.once.Do(func() { p.code = code; close(p.begun) })
}

func (p *pipeWriter) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	return p.w.Write(b)
}

// dial sends a request whose answer is read as it comes.
func dial(h http.Handler, method, path, body string, hs header) *browser {
	ctx, cancel := context.WithCancel(context.Background())
	pr, pw := io.Pipe()
	w := &pipeWriter{h: make(http.Header), w: pw, begun: make(chan struct{})}
	c := &browser{hangup: func() { cancel(); _ = pr.Close() }, done: make(chan struct{}), pipe: pr, header: w.h}
	go func() {
		defer close(c.done)
		defer func() { _ = pw.Close() }()
		h.ServeHTTP(w, request(ctx, method, path, body, hs))
		w.WriteHeader(http.StatusOK)
	}()
	<-w.begun
	c.status = w.code
	c.events = wire.NewEventReader(pr, 0)
	return c
}

// next reads the next event.
func (c *browser) next(t testing.TB) wire.Event {
	t.Helper()
	ev, err := c.events.Next()
	if err != nil {
		t.Fatalf("no next event: %v", err)
	}
	ev.Data = append([]byte(nil), ev.Data...)
	return ev
}

// message reads the next event that carries a message.
func (c *browser) message(t testing.TB) string {
	t.Helper()
	for {
		if ev := c.next(t); len(ev.Data) > 0 {
			return string(ev.Data)
		}
	}
}

// wantEnd checks that the stream ends here.
func (c *browser) wantEnd(t testing.TB) {
	t.Helper()
	if ev, err := c.events.Next(); !errors.Is(err, io.EOF) {
		t.Fatalf("the stream goes on: %q %v", ev.Data, err)
	}
	<-c.done
	c.hangup()
}

// leave hangs up.
func (c *browser) leave() {
	c.hangup()
	<-c.done
}

func users(r *http.Request) (jackfield.Principal, error) {
	name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return jackfield.Principal{}, jackfield.Errorf(jackfield.AuthRequired, "who are you?")
	}
	return jackfield.Principal{Subject: name}, nil
}
