package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// everyTool calls each tool of npm's server-everything once, in an order that
// leaves nothing running. What is plain needs nothing of the client; the rest
// asks the client something, or is a task of 2025-11-25.
var everyTool = []struct {
	step
	asks  string // the question it asks: form, url, sampling, roots
	tasks bool   // only for clients that speak tasks
	text  string // stands in the answer
}{
	{step: step{Tool: "echo", Args: args{"message": "grüße"}}, text: "Echo: grüße"},
	{step: step{Tool: "get-annotated-message", Args: args{"messageType": "success", "includeImage": true}}, text: "completed successfully"},
	{step: step{Tool: "get-env"}, text: "{"},
	{step: step{Tool: "get-resource-links", Args: args{"count": 3}}, text: "demo://resource/dynamic/"},
	{step: step{Tool: "get-resource-reference", Args: args{"resourceType": "Text", "resourceId": 7}}, text: "demo://resource/dynamic/text/7"},
	{step: step{Tool: "get-structured-content", Args: args{"location": "Chicago"}}, text: "temperature"},
	{step: step{Tool: "get-sum", Args: args{"a": 2, "b": 40}}, text: "is 42"},
	{step: step{Tool: "get-tiny-image"}, text: "MCP logo"},
	{step: step{Tool: "gzip-file-as-resource", Args: args{"name": "a.gz", "data": "data:text/plain,hello", "outputType": "resource"}}, text: "demo://resource/session/a.gz"},
	{step: step{Tool: "toggle-simulated-logging"}, text: "Started"},
	{step: step{Tool: "toggle-simulated-logging"}, text: "Stopped"},
	{step: step{Tool: "toggle-subscriber-updates"}, text: "Started"},
	{step: step{Tool: "toggle-subscriber-updates"}, text: "Stopped"},
	{step: step{Tool: "trigger-long-running-operation", Args: args{"duration": 0.4, "steps": 4}}, text: "completed"},
	{step: step{Tool: "get-roots-list"}, asks: "roots", text: "file:///e2e"},
	{step: step{Tool: "trigger-elicitation-request"}, asks: "form", text: "User provided"},
	{step: step{Tool: "trigger-url-elicitation", Args: args{"url": "https://example.com/"}}, asks: "url", text: "User completed"},
	{step: step{Tool: "trigger-sampling-request", Args: args{"prompt": "p"}}, asks: "sampling", text: "sampled"},
	{step: step{Tool: "simulate-research-query", Args: args{"topic": "jackfields"}, Task: true}, tasks: true, text: "Research Report: jackfields"},
	{step: step{Tool: "trigger-sampling-request-async", Args: args{"prompt": "p"}}, asks: "sampling", tasks: true, text: "[COMPLETED]"},
	{step: step{Tool: "trigger-elicitation-request-async"}, asks: "form", tasks: true, text: "[COMPLETED]"},
}

type args = map[string]any

// plainTools are the names that need nothing of the client.
func plainTools() []string {
	var names []string
	for _, c := range everyTool {
		if c.asks == "" && !c.tasks && !slices.Contains(names, c.Tool) {
			names = append(names, c.Tool)
		}
	}
	return names
}

// callEverything lets the client list and call every tool that it can, and
// compares the answers. final turns a tool's own name into the one at this
// endpoint.
func callEverything(t *testing.T, c tsClient, url string, full bool, final func(string) string) report {
	t.Helper()
	var steps []step
	var texts, names []string
	for _, call := range everyTool {
		if call.tasks && c != client1 || (call.asks != "" || call.tasks) && !full {
			continue
		}
		s := call.step
		s.Tool = final(s.Tool)
		steps, texts, names = append(steps, s), append(texts, call.text), append(names, s.Tool)
	}
	r := c.drive(t, url, full, steps...)
	want(t, "tools/list", r.Tools, names...)
	for i, d := range r.Steps {
		switch {
		case d.Error != "":
			t.Errorf("%v: %s: %s", c, d.Name, d.Error)
		case d.IsError:
			t.Errorf("%v: %s: answered with an error: %s", c, d.Name, d.Text)
		case !strings.Contains(d.Text, texts[i]):
			t.Errorf("%v: %s: answered %q, want %q in it", c, d.Name, d.Text, texts[i])
		}
		if strings.HasSuffix(d.Name, "trigger-long-running-operation") && d.Progress != 4 {
			t.Errorf("%v: %s: %d progress notifications, want 4", c, d.Name, d.Progress)
		}
	}
	return r
}

func own(name string) string { return name }

func under(server string) func(string) string {
	return func(name string) string { return server + "__" + name }
}

// The same server behind three transports, and a filesystem server, in one
// gateway: the setting of the tests below.
func realServers(t *testing.T) (g *gateway, files string) {
	t.Helper()
	files = t.TempDir()
	if err := os.WriteFile(filepath.Join(files, "hello.txt"), []byte("hello from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mark := stdioServer(node, serverEverything)
	mark["env"] = map[string]string{"E2E_MARK": files}
	fs := stdioServer(node, serverFilesystem, files)
	fs["env"] = map[string]string{"E2E_MARK": files}
	return serve(t, servers{
		"stdio": mark,
		"http":  httpServer(npmEverything(t, "streamableHttp")),
		"sse":   {"type": "sse", "url": npmEverything(t, "sse")},
		"files": fs,
	}), files
}

func TestEveryToolOfServerEverythingWorksThroughTheGateway(t *testing.T) {
	g, _ := realServers(t)
	for _, server := range []string{"stdio", "http", "sse"} {
		t.Run(server, func(t *testing.T) {
			t.Run("a client that can be asked and speaks tasks", func(t *testing.T) {
				r := callEverything(t, client1, g.mcp(server), true, own)
				shown(t, "server-everything over %s: %d tools listed, all called", server, len(r.Tools))
				if r.Asked["form"] != 2 || r.Asked["url"] != 1 || r.Asked["sampling"] != 2 || r.Asked["roots"] == 0 {
					t.Errorf("the client was asked %v", r.Asked)
				}
				want(t, "prompts/list", r.Prompts, "simple-prompt", "args-prompt", "completable-prompt", "resource-prompt")
				want(t, "resources/templates/list", r.Templates, "demo://resource/dynamic/text/{resourceId}")
			})
			t.Run("a legacy client that can be asked", func(t *testing.T) {
				callEverything(t, client2Legacy, g.mcp(server), true, own)
			})
			t.Run("a modern client", func(t *testing.T) {
				callEverything(t, client2Modern, g.mcp(server), false, own)
			})
		})
	}
}

func TestAllServersWorkUnderFinalNamesAtOnce(t *testing.T) {
	g, files := realServers(t)
	for _, c := range []tsClient{client2Legacy, client2Modern} {
		t.Run(c.String(), func(t *testing.T) {
			r := callEverything(t, c, g.mcp(""), c.era == "legacy", under("stdio"))
			for _, name := range plainTools() {
				want(t, "tools/list", r.Tools, "http__"+name, "sse__"+name)
			}
			if c.era == "legacy" {
				callEverything(t, c, g.mcp(""), true, under("http"))
			}

			text := "written by " + c.String()
			written := filepath.Join(files, c.String()+".txt")
			r = c.drive(t, g.mcp(""), false,
				step{Tool: "files__list_allowed_directories"},
				step{Tool: "files__read_text_file", Args: args{"path": filepath.Join(files, "hello.txt")}},
				step{Tool: "files__write_file", Args: args{"path": written, "content": text}},
				step{Tool: "files__read_text_file", Args: args{"path": filepath.Join(os.TempDir(), "elsewhere.txt")}},
				step{Prompt: "http__simple-prompt"},
				step{Prompt: "stdio__args-prompt", Args: args{"city": "Lisbon"}},
			)
			for i, text := range []string{files, "hello from a file", "wrote", "denied", "simple prompt", "Lisbon"} {
				if d := r.Steps[i]; d.Error != "" || !strings.Contains(d.Text, text) || d.IsError != (i == 3) {
					t.Errorf("%s: %+v, want %q", d.Name, d, text)
				}
			}
			if got, err := os.ReadFile(written); err != nil || string(got) != text {
				t.Errorf("the file that the call wrote: %q, %v", got, err)
			}
		})
	}
}

func TestResourcesAndCompletionWorkAcrossEras(t *testing.T) {
	g := serve(t, servers{"http": httpServer(npmEverything(t, "streamableHttp"))})
	for _, c := range []tsClient{client1, client2Legacy, client2Modern} {
		for _, at := range []string{"", "http"} {
			prefix := ""
			if at == "" {
				prefix = "http__"
			}
			r := c.drive(t, g.mcp(at), false,
				step{Resource: "demo://resource/static/document/features.md"},
				step{Resource: "demo://resource/dynamic/text/3"},
				step{Complete: args{
					"ref":      args{"type": "ref/prompt", "name": prefix + "completable-prompt"},
					"argument": args{"name": "department", "value": "S"},
				}},
				step{Complete: args{
					"ref":      args{"type": "ref/resource", "uri": "demo://resource/dynamic/text/{resourceId}"},
					"argument": args{"name": "resourceId", "value": "4"},
				}},
			)
			for i, text := range []string{"#", "Resource 3", "Sales,Support", "4"} {
				if d := r.Steps[i]; d.Error != "" || !strings.Contains(d.Text, text) {
					t.Errorf("%v at /mcp/%s: step %d: %+v, want %q", c, at, i, d, text)
				}
			}
		}
	}
}

func TestNoChildOutlivesTheGateway(t *testing.T) {
	g, files := realServers(t)
	client2Modern.drive(t, g.mcp("stdio"), false, step{Tool: "echo", Args: args{"message": "here"}})
	client2Legacy.drive(t, g.mcp("files"), false, step{Tool: "list_allowed_directories"})
	if len(marked(t, files)) == 0 {
		t.Fatal("no child of the gateway is running, so this test shows nothing")
	}
	if err := g.stop(20 * time.Second); err != nil {
		t.Fatalf("jackfield did not stop cleanly: %v", err)
	}
	if pids := marked(t, files); len(pids) > 0 {
		t.Errorf("children are still running after the gateway has ended: %v", pids)
	}
}

// marked lists the processes whose environment holds E2E_MARK=mark.
func marked(t *testing.T, mark string) []string {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil || len(environs) == 0 {
		t.Fatalf("no /proc to look for children in: %v", err)
	}
	var pids []string
	for _, file := range environs {
		env, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile, or somebody else's
		}
		if slices.Contains(strings.Split(string(env), "\x00"), "E2E_MARK="+mark) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}
