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
	return p.follower.begin(context.Background())
}

// take hands news of the store to every part, people first: who somebody is decides
// what they see.
func (p *parts) take(news record.Batch) {
	for i := range news.Records {
		if news.Records[i].Ref == sharedKeyRef {
			p.shared = &news.Records[i]
		}
	}
	lost := p.directory.Take(news)
	renewed := p.credentials.Take(news)
	change := p.registry.Take(news)
	if p.board == nil {
		return // there is nobody yet whom it could concern
	}
	p.lose(lost)
	p.renew(renewed)
	p.follow(change)
	p.events.Changed(news)
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

// lose ends what those do who may not do it any more.
func (p *parts) lose(lost []authn.Lost) {
	for _, l := range lost {
		reason := jackfield.Errorf(jackfield.Forbidden, "%s", l.Reason)
		p.gateway.Cut(l.Is, reason)
		p.events.Cut(l.Is, reason)
		if l.Credential == "" {
			own := jackfield.User(l.Subject)
			p.board.Cut(func(k pool.Key) bool { return k.Scope == own }, reason)
		}
		p.log.Info("access ended", slog.String("subject", l.Subject), slog.String("key", l.Credential), slog.String("reason", l.Reason))
	}
}

// renew has those connections made anew whose credentials are others now, and what
// failed for want of them tried again.
func (p *parts) renew(changed []credentials.Changed) {
	for _, c := range changed {
		p.board.Reset(func(k pool.Key) bool {
			return (c.Server == "" || k.Server == c.Server) && (c.Owner == jackfield.App() || k.Scope == c.Owner)
		})
		if c.Server != "" {
			p.catalog.Renewed(c.Server, c.Owner)
			continue
		}
		for _, s := range p.registry.See(p.principal(c.Owner)) {
			if s.OwnCredentials() {
				p.catalog.Renewed(s.ID, c.Owner)
			}
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
