package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// visit is what a guest, a client of one revision, is to do at one server: try each
// feature and say what it saw, in the words of the features table.
type visit struct {
	URL      string   `json:"url"`
	Side     string   `json:"side"` // the kitchen's side door
	ID       string   `json:"id"`   // of this guest at this server
	Prefix   string   `json:"-"`    // of the names of tools and prompts; go-sdk only
	Features []string `json:"features"`
}

// saw is what a guest saw, by feature.
type saw map[string]string

// goGuest visits with the go-sdk's client.
func goGuest(t *testing.T, revision string, visits []visit) []saw {
	t.Helper()
	all := make([]saw, len(visits))
	var wg sync.WaitGroup
	for i, v := range visits {
		wg.Go(func() { all[i] = (&guest{revision: revision, visit: v}).do(t) })
	}
	wg.Wait()
	return all
}

// tsGuest visits with the TypeScript SDK of the revision.
func tsGuest(t *testing.T, revision string, visits []visit) []saw {
	t.Helper()
	plan, err := json.Marshal(map[string]any{"revision": revision, "visits": visits})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	script := "npm/guest1.mjs"
	if revision == modern {
		script = "npm/guest2.mjs"
	}
	cmd := exec.CommandContext(ctx, node, path(script))
	cmd.Stdin = bytes.NewReader(plan)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	var all []saw
	if err := json.Unmarshal(stdout.Bytes(), &all); err != nil || runErr != nil || len(all) != len(visits) {
		t.Fatalf("the TypeScript guest of %s: %v, %v\n%s%s", revision, runErr, err, tail(stdout.String(), 5000), tail(stderr.String(), 5000))
	}
	return all
}

// guest is one visit of the go-sdk's client.
type guest struct {
	visit
	revision string
	session  *mcp.ClientSession

	mu       sync.Mutex
	logs     []string
	progress []string
	changed  chan struct{} // the tools have changed
	updated  chan string   // a resource has changed
}

func (g *guest) do(t *testing.T) saw {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := g.connect(ctx); err != nil {
		return saw{"connect": err.Error()}
	}
	seen := saw{}
	for _, f := range g.Features {
		seen[f] = g.try(ctx, f)
	}
	_ = g.session.Close()
	return seen
}

func (g *guest) connect(ctx context.Context) error {
	g.changed, g.updated = make(chan struct{}, 100), make(chan string, 100)
	caps := &mcp.ClientCapabilities{RootsV2: &mcp.RootCapabilities{ListChanged: true}, Sampling: &mcp.SamplingCapabilities{}}
	o := &mcp.ClientOptions{
		Capabilities: caps,
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Role: "assistant", Model: "e2e", Content: &mcp.TextContent{Text: "sampled"}}, nil
		},
		LoggingMessageHandler: func(_ context.Context, r *mcp.LoggingMessageRequest) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.logs = append(g.logs, fmt.Sprintf("%s: %v", r.Params.Level, r.Params.Data))
		},
		ProgressNotificationHandler: func(ctx context.Context, r *mcp.ProgressNotificationClientRequest) {
			g.mu.Lock()
			g.progress = append(g.progress, fmt.Sprintf("%v/%v", r.Params.Progress, r.Params.Total))
			g.mu.Unlock()
			_, _ = g.side(ctx, "step", "id", g.ID)
		},
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { g.changed <- struct{}{} },
		ResourceUpdatedHandler: func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { g.updated <- r.Params.URI },
	}
	if g.revision >= "2025-06-18" {
		caps.Elicitation = &mcp.ElicitationCapabilities{}
		if g.revision >= "2025-11-25" {
			caps.Elicitation = &mcp.ElicitationCapabilities{Form: &mcp.FormElicitationCapabilities{}, URL: &mcp.URLElicitationCapabilities{}}
		}
		o.ElicitationHandler = func(ctx context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			if r.Params.Mode == "url" {
				if strings.HasPrefix(r.Params.URL, g.Side) {
					if _, err := g.side(context.WithoutCancel(ctx), "pay", "id", g.ID); err != nil { // the user opens it
						return nil, err
					}
				}
				return &mcp.ElicitResult{Action: "accept"}, nil
			}
			schema, err := json.Marshal(r.Params.RequestedSchema)
			if err != nil {
				return nil, err
			}
			if bytes.Contains(schema, []byte(`"color"`)) {
				return &mcp.ElicitResult{Action: "accept", Content: args{"color": "blue"}}, nil
			}
			return &mcp.ElicitResult{Action: "accept", Content: args{"name": "Ann"}}, nil
		}
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "guest-go", Version: "1.0.0"}, o)
	client.AddRoots(&mcp.Root{URI: "file:///e2e", Name: "e2e"})
	var transport mcp.Transport = &mcp.StreamableClientTransport{Endpoint: g.URL}
	if g.revision == "2024-11-05" {
		transport = &mcp.SSEClientTransport{Endpoint: g.URL}
	}
	pin := g.revision
	if pin == modern {
		pin = "" // the newest, which it asks for by itself
	}
	session, err := client.Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: pin})
	if err != nil {
		return err
	}
	if got := session.InitializeResult().ProtocolVersion; got != g.revision {
		return errors.Join(fmt.Errorf("agreed on %s, want %s", got, g.revision), session.Close())
	}
	g.session = session
	return nil
}

// try does what belongs to one feature and says what it saw.
func (g *guest) try(ctx context.Context, feature string) string {
	ctx, cancel := context.WithTimeout(ctx, patience+10*time.Second)
	defer cancel()
	do := map[string]func(context.Context) (string, error){
		"who": g.who, "tools": g.tools, "resources": g.resources, "missing": g.missing, "prompts": g.prompts,
		"completion": g.completion, "errors": g.errors, "progress": g.steps, "log": g.speak, "cancel": g.cancel, "late": g.late,
		"changes": g.changes, "updates": g.updates, "structured": g.calls("sum"), "array": g.calls("numbers"),
		"content": g.calls("content"), "audio": g.calls("sound"), "link": g.calls("link"), "form": g.calls("ask_form"),
		"rounds": g.calls("ask_twice"), "url": g.calls("ask_url"), "sampling": g.calls("ask_model"), "roots": g.calls("ask_roots"),
		"header": g.calls("headed"), "task": g.calls("report"),
		"first": g.payFirst, "murmur": g.murmur, "state": g.state,
		"ping": func(ctx context.Context) (string, error) { return "pong", g.session.Ping(ctx, nil) },
	}[feature]
	if do == nil {
		return "this guest does not know how"
	}
	said, err := do(ctx)
	if err != nil {
		return failed(err)
	}
	return said
}

// failed is an error as all guests word it.
func failed(err error) string {
	if e, ok := errors.AsType[*jsonrpc.Error](err); ok {
		return fmt.Sprintf("error %d: %s", e.Code, e.Message)
	}
	return "failed: " + err.Error()
}

func (g *guest) who(context.Context) (string, error) {
	r := g.session.InitializeResult()
	if r.ServerInfo == nil {
		return "nobody", nil
	}
	return r.ServerInfo.Name + ": " + r.Instructions, nil
}

func (g *guest) names(ctx context.Context) ([]string, error) {
	var names []string
	for tool, err := range g.session.Tools(ctx, nil) {
		if err != nil {
			return nil, err
		}
		names = append(names, tool.Name)
	}
	return names, nil
}

func (g *guest) tools(ctx context.Context) (string, error) {
	names, err := g.names(ctx)
	if err != nil {
		return "", err
	}
	said, err := g.call(ctx, "echo")
	return fmt.Sprintf("listed %v, %s", slices.Contains(names, g.Prefix+"echo"), said), err
}

func (g *guest) calls(tool string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return g.call(ctx, tool) }
}

func (g *guest) call(ctx context.Context, tool string) (string, error) {
	p := &mcp.CallToolParams{Name: g.Prefix + tool, Arguments: args{"text": "grüße", "id": g.ID, "region": "eu"}}
	if tool == "steps" {
		p.SetProgressToken("steps " + g.ID)
	}
	if tool == "speak" && g.revision == modern {
		p.Meta = mcp.Meta{mcp.MetaKeyLogLevel: "info"}
	}
	r, err := g.session.CallTool(ctx, p)
	if err != nil {
		return "", err
	}
	var parts []string
	if r.StructuredContent != nil && g.revision >= "2025-06-18" {
		structured, err := json.Marshal(r.StructuredContent)
		if err != nil {
			return "", err
		}
		parts = append(parts, "structured "+string(structured))
	}
	for _, c := range r.Content {
		switch c := c.(type) {
		case *mcp.TextContent:
			parts = append(parts, c.Text)
		case *mcp.ImageContent:
			parts = append(parts, "image "+string(c.Data))
		case *mcp.AudioContent:
			parts = append(parts, "audio "+string(c.Data))
		case *mcp.ResourceLink:
			parts = append(parts, "link "+c.URI)
		case *mcp.EmbeddedResource:
			parts = append(parts, "resource "+c.Resource.Text)
		}
	}
	said := strings.Join(parts, " + ")
	if r.IsError {
		said = "tool error: " + said
	}
	return said, nil
}

func (g *guest) resources(ctx context.Context) (string, error) {
	listed := map[string]bool{}
	for r, err := range g.session.Resources(ctx, nil) {
		if err != nil {
			return "", err
		}
		listed[r.URI] = true
	}
	for r, err := range g.session.ResourceTemplates(ctx, nil) {
		if err != nil {
			return "", err
		}
		listed[r.URITemplate] = true
	}
	said := []string{fmt.Sprintf("listed %v", listed["kitchen://static"] && listed["kitchen://binary"] && listed["kitchen://item/{id}"])}
	for _, uri := range []string{"kitchen://static", "kitchen://binary", "kitchen://item/7"} {
		r, err := g.session.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri})
		if err != nil {
			return "", err
		}
		content := r.Contents[0].Text
		if content == "" {
			content = fmt.Sprintf("%d bytes", len(r.Contents[0].Blob))
		}
		said = append(said, content)
	}
	return strings.Join(said, ", "), nil
}

func (g *guest) missing(ctx context.Context) (string, error) {
	_, err := g.session.ReadResource(ctx, &mcp.ReadResourceParams{URI: "kitchen://nothing"})
	return "found", err
}

func (g *guest) prompts(ctx context.Context) (string, error) {
	listed := false
	for p, err := range g.session.Prompts(ctx, nil) {
		if err != nil {
			return "", err
		}
		listed = listed || p.Name == g.Prefix+"greet"
	}
	r, err := g.session.GetPrompt(ctx, &mcp.GetPromptParams{Name: g.Prefix + "greet", Arguments: map[string]string{"name": "Ann"}})
	if err != nil {
		return "", err
	}
	t, _ := r.Messages[0].Content.(*mcp.TextContent)
	return fmt.Sprintf("listed %v, %s", listed, t.Text), nil
}

func (g *guest) completion(ctx context.Context) (string, error) {
	var said []string
	for _, p := range []*mcp.CompleteParams{
		{Ref: &mcp.CompleteReference{Type: "ref/prompt", Name: "greet"}, Argument: mcp.CompleteParamsArgument{Name: "name", Value: "An"}},
		{Ref: &mcp.CompleteReference{Type: "ref/resource", URI: "kitchen://item/{id}"}, Argument: mcp.CompleteParamsArgument{Name: "id", Value: "7"}},
	} {
		r, err := g.session.Complete(ctx, p)
		if err != nil {
			return "", err
		}
		said = append(said, r.Completion.Values...)
	}
	return strings.Join(said, ","), nil
}

func (g *guest) errors(ctx context.Context) (string, error) {
	said, err := g.call(ctx, "fail")
	if err != nil {
		return "", err
	}
	_, refused := g.call(ctx, "refuse")
	var e *jsonrpc.Error
	if errors.As(refused, &e) {
		said += fmt.Sprintf("; %d %s %s", e.Code, e.Message, e.Data)
	}
	_, unknown := g.call(ctx, "nothing")
	if errors.As(unknown, &e) {
		said += fmt.Sprintf("; unknown tool %d", e.Code)
	}
	return said, nil
}

func (g *guest) steps(ctx context.Context) (string, error) {
	said, err := g.call(ctx, "steps")
	return said + " after " + strings.Join(g.heard(&g.progress), " "), err
}

func (g *guest) speak(ctx context.Context) (string, error) {
	if g.revision != modern {
		if err := g.session.SetLoggingLevel(ctx, &mcp.SetLoggingLevelParams{Level: "info"}); err != nil {
			return "", err
		}
	}
	_, err := g.call(ctx, "speak")
	// The SDK hands notifications to their handler apart from the answer.
	until(ctx, func() bool { return len(g.heard(&g.logs)) >= 1 })
	return strings.Join(g.heard(&g.logs), " "), err
}

func (g *guest) heard(list *[]string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(*list)
}

// until polls for something that comes on its own, for a few seconds.
func until(ctx context.Context, ok func() bool) bool {
	deadline := time.Now().Add(5 * time.Second)
	for !ok() {
		if ctx.Err() != nil || time.Now().After(deadline) {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return true
}

// side goes to the kitchen's side door.
func (g *guest) side(ctx context.Context, what string, query ...string) (string, error) {
	q := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.Side+what+"?"+q.Encode(), nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	return string(said), err
}

func (g *guest) cancel(ctx context.Context) (string, error) {
	calling, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = g.call(calling, "hang")
	}()
	if said, err := g.side(ctx, "arrived", "id", g.ID); err != nil || said != "arrived" {
		return said, err
	}
	cancel()
	<-ended
	return g.side(ctx, "cancelled", "id", g.ID)
}

func (g *guest) late(ctx context.Context) (string, error) {
	if _, err := g.call(ctx, "remember"); err != nil {
		return "", err
	}
	return g.side(ctx, "late", "id", g.ID)
}

// payFirst opens the address that an error names, and calls again.
func (g *guest) payFirst(ctx context.Context) (string, error) {
	said, err := g.call(ctx, "pay_first")
	var wire *jsonrpc.Error
	if !errors.As(err, &wire) || wire.Code != mcp.CodeURLElicitationRequired || !strings.Contains(string(wire.Data), g.Side+"pay?id="+g.ID) {
		return said, err
	}
	if _, err := g.side(ctx, "pay", "id", g.ID); err != nil {
		return "", err
	}
	return g.call(ctx, "pay_first")
}

func (g *guest) murmur(ctx context.Context) (string, error) {
	if _, err := g.call(ctx, "remember"); err != nil {
		return "", err
	}
	if _, err := g.side(ctx, "murmur", "id", g.ID); err != nil {
		return "", err
	}
	heard := func() bool { return slices.Contains(g.heard(&g.logs), "warning: murmured") }
	if g.revision != modern {
		until(ctx, heard)
	} else if _, err := g.call(ctx, "echo"); err != nil { // what was to come has come
		return "", err
	}
	return fmt.Sprintf("heard %v", heard()), nil
}

// state looks whether a second connection of the same guest finds what the first
// one left at the server.
func (g *guest) state(ctx context.Context) (string, error) {
	left, err := g.call(ctx, "count")
	if err != nil {
		return "", err
	}
	second := &guest{revision: g.revision, visit: g.visit}
	if err = second.connect(ctx); err != nil {
		return "", err
	}
	found, err := second.call(ctx, "count")
	if err = errors.Join(err, second.session.Close()); err != nil {
		return "", err
	}
	if left != "1" || found != "1" {
		return "no connection has a count of its own", nil
	}
	return "each has a count of its own", nil
}

// changes makes the kitchen add a tool until the guest hears of a change: a stream
// that the client opens by itself may not stand yet.
func (g *guest) changes(ctx context.Context) (string, error) {
	for i := range 20 {
		tool := fmt.Sprintf("new_%s_%d", g.ID, i)
		if _, err := g.side(ctx, "add", "tool", tool); err != nil {
			return "", err
		}
		select {
		case <-g.changed:
			listed := until(ctx, func() bool {
				names, err := g.names(ctx)
				return err == nil && slices.Contains(names, g.Prefix+tool)
			})
			return fmt.Sprintf("heard, listed %v", listed), nil
		case <-time.After(500 * time.Millisecond):
		}
	}
	return "heard nothing", nil
}

func (g *guest) updates(ctx context.Context) (string, error) {
	const uri = "kitchen://static"
	if err := g.session.Subscribe(ctx, &mcp.SubscribeParams{URI: uri}); err != nil {
		return "", err
	}
	for range 20 {
		if _, err := g.side(ctx, "touch", "uri", uri); err != nil {
			return "", err
		}
		select {
		case heard := <-g.updated:
			if err := g.session.Unsubscribe(ctx, &mcp.UnsubscribeParams{URI: uri}); err != nil {
				return "", err
			}
			return "heard of " + heard, nil
		case <-time.After(500 * time.Millisecond):
		}
	}
	return "heard nothing", nil
}
