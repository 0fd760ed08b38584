package app

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/jackfield-dev/jackfield"
)

// via is what this gateway writes into the header of that name (RFC 9110, section
// 7.6.3): the same for all who share its key, and for nobody else. A definition that
// leads back here by a way that no address shows is found by it.
func via(key []byte) string {
	sum := hmac.New(sha256.New, key)
	_, _ = sum.Write([]byte("jackfield: Via")) // never fails
	return "1.1 jackfield-" + hex.EncodeToString(sum.Sum(nil)[:6])
}

// signed is the endpoint with the gateway's own mark on each request.
func (p *parts) signed(e jackfield.Endpoint) jackfield.Endpoint {
	if e.Transport == jackfield.TransportStdio {
		return e
	}
	headers := maps.Clone(e.Headers)
	if headers == nil {
		headers = map[string]jackfield.Secret{}
	}
	if own, ok := headers["Via"]; ok {
		headers["Via"] = own + ", " + jackfield.Secret(p.via)
	} else {
		headers["Via"] = jackfield.Secret(p.via)
	}
	e.Headers = headers
	return e
}

// unlooped refuses what this gateway sent itself.
func (p *parts) unlooped(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, line := range r.Header["Via"] {
			if strings.Contains(line, p.via) {
				http.Error(w, "this request went out of this gateway and came back to it: one of its servers is the gateway itself; remove that definition", http.StatusLoopDetected)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// loops reports whether an address is the gateway's own: a definition that leads
// there would call itself without end.
func (p *parts) loops(u *url.URL) bool {
	listen := p.config.Listen
	if at := p.listening.Load(); at != nil {
		listen = *at
	}
	return leadsTo(u, p.config.PublicURL, listen)
}

// leadsTo reports whether an address is that of a gateway with this public URL, or
// that listens there.
func leadsTo(u *url.URL, publicURL, listen string) bool {
	host, port := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), portOf(u)
	if public, err := url.Parse(publicURL); err == nil && public.Host != "" {
		at := strings.TrimSuffix(public.Path, "/")
		if strings.EqualFold(host, public.Hostname()) && port == portOf(public) && isGateway(strings.TrimPrefix(u.Path, at)) {
			return true
		}
	}
	ownHost, ownPort, err := net.SplitHostPort(listen)
	if err != nil || port != ownPort {
		return false
	}
	own, _ := netip.ParseAddr(ownHost)
	everywhere := ownHost == "" || own.IsValid() && own.IsUnspecified()
	return strings.EqualFold(host, ownHost) || isLoopback(host) && (everywhere || isLoopback(ownHost)) || everywhere && isMine(host)
}

// isMine reports whether an address is one of this machine's.
func isMine(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Unmap() == addr.Unmap() {
			return true
		}
	}
	return false
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case strings.EqualFold(u.Scheme, "https"):
		return "443"
	}
	return "80"
}
