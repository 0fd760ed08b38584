// Package broker does for a caller what it may do: it is the front of the
// library and the one place for every check.
//
//	Caller, Request ─▶ view: which server, under which name ─▶ checks ─▶ lease ─▶ Conn.Do ─▶ Result
//
// Lists are answered from the catalog and connect nothing. Everything else
// finds its one server in the caller's view, takes a lease on the connection that
// this caller uses, and passes the server's own bytes back. Names are spliced,
// nothing is encoded anew.
//
// # What holds
//
//  1. A caller reaches a server only if it is among those that Options.Sees says, a
//     tool only if the server's filter, as it is for this caller, lets it through. That
//     is asked once for each request, and decides for lists, calls, links, tasks,
//     subscriptions and what is heard of changes.
//  2. A call is sent twice, on two connections, only when it is proven that the
//     server never took it, or when it was not answered and twice does no more than
//     once (replay.go). Nobody's call goes on silently after a session that was the
//     caller's own, and may have held something, was lost.
//  3. A call ends: progress extends its time, up to a cap.
//  4. Upstream streams are open while somebody listens, one for each connection,
//     shared by all who listen to it.
//  5. Nobody who listens can hold up who delivers.
//  6. Every table has a bound: calls under way, in all and of one principal, listeners,
//     subscriptions, remembered links, views.
//  7. Who listens and loses a server hears no more of it once Changed has returned.
//
// # What is the same for everybody
//
// A page of a list may be kept for everybody (cacheScope "public") only if everybody
// sees the same servers, and every server says so of its list. Of a list of servers
// alone nobody can tell whether others see more or less, so Options.Public says it: with
// one principal, whoever is at the keyboard or has the one token, everything is the same
// for everybody; where there are people, nothing is.
package broker
