package upstream

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/jackfield-dev/jackfield"
)

const (
	guardable   = false
	guardLimits = false
)

func guardArgs(jackfield.ProcessLimits, string) []string { return nil }

// Guard ends the program: there are no guards on Windows.
func Guard([]string) { os.Exit(1) }

// ownGroup keeps a Ctrl-C of our console from the command.
func ownGroup(cmd *exec.Cmd, _ bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// terminateGroup ends the process and what it started; Windows has no gentler
// way for programs without a window.
func terminateGroup(cmd *exec.Cmd) { killGroup(cmd) }

func killGroup(cmd *exec.Cmd) {
	_ = exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(cmd.Process.Pid)).Run() //nolint:gosec,noctx // a pid; ends at once
	_ = cmd.Process.Kill()
}
