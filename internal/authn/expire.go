package authn

import (
	"context"
	"time"
)

// longestWait is how long Run waits at most, because the clock of the wall may be set,
// and a machine that sleeps does not count.
const longestWait = time.Minute

// Run tells of keys that expire, so that what was begun with them ends. It returns
// when ctx ends.
func (d *Directory) Run(ctx context.Context, lost func([]Lost)) {
	var timer *time.Timer
	defer func() {
		if timer != nil {
			timer.Stop()
		}
	}()
	for since := time.Now(); ; {
		now := time.Now()
		ended, next := d.expiring(since, now)
		since = now
		if len(ended) > 0 {
			lost(ended)
		}
		var wait <-chan time.Time
		if !next.IsZero() {
			in := min(time.Until(next), longestWait)
			if timer == nil {
				timer = time.NewTimer(in)
			} else {
				timer.Reset(in)
			}
			wait = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-wait:
		case <-d.wake:
		}
	}
}

// expiring are the keys that expired behind since and up to now, and when the next one
// does; zero: none does.
func (d *Directory) expiring(since, now time.Time) (ended []Lost, next time.Time) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, k := range d.keys.order {
		switch {
		case k.Expires.IsZero() || !k.Expires.After(since):
		case !k.Expires.After(now):
			ended = append(ended, Lost{Subject: k.subject(), Credential: k.id, Reason: "the key " + quoted(k.Name) + " has expired"})
		case next.IsZero() || k.Expires.Before(next):
			next = k.Expires
		}
	}
	return ended, next
}
