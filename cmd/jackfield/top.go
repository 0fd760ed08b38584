package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/jackfield-dev/jackfield/internal/api"
)

const (
	topEvery    = time.Second
	usualHeight = 24
	topHead     = 3 // lines above the servers
	ctrlC       = 3
)

func (s *shell) topCommand() *cobra.Command {
	var r reach
	var once bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch the servers behind a gateway that runs, and their calls",
		Long: `Shows the servers behind a gateway that runs, the busiest first, anew every second,
until q or Ctrl-C. Where the output is no terminal, and with --once or --json, it
looks twice, a second apart, and prints that.

  OPEN     connections that are open, and in brackets those being opened.
  NOW      calls under way, waiting for a connection included.
  CALL/S   calls that ended in the last second, FAIL/S those of them without a result.
  CALLS    since the gateway started, FAILED those of them without a result.`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			if _, onTerminal := s.terminal(s.out); once || s.json || !onTerminal {
				return s.topOnce(cmd.Context(), c)
			}
			return s.topLive(cmd.Context(), c)
		},
	}
	r.flags(cmd)
	cmd.Flags().BoolVar(&once, "once", false, "print it once and end")
	return cmd
}

// look is what a gateway said at one moment.
type look struct {
	at      time.Time
	ready   api.ReadyAnswer
	servers []api.ServerStatus
}

// activity is what happened between two looks.
type activity struct {
	Status            string           `json:"status"` // of the gateway, as /readyz has it
	Reasons           []string         `json:"reasons,omitempty"`
	Version           string           `json:"version"`
	InFlight          int64            `json:"inFlight"`
	CallsPerSecond    float64          `json:"callsPerSecond"`
	FailuresPerSecond float64          `json:"failuresPerSecond"`
	Servers           []serverActivity `json:"servers"` // the busiest first
}

type serverActivity struct {
	Name              string  `json:"name"`
	State             string  `json:"state"`
	Open              int     `json:"open"`
	Connecting        int     `json:"connecting"`
	InFlight          int64   `json:"inFlight"`
	CallsPerSecond    float64 `json:"callsPerSecond"`
	FailuresPerSecond float64 `json:"failuresPerSecond"`
	Calls             uint64  `json:"calls"`
	Failed            uint64  `json:"failed"`
	Reason            string  `json:"reason,omitempty"`
}

func (c *client) look(ctx context.Context) (look, error) {
	l := look{at: time.Now()}
	list, err := c.servers(ctx)
	if err != nil {
		return l, err
	}
	l.servers = list.Servers
	if err := c.get(ctx, "/readyz", &l.ready); err != nil {
		l.ready.Status = api.Draining // it answered a moment ago
	}
	return l, nil
}

// between is what happened from one look to the next.
func between(before, now look) activity {
	a := activity{
		Status: string(now.ready.Status), Reasons: now.ready.Reasons, Version: now.ready.Version,
		Servers: make([]serverActivity, 0, len(now.servers)),
	}
	then := map[string]api.Calls{}
	for _, v := range before.servers {
		if v.Calls != nil {
			then[v.Name] = *v.Calls
		}
	}
	seconds := now.at.Sub(before.at).Seconds()
	rate := func(before, now uint64) float64 {
		if seconds <= 0 || now < before { // it was restarted
			return 0
		}
		return float64(now-before) / seconds
	}
	for _, v := range now.servers {
		line := serverActivity{Name: v.Name, State: stateText(v), Open: v.Connections.Ready, Connecting: v.Connections.Connecting, Reason: v.Reason}
		if v.Calls != nil {
			line.InFlight, line.Calls, line.Failed = v.Calls.InFlight, v.Calls.Total, v.Calls.Failed
			if known, ok := then[v.Name]; ok {
				line.CallsPerSecond, line.FailuresPerSecond = rate(known.Total, v.Calls.Total), rate(known.Failed, v.Calls.Failed)
			}
		}
		a.InFlight += line.InFlight
		a.CallsPerSecond += line.CallsPerSecond
		a.FailuresPerSecond += line.FailuresPerSecond
		a.Servers = append(a.Servers, line)
	}
	slices.SortStableFunc(a.Servers, func(x, y serverActivity) int {
		return cmp.Or(cmp.Compare(y.CallsPerSecond, x.CallsPerSecond), cmp.Compare(y.InFlight, x.InFlight))
	})
	return a
}

// topOnce looks twice and prints what happened.
func (s *shell) topOnce(ctx context.Context, c *client) error {
	stop := s.waiting("watching for a second")
	defer stop()
	before, err := c.look(ctx)
	if err != nil {
		return err
	}
	timer := time.NewTimer(topEvery)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	now, err := c.look(ctx)
	stop()
	if err != nil {
		return err
	}
	a := between(before, now)
	if s.json {
		return s.printJSON(a)
	}
	_, err = s.out.Write(s.frame(a, len(a.Servers)+topHead+1, "\n"))
	return err
}

// topLive shows what happens until somebody has seen enough.
func (s *shell) topLive(ctx context.Context, c *client) error {
	ctx, leaving := context.WithCancel(ctx)
	defer leaving()
	restore := s.keyboard(leaving)
	defer restore()
	const enter, leave = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l" // a screen of its own, without a cursor
	fmt.Fprint(s.out, enter)
	defer fmt.Fprint(s.out, leave)
	ticker := time.NewTicker(topEvery)
	defer ticker.Stop()
	var before look
	for {
		now, err := c.look(ctx)
		var shown []byte
		switch {
		case ctx.Err() != nil:
			return nil // that is how one leaves
		case err != nil: // it may come back
			shown = []byte(clip(printable(err.Error()), s.width()) + "\x1b[K\r\n")
		default:
			shown = s.frame(between(before, now), s.height(), "\x1b[K\r\n")
			before = now
		}
		if _, err := s.out.Write(slices.Concat([]byte("\x1b[H"), shown, []byte("\x1b[J"))); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// frame is what top shows, of at most so many lines, each with that end.
func (s *shell) frame(a activity, height int, end string) []byte {
	colour, width := s.painter(s.out), s.width()
	if _, onTerminal := s.terminal(s.out); !onTerminal {
		width = 1 << 20
	}
	var b bytes.Buffer
	line := func(code, text string) {
		text = clip(printable(text), width)
		if code != "" {
			text = colour(code, text)
		}
		b.WriteString(text + end)
	}
	line(bold, fmt.Sprintf("jackfield %s is %s  %d under way  %.1f calls/s  %.1f failures/s",
		a.Version, a.Status, a.InFlight, a.CallsPerSecond, a.FailuresPerSecond))
	line(yellow, strings.Join(a.Reasons, "; "))
	name := len("SERVER")
	for _, v := range a.Servers {
		name = min(max(name, len([]rune(v.Name))), max(width/3, 8))
	}
	line(dim, fmt.Sprintf("%-*s %9s %6s %8s %8s %9s %8s  %s", name, "SERVER", "OPEN", "NOW", "CALL/S", "FAIL/S", "CALLS", "FAILED", "STATE"))
	room := max(height-topHead-1, 1)
	for i, v := range a.Servers {
		if i == room-1 && len(a.Servers) > room {
			line(dim, fmt.Sprintf("… and %s", plural(len(a.Servers)-i, "server more")))
			break
		}
		open := fmt.Sprint(v.Open)
		if v.Connecting > 0 {
			open += fmt.Sprintf(" (%d)", v.Connecting)
		}
		code := ""
		if strings.HasPrefix(v.State, api.StateFailed) || v.State == api.StateInvalid {
			code = red
		}
		line(code, fmt.Sprintf("%-*s %9s %6d %8.1f %8.1f %9d %8d  %s", name, clip(v.Name, name), open, v.InFlight,
			v.CallsPerSecond, v.FailuresPerSecond, v.Calls, v.Failed, strings.TrimSuffix(v.State+": "+v.Reason, ": ")))
	}
	return b.Bytes()
}

func (s *shell) width() int {
	width, _ := s.terminal(s.out)
	return cmp.Or(width, usualWidth)
}

// height is how many lines the terminal has.
func (s *shell) height() int {
	if f, ok := s.out.(*os.File); ok {
		if _, height, err := term.GetSize(int(f.Fd())); err == nil && height > 0 {
			return height
		}
	}
	return usualHeight
}

// keyboard calls leave when somebody wants to: with q, or the Ctrl-C that a terminal
// gives as a key while it gives each key at once. restore makes it as it was.
func (s *shell) keyboard(leave func()) (restore func()) {
	restore = func() {}
	if f, ok := s.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		if state, err := term.MakeRaw(int(f.Fd())); err == nil {
			restore = func() { _ = term.Restore(int(f.Fd()), state) }
		}
	}
	go func() {
		key := make([]byte, 1)
		for {
			if _, err := s.in.Read(key); err != nil {
				return // nobody can press anything; a signal is left
			}
			if c := key[0]; c == 'q' || c == 'Q' || c == ctrlC {
				leave()
				return
			}
		}
	}()
	return restore
}
