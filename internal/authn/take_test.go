package authn

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// TestWhoeverLosesSomethingIsToldAndAReloadKnowsTheSame changes people at random. After
// each change, whoever may do less than before must have been told, nobody else, and a
// directory that reads everything at once must know the same.
func TestWhoeverLosesSomethingIsToldAndAReloadKnowsTheSame(t *testing.T) {
	told, changes := 0, 0
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 7))
		o := Options{Keys: []FileKey{
			{Name: "ci", Hash: HashOf("ci"), Teams: []string{"t0", "file"}}, {Name: "x", User: "u1", Hash: HashOf("x")}, {Name: "u2", Hash: HashOf("u2"), Role: "editor"},
		}}
		b := newBook(o)
		late := New(Options{Keys: o.Keys}) // gets all at once, over what it had
		texts := []string{"ci", "x", "u2"}
		for range 150 {
			before := b.everybody(texts)
			b.lost = nil
			if text := b.something(t, r); text != "" {
				texts = append(texts, text)
			}
			changes++
			after := b.everybody(texts)
			for text, was := range before {
				is, in := after[text]
				less := !in || !is.Role.Covers(was.Role) || without(was.Teams, is.Teams) != ""
				says := slices.ContainsFunc(b.lost, func(l Lost) bool { return l.Is(was) && l.Reason != "" })
				if less && !says {
					t.Fatalf("seed %d: %+v became %+v, and was told nothing: %+v", seed, was, is, b.lost)
				}
				if less {
					told++
				}
			}
			idle := func(l Lost) bool { return l.Credential != "" && !strings.Contains(l.Reason, "revoked") }
			if reflect.DeepEqual(before, after) && slices.ContainsFunc(b.lost, idle) {
				t.Fatalf("seed %d: nothing changed, and lost was %+v", seed, b.lost)
			}
			late.Take(b.all())
			same := (&book{Directory: late}).everybody(texts)
			if !reflect.DeepEqual(same, after) {
				t.Fatalf("seed %d: read at once: %+v, bit by bit: %+v", seed, same, after)
			}
			for i := range 4 {
				subject := fmt.Sprint("u", i)
				p, _ := b.Person(subject)
				q, _ := late.Person(subject)
				if p.Revision, q.Revision = 0, 0; !reflect.DeepEqual(p, q) {
					t.Fatalf("seed %d: %+v and %+v", seed, p, q)
				}
			}
			b.wantWhole(t)
			(&book{Directory: late}).wantWhole(t)
		}
	}
	if told < 100 || changes < 900 {
		t.Errorf("the changes say little: %d of %d took something from somebody", told, changes)
	}
}

// everybody is who comes with which key.
func (b *book) everybody(texts []string) map[string]jackfield.Principal {
	out := map[string]jackfield.Principal{}
	for _, text := range texts {
		if p, err := b.identify(text); err == nil {
			out[text] = p
		}
	}
	return out
}

// something changes something, and returns the text of a key if it made one.
func (b *book) something(t *testing.T, r *rand.Rand) string {
	subject, team := fmt.Sprint("u", r.IntN(4)), fmt.Sprint("t", r.IntN(3))
	role := jackfield.Roles()[r.IntN(3)]
	var teams []string
	for _, one := range b.Teams().List(admin1, "", 0) {
		if r.IntN(2) == 0 {
			teams = append(teams, one.ID)
		}
	}
	var err error
	switch n := r.IntN(12); n {
	case 0, 1:
		b.have(t, Team{ID: team, Title: fmt.Sprint(r.IntN(3))})
	case 2:
		err = b.Teams().Remove(t.Context(), admin1, team, anyway)
	case 3: // as another replica that does not know of the members
		_, err = b.Write(t.Context(), "x", record.Write{Ref: record.Ref{Kind: record.Team, ID: team}, Anyway: true, Remove: true})
	case 4, 5, 6:
		b.have(t, User{Subject: subject, Role: role, Teams: teams, Disabled: r.IntN(4) == 0})
	case 7:
		err = b.Users().Remove(t.Context(), admin1, subject, anyway)
	case 8, 9, 10:
		by := admin1
		if n == 8 {
			by = jackfield.Principal{Subject: subject, Role: role, Teams: teams, Credential: []string{"", "file:ci"}[r.IntN(2)]}
		}
		k, secret, made := b.Keys().Make(t.Context(), by, Key{Name: "k", User: subject, Role: []jackfield.Role{"", role}[r.IntN(2)], Teams: teams})
		if made == nil && k.User == subject {
			return secret.Reveal()
		}
		err = made
	default:
		if keys, _ := b.Keys().List(admin1, "", "", 0); len(keys) > 0 {
			err = b.Keys().Remove(t.Context(), admin1, keys[r.IntN(len(keys))].ID, anyway)
		}
	}
	if code := jackfield.CodeOf(err); err != nil && code != jackfield.NotFound && code != jackfield.Forbidden {
		t.Fatal(err)
	}
	return ""
}

// wantWhole looks for what is kept of those who are gone.
func (b *book) wantWhole(t *testing.T) {
	t.Helper()
	used := map[*teamSet]int{}
	for i, u := range b.users.order {
		used[u.teams]++
		if b.users.byID[u.subject] != u || i > 0 && b.users.order[i-1].subject >= u.subject {
			t.Fatalf("%s is not in its place", u.subject)
		}
	}
	if len(b.users.byID) != len(b.users.order) || len(b.keys.byID) != len(b.keys.order) || len(used) != len(b.sets) {
		t.Fatalf("%d users of %d, %d keys of %d, %d sets of %d", len(b.users.byID), len(b.users.order), len(b.keys.byID), len(b.keys.order), len(used), len(b.sets))
	}
	for set, n := range used {
		if set.users != n {
			t.Fatalf("%v counts %d users of %d", set.names, set.users, n)
		}
	}
	n := 0
	for subject, keys := range b.bySubject {
		n += len(keys)
		for _, k := range keys {
			if b.keys.byID[k.id] != k || k.subject() != subject {
				t.Fatalf("a key of %s is left", subject)
			}
		}
	}
	if n != len(b.keys.order) {
		t.Fatalf("%d keys of %d belong to somebody", n, len(b.keys.order))
	}
}

func TestWhatCannotBeReadLetsNobodyIn(t *testing.T) {
	d := New(Options{Keys: []FileKey{{Name: "abcde", Hash: HashOf("ci"), Role: "user"}}})
	key := func(id, body string) record.Record {
		return record.Record{Ref: record.Ref{Kind: record.Key, ID: id}, Body: []byte(body)}
	}
	good := `{"name":"k","user":"ann","role":"admin","hash":"` + HashOf("text") + `"}`
	d.Take(record.Batch{Records: []record.Record{
		key("aaaaaaaaaa", `{"name":"k","user":"ann"`), key("bbbbbbbbbb", `{"name":"k","user":"ann","hash":"sha256:00"}`), key("cccccccccc", `{"hash":"`+HashOf("text")+`"}`), key("file:abcde", good), key("", good),
		{Ref: record.Ref{Kind: record.User, ID: "bob"}, Body: []byte(`{"role":"admin"`)},
		{Ref: record.Ref{Kind: record.User, ID: "eve"}, Body: []byte(`{"role":"owner"}`)},
		{Ref: record.Ref{Kind: record.Server, ID: "x"}, Body: []byte(`not ours`)},
	}})
	for _, text := range []string{"text", "", "jf_aaaaaaaaaa_" + strings.Repeat("0", 43)} {
		if p, err := d.identify(text); err == nil {
			t.Errorf("%q: %+v", text, p)
		}
	}
	if p, err := d.identify("ci"); err != nil || p.Subject != "abcde" || p.Role != jackfield.RoleUser {
		t.Error(p, err)
	}
	if u, err := d.Users().Get(admin1, "bob"); err != nil || !u.Disabled {
		t.Error(u, err)
	}
	if p := d.Principal("eve"); p.Role != jackfield.RoleUser {
		t.Error(p)
	}
}

func TestNewsThatComeLateChangeNothing(t *testing.T) {
	d := New(Options{})
	user := func(revision uint64, name string) record.Record {
		return record.Record{Ref: record.Ref{Kind: record.User, ID: "ann"}, Revision: revision, Version: revision, Body: fmt.Appendf(nil, `{"name":%q}`, name)}
	}
	d.Take(record.Batch{Head: 9, Records: []record.Record{user(9, "new")}})
	d.Take(record.Batch{Head: 9, Records: []record.Record{user(4, "old")}})
	if p, _ := d.Person("ann"); p.Name != "new" {
		t.Error(p)
	}
	d.Take(record.Batch{All: true, Head: 4, Records: []record.Record{user(4, "restored")}})
	if p, _ := d.Person("ann"); p.Name != "restored" {
		t.Error(p)
	}
}

func TestRunTellsOfKeysThatExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		b := newBook(Options{Keys: []FileKey{{Name: "ci", Hash: HashOf("x"), Expires: start.Add(3 * time.Hour)}, {Name: "old", Hash: HashOf("y"), Expires: start.Add(-time.Hour)}}})
		type said struct {
			who string
			at  time.Duration
		}
		var told []said
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			b.Run(ctx, func(lost []Lost) {
				for _, l := range lost {
					told = append(told, said{l.Subject + "/" + l.Credential, time.Since(start)})
				}
			})
		}()
		synctest.Wait()
		one, _ := b.key(t, admin1, Key{User: "ann", Expires: start.Add(2 * time.Hour)})
		two, _ := b.key(t, admin1, Key{User: "bob", Expires: start.Add(2 * time.Hour)})
		revoked, _ := b.key(t, admin1, Key{User: "eve", Expires: start.Add(time.Hour)})
		b.key(t, admin1, Key{User: "forever"})
		if err := b.Keys().Remove(t.Context(), admin1, revoked, anyway); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		early, _ := b.key(t, admin1, Key{User: "new", Expires: time.Now().Add(30 * time.Second)})
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		cancel()
		<-ended
		want := []said{{"new/" + early, time.Hour + 30*time.Second}, {"ann/" + one, 2 * time.Hour}, {"bob/" + two, 2 * time.Hour}, {"ci/file:ci", 3 * time.Hour}}
		slices.SortFunc(told, func(a, b said) int {
			return slices.Compare([]string{fmt.Sprintf("%016d", a.at), a.who}, []string{fmt.Sprintf("%016d", b.at), b.who})
		})
		if !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

func TestUsersAreSmallInMemory(t *testing.T) {
	const n, most = 20_000, 300 // bytes each: 30 MB for 100,000
	batch := crowdBatch(n)
	before := heap()
	d := New(Options{})
	d.Take(batch)
	each := (heap() - before) / n
	t.Logf("%d bytes a user", each)
	if each > most {
		t.Errorf("%d bytes a user; at most %d are meant", each, most)
	}
	runtime.KeepAlive(batch)
	runtime.KeepAlive(d)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkTake(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			batch := crowdBatch(100_000)
			d := New(Options{})
			if n == 1 {
				d.Take(batch)
				batch = record.Batch{Head: batch.Head + 1, Records: batch.Records[1000:1001]}
				batch.Records[0].Revision = batch.Head
			}
			b.ReportAllocs()
			for b.Loop() {
				if n > 1 {
					d = New(Options{})
				}
				d.Take(batch)
			}
		})
	}
}
