package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

const (
	postStream = "p"             // names of streams begin with what they are
	ownStream  = "g"             // this one belongs to no POST, and GET opens it
	reconnect  = 2 * time.Second // what a client waits before it comes back for a stream
	maxReplays = 16              // answered streams kept in one session
)

// newStream makes the stream of a POST, which can be resumed by its event ids.
func (s *session) newStream(l *ledger) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	st := newStream(postStream+strconv.FormatUint(s.made, 36), l)
	s.prime(st)
	if s.ended == nil {
		if s.posts == nil {
			s.posts = make(map[string]*post, 1)
		}
		s.posts[st.name] = &post{stream: st}
	}
	return st
}

// post is the stream of a POST in its session. The session's mu guards it.
type post struct {
	*stream
	kept *time.Timer // lets go of it; nil: its request is under way
}

// prime begins a stream with an event that has an id and no message, so that it
// can be resumed from its beginning. Clients of older revisions take an event for
// a message.
func (s *session) prime(st *stream) {
	if s.version == exchange.V20251125 {
		st.mu.Lock()
		st.pushLocked(event{data: []byte{}, kind: needed, retry: reconnect})
		st.mu.Unlock()
	}
}

// retire keeps an answered stream for a while, for a client that lost its
// connection before the answer, if there is room and it has an answer at all.
func (s *session) retire(st *stream, answered bool, keep time.Duration) {
	if st == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.posts[st.name]
	if p == nil || !answered || len(s.posts) > maxReplays || st.ledger.full() {
		delete(s.posts, st.name)
		st.discard()
		return
	}
	p.kept = time.AfterFunc(keep, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.posts, st.name)
		st.discard()
	})
}

// get opens or resumes a stream of a session.
func (x *inbound) get() {
	if x.r.Header.Get(wire.HeaderProtocolVersion) == exchange.Modern && x.r.Header.Get(wire.HeaderSession) == "" {
		x.refuseMethod()
		return
	}
	if !accepts(x.r.Header["Accept"], "text/event-stream") {
		x.refuseAccept("text/event-stream")
		return
	}
	s := x.session()
	if s == nil {
		return
	}
	defer x.sessions.release(s)
	if err := x.streams.take(x.who.Subject); err != nil {
		x.refuseError(err)
		return
	}
	defer x.streams.give(x.who.Subject)
	x.gate.settle(x.visit)
	st, from, err := s.resume(x.r.Header.Get(wire.HeaderLastEventID), &x.ledger)
	if err != nil {
		x.refuseError(err)
		return
	}
	ctx, cancel := x.gate.bind(x.r.Context(), x.visit)
	defer cancel(nil)
	t := st.attach()
	if strings.HasPrefix(st.name, ownStream) {
		x.listenFor(s)
		defer x.lingerFor(s, st)
	}
	_ = st.serve(ctx, x.eventWriter(x.w), t, from) // whoever is gone can come back
}

// resume finds the stream and the event to go on with; an empty id means the
// session's own stream, from here on.
func (s *session) resume(id string, l *ledger) (*stream, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return nil, 0, s.ended
	}
	name, number, ok := parseEventID(id)
	if id != "" && !ok {
		return nil, 0, jackfield.Errorf(jackfield.Invalid, "the Last-Event-ID %q is none of this session's", clip(id))
	}
	if strings.HasPrefix(name, postStream) {
		if p := s.posts[name]; p != nil {
			return p.stream, number + 1, nil
		}
		return nil, 0, jackfield.Errorf(jackfield.Invalid, "the stream of the Last-Event-ID %q is not kept any more; send the request again", clip(id))
	}
	if s.own == nil {
		s.made++
		s.own = newStream(ownStream+strconv.FormatUint(s.made, 36), l)
		s.prime(s.own)
	}
	if s.own.name == name {
		return s.own, number + 1, nil
	}
	return s.own, s.own.unsent(), nil
}

// unsent is the number of the first event that nobody was sent yet.
func (s *stream) unsent() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// ear is somebody who listens for a session.
type ear struct{ stop context.CancelFunc }

// listenFor has the broker tell the session what belongs to none of its requests,
// from the first time its own stream is read until it was not for a while.
func (x *inbound) listenFor(s *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.linger != nil {
		s.linger.Stop()
		s.linger = nil
	}
	if s.ear != nil || s.ended != nil {
		return
	}
	v, err := x.gate.stay(x.visit) // the listening outlives this request, and Close waits for it
	if err != nil {
		return
	}
	ctx, cancel := x.gate.bind(context.WithoutCancel(x.r.Context()), v)
	e := &ear{stop: func() { cancel(nil) }}
	s.ear = e
	go x.hear(ctx, s, e, v, x.caller(s))
}

// hear listens for s until e is stopped or there is nothing to hear.
func (h *Handler) hear(ctx context.Context, s *session, e *ear, v *visit, c broker.Caller) {
	defer h.gate.leave(v)
	defer e.stop()
	all := broker.Filter{Tools: true, Prompts: true, Resources: true, Other: true}
	err := h.opts.Broker.Listen(ctx, c, all, func(broker.Filter) {}, func(ev exchange.Event) { h.tell(s, ev) })
	if err != nil && ctx.Err() == nil {
		h.opts.Log.Warn("a session hears no changes any more", slog.String("session", s.id), slog.Any("error", err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ear != e {
		return
	}
	s.ear = nil // the next reader listens anew
	if s.own != nil && (h.gate.gone(v) != nil || jackfield.CodeOf(err) == jackfield.NotFound) {
		s.own.discard() // who reads it comes back, with another credential, or to be told what is gone
		s.own = nil
	}
}

// lingerFor stops the listening when the client does not come back in time.
func (x *inbound) lingerFor(s *session, st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own != st || st.attached() || s.linger != nil {
		return
	}
	s.linger = time.AfterFunc(x.opts.Timing.Linger, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.own != st || st.attached() {
			return
		}
		if s.ear != nil {
			s.ear.stop()
		}
		s.own, s.ear, s.linger = nil, nil, nil
		st.discard()
	})
}

// tell passes an event to the session's own stream.
func (h *Handler) tell(s *session, ev exchange.Event) {
	if ev.Method == "notifications/message" && levelOf(ev.Params) < levels[s.logLevel()] {
		return
	}
	s.mu.Lock()
	own := s.own
	s.mu.Unlock()
	if own == nil {
		return
	}
	ev.Params = h.related(s.owner, ev.Server, ev.Params)
	kind := notice
	switch ev.Method {
	case "notifications/tasks/status":
		var mine bool
		if ev.Params, mine = h.taskStatus(s.owner, ev); !mine || s.version != exchange.V20251125 {
			return
		}
	case "notifications/tools/list_changed", "notifications/prompts/list_changed",
		"notifications/resources/list_changed", "notifications/resources/updated":
		kind = state
	}
	own.push(wire.AppendNotification(nil, ev.Method, ev.Params), kind)
}

// delete ends a session.
func (x *inbound) delete() {
	if x.r.Header.Get(wire.HeaderProtocolVersion) == exchange.Modern && x.r.Header.Get(wire.HeaderSession) == "" {
		x.refuseMethod()
		return
	}
	s := x.session()
	if s == nil {
		return
	}
	defer x.sessions.release(s)
	x.sessions.end(s, jackfield.Errorf(jackfield.NotFound, "the session was ended by its client; initialize again"))
	x.w.WriteHeader(http.StatusNoContent)
}
