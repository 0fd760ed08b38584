package upstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "guard" {
		Guard(os.Args[2:])
	}
	upstreamtest.RunAsChild()
	goleak.VerifyTestMain(m)
}

const allCaps = `{"elicitation":{},"sampling":{},"roots":{}}`

// desk is everything around one connection under test.
type desk struct {
	*Conn
	s *upstreamtest.Server

	mu       sync.Mutex // guards what follows
	events   []string
	declined []string
	ignored  []string
	news     chan struct{} // a token for each event
}

// optionsFor reaches s with everything that happens noted at the desk.
func (d *desk) optionsFor(s *upstreamtest.Server) Options {
	d.s = s
	d.news = make(chan struct{}, 1000)
	note := func(list *[]string, what string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		*list = append(*list, what)
	}
	return Options{
		Name: "scripted", Endpoint: s.Endpoint(), Client: s.Client(),
		Hooks: Hooks{
			Event:    func(e exchange.Event) { note(&d.events, e.Method+" "+string(e.Params)); d.news <- struct{}{} },
			Declined: func(method, why string) { note(&d.declined, method+": "+why) },
			Ignored:  func(why string) { note(&d.ignored, why) },
		},
	}
}

func (d *desk) seen(list *[]string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(*list)
}

// patch dials s, and closes the connection when the test ends.
func patch(t *testing.T, s *upstreamtest.Server, change ...func(*Options)) *desk {
	t.Helper()
	d := &desk{}
	o := d.optionsFor(s)
	for _, c := range change {
		c(&o)
	}
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	d.Conn = c
	t.Cleanup(func() { shut(t, c) })
	return d
}

func shut(t *testing.T, c *Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Error("close:", err)
	}
}

func withTimeout(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// asker is a peer that notes what it hears and answers what it is asked.
type asker struct {
	answer func(exchange.Question) (exchange.Answer, error)

	mu    sync.Mutex // guards heard
	heard []string
}

func (a *asker) Notify(_ context.Context, method string, params wire.Raw) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard = append(a.heard, method+" "+string(params))
	return nil
}

func (a *asker) Ask(ctx context.Context, questions []exchange.Question) ([]exchange.Answer, error) {
	if a.answer == nil {
		return []exchange.Answer{{Result: wire.Raw(`{"action":"accept","content":{"n":9007199254740993}}`)}}, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	answer, err := a.answer(questions[0])
	return []exchange.Answer{answer}, err
}

func (a *asker) all() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.heard)
}

// tool is a call of a tool, by somebody who can answer questions.
func tool(t testing.TB, c *Conn, name, arguments string) *exchange.Request {
	t.Helper()
	params, err := wire.ScanObject(wire.Raw(fmt.Sprintf(`{"name":%q,"arguments":%s}`, name, arguments)), exchange.ParamKeys)
	if err != nil {
		t.Fatal(err)
	}
	caps, err := exchange.ParseCapabilities(wire.Raw(allCaps))
	if err != nil {
		t.Fatal(err)
	}
	caps.AsResult = c.Shape().Modern()
	return &exchange.Request{Method: "tools/call", Params: params, Caps: caps}
}

// call calls a tool and wants a result.
func (d *desk) call(t *testing.T, name, arguments string) string {
	t.Helper()
	res, err := d.Do(t.Context(), tool(t, d.Conn, name, arguments), nil)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if res.Err != nil {
		t.Fatalf("%s: %v", name, res.Err)
	}
	return string(res.Raw)
}

// everyKind is each kind of server once.
var everyKind = map[string]upstreamtest.Script{
	"modern, streams":      {Era: upstreamtest.Modern},
	"modern, JSON":         {Era: upstreamtest.Modern, JSON: true},
	"dual":                 {Era: upstreamtest.Dual},
	"legacy, streams":      {Era: upstreamtest.Legacy},
	"legacy, JSON":         {Era: upstreamtest.Legacy, JSON: true},
	"legacy of 2025-03-26": {Era: upstreamtest.Legacy, Version: exchange.V20250326},
	"sessionless":          {Era: upstreamtest.Sessionless},
	"HTTP+SSE":             {Era: upstreamtest.Legacy, Transport: jackfield.TransportSSE, Version: exchange.V20241105},
	"modern process":       {Era: upstreamtest.Modern, Transport: jackfield.TransportStdio},
	"legacy process":       {Era: upstreamtest.Legacy, Transport: jackfield.TransportStdio},
}

func onEveryKind(t *testing.T, test func(t *testing.T, d *desk)) {
	t.Helper()
	for name, script := range everyKind {
		t.Run(name, func(t *testing.T) { test(t, patch(t, upstreamtest.New(t, script))) })
	}
}

func TestTheShapeIsFoundOut(t *testing.T) {
	for name, want := range map[string]exchange.Shape{
		"modern, streams":      {Transport: "http", Version: exchange.Modern},
		"dual":                 {Transport: "http", Version: exchange.Modern},
		"legacy, streams":      {Transport: "http", Version: exchange.V20251125, Session: true},
		"legacy of 2025-03-26": {Transport: "http", Version: exchange.V20250326, Session: true},
		"sessionless":          {Transport: "http", Version: exchange.V20251125},
		"HTTP+SSE":             {Transport: "sse", Version: exchange.V20241105, Session: true},
		"modern process":       {Transport: "stdio", Version: exchange.Modern},
		"legacy process":       {Transport: "stdio", Version: exchange.V20251125, Session: true},
	} {
		t.Run(name, func(t *testing.T) {
			script := everyKind[name]
			script.Instructions = "be kind"
			var told []exchange.Shape
			d := patch(t, upstreamtest.New(t, script), func(o *Options) {
				o.Hooks.Shape = func(s exchange.Shape) { told = append(told, s) }
			})
			got := d.Shape()
			if got.Transport != want.Transport || got.Version != want.Version || got.Session != want.Session {
				t.Errorf("got %+v", got)
			}
			if !strings.Contains(string(got.Capabilities), `"completions":{}`) || string(got.ServerInfo) != `{"name":"upstreamtest","version":"1"}` || got.Instructions != "be kind" {
				t.Errorf("got %s, %s, %q", got.Capabilities, got.ServerInfo, got.Instructions)
			}
			if len(told) != 1 || !sameShape(told[0], got) {
				t.Errorf("the hook was told %v", told)
			}
		})
	}
}

func TestACallGetsTheServersOwnBytes(t *testing.T) {
	const odd = `{"content":[{"type":"hologram","z":9007199254740993,"a":1.10,"ü":"\u00e9\/"}],"x-vendor":[ 1,2 ]}`
	onEveryKind(t, func(t *testing.T, d *desk) {
		if got := d.call(t, "raw", `{"result":`+odd+`}`); got != strings.ReplaceAll(odd, "[ 1,2 ]", "[ 1,2 ]") {
			t.Errorf("got %s", got)
		}
	})
}

func TestParamsReachTheServerUnchanged(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *desk) {
		params, err := wire.ScanObject(wire.Raw(`{"z":1.10,"big":9007199254740993,"_meta":{"traceparent":"00-1","vendor":[1]},"a":"\u00e9"}`), exchange.ParamKeys)
		if err != nil {
			t.Fatal(err)
		}
		res, err := d.Do(t.Context(), &exchange.Request{Method: "vendor/odd", Params: params}, nil)
		if err != nil || res.Err != nil {
			t.Fatal(err, res.Err)
		}
		for _, want := range []string{`"odd":9007199254740993`, `"z":1.10,"big":9007199254740993,"_meta":{"traceparent":"00-1","vendor":[1]`, `"a":"\u00e9"`} {
			if !strings.Contains(string(res.Raw), want) {
				t.Errorf("%s is missing in %s", want, res.Raw)
			}
		}
		if modern := strings.Contains(string(res.Raw), "io.modelcontextprotocol/protocolVersion"); modern != d.Shape().Modern() || res.Modern != modern {
			t.Errorf("modern _meta: %v, Result.Modern: %v in %s", modern, res.Modern, res.Raw)
		}
	})
}

func TestAnErrorOfTheServerIsPassedOn(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *desk) {
		for _, code := range []int{-32602, -32601, 7, -32042} {
			res, err := d.Do(t.Context(), tool(t, d.Conn, "error", fmt.Sprintf(`{"code":%d,"text":"so it is"}`, code)), nil)
			if err != nil {
				t.Fatal(err)
			}
			if res.Err == nil || res.Err.Code != code || res.Err.Message != "so it is" {
				t.Errorf("got %+v", res.Err)
			}
		}
	})
}

func TestProgressAndLogMessagesReachThePeerInOrder(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *desk) {
		peer := &asker{}
		r := tool(t, d.Conn, "progress", `{"steps":20}`)
		if _, err := d.Do(t.Context(), r, peer); err != nil {
			t.Fatal(err)
		}
		heard := peer.all()
		if len(heard) != 20 {
			t.Fatalf("heard %d: %v", len(heard), heard)
		}
		for i, h := range heard {
			if !strings.Contains(h, fmt.Sprintf(`"progress":%d,`, i+1)) {
				t.Errorf("%d is %s", i, h)
			}
		}
		r = tool(t, d.Conn, "log", `{"level":"warning","text":"hm"}`)
		r.Meta.LogLevel = "info"
		if _, err := d.Do(t.Context(), r, peer); err != nil {
			t.Fatal(err)
		}
		if heard := peer.all(); len(heard) != 21 || heard[20] != `notifications/message {"level":"warning","data":"hm"}` {
			t.Errorf("heard %v", heard[20:])
		}
		if want := map[bool]int{true: 0, false: 1}[d.Shape().Modern()]; d.s.Count("logging/setLevel") != want {
			t.Errorf("%d × logging/setLevel, want %d", d.s.Count("logging/setLevel"), want)
		}
	})
}

func TestProgressIsAlwaysAskedForWhereSomebodyHearsIt(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *desk) {
		peer := &asker{}
		if _, err := d.Do(t.Context(), tool(t, d.Conn, "progress", `{"steps":3}`), peer); err != nil {
			t.Fatal(err)
		}
		if heard := peer.all(); len(heard) != 3 {
			t.Errorf("heard %v", heard)
		}
		if got := d.call(t, "mirror", `{}`); strings.Contains(got, "progressToken") {
			t.Errorf("nobody hears it, and it was asked for: %s", got)
		}
	})
}

func TestProgressThatNobodyAskedForIsDropped(t *testing.T) {
	var d desk
	d.Conn = &Conn{opts: d.optionsFor(upstreamtest.New(t, upstreamtest.Script{}))}
	peer := &asker{}
	x := newCall("tools/call")
	x.peer = peer
	m := wire.Message{Kind: wire.Notification, Method: methodProgress, Params: wire.Raw(`{}`)}
	d.receive(t.Context(), x, m)
	x.progress = true
	d.receive(t.Context(), x, m)
	if len(peer.all()) != 1 || len(d.seen(&d.ignored)) != 1 {
		t.Errorf("heard %q, ignored %q", peer.all(), d.seen(&d.ignored))
	}
}

func TestAQuestionIsAskedBackAndItsAnswerArrives(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *desk) {
		peer := &asker{}
		res, err := d.Do(t.Context(), tool(t, d.Conn, "ask", `{"times":2}`), peer)
		if err != nil {
			t.Fatal(err)
		}
		for res.Input != nil { // modern: answered by asking again
			if len(res.Input.Questions) != 1 || res.Input.Questions[0].Method != "elicitation/create" {
				t.Fatalf("got %+v", res.Input)
			}
			r := tool(t, d.Conn, "ask", `{"times":2}`)
			r.Resume = &exchange.Resume{
				State:   res.Input.State,
				Answers: wire.Raw(fmt.Sprintf(`{%q:{"action":"accept","content":{"n":9007199254740993}}}`, res.Input.Questions[0].Key)),
			}
			if res, err = d.Do(t.Context(), r, peer); err != nil {
				t.Fatal(err)
			}
		}
		if !strings.Contains(string(res.Raw), `9007199254740993`) || !strings.Contains(string(res.Raw), "accept") {
			t.Errorf("got %s", res.Raw)
		}
	})
}

func TestACallerWhoLeavesEndsTheCallUpstream(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *desk) {
		ctx, cancel := context.WithCancelCause(t.Context())
		leaves := errors.New("the caller has left")
		go func() {
			d.s.Wait(t, "tool:slow", 1)
			cancel(leaves)
		}()
		_, err := d.Do(ctx, tool(t, d.Conn, "slow", `{}`), nil)
		if !errors.Is(err, leaves) && !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if d.Shape().Modern() && d.Shape().Transport == "http" {
			d.s.Wait(t, "abandoned", 1)
		} else {
			d.s.Wait(t, "cancelled", 1)
		}
		if got := d.call(t, "echo", `{"text":"still there"}`); !strings.Contains(got, "still there") {
			t.Errorf("got %s", got)
		}
	})
}

func TestConcurrentCallsGetTheirOwnAnswers(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *desk) {
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				want := fmt.Sprintf("number %d", i)
				res, err := d.Do(t.Context(), tool(t, d.Conn, "echo", fmt.Sprintf(`{"text":%q}`, want)), nil)
				if err != nil || !strings.Contains(string(res.Raw), `"`+want+`"`) {
					t.Errorf("%s: got %s, %v", want, res.Raw, err)
				}
			})
		}
		all.Wait()
	})
}

func TestListsComeInAllTheirPages(t *testing.T) {
	for name, script := range everyKind {
		t.Run(name, func(t *testing.T) {
			script.Bare, script.Page, script.TTL, script.Scope = true, 2, 1500, "public"
			script.Tools = []string{"a", "b", "c", "d", "e"}
			d := patch(t, upstreamtest.New(t, script))
			list, err := d.List(t.Context(), "tools/list")
			if err != nil {
				t.Fatal(err)
			}
			if len(list.Items) != 5 || string(list.Items[4]) != `{"name":"e","description":"a word","inputSchema":{"type":"object"}}` || list.Truncated != "" {
				t.Errorf("got %s (%s)", list.Items, list.Truncated)
			}
			if d.s.Count("tools/list") != 3 {
				t.Errorf("%d pages", d.s.Count("tools/list"))
			}
			wantTTL := time.Duration(0)
			if d.Shape().Modern() {
				wantTTL = 1500 * time.Millisecond
			}
			if list.TTL != wantTTL || list.Public != d.Shape().Modern() {
				t.Errorf("ttl %v, public %v", list.TTL, list.Public)
			}
			for _, method := range []string{"prompts/list", "resources/list", "resources/templates/list"} {
				if list, err := d.List(t.Context(), method); err != nil || len(list.Items) == 0 {
					t.Errorf("%s: %v, %v", method, list, err)
				}
			}
		})
	}
}

func TestWhoListensHearsOfChanges(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *desk) {
		if d.Shape().Transport == "http" && d.s.Listeners() != 0 {
			t.Error("an event stream stands and nobody listens")
		}
		ctx, cancel := context.WithCancel(t.Context())
		ready := make(chan Interest, 1)
		ended := make(chan error, 1)
		go func() {
			ended <- d.Listen(ctx, Interest{Lists: true, URIs: []string{"test://a"}, Ready: func(in Interest) { ready <- in }})
		}()
		if agreed := <-ready; !agreed.Lists || !slices.Equal(agreed.URIs, []string{"test://a"}) {
			t.Errorf("agreed to %+v", agreed)
		}
		d.call(t, "change", `{"kind":"tools"}`)
		<-d.news
		d.call(t, "change", `{"kind":"updated","text":"test://a"}`)
		<-d.news
		events := d.seen(&d.events)
		if len(events) != 2 || !strings.HasPrefix(events[0], "notifications/tools/list_changed") || !strings.Contains(events[1], `"uri":"test://a"`) {
			t.Errorf("heard %q", events)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("listening ended with %v", err)
		}
		if d.Shape().Transport == "http" {
			d.s.WaitListeners(t, 0)
		}
		if !d.Shape().Modern() {
			d.s.Wait(t, "resources/unsubscribe", 1)
		}
	})
}

func TestACutEndsWhatIsOpenWithItsReason(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *desk) {
		reason := jackfield.Errorf(jackfield.Forbidden, "access to it was withdrawn")
		results := make(chan error, 2)
		go func() {
			_, err := d.Do(t.Context(), tool(t, d.Conn, "slow", `{}`), nil)
			results <- err
		}()
		go func() { results <- d.Listen(t.Context(), Interest{Lists: true}) }()
		d.s.Wait(t, "tool:slow", 1)
		d.Abort(reason)
		for range 2 {
			if err := <-results; jackfield.CodeOf(err) != jackfield.Forbidden {
				t.Errorf("got %v", err)
			}
		}
		if !errors.Is(d.Err(), reason) {
			t.Errorf("Err is %v", d.Err())
		}
		if _, err := d.Do(t.Context(), tool(t, d.Conn, "echo", `{}`), nil); jackfield.CodeOf(err) != jackfield.Forbidden || !NotSent(err) {
			t.Errorf("got %v, not sent: %v", err, NotSent(err))
		}
	})
}
