package gateway

import (
	"context"
	"strconv"
	"strings"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// maxAsked is how many questions one session may have open.
const maxAsked = 64

// canAnswer reports whether a client with these capabilities said that it takes
// the question.
func canAnswer(c exchange.Capabilities, q exchange.Question) bool {
	switch q.Method {
	case "elicitation/create", "sampling/createMessage", "roots/list":
		return c.Answers(q)
	}
	switch family, _, _ := strings.Cut(q.Method, "/"); family {
	case "tasks": // how far a question is that was taken as a task (2025-11-25)
		return c.Tasks
	case "initialize", "server", "tools", "prompts", "resources", "completion", "logging", "subscriptions", "notifications":
		return false // what clients ask servers
	}
	return true // a ping, or something between a vendor's server and its client
}

// ask sends the questions as requests of our own by push and waits for the
// client's responses, which come as POSTs.
func (h *Handler) ask(ctx context.Context, s *session, questions []exchange.Question, push func([]byte) bool) ([]exchange.Answer, error) {
	for _, q := range questions {
		if !canAnswer(s.caps, q) {
			return nil, jackfield.Errorf(jackfield.Unavailable, "the server asked its client for %s, and this client did not say that it can answer that", clip(q.Method))
		}
	}
	ids := make([]string, len(questions))
	waits := make([]chan exchange.Answer, len(questions))
	s.mu.Lock()
	if s.ended != nil || len(s.asked)+len(questions) > maxAsked {
		err := s.ended
		s.mu.Unlock()
		if err == nil {
			err = jackfield.Errorf(jackfield.Exhausted, "this client has %d questions to answer already", maxAsked)
		}
		return nil, err
	}
	if s.asked == nil {
		s.asked = make(map[string]chan exchange.Answer, len(questions))
	}
	for i := range questions {
		ids[i] = strconv.FormatInt(h.lastID.Add(1), 10)
		waits[i] = make(chan exchange.Answer, 1)
		s.asked[ids[i]] = waits[i]
	}
	s.mu.Unlock()
	defer s.forget(ids)

	for i, q := range questions {
		q = inRevision(s.version, q)
		if !push(wire.AppendRequest(nil, wire.Raw(ids[i]), q.Method, withElicitationID(q, ids[i]))) {
			return nil, jackfield.Errorf(jackfield.Unavailable, "the client has no stream open on which it could be asked")
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, h.opts.Timing.Ask,
		jackfield.Errorf(jackfield.Unavailable, "the client did not answer the server's question in time"))
	defer cancel()
	answers := make([]exchange.Answer, len(questions))
	for i := range waits {
		select {
		case answers[i] = <-waits[i]:
		case <-s.over:
			return nil, jackfield.Errorf(jackfield.Unavailable, "the client ended its session before it answered")
		case <-ctx.Done():
			for _, id := range ids[i:] {
				push(wire.AppendNotification(nil, "notifications/cancelled", wire.Raw(`{"requestId":`+id+`}`)))
			}
			return nil, context.Cause(ctx)
		}
	}
	return answers, nil
}

// forget drops questions that nobody waits for any more.
func (s *session) forget(ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.asked, id)
	}
	if len(s.asked) == 0 {
		s.asked = nil
	}
}

// answered hands a client's response to whoever asked. A response that nobody
// waits for, any more, is dropped: the client cannot know.
func (s *session) answered(m wire.Message) {
	s.mu.Lock()
	wait := s.asked[string(m.ID)]
	delete(s.asked, string(m.ID))
	s.mu.Unlock()
	if wait == nil {
		return
	}
	a := exchange.Answer{Result: m.Result}
	if m.Error != nil {
		a.Err = wire.ParseError(m.Error)
	}
	wait <- a // has room: it is sent to once
}

// home is a session as the peer of what belongs to none of its requests.
type home struct {
	*Handler
	s *session
}

// Notify passes a notification to the session's own stream.
func (p *home) Notify(_ context.Context, method string, params wire.Raw) error {
	p.tell(p.s, exchange.Event{Method: method, Params: params})
	return nil
}

// Ask asks on the session's own stream, if the client has it open.
func (p *home) Ask(ctx context.Context, questions []exchange.Question) ([]exchange.Answer, error) {
	return p.askAbout(ctx, p.s, "", questions, func(msg []byte) bool {
		p.s.mu.Lock()
		own := p.s.own
		p.s.mu.Unlock()
		return own != nil && own.attached() && own.push(msg, needed)
	})
}
