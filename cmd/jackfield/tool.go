package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/wire"
)

// oneTool tells everything about one tool, or prints its schemas.
func (s *shell) oneTool(ctx context.Context, c *client, server, name string, schemas bool) error {
	list, err := s.listed(ctx, c, server)
	if err != nil {
		return err
	}
	var others []string
	for _, raw := range list.Tools {
		t, err := parseTool(raw)
		switch {
		case err != nil:
		case t.Name != name:
			others = append(others, t.Name)
		case schemas:
			return s.printSchemas(raw)
		case s.json:
			return s.printIndented(raw)
		default:
			s.describe(list, t)
			return nil
		}
	}
	if len(others) == 0 {
		return usagef("%s lists no tools, so not %q either", server, name)
	}
	return noSuchTool(server, name, others)
}

// printSchemas prints the schema of the arguments; of a tool that has one for its
// answer as well, both.
func (s *shell) printSchemas(tool wire.Raw) error {
	o, err := wire.ScanObject(tool, []string{"inputSchema", "outputSchema"})
	if err != nil {
		return err
	}
	input, output := o.Get("inputSchema"), o.Get("outputSchema")
	if output == nil {
		return s.printIndented(input)
	}
	both := append(append(wire.Raw(`{"inputSchema":`), input...), `,"outputSchema":`...)
	return s.printIndented(append(append(both, output...), '}'))
}

// printIndented prints JSON as it is, but for white space.
func (s *shell) printIndented(raw wire.Raw) error {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return err
	}
	fmt.Fprintln(s.out, b.String())
	return nil
}

// describe tells what there is to say of a tool.
func (s *shell) describe(list toolList, t tool) {
	colour := s.painter(s.out)
	say := func(what, value string) {
		if value != "" {
			fmt.Fprintf(s.out, "%s %s\n", colour(dim, fmt.Sprintf("%-12s", what)), value)
		}
	}
	fmt.Fprintln(s.out, colour(bold, printable(list.Server+"/"+t.Name)))
	say("title", printable(t.Title))
	about := strings.ReplaceAll(strings.TrimSpace(printableLines(t.Description)), "\n", "\n"+strings.Repeat(" ", 13))
	say("about", about)
	if list.AgeSeconds != nil {
		age := "listed " + ageText(api.ListingStatus{AgeSeconds: list.AgeSeconds}) + " ago"
		if list.Old != "" {
			age += "; it cannot be listed now: " + list.Old
		}
		say("age", printable(age))
	}
	names := t.InputSchema.all()
	if len(names) == 0 {
		say("arguments", "none")
		return
	}
	fmt.Fprintln(s.out)
	rows := table{head: []string{"ARGUMENT", "TYPE", "NEEDED", "MEANING"}, most: map[int]int{0: 30, 1: 30}}
	for _, name := range names {
		p := t.InputSchema.property(name)
		needed := ""
		if slices.Contains(t.InputSchema.Required, name) {
			needed = "yes"
		}
		rows.row(cell{name, bold}, text(orDash(p.kind())), text(needed), text(p.meaning()))
	}
	s.print(rows)
}

// kind is the type of a value in words.
func (s schema) kind() string {
	kind := strings.Join(s.Type, " or ")
	if slices.Contains(s.Type, "array") && s.Items != nil && len(s.Items.Type) > 0 {
		kind += " of " + strings.Join(s.Items.Type, " or ")
	}
	return kind
}

// meaning is what a property says of itself, with its choices and its default.
func (s schema) meaning() string {
	parts := []string{strings.TrimSpace(s.Description)}
	if parts[0] == "" {
		parts[0] = s.Title
	}
	if len(s.Enum) > 0 {
		parts = append(parts, "one of "+strings.Join(written(s.Enum), ", "))
	}
	if s.Default != nil {
		parts = append(parts, "default "+written([]any{s.Default})[0])
	}
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), "; ")
}

// written are values as JSON.
func written(values []any) []string {
	var all []string
	for _, v := range values {
		b, err := json.Marshal(v)
		if err != nil {
			continue // it came out of JSON
		}
		all = append(all, string(b))
	}
	return all
}
