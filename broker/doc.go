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
//  1. A caller reaches a server only if it is in the caller's view, a tool only if
//     the server's filter lets it through.
//  2. A call is sent twice, on two connections, only when it is proven that the
//     server never took it, or when it was not answered and twice does no more than
//     once (replay.go). Nobody's call goes on silently after a session that was the
//     caller's own, and may have held something, was lost.
//  3. A call ends: progress extends its time, up to a cap.
//  4. Upstream streams are open while somebody listens, one for each connection,
//     shared by all who listen to it.
//  5. Nobody who listens can hold up who delivers.
//  6. Every table has a bound: calls under way, in all and of one principal, listeners, subscriptions, remembered links.
package broker
