package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// operations are all operations of the document, by method and path.
func (w *world) operations() map[string]*huma.Operation {
	all := map[string]*huma.Operation{}
	for path, item := range w.edge.huma.OpenAPI().Paths {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			if op := operation(item, method); op != nil {
				all[method+" "+path] = op
			}
		}
		if item.Patch != nil || item.Head != nil || item.Options != nil || item.Trace != nil {
			w.t.Errorf("%s has a method that no test knows", path)
		}
	}
	return all
}

func TestTheDocumentHasEveryRouteAndNoOther(t *testing.T) {
	w := newWorld(t)
	var routes []string
	for path, methods := range w.edge.routes.methods {
		for _, method := range methods {
			if method != http.MethodHead {
				routes = append(routes, method+" "+path)
			}
		}
	}
	documented := slices.Sorted(maps.Keys(w.operations()))
	if slices.Sort(routes); !slices.Equal(routes, documented) {
		t.Errorf("routes\n%s\ndocumented\n%s", strings.Join(routes, "\n"), strings.Join(documented, "\n"))
	}
	for _, want := range []string{
		"GET /servers", "POST /servers", "GET /servers/{name}", "PUT /servers/{name}", "DELETE /servers/{name}", "GET /definitions",
		"POST /servers/{name}/connect", "POST /servers/{name}/reset", "POST /servers/{name}/disconnect",
		"GET /servers/{name}/connections", "GET /connections", "GET /listings",
		"GET /servers/{name}/variables", "PUT /servers/{name}/variables", "DELETE /servers/{name}/variables",
		"GET /servers/{name}/variables/{variable}", "PUT /servers/{name}/variables/{variable}", "DELETE /servers/{name}/variables/{variable}",
		"GET /keys", "POST /keys", "GET /keys/{id}", "DELETE /keys/{id}",
		"GET /teams", "POST /teams", "GET /teams/{id}", "PUT /teams/{id}", "DELETE /teams/{id}",
		"GET /teams/{id}/members", "PUT /teams/{id}/members/{subject}", "DELETE /teams/{id}/members/{subject}",
		"GET /users", "POST /users", "GET /users/{subject}", "PUT /users/{subject}", "DELETE /users/{subject}",
		"GET /me", "GET /events", "GET /export", "POST /import", "POST /backup", "GET /log", "GET /openapi.json", "GET /openapi.yaml",
	} {
		method, path, _ := strings.Cut(want, " ")
		if !slices.Contains(routes, method+" "+base+path) {
			t.Errorf("there is no %s", want)
		}
	}
	ids := map[string]bool{}
	for route, op := range w.operations() {
		if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" || len(op.Tags) != 1 || op.Responses["default"] == nil {
			t.Errorf("%s: %q, %q, %v", route, op.OperationID, op.Summary, op.Tags)
		}
		ids[op.OperationID] = true
	}
}

func TestTheDocumentIsServedInBothForms(t *testing.T) {
	w := newWorld(t)
	var doc struct {
		OpenAPI    string                    `json:"openapi"`
		Paths      map[string]map[string]any `json:"paths"`
		Components struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}
	out := w.want(200, "eve", "GET", "/openapi.json", nil)
	if out.into(&doc); doc.OpenAPI != "3.1.0" || len(doc.Paths) != len(w.edge.routes.methods) || doc.Components.Schemas["Problem"] == nil {
		t.Errorf("%.300s", out.Body)
	}
	if doc.Components.Schemas["ErrorModel"] != nil {
		t.Error("the document has huma's own errors")
	}
	if refs := strings.Split(out.Body.String(), `"#/components/schemas/`); len(refs) > 1 {
		for _, ref := range refs[1:] {
			if name, _, _ := strings.Cut(ref, `"`); doc.Components.Schemas[name] == nil {
				t.Errorf("there is no schema %s", name)
			}
		}
	}
	if text := w.want(200, "eve", "GET", "/openapi.yaml", nil).Body.String(); !strings.Contains(text, "openapi: 3.1.0") || !strings.Contains(text, "/api/v1/servers:") {
		t.Errorf("%.300s", text)
	}
	w.want(401, "", "GET", "/openapi.json", nil)
	if body := w.want(200, "eve", "GET", "/me", nil).Body.String(); strings.Contains(body, "$schema") {
		t.Error(body)
	}
}

// inputs visits the schema of every field of every parameter and body.
func (w *world) inputs(visit func(route, field string, s *huma.Schema)) {
	schemas := w.edge.huma.OpenAPI().Components.Schemas
	var walk func(route, field string, s *huma.Schema)
	walk = func(route, field string, s *huma.Schema) {
		if s.Ref != "" {
			s = schemas.SchemaFromRef(s.Ref)
		}
		visit(route, field, s)
		for name, p := range s.Properties {
			walk(route, field+"."+name, p)
		}
		if s.Items != nil {
			walk(route, field+"[]", s.Items)
		}
		if more, ok := s.AdditionalProperties.(*huma.Schema); ok {
			walk(route, field+".*", more)
		}
	}
	for route, op := range w.operations() {
		for _, p := range op.Parameters {
			walk(route, p.In+"."+p.Name, p.Schema)
		}
		if op.RequestBody != nil && op.OperationID != "import" { // whose items are checked one by one
			walk(route, "body", op.RequestBody.Content["application/json"].Schema)
		}
	}
}

func TestEveryFieldThatIsSentHasBounds(t *testing.T) {
	w := newWorld(t)
	n := 0
	w.inputs(func(route, field string, s *huma.Schema) {
		n++
		bounded := true
		switch {
		case s.Type == huma.TypeString:
			bounded = s.MaxLength != nil || len(s.Enum) > 0 || s.Format == "date-time" || field == "body.values.*" // at most maxValue, says internal/credentials
		case s.Type == huma.TypeInteger:
			bounded = s.Minimum != nil
		case s.Type == huma.TypeArray:
			bounded = s.MaxItems != nil
		case s.Type == huma.TypeObject && s.AdditionalProperties != false && field != "body.definition": // at most maxDefinition
			bounded = s.MaxProperties != nil
		}
		if !bounded {
			t.Errorf("%s: %s has no bound", route, field)
		}
	})
	if n < 100 {
		t.Errorf("only %d fields were looked at", n)
	}
}

// some fills a path of the document with names.
var some = strings.NewReplacer(base, "", "{name}", "x", "{variable}", "KEY", "{id}", "data", "{subject}", "bob")

// valid are bodies that could be taken, by operation.
var valid = map[string]string{
	"make-server":   `{"name": "x", "definition": {"url": "https://example.com/mcp"}}`,
	"edit-server":   `{"definition": {"url": "https://example.com/mcp"}}`,
	"set-variables": `{"values": {"KEY": "1"}}`,
	"set-variable":  `{"value": "1"}`,
	"make-key":      `{"name": "x", "user": "u", "role": "user", "teams": ["data"], "servers": ["s"], "expiresAt": "2999-01-01T00:00:00Z"}`,
	"make-team":     `{"id": "x", "title": "t", "description": "d"}`,
	"edit-team":     `{"title": "t", "description": "d"}`,
	"make-user":     `{"subject": "x", "name": "n", "email": "a@example.com", "role": "user", "teams": ["data"], "disabled": false}`,
	"edit-user":     `{"name": "n", "email": "a@example.com", "role": "user", "teams": ["data"], "disabled": false}`,
	"import":        `{"jackfield": 1, "exportedAt": "2026-01-01T00:00:00Z", "teams": [], "users": [], "definitions": []}`,
}

// TestEveryFieldIsRefusedBeyondItsBounds sends each field of each body as it may not
// be, and at its bounds, as an admin.
func TestEveryFieldIsRefusedBeyondItsBounds(t *testing.T) {
	w := newWorld(t)
	tried := 0
	for route, op := range w.operations() {
		if op.RequestBody == nil || op.OperationID == "import" {
			continue
		}
		method, path, _ := strings.Cut(route, " ")
		path = some.Replace(path)
		schemas := w.edge.huma.OpenAPI().Components.Schemas
		s := op.RequestBody.Content["application/json"].Schema
		if s.Ref != "" {
			s = schemas.SchemaFromRef(s.Ref)
		}
		send := func(field string, value any) reply {
			tried++
			var body map[string]any
			if err := json.Unmarshal([]byte(valid[op.OperationID]), &body); err != nil {
				t.Fatal(op.OperationID, err)
			}
			body[field] = value
			return w.ask("root", method, path, body, "If-Match", "*")
		}
		refused := func(field string, value any) {
			t.Helper()
			out := send(field, value)
			if out.Code != 400 {
				t.Errorf("%s: %s = %.60v: %d %s", route, field, value, out.Code, out.Body)
				return
			}
			p := out.problem()
			if !slices.ContainsFunc(p.Errors, func(v Violation) bool { return strings.Contains(v.Location+v.Message, field) }) {
				t.Errorf("%s: %s = %.60v: %+v does not name it", route, field, value, p)
			}
		}
		refused("unknown", "x")
		refused("Name", "x") // names are as they are written
		for field, p := range s.Properties {
			w.beyond(p, func(value any) { refused(field, value) }, func(value any) {
				if out := send(field, value); strings.Contains(out.Body.String(), "expected ") {
					t.Errorf("%s: %s = %.60v: %d %s", route, field, value, out.Code, out.Body)
				}
			})
		}
	}
	if tried < 100 {
		t.Errorf("only %d values were tried", tried)
	}
}

// beyond calls bad with values that a schema refuses, and good with those at its
// bounds.
func (w *world) beyond(s *huma.Schema, bad, good func(any)) {
	switch s.Type {
	case huma.TypeString:
		bad(7)
		bad([]any{"x"})
		switch {
		case len(s.Enum) > 0:
			bad("root")
			bad("Admin")
		case s.Format == "date-time":
			bad("tomorrow")
			bad("2999-13-01T00:00:00Z")
		default:
			bad(strings.Repeat("x", *s.MaxLength+1))
			bad(strings.Repeat("ü", *s.MaxLength+1))
			good(strings.Repeat("x", *s.MaxLength))
		}
		if s.MinLength != nil {
			bad("")
		}
	case huma.TypeBoolean:
		bad("true")
		bad(1)
	case huma.TypeArray:
		bad("data")
		bad([]any{1})
		bad([]any{""})
		bad(slices.Repeat([]any{"x"}, *s.MaxItems+1))
		bad([]any{strings.Repeat("x", *s.Items.MaxLength+1)})
		good(slices.Repeat([]any{"x"}, *s.MaxItems))
	case huma.TypeObject:
		bad("x")
		bad([]any{})
		if s.MaxProperties != nil {
			many := map[string]any{}
			for i := range *s.MaxProperties + 1 {
				many[fmt.Sprint("v", i)] = "1"
			}
			bad(many)
			bad(map[string]any{"KEY": 7})
		}
	}
}

func TestEveryParameterIsRefusedBeyondItsBounds(t *testing.T) {
	w := newWorld(t)
	tried := 0
	for route, op := range w.operations() {
		method, path, _ := strings.Cut(route, " ")
		for _, p := range op.Parameters {
			var bad []string
			switch {
			case p.Schema.Type == huma.TypeInteger && p.Schema.Maximum != nil:
				bad = []string{"0", "-1", fmt.Sprint(int(*p.Schema.Maximum) + 1), "1e2", "x", "9999999999999999999999"}
			case p.Schema.Type == huma.TypeInteger:
				bad = []string{"-1", "x", "18446744073709551616"}
			case p.Schema.Type == huma.TypeBoolean:
				bad = []string{"yes", "2"}
			case len(p.Schema.Enum) > 0:
				bad = []string{"apples"}
			default:
				bad = []string{strings.Repeat("x", *p.Schema.MaxLength+1)}
			}
			for _, value := range bad {
				tried++
				at := some
				var header []string
				switch p.In {
				case "path":
					at = strings.NewReplacer(base, "", "{"+p.Name+"}", value, "{name}", "x", "{variable}", "KEY", "{id}", "data", "{subject}", "bob")
				case "header":
					header = []string{p.Name, value}
				}
				target := at.Replace(path)
				if p.In == "query" {
					target += "?" + p.Name + "=" + value
				}
				var body any
				if op.RequestBody != nil {
					body = valid[op.OperationID]
				}
				out := w.ask("root", method, target, body, header...)
				if out.Code != 400 || !strings.Contains(out.Body.String(), p.In+"."+p.Name) {
					t.Errorf("%s: %s = %.40s: %d %s", route, p.Name, value, out.Code, out.Body)
				}
			}
		}
		if method == "GET" && op.OperationID != "events" {
			if out := w.ask("root", method, some.Replace(path)+"?nope=1", nil); out.Code != 400 {
				t.Errorf("%s takes an unknown parameter: %d", route, out.Code)
			}
		}
	}
	if tried < 60 {
		t.Errorf("only %d values were tried", tried)
	}
}
