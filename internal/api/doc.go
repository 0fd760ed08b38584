// Package api is the read API: what servers there are, in which state they are
// and why, what they list and how old that is. It looks at what the other parts
// know and changes nothing: no request to it dials, lists or resets anything, and
// no answer holds a secret, a URL or a command line.
//
//	GET /healthz                whether the gateway is up; needs no authentication
//	GET /readyz                 whether it takes calls; likewise
//	GET /api/v1/servers         all servers
//	GET /api/v1/servers/{name}  one server, with each of its connections
//	GET /api/v1/listings        what each server lists; ?server=NAME, ?kind=KIND
//
// Errors are application/problem+json (RFC 9457). docs/api.md describes every
// member; a test holds it to that.
package api
