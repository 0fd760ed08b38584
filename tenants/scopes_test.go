package tenants

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield/internal/registry/scopecases"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

var hosts = regexp.MustCompile(`https://([a-z0-9.-]+\.test)(/[a-z]*)?`)

// TestTheTableOfScopesHoldsForListsAndCalls is the registry's table, asked the way that
// clients ask: what is listed, by which names, and where calls arrive, both at /mcp and
// at /mcp/{server}. What is not listed cannot be called.
func TestTheTableOfScopesHoldsForListsAndCalls(t *testing.T) {
	cases, err := scopecases.Read("../internal/registry/testdata/scopes.txt")
	if err != nil || len(cases) < 40 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	n := 0
	for len(cases) > 0 {
		// The callers of one group share its definitions.
		size := 1
		for size < len(cases) && slices.Equal(cases[size].Definitions, cases[0].Definitions) {
			size++
		}
		group := cases[:size]
		cases = cases[size:]
		t.Run(group[0].Title, func(t *testing.T) { playScopes(t, group) })
		n += size
	}
	t.Logf("%d cases", n)
}

// playScopes plays a group of cases on a gateway of its own.
func playScopes(t *testing.T, group []scopecases.Case) {
	servers := map[string]*upstreamtest.Server{} // by host
	local := func(doc string) string {
		return hosts.ReplaceAllStringFunc(doc, func(text string) string {
			host := hosts.FindStringSubmatch(text)[1]
			if servers[host] == nil {
				servers[host] = upstreamtest.New(t, upstreamtest.Script{Bare: true, Tools: scopecases.Tools})
			}
			return servers[host].Endpoint().URL
		})
	}
	var file strings.Builder
	file.WriteString("egress: {allow: [127.0.0.1]}\nmcpServers:\n  nobodys: {url: \"http://127.0.0.1:1/mcp\", disabled: true}\n")
	for _, d := range group[0].Definitions {
		if d.File {
			fmt.Fprintf(&file, "  %s: %s\n", d.Name, local(d.Doc))
		}
	}
	members := []member{{subject: "who defines", role: "admin"}}
	for i, c := range group {
		members = append(members, member{
			subject: fmt.Sprint("case ", i, " ", c.Who.Subject), teams: c.Who.Teams, role: string(c.Who.Role), user: c.Who.Subject, only: c.Who.Only,
		})
	}
	h := open(t, file.String(), members...)
	for _, d := range group[0].Definitions {
		if !d.File {
			status, _, text := h.rest("who defines", http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":%q,"scope":%q,"definition":%s}`, d.Name, d.Scope, local(d.Doc)))
			useless := strings.Contains(d.Doc, `"extends"`) && (status == http.StatusBadRequest || status == http.StatusForbidden)
			if status != http.StatusCreated && !useless { // an overlay over nothing, or under one of the file, is refused, and so as good as written
				t.Fatalf("%s of %s: %d %s", d.Name, d.Scope, status, text)
			}
		}
	}
	for i, c := range group {
		h.playScope(t, fmt.Sprint("case ", i, " ", c.Who.Subject), c, servers)
	}
}

// playScope is one case: lists and calls.
func (h *house) playScope(t *testing.T, who string, c scopecases.Case, servers map[string]*upstreamtest.Server) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var want []string
	for _, s := range c.Sees {
		for _, tool := range s.Tools {
			want = append(want, s.Name+"__"+tool)
		}
	}
	listed := h.tools(ctx, who)
	inOrder := func(names []string) []string { // of servers: the order of tools is the server's
		var out []string
		for _, name := range names {
			server, _, _ := strings.Cut(name, "__")
			if len(out) == 0 || out[len(out)-1] != server {
				out = append(out, server)
			}
		}
		return out
	}
	if got := inOrder(listed); !slices.Equal(got, inOrder(want)) {
		t.Errorf("%s sees the servers %q, not %q", who, got, inOrder(want))
	}
	slices.Sort(listed)
	slices.Sort(want)
	if !slices.Equal(listed, want) {
		t.Errorf("%s: %s lists %q, not %q", c.Title, who, listed, want)
	}
	seen := map[string]scopecases.Sight{}
	names := map[string]bool{}
	for _, s := range c.Sees {
		seen[s.Name] = s
	}
	for _, d := range c.Definitions {
		names[d.Name] = true
	}
	for name := range names {
		s := seen[name]
		for _, tool := range scopecases.Tools {
			for _, way := range []struct{ path, tool string }{{"/mcp/" + name, tool}, {"/mcp", name + "__" + tool}} {
				before := arrivals(servers)
				text, err := h.ask(ctx, who, way.path, "tools/call", way.tool, fmt.Sprintf(`"name":%q,"arguments":{}`, way.tool))
				var arrived []string
				for host, n := range arrivals(servers) {
					if n > before[host] {
						arrived = append(arrived, host)
					}
				}
				switch may := slices.Contains(s.Tools, tool); {
				case may && (err != nil || !slices.Equal(arrived, []string{s.Host})):
					t.Errorf("%s: %s calls %s at %s: %s %v, arrived at %q and not at %s", c.Title, who, way.tool, way.path, text, err, arrived, s.Host)
				case !may && (err == nil || len(arrived) > 0):
					t.Errorf("%s: %s calls %s at %s, which it does not see: %s, arrived at %q", c.Title, who, way.tool, way.path, text, arrived)
				}
			}
		}
	}
}

// arrivals are how many calls each server has seen.
func arrivals(servers map[string]*upstreamtest.Server) map[string]int {
	out := map[string]int{}
	for host, s := range servers {
		out[host] = s.Count("tools/call")
	}
	return out
}
