package api

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
	"github.com/jackfield-dev/jackfield/pool"
)

// Bounds of GET /events.
const (
	maxListeners      = 1000 // in all
	maxListenersOf    = 20   // of one principal
	maxQueued         = 1024 // connections whose change one listener has not read yet
	keptChanges       = 1024 // entries of the log in memory, for all listeners
	changesAtOnce     = 500  // entries of the log that are read at once
	heartbeat         = 15 * time.Second
	writeEventsWithin = 10 * time.Second // else the listener is too slow
	readLogWithin     = 5 * time.Second
)

// Events tells those who listen at GET /events what changes. The zero value is ready
// for use. Its methods are called by whoever makes the changes; they never block, and
// cost next to nothing while nobody listens.
type Events struct {
	listening atomic.Int64 // how many listen

	mu        sync.Mutex // guards what follows
	listeners map[*listener]struct{}
	head      uint64 // number of the newest change
	closed    error  // why nobody may listen any more; nil: they may

	reading sync.Mutex      // held while the log is read; guards recent
	recent  []record.Change // the newest entries that were read, without gaps
}

// moved is a connection whose state is another now.
type moved struct {
	pool.Key
	to Key
	at time.Time
}

// listener is one request to GET /events.
type listener struct {
	is     jackfield.Principal // guarded by the mutex of its Events, as is what follows
	queue  []pool.Key          // whose state has changed, oldest first
	states map[pool.Key]moved
	end    error // why it is to end

	wake chan struct{} // has room for one
}

func (l *listener) poke() {
	select {
	case l.wake <- struct{}{}:
	default: // it is about to look
	}
}

// Changed says that the store has news, up to those of the batch.
func (e *Events) Changed(b record.Batch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.head = max(e.head, b.Head)
	for l := range e.listeners {
		l.poke()
	}
}

// Cut ends the streams of those who match, for the reason given.
func (e *Events) Cut(match func(jackfield.Principal) bool, reason error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := range e.listeners {
		if match(l.is) {
			l.end = reason
			l.poke()
		}
	}
}

// Close ends all streams, for the reason given, and lets nobody listen any more.
func (e *Events) Close(reason error) {
	e.mu.Lock()
	e.closed = reason
	e.mu.Unlock()
	e.Cut(func(jackfield.Principal) bool { return true }, reason)
}

// DialStart says that a dial has begun. It, DialDone and Closed are what pool.Trace
// has under these names.
func (e *Events) DialStart(k pool.Key) {
	e.moved(k, Key{State: StateConnecting, Stage: "dialing"})
}

// DialDone says that a dial has ended.
func (e *Events) DialDone(k pool.Key, _ time.Duration, err error) {
	switch f := jackfield.FailureOf(err); {
	case err == nil:
		e.moved(k, Key{State: StateReady})
	case f != nil:
		e.moved(k, Key{
			State: StateFailed, Stage: f.Stage, Reason: f.At(time.Now()), Failure: shown(f), NextAttempt: moment(f.Next), Attempts: f.Attempts,
		})
	default:
		e.moved(k, Key{State: StateFailed, Reason: (&jackfield.Failure{Message: err.Error()}).At(time.Time{})})
	}
}

// Closed says that a connection was closed.
func (e *Events) Closed(k pool.Key, reason string, _ error) {
	e.moved(k, Key{State: StateIdle, Reason: reason})
}

// moved puts the state of a connection into the queue of everybody whom it could
// concern. Of one that changes faster than it is read, the newest state is told.
func (e *Events) moved(k pool.Key, to Key) {
	if e.listening.Load() == 0 {
		return
	}
	now := time.Now()
	to.Scope, to.Isolation, to.Since = k.Scope.String(), isolation(k), moment(now)
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := range e.listeners {
		if l.end != nil || !concerns(l.is, k.Scope) {
			continue
		}
		if _, queued := l.states[k]; !queued {
			if len(l.queue) == maxQueued {
				l.end = jackfield.Errorf(jackfield.Exhausted,
					"more than %d connections changed that were not read; come back with Last-Event-ID, and look at /connections", maxQueued)
				l.poke()
				continue
			}
			l.queue = append(l.queue, k)
		}
		l.states[k] = moved{Key: k, to: to, at: now}
		l.poke()
	}
}

// concerns reports whether somebody has to do with connections of a scope: admins
// with all, others with those that they use.
func concerns(who jackfield.Principal, s jackfield.Scope) bool {
	return who.Role.Covers(jackfield.RoleAdmin) || who.Is(s)
}

// listen begins a listener; leave ends it.
func (e *Events) listen(who jackfield.Principal) (*listener, uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed != nil {
		return nil, 0, e.closed
	}
	own := 0
	for l := range e.listeners {
		if l.is.Subject == who.Subject {
			own++
		}
	}
	if own >= maxListenersOf || len(e.listeners) >= maxListeners {
		return nil, 0, jackfield.Errorf(jackfield.Exhausted,
			"there are %d listeners, %d of them yours; at most %d may be, %d of one principal: end some", len(e.listeners), own, maxListeners, maxListenersOf)
	}
	l := &listener{is: who, states: map[pool.Key]moved{}, wake: make(chan struct{}, 1)}
	if e.listeners == nil {
		e.listeners = map[*listener]struct{}{}
	}
	e.listeners[l] = struct{}{}
	e.listening.Add(1)
	return l, e.head, nil
}

func (e *Events) newest() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.head
}

func (e *Events) leave(l *listener) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.listeners, l)
	e.listening.Add(-1)
}

// take is what waits for a listener, who is who by now.
func (e *Events) take(l *listener, who jackfield.Principal) ([]moved, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l.is = who
	out := make([]moved, 0, len(l.queue))
	for _, k := range l.queue {
		out = append(out, l.states[k])
	}
	l.queue = l.queue[:0]
	clear(l.states)
	return out, l.end
}

// since is what the log has behind a number: from memory, where it is the same for
// all listeners, else from the store. gap reports that the log does not reach back
// that far.
func (e *Events) since(ctx context.Context, log func(context.Context, uint64, int) ([]record.Change, error), number uint64) (changes []record.Change, gap bool, err error) {
	head := e.newest()
	if log == nil || number >= head {
		return nil, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readLogWithin)
	defer cancel()
	e.reading.Lock()
	defer e.reading.Unlock()
	if len(e.recent) == 0 || number+1 < e.recent[0].Number { // further back than others are
		changes, err = log(ctx, number, changesAtOnce)
		if err == nil && len(e.recent) == 0 {
			e.keep(changes)
		}
		return changes, err == nil && (len(changes) == 0 || changes[0].Number > number+1), err
	}
	if last := e.recent[len(e.recent)-1].Number; last < head {
		more, err := log(ctx, last, changesAtOnce)
		if err != nil {
			return nil, false, err
		}
		e.keep(more)
	}
	at, _ := slices.BinarySearchFunc(e.recent, number+1, func(c record.Change, n uint64) int { return cmp.Compare(c.Number, n) })
	changes = slices.Clone(e.recent[at:])
	return changes, len(changes) > 0 && changes[0].Number > number+1, nil
}

// keep adds entries to the recent ones, which have no gaps. Called with reading held.
func (e *Events) keep(changes []record.Change) {
	if n := len(e.recent); n > 0 && len(changes) > 0 && changes[0].Number != e.recent[n-1].Number+1 {
		e.recent = nil
	}
	e.recent = append(e.recent, changes...)
	if over := len(e.recent) - keptChanges; over > 0 {
		e.recent = slices.Clone(e.recent[over:])
	}
}

// changeOf is an entry of the log as the API tells it.
func changeOf(c record.Change) Change {
	out := Change{Number: c.Number, Kind: string(c.Kind), ID: c.ID, Gone: c.Gone, At: c.At.UTC().Truncate(time.Millisecond), By: c.By}
	switch c.Kind { //nolint:exhaustive // the ids of the others are names
	case record.Server:
		if at := strings.LastIndexByte(c.ID, '/'); at >= 0 {
			out.Scope, out.Name = c.ID[:at], c.ID[at+1:]
		}
	case record.Variable:
		if parts := strings.Split(c.ID, "\x1f"); len(parts) == 3 {
			out.ID = strings.Join(parts, "/")
			out.Scope, out.Server, out.Name = parts[0], jackfield.ServerID(parts[1]), parts[2]
		}
	}
	return out
}

// view is what a listener sees, then and now.
type view struct {
	who           jackfield.Principal
	before, after []jackfield.Server
	resumed       bool // what it saw before is not known
}

// tells is the change as the one who sees the view may know it; false: not at all.
// Whoever resumes after a removal cannot be told from somebody who never saw what was
// removed, and gets to know only that it is worth to look.
func (v *view) tells(raw record.Change, ownKey func(id string) bool) (Change, bool) {
	c := changeOf(raw)
	if v.who.Role.Covers(jackfield.RoleAdmin) {
		return c, true
	}
	if v.who.Only != nil && (raw.Kind == record.Server || raw.Kind == record.Variable) {
		name := c.ID
		if raw.Kind == record.Variable {
			name = string(c.Server)
		}
		if !slices.Contains(v.who.Only, name[strings.LastIndexByte(name, '/')+1:]) {
			return Change{}, false
		}
	}
	switch raw.Kind {
	case record.Server:
		scope, ok := parseScope(c.Scope, v.who)
		switch {
		case ok != nil || !v.who.Is(scope):
			return Change{}, false
		case scope == v.who.Scope() || v.named(c.Name):
			return c, true
		case v.resumed && c.Gone:
			return Change{Number: c.Number, Kind: c.Kind, Gone: true, At: c.At}, true
		}
		return c, v.who.MayEdit(scope).Allowed
	case record.Variable:
		return c, c.Scope == v.who.Scope().String()
	case record.User:
		return c, c.ID == v.who.Subject
	case record.Team:
		return c, slices.Contains(v.who.Teams, c.ID)
	case record.Key:
		return c, c.By == v.who.Subject || !c.Gone && ownKey(c.ID)
	case record.Setting:
	}
	return Change{}, false
}

func (v *view) named(name string) bool {
	named := func(s jackfield.Server) bool { return s.Name == name }
	return slices.ContainsFunc(v.before, named) || slices.ContainsFunc(v.after, named)
}

// connection is the change as the one who sees the view may know it.
func (v *view) connection(m *moved) (ConnectionChange, bool) {
	if !concerns(v.who, m.Scope) {
		return ConnectionChange{}, false
	}
	for _, all := range [][]jackfield.Server{v.after, v.before} {
		if at := slices.IndexFunc(all, func(s jackfield.Server) bool { return s.ID == m.Server }); at >= 0 {
			return ConnectionChange{Connection: Connection{Server: all[at].Name, ID: m.Server, Key: m.to}, At: m.at.UTC().Truncate(time.Millisecond)}, true
		}
	}
	return ConnectionChange{}, false
}
