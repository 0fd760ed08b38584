package registry

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// Input is one of the values that VS Code asks a person for, and that ${input:ID}
// names in any server of the file. Here it is a variable of each server that uses it.
type Input struct {
	ID          string
	Description string
	Sensitive   bool
}

// Inputs is the list of a file's inputs, in the form that VS Code has.
type Inputs []Input

var inputTypes = []string{"promptString", "pickString"}

// DecodeNode reads the list.
func (in *Inputs) DecodeNode(n *document.Node) (message, fix string) {
	const write = "write inputs: [{id: key, type: promptString, password: true}]"
	if n.Kind != document.List {
		return "must be a list, not " + n.Kind.String(), write
	}
	for i, item := range n.Items {
		text := func(key string) string {
			if v := item.Get(key); !v.IsNull() {
				return v.Text
			}
			return ""
		}
		id, kind := text("id"), text("type")
		switch {
		case item.IsNull() || item.Kind != document.Map:
			return fmt.Sprintf("has an entry %d that is no map", i+1), write
		case kind == "command":
			return fmt.Sprintf("has the input %q of type command, which only an editor can run", clip(id)), "write type: promptString, and let people enter it"
		case kind != "" && !slices.Contains(inputTypes, kind):
			return fmt.Sprintf("has the input %q of a type that is not known", clip(id)), oneOf(kind, inputTypes)
		case !isVarName(id):
			return fmt.Sprintf("has an input with the id %q", clip(id)), "use letters, digits, - and _, at most 64"
		case slices.ContainsFunc(*in, func(other Input) bool { return other.ID == id }):
			return fmt.Sprintf("has the input %q twice", id), "keep one of the two"
		case len(*in) == maxInputs:
			return fmt.Sprintf("has more than %d entries", maxInputs), "remove those that nothing uses"
		}
		*in = append(*in, Input{ID: id, Description: text("description"), Sensitive: strings.EqualFold(text("password"), "true")})
	}
	return "", ""
}

// variable is the input as a variable of a server that uses it.
func (in Input) variable() jackfield.Variable {
	return jackfield.Variable{Name: in.ID, Description: in.Description, Sensitive: in.Sensitive, Required: true}
}

// isVarName reports whether a variable or an input may be called so.
func isVarName(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '.') {
			return false
		}
	}
	return name != "" && len(name) <= 64
}
