package main

import (
	"runtime/debug"
	"testing"
)

func TestTheGarbageCollectorIsTunedUnlessTheEnvironmentSaysHow(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
	for _, c := range []struct {
		env     map[string]string
		percent int
		limited bool
	}{
		{nil, gcPercent, true},
		{map[string]string{"GOGC": "", "GOMEMLIMIT": ""}, gcPercent, true},
		{map[string]string{"GOGC": "100", "GOMEMLIMIT": "1TiB"}, 100, false},
		{map[string]string{"GOGC": "100"}, 100, true},
		{map[string]string{"GOMEMLIMIT": "1TiB"}, gcPercent, false},
	} {
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(1 << 40)
		tuneMemory(func(name string) (string, bool) {
			v, ok := c.env[name]
			return v, ok
		})
		if got := debug.SetGCPercent(100); got != c.percent {
			t.Errorf("%v: GOGC is %d", c.env, got)
		}
		if got := debug.SetMemoryLimit(-1); (got <= memoryLimit) != c.limited {
			t.Errorf("%v: the memory limit is %d", c.env, got)
		}
	}
}

func TestAContainersMemoryIsNotUsedToTheLastByte(t *testing.T) {
	for cgroup, want := range map[string]int64{
		"": memoryLimit, "max\n": memoryLimit, "0": memoryLimit, "1000\n": 900, "99999999999\n": memoryLimit,
	} {
		if got := limitIn(cgroup); got != want {
			t.Errorf("%q: %d", cgroup, got)
		}
	}
}

func TestWhereMuchStaysLittleGarbageIsLeftBesideIt(t *testing.T) {
	for live, want := range map[uint64]int{0: gcPercent, 10 << 20: gcPercent, 32 << 20: gcPercent, 64 << 20: 100, 80 << 20: 80, 1 << 30: leastGC} {
		if got := percentFor(live); got != want {
			t.Errorf("%d MiB: %d %%, not %d", live>>20, got, want)
		}
	}
}
