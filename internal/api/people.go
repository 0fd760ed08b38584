package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/authn"
	"github.com/jackfield-dev/jackfield/internal/record"
	"github.com/jackfield-dev/jackfield/internal/registry"
)

// IfMatch is in the input of what changes something that may have been changed
// meanwhile.
type IfMatch struct {
	IfMatch string `header:"If-Match" maxLength:"64" doc:"the revision that it must have, as the ETag of GET has it; * for whatever it is by now"`
}

// revision is what If-Match says; anyway for *.
func (m IfMatch) revision() (revision uint64, anyway bool, err error) {
	switch m.IfMatch {
	case "":
		return 0, false, errNoIfMatch
	case "*":
		return 0, true, nil
	}
	text, quoted := strings.CutPrefix(m.IfMatch, `"`)
	text, ended := strings.CutSuffix(text, `"`)
	revision, err = strconv.ParseUint(text, 10, 64)
	if err != nil || quoted != ended || revision == 0 {
		return 0, false, jackfield.Errorf(jackfield.Invalid, `If-Match is %.40q; send one revision, as the ETag of GET has it, such as "7"`, m.IfMatch)
	}
	return revision, false, nil
}

func (m IfMatch) person() (authn.Condition, error) {
	revision, anyway, err := m.revision()
	return authn.Condition{If: revision, Anyway: anyway}, err
}

// etag is a revision as a header; empty, and so not sent, for what has none.
func etag(revision uint64) string {
	if revision == 0 {
		return ""
	}
	return `"` + strconv.FormatUint(revision, 10) + `"`
}

// made is the answer about something new.
func made[T any](path, id string, revision uint64, body T) *created[T] {
	return &created[T]{Status: http.StatusCreated, Location: base + path + url.PathEscape(id), ETag: etag(revision), Body: body}
}

// listed is the page of a list that is kept in the order of ids.
func listed[T, S any](p Paging, list func(after string, most int) ([]T, error), id func(*T) string, show func(T) S) ([]S, Page, error) {
	m, err := from(p.Cursor)
	if err != nil {
		return nil, Page{}, err
	}
	all, err := list(m.After, p.Limit+1)
	if err != nil {
		return nil, Page{}, err
	}
	var next Page
	if len(all) > p.Limit {
		all = all[:p.Limit]
		next.NextCursor = mark{After: id(&all[p.Limit-1])}.cursor()
	}
	shown := make([]S, 0, len(all))
	for _, one := range all {
		shown = append(shown, show(one))
	}
	return shown, next, nil
}

// OneID is in the input of what is about one thing.
type OneID struct {
	ID string `path:"id" maxLength:"320" doc:"a / in it is written %2F"`
}

// OneSubject is in the input of what is about one user.
type OneSubject struct {
	Subject string `path:"subject" maxLength:"256" doc:"a / in it is written %2F"`
}

func (e *edge) userRoutes() {
	users, tags := e.People.Users(), []string{"people"}
	type asked struct {
		caller
		Paging
	}
	handle(e, huma.Operation{
		OperationID: "list-users", Method: http.MethodGet, Path: "/users", Tags: tags, Summary: "The users, in the order of subjects; for admins",
	}, func(_ context.Context, who jackfield.Principal, in *asked) (*plain[UserList], error) {
		list := func(after string, most int) ([]authn.User, error) { return users.List(who, after, most) }
		all, next, err := listed(in.Paging, list, func(u *authn.User) string { return u.Subject }, showUser)
		return &plain[UserList]{UserList{all, next}}, err
	})
	type askedNew struct {
		caller
		Body NewUser
	}
	handle(e, huma.Operation{
		OperationID: "make-user", Method: http.MethodPost, Path: "/users", Tags: tags, Summary: "Add a user; for admins", DefaultStatus: http.StatusCreated,
	}, func(ctx context.Context, who jackfield.Principal, in *askedNew) (*created[User], error) {
		u, err := users.Put(ctx, who, userOf(in.Body.Subject, in.Body.EditUser), authn.Condition{})
		return made("/users/", u.Subject, u.Revision, showUser(u)), taken(err, fmt.Sprintf("the user %q", in.Body.Subject), "/users/"+url.PathEscape(in.Body.Subject))
	})
	type askedOne struct {
		caller
		OneSubject
	}
	handle(e, huma.Operation{
		OperationID: "get-user", Method: http.MethodGet, Path: "/users/{subject}", Tags: tags, Summary: "One user; for admins and the user",
	}, func(_ context.Context, who jackfield.Principal, in *askedOne) (*tagged[User], error) {
		u, err := users.Get(who, in.Subject)
		return &tagged[User]{etag(u.Revision), showUser(u)}, err
	})
	type askedEdit struct {
		caller
		IfMatch
		OneSubject
		Body EditUser
	}
	handle(e, huma.Operation{
		OperationID: "edit-user", Method: http.MethodPut, Path: "/users/{subject}", Tags: tags, Summary: "Change a user, all of it; for admins",
	}, func(ctx context.Context, who jackfield.Principal, in *askedEdit) (*tagged[User], error) {
		cond, err := in.person()
		var u authn.User
		if err == nil {
			u, err = users.Put(ctx, who, userOf(in.Subject, in.Body), cond)
		}
		return &tagged[User]{etag(u.Revision), showUser(u)}, stale(err)
	})
	type askedGone struct {
		caller
		IfMatch
		OneSubject
	}
	handle(e, huma.Operation{
		OperationID: "remove-user", Method: http.MethodDelete, Path: "/users/{subject}", Tags: tags,
		Summary: "Remove a user; for admins", Description: "With the keys, the definitions and the values of variables that belong to the user.",
	}, func(ctx context.Context, who jackfield.Principal, in *askedGone) (*nothing, error) {
		cond, err := in.person()
		if err == nil {
			var more []record.Write
			if more, err = e.belongings(ctx, who, jackfield.User(in.Subject)); err == nil {
				err = users.Remove(ctx, who, in.Subject, cond, more...)
			}
		}
		return nil, stale(err)
	})
}

// belongings is what goes with somebody, or with a team, in the same write: nobody who
// has the name later finds it there, or what others entered for its definitions.
func (h *Handler) belongings(ctx context.Context, who jackfield.Principal, scope jackfield.Scope) ([]record.Write, error) {
	var writes []record.Write
	gone := map[jackfield.ServerID]bool{}
	if h.Registry != nil {
		for _, d := range h.Registry.Definitions(who) {
			if d.Scope == scope && d.Source == registry.FromStore {
				writes = append(writes, record.Write{Ref: record.Ref{Kind: record.Server, ID: string(d.ID)}, Anyway: true, Remove: true})
				gone[d.ID] = true
			}
		}
	}
	if h.Credentials == nil {
		return writes, nil
	}
	if scope.Kind == jackfield.ScopeUser {
		return append(writes, h.Credentials.Removal("", scope)...), nil
	}
	left, err := h.Credentials.Leave(ctx, who, func(id jackfield.ServerID) bool { return gone[id] })
	return append(writes, left...), err
}

func (e *edge) teamRoutes() {
	teams, tags := e.People.Teams(), []string{"people"}
	type asked struct {
		caller
		Paging
	}
	handle(e, huma.Operation{
		OperationID: "list-teams", Method: http.MethodGet, Path: "/teams", Tags: tags, Summary: "The caller's teams; all for admins",
	}, func(_ context.Context, who jackfield.Principal, in *asked) (*plain[TeamList], error) {
		list := func(after string, most int) ([]authn.Team, error) { return teams.List(who, after, most), nil }
		all, next, err := listed(in.Paging, list, func(t *authn.Team) string { return t.ID }, showTeam)
		return &plain[TeamList]{TeamList{all, next}}, err
	})
	type askedNew struct {
		caller
		Body NewTeam
	}
	handle(e, huma.Operation{
		OperationID: "make-team", Method: http.MethodPost, Path: "/teams", Tags: tags, Summary: "Add a team; for admins", DefaultStatus: http.StatusCreated,
	}, func(ctx context.Context, who jackfield.Principal, in *askedNew) (*created[Team], error) {
		t, err := teams.Put(ctx, who, teamOf(in.Body.ID, in.Body.EditTeam), authn.Condition{})
		return made("/teams/", t.ID, t.Revision, showTeam(t)), taken(err, fmt.Sprintf("the team %q", in.Body.ID), "/teams/"+url.PathEscape(in.Body.ID))
	})
	type askedOne struct {
		caller
		OneID
	}
	handle(e, huma.Operation{
		OperationID: "get-team", Method: http.MethodGet, Path: "/teams/{id}", Tags: tags, Summary: "One team; for admins and members",
	}, func(_ context.Context, who jackfield.Principal, in *askedOne) (*tagged[Team], error) {
		t, err := teams.Get(who, in.ID)
		return &tagged[Team]{etag(t.Revision), showTeam(t)}, err
	})
	type askedEdit struct {
		caller
		IfMatch
		OneID
		Body EditTeam
	}
	handle(e, huma.Operation{
		OperationID: "edit-team", Method: http.MethodPut, Path: "/teams/{id}", Tags: tags, Summary: "Change a team; for admins",
	}, func(ctx context.Context, who jackfield.Principal, in *askedEdit) (*tagged[Team], error) {
		cond, err := in.person()
		var t authn.Team
		if err == nil {
			t, err = teams.Put(ctx, who, teamOf(in.ID, in.Body), cond)
		}
		return &tagged[Team]{etag(t.Revision), showTeam(t)}, stale(err)
	})
	type askedGone struct {
		caller
		IfMatch
		OneID
	}
	handle(e, huma.Operation{
		OperationID: "remove-team", Method: http.MethodDelete, Path: "/teams/{id}", Tags: tags,
		Summary: "Remove a team; for admins", Description: "With its definitions, and from its members and from keys.",
	}, func(ctx context.Context, who jackfield.Principal, in *askedGone) (*nothing, error) {
		cond, err := in.person()
		if err == nil {
			err = e.removeTeam(ctx, who, in.ID, cond)
		}
		return nil, stale(err)
	})
	e.memberRoutes(teams, tags)
}

// removeTeam removes a team with what belongs to it. Who may not, or has seen another
// revision, removes nothing.
func (h *Handler) removeTeam(ctx context.Context, who jackfield.Principal, id string, cond authn.Condition) error {
	teams := h.People.Teams()
	if err := adminOnly(who); err != nil {
		return err
	}
	t, err := teams.Get(who, id)
	switch {
	case err != nil:
		return err
	case !cond.Anyway && cond.If != t.Revision:
		return (&record.Conflict{Ref: record.Ref{Kind: record.Team, ID: id}, Current: t.Revision}).AsError()
	}
	more, err := h.belongings(ctx, who, jackfield.Team(id))
	if err != nil {
		return err
	}
	return teams.Remove(ctx, who, id, cond, more...)
}

func (e *edge) memberRoutes(teams authn.Teams, tags []string) {
	type asked struct {
		caller
		OneID
		Paging
	}
	handle(e, huma.Operation{
		OperationID: "list-members", Method: http.MethodGet, Path: "/teams/{id}/members", Tags: tags, Summary: "Who is in a team; for admins and members",
	}, func(_ context.Context, who jackfield.Principal, in *asked) (*plain[MemberList], error) {
		list := func(after string, most int) ([]authn.User, error) { return teams.Members(who, in.ID, after, most) }
		all, next, err := listed(in.Paging, list, func(u *authn.User) string { return u.Subject }, showMember)
		return &plain[MemberList]{MemberList{all, next}}, err
	})
	type askedOne struct {
		caller
		OneID
		OneSubject
	}
	for method, change := range map[string]func(ctx context.Context, by jackfield.Principal, id, subject string) (authn.User, error){
		http.MethodPut: teams.Join, http.MethodDelete: teams.Leave,
	} {
		op := huma.Operation{
			OperationID: "join-team", Method: method, Path: "/teams/{id}/members/{subject}", Tags: tags, DefaultStatus: http.StatusOK,
			Summary: "Make a user a member; for admins. Who is one already stays so",
		}
		if method == http.MethodDelete {
			op.OperationID, op.Summary = "leave-team", "End a membership; for admins. Who is no member stays so"
		}
		handle(e, op, func(ctx context.Context, who jackfield.Principal, in *askedOne) (*plain[User], error) {
			u, err := change(ctx, who, in.ID, in.Subject)
			return &plain[User]{showUser(u)}, err
		})
	}
}

func (e *edge) keyRoutes() {
	keys, tags := e.People.Keys(), []string{"keys"}
	type asked struct {
		caller
		Paging
		User string `query:"user" maxLength:"256" doc:"only keys of this user, me for the caller; absent: all for admins, else the caller's"`
	}
	handle(e, huma.Operation{
		OperationID: "list-keys", Method: http.MethodGet, Path: "/keys", Tags: tags, Summary: "API keys, without what is secret in them",
	}, func(_ context.Context, who jackfield.Principal, in *asked) (*plain[APIKeyList], error) {
		user := in.User
		if user == "me" {
			user = who.Subject
		}
		list := func(after string, most int) ([]authn.Key, error) { return keys.List(who, user, after, most) }
		all, next, err := listed(in.Paging, list, func(k *authn.Key) string { return k.ID }, showKey)
		return &plain[APIKeyList]{APIKeyList{all, next}}, err
	})
	type askedNew struct {
		caller
		Body NewKey
	}
	handle(e, huma.Operation{
		OperationID: "make-key", Method: http.MethodPost, Path: "/keys", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Make an API key", Description: "The answer has the key itself, which is shown once.",
	}, func(ctx context.Context, who jackfield.Principal, in *askedNew) (*created[APIKey], error) {
		want := authn.Key{Name: in.Body.Name, User: in.Body.User, Role: in.Body.Role, Teams: in.Body.Teams, Servers: in.Body.Servers}
		if want.User == "me" {
			want.User = who.Subject
		}
		if in.Body.ExpiresAt != nil {
			want.Expires = *in.Body.ExpiresAt
		}
		k, text, err := keys.Make(ctx, who, want)
		shown := showKey(k)
		shown.Key = text.Reveal()
		return made("/keys/", k.ID, k.Revision, shown), err
	})
	type askedOne struct {
		caller
		OneID
	}
	handle(e, huma.Operation{
		OperationID: "get-key", Method: http.MethodGet, Path: "/keys/{id}", Tags: tags, Summary: "One API key, without what is secret in it",
	}, func(_ context.Context, who jackfield.Principal, in *askedOne) (*tagged[APIKey], error) {
		k, err := keys.Get(who, in.ID)
		return &tagged[APIKey]{etag(k.Revision), showKey(k)}, err
	})
	type askedGone struct {
		caller
		IfMatch
		OneID
	}
	handle(e, huma.Operation{
		OperationID: "revoke-key", Method: http.MethodDelete, Path: "/keys/{id}", Tags: tags, Summary: "Revoke an API key; what is under way with it ends",
	}, func(ctx context.Context, who jackfield.Principal, in *askedGone) (*nothing, error) {
		cond, err := in.person()
		if err == nil {
			err = keys.Remove(ctx, who, in.ID, cond)
		}
		return nil, stale(err)
	})
}

func (e *edge) meRoute() {
	type asked struct{ caller }
	handle(e, huma.Operation{
		OperationID: "me", Method: http.MethodGet, Path: "/me", Tags: []string{"people"}, Summary: "Who is asking, and what the caller may",
	}, func(_ context.Context, who jackfield.Principal, _ *asked) (*plain[Me], error) {
		me := Me{
			Subject: who.Subject, Teams: slices.Clone(who.Teams), Role: who.Role, Operator: who.Operator, Key: who.Credential, Servers: who.Only,
			Edits: []string{who.Scope().String()},
		}
		if me.Role == "" {
			me.Role = jackfield.RoleUser
		}
		if me.Teams == nil {
			me.Teams = []string{}
		}
		switch {
		case who.Role.Covers(jackfield.RoleAdmin):
			me.Edits = []string{"app", "team:*", "user:*"}
		case who.Role.Covers(jackfield.RoleEditor):
			for _, team := range who.Teams {
				me.Edits = append(me.Edits, jackfield.Team(team).String())
			}
		}
		if e.People != nil {
			if person, ok := e.People.Person(who.Subject); ok {
				me.Name, me.Email = person.Name, person.Email
			}
		}
		return &plain[Me]{me}, nil
	})
}

func userOf(subject string, u EditUser) authn.User {
	return authn.User{Subject: subject, Name: u.Name, Email: u.Email, Role: u.Role, Teams: u.Teams, Disabled: u.Disabled}
}

func showUser(u authn.User) User {
	return User{
		Subject: u.Subject, Name: u.Name, Email: u.Email, Role: u.Role, Teams: u.Teams, Disabled: u.Disabled,
		CreatedAt: moment(u.Created), ChangedAt: moment(u.Changed), By: u.By, Revision: u.Revision,
	}
}

func showMember(u authn.User) Member {
	return Member{Subject: u.Subject, Name: u.Name, Email: u.Email, Role: u.Role}
}

func teamOf(id string, t EditTeam) authn.Team {
	return authn.Team{ID: id, Title: t.Title, Description: t.Description}
}

func showTeam(t authn.Team) Team {
	return Team{
		ID: t.ID, Title: t.Title, Description: t.Description,
		CreatedAt: moment(t.Created), ChangedAt: moment(t.Changed), By: t.By, Revision: t.Revision,
	}
}

func showKey(k authn.Key) APIKey {
	source := "store"
	if k.FromFile {
		source = "file"
	}
	return APIKey{
		ID: k.ID, Name: k.Name, Source: source, User: k.User, Role: k.Role, Teams: k.Teams, Servers: k.Servers, ExpiresAt: moment(k.Expires),
		Refused: k.Refused, CreatedAt: moment(k.Created), Maker: k.Maker, Via: k.Via, Revision: k.Revision,
	}
}
