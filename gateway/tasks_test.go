package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

const declaresTasks = `"extensions":{"io.modelcontextprotocol/tasks":{}}`

// taskCall is a modern request of a client that knows tasks.
func taskCall(h http.Handler, who, path, method, params string) (int, string) {
	body, hs := modernCall("7", method, params, "")
	body = strings.Replace(body, `clientCapabilities":{}`, `clientCapabilities":{`+declaresTasks+`}`, 1)
	w := send(h, http.MethodPost, path, body, append(hs, "Authorization: Bearer "+who))
	return w.Code, w.Body.String()
}

// bank is a broker whose servers answer with tasks, and that notes what it was asked.
type bank struct {
	script
	asked []string // server, method and params; guarded by mu
}

func newBank() *bank {
	b := &bank{}
	b.do = func(_ context.Context, c broker.Caller, r *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		server := r.Server
		if server == "" {
			server = "bank"
		}
		answers := ""
		if r.Resume != nil {
			answers = " " + string(r.Resume.Answers)
		}
		b.asked = append(b.asked, server+" "+r.Method+" "+string(r.Params.Raw())+answers)
		res := exchange.Result{Server: server, Modern: c.Caps.AsResult}
		switch r.Method {
		case "tools/call":
			res.Task = true
			res.Raw = wire.Raw(`{"resultType":"task","taskId":"t\u0031","status":"working","ttlMs":9007199254740993}`)
			if !res.Modern {
				res.Raw = wire.Raw(`{"task":{"taskId":"t1","status":"working","ttl":9007199254740993},"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t1"}}}`)
			}
		case "tasks/get":
			res.Raw = wire.Raw(`{"taskId":"t1","status":"completed","result":{"content":[]}}`)
		case "tasks/result":
			res.Raw = wire.Raw(`{"content":[],"_meta":{"x":1,"io.modelcontextprotocol/related-task":{"taskId":"t1","y":2}}}`)
		case "tasks/list":
			res.Raw = wire.Raw(`{"tasks":[{"taskId":"t1"},{"taskId":"not hers"}],"nextCursor":"p2"}`)
			if r.Params.Get("cursor") != nil {
				res.Raw = wire.Raw(`{"tasks":[{"taskId":"t9"}]}`)
			}
		default:
			res.Raw = wire.Raw(`{"resultType":"complete"}`)
		}
		return res, nil
	}
	return b
}

// last is the last request that the broker got.
func (b *bank) last() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.asked) == 0 {
		return ""
	}
	return b.asked[len(b.asked)-1]
}

func taskIDOf(t testing.TB, answer string) string {
	t.Helper()
	var m struct {
		Result struct {
			TaskID string
			Task   struct{ TaskID string }
		}
	}
	if err := json.Unmarshal([]byte(answer), &m); err != nil || m.Result.TaskID+m.Result.Task.TaskID == "" {
		t.Fatalf("no task: %s", answer)
	}
	return m.Result.TaskID + m.Result.Task.TaskID
}

func TestATaskGoesByAnIDThatIsGoodForItsClientOnly(t *testing.T) {
	b := newBank()
	key := bytes.Repeat([]byte{7}, 32)
	h := open(t, Options{Broker: b, Authenticate: users, Key: key})
	_, made := taskCall(h, "ann", "/mcp", "tools/call", `"name":"x"`)
	id := taskIDOf(t, made)
	if !strings.Contains(made, `"status":"working","ttlMs":9007199254740993}`) || strings.Contains(made, `"t1"`) || strings.Contains(made, "ann") {
		t.Errorf("made %s", made)
	}
	for method, params := range map[string]string{
		"tasks/get": "", "tasks/cancel": "", "tasks/update": `,"inputResponses":{"q":{"n":9007199254740993}}`,
	} {
		status, got := taskCall(h, "ann", "/mcp/bank", method, `"taskId":"`+id+`"`+params)
		if status != 200 || !strings.HasPrefix(b.last(), "bank "+method+` {"taskId":"t1"}`) {
			t.Errorf("%s: %d %s; the server got %s", method, status, got, b.last())
		}
		if method == "tasks/get" && taskIDOf(t, got) != id {
			t.Errorf("the same task has another id: %s", got)
		}
		if method == "tasks/update" && !strings.HasSuffix(b.last(), `{"q":{"n":9007199254740993}}`) {
			t.Errorf("the answers became %s", b.last())
		}
	}
	// Another process with the same key knows it too.
	other := open(t, Options{Broker: b, Authenticate: users, Key: key})
	if status, got := taskCall(other, "ann", "/mcp", "tasks/get", `"taskId":"`+id+`"`); status != 200 || taskIDOf(t, got) != id {
		t.Errorf("after a restart: %d %s", status, got)
	}
	stranger := open(t, Options{Broker: b, Authenticate: users})
	asked := len(b.asked)
	tampered := []byte(id)
	tampered[len(tampered)/2] ^= 1
	for name, c := range map[string]struct {
		h       http.Handler
		who, id string
	}{
		"somebody else's":      {h, "bob", id},
		"tampered":             {h, "ann", string(tampered)},
		"cut":                  {h, "ann", id[:len(id)-4]},
		"the server's own":     {h, "ann", "t1"},
		"short":                {h, "ann", "x"},
		"of another gateway":   {stranger, "ann", id},
		"a request state":      {h, "ann", h.states.seal([]byte{1})},
		"a cursor":             {h, "ann", h.tasks.name(sealedCursor, "ann", broker.Task{Server: "bank", ID: "t1"})},
		"of half a plain text": {h, "ann", h.tasks.sealWith(make([]byte, 12), []byte{sealedTask, 200})},
	} {
		status, got := taskCall(c.h, c.who, "/mcp", "tasks/get", `"taskId":"`+c.id+`"`)
		if status != 200 || !strings.Contains(got, `"code":-32602`) || !strings.Contains(got, "no such task") {
			t.Errorf("%s: %d %s", name, status, got)
		}
	}
	if len(b.asked) != asked {
		t.Errorf("a server was asked: %s", b.last())
	}
}

func TestModernClientsMustDeclareTasksToAskAboutThem(t *testing.T) {
	b := newBank()
	h := open(t, Options{Broker: b})
	id := h.tasks.of("local", broker.Task{Server: "bank", ID: "t1"})
	for _, method := range []string{"tasks/get", "tasks/update", "tasks/cancel"} {
		w := sendModern(h, "/mcp", "1", method, `"taskId":"`+id+`"`, "")
		if w.Code != 400 || !strings.Contains(w.Body.String(), `"code":-32021`) || !strings.Contains(w.Body.String(), `"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}`) {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
	w := sendModern(h, "/mcp", "1", "subscriptions/listen", `"notifications":{"taskIds":["`+id+`"]}`, "")
	if w.Code != 400 || !strings.Contains(w.Body.String(), `"code":-32021`) {
		t.Errorf("listen: %d %s", w.Code, w.Body)
	}
	for _, method := range []string{"tasks/list", "tasks/result"} {
		if status, got := taskCall(h, "ann", "/mcp", method, `"taskId":"`+id+`"`); status != 404 || !strings.Contains(got, `"code":-32601`) {
			t.Errorf("%s: %d %s", method, status, got)
		}
	}
	if status, got := taskCall(h, "ann", "/mcp", "tasks/update", `"taskId":"`+id+`","inputResponses":[]`); status != 400 && status != 200 || !strings.Contains(got, `"code":-32602`) {
		t.Errorf("answers that are no object: %d %s", status, got)
	}
	if b.last() != "" {
		t.Errorf("a server was asked: %s", b.last())
	}
}

func TestWhoFollowsTasksHearsOfThemUnderItsOwnIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBank()
		events := make(chan exchange.Event)
		b.listen = func(ctx context.Context, _ broker.Caller, f broker.Filter, ready func(broker.Filter), deliver func(exchange.Event)) error {
			if len(f.Tasks) != 2 {
				t.Errorf("follows %+v", f.Tasks)
			}
			f.Tasks = []broker.Task{{Server: "bank", ID: "t1"}}
			ready(f)
			for {
				select {
				case ev := <-events:
					deliver(ev)
				case <-ctx.Done():
					return nil
				}
			}
		}
		h := New(Options{Broker: b})
		mine := h.tasks.of("local", broker.Task{Server: "bank", ID: "t1"})
		gone := h.tasks.of("local", broker.Task{Server: "gone", ID: "t1"})
		foreign := h.tasks.of("bob", broker.Task{Server: "bank", ID: "t1"})
		body, hs := modernCall(`"sub"`, "subscriptions/listen", fmt.Sprintf(`"notifications":{"taskIds":[%q,%q,%q,"t1"]}`, mine, gone, foreign), "")
		body = strings.Replace(body, `clientCapabilities":{}`, `clientCapabilities":{`+declaresTasks+`}`, 1)
		c := dial(h, http.MethodPost, "/mcp", body, hs)
		if got := c.message(t); !strings.Contains(got, `"notifications":{"taskIds":["`+mine+`"]}`) {
			t.Errorf("acknowledged %s", got)
		}
		for _, ev := range []exchange.Event{
			{Method: "notifications/tasks", Params: wire.Raw(`{"taskId":"t1"}`)},           // nobody knows whose
			{Method: "notifications/tasks", Params: wire.Raw(`[1]`), Server: "bank"},       // malformed
			{Method: "notifications/tools/list_changed"},                                   // not wanted
			{Method: "notifications/tasks/status", Params: wire.Raw(`{}`), Server: "bank"}, // of another era
			{Method: "notifications/tasks", Params: wire.Raw(`{"taskId":"t1","status":"completed","result":{"n":1e400}}`), Server: "bank"},
		} {
			events <- ev
		}
		want := `"params":{"taskId":"` + mine + `","status":"completed","result":{"n":1e400},"_meta":{"io.modelcontextprotocol/subscriptionId":"sub"}}`
		if got := c.message(t); !strings.Contains(got, want) {
			t.Errorf("heard %s", got)
		}
		large := `{"taskId":"t1","status":"completed","result":{"x":"` + strings.Repeat("x", 2*maxEventBytes) + `"}}`
		events <- exchange.Event{Method: "notifications/tasks", Params: wire.Raw(large), Server: "bank"}
		if got := c.message(t); len(got) < 2*maxEventBytes {
			t.Errorf("heard %d bytes", len(got))
		}
		c.leave()
		shut(t, h)
	})
}

func TestTasksOfSessionsAreRelayedUnderTheClientsIDs(t *testing.T) {
	b := newBank()
	h := open(t, Options{Broker: b, Authenticate: users})
	ann := header{"Authorization: Bearer ann"}
	session := func(who header, version string) header {
		w := send(h, http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"`+version+`","capabilities":{}}}`, who)
		return append(header{"Mcp-Session-Id: " + w.Header().Get("Mcp-Session-Id"), "MCP-Protocol-Version: " + version}, who...)
	}
	hs := session(ann, "2025-11-25")
	call := func(hs header, method, params string) string {
		t.Helper()
		w := send(h, http.MethodPost, "/mcp", legacyCall("1", method, params), hs)
		if w.Code != 200 {
			t.Fatalf("%s: %d %s", method, w.Code, w.Body)
		}
		return w.Body.String()
	}
	made := call(hs, "tools/call", `{"name":"x","task":{"ttl":1}}`)
	id := taskIDOf(t, made)
	if b.last() != `bank tools/call {"name":"x","task":{"ttl":1}}` || strings.Contains(made, `"t1"`) || strings.Count(made, id) != 2 || !strings.Contains(made, `"ttl":9007199254740993`) {
		t.Errorf("%s became %s", b.last(), made)
	}
	for _, method := range []string{"tasks/get", "tasks/cancel", "tasks/result"} {
		got := call(hs, method, `{"taskId":"`+id+`"}`)
		if b.last() != "bank "+method+` {"taskId":"t1"}` {
			t.Errorf("%s: the server got %s", method, b.last())
		}
		if method == "tasks/get" && taskIDOf(t, got) != id {
			t.Errorf("got %s", got)
		}
		if method == "tasks/result" && !strings.Contains(got, `"_meta":{"x":1,"io.modelcontextprotocol/related-task":{"taskId":"`+id+`","y":2}}`) {
			t.Errorf("got %s", got)
		}
	}
	// A list shows each client its own, and nobody the next page of another server.
	list := call(hs, "tasks/list", `{}`)
	if !strings.Contains(list, `"tasks":[{"taskId":"`+id+`"}],"nextCursor":"`) || strings.Contains(list, `"p2"`) {
		t.Errorf("listed %s", list)
	}
	var page struct{ Result struct{ NextCursor string } }
	if err := json.Unmarshal([]byte(list), &page); err != nil {
		t.Fatal(err)
	}
	if got := call(hs, "tasks/list", `{"cursor":"`+page.Result.NextCursor+`"}`); !strings.Contains(got, `"result":{"tasks":[]}`) || !strings.HasSuffix(b.last(), `{"cursor":"p2"}`) {
		t.Errorf("%s: %s", b.last(), got)
	}
	for _, cursor := range []string{"p2", id} {
		if got := call(hs, "tasks/list", `{"cursor":"`+cursor+`"}`); !strings.Contains(got, "-32602") {
			t.Errorf("cursor %s: %s", cursor, got)
		}
	}
	bob := session(header{"Authorization: Bearer bob"}, "2025-11-25")
	asked := b.last()
	if got := call(bob, "tasks/list", `{}`); !strings.Contains(got, `"tasks":[]`) {
		t.Errorf("bob: %s", got)
	}
	for _, params := range []string{`{"taskId":"` + id + `"}`, `{"taskId":"t1"}`, `{"taskId":1}`, `{}`} {
		if got := call(bob, "tasks/get", params); !strings.Contains(got, "-32602") {
			t.Errorf("bob, %s: %s", params, got)
		}
	}
	// Older revisions have no tasks, and none of them has the newest words.
	older := session(ann, "2025-06-18")
	for _, method := range []string{"tasks/get", "tasks/result", "tasks/cancel", "tasks/list", "tasks/update"} {
		if got := call(older, method, `{"taskId":"`+id+`"}`); !strings.Contains(got, "-32601") {
			t.Errorf("%s: %s", method, got)
		}
	}
	if got := call(hs, "tasks/update", `{"taskId":"`+id+`"}`); !strings.Contains(got, "-32601") {
		t.Errorf("%s", got)
	}
	if b.last() != asked {
		t.Errorf("a server was asked: %s", b.last())
	}
	call(older, "tools/call", `{"name":"x","task":{"ttl":1}}`)
	if b.last() != `bank tools/call {"name":"x"}` {
		t.Errorf("the server got %s", b.last())
	}
}

func TestAListOfTasksGoesFromServerToServer(t *testing.T) {
	down := map[string]bool{"b": true}
	h := open(t, Options{Broker: &script{do: func(_ context.Context, c broker.Caller, r *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
		switch {
		case c.Only != "" && c.Only != r.Server:
			return exchange.Result{}, jackfield.Errorf(jackfield.NotFound, "there is no such task")
		case down[r.Server]:
			return exchange.Result{}, jackfield.Errorf(jackfield.Unavailable, "down")
		}
		next := ""
		if r.Server == "a" && r.Params.Get("cursor") == nil {
			next = `,"nextCursor":"2"`
		}
		return exchange.Result{Server: r.Server, Raw: wire.Raw(`{"tasks":[{"taskId":"same","of":"` + r.Server + `"}]` + next + `}`)}, nil
	}}})
	for _, s := range []jackfield.ServerID{"c", "a", "b"} {
		h.noted.add("local", broker.Task{Server: s, ID: "same"})
	}
	walk := func(path string) (servers string) {
		hs := initialize(t, h, path, "2025-11-25", `{}`)
		cursor := ""
		for range 10 {
			w := send(h, http.MethodPost, path, legacyCall("1", "tasks/list", "{"+cursor+"}"), hs)
			var page struct {
				Result struct {
					Tasks      []struct{ Of string }
					NextCursor string
				}
				Error *struct{ Message string }
			}
			if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
				t.Fatal(err)
			}
			if page.Error != nil {
				return servers + "!" + page.Error.Message
			}
			for _, one := range page.Result.Tasks {
				servers += one.Of
			}
			if page.Result.NextCursor == "" {
				return servers
			}
			cursor = `"cursor":"` + page.Result.NextCursor + `"`
		}
		return servers + "…"
	}
	for path, want := range map[string]string{"/mcp": "aac", "/mcp/a": "aa", "/mcp/c": "c", "/mcp/b": "!down", "/mcp/d": ""} {
		if got := walk(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestATasksQuestionsAndStatusNameItAsTheClientDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const related = `"io.modelcontextprotocol/related-task":{"taskId":"t1"}`
		var mu sync.Mutex
		var answer string
		events := make(chan exchange.Event)
		b := newBank()
		plain := b.do
		b.do = func(ctx context.Context, c broker.Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			if r.Method != "tasks/result" {
				return plain(ctx, c, r, p)
			}
			_ = p.Notify(ctx, "notifications/message", wire.Raw(`{"level":"error","_meta":{`+related+`}}`))
			answers, err := p.Ask(ctx, []exchange.Question{{Method: "elicitation/create", Params: wire.Raw(`{"message":"?","_meta":{` + related + `}}`)}})
			if err != nil {
				return exchange.Result{}, err
			}
			mu.Lock()
			answer = string(answers[0].Result)
			mu.Unlock()
			return plain(ctx, c, r, p)
		}
		b.listen = func(ctx context.Context, _ broker.Caller, f broker.Filter, ready func(broker.Filter), deliver func(exchange.Event)) error {
			ready(f)
			for {
				select {
				case ev := <-events:
					deliver(ev)
				case <-ctx.Done():
					return nil
				}
			}
		}
		h := New(Options{Broker: b})
		hs := initialize(t, h, "/mcp", "2025-11-25", `{"elicitation":{}}`)
		id := taskIDOf(t, send(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", `{"name":"x","task":{}}`), hs).Body.String())
		c := dial(h, http.MethodPost, "/mcp", legacyCall("2", "tasks/result", `{"taskId":"`+id+`"}`), hs)
		mine := strings.Replace(related, "t1", id, 1)
		if got := c.message(t); !strings.Contains(got, mine) {
			t.Errorf("heard %s", got)
		}
		question := c.message(t)
		if !strings.Contains(question, mine) {
			t.Errorf("asked %s", question)
		}
		m, err := wire.Parse([]byte(question))
		if err != nil {
			t.Fatal(err)
		}
		send(h, http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{"action":"accept","_meta":{`+mine+`}}}`, hs)
		if got := c.message(t); !strings.Contains(got, `"taskId":"`+id+`"`) {
			t.Errorf("came to %s", got)
		}
		c.wantEnd(t)
		mu.Lock()
		if answer != `{"action":"accept","_meta":{`+related+`}}` {
			t.Errorf("the server was told %s", answer)
		}
		mu.Unlock()

		own := dial(h, http.MethodGet, "/mcp", "", hs)
		events <- exchange.Event{Method: "notifications/tasks/status", Params: wire.Raw(`{"taskId":"t1"}`)} // nobody knows whose
		events <- exchange.Event{Method: "notifications/tasks/status", Params: wire.Raw(`{"taskId":"t1","status":"completed"}`), Server: "bank"}
		if got := own.message(t); !strings.Contains(got, `"params":{"taskId":"`+id+`","status":"completed"}`) {
			t.Errorf("heard %s", got)
		}
		// On the session's own stream nothing says whose it is, but what it was given.
		home := &home{h, h.sessions.known[strings.TrimPrefix(hs[0], "Mcp-Session-Id: ")]}
		_ = home.Notify(t.Context(), "vendor/x", wire.Raw(`{"_meta":{`+related+`}}`))
		if got := own.message(t); !strings.Contains(got, mine) {
			t.Errorf("heard %s", got)
		}
		_ = home.Notify(t.Context(), "vendor/x", wire.Raw(`{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"other"}}}`))
		if got := own.message(t); !strings.Contains(got, `"taskId":"other"`) {
			t.Errorf("heard %s", got)
		}
		own.leave()
		shut(t, h)
	})
}

func TestTasksAreAnnouncedInTheWordsOfTheClientsRevision(t *testing.T) {
	const caps = `{"tools":{},"tasks":{"list":{}},"extensions":{"io.modelcontextprotocol/tasks":{},"x/y":{}},"z":1}`
	for version, want := range map[string]string{
		exchange.Modern:    `{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{},"x/y":{}},"z":1}`,
		exchange.V20251125: `{"tools":{},"tasks":{"list":{}},"extensions":{"x/y":{}},"z":1}`,
		exchange.V20250618: `{"tools":{},"extensions":{"x/y":{}},"z":1}`,
		exchange.V20241105: `{"tools":{},"extensions":{"x/y":{}},"z":1}`,
	} {
		if got := announced(wire.Raw(caps), version); string(got) != want {
			t.Errorf("%s: %s", version, got)
		}
		h := open(t, Options{Broker: &script{about: func(broker.Caller) (broker.About, error) {
			return broker.About{Capabilities: wire.Raw(caps)}, nil
		}}})
		var body string
		if version == exchange.Modern {
			body = sendModern(h, "/mcp", "1", "server/discover", "", "").Body.String()
		} else {
			body = send(h, http.MethodPost, "/mcp", legacyCall("0", "initialize", `{"protocolVersion":"`+version+`","capabilities":{}}`), nil).Body.String()
		}
		if !strings.Contains(body, `"capabilities":`+want+`,`) {
			t.Errorf("%s: %s", version, body)
		}
	}
	if got := announced(wire.Raw(`{"extensions":{"io.modelcontextprotocol/tasks":{}}}`), exchange.V20251125); string(got) != `{}` {
		t.Errorf("%s", got)
	}
	if got := announced(nil, exchange.Modern); string(got) != `{}` {
		t.Errorf("%s", got)
	}
}

func TestAServersTaskIDIsOnlySoLong(t *testing.T) {
	h := open(t, Options{Broker: &script{do: func(context.Context, broker.Caller, *exchange.Request, exchange.Peer) (exchange.Result, error) {
		return exchange.Result{Raw: wire.Raw(`{"resultType":"task","taskId":"` + strings.Repeat("x", maxTaskID+1) + `"}`), Modern: true, Task: true, Server: "bank"}, nil
	}}})
	if _, got := taskCall(h, "ann", "/mcp", "tools/call", `"name":"x"`); !strings.Contains(got, "1025 bytes") {
		t.Errorf("%s", got)
	}
}

func TestNotedTasksAreBounded(t *testing.T) {
	var n noted
	for i := range 2 * maxOwnNoted {
		n.add("ann", broker.Task{Server: "a", ID: fmt.Sprint(i)})
	}
	if len(n.at) != maxOwnNoted || n.has("ann", broker.Task{Server: "a", ID: "0"}) || !n.has("ann", broker.Task{Server: "a", ID: fmt.Sprint(2*maxOwnNoted - 1)}) {
		t.Errorf("%d of one owner", len(n.at))
	}
	for i := range 2 * maxNoted {
		n.add(fmt.Sprint(i), broker.Task{Server: "a", ID: "t"})
	}
	if len(n.at) != maxNoted || n.order.Len() != maxNoted || len(n.owners) != maxNoted {
		t.Errorf("%d in all, of %d owners", len(n.at), len(n.owners))
	}
}

func FuzzRelatedTask(f *testing.F) {
	f.Add([]byte(`{"_meta":{"x":1,"io.modelcontextprotocol/related-task":{"taskId":"t","y":2}},"z":[]}`))
	f.Add([]byte(`{"_meta":{"io.modelcontextprotocol/related-task":{}}}`))
	h := &Handler{tasks: newTaskNames(make([]byte, 32))}
	f.Fuzz(func(t *testing.T, raw []byte) {
		out := h.related("ann", "bank", raw)
		if bytes.Equal(out, raw) {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%s became %s", raw, out)
		}
		back, err := wire.DigestObject(h.unrelated("ann", out))
		if before, was := wire.DigestObject(raw); err != nil || was != nil || back != before {
			t.Fatalf("%s became %s", raw, out)
		}
	})
}

func FuzzTaskIDs(f *testing.F) {
	n := newTaskNames(make([]byte, 32))
	f.Add("ann", "bank", "t1", "")
	f.Add("", "", "", n.of("", broker.Task{}))
	f.Fuzz(func(t *testing.T, subject, server, id, other string) {
		task := broker.Task{Server: jackfield.ServerID(server), ID: id}
		name := n.of(subject, task)
		if got, ok := n.open(sealedTask, subject, name); !ok || got != task || n.of(subject, task) != name {
			t.Fatalf("%+v became %+v, %v", task, got, ok)
		}
		if _, ok := n.open(sealedTask, subject+"x", name); ok {
			t.Fatal("it is somebody else's too")
		}
		if got, ok := n.open(sealedTask, subject, other); ok && n.of(subject, got) != other {
			t.Fatalf("%q was not made here", other)
		}
	})
}
