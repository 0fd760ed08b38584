package catalog

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

var finalForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func TestPlainNamesStayReadable(t *testing.T) {
	for _, c := range []struct{ server, tool, want string }{
		{"github", "create_issue", "github__create_issue"},
		{"a", "b", "a__b"},
		{"my-files", "read-File2", "my-files__read-File2"},
		{"a", "_b", "a___b"},
		{"a", "b__c", "a__b__c"},
		{"s", strings.Repeat("t", 61), "s__" + strings.Repeat("t", 61)},
		{"mail", "list_notifications", "mail__list_notifications"},
	} {
		if got := FinalName(c.server, c.tool); got != c.want {
			t.Errorf("FinalName(%q, %q) = %q, want %q", c.server, c.tool, got, c.want)
		}
	}
}

func TestOtherNamesKeepWhatFitsAndAMark(t *testing.T) {
	for _, c := range []struct{ server, tool, prefix string }{
		{"github", "issues.create", "github__issues_create_0"},
		{"my server", "x", "my_server__x_0"},
		{"a__b", "c", "a__b__c_0"},
		{"a_", "b", "a___b_0"},
		{"s", strings.Repeat("t", 62), "s__" + strings.Repeat("t", 47) + "_0"},
		{strings.Repeat("s", 60), strings.Repeat("t", 60), strings.Repeat("s", 24) + "__" + strings.Repeat("t", 24) + "_0"},
		{strings.Repeat("s", 60), "tool", strings.Repeat("s", 44) + "__tool_0"},
		{"größe", "naïve", "gr__e__na_ve_0"},
		{"a", "b_0123456789abc", "a__b_0123456789abc_0"}, // looks like a mark itself
		{"a", "0123456789abc", "a__0123456789abc_0"},
	} {
		got := FinalName(c.server, c.tool)
		if !strings.HasPrefix(got, c.prefix) || len(got) != len(c.prefix)+markLen-2 || !finalForm.MatchString(got) {
			t.Errorf("FinalName(%q, %q) = %q, want %q and a mark", c.server, c.tool, got, c.prefix)
		}
	}
	// What clients have stored must still be the name after an update of ours.
	if got := FinalName("my server", "x"); got != "my_server__x_09ur7uhjkg8ib" {
		t.Errorf("the mark changed: %q", got)
	}
}

// alphabet is where names are most likely to clash.
var alphabet = []string{"a", "_", "__", ".", "-", "ä", "0", " ", "_0", "0123456789ab", strings.Repeat("x", 30)}

func randomName(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(5) {
		b.WriteString(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}

func TestNoTwoToolsHaveOneFinalName(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[string][2]string{}
	for range 50_000 {
		pair := [2]string{randomName(r), randomName(r)}
		name := FinalName(pair[0], pair[1])
		if !finalForm.MatchString(name) {
			t.Fatalf("FinalName(%q) = %q", pair, name)
		}
		if other, ok := seen[name]; ok && other != pair {
			t.Fatalf("%q and %q are both %q", other, pair, name)
		}
		if !couldName(pair[0], name) {
			t.Fatalf("%q is not taken for a name of server %q", name, pair[0])
		}
		seen[name] = pair
	}
}

// FuzzNames holds final names to their laws: the form, one name for one tool, and
// that they resolve to what they stand for, whatever else is in the view.
func FuzzNames(f *testing.F) {
	for _, s := range [][4]string{
		{"a", "b", "a", "b_"},
		{"a__b", "c", "a", "b__c"},
		{"a_", "b", "a", "_b"},
		{"a.b", "c", "a_b", "c"},
		{"ä", "x", "ö", "x"},
		{strings.Repeat("s", 70), "t", "s", strings.Repeat("t", 70)},
		{"a", "b.c", "a", FinalName("a", "b.c")[3:]},
	} {
		f.Add(s[0], s[1], s[2], s[3])
	}
	f.Fuzz(func(t *testing.T, s1, t1, s2, t2 string) {
		if s1 == "" || t1 == "" || s2 == "" || t2 == "" {
			return
		}
		n1, n2 := FinalName(s1, t1), FinalName(s2, t2)
		if !finalForm.MatchString(n1) || !finalForm.MatchString(n2) {
			t.Fatalf("%q, %q", n1, n2)
		}
		if (n1 == n2) != (s1 == s2 && t1 == t2) {
			t.Fatalf("(%q, %q) and (%q, %q) are %q and %q", s1, t1, s2, t2, n1, n2)
		}
		if !couldName(s1, n1) {
			t.Fatalf("%q is not taken for a name of server %q", n1, s1)
		}
	})
}

// tableOf is a view's table of what servers list, without a catalog's freshness.
func tableOf(t *testing.T, k Kind, lists map[string][]string) (*View, *table) {
	t.Helper()
	c := New(Options{})
	t.Cleanup(func() { _ = c.Close(t.Context()) })
	var defs []jackfield.Server
	var deps []*listing
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		defs = append(defs, jackfield.Server{ID: jackfield.ServerID(name), Name: name})
		var raws []wire.Raw
		for _, n := range lists[name] {
			raws = append(raws, thing(k, n))
		}
		deps = append(deps, prepare(k, raws, false, func(name, reason string) { t.Errorf("%s: %s", name, reason) }))
	}
	v := c.View(defs)
	return v, v.build(k, deps)
}

func TestEveryRowOfATableIsFoundUnderItsFinalName(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	lists := map[string][]string{}
	for range 40 {
		server := randomName(r)
		var tools []string
		for range 50 {
			if n := randomName(r); !slices.Contains(tools, n) {
				tools = append(tools, n)
			}
		}
		lists[server] = tools
	}
	for _, k := range []Kind{Tools, Prompts, Resources, Templates} {
		_, tab := tableOf(t, k, lists)
		if want := 0; len(tab.rows) == want {
			t.Fatal("no rows")
		}
		for i := range tab.rows {
			r := &tab.rows[i]
			if n, ok := tab.byKey[r.final]; !ok || int(n) != i {
				t.Fatalf("%s %q of %q is not found under %q", k, r.item.key, r.server.Name, r.final)
			}
		}
	}
}

func TestAddingAServerRenamesNobodysTool(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	lists := map[string][]string{}
	before := map[string]string{}
	for range 60 {
		lists[randomName(r)] = []string{randomName(r), randomName(r) + "!"}
		_, tab := tableOf(t, Tools, lists)
		for i := range tab.rows {
			row := &tab.rows[i]
			id := row.server.Name + "\x00" + row.item.key
			if old, ok := before[id]; ok && old != row.final {
				t.Fatalf("%q was %q and is %q", id, old, row.final)
			}
			before[id] = row.final
		}
	}
}

func TestAHashThatClashesIsDecidedByServerAndName(t *testing.T) {
	// Hashes do not clash on demand: a table with two rows of one final name is
	// what would be there if they did.
	rowsOf := func(order ...int) string {
		c := New(Options{})
		defer func() { _ = c.Close(t.Context()) }()
		l := prepare(Tools, []wire.Raw{thing(Tools, "x"), thing(Tools, "y"), thing(Tools, "z")}, false, nil)
		servers := []jackfield.Server{{ID: "s1"}, {ID: "s2"}}
		all := []row{{&servers[1], &l.items[0], "same"}, {&servers[0], &l.items[1], "same"}, {&servers[0], &l.items[2], "other"}}
		tab := &table{kind: Tools}
		for _, n := range order {
			tab.rows = append(tab.rows, all[n])
		}
		tab.index(c)
		var kept []string
		for i := range tab.rows {
			kept = append(kept, fmt.Sprint(tab.rows[i].server.ID, tab.rows[i].item.key, tab.byKey[tab.rows[i].final] == int32(i)))
		}
		slices.Sort(kept)
		return strings.Join(kept, " ")
	}
	want := "s1ytrue s1ztrue"
	for _, order := range [][]int{{0, 1, 2}, {1, 0, 2}, {2, 1, 0}, {0, 2, 1}} {
		if got := rowsOf(order...); got != want {
			t.Errorf("in the order %v kept %q, want %q", order, got, want)
		}
	}
}

func TestTheClosestNameIsFound(t *testing.T) {
	names := slices.Values([]string{"github__create_issue", "github__list_issues", "files__read_file", "files__x"})
	for wrong, want := range map[string]string{
		"github__create_isue":       "github__create_issue",
		"create_issue":              "github__create_issue",
		"GitHub__Create_Issue":      "github__create_issue",
		"files__readfile":           "files__read_file",
		"weather__forecast":         "",
		"":                          "",
		strings.Repeat("x", 10_000): "",
	} {
		if got := closest(wrong, names); got != want {
			t.Errorf("closest(%.40q) = %q, want %q", wrong, got, want)
		}
	}
}
