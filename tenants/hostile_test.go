package tenants

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

// metrics asks for /metrics as somebody.
func (h *house) metrics(who string) (status int, text string) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.url+"/metrics", http.NoBody)
	if err != nil {
		h.t.Fatal(err)
	}
	h.sign(r, who)
	resp, err := h.http.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, string(all)
}

// TestMetricsTellNobodyOfTheServersOfOthers: the labels are the ids of servers, those
// that belong to one person included.
func TestMetricsTellNobodyOfTheServersOfOthers(t *testing.T) {
	h, s := company(t)
	h.must("ann", http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":"diary","definition":{"url":%q}}`, s.Endpoint().URL))
	if _, err := h.call(t.Context(), "ann", "diary", "echo", `{"text":"x"}`); err != nil {
		t.Fatal(err)
	}
	if status, text := h.metrics("bob"); status != http.StatusForbidden || strings.Contains(text, "diary") {
		t.Errorf("bob reads metrics: %d %s", status, text)
	}
	if status, text := h.metrics("root"); status != http.StatusOK || !strings.Contains(text, "diary") {
		t.Errorf("root reads metrics: %d %s", status, text)
	}
}

// TestAKeyForSomeServersIsForThemInTheAPIToo: whoever finds such a key neither reads nor
// changes the other definitions of its user.
func TestAKeyForSomeServersIsForThemInTheAPIToo(t *testing.T) {
	s := upstreamtest.New(t, upstreamtest.Script{})
	h := open(t, "egress: {allow: [127.0.0.1]}\n", member{subject: "ann"}, member{subject: "lent", user: "ann", only: []string{"one"}})
	for _, name := range []string{"one", "two"} {
		h.must("ann", http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":%q,"definition":{"url":%q}}`, name, s.Endpoint().URL))
	}
	h.must("lent", http.MethodGet, "/servers/one?scope=user:me", "", nil)
	if text := h.must("lent", http.MethodGet, "/definitions", "", nil); strings.Contains(text, `"two"`) || !strings.Contains(text, `"one"`) {
		t.Errorf("definitions of the key: %s", text)
	}
	definition := fmt.Sprintf(`{"definition":{"url":%q,"title":"x"}}`, s.Endpoint().URL)
	for _, c := range []struct {
		method, path, match, body string
		status                    int
	}{
		{http.MethodGet, "/servers/two?scope=user:me", "", "", http.StatusNotFound},
		{http.MethodPut, "/servers/two?scope=user:me", "*", definition, http.StatusForbidden},
		{http.MethodDelete, "/servers/two?scope=user:me", "*", "", http.StatusForbidden},
		{http.MethodPost, "/servers", "", `{"name":"three","definition":{"url":"` + s.Endpoint().URL + `"}}`, http.StatusForbidden},
		{http.MethodPut, "/servers/one?scope=user:me", "*", definition, http.StatusOK},
	} {
		var body any
		if c.body != "" {
			body = c.body
		}
		if status, _, text := h.rest("lent", c.method, c.path, c.match, body); status != c.status {
			t.Errorf("%s %s: %d %s, not %d", c.method, c.path, status, text, c.status)
		}
	}
}

// TestAKeyThatEndsMakesNoneThatDoesNot: a key that was lent for a day would be one for
// good.
func TestAKeyThatEndsMakesNoneThatDoesNot(t *testing.T) {
	h, _ := company(t)
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	var made struct {
		Key     string    `json:"key"`
		Expires time.Time `json:"expiresAt"`
	}
	text := h.must("bob", http.MethodPost, "/keys", "", fmt.Sprintf(`{"name":"lent","expiresAt":%q}`, soon.Format(time.RFC3339)))
	if err := json.Unmarshal([]byte(text), &made); err != nil {
		t.Fatal(err)
	}
	h.keys["lent"] = made.Key
	later := fmt.Sprintf(`{"name":"longer","expiresAt":%q}`, soon.Add(time.Hour).Format(time.RFC3339))
	if status, _, text := h.rest("lent", http.MethodPost, "/keys", "", later); status != http.StatusForbidden {
		t.Errorf("a key that outlives the one it was made with: %d %s", status, text)
	}
	if err := json.Unmarshal([]byte(h.must("lent", http.MethodPost, "/keys", "", `{"name":"as long"}`)), &made); err != nil {
		t.Fatal(err)
	}
	if !made.Expires.Equal(soon) {
		t.Errorf("a key that was made with one until %v ends at %v", soon, made.Expires)
	}
}

// TestWhatIsIgnoredInADefinitionIsNotKept: other products have secrets in fields that
// mean nothing here, and nobody would seal them.
func TestWhatIsIgnoredInADefinitionIsNotKept(t *testing.T) {
	h, s := company(t)
	const secret = "s3cr3t-of-another-product"
	text := h.must("root", http.MethodPost, "/servers", "", fmt.Sprintf(
		`{"name":"pasted","definition":{"url":%q,"apiKey":{"key":%q},"oauth":{"client_secret":%q},"oauth_headers":{"X":%q},"auth":{"token":%q},"proxy":"http://u:%s@p","title":"kept"}}`,
		s.Endpoint().URL, secret, secret, secret, secret, secret))
	text += h.must("root", http.MethodGet, "/servers/pasted", "", nil) + h.must("root", http.MethodGet, "/export", "", nil)
	if strings.Contains(text, secret) || !strings.Contains(text, `"kept"`) {
		t.Errorf("a field that is ignored is kept: %s", text)
	}
}

// TestNobodyWithoutTheRightSendsAnImport: the document may be large, and is refused
// before it is read.
func TestNobodyWithoutTheRightSendsAnImport(t *testing.T) {
	h, _ := company(t)
	unread := &endless{}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url+"/api/v1/import", io.LimitReader(unread, 60<<20))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	h.sign(r, "bob")
	resp, err := h.http.Do(r)
	if err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("bob imports: %d", resp.StatusCode)
		}
	}
	if unread.n > 8<<20 {
		t.Errorf("%d bytes of an import were read that was to be refused", unread.n)
	}
}

type endless struct{ n int }

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	e.n += len(b)
	return len(b), nil
}

// TestAnOverlayTrustsNobodyElse: the secrets of what it is laid over would go to whoever
// its authority vouches for.
func TestAnOverlayTrustsNobodyElse(t *testing.T) {
	h := open(t, "mcpServers:\n  base: {url: https://example.com/mcp, headers: {Authorization: Bearer abcdefgh}}\n",
		member{subject: "root", role: "admin"}, member{subject: "ed", teams: []string{"data"}, role: "editor"})
	h.must("root", http.MethodPost, "/teams", "", `{"id":"data"}`)
	status, _, text := h.rest("ed", http.MethodPost, "/servers", "",
		`{"name":"base","scope":"team:data","definition":{"extends":true,"tls":{"serverName":"evil.example"}}}`)
	if status != http.StatusBadRequest || !strings.Contains(text, "tls") {
		t.Errorf("an overlay with tls over what keeps its headers: %d %s", status, text)
	}
	h.must("ed", http.MethodPost, "/servers", "",
		`{"name":"base","scope":"team:data","definition":{"extends":true,"url":"https://example.org/mcp","tls":{"serverName":"example.org"}}}`)
}
