package catalog

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// View is what one class of callers sees: the listings of some servers, in
// order, under final names. It is made once for a choice of servers and shared by
// all who see the same.
type View struct {
	c       *Catalog
	servers []jackfield.Server // usable ones
	owns    []bool             // of each, whether people reach it on their own credentials
	only    bool               // one server, under its own names
	own     bool               // what is seen depends on the owner
	private bool               // others see something else, whatever servers say

	shared *tables // everybody's; where it depends on the owner, those of the last who looked
	mu     sync.Mutex
	owners map[jackfield.Scope]*tables // where it does; the shelf bounds them
}

// View makes the view of the servers given, in their order. Invalid ones are left
// out. The slice must not change any more.
func (c *Catalog) View(servers []jackfield.Server) *View {
	if slices.ContainsFunc(servers, func(s jackfield.Server) bool { return s.Invalid != "" }) {
		servers = slices.DeleteFunc(slices.Clone(servers), func(s jackfield.Server) bool { return s.Invalid != "" })
	}
	v := &View{c: c, servers: servers, owns: make([]bool, len(servers)), owners: map[jackfield.Scope]*tables{}}
	for i := range servers {
		v.owns[i] = c.own(&servers[i])
		v.own = v.own || v.owns[i]
	}
	v.shared = c.shelf.tables(v, jackfield.App())
	return v
}

// Only makes the view of one server under its own names and URIs.
func (c *Catalog) Only(s jackfield.Server) *View {
	v := c.View([]jackfield.Server{s})
	v.only = true
	return v
}

// Private makes the view one that not everybody sees: whatever servers declare
// public, the view of it is not. It must be called before the view is used.
func (v *View) Private() *View {
	v.private = true
	return v
}

// Servers are the servers in the view.
func (v *View) Servers() []jackfield.Server { return v.servers }

// Target is a thing of a server that a name or URI of the view stands for.
type Target struct {
	Server *jackfield.Server
	Key    string          // what the server calls it
	Quoted wire.Raw        // the same as JSON, as the server spells it; nil in an Only view
	Effect exchange.Effect // of a tool, as its server annotates it
}

// Page is the result of a request that lists. It is shared and must not change.
type Page struct {
	Raw wire.Raw // as 2026-07-28 wants it, with resultType, ttlMs and cacheScope

	t    *table
	from int
}

// Bare is the result without those three, as the revisions before know it: an
// output schema whose root is no object is left out.
func (p Page) Bare() wire.Raw { return p.t.bare(p.from) }

// List is Page's Raw.
func (v *View) List(ctx context.Context, owner jackfield.Scope, k Kind, cursor string) (wire.Raw, error) {
	p, err := v.Page(ctx, owner, k, cursor)
	return p.Raw, err
}

// Page is the result of the request that lists the kind: the page behind the
// cursor, the first one for an empty cursor. It waits as the rules of freshness
// say. Errors are *jackfield.Error, or the cause of ctx.
func (v *View) Page(ctx context.Context, owner jackfield.Scope, k Kind, cursor string) (Page, error) {
	t, f, ok := v.quick(owner, k)
	if !ok {
		if cursor == "" {
			if err := v.c.settle(ctx, v, owner, k, waitFirst, nil); err != nil {
				return Page{}, err
			}
		}
		var err error
		if t, f, err = v.look(owner, k, true); err != nil {
			return Page{}, err
		}
	}
	from, err := t.begin(cursor)
	if err != nil {
		return Page{}, err
	}
	return Page{Raw: t.page(from, f, time.Now()), t: t, from: from}, nil
}

// Settle waits until each server that could have a thing of that final name has
// been listed, for those that never were: until ctx ends or patience is at its end.
func (v *View) Settle(ctx context.Context, owner jackfield.Scope, k Kind, name string, patience time.Duration) error {
	return v.c.settle(ctx, v, owner, k, patience, func(s *jackfield.Server) bool {
		return name == "" || couldName(s.Name, name)
	})
}

// Learn waits until the shape of each server is known, or patience is at its end.
// Servers that are not to be opened without need are left alone, but for the one
// of an Only view.
func (v *View) Learn(ctx context.Context, owner jackfield.Scope, patience time.Duration) error {
	return v.c.settle(ctx, v, owner, Tools, patience, func(s *jackfield.Server) bool {
		r, known := v.c.shapes[s.ID] // settle holds mu
		return (v.only || !s.Usage.OnDemand) && (!known || r.version != s.Version)
	})
}

// Find is what the final name of a tool or prompt stands for. The one server of
// an Only view decides about names by itself, beyond the tools that its filter
// keeps back.
func (v *View) Find(owner jackfield.Scope, k Kind, name string) (Target, bool) {
	if v.only {
		if len(v.servers) == 0 || k == Tools && !v.servers[0].Tools.Allows(name) {
			return Target{}, false
		}
	}
	t := v.table(owner, k)
	n, ok := t.byKey[name]
	switch {
	case v.only && ok:
		return Target{Server: &v.servers[0], Key: name, Effect: t.rows[n].item.effect}, true
	case v.only:
		return Target{Server: &v.servers[0], Key: name}, true
	case !ok:
		return Target{}, false
	}
	return t.rows[n].target(), true
}

// Closest is the final name that a wrong one was probably meant to be; empty when
// none is near.
func (v *View) Closest(owner jackfield.Scope, k Kind, name string) string {
	t := v.table(owner, k)
	return closest(name, func(yield func(string) bool) {
		for i := range t.rows {
			if !yield(t.rows[i].final) {
				return
			}
		}
	})
}

// Unlisted are the names of the servers in the view whose list of the kind is not
// known, with the reason where there is one.
func (v *View) Unlisted(owner jackfield.Scope, k Kind) []string {
	v.c.mu.Lock()
	defer v.c.mu.Unlock()
	var names []string
	for i := range v.servers {
		s := &v.servers[i]
		e := v.c.entryLocked(s, v.owns[i], owner, k)
		switch {
		case e.lists[k].list != nil:
		case e.err != nil && e.fetch == nil:
			names = append(names, s.Name+": "+e.err.Error())
		default:
			names = append(names, s.Name)
		}
	}
	return names
}

// Lacking is why a server that a name of the kind could be of was never listed, when
// the owner lacks the credentials for it; nil: that is not what is wrong.
func (v *View) Lacking(owner jackfield.Scope, k Kind, name string) error {
	v.c.mu.Lock()
	defer v.c.mu.Unlock()
	for i := range v.servers {
		s := &v.servers[i]
		if !couldName(s.Name, name) {
			continue
		}
		if e := v.c.entryLocked(s, v.owns[i], owner, k); e.lists[k].list == nil && v.c.barredLocked(e, owner) {
			return e.unavailable(s, time.Now())
		}
	}
	return nil
}

// FindURI is what a URI stands for: a resource that is listed, or one that tools link
// to as their user interface, or else one that a template expands to. Where that is not one server's alone there is a target for
// each; where nobody is known to have it, none.
func (v *View) FindURI(owner jackfield.Scope, uri string) []Target {
	if v.only {
		if len(v.servers) == 0 {
			return nil
		}
		return []Target{{Server: &v.servers[0], Key: uri}}
	}
	listed := v.table(owner, Resources)
	if n, ok := listed.byKey[uri]; ok {
		return []Target{listed.rows[n].target()}
	}
	if rows := listed.clashes[uri]; rows != nil {
		return listed.targets(rows)
	}
	if linked := v.interfaces(owner, uri); linked != nil {
		return linked
	}
	if server, rest, ok := splitURI(uri); ok {
		return v.qualified(server, rest)
	}
	return v.table(owner, Templates).expanded(uri)
}

// FindTemplate is what the URI of a completion reference stands for: a template
// that is listed, or else a resource.
func (v *View) FindTemplate(owner jackfield.Scope, uri string) []Target {
	if v.only {
		return v.FindURI(owner, uri)
	}
	t := v.table(owner, Templates)
	if n, ok := t.byKey[uri]; ok {
		return []Target{t.rows[n].target()}
	}
	if rows := t.clashes[uri]; rows != nil {
		return t.targets(rows)
	}
	return v.FindURI(owner, uri)
}

// qualified is the target of a URI that names its server.
func (v *View) qualified(server, uri string) []Target {
	i := slices.IndexFunc(v.servers, func(s jackfield.Server) bool { return s.Name == server })
	if i < 0 {
		return nil
	}
	return []Target{{Server: &v.servers[i], Key: uri, Quoted: wire.AppendString(nil, uri)}}
}

// FinalURI is the URI in the view of a resource that its server calls uri.
func (v *View) FinalURI(owner jackfield.Scope, s jackfield.ServerID, uri string) string {
	if v.only {
		return uri
	}
	t := v.table(owner, Resources)
	for _, n := range t.clashes[uri] {
		if t.rows[n].server.ID == s {
			return t.rows[n].final
		}
	}
	return uri
}

// table is the present table of the kind.
func (v *View) table(owner jackfield.Scope, k Kind) *table {
	if s := v.tables(owner).of[k].Load(); s != nil && s.f.gen == v.c.gen.Load() {
		return s.t
	}
	t, _, _ := v.look(owner, k, false) // fails only for those who show it
	return t
}

// tables are those that the owner is shown.
func (v *View) tables(owner jackfield.Scope) *tables {
	ts := v.shared
	if v.own {
		v.mu.Lock()
		if ts = v.owners[owner]; ts == nil {
			ts = v.c.shelf.tables(v, owner)
			v.owners[owner] = ts
		}
		v.mu.Unlock()
	}
	if !ts.used.Load() {
		ts.used.Store(true)
	}
	return ts
}

// quick is the present table if everything in it is fresh.
func (v *View) quick(owner jackfield.Scope, k Kind) (*table, *freshness, bool) {
	s := v.tables(owner).of[k].Load()
	if s == nil {
		return nil, nil, false
	}
	return s.t, s.f, s.f.gen == v.c.gen.Load() && time.Now().Before(s.f.look)
}

// look makes sure that the table of the kind is the present one, and says how
// fresh it is. show: somebody is going to get it, and is owed a Change if it turns
// out to have been less than there is. Then a view of one server that cannot be
// listed fails with the reason.
func (v *View) look(owner jackfield.Scope, k Kind, show bool) (*table, *freshness, error) {
	size := len(v.servers)
	if k == Tools && !v.only {
		size *= 2 // what tools link to is found among the resources
	}
	deps := make([]*listing, size)
	f, err := v.c.survey(v, owner, k, deps, show)
	if err != nil {
		return nil, nil, err
	}
	ts := v.tables(owner)
	t := ts.built(k, deps)
	if t == nil {
		t = v.shared.built(k, deps) // for somebody who is shown the same
	}
	if t == nil {
		t = v.build(k, deps)
		if v.own {
			v.shared.put(k, &shown{t: t})
		}
	}
	ts.put(k, &shown{t, f})
	return t, f, nil
}

// survey collects the lists of a view, and how fresh they are together.
func (c *Catalog) survey(v *View, owner jackfield.Scope, k Kind, deps []*listing, show bool) (*freshness, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	f := &freshness{gen: c.gen.Load(), public: len(v.servers) > 0 && !v.private, due: now.Add(untoldTTL), look: now.Add(maxKnown)}
	for i := range v.servers {
		e := c.entryLocked(&v.servers[i], v.owns[i], owner, k)
		s := &e.lists[k]
		deps[i] = s.list
		if len(deps) > len(v.servers) {
			deps[len(v.servers)+i] = c.entryLocked(&v.servers[i], v.owns[i], owner, Resources).lists[Resources].list
		}
		ttl, look := e.lasts(k, now)
		if due := now.Add(ttl); i == 0 || due.Before(f.due) {
			f.due = due
		}
		if look.Before(f.look) {
			f.look = look
		}
		f.public = f.public && s.list != nil && s.public
		if !show || e.need(k, now) < changed {
			continue
		}
		if v.only && s.list == nil && e.err != nil {
			return nil, e.unavailable(&v.servers[i], now)
		}
		s.owed = true
	}
	// What was done here may have aged or renewed an entry.
	f.gen = c.gen.Load()
	return f, nil
}

// unavailable says why there is no list of the server at all. When the pool says
// since when, and when it tries again, that is said and nothing else.
func (e *entry) unavailable(s *jackfield.Server, now time.Time) error {
	code := jackfield.CodeOf(e.err)
	if code == jackfield.Internal {
		code = jackfield.Unavailable
	}
	if f := jackfield.FailureOf(e.err); f != nil && !f.Since.IsZero() {
		return &jackfield.Error{Code: code, Message: fmt.Sprintf("server %q has never been listed: %s", s.Name, f.At(now)), Err: e.err}
	}
	again := "is being tried again"
	switch {
	case e.barred:
		again = "is not tried again until someone signs in, enters what is missing, changes its definition or resets it"
	case e.fetch == nil:
		again = "is tried again in " + max(time.Second, e.retry.Sub(now).Round(time.Second)).String()
	}
	return jackfield.Errorf(code, "server %q has never been listed: %w (failing since %s; it %s)",
		s.Name, e.err, e.failed.UTC().Format(time.RFC3339), again)
}
