package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"github.com/jackfield-dev/jackfield"
)

// guard lets through what is public, and what the allow list names. It judges the
// address that a socket is about to be connected to, after all names were looked
// up: what is judged is what is dialed, and a name that means something else a
// moment later is judged again.
type guard struct {
	allow []Rule
	inner *net.Dialer // without a judgement
	outer *net.Dialer // with
}

func newGuard(allow []Rule, resolver *net.Resolver) *guard {
	g := &guard{allow: allow}
	g.inner = &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlivePeriod, Resolver: resolver}
	outer := *g.inner
	outer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error { return g.control(address) }
	g.outer = &outer
	return g
}

// dial connects to the address, if it may.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port := split(address)
	switch {
	case slices.ContainsFunc(g.allow, func(r Rule) bool { return r.hasName(host, port) }):
		return g.inner.DialContext(ctx, network, address)
	case looksNumeric(host):
		return nil, odd(host)
	}
	conn, err := g.outer.DialContext(ctx, network, address)
	if err != nil {
		return nil, named(err, host)
	}
	return conn, nil
}

// control judges one address that a socket is about to be connected to.
func (g *guard) control(address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return &refusal{what: "no address"} // nothing that could be judged
	}
	return g.judge(to.Addr(), to.Port())
}

func (g *guard) judge(addr netip.Addr, port uint16) error {
	if addr.Zone() != "" {
		return &refusal{what: "an address of one network interface"}
	}
	addr = addr.Unmap()
	if what := special(addr); what != "" && !slices.ContainsFunc(g.allow, func(r Rule) bool { return r.hasAddr(addr, port) }) {
		return &refusal{what: what}
	}
	return nil
}

// proxied judges what a proxy is about to be asked for. What a name leads to only
// the proxy knows, so names pass by the allow list alone.
func (g *guard) proxied(u *url.URL) error {
	host, port := split(hostPort(u))
	if slices.ContainsFunc(g.allow, func(r Rule) bool { return r.hasName(host, port) }) {
		return nil
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil && looksNumeric(host):
		return odd(host)
	case err != nil:
		return forbidden(jackfield.Forbidden, fmt.Sprintf("%.100q is looked up by the proxy, which may take it anywhere", host), nil)
	}
	if err := g.judge(addr, port); err != nil {
		return named(err, host)
	}
	return nil
}

// refusal is an address that may not be reached.
type refusal struct{ what string }

// Error says what it is, but not which: whoever only knows a name learns nothing of
// the network.
func (r *refusal) Error() string { return r.what }

// named is a refusal in the words of the house. A name may lead elsewhere later; an
// address will always be what it is.
func named(err error, host string) error {
	r, refused := errors.AsType[*refusal](err)
	if !refused {
		return err
	}
	if _, isName := netip.ParseAddr(host); isName != nil {
		return forbidden(jackfield.Unavailable, fmt.Sprintf("%.100q leads to %s", host, r.what), err)
	}
	return forbidden(jackfield.Forbidden, host+" is "+r.what, err)
}

// odd is an address in a form that not everybody reads the same way: 0x7f.1,
// 2130706433, 010.0.0.1.
func odd(host string) error {
	return forbidden(jackfield.Forbidden, fmt.Sprintf("%.100q looks like an IP address and is none in the usual form", host), nil)
}

func forbidden(code jackfield.Code, why string, err error) error {
	message := why + ", where only the operator's own definitions may go; egress.allow names exceptions"
	return &jackfield.Error{Code: code, Message: message, Err: &jackfield.Failure{Kind: jackfield.FailurePolicy, Message: message, Err: err}}
}

// span is a part of the address space that is not the public Internet.
type span struct {
	netip.Prefix
	what string
}

// spans are from the IANA registries of special-purpose addresses (RFC 6890 and
// its updates), less those that are globally reachable, and the addresses outside
// of them where clouds keep metadata. The first that holds an address names it.
var spans = func() (all []span) {
	const private, local, multi, doc, tunnel = "a private address", "this machine", "a multicast address", "an address of documentation or tests", "an address inside another address"
	for _, s := range []struct{ what, prefixes string }{
		{local, "127.0.0.0/8 0.0.0.0/8 ::1/128 ::/128"},
		{private, "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10"},
		{"an address of a carrier's network", "100.64.0.0/10"},
		{"a link-local address", "169.254.0.0/16 fe80::/10"},
		{"an address of cloud metadata", "168.63.129.16/32"},
		{multi, "224.0.0.0/4 ff00::/8"},
		{doc, "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 198.18.0.0/15 2001:db8::/32 3fff::/20 2001:2::/48"},
		{tunnel, "192.88.99.0/24 64:ff9b::/96 64:ff9b:1::/48 2002::/16 2001::/32 ::/96 ::ffff:0:0:0/96"},
		{"a reserved address", "192.0.0.0/24 240.0.0.0/4 2001::/23"},
	} {
		for p := range strings.FieldsSeq(s.prefixes) {
			all = append(all, span{netip.MustParsePrefix(p), s.what})
		}
	}
	return all
}()

// global is where all public IPv6 addresses are.
var global = netip.MustParsePrefix("2000::/3")

// special says what kind of address it is; empty for a public one. It has no zone,
// and is no IPv4 address in the form of IPv6.
func special(addr netip.Addr) string {
	for _, s := range spans {
		if s.Contains(addr) {
			return s.what
		}
	}
	if addr.Is6() && !global.Contains(addr) {
		return "a reserved address"
	}
	return ""
}

// looksNumeric reports whether some resolvers and proxies take a name for an IPv4
// address (inet_aton, and URLs in browsers): its last part is a number.
func looksNumeric(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	host = strings.TrimSuffix(host, ".")
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	digits := "0123456789"
	if hex, is := strings.CutPrefix(last, "0x"); is {
		last, digits = hex, "0123456789abcdef"
	}
	return host != "" && strings.Trim(last, digits) == ""
}
