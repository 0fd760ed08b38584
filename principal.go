package jackfield

import (
	"cmp"
	"slices"
)

// Principal is who is calling: one person or program, the teams it belongs to and
// its role. Principals are made at the edge that authenticated the caller and
// passed as parameters from there on, never in a context.
type Principal struct {
	Subject string
	Teams   []string // sorted
	Role    Role

	// Operator says that the caller is whoever runs the gateway, and may define what
	// only the configuration file may: programs, private addresses.
	Operator bool
	// Credential names the API key that the caller came with, for when it is
	// revoked; empty: it came without.
	Credential string
	// Only are the names of the servers that the credential is for; nil: all that the
	// principal sees.
	Only []string
}

// Role is what a principal may change.
type Role string

// The roles, each of which may do what the one before it may. An empty Role means
// RoleUser.
const (
	RoleUser   Role = "user"   // its own servers, variables and keys
	RoleEditor Role = "editor" // and the servers of its teams
	RoleAdmin  Role = "admin"  // and everything else
)

// Roles lists the roles, the least first.
func Roles() []Role { return []Role{RoleUser, RoleEditor, RoleAdmin} }

// Covers reports whether r may do what other may.
func (r Role) Covers(other Role) bool {
	rank := func(r Role) int { return slices.Index(Roles(), cmp.Or(r, RoleUser)) }
	return rank(r) >= rank(other)
}

// Scope is the scope of the principal's own things.
func (p Principal) Scope() Scope { return User(p.Subject) }

// Is reports whether the principal is the one whom s names: that user, a member of
// that team, or, for the app's scope, anybody.
func (p Principal) Is(s Scope) bool {
	switch s.Kind {
	case ScopeUser:
		return s.ID == p.Subject
	case ScopeTeam:
		return slices.Contains(p.Teams, s.ID)
	case ScopeApp:
	}
	return true
}

// MayEdit is whether the principal may change what belongs to a scope, and if not,
// why.
func (p Principal) MayEdit(s Scope) Access {
	switch {
	case p.Role.Covers(RoleAdmin):
		return Allow()
	case s.Kind == ScopeApp:
		return Refuse("what everybody shares is changed by admins only")
	case !p.Is(s):
		return Refuse("only those whom it belongs to and admins change what belongs to " + s.String())
	case s.Kind == ScopeTeam && !p.Role.Covers(RoleEditor):
		return Refuse("what belongs to a team is changed by its editors and by admins only")
	}
	return Allow()
}

// Access is the answer to "may this be seen or used, and if not, why".
type Access struct {
	Allowed bool
	Reason  string // why not, in words for a person; empty when allowed
}

// Allow is the Access that allows.
func Allow() Access { return Access{Allowed: true} }

// Refuse is the Access that refuses for the reason given.
func Refuse(reason string) Access { return Access{Reason: reason} }
