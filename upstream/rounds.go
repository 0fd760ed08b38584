package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

const (
	// maxRounds is how often a modern server may ask before it answers.
	maxRounds = 32
	// firstRetry is the pause before a request is sent again that the server put
	// off without a question; it doubles.
	firstRetry = 100 * time.Millisecond
)

// converse asks an asker that can be asked only while its request is open (up to
// 2025-11-25) what a modern server wants to know, and brings the answers back with
// the same request, until the server has a result (2026-07-28,
// basic/patterns/mrtr).
func (c *Conn) converse(ctx context.Context, peer exchange.Peer, r *exchange.Request, in *exchange.Input) (exchange.Result, error) {
	asker := *r
	asker.Caps.AsResult = true // questions are for this loop
	asker.Caps.Declared = asker.Caps.Modern
	idle := firstRetry
	for range maxRounds {
		answers, err := c.askAll(ctx, peer, r, in.Questions)
		if open, is := errors.AsType[*opens](err); is {
			return exchange.Result{Err: open.first, Modern: true}, nil
		}
		if err != nil {
			return exchange.Result{}, err
		}
		if len(in.Questions) == 0 { // it has too much to do
			if err = sleep(ctx, idle); err != nil {
				return exchange.Result{}, err
			}
			idle = min(2*idle, longestPause)
		}
		asker.Resume = &exchange.Resume{State: in.State, Answers: answers}
		x := newCall(r.Method)
		x.peer, x.progress = peer, true
		res, err := c.doModern(ctx, x, &asker)
		if err != nil || res.Input == nil {
			return res, err
		}
		in = res.Input
	}
	return exchange.Result{}, &failure{
		code: jackfield.Unavailable,
		what: fmt.Sprintf("it asked %d times in a row what it needs for %s and never answered; it seems to go round in circles", maxRounds, r.Method),
	}
}

// opens is the end of a conversation with somebody who has to open an address
// first, and a client that cannot be told so in the middle of a request.
type opens struct{ first *wire.Error }

// Error is the error's message.
func (o *opens) Error() string { return o.first.Message }

// askAll asks the questions of one round. The answers are an inputResponses object,
// nil when nothing was asked.
func (c *Conn) askAll(ctx context.Context, peer exchange.Peer, r *exchange.Request, questions []exchange.Question) (wire.Raw, error) {
	if len(questions) == 0 {
		return nil, nil
	}
	for _, q := range questions {
		if q.IsURL() && !r.Caps.URL {
			return nil, &opens{addresses(questions)}
		}
		if peer == nil || !r.Caps.Answers(q) {
			c.opts.Hooks.declined(q.Method, "the client did not say that it can answer that")
			return nil, &failure{
				code: jackfield.Unavailable,
				what: "it asks its client for " + snippet([]byte(q.Method)) + " before it answers " + r.Method + ", and this client did not say that it can answer that",
			}
		}
	}
	answers, err := peer.Ask(ctx, questions)
	if err == nil && len(answers) != len(questions) {
		err = errors.New("there is no answer")
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &failure{
			code: jackfield.CodeOf(err), err: err,
			what: "it has a question before it can answer " + r.Method + ", and got no answer: " + err.Error(),
		}
	}
	out := []byte{'{'}
	for i, a := range answers {
		if a.Err != nil {
			if questions[i].Method != "elicitation/create" {
				return nil, &failure{
					code: jackfield.Unavailable, err: a.Err,
					what: "it asked its client for " + questions[i].Method + ", and the client answered with an error: " + snippet([]byte(a.Err.Message)),
				}
			}
			a.Result = wire.Raw(`{"action":"cancel"}`) // an error has no place among the answers
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(wire.AppendString(out, questions[i].Key), ':')
		out = append(out, a.Result...)
	}
	return append(out, '}'), nil
}

// addresses is the error of 2025-11-25 that says which addresses have to be opened
// before the call can succeed; the downstream face finds the words for its client.
func addresses(questions []exchange.Question) *wire.Error {
	data := []byte(`{"elicitations":[`)
	for _, q := range questions {
		if q.IsURL() {
			if data[len(data)-1] != '[' {
				data = append(data, ',')
			}
			data = append(data, q.Params...)
		}
	}
	return &wire.Error{
		Code: wire.CodeURLElicitationFirst, Message: "the server wants its user to open an address first",
		Data: append(data, "]}"...),
	}
}
