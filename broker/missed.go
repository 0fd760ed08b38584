package broker

import (
	"context"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// waitMove is how long what is listened for on a connection that is to be closed is
// kept, until the new one tells of it.
const waitMove = 5 * time.Second

// own is a resource as its server calls it; without a URI, what the server lists.
type own struct {
	server jackfield.ServerID
	uri    string
}

// missLocked notes that changes of what is listened for on a line may go unheard for
// a while. hub.mu is held.
func (ln *line) missLocked() {
	for l := range ln.listeners {
		for is := range l.missed {
			if _, on := l.uris[is.server][is.uri]; !on && is.uri != "" {
				delete(l.missed, is)
			}
		}
		if l.missed == nil {
			l.missed = map[own]bool{}
		}
		for uri := range l.uris[ln.key.Server] {
			l.missed[own{ln.key.Server, uri}] = true
		}
		if l.filter.kinds() != 0 {
			l.missed[own{ln.key.Server, ""}] = true
		}
	}
}

// missedListsLocked reports whether somebody on the line may have missed changes of
// lists, and will not any more. hub.mu is held.
func (ln *line) missedListsLocked() bool {
	missed := false
	for l := range ln.listeners {
		is := own{ln.key.Server, ""}
		missed = missed || l.missed[is]
		delete(l.missed, is)
	}
	return missed
}

// listsMissed has the lists looked at anew that the line's server tells changes of.
func (b *Broker) listsMissed(ln *line, c Conn) {
	s, ok := b.server(ln.key.Server)
	if !ok {
		return
	}
	caps := capabilitiesOf(c.Shape())
	for method, tells := range map[string]bool{
		"notifications/tools/list_changed":     caps.Tools != nil && caps.Tools.ListChanged,
		"notifications/prompts/list_changed":   caps.Prompts != nil && caps.Prompts.ListChanged,
		"notifications/resources/list_changed": caps.Resources != nil && caps.Resources.ListChanged,
	} {
		if tells {
			b.o.Catalog.Invalidate(*s, ln.key.Scope, method)
		}
	}
}

// caughtUpLocked tells those who may have missed updates of a resource that it was
// updated, now that they would hear of it. hub.mu is held.
func (b *Broker) caughtUpLocked(ln *line, uri string) {
	for l := range ln.listeners {
		is := own{ln.key.Server, uri}
		if !l.missed[is] {
			continue
		}
		delete(l.missed, is)
		final, ok := l.uris[is.server][uri]
		if !ok {
			continue
		}
		params := wire.Raw(append(wire.AppendString([]byte(`{"uri":`), final), '}'))
		for _, to := range b.recipientsLocked(l) {
			to.box.updated(ln.key.Server, final, exchange.Event{Method: "notifications/resources/updated", Params: params})
		}
	}
}

// moved waits, within bounds, until all that is wanted is told of on the new
// connection, or is not to be had there.
func (f *feeds) moved(ctx context.Context) {
	patience := time.NewTimer(waitMove)
	defer patience.Stop()
	for !f.stand() {
		select {
		case <-f.ln.poke:
			f.adjust()
		case end := <-f.ended:
			f.over(end)
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// stand reports whether each feed that runs has been agreed to or refused.
func (f *feeds) stand() bool {
	f.b.hub.mu.Lock()
	defer f.b.hub.mu.Unlock()
	for one := range f.running {
		if _, said := f.ln.agreed[one]; !said && f.ln.wanted[one] > 0 {
			return false
		}
	}
	return true
}
