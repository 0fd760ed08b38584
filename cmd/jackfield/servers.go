package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield/internal/api"
)

func (s *shell) serversCommand() *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use:   "servers [SERVER]",
		Short: "Show the servers behind a gateway that runs, and how they are",
		Long: `Shows the servers behind a gateway that runs. Looking connects nothing.

  STATE    ready: a connection is open. connecting: one is being opened. idle: none
           is open, a call opens one. draining: the last one closes when its calls
           have ended. failed: the last attempt failed. invalid: the definition
           cannot be used.
  ERA      the protocol that it speaks: modern (2026-07-28) or legacy (before).
  SHARING  who shares a connection: app (everybody), owner (one person), session or
           call.
  TOOLS    how many it listed, AGE how long ago. They are served also while it is
           down.
  REASON   why it is as it is.`,
		Args:              args(0, 1),
		ValidArgsFunction: s.completeServers(&r, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return s.oneServer(cmd.Context(), c, args[0])
			}
			return s.allServers(cmd.Context(), c)
		},
	}
	r.flags(cmd)
	cmd.AddCommand(s.resetCommand())
	return cmd
}

func (s *shell) resetCommand() *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use:   "reset SERVER",
		Short: "Forget that a server failed, and let its connections be made anew",
		Long: `Forgets that a server failed: the next call connects to it, whenever the next
attempt was due. Connections that are open take no more calls, and are closed when
those under way have ended.`,
		Args:              args(1, 1),
		ValidArgsFunction: s.completeServers(&r, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			var v api.ServerStatus
			if _, err := c.do(cmd.Context(), request{method: http.MethodPost, path: place("servers", args[0], "reset")}, &v); err != nil {
				return err
			}
			if s.json {
				return s.printJSON(v)
			}
			fmt.Fprintf(s.out, "%s begins anew with the next call.\n", printable(v.Name))
			return nil
		},
	}
	r.flags(cmd)
	return cmd
}

func (s *shell) allServers(ctx context.Context, c *client) error {
	stop := s.waiting("waiting for the gateway")
	list, err := c.servers(ctx)
	stop()
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(list)
	}
	if len(list.Servers) == 0 {
		fmt.Fprintln(s.out, "There are no servers in the gateway's configuration.")
		return nil
	}
	t := table{
		head: []string{"NAME", "STATE", "ERA", "SHARING", "TOOLS", "AGE", "REASON"},
		most: map[int]int{0: 30, 1: 24},
	}
	for _, v := range list.Servers {
		tools, age := "-", "-"
		if l := v.Listings["tools"]; l.AgeSeconds != nil {
			tools, age = fmt.Sprint(l.Count), ageText(l)
		}
		t.row(text(v.Name), cell{stateText(v), stateColour(v.State)}, text(orDash(v.Era)), text(orDash(string(v.Sharing))),
			text(tools), text(age), text(reason(v)))
	}
	s.print(t)
	return nil
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func stateText(v api.ServerStatus) string {
	switch {
	case v.Failure != nil:
		return v.State + " (" + v.Failure.Label() + ")"
	case v.Stage == "":
		return v.State
	}
	return v.State + " (" + v.Stage + ")"
}

func stateColour(state string) string {
	switch state {
	case api.StateReady:
		return green
	case api.StateFailed, api.StateInvalid:
		return red
	case api.StateConnecting, api.StateDraining:
		return yellow
	}
	return ""
}

// reason is the most important thing to say about a server, in one line.
func reason(v api.ServerStatus) string {
	why := v.Reason
	tools := v.Listings["tools"]
	switch {
	case why == "" && len(v.Needs) > 0:
		why = "needs " + needed(v.Needs) + ": " + v.Needs[0].Where
	case why == "" && tools.Error != "" && tools.AgeSeconds != nil:
		why = "what it listed " + ageText(tools) + " ago is served, for it cannot be listed now: " + tools.Error
	case why == "" && tools.Error != "":
		why = "the tools could not be listed: " + tools.Error
	case why == "" && tools.Truncated != "":
		why = "the list of tools is not complete: " + tools.Truncated
	case why == "" && len(v.Warnings) > 0:
		why = "warning: " + v.Warnings[0]
	case why == "" && v.OnDemand && tools.AgeSeconds == nil:
		why = "startup: false, so it is listed when somebody asks"
	case why == "" && v.State == api.StateIdle:
		why = "no connection is open; a call opens one"
	case why == "" && v.Leases > 0:
		why = plural(v.Leases, "call") + " under way"
	}
	return why
}

// duration is d in its largest unit, to fit a column.
func duration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func (s *shell) oneServer(ctx context.Context, c *client, name string) error {
	stop := s.waiting("waiting for the gateway")
	v, err := c.server(ctx, name)
	stop()
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(v)
	}
	colour := s.painter(s.out)
	say := func(what, value string) {
		if value != "" {
			fmt.Fprintf(s.out, "%s %s\n", colour(dim, fmt.Sprintf("%-12s", what)), printable(value))
		}
	}
	fmt.Fprintln(s.out, colour(bold, printable(v.Name)))
	say("title", v.Title)
	say("about", v.Description)
	say("state", stateText(v))
	say("reason", reason(v))
	if v.Since != nil {
		say("since", v.Since.Local().Format(time.DateTime)+", "+duration(time.Since(*v.Since))+" ago")
	}
	if v.ProtocolVersion != "" {
		say("speaks", v.Era+", "+v.ProtocolVersion+" over "+v.Transport)
	} else {
		say("speaks", "not known yet, over "+v.Transport)
	}
	if v.Sharing != "" {
		say("sharing", strings.TrimSuffix(string(v.Sharing)+": "+v.SharingWhy, ": "))
	}
	say("connections", fmt.Sprintf("%d open, %d being opened, %d closing, %d failed; %s under way",
		v.Connections.Ready, v.Connections.Connecting, v.Connections.Draining, v.Connections.Failed, plural(v.Leases, "call")))
	for _, kind := range []string{"tools", "prompts", "resources", "templates"} {
		if l, ok := v.Listings[kind]; ok {
			say(kind, listing(l))
		}
	}
	for _, w := range v.Warnings {
		say("warning", w)
	}
	s.keys(v.Keys)
	return nil
}

func listing(l api.ListingStatus) string {
	var parts []string
	if l.AgeSeconds != nil {
		parts = append(parts, fmt.Sprintf("%d, %s old", l.Count, ageText(l)))
	} else {
		parts = append(parts, "not listed yet")
	}
	if l.Truncated != "" {
		parts = append(parts, "not complete: "+l.Truncated)
	}
	if l.Error != "" {
		failed := "it cannot be listed now"
		if l.FailingSince != nil {
			failed += ", since " + l.FailingSince.Local().Format(time.DateTime)
		}
		parts = append(parts, failed+": "+l.Error)
	}
	return strings.Join(parts, "; ")
}

// ageText is the age of a listing; empty when there was none.
func ageText(l api.ListingStatus) string {
	if l.AgeSeconds == nil {
		return ""
	}
	return duration(time.Duration(*l.AgeSeconds) * time.Second)
}

// keys prints connections one by one, when there is more to tell than one.
func (s *shell) keys(keys []api.Key) {
	if len(keys) < 2 {
		return
	}
	fmt.Fprintln(s.out)
	t := table{head: []string{"WHOSE", "STATE", "CALLS", "SINCE", "REASON"}, most: map[int]int{0: 40}}
	for _, k := range keys {
		whose := slices.DeleteFunc([]string{k.Scope, k.Isolation}, func(s string) bool { return s == "" })
		since := "-"
		if k.Since != nil {
			since = duration(time.Since(*k.Since))
		}
		t.row(text(strings.Join(whose, ", ")), cell{k.State, stateColour(k.State)}, text(fmt.Sprint(k.Leases)), text(since), text(k.Reason))
	}
	s.print(t)
}
