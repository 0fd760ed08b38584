package upstreamtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield/wire"
)

// turn is one request while it is worked on.
type turn struct {
	s      *Server
	sess   *session
	modern bool
	m      wire.Message
	meta   meta

	send   func(message []byte)         // on the stream that belongs to the request
	drop   func()                       // break the connection off
	raw    func(status int, f Fault)    // answer with anything
	poll   func(retry, times int) error // close the stream and let the client come back (legacy, HTTP)
	mirror map[string][]string          // HTTP headers of the request
}

type meta struct {
	Version  string          `json:"io.modelcontextprotocol/protocolVersion"`
	Caps     json.RawMessage `json:"io.modelcontextprotocol/clientCapabilities"`
	Level    string          `json:"io.modelcontextprotocol/logLevel"`
	Progress json.RawMessage `json:"progressToken"`
}

func metaOf(params wire.Raw) meta {
	var p struct {
		Meta meta `json:"_meta"`
	}
	_ = json.Unmarshal(params, &p) // absent: zero
	return p.Meta
}

func (t *turn) notify(method, params string) {
	t.send(wire.AppendNotification(nil, method, wire.Raw(params)))
}

// result answers with a result; modern ones say their type.
func (t *turn) result(members string) []byte {
	if t.modern && !strings.Contains(members, `"resultType"`) {
		if members != "" {
			members += ","
		}
		members += `"resultType":"complete"`
	}
	return wire.AppendResult(nil, t.m.ID, wire.Raw("{"+members+"}"))
}

func (t *turn) fail(code int, message string) []byte {
	return wire.AppendError(nil, t.m.ID, &wire.Error{Code: code, Message: message})
}

func (t *turn) text(s string) []byte {
	return t.result(`"content":[{"type":"text","text":` + string(wire.AppendString(nil, s)) + `}]`)
}

// toolNames are the words; see call.
var toolNames = []string{
	"echo", "slow", "progress", "log", "ask", "drop", "garbage", "big", "change", "exit", "error", "raw", "mirror", "poll", "status",
	"say", "heard",
}

func (s *Server) tools() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	if !s.script.Bare {
		names = append(names, toolNames...)
	}
	if s.script.Tasks {
		names = append(names, "task")
	}
	if s.script.Header != "" {
		names = append(names, "routed", "badly")
	}
	return append(append(names, s.script.Tools...), s.extra...)
}

// schema is the input schema of a tool.
func (s *Server) schema(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch name {
	case "routed":
		return fmt.Sprintf(`{"type":"object","properties":{"region":{"type":"string","x-mcp-header":%q}}}`, s.script.Header)
	case "badly":
		return `{"type":"object","properties":{"n":{"type":"number","x-mcp-header":"N"}}}`
	}
	return `{"type":"object"}`
}

const capabilities = `{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true},"logging":{},"completions":{}}`

// capabilities are what the server declares.
func (s *Server) capabilities() string {
	extensions, more := []string{}, ""
	if s.script.Tasks {
		extensions, more = append(extensions, `"io.modelcontextprotocol/tasks":{}`), taskCapability
	}
	if s.script.App != "" {
		extensions = append(extensions, `"io.modelcontextprotocol/ui":`+appCapability)
	}
	if len(extensions) > 0 {
		more += `"extensions":{` + strings.Join(extensions, ",") + `},`
	}
	return "{" + more + capabilities[1:]
}

const serverInfo = `{"name":"upstreamtest","version":"1"}`

// handle answers a request; nil means that there is no answer. Params with the
// member "x-mirror":true are answered with themselves, whatever the method.
func (s *Server) handle(ctx context.Context, t *turn) []byte {
	if bytes.Contains(t.m.Params, []byte(`"x-mirror":true`)) {
		return t.result(`"params":` + string(t.m.Params))
	}
	switch t.m.Method {
	case "server/discover":
		versions := `["2026-07-28"]`
		switch s.era() {
		case Dual:
			versions = `["2026-07-28","2025-11-25","2025-06-18"]`
		case Legacy, Sessionless:
			versions = `["2025-11-25","2025-06-18"]`
		case Modern:
		}
		return t.result(fmt.Sprintf(`"supportedVersions":%s,"capabilities":%s,"instructions":%q,"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":%s}`,
			versions, s.capabilities(), s.script.Instructions, serverInfo))
	case "initialize":
		return t.result(fmt.Sprintf(`"protocolVersion":%q,"capabilities":%s,"serverInfo":%s,"instructions":%q`,
			s.script.Version, s.capabilities(), serverInfo, s.script.Instructions))
	case "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe":
		return t.result("")
	case "tools/list":
		return s.list(t, "tools", s.tools(), `{"name":%q,"description":"a word","inputSchema":%s`+s.appLink()+`}`)
	case "prompts/list":
		return s.list(t, "prompts", []string{"greet"}, `{"name":%q}`)
	case "resources/list":
		return s.list(t, "resources", []string{"test://a", "test://b"}, `{"name":"r","uri":%q}`)
	case "resources/templates/list":
		return s.list(t, "resourceTemplates", []string{"test://{id}"}, `{"name":"t","uriTemplate":%q}`)
	case "prompts/get":
		return t.result(`"messages":[{"role":"user","content":{"type":"text","text":"hello"}}]`)
	case "resources/read":
		if view := s.appView(t); view != "" {
			return t.result(view)
		}
		return t.result(`"contents":[{"uri":"test://a","text":"content of a"}],"ttlMs":0,"cacheScope":"private"`)
	case "completion/complete":
		return t.result(`"completion":{"values":["one","two"]}`)
	case "tools/call":
		return s.call(ctx, t)
	case "tasks/get", "tasks/update", "tasks/cancel", "tasks/result", "tasks/list":
		return s.askTask(ctx, t)
	case "vendor/odd":
		return t.result(`"odd":9007199254740993,"params":` + string(orNull(t.m.Params)))
	}
	return t.fail(wire.CodeMethodNotFound, "no such method: "+t.m.Method)
}

func orNull(raw wire.Raw) wire.Raw {
	if raw == nil {
		return wire.Raw("null")
	}
	return raw
}

// list answers with one page.
func (s *Server) list(t *turn, member string, names []string, form string) []byte {
	var p struct {
		Cursor string `json:"cursor"`
	}
	_ = json.Unmarshal(orNull(t.m.Params), &p)
	page, _ := strconv.Atoi(p.Cursor)
	size := s.script.Page
	if size == 0 {
		size = len(names)
	}
	pages := (len(names) + size - 1) / max(size, 1)
	from := page * size
	if s.script.Pages > 0 {
		pages = s.script.Pages
		from = 0
	}
	var items []string
	for _, name := range names[min(from, len(names)):min(from+size, len(names))] {
		if member == "tools" {
			items = append(items, fmt.Sprintf(form, name, s.schema(name)))
			continue
		}
		items = append(items, fmt.Sprintf(form, name))
	}
	members := fmt.Sprintf(`%q:[%s]`, member, strings.Join(items, ","))
	if page+1 < pages {
		members += fmt.Sprintf(`,"nextCursor":"%d"`, page+1)
	}
	if t.modern {
		members += fmt.Sprintf(`,"ttlMs":%d,"cacheScope":%q`, s.script.TTL, s.script.Scope)
	}
	return t.result(members)
}

// arguments are those of all words together.
type arguments struct {
	Text   string          `json:"text"`
	MS     int             `json:"ms"`
	Steps  int             `json:"steps"`
	Level  string          `json:"level"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Times  int             `json:"times"`
	Code   int             `json:"code"`
	Bytes  int             `json:"bytes"`
	Kind   string          `json:"kind"`
	Retry  int             `json:"retry"`
	After  string          `json:"after"`
	Result json.RawMessage `json:"result"`
	Data   json.RawMessage `json:"data"`
}

// call carries out a tool:
//
//	echo {text}                answers with the text
//	slow {ms}                  answers after that time; without ms, never
//	progress {steps, ms}       sends that many progress notifications, ms apart, if asked to
//	log {level, times}         sends log messages
//	ask {method, params, times} asks back, times in a row, and answers with what it was told
//	drop {}                    breaks the connection off without an answer
//	garbage {text}             sends the text instead of an answer (over stdio: before it)
//	big {bytes}                answers with that many bytes of text
//	change {kind}              announces a changed list: tools, prompts or resources; or kind "updated", text the uri
//	exit {code, text}          writes text to stderr and ends the process
//	error {code, text, data}   answers with a JSON-RPC error; or with exactly the one in result
//	raw {result}               answers with exactly this result
//	mirror {}                  answers with the params and HTTP headers that arrived
//	say {method, params}       sends exactly this notification; "TOKEN" in it becomes the progress token
//	heard {method}             answers with the params of the last notification of that method
//	poll {retry, times}        closes the stream; the answer is there when the client has come back times times
//	status {code, after, text} answers with an HTTP status, Retry-After, and a text in which ID is the request's id
func (s *Server) call(ctx context.Context, t *turn) []byte {
	var p struct {
		Name      string          `json:"name"`
		Arguments arguments       `json:"arguments"`
		State     string          `json:"requestState"`
		Answers   json.RawMessage `json:"inputResponses"`
	}
	if err := json.Unmarshal(orNull(t.m.Params), &p); err != nil {
		return t.fail(wire.CodeInvalidParams, err.Error())
	}
	s.count("tool:" + p.Name)
	if !slices.Contains(s.tools(), p.Name) {
		return t.fail(wire.CodeInvalidParams, "Unknown tool: "+p.Name)
	}
	a := p.Arguments
	switch p.Name {
	case "echo":
		return t.text(a.Text)
	case "task":
		return s.makeTask(t, a)
	case "slow":
		if !wait(ctx, a.MS) {
			return nil
		}
		return t.text("slow")
	case "progress":
		return t.progress(ctx, a)
	case "log":
		return t.log(a)
	case "ask":
		return t.ask(ctx, a, p.State, p.Answers)
	case "change":
		s.change(t, a)
		return t.text("changed")
	case "big":
		return t.text(strings.Repeat("x", a.Bytes))
	case "raw":
		return wire.AppendResult(nil, t.m.ID, wire.Raw(a.Result))
	case "say":
		token := strings.ReplaceAll(string(a.Params), `"TOKEN"`, string(t.meta.Progress))
		t.notify(a.Method, token)
		return t.text("said")
	case "heard":
		return t.result(`"content":[],"params":` + string(orNull(s.lastHeard(a.Method))))
	case "error":
		if a.Result != nil {
			return wire.AppendError(nil, t.m.ID, wire.ParseError(wire.Raw(a.Result)))
		}
		return wire.AppendError(nil, t.m.ID, &wire.Error{Code: a.Code, Message: a.Text, Data: wire.Raw(a.Data)})
	case "mirror":
		headers, err := json.Marshal(t.mirror)
		if err != nil {
			return t.fail(wire.CodeInternal, err.Error())
		}
		return t.result(fmt.Sprintf(`"content":[],"params":%s,"headers":%s`, t.m.Params, headers))
	}
	return s.misbehave(ctx, t, p.Name, a)
}

// misbehave carries out the words that no server should know.
func (s *Server) misbehave(ctx context.Context, t *turn, name string, a arguments) []byte {
	switch name {
	case "drop":
		t.drop()
		return nil
	case "garbage":
		t.raw(200, Fault{Type: "application/json", Body: a.Text})
		return nil
	case "status":
		t.raw(a.Code, Fault{RetryAfter: a.After, Type: "application/json", Body: strings.ReplaceAll(a.Text, "ID", string(t.m.ID))})
		return nil
	case "exit":
		fmt.Fprintln(os.Stderr, a.Text)
		os.Exit(a.Code)
	case "poll":
		if t.poll == nil {
			return t.text("nothing to poll here")
		}
		if err := t.poll(a.Retry, a.Times); err != nil {
			return t.fail(wire.CodeInternal, err.Error())
		}
		return t.text("polled")
	}
	return s.faulty(ctx, t, name, a)
}

// wait waits for ms milliseconds, forever for zero; false when ctx ended first.
func wait(ctx context.Context, ms int) bool {
	if ms == 0 {
		<-ctx.Done()
		return false
	}
	timer := time.NewTimer(time.Duration(ms) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t *turn) progress(ctx context.Context, a arguments) []byte {
	for i := range a.Steps {
		if t.meta.Progress != nil {
			t.notify("notifications/progress", fmt.Sprintf(`{"progressToken":%s,"progress":%d,"total":%d}`, t.meta.Progress, i+1, a.Steps))
		}
		if a.MS > 0 && !wait(ctx, a.MS) {
			return nil
		}
	}
	return t.text("done")
}

func (t *turn) log(a arguments) []byte {
	for range max(a.Times, 1) {
		if !t.modern || t.meta.Level != "" {
			t.notify("notifications/message", fmt.Sprintf(`{"level":%q,"data":%q}`, a.Level, a.Text))
		}
	}
	return t.text("logged")
}

// ask asks back: legacy servers with a request of their own, modern ones with a
// result. Over HTTP {kind: "get"} asks on the GET stream instead.
func (t *turn) ask(ctx context.Context, a arguments, state string, answers json.RawMessage) []byte {
	params := a.Params
	if params == nil {
		params = json.RawMessage(`{"message":"?","requestedSchema":{"type":"object","properties":{}}}`)
	}
	if a.Method == "" {
		a.Method = "elicitation/create"
	}
	rounds := max(a.Times, 1)
	if t.modern {
		round, _ := strconv.Atoi(strings.TrimPrefix(state, "round "))
		if state != "" && answers == nil {
			return t.fail(wire.CodeInvalidParams, "a state without answers")
		}
		if round < rounds {
			return t.result(fmt.Sprintf(`"resultType":"input_required","inputRequests":{"q%d":{"method":%q,"params":%s}},"requestState":"round %d"`,
				round+1, a.Method, params, round+1))
		}
		return t.text("answers: " + string(answers))
	}
	var told []string
	for range rounds {
		send := t.send
		if a.Kind == "get" {
			send = t.s.broadcast
		}
		answer, err := t.sess.ask(ctx, t.s, send, a.Method, string(params))
		if err != nil {
			return nil
		}
		told = append(told, answer)
	}
	return t.text("answers: " + strings.Join(told, ", "))
}

func (s *Server) change(t *turn, a arguments) {
	method, params := "notifications/"+a.Kind+"/list_changed", `{}`
	if a.Kind == "updated" {
		method, params = "notifications/resources/updated", fmt.Sprintf(`{"uri":%q}`, a.Text)
	}
	s.emit(method, params)
}
