//go:build unix

package upstream

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the command the leader of a process group, so that what it
// starts can be ended with it, and so that a signal from our terminal is not its.
// A guard sees our end by itself, and has something to do then.
func ownGroup(cmd *exec.Cmd, guard bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if !guard {
		cmd.SysProcAttr = diesWithUs()
	}
	cmd.SysProcAttr.Setpgid = true
}

func terminateGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }

func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
