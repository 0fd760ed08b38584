package app

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield/internal/registry"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

func TestTheExamplesInTheDocsAreGood(t *testing.T) {
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```(yaml|json)\n(.*?)```").FindAllSubmatch(text, -1)
	if len(blocks) < 8 {
		t.Fatalf("only %d examples found", len(blocks))
	}
	env := func(name string) (string, bool) {
		if name == "JACKFIELD_TOKEN" {
			return longToken, true
		}
		return testEnv(name)
	}
	for _, block := range blocks {
		c, found, err := Load(write(t, "jackfield."+string(block[1]), string(block[2])), Overrides{Env: env})
		if err != nil || len(found) != 0 || len(c.Servers) == 0 {
			t.Errorf("%s\n%v %v", block[2], found, err)
		}
	}
}

func TestTheDocsNameEverySetting(t *testing.T) {
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []reflect.Type{
		reflect.TypeFor[configFile](), reflect.TypeFor[fileAuth](), reflect.TypeFor[fileLimits](), reflect.TypeFor[fileLog](), reflect.TypeFor[fileEgress](),
		reflect.TypeFor[fileBudget](), reflect.TypeFor[registry.Entry](),
	} {
		for _, name := range document.Keys(of).Names {
			if !regexp.MustCompile(`(^|[^A-Za-z])` + regexp.QuoteMeta(name) + `([^A-Za-z]|$)`).Match(text) {
				t.Errorf("%s is not in docs/configuration.md", name)
			}
		}
	}
	for _, name := range []string{"JACKFIELD_CONFIG", "JACKFIELD_LISTEN", "JACKFIELD_DATA", "JACKFIELD_PUBLIC_URL", "JACKFIELD_AUTH_TOKEN", "JACKFIELD_LOG_LEVEL", "JACKFIELD_LOG_FORMAT"} {
		if !strings.Contains(string(text), name) {
			t.Errorf("%s is not in docs/configuration.md", name)
		}
	}
}
