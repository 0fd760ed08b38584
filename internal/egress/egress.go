// Package egress is the only way out: every HTTP connection that leaves the
// gateway is made by a client from here.
package egress

import (
	"net"
	"net/http"
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

// Clients hands out one HTTP client for each server, shared by everybody who
// calls it: connections are reused between people because identity travels with
// each request. The clients have no cookie jar and never follow a redirect.
// The zero Clients is ready to use.
type Clients struct {
	mu      sync.Mutex // guards clients
	clients map[jackfield.ServerID]*http.Client
}

// For returns the client for the server.
func (c *Clients) For(id jackfield.ServerID) *http.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	client := c.clients[id]
	if client == nil {
		client = newClient()
		if c.clients == nil {
			c.clients = make(map[jackfield.ServerID]*http.Client)
		}
		c.clients[id] = client
	}
	return client
}

// Forget closes the server's idle connections and drops its client. Requests
// under way finish on the old one.
func (c *Clients) Forget(id jackfield.ServerID) {
	c.mu.Lock()
	client := c.clients[id]
	delete(c.clients, id)
	c.mu.Unlock()
	if client != nil {
		client.CloseIdleConnections()
	}
}

// CloseIdle closes every idle connection.
func (c *Clients) CloseIdle() {
	c.mu.Lock()
	all := make([]*http.Client, 0, len(c.clients))
	for _, client := range c.clients {
		all = append(all, client)
	}
	c.mu.Unlock()
	for _, client := range all {
		client.CloseIdleConnections()
	}
}

func newClient() *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlivePeriod}
	return &http.Client{
		Transport: &direct{Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    dialTimeout,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           4 * maxIdlePerHost,
			MaxIdleConnsPerHost:    maxIdlePerHost,
			IdleConnTimeout:        keepIdle,
			MaxResponseHeaderBytes: maxHeaderBytes,
			// What a server compresses would have to be unpacked, and bounded, here;
			// nothing is asked to be compressed, so bytes pass as they are.
			DisableCompression: true,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
