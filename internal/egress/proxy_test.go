package egress

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackfield-dev/jackfield"
)

func environment(pairs ...string) func(string) (string, bool) {
	all := map[string]string{}
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		all[name] = value
	}
	return func(name string) (string, bool) { v, ok := all[name]; return v, ok }
}

func TestTheProxyOfAURLIsFoundAsTheEnvironmentSays(t *testing.T) {
	const both = "HTTP_PROXY=http://p:1 HTTPS_PROXY=http://s:2"
	for _, c := range []struct{ env, url, want string }{
		{"", "http://a.test", ""},
		{both, "http://a.test", "http://p:1"},
		{both, "https://a.test", "http://s:2"},
		{"HTTP_PROXY=http://p:1", "https://a.test", ""},
		{"http_proxy=p:1", "http://a.test", "http://p:1"},
		{"HTTP_PROXY=http://upper:1 http_proxy=http://lower:1", "http://a.test", "http://lower:1"},
		{"HTTP_PROXY=http://upper:1 http_proxy=", "http://a.test", ""},
		{"https_proxy=socks5://s:2", "https://a.test", "socks5://s:2"},
		{both, "http://localhost:8080", ""},
		{both, "http://127.0.0.2", ""},
		{both, "https://[::1]:1", ""},
		{both + " NO_PROXY=*", "http://a.test", ""},
		{both + " NO_PROXY=a.test", "http://a.test", ""},
		{both + " NO_PROXY=a.test", "http://b.a.test", ""},
		{both + " NO_PROXY=a.test", "http://ba.test", "http://p:1"},
		{both + " NO_PROXY=.a.test", "http://a.test", "http://p:1"},
		{both + " NO_PROXY=.a.test", "http://b.a.test", ""},
		{both + " NO_PROXY=*.a.test", "http://b.a.test", ""},
		{both + " NO_PROXY=A.Test", "http://a.tesT", ""},
		{both + " NO_PROXY=a.test:8080", "http://a.test:8080", ""},
		{both + " NO_PROXY=a.test:8080", "http://a.test", "http://p:1"},
		{both + " NO_PROXY=a.test:443", "https://a.test", ""},
		{both + " NO_PROXY=10.0.0.0/8", "http://10.1.2.3", ""},
		{both + " NO_PROXY=10.0.0.0/8", "http://11.1.2.3", "http://p:1"},
		{both + " NO_PROXY=10.1.2.3", "http://10.1.2.3:80", ""},
		{both + " NO_PROXY=10.1.2.3:81", "http://10.1.2.3", "http://p:1"},
		{both + " NO_PROXY=10.0.0.5-10.0.1.9", "http://10.0.1.1", ""},
		{both + " NO_PROXY=10.0.0.5-10.0.1.9", "http://10.0.1.10", "http://p:1"},
		{both + " NO_PROXY=fd00::1", "http://[fd00::1]:80", ""},
		{both + " NO_PROXY=[fd00::1]:80", "http://[fd00::1]", ""},
		{both + " NO_PROXY=fd00::/8", "http://[fd12::1]", ""},
		{both + " NO_PROXY=x.test,a.test,y.test", "http://a.test", ""},
		{both + " NO_PROXY=a.test no_proxy=b.test", "http://a.test", "http://p:1"},
		{both + " NO_PROXY=a.test no_proxy=", "http://a.test", "http://p:1"},
	} {
		find := proxies(environment(strings.Fields(c.env)...))
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if find != nil {
			p, err := find(u)
			if err != nil {
				t.Errorf("%s: %v", c.env, err)
			} else if p != nil {
				got = p.String()
			}
		}
		if got != c.want {
			t.Errorf("%s, %s: got %q, want %q", c.env, c.url, got, c.want)
		}
	}
	if find := proxies(environment("HTTP_PROXY=http://p:1", "NO_PROXY= x.test \t a.test, b.test")); find != nil {
		if p, err := find(&url.URL{Scheme: "http", Host: "a.test"}); p != nil || err != nil {
			t.Errorf("spaces in NO_PROXY: %v, %v", p, err)
		}
	}
}

func TestAProxyThatIsNoneSendsNothingDirectly(t *testing.T) {
	own, seen := hello(t)
	for _, value := range []string{"http://", "::", "ftp://p:1", "http://user:hunter2@[", "http:///x"} {
		c := newClients(t, Options{Env: environment("HTTP_PROXY=" + value)})
		_, err := send(t, c.For(operators(own)), own)
		if jackfield.CodeOf(err) != jackfield.Invalid || !strings.Contains(err.Error(), "HTTP_PROXY holds no address") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", value, err)
		}
	}
	if seen.Load() != 0 {
		t.Error("the server was reached without the proxy")
	}
}

// proxy is one that answers itself, and notes what it was asked for.
type proxy struct {
	url string
	mu  sync.Mutex
	saw []string
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		p.mu.Lock()
		p.saw = append(p.saw, r.Method+" "+r.Host)
		p.mu.Unlock()
		if r.Method == http.MethodConnect {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, "hello")
	}))
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

func (p *proxy) took() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	saw := strings.Join(p.saw, ", ")
	p.saw = nil
	return saw
}

func TestThroughAProxyTheOperatorReachesNamesAndOthersOnlyWhatCanBeJudged(t *testing.T) {
	p := newProxy(t)
	c := newClients(t, Options{
		Env:   environment("HTTP_PROXY="+p.url, "HTTPS_PROXY="+p.url),
		Allow: rules(t, "allowed.test", "10.9.9.9"),
	})
	for _, to := range []struct {
		server jackfield.Server
		url    string
		says   string // empty: it passes
	}{
		{operators("http://mcp.test/"), "http://mcp.test/", ""},
		{operators("http://10.0.0.1/"), "http://10.0.0.1/", ""},
		{operators("http://mcp.test/"), "http://other.test/", `"other.test" is looked up by the proxy`},
		{theirs("http://mcp.test/"), "http://mcp.test/", `"mcp.test" is looked up by the proxy`},
		{theirs("https://mcp.test/"), "https://mcp.test/", `"mcp.test" is looked up by the proxy`},
		{theirs("http://allowed.test/"), "http://allowed.test/", ""},
		{theirs("http://8.8.8.8/"), "http://8.8.8.8/", ""},
		{theirs("http://[2001:4860:4860::8888]/"), "http://[2001:4860:4860::8888]/", ""},
		{theirs("http://10.9.9.9/"), "http://10.9.9.9/", ""},
		{theirs("http://10.0.0.1/"), "http://10.0.0.1/", "10.0.0.1 is a private address"},
		{theirs("https://10.0.0.1/"), "https://10.0.0.1/", "10.0.0.1 is a private address"},
		{theirs("http://[::ffff:10.0.0.1]/"), "http://[::ffff:10.0.0.1]/", "is a private address"},
		{theirs("http://[fe80::1%25eth0]/"), "http://[fe80::1%25eth0]/", "of one network interface"},
		{theirs("http://169.254.169.254/"), "http://169.254.169.254/", "a link-local address"},
		{theirs("http://0xA000001/"), "http://0xA000001/", "none in the usual form"},
		{theirs("http://127.1/"), "http://127.1/", "none in the usual form"},
	} {
		text, err := send(t, c.For(to.server), to.url)
		took := p.took()
		switch {
		case to.says != "":
			isPolicy(t, err, to.says)
			if took != "" {
				t.Errorf("%s: the proxy was asked for %s", to.url, took)
			}
		case text != "hello" || err != nil || strings.Count(took, ",") != 1:
			t.Errorf("%s: %q, %v; the proxy was asked for %q", to.url, text, err, took)
		}
	}
}

func TestWhatNeedsNoProxyIsJudgedWhenItIsDialed(t *testing.T) {
	p := newProxy(t)
	own, seen := hello(t)
	for _, no := range []string{"", "10.0.0.0/8"} {
		c := newClients(t, Options{Env: environment("HTTP_PROXY="+p.url, "NO_PROXY="+no)})
		for _, to := range []string{own, p.url, "http://10.0.0.1/"} { // the proxy's own address is nobody's but the proxy's
			_, err := send(t, c.For(theirs(to)), to)
			isPolicy(t, err, "only the operator's own definitions may go")
		}
	}
	if seen.Load() != 0 || p.took() != "" {
		t.Error("something was reached")
	}
}

func TestAnHTTPSServerIsReachedThroughATunnelOfTheProxy(t *testing.T) {
	p := newProxy(t)
	c := newClients(t, Options{Env: environment("HTTPS_PROXY=" + p.url)})
	if _, err := send(t, c.For(operators("https://mcp.test/")), "https://mcp.test/"); err == nil || !strings.Contains(err.Error(), "Bad Gateway") {
		t.Errorf("got %v", err)
	}
	if took := p.took(); took != "CONNECT mcp.test:443" {
		t.Errorf("the proxy was asked for %q", took)
	}
}
