package credentials

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// There may be hundreds of thousands of people and values, so these types hold what
// is needed and nothing twice.

// person is what is kept of one person. It is never changed, but replaced.
type person struct {
	version uint64 // the number of the newest change of who they are
	mine    *held  // nil: they never entered anything
	known   bool   // there is a record of the user
}

// held are the values of one person. It is never changed, but replaced.
type held struct {
	floor   uint64 // the least version of every server: those that are forgotten had no more
	servers []values
}

// values are those that one person entered for one server.
type values struct {
	server  unique.Handle[jackfield.ServerID]
	version uint64 // the number of the newest change, removals included
	list    []*value
}

// value is what a person entered for a variable.
type value struct {
	name, origin unique.Handle[string]
	sealed       []byte
	revision     uint64
	changed      int64 // in seconds since 1970
	plain        atomic.Pointer[jackfield.Secret]
	key          uint32 // that it is sealed with
	sensitive    bool   // when it was entered
}

// of is what was entered for one server.
func (h *held) of(id jackfield.ServerID) values {
	if h != nil {
		for i := range h.servers {
			if h.servers[i].server.Value() == id {
				return h.servers[i]
			}
		}
	}
	return values{}
}

func (h *held) version(id jackfield.ServerID) uint64 {
	if h == nil {
		return 0
	}
	return max(h.of(id).version, h.floor)
}

func (v values) named(name string) *value {
	for _, one := range v.list {
		if one.name.Value() == name {
			return one
		}
	}
	return nil
}

// emptiesKept is how many servers, of each person, for which nothing is entered any
// more are kept for the sake of their versions.
const emptiesKept = 32

// with is what is held after some changes of variables of this person, which are
// sorted by their ids.
func (h *held) with(news []variable, read *reader, changed func(jackfield.ServerID)) *held {
	next := &held{}
	if h != nil {
		next.floor, next.servers = h.floor, slices.Clone(h.servers)
	}
	for len(news) > 0 {
		n := 1
		for n < len(news) && news[n].server == news[0].server {
			n++
		}
		id := jackfield.ServerID(news[0].server)
		at := slices.IndexFunc(next.servers, func(v values) bool { return v.server.Value() == id })
		was := values{}
		if at >= 0 {
			was = next.servers[at]
		}
		if is := was.with(news[:n], read); is.version > was.version {
			is.server = unique.Make(id)
			is.version = max(is.version, next.floor+1)
			if at < 0 {
				next.servers = append(next.servers, is)
			} else {
				next.servers[at] = is
			}
			changed(id)
		}
		news = news[n:]
	}
	empties := 0
	for _, v := range next.servers {
		if len(v.list) == 0 {
			empties++
		}
	}
	if empties > emptiesKept {
		next.servers = slices.DeleteFunc(next.servers, func(v values) bool {
			if len(v.list) > 0 {
				return false
			}
			next.floor = max(next.floor, v.version)
			return true
		})
	}
	next.servers = slices.Clip(next.servers)
	return next
}

// with is what is entered after some changes. Its version is greater if any of them
// was news.
func (v values) with(news []variable, read *reader) values {
	list := make([]*value, 0, len(v.list)+len(news))
	v.list = append(list, v.list...)
	for _, n := range news {
		at := slices.IndexFunc(v.list, func(one *value) bool { return one.name.Value() == n.name })
		switch {
		case n.record == nil && at < 0, n.record != nil && at >= 0 && v.list[at].revision >= n.record.Revision:
			continue // known
		case n.record == nil:
			v.list = slices.Delete(v.list, at, at+1)
			v.version = max(v.version+1, n.gone)
			continue
		case at < 0:
			v.list = append(v.list, nil)
			at = len(v.list) - 1
		}
		v.list[at] = newValue(n.name, n.record, read)
		v.version = max(v.version+1, n.record.Revision)
	}
	v.list = slices.Clip(v.list)
	return v
}

// body is what stands in the record of a value, beside what is sealed.
type body struct {
	Owner     string             `json:"owner"`
	Server    jackfield.ServerID `json:"server"`
	Name      string             `json:"name"`
	Origin    string             `json:"origin,omitempty"` // of the url that it was entered for; none for a program
	Sensitive bool               `json:"sensitive"`
}

func newValue(name string, r *record.Record, read *reader) *value {
	origin, sensitive := read.bound(r.Body)
	return &value{
		name: unique.Make(name), origin: origin, sensitive: sensitive,
		sealed: slices.Clip(r.Sealed), key: r.Seal, revision: r.Revision, changed: r.Changed.Unix(),
	}
}

// reader reads bodies. What values of one server have in common is read once: it
// is the end of each body, as json.Marshal writes it.
type reader map[string]bound

// bound is what of a body is kept.
type bound struct {
	Origin    *string `json:"origin"`
	Sensitive *bool   `json:"sensitive"`
}

func (r *reader) bound(text []byte) (origin unique.Handle[string], sensitive bool) {
	var b bound
	at := bytes.LastIndex(text, []byte(`,"origin":`)) // which stands in no string: its quotes would be escaped
	if at >= 0 {
		known, ok := (*r)[string(text[at:])]
		if !ok && json.Unmarshal(append([]byte("{"), text[at+1:]...), &known) == nil {
			if *r == nil {
				*r = reader{}
			}
			(*r)[string(text[at:])] = known
		}
		b = known
	}
	if b.Origin == nil || b.Sensitive == nil {
		b = bound{}
		if json.Unmarshal(text, &b) != nil {
			return unique.Make("unknown"), true // it is asked for again
		}
	}
	if b.Origin == nil {
		b.Origin = new(string)
	}
	return unique.Make(*b.Origin), b.Sensitive == nil || *b.Sensitive
}

// entered is when somebody did.
func (v *value) entered() time.Time { return time.Unix(v.changed, 0).UTC() }

// parseID takes the id of a variable's record apart. Only people have values.
func parseID(id string) (subject, server, name string, ok bool) {
	owner, rest, _ := strings.Cut(id, "\x1f")
	server, name, ok = strings.Cut(rest, "\x1f")
	subject, user := strings.CutPrefix(owner, "user:")
	return subject, server, name, ok && user && subject != ""
}

const (
	openKept    = 8192
	openLargest = 1 << 10 // bytes; larger ones are opened each time
)

// open are the values that were opened last. Opening one costs some microseconds.
type open struct {
	mu   sync.Mutex // guards what follows
	next int
	last [openKept]*value
}

// keep has a value kept open, and the one forgotten that was opened longest ago.
func (o *open) keep(v *value, plain jackfield.Secret) {
	if len(plain) > openLargest {
		return
	}
	v.plain.Store(&plain)
	o.mu.Lock()
	defer o.mu.Unlock()
	if old := o.last[o.next]; old != nil {
		old.plain.Store(nil)
	}
	o.last[o.next] = v
	o.next = (o.next + 1) % openKept
}

// reveal opens the value of an owner for a server.
func (c *Credentials) reveal(v *value, owner jackfield.Scope, id jackfield.ServerID) (jackfield.Secret, error) {
	if plain := v.plain.Load(); plain != nil {
		return *plain, nil
	}
	ref := record.Ref{Kind: record.Variable, ID: record.VariableID(owner, id, v.name.Value())}
	text, err := c.o.Seal.Open(ref.Bind(), v.sealed, v.key)
	if err != nil {
		return "", err
	}
	plain := jackfield.Secret(text)
	c.open.keep(v, plain)
	return plain, nil
}
