package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/credentials"
)

// OfUser is in the input of what is about the values that one person entered.
type OfUser struct {
	User string `query:"user" maxLength:"256" doc:"whose values, for admins; absent or me: the caller's"`
}

// owner is whose values are meant, and who that is.
func (e *edge) owner(who jackfield.Principal, of OfUser) (jackfield.Principal, error) {
	if of.User == "" || of.User == "me" || of.User == who.Subject {
		return who, nil
	}
	if err := adminOnly(who); err != nil {
		return jackfield.Principal{}, err
	}
	if e.People == nil {
		return jackfield.Principal{Subject: of.User}, nil
	}
	if _, ok := e.People.Person(of.User); !ok {
		return jackfield.Principal{}, jackfield.Errorf(jackfield.NotFound, "there is no user %.80q", of.User)
	}
	return e.People.Principal(of.User), nil
}

func (e *edge) variableRoutes() {
	tags := []string{"variables"}
	type asked struct {
		NamedServer
		OfUser
	}
	handle(e, huma.Operation{
		OperationID: "list-variables", Method: http.MethodGet, Path: "/servers/{name}/variables", Tags: tags,
		Summary: "What each person enters for a server, and what the caller has entered", Description: "Values that are sensitive are never shown again.",
	}, func(_ context.Context, who jackfield.Principal, in *asked) (*plain[VariableList], error) {
		owner, err := e.owner(who, in.OfUser)
		if err != nil {
			return nil, err
		}
		s, err := e.find(owner, in.Name)
		if err != nil {
			return nil, err
		}
		return &plain[VariableList]{e.variables(&s, owner)}, nil
	})

	type askedAll struct {
		NamedServer
		OfUser
		Body NewValues
	}
	handle(e, huma.Operation{
		OperationID: "set-variables", Method: http.MethodPut, Path: "/servers/{name}/variables", Tags: tags, MaxBodyBytes: 2 << 20,
		Summary: "Enter values, all of them or none; null removes one", Description: "Variables that are not named stay as they are.",
	}, func(ctx context.Context, who jackfield.Principal, in *askedAll) (*plain[VariableList], error) {
		values := make(map[string]*jackfield.Secret, len(in.Body.Values))
		for name, text := range in.Body.Values {
			values[name] = (*jackfield.Secret)(text)
		}
		return e.setVariables(ctx, who, in.OfUser, in.Name, values)
	})
	type askedClear struct {
		NamedServer
		OfUser
	}
	handle(e, huma.Operation{
		OperationID: "remove-variables", Method: http.MethodDelete, Path: "/servers/{name}/variables", Tags: tags, DefaultStatus: http.StatusOK,
		Summary: "Remove all values for a server",
	}, func(ctx context.Context, who jackfield.Principal, in *askedClear) (*plain[VariableList], error) {
		return e.setVariables(ctx, who, in.OfUser, in.Name, nil)
	})
	e.oneVariable(tags)
}

func (e *edge) oneVariable(tags []string) {
	type asked struct {
		NamedServer
		OfUser
		Variable string `path:"variable" maxLength:"128"`
	}
	handle(e, huma.Operation{
		OperationID: "get-variable", Method: http.MethodGet, Path: "/servers/{name}/variables/{variable}", Tags: tags, Summary: "One variable",
	}, func(_ context.Context, who jackfield.Principal, in *asked) (*plain[Variable], error) {
		owner, err := e.owner(who, in.OfUser)
		if err != nil {
			return nil, err
		}
		s, err := e.find(owner, in.Name)
		if err != nil {
			return nil, err
		}
		return e.variable(&s, owner, in.Variable)
	})
	type askedSet struct {
		NamedServer
		OfUser
		Variable string `path:"variable" maxLength:"128"`
		Body     NewValue
	}
	handle(e, huma.Operation{
		OperationID: "set-variable", Method: http.MethodPut, Path: "/servers/{name}/variables/{variable}", Tags: tags, Summary: "Enter a value",
	}, func(ctx context.Context, who jackfield.Principal, in *askedSet) (*plain[VariableList], error) {
		value := jackfield.Secret(in.Body.Value)
		return e.setVariables(ctx, who, in.OfUser, in.Name, map[string]*jackfield.Secret{in.Variable: &value})
	})
	handle(e, huma.Operation{
		OperationID: "remove-variable", Method: http.MethodDelete, Path: "/servers/{name}/variables/{variable}", Tags: tags, DefaultStatus: http.StatusOK,
		Summary: "Remove a value",
	}, func(ctx context.Context, who jackfield.Principal, in *asked) (*plain[VariableList], error) {
		return e.setVariables(ctx, who, in.OfUser, in.Name, map[string]*jackfield.Secret{in.Variable: nil})
	})
}

// setVariables enters values, or, without any, removes all; and answers what is there
// then.
func (e *edge) setVariables(ctx context.Context, who jackfield.Principal, of OfUser, name string, values map[string]*jackfield.Secret) (*plain[VariableList], error) {
	owner, err := e.owner(who, of)
	if err != nil {
		return nil, err
	}
	s, err := e.find(owner, name)
	if err != nil {
		return nil, err
	}
	if values == nil {
		values = map[string]*jackfield.Secret{}
		for _, v := range s.Vars {
			values[v.Name] = nil
		}
	}
	if err := e.Credentials.Set(ctx, who, owner.Scope(), s, values); err != nil {
		return nil, err
	}
	return &plain[VariableList]{e.variables(&s, owner)}, nil
}

func (e *edge) variables(s *jackfield.Server, owner jackfield.Principal) VariableList {
	list := VariableList{Variables: []Variable{}}
	for _, v := range e.Credentials.Values(s, owner.Scope()) {
		list.Variables = append(list.Variables, showVariable(v))
	}
	return list
}

func (e *edge) variable(s *jackfield.Server, owner jackfield.Principal, name string) (*plain[Variable], error) {
	for _, v := range e.Credentials.Values(s, owner.Scope()) {
		if v.Variable.Name == name {
			return &plain[Variable]{showVariable(v)}, nil
		}
	}
	return nil, jackfield.Errorf(jackfield.NotFound, "server %q has no variable %.80q", s.Name, name)
}

func showVariable(v credentials.Value) Variable {
	return Variable{
		Name: v.Variable.Name, Title: v.Variable.Title, Description: v.Variable.Description,
		Sensitive: v.Variable.Sensitive, Required: v.Variable.Required,
		Set: v.Set, ChangedAt: moment(v.Changed), Value: v.Text, Stale: v.Stale,
	}
}
