package credentials_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/credentials"
	"github.com/jackfield-dev/jackfield/internal/record"
)

func TestTheVersionGrowsWithEverythingThatItDependsOn(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp", "Authorization", "{{var.TOKEN}}")
	other := server
	other.ID = "app/other"
	last := map[jackfield.ServerID]uint64{}
	step := func(name string, grows bool, do func()) {
		t.Helper()
		do()
		for _, id := range []jackfield.ServerID{server.ID, other.ID} {
			now := s.Version(id, alice)
			if id == server.ID && grows != (now > last[id]) || now < last[id] {
				t.Errorf("%s: %s from %d to %d", name, id, last[id], now)
			}
			last[id] = now
		}
	}
	step("nothing", false, func() {})
	step("a person", true, func() { s.user("alice") })
	step("a value", true, func() { s.enter(alice, server, "TOKEN=a") })
	step("the same value again", true, func() { s.enter(alice, server, "TOKEN=a") })
	step("one of another server", false, func() { s.enter(alice, other, "TOKEN=a") })
	step("one of somebody else", false, func() { s.enter(bob, server, "TOKEN=b"); s.user("bob") })
	step("two, of which one goes", true, func() { s.enter(alice, server, "TOKEN", "ORG=o") })
	step("the last one goes", true, func() { s.enter(alice, server, "ORG") })
	step("one that is not there goes", false, func() { s.enter(alice, server, "ORG") })
	step("back to what it was", true, func() { s.enter(alice, server, "TOKEN=a") })
	step("the person goes", true, func() {
		if _, err := s.Write(t.Context(), "root", record.Write{Ref: record.Ref{Kind: record.User, ID: "alice"}, Remove: true}); err != nil {
			t.Fatal(err)
		}
	})
	step("the person comes back", true, func() { s.user("alice") })
	step("everything again", false, func() { s.Take(s.all()) })
	key := record.Ref{Kind: record.Key, ID: "k"}
	step("a key with teams", true, func() {
		must(s.Write(t.Context(), "root", record.Write{Ref: key, Body: []byte(`{"name":"ci","user":"alice","teams":["data"]}`)}))
	})
	step("that is revoked", true, func() { must(s.Write(t.Context(), "root", record.Write{Ref: key, Remove: true})) })
	step("a key without", false, func() {
		must(s.Write(t.Context(), "root", record.Write{Ref: key, Body: []byte(`{"name":"ci","user":"alice"}`)}))
	})
	step("somebody whose key is newer than their record", false, func() {
		s.Take(record.Batch{Head: 150, Records: []record.Record{
			{Ref: record.Ref{Kind: record.Key, ID: "l"}, Revision: 150, Body: []byte(`{"name":"carol","teams":["data"]}`)},
			{Ref: record.Ref{Kind: record.User, ID: "carol"}, Revision: 140, Version: 140},
		}})
		if v := s.Version(server.ID, jackfield.User("carol")); v != 150 {
			t.Errorf("%d, not 150", v)
		}
	})
	step("for everybody", false, func() {
		if v := s.Version(server.ID, jackfield.App()); v != 0 {
			t.Error(v)
		}
	})
}

func TestWhoIsToldOfAChangeIsWhoseVersionGrew(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp")
	s.enter(alice, server, "TOKEN=a")
	s.enter(bob, server, "TOKEN=b")
	s.user("alice")
	fresh := s.process(nil)
	got := fresh.Take(s.all())
	slices.SortFunc(got, func(a, b credentials.Changed) int {
		return len(a.Server)*10 + int(a.Owner.ID[0]) - len(b.Server)*10 - int(b.Owner.ID[0])
	})
	if want := []credentials.Changed{{Owner: alice}, {Server: server.ID, Owner: alice}, {Server: server.ID, Owner: bob}}; !slices.Equal(got, want) {
		t.Error(got)
	}
	if again := fresh.Take(s.all()); len(again) != 0 {
		t.Error("again:", again)
	}
	// What an older batch says is known already.
	old := s.all()
	s.enter(bob, server, "TOKEN=c")
	if late := s.Take(record.Batch{Head: old.Head, Records: old.Records}); len(late) != 0 {
		t.Error("late:", late)
	}
	withToken := remote("https://api.example/mcp", "Authorization", "{{var.TOKEN}}")
	s.wantHeader(bob, withToken, "Authorization", "c")
	// And what is not in one that has everything is gone.
	b := s.all()
	b.Records = slices.DeleteFunc(b.Records, func(r record.Record) bool {
		return r.Kind == record.User || r.ID == record.VariableID(bob, server.ID, "TOKEN")
	})
	b.Head += 10
	before := s.Version(server.ID, bob)
	got = s.Take(b)
	slices.SortFunc(got, func(a, b credentials.Changed) int { return len(a.Server) - len(b.Server) })
	if want := []credentials.Changed{{Owner: alice}, {Server: server.ID, Owner: bob}}; !slices.Equal(got, want) {
		t.Error(got)
	}
	if s.Version(server.ID, bob) <= before || s.Values(&server, bob)[0].Set || !s.Values(&server, alice)[0].Set {
		t.Error("bob's is there still, or alice's is not")
	}
}

func TestTwoProcessesWithOneStoreAgree(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp", "Authorization", "{{var.TOKEN}}")
	other := s.process(nil)
	other.Take(s.all())
	s.enter(alice, server, "TOKEN=a")
	s.enter(alice, server, "TOKEN=b", "ORG=o")
	other.Take(s.all())
	h, err := other.Headers(&server, alice)(t.Context())
	if err != nil || h.Get("Authorization") != "b" || other.Version(server.ID, alice) == 0 {
		t.Error(h, err)
	}
	s.enter(alice, server, "TOKEN")
	gone := record.Ref{Kind: record.Variable, ID: record.VariableID(alice, server.ID, "TOKEN")}
	other.Take(record.Batch{Head: s.number, Gone: []record.Ref{gone}})
	_, err = other.Headers(&server, alice)(t.Context())
	wantAuth(t, err)
}

func TestServersThatCameAndWentLeaveNothingBut(t *testing.T) {
	s := newShelf(t)
	for i := range 200 {
		server := remote("https://api.example/mcp")
		server.ID = jackfield.ServerID(fmt.Sprintf("user:alice/%d", i))
		s.enter(alice, server, "TOKEN=a", "ORG=o", "NOTE=n")
		with := s.Version(server.ID, alice)
		s.enter(alice, server, "TOKEN", "ORG", "NOTE")
		without := s.Version(server.ID, alice)
		s.enter(alice, server, "TOKEN=b")
		again := s.Version(server.ID, alice)
		s.enter(alice, server, "TOKEN")
		if without <= with || again <= without {
			t.Errorf("%d: %d, %d, %d", i, with, without, again)
		}
	}
	first := s.Version("user:alice/0", alice)
	server := remote("https://api.example/mcp")
	server.ID = "user:alice/0"
	s.enter(alice, server, "TOKEN=c")
	if now := s.Version(server.ID, alice); now <= first {
		t.Errorf("from %d to %d", first, now)
	}
}

func TestOddRecordsAreNobodysValues(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp")
	for _, id := range []string{"", "user:alice", "user:alice\x1fapp/github", "app\x1fapp/github\x1fTOKEN", "team:data\x1fapp/github\x1fTOKEN", "user:\x1fapp/github\x1fTOKEN"} {
		s.Take(record.Batch{Head: 9, Records: []record.Record{{Ref: record.Ref{Kind: record.Variable, ID: id}, Revision: 9, Body: []byte(`{}`)}}})
		s.Take(record.Batch{Head: 9, Gone: []record.Ref{{Kind: record.Variable, ID: id}}})
	}
	if v := s.Version(server.ID, alice); v != 0 {
		t.Error(v)
	}
	// One whose body cannot be read is asked for again.
	id := record.VariableID(alice, server.ID, "TOKEN")
	s.Take(record.Batch{Head: 9, Records: []record.Record{{Ref: record.Ref{Kind: record.Variable, ID: id}, Revision: 9, Body: []byte(`{`)}}})
	if v := s.Values(&server, alice)[0]; !v.Set || v.Stale == "" {
		t.Errorf("%+v", v)
	}
}

func TestNothingIsOpenedBeforeItIsUsedAndThenOnce(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp", "Authorization", "{{var.TOKEN}} {{var.TOKEN}}")
	s.enter(alice, server, "TOKEN=a")
	c := s.process(nil)
	c.Take(s.all())
	if n := s.lock.count(); n != 0 {
		t.Fatal(n, "were opened")
	}
	headers := c.Headers(&server, alice)
	for range 5 {
		if h := must(headers(t.Context())); h.Get("Authorization") != "a a" {
			t.Error(h)
		}
	}
	if n := s.lock.count(); n != 1 {
		t.Error("opened", n, "times")
	}
	// What was opened longest ago is forgotten.
	many := crowd(9000, 1)
	c.Take(many)
	one := remote("https://api.example/mcp", "X", "{{var.V0}}")
	one.Operator, one.ID = true, "app/s0"
	for i := range 9000 {
		must(c.Headers(&one, jackfield.User(subject(i)))(t.Context()))
	}
	before := s.lock.count()
	if h := must(headers(t.Context())); h.Get("Authorization") != "a a" || s.lock.count() != before+1 {
		t.Error("it was kept open", h)
	}
}

func TestAskingForTheVersionCostsNoMemory(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp")
	s.user("alice")
	s.enter(alice, server, "TOKEN=a")
	id, owner := server.ID, alice
	if n := testing.AllocsPerRun(100, func() { s.Version(id, owner) }); n != 0 {
		t.Error(n)
	}
}

func subject(i int) string { return fmt.Sprintf("user-%06d@company.example", i) }

// crowd is a store of people who each entered some values.
func crowd(people, values int) record.Batch {
	b := record.Batch{Head: uint64(people * values)}
	for i := range people {
		for j := range values {
			ref := record.Ref{Kind: record.Variable, ID: record.VariableID(jackfield.User(subject(i)), jackfield.ServerID(fmt.Sprintf("app/s%d", j%3)), fmt.Sprintf("V%d", j))}
			sealed, key, _ := (&lock{}).Seal(ref.Bind(), []byte("ghp_0123456789012345678901234567890123456789"))
			b.Records = append(b.Records, record.Record{
				Ref: ref, Revision: uint64(len(b.Records) + 1), Version: uint64(len(b.Records) + 1), Sealed: sealed, Seal: key,
				Body: fmt.Appendf(nil, `{"owner":"user:%s","server":"app/s%d","name":"V%d","origin":"https://api.example","sensitive":true}`, subject(i), j%3, j),
			})
		}
	}
	return b
}

func BenchmarkTakingAHundredThousandValues(b *testing.B) {
	batch := crowd(50_000, 2)
	b.ReportAllocs()
	for b.Loop() {
		c := credentials.New(credentials.Options{Seal: &lock{}})
		c.Take(batch)
		b.StopTimer()
		runtime.KeepAlive(c)
		b.StartTimer()
	}
}

func BenchmarkMemoryOfAHundredThousandPeopleWithTwoValues(b *testing.B) {
	var before, after runtime.MemStats
	for b.Loop() {
		batch := crowd(100_000, 2)
		sealed := 0
		for _, r := range batch.Records {
			sealed += len(r.Sealed)
		}
		c := credentials.New(credentials.Options{Seal: &lock{}})
		runtime.GC()
		runtime.ReadMemStats(&before)
		c.Take(batch)
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(batch)
		runtime.KeepAlive(c)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/100_000, "B/person-without-sealed")
		b.ReportMetric(float64(sealed)/100_000, "B/person-sealed")
	}
}

func BenchmarkVersion(b *testing.B) {
	c := credentials.New(credentials.Options{Seal: &lock{}})
	c.Take(crowd(100_000, 2))
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		owner := jackfield.User(subject(4711))
		for pb.Next() {
			c.Version("app/s1", owner)
		}
	})
}

func BenchmarkHeaders(b *testing.B) {
	c := credentials.New(credentials.Options{Seal: &lock{}})
	c.Take(crowd(10, 2))
	server := remote("https://api.example/mcp", "Authorization", "Bearer {{var.V0}}")
	server.ID = "app/s0"
	headers := c.Headers(&server, jackfield.User(subject(3)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := headers(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
