package app

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/gateway"
	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/internal/telemetry"
	"github.com/jackfield-dev/jackfield/pool"
)

// watch wires what watches the parts: the log, which says nothing twice a minute,
// the metrics and, if the environment asks for them, traces.
func (p *parts) watch(log *slog.Logger) error {
	p.limiter = telemetry.Limit(log.Handler())
	p.log = slog.New(p.limiter)
	p.metrics = telemetry.NewMetrics(p.version, telemetry.Sources{
		Servers:     p.servers,
		Known:       func(id jackfield.ServerID) bool { _, ok := p.lookup(id); return ok },
		Connections: func() iter.Seq2[pool.Key, pool.Status] { return p.board.Status() },
		Listings:    func(s jackfield.Server) catalog.Status { return p.catalog.Status(s) },
		Gateway:     func() gateway.Status { return p.gateway.Status() },
		Limits:      p.limits,
	})
	var err error
	p.otlp, err = telemetry.StartOTLP(context.Background(), p.version, p.metrics, p.log)
	return err
}

// limits are those of the configuration that are on the whole process.
func (p *parts) limits() []telemetry.Budget {
	open, held := p.board.Limits(), p.board.Load()
	clients, now := p.gateway.Limits(), p.gateway.Status()
	return []telemetry.Budget{
		{Name: "limits.dials.total", Used: held.Dialing, Most: open.DialsProcess},
		{Name: "limits.queue.total", Used: held.Queued, Most: open.Queue},
		{Name: "limits.connections.total", Used: held.Open, Most: open.OpenProcess},
		{Name: "limits.calls.total", Used: p.broker.Load().Calls, Most: p.broker.Limits().Calls},
		{Name: "limits.sessions.total", Used: now.Sessions, Most: clients.Sessions},
		{Name: "limits.parked.total", Used: now.Parked, Most: clients.Parked},
	}
}

// brokerTrace counts calls, and makes spans of them when somebody takes spans.
func (p *parts) brokerTrace() *broker.Trace {
	t := &broker.Trace{Began: p.metrics.CallBegan, Again: p.metrics.Replayed, Ended: p.metrics.CallEnded}
	if p.otlp.Tracing != nil {
		t.Span = p.otlp.Tracing.Call
	}
	return t
}

// metricsFor is /metrics for admins: its labels name everybody's servers.
func (p *parts) metricsFor(authenticate func(*http.Request) (jackfield.Principal, error)) http.Handler {
	metrics := p.metrics.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := authenticate(r)
		switch {
		case err != nil:
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		case !who.Role.Covers(jackfield.RoleAdmin):
			http.Error(w, "metrics are of everybody's servers, and for admins; metrics.listen serves them at an address of their own", http.StatusForbidden)
			return
		}
		metrics.ServeHTTP(w, r)
	})
}

// metricsAlone serves /metrics and nothing else to whoever reaches it, but for web
// pages. By which name scrapers of other machines come nobody knows here.
func (p *parts) metricsAlone() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", p.metrics.Handler())
	return NotForPages(mux, !onThisMachine(p.config.Metrics.Listen))
}

// NotForPages is next without what a web page could have asked for: what a browser
// says is from a page and, but for names, what is asked for under another name than
// localhost. A page can make its own name lead here (DNS rebinding), and browsers do
// not always say where a request is from.
func NotForPages(next http.Handler, names bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch site := r.Header.Get("Sec-Fetch-Site"); {
		case r.Header.Get("Origin") != "", site != "" && site != "none":
			http.Error(w, "this is not for web pages", http.StatusForbidden)
		case !names && !isAddress(r.Host):
			http.Error(w, "this is not served under a name; use the IP address, or localhost", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// isAddress reports whether a Host is no name that somebody could have made.
func isAddress(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost")
}

// onThisMachine reports whether only this machine can reach an address to listen on.
func onThisMachine(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	addr, wrong := netip.ParseAddr(host)
	return err == nil && (strings.EqualFold(host, "localhost") || wrong == nil && addr.IsLoopback())
}

// readiness is whether new sessions and calls should come here, and what the gateway
// does without. That a server is down is no reason to be red: the others work.
func (p *parts) readiness() (api.Readiness, []string) {
	switch p.phase.Load() {
	case starting:
		return api.Starting, nil
	case draining:
		return api.Draining, nil
	}
	var reasons []string
	if err := p.degraded(); err != nil {
		reasons = append(reasons, err.Error())
	}
	if p.stale.Load() {
		reasons = append(reasons, "the configuration has errors that it did not have at the start; the one before is in force, and the log says more")
	}
	down := map[jackfield.ServerID]bool{} // all that is known of it is that it failed
	for k, st := range p.board.Status() {
		if st.Failure != nil && st.Failure.Kind == jackfield.FailureAuth {
			continue // which is between a person and the server
		}
		if _, seen := down[k.Server]; !seen || st.State != pool.Failed {
			down[k.Server] = st.State == pool.Failed
		}
	}
	invalid, failed, servers := 0, 0, p.everybodys()
	for _, s := range servers {
		switch {
		case s.Invalid != "":
			invalid++
		case down[s.ID]:
			failed++
		}
	}
	if failed > 0 {
		reasons = append(reasons, fmt.Sprintf("%d of %d servers cannot be reached; jackfield servers says why", failed, len(servers)))
	}
	if invalid > 0 {
		reasons = append(reasons, fmt.Sprintf("%d of %d servers have definitions that cannot be used; jackfield config check says why", invalid, len(servers)))
	}
	return api.Ready, reasons
}

// counted is what the API tells of a server's calls.
func (p *parts) counted(id jackfield.ServerID) api.Calls {
	inFlight, ended, failed := p.metrics.Calls(id)
	return api.Calls{InFlight: inFlight, Total: ended, Failed: failed}
}
