package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// maxHops is how many redirects of one request are followed, one after the other.
const maxHops = 5

// fetch sends one HTTP request that ends with ctx, wherever the server redirects it
// to. Only 307 and 308 are followed, which keep the method and the body: the others
// would make a GET of a call. Who may be reached is up to the transport that
// was given, which is asked anew for each address; without one it is the same origin.
func (w *web) fetch(ctx context.Context, method string, to *url.URL, body []byte, header http.Header) (*http.Response, error) {
	full, err := w.personal(ctx, header)
	if err != nil {
		return nil, err
	}
	resp, err := w.hop(ctx, method, to, body, full)
	if err != nil || !redirects(resp) {
		return resp, err
	}
	left := false // the origin of the definition
	for range maxHops {
		next, ok := target(resp, to)
		if !ok {
			return resp, nil // the status is all there is
		}
		giveUp(resp)
		switch away := !sameOrigin(next, w.url); {
		case away && w.own != nil:
			return nil, astray("%s redirects to another origin, %s, and nothing here judges whether that may be reached; write the address that is meant into its url", w.name, shownURL(next))
		case left && !away:
			// What a stranger names gets no more than the stranger: neither what the
			// definition may reach nor what it signs in with.
			return nil, astray("%s redirects to another origin, which redirects back; write the address that is meant into its url", w.name)
		case away && !left:
			left, full = true, forStrangers(header)
		case !away:
			if full, err = w.personal(ctx, header); err != nil {
				return nil, err
			}
		}
		to = next
		if resp, err = w.hop(ctx, method, to, body, full); err != nil {
			return nil, w.afterHop(to, err)
		}
		if !redirects(resp) {
			return resp, nil
		}
	}
	giveUp(resp)
	return nil, astray("%s redirects more than %d times; write the address that is meant into its url", w.name, maxHops)
}

// hop sends one HTTP request to one address.
func (w *web) hop(ctx context.Context, method string, to *url.URL, body []byte, header http.Header) (*http.Response, error) {
	req := (&http.Request{
		Method: method, URL: to, Host: header.Get("Host"), Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if body != nil {
		req.ContentLength = int64(len(body))
		req.Body = inMemory(body)
		req.GetBody = func() (io.ReadCloser, error) { return inMemory(body), nil }
	}
	resp, err := w.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	// Nobody asked for it, and what is unpacked here would have to be bounded here.
	if coding := resp.Header["Content-Encoding"]; len(coding) > 0 && !strings.EqualFold(coding[0], "identity") {
		_ = resp.Body.Close()
		return nil, &failure{
			code: jackfield.Unavailable, stage: StageProtocol,
			what: fmt.Sprintf("%s compresses its answers (%s), which nobody asked for; switch that off for it", w.name, snippet([]byte(coding[0]))),
		}
	}
	return resp, nil
}

// redirects reports whether an answer is a redirect that may be followed.
func redirects(resp *http.Response) bool {
	return resp.StatusCode == http.StatusTemporaryRedirect || resp.StatusCode == http.StatusPermanentRedirect
}

// target is where an answer redirects to, if that is an address at all.
func target(resp *http.Response, from *url.URL) (*url.URL, bool) {
	location := resp.Header.Get("Location")
	ref, err := url.Parse(location)
	if err != nil || location == "" {
		return nil, false
	}
	to := from.ResolveReference(ref)
	to.Fragment, to.RawFragment = "", ""
	if to.Scheme != "http" && to.Scheme != "https" || to.Hostname() == "" || ref.User != nil {
		return nil, false
	}
	return to, true
}

// giveUp leaves an answer unread, but keeps its socket if that costs next to nothing.
func giveUp(resp *http.Response) {
	const little = 4 << 10
	if resp.ContentLength >= 0 && resp.ContentLength <= little {
		_, _ = io.CopyN(io.Discard, resp.Body, resp.ContentLength+1)
	}
	_ = resp.Body.Close()
}

// astray is a redirect that is not followed. A redirect takes no call.
func astray(format string, args ...any) *failure {
	return &failure{code: jackfield.Unavailable, stage: StageHTTP, notSent: true, what: fmt.Sprintf(format, args...)}
}

// sameOrigin compares scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(hostPort(a), hostPort(b))
}

// forStrangers is what of a request's headers another origin may see: those of the
// protocol. Credentials, the session and whatever the definition adds stay behind.
func forStrangers(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		switch name {
		case "Accept", "Content-Type", wire.HeaderProtocolVersion, wire.HeaderMethod, wire.HeaderName, idempotent:
			out[name] = values
		default:
			if strings.HasPrefix(name, wire.HeaderParamPrefix) {
				out[name] = values
			}
		}
	}
	return out
}

// notAnswered is why a request got no answer.
func (w *web) notAnswered(err error) error {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	return unreachable(w.name, err)
}

// afterHop is why a request got no answer where the server redirects it to. It may
// redirect elsewhere tomorrow, so nobody has to do anything for it to be tried again.
func (w *web) afterHop(to *url.URL, err error) *failure {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		f = unreachable(shownURL(to), err)
	}
	f.what = fmt.Sprintf("%s redirects to %s: %s", w.name, shownURL(to), f.what)
	f.forSomeone = false
	return f
}
