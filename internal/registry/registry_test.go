package registry

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
)

func server(name, url string) jackfield.Server {
	return jackfield.Server{
		Name:     name,
		Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: url},
		Usage:    jackfield.Usage{Sharing: jackfield.SharingAuto},
	}
}

func apply(t *testing.T, r *Registry, defs ...jackfield.Server) Change {
	t.Helper()
	c, err := r.Apply(defs)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(t *testing.T, r *Registry, id jackfield.ServerID) jackfield.Server {
	t.Helper()
	s, ok := r.Snapshot().ByID(id)
	if !ok {
		t.Fatalf("no server %q", id)
	}
	return s
}

func TestThereAndBackAgainIsThreeVersions(t *testing.T) {
	var r Registry
	var versions []uint64
	for _, url := range []string{"http://a", "http://b", "http://a"} {
		apply(t, &r, server("x", url))
		versions = append(versions, get(t, &r, "x").Version)
	}
	if versions[0] >= versions[1] || versions[1] >= versions[2] {
		t.Error(versions)
	}
}

func TestAServerThatComesBackIsNewerThanItEverWas(t *testing.T) {
	var r Registry
	apply(t, &r, server("x", "http://a"))
	before := get(t, &r, "x")
	if c := apply(t, &r); !slices.Equal(c.Removed, []jackfield.ServerID{"x"}) {
		t.Error(c)
	}
	if c := apply(t, &r, server("x", "http://a")); !slices.Equal(c.Added, []jackfield.ServerID{"x"}) {
		t.Error(c)
	}
	after := get(t, &r, "x")
	if after.Version <= before.Version || after.Revision <= before.Revision {
		t.Errorf("%d/%d after %d/%d", after.Revision, after.Version, before.Revision, before.Version)
	}
}

func TestWhatDecidesAConnectionMakesAVersionAndAllElseOnlyARevision(t *testing.T) {
	base := jackfield.Server{
		Name:     "x",
		About:    jackfield.About{Title: "a", Description: "a", Icon: "a", Instructions: jackfield.Instructions{Text: "a"}},
		Endpoint: jackfield.Endpoint{Transport: "http", Command: "a", Args: []string{"a"}, Env: map[string]jackfield.Secret{"A": "a"}, Dir: "a", URL: "a", Headers: map[string]jackfield.Secret{"A": "a"}},
		Usage:    jackfield.Usage{Timeout: 1, InitTimeout: 1, Sharing: "auto"},
		Tools:    jackfield.ToolFilter{Allow: []string{"a"}, Deny: []string{"a"}},
		Fill: jackfield.Fill{
			URL: jackfield.Template{{Text: "a"}}, Args: map[int]jackfield.Template{0: {{Text: "a"}}},
			Env: map[string]jackfield.Template{"A": {{Text: "a"}}}, Headers: map[string]jackfield.Template{"A": {{Text: "a"}}},
		},
		Vars: []jackfield.Variable{{Name: "a", Title: "a"}},
	}
	edits := map[string]func(*jackfield.Server){}
	redials := map[string]bool{}
	fields := func(prefix string, of func(*jackfield.Server) reflect.Value, redial func(string) bool) {
		for i := range of(&base).NumField() {
			name := of(&base).Type().Field(i).Name
			edits[prefix+name] = func(s *jackfield.Server) { change(t, of(s).Field(i)) }
			redials[prefix+name] = redial(name)
		}
	}
	fields("Endpoint.", func(s *jackfield.Server) reflect.Value { return reflect.ValueOf(&s.Endpoint).Elem() }, func(string) bool { return true })
	fields("About.", func(s *jackfield.Server) reflect.Value { return reflect.ValueOf(&s.About).Elem() }, func(string) bool { return false })
	fields("Tools.", func(s *jackfield.Server) reflect.Value { return reflect.ValueOf(&s.Tools).Elem() }, func(string) bool { return false })
	fields("Usage.", func(s *jackfield.Server) reflect.Value { return reflect.ValueOf(&s.Usage).Elem() }, func(name string) bool {
		return name == "Sharing" || name == "RequiresOAuth"
	})
	fields("Fill.", func(s *jackfield.Server) reflect.Value { return reflect.ValueOf(&s.Fill).Elem() }, func(string) bool { return true })
	fields("Rules.", func(s *jackfield.Server) reflect.Value { return reflect.ValueOf(&s.Rules).Elem() }, func(string) bool { return false })
	fields("Vars.", func(s *jackfield.Server) reflect.Value { return reflect.ValueOf(&s.Vars[0]).Elem() }, func(name string) bool {
		return name == "Name" || name == "Required"
	})
	edits["Invalid"], redials["Invalid"] = func(s *jackfield.Server) { s.Invalid = "why" }, true

	for name, edit := range edits {
		var r Registry
		apply(t, &r, base)
		before := get(t, &r, "x")
		edited := clone(base)
		edit(&edited)
		c := apply(t, &r, edited)
		after := get(t, &r, "x")
		want := Change{Edited: []jackfield.ServerID{"x"}}
		if redials[name] {
			want = Change{Redial: []jackfield.ServerID{"x"}}
		}
		if !reflect.DeepEqual(c, want) {
			t.Errorf("%s: got %+v, want %+v", name, c, want)
		}
		if after.Revision <= before.Revision || (after.Version > before.Version) != redials[name] {
			t.Errorf("%s: revision %d to %d, version %d to %d", name, before.Revision, after.Revision, before.Version, after.Version)
		}
	}
}

// change gives a field another value.
func change(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v := v.Addr().Interface().(type) {
	case *string:
		*v += "b"
	case *bool:
		*v = !*v
	case *time.Duration:
		*v++
	case *[]string:
		*v = append(*v, "b")
	case *map[string]jackfield.Secret:
		(*v)["A"] += "b"
	case *jackfield.Transport:
		*v += "b"
	case *jackfield.Sharing:
		*v += "b"
	case *jackfield.Instructions:
		v.FromServer = true
	case *jackfield.ProcessLimits:
		v.Files++
	case *jackfield.Loss:
		*v = jackfield.LossReplay
	case *jackfield.Rate:
		v.Calls++
	case *[]jackfield.ToolFilter:
		*v = append(*v, jackfield.ToolFilter{})
	case *jackfield.Template:
		*v = append(*v, jackfield.Part{})
	case *map[int]jackfield.Template:
		(*v)[0] = append((*v)[0], jackfield.Part{})
	case *map[string]jackfield.Template:
		(*v)["A"] = append((*v)["A"], jackfield.Part{})
	case *[]jackfield.Scope:
		*v = append(*v, jackfield.Team("b"))
	case *[]jackfield.ToolRule:
		*v = append(*v, jackfield.ToolRule{})
	case *jackfield.TLS:
		v.ServerName += "b"
	default:
		t.Fatalf("no way to change a %T", v)
	}
}

func TestAReasonThatChangesForAnInvalidServerIsNoNewConnection(t *testing.T) {
	var r Registry
	s := jackfield.Server{Name: "x", Invalid: "why"}
	apply(t, &r, s)
	s.Invalid = "why else"
	if c := apply(t, &r, s); len(c.Edited) != 1 || len(c.Redial) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestASecondApplyOfTheSameChangesNothing(t *testing.T) {
	var r Registry
	a, b := server("a", "http://a"), server("b", "http://b")
	apply(t, &r, a, b)
	before := r.Snapshot()
	a.Endpoint.Env, a.Endpoint.Args, a.Usage.Sharing = map[string]jackfield.Secret{}, []string{}, ""
	if c := apply(t, &r, b, a); !c.Empty() {
		t.Errorf("another order and other empties are a change: %v", c)
	}
	if got := r.Snapshot().Servers(); got[0].Name != "b" || got[1].Version != before.Servers()[0].Version {
		t.Errorf("%+v", got)
	}
}

func TestASnapshotNeverChanges(t *testing.T) {
	var r Registry
	s := server("x", "http://a")
	s.Endpoint.Headers = map[string]jackfield.Secret{"A": "1"}
	s.Endpoint.Args, s.Tools.Allow, s.Tools.Deny = []string{"1"}, []string{"1"}, []string{"1"}
	s.Endpoint.Env = map[string]jackfield.Secret{"A": "1"}
	apply(t, &r, s)
	old := r.Snapshot()
	s.Endpoint.Headers["A"], s.Endpoint.Env["A"] = "2", "2"
	s.Endpoint.Args[0], s.Tools.Allow[0], s.Tools.Deny[0] = "2", "2", "2"
	apply(t, &r, server("y", "http://b"))
	got, ok := old.ByID("x")
	if !ok || len(old.Servers()) != 1 {
		t.Fatal("the old snapshot lost its server")
	}
	if text := fmt.Sprint(got.Endpoint.Args, got.Tools, got.Endpoint.Headers["A"].Reveal()+got.Endpoint.Env["A"].Reveal()); text != "[1] {[1] [1] []}11" {
		t.Error(text)
	}
}

func TestNamesThatAreMissingOrTwiceChangeNothing(t *testing.T) {
	var r Registry
	apply(t, &r, server("x", "http://a"))
	before := r.Snapshot()
	for _, defs := range [][]jackfield.Server{{server("y", ""), server("y", "")}, {server("", "")}} {
		if _, err := r.Apply(defs); jackfield.CodeOf(err) != jackfield.Invalid || r.Snapshot() != before {
			t.Error(err)
		}
	}
	if _, ok := new(Registry).Snapshot().ByID("x"); ok || len(new(Registry).Snapshot().Servers()) != 0 {
		t.Error("the zero registry is not empty")
	}
}

// TestVersionsNeverGoBackAndGrowOnlyWithTheConnection walks at random through
// additions, removals and edits, and compares with what a person would say.
func TestVersionsNeverGoBackAndGrowOnlyWithTheConnection(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var r Registry
		current := map[string]jackfield.Server{}
		last := map[string]jackfield.Server{} // as applied, also of those removed since
		for range 30 {
			for _, name := range names {
				switch s, there := current[name]; rnd.IntN(6) {
				case 0:
					delete(current, name)
				case 1:
					if !there {
						current[name] = server(name, "http://0")
					}
				case 2:
					if there {
						s.Endpoint.URL = fmt.Sprint("http://", rnd.IntN(2))
						current[name] = s
					}
				case 3:
					if there {
						s.About.Title = fmt.Sprint(rnd.IntN(2))
						current[name] = s
					}
				}
			}
			before := r.Snapshot()
			defs := slices.Collect(maps.Values(current))
			rnd.Shuffle(len(defs), func(i, j int) { defs[i], defs[j] = defs[j], defs[i] })
			c := apply(t, &r, defs...)
			for _, def := range defs {
				s, old := get(t, &r, jackfield.ServerID(def.Name)), last[def.Name]
				_, stayed := before.ByID(s.ID)
				sameURL := stayed && old.Endpoint.URL == s.Endpoint.URL
				same := sameURL && old.About == s.About
				if (s.Version == old.Version) != sameURL || s.Version < old.Version {
					t.Fatalf("seed %d: %s version %d after %d, same connection %t", seed, s.Name, s.Version, old.Version, sameURL)
				}
				if (s.Revision == old.Revision) != same || s.Revision < old.Revision || s.Version > s.Revision {
					t.Fatalf("seed %d: %s revision %d after %d, same %t", seed, s.Name, s.Revision, old.Revision, same)
				}
				for list, belongs := range map[*[]jackfield.ServerID]bool{
					&c.Added: !stayed, &c.Redial: stayed && !sameURL, &c.Edited: sameURL && !same, &c.Removed: false,
				} {
					if slices.Contains(*list, s.ID) != belongs {
						t.Fatalf("seed %d: %s is in the wrong list of %+v", seed, s.Name, c)
					}
				}
				last[s.Name] = s
			}
			for _, s := range before.Servers() {
				if _, there := current[s.Name]; there == slices.Contains(c.Removed, s.ID) {
					t.Fatalf("seed %d: %s removed wrongly: %+v", seed, s.Name, c)
				}
			}
		}
	}
}

func TestReadersSeeWholeSnapshotsWhileOthersApply(t *testing.T) {
	var r Registry
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 100 {
				url := fmt.Sprint("http://", i, j)
				if _, err := r.Apply([]jackfield.Server{server("a", url), server("b", url)}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			var version uint64
			for range 1000 {
				snapshot := r.Snapshot()
				a, there := snapshot.ByID("a")
				b, _ := snapshot.ByID("b")
				if a.Endpoint.URL != b.Endpoint.URL || there && a.Version < version {
					t.Errorf("torn: %v %v after %d", a, b, version)
				}
				version = a.Version
			}
		})
	}
	wg.Wait()
}
