package tenants

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
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

// TestMetricsTellNobodyOfTheServersOfOthers: the labels are the ids of servers, for
// admins; those of people are counted as one.
func TestMetricsTellNobodyOfTheServersOfOthers(t *testing.T) {
	h, s := company(t)
	h.must("ann", http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":"diary","definition":{"url":%q}}`, s.Endpoint().URL))
	if _, err := h.call(t.Context(), "ann", "diary", "echo", `{"text":"x"}`); err != nil {
		t.Fatal(err)
	}
	if status, text := h.metrics("bob"); status != http.StatusForbidden || strings.Contains(text, "diary") {
		t.Errorf("bob reads metrics: %d %s", status, text)
	}
	if status, text := h.metrics("root"); status != http.StatusOK || !strings.Contains(text, `jackfield_calls_total{outcome="ok",server="user:*"} 1`) || strings.Contains(text, "diary") {
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
	if n := unread.n.Load(); n > 8<<20 {
		t.Errorf("%d bytes of an import were read that was to be refused", n)
	}
}

type endless struct{ n atomic.Int64 }

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	e.n.Add(int64(len(b)))
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

// TestNobodyFillsTheMemory: what a plain user defines, enters and makes is kept in
// memory, and bounded in bytes as well as in number.
func TestNobodyFillsTheMemory(t *testing.T) {
	h, _ := company(t)
	icon := "data:image/png;base64," + strings.Repeat("A", 250<<10)
	var vars []string
	values := map[string]string{}
	for i := range 32 {
		name := fmt.Sprintf("V%d", i)
		vars, values[name] = append(vars, fmt.Sprintf(`%q:{}`, name)), strings.Repeat("x", 16<<10)
	}
	full := func(what string, most int, one func(i int) (status int)) {
		t.Helper()
		for i := range most {
			switch status := one(i); {
			case status == http.StatusTooManyRequests && i > most/2:
				return
			case status != http.StatusOK && status != http.StatusCreated:
				t.Fatalf("%s %d: %d", what, i, status)
			}
		}
		t.Errorf("%s: %d are taken", what, most)
	}
	full("definitions", 20, func(i int) int {
		status, _, _ := h.rest("bob", http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":"large%d","definition":{"url":"http://127.0.0.1:1","icon":%q}}`, i, icon))
		return status
	})
	full("values", 10, func(i int) int {
		h.must("ann", http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":"asks%d","definition":{"url":"http://127.0.0.1:1","startup":false,"vars":{%s}}}`, i, strings.Join(vars, ",")))
		status, _, _ := h.rest("ann", http.MethodPut, fmt.Sprintf("/servers/asks%d/variables", i), "", map[string]any{"values": values})
		return status
	})
	status, _, text := h.rest("ann", http.MethodPut, "/servers/asks0/variables", "", `{"values":{"V0":null}}`)
	if status != http.StatusOK {
		t.Errorf("who has too much cannot remove: %d %s", status, text)
	}
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf("%s%d", strings.Repeat("n", 100), i))
	}
	if status, _, text := h.rest("bob", http.MethodPost, "/keys", "", map[string]any{"name": "large", "servers": names}); status != http.StatusBadRequest {
		t.Errorf("a key for very many servers: %d %.200s", status, text)
	}
}

// TestWhatIsSomebodysIsNotTheOperatorsWord: on a machine of one's own everybody without a
// key is the operator, and definitions of people who have keys get no power by that.
func TestWhatIsSomebodysIsNotTheOperatorsWord(t *testing.T) {
	h := open(t, "mcpServers: {}\n")
	h.must("", http.MethodPost, "/servers", "", `{"name":"mine","scope":"user:me","definition":{"command":"true","startup":false}}`)
	const program = `{"command":"true","startup":false}`
	status, _, text := h.rest("", http.MethodPost, "/servers", "", `{"name":"theirs","scope":"user:ann","definition":`+program+`}`)
	if status != http.StatusBadRequest {
		t.Errorf("a program for ann: %d %s", status, text)
	}
	text = h.must("", http.MethodPost, "/import", "", `{"jackfield":1,"exportedAt":"2026-01-01T00:00:00Z","teams":[],"users":[],"definitions":[{"scope":"user:ann","name":"theirs","definition":`+program+`},{"scope":"app","name":"ours","definition":`+program+`}]}`)
	if !strings.Contains(text, `"refused": 1`) || !strings.Contains(text, `"added": 1`) {
		t.Errorf("an import with a program for ann: %s", text)
	}
}

// TestNothingIsSmuggledPastTheChecks: spellings that one reader takes for another thing
// than the next.
func TestNothingIsSmuggledPastTheChecks(t *testing.T) {
	h, s := company(t)
	url := s.Endpoint().URL
	for i, definition := range []string{
		`{"url":"` + url + `","command":"true"}`,
		`{"url":"` + url + `","\u0063ommand":"true"}`,
		`{"url":"` + url + `","Command":"true"}`,
		`{"url":"` + url + `","url":"http://10.0.0.1/"}`,
		`{"url":"` + url + `","\u0075rl":"http://10.0.0.1/"}`,
		`{"url":"` + url + `","URL":"http://10.0.0.1/"}`,
		`{"url":"` + url + `","type":"STDIO"}`,
		`{"url":"` + url + `","Headers":{"X":"secret"}}`,
		`{"url":"` + url + `","headers":{"X":"$\u007bHOME}"}}`,
		`{"url":"` + url + `","headers":{"X":"${file:/etc/hostname}"}}`,
		`{"url":"` + url + `","headers":{"X":"${vault:kv/x#y}"}}`,
		`{"url":"` + url + `","headers":{"X":"${env:HOME:-x}"}}`,
		`{"url":"` + url + `","headers":{"X":"a\r\nY: b"}}`,
		`{"url":"` + url + `","headers":{"X\r\nY":"b"}}`,
		`{"url":"` + url + `","headers":{"X":"{{ user.email }}"}}`,
		`{"url":"` + url + `","headers":{"X":"{{LIBRECHAT_USER_EMAIL}}"}}`,
		`{"url":"` + url + `","headers":{"X":"[sealed]"}}`,
		`{"url":"` + url + `","tls":{"ca":"/etc/hostname"}}`,
		`{"url":"` + url + `","tls":{"serverName":"${HOME}"}}`,
		`{"url":"http://{{var.H}}/","vars":{"H":{}}}`,
		`{"url":"http://127.0.0.1:1@10.0.0.1/"}`,
		`{"url":"http://127.0.0.1:1\\@10.0.0.1/"}`,
		`{"url":"http://0x0a000001/"}`,
		`{"url":"http://[::ffff:10.0.0.1]/"}`,
		`{"url":"http://169.254.169.254/latest"}`,
		`{"url":"file:///etc/passwd"}`,
		`{"extends":true,"title":"x"}`,
		`{"url":"` + url + `","overlays":{"data":{"command":"true"}}}`,
		`[{"url":"` + url + `"}]`, `"text"`, `null`,
	} {
		status, _, text := h.rest("bob", http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":"s%d","definition":%s}`, i, definition))
		if status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", definition, status, text)
		}
	}
	text := h.must("bob", http.MethodPost, "/servers", "", `{"name":"via","definition":{"url":"`+url+`","vars":{"V":{}},"headers":{"Via":"{{var.V}}"}}}`)
	if !strings.Contains(text, "Via is ignored") {
		t.Errorf("a definition hides loops: %s", text)
	}
}

// TestWhatIsHiddenAndWhatIsNotThereReadTheSame: an answer tells nobody that there is
// something to be curious of.
func TestWhatIsHiddenAndWhatIsNotThereReadTheSame(t *testing.T) {
	h, s := company(t)
	url := s.Endpoint().URL
	h.must("root", http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":"hidden","definition":{"url":%q,"vars":{"V":{}},"access":{"allow":["user:ann"]}}}`, url))
	h.must("ann", http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":"anns","definition":{"url":%q,"vars":{"V":{}}}}`, url))
	h.must("ann", http.MethodPut, "/servers/hidden/variables", "", `{"values":{"V":"anns-secret"}}`)
	for _, c := range []struct{ method, path, match, body string }{
		{http.MethodGet, "/servers/NAME", "", ""},
		{http.MethodGet, "/servers/NAME?scope=app", "", ""},
		{http.MethodGet, "/servers/NAME?scope=user:ann", "", ""},
		{http.MethodPut, "/servers/NAME", "*", `{"definition":{"url":"` + url + `"}}`},
		{http.MethodPut, "/servers/NAME?scope=user:ann", "*", `{"definition":{"url":"` + url + `"}}`},
		{http.MethodDelete, "/servers/NAME", "*", ""},
		{http.MethodDelete, "/servers/NAME?scope=user:ann", "1", ""},
		{http.MethodGet, "/servers/NAME/variables", "", ""},
		{http.MethodPut, "/servers/NAME/variables", "", `{"values":{"V":"x"}}`},
		{http.MethodGet, "/servers/NAME/variables/V", "", ""},
		{http.MethodGet, "/servers/NAME/variables?user=ann", "", ""},
		{http.MethodGet, "/servers/NAME/connections", "", ""},
		{http.MethodPost, "/servers/NAME/connect", "", ""},
		{http.MethodPost, "/servers/NAME/reset", "", ""},
		{http.MethodPost, "/servers/NAME/disconnect", "", ""},
		{http.MethodGet, "/listings?server=NAME", "", ""},
		{http.MethodGet, "/users/NAME", "", ""},
		{http.MethodGet, "/teams/NAME", "", ""},
		{http.MethodGet, "/teams/NAME/members", "", ""},
		{http.MethodGet, "/keys?user=NAME", "", ""},
	} {
		var answers [3]string
		for i, name := range []string{"hidden", "anns", "nobody"} {
			if strings.HasPrefix(c.path, "/users") || strings.HasPrefix(c.path, "/keys") {
				name = []string{"ann", "root", "nobody"}[i]
			} else if strings.HasPrefix(c.path, "/teams") {
				name = []string{"data", "data", "nobody"}[i]
			}
			var body any
			if c.body != "" {
				body = c.body
			}
			status, _, text := h.rest("bob", c.method, strings.Replace(c.path, "NAME", name, 1), c.match, body)
			answers[i] = fmt.Sprint(status, strings.ReplaceAll(text, name, "NAME"))
		}
		if answers[0] != answers[2] || answers[1] != answers[2] || strings.HasPrefix(answers[2], "2") {
			t.Errorf("%s %s: %s", c.method, c.path, strings.Join(answers[:], "\n"))
		}
	}
	for _, path := range []string{"/mcp/NAME", "/sse/NAME"} {
		var answers [2]string
		for i, name := range []string{"hidden", "nobody"} {
			_, err := h.ask(t.Context(), "bob", strings.Replace(path, "NAME", name, 1), "tools/list", "", "")
			answers[i] = strings.ReplaceAll(fmt.Sprint(err), name, "NAME")
		}
		if answers[0] != answers[1] {
			t.Errorf("%s: %q, %q", path, answers[0], answers[1])
		}
	}
}

// TestASecretGoesNowhereElseWhoeverChangesItsDefinition: another editor of the team knows
// that there is a secret, and wants it.
func TestASecretGoesNowhereElseWhoeverChangesItsDefinition(t *testing.T) {
	var mu sync.Mutex
	var arrived []string
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		arrived = append(arrived, fmt.Sprint(r.URL, r.Header))
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(evil.Close)
	s := upstreamtest.New(t, upstreamtest.Script{})
	h := open(t, "egress: {allow: [127.0.0.1, localhost]}\n",
		member{subject: "root", role: "admin"}, member{subject: "ed", teams: []string{"data"}, role: "editor"}, member{subject: "mal", teams: []string{"data"}, role: "editor"})
	h.must("root", http.MethodPost, "/teams", "", `{"id":"data"}`)
	url := s.Endpoint().URL
	const secret = "the-teams-own-secret"
	h.must("ed", http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":"ours","scope":"team:data","definition":{"url":%q,"headers":{"Authorization":"Bearer %s"}}}`, url, secret))
	h.must("root", http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":"base","scope":"app","definition":{"url":%q,"headers":{"Authorization":"Bearer %s"}}}`, url, secret))
	const path = "/servers/ours?scope=team:data"
	for _, definition := range []string{
		`{"url":"` + evil.URL + `","headers":{"Authorization":"[sealed]"}}`,
		`{"url":"` + strings.Replace(url, "http:", "https:", 1) + `","headers":{"Authorization":"[sealed]"}}`,
		`{"url":"` + strings.Replace(url, "127.0.0.1", "localhost", 1) + `","headers":{"Authorization":"[sealed]"}}`,
		`{"url":"` + url + `","type":"sse","headers":{"Authorization":"[sealed]"}}`,
		`{"url":"` + url + `","headers":{"X-Echo":"[sealed]"}}`,
		`{"url":"` + url + `","headers":{"Authorization":"[sealed]","authorization":"x"}}`,
		`{"extends":true,"headers":{"Authorization":"[sealed]"}}`,
		`{"extends":true,"enabled":false,"headers":{"Authorization":"[sealed]"}}`,
	} {
		if status, _, text := h.rest("mal", http.MethodPut, path, "*", `{"definition":`+definition+`}`); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", definition, status, text)
		}
	}
	// In two steps, and by ways around.
	h.rest("mal", http.MethodPut, path, "*", `{"definition":{"url":"`+evil.URL+`"}}`)
	if status, _, text := h.rest("mal", http.MethodPut, path, "*", `{"definition":{"url":"`+evil.URL+`","headers":{"Authorization":"[sealed]"}}}`); status != http.StatusBadRequest {
		t.Errorf("in two steps: %d %s", status, text)
	}
	if status, _, text := h.rest("mal", http.MethodPost, "/servers", "", `{"name":"copy","scope":"team:data","definition":{"url":"`+evil.URL+`","headers":{"Authorization":"[sealed]"}}}`); status != http.StatusBadRequest {
		t.Errorf("in a copy: %d %s", status, text)
	}
	h.must("mal", http.MethodPost, "/servers", "", `{"name":"base","scope":"team:data","definition":{"extends":true,"url":"`+evil.URL+`"}}`)
	for _, server := range []string{"ours", "base"} {
		if _, err := h.call(t.Context(), "mal", server, "echo", `{"text":"x"}`); err == nil {
			t.Error(server, "is elsewhere and answers")
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if text := strings.Join(arrived, "\n"); text == "" || strings.Contains(text, secret) {
		t.Errorf("what arrived elsewhere: %q", text)
	}
	for _, path := range []string{"/definitions", "/servers", "/servers/ours", "/servers/base", "/connections", "/log", "/export", "/listings"} {
		if _, _, text := h.rest("root", http.MethodGet, path, "", nil); strings.Contains(text, secret) {
			t.Errorf("%s shows the secret: %s", path, text)
		}
	}
	if strings.Contains(h.log.String(), secret) {
		t.Error("the secret is in the log")
	}
}
