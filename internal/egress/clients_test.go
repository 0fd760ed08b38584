package egress

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
)

func TestWhatIsFilledInBehindTheOriginKeepsTheClientAndItsPermission(t *testing.T) {
	private := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }))
	t.Cleanup(private.Close)
	c := newClients(t, Options{})
	for _, behind := range []string{"/{{var.X}}/mcp", "/%zz{{var.X}}", "?key={{var.X}}", "#{{var.X}}"} {
		s := operators(private.URL + behind)
		if c.For(s) != c.For(operators(private.URL)) {
			t.Errorf("%s has a client of its own", behind)
		}
		if _, err := send(t, c.For(s), private.URL+"/ann/mcp"); err != nil {
			t.Errorf("%s: %v", behind, err)
		}
		if _, err := send(t, c.For(theirs(private.URL+behind)), private.URL+"/ann/mcp"); err == nil {
			t.Errorf("%s: somebody else's definition reaches this machine", behind)
		}
	}
	// What stands in the place of a host is nowhere.
	for _, no := range []string{"{{var.X}}", "http://{{var.X}}/", "http:///" + private.Listener.Addr().String(), "http://{{var.X}}@" + private.Listener.Addr().String()} {
		if _, err := send(t, c.For(operators(no)), private.URL); err == nil {
			t.Errorf("%s has the permission of another origin", no)
		}
	}
}

func TestAnOverlayHasAClientOfItsOwn(t *testing.T) {
	c := newClients(t, Options{})
	base, overlay := operators("http://a.test/mcp"), theirs("http://a.test/mcp")
	overlay.ID, overlay.Base = "team:data/a", base.ID
	first, second := c.For(base), c.For(overlay)
	if first == second || c.For(base) != first || c.For(overlay) != second {
		t.Error("the base and the overlay share a client, or take turns")
	}
	c.Forget(overlay.ID)
	if c.For(base) != first || c.For(overlay) == second {
		t.Error("the wrong client was forgotten")
	}
}

func TestClientsOfManyServersAreBounded(t *testing.T) {
	c := newClients(t, Options{})
	id := func(i int) jackfield.Server {
		s := operators(fmt.Sprintf("http://s%d.test/mcp", i))
		s.ID = jackfield.ServerID(fmt.Sprint(i))
		return s
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	favourite := c.For(id(0))
	for i := 1; i < 10_000; i++ {
		c.For(id(i))
		if i%500 == 0 && c.For(id(0)) != favourite {
			t.Fatal("a client that is asked for made room")
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if len(c.clients) != maxClients || c.order.Len() != maxClients {
		t.Errorf("%d clients, %d in order", len(c.clients), c.order.Len())
	}
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / maxClients
	t.Logf("%d bytes a client", each)
	if each > 64<<10 {
		t.Errorf("%d bytes a client", each)
	}
	for i := range 10_000 {
		c.Forget(id(i).ID)
	}
	if len(c.clients)+c.order.Len() != 0 {
		t.Errorf("%d clients are not forgotten", len(c.clients))
	}
}

func TestTheOperatorsClientReachesEverything(t *testing.T) {
	private := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			http.Redirect(w, r, "/", http.StatusTemporaryRedirect)
			return
		}
		_, _ = io.WriteString(w, "secret")
	}))
	t.Cleanup(private.Close)
	direct := newClients(t, Options{})
	if got, err := send(t, direct.Operator(), private.URL); err != nil || got != "secret" {
		t.Errorf("%q %v", got, err)
	}
	resp, err := direct.Operator().Get(private.URL + "/elsewhere")
	if err != nil || resp.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("%v %v", resp, err)
	} else {
		_ = resp.Body.Close()
	}
	// Through the proxy that is configured.
	asked := make(chan string, 4)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.String()
		_, _ = io.WriteString(w, "by proxy")
	}))
	t.Cleanup(proxy.Close)
	through := newClients(t, Options{Env: func(name string) (string, bool) { return proxy.URL, name == "HTTP_PROXY" }})
	if got, err := send(t, through.Operator(), "http://vault.test/v1/x"); err != nil || got != "by proxy" || <-asked != "http://vault.test/v1/x" {
		t.Errorf("%q %v", got, err)
	}
}

func TestAnAddressIsRefusedWithTheSameWordsBeforeItIsDialed(t *testing.T) {
	c := newClients(t, Options{Allow: rules(t, "10.1.2.3:8080", "*.internal.example", "fd00::/8")})
	for text, refused := range map[string]bool{
		"http://10.0.0.1/mcp": true, "http://10.1.2.3/mcp": true, "http://10.1.2.3:8080/mcp": false, "http://127.0.0.1:1/": true, "http://[::1]:1/": true,
		"http://[::ffff:10.0.0.1]/": true, "http://[fe80::1%25eth0]/": true, "http://[fd00::1]:1/": false, "http://169.254.169.254/latest": true,
		"http://0x7f.1:1/": true, "http://2130706433:1/": true, "http://8.8.8.8/": false, "https://a.example/{{var.X}}": false, "http://x.internal.example/": false,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err = c.Allowed(u); (err != nil) != refused {
			t.Errorf("%s: %v", text, err)
		}
		if !refused {
			continue
		}
		_, dialed := send(t, c.For(theirs(text)), text)
		if dialed == nil || !strings.Contains(dialed.Error(), err.Error()) || jackfield.CodeOf(err) != jackfield.Forbidden || jackfield.FailureOf(err).Kind != jackfield.FailurePolicy {
			t.Errorf("%s: %v; when it is dialed: %v", text, err, dialed)
		}
	}
}
