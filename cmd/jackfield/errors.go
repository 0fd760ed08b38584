package main

import (
	"errors"
	"fmt"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// The exit codes; docs/cli.md has the same table.
const (
	exitOK          = 0
	exitFailure     = 1   // it went wrong, or only a part of it could be done
	exitUsage       = 2   // the command line is wrong, or names what does not exist
	exitUnreachable = 3   // the gateway, or the server behind it, cannot be reached
	exitToolError   = 4   // the tool ran and said that it failed
	exitConfig      = 5   // the configuration, or the definition of the server, has errors
	exitConflict    = 6   // somebody else was faster, or it is there already; nothing was written
	exitInterrupted = 130 // stopped by a signal, as shells count it
)

// exitCodes is what each code is at this edge.
var exitCodes = map[jackfield.Code]int{
	jackfield.Internal:     exitFailure,
	jackfield.Invalid:      exitUsage,
	jackfield.NotFound:     exitUsage,
	jackfield.Forbidden:    exitFailure,
	jackfield.AuthRequired: exitFailure,
	jackfield.Conflict:     exitConflict,
	jackfield.Unavailable:  exitUnreachable,
	jackfield.Exhausted:    exitFailure,
}

// exitError is an error that knows its exit code. A nil err was told already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func exitCode(err error) int {
	if known, ok := errors.AsType[*exitError](err); ok {
		return known.code
	}
	return exitCodes[jackfield.CodeOf(err)]
}

// usagef is an error in the command line.
func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// rpcCodes are the gateway's JSON-RPC errors as codes again.
var rpcCodes = map[int]jackfield.Code{
	wire.CodeInvalidParams:    jackfield.Invalid,
	wire.CodeMethodNotFound:   jackfield.NotFound,
	wire.CodeResourceNotFound: jackfield.NotFound,
	1401:                      jackfield.AuthRequired,
	1403:                      jackfield.Forbidden,
	1409:                      jackfield.Conflict,
	1429:                      jackfield.Exhausted,
	1503:                      jackfield.Unavailable,
}

// rpcError is an error that came over MCP.
func rpcError(e *wire.Error) error {
	return &jackfield.Error{Code: rpcCodes[e.Code], Message: e.Message, Err: e}
}
