package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

// older is the same call by a client that is asked while its request is open.
func older(t *testing.T, c *Conn, name, arguments, capabilities string) *exchange.Request {
	t.Helper()
	r := tool(t, c, name, arguments)
	var err error
	if r.Caps, err = exchange.ParseCapabilities(wire.Raw(capabilities)); err != nil {
		t.Fatal(err)
	}
	r.Caps.Bridge()
	return r
}

func TestAModernServersQuestionsAreAskedWhileTheRequestIsOpen(t *testing.T) {
	for _, rounds := range []int{1, 2, maxRounds} {
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
		asked := 0
		peer := &asker{answer: func(q exchange.Question) (exchange.Answer, error) {
			asked++
			if q.Method != "elicitation/create" || !strings.Contains(string(q.Params), "requestedSchema") {
				t.Errorf("asked %s %s", q.Method, q.Params)
			}
			return exchange.Answer{Result: wire.Raw(fmt.Sprintf(`{"action":"accept","content":{"round":%d}}`, asked))}, nil
		}}
		res, err := d.Do(t.Context(), older(t, d.Conn, "ask", fmt.Sprintf(`{"times":%d}`, rounds), allCaps), peer)
		want := fmt.Sprintf(`q%d\":{\"action\":\"accept\",\"content\":{\"round\":%d}`, rounds, rounds)
		if err != nil || asked != rounds || !strings.Contains(string(res.Raw), want) {
			t.Errorf("%d rounds: asked %d times, got %s, %v", rounds, asked, res.Raw, err)
		}
		if n := d.s.Count("tools/call"); n != rounds+1 {
			t.Errorf("%d rounds: %d calls", rounds, n)
		}
	}
}

func TestAServerThatAsksForEverIsEndedWithAClearError(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
	_, err := d.Do(t.Context(), older(t, d.Conn, "ask", `{"times":1000}`, allCaps), &asker{})
	if jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(err.Error(), "32 times in a row") {
		t.Errorf("got %v", err)
	}
	if n := d.s.Count("tools/call"); n != maxRounds+1 {
		t.Errorf("%d calls", n)
	}
}

func TestAServerThatPutsARequestOffIsAskedAgainAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{InProcess: true}))
		_, err := d.Do(t.Context(), older(t, d.Conn, "raw", `{"result":{"resultType":"input_required","requestState":"later"}}`, `{}`), &asker{})
		if err == nil || d.s.Count("tools/call") != maxRounds+1 {
			t.Errorf("%d calls, %v", d.s.Count("tools/call"), err)
		}
	})
}

func TestAModernServerIsToldOnlyWhatAnOlderClientCanAnswer(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
	for declared, want := range map[string]string{
		`{}`:                                    `{}`,
		`{"elicitation":{}}`:                    `{"elicitation":{"form":{}}}`,
		`{"sampling":{"tools":{}},"tasks":{}}`:  `{"sampling":{"tools":{}}}`,
		`{"roots":{"listChanged":true},"x":1}`:  `{"roots":{"listChanged":true},"x":1}`,
		`{"elicitation":{"form":{},"url":{}}}`:  `{"elicitation":{"form":{},"url":{}}}`,
		`{"elicitation":{"url":{}},"roots":{}}`: `{"elicitation":{"url":{}},"roots":{}}`,
	} {
		res, err := d.Do(t.Context(), older(t, d.Conn, "mirror", `{}`, declared), nil)
		if err != nil || !strings.Contains(string(res.Raw), `"io.modelcontextprotocol/clientCapabilities":`+want+`,`) {
			t.Errorf("%s: %s, %v", declared, res.Raw, err)
		}
	}
}

func TestAQuestionOfAKindThatWasNotDeclaredEndsTheCall(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
	for arguments, want := range map[string]string{
		`{}`:                                  "elicitation/create",
		`{"method":"sampling/createMessage"}`: "sampling/createMessage",
		`{"method":"roots/list"}`:             "roots/list",
		`{"method":"vendor/ask"}`:             "vendor/ask",
	} {
		asked := false
		_, err := d.Do(t.Context(), older(t, d.Conn, "ask", arguments, `{}`), &asker{answer: func(exchange.Question) (exchange.Answer, error) {
			asked = true
			return exchange.Answer{}, nil
		}})
		if asked || jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "did not say that it can answer") {
			t.Errorf("%s: asked %t, got %v", arguments, asked, err)
		}
	}
}

const opensURL = `{"method":"elicitation/create","params":{"mode":"url","url":"https://example.com/sign-in","message":"sign in"}}`

func TestAnAddressForAClientThatCannotBeToldIsTheOlderErrorWithIt(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
	res, err := d.Do(t.Context(), older(t, d.Conn, "ask", opensURL, `{"elicitation":{}}`), &asker{})
	if err != nil || res.Err == nil || res.Err.Code != wire.CodeURLElicitationFirst || !strings.Contains(string(res.Err.Data), "https://example.com/sign-in") {
		t.Errorf("got %+v, %v", res.Err, err)
	}
	res, err = d.Do(t.Context(), older(t, d.Conn, "ask", opensURL, `{"elicitation":{"url":{}}}`), &asker{})
	if err != nil || res.Err != nil || !strings.Contains(string(res.Raw), "accept") {
		t.Errorf("got %s, %+v, %v", res.Raw, res.Err, err)
	}
}

func TestAnErrorForAnAnswer(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
	says := func(a exchange.Answer, err error) *asker {
		return &asker{answer: func(exchange.Question) (exchange.Answer, error) { return a, err }}
	}
	no := exchange.Answer{Err: &wire.Error{Code: -1, Message: "the person said no"}}
	res, err := d.Do(t.Context(), older(t, d.Conn, "ask", `{}`, allCaps), says(no, nil))
	if err != nil || !strings.Contains(string(res.Raw), `{\"action\":\"cancel\"}`) {
		t.Errorf("elicitation: %s, %v", res.Raw, err)
	}
	_, err = d.Do(t.Context(), older(t, d.Conn, "ask", `{"method":"sampling/createMessage"}`, allCaps), says(no, nil))
	if jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(err.Error(), "the person said no") {
		t.Errorf("sampling: %v", err)
	}
	_, err = d.Do(t.Context(), older(t, d.Conn, "ask", `{}`, allCaps), says(exchange.Answer{}, errors.New("the client has hung up")))
	if err == nil || !strings.Contains(err.Error(), "the client has hung up") {
		t.Errorf("nobody: %v", err)
	}
	_, err = d.Do(t.Context(), older(t, d.Conn, "ask", `{}`, allCaps), &nobody{})
	if err == nil {
		t.Error("no answers at all, and no error")
	}
}

// nobody answers nothing.
type nobody struct{ asker }

func (*nobody) Ask(context.Context, []exchange.Question) ([]exchange.Answer, error) { return nil, nil }
