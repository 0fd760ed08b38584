package registry

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// places says what the places of a definition's values may be.
type places struct {
	lookup   func(string) (string, bool) // the environment; nil: no ${…} may stand there at all
	dir      string                      // what ${file:…} is relative to
	inputs   []Input
	identity bool   // {{user.…}} and {{team}} may stand there
	team     string // what {{team}} is; empty: that of the caller
	vars     []jackfield.Variable
	open     bool // of an overlay, which may use the variables of what it is laid over

	used map[string]bool // names of the variables that were found, for the caller
}

// placeError is an ExpandError about a {{…}}. Its message begins with a verb.
type placeError struct{ ExpandError }

// places that other products have for ours.
var aliases = map[string]string{
	"LIBRECHAT_USER_ID": "user.id", "LIBRECHAT_USER_EMAIL": "user.email",
	"LIBRECHAT_USER_NAME": "user.name", "LIBRECHAT_USER_USERNAME": "user.name",
}

// parse reads a value, once: what the environment puts into it is text, whatever it
// looks like. The error is an *ExpandError or a *placeError, and quotes no text
// around a place.
func (p *places) parse(text string) (jackfield.Template, error) {
	var t jackfield.Template
	var plain strings.Builder
	put := func(part jackfield.Part) {
		if part.From == "" {
			plain.WriteString(part.Text.Reveal())
			return
		}
		if plain.Len() > 0 {
			t = append(t, jackfield.Part{Text: jackfield.Secret(plain.String())})
			plain.Reset()
		}
		t = append(t, part)
	}
	err := scan(text, scanner{
		text: func(s string) { plain.WriteString(s) },
		dollar: func(inside string) error {
			part, err := p.dollar(inside)
			put(part)
			return err
		},
		braces: func(name string) error {
			part, err := p.braces(name)
			put(part)
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	if plain.Len() > 0 || len(t) == 0 {
		t = append(t, jackfield.Part{Text: jackfield.Secret(plain.String())})
	}
	return t, nil
}

// dollar is what ${inside} is.
func (p *places) dollar(inside string) (jackfield.Part, error) {
	kind, rest, _ := strings.Cut(inside, ":")
	switch {
	case kind == "input" && rest != "":
		return p.input(rest)
	case p.lookup == nil:
		return jackfield.Part{}, &ExpandError{"${…} is for whoever runs the gateway only", "write the value, or {{var.NAME}} for a value that each person enters"}
	case kind == "file" && rest != "":
		if strings.HasPrefix(rest, "~") {
			return jackfield.Part{}, &ExpandError{"${file:…} begins with ~, which only a shell replaces", "write the full path"}
		}
		if !filepath.IsAbs(rest) {
			rest = filepath.Join(p.dir, rest)
		}
		return jackfield.Part{From: jackfield.FromSecret, Name: "file:" + rest}, nil
	case kind == "vault":
		path, field, _ := strings.Cut(rest, "#")
		mount, secret, _ := strings.Cut(path, "/")
		if mount == "" || secret == "" || field == "" || strings.ContainsAny(field, "#/") || strings.Contains("/"+path+"/", "/../") {
			return jackfield.Part{}, &ExpandError{"${vault:…} names no field of a secret", "write ${vault:mount/path#field}"}
		}
		return jackfield.Part{From: jackfield.FromSecret, Name: "vault:" + rest}, nil
	}
	value, err := fill(inside, p.lookup)
	return jackfield.Part{Text: jackfield.Secret(value)}, err
}

// input is what VS Code's ${input:ID} is: a variable.
func (p *places) input(id string) (jackfield.Part, error) {
	if slices.ContainsFunc(p.vars, func(v jackfield.Variable) bool { return v.Name == id }) {
		return p.variable(id), nil
	}
	at := slices.IndexFunc(p.inputs, func(in Input) bool { return in.ID == id })
	if at < 0 {
		return jackfield.Part{}, &ExpandError{
			fmt.Sprintf("${input:%s} names an input that the file does not have", clip(id)),
			"add it to the file's inputs, or write {{var.NAME}} and declare that under vars",
		}
	}
	p.vars = append(p.vars, p.inputs[at].variable())
	return p.variable(id), nil
}

func (p *places) variable(name string) jackfield.Part {
	if p.used == nil {
		p.used = map[string]bool{}
	}
	p.used[name] = true
	return jackfield.Part{From: jackfield.FromVar, Name: name}
}

// braces is what {{name}} is.
func (p *places) braces(name string) (jackfield.Part, error) {
	own := name
	if alias := aliases[name]; alias != "" {
		own = alias
	}
	source, rest, dotted := strings.Cut(own, ".")
	declared := func(v string) bool {
		return slices.ContainsFunc(p.vars, func(known jackfield.Variable) bool { return known.Name == v })
	}
	switch {
	case own == "user.id" || own == "user.email" || own == "user.name" || own == "team":
		if !p.identity {
			return jackfield.Part{}, &placeError{ExpandError{
				fmt.Sprintf("holds {{%s}}, which only whoever runs the gateway and admins may send to a server", name),
				"remove it, or write {{var.NAME}} for a value that each person enters",
			}}
		}
		if source == "team" {
			if p.team != "" {
				return jackfield.Part{Text: jackfield.Secret(p.team)}, nil
			}
			return jackfield.Part{From: jackfield.FromTeam}, nil
		}
		return jackfield.Part{From: jackfield.FromUser, Name: rest}, nil
	case source == "var" && dotted && (declared(rest) || p.open && isVarName(rest)):
		return p.variable(rest), nil
	case declared(name):
		return p.variable(name), nil
	}
	return jackfield.Part{}, p.unknown(name)
}

// unknown says what to write instead of {{name}}.
func (p *places) unknown(name string) error {
	what := fmt.Sprintf("holds {{%s}}, which ", clip(name))
	for prefix, of := range map[string]string{
		"LIBRECHAT_OPENID_": "a token of the caller's sign-in", "LIBRECHAT_GRAPH_": "a token of Microsoft Graph",
		"LIBRECHAT_BODY_": "a value of a chat", "LIBRECHAT_USER_": "a field of a LibreChat user",
	} {
		if strings.HasPrefix(name, prefix) {
			return &placeError{ExpandError{what + "stands for " + of + ": this version does not fill it in", "write {{user.id}}, {{user.email}}, {{user.name}}, or {{var.NAME}}"}}
		}
	}
	if v, found := strings.CutPrefix(name, "var."); found {
		what += "is not declared under vars"
		if near := document.Nearest(v, p.names("")); near != "" {
			return &placeError{ExpandError{what, "did you mean {{var." + near + "}}?"}}
		}
		return &placeError{ExpandError{what, fmt.Sprintf("write vars: {%s: {title: …}} beside it", clip(v))}}
	}
	known := append([]string{"user.id", "user.email", "user.name", "team"}, p.names("var.")...)
	near := document.Nearest(name, known)
	if near == "" {
		if v := document.Nearest(name, p.names("")); v != "" {
			near = "var." + v
		}
	}
	if near != "" {
		return &placeError{ExpandError{what + "nothing fills in here", "did you mean {{" + near + "}}?"}}
	}
	return &placeError{ExpandError{
		what + "nothing fills in here",
		"write the value, ${NAME} for an environment variable, or {{var.NAME}} for a value that each person enters",
	}}
}

func (p *places) names(prefix string) []string {
	var names []string
	for _, v := range p.vars {
		names = append(names, prefix+v.Name)
	}
	return names
}

// constant is the text of a template without places.
func constant(t jackfield.Template) (string, bool) {
	switch {
	case len(t) == 0:
		return "", true
	case len(t) == 1 && t[0].From == "":
		return t[0].Text.Reveal(), true
	}
	return "", false
}

// spelled is a template as text, each place in our own words.
func spelled(t jackfield.Template, place func(jackfield.Part) string) string {
	var out strings.Builder
	for _, p := range t {
		if p.From == "" {
			out.WriteString(p.Text.Reveal())
			continue
		}
		out.WriteString(place(p))
	}
	return out.String()
}

// written is a place in our own words.
func written(p jackfield.Part) string {
	switch {
	case p.From == jackfield.FromSecret:
		return "${" + p.Name + "}"
	case p.Name == "":
		return "{{" + string(p.From) + "}}"
	}
	return "{{" + string(p.From) + "." + p.Name + "}}"
}
