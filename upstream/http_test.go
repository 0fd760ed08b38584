package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

func (w *crew) size() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

func TestCallsShareSockets(t *testing.T) {
	for _, name := range []string{"modern, streams", "modern, JSON", "legacy, streams", "legacy, JSON", "HTTP+SSE"} {
		t.Run(name, func(t *testing.T) {
			d := patch(t, upstreamtest.New(t, everyKind[name]))
			crew := d.crew.size()
			for range 300 {
				d.call(t, "echo", `{"text":"x"}`)
				// A socket is free again once the end of the stream has arrived, a moment
				// after the answer.
				for d.crew.size() > crew {
					runtime.Gosched()
				}
			}
			if n := d.s.Count("socket"); n > 3 {
				t.Errorf("%d sockets for 300 calls", n)
			}
		})
	}
}

func TestClosingDeletesTheSession(t *testing.T) {
	for name, want := range map[string]int{"legacy, streams": 1, "sessionless": 0, "modern, streams": 0, "HTTP+SSE": 0} {
		t.Run(name, func(t *testing.T) {
			s := upstreamtest.New(t, everyKind[name])
			d := &desk{}
			c, err := Dial(t.Context(), d.optionsFor(s))
			if err != nil {
				t.Fatal(err)
			}
			shut(t, c)
			if s.Count(http.MethodDelete) != want {
				t.Errorf("%d × DELETE", s.Count(http.MethodDelete))
			}
			if name == "legacy, streams" && s.Sessions() != 0 {
				t.Errorf("%d sessions are left", s.Sessions())
			}
		})
	}
}

func TestClosingToleratesAServerThatKeepsItsSessions(t *testing.T) {
	for _, status := range []int{405, 404, 400} {
		s := upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, Faults: []Fault{{Method: http.MethodDelete, Status: status}}})
		patch(t, s)
	}
}

func TestClosingDoesNotWaitForADeafServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, InProcess: true, Faults: []Fault{{Method: http.MethodDelete, Hang: true}}})
		d := &desk{}
		c, err := Dial(t.Context(), d.optionsFor(s))
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Close(ctx); err == nil {
			t.Error("no word about the session that is left")
		}
		if took := time.Since(begun); took != closeTimeout {
			t.Errorf("took %v", took)
		}
	})
}

func TestAForgottenSessionFailsTheCallAndSaysThatItWasNotSent(t *testing.T) {
	for name, answer := range map[string]Fault{
		"404":                    {},
		"400 as some servers do": {Status: 400, Type: "application/json", Body: `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}`},
		"400 of a Python server": {Status: 400, Type: "application/json", Body: `{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Bad Request: No valid session ID provided"}}`},
		"404 of a Python server": {Status: 404, Type: "application/json", Body: `{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Session not found"}}`},
		"404 of a C# server":     {Status: 404, Type: "application/json", Body: `{"error":{"code":-32001,"message":"Session not found"},"id":"","jsonrpc":"2.0"}`},
		"400 in plain words":     {Status: 400, Type: "text/plain", Body: "Invalid or missing session ID"},
		"401 in plain words":     {Status: 401, Type: "text/plain", Body: "Unauthorized: Session not found"},
		"405":                    {Status: 405},
		"200 with an error":      {Status: 200, Type: "application/json", Body: `{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}`},
		"400 after a restart":    {Status: 400, Type: "application/json", Body: `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: Server not initialized"},"id":null}`},
	} {
		t.Run(name, func(t *testing.T) {
			d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy}))
			if answer.Status == 0 {
				d.s.Forget()
			} else {
				answer.Method = http.MethodPost
				d.s.Fault(answer)
			}
			_, err := d.Do(t.Context(), tool(t, d.Conn, "echo", `{}`), nil)
			if jackfield.CodeOf(err) != jackfield.Unavailable || !NotSent(err) || !strings.Contains(err.Error(), "forgotten the session") {
				t.Errorf("got %v, not sent: %v", err, NotSent(err))
			}
			if d.Err() == nil {
				t.Error("the connection counts as alive")
			}
			d.s.Heal()
		})
	}
}

func TestASessionThatIsLostIsToldBeforeTheCallFails(t *testing.T) {
	for name, c := range map[string]struct {
		era   upstreamtest.Era
		calls []string
		state bool
	}{
		"after a call that may have changed something": {upstreamtest.Legacy, []string{"tools/list", "tools/call"}, true},
		"after reading":     {upstreamtest.Legacy, []string{"prompts/get", "resources/read"}, false},
		"unused":            {upstreamtest.Legacy, nil, false},
		"where there is no": {upstreamtest.Sessionless, []string{"tools/call"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var lost []bool
			d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: c.era}), func(o *Options) {
				o.Hooks.Lost = func(why error, state bool) {
					if why == nil {
						t.Error("no reason")
					}
					lost = append(lost, state)
				}
			})
			for _, method := range c.calls {
				r := tool(t, d.Conn, "echo", `{}`)
				r.Method = method
				if _, err := d.Do(t.Context(), r, nil); err != nil {
					t.Fatal(err)
				}
			}
			d.s.Fault(Fault{Method: http.MethodPost, Status: 404})
			for range 2 {
				if _, err := d.Do(t.Context(), tool(t, d.Conn, "echo", `{}`), nil); !NotSent(err) {
					t.Errorf("got %v", err)
				}
				if len(lost) != 1 || lost[0] != c.state {
					t.Errorf("told %v", lost)
				}
			}
		})
	}
}

func TestALostSessionLeavesTheCallsThatAreOpen(t *testing.T) {
	s := upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy})
	d := patch(t, s)
	open := make(chan error, 1)
	go func() {
		_, err := d.Do(t.Context(), tool(t, d.Conn, "slow", `{"ms":300}`), nil)
		open <- err
	}()
	s.Wait(t, "tool:slow", 1)
	s.Forget()
	if _, err := d.Do(t.Context(), tool(t, d.Conn, "echo", `{}`), nil); !NotSent(err) || d.Err() == nil {
		t.Errorf("got %v; Err: %v", err, d.Err())
	}
	if err := <-open; err != nil {
		t.Errorf("the call that was open: %v", err)
	}
	if err := d.Close(t.Context()); err != nil || s.Count(http.MethodDelete) != 0 {
		t.Errorf("closing: %v, %d sessions deleted that the server does not know", err, s.Count(http.MethodDelete))
	}
}

func TestAnErrorAboutTheRequestIsTheAnswerWhateverItsStatus(t *testing.T) {
	for _, era := range []upstreamtest.Era{upstreamtest.Legacy, upstreamtest.Modern} {
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: era}))
		for _, status := range []int{400, 404, 500} {
			res, err := d.Do(t.Context(), tool(t, d.Conn, "status",
				fmt.Sprintf(`{"code":%d,"text":"{\"jsonrpc\":\"2.0\",\"id\":ID,\"error\":{\"code\":-32602,\"message\":\"no such session to rename\"}}"}`, status)), nil)
			if err != nil || res.Err == nil || res.Err.Code != wire.CodeInvalidParams {
				t.Errorf("%s, %d: got %+v, %v", era, status, res.Err, err)
			}
		}
		if d.Err() != nil {
			t.Errorf("%s: the connection is dead: %v", era, d.Err())
		}
	}
}

// What a tool says of sessions of its own, in an answer to the very call, is no word
// about ours: a call that did something must not be taken for one that was not sent.
func TestAToolsWordAboutItsOwnSessionsIsTheAnswer(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy}))
	res, err := d.Do(t.Context(), tool(t, d.Conn, "status",
		`{"code":400,"text":"{\"jsonrpc\":\"2.0\",\"id\":ID,\"error\":{\"code\":-32000,\"message\":\"the browser session crashed after the form was sent\"}}"}`), nil)
	if err != nil || res.Err == nil || res.Err.Code != -32000 {
		t.Errorf("got %+v, %v; not sent: %v", res.Err, err, NotSent(err))
	}
	res, err = d.Do(t.Context(), tool(t, d.Conn, "status",
		`{"code":400,"text":"{\"jsonrpc\":\"2.0\",\"id\":ID,\"error\":{\"code\":-32000,\"message\":\"Bad Request: No valid session-id, or none: session id missing\"}}"}`), nil)
	if !NotSent(err) || !strings.Contains(err.Error(), "forgotten the session") {
		t.Errorf("got %+v, %v", res.Err, err)
	}
}

func TestACallThatFailsSaysWhyAndWhetherItWasSent(t *testing.T) {
	for _, era := range []upstreamtest.Era{upstreamtest.Modern, upstreamtest.Legacy} {
		for name, c := range map[string]struct {
			tool, arguments string
			code            jackfield.Code
			notSent         bool
			says            string
		}{
			"breaks off":   {"drop", `{}`, jackfield.Unavailable, false, "broke the connection off before it answered"},
			"401":          {"status", `{"code":401}`, jackfield.AuthRequired, true, "HTTP 401"},
			"401, in JSON": {"status", `{"code":401,"text":"{\"jsonrpc\":\"2.0\",\"id\":ID,\"error\":{\"code\":-32602,\"message\":\"sign in\"}}"}`, jackfield.AuthRequired, true, "HTTP 401"},
			"429, in JSON": {"status", `{"code":429,"text":"{\"jsonrpc\":\"2.0\",\"id\":ID,\"error\":{\"code\":-32602,\"message\":\"slowly\"}}"}`, jackfield.Exhausted, true, "slowly"},
			"403":          {"status", `{"code":403}`, jackfield.Forbidden, true, "HTTP 403"},
			"429":          {"status", `{"code":429,"after":"3"}`, jackfield.Exhausted, true, "left alone for 3s"},
			"500":          {"status", `{"code":500}`, jackfield.Unavailable, false, "HTTP 500"},
			"503":          {"status", `{"code":503,"after":"Mon, 01 Jan 2001 00:00:00 GMT"}`, jackfield.Unavailable, false, "HTTP 503"},
			"302":          {"status", `{"code":302}`, jackfield.Unavailable, false, "redirects are not followed"},
			"garbage":      {"garbage", `{"text":"?!"}`, jackfield.Unavailable, false, "is not JSON-RPC"},
			"two results":  {"garbage", `{"text":"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{},\"result\":{}}"}`, jackfield.Unavailable, false, "stands twice"},
			"another's":    {"garbage", `{"text":"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}"}`, jackfield.Unavailable, false, "something else than the response"},
			"far too long": {"big", `{"bytes":200000}`, jackfield.Unavailable, false, "longer than 100000 bytes"},
		} {
			for _, json := range []bool{true, false} {
				t.Run(fmt.Sprint(era, ", ", name, ", JSON ", json), func(t *testing.T) {
					d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: era, JSON: json}), func(o *Options) { o.Limits.Message = 100_000 })
					_, err := d.Do(t.Context(), tool(t, d.Conn, c.tool, c.arguments), nil)
					if jackfield.CodeOf(err) != c.code || NotSent(err) != c.notSent || !strings.Contains(fmt.Sprint(err), c.says) || !strings.HasPrefix(fmt.Sprint(err), `server "scripted": `) {
						t.Errorf("got %v (%v), not sent: %v", err, jackfield.CodeOf(err), NotSent(err))
					}
					if n := d.s.Count("tool:" + c.tool); n != 1 {
						t.Errorf("it was called %d times", n)
					}
					if d.Err() != nil {
						t.Errorf("the connection is dead: %v", d.Err())
					}
				})
			}
		}
	}
}

func TestAModernServerThatIsNoneAnyMoreEndsTheConnection(t *testing.T) {
	for _, status := range []int{400, 404, 405} {
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
		_, err := d.Do(t.Context(), tool(t, d.Conn, "status", fmt.Sprintf(`{"code":%d,"text":"what is this?"}`, status)), nil)
		if jackfield.CodeOf(err) != jackfield.Unavailable || d.Err() == nil || !NotSent(err) {
			t.Errorf("%d: got %v, Err: %v", status, err, d.Err())
		}
	}
}

func TestOnlyWhatChangesNothingMayBeRepeatedByTheTransport(t *testing.T) {
	repeats := map[string]bool{}
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}), func(o *Options) {
		o.Client = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			_, repeats[r.Header.Get("Mcp-Method")] = r.Header["Idempotency-Key"]
			return http.DefaultTransport.RoundTrip(r)
		})}
	})
	d.call(t, "echo", `{}`)
	if _, err := d.List(t.Context(), "tools/list"); err != nil {
		t.Error(err)
	}
	if repeats["tools/call"] || !repeats["tools/list"] || !repeats["server/discover"] {
		t.Errorf("got %v", repeats)
	}
}

func TestARefusalWithoutAnIDIsTheAnswer(t *testing.T) {
	for _, status := range []int{200, 400} {
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy}))
		res, err := d.Do(t.Context(), tool(t, d.Conn, "status",
			fmt.Sprintf(`{"code":%d,"text":"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":\"no session in a bottle\"}}"}`, status)), nil)
		if err != nil || res.Err == nil || res.Err.Code != wire.CodeInvalidRequest {
			t.Errorf("%d: got %+v, %v", status, res.Err, err)
		}
	}
}

func TestAnIdleHTTPConnectionHasNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, era := range []upstreamtest.Era{upstreamtest.Modern, upstreamtest.Legacy, upstreamtest.Sessionless} {
			d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: era, InProcess: true}), withCaps)
			d.call(t, "echo", `{}`)
			time.Sleep(lingering)
			synctest.Wait()
			if n := d.crew.size(); n != 0 {
				t.Errorf("%s: %d goroutines", era, n)
			}
		}
	})
}

func TestTheLogLevelIsNotMadeQuieterUnderAnOpenCall(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy}))
	say := func(level, name, arguments string) func(context.Context) {
		return func(ctx context.Context) {
			r := tool(t, d.Conn, name, arguments)
			r.Meta.LogLevel = level
			_, _ = d.Do(ctx, r, nil) // its end is its caller's
		}
	}
	say("info", "echo", `{}`)(t.Context())
	say("info", "echo", `{}`)(t.Context())
	if n := d.s.Count("logging/setLevel"); n != 1 {
		t.Errorf("told %d times of one level", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var open sync.WaitGroup
	open.Go(func() { say("debug", "slow", `{}`)(ctx) })
	open.Go(func() { say("debug", "slow", `{}`)(ctx) })
	d.s.Wait(t, "tool:slow", 2)
	told := d.s.Count("logging/setLevel")
	say("error", "echo", `{}`)(t.Context())
	if d.s.Count("logging/setLevel") != told {
		t.Error("two calls wanted to hear more")
	}
	cancel()
	open.Wait()
	say("error", "echo", `{}`)(t.Context())
	if d.s.Count("logging/setLevel") != told+1 {
		t.Error("the level was not made quieter")
	}
}

func TestACallToAServerThatIsGoneWasNotSent(t *testing.T) {
	front := httptest.NewServer(nil)
	s := upstreamtest.New(t, upstreamtest.Script{})
	front.Config.Handler = s
	d := patch(t, s, func(o *Options) { o.Endpoint.URL = front.URL + "/mcp?key=hunter22" })
	front.Close()
	var err error
	for range 100 { // a socket that is kept alive may not know yet
		if _, err = d.Do(t.Context(), tool(t, d.Conn, "echo", `{}`), nil); NotSent(err) {
			break
		}
	}
	if jackfield.CodeOf(err) != jackfield.Unavailable || !NotSent(err) || !strings.Contains(err.Error(), "is it running?") {
		t.Errorf("got %v, not sent: %v", err, NotSent(err))
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if strings.Contains(e.Error(), "hunter22") {
			t.Errorf("the key shows in %v", e)
		}
	}
}

func TestACallThatTakesTooLongFailsWhenItsTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{InProcess: true}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun := time.Now()
		_, err := d.Do(ctx, tool(t, d.Conn, "slow", `{}`), nil)
		if jackfield.CodeOf(err) != jackfield.Unavailable || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer to tools/call in time") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begun); took != time.Minute {
			t.Errorf("took %v", took)
		}
		synctest.Wait()
		if d.s.Count("abandoned") != 1 {
			t.Error("the server was not told")
		}
	})
}

func TestAStreamThatIsNotEndedAfterTheAnswerHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, InProcess: true})
		d := patch(t, s, func(o *Options) {
			next := o.Client.Transport
			o.Client = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				rep, err := next.RoundTrip(r)
				if err == nil && strings.HasPrefix(rep.Header.Get("Content-Type"), typeStream) {
					rep.Body = endless{rep.Body, r.Context()}
				}
				return rep, err
			})}
		})
		begun := time.Now()
		d.call(t, "echo", `{"text":"x"}`)
		if took := time.Since(begun); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// endless is a body that says nothing at its end until the request is over.
type endless struct {
	io.ReadCloser
	ctx context.Context
}

func (e endless) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	if n == 0 && err != nil {
		<-e.ctx.Done()
		return 0, e.ctx.Err()
	}
	return n, nil
}

func TestTheModernHeadersSayWhatTheBodySays(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{Tools: []string{"mirror ünïcode"}}), func(o *Options) {
		o.Endpoint.Headers = map[string]jackfield.Secret{"X-Team": "blue", "Mcp-Method": "tampered", "Content-Type": "text/plain"}
		o.ParamHeaders = func(method, name string) []ParamHeader {
			if method != "tools/call" || name != "mirror" {
				t.Errorf("asked for %s %s", method, name)
				return nil
			}
			return []ParamHeader{
				{Name: "Region", Path: []string{"region"}},
				{Name: "Deep", Path: []string{"a", "b"}},
				{Name: "Count", Path: []string{"n"}},
				{Name: "Dry", Path: []string{"dry"}},
				{Name: "Null", Path: []string{"nothing"}},
				{Name: "Missing", Path: []string{"x", "y"}},
				{Name: "Object", Path: []string{"a"}},
			}
		}
	})
	got := d.call(t, "mirror", `{"region":" Zürich","a":{"b":"plain"},"n":42,"dry":true,"nothing":null}`)
	for _, want := range []string{
		`"Mcp-Protocol-Version":["2026-07-28"]`, `"Mcp-Method":["tools/call"]`, `"Mcp-Name":["mirror"]`, `"X-Team":["blue"]`, `"Content-Type":["application/json"]`,
		`"Mcp-Param-Region":["` + wire.EncodeHeaderValue(" Zürich") + `"]`, `"Mcp-Param-Deep":["plain"]`, `"Mcp-Param-Count":["42"]`, `"Mcp-Param-Dry":["true"]`,
		`"Accept":["application/json, text/event-stream"]`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in %s", want, got)
		}
	}
	for _, not := range []string{"Mcp-Param-Null", "Mcp-Param-Missing", "Mcp-Param-Object", "Mcp-Session-Id", "Cookie"} {
		if strings.Contains(got, not) {
			t.Errorf("%s is in %s", not, got)
		}
	}
	params, err := wire.ScanObject(wire.Raw(`{"name":"mirror ünïcode"}`), exchange.ParamKeys)
	if err != nil {
		t.Fatal(err)
	}
	d.opts.ParamHeaders = nil
	res, err := d.Do(t.Context(), &exchange.Request{Method: "tools/call", Params: params}, nil)
	if err != nil || res.Err != nil {
		t.Error("a name that is not ASCII:", err, res.Err)
	}
}

func TestTheLegacyHeadersNameSessionAndVersion(t *testing.T) {
	for name, version := range map[string]string{"legacy, streams": exchange.V20251125, "legacy of 2025-03-26": ""} {
		d := patch(t, upstreamtest.New(t, everyKind[name]))
		got := d.call(t, "mirror", `{}`)
		if !strings.Contains(got, `"Mcp-Session-Id":["session-`) || strings.Contains(got, `"Mcp-Method"`) {
			t.Errorf("got %s", got)
		}
		if has := strings.Contains(got, `"Mcp-Protocol-Version":`); has != (version != "") || has && !strings.Contains(got, `"Mcp-Protocol-Version":["`+version+`"]`) {
			t.Errorf("got %s", got)
		}
	}
}

func TestOneRequestOfAModernClientMayNotNameNothing(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
	_, err := d.Do(t.Context(), &exchange.Request{Method: "tools/call"}, nil)
	if jackfield.CodeOf(err) != jackfield.Invalid || d.s.Count("tools/call") != 0 {
		t.Errorf("got %v", err)
	}
}

func TestChangedParameterHeadersAreReportedAndTheCallMayBeRepeated(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
	_, err := d.Do(t.Context(), tool(t, d.Conn, "error", `{"code":-32020,"text":"Mcp-Param-X is missing"}`), nil)
	if jackfield.CodeOf(err) != jackfield.Unavailable || !NotSent(err) || !strings.Contains(err.Error(), "Mcp-Param-X is missing") {
		t.Errorf("got %v", err)
	}
	if events := d.seen(&d.events); len(events) != 1 || !strings.HasPrefix(events[0], "notifications/tools/list_changed") {
		t.Errorf("events: %v", events)
	}
	if d.Err() != nil {
		t.Error("the connection is dead")
	}
}

func TestAModernRequestSaysWhoAsksAndWhatItWantsToHear(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
	r := tool(t, d.Conn, "mirror", `{}`)
	r.Meta = exchange.Meta{LogLevel: "notice", ClientInfo: wire.Raw(`{"name":"ann's","version":"3"}`)}
	res, err := d.Do(t.Context(), r, &asker{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"io.modelcontextprotocol/clientInfo":{"name":"ann's","version":"3"}`, `"io.modelcontextprotocol/logLevel":"notice"`, `"progressToken":`} {
		if !strings.Contains(string(res.Raw), want) {
			t.Errorf("%s is missing in %s", want, res.Raw)
		}
	}
	if got := d.call(t, "mirror", `{}`); !strings.Contains(got, `"io.modelcontextprotocol/clientInfo":{"name":"jackfield"`) || strings.Contains(got, "logLevel") || strings.Contains(got, "progressToken") {
		t.Errorf("got %s", got)
	}
}

func TestOnlySoManyCallsAreOpenAtATime(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}), func(o *Options) { o.Limits.Calls = 2 })
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { _, _ = d.Do(ctx, tool(t, d.Conn, "slow", `{}`), nil) })
	}
	d.s.Wait(t, "tool:slow", 2)
	if _, err := d.Do(t.Context(), tool(t, d.Conn, "echo", `{}`), nil); jackfield.CodeOf(err) != jackfield.Exhausted || !NotSent(err) {
		t.Errorf("got %v", err)
	}
	cancel()
	all.Wait()
	d.call(t, "echo", `{}`)
}

func TestABatchIsReadOneByOne(t *testing.T) {
	answers := map[string]string{
		"initialize": `{"jsonrpc":"2.0","id":ID,"result":{"protocolVersion":"2025-03-26","capabilities":{}}}`,
		"tools/call": `[{"jsonrpc":"2.0","method":"notifications/message","params":{"data":1}},{"oops":1},{"jsonrpc":"2.0","id":ID,"result":{"content":[]}}]`,
	}
	front := httptest.NewServer(canned(t, answers, func(string) {}))
	t.Cleanup(front.Close)
	c, err := Dial(t.Context(), Options{Name: "x", Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: front.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, c)
	peer := &asker{}
	res, err := c.Do(t.Context(), tool(t, c, "x", `{}`), peer)
	if err != nil || string(res.Raw) != `{"content":[]}` || len(peer.all()) != 1 {
		t.Errorf("got %s, %v, heard %v", res.Raw, err, peer.all())
	}
}

func TestANotificationOfTheClientReachesTheServer(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *desk) {
		if err := d.Notify(t.Context(), "notifications/roots/list_changed", nil); err != nil {
			t.Fatal(err)
		}
		if d.Shape().Modern() {
			d.call(t, "echo", `{}`)
			if d.s.Count("notifications/roots/list_changed") != 0 {
				t.Error("a modern server was told")
			}
			return
		}
		d.s.Wait(t, "notifications/roots/list_changed", 1)
	})
}

func TestRetryAfterIsReadWithinReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for value, want := range map[string]time.Duration{
			"": 0, "0": 0, "7": 7 * time.Second, "-7": 0, "7.5": 0, "soon": 0, "99999999999999999999": 0, "2000000000": 24 * time.Hour,
			time.Now().Add(time.Minute).UTC().Format(http.TimeFormat):    time.Minute,
			time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat):   0,
			time.Now().Add(48 * time.Hour).UTC().Format(http.TimeFormat): 24 * time.Hour,
		} {
			if got := retryAfter(http.Header{"Retry-After": {value}}); got != want {
				t.Errorf("%q: %v, want %v", value, got, want)
			}
		}
	})
}
