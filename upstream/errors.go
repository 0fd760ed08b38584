package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
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

	stageCall = "call" // of what fails when all of that is done
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
	kind       jackfield.FailureKind // empty: what classify makes of the rest
	limit      string                // of ours, by its name in the configuration, when that is what is in the way
	stage      string
	what       string // follows `server "name": `
	whole      bool   // it does not: what names the server itself
	err        error  // the cause; may be nil
	forSomeone bool   // only a person ends it
	serverWide bool   // DialError.DialStage
	notSent    bool
	status     int // of the HTTP answer; zero: none
	retryAfter time.Duration
	at         time.Time // when the server said so; zero: now
}

// Error is what happened.
func (f *failure) Error() string { return f.what }

// Unwrap is the cause.
func (f *failure) Unwrap() error { return f.err }

// NotSent reports whether the server provably never accepted the call.
func (f *failure) NotSent() bool { return f.notSent }

// As lets errors.As find the failure as everybody else knows it.
func (f *failure) As(target any) bool {
	to, ok := target.(**jackfield.Failure)
	if ok {
		*to = f.public(f.what, f.err)
	}
	return ok
}

// public is the failure in the words of the house. Without a stage it happened in a
// call.
func (f *failure) public(message string, err error) *jackfield.Failure {
	out := &jackfield.Failure{Kind: f.classify(), Stage: f.stage, Status: f.status, Limit: f.limit, Message: message, Err: err}
	if out.Stage == "" {
		out.Stage = stageCall
	}
	if f.retryAfter > 0 {
		out.Since, out.Attempts = f.at, 1
		if f.at.IsZero() {
			out.Since = time.Now()
		}
		out.Next = out.Since.Add(min(f.retryAfter, pauseMax))
	}
	return out
}

// classify is the one place that decides of which kind a failure is, but for those
// that say so themselves.
func (f *failure) classify() jackfield.FailureKind {
	switch {
	case f.kind != "":
		return f.kind
	case f.stage == StageAuth:
		return jackfield.FailureAuth
	case f.status != 0:
		return jackfield.FailureHTTP
	case errors.Is(f.err, context.DeadlineExceeded), isTimeout(f.err):
		return jackfield.FailureTimeout
	case f.code == jackfield.Exhausted:
		return jackfield.FailureBudget
	case f.code == jackfield.Forbidden:
		return jackfield.FailurePolicy
	}
	switch f.stage {
	case StageDNS:
		return jackfield.FailureDNS
	case StageTLS:
		return jackfield.FailureTLS
	case StageConnect:
		if errors.Is(f.err, syscall.ECONNREFUSED) {
			return jackfield.FailureRefused
		}
		return jackfield.FailureUnreachable
	case StageHTTP:
		return jackfield.FailureBroken
	case StageSpawn:
		if f.err != nil { // of exec; a process that ended left none
			return jackfield.FailureStart
		}
		return jackfield.FailureExited
	case StageProtocol, StageInitialize:
		return jackfield.FailureProtocol
	}
	if errors.Is(f.err, errClosed) {
		return jackfield.FailureBroken
	}
	return jackfield.FailureOther
}

// protocolFailure is a server that says something nobody can make sense of.
func protocolFailure(format string, args ...any) *failure {
	err := fmt.Errorf(format, args...)
	return &failure{code: jackfield.Unavailable, stage: StageProtocol, what: err.Error(), err: errors.Unwrap(err)}
}

// dialError is err as Dial returns it. at is how far the attempt came, for one that
// took too long.
func (o *Options) dialError(err error, at string) error {
	f := asFailure(err)
	if errors.Is(err, context.DeadlineExceeded) && f.stage == "" {
		f = &failure{
			code: jackfield.Unavailable, kind: jackfield.FailureTimeout, stage: at, serverWide: true, err: err,
			what: fmt.Sprintf("%s within %v; is it the right address or command, and is initTimeout long enough?", missing[at], o.InitTimeout),
		}
	}
	switch known := *f; {
	case f.stage == "":
		known.stage = StageInitialize
		f = &known
	case f.stage == StageConnect && f.classify() == jackfield.FailureTimeout:
		known.stage = at // net/http does not tell what took too long
		f = &known
	}
	cause := f.err
	if cause == nil {
		cause = errors.New(f.what)
	}
	out := f.public(o.says(f), &DialError{
		Stage: f.stage, Temporary: !f.forSomeone, RetryAfter: f.retryAfter, DialStage: f.serverWide, Err: cause,
	})
	out.Since, out.Attempts, out.Next = time.Time{}, 0, time.Time{} // whoever dials counts
	return &jackfield.Error{Code: f.code, Message: out.At(time.Time{}), Err: out}
}

// missing is what did not come within the time of a dial, by stage.
var missing = map[string]string{
	StageDNS:        "its host was not found",
	StageConnect:    "there was no connection",
	StageTLS:        "there was no secure connection",
	StageInitialize: "no answer to initialize",
}

// callError is err as Do returns it. A context that ended is left as it is for a
// caller who left, and explained for one whose time was up.
func (o *Options) callError(method string, err error) error {
	var j *jackfield.Error
	switch {
	case errors.As(err, &j):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		err = &failure{code: jackfield.Unavailable, kind: jackfield.FailureTimeout, what: "no answer to " + method + " in time", err: err}
	case errors.Is(err, context.Canceled):
		return err
	}
	f := asFailure(err)
	out := f.public(o.says(f), f)
	return &jackfield.Error{Code: f.code, Message: out.At(time.Now()), Err: out}
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

func (o *Options) says(f *failure) string {
	if f.whole {
		return f.what
	}
	return fmt.Sprintf("server %q: %s", o.Name, f.what)
}

// unreachable explains why an HTTP request got no answer.
func unreachable(address string, err error) *failure {
	// The error of net/http repeats the whole URL, and a URL may hold a key.
	if e := (*url.Error)(nil); errors.As(err, &e) {
		err = e.Err
	}
	f := &failure{code: jackfield.Unavailable, err: err}
	var (
		ours   *jackfield.Error
		dns    *net.DNSError
		op     *net.OpError
		record tls.RecordHeaderError
		verify *tls.CertificateVerificationError
		alert  tls.AlertError
		host   x509.HostnameError
		signer x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &ours): // nothing was sent, by a rule of ours
		f.code, f.what, f.stage, f.notSent = ours.Code, ours.Message, StageConnect, true
		f.forSomeone = ours.Code == jackfield.Forbidden || ours.Code == jackfield.Invalid
		if known := jackfield.FailureOf(err); known != nil {
			f.kind = known.Kind
		}
	case errors.As(err, &dns):
		f.stage, f.serverWide, f.notSent = StageDNS, true, true
		f.what = fmt.Sprintf("the host of %s cannot be found (%v); check the url", address, dns.Err)
	case errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/":
		f.stage, f.serverWide, f.notSent = StageTLS, true, true
		f.what = fmt.Sprintf("%s does not speak TLS; write http instead of https into its url", address)
	case errors.As(err, &verify), errors.As(err, &host), errors.As(err, &signer), errors.As(err, &record), errors.As(err, &alert):
		f.stage, f.serverWide, f.notSent = StageTLS, true, true
		f.what = fmt.Sprintf("no secure connection to %s: %s", address, untrusted(err))
	case errors.As(err, &op) && op.Op == "remote error": // crypto/tls, of an alert
		f.stage, f.serverWide, f.notSent = StageTLS, true, wantsCertificate(op.Err)
		f.what = fmt.Sprintf("no secure connection to %s: %s", address, untrusted(op.Err))
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

// stages follows how far a dial over HTTP comes.
type stages struct{ now atomic.Pointer[string] }

// watch returns a context whose requests tell s where they are.
func (s *stages) watch(ctx context.Context) context.Context {
	at := func(stage string) func() { return func() { s.now.Store(&stage) } }
	dns, connect, secure, sent := at(StageDNS), at(StageConnect), at(StageTLS), at(StageInitialize)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart:     func(httptrace.DNSStartInfo) { dns() },
		ConnectStart: func(string, string) { connect() },
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				sent()
			}
		},
		TLSHandshakeStart: secure,
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err == nil {
				sent()
			}
		},
		GotConn: func(httptrace.GotConnInfo) { sent() },
	})
}

// at is the stage now.
func (s *stages) at() string {
	if now := s.now.Load(); now != nil {
		return *now
	}
	return StageInitialize
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
