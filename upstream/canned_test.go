package upstream

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield/wire"
)

// canned answers each method with a text in which ID stands for the id of the
// request, and what it does not know with an error.
func canned(t *testing.T, answers map[string]string, saw func(text string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		saw(string(text))
		m, err := wire.Parse(text)
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		case m.Kind != wire.Request:
			w.WriteHeader(http.StatusAccepted)
			return
		}
		answer, ok := answers[m.Method]
		if !ok {
			answer = `{"jsonrpc":"2.0","id":ID,"error":{"code":-32601,"message":"no such method"}}`
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, strings.ReplaceAll(answer, "ID", string(m.ID)))
	})
}
