package gateway

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// post reads the message and hands it to the face of its era.
func (x *inbound) post() {
	if !x.sendsJSON() {
		return
	}
	if accept := x.r.Header["Accept"]; !accepts(accept, "application/json") || !accepts(accept, "text/event-stream") {
		x.refuseAccept("application/json and text/event-stream")
		return
	}
	defer func() { x.bodies.Add(-x.held) }()
	in, ok := x.receive(x.legacyBatch)
	if !ok {
		return
	}
	if x.msg.Kind == wire.Request && x.msg.Method != "ping" && x.gate.draining.Load() && !x.goesOn(&in) {
		x.refuseError(errClosing)
		return
	}
	if x.isModern(&in) {
		x.modern(&in)
		return
	}
	x.legacy(&in)
}

// sendsJSON refuses a body that does not say that it is JSON.
func (x *inbound) sendsJSON() bool {
	if isJSON(x.r.Header.Get("Content-Type")) {
		return true
	}
	x.refuse(http.StatusUnsupportedMediaType, &wire.Error{
		Code: wire.CodeInvalidRequest, Message: "the body must be JSON and the Content-Type application/json",
	})
	return false
}

// receive reads the message of the body, whose bytes are held from then on. It is not
// ok when the message was refused, or was a batch, which several takes.
func (x *inbound) receive(several func(body []byte)) (in parts, ok bool) {
	body, held, err := x.read()
	x.held = held
	if err != nil {
		x.refuseBody(err)
		return in, false
	}
	if batch(body) {
		several(body)
		return in, false
	}
	if x.msg, err = wire.Parse(body); err == nil {
		in, err = split(x.msg.Params)
	}
	if err != nil {
		x.refuseMessage(err)
		return in, false
	}
	return in, true
}

// isModern tells the eras apart: a stateless request says so in its _meta, and
// in a header that a proxy can read.
func (x *inbound) isModern(in *parts) bool {
	return x.msg.Kind != wire.Response && in.meta.Get(exchange.MetaProtocolVersion) != nil ||
		x.r.Header.Get(wire.HeaderProtocolVersion) == exchange.Modern
}

var (
	typeJSON   = []string{"application/json"}
	typeStream = []string{"text/event-stream"}
	noStore    = []string{"no-store"}
	noBuffer   = []string{"no"}
)

var errTooLarge = errors.New("the body is too large")

// What a body gets before any of it has come, when its length is announced and
// when it is not.
const (
	announcedRead = 64 << 10
	firstRead     = 4 << 10
)

// read reads the whole body. held is what it takes of the memory for bodies; the
// caller gives it back.
func (x *inbound) read() (body []byte, held int64, err error) {
	limit := x.opts.Limits.Body
	if x.r.ContentLength > int64(limit) {
		return nil, 0, errTooLarge
	}
	reading := &deadline{}
	reading.begin(x.clocks.body, x.w, (*http.ResponseController).SetReadDeadline)
	defer reading.end()
	size, whole := firstRead, limit+1 // one more, to see the end
	if n := x.r.ContentLength; n >= 0 {
		whole = int(n) + 1
		size = min(whole, announcedRead)
	}
	body = make([]byte, 0, size)
	grow := func() error {
		held += int64(cap(body))
		if x.bodies.Add(int64(cap(body))) > int64(x.opts.Limits.Bodies) {
			return jackfield.Errorf(jackfield.Exhausted, "the gateway is reading all the request bodies that it can hold; try again in a moment")
		}
		return nil
	}
	if err := grow(); err != nil {
		return nil, held, err
	}
	for {
		n, err := x.r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > limit:
			return nil, held, errTooLarge
		case errors.Is(err, io.EOF):
			return body, held, nil
		case err != nil:
			return nil, held, err
		}
		if len(body) == cap(body) {
			larger := make([]byte, len(body), max(min(4*cap(body), whole), len(body)+1))
			copy(larger, body)
			body = larger
			if err := grow(); err != nil {
				return nil, held, err
			}
		}
	}
}

func (x *inbound) refuseBody(err error) {
	_, coded := errors.AsType[*jackfield.Error](err)
	_, capped := errors.AsType[*http.MaxBytesError](err)
	switch {
	case coded:
		x.refuseError(err)
	case errors.Is(err, errTooLarge) || capped:
		x.w.Header().Set("Connection", "close") // the rest of the body is not worth reading
		x.refuse(http.StatusRequestEntityTooLarge, &wire.Error{
			Code:    wire.CodeInvalidRequest,
			Message: "the body is larger than this gateway takes (" + size(x.opts.Limits.Body) + ")",
		})
	default:
		x.w.Header().Set("Connection", "close")
		x.refuse(http.StatusBadRequest, &wire.Error{Code: wire.CodeParse, Message: "the body did not arrive whole"})
	}
}

// refuseMessage refuses what is not a message that may be read in one way only.
func (x *inbound) refuseMessage(err error) {
	code := wire.CodeInvalidRequest
	if errors.Is(err, wire.ErrSyntax) {
		code = wire.CodeParse
	}
	if inner, ok := errors.AsType[*wire.Error](err); ok {
		x.refuse(http.StatusBadRequest, inner)
		return
	}
	x.refuse(http.StatusBadRequest, &wire.Error{Code: code, Message: err.Error()})
}

func (x *inbound) refuseAccept(what string) {
	x.refuse(http.StatusNotAcceptable, &wire.Error{
		Code: wire.CodeInvalidRequest, Message: "the Accept header must allow " + what,
	})
}

// batch reports whether the body begins as a JSON array.
func batch(body []byte) bool {
	for _, c := range body {
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		}
		return c == '['
	}
	return false
}

// isJSON reports whether a Content-Type header says JSON.
func isJSON(header string) bool {
	if header == "application/json" { // as nearly everybody writes it
		return true
	}
	media, _, err := mime.ParseMediaType(header)
	return err == nil && media == "application/json"
}

// accepts reports whether an Accept header takes the media type, which is of the
// form kind/name. A missing header takes everything (RFC 9110, 12.5.1).
func accepts(header []string, media string) bool {
	if len(header) == 1 && header[0] == "application/json, text/event-stream" { // as nearly everybody writes it
		return media == "application/json" || media == "text/event-stream"
	}
	kind, _, _ := strings.Cut(media, "/")
	for _, line := range header {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			name = strings.TrimSpace(name)
			refused := strings.TrimSpace(params) == "q=0"
			if !refused && (strings.EqualFold(name, media) || name == "*/*" ||
				len(name) == len(kind)+2 && strings.EqualFold(name[:len(kind)], kind) && name[len(kind):] == "/*") {
				return true
			}
		}
	}
	return len(header) == 0
}

// parts are the params of a message, taken apart.
type parts struct {
	params wire.Object // watches exchange.ParamKeys
	meta   wire.Object // params._meta; watches exchange.MetaKeys
}

func split(raw wire.Raw) (parts, error) {
	if raw == nil {
		return parts{params: wire.NewObject(exchange.ParamKeys), meta: wire.NewObject(exchange.MetaKeys)}, nil
	}
	var p parts
	var err error
	if p.params, err = wire.ScanObject(raw, exchange.ParamKeys); err != nil {
		return p, err
	}
	meta := p.params.Get("_meta")
	if meta == nil {
		p.meta = wire.NewObject(exchange.MetaKeys)
		return p, nil
	}
	if meta[0] != '{' {
		return p, &wire.Error{Code: wire.CodeInvalidParams, Message: "params._meta must be an object"}
	}
	p.meta, err = wire.ScanObject(meta, exchange.MetaKeys)
	return p, err
}

// request makes the exchange of a message: what belongs to the protocol is taken
// out of params. token is the progress token exactly as the client typed it.
func (p *parts) request(method string, caps exchange.Capabilities) (r *exchange.Request, token wire.Raw, err error) {
	token = p.meta.Get(exchange.MetaProgressToken)
	if token != nil && token[0] != '"' && !integer(token) {
		return nil, nil, &wire.Error{Code: wire.CodeInvalidParams, Message: "the progress token must be a string or an integer"}
	}
	r = &exchange.Request{Method: method, Caps: caps}
	edited := false
	for _, k := range exchange.MetaKeys {
		if p.meta.Get(k) != nil {
			p.meta.Delete(k)
			edited = true
		}
	}
	if edited {
		if p.meta.Len() == 0 {
			p.params.Delete("_meta")
		} else {
			p.params.Set("_meta", p.meta.Raw())
		}
	}
	p.params.Delete("inputResponses")
	p.params.Delete("requestState")
	r.Params = p.params
	return r, token, nil
}

func integer(raw wire.Raw) bool {
	for i, c := range raw {
		if (c < '0' || c > '9') && (c != '-' || i > 0) {
			return false
		}
	}
	return len(raw) > 0
}

// The log levels, mildest first (RFC 5424).
var levels = map[string]int{
	"debug": 1, "info": 2, "notice": 3, "warning": 4, "error": 5, "critical": 6, "alert": 7, "emergency": 8,
}

// levelOf is the rank of a log message's level. A level that nobody knows passes
// every filter.
func levelOf(params wire.Raw) int {
	o, err := wire.ScanObject(params, logKeys)
	if err != nil {
		return 0
	}
	name, _ := wire.String(o.Get("level"))
	if n, ok := levels[name]; ok {
		return n
	}
	return len(levels)
}

var (
	logKeys      = []string{"level"}
	progressKeys = []string{"progressToken"}
)

// withToken puts the client's own token into a progress notification.
func withToken(params, token wire.Raw) (wire.Raw, error) {
	o, err := wire.ScanObject(params, progressKeys)
	if err != nil {
		return nil, err
	}
	o.Set("progressToken", token)
	return o.Raw(), nil
}
