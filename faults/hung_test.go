//go:build linux

package faults

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// TestServersThatHangHoldUpNobody has 3 and then 10 of 20 servers hang at once, of
// every transport, with callers that wait for them, in the middle of everything and
// from the start.
func TestServersThatHangHoldUpNobody(t *testing.T) {
	before := takeStock()
	for _, n := range []int{3, 10} {
		for _, when := range []string{"from the start", "later"} {
			t.Run(fmt.Sprint(n, " hang ", when), func(t *testing.T) { hang(t, n, when == "later") })
		}
	}
	before.wantBack(t)
}

const houseful = 20

func hang(t *testing.T, n int, later bool) {
	var servers []jackfield.Server
	var all []*broken
	for i := range houseful - len(healthyScripts) {
		k := everywhere[i%len(everywhere)]
		b := newBroken(t, fmt.Sprint("s", i), k, scripts[k], nil)
		all = append(all, b)
		servers = append(servers, b.def)
	}
	hung, well := all[:n], all[n:]
	begin := func() {
		for _, b := range hung {
			if b.front == nil {
				b.is("cat >/dev/null")
				continue
			}
			b.front.set(mute)
		}
	}
	if !later {
		begin()
	}
	h := open(t, servers)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	wants := func(some []*broken) {
		t.Helper()
		for _, b := range some {
			(&cell{b: b}).wantServing(ctx, t, h)
		}
	}
	wants(well)
	if later {
		wants(hung)
		begin()
	}
	h.also(well)

	done := make(chan string)
	for _, b := range hung {
		for range 3 {
			go func() {
				tool := "echo"
				if b.front == nil && later {
					tool = "slow" // its process is there, and does what it is told
				}
				begun := time.Now()
				_, failed, err := h.call(ctx, b.def.Name, tool, "{}")
				if took := time.Since(begun); failed == "" || took > patience/2 {
					done <- fmt.Sprintf("%s after %v: %q %v", b.def.Name, took, failed, err)
					return
				}
				done <- ""
			}()
		}
	}
	for range 3 * n {
		if wrong := <-done; wrong != "" {
			t.Error(wrong)
		}
	}
	for _, b := range hung {
		b.heal()
	}
	wants(hung)
	h.stop(t)
}

// also watches these servers with the healthy ones from now on.
func (h *house) also(some []*broken) {
	h.end()
	h.watched.Wait()
	for _, b := range some {
		h.healthy = append(h.healthy, b.def.Name)
	}
	ctx, end := context.WithCancel(context.Background())
	h.end = end
	h.watched.Go(func() { h.watch(ctx) })
}
