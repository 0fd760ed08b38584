package upstream

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"github.com/jackfield-dev/jackfield"
)

const guardLimits = true

// startGuarded starts the command under its limits. What it starts and leaves
// behind becomes a child of the guard, and it ends when the guard does.
func startGuarded(path string, argv []string, l jackfield.ProcessLimits) (pid int, err error) {
	const setChildSubreaper = 36 // prctl(2)
	if _, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); e != 0 {
		return 0, os.NewSyscallError("prctl", e)
	}
	pid, err = syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: diesWithUs(),
	})
	if err != nil {
		return 0, err
	}
	// The limits are the command's alone, from its first moments on: a guard, whose
	// runtime maps more memory than it uses, might not live within them.
	const maxProcesses = 6 // RLIMIT_NPROC, getrlimit(2)
	for resource, value := range map[int]int64{
		syscall.RLIMIT_DATA: l.Memory, syscall.RLIMIT_NOFILE: int64(l.Files), maxProcesses: int64(l.Processes),
	} {
		var now syscall.Rlimit
		if value <= 0 || rlimit(pid, resource, nil, &now) != nil { // it may have ended
			continue
		}
		hard := min(uint64(value), now.Max)
		_ = rlimit(pid, resource, &syscall.Rlimit{Cur: hard, Max: hard}, nil)
	}
	return pid, nil
}

// diesWithUs makes a process end with the thread that starts it.
func diesWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// rlimit is prlimit(2); pid 0 is ourselves.
func rlimit(pid, resource int, set, old *syscall.Rlimit) error {
	_, _, e := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), uintptr(resource),
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 0, 0) //nolint:gosec // what the system call takes
	if e != 0 {
		return os.NewSyscallError("prlimit", e)
	}
	return nil
}

func replace(fd, with int) error { return syscall.Dup3(fd, with, 0) }

// killChildren kills our children. What they leave behind becomes ours, and is
// killed after them: each death brings the guard back here.
func killChildren() {
	self := strconv.Itoa(os.Getpid())
	all, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, entry := range all {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// pid (name) state parent …, where a name may hold anything: proc_pid_stat(5).
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		if f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]); len(f) > 1 && string(f[1]) == self {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
