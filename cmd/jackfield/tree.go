package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// A definition is edited as the tree of its JSON, in which members keep their
// order: that of vars is the one in which people are asked for them. Trees are
// never changed; an edit makes a new one of the maps on its path.

// path leads from the root of a tree to a value: the keys of the maps on the way.
type path []string

// parsePath reads keys with dots between them; \. is a dot in a key.
func parsePath(text string) (path, error) {
	const escaped = "\x00"
	keys := strings.Split(strings.ReplaceAll(text, `\.`, escaped), ".")
	for i, k := range keys {
		if keys[i] = strings.ReplaceAll(k, escaped, "."); keys[i] == "" {
			return nil, usagef("%q leads nowhere; write keys with dots between them, such as headers.Authorization", text)
		}
	}
	return keys, nil
}

func (p path) String() string {
	keys := slices.Clone(p)
	for i, k := range keys {
		keys[i] = strings.ReplaceAll(k, ".", `\.`)
	}
	return strings.Join(keys, ".")
}

// parseTree reads YAML or JSON. The name decides between them where it can, and
// stands in what is said of mistakes.
func parseTree(name string, src []byte) (*document.Node, error) {
	r := document.NewReport(name)
	n := document.Parse(name, src, r)
	if faults := r.Faults(); len(faults) > 0 {
		var lines []string
		for _, f := range faults {
			lines = append(lines, f.String())
		}
		return nil, &exitError{exitUsage, errors.New(strings.Join(lines, "\n"))}
	}
	return normal(n), nil
}

// readTree reads a YAML or JSON file; "-" is stdin.
func (s *shell) readTree(file string) (*document.Node, error) {
	src, err := s.readFile(file, document.MaxBytes)
	if err != nil {
		return nil, err
	}
	if file == "-" {
		file = "stdin"
	}
	n, err := parseTree(file, src)
	if err == nil && n.IsNull() {
		err = usagef("%s is empty", file)
	}
	return n, err
}

// readFile reads a file of at most so many bytes; "-" is stdin.
func (s *shell) readFile(file string, most int64) ([]byte, error) {
	in := s.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usagef("%w", err)
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	src, err := io.ReadAll(io.LimitReader(in, most+1))
	switch {
	case err != nil:
		return nil, usagef("%s cannot be read: %w", file, err)
	case int64(len(src)) > most:
		return nil, usagef("%s is larger than %d MiB", file, most>>20)
	}
	return bytes.TrimPrefix(src, []byte("\xef\xbb\xbf")), nil
}

func textNode(text string) *document.Node {
	return &document.Node{Kind: document.String, Text: text}
}

func truth(b bool) *document.Node {
	return &document.Node{Kind: document.Bool, Text: strconv.FormatBool(b)}
}

func list(texts []string) *document.Node {
	n := &document.Node{Kind: document.List}
	for _, t := range texts {
		n.Items = append(n.Items, textNode(t))
	}
	return n
}

// valueNode reads a value as the command line gives it: JSON where it is any but a
// text in quotes, else text.
func valueNode(given string) *document.Node {
	if !json.Valid([]byte(given)) || strings.HasPrefix(strings.TrimSpace(given), `"`) {
		return textNode(given)
	}
	n, err := parseTree("value.json", []byte(given))
	if err != nil {
		return textNode(given)
	}
	return n
}

// at is the value that a path leads to; nil when there is none.
func at(n *document.Node, p path) *document.Node {
	for _, key := range p {
		n = n.Get(key)
	}
	return n
}

// with is n with a value where the path leads, and maps on the way to it.
func with(n *document.Node, p path, value *document.Node) (*document.Node, error) {
	if len(p) == 0 {
		return value, nil
	}
	if !n.IsNull() && n.Kind != document.Map {
		return nil, usagef("%q cannot be set in %s", p, n.Kind)
	}
	out := &document.Node{Kind: document.Map}
	if n != nil {
		out.Fields = slices.Clone(n.Fields)
	}
	key, rest := p[0], p[1:]
	inner, err := with(n.Get(key), rest, value)
	if err != nil {
		return nil, err
	}
	for i, f := range out.Fields {
		if f.Key == key {
			out.Fields[i].Value = inner
			return out, nil
		}
	}
	out.Fields = append(out.Fields, document.Field{Key: key, Value: inner})
	return out, nil
}

// without is n with nothing where the path leads, and no map on the way that would
// be empty then.
func without(n *document.Node, p path) *document.Node {
	if len(p) == 0 || n == nil || n.Kind != document.Map || at(n, p) == nil {
		return n
	}
	out := &document.Node{Kind: document.Map}
	for _, f := range n.Fields {
		if f.Key == p[0] {
			if len(p) == 1 {
				continue
			}
			if f.Value = without(f.Value, p[1:]); len(f.Value.Fields) == 0 {
				continue
			}
		}
		out.Fields = append(out.Fields, f)
	}
	return out
}

// normal is n without what only YAML has: True becomes true, and numbers that JSON
// does not know become text.
func normal(n *document.Node) *document.Node {
	if n == nil {
		return nil
	}
	out := &document.Node{Pos: n.Pos, Kind: n.Kind, Text: n.Text}
	switch {
	case n.Kind == document.Bool:
		out.Text = strings.ToLower(n.Text)
	case n.Kind == document.Number && !json.Valid([]byte(n.Text)):
		out.Kind = document.String
	}
	for _, item := range n.Items {
		out.Items = append(out.Items, normal(item))
	}
	for _, f := range n.Fields {
		out.Fields = append(out.Fields, document.Field{Pos: f.Pos, Key: f.Key, Value: normal(f.Value)})
	}
	return out
}

// encode is n as JSON.
func encode(n *document.Node) json.RawMessage { return n.AppendJSON(nil) }

// indented is n as people read JSON.
func indented(n *document.Node) string {
	var b bytes.Buffer
	if err := json.Indent(&b, encode(n), "", "  "); err != nil {
		return string(encode(n))
	}
	return b.String()
}

// edit is one value that is not the same in two trees. A nil value is none.
type edit struct {
	path     path
	old, new *document.Node
}

// edits are what makes b of a. Maps are looked into; lists are values.
func edits(a, b *document.Node) []edit { return editsBelow(nil, a, b) }

func editsBelow(p path, a, b *document.Node) []edit {
	isMap := func(n *document.Node) bool { return n != nil && n.Kind == document.Map }
	switch {
	case a == nil && b == nil:
		return nil
	case (isMap(a) || a == nil) && (isMap(b) || b == nil) && hasFields(a, b):
	case a != nil && b != nil && bytes.Equal(encode(a), encode(b)):
		return nil
	default:
		return []edit{{slices.Clone(p), a, b}}
	}
	var all []edit
	seen := map[string]bool{}
	for _, n := range []*document.Node{a, b} {
		if n == nil {
			continue
		}
		for _, f := range n.Fields {
			if !seen[f.Key] {
				seen[f.Key] = true
				all = append(all, editsBelow(append(slices.Clone(p), f.Key), field(a, f.Key), field(b, f.Key))...)
			}
		}
	}
	return all
}

func field(n *document.Node, key string) *document.Node {
	if n == nil {
		return nil
	}
	return n.Get(key)
}

func hasFields(a, b *document.Node) bool {
	return a != nil && len(a.Fields) > 0 || b != nil && len(b.Fields) > 0
}

// apply makes the edits in n.
func apply(n *document.Node, all []edit) (*document.Node, error) {
	for _, e := range all {
		if e.new == nil {
			n = without(n, e.path)
			continue
		}
		var err error
		if n, err = with(n, e.path, e.new); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// shownValue is a value in one line.
func shownValue(n *document.Node) string {
	if n.IsNull() {
		return "null"
	}
	if n.Kind == document.String && n.Text != "" {
		return n.Text
	}
	return string(encode(n))
}
