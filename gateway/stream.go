package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield/wire"
)

const (
	maxEvents     = 256     // events that a stream holds, sent or not
	maxEventBytes = 1 << 20 // and their bytes
)

// stream is what one HTTP response after another writes to a client: the events
// of one POST, or those of a session that belong to no request. Whoever has
// something to say pushes it, never waits, and knows nothing of the client; the
// one HTTP request that holds the tap writes.
//
// A stream with a name numbers its events and keeps those that were sent, within
// bounds, so that a client can come back for them. When it is full the oldest
// notification goes; what somebody waits for (answers, questions) stays.
type stream struct {
	name   string // part of the event ids; empty: no ids, and nothing is kept
	ledger *ledger

	mu     sync.Mutex // guards what follows
	events []event
	next   uint64 // number of the next event
	sent   uint64 // number of the first event not sent yet
	bytes  int    // in events
	ended  bool   // nothing comes any more
	tap    *tap   // held by who writes; nil: nobody
}

// ledger counts what all streams hold, and what they let go of unsent.
type ledger struct {
	max     int64 // bytes
	bytes   atomic.Int64
	dropped atomic.Int64 // notifications
}

// full reports whether the streams hold more than they may.
func (l *ledger) full() bool { return l.bytes.Load() > l.max }

// event is a message, or, with retry set, the beginning of a stream that can be
// resumed (2025-11-25, SEP-1699).
type event struct {
	number uint64
	data   []byte
	kind   eventKind
	retry  time.Duration
}

type eventKind uint8

const (
	notice eventKind = iota // may be dropped when there is no room
	state                   // as notice, and a second one that waits says nothing new
	needed                  // somebody waits for it
)

// tap is the right to write a stream. Taking it ends who had it before: a client
// that comes back is right even when its old connection looks alive.
type tap struct {
	wake chan struct{} // something was pushed; capacity 1
	gone chan struct{} // closed when somebody else has taken the tap
}

func newStream(name string, l *ledger) *stream { return &stream{name: name, ledger: l} }

// push adds a message and reports whether the stream takes messages still.
func (s *stream) push(data []byte, kind eventKind) bool {
	s.mu.Lock()
	ok := s.pushLocked(event{data: data, kind: kind})
	s.mu.Unlock()
	return ok
}

// pushLocked adds ev. mu is held.
func (s *stream) pushLocked(ev event) bool {
	if s.ended {
		return false
	}
	if ev.kind == state && s.waitsLocked(ev.data) {
		return true
	}
	ev.number = s.next
	s.next++
	s.events = append(s.events, ev)
	s.countLocked(len(ev.data))
	for len(s.events) > maxEvents || s.bytes > maxEventBytes || s.ledger.full() {
		i := slices.IndexFunc(s.events, func(e event) bool { return e.kind != needed || e.number < s.sent })
		if i < 0 {
			break
		}
		if s.events[i].number >= s.sent {
			s.ledger.dropped.Add(1)
		}
		s.countLocked(-len(s.events[i].data))
		s.events = slices.Delete(s.events, i, i+1)
	}
	s.wakeLocked()
	return true
}

// countLocked notes n bytes more or less. mu is held.
func (s *stream) countLocked(n int) {
	s.bytes += n
	s.ledger.bytes.Add(int64(n))
}

// discard ends the stream and lets go of all that it holds.
func (s *stream) discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.clearLocked()
	s.wakeLocked()
}

// clearLocked lets go of all events. mu is held.
func (s *stream) clearLocked() {
	s.countLocked(-s.bytes)
	clear(s.events)
	s.events = s.events[:0]
}

// waitsLocked reports whether the same message waits to be sent. mu is held.
func (s *stream) waitsLocked(data []byte) bool {
	for i := len(s.events) - 1; i >= 0 && s.events[i].number >= s.sent; i-- {
		if string(s.events[i].data) == string(data) {
			return true
		}
	}
	return false
}

// wakeLocked tells who writes that there is something. mu is held.
func (s *stream) wakeLocked() {
	if s.tap != nil {
		select {
		case s.tap.wake <- struct{}{}:
		default:
		}
	}
}

// end says that nothing comes any more.
func (s *stream) end() {
	s.mu.Lock()
	s.ended = true
	s.wakeLocked()
	s.mu.Unlock()
}

// attach takes the tap.
func (s *stream) attach() *tap {
	t := &tap{wake: make(chan struct{}, 1), gone: make(chan struct{})}
	s.mu.Lock()
	if s.tap != nil {
		close(s.tap.gone)
	}
	s.tap = t
	s.mu.Unlock()
	return t
}

// detach gives the tap back and reports whether t still held it.
func (s *stream) detach(t *tap) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tap != t {
		return false
	}
	s.tap = nil
	return true
}

// attached reports whether somebody writes the stream now.
func (s *stream) attached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tap != nil
}

// pending appends to buf the events from number from on and returns the number to
// go on with, and whether that was the end.
func (s *stream) pending(buf []event, from uint64) (_ []event, next uint64, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ev := range s.events {
		if ev.number >= from {
			buf = append(buf, ev)
		}
	}
	s.sent = max(s.sent, s.next)
	if s.name == "" {
		s.clearLocked()
	}
	return buf, s.next, s.ended
}

var errTaken = errors.New("the client continued this stream elsewhere")

// serve writes the events from number from on, until the stream has ended and all
// is written (nil), ctx ends, the client is gone or somebody else takes the tap.
func (s *stream) serve(ctx context.Context, w *eventWriter, t *tap, from uint64) error {
	defer s.detach(t)
	if err := w.begin(); err != nil {
		return err
	}
	return s.pump(ctx, w, t, from)
}

// pump is serve for a response that has begun.
func (s *stream) pump(ctx context.Context, w *eventWriter, t *tap, from uint64) error {
	quiet := time.NewTimer(w.keepAlive)
	defer quiet.Stop()
	var batch []event
	for {
		var ended bool
		batch, from, ended = s.pending(batch[:0], from)
		if len(batch) > 0 {
			if err := w.write(s.name, batch); err != nil {
				return err
			}
			quiet.Reset(w.keepAlive)
		}
		if ended {
			return nil
		}
		select {
		case <-t.wake:
		case <-t.gone:
			return errTaken
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-quiet.C:
			if err := w.comment(); err != nil {
				return err
			}
			quiet.Reset(w.keepAlive)
		}
	}
}

// eventWriter writes events to one HTTP response.
type eventWriter struct {
	w         http.ResponseWriter
	control   *http.ResponseController
	keepAlive time.Duration
	timeout   time.Duration // of one write
	buf       []byte
}

func (h *Handler) eventWriter(w http.ResponseWriter) *eventWriter {
	return &eventWriter{
		w: w, control: http.NewResponseController(w),
		keepAlive: h.opts.Timing.KeepAlive, timeout: h.opts.Timing.Write,
	}
}

// begin sends the headers.
func (e *eventWriter) begin() error {
	h := e.w.Header()
	h["Content-Type"] = typeStream
	h["Cache-Control"] = noStore
	h["X-Accel-Buffering"] = noBuffer
	e.deadline()
	e.w.WriteHeader(http.StatusOK)
	return e.flush()
}

// deadline bounds the writes that follow. Writers that know none (tests, some
// middleware) do without.
func (e *eventWriter) deadline() { _ = e.control.SetWriteDeadline(time.Now().Add(e.timeout)) }

func (e *eventWriter) write(name string, batch []event) error {
	e.buf = e.buf[:0]
	for _, ev := range batch {
		out := wire.Event{Data: ev.data, Retry: ev.retry}
		if name != "" {
			out.ID = eventID(name, ev.number)
		}
		e.buf = wire.AppendEvent(e.buf, out)
	}
	err := e.send()
	if cap(e.buf) > 64<<10 {
		e.buf = nil // a stream may live long after its one big event
	}
	return err
}

func (e *eventWriter) comment() error {
	e.buf = wire.AppendComment(e.buf[:0], "keep-alive")
	return e.send()
}

func (e *eventWriter) send() error {
	e.deadline()
	if _, err := e.w.Write(e.buf); err != nil {
		return err
	}
	return e.flush()
}

func (e *eventWriter) flush() error {
	if err := e.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// eventID names an event: the stream, and the event's number in it.
func eventID(stream string, number uint64) string {
	return stream + "-" + strconv.FormatUint(number, 36)
}

// parseEventID reads what eventID wrote.
func parseEventID(id string) (stream string, number uint64, ok bool) {
	for i := len(id) - 1; i > 0; i-- {
		if id[i] == '-' {
			n, err := strconv.ParseUint(id[i+1:], 36, 63)
			return id[:i], n, err == nil
		}
	}
	return "", 0, false
}
