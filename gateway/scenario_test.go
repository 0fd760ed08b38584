package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
)

// wrong is one thing that clients get wrong: a request and its one answer.
type wrong struct {
	name, method, path, body string
	header                   header
	status, code             int
	id, message              string
}

// desk is a handler with the server files, and clients of it.
type desk struct {
	*Handler
	modernBody, call    string
	modern, legacy, old header
}

func newDesk(t *testing.T) *desk {
	b := &desk{Handler: open(t, Options{
		Broker: &script{},
		Find: func(_ jackfield.Principal, server string) error {
			if server != "files" {
				return jackfield.Errorf(jackfield.NotFound, "there is no server %q", server)
			}
			return nil
		},
		Limits: Limits{Body: 64 << 10},
	})}
	b.modernBody, b.modern = modernCall("7", "tools/call", `"name":"read"`, "")
	b.legacy = initialize(t, b, "/mcp", "2025-11-25", "{}")
	b.old = initialize(t, b, "/mcp", "2025-03-26", "{}")
	b.call = legacyCall("7", "tools/call", `{"name":"read"}`)
	return b
}

func with(hs header, more ...string) header { return append(append(header{}, hs...), more...) }

// each sends every row and checks that there is one JSON-RPC error, the right one.
func (b *desk) each(t *testing.T, rows []wrong) {
	for _, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			w := send(b, c.method, c.path, c.body, c.header)
			if w.Code != c.status {
				t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			if ct := w.Header().Get("Content-Type"); ct != "application/json" {
				t.Errorf("Content-Type %q", ct)
			}
			if allow := w.Header().Get("Allow"); (allow != "") != (w.Code == http.StatusMethodNotAllowed) {
				t.Errorf("Allow %q", allow)
			}
			code, message, id := errorOf(t, w)
			if code != c.code || id != c.id || !strings.Contains(message, c.message) {
				t.Errorf("%s\nwant code %d, id %s and %q", w.Body, c.code, c.id, c.message)
			}
		})
	}
}

func TestWrongHTTPGetsOneClearError(t *testing.T) {
	b := newDesk(t)
	b.each(t, []wrong{
		{"a foreign host", "POST", "/mcp", b.call, with(b.legacy, "Host: evil.example.com"), 403, codeForbidden, "null", "evil.example.com"},
		{"a foreign origin", "POST", "/mcp", b.call, with(b.legacy, "Origin: http://evil.example.com"), 403, codeForbidden, "null", "evil.example.com"},
		{"the origin of a sandboxed page", "POST", "/mcp", b.call, with(b.legacy, "Origin: null"), 403, codeForbidden, "null", "null"},
		{"an origin that only begins like ours", "POST", "/mcp", b.call, with(b.legacy, "Origin: http://localhost.evil.example.com"), 403, codeForbidden, "null", "evil"},
		{"an unknown path", "POST", "/mcp/files/more", b.call, b.legacy, 404, -32600, "null", "/mcp/{server}"},
		{"an unknown server", "POST", "/mcp/nope", b.call, b.legacy, 404, -32600, "null", `no server "nope"`},
		{"another method", "PUT", "/mcp", b.call, b.legacy, 405, -32600, "null", "POST"},
		{"a wrong content type", "POST", "/mcp", b.call, with(b.legacy, "Content-Type: text/plain"), 415, -32600, "null", "application/json"},
		{"no content type", "POST", "/mcp", b.call, with(b.legacy, "Content-Type:"), 415, -32600, "null", "application/json"},
		{"JSON only", "POST", "/mcp", b.call, with(b.legacy, "Accept: application/json"), 406, -32600, "null", "text/event-stream"},
		{"streams only", "POST", "/mcp", b.call, with(b.legacy, "Accept: text/event-stream"), 406, -32600, "null", "application/json"},
		{"JSON refused", "POST", "/mcp", b.call, with(b.legacy, "Accept: application/json;q=0, text/event-stream"), 406, -32600, "null", "application/json"},
		{"a GET for JSON", "GET", "/mcp", "", with(b.legacy, "Accept: application/json"), 406, -32600, "null", "text/event-stream"},
		{"a body too large", "POST", "/mcp", `{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":"` + strings.Repeat("a", 64<<10) + `"}}`, b.legacy, 413, -32600, "null", "64 KiB"},
	})
}

func TestWrongMessagesGetOneClearError(t *testing.T) {
	b := newDesk(t)
	deep := strings.Repeat("[", 600) + strings.Repeat("]", 600)
	b.each(t, []wrong{
		{"not JSON", "POST", "/mcp", `{"jsonrpc":"2.0","id":7,`, b.legacy, 400, -32700, "null", "not valid JSON"},
		{"nothing", "POST", "/mcp", "", b.legacy, 400, -32700, "null", "not valid JSON"},
		{"something behind the message", "POST", "/mcp", b.call + "{}", b.legacy, 400, -32700, "null", "behind"},
		{"not UTF-8", "POST", "/mcp", "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"\xff\"}", b.legacy, 400, -32700, "null", "UTF-8"},
		{"a duplicate key of the message", "POST", "/mcp", `{"jsonrpc":"2.0","id":7,"method":"ping","method":"tools/call"}`, b.legacy, 400, -32600, "7", "twice"},
		{"a duplicate key of params", "POST", "/mcp", legacyCall("7", "tools/call", `{"name":"read","name":"write"}`), b.legacy, 400, -32600, "7", "twice"},
		{"a key in disguise", "POST", "/mcp", legacyCall("7", "tools/call", `{"n\u0061me":"write","name":"read"}`), b.legacy, 400, -32600, "7", "escapes"},
		{"a duplicate key of _meta", "POST", "/mcp", legacyCall("7", "tools/call", `{"_meta":{"progressToken":1,"progressToken":2}}`), b.legacy, 400, -32600, "7", "twice"},
		{"deep nesting", "POST", "/mcp", legacyCall("7", "tools/call", `{"arguments":`+deep+`}`), b.legacy, 400, -32600, "7", "nested deeper"},
		{"an id of null", "POST", "/mcp", legacyCall("null", "tools/call", `{"name":"read"}`), b.legacy, 400, -32600, "null", "id"},
		{"an id that is a fraction", "POST", "/mcp", legacyCall("1.5", "tools/call", `{"name":"read"}`), b.legacy, 400, -32600, "null", "id"},
		{"JSON-RPC 1", "POST", "/mcp", `{"id":7,"method":"ping"}`, b.legacy, 400, -32600, "7", "jsonrpc"},
		{"params that are a list", "POST", "/mcp", legacyCall("7", "tools/call", `[]`), b.legacy, 400, -32600, "7", "params"},
		{"_meta that is no object", "POST", "/mcp", legacyCall("7", "tools/call", `{"_meta":3}`), b.legacy, 400, -32602, "7", "_meta"},
		{"a progress token that is an object", "POST", "/mcp", legacyCall("7", "tools/call", `{"name":"read","_meta":{"progressToken":{}}}`), b.legacy, 200, -32602, "7", "progress token"},
	})
}

func TestWrongBatchesGetOneClearError(t *testing.T) {
	b := newDesk(t)
	b.each(t, []wrong{
		{"a batch today", "POST", "/mcp", "[" + b.call + "]", b.legacy, 400, -32600, "null", "2025-11-25 has no batches"},
		{"a modern batch", "POST", "/mcp", "[" + b.modernBody + "]", b.modern, 400, -32600, "null", "one message"},
		{"a batch without a session", "POST", "/mcp", "[" + b.call + "]", nil, 400, -32600, "null", "one message"},
		{"an empty batch", "POST", "/mcp", "[]", b.old, 400, -32600, "null", "1 to 100"},
		{"a batch with initialize in it", "POST", "/mcp", `[{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26"}}]`, b.old, 400, -32600, "null", "initialize"},
		{"a batch with rubbish in it", "POST", "/mcp", "[" + b.call + ",3]", b.old, 400, -32600, "null", "in a batch"},
		{"a batch that is no JSON", "POST", "/mcp", "[" + b.call, b.old, 400, -32700, "null", "not valid JSON"},
	})
}

func TestWrongSessionsGetOneClearError(t *testing.T) {
	b := newDesk(t)
	b.each(t, []wrong{
		{"no session", "POST", "/mcp", b.call, nil, 400, -32600, "7", "Mcp-Session-Id"},
		{"an unknown session", "POST", "/mcp", b.call, header{"Mcp-Session-Id: abc"}, 404, -32600, "7", "initialize again"},
		{"a session of another path", "POST", "/mcp/files", b.call, b.legacy, 404, -32600, "7", "initialize again"},
		{"an unknown session on GET", "GET", "/mcp", "", header{"Mcp-Session-Id: abc"}, 404, -32600, "null", "initialize again"},
		{"no session on GET", "GET", "/mcp", "", nil, 400, -32600, "null", "Mcp-Session-Id"},
		{"an unknown session on DELETE", "DELETE", "/mcp", "", header{"Mcp-Session-Id: abc"}, 404, -32600, "null", "initialize again"},
		{"no session on DELETE", "DELETE", "/mcp", "", nil, 400, -32600, "null", "Mcp-Session-Id"},
		{"an unknown version in a session", "POST", "/mcp", b.call, with(b.legacy, "MCP-Protocol-Version: 2099-01-01"), 400, -32022, "7", "version"},
		{"a foreign event id", "GET", "/mcp", "", with(b.legacy, "Last-Event-ID: rubbish"), 400, -32602, "null", "Last-Event-ID"},
		{"the event id of a stream that is gone", "GET", "/mcp", "", with(b.legacy, "Last-Event-ID: p9-1"), 400, -32602, "null", "not kept"},
		{"initialize without a version", "POST", "/mcp", legacyCall("7", "initialize", `{"capabilities":{}}`), nil, 400, -32602, "7", "protocolVersion"},
		{"initialize with capabilities of another kind", "POST", "/mcp", legacyCall("7", "initialize", `{"protocolVersion":"2025-11-25","capabilities":[]}`), nil, 400, -32602, "7", "capabilities"},
		{"initialize with huge capabilities", "POST", "/mcp", legacyCall("7", "initialize", `{"protocolVersion":"2025-11-25","capabilities":{"x":"`+strings.Repeat("x", maxCapabilities)+`"}}`), nil, 400, -32602, "7", "8 KiB"},
		{"initialize in a session's method", "POST", "/mcp", legacyCall("7", "server/discover", `{}`), b.legacy, 200, -32601, "7", "server/discover"},
		{"a log level that is none", "POST", "/mcp", legacyCall("7", "logging/setLevel", `{"level":"loud"}`), b.legacy, 200, -32602, "7", "level"},
	})
}

func TestWrongEnvelopesGetOneClearError(t *testing.T) {
	b := newDesk(t)
	b.each(t, []wrong{
		{"no _meta", "POST", "/mcp", legacyCall("7", "server/discover", `{}`), header{"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: server/discover"}, 400, -32602, "7", "protocolVersion"},
		{"no params", "POST", "/mcp", legacyCall("7", "server/discover", ""), header{"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: server/discover"}, 400, -32602, "7", "protocolVersion"},
		{"no capabilities", "POST", "/mcp", legacyCall("7", "server/discover", `{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}`), header{"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: server/discover"}, 400, -32602, "7", "clientCapabilities"},
		{"client info that is no object", "POST", "/mcp", strings.Replace(b.modernBody, `"_meta":{`, `"_meta":{"io.modelcontextprotocol/clientInfo":3,`, 1), b.modern, 400, -32602, "7", "clientInfo"},
		{"a modern log level that is none", "POST", "/mcp", strings.Replace(b.modernBody, `"_meta":{`, `"_meta":{"io.modelcontextprotocol/logLevel":"loud",`, 1), b.modern, 400, -32602, "7", "logLevel"},
		{"no version header", "POST", "/mcp", b.modernBody, with(b.modern, "MCP-Protocol-Version:"), 400, -32020, "7", "Mcp-Protocol-Version is missing"},
		{"another version header", "POST", "/mcp", b.modernBody, with(b.modern, "MCP-Protocol-Version: 2025-11-25"), 400, -32020, "7", "2025-11-25"},
		{"a version of the future", "POST", "/mcp", strings.Replace(b.modernBody, "2026-07-28", "2099-01-01", 1), with(b.modern, "MCP-Protocol-Version: 2099-01-01"), 400, -32022, "7", "supported"},
		{"no method header", "POST", "/mcp", b.modernBody, with(b.modern, "Mcp-Method:"), 400, -32020, "7", "Mcp-Method"},
		{"another method header", "POST", "/mcp", b.modernBody, with(b.modern, "Mcp-Method: tools/list"), 400, -32020, "7", "tools/list"},
		{"a method header in capitals", "POST", "/mcp", b.modernBody, with(b.modern, "Mcp-Method: TOOLS/CALL"), 400, -32020, "7", "TOOLS/CALL"},
		{"no name header", "POST", "/mcp", b.modernBody, with(b.modern, "Mcp-Name:"), 400, -32020, "7", "Mcp-Name"},
		{"another name header", "POST", "/mcp", b.modernBody, with(b.modern, "Mcp-Name: write"), 400, -32020, "7", "write"},
		{"a name header that is not base64", "POST", "/mcp", b.modernBody, with(b.modern, "Mcp-Name: =?base64?cmVhZA=?="), 400, -32020, "7", "Mcp-Name"},
		{"a tool without a name", "POST", "/mcp", strings.Replace(b.modernBody, `"name":"read",`, "", 1), with(b.modern, "Mcp-Name:"), 400, -32602, "7", "params.name"},
		{"a task without a name header", "POST", "/mcp", strings.NewReplacer("tools/call", "tasks/get", `"name"`, `"taskId"`).Replace(b.modernBody), with(b.modern, "Mcp-Method: tasks/get", "Mcp-Name:"), 400, -32020, "7", "Mcp-Name"},
		{"listen to too much", "POST", "/mcp", strings.NewReplacer("tools/call", "subscriptions/listen", `"name":"read"`, `"notifications":{"resourceSubscriptions":["u"`+strings.Repeat(`,"u"`, maxURIs)+`]}`).Replace(b.modernBody), with(b.modern, "Mcp-Method: subscriptions/listen"), 400, -32602, "7", "1000"},
		{"a modern response", "POST", "/mcp", `{"jsonrpc":"2.0","id":7,"result":{}}`, b.modern, 400, -32600, "null", "no responses"},
		{"a modern initialize", "POST", "/mcp", strings.ReplaceAll(b.modernBody, "tools/call", "initialize"), with(b.modern, "Mcp-Method: initialize"), 404, -32601, "7", "initialize"},
		{"a modern ping", "POST", "/mcp", strings.ReplaceAll(b.modernBody, "tools/call", "ping"), with(b.modern, "Mcp-Method: ping"), 404, -32601, "7", "ping"},
		{"a modern GET", "GET", "/mcp", "", header{"MCP-Protocol-Version: 2026-07-28"}, 405, -32600, "null", "POST"},
		{"a modern DELETE", "DELETE", "/mcp", "", header{"MCP-Protocol-Version: 2026-07-28"}, 405, -32600, "null", "POST"},
		{"answers to a method that asks nothing", "POST", "/mcp", strings.NewReplacer("tools/call", "tools/list", `"name":"read"`, `"inputResponses":{}`).Replace(b.modernBody), header{"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/list"}, 400, -32602, "7", "inputResponses"},
		{"answers that are null", "POST", "/mcp", strings.Replace(b.modernBody, `"name":"read"`, `"name":"read","inputResponses":null`, 1), b.modern, 400, -32602, "7", "inputResponses"},
		{"a state that is a number", "POST", "/mcp", strings.Replace(b.modernBody, `"name":"read"`, `"name":"read","requestState":3`, 1), b.modern, 400, -32602, "7", "requestState"},
		{"a state made up", "POST", "/mcp", strings.Replace(b.modernBody, `"name":"read"`, `"name":"read","requestState":"abc"`, 1), b.modern, 400, -32602, "7", "not made here"},
		{"listen without a filter", "POST", "/mcp", strings.NewReplacer("tools/call", "subscriptions/listen").Replace(b.modernBody), with(b.modern, "Mcp-Method: subscriptions/listen"), 400, -32602, "7", "notifications"},
	})
}
