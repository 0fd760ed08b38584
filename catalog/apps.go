package catalog

import (
	"slices"
	"strings"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// A tool can link to a resource that is its user interface (MCP Apps). Servers need
// not list such resources, so a link is as good as a listing. A client follows it
// through the view, where the URI must stand for the resource of the same server:
// where it does not, the link is rewritten. Clients take no other scheme than this.
const uiScheme = "ui://"

// link is where a tool links to its user interface.
type link struct {
	uri     string
	at, end int32 // where that stands in the tool's text, quotes included
}

// linkMembers are the places of such a link: that of the specification, the one
// before it, and the one of hosts that came first.
var (
	linkMembers = []string{"ui", "ui/resourceUri", "openai/outputTemplate"}
	uiMembers   = []string{"resourceUri"}
)

// linksIn finds the links in a tool's _meta, which stands at from in its text.
func linksIn(meta wire.Raw, from int) []link {
	o, err := wire.ScanObject(meta, linkMembers)
	if err != nil {
		return nil
	}
	var all []link
	add := func(o *wire.Object, from int, member string) {
		at, end := o.Span(member)
		if uri, ok := wire.String(o.Get(member)); ok && strings.HasPrefix(uri, uiScheme) {
			all = append(all, link{uri, int32(from + at), int32(from + end)})
		}
	}
	for _, member := range linkMembers[1:] {
		add(&o, from, member)
	}
	if ui, err := wire.ScanObject(o.Get("ui"), uiMembers); err == nil {
		at, _ := o.Span("ui")
		add(&ui, from+at, "resourceUri")
	}
	slices.SortFunc(all, func(a, b link) int { return int(a.at - b.at) })
	return all
}

// owned is a URI in the mouth of one server.
type owned struct {
	server *jackfield.Server
	uri    string
}

// link finds what tools link to, and which of these links mean something else in
// the view than at their server: resources are what each server lists.
func (t *table) link(servers []jackfield.Server, resources []*listing) {
	for i := range t.rows {
		r := &t.rows[i]
		for _, l := range r.item.links {
			if t.linked == nil {
				t.linked = map[string][]*jackfield.Server{}
			}
			if !slices.Contains(t.linked[l.uri], r.server) {
				t.linked[l.uri] = append(t.linked[l.uri], r.server)
			}
		}
	}
	if t.linked == nil {
		return
	}
	listed := map[string][]*jackfield.Server{}
	for i, l := range resources {
		if l == nil {
			continue
		}
		for j := range l.items {
			if uri := l.items[j].key; t.linked[uri] != nil {
				listed[uri] = append(listed[uri], &servers[i])
			}
		}
	}
	for uri, by := range t.linked {
		has := listed[uri]
		if has == nil {
			has = by
		}
		for _, s := range by {
			if len(has) == 1 && has[0] == s {
				continue
			}
			if t.elsewhere == nil {
				t.elsewhere = map[owned]bool{}
			}
			t.elsewhere[owned{s, uri}] = true
		}
	}
}

// appendLinked appends a tool with its final name, and links, in their places.
func (t *table) appendLinked(b []byte, r *row, it *item) []byte {
	from := int32(0)
	put := func(at, end int32, text string) {
		b = append(b, it.raw[from:at]...)
		b = wire.AppendString(b, text)
		from = end
	}
	named := false
	for i := range it.links {
		l := &it.links[i]
		if !named && it.at < l.at {
			named = true
			put(it.at, it.end, r.final)
		}
		if t.elsewhere[owned{r.server, l.uri}] {
			put(l.at, l.end, QualifiedURI(r.server.Name, l.uri))
		}
	}
	if !named {
		put(it.at, it.end, r.final)
	}
	return append(b, it.raw[from:]...)
}

// interfaces are the targets of a URI that tools link to and nobody lists.
func (v *View) interfaces(owner jackfield.Scope, uri string) []Target {
	if !strings.HasPrefix(uri, uiScheme) {
		return nil
	}
	var all []Target
	for _, s := range v.table(owner, Tools).linked[uri] {
		all = append(all, Target{Server: s, Key: uri, Quoted: wire.AppendString(nil, uri)})
	}
	return all
}

var executionMembers = []string{"taskSupport"}

// anyClient gives a tool that can only be called as a task in words for clients that
// know no tasks: through the gateway nobody needs to, and clients refuse to call it
// otherwise.
func anyClient(execution wire.Raw) (wire.Raw, bool) {
	o, err := wire.ScanObject(execution, executionMembers)
	if err != nil || string(o.Get("taskSupport")) != `"required"` {
		return nil, false
	}
	o.Set("taskSupport", wire.Raw(`"optional"`))
	return o.Raw(), true
}
