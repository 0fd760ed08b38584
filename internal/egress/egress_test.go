package egress

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/upstream"
)

// noEnv is an environment without proxies.
func noEnv(string) (string, bool) { return "", false }

func newClients(t *testing.T, o Options) *Clients {
	t.Helper()
	if o.Env == nil {
		o.Env = noEnv
	}
	c := New(o)
	t.Cleanup(c.CloseIdle)
	return c
}

func rules(t *testing.T, texts ...string) []Rule {
	t.Helper()
	var all []Rule
	for _, text := range texts {
		r, err := ParseRule(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		all = append(all, r)
	}
	return all
}

// operators and theirs are definitions of a server at the URL.
func operators(url string) jackfield.Server {
	return jackfield.Server{ID: "a", Operator: true, Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: url}}
}

func theirs(url string) jackfield.Server {
	s := operators(url)
	s.Operator = false
	return s
}

// send sends a request with each method, and so on each way that there is.
func send(t *testing.T, c *http.Client, url string) (text string, err error) {
	t.Helper()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Transport.RoundTrip(req)
		if err != nil {
			return "", err
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return "", err
		}
		text = string(b)
	}
	return text, nil
}

// hello is a server that counts its requests.
func hello(t *testing.T) (url string, seen *atomic.Int32) {
	t.Helper()
	seen = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "hello")
	}))
	t.Cleanup(s.Close)
	return s.URL, seen
}

// isPolicy wants an error that says that a rule forbids the address.
func isPolicy(t *testing.T, err error, says string) {
	t.Helper()
	if f := jackfield.FailureOf(err); f == nil || f.Kind != jackfield.FailurePolicy || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want %q", err, says)
	}
}

func TestTheOperatorsDefinitionReachesItsOwnPrivateOriginAndNoOther(t *testing.T) {
	own, _ := hello(t)
	other, seen := hello(t)
	s := operators(own + "/mcp")
	c := newClients(t, Options{})
	for _, url := range []string{own + "/mcp", own + "/elsewhere?x=1", strings.ToUpper(own[:4]) + own[4:] + "/mcp"} {
		if text, err := send(t, c.For(s), url); text != "hello" || err != nil {
			t.Errorf("%s: %q, %v", url, text, err)
		}
	}
	for _, url := range []string{other, strings.Replace(own, "http:", "https:", 1), strings.Replace(own, "127.0.0.1", "127.0.0.2", 1), strings.Replace(own, "127.0.0.1", "localhost", 1)} {
		_, err := send(t, c.For(s), url)
		isPolicy(t, err, "this machine")
	}
	_, err := send(t, c.Stranger(s), own)
	isPolicy(t, err, "127.0.0.1 is this machine")
	if seen.Load() != 0 {
		t.Error("another origin was reached")
	}
}

// A socket that was opened with the operator's permission stands idle, and is never a
// stranger's: not of the same server's redirects, and not when its definition becomes
// somebody else's, or another server has the same address.
func TestAnIdleSocketServesNobodyWithLessPermission(t *testing.T) {
	url, seen := hello(t)
	c := newClients(t, Options{})
	s, other := operators(url), theirs(url)
	other.ID = "b"
	before := c.For(s)
	for range 2 {
		if _, err := send(t, before, url); err != nil {
			t.Fatal(err)
		}
	}
	had := seen.Load()
	for name, client := range map[string]*http.Client{
		"what a stranger names for the same server": c.Stranger(s),
		"another server at the same address":        c.For(other),
		"the same server of somebody else":          c.For(theirs(url)),
	} {
		if _, err := send(t, client, url); err == nil || seen.Load() != had {
			t.Errorf("%s was reached: %v", name, err)
		}
	}
}

func TestADefinitionOfSomebodyElseReachesNothingPrivate(t *testing.T) {
	own, seen := hello(t)
	_, err := send(t, newClients(t, Options{}).For(theirs(own)), own)
	isPolicy(t, err, "127.0.0.1 is this machine")
	if jackfield.CodeOf(err) != jackfield.Forbidden || seen.Load() != 0 {
		t.Errorf("got %v, seen %d times", jackfield.CodeOf(err), seen.Load())
	}
	allowed := newClients(t, Options{Allow: rules(t, strings.TrimPrefix(own, "http://"))})
	if text, err := send(t, allowed.For(theirs(own)), own); text != "hello" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

func TestADefinitionWithoutAnOriginMakesEverybodyAStranger(t *testing.T) {
	own, _ := hello(t)
	for _, url := range []string{"", "/mcp", "http://", "::"} {
		_, err := send(t, newClients(t, Options{}).For(operators(url)), own)
		isPolicy(t, err, "this machine")
	}
}

// TestARedirectIsJudgedAsAStrangersAddress goes through upstream and out.
func TestARedirectIsJudgedAsAStrangersAddress(t *testing.T) {
	private, seen := hello(t)
	var to atomic.Pointer[string]
	s := upstreamtest.New(t, upstreamtest.Script{})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mcp" {
			http.Redirect(w, r, *to.Load(), http.StatusTemporaryRedirect)
			return
		}
		s.ServeHTTP(w, r)
	}))
	defer front.Close()
	dial := func(location string, allow ...string) error {
		to.Store(&location)
		c := newClients(t, Options{Allow: rules(t, allow...)})
		def := operators(front.URL + "/mcp")
		conn, err := upstream.Dial(t.Context(), upstream.Options{Name: "a", Endpoint: def.Endpoint, Client: c.For(def)})
		if err != nil {
			return err
		}
		return conn.Close(t.Context())
	}
	if err := dial("/mcp/"); err != nil {
		t.Error("to the same origin, which is private:", err)
	}
	isPolicy(t, dial(private+"/mcp"), "redirects to "+private+"/mcp: 127.0.0.1 is this machine")
	isPolicy(t, dial(strings.Replace(private, "127.0.0.1", "localhost", 1)), `"localhost" leads to this machine`)
	isPolicy(t, dial("http://169.254.169.254/latest/meta-data"), "a link-local address")
	isPolicy(t, dial("http://2130706433/"), "none in the usual form")
	if seen.Load() != 0 {
		t.Error("a private address was reached")
	}
	if err := dial(s.URL()+"/mcp", strings.TrimPrefix(s.URL(), "http://")); err != nil {
		t.Error("to an address that the allow list names:", err)
	}
}

func TestRedirectIsHandedBackNotFollowed(t *testing.T) {
	target, seen := hello(t)
	server := httptest.NewServer(http.RedirectHandler(target, http.StatusTemporaryRedirect))
	defer server.Close()
	c := newClients(t, Options{})
	for _, client := range []*http.Client{c.For(operators(server.URL)), c.Stranger(operators(server.URL))} {
		if err := client.CheckRedirect(nil, nil); err != http.ErrUseLastResponse { //nolint:errorlint // net/http compares it so
			t.Error("a redirect would be followed")
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.For(operators(server.URL)).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusTemporaryRedirect || seen.Load() != 0 {
		t.Errorf("status %d, seen %d times", resp.StatusCode, seen.Load())
	}
}

func TestOneServerHasOneClientUntilItsSettingsChangeOrItIsForgotten(t *testing.T) {
	c := newClients(t, Options{})
	s := operators("http://a.test/")
	first := c.For(s)
	s.Revision, s.Version, s.About.Title = 7, 7, "A"
	if c.For(s) != first {
		t.Error("a second client for the same server")
	}
	other := s
	other.ID = "b"
	if c.For(other) == first {
		t.Error("two servers share a client")
	}
	for name, edit := range map[string]func(*jackfield.Server){
		"url":      func(s *jackfield.Server) { s.Endpoint.URL = "http://b.test/" },
		"operator": func(s *jackfield.Server) { s.Operator = false },
		"tls":      func(s *jackfield.Server) { s.Endpoint.TLS.ServerName = "x" },
	} {
		before, edited := c.For(s), s
		edit(&edited)
		if c.For(edited) == before {
			t.Errorf("%s: the client of other settings is used", name)
		}
	}
	before := c.For(s)
	c.Forget("a")
	if c.For(s) == before {
		t.Error("a forgotten server kept its client")
	}
}

func TestNoCookieIsCarriedFromOneCallToTheNext(t *testing.T) {
	var seen atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Cookies()) > 0 {
			seen.Add(1)
		}
		http.SetCookie(w, &http.Cookie{Name: "who", Value: "ann"})
	}))
	defer server.Close()
	c := newClients(t, Options{})
	for range 2 {
		if _, err := send(t, c.For(operators(server.URL)), server.URL); err != nil {
			t.Fatal(err)
		}
	}
	if c.For(operators(server.URL)).Jar != nil || seen.Load() != 0 {
		t.Error("one caller's cookie travelled with another's call")
	}
}
