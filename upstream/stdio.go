package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// How long a process is given to end: after its input was closed, and again
// after it was asked to (SIGTERM).
const stopGrace = 2 * time.Second

// lastOutput is how long what a process wrote may take to arrive after its end.
const lastOutput = 500 * time.Millisecond

// process is a server that is a child process, in a process group of its own and
// behind a guard where there is one (guard_unix.go). Four goroutines serve it: one
// writes its input, one reads its output, one keeps what it says on stderr, one
// starts it and waits for its end.
type process struct {
	pipe
	cmd    *exec.Cmd
	life   *os.File // its end ends the guard and all behind it; nil: no guard
	input  chan []byte
	stdin  *os.File
	stdout *os.File
	stderr *os.File
	tail   tail

	quit   chan struct{} // closed when its input is to be closed
	quits  sync.Once
	read   chan struct{} // closed when its output was read to the end
	told   chan struct{} // closed when stderr was
	exited chan struct{} // closed when it has ended and was waited for
}

// start starts the command. The process goes on until stop.
func start(c *Conn) (*process, error) {
	e := &c.opts.Endpoint
	p := &process{
		input: make(chan []byte), quit: make(chan struct{}),
		read: make(chan struct{}), told: make(chan struct{}), exited: make(chan struct{}),
	}
	p.pipe = pipe{c: c, write: p.writeLine, stop: p.stopProcess}
	for _, s := range e.Env {
		p.tail.hide(s.Reveal())
	}
	env := environment(e.Env)
	path, err := lookUp(e.Command, e.Env["PATH"].Reveal())
	if err != nil {
		return nil, cannotStart(e, err)
	}
	p.cmd = &exec.Cmd{Path: path, Args: append([]string{e.Command}, e.Args...), Env: env, Dir: e.Dir}
	theirs, err := p.openPipes()
	if err == nil {
		theirs, err = p.putBehind(c.opts.Guard, e.Limits, theirs)
	}
	ownGroup(p.cmd, p.life != nil)
	var all sync.WaitGroup
	if err == nil {
		started := make(chan error, 1)
		go p.run(started, &all)
		err = <-started
	}
	for _, f := range theirs {
		_ = f.Close()
	}
	if err != nil {
		p.closePipes()
		return nil, cannotStart(e, err)
	}
	all.Go(p.writeInput)
	all.Go(p.readOutput)
	all.Go(p.readStderr)
	return p, nil
}

// errNoGuard says that limits were asked for that nobody would set.
var errNoGuard = errors.New("its limits cannot be set: this needs a guard (upstream.Options.Guard), and Linux")

// putBehind makes the command one of the guard's, which is given the limits and
// one end of a pipe whose other end is ours alone.
func (p *process) putBehind(guard []string, limits jackfield.ProcessLimits, theirs []*os.File) ([]*os.File, error) {
	if limits != (jackfield.ProcessLimits{}) && (len(guard) == 0 || !guardLimits) {
		return theirs, errNoGuard
	}
	if len(guard) == 0 || !guardable {
		return theirs, nil
	}
	life, ours, err := os.Pipe()
	if err != nil {
		return theirs, err
	}
	p.life = ours
	args := slices.Concat(guard, guardArgs(limits, p.cmd.Path), p.cmd.Args)
	p.cmd.Path, p.cmd.Args, p.cmd.ExtraFiles = guard[0], args, []*os.File{life}
	return append(theirs, life), nil
}

// run starts the process and waits for its end, on one thread: without a guard,
// Linux ends the process when the thread that started it ends.
func (p *process) run(started chan<- error, all *sync.WaitGroup) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.wait(all)
	}
}

func cannotStart(e *jackfield.Endpoint, err error) *failure {
	what := fmt.Sprintf("cannot start %q: %v", e.Command, rootCause(err))
	switch {
	case errors.Is(err, exec.ErrNotFound):
		what = fmt.Sprintf("the command %q was not found; install it, or write its full path", e.Command)
	case errors.Is(err, errNoGuard):
		return &failure{code: jackfield.Invalid, stage: StageSpawn, forSomeone: true, what: what, err: err}
	case e.Dir != "" && errors.Is(err, os.ErrNotExist):
		what = fmt.Sprintf("cannot start %q in the directory %q: %v", e.Command, e.Dir, rootCause(err))
	}
	return &failure{code: jackfield.Unavailable, stage: StageSpawn, serverWide: true, what: what, err: err}
}

// openPipes makes the pipes and returns the ends that are the child's.
func (p *process) openPipes() (theirs []*os.File, err error) {
	var in, out, errs *os.File
	if in, p.stdin, err = os.Pipe(); err != nil {
		return nil, err
	}
	theirs = append(theirs, in)
	if p.stdout, out, err = os.Pipe(); err != nil {
		return theirs, err
	}
	theirs = append(theirs, out)
	if p.stderr, errs, err = os.Pipe(); err != nil {
		return theirs, err
	}
	// Plain files, so that the end of the process does not wait for grandchildren
	// that hold a pipe open.
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, out, errs
	return append(theirs, errs), nil
}

func (p *process) closePipes() {
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr, p.life} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// inherited are the variables that a child gets from our own environment: what
// programs cannot do without, and no secret.
var inherited = map[bool][]string{
	false: {"HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"},
	true: {
		"APPDATA", "COMSPEC", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PATH", "PATHEXT", "PROCESSOR_ARCHITECTURE",
		"PROGRAMDATA", "PROGRAMFILES", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "USERNAME", "USERPROFILE",
	},
}[runtime.GOOS == "windows"]

func environment(own map[string]jackfield.Secret) []string {
	env := make([]string, 0, len(inherited)+len(own))
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			if _, replaced := own[name]; !replaced {
				env = append(env, name+"="+value)
			}
		}
	}
	for name, value := range own {
		env = append(env, name+"="+value.Reveal())
	}
	slices.Sort(env)
	return env
}

// lookUp finds the command, on the path that the child will have.
func lookUp(command, path string) (string, error) {
	if path == "" || strings.ContainsRune(command, filepath.Separator) {
		return exec.LookPath(command)
	}
	for _, dir := range filepath.SplitList(path) {
		if found, err := exec.LookPath(filepath.Join(dir, command)); err == nil && filepath.IsAbs(found) {
			return found, nil
		}
	}
	return "", exec.ErrNotFound
}

// writeLine sends one message on one line. White space is all that a line end in
// JSON text can be.
func (p *process) writeLine(ctx context.Context, text []byte) error {
	for i, b := range text {
		if b == '\n' || b == '\r' {
			text[i] = ' '
		}
	}
	select {
	case p.input <- append(text, '\n'):
		return nil
	case <-p.exited:
		return &failure{code: jackfield.Unavailable, notSent: true, what: "the process has ended"}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// writeInput writes what is sent, until the process is asked to end.
func (p *process) writeInput() {
	defer func() { _ = p.stdin.Close() }()
	for {
		select {
		case line := <-p.input:
			if _, err := p.stdin.Write(line); err != nil {
				p.c.opts.Hooks.ignored("a message that the process did not read: " + rootCause(err).Error())
				p.closed("input") // of its calls some may have been read before: none counts as not sent
				return
			}
		case <-p.quit:
			return
		case <-p.exited:
			return
		}
	}
}

func (p *process) readOutput() {
	p.readLines()
	close(p.read)
	p.closed("output")
}

// closed ends the connection if the process closed its input or output and lives
// on: then it is of no use. If it does not live on, its end says why.
func (p *process) closed(what string) {
	t := time.NewTimer(2 * lastOutput)
	defer t.Stop()
	select {
	case <-p.exited:
	case <-t.C:
		p.c.fail(&failure{
			code: jackfield.Unavailable, stage: StageSpawn, serverWide: true,
			what: "the process closed its " + what + p.tail.words(),
		})
	}
}

func (p *process) readLines() {
	lines := wire.NewLineReader(p.stdout, p.c.opts.Limits.Message)
	for {
		line, err := lines.Next()
		switch {
		case errors.Is(err, wire.ErrTooLarge):
			p.tooLong(p.c.opts.Limits.Message)
		case err != nil:
			return
		case line[0] == '{' || line[0] == '[':
			p.pipe.read(bytes.Clone(line))
		default: // banners and warnings; the protocol has no place for them
			p.tail.add(line)
			p.c.opts.Hooks.ignored("a line of output that is not a message")
		}
	}
}

func (p *process) readStderr() {
	defer close(p.told)
	const longest = 4 << 10
	lines := wire.NewLineReader(p.stderr, longest)
	for {
		line, err := lines.Next()
		switch {
		case errors.Is(err, wire.ErrTooLarge):
			p.tail.add([]byte("(a very long line)"))
		case err != nil:
			return
		default:
			p.tail.add(line)
		}
	}
}

// wait waits for the end of the process and of the goroutines around it.
func (p *process) wait(all *sync.WaitGroup) {
	_ = p.cmd.Wait() // ProcessState says it
	killGroup(p.cmd) // what it left behind; a guard leaves nothing, unless it was killed
	until := time.Now().Add(lastOutput)
	for _, f := range []*os.File{p.stdout, p.stderr} {
		if f.SetReadDeadline(until) != nil { // not on Windows
			_ = f.Close()
		}
	}
	<-p.read
	<-p.told
	p.c.fail(&failure{
		code: jackfield.Unavailable, stage: StageSpawn, serverWide: true,
		what: fmt.Sprintf("the process has ended (%v)%s", p.cmd.ProcessState, p.tail.words()),
	})
	close(p.exited)
	_ = p.stdin.Close() // a write under way ends, too
	all.Wait()
	p.closePipes()
}

// stopProcess ends the process: its input is closed, then it is asked to end,
// at once if it never served, then it is ended. When ctx ends, there is no more
// waiting.
func (p *process) stopProcess(ctx context.Context) error {
	p.quits.Do(func() { close(p.quit) })
	steps := []func(){p.terminate, p.kill}
	if p.c.shape.Load() == nil { // it never served, and somebody waits to hear why
		p.terminate()
		steps = steps[1:]
	}
	for _, next := range steps {
		t := time.NewTimer(stopGrace)
		select {
		case <-p.exited:
			t.Stop()
			return nil
		case <-t.C:
		case <-ctx.Done():
			next = p.kill
		}
		t.Stop()
		next()
	}
	t := time.NewTimer(stopGrace)
	defer t.Stop()
	select {
	case <-p.exited:
		return nil
	case <-t.C:
		return fmt.Errorf("upstream: process %d does not end", p.cmd.Process.Pid)
	}
}

func (p *process) terminate() { terminateGroup(p.cmd) }

// kill ends the process and all that it started.
func (p *process) kill() {
	if p.life != nil {
		_ = p.life.Close() // the guard reaches what left the group, too
		return
	}
	killGroup(p.cmd)
}

// tail keeps the last lines that a process wrote, for the reason of its end.
type tail struct {
	mu      sync.Mutex // guards what follows
	lines   []string
	secrets []string
}

const (
	tailLines = 12
	tailWidth = 300
)

// hide keeps a secret out of the lines.
func (t *tail) hide(secret string) {
	const shortest = 6 // anything shorter also stands in lines that are no secret
	if len(secret) >= shortest {
		t.secrets = append(t.secrets, secret)
	}
}

func (t *tail) add(line []byte) {
	s := string(line)
	for _, secret := range t.secrets {
		s = strings.ReplaceAll(s, secret, "[redacted]")
	}
	s = snippet([]byte(s))
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, s[:min(len(s), tailWidth)])
}

// words are the last lines as part of a sentence; empty when there are none.
func (t *tail) words() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		return ""
	}
	return "; its last words: " + strings.Join(t.lines, " | ")
}
