package registry

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
	"github.com/jackfield-dev/jackfield/internal/registry/scopecases"
)

// filled puts the definitions of a case in a registry.
func filled(t *testing.T, c scopecases.Case) *Registry {
	t.Helper()
	r, _ := stored(t)
	var entries []string
	for _, d := range c.Definitions {
		if d.File {
			entries = append(entries, fmt.Sprintf("%q: %s", d.Name, d.Doc))
		}
	}
	apply(t, r, file(t, "{"+strings.Join(entries, ",")+"}")...)
	batch := record.Batch{}
	for i, d := range c.Definitions { // an overlay need not have something under it, nor be what may be written now
		if !d.File {
			body := fmt.Sprintf(`{"doc":%s}`, d.Doc)
			batch.Records = append(batch.Records, record.Record{Ref: ref(storeID(d.Scope, d.Name)), Body: []byte(body), Revision: uint64(i + 1), Version: uint64(i + 1)})
		}
	}
	r.Take(batch)
	return r
}

func sight(t *testing.T, s *jackfield.Server) scopecases.Sight {
	t.Helper()
	u, err := url.Parse(s.Endpoint.URL)
	if err != nil || s.Invalid != "" {
		t.Errorf("%s: %v %s", s.ID, err, s.Invalid)
		return scopecases.Sight{}
	}
	out := scopecases.Sight{Name: s.Name, ID: s.ID, Host: u.Host}
	for _, tool := range scopecases.Tools {
		if s.Tools.Allows(tool) {
			out.Tools = append(out.Tools, tool)
		}
	}
	return out
}

func TestTheTableOfScopesHoldsForListsAndForSingleNames(t *testing.T) {
	cases, err := scopecases.Read("testdata/scopes.txt")
	if err != nil || len(cases) < 40 {
		t.Fatal(len(cases), err)
	}
	for _, c := range cases {
		r := filled(t, c)
		var seen []scopecases.Sight
		for _, s := range r.See(c.Who) {
			seen = append(seen, sight(t, &s))
			one, err := r.Find(c.Who, s.Name)
			if err != nil || !reflect.DeepEqual(one, s) {
				t.Errorf("%s: %s is found as %+v, %v", c.Title, s.Name, one, err)
			}
			if _, ok := r.Snapshot().ByID(s.ID); !ok {
				t.Errorf("%s: %s is not there by its id", c.Title, s.ID)
			}
		}
		if !reflect.DeepEqual(seen, c.Sees) {
			t.Errorf("%s: sees %v, want %v", c.Title, seen, c.Sees)
		}
		for _, d := range c.Definitions {
			_, err := r.Find(c.Who, d.Name)
			if there := slices.ContainsFunc(c.Sees, func(s scopecases.Sight) bool { return s.Name == d.Name }); (err == nil) != there || !there && jackfield.CodeOf(err) != jackfield.NotFound {
				t.Errorf("%s: finds %s: %v", c.Title, d.Name, err)
			}
		}
	}
}

func same(a, b []jackfield.Server) bool { return len(a) > 0 && len(a) == len(b) && &a[0] == &b[0] }

func TestThoseWhoSeeTheSameShareOneSliceWhileNothingOfItChanges(t *testing.T) {
	r, _ := stored(t)
	apply(t, r, file(t, `{"f":{"url":"https://f.test","access":{"deny":["user:carl","team:out"]}}}`)...)
	put(t, r, edna, jackfield.Team("data"), "t", `{"url":"https://t.test"}`)
	put(t, r, root, jackfield.User("dora"), "d", `{"url":"https://d.test"}`)
	who := func(subject string, teams ...string) jackfield.Principal {
		return jackfield.Principal{Subject: subject, Teams: teams}
	}
	all := r.See(who("bob"))
	for _, p := range []jackfield.Principal{who("eve"), who("eve", "unknown"), who("")} {
		if !same(r.See(p), all) {
			t.Errorf("%+v has another slice", p)
		}
	}
	data := r.See(who("bob", "data"))
	if !same(r.See(who("eve", "data", "none")), data) || same(data, all) {
		t.Error("members of a team have another slice")
	}
	dora := r.See(who("dora"))
	if same(dora, all) || len(r.See(who("carl"))) != 0 || len(r.See(who("bob", "out"))) != 0 {
		t.Error("who is named shares with who is not")
	}
	if only := (jackfield.Principal{Subject: "bob", Only: []string{"f"}}); same(r.See(only), all) || !same(r.See(only), r.See(only)) {
		t.Error("a key for some shares with all")
	}
	if none := (jackfield.Principal{Subject: "bob", Only: []string{}}); len(r.See(none)) != 0 {
		t.Error("a key for nothing sees something")
	}
	put(t, r, root, jackfield.User("dora"), "d", `{"url":"https://d2.test"}`)
	if same(r.See(who("dora")), dora) || !same(r.See(who("bob")), all) || !same(r.See(who("bob", "data")), data) {
		t.Error("a change of one's own is not that one's alone")
	}
	put(t, r, edna, jackfield.Team("data"), "t", `{"url":"https://t2.test"}`)
	if same(r.See(who("bob", "data")), data) || !same(r.See(who("bob")), all) {
		t.Error("a change of a team's is not that team's alone")
	}
	put(t, r, root, jackfield.App(), "a", `{"url":"https://a.test"}`)
	if now := r.See(who("bob")); same(now, all) || !same(now, r.See(who("eve"))) {
		t.Error("a change of the app's is not everybody's")
	}
	apply(t, r, file(t, `{"f":{"url":"https://f.test"}}`)...)
	if !same(r.See(who("carl")), r.See(who("bob"))) {
		t.Error("who is named no more has a view of its own")
	}
}

func TestAViewThatIsLateIsNotKept(t *testing.T) {
	var v views
	made := []*shelf{{}}
	late := v.put("k", &view{made: made, servers: make([]jackfield.Server, 1)}, func() bool { return false })
	if len(late) != 1 || v.get([]byte("k"), made) != nil {
		t.Error("it is kept")
	}
}

func TestWhatIsKeptOfViewsIsBounded(t *testing.T) {
	r, _ := stored(t)
	apply(t, r, file(t, `{"f":{"url":"https://f.test"}}`)...)
	for i := range 3 * maxViews {
		r.See(jackfield.Principal{Only: []string{fmt.Sprint(i), "f"}})
		if r.views.viewed != len(r.views.known) || len(r.views.known) > maxViews {
			t.Fatalf("%d views with %d servers", len(r.views.known), r.views.viewed)
		}
	}
	last := jackfield.Principal{Only: []string{fmt.Sprint(3*maxViews - 1), "f"}}
	if !same(r.See(last), r.See(last)) {
		t.Error("the last one is not kept")
	}
	r.views.mu.Lock()
	r.views.makeRoomLocked(maxViewed)
	r.views.mu.Unlock()
	if len(r.views.known) != 0 || r.views.viewed != 0 {
		t.Errorf("%d views with %d servers are left", len(r.views.known), r.views.viewed)
	}
}

// TestAListAndASingleNameNeverDiffer walks through definitions at random, and compares
// See, Find, and a registry that is told everything at once.
func TestAListAndASingleNameNeverDiffer(t *testing.T) {
	scopes := []jackfield.Scope{jackfield.App(), jackfield.Team("a"), jackfield.Team("b"), jackfield.User("u"), jackfield.User("v")}
	names := []string{"x", "y", "z"}
	docs := []string{
		`{"url":"https://1.test"}`, `{"url":"https://2.test","access":{"deny":["user:u"]}}`, `{"url":"https://3.test","disabled":true}`,
		`{"extends":true,"title":"t"}`, `{"extends":true,"enabled":false}`, `{"extends":true,"url":"https://4.test"}`,
		`{"extends":true,"access":{"allow":["user:v"]}}`, `{"extends":true,"headers":{"X":"{{var.NONE}}"}}`,
	}
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		m := &memory{}
		r := New(options(m))
		m.take = append(m.take, r.Take)
		var inFile []jackfield.Server
		highest := map[jackfield.ServerID]uint64{}
		for range 25 {
			scope, name, doc := scopes[rnd.IntN(len(scopes))], names[rnd.IntN(len(names))], docs[rnd.IntN(len(docs))]
			switch {
			case rnd.IntN(6) == 0:
				inFile = file(t, fmt.Sprintf(`{%q:{"url":"https://f%d.test","overlays":{"b":{"title":"%d","enabled":%t}}}}`, name, rnd.IntN(2), rnd.IntN(2), rnd.IntN(2) == 0))
				apply(t, r, inFile...)
			case rnd.IntN(4) == 0:
				_ = r.Remove(t.Context(), root, scope, name, Condition{Anyway: true})
			default:
				_, _, _ = r.Put(t.Context(), root, scope, name, []byte(doc), Condition{Anyway: true})
			}
			whole := New(options(m))
			apply(t, whole, inFile...)
			whole.Take(m.all())
			for _, p := range []jackfield.Principal{{Subject: "u"}, {Subject: "u", Teams: []string{"a", "b"}}, {Subject: "v", Teams: []string{"b"}}} {
				var seen []string
				for _, s := range r.See(p) {
					one, err := r.Find(p, s.Name)
					if !reflect.DeepEqual(one, s) || (err == nil) != (s.Invalid == "") {
						t.Fatalf("seed %d: %s is found as %+v, %v", seed, s.ID, one, err)
					}
					seen = append(seen, s.Name)
				}
				for _, name := range names {
					if _, err := r.Find(p, name); (jackfield.CodeOf(err) == jackfield.NotFound) == slices.Contains(seen, name) {
						t.Fatalf("seed %d: %s: %v, sees %v", seed, name, err, seen)
					}
				}
				if see(r, p) != see(whole, p) {
					t.Fatalf("seed %d: sees %s, at once %s", seed, see(r, p), see(whole, p))
				}
			}
			for _, s := range r.Snapshot().Servers() {
				if s.Version < highest[s.ID] {
					t.Fatalf("seed %d: %s has version %d after %d", seed, s.ID, s.Version, highest[s.ID])
				}
				highest[s.ID] = s.Version
			}
		}
	}
}

// thousands are records of n definitions: of the app, of teams, with overlays, and of
// users, every fourth with a secret.
func thousands(tb testing.TB, n int) []record.Record {
	tb.Helper()
	out := make([]record.Record, 0, n)
	for i := range n {
		scope, name := jackfield.App(), fmt.Sprintf("server-%d", i)
		doc := fmt.Sprintf(`{"type":"http","url":"https://s%d.example.com/mcp","title":"Server %d","description":"Searches and reads what is in the handbook.","headers":{"Authorization":"Bearer {{var.KEY}}","X-Api-Key":"[sealed]"},"vars":{"KEY":{"title":"Key"}},"timeout":"30s","tools":{"deny":["delete_*"]}}`, i, i)
		switch {
		case i%10 == 8:
			scope = jackfield.Team(fmt.Sprintf("team-%d", i%100))
		case i%10 == 9:
			scope, name, doc = jackfield.Team(fmt.Sprintf("team-%d", i%100)), fmt.Sprintf("server-%d", i-9), `{"extends":true,"title":"Ours","headers":{"X-Api-Key":"[sealed]"}}`
		case i%10 > 4:
			scope = jackfield.User(fmt.Sprintf("user-%d", i))
		}
		rec := record.Record{Ref: ref(storeID(scope, name)), Revision: uint64(i + 1), Version: uint64(i + 1)}
		text, err := json.Marshal(body{Doc: json.RawMessage(doc)})
		if err != nil {
			tb.Fatal(err)
		}
		rec.Body = text
		if rec.Sealed, rec.Seal, err = (plain{}).Seal(rec.Bind(), []byte(`{"headers.X-Api-Key":"0123456789abcdef"}`)); err != nil {
			tb.Fatal(err)
		}
		out = append(out, rec)
	}
	return out
}

func BenchmarkTake(b *testing.B) {
	records := thousands(b, 10_000)
	b.Run("ten thousand at once", func(b *testing.B) {
		for b.Loop() {
			if c := New(options(&memory{})).Take(record.Batch{All: true, Records: records}); len(c.Added) != len(records) {
				b.Fatal(len(c.Added))
			}
		}
	})
	b.Run("one of ten thousand", func(b *testing.B) {
		r := New(options(&memory{}))
		r.Take(record.Batch{All: true, Records: records})
		one := slices.Clone(records[:1])
		for b.Loop() {
			one[0].Revision += 100_000
			one[0].Version += 100_000
			if c := r.Take(record.Batch{Records: one}); len(c.Redial) < 1 {
				b.Fatal(c)
			}
		}
	})
	b.Run("memory", func(b *testing.B) {
		heap := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := heap()
		r := New(options(&memory{}))
		r.Take(record.Batch{All: true, Records: records})
		after := heap()
		r.See(ann)
		b.ReportMetric(float64(after-before)/float64(len(records)), "B/definition")
		b.ReportMetric(float64(heap()-after)/float64(len(r.See(ann))), "B/seen")
		runtime.KeepAlive(records)
	})
}

func BenchmarkSee(b *testing.B) {
	r := New(options(&memory{}))
	r.Take(record.Batch{All: true, Records: thousands(b, 10_000)})
	b.Run("warm", func(b *testing.B) {
		p := jackfield.Principal{Subject: "user-5", Teams: []string{"team-8", "team-9"}}
		b.ReportAllocs()
		for b.Loop() {
			if len(r.See(p)) == 0 {
				b.Fatal("nothing")
			}
		}
	})
	b.Run("cold", func(b *testing.B) {
		p := jackfield.Principal{Subject: "user-5", Teams: []string{"team-8", "team-9"}}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			r.views = views{}
			if len(r.See(p)) == 0 {
				b.Fatal("nothing")
			}
		}
	})
	b.Run("one name", func(b *testing.B) {
		p := jackfield.Principal{Subject: "user-5", Teams: []string{"team-8", "team-9"}}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Find(p, "server-10"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestWhoMissesAServerIsToldThoseThatAreSeen(t *testing.T) {
	r, _ := stored(t)
	says := func(p jackfield.Principal) string {
		_, err := r.Find(p, "x")
		if jackfield.CodeOf(err) != jackfield.NotFound {
			t.Error(err)
		}
		return err.Error()
	}
	if got := says(ann); !strings.HasSuffix(got, "; there are none") {
		t.Error(got)
	}
	put(t, r, root, jackfield.App(), "b", `{"url":"https://a.test/mcp"}`)
	put(t, r, ann, ann.Scope(), "a", `{"url":"https://a.test/mcp"}`)
	if mine, others := says(ann), says(root); !strings.HasSuffix(mine, "; there are b, a") || !strings.HasSuffix(others, "; there are b") {
		t.Error(mine, others)
	}
	for i := range 30 {
		put(t, r, ann, ann.Scope(), fmt.Sprintf("c%d", i), `{"url":"https://a.test/mcp"}`)
	}
	if got := says(ann); strings.Count(got, ",") != 20 || !strings.HasSuffix(got, ", …") {
		t.Error(got)
	}
}
