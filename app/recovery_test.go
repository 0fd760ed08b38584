package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/pool"
)

// tried calls a tool and returns the error, if there was one.
func (h *house) tried(tool, arguments string) string {
	h.t.Helper()
	result, failed := h.ask("/mcp", "tools/call", `{"name":"`+tool+`","arguments":`+arguments+`}`)
	switch {
	case failed != nil:
		return failed.Message
	case strings.Contains(string(result), `"isError":true`):
		return string(result)
	}
	return ""
}

// keepsState are servers that keep state for each connection.
func keepsState(t *testing.T) map[string]*upstreamtest.Server {
	t.Helper()
	servers := map[string]*upstreamtest.Server{}
	for name, script := range map[string]upstreamtest.Script{
		"http":  {Era: upstreamtest.Legacy},
		"sse":   {Era: upstreamtest.Legacy, Transport: jackfield.TransportSSE, Version: exchange.V20241105},
		"child": {Era: upstreamtest.Legacy, Transport: jackfield.TransportStdio},
	} {
		servers[name] = upstreamtest.New(t, script)
	}
	return servers
}

func TestALostSessionIsToldOnceAndThenForgotten(t *testing.T) {
	for name, s := range keepsState(t) {
		for _, loss := range []jackfield.Loss{"", jackfield.LossReplay} {
			t.Run(name+" "+string(loss), func(t *testing.T) {
				def := server("a", s)
				def.Usage.OnSessionLoss = loss
				h := start(t, &Config{}, def)
				h.call("/mcp", "a__echo", `{}`)
				before := s.Count("initialize")
				switch name {
				case "http":
					s.Forget()
				case "sse":
					s.DropStreams()
					h.waitLost()
				case "child":
					// The call that is open tells of it, and is not sent again.
					if said := h.tried("a__exit", `{"code":3,"text":"out of cheese"}`); !strings.Contains(said, "out of cheese") {
						t.Fatalf("the last words are missing: %q", said)
					}
					h.call("/mcp", "a__echo", `{}`)
					if n := s.Count("tool:exit"); n != 1+strings.Count(t.Name(), "replay") {
						t.Errorf("the call was sent %d times", n)
					}
					return
				}
				if loss == "" {
					if said := h.tried("a__echo", `{}`); !strings.Contains(said, "forgot its session") || !strings.Contains(said, "call again") {
						t.Errorf("the first call: %q", said)
					}
				}
				h.call("/mcp", "a__echo", `{"text":"here again"}`)
				h.call("/mcp", "a__echo", `{}`)
				if n := s.Count("initialize") - before; n != 1 {
					t.Errorf("initialized anew %d times", n)
				}
			})
		}
	}
}

func TestReadingGoesOnThroughALostSession(t *testing.T) {
	for name, s := range keepsState(t) {
		if name == "child" {
			continue // see below
		}
		t.Run(name, func(t *testing.T) {
			h := start(t, &Config{}, server("a", s))
			for range 3 {
				if _, failed := h.ask("/mcp", "prompts/get", `{"name":"a__greet"}`); failed != nil {
					t.Fatal(failed)
				}
				if name == "http" {
					s.Forget()
				} else {
					s.DropStreams()
					h.waitLost()
				}
			}
		})
	}
}

func TestAServerThatSpeaksSomethingElseSinceItsUpgradeIsUnderstoodAtOnce(t *testing.T) {
	eras := []upstreamtest.Era{upstreamtest.Modern, upstreamtest.Legacy, upstreamtest.Modern, upstreamtest.Dual, upstreamtest.Legacy}
	s := upstreamtest.New(t, upstreamtest.Script{Era: eras[0]})
	def := server("a", s)
	def.Usage.OnSessionLoss = jackfield.LossReplay
	h := start(t, &Config{}, def)
	for _, era := range eras {
		s.Turn(era)
		if got := h.call("/mcp", "a__echo", `{"text":"still here"}`); !strings.Contains(got, "still here") {
			t.Errorf("as %s: %s", era, got)
		}
	}
	if shape, known := h.parts.catalog.Shape(h.parts.servers()[0]); !known || shape.Modern() {
		t.Errorf("it is remembered as %+v", shape)
	}
}

func TestAServerThatMovedToAnotherTransportIsFoundThere(t *testing.T) {
	// One address that changes what is behind it, as a deployment does.
	old := upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, Transport: jackfield.TransportSSE, Version: exchange.V20241105})
	young := upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Modern})
	for name, way := range map[string][2]*upstreamtest.Server{"upgrade": {old, young}, "downgrade": {young, old}} {
		t.Run(name, func(t *testing.T) {
			var now atomic.Pointer[upstreamtest.Server]
			now.Store(way[0])
			front := newFront(t, func(w http.ResponseWriter, r *http.Request) { now.Load().ServeHTTP(w, r) })
			def := jackfield.Server{Name: "a", Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: front + "/mcp"}}
			def.Usage.OnSessionLoss = jackfield.LossReplay
			h := start(t, &Config{}, def)
			h.call("/mcp", "a__echo", `{}`)
			now.Store(way[1])
			if name == "upgrade" {
				old.DropStreams()
				h.waitLost()
			}
			for i := range 2 {
				if got := h.call("/mcp", "a__echo", fmt.Sprintf(`{"text":"call %d"}`, i)); !strings.Contains(got, fmt.Sprintf("call %d", i)) {
					t.Errorf("got %s", got)
				}
			}
		})
	}
}

func TestAListingGoesOnWithAServerThatSpeaksSomethingElse(t *testing.T) {
	s := upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Modern})
	h := start(t, &Config{}, server("a", s))
	h.call("/mcp", "a__echo", `{}`)
	s.Turn(upstreamtest.Legacy)
	got, err := h.parts.fetch(t.Context(), h.parts.servers()[0], jackfield.App(), catalog.AllKinds)
	if err != nil {
		t.Fatal(err)
	}
	for k, l := range got.Lists {
		if l.Err != nil || len(l.Items) == 0 {
			t.Errorf("%v: %d items, %v", catalog.Kind(k), len(l.Items), l.Err)
		}
	}
	if got.Shape.Modern() {
		t.Errorf("it is taken for %+v", got.Shape)
	}
}

func TestTheLogLevelHoldsThroughALostSession(t *testing.T) {
	s := upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy})
	h := start(t, &Config{}, server("a", s))
	h.level = "info"
	for range 2 {
		before := s.Count("logging/setLevel")
		if _, failed := h.ask("/mcp", "prompts/get", `{"name":"a__greet"}`); failed != nil {
			t.Fatal(failed)
		}
		if s.Count("logging/setLevel") != before+1 {
			t.Errorf("the level was set %d times, want once more than %d", s.Count("logging/setLevel"), before)
		}
		s.Forget()
	}
}

// waitLost waits until the gateway has noticed that no connection is left: a call that
// is on its way meanwhile may have arrived, or not.
func (h *house) waitLost() {
	h.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		open := 0
		for _, st := range h.parts.board.Status() {
			if st.State == pool.Ready {
				open++
			}
		}
		if open == 0 {
			return
		}
		if time.Now().After(end) {
			h.t.Fatal("the gateway has not noticed")
		}
	}
}

// newFront is an address with something behind it that the test decides.
func newFront(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}
