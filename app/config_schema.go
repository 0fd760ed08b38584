package app

import (
	"bytes"
	"encoding/json"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/jackfield-dev/jackfield/internal/registry"
)

// Schema is the JSON Schema (2020-12) of the configuration file, made from the
// types that Load reads it into. Editors take it for completion and checks.
func Schema() ([]byte, error) {
	types := registry.SchemaTypes()
	entry, err := registry.EntrySchema()
	if err != nil {
		return nil, err
	}
	types[reflect.TypeFor[serverMap]()] = &jsonschema.Schema{
		Type:                 "object",
		AdditionalProperties: &jsonschema.Schema{Ref: "#/$defs/server"},
	}
	s, err := jsonschema.For[configFile](&jsonschema.ForOptions{TypeSchemas: types})
	if err != nil {
		return nil, err
	}
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.Title = "Jackfield configuration"
	s.Defs = map[string]*jsonschema.Schema{"server": entry}
	registry.Open(s)
	for key, meaning := range elsewhere {
		s.Properties[key] = &jsonschema.Schema{Deprecated: true, Description: "Ignored: " + meaning + "."}
	}
	log := s.Properties["log"].Properties
	log["level"].Enum = []any{"debug", "info", "warn", "error"}
	log["format"].Enum = []any{"text", "json"}

	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
