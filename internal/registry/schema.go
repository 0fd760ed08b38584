package registry

import (
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// SchemaTypes are the schemas of the types that have a form of their own in the
// file.
func SchemaTypes() map[reflect.Type]*jsonschema.Schema {
	return map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[document.Duration](): {Types: []string{"string", "integer"}, Examples: []any{"30s", "5m", 30000}},
		reflect.TypeFor[document.Size]():     {Types: []string{"string", "integer"}, Examples: []any{"4MiB", 65536}},
		reflect.TypeFor[document.Rate]():     {Type: "string", Examples: []any{"600/m", "10/s"}},
		reflect.TypeFor[instructions]():      {Types: []string{"boolean", "string"}},
		reflect.TypeFor[people]():            {Type: "array", Items: &jsonschema.Schema{Type: "string", Pattern: "^(team|user):."}},
		reflect.TypeFor[overlayMap]():        {Type: "object", AdditionalProperties: &jsonschema.Schema{Ref: "#/$defs/server"}},
		reflect.TypeFor[Inputs](): {Type: "array", Items: &jsonschema.Schema{
			Type: "object", Required: []string{"id", "type"},
			Properties: map[string]*jsonschema.Schema{
				"id":          {Type: "string", Description: "What ${input:ID} names."},
				"type":        {Type: "string", Enum: anys(inputTypes)},
				"description": {Type: "string", Description: "What people are asked for."},
				"password":    {Type: "boolean", Description: "It is never shown again."},
			},
		}},
	}
}

// EntrySchema is the schema of one server's definition. The fields of other
// products are in it as deprecated ones, so that a pasted file stays valid.
func EntrySchema() (*jsonschema.Schema, error) {
	s, err := jsonschema.For[Entry](&jsonschema.ForOptions{TypeSchemas: SchemaTypes()})
	if err != nil {
		return nil, err
	}
	Open(s)
	s.Properties["sharing"].Enum = anys(sharings)
	s.Properties["onSessionLoss"].Enum = anys(sessionLosses)
	s.Properties["type"].Enum = anys([]string{"stdio", "http", "streamable-http", "streamableHttp", "sse"})
	value := &jsonschema.Schema{Types: []string{"string", "number", "boolean"}}
	for _, key := range []string{"env", "headers"} {
		s.Properties[key].AdditionalProperties = value
	}
	s.Properties["args"].Items = value
	for key, other := range ignored {
		s.Properties[key] = &jsonschema.Schema{
			Deprecated:  true,
			Description: "Ignored. A field of " + other.product + "; " + other.meaning + ".",
		}
	}
	return s, nil
}

// Open allows what every map of the file may hold besides its settings: keys
// that begin with x-, for anchors and remarks. Nor is a setting without a value
// wrong.
func Open(s *jsonschema.Schema) {
	for _, p := range s.Properties {
		if p.Properties != nil {
			Open(p)
		}
	}
	s.PatternProperties = map[string]*jsonschema.Schema{"^x-": {}}
	if s.Types != nil && s.Type == "" { // a pointer's "null or object"
		s.Types, s.Type = nil, "object"
	}
}

func anys(texts []string) []any {
	out := make([]any, 0, len(texts))
	for _, t := range texts {
		out = append(out, t)
	}
	return out
}
