package pool

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A rule without its test is a wish.
func TestTheTestsThatTheRulesNameExist(t *testing.T) {
	rules, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(text)
	}
	names := regexp.MustCompile(`Test\w+`).FindAllString(string(rules), -1)
	for _, name := range names {
		if !strings.Contains(tests.String(), "\nfunc "+name+"(t *testing.T)") {
			t.Errorf("there is no test %s", name)
		}
	}
	if len(names) < 30 {
		t.Errorf("the rules name %d tests", len(names))
	}
}
