package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/registry"
)

// visible is what somebody sees.
func (h *Handler) visible(who jackfield.Principal) []jackfield.Server {
	if h.Registry != nil {
		return h.Registry.See(who)
	}
	return h.Servers()
}

// find is the server that somebody sees under a name. What one may not see is not
// there, in the same words.
func (h *Handler) find(who jackfield.Principal, name string) (jackfield.Server, error) {
	if h.Registry != nil {
		return h.Registry.Find(who, name)
	}
	all := h.Servers()
	var names []string
	for _, s := range all {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	const most = 20
	if len(names) > most {
		names = append(names[:most], "…")
	}
	hint := "there are none"
	if len(names) > 0 {
		hint = "there are " + strings.Join(names, ", ")
	}
	return jackfield.Server{}, jackfield.Errorf(jackfield.NotFound, "there is no server %.80q; %s", name, hint)
}

// look is as find, for those who want to see the server or its definition and not to
// use it: it is found even if it cannot be used.
func (h *Handler) look(who jackfield.Principal, name string) (jackfield.Server, error) {
	s, err := h.find(who, name)
	if s.Invalid != "" && jackfield.CodeOf(err) == jackfield.Invalid {
		err = nil
	}
	return s, err
}

func (e *edge) serverRoutes() {
	tags := []string{"servers"}
	type asked struct {
		caller
		WidePaging
		Scope string `query:"scope" maxLength:"320" doc:"only definitions of this scope: app, team:ID, user:SUBJECT or user:me"`
		All   bool   `query:"all" doc:"every effective definition, whoever sees it; for admins"`
	}
	handle(e, huma.Operation{
		OperationID: "list-servers", Method: http.MethodGet, Path: "/servers", Tags: tags,
		Summary: "The servers that the caller sees, and how they are", Description: "Nothing is dialed for it.",
	}, func(_ context.Context, who jackfield.Principal, in *asked) (*plain[ServerList], error) {
		all := e.visible(who)
		if in.All {
			if err := adminOnly(who); err != nil {
				return nil, err
			}
			all = e.Servers()
		}
		if in.Scope != "" {
			scope, err := parseScope(in.Scope, who)
			if err != nil {
				return nil, err
			}
			all = slices.DeleteFunc(slices.Clone(all), func(s jackfield.Server) bool { return s.Scope != scope })
		}
		some, next, err := page(Paging(in.WidePaging), all, func(s *jackfield.Server) string { return string(s.ID) })
		if err != nil {
			return nil, err
		}
		list := ServerList{Servers: make([]ServerStatus, 0, len(some)), Page: next}
		held, now := e.held(who), time.Now()
		for _, s := range some {
			list.Servers = append(list.Servers, e.describe(who, s, held[s.ID], now))
		}
		return &plain[ServerList]{list}, nil
	})
	if e.Registry != nil {
		return // see definitionRoutes
	}
	handle(e, getServer, func(_ context.Context, who jackfield.Principal, in *NamedServer) (*plain[ServerStatus], error) {
		s, err := e.look(who, in.Name)
		if err != nil {
			return nil, err
		}
		return &plain[ServerStatus]{e.detail(who, s)}, nil
	})
}

var getServer = huma.Operation{
	OperationID: "get-server", Method: http.MethodGet, Path: "/servers/{name}", Tags: []string{"servers"},
	Summary: "One server, with its connections and its definition", Description: "Nothing is dialed for it.",
}

// detail is the status of a server with what is told of one at a time.
func (h *Handler) detail(who jackfield.Principal, s jackfield.Server) ServerStatus {
	held := h.held(who)[s.ID]
	status := h.describe(who, s, held, time.Now())
	status.Keys = keysOf(held, MaxKeys)
	return status
}

func (e *edge) listingRoute() {
	type asked struct {
		caller
		WidePaging
		Server string `query:"server" maxLength:"256" doc:"only of this server"`
		Kind   string `query:"kind" enum:"tools,prompts,resources,templates" doc:"only of this kind"`
	}
	handle(e, huma.Operation{
		OperationID: "list-listings", Method: http.MethodGet, Path: "/listings", Tags: []string{"servers"},
		Summary: "What each server lists, and how old that is", Description: "From memory: nothing is listed for it.",
	}, func(_ context.Context, who jackfield.Principal, in *asked) (*plain[ListingList], error) {
		all := e.visible(who)
		if in.query.Has("server") {
			s, err := e.look(who, in.Server)
			if err != nil {
				return nil, err
			}
			all = []jackfield.Server{s}
		}
		var found []ListedKind
		now := time.Now()
		for _, s := range all {
			for _, l := range e.listings(s, who) {
				if in.Kind == "" || l.Kind == in.Kind {
					found = append(found, ListedKind{Server: s.Name, Kind: l.Kind, ListingStatus: l.status(now)})
				}
			}
		}
		some, next, err := page(Paging(in.WidePaging), found, func(l *ListedKind) string { return l.Server + " " + l.Kind })
		if err != nil {
			return nil, err
		}
		return &plain[ListingList]{ListingList{Listings: append([]ListedKind{}, some...), Page: next}}, nil
	})
}

func (h *Handler) listings(s jackfield.Server, who jackfield.Principal) []Listing {
	if h.Listings == nil {
		return nil
	}
	return h.Listings(s, who.Scope())
}

// needs is what somebody has to do before a server can be called.
func (h *Handler) needs(who jackfield.Principal, s *jackfield.Server) []Need {
	if h.Credentials == nil || s.Invalid != "" {
		return nil
	}
	var needs []Need
	for _, n := range h.Credentials.Needs(s, who.Scope()) {
		need := Need{Name: n.Variable.Name, Title: n.Variable.Title, Description: n.Variable.Description, Reason: n.Reason}
		if slices.ContainsFunc(s.Vars, func(v jackfield.Variable) bool { return v.Name == need.Name }) {
			need.Where = "jackfield var set " + s.Name + " " + need.Name + ", or PUT " + base + "/servers/" + url.PathEscape(s.Name) + "/variables/" + url.PathEscape(need.Name)
		} else {
			need.Where = "your user record, which an admin changes: jackfield user, or PUT " + base + "/users/" + url.PathEscape(who.Subject)
		}
		needs = append(needs, need)
	}
	return needs
}

// describeAccess adds what who may do with the server, and what it takes.
func (h *Handler) describeAccess(status *ServerStatus, who jackfield.Principal, s *jackfield.Server) {
	status.ID, status.Scope, status.Base = s.ID, s.Scope.String(), s.Base
	status.Needs = h.needs(who, s)
	selectable := s.Invalid == "" && len(status.Needs) == 0
	status.Selectable = &selectable
	status.Source = sourceOf(s)
	edit := who.MayEdit(s.Scope)
	switch {
	case status.Source == registry.FromFile:
		edit = jackfield.Refuse("it is in the configuration file, which the API does not change")
	case h.Registry == nil:
		edit = jackfield.Refuse("this gateway has no store")
	}
	status.Access = &Access{Edit: edit.Allowed, Reason: edit.Reason}
}

// sourceOf is where a definition stands.
func sourceOf(s *jackfield.Server) string {
	if s.Base == "" && !strings.HasPrefix(string(s.ID), s.Scope.String()+"/") {
		return registry.FromFile
	}
	return registry.FromStore
}
