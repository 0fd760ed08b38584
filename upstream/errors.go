package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
)

// The stages of a dial, as DialError names them.
const (
	StageSpawn      = "spawn"      // start the command
	StageDNS        = "dns"        // find the host
	StageConnect    = "connect"    // reach it
	StageTLS        = "tls"        // agree on a secure connection
	StageHTTP       = "http"       // get a usable HTTP answer
	StageInitialize = "initialize" // get through discovery or initialize
	StageAuth       = "auth"       // be let in
	StageProtocol   = "protocol"   // understand what it says
)

// DialError is why a server could not be reached. It stands inside the
// *jackfield.Error that Dial returns, whose message is for people.
type DialError struct {
	Stage string
	// Temporary: the same attempt may succeed later with nothing changed by
	// anybody. False: only a person ends this.
	Temporary bool
	// RetryAfter is how long the server asked to be left alone; zero: not said.
	RetryAfter time.Duration
	// DialStage: the failure says something about the server and not about who
	// asks: refused, DNS, TLS, a timeout, a 5xx at initialize.
	DialStage bool
	Err       error
}

// Error is the stage and the cause.
func (e *DialError) Error() string { return e.Stage + ": " + e.Err.Error() }

// Unwrap is the cause.
func (e *DialError) Unwrap() error { return e.Err }

// NotSent is true: no call had been sent yet.
func (e *DialError) NotSent() bool { return true }

// NotSent reports whether err proves that the server never accepted the call, so
// that sending it once more cannot do anything twice.
func NotSent(err error) bool {
	var e interface{ NotSent() bool }
	return errors.As(err, &e) && e.NotSent()
}

// ErrNoStream says that the server offers no stream of events.
var ErrNoStream = exchange.ErrNoStream

var errClosed = errors.New("the connection was closed")

// failure is what goes wrong below Dial and Do, with all that either of them
// says about it.
type failure struct {
	code       jackfield.Code
	stage      string
	what       string // follows `server "name": `
	err        error  // the cause; may be nil
	forSomeone bool   // only a person ends it
	serverWide bool   // DialError.DialStage
	notSent    bool
	status     int // of the HTTP answer; zero: none
	retryAfter time.Duration
}

// Error is what happened.
func (f *failure) Error() string { return f.what }

// Unwrap is the cause.
func (f *failure) Unwrap() error { return f.err }

// NotSent reports whether the server provably never accepted the call.
func (f *failure) NotSent() bool { return f.notSent }

// protocolFailure is a server that says something nobody can make sense of.
func protocolFailure(format string, args ...any) *failure {
	err := fmt.Errorf(format, args...)
	return &failure{code: jackfield.Unavailable, stage: StageProtocol, what: err.Error(), err: errors.Unwrap(err)}
}

// dialError is err as Dial returns it.
func (o *Options) dialError(err error) error {
	f := asFailure(err)
	if errors.Is(err, context.DeadlineExceeded) && f.stage == "" {
		f = &failure{
			code: jackfield.Unavailable, stage: StageInitialize, serverWide: true, err: err,
			what: fmt.Sprintf("no answer to initialize within %v; is it the right address or command, and is initTimeout long enough?", o.InitTimeout),
		}
	}
	stage := f.stage
	if stage == "" {
		stage = StageInitialize
	}
	cause := f.err
	if cause == nil {
		cause = errors.New(f.what)
	}
	return &jackfield.Error{Code: f.code, Message: o.says(f.what), Err: &DialError{
		Stage: stage, Temporary: !f.forSomeone, RetryAfter: f.retryAfter, DialStage: f.serverWide, Err: cause,
	}}
}

// callError is err as Do returns it. A context that ended is left as it is for a
// caller who left, and explained for one whose time was up.
func (o *Options) callError(method string, err error) error {
	var j *jackfield.Error
	switch {
	case errors.As(err, &j):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return &jackfield.Error{Code: jackfield.Unavailable, Message: o.says("no answer to " + method + " in time"), Err: err}
	case errors.Is(err, context.Canceled):
		return err
	}
	f := asFailure(err)
	return &jackfield.Error{Code: f.code, Message: o.says(f.what), Err: f}
}

func asFailure(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if j, ok := errors.AsType[*jackfield.Error](err); ok {
		return &failure{code: j.Code, what: j.Message, err: err}
	}
	return &failure{code: jackfield.Unavailable, what: err.Error(), err: err}
}

func (o *Options) says(what string) string {
	return fmt.Sprintf("server %q: %s", o.Name, what)
}

// unreachable explains why an HTTP request got no answer.
func unreachable(address string, err error) *failure {
	// The error of net/http repeats the whole URL, and a URL may hold a key.
	if e := (*url.Error)(nil); errors.As(err, &e) {
		err = e.Err
	}
	f := &failure{code: jackfield.Unavailable, err: err}
	var (
		dns    *net.DNSError
		op     *net.OpError
		record tls.RecordHeaderError
		verify *tls.CertificateVerificationError
		alert  tls.AlertError
		host   x509.HostnameError
		signer x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &dns):
		f.stage, f.serverWide, f.notSent = StageDNS, true, true
		f.what = fmt.Sprintf("the host of %s cannot be found (%v); check the url", address, dns.Err)
	case errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/":
		f.stage, f.serverWide, f.notSent = StageTLS, true, true
		f.what = fmt.Sprintf("%s does not speak TLS; write http instead of https into its url", address)
	case errors.As(err, &verify), errors.As(err, &host), errors.As(err, &signer), errors.As(err, &record), errors.As(err, &alert):
		f.stage, f.serverWide, f.notSent = StageTLS, true, true
		f.what = fmt.Sprintf("no secure connection to %s: %v", address, err)
	case errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
		f.stage, f.serverWide, f.notSent = StageConnect, true, true
		f.what = fmt.Sprintf("cannot connect to %s: %v; is it running?", address, rootCause(op.Err))
	case errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err):
		f.stage, f.serverWide = StageConnect, true
		f.what = fmt.Sprintf("%s does not answer: %v", address, err)
	default:
		f.stage, f.serverWide = StageHTTP, true
		f.what = fmt.Sprintf("%s broke the connection off before it answered: %v", address, err)
	}
	return f
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// snippet is text of a server's, short and printable, for a message to people.
func snippet(text []byte) string {
	const most = 300
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(text[:min(len(text), most)]), ""))
	return strings.Join(strings.Fields(s), " ")
}

// shownURL is a URL for messages: without user, password and query, where keys
// are kept.
func shownURL(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
