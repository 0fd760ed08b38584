package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const crowd = 200

// most is how many dials to one server may be in flight at once
// (docs/ARCHITECTURE.md, the pool).
const most = 8

// counted is a server of the go-sdk with the tools greet and wait, that counts how
// it is dialed. A dial takes a while, so that a crowd has the time to pile up.
type counted struct {
	url       string
	server    *mcp.Server
	waiting   chan struct{} // a call of wait has arrived
	cancelled chan struct{} // and was cancelled

	mu       sync.Mutex
	methods  map[string]int // requests by method; DELETE counts as a method
	inFlight int            // initialize requests without the first byte of an answer
	peak     int
	callers  map[string]int // tool calls by session id
}

func countedServer(t *testing.T, stateless bool) *counted {
	t.Helper()
	server := mcp.NewServer(&mcp.Implementation{Name: "counted", Version: "1.0.0"}, nil)
	c := &counted{
		server:  server,
		waiting: make(chan struct{}, 10), cancelled: make(chan struct{}, 10),
		methods: map[string]int{}, callers: map[string]int{},
	}
	type greeting struct {
		Name string `json:"name"`
	}
	mcp.AddTool(server, &mcp.Tool{Name: "greet", Description: "Greets somebody."},
		func(_ context.Context, _ *mcp.CallToolRequest, in greeting) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "hello " + in.Name}}}, nil, nil
		})
	mcp.AddTool(server, &mcp.Tool{Name: "wait", Description: "Waits until it is cancelled."},
		func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			c.waiting <- struct{}{}
			<-ctx.Done()
			c.cancelled <- struct{}{}
			return nil, nil, ctx.Err()
		})
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{Stateless: stateless, PropagateRequestCancellation: stateless})

	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	c.url = "http://" + l.Addr().String() + "/mcp"
	listener := &http.Server{Handler: c.count(handler), ReadHeaderTimeout: time.Minute}
	go func() { _ = listener.Serve(l) }()
	t.Cleanup(func() { _ = listener.Close() })
	return c
}

// addTool adds a tool, which changes the list of tools.
func (c *counted) addTool(name string) {
	mcp.AddTool(c.server, &mcp.Tool{Name: name, Description: "Was not there before."},
		func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: name}}}, nil, nil
		})
}

func (c *counted) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if r.Method == http.MethodPost {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			var message struct {
				Method string `json:"method"`
			}
			_ = json.Unmarshal(body, &message)
			method = message.Method
		}
		c.enter(method, r.Header.Get("Mcp-Session-Id"))
		if method == "initialize" {
			w = &firstByte{ResponseWriter: w, before: sync.OnceFunc(c.leave)}
		}
		if method == "initialize" || method == "server/discover" {
			time.Sleep(50 * time.Millisecond)
		}
		next.ServeHTTP(w, r)
	})
}

// firstByte calls before ahead of the first byte of the body.
type firstByte struct {
	http.ResponseWriter
	before func()
}

func (f *firstByte) Write(p []byte) (int, error) {
	f.before()
	return f.ResponseWriter.Write(p)
}

func (f *firstByte) Unwrap() http.ResponseWriter { return f.ResponseWriter }

func (c *counted) enter(method, session string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.methods[method]++
	switch method {
	case "initialize":
		c.inFlight++
		c.peak = max(c.peak, c.inFlight)
	case "tools/call":
		c.callers[session]++
	}
}

func (c *counted) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight--
}

// seen is a copy of the counts.
func (c *counted) seen() (methods, callers map[string]int, peak int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.methods), maps.Clone(c.callers), c.peak
}

// cold is the counted server as one that is only dialed when a call needs it.
func cold(c *counted) servers {
	entry := httpServer(c.url)
	entry["startup"] = false
	return servers{"counted": entry}
}

// together runs f for 0 to crowd-1 at once and fails the test for each error.
func together(t *testing.T, f func(i int) error) {
	t.Helper()
	errs := make([]error, crowd)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range crowd {
		wg.Go(func() {
			<-begin
			errs[i] = f(i)
		})
	}
	close(begin)
	wg.Wait()
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(failed) > 0 {
		t.Errorf("%d of %d failed; the first: %v", len(failed), crowd, failed[0])
	}
}

// greet calls the tool and checks whose answer came back.
func greet(ctx context.Context, session *mcp.ClientSession, i int) error {
	name := fmt.Sprintf("caller %d", i)
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "greet", Arguments: args{"name": name}})
	if err != nil {
		return err
	}
	if len(result.Content) != 1 || result.IsError {
		return fmt.Errorf("answered %+v", result)
	}
	if text, ok := result.Content[0].(*mcp.TextContent); !ok || text.Text != "hello "+name {
		return fmt.Errorf("%s got %+v", name, result.Content[0])
	}
	return nil
}

func TestACrowdOfFirstCallsInOneSessionCausesOneDial(t *testing.T) {
	up := countedServer(t, false)
	g := serve(t, cold(up))
	session := goConnect(t, g.mcp("counted"), "2025-11-25", nil)
	before, _, _ := up.seen()
	together(t, func(i int) error { return greet(t.Context(), session, i) })
	methods, callers, _ := up.seen()
	if len(callers) != 1 {
		t.Errorf("the calls came over %d connections, want 1: %v", len(callers), callers)
	}
	if methods["tools/call"] != crowd {
		t.Errorf("%d calls arrived, want %d", methods["tools/call"], crowd)
	}
	if dials := methods["initialize"] - before["initialize"]; dials > 1 {
		t.Errorf("%d dials for the calls, want 1: %v, before %v", dials, methods, before)
	}
	t.Logf("requests upstream before the calls: %v; after: %v", before, methods)
	shown(t, "%d first calls in one session: %d dial", crowd, methods["initialize"]-before["initialize"])
	if err := session.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestACrowdOfFirstCallsToAModernServerCausesOneDial(t *testing.T) {
	for _, version := range []string{"2025-11-25", ""} {
		t.Run("clients of "+version, func(t *testing.T) {
			up := countedServer(t, true)
			g := serve(t, cold(up))
			var sessions [crowd]*mcp.ClientSession
			for i := range sessions {
				if version == "" || i == 0 {
					sessions[i] = goConnect(t, g.mcp("counted"), version, nil)
				} else {
					sessions[i] = sessions[0] // one session, many calls
				}
			}
			before, _, _ := up.seen()
			together(t, func(i int) error { return greet(t.Context(), sessions[i], i) })
			methods, _, _ := up.seen()
			if methods["tools/call"] != crowd {
				t.Errorf("%d calls arrived, want %d", methods["tools/call"], crowd)
			}
			if methods["server/discover"] != 1 || methods["initialize"] != 0 {
				t.Errorf("dialed by %d discover and %d initialize requests, want 1 and 0", methods["server/discover"], methods["initialize"])
			}
			t.Logf("requests upstream before the calls: %v; after: %v", before, methods)
			shown(t, "%d first calls to a modern server, clients of %s: %d dial", crowd, cmp.Or(version, "2026-07-28"), methods["server/discover"])
			for i, session := range sessions {
				if i > 0 && session == sessions[0] {
					break
				}
				if err := session.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}
		})
	}
}

func TestACrowdOfSessionsDialsAStatefulServerOnceEachAndBounded(t *testing.T) {
	up := countedServer(t, false)
	g := serve(t, cold(up))
	var sessions [crowd]*mcp.ClientSession
	for i := range sessions {
		sessions[i] = goConnect(t, g.mcp("counted"), "2025-11-25", nil)
	}
	before, _, _ := up.seen()
	together(t, func(i int) error { return greet(t.Context(), sessions[i], i) })
	methods, callers, peak := up.seen()
	if len(callers) != crowd {
		t.Errorf("the calls of %d sessions came over %d connections", crowd, len(callers))
	}
	for id, n := range callers {
		if n != 1 {
			t.Errorf("connection %s carried %d calls, want the one of its session", id, n)
		}
	}
	// What came before the calls may have left the connection of the first caller.
	if dials := methods["initialize"] - before["initialize"]; dials > crowd || dials < crowd-1 {
		t.Errorf("%d dials for %d sessions: %v, before %v", dials, crowd, methods, before)
	}
	if peak > most {
		t.Errorf("%d dials in flight at once, more than %d", peak, most)
	}
	if peak < 2 {
		t.Errorf("at most %d dial in flight: nothing was bounded, so this test shows nothing", peak)
	}
	shown(t, "%d sessions at a stateful server: %d dials, at most %d in flight", crowd, methods["initialize"]-before["initialize"], peak)
	t.Logf("peak %d dials in flight; requests upstream before the calls: %v; after: %v", peak, before, methods)

	// The end of a session ends its connection, with DELETE.
	together(t, func(i int) error { return sessions[i].Close() })
	deadline := time.Now().Add(30 * time.Second)
	for {
		methods, _, _ = up.seen()
		if methods[http.MethodDelete] >= crowd {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("%d of %d upstream sessions were ended with DELETE", methods[http.MethodDelete], crowd)
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
}
