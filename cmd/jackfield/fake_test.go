package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// fakeGateway answers as a gateway with one server, x, would: result is that of
// tools/call, tool what tools/list lists.
func fakeGateway(t *testing.T, tool string, result func(header http.Header, body string) string) *rig {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/servers", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"servers":[{"name":"x","state":"ready","reason":"because\n\u001b[2J"}]}`))
	})
	mux.HandleFunc("GET /api/v1/servers/x", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"name":"x","state":"ready"}`))
	})
	mux.HandleFunc("POST /mcp/x", func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
		}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer := `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}`
		switch m.Method {
		case "tools/list":
			answer = `{"resultType":"complete","tools":[` + tool + `],"ttlMs":0,"cacheScope":"private"}`
		case "tools/call":
			answer = result(r.Header, string(m.Params))
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":` + answer + `}`))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	r := newRig(t)
	r.env["JACKFIELD_URL"] = server.URL
	return r
}

func TestAServerThatAsksForeverIsLeft(t *testing.T) {
	var asked atomic.Int32
	r := fakeGateway(t, `{"name":"t","inputSchema":{"type":"object"}}`, func(_ http.Header, body string) string {
		if n := asked.Add(1); n > 1 && (!strings.Contains(body, `"requestState":"s"`) || !strings.Contains(body, `"inputResponses":{"k":{"action":"decline"}}`)) {
			t.Errorf("retry %d: %s", n, body)
		}
		return `{"resultType":"input_required","requestState":"s","inputRequests":{"k":{"method":"elicitation/create","params":{"mode":"form","message":"?","requestedSchema":{"type":"object","properties":{}}}}}}`
	})
	code, _, errs := r.run("", "call", "x", "t")
	if code != exitUnreachable || errs != "jackfield: x asks again and again: it was answered 10 times and still does not go on\n" || asked.Load() != maxRounds {
		t.Errorf("code %d after %d questions: %s", code, asked.Load(), errs)
	}
}

func TestArgumentsThatTheSchemaMirrorsTravelInHeadersToo(t *testing.T) {
	var region, missing string
	r := fakeGateway(t, `{"name":"t","inputSchema":{"type":"object","properties":{"where":{"type":"string","x-mcp-header":"Region"},"what":{"type":"string","x-mcp-header":"What"}}}}`,
		func(h http.Header, _ string) string {
			region, missing = h.Get("Mcp-Param-Region"), h.Get("Mcp-Param-What")
			return `{"resultType":"complete","content":[{"type":"text","text":"ok"}]}`
		})
	if code, out, errs := r.run("", "call", "x", "t", "--arg", "where=eu-1"); code != exitOK || out != "ok\n" || region != "eu-1" || missing != "" {
		t.Errorf("code %d, %q, %q; headers %q and %q", code, out, errs, region, missing)
	}
}

func TestWhatServersSayCannotSteerTheTerminal(t *testing.T) {
	r := fakeGateway(t, `{"name":"t","description":"clear \u001b[2J the\u0007 screen","inputSchema":{"type":"object"}}`, nil)
	r.width = 100
	for _, args := range [][]string{{"tools"}, {"tools", "x"}, {"servers"}} {
		_, out, errs := r.run("", args...)
		if strings.Contains(out+errs, "\x1b[2J") || strings.Contains(out, "\a") || !strings.Contains(out, "[2J") {
			t.Errorf("%q: %q, %q", args, out, errs)
		}
	}
}

func TestAnAnswerThatIsNoToolResultIsAnError(t *testing.T) {
	r := fakeGateway(t, `{"name":"t","inputSchema":{"type":"object"}}`, func(http.Header, string) string {
		return `{"resultType":"complete","content":"text"}`
	})
	if code, _, errs := r.run("", "call", "x", "t"); code != exitFailure || !strings.HasPrefix(errs, "jackfield: the answer of x/t cannot be read: ") {
		t.Errorf("code %d, %q", code, errs)
	}
}
