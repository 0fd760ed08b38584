package gateway

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/jackfield-dev/jackfield/internal/alarm"
	"github.com/jackfield-dev/jackfield/wire"
)

// reply is the HTTP answer to one POST: JSON when nothing came before the
// result, else a stream of events. The POST's own goroutine waits for the
// exchange meanwhile; the stream, once there is one, is written by another, so
// that nobody who pushes waits for the client.
type reply struct {
	x *inbound
	// open makes the stream when it is needed.
	open func() *stream
	// token is the progress token as the client typed it; nil: it wants no progress.
	token wire.Raw
	// part: one of several on a stream that goes on without it.
	part bool

	mu     sync.Mutex    // guards what follows
	stream *stream       // nil while the answer can still be JSON
	done   bool          // the answer is given
	served chan struct{} // closed when nobody writes the response any more

	quiet   alarm.Alarm // makes a stream of a reply that takes long
	writing deadline
	head    [80]byte // room for the beginning of a JSON answer
}

// watch makes a stream of the reply when there is no answer after a while: the
// client, and every proxy on the way, then sees that somebody is at work.
func (r *reply) watch() {
	r.x.clocks.quiet.Set(&r.quiet, r)
}

// Ring is called when there was no answer for a while.
func (r *reply) Ring() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.done {
		r.streamLocked()
	}
}

// push sends a message ahead of the answer. It reports false when the answer was
// given already.
func (r *reply) push(data []byte, kind eventKind) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return false
	}
	return r.streamLocked().push(data, kind)
}

// tell sends a notification that the client takes: progress under its own token, if
// it gave one.
func (r *reply) tell(method string, params wire.Raw) error {
	if method == "notifications/progress" {
		if r.token == nil {
			return nil
		}
		var err error
		if params, err = withToken(params, r.token); err != nil {
			return err
		}
	}
	r.push(wire.AppendNotification(nil, method, params), notice)
	return nil
}

// streamLocked is the stream, begun if it was not. mu is held.
func (r *reply) streamLocked() *stream {
	if r.stream == nil {
		s := r.open()
		t := s.attach()
		r.stream, r.served = s, make(chan struct{})
		w, ctx := r.x.eventWriter(r.x.w), r.x.r.Context()
		go func() {
			defer close(r.served)
			_ = s.serve(ctx, w, t, 0) // whoever is gone can come back, or does not care
		}()
	}
	return r.stream
}

// finish gives the answer, a result or an error, with the HTTP status if that can
// still be chosen, and waits until it is written or the client is gone.
func (r *reply) finish(status int, result wire.Raw, e *wire.Error) {
	s := r.finished()
	switch {
	case s == nil && e != nil:
		r.x.refuse(status, e)
	case s == nil:
		r.writeJSON(result)
	default:
		var msg []byte
		if e != nil {
			msg = wire.AppendError(nil, r.x.msg.ID, e)
		} else {
			msg = wire.AppendResult(make([]byte, 0, len(result)+len(r.x.msg.ID)+40), r.x.msg.ID, result)
		}
		s.push(msg, needed)
		r.ended(s)
	}
}

// ended ends the stream and waits until it is written.
func (r *reply) ended(s *stream) {
	if r.part {
		return
	}
	s.end()
	<-r.served
	if s.name == "" {
		s.discard() // nobody can come back for it
	}
}

// abandon ends the reply without an answer, because nobody wants one any more.
func (r *reply) abandon() {
	s := r.finished()
	if s == nil {
		// No JSON body says "no answer". An event stream without events does.
		h := r.x.w.Header()
		h["Content-Type"] = typeStream
		h["Content-Length"] = []string{"0"}
		r.x.w.WriteHeader(http.StatusOK)
		return
	}
	r.ended(s)
}

// finished takes the reply: nothing is pushed after it.
func (r *reply) finished() *stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
	r.x.clocks.quiet.Stop(&r.quiet)
	return r.stream
}

// close makes sure that nobody writes the response when its request is over, even
// when there was no answer because of a panic.
func (r *reply) close() {
	if s := r.finished(); s != nil {
		r.ended(s)
	}
}

// streamed is the stream, if the reply became one.
func (r *reply) streamed() *stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.part {
		return nil
	}
	return r.stream
}

// writeJSON answers with one message, without a copy of the result.
func (r *reply) writeJSON(result wire.Raw) {
	head := append(r.head[:0], `{"jsonrpc":"2.0","id":`...)
	head = append(head, r.x.msg.ID...)
	head = append(head, `,"result":`...)
	h := r.x.w.Header()
	h["Content-Type"] = typeJSON
	h["Content-Length"] = []string{strconv.Itoa(len(head) + len(result) + 1)}
	r.writing.begin(r.x.clocks.write, r.x.w, (*http.ResponseController).SetWriteDeadline)
	defer r.writing.end()
	r.x.w.WriteHeader(http.StatusOK)
	// A client that is gone gets no answer, and nobody can be told.
	_, _ = r.x.w.Write(head)
	_, _ = r.x.w.Write(result)
	_, _ = r.x.w.Write(closing)
	// Within the deadline, and not when net/http finds the time.
	_ = http.NewResponseController(r.x.w).Flush()
}

var closing = []byte{'}'}
