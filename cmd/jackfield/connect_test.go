package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jackfield-dev/jackfield/wire"
)

// piped is a client that has started jackfield connect as its server.
type piped struct {
	t    *testing.T
	in   *io.PipeWriter
	out  *bufio.Scanner
	errs screen
	code chan int
}

func (r *rig) connect(args ...string) *piped {
	r.t.Helper()
	in, typed := io.Pipe()
	shown, out := io.Pipe()
	p := &piped{t: r.t, in: typed, out: bufio.NewScanner(shown), code: make(chan int, 1)}
	p.out.Buffer(nil, 1<<20)
	program := r.program()
	program.Signals = nil
	go func() {
		p.code <- program.Run(context.Background(), append([]string{"connect"}, args...), in, out, &p.errs)
		_ = out.Close()
	}()
	return p
}

func (p *piped) say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// hear reads lines until one is the answer to the request with that id, and answers
// what is asked meanwhile.
func (p *piped) hear(id, answer string) string {
	p.t.Helper()
	for p.out.Scan() {
		m, err := wire.Parse(p.out.Bytes())
		if err != nil {
			p.t.Fatalf("%v: %s", err, p.out.Text())
		}
		switch {
		case m.Kind == wire.Response && string(m.ID) == id:
			return p.out.Text()
		case m.Kind == wire.Request:
			p.say(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":` + answer + `}`)
		}
	}
	p.t.Fatalf("no answer to %s: %s", id, p.errs.String())
	return ""
}

func (p *piped) end() {
	p.t.Helper()
	_ = p.in.Close()
	// Lists may change at any time, also now: somebody has to read that.
	go func() {
		for p.out.Scan() {
		}
	}()
	select {
	case code := <-p.code:
		if code != exitOK {
			p.t.Errorf("exit code %d: %s", code, p.errs.String())
		}
	case <-time.After(patience):
		p.t.Fatalf("it did not end: %s", p.errs.String())
	}
}

const (
	helloOf = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":%q,"capabilities":{"elicitation":{}},"clientInfo":{"name":"desktop","version":"1"}}}`
	ready   = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
)

func modernLine(id, method, params string) string {
	if params != "" {
		params += ","
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{%s"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}}}}`, id, method, params)
}

func TestConnectRunsAGatewayOfItsOwn(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r := newRig(t)
	for _, version := range []string{"2024-11-05", "2025-11-25"} {
		p := r.connect()
		p.say(fmt.Sprintf(helloOf, version))
		if got := p.hear("0", ""); !strings.Contains(got, `"protocolVersion":"`+version+`"`) {
			t.Errorf("got %s", got)
		}
		p.say(ready)
		p.say(`{"jsonrpc":"2.0","id":"ä 1","method":"tools/list"}`)
		if got := p.hear(`"ä 1"`, ""); !strings.Contains(got, `text__`) {
			t.Errorf("got %s", got)
		}
		p.say(`{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"text__hash","arguments":{"text":"abc"}}}`)
		if got := p.hear("9007199254740993", ""); !strings.Contains(got, "ba7816bf") {
			t.Errorf("got %s", got)
		}
		// Another one finds it, and attaches.
		q := r.connect("time")
		q.say(modernLine("1", "server/discover", ""))
		if got := q.hear("1", ""); !strings.Contains(got, `"supportedVersions"`) || q.errs.String() != "" {
			t.Errorf("got %s: %s", got, q.errs.String())
		}
		q.end()
		p.end()
	}
	if _, err := os.Stat(filepath.Join(r.data, addressFile)); err == nil {
		t.Error("the address file is still there")
	}
}

func TestConnectAttachesToTheGatewayThatRuns(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r := newRig(t)
	s := r.serve()
	p := r.connect("notes")
	for _, line := range []string{"no JSON", `[]`, `{"jsonrpc":"2.0"}`} {
		p.say(line)
		if got := p.hear("null", ""); !strings.Contains(got, `"error"`) {
			t.Errorf("%s: %s", line, got)
		}
	}
	p.say(modernLine("1", "tools/call", `"name":"add_note","arguments":{"title":"Milk"}`))
	if got := p.hear("1", ""); !strings.Contains(got, "Milk") {
		t.Errorf("got %s", got)
	}
	// A question comes as a result, and the answer goes with the retry.
	p.say(modernLine("2", "tools/call", `"name":"clear_notes","arguments":{}`))
	var asked struct {
		Result struct {
			State  wire.Raw                   `json:"requestState"`
			Inputs map[string]json.RawMessage `json:"inputRequests"`
		}
	}
	if got := p.hear("2", ""); json.Unmarshal([]byte(got), &asked) != nil || len(asked.Result.Inputs) != 1 {
		t.Fatalf("got %s", got)
	}
	for key := range asked.Result.Inputs {
		state := ""
		if asked.Result.State != nil {
			state = `,"requestState":` + string(asked.Result.State)
		}
		p.say(modernLine("3", "tools/call", fmt.Sprintf(`"name":"clear_notes","arguments":{},"inputResponses":{%q:{"action":"accept","content":{"confirm":true}}}%s`, key, state)))
	}
	if got := p.hear("3", ""); !strings.Contains(got, "Deleted 1 note") {
		t.Errorf("got %s", got)
	}
	p.say(modernLine("4", "nothing/like/it", ""))
	if got := p.hear("4", ""); !strings.Contains(got, `-32601`) {
		t.Errorf("got %s", got)
	}
	p.say(modernLine(`"listen"`, "subscriptions/listen", `"notifications":{"toolsListChanged":true}`))
	p.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"listen"}}`)
	p.end()
	r.stop(s)
}

func TestConnectCarriesQuestionsToAClientWithASession(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r := newRig(t)
	s := r.serve()
	p := r.connect()
	p.say(fmt.Sprintf(helloOf, "2025-11-25"))
	_ = p.hear("0", "")
	p.say(ready)
	p.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"notes__add_note","arguments":{"title":"Milk"}}}`)
	_ = p.hear("1", "")
	p.say(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"notes__clear_notes","arguments":{}}}`)
	if got := p.hear("2", `{"action":"accept","content":{"confirm":true}}`); !strings.Contains(got, "Deleted 1 note") {
		t.Errorf("got %s", got)
	}
	p.end()
	r.stop(s)
}

func TestConnectSaysWhyThereIsNoGateway(t *testing.T) {
	r := newRig(t)
	r.env["JACKFIELD_URL"] = "http://127.0.0.1:1"
	p := r.connect()
	p.say(fmt.Sprintf(helloOf, "2025-11-25"))
	if got := p.hear("0", ""); !strings.Contains(got, "no gateway answers at http://127.0.0.1:1") {
		t.Errorf("got %s", got)
	}
	p.end()
	delete(r.env, "JACKFIELD_URL")
	if code, _, errs := r.run("", "connect", "--config", "not-there.yaml"); code != exitConfig || !strings.Contains(errs, "not-there.yaml") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func TestConnectBeginsANewSessionWhenTheGatewayForgotItsOwn(t *testing.T) {
	var mu sync.Mutex
	var sessions, forgotten int
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		m, err := wire.Parse(body)
		session := r.Header.Get("Mcp-Session-Id")
		switch {
		case r.Method == http.MethodGet:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		case err != nil:
			t.Errorf("%v: %s", err, body)
		case m.Method == "initialize":
			sessions++
			w.Header().Set("Mcp-Session-Id", fmt.Sprint("session-", sessions))
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(wire.AppendResult(nil, m.ID, wire.Raw(`{"protocolVersion":"2025-06-18"}`)))
		case session != fmt.Sprint("session-", sessions) || sessions == 1 && m.Kind == wire.Request:
			forgotten++
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write(wire.AppendError(nil, nil, &wire.Error{Code: -32600, Message: "there is no such session"}))
		case m.Kind != wire.Request:
			w.WriteHeader(http.StatusAccepted)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte("{\"jsonrpc\":\"2.0\",\n\"id\":" + string(m.ID) + ",\"result\":{\"version\":\"" + r.Header.Get("Mcp-Protocol-Version") + "\"}}"))
		}
	}))
	defer gateway.Close()
	r := newRig(t)
	p := r.connect("--url", gateway.URL)
	p.say(fmt.Sprintf(helloOf, "2025-06-18"))
	_ = p.hear("0", "")
	p.say(ready)
	p.say(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	if got := p.hear("1", ""); got != `{"jsonrpc":"2.0","id":1,"result":{"version":"2025-06-18"}}` {
		t.Errorf("got %s", got)
	}
	p.end()
	mu.Lock()
	defer mu.Unlock()
	if sessions != 2 || forgotten != 1 {
		t.Errorf("%d sessions, forgotten %d times", sessions, forgotten)
	}
}

func TestConnectBeginsOneNewSessionForAllRequestsThatWereUnderWay(t *testing.T) {
	const calls = 5
	var mu sync.Mutex
	var sessions, waiting int
	all := make(chan struct{}) // closed when every request has come in the old session
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m, _ := wire.Parse(body)
		old := r.Header.Get("Mcp-Session-Id") == "session-1"
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method != http.MethodPost:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case m.Method == "initialize":
			mu.Lock()
			sessions++
			w.Header().Set("Mcp-Session-Id", fmt.Sprint("session-", sessions))
			mu.Unlock()
			_, _ = w.Write(wire.AppendResult(nil, m.ID, wire.Raw(`{"protocolVersion":"2025-06-18"}`)))
		case m.Kind != wire.Request:
			w.WriteHeader(http.StatusAccepted)
		case old:
			mu.Lock()
			if waiting++; waiting == calls {
				close(all)
			}
			mu.Unlock()
			<-all
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write(wire.AppendError(nil, nil, &wire.Error{Code: -32600, Message: "there is no such session"}))
		default:
			_, _ = w.Write(wire.AppendResult(nil, m.ID, wire.Raw(`{}`)))
		}
	}))
	defer gateway.Close()
	r := newRig(t)
	p := r.connect("--url", gateway.URL)
	p.say(fmt.Sprintf(helloOf, "2025-06-18"))
	_ = p.hear("0", "")
	for i := range calls {
		p.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/list"}`, i+1))
	}
	for range calls {
		if !p.out.Scan() || !strings.HasSuffix(p.out.Text(), `"result":{}}`) {
			t.Errorf("got %s", p.out.Text())
		}
	}
	p.end()
	mu.Lock()
	defer mu.Unlock()
	if sessions != 2 {
		t.Errorf("%d sessions", sessions)
	}
}
