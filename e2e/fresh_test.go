package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// A new user starts it without a configuration: it says how to attach a client,
// and the demo servers behind it answer every official client and the command
// line.
func TestWithoutAConfigurationItServesTheDemo(t *testing.T) {
	g := serveWith(t)
	for _, name := range []string{"time", "text", "notes"} {
		g.waitForListing(t, name)
	}
	if printed := g.out.String(); !strings.Contains(printed, g.mcp("")) {
		t.Errorf("it does not print the endpoint %s:\n%s", g.mcp(""), printed)
	}

	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	for _, c := range []tsClient{client1, client2Legacy, client2Auto, client2Modern} {
		r := c.drive(t, g.mcp(""), false,
			step{Tool: "text__hash", Args: args{"text": "abc"}},
			step{Tool: "time__difference", Args: args{"from": "2000-01-01", "to": "2000-01-03"}},
		)
		want(t, "tools/list", r.Tools, "text__hash", "time__now", "time__difference", "notes__add_note")
		answered(t, c.String(), r.Steps, abc, "2 days")
	}
	hash := plainCall{server: "text", tool: "text__hash", args: args{"text": "abc"}, text: abc}
	for _, version := range []string{"", "2025-11-25"} {
		goCall(t, g.mcp(""), version, hash)
	}
	for _, era := range []string{"legacy", "auto", "modern"} {
		inspectorLists(t, g.mcp(""), era, "text__hash", "time__now", "notes__add_note")
		inspectorCall(t, g.mcp(""), era, hash)
	}
	// The notes ask before they are cleared: in a result (modern).
	r := client2Modern.drive(t, g.mcp(""), true,
		step{Tool: "notes__add_note", Args: args{"title": "Milk", "text": "two"}},
		step{Tool: "notes__clear_notes"},
	)
	if r.Asked["form"] == 0 || r.Steps[0].IsError || r.Steps[1].Error != "" {
		t.Errorf("clearing the notes: asked %v, %+v", r.Asked, r.Steps)
	}

	if out := g.cli(t, "call", "text", "hash", "--arg", "text=abc"); !strings.Contains(out, abc) {
		t.Errorf("jackfield call printed %q, want %s in it", out, abc)
	}
	if out := g.cli(t, "call", "text", "hash", "--json", `{"text":"abc"}`); !strings.Contains(out, abc) {
		t.Errorf("jackfield call --json printed %q, want %s in it", out, abc)
	}
	if out := g.cli(t, "tools", "text"); !strings.Contains(out, "hash") {
		t.Errorf("jackfield tools printed %q", out)
	}
	out := g.cli(t, "servers", "--json")
	if !json.Valid([]byte(out)) || !strings.Contains(out, `"text"`) {
		t.Errorf("jackfield servers --json printed %q", out)
	}
}

// What the README says first.
func TestMakeRunServesTheDemo(t *testing.T) {
	port := freePort(t)
	g := &gateway{base: fmt.Sprintf("http://127.0.0.1:%d", port)}
	cmd := exec.Command("make", "-C", "..", "run", fmt.Sprintf("ARGS=--listen 127.0.0.1:%d --data %s", port, t.TempDir()))
	cmd.Env = cleanEnv("HOME="+t.TempDir(), "GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"))
	g.process = start(t, "make run", cmd)
	g.waitFor(t, "make run", func() bool { return listening(port) })
	g.waitForListing(t, "text")
	r := client2Modern.drive(t, g.mcp(""), false, step{Tool: "text__hash", Args: args{"text": "abc"}})
	answered(t, "make run", r.Steps, "ba7816bf")
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatalf("go env %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}
