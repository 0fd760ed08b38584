package registry

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// Change is what one Apply or Take did. A server is in at most one of the lists, each
// in the order of the file, or of scopes and names, and in the old one for Removed.
type Change struct {
	Added   []jackfield.ServerID
	Removed []jackfield.ServerID // cut their connections
	Redial  []jackfield.ServerID // a new Version: drain their connections, forget their failures
	Edited  []jackfield.ServerID // a new Revision only: connections stay
}

// Empty reports whether nothing changed.
func (c Change) Empty() bool {
	return len(c.Added)+len(c.Removed)+len(c.Redial)+len(c.Edited) == 0
}

// String says what changed, for a log line.
func (c Change) String() string {
	return fmt.Sprintf("%d added, %d removed, %d to dial anew, %d edited", len(c.Added), len(c.Removed), len(c.Redial), len(c.Edited))
}

// Registry publishes snapshots. The zero value is an empty registry without a store,
// ready for use.
type Registry struct {
	o       Options
	current atomic.Pointer[Snapshot]
	views   views

	mu      sync.Mutex // one change at a time; guards what follows
	counter uint64     // of changes of the file; each revision and version of its definitions is one of its values
	file    []*jackfield.Server
	layers  map[string]map[string]*jackfield.Server // the file's overlays, by team and name
	stored  map[jackfield.Scope]map[string]*entry
	// Of teams' definitions, which an overlay can take the place of and the other way
	// round, under one id:
	marks map[jackfield.ServerID]laid   // what those became that are not just as they are written
	past  map[jackfield.ServerID]uint64 // how far the counters of those came that are gone
	floor uint64                        // no counter of one that comes anew is up to it: what past forgot
}

// maxPast is how many ids of teams' definitions that are gone are remembered one by one.
const maxPast = 10_000

// laid is what became of a team's definition, and over what it lies.
type laid struct {
	entry *entry
	base  *jackfield.Server
	out   *jackfield.Server
}

// New makes a registry.
func New(o Options) *Registry { return &Registry{o: o} }

// Apply puts the operator's definitions in force, all at once, and says what
// changed. It copies them, and sets their ID, their Revision, their Version and
// whose word they are itself; those with a Base are overlays, as Servers makes them.
// Names that are empty or stand twice are refused, and then nothing changes.
func (r *Registry) Apply(defs []jackfield.Server) (Change, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, stamp := r.beforeLocked(defs)
	file := make([]*jackfield.Server, 0, len(defs))
	layers := map[string]map[string]*jackfield.Server{}
	seen := make(map[jackfield.ServerID]bool, len(defs))
	for i := range defs {
		s := clone(defs[i])
		s.ID, s.Operator = jackfield.ServerID(s.Name), true
		if s.Base != "" {
			s.ID = storeID(s.Scope, s.Name)
		} else {
			s.Scope = jackfield.App()
		}
		if s.Name == "" {
			return Change{}, jackfield.Errorf(jackfield.Invalid, "a server has no name; give each server a name of its own")
		}
		if seen[s.ID] {
			return Change{}, jackfield.Errorf(jackfield.Invalid, "two servers have the name %q; give each server a name of its own", s.ID)
		}
		seen[s.ID] = true
		now := stamped(before[s.ID], &s, stamp)
		if s.Base == "" {
			file = append(file, now)
			continue
		}
		if layers[s.Scope.ID] == nil {
			layers[s.Scope.ID] = map[string]*jackfield.Server{}
		}
		layers[s.Scope.ID][s.Name] = now
	}
	touched := map[jackfield.Scope]bool{jackfield.App(): true}
	for _, all := range []map[string]map[string]*jackfield.Server{r.layers, layers} {
		for team := range all {
			touched[jackfield.Team(team)] = true
		}
	}
	for id, s := range before {
		if s.Base != "" && !seen[id] {
			r.forgetLocked(id, s)
		}
	}
	r.file, r.layers, r.counter = file, layers, stamp
	return r.publishLocked(touched), nil
}

// beforeLocked is what the file had before it had defs, and the counter of this change.
// Overlays of the store that give way to one of the file have the same ids, so that
// the counter begins above theirs. mu is held.
func (r *Registry) beforeLocked(defs []jackfield.Server) (before map[jackfield.ServerID]*jackfield.Server, stamp uint64) {
	before, stamp = make(map[jackfield.ServerID]*jackfield.Server), r.counter+1
	for _, s := range r.file {
		before[s.ID] = s
	}
	for _, layer := range r.layers {
		for _, s := range layer {
			before[s.ID] = s
		}
	}
	old := r.Snapshot()
	for i := range defs {
		if defs[i].Base == "" {
			continue
		}
		id := storeID(defs[i].Scope, defs[i].Name)
		stamp = max(stamp, r.floor+1, r.past[id]+1)
		if e := r.stored[defs[i].Scope][defs[i].Name]; e != nil {
			stamp = max(stamp, e.revision+1)
		}
		for _, was := range []*jackfield.Server{old.byID[id], r.marks[id].out} {
			if was != nil {
				stamp = max(stamp, was.Revision+1, was.Version+1)
			}
		}
	}
	return before, stamp
}

// stamped gives a definition of the file its revision and version. What did not change
// is what it was.
func stamped(before, s *jackfield.Server, now uint64) *jackfield.Server {
	if before == nil {
		s.Revision, s.Version = now, now
		return s
	}
	s.Revision, s.Version = before.Revision, before.Version
	switch {
	case !sameConnection(before, s):
		s.Revision, s.Version = now, now
	case reflect.DeepEqual(before, s):
		return before
	default:
		s.Revision = now
	}
	return s
}

// Take brings news of the store, and says what changed. Records of other kinds, and
// those that it has newer, are left alone.
func (r *Registry) Take(b record.Batch) Change {
	read := r.readAll(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	touched := map[jackfield.Scope]bool{}
	drop := func(e *entry) {
		touched[e.scope] = true
		delete(r.stored[e.scope], e.name)
		if e.scope.Kind == jackfield.ScopeTeam {
			r.forgetLocked(e.id, &e.reading.server)
		}
		if mark, ok := r.marks[e.id]; ok {
			r.forgetLocked(e.id, mark.out)
			delete(r.marks, e.id)
		}
	}
	if b.All {
		keep := make(map[string]bool, len(b.Records))
		for _, rec := range b.Records {
			keep[rec.ID] = keep[rec.ID] || rec.Kind == record.Server
		}
		for _, all := range r.stored {
			for _, e := range all {
				if !keep[string(e.id)] {
					drop(e)
				}
			}
		}
	}
	for _, gone := range b.Gone {
		if scope, name, ok := parseID(gone.ID); ok && gone.Kind == record.Server {
			if e := r.stored[scope][name]; e != nil {
				drop(e)
			}
		}
	}
	for _, e := range read {
		if known := r.stored[e.scope][e.name]; known != nil && known.revision >= e.revision {
			continue
		}
		if r.stored == nil {
			r.stored = map[jackfield.Scope]map[string]*entry{}
		}
		if r.stored[e.scope] == nil {
			r.stored[e.scope] = map[string]*entry{}
		}
		r.stored[e.scope][e.name] = e
		touched[e.scope] = true
	}
	for scope := range touched {
		if len(r.stored[scope]) == 0 {
			delete(r.stored, scope)
		}
	}
	return r.publishLocked(touched)
}

// publishLocked makes the shelves of the scopes anew that were touched, and those of
// the teams whose overlays lie over one that was. mu is held.
func (r *Registry) publishLocked(touched map[jackfield.Scope]bool) Change {
	old := r.Snapshot()
	next := &Snapshot{wide: old.wide, teams: old.teams, users: old.users}
	var changed [][2]*shelf // before and after
	if touched[jackfield.App()] {
		if w := r.wideLocked(); !w.same(old.wide) {
			changed, next.wide = append(changed, [2]*shelf{old.wide, w}), w
			for team, sh := range old.teams {
				touched[jackfield.Team(team)] = touched[jackfield.Team(team)] || sh.over
			}
		}
	}
	for _, scope := range slices.SortedFunc(maps.Keys(touched), compareScopes) {
		if scope == jackfield.App() {
			continue
		}
		before := old.users[scope.ID]
		if scope.Kind == jackfield.ScopeTeam {
			before = old.teams[scope.ID]
		}
		if after := r.ownLocked(scope, next.wide, old); !after.same(before) {
			changed = append(changed, [2]*shelf{before, after})
		}
	}
	if len(changed) == 0 {
		return Change{}
	}
	if next.byID = maps.Clone(old.byID); next.byID == nil {
		next.byID = map[jackfield.ServerID]*jackfield.Server{}
	}
	next.teams, next.users = maps.Clone(old.teams), maps.Clone(old.users)
	var change Change
	for _, c := range changed {
		change.compare(c[0], c[1], next.byID)
		next.put(c[1])
	}
	r.current.Store(next)
	return change
}

// wideLocked is the shelf of what everybody may see. mu is held.
func (r *Registry) wideLocked() *shelf {
	sh := &shelf{servers: slices.Clone(r.file)}
	for _, e := range sorted(r.stored[jackfield.App()]) {
		if !e.reading.disabled {
			sh.servers = append(sh.servers, &e.reading.server)
		}
	}
	sh.index()
	return sh
}

// ownLocked is the shelf of a team or a person. mu is held.
func (r *Registry) ownLocked(scope jackfield.Scope, wide *shelf, old *Snapshot) *shelf {
	sh := &shelf{scope: scope}
	var layer map[string]*jackfield.Server
	if scope.Kind == jackfield.ScopeTeam {
		layer = r.layers[scope.ID]
	}
	for _, name := range slices.Sorted(maps.Keys(layer)) {
		sh.lay(layer[name])
	}
	for _, e := range sorted(r.stored[scope]) {
		switch {
		case e.reading.disabled || layer[e.name] != nil && !e.reading.extends:
		case scope.Kind == jackfield.ScopeUser:
			sh.servers = append(sh.servers, &e.reading.server)
		case !e.reading.extends:
			sh.servers = append(sh.servers, r.settleLocked(e, nil, old))
		default:
			sh.over = true
			if base := wide.byName[e.name]; base != nil && layer[e.name] == nil {
				sh.lay(r.settleLocked(e, base, old))
			}
		}
	}
	sh.index()
	return sh
}

// settleLocked is what a team's definition comes to, laid over base if that is not nil,
// with counters that are never less than they were under its id. mu is held.
func (r *Registry) settleLocked(e *entry, base *jackfield.Server, old *Snapshot) *jackfield.Server {
	mark, known := r.marks[e.id]
	last, low := old.byID[e.id], max(r.floor, r.past[e.id])
	if known && mark.entry == e && mark.base == base && (last == mark.out || last == nil && isHidden(mark.out)) {
		return mark.out
	}
	if base == nil && !known && low == 0 && (last == nil || last.Base == "") {
		return &e.reading.server // its own counters are all that there ever were
	}
	out := e.reading.server
	if base != nil {
		out = lay(base, &e.reading)
	}
	revision, version := low, low
	if known {
		revision, version = max(low, mark.out.Revision), max(low, mark.out.Version)
	}
	if last != nil {
		revision, version = max(revision, last.Revision), max(version, last.Version)
	}
	if revision > 0 {
		if last == nil || !sameConnection(last, &out) {
			version++
		}
		out.Revision, out.Version = max(out.Revision, revision+1), max(out.Version, version)
	}
	if r.marks == nil {
		r.marks = map[jackfield.ServerID]laid{}
	}
	r.marks[e.id] = laid{entry: e, base: base, out: &out}
	return &out
}

// forgetLocked remembers only how far the counters of an id came. mu is held.
func (r *Registry) forgetLocked(id jackfield.ServerID, s *jackfield.Server) {
	if r.past == nil {
		r.past = map[jackfield.ServerID]uint64{}
	}
	if len(r.past) == maxPast {
		for _, counter := range r.past {
			r.floor = max(r.floor, counter)
		}
		clear(r.past)
	}
	r.past[id] = max(r.past[id], s.Revision, s.Version)
}

func sorted(all map[string]*entry) []*entry {
	return slices.SortedFunc(maps.Values(all), func(a, b *entry) int { return strings.Compare(a.name, b.name) })
}

func compareScopes(a, b jackfield.Scope) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), strings.Compare(a.ID, b.ID))
}

// compare adds what differs between what a scope had and has, and brings byID there.
func (c *Change) compare(before, after *shelf, byID map[jackfield.ServerID]*jackfield.Server) {
	stayed := 0
	for s := range after.all() {
		was := byID[s.ID]
		switch {
		case was == s:
			stayed++
			continue
		case was == nil:
			c.Added = append(c.Added, s.ID)
			byID[s.ID] = s
			continue
		case was.Version != s.Version:
			c.Redial = append(c.Redial, s.ID)
		case was.Revision != s.Revision:
			c.Edited = append(c.Edited, s.ID)
		}
		stayed++
		byID[s.ID] = s
	}
	if stayed == before.count() {
		return
	}
	kept := make(map[jackfield.ServerID]bool, stayed)
	for s := range after.all() {
		kept[s.ID] = true
	}
	for s := range before.all() {
		if !kept[s.ID] {
			c.Removed = append(c.Removed, s.ID)
			delete(byID, s.ID)
		}
	}
}

// sameConnection is the one place that decides what makes a new Version. What people
// enter is not part of it, but which of it they have to.
func sameConnection(a, b *jackfield.Server) bool {
	needs := func(s *jackfield.Server) map[string]bool {
		required := make(map[string]bool, len(s.Vars))
		for _, v := range s.Vars {
			required[v.Name] = v.Required
		}
		return required
	}
	return reflect.DeepEqual(a.Endpoint, b.Endpoint) &&
		reflect.DeepEqual(a.Fill, b.Fill) &&
		maps.Equal(needs(a), needs(b)) &&
		a.Operator == b.Operator &&
		a.Scope == b.Scope &&
		a.Base == b.Base &&
		a.Usage.Sharing == b.Usage.Sharing &&
		a.Usage.RequiresOAuth == b.Usage.RequiresOAuth &&
		(a.Invalid == "") == (b.Invalid == "")
}

// clone copies a definition so that nobody can change it later, and makes empty
// lists and maps nil so that they compare equal.
func clone(s jackfield.Server) jackfield.Server {
	s.Endpoint.Args = ownList(s.Endpoint.Args)
	s.Endpoint.Env = ownMap(s.Endpoint.Env)
	s.Endpoint.Headers = ownMap(s.Endpoint.Headers)
	s.Fill = jackfield.Fill{URL: ownList(s.Fill.URL), Args: ownTemplates(s.Fill.Args), Env: ownTemplates(s.Fill.Env), Headers: ownTemplates(s.Fill.Headers)}
	s.Vars = ownList(s.Vars)
	s.Tools = ownFilter(s.Tools)
	s.Rules.Allow, s.Rules.Deny = ownList(s.Rules.Allow), ownList(s.Rules.Deny)
	s.Rules.Tools = ownList(s.Rules.Tools)
	for i, rule := range s.Rules.Tools {
		s.Rules.Tools[i] = jackfield.ToolRule{Tools: ownList(rule.Tools), Allow: ownList(rule.Allow), Deny: ownList(rule.Deny)}
	}
	if s.Usage.Sharing == "" {
		s.Usage.Sharing = jackfield.SharingAuto
	}
	return s
}

func ownFilter(f jackfield.ToolFilter) jackfield.ToolFilter {
	f.Allow, f.Deny, f.Also = ownList(f.Allow), ownList(f.Deny), ownList(f.Also)
	for i, also := range f.Also {
		f.Also[i] = ownFilter(also)
	}
	return f
}

func ownTemplates[K comparable](m map[K]jackfield.Template) map[K]jackfield.Template {
	out := ownMap(m)
	for name, t := range out {
		out[name] = ownList(t)
	}
	return out
}

func ownList[L ~[]E, E any](l L) L {
	if len(l) == 0 {
		return nil
	}
	return slices.Clone(l)
}

func ownMap[K comparable, V any](m map[K]V) map[K]V {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}
