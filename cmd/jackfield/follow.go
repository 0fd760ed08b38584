package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/api"
)

func (s *shell) eventsCommand() *cobra.Command {
	var r reach
	var f follower
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Follow what changes: definitions, people, connections",
		Long: `Prints what changes, as it happens, as far as you may see it, until Ctrl-C. When the
gateway goes away it is found again, and what happened meanwhile is told.

  jackfield events
  jackfield events --since 120          from a number of jackfield log on
  jackfield events --count 1            until something happens, for scripts
  jackfield events --json               one object a line`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("since") {
				f.last = strconv.FormatUint(f.since, 10)
			}
			f.shell, f.client = s, c
			return f.follow(cmd.Context())
		},
	}
	r.flags(cmd)
	cmd.Flags().Uint64Var(&f.since, "since", 0, "begin behind this `NUMBER` of the log (default now)")
	cmd.Flags().IntVar(&f.left, "count", 0, "end after so many (default never)")
	return cmd
}

// follower prints events until nobody wants more.
type follower struct {
	shell  *shell
	client *client
	since  uint64
	last   string // id of the event that came last
	left   int    // how many more are wanted; zero at the beginning: all
	opened bool   // events came before
}

const (
	leastRetry = 200 * time.Millisecond
	mostRetry  = 15 * time.Second
	maxEvent   = 1 << 20 // bytes of one event
)

// errEnough ends following.
var errEnough = errors.New("enough")

func (f *follower) follow(ctx context.Context) error {
	wait := leastRetry
	for {
		began := time.Now()
		err := f.listen(ctx)
		switch {
		case errors.Is(err, errEnough):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !f.opened || jackfield.CodeOf(err) != jackfield.Unavailable:
			return err
		}
		if time.Since(began) > mostRetry {
			wait = leastRetry
		}
		fmt.Fprintf(f.shell.err, "jackfield: %s; trying again\n", printable(err.Error()))
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		wait = min(2*wait, mostRetry)
	}
}

// listen prints the events of one stream until it ends, which is always an error.
func (f *follower) listen(ctx context.Context) error {
	resp, err := f.client.open(ctx, request{method: http.MethodGet, path: place("events"), accept: "text/event-stream", after: f.last})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // what was not read is of no use
	lines := bufio.NewReaderSize(resp.Body, 4096)
	var kind string
	var data bytes.Buffer
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return jackfield.Errorf(jackfield.Unavailable, "the gateway ended the stream: %w", io.ErrUnexpectedEOF)
		}
		line = strings.TrimRight(line, "\r\n")
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && data.Len() > 0:
			if err := f.event(kind, data.Bytes()); err != nil {
				return err
			}
			kind = ""
			data.Reset()
		case name == "event":
			kind = value
		case name == "id":
			f.last = value
		case name == "data":
			if data.Len()+len(value) > maxEvent {
				return f.client.stranger()
			}
			data.WriteString(value)
		}
	}
}

// event prints one event.
func (f *follower) event(kind string, data []byte) error {
	if kind == "hello" {
		f.opened = true
		if f.last == "" { // so that nothing is missed when the stream breaks before the first change
			var n api.Notice
			if json.Unmarshal(data, &n) == nil {
				f.last = strconv.FormatUint(n.Number, 10)
			}
		}
		return nil
	}
	s := f.shell
	if s.json {
		line, err := json.Marshal(struct {
			Event string          `json:"event"`
			Data  json.RawMessage `json:"data"`
		}{kind, data})
		if err != nil {
			return f.client.stranger()
		}
		fmt.Fprintf(s.out, "%s\n", line)
	} else if text := f.line(kind, data); text != "" {
		fmt.Fprintln(s.out, printable(text))
	}
	var n api.Notice
	if kind == "cut" && json.Unmarshal(data, &n) == nil {
		return jackfield.Errorf(jackfield.Unavailable, "the gateway ended the stream: %s", n.Reason)
	}
	if f.left--; f.left == 0 {
		return errEnough
	}
	return nil
}

// line is an event in one line; empty: it is not known here.
func (f *follower) line(kind string, data []byte) string {
	var c api.Change
	var m api.ConnectionChange
	var n api.Notice
	switch {
	case kind == "change" && json.Unmarshal(data, &c) == nil:
		return fmt.Sprintf("%s  %d  %s", c.At.Local().Format(time.TimeOnly), c.Number, strings.TrimSpace(subject(c)+" "+verb(c)+by(c)))
	case kind == "connection" && json.Unmarshal(data, &m) == nil:
		state := m.State
		if m.Reason != "" {
			state += ": " + m.Reason
		}
		return fmt.Sprintf("%s  -  connection of %s (%s) %s", m.At.Local().Format(time.TimeOnly), m.Server, m.Scope, state)
	case kind == "reset" && json.Unmarshal(data, &n) == nil:
		return time.Now().Format(time.TimeOnly) + "  -  " + n.Reason
	}
	return ""
}

// subject is what changed.
func subject(c api.Change) string {
	switch {
	case c.Kind == "server" && c.Name != "":
		return "server " + c.Name + " (" + c.Scope + ")"
	case c.Kind == "variable" && c.Name != "":
		return "variable " + c.Name + " of " + string(c.Server) + " (" + c.Scope + ")"
	}
	return strings.TrimSpace(c.Kind + " " + c.ID)
}

func verb(c api.Change) string {
	if c.Gone {
		return "removed"
	}
	return "written"
}

func by(c api.Change) string {
	if c.By == "" {
		return ""
	}
	return " by " + c.By
}

func (s *shell) logCommand() *cobra.Command {
	var r reach
	var since uint64
	last := 50
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Show who changed what: the change log",
		Long: `Shows the change log: what was written and removed, when and by whom. Every write has
a number, without gaps. For admins.

  jackfield log                 the newest 50
  jackfield log --since 120     everything behind a number
  jackfield log --json          one object a line`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("since") && !cmd.Flags().Changed("last") {
				last = 0
			}
			return s.changeLog(cmd.Context(), c, since, last)
		},
	}
	r.flags(cmd)
	cmd.Flags().Uint64Var(&since, "since", 0, "everything behind this `NUMBER`")
	cmd.Flags().IntVar(&last, "last", last, "at most so many, the newest; 0: all")
	return cmd
}

const mostLast = 1000 // that the API looks up at once

func (s *shell) changeLog(ctx context.Context, c *client, since uint64, last int) error {
	stop := s.waiting("reading the log")
	var all []api.Change
	atOnce := last > 0 && last <= mostLast
	for range maxPages {
		var page api.ChangeList
		query := url.Values{"since": {strconv.FormatUint(since, 10)}, "limit": {"1000"}}
		if atOnce {
			query = url.Values{"since": query["since"], "last": {strconv.Itoa(last)}}
		}
		if _, err := c.do(ctx, request{method: http.MethodGet, path: place("log"), query: query}, &page); err != nil {
			stop()
			return err
		}
		all = append(all, page.Changes...)
		if last > 0 {
			all = all[max(0, len(all)-last):]
		}
		if atOnce || len(page.Changes) == 0 || page.Next <= since {
			break
		}
		since = page.Next
	}
	stop()
	if s.json {
		for _, entry := range all {
			line, err := json.Marshal(entry)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.out, "%s\n", line)
		}
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(s.out, "Nothing was changed.")
		return nil
	}
	t := table{head: []string{"NUMBER", "AT", "BY", "WHAT"}, most: map[int]int{2: 24}}
	for _, entry := range all {
		t.row(text(strconv.FormatUint(entry.Number, 10)), text(entry.At.Local().Format(time.DateTime)), text(orDash(entry.By)), text(subject(entry)+" "+verb(entry)))
	}
	s.print(t)
	return nil
}
