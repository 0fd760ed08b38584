package authn

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// faultsOf are the fields that an error finds fault with.
func faultsOf(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	wantCode(t, err, jackfield.Invalid)
	faults, ok := errors.AsType[Faults](err)
	if !ok {
		t.Fatalf("%v has no faults", err)
	}
	var fields []string
	for _, f := range faults {
		fields = append(fields, f.Field)
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

func TestEveryFieldOfAUserHasItsBounds(t *testing.T) {
	b := newBook(Options{})
	b.have(t, Team{ID: "a"})
	for _, c := range []struct {
		name string
		user User
		bad  []string
	}{
		{"nothing but a subject", User{Subject: "x"}, nil},
		{"all of it", User{Subject: "ann@example.com", Name: "Ann Ó Briain", Email: "ann+x@example.com", Role: "editor", Teams: []string{"a"}}, nil},
		{"a subject in any script", User{Subject: "Łukasz/日本 7"}, nil},
		{"a longest subject", User{Subject: strings.Repeat("x", 256)}, nil},
		{"a name with joiners", User{Subject: "x", Name: "نمی\u200cخواهم"}, nil},
		{"no subject", User{}, []string{"subject"}},
		{"a subject that is too long", User{Subject: strings.Repeat("x", 257)}, []string{"subject"}},
		{"a space in front", User{Subject: " x"}, []string{"subject"}},
		{"a space behind", User{Subject: "x "}, []string{"subject"}},
		{"a path", User{Subject: ".."}, []string{"subject"}},
		{"the caller's alias", User{Subject: "me"}, []string{"subject"}},
		{"a zero byte", User{Subject: "a\x00b"}, []string{"subject"}},
		{"a separator of records", User{Subject: "a\x1fb"}, []string{"subject"}},
		{"a line break", User{Subject: "a\nb"}, []string{"subject"}},
		{"a turn of direction", User{Subject: "a\u202eb"}, []string{"subject"}},
		{"an isolate", User{Subject: "a\u2066b"}, []string{"subject"}},
		{"a zero-width space", User{Subject: "a\u200bb"}, []string{"subject"}},
		{"a joiner", User{Subject: "a\u200db"}, []string{"subject"}},
		{"a byte order mark", User{Subject: "\ufeffann"}, []string{"subject"}},
		{"a soft hyphen", User{Subject: "a\u00adb"}, []string{"subject"}},
		{"a filler that is a letter", User{Subject: "ann\u3164"}, []string{"subject"}},
		{"a variation selector", User{Subject: "ann\ufe0f"}, []string{"subject"}},
		{"a grapheme joiner", User{Subject: "a\u034fnn"}, []string{"subject"}},
		{"a no-break space", User{Subject: "a\u00a0b"}, []string{"subject"}},
		{"tags", User{Subject: "a\U000e0061"}, []string{"subject"}},
		{"decomposed", User{Subject: "e\u0301"}, []string{"subject"}},
		{"not UTF-8", User{Subject: "a\xff"}, []string{"subject"}},
		{"a name that is too long", User{Subject: "x", Name: strings.Repeat("x", 257)}, []string{"name"}},
		{"a name that turns around", User{Subject: "x", Name: "\u202etxt"}, []string{"name"}},
		{"email without a place", User{Subject: "x", Email: "ann"}, []string{"email"}},
		{"email with a name", User{Subject: "x", Email: "Ann <ann@example.com>"}, []string{"email"}},
		{"two emails", User{Subject: "x", Email: "a@example.com,b@example.com"}, []string{"email"}},
		{"email with a header in it", User{Subject: "x", Email: "a@example.com\r\nX: y"}, []string{"email"}},
		{"email that is too long", User{Subject: "x", Email: strings.Repeat("x", 250) + "@x.de"}, []string{"email"}},
		{"a role that there is not", User{Subject: "x", Role: "root"}, []string{"role"}},
		{"a team that there is not", User{Subject: "x", Teams: []string{"nobody"}}, []string{"teams"}},
		{"a team that cannot be", User{Subject: "x", Teams: []string{"../a"}}, []string{"teams"}},
		{"too many teams", User{Subject: "x", Teams: numbered("t", 101)}, []string{"teams"}},
		{"local is an admin", User{Subject: "local", Role: "user"}, []string{"subject"}},
		{"token is not disabled", User{Subject: "token", Disabled: true}, []string{"subject"}},
		{"local with a name", User{Subject: "local", Name: "Ann", Email: "ann@example.com"}, nil},
		{"everything at once", User{Subject: "\t", Name: "\t", Email: "\t", Role: "\t", Teams: []string{"\t"}}, []string{"email", "name", "role", "subject", "teams"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := b.head
			_, err := b.Users().Put(t.Context(), admin1, c.user, anyway)
			if got := faultsOf(t, err); !slices.Equal(got, c.bad) {
				t.Errorf("got faults with %v, want %v: %v", got, c.bad, err)
			}
			if err == nil {
				return
			}
			if len(err.Error()) > 2000 || strings.ContainsAny(err.Error(), "\x00\n\r\u202e") {
				t.Errorf("its message is not fit to be shown: %q", err)
			}
			if b.head != before {
				t.Error("it was written all the same")
			}
		})
	}
}

func numbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(prefix, i)
	}
	return out
}

func TestEveryFieldOfATeamHasItsBounds(t *testing.T) {
	b := newBook(Options{})
	for id, good := range map[string]bool{
		"a": true, "0": true, "data.eu-west_1": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "A": false, ".a": false, "-": false, "a/b": false, "a b": false, "é": false, "a:b": false, "a\n": false,
	} {
		if _, err := b.Teams().Put(t.Context(), admin1, Team{ID: id}, anyway); (err == nil) != good {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, c := range []struct {
		team Team
		bad  []string
	}{
		{Team{ID: "x", Title: "Data & Co", Description: "Two\nlines.\n"}, nil},
		{Team{ID: "x", Title: "a\nb", Description: strings.Repeat("x", 4097)}, []string{"description", "title"}},
		{Team{ID: "x", Description: "\u202e"}, []string{"description"}},
	} {
		_, err := b.Teams().Put(t.Context(), admin1, c.team, anyway)
		if got := faultsOf(t, err); !slices.Equal(got, c.bad) {
			t.Errorf("%+v: got faults with %v, want %v", c.team, got, c.bad)
		}
	}
}

func TestEveryFieldOfAKeyHasItsBounds(t *testing.T) {
	b := newBook(Options{})
	b.have(t, Team{ID: "a"})
	for _, c := range []struct {
		key Key
		bad []string
	}{
		{Key{Name: "laptop", User: "ann", Role: "user", Teams: []string{"a"}, Servers: []string{"github"}, Expires: time.Now().Add(time.Minute)}, nil},
		{Key{Name: "laptop of Ann"}, nil},
		{Key{}, []string{"name"}},
		{
			Key{Name: "a\u200bb", User: "..", Role: "x", Teams: []string{"b"}, Servers: []string{""}, Expires: time.Now()},
			[]string{"expires", "name", "role", "servers", "teams", "user"},
		},
		{Key{Name: "x", Expires: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}, []string{"expires"}},
		{Key{Name: "x", Servers: numbered("s", 1001)}, []string{"servers"}},
		{Key{Name: "x", Servers: []string{strings.Repeat("x", 129)}}, []string{"servers"}},
	} {
		_, _, err := b.Keys().Make(t.Context(), admin1, c.key)
		if got := faultsOf(t, err); !slices.Equal(got, c.bad) {
			t.Errorf("%+v: got faults with %v, want %v: %v", c.key, got, c.bad, err)
		}
	}
	for _, c := range []struct {
		key FileKey
		bad []string
	}{
		{FileKey{Name: "ci", Hash: HashOf("x"), Expires: time.Unix(1, 0)}, nil},
		{FileKey{Name: "ci", Hash: "sha256:" + strings.ToUpper(HashOf("x")[7:]), User: "local"}, nil},
		{FileKey{}, []string{"hash", "name"}},
		{FileKey{Name: "local", Hash: HashOf("x")}, []string{"name"}},
		{FileKey{Name: "ci", Hash: HashOf("x")[:70], User: "a\n", Role: "x", Teams: []string{"A"}, Servers: []string{""}}, []string{"hash", "role", "servers", "teams", "user"}},
		{FileKey{Name: "ci", Hash: "md5:" + HashOf("x")[7:]}, []string{"hash"}},
		{FileKey{Name: "ci", Hash: HashOf("x")[:70] + "g"}, []string{"hash"}},
	} {
		if got := faultsOf(t, c.key.Check()); !slices.Equal(got, c.bad) {
			t.Errorf("%+v: got faults with %v, want %v", c.key, got, c.bad)
		}
	}
}

func TestOnlyWhoMayChangesPeople(t *testing.T) {
	b := newBook(Options{})
	b.have(t, Team{ID: "a"}, Team{ID: "b"}, User{Subject: "ann", Role: "editor", Teams: []string{"a"}}, User{Subject: "bob"})
	ann := b.Principal("ann")
	ctx := t.Context()
	refusals := []error{
		second(b.Users().Put(ctx, ann, User{Subject: "ann", Role: "admin"}, anyway)),
		second(b.Users().Put(ctx, ann, User{Subject: "eve"}, anyway)),
		b.Users().Remove(ctx, ann, "bob", anyway),
		second(b.Users().List(ann, "", 0)),
		second(b.Users().Get(ann, "bob")),
		second(b.Teams().Put(ctx, ann, Team{ID: "a", Title: "x"}, anyway)),
		b.Teams().Remove(ctx, ann, "a", anyway),
		second(b.Teams().Join(ctx, ann, "a", "bob")),
		second(b.Teams().Leave(ctx, ann, "a", "ann")),
		second(b.Keys().List(ann, "bob", "", 0)),
		make1(b, ann, Key{Name: "x", User: "bob"}),
		make1(b, ann, Key{Name: "x", Role: "admin"}),
		make1(b, ann, Key{Name: "x", Teams: []string{"b"}}),
		make1(b, jackfield.Principal{Subject: "ann", Role: "admin", Only: []string{"s"}}, Key{Name: "x", Servers: []string{"s", "t"}}),
		make1(b, jackfield.Principal{Subject: "ann", Only: []string{}}, Key{Name: "x", Servers: []string{"t"}}),
	}
	before := b.head
	for i, err := range refusals {
		if jackfield.CodeOf(err) != jackfield.Forbidden || err == nil {
			t.Errorf("%d: got %v", i, err)
		}
	}
	if b.head != before {
		t.Error("something was written")
	}
	if me, err := b.Users().Get(ann, "ann"); err != nil || me.Subject != "ann" {
		t.Error(me, err)
	}
	if teams := b.Teams().List(ann, "", 0); len(teams) != 1 || teams[0].ID != "a" {
		t.Error(teams)
	}
	wantCode(t, second(b.Teams().Get(ann, "b")), jackfield.NotFound)
	wantCode(t, second(b.Teams().Members(ann, "b", "", 0)), jackfield.NotFound)
	if members, err := b.Teams().Members(ann, "a", "", 0); err != nil || len(members) != 1 || members[0].Subject != "ann" {
		t.Error(members, err)
	}
}

func second[T any](_ T, err error) error { return err }

func make1(b *book, by jackfield.Principal, want Key) error {
	_, _, err := b.Keys().Make(context1, by, want)
	return err
}

func TestKeysAreSeenAndRevokedByTheirUserAndAdmins(t *testing.T) {
	b := newBook(Options{Keys: []FileKey{{Name: "ci", Hash: HashOf("x")}}})
	ann, bob := jackfield.Principal{Subject: "ann"}, jackfield.Principal{Subject: "bob"}
	id, text := b.key(t, ann, Key{})
	bobs, _ := b.key(t, bob, Key{})
	wantCode(t, second(b.Keys().Get(bob, id)), jackfield.NotFound)
	wantCode(t, b.Keys().Remove(t.Context(), bob, id, anyway), jackfield.NotFound)
	wantCode(t, b.Keys().Remove(t.Context(), admin1, "file:ci", anyway), jackfield.Forbidden)
	own, err := b.Keys().List(bob, "", "", 0)
	if err != nil || len(own) != 1 || own[0].ID != bobs {
		t.Error(own, err)
	}
	all, err := b.Keys().List(admin1, "", "", 0)
	if err != nil || len(all) != 3 || !slices.IsSortedFunc(all, func(a, b Key) int { return strings.Compare(a.ID, b.ID) }) {
		t.Error(all, err)
	}
	k, err := b.Keys().Get(ann, id)
	if err != nil || k.User != "ann" || k.Maker != "ann" || k.Revision == 0 || k.Created.IsZero() {
		t.Errorf("%+v %v", k, err)
	}
	wantCode(t, b.Keys().Remove(t.Context(), ann, id, Condition{If: k.Revision + 1}), jackfield.Conflict)
	b.come(t, text)
	if err := b.Keys().Remove(t.Context(), ann, id, Condition{If: k.Revision}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, second(b.Authenticate(with("Bearer "+text))), jackfield.AuthRequired)
	if want := []Lost{{Subject: "ann", Credential: id, Reason: `the key "test" was revoked`}}; !slices.Equal(b.lost, want) {
		t.Errorf("lost: %+v", b.lost)
	}
	wantCode(t, second(b.Keys().Get(ann, id)), jackfield.NotFound)
}

func TestAUserHasOnlySoManyKeys(t *testing.T) {
	b := newBook(Options{})
	ann := jackfield.Principal{Subject: "ann"}
	for range maxOwnKeys {
		b.key(t, ann, Key{})
	}
	wantCode(t, make1(b, ann, Key{Name: "one more"}), jackfield.Exhausted)
	for range maxKeys - maxOwnKeys {
		b.key(t, admin1, Key{User: "ann"})
	}
	wantCode(t, make1(b, admin1, Key{Name: "one more", User: "ann"}), jackfield.Exhausted)
	b.key(t, jackfield.Principal{Subject: "bob"}, Key{})
}

func TestEditsThatDoNotKnowOfOneAnotherConflict(t *testing.T) {
	b := newBook(Options{})
	one, err := b.Users().Put(t.Context(), admin1, User{Subject: "ann"}, Condition{})
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, second(b.Users().Put(t.Context(), admin1, User{Subject: "ann"}, Condition{})), jackfield.Conflict)
	two, err := b.Users().Put(t.Context(), admin1, User{Subject: "ann", Name: "Ann"}, Condition{If: one.Revision})
	if err != nil || two.Revision <= one.Revision || !two.Created.Equal(one.Created) || two.By != "admin" {
		t.Fatal(two, err)
	}
	_, err = b.Users().Put(t.Context(), admin1, User{Subject: "ann"}, Condition{If: one.Revision})
	wantCode(t, err, jackfield.Conflict)
	if c, ok := errors.AsType[*record.Conflict](err); !ok || c.Current != two.Revision {
		t.Errorf("%v does not say the revision that is there", err)
	}
	wantCode(t, b.Users().Remove(t.Context(), admin1, "ann", Condition{If: one.Revision}), jackfield.Conflict)
	got, err := b.Users().Get(admin1, "ann")
	if err != nil || got.Name != "Ann" || got.Revision != two.Revision || got.Role != jackfield.RoleUser {
		t.Error(got, err)
	}
	wantCode(t, second(New(Options{}).Users().Put(t.Context(), admin1, User{Subject: "ann"}, anyway)), jackfield.Invalid)
}

func TestOneAdminIsLeft(t *testing.T) {
	b := newBook(Options{})
	b.have(t, User{Subject: "admin", Role: "admin"}, User{Subject: "other", Role: "admin"})
	for _, change := range []User{{Subject: "admin", Role: "admin", Disabled: true}, {Subject: "admin", Role: "editor"}, {Subject: "admin"}} {
		wantCode(t, second(b.Users().Put(t.Context(), admin1, change, anyway)), jackfield.Forbidden)
	}
	wantCode(t, b.Users().Remove(t.Context(), admin1, "admin", anyway), jackfield.Forbidden)
	b.have(t, User{Subject: "admin", Role: "admin", Name: "Still Here"}, User{Subject: "other", Disabled: true})
	if err := b.Users().Remove(t.Context(), admin1, "other", anyway); err != nil {
		t.Error(err)
	}
}

func TestWithAUserGoesWhatBelongsToIt(t *testing.T) {
	b := newBook(Options{Keys: []FileKey{{Name: "ci", User: "ann", Hash: HashOf("x")}}})
	b.have(t, User{Subject: "ann", Role: "editor"})
	_, text := b.key(t, admin1, Key{User: "ann"})
	variable := record.Ref{Kind: record.Variable, ID: "v"}
	if _, err := b.Write(t.Context(), "ann", record.Write{Ref: variable}); err != nil {
		t.Fatal(err)
	}
	stray := record.Record{
		Ref: record.Ref{Kind: record.Key, ID: "abcdefghij"}, Revision: 1,
		Body: []byte(`{"name":"made meanwhile","user":"ann","recorded":true,"hash":"` + HashOf("stray") + `"}`),
	}
	if err := b.Users().Remove(t.Context(), admin1, "ann", anyway, record.Write{Ref: variable, Anyway: true, Remove: true}); err != nil {
		t.Fatal(err)
	}
	if len(b.records) != 0 {
		t.Errorf("left: %v", b.records)
	}
	if len(b.lost) == 0 || !b.lost[0].Is(jackfield.Principal{Subject: "ann", Credential: "whatever"}) || b.lost[0].Is(jackfield.Principal{Subject: "bob"}) {
		t.Errorf("lost: %+v", b.lost)
	}
	wantCode(t, second(b.Authenticate(with("Bearer "+text))), jackfield.AuthRequired)
	b.Take(record.Batch{Records: []record.Record{stray}})
	wantCode(t, second(b.identify("stray")), jackfield.AuthRequired)
	if k, err := b.Keys().Get(admin1, "abcdefghij"); err != nil || !strings.Contains(k.Refused, "removed") {
		t.Errorf("%+v %v", k, err)
	}
	if p := b.come(t, "x"); p.Role != jackfield.RoleUser {
		t.Errorf("a file key stands as the file has it; got %+v", p)
	}
	wantCode(t, b.Users().Remove(t.Context(), admin1, "ann", anyway), jackfield.NotFound)
}

func TestATeamThatIsMadeAgainIsEmpty(t *testing.T) {
	b := newBook(Options{})
	b.have(t, Team{ID: "a"}, Team{ID: "b"}, User{Subject: "ann", Teams: []string{"a", "b"}}, User{Subject: "bob", Teams: []string{"b"}})
	id, text := b.key(t, admin1, Key{User: "carl", Teams: []string{"a", "b"}})
	before, _ := b.Person("ann")
	more := record.Ref{Kind: record.Server, ID: "team:a/github"}
	if _, err := b.Write(t.Context(), "x", record.Write{Ref: more}); err != nil {
		t.Fatal(err)
	}
	if err := b.Teams().Remove(t.Context(), admin1, "a", anyway, record.Write{Ref: more, Anyway: true, Remove: true}); err != nil {
		t.Fatal(err)
	}
	var who []string
	for _, l := range b.lost {
		who = append(who, l.Subject+"|"+l.Credential+"|"+l.Reason)
	}
	slices.Sort(who)
	if want := []string{"ann||the membership in the team \"a\" has ended", "carl|" + id + "|the membership in the team \"a\" has ended"}; !slices.Equal(who, want) {
		t.Errorf("lost: %q", who)
	}
	if _, ok := b.records[more]; ok {
		t.Error("what else belongs to it is left")
	}
	b.have(t, Team{ID: "a"})
	after, _ := b.Person("ann")
	if p := b.come(t, text); !slices.Equal(p.Teams, []string{"b"}) || !slices.Equal(after.Teams, []string{"b"}) || after.Revision <= before.Revision {
		t.Errorf("%+v, %+v", p, after)
	}
}

func TestAMembershipOfATeamWithoutARecordCountsForNothing(t *testing.T) {
	b := newBook(Options{})
	user := record.Record{Ref: record.Ref{Kind: record.User, ID: "ann"}, Body: []byte(`{"teams":["gone","a"]}`), Revision: 5, Version: 5}
	team := record.Record{Ref: record.Ref{Kind: record.Team, ID: "a"}, Body: []byte(`{}`), Revision: 7, Version: 7}
	b.Take(record.Batch{Head: 5, Records: []record.Record{user}})
	if p, ok := b.Person("ann"); !ok || len(p.Teams) != 0 || p.Revision != 5 {
		t.Error(p, ok)
	}
	b.Take(record.Batch{Head: 7, Records: []record.Record{team}})
	if p, _ := b.Person("ann"); !slices.Equal(p.Teams, []string{"a"}) || p.Revision != 7 {
		t.Error(p)
	}
	lost := b.Take(record.Batch{Head: 9, Gone: []record.Ref{team.Ref}})
	if p, _ := b.Person("ann"); len(p.Teams) != 0 || p.Revision != 9 || len(lost) != 1 || lost[0].Subject != "ann" {
		t.Error(p, lost)
	}
}

func TestMembersComeAndGo(t *testing.T) {
	b := newBook(Options{})
	b.have(t, Team{ID: "a"}, Team{ID: "b"}, User{Subject: "ann", Name: "Ann", Role: "editor", Teams: []string{"b"}})
	ctx := t.Context()
	one, err := b.Teams().Join(ctx, admin1, "a", "ann")
	if err != nil || !slices.Equal(one.Teams, []string{"a", "b"}) || one.Name != "Ann" || one.Role != jackfield.RoleEditor || len(b.lost) > 0 {
		t.Fatal(one, err, b.lost)
	}
	head := b.head
	if again, e := b.Teams().Join(ctx, admin1, "a", "ann"); e != nil || again.Revision != one.Revision || b.head != head {
		t.Error(again, e)
	}
	if one, err = b.Teams().Leave(ctx, admin1, "a", "ann"); err != nil || !slices.Equal(one.Teams, []string{"b"}) || len(b.lost) != 1 {
		t.Error(one, err, b.lost)
	}
	wantCode(t, second(b.Teams().Join(ctx, admin1, "nope", "ann")), jackfield.NotFound)
	wantCode(t, second(b.Teams().Join(ctx, admin1, "a", "nobody")), jackfield.NotFound)
}

func TestAPersonIsNewerOnlyWhenServersAreToldSomethingElse(t *testing.T) {
	b := newBook(Options{})
	b.have(t, User{Subject: "ann", Name: "Ann"})
	first, _ := b.Person("ann")
	b.have(t, User{Subject: "ann", Name: "Ann", Role: "editor"})
	if p, _ := b.Person("ann"); p.Revision != first.Revision {
		t.Error("another role is told to nobody")
	}
	b.have(t, User{Subject: "ann", Name: "Ann", Email: "ann@example.com"})
	if p, _ := b.Person("ann"); p.Revision <= first.Revision || p.Email != "ann@example.com" || p.ID != "ann" || p.Name != "Ann" {
		t.Error(p)
	}
	if p, ok := b.Person("local"); !ok || p.ID != "local" || p.Name != "" {
		t.Error(p, ok)
	}
	b.have(t, User{Subject: "local", Name: "Me"})
	if p, ok := b.Person("local"); !ok || p.Name != "Me" {
		t.Error(p, ok)
	}
	if p, ok := b.Person("nobody"); ok {
		t.Error(p)
	}
	b.have(t, Team{ID: "a"})
	id, _ := b.key(t, admin1, Key{User: "ci", Teams: []string{"a"}})
	one, ok := b.Person("ci")
	if !ok || !slices.Equal(one.Teams, []string{"a"}) {
		t.Error(one, ok)
	}
	b.key(t, admin1, Key{User: "ci"})
	if err := b.Keys().Remove(t.Context(), admin1, id, anyway); err != nil {
		t.Fatal(err)
	}
	if two, ok := b.Person("ci"); !ok || len(two.Teams) != 0 || two.Revision <= one.Revision {
		t.Error(two, ok)
	}
}

func TestListsGoOnWhereTheyEnded(t *testing.T) {
	b := newBook(Options{})
	b.have(t, Team{ID: "a"})
	want := numbered("user", 250)
	for i, subject := range want {
		u := User{Subject: subject}
		if i%5 == 0 {
			u.Teams = []string{"a"}
		}
		b.have(t, u)
	}
	slices.Sort(want)
	walk := func(list func(after string) ([]User, error)) (got []string) {
		for after := ""; ; {
			page, err := list(after)
			if err != nil || len(page) > 30 {
				t.Fatal(len(page), err)
			}
			if len(page) == 0 {
				return got
			}
			for _, u := range page {
				got = append(got, u.Subject)
			}
			after = got[len(got)-1]
		}
	}
	if got := walk(func(after string) ([]User, error) { return b.Users().List(admin1, after, 30) }); !slices.Equal(got, want) {
		t.Errorf("got %d of %d users, or not in order", len(got), len(want))
	}
	if got := walk(func(after string) ([]User, error) { return b.Teams().Members(admin1, "a", after, 7) }); len(got) != 50 || !slices.IsSorted(got) {
		t.Errorf("got %d members", len(got))
	}
	if page, err := b.Users().List(admin1, "user99zzz", 30); err != nil || len(page) != 0 {
		t.Error(page, err)
	}
	if page, err := b.Users().List(admin1, "user98x", 30); err != nil || len(page) != 1 || page[0].Subject != "user99" {
		t.Error(page, err) // behind one that is not there
	}
	if page, _ := b.Users().List(admin1, "", 1<<30); len(page) != 250 {
		t.Error(len(page))
	}
	if page, _ := b.Users().List(admin1, "", -1); len(page) != pageSize {
		t.Error(len(page))
	}
}
