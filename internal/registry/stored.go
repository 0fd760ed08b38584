package registry

import (
	"encoding/json"
	"fmt"
	"net/textproto"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// entry is a definition of the store.
type entry struct {
	id      jackfield.ServerID
	scope   jackfield.Scope
	name    string
	reading reading
	body    body
	secrets map[string]string // by where they stand, see secretPlaces

	revision, version uint64
	created, changed  time.Time
	by                string
}

// size is how many bytes are kept of it.
func (e *entry) size() int {
	n := len(e.body.Doc)
	for _, secret := range e.secrets {
		n += len(secret)
	}
	return n
}

// body is what a record of a definition holds.
type body struct {
	Doc      json.RawMessage `json:"doc"`                // as it was written, sealedText in place of secrets
	Operator bool            `json:"operator,omitempty"` // whoever runs the gateway wrote it
	Bound    string          `json:"bound,omitempty"`    // what its secrets were entered for, see binding
}

// readAll reads the records of a batch that are newer than what is known.
func (r *Registry) readAll(b record.Batch) []*entry {
	r.mu.Lock()
	fresh := make([]record.Record, 0, len(b.Records))
	for _, rec := range b.Records {
		scope, name, ok := parseID(rec.ID)
		if known := r.stored[scope][name]; ok && rec.Kind == record.Server && (known == nil || known.revision < rec.Revision) {
			fresh = append(fresh, rec)
		}
	}
	r.mu.Unlock()
	out := make([]*entry, len(fresh))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 1+len(fresh)/256) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(fresh)); i = next.Add(1) - 1 {
				out[i] = r.readRecord(fresh[i])
			}
		})
	}
	wg.Wait()
	return out
}

// readRecord reads one record. What cannot be read makes a definition that says so.
func (r *Registry) readRecord(rec record.Record) *entry {
	e := &entry{
		id: jackfield.ServerID(rec.ID), revision: rec.Revision, version: rec.Version,
		created: rec.Created, changed: rec.Changed, by: rec.By,
	}
	e.scope, e.name, _ = parseID(rec.ID)
	why := ""
	if err := json.Unmarshal(rec.Body, &e.body); err != nil {
		why = "its record cannot be read: " + err.Error()
	} else if e.secrets, err = r.open(rec); err != nil {
		why = "its secrets cannot be opened: " + err.Error() + "; bring back the master key, or enter them again"
	}
	report := document.NewReport("")
	e.reading = r.read(e.scope, e.name, e.body, e.secrets, report)
	s := &e.reading.server
	if why != "" {
		*s = unusable(*s, why)
	}
	s.ID, s.Name, s.Scope = e.id, e.name, e.scope
	s.Revision, s.Version, s.Operator = e.revision, e.version, e.body.Operator
	return e
}

// open opens what is secret in a record.
func (r *Registry) open(rec record.Record) (map[string]string, error) {
	if rec.Sealed == nil {
		return nil, nil //nolint:nilnil // there are none
	}
	if r.o.Seal == nil {
		return nil, jackfield.Errorf(jackfield.Internal, "there is no key")
	}
	plain, err := r.o.Seal.Open(rec.Bind(), rec.Sealed, rec.Seal)
	if err != nil {
		return nil, err
	}
	var secrets map[string]string
	if json.Unmarshal(plain, &secrets) != nil {
		return nil, jackfield.Errorf(jackfield.Internal, "they are in no form that is known")
	}
	return secrets, nil
}

// read reads a definition of the store, with its secrets in place.
func (r *Registry) read(scope jackfield.Scope, name string, b body, secrets map[string]string, report *document.Report) reading {
	node := document.ParseJSON(b.Doc, report)
	for key, value := range secretPlaces(node) {
		if text, ok := secrets[key]; ok && value.Text == sealedText {
			*value = document.Node{Pos: value.Pos, Kind: document.String, Text: text}
		}
	}
	d := r.definition(scope, name, node, b.Operator, report)
	out := d.read(name)
	if len(report.Faults()) > 0 && out.server.Invalid == "" { // of the JSON itself
		out.server.Invalid = reasons(report.Faults())
	}
	out.bound = b.Bound
	if len(secrets) == 0 {
		out.bound = ""
	}
	return out
}

// definition is a definition of the store before it is read.
func (r *Registry) definition(scope jackfield.Scope, name string, node *document.Node, operator bool, report *document.Report) *definition {
	extends := node.Get("extends")
	return &definition{
		node: node, key: node.At(), scope: scope, operator: operator, allowed: r.o.Allowed, report: report.ForServer(name),
		from:    Source{Lookup: r.lookup, Dir: r.o.Dir, Loops: r.o.Loops},
		overlay: scope.Kind == jackfield.ScopeTeam && !extends.IsNull() && strings.EqualFold(extends.Text, "true"),
	}
}

func (r *Registry) lookup(name string) (string, bool) {
	if r.o.Lookup == nil {
		return "", false
	}
	return r.o.Lookup(name)
}

// secretPlaces are the values of a document that may be secret, by a name that is
// the same however a header is spelled.
func secretPlaces(n *document.Node) map[string]*document.Node {
	out := map[string]*document.Node{}
	of := func(key string, canonical func(string) string) {
		for _, f := range n.Get(key).All() {
			if v := f.Value; !v.IsNull() && v.Kind != document.List && v.Kind != document.Map {
				out[key+"."+canonical(f.Key)] = v
			}
		}
	}
	of("headers", textproto.CanonicalMIMEHeaderKey)
	of("env", func(s string) string { return s })
	if v := n.Get("tls").Get("key"); !v.IsNull() && v.Kind == document.String {
		out["tls.key"] = v
	}
	return out
}

// isShown reports whether a value may be shown: without its places, no more than the
// name of a scheme is left of it.
func isShown(text string) bool {
	var rest strings.Builder
	err := scan(text, scanner{
		text:   func(s string) { rest.WriteString(s) },
		dollar: func(inside string) error { rest.WriteString(fallback(inside)); return nil },
		braces: func(string) error { return nil },
	})
	switch strings.ToLower(strings.TrimSpace(rest.String())) {
	case "", "bearer", "basic", "token":
		return err == nil
	}
	return false
}

// fallback is what ${NAME:-fallback} holds in clear.
func fallback(inside string) string {
	_, text, _ := strings.Cut(inside, ":-")
	return text
}

// takeSecrets takes what is secret out of a document, and puts sealedText in its
// place. Of fields that mean nothing here nothing is kept but that they were there. What reads so already is kept from before, if it was entered for the same
// place: what says so is in the list of those that were kept.
func takeSecrets(n *document.Node, before map[string]string, report *document.Report) (secrets map[string]string, kept []*document.Node) {
	secrets = map[string]string{}
	for _, f := range n.All() {
		if _, other := ignored[f.Key]; other && !f.Value.IsNull() {
			*f.Value = document.Node{Pos: f.Value.Pos} // a secret, perhaps, of another product
		}
	}
	for key, value := range secretPlaces(n) {
		switch text := value.Text; {
		case text == sealedText:
			was, ok := before[key]
			if !ok {
				report.Fault(value.Pos, fmt.Sprintf("%s reads %s, but nothing is kept there", key, sealedText), "enter the value")
				continue
			}
			secrets[key] = was
			kept = append(kept, value)
		case text == "" || isShown(text):
		default:
			secrets[key] = text
			*value = document.Node{Pos: value.Pos, Kind: document.String, Text: sealedText}
		}
	}
	return secrets, kept
}
