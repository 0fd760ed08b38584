package jackfield_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheTestsThatTheThreatModelNamesExist: a line of docs/security.md is worth as
// much as its test.
func TestTheTestsThatTheThreatModelNamesExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]map[string]bool{}
	tests := func(dir string) map[string]bool {
		if exists[dir] == nil {
			exists[dir] = map[string]bool{}
			files, _ := filepath.Glob(filepath.Join(filepath.FromSlash(dir), "*_test.go")) // the pattern is well formed
			for _, file := range files {
				code, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(code, -1) {
					exists[dir][string(m[1])] = true
				}
			}
		}
		return exists[dir]
	}
	name := regexp.MustCompile("(?:`([a-z/.]+)`: )?`(Test\\w+)`")
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| threat") {
			continue
		}
		rows++
		named := name.FindAllStringSubmatch(line, -1)
		if len(named) == 0 && !strings.Contains(line, "does not apply") {
			t.Errorf("no test: %s", line)
		}
		dir := ""
		for _, m := range named {
			if m[1] != "" { // also for those that follow in the row
				dir = m[1]
			}
			if !tests(dir)[m[2]] {
				t.Errorf("there is no test %s in %q", m[2], dir)
			}
		}
	}
	if rows < 40 {
		t.Errorf("only %d rows were found", rows)
	}
}
