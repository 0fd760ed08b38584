//go:build unix

package upstream

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"

	"github.com/jackfield-dev/jackfield"
)

const guardable = true

// lifeFile is the file of a guard whose end means that its gateway is gone, or
// wants the process gone.
const lifeFile = 3

// guardArgs are the arguments of a guard before those of the command itself.
func guardArgs(l jackfield.ProcessLimits, path string) []string {
	var args []string
	for name, n := range map[string]int64{"memory": l.Memory, "files": int64(l.Files), "processes": int64(l.Processes)} {
		if n > 0 {
			args = append(args, "-"+name+"="+strconv.FormatInt(n, 10))
		}
	}
	return append(args, "--", path)
}

// Guard is the whole life of a guard process; it does not return. A program that
// is named in Options.Guard calls it as the first thing it does, with its
// arguments behind those that are named there.
//
// The guard starts the command, which has the guard's input, output and stderr to
// itself, and ends as the command ended. When the command has ended, and when the
// pipe to the gateway breaks because that closed it or was killed, the guard kills
// what the command started and is still there: on Linux all of it, also what has
// made itself a daemon; elsewhere its process group.
func Guard(args []string) {
	debug.SetGCPercent(-1) // there will be nothing to collect
	flags := flag.NewFlagSet("guard", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var l jackfield.ProcessLimits
	flags.Int64Var(&l.Memory, "memory", 0, "")
	flags.IntVar(&l.Files, "files", 0, "")
	flags.IntVar(&l.Processes, "processes", 0, "")
	if err := flags.Parse(args); err != nil || flags.NArg() < 2 {
		refuse("a guard was started by something that is not a gateway of its version")
	}
	if _, _, e := syscall.Syscall(syscall.SYS_FCNTL, lifeFile, syscall.F_SETFD, syscall.FD_CLOEXEC); e != 0 {
		refuse("a guard was started by hand; it is for a gateway to start")
	}
	runtime.LockOSThread() // on Linux the end of the thread that starts the command ends that
	// Asked to end, the whole group is, with the command in it: the guard stays
	// until that has ended. What is caught here is not caught in the command.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	path, argv := flags.Arg(0), flags.Args()[1:]
	pid, err := startGuarded(path, argv, l)
	if err != nil {
		refuse(fmt.Sprintf("cannot start %q: %v", argv[0], err))
	}
	letGo()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for b := make([]byte, 1); ; {
			if n, err := syscall.Read(lifeFile, b); n == 0 || err != nil && err != syscall.EINTR {
				return
			}
		}
	}()
	watch(pid, ended, gone)
}

// refuse ends a guard that has nothing to guard; what it says becomes the last
// words of the process.
func refuse(why string) {
	_, _ = os.Stderr.WriteString(why + "\n")
	const notFound = 127 // as shells have it
	syscall.Exit(notFound)
}

// letGo closes the guard's ends of the command's pipes, so that they end with it.
func letGo() {
	null, err := syscall.Open(os.DevNull, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	for fd := range lifeFile {
		if err != nil || replace(null, fd) != nil {
			_ = syscall.Close(fd)
		}
	}
}

// watch waits until the command and everything behind it has ended, and sees to
// that when the command has ended or the gateway is gone.
func watch(command int, ended <-chan os.Signal, gone <-chan struct{}) {
	status, finish := syscall.WaitStatus(0), false
	for {
		select {
		case <-ended:
		case <-gone:
			gone, finish = nil, true
		}
		for {
			var s syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &s, syscall.WNOHANG, nil)
			if err == syscall.EINTR {
				continue
			}
			if err != nil { // there are none left
				endAs(status)
			}
			if pid == 0 {
				break
			}
			if pid == command {
				status, finish = s, true
			}
		}
		if finish {
			killChildren()
		}
	}
}

// endAs ends the guard as the command ended.
func endAs(status syscall.WaitStatus) {
	switch {
	case status.Signaled() && status.Signal() == syscall.SIGKILL: // memory was short, mostly
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case status.Signaled():
		const bySignal = 128 // as shells have it
		syscall.Exit(bySignal + int(status.Signal()))
	}
	syscall.Exit(status.ExitStatus())
}
