package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// offer is what one demo server has to offer. Functions that are nil stand for
// kinds of things that the server does not have.
type offer struct {
	name, title, description, instructions string

	tools     []tool
	prompts   []prompt
	resources func() []object // as listed, in a stable order
	templates []object
	read      func(uri string) (object, bool)        // one entry of contents
	complete  func(r reference, a argument) []string // every value that fits
}

// prompt is one prompt.
type prompt struct {
	name  string
	entry object // as listed
	get   func(args map[string]string) (object, error)
}

// reference and argument are what a completion is for.
type reference struct {
	Type string `json:"type"`
	Name string `json:"name"`
	URI  string `json:"uri"`
}

type argument struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

const (
	staticTTL = 300_000 // milliseconds that a list which never changes may be kept
	pageSize  = 100
)

func (o *offer) capabilities() object {
	all := object{"tools": object{}}
	if o.prompts != nil {
		all["prompts"] = object{}
	}
	if o.resources != nil {
		all["resources"] = object{"listChanged": true, "subscribe": true}
		all["logging"] = object{}
	}
	if o.complete != nil {
		all["completions"] = object{}
	}
	return all
}

func (c *conn) serverInfo() object {
	return object{"name": "jackfield-demo-" + c.offer.name, "title": c.offer.title, "version": c.o.Version}
}

// quick answers the methods that never wait.
func (c *conn) quick(k *call, method string, p *params) (object, error) {
	o := c.offer
	if !k.modern {
		switch method {
		case "initialize":
			return c.initialize(p)
		case "ping":
			return object{}, nil
		}
	}
	switch method {
	case "server/discover":
		return c.discover(), nil
	case "tools/list":
		return k.page("tools", entries(o.tools, func(t tool) any { return t.entry }), p.Cursor, staticTTL, "public")
	case "prompts/list":
		return k.page("prompts", entries(o.prompts, func(p prompt) any { return p.entry }), p.Cursor, staticTTL, "public")
	case "prompts/get":
		return c.getPrompt(p)
	}
	if o.resources == nil {
		return nil, noMethod(method)
	}
	switch method {
	case "resources/list":
		return k.page("resources", entries(o.resources(), asIs), p.Cursor, 0, "private")
	case "resources/templates/list":
		return k.page("resourceTemplates", entries(o.templates, asIs), p.Cursor, staticTTL, "public")
	case "resources/read":
		contents, ok := o.read(p.URI)
		if !ok {
			return nil, noResource(p.URI, k.modern)
		}
		return k.cached(object{"contents": []object{contents}}, 0, "private"), nil
	case "completion/complete":
		return c.completion(p)
	}
	if !k.modern {
		switch method {
		case "logging/setLevel":
			return c.setLevel(p.Level)
		case "resources/subscribe":
			return c.watch(p.URI, true)
		case "resources/unsubscribe":
			return c.watch(p.URI, false)
		}
	}
	return nil, noMethod(method)
}

func asIs(o object) any { return o }

func entries[T any](things []T, entry func(T) any) []any {
	all := make([]any, 0, len(things))
	for _, t := range things {
		all = append(all, entry(t))
	}
	return all
}

// page is one page of a list. A cursor is the index of the page's first entry.
func (k *call) page(member string, all []any, cursor string, ttl int, scope string) (object, error) {
	from := 0
	if cursor != "" {
		if _, err := fmt.Sscanf(cursor, "from-%d", &from); err != nil || from < 0 || from > len(all) {
			return nil, invalid("the cursor %q is not one of this list", cursor)
		}
	}
	to := min(from+pageSize, len(all))
	result := object{member: all[from:to]}
	if to < len(all) {
		result["nextCursor"] = fmt.Sprintf("from-%d", to)
	}
	return k.cached(result, ttl, scope), nil
}

func (k *call) cached(result object, ttl int, scope string) object {
	if !k.modern {
		return result
	}
	return cached(result, ttl, scope)
}

func cached(result object, ttl int, scope string) object {
	result["ttlMs"], result["cacheScope"] = ttl, scope
	return result
}

func noResource(uri string, modern bool) *wire.Error {
	e := invalid("there is no resource %q", uri)
	if !modern {
		e.Code = wire.CodeResourceNotFound
	}
	e.Data, _ = json.Marshal(object{"uri": uri}) // a string always marshals
	return e
}

func (c *conn) getPrompt(p *params) (object, error) {
	i := slices.IndexFunc(c.offer.prompts, func(q prompt) bool { return q.name == p.Name })
	if i < 0 {
		return nil, invalid("there is no prompt %q", p.Name)
	}
	var args map[string]string
	if len(p.Arguments) > 0 {
		if err := json.Unmarshal(p.Arguments, &args); err != nil {
			return nil, invalid("the arguments of a prompt are strings: %v", err)
		}
	}
	return c.offer.prompts[i].get(args)
}

func (c *conn) completion(p *params) (object, error) {
	if c.offer.complete == nil {
		return nil, noMethod("completion/complete")
	}
	var fit []string
	for _, v := range c.offer.complete(p.Ref, p.Argument) {
		if strings.HasPrefix(v, p.Argument.Value) {
			fit = append(fit, v)
		}
	}
	shown := append([]string{}, fit[:min(len(fit), pageSize)]...)
	return object{"completion": object{"values": shown, "total": len(fit), "hasMore": len(fit) > len(shown)}}, nil
}

// tool is one tool.
type tool struct {
	name  string
	entry object // as listed
	run   func(ctx context.Context, k *call, args wire.Raw) (object, error)
}

// hints are a tool's annotations.
type hints struct {
	changes     bool // it changes something
	destructive bool // what it changes may be lost
	repeatable  bool // doing it twice is the same as doing it once
}

// reply is what a tool answers: text for the model, and the same as data.
type reply[Out any] struct {
	text  string
	data  Out
	links []object // resource links
}

// define makes a tool whose schemas come from the types: json tags name the
// members, jsonschema tags describe them, enum and default tags narrow them. An
// error that run returns is told to the model, as a result with isError.
func define[In, Out any](name, title, description string, h hints, run func(context.Context, *call, In) (reply[Out], error)) tool {
	input := schemaFor[In]()
	checked, err := input.Resolve(nil)
	if err != nil {
		panic("demo: " + name + ": " + err.Error()) // our own types; every test would see it
	}
	entry := object{
		"name": name, "title": title, "description": description,
		"inputSchema": input, "outputSchema": schemaFor[Out](),
		"annotations": object{
			"title": title, "readOnlyHint": !h.changes, "destructiveHint": h.destructive,
			"idempotentHint": h.repeatable || !h.changes, "openWorldHint": false,
		},
	}
	return tool{name: name, entry: entry, run: func(ctx context.Context, k *call, raw wire.Raw) (object, error) {
		if len(raw) == 0 || string(raw) == "null" {
			raw = wire.Raw("{}")
		}
		var loose any
		if err := json.Unmarshal(raw, &loose); err != nil {
			return nil, invalid("the arguments of %s cannot be read: %v", name, err)
		}
		if err := checked.Validate(loose); err != nil {
			return toolError(fmt.Errorf("the arguments of %s are wrong: %w", name, err)), nil
		}
		var in In
		if err := json.Unmarshal(raw, &in); err != nil {
			return toolError(fmt.Errorf("the arguments of %s are wrong: %w", name, err)), nil
		}
		r, err := run(ctx, k, in)
		var q *inputRequired
		switch {
		case errors.As(err, &q):
			return q.result(), nil
		case err != nil:
			return toolError(err), nil
		}
		content := []object{{"type": "text", "text": r.text}}
		return object{"content": append(content, r.links...), "structuredContent": r.data}, nil
	}}
}

func toolError(err error) object {
	return object{"content": []object{{"type": "text", "text": err.Error()}}, "isError": true}
}

func (c *conn) callTool(ctx context.Context, k *call, p *params) (object, error) {
	i := slices.IndexFunc(c.offer.tools, func(t tool) bool { return t.name == p.Name })
	if i < 0 {
		return nil, invalid("there is no tool %q", p.Name)
	}
	return c.offer.tools[i].run(ctx, k, p.Arguments)
}

// schemaFor derives a schema from T and its tags.
func schemaFor[T any]() *jsonschema.Schema {
	s, err := jsonschema.For[T](nil)
	if err != nil {
		panic("demo: " + err.Error()) // our own types; every test would see it
	}
	for f := range reflect.TypeFor[T]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		member := s.Properties[name]
		if values := f.Tag.Get("enum"); values != "" {
			for v := range strings.SplitSeq(values, ",") {
				member.Enum = append(member.Enum, v)
			}
		}
		if v := f.Tag.Get("default"); v != "" {
			member.Default = json.RawMessage(v)
		}
	}
	withoutNull(s)
	return s
}

// withoutNull takes back that pointers and slices may be null: left out is
// enough, and some models stumble over a list of types.
func withoutNull(s *jsonschema.Schema) {
	if len(s.Types) == 2 && s.Types[0] == "null" {
		s.Type, s.Types = s.Types[1], nil
	}
	for _, p := range s.Properties {
		withoutNull(p)
	}
	if s.Items != nil {
		withoutNull(s.Items)
	}
}

// confirm asks the person for a yes, in the call's era. It returns
// errCannotAsk when the client did not say that it can.
func (k *call) confirm(ctx context.Context, key, message, state string) (bool, error) {
	if !k.caps.Form {
		return false, errCannotAsk
	}
	question := object{"message": message, "requestedSchema": object{
		"type": "object",
		"properties": object{"confirm": object{
			"type": "boolean", "title": "Confirm", "description": "Yes, do it", "default": false,
		}},
		"required": []string{"confirm"},
	}}
	if k.modern || k.version == exchange.V20251125 {
		question["mode"] = "form"
	}
	raw := k.answers[key]
	switch {
	case !k.modern:
		var err error
		if raw, err = k.conn.askNow(ctx, "elicitation/create", question); err != nil {
			return false, fmt.Errorf("the question could not be asked: %w", err)
		}
	case raw == nil || k.state != state:
		return false, &inputRequired{
			key: key, state: state,
			question: object{"method": "elicitation/create", "params": question},
		}
	}
	var answer struct {
		Action  string `json:"action"`
		Content struct {
			Confirm bool `json:"confirm"`
		} `json:"content"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return false, fmt.Errorf("the answer cannot be read: %w", err)
	}
	return answer.Action == "accept" && answer.Content.Confirm, nil
}

var errCannotAsk = errors.New("this client cannot be asked for confirmation")
