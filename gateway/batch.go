package gateway

import (
	"encoding/json"
	"net/http"
	"sync"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// maxBatch is how many messages a batch may hold.
const maxBatch = 100

// item is one message of a batch.
type item struct {
	msg wire.Message
	in  parts
}

// legacyBatch answers a batch, which one revision knows (2025-03-26, base
// protocol, batching): its answers and all that comes before them on one stream.
func (x *inbound) legacyBatch(body []byte) {
	var raw []wire.Raw
	if err := json.Unmarshal(body, &raw); err != nil {
		x.refuse(http.StatusBadRequest, &wire.Error{Code: wire.CodeParse, Message: "the body is not valid JSON"})
		return
	}
	if x.r.Header.Get(wire.HeaderProtocolVersion) == exchange.Modern || x.r.Header.Get(wire.HeaderSession) == "" {
		x.refuseBatch("send one message a request; only sessions of protocol version " + exchange.V20250326 + " may send batches")
		return
	}
	s := x.session()
	if s == nil {
		return
	}
	defer x.sessions.release(s)
	if s.version != exchange.V20250326 {
		x.refuseBatch("send one message a request; protocol version " + s.version + " has no batches")
		return
	}
	items, why := readBatch(raw)
	if why != "" {
		x.refuseBatch(why)
		return
	}
	requests := items[:0]
	for i := range items {
		y := *x
		y.msg = items[i].msg
		switch y.msg.Kind {
		case wire.Response:
			s.answered(y.msg)
		case wire.Notification:
			y.legacyNotification(s, &items[i].in)
		case wire.Request:
			requests = append(requests, items[i])
		}
	}
	if len(requests) == 0 {
		x.w.WriteHeader(http.StatusAccepted)
		return
	}
	if x.gate.draining.Load() {
		x.refuseError(errClosing)
		return
	}
	x.answerBatch(s, requests)
}

func (x *inbound) refuseBatch(message string) {
	x.refuse(http.StatusBadRequest, &wire.Error{Code: wire.CodeInvalidRequest, Message: message})
}

// readBatch scans every message before any is acted on; why says what is wrong.
func readBatch(raw []wire.Raw) (items []item, why string) {
	if len(raw) == 0 || len(raw) > maxBatch {
		return nil, "a batch must hold 1 to 100 messages"
	}
	items = make([]item, len(raw))
	for i, text := range raw {
		var err error
		if items[i].msg, err = wire.Parse(text); err == nil {
			items[i].in, err = split(items[i].msg.Params)
		}
		if err != nil {
			return nil, "in a batch: " + err.Error()
		}
		if items[i].msg.Method == "initialize" {
			return nil, "initialize must not be part of a batch"
		}
	}
	return items, ""
}

// answerBatch answers the requests at once and ends when the last is answered.
func (x *inbound) answerBatch(s *session, requests []item) {
	st := s.newStream(&x.ledger)
	all := &reply{x: x, open: func() *stream { return st }}
	all.mu.Lock()
	all.streamLocked()
	all.mu.Unlock()
	var wg sync.WaitGroup
	for i := range requests {
		wg.Go(func() {
			y := *x
			y.msg = requests[i].msg
			v, err := y.gate.stay(x.visit) // each has an end of its own
			if err != nil {
				_, e := y.fail(err, y.msg.Method, false)
				st.push(wire.AppendError(nil, y.msg.ID, e), needed)
				return
			}
			defer y.gate.leave(v)
			y.visit = v
			y.legacyRequest(s, &requests[i].in, &reply{x: &y, stream: st, part: true})
		})
	}
	wg.Wait()
	all.ended(all.finished())
	s.retire(st, true, x.opts.Timing.Replay)
}
