package eras

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

// sessionOf is the session at the server on which a call of the client's arrives.
func (c *client) sessionOf() string {
	c.t.Helper()
	result, failed := c.do(c.t.Context(), "tools/call", `{"name":"mirror","arguments":{}}`, "")
	var r struct {
		Headers map[string][]string `json:"headers"`
	}
	if failed != nil || json.Unmarshal(result, &r) != nil {
		c.t.Fatalf("%s %v", result, failed)
	}
	return strings.Join(r.Headers["Mcp-Session-Id"], ",")
}

// sharing is what the API says of a server.
func (h *house) sharing(t *testing.T, name string) (jackfield.Sharing, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+"/api/v1/servers/"+name, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var v struct {
		Sharing    jackfield.Sharing
		SharingWhy string
	}
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.StatusCode, err)
	}
	return v.Sharing, v.SharingWhy
}

func TestTwoLegacyClientsOfOnePersonNeverShareASession(t *testing.T) {
	h := open(t, map[string]upstreamtest.Script{"stateful": {Era: upstreamtest.Legacy}})
	if got, why := h.sharing(t, "stateful"); got != jackfield.SharingAuto && got != jackfield.SharingSession || why == "" {
		t.Errorf("before anybody knows: %s because %q", got, why)
	}
	seen := map[string]string{}
	for _, version := range []string{exchange.V20251125, overSSE, exchange.V20250618, exchange.V20251125} {
		for _, path := range []string{"/mcp/stateful", "/mcp/stateful"} {
			c := connect(t, h.url, path, version, allCaps(version))
			own := c.sessionOf()
			if own == "" || seen[own] != "" {
				t.Errorf("a client of %s is on the session of one of %s", version, seen[own])
			}
			seen[own] = version
			if again := c.sessionOf(); again != own {
				t.Errorf("its next call is on %s, not on %s", again, own)
			}
		}
	}
	// The calls of modern clients share one, of their owner's, which is nobody else's.
	one, two := connect(t, h.url, "/mcp/stateful", exchange.Modern, "{}"), connect(t, h.url, "/mcp/stateful", exchange.Modern, "{}")
	shared := one.sessionOf()
	if shared == "" || seen[shared] != "" || two.sessionOf() != shared || one.sessionOf() != shared {
		t.Errorf("modern clients are on %s, %s", shared, seen[shared])
	}
	if got, why := h.sharing(t, "stateful"); got != jackfield.SharingSession || why != "the server keeps state for each connection" {
		t.Errorf("%s because %q", got, why)
	}
}

func TestEachCallHasASessionOfItsOwnWhereTheDefinitionSaysSo(t *testing.T) {
	h := open(t, map[string]upstreamtest.Script{"stateful": {Era: upstreamtest.Legacy}}, func(s *jackfield.Server) { s.Usage.Sharing = jackfield.SharingCall })
	seen := map[string]bool{}
	for _, version := range []string{exchange.Modern, exchange.V20251125} {
		c := connect(t, h.url, "/mcp/stateful", version, allCaps(version))
		for range 3 {
			own := c.sessionOf()
			if own == "" || seen[own] {
				t.Errorf("a call of %s on the session %q of another", version, own)
			}
			seen[own] = true
		}
	}
	if got, why := h.sharing(t, "stateful"); got != jackfield.SharingCall || why != "the definition says so" {
		t.Errorf("%s because %q", got, why)
	}
}

func TestAProcessServesOneSessionAlone(t *testing.T) {
	h := open(t, map[string]upstreamtest.Script{"stdio": {Era: upstreamtest.Legacy, Transport: jackfield.TransportStdio}})
	s := h.servers["stdio"]
	modern := connect(t, h.url, "/mcp/stdio", exchange.Modern, "{}")
	modern.call("echo", `{}`, "")
	before := s.Count("process")
	connect(t, h.url, "/mcp/stdio", exchange.Modern, "{}").call("echo", `{}`, "")
	modern.call("echo", `{}`, "")
	if n := s.Count("process") - before; n != 0 {
		t.Errorf("modern clients of one person started %d more", n)
	}
	for i := range 2 {
		c := connect(t, h.url, "/mcp/stdio", exchange.V20251125, "{}")
		c.call("echo", `{}`, "")
		c.call("echo", `{}`, "")
		if n := s.Count("process") - before; n != i+1 {
			t.Errorf("%d processes for %d sessions", n, i+1)
		}
	}
	if got, why := h.sharing(t, "stdio"); got != jackfield.SharingSession || why == "" {
		t.Errorf("%s because %q", got, why)
	}
}

func TestWhatKeepsNoStateIsSharedByAll(t *testing.T) {
	for name, script := range map[string]upstreamtest.Script{"modern": {}, "sessionless": {Era: upstreamtest.Sessionless}} {
		t.Run(name, func(t *testing.T) {
			h := open(t, map[string]upstreamtest.Script{name: script})
			for _, version := range []string{exchange.Modern, exchange.V20251125, exchange.V20251125, overSSE} {
				connect(t, h.url, "/mcp/"+name, version, "{}").call("echo", `{}`, "")
			}
			if n := h.servers[name].Count("initialize"); n > 2 { // one lists, as a client that can answer everything
				t.Errorf("%d connections", n)
			}
			if got, why := h.sharing(t, name); got != jackfield.SharingApp || why == "" {
				t.Errorf("%s because %q", got, why)
			}
		})
	}
}
