package registry

import (
	"encoding/binary"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackfield-dev/jackfield"
)

// Snapshot is every definition at one moment. Nothing in it changes, so callers
// must not change it either.
type Snapshot struct {
	wide  *shelf            // of the file and the app; never nil in one that was published
	teams map[string]*shelf // by the team's id
	users map[string]*shelf // by the subject
	byID  map[jackfield.ServerID]*jackfield.Server

	once sync.Once
	list []jackfield.Server
}

// shelf is what one scope has. It never changes, so that whoever made something of it
// knows by its address whether that is still right.
type shelf struct {
	scope    jackfield.Scope
	servers  []*jackfield.Server          // in order; those that another one of the name shadows too
	byName   map[string]*jackfield.Server // those that none shadows here
	overlays map[string]*jackfield.Server // of a team; nil for a server that is hidden from it
	over     bool                         // of a team: the store has overlays of its, even if they lie over nothing now
	named    map[jackfield.Scope]bool     // whom rules in it name
}

// lay adds an overlay.
func (sh *shelf) lay(s *jackfield.Server) {
	if sh.overlays == nil {
		sh.overlays = map[string]*jackfield.Server{}
	}
	name := s.Name
	if isHidden(s) {
		s = nil
	}
	sh.overlays[name] = s
}

// index makes what is found by name, once all is there.
func (sh *shelf) index() {
	sh.byName = make(map[string]*jackfield.Server, len(sh.servers))
	sh.named = map[jackfield.Scope]bool{}
	for s := range sh.all() {
		for _, list := range [][]jackfield.Scope{s.Rules.Allow, s.Rules.Deny} {
			sh.name(list)
		}
		for _, t := range s.Rules.Tools {
			sh.name(t.Allow)
			sh.name(t.Deny)
		}
		if _, taken := sh.byName[s.Name]; !taken && s.Base == "" {
			sh.byName[s.Name] = s
		}
	}
}

func (sh *shelf) name(list []jackfield.Scope) {
	for _, s := range list {
		sh.named[s] = true
	}
}

// all are the definitions and what overlays make of others, each in order.
func (sh *shelf) all() iter.Seq[*jackfield.Server] {
	return func(yield func(*jackfield.Server) bool) {
		if sh == nil {
			return
		}
		for _, s := range sh.servers {
			if !yield(s) {
				return
			}
		}
		for _, name := range slices.Sorted(maps.Keys(sh.overlays)) {
			if s := sh.overlays[name]; s != nil && !yield(s) {
				return
			}
		}
	}
}

// count is how many all are.
func (sh *shelf) count() int {
	n := 0
	for range sh.all() {
		n++
	}
	return n
}

// same reports whether two shelves have the same on them. None is as one with nothing.
func (sh *shelf) same(other *shelf) bool {
	if other == nil {
		return len(sh.servers)+len(sh.overlays) == 0 && !sh.over
	}
	return slices.Equal(sh.servers, other.servers) && maps.Equal(sh.overlays, other.overlays) && sh.over == other.over
}

// put sets a scope's shelf, while the snapshot is made.
func (s *Snapshot) put(sh *shelf) {
	of := &s.users
	switch sh.scope.Kind {
	case jackfield.ScopeApp:
		s.wide = sh
		return
	case jackfield.ScopeTeam:
		of = &s.teams
	case jackfield.ScopeUser:
	}
	if *of == nil {
		*of = map[string]*shelf{}
	}
	(*of)[sh.scope.ID] = sh
	if sh.same(nil) {
		delete(*of, sh.scope.ID)
	}
}

var empty = &Snapshot{wide: &shelf{}}

// Snapshot is what is in force now.
func (r *Registry) Snapshot() *Snapshot {
	if s := r.current.Load(); s != nil {
		return s
	}
	return empty
}

// Servers lists the definitions in the order of the file, then those of the app, of
// teams with their overlays, and of users. Those that another one shadows for some or
// for all are among them.
func (s *Snapshot) Servers() []jackfield.Server {
	s.once.Do(func() {
		s.list = make([]jackfield.Server, 0, len(s.byID))
		add := func(sh *shelf) {
			for server := range sh.all() {
				s.list = append(s.list, *server)
			}
		}
		add(s.wide)
		for _, of := range []map[string]*shelf{s.teams, s.users} {
			for _, id := range slices.Sorted(maps.Keys(of)) {
				add(of[id])
			}
		}
	})
	return s.list
}

// ByID finds a definition.
func (s *Snapshot) ByID(id jackfield.ServerID) (jackfield.Server, bool) {
	found, ok := s.byID[id]
	if !ok {
		return jackfield.Server{}, false
	}
	return *found, true
}

// winner is the one definition that a name means for the principal; nil: none. It is
// the only place that decides between several: the wider one wins, and of teams the
// first by name; an overlay stands in for what everybody sees.
func (s *Snapshot) winner(p *jackfield.Principal, name string) *jackfield.Server {
	if base := s.wide.byName[name]; base != nil {
		for _, team := range p.Teams {
			if sh := s.teams[team]; sh != nil {
				if over, ok := sh.overlays[name]; ok {
					return over
				}
			}
		}
		return base
	}
	for _, team := range p.Teams {
		if sh := s.teams[team]; sh != nil && sh.byName[name] != nil {
			return sh.byName[name]
		}
	}
	if sh := s.users[p.Subject]; sh != nil {
		return sh.byName[name]
	}
	return nil
}

// view is what the principal sees, in order, each decided.
func (r *Registry) view(s *Snapshot, p *jackfield.Principal) []jackfield.Server {
	type decided struct {
		server *jackfield.Server
		tools  jackfield.ToolFilter
	}
	var all []decided
	add := func(sh *shelf) {
		if sh == nil {
			return
		}
		for _, candidate := range sh.servers {
			won := s.winner(p, candidate.Name)
			overlaid := sh == s.wide && won != nil && won.Base != "" && sh.byName[candidate.Name] == candidate
			if won != candidate && !overlaid {
				continue
			}
			if tools, ok := r.decide(p, won); ok {
				all = append(all, decided{won, tools})
			}
		}
	}
	add(s.wide)
	for _, team := range p.Teams {
		add(s.teams[team])
	}
	add(s.users[p.Subject])
	out := make([]jackfield.Server, len(all))
	for i, d := range all {
		out[i] = filtered(d.server, d.tools)
	}
	return out
}

// See is what a principal sees, in the order of the file, then of scopes and names,
// overlays where what they lie over would stand. It is the same slice for all who see
// the same while nothing of it changes; nobody may change it.
func (r *Registry) See(p jackfield.Principal) []jackfield.Server {
	s := r.Snapshot()
	var room [256]byte
	var shelves [8]*shelf
	key, made := s.class(room[:0], shelves[:0], &p)
	if known := r.views.get(key, made); known != nil {
		return known.servers
	}
	fresh := &view{made: slices.Clone(made), servers: r.view(s, &p)}
	return r.views.put(string(key), fresh, func() bool { return r.Snapshot() == s })
}

// Find is the server that a name means for a principal: NotFound if it sees none of
// that name, and Invalid, beside the server, if it cannot be used.
func (r *Registry) Find(p jackfield.Principal, name string) (jackfield.Server, error) {
	won := r.Snapshot().winner(&p, name)
	if won == nil {
		return jackfield.Server{}, r.notFound(p, name)
	}
	tools, ok := r.decide(&p, won)
	switch {
	case !ok:
		return jackfield.Server{}, r.notFound(p, name)
	case won.Invalid != "":
		return filtered(won, tools), jackfield.Errorf(jackfield.Invalid, "the definition of server %q cannot be used: %s", name, won.Invalid)
	}
	return filtered(won, tools), nil
}

const mostNamed = 20 // servers in one message

// notFound says which servers there are instead, of those that the principal sees.
func (r *Registry) notFound(p jackfield.Principal, name string) error {
	var names []string
	for _, s := range r.See(p) {
		if len(names) == mostNamed {
			names = append(names, "…")
			break
		}
		names = append(names, s.Name)
	}
	hint := "there are none"
	if len(names) > 0 {
		hint = "there are " + strings.Join(names, ", ")
	}
	return jackfield.Errorf(jackfield.NotFound, "there is no server %q; %s", clip(name), hint)
}

// decide is whether the principal may see a server, and which of its tools.
func (r *Registry) decide(p *jackfield.Principal, s *jackfield.Server) (jackfield.ToolFilter, bool) {
	if r.o.Decide == nil {
		return jackfield.ToolFilter{}, true
	}
	access, tools := r.o.Decide(*p, s)
	return tools, access.Allowed
}

// filtered is a server with fewer tools.
func filtered(s *jackfield.Server, tools jackfield.ToolFilter) jackfield.Server {
	out := *s
	if len(tools.Allow)+len(tools.Deny)+len(tools.Also) > 0 {
		out.Tools.Also = append(slices.Clip(out.Tools.Also), tools)
	}
	return out
}

// class is a key of all who see the same as the principal, and which shelves that is
// made of. What is neither on a shelf nor named by a rule makes no difference.
func (s *Snapshot) class(key []byte, made []*shelf, p *jackfield.Principal) ([]byte, []*shelf) {
	field := func(text string) { key = append(binary.AppendUvarint(key, uint64(len(text))), text...) }
	made = append(made, s.wide)
	for _, team := range p.Teams {
		if sh := s.teams[team]; sh != nil {
			made = append(made, sh)
		}
	}
	named := func(scope jackfield.Scope) bool {
		return slices.ContainsFunc(made, func(sh *shelf) bool { return sh.named[scope] })
	}
	key = append(key, p.Role...)
	key = append(key, '/')
	for _, team := range p.Teams {
		if s.teams[team] != nil || named(jackfield.Team(team)) {
			field(team)
		}
	}
	key = append(key, 0)
	own := s.users[p.Subject]
	if own != nil || named(p.Scope()) {
		field(p.Subject)
	}
	key = append(key, 0)
	if own != nil {
		made = append(made, own)
	}
	if p.Only != nil {
		key = append(key, 1)
		for _, name := range p.Only {
			field(name)
		}
	}
	return key, made
}

// Bounds on what is kept of views.
const (
	maxViews  = 1024
	maxViewed = 100_000 // servers in all of them
)

// views are the views of classes of principals. The zero value is ready.
type views struct {
	clock atomic.Uint64 // of uses

	mu     sync.RWMutex // guards what follows
	known  map[string]*view
	viewed int // servers in all of known
}

// view is what one class sees, and what that was made of.
type view struct {
	made    []*shelf
	servers []jackfield.Server
	used    atomic.Uint64
}

// get is the view of a class, if it is still of what is on the shelves.
func (v *views) get(key []byte, made []*shelf) *view {
	v.mu.RLock()
	found := v.known[string(key)]
	v.mu.RUnlock()
	if found == nil || !slices.Equal(found.made, made) {
		return nil
	}
	found.used.Store(v.clock.Add(1))
	return found
}

// put keeps a view that is of what is current, unless somebody was faster: all who
// are alike get the same.
func (v *views) put(key string, fresh *view, current func() bool) []jackfield.Server {
	fresh.used.Store(v.clock.Add(1))
	v.mu.Lock()
	defer v.mu.Unlock()
	found := v.known[key]
	switch {
	case found != nil && slices.Equal(found.made, fresh.made):
		return found.servers
	case !current():
		return fresh.servers
	case found != nil:
		v.viewed -= len(found.servers)
		delete(v.known, key)
	case v.known == nil:
		v.known = map[string]*view{}
	}
	v.makeRoomLocked(len(fresh.servers))
	v.known[key] = fresh
	v.viewed += len(fresh.servers)
	return fresh.servers
}

// makeRoomLocked forgets the views that were not used for longest, a quarter of them
// at a time. mu is held.
func (v *views) makeRoomLocked(more int) {
	for len(v.known) >= maxViews || len(v.known) > 0 && v.viewed+more > maxViewed {
		keys := slices.SortedFunc(maps.Keys(v.known), func(a, b string) int {
			return int(v.known[a].used.Load()) - int(v.known[b].used.Load())
		})
		for _, key := range keys[:1+len(keys)/4] {
			v.viewed -= len(v.known[key].servers)
			delete(v.known, key)
		}
	}
}
