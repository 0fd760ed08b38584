// Package pool leases shared connections.
//
// Connections are shared, as HTTP/2 connections are: many callers hold leases on
// one connection at a time. A [Key] decides which calls may share; [Pool.Acquire]
// gives a lease on the key's connection and dials it first when there is none.
// Nothing is dialed that nobody asked for, and nothing is dialed again because it
// broke: only a caller brings a connection back.
//
//	           Acquire              dial ok
//	(absent) ───────────▶ Connecting ───────▶ Ready ──┐ idle too long · stale · Reset · died
//	    ▲                     │ dial failed           ▼
//	    └── newer version, ◀── Failed              Draining ──▶ closed when the last lease is
//	        Reset, time        (backoff, breaker)               released, or at drain timeout
//
// The package knows nothing of protocols: a connection is anything with the three
// methods of [Conn].
package pool
