package credentials

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

const (
	maxValue  = 16 << 10 // bytes of a value
	maxValues = 4 << 20  // bytes of all that one person entered, sealed: they are in memory
)

// Value is whether and when a person entered something for a variable.
type Value struct {
	Variable jackfield.Variable
	Set      bool
	Changed  time.Time // zero when nothing is entered
	Text     string    // what was entered, if it was not sensitive then and is not now
	Stale    string    // why what was entered does not count any more
}

// Values is what an owner entered for the variables of a server, in the order of
// those.
func (c *Credentials) Values(s *jackfield.Server, owner jackfield.Scope) []Value {
	f := c.filling(targetOf(s), owner)
	all := make([]Value, len(s.Vars))
	for i, v := range s.Vars {
		all[i].Variable = v
		one := f.values.named(v.Name)
		if one == nil {
			continue
		}
		all[i].Set, all[i].Changed, all[i].Stale = true, one.entered(), f.stale(one)
		if v.Sensitive || one.sensitive {
			continue
		}
		plain, err := c.reveal(one, owner, s.ID)
		if err != nil {
			c.o.Log.Warn("a value cannot be shown", slog.String("server", s.Name), slog.String("variable", v.Name), slog.Any("error", err))
			continue
		}
		all[i].Text = plain.Reveal()
	}
	return all
}

// Set enters values for variables of a server, all of them or none. nil removes one.
// A value is for the address that the server has now.
func (c *Credentials) Set(ctx context.Context, by jackfield.Principal, owner jackfield.Scope, s jackfield.Server, given map[string]*jackfield.Secret) error {
	if owner.Kind != jackfield.ScopeUser || owner.ID == "" {
		return jackfield.Errorf(jackfield.Invalid, "values of variables are each person's own, and %s is nobody", owner)
	}
	if may := by.MayEdit(owner); !may.Allowed {
		return jackfield.Errorf(jackfield.Forbidden, "the values of %s are not yours to enter: %s", owner, may.Reason)
	}
	f := c.filling(targetOf(&s), owner)
	writes := make([]record.Write, 0, len(given))
	for _, name := range slices.Sorted(maps.Keys(given)) {
		at := slices.IndexFunc(s.Vars, func(v jackfield.Variable) bool { return v.Name == name })
		if at < 0 {
			return jackfield.Errorf(jackfield.Invalid, "server %q has no variable %q; %s", s.Name, name, declared(s.Vars))
		}
		w := record.Write{Ref: record.Ref{Kind: record.Variable, ID: record.VariableID(owner, s.ID, name)}, Anyway: true, Remove: true}
		if text := given[name]; text != nil {
			if wrong := f.wrong(name, text.Reveal()); wrong != "" {
				return jackfield.Errorf(jackfield.Invalid, "server %q: the value of %s %s", s.Name, name, wrong)
			}
			if err := c.write(&w, owner, f, s.Vars[at], *text); err != nil {
				return err
			}
		}
		writes = append(writes, w)
	}
	if len(writes) == 0 {
		return nil
	}
	if err := c.checkRoom(owner, s.ID, given, writes); err != nil {
		return err
	}
	_, err := c.o.Writer.Write(ctx, by.Subject, writes...)
	return err
}

// checkRoom refuses values that would be too much of one person.
func (c *Credentials) checkRoom(owner jackfield.Scope, id jackfield.ServerID, given map[string]*jackfield.Secret, writes []record.Write) error {
	more, size := 0, 0
	for _, w := range writes {
		more += len(w.Sealed)
	}
	c.person(owner.ID).each(func(server jackfield.ServerID, v *value) {
		if _, replaced := given[v.name.Value()]; server != id || !replaced {
			size += len(v.sealed)
		}
	})
	if more > 0 && size+more > maxValues {
		return jackfield.Errorf(jackfield.Exhausted, "the values of %s would have %d bytes together, and %d are as many as there may be; remove some", owner, size+more, maxValues)
	}
	return nil
}

func (c *Credentials) write(w *record.Write, owner jackfield.Scope, f *filling, v jackfield.Variable, text jackfield.Secret) (err error) {
	w.Remove, w.NewVersion = false, true
	w.Body, err = json.Marshal(body{Owner: owner.String(), Server: f.id, Name: v.Name, Origin: f.origin, Sensitive: v.Sensitive})
	if err != nil {
		return jackfield.Errorf(jackfield.Internal, "a value cannot be written: %w", err)
	}
	w.Sealed, w.Seal, err = c.o.Seal.Seal(w.Bind(), []byte(text.Reveal()))
	return err
}

// wrong is what a value cannot be, in words that follow "the value of X"; empty: it
// can stand wherever the definition puts it.
func (f *filling) wrong(name, text string) string {
	switch {
	case text == "":
		return "is empty; remove it instead, if there should be none"
	case len(text) > maxValue:
		return fmt.Sprintf("is longer than %d KiB", maxValue>>10)
	case !utf8.ValidString(text):
		return "is not text"
	}
	check := func(t jackfield.Template, where string, write func(jackfield.Part, string) (string, string)) string {
		for _, p := range t {
			if p.From != jackfield.FromVar || p.Name != name {
				continue
			}
			if _, wrong := write(p, text); wrong != "" {
				return "cannot stand in " + where + ": " + wrong
			}
		}
		return ""
	}
	for _, header := range slices.Sorted(maps.Keys(f.fill.Headers)) {
		if wrong := check(f.fill.Headers[header], "the header "+header, headerText); wrong != "" {
			return wrong
		}
	}
	for _, t := range f.fill.Args {
		if wrong := check(t, "an argument", plainText); wrong != "" {
			return wrong
		}
	}
	for _, entry := range slices.Sorted(maps.Keys(f.fill.Env)) {
		if wrong := check(f.fill.Env[entry], "the environment variable "+entry, plainText); wrong != "" {
			return wrong
		}
	}
	return ""
}

func declared(vars []jackfield.Variable) string {
	if len(vars) == 0 {
		return "it has none at all"
	}
	names := make([]string, len(vars))
	for i, v := range vars {
		names[i] = v.Name
	}
	return "it has " + strings.Join(names, ", ")
}

// Removal is what removes all values of an owner, of a server, or both: an empty id
// is every server, and the app's scope everybody. Whoever removes a person or a
// definition writes it with that.
func (c *Credentials) Removal(id jackfield.ServerID, owner jackfield.Scope) []record.Write {
	var writes []record.Write
	of := func(subject string, p person) {
		p.each(func(server jackfield.ServerID, v *value) {
			if id == "" || id == server {
				writes = append(writes, removal(subject, server, v))
			}
		})
	}
	switch owner.Kind {
	case jackfield.ScopeUser:
		of(owner.ID, c.person(owner.ID))
	case jackfield.ScopeApp:
		for subject, p := range c.everybody {
			of(subject, p)
		}
	case jackfield.ScopeTeam: // has no values
	}
	return writes
}

// inOneWrite is how many values go with a definition at once, so that the store takes
// them and all that goes with them.
const inOneWrite = 5000

// Leave is what removes everybody's values for definitions that are about to be
// removed, for the same write: whoever makes one of the same id later finds none. Of
// more than fit in one write the others are removed already.
func (c *Credentials) Leave(ctx context.Context, by jackfield.Principal, is func(jackfield.ServerID) bool) ([]record.Write, error) {
	var writes []record.Write
	for subject, p := range c.everybody {
		p.each(func(server jackfield.ServerID, v *value) {
			if is(server) {
				writes = append(writes, removal(subject, server, v))
			}
		})
	}
	for len(writes) > inOneWrite {
		if _, err := c.o.Writer.Write(ctx, by.Subject, writes[:inOneWrite]...); err != nil {
			return nil, err
		}
		writes = writes[inOneWrite:]
	}
	return writes, nil
}

func removal(subject string, server jackfield.ServerID, v *value) record.Write {
	ref := record.Ref{Kind: record.Variable, ID: record.VariableID(jackfield.User(subject), server, v.name.Value())}
	return record.Write{Ref: ref, Anyway: true, Remove: true}
}
