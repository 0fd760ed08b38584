package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
	"github.com/jackfield-dev/jackfield/pool"
)

// event is one event of a stream.
type event struct{ id, name, data string }

func (e event) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(e.data), v); err != nil {
		t.Fatalf("%v in %+v", err, e)
	}
}

// ear hears a stream of events, over pipes that have no buffers, inside a bubble.
type ear struct {
	t      *testing.T
	events chan event
	leave  context.CancelFunc
}

// hear begins a stream of events. What is not read of it stays where it was written.
func (w *world) hear(who, last string) *ear {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	client, server := net.Pipe()
	e := &ear{t: w.t, events: make(chan event), leave: func() { cancel(); _ = client.Close() }}
	r := httptest.NewRequest(http.MethodGet, base+"/events", http.NoBody).WithContext(ctx)
	r.Header.Set("Authorization", "Bearer "+who)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	go func() {
		defer func() { _ = server.Close() }()
		w.edge.routes.mux.ServeHTTP(&pipeWriter{Conn: server, header: http.Header{}}, r)
	}()
	go func() {
		defer close(e.events)
		var now event
		for lines := bufio.NewScanner(client); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				now.id = value
			case "event":
				now.name = value
			case "data":
				now.data = value
				select {
				case e.events <- now:
				case <-ctx.Done():
					return
				}
				now = event{}
			}
		}
	}()
	w.t.Cleanup(e.leave)
	return e
}

// next is the next event; its name is empty when nothing more comes for now, and
// "end" at the end.
func (e *ear) next() event {
	synctest.Wait()
	select {
	case now, more := <-e.events:
		if !more {
			return event{name: "end"}
		}
		return now
	default:
		return event{}
	}
}

func (e *ear) want(name string) event {
	e.t.Helper()
	now := e.next()
	if now.name != name {
		e.t.Fatalf("%+v, want %q", now, name)
	}
	return now
}

// pipeWriter is a ResponseWriter that writes to a pipe, with its deadlines.
type pipeWriter struct {
	net.Conn
	header http.Header
}

func (p *pipeWriter) Header() http.Header { return p.header }
func (p *pipeWriter) WriteHeader(int)     {}
func (p *pipeWriter) FlushError() error   { return nil }
func (p *pipeWriter) Flush()              {}

func TestEventsTellWhatTheListenerMayKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ears := map[string]*ear{}
		for _, who := range []string{"root", "ann", "bob", "eve"} {
			ears[who] = w.hear(who, "")
			var hello Notice
			if ears[who].want("hello").into(t, &hello); hello.Number != uint64(len(w.store.log)) {
				t.Errorf("%s: %+v", who, hello)
			}
		}
		for _, c := range []struct {
			do   func()
			who  string // who hears of it
			kind string
			id   string
		}{
			{func() {
				w.server("root", "", "all", `{"url": "https://example.com/mcp", "headers": {"X-Key": "{{var.KEY}}"}, "vars": {"KEY": {}}}`)
			}, "root ann bob eve", "server", "app/all"},
			{func() { w.server("ann", "team:data", "ours", remote) }, "root ann bob", "server", "team:data/ours"},
			{func() {
				w.server("root", "", "denied", `{"url": "https://example.com/mcp", "access": {"deny": ["user:eve"]}}`)
			}, "root ann bob", "server", "app/denied"},
			{func() { w.want(204, "root", "DELETE", "/servers/denied", nil, "If-Match", "*") }, "root ann bob", "server", "app/denied"},
			{func() { w.server("eve", "", "mine", remote) }, "root eve", "server", "user:eve/mine"},
			{func() { w.want(200, "bob", "PUT", "/servers/all/variables/KEY", `{"value": "v"}`) }, "root bob", "variable", "user:bob/app/all/KEY"},
			{func() {
				w.want(200, "root", "PUT", "/users/ann", EditUser{Name: "A", Role: "editor", Teams: []string{"data"}}, "If-Match", "*")
			}, "root ann", "user", "ann"},
			{func() { w.want(200, "root", "PUT", "/teams/data", EditTeam{Title: "D"}, "If-Match", "*") }, "root ann bob", "team", "data"},
			{func() { w.want(204, "ann", "DELETE", "/servers/ours", nil, "If-Match", "*") }, "root ann bob", "server", "team:data/ours"},
			{func() { w.want(204, "root", "DELETE", "/servers/all", nil, "If-Match", "*") }, "root ann bob eve", "server", "app/all"},
		} {
			c.do()
			for who, e := range ears {
				now := e.next()
				if !strings.Contains(c.who, who) {
					if now.name != "" {
						t.Errorf("%s hears %+v", who, now)
					}
					continue
				}
				var change Change
				if now.into(t, &change); now.name != "change" || change.Kind != c.kind || change.ID != c.id || now.id != fmt.Sprint(change.Number) || strings.Contains(now.data, hidden) {
					t.Errorf("%s hears %+v, want %s %s", who, now, c.kind, c.id)
				}
			}
		}
		// A key is its user's.
		w.want(201, "bob", "POST", "/keys", NewKey{Name: "laptop"})
		ears["bob"].want("change")
		ears["root"].want("change")
		ears["eve"].want("")
	})
}

func TestEventsOfConnectionsAreOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.server("root", "", "x", remote)
		bob, eve := w.hear("bob", ""), w.hear("eve", "")
		bob.want("hello")
		eve.want("hello")
		own := pool.Key{Server: "app/x", Scope: jackfield.User("bob"), Isolation: pool.Isolation{ID: "session:" + hidden}}
		w.Events.DialStart(own)
		var c ConnectionChange
		now := bob.want("connection")
		if now.into(t, &c); c.Server != "x" || c.ID != "app/x" || c.Scope != "user:bob" || c.State != StateConnecting || c.Isolation != "session" || now.id != "" || strings.Contains(now.data, hidden) {
			t.Errorf("%+v", now)
		}
		w.Events.DialDone(own, 0, &jackfield.Failure{Kind: jackfield.FailureRefused, Stage: "connect", Message: "refused"})
		if now := bob.want("connection"); !strings.Contains(now.data, `"state":"failed"`) || !strings.Contains(now.data, `"kind":"refused"`) {
			t.Errorf("%+v", now)
		}
		w.Events.Closed(pool.Key{Server: "app/x"}, "idle", nil) // everybody's
		bob.want("connection")
		eve.want("connection")
		w.Events.DialStart(pool.Key{Server: "user:bob/none"}) // a server that eve does not see
		eve.want("")
	})
}

func TestEventsResumeFromTheLogWhereTheyEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.server("root", "", "a", remote)
		from := len(w.store.log)
		w.server("root", "", "b", remote)
		w.server("eve", "", "mine", remote)
		w.want(204, "root", "DELETE", "/servers/a", nil, "If-Match", "*")
		e := w.hear("eve", fmt.Sprint(from))
		e.want("hello")
		for _, id := range []string{"app/b", "user:eve/mine"} {
			var c Change
			if e.want("change").into(t, &c); c.ID != id {
				t.Errorf("%+v", c)
			}
		}
		var c Change // what it was, is not told to somebody who may never have seen it
		if e.want("change").into(t, &c); c.ID != "" || !c.Gone || c.Kind != "server" {
			t.Errorf("%+v", c)
		}
		e.want("")
		w.want(401, "", "GET", "/events", nil)
		w.want(400, "eve", "GET", "/events", nil, "Last-Event-ID", "x")

		w.store.trimmed = from + 1
		late := w.hear("root", "1")
		late.want("hello")
		late.want("reset")
		if now := late.want("change"); now.id != fmt.Sprint(from+2) {
			t.Errorf("%+v", now)
		}
		// Far more than is kept in memory, and none is missing.
		w.store.trimmed = 0
		for i := range 3 * keptChanges {
			must(w.store.Write(t.Context(), "root", record.Write{Ref: record.Ref{Kind: record.Setting, ID: "x"}, Anyway: true, Body: fmt.Append(nil, i)}))
		}
		long := w.hear("root", fmt.Sprint(from))
		long.want("hello")
		for n := from + 1; n <= len(w.store.log); n++ {
			if now := long.want("change"); now.id != fmt.Sprint(n) {
				t.Fatalf("%+v, want %d", now, n)
			}
		}
	})
}

func TestAStreamOfEventsEndsWithAWord(t *testing.T) {
	for name, end := range map[string]func(w *world){
		"cut": func(w *world) {
			w.Events.Cut(func(p jackfield.Principal) bool { return p.Subject == "eve" }, jackfield.Errorf(jackfield.Forbidden, "the key was revoked"))
		},
		"refused": func(w *world) {
			w.mu.Lock()
			w.gone["eve"] = true
			w.mu.Unlock()
			time.Sleep(heartbeat)
		},
		"flooded": func(w *world) {
			for i := range 3 * maxQueued {
				w.Events.DialStart(pool.Key{Server: "app/x", Isolation: pool.Isolation{ID: fmt.Sprintf("call:%d", i)}})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.server("root", "", "x", remote)
				e, other := w.hear("eve", ""), w.hear("ann", "")
				e.want("hello")
				other.want("hello")
				synctest.Wait()
				end(w)
				var last event
				for now := e.next(); now.name != "end"; now = e.next() {
					if last = now; now.name == "" {
						t.Fatal("it does not end")
					}
				}
				var word Notice
				if last.into(t, &word); last.name != "cut" || word.Reason == "" {
					t.Errorf("%+v", last)
				}
				if name != "flooded" {
					other.want("")
				}
			})
		})
	}
}

func TestASlowListenerIsCutAndHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		slow := w.hear("root", "")
		slow.want("hello") // and then it reads no more
		for i := range 2 * keptChanges {
			must(w.store.Write(t.Context(), "root", record.Write{Ref: record.Ref{Kind: record.Setting, ID: "x"}, Anyway: true, Body: fmt.Append(nil, i)}))
		}
		synctest.Wait()
		if n := w.Events.listening.Load(); n != 1 {
			t.Errorf("%d listen", n)
		}
		time.Sleep(writeEventsWithin)
		synctest.Wait()
		if n := w.Events.listening.Load(); n != 0 {
			t.Errorf("%d still listen", n)
		}
	})
}

func TestListenersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var ears []*ear
		for range maxListenersOf {
			e := w.hear("eve", "")
			e.want("hello")
			ears = append(ears, e)
		}
		w.want(429, "eve", "GET", "/events", nil).problem()
		w.hear("bob", "").want("hello")
		ears[0].leave()
		synctest.Wait()
		w.hear("eve", "").want("hello")
		// While the store is away, there is nothing new and nothing ends.
		w.store.mu.Lock()
		w.store.broken = errors.New("the disk is away")
		w.store.mu.Unlock()
		w.Events.Changed(record.Batch{Head: 1000})
		ears[1].want("")
		w.want(500, "ann", "GET", "/events", nil, "Last-Event-ID", "1").problem()
		time.Sleep(3 * heartbeat)
		ears[1].want("")
		if w.Events.listening.Load() != maxListenersOf+1 {
			t.Errorf("%d listen", w.Events.listening.Load())
		}
	})
}
