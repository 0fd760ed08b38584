package authn

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

func TestWhoCallsIsDecidedByWhatIsSent(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	key, id, hash := NewKey()
	other, _, _ := NewKey()
	files := []FileKey{{Name: "ci", Hash: hash}, {Name: "old", Hash: HashOf("some other text that was a token"), User: "ann"}}
	for _, c := range []struct {
		name    string
		options Options
		headers []string
		who     string // empty: refused
	}{
		{"open, nothing sent", Options{Open: true}, nil, "local"},
		{"open, something sent", Options{Open: true}, []string{"Bearer x"}, ""},
		{"open, an empty header", Options{Open: true}, []string{""}, ""},
		{"open, a key sent", Options{Open: true, Keys: files}, []string{"Bearer " + key.Reveal()}, "ci"},
		{"closed, nothing sent", Options{}, nil, ""},
		{"closed, an empty token", Options{}, []string{"Bearer "}, ""},
		{"the right token", Options{Token: token}, []string{"Bearer " + token}, "token"},
		{"the scheme in another case", Options{Token: token}, []string{"bEARER   " + token + "\t"}, "token"},
		{"a wrong token", Options{Token: token}, []string{"Bearer " + token[1:] + "x"}, ""},
		{"a prefix of the token", Options{Token: token}, []string{"Bearer " + token[:31]}, ""},
		{"more than the token", Options{Token: token}, []string{"Bearer " + token + "0"}, ""},
		{"another scheme", Options{Token: token}, []string{"Basic " + token}, ""},
		{"no scheme", Options{Token: token}, []string{token}, ""},
		{"the right token twice", Options{Token: token}, []string{"Bearer " + token, "Bearer " + token}, ""},
		{"two tokens in one", Options{Token: token}, []string{"Bearer " + token + " " + token}, ""},
		{"a token and a key, the key", Options{Token: token, Keys: files}, []string{"Bearer " + key.Reveal()}, "ci"},
		{"a file key that is no key by its looks", Options{Keys: files}, []string{"Bearer some other text that was a token"}, ""},
		{"another key", Options{Keys: files}, []string{"Bearer " + other.Reveal()}, ""},
		{"the id of a key with another secret", Options{Keys: files}, []string{"Bearer jf_" + id + other.Reveal()[13:]}, ""},
		{"the hash of a key", Options{Keys: files}, []string{"Bearer " + hash}, ""},
		{"very much", Options{Token: token}, []string{"Bearer " + strings.Repeat("x", 1<<20)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			who, err := New(c.options).Authenticate(with(c.headers...))
			if c.who == "" {
				wantCode(t, err, jackfield.AuthRequired)
				if !reflect.DeepEqual(who, jackfield.Principal{}) {
					t.Errorf("refused, and %+v all the same", who)
				}
				if strings.Contains(fmt.Sprint(err), token) || strings.Contains(fmt.Sprint(err), key.Reveal()) {
					t.Errorf("%v says what it must not", err)
				}
				return
			}
			if err != nil || who.Subject != c.who {
				t.Errorf("got %v and %v, want %s", who, err, c.who)
			}
		})
	}
}

func TestOnlyWhoSendsNothingToAnOpenGatewayIsTheOperator(t *testing.T) {
	b := newBook(Options{Open: true, Token: "token"})
	local, err := b.Authenticate(with())
	if err != nil || !local.Operator || local.Role != jackfield.RoleAdmin {
		t.Fatal(local, err)
	}
	_, text := b.key(t, local, Key{Role: jackfield.RoleAdmin})
	for _, sent := range []string{"token", text} {
		if p := b.come(t, sent); p.Operator || p.Role != jackfield.RoleAdmin {
			t.Errorf("got %+v", p)
		}
	}
	if p := New(Options{}).Principal("local"); p.Operator {
		t.Error("the local principal is the operator of a gateway that is not open")
	}
}

func TestAKeyIsMadeOfItsIdAndASecretThatNobodyKeeps(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		key, id, hash := NewKey()
		text := key.Reveal()
		if len(text) != keyLength || keyID(text) != id || strings.Count(text, "_") != 2 || HashOf(text) != hash || seen[text] || seen[id] {
			t.Fatalf("got %s, %s, %s", text, id, hash)
		}
		seen[text], seen[id] = true, true
	}
	b := newBook(Options{})
	_, text := b.key(t, admin1, Key{User: "ann"})
	for ref, r := range b.records {
		if strings.Contains(string(r.Body), text[14:]) || strings.Contains(string(r.Body), text[14:30]) {
			t.Errorf("%+v holds the secret: %s", ref, r.Body)
		}
	}
}

// TestThePrincipalOfAKey is the rule of doc.go, one line a case.
func TestThePrincipalOfAKey(t *testing.T) {
	const admin, editor, user = jackfield.RoleAdmin, jackfield.RoleEditor, jackfield.RoleUser
	ann := jackfield.Principal{Subject: "ann", Role: editor, Teams: []string{"a"}}
	for _, c := range []struct {
		name string
		user *User // of ann
		by   jackfield.Principal
		key  Key
		file *FileKey
		want jackfield.Principal // without its Credential; no Subject: refused
	}{
		{name: "nothing is known but the key", by: admin1, key: Key{User: "ann"}, want: jackfield.Principal{Subject: "ann", Role: user}},
		{
			name: "the user's role and teams", user: &User{Role: editor, Teams: []string{"b", "a"}}, by: admin1, key: Key{User: "ann"},
			want: jackfield.Principal{Subject: "ann", Role: editor, Teams: []string{"a", "b"}},
		},
		{
			name: "the key's role, less than the user's", user: &User{Role: admin}, by: admin1, key: Key{User: "ann", Role: user},
			want: jackfield.Principal{Subject: "ann", Role: user},
		},
		{
			name: "the key's role, more than the user's, given by an admin", user: &User{Role: user}, by: admin1, key: Key{User: "ann", Role: editor},
			want: jackfield.Principal{Subject: "ann", Role: editor},
		},
		{
			name: "teams of both", user: &User{Teams: []string{"b"}}, by: admin1, key: Key{User: "ann", Teams: []string{"c", "a", "c"}},
			want: jackfield.Principal{Subject: "ann", Role: user, Teams: []string{"a", "b", "c"}},
		},
		{
			name: "own key, no more than the record has", user: &User{Role: user, Teams: []string{"b"}}, by: ann, key: Key{Role: editor, Teams: []string{"a"}},
			want: jackfield.Principal{Subject: "ann", Role: user, Teams: []string{"b"}},
		},
		{
			name: "own key, without a record", by: ann, key: Key{Role: editor, Teams: []string{"a"}},
			want: jackfield.Principal{Subject: "ann", Role: editor, Teams: []string{"a"}},
		},
		{
			name: "servers", by: admin1, key: Key{User: "ann", Servers: []string{"t", "s", "t"}},
			want: jackfield.Principal{Subject: "ann", Role: user, Only: []string{"s", "t"}},
		},
		{
			name: "servers of who came for some", by: jackfield.Principal{Subject: "ann", Only: []string{"s"}}, key: Key{},
			want: jackfield.Principal{Subject: "ann", Role: user, Only: []string{"s"}},
		},
		{
			name: "own key of somebody who came with less than they are", user: &User{Role: admin},
			by: jackfield.Principal{Subject: "ann", Role: user, Credential: "x"}, key: Key{}, want: jackfield.Principal{Subject: "ann", Role: user},
		},
		{
			name: "own key of somebody who came with nothing less", user: &User{Role: admin},
			by: jackfield.Principal{Subject: "ann", Role: admin}, key: Key{}, want: jackfield.Principal{Subject: "ann", Role: admin},
		},
		{name: "disabled", user: &User{Disabled: true}, by: admin1, key: Key{User: "ann", Role: admin}},
		{
			name: "file key by itself", file: &FileKey{Name: "ci", Role: editor, Teams: []string{"only-file", "a"}},
			want: jackfield.Principal{Subject: "ci", Role: editor, Teams: []string{"a", "only-file"}},
		},
		{
			name: "file key of a user", user: &User{Role: editor, Teams: []string{"b"}}, file: &FileKey{Name: "ci", User: "ann", Teams: []string{"z"}, Servers: []string{"s"}},
			want: jackfield.Principal{Subject: "ann", Role: editor, Teams: []string{"b", "z"}, Only: []string{"s"}},
		},
		{
			name: "file key with the name of a user", user: &User{Role: editor}, file: &FileKey{Name: "ann"},
			want: jackfield.Principal{Subject: "ann", Role: editor},
		},
		{name: "file key of a disabled user", user: &User{Disabled: true}, file: &FileKey{Name: "ci", User: "ann", Role: admin}},
		{name: "file key that has expired", file: &FileKey{Name: "ci", Expires: time.Unix(1, 0)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var o Options
			text := "a file key of some length"
			text = strings.ReplaceAll(text, " ", "-")
			if c.file != nil {
				c.file.Hash = HashOf(text)
				o.Keys = []FileKey{*c.file}
			}
			b := newBook(o)
			b.have(t, Team{ID: "a"}, Team{ID: "b"}, Team{ID: "c"})
			if c.user != nil {
				c.user.Subject = "ann"
				b.have(t, *c.user)
			}
			if c.file == nil {
				_, text = b.key(t, c.by, c.key)
			}
			got, err := b.Authenticate(with("Bearer " + text))
			if c.want.Subject == "" {
				wantCode(t, err, jackfield.AuthRequired)
				return
			}
			if got.Credential == "" {
				t.Error("it names no credential")
			}
			got.Credential = ""
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v and %v, want %+v", got, err, c.want)
			}
			again := New(o) // what was written is enough
			again.Take(b.all())
			same, err := again.Authenticate(with("Bearer " + text))
			same.Credential = ""
			if err != nil || !reflect.DeepEqual(same, got) {
				t.Errorf("after a restart: %+v and %v", same, err)
			}
		})
	}
}

func TestAKeyMadeWithAFileKeyEndsWithIt(t *testing.T) {
	o := Options{Keys: []FileKey{{Name: "ci", Hash: HashOf("x-x-x-x")}}}
	b := newBook(o)
	_, text := b.key(t, b.come(t, "x-x-x-x"), Key{})
	without := New(Options{})
	without.Take(b.all())
	_, err := without.Authenticate(with("Bearer " + text))
	wantCode(t, err, jackfield.AuthRequired)
	with1 := New(o)
	with1.Take(b.all())
	if p, err := with1.Authenticate(with("Bearer " + text)); err != nil || p.Subject != "ci" {
		t.Error(p, err)
	}
}

func TestAKeyEndsWhenItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(Options{})
		_, text := b.key(t, admin1, Key{User: "ann", Expires: time.Now().Add(time.Hour)})
		time.Sleep(time.Hour - 1)
		b.come(t, text)
		time.Sleep(time.Nanosecond)
		_, err := b.Authenticate(with("Bearer " + text))
		wantCode(t, err, jackfield.AuthRequired)
		if !strings.Contains(err.Error(), "expired") {
			t.Error(err)
		}
	})
}

func TestPeopleAreFoundWhileTheyChange(t *testing.T) {
	b := newBook(Options{Open: true})
	b.have(t, Team{ID: "a"}, User{Subject: "ann", Teams: []string{"a"}})
	_, text := b.key(t, admin1, Key{User: "ann"})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 500 {
				p, err := b.Authenticate(with("Bearer " + text))
				if err != nil || p.Subject != "ann" || len(p.Teams) > 1 {
					t.Error(p, err)
					return
				}
				b.Person("ann")
				_, _ = b.Users().List(admin1, "", 10)
			}
		})
	}
	for i := range 200 {
		b.have(t, User{Subject: fmt.Sprint("u", i%50)})
		if i%50 == 0 {
			b.Take(b.all())
			if err := b.Users().Remove(t.Context(), admin1, "u0", anyway); err != nil {
				t.Error(err)
			}
		}
	}
	all.Wait()
}

func TestAuthenticatingAllocatesNothing(t *testing.T) {
	hash := HashOf("file-key")
	b := newBook(Options{Open: true, Token: "the-token", Keys: []FileKey{{Name: "ci", Hash: hash}}})
	b.have(t, Team{ID: "a"}, User{Subject: "ann", Teams: []string{"a"}})
	_, text := b.key(t, admin1, Key{User: "ann", Expires: time.Now().Add(time.Hour)})
	for _, r := range [][]string{nil, {"Bearer the-token"}, {"Bearer file-key"}, {"Bearer " + text}, {"Bearer wrong"}} {
		request := with(r...)
		if n := testing.AllocsPerRun(100, func() { _, _ = b.Authenticate(request) }); n != 0 {
			t.Errorf("%q: %v allocations", r, n)
		}
	}
}

// FuzzAuthorization: whatever is sent, only the key itself lets anybody in, and the
// header that it stands in has one form.
func FuzzAuthorization(f *testing.F) {
	text := "jf_abcdefghij_0123456789012345678901234567890123456789012"
	d := New(Options{Token: "the-token", Keys: []FileKey{{Name: "ci", Hash: HashOf("file-key")}}})
	d.Take(record.Batch{All: true, Records: []record.Record{{
		Ref: record.Ref{Kind: record.Key, ID: "abcdefghij"}, Body: []byte(`{"name":"k","user":"ann","hash":"` + HashOf(text) + `"}`),
	}}})
	known := map[string]string{"the-token": "token", "file-key": "ci", text: "ann"}
	for _, seed := range []string{"", "Bearer", "Bearer ", "Bearer the-token", "bearer  file-key ", "Bearer " + text, "Bearer\tthe-token", "Bearer the-token,the-token", "Basic dGhlLXRva2Vu", "Bearer the-token\x00", "Bearer\u00a0the-token"} {
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, sent string, twice bool) {
		headers := []string{sent}
		if twice {
			headers = append(headers, sent)
		}
		p, err := d.Authenticate(with(headers...))
		fields := strings.FieldsFunc(sent, func(r rune) bool { return r == ' ' || r == '\t' })
		want := ""
		if !twice && len(fields) == 2 && strings.EqualFold(fields[0], "Bearer") && strings.HasPrefix(strings.ToLower(sent), "bearer ") {
			want = known[fields[1]]
		}
		if p.Subject != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q and %v, want %q", sent, p.Subject, err, want)
		}
		if err != nil && jackfield.CodeOf(err) != jackfield.AuthRequired {
			t.Errorf("%q: %v", sent, err)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	people := crowd(b, 100_000)
	_, text := people.key(b, admin1, Key{User: "user00500@example.com", Expires: time.Now().Add(time.Hour)})
	r := with("Bearer " + text)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if _, err := people.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}

// crowd is so many users in 50 teams.
func crowd(tb testing.TB, n int) *book {
	tb.Helper()
	b := newBook(Options{})
	b.Take(crowdBatch(n))
	return b
}

func crowdBatch(n int) record.Batch {
	all := record.Batch{All: true, Head: uint64(n)}
	for i := range 50 {
		all.Records = append(all.Records, record.Record{Ref: record.Ref{Kind: record.Team, ID: fmt.Sprint("team-", i)}, Body: []byte(`{"title":"A team"}`), Revision: 1, Version: 1})
	}
	for i := range n {
		subject := fmt.Sprintf("user%05d@example.com", i)
		all.Records = append(all.Records, record.Record{
			Ref: record.Ref{Kind: record.User, ID: subject}, Revision: uint64(i), Version: uint64(i), Created: time.Unix(1, 0), Changed: time.Unix(2, 0), By: strings.Clone("admin"),
			Body: fmt.Appendf(nil, `{"name":"User Number %d","email":%q,"role":"user","teams":["team-%d","team-%d"]}`, i, subject, i%50, i*7%50),
		})
	}
	return all
}
