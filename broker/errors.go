package broker

import (
	"fmt"
	"strings"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/wire"
)

const (
	mostNamed = 20  // names listed in a message
	mostShown = 200 // bytes of what a client sent, in a message
)

// shown is what a client sent, short enough for a message.
func shown(s string) string {
	if len(s) > mostShown {
		s = strings.ToValidUTF8(s[:mostShown], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}

// unknownServer says which servers there are instead.
func (cl *class) unknownServer(name string) error {
	var names []string
	for i := range cl.servers[:min(len(cl.servers), mostNamed)] {
		names = append(names, cl.servers[i].Name)
	}
	what := "there are none"
	if len(names) > 0 {
		what = "there are " + strings.Join(names, ", ")
	}
	if more := len(cl.servers) - len(names); more > 0 {
		what += fmt.Sprintf(" and %d more", more)
	}
	return jackfield.Errorf(jackfield.NotFound, "there is no server named %s; %s", shown(name), what)
}

// unknownName says what a wrong name was probably meant to be.
func (q *query) unknownName(k catalog.Kind, name string) error {
	what := strings.TrimSuffix(k.String(), "s")
	if q.c.Only != "" {
		return jackfield.Errorf(jackfield.NotFound, "server %q offers no %s named %s", q.c.Only, what, shown(name))
	}
	hint := k.Method() + " lists what there is"
	if near := q.v.Closest(q.owner, k, name); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	if missing := append(q.unusable(name), q.v.Unlisted(q.owner, k)...); len(missing) > 0 {
		hint += fmt.Sprintf(" (not listed so far: %s)", strings.Join(missing[:min(len(missing), mostNamed)], ", "))
	}
	return jackfield.Errorf(jackfield.NotFound, "there is no %s named %s; %s", what, shown(name), hint)
}

// unusable is the server that a name seems to be of, with the reason, when its
// definition cannot be used.
func (q *query) unusable(name string) []string {
	server, _, _ := strings.Cut(name, "__")
	s, ok := q.cl.named(server)
	if !ok || s.Invalid == "" {
		return nil
	}
	return []string{server + ": " + s.Invalid}
}

func (q *query) unknownURI(uri string) error {
	hint := ""
	if missing := q.v.Unlisted(q.owner, catalog.Resources); len(missing) > 0 {
		hint = fmt.Sprintf(" (not listed so far: %s)", strings.Join(missing[:min(len(missing), mostNamed)], ", "))
	}
	return jackfield.Errorf(jackfield.NotFound,
		"no server lists the resource %s or a template for it%s; jackfield://{server}/{escaped uri} says whose it is", shown(uri), hint)
}

// ambiguous says under which URIs each server's resource can be had.
func ambiguous(uri string, found []catalog.Target) error {
	var each []string
	for _, t := range found[:min(len(found), mostNamed)] {
		each = append(each, catalog.QualifiedURI(t.Server.Name, t.Key))
	}
	return jackfield.Errorf(jackfield.Invalid, "more than one server has the resource %s; ask for %s", shown(uri), strings.Join(each, " or "))
}

func methodNotFound(method string, aggregate bool) *wire.Error {
	e := &wire.Error{Code: wire.CodeMethodNotFound, Message: "there is no method " + shown(method)}
	if aggregate {
		e.Message += " for all servers together; if it is a server's own, ask that server at its own address, /mcp/{server}"
	}
	return e
}
