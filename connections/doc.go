// Package connections decides whose connection a call uses, and keeps the
// connections of each scope.
//
// A [Board] is the panel that the project is named after: calls come with a server
// and a caller, and the board finds the key of the connection that they may share,
// or patches a new one through. A [Repository] is the board as one scope sees it,
// by name: Has, Get, GetMany, Loaded, All, Disconnect and DisconnectAll.
//
// Both are generic over the connection. What a server is comes from a lookup func,
// what a connection is from a dial func; the package knows no protocol beyond the
// shape of a server. Whether a caller may see and use it is decided before: a name is
// what Options.Find says that it is for that scope.
//
// # Whose connection
//
// A definition says how its connections are shared, see [Decide]. What that makes of
// the key:
//
//	app       (server, app)                  everybody who sees it
//	owner     (server, owner)                one person
//	session   (server, owner, session:ID)    one downstream session; (server, owner) for clients without
//	call      (server, owner, call:N)        nobody
//
// Where the upstream begins with initialize, the key also holds the client
// capabilities that were declared then. Before anybody knows what a server is like,
// one connection is opened as a probe for each credential, and all others wait: if
// it may be shared, all use it; if not, it goes to one of those that declared the
// same capabilities, and the others dial theirs.
//
// A server that lets nobody in with the credentials of a scope, or a scope that has
// none, is known for all of its connections: nothing is dialed with these credentials
// again, and who asks is told the reason, until there are newer ones or a Reset.
package connections
