package telemetry

import (
	"context"
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	window      = time.Minute // in which a kind of line is written once
	mostAgain   = 100         // lines of kinds that were seen before, in one window
	mostKinds   = 1024        // kinds of lines that are remembered
	mostScopes  = 10_000      // scopes of one kind of line that are told apart
	sweepsApart = time.Second // the least time between two looks at what is due
)

// Limiter is a slog.Handler that writes a kind of line once a minute. What makes
// a kind is level, message and the attribute "server". The first line of a kind is
// written at once. Those that follow within the minute are counted, and the last
// of them is written when the minute is over, with "times", how many lines it
// stands for, and, where they have the attribute "scope", with "scopes", how many
// different ones. No more than a hundred such lines are written in a minute; what
// is beyond waits and goes on counting. Lines below Info pass as they come: whoever
// asks for them wants all.
type Limiter struct {
	next    slog.Handler
	server  string // the attribute, where a logger has it already
	scope   string // likewise
	grouped bool   // attributes that follow are not at the top
	kinds   *kinds
}

// Limit puts a Limiter before next. Close it.
func Limit(next slog.Handler) *Limiter {
	return &Limiter{next: next, kinds: &kinds{seed: maphash.MakeSeed(), by: map[kind]*line{}}}
}

// Enabled is what the handler behind says.
func (l *Limiter) Enabled(ctx context.Context, level slog.Level) bool {
	return l.next.Enabled(ctx, level)
}

// Handle writes the line, or counts it.
func (l *Limiter) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo {
		return l.next.Handle(ctx, r)
	}
	k, scope := kind{level: r.Level, message: r.Message, server: l.server}, l.scope
	if !l.grouped {
		r.Attrs(func(a slog.Attr) bool {
			l.look(a, &k.server, &scope)
			return true
		})
	}
	if l.kinds.counted(k, scope, r, l.next) {
		return nil
	}
	return l.next.Handle(ctx, r)
}

// WithAttrs keeps in mind what makes a kind.
func (l *Limiter) WithAttrs(attrs []slog.Attr) slog.Handler {
	more := *l
	more.next = l.next.WithAttrs(attrs)
	if !l.grouped {
		for _, a := range attrs {
			l.look(a, &more.server, &more.scope)
		}
	}
	return &more
}

// WithGroup is that of the handler behind.
func (l *Limiter) WithGroup(name string) slog.Handler {
	more := *l
	more.next, more.grouped = l.next.WithGroup(name), l.grouped || name != ""
	return &more
}

func (*Limiter) look(a slog.Attr, server, scope *string) {
	switch a.Key {
	case "server":
		*server = a.Value.String()
	case "scope":
		*scope = a.Value.String()
	}
}

// Close writes what was counted. What comes later is written as it comes.
func (l *Limiter) Close() {
	k := l.kinds
	k.mu.Lock()
	k.closed = true
	if k.timer != nil {
		k.timer.Stop()
	}
	var due []due
	for _, ln := range k.by {
		if ln.times > 0 {
			due = append(due, ln.take(time.Now()))
		}
	}
	clear(k.by)
	k.mu.Unlock()
	write(due)
}

// kind is what lines have in common that count as one.
type kind struct {
	level           slog.Level
	message, server string
}

// kinds are the lines of the last minute.
type kinds struct {
	seed maphash.Seed

	mu     sync.Mutex // guards what follows
	by     map[kind]*line
	timer  *time.Timer // set while there is something in by
	began  time.Time   // of the window that spent belongs to
	spent  int         // lines of kinds that were seen before
	beyond line        // of kinds for which there was no room
	closed bool
}

// line is what is known of one kind.
type line struct {
	since  time.Time // when one was written
	times  int       // not written since
	scopes map[uint64]struct{}
	last   slog.Record
	out    slog.Handler
}

// counted reports whether the line was counted, and must not be written now.
func (k *kinds) counted(of kind, scope string, r slog.Record, out slog.Handler) bool {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	ln := k.by[of]
	switch {
	case ln != nil:
	case len(k.by) < mostKinds:
		k.by[of] = &line{since: now}
		k.armLocked(window)
		return false
	default:
		ln = &k.beyond
	}
	ln.times++
	ln.last, ln.out = r.Clone(), out
	if scope != "" && len(ln.scopes) < mostScopes {
		if ln.scopes == nil {
			ln.scopes = map[uint64]struct{}{}
		}
		ln.scopes[maphash.String(k.seed, scope)] = struct{}{}
	}
	return true
}

// armLocked looks again after d, unless that is due already. mu is held.
func (k *kinds) armLocked(d time.Duration) {
	if k.timer == nil {
		k.timer = time.AfterFunc(max(d, sweepsApart), k.sweep)
	}
}

// sweep writes what is due and forgets kinds that did not come again.
func (k *kinds) sweep() {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return
	}
	now := time.Now()
	if now.Sub(k.began) >= window {
		k.began, k.spent = now, 0
	}
	all := k.dueLocked(now)
	next := window
	for _, ln := range k.by {
		next = min(next, max(ln.since.Add(window).Sub(now), k.waitLocked(ln, now)))
	}
	k.timer = nil
	if len(k.by) > 0 {
		k.armLocked(next)
	}
	k.mu.Unlock()
	write(all)
}

// waitLocked is how long a line waits for a new window when this one is used up. mu
// is held.
func (k *kinds) waitLocked(ln *line, now time.Time) time.Duration {
	if ln.times == 0 || k.spent < mostAgain {
		return 0
	}
	return k.began.Add(window).Sub(now)
}

// dueLocked takes the lines whose minute is over, the longest waiting first. mu is
// held.
func (k *kinds) dueLocked(now time.Time) []due {
	var over []*line
	for of, ln := range k.by {
		switch {
		case now.Sub(ln.since) < window:
		case ln.times == 0:
			delete(k.by, of)
		default:
			over = append(over, ln)
		}
	}
	slices.SortFunc(over, func(a, b *line) int { return a.since.Compare(b.since) })
	if k.beyond.times > 0 {
		over = append(over, &k.beyond)
	}
	over = over[:min(len(over), mostAgain-k.spent)]
	k.spent += len(over)
	all := make([]due, 0, len(over))
	for _, ln := range over {
		all = append(all, ln.take(now))
	}
	return all
}

// due is a line to write.
type due struct {
	record slog.Record
	out    slog.Handler
}

// take is the line that stands for those that were counted, which begin anew.
func (ln *line) take(now time.Time) due {
	d := due{ln.last, ln.out}
	if ln.times > 1 {
		d.record.AddAttrs(slog.Int("times", ln.times))
		if len(ln.scopes) > 1 {
			d.record.AddAttrs(slog.Int("scopes", len(ln.scopes)))
		}
	}
	*ln = line{since: now}
	return d
}

func write(all []due) {
	for _, d := range all {
		_ = d.out.Handle(context.Background(), d.record) // there is nowhere to say that a log cannot be written
	}
}
