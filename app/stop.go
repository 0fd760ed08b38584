package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/pool"
)

// phase is how far the life of a gateway is. It only goes forward.
type phase struct{ atomic.Int32 }

const (
	starting int32 = iota
	serving
	draining
)

// advance goes to the phase, unless a later one was reached.
func (p *phase) advance(to int32) {
	for {
		now := p.Load()
		if now >= to || p.CompareAndSwap(now, to) {
			return
		}
	}
}

// defaultStop is how long calls under way may take when the gateway is stopped.
const defaultStop = 10 * time.Second

// StopTime is how long Stop waits for calls under way before it cuts them.
func (l Limits) StopTime() time.Duration { return cmp.Or(l.Stop, defaultStop) }

// Stop ends the gateway. From here on /readyz is red, and new sessions and calls get
// an error that says to try again. Calls under way have Limits.Stop to end; what is
// left then is cut, with an error that says so. Sessions at servers and child
// processes are ended after that. Stop returns when all of it is done, or, when ctx
// ends first, with what did not end by itself; then it hurries through the rest.
// What was cut is logged. Stop may be called more than once.
func (a *App) Stop(ctx context.Context) error {
	a.mu.Lock()
	first := !a.stopped
	a.stopped = true
	cancel := a.cancel
	a.mu.Unlock()
	if !first {
		return nil
	}
	a.parts.phase.advance(draining)
	if cancel != nil {
		cancel()
	}
	began := time.Now()
	drain, enough := context.WithTimeout(ctx, a.opts.Config.Limits.StopTime())
	cut := a.parts.gateway.Drain(drain)
	enough()
	if cut > 0 {
		a.log.Warn("calls are cut", slog.Int("calls", cut), slog.Duration("after", time.Since(began).Round(time.Millisecond)))
	}
	sessions, open := a.parts.gateway.Status().Sessions, a.parts.open()
	err := a.end(ctx)
	a.log.Info("stopped", tookAttr(time.Since(began)), slog.Int("cut", cut), slog.Int("sessions", sessions),
		slog.Int("connections", open), slog.Int("left", a.parts.open()))
	a.parts.limiter.Close()
	return errors.Join(err, a.parts.close(ctx))
}

// lastWords is how long the answers of calls that are cut may take to reach their
// clients when Stop is in a hurry.
const lastWords = time.Second

var errEnds = jackfield.Errorf(jackfield.Unavailable, "the gateway is shutting down; come back in a moment")

// end ends all that is not a call.
func (a *App) end(ctx context.Context) error {
	if ctx.Err() != nil {
		words, said := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer said()
		ctx = words
	}
	var errs []error
	step := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	shut := func(s *http.Server) error {
		if err := s.Shutdown(ctx); err != nil {
			return errors.Join(err, s.Close())
		}
		return nil
	}
	a.parts.events.Close(errEnds) // else those streams would be waited for
	step("clients' requests", a.parts.gateway.Close(ctx))
	step("clients' connections", shut(a.http))
	step("what clients listen for", a.parts.broker.Close(ctx))
	step("listing of servers", a.parts.catalog.Close(ctx))
	step("connections to servers", a.parts.board.Close(ctx))
	if a.metrics != nil {
		step("the listener for metrics", shut(a.metrics))
	}
	a.background.Wait()
	return errors.Join(errs...)
}

// open is how many connections to servers are open.
func (p *parts) open() int {
	n := 0
	for _, st := range p.board.Status() {
		if st.State != pool.Failed && st.Stage != "queued" {
			n++
		}
	}
	return n
}
