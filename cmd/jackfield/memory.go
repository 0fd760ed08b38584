package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
)

// How the gateway uses memory, unless the environment says otherwise. What it
// allocates for a call is garbage with the answer, and what stays is little: to
// collect half as often as usual saves CPU and costs a few megabytes. Where more
// stays, such as tens of thousands of people, the garbage beside it is bounded
// instead, as far as the work of collecting does not grow out of hand. The limit is
// the last resort.
const (
	gcPercent   = 200
	leastGC     = 50
	garbage     = 64 << 20
	memoryLimit = 2 << 30
)

// cgroupLimit is where a container is told how much memory it has (cgroup v2).
const cgroupLimit = "/sys/fs/cgroup/memory.max"

// tuneMemory sets the two knobs of the garbage collector, as far as GOGC and
// GOMEMLIMIT leave them open.
func tuneMemory(env func(string) (string, bool)) {
	if said, _ := env("GOGC"); said == "" {
		debug.SetGCPercent(gcPercent)
		tend(gcPercent)
	}
	if said, _ := env("GOMEMLIMIT"); said == "" {
		text, _ := os.ReadFile(cgroupLimit) // elsewhere there is no such file
		debug.SetMemoryLimit(limitIn(string(text)))
	}
}

// tend sets how often to collect after each collection, by what it left.
func tend(percent int) {
	runtime.AddCleanup(new([64]byte), func(was int) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		is := percentFor(live[0].Value.Uint64())
		if is != was {
			debug.SetGCPercent(is)
		}
		tend(is)
	}, percent)
}

// percentFor is how much garbage there may be beside what lives, in steps of ten
// percent of that.
func percentFor(live uint64) int {
	return int(min(gcPercent, max(leastGC, garbage*10/max(live, 1)*10)))
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
