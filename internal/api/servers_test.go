package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/pool"
)

const remote = `{"url": "https://example.com/mcp", "headers": {"Authorization": "Bearer ` + hidden + `"}}`

func TestADefinitionIsMadeReadChangedAndRemoved(t *testing.T) {
	w := newWorld(t)
	out := w.want(201, "root", "POST", "/servers", `{"name": "github", "definition": {"title": "GitHub", "url": "https://example.com/mcp", "headers": {"Authorization": "Bearer `+hidden+`"}}}`)
	var d Definition
	if out.into(&d); d.ID != "app/github" || d.Scope != "app" || d.Source != "store" || !d.Editable || d.By != "root" || d.Revision == 0 || d.CreatedAt == nil {
		t.Errorf("%s", out.Body)
	}
	if at := out.Header().Get("Location"); at != "/api/v1/servers/github?scope=app" || out.Header().Get("ETag") != etag(d.Revision) {
		t.Errorf("%v", out.Header())
	}
	if strings.Contains(out.Body.String(), hidden) || !strings.Contains(string(d.Definition), "[sealed]") {
		t.Errorf("the secret is told: %s", out.Body)
	}
	if at := strings.Index(string(d.Definition), "title"); at < 0 || at > strings.Index(string(d.Definition), "url") {
		t.Errorf("the order is another: %s", d.Definition)
	}

	var status ServerStatus
	out = w.want(200, "root", "GET", "/servers/github", nil)
	if out.into(&status); out.Header().Get("ETag") != etag(d.Revision) || status.Revision != d.Revision || len(status.Definition) == 0 || !*status.Selectable || !status.Access.Edit {
		t.Errorf("%v %s", out.Header(), out.Body)
	}
	// What is sealed stays so; a change answers the next revision.
	out = w.want(200, "root", "PUT", "/servers/github", `{"definition": {"title": "Git", "url": "https://example.com/mcp", "headers": {"Authorization": "[sealed]"}}}`, "If-Match", etag(d.Revision))
	if out.into(&d); out.Header().Get("ETag") != etag(d.Revision) || etag(d.Revision) == etag(status.Revision) {
		t.Errorf("%v %s", out.Header(), out.Body)
	}
	if s := must(w.Registry.Find(w.People.Principal("root"), "github")); s.Endpoint.Headers["Authorization"] != "Bearer "+hidden {
		t.Error("the secret is lost")
	}
	// Another address wants it again.
	p := w.want(400, "root", "PUT", "/servers/github", `{"definition": {"url": "https://example.org/mcp", "headers": {"Authorization": "[sealed]"}}}`, "If-Match", "*").problem()
	if len(p.Errors) == 0 || !strings.Contains(p.Errors[0].Message, "enter it again") || !strings.HasPrefix(p.Errors[0].Location, "body.definition") {
		t.Errorf("%+v", p)
	}
	w.want(204, "root", "DELETE", "/servers/github", nil, "If-Match", etag(d.Revision))
	w.want(404, "root", "GET", "/servers/github", nil)
	w.want(404, "root", "DELETE", "/servers/github", nil, "If-Match", "*")
}

func TestConflictingEditsAreRefusedWithTheCurrentRevision(t *testing.T) {
	w := newWorld(t)
	d := w.server("root", "", "x", remote)
	edit := `{"definition": {"url": "https://example.com/2"}}`
	for _, c := range []struct {
		match   string
		status  int
		current uint64
	}{
		{"", 428, 0},
		{`"999"`, 412, d.Revision},
		{`999`, 412, d.Revision},
		{`"0"`, 400, 0},
		{`"x"`, 400, 0},
		{`"1", "2"`, 400, 0},
		{`W/"1"`, 400, 0},
		{`"-1"`, 400, 0},
		{`"1`, 400, 0},
		{`""`, 400, 0},
	} {
		for _, method := range []string{"PUT", "DELETE"} {
			var body any
			if method == "PUT" {
				body = edit
			}
			p := w.want(c.status, "root", method, "/servers/x", body, "If-Match", c.match).problem()
			if (p.Current != nil) != (c.status == 412) || p.Current != nil && *p.Current != c.current {
				t.Errorf("%s with %s: %+v", method, c.match, p)
			}
			if want := map[int]string{428: "invalid", 412: "conflict", 400: "invalid"}[c.status]; p.Code != want {
				t.Errorf("%s with %s: code %s", method, c.match, p.Code)
			}
		}
	}
	// Whoever sends the current one wins; the next with the same one does not.
	w.want(200, "root", "PUT", "/servers/x", edit, "If-Match", etag(d.Revision))
	w.want(412, "root", "PUT", "/servers/x", `{"definition": {"url": "https://example.com/3"}}`, "If-Match", etag(d.Revision))
	w.want(200, "root", "PUT", "/servers/x", edit, "If-Match", "*")
	// What is there is not made a second time, and what is gone is told as gone.
	if p := w.want(409, "root", "POST", "/servers", NewServer{Name: "x", Definition: Document(remote)}).problem(); p.Current != nil || p.Code != "conflict" {
		t.Errorf("%+v", p)
	}
	w.want(204, "root", "DELETE", "/servers/x", nil, "If-Match", "*")
	if p := w.want(412, "root", "PUT", "/servers/x?scope=app", edit, "If-Match", `"7"`).problem(); p.Current == nil || *p.Current != 0 {
		t.Errorf("%+v", p)
	}
}

func TestADryRunSaysWhatWouldBeAndWritesNothing(t *testing.T) {
	w := newWorld(t)
	before := len(w.store.log)
	var d Definition
	out := w.want(200, "root", "POST", "/servers?dryRun=true", NewServer{Name: "x", Definition: Document(remote)})
	if out.into(&d); d.Name != "x" || strings.Contains(out.Body.String(), hidden) || out.Header().Get("Location") != "" {
		t.Errorf("%v %s", out.Header(), out.Body)
	}
	w.want(404, "root", "GET", "/servers/x", nil)
	if p := w.want(400, "root", "POST", "/servers?dryRun=true", `{"name": "x", "definition": {"url": "ftp://x", "timeout": "soon", "colour": "red"}}`).problem(); len(p.Errors) < 2 {
		t.Errorf("not all at once: %+v", p)
	}
	if len(w.store.log) != before {
		t.Error("something was written")
	}
	made := w.server("root", "", "x", remote)
	w.want(200, "root", "PUT", "/servers/x?dryRun=true", `{"definition": {"url": "https://example.com/9"}}`, "If-Match", etag(made.Revision))
	w.want(412, "root", "PUT", "/servers/x?dryRun=true", `{"definition": {"url": "https://example.com/9"}}`, "If-Match", `"999"`)
	w.want(204, "root", "DELETE", "/servers/x?dryRun=true", nil, "If-Match", etag(made.Revision))
	w.want(200, "root", "GET", "/servers/x", nil)
}

func TestEachScopeIsWrittenByItsOwn(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		who, scope string
		status     int
		lands      string
	}{
		{"root", "", 201, "app"},
		{"root", "app", 201, "app"},
		{"root", "team:data", 201, "team:data"},
		{"root", "user:eve", 201, "user:eve"},
		{"root", "user:me", 201, "user:root"},
		{"ann", "", 201, "user:ann"},
		{"ann", "app", 403, ""},
		{"ann", "team:data", 201, "team:data"},
		{"ann", "team:ops", 403, ""},
		{"ann", "user:bob", 403, ""},
		{"bob", "", 201, "user:bob"},
		{"bob", "app", 403, ""},
		{"bob", "team:data", 403, ""},
		{"bob", "user:me", 201, "user:bob"},
		{"eve", "", 201, "user:eve"},
		{"eve", "team:data", 403, ""},
		{"eve", "user:bob", 403, ""},
		{"root", "teams:data", 400, ""},
		{"root", "team:", 400, ""},
		{"root", "app:x", 400, ""},
		{"root", "user:", 400, ""},
		{"root", "APP", 400, ""},
	} {
		name := strings.NewReplacer(":", "-").Replace(c.who + "-" + c.scope)
		out := w.want(c.status, c.who, "POST", "/servers", NewServer{Name: name + "-x", Scope: c.scope, Definition: Document(`{"url": "https://example.com/mcp"}`)})
		if c.status == 201 {
			var d Definition
			if out.into(&d); d.Scope != c.lands {
				t.Errorf("%s in %q landed in %s", c.who, c.scope, d.Scope)
			}
			continue
		}
		out.problem()
	}
}

func TestWhatOneMayNotSeeIsNotThereInTheSameWords(t *testing.T) {
	w := newWorld(t)
	w.server("bob", "", "mine", remote)
	w.server("ann", "team:data", "ours", remote)
	words := func(name string) string {
		p := w.want(404, "eve", "GET", "/servers/"+name, nil).problem()
		return strings.ReplaceAll(p.Detail, name, "NAME")
	}
	for _, name := range []string{"mine", "ours"} {
		if got := words(name); got != words("else") {
			t.Errorf("%s: %s", name, got)
		}
		for _, path := range []string{"/connect", "/reset", "/disconnect"} {
			w.want(404, "eve", "POST", "/servers/"+name+path, nil)
		}
		for _, path := range []string{"/connections", "/variables", "/variables/X", "?scope=user:bob", "?scope=team:data"} {
			w.want(404, "eve", "GET", "/servers/"+name+path, nil)
		}
		w.want(404, "eve", "GET", "/listings?server="+name, nil)
		w.want(404, "eve", "PUT", "/servers/"+name, `{"definition": {"url": "https://example.com"}}`, "If-Match", "*")
		w.want(404, "eve", "DELETE", "/servers/"+name, nil, "If-Match", "*")
	}
	w.want(200, "bob", "GET", "/servers/mine", nil)
	w.want(200, "bob", "GET", "/servers/ours", nil)
	if body := w.want(200, "eve", "GET", "/definitions", nil).Body.String(); strings.Contains(body, "mine") || strings.Contains(body, "ours") {
		t.Error(body)
	}
	// Admins see what is everybody's, and everything when they ask for it.
	var list ServerList
	w.want(200, "root", "GET", "/servers?all=true", nil).into(&list)
	if len(list.Servers) != 2 {
		t.Errorf("%+v", list)
	}
	w.want(403, "eve", "GET", "/servers?all=true", nil)
	w.want(200, "root", "GET", "/servers/mine?scope=user:bob", nil)
}

func TestAnOverlayIsSeenByItsTeamAndAWiderOneWins(t *testing.T) {
	w := newWorld(t)
	w.server("root", "app", "github", `{"url": "https://example.com/mcp", "title": "All"}`)
	w.server("ann", "team:data", "github", `{"extends": true, "title": "Data"}`)
	mine := w.server("bob", "", "github", `{"url": "https://example.org/mcp"}`)
	if mine.ShadowedBy != "team:data/github" {
		t.Errorf("%+v", mine)
	}
	for who, title := range map[string]string{"root": "All", "eve": "All", "ann": "Data", "bob": "Data"} {
		var s ServerStatus
		out := w.want(200, who, "GET", "/servers/github", nil)
		if out.into(&s); s.Title != title || (s.Base != "") != (title == "Data") || s.Source != "store" {
			t.Errorf("%s: %s", who, out.Body)
		}
	}
	var shadowed ServerStatus
	w.want(200, "bob", "GET", "/servers/github?scope=user:me", nil).into(&shadowed)
	if shadowed.ID != "user:bob/github" || shadowed.ShadowedBy != "team:data/github" || *shadowed.Selectable || len(shadowed.Definition) == 0 {
		t.Errorf("%+v", shadowed)
	}
	var list ServerList
	w.want(200, "bob", "GET", "/servers?scope=team:data", nil).into(&list)
	if len(list.Servers) != 1 || list.Servers[0].ID != "team:data/github" {
		t.Errorf("%+v", list)
	}
	// The overlay is what ann edits and removes when she says nothing else.
	w.want(200, "ann", "PUT", "/servers/github", `{"definition": {"extends": true, "enabled": false}}`, "If-Match", "*")
	w.want(404, "bob", "GET", "/servers/github", nil)
	w.want(204, "ann", "DELETE", "/servers/github?scope=team:data", nil, "If-Match", "*")
	w.want(200, "bob", "GET", "/servers/github", nil)
}

func TestTheFileIsNotChanged(t *testing.T) {
	w := newWorld(t, servers[0])
	var s ServerStatus
	out := w.want(200, "root", "GET", "/servers/github", nil)
	if out.into(&s); s.Source != "file" || s.Access.Edit || s.Access.Reason == "" || out.Header().Get("ETag") != "" || strings.Contains(out.Body.String(), hidden) {
		t.Errorf("%v %s", out.Header(), out.Body)
	}
	w.want(403, "root", "PUT", "/servers/github", `{"definition": {"url": "https://example.com"}}`, "If-Match", "*")
	w.want(403, "root", "DELETE", "/servers/github", nil, "If-Match", "*")
}

func TestNamesAndTextThatAreMeantToBreakSomething(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{
		"..", ".", "a/b", "../../etc/passwd", "a\\..\\b/", "", " x", "x ", "a\x00b", "a\r\nSet-Cookie: x=1", "\u202egithub", "a\u200bb", "\ufeffx", strings.Repeat("n", 129), strings.Repeat("ü", 257),
	} {
		out := w.ask("root", "POST", "/servers", NewServer{Name: name, Definition: Document(remote)})
		if out.Code != 400 {
			t.Errorf("%q: %d %s", name, out.Code, out.Body)
		}
		out.problem()
		if strings.Trim(name, ".") == "" {
			continue // which net/http makes another path of
		}
		if out := w.ask("root", "GET", "/servers/"+esc(name), nil); out.Code != 404 && out.Code != 400 {
			t.Errorf("%q: %d %s", name, out.Code, out.Body)
		}
	}
	for i, text := range []string{
		`'; DROP TABLE records; --`, `<script>alert(1)</script>`, `{{constructor}}`, "${jndi:ldap://x}", `$(rm -rf /)`, "\u2028", "%0d%0aX: y", `"}],"x":[{`, "🦊 ünïcödé",
	} {
		name := fmt.Sprintf("s%d", i)
		def := must(jsonOf(map[string]any{"url": "https://example.com/mcp", "title": text}))
		if out := w.ask("root", "POST", "/servers", NewServer{Name: name, Definition: def}); out.Code == 400 {
			continue // it is told what is wrong, and nothing is there
		}
		var s ServerStatus
		w.want(200, "root", "GET", "/servers/"+name, nil).into(&s)
		if s.Title != text {
			t.Errorf("%q became %q", text, s.Title)
		}
	}
	// A name is looked for as it is.
	for _, name := range []string{"s1'--", "s%", "S1", "s1\x00", "s1/../s2"} {
		w.want(404, "root", "GET", "/servers/"+esc(name), nil)
	}
	w.want(400, "root", "GET", "/servers/%ff", nil)
	w.want(400, "root", "GET", "/servers?scope=%ff", nil)
	w.want(400, "root", "GET", "/servers?scope=%zz", nil)
	w.want(400, "root", "GET", "/servers?scope="+strings.Repeat("x", maxQuery), nil)
}

func jsonOf(v any) (Document, error) {
	var d Document
	b, err := json.Marshal(v)
	if err == nil {
		err = d.UnmarshalJSON(b)
	}
	return d, err
}

func TestBodiesAreBounded(t *testing.T) {
	w := newWorld(t)
	big := func(n int) string {
		return `{"name": "x", "definition": {"url": "https://example.com/mcp", "description": "` + strings.Repeat("d", n) + `"}}`
	}
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/servers", big(maxDefinition + maxBody), 413},
		{"POST", "/servers", big(maxDefinition), 413},
		{"PUT", "/servers/x", big(maxDefinition + maxBody), 413},
		{"POST", "/users", `{"subject": "` + strings.Repeat("u", maxBody) + `"}`, 413},
		{"POST", "/import", strings.Repeat(" ", maxImport+1), 413},
		{"POST", "/users", ``, 400},
		{"POST", "/users", `null`, 400},
		{"POST", "/users", `[]`, 400},
		{"POST", "/users", `"x"`, 400},
		{"POST", "/users", `{`, 400},
		{"POST", "/users", "{\"subject\": \"\xff\"}", 400},
		{"POST", "/users", strings.Repeat(`{"subject":`, 5000), 400},
		{"POST", "/servers", `{"name": "x", "definition": null}`, 400},
		{"POST", "/servers", `{"name": "x", "definition": ` + strings.Repeat(`{"a":`, 2000) + `1` + strings.Repeat(`}`, 2000) + `}`, 400},
		{"POST", "/import", `{}`, 400},
		{"POST", "/import", `{"jackfield": 2}`, 400},
		{"POST", "/import", `{"jackfield": 1, "keys": []}`, 400},
		{"POST", "/import", `{"jackfield": 1} {}`, 400},
		{"POST", "/import", `x`, 400},
	} {
		w.want(c.status, "root", c.method, c.path, c.body, "If-Match", "*").problem()
	}
}

func TestOnlyWhatPagesCannotSendChangesAnything(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		method, path, contentType, body string
		status                          int
	}{
		{"POST", "/teams", "text/plain", `{"id": "x"}`, 415},
		{"POST", "/teams", "application/x-www-form-urlencoded", `id=x`, 415},
		{"POST", "/teams", "multipart/form-data; boundary=x", `--x--`, 415},
		{"POST", "/teams", "", `{"id": "x"}`, 415},
		{"POST", "/teams", "application/jsonp", `{"id": "x"}`, 415},
		{"POST", "/teams", "json", `{"id": "x"}`, 415},
		{"POST", "/teams", "application/json; charset=utf-8", `{"id": "x"}`, 201},
		{"POST", "/teams", "Application/JSON", `{"id": "y"}`, 201},
		{"PUT", "/teams/data", "text/plain", `{}`, 415},
		{"POST", "/backup", "text/plain", ``, 415},
		{"POST", "/backup", "", ``, 200},
		{"DELETE", "/teams/ops", "text/plain", ``, 415},
	} {
		var body any
		if c.body != "" {
			body = c.body
		}
		w.want(c.status, "root", c.method, c.path, body, "Content-Type", c.contentType, "If-Match", "*")
	}
}

func TestOtherMethodsAreRefusedWithThoseThereAre(t *testing.T) {
	w := newWorld(t)
	for path, methods := range w.edge.routes.methods {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"} {
			if slices.Contains(methods, method) {
				continue
			}
			out := w.want(405, "root", method, some.Replace(path), nil)
			if out.Header().Get("Allow") != strings.Join(methods, ", ") {
				t.Errorf("%s %s: %v", method, path, out.Header())
			}
			out.problem()
		}
		if slices.Contains(methods, "GET") != slices.Contains(methods, "HEAD") {
			t.Errorf("%s: %v", path, methods)
		}
	}
	if out := w.want(200, "eve", "HEAD", "/servers", nil); out.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%v", out.Header())
	}
	w.want(401, "", "GET", "/nothing", nil).problem()
	w.want(404, "eve", "GET", "/nothing", nil).problem()
}

func TestListsArePagedWithoutLosingAnything(t *testing.T) {
	w := newWorld(t)
	for i := range 25 {
		w.server("root", "", fmt.Sprintf("s%02d", i), `{"url": "https://example.com/mcp"}`)
		w.want(201, "root", "POST", "/users", NewUser{Subject: fmt.Sprintf("u%02d", i)})
		w.want(201, "root", "POST", "/teams", NewTeam{ID: fmt.Sprintf("t%02d", i)})
		w.want(201, "root", "POST", "/keys", NewKey{Name: fmt.Sprintf("k%02d", i)})
	}
	for path, want := range map[string]int{"/servers": 25, "/definitions": 25, "/users": 29, "/teams": 27, "/keys": 25} {
		for _, limit := range []int{1, 7, 25, 1000} {
			var names []string
			for cursor, pages := "", 0; ; pages++ {
				var page map[string]any
				w.want(200, "root", "GET", fmt.Sprintf("%s?limit=%d&cursor=%s", path, limit, cursor), nil).into(&page)
				list, _ := page[strings.TrimPrefix(path, "/")].([]any)
				if len(list) > limit || pages > want {
					t.Fatalf("%s: %d of %d on page %d", path, len(list), limit, pages)
				}
				for _, item := range list {
					o, _ := item.(map[string]any)
					names = append(names, fmt.Sprint(o["id"], o["subject"]))
				}
				next, more := page["nextCursor"].(string)
				if cursor = next; !more {
					break
				}
			}
			if unique := slices.Compact(slices.Clone(names)); len(names) != want || len(unique) != want {
				t.Errorf("%s by %d: %d things, %d of them once, want %d", path, limit, len(names), len(unique), want)
			}
		}
		for _, cursor := range []string{"x", "e30", "!!", "eyJhIjoieCIsIm4iOi0xfQ", strings.Repeat("A", 2048)} {
			w.want(400, "root", "GET", path+"?cursor="+cursor, nil).problem()
		}
	}
	// What went away between two pages takes nothing else with it.
	var first ServerList
	w.want(200, "root", "GET", "/servers?limit=10", nil).into(&first)
	w.want(204, "root", "DELETE", "/servers/s03", nil, "If-Match", "*")
	var rest ServerList
	w.want(200, "root", "GET", "/servers?cursor="+first.NextCursor, nil).into(&rest)
	if len(rest.Servers) != 15 || rest.Servers[0].Name != "s10" {
		t.Errorf("%d from %s", len(rest.Servers), rest.Servers[0].Name)
	}
}

func TestAServerIsSelectableUnlessSomethingIsNeededFromTheCaller(t *testing.T) {
	w := newWorld(t)
	w.server("root", "", "keyed", `{"url": "https://example.com/mcp", "headers": {"Authorization": "Bearer {{var.KEY}}"}, "vars": {"KEY": {"title": "Your key"}}}`)
	w.server("root", "", "mailed", `{"url": "https://example.com/mcp", "headers": {"X-Mail": "{{user.email}}"}}`)
	w.server("root", "", "down", `{"url": "https://example.com/mcp"}`)
	w.slots[pool.Key{Server: "app/down"}] = pool.Status{State: pool.Failed, Reason: "connection refused", Failure: &jackfield.Failure{Kind: jackfield.FailureRefused, Message: "connection refused"}}
	see := func(who, name string) (s ServerStatus) {
		w.want(200, who, "GET", "/servers/"+name, nil).into(&s)
		return s
	}
	if s := see("eve", "down"); !*s.Selectable || s.State != StateFailed || len(s.Needs) != 0 {
		t.Errorf("%+v", s)
	}
	s := see("eve", "keyed")
	if *s.Selectable || s.State != StateIdle || len(s.Needs) != 1 || s.Needs[0].Name != "KEY" || s.Needs[0].Title != "Your key" || s.Needs[0].Reason == "" ||
		!strings.Contains(s.Needs[0].Where, "jackfield var set keyed KEY") || !strings.Contains(s.Needs[0].Where, "PUT /api/v1/servers/keyed/variables/KEY") {
		t.Errorf("%+v", s)
	}
	w.want(200, "eve", "PUT", "/servers/keyed/variables/KEY", `{"value": "`+hidden+`"}`)
	if s := see("eve", "keyed"); !*s.Selectable || len(s.Needs) != 0 {
		t.Errorf("%+v", s)
	}
	if s := see("bob", "keyed"); *s.Selectable {
		t.Error("what eve entered is bob's")
	}
	if s := see("ann", "mailed"); !*s.Selectable {
		t.Errorf("%+v", s)
	}
	if s := see("eve", "mailed"); *s.Selectable || len(s.Needs) != 1 || s.Needs[0].Name != "user.email" || !strings.Contains(s.Needs[0].Where, "/users/eve") {
		t.Errorf("%+v", s)
	}
	if len(w.did) != 0 {
		t.Errorf("looking did %v", w.did)
	}
}

func TestConnectionsAreOnesOwnAndAdminsSeeAll(t *testing.T) {
	w := newWorld(t)
	w.server("root", "", "x", `{"url": "https://example.com/mcp"}`)
	key := func(scope jackfield.Scope) pool.Key { return pool.Key{Server: "app/x", Scope: scope} }
	all := []jackfield.Scope{jackfield.App(), jackfield.Team("data"), jackfield.User("ann"), jackfield.User("bob"), jackfield.User("eve")}
	fill := func() {
		w.did = nil
		for _, scope := range all {
			w.slots[key(scope)] = pool.Status{State: pool.Ready, Leases: 1}
		}
	}
	fill()
	for who, want := range map[string]int{"root": 5, "bob": 3, "eve": 2} {
		for _, path := range []string{"/connections", "/servers/x/connections"} {
			var list ConnectionList
			w.want(200, who, "GET", path, nil).into(&list)
			if len(list.Connections) != want || list.Connections[0].Server != "x" {
				t.Errorf("%s sees %+v", who, list)
			}
			for _, c := range list.Connections {
				if who == "eve" && c.Scope != "app" && c.Scope != "user:eve" {
					t.Errorf("eve sees %+v", c)
				}
			}
		}
		var s ServerStatus
		w.want(200, who, "GET", "/servers/x", nil).into(&s)
		if s.Connections.Ready != want || len(s.Keys) != want {
			t.Errorf("%s: %+v", who, s)
		}
	}
	for _, c := range []struct {
		who, action string
		did         []string
	}{
		{"eve", "reset", []string{"drained app/x of user:eve"}},
		{"eve", "disconnect", []string{"cut app/x of user:eve"}},
		{"root", "reset", []string{"reset app/x"}},
	} {
		fill()
		w.want(200, c.who, "POST", "/servers/x/"+c.action, nil)
		if len(w.did) != len(c.did) || strings.Fields(w.did[0])[0] != strings.Fields(c.did[0])[0] {
			t.Errorf("%s by %s did %v", c.action, c.who, w.did)
		}
		if c.who == "eve" && len(w.slots) != len(all)-1 {
			t.Errorf("%s by eve left %v", c.action, w.slots)
		}
	}
	fill()
	if w.want(200, "root", "POST", "/servers/x/disconnect", nil); len(w.slots) != 0 {
		t.Errorf("left %v", w.slots)
	}
	// connect opens the caller's own, and tells how that went as a status.
	var s ServerStatus
	w.want(200, "eve", "POST", "/servers/x/connect", nil).into(&s)
	if s.State != StateReady || len(w.slots) != 1 {
		t.Errorf("%+v", s)
	}
	for _, c := range []struct {
		err    error
		status int
	}{
		{jackfield.Errorf(jackfield.Unavailable, "refused"), 200},
		{jackfield.Errorf(jackfield.AuthRequired, "needs your API key"), 200},
		{jackfield.Errorf(jackfield.Exhausted, "too many"), 429},
		{jackfield.Errorf(jackfield.Forbidden, "not you"), 403},
		{fmt.Errorf("oops %s", hidden), 500},
	} {
		w.fails["app/x"] = c.err
		if out := w.want(c.status, "bob", "POST", "/servers/x/connect", nil); strings.Contains(out.Body.String(), hidden) {
			t.Errorf("%s", out.Body)
		}
	}
	w.want(405, "root", "GET", "/servers/x/connect", nil)
}

func TestAServerThatCannotBeUsedIsShownWithTheReasonAndCanBeMended(t *testing.T) {
	w := newWorld(t)
	w.server("root", "", "base", `{"url": "https://example.com/mcp"}`)
	d := w.server("ann", "team:data", "base", `{"extends": true, "headers": {"X-Key": "`+hidden+`"}}`)
	w.want(200, "root", "PUT", "/servers/base", `{"definition": {"url": "https://example.org/mcp"}}`, "If-Match", "*")
	for _, scope := range []string{"", "?scope=team:data"} {
		var s ServerStatus
		out := w.want(200, "ann", "GET", "/servers/base"+scope, nil)
		if out.into(&s); s.State != StateInvalid || s.ID != d.ID || s.Definition == nil || *s.Selectable || !strings.Contains(s.Reason, "enter them again") || out.Header().Get("ETag") == "" {
			t.Errorf("%s", out.Body)
		}
	}
	var list ServerList
	w.want(200, "bob", "GET", "/servers", nil).into(&list)
	if len(list.Servers) != 1 || list.Servers[0].State != StateInvalid {
		t.Errorf("%+v", list)
	}
	w.want(200, "bob", "GET", "/listings?server=base", nil)
	w.want(200, "bob", "GET", "/servers/base/connections", nil)
	w.want(400, "bob", "POST", "/servers/base/connect", nil).problem()
	w.want(200, "ann", "PUT", "/servers/base", `{"definition": {"extends": true, "title": "Mended"}}`, "If-Match", "*")
	var s ServerStatus
	if w.want(200, "bob", "GET", "/servers/base", nil).into(&s); s.State != StateIdle || s.Title != "Mended" {
		t.Errorf("%+v", s)
	}
}

func TestWhatIsThereAlreadyIsSaidToBe(t *testing.T) {
	w := newWorld(t)
	w.server("root", "", "x", remote)
	for path, c := range map[string]struct {
		body any
		says string
	}{
		"/servers": {NewServer{Name: "x", Definition: Document(remote)}, `a server "x" of app is there already; PUT /api/v1/servers/x?scope=app changes it`},
		"/teams":   {NewTeam{ID: "data"}, `the team "data" is there already; PUT /api/v1/teams/data changes it`},
		"/users":   {NewUser{Subject: "bob"}, `the user "bob" is there already; PUT /api/v1/users/bob changes it`},
	} {
		if p := w.want(409, "root", "POST", path, c.body).problem(); p.Code != "conflict" || !strings.Contains(p.Detail, c.says) || strings.Contains(p.Detail, "meanwhile") {
			t.Errorf("%s: %+v", path, p)
		}
	}
}

func TestOneServerSaysWhoWroteItAndWhen(t *testing.T) {
	w := newWorld(t, jackfield.Server{ID: "f", Name: "f", Operator: true})
	w.server("ann", "team:data", "x", remote)
	for _, scope := range []string{"", "?scope=team:data"} {
		var s ServerStatus
		if w.want(200, "bob", "GET", "/servers/x"+scope, nil).into(&s); s.By != "ann" || s.ChangedAt == nil {
			t.Errorf("%+v", s)
		}
	}
	var s ServerStatus
	out := w.want(200, "bob", "GET", "/servers/f", nil)
	if out.into(&s); s.By != "" || s.ChangedAt != nil || out.Header()["Etag"] != nil {
		t.Errorf("%+v %v", s, out.Header())
	}
}

func TestABodyThatBreaksOffIsNoFaultOfTheGateway(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequest(http.MethodPost, base+"/teams", io.MultiReader(strings.NewReader(`{"id": "a`), iotest.ErrReader(io.ErrUnexpectedEOF)))
	r.Header.Set("Authorization", "Bearer root")
	r.Header.Set("Content-Type", "application/json")
	out := reply{httptest.NewRecorder(), t}
	w.edge.routes.mux.ServeHTTP(out, r)
	if p := out.problem(); p.Status != 400 || p.Code != "invalid" || !strings.Contains(p.Detail, "broke off") {
		t.Errorf("%+v", p)
	}
}
