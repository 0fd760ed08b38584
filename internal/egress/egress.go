// Package egress is the only way out: every HTTP connection that leaves the
// gateway is made by a client from here.
package egress

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// Limits of a transport. A keep-alive connection is reused, never one a call.
const (
	dialTimeout     = 10 * time.Second
	keepIdle        = 90 * time.Second
	maxIdlePerHost  = 64
	maxClients      = 1024 // that are kept for servers; those that nobody asked for longest go
	maxHeaderBytes  = 64 << 10
	keepAlivePeriod = 30 * time.Second
)

// Options say how requests leave. The zero value allows nothing that is not public
// to definitions that are not the operator's, and reads the process's environment.
type Options struct {
	// Allow names what definitions that are not the operator's may reach although
	// it is not public.
	Allow []Rule
	// Env looks up HTTP_PROXY, HTTPS_PROXY and NO_PROXY; nil: os.LookupEnv.
	Env func(name string) (string, bool)
	// Resolver looks up names; nil: net.DefaultResolver.
	Resolver *net.Resolver
}

// Clients hands out one HTTP client for each server, shared by everybody who
// calls it: connections are reused between people because identity travels with
// each request. The clients have no cookie jar and never follow a redirect. A client
// is made when it is first asked for, and those that nobody asked for longest make
// room: what still sends with one goes on, and its sockets close by themselves.
type Clients struct {
	guard *guard
	proxy func(*url.URL) (*url.URL, error) // nil: there are none

	operator http.Client // see Operator

	mu      sync.Mutex // guards what follows
	clients map[jackfield.ServerID]*list.Element
	order   *list.List // of *client, the last asked for in front
}

// New returns the clients of one gateway.
func New(o Options) *Clients {
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	c := &Clients{
		guard: newGuard(o.Allow, o.Resolver), proxy: proxies(o.Env),
		clients: make(map[jackfield.ServerID]*list.Element), order: list.New(),
	}
	c.operator = http.Client{Transport: c.newWay(jackfield.TLS{}, false), CheckRedirect: stay}
	return c
}

// Operator returns the client for what whoever runs the gateway named, such as where
// secrets are kept: it reaches every address, through proxies as they are configured.
// Like all others it follows no redirects.
func (c *Clients) Operator() *http.Client { return &c.operator }

// Allowed is why a definition that is not the operator's may not name the address;
// nil when it may. A name is judged when it is dialed, by what it leads to then.
func (c *Clients) Allowed(u *url.URL) error {
	host, port := split(hostPort(u))
	if slices.ContainsFunc(c.guard.allow, func(r Rule) bool { return r.hasName(host, port) }) {
		return nil
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil:
		return named(c.guard.judge(addr, port), host)
	case looksNumeric(host):
		return odd(host)
	}
	return nil
}

// For returns the client for what the server's definition says. It judges each
// request by where it goes: to the origin of the definition's URL the definition's
// own permission applies, and its client certificate is shown. Any other origin is
// a stranger's, whoever named it (a redirect, metadata, an icon): it must be public
// or on the allow list, and sees no certificate.
func (c *Clients) For(s jackfield.Server) *http.Client { return &c.client(s).first }

// Stranger returns the client for an address that a stranger gave on behalf of the
// server: not even the definition's own origin has a permission of its own.
func (c *Clients) Stranger(s jackfield.Server) *http.Client { return &c.client(s).second }

func (c *Clients) client(s jackfield.Server) *client {
	want := settings{originOf(s.Endpoint.URL), s.Operator, s.Endpoint.TLS}
	c.mu.Lock()
	at := c.clients[s.ID]
	if at != nil && at.Value.(*client).settings == want {
		c.order.MoveToFront(at)
		c.mu.Unlock()
		return at.Value.(*client)
	}
	made := c.newClient(want)
	made.id = s.ID
	old := at
	if old == nil && c.order.Len() >= maxClients {
		old = c.order.Back()
	}
	left := c.dropLocked(old)
	c.clients[s.ID] = c.order.PushFront(made)
	c.mu.Unlock()
	if left != nil {
		left.CloseIdleConnections() // requests under way finish on it, and so does who has it
	}
	return made
}

// dropLocked lets go of a client; nil: of none. mu is held.
func (c *Clients) dropLocked(at *list.Element) *client {
	if at == nil {
		return nil
	}
	left := c.order.Remove(at).(*client)
	delete(c.clients, left.id)
	return left
}

// Forget closes the server's idle connections and drops its client. Requests
// under way finish on the old one.
func (c *Clients) Forget(id jackfield.ServerID) {
	c.mu.Lock()
	left := c.dropLocked(c.clients[id])
	c.mu.Unlock()
	if left != nil {
		left.CloseIdleConnections()
	}
}

// CloseIdle closes every idle connection.
func (c *Clients) CloseIdle() {
	c.mu.Lock()
	all := make([]*client, 0, c.order.Len())
	for at := c.order.Front(); at != nil; at = at.Next() {
		all = append(all, at.Value.(*client))
	}
	c.mu.Unlock()
	c.operator.CloseIdleConnections()
	for _, known := range all {
		known.CloseIdleConnections()
	}
}

// settings are what a client is made from.
type settings struct {
	origin   origin
	operator bool
	tls      jackfield.TLS
}

// origin is where a definition's URL leads. The rest of the URL, which may hold places
// that each caller fills in, decides nothing here.
type origin struct {
	scheme, host string // host as the URL has it; empty: the URL is none
	address      string // the host with the port
}

func originOf(text string) origin {
	// What is behind the host may be a template, and need not be a URL yet.
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return origin{}
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil || u.Host == "" {
		return origin{}
	}
	return origin{strings.ToLower(u.Scheme), u.Host, strings.ToLower(hostPort(u))}
}

// client sends the requests of one server: those to its own origin one way, and
// all others another.
type client struct {
	settings
	id     jackfield.ServerID
	first  http.Client // by itself
	second http.Client // by other

	own, other *way
}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (c *Clients) newClient(s settings) *client {
	made := &client{settings: s}
	made.own = c.newWay(s.tls, !s.operator)
	made.other = c.newWay(jackfield.TLS{CA: s.tls.CA}, true)
	made.first = http.Client{Transport: made, CheckRedirect: stay}
	made.second = http.Client{Transport: made.other, CheckRedirect: stay}
	return made
}

// RoundTrip sends a request the way that its address has to go.
func (c *client) RoundTrip(req *http.Request) (*http.Response, error) {
	if c.isOwn(req.URL) {
		return c.own.RoundTrip(req)
	}
	return c.other.RoundTrip(req)
}

func (c *client) isOwn(u *url.URL) bool {
	if u.Host == c.origin.host && u.Scheme == c.origin.scheme { // mostly
		return c.origin.host != ""
	}
	return c.origin.host != "" && strings.EqualFold(u.Scheme, c.origin.scheme) && strings.EqualFold(hostPort(u), c.origin.address)
}

// CloseIdleConnections closes every idle connection.
func (c *client) CloseIdleConnections() {
	c.own.CloseIdleConnections()
	c.other.CloseIdleConnections()
}
