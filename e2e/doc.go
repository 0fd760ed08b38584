// Package e2e proves that MCP clients and servers which are not ours work
// through the gateway's binary: the official TypeScript clients, the go-sdk, the
// Inspector's CLI and the conformance suite on one side, the go-sdk's
// everything-server and npm's server-everything and server-filesystem on the
// other.
//
// TestAnyClientReachesAnyServer lets the official SDKs of five protocol revisions
// meet through the gateway, clients and servers of each, and writes what passes
// between which to docs/protocol-matrix.md.
//
// It is a module of its own, so that the SDK is no dependency of the gateway.
// The script run in this directory installs and builds what the tests need and
// runs them; without it they fail and say so. Everything listens on loopback.
package e2e
