package jackfield

import (
	"context"
	"errors"
	"fmt"
)

// Code says what kind of failure an Error is. Every edge has one table from
// Code to its own language: HTTP status, JSON-RPC code, exit code.
type Code uint8

// The codes. Internal is the zero value: an error that nobody classified.
const (
	Internal     Code = iota // a bug, or something nobody foresaw
	Invalid                  // the request or the definition is wrong
	NotFound                 // no such server, tool, prompt, resource or session, for this caller
	Forbidden                // it exists, and this caller may not
	AuthRequired             // only a sign-in ends this
	Conflict                 // somebody else changed it first
	Unavailable              // the upstream cannot be reached or used now
	Exhausted                // a budget is used up
)

// Codes lists every code, so that tables can be tested for holes.
func Codes() []Code {
	return []Code{Internal, Invalid, NotFound, Forbidden, AuthRequired, Conflict, Unavailable, Exhausted}
}

// String is the code as the API and the CLI write it.
func (c Code) String() string {
	switch c {
	case Invalid:
		return "invalid"
	case NotFound:
		return "not_found"
	case Forbidden:
		return "forbidden"
	case AuthRequired:
		return "auth_required"
	case Conflict:
		return "conflict"
	case Unavailable:
		return "unavailable"
	case Exhausted:
		return "exhausted"
	case Internal:
	}
	return "internal"
}

// Error is a failure with a code. Message says what happened, to which server,
// and what to do about it; it is for people and never holds a secret. Err, when
// set, is the cause.
type Error struct {
	Code    Code
	Message string
	Err     error
}

// Errorf makes an Error. A %w verb sets the cause, as in fmt.Errorf.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf finds the code of err: that of the first Error in its chain,
// Unavailable for a deadline that passed, and Internal for everything else.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.DeadlineExceeded):
		return Unavailable
	}
	return Internal
}
