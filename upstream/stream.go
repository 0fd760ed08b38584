package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackfield-dev/jackfield/wire"
)

// position is how far an event stream was read, and when to come back for more.
type position struct {
	id    string        // Last-Event-ID; empty: the stream cannot be resumed
	from  string        // the id that this part of the stream was resumed behind
	retry time.Duration // as the server wants it; zero: not said
	quiet int           // times in a row that the stream ended without a message
}

// Pauses before an event stream is opened again.
const (
	shortestPause = 10 * time.Millisecond  // whatever the server says
	defaultPause  = 100 * time.Millisecond // when it says nothing
	longestPause  = 30 * time.Second
	resumeTries   = 5 // that fail, in a row
)

// pause is how long to wait before the stream is opened again: what the server
// wants, and longer and longer while nothing comes of it.
func (p *position) pause() time.Duration {
	d := p.retry
	if d == 0 {
		d = defaultPause
	}
	return min(max(d, shortestPause<<min(p.quiet, 10)), longestPause)
}

// stream reads the event stream that answers x. When the server closes it before
// the answer, it is resumed behind the last event (2025-03-26 to 2025-11-25,
// resumability; SEP-1699): the call itself is never sent again.
func (l *httpLink) stream(ctx context.Context, x *call, rep *reply) (answer wire.Message, err error) {
	var at position
	for {
		answered := false
		err := l.c.events(rep, &at, func(m wire.Message) bool {
			if answered = l.c.receive(ctx, x, m); answered {
				answer = m
			}
			return answered
		})
		if answered {
			// Mostly nothing is left but the end of the stream. The caller does not wait
			// for it, and must not end it by leaving.
			x.lent = true
			rep.cancel = func() { x.cancel(nil) }
			if !l.c.crew.run(rep.finish) {
				rep.drop()
			}
			return answer, nil
		}
		_ = rep.Body.Close()
		if ctx.Err() != nil {
			return wire.Message{}, context.Cause(ctx)
		}
		if x.modern || at.id == "" || errors.Is(err, wire.ErrTooLarge) {
			return wire.Message{}, brokenOff(x, streamError(err, l.limit))
		}
		if rep, err = l.resume(ctx, x, &at); err != nil {
			return wire.Message{}, err
		}
	}
}

func streamError(err error, limit int) error {
	if errors.Is(err, wire.ErrTooLarge) {
		return tooLarge(limit)
	}
	return err
}

// events hands the messages of an event stream to f until f has enough (nil) or
// the stream ends.
func (c *Conn) events(rep *reply, at *position, f func(wire.Message) (enough bool)) error {
	events := wire.NewEventReader(rep.Body, c.opts.Limits.Message)
	for {
		ev, err := events.Next()
		if err != nil {
			return err
		}
		if ev.Retry > 0 {
			at.retry = ev.Retry
		}
		repeated := ev.ID != "" && ev.ID == at.from
		if ev.ID != "" {
			at.id = ev.ID
		}
		if len(ev.Data) == 0 || ev.Name != "" && ev.Name != "message" || repeated {
			continue
		}
		at.quiet = 0
		enough := false
		err = eachMessage(bytes.Clone(ev.Data), func(m wire.Message) bool {
			enough = f(m)
			return enough
		})
		if err != nil {
			c.opts.Hooks.ignored("an event that is not JSON-RPC: " + err.Error())
		}
		if enough {
			return nil
		}
	}
}

// resume opens the rest of the stream that answers x.
func (l *httpLink) resume(ctx context.Context, x *call, at *position) (*reply, error) {
	at.quiet++
	for tries := 1; ; tries++ {
		if err := sleep(ctx, at.pause()); err != nil {
			return nil, err
		}
		rep, err := l.get(ctx, at)
		if err == nil {
			return rep, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if f := asFailure(err); tries == resumeTries || f.status/100 == 4 || f.stage == StageProtocol || f.stage == StageAuth {
			return nil, &failure{
				code: f.code, stage: StageHTTP, err: err,
				what: fmt.Sprintf("the connection broke off before %s was answered, and could not be resumed (%s); whether it was carried out is unknown", x.method, f.what),
			}
		}
		at.quiet++
	}
}

// get opens an event stream: the one for events, or the rest of one that broke
// off. ErrNoStream: the server offers none.
func (l *httpLink) get(ctx context.Context, at *position) (*reply, error) {
	h := l.bodiless()
	h["Accept"] = []string{typeStream}
	if at.id != "" {
		h.Set(wire.HeaderLastEventID, at.id)
		at.from = at.id
	}
	rep, err := l.roundTrip(ctx, http.MethodGet, l.url, nil, h)
	if err != nil {
		return nil, err
	}
	switch {
	case rep.StatusCode == http.StatusOK && rep.mediaType() == typeStream:
		return rep, nil
	case rep.StatusCode/100 == 2:
		rep.finish()
		return nil, protocolFailure("%s answered GET with something else than an event stream", l.name)
	}
	defer rep.drop()
	text, _ := rep.text(min(leftoverBytes, l.limit))
	status := rep.StatusCode
	// Some know the address for POST alone, and answer 404 to anything else.
	if status == http.StatusMethodNotAllowed || status == http.StatusNotFound && at.id == "" && !readRefusal(text).mentions() {
		f := l.web.refused(rep, "GET", text)
		f.err = ErrNoStream
		return nil, f
	}
	return nil, l.refused(rep, "GET", text, nil)
}

// sleep waits for d, or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
