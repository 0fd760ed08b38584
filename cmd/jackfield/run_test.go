package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/goleak"

	"github.com/jackfield-dev/jackfield"
)

// screen is a terminal of a test: what was written to it so far.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// waitFor waits until the screen shows something.
func (s *screen) waitFor(t *testing.T, what string) {
	t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(s.String(), what); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never saw %q, but:\n%s", what, s)
		}
	}
}

// rig runs the program inside the test.
type rig struct {
	t       *testing.T
	data    string
	signals chan os.Signal
	width   int // of the terminal; zero: none
	env     map[string]string
}

func newRig(t *testing.T) *rig {
	return &rig{t: t, data: t.TempDir(), signals: make(chan os.Signal, 4), env: map[string]string{}}
}

func (r *rig) program() Program {
	return Program{
		Env: func(name string) (string, bool) {
			if name == "JACKFIELD_DATA" {
				return r.data, true
			}
			v, ok := r.env[name]
			return v, ok
		},
		Terminal: func(any) (int, bool) { return r.width, r.width > 0 },
		Signals:  r.signals,
	}
}

// run runs one command to its end.
func (r *rig) run(in string, args ...string) (code int, out, errs string) {
	r.t.Helper()
	var stdout, stderr screen
	p := r.program()
	p.Signals = nil
	code = p.Run(r.t.Context(), args, strings.NewReader(in), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// served is a gateway that serves inside the test.
type served struct {
	out, errs screen
	code      chan int
}

func (r *rig) serve(args ...string) *served {
	r.t.Helper()
	s := &served{code: make(chan int, 1)}
	go func() {
		s.code <- r.program().Run(context.Background(), append([]string{"serve", "--listen", "127.0.0.1:0"}, args...), strings.NewReader(""), &s.out, &s.errs)
	}()
	s.out.waitFor(r.t, "/mcp")
	return s
}

// ends waits for the gateway's exit code.
func (s *served) ends(t *testing.T) int {
	t.Helper()
	select {
	case code := <-s.code:
		return code
	case <-time.After(patience):
		t.Fatalf("it did not end:\n%s", s.errs.String())
		return -1
	}
}

func (r *rig) stop(s *served) {
	r.t.Helper()
	r.signals <- os.Interrupt
	if code := s.ends(r.t); code != exitOK {
		r.t.Errorf("exit code %d\n%s", code, s.errs.String())
	}
}

func TestOnATerminalProgressIsOneLineThatGoesAway(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r := newRig(t)
	s := r.serve()
	r.run("", "call", "notes", "add_note", "--arg", "title=Milk")
	r.run("", "call", "notes", "add_note", "--arg", "title=Bread\x1b[31m")
	_, _, errs := r.run("", "call", "notes", "export_notes", "--arg", "seconds=0.1")
	if errs != "" {
		t.Errorf("without a terminal: %q", errs)
	}
	r.width = 60
	code, out, errs := r.run("", "call", "notes", "export_notes", "--arg", "seconds=0.1")
	for _, want := range []string{
		"\r\x1b[K░░░░░░░░░░░░░░░░░░░░   0%  writing Milk",
		"\r\x1b[K██████████░░░░░░░░░░  50%  writing Bread\uFFFD[31m",
		"\r\x1b[K████████████████████ 100%  done",
	} {
		if !strings.Contains(errs, want) {
			t.Errorf("%q is not in %q", want, errs)
		}
	}
	if code != exitOK || !strings.HasSuffix(errs, "\r\x1b[K") || !strings.Contains(out, "# Milk") {
		t.Errorf("code %d, stderr %q, stdout %q", code, errs, out)
	}
	if strings.Contains(out, "\x1b[31m") || strings.Contains(errs, "\x1b[31m") {
		t.Errorf("what a note says reaches the terminal: %q %q", out, errs)
	}
	r.width = 0
	r.stop(s)
}

func TestThePersonAtTheTerminalIsAsked(t *testing.T) {
	r := newRig(t)
	config := filepath.Join(t.TempDir(), "c.json")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"mcpServers":{
"modern":{"command":%q,"args":["demo","notes"]},
"legacy":{"command":%q,"args":["demo","notes","--era","legacy"],"sharing":"owner"}}}`, self, self)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := r.serve("--config", config)
	r.run("", "call", "modern", "add_note", "--arg", "title=Milk")
	r.width = 80
	r.run("", "call", "legacy", "add_note", "--arg", "title=Milk", "--legacy")
	for _, c := range []struct {
		server, typed string
		flags         []string
		out, asked    string
		code          int
	}{
		{"modern", "n\n", nil, "Not confirmed: nothing was deleted\n", "modern asks: Delete 1 note for good?", exitOK},
		{"modern", "", nil, "Not confirmed: nothing was deleted\n", "refused", exitOK},
		{"modern", "\n", nil, "Not confirmed: nothing was deleted\n", "Confirm – Yes, do it [y/N]: ", exitOK},
		{"modern", "perhaps\ny\n", nil, "Deleted 1 note\n", "please answer y or n", exitOK},
		{"legacy", "y\n", []string{"--legacy"}, "Deleted 1 note\n", "legacy asks: Delete 1 note for good?", exitOK},
	} {
		code, out, errs := r.run(c.typed, append([]string{"call", c.server, "clear_notes"}, c.flags...)...)
		if code != c.code || out != c.out || !strings.Contains(errs, c.asked) {
			t.Errorf("%s, typed %q: code %d, stdout %q, stderr %q", c.server, c.typed, code, out, errs)
		}
	}
	r.width = 0
	r.stop(s)
}

func TestSIGHUPTakesAChangedFileOverAndABadOneChangesNothing(t *testing.T) {
	r := newRig(t)
	config := filepath.Join(t.TempDir(), "c.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("mcpServers: {one: {command: cat, startup: false}}")
	s := r.serve("--config", config)
	write("mcpServers: {two: {command: cat, startup: false}}")
	r.signals <- syscall.SIGHUP
	s.errs.waitFor(t, "configuration taken over")
	write("mcpServers: [")
	r.signals <- syscall.SIGHUP
	s.errs.waitFor(t, "the one before stays")
	if _, out, _ := r.run("", "servers"); !strings.Contains(out, "two") || strings.Contains(out, "one") {
		t.Errorf("servers: %s", out)
	}
	r.stop(s)

	s = r.serve()
	r.signals <- syscall.SIGHUP
	s.errs.waitFor(t, "there is no configuration file to read again")
	r.stop(s)
}

func TestASecondSignalEndsItAtOnce(t *testing.T) {
	r := newRig(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "c.json")
	text := fmt.Sprintf(`{"mcpServers":{"stubborn":{"command":"sh","args":["-c","trap '' TERM; %s demo notes; while :; do sleep 1; done"]}}}`, self)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := r.serve("--config", config)
	r.run("", "call", "stubborn", "list_notes")
	began := time.Now()
	r.signals <- os.Interrupt
	r.signals <- os.Interrupt
	if code := s.ends(t); code != exitInterrupted || time.Since(began) > 3*time.Second {
		t.Errorf("it took %v and ended with %d", time.Since(began), code)
	}
	if _, err := readAddress(r.data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the address file: %v", err)
	}
}

func TestASignalInterruptsACommand(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		r := newRig(t)
		in, typing := io.Pipe()
		var out, errs screen
		done := make(chan int, 1)
		go func() { done <- r.program().Run(t.Context(), []string{"demo", "time"}, in, &out, &errs) }()
		if _, err := typing.Write([]byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}` + "\n")); err != nil {
			t.Fatal(err)
		}
		out.waitFor(t, `"result":{}`)
		r.signals <- signal
		if code := <-done; code != exitOK || errs.String() != "" {
			t.Errorf("%v: demo ended with %d, %q", signal, code, errs.String())
		}
	}
	r := newRig(t)
	s := r.serve()
	r.run("", "call", "notes", "add_note", "--arg", "title=Milk")
	caller := newRig(t)
	caller.data = r.data
	caller.width = 80
	var out, errs screen
	done := make(chan int, 1)
	go func() {
		done <- caller.program().Run(t.Context(), []string{"call", "notes", "export_notes", "--arg", "seconds=2"}, strings.NewReader(""), &out, &errs)
	}()
	errs.waitFor(t, "writing Milk")
	caller.signals <- os.Interrupt
	if code := <-done; code != exitInterrupted || !strings.HasSuffix(errs.String(), "jackfield: interrupted\n") {
		t.Errorf("an interrupted call ended with %d, %q", code, errs.String())
	}
	r.stop(s)
}

func TestTablesFitTheTerminal(t *testing.T) {
	r := newRig(t)
	s := r.serve()
	for _, width := range []int{40, 70, 100} {
		r.width = width
		_, out, _ := r.run("", "tools")
		for line := range strings.Lines(out) {
			shown := []rune(strings.NewReplacer("\x1b[0m", "", "\x1b[1m", "", "\x1b[2m", "", "\n", "").Replace(line))
			if len(shown) > max(width, 70) {
				t.Errorf("%d characters on %d: %q", len(shown), width, string(shown))
			}
		}
		if !strings.Contains(out, "…") || !strings.Contains(out, "\x1b[1mhash\x1b[0m") {
			t.Errorf("on %d: %q", width, out)
		}
	}
	r.env["NO_COLOR"] = "1"
	if _, out, _ := r.run("", "servers"); strings.Contains(out, "\x1b") {
		t.Errorf("coloured in spite of NO_COLOR: %q", out)
	}
	r.width = 0
	if _, out, _ := r.run("", "tools"); strings.Contains(out, "…") || strings.Contains(out, "\x1b") {
		t.Errorf("cut or coloured without a terminal: %q", out)
	}
	r.stop(s)
}

func TestEveryCodeHasAnExitCode(t *testing.T) {
	for _, code := range jackfield.Codes() {
		if exitCodes[code] < exitFailure {
			t.Errorf("%v has no exit code", code)
		}
	}
	if len(exitCodes) != len(jackfield.Codes()) {
		t.Errorf("%d exit codes for %d codes", len(exitCodes), len(jackfield.Codes()))
	}
	var known []jackfield.Code
	for _, code := range rpcCodes {
		known = append(known, code)
	}
	for _, code := range jackfield.Codes() {
		if code != jackfield.Internal && !slices.Contains(known, code) {
			t.Errorf("no JSON-RPC error is %v", code)
		}
	}
}

// TestTheDocumentationHasTheExitCodesAndCommands holds docs/cli.md to the program.
func TestTheDocumentationHasTheExitCodesAndCommands(t *testing.T) {
	doc, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []int{exitOK, exitFailure, exitUsage, exitUnreachable, exitToolError, exitConfig, exitConflict, exitInterrupted} {
		if !strings.Contains(string(doc), fmt.Sprintf("\n| %d |", code)) {
			t.Errorf("docs/cli.md does not explain the exit code %d", code)
		}
	}
	root := (&shell{}).root()
	for _, cmd := range append(root.Commands(), root) {
		if cmd.Name() == "completion" || cmd.Name() == "help" {
			continue
		}
		for _, c := range append(cmd.Commands(), cmd) {
			if !strings.Contains(string(doc), "`"+c.CommandPath()) {
				t.Errorf("docs/cli.md does not speak of %q", c.CommandPath())
			}
			c.LocalFlags().VisitAll(func(f *pflag.Flag) {
				if f.Name != "help" && !strings.Contains(string(doc), "`--"+f.Name) {
					t.Errorf("docs/cli.md does not speak of --%s of %q", f.Name, c.CommandPath())
				}
			})
		}
	}
}

func TestATokenFileThatHoldsNoTokenIsRefused(t *testing.T) {
	r := newRig(t)
	r.env["JACKFIELD_URL"] = "http://127.0.0.1:1"
	long := filepath.Join(t.TempDir(), "long")
	if err := os.WriteFile(long, bytes.Repeat([]byte("x"), maxToken+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{long, t.TempDir(), os.DevNull} {
		if code, _, errs := r.run("", "servers", "--token-file", path); code != exitUsage || !strings.HasPrefix(errs, "jackfield: --token-file: ") {
			t.Errorf("%s: code %d, %q", path, code, errs)
		}
	}
}

func TestAnAddressFileIsReadWithCare(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "long": "http://" + strings.Repeat("a", maxAddress), "with a password": "http://a:b@127.0.0.1:1", "with a query": "http://127.0.0.1:1?x",
	} {
		r := newRig(t)
		if err := os.WriteFile(filepath.Join(r.data, addressFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, errs := r.run("", "servers"); code == exitOK || strings.Count(errs, "\n") != 1 || len(errs) > 500 {
			t.Errorf("%s: code %d, %q", name, code, errs)
		}
	}
}
