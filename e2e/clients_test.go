package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// plainCall is a tool of one server of the clients' test, without questions.
type plainCall struct {
	server, tool string
	args         map[string]any
	text         string
}

var plainCalls = []plainCall{
	{"everything", "echo", args{"message": "hi"}, "Echo: hi"},
	{"stateful", "test_simple_text", nil, "This is a simple text response for testing."},
	{"stateless", "test_simple_text", nil, "This is a simple text response for testing."},
	{"stdio", "test_simple_text", nil, "This is a simple text response for testing."},
}

// clientsGateway stands in front of servers of both eras and three transports.
func clientsGateway(t *testing.T) *gateway {
	t.Helper()
	return serve(t, servers{
		"everything": httpServer(npmEverything(t, "streamableHttp")),
		"stateful":   httpServer(goEverything(t, false)),
		"stateless":  httpServer(goEverything(t, true)),
		"stdio":      stdioServer(everythingBin),
	})
}

// Each official client lists and calls tools of servers of either era, under
// final names at /mcp and under their own at /mcp/{server}.
func TestOfficialClientsListAndCallTools(t *testing.T) {
	g := clientsGateway(t)

	for _, c := range []tsClient{client1, client2Legacy, client2Auto, client2Modern} {
		t.Run(c.String(), func(t *testing.T) {
			var steps []step
			for _, call := range plainCalls {
				steps = append(steps, step{Tool: call.server + "__" + call.tool, Args: call.args})
			}
			r := c.drive(t, g.mcp(""), false, steps...)
			for i, call := range plainCalls {
				want(t, "tools/list", r.Tools, steps[i].Tool)
				if d := r.Steps[i]; d.Error != "" || d.IsError || d.Text != call.text {
					t.Errorf("%s: %+v, want %q", d.Name, d, call.text)
				}
				one := c.drive(t, g.mcp(call.server), false, step{Tool: call.tool, Args: call.args})
				want(t, "tools/list of one", one.Tools, call.tool)
				if d := one.Steps[0]; d.Error != "" || d.IsError || d.Text != call.text {
					t.Errorf("/mcp/%s: %s: %+v, want %q", call.server, d.Name, d, call.text)
				}
			}
		})
	}

	for _, version := range []string{"", "2025-11-25", "2025-06-18", "2025-03-26"} {
		t.Run("go-sdk-"+version, func(t *testing.T) {
			for _, call := range plainCalls {
				goCall(t, g.mcp(""), version, plainCall{call.server, call.server + "__" + call.tool, call.args, call.text})
				goCall(t, g.mcp(call.server), version, call)
			}
		})
	}

	for _, era := range []string{"legacy", "auto", "modern"} {
		t.Run("inspector-"+era, func(t *testing.T) {
			var names []string
			for _, call := range plainCalls {
				call.tool = call.server + "__" + call.tool
				inspectorCall(t, g.mcp(""), era, call)
				names = append(names, call.tool)
			}
			inspectorLists(t, g.mcp(""), era, names...)
			inspectorCall(t, g.mcp("stateless"), era, plainCalls[2])
			inspectorLists(t, g.mcp("stateless"), era, plainCalls[2].tool)
		})
	}
}

// goConnect connects the go-sdk's client; version pins a legacy revision, ""
// lets it negotiate.
func goConnect(t *testing.T, url, version string, options *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e-go", Version: "1.0.0"}, options)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: url}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatalf("go-sdk: connect to %s: %v", url, err)
	}
	return session
}

func goCall(t *testing.T, url, version string, call plainCall) {
	t.Helper()
	session := goConnect(t, url, version, nil)
	defer func() {
		if err := session.Close(); err != nil {
			t.Errorf("go-sdk: close: %v", err)
		}
	}()
	wantVersion := version
	if wantVersion == "" {
		wantVersion = "2026-07-28"
	}
	if got := session.InitializeResult().ProtocolVersion; got != wantVersion {
		t.Errorf("go-sdk at %s agreed on %s, want %s", url, got, wantVersion)
	}
	var names []string
	for tool, err := range session.Tools(t.Context(), nil) {
		if err != nil {
			t.Fatalf("go-sdk: list at %s: %v", url, err)
		}
		names = append(names, tool.Name)
	}
	want(t, "tools/list", names, call.tool)
	if got := callText(t, session, call.tool, call.args); got != call.text {
		t.Errorf("go-sdk: %s at %s answered %q, want %q", call.tool, url, got, call.text)
	}
}

// callText calls a tool and returns its text.
func callText(t *testing.T, session *mcp.ClientSession, tool string, arguments any) string {
	t.Helper()
	result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		t.Errorf("go-sdk: %s: %v", tool, err)
		return ""
	}
	var text strings.Builder
	for _, c := range result.Content {
		if c, ok := c.(*mcp.TextContent); ok {
			text.WriteString(c.Text)
		}
	}
	if result.IsError {
		t.Errorf("go-sdk: %s answered with an error: %s", tool, text.String())
	}
	return text.String()
}

// inspectorLists lists tools with the Inspector's command line.
func inspectorLists(t *testing.T, url, era string, tools ...string) {
	t.Helper()
	var listed struct {
		Result struct {
			Tools []struct {
				Name string `json:"name"`
			} `json:"tools"`
		} `json:"result"`
	}
	inspector(t, &listed, url, era, "--method", "tools/list")
	var names []string
	for _, tool := range listed.Result.Tools {
		names = append(names, tool.Name)
	}
	want(t, "tools/list", names, tools...)
}

// inspectorCall calls a tool with the Inspector's command line.
func inspectorCall(t *testing.T, url, era string, call plainCall) {
	t.Helper()
	arguments, err := json.Marshal(call.args)
	if err != nil || call.args == nil {
		arguments = []byte("{}")
	}
	var called struct {
		Result struct {
			Content []struct {
				Text string `json:"text"`
			} `json:"content"`
			IsError bool `json:"isError"`
		} `json:"result"`
	}
	inspector(t, &called, url, era, "--method", "tools/call", "--tool-name", call.tool, "--tool-args-json", string(arguments))
	if c := called.Result.Content; called.Result.IsError || len(c) != 1 || c[0].Text != call.text {
		t.Errorf("inspector %s: %s at %s answered %+v, want %q", era, call.tool, url, called.Result, call.text)
	}
}

func inspector(t *testing.T, into any, url, era string, arguments ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node22, append([]string{
		filepath.Join(npm, "node_modules/.bin/mcp-inspector"), "--cli", url,
		"--transport", "http", "--format", "json", "-q", "--protocol-era", era,
	}, arguments...)...)
	cmd.Env = cleanEnv("HOME="+t.TempDir(), fmt.Sprintf("PATH=%s", filepath.Dir(node22)))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("inspector %s %v at %s: %v\n%s%s", era, arguments, url, err, stdout.String(), stderr.String())
	}
	if err := json.Unmarshal(stdout.Bytes(), into); err != nil {
		t.Fatalf("inspector %s %v at %s: %v\n%s", era, arguments, url, err, stdout.String())
	}
}
