package api

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"net/http"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/authn"
	"github.com/jackfield-dev/jackfield/internal/credentials"
	"github.com/jackfield-dev/jackfield/internal/record"
	"github.com/jackfield-dev/jackfield/internal/registry"
	"github.com/jackfield-dev/jackfield/pool"
)

// Handler serves the API. Servers and Authenticate must be set; every other field may
// be nil, and then that part of an answer is left out, and so are the routes that are
// nothing without it. The funcs are called for each request, must be safe to call
// concurrently and, but for Connect and Backup, answer from memory.
type Handler struct {
	// Who is calling. Its error is the answer.
	Authenticate func(*http.Request) (jackfield.Principal, error)

	// What there is: the same parts for as long as the handler.
	Servers     func() []jackfield.Server // every effective definition, in the order in which they are shown
	Registry    *registry.Registry        // definitions; nil: everybody sees all of Servers, and nothing can be changed
	People      *authn.Directory          // users, teams and keys
	Credentials *credentials.Credentials  // what people enter for servers
	Board       Board                     // the connections
	Events      *Events                   // GET /events

	// What is known of a server at the moment.
	Warnings    func(jackfield.ServerID) []string                  // what is odd about a definition
	Connections func() iter.Seq2[pool.Key, pool.Status]            // what the pool holds
	Shape       func(jackfield.Server) (exchange.Shape, bool)      // what is known of a server
	Sharing     func(jackfield.Server) (jackfield.Sharing, string) // who shares its connections, and why
	Listings    func(jackfield.Server, jackfield.Scope) []Listing  // what the catalog holds of it, as somebody sees it
	Calls       func(jackfield.ServerID) Calls                     // what is counted of a server's calls

	// What can be done.
	Reset   func(jackfield.Server)                                                    // drains a server's connections and forgets its failures
	Connect func(context.Context, jackfield.Principal, jackfield.Server) error        // opens the caller's own connection; its error is why it could not
	Backup  func(ctx context.Context, w io.Writer) error                              // writes a backup of the store
	ReadLog func(ctx context.Context, since uint64, max int) ([]record.Change, error) // the log of the store

	// How the gateway is.
	Health    func() error                 // nil: well; the error says what is wrong
	Degraded  func() error                 // nil: in full; the error says what it does without
	Readiness func() (Readiness, []string) // whether it takes calls, and what it does without

	Version string // of the gateway
	Log     *slog.Logger
}

// Mount adds the routes to mux: /healthz, /readyz and everything below /api/.
func (h *Handler) Mount(mux *http.ServeMux) {
	mux.Handle("/healthz", readOnly(http.HandlerFunc(h.healthz)))
	mux.Handle("/readyz", readOnly(http.HandlerFunc(h.readyz)))
	mux.Handle("/api/", h.edge().routes.mux)
}

// edge is the handler with its routes.
func (h *Handler) edge() *edge {
	e := newEdge(h)
	e.serverRoutes()
	e.listingRoute()
	e.connectionRoutes()
	e.meRoute()
	if h.Registry != nil {
		e.definitionRoutes()
	}
	if h.Registry != nil && h.Credentials != nil {
		e.variableRoutes()
	}
	if h.People != nil {
		e.keyRoutes()
		e.teamRoutes()
		e.userRoutes()
	}
	if h.Registry != nil && h.People != nil {
		e.stateRoutes()
	}
	if h.Backup != nil {
		e.backupRoute()
	}
	if h.ReadLog != nil {
		e.logRoute()
	}
	if h.Events != nil {
		e.eventRoutes()
	}
	e.document()
	e.routes.refuseOthers()
	e.routes.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_, err := h.Authenticate(r)
		if err == nil {
			err = jackfield.Errorf(jackfield.NotFound, "there is nothing at %.200q; %s/openapi.json says what there is", r.URL.Path, base)
		}
		h.fail(w, r, err)
	})
	return e
}

// readOnly lets GET and HEAD through.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			problem(w, &Problem{
				Status: http.StatusMethodNotAllowed, Code: jackfield.Invalid.String(), Detail: "this path takes GET, HEAD",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Health is the answer of /healthz.
type Health struct {
	Status  string `json:"status"`           // "ok", "degraded" (it serves, but for the reason) or "failing"
	Reason  string `json:"reason,omitempty"` // why it is not ok
	Version string `json:"version"`
}

func (h *Handler) healthz(w http.ResponseWriter, _ *http.Request) {
	health, code := Health{Status: "ok", Version: h.Version}, http.StatusOK
	if h.Degraded != nil {
		if err := h.Degraded(); err != nil {
			health.Status, health.Reason = "degraded", err.Error()
		}
	}
	if h.Health != nil {
		if err := h.Health(); err != nil {
			health.Status, health.Reason, code = "failing", err.Error(), http.StatusServiceUnavailable
		}
	}
	answer(w, code, "application/json", health)
}

// Readiness is whether new sessions and calls should come here.
type Readiness string

// The readinesses. Only of Ready and Degraded the status is 200.
const (
	Ready    Readiness = "ready"
	Degraded Readiness = "degraded" // it takes calls, but for the reasons
	Starting Readiness = "starting"
	Draining Readiness = "draining" // it is being stopped
)

// ReadyAnswer is the answer of /readyz.
type ReadyAnswer struct {
	Status  Readiness `json:"status"`
	Reasons []string  `json:"reasons,omitempty"` // what it does without; they name no server and no file
	Version string    `json:"version"`
}

func (h *Handler) readyz(w http.ResponseWriter, _ *http.Request) {
	ready, code := ReadyAnswer{Status: Ready, Version: h.Version}, http.StatusOK
	if h.Readiness != nil {
		ready.Status, ready.Reasons = h.Readiness()
	}
	switch {
	case ready.Status != Ready && ready.Status != Degraded:
		code = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	case len(ready.Reasons) > 0:
		ready.Status = Degraded
	}
	answer(w, code, "application/json", ready)
}
