package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
)

func TestWhatIsExportedIsTakenElsewhereButSecrets(t *testing.T) {
	w := newWorld(t)
	w.server("root", "", "plain", `{"url": "https://example.com/mcp", "title": "Plain"}`)
	w.server("root", "", "secret", remote)
	w.server("ann", "team:data", "plain", `{"extends": true, "title": "Data"}`)
	w.server("bob", "", "mine", `{"url": "https://example.com/mcp"}`)
	w.want(201, "bob", "POST", "/keys", NewKey{Name: "laptop"})
	out := w.want(200, "root", "GET", "/export", nil)
	text := out.Body.String()
	var all Export
	if out.into(&all); len(all.Teams) != 2 || len(all.Users) != 4 || len(all.Definitions) != 4 || all.Jackfield != 1 {
		t.Errorf("%s", text)
	}
	if strings.Contains(text, hidden) || strings.Contains(text, "sha256") || strings.Contains(text, "laptop") {
		t.Errorf("a secret is in it: %s", text)
	}

	other := newWorld(t) // has the same people
	other.want(201, "root", "POST", "/users", NewUser{Subject: "new"})
	all.Users = append(all.Users, ExportUser{Subject: "zed", EditUser: EditUser{Teams: []string{"new"}}}, ExportUser{Subject: "new", EditUser: EditUser{Name: "New"}}, ExportUser{Subject: "bad\x00"})
	all.Teams = append(all.Teams, ExportTeam{ID: "new"})
	all.Definitions = append(all.Definitions, ExportDefinition{Scope: "team:data", Name: "bad", Definition: Document(`{"url": "ftp://x"}`)}, ExportDefinition{Scope: "nobody", Name: "x", Definition: Document(`{}`)})
	check := func(r ImportResult, added, changed, kept, needs, refused int) {
		t.Helper()
		if r.Added != added || r.Changed != changed || r.Kept != kept || r.Needs != needs || r.Refused != refused || len(r.Items) != added+changed+needs+refused {
			t.Errorf("%+v", r)
		}
		for _, i := range r.Items {
			if (i.Detail != "") != (i.Outcome == NeedsSecret || i.Outcome == Refused) {
				t.Errorf("%+v", i)
			}
		}
	}
	before := len(other.store.log)
	var r ImportResult
	other.want(200, "root", "POST", "/import?dryRun=true", all).into(&r)
	if !r.DryRun || len(other.store.log) != before || r.Needs != 1 || r.Kept != 6 || r.Refused != 2 {
		t.Errorf("%+v", r)
	}
	r = ImportResult{}
	other.want(200, "root", "POST", "/import", all).into(&r)
	check(r, 5, 1, 6, 1, 3) // new, zed, plain, its overlay, mine; new; …; secret; bad user, bad definition, nobody
	r = ImportResult{}
	other.want(200, "root", "POST", "/import", all).into(&r)
	check(r, 0, 0, 12, 1, 3)
	var s ServerStatus
	if other.want(200, "bob", "GET", "/servers/plain", nil).into(&s); s.Title != "Data" {
		t.Errorf("%+v", s)
	}
	// Where the secret is already, it stays.
	r = ImportResult{}
	all.Definitions[1].Definition = Document(strings.Replace(string(all.Definitions[1].Definition), "{", `{"title": "T", `, 1))
	w.want(200, "root", "POST", "/import", Export{Jackfield: 1, Definitions: all.Definitions[1:2]}).into(&r)
	if d := must(w.Registry.Find(w.People.Principal("root"), "secret")); r.Changed != 1 || d.Endpoint.Headers["Authorization"] != "Bearer "+hidden {
		t.Errorf("%+v %+v", r, d)
	}
	for _, who := range []string{"ann", "eve"} {
		w.want(403, who, "GET", "/export", nil)
		w.want(403, who, "POST", "/import", all)
		w.want(403, who, "POST", "/backup", nil)
		w.want(403, who, "GET", "/log", nil)
	}
}

func TestABackupIsAFileOrAnError(t *testing.T) {
	w := newWorld(t)
	out := w.want(200, "root", "POST", "/backup", nil)
	if h := out.Header(); !strings.HasPrefix(out.Body.String(), "SQLite format 3") || !strings.HasPrefix(h.Get("Content-Disposition"), `attachment; filename="jackfield-`) || h.Get("Content-Type") != "application/vnd.sqlite3" {
		t.Errorf("%v %q", h, out.Body)
	}
	w.Backup = func(context.Context, io.Writer) error {
		return jackfield.Errorf(jackfield.Invalid, "use pg_dump")
	}
	w.want(400, "root", "POST", "/backup", nil).problem()
	w.Backup = func(_ context.Context, out io.Writer) error {
		_, _ = io.WriteString(out, "half")
		return errors.New("the disk is gone")
	}
	defer func() {
		if recover() == nil {
			t.Error("half a backup looks like a whole one")
		}
	}()
	w.ask("root", "POST", "/backup", nil)
}

func TestTheLogSaysWhatWasWrittenByWhom(t *testing.T) {
	w := newWorld(t)
	w.server("root", "", "x", `{"url": "https://example.com/mcp", "headers": {"X-Key": "{{var.KEY}}"}, "vars": {"KEY": {}}}`)
	w.want(200, "bob", "PUT", "/servers/x/variables/KEY", `{"value": "v"}`)
	w.want(204, "root", "DELETE", "/servers/x", nil, "If-Match", "*")
	var all []Change
	for since := uint64(0); ; {
		var list ChangeList
		w.want(200, "root", "GET", "/log?limit=4&since="+statusText(int(since)), nil).into(&list)
		if len(list.Changes) == 0 {
			break
		}
		all, since = append(all, list.Changes...), list.Next
	}
	for i, c := range all {
		if c.Number != uint64(i+1) || c.At.IsZero() || c.By == "" {
			t.Errorf("%d: %+v", i, c)
		}
	}
	n := len(all)
	if c := all[n-4]; c.Kind != "server" || c.ID != "app/x" || c.Scope != "app" || c.Name != "x" || c.By != "root" {
		t.Errorf("%+v", c)
	}
	if c := all[n-3]; c.Kind != "variable" || c.ID != "user:bob/app/x/KEY" || c.Scope != "user:bob" || c.Server != "app/x" || c.Name != "KEY" || c.By != "bob" {
		t.Errorf("%+v", c)
	}
	if c := all[n-2]; !c.Gone || c.ID != "app/x" {
		t.Errorf("%+v", c)
	}
	if c := all[n-1]; !c.Gone || c.ID != "user:bob/app/x/KEY" || c.By != "root" {
		t.Errorf("%+v", c)
	}
	numbers := func(query string) string {
		var list ChangeList
		w.want(200, "root", "GET", "/log"+query, nil).into(&list)
		var out []string
		for _, c := range list.Changes {
			out = append(out, fmt.Sprint(int(c.Number)-n))
		}
		return strings.Join(out, " ")
	}
	for query, want := range map[string]string{"?last=2": "-1 0", "?last=5&since=" + fmt.Sprint(n-1): "0", "?limit=1&since=" + fmt.Sprint(n-2): "-1"} {
		if got := numbers(query); got != want {
			t.Errorf("%s: %s", query, got)
		}
	}
	if got := len(strings.Fields(numbers("?last=1000"))); got != n {
		t.Errorf("%d of %d", got, n)
	}
	w.want(400, "root", "GET", "/log?last=0", nil)
	events := w.Events
	w.Events = nil // and nothing says where the end is
	if got := numbers("?last=2"); got != "-1 0" {
		t.Error(got)
	}
	w.Events = events
	w.store.broken = jackfield.Errorf(jackfield.Unavailable, "the database is away")
	w.want(503, "root", "GET", "/log", nil).problem()
	w.want(503, "root", "POST", "/teams", NewTeam{ID: "x"}).problem()
	w.want(200, "bob", "GET", "/servers", nil)
}
