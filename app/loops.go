package app

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// loops reports whether an address is the gateway's own: a definition that leads
// there would call itself without end.
func (p *parts) loops(u *url.URL) bool {
	host, port := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), portOf(u)
	if public, err := url.Parse(p.config.PublicURL); err == nil && public.Host != "" {
		at := strings.TrimSuffix(public.Path, "/")
		if strings.EqualFold(host, public.Hostname()) && port == portOf(public) && isGateway(strings.TrimPrefix(u.Path, at)) {
			return true
		}
	}
	listen := p.config.Listen
	if at := p.listening.Load(); at != nil {
		listen = *at
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
