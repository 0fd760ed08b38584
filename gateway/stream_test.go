package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAFullStreamLosesItsOldestNotificationsOnly(t *testing.T) {
	s := newStream("p1", &ledger{max: 1 << 30})
	s.push([]byte("question"), needed)
	for i := range 3 * maxEvents {
		s.push([]byte(fmt.Sprint("n", i)), notice)
	}
	s.push([]byte("answer"), needed)
	evs, _, _ := s.pending(nil, 0)
	if len(evs) != maxEvents || string(evs[0].data) != "question" || string(evs[len(evs)-1].data) != "answer" {
		t.Errorf("%d events, %s … %s", len(evs), evs[0].data, evs[len(evs)-1].data)
	}
	if got, want := string(evs[1].data), fmt.Sprint("n", 3*maxEvents-maxEvents+2); got != want || s.ledger.dropped.Load() != 3*maxEvents-maxEvents+2 {
		t.Errorf("oldest %s, want %s; %d dropped", got, want, s.ledger.dropped.Load())
	}
}

func TestAStreamIsBoundedInBytes(t *testing.T) {
	s := newStream("p1", &ledger{max: 1 << 30})
	big := []byte(strings.Repeat("x", maxEventBytes/4))
	for range 10 {
		s.push(big, notice)
	}
	if s.bytes > maxEventBytes {
		t.Errorf("%d bytes", s.bytes)
	}
	s.push([]byte(strings.Repeat("y", 2*maxEventBytes)), needed)
	if evs, _, _ := s.pending(nil, 0); len(evs) != 1 || evs[0].kind != needed {
		t.Errorf("%d events left", len(evs))
	}
}

func TestWhatWasSentGoesBeforeWhatWaits(t *testing.T) {
	l := &ledger{max: 1 << 30}
	s := newStream("p1", l)
	for range maxEvents {
		s.push([]byte("sent"), needed)
	}
	_, next, _ := s.pending(nil, 0)
	for i := range maxEvents {
		s.push([]byte(fmt.Sprint("waits", i)), needed)
	}
	evs, _, _ := s.pending(nil, next)
	if len(evs) != maxEvents || len(s.events) != maxEvents || string(evs[0].data) != "waits0" {
		t.Errorf("%d of %d events wait, first %s", len(evs), len(s.events), evs[0].data)
	}
	if n := l.dropped.Load(); n != 0 {
		t.Errorf("what was sent counts as dropped: %d", n)
	}
}

func TestOnlyWhoHoldsTheTapGivesItBack(t *testing.T) {
	s := newStream("p1", &ledger{max: 1 << 30})
	a, b := s.attach(), s.attach()
	if s.detach(a) || !s.attached() {
		t.Error("the old one gave back what the new one holds")
	}
	if !s.detach(b) || s.attached() {
		t.Error("still held")
	}
}

func TestCommentsFillTheSilenceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{}})
		s := newStream("", &h.ledger)
		w := httptest.NewRecorder()
		ended := make(chan error)
		go func() { ended <- s.serve(t.Context(), h.eventWriter(w), s.attach(), 0) }()
		for range 3 {
			time.Sleep(10 * time.Second)
			s.push([]byte("x"), notice)
		}
		time.Sleep(46 * time.Second)
		s.end()
		if err := <-ended; err != nil || strings.Count(w.Body.String(), ": keep-alive") != 3 {
			t.Errorf("%v %q", err, w.Body)
		}
		shut(t, h)
	})
}

func TestAChangeThatWaitsIsNotToldTwice(t *testing.T) {
	s := newStream("g1", &ledger{max: 1 << 30})
	for range 3 {
		s.push([]byte("tools changed"), state)
		s.push([]byte("prompts changed"), state)
	}
	if evs, _, _ := s.pending(nil, 0); len(evs) != 2 {
		t.Errorf("%d events", len(evs))
	}
	s.push([]byte("tools changed"), state) // what was sent counts no more
	if evs, _, _ := s.pending(nil, 2); len(evs) != 1 {
		t.Errorf("%d events", len(evs))
	}
}

func TestAnUnnamedStreamKeepsNothingThatWasSent(t *testing.T) {
	s := newStream("", &ledger{max: 1 << 30})
	s.push([]byte("a"), needed)
	_, next, _ := s.pending(nil, 0)
	s.push([]byte("b"), needed)
	if evs, _, _ := s.pending(nil, next); len(evs) != 1 || string(evs[0].data) != "b" || s.bytes != 0 {
		t.Errorf("%v, %d bytes", evs, s.bytes)
	}
}

func TestAllStreamsTogetherAreBounded(t *testing.T) {
	l := &ledger{max: 100}
	a, b := newStream("p1", l), newStream("p2", l)
	a.push(make([]byte, 60), notice)
	b.push(make([]byte, 60), notice) // has no room, and takes none from others
	b.push(make([]byte, 60), needed) // has to be
	if len(a.events) != 1 || len(b.events) != 1 || l.bytes.Load() != 120 || l.dropped.Load() != 1 {
		t.Errorf("%d and %d events, %d bytes, %d dropped", len(a.events), len(b.events), l.bytes.Load(), l.dropped.Load())
	}
	a.discard()
	b.discard()
	if l.bytes.Load() != 0 {
		t.Errorf("%d bytes left", l.bytes.Load())
	}
}

func TestNothingIsPushedBehindTheEnd(t *testing.T) {
	s := newStream("", &ledger{max: 1 << 30})
	s.end()
	if s.push([]byte("a"), needed) {
		t.Error("taken")
	}
}

func TestEventIDsAreReadBack(t *testing.T) {
	for _, id := range []string{"", "-", "p1", "p1-", "p1-!", "-5", "p1-zzzzzzzzzzzzzzzzzzzz"} {
		if s, n, ok := parseEventID(id); ok {
			t.Errorf("%q is stream %q, event %d", id, s, n)
		}
	}
	if s, n, ok := parseEventID(eventID("a-b", 12345)); !ok || s != "a-b" || n != 12345 {
		t.Error(s, n, ok)
	}
}

// stuck is a client that takes nothing.
type stuck struct {
	header   http.Header
	deadline chan time.Time
}

func (s *stuck) Header() http.Header { return s.header }
func (s *stuck) WriteHeader(int)     {}
func (s *stuck) Flush()              {}
func (s *stuck) SetWriteDeadline(t time.Time) error {
	select {
	case s.deadline <- t:
	default:
	}
	return nil
}

func (s *stuck) Write([]byte) (int, error) {
	time.Sleep(time.Until(<-s.deadline))
	return 0, http.ErrHandlerTimeout
}

func TestASlowClientHoldsUpNobodyButItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{}})
		w := &stuck{header: make(http.Header), deadline: make(chan time.Time, 1)}
		s := newStream("", &ledger{max: 1 << 30})
		tap := s.attach()
		ended := make(chan error)
		go func() { ended <- s.serve(t.Context(), h.eventWriter(w), tap, 0) }()
		began := time.Now()
		for range 1000 {
			s.push([]byte("x"), notice)
			synctest.Wait()
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("pushing took %v", d)
		}
		if err := <-ended; err == nil || time.Since(began) != 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if s.attached() {
			t.Error("still attached")
		}
		shut(t, h)
	})
}

func TestMessagesWithLineEndsStayOneEvent(t *testing.T) {
	h := open(t, Options{Broker: &script{}})
	s := newStream("", &ledger{max: 1 << 30})
	s.push([]byte("{\n\"a\":\r\n1}"), needed)
	s.end()
	w := httptest.NewRecorder()
	if err := s.serve(t.Context(), h.eventWriter(w), s.attach(), 0); err != nil {
		t.Fatal(err)
	}
	if evs := events(t, w.Body); len(evs) != 1 || string(evs[0].Data) != "{\n\"a\":\n1}" {
		t.Errorf("%q", data(evs))
	}
}
