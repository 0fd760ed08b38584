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
	return decide(s.Usage.Sharing, ownCredentials, shape, known)
}

func decide(said jackfield.Sharing, ownCredentials bool, shape exchange.Shape, known bool) (jackfield.Sharing, string) {
	switch said {
	case jackfield.SharingApp:
		if ownCredentials {
			return jackfield.SharingOwner, "the definition says app, but each person uses their own credentials"
		}
		return said, "the definition says so"
	case jackfield.SharingOwner, jackfield.SharingSession, jackfield.SharingCall:
		return said, "the definition says so"
	case jackfield.SharingAuto, "":
	}
	switch {
	case !known:
		return jackfield.SharingAuto, "decided with the first connection, which shows whether the server keeps state"
	case keepsState(shape):
		return jackfield.SharingSession, "the server keeps state for each connection"
	case ownCredentials:
		return jackfield.SharingOwner, "each person uses their own credentials"
	case shape.Modern():
		return jackfield.SharingApp, "everybody who sees it: the server speaks the stateless revision " + exchange.Modern
	}
	return jackfield.SharingApp, "everybody who sees it: the server hands out no session"
}

// keepsState reports whether the server keeps state for each connection. The modern
// revision has none, whatever carries it.
func keepsState(shape exchange.Shape) bool { return shape.Session && !shape.Modern() }

// alike reports whether two shapes of a server lead to the same key.
func alike(a, b exchange.Shape) bool { return a.Session == b.Session && a.Modern() == b.Modern() }

// call is what decides the key of one Want. The shape of the server alone is
// missing.
type call struct {
	server  jackfield.ServerID
	said    jackfield.Sharing // what the definition says
	own     bool              // each person uses their own credentials
	list    bool              // it wants to list, not to call
	owner   jackfield.Scope
	wide    jackfield.Scope // the widest that the credentials allow
	session string
	caps    string
	child   bool // lists a server that is a process

	isolated string // Isolation.ID of the session or the call, once it was asked for
	versions jackfield.Versions
	resets   uint64 // Board.resets, when it was found that nothing is shut
}

func (b *Board[C]) call(w *Want, list bool) call {
	c := call{
		server:  w.Server.ID,
		said:    w.Server.Usage.Sharing,
		own:     b.own(&w.Server),
		list:    list,
		owner:   w.Owner,
		session: w.Session,
		caps:    w.Caps,
		child:   list && w.Server.Endpoint.Transport == jackfield.TransportStdio,
	}
	c.wide = wide(c.own, w.Owner)
	c.versions = b.versions(&w.Server, c.wide)
	if c.said == jackfield.SharingCall {
		c.isolated = b.nextCall()
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
func (b *Board[C]) versions(s *jackfield.Server, credentials jackfield.Scope) jackfield.Versions {
	return jackfield.Versions{Definition: s.Version, Credential: b.o.Credential(s.ID, credentials)}
}

// key decides which connection the call may use, and with whom it shares it.
func (c *call) key(shape exchange.Shape, known bool) pool.Key {
	sharing, _ := decide(c.said, c.own, shape, known)
	if c.list {
		return c.listKey(sharing, shape, known)
	}
	k := pool.Key{Server: c.server, Scope: c.owner, Isolation: pool.Isolation{Caps: c.caps}}
	switch sharing {
	case jackfield.SharingCall:
		k.Isolation.ID = c.isolated
		return k
	case jackfield.SharingSession:
		if c.session != "" {
			if c.isolated == "" {
				c.isolated = sessionPrefix + c.session
			}
			k.Isolation.ID = c.isolated
			return k
		}
	case jackfield.SharingApp:
		k.Scope = c.wide
	case jackfield.SharingOwner, jackfield.SharingAuto:
	}
	if !known {
		return c.probe()
	}
	if shape.Modern() {
		k.Isolation.Caps = "" // each request declares its own
	}
	return k
}

// listKey decides on which connection one lists: the shared one, unless that would
// be somebody's own state, or a process that nobody called and that would stay.
func (c *call) listKey(sharing jackfield.Sharing, shape exchange.Shape, known bool) pool.Key {
	if !known {
		return c.probe()
	}
	k := pool.Key{Server: c.server, Scope: c.wide, Isolation: pool.Isolation{Caps: c.caps}}
	if shape.Modern() {
		k.Isolation.Caps = ""
	}
	switch {
	case c.child:
		k.Isolation.ID = listing
	case sharing == jackfield.SharingApp:
	case sharing == jackfield.SharingOwner && !keepsState(shape):
		k.Scope = c.owner
	default:
		k.Isolation.ID = listing
	}
	return k
}

// probe is the key of the connection that shows what the server is like.
func (c *call) probe() pool.Key {
	return pool.Key{Server: c.server, Scope: c.wide, Isolation: pool.Isolation{ID: pool.Probe, Caps: c.caps}}
}
