package eras

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

const uiExtension = `"io.modelcontextprotocol/ui":{"mimeTypes":["text/html;profile=mcp-app"]}`

// appScripts are servers whose tools have user interfaces: two that call theirs the
// same, and one that does not.
func appScripts() map[string]upstreamtest.Script {
	return map[string]upstreamtest.Script{
		"modern": {App: "ui://view", Instructions: "<p>modern"},
		"legacy": {App: "ui://view", Instructions: "<p>legacy", Era: upstreamtest.Legacy},
		"lone":   {App: "ui://lone/view", Instructions: "<p>lone", Era: upstreamtest.Sessionless},
	}
}

func TestAToolsUserInterfaceIsReadThroughTheGateway(t *testing.T) {
	h := open(t, appScripts())
	for _, version := range exchange.Versions {
		t.Run(version, func(t *testing.T) {
			c := connect(t, h.url, "/mcp", version, `{"extensions":{`+uiExtension+`}}`)
			list, failed := c.do(t.Context(), "tools/list", `{}`, "")
			if failed != nil {
				t.Fatal(failed)
			}
			var page struct {
				Tools []struct {
					Name string
					Meta struct {
						UI  struct{ ResourceURI string }
						Old string `json:"ui/resourceUri"`
					} `json:"_meta"`
				}
			}
			if err := json.Unmarshal(list, &page); err != nil || !strings.Contains(string(list), `"vendor":9007199254740993`) {
				t.Fatal(err)
			}
			read := map[string]bool{}
			for _, tool := range page.Tools {
				server, _, _ := strings.Cut(tool.Name, "__")
				uri := tool.Meta.UI.ResourceURI
				if uri == "" || tool.Meta.Old != uri || !strings.HasPrefix(uri, "ui://") || server == "lone" && uri != "ui://lone/view" {
					t.Fatalf("%s links to %q and %q", tool.Name, uri, tool.Meta.Old)
				}
				if read[server] {
					continue
				}
				read[server] = true
				result, failed := c.do(t.Context(), "resources/read", `{"uri":"`+uri+`"}`, "")
				for _, part := range []string{
					`"uri":"` + uri + `"`, `"mimeType":"text/html;profile=mcp-app"`, `"text":"<p>` + server + `"`, `"ui":{"csp":{"connectDomains":["https://a.test"]}}`,
				} {
					if failed != nil || !strings.Contains(string(result), part) {
						t.Errorf("%s: %s lacks %s, %v", uri, result, part, failed)
					}
				}
			}
			if len(read) != 3 {
				t.Errorf("read %v", read)
			}
		})
	}
}

func TestTheUIExtensionIsDeclaredBothWays(t *testing.T) {
	h := open(t, appScripts())
	for _, version := range exchange.Versions {
		for _, path := range []string{"/mcp", "/mcp/modern", "/mcp/legacy"} {
			c := connect(t, h.url, path, version, `{"extensions":{`+uiExtension+`}}`)
			about := c.about
			if c.modern() {
				raw, failed := c.do(t.Context(), "server/discover", `{}`, "")
				if failed != nil {
					t.Fatal(failed)
				}
				about = string(raw)
			}
			if !strings.Contains(about, `"extensions":{`+uiExtension+`}`) {
				t.Errorf("%s at %s: %s", version, path, about)
			}
		}
		// A server hears what the client can show: a modern one with each request.
		c := connect(t, h.url, "/mcp/modern", version, `{"extensions":{`+uiExtension+`}}`)
		result, failed := c.do(t.Context(), "tools/call", `{"name":"mirror","arguments":{}}`, "")
		if failed != nil || !strings.Contains(string(result), uiExtension) {
			t.Errorf("%s: %s %v", version, result, failed)
		}
	}
	if plain := open(t, map[string]upstreamtest.Script{"plain": {}}); strings.Contains(connect(t, plain.url, "/mcp", exchange.V20251125, `{}`).about, "extensions") {
		t.Error("announced where there is none")
	}
}
