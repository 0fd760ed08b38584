package api

import (
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
)

// Handler serves the read API. Servers and Authenticate must be set; every other
// field may be nil, and then that part of an answer is left out. The funcs are
// called for each request, must be safe to call concurrently, and must not dial.
type Handler struct {
	// Servers is the registry's snapshot, in the order in which servers are shown.
	Servers func() []jackfield.Server
	// Authenticate says who is calling. Its error is the answer.
	Authenticate func(*http.Request) (jackfield.Principal, error)

	Warnings    func(jackfield.ServerID) []string                  // what is odd about a definition
	Connections func() iter.Seq2[pool.Key, pool.Status]            // what the pool holds
	Shape       func(jackfield.Server) (exchange.Shape, bool)      // what is known of a server
	Sharing     func(jackfield.Server) (jackfield.Sharing, string) // who shares its connections, and why
	Listings    func(jackfield.Server) []Listing                   // what the catalog holds of it
	Health      func() error                                       // nil: well; the error says what is wrong
	Degraded    func() error                                       // nil: in full; the error says what it does without
	Readiness   func() (Readiness, []string)                       // whether it takes calls, and what it does without
	Calls       func(jackfield.ServerID) Calls                     // what is counted of a server's calls
	// Reset drains a server's connections and forgets its failures; nil: nobody can.
	Reset func(jackfield.Server)

	Version string // of the gateway
	Log     *slog.Logger
}

// Mount adds the routes to mux: /healthz, /readyz and everything below /api/.
func (h *Handler) Mount(mux *http.ServeMux) {
	mux.Handle("/healthz", readOnly(http.HandlerFunc(h.healthz)))
	mux.Handle("/readyz", readOnly(http.HandlerFunc(h.readyz)))
	api := http.NewServeMux()
	api.Handle("/api/v1/servers", h.route(h.servers))
	api.Handle("/api/v1/servers/{name}", h.route(h.server))
	if h.Reset != nil {
		api.HandleFunc("POST /api/v1/servers/{name}/reset", h.reset)
	}
	api.Handle("/api/v1/listings", h.route(h.listings, "server", "kind"))
	api.Handle("/", h.route(func(r *http.Request) (any, error) {
		return nil, jackfield.Errorf(jackfield.NotFound,
			"there is nothing at %s; there are /api/v1/servers, /api/v1/servers/{name} and /api/v1/listings", r.URL.Path)
	}))
	mux.Handle("/api/", api)
}

// reset has a server begun anew, and answers with what is known of it then.
func (h *Handler) reset(w http.ResponseWriter, r *http.Request) {
	_, err := h.Authenticate(r)
	if err == nil {
		err = checkQuery(r, nil)
	}
	var s jackfield.Server
	if err == nil {
		s, err = h.find(r.PathValue("name"))
	}
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.Reset(s)
	status := h.describe(s, h.held()[s.ID], time.Now())
	answer(w, http.StatusOK, "application/json", status)
}

// readOnly lets GET and HEAD through.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			problem(w, &Problem{
				Status: http.StatusMethodNotAllowed, Code: jackfield.Invalid.String(),
				Detail: "this API only reads: use GET",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// route answers with what get returns, for callers that are authenticated. params
// are the names of the query parameters that it takes, each at most once.
func (h *Handler) route(get func(*http.Request) (any, error), params ...string) http.Handler {
	return readOnly(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := h.Authenticate(r); err != nil {
			h.fail(w, r, err)
			return
		}
		if err := checkQuery(r, params); err != nil {
			h.fail(w, r, err)
			return
		}
		v, err := get(r)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		answer(w, http.StatusOK, "application/json", v)
	}))
}

func checkQuery(r *http.Request, params []string) error {
	for name, values := range r.URL.Query() {
		switch {
		case !slices.Contains(params, name) && len(params) == 0:
			return jackfield.Errorf(jackfield.Invalid, "%s takes no parameters, so not %.40q either", r.URL.Path, name)
		case !slices.Contains(params, name):
			return jackfield.Errorf(jackfield.Invalid, "there is no parameter %.40q; use %s", name, strings.Join(params, " or "))
		case len(values) > 1:
			return jackfield.Errorf(jackfield.Invalid, "the parameter %q stands %d times; give it once", name, len(values))
		}
	}
	return nil
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

func (h *Handler) servers(*http.Request) (any, error) {
	all := h.Servers()
	held := h.held()
	list := ServerList{Servers: make([]ServerStatus, 0, len(all))}
	now := time.Now()
	for _, s := range all {
		list.Servers = append(list.Servers, h.describe(s, held[s.ID], now))
	}
	return list, nil
}

func (h *Handler) server(r *http.Request) (any, error) {
	s, err := h.find(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	held := h.held()[s.ID]
	status := h.describe(s, held, time.Now())
	status.Keys = keysOf(held)
	return status, nil
}

// find is the server called name.
func (h *Handler) find(name string) (jackfield.Server, error) {
	all := h.Servers()
	var names []string
	for _, s := range all {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	const most = 20
	if len(names) > most {
		names = append(names[:most], "…")
	}
	hint := "there are none"
	if len(names) > 0 {
		hint = "there are " + strings.Join(names, ", ")
	}
	return jackfield.Server{}, jackfield.Errorf(jackfield.NotFound, "there is no server %.80q; %s", name, hint)
}

func (h *Handler) listings(r *http.Request) (any, error) {
	query := r.URL.Query()
	all := h.Servers()
	if query.Has("server") {
		s, err := h.find(query.Get("server"))
		if err != nil {
			return nil, err
		}
		all = []jackfield.Server{s}
	}
	kind := query.Get("kind")
	if query.Has("kind") && !slices.Contains(kinds, kind) {
		return nil, jackfield.Errorf(jackfield.Invalid, "there is no kind %.40q; use %s", kind, strings.Join(kinds, ", "))
	}
	list := ListingList{Listings: []ListedKind{}}
	if h.Listings == nil {
		return list, nil
	}
	now := time.Now()
	for _, s := range all {
		for _, l := range h.Listings(s) {
			if kind == "" || l.Kind == kind {
				list.Listings = append(list.Listings, ListedKind{Server: s.Name, Kind: l.Kind, ListingStatus: l.status(now)})
			}
		}
	}
	return list, nil
}
