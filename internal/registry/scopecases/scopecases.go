// Package scopecases reads the table of cases of scopes, clashes and overlays,
// internal/registry/testdata/scopes.txt, for the tests that run it: through the
// registry alone, and through a whole gateway. The form is described in the table.
package scopecases

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/jackfield-dev/jackfield"
)

// Tools are what each server of the table offers.
var Tools = []string{"delete", "read", "write"}

// Case is one caller and what it sees.
type Case struct {
	Title       string // of the group, and the line of the caller
	Definitions []Definition
	Who         jackfield.Principal
	Sees        []Sight // in order
}

// Definition is one definition of a case.
type Definition struct {
	File  bool // it stands in the configuration file; else in the store, in Scope
	Scope jackfield.Scope
	Name  string
	Doc   string // the entry as JSON
}

// Sight is one server that a caller sees.
type Sight struct {
	Name  string
	ID    jackfield.ServerID
	Host  string   // of its url
	Tools []string // those of Tools that it may use
}

// Read reads the table.
func Read(path string) ([]Case, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var cases []Case
	var title string
	var defs []Definition
	for i, line := range strings.Split(string(text), "\n") {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		fields := strings.Fields(rest)
		switch {
		case word == "" || word[0] == '#':
		case word == "==":
			title, defs = rest, nil
		case word == "as" && len(fields) > 0:
			cases = append(cases, Case{Title: fmt.Sprintf("%s (line %d)", title, i+1), Definitions: slices.Clone(defs), Who: principal(fields)})
		case word == "sees" && len(fields) == 4 && len(cases) > 0:
			c := &cases[len(cases)-1]
			c.Sees = append(c.Sees, Sight{Name: fields[0], ID: jackfield.ServerID(fields[1]), Host: fields[2], Tools: list(strings.Replace(fields[3], "all", strings.Join(Tools, ","), 1))})
		case len(fields) > 1:
			d := Definition{File: word == "file", Name: fields[0], Doc: strings.TrimSpace(rest[len(fields[0]):])}
			kind, id, _ := strings.Cut(word, ":")
			switch kind {
			case "team":
				d.Scope = jackfield.Team(id)
			case "user":
				d.Scope = jackfield.User(id)
			}
			defs = append(defs, d)
		default:
			return nil, fmt.Errorf("%s:%d: %q cannot be read", path, i+1, line)
		}
	}
	return cases, nil
}

func principal(fields []string) jackfield.Principal {
	p := jackfield.Principal{Subject: fields[0]}
	for _, f := range fields[1:] {
		switch key, value, _ := strings.Cut(f, "="); key {
		case "teams":
			p.Teams = list(value)
		case "role":
			p.Role = jackfield.Role(value)
		case "only":
			p.Only = list(value)
		}
	}
	return p
}

func list(text string) []string {
	if text == "-" {
		return nil
	}
	return strings.Split(text, ",")
}
