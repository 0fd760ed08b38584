package tenants

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/authn"
	"github.com/jackfield-dev/jackfield/internal/pgtest"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

// within waits until ok says that it is so.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); pause(t, 10*time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// ready is what /readyz says.
func (h *house) readyz() (int, string) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.url+"/readyz", http.NoBody)
	if err != nil {
		h.t.Fatal(err)
	}
	resp, err := h.http.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// makeKey makes an API key in the store for somebody, and has the houses know it.
func makeKey(t *testing.T, at *house, who string, houses ...*house) {
	t.Helper()
	text := at.must("root", http.MethodPost, "/keys", "", fmt.Sprintf(`{"name":"of %s","user":%q}`, who, who))
	var made struct{ Secret, Key string }
	if err := json.Unmarshal([]byte(text), &made); err != nil {
		t.Fatal(err)
	}
	secret := made.Key
	if !strings.HasPrefix(secret, "jf_") {
		secret = made.Secret
	}
	if !strings.HasPrefix(secret, "jf_") {
		t.Fatalf("no key in %s", text)
	}
	for _, h := range houses {
		h.keys[who] = secret
	}
}

// TestTheDatabaseIsAwayForAWhile: what was loaded goes on in force, whoever wants to
// change something is told why that cannot be, and what another replica writes
// afterwards arrives.
func TestTheDatabaseIsAwayForAWhile(t *testing.T) {
	database := pgtest.Start(t)
	dsn := database.DSN(t)
	key, _, _ := authn.NewKey()
	one, other := replica(t, dsn, "", key), replica(t, dsn, "", key)
	server := upstreamtest.New(t, upstreamtest.Script{})
	define := fmt.Sprintf(`{"name":"kept","scope":"app","definition":{"url":%q}}`, server.Endpoint().URL)
	one.must("root", http.MethodPost, "/users", "", `{"subject":"alice"}`)
	one.must("root", http.MethodPost, "/servers", "", define)
	makeKey(t, one, "alice", one, other)
	call := func(h *house) error {
		_, err := h.call(t.Context(), "alice", "kept", "echo", `{"text":"x"}`)
		return err
	}
	within(t, "calls on both replicas", func() bool { return call(one) == nil && call(other) == nil })

	stopped := true
	database.Stop(t)
	t.Cleanup(func() {
		if stopped {
			database.Start(t) // it is that of the other tests as well
		}
	})
	within(t, "/readyz says degraded", func() bool {
		status, text := one.readyz()
		if status != http.StatusOK {
			t.Fatalf("/readyz: %d %s", status, text)
		}
		return strings.Contains(text, "degraded")
	})
	for _, h := range []*house{one, other} {
		if err := call(h); err != nil {
			t.Errorf("a call without the database: %v", err)
		}
	}
	for _, path := range []string{"/servers", "/servers/kept", "/definitions", "/keys", "/users", "/me"} {
		if status, _, text := one.rest("root", http.MethodGet, path, "", nil); status != http.StatusOK {
			t.Errorf("GET %s: %d %s", path, status, text)
		}
	}
	for _, w := range []struct{ method, path, match, body string }{
		{http.MethodPost, "/servers", "", strings.Replace(define, "kept", "late", 1)},
		{http.MethodPut, "/servers/kept?scope=app", "*", `{"definition":{"url":"https://example.com/mcp"}}`},
		{http.MethodDelete, "/servers/kept?scope=app", "*", ""},
		{http.MethodPost, "/keys", "", `{"name":"late","user":"alice"}`},
		{http.MethodPost, "/teams", "", `{"id":"late"}`},
	} {
		var body any
		if w.body != "" {
			body = w.body
		}
		status, _, text := one.rest("root", w.method, w.path, w.match, body)
		if status != http.StatusServiceUnavailable || !strings.Contains(text, "database") {
			t.Errorf("%s %s: %d %s", w.method, w.path, status, text)
		}
	}

	database.Start(t)
	stopped = false
	within(t, "a write after the return", func() bool {
		status, _, _ := other.rest("root", http.MethodPost, "/servers", "", strings.Replace(define, "kept", "after", 1))
		return status == http.StatusCreated || status == http.StatusConflict
	})
	within(t, "the edit of the other replica arrives", func() bool {
		status, _, _ := one.rest("root", http.MethodGet, "/servers/after", "", nil)
		return status == http.StatusOK
	})
	within(t, "/readyz says nothing any more", func() bool {
		_, text := one.readyz()
		return !strings.Contains(text, "degraded")
	})
	if err := call(one); err != nil {
		t.Errorf("a call after the return: %v", err)
	}
}

// asked is a tools/call of a caller who can be asked, which gives back the answer as
// it came.
func (h *house) asked(ctx context.Context, who, path, tool, arguments, more string) (string, error) {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s%s,"_meta":{"io.modelcontextprotocol/protocolVersion":%q,`+
		`"io.modelcontextprotocol/clientInfo":{"name":"tenants","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{}}}}}}`,
		h.last.Add(1), tool, arguments, more, exchange.Modern)
	return h.raw(ctx, who, path, "tools/call", tool, body, nil)
}

// raw sends a modern request as it is, and gives back the answer as it came. heard is
// called when a subscription is confirmed.
func (h *house) raw(ctx context.Context, who, path, method, name, body string, heard func()) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set(wire.HeaderProtocolVersion, exchange.Modern)
	r.Header.Set(wire.HeaderMethod, method)
	if name != "" {
		r.Header.Set(wire.HeaderName, name)
	}
	h.sign(r, who)
	resp, err := h.http.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var text strings.Builder
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		text.WriteString(lines.Text() + "\n")
		if heard != nil && strings.Contains(lines.Text(), "acknowledged") {
			heard()
		}
	}
	return text.String(), lines.Err()
}

// TestWhatIsOpenEndsWithItsServer: a server is removed while somebody listens to it,
// somebody's call waits for an answer of its caller, and another one works. Each ends
// at once, and says whose end it was.
func TestWhatIsOpenEndsWithItsServer(t *testing.T) {
	for name, filter := range map[string]string{
		"lists":     `{"toolsListChanged":true}`,
		"resources": `{"resourceSubscriptions":["test://one"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			server := upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy})
			h := open(t, "egress: {allow: [127.0.0.1]}\nmcpServers: {}\n", member{subject: "root", role: "admin"})
			h.must("root", http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":"leaves","scope":"app","definition":{"url":%q,"timeout":"15m"}}`, server.Endpoint().URL))
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()

			asks, err := h.asked(ctx, "root", "/mcp/leaves", "ask", `{"times":1}`, "")
			if err != nil || !strings.Contains(asks, "input_required") {
				t.Fatalf("%v %s", err, asks)
			}
			var parked struct {
				Result struct {
					State  json.RawMessage            `json:"requestState"`
					Inputs map[string]json.RawMessage `json:"inputRequests"`
				}
			}
			if err = json.Unmarshal([]byte(asks), &parked); err != nil {
				t.Fatal(err)
			}
			type end struct{ what, text string }
			ends := make(chan end, 2)
			var open sync.WaitGroup
			defer open.Wait()
			defer cancel()
			begin := func(what string, f func() (string, error)) {
				open.Go(func() {
					text, broken := f()
					if broken != nil {
						text = "broken off: " + broken.Error()
					}
					ends <- end{what, text}
				})
			}
			listens := make(chan struct{})
			begin("the call", func() (string, error) {
				return h.asked(ctx, "root", "/mcp/leaves", "slow", `{"ms":600000}`, "")
			})
			begin("the subscription", func() (string, error) {
				return h.raw(ctx, "root", "/mcp/leaves", "subscriptions/listen", "", fmt.Sprintf(`{"jsonrpc":"2.0","id":"l","method":"subscriptions/listen",`+
					`"params":{"notifications":%s,"_meta":{"io.modelcontextprotocol/protocolVersion":%q,"io.modelcontextprotocol/clientInfo":{"name":"tenants","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`,
					filter, exchange.Modern), func() { close(listens) })
			})
			select {
			case <-listens:
			case <-ctx.Done():
				t.Fatal("nobody listens")
			}
			within(t, "the call is there", func() bool { return server.Count("tools/call") == 2 })
			_, header, _ := h.rest("root", http.MethodGet, "/servers/leaves", "", nil)
			h.must("root", http.MethodDelete, "/servers/leaves?scope=app", header.Get("ETag"), nil)
			began := time.Now()
			for range 2 {
				select {
				case e := <-ends:
					t.Logf("%s ended after %v: %s", e.what, time.Since(began).Round(time.Millisecond), e.text)
					if !strings.Contains(e.text, "leaves") || !strings.Contains(e.text, `"error"`) {
						t.Errorf("%s ended with %s", e.what, e.text)
					}
				case <-ctx.Done():
					t.Fatal("something did not end")
				}
			}
			answers := make([]string, 0, 1)
			for key := range parked.Result.Inputs {
				answers = append(answers, fmt.Sprintf(`%q:{"action":"accept","content":{}}`, key))
			}
			text, err := h.asked(ctx, "root", "/mcp/leaves", "ask", `{"times":1}`, fmt.Sprintf(`,"inputResponses":{%s},"requestState":%s`, strings.Join(answers, ","), parked.Result.State))
			if err != nil || !strings.Contains(text, "leaves") || !strings.Contains(text, `"error"`) {
				t.Errorf("the parked call ended with %v %s", err, text)
			}
		})
	}
}

// TestWhatWasAcknowledgedOutlivesAKill: a gateway is killed in the middle of writes
// over REST. What it had confirmed is there when it is started again.
func TestWhatWasAcknowledgedOutlivesAKill(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			dir := t.TempDir()
			key, _, hash := authn.NewKey()
			storeAt := ""
			if engine == "postgres" {
				storeAt = fmt.Sprintf("store: {url: %q}\n", pgtest.Start(t).DSN(t))
			}
			path := filepath.Join(dir, "jackfield.yaml")
			config := fmt.Sprintf("listen: 127.0.0.1:0\ndata: %s\n%sauth: {keys: [{name: root, hash: %q, role: admin}]}\nmcpServers: {}\n", filepath.Join(dir, "data"), storeAt, hash)
			if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			acknowledged := map[string]bool{}
			for round := range 3 {
				h, kill := killable(t, path)
				h.keys["root"] = key.Reveal()
				for team := range acknowledged {
					if status, _, text := h.rest("root", http.MethodGet, "/teams/"+team, "", nil); status != http.StatusOK {
						t.Fatalf("%s was acknowledged, and is %d %s", team, status, text)
					}
				}
				var mu sync.Mutex
				count := 0
				var writers sync.WaitGroup
				for w := range 4 {
					writers.Go(func() {
						for i := 0; ; i++ {
							team := fmt.Sprintf("t%d-%d-%d", round, w, i)
							status, err := h.tryPost(t.Context(), "root", "/teams", fmt.Sprintf(`{"id":%q}`, team))
							if err != nil || status != http.StatusCreated {
								return // it is dead
							}
							mu.Lock()
							acknowledged[team] = true
							if count++; count == 40 {
								kill()
							}
							mu.Unlock()
						}
					})
				}
				writers.Wait()
				if count < 40 {
					t.Fatalf("only %d writes:\n%s", count, h.log)
				}
			}
			h, kill := killable(t, path)
			defer kill()
			h.keys["root"] = key.Reveal()
			for team := range acknowledged {
				if status, _, text := h.rest("root", http.MethodGet, "/teams/"+team, "", nil); status != http.StatusOK {
					t.Errorf("%s was acknowledged, and is %d %s", team, status, text)
				}
			}
			t.Logf("%d writes were acknowledged", len(acknowledged))
		})
	}
}

// killable starts a gateway in a process of its own, to be killed.
func killable(t *testing.T, config string) (h *house, kill func()) {
	t.Helper()
	h = &house{t: t, keys: map[string]string{}, log: &lines{}, http: &http.Client{Transport: &http.Transport{}}}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), asReplica+"="+config)
	child.Stderr = h.log
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = child.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() { _ = child.Process.Kill() })
	t.Cleanup(func() {
		kill()
		_ = child.Wait() // it says that it was killed
		h.http.CloseIdleConnections()
	})
	buffer := make([]byte, 256)
	n, err := out.Read(buffer)
	if err != nil {
		t.Fatalf("the gateway did not start: %v\n%s", err, h.log)
	}
	h.url = strings.TrimSpace(string(buffer[:n]))
	return h, kill
}

// tryPost posts to a gateway that may be dead.
func (h *house) tryPost(ctx context.Context, who, path, body string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	h.sign(r, who)
	resp, err := h.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err = io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}

// TestASecretThatChangesIsFollowedFromTheStart: the definition stands in the file, and
// no other is ever changed.
func TestASecretThatChangesIsFollowedFromTheStart(t *testing.T) {
	server := upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy})
	path := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("the first")
	h := open(t, fmt.Sprintf("mcpServers:\n  rotates: {url: %q, headers: {X-Key: \"${file:%s}\"}}\n", server.Endpoint().URL, path), member{subject: "root", role: "admin"})
	call := func() {
		t.Helper()
		if _, err := h.call(t.Context(), "root", "rotates", "echo", `{"text":"x"}`); err != nil {
			t.Fatal(err)
		}
	}
	call()
	before := server.Count("initialize")
	write("the second")
	within(t, "a connection made with the new secret", func() bool {
		call()
		return server.Count("initialize") > before
	})
}

// TestWhoListensAfterARestartHearsOfWhatIsNew: the log of the time before is no news.
func TestWhoListensAfterARestartHearsOfWhatIsNew(t *testing.T) {
	dir := t.TempDir()
	key, _, hash := authn.NewKey()
	path := filepath.Join(dir, "jackfield.yaml")
	config := fmt.Sprintf("listen: 127.0.0.1:0\ndata: %s\nauth: {keys: [{name: root, hash: %q, role: admin}]}\nmcpServers: {}\n", filepath.Join(dir, "data"), hash)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		h, kill := killable(t, path)
		h.keys["root"] = key.Reveal()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url+"/api/v1/events", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		h.sign(r, "root")
		resp, err := h.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		events := bufio.NewScanner(resp.Body)
		next := func(kind string) string {
			t.Helper()
			for events.Scan() {
				if events.Text() == "event: "+kind && events.Scan() {
					return events.Text()
				}
			}
			t.Fatalf("no %s: %v\n%s", kind, events.Err(), h.log)
			return ""
		}
		if hello := next("hello"); round == 1 && !strings.Contains(hello, `"number":3`) {
			t.Errorf("hello: %s", hello)
		}
		for i := range 3 {
			team := fmt.Sprintf("t%d-%d", round, i)
			h.must("root", http.MethodPost, "/teams", "", fmt.Sprintf(`{"id":%q}`, team))
			if got := next("change"); !strings.Contains(got, team) {
				t.Fatalf("told %s, want %s", got, team)
			}
		}
		cancel()
		_ = resp.Body.Close()
		kill()
	}
}

// TestWhoListensDoesNotHoldUpTheEnd: a stream of events is open when the gateway ends.
func TestWhoListensDoesNotHoldUpTheEnd(t *testing.T) {
	h := open(t, "mcpServers: {}\n", member{subject: "root", role: "admin"})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+"/api/v1/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	h.sign(r, "root")
	resp, err := h.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err = resp.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience/3)
	defer cancel()
	if err = h.app.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if ctx.Err() != nil {
		t.Error("Stop waited for whoever listens")
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(text), "shut") {
		t.Errorf("the stream ended with %v and %s", err, text)
	}
}

// TestAnOlderDatabaseIsPutBackWhileReplicasRun: a dump of before is restored in place.
// What came after it is as if it had never been.
func TestAnOlderDatabaseIsPutBackWhileReplicasRun(t *testing.T) {
	database := pgtest.Start(t)
	dsn := database.DSN(t)
	key, _, _ := authn.NewKey()
	h := replica(t, dsn, "", key)
	before, after := upstreamtest.New(t, upstreamtest.Script{}), upstreamtest.New(t, upstreamtest.Script{})
	h.must("root", http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":"moved","scope":"app","definition":{"url":%q}}`, before.Endpoint().URL))
	h.must("root", http.MethodPost, "/users", "", `{"subject":"alice","role":"admin"}`)
	makeKey(t, h, "alice", h)
	database.SQL(t, dsn, "CREATE TABLE dumped AS TABLE records; CREATE TABLE dumped_log AS TABLE change_log; CREATE TABLE dumped_head AS TABLE change_head")
	h.must("root", http.MethodPut, "/servers/moved?scope=app", "*", fmt.Sprintf(`{"definition":{"url":%q}}`, after.Endpoint().URL))
	h.must("root", http.MethodPost, "/users", "", `{"subject":"bob"}`)
	makeKey(t, h, "bob", h)
	call := func(who string) error {
		_, err := h.call(t.Context(), who, "moved", "echo", `{"text":"x"}`)
		return err
	}
	if err := errors.Join(call("alice"), call("bob")); err != nil || after.Count("tools/call") != 2 {
		t.Fatal(err)
	}
	database.SQL(t, dsn, `BEGIN; DELETE FROM records; DELETE FROM change_log; DELETE FROM change_head;
		INSERT INTO records TABLE dumped; INSERT INTO change_log TABLE dumped_log; INSERT INTO change_head TABLE dumped_head; COMMIT`)
	within(t, "calls arrive where the older definition leads", func() bool { return call("alice") == nil && before.Count("tools/call") > 0 })
	if err := call("bob"); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a key that the older database does not have: %v", err)
	}
}
