// Package demo holds the three small MCP servers that are built into the
// jackfield binary: time, text and notes. They are what a new user sees first,
// when serve runs without a configuration, and what tests use where a real child
// process is wanted. Each runs as its own process, `jackfield demo NAME`, and
// speaks MCP over stdio in both eras:
//
//	2026-07-28            each request carries its version and capabilities in _meta
//	2024-11-05…2025-11-25 initialize, then requests that rely on it
//
// One process serves both at once, request by request: a request whose _meta
// names a protocol version is modern, every other one is legacy. Options.Era
// narrows that, for tests of clients that must fall back.
//
//	in ─▶ readLines ─▶ conn.handle ─┬─ quick methods: answered in order
//	                                └─ tools/call, subscriptions/listen: a goroutine each
//	out ◀─ writeLines ◀─ conn.out ◀─ results, notifications, questions
//
// conn.go joins the two, modern.go and legacy.go know the eras, offer.go knows
// what servers offer, and time.go, text.go and notes.go are the servers.
package demo
