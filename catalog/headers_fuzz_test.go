package catalog

import (
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield/wire"
)

// FuzzAnnotations holds that whatever a schema says, the headers that come of it are
// ones that can be sent: tokens, each once, each for one argument.
func FuzzAnnotations(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}`, `{"properties":{"a":{"properties":{"b":{"type":"boolean","x-mcp-header":"B"}}}}}`,
		`{"items":[{"x-mcp-header":"A"}]}`, `{"properties":{"a":{"type":"integer","x-mcp-header":"A"},"b":{"type":"integer","x-mcp-header":"a"}}}`, `[[[`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, schema string) {
		found, err := paramHeaders(wire.Raw(`{"name":"t","inputSchema":` + schema + `}`))
		if err != nil && found != nil {
			t.Fatal("headers of a tool that is dropped")
		}
		seen := map[string]bool{}
		for _, h := range found {
			if name := strings.ToLower(h.Name); h.Name == "" || !isToken(h.Name) || len(h.Path) == 0 || seen[name] {
				t.Fatalf("%+v of %s", found, schema)
			} else {
				seen[name] = true
			}
		}
	})
}
