package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/api"
)

func (s *shell) varCommand() *cobra.Command {
	return family("var", "Enter your own values for servers, such as API keys",
		`Some servers want something from each person, such as an API key. What you enter is
kept sealed, is used for your own calls and nobody else's, and is never shown again
when it is sensitive.

  jackfield var ls                      what servers still need from you
  jackfield var ls github               the variables of one
  jackfield var set github              asks for what is missing
  jackfield var set github TOKEN        asks for one; it is not shown while you type
  pass github | jackfield var set github TOKEN -
  jackfield var rm github TOKEN`,
		s.varLsCommand(), s.varSetCommand(), s.varRmCommand())
}

// forUser says for whom.
type forUser struct {
	reach
	user string
}

func (u *forUser) flags(s *shell, cmd *cobra.Command) {
	u.reach.flags(cmd)
	cmd.Flags().StringVar(&u.user, "user", "", "those of this `SUBJECT` instead of your own; for admins")
	complete(cmd, "user", s.completeUsers(&u.reach, 0))
}

func (u *forUser) query() url.Values {
	if u.user == "" {
		return nil
	}
	return url.Values{"user": {u.user}}
}

func (s *shell) varLsCommand() *cobra.Command {
	var u forUser
	cmd := &cobra.Command{
		Use:               "ls [SERVER]",
		Short:             "Show the variables of a server, or what all servers still need from you",
		Args:              args(0, 1),
		ValidArgsFunction: s.completeServers(&u.reach, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(u.reach)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return s.listVariables(cmd.Context(), c, args[0], u)
			}
			if u.user != "" {
				return usagef("say of which server; use jackfield var ls SERVER --user %s", u.user)
			}
			return s.listNeeds(cmd.Context(), c)
		},
	}
	u.flags(s, cmd)
	return cmd
}

func (c *client) variables(ctx context.Context, server string, u forUser) ([]api.Variable, error) {
	var all api.VariableList
	_, err := c.do(ctx, request{method: http.MethodGet, path: place("servers", server, "variables"), query: u.query()}, &all)
	return all.Variables, err
}

func (s *shell) listVariables(ctx context.Context, c *client, server string, u forUser) error {
	all, err := c.variables(ctx, server, u)
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(api.VariableList{Variables: append([]api.Variable{}, all...)})
	}
	if len(all) == 0 {
		fmt.Fprintf(s.out, "%s asks nobody for anything.\n", printable(server))
		return nil
	}
	t := table{head: []string{"NAME", "TITLE", "VALUE", "SET", "NOTE"}, most: map[int]int{1: 30, 2: 30}}
	for _, v := range all {
		value, set, note := cell{"missing", red}, "-", v.Description
		if !v.Required {
			value = cell{text: "none (optional)"}
		}
		if v.Set {
			value = cell{cmp.Or(v.Value, "set, not shown"), green}
		}
		if v.Stale != "" {
			value, note = cell{"to be entered again", red}, v.Stale
		}
		if v.ChangedAt != nil {
			set = duration(time.Since(*v.ChangedAt)) + " ago"
		}
		t.row(text(v.Name), text(orDash(v.Title)), value, text(set), text(note))
	}
	s.print(t)
	return nil
}

// lacking is a server that needs something.
type lacking struct {
	Server string     `json:"server"`
	Needs  []api.Need `json:"needs"`
}

func (s *shell) listNeeds(ctx context.Context, c *client) error {
	all, err := c.servers(ctx)
	if err != nil {
		return err
	}
	needing := []lacking{}
	for _, v := range all.Servers {
		if len(v.Needs) > 0 {
			needing = append(needing, lacking{v.Name, v.Needs})
		}
	}
	if s.json {
		return s.printJSON(map[string]any{"servers": needing})
	}
	if len(needing) == 0 {
		fmt.Fprintln(s.out, "No server needs anything from you. jackfield var ls SERVER shows what you entered for one.")
		return nil
	}
	t := table{head: []string{"SERVER", "NEEDS", "TITLE", "WHY"}, most: map[int]int{0: 30, 2: 30}}
	for _, l := range needing {
		for _, n := range l.Needs {
			t.row(text(l.Server), text(n.Name), text(orDash(n.Title)), text(n.Reason))
		}
	}
	s.print(t)
	return nil
}

func (s *shell) varSetCommand() *cobra.Command {
	var u forUser
	cmd := &cobra.Command{
		Use:   "set SERVER [NAME[=VALUE] [-]]",
		Short: "Enter a value: asks for it, or reads it from stdin",
		Long: `Enters a value for a server. Without NAME it asks for everything that is missing;
with NAME for that one, and with - behind it the value is read from stdin. A value on
the command line is taken only where the variable is not sensitive: command lines
are in the list of processes and in the shell's history.

  jackfield var set github
  pass github | jackfield var set github TOKEN -
  jackfield var set github REGION=eu`,
		Args:              args(1, 3),
		ValidArgsFunction: s.completeVariables(&u.reach),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(u.reach)
			if err != nil {
				return err
			}
			return s.setVariables(cmd.Context(), c, args, u)
		},
	}
	u.flags(s, cmd)
	return cmd
}

func (s *shell) setVariables(ctx context.Context, c *client, args []string, u forUser) error {
	server := args[0]
	all, err := c.variables(ctx, server, u)
	if err != nil {
		return err
	}
	values, err := s.entered(ctx, server, all, args[1:])
	if err != nil {
		return err
	}
	if len(values) == 0 {
		fmt.Fprintf(s.out, "%s has all that it needs.", printable(server))
		s.sayNext(ctx, c, server, "")
		return nil
	}
	return s.putVariables(ctx, c, server, u, values, "Kept.")
}

// putVariables writes values, and says what works then.
func (s *shell) putVariables(ctx context.Context, c *client, server string, u forUser, values map[string]*string, done string) error {
	q := request{
		method: http.MethodPut, path: place("servers", server, "variables"), query: u.query(),
		body: api.NewValues{Values: values}, match: always,
	}
	if _, err := c.do(ctx, q, nil); err != nil {
		return err
	}
	switch {
	case s.json:
		return s.listVariables(ctx, c, server, u)
	case u.user != "":
		fmt.Fprintln(s.out, done)
	default:
		fmt.Fprint(s.out, done)
		s.sayNext(ctx, c, server, "")
	}
	return nil
}

// entered are the values that the command line gives or the person types.
func (s *shell) entered(ctx context.Context, server string, all []api.Variable, args []string) (map[string]*string, error) {
	values := map[string]*string{}
	if len(args) == 0 {
		for _, v := range all {
			if (v.Set && v.Stale == "") || !v.Required {
				continue
			}
			value, err := s.askFor(ctx, server, v)
			if err != nil {
				return nil, err
			}
			values[v.Name] = &value
		}
		return values, nil
	}
	name, value, given := strings.Cut(args[0], "=")
	v, err := variableNamed(server, all, name)
	if err != nil {
		return nil, err
	}
	switch {
	case len(args) == 2 && args[1] != "-":
		return nil, usagef("%q is too much; write %s=VALUE, or - to read the value from stdin", args[1], name)
	case given && v.Sensitive:
		return nil, usagef("%s is sensitive, and command lines can be read by others; leave the value out to be asked for it, or pipe it into jackfield var set %s %s -",
			name, shellWord(server), name)
	case given:
	case len(args) == 2:
		raw, unread := io.ReadAll(io.LimitReader(s.in, maxAnswer))
		if unread != nil {
			return nil, usagef("stdin: %w", unread)
		}
		value = strings.TrimRight(string(raw), "\r\n")
	default:
		if value, err = s.askFor(ctx, server, v); err != nil {
			return nil, err
		}
	}
	if value == "" {
		return nil, usagef("%s: no value was given; jackfield var rm %s %s takes one away", name, shellWord(server), name)
	}
	values[name] = &value
	return values, nil
}

func variableNamed(server string, all []api.Variable, name string) (api.Variable, error) {
	var names []string
	for _, v := range all {
		if v.Name == name {
			return v, nil
		}
		names = append(names, v.Name)
	}
	if len(names) == 0 {
		return api.Variable{}, jackfield.Errorf(jackfield.NotFound, "%s has no variables; there is nothing to enter", server)
	}
	return api.Variable{}, jackfield.Errorf(jackfield.NotFound, "%s has no variable %q; it has %s", server, name, strings.Join(names, ", "))
}

// askFor asks the person for the value of a variable.
func (s *shell) askFor(ctx context.Context, server string, v api.Variable) (string, error) {
	if !s.attended() {
		return "", usagef("nobody can be asked for %s here; pipe it into jackfield var set %s %s -", v.Name, shellWord(server), v.Name)
	}
	if v.Description != "" {
		fmt.Fprintf(s.err, "%s\n", printable(v.Description))
	}
	prompt := server + " needs " + cmp.Or(v.Title, v.Name)
	var value string
	var err error
	if v.Sensitive {
		value, err = s.secret(ctx, prompt)
	} else {
		fmt.Fprint(s.err, printable(prompt)+": ")
		value, err = s.readLine(ctx)
	}
	if errors.Is(err, errRefused) || err == nil && value == "" {
		return "", &exitError{exitFailure, errors.New("nothing was entered")}
	}
	return value, err
}

func (s *shell) varRmCommand() *cobra.Command {
	var u forUser
	cmd := &cobra.Command{
		Use:               "rm SERVER NAME",
		Short:             "Take a value away",
		Args:              args(2, 2),
		ValidArgsFunction: s.completeVariables(&u.reach),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(u.reach)
			if err != nil {
				return err
			}
			all, err := c.variables(cmd.Context(), args[0], u)
			if err != nil {
				return err
			}
			if _, err := variableNamed(args[0], all, args[1]); err != nil {
				return err
			}
			return s.putVariables(cmd.Context(), c, args[0], u, map[string]*string{args[1]: nil}, "Taken away.")
		},
	}
	u.flags(s, cmd)
	return cmd
}
