package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
)

// The reasons in the file of expected failures are what passes on the wire without
// the gateway.
func TestExpectedFailuresAreTheServersOwn(t *testing.T) {
	const file = "conformance-modern-over-legacy.yml"
	list, err := os.ReadFile(path(file))
	if err != nil {
		t.Fatal(err)
	}
	url, session := goEverything(t, false), ""
	send := func(message string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(message))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		if session != "" {
			req.Header.Set("Mcp-Session-Id", session)
			req.Header.Set("Mcp-Protocol-Version", "2025-11-25")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		if resp.StatusCode/100 != 2 {
			t.Fatalf("%s was answered with %s", message, resp.Status)
		}
		return resp
	}
	initialized := send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}},"clientInfo":{"name":"trace","version":"1"}}}`)
	_, _ = io.Copy(io.Discard, initialized.Body)
	session = initialized.Header.Get("Mcp-Session-Id")
	send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)

	received := 0
	var events *bufio.Scanner // of the call that is open
	for line := range strings.Lines(string(list)) {
		line = strings.TrimSpace(line)
		if message, ok := strings.CutPrefix(line, "# > "); ok {
			if resp := send(message); strings.Contains(message, `"method":"tools/call"`) {
				events = bufio.NewScanner(resp.Body)
			}
		}
		if want, ok := strings.CutPrefix(line, "# < "); ok {
			received++
			sameMessage(t, nextEvent(t, events), want)
		}
	}
	if received != 4 {
		t.Errorf("%s has %d messages of the server, want 4", file, received)
	}
}

// nextEvent is the data of the next event that has any.
func nextEvent(t *testing.T, events *bufio.Scanner) string {
	t.Helper()
	for events.Scan() {
		if data, ok := strings.CutPrefix(events.Text(), "data:"); ok && strings.TrimSpace(data) != "" {
			return data
		}
	}
	t.Fatalf("the stream ended: %v", events.Err())
	return ""
}

func sameMessage(t *testing.T, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%v: %s", err, want)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("the server said\n%s\nwant\n%s", got, want)
	}
}
