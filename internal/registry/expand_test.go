package registry

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func env(name string) (string, bool) {
	v, ok := map[string]string{"A": "1", "EMPTY": "", "DOLLAR": "${A}", "userHome": "/set", "_x9": "9"}[name]
	return v, ok
}

func TestExpand(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		"plain $HOME $ $$ {A}":     "plain $HOME $ $$ {A}",
		"${A}":                     "1",
		"<${A}${A}-${_x9}>":        "<11-9>",
		"${env:A}":                 "1",
		"${EMPTY}":                 "",
		"${EMPTY:-x}":              "x",
		"${A:-x}":                  "1",
		"${NO:-}":                  "",
		"${NO:-a:-b $ c}":          "a:-b $ c",
		"${env:NO:-x}":             "x",
		"$${A}":                    "${A}",
		"$${A} ${A} $$${A}":        "${A} 1 $${A}",
		"${DOLLAR}":                "${A}", // once: a value is not looked at again
		"${userHome}":              "/set", // somebody did set it
		"${A}$":                    "1$",
		"ä${A}ö":                   "ä1ö",
		"${NO:-https://x.y/z?q=1}": "https://x.y/z?q=1",
	} {
		if got, err := Expand(text, env); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"${NO}":                      "the environment variable NO is not set; set it where Jackfield is started, or write ${NO:-default}",
		"${A":                        "a ${ is never closed; write ${NAME}, or $${ for a literal ${",
		"${}":                        "${} does not name an environment variable; write ${NAME} or ${NAME:-default}, or $${ for a literal ${",
		"${9}":                       "${9} does not name an environment variable; write ${NAME} or ${NAME:-default}, or $${ for a literal ${",
		"${A?x}":                     "${A?x} does not name an environment variable; write ${NAME} or ${NAME:-default}, or $${ for a literal ${",
		"${A:-${B}}":                 "the default of ${A:-…} holds another ${; give the default as plain text",
		"${input:key}":               "${input:key} asks a person in the editor, and a gateway has nobody to ask; write ${NAME} and set that environment variable where Jackfield is started",
		"${workspaceFolder}/x":       "${workspaceFolder} is a variable of an editor, and a gateway has no workspace; write the full path",
		"${workspaceFolder:api}":     "${workspaceFolder} is a variable of an editor, and a gateway has no workspace; write the full path",
		"${workspaceFolderBasename}": "${workspaceFolderBasename} is a variable of an editor, and a gateway has no workspace; write the full path",
		"${pathSeparator}":           "${pathSeparator} is a variable of an editor; write its value, or ${NAME} of an environment variable",
		"${config:a.b}":              "${config:a.b} is a variable of an editor; write its value, or ${NAME} of an environment variable",
		"${" + strings.Repeat("-", 50) + "}": "${" + strings.Repeat("-", 40) +
			"…} does not name an environment variable; write ${NAME} or ${NAME:-default}, or $${ for a literal ${",
	} {
		got, err := Expand(text, env)
		var e *ExpandError
		if !errors.As(err, &e) || got != "" || e.Message+"; "+e.Fix != want {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
}

func TestOnlyWhatBeginsLikeANameIsAPlace(t *testing.T) {
	for text, want := range map[string]string{
		"a {{LIBRECHAT_USER_ID}} b":   "[LIBRECHAT_USER_ID]",
		"{{ _x }}":                    "[_x]",
		"{{.Name}} {{range}}":         "[range]",
		"{{.Name}}":                   "[]",
		"{{}} {{ }} {{1}} {{ open":    "[]",
		"{X} ${X} }}X{{":              "[]",
		"{{.A}}{{.B}} and {{my-var}}": "[my-var]",
		"{{${X}}} {{a}}{{b}}":         "[a b]",
	} {
		var found []string
		err := scan(text, scanner{
			text: func(string) {}, dollar: func(string) error { return nil },
			braces: func(name string) error { found = append(found, name); return nil },
		})
		if err != nil || fmt.Sprint(found) != want {
			t.Errorf("%q: got %v, %v", text, found, err)
		}
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "${A}", "$${A}", "${NO:-x}${env:A}", "${", "${}", "}${A", "$$${A}", "{{A}}", "${A:-${A}}", "${input:x}"} {
		f.Add(s, "v")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		asked := 0
		got, err := Expand(text, func(name string) (string, bool) {
			asked++
			if !isVariable(name) {
				t.Errorf("asked for %q", name)
			}
			return value, true
		})
		switch {
		case err != nil && (got != "" || err.Error() == ""):
			t.Errorf("%q and %v", got, err)
		case err == nil && !strings.Contains(text, "${") && (got != text || asked > 0):
			t.Errorf("%q became %q", text, got)
		case err == nil && asked == 0 && strings.Count(got, "${") != strings.Count(text, "${"):
			t.Errorf("%q became %q without a variable", text, got)
		}
	})
}
