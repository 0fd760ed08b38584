package registry

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// Definition is a definition as it is written, for those who may look at it.
type Definition struct {
	ID       jackfield.ServerID
	Scope    jackfield.Scope
	Name     string
	Source   string // FromFile or FromStore
	Doc      []byte // the entry as JSON, see Definition of a Registry
	Revision uint64
	Version  uint64
	Created  time.Time // zero for those of the file, as is Changed
	Changed  time.Time
	By       string // the subject of whoever wrote it last

	Editable   bool               // whoever asks may change it
	Extends    bool               // it is an overlay
	Disabled   bool               // it is as if it were not there
	ShadowedBy jackfield.ServerID // which other definition its name means to those who could see it
	Problems   []string           // why it has no effect or cannot be used
}

// The sources of definitions.
const (
	FromFile  = "file"
	FromStore = "store"
)

// Definition finds a definition that the principal may look at: those of its scopes,
// and admins all. Who may change it sees the document with sealedText in place of
// secrets; others, and everybody of those of the file, see an outline, which names
// neither arguments nor anything behind the host of an address.
func (r *Registry) Definition(p jackfield.Principal, scope jackfield.Scope, name string) (Definition, error) {
	if e := r.entry(scope, name); e != nil && r.mayLook(&p, scope, &e.reading.server) {
		return r.define(&p, e), nil
	}
	for _, s := range r.ofFile() {
		if s.Scope == scope && s.Name == name && r.mayLook(&p, scope, s) {
			return r.outlined(&p, s), nil
		}
	}
	return Definition{}, notThere(scope, name)
}

// Definitions are those that the principal may look at: of the file, the app, teams
// and users, each by name.
func (r *Registry) Definitions(p jackfield.Principal) []Definition {
	var out []Definition
	for _, s := range r.ofFile() {
		if r.mayLook(&p, s.Scope, s) {
			out = append(out, r.outlined(&p, s))
		}
	}
	for _, e := range r.entries(&p) {
		if r.mayLook(&p, e.scope, &e.reading.server) {
			out = append(out, r.define(&p, e))
		}
	}
	return out
}

func (r *Registry) entry(scope jackfield.Scope, name string) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stored[scope][name]
}

func (r *Registry) inFile(scope jackfield.Scope, name string) bool {
	return slices.ContainsFunc(r.ofFile(), func(s *jackfield.Server) bool { return s.Scope == scope && s.Name == name })
}

// ofFile are the definitions of the file, and its overlays behind them.
func (r *Registry) ofFile() []*jackfield.Server {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.Clone(r.file)
	for _, layer := range r.layers {
		for _, s := range layer {
			out = append(out, s)
		}
	}
	slices.SortFunc(out[len(r.file):], func(a, b *jackfield.Server) int {
		if c := compareScopes(a.Scope, b.Scope); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

// entries are those of the store in the scopes of the principal, or all for an admin.
func (r *Registry) entries(p *jackfield.Principal) []*entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	var scopes []jackfield.Scope
	for scope := range r.stored {
		if p.Is(scope) || p.Role.Covers(jackfield.RoleAdmin) {
			scopes = append(scopes, scope)
		}
	}
	slices.SortFunc(scopes, compareScopes)
	var out []*entry
	for _, scope := range scopes {
		out = append(out, sorted(r.stored[scope])...)
	}
	return out
}

// isFor reports whether what the principal came with is for servers of that name.
func isFor(p *jackfield.Principal, name string) bool {
	return p.Only == nil || slices.Contains(p.Only, name)
}

// mayLook reports whether the principal may know of a definition.
func (r *Registry) mayLook(p *jackfield.Principal, scope jackfield.Scope, s *jackfield.Server) bool {
	switch {
	case p.Role.Covers(jackfield.RoleAdmin):
		return true
	case !isFor(p, s.Name):
		return false
	case p.MayEdit(scope).Allowed:
		return true
	}
	if !p.Is(scope) {
		return false
	}
	_, ok := r.decide(p, s)
	return ok
}

// define is a definition of the store as the principal may see it.
func (r *Registry) define(p *jackfield.Principal, e *entry) Definition {
	d := Definition{
		ID: e.id, Scope: e.scope, Name: e.name, Source: FromStore, Doc: e.body.Doc,
		Revision: e.revision, Version: e.version, Created: e.created, Changed: e.changed, By: e.by,
		Editable: p.MayEdit(e.scope).Allowed,
		Extends:  e.reading.extends, Disabled: e.reading.disabled,
	}
	if !d.Editable {
		d.Doc = outline(&e.reading.server)
	}
	snapshot := r.Snapshot()
	base := snapshot.wide.byName[e.name]
	effective := &e.reading.server
	if e.reading.extends {
		effective = snapshot.byID[e.id]
		if base == nil {
			d.Problems = append(d.Problems, fmt.Sprintf("there is no server %q that everybody sees and that this could be laid over", e.name))
		}
		if r.inFile(e.scope, e.name) {
			d.Problems = append(d.Problems, "the configuration file has the same overlay, which wins")
		}
	}
	if effective != nil && effective.Invalid != "" {
		d.Problems = append(d.Problems, effective.Invalid)
	}
	d.ShadowedBy = snapshot.shadow(p, e.id, e.scope, e.name)
	if d.Disabled {
		d.ShadowedBy = ""
	}
	return d
}

// shadow is which other definition a name means, to the principal or, if it is not in
// the scope, to those who are. What is laid over a definition does not shadow it.
func (s *Snapshot) shadow(p *jackfield.Principal, id jackfield.ServerID, scope jackfield.Scope, name string) jackfield.ServerID {
	who := *p
	if !p.Is(scope) {
		who = jackfield.Principal{Subject: scope.ID}
		if scope.Kind == jackfield.ScopeTeam {
			who = jackfield.Principal{Teams: []string{scope.ID}}
		}
	}
	won := s.winner(&who, name)
	if won == nil || won.ID == id || won.Base == id {
		return ""
	}
	return won.ID
}

// outlined is a definition of the file.
func (r *Registry) outlined(p *jackfield.Principal, s *jackfield.Server) Definition {
	d := Definition{
		ID: s.ID, Scope: s.Scope, Name: s.Name, Source: FromFile, Doc: outline(s),
		Revision: s.Revision, Version: s.Version, Extends: s.Base != "",
		ShadowedBy: r.Snapshot().shadow(p, s.ID, s.Scope, s.Name),
	}
	if s.Invalid != "" {
		d.Problems = []string{s.Invalid}
	}
	return d
}

// outline is what everybody who sees a server may know of its definition.
func outline(s *jackfield.Server) []byte {
	doc := struct {
		Type        jackfield.Transport `json:"type,omitempty"`
		Command     string              `json:"command,omitempty"`
		URL         string              `json:"url,omitempty"`
		Headers     map[string]string   `json:"headers,omitempty"`
		Env         map[string]string   `json:"env,omitempty"`
		Title       string              `json:"title,omitempty"`
		Description string              `json:"description,omitempty"`
		Icon        string              `json:"icon,omitempty"`
		Extends     bool                `json:"extends,omitempty"`
		Enabled     *bool               `json:"enabled,omitempty"`
	}{
		Type: s.Endpoint.Transport, Command: s.Endpoint.Command, URL: origin(s.Endpoint.URL),
		Headers: names(s.Endpoint.Headers, s.Fill.Headers), Env: names(s.Endpoint.Env, s.Fill.Env),
		Title: s.About.Title, Description: s.About.Description, Icon: s.About.Icon,
		Extends: s.Base != "",
	}
	if isHidden(s) {
		doc.Enabled = new(bool)
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return []byte("{}") // there is nothing in it that cannot be written
	}
	return text
}

// names are those of what is sent, without what.
func names(constants map[string]jackfield.Secret, filled map[string]jackfield.Template) map[string]string {
	out := make(map[string]string, len(constants)+len(filled))
	for name := range constants {
		out[name] = sealedText
	}
	for name := range filled {
		out[name] = sealedText
	}
	return out
}
