package jackfield

import (
	"iter"
	"maps"
	"slices"
)

// Template is a value of a definition with places in it that are filled in when a
// connection is made or a request is sent. What fills a place is never looked at
// again for places of its own.
type Template []Part

// Part is a piece of a Template: text as it stands, or a place.
type Part struct {
	Text Secret // as it stands; when From is empty
	From Source
	Name string // which of the source's values
}

// Source is where the value of a place comes from.
type Source string

// The sources.
const (
	FromUser   Source = "user"   // of the caller: id, email or name
	FromTeam   Source = "team"   // the caller's team; Name is empty
	FromVar    Source = "var"    // the variable that the caller entered; Name is a Variable's
	FromSecret Source = "secret" // of the operator: file:/path, or vault:mount/path#field
)

// Personal reports whether what the template becomes depends on the caller.
func (t Template) Personal() bool {
	return slices.ContainsFunc(t, func(p Part) bool { return p.From != "" && p.From != FromSecret })
}

// Fill are the values of an Endpoint that are filled in. Each takes the place of
// what stands in the Endpoint under the same name; Endpoint.URL is the text as it
// was written, and its origin holds no place.
type Fill struct {
	URL     Template
	Args    map[int]Template
	Env     map[string]Template
	Headers map[string]Template // under canonical names
}

// All are the templates.
func (f *Fill) All() iter.Seq[Template] {
	return func(yield func(Template) bool) {
		if len(f.URL) > 0 && !yield(f.URL) {
			return
		}
		for _, t := range f.Args {
			if !yield(t) {
				return
			}
		}
		for _, all := range []map[string]Template{f.Env, f.Headers} {
			for t := range maps.Values(all) {
				if !yield(t) {
					return
				}
			}
		}
	}
}

// Empty reports whether nothing is filled in.
func (f *Fill) Empty() bool { return len(f.URL)+len(f.Args)+len(f.Env)+len(f.Headers) == 0 }

// Personal reports whether something of it depends on the caller.
func (f *Fill) Personal() bool {
	for t := range f.All() {
		if t.Personal() {
			return true
		}
	}
	return false
}

// Variable is a value that each person enters for a server, such as an API key.
type Variable struct {
	Name        string
	Title       string
	Description string
	Sensitive   bool // never shown again, not even to the person
	Required    bool // without it nothing is sent to the server
}
