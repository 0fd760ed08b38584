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
	for {
		at := strings.Index(text, "${")
		if at < 0 {
			out.WriteString(text)
			return out.String(), nil
		}
		if at > 0 && text[at-1] == '$' {
			out.WriteString(text[:at-1] + "${")
			text = text[at+2:]
			continue
		}
		out.WriteString(text[:at])
		inside, rest, closed := strings.Cut(text[at+2:], "}")
		if !closed {
			return "", &ExpandError{"a ${ is never closed", "write ${NAME}, or $${ for a literal ${"}
		}
		value, err := fill(inside, lookup)
		if err != nil {
			return "", err
		}
		out.WriteString(value)
		text = rest
	}
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
	if strings.Contains(fallback, "${") {
		return "", &ExpandError{
			fmt.Sprintf("the default of ${%s:-…} holds another ${", name),
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

// template finds a {{NAME}}, which other products fill in per person. Go's own
// templates, which begin with a dot, are somebody's argument and left alone.
func template(text string) (string, bool) {
	for {
		_, rest, found := strings.Cut(text, "{{")
		if !found {
			return "", false
		}
		inside, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return "", false
		}
		if name := strings.TrimSpace(inside); name != "" && (name[0] == '_' || name[0]|0x20 >= 'a' && name[0]|0x20 <= 'z') {
			return clip(name), true
		}
		text = after
	}
}
