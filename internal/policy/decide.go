package policy

import (
	"fmt"
	"slices"

	"github.com/jackfield-dev/jackfield"
)

// Decide says whether a principal may see and use a server, and which of its tools,
// besides what the server's own filter says. A reason is for logs and for those who
// look after the server: the caller is told that there is none.
func Decide(p jackfield.Principal, s *jackfield.Server) (jackfield.Access, jackfield.ToolFilter) {
	refuse := func(format string, args ...any) (jackfield.Access, jackfield.ToolFilter) {
		return jackfield.Refuse(fmt.Sprintf(format, args...)), jackfield.ToolFilter{}
	}
	switch {
	case !p.Is(s.Scope):
		return refuse("server %q is for %s, which %q does not belong to", s.Name, s.Scope, p.Subject)
	case p.Only != nil && !slices.Contains(p.Only, s.Name):
		return refuse("the key that %q came with is not for server %q", p.Subject, s.Name)
	case names(p, s.Rules.Deny):
		return refuse("the rules of server %q deny it to %q", s.Name, p.Subject)
	case len(s.Rules.Allow) > 0 && !names(p, s.Rules.Allow):
		return refuse("the rules of server %q allow it to others than %q", s.Name, p.Subject)
	}
	var filter jackfield.ToolFilter
	for _, rule := range s.Rules.Tools {
		if names(p, rule.Deny) || len(rule.Allow) > 0 && !names(p, rule.Allow) {
			filter.Deny = append(filter.Deny, rule.Tools...)
		}
	}
	return jackfield.Allow(), filter
}

// names reports whether one of the scopes names the principal.
func names(p jackfield.Principal, scopes []jackfield.Scope) bool {
	return slices.ContainsFunc(scopes, p.Is)
}
