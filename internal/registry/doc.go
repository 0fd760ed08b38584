// Package registry is the one source of truth for definitions of servers: those of
// the configuration file, which it reads from the form that MCP clients write them
// in, and those of the store, which people write over the API. It publishes them as
// immutable snapshots, says who sees which, and how often each changed.
//
// # Reading
//
// Servers takes the map of a file's mcpServers (or VS Code's servers) and makes
// jackfield.Server values. One wrong definition never keeps the rest from
// serving: it becomes a Server whose Invalid says what is wrong, where, and what
// to write instead, and whose Endpoint is empty. What another product reads and
// Jackfield does not is a warning. A document that comes over the API goes through
// the same code, and so do records of the store: what differs is who wrote it.
//
// A value is read once, from its beginning to its end. ${NAME} becomes text, and what
// the environment put there is never looked at again. What is filled in later becomes
// a place of a Template in Server.Fill, and is in no constant of the Endpoint but, as
// it was written, in URL and Args. The host of a URL holds no place.
//
// # Who sees what
//
// A definition belongs to the file or the app (which are wide: everybody sees them),
// a team or a user. Snapshot.winner is the only place that decides what a name means
// for a principal; lists, single names and what shadows a definition all ask it. An
// overlay is laid over the wide definition of its name, by the function lay, and is
// a server of its own from there on.
//
// Each scope has a shelf, which never changes: a change puts another one in its
// place. What a class of principals sees is kept with the shelves that it was made
// of, and is right for as long as those are the ones in force. So a change of one
// person's disturbs nobody else, and all who see the same share one slice.
//
// # Publishing
//
// Registry.Apply takes the file's definitions, Registry.Take news of the store. Both
// return what changed, by the ids of what takes effect. Two counters say it of each
// server:
//
//   - Revision grows with every edit.
//   - Version grows only when the Endpoint, what fills it, which variables it
//     requires, Usage.Sharing, Usage.RequiresOAuth, whose word it is or whether it is
//     valid changes. It never goes back while the process runs: A→B→A is three
//     versions. Values of the environment count as part of the Endpoint.
//
// Those of the file are values of one counter of the registry, so that a name that
// was removed and comes back is newer than it ever was. Those of the store are those
// of the record. Those of an overlay are the sums of its own and its base's, and more
// where that would be less than they were.
//
// # Writing
//
// Put and Remove write one record, under the condition that it is as the caller has
// seen it. Secrets leave the document before it is kept, sealed and bound to the
// record; what they were entered for is kept beside them, and they are entered again
// when that changes. No lock is held while something is read, sealed or written.
//
// Readers hold a Snapshot for as long as they like; nothing in it ever changes.
package registry
