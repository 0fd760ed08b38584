package api

import (
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield/internal/authn"
	"github.com/jackfield-dev/jackfield/internal/record"
)

func TestUsersTeamsAndMembersAreKeptByAdmins(t *testing.T) {
	w := newWorld(t)
	out := w.want(201, "root", "POST", "/users", NewUser{Subject: "org/zoë", EditUser: EditUser{Name: "Zoë", Teams: []string{"data"}}})
	var u User
	if out.into(&u); u.Subject != "org/zoë" || out.Header().Get("Location") != "/api/v1/users/org%2Fzo%C3%AB" {
		t.Errorf("%v %s", out.Header(), out.Body)
	}
	path := "/users/" + esc(u.Subject)
	if out = w.want(200, "root", "GET", path, nil); out.Header().Get("ETag") != etag(u.Revision) {
		t.Errorf("%v", out.Header())
	}
	w.want(428, "root", "PUT", path, EditUser{Name: "Z"})
	w.want(412, "root", "PUT", path, EditUser{Name: "Z"}, "If-Match", `"1"`)
	w.want(200, "root", "PUT", path, EditUser{Name: "Z", Role: "editor"}, "If-Match", etag(u.Revision))
	w.want(409, "root", "POST", "/users", NewUser{Subject: u.Subject})
	w.want(200, "root", "PUT", "/teams/ops/members/"+esc(u.Subject), nil)
	var members MemberList
	if w.want(200, "root", "GET", "/teams/ops/members", nil).into(&members); len(members.Members) != 1 || members.Members[0].Subject != u.Subject {
		t.Errorf("%+v", members)
	}
	w.want(200, "root", "DELETE", "/teams/ops/members/"+esc(u.Subject), nil)

	// Everything that is wrong is told at once, where it stands.
	p := w.want(400, "root", "POST", "/users", `{"subject": "a\u0000b", "email": "nobody", "teams": ["nope"], "role": "user"}`).problem()
	if len(p.Errors) != 3 || p.Errors[0].Location != "body.subject" || p.Errors[1].Location != "body.email" || p.Errors[2].Location != "body.teams" {
		t.Errorf("%+v", p)
	}
	p = w.want(400, "root", "POST", "/users", `{"subject": "", "role": "root", "colour": 1}`).problem()
	if len(p.Errors) != 3 || !strings.Contains(p.Detail, "2 more") {
		t.Errorf("%+v", p)
	}

	for _, who := range []string{"ann", "eve"} {
		w.want(403, who, "GET", "/users", nil)
		w.want(403, who, "POST", "/users", NewUser{Subject: "x"})
		w.want(403, who, "PUT", path, EditUser{}, "If-Match", "*")
		w.want(403, who, "DELETE", path, nil, "If-Match", "*")
		w.want(403, who, "POST", "/teams", NewTeam{ID: "x"})
		w.want(403, who, "PUT", "/teams/data", EditTeam{}, "If-Match", "*")
		w.want(403, who, "DELETE", "/teams/data", nil, "If-Match", "*")
		w.want(403, who, "PUT", "/teams/data/members/eve", nil)
		w.want(200, who, "GET", "/users/"+who, nil)
	}
	w.want(200, "ann", "GET", "/teams/data", nil)
	if there, not := w.want(404, "eve", "GET", "/teams/data", nil).problem(), w.want(404, "eve", "GET", "/teams/none", nil).problem(); strings.ReplaceAll(there.Detail, "data", "none") != not.Detail {
		t.Errorf("%q and %q", there.Detail, not.Detail)
	}
	w.want(404, "eve", "GET", "/teams/data/members", nil)
	w.want(412, "root", "PUT", "/teams/data", EditTeam{Title: "Data"}, "If-Match", `"999"`)
	w.want(200, "root", "PUT", "/teams/data", EditTeam{Title: "Data"}, "If-Match", "*")
	w.want(404, "root", "PUT", "/teams/data/members/nobody", nil)
}

func TestWhatBelongsToSomebodyGoesWithThem(t *testing.T) {
	w := newWorld(t)
	w.server("root", "", "keyed", `{"url": "https://example.com/mcp", "headers": {"X-Key": "{{var.KEY}}"}, "vars": {"KEY": {}}}`)
	w.server("bob", "", "mine", remote)
	w.server("ann", "team:data", "ours", remote)
	w.server("ann", "team:data", "asks", `{"url": "https://example.com/mcp", "headers": {"X-Key": "{{var.KEY}}"}, "vars": {"KEY": {}}}`)
	w.want(200, "bob", "PUT", "/servers/keyed/variables/KEY", `{"value": "v"}`)
	w.want(200, "ann", "PUT", "/servers/asks/variables/KEY", `{"value": "v"}`)
	w.want(412, "root", "DELETE", "/teams/data", nil, "If-Match", `"999"`)
	w.want(201, "bob", "POST", "/keys", NewKey{Name: "laptop"})
	w.want(204, "root", "DELETE", "/users/bob", nil, "If-Match", "*")
	w.want(204, "root", "DELETE", "/teams/data", nil, "If-Match", "*")
	for ref := range w.store.records {
		if ref.Kind == record.Key || ref.Kind == record.Variable || ref.Kind == record.Server && ref.ID != "app/keyed" {
			t.Errorf("%v is still there", ref)
		}
	}
}

func TestADefinitionThatIsMadeAgainFindsNothingThatWasEntered(t *testing.T) {
	w := newWorld(t)
	const keyed = `{"url": "https://example.com/mcp", "headers": {"X-Key": "{{var.KEY}}"}, "vars": {"KEY": {}}}`
	first := w.server("ann", "team:data", "keyed", keyed)
	w.server("root", "", "other", keyed)
	for _, who := range []string{"ann", "bob"} {
		w.want(200, who, "PUT", "/servers/keyed/variables/KEY", `{"value": "v"}`)
		w.want(200, who, "PUT", "/servers/other/variables/KEY", `{"value": "v"}`)
	}
	set := func(who, server string) bool {
		var v Variable
		w.want(200, who, "GET", "/servers/"+server+"/variables/KEY", nil).into(&v)
		return v.Set
	}
	// Whoever removes nothing takes nothing away.
	w.want(404, "bob", "DELETE", "/servers/nothing", nil, "If-Match", "*")
	w.want(403, "bob", "DELETE", "/servers/keyed", nil, "If-Match", "*")
	w.want(412, "ann", "DELETE", "/servers/keyed", nil, "If-Match", `"999"`)
	w.want(204, "ann", "DELETE", "/servers/keyed?dryRun=true", nil, "If-Match", "*")
	if !set("ann", "keyed") || !set("bob", "keyed") {
		t.Error("values went without the definition")
	}
	head := len(w.store.log)
	w.want(204, "ann", "DELETE", "/servers/keyed", nil, "If-Match", etag(first.Revision))
	if len(w.store.log) != head+3 {
		t.Errorf("%d changes", len(w.store.log)-head)
	}
	if again := w.server("ann", "team:data", "keyed", keyed); again.ID != first.ID || set("ann", "keyed") || set("bob", "keyed") || !set("bob", "other") {
		t.Errorf("%+v", again)
	}
}

func TestAKeyIsShownOnceAndBelongsToItsUser(t *testing.T) {
	w := newWorld(t)
	var k APIKey
	w.want(201, "bob", "POST", "/keys", NewKey{Name: "laptop", Servers: []string{"x"}}).into(&k)
	if !strings.HasPrefix(k.Key, "jf_"+k.ID+"_") || k.User != "bob" || k.Source != "store" || k.Revision == 0 {
		t.Errorf("%+v", k)
	}
	for _, path := range []string{"/keys", "/keys/" + k.ID, "/keys?user=me", "/export", "/log"} {
		if out := w.ask("root", "GET", path, nil); strings.Contains(out.Body.String(), k.Key) || out.Code != 200 && path != "/keys?user=me" {
			t.Errorf("%s: %d %s", path, out.Code, out.Body)
		}
	}
	w.want(200, "bob", "GET", "/keys/"+k.ID, nil)
	w.want(404, "eve", "GET", "/keys/"+k.ID, nil)
	w.want(404, "eve", "DELETE", "/keys/"+k.ID, nil, "If-Match", "*")
	w.want(403, "eve", "GET", "/keys?user=bob", nil)
	w.want(403, "eve", "POST", "/keys", NewKey{Name: "x", User: "bob"})
	w.want(403, "eve", "POST", "/keys", NewKey{Name: "x", Role: "admin"})
	w.want(400, "root", "POST", "/keys", NewKey{Name: "x", Teams: []string{"nope"}})
	w.want(400, "root", "POST", "/keys", `{"name": "x", "expiresAt": "2001-01-01T00:00:00Z"}`)
	w.want(428, "bob", "DELETE", "/keys/"+k.ID, nil)
	w.want(412, "bob", "DELETE", "/keys/"+k.ID, nil, "If-Match", `"999"`)
	w.want(204, "bob", "DELETE", "/keys/"+k.ID, nil, "If-Match", etag(k.Revision))
	w.want(404, "bob", "GET", "/keys/"+k.ID, nil)
}

func TestAKeyOfTheFileHasNoRevision(t *testing.T) {
	w := newWorld(t)
	_, _, hash := authn.NewKey()
	w.People = authn.New(authn.Options{Keys: []authn.FileKey{{Name: "ci", Hash: hash, User: "ci"}}})
	w.edge = w.Handler.edge()
	var k APIKey
	out := w.want(200, "ci", "GET", "/keys/file:ci", nil)
	if out.into(&k); k.Source != "file" || out.Header()["Etag"] != nil {
		t.Errorf("%+v %v", k, out.Header())
	}
}

func TestMeSaysWhoIsAskingAndWhatThatOneMay(t *testing.T) {
	w := newWorld(t)
	for who, edits := range map[string]string{"root": "app team:* user:*", "ann": "user:ann team:data", "bob": "user:bob"} {
		var me Me
		if w.want(200, who, "GET", "/me", nil).into(&me); me.Subject != who || strings.Join(me.Edits, " ") != edits || me.Role == "" || me.Teams == nil {
			t.Errorf("%s: %+v", who, me)
		}
	}
	var me Me
	if w.want(200, "ann", "GET", "/me", nil).into(&me); me.Name != "Ann" || me.Email != "ann@example.com" {
		t.Errorf("%+v", me)
	}
}

func TestVariablesAreEnteredByEachAndNeverShownAgain(t *testing.T) {
	w := newWorld(t)
	w.server("root", "", "x", `{"url": "https://example.com/mcp", "headers": {"X-Key": "{{var.KEY}}", "X-Lang": "{{var.LANG}}"},
		"vars": {"KEY": {"title": "Key"}, "LANG": {"sensitive": false, "required": false}}}`)
	find := func(who, query, name string) Variable {
		t.Helper()
		var v Variable
		w.want(200, who, "GET", "/servers/x/variables/"+name+query, nil).into(&v)
		return v
	}
	w.want(200, "eve", "PUT", "/servers/x/variables", `{"values": {"KEY": "`+hidden+`", "LANG": "de"}}`)
	if v := find("eve", "", "KEY"); !v.Set || v.ChangedAt == nil || v.Value != "" || !v.Sensitive || !v.Required || v.Title != "Key" {
		t.Errorf("%+v", v)
	}
	if v := find("eve", "", "LANG"); v.Value != "de" || v.Required {
		t.Errorf("%+v", v)
	}
	if v := find("bob", "", "KEY"); v.Set {
		t.Errorf("%+v", v)
	}
	if v := find("root", "?user=eve", "KEY"); !v.Set || v.Value != "" {
		t.Errorf("%+v", v)
	}
	for _, path := range []string{"/servers/x/variables", "/servers/x", "/servers", "/definitions", "/log", "/export", "/servers/x/variables?user=eve"} {
		if body := w.want(200, "root", "GET", path, nil).Body.String(); strings.Contains(body, hidden) {
			t.Errorf("%s tells: %s", path, body)
		}
	}
	// All or nothing, and only what there is.
	w.want(400, "eve", "PUT", "/servers/x/variables", `{"values": {"LANG": "fr", "NOPE": "x"}}`)
	if v := find("eve", "", "LANG"); v.Value != "de" {
		t.Errorf("%+v", v)
	}
	for _, value := range []string{"", "a\r\nX-Evil: 1", "a\x00b", strings.Repeat("x", 16<<10+1)} {
		p := w.want(400, "eve", "PUT", "/servers/x/variables/LANG", NewValue{Value: value}).problem()
		if len(value) > 3 && strings.Contains(p.Detail, value) {
			t.Errorf("it repeats what was sent: %+v", p)
		}
	}
	w.want(404, "eve", "GET", "/servers/x/variables/NOPE", nil)
	w.want(400, "eve", "PUT", "/servers/x/variables/NOPE", `{"value": "x"}`)
	for _, method := range []string{"GET", "DELETE"} {
		w.want(403, "eve", method, "/servers/x/variables?user=bob", nil)
		w.want(403, "ann", method, "/servers/x/variables/KEY?user=bob", nil)
		w.want(404, "root", method, "/servers/x/variables?user=nobody", nil)
	}
	w.want(200, "root", "PUT", "/servers/x/variables/LANG?user=bob", `{"value": "it"}`)
	if v := find("bob", "", "LANG"); v.Value != "it" {
		t.Errorf("%+v", v)
	}
	w.want(200, "eve", "PUT", "/servers/x/variables", `{"values": {"LANG": null}}`)
	if v := find("eve", "", "LANG"); v.Set || !find("eve", "", "KEY").Set {
		t.Errorf("%+v", v)
	}
	w.want(200, "eve", "DELETE", "/servers/x/variables", nil)
	if find("eve", "", "KEY").Set || !find("bob", "", "LANG").Set {
		t.Error("not what was asked for was removed")
	}
}
