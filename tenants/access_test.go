package tenants

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

// company is a gateway with an admin, an editor and two users, and a server that the
// configuration has for everybody.
func company(t testing.TB) (*house, *upstreamtest.Server) {
	t.Helper()
	s := upstreamtest.New(t, upstreamtest.Script{})
	h := open(t, fmt.Sprintf("egress: {allow: [127.0.0.1]}\nmcpServers:\n  shared: {url: %s}\n", s.Endpoint().URL),
		member{subject: "root", role: "admin"}, member{subject: "ed", teams: []string{"data"}, role: "editor"}, member{subject: "ann", teams: []string{"data"}}, member{subject: "bob"})
	h.must("root", http.MethodPost, "/teams", "", `{"id":"data"}`)
	return h, s
}

// sees reports whether somebody's list has tools of a server.
func (h *house) sees(ctx context.Context, who, server string) bool {
	return slices.ContainsFunc(h.tools(ctx, who), func(name string) bool { return strings.HasPrefix(name, server+"__") })
}

func TestADefinitionIsSeenByThoseInItsScopeOnly(t *testing.T) {
	h, s := company(t)
	url := s.Endpoint().URL
	define := func(who, scope, name string) {
		t.Helper()
		h.must(who, http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":%q,"scope":%q,"definition":{"url":%q}}`, name, scope, url))
	}
	define("root", "app", "everybody")
	define("ed", "team:data", "teams")
	define("ann", "user:me", "hers")
	for _, c := range []struct {
		who  string
		sees []string
	}{
		{"root", []string{"shared", "everybody"}},
		{"ed", []string{"shared", "everybody", "teams"}},
		{"ann", []string{"shared", "everybody", "teams", "hers"}},
		{"bob", []string{"shared", "everybody"}},
	} {
		for _, server := range []string{"shared", "everybody", "teams", "hers"} {
			want := slices.Contains(c.sees, server)
			if got := h.sees(t.Context(), c.who, server); got != want {
				t.Errorf("%s sees %s: %v, not %v", c.who, server, got, want)
			}
			_, err := h.call(t.Context(), c.who, server, "echo", `{"text":"x"}`)
			if want != (err == nil) {
				t.Errorf("%s calls %s: %v", c.who, server, err)
			}
			_, err = h.ask(t.Context(), c.who, "/mcp", "tools/call", server+"__echo", fmt.Sprintf(`"name":"%s__echo","arguments":{"text":"x"}`, server))
			if want != (err == nil) {
				t.Errorf("%s calls %s among all: %v", c.who, server, err)
			}
		}
	}
}

func TestWhoMayDefineWhat(t *testing.T) {
	h, s := company(t)
	for _, c := range []struct {
		who, scope, definition string
		status                 int
	}{
		{"bob", "app", "", http.StatusForbidden},
		{"ann", "team:data", "", http.StatusForbidden},
		{"ed", "team:other", "", http.StatusForbidden},
		{"ed", "app", "", http.StatusForbidden},
		{"bob", "user:ann", "", http.StatusForbidden},
		{"bob", "user:me", `{"command":"true"}`, http.StatusBadRequest},
		{"root", "app", `{"command":"true"}`, http.StatusBadRequest},
		{"bob", "user:me", `{"url":"https://example.com","headers":{"X":"${HOME}"}}`, http.StatusBadRequest},
		{"bob", "user:me", `{"url":"https://example.com","headers":{"X":"{{user.email}}"}}`, http.StatusBadRequest},
		{"bob", "user:me", `{"url":"http://10.0.0.1/mcp"}`, http.StatusBadRequest},
		{"bob", "user:me", fmt.Sprintf(`{"url":%q}`, h.url+"/mcp"), http.StatusBadRequest},
		{"root", "app", fmt.Sprintf(`{"url":%q}`, h.url+"/mcp/shared"), http.StatusBadRequest},
		{"bob", "user:me", "", http.StatusCreated},
	} {
		if c.definition == "" {
			c.definition = fmt.Sprintf(`{"url":%q}`, s.Endpoint().URL)
		}
		status, _, text := h.rest(c.who, http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":"mine","scope":%q,"definition":%s}`, c.scope, c.definition))
		if status != c.status {
			t.Errorf("%s defines %s for %s: %d %s, not %d", c.who, c.definition, c.scope, status, text, c.status)
		}
	}
}

// TestARevokedKeyEndsWhatIsUnderWay: the person listens and waits for a call when the
// key is revoked; both end, and nothing works afterwards.
func TestARevokedKeyEndsWhatIsUnderWay(t *testing.T) {
	h, s := company(t)
	var made struct {
		ID  string `json:"id"`
		Key string `json:"key"`
	}
	if err := json.Unmarshal([]byte(h.must("root", http.MethodPost, "/keys", "", `{"name":"for a while","user":"bob"}`)), &made); err != nil {
		t.Fatal(err)
	}
	h.keys["guest"] = made.Key
	if _, err := h.call(t.Context(), "guest", "shared", "echo", `{"text":"x"}`); err != nil {
		t.Fatal(err)
	}
	h.must("guest", http.MethodGet, "/me", "", nil)

	ended := make(chan error, 2)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() {
		_, err := h.call(ctx, "guest", "shared", "slow", `{"ms":600000}`)
		ended <- err
	}()
	stream := h.listen(ctx, "guest")
	go func() {
		for stream.Scan() {
		}
		ended <- ctx.Err()
	}()
	for began := time.Now(); s.Count("tools/call") < 2; pause(t, 5*time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatal("the call does not arrive")
		}
	}
	h.must("root", http.MethodDelete, "/keys/"+made.ID, "*", nil)
	for range 2 {
		if err := <-ended; ctx.Err() != nil {
			t.Fatalf("the key is revoked, and what it began goes on: %v", err)
		}
	}
	if _, err := h.call(t.Context(), "guest", "shared", "echo", `{"text":"x"}`); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a revoked key: %v", err)
	}
	if _, err := h.call(t.Context(), "bob", "shared", "echo", `{"text":"x"}`); err != nil {
		t.Errorf("bob's other key: %v", err)
	}
}

// listen opens a subscription to changes of lists and waits until it is confirmed.
func (h *house) listen(ctx context.Context, who string) *bufio.Scanner {
	h.t.Helper()
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":"l","method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},"_meta":{"io.modelcontextprotocol/protocolVersion":%q,"io.modelcontextprotocol/clientInfo":{"name":"tenants","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`, exchange.Modern)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+"/mcp", strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set(wire.HeaderProtocolVersion, exchange.Modern)
	r.Header.Set(wire.HeaderMethod, "subscriptions/listen")
	h.sign(r, who)
	resp, err := h.http.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		h.t.Fatal(resp, err)
	}
	h.t.Cleanup(func() { _ = resp.Body.Close() })
	stream := bufio.NewScanner(resp.Body)
	for stream.Scan() {
		if strings.Contains(stream.Text(), "acknowledged") {
			return stream
		}
	}
	h.t.Fatalf("the subscription was not confirmed: %v", stream.Err())
	return nil
}

// TestAnOpenViewHearsOfADefinition: somebody listens; a definition for them comes and
// goes, and each time they are told.
func TestAnOpenViewHearsOfADefinition(t *testing.T) {
	h, s := company(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	h.tools(ctx, "ann") // what was never looked at needs no news
	stream := h.listen(ctx, "ann")
	told := func(what string) {
		t.Helper()
		for stream.Scan() {
			if strings.Contains(stream.Text(), "notifications/tools/list_changed") {
				return
			}
		}
		t.Fatalf("nobody is told that %s: %v", what, stream.Err())
	}
	h.must("ed", http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":"new","scope":"team:data","definition":{"url":%q}}`, s.Endpoint().URL))
	told("a server came")
	for began := time.Now(); !h.sees(ctx, "ann", "new"); pause(t, 5*time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatal("the new server is not listed")
		}
	}
	h.must("ed", http.MethodDelete, "/servers/new?scope=team:data", "*", nil)
	told("it is gone")
	if h.sees(ctx, "ann", "new") {
		t.Error("a removed server is still listed")
	}
}

// TestAMissingKeyOfAPersonIsSaid: a server wants each person's own key. Who has not
// entered it is told where to, by status and call, and what was listed stays.
func TestAMissingKeyOfAPersonIsSaid(t *testing.T) {
	s := upstreamtest.New(t, upstreamtest.Script{Token: "the key of ann"})
	h := open(t, fmt.Sprintf(`mcpServers:
  wants: {url: %q, headers: {Authorization: "Bearer {{var.KEY}}"}, vars: {KEY: {title: "Key of the service", description: "See https://example.com/keys"}}}
`, s.Endpoint().URL), member{subject: "ann"}, member{subject: "bob"})
	said := func(who string) {
		t.Helper()
		status := h.must(who, http.MethodGet, "/servers/wants", "", nil)
		if !strings.Contains(status, `"selectable": false`) || !strings.Contains(status, "Key of the service") || !strings.Contains(status, "jackfield var set wants KEY") {
			t.Errorf("the status does not say what is needed: %s", status)
		}
		text, err := h.call(t.Context(), who, "wants", "echo", `{"text":"x"}`)
		if said := fmt.Sprint(text, err); !strings.Contains(said, "Key of the service") || !strings.Contains(said, "jackfield var set wants KEY") {
			t.Errorf("the call does not say what is needed: %s", said)
		}
	}
	said("ann")
	if n := s.Count("tools/call"); n != 0 {
		t.Errorf("%d calls were sent without the key", n)
	}
	h.must("ann", http.MethodPut, "/servers/wants/variables/KEY", "", `{"value":"the key of ann"}`)
	if _, err := h.call(t.Context(), "ann", "wants", "echo", `{"text":"x"}`); err != nil {
		t.Fatalf("with the key: %v", err)
	}
	if status := h.must("ann", http.MethodGet, "/servers/wants", "", nil); !strings.Contains(status, `"selectable": true`) || strings.Contains(status, "the key of ann") {
		t.Errorf("with the key: %s", status)
	}
	if !h.sees(t.Context(), "ann", "wants") {
		t.Error("with the key nothing is listed")
	}
	said("bob")
	h.must("ann", http.MethodDelete, "/servers/wants/variables/KEY", "*", nil)
	said("ann")
	if !h.sees(t.Context(), "ann", "wants") {
		t.Error("the listing went with the key")
	}
}

// TestADefinitionThatLeadsBackToTheGatewayIsFoundWhenItIsUsed: nothing in the address
// shows it, since something else stands in between.
func TestADefinitionThatLeadsBackToTheGatewayIsFoundWhenItIsUsed(t *testing.T) {
	var to atomic.Pointer[url.URL]
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := to.Load()
		(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(at); p.Out.Host = at.Host }}).ServeHTTP(w, r)
	}))
	defer between.Close()
	h := open(t, fmt.Sprintf("mcpServers:\n  loop: {url: %q, startup: false}\n", between.URL+"/mcp"))
	at, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	to.Store(at)
	text, err := h.call(t.Context(), "", "loop", "echo", `{"text":"x"}`)
	if said := fmt.Sprint(text, err); !strings.Contains(said, "508") {
		t.Errorf("a loop ended with %s", said)
	}
}
