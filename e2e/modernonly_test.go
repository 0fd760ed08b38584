package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// modernOnly starts an everything-server that speaks 2026-07-28 and nothing else:
// the go-sdk's, which would also take older clients, behind a door that refuses
// them. Four of its tools ask their client while the call is open, which the
// revision has no way for; a second server of the go-sdk answers those four with the
// questions as their result.
func modernOnly(t *testing.T) string {
	t.Helper()
	everything, err := url.Parse(goEverything(t, true))
	if err != nil {
		t.Fatal(err)
	}
	everything.Path = ""
	rest := httputil.NewSingleHostReverseProxy(everything)
	rest.FlushInterval = -1
	asks := askingTools()
	four := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return asks }, &mcp.StreamableHTTPOptions{Stateless: true})

	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	door := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		message := struct {
			ID     json.RawMessage
			Params struct{ Name string }
		}{ID: json.RawMessage("null")}
		_ = json.Unmarshal(body, &message)
		r.Body = io.NopCloser(bytes.NewReader(body))
		switch {
		case r.Header.Get("Mcp-Protocol-Version") != modern:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32022,"message":"unsupported protocol version","data":{"supported":[%q]}}}`,
				message.ID, modern)
		case slices.Contains(asking, message.Params.Name):
			four.ServeHTTP(w, r)
		default:
			rest.ServeHTTP(w, r)
		}
	})}
	go func() { _ = door.Serve(l) }()
	t.Cleanup(func() { _ = door.Close() })
	return "http://" + l.Addr().String() + "/mcp"
}

var asking = []string{"test_sampling", "test_elicitation", "test_elicitation_sep1034_defaults", "test_elicitation_sep1330_enums"}

// askingTools are the four with the names, arguments and texts that the suite
// expects.
func askingTools() *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "asking", Version: "1.0.0"}, &mcp.ServerOptions{SupportedProtocolVersions: []string{modern}})
	add := func(name string, question func(in args) mcp.InputRequest, say func(mcp.InputResponse) string) {
		server.AddTool(&mcp.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`)},
			func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				if answer := req.Params.InputResponses["it"]; answer != nil {
					return text("%s", say(answer)), nil
				}
				var in args
				if err := json.Unmarshal(req.Params.Arguments, &in); err != nil {
					return nil, err
				}
				return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"it": question(in)}}, nil
			})
	}
	elicit := func(name, message, properties string) {
		add(name, func(in args) mcp.InputRequest {
			given, _ := in["message"].(string)
			return &mcp.ElicitParams{Mode: "form", Message: cmp.Or(given, message), RequestedSchema: json.RawMessage(`{"type":"object","properties":` + properties + `}`)}
		}, func(a mcp.InputResponse) string {
			e := a.(*mcp.ElicitResult)
			return fmt.Sprintf("Elicitation result: action=%s, content=%v", e.Action, e.Content)
		})
	}
	add("test_sampling", func(in args) mcp.InputRequest {
		return &mcp.CreateMessageParams{MaxTokens: 100, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: fmt.Sprint(in["prompt"])}}}}
	}, func(a mcp.InputResponse) string {
		said, _ := a.(*mcp.CreateMessageWithToolsResult).Content[0].(*mcp.TextContent)
		return "LLM response: " + said.Text
	})
	elicit("test_elicitation", "", `{"username":{"type":"string"}}`)
	elicit("test_elicitation_sep1034_defaults", "Test defaults", `{
		"name":{"type":"string","default":"John Doe"},
		"age":{"type":"integer","default":30},
		"score":{"type":"number","default":95.5},
		"status":{"type":"string","enum":["active","inactive","pending"],"default":"active"},
		"verified":{"type":"boolean","default":true}}`)
	elicit("test_elicitation_sep1330_enums", "Test enums", `{
		"untitledSingle":{"type":"string","enum":["option1","option2","option3"]},
		"titledSingle":{"type":"string","oneOf":[{"const":"value1","title":"First Option"},{"const":"value2","title":"Second Option"},{"const":"value3","title":"Third Option"}]},
		"legacyEnum":{"type":"string","enum":["opt1","opt2","opt3"],"enumNames":["Option One","Option Two","Option Three"]},
		"untitledMulti":{"type":"array","minItems":1,"maxItems":3,"items":{"type":"string","enum":["option1","option2","option3"]}},
		"titledMulti":{"type":"array","minItems":1,"maxItems":3,"items":{"anyOf":[{"const":"value1","title":"First Choice"},{"const":"value2","title":"Second Choice"},{"const":"value3","title":"Third Choice"}]}}}`)
	return server
}
