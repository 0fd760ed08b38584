package authn

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// Key is an API key as it may be shown.
type Key struct {
	ID      string // "file:NAME" for those of the configuration
	Name    string
	User    string         // the subject of who comes with it
	Role    jackfield.Role // empty: that of the user
	Teams   []string       // besides those of the user; sorted
	Servers []string       // the names of the only servers that it is for; empty: all
	Expires time.Time      // zero: never

	Refused  string // why it lets nobody in now; empty: it does
	FromFile bool   // it is changed in the configuration only
	Maker    string // the subject of who made it
	Via      string // the id of the key that it was made with; empty: with none
	Revision uint64
	Created  time.Time
	By       string // the subject of who wrote it last
}

// Keys are the API keys of the directory, those of the configuration included. Lists
// are in the order of ids.
type Keys struct{ d *Directory }

// Keys are the API keys.
func (d *Directory) Keys() Keys { return Keys{d} }

// List are at most so many keys of a user whose ids come behind after. An empty user
// means everybody for admins, and the caller for others.
func (k Keys) List(by jackfield.Principal, user, after string, most int) ([]Key, error) {
	if !admin(by) {
		if user != "" && user != by.Subject {
			return nil, admins(by, "keys of others are listed")
		}
		user = by.Subject
	}
	most = bounded(most)
	d := k.d
	d.mu.RLock()
	defer d.mu.RUnlock()
	var out []Key
	now := time.Now()
	if user != "" {
		for _, one := range d.bySubject[user] {
			if one.id > after {
				out = append(out, one.show(now))
			}
		}
		slices.SortFunc(out, func(a, b Key) int { return strings.Compare(a.ID, b.ID) })
		return out[:min(len(out), most)], nil
	}
	d.keys.page(after, func(one *key) bool {
		out = append(out, one.show(now))
		return len(out) < most
	})
	return out, nil
}

// Get is one key. For admins and its user; for others there is none.
func (k Keys) Get(by jackfield.Principal, id string) (Key, error) {
	k.d.mu.RLock()
	defer k.d.mu.RUnlock()
	one := k.d.keys.byID[id]
	if one == nil || !admin(by) && one.subject() != by.Subject {
		return Key{}, noKey(id)
	}
	return one.show(time.Now()), nil
}

// Make makes a key and returns its text, which nobody can find out again. Name, User,
// Role, Teams, Servers and Expires of what is wanted are looked at. Without a User it is
// the caller's own, and ends no later than the key that the caller came with. A User
// without a record is somebody all the same. Errors are those of Users.Put, Forbidden,
// and Exhausted.
func (k Keys) Make(ctx context.Context, by jackfield.Principal, want Key) (Key, jackfield.Secret, error) {
	d := k.d
	body := keyBody{
		Name: want.Name, User: want.User, Role: want.Role, Teams: tidy(want.Teams), Servers: tidy(want.Servers),
		Expires: want.Expires.UTC(), Maker: by.Subject, Via: by.Credential,
	}
	if body.User == "" {
		body.User = by.Subject
	}
	if body.Role == "" && body.User == by.Subject && (by.Credential != "" || reserved(by.Subject)) {
		// A key that is worth less than its user makes none that is worth more.
		body.Role = role(by.Role)
	}
	if len(body.Servers) == 0 {
		body.Servers = by.Only
	}
	one := &key{keyBody: body}
	d.mu.RLock()
	var until time.Time
	if with := d.keys.byID[by.Credential]; with != nil && one.User == by.Subject {
		until = with.Expires
	}
	if one.Expires.IsZero() {
		one.Expires = until
	}
	faults := d.checkKeyLocked(one)
	one.Recorded = d.users.byID[one.subject()] != nil && !reserved(one.subject())
	most := maxKeys
	if !admin(by) {
		most = maxOwnKeys
	}
	many := len(d.bySubject[one.subject()]) >= most
	d.mu.RUnlock()
	if err := faults.in("the key " + quoted(want.Name)); err != nil {
		return Key{}, "", err
	}
	if err := mayMake(by, one); err != nil {
		return Key{}, "", err
	}
	if !until.IsZero() && one.Expires.After(until) {
		return Key{}, "", jackfield.Errorf(jackfield.Forbidden, "the key that you came with ends at %s, and yours that it makes end no later", until.Format(time.RFC3339))
	}
	if many {
		return Key{}, "", jackfield.Errorf(jackfield.Exhausted, "%s has %d keys, which is as many as there may be; revoke some of them", quoted(one.subject()), most)
	}
	secret, id, hash := NewKey()
	one.id, one.Hash = id, hash
	written, err := d.write(ctx, by, record.Write{Ref: record.Ref{Kind: record.Key, ID: id}, Body: one.body()})
	if err != nil {
		return Key{}, "", err
	}
	one.revision, one.created, one.by = written.Revision, written.Created, written.By
	return one.show(time.Now()), secret, nil
}

// checkKeyLocked finds what is wrong with a key. mu is held.
func (d *Directory) checkKeyLocked(k *key) Faults {
	var faults Faults
	if k.Name == "" {
		faults.add("name", "is missing")
	} else {
		faults.name("name", k.Name)
	}
	faults.subject("user", k.User)
	faults.role("role", k.Role)
	d.checkTeamsLocked(&faults, k.Teams)
	faults.servers("servers", k.Servers)
	if n := len(strings.Join(k.Servers, "")); n > maxServersBytes {
		faults.add("servers", "have %d bytes; at most %d are kept", n, maxServersBytes)
	}
	faults.expires("expires", k.Expires)
	return faults
}

// mayMake says why somebody may not make a key.
func mayMake(by jackfield.Principal, k *key) error {
	if by.Only != nil {
		for _, name := range k.Servers {
			if !slices.Contains(by.Only, name) {
				return jackfield.Errorf(jackfield.Forbidden, "the key that you came with is not for the server %s, and makes no keys for it", quoted(name))
			}
		}
	}
	if admin(by) {
		return nil
	}
	if k.User != by.Subject {
		return admins(by, "keys for others are made")
	}
	if !by.Role.Covers(k.Role) {
		return jackfield.Errorf(jackfield.Forbidden, "the role of your keys is at most yours, which is %s", role(by.Role))
	}
	for _, id := range k.Teams {
		if !by.Is(jackfield.Team(id)) {
			return jackfield.Errorf(jackfield.Forbidden, "you are no member of the team %s, and your keys cannot be", quoted(id))
		}
	}
	return nil
}

// Remove revokes a key. For admins and its user.
func (k Keys) Remove(ctx context.Context, by jackfield.Principal, id string, cond Condition) error {
	one, err := k.Get(by, id)
	if err != nil {
		return err
	}
	if one.FromFile {
		return jackfield.Errorf(jackfield.Forbidden, "the key %s is in the configuration: remove it from auth.keys there", quoted(one.Name))
	}
	_, err = k.d.write(ctx, by, record.Write{Ref: record.Ref{Kind: record.Key, ID: id}, If: cond.If, Anyway: cond.Anyway, Remove: true})
	return err
}

// write is the write of a key with other teams.
func (k *key) write(teams []string) record.Write {
	next := key{keyBody: k.keyBody}
	next.Teams, next.Hash = teams, hashPrefix+hex.EncodeToString(k.digest[:])
	return record.Write{Ref: record.Ref{Kind: record.Key, ID: k.id}, If: k.revision, Body: next.body()}
}

func (k *key) body() []byte {
	body, _ := json.Marshal(k.keyBody) // it cannot fail: the year was checked
	return body
}

func (k *key) show(now time.Time) Key {
	out := Key{
		ID: k.id, Name: k.Name, User: k.subject(), Role: k.Role, Teams: k.Teams, Servers: k.Servers, Expires: k.Expires,
		Refused: k.refused, FromFile: k.file, Maker: k.Maker, Via: k.Via, Revision: k.revision, Created: k.created, By: k.by,
	}
	if k.expired(now) {
		out.Refused = k.expiry()
	}
	return out
}

func noKey(id string) error {
	return jackfield.Errorf(jackfield.NotFound, "there is no key %s", quoted(id))
}
