package credentials_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/credentials"
	"github.com/jackfield-dev/jackfield/internal/record"
)

func needs(s *shelf, server jackfield.Server, owner jackfield.Scope) (names, reasons []string) {
	for _, n := range s.Needs(&server, owner) {
		names, reasons = append(names, n.Variable.Name), append(reasons, n.Reason)
	}
	return names, reasons
}

func TestWhatIsMissingIsSaidWithWhereToEnterIt(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/{{var.ORG}}/mcp", "Authorization", "Bearer {{var.TOKEN}}", "X-Note", "{{var.NOTE}}")
	server.Name = "git/hub"
	if names, reasons := needs(s, server, alice); !slices.Equal(names, []string{"TOKEN", "ORG"}) || reasons[0] != "it is not entered yet" {
		t.Error(names, reasons)
	}
	_, err := s.Endpoint(t.Context(), &server, alice)
	wantAuth(t, err, "server \"git/hub\" needs your API key (GitHub token): enter it with `jackfield var set git/hub TOKEN`, or PUT /api/v1/servers/git%2Fhub/variables/TOKEN; after that Organisation")
	s.enter(alice, server, "TOKEN=t")
	_, err = s.Endpoint(t.Context(), &server, alice)
	wantAuth(t, err, "needs your setting (Organisation): enter it with")
	s.enter(alice, server, "ORG=o")
	if names, _ := needs(s, server, alice); names != nil {
		t.Error(names)
	}
	if _, err = s.Endpoint(t.Context(), &server, alice); err != nil {
		t.Error(err)
	}
	// What was removed meanwhile is missing at the next request.
	headers := s.Headers(&server, alice)
	s.enter(alice, server, "TOKEN")
	_, err = headers(t.Context())
	wantAuth(t, err, "needs your API key (GitHub token)")
	if _, err := s.Endpoint(t.Context(), &server, bob); err == nil {
		t.Error("one person's values are enough for another")
	}
}

func TestOnlyWhatIsUsedIsNeeded(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp", "X-Org", "{{var.ORG}}")
	if names, _ := needs(s, server, alice); !slices.Equal(names, []string{"ORG"}) {
		t.Error(names)
	}
	server.Fill = jackfield.Fill{}
	if names, _ := needs(s, server, alice); names != nil {
		t.Error(names)
	}
}

func TestWhoSomebodyIsMayBeMissingToo(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp", "X-Mail", "{{user.email}}", "X-Team", "{{team}}", "X-Name", "{{user.name}}", "X-Id", "{{user.id}}")
	s.people["alice"] = credentials.Person{ID: "alice", Teams: []string{"data", "web"}}
	names, reasons := needs(s, server, alice)
	if !slices.Equal(names, []string{"team", "user.email", "user.name"}) || !strings.Contains(reasons[0], "you are in 2 teams") {
		t.Error(names, reasons)
	}
	_, err := s.headers(alice, server)
	wantAuth(t, err, "needs your team: you are in 2 teams", "ask an admin", "email address, name")
	s.people["alice"] = credentials.Person{ID: "alice", Teams: []string{"data"}}
	_, err = s.headers(alice, server)
	wantAuth(t, err, "needs your email address: it is not known here", "PUT /api/v1/users/alice")
	if names, reasons := needs(s, server, jackfield.User("nobody")); !slices.Equal(names, []string{"team", "user.email", "user.name"}) || reasons[0] != "you are in no team" {
		t.Error(names, reasons)
	}
	s.people["alice"] = credentials.Person{ID: "alice", Name: "A", Email: "a@x", Teams: []string{"data"}}
	s.wantHeader(alice, server, "X-Team", "data")
}

func TestWhatIsPersonalIsNotFilledInForEverybody(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp", "X-Id", "{{user.id}}")
	for _, owner := range []jackfield.Scope{jackfield.App(), jackfield.Team("data")} {
		_, err := s.headers(owner, server)
		wantAuth(t, err, "this connection is nobody's")
		if names, _ := needs(s, server, owner); !slices.Equal(names, []string{"user.id"}) {
			t.Error(names)
		}
	}
}

func TestAValueGoesWhereItWasEnteredForAndNowhereElse(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp", "Authorization", "Bearer {{var.TOKEN}}")
	s.enter(alice, server, "TOKEN=secret")
	moved := func(url string) jackfield.Server { return remote(url, "Authorization", "Bearer {{var.TOKEN}}") }
	for _, same := range []string{"https://api.example/other?x=1", "HTTPS://API.example:443/mcp"} {
		s.wantHeader(alice, moved(same), "Authorization", "Bearer secret")
	}
	for _, other := range []string{"https://evil.example/mcp", "http://api.example/mcp", "https://api.example:8443/mcp", "https://api.example.evil.example/", "https://api.example@evil.example/"} {
		elsewhere := moved(other)
		_, err := s.headers(alice, elsewhere)
		wantAuth(t, err, "needs your API key (GitHub token) again, because it was entered for https://api.example, and the server is at")
		names, reasons := needs(s, elsewhere, alice)
		v := s.Values(&elsewhere, alice)[0]
		if !slices.Equal(names, []string{"TOKEN"}) || !v.Set || v.Stale != reasons[0] {
			t.Errorf("%s: %v, %v, %+v", other, names, reasons, v)
		}
	}
	stdio := moved("")
	stdio.Endpoint = jackfield.Endpoint{Transport: jackfield.TransportStdio, Command: "x"}
	if _, err := s.headers(alice, stdio); err == nil {
		t.Error("a program is given it")
	}
	// The operator's word is enough.
	operator := moved("https://new.example/mcp")
	operator.Operator = true
	s.wantHeader(alice, operator, "Authorization", "Bearer secret")
	// Entered again it counts, and not for the old place.
	s.enter(alice, moved("https://new.example/mcp"), "TOKEN=again")
	s.wantHeader(alice, moved("https://new.example/mcp"), "Authorization", "Bearer again")
	if _, err := s.headers(alice, server); err == nil {
		t.Error("it counts for both")
	}
}

func TestValuesAreShownAsFarAsTheyMay(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp")
	s.enter(alice, server, "TOKEN=secret", "ORG=acme")
	values := s.Values(&server, alice)
	if len(values) != 3 || !values[0].Set || values[0].Text != "" || values[1].Text != "acme" || values[2].Set || !values[2].Changed.IsZero() {
		t.Errorf("%+v", values)
	}
	if values[0].Variable.Name != "TOKEN" || values[1].Changed.Before(at(1)) || values[1].Changed.After(at(2)) {
		t.Errorf("%+v", values)
	}
	// Whoever edits the definition does not get to see what was entered in confidence.
	server.Vars[0].Sensitive = false
	if v := s.Values(&server, alice)[0]; v.Text != "" {
		t.Error(v)
	}
	if v := s.Values(&server, bob)[1]; v.Set || v.Text != "" {
		t.Error("bob sees alice's", v)
	}
}

func TestSettingIsAllOrNothingAndForOneself(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp")
	ctx := t.Context()
	by := func(subject string, role jackfield.Role) jackfield.Principal {
		return jackfield.Principal{Subject: subject, Role: role, Teams: []string{"data"}}
	}
	for _, c := range []struct {
		by    jackfield.Principal
		owner jackfield.Scope
		code  jackfield.Code
		ok    bool
	}{
		{by("alice", ""), alice, 0, true},
		{by("root", jackfield.RoleAdmin), alice, 0, true},
		{by("bob", jackfield.RoleEditor), alice, jackfield.Forbidden, false},
		{by("root", jackfield.RoleAdmin), jackfield.App(), jackfield.Invalid, false},
		{by("alice", jackfield.RoleEditor), jackfield.Team("data"), jackfield.Invalid, false},
		{by("", ""), jackfield.User(""), jackfield.Invalid, false},
	} {
		err := s.Set(ctx, c.by, c.owner, server, given("TOKEN=x"))
		if c.ok != (err == nil) || !c.ok && jackfield.CodeOf(err) != c.code {
			t.Errorf("%v sets %v: %v", c.by, c.owner, err)
		}
	}
	before := len(s.writes)
	err := s.Set(ctx, by("alice", ""), alice, server, given("TOKEN=y", "ORG=o", "OTHER=z"))
	wantWords(t, err, `has no variable "OTHER"; it has TOKEN, ORG, NOTE`)
	if jackfield.CodeOf(err) != jackfield.Invalid || len(s.writes) != before || s.Values(&server, alice)[1].Set {
		t.Error("something was set", err)
	}
	if err := s.Set(ctx, by("alice", ""), alice, server, nil); err != nil || len(s.writes) != before {
		t.Error(err)
	}
	s.enter(alice, server, "TOKEN", "ORG=o", "NOTE=n")
	if len(s.writes) != before+1 {
		t.Error("not one write")
	}
	values := s.Values(&server, alice)
	if values[0].Set || !values[1].Set || !values[2].Set {
		t.Errorf("%+v", values)
	}
	s.fail = errAway
	if err := s.Set(ctx, by("alice", ""), alice, server, given("ORG")); jackfield.CodeOf(err) != jackfield.Unavailable || !s.Values(&server, alice)[1].Set {
		t.Error(err)
	}
}

func TestARecordTellsWhoseItIsAndNotWhat(t *testing.T) {
	s := newShelf(t)
	s.enter(alice, remote("https://api.example:8443/mcp?key=k"), "TOKEN=very secret")
	w := s.writes[0][0]
	want := `{"owner":"user:alice","server":"app/github","name":"TOKEN","origin":"https://api.example:8443","sensitive":true}`
	if string(w.Body) != want || w.ID != record.VariableID(alice, "app/github", "TOKEN") || !w.Anyway || !w.NewVersion || w.Seal != 7 {
		t.Errorf("%s of %q", w.Body, w.ID)
	}
	if !strings.HasPrefix(string(w.Sealed), w.Bind()) {
		t.Error("it is not bound to its record")
	}
}

func TestWhatDoesNotOpenIsSaidForTheServerItIsFor(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp", "Authorization", "{{var.TOKEN}}")
	s.enter(alice, server, "TOKEN=a")
	r := s.all()
	r.Records[0].Seal = 8 // a key that is missing
	other := credentials.New(credentials.Options{Seal: s.lock})
	other.Take(r)
	_, err := other.Headers(&server, alice)(context.Background())
	wantWords(t, err, `server "github": the value that was entered for GitHub token cannot be used: it does not open`)
}

func TestRemovalIsOfAPersonOrOfAServer(t *testing.T) {
	s := newShelf(t)
	one, two := remote("https://a.example"), remote("https://b.example")
	two.ID = "app/two"
	s.enter(alice, one, "TOKEN=1", "ORG=2")
	s.enter(alice, two, "TOKEN=3")
	s.enter(bob, one, "TOKEN=4")
	for want, got := range map[int][]record.Write{
		3: s.Removal("", alice),
		2: s.Removal(one.ID, alice),
		4: s.Removal("", jackfield.App()),
		1: s.Removal(two.ID, jackfield.App()),
		0: s.Removal("", jackfield.Team("data")),
	} {
		if len(got) != want {
			t.Errorf("%d, not %d", len(got), want)
		}
	}
	if _, err := s.Write(t.Context(), "root", s.Removal(one.ID, jackfield.App())...); err != nil {
		t.Fatal(err)
	}
	if len(s.records) != 1 || fmt.Sprint(s.Values(&one, bob)[0].Set, s.Values(&two, alice)[0].Set) != "false true" {
		t.Error(len(s.records))
	}
}

func TestValuesThatDoNotFitInOneWriteGoBeforeTheOthers(t *testing.T) {
	s := newShelf(t)
	server, other := remote("https://a.example"), remote("https://b.example")
	other.ID = "app/other"
	const people = 5003
	for i := range people {
		s.enter(jackfield.User(fmt.Sprint(i)), server, "TOKEN=x")
	}
	s.enter(alice, other, "TOKEN=y")
	left, err := s.Leave(t.Context(), jackfield.Principal{Subject: "root"}, func(id jackfield.ServerID) bool { return id == server.ID })
	if err != nil || len(left) != people-5000 || len(s.records) != len(left)+1 {
		t.Fatal(len(left), len(s.records), err)
	}
	if _, err := s.Write(t.Context(), "root", left...); err != nil || len(s.records) != 1 {
		t.Error(len(s.records), err)
	}
}
