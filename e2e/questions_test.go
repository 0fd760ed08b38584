package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// answered fails unless each step ended well with its text in the answer.
func answered(t *testing.T, who string, steps []done, texts ...string) {
	t.Helper()
	for i, d := range steps {
		if d.Error != "" || d.IsError || !strings.Contains(d.Text, texts[i]) {
			t.Errorf("%s: %s: %+v, want %q", who, d.Name, d, texts[i])
		}
	}
}

// Within one era the whole conversation passes: questions asked while a call is
// open (legacy) or as its result (modern), progress, log messages.
func TestServersAskClientsOfTheirOwnEra(t *testing.T) {
	g := serve(t, servers{
		"stateful":  httpServer(goEverything(t, false)),
		"stateless": httpServer(goEverything(t, true)),
		"stdio":     stdioServer(everythingBin), // modern
	})
	for _, at := range []struct{ endpoint, prefix string }{{"", "stateful__"}, {"stateful", ""}} {
		for _, c := range []tsClient{client1, client2Legacy} {
			r := c.drive(t, g.mcp(at.endpoint), true,
				step{Tool: at.prefix + "test_sampling", Args: args{"prompt": "p"}},
				step{Tool: at.prefix + "test_elicitation", Args: args{"message": "m"}},
				step{Tool: at.prefix + "test_elicitation_sep1034_defaults"},
				step{Tool: at.prefix + "test_input_required_result_elicitation"},
				step{Tool: at.prefix + "test_tool_with_progress"},
				step{Tool: at.prefix + "test_tool_with_logging"},
			)
			answered(t, c.String()+" at /mcp/"+at.endpoint, r.Steps, "LLM response: sampled", "username:Ann", "name:John Doe", "Hello, Ann!", "", "successfully")
			if r.Asked["sampling"] != 1 || r.Asked["form"] != 3 {
				t.Errorf("%v was asked %v", c, r.Asked)
			}
			if r.Steps[4].Progress != 3 {
				t.Errorf("%v heard of progress %d times, want 3", c, r.Steps[4].Progress)
			}
		}
	}
	// The servers have the same URIs, so that at /mcp they need the server's name.
	for _, at := range []struct{ endpoint, prefix, uri string }{
		{"", "stateless__", "jackfield://stateless/test:%2F%2Ftemplate%2F7%2Fdata"},
		{"stateless", "", "test://template/7/data"},
		{"", "stdio__", "jackfield://stdio/test:%2F%2Ftemplate%2F7%2Fdata"},
		{"stdio", "", "test://template/7/data"},
	} {
		r := client2Modern.drive(t, g.mcp(at.endpoint), true,
			step{Tool: at.prefix + "test_input_required_result_elicitation"},
			step{Tool: at.prefix + "test_input_required_result_sampling"},
			step{Tool: at.prefix + "test_input_required_result_list_roots"},
			step{Tool: at.prefix + "test_input_required_result_request_state"},
			step{Tool: at.prefix + "test_input_required_result_multiple_inputs"},
			step{Tool: at.prefix + "test_input_required_result_multi_round"},
			step{Prompt: at.prefix + "test_input_required_result_prompt"},
			step{Tool: at.prefix + "test_missing_capability"},
			step{Tool: at.prefix + "test_tool_with_progress"},
			step{Resource: at.uri},
		)
		answered(t, "modern at /mcp/"+at.endpoint+" "+at.prefix, r.Steps,
			"Hello, Ann!", "sampled", "file:///e2e", "state-ok", "sampled Ann", "Multi-round complete", "Ann", "sampling capability", "", "Data for ID: 7")
		if r.Steps[8].Progress != 3 {
			t.Errorf("a modern client heard of progress %d times, want 3", r.Steps[8].Progress)
		}
	}
}

// A question crosses the eras, and so does the next plain call. The matrix of
// revisions looks at every kind; here the servers are not ours.
func TestQuestionsCrossTheEras(t *testing.T) {
	g := serve(t, servers{
		"stateful":  httpServer(goEverything(t, false)),
		"stateless": httpServer(goEverything(t, true)),
		"npm":       httpServer(npmEverything(t, "streamableHttp")),
	})
	plain := step{Tool: "test_simple_text"}
	modern := client2Modern.drive(t, g.mcp("stateful"), true, step{Tool: "test_elicitation", Args: args{"message": "m"}}, step{Tool: "test_sampling", Args: args{"prompt": "p"}}, plain)
	answered(t, "modern client, legacy server", modern.Steps, "username:Ann", "sampled", "simple text")
	modern = client2Modern.drive(t, g.mcp("npm"), true, step{Tool: "trigger-elicitation-request"}, step{Tool: "get-roots-list"}, step{Tool: "echo", Args: args{"message": "hi"}})
	answered(t, "modern client, npm's server", modern.Steps, "User provided", "file:///e2e", "Echo: hi")
	for _, c := range []tsClient{client1, client2Legacy} {
		legacy := c.drive(t, g.mcp("stateless"), true,
			step{Tool: "test_input_required_result_elicitation"}, step{Tool: "test_input_required_result_multi_round"}, step{Prompt: "test_input_required_result_prompt"}, plain)
		answered(t, c.String()+", modern server", legacy.Steps, "Hello, Ann!", "Multi-round complete", "Ann", "simple text")
	}
}

// A client that gives a call up cancels it at the server: a legacy one by a
// notification, a modern one by closing the stream.
func TestCancellingACallReachesTheServer(t *testing.T) {
	for _, era := range []struct {
		version   string
		stateless bool
	}{{"2025-11-25", false}, {"", true}, {"2025-11-25", true}, {"", false}} {
		up := countedServer(t, era.stateless)
		g := serve(t, cold(up))
		for _, endpoint := range []string{"counted", ""} {
			session := goConnect(t, g.mcp(endpoint), era.version, nil)
			tool := "wait"
			if endpoint == "" {
				tool = "counted__wait"
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool})
				ended <- err
			}()
			select {
			case <-up.waiting:
			case err := <-ended:
				t.Fatalf("version %q, stateless %v, /mcp/%s: the call ended at once: %v", era.version, era.stateless, endpoint, err)
			case <-time.After(20 * time.Second):
				t.Fatalf("version %q, stateless %v, /mcp/%s: the call never arrived", era.version, era.stateless, endpoint)
			}
			cancel()
			select {
			case <-up.cancelled:
			case <-time.After(10 * time.Second):
				t.Errorf("version %q, stateless %v, /mcp/%s: the server was not told within 10 s", era.version, era.stateless, endpoint)
			}
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the cancelled call: %v", err)
			}
			if err := session.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	}
}

// What changes at a server reaches clients that listen, of either era.
func TestChangesReachClientsThatListen(t *testing.T) {
	for _, stateless := range []bool{false, true} {
		for _, version := range []string{"2025-11-25", ""} {
			for _, endpoint := range []string{"counted", ""} {
				up := countedServer(t, stateless)
				g := serve(t, servers{"counted": httpServer(up.url)})
				changed := make(chan struct{}, 100)
				session := goConnect(t, g.mcp(endpoint), version, &mcp.ClientOptions{
					ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
				})
				tool := "greet"
				if endpoint == "" {
					tool = "counted__greet"
				}
				if got := callText(t, session, tool, args{"name": "Ann"}); got != "hello Ann" {
					t.Errorf("greet answered %q", got)
				}
				// The stream upstream opens behind the call; what happens before that is
				// nobody's to know.
				deadline := time.Now().Add(20 * time.Second)
				up.addTool("late")
				for heard := false; !heard; {
					select {
					case <-changed:
						heard = true
					case <-time.After(500 * time.Millisecond):
						if time.Now().After(deadline) {
							t.Errorf("stateless %v, version %q, /mcp/%s: no tools/list_changed within 20 s", stateless, version, endpoint)
							heard = true
						}
						up.addTool("late")
					}
				}
				var names []string
				for tool, err := range session.Tools(t.Context(), nil) {
					if err != nil {
						t.Fatal(err)
					}
					names = append(names, tool.Name)
				}
				want(t, "tools/list after the change", names, strings.TrimSuffix(tool, "greet")+"late")
				if err := session.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}
		}
	}
}
