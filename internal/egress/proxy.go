package egress

import (
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/jackfield-dev/jackfield"
)

// proxies reads HTTP_PROXY, HTTPS_PROXY and NO_PROXY, each also in lower case,
// which wins, even when it is set to nothing. It returns how to find the proxy for
// a URL; nil when there is none. Loopback addresses never have one.
func proxies(env func(string) (string, bool)) func(*url.URL) (*url.URL, error) {
	get := func(name string) string {
		if v, ok := env(strings.ToLower(name)); ok {
			return strings.TrimSpace(v)
		}
		v, _ := env(name)
		return strings.TrimSpace(v)
	}
	c := httpproxy.Config{HTTPProxy: get("HTTP_PROXY"), HTTPSProxy: get("HTTPS_PROXY")}
	if c.HTTPProxy == "" && c.HTTPSProxy == "" {
		return nil
	}
	for name, value := range map[string]string{"HTTP_PROXY": c.HTTPProxy, "HTTPS_PROXY": c.HTTPSProxy} {
		if value != "" && !isProxy(value) {
			// Ignoring it would send directly what was to go through a proxy.
			return func(*url.URL) (*url.URL, error) {
				return nil, jackfield.Errorf(jackfield.Invalid, "the environment variable %s holds no address of a proxy; write http://host:port, or unset it", name)
			}
		}
	}
	except, ranges := exceptions(get("NO_PROXY"))
	c.NoProxy = except
	find := c.ProxyFunc()
	return func(u *url.URL) (*url.URL, error) {
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
			for _, r := range ranges {
				if r.from.Compare(addr.Unmap()) <= 0 && addr.Unmap().Compare(r.to) <= 0 {
					return nil, nil //nolint:nilnil // no proxy, as net/http has it
				}
			}
		}
		return find(u)
	}
}

func isProxy(text string) bool {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return false
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		return true
	}
	return false
}

type addrRange struct{ from, to netip.Addr }

// exceptions takes the ranges of addresses (10.0.0.1-10.0.0.9) out of NO_PROXY, and
// leaves what httpproxy knows. Entries stand between commas or spaces.
func exceptions(text string) (others string, ranges []addrRange) {
	var rest []string
	for _, one := range strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' || c == '\n' }) {
		from, to, _ := strings.Cut(one, "-")
		a, errA := netip.ParseAddr(from)
		b, errB := netip.ParseAddr(to)
		if errA == nil && errB == nil {
			ranges = append(ranges, addrRange{a.Unmap(), b.Unmap()})
			continue
		}
		rest = append(rest, one)
	}
	return strings.Join(rest, ","), ranges
}
