// Package credentials fills in what stands between a definition and what is sent to
// its server: who the caller is, the variables that each person entered, and secrets
// that stand in files and in Vault.
//
// Values of variables are records of the store, sealed. They are kept in memory as
// they are there, opened when they are used, and kept open for as long as there is
// room. Nothing is opened because the gateway starts.
//
// # What holds
//
//  1. A value is put in once, as it is, and never looked at again: neither "$&" nor
//     "{{var.X}}" nor "$$" in it means anything.
//  2. Values come from one owner's records and from nobody else's. A func of Headers
//     is for one owner, and so is what it returns.
//  3. A value goes to the origin it was entered for. Where somebody who is not the
//     operator may move a server, a value counts as missing after the move.
//  4. In an address, a value is a part of one path segment or of one query value; it
//     cannot lead to another host, path or parameter. In a header, a value is on one
//     line.
//  5. What is missing and required is an error that says what is needed and where to
//     enter it, and nothing is sent. What is optional is left out: the whole header,
//     entry or argument that it stands in.
//  6. Version only grows, and has grown before anybody is told of a change. What is
//     filled in after a Version was read is at least as new as that.
//  7. A secret that was read once is served when it cannot be read any more.
package credentials
