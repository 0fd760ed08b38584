//go:build unix && !linux

package upstream

import (
	"errors"
	"os"
	"syscall"

	"github.com/jackfield-dev/jackfield"
)

const guardLimits = false

// startGuarded starts the command in the guard's process group.
func startGuarded(path string, argv []string, l jackfield.ProcessLimits) (pid int, err error) {
	if l != (jackfield.ProcessLimits{}) {
		return 0, errors.New("limits are set on Linux only")
	}
	return syscall.ForkExec(path, argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
}

// diesWithUs does nothing here: only Linux tells a process of its parent's end.
func diesWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func replace(fd, with int) error { return syscall.Dup2(fd, with) }

// killChildren kills the process group, the guard in it: nothing else finds out
// what is left.
func killChildren() { _ = syscall.Kill(0, syscall.SIGKILL) }
