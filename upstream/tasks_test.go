package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

// taskServers are servers with tasks, of each kind.
var taskServers = map[string]upstreamtest.Script{
	"modern":         {Tasks: true},
	"modern, JSON":   {Tasks: true, JSON: true},
	"legacy":         {Tasks: true, Era: upstreamtest.Legacy},
	"legacy, JSON":   {Tasks: true, Era: upstreamtest.Legacy, JSON: true},
	"sessionless":    {Tasks: true, Era: upstreamtest.Sessionless},
	"modern process": {Tasks: true, Transport: jackfield.TransportStdio},
	"legacy process": {Tasks: true, Transport: jackfield.TransportStdio, Era: upstreamtest.Legacy},
}

// callers are clients that know nothing of tasks.
var callers = map[string]caller{
	"modern client": func(t *testing.T, c *Conn, name, arguments string) *exchange.Request {
		r := tool(t, c, name, arguments)
		r.Caps.AsResult = true
		return r
	},
	"legacy client": func(t *testing.T, c *Conn, name, arguments string) *exchange.Request {
		return older(t, c, name, arguments, allCaps)
	},
}

func onEveryTaskServer(t *testing.T, test func(t *testing.T, d *desk, call caller)) {
	t.Helper()
	for server, script := range taskServers {
		for client, caller := range callers {
			t.Run(client+", "+server, func(t *testing.T) { test(t, patch(t, upstreamtest.New(t, script)), caller) })
		}
	}
}

type caller = func(t *testing.T, c *Conn, name, arguments string) *exchange.Request

func TestWhoKnowsNoTasksGetsTheResultOfOne(t *testing.T) {
	onEveryTaskServer(t, func(t *testing.T, d *desk, call caller) {
		for _, kind := range []string{"", "uninvited"} {
			peer := &asker{}
			res, err := d.Do(t.Context(), call(t, d.Conn, "task", fmt.Sprintf(`{"ms":30,"text":"done","kind":%q}`, kind)), peer)
			if err != nil || res.Err != nil || res.Task || res.Modern != d.modern() {
				t.Fatalf("kind %q: %+v, %v, %v", kind, res, res.Err, err)
			}
			text := string(res.Raw)
			if !strings.Contains(text, `"text":"done"`) || strings.Contains(text, "task") || res.Modern != strings.Contains(text, `"resultType":"complete"`) {
				t.Errorf("kind %q: %s", kind, text)
			}
			heard := peer.all()
			if len(heard) == 0 || !strings.Contains(heard[0], `notifications/progress {"progressToken":0,"progress":1,"message":"as it goes"}`) {
				t.Errorf("kind %q: looks were not reported as progress: %q", kind, heard)
			}
		}
		if n := d.s.Count("task cancelled"); n != 0 {
			t.Errorf("%d tasks were cancelled", n)
		}
	})
}

func TestATasksQuestionsAreAskedWhileTheCallIsOpen(t *testing.T) {
	onEveryTaskServer(t, func(t *testing.T, d *desk, call caller) {
		asked := 0
		peer := &asker{answer: func(q exchange.Question) (exchange.Answer, error) {
			asked++
			if q.Method != "elicitation/create" || !strings.Contains(string(q.Params), "requestedSchema") {
				t.Errorf("asked %s %s", q.Method, q.Params)
			}
			return exchange.Answer{Result: wire.Raw(fmt.Sprintf(`{"action":"accept","content":{"n":%d}}`, asked))}, nil
		}}
		res, err := d.Do(t.Context(), call(t, d.Conn, "task", `{"ms":1,"times":2,"text":"told: "}`), peer)
		if err != nil || res.Err != nil || asked != 2 || !strings.Contains(string(res.Raw), `{\"action\":\"accept\",\"content\":{\"n\":2}}`) {
			t.Errorf("asked %d times, got %s, %v, %v", asked, res.Raw, res.Err, err)
		}
	})
}

// The server is asked for the result and how far it is at the same time.
func TestALookAtATaskIsNoSecondCallThatAQuestionCouldBelongTo(t *testing.T) {
	var open calls
	asks, look := newCall("tasks/result"), newCall("tasks/get")
	look.looks = true
	open.enter(asks, 9)
	open.enter(look, 9)
	if got := open.only(); got != asks {
		t.Errorf("a question belongs to %v", got)
	}
	open.leave(asks)
	if got := open.only(); got != nil {
		t.Errorf("a question belongs to %v", got)
	}
}

func TestATaskThatFailsIsTheErrorOfItsCall(t *testing.T) {
	onEveryTaskServer(t, func(t *testing.T, d *desk, call caller) {
		res, err := d.Do(t.Context(), call(t, d.Conn, "task", `{"ms":1,"code":-32603,"text":"rate limit"}`), nil)
		if err != nil || res.Err == nil || res.Err.Code != wire.CodeInternal || res.Err.Message != "rate limit" {
			t.Errorf("got %s, %v, %v", res.Raw, res.Err, err)
		}
	})
}

func TestATaskThatTheServerCancelsIsSaidToBe(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{Tasks: true}))
	_, err := d.Do(t.Context(), tool(t, d.Conn, "task", `{"ms":1,"kind":"withdrawn"}`), nil)
	if jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(err.Error(), "cancelled the task") || NotSent(err) {
		t.Errorf("got %v", err)
	}
}

func TestWhoLeavesCancelsTheTask(t *testing.T) {
	onEveryTaskServer(t, func(t *testing.T, d *desk, call caller) {
		gone := errors.New("the caller is gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		peer := &asker{}
		ended := make(chan error, 1)
		go func() {
			_, err := d.Do(ctx, call(t, d.Conn, "task", `{"kind":"endless"}`), peer)
			ended <- err
		}()
		d.s.Wait(t, "tasks/get", 3)
		cancel(gone)
		if err := <-ended; !errors.Is(err, gone) {
			t.Errorf("got %v", err)
		}
		d.s.Wait(t, "task cancelled", 1)
	})
}

func TestATaskIsLookedAtAsOftenAsTheServerWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{Tasks: true, InProcess: true, JSON: true}))
		for every, want := range map[int]int{1000: 60, 5000: 12, 1: 3000, 1_000_000: 2} {
			before := d.s.Count("tasks/get")
			if text := d.call(t, "task", fmt.Sprintf(`{"ms":59990,"retry":%d}`, every)); !strings.Contains(text, "content") {
				t.Errorf("got %s", text)
			}
			if n := d.s.Count("tasks/get") - before; n != want {
				t.Errorf("every %d ms: looked %d times in a minute, not %d", every, n, want)
			}
		}
	})
}

func TestATaskThatNeverEndsEndsWithItsCall(t *testing.T) {
	for _, script := range []upstreamtest.Script{{Era: upstreamtest.Modern}, {Era: upstreamtest.Legacy, JSON: true}} {
		script.Tasks, script.InProcess = true, true
		synctest.Test(t, func(t *testing.T) {
			d := patch(t, upstreamtest.New(t, script))
			enough := errors.New("the most that a call may take")
			ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Minute, enough)
			defer cancel()
			peer := &asker{}
			_, err := d.Do(ctx, tool(t, d.Conn, "task", `{"kind":"endless","retry":5000}`), peer)
			if !errors.Is(err, enough) {
				t.Errorf("got %v", err)
			}
			if n := len(peer.all()); n < 119 || n > 120 { // each look is a sign of life
				t.Errorf("%d signs of life", n)
			}
			d.s.Wait(t, "task cancelled", 1)
		})
	}
}

func TestAServerThatIsAwayForAMomentIsAskedAgainForTheTask(t *testing.T) {
	for _, era := range []upstreamtest.Era{upstreamtest.Modern, upstreamtest.Legacy} {
		synctest.Test(t, func(t *testing.T) {
			d := patch(t, upstreamtest.New(t, upstreamtest.Script{Tasks: true, InProcess: true, Era: era, JSON: true}))
			d.s.Fault(upstreamtest.Fault{Method: "tasks/get", Status: http.StatusServiceUnavailable, RetryAfter: "5", Times: lostLooks - 1})
			before := time.Now()
			if text := d.call(t, "task", `{"ms":1,"text":"still here"}`); !strings.Contains(text, "still here") {
				t.Errorf("got %s", text)
			}
			if took := time.Since(before); took < 10*time.Second {
				t.Errorf("it asked to be left alone for 5 s twice, and was for %v", took)
			}
			d.s.Fault(upstreamtest.Fault{Method: "tasks/result", Status: http.StatusBadGateway, Times: lostLooks - 1})
			if text := d.call(t, "task", `{"ms":1,"text":"still here"}`); !strings.Contains(text, "still here") {
				t.Errorf("got %s", text)
			}
			d.s.Heal()
			d.s.Fault(upstreamtest.Fault{Method: "tasks/get", Status: http.StatusServiceUnavailable})
			_, err := d.Do(t.Context(), tool(t, d.Conn, "task", `{"ms":1}`), nil)
			if jackfield.CodeOf(err) != jackfield.Unavailable || NotSent(err) {
				t.Errorf("a call that was carried out seems not to have been sent: %v", err)
			}
		})
	}
}

func TestACallThatBecameATaskWasSentWhateverComesLater(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{Tasks: true}))
	d.s.Fault(upstreamtest.Fault{Method: "tasks/get", Status: http.StatusMethodNotAllowed})
	if _, err := d.Do(t.Context(), tool(t, d.Conn, "task", `{"ms":1}`), nil); err == nil || NotSent(err) {
		t.Errorf("it would be sent again: %v", err)
	}
}

func TestATaskThatTheServerForgetsEndsItsCall(t *testing.T) {
	for _, era := range []upstreamtest.Era{upstreamtest.Modern, upstreamtest.Legacy} {
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{Tasks: true, Era: era}))
		ended := make(chan error, 1)
		go func() {
			_, err := d.Do(t.Context(), tool(t, d.Conn, "task", `{"kind":"endless"}`), nil)
			ended <- err
		}()
		d.s.Wait(t, "tasks/get", 1)
		d.s.ForgetTasks()
		if err := <-ended; jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(err.Error(), "Task not found") || NotSent(err) {
			t.Errorf("%s: got %v", era, err)
		}
	}
}

func TestAQuestionThatNobodyAnswersCancelsTheTask(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{Tasks: true}))
	_, err := d.Do(t.Context(), older(t, d.Conn, "task", `{"ms":1,"times":1}`, `{}`), &asker{})
	if jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(err.Error(), "did not say that it can answer") {
		t.Errorf("got %v", err)
	}
	d.s.Wait(t, "task cancelled", 1)

	res, err := d.Do(t.Context(), older(t, d.Conn, "task", `{"ms":1,"times":1,"method":"elicitation/create","params":{"mode":"url","url":"https://x.test/","message":"m"}}`, allCaps), &asker{})
	if err != nil || res.Err == nil || res.Err.Code != wire.CodeURLElicitationFirst {
		t.Errorf("got %s, %v, %v", res.Raw, res.Err, err)
	}
	d.s.Wait(t, "task cancelled", 2)
}

func TestWhoTakesATaskGetsIt(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{Tasks: true}))
	r := tool(t, d.Conn, "task", `{"ms":1}`)
	var err error
	if r.Caps, err = exchange.ParseCapabilities(wire.Raw(`{"extensions":{"io.modelcontextprotocol/tasks":{}}}`)); err != nil {
		t.Fatal(err)
	}
	r.Caps.AsResult = true
	res, err := d.Do(t.Context(), r, nil)
	if err != nil || !res.Task || !strings.Contains(string(res.Raw), `"resultType":"task"`) {
		t.Errorf("got %+v, %v", res, err)
	}

	d = patch(t, upstreamtest.New(t, upstreamtest.Script{Tasks: true, Era: upstreamtest.Legacy}))
	r = older(t, d.Conn, "task", `{"ms":1}`, `{}`)
	r.Params.Set("task", wire.Raw(`{"ttl":1}`))
	res, err = d.Do(t.Context(), r, nil)
	if err != nil || !res.Task || !strings.Contains(string(res.Raw), `"task":{"taskId":"task-1"`) {
		t.Errorf("got %+v, %v", res, err)
	}
	if n := d.s.Count("tasks/get"); n != 0 {
		t.Errorf("looked at %d times", n)
	}
}

func TestAskingForATaskInTheWordsOfAnotherEraMeansNothing(t *testing.T) {
	for _, era := range []upstreamtest.Era{upstreamtest.Modern, upstreamtest.Legacy} {
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{Tasks: true, Era: era}))
		r := tool(t, d.Conn, "mirror", `{}`)
		r.Caps.AsResult = era == upstreamtest.Legacy
		r.Params.Set("task", wire.Raw(`{}`))
		res, err := d.Do(t.Context(), r, nil)
		if err != nil || strings.Contains(string(res.Raw), `"task"`) {
			t.Errorf("%s: %s, %v", era, res.Raw, err)
		}
	}
}

func TestAResultThatLooksLikeATaskIsAResult(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy}))
	for _, result := range []string{
		`{"content":[],"task":{"taskId":"t","status":"working"}}`,
		`{"content":[],"structuredContent":{"taskId":"t"}}`,
		`{"task":{"taskId":"","status":"working"}}`,
		`{"task":"taskId"}`,
		`{"structuredContent":{"taskId":"t"}}`,
	} {
		if got := d.call(t, "raw", `{"result":`+result+`}`); got != result {
			t.Errorf("%s became %s", result, got)
		}
	}
}

func TestATaskThatMakesNoSenseIsAnErrorThatSaysSo(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{Tasks: true}))
	for _, result := range []string{
		`{"resultType":"task"}`,
		`{"resultType":"task","taskId":7,"status":"working"}`,
		`{"resultType":"task","taskId":"nobody knows","status":"completed"}`,
	} {
		_, err := d.Do(t.Context(), tool(t, d.Conn, "raw", `{"result":`+result+`}`), nil)
		if err == nil || !strings.Contains(err.Error(), "task") {
			t.Errorf("%s: %v", result, err)
		}
	}
	prompt := exchange.Request{Method: "resources/read", Params: wire.NewObject(exchange.ParamKeys)}
	prompt.Params.Set("uri", wire.Raw(`"test://a"`))
	if _, err := d.modernTask(t.Context(), newCall(prompt.Method), &prompt, exchange.Result{}); err == nil {
		t.Error("a resource was taken for a task")
	}
}

func FuzzTasks(f *testing.F) {
	for _, s := range []string{
		`{"task":{"taskId":"t","status":"working","pollInterval":5e3}}`, `{"taskId":"t","status":"completed","pollIntervalMs":-1,"result":{}}`,
		`{"task":{"taskId":"t","status":"x"},"content":[]}`, `{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"}},"content":[]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if made := taskIn(raw); made != nil {
			if k, err := readTask(made); err != nil || k.ID == "" || k.Status == "" {
				t.Fatalf("%s: %+v, %v", raw, k, err)
			}
		}
		if k, err := readTask(raw); err == nil && (k.pause() < shortTaskPause || k.pause() > longTaskPause) {
			t.Fatalf("%s: a pause of %v", raw, k.pause())
		}
		if out, err := unrelated(raw); err == nil && !json.Valid(out) {
			t.Fatalf("%s became %s", raw, out)
		}
		if out, err := completed(raw); err == nil && !json.Valid(out) {
			t.Fatalf("%s became %s", raw, out)
		}
	})
}

func TestWhoListensForATaskHearsOfIt(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{Tasks: true}))
	r := tool(t, d.Conn, "task", `{"kind":"endless"}`)
	r.Caps = withTasks(r.Caps)
	r.Caps.TaskResults = true
	if _, err := d.Do(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	ready := make(chan Interest, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.Listen(ctx, Interest{Tasks: []string{"task-1"}, Ready: func(in Interest) { ready <- in }})
	}()
	if in := <-ready; len(in.Tasks) != 1 || in.Tasks[0] != "task-1" || in.Lists {
		t.Errorf("agreed to %+v", in)
	}
	d.s.TaskStatus("task-1")
	<-d.news
	if events := d.seen(&d.events); len(events) != 1 || !strings.HasPrefix(events[0], `notifications/tasks {"taskId":"task-1"`) {
		t.Errorf("heard %q", events)
	}
	cancel()
	<-done
}
