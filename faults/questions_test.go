//go:build linux

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// A question of a server's, and what its tool then answers.
const (
	asksTwice = `{"name":"ask","arguments":{"times":2}}`
	answer    = `{"action":"accept","content":{"x":1}}`
	mayAsk    = `{"elicitation":{}}`
)

// asking has clients of both eras answer what a server asks, and fail to, while the
// server comes and goes. The healthy ways must succeed; of the others each must end.
func asking(ctx context.Context, t *testing.T, h *house, b *broken) {
	t.Helper()
	for _, way := range []struct {
		name    string
		ask     func(ctx context.Context, path string, meanwhile func()) (string, error)
		befalls func() // in the middle of the question
		healthy bool
	}{
		{name: "modern", ask: h.askModern, healthy: true},
		{name: "legacy", ask: h.askLegacy, healthy: true},
		{name: "modern, and the server restarts", ask: h.askModern, befalls: b.restart},
		{name: "legacy, and the server restarts", ask: h.askLegacy, befalls: b.restart},
		{name: "legacy, and leaves", ask: h.askAndLeave},
	} {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*patience)
		(&cell{b: b}).wantServing(limit, t, h)
		befalls := way.befalls
		if befalls == nil {
			befalls = func() {}
		}
		result, err := way.ask(limit, "/mcp/"+b.def.Name, befalls)
		if way.healthy && strings.Contains(result, "call again") { // once, after each restart
			result, err = way.ask(limit, "/mcp/"+b.def.Name, befalls)
		}
		late := limit.Err()
		cancel()
		b.heal()
		switch {
		case late != nil:
			t.Errorf("%s, %s: no end within %v", b.def.Name, way.name, 2*patience)
		case way.healthy && (err != nil || strings.Count(result, `\"x\":1`) == 0):
			t.Errorf("%s, %s: %s %v", b.def.Name, way.name, result, err)
		}
	}
}

// restart restarts the server: everybody is cut off, and sessions are forgotten.
func (b *broken) restart() {
	if b.front != nil {
		b.Restart()
		b.front.cut()
		return
	}
	for _, path := range marked(b.file) {
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// askModern answers as a modern client does: by calling again with the answers.
func (c *client) askModern(ctx context.Context, path string, meanwhile func()) (string, error) {
	more := ""
	for range 5 {
		result, failed, err := c.asker(ctx, path, asksTwice[:len(asksTwice)-1]+more+"}")
		if err != nil || failed != "" {
			return result + failed, err
		}
		var r struct {
			ResultType    string
			RequestState  json.RawMessage
			InputRequests map[string]json.RawMessage
		}
		if err = json.Unmarshal([]byte(result), &r); err != nil || r.ResultType != "input_required" {
			return result, err
		}
		meanwhile()
		var answers []string
		for key := range r.InputRequests {
			answers = append(answers, fmt.Sprintf("%q:%s", key, answer))
		}
		more = `,"inputResponses":{` + strings.Join(answers, ",") + `}`
		if r.RequestState != nil {
			more += `,"requestState":` + string(r.RequestState)
		}
	}
	return "", errors.New("asked again and again")
}

// asker is ask of a client that can be asked.
func (c *client) asker(ctx context.Context, path, params string) (result, failed string, err error) {
	able := *c
	able.caps = mayAsk
	return able.ask(ctx, path, "tools/call", params)
}

// askLegacy answers as a legacy client does: with a message of its own.
func (c *client) askLegacy(ctx context.Context, path string, meanwhile func()) (string, error) {
	return c.inSession(ctx, path, func(session string, question wire.Raw) error {
		meanwhile()
		return c.say(ctx, path, session, string(wire.AppendResult(nil, question, wire.Raw(answer))))
	})
}

var errLeft = errors.New("left")

// askAndLeave does not wait for the end of what it is asked about.
func (c *client) askAndLeave(ctx context.Context, path string, _ func()) (string, error) {
	return c.inSession(ctx, path, func(string, wire.Raw) error { return errLeft })
}

// inSession calls the tool in a session, with what is done when it asks.
func (c *client) inSession(ctx context.Context, path string, asked func(session string, question wire.Raw) error) (string, error) {
	resp, err := c.post(ctx, path, "", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"`+exchange.V20251125+
		`","capabilities":`+mayAsk+`,"clientInfo":{"name":"faults","version":"1"}}}`)
	if err != nil {
		return "", err
	}
	session := resp.Header.Get(wire.HeaderSession)
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	defer c.leave(ctx, path, session)
	if err == nil {
		err = c.say(ctx, path, session, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	}
	if err != nil {
		return "", err
	}
	if resp, err = c.post(ctx, path, session, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":`+asksTwice+`}`); err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		text, err := io.ReadAll(resp.Body)
		return string(text), err
	}
	events := wire.NewEventReader(resp.Body, 0)
	for {
		ev, err := events.Next()
		if err != nil {
			return "", err
		}
		if len(ev.Data) == 0 {
			continue
		}
		m, err := wire.Parse(append([]byte(nil), ev.Data...))
		switch {
		case err != nil:
			return "", err
		case m.Kind == wire.Response:
			return string(m.Result) + string(m.Error), nil
		case m.Kind == wire.Request:
			if err = asked(session, m.ID); err != nil {
				return "", err
			}
		}
	}
}

// leave ends a session.
func (c *client) leave(ctx context.Context, path, session string) {
	r, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodDelete, c.base+path, http.NoBody)
	if err != nil {
		return
	}
	r.Header.Set(wire.HeaderSession, session)
	if resp, err := c.http.Do(r); err == nil {
		_ = resp.Body.Close()
	}
}

// say posts what has no answer.
func (c *client) say(ctx context.Context, path, session, body string) error {
	resp, err := c.post(ctx, path, session, body)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// post posts as a legacy client.
func (c *client) post(ctx context.Context, path, session, body string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if session != "" {
		r.Header.Set(wire.HeaderSession, session)
		r.Header.Set(wire.HeaderProtocolVersion, exchange.V20251125)
	}
	return c.http.Do(r)
}

// keepsAsking asks until ctx ends, but not while everything rests.
func keepsAsking(ctx context.Context, t *testing.T, h *house, b *broken, rest sync.Locker, done func()) {
	for ctx.Err() == nil {
		rest.Lock()
		if ctx.Err() == nil {
			asking(ctx, t, h, b)
			done()
		}
		rest.Unlock()
		wait(ctx, 200*time.Millisecond)
	}
}
