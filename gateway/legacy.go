package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

const (
	maxCapabilities = 8 << 10 // bytes of a client's capabilities
	maxClientInfo   = 2 << 10 // bytes kept of who a client says it is; more is for display nobody needs
)

// size says n bytes in words for people.
func size(n int) string {
	if n >= 1<<20 && n%(1<<20) == 0 {
		return strconv.Itoa(n>>20) + " MiB"
	}
	if n >= 1<<10 && n%(1<<10) == 0 {
		return strconv.Itoa(n>>10) + " KiB"
	}
	return strconv.Itoa(n) + " bytes"
}

// parseCapabilities reads a client's capabilities, within bounds.
func parseCapabilities(raw wire.Raw) (exchange.Capabilities, error) {
	if string(raw) == "{}" { // the most common ones, and every request of a modern client has some
		return exchange.Capabilities{}, nil
	}
	if len(raw) > maxCapabilities {
		return exchange.Capabilities{}, jackfield.Errorf(jackfield.Invalid, "the capabilities are larger than %s", size(maxCapabilities))
	}
	caps, err := exchange.ParseCapabilities(raw)
	if err != nil || raw[0] != '{' {
		return exchange.Capabilities{}, jackfield.Errorf(jackfield.Invalid, "the capabilities must be an object of objects")
	}
	return caps, nil
}

// legacy answers a message of the revisions up to 2025-11-25.
func (x *inbound) legacy(in *parts) {
	if x.msg.Method == "initialize" && x.msg.Kind == wire.Request {
		x.initialize(in)
		return
	}
	s := x.session()
	if s == nil {
		return
	}
	defer x.sessions.release(s)
	switch x.msg.Kind {
	case wire.Response:
		s.answered(x.msg)
		x.w.WriteHeader(http.StatusAccepted)
	case wire.Notification:
		x.legacyNotification(s, in)
		x.w.WriteHeader(http.StatusAccepted)
	case wire.Request:
		r := &reply{x: x}
		r.open = func() *stream { return s.newStream(&x.ledger) }
		x.legacyRequest(s, in, r)
	}
}

// session finds the session that the request names and checks the revision that
// it claims to speak. It answers and returns nil when there is none; else the
// caller releases it.
func (x *inbound) session() *session {
	version := x.r.Header.Get(wire.HeaderProtocolVersion)
	if version != "" && !exchange.IsLegacy(version) {
		x.refuse(http.StatusBadRequest, unsupportedVersion(clip(version)))
		return nil
	}
	id := x.r.Header.Get(wire.HeaderSession)
	if id == "" {
		x.refuse(http.StatusBadRequest, &wire.Error{
			Code:    wire.CodeInvalidRequest,
			Message: "the header Mcp-Session-Id is missing: begin with initialize, and send what it answers in that header",
		})
		return nil
	}
	s, err := x.sessions.find(id, x.who.Subject, x.only)
	if err != nil {
		x.refuseError(err)
		return nil
	}
	return s
}

// initialize opens a session.
func (x *inbound) initialize(in *parts) {
	if result, sealed, ok := x.beginSession(in); ok {
		x.w.Header().Set(wire.HeaderSession, sealed)
		(&reply{x: x}).finish(http.StatusOK, result, nil)
	}
}

// beginSession opens a session and returns the result of initialize and the
// session's name; ok is false when it was refused.
func (x *inbound) beginSession(in *parts) (result wire.Raw, sealed string, ok bool) {
	c, err := readClient(in.params.Raw())
	if err != nil {
		x.refuseInvalid(err.Error())
		return nil, "", false
	}
	ctx, cancel := x.gate.bind(x.r.Context(), x.visit)
	defer cancel(nil)
	about, err := x.opts.Broker.About(ctx, broker.Caller{Principal: x.who, Only: x.only, Caps: c.caps})
	if err == nil {
		sealed, err = x.openSession(c)
	}
	if err != nil {
		x.refuseError(err)
		return nil, "", false
	}
	b := append([]byte(`{"protocolVersion":`), wire.AppendString(nil, c.version)...)
	b = append(append(b, `,"capabilities":`...), announced(about.Capabilities, c.version)...)
	b = append(append(b, `,"serverInfo":`...), x.serverInfo(about)...)
	if about.Instructions != "" {
		b = append(b, `,"instructions":`...)
		b = wire.AppendString(b, about.Instructions)
	}
	return append(b, '}'), sealed, true
}

// openSession opens a session, unless its principal was cut off meanwhile.
func (x *inbound) openSession(c client) (sealed string, err error) {
	s, err := x.sessions.open(x.who, x.only, c, func(s *session) exchange.Peer { return &home{x.Handler, s} })
	if err != nil {
		return "", err
	}
	if err := x.gate.gone(x.visit); err != nil {
		x.sessions.end(s, err)
		return "", err
	}
	return s.name, nil
}

var initializeKeys = []string{"protocolVersion", "capabilities", "clientInfo"}

// readClient reads the params of initialize and settles the revision: the
// client's own when it is one of the legacy ones, else the newest of them.
func readClient(params wire.Raw) (client, error) {
	o, err := wire.ScanObject(params, initializeKeys)
	if err != nil {
		return client{}, err
	}
	version, ok := wire.String(o.Get("protocolVersion"))
	if !ok {
		return client{}, errors.New("params.protocolVersion must be a protocol version")
	}
	if !exchange.IsLegacy(version) {
		version = exchange.LatestLegacy
	}
	c := client{version: exchange.LegacyVersions[slices.Index(exchange.LegacyVersions, version)]}
	if raw := o.Get("capabilities"); raw != nil {
		if c.caps, err = parseCapabilities(raw); err != nil {
			return client{}, err
		}
	}
	// What a revision does not have, its clients cannot answer.
	switch c.version {
	case exchange.V20241105, exchange.V20250326:
		c.caps.Form, c.caps.URL = false, false
	case exchange.V20250618:
		c.caps.Form, c.caps.URL = c.caps.Form || c.caps.URL, false
	}
	c.caps.Bridge()
	if raw := o.Get("clientInfo"); raw != nil && raw[0] == '{' && len(raw) <= maxClientInfo {
		c.info = slices.Clone(raw) // the body is let go of
	}
	return c, nil
}

// caller is who asks in the session.
func (x *inbound) caller(s *session) broker.Caller {
	return broker.Caller{Principal: x.who, Only: x.only, Session: s.id, Caps: s.caps, Home: s.home}
}

func (x *inbound) legacyNotification(s *session, in *parts) {
	switch x.msg.Method {
	case "notifications/initialized":
	case "notifications/cancelled":
		if o, err := wire.ScanObject(in.params.Raw(), []string{"requestId"}); err == nil {
			s.cancel(o.Get("requestId"))
		}
	default:
		if req, _, err := in.request(x.msg.Method, s.caps); err == nil {
			x.opts.Broker.Notify(x.r.Context(), x.caller(s), x.msg.Method, notificationParams(&req.Params))
		}
	}
}

// legacyRequest answers one request on r.
func (x *inbound) legacyRequest(s *session, in *parts, r *reply) {
	switch x.msg.Method {
	case "ping":
		r.finish(http.StatusOK, wire.Raw("{}"), nil)
		return
	case "logging/setLevel":
		level, _ := wire.String(in.params.Get("level"))
		if levels[level] == 0 {
			r.finish(http.StatusOK, nil, &wire.Error{Code: wire.CodeInvalidParams, Message: "params.level must be a log level, debug to emergency"})
			return
		}
		s.setLogLevel(level)
		r.finish(http.StatusOK, wire.Raw("{}"), nil)
		return
	case "server/discover", "subscriptions/listen", "initialize",
		"sampling/createMessage", "elicitation/create", "roots/list":
		r.finish(http.StatusOK, nil, &wire.Error{
			Code: wire.CodeMethodNotFound, Message: "there is no " + x.msg.Method + " in a session of protocol version " + s.version,
		})
		return
	}
	req, token, err := in.request(x.msg.Method, s.caps)
	if err == nil {
		err = x.legacyTask(s, req)
	}
	if err != nil {
		status, e := x.fail(err, x.msg.Method, false)
		r.finish(status, nil, e)
		return
	}
	req.Meta.ClientInfo, req.Meta.LogLevel = s.info, s.logLevel()
	ctx, done, err := s.begin(x)
	if err != nil {
		status, e := x.refusal(err)
		r.finish(status, nil, e)
		return
	}
	defer done()
	r.token = token
	r.watch()
	answered := false
	defer func() {
		r.close()
		s.retire(r.streamed(), answered, x.opts.Timing.Replay)
	}()
	res, err := x.legacyDo(ctx, s, req, &legacyPeer{reply: r, s: s})
	if wasCancelled(ctx) {
		r.abandon()
		return
	}
	status, raw, e := x.legacyAnswer(ctx, s, res, err)
	r.finish(status, raw, e)
	answered = true
}

// legacyAnswer puts the end of an exchange into the words of the older revisions.
func (x *inbound) legacyAnswer(ctx context.Context, s *session, res exchange.Result, err error) (int, wire.Raw, *wire.Error) {
	if err == nil && res.Err != nil {
		raw, e := x.legacyError(s.caps, res)
		return http.StatusOK, raw, e
	}
	var raw wire.Raw
	if err == nil {
		if raw, err = legacyResult(res); err == nil {
			raw, err = converted(s.version, x.msg.Method, res, raw)
		}
	} else if ended := context.Cause(ctx); ended != nil {
		err = ended
	}
	if err != nil {
		if raw = x.wants(err); raw != nil {
			return http.StatusOK, raw, nil
		}
		status, e := x.fail(err, x.msg.Method, false)
		return status, nil, e
	}
	return http.StatusOK, raw, nil
}

// legacyPeer is the way back of one legacy exchange.
type legacyPeer struct {
	*reply
	s      *session
	server string // whose task the exchange is about; empty: it is about none
}

// Notify passes on everything but what the client did not ask for.
func (p *legacyPeer) Notify(_ context.Context, method string, params wire.Raw) error {
	switch method {
	case "notifications/message":
		if levelOf(params) < levels[p.s.logLevel()] {
			return nil
		}
	case "notifications/cancelled":
		return nil // it names the server's request, not ours; ask tells the client
	}
	return p.tell(method, p.x.related(p.s.owner, p.server, params))
}

// Ask asks the client on the stream of its own request.
func (p *legacyPeer) Ask(ctx context.Context, questions []exchange.Question) ([]exchange.Answer, error) {
	return p.x.askAbout(ctx, p.s, p.server, questions, func(msg []byte) bool { return p.push(msg, needed) })
}
