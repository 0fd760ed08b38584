package jackfield

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// FailureKind says what kind of thing went wrong with a server. The words are
// stable: programs may decide by them.
type FailureKind string

// The kinds of failure.
const (
	FailureOther       FailureKind = "other"       // nothing below
	FailureDNS         FailureKind = "dns"         // the host has no address
	FailureRefused     FailureKind = "refused"     // nobody listens at the address
	FailureUnreachable FailureKind = "unreachable" // there is no way to the address
	FailureTLS         FailureKind = "tls"         // no secure connection: a certificate, or no TLS at all
	FailureTimeout     FailureKind = "timeout"     // no answer in time; the stage says to what
	FailureBroken      FailureKind = "broken"      // the connection ended before the answer
	FailureHTTP        FailureKind = "http"        // an HTTP status that is no answer
	FailureProtocol    FailureKind = "protocol"    // what it says is not MCP, or no revision that we speak
	FailureAuth        FailureKind = "auth"        // a sign-in or other credentials are needed
	FailureSession     FailureKind = "session"     // it forgot the session, and what it knew of earlier calls
	FailurePolicy      FailureKind = "policy"      // a rule of the gateway's forbids the address
	FailureBudget      FailureKind = "budget"      // a limit of the gateway's is reached
	FailureStart       FailureKind = "start"       // the program cannot be started
	FailureExited      FailureKind = "exited"      // the program has ended
)

// FailureKinds lists every kind, so that what shows them can be tested for holes.
func FailureKinds() []FailureKind {
	return []FailureKind{
		FailureOther, FailureDNS, FailureRefused, FailureUnreachable, FailureTLS, FailureTimeout, FailureBroken, FailureHTTP,
		FailureProtocol, FailureAuth, FailureSession, FailurePolicy, FailureBudget, FailureStart, FailureExited,
	}
}

// Failure is why a server could not be used. It is classified once, where it
// happened, and everything that shows it shows the same words: clients, the API, the
// command line, the log. It stands in the chain of an *Error.
type Failure struct {
	Kind     FailureKind `json:"kind"`
	Stage    string      `json:"stage,omitempty"`      // how far it came: spawn, dns, connect, tls, http, initialize, auth, protocol, call
	Status   int         `json:"httpStatus,omitempty"` // of the server's answer; zero: there was none
	Message  string      `json:"message"`              // what happened, to which server, and what to do; never a secret
	Since    time.Time   `json:"since,omitzero"`       // the first of the failures in a row; zero: not counted
	Limit    string      `json:"limit,omitempty"`      // FailureBudget: the limit's name in the configuration
	Attempts int         `json:"attempts,omitempty"`   // failures in a row
	Next     time.Time   `json:"nextAttempt,omitzero"` // no attempt before; zero: only someone can end it, or nothing keeps one from trying
	Err      error       `json:"-"`                    // the cause; may be nil
}

// Error is the message.
func (f *Failure) Error() string { return f.Message }

// Unwrap is the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Label is the kind, with what tells it from others of its kind: "refused",
// "timeout at tls", "http 503".
func (f *Failure) Label() string {
	switch {
	case f.Kind == "":
		return string(FailureOther)
	case f.Kind == FailureTimeout && f.Stage != "":
		return string(f.Kind) + " at " + f.Stage
	case f.Kind == FailureHTTP && f.Status != 0:
		return fmt.Sprintf("%s %d", f.Kind, f.Status)
	}
	return string(f.Kind)
}

// At is the failure as people read it at the time now: the message, and when it was
// counted, since when it lasts and when the next attempt is. It has no control
// characters and at most some thousand bytes.
func (f *Failure) At(now time.Time) string {
	text := plain(f.Message)
	if f.Since.IsZero() {
		return text
	}
	when := "it is not tried again until someone signs in, enters what is missing, changes its definition or resets it"
	if !f.Next.IsZero() {
		when = "the next attempt is due now"
		if wait := f.Next.Sub(now); wait > 0 {
			when = fmt.Sprintf("the next attempt is at %s, in %v", f.Next.UTC().Format(time.RFC3339), max(wait.Round(100*time.Millisecond), 100*time.Millisecond))
		}
	}
	times := ""
	if f.Attempts > 1 {
		times = fmt.Sprintf("%d times ", f.Attempts)
	}
	return fmt.Sprintf("%s (%s; failed %ssince %s; %s)", text, f.Label(), times, f.Since.UTC().Format(time.RFC3339), when)
}

// OverLimit is the error of what a limit of the gateway's keeps from happening. limit
// is its name in the configuration, and the message ends with it.
func OverLimit(limit, format string, args ...any) *Error {
	f := &Failure{Kind: FailureBudget, Limit: limit, Message: fmt.Sprintf(format, args...) + ", or raise " + limit}
	return &Error{Code: Exhausted, Message: f.At(time.Time{}), Err: f}
}

// FailureOf is the Failure in the chain of err; nil when there is none.
func FailureOf(err error) *Failure {
	f, _ := errors.AsType[*Failure](err)
	return f
}

// longestText is how much of a message is shown. The last words of a program fit.
const longestText = 4 << 10

// plain is text on one line, without what would move or hide anything on a
// terminal.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		case r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069': // they turn the direction of text around
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	if len(text) <= longestText {
		return text
	}
	end := longestText
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
