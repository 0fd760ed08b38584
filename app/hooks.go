package app

import (
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/pool"
)

// poolTrace logs what becomes of connections.
func (p *parts) poolTrace() *pool.Trace {
	return &pool.Trace{
		DialDone: func(k pool.Key, took time.Duration, err error) {
			took = took.Round(time.Millisecond)
			if err != nil {
				p.log.Warn("no connection", "server", k.Server, "scope", k.Scope.String(), "took", took, "error", err)
				return
			}
			p.log.Debug("connected", "server", k.Server, "scope", k.Scope.String(), "took", took)
		},
		Closed: func(k pool.Key, reason string, err error) {
			p.log.Debug("closed", "server", k.Server, "scope", k.Scope.String(), "reason", reason, "error", err)
		},
	}
}

// catalogHooks logs what becomes of listings.
func (p *parts) catalogHooks() catalog.Hooks {
	return catalog.Hooks{
		Fetched: func(s jackfield.Server, owner jackfield.Scope, took time.Duration, err error) {
			took = took.Round(time.Millisecond)
			if err != nil {
				p.log.Warn("not listed", "server", s.Name, "scope", owner.String(), "took", took, "error", err)
				return
			}
			p.log.Info("listed", "server", s.Name, "scope", owner.String(), "took", took)
		},
		Dropped: func(s jackfield.Server, kind catalog.Kind, name, reason string) {
			p.log.Warn("not offered", "server", s.Name, "kind", kind.String(), "name", name, "reason", reason)
		},
	}
}
