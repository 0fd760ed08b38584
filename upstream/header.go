package upstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// personal are the headers of one HTTP request to the server itself: those given,
// and over them what Options.Header says now, for this call. Nothing of it is kept,
// so whose a request is never depends on the connection or the socket that it goes
// over.
func (w *web) personal(ctx context.Context, header http.Header) (http.Header, error) {
	if w.ask == nil { // mostly
		return header, nil
	}
	asked, err := w.ask(ctx)
	if err != nil {
		return nil, notAsked(ctx, err)
	}
	if len(asked) == 0 {
		return header, nil
	}
	merged := maps.Clone(header)
	for name, values := range asked {
		if err := checkHeader(name, values); err != nil {
			return nil, err
		}
		if name = http.CanonicalHeaderKey(name); !isProtocols(name) {
			merged[name] = values
		}
	}
	return merged, nil
}

// notAsked is the failure of a request that was not sent, because nobody could say
// with what. A message with a code is meant for people, and names the server itself.
func notAsked(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f := &failure{
		code: jackfield.CodeOf(err), kind: jackfield.FailureAuth, stage: StageAuth, err: err, notSent: true,
		what: "the headers of a request to it could not be made, so it was not sent",
	}
	if known := jackfield.FailureOf(err); known != nil {
		f.kind = known.Kind
	}
	if e, ok := errors.AsType[*jackfield.Error](err); ok {
		f.what, f.whole = e.Message, true
	}
	f.forSomeone = f.code == jackfield.AuthRequired || f.code == jackfield.Forbidden || f.code == jackfield.Invalid
	return f
}

// checkHeader refuses what cannot be a header: a line break in a value would make
// another header, or another request, of the rest. The value may be a secret, so it
// is not shown.
func checkHeader(name string, values []string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }) {
		return badHeader("a header with the name %q cannot be sent", snippet([]byte(name)))
	}
	for _, v := range values {
		for i := range len(v) {
			if v[i] < ' ' && v[i] != '\t' || v[i] == 0x7f {
				return badHeader("the value of the header %s has a control character in it, such as a line break, so nothing was sent; enter what it is made of again", name)
			}
		}
	}
	return nil
}

func badHeader(format string, args ...any) *failure {
	return &failure{
		code: jackfield.Invalid, kind: jackfield.FailureAuth, stage: StageAuth, notSent: true, forSomeone: true,
		what: fmt.Sprintf(format, args...),
	}
}

// isProtocols reports whether a header is the protocol's own, or decides how a
// request travels; Options.Header has no say in these.
func isProtocols(name string) bool {
	switch name {
	case "Accept", "Content-Type", "Content-Length", "Transfer-Encoding", "Connection", wire.HeaderProtocolVersion, wire.HeaderSession,
		wire.HeaderMethod, wire.HeaderName, wire.HeaderLastEventID, idempotent:
		return true
	}
	return strings.HasPrefix(name, wire.HeaderParamPrefix)
}
