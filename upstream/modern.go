package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// doModern plays the upstream half for stateless servers: each request says for
// itself what the asker can do, and questions come back as a result.
func (c *Conn) doModern(ctx context.Context, x *call, r *exchange.Request) (exchange.Result, error) {
	params, err := modernParams(x, r)
	if err != nil {
		return exchange.Result{}, err
	}
	x.modern = true
	if x.name, err = nameOf(r.Method, &params); err != nil {
		return exchange.Result{}, err
	}
	x.params = params.Raw()
	if _, isHTTP := c.link.(*httpLink); isHTTP && c.opts.ParamHeaders != nil {
		x.mirror = paramHeaders(x.params, c.opts.ParamHeaders(r.Method, x.name))
	}
	m, err := c.roundTrip(ctx, x)
	if err != nil {
		return exchange.Result{}, err
	}
	if m.Error != nil {
		e := wire.ParseError(m.Error)
		if c.asksForTask(r, e) {
			return c.asTask(ctx, x, r)
		}
		return c.modernError(e)
	}
	res, err := c.modernResult(r, m.Result)
	switch {
	case err == nil && res.Task:
		return c.modernTask(ctx, x, r, res)
	case err != nil || res.Input == nil || r.Caps.AsResult:
		return res, err
	}
	return c.converse(ctx, x.peer, r, res.Input)
}

var modernVersion = wire.Raw(`"` + exchange.Modern + `"`)

// modernParams are the params of r with what every modern request carries.
func modernParams(x *call, r *exchange.Request) (wire.Object, error) {
	params, err := withMeta(r.Params, func(meta *wire.Object) {
		meta.Set(exchange.MetaProtocolVersion, modernVersion)
		meta.Set(exchange.MetaClientCapabilities, modernCaps(r.Caps))
		info := r.Meta.ClientInfo
		if info == nil {
			info = clientInfo
		}
		meta.Set(exchange.MetaClientInfo, info)
		if r.Meta.LogLevel != "" {
			meta.Set(exchange.MetaLogLevel, wire.AppendString(nil, r.Meta.LogLevel))
		}
		if x.progress {
			meta.Set(exchange.MetaProgressToken, x.key)
		}
	})
	if !r.Caps.AsResult && params.Get("task") != nil {
		params.Delete("task") // a word of 2025-11-25
	}
	if err != nil || r.Resume == nil {
		return params, err
	}
	if r.Resume.Answers != nil {
		params.Set("inputResponses", r.Resume.Answers)
	}
	if r.Resume.State != nil {
		params.Set("requestState", r.Resume.State)
	}
	return params, nil
}

// modernCaps are the capabilities that the server may count on: those of the
// asker, and no more. One that does not take questions as a result is asked here,
// while its request is open.
func modernCaps(caps exchange.Capabilities) wire.Raw {
	if !caps.AsResult {
		return caps.Bridged()
	}
	return caps.Raw()
}

// nameOf is what Mcp-Name says of a request (2026-07-28, Streamable HTTP).
func nameOf(method string, params *wire.Object) (string, error) {
	key := wire.NamedBy(method)
	if key == "" {
		return "", nil
	}
	name, ok := wire.String(params.Get(key))
	if !ok {
		return "", jackfield.Errorf(jackfield.Invalid, "%s: params.%s is missing or not a string", method, key)
	}
	return name, nil
}

// paramHeaders are the headers for the arguments that mirrors name. An argument
// that is absent, null, or no string, integer or boolean has none.
func paramHeaders(params wire.Raw, mirrors []ParamHeader) []pair {
	var pairs []pair
	for _, mirror := range mirrors {
		arg, _ := wire.Argument(params, mirror.Path) // what cannot be read has no header
		if value, ok := wire.HeaderParam(arg); ok {
			pairs = append(pairs, pair{wire.HeaderParamPrefix + mirror.Name, value})
		}
	}
	return pairs
}

// modernError sorts out errors that are about us and not about the request.
func (c *Conn) modernError(e *wire.Error) (exchange.Result, error) {
	switch e.Code {
	case wire.CodeUnsupportedVersion:
		return exchange.Result{}, c.wrongEra()
	case wire.CodeHeaderMismatch:
		// The headers follow the tool's schema as it was listed: it has changed.
		c.opts.Hooks.event("notifications/tools/list_changed", nil)
		return exchange.Result{}, &failure{
			code: jackfield.Unavailable, notSent: true, err: e,
			what: "it wants other headers than its list of tools said (" + snippet([]byte(e.Message)) + "); the list is fetched anew, try again",
		}
	}
	return exchange.Result{Err: e, Modern: true}, nil
}

var resultKeys = []string{"resultType", "inputRequests", "requestState"}

func (c *Conn) modernResult(r *exchange.Request, raw wire.Raw) (exchange.Result, error) {
	res := exchange.Result{Raw: raw, Modern: true}
	o, err := wire.ScanObject(raw, resultKeys)
	if err != nil {
		return exchange.Result{}, protocolFailure("its result of %s cannot be read: %w", r.Method, err)
	}
	switch string(o.Get("resultType")) {
	case `"task"`:
		res.Task = true
		return res, nil
	case `"input_required"`:
	default:
		return res, nil
	}
	res.Input = &exchange.Input{State: o.Get("requestState")}
	if res.Input.Questions, err = questionsIn(o.Get("inputRequests")); err != nil {
		return exchange.Result{}, protocolFailure("its questions cannot be read: %w", err)
	}
	if res.Input.State == nil && len(res.Input.Questions) == 0 {
		return exchange.Result{}, protocolFailure("it wants an answer without having asked anything")
	}
	return res, nil
}

// questionsIn reads inputRequests, in the server's order.
func questionsIn(raw wire.Raw) ([]exchange.Question, error) {
	if raw == nil {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("inputRequests is not an object")
	}
	var questions []exchange.Question
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		var q struct {
			Method string   `json:"method"`
			Params wire.Raw `json:"params"`
		}
		if err := d.Decode(&q); err != nil {
			return nil, err
		}
		if len(questions) == maxQuestions {
			return nil, fmt.Errorf("more than %d at once", maxQuestions)
		}
		questions = append(questions, exchange.Question{Key: fmt.Sprint(key), Method: q.Method, Params: q.Params})
	}
	return questions, nil
}

// listenParams are the params of subscriptions/listen (2026-07-28,
// patterns/subscriptions).
func listenParams(x *call, want wanted) (wire.Raw, error) {
	filter := struct {
		Tools     bool     `json:"toolsListChanged,omitempty"`
		Prompts   bool     `json:"promptsListChanged,omitempty"`
		Resources bool     `json:"resourcesListChanged,omitempty"`
		URIs      []string `json:"resourceSubscriptions,omitempty"`
		Tasks     []string `json:"taskIds,omitempty"`
	}{want.lists, want.lists, want.lists, slices.Sorted(maps.Keys(want.uris)), slices.Sorted(maps.Keys(want.tasks))}
	raw, err := json.Marshal(map[string]any{"notifications": filter})
	if err != nil {
		return nil, err
	}
	r := exchange.Request{Method: x.method}
	if len(want.tasks) > 0 {
		r.Caps = withTasks(r.Caps)
	}
	if r.Params, err = wire.ScanObject(raw, exchange.ParamKeys); err != nil {
		return nil, err
	}
	params, err := modernParams(x, &r)
	return params.Raw(), err
}

// agreedIn reads what a server agreed to tell of.
func agreedIn(params wire.Raw) (wanted, error) {
	var ack struct {
		Notifications struct {
			Tools     bool     `json:"toolsListChanged"`
			Prompts   bool     `json:"promptsListChanged"`
			Resources bool     `json:"resourcesListChanged"`
			URIs      []string `json:"resourceSubscriptions"`
			Tasks     []string `json:"taskIds"`
		} `json:"notifications"`
	}
	if err := json.Unmarshal(params, &ack); err != nil {
		return wanted{}, protocolFailure("its acknowledgement of a subscription cannot be read: %w", err)
	}
	n := &ack.Notifications
	w := wanted{lists: n.Tools || n.Prompts || n.Resources, uris: map[string]bool{}, tasks: map[string]bool{}}
	for _, uri := range n.URIs[:min(len(n.URIs), maxURIs)] {
		w.uris[uri] = true
	}
	for _, id := range n.Tasks[:min(len(n.Tasks), maxURIs)] {
		w.tasks[id] = true
	}
	return w, nil
}
