package upstream

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

// maze is a network in which addresses redirect to one another. What is in none of
// them leads to the server.
type maze struct {
	s      *upstreamtest.Server
	to     map[string]string // from scheme://host/path
	status int

	mu   sync.Mutex
	seen []*http.Request
	text []string // the bodies of seen
}

func (m *maze) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	m.mu.Lock()
	m.seen, m.text = append(m.seen, r.Clone(r.Context())), append(m.text, string(body))
	m.mu.Unlock()
	if to, ok := m.to[shownURL(r.URL)]; ok {
		w := httptest.NewRecorder()
		w.Header().Set("Location", to)
		w.WriteHeader(m.status)
		_, _ = io.WriteString(w, "over there")
		return w.Result(), nil
	}
	if strings.Contains(r.URL.Host, "internal") {
		return nil, jackfield.Errorf(jackfield.Forbidden, "10.0.0.1 is a private address")
	}
	next := r.Clone(r.Context())
	next.URL, _ = url.Parse(m.s.URL() + "/mcp")
	if r.Method == http.MethodPost {
		next.Body = inMemory(body)
	}
	resp, err := m.s.Client().Transport.RoundTrip(next)
	if err == nil {
		resp.Request = r
	}
	return resp, err
}

const home = "http://home.test/mcp"

// lost is a server at home.test in a maze.
func lost(t *testing.T, script upstreamtest.Script, status int, to map[string]string) (*maze, Options) {
	t.Helper()
	script.InProcess = true
	m := &maze{s: upstreamtest.New(t, script), to: to, status: status}
	d := &desk{}
	o := d.optionsFor(m.s)
	o.Endpoint.URL = home + "?key=1"
	o.Endpoint.Headers = map[string]jackfield.Secret{"Authorization": "Bearer secret", "X-Tenant": "secret"}
	o.Client = &http.Client{Transport: m}
	return m, o
}

// chain is n redirects from home to the last address.
func chain(n int, last string) map[string]string {
	to, at := map[string]string{}, home
	for i := range n - 1 {
		next := fmt.Sprintf("http://hop%d.test/mcp", i)
		to[at] = next
		at = next
	}
	to[at] = last
	return to
}

func TestARedirectToTheSameOriginKeepsTheWholeRequest(t *testing.T) {
	for _, status := range []int{307, 308} {
		for name, to := range map[string]string{
			"a slash": "/mcp/", "a path": "../v2/mcp", "in full": "http://home.test/mcp/", "with its port": "http://HOME.test:80/mcp/", "a query": "/mcp/?key=2#part",
		} {
			for _, script := range []upstreamtest.Script{{Era: upstreamtest.Modern}, {Era: upstreamtest.Legacy}} {
				m, o := lost(t, script, status, map[string]string{home: to})
				c, err := Dial(t.Context(), o)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if _, err := c.Do(t.Context(), tool(t, c, "echo", `{}`), nil); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				shut(t, c)
				for i := 0; i+1 < len(m.seen); i += 2 {
					a, b := m.seen[i], m.seen[i+1]
					if a.Method != b.Method || m.text[i] != m.text[i+1] || fmt.Sprint(a.Header) != fmt.Sprint(b.Header) || b.URL.Fragment != "" {
						t.Errorf("%s: %s %v %s became %s %v %s", name, a.Method, a.Header, m.text[i], b.Method, b.Header, m.text[i+1])
					}
				}
				if script.Era == upstreamtest.Legacy && m.s.Count(http.MethodDelete) != 1 {
					t.Error("the session was not deleted")
				}
			}
		}
	}
}

func TestFiveRedirectsAreFollowedAndTheSixthIsNot(t *testing.T) {
	m, o := lost(t, upstreamtest.Script{}, 307, chain(5, "http://end.test/mcp"))
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(t.Context(), tool(t, c, "echo", `{}`), nil); err != nil {
		t.Error(err)
	}
	shut(t, c)
	if len(m.seen) != 2*6 {
		t.Errorf("%d requests", len(m.seen))
	}
	for name, to := range map[string]map[string]string{"six": chain(6, "http://end.test/mcp"), "a circle": {home: "/mcp"}} {
		m, o = lost(t, upstreamtest.Script{}, 308, to)
		j, _ := refused(t, o)
		if !strings.Contains(j.Message, "redirects more than 5 times") || m.s.Count(http.MethodPost) != 0 {
			t.Errorf("%s: %v", name, j)
		}
	}
}

func TestAnotherOriginSeesNeitherCredentialsNorHeadersOfTheDefinition(t *testing.T) {
	for name, to := range map[string]string{
		"host": "http://other.test/mcp", "port": "http://home.test:8080/mcp", "upgrade": "https://home.test/mcp", "a part of the host": "http://x.home.test/mcp",
	} {
		m, o := lost(t, upstreamtest.Script{}, 307, map[string]string{home: to})
		c, err := Dial(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := c.Do(t.Context(), tool(t, c, "echo", `{}`), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		shut(t, c)
		for _, r := range m.seen {
			secret := strings.Contains(fmt.Sprint(r.Header, r.URL), "secret")
			if own := shownURL(r.URL) == home; own != secret {
				t.Errorf("%s: %s got %v", name, r.URL, r.Header)
			}
			if r.Header.Get("Mcp-Method") == "" || r.Header.Get("Content-Type") != typeJSON || r.Method != http.MethodPost {
				t.Errorf("%s: %s %s lacks what the protocol wants: %v", name, r.Method, r.URL, r.Header)
			}
		}
	}
}

func TestADowngradeToHTTPIsAnotherOrigin(t *testing.T) {
	const secure = "https://home.test/mcp"
	m, o := lost(t, upstreamtest.Script{}, 307, map[string]string{secure: home})
	o.Endpoint.URL = secure
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	shut(t, c)
	for _, r := range m.seen {
		if (r.URL.Scheme == "https") != (r.Header.Get("Authorization") != "") {
			t.Errorf("%s got %v", r.URL, r.Header)
		}
	}
}

func TestASessionStaysAtItsOrigin(t *testing.T) {
	m, o := lost(t, upstreamtest.Script{Era: upstreamtest.Legacy}, 307, nil)
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, c)
	m.to = map[string]string{home: "http://other.test/mcp"}
	_, _ = c.Do(t.Context(), tool(t, c, "echo", `{}`), nil) // has no session there
	last := m.seen[len(m.seen)-1]
	if last.URL.Host != "other.test" || last.Header.Get("Mcp-Session-Id") != "" {
		t.Errorf("%s got %v", last.URL, last.Header)
	}
	m.to = nil
}

func TestOtherRedirectsAreNeverFollowed(t *testing.T) {
	for _, status := range []int{300, 301, 302, 303, 304} {
		m, o := lost(t, upstreamtest.Script{}, status, map[string]string{home: "http://home.test/mcp/"})
		j, _ := refused(t, o)
		if !strings.Contains(j.Message, "such redirects are not followed") || m.s.Count(http.MethodPost)+m.s.Count(http.MethodGet) != 0 {
			t.Errorf("%d: %v", status, j)
		}
	}
}

func TestARedirectThatLeadsNowhereIsAnError(t *testing.T) {
	for to, says := range map[string]string{
		"":                         "no address given",
		"http://[::1":              "no address given",
		"ftp://other.test/":        "such redirects are not followed",
		"ws://other.test/":         "such redirects are not followed",
		"file:///etc/passwd":       "such redirects are not followed",
		"http:///mcp":              "such redirects are not followed",
		"http://me:pass@home.test": "such redirects are not followed",
		"http://internal.test/mcp": "home.test/mcp redirects to http://internal.test/mcp: 10.0.0.1 is a private address",
	} {
		m, o := lost(t, upstreamtest.Script{}, 307, map[string]string{home: to})
		j, e := refused(t, o)
		if !strings.Contains(j.Message, says) || strings.Contains(j.Message, "pass@") || m.s.Count(http.MethodPost) != 0 || !e.Temporary {
			t.Errorf("%q: %v, temporary: %v", to, j, e.Temporary)
		}
	}
}

func TestAStrangerCannotRedirectBackToWhereWeSignIn(t *testing.T) {
	m, o := lost(t, upstreamtest.Script{}, 307, map[string]string{home: "http://other.test/", "http://other.test/": "http://home.test/admin"})
	j, _ := refused(t, o)
	if !strings.Contains(j.Message, "which redirects back") || m.s.Count(http.MethodPost) != 0 {
		t.Errorf("got %v", j)
	}
}

func TestWithoutAClientThatJudgesOnlyTheSameOriginIsFollowed(t *testing.T) {
	s := upstreamtest.New(t, upstreamtest.Script{})
	var to string
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/old" {
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
			return
		}
		s.ServeHTTP(w, r)
	}))
	defer front.Close()
	o := Options{Name: "scripted", Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: front.URL + "/old"}}
	to = "/mcp"
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	shut(t, c)
	before := s.Count(http.MethodPost)
	to = s.URL() + "/mcp"
	if j, _ := refused(t, o); !strings.Contains(j.Message, "nothing here judges") || s.Count(http.MethodPost) != before {
		t.Errorf("got %v", j)
	}
}

func TestAnEventStreamOfAnotherOriginIsRefused(t *testing.T) {
	script := everyKind["HTTP+SSE"]
	script.Endpoint = "/messages?session=sse-1"
	m, o := lost(t, script, 307, map[string]string{home: "http://other.test/mcp"})
	j, _ := refused(t, o)
	if !strings.Contains(j.Message, "its event stream is redirected to another origin") || m.s.Count(http.MethodPost) != 0 {
		t.Errorf("got %v", j)
	}
}

func TestWhatIsCompressedUnaskedIsRefusedAndNotUnpacked(t *testing.T) {
	for _, kind := range []string{typeJSON, typeStream} {
		bomb := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "" {
				t.Error("compression was asked for")
			}
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for range 100 {
				if _, err := z.Write(make([]byte, 1<<20)); err != nil {
					return // as it has to be: nobody reads it
				}
			}
		}))
		_, err := Dial(t.Context(), Options{Name: "bomb", Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: bomb.URL}})
		bomb.Close()
		if jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(fmt.Sprint(err), "compresses its answers (gzip)") {
			t.Errorf("%s: got %v", kind, err)
		}
	}
}

func TestARememberedShapeDoesNotHideARedirect(t *testing.T) {
	_, o := lost(t, upstreamtest.Script{Era: upstreamtest.Legacy}, 307, map[string]string{home: "/mcp/"})
	o.Shape = &exchange.Shape{Transport: "http", Version: exchange.V20250618, Session: true}
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	shut(t, c)
}
