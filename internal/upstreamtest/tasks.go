package upstreamtest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield/wire"
)

// taskCapability is what a server with tasks declares in the words of 2025-11-25,
// besides the extension of 2026-07-28.
const taskCapability = `"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}},`

const needsTasks = `{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}`

// tasks are the tasks of a server: everybody's, as with a server that cannot tell
// its callers apart.
type tasks struct {
	mu  sync.Mutex // guards what follows
	all []*task
}

// task is one task. It does nothing but grow older.
type task struct {
	id        string
	a         arguments
	made      time.Time
	answers   []string
	cancelled bool
}

// ForgetTasks forgets all tasks, as if their time were up.
func (s *Server) ForgetTasks() {
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	s.tasks.all = nil
}

// status is how far a task is. Server.tasks.mu is held.
func (k *task) status() string {
	switch {
	case k.cancelled, k.a.Kind == "withdrawn" && k.worked():
		return "cancelled"
	case k.a.Kind == "endless" || !k.worked():
		return "working"
	case len(k.answers) < k.a.Times:
		return "input_required"
	case k.a.Code != 0:
		return "failed"
	}
	return "completed"
}

func (k *task) worked() bool { return time.Since(k.made) >= msToDuration(k.a.MS) }

func (k *task) over() bool {
	return !slices.Contains([]string{"working", "input_required"}, k.status())
}

func (k *task) question() (method, params string) {
	method, params = k.a.Method, string(k.a.Params)
	if method == "" {
		method = "elicitation/create"
	}
	if params == "" {
		params = `{"message":"?","requestedSchema":{"type":"object","properties":{}}}`
	}
	return method, params
}

// content is the result of the call, once it is over.
func (k *task) content() string {
	return `"content":[{"type":"text","text":` + string(wire.AppendString(nil, k.a.Text+strings.Join(k.answers, ", "))) + `}]`
}

// members are those of a task in the words of the era.
func (k *task) members(modern bool) string {
	ttl, poll := "ttl", "pollInterval"
	if modern {
		ttl, poll = "ttlMs", "pollIntervalMs"
	}
	return fmt.Sprintf(`"taskId":%q,"status":%q,"statusMessage":"as it goes","createdAt":"2026-07-28T00:00:00Z","lastUpdatedAt":"2026-07-28T00:00:00Z",%q:60000,%q:%d`,
		k.id, k.status(), ttl, poll, max(k.a.Retry, 1))
}

// detailed are the members of a task with what it is waiting for or came to.
func (k *task) detailed() string {
	members := k.members(true)
	switch k.status() {
	case "input_required":
		method, params := k.question()
		members += fmt.Sprintf(`,"inputRequests":{"q%d":{"method":%q,"params":%s}}`, len(k.answers)+1, method, params)
	case "completed":
		members += `,"result":{` + k.content() + `}`
	case "failed":
		members += fmt.Sprintf(`,"error":{"code":%d,"message":%q}`, k.a.Code, k.a.Text)
	}
	return members
}

func (s *Server) findTask(id string) *task {
	for _, k := range s.tasks.all {
		if k.id == id {
			return k
		}
	}
	return nil
}

func (t *turn) failWith(code int, message, data string) []byte {
	return wire.AppendError(nil, t.m.ID, &wire.Error{Code: code, Message: message, Data: wire.Raw(data)})
}

func (t *turn) declaresTasks() bool {
	return strings.Contains(string(t.meta.Caps), `"io.modelcontextprotocol/tasks"`)
}

// makeTask answers a call with a task:
//
//	task {ms, text, times, method, params, code, kind, retry}
//
// works for ms, asks times questions, and ends with the text, or with a JSON-RPC
// error if there is a code. It wants to be looked at every retry milliseconds. kind:
// "endless" never ends, "withdrawn" is cancelled by the server, "uninvited" is made
// for clients that know no tasks too, who are refused otherwise.
func (s *Server) makeTask(t *turn, a arguments) []byte {
	var p struct {
		Task *json.RawMessage `json:"task"`
	}
	_ = json.Unmarshal(t.m.Params, &p)
	switch {
	case a.Kind == "uninvited":
	case t.modern && !t.declaresTasks():
		return t.failWith(wire.CodeMissingCapability, "Missing required client capability", needsTasks)
	case !t.modern && p.Task == nil:
		return t.fail(wire.CodeMethodNotFound, "Tool task requires task augmentation (taskSupport: 'required')")
	}
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	k := &task{id: "task-" + strconv.Itoa(len(s.tasks.all)+1), a: a, made: time.Now()}
	s.tasks.all = append(s.tasks.all, k)
	if t.modern {
		return t.result(`"resultType":"task",` + k.members(true))
	}
	return t.result(`"task":{` + k.members(false) + `}`)
}

// askTask answers a request about a task.
func (s *Server) askTask(ctx context.Context, t *turn) []byte {
	var p struct {
		TaskID  string                     `json:"taskId"`
		Answers map[string]json.RawMessage `json:"inputResponses"`
	}
	_ = json.Unmarshal(orNull(t.m.Params), &p)
	if t.modern && !t.declaresTasks() {
		return t.failWith(wire.CodeMissingCapability, "Missing required client capability", needsTasks)
	}
	if t.m.Method == "tasks/list" {
		return s.listTasks(t)
	}
	s.tasks.mu.Lock()
	k := s.findTask(p.TaskID)
	if k == nil {
		s.tasks.mu.Unlock()
		return t.fail(wire.CodeInvalidParams, "Failed to retrieve task: Task not found")
	}
	if !t.modern && t.m.Method == "tasks/result" {
		s.tasks.mu.Unlock()
		return s.taskResult(ctx, t, k)
	}
	defer s.tasks.mu.Unlock()
	switch t.m.Method {
	case "tasks/get":
		if t.modern {
			return t.result(`"resultType":"complete",` + k.detailed())
		}
		return t.result(k.members(false))
	case "tasks/cancel":
		if over := k.over(); over && !t.modern {
			return t.fail(wire.CodeInvalidParams, "Cannot cancel task in terminal status")
		} else if !over {
			k.cancelled = true
			s.count("task cancelled")
		}
		if t.modern {
			return t.result("")
		}
		return t.result(k.members(false))
	case "tasks/update":
		if t.modern {
			if answer := p.Answers["q"+strconv.Itoa(len(k.answers)+1)]; answer != nil && k.status() == "input_required" {
				k.answers = append(k.answers, string(answer))
			}
			return t.result("")
		}
	}
	return t.fail(wire.CodeMethodNotFound, "no such method: "+t.m.Method)
}

// taskResult waits for the end of a task, and asks on the way what it needs.
func (s *Server) taskResult(ctx context.Context, t *turn, k *task) []byte {
	related := `"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"` + k.id + `"}}`
	for {
		s.tasks.mu.Lock()
		status := k.status()
		method, params := k.question()
		s.tasks.mu.Unlock()
		switch status {
		case "working":
			if !wait(ctx, 1) {
				return nil
			}
		case "input_required":
			answer, err := t.sess.ask(ctx, s, t.send, method, strings.TrimSuffix(params, "}")+","+related+"}")
			if err != nil {
				return nil
			}
			s.tasks.mu.Lock()
			k.answers = append(k.answers, answer)
			s.tasks.mu.Unlock()
		case "failed":
			return t.fail(k.a.Code, k.a.Text)
		case "cancelled":
			return t.result(`"content":[],"isError":true,` + related)
		default:
			s.tasks.mu.Lock()
			defer s.tasks.mu.Unlock()
			return t.result(k.content() + "," + related)
		}
	}
}

// listTasks lists all tasks there are, one on a page.
func (s *Server) listTasks(t *turn) []byte {
	if t.modern {
		return t.fail(wire.CodeMethodNotFound, "no such method: "+t.m.Method)
	}
	var p struct {
		Cursor string `json:"cursor"`
	}
	_ = json.Unmarshal(orNull(t.m.Params), &p)
	at, _ := strconv.Atoi(p.Cursor)
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	if at >= len(s.tasks.all) {
		return t.result(`"tasks":[]`)
	}
	members := `"tasks":[{` + s.tasks.all[at].members(false) + `}]`
	if at+1 < len(s.tasks.all) {
		members += fmt.Sprintf(`,"nextCursor":"%d"`, at+1)
	}
	return t.result(members)
}

// TaskStatus tells all who listen how far a task is, if there is one of that id.
func (s *Server) TaskStatus(id string) {
	s.tasks.mu.Lock()
	k := s.findTask(id)
	if k == nil {
		s.tasks.mu.Unlock()
		return
	}
	method, params := "notifications/tasks/status", "{"+k.members(false)+"}"
	if s.era() == Modern {
		method, params = "notifications/tasks", "{"+k.detailed()+"}"
	}
	s.tasks.mu.Unlock()
	s.emit(method, params)
}
