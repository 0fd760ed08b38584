package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/upstream"
	"github.com/jackfield-dev/jackfield/wire"
)

const (
	maxPumped   = 256              // requests of the client at once; more wait
	streamPause = time.Second      // before the stream of a session is opened again
	quitWithin  = 2 * time.Second  // to end the session
	pumpedError = 1503             // the gateway's code for what cannot be reached
	sayWithin   = 30 * time.Second // for a notification, or an answer to a question
)

// pump carries the messages of one client between stdin and stdout and a gateway.
// It speaks the client's own protocol revision to the gateway, so that nothing is
// translated here: a message is a POST, and what comes back are lines.
type pump struct {
	out     io.Writer
	gateway *client
	path    string

	writing  sync.Mutex    // held while a line is written
	renewing chan struct{} // has room for the one that opens a new session

	mu      sync.Mutex // guards what follows
	session string     // of a legacy client
	version string     // that it agreed on
	hello   []byte     // its initialize, to begin anew when the gateway was restarted
	open    map[string]context.CancelFunc
	listens bool // somebody reads the session's own stream

	calls sync.WaitGroup // requests of the client
	work  sync.WaitGroup // what lasts as long as it does
}

// serve carries messages until in ends, or ctx does.
func (p *pump) serve(ctx context.Context, in io.Reader) {
	p.open = map[string]context.CancelFunc{}
	p.renewing = make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(ctx)
	lines := make(chan []byte)
	go func() { // a Read of stdin cannot be ended
		defer close(lines)
		r := wire.NewLineReader(in, 0)
		for {
			line, err := r.Next()
			if errors.Is(err, wire.ErrTooLarge) {
				p.fail(nil, wire.CodeInvalidRequest, err.Error())
				continue
			}
			if err != nil {
				return
			}
			select {
			case lines <- bytes.Clone(line):
			case <-ctx.Done():
				return
			}
		}
	}()
	slots := make(chan struct{}, maxPumped)
	for done := false; !done; {
		select {
		case line, more := <-lines:
			if more {
				p.take(ctx, line, slots)
			}
			done = !more
		case <-ctx.Done():
			done = true
		}
	}
	p.rest(ctx)
	cancel()
	p.calls.Wait()
	p.work.Wait()
	p.quit(context.WithoutCancel(ctx))
	p.gateway.http.CloseIdleConnections()
}

// rest lets requests end that the client has not waited for, as a script does that
// writes its lines and closes.
func (p *pump) rest(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		p.calls.Wait()
		close(ended)
	}()
	patience := time.NewTimer(quitWithin)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C:
	case <-ctx.Done():
	}
}

// take takes one message of the client's.
func (p *pump) take(ctx context.Context, line []byte, slots chan struct{}) {
	m, err := wire.Parse(line)
	if err != nil {
		code := wire.CodeInvalidRequest
		if errors.Is(err, wire.ErrSyntax) {
			code = wire.CodeParse
		}
		p.fail(nil, code, err.Error())
		return
	}
	switch {
	case m.Kind == wire.Notification && m.Method == "notifications/cancelled" && p.cancelled(m):
	case m.Kind != wire.Request:
		p.say(ctx, line, m)
		if m.Method == "notifications/initialized" {
			p.listen(ctx)
		}
	case m.Method == "initialize":
		p.ask(ctx, line, m) // nothing else makes sense before it is answered
	default:
		own, cancel := context.WithCancel(ctx)
		p.mu.Lock()
		p.open[string(m.ID)] = cancel
		p.mu.Unlock()
		p.calls.Go(func() {
			defer func() {
				p.mu.Lock()
				delete(p.open, string(m.ID))
				p.mu.Unlock()
				cancel()
			}()
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				p.ask(own, line, m)
			case <-own.Done():
			}
		})
	}
}

// cancelled ends a request of a client without a session, which is how the gateway
// is told; in a session the gateway gets the notification.
func (p *pump) cancelled(m wire.Message) bool {
	o, err := wire.ScanObject(m.Params, []string{"requestId"})
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || p.session != "" {
		return false
	}
	if cancel := p.open[string(o.Get("requestId"))]; cancel != nil {
		cancel()
	}
	return true
}

// say passes on what has no answer.
func (p *pump) say(ctx context.Context, line []byte, m wire.Message) {
	ctx, cancel := context.WithTimeout(ctx, sayWithin)
	defer cancel()
	if resp, err := p.post(ctx, line, m, nil); err == nil {
		_ = resp.Body.Close() // nobody could be told
	}
}

// ask passes a request on and writes what comes back.
func (p *pump) ask(ctx context.Context, line []byte, m wire.Message) {
	var mirrors []upstream.ParamHeader
	for again := true; ; again = false {
		resp, err := p.post(ctx, line, m, mirrors)
		if ctx.Err() != nil {
			if err == nil {
				_ = resp.Body.Close()
			}
			return // it was cancelled, or the client is gone
		}
		if err != nil {
			p.fail(m.ID, pumpedError, p.gateway.unreachable(err).Error())
			return
		}
		if m.Method == "initialize" && resp.StatusCode == http.StatusOK {
			p.begun(resp.Header.Get(wire.HeaderSession), line)
		}
		retry := p.answer(ctx, resp, m, again)
		_ = resp.Body.Close()
		switch {
		case !retry:
			return
		case isModern(m):
			mirrors = p.mirrorsOf(ctx, m)
		case p.renew(ctx, resp.Request.Header.Get(wire.HeaderSession)) != nil:
			p.fail(m.ID, pumpedError, "the gateway was restarted, and no new session could be opened; start again")
			return
		}
	}
}

// answer writes what an HTTP answer holds. With again it reports true, and writes
// nothing, when the request should be sent once more: in a new session, or with
// other headers.
func (p *pump) answer(ctx context.Context, resp *http.Response, m wire.Message, again bool) (retry bool) {
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		if !p.stream(resp.Body, string(m.ID)) && ctx.Err() == nil {
			if m.Method == "subscriptions/listen" {
				p.write(wire.AppendNotification(nil, "notifications/cancelled", append(append(wire.Raw(`{"requestId":`), m.ID...), '}')))
			} else if resp.Header.Get("Content-Length") != "0" { // which says: there is no answer
				p.fail(m.ID, pumpedError, "the connection to the gateway broke off before the answer; whether it was carried out is not known")
			}
		}
		return false
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 2*wire.DefaultMaxMessage))
	if err != nil {
		p.fail(m.ID, pumpedError, "the gateway's answer did not arrive whole")
		return false
	}
	got, err := wire.Parse(body)
	switch {
	case err != nil:
		p.fail(m.ID, pumpedError, "what answers at "+p.gateway.base+" is not a Jackfield gateway: "+resp.Status)
		return false
	case again && resp.StatusCode == http.StatusNotFound && p.inSession() && m.Method != "initialize" && string(got.ID) != string(m.ID):
		return true
	}
	if got.Error != nil {
		e := wire.ParseError(got.Error)
		if again && e.Code == wire.CodeHeaderMismatch && m.Method == "tools/call" && isModern(m) {
			return true
		}
		if string(got.ID) != string(m.ID) { // it refused the request before it read it
			body = wire.AppendError(nil, m.ID, e)
		}
	}
	p.write(body)
	return false
}

// stream writes the messages of an event stream and reports whether the response
// with that id was among them.
func (p *pump) stream(body io.Reader, id string) (answered bool) {
	events := wire.NewEventReader(body, 2*wire.DefaultMaxMessage)
	for {
		ev, err := events.Next()
		if err != nil {
			return answered
		}
		if len(ev.Data) == 0 {
			continue
		}
		if m, err := wire.Parse(ev.Data); err == nil && m.Kind == wire.Response && string(m.ID) == id {
			answered = true
		}
		p.write(ev.Data)
	}
}

// write writes one message as a line.
func (p *pump) write(message []byte) {
	var line bytes.Buffer
	if bytes.ContainsAny(message, "\r\n") { // between its tokens; a line is one message
		if json.Compact(&line, message) != nil {
			return
		}
	} else {
		line.Write(message)
	}
	line.WriteByte('\n')
	p.writing.Lock()
	defer p.writing.Unlock()
	_, _ = p.out.Write(line.Bytes()) // a client that is gone closes stdin too
}

func (p *pump) fail(id wire.Raw, code int, message string) {
	p.write(wire.AppendError(nil, id, &wire.Error{Code: code, Message: message}))
}

// isModern reports whether a message is of the stateless revision.
func isModern(m wire.Message) bool { return metaOf(m).Get(exchange.MetaProtocolVersion) != nil }

func metaOf(m wire.Message) *wire.Object {
	meta := wire.NewObject(exchange.MetaKeys)
	if params, err := wire.ScanObject(m.Params, exchange.ParamKeys); err == nil {
		if o, err := wire.ScanObject(params.Get("_meta"), exchange.MetaKeys); err == nil {
			meta = o
		}
	}
	return &meta
}

// post sends a message with the headers that go with it.
func (p *pump) post(ctx context.Context, line []byte, m wire.Message, mirrors []upstream.ParamHeader) (*http.Response, error) {
	r, err := p.request(ctx, http.MethodPost, bytes.NewReader(line))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	version, modern := wire.String(metaOf(m).Get(exchange.MetaProtocolVersion))
	switch {
	case modern:
		r.Header.Del(wire.HeaderSession)
		r.Header.Set(wire.HeaderProtocolVersion, version)
		r.Header.Set(wire.HeaderMethod, m.Method)
		p.mirror(r.Header, m, mirrors)
	case m.Method == "initialize":
		r.Header.Del(wire.HeaderSession)
		r.Header.Del(wire.HeaderProtocolVersion)
	}
	return p.gateway.http.Do(r)
}

func (p *pump) mirror(h http.Header, m wire.Message, mirrors []upstream.ParamHeader) {
	params, err := wire.ScanObject(m.Params, exchange.ParamKeys)
	if err != nil {
		return // the gateway says what is wrong
	}
	if key := wire.NamedBy(m.Method); key != "" {
		if name, ok := wire.String(params.Get(key)); ok {
			h.Set(wire.HeaderName, wire.EncodeHeaderValue(name))
		}
	}
	for _, mirror := range mirrors {
		arg, _ := wire.Argument(m.Params, mirror.Path) // what cannot be read has no header
		if value, ok := wire.HeaderParam(arg); ok {
			h.Set(wire.HeaderParamPrefix+mirror.Name, value)
		}
	}
}

// request is an HTTP request to the gateway, in the client's session if it has one.
func (p *pump) request(ctx context.Context, method string, body io.Reader) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, p.gateway.base+p.path, body)
	if err != nil {
		return nil, err
	}
	if p.gateway.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.gateway.token.Reveal())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session != "" {
		r.Header.Set(wire.HeaderSession, p.session)
		r.Header.Set(wire.HeaderProtocolVersion, p.version)
	}
	return r, nil
}

func (p *pump) inSession() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.session != ""
}

// begun notes the session that initialize opened.
func (p *pump) begun(session string, hello []byte) {
	version := exchange.LatestLegacy
	if m, err := wire.Parse(hello); err == nil {
		if o, err := wire.ScanObject(m.Params, []string{"protocolVersion"}); err == nil {
			if asked, ok := wire.String(o.Get("protocolVersion")); ok && exchange.IsLegacy(asked) {
				version = asked // as the gateway settles it
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session, p.version, p.hello = session, version, hello
}

// renew opens a new session after the gateway forgot the one there was, unless
// another request has done so already.
func (p *pump) renew(ctx context.Context, forgotten string) error {
	select {
	case p.renewing <- struct{}{}:
		defer func() { <-p.renewing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	p.mu.Lock()
	hello, done := p.hello, p.session != forgotten
	p.mu.Unlock()
	if done {
		return nil
	}
	m, err := wire.Parse(hello)
	if err != nil {
		return err
	}
	resp, err := p.post(ctx, hello, m, nil)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // the client has the answer from the first time
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	p.begun(resp.Header.Get(wire.HeaderSession), hello)
	ready := []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	p.say(ctx, ready, wire.Message{Kind: wire.Notification, Method: "notifications/initialized"})
	return nil
}

// mirrorsOf are the arguments of a tool that travel in headers, from the gateway's
// own list. A client on stdin need not know of them.
func (p *pump) mirrorsOf(ctx context.Context, m wire.Message) []upstream.ParamHeader {
	params, err := wire.ScanObject(m.Params, exchange.ParamKeys)
	if err != nil {
		return nil
	}
	name, _ := wire.String(params.Get("name"))
	meta := params.Get("_meta")
	for cursor := wire.Raw(nil); ; {
		text := append([]byte(`{"_meta":`), meta...)
		if cursor != nil {
			text = append(append(text, `,"cursor":`...), cursor...)
		}
		list := wire.Message{Kind: wire.Request, ID: wire.Raw("0"), Method: "tools/list", Params: append(text, '}')}
		resp, err := p.post(ctx, wire.AppendRequest(nil, list.ID, list.Method, list.Params), list, nil)
		if err != nil {
			return nil
		}
		var page struct {
			Result struct {
				Tools []wire.Raw `json:"tools"`
				Next  wire.Raw   `json:"nextCursor"`
			} `json:"result"`
		}
		err = json.NewDecoder(io.LimitReader(resp.Body, 2*wire.DefaultMaxMessage)).Decode(&page)
		_ = resp.Body.Close()
		if err != nil {
			return nil
		}
		for _, raw := range page.Result.Tools {
			if t, err := parseTool(raw); err == nil && t.Name == name {
				return t.InputSchema.mirrors()
			}
		}
		if cursor = page.Result.Next; cursor == nil {
			return nil
		}
	}
}

// listen reads the session's own stream, on which the gateway tells what belongs to
// no request, for as long as the client lasts.
func (p *pump) listen(ctx context.Context) {
	p.mu.Lock()
	first := !p.listens && p.session != ""
	p.listens = p.listens || first
	p.mu.Unlock()
	if !first {
		return
	}
	p.work.Go(func() {
		for ctx.Err() == nil {
			r, err := p.request(ctx, http.MethodGet, http.NoBody)
			if err != nil {
				return
			}
			r.Header.Set("Accept", "text/event-stream")
			if resp, err := p.gateway.http.Do(r); err == nil {
				if resp.StatusCode == http.StatusOK {
					p.stream(resp.Body, "")
				}
				_ = resp.Body.Close()
			}
			pause := time.NewTimer(streamPause)
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
			pause.Stop()
		}
	})
}

// quit ends the session.
func (p *pump) quit(ctx context.Context) {
	if !p.inSession() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, quitWithin)
	defer cancel()
	if r, err := p.request(ctx, http.MethodDelete, http.NoBody); err == nil {
		if resp, err := p.gateway.http.Do(r); err == nil {
			_ = resp.Body.Close()
		}
	}
}
