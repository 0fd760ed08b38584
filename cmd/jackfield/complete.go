package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completeWithin is how long a shell waits for the names that it completes.
const completeWithin = 2 * time.Second

// completion is how cobra asks what could stand next.
type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeServers completes the name of a server and, with most 2, of one of its
// tools behind it. Where the gateway cannot be asked there is nothing to offer:
// errors would land in the middle of what is being typed.
func (s *shell) completeServers(r *reach, most int) completion {
	return func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
		const no = cobra.ShellCompDirectiveNoFileComp
		if len(given) >= most {
			return nil, no
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		c, err := s.client(*r)
		if err != nil {
			return nil, no
		}
		if len(given) == 1 {
			return offered(c.tools(ctx, given[0])), no
		}
		all, err := c.servers(ctx)
		if err != nil {
			return nil, no
		}
		var names []string
		for _, v := range all.Servers {
			names = append(names, offer(v.Name, v.Description))
		}
		return names, no
	}
}

// completeArguments completes --arg NAME= with the arguments of the tool that is
// being called.
func (s *shell) completeArguments(r *reach) completion {
	return func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
		const no = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		if len(given) < 2 {
			return nil, no
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		c, err := s.client(*r)
		if err != nil {
			return nil, no
		}
		var names []string
		for _, raw := range c.tools(ctx, given[0]).Tools {
			t, err := parseTool(raw)
			if err != nil || t.Name != given[1] {
				continue
			}
			for _, name := range t.InputSchema.all() {
				names = append(names, offer(name+"=", t.InputSchema.property(name).meaning()))
			}
		}
		return names, no
	}
}

// names completes with what the gateway lists, at the argument at most; for a flag
// that is none.
func (s *shell) names(r *reach, most int, list func(context.Context, *client) ([]string, error)) completion {
	return func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
		const no = cobra.ShellCompDirectiveNoFileComp
		if most > 0 && len(given) >= most {
			return nil, no
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		c, err := s.client(*r)
		if err != nil {
			return nil, no
		}
		names, err := list(ctx, c)
		if err != nil {
			return nil, no
		}
		return names, no
	}
}

// completeTeams completes the id of a team; most as names has it.
func (s *shell) completeTeams(r *reach, most int) completion { return s.names(r, most, teamNames) }

func teamNames(ctx context.Context, c *client) ([]string, error) {
	var names []string
	all, err := c.teams(ctx)
	for _, t := range all.Teams {
		names = append(names, offer(t.ID, t.Title))
	}
	return names, err
}

const mostUsers = 1000 // that are offered

// completeUsers completes the subject of a user.
func (s *shell) completeUsers(r *reach, most int) completion { return s.names(r, most, userNames) }

func userNames(ctx context.Context, c *client) ([]string, error) {
	var names []string
	all, err := c.users(ctx, mostUsers)
	for _, u := range all.Users {
		names = append(names, offer(u.Subject, u.Name))
	}
	return names, err
}

// completeMembers completes a team, and a user behind it.
func (s *shell) completeMembers(r *reach) completion {
	return func(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(given) == 0 {
			return s.completeTeams(r, 1)(cmd, given, typed)
		}
		return s.completeUsers(r, 2)(cmd, given, typed)
	}
}

// completeKeys completes the id of an API key.
func (s *shell) completeKeys(r *reach) completion {
	return s.names(r, 1, func(ctx context.Context, c *client) ([]string, error) {
		var names []string
		all, err := c.keys(ctx)
		for _, k := range all.Keys {
			if k.Source == "store" {
				names = append(names, offer(k.ID, k.Name))
			}
		}
		return names, err
	})
}

// completeFlagServers completes the name of a server as the value of a flag.
func (s *shell) completeFlagServers(r *reach) completion {
	return func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return s.completeServers(r, 1)(cmd, nil, typed)
	}
}

// completeVariables completes a server, and one of its variables behind it.
func (s *shell) completeVariables(r *reach) completion {
	return func(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(given) == 0 {
			return s.completeServers(r, 1)(cmd, given, typed)
		}
		return s.names(r, 2, func(ctx context.Context, c *client) ([]string, error) {
			var names []string
			all, err := c.variables(ctx, given[0], forUser{})
			for _, v := range all {
				names = append(names, offer(v.Name, v.Title))
			}
			return names, err
		})(cmd, given, typed)
	}
}

// complete says how the value of a flag is completed.
func complete(cmd *cobra.Command, flag string, how completion) {
	_ = cmd.RegisterFlagCompletionFunc(flag, how) // fails for flags that are not there or have one
}

// oneOf completes with the words given.
func oneOf(words ...string) completion {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

func offered(list toolList) []string {
	var names []string
	for _, raw := range list.Tools {
		if t, err := parseTool(raw); err == nil {
			names = append(names, offer(t.Name, t.about()))
		}
	}
	return names
}

const mostOffered = 80 // characters of a description

// offer is a name with what shells show beside it.
func offer(name, about string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(about), "\n")
	if line = clip(printable(line), mostOffered); line == "" {
		return printable(name)
	}
	return printable(name) + "\t" + line
}
