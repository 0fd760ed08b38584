package credentials

import (
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"

	"github.com/jackfield-dev/jackfield"
)

// Need is something that keeps a server from being used until somebody enters it.
type Need struct {
	// Variable is what is missing. Those that are no variables of the server are
	// named as their places are: user.email, user.name, team.
	Variable jackfield.Variable
	Reason   string // why it is missing, in words for a person
}

// lack is a Need, with what an error about it has to know.
type lack struct {
	Need
	from  jackfield.Source
	moved bool // something was entered, and the server has moved since
}

// lacks is what is missing for a place; nil: nothing is.
func (f *filling) lacks(p jackfield.Part) *lack {
	reason, moved := f.missing(p)
	if reason == "" {
		return nil
	}
	l := &lack{Need: Need{Reason: reason}, from: p.From, moved: moved}
	if l.Variable = identity(p); p.From == jackfield.FromVar {
		l.Variable = f.variable(p.Name)
	}
	return l
}

// missing is why there is nothing to put into a place; empty: there is something.
func (f *filling) missing(p jackfield.Part) (reason string, moved bool) {
	switch {
	case p.From == "" || p.From == jackfield.FromSecret:
		return "", false
	case f.owner.Kind != jackfield.ScopeUser:
		return "it is each person's own, and this connection is nobody's", false
	case p.From == jackfield.FromVar:
		v := f.values.named(p.Name)
		if v == nil {
			return "it is not entered yet", false
		}
		stale := f.stale(v)
		return stale, stale != ""
	case p.From == jackfield.FromUser && f.who().field(p.Name) == "":
		return "it is not known here", false
	case p.From == jackfield.FromTeam && len(f.who().Teams) == 0:
		return "you are in no team", false
	case p.From == jackfield.FromTeam && len(f.who().Teams) > 1:
		return fmt.Sprintf("you are in %d teams, and it is not clear which one is meant", len(f.who().Teams)), false
	}
	return "", false
}

// stale is why a value that was entered for another origin does not count.
func (f *filling) stale(v *value) string {
	was := v.origin.Value()
	if f.operator || was == f.origin {
		return ""
	}
	return fmt.Sprintf("it was entered for %s, and the server is at %s now", place(was), place(f.origin))
}

func place(origin string) string {
	if origin == "" {
		return "a program"
	}
	return origin
}

// identity is what a place about the caller is called.
func identity(p jackfield.Part) jackfield.Variable {
	v := jackfield.Variable{Name: "team", Title: "team", Required: true}
	if p.From == jackfield.FromUser {
		v.Name, v.Title = "user."+p.Name, p.Name
		if p.Name == "email" {
			v.Title = "email address"
		}
	}
	return v
}

// variable is how a variable was declared, with something in place of a title.
func (f *filling) variable(name string) jackfield.Variable {
	v := jackfield.Variable{Name: name, Sensitive: true, Required: true}
	if at := slices.IndexFunc(f.vars, func(v jackfield.Variable) bool { return v.Name == name }); at >= 0 {
		v = f.vars[at]
	}
	if v.Title == "" {
		v.Title = v.Name
	}
	return v
}

// lacking is what keeps the target from being used with some of its templates, the
// variables first, in the order in which they were declared.
func (f *filling) lacking(templates iter.Seq[jackfield.Template]) []*lack {
	var all []*lack
	look := func(t jackfield.Template, always bool) {
		for _, p := range t {
			l := f.lacks(p)
			if l == nil || !always && !l.Variable.Required {
				continue
			}
			if !slices.ContainsFunc(all, func(other *lack) bool { return other.from == l.from && other.Variable.Name == l.Variable.Name }) {
				all = append(all, l)
			}
		}
	}
	for t := range templates {
		look(t, false)
	}
	look(f.fill.URL, true) // nothing can be left out of an address
	order := func(l *lack) int {
		if l.from != jackfield.FromVar {
			return len(f.vars) + 1
		}
		if at := slices.IndexFunc(f.vars, func(v jackfield.Variable) bool { return v.Name == l.Variable.Name }); at >= 0 {
			return at
		}
		return len(f.vars)
	}
	slices.SortFunc(all, func(a, b *lack) int {
		if d := order(a) - order(b); d != 0 {
			return d
		}
		return strings.Compare(a.Variable.Name, b.Variable.Name)
	})
	return all
}

// Needs is what a server needs of an owner before it can be used; nil when nothing is
// missing. It only looks.
func (c *Credentials) Needs(s *jackfield.Server, owner jackfield.Scope) []Need {
	if s.Fill.Empty() {
		return nil
	}
	f := c.filling(targetOf(s), owner)
	var needs []Need
	for _, l := range f.lacking(f.fill.All()) {
		needs = append(needs, l.Need)
	}
	return needs
}

// ready is the error of what is missing in some templates.
func (f *filling) ready(templates iter.Seq[jackfield.Template]) error {
	lacking := f.lacking(templates)
	if len(lacking) == 0 {
		return nil
	}
	text := f.asks(lacking[0])
	if len(lacking) > 1 {
		var more []string
		for _, l := range lacking[1:] {
			more = append(more, l.Variable.Title)
		}
		text += "; after that " + strings.Join(more, ", ")
	}
	return authRequired(text)
}

// asks says what is missing and where to enter it.
func (f *filling) asks(l *lack) string {
	what, again := "your API key", ""
	if !l.Variable.Sensitive {
		what = "your setting"
	}
	switch {
	case f.owner.Kind != jackfield.ScopeUser:
		return fmt.Sprintf("server %q is reached with what each person has of their own (%s), and this connection is nobody's", f.name, l.Variable.Title)
	case l.from == jackfield.FromTeam:
		return fmt.Sprintf("server %q needs your team: %s; ask an admin", f.name, l.Reason)
	case l.from == jackfield.FromUser:
		return fmt.Sprintf("server %q needs your %s: %s; an admin enters it with PUT /api/v1/users/%s", f.name, l.Variable.Title, l.Reason, url.PathEscape(f.owner.ID))
	case l.moved:
		again = " again, because " + l.Reason
	}
	return fmt.Sprintf("server %q needs %s (%s)%s: %s", f.name, what, l.Variable.Title, again, f.enter(l.Variable.Name))
}

// enter says where a variable is entered.
func (f *filling) enter(name string) string {
	return fmt.Sprintf("enter it with `jackfield var set %s %s`, or PUT /api/v1/servers/%s/variables/%s", f.name, name, url.PathEscape(f.name), url.PathEscape(name))
}

// refuse is the error about a value that cannot stand where it should.
func (f *filling) refuse(p jackfield.Part, where, wrong string) error {
	switch p.From {
	case jackfield.FromVar:
		v := f.variable(p.Name)
		return authRequired(fmt.Sprintf("server %q: what you entered as %s cannot stand in %s: %s; %s", f.name, v.Title, where, wrong, f.enter(v.Name)))
	case jackfield.FromUser, jackfield.FromTeam:
		return authRequired(fmt.Sprintf("server %q: your %s cannot stand in %s: %s; ask an admin", f.name, identity(p).Title, where, wrong))
	case jackfield.FromSecret:
	}
	return f.unreadable(fmt.Errorf("the secret %s cannot stand in %s: %s", p.Name, where, wrong))
}

// authRequired is the error of what only somebody can end, by entering something.
func authRequired(text string) error {
	f := &jackfield.Failure{Kind: jackfield.FailureAuth, Stage: "auth", Message: text}
	return &jackfield.Error{Code: jackfield.AuthRequired, Message: f.Error(), Err: f}
}

// unreadable is the error of a secret of the operator's, which may be readable again
// later. One of a caller who left stays what it is.
func (f *filling) unreadable(err error) error {
	if isEnd(err) {
		return err
	}
	failure := &jackfield.Failure{Kind: jackfield.FailureOther, Stage: "auth", Message: fmt.Sprintf("server %q: %v", f.name, err), Err: err}
	return &jackfield.Error{Code: jackfield.Unavailable, Message: failure.Message, Err: failure}
}
