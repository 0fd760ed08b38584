package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/upstream"
	"github.com/jackfield-dev/jackfield/wire"
)

const listWindow = 3 // servers that are asked for their tools at a time

func (s *shell) toolsCommand() *cobra.Command {
	var r reach
	var q query
	cmd := &cobra.Command{
		Use:   "tools [SERVER [TOOL]]",
		Short: "List the tools of all servers, of one, or tell everything about one tool",
		Long: `Lists tools under their servers' own names, as call takes them. AGE is how long
ago the server listed them; they are served also while it is down.

  jackfield tools                        of all servers
  jackfield tools --search "create issue"  with these words in name or description
  jackfield tools github                 of one server
  jackfield tools github create_issue    one tool, with all its arguments
  jackfield tools github create_issue --schema   its JSON Schema`,
		Args:              args(0, 2),
		ValidArgsFunction: s.completeServers(&r, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.schema && len(args) < 2 {
				return usagef("--schema is for one tool; use jackfield tools SERVER TOOL --schema")
			}
			if q.search != "" && len(args) == 2 {
				return usagef("--search looks through many tools; leave out %q", args[1])
			}
			c, err := s.client(r)
			if err != nil {
				return err
			}
			switch len(args) {
			case 0:
				return s.allTools(cmd.Context(), c, q)
			case 1:
				return s.toolsOf(cmd.Context(), c, args[0], q)
			}
			return s.oneTool(cmd.Context(), c, args[0], args[1], q.schema)
		},
	}
	r.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&q.search, "search", "", "only tools with these `WORDS` in their name, title or description")
	f.BoolVar(&q.schema, "schema", false, "print the JSON Schema of the tool's arguments, and of its answer when it has one")
	return cmd
}

// query is what of the tools is asked for.
type query struct {
	search string
	schema bool
}

// finds reports whether all the words stand in what the tool says of itself.
func (q query) finds(server string, t tool) bool {
	text := strings.ToLower(server + "\n" + t.Name + "\n" + t.Title + "\n" + t.Description)
	for word := range strings.FieldsSeq(strings.ToLower(q.search)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// toolsOf lists the tools of one server.
func (s *shell) toolsOf(ctx context.Context, c *client, server string, q query) error {
	listed, err := s.listed(ctx, c, server)
	if err != nil {
		return err
	}
	return s.printTools([]toolList{listed}, q, false)
}

// listed is what one server lists, or why it lists nothing.
func (s *shell) listed(ctx context.Context, c *client, server string) (toolList, error) {
	stop := s.waiting("waiting for the tools of " + server)
	defer stop()
	status, err := c.server(ctx, server)
	if err == nil {
		err = usable(status)
	}
	if err != nil {
		return toolList{}, err
	}
	list := c.tools(ctx, server)
	if list.err == nil {
		ages(ctx, c, []*toolList{&list})
	}
	return list, list.err
}

// toolList is what one server lists.
type toolList struct {
	Server    string     `json:"server"`
	Tools     []wire.Raw `json:"tools"`               // exactly as the server wrote them
	Truncated string     `json:"truncated,omitempty"` // why some are missing
	Error     string     `json:"error,omitempty"`     // why all are

	FetchedAt  *time.Time `json:"fetchedAt,omitempty"`  // when they were listed
	AgeSeconds *int64     `json:"ageSeconds,omitempty"` // how long ago
	Old        string     `json:"old,omitempty"`        // why they could not be listed since

	err error
}

// ages adds what the gateway says of the age of each list. Without it the lists
// are as good.
func ages(ctx context.Context, c *client, lists []*toolList) {
	all, err := c.listings(ctx, "tools")
	if err != nil {
		return
	}
	for _, list := range lists {
		for _, l := range all {
			if l.Server == list.Server {
				list.FetchedAt, list.AgeSeconds, list.Old = l.FetchedAt, l.AgeSeconds, l.Error
			}
		}
	}
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
func (s *shell) allTools(ctx context.Context, c *client, q query) error {
	all, err := c.servers(ctx)
	if err != nil {
		return err
	}
	lists := make([]toolList, len(all.Servers))
	places := make(chan struct{}, listWindow)
	var asking sync.WaitGroup
	var done atomic.Int32
	stop := s.live().wait(func() string {
		return fmt.Sprintf("%d of %s have listed their tools", done.Load(), plural(len(lists), "server"))
	})
	defer stop()
	for i, status := range all.Servers {
		places <- struct{}{}
		asking.Go(func() {
			defer func() {
				done.Add(1)
				<-places
			}()
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
	known := make([]*toolList, len(lists))
	for i := range lists {
		known[i] = &lists[i]
	}
	ages(ctx, c, known)
	stop()
	return s.printTools(lists, q, true)
}

func (s *shell) printTools(lists []toolList, q query, many bool) error {
	for i := range lists {
		lists[i].narrow(q)
	}
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
		s.printToolTable(lists, q, many)
		for _, l := range failed {
			fmt.Fprintln(s.err, "jackfield: "+l.Error)
		}
	}
	if len(failed) > 0 {
		return &exitError{code: exitFailure}
	}
	return nil
}

// narrow leaves what was asked for.
func (l *toolList) narrow(q query) {
	if q.search == "" {
		return
	}
	l.Tools = slices.DeleteFunc(l.Tools, func(raw wire.Raw) bool {
		t, err := parseTool(raw)
		return err != nil || !q.finds(l.Server, t)
	})
}

func (s *shell) printToolTable(lists []toolList, q query, many bool) {
	t := table{head: []string{"SERVER", "TOOL", "ARGUMENTS", "AGE", "DESCRIPTION"}, most: map[int]int{0: 30, 1: 40, 2: 30}}
	for _, l := range lists {
		age := orDash(ageText(api.ListingStatus{AgeSeconds: l.AgeSeconds}))
		for _, raw := range l.Tools {
			one, err := parseTool(raw)
			if err != nil {
				continue // the gateway lists no tool without a name
			}
			t.row(text(l.Server), cell{one.Name, bold}, text(one.usage()), text(age), text(one.about()))
		}
	}
	switch {
	case len(t.rows) > 0:
		if !many {
			t.head = t.head[1:]
			t.most = map[int]int{0: 40, 1: 36}
			for i := range t.rows {
				t.rows[i] = t.rows[i][1:]
			}
		}
		s.print(t)
	case q.search != "":
		fmt.Fprintf(s.out, "No tool has %s in its name or description.\n", printable(strconv.Quote(q.search)))
	case len(lists) == 1 && lists[0].err == nil:
		fmt.Fprintf(s.out, "%s lists no tools.\n", printable(lists[0].Server))
	}
	for _, l := range lists {
		if l.Truncated != "" {
			fmt.Fprintf(s.err, "jackfield: the list of %s is not complete: %s\n", printable(l.Server), printable(l.Truncated))
		}
		if l.Old != "" && l.AgeSeconds != nil && l.err == nil {
			fmt.Fprintf(s.err, "jackfield: the list of %s is %s old, for it cannot be listed now: %s\n",
				printable(l.Server), ageText(api.ListingStatus{AgeSeconds: l.AgeSeconds}), printable(l.Old))
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
