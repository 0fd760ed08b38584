package broker

import (
	"slices"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/exchange"
)

const (
	maxOthers   = 256                    // events of a listener that wait to be delivered and cannot be merged
	quietPeriod = 200 * time.Millisecond // between two times that a listener is told of changed lists
)

// mailbox holds what a listener was not told yet. Changes of one list, or of one
// resource, become one event; of the rest the newest are dropped when it is full.
// Whoever puts something in never waits.
type mailbox struct {
	wake chan struct{} // a token: look inside

	mu      sync.Mutex // protects what follows
	kinds   catalog.Kinds
	updates []update
	others  []exchange.Event
	dropped uint64
}

type update struct {
	server jackfield.ServerID
	uri    string
	ev     exchange.Event
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

func (m *mailbox) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// changed puts in that lists have changed.
func (m *mailbox) changed(kinds catalog.Kinds) {
	m.mu.Lock()
	m.kinds |= kinds
	m.mu.Unlock()
	m.poke()
}

// updated puts in that a resource was updated, under the listener's URI.
func (m *mailbox) updated(server jackfield.ServerID, uri string, ev exchange.Event) {
	defer m.poke()
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.updates {
		if m.updates[i].uri == uri {
			m.updates[i] = update{server, uri, ev}
			return
		}
	}
	if len(m.updates) >= maxURIs {
		m.dropped++
		return
	}
	m.updates = append(m.updates, update{server, uri, ev})
}

// other puts in an event that stands for itself.
func (m *mailbox) other(ev exchange.Event) {
	defer m.poke()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.others) >= maxOthers {
		m.dropped++
		return
	}
	m.others = append(m.others, ev)
}

// forget takes out what a server said.
func (m *mailbox) forget(server jackfield.ServerID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.updates = slices.DeleteFunc(m.updates, func(u update) bool { return u.server == server })
	m.others = slices.DeleteFunc(m.others, func(ev exchange.Event) bool { return ev.Server == string(server) })
}

// take takes out what there is; lists only if they are wanted now.
func (m *mailbox) take(lists bool) (kinds catalog.Kinds, updates []update, others []exchange.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if lists {
		kinds, m.kinds = m.kinds, 0
	}
	updates, m.updates = m.updates, nil
	others, m.others = m.others, nil
	return kinds, updates, others
}
