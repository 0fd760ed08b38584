package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
	"github.com/jackfield-dev/jackfield/internal/store"
)

// pollEvery is how old what this process knows of the store gets at most, when no
// hint reaches it.
const pollEvery = 2 * time.Second

// follower keeps the parts of this process current with the store. A hint only says
// that it is worth a look; what counts is the log, read from where it was left.
type follower struct {
	store *store.Store       // nil: there is none, and nothing can be written
	take  func(record.Batch) // hands news to the parts, one batch at a time
	log   *slog.Logger

	mu   sync.Mutex // held while news are fetched and taken; guards head
	head uint64

	state sync.Mutex // guards what follows
	since time.Time  // of the first of the looks in a row that failed; zero: the last one did not
}

// errNoStore is what whoever wants to write gets without a store.
var errNoStore = jackfield.Errorf(jackfield.Unavailable,
	"this gateway has no store, so nothing can be changed but its configuration file; its log says why, or it was started without a data directory")

// Write implements record.Writer.
func (f *follower) Write(ctx context.Context, by string, writes ...record.Write) ([]record.Record, error) {
	if f.store == nil {
		return nil, errNoStore
	}
	written, err := f.store.Write(ctx, by, writes...)
	if err != nil {
		return nil, err
	}
	// It is written, whatever comes now: what cannot be read at once is read soon.
	f.look(context.WithoutCancel(ctx), lookAtOwn)
	return written, nil
}

// begin takes all that there is.
func (f *follower) begin(ctx context.Context) error {
	if f.store == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	all, err := f.store.All(ctx)
	if err != nil {
		return err
	}
	f.head = all.Head
	f.take(all)
	return nil
}

// run looks whenever there may be something new, until ctx ends.
func (f *follower) run(ctx context.Context) {
	if f.store == nil {
		return
	}
	poke := make(chan struct{}, 1)
	var hints sync.WaitGroup
	hints.Go(func() {
		f.store.Hints(ctx, func() {
			select {
			case poke <- struct{}{}:
			default: // somebody is about to look
			}
		})
	})
	defer hints.Wait()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poke:
		case <-ticker.C:
		}
		f.look(ctx, lookWithin)
	}
}

// A look is bounded, so that a database that hangs holds up nobody for good.
const (
	lookWithin = time.Minute      // it may come to everything there is
	lookAtOwn  = 10 * time.Second // what was just written; somebody waits for the answer
)

// look takes what is new.
func (f *follower) look(ctx context.Context, within time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	news, err := f.store.Since(ctx, f.head)
	f.looked(ctx, err)
	if err != nil {
		return
	}
	if news.All && news.Head < f.head {
		// An older database was put back. What came after it has never been, so that its
		// revisions are no reason to keep anything.
		f.log.Warn("the store is an older one than before", slog.Uint64("was", f.head), slog.Uint64("is", news.Head))
		f.take(record.Batch{All: true, Head: f.head})
	}
	if news.All || len(news.Records)+len(news.Gone) > 0 {
		f.take(news)
	}
	f.head = news.Head
}

// looked remembers how a look ended, and tells the log when that is another end than
// the one before.
func (f *follower) looked(ctx context.Context, err error) {
	if err != nil && ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return // the gateway ends
	}
	f.state.Lock()
	before := f.since
	switch {
	case err == nil:
		f.since = time.Time{}
	case before.IsZero():
		f.since = time.Now()
	}
	f.state.Unlock()
	switch {
	case err != nil && before.IsZero():
		f.log.Error("the store cannot be read; what was known of it stays in force", slog.Any("error", err))
	case err == nil && !before.IsZero():
		f.log.Info("the store can be read again", slog.Duration("after", time.Since(before).Round(time.Millisecond)))
	}
}

// degraded is why what is in force may be old; nil: it is not.
func (f *follower) degraded() error {
	f.state.Lock()
	defer f.state.Unlock()
	if f.since.IsZero() {
		return nil
	}
	return jackfield.Errorf(jackfield.Unavailable,
		"the store cannot be read since %s: definitions, people and keys are as they were then, and nothing can be changed", f.since.UTC().Format(time.RFC3339))
}
