package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

func (s *shell) serverEditCommand() *cobra.Command {
	var r reach
	var e entryFlags
	var k consent
	var scope, file string
	var editor bool
	cmd := &cobra.Command{
		Use:   "edit NAME",
		Short: "Change a definition",
		Long: `Changes a definition. What changes is shown first, and you are asked. Where nobody
can be asked, --yes does it, and --dry-run only shows it.

  jackfield server edit github                              in your editor ($VISUAL, $EDITOR)
  jackfield server edit github --set title=GitHub --set timeout=2m
  jackfield server edit github --unset headers.X-Old --header X-New=-
  jackfield server edit github -f github.yaml               all of it, from a file

A PATH is keys with dots between them (\. for a dot in a key); a VALUE is JSON where
it is any, else text. Secrets read ` + sealed + ` and stay as they are where that is left
alone; they have to be entered again when the url moves to another host. Was the
definition changed meanwhile, you see what changed and begin again from there.`,
		Args:              args(1, 1),
		ValidArgsFunction: s.completeServers(&r, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			if file == "" && e.empty() && !editor {
				if !s.attended() {
					return usagef("say what to change, with --set, --unset or -f FILE")
				}
				editor = true
			}
			d, err := c.editable(cmd.Context(), args[0], scope)
			if err != nil {
				return err
			}
			d.odd = e.exposed
			body, err := s.change(cmd.Context(), c, d, k, func(n *document.Node) (*document.Node, error) {
				return s.edited(cmd.Context(), n, d.what, file, editor, &e)
			})
			if err != nil || body == nil {
				return err
			}
			return s.sayChanged(cmd.Context(), c, args[0], d.what, body)
		},
	}
	r.flagsBut(cmd, gatewayFlag)
	f := cmd.Flags()
	e.flags(f)
	f.StringArrayVar(&e.env, "env", nil, "an environment variable of a program, `NAME=VALUE`; NAME=- asks for the value")
	f.StringArrayVar(&e.unset, "unset", nil, "remove the member at a `PATH`")
	f.StringVarP(&file, "file", "f", "", "put the definition of a `FILE` in its place; YAML or JSON, - is stdin")
	f.BoolVar(&editor, "editor", false, "open it in $VISUAL or $EDITOR")
	scopeFlag(cmd, &scope, "the one of this scope")
	k.dryFlags(cmd)
	return cmd
}

// edited is a definition after what the command line asks for.
func (s *shell) edited(ctx context.Context, n *document.Node, what, file string, editor bool, e *entryFlags) (*document.Node, error) {
	if file != "" {
		var err error
		if n, err = s.readTree(file); err != nil {
			return nil, err
		}
		if n.Kind != document.Map || n.Get("mcpServers") != nil {
			return nil, usagef("%s must hold one definition, a map such as url: https://…", file)
		}
	}
	n, err := e.apply(ctx, s, n)
	if err == nil && editor {
		n, err = s.inEditor(ctx, what, n)
	}
	return n, err
}

// sayChanged says what can be done after a change.
func (s *shell) sayChanged(ctx context.Context, c *client, name, what string, body []byte) error {
	if s.json {
		return s.printJSON(json.RawMessage(body))
	}
	var d api.Definition
	if json.Unmarshal(body, &d) != nil {
		return c.stranger()
	}
	fmt.Fprintf(s.out, "%s is changed.", printable(what))
	s.sayNext(ctx, c, name, d.ID)
	return nil
}

func (s *shell) serverOverlayCommand() *cobra.Command {
	var r reach
	var e entryFlags
	var k consent
	var team, file string
	var disable, enable bool
	cmd := &cobra.Command{
		Use:   "overlay NAME --team ID",
		Short: "Change a server for one team only",
		Long: `Lays something over a server that everybody sees, for the members of one team: what
is said here replaces what the definition says, the rest stays as it is, also when
the definition changes. An overlay that is there already is changed.

  jackfield server overlay github --team data --url https://github.data.example.com/mcp
  jackfield server overlay github --team data --header X-Team=data
  jackfield server overlay github --team guests --disable    they do not see it
  jackfield server rm github --scope team:data               as everybody again

With a url on another host nothing that is secret goes along: headers, env and
variables of the definition are left behind.`,
		Args:              args(1, 1),
		ValidArgsFunction: s.completeServers(&r, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case team == "":
				return usagef("for which team? Use jackfield server overlay %s --team ID", args[0])
			case disable && enable:
				return usagef("--disable and --enable exclude one another")
			case disable:
				e.set = append(e.set, "enabled=false")
			case enable:
				e.set = append(e.set, "enabled=true")
			}
			if e.empty() && file == "" {
				return usagef("say what is different for team %s, such as --url, --header, --set or --disable", team)
			}
			c, err := s.client(r)
			if err != nil {
				return err
			}
			return s.overlay(cmd.Context(), c, args[0], team, file, &e, k)
		},
	}
	r.flagsBut(cmd, gatewayFlag)
	f := cmd.Flags()
	e.flags(f)
	f.StringArrayVar(&e.unset, "unset", nil, "remove the member at a `PATH`, so that the definition's counts again")
	f.StringVar(&team, "team", "", "the `ID` of the team")
	f.StringVarP(&file, "file", "f", "", "the overlay from a `FILE`; YAML or JSON, - is stdin")
	f.BoolVar(&disable, "disable", false, "the team does not see the server")
	f.BoolVar(&enable, "enable", false, "it does again")
	complete(cmd, "team", s.completeTeams(&r, 0))
	k.dryFlags(cmd)
	return cmd
}

// overlay changes the overlay of a team, or lays a new one.
func (s *shell) overlay(ctx context.Context, c *client, name, team, file string, e *entryFlags, k consent) error {
	scope := "team:" + team
	edit := func(n *document.Node) (*document.Node, error) {
		n, err := s.edited(ctx, n, name, file, false, e)
		if err != nil {
			return nil, err
		}
		return with(n, path{"extends"}, truth(true))
	}
	d := definition(name, scope)
	d.odd = e.exposed
	body, err := s.change(ctx, c, d, k, edit)
	if refusedWith(err, http.StatusNotFound) {
		var n *document.Node
		if n, err = edit(&document.Node{Kind: document.Map}); err != nil {
			return err
		}
		return s.addServers(ctx, c, []draft{{name: name, doc: n, odd: e.exposed}}, scope, k)
	}
	if err != nil || body == nil {
		return err
	}
	return s.sayChanged(ctx, c, name, d.what, body)
}
