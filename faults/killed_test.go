//go:build linux

package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/app"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

// gatewayVariable makes this test binary a gateway, for a test that kills it. It
// holds an app.Config as JSON.
const gatewayVariable = "JACKFIELD_FAULTS_GATEWAY"

// definition is a server of that gateway: secrets hide themselves in JSON.
type definition struct {
	Name, Command string
	Args          []string
	Env           map[string]string
}

type gatewayConfig struct {
	Data    string
	Servers []definition
}

// runAsGateway serves until the process is killed or its stdin ends, if that is
// what this process is for.
func runAsGateway() {
	text := os.Getenv(gatewayVariable)
	if text == "" {
		return
	}
	var c gatewayConfig
	err := json.Unmarshal([]byte(text), &c)
	config := &app.Config{Data: c.Data, Listen: "127.0.0.1:0"}
	for _, d := range c.Servers {
		e := jackfield.Endpoint{Transport: jackfield.TransportStdio, Command: d.Command, Args: d.Args, Env: map[string]jackfield.Secret{}}
		for name, value := range d.Env {
			e.Env[name] = jackfield.Secret(value)
		}
		config.Servers = append(config.Servers, jackfield.Server{Name: d.Name, Endpoint: e})
	}
	var a *app.App
	if err == nil {
		a, err = app.New(app.Options{Config: config, Guard: guard})
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
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// gateway is one in a process of its own.
type gateway struct {
	client
	cmd *exec.Cmd
}

func startGateway(t *testing.T, c gatewayConfig) *gateway {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{cmd: exec.CommandContext(t.Context(), guard[0])}
	g.cmd.Env = append(os.Environ(), gatewayVariable+"="+string(text))
	g.cmd.Stderr = os.Stderr
	if _, err = g.cmd.StdinPipe(); err != nil { // ends with this process
		t.Fatal(err)
	}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the gateway did not start: %v", err)
	}
	g.client = client{base: strings.TrimSpace(url), http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	return g
}

// kill is kill -9.
func (g *gateway) kill() {
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait() // killed
	g.http.CloseIdleConnections()
}

// TestOfAKilledGatewayNothingIsLeft kills a gateway under load, whose servers are
// grandchildren, behind a shell one of them out of its process group, that hear
// neither SIGTERM nor the end of their input.
func TestOfAKilledGatewayNothingIsLeft(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	c := gatewayConfig{Data: t.TempDir()}
	for i, launch := range []string{`"$SOUND" <&3 & wait`, `setsid "$SOUND" <&3 & wait`, `(trap "" TERM HUP; "$SOUND" <&3 & wait) & wait`} {
		e := upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, Transport: jackfield.TransportStdio, Stubborn: true}).Endpoint()
		d := definition{Name: fmt.Sprint("s", i), Command: "sh", Args: []string{"-c", "exec 3<&0; " + launch}, Env: map[string]string{"MARK": mark, "SOUND": e.Command}}
		for name, value := range e.Env {
			d.Env[name] = value.Reveal()
		}
		c.Servers = append(c.Servers, d)
	}
	g := startGateway(t, c)
	full := len(wantListed(t, g, len(c.Servers)))

	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	calls := make(chan bool, 1000)
	for i := range 6 {
		load.Go(func() {
			for ctx.Err() == nil {
				if result, _, err := g.call(ctx, fmt.Sprint("s", i%len(c.Servers)), "echo", `{"text":"x"}`); err != nil || result == "" {
					return
				}
				select {
				case calls <- true:
				default:
				}
			}
		})
	}
	for range 100 {
		select {
		case <-calls:
		case <-time.After(patience):
			t.Fatal("there is no load")
		}
	}
	before := marked(mark)
	g.kill()
	killed := time.Now()
	left := before
	for len(left) > 0 && time.Since(killed) < 3*time.Second {
		time.Sleep(20 * time.Millisecond)
		left = marked(mark)
	}
	took := time.Since(killed)
	stop()
	load.Wait()
	if len(before) < 3*len(c.Servers) || len(left) > 0 {
		t.Errorf("%d processes before, %d left: %q", len(before), len(left), left)
	}
	t.Logf("%d processes, all gone %v after the gateway was killed", len(before), took.Round(time.Millisecond))

	begun := time.Now()
	next := startGateway(t, c)
	defer next.kill()
	result, failed, err := next.ask(t.Context(), "/mcp", "tools/list", "{}")
	if n := strings.Count(result, `"inputSchema"`); err != nil || failed != "" || n != full {
		t.Errorf("the next start lists %d tools of %d: %s %v", n, full, failed, err)
	}
	t.Logf("the next start lists %d tools, %v after its beginning", full, time.Since(begun).Round(time.Millisecond))
	for _, d := range c.Servers {
		if result, failed, err := next.call(t.Context(), d.Name, "echo", `{"text":"again"}`); err != nil || !strings.Contains(result, "again") {
			t.Errorf("%s: %s%s %v", d.Name, result, failed, err)
		}
	}
}

// wantListed waits until every server is listed, and says what is.
func wantListed(t *testing.T, g *gateway, servers int) []string {
	t.Helper()
	for end := time.Now().Add(patience); ; wait(t.Context(), 50*time.Millisecond) {
		result, failed, err := g.ask(t.Context(), "/mcp", "tools/list", "{}")
		if strings.Count(result, `__echo"`) == servers {
			return strings.SplitAfter(result, `"inputSchema"`)[1:]
		}
		if time.Now().After(end) {
			t.Fatalf("not every server is listed: %s%s %v", result, failed, err)
		}
	}
}
