package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/upstream"
	"github.com/jackfield-dev/jackfield/wire"
)

const listWindow = 3 // servers that are asked for their tools at a time

func (s *shell) toolsCommand() *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use:   "tools [SERVER]",
		Short: "List the tools of all servers, or of one, under the servers' own names",
		Args:  args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return s.allTools(cmd.Context(), c)
			}
			status, err := c.server(cmd.Context(), args[0])
			if err == nil {
				err = usable(status)
			}
			if err != nil {
				return err
			}
			listed := c.tools(cmd.Context(), args[0])
			if listed.err != nil {
				return listed.err
			}
			return s.printTools([]toolList{listed}, false)
		},
	}
	r.flags(cmd)
	return cmd
}

// toolList is what one server lists.
type toolList struct {
	Server    string     `json:"server"`
	Tools     []wire.Raw `json:"tools"`               // exactly as the server wrote them
	Truncated string     `json:"truncated,omitempty"` // why some are missing
	Error     string     `json:"error,omitempty"`     // why all are
	err       error
}

func (c *client) tools(ctx context.Context, server string) toolList {
	list := toolList{Server: server, Tools: []wire.Raw{}}
	conn, err := c.mcp(ctx, server, "{}", false, nil)
	if err != nil {
		return list.failed(err)
	}
	defer hangUp(ctx, conn)
	l, err := conn.List(ctx, "tools/list")
	if err != nil {
		return list.failed(err)
	}
	list.Tools, list.Truncated = append(list.Tools, l.Items...), l.Truncated
	return list
}

func (l toolList) failed(err error) toolList {
	l.err, l.Error = err, err.Error()
	return l
}

// allTools lists every server. Those that cannot be listed are told apart, and
// make it a failure.
func (s *shell) allTools(ctx context.Context, c *client) error {
	var all api.ServerList
	if err := c.get(ctx, "/api/v1/servers", &all); err != nil {
		return err
	}
	lists := make([]toolList, len(all.Servers))
	places := make(chan struct{}, listWindow)
	var asking sync.WaitGroup
	for i, status := range all.Servers {
		places <- struct{}{}
		asking.Go(func() {
			defer func() { <-places }()
			if err := usable(status); err != nil {
				lists[i] = toolList{Server: status.Name, Tools: []wire.Raw{}}.failed(err)
				return
			}
			lists[i] = c.tools(ctx, status.Name)
		})
	}
	asking.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.printTools(lists, true)
}

func (s *shell) printTools(lists []toolList, many bool) error {
	var failed []toolList
	for _, l := range lists {
		if l.err != nil {
			failed = append(failed, l)
		}
	}
	if s.json {
		if err := s.printJSON(struct {
			Servers []toolList `json:"servers"`
		}{lists}); err != nil {
			return err
		}
	} else {
		s.printToolTable(lists, many)
		for _, l := range failed {
			fmt.Fprintln(s.err, "jackfield: "+l.Error)
		}
	}
	if len(failed) > 0 {
		return &exitError{code: exitFailure}
	}
	return nil
}

func (s *shell) printToolTable(lists []toolList, many bool) {
	t := table{head: []string{"SERVER", "TOOL", "ARGUMENTS", "DESCRIPTION"}, most: map[int]int{0: 30, 1: 40, 2: 36}}
	for _, l := range lists {
		for _, raw := range l.Tools {
			tool, err := parseTool(raw)
			if err != nil {
				continue // the gateway lists no tool without a name
			}
			t.row(text(l.Server), cell{tool.Name, bold}, text(tool.usage()), text(tool.about()))
		}
	}
	if len(t.rows) == 0 {
		if len(lists) == 1 && lists[0].err == nil {
			fmt.Fprintf(s.out, "%s lists no tools.\n", printable(lists[0].Server))
		}
		return
	}
	if !many {
		t.head = t.head[1:]
		t.most = map[int]int{0: 40, 1: 36}
		for i := range t.rows {
			t.rows[i] = t.rows[i][1:]
		}
	}
	s.print(t)
	for _, l := range lists {
		if l.Truncated != "" {
			fmt.Fprintf(s.err, "jackfield: the list of %s is not complete: %s\n", printable(l.Server), printable(l.Truncated))
		}
	}
}

// tool is what people need to know of a tool.
type tool struct {
	Name        string `json:"name"`
	Title       string `json:"title"`
	Description string `json:"description"`
	InputSchema schema `json:"inputSchema"`
}

// schema is as much of a JSON Schema as a command line understands.
type schema struct {
	Type        oneOrMany   `json:"type"`
	Title       string      `json:"title"`
	Description string      `json:"description"`
	Properties  *properties `json:"properties"`
	Required    []string    `json:"required"`
	Items       *schema     `json:"items"`
	Enum        []any       `json:"enum"`
	OneOf       []constant  `json:"oneOf"`
	AnyOf       []constant  `json:"anyOf"`
	Default     any         `json:"default"`
	Header      string      `json:"x-mcp-header"`
}

// constant is one choice of an enumeration with titles.
type constant struct {
	Const any    `json:"const"`
	Title string `json:"title"`
}

// oneOrMany is a string, or an array of strings.
type oneOrMany []string

// UnmarshalJSON takes both, and anything else for nothing.
func (o *oneOrMany) UnmarshalJSON(b []byte) error { //nolint:unparam // json.Unmarshaler has an error
	var one string
	if json.Unmarshal(b, &one) == nil {
		*o = oneOrMany{one}
		return nil
	}
	var many []string
	if json.Unmarshal(b, &many) == nil {
		*o = many
	}
	return nil
}

// properties are the properties of a schema in the order in which they stand.
type properties struct {
	names []string
	by    map[string]schema
}

// UnmarshalJSON takes an object, and anything else for nothing.
func (p *properties) UnmarshalJSON(b []byte) error {
	var raw map[string]json.RawMessage
	if json.Unmarshal(b, &raw) != nil {
		return nil
	}
	p.by = make(map[string]schema, len(raw))
	dec := json.NewDecoder(bytes.NewReader(b))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		key, _ := name.(string)
		if _, twice := p.by[key]; !twice {
			p.names = append(p.names, key)
		}
		var s schema
		_ = json.Unmarshal(value, &s) // what does not fit says nothing
		p.by[key] = s
	}
	return nil
}

// all are the names of the properties, in order.
func (s schema) all() []string {
	if s.Properties == nil {
		return nil
	}
	return s.Properties.names
}

// property is what the schema says of one property; nothing, where it says
// nothing.
func (s schema) property(name string) schema {
	if s.Properties == nil {
		return schema{}
	}
	return s.Properties.by[name]
}

// mirrors are the arguments below path that travel in headers as well
// (2026-07-28, basic/transports).
func (s schema) mirrors(path ...string) []upstream.ParamHeader {
	var all []upstream.ParamHeader
	for _, name := range s.all() {
		property := s.property(name)
		below := append(slices.Clone(path), name)
		if property.Header != "" {
			all = append(all, upstream.ParamHeader{Name: property.Header, Path: below})
		}
		all = append(all, property.mirrors(below...)...)
	}
	return all
}

func parseTool(raw wire.Raw) (tool, error) {
	var t tool
	if err := json.Unmarshal(raw, &t); err != nil {
		return tool{}, err
	}
	if t.Name == "" {
		return tool{}, jackfield.Errorf(jackfield.Invalid, "a tool without a name")
	}
	return t, nil
}

// usage names the arguments, those in brackets that may be left out.
func (t tool) usage() string {
	var required, optional []string
	for _, name := range t.InputSchema.all() {
		if slices.Contains(t.InputSchema.Required, name) {
			required = append(required, name)
		} else {
			optional = append(optional, "["+name+"]")
		}
	}
	return orDash(strings.Join(append(required, optional...), " "))
}

// about is the first line of the description, else the title.
func (t tool) about() string {
	line, _, _ := strings.Cut(strings.TrimSpace(t.Description), "\n")
	if line == "" {
		line = t.Title
	}
	return line
}
