package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

// ear is one who listens.
type earOf struct {
	ready chan Interest
	ended chan struct{}
	err   error // why it ended
	leave context.CancelFunc
}

func (d *desk) listen(t *testing.T, in Interest) *earOf {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	e := &earOf{ready: make(chan Interest, 1), ended: make(chan struct{}), leave: cancel}
	in.Ready = func(agreed Interest) { e.ready <- agreed }
	go func() {
		defer close(e.ended)
		e.err = d.Listen(ctx, in)
	}()
	t.Cleanup(func() { cancel() })
	return e
}

func (e *earOf) wantReady(t *testing.T) Interest {
	t.Helper()
	select {
	case in := <-e.ready:
		return in
	case <-e.ended:
		t.Fatal(e.err)
		return Interest{}
	}
}

func TestAllWhoListenShareOneStream(t *testing.T) {
	for _, name := range []string{"modern, streams", "legacy, streams", "sessionless"} {
		t.Run(name, func(t *testing.T) {
			d := patch(t, upstreamtest.New(t, everyKind[name]))
			a := d.listen(t, Interest{Lists: true, URIs: []string{"test://a"}})
			a.wantReady(t)
			b := d.listen(t, Interest{Lists: true})
			b.wantReady(t)
			if d.s.Listeners() != 1 {
				t.Errorf("%d streams", d.s.Listeners())
			}
			a.leave()
			<-a.ended
			d.s.Emit("notifications/tools/list_changed", `{}`)
			<-d.news
			b.leave()
			<-b.ended
			d.s.WaitListeners(t, 0)
			c := d.listen(t, Interest{Lists: true})
			c.wantReady(t)
			d.s.WaitListeners(t, 1)
		})
	}
}

func TestWhoWantsMoreGetsItWithoutAGap(t *testing.T) {
	for _, name := range []string{"modern, streams", "legacy, streams", "modern process", "HTTP+SSE"} {
		t.Run(name, func(t *testing.T) {
			d := patch(t, upstreamtest.New(t, everyKind[name]))
			d.listen(t, Interest{Lists: true}).wantReady(t)
			b := d.listen(t, Interest{URIs: []string{"test://a", "test://b"}})
			if agreed := b.wantReady(t); agreed.Lists || !slices.Equal(agreed.URIs, []string{"test://a", "test://b"}) {
				t.Errorf("agreed to %+v", agreed)
			}
			c := d.listen(t, Interest{URIs: []string{"test://b"}})
			c.wantReady(t)
			d.call(t, "change", `{"kind":"updated","text":"test://b"}`)
			<-d.news
			d.call(t, "change", `{"kind":"prompts"}`)
			<-d.news
			if d.Shape().Modern() {
				if n := d.s.Count("subscriptions/listen"); n != 2 {
					t.Errorf("%d × subscriptions/listen", n)
				}
				if d.Shape().Transport == "http" {
					d.s.WaitListeners(t, 1) // the first one was closed
				}
				return
			}
			if n := d.s.Count("resources/subscribe"); n != 2 {
				t.Errorf("%d × resources/subscribe", n)
			}
			b.leave()
			<-b.ended
			d.s.Wait(t, "resources/unsubscribe", 1)
			c.leave()
			<-c.ended
			d.s.Wait(t, "resources/unsubscribe", 2)
		})
	}
}

func TestWhoComesWhenTheLastOneLeavesIsSubscribedAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, InProcess: true}), func(o *Options) {
			next := o.Client.Transport
			o.Client = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				text := []byte{}
				if r.Body != nil {
					var err error
					if text, err = io.ReadAll(r.Body); err != nil {
						return nil, err
					}
					r.Body = io.NopCloser(bytes.NewReader(text))
				}
				if m, err := wire.Parse(text); err == nil && strings.Contains(m.Method, "subscribe") {
					if m.Method == "resources/unsubscribe" {
						time.Sleep(time.Second)
					}
					mu.Lock()
					order = append(order, m.Method)
					mu.Unlock()
				}
				return next.RoundTrip(r)
			})}
		})
		a := d.listen(t, Interest{URIs: []string{"test://a"}})
		a.wantReady(t)
		a.leave()
		<-a.ended
		d.listen(t, Interest{URIs: []string{"test://a"}}).wantReady(t)
		if want := []string{"resources/subscribe", "resources/unsubscribe", "resources/subscribe"}; !slices.Equal(order, want) {
			t.Errorf("got %q", order)
		}
	})
}

func TestAStreamThatBreaksIsOpenedAgainAndWhatWasMissedReported(t *testing.T) {
	for _, era := range []upstreamtest.Era{upstreamtest.Modern, upstreamtest.Legacy} {
		t.Run(string(era), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: era, InProcess: true}))
				d.listen(t, Interest{Lists: true, URIs: []string{"test://a"}}).wantReady(t)
				d.s.DropStreams()
				for range 4 {
					<-d.news
				}
				events := strings.Join(d.seen(&d.events), "\n")
				for _, want := range []string{"notifications/tools/list_changed", "notifications/prompts/list_changed", "notifications/resources/list_changed", `notifications/resources/updated {"uri":"test://a"}`} {
					if !strings.Contains(events, want) {
						t.Errorf("%s is missing in %s", want, events)
					}
				}
				synctest.Wait()
				if d.s.Listeners() != 1 {
					t.Errorf("%d streams", d.s.Listeners())
				}
				d.s.Emit("notifications/tools/list_changed", `{}`)
				<-d.news
			})
		})
	}
}

func TestAStreamThatKeepsBreakingIsGivenUp(t *testing.T) {
	for _, era := range []upstreamtest.Era{upstreamtest.Modern, upstreamtest.Legacy} {
		t.Run(string(era), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: era, InProcess: true}))
				e := d.listen(t, Interest{Lists: true})
				e.wantReady(t)
				d.s.Fault(Fault{Method: map[upstreamtest.Era]string{upstreamtest.Modern: "subscriptions/listen", upstreamtest.Legacy: http.MethodGet}[era], Drop: true})
				begun := time.Now()
				d.s.DropStreams()
				if <-e.ended; jackfield.CodeOf(e.err) != jackfield.Unavailable {
					t.Errorf("got %v", e.err)
				}
				if took := time.Since(begun); took < time.Second || took > time.Minute {
					t.Errorf("gave up after %v", took)
				}
				if d.Err() != nil {
					t.Errorf("the connection is dead: %v", d.Err())
				}
				d.s.Heal()
				d.listen(t, Interest{Lists: true}).wantReady(t)
			})
		})
	}
}

func TestAServerWithoutAStreamSaysSo(t *testing.T) {
	for name, d := range map[string]*desk{
		"GET gets 405":    patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, NoStream: true})),
		"unknown method":  patch(t, upstreamtest.New(t, upstreamtest.Script{Faults: []Fault{{Method: "subscriptions/listen", Status: 404, Type: "application/json", Body: `{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"no"}}`}}})),
		"agrees to none":  patch(t, upstreamtest.New(t, upstreamtest.Script{Faults: []Fault{{Method: "subscriptions/listen", Type: "text/event-stream", Body: "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{\"notifications\":{}}}\n\n"}}})),
		"ends at once":    patch(t, upstreamtest.New(t, upstreamtest.Script{Faults: []Fault{{Method: "subscriptions/listen", Type: "text/event-stream", Body: ": nothing\n\n"}}})),
		"malformed words": patch(t, upstreamtest.New(t, upstreamtest.Script{Faults: []Fault{{Method: "subscriptions/listen", Type: "text/event-stream", Body: "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{\"notifications\":7}}\n\n"}}})),
	} {
		t.Run(name, func(t *testing.T) {
			err := d.Listen(t.Context(), Interest{Lists: true})
			if jackfield.CodeOf(err) != jackfield.Unavailable || errors.Is(err, ErrNoStream) != (name != "ends at once" && name != "malformed words") {
				t.Errorf("got %v", err)
			}
			if d.Err() != nil {
				t.Errorf("the connection is dead: %v", d.Err())
			}
			d.call(t, "echo", `{}`)
		})
	}
}

func TestASubscriptionThatIsNeverAcknowledgedIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{InProcess: true, Faults: []Fault{{Method: "subscriptions/listen", Hang: true}}}))
		begun := time.Now()
		if err := d.Listen(t.Context(), Interest{Lists: true}); jackfield.CodeOf(err) != jackfield.Unavailable {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begun); took != defaultInitTimeout {
			t.Errorf("took %v", took)
		}
	})
}

func TestAForgottenSessionEndsListeningAndTheConnection(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy}))
	e := d.listen(t, Interest{Lists: true})
	e.wantReady(t)
	d.s.Forget()
	d.s.DropStreams()
	if <-e.ended; !strings.Contains(fmt.Sprint(e.err), "forgotten the session") || d.Err() == nil {
		t.Errorf("got %v", e.err)
	}
}

func TestA404ToGETAloneMeansThatThereIsNoStream(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy}))
	d.s.Fault(Fault{Method: http.MethodGet, Status: 404, Body: "Cannot GET /mcp"})
	if err := d.Listen(t.Context(), Interest{Lists: true}); !errors.Is(err, ErrNoStream) {
		t.Errorf("got %v", err)
	}
	if d.Err() != nil {
		t.Errorf("the connection is dead: %v", d.Err())
	}
}

func TestAResourceThatTheServerRefusesIsNotAgreedTo(t *testing.T) {
	d := patch(t, upstreamtest.New(t, everyKind["legacy process"]))
	d2 := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, Faults: []Fault{{
		Method: "resources/subscribe", Status: 400, Type: "application/json", Body: `{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"no"}}`, Times: 1,
	}}}))
	_ = d
	e := d2.listen(t, Interest{Lists: true, URIs: []string{"test://a"}})
	if agreed := e.wantReady(t); !agreed.Lists || len(agreed.URIs) != 0 {
		t.Errorf("agreed to %+v", agreed)
	}
	e.leave()
	<-e.ended
	d2.s.WaitListeners(t, 0)
	if d2.s.Count("resources/unsubscribe") != 0 {
		t.Error("it was unsubscribed from what it never had")
	}
}

func TestNobodySubscribesToTooManyResources(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
	uris := make([]string, maxURIs+1)
	for i := range uris {
		uris[i] = fmt.Sprint("test://", i)
	}
	if err := d.Listen(t.Context(), Interest{URIs: uris}); jackfield.CodeOf(err) != jackfield.Exhausted {
		t.Errorf("got %v", err)
	}
	if d.s.Listeners() != 0 {
		t.Errorf("%d streams", d.s.Listeners())
	}
}

func TestManyComeAndGo(t *testing.T) {
	for _, name := range []string{"modern, streams", "legacy, streams", "modern process", "legacy process"} {
		t.Run(name, func(t *testing.T) {
			d := patch(t, upstreamtest.New(t, everyKind[name]))
			for i := range 20 {
				a := d.listen(t, Interest{Lists: i%2 == 0, URIs: []string{fmt.Sprint("test://", i%3)}})
				b := d.listen(t, Interest{URIs: []string{fmt.Sprint("test://", i%5)}})
				if i%3 == 0 {
					a.wantReady(t)
				}
				a.leave()
				b.wantReady(t)
				b.leave()
				<-a.ended
				<-b.ended
			}
			if d.Shape().Transport == "http" {
				d.s.WaitListeners(t, 0)
			}
			c := d.listen(t, Interest{URIs: []string{"test://a"}})
			c.wantReady(t)
			d.call(t, "change", `{"kind":"updated","text":"test://a"}`)
			<-d.news
		})
	}
}
