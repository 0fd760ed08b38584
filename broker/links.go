package broker

import (
	"bytes"
	"container/list"
	"encoding/json"
	"sync"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// links remember which server gave whom a link to a resource that nobody lists,
// so that it can be read under its own URI. The oldest are forgotten.
type links struct {
	perPrincipal, principals int

	mu  sync.Mutex // protects what follows
	all lru[string, *lru[string, jackfield.ServerID]]
}

const maxLink = 8 << 10 // bytes of a URI that is remembered

func (l *links) get(subject, uri string) (jackfield.ServerID, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own, ok := l.all.get(subject)
	if !ok {
		return "", false
	}
	return own.get(uri)
}

// note remembers the links in a result.
func (l *links) note(subject string, s jackfield.ServerID, result wire.Raw) {
	if !bytes.Contains(result, []byte(`"resource`)) {
		return // neither "resource_link" nor "resource" stands in it
	}
	uris := linksIn(result)
	if len(uris) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	own, ok := l.all.get(subject)
	if !ok {
		own = &lru[string, jackfield.ServerID]{}
		l.all.put(subject, own, l.principals)
	}
	for _, uri := range uris {
		if len(uri) <= maxLink {
			own.put(uri, s, l.perPrincipal)
		}
	}
}

// block is a content block, as far as it can hold a link.
type block struct {
	Type     string `json:"type"`
	URI      string `json:"uri"`
	Resource *struct {
		URI string `json:"uri"`
	} `json:"resource"`
}

// linksIn finds the URIs of linked and embedded resources in the result of a
// tool, a prompt or a resource.
func linksIn(result wire.Raw) []string {
	var r struct {
		Content  blocks `json:"content"`
		Messages []struct {
			Content blocks `json:"content"`
		} `json:"messages"`
	}
	// A member of an unexpected type leaves the others readable.
	_ = json.Unmarshal(result, &r)
	uris := r.Content.links(nil)
	for _, m := range r.Messages {
		uris = m.Content.links(uris)
	}
	return uris
}

// blocks are one content block or several.
type blocks []block

// UnmarshalJSON reads an array of blocks, or one. What is neither holds no link.
func (bs *blocks) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '[' {
		var each []json.RawMessage
		if err := json.Unmarshal(raw, &each); err != nil {
			return err
		}
		for _, one := range each {
			bs.add(one)
		}
		return nil
	}
	bs.add(raw)
	return nil
}

func (bs *blocks) add(raw []byte) {
	if !bytes.Contains(raw, []byte(`"resource`)) {
		return
	}
	var b block
	if json.Unmarshal(raw, &b) == nil {
		*bs = append(*bs, b)
	}
}

func (bs blocks) links(to []string) []string {
	for _, b := range bs {
		switch {
		case b.Type == "resource_link" && b.URI != "":
			to = append(to, b.URI)
		case b.Type == "resource" && b.Resource != nil && b.Resource.URI != "":
			to = append(to, b.Resource.URI)
		}
	}
	return to
}

// lru is a map that forgets what was used longest ago. Its zero value is empty.
type lru[K comparable, V any] struct {
	order list.List // of *pair[K, V], the last used first
	at    map[K]*list.Element
}

type pair[K comparable, V any] struct {
	key   K
	value V
}

func (m *lru[K, V]) get(k K) (V, bool) {
	e, ok := m.at[k]
	if !ok {
		var none V
		return none, false
	}
	m.order.MoveToFront(e)
	return e.Value.(*pair[K, V]).value, true
}

func (m *lru[K, V]) put(k K, v V, most int) {
	if e, ok := m.at[k]; ok {
		e.Value.(*pair[K, V]).value = v
		m.order.MoveToFront(e)
		return
	}
	if m.at == nil {
		m.at = map[K]*list.Element{}
	}
	m.at[k] = m.order.PushFront(&pair[K, V]{k, v})
	if m.order.Len() > most {
		last := m.order.Back()
		m.order.Remove(last)
		delete(m.at, last.Value.(*pair[K, V]).key)
	}
}

func (m *lru[K, V]) remove(k K) {
	if e, ok := m.at[k]; ok {
		m.order.Remove(e)
		delete(m.at, k)
	}
}
