package authn

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// User is somebody with a record.
type User struct {
	Subject  string
	Name     string
	Email    string
	Role     jackfield.Role // empty: user
	Teams    []string       // sorted
	Disabled bool           // keys are refused

	Revision         uint64
	Created, Changed time.Time
	By               string // the subject of who wrote it
}

// Team is people who share servers.
type Team struct {
	ID          string
	Title       string
	Description string

	Revision         uint64
	Created, Changed time.Time
	By               string
}

// Condition is the revision that a record must have to be written or removed; zero: it
// must not be there. Anyway: whatever it has, and whether or not it is there.
type Condition struct {
	If     uint64
	Anyway bool
}

// pageSize is how many a list has when nobody says it, and mostListed how many it has
// at most.
const (
	pageSize   = 100
	mostListed = 1001 // with the one more that tells whether there is another page
)

func bounded(most int) int {
	if most <= 0 {
		return pageSize
	}
	return min(most, mostListed)
}

// Users are the users of the directory. Lists are in the order of subjects.
type Users struct{ d *Directory }

// Users are the users.
func (d *Directory) Users() Users { return Users{d} }

// List are at most so many users whose subjects come behind after. For admins.
func (u Users) List(by jackfield.Principal, after string, most int) ([]User, error) {
	if err := admins(by, "the users are listed"); err != nil {
		return nil, err
	}
	return u.d.listUsers(after, most, func(*user) bool { return true }), nil
}

func (d *Directory) listUsers(after string, most int, wanted func(*user) bool) []User {
	most = bounded(most)
	d.mu.RLock()
	defer d.mu.RUnlock()
	var out []User
	d.users.page(after, func(one *user) bool {
		if wanted(one) {
			out = append(out, one.show())
		}
		return len(out) < most
	})
	return out
}

// Get is one user. For admins and for the user.
func (u Users) Get(by jackfield.Principal, subject string) (User, error) {
	if by.Subject != subject {
		if err := admins(by, "other users are looked at"); err != nil {
			return User{}, err
		}
	}
	u.d.mu.RLock()
	defer u.d.mu.RUnlock()
	one := u.d.users.byID[subject]
	if one == nil {
		return User{}, noUser(subject)
	}
	return one.show(), nil
}

// Put writes a user. For admins. Its error is Invalid with all Faults in its chain, or
// Conflict.
func (u Users) Put(ctx context.Context, by jackfield.Principal, one User, cond Condition) (User, error) {
	if err := admins(by, "users are changed"); err != nil {
		return User{}, err
	}
	d := u.d
	one.Teams = tidy(one.Teams)
	d.mu.RLock()
	faults := d.checkUserLocked(one)
	var before User
	if held := d.users.byID[one.Subject]; held != nil {
		before = held.show()
	}
	d.mu.RUnlock()
	if err := faults.in("the user " + quoted(one.Subject)); err != nil {
		return User{}, err
	}
	if by.Subject == one.Subject && !reserved(one.Subject) &&
		(one.Disabled || before.Role == jackfield.RoleAdmin && one.Role != jackfield.RoleAdmin) {
		return User{}, jackfield.Errorf(jackfield.Forbidden, "admins cannot disable themselves or give up their role, so that one is left; ask another admin")
	}
	same := one.Name == before.Name && one.Email == before.Email && slices.Equal(one.Teams, before.Teams)
	written, err := d.write(ctx, by, userWrite(one, cond, !same))
	if err != nil {
		return User{}, err
	}
	one.Role = role(one.Role)
	one.Revision, one.Created, one.Changed, one.By = written.Revision, written.Created, written.Changed, written.By
	return one, nil
}

// userWrite is the write of a user. A new version is news for those who tell servers of
// the person.
func userWrite(one User, cond Condition, version bool) record.Write {
	body, _ := json.Marshal(userBody[[]string]{Name: one.Name, Email: one.Email, Role: one.Role, Teams: one.Teams, Disabled: one.Disabled}) // it cannot fail
	return record.Write{
		Ref: record.Ref{Kind: record.User, ID: one.Subject}, If: cond.If, Anyway: cond.Anyway, Body: body, NewVersion: version,
	}
}

// checkUserLocked finds what is wrong with a user. mu is held.
func (d *Directory) checkUserLocked(one User) Faults {
	var faults Faults
	faults.subject("subject", one.Subject)
	faults.name("name", one.Name)
	faults.email("email", one.Email)
	faults.role("role", one.Role)
	d.checkTeamsLocked(&faults, one.Teams)
	if reserved(one.Subject) && (one.Disabled || one.Role != "" && one.Role != jackfield.RoleAdmin) {
		faults.add("subject", "%q is always an admin: it comes with what the configuration gives it", one.Subject)
	}
	return faults
}

// checkTeamsLocked checks teams that somebody is to belong to. mu is held.
func (d *Directory) checkTeamsLocked(faults *Faults, teams []string) {
	n := len(*faults)
	if faults.teams("teams", teams); len(*faults) > n {
		return
	}
	for _, id := range teams {
		if d.teams.byID[id] == nil {
			faults.add("teams", "has %s, and there is no such team; make it first", quoted(id))
		}
	}
}

// Remove removes a user, the keys with it and, in the same write, whatever else belongs
// to it. For admins.
func (u Users) Remove(ctx context.Context, by jackfield.Principal, subject string, cond Condition, more ...record.Write) error {
	if err := admins(by, "users are removed"); err != nil {
		return err
	}
	if by.Subject == subject && !reserved(subject) {
		return jackfield.Errorf(jackfield.Forbidden, "admins cannot remove themselves, so that one is left; ask another admin")
	}
	d := u.d
	d.mu.RLock()
	found := d.users.byID[subject] != nil
	writes := []record.Write{{Ref: record.Ref{Kind: record.User, ID: subject}, If: cond.If, Anyway: cond.Anyway, Remove: true}}
	if !reserved(subject) {
		for _, k := range d.bySubject[subject] {
			if !k.file {
				writes = append(writes, record.Write{Ref: record.Ref{Kind: record.Key, ID: k.id}, Anyway: true, Remove: true})
			}
		}
	}
	d.mu.RUnlock()
	if !found {
		return noUser(subject)
	}
	_, err := d.write(ctx, by, append(writes, more...)...)
	return err
}

// Teams are the teams of the directory. Lists are in the order of ids.
type Teams struct{ d *Directory }

// Teams are the teams.
func (d *Directory) Teams() Teams { return Teams{d} }

// List are at most so many teams whose ids come behind after: all for admins, else
// those of the caller.
func (t Teams) List(by jackfield.Principal, after string, most int) []Team {
	most = bounded(most)
	t.d.mu.RLock()
	defer t.d.mu.RUnlock()
	var out []Team
	t.d.teams.page(after, func(one *team) bool {
		if sees(by, one.id) {
			out = append(out, one.show())
		}
		return len(out) < most
	})
	return out
}

// Get is one team. For admins and members; for others there is none.
func (t Teams) Get(by jackfield.Principal, id string) (Team, error) {
	t.d.mu.RLock()
	defer t.d.mu.RUnlock()
	one := t.d.teams.byID[id]
	if one == nil || !sees(by, id) {
		return Team{}, noTeam(id)
	}
	return one.show(), nil
}

// Put writes a team. For admins. Its errors are those of Users.Put.
func (t Teams) Put(ctx context.Context, by jackfield.Principal, one Team, cond Condition) (Team, error) {
	if err := admins(by, "teams are changed"); err != nil {
		return Team{}, err
	}
	var faults Faults
	faults.team("id", one.ID)
	faults.name("title", one.Title)
	faults.description("description", one.Description)
	if err := faults.in("the team " + quoted(one.ID)); err != nil {
		return Team{}, err
	}
	body, _ := json.Marshal(teamBody{Title: one.Title, Description: one.Description}) // it cannot fail
	written, err := t.d.write(ctx, by, record.Write{
		Ref: record.Ref{Kind: record.Team, ID: one.ID}, If: cond.If, Anyway: cond.Anyway, Body: body,
	})
	if err != nil {
		return Team{}, err
	}
	one.Revision, one.Created, one.Changed, one.By = written.Revision, written.Created, written.Changed, written.By
	return one, nil
}

// Remove removes a team, takes it from its members and from keys, and, in the same
// write, removes whatever else belongs to it. For admins.
func (t Teams) Remove(ctx context.Context, by jackfield.Principal, id string, cond Condition, more ...record.Write) error {
	if err := admins(by, "teams are removed"); err != nil {
		return err
	}
	d := t.d
	d.mu.RLock()
	found := d.teams.byID[id] != nil
	writes := []record.Write{{Ref: record.Ref{Kind: record.Team, ID: id}, If: cond.If, Anyway: cond.Anyway, Remove: true}}
	for _, u := range d.users.order {
		if slices.Contains(u.teams.names, id) {
			one := u.show()
			one.Teams = leaving(u.teams.names, id)
			writes = append(writes, userWrite(one, Condition{If: u.revision}, true))
		}
	}
	for _, k := range d.keys.order {
		if !k.file && slices.Contains(k.Teams, id) {
			writes = append(writes, k.write(leaving(k.Teams, id)))
		}
	}
	d.mu.RUnlock()
	if !found {
		return noTeam(id)
	}
	_, err := d.write(ctx, by, append(writes, more...)...)
	return err
}

// Members are at most so many users of a team whose subjects come behind after. For
// admins and members.
func (t Teams) Members(by jackfield.Principal, id, after string, most int) ([]User, error) {
	if _, err := t.Get(by, id); err != nil {
		return nil, err
	}
	return t.d.listUsers(after, most, func(u *user) bool { return slices.Contains(u.teams.live, id) }), nil
}

// Join makes a user a member of a team, and Leave ends that. Who is one already, or is
// none, stays so. For admins.
func (t Teams) Join(ctx context.Context, by jackfield.Principal, id, subject string) (User, error) {
	return t.move(ctx, by, id, subject, func(teams []string) []string { return tidy(append(teams, id)) })
}

// Leave ends the membership of a user in a team.
func (t Teams) Leave(ctx context.Context, by jackfield.Principal, id, subject string) (User, error) {
	return t.move(ctx, by, id, subject, func(teams []string) []string { return leaving(teams, id) })
}

// tries is how often a change of a user is tried that somebody else changes meanwhile.
const tries = 3

func (t Teams) move(ctx context.Context, by jackfield.Principal, id, subject string, change func([]string) []string) (User, error) {
	if err := admins(by, "members of teams are changed"); err != nil {
		return User{}, err
	}
	if _, err := t.Get(by, id); err != nil {
		return User{}, err
	}
	users := Users(t)
	for try := 1; ; try++ {
		one, err := users.Get(by, subject)
		if err != nil {
			return User{}, err
		}
		teams := change(slices.Clone(one.Teams))
		if slices.Equal(teams, one.Teams) {
			return one, nil
		}
		one.Teams = teams
		one, err = users.Put(ctx, by, one, Condition{If: one.Revision})
		if err == nil || try == tries || jackfield.CodeOf(err) != jackfield.Conflict {
			return one, err
		}
	}
}

// leaving are the names of a tidy list without one.
func leaving(names []string, id string) []string {
	return tidy(slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == id }))
}

// write writes to the store and returns the first record.
func (d *Directory) write(ctx context.Context, by jackfield.Principal, writes ...record.Write) (record.Record, error) {
	if d.writer == nil {
		return record.Record{}, jackfield.Errorf(jackfield.Invalid, "this gateway has no store, so that people, teams and keys are what its configuration says")
	}
	written, err := d.writer.Write(ctx, by.Subject, writes...)
	if err != nil {
		return record.Record{}, err
	}
	return written[0], nil
}

func (u *user) show() User {
	return User{
		Subject: u.subject, Name: u.name, Email: u.email, Role: u.role, Teams: u.teams.live, Disabled: u.disabled,
		Revision: u.revision, Created: time.Unix(0, u.created).UTC(), Changed: time.Unix(0, u.changed).UTC(), By: u.by,
	}
}

func (t *team) show() Team {
	return Team{
		ID: t.id, Title: t.Title, Description: t.Description,
		Revision: t.revision, Created: t.created, Changed: t.changed, By: t.by,
	}
}

func admin(p jackfield.Principal) bool { return p.Role.Covers(jackfield.RoleAdmin) }

// admins refuses everybody else. what ends with a verb.
func admins(by jackfield.Principal, what string) error {
	if admin(by) {
		return nil
	}
	return jackfield.Errorf(jackfield.Forbidden, "%s by admins only; ask one", what)
}

// sees reports whether a team is there for somebody.
func sees(by jackfield.Principal, team string) bool {
	return admin(by) || by.Is(jackfield.Team(team))
}

func noUser(subject string) error {
	return jackfield.Errorf(jackfield.NotFound, "there is no user %s", quoted(subject))
}

func noTeam(id string) error {
	return jackfield.Errorf(jackfield.NotFound, "there is no team %s", quoted(id))
}
