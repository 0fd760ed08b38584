package jackfield

// Principal is who is calling: one person or program, the teams it belongs to
// and the roles it has. Principals are made at the edge that authenticated the
// caller and passed as parameters from there on, never in a context.
type Principal struct {
	Subject string
	Teams   []string
	Roles   []string
}

// Scope is the scope of the principal's own things.
func (p Principal) Scope() Scope { return User(p.Subject) }

// Access is the answer to "may this be seen or used, and if not, why".
type Access struct {
	Allowed bool
	Reason  string // why not, in words for a person; empty when allowed
}

// Allow is the Access that allows.
func Allow() Access { return Access{Allowed: true} }

// Refuse is the Access that refuses for the reason given.
func Refuse(reason string) Access { return Access{Reason: reason} }
