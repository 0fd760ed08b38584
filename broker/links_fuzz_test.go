package broker

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/jackfield-dev/jackfield/wire"
)

// FuzzLinks holds that a result is looked through without harm, and that a link
// which is there is found beside whatever else is.
func FuzzLinks(f *testing.F) {
	for _, s := range []string{`7`, `{"type":"resource"}`, `{"type":"resource","resource":7}`, `[{"type":"resource_link","uri":"x"}]`, `null`, `{"type":["resource_link"]}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, other string) {
		linksIn(wire.Raw(other))
		result := `{"content":[` + other + `,{"type":"resource_link","uri":"there"}]}`
		if !json.Valid([]byte(result)) {
			return
		}
		if slices.Contains(linksIn(wire.Raw(result)), "there") {
			return
		}
		var r struct{ Content []json.RawMessage }
		if json.Unmarshal([]byte(result), &r) == nil && len(r.Content) > 1 && json.Valid([]byte(other)) {
			t.Fatalf("the link in %s was not found", result)
		}
	})
}
