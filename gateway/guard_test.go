package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/jackfield-dev/jackfield"
)

func TestGuardKnowsThisMachineAndThePublicURL(t *testing.T) {
	local, public := Guard{}, Guard{PublicURL: "https://mcp.example.com/base", Hosts: []string{"gw.internal"}}
	for _, c := range []struct {
		g            Guard
		host, origin string
		ok           bool
	}{
		{local, "localhost:8420", "", true},
		{local, "LOCALHOST", "", true},
		{local, "localhost.:8420", "", true},
		{local, "127.0.0.1:8420", "http://localhost:5173", true},
		{local, "127.9.9.9", "https://127.0.0.1", true},
		{local, "[::1]:8420", "http://[::1]:3000", true},
		{local, "[::ffff:127.0.0.1]:8420", "", true},
		{local, "", "", false},
		{local, "evil.example.com", "", false},
		{local, "localhost.evil.example.com:8420", "", false},
		{local, "0.0.0.0:8420", "", false},
		{local, "10.0.0.5:8420", "", false},
		{local, "localhost", "http://evil.example.com", false},
		{local, "localhost", "null", false},
		{local, "localhost", "file://", false},
		{local, "localhost", "http://localhost@evil.example.com", false},
		{local, "localhost", "http://evil.example.com@localhost", false},
		{local, "localhost", "http://localhost:80/path", false},
		{local, "localhost", "chrome-extension://localhost", false},
		{public, "mcp.example.com", "https://mcp.example.com", true},
		{public, "MCP.example.com:443", "https://mcp.example.com:443", true},
		{public, "mcp.example.com:8443", "", false},
		{public, "mcp.example.com", "http://mcp.example.com", false},
		{public, "mcp.example.com", "https://mcp.example.com.evil.com", false},
		{public, "gw.internal:8420", "", true},
		{public, "gw.internal:8420", "http://gw.internal:8420", false},
		{public, "localhost:8420", "http://localhost:1", true},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/mcp", nil)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		err := c.g.Check(r)
		if (err == nil) != c.ok || err != nil && jackfield.CodeOf(err) != jackfield.Forbidden {
			t.Errorf("%+v host %q origin %q: %v", c.g, c.host, c.origin, err)
		}
	}
}

func TestGuardStandsInFrontOfAnyHandler(t *testing.T) {
	served := 0
	h := Guard{}.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
	if w := send(h, http.MethodGet, "/api", "", header{"Host: evil.example.com"}); w.Code != 403 || served != 0 {
		t.Errorf("%d, served %d", w.Code, served)
	}
	if w := send(h, http.MethodGet, "/api", "", nil); w.Code != 200 || served != 1 {
		t.Errorf("%d, served %d", w.Code, served)
	}
}

func TestABrowserIsToldWhatItMayDo(t *testing.T) {
	h := open(t, Options{Broker: &script{}, Authenticate: users})
	w := send(h, http.MethodOptions, "/mcp", "", header{
		"Origin: http://localhost:6274", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,mcp-param-x",
	})
	hd := w.Header()
	if w.Code != 204 || hd.Get("Access-Control-Allow-Origin") != "http://localhost:6274" || hd.Get("Vary") != "Origin" ||
		hd.Get("Access-Control-Allow-Headers") != "authorization,mcp-param-x" || hd.Get("Access-Control-Allow-Methods") == "" {
		t.Errorf("%d %v", w.Code, hd)
	}
	w = send(h, http.MethodPost, "/mcp", legacyCall("0", "initialize", `{"protocolVersion":"2025-11-25"}`), header{"Origin: http://localhost:6274", "Authorization: Bearer ann"})
	if w.Code != 200 || w.Header().Get("Access-Control-Allow-Origin") == "" || w.Header().Get("Access-Control-Expose-Headers") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := send(h, http.MethodOptions, "/mcp", "", header{"Origin: http://evil.example.com", "Access-Control-Request-Method: POST"}); w.Code != 403 || w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := send(h, http.MethodPost, "/mcp", "{}", header{"Authorization: Bearer ann"}); w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Error(w.Header())
	}
}
