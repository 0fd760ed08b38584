package store

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	channel = "jackfield" // of NOTIFY

	listenAgainMin = 100 * time.Millisecond
	listenAgainMax = 5 * time.Second
	// A connection that nothing comes over is tried this often: it may have died
	// without a word.
	listenCheck = 30 * time.Second
)

// hearers are those who wait for hints.
type hearers struct {
	mu  sync.Mutex
	all map[chan struct{}]struct{} // guarded by mu; each has room for one hint
}

func (h *hearers) add() chan struct{} {
	c := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil {
		h.all = map[chan struct{}]struct{}{}
	}
	h.all[c] = struct{}{}
	return c
}

func (h *hearers) remove(c chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.all, c)
}

func (h *hearers) tell() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.all {
		poke(c)
	}
}

// poke leaves a hint, unless there is one that nobody has taken yet.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Hints calls hint after commits that it hears of, of this process and of others,
// until ctx ends. Several commits may be one hint, and hints of others may be late or
// lost: who must know asks Since now and then as well.
func (s *Store) Hints(ctx context.Context, hint func()) {
	heard := s.hearers.add()
	defer s.hearers.remove(heard)
	var listening sync.WaitGroup
	defer listening.Wait()
	if s.listens != nil {
		listening.Go(func() { s.listen(ctx, heard) })
	}
	for {
		select {
		case <-heard:
			hint()
		case <-ctx.Done():
			return
		}
	}
}

// listen hears what other processes tell, over a connection of its own that it opens
// again and again.
func (s *Store) listen(ctx context.Context, heard chan struct{}) {
	const what = "hints of other gateways are not heard; their changes come later"
	wait := listenAgainMin
	for ctx.Err() == nil {
		began, err := s.listenOnce(ctx, heard)
		if ctx.Err() != nil {
			return
		}
		if began {
			wait = listenAgainMin
			s.troubles.over(what)
		}
		if s.troubles.news(what, "") {
			s.log.Warn(what, slog.Any("error", err))
		}
		timer := time.NewTimer(wait/2 + rand.N(wait)) //nolint:gosec // it only spreads who comes when
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		wait = min(2*wait, listenAgainMax)
	}
}

func (s *Store) listenOnce(ctx context.Context, heard chan struct{}) (began bool, err error) {
	c, err := pgx.ConnectConfig(ctx, s.listens.Copy())
	if err != nil {
		return false, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.Close(closing) // nobody waits for it
	}()
	if _, err = c.Exec(ctx, "LISTEN "+channel); err != nil {
		return false, err
	}
	poke(heard) // of what was missed
	for {
		waiting, cancel := context.WithTimeout(ctx, listenCheck)
		_, err = c.WaitForNotification(waiting)
		cancel()
		switch {
		case err == nil:
			poke(heard)
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			if err = check(ctx, c); err != nil {
				return true, err
			}
		default:
			return true, err
		}
	}
}

// check asks the connection for a sign of life.
func check(ctx context.Context, c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	return c.Ping(ctx)
}
