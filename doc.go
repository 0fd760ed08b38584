// Package jackfield holds the words that every other package of the project
// shares: servers, scopes, principals, versions and errors. It has no
// goroutine, no I/O and no dependency beyond the standard library.
//
// The parts that do something with these words live below it: package pool
// leases shared connections, package connections keeps the connections of one
// scope, package upstream speaks to MCP servers, package catalog remembers
// what they offer, package broker does for a principal what it may do, and
// package gateway is the MCP endpoint in front of it all.
package jackfield
