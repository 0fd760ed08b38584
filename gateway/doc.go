// Package gateway is the downstream MCP endpoint: an http.Handler for /mcp, all
// servers under their final names, and /mcp/{server}, one server as it is. Both
// serve clients of every revision on the same URL.
//
// # Which era
//
// A message whose MCP-Protocol-Version header or _meta names a protocol version
// of the stateless kind is for the modern face (2026-07-28). Everything else is
// for the legacy face: initialize opens a session, and all that follows names it
// in Mcp-Session-Id (2025-03-26 to 2025-11-25). The faces turn what they read
// into an exchange.Request, hand it to the Broker, and turn the exchange.Result
// back; nothing behind them knows of eras.
//
// HTTP+SSE, the transport of 2024-11-05, has paths of its own, /sse and
// /sse/{server}: the same sessions, whose answers all go down one event stream.
//
// # The way of a request
//
//	guard ─▶ authenticate ─▶ read the body whole ─▶ scan once ─▶ face ─▶ Broker.Do
//	                                                              │
//	           JSON, when nothing came before the result ◀─ reply ┘
//	           else an event stream, which a legacy client can resume
//
// Invariants, each with a test that breaks without it:
//
//  1. Every request gets exactly one answer, whatever its bytes are.
//  2. A body is in memory, and bounded, before anything is decided or answered.
//  3. What a client typed (ids, progress tokens, payloads) comes back byte for
//     byte; results are spliced, never decoded.
//  4. A modern client that goes away cancels its request; a legacy client that
//     goes away does not, and finds its answer by Last-Event-ID.
//  5. Session ids, request states and ids of tasks are sealed and name the principal
//     and the path, or the server, they were made for; to anybody else they do not
//     exist.
//  6. Nothing that an upstream sends waits for a slow client: events queue, within
//     bounds, and one goroutine of the HTTP request writes them.
//     A client that opens a session's stream again replaces the reader before it: the
//     old connection often only looks alive.
//  7. A modern client's exchange that a legacy server asks about outlives its POST
//     only while a round is answered: a POST that leaves earlier ends it, and so
//     does a client that does not come back. Each round's state is bound to who
//     began it and to the request, and whoever repeats a retry gets its answer.
//  8. Every queue, table and stream has a bound, and Close ends them all.
//  9. Cut ends all that is under way for a principal, also what was found good just
//     before and comes in just behind. Everything inside the gate knows whose it is;
//     a session is of the principal that opened it.
//
// # Which HTTP status
//
// A request that is not dispatched is refused with the status that HTTP has for
// it. One that was dispatched is answered with 200 whatever the answer is, but
// where 2026-07-28 asks for 400 or 404: clients take 401 and 403 for a matter of
// their own token, and 404 and 5xx for a broken connection.
//
// HTTP 401 is for our own authentication alone: it makes clients sign in with us. What
// a server wants of the caller (a key to be entered, a sign-in of its own) is the
// result of a tool's call in both eras, with isError and the text that says what to do:
// clients show errors of JSON-RPC to nobody, or as a breakdown, while the text of a
// result reaches the model and the person. Its _meta repeats the failure for programs,
// under dev.jackfield/failure. All other requests, and calls that ask for a task, end
// with the JSON-RPC error 1401 and the failure as its data, over HTTP 200.
//
// A rate that is used up is the JSON-RPC error 1429, whose data says when there is
// room again (nextAttempt); where a request is refused with a status, Retry-After says
// it as well.
package gateway
