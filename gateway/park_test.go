package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// examiner is a Broker whose server asks: each call, one question after another,
// those of one round at once.
type examiner struct {
	script
	rounds [][]exchange.Question

	mu     sync.Mutex
	calls  int
	ended  []error // how calls ended that got no answer
	answer func(told []string) exchange.Result
}

func question(message string) exchange.Question {
	return exchange.Question{Key: "1", Method: "elicitation/create", Params: wire.Raw(`{"message":"` + message + `","requestedSchema":{}}`)}
}

func (e *examiner) Do(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
	e.mu.Lock()
	e.calls++
	e.mu.Unlock()
	var told []string
	for _, round := range e.rounds {
		var each sync.WaitGroup
		answers := make([]string, len(round))
		for i, q := range round {
			each.Go(func() {
				got, err := p.Ask(ctx, []exchange.Question{q})
				switch {
				case err != nil:
					answers[i] = "error " + err.Error()
				case got[0].Err != nil:
					answers[i] = "refused " + got[0].Err.Message
				default:
					answers[i] = string(got[0].Result)
				}
			})
			time.Sleep(time.Millisecond) // in order
		}
		each.Wait()
		told = append(told, answers...)
		if ctx.Err() != nil {
			e.mu.Lock()
			e.ended = append(e.ended, context.Cause(ctx))
			e.mu.Unlock()
			return exchange.Result{}, ctx.Err()
		}
		_ = p.Notify(ctx, "notifications/progress", wire.Raw(fmt.Sprintf(`{"progressToken":7,"progress":%d}`, len(told))))
	}
	if e.answer != nil {
		return e.answer(told), nil
	}
	b, err := json.Marshal(told)
	return exchange.Result{Raw: wire.Raw(`{"told":` + string(b) + `}`)}, err
}

func (e *examiner) cancelled() []error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.ended)
}

// turn is one round as the client sees it.
type turn struct {
	status int
	body   string
	asked  map[string]string // questions: their messages by key
	state  string            // requestState as it stands in JSON
}

const canElicit = `"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}`

// retryBody is a call by a client that can be asked, with more members of params.
func retryBody(method, params, more, meta string) (string, header) {
	body, hs := modernCall("1", method, params+more, meta)
	return strings.Replace(body, envelopeMeta, canElicit, 1), hs
}

func readTurn(t *testing.T, w *httptest.ResponseRecorder) turn {
	t.Helper()
	got := turn{status: w.Code, body: w.Body.String()}
	text := got.body
	if i := strings.LastIndex(text, "data: "); i >= 0 { // it became a stream
		text, _, _ = strings.Cut(text[i+len("data: "):], "\n")
	}
	var m struct {
		Result struct {
			Type   string `json:"resultType"`
			Inputs map[string]struct {
				Method string
				Params struct{ Message string }
			} `json:"inputRequests"`
			State wire.Raw `json:"requestState"`
		}
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v: %q", err, got.body)
	}
	if m.Result.Type == "input_required" {
		got.state, got.asked = string(m.Result.State), map[string]string{}
		for k, q := range m.Result.Inputs {
			got.asked[k] = q.Params.Message
		}
	}
	return got
}

func askTool(t *testing.T, h http.Handler, more string, hs ...string) turn {
	t.Helper()
	body, own := retryBody("tools/call", `"name":"x"`, more, "")
	return readTurn(t, send(h, http.MethodPost, "/mcp", body, append(own, hs...)))
}

func answering(state string, answers ...string) string {
	all := make([]string, len(answers))
	for i, a := range answers {
		key, value, _ := strings.Cut(a, "=")
		all[i] = `"` + key + `":` + value
	}
	return `,"inputResponses":{` + strings.Join(all, ",") + `},"requestState":` + state
}

func TestALegacyServersQuestionParksTheCallAndItsAnswerWakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &examiner{rounds: [][]exchange.Question{{question("who?")}}}
		h := New(Options{Broker: e})
		first := askTool(t, h, "")
		if first.status != 200 || len(first.asked) != 1 || first.asked["q1"] != "who?" {
			t.Fatalf("got %+v", first)
		}
		if n := h.Status(); n.Parked != 1 || n.Requests != 0 {
			t.Errorf("while it waits: %+v", n)
		}
		time.Sleep(4 * time.Minute)
		got := askTool(t, h, answering(first.state, `q1={"action":"accept","content":{"n":9007199254740993}}`, `extra={}`))
		if got.status != 200 || !strings.Contains(got.body, `9007199254740993`) || !strings.Contains(got.body, `"resultType":"complete"`) {
			t.Errorf("got %+v", got)
		}
		if e.calls != 1 || h.Status().Parked != 0 {
			t.Errorf("%d calls, %+v", e.calls, h.Status())
		}
		shut(t, h)
	})
}

func TestSeveralQuestionsStandInOneRoundAndMissingAnswersAreAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &examiner{rounds: [][]exchange.Question{{question("a"), question("b"), question("c")}, {question("d")}}}})
		got := askTool(t, h, "")
		if len(got.asked) != 3 || got.asked["q1"] != "a" || got.asked["q3"] != "c" {
			t.Fatalf("got %+v", got)
		}
		got = askTool(t, h, answering(got.state, `q2={"action":"decline"}`))
		if len(got.asked) != 2 || got.asked["q1"] != "a" || got.asked["q3"] != "c" {
			t.Fatalf("after one answer: %+v", got)
		}
		got = askTool(t, h, answering(got.state))
		if len(got.asked) != 2 {
			t.Fatalf("after none: %+v", got)
		}
		got = askTool(t, h, answering(got.state, `q1={"n":1}`, `q3={"n":3}`, `q2={"n":"late"}`))
		if len(got.asked) != 1 || got.asked["q4"] != "d" {
			t.Fatalf("the second round: %+v", got)
		}
		got = askTool(t, h, answering(got.state, `q4={"n":4}`))
		if !strings.Contains(got.body, `["{\"n\":1}","{\"action\":\"decline\"}","{\"n\":3}","{\"n\":4}"]`) {
			t.Errorf("got %+v", got)
		}
		shut(t, h)
	})
}

func TestARepeatedRetryJoinsItsRoundAndGetsItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &examiner{rounds: [][]exchange.Question{{question("a")}, {question("b")}}}
		h := New(Options{Broker: e})
		first := askTool(t, h, "")
		// Two at once: two people at one account answer, or a client that is impatient.
		var both sync.WaitGroup
		var turns [2]turn
		for i := range turns {
			both.Go(func() { turns[i] = askTool(t, h, answering(first.state, fmt.Sprintf(`q1={"by":%d}`, i))) })
		}
		both.Wait()
		for _, got := range turns {
			if len(got.asked) != 1 || got.asked["q2"] != "b" {
				t.Errorf("at once: %+v", got)
			}
		}
		if got := askTool(t, h, answering(first.state, `q1={"by":2}`)); got.asked["q2"] != "b" {
			t.Errorf("behind it: %+v", got)
		}
		last := askTool(t, h, answering(turns[1].state, `q2={"by":3}`))
		for _, state := range []string{turns[0].state, turns[1].state} { // another state of the same round
			if got := askTool(t, h, answering(state, `q2={"by":4}`)); strings.Contains(got.body, `"by\":4`) || !strings.Contains(got.body, `by\":3`) || got.body != last.body {
				t.Errorf("the result once more: %+v, not %+v", got, last)
			}
		}
		if got := askTool(t, h, answering(first.state, `q1={}`)); got.status != 400 || !strings.Contains(got.body, "a round that is over") {
			t.Errorf("an older round: %+v", got)
		}
		if e.calls != 1 {
			t.Errorf("%d calls", e.calls)
		}
		time.Sleep(3 * time.Minute)
		if got := askTool(t, h, answering(turns[1].state, `q2={}`)); got.status != 400 || !strings.Contains(got.body, "nobody waits") {
			t.Errorf("long after: %+v", got)
		}
		shut(t, h)
	})
}

func TestAClientThatNeverReturnsCostsOneEntryUntilItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &examiner{rounds: [][]exchange.Question{{question("a")}}}
		h := New(Options{Broker: e})
		first := askTool(t, h, "")
		time.Sleep(5*time.Minute - time.Second)
		if h.Status().Parked != 1 || len(e.cancelled()) != 0 {
			t.Errorf("too early: %+v, %v", h.Status(), e.cancelled())
		}
		time.Sleep(2 * time.Second)
		if ends := e.cancelled(); h.Status().Parked != 0 || len(ends) != 1 || !strings.Contains(ends[0].Error(), "did not come back") {
			t.Errorf("too late: %+v, %v", h.Status(), ends)
		}
		if got := askTool(t, h, answering(first.state, `q1={}`)); got.status != 400 || !strings.Contains(got.body, "nobody waits for this answer any more") {
			t.Errorf("got %+v", got)
		}
		shut(t, h)
	})
}

func TestAClientThatHangsUpBeforeItsRoundIsAnsweredCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := false
		h := New(Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			_, err := p.Ask(ctx, []exchange.Question{question("a")})
			<-ctx.Done() // it works on
			over = true
			return exchange.Result{}, err
		}}})
		first := askTool(t, h, "")
		body, hs := retryBody("tools/call", `"name":"x"`, answering(first.state, `q1={}`), "")
		one := dial(h, http.MethodPost, "/mcp", body, hs) // both are streams by now, because it takes long
		two := dial(h, http.MethodPost, "/mcp", body, hs)
		one.leave()
		synctest.Wait()
		if over || h.Status().Parked != 1 {
			t.Error("the first that left ended it for the second")
		}
		two.leave()
		synctest.Wait()
		if !over || h.Status().Parked != 0 {
			t.Error("the call goes on without anybody")
		}
		shut(t, h)
	})
}

func TestHangingUpInTheFirstRoundCancelsUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		h := New(Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return exchange.Result{}, ctx.Err()
		}}})
		body, hs := retryBody("tools/call", `"name":"x"`, "", "")
		c := dial(h, http.MethodPost, "/mcp", body, hs) // a stream by now, because it takes long
		c.leave()
		synctest.Wait()
		if cause == nil {
			t.Error("the call goes on")
		}
		shut(t, h)
	})
}

func TestAResultThatComesWhileTheCallIsParkedIsThereForTheRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			_, err := p.Ask(ctx, []exchange.Question{question("quick?")})
			return result(fmt.Sprintf(`{"late":%t}`, err != nil)), nil
		}}})
		first := askTool(t, h, "")
		time.Sleep(2 * time.Minute)
		if n := h.Status().Parked; n != 0 {
			t.Errorf("%d places for what is over", n)
		}
		if got := askTool(t, h, answering(first.state, `q1={}`)); got.status != 200 || !strings.Contains(got.body, `"late":true`) {
			t.Errorf("got %+v", got)
		}
		shut(t, h)
	})
}

func TestOnlyWhatTheModernClientDeclaredIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &examiner{rounds: [][]exchange.Question{{
			{Method: "sampling/createMessage"},
			{Method: "roots/list"},
			{Method: "vendor/ask"},
			{Method: "ping"},
			{Method: "elicitation/create", Params: wire.Raw(`{"mode":"url","url":"https://example.com"}`)},
		}}}})
		if got := askTool(t, h, ""); strings.Count(got.body, "did not say that it can answer") != 5 {
			t.Errorf("got %+v", got)
		}
		// And what it could answer in the first round, but not in the next.
		h2 := New(Options{Broker: &examiner{rounds: [][]exchange.Question{{question("a")}}}})
		first := askTool(t, h2, "")
		body, hs := modernCall("1", "tools/call", `"name":"x"`+answering(first.state), "")
		body = strings.Replace(body, envelopeMeta, strings.Replace(canElicit, "elicitation", "roots", 1), 1)
		if got := readTurn(t, send(h2, http.MethodPost, "/mcp", body, hs)); !strings.Contains(got.body, "did not say that it can answer elicitation/create") {
			t.Errorf("got %+v", got)
		}
		shut(t, h)
		shut(t, h2)
	})
}

func TestAParkedCallIsBoundToWhoBeganItAndToItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Authenticate: users, Broker: &examiner{rounds: [][]exchange.Question{{question("a")}}}})
		const ann, bob = "Authorization: Bearer ann", "Authorization: Bearer bob"
		first := askTool(t, h, "", ann)
		for name, got := range map[string]turn{
			"tampered":         askTool(t, h, answering(first.state[:len(first.state)-3]+`xx"`, `q1={}`), ann),
			"foreign":          askTool(t, h, answering(first.state, `q1={}`), bob),
			"other params":     askTool(t, h, `,"arguments":{}`+answering(first.state, `q1={}`), ann),
			"not an object":    askTool(t, h, answering(first.state, `q1=7`), ann),
			"an answer of nil": askTool(t, h, answering(first.state, `q1=null`), ann),
		} {
			if got.status != 400 || !strings.Contains(got.body, `-32602`) {
				t.Errorf("%s: %+v", name, got)
			}
		}
		if got := askTool(t, h, answering(first.state, `q1={"still":"here"}`), ann); !strings.Contains(got.body, "still") {
			t.Errorf("got %+v", got)
		}
		shut(t, h)
	})
}

func TestParkedCallsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &examiner{rounds: [][]exchange.Question{{question("a")}}}
		h := New(Options{Authenticate: users, Broker: e, Limits: Limits{Parked: 20}})
		const ann = "Authorization: Bearer ann"
		var last turn
		for range 16 {
			if last = askTool(t, h, "", ann); last.state == "" {
				t.Fatalf("got %+v", last)
			}
		}
		if got := askTool(t, h, "", ann); !strings.Contains(got.body, "refused you have all the calls that wait for answers") {
			t.Errorf("the 17th: %+v", got)
		}
		for i := range 5 {
			got := askTool(t, h, "", fmt.Sprintf("Authorization: Bearer bob%d", i))
			if refused := strings.Contains(got.body, "refused the gateway has all"); refused != (i == 4) {
				t.Errorf("another, %d: %+v", i, got)
			}
		}
		if got := askTool(t, h, answering(last.state, `q1={}`), ann); got.status != 200 {
			t.Errorf("got %+v", got)
		}
		if got := askTool(t, h, "", ann); got.state == "" {
			t.Errorf("one ended, and its place is taken: %+v", got)
		}
		shut(t, h)
	})
}

func TestAThousandCallsCanBeParkedAndAllAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		h := New(Options{Broker: &examiner{rounds: [][]exchange.Question{{question("a")}}}, Limits: Limits{OwnerParked: n}})
		var all sync.WaitGroup
		states := make([]string, n)
		for i := range states {
			all.Go(func() { states[i] = askTool(t, h, "").state })
		}
		all.Wait()
		if got := h.Status().Parked; got != n {
			t.Errorf("%d are parked", got)
		}
		for i, state := range states {
			all.Go(func() {
				if got := askTool(t, h, answering(state, fmt.Sprintf(`q1={"i":%d}`, i))); !strings.Contains(got.body, fmt.Sprintf(`{\"i\":%d}`, i)) {
					t.Errorf("%d: %+v", i, got)
				}
			})
		}
		all.Wait()
		if got := h.Status().Parked; got != 0 {
			t.Errorf("%d are still parked", got)
		}
		shut(t, h)
	})
}

func TestARetryByAClientThatCanAnswerNothingAnyMoreGoesOnWithItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &examiner{rounds: [][]exchange.Question{{question("a")}}}
		h := New(Options{Broker: e})
		first := askTool(t, h, "")
		body, hs := modernCall("1", "tools/call", `"name":"x"`+answering(first.state, `q1={"n":1}`), "")
		if got := readTurn(t, send(h, http.MethodPost, "/mcp", body, hs)); !strings.Contains(got.body, `{\"n\":1}`) || e.calls != 1 {
			t.Errorf("%d calls: %+v", e.calls, got)
		}
		shut(t, h)
	})
}

// kept is how many exchanges can be come back to.
func kept(h *Handler) int {
	h.parks.mu.Lock()
	defer h.parks.mu.Unlock()
	return len(h.parks.by)
}

func TestResultsThatAreKeptForClientsThatMissedThemTakeNoPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &examiner{rounds: [][]exchange.Question{{question("a")}}}, Limits: Limits{Parked: 2, OwnerParked: 2}})
		var states []string
		for i := range 9 {
			first := askTool(t, h, "")
			if got := askTool(t, h, answering(first.state, `q1={}`)); first.state == "" || got.status != 200 {
				t.Fatalf("the %d. call: %+v, %+v", i+1, first, got)
			}
			states = append(states, first.state)
		}
		if n := kept(h); n != 2 {
			t.Errorf("%d are kept", n)
		}
		for i, state := range states {
			if got := askTool(t, h, answering(state, `q1={}`)); got.status == 200 != (i >= 7) {
				t.Errorf("the %d. again: %+v", i+1, got)
			}
		}
		time.Sleep(3 * time.Minute)
		if n := kept(h); n != 0 {
			t.Errorf("%d are kept long after", n)
		}
		shut(t, h)
	})
}

func TestALargeResultThatComesWhileTheCallIsParkedIsToldAndNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			_, _ = p.Ask(ctx, []exchange.Question{question("quick?")})
			return result(`{"x":"` + strings.Repeat("x", 2*maxEventBytes) + `"}`), nil
		}}})
		first := askTool(t, h, "")
		time.Sleep(2 * time.Minute)
		if got := askTool(t, h, answering(first.state, `q1={}`)); !strings.Contains(got.body, "the call was carried out") {
			t.Errorf("got %.200s", got.body)
		}
		if got := askTool(t, h, ""); got.state == "" {
			t.Errorf("got %+v", got)
		} else if got = askTool(t, h, answering(got.state, `q1={}`)); len(got.body) < 2*maxEventBytes || kept(h) != 1 {
			t.Errorf("%d bytes, %d kept", len(got.body), kept(h))
		}
		shut(t, h)
	})
}

func TestAfterARestartACallIsSentAgainOnlyWhereThatIsSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{
			Broker: &examiner{rounds: [][]exchange.Question{{question("a")}}}, Key: []byte(strings.Repeat("k", 32)),
			Repeatable: func(_ broker.Caller, tool string) bool { return tool == "look" },
		}
		for _, c := range []struct {
			method, params string
			again          bool
		}{
			{"tools/call", `"name":"pay"`, false},
			{"tools/call", `"name":"look"`, true},
			{"prompts/get", `"name":"p"`, true},
			{"resources/read", `"uri":"u:x"`, true},
		} {
			before, after := New(o), New(o)
			body, hs := retryBody(c.method, c.params, "", "")
			first := readTurn(t, send(before, http.MethodPost, "/mcp", body, hs))
			shut(t, before)
			body, hs = retryBody(c.method, c.params, answering(first.state, `q1={}`), "")
			got := readTurn(t, send(after, http.MethodPost, "/mcp", body, hs))
			if c.again && got.asked["q1"] != "a" || !c.again && !strings.Contains(got.body, "was restarted while the call waited") {
				t.Errorf("%s %s: %+v", c.method, c.params, got)
			}
			shut(t, after)
		}
	})
}

func TestProgressBetweenTheRoundsIsDroppedAndInThemCarriesTheirToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
			asked := make(chan struct{})
			go func() {
				time.Sleep(time.Second)
				_ = p.Notify(ctx, "notifications/progress", wire.Raw(`{"progressToken":1,"progress":1}`)) // nobody is there
				close(asked)
			}()
			_, err := p.Ask(ctx, []exchange.Question{question("a")})
			<-asked
			_ = p.Notify(ctx, "notifications/progress", wire.Raw(`{"progressToken":1,"progress":2}`))
			return result(`{}`), err
		}}})
		first := askTool(t, h, "")
		time.Sleep(2 * time.Second)
		if n := h.Status().Dropped; n != 1 {
			t.Errorf("%d dropped", n)
		}
		body, hs := retryBody("tools/call", `"name":"x"`, answering(first.state, `q1={}`), `"progressToken":"second"`)
		w := send(h, http.MethodPost, "/mcp", body, hs)
		if got := data(events(t, w.Body)); len(got) != 2 || got[0] != `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"second","progress":2}}` {
			t.Errorf("got %q", got)
		}
		shut(t, h)
	})
}

func TestClosingEndsWhatIsParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &examiner{rounds: [][]exchange.Question{{question("a")}}}
		h := New(Options{Broker: e})
		first := askTool(t, h, "")
		shut(t, h)
		if len(e.cancelled()) != 1 || len(h.parks.by) != 0 {
			t.Errorf("%v, %d left", e.cancelled(), len(h.parks.by))
		}
		if got := askTool(t, h, answering(first.state, `q1={}`)); got.status != 503 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAnAddressToOpenIsAQuestionForAClientThatTakesItAndWordsForOthers(t *testing.T) {
	calls := 0
	h := open(t, Options{Broker: &script{do: func(context.Context, broker.Caller, *exchange.Request, exchange.Peer) (exchange.Result, error) {
		if calls++; calls == 3 {
			return result(`{"content":[]}`), nil
		}
		return exchange.Result{Err: &wire.Error{
			Code: -32042, Message: "first this",
			Data: wire.Raw(`{"elicitations":[{"mode":"url","elicitationId":"e","url":"https://example.com/a","message":"sign in"}]}`),
		}}, nil
	}}})
	// One that cannot.
	if got := sendModern(h, "/mcp", "1", "tools/call", `"name":"x"`, "").Body.String(); !strings.Contains(got, `"isError":true`) ||
		!strings.Contains(got, `sign in\nhttps://example.com/a`) || !strings.Contains(got, `"resultType":"complete"`) {
		t.Errorf("got %s", got)
	}
	// One that can.
	ask := func(more string) turn {
		body, hs := modernCall("1", "tools/call", `"name":"x"`+more, "")
		body = strings.Replace(body, envelopeMeta, strings.Replace(canElicit, `"elicitation":{}`, `"elicitation":{"url":{}}`, 1), 1)
		return readTurn(t, send(h, http.MethodPost, "/mcp", body, hs))
	}
	first := ask("")
	if first.asked["open1"] != "sign in" || strings.Contains(first.body, "elicitationId") || !strings.Contains(first.body, `"url":"https://example.com/a"`) {
		t.Fatalf("got %+v", first)
	}
	if got := ask(answering(first.state, `open1={"action":"decline"}`)); !strings.Contains(got.body, "was not opened") || calls != 2 {
		t.Errorf("declined: %+v, %d calls", got, calls)
	}
	if got := ask(answering(first.state, `open1={"action":"accept"}`)); got.status != 200 || !strings.Contains(got.body, `"resultType":"complete"`) || calls != 3 {
		t.Errorf("accepted: %+v, %d calls", got, calls)
	}
}

func TestAnAddressToOpenIsWordsForAnOlderClient(t *testing.T) {
	h := open(t, Options{Broker: &script{do: func(_ context.Context, _ broker.Caller, r *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
		if string(r.Params.Get("name")) == `"missing"` {
			return exchange.Result{Modern: true, Err: &wire.Error{Code: -32021, Message: "no", Data: wire.Raw(`{"requiredCapabilities":{"sampling":{}}}`)}}, nil
		}
		return exchange.Result{Err: &wire.Error{Code: -32042, Message: "first this", Data: wire.Raw(`{"elicitations":[{"url":"https://example.com/a"}]}`)}}, nil
	}}})
	const id = `{"jsonrpc":"2.0","id":1,`
	for _, c := range []struct{ version, caps, method, params, want string }{
		{"2025-11-25", `{"elicitation":{"url":{}}}`, "tools/call", `{}`, id + `"error":{"code":-32042,"message":"first this","data":{"elicitations":[{"url":"https://example.com/a"}]}}}`},
		{"2025-11-25", `{"elicitation":{}}`, "tools/call", `{}`, id + `"result":{"content":[{"type":"text","text":"Before this can go on, open https://example.com/a and then try again."}],"isError":true}}`},
		{"2025-06-18", `{"elicitation":{"url":{}}}`, "tools/call", `{}`, id + `"result":{"content":[{"type":"text","text":"Before this can go on, open https://example.com/a and then try again."}],"isError":true}}`},
		{"2025-03-26", `{}`, "prompts/get", `{}`, id + `"error":{"code":1503,"message":"Before this can go on, open https://example.com/a and then try again."}}`},
		{"2025-11-25", `{}`, "tools/call", `{"name":"missing"}`, id + `"result":{"content":[{"type":"text","text":"The server needs a client that can do more than this one ({\"sampling\":{}}): no"}],"isError":true}}`},
	} {
		hs := initialize(t, h, "/mcp", c.version, c.caps)
		if got := send(h, http.MethodPost, "/mcp", legacyCall("1", c.method, c.params), hs).Body.String(); got != c.want {
			t.Errorf("%+v\ngot %s", c, got)
		}
	}
}

func TestAnAddressToOpenGetsAnIDForClientsThatWantOne(t *testing.T) {
	q := exchange.Question{Method: "elicitation/create", Params: wire.Raw(`{"mode":"url","url":"u"}`)}
	if got := string(withElicitationID(q, "7")); got != `{"mode":"url","url":"u","elicitationId":"jackfield-7"}` {
		t.Error(got)
	}
	q.Params = wire.Raw(`{"mode":"url","url":"u","elicitationId":"own"}`)
	if got := string(withElicitationID(q, "7")); got != string(q.Params) {
		t.Error(got)
	}
	if got := string(withElicitationID(question("form"), "7")); strings.Contains(got, "elicitationId") {
		t.Error(got)
	}
}

func FuzzTicket(f *testing.F) {
	f.Add((&ticket{round: 300}).text())
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseTicket(b)
		if err != nil {
			return
		}
		if again, err := parseTicket(got.text()); err != nil || *again != *got {
			t.Errorf("%x: %+v, %v", b, again, err)
		}
	})
}
