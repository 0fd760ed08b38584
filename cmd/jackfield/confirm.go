package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// consent is how somebody agrees to a change.
type consent struct{ yes, dry bool }

func (k *consent) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&k.yes, "yes", false, "do it without asking")
}

// dryFlags adds --dry-run, for commands that show first what would change.
func (k *consent) dryFlags(cmd *cobra.Command) {
	k.flags(cmd)
	cmd.Flags().BoolVar(&k.dry, "dry-run", false, "show what would change, and change nothing")
}

// agreed asks the person a question whose answer is yes or no; no is an error, and
// so is that nobody can be asked.
func (s *shell) agreed(ctx context.Context, k consent, question string) error {
	if k.yes {
		return nil
	}
	if !s.attended() {
		return usagef("nothing was changed, for nobody can be asked here; add --yes to do it without asking")
	}
	for range maxTries {
		fmt.Fprintf(s.err, "%s [y/N] ", printable(question))
		text, err := s.readLine(ctx)
		switch {
		case errors.Is(err, errRefused):
			fmt.Fprintln(s.err)
		case err != nil:
			return err
		}
		switch strings.ToLower(text) {
		case "y", "yes":
			return nil
		case "", "n", "no":
			return &exitError{exitFailure, errors.New("nothing was changed")}
		}
	}
	return &exitError{exitFailure, fmt.Errorf("nothing was changed: %d answers were neither y nor n", maxTries)}
}

// readLine is the next line that the person types, without white space around it.
// The end of input is errRefused.
func (s *shell) readLine(ctx context.Context) (string, error) {
	if s.typed == nil {
		s.typed = bufio.NewReaderSize(s.in, 4096)
	}
	type typed struct {
		line string
		err  error
	}
	came := make(chan typed, 1)
	go func() {
		line, err := s.typed.ReadSlice('\n')
		came <- typed{string(line), err}
	}()
	select {
	case t := <-came:
		if errors.Is(t.err, io.EOF) && t.line == "" {
			return "", errRefused
		}
		if t.err != nil && !errors.Is(t.err, io.EOF) {
			return "", t.err
		}
		return strings.TrimSpace(t.line), nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// secret asks the person for something that is not shown while it is typed. Without
// a terminal it is the next line of the input.
func (s *shell) secret(ctx context.Context, prompt string) (string, error) {
	fmt.Fprint(s.err, printable(prompt)+": ")
	f, ok := s.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return s.readLine(ctx)
	}
	before, err := term.GetState(int(f.Fd()))
	if err != nil {
		return "", err
	}
	type typed struct {
		text []byte
		err  error
	}
	came := make(chan typed, 1)
	go func() {
		text, err := term.ReadPassword(int(f.Fd()))
		came <- typed{text, err}
	}()
	select {
	case t := <-came:
		fmt.Fprintln(s.err)
		if errors.Is(t.err, io.EOF) {
			t.err = errRefused
		}
		return strings.TrimSpace(string(t.text)), t.err
	case <-ctx.Done():
		_ = term.Restore(int(f.Fd()), before) // else the person's next words stay unseen as well
		fmt.Fprintln(s.err)
		return "", context.Cause(ctx)
	}
}

// sealed is what stands where a definition holds a secret.
const sealed = "[sealed]"

// resealed are the edits that a look at two definitions does not show: where sent,
// which made now of was, has another secret.
func resealed(was, now, sent *document.Node) []edit {
	var all []edit
	for _, e := range edits(nil, sent) {
		old := at(was, e.path)
		if at(now, e.path) == nil || old == nil || e.new.Text == sealed {
			continue
		}
		if at(now, e.path).Text == sealed && old.Text == sealed {
			all = append(all, edit{e.path, old, at(now, e.path)})
		}
	}
	return all
}

// showEdits shows on stderr what changes.
func (s *shell) showEdits(all []edit) {
	colour := s.painter(s.err)
	width, onTerminal := s.terminal(s.err)
	longest := 0
	for _, e := range all {
		longest = max(longest, utf8.RuneCountInString(printable(e.path.String())))
	}
	for _, e := range all {
		name := printable(e.path.String())
		name += strings.Repeat(" ", longest-utf8.RuneCountInString(name))
		line, code := "", yellow
		switch {
		case e.new == nil:
			line, code = "  - "+name+"  "+shownValue(e.old), red
		case e.old == nil:
			line, code = "  + "+name+"  "+shownValue(e.new), green
		case shownValue(e.old) == shownValue(e.new):
			line = "  ~ " + name + "  another secret"
		default:
			line = "  ~ " + name + "  " + shownValue(e.old) + " → " + shownValue(e.new)
		}
		if line = printable(line); onTerminal {
			line = clip(line, width)
		}
		fmt.Fprintln(s.err, colour(code, line))
	}
}
