package policy

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func some[T any](r *rand.Rand, from []T, most int) []T {
	var out []T
	for range r.IntN(most + 1) {
		out = append(out, pick(r, from))
	}
	return out
}

// mayNaively says the rule for one tool in the words of docs/access.md, and nothing of
// how it is done. An empty tool is the server itself.
func mayNaively(p jackfield.Principal, s *jackfield.Server, tool string) bool {
	is := func(scope jackfield.Scope) bool {
		switch scope.String() {
		case "app", "user:" + p.Subject:
			return true
		}
		for _, t := range p.Teams {
			if scope.String() == "team:"+t {
				return true
			}
		}
		return false
	}
	passes := func(allow, deny []jackfield.Scope) bool {
		return !slices.ContainsFunc(deny, is) && (len(allow) == 0 || slices.ContainsFunc(allow, is))
	}
	if !is(s.Scope) || !passes(s.Rules.Allow, s.Rules.Deny) {
		return false
	}
	if p.Only != nil && !strings.Contains("|"+strings.Join(p.Only, "|")+"|", "|"+s.Name+"|") {
		return false
	}
	for _, rule := range s.Rules.Tools {
		for _, pattern := range rule.Tools {
			matched := pattern == tool || strings.HasSuffix(pattern, "*") && strings.HasPrefix(tool, strings.TrimSuffix(pattern, "*"))
			if tool != "" && matched && !passes(rule.Allow, rule.Deny) {
				return false
			}
		}
	}
	return true
}

func TestDecideSaysWhatTheRulesSay(t *testing.T) {
	scopes := []jackfield.Scope{
		jackfield.App(), jackfield.Team("a"), jackfield.Team("b"), jackfield.User("ann"), jackfield.User("bob"),
		jackfield.Team("ann"), jackfield.User("a"), // a team and a user of one name are two
	}
	tools := []string{"read", "read_all", "delete", "delete_x", "Delete", "x"}
	patterns := append([]string{"*", "delete*", "read_*", ""}, tools...)
	r := rand.New(rand.NewPCG(1, 2)) // the same cases each time
	seen, hidden, fewer := 0, 0, 0
	for range 20_000 {
		p := jackfield.Principal{Subject: pick(r, []string{"ann", "bob", "a"}), Teams: some(r, []string{"a", "b", "ann"}, 2)}
		if r.IntN(4) == 0 {
			p.Only = append([]string{}, some(r, []string{"s", "t"}, 2)...)
		}
		s := &jackfield.Server{Name: pick(r, []string{"s", "t", "st"}), Scope: pick(r, scopes)}
		s.Rules.Allow, s.Rules.Deny = some(r, scopes, 2), some(r, scopes[1:], 1)
		for range r.IntN(4) {
			s.Rules.Tools = append(s.Rules.Tools, jackfield.ToolRule{Tools: some(r, patterns, 2), Allow: some(r, scopes, 2), Deny: some(r, scopes, 1)})
		}
		access, filter := Decide(p, s)
		if want := mayNaively(p, s, ""); access.Allowed != want || access.Allowed == (access.Reason != "") {
			t.Fatalf("%+v at %+v: got %+v, want %v", p, s, access, want)
		}
		if !access.Allowed {
			hidden++
			continue
		}
		seen++
		for _, tool := range tools {
			got, want := filter.Allows(tool), mayNaively(p, s, tool)
			if got != want {
				t.Fatalf("%+v and tool %s at %+v: got %v, want %v", p, tool, s, got, want)
			}
			if !got {
				fewer++
			}
		}
	}
	if seen < 1000 || hidden < 1000 || fewer < 1000 {
		t.Errorf("the cases say little: %d seen, %d hidden, %d tools denied", seen, hidden, fewer)
	}
}

func TestWhatIsDecidedGoesOnTopOfTheServersOwnFilter(t *testing.T) {
	s := &jackfield.Server{Name: "s", Tools: jackfield.ToolFilter{Allow: []string{"read*"}}, Rules: jackfield.Rules{
		Tools: []jackfield.ToolRule{{Tools: []string{"read_secret"}, Allow: []jackfield.Scope{jackfield.Team("a")}}},
	}}
	for _, c := range []struct {
		teams []string
		want  []string
	}{{[]string{"a"}, []string{"read", "read_secret"}}, {nil, []string{"read"}}} {
		_, also := Decide(jackfield.Principal{Subject: "ann", Teams: c.teams}, s)
		both := s.Tools
		both.Also = []jackfield.ToolFilter{also}
		got := slices.DeleteFunc([]string{"read", "read_secret", "write"}, func(tool string) bool { return !both.Allows(tool) })
		if !slices.Equal(got, c.want) {
			t.Errorf("teams %v: got %v, want %v", c.teams, got, c.want)
		}
	}
}

func TestARefusalIsInWordsThatNameTheServer(t *testing.T) {
	ann := jackfield.Principal{Subject: "ann", Role: jackfield.RoleAdmin}
	for _, s := range []jackfield.Server{
		{Name: "github", Scope: jackfield.Team("a")},
		{Name: "github", Rules: jackfield.Rules{Deny: []jackfield.Scope{jackfield.User("ann")}}},
		{Name: "github", Rules: jackfield.Rules{Allow: []jackfield.Scope{jackfield.User("bob")}}},
	} {
		access, _ := Decide(ann, &s)
		if access.Allowed || !strings.Contains(access.Reason, `"github"`) || !strings.Contains(access.Reason, `"ann"`) {
			t.Errorf("%+v: %+v", s, access)
		}
	}
}
