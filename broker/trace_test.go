package broker

import (
	"context"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// calledHouse is a house with a server that always answers the same.
func calledHouse(t testing.TB, o Options) *house {
	h := newHouse(t, o, "a")
	result := wire.Raw(`{"content":[{"type":"text","text":"hello"}]}`)
	h.set("a", func(s *script) {
		s.answer = func(c *conn, _ context.Context, _ *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
			c.got = nil
			return exchange.Result{Raw: result}, nil
		}
	})
	h.do(user("ann"), "tools/call", `{"name":"a__echo","arguments":{}}`)
	return h
}

func TestCountingCallsCostsNoAllocation(t *testing.T) {
	ended := 0
	allocations := func(trace *Trace) float64 {
		h, c := calledHouse(t, Options{Trace: trace}), user("ann")
		r, p := request(t, "tools/call", `{"name":"a__echo","arguments":{}}`), &peer{}
		return testing.AllocsPerRun(500, func() {
			if _, err := h.b.Do(context.Background(), c, r, p); err != nil {
				t.Fatal(err)
			}
		})
	}
	bare := allocations(nil)
	counted := allocations(&Trace{
		Began: func(*jackfield.Server) {},
		Ended: func(*jackfield.Server, time.Duration, *wire.Error, error) { ended++ },
	})
	if counted > bare || ended < 500 {
		t.Errorf("%v allocations for a call that is counted, %v for one that is not; %d calls ended", counted, bare, ended)
	}
}
