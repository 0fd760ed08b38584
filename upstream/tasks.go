package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// A server may answer a call with a task: a name under which the result can be had
// later. Who does not know tasks, or not those of the server's era, gets the result
// all the same: it is waited for here, while the call is open.

// Pauses between two looks at a task.
const (
	taskPause      = time.Second           // when the server does not say
	shortTaskPause = 20 * time.Millisecond // whatever it says
	longTaskPause  = 30 * time.Second
	// lostLooks at a task in a row may fail because the server cannot be reached.
	lostLooks = 3
	// taskTTL is how long a legacy server is asked to keep a task: longer than any
	// call may take, in milliseconds.
	taskTTL = `{"ttl":900000}`
	// maxTask is the size of a legacy result up to which it may be a task.
	maxTask = 16 << 10
)

// task is how far a task is, in the words of either era.
type task struct {
	ID        string   `json:"taskId"`
	Status    string   `json:"status"`
	Message   string   `json:"statusMessage"`
	Modern    *float64 `json:"pollIntervalMs"`
	Legacy    *float64 `json:"pollInterval"`
	Questions wire.Raw `json:"inputRequests"`
	Result    wire.Raw `json:"result"`
	Error     wire.Raw `json:"error"`
}

func readTask(raw wire.Raw) (task, error) {
	var t task
	if err := json.Unmarshal(raw, &t); err != nil {
		return t, protocolFailure("its task cannot be read: %w", err)
	}
	if t.ID == "" {
		return t, protocolFailure("its task has no id")
	}
	return t, nil
}

// pause is how long to wait before the next look.
func (t *task) pause() time.Duration {
	ms := t.Modern
	if ms == nil {
		ms = t.Legacy
	}
	if ms == nil {
		return taskPause
	}
	d := time.Duration(min(max(*ms, 0), float64(longTaskPause/time.Millisecond)) * float64(time.Millisecond))
	return max(d, shortTaskPause)
}

// asksForTask reports whether an answer is that the server can carry out the call
// as a task only, and r did not say that one is welcome.
func (c *Conn) asksForTask(r *exchange.Request, e *wire.Error) bool {
	if r.Method != "tools/call" {
		return false
	}
	if !c.modern() {
		return (e.Code == wire.CodeMethodNotFound || e.Code == wire.CodeInvalidRequest) &&
			r.Params.Get("task") == nil && c.takesTasks()
	}
	if e.Code != wire.CodeMissingCapability {
		return false
	}
	var data struct {
		Required struct {
			Extensions struct {
				Tasks *wire.Raw `json:"io.modelcontextprotocol/tasks"`
			} `json:"extensions"`
		} `json:"requiredCapabilities"`
	}
	return json.Unmarshal(e.Data, &data) == nil && data.Required.Extensions.Tasks != nil &&
		!bytes.Contains(modernCaps(r.Caps), []byte(exchange.ExtensionTasks))
}

// takesTasks reports whether a legacy server said that calls may be tasks.
func (c *Conn) takesTasks() bool {
	var caps struct {
		Tasks struct {
			Requests struct {
				Tools struct {
					Call *wire.Raw `json:"call"`
				} `json:"tools"`
			} `json:"requests"`
		} `json:"tasks"`
	}
	return json.Unmarshal(c.Shape().Capabilities, &caps) == nil && caps.Tasks.Requests.Tools.Call != nil
}

// asTask sends a call again that was refused because it can only be a task.
func (c *Conn) asTask(ctx context.Context, x *call, r *exchange.Request) (exchange.Result, error) {
	again := *r
	again.Caps = withTasks(again.Caps)
	next := newCall(r.Method)
	next.peer, next.progress, next.effect, next.awaits = x.peer, x.progress, x.effect, true
	if c.modern() {
		return c.doModern(ctx, next, &again)
	}
	again.Params.Set("task", wire.Raw(taskTTL))
	return c.doLegacy(ctx, next, &again)
}

var (
	extensionsKeys = []string{"extensions"}
	tasksKeys      = []string{exchange.ExtensionTasks}
)

// withTasks adds to what a modern server is told of the asker that tasks are
// welcome. They are: to us.
func withTasks(caps exchange.Capabilities) exchange.Capabilities {
	o, err := wire.ScanObject(modernCaps(caps), extensionsKeys)
	if err != nil {
		return caps
	}
	extensions := wire.NewObject(tasksKeys)
	if raw := o.Get("extensions"); raw != nil {
		if extensions, err = wire.ScanObject(raw, tasksKeys); err != nil {
			return caps
		}
	}
	extensions.Set(exchange.ExtensionTasks, wire.Raw("{}"))
	o.Set("extensions", extensions.Raw())
	if caps.AsResult {
		caps.Declared = string(o.Raw())
	} else {
		caps.Modern = string(o.Raw())
	}
	return caps
}

// modernTask is what becomes of a task that a modern server answered r with. It is
// the asker's own affair, if it said that it takes one.
func (c *Conn) modernTask(ctx context.Context, x *call, r *exchange.Request, res exchange.Result) (exchange.Result, error) {
	switch {
	case r.Method != "tools/call":
		return exchange.Result{}, protocolFailure("it answered %s with a task, which the protocol does not allow", r.Method)
	case r.Caps.AsResult && r.Caps.TaskResults:
		return res, nil
	}
	return c.await(ctx, x.peer, r, res.Raw)
}

// legacyTask is the same for a legacy server, whose result can be a task. It is the
// asker's own affair, if it asked for one.
func (c *Conn) legacyTask(ctx context.Context, x *call, r *exchange.Request, res exchange.Result) (exchange.Result, error) {
	made := taskIn(res.Raw)
	switch {
	case made == nil:
		return res, nil
	case !x.awaits && !r.Caps.AsResult && r.Params.Get("task") != nil:
		res.Task = true
		return res, nil
	}
	return c.await(ctx, x.peer, r, made)
}

var taskKeys = []string{"task", "content"}

// taskIn is the task that a legacy server answered a call with; nil when it
// answered with a result.
func taskIn(raw wire.Raw) wire.Raw {
	if len(raw) > maxTask || !bytes.Contains(raw, []byte(`"taskId"`)) {
		return nil
	}
	o, err := wire.ScanObject(raw, taskKeys)
	if err != nil || o.Get("content") != nil {
		return nil
	}
	made := o.Get("task")
	if t, err := readTask(made); made == nil || err != nil || t.Status == "" {
		return nil
	}
	return made
}

// awaiting is a call that is a task by now, whose result somebody waits for.
type awaiting struct {
	c      *Conn
	peer   exchange.Peer
	r      *exchange.Request // the call that the task was made of
	id     wire.Raw          // of the task
	caps   exchange.Capabilities
	asked  map[string]bool // questions that were answered
	rounds int
	failed int          // times that the server could not be reached, in a row
	ended  bool         // the server needs no word from us any more
	came   chan awaited // gets what tasks/result came to (legacy); nil: nobody asked yet
	stop   func()       // ends the asking
}

// awaited is what a call came to in the end.
type awaited struct {
	res exchange.Result
	err error
}

// await waits for the result of a task that was made of r, within the life of ctx:
// it looks as often as the server wants, answers what it asks as if the call were
// still open, and reports each look as progress. Whoever leaves cancels the task.
func (c *Conn) await(ctx context.Context, peer exchange.Peer, r *exchange.Request, made wire.Raw) (exchange.Result, error) {
	t, err := readTask(made)
	if err != nil {
		return exchange.Result{}, err
	}
	w := &awaiting{c: c, peer: peer, r: r, id: wire.AppendString(nil, t.ID), caps: withTasks(r.Caps), asked: map[string]bool{}}
	res, err := w.run(ctx, t)
	switch {
	case err == nil:
		return res, nil
	case !w.ended && c.life.Err() == nil:
		w.cancel()
	}
	if ctx.Err() != nil && c.life.Err() == nil {
		return exchange.Result{}, context.Cause(ctx)
	}
	// The call itself has reached the server, whatever became of the last look.
	return exchange.Result{}, interrupted(err)
}

func (w *awaiting) run(ctx context.Context, t task) (exchange.Result, error) {
	defer w.leave()
	for looks := 1; ; looks++ {
		pause := t.pause()
		if looks == 1 && t.Status != "working" {
			pause = 0 // it is further than that already, and does not say how it ended
		}
		if end, over := w.rest(ctx, pause); over {
			return end.res, end.err
		}
		var err error
		if t, err = w.look(ctx, t); err != nil {
			return exchange.Result{}, err
		}
		w.tell(ctx, looks, t)
		switch t.Status {
		case "working":
			continue
		case "completed", "failed", "cancelled":
			if !w.c.modern() {
				return w.fetched(ctx)
			}
			return w.result(t)
		case "input_required":
		default:
			return exchange.Result{}, protocolFailure("its task for %s is in a state that does not exist (%s)", w.r.Method, snippet([]byte(t.Status)))
		}
		if !w.c.modern() {
			w.fetch(ctx)
			continue
		}
		if open, err := w.answer(ctx, t); err != nil || open != nil {
			return exchange.Result{Err: open, Modern: true}, err
		}
	}
}

// rest waits before the next look. over: the result came meanwhile, or never will.
func (w *awaiting) rest(ctx context.Context, pause time.Duration) (end awaited, over bool) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return awaited{}, false
	case end := <-w.came:
		w.took(end)
		return end, !w.again(ctx, end.err)
	case <-ctx.Done():
		return awaited{err: context.Cause(ctx)}, true
	}
}

// fetch asks a legacy server for the result, unless somebody does already. Until it
// answers it may ask, on the stream of this request or another.
func (w *awaiting) fetch(ctx context.Context) {
	if w.came != nil {
		return
	}
	ctx, w.stop = context.WithCancel(ctx)
	w.came = make(chan awaited, 1)
	r := w.request("tasks/result")
	r.Caps = w.r.Caps
	started := w.c.crew.run(func() {
		res, err := w.do(ctx, r, w.peer)
		if err == nil && res.Err == nil {
			res.Raw, err = unrelated(res.Raw)
		}
		w.came <- awaited{res, err}
	})
	if !started {
		w.came <- awaited{err: gone(errClosed)}
	}
}

// fetched is the result that a legacy server was asked for.
func (w *awaiting) fetched(ctx context.Context) (exchange.Result, error) {
	for {
		w.fetch(ctx)
		end := <-w.came // with ctx at the latest
		w.took(end)
		if !w.again(ctx, end.err) || sleep(ctx, taskPause) != nil {
			return end.res, end.err
		}
	}
}

// again reports whether what failed is to be tried again: the server could not be
// reached for a moment, and the task goes on without us.
func (w *awaiting) again(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil || w.c.Err() != nil || asFailure(err).code != jackfield.Unavailable {
		return false
	}
	w.failed++
	return w.failed < lostLooks
}

// took notes that there is nobody to wait for any more.
func (w *awaiting) took(end awaited) {
	w.stop()
	w.came, w.stop = nil, nil
	w.ended = end.err == nil
}

// leave ends the asking for the result, if it has not ended.
func (w *awaiting) leave() {
	if w.came != nil {
		w.stop()
		<-w.came
	}
}

// request is one about the task.
func (w *awaiting) request(method string) *exchange.Request {
	r := &exchange.Request{Method: method, Params: wire.NewObject(exchange.ParamKeys), Caps: w.caps}
	r.Meta.ClientInfo = w.r.Meta.ClientInfo
	r.Params.Set("taskId", w.id)
	return r
}

// do sends a request about the task. Questions of a modern server would be an
// answer out of place.
func (w *awaiting) do(ctx context.Context, r *exchange.Request, peer exchange.Peer) (exchange.Result, error) {
	x := newCall(r.Method)
	x.peer, x.progress, x.looks = peer, peer != nil, peer == nil
	if !w.c.modern() {
		return w.c.doLegacy(ctx, x, r)
	}
	r.Caps.AsResult, r.Caps.Declared = true, string(modernCaps(w.caps))
	return w.c.doModern(ctx, x, r)
}

// look asks how far the task is.
func (w *awaiting) look(ctx context.Context, before task) (task, error) {
	for {
		res, err := w.do(ctx, w.request("tasks/get"), nil)
		if err == nil {
			w.failed = 0
			return w.seen(res)
		}
		if !w.again(ctx, err) {
			return task{}, err
		}
		pause := max(before.pause(), taskPause, min(asFailure(err).retryAfter, longTaskPause))
		if err := sleep(ctx, pause); err != nil {
			return task{}, err
		}
	}
}

// seen reads what the server said of the task.
func (w *awaiting) seen(res exchange.Result) (task, error) {
	if res.Err != nil {
		w.ended = true
		return task{}, &failure{
			code: jackfield.Unavailable, err: res.Err,
			what: fmt.Sprintf("it made a task of %s, and when asked about it said: %s", w.r.Method, snippet([]byte(res.Err.Message))),
		}
	}
	t, err := readTask(res.Raw)
	if err == nil && string(w.id) != string(wire.AppendString(nil, t.ID)) {
		err = protocolFailure("asked about one task it tells of another")
	}
	return t, err
}

// tell reports a look as progress: it is a sign of life.
func (w *awaiting) tell(ctx context.Context, looks int, t task) {
	if w.peer == nil {
		return
	}
	params := fmt.Appendf(nil, `{"progressToken":0,"progress":%d`, looks)
	if t.Message != "" {
		params = wire.AppendString(append(params, `,"message":`...), t.Message)
	}
	if err := w.peer.Notify(ctx, methodProgress, append(params, '}')); err != nil {
		w.c.opts.Hooks.ignored("progress that could not be delivered: " + err.Error())
	}
}

// answer asks the asker what a modern server's task needs, and brings it the
// answers. open is the error for one who has to open an address first.
func (w *awaiting) answer(ctx context.Context, t task) (open *wire.Error, err error) {
	all, err := questionsIn(t.Questions)
	if err != nil {
		return nil, protocolFailure("its questions cannot be read: %w", err)
	}
	var questions []exchange.Question
	for _, q := range all {
		if !w.asked[q.Key] {
			questions = append(questions, q)
		}
	}
	if len(questions) == 0 {
		return nil, nil // it has not come to read the answers yet
	}
	if w.rounds++; w.rounds > maxRounds {
		return nil, &failure{
			code: jackfield.Unavailable,
			what: fmt.Sprintf("it asked %d times in a row what it needs for %s and never answered; it seems to go round in circles", maxRounds, w.r.Method),
		}
	}
	answers, err := w.c.askAll(ctx, w.peer, w.r, questions)
	if first, is := errors.AsType[*opens](err); is {
		w.cancel()
		return first.first, nil
	}
	if err != nil {
		return nil, err
	}
	for _, q := range questions {
		w.asked[q.Key] = true
	}
	update := w.request("tasks/update")
	update.Resume = &exchange.Resume{Answers: answers}
	res, err := w.do(ctx, update, nil)
	if err == nil && res.Err != nil {
		err = &failure{
			code: jackfield.Unavailable, err: res.Err,
			what: fmt.Sprintf("it asked something for %s, and did not take the answer: %s", w.r.Method, snippet([]byte(res.Err.Message))),
		}
	}
	return nil, err
}

// result is how a modern server's task ended.
func (w *awaiting) result(t task) (exchange.Result, error) {
	w.ended = true
	switch t.Status {
	case "completed":
		raw, err := completed(t.Result)
		return exchange.Result{Raw: raw, Modern: true}, err
	case "failed":
		e := wire.ParseError(t.Error)
		if t.Error == nil {
			e = &wire.Error{Code: wire.CodeInternal, Message: t.Message}
		}
		return exchange.Result{Err: e, Modern: true}, nil
	}
	what := "it cancelled the task that it made of " + w.r.Method
	if t.Message != "" {
		what += ": " + snippet([]byte(t.Message))
	}
	return exchange.Result{}, &failure{code: jackfield.Unavailable, what: what}
}

// cancel lets the server know that nobody waits for the task any more, without
// making anybody wait for that.
func (w *awaiting) cancel() {
	w.ended = true
	w.c.crew.run(func() {
		ctx, cancel := context.WithTimeout(w.c.life, sideTimeout)
		defer cancel()
		if _, err := w.do(ctx, w.request("tasks/cancel"), nil); err != nil {
			w.c.opts.Hooks.ignored("a task that could not be cancelled: " + err.Error())
		}
	})
}

var resultTypeKeys = []string{"resultType"}

// completed is the result of a task as the result of its call.
func completed(raw wire.Raw) (wire.Raw, error) {
	o, err := wire.ScanObject(raw, resultTypeKeys)
	if err != nil {
		return nil, protocolFailure("the result of its task cannot be read: %w", err)
	}
	o.Set("resultType", wire.Raw(`"complete"`))
	return o.Raw(), nil
}

var (
	metaKeys    = []string{"_meta"}
	relatedKeys = []string{exchange.MetaRelatedTask}
)

// unrelated takes out of a legacy result which task it is of: for the asker there
// was none.
func unrelated(raw wire.Raw) (wire.Raw, error) {
	o, err := wire.ScanObject(raw, metaKeys)
	if err != nil {
		return nil, protocolFailure("the result of its task cannot be read: %w", err)
	}
	meta, err := wire.ScanObject(o.Get("_meta"), relatedKeys)
	if err != nil || meta.Get(exchange.MetaRelatedTask) == nil {
		return raw, nil
	}
	meta.Delete(exchange.MetaRelatedTask)
	if meta.Len() == 0 {
		o.Delete("_meta")
	} else {
		o.Set("_meta", meta.Raw())
	}
	return o.Raw(), nil
}
