package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

func (e *edge) eventRoutes() {
	type asked struct {
		caller
		Last string `header:"Last-Event-ID" maxLength:"20" pattern:"^[0-9]+$" doc:"what came last: the stream begins behind it"`
	}
	description := "`change`: a Change, whose number is the id of the event. `connection`: a ConnectionChange, without an id. " +
		"`hello` (first), `reset` (what was seen before may be outdated: list anew) and `cut` (the end): a Notice."
	handle(e, huma.Operation{
		OperationID: "events", Method: http.MethodGet, Path: "/events", Tags: []string{"changes"},
		Summary: "Changes as they happen, as far as the caller may see them", Description: description,
		Responses: map[string]*huma.Response{"200": {Description: description, Content: map[string]*huma.MediaType{
			"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}},
		}}},
	}, func(ctx context.Context, who jackfield.Principal, in *asked) (*stream, error) {
		l, head, err := e.Events.listen(who)
		if err != nil {
			return nil, err
		}
		s := &listening{Handler: e.Handler, listener: l, last: head, head: head}
		if in.Last != "" {
			s.last, err = strconv.ParseUint(in.Last, 10, 64)
		}
		if err == nil {
			s.view = view{who: who, after: e.visible(who), resumed: in.Last != ""}
			s.waiting, s.gap, err = e.Events.since(ctx, e.ReadLog, s.last) // while an error can still be told as one
		}
		if err != nil {
			e.Events.leave(l)
			return nil, err
		}
		return &stream{s.serve}, nil
	})
	// For the document: what the events say.
	schemaOf[Change](e.huma)
	schemaOf[ConnectionChange](e.huma)
	schemaOf[Notice](e.huma)
}

// listening is a listener while it is served.
type listening struct {
	*Handler
	*listener
	view

	r    *http.Request
	w    http.ResponseWriter
	text bytes.Buffer // what is to be written next

	last, head uint64 // the change that was looked at last; the newest one at the beginning
	waiting    []record.Change
	gap        bool
}

func (s *listening) serve(ctx huma.Context) {
	defer s.Events.leave(s.listener)
	s.r, s.w = humago.Unwrap(ctx)
	ctx.SetHeader("Content-Type", "text/event-stream")
	ctx.SetHeader("X-Accel-Buffering", "no")
	ctx.SetStatus(http.StatusOK)
	if s.r.Method == http.MethodHead {
		return
	}
	s.event("hello", Notice{Number: s.head})
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	defer func() { _ = http.NewResponseController(s.w).SetWriteDeadline(time.Time{}) }() // what comes next on the connection has its own
	for {
		more := s.tell(s.r.Context())
		if !s.flush() || !more { // the last word is written as well
			return
		}
		select {
		case <-s.r.Context().Done():
			return
		case <-s.wake:
		case <-ticker.C:
			s.text.WriteString(": still here\n\n")
		}
	}
}

// tell writes down what is new, and reports whether there will be more.
func (s *listening) tell(ctx context.Context) bool {
	who, err := s.Authenticate(s.r) // it may be another by now
	if err != nil {
		return s.cut(err)
	}
	s.view = view{who: who, before: s.after, after: s.visible(who), resumed: s.resumed}
	moved, err := s.Events.take(s.listener, who)
	if err != nil {
		return s.cut(err)
	}
	if !s.changes(ctx) {
		return false
	}
	s.resumed = false
	for i := range moved {
		if c, ok := s.connection(&moved[i]); ok {
			s.event("connection", c)
		}
	}
	return true
}

// changes tells what the log has since the last time.
func (s *listening) changes(ctx context.Context) bool {
	for {
		if len(s.waiting) == 0 && !s.gap {
			var err error
			if s.waiting, s.gap, err = s.Events.since(ctx, s.ReadLog, s.last); err != nil {
				return ctx.Err() == nil // the store is away; what it has will still be there
			}
		}
		if s.gap {
			s.last = s.Events.newest()
			if len(s.waiting) > 0 {
				s.last = s.waiting[0].Number - 1
			}
			s.event("reset", Notice{Number: s.last, Reason: "the log does not reach back that far; list what you need anew"})
		}
		if s.gap = false; len(s.waiting) == 0 {
			return true
		}
		for _, c := range s.waiting {
			if told, ok := s.tells(c, s.ownKey); ok {
				fmt.Fprintf(&s.text, "id: %d\n", c.Number)
				s.event("change", told)
			}
			s.last = c.Number
		}
		if s.waiting = nil; s.text.Len() > maxBody && !s.flush() {
			return false
		}
	}
}

// cut writes down why there is no more.
func (s *listening) cut(reason error) bool {
	s.event("cut", Notice{Number: s.last, Reason: s.problemOf(s.r.Context(), s.r.URL.Path, reason).Detail})
	return false
}

func (s *listening) event(name string, data any) {
	line, _ := json.Marshal(data) // these always marshal, in one line
	fmt.Fprintf(&s.text, "event: %s\ndata: %s\n\n", name, line)
}

// flush writes what is written down. Whoever does not read it in time is cut off.
func (s *listening) flush() bool {
	if s.text.Len() == 0 {
		return true
	}
	out := http.NewResponseController(s.w)
	_ = out.SetWriteDeadline(time.Now().Add(writeEventsWithin)) // where there is none, the server's own holds
	_, err := s.w.Write(s.text.Bytes())
	s.text.Reset()
	if err == nil {
		err = out.Flush()
	}
	return err == nil
}

// ownKey reports whether an API key is that of the one who listens.
func (s *listening) ownKey(id string) bool {
	if s.People == nil {
		return false
	}
	_, err := s.People.Keys().Get(s.who, id)
	return err == nil
}
