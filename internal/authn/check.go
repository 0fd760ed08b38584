package authn

import (
	"fmt"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/jackfield-dev/jackfield"
)

// Bounds on what is kept of people.
const (
	maxSubject     = 256 // bytes, as are the next ones
	maxName        = 256
	maxEmail       = 254
	maxTeam        = 64
	maxDescription = 4 << 10
	maxServerName  = 128

	maxTeams        = 100      // of one user or key
	maxServers      = 1000     // of one key
	maxServersBytes = 16 << 10 // of one key that was made over the API
	maxKeys         = 1000     // of one user
	maxOwnKeys      = 100      // of one user, who makes them: each may be a view of its own
)

// Fault is what is wrong with one field.
type Fault struct {
	Field   string // as JSON has it
	Message string
}

// Faults is everything that is wrong with what somebody wants to store. It stands in
// the chain of an Error with the code Invalid.
type Faults []Fault

// Error is the first of it in one line.
func (f Faults) Error() string {
	const most = 6
	var b strings.Builder
	for i, fault := range f {
		if i > 0 {
			b.WriteString("; ")
		}
		if i == most {
			fmt.Fprintf(&b, "and %d more", len(f)-most)
			break
		}
		b.WriteString(fault.Field + " " + fault.Message)
	}
	return b.String()
}

// in is the error of a thing with these faults; nil when there are none.
func (f Faults) in(what string) error {
	if len(f) == 0 {
		return nil
	}
	return &jackfield.Error{Code: jackfield.Invalid, Message: what + " cannot be used: " + f.Error(), Err: f}
}

func (f *Faults) add(field, format string, args ...any) {
	*f = append(*f, Fault{Field: field, Message: fmt.Sprintf(format, args...)})
}

// subject checks what somebody is known by everywhere: two that look the same are the
// same.
func (f *Faults) subject(field, s string) {
	switch s {
	case "":
		f.add(field, "is missing")
	case ".", "..", "me":
		f.add(field, "cannot be %q, which means something else in addresses", s)
	default:
		f.line(field, s, maxSubject, unseen)
	}
}

// line checks text of one line. hidden are the characters that it cannot have.
func (f *Faults) line(field, s string, most int, hidden func(rune) bool) {
	switch {
	case len(s) > most:
		f.add(field, "has %d bytes; at most %d are kept", len(s), most)
	case !utf8.ValidString(s):
		f.add(field, "is not UTF-8")
	case strings.ContainsFunc(s, hidden):
		f.add(field, "has characters that cannot be seen, such as control characters, zero-width ones or marks of direction; remove them")
	case s != strings.TrimSpace(s):
		f.add(field, "begins or ends with a space; remove it")
	case !norm.NFC.IsNormalString(s):
		f.add(field, "is not in Unicode's normal form C; compose its characters")
	}
}

// unseen reports whether a character shows nothing. Of spaces there is the plain one.
func unseen(r rune) bool {
	return !unicode.IsPrint(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// unseenInName lets the joiners through, which some scripts cannot be written without.
func unseenInName(r rune) bool { return unseen(r) && r != '\u200c' && r != '\u200d' }

func (f *Faults) name(field, s string) { f.line(field, s, maxName, unseenInName) }

func (f *Faults) description(field, s string) {
	f.line(field, strings.TrimSpace(s), maxDescription, func(r rune) bool { return unseenInName(r) && r != '\n' && r != '\t' })
}

func (f *Faults) email(field, s string) {
	if s == "" {
		return
	}
	n := len(*f)
	if f.line(field, s, maxEmail, unseen); len(*f) > n {
		return
	}
	// Nothing but the address itself: no name, no brackets, no quotes.
	if a, err := mail.ParseAddress(s); err != nil || a.Address != s || strings.ContainsAny(s, " \"<>()[]") {
		f.add(field, "is not an email address such as ann@example.com")
	}
}

func (f *Faults) role(field string, r jackfield.Role) {
	if r != "" && !known(r) {
		f.add(field, "is %s; there are admin, editor and user", quoted(string(r)))
	}
}

func (f *Faults) team(field, id string) {
	ok := id != "" && len(id) <= maxTeam
	for i, c := range []byte(id) {
		word := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		ok = ok && (word || i > 0 && strings.IndexByte("._-", c) >= 0)
	}
	if !ok {
		f.add(field, "has %s, which cannot be the id of a team: 1 to %d of a-z, 0-9, '.', '_' and '-', a letter or digit first", quoted(id), maxTeam)
	}
}

func (f *Faults) teams(field string, ids []string) {
	if len(ids) > maxTeams {
		f.add(field, "are %d; at most %d are kept", len(ids), maxTeams)
		return
	}
	for _, id := range ids {
		f.team(field, id)
	}
}

func (f *Faults) servers(field string, names []string) {
	if len(names) > maxServers {
		f.add(field, "are %d; at most %d are kept", len(names), maxServers)
		return
	}
	for _, name := range names {
		if n := len(*f); name == "" {
			f.add(field, "has an empty name")
		} else if f.line(field, name, maxServerName, unseen); len(*f) > n {
			return
		}
	}
}

// expires checks when a key is to end.
func (f *Faults) expires(field string, t time.Time) {
	switch {
	case t.IsZero():
	case !t.After(time.Now()):
		f.add(field, "is not in the future; give a later time, or none")
	case t.UTC().Year() > 9999:
		f.add(field, "is later than a time can be written; give none for a key that does not end")
	}
}

// quoted is s for a message, however long it is.
func quoted(s string) string {
	const most = 100
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}

func known(r jackfield.Role) bool {
	return r == jackfield.RoleUser || r == jackfield.RoleEditor || r == jackfield.RoleAdmin
}
