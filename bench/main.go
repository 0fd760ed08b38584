// Command bench measures what a call through the gateway costs, against the same
// call made directly, through the least pass-through one can write (floor.go) and
// through a buffered httputil.ReverseProxy; and through the gateway once more, before
// a server of the other era. Each contender is a process of its own with the same GOGC
// and memory limit, before the same fast server; rounds are interleaved, in another
// order each time, so that a noisy machine is unfair to all alike. CPU is the
// contender's own, from the kernel.
//
//	go run ./bench [-rounds 10] [-length 1s] [-cells legacy/64B/16,…] [-contenders …] [-against PROGRAM] [-out DIR]
//
// It prints a table and writes one file a contender in the format of benchstat.
//
//	go run ./bench -storm [-servers 37] [-owners 1000] [-down 5s]
//
// prints what servers that restart, are cold, or hang cost those who call them, and
// those who call others (storm.go, hung.go).
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	if role := os.Getenv("BENCH_ROLE"); role != "" {
		if err := play(role, os.Getenv("BENCH_UPSTREAM")); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

var everyCell = []cell{
	{false, "64B", 16}, // the one that the gate is about
	{true, "64B", 1},
	{true, "64B", 16},
	{true, "64B", 64},
	{false, "64B", 1},
	{false, "64B", 64},
	{true, "64KiB", 1},
	{true, "64KiB", 64},
	{true, "64KiB-objects", 1},
	{true, "64KiB-objects", 64},
}

// options say what is measured, and how long.
type options struct {
	rounds     int
	length     time.Duration
	contenders []string
	against    string // another build of this program; empty: none
}

func run() error {
	var o options
	flag.IntVar(&o.rounds, "rounds", 10, "rounds for each cell")
	flag.DurationVar(&o.length, "length", time.Second, "how long one contender is called in one round")
	flag.StringVar(&o.against, "against", "", "another build of this program, whose gateway is measured too")
	cells := flag.String("cells", "", "only these cells, separated by commas")
	chosen := flag.String("contenders", strings.Join(contenders, ","), "who is measured, separated by commas")
	out := flag.String("out", "", "directory for files in the format of benchstat")
	faults := flag.Bool("storm", false, "instead: servers that restart, are cold, or hang, and what that costs")
	var s storm
	flag.IntVar(&s.servers, "servers", 37, "servers of the storm")
	flag.IntVar(&s.owners, "owners", 1000, "owners of the storm")
	flag.DurationVar(&s.down, "down", 5*time.Second, "how long the servers of the storm are away")
	flag.DurationVar(&s.patience, "patience", 3*time.Minute, "the longest that anybody waits in the storm")
	flag.Parse()
	if *faults {
		return errors.Join(
			cold{callers: 200, servers: 20, hello: 100 * time.Millisecond}.run(),
			beside{servers: 20, healthy: 10, hung: []int{0, 3, 10}, rounds: o.rounds, length: o.length}.run(),
			s.run(),
		)
	}
	o.contenders = strings.Split(*chosen, ",")
	if o.against != "" {
		o.contenders = append(o.contenders, against)
	}
	if *out != "" {
		if err := os.MkdirAll(*out, 0o750); err != nil {
			return err
		}
	}
	for _, c := range everyCell {
		if *cells != "" && !slices.Contains(strings.Split(*cells, ","), c.String()) {
			continue
		}
		results, err := o.measure(c)
		if err != nil {
			return err
		}
		report(c, o.contenders, results)
		if *out != "" {
			if err := write(*out, c, results); err != nil {
				return err
			}
		}
	}
	return nil
}

// sample is one contender in one round.
type sample struct {
	calls    int
	length   time.Duration
	p50, p99 time.Duration
	cpu      time.Duration // of the contender's process, all calls
	mallocs  uint64
}

// contenders are what is measured. The first has nothing between the callers and
// the server.
var contenders = []string{"direct", "floor", "reverseproxy", "gateway", across}

// across is the gateway in front of a server of the era that its callers do not
// speak.
const across = "across"

// against is the gateway of another build of this program.
const against = "against"

// measure lets all that were chosen be called in turns, in another order each round.
func (o *options) measure(c cell) (map[string][]sample, error) {
	upstream, err := spawn("", "upstream", "")
	if err != nil {
		return nil, err
	}
	defer upstream.stop()
	era, other := "/legacy", "/modern"
	if c.modern {
		era, other = other, era
	}
	var targets []*target
	for _, role := range o.contenders {
		t := &target{name: role, host: upstream.host, path: era, tool: "echo"}
		if role != "direct" {
			program, server := "", era
			switch role {
			case against:
				role, program = "gateway", o.against
			case across:
				role, server = "gateway", other
			}
			if t.process, err = spawn(program, role, "http://"+upstream.host+server); err != nil {
				return nil, err
			}
			defer t.process.stop()
			t.host, t.path = t.process.host, "/mcp"
		}
		if role == "gateway" {
			t.tool = serverName + "__echo"
		}
		if err = t.open(c); err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	results := map[string][]sample{}
	for round := -1; round < o.rounds; round++ { // the first one warms up
		rand.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] }) //nolint:gosec // an order, no secret
		for _, t := range targets {
			s, err := t.sample(o.length)
			if err != nil {
				return nil, err
			}
			if round >= 0 {
				results[t.name] = append(results[t.name], s)
			}
		}
	}
	return results, nil
}

func (t *target) sample(length time.Duration) (sample, error) {
	var s sample
	var err error
	if s.cpu, s.mallocs, err = t.process.spent(); err != nil {
		return s, err
	}
	start := time.Now()
	took, err := t.load(length)
	if err != nil {
		return s, err
	}
	s.length = time.Since(start)
	cpu, mallocs, err := t.process.spent()
	if err != nil {
		return s, err
	}
	s.cpu, s.mallocs, s.calls = cpu-s.cpu, mallocs-s.mallocs, len(took)
	s.p50, s.p99 = took[len(took)/2], took[len(took)*99/100]
	return s, nil
}

// process is a contender.
type process struct {
	cmd  *exec.Cmd
	in   io.Closer
	host string
}

// spawn starts a role of a program; none means this one.
func spawn(program, role, upstream string) (*process, error) {
	var err error
	if program == "" {
		if program, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(context.Background(), program)
	cmd.Env = append(os.Environ(), "BENCH_ROLE="+role, "BENCH_UPSTREAM="+upstream, "GOGC=200", "GOMEMLIMIT=2GiB") // as jackfield serve sets them
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err = cmd.Start(); err != nil {
		return nil, err
	}
	host, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", role, err), cmd.Wait())
	}
	return &process{cmd, in, strings.TrimSpace(host)}, nil
}

func (p *process) stop() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

// spent is the CPU time and the allocations of the process so far; a nil process
// spends nothing.
func (p *process) spent() (cpu time.Duration, mallocs uint64, err error) {
	if p == nil {
		return 0, 0, nil
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil || len(tasks) == 0 {
		return 0, 0, fmt.Errorf("the CPU time of a process cannot be read here: %w", err)
	}
	for _, task := range tasks {
		text, gone := os.ReadFile(task)
		if gone != nil {
			continue // the thread has ended
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, bad := strconv.ParseInt(first, 10, 64)
		if bad != nil {
			return 0, 0, bad
		}
		cpu += time.Duration(ns)
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+p.host+"/mallocs", http.NoBody)
	if err != nil {
		return 0, 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = fmt.Fscan(resp.Body, &mallocs)
	return cpu, mallocs, err
}

func median[T int | float64 | time.Duration | uint64](samples []sample, of func(sample) T) T {
	values := make([]T, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func perCall(s sample) float64 { return float64(s.cpu.Nanoseconds()) / 1e3 / float64(s.calls) }

// report prints one line a contender: medians over the rounds, and the median of
// the rounds' own ratios to the one that the others are measured by.
func report(c cell, names []string, results map[string][]sample) {
	base := "floor"
	if results[base] == nil {
		base = names[0]
	}
	ratio := func(name string) float64 {
		ratios := make([]float64, len(results[name]))
		for i := range ratios {
			ratios[i] = perCall(results[name][i]) / perCall(results[base][i])
		}
		slices.Sort(ratios)
		return ratios[len(ratios)/2]
	}
	fmt.Printf("\n%s, %d rounds\n%-14s %10s %10s %10s %12s %14s %12s\n", c, len(results[base]),
		"", "calls/s", "p50", "p99", "CPU µs/call", "× "+base, "allocs/call")
	for _, name := range names {
		s := results[name]
		rate := median(s, func(s sample) float64 { return float64(s.calls) / s.length.Seconds() })
		p50, p99 := median(s, func(s sample) time.Duration { return s.p50 }), median(s, func(s sample) time.Duration { return s.p99 })
		fmt.Printf("%-14s %10.0f %10s %10s", name, rate, p50.Round(time.Microsecond), p99.Round(time.Microsecond))
		if name != "direct" {
			allocs := median(s, func(s sample) float64 { return float64(s.mallocs) / float64(s.calls) })
			fmt.Printf(" %12.1f %14.2f %12.0f", median(s, perCall), ratio(name), allocs)
		}
		fmt.Println()
	}
}

// write adds the samples to one file a contender, for benchstat.
func write(dir string, c cell, results map[string][]sample) error {
	for name, samples := range results {
		f, err := os.OpenFile(filepath.Join(dir, name+".txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		for _, s := range samples {
			_, err = fmt.Fprintf(f, "BenchmarkCall/%s 	%d	%.0f ns/op	%.0f cpu-ns/op	%d p99-ns	%d allocs/op\n", c, s.calls,
				float64(s.length.Nanoseconds())/float64(s.calls), 1e3*perCall(s), s.p99.Nanoseconds(), s.mallocs/uint64(s.calls))
			if err != nil {
				return errors.Join(err, f.Close())
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
