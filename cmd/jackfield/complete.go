package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield/internal/api"
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
		var all api.ServerList
		if c.get(ctx, "/api/v1/servers", &all) != nil {
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
