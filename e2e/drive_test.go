package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// step is one thing that a TypeScript client does: exactly one of Tool, Prompt,
// Resource and Complete is set.
type step struct {
	Tool     string         `json:"tool,omitempty"`
	Prompt   string         `json:"prompt,omitempty"`
	Resource string         `json:"resource,omitempty"`
	Complete any            `json:"complete,omitempty"`
	Args     map[string]any `json:"args,omitempty"`
	Task     bool           `json:"task,omitempty"` // call it as a task of 2025-11-25 (client 1 only)
}

// done is how a step ended.
type done struct {
	Name       string         `json:"name"`
	Progress   int            `json:"progress"`
	IsError    bool           `json:"isError"`
	Types      []string       `json:"types"`
	Text       string         `json:"text"`
	Structured map[string]any `json:"structured"`
	Error      string         `json:"error"`
	Millis     int            `json:"ms"`
}

// report is what a TypeScript client saw.
type report struct {
	Version      string                     `json:"version"`
	Server       string                     `json:"server"`
	Capabilities map[string]json.RawMessage `json:"capabilities"`
	Tools        []string                   `json:"tools"`
	Prompts      []string                   `json:"prompts"`
	Resources    []string                   `json:"resources"`
	Templates    []string                   `json:"templates"`
	Asked        map[string]int             `json:"asked"` // questions answered, by kind
	Logs         int                        `json:"logs"`
	Warnings     []string                   `json:"warnings"`
	Steps        []done                     `json:"steps"`
	Error        string                     `json:"error"`
	CloseError   string                     `json:"closeError"`
}

// tsClient is one of the official TypeScript clients in one protocol era.
type tsClient struct {
	script string
	era    string
}

var (
	client1       = tsClient{"client1.mjs", "legacy"}
	client2Legacy = tsClient{"client2.mjs", "legacy"}
	client2Auto   = tsClient{"client2.mjs", "auto"}
	client2Modern = tsClient{"client2.mjs", "modern"}
)

func (c tsClient) String() string {
	if c == client1 {
		return "sdk-1.x"
	}
	return "client-2.x-" + c.era
}

// version is the protocol revision that the client agrees on with a gateway
// that speaks all of them.
func (c tsClient) version() string {
	if c.era == "legacy" {
		return "2025-11-25"
	}
	return "2026-07-28"
}

// drive lets the client list everything at url and take the steps. full clients
// can be asked: elicitation, sampling, roots, and tasks with client 1.
func (c tsClient) drive(t *testing.T, url string, full bool, steps ...step) report {
	t.Helper()
	plan, err := json.Marshal(map[string]any{"url": url, "era": c.era, "full": full, "steps": steps})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, filepath.Join(npm, c.script), string(plan))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	var r report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("%v at %s: %v, %v\n%s%s", c, url, runErr, err, stdout.String(), stderr.String())
	}
	if r.Error != "" {
		t.Fatalf("%v at %s: %s\nwarnings: %q\n%s", c, url, r.Error, r.Warnings, stderr.String())
	}
	if r.CloseError != "" {
		t.Errorf("%v at %s: close: %s", c, url, r.CloseError)
	}
	if r.Version != c.version() {
		t.Errorf("%v at %s agreed on %q, want %q", c, url, r.Version, c.version())
	}
	if len(r.Steps) != len(steps) {
		t.Fatalf("%v at %s took %d steps of %d", c, url, len(r.Steps), len(steps))
	}
	return r
}

// want fails unless every name is there.
func want(t *testing.T, what string, have []string, names ...string) {
	t.Helper()
	for _, name := range names {
		if !slices.Contains(have, name) {
			t.Errorf("%s lacks %q: %q", what, name, have)
		}
	}
}
