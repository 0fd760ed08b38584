package upstreamtest

import (
	"encoding/json"
	"fmt"
)

// appCapability is what a server with user interfaces declares.
const appCapability = `{"mimeTypes":["text/html;profile=mcp-app"]}`

// appLink is what links a tool to its user interface (MCP Apps), in the words of the
// specification and in those before it.
func (s *Server) appLink() string {
	if s.script.App == "" {
		return ""
	}
	return fmt.Sprintf(`,"_meta":{"ui":{"resourceUri":%[1]q,"visibility":["model","app"]},"ui/resourceUri":%[1]q,"vendor":9007199254740993}`, s.script.App)
}

// appView is the user interface, when that is what is read; its text is the server's
// Instructions.
func (s *Server) appView(t *turn) string {
	var p struct {
		URI string `json:"uri"`
	}
	_ = json.Unmarshal(orNull(t.m.Params), &p)
	if s.script.App == "" || p.URI != s.script.App {
		return ""
	}
	members := fmt.Sprintf(`"contents":[{"uri":%q,"mimeType":"text/html;profile=mcp-app","text":%q,"_meta":{"ui":{"csp":{"connectDomains":["https://a.test"]}}}}]`,
		p.URI, s.script.Instructions)
	if t.modern {
		members += `,"ttlMs":0,"cacheScope":"public"`
	}
	return members
}
