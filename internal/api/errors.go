package api

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/jackfield-dev/jackfield"
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

// fail answers with the problem that err is. Errors without a code are for the
// log and not for the caller.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	code := jackfield.CodeOf(err)
	p := Problem{Status: status[code], Code: code.String(), Detail: err.Error()}
	if _, coded := errors.AsType[*jackfield.Error](err); !coded {
		p.Detail = "something went wrong inside the gateway; its log says what"
		if h.Log != nil {
			h.Log.ErrorContext(r.Context(), "the API failed", slog.String("path", r.URL.Path), slog.Any("error", err))
		}
	}
	if code == jackfield.AuthRequired {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	problem(w, &p)
}

func problem(w http.ResponseWriter, p *Problem) {
	p.Title = http.StatusText(p.Status)
	answer(w, p.Status, "application/problem+json", p)
}

// answer writes v as JSON. What it is given always marshals, and a client that
// has left is nobody's error.
func answer(w http.ResponseWriter, status int, contentType string, v any) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v)
}
