package gateway

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
)

// tune opens a channel and returns its stream and where to post.
func tune(t *testing.T, h http.Handler, path string, hs ...string) (*browser, string) {
	t.Helper()
	c := dial(h, http.MethodGet, path, "", append(header{"Accept: text/event-stream"}, hs...))
	ev := c.next(t)
	if c.status != 200 || ev.Name != "endpoint" || !strings.HasPrefix(string(ev.Data), path+"?session=") {
		t.Fatalf("%d %+v", c.status, ev)
	}
	return c, string(ev.Data)
}

const hello = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{"roots":{}},"clientInfo":{"name":"old","version":"1"}}}`

func TestAClientOf2024IsAnsweredOnItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &script{do: func(ctx context.Context, c broker.Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			if c.Only != "files" || c.Session == "" || !c.Caps.Roots {
				t.Errorf("the caller is %+v", c)
			}
			if r.Method == "tools/call" {
				answers, err := p.Ask(ctx, []exchange.Question{{Method: "roots/list"}})
				if err != nil {
					return exchange.Result{}, err
				}
				return exchange.Result{Raw: answers[0].Result}, nil
			}
			return exchange.Result{Raw: r.Params.Raw()}, nil
		}}
		h := New(Options{Broker: b})
		c, at := tune(t, h, "/sse/files")
		post := func(body string, want int) {
			t.Helper()
			if w := send(h, http.MethodPost, at, body, nil); w.Code != want || want == 202 && w.Body.Len() > 0 {
				t.Errorf("%s: %d %s", body, w.Code, w.Body)
			}
		}
		post(legacyCall("1", "tools/list", `{}`), 400) // before initialize
		post(hello, 202)
		if got := c.message(t); !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2024-11-05"`) {
			t.Errorf("got %s", got)
		}
		post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`, 202)
		post(legacyCall(`"ä"`, "prompts/get", `{"n":9007199254740993}`), 202)
		if got := c.message(t); got != `{"jsonrpc":"2.0","id":"ä","result":{"n":9007199254740993}}` {
			t.Errorf("got %s", got)
		}
		post(legacyCall("2", "tools/call", `{}`), 202)
		question := c.message(t)
		id, _, _ := strings.Cut(strings.TrimPrefix(question, `{"jsonrpc":"2.0","id":`), ",")
		post(`{"jsonrpc":"2.0","id":`+id+`,"result":{"roots":[]}}`, 202)
		if got := c.message(t); got != `{"jsonrpc":"2.0","id":2,"result":{"roots":[]}}` {
			t.Errorf("got %s", got)
		}
		post(legacyCall("3", "ping", ""), 202)
		if got := c.message(t); got != `{"jsonrpc":"2.0","id":3,"result":{}}` {
			t.Errorf("got %s", got)
		}
		post(hello, 400)
		post(`[`+legacyCall("4", "ping", "")+`]`, 400)
		post(`{`, 400)
		c.leave()
		synctest.Wait()
		post(legacyCall("5", "ping", ""), 404)
		if b.sessionsEnded() != 1 {
			t.Error("the session outlives its stream")
		}
		shut(t, h)
	})
}

func TestAChannelIsItsOwnersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Authenticate: users, Broker: &script{}})
		const ann, bob = "Authorization: Bearer ann", "Authorization: Bearer bob"
		c, at := tune(t, h, "/sse", ann)
		for name, code := range map[string]int{
			bob: 404, "Authorization:": 401, "Origin: http://evil.example.com": 403, "Content-Type: text/plain": 415,
		} {
			hs := header{ann, name}
			if w := send(h, http.MethodPost, at, hello, hs); w.Code != code {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
			}
		}
		for path, code := range map[string]int{
			"/sse?session=made-up": 404, "/sse": 404, strings.Replace(at, "/sse", "/sse/files", 1): 404, "/sse/a/b": 404,
		} {
			if w := send(h, http.MethodPost, path, hello, header{ann}); w.Code != code {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		if w := send(h, http.MethodDelete, "/sse", "", header{ann}); w.Code != 405 {
			t.Errorf("DELETE: %d", w.Code)
		}
		if w := send(h, http.MethodGet, "/sse", "", header{ann, "Accept: application/json"}); w.Code != 406 {
			t.Errorf("GET for JSON: %d", w.Code)
		}
		c.leave()
		shut(t, h)
	})
}

func TestClosingEndsChannelsAndWhatIsUnderWayOnThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		h := New(Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return exchange.Result{}, ctx.Err()
		}}})
		c, at := tune(t, h, "/sse")
		_ = send(h, http.MethodPost, at, hello, nil)
		_ = c.message(t)
		if w := send(h, http.MethodPost, at, legacyCall("1", "tools/call", `{}`), nil); w.Code != 202 {
			t.Error(w.Code)
		}
		time.Sleep(time.Second)
		if n := h.Status(); n.Requests != 1 || n.Streams != 1 || n.Sessions != 1 {
			t.Errorf("%+v", n)
		}
		go func() { // the pipe has to be read
			for {
				if _, err := c.events.Next(); err != nil {
					return
				}
			}
		}()
		shut(t, h)
		if cause == nil {
			t.Error("the call goes on")
		}
		<-c.done
		c.hangup()
	})
}

func TestTheAddressToPostToIsSpelledAsAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{}})
		c, at := tune(t, h, "/sse/a%20server%0A")
		if w := send(h, http.MethodPost, at, hello, nil); w.Code != http.StatusAccepted {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		c.leave()
		shut(t, h)
	})
}
