package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// inEditor opens a definition in the person's editor until it can be read.
func (s *shell) inEditor(ctx context.Context, what string, n *document.Node) (*document.Node, error) {
	editor := s.editor()
	if editor == "" {
		return nil, usagef("set EDITOR to your editor, or use --set, --unset or -f FILE")
	}
	dir, err := os.MkdirTemp("", "jackfield-") // 0700
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it holds nothing that is not in the gateway
	file := filepath.Join(dir, "definition.json")
	text := "// The definition of " + printable(what) + ". Save and close to go on; what changes is shown then.\n" +
		"// Secrets read " + sealed + " and stay as they are where you leave that.\n" + indented(n) + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	for range maxTries {
		if err := s.runEditor(ctx, editor, file); err != nil {
			return nil, err
		}
		src, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		edited, err := parseTree("definition.json", src)
		switch {
		case err == nil && edited.IsNull():
			return nil, &exitError{exitFailure, errors.New("the file is empty; nothing was changed")}
		case err == nil && edited.Kind == document.Map:
			return edited, nil
		case err == nil:
			err = errors.New("a definition is an object: {…}")
		}
		fmt.Fprintln(s.err, printableLines(err.Error()))
		if err := s.agreed(ctx, consent{}, "Open it again?"); err != nil {
			return nil, err
		}
	}
	return nil, &exitError{exitFailure, errors.New("nothing was changed")}
}

// editor is the command line of the person's editor; empty: there is none.
func (s *shell) editor() string {
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if command, _ := s.env(name); strings.TrimSpace(command) != "" {
			return command
		}
	}
	return ""
}

func (s *shell) runEditor(ctx context.Context, editor, file string) error {
	words := strings.Fields(editor)
	cmd := exec.CommandContext(ctx, words[0], append(words[1:], file)...)
	if f, ok := s.in.(*os.File); ok {
		cmd.Stdin = f
	}
	cmd.Stdout, cmd.Stderr = s.err, s.err // stdout is for what the command answers
	if err := cmd.Run(); err != nil {
		return &exitError{exitFailure, fmt.Errorf("the editor %q ended with %w; nothing was changed", editor, err)}
	}
	return nil
}
