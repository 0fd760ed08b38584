// Command jackfield is the gateway and its command line.
//
//	serve                   run the gateway
//	config check, schema    look at a configuration without running it
//	servers, tools, call    look at and use a gateway that runs
//	version
//
// serve is package app with flags, signals and a few words for people around it.
// The other commands are clients like any other: servers reads the API, tools
// and call speak MCP to the gateway. docs/cli.md describes every command.
package main
