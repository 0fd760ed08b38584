package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// sseLink is HTTP+SSE (2024-11-05): everything that the server says comes on one
// event stream, whose first event names the address for everything that we say.
// The stream is the session; it is never resumed.
type sseLink struct {
	pipe
	web
	post   *url.URL
	stream *reply
	hungUp atomic.Bool
}

// openSSE opens the event stream and waits for the address, within ctx; the
// stream itself lasts until close.
func openSSE(ctx context.Context, c *Conn) (*sseLink, error) {
	w, err := newWeb(&c.opts)
	if err != nil {
		return nil, err
	}
	l := &sseLink{web: w}
	l.pipe = pipe{c: c, write: l.postText, stop: l.hangUp}
	h := l.header.Clone()
	h.Set("Accept", typeStream)
	if l.stream, err = l.roundTrip(ctx, http.MethodGet, l.url, nil, h); err != nil {
		l.closeIdle()
		return nil, err
	}
	if err := l.begin(ctx); err != nil {
		l.stream.drop()
		l.closeIdle()
		return nil, err
	}
	return l, nil
}

// begin checks the answer to GET and reads the stream up to the address; a
// goroutine reads on from there.
func (l *sseLink) begin(ctx context.Context) error {
	if l.stream.StatusCode != http.StatusOK {
		text, _ := l.stream.text(min(leftoverBytes, l.limit))
		return l.refused(l.stream, "GET", text)
	}
	if l.stream.mediaType() != typeStream {
		return protocolFailure("%s answered GET with something else than an event stream; is it an MCP endpoint?", l.name)
	}
	if at := l.stream.Request; at != nil && !sameOrigin(at.URL, l.url) {
		// Whoever is there would say where on the definition's own origin we send to.
		return protocolFailure("its event stream is redirected to another origin, %s, which is refused; write that address into its url", shownURL(at.URL))
	}
	events := wire.NewEventReader(l.stream.Body, l.limit)
	for l.post == nil {
		ev, err := events.Next()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return protocolFailure("its event stream ended before it named an endpoint: %w", err)
		case ev.Name == "endpoint":
			if l.post, err = l.sameOrigin(string(ev.Data)); err != nil {
				return err
			}
		}
	}
	l.stream.detach() // from the dial: it lasts as long as the connection
	if !l.c.crew.run(func() { l.readOn(events) }) {
		return errClosed
	}
	return nil
}

// sameOrigin resolves the address for our messages. It has to be where the
// stream is: our credentials are for that place, and for no other.
func (l *sseLink) sameOrigin(address string) (*url.URL, error) {
	ref, err := url.Parse(strings.TrimSpace(address))
	if err != nil {
		return nil, protocolFailure("it named an endpoint that is no address")
	}
	to := l.url.ResolveReference(ref)
	if !sameOrigin(to, l.url) || to.User != nil && ref.IsAbs() {
		return nil, protocolFailure("it wants its messages sent to another origin, %s, which is refused", shownURL(to))
	}
	return to, nil
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Hostname() + ":" + port
}

func (l *sseLink) readOn(events *wire.EventReader) {
	for {
		ev, err := events.Next()
		switch {
		case l.hungUp.Load():
			return
		case err != nil:
			f := &failure{code: jackfield.Unavailable, stage: StageHTTP, serverWide: true, err: err, what: "its event stream has ended"}
			if errors.Is(err, wire.ErrTooLarge) {
				f = tooLarge(l.limit)
			}
			l.c.fail(f)
			return
		case len(ev.Data) > 0 && (ev.Name == "" || ev.Name == "message"):
			l.read(bytes.Clone(ev.Data))
		}
	}
}

func (l *sseLink) postText(ctx context.Context, text []byte) error {
	h := l.header.Clone()
	h.Set("Content-Type", typeJSON)
	h.Set("Accept", typeJSON+", "+typeStream)
	rep, err := l.roundTrip(ctx, http.MethodPost, l.post, text, h)
	if err != nil {
		return err
	}
	if rep.StatusCode/100 == 2 {
		rep.finish()
		return nil
	}
	defer rep.drop()
	said, _ := rep.text(min(leftoverBytes, l.limit))
	f := l.refused(rep, "a message", said)
	if rep.StatusCode == http.StatusNotFound || rep.StatusCode == http.StatusBadRequest && readRefusal(said).mentions() {
		f.kind, f.notSent = jackfield.FailureSession, true
		f.what = fmt.Sprintf("it has forgotten the session (HTTP %d); call again to begin a new one", rep.StatusCode)
		l.c.fail(f)
	}
	return f
}

func (l *sseLink) hangUp(context.Context) error {
	l.hungUp.Store(true)
	l.stream.drop()
	l.closeIdle()
	return nil
}

func (w *web) closeIdle() {
	if w.own != nil {
		w.own.CloseIdleConnections()
	}
}
