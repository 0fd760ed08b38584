package gateway

import (
	"net/http"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield/internal/alarm"
)

// clocks end what takes too long. Nearly every request needs them, and nearly none
// until they ring.
type clocks struct{ body, write, quiet *alarm.Clock }

func newClocks(t Timing) clocks {
	return clocks{body: alarm.New(t.Body), write: alarm.New(t.Write), quiet: alarm.New(t.Quiet)}
}

// deadline breaks off one reading of a body, or one writing of an answer, when it
// takes too long. Connections that know no deadlines (tests, some middleware) do
// without.
type deadline struct {
	alarm.Alarm
	clock *alarm.Clock
	set   func(*http.ResponseController, time.Time) error
	w     http.ResponseWriter

	mu   sync.Mutex // guards what follows
	rang bool
	over bool
}

// begin begins to count.
func (d *deadline) begin(c *alarm.Clock, w http.ResponseWriter, set func(*http.ResponseController, time.Time) error) {
	d.clock, d.w, d.set = c, w, set
	c.Set(&d.Alarm, d)
}

// end says that it was done in time. What follows on the connection may take its
// own time.
func (d *deadline) end() {
	if d.clock.Stop(&d.Alarm) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.rang {
		_ = d.set(http.NewResponseController(d.w), time.Time{})
	}
}

// Ring breaks it off.
func (d *deadline) Ring() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.over {
		d.rang = true
		_ = d.set(http.NewResponseController(d.w), time.Unix(1, 0))
	}
}
