package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The official conformance suite as a client of /mcp/{server}, with the go-sdk's
// everything-server behind the gateway: legacy to legacy and modern to modern.
// Required scenarios are those that the suite scores for the revision; more are
// the ones it runs without scoring them and that the server alone passes.
func TestConformanceSuitePassesThroughTheGateway(t *testing.T) {
	for _, run := range []struct {
		revision  string
		stateless bool
		required  int
		more      []string
	}{
		{"2025-11-25", false, 30, []string{"server-session-lifecycle", "json-schema-2020-12", "server-sse-polling"}},
		{"2026-07-28", true, 37, []string{"json-schema-2020-12", "http-header-validation", "http-custom-header-server-validation"}},
	} {
		t.Run(run.revision, func(t *testing.T) {
			g := serve(t, servers{"everything": httpServer(goEverything(t, run.stateless))})
			got := conform(t, g.mcp("everything"), run.revision)
			if got.passed != run.required || got.required != run.required {
				t.Errorf("%d of %d required scenarios passed, want %d of %d", got.passed, got.required, run.required, run.required)
			}
			for _, name := range run.more {
				if !got.ok[name] {
					t.Errorf("%s (not scored) fails, but passes without the gateway", name)
				}
			}
			shown(t, "conformance %s through /mcp/{server}: %d/%d required scenarios", run.revision, got.passed, run.required)
		})
	}
}

// scored is the outcome of one run of the suite.
type scored struct {
	ok               map[string]bool // by scenario
	required, passed int
}

var (
	scenarioLine  = regexp.MustCompile(`^([✓✗]) ([a-z0-9-]+): (\d+) passed, (\d+) failed`)
	notScoredLine = regexp.MustCompile(`^\s+[✓✗] ([a-z0-9-]+) \(`)
)

func conform(t *testing.T, url, revision string) scored {
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
	got := scored{ok: map[string]bool{}}
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
	for name, ok := range got.ok {
		if unscored[name] {
			continue
		}
		got.required++
		if ok {
			got.passed++
		} else {
			t.Errorf("scenario %s fails:\n%s", name, failedChecks(t, out, name))
		}
	}
	if runErr != nil {
		t.Errorf("the suite: %v\n%s", runErr, tail(summary, 5000))
	}
	return got
}

// failedChecks are the failed checks of a scenario as the suite recorded them,
// requests and responses included.
func failedChecks(t *testing.T, dir, scenario string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "server-"+scenario+"-20*", "checks.json"))
	if err != nil || len(files) == 0 {
		return "no record of it"
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return err.Error()
	}
	var checks []map[string]any
	if err := json.Unmarshal(text, &checks); err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, check := range checks {
		if check["status"] == "SUCCESS" || check["status"] == "INFO" || check["status"] == "SKIPPED" {
			continue
		}
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
