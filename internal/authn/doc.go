// Package authn says who is calling, and keeps the people, teams and API keys that
// this is decided by.
//
// A Directory holds them in memory: file keys from the configuration, everything else
// from the store, kept current by Take. Authenticate touches neither. Every request
// hashes what was sent once and compares digests in constant time; the text of a key
// is nowhere kept.
//
// # Who comes with what
//
//   - Nothing: Local, where the gateway is open; refused elsewhere. Something wrong is
//     refused everywhere.
//   - The gateway's token: Bearer, an admin, and not the operator.
//   - A key: its user. A file key without one is somebody by itself, with its name as
//     the subject.
//
// The users "local" and "token" may have a record, for a name, an email address and
// teams. They are admins whatever it says, and are not disabled.
//
// # What a key may do
//
// The teams are those of the key and those of its user. A membership counts only
// while the team has a record; a file key may name teams that only the file knows.
// The role is that of the key, else that of the user, else user. A key that somebody
// made for themselves never does more than their record allows now: it loses what they
// lose. What an admin gave to a key stands until it is revoked. The keys of a user who
// is disabled are refused, and so are those of a user who had a record and has none.
// A key for some servers makes keys for no others, and a key that was made with a file
// key by somebody without a record ends with that file key.
//
// # Who may change what
//
// Users, teams and their members are changed by admins. Members see their teams and who
// is in them. Everybody makes, lists and revokes keys of their own, with no more than
// they have themselves. Admins do not disable, demote or remove themselves, so that one
// is left; whoever has the configuration can let somebody in at any time.
//
// Removing a user removes the keys, and removing a team the memberships, in the same
// write: a team that is made again is empty. What other parts keep of them is given to
// Remove as further writes.
package authn
