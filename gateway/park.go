package gateway

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// askWindow is how long the questions of one round are collected: a server that
// has several asks them at once.
const askWindow = 20 * time.Millisecond

// parked is an exchange of a modern client that may outlive the POST that began
// it. When a legacy server asks something in the middle, the POST is answered with
// the question, and the exchange waits, with its connection, until the client comes
// back with the answer: that is one round. It has a goroutine and a context of its
// own. A POST is attached to it for one round; the exchange ends with the last POST
// that leaves before its round is answered, and with a client that does not come
// back.
type parked struct {
	*Handler
	id     [16]byte // random; known to clients inside the states of their rounds
	owner  string
	cancel context.CancelCauseFunc

	mu     sync.Mutex // guards what follows
	caps   exchange.Capabilities
	round  *round
	asked  []*asked    // questions that wait for their answers
	made   int         // questions so far
	window *time.Timer // runs while questions are collected; nil: they are not
	timer  *time.Timer // lets go of it when nobody comes; nil: it was never parked
	away   bool        // its client has questions, and is to come back
	paid   bool        // it holds one of the places
	over   bool
	end    outcome // once over

	// Room for the first round: most exchanges have no other.
	first round
	alone [1]*modernPeer
}

// round is one turn of the client: from a POST until its answer.
type round struct {
	number uint64        // 0 began the exchange
	posts  []*modernPeer // attached to it; guarded by the exchange's mu
	done   chan struct{} // closed with its end
	end    outcome
}

// outcome is how a round ended: with questions, or with the exchange.
type outcome struct {
	questions []byte // members of inputRequests; nil: the exchange is over
	res       exchange.Result
	err       error
}

// asked is a question without an answer.
type asked struct {
	exchange.Question
	answer chan exchange.Answer // has room for the one
}

func (r *round) answered() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// parks are the exchanges that wait for answers, and those that ended not long ago,
// for a client that did not get the result.
type parks struct {
	replica [8]byte // random; sealed into every ticket
	places  *quota

	mu   sync.Mutex // guards what follows
	by   map[[16]byte]*parked
	over [][16]byte // those that have ended, the oldest first, some of them gone
}

func newParks(l Limits) *parks {
	t := &parks{places: newQuota("calls that wait for answers", "limits.parked", l.Parked, l.OwnerParked), by: make(map[[16]byte]*parked)}
	_, _ = rand.Read(t.replica[:]) // never fails
	return t
}

func (t *parks) find(id [16]byte) *parked {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.by[id]
}

// add seats p, which has a place.
func (t *parks) add(p *parked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.by[p.id] = p
}

// late keeps one that has ended. Of those there are no more than places.
func (t *parks) late(id [16]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = append(t.over, id)
	if len(t.over) <= t.places.all {
		return
	}
	oldest := t.over[0]
	t.over = t.over[1:]
	if p := t.by[oldest]; p != nil {
		p.timer.Stop()
		delete(t.by, oldest)
	}
}

// close forgets all of them. They have ended.
func (t *parks) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.by {
		p.timer.Stop()
	}
	clear(t.by)
	t.over = nil
}

func (t *parks) remove(id [16]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.by, id)
}

// ticket is where an exchange is parked, and which round the client begins with it.
type ticket struct {
	replica [8]byte
	id      [16]byte
	round   uint64
}

func (t *ticket) text() []byte {
	b := append(t.replica[:], t.id[:]...)
	return binary.AppendUvarint(b, t.round)
}

func parseTicket(b []byte) (*ticket, error) {
	t := &ticket{}
	if len(b) > len(t.replica)+len(t.id) {
		n := copy(t.replica[:], b)
		n += copy(t.id[:], b[n:])
		var size int
		if t.round, size = binary.Uvarint(b[n:]); size == len(b)-n {
			return t, nil
		}
	}
	return nil, jackfield.Errorf(jackfield.Invalid, "this requestState is of another form; send the request again without it")
}

// parkable answers a request that the server may have questions about.
func (x *inbound) parkable(c broker.Caller, req *exchange.Request, peer *modernPeer, back *ticket, answers wire.Raw) {
	p, r, err := x.enterRound(c, req, peer, back, answers)
	if err != nil {
		status, e := x.fail(err, x.msg.Method, true)
		x.refuse(status, e)
		return
	}
	peer.watch()
	defer peer.close()
	ctx := x.r.Context()
	if back != nil { // who goes on may have come with another credential than who began
		var cancel context.CancelCauseFunc
		ctx, cancel = x.gate.bind(ctx, x.visit)
		defer cancel(nil)
	}
	select { // the end of the gate ends the exchange, and with it the round
	case <-r.done:
	case <-ctx.Done():
	}
	if p.leave(r, peer, context.Cause(ctx)) {
		status, e := x.fail(context.Cause(ctx), x.msg.Method, true)
		peer.finish(status, nil, e)
		return
	}
	var raw wire.Raw
	if r.end.questions != nil {
		next := ticket{replica: x.parks.replica, id: p.id, round: r.number + 1}
		if raw, err = x.inputRequired(r.end.questions, parkedState, next.text()); err == nil {
			peer.finish(http.StatusOK, raw, nil)
			return
		}
		r.end.err = err
	}
	status, raw, e := x.modernAnswer(c.Caps, r.end.res, r.end.err)
	peer.finish(status, raw, e)
}

// goesOn reports whether a request is the next round of a call under way here.
func (x *inbound) goesOn(in *parts) bool {
	state := in.params.Get("requestState")
	if state == nil {
		return false
	}
	_, back, err := x.resume(nil, state)
	return err == nil && back != nil && x.parks.find(back.id) != nil
}

// enterRound begins an exchange, or the next round of the one that back names.
func (x *inbound) enterRound(c broker.Caller, req *exchange.Request, peer *modernPeer, back *ticket, answers wire.Raw) (*parked, *round, error) {
	if back == nil {
		return x.beginParkable(c, req, peer)
	}
	if p := x.parks.find(back.id); p != nil {
		r, err := p.attach(back.round, answers, c.Caps, peer)
		return p, r, err
	}
	switch {
	case back.replica == x.parks.replica:
		return nil, nil, jackfield.Errorf(jackfield.Invalid,
			"nobody waits for this answer any more: the call was cancelled, or answered long ago; send the request again without requestState")
	case x.repeatable(c, req):
		// The answers went with the question; the server asks again.
		return x.beginParkable(c, req, peer)
	}
	return nil, nil, jackfield.Errorf(jackfield.Unavailable,
		"the gateway was restarted while the call waited for this answer, and the call may have been carried out in part; it is not sent a second time unless you send it again without requestState")
}

// repeatable reports whether a request that was carried out in part may be sent
// again.
func (x *inbound) repeatable(c broker.Caller, req *exchange.Request) bool {
	if req.Method != "tools/call" {
		return true // reading does no harm
	}
	tool, _ := wire.String(req.Params.Get("name"))
	return x.opts.Repeatable != nil && x.opts.Repeatable(c, tool)
}

// beginParkable begins an exchange with peer attached.
func (x *inbound) beginParkable(c broker.Caller, req *exchange.Request, peer *modernPeer) (*parked, *round, error) {
	v, err := x.gate.stay(x.visit) // the exchange may outlive this request, and Close waits for it
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := x.gate.bind(context.WithoutCancel(x.r.Context()), v)
	p := &parked{Handler: x.Handler, owner: x.who.Subject, cancel: cancel, caps: c.Caps}
	p.alone[0] = peer
	p.first = round{posts: p.alone[:], done: make(chan struct{})}
	p.round = &p.first
	held := x.held // the exchange has its params from the body
	x.held = 0
	go func() {
		defer p.gate.leave(v)
		defer p.bodies.Add(-held)
		res, err := p.opts.Broker.Do(ctx, c, req, p)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		cancel(nil)
		p.finish(outcome{res: res, err: err})
	}()
	return p, &p.first, nil
}

// attach begins the round of that number with the client's answers. Whoever comes
// for a round that has begun already joins it: the answers were given.
func (p *parked) attach(number uint64, answers wire.Raw, caps exchange.Capabilities, peer *modernPeer) (*round, error) {
	given := map[string]wire.Raw{}
	if answers != nil {
		if err := json.Unmarshal(answers, &given); err != nil {
			return nil, jackfield.Errorf(jackfield.Invalid, "inputResponses cannot be read: %w", err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case number == p.round.number:
		if !p.round.answered() {
			p.round.posts = append(p.round.posts, peer)
		}
		return p.round, nil
	case number != p.round.number+1 || !p.round.answered():
		return nil, jackfield.Errorf(jackfield.Invalid, "this requestState is of a round that is over; go on with the last one that you were given")
	}
	for _, a := range p.asked {
		if answer := given[a.Key]; answer != nil && answer[0] != '{' {
			return nil, jackfield.Errorf(jackfield.Invalid, "the answer to %q must be an object", a.Key)
		}
	}
	p.timer.Stop()
	p.expectLocked(false)
	p.caps = caps
	p.round = &round{number: number, posts: []*modernPeer{peer}, done: make(chan struct{})}
	if p.over {
		p.endRoundLocked(p.end)
		p.timer.Reset(p.opts.Timing.Replay)
		return p.round, nil
	}
	for _, a := range p.asked {
		if answer := given[a.Key]; answer != nil {
			a.answer <- exchange.Answer{Result: answer}
			a.Key = "" // answered
		} else if !caps.Answers(a.Question) {
			a.answer <- exchange.Answer{Err: cannotAnswer(a.Question)}
			a.Key = ""
		}
	}
	p.dropLocked(func(a *asked) bool { return a.Key == "" })
	p.collectLocked()
	return p.round, nil
}

// dropLocked takes questions out of those that wait. mu is held.
func (p *parked) dropLocked(which func(*asked) bool) {
	left := p.asked[:0]
	for _, a := range p.asked {
		if !which(a) {
			left = append(left, a)
		}
	}
	clear(p.asked[len(left):])
	p.asked = left
}

// leave takes a POST away from its round, for a reason if it left early. It reports
// whether the round was unanswered; without anybody attached the exchange ends.
func (p *parked) leave(r *round, peer *modernPeer, why error) (early bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, at := range r.posts {
		if at == peer {
			r.posts = append(r.posts[:i:i], r.posts[i+1:]...)
			break
		}
	}
	if r.answered() {
		return false
	}
	if len(r.posts) == 0 {
		p.cancel(why)
	}
	return true
}

// finish ends the exchange. The result stays for a while if the client was asked
// something: it may not have got the answer to its retry.
func (p *parked) finish(end outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over, p.end = true, end
	if p.window != nil {
		p.window.Stop()
	}
	if p.paid {
		p.paid = false
		p.parks.places.give(p.owner)
	}
	p.expectLocked(false)
	attended := !p.round.answered()
	if attended {
		p.endRoundLocked(end)
	}
	if p.timer == nil {
		return
	}
	switch large := len(end.res.Raw) > maxEventBytes; {
	case attended && large: // most likely the client has it
		p.timer.Stop()
		p.parks.remove(p.id)
		return
	case attended:
		p.timer.Reset(p.opts.Timing.Replay)
	case large:
		p.end = outcome{err: jackfield.Errorf(jackfield.Exhausted,
			"the server answered without waiting for the client, with %d bytes, which are too many to be kept here; the call was carried out", len(end.res.Raw))}
	}
	p.parks.late(p.id)
}

// expectLocked notes whether the client is to come back. mu is held.
func (p *parked) expectLocked(back bool) {
	switch {
	case back && !p.away:
		p.gate.expect(+1)
	case !back && p.away:
		p.gate.expect(-1)
	}
	p.away = back
}

// endRoundLocked answers all POSTs of the round. mu is held.
func (p *parked) endRoundLocked(end outcome) {
	p.round.end = end
	close(p.round.done)
}

// Notify passes a notification to who is attached. While nobody is, nobody hears.
func (p *parked) Notify(ctx context.Context, method string, params wire.Raw) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.round.answered() {
		p.ledger.dropped.Add(1)
		return nil
	}
	var err error
	for _, peer := range p.round.posts {
		err = peer.Notify(ctx, method, params)
	}
	return err
}

func cannotAnswer(q exchange.Question) *wire.Error {
	return &wire.Error{Code: wire.CodeMethodNotFound, Message: "the client did not say that it can answer " + clip(q.Method)}
}

// Ask passes questions on as the result of the round, or of the next one, and waits
// for the client to come back with the answers.
func (p *parked) Ask(ctx context.Context, questions []exchange.Question) ([]exchange.Answer, error) {
	mine, err := p.note(questions)
	if err != nil {
		return nil, err
	}
	answers := make([]exchange.Answer, len(mine))
	for i, a := range mine {
		select {
		case answers[i] = <-a.answer:
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			p.dropLocked(func(a *asked) bool { return slices.Contains(mine, a) })
			return nil, context.Cause(ctx)
		}
	}
	return answers, nil
}

// note adds questions to those of the round.
func (p *parked) note(questions []exchange.Question) ([]*asked, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range questions {
		if !p.caps.Answers(q) {
			return nil, cannotAnswer(q)
		}
	}
	if p.over || len(p.asked)+len(questions) > maxAsked {
		return nil, jackfield.Errorf(jackfield.Exhausted, "this request has %d questions open already", len(p.asked))
	}
	mine := make([]*asked, len(questions))
	for i, q := range questions {
		p.made++
		q.Key = "q" + strconv.Itoa(p.made)
		mine[i] = &asked{q, make(chan exchange.Answer, 1)}
	}
	p.asked = append(p.asked, mine...)
	p.collectLocked()
	return mine, nil
}

// collectLocked gives the client what is asked, in a moment. mu is held.
func (p *parked) collectLocked() {
	if len(p.asked) > 0 && p.window == nil && !p.round.answered() {
		p.window = time.AfterFunc(askWindow, p.give)
	}
}

// give ends the round with the questions that wait.
func (p *parked) give() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.window = nil
	if p.over || len(p.asked) == 0 || p.round.answered() {
		return
	}
	if err := p.parkLocked(); err != nil {
		_, e := p.describe(err)
		for _, a := range p.asked {
			a.answer <- exchange.Answer{Err: e}
		}
		p.asked = nil
		return
	}
	var all []byte
	for i, a := range p.asked {
		if i > 0 {
			all = append(all, ',')
		}
		all = appendQuestion(all, a.Key, a.Question)
	}
	p.expectLocked(true)
	p.endRoundLocked(outcome{questions: all})
	p.timer.Reset(p.opts.Timing.Park)
}

// parkLocked takes a place for the exchange, unless it has one. mu is held.
func (p *parked) parkLocked() error {
	if p.timer != nil {
		return nil
	}
	if err := p.parks.places.take(p.owner); err != nil {
		return err
	}
	_, _ = rand.Read(p.id[:]) // never fails
	p.timer = time.AfterFunc(p.opts.Timing.Park, p.expire)
	p.parks.add(p)
	p.paid = true
	return nil
}

// expire lets go of an exchange that nobody came back to.
func (p *parked) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.round.answered() {
		return // somebody did, just now
	}
	p.parks.remove(p.id)
	if !p.over {
		p.cancel(jackfield.Errorf(jackfield.Unavailable, "the client did not come back with an answer within %v", p.opts.Timing.Park))
	}
}
