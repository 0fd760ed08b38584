package eras

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// client is a client of one revision, at one path of the gateway.
type client struct {
	t       testing.TB
	version string
	path    string // the gateway's name for the server stands in it
	url     string
	caps    string
	params  map[string]string // Mcp-Param headers of its calls
	session string
	about   string // what initialize answered
	last    atomic.Int64
	spell   func(id int64) string // spells the ids of its requests; nil: as numbers
	sub     string                // the id of its subscriptions/listen, as it is written
	// answer answers a question: method and params to a result; nil: none is expected.
	answer func(method string, params wire.Raw) string
	// asking sees the id of a question before it is answered; nil: nobody does.
	asking func(id wire.Raw)

	events chan string
	sse    bool // speaks HTTP+SSE: what is said to it comes on one stream

	mu      sync.Mutex // guards what follows
	heard   []string   // notifications, in order, over all calls
	waiting map[string]chan []byte
}

// overSSE is 2024-11-05 over its own transport, and no protocol version.
const overSSE = exchange.V20241105 + " over HTTP+SSE"

// allCaps is what a client declares that can answer everything in its revision.
func allCaps(version string) string {
	if version == overSSE || version == exchange.V20241105 || version == exchange.V20250326 {
		return `{"sampling":{},"roots":{}}`
	}
	return `{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}`
}

func (c *client) modern() bool { return c.version == exchange.Modern }

// connect makes a client of that revision.
func connect(t testing.TB, base, path, version, caps string) *client {
	t.Helper()
	c := &client{t: t, version: version, path: path, url: base + path, caps: caps, sub: `"listen-9007199254740993"`, events: make(chan string, 100), waiting: map[string]chan []byte{}}
	if c.modern() {
		return c
	}
	if version == overSSE {
		c.version, c.sse = exchange.V20241105, true
		c.dial(base + strings.Replace(path, "/mcp", "/sse", 1))
		result, failed := c.once(t.Context(), "initialize", fmt.Sprintf(`{"protocolVersion":%q,"capabilities":%s,"clientInfo":{"name":"eras","version":"1"}}`, c.version, caps), "", "")
		if failed != nil || !strings.Contains(string(result), `"protocolVersion":"2024-11-05"`) {
			t.Fatalf("initialize: %s %v", result, failed)
		}
		c.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
		return c
	}
	resp := c.post(t.Context(), fmt.Sprintf(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":%q,"capabilities":%s,"clientInfo":{"name":"eras","version":"1"}}}`, version, caps), nil)
	defer func() { _ = resp.Body.Close() }()
	c.session = resp.Header.Get(wire.HeaderSession)
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(text), `"protocolVersion":"`+version+`"`) {
		t.Fatalf("initialize: %d %s %v", resp.StatusCode, text, err)
	}
	c.about = string(text)
	c.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return c
}

// dial opens the event stream of HTTP+SSE and reads where to post.
func (c *client) dial(url string) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatal(resp, err)
	}
	events := wire.NewEventReader(resp.Body, 0)
	ev, err := events.Next()
	if err != nil || ev.Name != "endpoint" {
		c.t.Fatalf("%+v %v", ev, err)
	}
	at, err := r.URL.Parse(string(ev.Data))
	if err != nil {
		c.t.Fatal(err)
	}
	c.url = at.String()
	var done sync.WaitGroup
	done.Go(func() {
		defer func() { _ = resp.Body.Close() }()
		for {
			ev, err := events.Next()
			if err != nil {
				return
			}
			text := append([]byte(nil), ev.Data...)
			m, err := wire.Parse(text)
			switch {
			case err != nil:
			case m.Kind == wire.Notification:
				c.take(m)
			case m.Kind == wire.Request:
				done.Go(func() { c.take(m) })
			default:
				c.mu.Lock()
				wait := c.waiting[string(m.ID)]
				delete(c.waiting, string(m.ID))
				c.mu.Unlock()
				wait <- text
			}
		}
	})
	c.t.Cleanup(func() { cancel(); done.Wait() })
}

// await sends a request over HTTP+SSE and waits for its answer on the stream.
func (c *client) await(ctx context.Context, id, body string) (wire.Raw, *wire.Error) {
	c.t.Helper()
	answer := make(chan []byte, 1)
	c.mu.Lock()
	c.waiting[id] = answer
	c.mu.Unlock()
	c.send(body)
	select {
	case text := <-answer:
		return c.answerOf(id, text)
	case <-ctx.Done():
		return nil, &wire.Error{Message: "left"}
	case <-patience(c.t):
		c.t.Errorf("no answer to %s", body)
		return nil, &wire.Error{Message: "no answer"}
	}
}

func (c *client) post(ctx context.Context, body string, header map[string]string) *http.Response {
	c.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if c.session != "" {
		r.Header.Set(wire.HeaderSession, c.session)
	}
	if c.session != "" || c.modern() {
		r.Header.Set(wire.HeaderProtocolVersion, c.version)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		c.t.Fatal(err)
	}
	return resp
}

// send sends a notification or a response.
func (c *client) send(body string) {
	c.t.Helper()
	resp := c.post(c.t.Context(), body, nil)
	if resp == nil {
		return // the answer did its work, and the test is over
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		c.t.Errorf("%s: %d %s", body, resp.StatusCode, text)
	}
}

// do sends a request, answers what the server asks, and returns the result or the
// error.
func (c *client) do(ctx context.Context, method, params, meta string) (wire.Raw, *wire.Error) {
	c.t.Helper()
	more := ""
	for range 40 {
		result, failed := c.once(ctx, method, params, more, meta)
		if failed != nil || !c.modern() {
			return result, failed
		}
		var r struct {
			Type   string                 `json:"resultType"`
			State  wire.Raw               `json:"requestState"`
			Inputs map[string]wireRequest `json:"inputRequests"`
		}
		if err := json.Unmarshal(result, &r); err != nil {
			c.t.Fatalf("%v: %s", err, result)
		}
		if r.Type != "input_required" {
			if r.Type != "complete" {
				c.t.Errorf("%s: resultType %q", method, r.Type)
			}
			return result, nil
		}
		var answers []string
		for key, q := range r.Inputs {
			answers = append(answers, fmt.Sprintf("%q:%s", key, c.answered(q.Method, q.Params)))
		}
		more = `"inputResponses":{` + strings.Join(answers, ",") + `}`
		if r.State != nil {
			more += `,"requestState":` + string(r.State)
		}
	}
	c.t.Fatal("asked too often")
	return nil, nil
}

type wireRequest struct {
	Method string
	Params wire.Raw
}

func (c *client) answered(method string, params wire.Raw) string {
	if c.answer == nil {
		c.t.Errorf("asked %s %s", method, params)
		return `{}`
	}
	return c.answer(method, params)
}

// once sends one request, and for a legacy client answers what is asked meanwhile.
func (c *client) once(ctx context.Context, method, params, more, meta string) (wire.Raw, *wire.Error) {
	c.t.Helper()
	id := c.nextID()
	members := []string{}
	if inner := strings.TrimSpace(params[1 : len(params)-1]); inner != "" {
		members = append(members, inner)
	}
	if more != "" {
		members = append(members, more)
	}
	header := map[string]string{}
	if c.modern() {
		if meta != "" {
			meta = "," + meta
		}
		meta = fmt.Sprintf(`"io.modelcontextprotocol/protocolVersion":%q,"io.modelcontextprotocol/clientCapabilities":%s%s`, c.version, c.caps, meta)
		var p struct{ Name, URI, TaskID string }
		_ = json.Unmarshal([]byte(params), &p)
		header[wire.HeaderMethod] = method
		maps.Copy(header, c.params)
		if name := p.Name + p.URI + p.TaskID; name != "" && method != "completion/complete" {
			header[wire.HeaderName] = name
		}
	}
	if meta != "" {
		members = append(members, `"_meta":{`+meta+`}`)
	}
	return c.exchange(ctx, id, `{"jsonrpc":"2.0","id":`+id+`,"method":"`+method+`","params":{`+strings.Join(members, ",")+`}}`, header)
}

// nextID is the id of the next request.
func (c *client) nextID() string {
	id := c.last.Add(1)
	if c.spell != nil {
		return c.spell(id)
	}
	return fmt.Sprint(id)
}

// exchange sends a request and waits for its answer.
func (c *client) exchange(ctx context.Context, id, body string, header map[string]string) (wire.Raw, *wire.Error) {
	c.t.Helper()
	if c.sse {
		return c.await(ctx, id, body)
	}
	resp := c.post(ctx, body, header)
	if resp == nil {
		return nil, &wire.Error{Message: "left"}
	}
	defer func() { _ = resp.Body.Close() }()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			c.t.Fatal(err)
		}
		return c.answerOf(id, text)
	}
	events := wire.NewEventReader(resp.Body, 0)
	for {
		ev, err := events.Next()
		switch {
		case ctx.Err() != nil:
			return nil, &wire.Error{Message: "left"}
		case err != nil:
			return nil, &wire.Error{Message: "the stream ended without an answer: " + err.Error()}
		case len(ev.Data) == 0:
			continue
		}
		m, err := wire.Parse(append([]byte(nil), ev.Data...))
		if err != nil {
			c.t.Fatalf("%v: %s", err, ev.Data)
		}
		if m.Kind == wire.Response {
			return c.answerOf(id, ev.Data)
		}
		c.take(m)
	}
}

func (c *client) answerOf(id string, text []byte) (wire.Raw, *wire.Error) {
	c.t.Helper()
	m, err := wire.Parse(append([]byte(nil), text...))
	if err != nil || m.Kind != wire.Response || string(m.ID) != id {
		c.t.Fatalf("%v: not the answer to %s: %s", err, id, text)
	}
	if m.Error != nil {
		return nil, wire.ParseError(m.Error)
	}
	return m.Result, nil
}

// take takes what is no answer.
func (c *client) take(m wire.Message) {
	if m.Kind == wire.Request {
		if c.modern() {
			c.t.Errorf("a modern client got the request %s", m.Method)
			return
		}
		if c.asking != nil {
			c.asking(m.ID)
		}
		result := c.answered(m.Method, m.Params)
		c.send(string(wire.AppendResult(nil, m.ID, wire.Raw(result))))
		return
	}
	c.mu.Lock()
	c.heard = append(c.heard, m.Method+" "+string(m.Params))
	c.mu.Unlock()
	select {
	case c.events <- m.Method + " " + string(m.Params):
	default:
	}
}

// listen opens what tells the client of changes, until stop or until the test ends,
// and returns when it stands.
func (c *client) listen(filter string) (stop func()) {
	c.t.Helper()
	if c.sse {
		return func() {} // it has listened from the beginning
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	var body io.Reader
	method := http.MethodGet
	header := map[string]string{"Accept": "text/event-stream", wire.HeaderSession: c.session, wire.HeaderProtocolVersion: c.version}
	if c.modern() {
		method = http.MethodPost
		body = strings.NewReader(`{"jsonrpc":"2.0","id":` + c.sub + `,"method":"subscriptions/listen","params":{"notifications":` + filter +
			`,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":` + c.caps + `}}}`)
		header["Content-Type"], header["Accept"], header[wire.HeaderMethod] = "application/json", "application/json, text/event-stream", "subscriptions/listen"
		delete(header, wire.HeaderSession)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.url, body)
	if err != nil {
		c.t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatal(resp, err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		defer func() { _ = resp.Body.Close() }()
		events := wire.NewEventReader(resp.Body, 0)
		for {
			ev, err := events.Next()
			if err != nil {
				return
			}
			if len(ev.Data) > 0 {
				if m, err := wire.Parse(append([]byte(nil), ev.Data...)); err == nil && m.Kind != wire.Response {
					c.take(m)
				}
			}
		}
	})
	stop = func() { cancel(); done.Wait() }
	c.t.Cleanup(stop)
	if c.modern() {
		if got := c.event("notifications/subscriptions/acknowledged"); !strings.Contains(got, `"io.modelcontextprotocol/subscriptionId":`+c.sub+`}`) {
			c.t.Errorf("acknowledged: %s", got)
		}
	}
	return stop
}

// event waits for a notification of that method.
func (c *client) event(method string) string {
	c.t.Helper()
	for {
		select {
		case got := <-c.events:
			if strings.HasPrefix(got, method+" ") {
				return got
			}
		case <-c.t.Context().Done():
			return ""
		case <-patience(c.t):
			c.t.Fatalf("no %s; heard %.2000q", method, c.told())
		}
	}
}

func (c *client) told() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.heard...)
}

// toldBy is what it was told by notifications of a method. That lists have changed it
// may hear at any time.
func (c *client) toldBy(method string) []string {
	return slices.DeleteFunc(c.told(), func(heard string) bool { return !strings.HasPrefix(heard, method+" ") })
}

// call calls a tool that must succeed and returns its text.
func (c *client) call(tool, arguments, meta string) string {
	c.t.Helper()
	result, failed := c.do(c.t.Context(), "tools/call", `{"name":"`+tool+`","arguments":`+arguments+`}`, meta)
	if failed != nil {
		c.t.Fatalf("%s: %v", tool, failed)
	}
	text, err := textOf(result)
	if err != nil {
		c.t.Fatalf("%s: %v: %s", tool, err, result)
	}
	return text
}

func textOf(result wire.Raw) (string, error) {
	var r struct {
		Content []struct{ Type, Text string }
	}
	if err := json.Unmarshal(result, &r); err != nil {
		return "", err
	}
	if len(r.Content) != 1 || r.Content[0].Type != "text" {
		return "", errors.New("not one text")
	}
	return r.Content[0].Text, nil
}
