package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// gatewayFlag says where the gateway is on commands whose --url is a server's.
const gatewayFlag = "gateway"

// entryFlags are the members of a definition that have flags of their own; all others
// are reached by --set.
type entryFlags struct {
	text    map[string]*string // by the member's name
	headers []string
	env     []string
	vars    []string
	set     []string
	unset   []string
}

func (e *entryFlags) flags(f *pflag.FlagSet) {
	e.text = map[string]*string{
		"url":         f.String("url", "", "the server's `URL`"),
		"type":        f.String("type", "", "http, sse or stdio; else it is found out"),
		"title":       f.String("title", "", "what people see instead of the name"),
		"description": f.String("description", "", "what the server is for, in a sentence"),
	}
	f.StringArrayVar(&e.headers, "header", nil, "a header of every request, `NAME=VALUE`; NAME=- asks for the value")
	f.StringArrayVar(&e.vars, "var", nil, "a variable that each person enters, `NAME[=TITLE]`; used as {{var.NAME}}")
	f.StringArrayVar(&e.set, "set", nil, "any member, `PATH=VALUE`, such as tools.deny='[\"delete_*\"]'; PATH=- asks for the value")
}

// apply makes what the flags say in a definition. Secrets that are not on the command
// line are asked for.
func (e *entryFlags) apply(ctx context.Context, s *shell, n *document.Node) (*document.Node, error) {
	var err error
	put := func(p path, v *document.Node) {
		if err == nil {
			n, err = with(n, p, v)
		}
	}
	for _, name := range []string{"url", "type", "title", "description"} {
		if v := *e.text[name]; v != "" {
			put(path{name}, textNode(v))
		}
	}
	for _, pair := range []struct {
		flag, member string
		values       []string
	}{{"--header", "headers", e.headers}, {"--env", "env", e.env}} {
		for _, given := range pair.values {
			name, value, ok := cutPair(given)
			if !ok {
				return nil, usagef("%s %q is not NAME=VALUE", pair.flag, clip(given, 40))
			}
			if value, err = s.given(ctx, pair.member+"."+name, value); err != nil {
				return nil, err
			}
			put(path{pair.member, name}, textNode(value))
		}
	}
	for _, given := range e.vars {
		name, title, _ := strings.Cut(given, "=")
		v := &document.Node{Kind: document.Map}
		if title != "" {
			v, _ = with(v, path{"title"}, textNode(title)) // a map always takes it
		}
		put(path{"vars", name}, v)
	}
	for _, given := range e.set {
		where, value, ok := strings.Cut(given, "=")
		if !ok {
			return nil, usagef("--set %q is not PATH=VALUE", clip(given, 40))
		}
		p, wrong := parsePath(where)
		if wrong != nil {
			return nil, wrong
		}
		if value == "-" {
			if value, err = s.given(ctx, where, value); err != nil {
				return nil, err
			}
			put(p, textNode(value))
			continue
		}
		put(p, valueNode(value))
	}
	for _, where := range e.unset {
		p, wrong := parsePath(where)
		if wrong != nil {
			return nil, wrong
		}
		if at(n, p) == nil {
			return nil, usagef("--unset %s: there is nothing", p)
		}
		n = without(n, p)
	}
	return n, err
}

// cutPair reads NAME=VALUE, and NAME: VALUE as headers are often written.
func cutPair(given string) (name, value string, ok bool) {
	i := strings.IndexAny(given, "=:")
	if i <= 0 {
		return "", "", false
	}
	value = given[i+1:]
	if given[i] == ':' {
		value = strings.TrimLeft(value, " ")
	}
	return given[:i], value, true
}

// given is a value from the command line; for "-" the person is asked for it.
func (s *shell) given(ctx context.Context, what, value string) (string, error) {
	if value != "-" {
		return value, nil
	}
	value, err := s.secret(ctx, what)
	switch {
	case errors.Is(err, errRefused), err == nil && value == "":
		return "", usagef("%s: no value was given", what)
	}
	return value, err
}

// exposed are warnings about what a definition keeps as a secret although it stood on
// the command line.
func (e *entryFlags) exposed(n *document.Node) []string {
	var all []string
	look := func(p path, value string) {
		if kept := at(n, p); kept != nil && kept.Text == sealed && value != sealed && value != "-" {
			all = append(all, fmt.Sprintf("the value of %s stood on the command line, where others can read it; next time give - as the value, and you are asked for it", p))
		}
	}
	for member, values := range map[string][]string{"headers": e.headers, "env": e.env} {
		for _, given := range values {
			if name, value, ok := cutPair(given); ok {
				look(path{member, name}, value)
			}
		}
	}
	for _, given := range e.set {
		where, value, _ := strings.Cut(given, "=")
		if p, err := parsePath(where); err == nil {
			look(p, value)
		}
	}
	return all
}

// empty reports whether no flag says anything.
func (e *entryFlags) empty() bool {
	for _, v := range e.text {
		if *v != "" {
			return false
		}
	}
	return len(e.headers)+len(e.env)+len(e.vars)+len(e.set)+len(e.unset) == 0
}

func (s *shell) serverAddCommand() *cobra.Command {
	var r reach
	var e entryFlags
	var k consent
	var scope, file string
	cmd := &cobra.Command{
		Use:   "add NAME --url URL | add NAME -- COMMAND ARGS... | add [NAME] -f FILE",
		Short: "Define a server, or several from a file",
		Long: `Defines a server. It is shown first, and you are asked. Where nobody can be asked,
--yes does it, and --dry-run only shows it.

  jackfield server add github --url https://api.githubcopilot.com/mcp/ \
      --var TOKEN="GitHub token" --header 'Authorization=Bearer {{var.TOKEN}}'
  jackfield server add search --url https://mcp.example.com --header X-Key=- --scope team:data
  jackfield server add files -- npx -y @modelcontextprotocol/server-filesystem /srv
  jackfield server add -f .vscode/mcp.json        every server of a client's file
  echo '{"url": "https://…"}' | jackfield server add notes -f -

A header that is the same for everybody is best given as NAME=-, which asks for it,
so that it is in no history. Programs and private addresses are for whoever runs the
gateway; the gateway says so where they are not allowed. Without --scope it is
everybody's when you are an admin, else your own.`,
		Args: func(cmd *cobra.Command, given []string) error {
			if n := cmd.ArgsLenAtDash(); n >= 0 {
				given = given[:n]
			}
			least := 1
			if file != "" {
				least = 0
			}
			return args(least, 1)(cmd, given)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, given []string) error {
			name, program := splitProgram(cmd, given)
			c, err := s.client(r)
			if err != nil {
				return err
			}
			all, err := s.drafts(cmd.Context(), name, program, file, &e)
			if err != nil {
				return err
			}
			return s.addServers(cmd.Context(), c, all, scope, k)
		},
	}
	r.flagsBut(cmd, gatewayFlag)
	f := cmd.Flags()
	e.flags(f)
	f.StringArrayVar(&e.env, "env", nil, "an environment variable of a program, `NAME=VALUE`; NAME=- asks for the value")
	f.StringVarP(&file, "file", "f", "", "a `FILE` with a definition, or with mcpServers; YAML or JSON, - is stdin")
	scopeFlag(cmd, &scope, "whose it is")
	k.dryFlags(cmd)
	return cmd
}

// splitProgram is the name before a dash, and the command line behind it.
func splitProgram(cmd *cobra.Command, given []string) (name string, program []string) {
	if n := cmd.ArgsLenAtDash(); n >= 0 {
		given, program = given[:n], given[n:]
	}
	if len(given) > 0 {
		name = given[0]
	}
	return name, program
}

// draft is a definition that is not written yet.
type draft struct {
	name string
	doc  *document.Node
	odd  func(*document.Node) []string // warnings about what it becomes; nil: none
}

// drafts are what the command line asks for.
func (s *shell) drafts(ctx context.Context, name string, program []string, file string, e *entryFlags) ([]draft, error) {
	one := draft{name: name, doc: &document.Node{Kind: document.Map}}
	if file != "" {
		all, err := s.draftsOf(file, name)
		if err != nil {
			return nil, err
		}
		if len(all) != 1 {
			if !e.empty() || len(program) > 0 {
				return nil, usagef("%s holds %s; name one of them to change it with flags", file, plural(len(all), "server"))
			}
			return all, nil
		}
		one = all[0]
	}
	if len(program) > 0 {
		one.doc, _ = with(one.doc, path{"command"}, textNode(program[0])) // a map always takes it
		if len(program) > 1 {
			one.doc, _ = with(one.doc, path{"args"}, list(program[1:]))
		}
	}
	var err error
	if one.doc, err = e.apply(ctx, s, one.doc); err != nil {
		return nil, err
	}
	one.odd = e.exposed
	if len(one.doc.Fields) == 0 {
		return nil, usagef("how is %s reached? Use --url URL, -- COMMAND ARGS... or -f FILE", one.name)
	}
	return []draft{one}, nil
}

// draftsOf are the definitions in a file: an entry, or a map of them under mcpServers
// or servers, of which a name chooses one.
func (s *shell) draftsOf(file, name string) ([]draft, error) {
	n, err := s.readTree(file)
	if err != nil {
		return nil, err
	}
	if n.Kind != document.Map {
		return nil, usagef("%s holds %s; it takes a definition, or a map of them under mcpServers", file, n.Kind)
	}
	entries := n.Get("mcpServers")
	if entries == nil {
		entries = n.Get("servers")
	}
	if entries == nil {
		if name == "" {
			return nil, usagef("%s holds one definition; say what the server is called: jackfield server add NAME -f %s", file, file)
		}
		return []draft{{name: name, doc: n}}, nil
	}
	var all []draft
	var names []string
	for _, f := range entries.Fields {
		names = append(names, f.Key)
		if name == "" || name == f.Key {
			all = append(all, draft{name: f.Key, doc: inputsAsVars(f.Value, n.Get("inputs"))})
		}
	}
	switch {
	case len(names) == 0:
		return nil, usagef("%s holds no server", file)
	case len(all) == 0:
		return nil, usagef("%s holds no server %q; it holds %s", file, name, strings.Join(names, ", "))
	}
	return all, nil
}

// inputsAsVars makes variables of the inputs of a VS Code file that an entry uses.
func inputsAsVars(entry, inputs *document.Node) *document.Node {
	if inputs.IsNull() || entry.IsNull() {
		return entry
	}
	text := encode(entry)
	out := entry
	for _, in := range inputs.Items {
		id := at(in, path{"id"})
		if id == nil || id.Text == "" {
			continue
		}
		place := []byte("${input:" + id.Text + "}")
		if !bytes.Contains(text, place) {
			continue
		}
		v := &document.Node{Kind: document.Map}
		if d := in.Get("description"); !d.IsNull() {
			v, _ = with(v, path{"title"}, d) // a map always takes it
		}
		if p := in.Get("password"); p.IsNull() || p.Text != "true" {
			v, _ = with(v, path{"sensitive"}, truth(false))
		}
		out, _ = with(out, path{"vars", id.Text}, v)
		out = replaced(out, string(place), "{{var."+id.Text+"}}")
	}
	return out
}

// replaced is n with one piece of text in place of another.
func replaced(n *document.Node, old, new string) *document.Node {
	if n.IsNull() {
		return n
	}
	out := &document.Node{Kind: n.Kind, Text: n.Text}
	if n.Kind == document.String {
		out.Text = strings.ReplaceAll(n.Text, old, new)
	}
	for _, item := range n.Items {
		out.Items = append(out.Items, replaced(item, old, new))
	}
	for _, f := range n.Fields {
		out.Fields = append(out.Fields, document.Field{Key: f.Key, Value: replaced(f.Value, old, new)})
	}
	return out
}

// addServers shows what would be defined, asks once, and defines it. Those that cannot
// be are told, and make it a failure; the others are defined all the same.
func (s *shell) addServers(ctx context.Context, c *client, all []draft, scope string, k consent) error {
	var good []draft
	var failed []error
	for _, d := range all {
		body, err := c.postServer(ctx, d, scope, true)
		if err != nil {
			failed = append(failed, inServer(d.name, len(all), err))
			continue
		}
		good = append(good, d)
		s.showNew(d, body)
	}
	if len(good) == 0 || k.dry {
		return errors.Join(failed...)
	}
	for _, err := range failed {
		fmt.Fprintln(s.err, "jackfield: "+err.Error())
	}
	question := "Add it?"
	if len(good) > 1 {
		question = "Add these " + plural(len(good), "server") + "?"
	}
	if err := s.agreed(ctx, k, question); err != nil {
		return err
	}
	answers := []json.RawMessage{}
	for _, d := range good {
		body, err := c.postServer(ctx, d, scope, false)
		if err != nil {
			return inServer(d.name, len(all), err)
		}
		answers = append(answers, body)
		if !s.json {
			s.sayDefined(ctx, c, d.name, body)
		}
	}
	if err := s.printAnswers(answers, len(all)); err != nil {
		return err
	}
	if len(failed) > 0 {
		return &exitError{code: exitFailure}
	}
	return nil
}

// printAnswers prints what the gateway said, for programs.
func (s *shell) printAnswers(answers []json.RawMessage, of int) error {
	switch {
	case !s.json:
		return nil
	case of == 1:
		return s.printJSON(answers[0])
	}
	return s.printJSON(map[string]any{"servers": answers})
}

// inServer says which server an error is about, where there are several.
func inServer(name string, of int, err error) error {
	if of == 1 {
		return err
	}
	return &jackfield.Error{Code: jackfield.CodeOf(err), Message: name + ": " + err.Error(), Err: err}
}

func (c *client) postServer(ctx context.Context, d draft, scope string, dry bool) ([]byte, error) {
	var query url.Values
	if dry {
		query = url.Values{"dryRun": {"true"}}
	}
	a, err := c.do(ctx, request{
		method: http.MethodPost, path: place("servers"), query: query,
		body: api.NewServer{Name: d.name, Scope: fullScope(scope), Definition: api.Document(encode(d.doc))},
	}, nil)
	return a.body, there(err, d.name, "jackfield server edit "+shellWord(d.name))
}

// showNew shows a definition that is to be written, as the gateway would keep it, and
// what of it was on the command line for others to see.
func (s *shell) showNew(d draft, body []byte) {
	n, err := parseTree("answer.json", body)
	if err != nil {
		return
	}
	scope := "new"
	if v := field(n, "scope"); v != nil {
		scope = v.Text + ", new"
	}
	fmt.Fprintf(s.err, "%s (%s):\n", printable(d.name), printable(scope))
	kept := field(n, "definition")
	s.showEdits(edits(nil, kept))
	s.warnings(body)
	if d.odd != nil {
		s.warn(d.odd(kept)...)
	}
}

// sayDefined says what can be done with a server now.
func (s *shell) sayDefined(ctx context.Context, c *client, name string, body []byte) {
	var d api.Definition
	if json.Unmarshal(body, &d) != nil {
		return
	}
	team, overlay := strings.CutPrefix(d.Scope, "team:")
	switch {
	case overlay && d.Extends && d.Disabled:
		fmt.Fprintf(s.out, "%s is hidden from team %s.", printable(name), printable(team))
	case overlay && d.Extends:
		fmt.Fprintf(s.out, "%s is different for team %s.", printable(name), printable(team))
	default:
		fmt.Fprintf(s.out, "%s is defined (%s).", printable(name), printable(d.Scope))
	}
	if d.ShadowedBy != "" {
		fmt.Fprintf(s.out, " But %s has the same name and counts instead.\n", printable(string(d.ShadowedBy)))
		return
	}
	s.sayNext(ctx, c, name, d.ID)
}

// sayNext ends a line with what a server still needs, or how to use it; id is the
// definition that was spoken of, which may not be the one that the person sees.
func (s *shell) sayNext(ctx context.Context, c *client, name string, id jackfield.ServerID) {
	v, err := c.server(ctx, name)
	switch {
	case err != nil || id != "" && v.ID != id:
		fmt.Fprintln(s.out)
	case len(v.Needs) > 0:
		fmt.Fprintf(s.out, " It still needs your %s: jackfield var set %s\n", printable(needed(v.Needs)), shellWord(name))
	case v.State == api.StateInvalid:
		fmt.Fprintf(s.out, " It cannot be used: %s\n", printable(v.Reason))
	default:
		fmt.Fprintf(s.out, " Try it: jackfield tools %s\n", shellWord(name))
	}
}

// shellWord is a name as it stands in a shell's command line.
func shellWord(name string) string {
	name = printable(name)
	if strings.ContainsFunc(name, func(r rune) bool { return strings.ContainsRune(" \"'$\\`*?[]{}()<>|&;#!~", r) }) {
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	return name
}
