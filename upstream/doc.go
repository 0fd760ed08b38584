// Package upstream speaks to one MCP server, over whatever carries the messages
// and in whatever protocol revision the server knows.
//
//	                    ┌ modern face: _meta in each request, questions as results
//	exchange.Request ──▶│                                     ├─▶ link ⇄ server
//	                    └ legacy face: initialize, sessions, questions asked back
//
// A link carries messages: Streamable HTTP (http.go, stream.go), a child
// process (stdio.go) or HTTP+SSE of 2024-11-05 (sse.go); the last two share one
// byte stream for everything (pipe.go). A face speaks one protocol era
// (modern.go, legacy.go). Which of them a server needs is found out once
// (probe.go) and remembered as its exchange.Shape.
//
// # What holds
//
//  1. Nothing is encoded anew: params are spliced, results are the server's own
//     bytes.
//  2. A call has one answer, and a Conn sends it once. NotSent says when sending it
//     again, on another, is safe; who called knows what else may be sent twice.
//  3. What arrives on the answer of a call belongs to that call. What arrives on
//     a shared stream belongs to a call only if exactly one is open; a question
//     then goes to Options.Home, or is declined and counted.
//     The GET stream of a legacy session stands while somebody listens, or while a
//     call is open that the server may have a question about (attend.go).
//  4. A broken connection stays broken: Err says why, and whoever needs it dials
//     again. Over HTTP, calls that are open on one whose session was forgotten, or
//     whose server speaks another era, may finish. Hooks.Lost is told first, and
//     whether the server may have kept something of earlier calls (lost.go). Only
//     event streams that somebody listens on are opened anew, a few times and with
//     jitter; what they may have missed is reported as changed.
//  5. An idle HTTP connection has no goroutine; every goroutine has ended when
//     Close returns nil. No process outlives Close; behind a guard, none outlives us.
//  6. Every buffer, queue, list and fan-out has a bound, and what exceeds it is
//     said, not cut in silence.
//  7. Whose a request is travels with the request: Options.Header is asked for each, and
//     nothing that it says is kept on the connection, the socket or the client
//     (header.go). No header of a definition's or a person's leaves the server's origin.
//
// Sources: MCP specification 2026-07-28 (basic/versioning, basic/transports,
// basic/patterns) and 2025-11-25, 2025-06-18, 2025-03-26 and 2024-11-05
// (basic/lifecycle, basic/transports).
package upstream
