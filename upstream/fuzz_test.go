package upstream

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// replies is a transport that answers every request with the same bytes.
type replies struct {
	status      int
	contentType string
	body        string
}

func (r replies) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPost {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{
		StatusCode: r.status, Header: http.Header{"Content-Type": {r.contentType}}, Request: req,
		Body: io.NopCloser(strings.NewReader(r.body)), ContentLength: -1,
	}, nil
}

// hostile is a connection to a server that sends whatever bytes it likes.
func hostile(modern bool) (*Conn, func()) {
	version := exchange.V20251125
	if modern {
		version = exchange.Modern
	}
	c := &Conn{opts: Options{Name: "hostile"}.withDefaults()}
	c.opts.Limits.Message = 1 << 16
	c.live(context.Background())
	c.questions.turn = make(chan struct{}, 1)
	c.shape.Store(&exchange.Shape{Version: version, Capabilities: wire.Raw("{}")})
	return c, func() {
		c.end(errClosed)
		c.crew.dismiss()
		_ = c.crew.wait(context.Background())
	}
}

// seeds are what a server may say; ID stands for the id of the request.
var seeds = []string{
	`{"jsonrpc":"2.0","id":ID,"result":{"content":[]}}`,
	`{"jsonrpc":"2.0","id":ID,"error":{"code":-32602,"message":"no"}}`,
	`{"jsonrpc":"2.0","id":ID,"result":{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{}}},"requestState":"s"}}`,
	`{"jsonrpc":"2.0","id":ID,"result":{"tools":[{"name":"a"}],"nextCursor":"x","ttlMs":1,"cacheScope":"public"}}`,
	`{"jsonrpc":"2.0","id":ID,"result":{"supportedVersions":["2026-07-28"],"capabilities":{}}}`,
	`{"jsonrpc":"2.0","id":ID,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{}}}`,
	`{"jsonrpc":"2.0","id":ID,"result":{},"result":{}}`,
	`{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{}}`,
	`{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no valid session"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"ping"}`,
	`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":ID}}`,
	`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":ID,"progress":1}}`,
	`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":ID},"notifications":{"toolsListChanged":true}}}`,
	`[{"jsonrpc":"2.0","id":ID,"result":{}},{"jsonrpc":"2.0","id":ID,"result":{}}]`,
	"id: 1\nretry: 0\ndata:\n\n", "event: message\ndata: {}\n\n", "\x00\xff", "", "[", "null",
}

// FuzzHostileAnswer: whatever an HTTP server answers, a call ends, and with a
// result only if the answer is a response to it.
func FuzzHostileAnswer(f *testing.F) {
	for _, seed := range seeds {
		f.Add(200, "application/json", seed, true)
		f.Add(200, "text/event-stream", "data: "+seed+"\n\n", false)
		f.Add(400, "application/json", seed, true)
		f.Add(404, "text/plain", seed, false)
	}
	f.Fuzz(func(t *testing.T, status int, contentType, body string, modern bool) {
		c, end := hostile(modern)
		defer end()
		o := c.opts
		o.Endpoint = jackfield.Endpoint{URL: "http://hostile.test/mcp"}
		o.Client = &http.Client{}
		w, err := newWeb(&o)
		if err != nil {
			t.Fatal(err)
		}
		c.link = &httpLink{web: w, c: c}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		c.link.(*httpLink).transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			text, failed := io.ReadAll(r.Body)
			if failed != nil {
				return nil, failed
			}
			id := "0"
			if m, failed := wire.Parse(text); failed == nil {
				id = string(m.ID)
			}
			if status < 100 || status > 599 {
				status = 200
			}
			return replies{status, contentType, strings.ReplaceAll(body, "ID", id)}.RoundTrip(r)
		})
		peer := &asker{}
		res, err := c.Do(ctx, &exchange.Request{Method: "tools/list", Caps: exchange.Capabilities{AsResult: modern}}, peer)
		if err == nil && !strings.Contains(body, "ID") && !strings.Contains(body, "null") {
			t.Errorf("%q was taken for a response: %s, %v", body, res.Raw, res.Err)
		}
		if err == nil && (res.Raw == nil) == (res.Err == nil) {
			t.Errorf("result %s and error %v", res.Raw, res.Err)
		}
		_, _ = c.List(ctx, "tools/list")
	})
}

// FuzzHostileLine: whatever a process writes, reading it goes on, and the open
// call ends only with a response to it or a failure.
func FuzzHostileLine(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, text string, modern bool) {
		c, end := hostile(modern)
		defer end()
		p := &pipe{
			c:     c,
			write: func(context.Context, []byte) error { return nil },
			stop:  func(context.Context) error { return nil },
		}
		c.link = p
		x := newCall("tools/call")
		x.listens = strings.Contains(text, "acknowledged")
		p.admit(x)
		x.cancel = func(error) {}
		if !c.calls.enter(x, 1) {
			t.Fatal("no room")
		}
		line := bytes.ReplaceAll([]byte(text), []byte("ID"), x.key)
		for range 3 {
			p.read(bytes.Clone(line))
		}
		for len(x.inbox) > 0 {
			if c.receive(t.Context(), x, <-x.inbox) {
				t.Error("a response came by the wrong way")
			}
		}
		select {
		case o := <-x.answer:
			if o.err == nil && string(o.m.ID) != string(x.key) {
				t.Errorf("%q ended the call", line)
			}
		default:
		}
	})
}
