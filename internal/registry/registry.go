package registry

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/jackfield-dev/jackfield"
)

// Snapshot is every definition at one moment. Nothing in it changes, so callers
// must not change it either.
type Snapshot struct {
	servers []jackfield.Server
	byID    map[jackfield.ServerID]int
}

// Servers lists the definitions in the order of the file.
func (s *Snapshot) Servers() []jackfield.Server { return s.servers }

// ByID finds a definition.
func (s *Snapshot) ByID(id jackfield.ServerID) (jackfield.Server, bool) {
	i, ok := s.byID[id]
	if !ok {
		return jackfield.Server{}, false
	}
	return s.servers[i], true
}

// Change is what one Apply did. A server is in at most one of the lists, each in
// the order of the file, and of the old one for Removed.
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

// Registry publishes snapshots. The zero value is an empty registry, ready for
// use.
type Registry struct {
	current atomic.Pointer[Snapshot]

	mu      sync.Mutex // one Apply at a time; guards what follows
	counter uint64     // of changes; every revision and version is one of its values
}

var empty = &Snapshot{}

// Snapshot is what is in force now.
func (r *Registry) Snapshot() *Snapshot {
	if s := r.current.Load(); s != nil {
		return s
	}
	return empty
}

// Apply puts the operator's definitions in force, all at once, and says what
// changed. It copies them, and sets their ID to their Name, their Revision, their
// Version and whose word they are itself. Names that are empty or stand twice are
// refused, and then nothing changes.
func (r *Registry) Apply(defs []jackfield.Server) (Change, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.Snapshot()
	next := &Snapshot{
		servers: make([]jackfield.Server, 0, len(defs)),
		byID:    make(map[jackfield.ServerID]int, len(defs)),
	}
	stamp := r.counter + 1
	var change Change
	for _, def := range defs {
		s := clone(def)
		s.ID = jackfield.ServerID(s.Name)
		s.Operator = true
		if s.ID == "" {
			return Change{}, jackfield.Errorf(jackfield.Invalid, "a server has no name; give each server a name of its own")
		}
		if _, twice := next.byID[s.ID]; twice {
			return Change{}, jackfield.Errorf(jackfield.Invalid, "two servers have the name %q; give each server a name of its own", s.Name)
		}
		change.stamp(&s, old, stamp)
		next.byID[s.ID] = len(next.servers)
		next.servers = append(next.servers, s)
	}
	for _, s := range old.servers {
		if _, kept := next.byID[s.ID]; !kept {
			change.Removed = append(change.Removed, s.ID)
		}
	}
	if !change.Empty() {
		r.counter = stamp
	}
	r.current.Store(next)
	return change, nil
}

// stamp gives a definition its revision and version, and remembers why.
func (c *Change) stamp(s *jackfield.Server, old *Snapshot, now uint64) {
	before, known := old.ByID(s.ID)
	s.Revision, s.Version = before.Revision, before.Version
	switch {
	case !known:
		s.Revision, s.Version = now, now
		c.Added = append(c.Added, s.ID)
	case !sameConnection(before, *s):
		s.Revision, s.Version = now, now
		c.Redial = append(c.Redial, s.ID)
	case !reflect.DeepEqual(before, *s):
		s.Revision = now
		c.Edited = append(c.Edited, s.ID)
	}
}

// sameConnection is the one place that decides what makes a new Version.
func sameConnection(a, b jackfield.Server) bool {
	return reflect.DeepEqual(a.Endpoint, b.Endpoint) &&
		a.Operator == b.Operator &&
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
	s.Tools.Allow = ownList(s.Tools.Allow)
	s.Tools.Deny = ownList(s.Tools.Deny)
	if s.Usage.Sharing == "" {
		s.Usage.Sharing = jackfield.SharingAuto
	}
	return s
}

func ownList(l []string) []string {
	if len(l) == 0 {
		return nil
	}
	return slices.Clone(l)
}

func ownMap(m map[string]jackfield.Secret) map[string]jackfield.Secret {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}

// String says what changed, for a log line.
func (c Change) String() string {
	return fmt.Sprintf("%d added, %d removed, %d to dial anew, %d edited", len(c.Added), len(c.Removed), len(c.Redial), len(c.Edited))
}
