package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// Error codes of our own, outside the range that JSON-RPC keeps for itself.
const (
	codeAuthRequired = 1401
	codeForbidden    = 1403
	codeConflict     = 1409
	codeExhausted    = 1429
	codeUnavailable  = 1503
)

// row is one code in the languages of this edge.
type row struct {
	rpc    int // JSON-RPC error code
	door   int // HTTP status when the request is refused before it is dispatched
	legacy int // HTTP status of a dispatched request's answer, up to 2025-11-25
	modern int // the same, 2026-07-28
}

// table is how each jackfield.Code is said on the wire. A dispatched request is
// answered with 200 wherever a revision does not ask for another status: clients
// take 401 and 403 for a matter of their own token, and 404 and 5xx for a broken
// connection.
var table = [...]row{
	jackfield.Internal:     {wire.CodeInternal, http.StatusInternalServerError, http.StatusOK, http.StatusOK},
	jackfield.Invalid:      {wire.CodeInvalidParams, http.StatusBadRequest, http.StatusOK, http.StatusBadRequest},
	jackfield.NotFound:     {wire.CodeInvalidParams, http.StatusNotFound, http.StatusOK, http.StatusOK},
	jackfield.Forbidden:    {codeForbidden, http.StatusForbidden, http.StatusOK, http.StatusOK},
	jackfield.AuthRequired: {codeAuthRequired, http.StatusUnauthorized, http.StatusOK, http.StatusOK},
	jackfield.Conflict:     {codeConflict, http.StatusConflict, http.StatusOK, http.StatusOK},
	jackfield.Unavailable:  {codeUnavailable, http.StatusServiceUnavailable, http.StatusOK, http.StatusOK},
	jackfield.Exhausted:    {codeExhausted, http.StatusTooManyRequests, http.StatusOK, http.StatusOK},
}

// modernStatus is the HTTP status of an error answer of the 2026-07-28 revision
// (basic/transports/streamable-http). -32602 is 400 where we refuse a request;
// an error that a server answers with is an answer.
func modernStatus(code int) int {
	switch code {
	case wire.CodeMethodNotFound:
		return http.StatusNotFound
	case wire.CodeParse, wire.CodeInvalidRequest,
		wire.CodeHeaderMismatch, wire.CodeMissingCapability, wire.CodeUnsupportedVersion:
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// describe puts err into the words of the wire. Errors without a code are not
// shown: they are for the log.
func (h *Handler) describe(err error) (jackfield.Code, *wire.Error) {
	if rpc, ok := errors.AsType[*wire.Error](err); ok {
		return jackfield.Internal, rpc
	}
	code := jackfield.CodeOf(err)
	out := &wire.Error{Code: table[code].rpc}
	e, classified := errors.AsType[*jackfield.Error](err)
	switch {
	case classified:
		out.Message = e.Message
		if f := jackfield.FailureOf(err); f != nil {
			out.Data, _ = json.Marshal(f) // which always marshals
		}
	case errors.Is(err, wire.ErrSyntax), errors.Is(err, wire.ErrAmbiguous):
		code = jackfield.Invalid
		out.Code, out.Message = table[code].rpc, err.Error()
	case errors.Is(err, context.Canceled):
		code = jackfield.Unavailable
		out.Code, out.Message = table[code].rpc, "the request was cancelled"
	case code == jackfield.Unavailable:
		out.Message = "it took too long; try again later"
	default:
		h.opts.Log.Error("a request failed inside the gateway", slog.Any("error", err))
		out.Message = "something went wrong inside the gateway; its log says what"
	}
	return code, out
}

// fail is the answer to a dispatched request that ended with err.
func (h *Handler) fail(err error, method string, modern bool) (int, *wire.Error) {
	code, out := h.describe(err)
	row := table[code]
	if modern {
		if out.Code != row.rpc {
			return modernStatus(out.Code), out
		}
		return row.modern, out
	}
	if code == jackfield.NotFound && method == "resources/read" {
		out.Code = wire.CodeResourceNotFound
	}
	return row.legacy, out
}

// refuseError refuses a request that was not dispatched.
func (x *inbound) refuseError(err error) { x.refuse(x.refusal(err)) }

// refusal is the HTTP status and the error for a request that is not dispatched;
// headers that go with it are set.
func (x *inbound) refusal(err error) (int, *wire.Error) {
	code, out := x.describe(err)
	if out.Code != table[code].rpc { // it has its own
		return http.StatusBadRequest, out
	}
	switch code {
	case jackfield.AuthRequired:
		x.w.Header().Set("WWW-Authenticate", "Bearer")
	case jackfield.Exhausted, jackfield.Unavailable:
		x.w.Header().Set("Retry-After", strconv.Itoa(retryAfter(err)))
	case jackfield.NotFound:
		out.Code = wire.CodeInvalidRequest // it is not the params that are wrong
	case jackfield.Internal, jackfield.Invalid, jackfield.Forbidden, jackfield.Conflict:
	}
	return table[code].door, out
}

// retryAfter is in how many seconds a request may be tried again: when the failure
// says so, else soon.
func retryAfter(err error) int {
	const soon, latest = 1, 24 * 60 * 60
	f := jackfield.FailureOf(err)
	if f == nil || f.Next.IsZero() {
		return soon
	}
	return min(max(int(math.Ceil(time.Until(f.Next).Seconds())), soon), latest)
}

// refuse answers with an HTTP status and a JSON-RPC error. The id is the
// request's, when it was read.
func (x *inbound) refuse(status int, e *wire.Error) {
	if status >= http.StatusBadRequest && x.opts.Refused != nil {
		x.opts.Refused(status)
	}
	id := x.msg.ID
	if x.msg.Kind == wire.Response {
		id = nil // it answers something of ours, and must not look like an answer
	}
	body := wire.AppendError(nil, id, e)
	h := x.w.Header()
	h["Content-Type"] = typeJSON
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body) // a client that is gone needs no answer
}

func (x *inbound) refuseInvalid(message string) {
	x.refuse(http.StatusBadRequest, &wire.Error{Code: wire.CodeInvalidParams, Message: message})
}

// unsupportedVersion is the error that names the versions there are.
func unsupportedVersion(requested string) *wire.Error {
	data := []byte(`{"supported":[`)
	for i, v := range exchange.Versions {
		if i > 0 {
			data = append(data, ',')
		}
		data = wire.AppendString(data, v)
	}
	data = append(data, `],"requested":`...)
	data = append(wire.AppendString(data, requested), '}')
	return &wire.Error{
		Code: wire.CodeUnsupportedVersion, Data: data,
		Message: "this protocol version is not spoken here; data.supported lists those that are",
	}
}

// errCancelled is the cause when a client took its request back.
var errCancelled = errors.New("cancelled by the client")

// wasCancelled reports whether ctx ended because the client wanted no answer.
func wasCancelled(ctx context.Context) bool {
	return errors.Is(context.Cause(ctx), errCancelled)
}
