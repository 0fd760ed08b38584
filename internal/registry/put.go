package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// Problem is one thing that is wrong with a definition. Of one that is in no file it
// has a Path instead of a place.
type Problem = document.Problem

// Bounds on what may be written.
const (
	maxDoc     = 256 << 10 // bytes of a definition
	maxOfUser  = 200       // definitions
	maxOfTeam  = 1000
	maxOfApp   = 50_000
	maxUser    = 4 << 20 // bytes of all definitions of a user
	maxTeam    = 64 << 20
	maxRetries = 3 // of a write that is to be made in any case, and that somebody else gets in the way of
)

// Condition says when a definition is written.
type Condition struct {
	If     uint64 // the Revision that it must have; 0: it must not be there
	Anyway bool   // whatever it has, and whether or not it is there
	DryRun bool   // nothing is written; the answer is what it would be
}

// Put writes a definition, which is one entry of mcpServers as JSON. It returns what
// is there now, and what is wrong with the document or likely not what was meant. The
// error is Forbidden, Invalid with all faults in the list, Conflict with a
// record.Conflict in its chain, or that of the store.
func (r *Registry) Put(ctx context.Context, p jackfield.Principal, scope jackfield.Scope, name string, doc []byte, cond Condition) (Definition, []Problem, error) {
	if err := mayEdit(&p, scope, name); err != nil {
		return Definition{}, nil, err
	}
	for try := 0; ; try++ {
		e, write, problems, err := r.prepare(p, scope, name, doc, cond)
		switch {
		case err != nil:
			return Definition{}, problems, err
		case cond.DryRun, write == nil: // or nothing changes
			return r.define(&p, e), problems, nil
		}
		err = r.write(ctx, p.Subject, *write)
		var conflict *record.Conflict
		if cond.Anyway && try < maxRetries && errors.As(err, &conflict) {
			continue
		}
		if err != nil {
			return Definition{}, problems, err
		}
		d, err := r.Definition(p, scope, name)
		return d, problems, err
	}
}

// mayEdit is why the principal may not change a definition; nil: it may.
func mayEdit(p *jackfield.Principal, scope jackfield.Scope, name string) error {
	access := p.MayEdit(scope)
	switch {
	case !access.Allowed:
		return jackfield.Errorf(jackfield.Forbidden, "%s", access.Reason)
	case !isFor(p, name):
		return jackfield.Errorf(jackfield.Forbidden, "the key that you came with is not for the server %q, and changes no definition of it", clip(name))
	}
	return nil
}

// Remove removes a definition of the store, and more in the same write. The error is
// as that of Put, or NotFound.
func (r *Registry) Remove(ctx context.Context, p jackfield.Principal, scope jackfield.Scope, name string, cond Condition, more ...record.Write) error {
	if err := mayEdit(&p, scope, name); err != nil {
		return err
	}
	e := r.entry(scope, name)
	switch {
	case e == nil && r.inFile(scope, name):
		return inFileError(name)
	case e == nil:
		return notThere(scope, name)
	case !cond.Anyway && cond.If != e.revision:
		return (&record.Conflict{Ref: ref(e.id), Current: e.revision}).AsError()
	case cond.DryRun:
		return nil
	}
	return r.write(ctx, p.Subject, slices.Insert(more, 0, record.Write{Ref: ref(e.id), If: cond.If, Anyway: cond.Anyway, Remove: true})...)
}

func (r *Registry) write(ctx context.Context, by string, writes ...record.Write) error {
	if r.o.Writer == nil {
		return jackfield.Errorf(jackfield.Unavailable, "this gateway keeps no definitions but those of its configuration file")
	}
	_, err := r.o.Writer.Write(ctx, by, writes...)
	return err
}

func ref(id jackfield.ServerID) record.Ref { return record.Ref{Kind: record.Server, ID: string(id)} }

func notThere(scope jackfield.Scope, name string) error {
	return jackfield.Errorf(jackfield.NotFound, "there is no definition of %q that belongs to %s", name, scope)
}

func inFileError(name string) error {
	return jackfield.Errorf(jackfield.Forbidden, "the server %q is in the configuration file; change it there", name)
}

// prepare makes the write of a definition, and the entry that it leads to. No write
// means that nothing changes.
func (r *Registry) prepare(p jackfield.Principal, scope jackfield.Scope, name string, doc []byte, cond Condition) (*entry, *record.Write, []Problem, error) {
	id := storeID(scope, name)
	before := r.entry(scope, name)
	revision := uint64(0)
	if before != nil {
		revision = before.revision
	}
	if !cond.Anyway && cond.If != revision {
		return nil, nil, nil, (&record.Conflict{Ref: ref(id), Current: revision}).AsError()
	}
	report := document.NewReport("")
	if err := r.checkPlace(scope, name, before == nil, report); err != nil {
		return nil, nil, nil, err
	}
	if len(doc) > maxDoc {
		report.Fault(document.Pos{}, fmt.Sprintf("the definition is longer than %d bytes", maxDoc), "shorten it")
		doc = nil
	}
	node := document.ParseJSON(doc, report)
	paths := node.Paths()
	if node == nil || len(report.Faults()) > 0 {
		return nil, nil, problems(report, paths), invalid(report, name)
	}
	old := map[string]string{}
	if before != nil {
		old = before.secrets
	}
	secrets, kept := takeSecrets(node, old, report)
	after := &entry{id: id, scope: scope, name: name, secrets: secrets, by: p.Subject, body: body{Operator: operators(&p, scope), Doc: node.AppendJSON(nil)}}
	if before != nil {
		after.revision, after.version, after.created, after.changed = before.revision, before.version, before.created, before.changed
	}
	if scope.Kind == jackfield.ScopeTeam && r.o.Team != nil && !r.o.Team(scope.ID) {
		report.Warn(document.Pos{}, fmt.Sprintf("there is no team %q, so nobody sees this", clip(scope.ID)), "add the team, or write the definition for another")
	}
	r.readWhole(after, before, kept, report)
	if found := problems(report, paths); hasFault(found) {
		return nil, nil, found, invalid(report, name)
	}
	if err := r.checkRoom(after); err != nil {
		return nil, nil, nil, err
	}
	w, err := r.writeOf(before, after, cond)
	return after, w, problems(report, paths), err
}

// checkRoom refuses what would be too much of one owner: it is all in memory.
func (r *Registry) checkRoom(after *entry) error {
	most := map[jackfield.ScopeKind]int{jackfield.ScopeUser: maxUser, jackfield.ScopeTeam: maxTeam}[after.scope.Kind]
	if most == 0 {
		return nil // admins bound it
	}
	size := after.size()
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, other := range r.stored[after.scope] {
		if name != after.name {
			size += other.size()
		}
	}
	if size > most {
		return jackfield.Errorf(jackfield.Exhausted, "the definitions of %s would have %d bytes together, and %d are as many as there may be; remove some", after.scope, size, most)
	}
	return nil
}

// operators reports whether what the principal writes for a scope is the operator's
// word. What belongs to another person stays theirs, whoever corrects or imports it.
func operators(p *jackfield.Principal, scope jackfield.Scope) bool {
	return p.Operator && (scope.Kind != jackfield.ScopeUser || p.Is(scope))
}

// readWhole reads a definition that is to be written, and checks it with what it is
// laid over.
func (r *Registry) readWhole(after, before *entry, kept []*document.Node, report *document.Report) {
	whole := document.NewReport("")
	after.reading = r.read(after.scope, after.name, after.body, after.secrets, whole)
	for _, p := range whole.Problems() {
		if p.Severity == document.Warning {
			report.Warn(p.Pos, p.Message, p.Fix)
			continue
		}
		report.Fault(p.Pos, p.Message, p.Fix)
	}
	if len(report.Faults()) > 0 {
		return
	}
	s := &after.reading.server
	s.ID, s.Scope = after.id, after.scope
	wide := r.Snapshot().wide.byName[after.name]
	switch {
	case after.reading.extends && wide == nil:
		report.Fault(document.Pos{}, fmt.Sprintf("there is no server %q that everybody sees and that this could be laid over", after.name), "remove extends, or define that server first")
		return
	case after.reading.extends:
		over := after.reading
		over.bound, over.hidden = "", false // where it would lead if it were switched on
		laid := lay(wide, &over)
		if laid.Invalid != "" && wide.Invalid == "" && !after.reading.hidden {
			report.Fault(document.Pos{}, laid.Invalid, "")
			return
		}
		s = &laid
		// What leads nowhere now stays bound to where it led.
		if nowhere := after.reading.hidden || laid.Invalid != ""; nowhere && before != nil && len(kept) > 0 && len(kept) == len(after.secrets) {
			after.body.Bound = before.body.Bound
			return
		}
	case wide != nil && wide.ID != after.id:
		report.Warn(document.Pos{}, fmt.Sprintf("there is a server %q that everybody sees, and it wins", after.name), "choose another name, or write extends: true in a definition of a team")
	}
	if len(after.secrets) > 0 {
		after.body.Bound = binding(s)
	}
	if before != nil && before.body.Bound != after.body.Bound {
		for _, value := range kept {
			report.Fault(value.Pos, "this secret was entered for another address or program", "enter it again, so that nobody sends it elsewhere by changing the address")
		}
	}
}

// writeOf is the write that makes after of before; nil if they are the same.
func (r *Registry) writeOf(before, after *entry, cond Condition) (*record.Write, error) {
	if before != nil && string(before.body.Doc) == string(after.body.Doc) && before.body.Operator == after.body.Operator &&
		before.body.Bound == after.body.Bound && maps.Equal(before.secrets, after.secrets) {
		return nil, nil //nolint:nilnil // nothing is to be written
	}
	w := &record.Write{Ref: ref(after.id), If: after.revision}
	var err error
	if w.Body, err = json.Marshal(after.body); err != nil {
		return nil, err
	}
	w.NewVersion = before == nil || !sameReading(&before.reading, &after.reading)
	if len(after.secrets) == 0 || cond.DryRun {
		return w, nil
	}
	if r.o.Seal == nil {
		return nil, jackfield.Errorf(jackfield.Invalid, "this gateway has no key to seal the secrets of server %q with", after.name)
	}
	plain, err := json.Marshal(after.secrets)
	if err != nil {
		return nil, err
	}
	w.Sealed, w.Seal, err = r.o.Seal.Seal(w.Bind(), plain)
	return w, err
}

// decisive are the keys that decide a connection by being there: what they say may be
// what is there without them.
var decisive = []string{"type", "url", "command", "args", "env", "cwd", "limits", "headers", "tls", "vars", "customUserVars", "sharing", "requiresOAuth"}

// sameReading reports whether two definitions make the same connections.
func sameReading(a, b *reading) bool {
	if a.extends != b.extends || a.hidden != b.hidden || a.disabled != b.disabled {
		return false
	}
	for _, key := range decisive {
		if a.keys[key] != b.keys[key] {
			return false
		}
	}
	x, y := clone(a.server), clone(b.server)
	return sameConnection(&x, &y)
}

// checkPlace checks where a definition is to be: its name and its scope.
func (r *Registry) checkPlace(scope jackfield.Scope, name string, isNew bool, report *document.Report) error {
	check := func(message, fix string) error {
		if message == "" {
			return nil
		}
		report.Fault(document.Pos{}, message, fix)
		return jackfield.Errorf(jackfield.Invalid, "%s; %s", message, fix)
	}
	if err := check(checkScope(scope)); err != nil {
		return err
	}
	if err := check(checkName(name)); err != nil {
		return err
	}
	if err := check(checkPlain(name)); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.layers[scope.ID][name] != nil && scope.Kind == jackfield.ScopeTeam {
		return inFileError(name)
	}
	if !isNew {
		return nil
	}
	most := map[jackfield.ScopeKind]int{jackfield.ScopeUser: maxOfUser, jackfield.ScopeTeam: maxOfTeam, jackfield.ScopeApp: maxOfApp}[scope.Kind]
	if len(r.stored[scope]) >= most {
		return jackfield.Errorf(jackfield.Exhausted, "%s has %d definitions, which is as many as there may be; remove some", scope, most)
	}
	folded := foldName(name)
	alike := func(other string) bool { return other != name && foldName(other) == folded }
	for other := range r.stored[scope] {
		if alike(other) {
			return check(fmt.Sprintf("the server name %q looks like %q, which is there already", clip(name), clip(other)), "choose another name")
		}
	}
	if scope == jackfield.App() {
		for _, s := range r.file {
			if alike(s.Name) {
				return check(fmt.Sprintf("the server name %q looks like %q, which is in the configuration file", clip(name), clip(s.Name)), "choose another name")
			}
		}
	}
	return nil
}

// problems is what was found, with the paths of the fields.
func problems(r *document.Report, paths map[document.Pos]string) []Problem {
	found := r.Problems()
	for i, p := range found {
		found[i].Path, found[i].Server = paths[p.Pos], ""
	}
	return found
}

func hasFault(found []Problem) bool {
	for _, p := range found {
		if p.Severity != document.Warning {
			return true
		}
	}
	return false
}

// invalid is the error about a document with faults.
func invalid(r *document.Report, name string) error {
	return jackfield.Errorf(jackfield.Invalid, "the definition of server %q cannot be used: %s", clip(name), strings.TrimSuffix(reasons(r.Faults()), ": see jackfield config check"))
}
