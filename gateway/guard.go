package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/jackfield-dev/jackfield"
)

// Guard decides which Host and Origin headers are let in: those of this machine
// (localhost, loopback addresses), of the public URL and of Hosts. It keeps a web
// page that made its own name point at this machine (DNS rebinding), or that
// simply posts to it, from using the gateway with the powers of whoever looks at
// the page (2025-11-25 and 2026-07-28, transports, security warning). The zero
// Guard lets in this machine only.
type Guard struct {
	PublicURL string   // where clients elsewhere find us, as https://mcp.example.com; empty: nowhere
	Hosts     []string // further host names, without port, under which clients without an Origin find us
}

// Wrap is next behind the guard. Refusals are 403 with one line of text.
func (g Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.Check(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Check returns an error with the code Forbidden when r must not be served.
func (g Guard) Check(r *http.Request) error {
	if !g.host(r.Host) {
		return jackfield.Errorf(jackfield.Forbidden,
			"requests for the host %q are not served here; set publicURL if this is a name of this gateway", clip(r.Host))
	}
	for _, origin := range r.Header["Origin"] {
		if !g.origin(origin) {
			return jackfield.Errorf(jackfield.Forbidden,
				"web pages from %q may not use this gateway; only those of this machine and of publicURL may", clip(origin))
		}
	}
	return nil
}

func (g Guard) host(host string) bool {
	name := hostname(host)
	if loopback(name) {
		return true
	}
	for _, h := range g.Hosts {
		if strings.EqualFold(name, h) {
			return true
		}
	}
	public, ok := g.public()
	return ok && sameHost(host, public.Host, public.Scheme)
}

func (g Guard) origin(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
		u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	if loopback(hostname(u.Host)) {
		return true
	}
	public, ok := g.public()
	return ok && u.Scheme == public.Scheme && sameHost(u.Host, public.Host, public.Scheme)
}

func (g Guard) public() (*url.URL, bool) {
	if g.PublicURL == "" {
		return nil, false
	}
	u, err := url.Parse(g.PublicURL)
	return u, err == nil && u.Host != ""
}

// sameHost compares host:port pairs; a missing port is the scheme's own.
func sameHost(a, b, scheme string) bool {
	full := func(h string) string {
		if _, _, err := net.SplitHostPort(h); err == nil {
			return h
		}
		port := "80"
		if scheme == "https" {
			port = "443"
		}
		return net.JoinHostPort(strings.Trim(h, "[]"), port)
	}
	return strings.EqualFold(full(a), full(b))
}

// hostname is host without its port and brackets.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}

func loopback(name string) bool {
	if strings.EqualFold(strings.TrimSuffix(name, "."), "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.IsLoopback()
}

// clip keeps what a client sent to a length fit for a message.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}

// allowCrossOrigin tells a browser what a page from another origin may do, once
// the Guard has let the origin in, and answers the question asked beforehand. It
// reports whether the request is answered.
func allowCrossOrigin(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin != "" {
		h := w.Header()
		h.Add("Vary", "Origin")
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "Mcp-Session-Id, Mcp-Protocol-Version, WWW-Authenticate, Retry-After")
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "POST, GET, DELETE")
	// Which Mcp-Param headers there are depends on the tools, so what is asked
	// for is granted: the origin is trusted already, and no header here has power.
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
