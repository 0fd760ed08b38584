package connections

import (
	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
)

// Decide says who may share a connection to s, and why, in words for a person.
// ownCredentials: each person uses their own. shape is what was learned of the
// server, when it is known; as long as it is not and the definition leaves it open,
// the answer is SharingAuto. Decide is pure.
func Decide(s jackfield.Server, ownCredentials bool, shape exchange.Shape, known bool) (jackfield.Sharing, string) {
	switch s.Usage.Sharing {
	case jackfield.SharingApp:
		if ownCredentials {
			return jackfield.SharingOwner, "the definition says app, but each person uses their own credentials"
		}
		return jackfield.SharingApp, "the definition says so"
	case jackfield.SharingOwner, jackfield.SharingSession, jackfield.SharingCall:
		return s.Usage.Sharing, "the definition says so"
	case jackfield.SharingAuto, "":
	}
	switch {
	case !known:
		return jackfield.SharingAuto, "decided with the first connection, which shows whether the server keeps state"
	case stateful(shape):
		return jackfield.SharingSession, "the server keeps state for each connection"
	case ownCredentials:
		return jackfield.SharingOwner, "each person uses their own credentials"
	case shape.Modern():
		return jackfield.SharingApp, "the server speaks the stateless revision " + exchange.Modern
	}
	return jackfield.SharingApp, "the server hands out no session"
}

// stateful reports whether the server keeps state for each connection. The modern
// revision has none, whatever carries it.
func stateful(shape exchange.Shape) bool { return shape.Session && !shape.Modern() }

// call is one Want with what decides its key.
type call struct {
	want     Want
	list     bool // wants to list, not to call
	own      bool // each person uses their own credentials
	wide     jackfield.Scope
	versions jackfield.Versions
	once     string // the isolation of a connection for this call alone
}

// call works out what decides the key of w. The shape alone is missing.
func (b *Board[C]) call(w Want, list bool) call {
	c := call{want: w, list: list, own: b.o.OwnCredentials(w.Server)}
	c.wide = wide(c.own, w.Owner)
	c.versions = b.versions(w.Server, c.wide)
	if w.Server.Usage.Sharing == jackfield.SharingCall && !list {
		c.once = b.nextCall()
	}
	return c
}

// wide is the widest scope that the credentials allow.
func wide(ownCredentials bool, owner jackfield.Scope) jackfield.Scope {
	if ownCredentials {
		return owner
	}
	return jackfield.App()
}

// versions are what a connection to s with the credentials of a scope must not be
// older than.
func (b *Board[C]) versions(s jackfield.Server, credentials jackfield.Scope) jackfield.Versions {
	return jackfield.Versions{Definition: s.Version, Credential: b.o.Credential(s.ID, credentials)}
}

// key decides which connection the call may use, and with whom it shares it.
func (c *call) key(shape exchange.Shape, known bool) pool.Key {
	k := pool.Key{Server: c.want.Server.ID, Scope: c.want.Owner}
	k.Isolation.Caps = c.want.Caps
	sharing, _ := Decide(c.want.Server, c.own, shape, known)
	if c.list {
		return c.listKey(sharing, shape, known)
	}
	switch sharing {
	case jackfield.SharingCall:
		k.Isolation.ID = c.once
		return k
	case jackfield.SharingSession:
		if c.want.Session != "" {
			k.Isolation.ID = sessionPrefix + c.want.Session
			return k
		}
	case jackfield.SharingApp:
		k.Scope = c.wide
	case jackfield.SharingOwner, jackfield.SharingAuto:
	}
	if !known {
		return c.probe(c.want.Caps)
	}
	if shape.Modern() {
		k.Isolation.Caps = "" // each request declares its own
	}
	return k
}

// listKey decides on which connection one lists: the shared one, unless that would
// be somebody's own state.
func (c *call) listKey(sharing jackfield.Sharing, shape exchange.Shape, known bool) pool.Key {
	k := pool.Key{Server: c.want.Server.ID, Scope: c.wide}
	switch {
	case !known:
		return c.probe("")
	case sharing == jackfield.SharingApp:
	case sharing == jackfield.SharingOwner && !stateful(shape):
		k.Scope = c.want.Owner
	default:
		k.Isolation.ID = listing
	}
	return k
}

// probe is the key of the connection that shows what the server is like.
func (c *call) probe(caps string) pool.Key {
	return pool.Key{
		Server:    c.want.Server.ID,
		Scope:     c.wide,
		Isolation: pool.Isolation{ID: pool.Probe, Caps: caps},
	}
}
