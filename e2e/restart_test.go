package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// A restart with every server dead: two servers of npm's that keep state in files
// and in memory, one that drives a browser (which nobody starts: it is only
// listed), and those of the tests before, over every transport.

// mortal are servers that all die at once. Over stdio they run from a link that
// goes away.
func mortal(t *testing.T) (behind servers, die func()) {
	t.Helper()
	files := t.TempDir()
	link := filepath.Join(t.TempDir(), "node_modules")
	if err := os.Symlink(filepath.Join(npm, "node_modules"), link); err != nil {
		t.Fatal(err)
	}
	child := func(script string, args ...string) map[string]any {
		return stdioServer(node, append([]string{filepath.Join(link, script)}, args...)...)
	}
	memory := child("@modelcontextprotocol/server-memory/dist/index.js")
	memory["env"] = map[string]string{"MEMORY_FILE_PATH": filepath.Join(files, "memory.json")}
	streamable, endStreamable := ending(t, "streamableHttp")
	sse, endSSE := ending(t, "sse")
	behind = servers{
		"memory":     memory,
		"thinking":   child("@modelcontextprotocol/server-sequential-thinking/dist/index.js"),
		"playwright": child("@playwright/mcp/cli.js", "--headless", "--isolated"),
		"stdio":      child("@modelcontextprotocol/server-everything/dist/index.js"),
		"files":      child("@modelcontextprotocol/server-filesystem/dist/index.js", files),
		"http":       httpServer(streamable),
		"sse":        {"type": "sse", "url": sse},
	}
	return behind, func() {
		endStreamable()
		endSSE()
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
}

// ending is npm's server-everything over HTTP, and how to end it.
func ending(t *testing.T, transport string) (url string, end func()) {
	t.Helper()
	url, p := startEverything(t, transport)
	return url, func() { _ = p.stop(time.Second) } // killed, if it does not go
}

func TestARestartWithEveryServerDeadListsEverything(t *testing.T) {
	behind, die := mortal(t)
	config := filepath.Join(t.TempDir(), "jackfield.json")
	text, err := json.Marshal(map[string]any{"mcpServers": behind})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	first := serveWith(t, "--config", config, "--data", data)
	for name := range behind {
		first.waitForListing(t, name)
	}
	clients := []tsClient{client1, client2Legacy, client2Modern}
	var before []report
	for _, c := range clients {
		before = append(before, c.drive(t, first.mcp(""), false, step{Tool: "memory__read_graph"}, step{Tool: "thinking__sequentialthinking", Args: args{
			"thought": "one", "nextThoughtNeeded": false, "thoughtNumber": 1, "totalThoughts": 1,
		}}))
		for _, d := range before[len(before)-1].Steps {
			if d.Error != "" || d.IsError {
				t.Errorf("%v: %+v", c, d)
			}
		}
	}
	want(t, "tools/list", before[0].Tools, "memory__create_entities", "thinking__sequentialthinking", "playwright__browser_navigate",
		"stdio__echo", "http__echo", "sse__echo", "files__read_text_file")
	if err := first.stop(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	die()

	began := time.Now()
	second := serveWith(t, "--config", config, "--data", data)
	for i, c := range clients {
		after := c.drive(t, second.mcp(""), false)
		for what, pair := range map[string][2][]string{
			"tools": {before[i].Tools, after.Tools}, "prompts": {before[i].Prompts, after.Prompts},
			"resources": {before[i].Resources, after.Resources}, "templates": {before[i].Templates, after.Templates},
		} {
			slices.Sort(pair[0])
			slices.Sort(pair[1])
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Errorf("%v: %s before the restart\n%q\nafter it\n%q", c, what, pair[0], pair[1])
			}
		}
	}
	shown(t, "%d tools of %d servers listed after a restart with all of them dead, to three clients within %v",
		len(before[0].Tools), len(behind), time.Since(began).Round(10*time.Millisecond))

	// And it is said how old all of that is, and why.
	second.waitFor(t, "reasons for old lists", func() bool {
		var all struct {
			Listings []struct {
				Server, Kind, Error, FetchedAt string
				AgeSeconds                     *int
				Fresh                          bool
			}
		}
		resp, err := http.Get(second.base + "/api/v1/listings")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
			t.Fatal(err)
		}
		for _, l := range all.Listings {
			if l.Fresh || l.FetchedAt == "" || l.AgeSeconds == nil {
				t.Fatalf("%+v", l)
			}
			if l.Error == "" {
				return false
			}
		}
		return len(all.Listings) == 4*len(behind)
	})
	for _, line := range strings.Split(strings.TrimSpace(second.cli(t, "servers")), "\n")[1:] {
		if !strings.Contains(line, "cannot be listed now") && !strings.Contains(line, "failed") {
			t.Errorf("jackfield servers does not say why: %s", line)
		}
	}
	if tools := second.cli(t, "tools", "--search", "navigate"); !strings.Contains(tools, "browser_navigate") {
		t.Errorf("jackfield tools: %s", tools)
	}
}
