package document

import (
	"cmp"
	"fmt"
	"slices"
)

// Severity says what a problem costs.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // nothing starts, and a reload changes nothing
	Invalid Severity = "invalid" // one server does not serve; the rest do
	Warning Severity = "warning" // something is ignored or likely not what was meant
)

// Problem is one thing that is wrong with a configuration, for a person.
type Problem struct {
	Severity Severity
	File     string // or the name of the flag or variable that the value came from
	Pos
	Path    string // instead of a place, for what is in no file: the field, such as headers.Authorization
	Server  string // whose definition it is in; empty for the rest of the file
	Message string // what is wrong, without a secret
	Fix     string // what to write instead; may be empty
}

// String is the problem on one line: place, severity, server, what is wrong and
// what to write instead.
func (p Problem) String() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
	if where != "" {
		where += ": "
	}
	text := where + string(p.Severity) + ": "
	if p.Server != "" {
		text += fmt.Sprintf("server %q: ", p.Server)
	}
	text += p.Message
	if p.Fix != "" {
		text += "; " + p.Fix
	}
	return text
}

// Report collects the problems of one file. The zero value is not useful: see
// NewReport.
type Report struct {
	file     string
	server   string
	severity Severity
	problems *[]Problem
}

// NewReport is an empty report about the file, whose faults are Errors.
func NewReport(file string) *Report {
	return &Report{file: file, severity: Error, problems: new([]Problem)}
}

// ForServer is the same report while one server's definition is read: its
// faults make that server Invalid.
func (r *Report) ForServer(name string) *Report {
	return &Report{file: r.file, server: name, severity: Invalid, problems: r.problems}
}

// ForFile is the same report about another file, flag or variable.
func (r *Report) ForFile(name string) *Report {
	return &Report{file: name, severity: Error, problems: r.problems}
}

// Fault adds a problem that must be mended: an Error, or Invalid within a
// server's definition.
func (r *Report) Fault(at Pos, message, fix string) { r.add(r.severity, at, message, fix) }

// Warn adds a problem that one can live with.
func (r *Report) Warn(at Pos, message, fix string) { r.add(Warning, at, message, fix) }

func (r *Report) add(s Severity, at Pos, message, fix string) {
	*r.problems = append(*r.problems, Problem{
		Severity: s, File: r.file, Pos: at, Server: r.server, Message: message, Fix: fix,
	})
}

// Problems is what was found so far, in the order of places within each file.
func (r *Report) Problems() []Problem {
	slices.SortStableFunc(*r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return *r.problems
}

// Faults is what was found by this report's view: the faults of the server it
// is for, or of the whole file.
func (r *Report) Faults() []Problem {
	var found []Problem
	for _, p := range r.Problems() {
		if p.Severity == r.severity && p.Server == r.server {
			found = append(found, p)
		}
	}
	return found
}
