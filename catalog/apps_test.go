package catalog

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// app is a tool with a user interface.
func app(name, uri string) wire.Raw {
	return wire.Raw(fmt.Sprintf(`{"_meta":{"x":1e400,"ui/resourceUri":%[2]q,"ui":{"csp":{"connectDomains":["https://a.test"]},"resourceUri": %[2]q ,"visibility":["app"]},"openai/outputTemplate":%[2]q},"name":%[1]q,"inputSchema":{}}`, name, uri))
}

// linksOf are the links of the tools that a view shows, by final name.
func linksOf(t *testing.T, page wire.Raw) map[string]string {
	t.Helper()
	var r struct {
		Tools []struct {
			Name string
			Meta struct {
				Old    string `json:"ui/resourceUri"`
				OpenAI string `json:"openai/outputTemplate"`
				UI     struct {
					URI        string `json:"resourceUri"`
					CSP        wire.Raw
					Visibility wire.Raw
				}
			} `json:"_meta"`
		}
	}
	if err := json.Unmarshal(page, &r); err != nil {
		t.Fatalf("%v: %s", err, page)
	}
	links := map[string]string{}
	for _, tool := range r.Tools {
		m := tool.Meta
		if m.Old != m.UI.URI || m.OpenAI != m.UI.URI {
			t.Errorf("%s links to %q, %q and %q", tool.Name, m.UI.URI, m.Old, m.OpenAI)
		}
		if m.UI.URI != "" && (string(m.UI.CSP) != `{"connectDomains":["https://a.test"]}` || string(m.UI.Visibility) != `["app"]`) {
			t.Errorf("%s: %s", tool.Name, page)
		}
		links[tool.Name] = m.UI.URI
	}
	return links
}

func TestAToolsInterfaceIsFoundThroughTheView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a", "b", "c", "d")
		set := func(s jackfield.ServerID, k Kind, raws ...wire.Raw) { w.servers[s].raws[k] = raws }
		resource := func(uri string) wire.Raw { return wire.Raw(fmt.Sprintf(`{"uri":%q,"name":"r"}`, uri)) }
		// alone: only a links to it. hers: b lists it, a links to it. both: a and b link to it.
		// listed: a lists and links to it. clash: all list it.
		set("a", Tools, app("alone", "ui://a/alone"), app("hers", "ui://b/hers"), app("both", "ui://both"), app("listed", "ui://a/listed"), app("clash", "ui://clash"), app("older", "https://no.test/"))
		set("b", Tools, app("both", "ui://both"), app("hers", "ui://b/hers"))
		set("c", Tools, app("ours", "ui://jackfield/mine"))
		set("a", Resources, resource("ui://a/listed"), resource("ui://clash"))
		set("b", Resources, resource("ui://b/hers"), resource("ui://clash"))
		set("d", Resources, resource("ui://clash"))
		set("d", Templates, wire.Raw(`{"uriTemplate":"ui://{anything}/alone","name":"t"}`))
		v := w.view("a", "b", "c", "d")
		for _, k := range []Kind{Resources, Templates, Tools} {
			if _, err := v.List(t.Context(), jackfield.App(), k, ""); err != nil {
				t.Fatal(err)
			}
		}
		page, err := v.Page(t.Context(), jackfield.App(), Tools, "")
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"a__alone": "ui://a/alone", "a__listed": "ui://a/listed", "b__hers": "ui://b/hers", "c__ours": "ui://jackfield/mine",
			"a__hers": "ui://jackfield/a/ui:%2F%2Fb%2Fhers", "a__both": "ui://jackfield/a/ui:%2F%2Fboth", "b__both": "ui://jackfield/b/ui:%2F%2Fboth",
			"a__clash": "ui://jackfield/a/ui:%2F%2Fclash",
		}
		for _, raw := range []wire.Raw{page.Raw, page.Bare()} {
			got := linksOf(t, raw)
			for tool, uri := range want {
				if got[tool] != uri {
					t.Errorf("%s links to %s, want %s", tool, got[tool], uri)
				}
				// Where it leads is the server that the tool is of.
				found := v.FindURI(jackfield.App(), got[tool])
				server, _, _ := strings.Cut(tool, "__")
				if len(found) != 1 || found[0].Server.Name != server || found[0].Key != original(t, w, tool) {
					t.Errorf("%s leads to %+v", got[tool], found)
				}
			}
		}
		if found := v.FindURI(jackfield.App(), "ui://both"); len(found) != 2 {
			t.Errorf("ui://both is %d servers'", len(found))
		}
		listed, err := v.List(t.Context(), jackfield.App(), Resources, "")
		if err != nil || !strings.Contains(string(listed), `"uri":"ui://jackfield/d/ui:%2F%2Fclash"`) || !strings.Contains(string(listed), `"uri":"ui://a/listed"`) {
			t.Errorf("listed %s, %v", listed, err)
		}
		// At its own address a server's links are its own.
		only := w.c.Only(w.servers["a"].def)
		alone, err := only.List(t.Context(), jackfield.App(), Tools, "")
		if err != nil || linksOf(t, alone)["hers"] != "ui://b/hers" {
			t.Errorf("%s %v", alone, err)
		}
	})
}

// original is what the tool of that final name links to at its server.
func original(t *testing.T, w *world, final string) string {
	t.Helper()
	server, tool, _ := strings.Cut(final, "__")
	for _, raw := range w.servers[jackfield.ServerID(server)].raws[Tools] {
		if it, err := parseItem(Tools, raw); err == nil && it.key == tool {
			return it.links[0].uri
		}
	}
	t.Fatalf("no %s", final)
	return ""
}

func TestALinkFollowsWhoListsWhatItLeadsTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a", "b")
		w.servers["a"].raws[Tools] = []wire.Raw{app("tool", "ui://x")}
		v := w.view("a", "b")
		link := func() string {
			page, err := v.List(t.Context(), jackfield.App(), Tools, "")
			if err != nil {
				t.Fatal(err)
			}
			return linksOf(t, page)["a__tool"]
		}
		if got := link(); got != "ui://x" {
			t.Errorf("links to %s", got)
		}
		w.mu.Lock()
		w.servers["b"].raws[Resources] = []wire.Raw{wire.Raw(`{"uri":"ui://x","name":"r"}`)}
		w.mu.Unlock()
		w.c.Invalidate(w.servers["b"].def, jackfield.App(), "notifications/resources/list_changed")
		if _, err := v.List(t.Context(), jackfield.App(), Resources, ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := link(); got != "ui://jackfield/a/ui:%2F%2Fx" {
			t.Errorf("links to %s", got)
		}
	})
}

func TestMetaThatIsNoLinkStaysAsItIs(t *testing.T) {
	for _, meta := range []string{
		`7`, `{}`, `[]`, `{"ui":7}`, `{"ui":{}}`, `{"ui":{"resourceUri":7}}`, `{"ui":{"resourceUri":"https://x.test/"}}`,
		`{"ui/resourceUri":null}`, `{"other":{"resourceUri":"ui://x"}}`,
	} {
		it, err := parseItem(Tools, wire.Raw(`{"name":"t","_meta":`+meta+`}`))
		if err != nil || it.links != nil {
			t.Errorf("%s: %+v, %v", meta, it.links, err)
		}
	}
}

func TestAToolThatMustBeATaskNeedNotBeThroughTheGateway(t *testing.T) {
	for raw, want := range map[string]string{
		`{"execution":{"x":1,"taskSupport":"required"},"name":"t","outputSchema":{"type":"array"}}`: `{"execution":{"x":1,"taskSupport":"optional"},"name":"t","outputSchema":{"type":"array"}}`,
		`{"name":"t","execution":{"taskSupport":"optional"}}`:                                       `{"name":"t","execution":{"taskSupport":"optional"}}`,
		`{"name":"t","execution":{"taskSupport":"forbidden"}}`:                                      `{"name":"t","execution":{"taskSupport":"forbidden"}}`,
		`{"name":"t","execution":"required"}`:                                                       `{"name":"t","execution":"required"}`,
	} {
		it, err := parseItem(Tools, wire.Raw(raw))
		if err != nil || string(it.raw) != want {
			t.Errorf("%s became %s, %v", raw, it.raw, err)
		}
	}
}

func TestAListThatWasKeptIsNotAnother(t *testing.T) {
	raw := wire.Raw(`{"name":"t","execution":{"taskSupport":"required"}}`)
	drop := func(name, reason string) { t.Errorf("dropped %s: %s", name, reason) }
	first := prepare(Tools, []wire.Raw{raw}, false, drop)
	if again := prepare(Tools, []wire.Raw{first.items[0].raw}, false, drop); again.sum != first.sum {
		t.Error("after a restart clients would be told of a change")
	}
}

func FuzzAToolsLinks(f *testing.F) {
	f.Add([]byte(`{"name":"t","_meta":{"ui":{"resourceUri":"ui://x"},"ui/resourceUri":"ui://y"}}`))
	f.Add([]byte(`{"_meta":{"ui/resourceUri":"ui://y","ui":{"a":[],"resourceUri":"ui:\/\/x"}} ,"name":"t"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		it, err := parseItem(Tools, raw)
		if err != nil {
			return
		}
		s := &jackfield.Server{Name: "s"}
		tb := &table{kind: Tools, elsewhere: map[owned]bool{}}
		for _, l := range it.links {
			tb.elsewhere[owned{s, l.uri}] = true
		}
		out := tb.appendRow(nil, &row{server: s, item: &it, final: "s__x"}, false)
		again, err := parseItem(Tools, out)
		if err != nil || again.key != "s__x" || len(again.links) != len(it.links) {
			t.Fatalf("%s became %s: %v", raw, out, err)
		}
		for i := range again.links {
			if server, uri, ok := splitURI(again.links[i].uri); !ok || server != "s" || uri != it.links[i].uri {
				t.Fatalf("%s became %s", raw, out)
			}
		}
	})
}
