package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/upstream"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == guardCommand {
		upstream.Guard(os.Args[2:])
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	p := Program{Signals: signals}
	os.Exit(p.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// guardCommand makes this program the guard of a server's process. It is for the
// gateway and not for people, and comes before everything else to cost little.
const guardCommand = "guard"

// Program is the command line as a value, so that tests run it without a
// process. The zero value is the program as a shell starts it, but for signals.
type Program struct {
	Env      func(name string) (string, bool)       // environment variables; nil: those of the process
	Terminal func(stream any) (width int, yes bool) // whether a stream is a terminal, and how wide; nil: asks the system
	Signals  <-chan os.Signal                       // SIGHUP reloads, any other stops, a second one at once; nil: none come
}

// shell is one run of the program: its streams and what came from outside.
type shell struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) (string, bool)
	terminal func(any) (int, bool)

	json    bool            // --json: answers as JSON
	typed   *bufio.Reader   // of in, once a line of it was asked for
	serving atomic.Bool     // SIGHUP reloads; else it stops, as a terminal that goes away wants it
	reload  chan struct{}   // SIGHUP came; has room for one
	now     context.Context //nolint:containedctx // ends with the second signal: no more patience; lives as long as the run
}

// Run runs one command and returns the exit code: see exitCodes in errors.go.
// Nothing of it is left when Run returns, but a Read of in that never ended.
func (p Program) Run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	s := &shell{in: in, out: out, err: errs, env: p.Env, terminal: p.Terminal, reload: make(chan struct{}, 1)}
	if s.env == nil {
		s.env = os.LookupEnv
	}
	if s.terminal == nil {
		s.terminal = terminal
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	now, hurry := context.WithCancel(context.WithoutCancel(ctx))
	defer hurry()
	s.now = now
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.watch(p.Signals, done, stop, hurry)
	}()
	root := s.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	close(done)
	<-watched
	if err == nil {
		return exitOK
	}
	if cause := context.Cause(ctx); errors.Is(err, context.Canceled) && cause != nil {
		err = cause
	}
	var said *exitError
	if !errors.As(err, &said) || said.err != nil {
		fmt.Fprintln(s.err, "jackfield: "+err.Error())
	}
	return exitCode(err)
}

// watch turns signals into what they mean, until done is closed.
func (s *shell) watch(signals <-chan os.Signal, done <-chan struct{}, stop context.CancelCauseFunc, hurry context.CancelFunc) {
	stopping := false
	for {
		select {
		case <-done:
			return
		case sig := <-signals:
			if sig == syscall.SIGHUP && s.serving.Load() {
				select {
				case s.reload <- struct{}{}:
				default: // one is due already
				}
				continue
			}
			if stopping {
				hurry()
			}
			stopping = true
			stop(&exitError{code: exitInterrupted, err: jackfield.Errorf(jackfield.Unavailable, "interrupted")})
		}
	}
}
