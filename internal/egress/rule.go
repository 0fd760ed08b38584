package egress

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Rule names something that may be reached although it is not public: a host, an
// address or a network, with or without a port.
type Rule struct {
	name   string // in lower case, without a dot at the end; empty: prefix
	below  bool   // what ends in .name, instead
	prefix netip.Prefix
	port   uint16 // 0: any
}

// ParseRule reads mcp.internal, *.internal.example.com, 10.1.2.3, 10.0.0.0/8 or
// fd00::/8, the first three and [fd00::1] also with a port.
func ParseRule(text string) (Rule, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		if p.Addr().Is4In6() {
			return Rule{}, errors.New("write the network as one of IPv4")
		}
		return Rule{prefix: p.Masked()}, nil
	}
	var r Rule
	host := text
	if h, port, err := net.SplitHostPort(text); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Rule{}, errors.New("the port is no number from 1 to 65535")
		}
		host, r.port = h, uint16(n)
	}
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		addr = addr.Unmap()
		if addr.Zone() != "" {
			return Rule{}, errors.New("an address with a zone cannot be allowed")
		}
		r.prefix = netip.PrefixFrom(addr, addr.BitLen())
		return r, nil
	}
	r.name, r.below = strings.CutPrefix(strings.ToLower(strings.TrimSuffix(host, ".")), "*.")
	if !isHostName(r.name) || looksNumeric(r.name) {
		return Rule{}, errors.New("write a host, *.host, an address or a network, such as mcp.internal, 10.1.2.3 or 10.0.0.0/8; :port may follow all but a network")
	}
	return r, nil
}

func isHostName(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return len(s) <= 253
}

// hasName reports whether the rule names the host, which is one in lower case.
func (r Rule) hasName(host string, port uint16) bool {
	if r.name == "" || r.port != 0 && r.port != port {
		return false
	}
	if r.below {
		return strings.HasSuffix(host, "."+r.name)
	}
	return host == r.name
}

func (r Rule) hasAddr(addr netip.Addr, port uint16) bool {
	return r.name == "" && r.prefix.Contains(addr) && (r.port == 0 || r.port == port)
}

// split takes an address host:port apart. The host is in the form of rules.
func split(address string) (host string, port uint16) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	n, _ := strconv.ParseUint(p, 10, 16) // net refuses what is none
	return strings.ToLower(strings.TrimSuffix(host, ".")), uint16(n)
}

// hostPort is the host and the port of a URL.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
