package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The official conformance suite as a client of /mcp/{server}, in both revisions
// that it has requirements for, with a server behind the gateway that speaks the
// same revision, and with one that speaks only the other era. Required scenarios are
// those that the suite scores for the revision; more are the ones it runs without
// scoring them and that pass as well. What cannot pass across eras is listed, with
// the reason on the wire, in the file of expected failures.
func TestConformanceSuitePassesThroughTheGateway(t *testing.T) {
	sessions := func(t *testing.T) string { return goEverything(t, false) }
	stateless := func(t *testing.T) string { return goEverything(t, true) }
	for _, run := range []struct {
		revision, behind string
		server           func(*testing.T) string
		expected         string // file of expected failures
		required, passed int
		more             []string
	}{
		{"2025-11-25", "a server of 2025-11-25", sessions, "", 30, 30, []string{"server-session-lifecycle", "json-schema-2020-12", "server-sse-polling"}},
		{"2026-07-28", "a server of 2026-07-28", stateless, "", 37, 37, []string{"json-schema-2020-12", "http-header-validation", "http-custom-header-server-validation"}},
		{"2025-11-25", "a server of 2026-07-28 alone", modernOnly, "", 30, 30, []string{"server-session-lifecycle", "json-schema-2020-12", "server-sse-polling"}},
		{
			"2026-07-28", "a server of 2025-11-25 alone", sessions, "conformance-modern-over-legacy.yml", 37, 35,
			[]string{"json-schema-2020-12", "http-header-validation", "http-custom-header-server-validation"},
		},
	} {
		t.Run(run.revision+" over "+run.behind, func(t *testing.T) {
			g := serve(t, servers{"everything": httpServer(run.server(t))})
			got := conform(t, g.mcp("everything"), run.revision, run.expected)
			if got.passed != run.passed || got.required != run.required {
				t.Errorf("%d of %d required scenarios passed, want %d of %d", got.passed, got.required, run.passed, run.required)
			}
			for _, name := range run.more {
				if !got.ok[name] {
					t.Errorf("%s (not scored) fails, but passes without the gateway:\n%s", name, failedChecks(t, got.dir, name))
				}
			}
			shown(t, "conformance %s through /mcp/{server}, %s: %d/%d required scenarios", run.revision, run.behind, got.passed, run.required)
		})
	}
}

// scored is the outcome of one run of the suite.
type scored struct {
	dir              string          // where the suite left its records
	ok               map[string]bool // by scenario
	required, passed int
}

var (
	scenarioLine  = regexp.MustCompile(`^([✓✗]) ([a-z0-9-]+): (\d+) passed, (\d+) failed`)
	notScoredLine = regexp.MustCompile(`^\s+[✓✗] ([a-z0-9-]+) \(`)
)

// conform runs the suite. expected is the file of expected failures, in the suite's
// own form; "" for none. A failed check of a required scenario that is not in it is
// an error, and so is one that is and passes. (Given the file, the suite would not
// say which of the scenarios it scores.)
func conform(t *testing.T, url, revision, expected string) scored {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	out := t.TempDir()
	cmd := exec.CommandContext(ctx, node22, filepath.Join(modules, "conformance/dist/index.js"),
		"server", "--url", url, "--requirements", revision, "-o", out)
	cmd.Env = cleanEnv("HOME=" + t.TempDir())
	printed, runErr := cmd.CombinedOutput()
	_, summary, found := strings.Cut(string(printed), "=== SUMMARY ===")
	if !found {
		t.Fatalf("the suite printed no summary: %v\n%s", runErr, tail(string(printed), 5000))
	}
	got := scored{dir: out, ok: map[string]bool{}}
	for line := range strings.Lines(summary) {
		if m := scenarioLine.FindStringSubmatch(line); m != nil {
			got.ok[m[2]] = m[1] == "✓"
		}
	}
	unscored := map[string]bool{}
	for line := range strings.Lines(summary) {
		if m := notScoredLine.FindStringSubmatch(line); m != nil {
			unscored[m[1]] = true
		}
	}
	allowed := expectedFailures(t, expected)
	for name, ok := range got.ok {
		if unscored[name] {
			continue
		}
		got.required++
		if ok {
			got.passed++
			continue
		}
		for _, check := range checksOf(t, out, name, "FAILURE") {
			if seen := fmt.Sprintf("%s:%s", name, check["id"]); allowed[seen] {
				delete(allowed, seen)
			} else {
				t.Errorf("%s fails:\n%s", seen, failedChecks(t, out, name))
			}
		}
	}
	for name := range allowed {
		t.Errorf("%s is expected to fail and passes: take it out of %s", name, expected)
	}
	if runErr != nil && expected == "" {
		t.Errorf("the suite: %v\n%s", runErr, tail(summary, 5000))
	}
	return got
}

var expectedLine = regexp.MustCompile(`(?m)^  - ([a-z0-9-]+:[a-z0-9-]+)$`)

// expectedFailures are the entries of the file, scenario:check.
func expectedFailures(t *testing.T, file string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	if file == "" {
		return all
	}
	list, err := os.ReadFile(path(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range expectedLine.FindAllStringSubmatch(string(list), -1) {
		all[m[1]] = true
	}
	if len(all) == 0 || len(all) > 3 {
		t.Fatalf("%s lists %d failures, want 1 to 3", file, len(all))
	}
	return all
}

// failedChecks are the checks of a scenario that did not pass, as the suite recorded
// them, requests and responses included.
func failedChecks(t *testing.T, dir, scenario string) string {
	t.Helper()
	var b strings.Builder
	for _, check := range checksOf(t, dir, scenario, "FAILURE", "WARNING") {
		delete(check, "specReferences")
		line, err := json.Marshal(check)
		if err != nil {
			return err.Error()
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return tail(b.String(), 6000)
}

// checksOf are the checks of a scenario with one of the statuses.
func checksOf(t *testing.T, dir, scenario string, status ...string) []map[string]any {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "server-"+scenario+"-20*", "checks.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the suite left no record of %s", scenario)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var checks []map[string]any
	if err := json.Unmarshal(text, &checks); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(checks, func(check map[string]any) bool { return !slices.Contains(status, fmt.Sprint(check["status"])) })
}
