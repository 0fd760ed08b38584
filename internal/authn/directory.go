package authn

import (
	"slices"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// Local is the principal of whoever reaches a gateway that asks for no
// credentials. Such a gateway listens on loopback only.
var Local = jackfield.Principal{Subject: "local", Role: jackfield.RoleAdmin, Operator: true}

// Bearer is the principal of whoever knows the gateway's one token.
var Bearer = jackfield.Principal{Subject: "token", Role: jackfield.RoleAdmin}

// reserved reports whether a subject is one of those two.
func reserved(subject string) bool { return subject == Local.Subject || subject == Bearer.Subject }

// Options are what a Directory begins with.
type Options struct {
	Token  jackfield.Secret // whoever sends it is Bearer; empty: there is none
	Keys   []FileKey        // that have passed Check; others are left out
	Open   bool             // whoever sends nothing is Local
	Writer record.Writer    // of the store; nil: nothing can be changed
}

// Directory knows who there is. All methods may be called concurrently.
type Directory struct {
	open   bool
	writer record.Writer

	token    digest
	hasToken bool

	wake chan struct{} // tells Run that keys have changed

	mu            sync.RWMutex     // guards what follows, and everything in it
	fileKeys      map[[8]byte]*key // by the beginning of the digest
	users         shelf[user]
	teams         shelf[team]
	keys          shelf[key]          // those of the file as well
	sets          map[string]*teamSet // every set of teams that some user has, by its id
	bySubject     map[string][]*key
	keyed         map[string]uint64 // the newest change to keys that name teams, by subject
	local, bearer jackfield.Principal
}

// user is the record of a user. There are many.
type user struct {
	subject, name, email string
	by                   string
	teams                *teamSet
	role                 jackfield.Role
	disabled             bool
	revision, version    uint64
	created, changed     int64 // Unix time in nanoseconds
}

// teamSet is the teams of all users who have the same.
type teamSet struct {
	roster          // as the records have them
	live   []string // those which exist
	since  uint64   // the newest change to live
	users  int
}

type team struct {
	id string
	teamBody
	revision, version uint64
	created, changed  time.Time
	by                string
}

type key struct {
	id string
	keyBody
	file     bool
	digest   digest
	revision uint64
	created  time.Time
	by       string

	principal jackfield.Principal // without a subject: it lets nobody in, for the reason refused
	refused   string
}

// subject is who comes with the key.
func (k *key) subject() string {
	if k.User == "" {
		return k.Name
	}
	return k.User
}

// New makes a Directory that knows nobody from the store yet.
func New(o Options) *Directory {
	d := &Directory{
		open: o.Open, writer: o.Writer, wake: make(chan struct{}, 1),
		fileKeys: map[[8]byte]*key{},
		users:    newShelf(func(u *user) string { return u.subject }),
		teams:    newShelf(func(t *team) string { return t.id }),
		keys:     newShelf(func(k *key) string { return k.id }),
		sets:     map[string]*teamSet{}, bySubject: map[string][]*key{}, keyed: map[string]uint64{},
		local: Local, bearer: Bearer,
	}
	if o.Token != "" {
		d.token, d.hasToken = digestOf(o.Token.Reveal()), true
	}
	d.configureLocked(o.Keys, time.Now())
	return d
}

// configureLocked adds the keys of the configuration. Nobody else has d, or mu is held.
func (d *Directory) configureLocked(keys []FileKey, now time.Time) {
	for _, f := range keys {
		sum, ok := parseHash(f.Hash)
		k := &key{id: filePrefix + f.Name, file: true, digest: sum, keyBody: keyBody{
			Name: f.Name, User: f.User, Role: f.Role, Teams: tidy(f.Teams), Servers: tidy(f.Servers), Expires: f.Expires,
		}}
		if !ok || d.keys.byID[k.id] != nil || d.fileKeys[[8]byte(sum[:])] != nil || f.Check() != nil {
			continue
		}
		d.fileKeys[[8]byte(sum[:])] = k
		d.keys.add([]*key{k})
		d.bySubject[k.subject()] = append(d.bySubject[k.subject()], k)
		d.decideLocked(k, now)
	}
}

// Configure takes over the keys of a configuration that changed. What it returns is
// everybody who lost something by it.
func (d *Directory) Configure(keys []FileKey) []Lost {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := &taking{d: d, news: &news{}, lost: map[string]string{}, touched: map[string]bool{}, now: time.Now(), every: true}
	var before []*key
	var ids []string
	for _, k := range d.keys.order {
		if k.file {
			before, ids = append(before, k), append(ids, k.id)
		}
	}
	for _, k := range before {
		d.forgetLocked(k)
	}
	d.keys.drop(ids)
	clear(d.fileKeys)
	d.configureLocked(keys, t.now)
	for _, was := range before {
		switch k := d.keys.byID[was.id]; {
		case k != nil && k.digest == was.digest && k.subject() == was.subject():
			k.principal = was.principal // to be compared with what it is now
		case was.principal.Subject != "":
			t.losses = append(t.losses, Lost{Subject: was.subject(), Credential: was.id, Reason: "the key " + quoted(was.Name) + " is not in the configuration any more"})
		}
	}
	t.decideLocked()
	select {
	case d.wake <- struct{}{}:
	default: // it will look anyway
	}
	return t.losses
}

// filePrefix is what the ids of file keys begin with, and of no others.
const filePrefix = "file:"

// Principal is the one that a subject has when it comes without a key.
func (d *Directory) Principal(subject string) jackfield.Principal {
	d.mu.RLock()
	defer d.mu.RUnlock()
	switch {
	case subject == Local.Subject && d.open:
		return d.local
	case reserved(subject):
		return jackfield.Principal{Subject: subject, Role: jackfield.RoleAdmin, Teams: d.teamsLocked(subject)}
	}
	p := jackfield.Principal{Subject: subject, Role: jackfield.RoleUser, Teams: d.teamsLocked(subject)}
	if u := d.users.byID[subject]; u != nil {
		p.Role = u.role
	}
	return p
}

// Person is what servers may be told of somebody.
type Person struct {
	ID, Name, Email string
	Teams           []string // sorted
	Revision        uint64   // grows when something of it changes
}

// Person finds somebody who has a record or a key. The two that come without are
// found without as well.
func (d *Directory) Person(subject string) (Person, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	u := d.users.byID[subject]
	p := Person{ID: subject, Teams: d.teamsLocked(subject), Revision: d.keyed[subject]}
	if u != nil {
		p.Name, p.Email, p.Revision = u.name, u.email, max(p.Revision, u.version, u.teams.since)
	}
	return p, u != nil || reserved(subject) || len(d.bySubject[subject]) > 0
}

// HasTeam reports whether anybody could be in a team: it has a record, or a key of the
// file names it.
func (d *Directory) HasTeam(id string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.teams.byID[id] != nil || slices.ContainsFunc(d.keys.order, func(k *key) bool { return k.file && slices.Contains(k.Teams, id) })
}

// teamsLocked are the teams of a subject, whichever of its keys it comes with. mu is
// held.
func (d *Directory) teamsLocked(subject string) []string {
	var teams []string
	if u := d.users.byID[subject]; u != nil {
		teams = u.teams.live
	}
	for _, k := range d.bySubject[subject] {
		if len(k.Teams) > 0 && k.principal.Subject != "" {
			teams = both(teams, k.principal.Teams)
		}
	}
	return teams
}

// decideLocked works out who comes with a key. mu is held.
func (d *Directory) decideLocked(k *key, now time.Time) {
	k.principal, k.refused = jackfield.Principal{}, ""
	subject := k.subject()
	u := d.users.byID[subject]
	switch {
	case k.expired(now):
		k.refused = k.expiry()
	case u == nil && k.Recorded:
		k.refused = "its user " + quoted(subject) + " was removed"
	case u == nil && d.orphanLocked(k):
		k.refused = "the key that it was made with is not in the configuration any more"
	case u != nil && u.disabled && !reserved(subject):
		k.refused = "its user " + quoted(subject) + " is disabled; ask an admin"
	}
	if k.refused != "" {
		return
	}
	p := jackfield.Principal{Subject: subject, Role: k.Role, Credential: k.id, Only: k.Servers}
	if p.Role == "" {
		p.Role = jackfield.RoleUser
		if u != nil && !reserved(subject) {
			p.Role = u.role
		}
	}
	switch {
	case k.file:
		p.Teams = k.Teams
	default:
		p.Teams = d.existingLocked(k.Teams)
	}
	if u != nil {
		if k.own() && !reserved(subject) {
			p.Teams = nil
			if p.Role.Covers(u.role) {
				p.Role = u.role
			}
		}
		p.Teams = both(u.teams.live, p.Teams)
	}
	k.principal = p
}

// own reports whether somebody made the key for themselves.
func (k *key) own() bool { return !k.file && k.Maker == k.subject() }

// orphanLocked reports whether the key was made with a file key that is gone. mu is
// held.
func (d *Directory) orphanLocked(k *key) bool {
	return len(k.Via) > len(filePrefix) && k.Via[:len(filePrefix)] == filePrefix && d.keys.byID[k.Via] == nil
}

func (k *key) expired(now time.Time) bool { return !k.Expires.IsZero() && !now.Before(k.Expires) }

func (k *key) expiry() string { return "it expired at " + k.Expires.UTC().Format(time.RFC3339) }

// existingLocked are those of some teams which have a record. mu is held.
func (d *Directory) existingLocked(names []string) []string {
	gone := func(name string) bool { return d.teams.byID[name] == nil }
	if !slices.ContainsFunc(names, gone) {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), gone)
}

// tidy sorts names and has each of them once; nil when there are none.
func tidy(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

// both are the names of two tidy lists. It does not change them.
func both(a, b []string) []string {
	if len(b) == 0 {
		return a
	}
	if len(a) == 0 {
		return b
	}
	return tidy(slices.Concat(a, b))
}
