package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestMain(m *testing.M) {
	upstreamtest.RunAsChild()
	runAsGateway()
	goleak.VerifyTestMain(m)
}

// house is a gateway that runs for one test, and what a client says to it.
type house struct {
	*App
	t    *testing.T
	logs *logged
	base string // where it is; empty: where App says

	level string // of the log messages that its client wants; empty: none

	mu     sync.Mutex
	config *Config // what Reread finds
}

// logged is a log that a test can read.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func start(t *testing.T, config *Config, servers ...jackfield.Server) *house {
	t.Helper()
	config.Listen, config.Servers = "127.0.0.1:0", servers
	if config.Data == "" {
		config.Data = t.TempDir()
	}
	h := &house{t: t, logs: &logged{}, config: config}
	var err error
	h.App, err = New(Options{
		Config: config, Version: "1.2.3",
		Log: slog.New(slog.NewTextHandler(h.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Reread: func() (*Config, []Problem, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.config == nil {
				return nil, nil, jackfield.Errorf(jackfield.Invalid, "the configuration has an error")
			}
			return h.config, nil, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := h.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
		if t.Failed() {
			t.Log(h.logs)
		}
	})
	return h
}

// at is where the gateway is.
func (h *house) at() string {
	if h.base != "" {
		return h.base
	}
	return h.URL()
}

// edit changes what the configuration says and reloads it.
func (h *house) edit(change func(*Config)) error {
	h.mu.Lock()
	next := *h.config
	next.Servers = append([]jackfield.Server(nil), next.Servers...)
	change(&next)
	h.config = &next
	h.mu.Unlock()
	return h.Reload()
}

// ask sends one modern request and returns its result or its error.
func (h *house) ask(path, method, params string) (wire.Raw, *wire.Error) {
	h.t.Helper()
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params[:len(params)-1]
	if params != "{}" {
		body += ","
	}
	body += `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	if h.level != "" {
		body = strings.Replace(body, `"_meta":{`, `"_meta":{"io.modelcontextprotocol/logLevel":"`+h.level+`",`, 1)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.at()+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	var named struct{ Name, URI string }
	_ = json.Unmarshal([]byte(params), &named)
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		wire.HeaderProtocolVersion: exchange.Modern, wire.HeaderMethod: method, wire.HeaderName: named.Name + named.URI,
	} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	_ = resp.Body.Close()
	m, err := wire.Parse(text)
	if err != nil {
		h.t.Fatalf("%s: status %d: %v: %s", method, resp.StatusCode, err, text)
	}
	if m.Error != nil {
		return nil, wire.ParseError(m.Error)
	}
	return m.Result, nil
}

// call calls a tool that must succeed and returns the result.
func (h *house) call(path, tool, arguments string) string {
	h.t.Helper()
	result, failed := h.ask(path, "tools/call", `{"name":"`+tool+`","arguments":`+arguments+`}`)
	if failed != nil {
		h.t.Fatalf("%s: %v", tool, failed)
	}
	return string(result)
}

func server(name string, s *upstreamtest.Server) jackfield.Server {
	return jackfield.Server{Name: name, Endpoint: s.Endpoint()}
}

func TestCallsGoThroughToServersOfEveryKind(t *testing.T) {
	var servers []jackfield.Server
	for name, script := range map[string]upstreamtest.Script{
		"modern":      {Era: upstreamtest.Modern},
		"legacy":      {Era: upstreamtest.Legacy},
		"sessionless": {Era: upstreamtest.Sessionless},
		"dual":        {Era: upstreamtest.Dual},
		"sse":         {Era: upstreamtest.Legacy, Transport: jackfield.TransportSSE, Version: exchange.V20241105},
		"child":       {Era: upstreamtest.Modern, Transport: jackfield.TransportStdio},
		"oldchild":    {Era: upstreamtest.Legacy, Transport: jackfield.TransportStdio},
	} {
		servers = append(servers, server(name, upstreamtest.New(t, script)))
	}
	h := start(t, &Config{}, servers...)
	for _, s := range servers {
		t.Run(s.Name, func(t *testing.T) {
			if got := h.call("/mcp/"+s.Name, "echo", `{"text":"hello"}`); !strings.Contains(got, "hello") {
				t.Errorf("through /mcp/%s: %s", s.Name, got)
			}
			if got := h.call("/mcp", s.Name+"__echo", `{"text":"hello"}`); !strings.Contains(got, "hello") {
				t.Errorf("through /mcp: %s", got)
			}
		})
	}
}

func TestAnEditOfATitleDoesNotRedialAnEditOfTheAddressDoes(t *testing.T) {
	one, two := upstreamtest.New(t, upstreamtest.Script{}), upstreamtest.New(t, upstreamtest.Script{})
	h := start(t, &Config{}, server("a", one))
	h.call("/mcp/a", "echo", `{}`)
	dials := one.Count("server/discover")

	if err := h.edit(func(c *Config) { c.Servers[0].About.Title = "Another" }); err != nil {
		t.Fatal(err)
	}
	h.call("/mcp/a", "echo", `{}`)
	if got := one.Count("server/discover"); got != dials {
		t.Errorf("an edit of the title dialed: %d times instead of %d", got, dials)
	}

	if err := h.edit(func(c *Config) { c.Servers[0].Endpoint = two.Endpoint() }); err != nil {
		t.Fatal(err)
	}
	before := one.Count("tools/call")
	h.call("/mcp/a", "echo", `{}`)
	if one.Count("tools/call") != before || two.Count("tools/call") != 1 {
		t.Error("after an edit of the address the call went to the old one")
	}
}

func TestAServerThatIsRemovedIsCutAndOneThatIsAddedIsServed(t *testing.T) {
	one, two := upstreamtest.New(t, upstreamtest.Script{}), upstreamtest.New(t, upstreamtest.Script{})
	h := start(t, &Config{}, server("a", one))
	h.call("/mcp/a", "echo", `{}`)

	slow := make(chan *wire.Error, 1)
	go func() {
		_, failed := h.ask("/mcp/a", "tools/call", `{"name":"slow","arguments":{"ms":60000}}`)
		slow <- failed
	}()
	one.Wait(t, "tools/call", 2)
	if err := h.edit(func(c *Config) { c.Servers = []jackfield.Server{server("b", two)} }); err != nil {
		t.Fatal(err)
	}
	if failed := <-slow; failed == nil || !strings.Contains(failed.Message, "removed") {
		t.Errorf("the call to the removed server ended with %v", failed)
	}
	if _, failed := h.ask("/mcp/a", "tools/list", `{}`); failed == nil || !strings.Contains(failed.Message, `"a"`) {
		t.Errorf("the removed server answers %v", failed)
	}
	h.call("/mcp", "b__echo", `{}`)
}

func TestAReloadThatFailsChangesNothing(t *testing.T) {
	h := start(t, &Config{}, server("a", upstreamtest.New(t, upstreamtest.Script{})))
	h.mu.Lock()
	h.config = nil
	h.mu.Unlock()
	if err := h.Reload(); jackfield.CodeOf(err) != jackfield.Invalid {
		t.Errorf("Reload: %v, want the error of the configuration", err)
	}
	h.call("/mcp", "a__echo", `{}`)
}

func TestOneInvalidServerDoesNotHideTheOthers(t *testing.T) {
	bad := jackfield.Server{Name: "bad", Invalid: "the variable TOKEN is not set"}
	h := start(t, &Config{}, bad, server("good", upstreamtest.New(t, upstreamtest.Script{})))
	h.call("/mcp", "good__echo", `{}`)
	_, failed := h.ask("/mcp/bad", "tools/list", `{}`)
	if failed == nil || !strings.Contains(failed.Message, "TOKEN is not set") {
		t.Errorf("the invalid server answers %v", failed)
	}
}

func TestWithATokenNothingAnswersWithoutIt(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	h := start(t, &Config{Auth: Auth{Token: token}})
	for path, want := range map[string]int{
		"/mcp": http.StatusUnauthorized, "/api/v1/servers": http.StatusUnauthorized, "/healthz": http.StatusOK,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s without a token: status %d, want %d", path, resp.StatusCode, want)
		}
	}
	if strings.Contains(h.logs.String(), token) {
		t.Error("the token was logged")
	}
}

func TestAnAddressInUseIsNamedWithWhatToDo(t *testing.T) {
	h := start(t, &Config{})
	other, err := New(Options{Config: &Config{Listen: h.Addr(), Data: t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	err = other.Start(t.Context())
	if jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("Start on an address in use: %v", err)
	}
	if err := other.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTheKeyIsMadeOnceAndReadByNobodyElse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := loadKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := loadKey(dir)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the second start has another key: %v", err)
	}
	path := filepath.Join(dir, keyFile)
	if runtime.GOOS != "windows" {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the key file: %v, %v", info.Mode(), err)
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := loadKey(dir); jackfield.CodeOf(err) != jackfield.Invalid || !strings.Contains(err.Error(), "0600") {
			t.Errorf("a key that others can read: %v", err)
		}
	}
	if err := os.WriteFile(path, first[:5], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKey(dir); jackfield.CodeOf(err) != jackfield.Invalid {
		t.Errorf("a key that was cut short: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.*.*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestManyStartsAtOnceAgreeOnOneKey(t *testing.T) {
	dir := t.TempDir()
	keys := make([][]byte, 8)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			key, err := loadKey(dir)
			if err != nil {
				t.Error(err)
			}
			keys[i] = key
		})
	}
	all.Wait()
	for _, key := range keys {
		if !bytes.Equal(key, keys[0]) {
			t.Fatal("two starts have two keys")
		}
	}
}
