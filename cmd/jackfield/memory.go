package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// How the gateway uses memory, unless the environment says otherwise. What it
// allocates for a call is garbage with the answer, and what stays is little: to
// collect half as often as usual saves CPU and costs a few megabytes. The limit
// keeps that so when what stays grows.
const (
	gcPercent   = 200
	memoryLimit = 2 << 30
)

// cgroupLimit is where a container is told how much memory it has (cgroup v2).
const cgroupLimit = "/sys/fs/cgroup/memory.max"

// tuneMemory sets the two knobs of the garbage collector, as far as GOGC and
// GOMEMLIMIT leave them open.
func tuneMemory(env func(string) (string, bool)) {
	if said, _ := env("GOGC"); said == "" {
		debug.SetGCPercent(gcPercent)
	}
	if said, _ := env("GOMEMLIMIT"); said == "" {
		text, _ := os.ReadFile(cgroupLimit) // elsewhere there is no such file
		debug.SetMemoryLimit(limitIn(string(text)))
	}
}

// limitIn is memoryLimit, or nine tenths of what a container has if that is less:
// the rest is for what is no heap.
func limitIn(cgroup string) int64 {
	has, err := strconv.ParseInt(strings.TrimSpace(cgroup), 10, 64)
	if err != nil || has <= 0 {
		return memoryLimit
	}
	return min(memoryLimit, has/10*9)
}
