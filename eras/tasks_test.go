package eras

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

// taskKinds are the servers that can make tasks of calls.
var taskKinds = map[string]upstreamtest.Script{
	"2026-07-28 http":        {Tasks: true, Era: upstreamtest.Modern},
	"2026-07-28 stdio":       {Tasks: true, Era: upstreamtest.Modern, Transport: jackfield.TransportStdio},
	"2025-11-25 http":        {Tasks: true, Era: upstreamtest.Legacy},
	"2025-11-25 sessionless": {Tasks: true, Era: upstreamtest.Sessionless},
	"2025-11-25 stdio":       {Tasks: true, Era: upstreamtest.Legacy, Transport: jackfield.TransportStdio},
}

const tasksExtension = `"extensions":{"io.modelcontextprotocol/tasks":{}}`

func TestAToolThatIsATaskOnlyServesClientsWithoutTasks(t *testing.T) {
	h := open(t, taskKinds)
	for _, version := range exchange.Versions {
		for kind := range taskKinds {
			t.Run(version+"/"+kind, func(t *testing.T) {
				c := connect(t, h.url, pathOf(kind), version, allCaps(version))
				if got := c.call("task", `{"ms":20,"text":"done"}`, ""); got != "done" {
					t.Errorf("got %s", got)
				}
				if heard := c.toldBy("notifications/progress"); len(heard) != 0 {
					t.Errorf("heard %q", heard)
				}
				if got := c.call("task", `{"ms":20,"text":"done","kind":"uninvited"}`, `"progressToken":"p"`); got != "done" {
					t.Errorf("uninvited: got %s", got)
				}
				if told := strings.Join(c.told(), ""); !strings.Contains(told, `notifications/progress {"progressToken":"p"`) {
					t.Errorf("looks at the task are no progress: %q", told)
				}
				if !asksFor(version, "elicitation/create") {
					return
				}
				asked := 0
				c.answer = func(string, wire.Raw) string { asked++; return `{"action":"accept","content":{"n":1}}` }
				if got := c.call("task", `{"ms":1,"times":2,"text":"told "}`, ""); asked != 2 || strings.Count(got, `"n":1`) != 2 {
					t.Errorf("asked %d times: %s", asked, got)
				}
			})
		}
	}
}

// state is what is said of a task.
type state struct {
	TaskID, Status string
	Task           *state
	Result         wire.Raw
	Error          *wire.Error
	InputRequests  map[string]wireRequest
}

func (c *client) task(method, params string) (state, *wire.Error) {
	c.t.Helper()
	raw, failed := c.once(c.t.Context(), method, params, "", "")
	var s state
	if failed == nil {
		if err := json.Unmarshal(raw, &s); err != nil {
			c.t.Fatal(err)
		}
		if s.Task != nil {
			s = *s.Task
		}
	}
	return s, failed
}

// until looks at the task until it is in that state.
func (c *client) until(id, status string) state {
	c.t.Helper()
	deadline := patience(c.t)
	for {
		s, failed := c.task("tasks/get", `{"taskId":"`+id+`"}`)
		if failed != nil || s.TaskID != id {
			c.t.Fatalf("%s: %+v %v", id, s, failed)
		}
		if s.Status == status {
			return s
		}
		select {
		case <-deadline:
			c.t.Fatalf("it is still %s, not %s", s.Status, status)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestTasksBetweenModernPeers(t *testing.T) {
	h := open(t, map[string]upstreamtest.Script{"a": {Tasks: true}, "b": {Tasks: true}, "process": {Tasks: true, Transport: jackfield.TransportStdio}})
	for path, tool := range map[string]string{"/mcp": "a__task", "/mcp/a": "task", "/mcp/process": "task"} {
		t.Run(path, func(t *testing.T) {
			c := connect(t, h.url, path, exchange.Modern, `{`+tasksExtension+`,"elicitation":{}}`)
			if about, _ := c.do(t.Context(), "server/discover", `{}`, ""); !strings.Contains(string(about), tasksExtension) || strings.Contains(string(about), `"tasks":{"list`) {
				t.Errorf("announced %s", about)
			}
			made, failed := c.task("tools/call", `{"name":"`+tool+`","arguments":{"ms":5,"times":1,"text":"told "}}`)
			if failed != nil || made.TaskID == "" || strings.HasPrefix(made.TaskID, "task-") {
				t.Fatalf("%+v %v", made, failed)
			}
			id := made.TaskID
			asks := c.until(id, "input_required")
			if asks.InputRequests["q1"].Method != "elicitation/create" {
				t.Errorf("%+v", asks)
			}
			if _, failed := c.task("tasks/update", `{"taskId":"`+id+`","inputResponses":{"other":{},"q1":{"action":"accept"}}}`); failed != nil {
				t.Error(failed)
			}
			if text, err := textOf(c.until(id, "completed").Result); err != nil || text != `told {"action":"accept"}` {
				t.Errorf("%s %v", text, err)
			}
			if _, failed := c.task("tasks/cancel", `{"taskId":"`+id+`"}`); failed != nil {
				t.Errorf("to cancel what is over is to be acknowledged: %v", failed)
			}
			endless, _ := c.task("tools/call", `{"name":"`+tool+`","arguments":{"kind":"endless"}}`)
			if _, failed := c.task("tasks/cancel", `{"taskId":"`+endless.TaskID+`"}`); failed != nil {
				t.Error(failed)
			}
			c.until(endless.TaskID, "cancelled")
			// At another server's address it is not there.
			other := connect(t, h.url, "/mcp/b", exchange.Modern, `{`+tasksExtension+`}`)
			for _, wrong := range []string{id, "task-1", "x" + id} {
				if _, failed := other.task("tasks/get", `{"taskId":"`+wrong+`"}`); failed == nil || failed.Code != wire.CodeInvalidParams {
					t.Errorf("%s: %v", wrong, failed)
				}
			}
			failing, _ := c.task("tools/call", `{"name":"`+tool+`","arguments":{"ms":1,"code":-32603,"text":"broken"}}`)
			if s := c.until(failing.TaskID, "failed"); s.Error == nil || s.Error.Message != "broken" {
				t.Errorf("%+v", s)
			}
		})
	}
	if n := h.servers["b"].Count("tasks/get"); n != 0 {
		t.Errorf("another server was asked %d times", n)
	}
	h.servers["a"].ForgetTasks()
	c := connect(t, h.url, "/mcp", exchange.Modern, `{`+tasksExtension+`}`)
	made, _ := c.task("tools/call", `{"name":"a__task","arguments":{"kind":"endless"}}`)
	h.servers["a"].ForgetTasks()
	if _, failed := c.task("tasks/get", `{"taskId":"`+made.TaskID+`"}`); failed == nil || !strings.Contains(failed.Message, "Task not found") {
		t.Errorf("an expired task: %v", failed)
	}
}

func TestWhoFollowsATaskIsToldOfIt(t *testing.T) {
	h := open(t, map[string]upstreamtest.Script{"a": {Tasks: true}, "b": {Tasks: true}})
	c := connect(t, h.url, "/mcp", exchange.Modern, `{`+tasksExtension+`}`)
	made, _ := c.task("tools/call", `{"name":"a__task","arguments":{"kind":"endless"}}`)
	same, failed := c.task("tools/call", `{"name":"b__task","arguments":{"kind":"endless"}}`)
	if failed != nil || same.TaskID == made.TaskID {
		t.Fatalf("%+v %v", same, failed)
	}
	c.listen(`{"taskIds":["` + made.TaskID + `","nobody's"],"toolsListChanged":true}`)
	if told := strings.Join(c.told(), "\n"); !strings.Contains(told, `"taskIds":["`+made.TaskID+`"]`) {
		t.Errorf("acknowledged %s", told)
	}
	h.servers["b"].TaskStatus("task-1") // has the same id there
	h.servers["a"].TaskStatus("task-1")
	got := c.event("notifications/tasks")
	if !strings.Contains(got, `"taskId":"`+made.TaskID+`","status":"working"`) || !strings.Contains(got, `/subscriptionId":"listen-9007199254740993"`) || strings.Contains(got, same.TaskID) {
		t.Errorf("heard %s", got)
	}
}

func TestTasksBetweenPeersOf20251125(t *testing.T) {
	scripts := map[string]upstreamtest.Script{
		"a":           {Tasks: true, Era: upstreamtest.Legacy},
		"b":           {Tasks: true, Era: upstreamtest.Legacy},
		"sessionless": {Tasks: true, Era: upstreamtest.Sessionless},
	}
	h := open(t, scripts)
	for path, tool := range map[string]string{"/mcp": "a__task", "/mcp/a": "task", "/mcp/sessionless": "task"} {
		t.Run(path, func(t *testing.T) {
			c := connect(t, h.url, path, exchange.V20251125, `{"elicitation":{}}`)
			c.answer = func(_ string, params wire.Raw) string {
				return `{"action":"accept","about":` + string(params[strings.Index(string(params), `"_meta":`)+8:])
			}
			made, failed := c.task("tools/call", `{"name":"`+tool+`","arguments":{"ms":5,"times":1,"text":"told "},"task":{"ttl":60000}}`)
			if failed != nil || made.Status == "" || strings.HasPrefix(made.TaskID, "task-") {
				t.Fatalf("%+v %v", made, failed)
			}
			id := made.TaskID
			c.until(id, "input_required")
			result, failed := c.once(t.Context(), "tasks/result", `{"taskId":"`+id+`"}`, "", "")
			text, _ := textOf(result)
			if failed != nil || !strings.Contains(text, id) || !strings.Contains(string(result), `"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"`+id+`"}}`) {
				t.Errorf("%s %v", result, failed)
			}
			if s := c.until(id, "completed"); s.TaskID != id {
				t.Errorf("%+v", s)
			}
			if _, failed := c.task("tasks/cancel", `{"taskId":"`+id+`"}`); failed == nil || failed.Code != wire.CodeInvalidParams || !strings.Contains(failed.Message, "terminal") {
				t.Errorf("cancelled what is over: %v", failed)
			}
			endless, _ := c.task("tools/call", `{"name":"`+tool+`","arguments":{"kind":"endless"},"task":{}}`)
			if s, failed := c.task("tasks/cancel", `{"taskId":"`+endless.TaskID+`"}`); failed != nil || s.Status != "cancelled" {
				t.Errorf("%+v %v", s, failed)
			}
			var listed []string
			cursor := ""
			for range 20 {
				raw, failed := c.once(t.Context(), "tasks/list", `{`+cursor+`}`, "", "")
				var page struct {
					Tasks      []state
					NextCursor string
				}
				if failed != nil || json.Unmarshal(raw, &page) != nil {
					t.Fatal(failed)
				}
				for _, s := range page.Tasks {
					listed = append(listed, s.TaskID)
				}
				if page.NextCursor == "" {
					break
				}
				cursor = `"cursor":"` + page.NextCursor + `"`
			}
			if got := strings.Join(listed, " "); !strings.Contains(got, id) || !strings.Contains(got, endless.TaskID) {
				t.Errorf("listed %q", listed)
			}
			c.listen("")
			if path != "/mcp/sessionless" { // nobody knows whose a status is on a connection that all share
				status, _ := c.task("tools/call", `{"name":"`+tool+`","arguments":{"kind":"endless"},"task":{}}`)
				stop := make(chan struct{})
				defer close(stop)
				go func() { // the upstream's stream may stand a moment later
					for {
						select {
						case <-stop:
							return
						case <-time.After(20 * time.Millisecond):
							for i := range 9 {
								h.servers["a"].TaskStatus("task-" + string(rune('1'+i)))
							}
						}
					}
				}()
				for !strings.Contains(c.event("notifications/tasks/status"), status.TaskID) {
					continue
				}
			}
		})
	}
	about := connect(t, h.url, "/mcp", exchange.V20251125, `{}`)
	if about.about == "" || !strings.Contains(about.about, `"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}`) || strings.Contains(about.about, "extensions") {
		t.Errorf("announced %s", about.about)
	}
}

func TestAskingForATaskAcrossErasGetsTheResult(t *testing.T) {
	h := open(t, map[string]upstreamtest.Script{"modern": {Tasks: true}, "legacy": {Tasks: true, Era: upstreamtest.Legacy}})
	modern := connect(t, h.url, "/mcp/legacy", exchange.Modern, `{`+tasksExtension+`}`)
	if got := modern.call("task", `{"ms":5,"text":"done"}`, ""); got != "done" {
		t.Errorf("got %s", got)
	}
	for path, version := range map[string]string{"/mcp/modern": exchange.V20251125, "/mcp/legacy": exchange.V20250618} {
		c := connect(t, h.url, path, version, `{}`)
		raw, failed := c.once(t.Context(), "tools/call", `{"name":"task","arguments":{"ms":5,"text":"done"},"task":{"ttl":1}}`, "", "")
		if text, _ := textOf(raw); failed != nil || text != "done" {
			t.Errorf("%s at %s: %s %v", version, path, raw, failed)
		}
	}
	// And what is announced is what there is.
	if about, _ := modern.do(t.Context(), "server/discover", `{}`, ""); strings.Contains(string(about), "tasks") {
		t.Errorf("announced %s", about)
	}
	if c := connect(t, h.url, "/mcp/modern", exchange.V20251125, `{}`); strings.Contains(c.about, "tasks") {
		t.Errorf("announced %s", c.about)
	}
}
