// Package egress is the only way out: every HTTP connection that leaves the
// gateway is made by a client from here.
package egress

import (
	"net"
	"net/http"
	"net/url"
	"os"
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
// each request. The clients have no cookie jar and never follow a redirect.
type Clients struct {
	guard *guard
	proxy func(*url.URL) (*url.URL, error) // nil: there are none

	mu      sync.Mutex // guards clients
	clients map[jackfield.ServerID]*client
}

// New returns the clients of one gateway.
func New(o Options) *Clients {
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	return &Clients{guard: newGuard(o.Allow, o.Resolver), proxy: proxies(o.Env), clients: make(map[jackfield.ServerID]*client)}
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
	want := settings{s.Endpoint.URL, s.Operator, s.Endpoint.TLS}
	c.mu.Lock()
	known := c.clients[s.ID]
	if known != nil && known.settings == want {
		c.mu.Unlock()
		return known
	}
	made := c.newClient(want)
	c.clients[s.ID] = made
	c.mu.Unlock()
	if known != nil {
		known.CloseIdleConnections() // requests under way finish on it
	}
	return made
}

// Forget closes the server's idle connections and drops its client. Requests
// under way finish on the old one.
func (c *Clients) Forget(id jackfield.ServerID) {
	c.mu.Lock()
	known := c.clients[id]
	delete(c.clients, id)
	c.mu.Unlock()
	if known != nil {
		known.CloseIdleConnections()
	}
}

// CloseIdle closes every idle connection.
func (c *Clients) CloseIdle() {
	c.mu.Lock()
	all := make([]*client, 0, len(c.clients))
	for _, known := range c.clients {
		all = append(all, known)
	}
	c.mu.Unlock()
	for _, known := range all {
		known.CloseIdleConnections()
	}
}

// settings are what a client is made from.
type settings struct {
	url      string
	operator bool
	tls      jackfield.TLS
}

// client sends the requests of one server: those to its own origin one way, and
// all others another.
type client struct {
	settings
	first  http.Client // by itself
	second http.Client // by other

	scheme, host, address string // the origin; host as the URL has it, address with the port
	own, other            *way
}

func (c *Clients) newClient(s settings) *client {
	made := &client{settings: s}
	if u, err := url.Parse(s.url); err == nil && u.Host != "" {
		made.scheme, made.host, made.address = strings.ToLower(u.Scheme), u.Host, strings.ToLower(hostPort(u))
	}
	made.own = c.newWay(s.tls, !s.operator)
	made.other = c.newWay(jackfield.TLS{CA: s.tls.CA}, true)
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
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
	if u.Host == c.host && u.Scheme == c.scheme { // mostly
		return c.host != ""
	}
	return c.host != "" && strings.EqualFold(u.Scheme, c.scheme) && strings.EqualFold(hostPort(u), c.address)
}

// CloseIdleConnections closes every idle connection.
func (c *client) CloseIdleConnections() {
	c.own.CloseIdleConnections()
	c.other.CloseIdleConnections()
}
