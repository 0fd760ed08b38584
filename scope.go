package jackfield

// ScopeKind says what kind of owner a Scope names.
type ScopeKind uint8

// The kinds of scope.
const (
	ScopeApp  ScopeKind = iota // shared by everybody
	ScopeTeam                  // shared by the members of one team
	ScopeUser                  // one person's own
)

// Scope says whose something is: the app's, a team's or one user's. Scopes are
// comparable; the zero value is the app's scope.
type Scope struct {
	Kind ScopeKind
	ID   string // empty for the app's scope
}

// App is the scope that everybody shares.
func App() Scope { return Scope{} }

// Team is the scope of one team.
func Team(id string) Scope { return Scope{Kind: ScopeTeam, ID: id} }

// User is the scope of one person.
func User(id string) Scope { return Scope{Kind: ScopeUser, ID: id} }

// String is "app", "team:ID" or "user:ID".
func (s Scope) String() string {
	switch s.Kind {
	case ScopeTeam:
		return "team:" + s.ID
	case ScopeUser:
		return "user:" + s.ID
	case ScopeApp:
	}
	return "app"
}
