package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

// listening holds an event stream of d open for the test.
func (d *desk) listening(t *testing.T) {
	t.Helper()
	e := d.listen(t, Interest{Lists: true})
	e.wantReady(t)
	t.Cleanup(func() {
		e.leave()
		<-e.ended
	})
}

func withCaps(o *Options) { o.Caps = allCaps }

// named is a peer that answers with its name.
func named(name string) *asker {
	return &asker{answer: func(exchange.Question) (exchange.Answer, error) {
		return exchange.Answer{Result: wire.Raw(fmt.Sprintf(`{"action":"accept","content":{"by":%q}}`, name))}, nil
	}}
}

// atLarge are the servers that ask where nothing says for which call.
var atLarge = []string{"legacy, streams", "HTTP+SSE"}

func onThoseAtLarge(t *testing.T, test func(t *testing.T, d *desk, answered func() string), change ...func(*Options)) {
	t.Helper()
	for _, name := range atLarge {
		t.Run(name, func(t *testing.T) {
			d := patch(t, upstreamtest.New(t, everyKind[name]), append([]func(*Options){withCaps}, change...)...)
			d.listening(t)
			told := make(chan string, 10)
			d.s.OnAnswer(func(text string) { told <- text })
			test(t, d, func() string {
				select {
				case text := <-told:
					return text
				case <-time.After(5 * time.Second):
					t.Fatal("the question was not answered")
					return ""
				}
			})
		})
	}
}

func (d *desk) slowCall(t *testing.T, peer exchange.Peer) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	before := d.s.Count("tool:slow")
	var done sync.WaitGroup
	done.Go(func() { _, _ = d.Do(ctx, tool(t, d.Conn, "slow", `{}`), peer) })
	d.s.Wait(t, "tool:slow", before+1)
	return func() { cancel(); done.Wait() }
}

func TestAQuestionAtLargeBelongsToTheOnlyCallThatIsOpen(t *testing.T) {
	onThoseAtLarge(t, func(t *testing.T, d *desk, answered func() string) {
		defer d.slowCall(t, named("ann"))()
		d.s.AskAtLarge("elicitation/create", `{}`)
		if got := answered(); !strings.Contains(got, `"by":"ann"`) {
			t.Errorf("got %s", got)
		}
	})
}

func TestAQuestionAtLargeIsDeclinedWhenTwoCallsAreOpen(t *testing.T) {
	onThoseAtLarge(t, func(t *testing.T, d *desk, answered func() string) {
		defer d.slowCall(t, named("ann"))()
		defer d.slowCall(t, named("bob"))()
		for method, want := range map[string]string{
			"elicitation/create":     `{"action":"decline"}`,
			"sampling/createMessage": `"code":-32601`,
			"roots/list":             `"code":-32601`,
		} {
			d.s.AskAtLarge(method, `{}`)
			if got := answered(); !strings.Contains(got, want) {
				t.Errorf("%s: got %s", method, got)
			}
		}
		if declined := d.seen(&d.declined); len(declined) != 3 {
			t.Errorf("counted %q", declined)
		}
	})
}

func TestAQuestionAtLargeGoesToTheHome(t *testing.T) {
	onThoseAtLarge(t, func(t *testing.T, d *desk, answered func() string) {
		d.s.AskAtLarge("elicitation/create", `{}`)
		if got := answered(); !strings.Contains(got, `"by":"home"`) {
			t.Errorf("nothing open: got %s", got)
		}
		defer d.slowCall(t, named("ann"))()
		defer d.slowCall(t, named("bob"))()
		d.s.AskAtLarge("elicitation/create", `{}`)
		if got := answered(); !strings.Contains(got, `"by":"home"`) {
			t.Errorf("two open: got %s", got)
		}
	}, func(o *Options) { o.Home = func() exchange.Peer { return named("home") } })
}

func TestAPingIsAnswered(t *testing.T) {
	onThoseAtLarge(t, func(t *testing.T, d *desk, answered func() string) {
		d.s.AskAtLarge("ping", `{}`)
		if got := answered(); got != `{}` {
			t.Errorf("got %s", got)
		}
		if d.questions.unowned.Load() {
			t.Error("a ping was taken for a question")
		}
	})
}

func TestElicitationIsNotDeclinedByAClientThatNeverOfferedIt(t *testing.T) {
	onThoseAtLarge(t, func(t *testing.T, d *desk, answered func() string) {
		d.s.AskAtLarge("elicitation/create", `{}`)
		if got := answered(); !strings.Contains(got, `"code":-32601`) {
			t.Errorf("got %s", got)
		}
	}, func(o *Options) { o.Caps = "" })
}

func TestAHomeWhereNobodyLivesIsNone(t *testing.T) {
	onThoseAtLarge(t, func(t *testing.T, d *desk, answered func() string) {
		d.s.AskAtLarge("roots/list", `{}`)
		if got := answered(); !strings.Contains(got, `"code":-32601`) {
			t.Errorf("got %s", got)
		}
		defer d.slowCall(t, named("ann"))()
		ctx, cancel := withTimeout(t, 50*time.Millisecond)
		defer cancel()
		if _, err := d.Do(ctx, tool(t, d.Conn, "echo", `{}`), named("bob")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("two who can be asked at the same time: %v", err)
		}
	}, func(o *Options) { o.Home = func() exchange.Peer { return nil } })
}

func TestCallsThatCanBeAskedGoOneAtATimeWhereQuestionsAreAtLarge(t *testing.T) {
	onThoseAtLarge(t, func(t *testing.T, d *desk, answered func() string) {
		d.s.AskAtLarge("roots/list", `{}`)
		answered()
		end := d.slowCall(t, named("ann"))
		result := make(chan error, 1)
		go func() {
			_, err := d.Do(t.Context(), tool(t, d.Conn, "echo", `{}`), named("bob"))
			result <- err
		}()
		d.call(t, "echo", `{}`) // nobody can be asked for this one
		ctx, cancel := withTimeout(t, 50*time.Millisecond)
		defer cancel()
		if _, err := d.Do(ctx, tool(t, d.Conn, "echo", `{}`), named("cy")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if d.s.Count("tool:echo") != 1 {
			t.Error("two were open at the same time")
		}
		end()
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

func TestTheAnswerOfThePeerGoesToTheServerWhateverItIs(t *testing.T) {
	for name, c := range map[string]struct {
		answer exchange.Answer
		err    error
		want   string
	}{
		"an error of the client's":  {answer: exchange.Answer{Err: &wire.Error{Code: -1, Message: "rejected"}}, want: `{"code":-1,"message":"rejected"}`},
		"it cannot be asked":        {err: errors.New("it has left"), want: `{"action":"decline"}`},
		"cannot, with its own word": {err: fmt.Errorf("so: %w", &wire.Error{Code: -32601, Message: "no such thing"}), want: `{"action":"decline"}`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, kind := range []string{"legacy, streams", "legacy process", "HTTP+SSE"} {
				d := patch(t, upstreamtest.New(t, everyKind[kind]), withCaps)
				peer := &asker{answer: func(exchange.Question) (exchange.Answer, error) { return c.answer, c.err }}
				res, err := d.Do(t.Context(), tool(t, d.Conn, "ask", `{}`), peer)
				if err != nil || !strings.Contains(strings.ReplaceAll(string(res.Raw), `\`, ""), c.want) {
					t.Errorf("%s: got %s, %v", kind, res.Raw, err)
				}
			}
		})
	}
}

func TestAVendorsQuestionIsPassedOn(t *testing.T) {
	d := patch(t, upstreamtest.New(t, everyKind["legacy, streams"]))
	var asked exchange.Question
	peer := &asker{answer: func(q exchange.Question) (exchange.Answer, error) {
		asked = q
		return exchange.Answer{Result: wire.Raw(`{"fine":true}`)}, nil
	}}
	res, err := d.Do(t.Context(), tool(t, d.Conn, "ask", `{"method":"vendor/ask","params":{"z":1.0}}`), peer)
	if err != nil || asked.Method != "vendor/ask" || string(asked.Params) != `{"z":1.0}` || !strings.Contains(string(res.Raw), "fine") {
		t.Errorf("asked %+v, got %s, %v", asked, res.Raw, err)
	}
}

func TestAQuestionEndsWithItsCall(t *testing.T) {
	for _, kind := range []string{"legacy, streams", "legacy process", "HTTP+SSE"} {
		t.Run(kind, func(t *testing.T) {
			d := patch(t, upstreamtest.New(t, everyKind[kind]), withCaps)
			asked, ended := make(chan struct{}), make(chan error, 1)
			peer := waiting{asked: asked, ended: ended}
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error, 1)
			go func() {
				_, err := d.Do(ctx, tool(t, d.Conn, "ask", `{}`), peer)
				result <- err
			}()
			<-asked
			cancel()
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if err := <-ended; !errors.Is(err, errWithdrawn) {
				t.Errorf("the question ended with %v", err)
			}
		})
	}
}

// waiting is a peer that does not answer.
type waiting struct {
	asked chan<- struct{}
	ended chan<- error
}

func (w waiting) Notify(context.Context, string, wire.Raw) error { return nil }

func (w waiting) Ask(ctx context.Context, _ []exchange.Question) ([]exchange.Answer, error) {
	w.asked <- struct{}{}
	<-ctx.Done()
	w.ended <- context.Cause(ctx)
	return nil, ctx.Err()
}

func TestAQuestionThatTheServerWithdrawsEndsUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, InProcess: true}), withCaps)
		d.listening(t)
		asked, ended := make(chan struct{}, 2), make(chan error, 2)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _, _ = d.Do(ctx, tool(t, d.Conn, "slow", `{}`), waiting{asked: asked, ended: ended}) }()
		synctest.Wait()
		d.s.AskAtLarge("elicitation/create", `{}`)
		d.s.AskAtLarge("elicitation/create", `{}`) // the same id
		synctest.Wait()
		if len(asked) != 1 {
			t.Errorf("asked %d times", len(asked))
		}
		d.s.Emit("notifications/cancelled", `{"requestId":"at-large"}`)
		if err := <-ended; !errors.Is(err, errWithdrawn) {
			t.Errorf("ended with %v", err)
		}
		synctest.Wait()
		if d.s.Count("answer") != 0 {
			t.Error("a withdrawn question was answered")
		}
	})
}

func TestAModernServerThatAsksAnywayIsNotHeard(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
	d.listening(t)
	d.s.AskAtLarge("elicitation/create", `{}`)
	d.s.Emit("notifications/tools/list_changed", `{}`)
	<-d.news
	if ignored := d.seen(&d.ignored); len(ignored) != 1 || !strings.Contains(ignored[0], "may not send any") {
		t.Errorf("noted %q", ignored)
	}
}

func TestOnlySoManyQuestionsAreOpen(t *testing.T) {
	c := &Conn{}
	c.live(t.Context())
	defer c.end(nil)
	asked, ended := make(chan struct{}, 2*maxQuestions), make(chan error, 2*maxQuestions)
	c.opts.Home = func() exchange.Peer { return waiting{asked, ended} }
	dropped := 0
	c.opts.Hooks.Ignored = func(string) { dropped++ }
	for i := range 2 * maxQuestions {
		c.askedAtLarge(wire.Message{Kind: wire.Request, Method: "roots/list", ID: wire.AppendInt(nil, int64(i))})
	}
	if dropped != maxQuestions {
		t.Errorf("%d were dropped", dropped)
	}
	c.end(jackfield.Errorf(jackfield.Unavailable, "over"))
	c.crew.dismiss()
	if err := c.crew.wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAServerThatAsksOnTheGETStreamFindsSomebodyThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, InProcess: true}), withCaps)
		d.call(t, "echo", `{}`)
		if d.s.Listeners() != 1 {
			t.Errorf("%d streams", d.s.Listeners())
		}
		for range 3 {
			res, err := d.Do(t.Context(), tool(t, d.Conn, "ask", `{"kind":"get","method":"roots/list"}`), named("ann"))
			if err != nil || !strings.Contains(string(res.Raw), "ann") {
				t.Errorf("got %s, %v", res.Raw, err)
			}
		}
		if n := d.s.Count("GET"); n != 1 {
			t.Errorf("%d × GET", n)
		}
		time.Sleep(lingering)
		synctest.Wait()
		if d.s.Listeners() != 0 {
			t.Error("the stream stands and nobody needs it")
		}
		d.call(t, "echo", `{}`)
		if d.s.Count("GET") != 2 || d.s.Listeners() != 1 {
			t.Errorf("%d × GET, %d streams", d.s.Count("GET"), d.s.Listeners())
		}
	})
}

func TestTheGETStreamOutlivesATimerThatFiredTooLate(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy}), withCaps)
	leave, err := d.attend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.attendance.end(d.Conn) // as the timer of the call before would
	d.s.WaitListeners(t, 1)
	leave()
	d.attendance.end(d.Conn)
	d.s.WaitListeners(t, 0)
}

func TestNobodyWaitsOnTheGETStreamWithoutNeed(t *testing.T) {
	for name, c := range map[string]struct {
		script upstreamtest.Script
		caps   string
		gets   int
	}{
		"the client cannot be asked": {upstreamtest.Script{Era: upstreamtest.Legacy}, `{}`, 0},
		"no session":                 {upstreamtest.Script{Era: upstreamtest.Sessionless}, allCaps, 0},
		"modern":                     {upstreamtest.Script{}, allCaps, 0},
		"no such stream":             {upstreamtest.Script{Era: upstreamtest.Legacy, NoStream: true}, allCaps, 1},
	} {
		t.Run(name, func(t *testing.T) {
			d := patch(t, upstreamtest.New(t, c.script), func(o *Options) { o.Caps = c.caps })
			for range 3 {
				d.call(t, "echo", `{}`)
			}
			if _, err := d.List(t.Context(), "tools/list"); err != nil {
				t.Error(err)
			}
			if n := d.s.Count("GET"); n != c.gets {
				t.Errorf("%d × GET", n)
			}
		})
	}
}

func TestACallDoesNotWaitLongForTheGETStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, InProcess: true, Faults: []Fault{{Method: "GET", Hang: true}}}), withCaps)
		begun := time.Now()
		d.call(t, "echo", `{}`)
		d.call(t, "echo", `{}`)
		if took := time.Since(begun); took != attendPatience {
			t.Errorf("took %v", took)
		}
	})
}
