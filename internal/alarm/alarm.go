// Package alarm rings many alarms of one length with one timer.
//
// Most alarms of a gateway are stopped long before they ring: a call that is
// answered, a body that has arrived. A runtime timer for each costs more than the
// waiting itself, because it may have to wake another thread only to tell it of a
// new earliest time. A Clock keeps its alarms in the order in which they were set,
// which is the order in which they ring, and its one timer is set again only when
// it has run out.
package alarm

import (
	"sync"
	"time"
)

// Ringer is what an alarm is for.
type Ringer interface {
	// Ring is called once the time is up, on a goroutine of the clock's. It must not
	// block: other alarms wait behind it.
	Ring()
}

// Clock rings alarms the same time after they were set. Make one with New. All
// methods may be called concurrently.
type Clock struct {
	after time.Duration

	mu          sync.Mutex // guards what follows, and every alarm of the clock
	first, last *Alarm
	timer       *time.Timer // runs while there are alarms, and some time longer
	running     bool
}

// Alarm is one alarm, part of what it is for. The zero Alarm is not set. It must
// not be copied once it was set.
type Alarm struct {
	ringer     Ringer // nil: not set
	at         time.Time
	prev, next *Alarm
}

// New makes a clock whose alarms ring after d.
func New(d time.Duration) *Clock { return &Clock{after: d} }

// After is the time after which the clock's alarms ring.
func (c *Clock) After() time.Duration { return c.after }

// Set sets an alarm that is not set.
func (c *Clock) Set(a *Alarm, r Ringer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a.ringer, a.at = r, time.Now().Add(c.after)
	if a.prev = c.last; a.prev != nil {
		a.prev.next = a
	} else {
		c.first = a
	}
	c.last = a
	if c.running {
		return // it runs out before this alarm rings, and then looks again
	}
	c.running = true
	if c.timer == nil {
		c.timer = time.AfterFunc(c.after, c.ring)
	} else {
		c.timer.Reset(c.after)
	}
}

// Stop stops an alarm. It reports false when the alarm was not set or has rung;
// Ring may then still be under way.
func (c *Clock) Stop(a *Alarm) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.ringer == nil {
		return false
	}
	c.removeLocked(a)
	return true
}

// removeLocked takes an alarm out. mu is held.
func (c *Clock) removeLocked(a *Alarm) {
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		c.first = a.next
	}
	if a.next != nil {
		a.next.prev = a.prev
	} else {
		c.last = a.prev
	}
	*a = Alarm{}
}

// ring rings every alarm that is due, and sets the timer for the next.
func (c *Clock) ring() {
	for {
		r := c.due()
		if r == nil {
			return
		}
		r.Ring()
	}
}

// due takes out the next alarm that is due. When there is none it sees to the
// timer.
func (c *Clock) due() Ringer {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.first
	if a == nil {
		c.running = false
		return nil
	}
	if left := time.Until(a.at); left > 0 {
		c.timer.Reset(left)
		return nil
	}
	r := a.ringer
	c.removeLocked(a)
	return r
}
