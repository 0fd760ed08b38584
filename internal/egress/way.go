package egress

import (
	"crypto/tls"
	"net/http"
	"net/url"

	"github.com/jackfield-dev/jackfield"
)

// way is one way out: straight to the server, or through the proxy that the
// environment has for it. The two have a transport each, so that nothing but what a
// proxy is asked for is ever sent to its address unjudged.
type way struct {
	guard    *guard // nil: every address may be reached
	proxy    func(*url.URL) (*url.URL, error)
	straight *direct
	through  *http.Transport // nil: there are no proxies
	broken   error           // why nothing can be sent at all
}

func (c *Clients) newWay(t jackfield.TLS, guarded bool) *way {
	w := &way{proxy: c.proxy}
	dial := c.guard.inner.DialContext
	if guarded {
		w.guard, dial = c.guard, c.guard.dial
	}
	secure, err := t.Config()
	if err != nil {
		w.broken = jackfield.Errorf(jackfield.Invalid, "its tls settings are wrong: %w", err)
	}
	w.straight = &direct{Transport: newTransport(secure)}
	w.straight.DialContext = dial
	if c.proxy != nil {
		w.through = newTransport(secure.Clone())
		w.through.DialContext = c.guard.inner.DialContext
		w.through.Proxy = func(r *http.Request) (*url.URL, error) { return c.proxy(r.URL) }
	}
	return w
}

func newTransport(secure *tls.Config) *http.Transport {
	return &http.Transport{
		TLSClientConfig:        secure,
		TLSHandshakeTimeout:    dialTimeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           4 * maxIdlePerHost,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        keepIdle,
		MaxResponseHeaderBytes: maxHeaderBytes,
		// What a server compresses would have to be unpacked, and bounded, here;
		// nothing is asked to be compressed, so bytes pass as they are.
		DisableCompression: true,
	}
}

// RoundTrip sends a request.
func (w *way) RoundTrip(req *http.Request) (*http.Response, error) {
	if w.proxy == nil && w.broken == nil { // mostly
		return w.straight.RoundTrip(req)
	}
	proxied, err := w.judge(req.URL)
	switch {
	case err != nil:
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	case proxied:
		return w.through.RoundTrip(req)
	}
	return w.straight.RoundTrip(req)
}

// judge reports whether a request goes through a proxy, and whether it may.
func (w *way) judge(u *url.URL) (proxied bool, err error) {
	if w.broken != nil {
		return false, w.broken
	}
	proxy, err := w.proxy(u)
	if err != nil || proxy == nil {
		return false, err
	}
	if w.guard != nil {
		err = w.guard.proxied(u)
	}
	return true, err
}

// CloseIdleConnections closes every idle connection.
func (w *way) CloseIdleConnections() {
	w.straight.CloseIdleConnections()
	if w.through != nil {
		w.through.CloseIdleConnections()
	}
}
