package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serve runs the example's handler, with the jackfield command of this repository
// on the PATH.
func serve(t *testing.T) (url string) {
	t.Helper()
	bin := t.TempDir()
	build := exec.Command("go", "build", "-C", filepath.Join("..", ".."), "-o", bin, "./cmd/jackfield")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build ./cmd/jackfield: %v\n%s", err, out)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	gateway, err := newGateway(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(routes(gateway))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := gateway.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		server.Close()
	})
	return server.URL
}

// post sends one request of the 2026-07-28 revision.
func post(t *testing.T, url, method, name, params string) string {
	t.Helper()
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params +
		`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("MCP-Protocol-Version", "2026-07-28")
	req.Header.Set("Mcp-Method", method)
	if name != "" {
		req.Header.Set("Mcp-Name", name)
	}
	return read(t, req)
}

func read(t *testing.T, req *http.Request) string {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s %s: %s: %s", req.Method, req.URL, resp.Status, text)
	}
	return string(text)
}

func TestClientsReachTwoServersAndThePageCallsOne(t *testing.T) {
	url := serve(t)
	tools := post(t, url+"/mcp", "tools/list", "", "")
	for _, name := range []string{`"time__now"`, `"text__hash"`} {
		if !strings.Contains(tools, name) {
			t.Errorf("tools/list lacks %s: %s", name, tools)
		}
	}
	hash := post(t, url+"/mcp", "tools/call", "text__hash", `"name":"text__hash","arguments":{"text":"abc"},`)
	if !strings.Contains(hash, "ba7816bf") {
		t.Errorf("text__hash: %s", hash)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/now", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if now := read(t, req); !strings.Contains(now, "Asia/Tokyo") {
		t.Errorf("the page: %s", now)
	}
}
