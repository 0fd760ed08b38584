package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Servers that are killed and started again while people work with them.

const (
	workers    = 16                      // client sessions
	callEvery  = 20 * time.Millisecond   // to each server, by all of them together
	awayFor    = time.Second             // how long the servers stay dead
	watchAfter = 3500 * time.Millisecond // how long calls go on when all are back
	soon       = 3 * time.Second         // by then a server that is back serves, on a busy machine; what it took is printed
)

// phoenix is a server that can be killed and comes back at the same address.
type phoenix struct {
	name, tool, args string
	stateful         bool // a call may leave something in its session
	port             int
	command          func() *exec.Cmd
	process          *process

	killed, back time.Time
}

func (p *phoenix) start(t *testing.T) {
	p.process = start(t, p.name, p.command())
}

func (p *phoenix) kill() {
	p.killed = time.Now()
	_ = syscall.Kill(-p.process.cmd.Process.Pid, syscall.SIGKILL)
	<-p.process.exited
}

func phoenixes(t *testing.T) []*phoenix {
	ofGo := func(name string, stateless bool) *phoenix {
		p := &phoenix{name: name, tool: "test_simple_text", args: `{}`, stateful: !stateless, port: freePort(t)}
		p.command = func() *exec.Cmd {
			return exec.Command(everythingBin, fmt.Sprintf("-http=127.0.0.1:%d", p.port), fmt.Sprintf("-stateless=%t", stateless))
		}
		return p
	}
	ofNode := func(name, transport string) *phoenix {
		p := &phoenix{name: name, tool: "echo", args: `{"message":"hello"}`, port: freePort(t)} // annotated as read-only
		p.command = func() *exec.Cmd {
			cmd := exec.Command(node, serverEverything, transport)
			cmd.Env = cleanEnv(fmt.Sprintf("PORT=%d", p.port))
			return cmd
		}
		return p
	}
	return []*phoenix{ofGo("modern", true), ofGo("sessions", false), ofNode("reading", "streamableHttp"), ofNode("sse", "sse")}
}

// worker is a client of 2025-11-25 that begins one session and keeps it.
type worker struct {
	url, session string
}

func (w *worker) post(body string) (result, failure string, err error) {
	req, err := http.NewRequest(http.MethodPost, w.url, strings.NewReader(body))
	if err != nil {
		return "", "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if w.session != "" {
		req.Header.Set("Mcp-Session-Id", w.session)
		req.Header.Set("MCP-Protocol-Version", "2025-11-25")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(resp.Body)
		return "", "", fmt.Errorf("HTTP status %d: %s", resp.StatusCode, text)
	}
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
		w.session = id
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m struct {
			ID     *int64
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		text := strings.TrimPrefix(lines.Text(), "data: ")
		if json.Unmarshal([]byte(text), &m) != nil || m.ID == nil {
			continue
		}
		var r struct{ IsError bool }
		_ = json.Unmarshal(m.Result, &r)
		switch {
		case m.Error != nil:
			return "", m.Error.Message, nil
		case r.IsError:
			return "", string(m.Result), nil
		}
		return string(m.Result), "", nil
	}
	return "", "", lines.Err()
}

// outcome is how one call ended.
type outcome struct {
	server       *phoenix
	worker       int
	begun, ended time.Time
	failure      string
}

func TestServersThatAreKilledAndComeBackUnderLoad(t *testing.T) {
	servers, behind := phoenixes(t), map[string]map[string]any{}
	for _, p := range servers {
		p.start(t)
		behind[p.name] = map[string]any{"type": "http", "url": fmt.Sprintf("http://127.0.0.1:%d/mcp", p.port)}
		if p.name == "sse" {
			behind[p.name] = map[string]any{"type": "sse", "url": fmt.Sprintf("http://127.0.0.1:%d/sse", p.port)}
		}
	}
	for _, p := range servers {
		p.process.waitFor(t, p.name, func() bool { return listening(p.port) })
	}
	g := serve(t, behind)
	crew := make([]*worker, workers)
	for i := range crew {
		crew[i] = &worker{url: g.mcp("")}
		for _, body := range []string{
			`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"worker","version":"1"}}}`,
			`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
		} {
			if _, failure, err := crew[i].post(body); failure != "" || err != nil {
				t.Fatal(failure, err)
			}
		}
	}
	all := work(t, servers, crew)
	for _, p := range servers {
		judge(t, p, all)
	}
}

// work lets the crew call all servers, kills them, brings them back, and returns how
// each call ended.
func work(t *testing.T, servers []*phoenix, crew []*worker) []outcome {
	t.Helper()
	var (
		mu   sync.Mutex
		all  []outcome
		open sync.WaitGroup
		stop = make(chan struct{})
		id   atomic.Int64
	)
	call := func(p *phoenix, i int) {
		o := outcome{server: p, worker: i, begun: time.Now()}
		_, failure, err := crew[i].post(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"%s__%s","arguments":%s}}`,
			id.Add(1), p.name, p.tool, p.args))
		if o.ended, o.failure = time.Now(), failure; err != nil {
			o.failure = "the client would have to start over: " + err.Error()
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, o)
	}
	for _, p := range servers {
		open.Go(func() {
			tick := time.NewTicker(callEvery)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-tick.C:
					open.Go(func() { call(p, i%len(crew)) })
				case <-stop:
					return
				}
			}
		})
	}
	time.Sleep(1500 * time.Millisecond)
	for _, p := range servers {
		p.kill()
	}
	time.Sleep(awayFor)
	for _, p := range servers {
		p.start(t)
	}
	var returns sync.WaitGroup
	for _, p := range servers {
		returns.Go(func() {
			for until := time.Now().Add(30 * time.Second); !listening(p.port) && time.Now().Before(until); {
				time.Sleep(2 * time.Millisecond)
			}
			p.back = time.Now()
		})
	}
	returns.Wait()
	time.Sleep(watchAfter)
	close(stop)
	open.Wait()
	return all
}

// judge looks at the calls to one server.
func judge(t *testing.T, p *phoenix, all []outcome) {
	t.Helper()
	var calls, down, late, told int
	var first time.Time
	toldOf := map[int]int{}
	for _, o := range all {
		if o.server != p {
			continue
		}
		calls++
		switch {
		case o.failure == "":
			if o.ended.After(p.back) && (first.IsZero() || o.ended.Before(first)) {
				first = o.ended
			}
		case strings.HasPrefix(o.failure, "the client"):
			t.Errorf("%s: %s", p.name, o.failure)
		case strings.Contains(o.failure, "forgot its session"):
			told++
			toldOf[o.worker]++
		case o.ended.Before(p.killed):
			t.Errorf("%s: before anything happened: %s", p.name, o.failure)
		case o.begun.Before(p.back):
			down++
		case o.begun.Before(p.back.Add(soon)):
			late++
		default:
			t.Errorf("%s: %v after its return: %s", p.name, o.begun.Sub(p.back), o.failure)
		}
	}
	for i, n := range toldOf {
		if n > 1 || !p.stateful {
			t.Errorf("%s: session %d was told %d times that something is lost", p.name, i, n)
		}
	}
	delay := first.Sub(p.back)
	if first.IsZero() || delay > soon {
		t.Errorf("%s: the first success came %v after its return", p.name, delay)
	}
	shown(t, "%s, killed under %d calls/s of %d sessions and back after %v: first success %v after its return; of %d calls %d failed while it was away, %d just after, %d were told of a lost session",
		p.name, time.Second/callEvery, workers, p.back.Sub(p.killed).Round(10*time.Millisecond), delay.Round(time.Millisecond), calls, down, late, told)
}
