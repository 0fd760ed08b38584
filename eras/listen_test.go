package eras

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

// listenKinds are the servers, by what they send events on.
func listenKinds() map[string]upstreamtest.Script {
	some := map[string]upstreamtest.Script{}
	for _, kind := range []string{"2026-07-28 http", "2026-07-28 stdio", "2025-11-25 http", "2025-11-25 sessionless", "2025-06-18 stdio", "2024-11-05 sse"} {
		some[kind] = kinds[kind]
	}
	return some
}

// door is where a client finds one server: at its own address, or among all.
type door struct {
	path, prefix string
	uri          string // of the server's resource test://a
}

// attend makes a client that has lists and a connection, and so hears of both.
func (h *house) attend(t *testing.T, version, kind string, all bool) (*client, door) {
	t.Helper()
	d := door{path: pathOf(kind), uri: "test://a"}
	if all {
		d.path, d.prefix = "/mcp", strings.ReplaceAll(kind, " ", "-")+"__"
	}
	c := connect(t, h.url, d.path, version, allCaps(version))
	c.call(d.prefix+"echo", `{}`, "")
	for _, list := range []string{"tools", "prompts", "resources"} {
		result, failed := c.do(t.Context(), list+"/list", `{}`, "")
		if failed != nil {
			t.Fatal(failed)
		}
		var page struct{ Resources []struct{ URI string } }
		if err := json.Unmarshal(result, &page); err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Resources {
			if all && strings.Contains(r.URI, strings.TrimSuffix(d.prefix, "__")+"/") && strings.HasSuffix(r.URI, "a") {
				d.uri = r.URI
			}
		}
	}
	if all && d.uri == "test://a" {
		t.Fatal("the resource is not listed")
	}
	return c, d
}

// follow listens for everything, and for the one resource.
func (c *client) follow(d door) (stop func()) {
	c.t.Helper()
	stop = c.listen(`{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["` + d.uri + `"]}`)
	if !c.modern() {
		if _, failed := c.do(c.t.Context(), "resources/subscribe", `{"uri":"`+d.uri+`"}`, ""); failed != nil {
			c.t.Fatal(failed)
		}
	}
	return stop
}

// emit has the server tell of a change, where it tells of them.
func emit(c *client, d door, s *upstreamtest.Server, method, params string) {
	if strings.HasSuffix(d.path, "http") || strings.Contains(d.prefix, "http") || strings.Contains(d.path+d.prefix, "sessionless") {
		s.Emit(method, params)
		return
	}
	_, _ = c.once(c.t.Context(), "tools/call", `{"name":"`+d.prefix+`say","arguments":{"method":"`+method+`","params":`+params+`}}`, "", "")
}

// eventually waits for the event, which the server is made to send again and again:
// its stream may stand a moment later than the client's.
func (c *client) eventually(method string, send func()) string {
	c.t.Helper()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			send()
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	return c.event(method)
}

func TestChangesArriveInEveryCell(t *testing.T) {
	h := open(t, listenKinds())
	for _, version := range []string{exchange.Modern, exchange.V20251125, overSSE} {
		for kind := range listenKinds() {
			for _, all := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/%v", version, kind, all), func(t *testing.T) {
					t.Parallel()
					c, d := h.attend(t, version, kind, all)
					c.sub = `7`
					if all {
						c.sub = `"\u0037"`
					}
					c.follow(d)
					s := h.servers[kind]
					for _, what := range []string{"tools/list_changed", "prompts/list_changed", "resources/list_changed", "resources/updated"} {
						method, params := "notifications/"+what, `{}`
						if strings.HasSuffix(method, "updated") {
							params = `{"x":9007199254740993,"uri":"test://a","\u0061" : "\/"}`
						}
						got := c.eventually(method, func() { emit(c, d, s, method, params) })
						for strings.HasSuffix(method, "updated") && !strings.Contains(got, `"x"`) { // the gateway's own: it may have been
							got = c.eventually(method, func() { emit(c, d, s, method, params) })
						}
						rest, taken, err := without(strings.TrimPrefix(got, method+" "), "uri", "_meta")
						if err != nil && got != method+" " {
							t.Fatalf("%v: %s", err, got)
						}
						if want := `{"io.modelcontextprotocol/subscriptionId":` + c.sub + `}`; c.modern() && taken["_meta"] != want || !c.modern() && taken["_meta"] != "" {
							t.Errorf("%s: _meta %s", method, taken["_meta"])
						}
						if sent, _, _ := without(params, "uri"); !slices.Equal(rest, sent) {
							t.Errorf("%s: %q became %q", method, sent, rest)
						}
						if strings.HasSuffix(method, "updated") && taken["uri"] != `"`+d.uri+`"` {
							t.Errorf("the resource is called %s and not %s", taken["uri"], d.uri)
						}
					}
				})
			}
		}
	}
}

func TestOnlyWhatTheFilterNamesIsTold(t *testing.T) {
	h := open(t, listenKinds())
	for kind := range listenKinds() {
		t.Run(kind, func(t *testing.T) {
			c, d := h.attend(t, exchange.Modern, kind, false)
			c.follow(d)
			few, _ := h.attend(t, exchange.Modern, kind, false)
			few.listen(`{"promptsListChanged":true,"resourceSubscriptions":["test://b"]}`)
			s := h.servers[kind]
			for method, params := range map[string]string{
				"tools/list_changed": `{}`, "resources/list_changed": `{}`, "resources/updated": `{"uri":"test://a"}`,
			} {
				c.eventually("notifications/"+method, func() { emit(c, d, s, "notifications/"+method, params) })
			}
			few.eventually("notifications/prompts/list_changed", func() { emit(c, d, s, "notifications/prompts/list_changed", `{}`) })
			few.eventually("notifications/resources/updated", func() { emit(c, d, s, "notifications/resources/updated", `{"uri":"test://b"}`) })
			for _, got := range few.told() {
				if !strings.Contains(got, "acknowledged") && !strings.Contains(got, "prompts/list_changed") && !strings.Contains(got, `"uri":"test://b"`) {
					t.Errorf("heard %s", got)
				}
			}
		})
	}
}

// stays waits until got is want, and is still so a moment later.
func stays(t *testing.T, what string, want int, got func() int) {
	t.Helper()
	deadline := patience(t)
	for since := time.Now(); time.Since(since) < 50*time.Millisecond; {
		if got() != want {
			since = time.Now()
		}
		select {
		case <-deadline:
			t.Fatalf("%s: %d, want %d", what, got(), want)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestAllWhoListenShareOneSubscriptionUntilTheLastLeaves(t *testing.T) {
	// Those who share a connection: modern clients of one person, and clients of any
	// kind of a server that keeps no state.
	for kind, script := range listenKinds() {
		for _, versions := range [][2]string{
			{exchange.Modern, exchange.Modern}, {exchange.Modern, exchange.V20251125}, {exchange.V20251125, exchange.V20251125}, {overSSE, exchange.V20250326},
		} {
			shares := script.Era == upstreamtest.Modern || script.Era == upstreamtest.Sessionless
			if versions[1] != exchange.Modern && !shares {
				continue
			}
			t.Run(kind+"/"+versions[0]+" and "+versions[1], func(t *testing.T) {
				t.Parallel()
				h := open(t, map[string]upstreamtest.Script{kind: script})
				s := h.servers[kind]
				var clients []*client
				var stops []func()
				var d door
				for _, version := range versions {
					var c *client
					c, d = h.attend(t, version, kind, false)
					clients, stops = append(clients, c), append(stops, c.follow(d))
				}
				update := func() { emit(clients[0], d, s, "notifications/resources/updated", `{"uri":"test://a"}`) }
				for _, c := range clients {
					c.eventually("notifications/resources/updated", update)
				}
				if strings.HasSuffix(kind, "http") || strings.HasSuffix(kind, "sessionless") {
					stays(t, "streams", 1, s.Listeners)
				}
				subscribed, modern := s.Count("resources/subscribe"), script.Era == upstreamtest.Modern
				if both := versions[1] == exchange.Modern && !modern; both && subscribed != 1 || modern && subscribed != 0 {
					t.Errorf("subscribed %d times", subscribed)
				}
				leave := func(i int) {
					c := clients[i]
					switch {
					case c.sse:
						if _, failed := c.do(t.Context(), "resources/unsubscribe", `{"uri":"test://a"}`, ""); failed != nil {
							t.Error(failed)
						}
					case !c.modern():
						r, _ := http.NewRequestWithContext(t.Context(), http.MethodDelete, c.url, http.NoBody)
						r.Header.Set(wire.HeaderSession, c.session)
						if resp, err := http.DefaultClient.Do(r); err != nil || resp.StatusCode/100 != 2 {
							t.Errorf("%v %v", resp, err)
						}
					}
					stops[i]()
				}
				leave(0)
				stays(t, "unsubscribed when one is left", 0, func() int { return s.Count("resources/unsubscribe") })
				for len(clients[1].events) > 0 {
					<-clients[1].events
				}
				clients[1].eventually("notifications/resources/updated", func() {
					emit(clients[1], d, s, "notifications/resources/updated", `{"uri":"test://a"}`)
				})
				leave(1)
				if !modern {
					stays(t, "unsubscribed", 1, func() int { return min(1, s.Count("resources/unsubscribe")) })
				}
				if want := 0; strings.HasSuffix(kind, "http") || strings.HasSuffix(kind, "sessionless") {
					if versions[0] == overSSE {
						want = 1 // it still listens for lists
					}
					stays(t, "streams in the end", want, s.Listeners)
				}
			})
		}
	}
}

func TestAStreamThatDropsIsOpenedAgainAndWhatWasMissedIsTold(t *testing.T) {
	for kind, script := range listenKinds() {
		for _, version := range []string{exchange.Modern, exchange.V20251125} {
			t.Run(version+"/"+kind, func(t *testing.T) {
				t.Parallel()
				h := open(t, map[string]upstreamtest.Script{kind: script})
				s := h.servers[kind]
				c, d := h.attend(t, version, kind, false)
				c.follow(d)
				c.eventually("notifications/resources/updated", func() { emit(c, d, s, "notifications/resources/updated", `{"uri":"test://a"}`) })
				c.eventually("notifications/tools/list_changed", func() { emit(c, d, s, "notifications/tools/list_changed", `{}`) })
				time.Sleep(1200 * time.Millisecond) // until nothing of that is on its way
				if _, failed := c.do(t.Context(), "tools/list", `{}`, ""); failed != nil {
					t.Fatal(failed) // who was told and did not look is not told once more
				}
				for len(c.events) > 0 {
					<-c.events
				}
				if strings.HasSuffix(kind, "stdio") {
					_, _ = c.do(t.Context(), "tools/call", `{"name":"exit","arguments":{"code":1}}`, "")
				} else {
					s.DropStreams()
				}
				_, _ = c.do(t.Context(), "tools/call", `{"name":"echo","arguments":{}}`, "") // an older client is told that its session was lost
				_, _ = c.do(t.Context(), "tools/call", `{"name":"echo","arguments":{}}`, "")
				missed := map[string]bool{"notifications/resources/updated": true, "notifications/tools/list_changed": true}
				for len(missed) > 0 { // nobody says so: it may have been
					select {
					case got := <-c.events:
						method, _, _ := strings.Cut(got, " ")
						delete(missed, method)
					case <-patience(t):
						t.Fatalf("not told of %v", missed)
					}
				}
				c.call("echo", `{}`, "")
				c.eventually("notifications/prompts/list_changed", func() { emit(c, d, s, "notifications/prompts/list_changed", `{}`) })
				c.eventually("notifications/resources/updated", func() { emit(c, d, s, "notifications/resources/updated", `{"uri":"test://a"}`) })
			})
		}
	}
}
