package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// taskServer is a server of 2026-07-28 with the tools that the official suite wants
// for the extension io.modelcontextprotocol/tasks. No SDK offers one.
type taskServer struct {
	mu    sync.Mutex // guards what follows
	tasks map[string]*suiteTask
}

type suiteTask struct {
	id, tool  string
	ready     time.Time // works until then
	result    string
	failure   string
	questions []string // keys that wait for an answer
	cancelled bool
}

func newTaskServer(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(&taskServer{tasks: map[string]*suiteTask{}})
	t.Cleanup(s.Close)
	return s.URL
}

type suiteRequest struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name      string `json:"name"`
		TaskID    string `json:"taskId"`
		Arguments struct {
			Name    string  `json:"name"`
			Seconds float64 `json:"seconds"`
		} `json:"arguments"`
		Answers map[string]struct {
			Content map[string]any `json:"content"`
		} `json:"inputResponses"`
		Meta struct {
			Caps struct {
				Extensions map[string]json.RawMessage `json:"extensions"`
			} `json:"io.modelcontextprotocol/clientCapabilities"`
		} `json:"_meta"`
	} `json:"params"`
}

// ServeHTTP answers one request with one JSON text.
func (s *taskServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q suiteRequest
	if r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&q) != nil {
		http.Error(w, "POST a request", http.StatusMethodNotAllowed)
		return
	}
	if q.Method == "initialize" {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32022,"message":"modern only","data":{"supported":["2026-07-28"]}}}`, q.ID)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if members, failure := s.answer(&q); failure != "" {
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":%s}`, q.ID, failure)
	} else {
		if !strings.Contains(members, `"resultType"`) {
			members = `"resultType":"complete",` + members
		}
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{%s}}`, q.ID, strings.TrimSuffix(members, ","))
	}
}

const needsTasksError = `{"code":-32021,"message":"Missing required client capability","data":{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}}`

func (s *taskServer) answer(q *suiteRequest) (members, failure string) {
	_, declared := q.Params.Meta.Caps.Extensions["io.modelcontextprotocol/tasks"]
	switch q.Method {
	case "server/discover":
		return `"supportedVersions":["2026-07-28"],"capabilities":{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}},"ttlMs":0,"cacheScope":"private","_meta":{}`, ""
	case "tools/list":
		var all []string
		for _, name := range []string{"greet", "slow_compute", "failing_job", "protocol_error_job", "confirm_delete", "multi_input", "test_tool_with_task"} {
			all = append(all, fmt.Sprintf(`{"name":%q,"description":"for the suite","inputSchema":{"type":"object"}}`, name))
		}
		return `"ttlMs":0,"cacheScope":"private","tools":[` + strings.Join(all, ",") + `]`, ""
	case "tools/call":
		return s.call(q, declared)
	case "tasks/get", "tasks/update", "tasks/cancel":
		if !declared {
			return "", needsTasksError
		}
		return s.about(q)
	}
	return "", `{"code":-32601,"message":"no such method"}`
}

func (s *taskServer) call(q *suiteRequest, declared bool) (members, failure string) {
	text := func(text string) string { return fmt.Sprintf(`"content":[{"type":"text","text":%q}]`, text) }
	k := &suiteTask{id: fmt.Sprintf("suite-%d", len(s.tasks)+1), tool: q.Params.Name, result: text("done")}
	switch q.Params.Name {
	case "greet":
		return text("Hello, " + q.Params.Arguments.Name + "!"), ""
	case "slow_compute":
		if !declared {
			return k.result, ""
		}
		k.ready = time.Now().Add(time.Duration(q.Params.Arguments.Seconds * float64(time.Second)))
	case "failing_job":
		k.ready, k.result = time.Now().Add(time.Second), text("it failed")+`,"isError":true`
	case "protocol_error_job":
		k.failure = `{"code":-32603,"message":"broken"}`
	case "confirm_delete":
		k.questions = []string{"confirm"}
	case "multi_input":
		k.questions = []string{"first", "second"}
	case "test_tool_with_task":
		answer, ok := q.Params.Answers["user_name"]
		if !ok {
			return `"resultType":"input_required","inputRequests":{"user_name":` + suiteQuestion + `},"requestState":"asked"`, ""
		}
		k.result = text(fmt.Sprint("Hello, ", answer.Content))
	default:
		return "", `{"code":-32602,"message":"no such tool"}`
	}
	if !declared {
		return "", needsTasksError
	}
	s.tasks[k.id] = k
	return `"resultType":"task",` + k.members(), ""
}

const suiteQuestion = `{"method":"elicitation/create","params":{"mode":"form","message":"?","requestedSchema":{"type":"object","properties":{"name":{"type":"string"}}}}}`

func (k *suiteTask) status() string {
	switch {
	case k.cancelled:
		return "cancelled"
	case len(k.questions) > 0:
		return "input_required"
	case time.Now().Before(k.ready):
		return "working"
	case k.failure != "":
		return "failed"
	}
	return "completed"
}

func (k *suiteTask) members() string {
	return fmt.Sprintf(`"taskId":%q,"status":%q,"createdAt":"2026-07-28T00:00:00Z","lastUpdatedAt":"2026-07-28T00:00:00Z","ttlMs":600000,"pollIntervalMs":50`, k.id, k.status())
}

func (s *taskServer) about(q *suiteRequest) (members, failure string) {
	k := s.tasks[q.Params.TaskID]
	if k == nil {
		return "", `{"code":-32602,"message":"Task not found"}`
	}
	switch q.Method {
	case "tasks/cancel":
		if status := k.status(); status == "working" || status == "input_required" {
			k.cancelled = true
		}
		return "", ""
	case "tasks/update":
		left := k.questions[:0]
		for _, key := range k.questions {
			if _, answered := q.Params.Answers[key]; !answered {
				left = append(left, key)
			}
		}
		k.questions = left
		return "", ""
	}
	members = k.members()
	switch k.status() {
	case "input_required":
		var all []string
		for _, key := range k.questions {
			all = append(all, fmt.Sprintf("%q:%s", key, suiteQuestion))
		}
		members += `,"inputRequests":{` + strings.Join(all, ",") + `}`
	case "completed":
		members += `,"result":{` + k.result + `}`
	case "failed":
		members += `,"error":` + k.failure
	}
	return members, ""
}
