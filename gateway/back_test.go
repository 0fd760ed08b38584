package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestAClientThatHangsUpFindsItsAnswerByEventID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proceed := make(chan struct{})
		h := New(Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			_ = p.Notify(ctx, "notifications/one", nil)
			<-proceed
			_ = p.Notify(ctx, "notifications/two", nil)
			<-proceed
			if ctx.Err() != nil {
				t.Error("hanging up cancelled the request")
			}
			return result(`{"a":1}`), nil
		}}})
		hs := initialize(t, h, "/mcp", "2025-11-25", "{}")
		c := dial(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", "{}"), hs)
		first := c.next(t)
		c.hangup()
		proceed <- struct{}{}

		// Back while it is under way: what was missed, then what comes.
		c2 := dial(h, http.MethodGet, "/mcp", "", append(hs, "Last-Event-ID: "+first.ID))
		if got := c2.message(t); !strings.Contains(got, "notifications/one") {
			t.Error(got)
		}
		two := c2.next(t)
		if !strings.Contains(string(two.Data), "notifications/two") {
			t.Errorf("%s", two.Data)
		}
		c2.hangup()
		proceed <- struct{}{}
		<-c.done

		// Back when it was answered.
		time.Sleep(time.Minute)
		c3 := dial(h, http.MethodGet, "/mcp", "", append(hs, "Last-Event-ID: "+two.ID))
		if got := c3.message(t); got != `{"jsonrpc":"2.0","id":1,"result":{"a":1}}` {
			t.Error(got)
		}
		c3.wantEnd(t)

		// Back too late.
		time.Sleep(time.Minute)
		synctest.Wait()
		if w := send(h, http.MethodGet, "/mcp", "", append(hs, "Last-Event-ID: "+two.ID)); w.Code != 400 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if st := h.Status(); st.Events != 0 || st.Requests != 0 || st.Streams != 0 || st.Sessions != 1 {
			t.Errorf("%+v", st)
		}
		shut(t, h)
	})
}

func TestAResumingClientTakesTheStreamFromAConnectionThatOnlyLooksAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proceed := make(chan struct{})
		h := New(Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			_ = p.Notify(ctx, "notifications/one", nil)
			<-proceed
			return result(`{}`), nil
		}}})
		hs := initialize(t, h, "/mcp", "2025-11-25", "{}")
		c := dial(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", "{}"), hs)
		prime, one := c.next(t), c.next(t)
		c2 := dial(h, http.MethodGet, "/mcp", "", append(hs, "Last-Event-ID: "+prime.ID))
		if got := c2.next(t); got.ID != one.ID {
			t.Errorf("%+v", got)
		}
		close(proceed)
		if got := c2.message(t); !strings.Contains(got, "result") {
			t.Error(got)
		}
		c2.wantEnd(t)
		c.wantEnd(t)
		shut(t, h)
	})
}

func TestTheSessionsOwnStreamTellsWhatBelongsToNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type listening struct {
			ctx     context.Context
			caller  broker.Caller
			deliver func(exchange.Event)
		}
		listens := make(chan listening, 1)
		h := New(Options{Broker: &script{listen: func(ctx context.Context, c broker.Caller, f broker.Filter, ready func(broker.Filter), d func(exchange.Event)) error {
			if !f.Tools || !f.Prompts || !f.Resources || !f.Other {
				t.Errorf("filter %+v", f)
			}
			ready(f)
			listens <- listening{ctx, c, d}
			<-ctx.Done()
			return nil
		}}})
		hs := initialize(t, h, "/mcp", "2025-11-25", `{"sampling":{}}`)
		c := dial(h, http.MethodGet, "/mcp", "", hs)
		if c.status != 200 || c.header.Get("Content-Type") != "text/event-stream" {
			t.Fatal(c.status, c.header)
		}
		l := <-listens
		l.deliver(exchange.Event{Method: "notifications/tools/list_changed"})
		l.deliver(exchange.Event{Method: "notifications/message", Params: wire.Raw(`{"level":"info"}`)})
		if got := c.message(t); got != `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}` {
			t.Error(got)
		}
		last := c.next(t)

		// A question of a server that belongs to none of the client's requests.
		asked := make(chan error)
		go func() {
			a, err := l.caller.Home.Ask(context.Background(), []exchange.Question{{Method: "sampling/createMessage", Params: wire.Raw(`{}`)}})
			if err == nil && string(a[0].Result) != `{"x":1}` {
				t.Errorf("%+v", a)
			}
			asked <- err
		}()
		m, _ := wire.Parse([]byte(c.message(t)))
		send(h, http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{"x":1}}`, hs)
		if err := <-asked; err != nil {
			t.Error(err)
		}
		_ = l.caller.Home.Notify(context.Background(), "notifications/vendor", nil)
		if got := c.message(t); !strings.Contains(got, "vendor") {
			t.Error(got)
		}

		// Away for a moment: it is listened on, and nothing is lost.
		c.leave()
		synctest.Wait()
		l.deliver(exchange.Event{Method: "notifications/prompts/list_changed"})
		if _, err := l.caller.Home.Ask(context.Background(), []exchange.Question{{Method: "sampling/createMessage"}}); jackfield.CodeOf(err) != jackfield.Unavailable {
			t.Errorf("asked nobody: %v", err)
		}
		time.Sleep(29 * time.Second)
		c = dial(h, http.MethodGet, "/mcp", "", append(hs, "Last-Event-ID: "+last.ID))
		for _, want := range []string{"sampling/createMessage", "vendor", "prompts/list_changed"} {
			if got := c.message(t); !strings.Contains(got, want) {
				t.Errorf("%s, want %s", got, want)
			}
		}
		// Away for long: nobody listens any more, and it begins anew.
		time.Sleep(time.Minute)
		c.leave()
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if l.ctx.Err() == nil {
			t.Error("still listening")
		}
		c = dial(h, http.MethodGet, "/mcp", "", append(hs, "Last-Event-ID: "+last.ID))
		l = <-listens
		l.deliver(exchange.Event{Method: "notifications/resources/list_changed"})
		if got := c.message(t); !strings.Contains(got, "resources/list_changed") {
			t.Error(got)
		}
		closed := make(chan error)
		go func() { closed <- h.Close(context.Background()) }()
		c.wantEnd(t)
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

func TestListeningSurvivesReadersThatReplaceOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var listening atomic.Int32
		delivers := make(chan func(exchange.Event), 2)
		fail := true
		h := New(Options{Broker: &script{listen: func(ctx context.Context, _ broker.Caller, f broker.Filter, ready func(broker.Filter), d func(exchange.Event)) error {
			if fail {
				fail = false
				return errors.New("not this time")
			}
			listening.Add(1)
			defer listening.Add(-1)
			delivers <- d
			<-ctx.Done()
			return nil
		}}})
		hs := initialize(t, h, "/mcp", "2025-06-18", "{}")
		send(h, http.MethodPost, "/mcp", legacyCall("1", "logging/setLevel", `{"level":"error"}`), hs)
		a := dial(h, http.MethodGet, "/mcp", "", hs)
		synctest.Wait() // the listening failed
		b := dial(h, http.MethodGet, "/mcp", "", hs)
		a.wantEnd(t)
		time.Sleep(time.Minute)
		if listening.Load() != 1 {
			t.Error("nobody listens for a reader")
		}
		deliver := <-delivers
		deliver(exchange.Event{Method: "notifications/message", Params: wire.Raw(`{"level":"info"}`)})
		deliver(exchange.Event{Method: "notifications/vendor"})
		last := b.next(t)
		if !strings.Contains(string(last.Data), "vendor") {
			t.Errorf("%s", last.Data)
		}
		b.leave()
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if listening.Load() != 0 || h.Status().Events != 0 {
			t.Error("still listening for nobody")
		}

		// Back with the id of a stream that is gone, when the new one has something.
		c := dial(h, http.MethodGet, "/mcp", "", hs)
		deliver = <-delivers
		c.leave()
		for range 3 {
			deliver(exchange.Event{Method: "notifications/tools/list_changed"})
		}
		id, n, _ := parseEventID(last.ID)
		c = dial(h, http.MethodGet, "/mcp", "", append(hs, "Last-Event-ID: "+eventID(id, n+50)))
		if got := c.message(t); !strings.Contains(got, "tools/list_changed") {
			t.Error(got)
		}
		deliver(exchange.Event{Method: "notifications/vendor"})
		if got := c.message(t); !strings.Contains(got, "vendor") {
			t.Errorf("the same change is told again: %s", got)
		}
		c.leave()
		shut(t, h)
	})
}

func TestANewReaderReplacesTheOldOneOfTheSessionsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{}})
		hs := initialize(t, h, "/mcp", "2025-06-18", "{}")
		a := dial(h, http.MethodGet, "/mcp", "", hs)
		b := dial(h, http.MethodGet, "/mcp", "", hs)
		a.wantEnd(t)
		w := send(h, http.MethodDelete, "/mcp", "", hs)
		if w.Code != http.StatusNoContent {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		b.wantEnd(t)
		shut(t, h)
	})
}
