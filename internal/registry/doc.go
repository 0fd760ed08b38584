// Package registry keeps the definitions of servers: it reads them from the
// form that MCP clients write them in, and publishes them as one immutable
// snapshot that says of every definition how often it changed.
//
// # Reading
//
// Servers takes the map of a file's mcpServers (or VS Code's servers) and makes
// jackfield.Server values. One wrong definition never keeps the rest from
// serving: it becomes a Server whose Invalid says what is wrong, where, and what
// to write instead, and whose Endpoint is empty. What another product reads and
// Jackfield does not is a warning.
//
// # Publishing
//
// Registry.Apply compares definitions with the snapshot that is in force. Two
// counters come out of it for each server, both taken from one counter of the
// whole registry, so that a name that was removed and comes back is newer than
// it ever was:
//
//   - Revision grows with every edit.
//   - Version grows only when the Endpoint, Usage.Sharing, Usage.RequiresOAuth
//     or whether it is valid changes. It never goes back: A→B→A is three
//     versions. Values of the environment count as part of the Endpoint.
//
// Readers hold a Snapshot for as long as they like; nothing in it ever changes.
package registry
