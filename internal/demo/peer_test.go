package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/jackfield-dev/jackfield/wire"
)

// peer is a client at the other end of a demo server's pipes.
type peer struct {
	t     *testing.T
	in    *io.PipeWriter
	lines chan wire.Message
	done  chan error
	heard []wire.Message // everything that was no answer to a request of ours
	last  int
	meta  string // members of _meta that every request carries; empty: legacy
}

// inBubble runs f with the server called name at the other end, in a synctest
// bubble: it is 2000-01-01 in there.
func inBubble(t *testing.T, name string, o Options, f func(p *peer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := start(t, name, o)
		defer func() {
			if p.in != nil {
				p.end()
			}
		}()
		f(p)
	})
}

func start(t *testing.T, name string, o Options) *peer {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	p := &peer{t: t, in: inW, lines: make(chan wire.Message, 10_000), done: make(chan error, 1)}
	go func() {
		err := Serve(context.Background(), name, inR, outW, o)
		_ = outW.Close()
		p.done <- err
	}()
	go func() {
		defer close(p.lines)
		r := bufio.NewScanner(outR)
		r.Buffer(nil, 2*maxLine)
		for r.Scan() {
			m, err := wire.Parse(append([]byte(nil), r.Bytes()...))
			if err != nil {
				t.Errorf("the server wrote %q: %v", r.Text(), err)
				return
			}
			p.lines <- m
		}
	}()
	return p
}

const modernMeta = `"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":%s`

// modern makes the peer a modern client with these capabilities.
func (p *peer) modern(caps string) *peer {
	p.meta = fmt.Sprintf(modernMeta, caps)
	return p
}

// legacy makes the peer a legacy client of this version with these capabilities.
func (p *peer) legacy(version, caps string) *peer {
	p.t.Helper()
	p.meta = ""
	p.ok("initialize", `{"protocolVersion":"`+version+`","capabilities":`+caps+`,"clientInfo":{"name":"test","version":"1"}}`)
	p.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return p
}

func (p *peer) send(line string) {
	p.t.Helper()
	if _, err := p.in.Write([]byte(line + "\n")); err != nil {
		p.t.Fatalf("write to the server: %v", err)
	}
}

// begin sends a request and returns its id. params is an object; the peer's
// _meta goes into it.
func (p *peer) begin(method, params string) string {
	p.t.Helper()
	p.last++
	id := fmt.Sprint(p.last)
	if params == "" {
		params = "{}"
	}
	if p.meta != "" && strings.HasPrefix(params, "{") && !strings.Contains(params, `"_meta"`) {
		comma := ","
		if params == "{}" {
			comma = ""
		}
		params = `{"_meta":{` + p.meta + `}` + comma + params[1:]
	}
	p.send(string(wire.AppendRequest(nil, wire.Raw(id), method, wire.Raw(params))))
	return id
}

// next is the next message of the server.
func (p *peer) next() wire.Message {
	p.t.Helper()
	m, ok := <-p.lines
	if !ok {
		p.t.Fatal("the server ended its output")
	}
	return m
}

// answer waits for the answer to the request with this id.
func (p *peer) answer(id string) wire.Message {
	p.t.Helper()
	for {
		m := p.next()
		if m.Kind == wire.Response && string(m.ID) == id {
			return m
		}
		p.heard = append(p.heard, m)
	}
}

func (p *peer) ask(method, params string) wire.Message {
	p.t.Helper()
	return p.answer(p.begin(method, params))
}

// ok asks and decodes the result.
func (p *peer) ok(method, params string) map[string]any {
	p.t.Helper()
	m := p.ask(method, params)
	if m.Error != nil {
		p.t.Fatalf("%s %s: %s", method, params, m.Error)
	}
	return decode(p.t, m.Result)
}

// fails asks and returns the error.
func (p *peer) fails(method, params string) *wire.Error {
	p.t.Helper()
	m := p.ask(method, params)
	if m.Error == nil {
		p.t.Fatalf("%s %s: answered %s, want an error", method, params, m.Result)
	}
	return wire.ParseError(m.Error)
}

// call calls a tool and returns its text and whether it is an error.
func (p *peer) call(tool, args string) (string, bool) {
	p.t.Helper()
	r := p.ok("tools/call", `{"name":"`+tool+`","arguments":`+args+`}`)
	return textOf(p.t, r), r["isError"] == true
}

func textOf(t *testing.T, result map[string]any) string {
	t.Helper()
	content, _ := result["content"].([]any)
	if len(content) == 0 {
		t.Fatalf("a result without content: %v", result)
	}
	text, _ := content[0].(map[string]any)["text"].(string)
	return text
}

// end closes the input and waits for the server to end.
func (p *peer) end() {
	p.t.Helper()
	_ = p.in.Close()
	p.in = nil
	for m := range p.lines {
		p.heard = append(p.heard, m)
	}
	if err := <-p.done; err != nil {
		p.t.Fatalf("Serve: %v", err)
	}
}

// methods are the methods heard since the last call of it.
func (p *peer) methods() []string {
	synctest.Wait()
	for len(p.lines) > 0 {
		p.heard = append(p.heard, p.next())
	}
	var all []string
	for _, m := range p.heard {
		all = append(all, m.Method)
	}
	p.heard = nil
	return all
}

func decode(t *testing.T, raw wire.Raw) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("decode %s: %v", raw, err)
	}
	return m
}
