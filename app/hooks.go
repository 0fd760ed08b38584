package app

import (
	"errors"
	"log/slog"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/pool"
	"github.com/jackfield-dev/jackfield/upstream"
)

func serverAttr[T ~string](name T) slog.Attr { return slog.String("server", string(name)) }

func scopeAttr(s jackfield.Scope) slog.Attr { return slog.String("scope", s.String()) }

func tookAttr(d time.Duration) slog.Attr { return slog.Duration("took", d.Round(time.Millisecond)) }

// failureAttr is the kind of a failure, in the words of the API.
func failureAttr(err error) slog.Attr {
	if f := jackfield.FailureOf(err); f != nil {
		return slog.String("failure", f.Label())
	}
	return slog.String("failure", string(jackfield.FailureOther))
}

// poolTrace logs what becomes of connections, and tells whoever else wants to know.
func (p *parts) poolTrace(also *pool.Trace) *pool.Trace {
	if also == nil {
		also = &pool.Trace{}
	}
	return &pool.Trace{
		DialStart: func(k pool.Key) {
			if also.DialStart != nil {
				also.DialStart(k)
			}
			p.events.DialStart(k)
		},
		Waited: also.Waited,
		DialDone: func(k pool.Key, took time.Duration, err error) {
			if also.DialDone != nil {
				also.DialDone(k, took, err)
			}
			p.metrics.Dialed(k.Server, took, err)
			p.events.DialDone(k, took, err)
			if err != nil {
				p.log.Warn("no connection", serverAttr(k.Server), scopeAttr(k.Scope), failureAttr(err), tookAttr(took), slog.Any("error", err))
				return
			}
			p.log.Debug("connected", serverAttr(k.Server), scopeAttr(k.Scope), tookAttr(took))
		},
		Closed: func(k pool.Key, reason string, err error) {
			if also.Closed != nil {
				also.Closed(k, reason, err)
			}
			p.events.Closed(k, reason, err)
			p.log.Debug("closed", serverAttr(k.Server), scopeAttr(k.Scope), slog.String("reason", reason), slog.Any("error", err))
		},
	}
}

// catalogHooks logs what becomes of listings.
func (p *parts) catalogHooks() catalog.Hooks {
	return catalog.Hooks{
		Fetched: func(s jackfield.Server, owner jackfield.Scope, took time.Duration, err error) {
			p.metrics.Listed(s.ID, err)
			switch _, unreached := errors.AsType[*upstream.DialError](err); {
			case unreached, // which was told as such, and need not be told twice
				err != nil && p.phase.Load() == draining: // the gateway itself ended it
				p.log.Debug("not listed", serverAttr(s.Name), scopeAttr(owner), tookAttr(took), slog.Any("error", err))
				return
			case err != nil:
				p.log.Warn("not listed", serverAttr(s.Name), scopeAttr(owner), failureAttr(err), tookAttr(took), slog.Any("error", err))
				return
			}
			p.log.Info("listed", serverAttr(s.Name), scopeAttr(owner), tookAttr(took))
		},
		Dropped: func(s jackfield.Server, kind catalog.Kind, name, reason string, items int) {
			p.log.Warn("not offered", serverAttr(s.Name),
				slog.String("kind", kind.String()), slog.String("name", name), slog.String("reason", reason), slog.Int("items", items))
		},
		Saved: func(_ time.Duration, err error) { p.saves.ended(p.log, err) },
	}
}
