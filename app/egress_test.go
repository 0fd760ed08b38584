package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

func TestTheAllowListIsReadAndChecked(t *testing.T) {
	const servers = "mcpServers:\n  a: {url: 'https://a.test/'}\n"
	c, found, err := Load(write(t, "jackfield.yaml", servers+"egress:\n  allow: [mcp.internal, '${HOSTNAME_OF:-*.b.test}:80', 10.0.0.0/8]\n"), Overrides{Env: testEnv})
	if err != nil || len(found) != 0 || !slices.Equal(c.Egress.Allow, []string{"mcp.internal", "*.b.test:80", "10.0.0.0/8"}) {
		t.Errorf("got %+v, %v, %v", c, found, err)
	}
	if names := c.NeedsRestart(&Config{Listen: c.Listen, Data: c.Data, Log: c.Log}); !slices.Equal(names, []string{"egress"}) {
		t.Errorf("a restart is needed for %v", names)
	}
	for _, bad := range []string{"'*'", "http://a.test", "10.0.0.0/99", "0x7f.1"} {
		_, found, err := Load(write(t, "jackfield.yaml", servers+"egress: {allow: ["+bad+"]}\n"), Overrides{Env: testEnv})
		if err == nil || len(found) != 1 || !strings.Contains(found[0].Message, "egress.allow cannot hold") || found[0].Line != 3 {
			t.Errorf("%s: %v, %v", bad, found, err)
		}
	}
	if _, err := New(Options{Config: &Config{Egress: Egress{Allow: []string{"*"}}}}); jackfield.CodeOf(err) != jackfield.Invalid || !strings.Contains(err.Error(), "egress.allow") {
		t.Errorf("written by a program: %v", err)
	}
}

func TestAnOperatorsServerIsReachedAndWhereItRedirectsToOnlyIfAllowed(t *testing.T) {
	s := upstreamtest.New(t, upstreamtest.Script{})
	front := httptest.NewServer(http.RedirectHandler(s.URL()+"/mcp", http.StatusTemporaryRedirect))
	defer front.Close()
	def := jackfield.Server{Name: "away", Endpoint: jackfield.Endpoint{
		Transport: jackfield.TransportHTTP, URL: front.URL + "/mcp", Headers: map[string]jackfield.Secret{"Authorization": "Bearer secret"},
	}}
	for allow, want := range map[string]string{"": "this machine, where only the operator's own definitions may go", strings.TrimPrefix(s.URL(), "http://"): "hello"} {
		config := &Config{}
		if allow != "" {
			config.Egress.Allow = []string{allow}
		}
		h := start(t, config, def)
		result, failed := h.ask("/mcp/away", "tools/call", `{"name":"echo","arguments":{"text":"hello"}}`)
		if got := string(result) + fmt.Sprint(failed); !strings.Contains(got, want) {
			t.Errorf("allowed %q: got %s", allow, got)
		}
	}
}
