package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// httpLink is Streamable HTTP: each message of ours is a POST, and the answer to
// a request is one JSON message or a stream of them.
type httpLink struct {
	web
	c *Conn

	// Set by initialize, fixed afterwards.
	session string
	version string
	over    atomic.Bool // the server does not know the session any more

	// ready are the headers of a plain message, made when it is known what the server
	// speaks. Nobody changes them.
	ready http.Header
}

// web sends HTTP requests to one server.
type web struct {
	name   string // of the server's address, for messages
	url    *url.URL
	header http.Header                                // the operator's
	ask    func(context.Context) (http.Header, error) // for those of a request; nil: it has no others
	// An http.Client would follow redirects by its own rules, and copy every header to
	// be able to: fetch has stricter ones.
	transport http.RoundTripper
	own       *http.Transport // closed with the connection; nil when somebody else's
	limit     int             // bytes of a body
}

func newWeb(o *Options) (web, error) {
	u, err := url.Parse(o.Endpoint.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return web{}, &failure{
			code: jackfield.Invalid, stage: StageHTTP, forSomeone: true,
			what: "its url is not an http or https address",
		}
	}
	w := web{name: shownURL(u), url: u, header: http.Header{}, ask: o.Header, limit: o.Limits.Message}
	for k, v := range o.Endpoint.Headers {
		w.header.Set(k, v.Reveal())
	}
	if u.User != nil && w.header.Get("Authorization") == "" {
		password, _ := u.User.Password()
		w.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)))
	}
	switch {
	case o.Client == nil:
		secure, err := o.Endpoint.TLS.Config()
		if err != nil {
			return web{}, &failure{code: jackfield.Invalid, stage: StageTLS, forSomeone: true, what: "its tls settings are wrong: " + err.Error()}
		}
		w.own = newTransport(secure)
		w.transport = w.own
	case o.Client.Transport == nil:
		w.transport = http.DefaultTransport
	default:
		w.transport = o.Client.Transport
	}
	return w, nil
}

func newTransport(secure *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       secure,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          64,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,

		MaxResponseHeaderBytes: 256 << 10,
		// Compressing middleware holds events back until its buffer is full.
		DisableCompression: true,
	}
}

// reply is an HTTP response. The request behind it outlives the caller's context
// for as long as it takes to read to the end, so that the socket can be used
// again.
type reply struct {
	*http.Response
	detach func() bool        // from the caller's context; nil: from none
	cancel context.CancelFunc // nil: the call ends the request
}

// roundTrip sends one HTTP request; header is not changed. The body is in memory:
// one that is still being read when an early answer comes would break the
// connection.
func (w *web) roundTrip(ctx context.Context, method string, to *url.URL, body []byte, header http.Header) (*reply, error) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	detach := context.AfterFunc(ctx, cancel)
	resp, err := w.fetch(own, method, to, body, header) //nolint:bodyclose // whoever gets the reply drops or finishes it
	if err != nil {
		detach()
		cancel()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, w.notAnswered(err)
	}
	return &reply{Response: resp, detach: detach, cancel: cancel}, nil
}

// inMemory is the body of a request. net/http knows these types: it waits for no
// reader, and writes the headers and the body in one.
func inMemory(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

// Leftovers are what may still come after all that matters was read.
const (
	leftoverBytes = 64 << 10
	leftoverTime  = 250 * time.Millisecond
)

// finish reads what is left, within bounds, so that the socket can be used for
// the next request.
func (r *reply) finish() {
	if r.detach != nil {
		r.detach()
	}
	timer := time.AfterFunc(leftoverTime, r.cancel)
	_, _ = io.CopyN(io.Discard, r.Body, leftoverBytes)
	timer.Stop()
	r.drop()
}

// drop ends the response at once.
func (r *reply) drop() {
	if r.detach != nil {
		r.detach()
	}
	if r.cancel != nil {
		r.cancel()
	}
	_ = r.Body.Close()
}

// text reads the whole body.
func (r *reply) text(limit int) ([]byte, error) {
	if r.ContentLength > int64(limit) {
		return nil, tooLarge(limit)
	}
	const first = 1 << 10 // when nothing is announced
	size := first
	if r.ContentLength >= 0 {
		size = int(r.ContentLength) + 1 // one more, to see the end
	}
	text := make([]byte, 0, size)
	for {
		n, err := r.Body.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		switch {
		case len(text) > limit:
			return nil, tooLarge(limit)
		case errors.Is(err, io.EOF):
			return text, nil
		case err != nil:
			return nil, err
		}
		if len(text) == cap(text) {
			text = slices.Grow(text, len(text))
		}
	}
}

func tooLarge(limit int) *failure {
	const name = "limits.message"
	return &failure{
		code: jackfield.Unavailable, kind: jackfield.FailureBudget, stage: StageProtocol, limit: name,
		what: fmt.Sprintf("it sent a message longer than %d bytes; ask for less, or raise %s", limit, name),
	}
}

// mediaType is the essence of the content type, without parameters.
func (r *reply) mediaType() string {
	t, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if t == typeJSON {
		return t
	}
	return strings.ToLower(strings.TrimSpace(t))
}

const (
	typeJSON   = "application/json"
	typeStream = "text/event-stream"
)

// shared are the headers of a message to a server of the era: the operator's, then
// the protocol's, which win. They must not be changed.
func (l *httpLink) shared(modern bool) http.Header {
	if l.ready != nil && modern == l.c.modern() {
		return l.ready
	}
	h := l.header.Clone()
	h.Set("Accept", typeJSON+", "+typeStream)
	h.Set("Content-Type", typeJSON)
	switch {
	case modern:
		h.Set(wire.HeaderProtocolVersion, exchange.Modern)
	case l.version != "":
		h.Set(wire.HeaderProtocolVersion, l.version)
	}
	if l.session != "" {
		h.Set(wire.HeaderSession, l.session)
	}
	return h
}

// bodiless are the headers of a request without a body.
func (l *httpLink) bodiless() http.Header {
	h := maps.Clone(l.shared(false))
	delete(h, "Content-Type")
	return h
}

// idempotent is present but empty where net/http may send a request again on a
// fresh socket, when a reused one turns out closed. The header itself is not sent.
const idempotent = "Idempotency-Key"

// headers are those of a call. They must not be changed.
func (l *httpLink) headers(x *call) http.Header {
	h := l.shared(x.modern)
	again := x.effect != exchange.EffectUnknown
	if !x.modern && !again {
		return h
	}
	h = maps.Clone(h)
	if again {
		h[idempotent] = nil
	}
	if !x.modern {
		return h
	}
	h[wire.HeaderMethod] = []string{x.method}
	if x.name != "" {
		h[wire.HeaderName] = []string{wire.EncodeHeaderValue(x.name)}
	}
	for _, p := range x.mirror {
		h.Set(p.name, p.value)
	}
	return h
}

func (l *httpLink) admit(*call) {}

func (l *httpLink) do(ctx context.Context, x *call) (wire.Message, error) {
	resp, err := l.fetch(ctx, http.MethodPost, l.url, x.text(), l.headers(x)) //nolint:bodyclose // each way that it goes on drops or finishes it
	if err != nil {
		if ctx.Err() != nil {
			return wire.Message{}, context.Cause(ctx)
		}
		return wire.Message{}, l.notAnswered(err)
	}
	rep := &reply{Response: resp}
	x.session = rep.Header.Get(wire.HeaderSession)
	switch {
	case rep.StatusCode/100 != 2:
		return l.refusal(rep, x)
	case rep.mediaType() == typeStream:
		return l.stream(ctx, x, rep)
	case rep.mediaType() == typeJSON:
		return l.single(ctx, x, rep)
	}
	rep.drop()
	return wire.Message{}, protocolFailure("%s answered %s with HTTP status %d and content type %q, which is no answer; is it an MCP endpoint?",
		l.name, x.method, rep.StatusCode, snippet([]byte(rep.Header.Get("Content-Type"))))
}

// single reads an answer that is one JSON text.
func (l *httpLink) single(ctx context.Context, x *call, rep *reply) (answer wire.Message, err error) {
	defer rep.drop()
	text, err := rep.text(l.limit)
	switch {
	case err != nil && ctx.Err() != nil:
		return wire.Message{}, context.Cause(ctx)
	case err != nil:
		return wire.Message{}, brokenOff(x, err)
	}
	answered := false
	err = eachMessage(text, func(m wire.Message) bool {
		// What could not even be read is refused without an id; it can only be ours.
		if answered = string(m.ID) == "null" || l.c.receive(ctx, x, m); answered {
			answer = m
		}
		return answered
	})
	switch {
	case answered:
		return answer, nil
	case err != nil:
		return wire.Message{}, protocolFailure("its answer to %s is not JSON-RPC: %w", x.method, err)
	}
	return wire.Message{}, protocolFailure("it answered %s with something else than the response", x.method)
}

// eachMessage calls f for the message, or for each message of the batch
// (2025-03-26), that text is, until f has enough.
func eachMessage(text []byte, f func(wire.Message) (enough bool)) error {
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '[' {
		m, err := wire.Parse(text)
		if err == nil {
			f(m)
		}
		return err
	}
	var batch []wire.Raw
	if err := json.Unmarshal(text, &batch); err != nil {
		return err
	}
	var failed error
	for _, one := range batch {
		m, err := wire.Parse(one)
		if err != nil {
			failed = err
			continue
		}
		if f(m) {
			return nil
		}
	}
	return failed
}

// brokenOff is the failure of a call whose answer stopped in the middle.
func brokenOff(x *call, err error) error {
	if f := (*failure)(nil); errors.As(err, &f) {
		return f
	}
	return &failure{
		code: jackfield.Unavailable, stage: StageHTTP, serverWide: true, err: err,
		what: fmt.Sprintf("the connection broke off before %s was answered (%v); whether it was carried out is unknown", x.method, rootCause(err)),
	}
}

// refusal makes sense of an answer whose status is not 2xx.
func (l *httpLink) refusal(rep *reply, x *call) (wire.Message, error) {
	const enough = 64 << 10
	defer rep.drop()
	text, _ := rep.text(min(enough, l.limit)) // what cannot be read says nothing
	if rep.StatusCode != http.StatusUnauthorized && rep.StatusCode != http.StatusForbidden &&
		rep.StatusCode != http.StatusTooManyRequests && !l.lost(rep.StatusCode, text, x.key) {
		if m, err := wire.Parse(text); err == nil && m.Error != nil && (string(m.ID) == string(x.key) || string(m.ID) == "null") {
			if x.modern && string(m.ID) == "null" && !x.handshake() && isLegacyCode(wire.ParseError(m.Error).Code) {
				return wire.Message{}, l.c.wrongEra()
			}
			return m, nil
		}
	}
	return wire.Message{}, l.refused(rep, x.method, text, x.key)
}

// isLegacyCode reports whether code comes from the range that servers before
// 2026-07-28 used for errors of the transport.
func isLegacyCode(code int) bool { return code <= -32000 && code > -32020 }

// lost reports whether an answer says that the server forgot our session.
func (l *httpLink) lost(status int, text []byte, key wire.Raw) bool {
	return l.session != "" && forgotten(status, text, key)
}

// refused is the failure that a status other than 2xx stands for. key is the id
// of the request; nil for a message that has none.
func (l *httpLink) refused(rep *reply, method string, text []byte, key wire.Raw) *failure {
	if l.lost(rep.StatusCode, text, key) {
		return l.forgot(rep.StatusCode)
	}
	f := l.web.refused(rep, method, text)
	status, open := rep.StatusCode, l.c.shape.Load() != nil
	switch {
	case open && l.c.modern() && status/100 == 4 && f.code == jackfield.Unavailable:
		// Nothing that a modern server says: the next dial finds out what it is.
		f.notSent = key != nil && (status == http.StatusBadRequest || slices.Contains(untaken, status))
		l.c.spend(f)
	case open && key != nil && slices.Contains(untaken, status):
		f.notSent = true
		l.c.spend(f)
	}
	return f
}

// forgot ends the connection, because the server does not know its session.
func (l *httpLink) forgot(status int) *failure {
	f := &failure{
		code: jackfield.Unavailable, kind: jackfield.FailureSession, stage: StageHTTP, status: status, notSent: true,
		what: "it has forgotten the session (it was restarted, or cleaned up), and with it what it knew of earlier calls; call again to begin a new one",
	}
	l.over.Store(true)
	l.c.spend(f)
	return f
}

// refused is the failure that a status other than 2xx stands for.
func (w *web) refused(rep *reply, method string, text []byte) *failure {
	f := &failure{code: jackfield.Unavailable, stage: StageHTTP, status: rep.StatusCode, retryAfter: retryAfter(rep.Header)}
	switch status := rep.StatusCode; {
	case status == http.StatusUnauthorized:
		f.code, f.stage, f.forSomeone, f.notSent = jackfield.AuthRequired, StageAuth, true, true
		f.what = fmt.Sprintf("%s wants authorization (HTTP 401); set a valid Authorization header for it", w.name)
	case status == http.StatusForbidden:
		f.code, f.stage, f.forSomeone, f.notSent = jackfield.Forbidden, StageAuth, true, true
		f.what = fmt.Sprintf("%s refuses these credentials (HTTP 403); ask its owner for access", w.name)
	case status == http.StatusTooManyRequests:
		f.code, f.notSent = jackfield.Exhausted, true
		f.what = fmt.Sprintf("%s is asked too often (HTTP 429)", w.name)
	case status/100 == 3:
		f.what = fmt.Sprintf("%s redirects to another address (HTTP %d, %s), and such redirects are not followed; write that address into its url",
			w.name, status, shownLocation(rep))
	case status/100 == 5:
		f.serverWide = true
		f.what = fmt.Sprintf("%s failed to answer %s (HTTP %d)", w.name, method, status)
	default:
		f.what = fmt.Sprintf("%s does not accept %s (HTTP %d); is it an MCP endpoint?", w.name, method, status)
	}
	if said := snippet(said(text)); said != "" && f.stage != StageAuth {
		f.what += ": " + said
	}
	if f.retryAfter > 0 {
		f.what += fmt.Sprintf("; it asked to be left alone for %v", f.retryAfter)
	}
	return f
}

// said is the message in an error answer: that of a JSON-RPC error, else the
// text, unless it is a page.
func said(text []byte) []byte {
	var answer struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &answer) == nil && answer.Error.Message != "" {
		return []byte(answer.Error.Message)
	}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("<")) {
		return nil
	}
	return text
}

func shownLocation(rep *reply) string {
	u, err := rep.Location()
	if err != nil {
		return "no address given"
	}
	return shownURL(u)
}

// retryAfter reads Retry-After: seconds or a date (RFC 9110, 10.2.3), a day at
// most.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	var wait time.Duration
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		wait = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = time.Until(at).Round(time.Second)
	}
	return min(max(wait, 0), 24*time.Hour)
}

func (l *httpLink) send(ctx context.Context, m outgoing) error {
	modern := l.c.modern()
	h := l.shared(modern)
	if modern && m.method != "" {
		h = maps.Clone(h)
		h[wire.HeaderMethod] = []string{m.method}
	}
	rep, err := l.roundTrip(ctx, http.MethodPost, l.url, m.text, h)
	if err != nil {
		return err
	}
	if rep.StatusCode/100 == 2 {
		rep.finish()
		return nil
	}
	defer rep.drop()
	text, _ := rep.text(min(leftoverBytes, l.limit))
	return l.refused(rep, "a message", text, nil)
}

// abandon: a modern server takes the end of the stream, which do has closed, for
// the end of the call; a legacy one wants to be told.
func (l *httpLink) abandon(x *call, why error) {
	if !x.modern {
		l.c.tellCancelled(x, why)
	}
}

// close deletes the session.
func (l *httpLink) close(ctx context.Context) error {
	if l.own != nil {
		defer l.own.CloseIdleConnections()
	}
	if l.session == "" || l.over.Load() {
		return nil
	}
	return l.deleteSession(ctx, l.session)
}

// deleteSession ends a session that nobody needs any more. A server that wants
// to keep it (405), or has forgotten it, may.
func (l *httpLink) deleteSession(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	h := l.bodiless()
	h[wire.HeaderSession] = []string{id}
	rep, err := l.roundTrip(ctx, http.MethodDelete, l.url, nil, h)
	if err != nil {
		return err
	}
	rep.finish()
	switch rep.StatusCode {
	case http.StatusMethodNotAllowed, http.StatusNotFound, http.StatusBadRequest:
		return nil
	}
	if rep.StatusCode/100 != 2 {
		return l.web.refused(rep, "the end of the session", nil)
	}
	return nil
}
