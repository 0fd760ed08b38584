//go:build linux

package faults

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

// fault is one thing that goes wrong.
type fault struct {
	name string
	on   []kind
	// warm: the server serves before the fault begins; else it begins with it.
	warm   bool
	script func(*upstreamtest.Script) // what kind of server it is all the time
	tls    bool                       // the server is reached over TLS
	named  bool                       // the server is reached by a name
	// begin begins the fault; nil: what is asked for is the fault.
	begin func(*broken)
	// What the user asks for: a tool with its arguments, or method; echo, if neither.
	tool, method string
	// says is what the user is told, as an expression; empty: the call succeeds.
	says string
	// after is looked at when the user has been answered.
	after func(*testing.T, *house, *broken)
}

var (
	everywhere = []kind{stdio, legacy, modern, sse}
	overHTTP   = []kind{legacy, modern, sse}
)

var bomb = upstreamtest.GzipBomb(100 << 20)

func answers(f upstreamtest.Fault) func(*broken) { return func(b *broken) { b.all(f) } }

func goes(w way) func(*broken) { return func(b *broken) { b.front.set(w) } }

func runs(script string) func(*broken) { return func(b *broken) { b.is(script) } }

// misbehaves is a process that is no server at all.
func misbehaves(name string) func(*broken) {
	return runs("export " + upstreamtest.Misbehaviour(name) + "; " + soundChild)
}

// faults of the way to a server, and of its beginning.
var dialFaults = []fault{
	{name: "refuses", on: overHTTP, begin: goes(refuse), says: `refused`},
	{name: "has no name", on: overHTTP, named: true, begin: leads(noName), says: `cannot be found.*dns`},
	{name: "has a name that nobody answers for", on: overHTTP, named: true, begin: leads(noAnswer), says: `dns`},
	{name: "has a name that leads nowhere", on: overHTTP, named: true, begin: leads(nowhere), says: `refused`},
	{name: "is not there", on: []kind{stdio}, begin: runs("exec /nowhere/server"), says: `exit status 127.*nowhere.*exited`},
	{name: "hangs in connect", on: overHTTP, begin: goes(full), says: `timeout at connect`},
	{name: "hangs in TLS", on: overHTTP, tls: true, begin: goes(mute), says: `timeout at tls`},
	{name: "hangs in initialize", on: overHTTP, begin: answers(upstreamtest.Fault{Hang: true}), says: `timeout at initialize`},
	{name: "says nothing at all", on: overHTTP, begin: goes(mute), says: `timeout at initialize`},
	{name: "says nothing", on: []kind{stdio}, begin: runs("cat >/dev/null"), says: `timeout at initialize`},
	{name: "is no HTTP server", on: overHTTP, begin: goes(garbage), says: `protocol|broken`},
	{name: "is no TLS server", on: overHTTP, tls: true, begin: goes(garbage), says: `tls`},
	{name: "answers garbage", on: overHTTP, begin: answers(upstreamtest.Fault{Type: "application/json", Body: "{garbage"}), says: `protocol`},
	{name: "answers HTML", on: overHTTP, begin: answers(upstreamtest.Fault{Type: "text/html", Body: "<!DOCTYPE html><h1>Sign in</h1>"}), says: `protocol`},
	{name: "answers a gzip bomb", on: overHTTP, begin: answers(upstreamtest.Fault{Do: bomb}), says: `protocol|longer than|timeout at initialize`},
	{name: "answers 100 MB", on: overHTTP, begin: answers(upstreamtest.Fault{Do: upstreamtest.Enormous(100 << 20)}), says: `longer than|protocol|timeout at initialize`},
	{name: "says 100 MB on a line", on: []kind{stdio}, begin: misbehaves(upstreamtest.EnormousLine), says: `longer than|timeout at initialize`}, // whichever is first,
	{name: "prints garbage", on: []kind{stdio}, begin: runs(`echo "Listening on port 3000"; echo "{not json"; cat >/dev/null`), says: `timeout at initialize`},
	{name: "prints garbage and serves", on: []kind{stdio}, begin: runs(`echo "Listening on port 3000"; echo "{not json"; ` + soundChild), says: ``},
	{name: "drips", on: overHTTP, begin: goes(drip), says: `timeout at`},
	{name: "drips on its output", on: []kind{stdio}, begin: misbehaves(upstreamtest.DrippedLine), says: `timeout at initialize`},
	{name: "drips its answer", on: overHTTP, begin: answers(upstreamtest.Fault{Do: upstreamtest.Drip(100 * time.Millisecond)}), says: `timeout at|protocol`},
	{name: "exits at once", on: []kind{stdio}, begin: runs(`echo "where is my key?" >&2; exit 3`), says: `exit status 3.*where is my key.*exited`, after: notInALoop},
	{name: "answers 500", on: overHTTP, begin: answers(upstreamtest.Fault{Status: http.StatusInternalServerError, Body: "oops"}), says: `http 500`},
	{name: "answers 429", on: overHTTP, begin: answers(upstreamtest.Fault{Status: http.StatusTooManyRequests}), says: `http 429`},
	{name: "answers 429 with Retry-After", on: overHTTP, begin: answers(upstreamtest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "2"}), says: `http 429.*next attempt`},
	{name: "has an expired certificate", on: overHTTP, tls: true, begin: nil, says: `expired.*tls`},
	{name: "has a certificate of its own", on: overHTTP, tls: true, begin: nil, says: `signed by nobody that is trusted.*tls`},
}

// faults of a server that serves.
var callFaults = []fault{
	{name: "refuses later", on: overHTTP, warm: true, begin: goes(refuse), says: `refused|broke|lost|ended`},
	{name: "loses its name", on: overHTTP, warm: true, named: true, begin: leads(noName), says: `cannot be found|broke|lost|ended`},
	{name: "has a name that leads elsewhere", on: overHTTP, warm: true, named: true, begin: leads(nowhere), says: `refused|broke|lost|ended`},
	{name: "moves with its name", on: overHTTP, warm: true, named: true, begin: moves, says: `|broke|lost|ended|refused`, after: serves},
	{name: "hangs in a call", on: everywhere, warm: true, tool: `slow`, says: `timeout|nor reported`},
	{name: "hangs in mid-stream", on: everywhere, warm: true, tool: `stall`, says: `timeout|nor reported`},
	{name: "breaks off in a call", on: everywhere, warm: true, tool: `drop`, says: `broke|exited|ended|lost`},
	{name: "answers somebody else", on: everywhere, warm: true, tool: `stranger`, says: `timeout|nor reported|protocol`},
	{name: "answers twice", on: everywhere, warm: true, tool: `twice {"text":"once"}`},
	{name: "answers after the cancel", on: everywhere, warm: true, tool: `late {"ms":6000}`, says: `timeout|nor reported`, after: ownAnswers},
	{name: "answers a call with garbage", on: []kind{legacy, modern}, warm: true, tool: `garbage {"text":"{garbage"}`, says: `protocol|JSON`},
	{name: "answers a call with HTML", on: []kind{legacy, modern}, warm: true, says: `protocol|HTML|text/html`, begin: func(b *broken) {
		b.Fault(upstreamtest.Fault{Method: "tools/call", Type: "text/html", Body: "<!DOCTYPE html><h1>Sign in</h1>"})
	}},
	{name: "answers a call with 3 MB", on: everywhere, warm: true, tool: `big {"bytes":3000000}`, says: `longer than`},
	{name: "answers a call with 100 MB", on: []kind{legacy, modern}, warm: true, says: `longer than|nor reported`, begin: func(b *broken) {
		b.Fault(upstreamtest.Fault{Method: "tools/call", Do: upstreamtest.Enormous(100 << 20)})
	}},
	{name: "answers a call with a gzip bomb", on: []kind{legacy, modern}, warm: true, says: `protocol|gzip|longer than|nor reported`, begin: func(b *broken) {
		b.Fault(upstreamtest.Fault{Method: "tools/call", Do: bomb})
	}},
	{name: "drips the answer of a call", on: []kind{legacy, modern}, warm: true, says: `timeout|nor reported`, begin: func(b *broken) {
		b.Fault(upstreamtest.Fault{Method: "tools/call", Do: upstreamtest.Drip(100 * time.Millisecond)})
	}},
	{name: "answers calls with 500", on: overHTTP, warm: true, says: `500`, begin: func(b *broken) {
		b.Fault(upstreamtest.Fault{Method: "tools/call", Status: http.StatusInternalServerError})
	}},
	{name: "answers calls with 429", on: overHTTP, warm: true, says: `429`, begin: func(b *broken) {
		b.Fault(upstreamtest.Fault{Method: "tools/call", Status: http.StatusTooManyRequests, RetryAfter: "1"})
	}},
	{name: "forgets its sessions", on: []kind{legacy}, warm: true, begin: func(b *broken) { b.Forget() }, says: `|session|forgot`},
	{name: "breaks off after its answer", on: everywhere, warm: true, tool: "last"},
	{name: "closes after each answer", on: overHTTP, warm: true, begin: func(b *broken) { b.Part(true) }, after: serves},
	{name: "drips in a call", on: overHTTP, warm: true, begin: func(b *broken) { b.front.slow() }, says: `timeout|nor reported`},
	{name: "exits in a call", on: []kind{stdio}, warm: true, tool: `exit {"code":4,"text":"out of memory"}`, says: `exit status 4.*out of memory`},
	{name: "hangs in list", on: overHTTP, method: "tools/list", begin: func(b *broken) {
		b.Fault(upstreamtest.Fault{Method: "tools/list", Hang: true})
	}},
	{name: "lists 10,000 tools", on: everywhere, method: "tools/list", script: func(s *upstreamtest.Script) {
		for i := range 10_000 {
			s.Tools = append(s.Tools, fmt.Sprint("tool", i))
		}
		s.Page = 1000
	}},
	{name: "has lists without end", on: everywhere, method: "tools/list", script: func(s *upstreamtest.Script) { s.Pages = 1 << 30 }},
}

// TestNothingThatOneServerDoesHurtsAnother is the matrix: every fault over every
// transport where it can be, all at once, each with a server of its own.
func TestNothingThatOneServerDoesHurtsAnother(t *testing.T) {
	before := takeStock()
	t.Run("all", func(t *testing.T) {
		for _, k := range everywhere {
			t.Run(string(k), func(t *testing.T) {
				matrix(t, k, slices.Concat(dialFaults, callFaults))
			})
		}
	})
	before.wantBack(t)
}

// cell is one fault over one transport.
type cell struct {
	fault
	b     *broken
	dress *wardrobe
}

const atOnce = 16 // cells of one transport

func matrix(t *testing.T, k kind, all []fault) {
	cells := cellsOf(t, k, all)
	var servers []jackfield.Server
	for _, c := range cells {
		servers = append(servers, c.b.def)
	}
	h := open(t, servers)
	var work sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for _, c := range cells {
		room <- struct{}{}
		work.Go(func() {
			defer func() { <-room }()
			t.Run(c.name, func(t *testing.T) { c.run(t, h) })
		})
	}
	work.Wait()
	h.stop(t)
}

func cellsOf(t *testing.T, k kind, all []fault) []*cell {
	t.Helper()
	var cells []*cell
	for _, f := range all {
		if !slices.Contains(f.on, k) {
			continue
		}
		script := scripts[k]
		if f.script != nil {
			f.script(&script)
		}
		c := &cell{fault: f}
		var shows *tls.Config
		if f.tls {
			c.dress = &wardrobe{}
			shows = c.dress.config()
		}
		c.b = newBroken(t, strings.ReplaceAll(f.name, " ", "-"), k, script, shows)
		if f.named {
			c.b.named(c.b.def.Name + "." + string(k) + ".test")
		}
		if !f.warm {
			c.start()
		}
		cells = append(cells, c)
	}
	return cells
}

// start begins the fault.
func (c *cell) start() {
	if c.dress != nil {
		switch {
		case strings.Contains(c.name, "expired"):
			c.dress.wear(sign(authority(), -time.Hour))
		case strings.Contains(c.name, "of its own"):
			c.dress.wear(sign(nil, time.Hour))
		}
	}
	if c.begin != nil {
		c.begin(c.b)
	}
}

// stop ends it.
func (c *cell) stop() {
	if c.dress != nil {
		c.dress.wear(sign(authority(), time.Hour))
	}
	c.b.heal()
}

// run is a whole fault: its user is told why and in time, and when it is over the
// server serves.
func (c *cell) run(t *testing.T, h *house) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if c.warm {
		c.wantServing(ctx, t, h)
		c.start()
	}
	const slack = 10 * time.Second // for a machine that has much else to do
	begun := time.Now()
	result, failed, err := c.ask(ctx, h)
	took := time.Since(begun)
	switch {
	case err != nil:
		t.Errorf("%s: no answer: %v", c.name, err)
	case c.says == "" && failed != "":
		t.Errorf("%s: want an answer, not %s", c.name, failed)
	case c.says != "" && failed == "" && !regexp.MustCompile(c.says).MatchString(""):
		t.Errorf("%s: want an error, not %.300s", c.name, result)
	case !regexp.MustCompile(`(?s)` + c.says).MatchString(failed):
		t.Errorf("%s: want %s, not %s", c.name, c.says, failed)
	case failed != "" && !strings.Contains(failed, c.b.def.Name):
		t.Errorf("%s: %s does not say which server", c.name, failed)
	}
	if most := c.b.def.Usage.Timeout + slack; took > most {
		t.Errorf("%s: it took %v, more than %v", c.name, took, most)
	}
	if c.after != nil {
		c.after(t, h, c.b)
	}
	c.stop()
	c.wantServing(ctx, t, h)
}

// ask asks for what the fault is about.
func (c *cell) ask(ctx context.Context, h *house) (result, failed string, err error) {
	if c.method != "" {
		return h.ask(ctx, "/mcp/"+c.b.def.Name, c.method, "{}")
	}
	tool, arguments, _ := strings.Cut(c.tool, " ")
	if tool == "" {
		tool = "echo"
	}
	if arguments == "" {
		arguments = "{}"
	}
	return h.call(ctx, c.b.def.Name, tool, arguments)
}

// wantServing wants the server to serve, in the end.
func (c *cell) wantServing(ctx context.Context, t *testing.T, h *house) {
	t.Helper()
	for end := time.Now().Add(patience); ; wait(ctx, 50*time.Millisecond) {
		result, failed, err := h.call(ctx, c.b.def.Name, "echo", `{"text":"here I am"}`)
		if err == nil && failed == "" && strings.Contains(result, "here I am") {
			return
		}
		if time.Now().After(end) || ctx.Err() != nil {
			t.Errorf("%s: it does not serve: %.300s%s %v", c.name, result, failed, err)
			return
		}
	}
}

// serves wants the server to serve although the fault goes on.
func serves(t *testing.T, h *house, b *broken) {
	t.Helper()
	(&cell{b: b}).wantServing(t.Context(), t, h)
}

// notInALoop wants a process that exits to be started seldom, however often it is
// asked for.
func notInALoop(t *testing.T, h *house, b *broken) {
	t.Helper()
	starts := b.file + ".starts"
	b.is(`echo >>` + starts + `; exit 3`)
	for range 100 {
		if _, failed, err := h.call(t.Context(), b.def.Name, "echo", "{}"); err != nil || failed == "" {
			t.Errorf("got %s %v", failed, err)
		}
		wait(t.Context(), 20*time.Millisecond)
	}
	if n := lines(starts); n > 6 {
		t.Errorf("it was started %d times within 2 s", n)
	}
}

// ownAnswers wants each call to have its own answer while a late one comes.
func ownAnswers(t *testing.T, h *house, b *broken) {
	t.Helper()
	for i := 0; b.Count("late") == 0 && i < 1000 && !t.Failed(); i++ {
		text := fmt.Sprint("text ", i)
		if result, failed, err := h.call(t.Context(), b.def.Name, "echo", `{"text":"`+text+`"}`); err != nil || failed == "" && !strings.Contains(result, text) {
			t.Errorf("got %s%s %v", result, failed, err)
		}
		wait(t.Context(), 20*time.Millisecond)
	}
}
