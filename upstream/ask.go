package upstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// sideTimeout bounds messages that nobody waits for: answers to questions,
// cancellations.
const sideTimeout = 10 * time.Second

// maxQuestions of a server may be open on one connection.
const maxQuestions = 64

// questions are what the server asks while a connection is open.
type questions struct {
	// unowned: the server was seen to ask where nothing says for which call.
	unowned atomic.Bool
	// turn is taken by calls whose questions could not be told apart.
	turn chan struct{}

	mu   sync.Mutex // guards what follows
	open map[string]question
}

type question struct {
	owner  *call // nil: the connection's home
	cancel context.CancelCauseFunc
}

var errWithdrawn = errors.New("the server withdrew its question")

// takeTurn waits until r may be sent. On a connection where questions do not say
// which call they belong to, calls that can be asked go one at a time: with two
// open, a question for one person might be put to another.
func (q *questions) takeTurn(ctx context.Context, c *Conn, r *exchange.Request, peer exchange.Peer) (done func(), err error) {
	if peer == nil || !r.Caps.CanBeAsked() || !q.unowned.Load() || c.home() != nil {
		return func() {}, nil
	}
	select {
	case q.turn <- struct{}{}:
		return func() { <-q.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.life.Done():
		return nil, gone(c.Err())
	}
}

// add notes a question; false when it is open already or there are too many.
func (q *questions) add(id string, of question) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, twice := q.open[id]; twice || len(q.open) >= maxQuestions {
		return false
	}
	if q.open == nil {
		q.open = map[string]question{}
	}
	q.open[id] = of
	return true
}

func (q *questions) remove(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.open, id)
}

// withdraw ends the question that the server does not want answered any more.
func (q *questions) withdraw(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if of, ok := q.open[id]; ok {
		of.cancel(errWithdrawn)
	}
}

// dropOf ends the questions of a call that has ended.
func (q *questions) dropOf(x *call) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, of := range q.open {
		if of.owner == x {
			of.cancel(errWithdrawn)
		}
	}
}

// asked takes a request of the server's that belongs to x.
func (c *Conn) asked(x *call, m wire.Message) { c.ask(x, x.peer, m) }

// askedAtLarge takes a request of the server's that arrived where nothing says
// which call it belongs to.
func (c *Conn) askedAtLarge(m wire.Message) {
	if m.Method == "ping" {
		c.ask(nil, nil, m)
		return
	}
	c.questions.unowned.Store(true)
	if x := c.calls.only(); x != nil {
		c.ask(x, x.peer, m)
		return
	}
	c.ask(nil, c.home(), m)
}

func (c *Conn) home() exchange.Peer {
	if c.opts.Home == nil {
		return nil
	}
	return c.opts.Home()
}

func (c *Conn) ask(owner *call, peer exchange.Peer, m wire.Message) {
	switch {
	case m.Method == "ping":
		c.reply(wire.AppendResult(nil, m.ID, wire.Raw("{}")))
		return
	case c.modern():
		c.opts.Hooks.ignored("a request of a server that may not send any: " + m.Method)
		return
	case peer == nil:
		c.decline(m, errors.New("nobody is there who could be asked"))
		return
	}
	ctx, cancel := context.WithCancelCause(c.life)
	if !c.questions.add(string(m.ID), question{owner, cancel}) {
		cancel(nil)
		c.opts.Hooks.ignored("a question that is open already, or one too many: " + m.Method)
		return
	}
	if owner != nil && c.calls.find(owner.key) == nil { // it ended in the meantime, and took no question along
		cancel(errWithdrawn)
	}
	started := c.crew.run(func() {
		defer c.questions.remove(string(m.ID))
		defer cancel(nil)
		c.passOn(ctx, peer, m)
	})
	if !started {
		c.questions.remove(string(m.ID))
		cancel(nil)
	}
}

// passOn asks peer and sends the server its answer.
func (c *Conn) passOn(ctx context.Context, peer exchange.Peer, m wire.Message) {
	answers, err := peer.Ask(ctx, []exchange.Question{{Key: string(m.ID), Method: m.Method, Params: m.Params}})
	if err == nil && len(answers) != 1 {
		err = errors.New("there is no answer")
	}
	switch {
	case ctx.Err() != nil: // nobody waits for the answer
	case err != nil:
		c.decline(m, err)
	case answers[0].Err != nil:
		c.reply(wire.AppendError(nil, m.ID, answers[0].Err))
	default:
		c.reply(wire.AppendResult(nil, m.ID, answers[0].Result))
	}
}

// decline answers a question that nobody will: as a person would who does not
// want to, where the protocol knows such an answer, else with an error.
func (c *Conn) decline(m wire.Message, why error) {
	c.opts.Hooks.declined(m.Method, why.Error())
	if m.Method == "elicitation/create" && (c.caps.Form || c.caps.URL) {
		c.reply(wire.AppendResult(nil, m.ID, wire.Raw(`{"action":"decline"}`)))
		return
	}
	refusal := &wire.Error{Code: wire.CodeMethodNotFound, Message: m.Method + " is not possible here: " + why.Error()}
	if e := (*wire.Error)(nil); errors.As(why, &e) {
		refusal = e
	}
	c.reply(wire.AppendError(nil, m.ID, refusal))
}

// reply sends an answer to the server without making anybody wait for that.
func (c *Conn) reply(text []byte) {
	started := c.crew.run(func() {
		ctx, cancel := context.WithTimeout(c.life, sideTimeout)
		defer cancel()
		if err := c.link.send(ctx, outgoing{text: text}); err != nil {
			c.opts.Hooks.ignored("an answer that could not be sent: " + err.Error())
		}
	})
	if !started {
		c.opts.Hooks.ignored("an answer, because too many are under way")
	}
}
