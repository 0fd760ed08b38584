package app

import (
	"log/slog"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/pool"
)

func serverAttr[T ~string](name T) slog.Attr { return slog.String("server", string(name)) }

func scopeAttr(s jackfield.Scope) slog.Attr { return slog.String("scope", s.String()) }

func tookAttr(d time.Duration) slog.Attr { return slog.Duration("took", d.Round(time.Millisecond)) }

// poolTrace logs what becomes of connections.
func (p *parts) poolTrace() *pool.Trace {
	return &pool.Trace{
		DialDone: func(k pool.Key, took time.Duration, err error) {
			if err != nil {
				p.log.Warn("no connection", serverAttr(k.Server), scopeAttr(k.Scope), tookAttr(took), slog.Any("error", err))
				return
			}
			p.log.Debug("connected", serverAttr(k.Server), scopeAttr(k.Scope), tookAttr(took))
		},
		Closed: func(k pool.Key, reason string, err error) {
			p.log.Debug("closed", serverAttr(k.Server), scopeAttr(k.Scope), slog.String("reason", reason), slog.Any("error", err))
		},
	}
}

// catalogHooks logs what becomes of listings.
func (p *parts) catalogHooks() catalog.Hooks {
	return catalog.Hooks{
		Fetched: func(s jackfield.Server, owner jackfield.Scope, took time.Duration, err error) {
			if err != nil {
				p.log.Warn("not listed", serverAttr(s.Name), scopeAttr(owner), tookAttr(took), slog.Any("error", err))
				return
			}
			p.log.Info("listed", serverAttr(s.Name), scopeAttr(owner), tookAttr(took))
		},
		Dropped: func(s jackfield.Server, kind catalog.Kind, name, reason string) {
			p.log.Warn("not offered", serverAttr(s.Name),
				slog.String("kind", kind.String()), slog.String("name", name), slog.String("reason", reason))
		},
		Saved: func(_ time.Duration, err error) { p.saves.ended(p.log, err) },
	}
}
