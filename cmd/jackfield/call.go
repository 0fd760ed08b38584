package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/upstream"
	"github.com/jackfield-dev/jackfield/wire"
)

const (
	maxArguments = 4 << 20 // bytes; what the gateway takes by default
	maxRounds    = 10      // of questions in one call
)

// calling is one call on the command line.
type calling struct {
	reach
	server, tool string
	pairs        []string // --arg k=v
	object       string   // the arguments as JSON; empty: from pairs
	legacy       bool
	logLevel     string
	timeout      time.Duration
}

// jsonArg is --json of call: a switch as everywhere, and the arguments when it is
// given some.
type jsonArg struct {
	shell  *shell
	object *string
}

func (j jsonArg) String() string   { return "" }
func (j jsonArg) Type() string     { return "" }
func (j jsonArg) IsBoolFlag() bool { return true }

func (j jsonArg) Set(text string) error {
	j.shell.json = text != "false"
	if text != "true" && text != "false" {
		*j.object = text
	}
	return nil
}

func (s *shell) callCommand() *cobra.Command {
	var c calling
	cmd := &cobra.Command{
		Use:   "call SERVER TOOL [--arg NAME=VALUE]... [JSON]",
		Short: "Call a tool through a gateway that runs",
		Long: `Calls a tool and prints what it answers. The arguments come one by one, in the
types that the tool's schema asks for, or all at once as a JSON object; with - the
object is read from stdin.

  jackfield call text hash --arg text=abc --arg algorithm=md5
  jackfield call notes add_note --arg title=Milk --arg tags=shop --arg tags=soon
  jackfield call text hash '{"text": "abc"}'
  jackfield call text hash --json '{"text": "abc"}'   # JSON in, JSON out

On a terminal, progress is shown while the call is under way, and what the server
asks is asked here. Exit code 4 when the tool says that it failed.`,
		Args: func(cmd *cobra.Command, given []string) error { return c.positional(cmd, given) },
		RunE: func(cmd *cobra.Command, _ []string) error { return s.call(cmd.Context(), &c) },

		ValidArgsFunction: s.completeServers(&c.reach, 2),
	}
	c.flags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&c.pairs, "arg", nil, "an argument as `NAME=VALUE`; repeat a NAME for a list")
	f.Var(jsonArg{s, &c.object}, "json", "print the answer as JSON; may be followed by the arguments as a JSON object")
	f.Lookup("json").NoOptDefVal = "true"
	f.BoolVar(&c.legacy, "legacy", false, "open a session, as clients before 2026-07-28 do; for servers of that time that ask questions")
	f.StringVar(&c.logLevel, "log", "", "show the server's log messages of this level and above: debug, info, notice, warning, error …")
	f.DurationVar(&c.timeout, "timeout", 15*time.Minute, "how long to wait for the answer, questions included")
	complete(cmd, "arg", s.completeArguments(&c.reach))
	complete(cmd, "log", oneOf("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"))
	return cmd
}

// positional takes SERVER, TOOL and the arguments as JSON, which may stand
// anywhere behind --json.
func (c *calling) positional(cmd *cobra.Command, given []string) error {
	var names []string
	for _, g := range given {
		if !strings.HasPrefix(strings.TrimSpace(g), "{") && g != "-" {
			names = append(names, g)
			continue
		}
		if c.object != "" {
			return usagef("the arguments stand twice: %s and %s", clip(c.object, 60), clip(g, 60))
		}
		c.object = g
	}
	switch {
	case len(names) < 2:
		return usagef("something is missing; use %s", useLine(cmd))
	case len(names) > 2:
		return usagef("%.80q is too much; an argument is written as --arg NAME=VALUE", names[2])
	case c.object != "" && len(c.pairs) > 0:
		return usagef("use --arg or JSON for the arguments, not both")
	case c.timeout <= 0:
		return usagef("--timeout must be more than nothing, such as 30s")
	}
	c.server, c.tool = names[0], names[1]
	return nil
}

func (s *shell) call(ctx context.Context, c *calling) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout,
		jackfield.Errorf(jackfield.Unavailable, "%s/%s did not answer within %v; give it more with --timeout", c.server, c.tool, c.timeout))
	defer cancel()
	err := s.callWithin(ctx, c)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (s *shell) callWithin(ctx context.Context, c *calling) error {
	gateway, err := s.client(c.reach)
	if err != nil {
		return err
	}
	status, err := gateway.server(ctx, c.server)
	if err == nil {
		err = usable(status)
	}
	if err != nil {
		return err
	}
	line := s.live()
	stop := line.wait(func() string { return "waiting for " + c.server + "/" + c.tool })
	defer stop()
	caps := s.capabilities()
	var known schemaOf
	conn, err := gateway.mcp(ctx, c.server, caps, c.legacy, known.headers)
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	known.learn(ctx, conn, c.tool)
	arguments, err := s.arguments(c, &known)
	if err != nil {
		return err
	}
	result, err := s.ask(ctx, conn, c, arguments, caps, line)
	line.clear()
	if err != nil {
		return known.explain(c, err)
	}
	return s.printResult(c, result)
}

// schemaOf is what the gateway says of the tool that is called. Without it a call
// is still tried: the gateway knows best what it lets through.
type schemaOf struct {
	input   schema
	found   bool
	others  []string // what else the server offers
	mirrors []upstream.ParamHeader
}

func (k *schemaOf) learn(ctx context.Context, conn *upstream.Conn, name string) {
	list, err := conn.List(ctx, "tools/list")
	if err != nil {
		return // the call itself will say why
	}
	for _, raw := range list.Items {
		switch t, err := parseTool(raw); {
		case err != nil:
		case t.Name == name:
			k.input, k.found, k.mirrors = t.InputSchema, true, t.InputSchema.mirrors()
		default:
			k.others = append(k.others, t.Name)
		}
	}
}

const mostNamed = 20 // tools in one message

// explain adds to the gateway's word on a tool that is not there what is.
func (k *schemaOf) explain(c *calling, err error) error {
	if k.found || len(k.others) == 0 || jackfield.CodeOf(err) != jackfield.Invalid {
		return err
	}
	return noSuchTool(c.server, c.tool, k.others)
}

// noSuchTool says what there is in place of a tool that is not there.
func noSuchTool(server, name string, others []string) error {
	names := strings.Join(others[:min(len(others), mostNamed)], ", ")
	if len(others) > mostNamed {
		names += fmt.Sprintf(" and %d more", len(others)-mostNamed)
	}
	return usagef("%s has no tool %q; it has %s", server, name, printable(names))
}

func (k *schemaOf) headers(string, string) []upstream.ParamHeader { return k.mirrors }

// arguments is the arguments object.
func (s *shell) arguments(c *calling, known *schemaOf) (wire.Raw, error) {
	object := c.object
	switch object {
	case "-":
		b, err := io.ReadAll(io.LimitReader(s.in, maxArguments+1))
		if err != nil {
			return nil, fmt.Errorf("read the arguments from stdin: %w", err)
		}
		object = string(b)
	case "":
		return pairs(c.pairs, known.input)
	}
	if len(object) > maxArguments {
		return nil, usagef("the arguments have more than %d bytes", maxArguments)
	}
	if _, err := wire.ScanObject(wire.Raw(object), nil); err != nil {
		return nil, usagef("the arguments are not a JSON object: %w", err)
	}
	return wire.Raw(object), nil
}

// pairs makes an object of NAME=VALUE pairs, in the types of the schema.
func pairs(all []string, s schema) (wire.Raw, error) {
	var names []string
	values := map[string][]string{}
	for _, pair := range all {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, usagef("--arg %.80q is not NAME=VALUE", pair)
		}
		if values[name] == nil {
			names = append(names, name)
		}
		values[name] = append(values[name], value)
	}
	object := wire.Raw("{")
	for i, name := range names {
		if i > 0 {
			object = append(object, ',')
		}
		property := s.property(name)
		raw, err := property.value(values[name])
		if err != nil {
			return nil, usagef("--arg %s: %w", name, err)
		}
		object = append(wire.AppendString(object, name), ':')
		object = append(object, raw...)
	}
	return append(object, '}'), nil
}

// value is what was written for a property as JSON.
func (s schema) value(written []string) (wire.Raw, error) {
	list := false
	for _, t := range s.Type {
		list = list || t == "array"
	}
	if list {
		if len(written) == 1 && strings.HasPrefix(strings.TrimSpace(written[0]), "[") && json.Valid([]byte(written[0])) {
			return wire.Raw(written[0]), nil
		}
		var items schema
		if s.Items != nil {
			items = *s.Items
		}
		array := wire.Raw("[")
		for i, w := range written {
			if i > 0 {
				array = append(array, ',')
			}
			item, err := items.scalar(w)
			if err != nil {
				return nil, err
			}
			array = append(array, item...)
		}
		return append(array, ']'), nil
	}
	if len(written) > 1 {
		return nil, fmt.Errorf("it is given %d times, and the tool does not want a list", len(written))
	}
	return s.scalar(written[0])
}

// scalar is one value as JSON, of the first of the schema's types that fits.
func (s schema) scalar(text string) (wire.Raw, error) {
	var wanted []string
	for _, t := range s.Type {
		switch t {
		case "string":
			return wire.AppendString(nil, text), nil
		case "boolean":
			if b, err := strconv.ParseBool(text); err == nil {
				return strconv.AppendBool(nil, b), nil
			}
			wanted = append(wanted, "true or false")
		case "integer", "number":
			if json.Valid([]byte(text)) && strings.ContainsAny(text[:1], "-0123456789") {
				return wire.Raw(text), nil
			}
			wanted = append(wanted, "a number")
		case "object":
			if strings.HasPrefix(strings.TrimSpace(text), "{") && json.Valid([]byte(text)) {
				return wire.Raw(text), nil
			}
			wanted = append(wanted, "a JSON object")
		case "null":
			if text == "null" {
				return wire.Raw(text), nil
			}
		}
	}
	if wanted != nil {
		return nil, fmt.Errorf("%.80q is not %s", text, strings.Join(wanted, " or "))
	}
	// The schema does not say: JSON if it is some, else text.
	if text != "" && text[0] != '"' && json.Valid([]byte(text)) {
		return wire.Raw(text), nil
	}
	return wire.AppendString(nil, text), nil
}

// ask sends the call, and sends it again with answers while the server asks.
func (s *shell) ask(ctx context.Context, conn *upstream.Conn, c *calling, arguments wire.Raw, declared string, line *live) (exchange.Result, error) {
	params := append(wire.AppendString(wire.Raw(`{"name":`), c.tool), `,"arguments":`...)
	params = append(append(params, arguments...), '}')
	o, err := wire.ScanObject(params, exchange.ParamKeys)
	if err != nil {
		return exchange.Result{}, err
	}
	caps, err := exchange.ParseCapabilities(wire.Raw(declared))
	if err != nil {
		return exchange.Result{}, err
	}
	caps.AsResult = true // a server of the past asks p instead
	r := &exchange.Request{
		Method: "tools/call", Params: o, Caps: caps,
		Meta: exchange.Meta{LogLevel: c.logLevel},
	}
	p := &person{shell: s, server: c.server, line: line, log: c.logLevel != ""}
	for range maxRounds {
		result, err := conn.Do(ctx, r, p)
		switch {
		case err != nil:
			return exchange.Result{}, err
		case result.Err != nil:
			return exchange.Result{}, rpcError(result.Err)
		case result.Input == nil:
			return result, nil
		}
		answers, err := p.Ask(ctx, result.Input.Questions)
		if err != nil {
			return exchange.Result{}, err
		}
		r.Resume = &exchange.Resume{State: result.Input.State, Answers: inputResponses(result.Input.Questions, answers)}
	}
	return exchange.Result{}, jackfield.Errorf(jackfield.Unavailable,
		"%s asks again and again: it was answered %d times and still does not go on", c.server, maxRounds)
}

func inputResponses(questions []exchange.Question, answers []exchange.Answer) wire.Raw {
	if len(questions) == 0 {
		return nil
	}
	object := wire.Raw("{")
	for i, q := range questions {
		if i > 0 {
			object = append(object, ',')
		}
		object = append(wire.AppendString(object, q.Key), ':')
		object = append(object, answers[i].Result...)
	}
	return append(object, '}')
}

// printResult prints what a tool answered: as JSON, or what there is for people.
func (s *shell) printResult(c *calling, result exchange.Result) error {
	var r struct {
		Content    []content `json:"content"`
		Structured wire.Raw  `json:"structuredContent"`
		IsError    bool      `json:"isError"`
	}
	if err := json.Unmarshal(result.Raw, &r); err != nil {
		return jackfield.Errorf(jackfield.Internal, "the answer of %s/%s cannot be read: %w", c.server, c.tool, err)
	}
	if s.json {
		var indented bytes.Buffer
		if err := json.Indent(&indented, result.Raw, "", "  "); err != nil {
			return err
		}
		fmt.Fprintln(s.out, indented.String())
	} else {
		out := s.out
		if r.IsError {
			out = s.err
			fmt.Fprintf(out, "jackfield: %s/%s says that it failed: ", c.server, c.tool)
		}
		s.printContent(out, r.Content, r.Structured)
	}
	if r.IsError {
		return &exitError{code: exitToolError}
	}
	return nil
}

// content is one block of a tool's answer.
type content struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	MimeType string `json:"mimeType"`
	Data     string `json:"data"`
	URI      string `json:"uri"`
	Name     string `json:"name"`
	Resource struct {
		URI  string  `json:"uri"`
		Text *string `json:"text"`
	} `json:"resource"`
}

func (s *shell) printContent(out io.Writer, blocks []content, structured wire.Raw) {
	_, onTerminal := s.terminal(out)
	for _, b := range blocks {
		text := ""
		switch {
		case b.Type == "text":
			text = b.Text
		case b.Type == "resource" && b.Resource.Text != nil:
			text = *b.Resource.Text
		case b.Type == "resource":
			text = "[resource " + b.Resource.URI + "; see it with --json]"
		case b.Type == "resource_link":
			text = strings.TrimSpace("→ " + b.URI + " " + b.Name)
		case b.Data != "":
			text = fmt.Sprintf("[%s, %s, %d bytes; see it with --json]", b.Type, b.MimeType, len(b.Data)/4*3)
		default:
			text = "[" + b.Type + "; see it with --json]"
		}
		if onTerminal {
			text = printableLines(text)
		}
		fmt.Fprintln(out, strings.TrimSuffix(text, "\n"))
	}
	if len(blocks) == 0 && structured != nil {
		fmt.Fprintln(out, string(structured))
	} else if len(blocks) == 0 {
		fmt.Fprintln(out, "(nothing)")
	}
}
