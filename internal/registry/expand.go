package registry

import (
	"fmt"
	"strings"
)

// ExpandError says which placeholder of a text could not be filled in and what
// to write instead. It never quotes the text around it.
type ExpandError struct {
	Message string
	Fix     string
}

// Error is the message.
func (e *ExpandError) Error() string { return e.Message }

// Expand fills in ${NAME}, ${NAME:-default} and VS Code's ${env:NAME} by lookup,
// once: what a variable holds is not looked at again. The default stands for a
// variable that is unset or empty. $${ is a literal ${, and every other dollar
// is left alone. An error is an *ExpandError.
func Expand(text string, lookup func(string) (string, bool)) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	var out strings.Builder
	err := scan(text, scanner{
		text: func(s string) { out.WriteString(s) },
		dollar: func(inside string) error {
			value, err := fill(inside, lookup)
			out.WriteString(value)
			return err
		},
	})
	if err != nil {
		return "", err
	}
	return out.String(), nil
}

// scanner takes what scan finds. With braces nil, {{…}} is text.
type scanner struct {
	text   func(string)
	dollar func(inside string) error
	braces func(name string) error
}

// scan goes through a text once, from its beginning to its end. $${ is the text ${.
// Only what begins with a letter or _ is a place of {{…}}: Go's own templates, which
// begin with a dot, are somebody's argument and left alone.
func scan(text string, s scanner) error {
	for {
		at := strings.Index(text, "${")
		if brace := strings.Index(text, "{{"); s.braces != nil && brace >= 0 && (at < 0 || brace < at) {
			s.text(text[:brace])
			name, rest, found := place(text[brace+2:])
			if !found {
				s.text("{{")
				text = text[brace+2:]
				continue
			}
			if err := s.braces(name); err != nil {
				return err
			}
			text = rest
			continue
		}
		if at < 0 {
			s.text(text)
			return nil
		}
		if at > 0 && text[at-1] == '$' {
			s.text(text[:at-1] + "${")
			text = text[at+2:]
			continue
		}
		s.text(text[:at])
		inside, rest, closed := strings.Cut(text[at+2:], "}")
		if !closed {
			return &ExpandError{"a ${ is never closed", "write ${NAME}, or $${ for a literal ${"}
		}
		if err := s.dollar(inside); err != nil {
			return err
		}
		text = rest
	}
}

// place is the name in text that begins behind a {{, and what follows its }}.
func place(text string) (name, rest string, found bool) {
	inside, rest, closed := strings.Cut(text, "}}")
	name = strings.TrimSpace(inside)
	if !closed || name == "" || name[0] != '_' && (name[0]|0x20 < 'a' || name[0]|0x20 > 'z') {
		return "", "", false
	}
	return name, rest, true
}

// fill is the value of what stands between ${ and }.
func fill(inside string, lookup func(string) (string, bool)) (string, error) {
	name, fallback, hasFallback := strings.Cut(strings.TrimPrefix(inside, "env:"), ":-")
	if !isVariable(name) {
		if err := editors(inside); err != nil {
			return "", err
		}
		return "", &ExpandError{
			fmt.Sprintf("${%s} does not name an environment variable", clip(inside)),
			"write ${NAME} or ${NAME:-default}, or $${ for a literal ${",
		}
	}
	for _, open := range []string{"${", "{{"} {
		if !strings.Contains(fallback, open) {
			continue
		}
		return "", &ExpandError{
			fmt.Sprintf("the default of ${%s:-…} holds another %s", name, open),
			"give the default as plain text",
		}
	}
	value, ok := lookup(name)
	switch {
	case ok && (value != "" || !hasFallback):
		return value, nil
	case hasFallback:
		return fallback, nil
	}
	if err := editors(name); err != nil {
		return "", err
	}
	return "", &ExpandError{
		fmt.Sprintf("the environment variable %s is not set", name),
		fmt.Sprintf("set it where Jackfield is started, or write ${%s:-default}", name),
	}
}

// editors explains the placeholders that only an editor can fill in, and is nil
// for all others.
func editors(inside string) error {
	kind, arg, _ := strings.Cut(inside, ":")
	switch kind {
	case "userHome":
		return &ExpandError{"${userHome} is a variable of an editor", "write ${HOME}"}
	case "workspaceFolder", "workspaceFolderBasename", "workspaceRoot":
		return &ExpandError{fmt.Sprintf("${%s} is a variable of an editor, and a gateway has no workspace", kind), "write the full path"}
	case "input":
		return &ExpandError{
			fmt.Sprintf("${input:%s} asks a person in the editor, and a gateway has nobody to ask", clip(arg)),
			"write ${NAME} and set that environment variable where Jackfield is started",
		}
	case "config", "command", "file", "pathSeparator", "execPath":
		return &ExpandError{
			fmt.Sprintf("${%s} is a variable of an editor", clip(inside)),
			"write its value, or ${NAME} of an environment variable",
		}
	}
	return nil
}

// clip keeps what is quoted back to a person short.
func clip(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func isVariable(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
