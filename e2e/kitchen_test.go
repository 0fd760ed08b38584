package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// revisions are those of the protocol, oldest first.
var revisions = []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"}

const modern = "2026-07-28"

// patience bounds how long a kitchen waits for what a guest was to do.
const patience = 20 * time.Second

// kitchen is a server of the go-sdk that speaks one revision of the protocol and
// offers all that the matrix looks at; npm/kitchen1.mjs and npm/kitchen2.mjs offer
// the same. What is not part of the protocol happens over /side/, plain HTTP:
//
//	arrived?id=    answers when the call of hang with this id has arrived
//	cancelled?id=  says whether that call was cancelled
//	late?id=       asks the connection that called remember with this id for its
//	               roots while no call is open, and says how that ended
//	murmur?id=     writes a log line to that connection while no call is open
//	pay?id=        is the address that the tool pay_first wants opened
//	step?id=       lets the call of steps with this id go on to its next step
//	add?tool=      adds a tool
//	touch?uri=     says that the resource has changed
type kitchen struct {
	revision string
	base     string // http://127.0.0.1:PORT
	server   *mcp.Server

	mu       sync.Mutex
	sessions map[string]*mcp.ServerSession
	counts   map[*mcp.ServerSession]int
	paid     map[string]bool
	calls    map[string]*openCall
}

// openCall is what the side door knows of a call that runs.
type openCall struct{ arrived, cancelled, step chan struct{} }

// goKitchen starts one and returns its address and how the gateway reaches it.
func goKitchen(t *testing.T, revision string) (base string, entry map[string]any) {
	t.Helper()
	k := &kitchen{
		revision: revision, sessions: map[string]*mcp.ServerSession{}, calls: map[string]*openCall{},
		counts: map[*mcp.ServerSession]int{}, paid: map[string]bool{},
	}
	k.server = mcp.NewServer(&mcp.Implementation{Name: "kitchen", Version: "1.0.0"}, &mcp.ServerOptions{
		Instructions:              "Order at the bar.",
		SupportedProtocolVersions: []string{revision},
		CompletionHandler:         complete,
		SubscribeHandler:          func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler:        func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	k.addTools()
	k.addQuestions()
	k.addRest()

	getServer := func(*http.Request) *mcp.Server { return k.server }
	mux := http.NewServeMux()
	mux.HandleFunc("/side/{what}", k.side)
	path, kind := "/mcp", "http"
	switch revision {
	case "2024-11-05":
		path, kind = "/sse", "sse"
		mux.Handle("/sse", mcp.NewSSEHandler(getServer, nil))
	default:
		mux.Handle("/mcp", mcp.NewStreamableHTTPHandler(getServer, &mcp.StreamableHTTPOptions{
			Stateless: revision == modern, PropagateRequestCancellation: revision == modern,
		}))
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	listener := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	k.base = "http://" + l.Addr().String()
	go func() { _ = listener.Serve(l) }()
	t.Cleanup(func() { _ = listener.Close() })
	return k.base, map[string]any{"type": kind, "url": k.base + path}
}

// knows says whether the kitchen's revision has what came with the one given.
func (k *kitchen) knows(since string) bool { return k.revision >= since }

func text(format string, a ...any) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprintf(format, a...)}}}
}

func broke(err error) *mcp.CallToolResult {
	r := text("%v", err)
	r.IsError = true
	return r
}

type toolArgs struct{ Text, ID, Region string }

// add adds a tool whose arguments are strings.
func (k *kitchen) add(tool *mcp.Tool, do func(ctx context.Context, req *mcp.CallToolRequest, in toolArgs) (*mcp.CallToolResult, error)) {
	if tool.InputSchema == nil {
		tool.InputSchema = json.RawMessage(`{"type":"object","properties":{"text":{"type":"string"},"id":{"type":"string"}}}`)
	}
	k.server.AddTool(tool, func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		var in toolArgs
		if len(req.Params.Arguments) > 0 {
			if err := json.Unmarshal(req.Params.Arguments, &in); err != nil {
				return nil, err
			}
		}
		return do(ctx, req, in)
	})
}

// say adds a tool that always answers the same.
func (k *kitchen) say(tool *mcp.Tool, answer func() *mcp.CallToolResult) {
	k.add(tool, func(context.Context, *mcp.CallToolRequest, toolArgs) (*mcp.CallToolResult, error) {
		return answer(), nil
	})
}

func (k *kitchen) addTools() {
	k.add(&mcp.Tool{Name: "echo", Description: "Says it again."}, func(_ context.Context, _ *mcp.CallToolRequest, in toolArgs) (*mcp.CallToolResult, error) {
		return text("echo: %s", in.Text), nil
	})
	k.say(&mcp.Tool{Name: "content"}, func() *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{
			&mcp.ImageContent{Data: []byte("image"), MIMEType: "image/png"},
			&mcp.EmbeddedResource{Resource: &mcp.ResourceContents{URI: "kitchen://static", MIMEType: "text/plain", Text: "static text"}},
		}}
	})
	if k.knows("2025-03-26") {
		k.say(&mcp.Tool{Name: "sound"}, func() *mcp.CallToolResult {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.AudioContent{Data: []byte("audio"), MIMEType: "audio/wav"}}}
		})
	}
	if k.knows("2025-06-18") {
		k.say(&mcp.Tool{Name: "link"}, func() *mcp.CallToolResult {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.ResourceLink{URI: "kitchen://static", Name: "static"}}}
		})
		k.say(&mcp.Tool{Name: "sum", OutputSchema: json.RawMessage(`{"type":"object","properties":{"sum":{"type":"integer"}},"required":["sum"]}`)}, func() *mcp.CallToolResult {
			r := text(`{"sum":5}`)
			r.StructuredContent = map[string]any{"sum": 5}
			return r
		})
	}
	if k.knows(modern) {
		k.say(&mcp.Tool{Name: "numbers", OutputSchema: json.RawMessage(`{"type":"array","items":{"type":"integer"}}`)}, func() *mcp.CallToolResult {
			r := text(`[1,2,3]`)
			r.StructuredContent = []int{1, 2, 3}
			return r
		})
	}
	k.say(&mcp.Tool{Name: "fail"}, func() *mcp.CallToolResult { return broke(errors.New("it broke")) })
	k.add(&mcp.Tool{Name: "refuse"}, func(context.Context, *mcp.CallToolRequest, toolArgs) (*mcp.CallToolResult, error) {
		return nil, &jsonrpc.Error{Code: 4711, Message: "refused", Data: json.RawMessage(`{"why":"closed"}`)}
	})
	k.add(&mcp.Tool{Name: "steps"}, func(ctx context.Context, req *mcp.CallToolRequest, in toolArgs) (*mcp.CallToolResult, error) {
		for i := range 3 {
			if err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i + 1), Total: 3}); err != nil {
				return nil, err
			}
			select {
			case <-k.call(in.ID).step:
			case <-time.After(patience):
				return broke(fmt.Errorf("nobody heard of step %d", i+1)), nil
			}
		}
		return text("done"), nil
	})
	k.add(&mcp.Tool{Name: "speak"}, func(ctx context.Context, req *mcp.CallToolRequest, _ toolArgs) (*mcp.CallToolResult, error) {
		for _, level := range []mcp.LoggingLevel{"debug", "warning"} {
			if err := req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: level, Data: "said aloud"}); err != nil {
				return nil, err
			}
		}
		return text("spoken"), nil
	})
	k.add(&mcp.Tool{Name: "hang"}, func(ctx context.Context, _ *mcp.CallToolRequest, in toolArgs) (*mcp.CallToolResult, error) {
		c := k.call(in.ID)
		close(c.arrived)
		select {
		case <-ctx.Done():
			close(c.cancelled)
		case <-time.After(patience):
		}
		return nil, ctx.Err()
	})
	k.add(&mcp.Tool{Name: "remember"}, func(_ context.Context, req *mcp.CallToolRequest, in toolArgs) (*mcp.CallToolResult, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.sessions[in.ID] = req.Session
		return text("remembered"), nil
	})
	k.add(&mcp.Tool{Name: "count"}, func(_ context.Context, req *mcp.CallToolRequest, _ toolArgs) (*mcp.CallToolResult, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.counts[req.Session]++
		return text("%d", k.counts[req.Session]), nil
	})
	k.add(&mcp.Tool{
		Name:        "headed",
		InputSchema: json.RawMessage(`{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}`),
	}, func(_ context.Context, req *mcp.CallToolRequest, in toolArgs) (*mcp.CallToolResult, error) {
		header := ""
		if req.Extra != nil {
			header = req.Extra.Header.Get("Mcp-Param-Region")
		}
		return text("argument %s, header %s", in.Region, header), nil
	})
}

// answerOf is how a question ended: the answer to it, else what is returned for
// the call.
type answerOf struct {
	answer mcp.InputResponse
	result *mcp.CallToolResult
}

// ask puts a question to the client in the way of the kitchen's revision. state is
// what a modern client brings back with the answer.
func (k *kitchen) ask(ctx context.Context, req *mcp.CallToolRequest, key string, question mcp.InputRequest, state string) answerOf {
	if k.knows(modern) {
		if a := req.Params.InputResponses[key]; a != nil {
			return answerOf{answer: a}
		}
		return answerOf{result: &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{key: question}, RequestState: state}}
	}
	var a mcp.InputResponse
	var err error
	switch q := question.(type) {
	case *mcp.ElicitParams:
		a, err = req.Session.Elicit(ctx, q)
	case *mcp.CreateMessageParams:
		a, err = req.Session.CreateMessage(ctx, q)
	case *mcp.ListRootsParams:
		a, err = req.Session.ListRoots(ctx, q)
	}
	if err != nil {
		return answerOf{result: broke(err)}
	}
	return answerOf{answer: a}
}

// form is a question for one line of text.
func form(field string) *mcp.ElicitParams {
	return &mcp.ElicitParams{
		Mode: "form", Message: "Please tell your " + field + ".",
		RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{field: map[string]any{"type": "string"}}, "required": []string{field}},
	}
}

// told is the field of an answer to form.
func told(a mcp.InputResponse, field string) string {
	e, ok := a.(*mcp.ElicitResult)
	if !ok || e.Action != "accept" {
		return "nothing"
	}
	return fmt.Sprint(e.Content[field])
}

func (k *kitchen) addQuestions() {
	if k.knows("2025-06-18") {
		k.add(&mcp.Tool{Name: "ask_form"}, func(ctx context.Context, req *mcp.CallToolRequest, _ toolArgs) (*mcp.CallToolResult, error) {
			a := k.ask(ctx, req, "name", form("name"), "")
			if a.result != nil {
				return a.result, nil
			}
			return text("name %s", told(a.answer, "name")), nil
		})
		k.add(&mcp.Tool{Name: "ask_twice"}, k.askTwice)
	}
	if k.knows("2025-11-25") {
		k.add(&mcp.Tool{Name: "ask_url"}, func(ctx context.Context, req *mcp.CallToolRequest, _ toolArgs) (*mcp.CallToolResult, error) {
			q := &mcp.ElicitParams{Mode: "url", Message: "Please pay.", URL: "https://pay.example/7"}
			if !k.knows(modern) {
				q.ElicitationID = "7"
			}
			a := k.ask(ctx, req, "pay", q, "")
			if a.result != nil {
				return a.result, nil
			}
			return text("paid: %s", a.answer.(*mcp.ElicitResult).Action), nil
		})
	}
	if k.revision == "2025-11-25" {
		k.add(&mcp.Tool{Name: "pay_first"}, func(_ context.Context, req *mcp.CallToolRequest, in toolArgs) (*mcp.CallToolResult, error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.paid[in.ID] {
				return text("paid"), nil
			}
			k.sessions[in.ID] = req.Session
			return nil, mcp.URLElicitationRequiredError([]*mcp.ElicitParams{{Mode: "url", Message: "Please pay.", URL: k.base + "/side/pay?id=" + in.ID, ElicitationID: in.ID}})
		})
	}
	k.add(&mcp.Tool{Name: "ask_model"}, func(ctx context.Context, req *mcp.CallToolRequest, _ toolArgs) (*mcp.CallToolResult, error) {
		a := k.ask(ctx, req, "model", &mcp.CreateMessageParams{
			MaxTokens: 10, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: "Say something."}}},
		}, "")
		var said mcp.Content
		switch r := a.answer.(type) {
		case nil:
			return a.result, nil
		case *mcp.CreateMessageResult:
			said = r.Content
		case *mcp.CreateMessageWithToolsResult:
			said = r.Content[0]
		}
		t, ok := said.(*mcp.TextContent)
		if !ok {
			return broke(fmt.Errorf("the model said %T", said)), nil
		}
		return text("model said %s", t.Text), nil
	})
	k.add(&mcp.Tool{Name: "ask_roots"}, func(ctx context.Context, req *mcp.CallToolRequest, _ toolArgs) (*mcp.CallToolResult, error) {
		a := k.ask(ctx, req, "roots", &mcp.ListRootsParams{}, "")
		if a.result != nil {
			return a.result, nil
		}
		return text("roots %s", uris(a.answer.(*mcp.ListRootsResult))), nil
	})
}

func uris(r *mcp.ListRootsResult) string {
	var all []string
	for _, root := range r.Roots {
		all = append(all, root.URI)
	}
	return strings.Join(all, ",")
}

// askTwice asks a second question after the first is answered. A modern kitchen
// remembers the first answer in the state alone.
func (k *kitchen) askTwice(ctx context.Context, req *mcp.CallToolRequest, _ toolArgs) (*mcp.CallToolResult, error) {
	name, modernRound2 := strings.CutPrefix(req.Params.RequestState, "name=")
	if !modernRound2 {
		a := k.ask(ctx, req, "name", form("name"), "round=1")
		if a.result != nil {
			return a.result, nil
		}
		name = told(a.answer, "name")
	}
	b := k.ask(ctx, req, "color", form("color"), "name="+name)
	if b.result != nil {
		return b.result, nil
	}
	return text("%s likes %s", name, told(b.answer, "color")), nil
}

func (k *kitchen) addRest() {
	static := func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		c := &mcp.ResourceContents{URI: req.Params.URI, MIMEType: "text/plain", Text: "static text"}
		if strings.HasSuffix(c.URI, "binary") {
			c.MIMEType, c.Text, c.Blob = "application/octet-stream", "", []byte{0, 1, 2}
		}
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{c}}, nil
	}
	k.server.AddResource(&mcp.Resource{Name: "static", URI: "kitchen://static", MIMEType: "text/plain"}, static)
	k.server.AddResource(&mcp.Resource{Name: "binary", URI: "kitchen://binary", MIMEType: "application/octet-stream"}, static)
	k.server.AddResourceTemplate(&mcp.ResourceTemplate{Name: "item", URITemplate: "kitchen://item/{id}"},
		func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{
				URI: req.Params.URI, MIMEType: "text/plain", Text: "item " + strings.TrimPrefix(req.Params.URI, "kitchen://item/"),
			}}}, nil
		})
	k.server.AddPrompt(&mcp.Prompt{Name: "greet", Description: "Greets.", Arguments: []*mcp.PromptArgument{{Name: "name", Required: true}}},
		func(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: "greet " + req.Params.Arguments["name"]}}}}, nil
		})
}

func complete(_ context.Context, req *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
	all := []string{"Ann", "Anton", "Bob"}
	if req.Params.Ref.Type == "ref/resource" {
		all = []string{"7", "70", "8"}
	}
	all = slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, req.Params.Argument.Value) })
	return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: all, Total: len(all)}}, nil
}

// call is the call with this id, which may still have to come.
func (k *kitchen) call(id string) *openCall {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.calls[id] == nil {
		k.calls[id] = &openCall{make(chan struct{}), make(chan struct{}), make(chan struct{}, 3)}
	}
	return k.calls[id]
}

func (k *kitchen) side(w http.ResponseWriter, r *http.Request) {
	id := r.FormValue("id")
	k.mu.Lock()
	session := k.sessions[id]
	k.mu.Unlock()
	switch r.PathValue("what") {
	case "arrived":
		within(w, k.call(id).arrived, "arrived")
	case "cancelled":
		within(w, k.call(id).cancelled, "cancelled")
	case "step":
		k.call(id).step <- struct{}{}
	case "late":
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		roots, err := session.ListRoots(ctx, &mcp.ListRootsParams{})
		if err != nil {
			_, _ = fmt.Fprint(w, "not answered: ", err)
			return
		}
		_, _ = fmt.Fprint(w, "roots ", uris(roots))
	case "murmur":
		if err := session.Log(r.Context(), &mcp.LoggingMessageParams{Level: "warning", Data: "murmured"}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	case "pay":
		k.mu.Lock()
		k.paid[id] = true
		k.mu.Unlock()
		if err := session.NotifyElicitationComplete(r.Context(), &mcp.ElicitationCompleteParams{ElicitationID: id}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	case "add":
		k.say(&mcp.Tool{Name: r.FormValue("tool")}, func() *mcp.CallToolResult { return text("new") })
	case "touch":
		if err := k.server.ResourceUpdated(r.Context(), &mcp.ResourceUpdatedNotificationParams{URI: r.FormValue("uri")}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	default:
		http.NotFound(w, r)
	}
}

// within says that it happened, or that it did not in time.
func within(w http.ResponseWriter, happened <-chan struct{}, what string) {
	select {
	case <-happened:
		_, _ = fmt.Fprint(w, what)
	case <-time.After(patience):
		_, _ = fmt.Fprint(w, "not "+what)
	}
}

// tsKitchen starts the same in the TypeScript SDK of the revision.
func tsKitchen(t *testing.T, revision string) (base string, entry map[string]any) {
	t.Helper()
	port := freePort(t)
	p := start(t, "the TypeScript kitchen of "+revision, exec.Command(node, path("npm/kitchen.mjs"), revision, fmt.Sprint(port)))
	p.waitFor(t, "the TypeScript kitchen", func() bool { return listening(port) })
	base = fmt.Sprintf("http://127.0.0.1:%d", port)
	if revision == "2024-11-05" {
		return base, map[string]any{"type": "sse", "url": base + "/sse"}
	}
	return base, map[string]any{"type": "http", "url": base + "/mcp"}
}
