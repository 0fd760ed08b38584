package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/authn"
	"github.com/jackfield-dev/jackfield/internal/record"
	"github.com/jackfield-dev/jackfield/internal/registry"
)

// status is what each code is in HTTP.
var status = map[jackfield.Code]int{
	jackfield.Internal:     http.StatusInternalServerError,
	jackfield.Invalid:      http.StatusBadRequest,
	jackfield.NotFound:     http.StatusNotFound,
	jackfield.Forbidden:    http.StatusForbidden,
	jackfield.AuthRequired: http.StatusUnauthorized,
	jackfield.Conflict:     http.StatusConflict,
	jackfield.Unavailable:  http.StatusServiceUnavailable,
	jackfield.Exhausted:    http.StatusTooManyRequests,
}

// Refusals that have a status of their own.
var (
	errMediaType = &Problem{
		Status: http.StatusUnsupportedMediaType, Code: jackfield.Invalid.String(),
		Detail: "send a body as Content-Type: application/json, and nothing else",
	}
	errTooLarge = &Problem{
		Status: http.StatusRequestEntityTooLarge, Code: jackfield.Invalid.String(),
		Detail: "a definition has at most 256 KiB",
	}
	errBroke = &Problem{
		Title: http.StatusText(http.StatusBadRequest), Status: http.StatusBadRequest, Code: jackfield.Invalid.String(),
		Detail: "the body broke off before it was whole; send it again",
	}
	errNoIfMatch = &Problem{
		Status: http.StatusPreconditionRequired, Code: jackfield.Invalid.String(),
		Detail: "send If-Match with the revision that you have seen, as the ETag of GET has it; or * for whatever it is by now",
	}
)

// problemOf is the problem that err is. Errors without a code are for the log and not
// for the caller.
func (h *Handler) problemOf(ctx context.Context, path string, err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		out := *p
		out.Title = http.StatusText(p.Status)
		return &out
	}
	code := jackfield.CodeOf(err)
	p := &Problem{Title: http.StatusText(status[code]), Status: status[code], Code: code.String(), Detail: err.Error()}
	if faults, ok := errors.AsType[authn.Faults](err); ok {
		for _, f := range faults {
			p.Errors = append(p.Errors, Violation{Location: "body." + f.Field, Message: f.Field + " " + f.Message})
		}
	}
	if _, coded := errors.AsType[*jackfield.Error](err); !coded {
		p.Detail = "something went wrong inside the gateway; its log says what"
		if h.Log != nil {
			h.Log.ErrorContext(ctx, "the API failed", slog.String("path", path), slog.Any("error", err))
		}
	}
	return p
}

// withProblems is err with everything that is wrong with a definition.
func withProblems(err error, found []registry.Problem) error {
	var violations []Violation
	for _, p := range found {
		if p.Severity == "warning" {
			continue
		}
		v := Violation{Location: "body.definition", Message: p.Message}
		if p.Path != "" {
			v.Location += "." + p.Path
		}
		if p.Fix != "" {
			v.Message += "; " + p.Fix
		}
		violations = append(violations, v)
	}
	if code := jackfield.CodeOf(err); code == jackfield.Invalid && len(violations) > 0 {
		return &Problem{Status: status[code], Code: code.String(), Detail: err.Error(), Errors: violations}
	}
	return err
}

// stale makes the conflict in the chain of err that of a request with If-Match.
func stale(err error) error {
	conflict, ok := errors.AsType[*record.Conflict](err)
	if !ok {
		return err
	}
	return &Problem{
		Status: http.StatusPreconditionFailed, Code: jackfield.Conflict.String(), Current: &conflict.Current,
		Detail: conflict.Error() + "; look at it as it is now, and send If-Match with that revision",
	}
}

// taken makes the conflict in the chain of err that of something new: it is there
// already, and was not changed meanwhile.
func taken(err error, what, path string) error {
	if conflict, ok := errors.AsType[*record.Conflict](err); !ok || conflict.Current == 0 {
		return err
	}
	return &Problem{
		Status: http.StatusConflict, Code: jackfield.Conflict.String(),
		Detail: what + " is there already; PUT " + base + path + " changes it, or choose another name",
	}
}

// refused is what huma found wrong with a request. What was sent is not repeated, for
// it may be a secret.
func refused(m *huma.ErrorModel) *Problem {
	p := &Problem{Status: m.Status, Code: jackfield.Invalid.String(), Detail: m.Detail}
	switch m.Status {
	case http.StatusUnprocessableEntity:
		p.Status = http.StatusBadRequest
	case http.StatusInternalServerError:
		p.Code = jackfield.Internal.String()
	}
	p.Title = http.StatusText(p.Status)
	for _, e := range m.Errors {
		if e != nil {
			p.Errors = append(p.Errors, Violation{Location: e.Location, Message: e.Message})
		}
	}
	if len(p.Errors) > 0 {
		p.Detail = p.Errors[0].Message
		if p.Errors[0].Location != "" {
			p.Detail = p.Errors[0].Location + ": " + p.Errors[0].Message
		}
	}
	if more := len(p.Errors) - 1; more > 0 {
		p.Detail += fmt.Sprintf("; and %d more, see errors", more)
	}
	return p
}

// fail answers with the problem that err is.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	problem(w, h.problemOf(r.Context(), r.URL.Path, err))
}

func problem(w http.ResponseWriter, p *Problem) {
	p.Title = http.StatusText(p.Status)
	maps.Copy(w.Header(), p.GetHeaders())
	answer(w, p.Status, p.ContentType(""), p)
}

// answer writes v as JSON. What it is given always marshals, and a client that
// has left is nobody's error.
func answer(w http.ResponseWriter, status int, contentType string, v any) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = encode(w, v)
}
