// Package api is the REST API of the gateway, below /api/v1: what servers there are
// and how they are, the definitions of the store, people, keys, what each person
// enters, and what changes. docs/api.md describes it; /api/v1/openapi.json is the same
// for programs.
//
// It knows no rule of its own about who may do what, but for what only admins may:
// each handler passes the principal on to the room that owns what is asked for. What
// one may not see is not there, in that room's words.
//
// # What holds
//
//  1. GET changes nothing and dials nothing. No answer holds a secret, and no error
//     repeats what was sent.
//  2. Every route is in the document and the other way round; every answer is as the
//     document says. Tests hold it to that.
//  3. Every field that is sent has bounds, and whatever is unknown is refused: members,
//     parameters, methods, types. All that is wrong is told at once.
//  4. What is stored changes only from a revision that the caller has seen, or says not
//     to care about.
//  5. A stream of events is bounded: who does not read is cut off, and finds in the log
//     what it missed. A listener hears of nothing that it could not have listed.
//
// huma reads requests and writes the document; edge.go is the one place that knows it
// well. Errors are application/problem+json (RFC 9457), in this package's own shape.
package api
