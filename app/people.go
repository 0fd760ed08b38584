package app

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/connections"
	"github.com/jackfield-dev/jackfield/internal/authn"
	"github.com/jackfield-dev/jackfield/internal/credentials"
	"github.com/jackfield-dev/jackfield/internal/policy"
	"github.com/jackfield-dev/jackfield/internal/record"
	"github.com/jackfield-dev/jackfield/internal/registry"
	"github.com/jackfield-dev/jackfield/pool"
)

// ratesKept is how many rates of principals and servers are kept count of.
const ratesKept = 100_000

// learn makes the parts that know definitions, people and credentials, and fills
// them from the configuration and the store.
func (p *parts) learn(o Options) error {
	p.follower = follower{store: p.store, take: p.take, log: p.log}
	p.directory = authn.New(authn.Options{
		Token: o.Config.Auth.Token, Keys: directoryKeys(o.Config.Auth.Keys), Open: o.Config.Auth.Open(), Writer: &p.follower,
	})
	p.registry = registry.New(registry.Options{
		Writer: &p.follower, Seal: p.keys, Decide: policy.Decide, Loops: p.loops, Allowed: p.egress.Allowed, Lookup: os.LookupEnv, Dir: filepath.Dir(o.Config.File),
		Team: p.directory.HasTeam,
	})
	p.credentials = credentials.New(credentials.Options{
		Writer: &p.follower, Seal: p.keys, Person: p.person, HTTP: p.egress.Operator(), Log: p.log,
	})
	p.rates = policy.NewRates(o.Config.Limits.Rate, ratesKept)
	if _, err := p.registry.Apply(o.Config.Servers); err != nil {
		return err
	}
	p.warn(o.Problems)
	if err := p.follower.begin(context.Background()); err != nil {
		return err
	}
	p.credentials.Secrets(p.servers())
	return nil
}

// take hands news of the store to every part, people first: who somebody is decides
// what they see.
func (p *parts) take(news record.Batch) {
	for i := range news.Records {
		if news.Records[i].Ref == sharedKeyRef {
			shared := news.Records[i] // alone: there may be very many others
			p.shared = &shared
		}
	}
	lost := p.directory.Take(news)
	renewed := p.credentials.Take(news)
	change := p.registry.Take(news)
	defer p.events.Changed(news)
	if p.board == nil {
		return // there is nobody yet whom it could concern
	}
	p.lose(lost)
	p.renew(renewed)
	p.follow(change)
}

// person is what the credentials may tell a server of somebody.
func (p *parts) person(subject string) (credentials.Person, bool) {
	who, ok := p.directory.Person(subject)
	return credentials.Person(who), ok
}

// principal is the one in whose place a program asks for the connections of a scope.
func (p *parts) principal(scope jackfield.Scope) jackfield.Principal {
	switch scope.Kind {
	case jackfield.ScopeUser:
		return p.directory.Principal(scope.ID)
	case jackfield.ScopeTeam:
		return jackfield.Principal{Teams: []string{scope.ID}}
	case jackfield.ScopeApp:
	}
	return jackfield.Principal{}
}

// connect opens the connection that somebody's calls to a server would use.
func (p *parts) connect(ctx context.Context, who jackfield.Principal, s jackfield.Server) error {
	lease, err := p.board.Acquire(ctx, connections.Want{Server: s, Owner: who.Scope()})
	if err == nil {
		lease.Release()
	}
	return err
}

// lose ends what those do who may not do it any more. There may be very many, for one
// reason, so each reason is gone through once.
func (p *parts) lose(lost []authn.Lost) {
	type who struct{ subject, credential string }
	groups := map[string]map[who]bool{}
	for _, l := range lost {
		if groups[l.Reason] == nil {
			groups[l.Reason] = map[who]bool{}
		}
		groups[l.Reason][who{l.Subject, l.Credential}] = true
	}
	for text, group := range groups {
		is := func(pr jackfield.Principal) bool {
			return group[who{pr.Subject, ""}] || group[who{pr.Subject, pr.Credential}]
		}
		reason := jackfield.Errorf(jackfield.Forbidden, "%s", text)
		p.gateway.Cut(is, reason)
		p.events.Cut(is, reason)
		p.board.Cut(func(k pool.Key) bool { return k.Scope.Kind == jackfield.ScopeUser && group[who{k.Scope.ID, ""}] }, reason)
		one := slog.Int("people", len(group))
		for l := range group {
			if len(group) == 1 {
				one = slog.Group("", slog.String("subject", l.subject), slog.String("key", l.credential))
			}
		}
		p.log.Info("access ended", one, slog.String("reason", text))
	}
}

// renew has those connections made anew whose credentials are others now, and what
// failed for want of them tried again. There may be very many, as when people are
// imported, so everything is gone through once.
func (p *parts) renew(changed []credentials.Changed) {
	if len(changed) == 0 {
		return
	}
	is := make(map[credentials.Changed]bool, len(changed))
	all := map[jackfield.Scope]bool{} // whose credentials for all servers changed
	for _, c := range changed {
		if is[c] = true; c.Server == "" {
			all[c.Owner] = true
		}
	}
	p.board.Reset(func(k pool.Key) bool {
		return all[k.Scope] || is[credentials.Changed{Server: k.Server, Owner: k.Scope}] || is[credentials.Changed{Server: k.Server, Owner: jackfield.App()}]
	})
	if len(all) > 0 {
		p.catalog.RenewedAll(all)
	}
	for c := range is {
		if c.Server != "" && !all[c.Owner] {
			p.catalog.Renewed(c.Server, c.Owner)
		}
	}
}

// public reports whether everybody who can ask at all sees the same: nobody says who
// they are, and nothing that they see belongs to anybody.
func (p *parts) public(seen []jackfield.Server) bool {
	if !p.config.Auth.Open() {
		return false
	}
	for i := range seen {
		if s := &seen[i]; s.Scope != jackfield.App() || len(s.Rules.Allow)+len(s.Rules.Deny)+len(s.Rules.Tools) > 0 {
			return false
		}
	}
	return true
}

// reseal seals anew what is sealed with a key that is not the first any more.
func (p *parts) reseal(ctx context.Context) {
	if p.store == nil {
		return
	}
	n, err := p.keys.Reseal(ctx, p.store)
	switch {
	case err != nil && ctx.Err() == nil:
		p.log.Error("not all secrets could be sealed with the new key; the old one is still needed", slog.Int("sealed", n), slog.Any("error", err))
	case n > 0:
		p.log.Info("secrets are sealed with the new key", slog.Int("sealed", n))
	}
}
