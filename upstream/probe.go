package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// discoverPatience is how long server/discover may go unanswered before
// initialize is tried as well.
const discoverPatience = 5 * time.Second

// endpointPatience is how long an address that may or may not be of 2024-11-05 is
// given to say so.
const endpointPatience = 5 * time.Second

// errDiedOfDiscover: the process ended when it was asked something before
// initialize. Some legacy servers do that; a fresh one gets initialize first.
var errDiedOfDiscover = errors.New("ended after server/discover")

// connect opens the link and gets to know the server.
func (c *Conn) connect(ctx context.Context) error {
	switch known := c.opts.Shape; c.opts.Endpoint.Transport {
	case jackfield.TransportStdio:
		p, err := start(c)
		if err != nil {
			return err
		}
		c.link = p
		return c.greet(ctx, string(jackfield.TransportStdio))
	case jackfield.TransportSSE:
		return c.connectSSE(ctx, c.opts.InitTimeout)
	case jackfield.TransportHTTP, "":
		if known != nil && known.Transport == string(jackfield.TransportSSE) && c.connectSSE(ctx, endpointPatience) == nil {
			return nil
		}
		return c.connectHTTP(ctx)
	}
	return &failure{
		code: jackfield.Invalid, stage: StageProtocol, forSomeone: true,
		what: fmt.Sprintf("its type %q is none that is known; write stdio, http or sse", c.opts.Endpoint.Transport),
	}
}

func (c *Conn) connectSSE(ctx context.Context, patience time.Duration) error {
	open, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	l, err := openSSE(open, c)
	if err != nil {
		return err
	}
	c.link = l
	if err = c.initialize(ctx, exchange.LatestLegacy, string(jackfield.TransportSSE)); err != nil {
		_ = l.hangUp(ctx) // never fails
	}
	return err
}

// connectHTTP connects to a Streamable HTTP server; or, when nothing there takes
// initialize by POST, to one of 2024-11-05 (2025-11-25, transports, backwards
// compatibility).
func (c *Conn) connectHTTP(ctx context.Context) error {
	w, err := newWeb(&c.opts)
	if err != nil {
		return err
	}
	l := &httpLink{web: w, c: c}
	c.link = l
	err = c.greet(ctx, string(jackfield.TransportHTTP))
	if err == nil && c.modern() {
		l.ready = l.shared(true)
	}
	if err == nil || !slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed}, asFailure(err).status) {
		return err
	}
	w.closeIdle()
	if c.connectSSE(ctx, endpointPatience) != nil {
		return err // what POST said is what there is to say
	}
	return nil
}

// greet finds out what the server speaks: as the remembered shape says, or by
// asking (2026-07-28, basic/versioning).
func (c *Conn) greet(ctx context.Context, transport string) error {
	if known := c.opts.Shape; known != nil && !known.Modern() {
		err := c.initialize(ctx, exchange.LatestLegacy, transport)
		if err == nil || c.Err() != nil || ctx.Err() != nil || !maySpeakOtherwise(err) {
			return err
		}
	}
	p := &probe{c: c, transport: transport, answered: make(chan outcome, 1)}
	return p.run(ctx)
}

// maySpeakOtherwise reports whether a failed handshake leaves the possibility
// that the server speaks another era: it answered, and not about who we are.
func maySpeakOtherwise(err error) bool {
	f := asFailure(err)
	switch f.stage {
	case StageInitialize, StageProtocol:
		return true
	case StageHTTP:
		return f.status/100 == 4 && f.status != http.StatusTooManyRequests || f.status == http.StatusInternalServerError ||
			f.status == http.StatusNotImplemented || f.status == 0
	}
	return false
}

// probe is server/discover, and initialize when that leads nowhere.
type probe struct {
	c         *Conn
	transport string
	call      *call
	answered  chan outcome // of server/discover
}

var errModern = errors.New("it answered server/discover after all")

func (p *probe) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.call = newCall("server/discover")
	p.call.modern = true
	params, err := modernParams(p.call, &exchange.Request{})
	if err != nil {
		return err
	}
	p.call.params = params.Raw()
	if !p.c.crew.run(func() { p.discover(ctx) }) {
		return errClosed
	}
	patience := time.NewTimer(discoverPatience)
	defer patience.Stop()
	version := exchange.LatestLegacy
	select {
	case o := <-p.answered:
		var done bool
		if version, done, err = p.c.understood(o, p.transport); done || err != nil {
			return err
		}
		p.answered = nil
	case <-patience.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return p.initialize(ctx, version)
}

func (p *probe) discover(ctx context.Context) {
	m, err := p.c.roundTrip(ctx, p.call)
	p.answered <- outcome{m, err}
}

// initialize begins a legacy connection. While server/discover is unanswered it
// listens for that answer, too: a server may only have been slow to start.
func (p *probe) initialize(ctx context.Context, version string) error {
	if p.answered == nil {
		defer p.forget()
		return p.c.initialize(ctx, version, p.transport)
	}
	ictx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var failed error // of initialize; fixed once ended is closed
	ended := make(chan struct{})
	started := p.c.crew.run(func() {
		defer close(ended)
		failed = p.c.initialize(ictx, version, p.transport)
	})
	if !started {
		return errClosed
	}
	select {
	case <-ended:
		if failed == nil {
			return nil
		}
	case o := <-p.answered:
		if !p.c.saysModern(o) {
			<-ended
			return failed
		}
		cancel(errModern)
		<-ended
		_, _, err := p.c.understood(o, p.transport)
		return err
	}
	// A modern server refuses initialize; its other answer may be under way.
	select {
	case o := <-p.answered:
		if p.c.saysModern(o) {
			_, _, err := p.c.understood(o, p.transport)
			return err
		}
	case <-ctx.Done():
	}
	return failed
}

// forget deletes the session that a legacy server began just for being asked.
func (p *probe) forget() {
	l, isHTTP := p.c.link.(*httpLink)
	if !isHTTP || p.call.session == "" || p.call.session == l.session {
		return
	}
	p.c.crew.run(func() {
		ctx, cancel := context.WithTimeout(p.c.life, closeTimeout)
		defer cancel()
		if err := l.deleteSession(ctx, p.call.session); err != nil {
			p.c.opts.Hooks.ignored("a session that could not be deleted: " + err.Error())
		}
	})
}

// discovery is the result of server/discover.
type discovery struct {
	SupportedVersions []string `json:"supportedVersions"`
	Capabilities      wire.Raw `json:"capabilities"`
	Instructions      string   `json:"instructions"`
	ServerInfo        wire.Raw `json:"serverInfo"`
	Meta              struct {
		ServerInfo wire.Raw `json:"io.modelcontextprotocol/serverInfo"`
	} `json:"_meta"`
}

func (c *Conn) saysModern(o outcome) bool {
	var d discovery
	return o.err == nil && o.m.Error == nil && json.Unmarshal(o.m.Result, &d) == nil &&
		slices.Contains(d.SupportedVersions, exchange.Modern)
}

// understood draws the conclusion from the answer to server/discover: it is done
// with a modern server, or there is a version to try initialize with, or a
// failure that initialize would not mend.
func (c *Conn) understood(o outcome, transport string) (version string, done bool, err error) {
	if o.err != nil {
		switch {
		case c.Err() != nil && transport == string(jackfield.TransportStdio):
			return "", false, fmt.Errorf("%w: %w", errDiedOfDiscover, o.err)
		case c.Err() != nil || !maySpeakOtherwise(o.err):
			return "", false, o.err
		}
		return exchange.LatestLegacy, false, nil
	}
	if o.m.Error != nil {
		e := wire.ParseError(o.m.Error)
		switch e.Code {
		case wire.CodeUnsupportedVersion:
			version, err = legacyOf(supportedIn(e))
			return version, false, err
		case wire.CodeHeaderMismatch, wire.CodeMissingCapability:
			return "", false, refusedHandshake("server/discover", e)
		}
		return exchange.LatestLegacy, false, nil
	}
	var d discovery
	if json.Unmarshal(o.m.Result, &d) != nil || len(d.SupportedVersions) == 0 {
		return exchange.LatestLegacy, false, nil
	}
	if !slices.Contains(d.SupportedVersions, exchange.Modern) {
		version, err = legacyOf(d.SupportedVersions)
		return version, false, err
	}
	info := d.Meta.ServerInfo
	if info == nil {
		info = d.ServerInfo
	}
	c.shape.Store(&exchange.Shape{
		Transport: transport, Version: exchange.Modern,
		Capabilities: orEmpty(d.Capabilities), ServerInfo: orEmpty(info), Instructions: d.Instructions,
	})
	return "", true, nil
}

func orEmpty(raw wire.Raw) wire.Raw {
	if len(raw) == 0 || raw[0] != '{' {
		return wire.Raw("{}")
	}
	return raw
}

// legacyOf is the newest revision with initialize among versions.
func legacyOf(versions []string) (string, error) {
	for _, v := range exchange.LegacyVersions {
		if slices.Contains(versions, v) {
			return v, nil
		}
	}
	return "", protocolFailure("it speaks protocol %s, and none of %s",
		snippet([]byte(strings.Join(versions, ", "))), strings.Join(exchange.Versions, ", "))
}

// supportedIn are the versions that an error about versions names.
func supportedIn(e *wire.Error) []string {
	var data struct {
		Supported []string `json:"supported"`
	}
	_ = json.Unmarshal(e.Data, &data) // no data: no versions
	return data.Supported
}

func refusedHandshake(method string, e *wire.Error) *failure {
	return &failure{
		code: jackfield.Unavailable, stage: StageInitialize, err: e,
		what: fmt.Sprintf("it refuses %s: %s (%d)", method, snippet([]byte(e.Message)), e.Code),
	}
}

// initialize begins a legacy connection (2025-11-25, basic/lifecycle). A server
// that names other versions in its refusal is asked once more.
func (c *Conn) initialize(ctx context.Context, version, transport string) error {
	x := newCall("initialize")
	x.params = initializeParams(version, c.opts.Caps)
	m, err := c.roundTrip(ctx, x)
	if err != nil {
		return err
	}
	if m.Error != nil {
		e := wire.ParseError(m.Error)
		other, unknown := legacyOf(supportedIn(e))
		if unknown != nil || other == version {
			return refusedHandshake("initialize", e)
		}
		x = newCall("initialize")
		x.params = initializeParams(other, c.opts.Caps)
		if m, err = c.roundTrip(ctx, x); err != nil {
			return err
		}
		if m.Error != nil {
			return refusedHandshake("initialize", wire.ParseError(m.Error))
		}
	}
	shape, err := initialized(m.Result, transport)
	if err != nil {
		return err
	}
	if l, isHTTP := c.link.(*httpLink); isHTTP {
		if err := l.begin(x.session, shape.Version); err != nil {
			return err
		}
		shape.Session = x.session != ""
	}
	c.shape.Store(&shape)
	return c.notify(ctx, "notifications/initialized", nil)
}

func initializeParams(version, caps string) wire.Raw {
	b := wire.AppendString([]byte(`{"protocolVersion":`), version)
	b = append(b, `,"capabilities":`...)
	b = append(b, caps...)
	b = append(b, `,"clientInfo":`...)
	b = append(b, clientInfo...)
	return append(b, '}')
}

// initialized reads an InitializeResult.
func initialized(raw wire.Raw, transport string) (exchange.Shape, error) {
	var r struct {
		ProtocolVersion string   `json:"protocolVersion"`
		Capabilities    wire.Raw `json:"capabilities"`
		ServerInfo      wire.Raw `json:"serverInfo"`
		Instructions    string   `json:"instructions"`
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return exchange.Shape{}, protocolFailure("its answer to initialize cannot be read: %w", err)
	}
	if !exchange.IsLegacy(r.ProtocolVersion) {
		_, err := legacyOf([]string{r.ProtocolVersion})
		return exchange.Shape{}, err
	}
	return exchange.Shape{
		Transport: transport, Version: r.ProtocolVersion, Session: true,
		Capabilities: orEmpty(r.Capabilities), ServerInfo: orEmpty(r.ServerInfo), Instructions: r.Instructions,
	}, nil
}

// begin notes what every later request has to say.
func (l *httpLink) begin(session, version string) error {
	for _, c := range []byte(session) {
		if c < 0x21 || c > 0x7e { // 2025-11-25, transports, session management
			return protocolFailure("its session id has characters that are not allowed")
		}
	}
	l.session = session
	if version >= exchange.V20250618 {
		l.version = version
	}
	l.ready = l.shared(false)
	return nil
}

func sameShape(a, b exchange.Shape) bool {
	return a.Transport == b.Transport && a.Version == b.Version && a.Session == b.Session && a.Instructions == b.Instructions &&
		bytes.Equal(a.Capabilities, b.Capabilities) && bytes.Equal(a.ServerInfo, b.ServerInfo)
}
