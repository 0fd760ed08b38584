package gateway

import (
	"context"
	"net/http"
	"strconv"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// modern answers a message of the 2026-07-28 revision.
func (x *inbound) modern(in *parts) {
	switch x.msg.Kind {
	case wire.Response:
		x.refuse(http.StatusBadRequest, &wire.Error{
			Code: wire.CodeInvalidRequest, Message: "in this protocol revision clients send no responses; questions are answered by a retry",
		})
		return
	case wire.Notification:
		x.modernNotification(in)
		return
	case wire.Request:
	}
	caps, e := x.envelope(in)
	if e == nil {
		e = x.mirrored(in)
	}
	if e != nil {
		x.refuse(http.StatusBadRequest, e)
		return
	}
	caller := broker.Caller{Principal: x.who, Only: x.only, Caps: caps}
	switch x.msg.Method {
	case "initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe",
		"sampling/createMessage", "elicitation/create", "roots/list", "tasks/list", "tasks/result":
		x.refuse(http.StatusNotFound, &wire.Error{
			Code: wire.CodeMethodNotFound, Message: "there is no " + x.msg.Method + " in protocol version " + exchange.Modern,
		})
	case "server/discover":
		x.discover(caller)
	case "subscriptions/listen":
		x.listen(in, caller)
	case "tasks/get", "tasks/update", "tasks/cancel":
		x.modernTask(in, caller)
	default:
		x.modernExchange(in, caller)
	}
}

func (x *inbound) modernNotification(in *parts) {
	if e := x.sameHeader(wire.HeaderProtocolVersion, exchange.Modern); e != nil {
		x.refuse(http.StatusBadRequest, e)
		return
	}
	// Closing the stream cancels here; the notification is for stdio.
	if x.msg.Method != "notifications/cancelled" {
		var caps exchange.Capabilities
		if raw := in.meta.Get(exchange.MetaClientCapabilities); raw != nil { // only requests must declare them
			caps, _ = parseCapabilities(raw)
		}
		if req, _, err := in.request(x.msg.Method, caps); err == nil {
			x.opts.Broker.Notify(x.r.Context(), broker.Caller{Principal: x.who, Only: x.only, Caps: caps}, x.msg.Method, notificationParams(&req.Params))
		}
	}
	x.w.WriteHeader(http.StatusAccepted)
}

// notificationParams is the text of params; nil when there are none.
func notificationParams(o *wire.Object) wire.Raw {
	if o.IsZero() {
		return nil
	}
	return o.Raw()
}

// sameHeader checks that the header stands once and says want.
func (x *inbound) sameHeader(name, want string) *wire.Error {
	if values := x.r.Header[name]; len(values) != 1 || values[0] != want {
		return headerMismatch(name, values, want)
	}
	return nil
}

func headerMismatch(name string, values []string, want string) *wire.Error {
	message := "the header " + name
	switch len(values) {
	case 0:
		message += " is missing"
	case 1:
		message += " says " + strconv.Quote(clip(values[0]))
	default:
		message += " stands more than once"
	}
	return &wire.Error{Code: wire.CodeHeaderMismatch, Message: message + "; the message says " + strconv.Quote(clip(want))}
}

func invalidMeta(key, what string) *wire.Error {
	return &wire.Error{
		Code:    wire.CodeInvalidParams,
		Message: "params._meta[" + strconv.Quote(key) + "] must be " + what,
	}
}

// envelope checks what every request must carry in _meta (2026-07-28, basic) and
// the header that repeats its version, and reads the capabilities.
func (x *inbound) envelope(in *parts) (exchange.Capabilities, *wire.Error) {
	var none exchange.Capabilities
	version, ok := wire.String(in.meta.Get(exchange.MetaProtocolVersion))
	if !ok {
		return none, invalidMeta(exchange.MetaProtocolVersion, "a protocol version")
	}
	if e := x.sameHeader(wire.HeaderProtocolVersion, version); e != nil {
		return none, e
	}
	if version != exchange.Modern {
		return none, unsupportedVersion(version)
	}
	raw := in.meta.Get(exchange.MetaClientCapabilities)
	if raw == nil || raw[0] != '{' {
		return none, invalidMeta(exchange.MetaClientCapabilities, "an object")
	}
	caps, err := x.declared(raw)
	if err != nil {
		return none, invalidMeta(exchange.MetaClientCapabilities, "an object of capability objects, of at most "+size(maxCapabilities))
	}
	caps.AsResult = true
	if info := in.meta.Get(exchange.MetaClientInfo); info != nil && info[0] != '{' {
		return none, invalidMeta(exchange.MetaClientInfo, "an object")
	}
	if level := in.meta.Get(exchange.MetaLogLevel); level != nil {
		if name, _ := wire.String(level); levels[name] == 0 {
			return none, invalidMeta(exchange.MetaLogLevel, "a log level, debug to emergency")
		}
	}
	return caps, nil
}

// declared reads a request's capabilities. A client declares the same with each
// request, so the last ones that were read are kept.
func (h *Handler) declared(raw wire.Raw) (exchange.Capabilities, error) {
	if last := h.lastCaps.Load(); last != nil && last.Declared == string(raw) {
		return *last, nil
	}
	caps, err := parseCapabilities(raw)
	if err == nil && caps.Declared != "" {
		h.lastCaps.Store(&caps)
	}
	return caps, err
}

// mirrored checks the headers that repeat parts of the body, so that a proxy that
// went by the headers and a server that goes by the body mean the same request
// (2026-07-28, basic/transports/streamable-http, server validation).
func (x *inbound) mirrored(in *parts) *wire.Error {
	if e := x.sameHeader(wire.HeaderMethod, x.msg.Method); e != nil {
		return e
	}
	key := wire.NamedBy(x.msg.Method)
	if key == "" {
		return nil
	}
	want, ok := wire.String(in.params.Get(key))
	if !ok {
		return &wire.Error{Code: wire.CodeInvalidParams, Message: "params." + key + " must be a string"}
	}
	values := x.r.Header[wire.HeaderName]
	if len(values) == 1 {
		if got, err := wire.DecodeHeaderValue(values[0]); err == nil && got == want {
			return nil
		}
	}
	return headerMismatch(wire.HeaderName, values, want)
}

// discover answers server/discover.
func (x *inbound) discover(c broker.Caller) {
	ctx, cancel := x.gate.bind(x.r.Context(), x.visit)
	defer cancel(nil)
	r := &reply{x: x, open: x.unnamed}
	r.watch()
	defer r.close()
	about, err := x.opts.Broker.About(ctx, c)
	if err != nil {
		status, e := x.fail(err, x.msg.Method, true)
		r.finish(status, nil, e)
		return
	}
	r.finish(http.StatusOK, x.discovery(about), nil)
}

// discovery is the result of server/discover.
func (x *inbound) discovery(about broker.About) wire.Raw {
	b := []byte(`{"resultType":"complete","supportedVersions":[`)
	for i, v := range exchange.Versions {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(b, v)
	}
	b = append(b, `],"capabilities":`...)
	b = append(b, announced(about.Capabilities, exchange.Modern)...)
	if about.Instructions != "" {
		b = append(b, `,"instructions":`...)
		b = wire.AppendString(b, about.Instructions)
	}
	b = append(b, `,"ttlMs":`...)
	b = strconv.AppendInt(b, max(0, about.TTL.Milliseconds()), 10)
	scope := "private"
	if about.Public {
		scope = "public"
	}
	b = append(b, `,"cacheScope":"`+scope+`","_meta":{"`+metaServerInfo+`":`...)
	b = append(b, x.serverInfo(about)...)
	return append(b, "}}"...)
}

// serverInfo is who answers: the one server, unless it does not say who it is.
func (x *inbound) serverInfo(about broker.About) wire.Raw {
	if about.ServerInfo != nil && string(about.ServerInfo) != "{}" {
		return about.ServerInfo
	}
	return x.opts.ServerInfo
}

func orEmpty(object wire.Raw) wire.Raw {
	if object == nil {
		return wire.Raw("{}")
	}
	return object
}

func (h *Handler) unnamed() *stream { return newStream("", &h.ledger) }

// modernExchange has the broker answer.
func (x *inbound) modernExchange(in *parts, c broker.Caller) {
	peer := modernPeer{reply: &reply{x: x, open: x.unnamed}}
	info, level := in.meta.Get(exchange.MetaClientInfo), in.meta.Get(exchange.MetaLogLevel)
	answers, state := in.params.Get("inputResponses"), in.params.Get("requestState")
	var back *ticket
	req, token, err := in.request(x.msg.Method, c.Caps)
	if err == nil {
		peer.token = token
		req.Meta.ClientInfo = info
		req.Meta.LogLevel, _ = wire.String(level)
		peer.level = levels[req.Meta.LogLevel]
		req.Resume, back, err = x.resume(answers, state)
	}
	if err == nil {
		err = x.checkParamHeaders(req, c)
	}
	if err != nil {
		status, e := x.fail(err, x.msg.Method, true)
		if e.Code == wire.CodeInvalidParams {
			status = http.StatusBadRequest
		}
		x.refuse(status, e)
		return
	}
	if back != nil || asksBack(x.msg.Method) && c.Caps.CanBeAsked() { // one who comes back may answer nothing any more
		x.parkable(c, req, &peer, back, answers)
		return
	}
	ctx, cancel := x.gate.bind(x.r.Context(), x.visit)
	defer cancel(nil)
	peer.watch()
	defer peer.close()
	res, err := x.opts.Broker.Do(ctx, c, req, &peer)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	status, raw, e := x.modernAnswer(c.Caps, res, err)
	peer.finish(status, raw, e)
}

// resume reads a retry's answers and opens its state: the server's own, or the
// ticket of an exchange that waits here.
func (x *inbound) resume(answers, state wire.Raw) (*exchange.Resume, *ticket, error) {
	if answers == nil && state == nil {
		return nil, nil, nil
	}
	if !asksBack(x.msg.Method) {
		return nil, nil, jackfield.Errorf(jackfield.Invalid, "%s takes neither inputResponses nor requestState", clip(x.msg.Method))
	}
	if answers != nil && answers[0] != '{' {
		return nil, nil, jackfield.Errorf(jackfield.Invalid, "inputResponses must be an object")
	}
	if state == nil {
		return &exchange.Resume{Answers: answers}, nil, nil
	}
	b, err := x.bindingOf(x.msg.Params)
	if err != nil {
		return nil, nil, err
	}
	kind, inside, err := x.unsealState(b, state)
	switch {
	case err != nil:
		return nil, nil, err
	case kind == parkedState:
		back, err := parseTicket(inside)
		return nil, back, err
	case kind == openState:
		return nil, nil, opened(answers)
	}
	server, own, ok := cutText(inside)
	if !ok {
		return nil, nil, jackfield.Errorf(jackfield.Invalid, "this requestState is of another form; send the request again without it")
	}
	return &exchange.Resume{Answers: answers, State: wire.Raw(own), Server: server}, nil, nil
}

// modernAnswer puts the end of an exchange into the modern revision's words.
func (x *inbound) modernAnswer(caps exchange.Capabilities, res exchange.Result, err error) (int, wire.Raw, *wire.Error) {
	if err == nil && res.Err != nil && res.Err.Code == wire.CodeURLElicitationFirst {
		return x.openFirst(caps, res.Err)
	}
	if err == nil && res.Err != nil {
		e := modernError(res.Err, res.Modern)
		return modernStatus(e.Code), nil, e
	}
	var raw wire.Raw
	switch {
	case err != nil:
		if wants := x.wants(err); wants != nil {
			raw, err = modernResult(exchange.Result{Raw: wants}, x.msg.Method, x.opts.ServerInfo)
		}
	case res.Input != nil:
		raw, err = x.questions(res)
	case res.Task:
		raw, err = x.named(x.who.Subject, res.Server, res.Raw)
	default:
		raw, err = modernResult(res, x.msg.Method, x.opts.ServerInfo)
	}
	if err != nil {
		status, e := x.fail(err, x.msg.Method, true)
		return status, nil, e
	}
	return http.StatusOK, raw, nil
}

// questions passes a server's questions on, with its state sealed.
func (x *inbound) questions(res exchange.Result) (wire.Raw, error) {
	if !asksBack(x.msg.Method) {
		return nil, jackfield.Errorf(jackfield.Internal, "the server answered %s with questions, which the protocol does not allow", clip(x.msg.Method))
	}
	if res.Input.State == nil {
		return res.Raw, nil
	}
	b, err := x.bindingOf(x.msg.Params)
	if err != nil {
		return nil, err
	}
	o, err := wire.ScanObject(res.Raw, resultKeys)
	if err != nil {
		return nil, malformed(err)
	}
	o.Set("requestState", x.sealState(b, relayedState, append(appendText(nil, res.Server), res.Input.State...)))
	return o.Raw(), nil
}

// modernPeer is the way back of one modern exchange.
type modernPeer struct {
	*reply
	level int // of the log messages that are wanted; 0: none
}

// Notify passes on what belongs to the request. Changes of lists and resources do
// not: they have subscriptions/listen.
func (p *modernPeer) Notify(_ context.Context, method string, params wire.Raw) error {
	switch method {
	case "notifications/message":
		if p.level == 0 || levelOf(params) < p.level {
			return nil
		}
	case "notifications/cancelled", "notifications/elicitation/complete", "notifications/tasks",
		"notifications/tools/list_changed", "notifications/prompts/list_changed",
		"notifications/resources/list_changed", "notifications/resources/updated":
		return nil
	}
	return p.tell(method, params)
}

// Ask answers each question with an error that says why, so that the server can
// tell: these are requests that cannot end in questions, or of clients that declared
// no answers. A refusal in the client's name would be a lie.
func (p *modernPeer) Ask(_ context.Context, questions []exchange.Question) ([]exchange.Answer, error) {
	answers := make([]exchange.Answer, len(questions))
	for i, q := range questions {
		answers[i].Err = &wire.Error{Code: codeUnavailable, Message: "the server wants to ask its client something (" + clip(q.Method) +
			") in the middle of " + clip(p.x.msg.Method) + ", which this client did not say that it can answer, or the protocol does not allow"}
	}
	return answers, nil
}

// checkParamHeaders compares the headers that repeat arguments with the arguments
// (2026-07-28, SEP-2243).
func (x *inbound) checkParamHeaders(req *exchange.Request, c broker.Caller) error {
	if x.opts.ParamHeaders == nil || req.Method != "tools/call" {
		return nil
	}
	tool, _ := wire.String(req.Params.Get("name"))
	for _, p := range x.opts.ParamHeaders(c, tool) {
		arg, err := wire.Argument(x.msg.Params, p.Path)
		if err != nil {
			return err
		}
		name := wire.HeaderParamPrefix + p.Name
		values := x.r.Header[http.CanonicalHeaderKey(name)]
		if _, has := wire.HeaderParam(arg); !has {
			continue // a header without an argument says nothing that anybody relies on
		}
		if len(values) != 1 || !wire.HeaderParamMatches(values[0], arg) {
			return headerMismatch(name, values, string(arg))
		}
	}
	return nil
}
