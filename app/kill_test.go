package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

// childVariable makes this test binary a gateway, for tests that kill one. It
// holds the data directory and the addresses of servers, as JSON.
const childVariable = "JACKFIELD_APP_CHILD"

type childConfig struct {
	Data    string
	Servers []string
}

// runAsGateway serves until the process is killed or its stdin ends, if that is
// what this process is for.
func runAsGateway() {
	text := os.Getenv(childVariable)
	if text == "" {
		return
	}
	var c childConfig
	err := json.Unmarshal([]byte(text), &c)
	config := &Config{Data: c.Data, Listen: "127.0.0.1:0"}
	for i, url := range c.Servers {
		config.Servers = append(config.Servers, jackfield.Server{
			Name: fmt.Sprint("s", i), Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: url},
		})
	}
	var a *App
	if err == nil {
		a, err = New(Options{Config: config})
	}
	if err == nil {
		err = a.Start(context.Background())
	}
	if err == nil {
		_, err = os.Stdout.WriteString(a.URL() + "\n")
	}
	if err == nil {
		_, err = io.Copy(io.Discard, os.Stdin)
	}
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error())
	}
	os.Exit(1)
}

const (
	killedHouses = 4
	killsOfEach  = 25
	killServers  = 3
)

// TestAKilledGatewayServesACompleteCatalogWithItsNextStart kills a gateway a
// hundred times while it writes down what its servers list, which becomes more all
// the time. The next start lists all servers at once, each one without a hole.
func TestAKilledGatewayServesACompleteCatalogWithItsNextStart(t *testing.T) {
	var slowest atomic.Int64
	t.Run("all", func(t *testing.T) {
		for i := range killedHouses {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				killGateways(t, &slowest)
			})
		}
	})
	t.Logf("%d kills; the slowest of the first lists took %v", killedHouses*killsOfEach, time.Duration(slowest.Load()))
}

func killGateways(t *testing.T, slowest *atomic.Int64) {
	c := childConfig{Data: t.TempDir()}
	var servers []*upstreamtest.Server
	for range killServers {
		s := upstreamtest.New(t, upstreamtest.Script{Bare: true, Tools: []string{"t0"}})
		servers = append(servers, s)
		c.Servers = append(c.Servers, s.Endpoint().URL)
	}
	// How long a gateway lives after its first answer hovers around the time that
	// writing down takes on this machine: a little longer when the one before wrote
	// down nothing, a little shorter when it did.
	span, known := 10*time.Millisecond, 0
	for round := range killsOfEach {
		g := startGateway(t, &c)
		began := time.Now()
		n := wantComplete(t, round, g)
		took := int64(time.Since(began))
		if n > known {
			span, known = span*3/4, n
		} else {
			span = min(span*2, time.Second)
		}
		for old := slowest.Load(); round > 0 && took > old && !slowest.CompareAndSwap(old, took); old = slowest.Load() {
		}
		for _, s := range servers {
			s.AddTool(fmt.Sprint("t", round+1))
		}
		time.Sleep(rand.N(span))
		g.kill()
		if t.Failed() {
			return
		}
	}
	for _, s := range servers {
		for _, method := range []string{"server/discover", "tools/list", "prompts/list", "resources/list"} {
			s.Fault(upstreamtest.Fault{Method: method, Status: http.StatusServiceUnavailable})
		}
	}
	g := startGateway(t, &c)
	// A server of which nothing was ever written down is not there; the others are, in full.
	if n := wantComplete(t, killsOfEach, g); n <= 2*killServers {
		t.Errorf("with all servers dead %d tools are left: hardly anything was written down, so nothing was interrupted", n)
	}
	g.kill()
}

// wantComplete lists everything: each server's tools from the first to one that
// was the last for a time, and says how many there are. While the servers live, each
// of them is there.
func wantComplete(t *testing.T, round int, g *killable) int {
	t.Helper()
	lists := (&house{t: t, base: g.url}).everything()
	next := make([]int, killServers)
	for _, tool := range lists["tools/list"] {
		name, _, _ := strings.Cut(tool, " ")
		var s, n int
		if _, err := fmt.Sscanf(name, "s%d__t%d", &s, &n); err != nil || n != next[s] {
			t.Fatalf("round %d: %s is out of place in %q", round, name, lists["tools/list"])
		}
		next[s]++
	}
	known := killServers
	for _, n := range next {
		if n == 0 {
			known--
		}
	}
	if known < killServers && round < killsOfEach {
		t.Errorf("round %d: tools of the servers: %v", round, next)
	}
	if n := len(lists["prompts/list"]); n != known {
		t.Errorf("round %d: %d prompts of %d servers: %q", round, n, known, lists["prompts/list"])
	}
	if n := len(lists["resources/list"]); n != 2*known {
		t.Errorf("round %d: %d resources of %d servers: %q", round, n, known, lists["resources/list"])
	}
	return len(lists["tools/list"])
}

// killable is a gateway in a process of its own.
type killable struct {
	cmd *exec.Cmd
	url string
}

func startGateway(t *testing.T, c *childConfig) *killable {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	var errs strings.Builder
	cmd.Stderr = &errs
	if _, err = cmd.StdinPipe(); err != nil { // ends with this process
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Wait() // the error is what it printed
		t.Fatalf("the gateway did not start: %v: %s", err, errs.String())
	}
	return &killable{cmd: cmd, url: strings.TrimSpace(url)}
}

func (g *killable) kill() {
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait() // killed
}
