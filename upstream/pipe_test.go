package upstream

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
)

// scribe is a link over a pipe that notes what is written and answers nothing.
type scribe struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (s *scribe) patch(t *testing.T) *Conn {
	t.Helper()
	c, end := hostile(false)
	t.Cleanup(end)
	c.link = &pipe{c: c, stop: func(context.Context) error { return nil }, write: func(_ context.Context, text []byte) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lines = append(s.lines, string(text))
		return nil
	}}
	return c
}

func (s *scribe) written() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func TestTheHandshakeIsNeverCancelledWithAMessage(t *testing.T) {
	for method, want := range map[string]bool{"initialize": false, "server/discover": false, "tools/call": true} {
		var s scribe
		c := s.patch(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.roundTrip(ctx, newCall(method)); err == nil {
			t.Error("no error")
		}
		c.crew.wg.Wait()
		if told := strings.Contains(s.written(), methodCancelled); told != want {
			t.Errorf("%s: %s", method, s.written())
		}
	}
}

func TestAnAnswerCountsAlthoughTheConnectionEndsRightAfterIt(t *testing.T) {
	for name, write := range map[string]error{"before it was written": errors.New("broken"), "after": nil} {
		for range 100 {
			c, end := hostile(false)
			var x *call
			p := &pipe{c: c, stop: func(context.Context) error { return nil }}
			p.write = func(context.Context, []byte) error {
				p.read([]byte(`{"jsonrpc":"2.0","id":` + string(x.key) + `,"result":{}}`))
				c.fail(&failure{code: jackfield.Unavailable, what: "it has ended"})
				return write
			}
			c.link = p
			x = newCall("tools/call")
			if m, err := c.roundTrip(t.Context(), x); err != nil || string(m.Result) != "{}" {
				t.Fatalf("%s: %s %v", name, m.Result, err)
			}
			end()
		}
	}
}

func TestWhatComesBeforeTheAnswerIsDeliveredBeforeIt(t *testing.T) {
	var s scribe
	c := s.patch(t)
	p := c.link.(*pipe)
	peer := &asker{}
	for range 100 {
		x := newCall("tools/call")
		x.peer, x.progress = peer, true
		p.admit(x)
		c.calls.enter(x, 1)
		for range inboxSize {
			p.read([]byte(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + string(x.key) + `}}`))
		}
		p.read([]byte(`{"jsonrpc":"2.0","id":` + string(x.key) + `,"result":{}}`))
		if m, err := p.do(t.Context(), x); err != nil || string(m.Result) != "{}" {
			t.Fatal(err)
		}
		c.calls.leave(x)
	}
	if n := len(peer.all()); n != 100*inboxSize {
		t.Errorf("%d were delivered", n)
	}
}

func TestANotificationTooManyIsDroppedAndTheAnswerIsNot(t *testing.T) {
	var s scribe
	c := s.patch(t)
	p := c.link.(*pipe)
	dropped := 0
	c.opts.Hooks.Ignored = func(string) { dropped++ }
	events := 0
	c.opts.Hooks.Event = func(exchange.Event) { events++ }
	peer := &asker{}
	x := newCall("tools/call")
	x.peer = peer
	p.admit(x)
	c.calls.enter(x, 1)
	for range inboxSize + 10 {
		p.read([]byte(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`))
	}
	p.read([]byte(`{"jsonrpc":"2.0","id":` + string(x.key) + `,"result":{}}`))
	p.read([]byte(`{"jsonrpc":"2.0","id":` + string(x.key) + `,"result":{"second":true}}`))
	if m, err := p.do(t.Context(), x); err != nil || string(m.Result) != "{}" {
		t.Errorf("got %s, %v", m.Result, err)
	}
	if dropped != 10 || len(peer.all()) != inboxSize || events != 0 {
		t.Errorf("%d dropped, %d delivered, %d events", dropped, len(peer.all()), events)
	}
	c.calls.leave(x)
	p.read([]byte(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`))
	if events != 1 {
		t.Errorf("%d events: a message of nobody's is an event", events)
	}
}
