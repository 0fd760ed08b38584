// Package tenants shows whose connection a call uses: many people with keys of
// their own, definitions of the app, of teams and of people, credentials that belong
// to one person and reach nobody else's call. Everything goes through a whole
// gateway, by the ways that people use: configuration, REST and MCP.
package tenants

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jackfield-dev/jackfield/app"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/authn"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestMain(m *testing.M) {
	upstreamtest.RunAsChild()
	if path := os.Getenv(asReplica); path != "" {
		if err := runReplica(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(run{m})
}

// patience is how long anything may take before a test gives up on it.
const patience = 30 * time.Second

// house is a gateway with people.
type house struct {
	t    testing.TB
	app  *app.App
	url  string
	http *http.Client
	keys map[string]string // by subject
	log  *lines
	last atomic.Int64

	// Of a gateway in a process of its own:
	pid   int
	began time.Time
	ready time.Duration // how long it took to start
	end   func()
}

// lines is what was logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// member is somebody with a key in the configuration.
type member struct {
	subject string
	teams   []string
	role    string
	user    string   // empty: subject
	only    []string // servers
}

// open starts a gateway. text is the rest of its configuration file, below auth.
func open(t testing.TB, text string, members ...member) *house {
	t.Helper()
	dir := t.TempDir()
	h := &house{t: t, keys: map[string]string{}, log: &lines{}, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}}}
	var file strings.Builder
	if len(members) > 0 {
		file.WriteString("auth:\n  keys:\n")
	}
	for _, m := range members {
		key, _, hash := authn.NewKey()
		h.keys[m.subject] = key.Reveal()
		fmt.Fprintf(&file, "    - {name: %q, hash: %q, user: %q", m.subject, hash, cmp.Or(m.user, m.subject))
		if len(m.teams) > 0 {
			fmt.Fprintf(&file, ", teams: [%s]", strings.Join(m.teams, ", "))
		}
		if len(m.only) > 0 {
			fmt.Fprintf(&file, ", servers: [%s]", strings.Join(m.only, ", "))
		}
		if m.role != "" {
			fmt.Fprintf(&file, ", role: %s", m.role)
		}
		file.WriteString("}\n")
	}
	file.WriteString(text)
	path := filepath.Join(dir, "jackfield.yaml")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func() (*app.Config, []app.Problem, error) {
		return app.Load(path, app.Overrides{Listen: "127.0.0.1:0", Data: filepath.Join(dir, "data")})
	}
	config, problems, err := load()
	if err != nil {
		t.Fatal(err)
	}
	h.app, err = app.New(app.Options{Config: config, Problems: problems, Reread: load, Log: slog.New(slog.NewTextHandler(h.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.url = h.app.URL()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.app.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
		h.http.CloseIdleConnections()
		if t.Failed() {
			t.Log(h.log)
		}
	})
	return h
}

// send sends a modern request to a path as somebody.
func (h *house) send(ctx context.Context, who, path, method, name, params string) (*http.Response, error) {
	id := h.last.Add(1)
	meta := fmt.Sprintf(`"_meta":{"io.modelcontextprotocol/protocolVersion":%q,"io.modelcontextprotocol/clientInfo":{"name":"tenants","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`, exchange.Modern)
	if params != "" {
		meta = "," + meta
	}
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":{%s%s}}`, id, method, params, meta)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set(wire.HeaderProtocolVersion, exchange.Modern)
	r.Header.Set(wire.HeaderMethod, method)
	if name != "" {
		r.Header.Set(wire.HeaderName, name)
	}
	h.sign(r, who)
	return h.http.Do(r)
}

// ask sends a modern request, and gives back the result or what went wrong.
func (h *house) ask(ctx context.Context, who, path, method, name, params string) (string, error) {
	resp, err := h.send(ctx, who, path, method, name, params)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		for line := range strings.Lines(string(text)) {
			if data, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "data: "); ok && strings.Contains(data, `"id":`) {
				text = []byte(data)
			}
		}
	}
	var answer struct {
		Result json.RawMessage `json:"result"`
		Error  *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return "", fmt.Errorf("%d: %q: %w", resp.StatusCode, text, err)
	}
	if answer.Error != nil {
		return "", fmt.Errorf("%d: %d: %s", resp.StatusCode, answer.Error.Code, answer.Error.Message)
	}
	return string(answer.Result), nil
}

// call calls the tool of a server by its own name.
func (h *house) call(ctx context.Context, who, server, tool, args string) (string, error) {
	return h.ask(ctx, who, "/mcp/"+server, "tools/call", tool, fmt.Sprintf(`"name":%q,"arguments":%s`, tool, args))
}

// tools lists the final names that somebody sees.
func (h *house) tools(ctx context.Context, who string) []string {
	h.t.Helper()
	text, err := h.ask(ctx, who, "/mcp", "tools/list", "", "")
	if err != nil {
		h.t.Fatal(err)
	}
	var list struct {
		Tools []struct {
			Name string `json:"name"`
		} `json:"tools"`
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		h.t.Fatal(err)
	}
	names := make([]string, len(list.Tools))
	for i, tool := range list.Tools {
		names[i] = tool.Name
	}
	return names
}

func (h *house) sign(r *http.Request, who string) {
	if key := h.keys[who]; key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
}

// rest asks the REST API as somebody. match is the revision for If-Match; empty: none.
func (h *house) rest(who, method, path, match string, body any) (status int, header http.Header, answer string) {
	h.t.Helper()
	var reader io.Reader = http.NoBody
	if body != nil {
		text, ok := body.(string)
		if !ok {
			b, err := json.Marshal(body)
			if err != nil {
				h.t.Fatal(err)
			}
			text = string(b)
		}
		reader = strings.NewReader(text)
	}
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.url+"/api/v1"+path, reader)
	if err != nil {
		h.t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if match != "" {
		r.Header.Set("If-Match", match)
	}
	h.sign(r, who)
	resp, err := h.http.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

// must is rest for what has to succeed.
func (h *house) must(who, method, path, match string, body any) string {
	h.t.Helper()
	status, _, text := h.rest(who, method, path, match, body)
	if status < 200 || status > 299 {
		h.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}
