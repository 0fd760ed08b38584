package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/jackfield-dev/jackfield"
)

// The addresses stand by what they are called; those without a word are public.
func TestOnlyPublicAddressesAreLetThrough(t *testing.T) {
	g := newGuard(nil, nil)
	judge := func(text string) error { return g.control(net.JoinHostPort(text, "80")) }
	for what, addresses := range map[string]string{
		"this machine":                "127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 ::1 ::",
		"a private address":           "10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255 fc00::1 fd00:ec2::254 fdff::1 fec0::1",
		"of a carrier's network":      "100.64.0.1 100.100.100.200 100.127.255.255",
		"a link-local address":        "169.254.0.1 169.254.169.254 169.254.170.2 fe80::1 febf::1",
		"of cloud metadata":           "168.63.129.16",
		"a multicast address":         "224.0.0.1 239.255.255.255 ff02::1 ff0e::1",
		"of documentation or tests":   "192.0.2.1 198.51.100.1 203.0.113.1 198.18.0.1 198.19.255.255 2001:db8::1 3fff::1 2001:2::1",
		"inside another address":      "192.88.99.1 64:ff9b::a00:1 64:ff9b::808:808 64:ff9b:1::a00:1 2002:a00:1:: 2002:808:808:: 2001::1 2001:0:a00:1::1 ::10.0.0.1 ::8.8.8.8 ::ffff:0:10.0.0.1",
		"a reserved address":          "192.0.0.1 192.0.0.192 240.0.0.1 255.255.255.255 2001:10::1 100::1 200::1 4000::1 5f00::1 e000::1",
		"of one network interface":    "fe80::1%eth0 2600::1%1",
		"":                            "8.8.8.8 1.1.1.1 9.9.9.9 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1 169.253.255.255 172.15.255.255 172.32.0.1 192.167.255.255 192.169.0.1 168.63.129.17 198.17.255.255 198.20.0.1 223.255.255.255 2600::1 2001:200::1 2001:4860:4860::8888 2003::1 2a00::1 3ffe::1",
		"this machine (mapped)":       "::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:0.0.0.0",
		"a private address (mapped)":  "::ffff:10.0.0.1 ::ffff:c0a8:1 ::ffff:172.16.0.1",
		"a link-local address (mapp)": "::ffff:169.254.169.254 ::ffff:a9fe:a9fe",
	} {
		for address := range strings.FieldsSeq(addresses) {
			err := judge(address)
			says, _, _ := strings.Cut(what, " (")
			if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
				t.Errorf("%s: got %v, want %q", address, err, says)
			}
		}
	}
	for _, odd := range []string{"", "10.0.0.1", "localhost:80", "10.0.0.1:x", ":80"} {
		if g.control(odd) == nil {
			t.Errorf("%q is let through", odd)
		}
	}
}

func TestTheOddFormsOfAnAddressAreRefused(t *testing.T) {
	c := newClients(t, Options{Allow: rules(t, "0.0.0.0/0", "::/0")})
	for _, host := range []string{
		"2130706433", "0x7f000001", "0X7F.1", "017700000001", "127.1", "127.0.1", "0177.0.0.1", "127.0.0.01", "0x7f.0.0.1", "1.2.3.4.5", "0x", "a.1", "256.0.0.1",
	} {
		_, err := send(t, c.For(theirs("http://"+host+"/")), "http://"+host+"/")
		isPolicy(t, err, "none in the usual form")
	}
	for _, host := range []string{"1.test", "a1", "1a", "0x7f.test", "a.0xyz", "xn--1-0ga", "127.0.0.1", "::1", "fe80::1%1"} {
		if looksNumeric(host) {
			t.Errorf("%s is taken for a number", host)
		}
	}
}

func TestARuleNamesWhatItSaysAndNoMore(t *testing.T) {
	name := func(rule, host string) bool {
		h, p := split(host)
		return rules(t, rule)[0].hasName(h, p)
	}
	addr := func(rule, to string) bool {
		ap := netip.MustParseAddrPort(to)
		return rules(t, rule)[0].hasAddr(ap.Addr(), ap.Port())
	}
	for _, c := range []struct {
		got, want bool
		what      string
	}{
		{name("mcp.internal", "mcp.internal:80"), true, "a host"},
		{name("MCP.Internal.", "mcp.INTERNAL.:80"), true, "in any case"},
		{name("mcp.internal", "x.mcp.internal:80"), false, "not what is below"},
		{name("mcp.internal", "xmcp.internal:80"), false, "not what ends so"},
		{name("mcp.internal:8080", "mcp.internal:8080"), true, "a port"},
		{name("mcp.internal:8080", "mcp.internal:80"), false, "only that port"},
		{name("*.internal", "a.b.internal:80"), true, "below"},
		{name("*.internal", "internal:80"), false, "not itself"},
		{name("*.internal:443", "a.internal:80"), false, "below, with a port"},
		{name("10.0.0.1", "10.0.0.1:80"), false, "an address is no name"},
		{addr("10.0.0.0/8", "10.1.2.3:80"), true, "a network"},
		{addr("10.9.9.9/8", "10.1.2.3:80"), true, "a network, loosely written"},
		{addr("10.0.0.0/8", "11.0.0.1:80"), false, "outside"},
		{addr("10.0.0.1", "10.0.0.1:80"), true, "an address"},
		{addr("10.0.0.1:8080", "10.0.0.1:80"), false, "another port"},
		{addr("[fd00::1]:80", "[fd00::1]:80"), true, "of IPv6, with a port"},
		{addr("fd00::1", "[fd00::1]:80"), true, "of IPv6"},
		{addr("::ffff:10.0.0.1", "10.0.0.1:80"), true, "a mapped one"},
		{addr("mcp.internal", "10.0.0.1:80"), false, "a name is no address"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v", c.what, c.got)
		}
	}
	for _, text := range []string{
		"", "*", "*.", ".", "a..b", "http://a", "a/b", "a b", "a:0", "a:65536", "a:x", "a:", "::ffff:0:0/96", "10.0.0.0/33", "10.0.0.0/8:80",
		"2130706433", "0x7f.1", "fe80::1%eth0", "münchen.test", "a*.b", "*.*.b", strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 130) + "b",
	} {
		if r, err := ParseRule(text); err == nil {
			t.Errorf("%q is taken for %+v", text, r)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	for _, text := range []string{"mcp.internal", "*.a:80", "10.0.0.0/8", "[fd00::1]:80", "fd00::/8", "::ffff:1.2.3.4", "%", "a:b:c", "[", "1.2.3.4.5"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text)
		if err != nil {
			return
		}
		if (r.name == "") == !r.prefix.IsValid() {
			t.Fatalf("%q is both a name and a network, or none: %+v", text, r)
		}
		if r.name != "" && (r.name != strings.ToLower(r.name) || looksNumeric(r.name)) {
			t.Fatalf("%q became %+v", text, r)
		}
	})
}

// dns is a name server of a test.
type dns struct {
	mu    sync.Mutex
	names map[string]string // name to addresses; none: no such name
	asked int
	wait  sync.WaitGroup
}

func (d *dns) set(name, addresses string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names == nil {
		d.names = map[string]string{}
	}
	d.names[name] = addresses
}

func (d *dns) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	t.Cleanup(d.wait.Wait)
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		d.wait.Go(func() {
			defer func() { _ = server.Close() }()
			d.serve(server)
		})
		return client, nil
	}}
}

func (d *dns) serve(c net.Conn) {
	for {
		var size uint16
		if binary.Read(c, binary.BigEndian, &size) != nil {
			return
		}
		question := make([]byte, size)
		if _, err := io.ReadFull(c, question); err != nil {
			return
		}
		answer, err := d.answer(question)
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

func (d *dns) answer(question []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	q := m.Questions[0]
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	addresses, known := d.names[strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))]
	if !known || addresses == "" {
		m.RCode = dnsmessage.RCodeNameError
	}
	for text := range strings.FieldsSeq(addresses) {
		addr := netip.MustParseAddr(text)
		h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		switch {
		case q.Type == dnsmessage.TypeA && addr.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}})
		case q.Type == dnsmessage.TypeAAAA && addr.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	return m.Pack()
}

func TestANameIsJudgedByWhatItLeadsToWhenItIsDialed(t *testing.T) {
	var d dns
	url, seen := hello(t)
	port := url[strings.LastIndexByte(url, ':'):]
	c := newClients(t, Options{Allow: rules(t, "127.0.0.1"+port), Resolver: d.resolver(t)})
	for name, addresses := range map[string]string{
		"private.test": "10.0.0.1", "loop.test": "127.0.0.2", "six.test": "::1", "mapped.test": "::ffff:10.0.0.1", "meta.test": "169.254.169.254",
		"all.test": "10.0.0.1 fd00::1", "nat.test": "64:ff9b::a00:1",
	} {
		d.set(name, addresses)
		_, err := send(t, c.For(theirs("http://"+name+port)), "http://"+name+port)
		isPolicy(t, err, `"`+name+`" leads to`)
		if strings.Contains(err.Error(), addresses) || jackfield.CodeOf(err) != jackfield.Unavailable {
			t.Errorf("%s: %v (%v)", name, err, jackfield.CodeOf(err))
		}
	}
	d.set("both.test", "127.0.0.1 10.0.0.1")
	if text, err := send(t, c.For(theirs("http://both.test"+port)), "http://both.test"+port); text != "hello" || err != nil {
		t.Errorf("of two addresses, the one that may be reached: %q, %v", text, err)
	}
	if seen.Load() != 2 {
		t.Errorf("seen %d times", seen.Load())
	}
}

func TestANameThatIsReboundIsJudgedAnew(t *testing.T) {
	var d dns
	url, seen := hello(t)
	port := url[strings.LastIndexByte(url, ':'):]
	c := newClients(t, Options{Allow: rules(t, "127.0.0.1"+port), Resolver: d.resolver(t)})
	s := theirs("http://rebind.test" + port + "/mcp")
	d.set("rebind.test", "127.0.0.1")
	if text, err := send(t, c.For(s), s.Endpoint.URL); text != "hello" || err != nil {
		t.Fatalf("%q, %v", text, err)
	}
	if d.asked > 2*2 { // A and AAAA, for the way of GET and that of POST
		t.Errorf("%d questions for two dials: the address that was judged is not the one that was dialed", d.asked)
	}
	d.set("rebind.test", "10.0.0.1")
	c.CloseIdle()
	_, err := send(t, c.For(s), s.Endpoint.URL)
	isPolicy(t, err, `"rebind.test" leads to a private address`)
	if seen.Load() != 2 {
		t.Errorf("seen %d times", seen.Load())
	}
	d.set("rebind.test", "127.0.0.1")
	if text, err := send(t, c.For(s), s.Endpoint.URL); text != "hello" || err != nil {
		t.Errorf("back again: %q, %v", text, err)
	}
}

func TestANameThatVanishesIsAFailureOfDNSAndComesBack(t *testing.T) {
	var d dns
	url, _ := hello(t)
	port := url[strings.LastIndexByte(url, ':'):]
	c := newClients(t, Options{Resolver: d.resolver(t)})
	for _, s := range []jackfield.Server{operators("http://gone.test" + port), theirs("http://gone.test" + port)} {
		_, err := send(t, c.For(s), s.Endpoint.URL)
		if e, ok := errors.AsType[*net.DNSError](err); !ok || !e.IsNotFound {
			t.Errorf("got %v", err)
		}
	}
	d.set("gone.test", "127.0.0.1")
	if text, err := send(t, c.For(operators("http://gone.test"+port)), "http://gone.test"+port); text != "hello" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

func TestANameOnTheAllowListMayLeadAnywhere(t *testing.T) {
	var d dns
	d.set("a.mcp.internal", "127.0.0.1")
	url, _ := hello(t)
	port := url[strings.LastIndexByte(url, ':'):]
	for rule, want := range map[string]bool{"a.mcp.internal": true, "*.internal": true, "a.mcp.internal" + port: true, "a.mcp.internal:1": false, "mcp.internal": false, "127.0.0.0/8": true, "127.0.0.1:1": false} {
		c := newClients(t, Options{Allow: rules(t, rule), Resolver: d.resolver(t)})
		text, err := send(t, c.For(theirs("http://A.mcp.internal"+port)), "http://A.mcp.internal"+port)
		if (text == "hello") != want {
			t.Errorf("%s: %q, %v", rule, text, err)
		}
	}
}

// FuzzWhatIsLetThroughIsPublic holds the guard to what the standard library knows of
// addresses, also of those inside of others.
func FuzzWhatIsLetThroughIsPublic(f *testing.F) {
	for _, text := range []string{"8.8.8.8", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "fe80::1", "fd00::1", "2606:4700::1111", "::7f00:1", "ff02::1"} {
		f.Add(netip.MustParseAddr(text).AsSlice())
	}
	g := newGuard(nil, nil)
	f.Fuzz(func(t *testing.T, raw []byte) {
		addr, ok := netip.AddrFromSlice(raw)
		if !ok || g.judge(addr, 443) != nil {
			return
		}
		reached := []netip.Addr{addr.Unmap()}
		if b := addr.As16(); addr.Is6() {
			for _, at := range []struct {
				prefix string
				from   int
			}{{"::/96", 12}, {"64:ff9b::/96", 12}, {"2002::/16", 2}} {
				if netip.MustParsePrefix(at.prefix).Contains(addr) {
					reached = append(reached, netip.AddrFrom4([4]byte(b[at.from:at.from+4])))
				}
			}
		}
		for _, a := range reached {
			if !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
				t.Errorf("%v was let through, and leads to %v", addr, a)
			}
		}
	})
}
