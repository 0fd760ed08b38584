package app

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

func TestWhatAClientSignsInWithNeverTravelsToAServerAndNoSecretIsLogged(t *testing.T) {
	const token, secret = "inbound-token-of-at-least-32-characters", "outbound-secret"
	s := upstreamtest.New(t, upstreamtest.Script{})
	var mu sync.Mutex
	var seen []http.Header
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.Header.Clone())
		mu.Unlock()
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		s.ServeHTTP(w, r)
	}))
	defer front.Close()
	def := func(name, path string) jackfield.Server {
		return jackfield.Server{Name: name, Endpoint: jackfield.Endpoint{
			Transport: jackfield.TransportHTTP, URL: front.URL + path + "?key=" + secret,
			Headers: map[string]jackfield.Secret{"X-Api-Key": secret},
		}}
	}
	h := start(t, &Config{Auth: Auth{Token: token}}, def("good", "/mcp"), def("bad", "/broken"))
	for _, name := range []string{"good", "bad"} {
		const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL()+"/mcp/"+name,
			strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{},`+meta+`}}`))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range map[string]string{
			"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "echo",
			"Authorization": "Bearer " + token, "Cookie": "who=ann", "Proxy-Authorization": "Basic " + token, "X-Forwarded-For": "10.1.2.3", "X-Of-The-Client": token,
		} {
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) == 0 {
		t.Fatal("nothing came to the server")
	}
	for _, header := range seen {
		if header.Get("X-Api-Key") != secret {
			t.Errorf("the definition's header is missing: %v", header)
		}
		for name, values := range header {
			text := strings.Join(values, " ")
			if strings.Contains(text, token) || name == "Cookie" || name == "Authorization" || strings.HasPrefix(name, "X-Forwarded") {
				t.Errorf("the server got %s: %s", name, text)
			}
		}
	}
	if log := h.logs.String(); strings.Contains(log, secret) || strings.Contains(log, token) {
		t.Errorf("a secret is in the log:\n%s", log)
	}
}
