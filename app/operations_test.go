package app

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

// get reads a page of a gateway, as whoever sends that Host and token.
func get(t *testing.T, at, host, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestAServerThatIsDownMakesTheGatewayDegradedAndNeverRed(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	down := jackfield.Server{Name: "down", Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: gone.URL}}
	h := start(t, &Config{}, server("up", upstreamtest.New(t, upstreamtest.Script{})), down, jackfield.Server{Name: "bad", Invalid: "?"})
	if _, failed := h.ask("/mcp/down", "tools/call", `{"name":"x"}`); failed == nil {
		t.Fatal("the server that is down answered")
	}
	code, text := get(t, h.URL()+"/readyz", "10.1.2.3:8420", "")
	var ready api.ReadyAnswer
	if err := json.Unmarshal([]byte(text), &ready); err != nil || code != http.StatusOK || ready.Status != api.Degraded {
		t.Fatalf("%d %s", code, text)
	}
	if len(ready.Reasons) != 2 || !strings.HasPrefix(ready.Reasons[0], "1 of 3 servers cannot be reached") || !strings.HasPrefix(ready.Reasons[1], "1 of 3 servers have definitions") {
		t.Errorf("%q", ready.Reasons)
	}
	h.mu.Lock()
	good := h.config
	h.config = nil
	h.mu.Unlock()
	_ = h.Reload()
	if _, text := get(t, h.URL()+"/readyz", "", ""); !strings.Contains(text, "the configuration has errors") {
		t.Error(text)
	}
	h.mu.Lock()
	h.config = good
	h.mu.Unlock()
}

func TestAServerThatIsResetIsListedByTheNextCallAlsoIfItNeverWas(t *testing.T) {
	up := upstreamtest.New(t, upstreamtest.Script{})
	up.Fault(upstreamtest.Fault{Method: http.MethodPost, Status: http.StatusUnauthorized})
	h := start(t, &Config{}, server("a", up))
	if text, failed := h.ask("/mcp", "tools/call", `{"name":"a__echo"}`); failed != nil || !strings.Contains(string(text), `"isError":true`) {
		t.Fatalf("a server that wants a sign-in answered %s %v", text, failed)
	}
	up.Heal()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL()+"/api/v1/servers/a/reset", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if text, failed := h.ask("/mcp", "tools/call", `{"name":"a__echo"}`); failed != nil || strings.Contains(string(text), `"isError":true`) {
		t.Errorf("%s %v", text, failed)
	}
}

func TestMetricsAreForWhoMayUseTheAPIOrAtAnAddressOfTheirOwn(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	h := start(t, &Config{Auth: Auth{Token: token}}, server("a", upstreamtest.New(t, upstreamtest.Script{})))
	if code, _ := get(t, h.URL()+"/metrics", "", ""); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", code)
	}
	if code, _ := get(t, h.URL()+"/metrics", "evil.example", token); code != http.StatusForbidden {
		t.Errorf("for another host: %d", code)
	}
	if code, text := get(t, h.URL()+"/metrics", "", token); code != http.StatusOK || !strings.Contains(text, `jackfield_refused_total{status="401"}`) && !strings.Contains(text, `jackfield_connections{server="a",state="ready"}`) {
		t.Errorf("%d %s", code, text)
	}
	if _, text := get(t, h.URL()+"/metrics", "", token); !strings.Contains(text, "jackfield_limit{limit=\"limits.connections.total\"} 4096\n") || !strings.Contains(text, "jackfield_limit{limit=\"limits.sessions.total\"} 50000\n") {
		t.Error("the limits in force are not told")
	}
	own := start(t, &Config{Metrics: Metrics{Listen: "127.0.0.1:0"}}, server("a", upstreamtest.New(t, upstreamtest.Script{})))
	own.call("/mcp/a", "echo", `{}`)
	if code, _ := get(t, own.URL()+"/metrics", "", ""); code != http.StatusNotFound {
		t.Errorf("it is at the old place too: %d", code)
	}
	if code, text := get(t, "http://"+own.scraped.Addr().String()+"/metrics", "10.0.0.1:9420", ""); code != http.StatusOK || !strings.Contains(text, `jackfield_calls_total{outcome="ok",server="a"} 1`) {
		t.Errorf("%d %s", code, text)
	}
	if code, _ := get(t, "http://"+own.scraped.Addr().String()+"/metrics", "evil.example:9420", ""); code != http.StatusForbidden {
		t.Errorf("under a name that was rebound: %d", code)
	}
}

func TestStoppingLetsCallsUnderWayEnd(t *testing.T) {
	up := upstreamtest.New(t, upstreamtest.Script{})
	h := start(t, &Config{}, server("a", up))
	got := make(chan string, 1)
	go func() {
		defer close(got)
		got <- h.call("/mcp/a", "slow", `{"ms":1500}`)
	}()
	up.Wait(t, "tools/call", 1)
	stopped := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	go func() { stopped <- h.Stop(ctx) }()
	for {
		if code, text := get(t, h.URL()+"/readyz", "", ""); code == http.StatusServiceUnavailable {
			if !strings.Contains(text, `"draining"`) {
				t.Error(text)
			}
			break
		}
	}
	if _, failed := h.ask("/mcp/a", "tools/call", `{"name":"echo"}`); failed == nil || !strings.Contains(failed.Message, "shutting down; try again") {
		t.Errorf("a new call: %v", failed)
	}
	if result := <-got; !strings.Contains(result, "content") {
		t.Error(result)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if log := h.logs.String(); !strings.Contains(log, "msg=stopped") || !strings.Contains(log, "cut=0") {
		t.Error(log)
	}
}

func TestStoppingCutsWhatTakesTooLongAndSaysSo(t *testing.T) {
	for name, c := range map[string]struct {
		limit time.Duration
		hurry bool // the second signal
	}{
		"in time":         {limit: 50 * time.Millisecond},
		"a second signal": {limit: time.Hour, hurry: true},
	} {
		t.Run(name, func(t *testing.T) {
			up := upstreamtest.New(t, upstreamtest.Script{})
			h := start(t, &Config{Limits: Limits{Stop: c.limit}}, server("a", up))
			got := make(chan *wire.Error, 1)
			go func() {
				defer close(got)
				_, failed := h.ask("/mcp/a", "tools/call", `{"name":"slow","arguments":{"ms":60000}}`)
				got <- failed
			}()
			up.Wait(t, "tools/call", 1)
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			if c.hurry {
				cancel()
			}
			if err := h.Stop(ctx); err != nil && !c.hurry {
				t.Error(err)
			}
			if failed := <-got; failed == nil || !strings.Contains(failed.Message, "the gateway was shut down before this was answered") {
				t.Errorf("%v", failed)
			}
			if log := h.logs.String(); !strings.Contains(log, "calls are cut") || !strings.Contains(log, "cut=1") {
				t.Error(log)
			}
		})
	}
}

// traces is a collector that keeps spans.
type traces struct {
	mu    sync.Mutex
	spans []*otlp.Span
}

func (c *traces) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var sent collector.ExportTraceServiceRequest
	if r.URL.Path == "/v1/traces" && proto.Unmarshal(body, &sent) == nil {
		c.mu.Lock()
		for _, of := range sent.GetResourceSpans() {
			for _, in := range of.GetScopeSpans() {
				c.spans = append(c.spans, in.GetSpans()...)
			}
		}
		c.mu.Unlock()
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *traces) named(name string) *otlp.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.GetName() == name {
			return s
		}
	}
	return nil
}

// told is what a server was told of traces, by method.
type told struct {
	mu           sync.Mutex
	header, meta map[string]string
}

func TestOneTraceJoinsClientGatewayAndServer(t *testing.T) {
	kept := &traces{}
	at := httptest.NewServer(kept)
	defer at.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", at.URL+"/v1/traces")
	for _, era := range []upstreamtest.Era{upstreamtest.Modern, upstreamtest.Legacy} {
		t.Run(string(era), func(t *testing.T) {
			up := upstreamtest.New(t, upstreamtest.Script{Era: era})
			saw := &told{header: map[string]string{}, meta: map[string]string{}}
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
				var m struct {
					Method string
					Params struct {
						Meta struct{ Traceparent string } `json:"_meta"`
					}
				}
				if json.Unmarshal(body, &m) == nil && m.Method != "" {
					saw.mu.Lock()
					saw.header[m.Method], saw.meta[m.Method] = r.Header.Get("Traceparent"), m.Params.Meta.Traceparent
					saw.mu.Unlock()
				}
				up.ServeHTTP(w, r)
			}))
			t.Cleanup(front.Close)
			s := server(string(era), up)
			address, err := url.Parse(s.Endpoint.URL)
			if err != nil {
				t.Fatal(err)
			}
			s.Endpoint.URL = front.URL + address.Path
			h := start(t, &Config{}, s)
			const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
			h.traced(fmt.Sprintf("00-%s-%s-01", trace, parent), string(era))
			if err := h.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			span := kept.named("tools/call echo")
			if span == nil || hex.EncodeToString(span.GetTraceId()) != trace || hex.EncodeToString(span.GetParentSpanId()) != parent {
				t.Fatalf("%v", span)
			}
			want := fmt.Sprintf("00-%s-%x-01", trace, span.GetSpanId())
			if saw.header["tools/call"] != want || saw.meta["tools/call"] != want {
				t.Errorf("the server was told %q and %q, not %q", saw.header["tools/call"], saw.meta["tools/call"], want)
			}
			for _, name := range []string{"dial " + string(era), "list " + string(era)} {
				if s := kept.named(name); s == nil || len(s.GetParentSpanId()) > 0 {
					t.Errorf("%s: %v", name, s)
				}
			}
			kept.mu.Lock()
			kept.spans = nil
			kept.mu.Unlock()
		})
	}
}

// traced calls echo with a trace context in the HTTP headers.
func (h *house) traced(traceparent, server string) {
	h.t.Helper()
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{},` + meta + `}}`
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.URL()+"/mcp/"+server, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Traceparent": traceparent,
		wire.HeaderProtocolVersion: "2026-07-28", wire.HeaderMethod: "tools/call", wire.HeaderName: "echo",
	} {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		h.t.Fatalf("%d %s", resp.StatusCode, text)
	}
}

func TestAGatewayThatCannotBeLeavesNothingBehind(t *testing.T) {
	data := t.TempDir()
	first, err := New(Options{Config: &Config{Data: data}})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	before := goleak.IgnoreCurrent()
	if _, err = New(Options{Config: &Config{Data: data}}); err == nil {
		t.Error("two gateways have one data directory")
	}
	goleak.VerifyNone(t, before)
	if err = first.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	if _, err = New(Options{Config: &Config{Data: data}}); err == nil {
		t.Error("a protocol that is not spoken is taken")
	}
	t.Setenv("OTEL_SDK_DISABLED", "true")
	last, err := New(Options{Config: &Config{Data: data}})
	if err != nil {
		t.Fatalf("the data directory is still somebody's: %v", err)
	}
	if err := last.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestATelemetryVariableThatIsNotUnderstoodIsSaid(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	if _, err := New(Options{Config: &Config{Data: t.TempDir()}}); jackfield.CodeOf(err) != jackfield.Invalid || !strings.Contains(err.Error(), "http/protobuf") {
		t.Error(err)
	}
}
