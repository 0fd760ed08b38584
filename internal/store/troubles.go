package store

import (
	"sync"
	"time"
)

// sayAgain is after how long the same trouble is logged once more: a database that is
// away for a day is asked every few seconds.
const sayAgain = 10 * time.Minute

// troubles are what does not work now, by what that is, as the log was told. The zero
// value is ready.
type troubles struct {
	mu   sync.Mutex // guards what follows
	said map[string]trouble
}

type trouble struct {
	why string
	at  time.Time
}

// news reports whether the log was not told of late that something does not work for
// that reason.
func (t *troubles) news(what, why string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if last, ok := t.said[what]; ok && last.why == why && now.Sub(last.at) < sayAgain {
		return false
	}
	if t.said == nil {
		t.said = map[string]trouble{}
	}
	t.said[what] = trouble{why, now}
	return true
}

// over says that something works.
func (t *troubles) over(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.said, what)
}
