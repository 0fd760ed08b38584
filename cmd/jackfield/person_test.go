package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// asked puts one question to a person who types, and returns the answer.
func asked(t *testing.T, typed, method, params string) (answer, seen string, err error) {
	t.Helper()
	var errs screen
	s := &shell{in: strings.NewReader(typed), out: io.Discard, err: &errs, terminal: func(any) (int, bool) { return 80, true }}
	p := &person{shell: s, server: "srv", line: s.live()}
	answers, err := p.Ask(t.Context(), []exchange.Question{{Key: "k", Method: method, Params: wire.Raw(params)}})
	if err != nil {
		return "", errs.String(), err
	}
	return string(answers[0].Result), errs.String(), nil
}

func TestFormsAreAskedFieldByField(t *testing.T) {
	form := func(properties, required string) string {
		return `{"mode":"form","message":"Well?","requestedSchema":{"type":"object","properties":` + properties + `,"required":` + required + `}}`
	}
	for _, c := range []struct{ name, params, typed, answer, seen string }{
		{
			"in the order of the schema", form(`{"z":{"type":"string"},"a":{"type":"string"}}`, `["z","a"]`), "1\n2\n",
			`{"action":"accept","content":{"a":"2","z":"1"}}`, "  z: ",
		},
		{
			"left out", form(`{"n":{"type":"integer","title":"Age","description":"in years"}}`, `[]`), "\n",
			`{"action":"accept","content":{}}`, "  Age – in years [nothing]: ",
		},
		{
			"a default", form(`{"n":{"type":"integer","default":7},"b":{"type":"boolean","default":true}}`, `[]`), "\n\n",
			`{"action":"accept","content":{"b":true,"n":7}}`, "  n [7]: ",
		},
		{
			"what must be there", form(`{"n":{"type":"string"}}`, `["n"]`), "\nx\n",
			`{"action":"accept","content":{"n":"x"}}`, "this cannot be left out",
		},
		{
			"a number", form(`{"n":{"type":"number"}}`, `["n"]`), "many\n1.50\n",
			`{"action":"accept","content":{"n":1.50}}`, `"many" is not a number`,
		},
		{
			"a choice", form(`{"c":{"type":"string","enum":["red","blue"]}}`, `["c"]`), "3\n2\n",
			`{"action":"accept","content":{"c":"blue"}}`, "please choose a number from 1 to 2",
		},
		{
			"a choice with titles", form(`{"c":{"type":"string","oneOf":[{"const":"r","title":"Red"},{"const":"b","title":"Blue"}]}}`, `["c"]`), "Red\n",
			`{"action":"accept","content":{"c":"r"}}`, "    1  Red\n    2  Blue\n  c [a number]: ",
		},
		{
			"several choices", form(`{"c":{"type":"array","items":{"anyOf":[{"const":"r","title":"Red"},{"const":"b","title":"Blue"}]}}}`, `["c"]`), "2, 1\n",
			`{"action":"accept","content":{"c":["b","r"]}}`, "numbers with commas",
		},
		{"nothing to fill in", form(`{}`, `[]`), "", `{"action":"accept","content":{}}`, "srv asks: Well?"},
		{"the end of input", form(`{"n":{"type":"string"}}`, `["n"]`), "", `{"action":"decline"}`, "refused"},
		{"a message that would move the cursor", `{"message":"\u001b[2J\nhi","requestedSchema":{}}`, "", `{"action":"accept","content":{}}`, "srv asks: \uFFFD[2J hi"},
		{"no sense at all", `[]`, "", `{"action":"decline"}`, ""},
		{"an address", `{"mode":"url","message":"Sign in","url":"https://example.com/x"}`, "\n", `{"action":"accept"}`, "if you trust it: https://example.com/x"},
		{"an address, refused", `{"mode":"url","message":"Sign in","url":"https://example.com/x"}`, "", `{"action":"decline"}`, "refused"},
	} {
		answer, seen, err := asked(t, c.typed, "elicitation/create", c.params)
		if err != nil || answer != c.answer || !strings.Contains(seen, c.seen) {
			t.Errorf("%s: answered %s, %v\nwant %s\nsaw %q\nwant %q in it", c.name, answer, err, c.answer, seen, c.seen)
		}
	}
	if answer, _, _ := asked(t, "", "sampling/createMessage", `{}`); answer != `{"action":"decline"}` {
		t.Errorf("sampling: %s", answer)
	}
}

func TestSomebodyWhoNeverAnswersProperlyIsNotAskedForever(t *testing.T) {
	_, seen, err := asked(t, strings.Repeat("x\n", 100), "elicitation/create",
		`{"message":"","requestedSchema":{"properties":{"n":{"type":"boolean"}},"required":["n"]}}`)
	if err == nil || strings.Count(seen, "please answer y or n") != maxTries {
		t.Errorf("%v after %q", err, seen)
	}
}

func TestAQuestionEndsWithTheCall(t *testing.T) {
	in, typing := io.Pipe()
	defer func() { _ = typing.Close() }()
	s := &shell{in: in, out: io.Discard, err: io.Discard, terminal: func(any) (int, bool) { return 80, true }}
	p := &person{shell: s, server: "srv", line: s.live()}
	why := jackfield.Errorf(jackfield.Unavailable, "out of time")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err := p.Ask(ctx, []exchange.Question{{Method: "elicitation/create", Params: wire.Raw(`{"mode":"url","url":"https://x"}`)}})
	if !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}

func TestWithoutAPersonQuestionsAreDeclined(t *testing.T) {
	s := &shell{in: strings.NewReader("y\n"), out: io.Discard, err: io.Discard, terminal: func(any) (int, bool) { return 0, false }}
	p := &person{shell: s, server: "srv", line: s.live()}
	answers, err := p.Ask(t.Context(), []exchange.Question{{Method: "elicitation/create", Params: wire.Raw(`{"requestedSchema":{"properties":{"n":{"type":"boolean"}}}}`)}})
	if err != nil || string(answers[0].Result) != `{"action":"decline"}` || s.capabilities() != "{}" {
		t.Errorf("%s, %v; can be asked: %s", answers[0].Result, err, s.capabilities())
	}
}

func TestProgressIsOneLine(t *testing.T) {
	total := func(f float64) *float64 { return &f }
	for _, c := range []struct {
		done    float64
		total   *float64
		message string
		want    string
	}{
		{3, nil, "files", "3  files"},
		{3, total(0), "", "3"},
		{5, total(10), "half", "██████████░░░░░░░░░░  50%  half"},
		{50, total(10), "", "████████████████████ 100%  "},
		{-1, total(10), "", "░░░░░░░░░░░░░░░░░░░░   0%  "},
	} {
		if got := progress(c.done, c.total, c.message); got != c.want {
			t.Errorf("%v of %v: %q, want %q", c.done, c.total, got, c.want)
		}
	}
}

func TestLogMessagesStayAboveTheLiveLine(t *testing.T) {
	var errs screen
	s := &shell{in: strings.NewReader(""), out: io.Discard, err: &errs, terminal: func(any) (int, bool) { return 40, true }}
	p := &person{shell: s, server: "srv", line: s.live(), log: true}
	for _, n := range []struct{ method, params string }{
		{"notifications/progress", `{"progress":1,"message":"` + strings.Repeat("long ", 20) + `"}`},
		{"notifications/message", `{"level":"info","data":"hello\u0007"}`},
		{"notifications/message", `{"level":"info","data":{"a":1}}`},
		{"notifications/message", `nonsense`},
		{"notifications/vendor", `{}`},
	} {
		if err := p.Notify(t.Context(), n.method, wire.Raw(n.params)); err != nil {
			t.Error(err)
		}
	}
	want := "\r\x1b[K1  long long long long long long long…\r\x1b[Ksrv: info: hello\uFFFD\nsrv: info: {\"a\":1}\n"
	if errs.String() != want {
		t.Errorf("%q, want %q", errs.String(), want)
	}
}
