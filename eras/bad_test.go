package eras

import (
	"context"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

const anAnswer = `{"action":"accept","content":{"by":"the right one"}}`

func TestAnswersToQuestionsThatNobodyAskedChangeNothing(t *testing.T) {
	cells(t, func(t *testing.T, c *client, _ *upstreamtest.Server) {
		if !c.modern() {
			for _, id := range []string{"1", `"1"`, "123456789012345", `"ask-1"`} {
				c.send(`{"jsonrpc":"2.0","id":` + id + `,"result":{"action":"accept"}}`)
				c.send(`{"jsonrpc":"2.0","id":` + id + `,"error":{"code":-1,"message":"no"}}`)
			}
			if got := c.call("echo", `{"text":"well"}`, ""); got != "well" {
				t.Errorf("got %s", got)
			}
			return
		}
		result, failed := c.once(t.Context(), "tools/call", `{"name":"echo","arguments":{"text":"well"}}`, `"inputResponses":{"q1":{"action":"accept"},"never":{}}`, "")
		if failed != nil || !strings.Contains(string(result), `"well"`) {
			t.Errorf("%s %v", result, failed)
		}
		_, failed = c.once(t.Context(), "tools/call", `{"name":"echo","arguments":{}}`, `"inputResponses":{},"requestState":"round 1"`, "")
		if failed == nil || failed.Code != wire.CodeInvalidParams {
			t.Errorf("a state that was never given: %v", failed)
		}
	})
}

func TestAStateIsGoodForItsServerAndItsRequestOnly(t *testing.T) {
	both := map[string]upstreamtest.Script{"modern": {}, "legacy": {Era: upstreamtest.Legacy}, "other": {}}
	h := open(t, both)
	const ask = `{"name":"ask","arguments":{"times":1}}`
	for _, name := range []string{"modern", "legacy"} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, h.url, "/mcp/"+name, exchange.Modern, allCaps(exchange.Modern))
			first, failed := c.once(t.Context(), "tools/call", ask, "", "")
			if failed != nil {
				t.Fatal(failed)
			}
			_, taken, err := without(string(first), "requestState", "inputRequests")
			if err != nil {
				t.Fatal(err)
			}
			state := taken["requestState"]
			answers := `"inputResponses":{"q1":` + anAnswer + `},"requestState":`
			other := connect(t, h.url, "/mcp/other", exchange.Modern, allCaps(exchange.Modern))
			for what, try := range map[string]func() *wire.Error{
				"tampered": func() *wire.Error {
					_, e := c.once(t.Context(), "tools/call", ask, answers+strings.Replace(state, state[20:22], "__", 1), "")
					return e
				},
				"at another server": func() *wire.Error {
					_, e := other.once(t.Context(), "tools/call", ask, answers+state, "")
					return e
				},
				"for another request": func() *wire.Error {
					_, e := c.once(t.Context(), "tools/call", `{"name":"ask","arguments":{"times":2}}`, answers+state, "")
					return e
				},
				"for another method": func() *wire.Error {
					_, e := c.once(t.Context(), "resources/read", `{"uri":"test://a"}`, answers+state, "")
					return e
				},
			} {
				if e := try(); e == nil || e.Code != wire.CodeInvalidParams {
					t.Errorf("%s: %v", what, e)
				}
			}
			for range 2 { // what was refused has cost nothing, and what was answered may be asked for again
				result, failed := c.once(t.Context(), "tools/call", ask, answers+state, "")
				if failed != nil || !strings.Contains(string(result), "the right one") {
					t.Errorf("%s %v", result, failed)
				}
			}
		})
	}
}

func TestOnlyWhoWasAskedCanAnswerAndOnlyOnce(t *testing.T) {
	both := map[string]upstreamtest.Script{"modern": {}, "legacy": {Era: upstreamtest.Legacy}}
	h := open(t, both)
	for name := range both {
		t.Run(name, func(t *testing.T) {
			c := connect(t, h.url, "/mcp/"+name, exchange.V20251125, allCaps(exchange.V20251125))
			thief := connect(t, h.url, "/mcp/"+name, exchange.V20251125, allCaps(exchange.V20251125))
			c.asking = func(id wire.Raw) {
				thief.send(string(wire.AppendResult(nil, id, wire.Raw(`{"action":"accept","content":{"by":"a thief"}}`))))
				c.send(string(wire.AppendResult(nil, id, wire.Raw(anAnswer))))
			}
			c.answer = func(string, wire.Raw) string { return `{"action":"accept","content":{"by":"the same once more"}}` }
			if got := c.call("ask", `{}`, ""); !strings.Contains(got, "the right one") {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestAQuestionOutsideAnyCallIsPutToNobodyElse(t *testing.T) {
	h := open(t, map[string]upstreamtest.Script{"legacy": {Era: upstreamtest.Legacy}})
	s := h.servers["legacy"]
	told := make(chan string, 10)
	s.OnAnswer(func(text string) { told <- text })
	modern := connect(t, h.url, "/mcp/legacy", exchange.Modern, allCaps(exchange.Modern))
	modern.call("echo", `{}`, "")
	modern.listen(`{"toolsListChanged":true}`)
	s.WaitListeners(t, 1)
	s.AskAtLarge("elicitation/create", `{"message":"?","requestedSchema":{"type":"object","properties":{}}}`)
	answer := func() string {
		select {
		case got := <-told:
			return got
		case <-patience(t):
			t.Fatal("the server waits for its answer")
			return ""
		}
	}
	if got := answer(); !strings.Contains(got, "decline") {
		t.Errorf("modern: %s", got)
	}
	s.AskAtLarge("roots/list", `{}`)
	if got := answer(); !strings.Contains(got, "not possible") {
		t.Errorf("modern: %s", got)
	}
}

func TestAQuestionWithTwoCallsOpenOnOneProcessIsNotGuessed(t *testing.T) {
	h := open(t, map[string]upstreamtest.Script{"stdio": {Era: upstreamtest.Legacy, Transport: jackfield.TransportStdio}})
	s := h.servers["stdio"]
	c := connect(t, h.url, "/mcp/stdio", exchange.Modern, allCaps(exchange.Modern))
	other := connect(t, h.url, "/mcp/stdio", exchange.Modern, allCaps(exchange.Modern))
	c.call("echo", `{}`, "")
	ctx, leave := context.WithCancel(t.Context())
	slow := make(chan struct{})
	go func() {
		defer close(slow)
		_, _ = other.once(ctx, "tools/call", `{"name":"slow","arguments":{}}`, "", "")
	}()
	s.Wait(t, "tool:slow", 1)
	// Nobody knew that this server asks at large: both calls are open.
	if got := c.call("ask", `{}`, ""); !strings.Contains(got, "decline") {
		t.Errorf("whose question is it? %s", got)
	}
	leave()
	<-slow
	// Now it is known, and whoever can be asked waits for its turn.
	c.answer = func(string, wire.Raw) string { return anAnswer }
	other.answer = func(string, wire.Raw) string { return `{"action":"accept","content":{"by":"the wrong one"}}` }
	slow = make(chan struct{})
	go func() {
		defer close(slow)
		other.call("slow", `{"ms":300}`, "")
	}()
	if got := c.call("ask", `{}`, ""); !strings.Contains(got, "the right one") {
		t.Errorf("got %s", got)
	}
	<-slow
}
