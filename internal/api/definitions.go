package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/registry"
)

// OfScope is in the input of what is about one definition of those with a name.
type OfScope struct {
	Scope string `query:"scope" maxLength:"320" doc:"whose definition: app, team:ID, user:SUBJECT or user:me; absent: the one that the caller sees"`
}

// DryRun is in the input of what writes definitions.
type DryRun struct {
	DryRun bool `query:"dryRun" doc:"true: check it and answer what it would be, and write nothing"`
}

func (e *edge) definitionRoutes() {
	tags := []string{"servers"}
	type asked struct {
		NamedServer
		OfScope
	}
	handle(e, getServer, func(_ context.Context, who jackfield.Principal, in *asked) (*tagged[ServerStatus], error) {
		return e.oneServer(who, in.Name, in.Scope)
	})
	type askedAll struct {
		caller
		Paging
		OfScope
	}
	handle(e, huma.Operation{
		OperationID: "list-definitions", Method: http.MethodGet, Path: "/definitions", Tags: tags,
		Summary:     "The definitions that the caller may look at, as they were written",
		Description: "Those of the file and those that others win over too. What is secret in them reads \"[sealed]\".",
	}, func(_ context.Context, who jackfield.Principal, in *askedAll) (*plain[DefinitionList], error) {
		all, err := e.definitions(who, in.Scope)
		if err != nil {
			return nil, err
		}
		some, next, err := page(in.Paging, all, func(d *registry.Definition) string { return string(d.ID) })
		if err != nil {
			return nil, err
		}
		list := DefinitionList{Definitions: make([]Definition, 0, len(some)), Page: next}
		for _, d := range some {
			list.Definitions = append(list.Definitions, showDefinition(d))
		}
		return &plain[DefinitionList]{list}, nil
	})
	e.definitionWrites(tags)
}

func (e *edge) definitionWrites(tags []string) {
	type askedNew struct {
		caller
		DryRun
		Body NewServer
	}
	handle(e, huma.Operation{
		OperationID: "make-server", Method: http.MethodPost, Path: "/servers", Tags: tags, MaxBodyBytes: maxDefinition + maxBody,
		Summary: "Add a definition", DefaultStatus: http.StatusCreated,
		Responses: map[string]*huma.Response{"200": {Description: "of a dry run: what it would be", Content: map[string]*huma.MediaType{
			"application/json": {Schema: schemaOf[Definition](e.huma)},
		}}},
		Description: "In a team's scope, `extends: true` makes it an overlay of the wider definition of that name.",
	}, func(ctx context.Context, who jackfield.Principal, in *askedNew) (*created[Definition], error) {
		scope := who.Scope()
		var err error
		switch {
		case in.Body.Scope != "":
			scope, err = parseScope(in.Body.Scope, who)
		case who.Role.Covers(jackfield.RoleAdmin):
			scope = jackfield.App()
		}
		if err != nil {
			return nil, err
		}
		d, err := e.put(ctx, who, scope, in.Body.Name, in.Body.Definition, registry.Condition{DryRun: in.DryRun.DryRun})
		if err != nil {
			return nil, taken(err, fmt.Sprintf("a server %q of %s", in.Body.Name, scope), "/servers/"+url.PathEscape(in.Body.Name)+"?scope="+url.QueryEscape(scope.String()))
		}
		if in.DryRun.DryRun {
			return &created[Definition]{Status: http.StatusOK, Body: d}, nil
		}
		out := made("/servers/", d.Name, d.Revision, d)
		out.Location += "?scope=" + url.QueryEscape(d.Scope)
		return out, nil
	})
	type askedEdit struct {
		NamedServer
		OfScope
		DryRun
		IfMatch
		Body EditServer
	}
	handle(e, huma.Operation{
		OperationID: "edit-server", Method: http.MethodPut, Path: "/servers/{name}", Tags: tags, MaxBodyBytes: maxDefinition + maxBody,
		Summary: "Change a definition, all of it", Description: "What reads \"[sealed]\" stays the secret that it is, as long as it is sent to where it was meant for.",
	}, func(ctx context.Context, who jackfield.Principal, in *askedEdit) (*tagged[Definition], error) {
		cond, err := in.definition(in.DryRun)
		var d Definition
		var scope jackfield.Scope
		if err == nil {
			scope, err = e.scopeOf(who, in.Name, in.Scope)
		}
		if err == nil {
			d, err = e.put(ctx, who, scope, in.Name, in.Body.Definition, cond)
		}
		return &tagged[Definition]{etag(d.Revision), d}, stale(err)
	})
	type askedGone struct {
		NamedServer
		OfScope
		DryRun
		IfMatch
	}
	handle(e, huma.Operation{
		OperationID: "remove-server", Method: http.MethodDelete, Path: "/servers/{name}", Tags: tags,
		Summary: "Remove a definition", Description: "Its connections end, and what is under way on them fails.",
	}, func(ctx context.Context, who jackfield.Principal, in *askedGone) (*nothing, error) {
		cond, err := in.definition(in.DryRun)
		var scope jackfield.Scope
		if err == nil {
			scope, err = e.scopeOf(who, in.Name, in.Scope)
		}
		if err == nil {
			err = e.remove(ctx, who, scope, in.Name, cond)
		}
		return nil, stale(err)
	})
}

// remove removes a definition, with what people entered for it.
func (h *Handler) remove(ctx context.Context, who jackfield.Principal, scope jackfield.Scope, name string, cond registry.Condition) error {
	may := cond
	may.DryRun = true
	if err := h.Registry.Remove(ctx, who, scope, name, may); err != nil || cond.DryRun {
		return err
	}
	if h.Credentials == nil {
		return h.Registry.Remove(ctx, who, scope, name, cond)
	}
	id := jackfield.ServerID(scope.String() + "/" + name)
	left, err := h.Credentials.Leave(ctx, who, func(of jackfield.ServerID) bool { return of == id })
	if err != nil {
		return err
	}
	return h.Registry.Remove(ctx, who, scope, name, cond, left...)
}

func (m IfMatch) definition(dry DryRun) (registry.Condition, error) {
	revision, anyway, err := m.revision()
	return registry.Condition{If: revision, Anyway: anyway, DryRun: dry.DryRun}, err
}

// put writes a definition. Its error has everything that is wrong with it.
func (h *Handler) put(ctx context.Context, who jackfield.Principal, scope jackfield.Scope, name string, doc Document, cond registry.Condition) (Definition, error) {
	if len(doc) > maxDefinition {
		return Definition{}, errTooLarge
	}
	d, problems, err := h.Registry.Put(ctx, who, scope, name, doc, cond)
	if err != nil {
		return Definition{}, withProblems(err, problems)
	}
	shown := showDefinition(d)
	if len(shown.Problems) == 0 {
		for _, p := range problems {
			shown.Problems = append(shown.Problems, p.String())
		}
	}
	return shown, nil
}

// scopeOf is whose definition is meant by a name: that which the caller sees, if
// nothing is said. The operator's file is not changed here.
func (h *Handler) scopeOf(who jackfield.Principal, name, scope string) (jackfield.Scope, error) {
	if scope != "" {
		return parseScope(scope, who)
	}
	s, err := h.look(who, name)
	if err != nil {
		return jackfield.Scope{}, err
	}
	if sourceOf(&s) == registry.FromFile {
		return jackfield.Scope{}, jackfield.Errorf(jackfield.Forbidden,
			"server %q is in the configuration file, which is changed by whoever runs the gateway; an overlay (?scope=team:ID, extends: true) changes it for a team", name)
	}
	return s.Scope, nil
}

// oneServer is a server with its definition, if the caller may look at that.
func (e *edge) oneServer(who jackfield.Principal, name, scope string) (*tagged[ServerStatus], error) {
	if scope == "" {
		s, err := e.look(who, name)
		if err != nil {
			return nil, err
		}
		out := &tagged[ServerStatus]{Body: e.detail(who, s)}
		if d, err := e.Registry.Definition(who, s.Scope, s.Name); err == nil && d.ID == s.ID {
			define(out, d)
		}
		return out, nil
	}
	of, err := parseScope(scope, who)
	if err != nil {
		return nil, err
	}
	d, err := e.Registry.Definition(who, of, name)
	if err != nil {
		return nil, err
	}
	out := &tagged[ServerStatus]{Body: ServerStatus{Name: d.Name, ID: d.ID, Scope: d.Scope.String(), State: StateIdle, Selectable: new(bool)}}
	for _, s := range e.reachable(who) {
		if s.ID == d.ID {
			out.Body = e.detail(who, s)
		}
	}
	define(out, d)
	return out, nil
}

// define adds a definition to the status of its server.
func define(out *tagged[ServerStatus], d registry.Definition) {
	status := &out.Body
	status.Definition, status.Revision, status.Source, status.ShadowedBy = d.Doc, d.Revision, d.Source, d.ShadowedBy
	status.ChangedAt, status.By = moment(d.Changed), d.By
	if status.Access == nil || d.Editable {
		status.Access = &Access{Edit: d.Editable}
	}
	if len(status.Warnings) == 0 {
		status.Warnings = d.Problems
	}
	if d.Source == registry.FromStore {
		out.ETag = etag(d.Revision)
	}
}

// definitions are those that somebody may look at, of one scope if it is named.
func (h *Handler) definitions(who jackfield.Principal, scope string) ([]registry.Definition, error) {
	all := h.Registry.Definitions(who)
	if scope == "" {
		return all, nil
	}
	of, err := parseScope(scope, who)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(all), func(d registry.Definition) bool { return d.Scope != of }), nil
}

func showDefinition(d registry.Definition) Definition {
	return Definition{
		ID: d.ID, Scope: d.Scope.String(), Name: d.Name, Source: d.Source, Revision: d.Revision, Version: d.Version,
		Extends: d.Extends, Disabled: d.Disabled, ShadowedBy: d.ShadowedBy, Editable: d.Editable,
		CreatedAt: moment(d.Created), ChangedAt: moment(d.Changed), By: d.By, Problems: d.Problems, Definition: d.Doc,
	}
}
