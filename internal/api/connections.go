package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/pool"
)

// Board holds the connections: connections.Board.
type Board interface {
	Reset(match func(pool.Key) bool)             // forget failures, drain what is open
	Cut(match func(pool.Key) bool, reason error) // end them now, and what is under way on them
}

// connectWithin is how long POST connect waits for the connection.
const connectWithin = 20 * time.Second

// NamedServer is in the input of what is about one server. (huma finds parameters in
// exported fields only, which is why such parts of inputs are.)
type NamedServer struct {
	caller
	Name string `path:"name" maxLength:"256" doc:"a / in it is written %2F"`
}

func (e *edge) connectionRoutes() {
	tags := []string{"connections"}
	type asked struct {
		caller
		Paging
	}
	handle(e, huma.Operation{
		OperationID: "list-connections", Method: http.MethodGet, Path: "/connections", Tags: tags,
		Summary:     "The connections there are, and those that failed",
		Description: "Admins see all, others those that they use: their own, their teams' and everybody's.",
	}, func(_ context.Context, who jackfield.Principal, in *asked) (*plain[ConnectionList], error) {
		return e.listConnections(who, in.Paging, nil)
	})

	type askedOne struct {
		NamedServer
		Paging
	}
	handle(e, huma.Operation{
		OperationID: "list-connections-of-server", Method: http.MethodGet, Path: "/servers/{name}/connections", Tags: tags,
		Summary: "The connections to one server",
	}, func(_ context.Context, who jackfield.Principal, in *askedOne) (*plain[ConnectionList], error) {
		s, err := e.look(who, in.Name)
		if err != nil {
			return nil, err
		}
		return e.listConnections(who, in.Paging, &s)
	})

	for _, action := range []struct {
		id, summary, description string
		missing                  bool
		do                       func(context.Context, jackfield.Principal, jackfield.Server) error
	}{
		{"connect", "Open the caller's own connection", "Waits for it for at most 20 s and answers the status then, whether or not it succeeded.", e.Connect == nil, e.connect},
		{"reset", "Forget that the server failed, and connect anew with the next call", "Drains the connections: all of them for admins, the caller's own for others.", e.Reset == nil, e.reset},
		{"disconnect", "End connections now", "Calls that are under way on them fail. All of them for admins, the caller's own for others. The next call connects anew.", e.Board == nil, e.disconnect},
	} {
		if action.missing {
			continue
		}
		handle(e, huma.Operation{
			OperationID: action.id, Method: http.MethodPost, Path: "/servers/{name}/" + action.id, Tags: tags,
			Summary: action.summary, Description: action.description,
		}, func(ctx context.Context, who jackfield.Principal, in *NamedServer) (*plain[ServerStatus], error) {
			s, err := e.find(who, in.Name)
			if err == nil {
				err = action.do(ctx, who, s)
			}
			if err != nil {
				return nil, err
			}
			return &plain[ServerStatus]{e.describe(who, s, e.held(who)[s.ID], time.Now())}, nil
		})
	}
}

// connect opens somebody's own connection. That it could not be opened is told by the
// status, as it is to everybody else.
func (e *edge) connect(ctx context.Context, who jackfield.Principal, s jackfield.Server) error {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	err := e.Connect(ctx, who, s)
	switch jackfield.CodeOf(err) { //nolint:exhaustive // the others are no news of the server
	case jackfield.Unavailable, jackfield.AuthRequired:
		return nil
	}
	return err
}

func (e *edge) reset(_ context.Context, who jackfield.Principal, s jackfield.Server) error {
	if all := who.Role.Covers(jackfield.RoleAdmin) || e.Board == nil; all {
		e.Reset(s)
		return nil
	}
	e.Board.Reset(ownOf(who, s))
	return nil
}

func (e *edge) disconnect(_ context.Context, who jackfield.Principal, s jackfield.Server) error {
	e.Board.Cut(ownOf(who, s), jackfield.Errorf(jackfield.Unavailable, "server %q: the connection was ended by %s; the next call opens another one", s.Name, who.Subject))
	return nil
}

// ownOf matches the connections to a server that somebody may end.
func ownOf(who jackfield.Principal, s jackfield.Server) func(pool.Key) bool {
	all, own := who.Role.Covers(jackfield.RoleAdmin), who.Scope()
	return func(k pool.Key) bool { return k.Server == s.ID && (all || k.Scope == own) }
}

// listConnections tells the connections that somebody has to do with, by server.
func (h *Handler) listConnections(who jackfield.Principal, p Paging, only *jackfield.Server) (*plain[ConnectionList], error) {
	names := map[jackfield.ServerID]string{}
	for _, s := range h.reachable(who) {
		if only == nil || s.ID == only.ID {
			names[s.ID] = s.Name
		}
	}
	var all []Connection
	for id, slots := range h.held(who) {
		if name, ok := names[id]; ok {
			for _, k := range keysOf(slots, len(slots)) {
				all = append(all, Connection{Server: name, ID: id, Key: k})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Connection) int {
		return cmp.Or(strings.Compare(a.Server, b.Server), strings.Compare(string(a.ID), string(b.ID)), strings.Compare(a.Scope, b.Scope))
	})
	some, next, err := page(p, all, func(c *Connection) string { return string(c.ID) + " " + c.Scope + " " + c.Isolation })
	if err != nil {
		return nil, err
	}
	return &plain[ConnectionList]{ConnectionList{Connections: some, Page: next}}, nil
}

// reachable are the servers whose connections somebody may look at.
func (h *Handler) reachable(who jackfield.Principal) []jackfield.Server {
	if who.Role.Covers(jackfield.RoleAdmin) {
		return h.Servers()
	}
	return h.visible(who)
}

// errAdmins is for what only admins may.
var errAdmins = jackfield.Errorf(jackfield.Forbidden, "only admins may do this")

func adminOnly(who jackfield.Principal) error {
	if !who.Role.Covers(jackfield.RoleAdmin) {
		return errAdmins
	}
	return nil
}

// parseScope is the scope that text names. "user:me" is the caller's own.
func parseScope(text string, who jackfield.Principal) (jackfield.Scope, error) {
	kind, id, named := strings.Cut(text, ":")
	switch {
	case text == "app":
		return jackfield.App(), nil
	case kind == "user" && id == "me":
		return who.Scope(), nil
	case kind == "user" && named && id != "":
		return jackfield.User(id), nil
	case kind == "team" && named && id != "":
		return jackfield.Team(id), nil
	}
	return jackfield.Scope{}, jackfield.Errorf(jackfield.Invalid, "there is no scope %.80q; write app, team:ID, user:SUBJECT or user:me", text)
}
