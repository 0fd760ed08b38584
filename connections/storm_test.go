package connections_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/connections"
	"github.com/jackfield-dev/jackfield/internal/telemetry"
	"github.com/jackfield-dev/jackfield/pool"
)

// wire is a connection that works.
type wire struct{}

func (*wire) Err() error                  { return nil }
func (*wire) Close(context.Context) error { return nil }
func (*wire) Abort(error)                 {}

// weather is all servers at once: there or not, and how many are being dialed.
type weather struct {
	away      atomic.Bool
	now, peak atomic.Int64
	dials     atomic.Int64
}

func (w *weather) dial(ctx context.Context, s jackfield.Server, _ pool.Key, _ string) (*wire, error) {
	w.dials.Add(1)
	now := w.now.Add(1)
	defer w.now.Add(-1)
	for most := w.peak.Load(); now > most && !w.peak.CompareAndSwap(most, now); most = w.peak.Load() {
	}
	took := time.NewTimer(rand.N(40 * time.Millisecond))
	defer took.Stop()
	select {
	case <-took.C:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if w.away.Load() {
		return nil, fmt.Errorf("dial tcp %s: connection refused", s.Name)
	}
	return &wire{}, nil
}

// TestAStorm: all servers are away for a while and all owners want all of them. Few
// dials find that out, nobody floods anything, the log stays readable, and all are
// served soon after the servers are back.
func TestAStorm(t *testing.T) {
	const servers, owners = 37, 25
	synctest.Test(t, func(t *testing.T) {
		w := &weather{}
		w.away.Store(true)
		defs := map[jackfield.ServerID]jackfield.Server{}
		for i := range servers {
			name := fmt.Sprintf("server%02d", i)
			defs[jackfield.ServerID(name)] = jackfield.Server{
				ID: jackfield.ServerID(name), Name: name, Version: 1,
				Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP}, Usage: jackfield.Usage{Sharing: jackfield.SharingOwner},
			}
		}
		var text strings.Builder
		limiter := telemetry.Limit(slog.NewTextHandler(&text, nil))
		log := slog.New(limiter)
		b := connections.New(connections.Options[*wire]{
			Lookup: func(id jackfield.ServerID) (jackfield.Server, bool) { s, ok := defs[id]; return s, ok },
			Dial:   w.dial,
			Classify: func(err error) pool.Failure {
				return pool.Failure{
					Failure:   jackfield.Failure{Kind: jackfield.FailureRefused, Stage: "connect", Message: err.Error()},
					Temporary: true, DialStage: true,
				}
			},
			Trace: &pool.Trace{DialDone: func(k pool.Key, _ time.Duration, err error) {
				if err != nil {
					log.Warn("no connection", slog.String("server", string(k.Server)), slog.String("scope", k.Scope.String()), slog.Any("error", err))
				}
			}},
		})
		var refused, served atomic.Int64
		var work sync.WaitGroup
		for i := range owners {
			repository := b.Repository(jackfield.User(fmt.Sprint("owner", i)))
			for name := range defs {
				work.Go(func() {
					for {
						l, err := repository.Get(t.Context(), string(name))
						if err == nil {
							served.Add(1)
							l.Release()
							return
						}
						refused.Add(1)
						if f := jackfield.FailureOf(err); f == nil || f.Kind != jackfield.FailureRefused || f.Next.IsZero() {
							t.Errorf("an error that does not say when to come again: %v", err)
						}
						time.Sleep(rand.N(time.Second))
					}
				})
			}
		}
		const away = 20 * time.Second
		time.Sleep(away)
		limiter.Close() // what was counted in this minute is written
		// At first as many as nobody knew better; then one for each server that looks
		// whether it is back, twice or three times a second.
		missed := w.dials.Load()
		if most := int64(servers * (8 + 4*int(away/time.Second))); missed > most || refused.Load() < 4*missed {
			t.Errorf("%d dials while nobody was there, for %d refusals; want at most %d dials", missed, refused.Load(), most)
		}
		lines := strings.Split(strings.TrimSpace(text.String()), "\n")
		counts := map[string]int{}
		for _, l := range lines {
			_, rest, _ := strings.Cut(l, "server=")
			server, _, _ := strings.Cut(rest, " ")
			counts[server]++
		}
		for server, n := range counts {
			if n > 2 { // the first of the minute, and the sum at its end
				t.Errorf("%d lines about %s", n, server)
			}
		}
		if len(lines) > 2*servers || !strings.Contains(text.String(), "times=") {
			t.Errorf("%d lines, the last: %s", len(lines), lines[len(lines)-1])
		}
		w.away.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		if served.Load() == 0 {
			t.Error("nobody was served within a second of the return")
		}
		work.Wait()
		if served.Load() != servers*owners || w.peak.Load() > 64 || w.dials.Load()-missed > servers*owners+10*servers {
			t.Errorf("%d served; %d dials at a time, %d after the return", served.Load(), w.peak.Load(), w.dials.Load()-missed)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.Close(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		t.Logf("%d dials while away, %d refusals, %d lines", missed, refused.Load(), len(lines))
	})
}
