package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/app"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
	"github.com/jackfield-dev/jackfield/wire"
)

// storm is the worst hour of a gateway: so many owners have a connection of their own
// to each of so many servers, half of them close theirs, all servers are restarted,
// and all owners call.
type storm struct {
	servers, owners int
	down            time.Duration // how long the servers are away
	patience        time.Duration // for all to be served again
}

// run lets the storm pass and prints what it did.
func (s storm) run() error {
	f := fleet{Count: s.servers}
	upstream, err := f.launch()
	if err != nil {
		return err
	}
	defer func() { upstream.stop() }()
	f.Hosts = strings.Fields(upstream.host)

	var dials gauge
	var lines ledger
	before := inUse()
	gateway, err := app.New(app.Options{
		Version: "bench", Log: slog.New(&lines), Trace: dials.trace(),
		Config: &app.Config{
			Listen: "127.0.0.1:0", Servers: definitions(f.Hosts, jackfield.Usage{Sharing: jackfield.SharingOwner}),
			Limits: app.Limits{Connections: app.Budget{Total: 2 * s.servers * s.owners, PerServer: 2 * s.owners}},
		},
	})
	if err != nil {
		return err
	}
	defer stop(gateway)

	fmt.Printf("\nstorm: %d servers × %d owners, every owner a connection of its own to each server\n", s.servers, s.owners)
	start := time.Now()
	opened := s.callAll(gateway, f.Hosts, start)
	fmt.Printf("  opened            %d connections in %v, %.0f B and %.2f sockets each\n",
		len(opened), time.Since(start).Round(time.Millisecond), float64(inUse()-before)/float64(len(opened)), float64(sockets())/float64(len(opened)))
	peak := dials.peak.Swap(0)
	fmt.Printf("  dials in flight   %d at most, of 64\n", peak)

	for i := range s.owners / 2 { // the other half keeps what it has
		if err = gateway.Repository(owner(i)).DisconnectAll(context.Background()); err != nil {
			return err
		}
	}
	if err = upstream.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = upstream.cmd.Wait()
	fell := time.Now()
	attempts := dials.count.Load()
	back := make(chan time.Time, 1)
	var served []time.Duration
	var work sync.WaitGroup
	work.Go(func() { served = s.callAll(gateway, f.Hosts, fell) })
	pause := time.NewTimer(s.down)
	<-pause.C
	missed := dials.count.Load() - attempts
	if upstream, err = f.launch(); err != nil {
		return err
	}
	back <- time.Now()
	work.Wait()
	away := (<-back).Sub(fell)
	for i := range served {
		served[i] -= away
	}
	slices.Sort(served)
	at := func(share float64) time.Duration {
		return served[int(share*float64(len(served)-1))].Round(time.Millisecond)
	}
	fmt.Printf("  restarted         after %v, in which there were %d dials\n", away.Round(time.Millisecond), missed)
	if len(served) == 0 {
		return errors.New("nobody was served after the restart")
	}
	fmt.Printf("  served again      %d of %d: the first after %v, half after %v, 95 %% after %v, all after %v\n",
		len(served), s.servers*s.owners, at(0), at(0.5), at(0.95), at(1))
	fmt.Printf("  dials in flight   %d at most, of 64; %d dials in all\n", dials.peak.Load(), dials.count.Load()-attempts)
	each, all := lines.most(time.Minute)
	fmt.Printf("  log lines         %d at most for a server in a minute, %d for the process in a minute\n", each, all)
	return nil
}

// callAll has every owner call every server until it was answered, and returns when
// each was, counted from since.
func (s storm) callAll(gateway *app.App, hosts []string, since time.Time) []time.Duration {
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	var mu sync.Mutex // guards took
	var took []time.Duration
	var work sync.WaitGroup
	for i := range s.owners {
		work.Go(func() {
			repository := gateway.Repository(owner(i))
			todo := rand.Perm(len(hosts)) //nolint:gosec // spreads load, hides nothing
			for len(todo) > 0 && ctx.Err() == nil {
				todo = slices.DeleteFunc(todo, func(n int) bool {
					if ask(ctx, repository.Get, nameOf(n)) != nil {
						return false
					}
					mu.Lock()
					defer mu.Unlock()
					took = append(took, time.Since(since))
					return true
				})
				if len(todo) > 0 {
					again := time.NewTimer(50*time.Millisecond + rand.N(100*time.Millisecond)) //nolint:gosec // spreads load
					<-again.C
				}
			}
		})
	}
	work.Wait()
	return took
}

func owner(i int) jackfield.Scope { return jackfield.User(fmt.Sprintf("owner-%04d", i)) }

// ask calls a tool once.
func ask[C conn](ctx context.Context, get func(context.Context, string) (pool.Lease[C], error), name string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	lease, err := get(ctx, name)
	if err != nil {
		return err
	}
	defer lease.Release()
	params, err := wire.ScanObject(wire.Raw(`{"name":"echo","arguments":{"text":"a"}}`), exchange.ParamKeys)
	if err != nil {
		return err
	}
	_, err = lease.Conn().Do(ctx, &exchange.Request{Method: "tools/call", Params: params}, nil)
	return err
}

// conn is what of a connection is needed here.
type conn interface {
	pool.Conn
	Do(ctx context.Context, r *exchange.Request, p exchange.Peer) (exchange.Result, error)
}

func nameOf(i int) string { return fmt.Sprintf("server%02d", i) }

// definitions are those of servers at hosts.
func definitions(hosts []string, usage jackfield.Usage) []jackfield.Server {
	all := make([]jackfield.Server, len(hosts))
	for i, host := range hosts {
		all[i] = jackfield.Server{
			Name: nameOf(i), Usage: usage,
			Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: "http://" + host + "/mcp"},
		}
	}
	return all
}

func stop(gateway *app.App) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = gateway.Stop(ctx) // what is cut is of no interest here
}

// gauge counts dials.
type gauge struct{ now, peak, count atomic.Int64 }

func (g *gauge) trace() *pool.Trace {
	return &pool.Trace{
		DialStart: func(pool.Key) {
			g.count.Add(1)
			for n := g.now.Add(1); ; {
				most := g.peak.Load()
				if n <= most || g.peak.CompareAndSwap(most, n) {
					return
				}
			}
		},
		DialDone: func(pool.Key, time.Duration, error) { g.now.Add(-1) },
	}
}

// ledger is a log that only counts: when there was a line, and about which server.
type ledger struct {
	mu    sync.Mutex // guards lines
	lines map[string][]time.Time
}

// Enabled lets pass what a gateway logs unless it is told otherwise.
func (*ledger) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle counts a line.
func (l *ledger) Handle(_ context.Context, r slog.Record) error {
	server := ""
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "server" {
			server = a.Value.String()
		}
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines == nil {
		l.lines = map[string][]time.Time{}
	}
	l.lines[server] = append(l.lines[server], time.Now())
	return nil
}

// WithAttrs loses the attributes.
func (l *ledger) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup loses the group.
func (l *ledger) WithGroup(string) slog.Handler { return l }

// most is how many lines there were within the time: about one server, and in all.
func (l *ledger) most(within time.Duration) (each, all int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	peak := func(times []time.Time) int {
		most, first := 0, 0
		for i, at := range times {
			for at.Sub(times[first]) >= within {
				first++
			}
			most = max(most, i-first+1)
		}
		return most
	}
	var together []time.Time
	for server, times := range l.lines {
		together = append(together, times...)
		if server != "" {
			each = max(each, peak(times))
		}
	}
	slices.SortFunc(together, time.Time.Compare)
	return each, peak(together)
}

// inUse is the memory in use: the heap, and the stacks of goroutines.
func inUse() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// sockets is how many files this process has open, sockets mostly.
func sockets() int {
	open, _ := os.ReadDir("/proc/self/fd") // elsewhere nobody knows
	return len(open)
}
