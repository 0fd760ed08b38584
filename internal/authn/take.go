package authn

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// Lost says whose calls and streams must end, because they may not do any more what
// they did when these began.
type Lost struct {
	Subject    string
	Credential string // only those who came with this key; empty: with whatever they came
	Reason     string // in words for a person
}

// Is reports whether a principal is one of those.
func (l Lost) Is(p jackfield.Principal) bool {
	return p.Subject == l.Subject && (l.Credential == "" || p.Credential == l.Credential)
}

// The bodies of the records.
type (
	userBody[T any] struct {
		Name     string         `json:"name,omitempty"`
		Email    string         `json:"email,omitempty"`
		Role     jackfield.Role `json:"role,omitempty"`
		Teams    T              `json:"teams,omitempty"`
		Disabled bool           `json:"disabled,omitempty"`
	}
	teamBody struct {
		Title       string `json:"title,omitempty"`
		Description string `json:"description,omitempty"`
	}
	keyBody struct {
		Name     string         `json:"name"`
		User     string         `json:"user,omitempty"` // empty: the key is somebody by itself
		Hash     string         `json:"hash,omitempty"`
		Role     jackfield.Role `json:"role,omitempty"`
		Teams    []string       `json:"teams,omitempty"`
		Servers  []string       `json:"servers,omitempty"`
		Expires  time.Time      `json:"expires,omitzero"`
		Maker    string         `json:"maker,omitempty"`    // the subject of who made it
		Via      string         `json:"via,omitempty"`      // the key that it was made with
		Recorded bool           `json:"recorded,omitempty"` // its user had a record then
	}
)

// news is a batch as it was read, before anything of it is known to anybody.
type news struct {
	all   bool
	head  uint64
	users []member // in order
	teams []*team
	keys  []*key
	gone  map[record.Kind][]string
}

// member is a user who has not joined the teams yet.
type member struct {
	*user
	*roster
}

// roster is the teams that a record names: sorted, each once.
type roster struct {
	names []string
	id    string
}

// rosters are those that were read, by their JSON. Most users share theirs with many.
type rosters map[string]*roster

func (all rosters) read(text json.RawMessage) (*roster, bool) {
	if r := all[string(text)]; r != nil {
		return r, true
	}
	var names []string
	if len(text) > 0 && json.Unmarshal(text, &names) != nil {
		return newRoster(nil), false
	}
	r := newRoster(names)
	all[string(text)] = r
	return r, true
}

func newRoster(names []string) *roster {
	names = tidy(names)
	return &roster{names: names, id: strings.Join(names, "\x00")}
}

// Take learns what the store has to tell. What it returns is everybody who lost
// something by it.
func (d *Directory) Take(b record.Batch) []Lost {
	n := read(b)
	d.mu.Lock()
	defer d.mu.Unlock()
	if n.all {
		d.missingLocked(n)
	}
	t := &taking{d: d, news: n, lost: map[string]string{}, touched: map[string]bool{}, now: time.Now()}
	t.teamsLocked()
	t.usersLocked()
	t.keysLocked()
	t.decideLocked()
	select {
	case d.wake <- struct{}{}:
	default: // it will look anyway
	}
	return t.losses
}

// read decodes the records of a batch. What cannot be read lets nobody in.
func read(b record.Batch) *news {
	n := &news{all: b.All, head: b.Head, gone: map[record.Kind][]string{}}
	for _, ref := range b.Gone {
		n.gone[ref.Kind] = append(n.gone[ref.Kind], ref.ID)
	}
	var body userBody[json.RawMessage] // again and again, for there may be many
	known := rosters{}
	for _, r := range b.Records {
		by := unique.Make(r.By).Value()
		switch r.Kind { //nolint:exhaustive // the others are other rooms'
		case record.User:
			body = userBody[json.RawMessage]{Teams: body.Teams[:0]}
			err := json.Unmarshal(r.Body, &body)
			in, ok := known.read(body.Teams)
			u := &user{
				by: by, role: role(body.Role), disabled: body.Disabled || err != nil || !ok, revision: r.Revision, version: r.Version,
				created: r.Created.UnixNano(), changed: r.Changed.UnixNano(),
			}
			u.setText(r.ID, body.Name, body.Email)
			n.users = append(n.users, member{u, in})
		case record.Team:
			t := &team{id: r.ID, revision: r.Revision, version: r.Version, created: r.Created, changed: r.Changed, by: by}
			_ = json.Unmarshal(r.Body, &t.teamBody) // without a title it is a team all the same
			n.teams = append(n.teams, t)
		case record.Key:
			k := &key{id: r.ID, revision: r.Revision, created: r.Created, by: by}
			err := json.Unmarshal(r.Body, &k.keyBody)
			var ok bool
			if k.digest, ok = parseHash(k.Hash); !ok || err != nil || k.subject() == "" || len(r.ID) != idLength || strings.HasPrefix(r.ID, filePrefix) {
				n.gone[record.Key] = append(n.gone[record.Key], r.ID)
				continue
			}
			k.Hash, k.Teams, k.Servers = "", tidy(k.Teams), tidy(k.Servers)
			n.keys = append(n.keys, k)
		}
	}
	slices.SortFunc(n.users, func(a, b member) int { return strings.Compare(a.subject, b.subject) })
	return n
}

// setText has the three texts in one piece of memory.
func (u *user) setText(subject, name, email string) {
	all := subject + name + email
	u.subject, u.name, u.email = all[:len(subject)], all[len(subject):len(subject)+len(name)], all[len(subject)+len(name):]
}

// role is a role that there is.
func role(r jackfield.Role) jackfield.Role {
	for _, one := range jackfield.Roles() {
		if r == one {
			return one
		}
	}
	return jackfield.RoleUser
}

// missingLocked finds what is known and not in a batch that has everything. mu is
// held.
func (d *Directory) missingLocked(n *news) {
	find := func(kind record.Kind, held int, ids func(func(string)), each func(func(string))) {
		if held == 0 {
			return
		}
		there := make(map[string]struct{}, held)
		ids(func(id string) { there[id] = struct{}{} })
		each(func(id string) {
			if _, ok := there[id]; !ok {
				n.gone[kind] = append(n.gone[kind], id)
			}
		})
	}
	find(record.User, len(d.users.order), func(visit func(string)) {
		for _, m := range n.users {
			visit(m.subject)
		}
	}, walk(d.users.order, d.users.id))
	find(record.Team, len(d.teams.order), walk(n.teams, d.teams.id), walk(d.teams.order, d.teams.id))
	find(record.Key, len(d.keys.order), walk(n.keys, d.keys.id), walk(d.keys.order, d.keys.id))
}

func walk[T any](things []*T, id func(*T) string) func(func(string)) {
	return func(visit func(string)) {
		for _, t := range things {
			visit(id(t))
		}
	}
}

// taking is a Take under way. mu is held in all its methods.
type taking struct {
	d *Directory
	*news
	now time.Time

	losses  []Lost
	lost    map[string]string // subjects that lost something, and what
	touched map[string]bool   // subjects with keys whose record is another now
	fresh   []*key            // keys that are new or another now
	every   bool              // all keys are to be decided anew
}

// lose notes that a subject lost something.
func (t *taking) lose(subject, reason string) {
	if _, known := t.lost[subject]; !known {
		t.lost[subject] = reason
		t.losses = append(t.losses, Lost{Subject: subject, Reason: reason})
	}
}

func (t *taking) teamsLocked() {
	d := t.d
	var added []*team
	var gone []string
	for _, one := range t.teams {
		if old := d.teams.byID[one.id]; old == nil {
			added = append(added, one)
		} else if t.all || old.revision <= one.revision {
			*old = *one
		}
	}
	for _, id := range t.gone[record.Team] {
		if d.teams.byID[id] != nil {
			gone = append(gone, id)
		}
	}
	d.teams.add(added)
	d.teams.drop(gone)
	if t.every = len(added)+len(gone) > 0; !t.every {
		return
	}
	fewer := map[*teamSet]string{}
	for _, set := range d.sets {
		was := set.live
		d.reviveLocked(set)
		if left := without(was, set.live); left != "" {
			fewer[set] = left
			set.since = max(set.since, t.head)
		}
	}
	if len(fewer) == 0 {
		return
	}
	for _, u := range d.users.order {
		if left, ok := fewer[u.teams]; ok {
			t.lose(u.subject, left)
		}
	}
}

func (t *taking) usersLocked() {
	d := t.d
	var added []*user
	var gone []string
	for _, m := range t.users {
		u := m.user
		old := d.users.byID[u.subject]
		if old != nil && !t.all && old.revision > u.revision {
			continue
		}
		u.teams = d.joinLocked(m.roster)
		if old == nil {
			added = append(added, u)
		} else {
			if why := old.loss(u); why != "" {
				t.lose(u.subject, why)
			}
			d.leaveLocked(old.teams)
			*old = *u
		}
		t.touch(u.subject)
	}
	for _, subject := range t.gone[record.User] {
		if u := d.users.byID[subject]; u != nil {
			gone = append(gone, subject)
			d.leaveLocked(u.teams)
			t.touch(subject)
			t.lose(subject, "the user "+quoted(subject)+" was removed")
		}
	}
	d.users.add(added)
	d.users.drop(gone)
}

// touch notes that the keys that a subject has are to be decided anew. New ones are in
// any case.
func (t *taking) touch(subject string) {
	if len(t.d.bySubject[subject]) > 0 {
		t.touched[subject] = true
	}
}

// loss says what a user loses who becomes another; empty: nothing.
func (u *user) loss(next *user) string {
	switch {
	case next.disabled && !u.disabled:
		return "the user " + quoted(u.subject) + " is disabled"
	case !next.role.Covers(u.role):
		return "the role of " + quoted(u.subject) + " is " + string(next.role) + " now"
	}
	return without(u.teams.live, next.teams.live)
}

// without says which of some teams are not among others; empty: all are.
func without(was, is []string) string {
	for _, name := range was {
		if !slices.Contains(is, name) {
			return "the membership in the team " + quoted(name) + " has ended"
		}
	}
	return ""
}

func (t *taking) keysLocked() {
	d := t.d
	var added []*key
	var gone []string
	for _, k := range t.keys {
		old := d.keys.byID[k.id]
		if old != nil && !t.all && old.revision > k.revision {
			continue
		}
		if old == nil {
			added = append(added, k)
			d.bySubject[k.subject()] = append(d.bySubject[k.subject()], k)
			t.fresh = append(t.fresh, k)
			continue
		}
		if old.subject() != k.subject() || old.digest != k.digest {
			t.losses = append(t.losses, Lost{Subject: old.subject(), Credential: k.id, Reason: "the key " + quoted(old.Name) + " was replaced"})
		}
		d.forgetLocked(old)
		k.principal = old.principal // what it is compared with
		*old = *k
		d.bySubject[k.subject()] = append(d.bySubject[k.subject()], old)
		t.fresh = append(t.fresh, old)
	}
	for _, id := range t.gone[record.Key] {
		k := d.keys.byID[id]
		if k == nil || k.file {
			continue
		}
		t.mark(k)
		gone = append(gone, id)
		d.forgetLocked(k)
		t.losses = append(t.losses, Lost{Subject: k.subject(), Credential: id, Reason: "the key " + quoted(k.Name) + " was revoked"})
	}
	d.keys.add(added)
	d.keys.drop(gone)
}

// mark notes that the teams of whom a key is for may be others.
func (t *taking) mark(k *key) {
	if len(k.Teams) > 0 {
		t.d.keyed[k.subject()] = max(t.d.keyed[k.subject()], t.head)
	}
}

// decideLocked decides anew who comes with the keys of those who changed, and with all
// of them when there are other teams.
func (t *taking) decideLocked() {
	d := t.d
	for _, p := range []*jackfield.Principal{&d.local, &d.bearer} {
		p.Teams = nil
		if u := d.users.byID[p.Subject]; u != nil {
			p.Teams = u.teams.live
		}
	}
	if t.every {
		for _, k := range d.keys.order {
			t.decideKey(k)
		}
		return
	}
	for _, k := range t.fresh {
		t.decideKey(k)
	}
	for subject := range t.touched {
		for _, k := range d.bySubject[subject] {
			t.decideKey(k)
		}
	}
}

func (t *taking) decideKey(k *key) {
	was := k.principal
	t.d.decideLocked(k, t.now)
	if !slices.Equal(was.Teams, k.principal.Teams) {
		t.mark(k)
	}
	if was.Subject == "" || was.Subject != k.subject() {
		return // it let nobody in, or that was said already
	}
	is := k.principal
	var why string
	switch {
	case is.Subject == "":
		why = "the key " + quoted(k.Name) + " is refused: " + k.refused
	case !is.Role.Covers(was.Role):
		why = "the role of the key " + quoted(k.Name) + " is " + string(is.Role) + " now"
	case is.Only != nil && (was.Only == nil || slices.ContainsFunc(was.Only, func(s string) bool { return !slices.Contains(is.Only, s) })):
		why = "the key " + quoted(k.Name) + " is for fewer servers now"
	default:
		why = without(was.Teams, is.Teams)
	}
	if _, known := t.lost[k.subject()]; why != "" && !known {
		t.losses = append(t.losses, Lost{Subject: k.subject(), Credential: k.id, Reason: why})
	}
}

// forgetLocked takes a key from its subject. mu is held.
func (d *Directory) forgetLocked(k *key) {
	left := slices.DeleteFunc(d.bySubject[k.subject()], func(other *key) bool { return other == k })
	if len(left) == 0 {
		delete(d.bySubject, k.subject())
		return
	}
	d.bySubject[k.subject()] = left
}

// joinLocked is the set of these teams, with one user more. mu is held.
func (d *Directory) joinLocked(r *roster) *teamSet {
	set := d.sets[r.id]
	if set == nil {
		set = &teamSet{roster: *r}
		d.reviveLocked(set)
		d.sets[r.id] = set
	}
	set.users++
	return set
}

// leaveLocked takes a user from a set. mu is held.
func (d *Directory) leaveLocked(set *teamSet) {
	if set.users--; set.users == 0 {
		delete(d.sets, set.id)
	}
}

// reviveLocked finds out which of a set's teams exist. mu is held.
func (d *Directory) reviveLocked(set *teamSet) {
	set.live = d.existingLocked(set.names)
	for _, name := range set.live {
		set.since = max(set.since, d.teams.byID[name].version)
	}
}
