package credentials

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// variable is news of one record of a variable.
type variable struct {
	subject, server, name string
	record                *record.Record // nil: it is gone,
	gone                  uint64         // as of this number
}

// taking is a Take under way. mu is held.
type taking struct {
	c       *Credentials
	drafts  map[int]map[string]person // of the shards that change
	read    reader
	changed []Changed
}

// Take learns what the store has to tell: what people entered, and that somebody is
// somebody else now. Opening values is left to whoever uses them.
func (c *Credentials) Take(b record.Batch) []Changed {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &taking{c: c, drafts: map[int]map[string]person{}}
	gone := b.Gone
	if b.All && c.begun {
		gone = c.missingLocked(b)
	}
	c.begun = true
	var news []variable
	for i := range b.Records {
		r := &b.Records[i]
		switch r.Kind { //nolint:exhaustive // the others are other rooms'
		case record.User:
			t.user(r.ID, max(r.Version, 1), true)
		case record.Key:
			t.key(r)
		case record.Variable:
			if subject, server, name, ok := parseID(r.ID); ok {
				news = append(news, variable{subject: subject, server: server, name: name, record: r})
			}
		}
	}
	for _, ref := range gone {
		switch ref.Kind { //nolint:exhaustive // the others are other rooms'
		case record.User:
			if c.person(ref.ID).known {
				t.user(ref.ID, b.Head, false)
			}
		case record.Key:
			if subject, ok := c.keyed[ref.ID]; ok {
				delete(c.keyed, ref.ID)
				t.user(subject, b.Head, t.edit(subject)[subject].known)
			}
		case record.Variable:
			if subject, server, name, ok := parseID(ref.ID); ok {
				news = append(news, variable{subject: subject, server: server, name: name, gone: b.Head})
			}
		}
	}
	t.variables(news)
	for shard, draft := range t.drafts {
		c.people[shard].Store(&draft)
	}
	return t.changed
}

// edit is the draft of the shard that a subject is in.
func (t *taking) edit(subject string) map[string]person {
	shard := t.c.shard(subject)
	draft := t.drafts[shard]
	if draft == nil {
		if people := t.c.people[shard].Load(); people != nil {
			draft = maps.Clone(*people)
		} else {
			draft = map[string]person{}
		}
		t.drafts[shard] = draft
	}
	return draft
}

// user notes that who somebody is was changed.
func (t *taking) user(subject string, version uint64, known bool) {
	draft := t.edit(subject)
	p, there := draft[subject]
	if there && p.version >= version && p.known == known {
		return
	}
	if version > p.version {
		p.version = version
		t.changed = append(t.changed, Changed{Owner: jackfield.User(subject)})
	}
	p.known = known
	if !there {
		subject = strings.Clone(subject) // it may be a piece of something longer
	}
	draft[subject] = p
}

// key notes that an API key brings teams with it for somebody, or did.
func (t *taking) key(r *record.Record) {
	var b struct {
		Name  string   `json:"name"`
		User  string   `json:"user"`
		Teams []string `json:"teams"`
	}
	if json.Unmarshal(r.Body, &b) != nil {
		return
	}
	subject := cmp.Or(b.User, b.Name)
	if _, had := t.c.keyed[r.ID]; subject == "" || len(b.Teams) == 0 && !had {
		return
	}
	t.c.keyed[r.ID] = subject
	t.user(subject, r.Revision, t.edit(subject)[subject].known)
}

// variables has all that is new about each person taken at once.
func (t *taking) variables(news []variable) {
	slices.SortFunc(news, func(a, b variable) int {
		return cmp.Or(strings.Compare(a.subject, b.subject), strings.Compare(a.server, b.server))
	})
	for len(news) > 0 {
		n := 1
		for n < len(news) && news[n].subject == news[0].subject {
			n++
		}
		subject := news[0].subject
		draft := t.edit(subject)
		p, there := draft[subject]
		before := len(t.changed)
		next := p.mine.with(news[:n], &t.read, func(id jackfield.ServerID) {
			t.changed = append(t.changed, Changed{Server: id, Owner: jackfield.User(subject)})
		})
		news = news[n:]
		if len(t.changed) == before {
			continue
		}
		p.mine = next
		if !there {
			subject = strings.Clone(subject)
		}
		draft[subject] = p
	}
}

// missingLocked finds what is known and is not in a batch that has everything. mu is
// held.
func (c *Credentials) missingLocked(b record.Batch) []record.Ref {
	there := map[record.Ref]struct{}{}
	for i := range b.Records {
		switch ref := b.Records[i].Ref; ref.Kind { //nolint:exhaustive // the others are other rooms'
		case record.User, record.Key, record.Variable:
			there[ref] = struct{}{}
		}
	}
	var missing []record.Ref
	known := func(kind record.Kind, id string) {
		ref := record.Ref{Kind: kind, ID: id}
		if _, ok := there[ref]; !ok {
			missing = append(missing, ref)
		}
	}
	for subject, p := range c.everybody {
		if p.known {
			known(record.User, subject)
		}
		p.each(func(id jackfield.ServerID, v *value) {
			known(record.Variable, record.VariableID(jackfield.User(subject), id, v.name.Value()))
		})
	}
	for id := range c.keyed {
		known(record.Key, id)
	}
	return missing
}

// everybody are the people of whom anything is known.
func (c *Credentials) everybody(visit func(subject string, p person) bool) {
	for i := range c.people {
		people := c.people[i].Load()
		if people == nil {
			continue
		}
		for subject, p := range *people {
			if !visit(subject, p) {
				return
			}
		}
	}
}

func (p person) each(visit func(id jackfield.ServerID, v *value)) {
	if p.mine == nil {
		return
	}
	for _, one := range p.mine.servers {
		for _, v := range one.list {
			visit(one.server.Value(), v)
		}
	}
}
