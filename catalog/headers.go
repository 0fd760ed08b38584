package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackfield-dev/jackfield/wire"
)

// ParamHeader says that the argument at Path, property names from the outside
// in, travels in the header Mcp-Param-{Name} as well (2026-07-28,
// basic/transports, x-mcp-header).
type ParamHeader struct {
	Name string
	Path []string
}

const annotation = "x-mcp-header"

// paramHeaders finds the annotated arguments of a tool. An error says why a
// client that speaks HTTP must drop the tool.
func paramHeaders(tool wire.Raw) ([]ParamHeader, error) {
	if !bytes.Contains(tool, []byte("mcp-header")) {
		return nil, nil
	}
	var t struct {
		InputSchema any `json:"inputSchema"`
	}
	if err := json.Unmarshal(tool, &t); err != nil {
		return nil, err
	}
	var found []ParamHeader
	if err := annotated(t.InputSchema, nil, true, &found); err != nil {
		return nil, err
	}
	// The order of a map is nobody's order.
	slices.SortFunc(found, func(a, b ParamHeader) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(found); i++ {
		for _, f := range found[:i] {
			if strings.EqualFold(f.Name, found[i].Name) {
				return nil, fmt.Errorf("%s names %q twice", annotation, found[i].Name)
			}
		}
		if i >= maxParamHeaders {
			return nil, fmt.Errorf("%s stands more than %d times", annotation, maxParamHeaders)
		}
	}
	return found, nil
}

const maxParamHeaders = 64

// annotated walks a schema and collects its annotations. reachable: path leads to
// this schema through nothing but properties.
func annotated(schema any, path []string, reachable bool, found *[]ParamHeader) error {
	switch s := schema.(type) {
	case []any:
		for _, e := range s {
			if err := annotated(e, path, false, found); err != nil {
				return err
			}
		}
	case map[string]any:
		if a, ok := s[annotation]; ok {
			h, err := paramHeader(a, s["type"], path, reachable)
			if err != nil {
				return err
			}
			*found = append(*found, h)
		}
		for key, value := range s {
			if err := annotatedMember(key, value, path, reachable, found); err != nil {
				return err
			}
		}
	}
	return nil
}

func annotatedMember(key string, value any, path []string, reachable bool, found *[]ParamHeader) error {
	switch key {
	case annotation, "default", "const", "enum", "examples":
		return nil // data, not schemas
	case "properties", "patternProperties", "$defs", "definitions", "dependentSchemas":
		// The members are named by the schema's author; each value is a schema.
		members, _ := value.(map[string]any)
		for name, member := range members {
			inner := append(slices.Clone(path), name)
			if err := annotated(member, inner, reachable && key == "properties", found); err != nil {
				return err
			}
		}
		return nil
	}
	return annotated(value, path, false, found)
}

func paramHeader(value, kind any, path []string, reachable bool) (ParamHeader, error) {
	at := strings.Join(path, ".")
	name, ok := value.(string)
	switch {
	case !ok || name == "":
		return ParamHeader{}, fmt.Errorf("%s of %q is not a name", annotation, at)
	case !isToken(name):
		return ParamHeader{}, fmt.Errorf("%s of %q is %q, which cannot stand in a header's name", annotation, at, name)
	case !reachable || len(path) == 0:
		return ParamHeader{}, fmt.Errorf("%s %q stands where no single argument can be found", annotation, name)
	case kind != "string" && kind != "integer" && kind != "boolean":
		return ParamHeader{}, fmt.Errorf("%s of %q is on a value that is neither a string nor an integer nor a boolean", annotation, at)
	}
	return ParamHeader{Name: name, Path: path}, nil
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			continue
		}
		return false
	}
	return true
}
