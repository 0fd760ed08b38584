package tenants

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield/internal/authn"
)

// gatewayOf is a gateway in a process of its own, with a copy of a crowd's store.
func gatewayOf(t testing.TB, c *crowd, program func(config string) *exec.Cmd) *house {
	t.Helper()
	dir := t.TempDir()
	root, _, hash := authn.NewKey()
	data, config := filepath.Join(dir, "data"), filepath.Join(dir, "jackfield.yaml")
	c.copyTo(t, data)
	text := fmt.Sprintf(`listen: 127.0.0.1:0
data: %s
auth: {keys: [{name: root, hash: %q, role: admin}]}
egress: {allow: [127.0.0.1]}
mcpServers: {}
`, data, hash)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h := spawn(t, program(config))
	h.keys["root"] = root.Reveal()
	for i, key := range c.keys {
		h.keys[c.member(i)] = key
	}
	for {
		resp, err := h.http.Get(h.url + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			h.ready = time.Since(h.began)
			return h
		}
	}
}

// thisProgram is this test as a gateway.
func thisProgram(config string) *exec.Cmd {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), asReplica+"="+config)
	return child
}

// realProgram builds the one that people run.
func realProgram(t testing.TB) func(config string) *exec.Cmd {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jackfield")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "../cmd/jackfield")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return func(config string) *exec.Cmd {
		return exec.Command(path, "serve", "--json", "--config", config)
	}
}

// TestACrowdIsServed: what the figures are taken of is what it should be.
func TestACrowdIsServed(t *testing.T) {
	c := gather(t, 40, 16, 10, 2000, 100)
	h := gatewayOf(t, c, thisProgram)
	for i := range 3 {
		h.wholeList(c, c.member(i))
	}
	if all := h.must("root", http.MethodGet, "/servers?all=true&limit=1000", "", nil); strings.Count(all, `"id"`) != c.servers() {
		t.Errorf("%d servers, not %d", strings.Count(all, `"id"`), c.servers())
	}
	if page := h.must("root", http.MethodGet, "/users?limit=1000", "", nil); !strings.Contains(page, person(999)) || !strings.Contains(page, `"nextCursor"`) {
		t.Error("the users are not there")
	}
}

// wholeList checks that somebody has each tool that there is for them, once the
// servers have been listed.
func (h *house) wholeList(c *crowd, who string) {
	h.t.Helper()
	want, found := (c.app+c.each)*toolsEach, 0
	for began := time.Now(); time.Since(began) < patience; pause(h.t, 5*time.Millisecond) {
		if found = len(h.tools(h.t.Context(), who)); found == want {
			return
		}
	}
	h.t.Fatalf("%s sees %d tools, not %d", who, found, want)
}

// BenchmarkCrowd tells what a gateway with many servers and people costs: from its
// start to the first answer of /readyz, for lists of 50 servers and calls, and in
// memory. The servers are in the process that measures, which shares the processors
// with the gateway.
func BenchmarkCrowd(b *testing.B) {
	program := realProgram(b)
	for name, make := range map[string]func() *crowd{
		"50-servers-100-users":       func() *crowd { return gather(b, 40, 1, 10, 100, 20) },
		"10000-servers-100000-users": func() *crowd { return gather(b, 40, 996, 10, 100_000, 20_000) },
	} {
		b.Run(name, func(b *testing.B) {
			c := make()
			b.ResetTimer()
			for range b.N {
				measure(b, c, program)
			}
			b.ReportMetric(0, "ns/op") // of everything together, which is no figure
		})
	}
}

func measure(b *testing.B, c *crowd, program func(config string) *exec.Cmd) {
	h := gatewayOf(b, c, program)
	b.ReportMetric(ms(h.ready), "start-ms")
	b.ReportMetric(ms(h.spent()), "start-cpu-ms")
	b.ReportMetric(h.memory("VmHWM"), "start-peak-MB")
	pause(b, time.Second)
	b.ReportMetric(h.memory("VmRSS"), "idle-rss-MB")

	people := make([]string, min(200, c.teams))
	for i := range people {
		people[i] = c.member(i)
	}
	list := func(i int) { h.listOnce(people[i%len(people)]) }
	cold := times(1, len(people), func(i int) { h.wholeList(c, people[i]) })
	b.ReportMetric(ms(cold[len(cold)/2]), "first-list-ms")
	report := func(what string, took []time.Duration) {
		b.ReportMetric(ms(took[len(took)/2]), what+"-p50-ms")
		b.ReportMetric(ms(took[len(took)*99/100]), what+"-p99-ms")
	}
	times(8, 2000, list)
	report("list", times(1, 5000, list))
	before := h.spent()
	report("list8", times(8, 20_000, list))
	b.ReportMetric(ms(h.spent()-before)/20_000, "list-cpu-ms")
	b.ReportMetric(h.memory("VmRSS"), "rss-MB")
	call := func(i int) {
		if _, err := h.ask(b.Context(), people[i%len(people)], "/mcp", "tools/call", "shared-01__find_1", `"name":"shared-01__find_1","arguments":{"query":"x"}`); err != nil {
			b.Fatal(err)
		}
	}
	times(8, 500, call)
	report("call", times(1, 3000, call))
	report("servers", times(1, 100, func(int) { h.must("root", http.MethodGet, "/servers?all=true&limit=100", "", nil) }))

	put := func(path, name string) func(int) {
		return func(i int) {
			h.must("root", http.MethodPut, path, "*", fmt.Sprintf(`{"definition":{"url":"%s/%s/mcp","title":"Edited %d times"}}`, c.all.URL, name, i))
		}
	}
	report("put-app", times(1, 20, put("/servers/shared-01?scope=app", "shared-01")))
	b.ReportMetric(ms(times(1, 1, list)[0]), "list-after-put-ms")
	report("put-team", times(1, 20, put("/servers/team-0000-01?scope=team:team-0000", "team-0000-01")))
	times(8, 2000, list)
	b.ReportMetric(h.memory("VmRSS"), "end-rss-MB")
	b.ReportMetric(h.memory("VmHWM"), "peak-MB")
	h.end()
}

// listOnce asks for the first page of somebody's list and reads it.
func (h *house) listOnce(who string) {
	resp, err := h.send(h.t.Context(), who, "/mcp", "tools/list", "", "")
	if err != nil {
		h.t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK || n < 1000 {
		h.t.Fatalf("%s lists %d bytes: %d %v", who, n, resp.StatusCode, err)
	}
}

// times does something so often, by so many at once, and returns how long each took,
// the shortest first.
func times(workers, often int, do func(i int)) []time.Duration {
	took := make([]time.Duration, often)
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < often; i = int(next.Add(1)) - 1 {
				began := time.Now()
				do(i)
				took[i] = time.Since(began)
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	return took
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// memory is a line of what the system says of the gateway's memory, in MB.
func (h *house) memory(what string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.pid))
	if err != nil {
		h.t.Fatalf("what memory the gateway has is read from /proc, which Linux has: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, what+":"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			if err != nil {
				h.t.Fatal(err)
			}
			return kb * 1024 / 1e6
		}
	}
	h.t.Fatalf("the system does not tell %s", what)
	return 0
}

// spent is how long the gateway had a processor.
func (h *house) spent() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.pid))
	if err != nil {
		h.t.Fatalf("what the gateway spent is read from /proc, which Linux has: %v", err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	ticks := 0
	for _, field := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(field)
		if err != nil {
			h.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
