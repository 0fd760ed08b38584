package registry

import (
	"os"
	"regexp"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

func TestTheExamplesInTheDocsAreReadWithoutAProblem(t *testing.T) {
	for page, least := range map[string]int{"access.md": 4, "configuration.md": 10} {
		text, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		blocks := regexp.MustCompile("(?s)```(yaml|json)\n(.*?)```").FindAllSubmatch(text, -1)
		if len(blocks) < least {
			t.Errorf("%s has only %d examples", page, len(blocks))
		}
		for _, b := range blocks {
			report := document.NewReport(page)
			node := document.Parse("x."+string(b[1]), b[2], report)
			servers := node.Get("mcpServers")
			if servers == nil { // an entry, as the API takes it
				r, _ := stored(t)
				apply(t, r, server("a", "https://api.example.com/mcp"))
				put(t, r, edna, jackfield.Team("data"), "a", `{"extends":true,"headers":{"Authorization":"x"}}`)
				put(t, r, ann, ann.Scope(), "a", `{"url":"https://api.example.com/mcp","headers":{"Authorization":"x"}}`)
				_, inTeam, errTeam := r.Put(t.Context(), edna, jackfield.Team("data"), "a", b[2], Condition{Anyway: true})
				_, own, errOwn := r.Put(t.Context(), ann, ann.Scope(), "a", b[2], Condition{Anyway: true})
				if errTeam != nil && errOwn != nil {
					t.Errorf("%s: %s\n%v %v", page, b[2], inTeam, own)
				}
				continue
			}
			found := Servers(servers, Source{Lookup: env}, report)
			if len(found) == 0 || len(report.Problems()) > 0 {
				t.Errorf("%s: %s\n%v", page, b[2], report.Problems())
			}
			for _, s := range found {
				if s.Invalid != "" {
					t.Errorf("%s: %s: %s", page, s.ID, s.Invalid)
				}
			}
		}
	}
}
