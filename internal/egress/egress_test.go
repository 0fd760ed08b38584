package egress

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

func get(t *testing.T, c *http.Client, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestRedirectIsHandedBackNotFollowed(t *testing.T) {
	var reached atomic.Bool
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer target.Close()
	server := httptest.NewServer(http.RedirectHandler(target.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	var clients Clients
	if got := get(t, clients.For("a"), server.URL).StatusCode; got != http.StatusTemporaryRedirect {
		t.Errorf("status %d, want 307", got)
	}
	if reached.Load() {
		t.Error("the redirect was followed")
	}
	clients.CloseIdle()
}

func TestOneServerHasOneClientUntilItIsForgotten(t *testing.T) {
	var clients Clients
	first := clients.For("a")
	if clients.For("a") != first {
		t.Error("a second client for the same server")
	}
	if clients.For("b") == first {
		t.Error("two servers share a client")
	}
	clients.Forget("a")
	if clients.For("a") == first {
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
	var clients Clients
	get(t, clients.For("a"), server.URL)
	get(t, clients.For("a"), server.URL)
	if seen.Load() != 0 {
		t.Error("one caller's cookie travelled with another's call")
	}
	clients.CloseIdle()
}
