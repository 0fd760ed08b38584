package gateway

import (
	"bytes"
	"encoding/json"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

var (
	formKeys   = []string{"requestedSchema"}
	schemaKeys = []string{"properties"}
	choiceKeys = []string{"type", "oneOf", "enum", "enumNames"}
)

// inRevision is a question in the words of a client's revision. 2025-06-18 writes a
// choice with titles as two lists, 2025-11-25 as one of pairs; the answer is the
// same. What cannot be read passes as it is.
func inRevision(version string, q exchange.Question) exchange.Question {
	if version >= exchange.V20251125 || q.Method != "elicitation/create" || !bytes.Contains(q.Params, []byte(`"oneOf"`)) {
		return q
	}
	form, err := wire.ScanObject(q.Params, formKeys)
	if err != nil {
		return q
	}
	schema, err := wire.ScanObject(form.Get("requestedSchema"), schemaKeys)
	if err != nil {
		return q
	}
	properties, ok := eachMember(schema.Get("properties"), withNames)
	if !ok {
		return q
	}
	schema.Set("properties", properties)
	form.Set("requestedSchema", schema.Raw())
	q.Params = form.Raw()
	return q
}

// withNames is one field of a form, its choices as two lists.
func withNames(raw wire.Raw) wire.Raw {
	o, err := wire.ScanObject(raw, choiceKeys)
	if err != nil || o.Get("oneOf") == nil || string(o.Get("type")) != `"string"` {
		return raw
	}
	var pairs []struct {
		Const *string `json:"const"`
		Title string  `json:"title"`
	}
	if json.Unmarshal(o.Get("oneOf"), &pairs) != nil {
		return raw
	}
	values, names := []byte{'['}, []byte{'['}
	for i, p := range pairs {
		if p.Const == nil {
			return raw
		}
		if i > 0 {
			values, names = append(values, ','), append(names, ',')
		}
		if p.Title == "" {
			p.Title = *p.Const
		}
		values, names = wire.AppendString(values, *p.Const), wire.AppendString(names, p.Title)
	}
	o.Delete("oneOf")
	o.Set("enum", append(values, ']'))
	o.Set("enumNames", append(names, ']'))
	return o.Raw()
}

// eachMember rewrites the values of an object, whose order stays: people see it.
func eachMember(raw wire.Raw, rewrite func(wire.Raw) wire.Raw) (wire.Raw, bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	out := wire.Raw{'{'}
	for d.More() {
		key, err := d.Token()
		var value wire.Raw
		if err != nil || d.Decode(&value) != nil {
			return nil, false
		}
		name, _ := key.(string)
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(wire.AppendString(out, name), ':')
		out = append(out, rewrite(value)...)
	}
	return append(out, '}'), true
}
