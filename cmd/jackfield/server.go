package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

func (s *shell) serverCommand() *cobra.Command {
	return family("server", "Define servers: add, edit and remove them, while the gateway runs",
		`Definitions say how to reach a server and whose it is. Those of the configuration
file are only shown here; the others are in the gateway's store, and take effect at
once, for everybody who has them before them.

  jackfield server add github --url https://api.githubcopilot.com/mcp/
  jackfield server edit github --set title=GitHub
  jackfield server rm github

This is about what is defined. How the servers are right now, say jackfield servers
(all at a glance) and jackfield top.

Whose a definition is, is its scope: app (everybody's), team:ID or user:SUBJECT (me
for short). Of several with one name, the widest is the one that counts; ls shows
the others too, and what stands in front of them.`,
		s.serverLsCommand(), s.serverShowCommand(), s.serverAddCommand(), s.serverEditCommand(), s.serverOverlayCommand(), s.serverRmCommand())
}

// scopeFlag says whose definition is meant.
func scopeFlag(cmd *cobra.Command, scope *string, what string) {
	cmd.Flags().StringVar(scope, "scope", "", what+": app, team:ID or me")
	complete(cmd, "scope", oneOf("app", "team:", "me"))
}

// fullScope is a scope as the API takes it.
func fullScope(given string) string {
	if given == "me" {
		return "user:me"
	}
	return given
}

// scoped are the parameters of a request about a definition in a scope.
func scoped(scope string) url.Values {
	if scope == "" {
		return nil
	}
	return url.Values{"scope": {fullScope(scope)}}
}

// definitions are those that the caller may look at.
func (c *client) definitions(ctx context.Context, scope string) (api.DefinitionList, error) {
	all := api.DefinitionList{Definitions: []api.Definition{}}
	err := pages(ctx, c, place("definitions"), scoped(scope), func(p api.DefinitionList) api.Page {
		all.Definitions = append(all.Definitions, p.Definitions...)
		return p.Page
	})
	return all, err
}

func (s *shell) serverLsCommand() *cobra.Command {
	var r reach
	var scope string
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the definitions that you may look at",
		Long: `Lists definitions, those of the configuration file too.

  SCOPE   whose it is: app (everybody's), team:ID or user:SUBJECT
  SOURCE  file: the configuration file, which is edited there. store: server edit.
  STATE   as jackfield servers says it; -: it is not what you see under this name
  NOTE    what is needed from you, what stands in front of it, what is odd about it`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			return s.listDefinitions(cmd.Context(), c, scope)
		},
	}
	r.flags(cmd)
	scopeFlag(cmd, &scope, "only those of this scope")
	return cmd
}

func (s *shell) listDefinitions(ctx context.Context, c *client, scope string) error {
	stop := s.waiting("waiting for the gateway")
	all, err := c.definitions(ctx, scope)
	var live api.ServerList
	if err == nil && !s.json {
		live, err = c.servers(ctx)
	}
	stop()
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(all)
	}
	if len(all.Definitions) == 0 {
		fmt.Fprintln(s.out, "There are no definitions. jackfield server add NAME --url URL makes one.")
		return nil
	}
	states := map[jackfield.ServerID]api.ServerStatus{}
	for _, v := range live.Servers {
		states[v.ID] = v
	}
	t := table{head: []string{"NAME", "SCOPE", "SOURCE", "TYPE", "STATE", "CHANGED", "NOTE"}, most: map[int]int{0: 30, 1: 24, 4: 20}}
	for _, d := range all.Definitions {
		state := cell{text: "-"}
		v, seen := states[d.ID]
		if seen {
			state = cell{stateText(v), stateColour(v.State)}
		}
		changed := "-"
		if d.ChangedAt != nil {
			changed = duration(time.Since(*d.ChangedAt)) + " ago"
		}
		t.row(text(d.Name), text(d.Scope), text(d.Source), text(typeOf(d.Definition, v.Transport)), state, text(changed), text(note(d, v)))
	}
	s.print(t)
	return nil
}

// typeOf is how a definition says that its server is reached.
func typeOf(definition []byte, known string) string {
	var d struct{ Type, Command, URL string }
	if err := json.Unmarshal(definition, &d); err != nil {
		return orDash(known)
	}
	switch {
	case known != "":
		return known
	case d.Type != "":
		return d.Type
	case d.Command != "":
		return "stdio"
	case d.URL != "":
		return "http"
	}
	return "-"
}

// note is the most important thing to say about a definition, in one line.
func note(d api.Definition, v api.ServerStatus) string {
	switch {
	case d.ShadowedBy != "":
		return string(d.ShadowedBy) + " has the same name and counts instead"
	case len(v.Needs) > 0:
		return "needs " + needed(v.Needs)
	case len(d.Problems) > 0:
		return d.Problems[0]
	case d.Disabled:
		return "switched off (enabled: false)"
	case v.State == api.StateInvalid || v.State == api.StateFailed:
		return v.Reason
	case d.Extends:
		return "laid over the definition of this name that the others see"
	}
	return ""
}

// needed is what has to be entered.
func needed(all []api.Need) string {
	var names []string
	for _, n := range all {
		names = append(names, cmp.Or(n.Title, n.Name))
	}
	return strings.Join(names, ", ")
}

func (s *shell) serverShowCommand() *cobra.Command {
	var r reach
	var scope string
	cmd := &cobra.Command{
		Use:               "show NAME",
		Short:             "Show one definition, whose it is, and what it needs",
		Long:              "Shows a definition as it was written; what is secret in it reads " + sealed + ".\nWithout --scope it is the one that you see under this name.",
		Args:              args(1, 1),
		ValidArgsFunction: s.completeServers(&r, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			return s.showServer(cmd.Context(), c, args[0], scope)
		},
	}
	r.flags(cmd)
	scopeFlag(cmd, &scope, "the one of this scope")
	return cmd
}

func (s *shell) showServer(ctx context.Context, c *client, name, scope string) error {
	var v api.ServerStatus
	stop := s.waiting("waiting for the gateway")
	a, err := c.do(ctx, request{method: "GET", path: place("servers", name), query: scoped(scope)}, &v)
	stop()
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(json.RawMessage(a.body))
	}
	colour := s.painter(s.out)
	say := func(what, value string) {
		if value != "" {
			fmt.Fprintf(s.out, "%s %s\n", colour(dim, fmt.Sprintf("%-12s", what)), printable(value))
		}
	}
	fmt.Fprintln(s.out, colour(bold, printable(v.Name)))
	say("title", v.Title)
	say("scope", v.Scope)
	say("source", map[string]string{"file": "the gateway's configuration file; it is edited there", "store": "the gateway's store"}[v.Source])
	say("laid over", string(v.Base))
	say("hidden by", string(v.ShadowedBy))
	if v.Source == "store" {
		say("revision", fmt.Sprint(v.Revision))
	}
	if v.ChangedAt != nil {
		say("changed", fmt.Sprintf("%s, %s ago, by %s", v.ChangedAt.Local().Format(time.DateTime), duration(time.Since(*v.ChangedAt)), orDash(v.By)))
	}
	say("state", stateText(v))
	say("reason", reason(v))
	for _, n := range v.Needs {
		say("needs", cmp.Or(n.Title, n.Name)+": "+n.Where)
	}
	for _, w := range v.Warnings {
		say("warning", w)
	}
	if v.Access != nil && !v.Access.Edit {
		say("read only", v.Access.Reason)
	}
	if len(v.Definition) == 0 {
		return nil
	}
	var b bytes.Buffer
	if err := json.Indent(&b, v.Definition, "", "  "); err != nil {
		return c.stranger()
	}
	fmt.Fprintf(s.out, "\n%s\n", printableLines(b.String()))
	return nil
}

func (s *shell) serverRmCommand() *cobra.Command {
	var r reach
	var scope string
	var k consent
	cmd := &cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a definition",
		Long: `Removes a definition from the gateway's store. Its connections close, and calls
under way on them fail. What people entered for it (jackfield var) goes with it.
Where a definition of the same name stood behind it, that one counts from then on.`,
		Args:              args(1, 1),
		ValidArgsFunction: s.completeServers(&r, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			d, err := c.editable(cmd.Context(), args[0], scope)
			if err != nil {
				return err
			}
			return s.remove(cmd.Context(), c, d, k, "Remove it?")
		},
	}
	r.flags(cmd)
	scopeFlag(cmd, &scope, "the one of this scope")
	k.dryFlags(cmd)
	return cmd
}

// editable is a definition that is in the store. Without a scope it is the one that
// the caller sees under the name.
func (c *client) editable(ctx context.Context, name, scope string) (resource, error) {
	var v api.ServerStatus
	if _, err := c.do(ctx, request{method: "GET", path: place("servers", name), query: scoped(scope)}, &v); err != nil {
		return resource{}, err
	}
	if v.Source == "file" {
		return resource{}, jackfield.Errorf(jackfield.Forbidden,
			"%s is defined in the gateway's configuration file; edit it there, and it is taken over within two seconds", name)
	}
	return definition(name, cmp.Or(v.Scope, scope)), nil
}

// definition is the definition of a name in a scope.
func definition(name, scope string) resource {
	return resource{
		what: name + " (" + scope + ")", path: place("servers", name), query: scoped(scope), previews: true,
		doc:  func(n *document.Node) *document.Node { return field(n, "definition") },
		body: func(n *document.Node) any { return api.EditServer{Definition: api.Document(encode(n))} },
	}
}
