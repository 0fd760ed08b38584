package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What the script run puts in place, relative to this directory.
var (
	jackfieldBin  = path(".bin/jackfield")
	everythingBin = path(".bin/everything-server") // the go-sdk's
	node          = path(".bin/node")              // the machine's, 20 or later
	node22        = path(".bin/node22")            // for what needs 22: the Inspector and the conformance suite
	npm           = path("npm")
	modules       = path("npm/node_modules/@modelcontextprotocol")
)

func path(name string) string {
	abs, err := filepath.Abs(name)
	if err != nil {
		panic(err)
	}
	return abs
}

func TestMain(m *testing.M) {
	for _, need := range []string{jackfieldBin, everythingBin, node, node22, modules} {
		if _, err := os.Stat(need); err != nil {
			fmt.Fprintf(os.Stderr, "e2e: %s is missing: run the script e2e/run, which installs and builds it and runs these tests\n", need)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// freePort is a port on loopback that nothing listens on. It stays below the
// range that the system hands out itself, so that no outgoing connection takes it
// between here and the listener.
func freePort(t *testing.T) int {
	t.Helper()
	for range 200 {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no free port below 32768")
	return 0
}

// output collects what a process prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// process is a child of the test, ended with it. Its output is shown when the
// test failed.
type process struct {
	cmd    *exec.Cmd
	out    output
	exited chan struct{}
	err    error // how it ended, once exited is closed
}

func start(t *testing.T, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.stop(10 * time.Second)
		if t.Failed() {
			t.Logf("%s printed:\n%s", name, tail(p.out.String(), 20000))
		}
	})
	return p
}

// stop ends the process politely, and by force after the time given.
func (p *process) stop(within time.Duration) error {
	select {
	case <-p.exited:
		return p.err
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return p.err
	case <-time.After(within):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.exited
		return fmt.Errorf("still running %v after SIGTERM, killed", within)
	}
}

// waitFor polls until ok, and fails when the process ends or a minute passes.
func (p *process) waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		select {
		case <-p.exited:
			t.Fatalf("%s: the process ended: %v\n%s", what, p.err, p.out.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: nothing after a minute\n%s", what, p.out.String())
		}
	}
}

func listening(port int) bool {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// servers is the mcpServers object of a configuration.
type servers map[string]map[string]any

// gateway is a running jackfield.
type gateway struct {
	*process
	base string // http://127.0.0.1:PORT
	data string
}

// serve starts the gateway in front of the servers and waits until it answers.
func serve(t *testing.T, behind servers) *gateway {
	t.Helper()
	config := filepath.Join(t.TempDir(), "jackfield.json")
	text, err := json.MarshalIndent(map[string]any{"mcpServers": behind}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	g := serveWith(t, "--config", config)
	for name, entry := range behind {
		if entry["startup"] != false {
			g.waitForListing(t, name)
		}
	}
	return g
}

// waitForListing waits until the gateway has listed the server. A client that
// asks earlier waits 2 s for it, gets what there is, and is told of the rest; on a
// busy machine a Node process takes longer than that to start.
func (g *gateway) waitForListing(t *testing.T, server string) {
	t.Helper()
	g.waitFor(t, "the listing of "+server, func() bool {
		resp, err := http.Get(g.base + "/api/v1/listings")
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		var got struct {
			Listings []struct{ Server, Kind, FetchedAt string }
		}
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
			t.Fatalf("/api/v1/listings: %v", err)
		}
		for _, l := range got.Listings {
			if l.Server == server && l.Kind == "tools" && l.FetchedAt != "" {
				return true
			}
		}
		return false
	})
}

func serveWith(t *testing.T, args ...string) *gateway {
	t.Helper()
	port := freePort(t)
	g := &gateway{base: fmt.Sprintf("http://127.0.0.1:%d", port), data: t.TempDir()}
	cmd := exec.Command(jackfieldBin, append([]string{"serve", "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--data", g.data}, args...)...)
	cmd.Dir = t.TempDir()
	cmd.Env = cleanEnv("HOME=" + t.TempDir())
	g.process = start(t, "jackfield", cmd)
	g.waitFor(t, "jackfield serve", func() bool {
		resp, err := http.Get(g.base + "/healthz")
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	t.Cleanup(func() {
		if err := g.stop(20 * time.Second); err != nil {
			t.Errorf("jackfield did not stop cleanly on SIGTERM: %v", err)
		}
	})
	return g
}

// cleanEnv is this process's environment without settings of the gateway.
func cleanEnv(add ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "JACKFIELD_") && !strings.HasPrefix(kv, "HOME=") {
			env = append(env, kv)
		}
	}
	return append(env, add...)
}

// mcp is the endpoint of one server, or of all of them for "".
func (g *gateway) mcp(server string) string {
	if server == "" {
		return g.base + "/mcp"
	}
	return g.base + "/mcp/" + server
}

// cli runs the command line against this gateway and returns what it printed.
func (g *gateway) cli(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, jackfieldBin, append(args, "--url", g.base)...)
	cmd.Env = cleanEnv("HOME=" + t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Fatalf("jackfield %s: %v\n%s%s", strings.Join(args, " "), err, out, exit.Stderr)
	}
	return string(out)
}

// goEverything starts the go-sdk's everything-server over Streamable HTTP:
// stateless is the modern wire, else a server with sessions up to 2025-11-25.
func goEverything(t *testing.T, stateless bool) (url string) {
	t.Helper()
	port := freePort(t)
	p := start(t, "everything-server", exec.Command(everythingBin,
		fmt.Sprintf("-http=127.0.0.1:%d", port), fmt.Sprintf("-stateless=%t", stateless)))
	p.waitFor(t, "everything-server", func() bool { return listening(port) })
	return fmt.Sprintf("http://127.0.0.1:%d/mcp", port)
}

var (
	serverEverything = filepath.Join(modules, "server-everything/dist/index.js")
	serverFilesystem = filepath.Join(modules, "server-filesystem/dist/index.js")
)

// npmEverything starts npm's server-everything over HTTP: "streamableHttp" or
// "sse".
func npmEverything(t *testing.T, transport string) (url string) {
	t.Helper()
	url, _ = startEverything(t, transport)
	return url
}

func startEverything(t *testing.T, transport string) (url string, p *process) {
	t.Helper()
	port := freePort(t)
	cmd := exec.Command(node, serverEverything, transport)
	cmd.Env = cleanEnv(fmt.Sprintf("PORT=%d", port))
	p = start(t, "server-everything", cmd)
	p.waitFor(t, "server-everything", func() bool { return listening(port) })
	if transport == "sse" {
		return fmt.Sprintf("http://127.0.0.1:%d/sse", port), p
	}
	return fmt.Sprintf("http://127.0.0.1:%d/mcp", port), p
}

// httpServer and stdioServer are entries of mcpServers.
func httpServer(url string) map[string]any { return map[string]any{"type": "http", "url": url} }

func stdioServer(command string, args ...string) map[string]any {
	return map[string]any{"command": command, "args": args}
}

// shown adds a line to what the script run prints in the end.
func shown(t *testing.T, format string, a ...any) {
	t.Helper()
	f, err := os.OpenFile(path(".bin/shown"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f, format+"\n", a...); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "… " + s[len(s)-n:]
	}
	return s
}
