package connections

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The table in docs/seed.md is only worth something while its tests exist.
func TestTheTestsThatTheSeedTableNamesExist(t *testing.T) {
	table, err := os.ReadFile(filepath.Join("..", "docs", "seed.md"))
	if err != nil {
		t.Fatal(err)
	}
	exists := make(map[string]bool)
	for _, dir := range []string{"connections", "pool", "catalog"} {
		files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("the tests of %s: %v, %v", dir, files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(text, -1) {
				exists[dir+"."+string(m[1])] = true
			}
		}
	}
	name := regexp.MustCompile("`(?:(pool|catalog)`: `)?(Test\\w+)`")
	for row := range strings.Lines(string(table)) {
		dir := "connections"
		for _, m := range name.FindAllStringSubmatch(row, -1) {
			if m[1] != "" { // also for those that follow in the row
				dir = m[1]
			}
			if !exists[dir+"."+m[2]] {
				t.Errorf("there is no test %s in %s", m[2], dir)
			}
		}
	}
	behaviours := regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllString(string(table), -1)
	if len(behaviours) != 47+15 {
		t.Errorf("%d rows, want 47 behaviours and 15 defects", len(behaviours))
	}
}
