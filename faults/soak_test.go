//go:build linux

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// soakFor is how long the soak lasts: JACKFIELD_SOAK, or long enough to see that it
// works.
func soakFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("JACKFIELD_SOAK")
	if text == "" {
		return 5 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("JACKFIELD_SOAK: %v", err)
	}
	return d
}

// soakFaults happen to servers that serve.
func soakFaults() []fault {
	all := slices.DeleteFunc(slices.Clone(callFaults), func(f fault) bool { return f.script != nil || f.method != "" || f.named })
	for name, w := range map[string]way{"refuses": refuse, "is silent": mute, "is no HTTP server": garbage, "drips": drip} {
		all = append(all, fault{name: name, on: overHTTP, warm: true, begin: goes(w), says: `.`})
	}
	return all
}

// TestNothingGrowsHoweverLongFaultsGoOn has faults of every kind come and go over
// every transport, and now and then lets everything come to rest to see what there
// is then: no more than at first.
func TestNothingGrowsHoweverLongFaultsGoOn(t *testing.T) {
	const each = 2 // servers of each kind
	var servers []jackfield.Server
	all := map[*broken]kind{}
	for _, k := range everywhere {
		for i := range each {
			b := newBroken(t, fmt.Sprint(k, i), k, scripts[k], nil)
			all[b] = k
			servers = append(servers, b.def)
		}
	}
	var askers []*broken
	for _, k := range everywhere {
		b := newBroken(t, fmt.Sprint(k, "-asks"), k, scripts[k], nil)
		b.def.Usage.Timeout = patience / 2
		askers = append(askers, b)
		servers = append(servers, b.def)
	}
	h := open(t, servers)
	var faults, questions atomic.Int64
	var rest sync.RWMutex // held for writing while everything rests
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for b, k := range all {
		(&cell{b: b}).wantServing(ctx, t, h)
		work.Go(func() {
			mine := slices.DeleteFunc(soakFaults(), func(f fault) bool { return !slices.Contains(f.on, k) })
			for ctx.Err() == nil {
				rand.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
				for _, f := range mine {
					rest.RLock()
					if ctx.Err() == nil {
						(&cell{fault: f, b: b}).run(t, h)
						faults.Add(1)
					}
					rest.RUnlock()
				}
			}
		})
	}
	for _, b := range askers {
		work.Go(func() { keepsAsking(ctx, t, h, b, rest.RLocker(), func() { questions.Add(5) }) })
	}
	begun, lasts := time.Now(), soakFor(t)
	t.Logf("minute  faults questions %s", stockHead)
	var first stock
	for i, row := 0, min(time.Minute, lasts/2); ; i++ {
		wait(ctx, row)
		rest.Lock()
		now, grown := atRest(first, i > 0)
		rest.Unlock()
		t.Logf("%6.1f %7d %9d %v", time.Since(begun).Minutes(), faults.Load(), questions.Load(), now)
		if i == 0 {
			first = now
		}
		if grown != "" {
			t.Errorf("after %v: %s\n%s", time.Since(begun).Round(time.Second), grown, crowds())
		}
		if i > 0 && time.Since(begun) >= lasts || t.Failed() {
			break
		}
	}
	cancel()
	work.Wait()
	h.stop(t)
}

// atRest is what there is when everything has come to rest, and how much of it is
// more than at first, beyond the connections that every server keeps for a next
// call: one is four sockets and about six goroutines here, where all ends of it are.
func atRest(first stock, compare bool) (now stock, grown string) {
	for end := time.Now().Add(patience / 2); ; time.Sleep(200 * time.Millisecond) {
		before := now
		now = takeStock()
		if compare {
			grown = now.more(first, 64)
		}
		if quiet := now.goroutines <= before.goroutines && now.files == before.files && now.processes == before.processes; quiet && grown == "" || time.Now().After(end) {
			return now, grown
		}
	}
}

// crowds are the goroutines, those that stand at the same place together.
func crowds() string {
	var text strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&text, 1); err != nil {
		return err.Error()
	}
	return text.String()
}
