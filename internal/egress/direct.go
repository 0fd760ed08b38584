package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// direct sends what is simple by itself, and everything else through the Transport:
// a small POST over plain HTTP/1.1, on a socket that belongs to one
// request at a time and is written and read by whoever waits for the answer. A
// Transport keeps two goroutines for each socket and hands every request and answer
// over twice, which is a fifth of what a call through the gateway costs.
//
// What a Transport promises is kept: a request that may have been sent is never sent
// again, unless its header says that it may be.
type direct struct {
	*http.Transport

	mu       sync.Mutex // guards what follows
	idle     []*socket  // to any host, maxIdlePerHost at most; the last used at the end
	sweeping bool       // expire will come
}

const (
	smallBody = 32 << 10 // what a socket takes at once, whether the other side reads or not
	interim   = 5        // answers, those of the 1xx kind before the one that counts included
)

// RoundTrip sends a request.
func (d *direct) RoundTrip(req *http.Request) (*http.Response, error) {
	if !canProbe || !simple(req) {
		return d.Transport.RoundTrip(req)
	}
	for {
		s, used, err := d.take(req)
		if err != nil {
			_ = req.Body.Close()
			return nil, err
		}
		resp, err := s.roundTrip(req)
		if err == nil {
			return resp, nil
		}
		_ = s.Close()
		if req.Context().Err() != nil {
			return nil, context.Cause(req.Context())
		}
		// A socket that was used before may have been closed by the server at any time.
		if !used || s.got > 0 || s.sent > 0 && !repeatable(req) {
			return nil, err
		}
		if req, err = again(req); err != nil {
			return nil, err
		}
	}
}

// simple reports whether a request is one that direct sends by itself. What is
// not, the Transport sends, or knows how to refuse.
func simple(req *http.Request) bool {
	if req.URL.Scheme != "http" || req.Method != http.MethodPost || req.Close || req.GetBody == nil ||
		req.ContentLength <= 0 || req.ContentLength > smallBody || len(req.TransferEncoding) > 0 || len(req.Trailer) > 0 ||
		req.URL.Host == "" || !isASCII(req.URL.Host) {
		return false
	}
	size := 0
	for name, values := range req.Header {
		switch name {
		case "Connection", "Upgrade", "Expect", "Te", "Trailer", "Transfer-Encoding":
			return false
		}
		if !isToken(name) {
			return false
		}
		for _, v := range values {
			if size += len(name) + len(v); !isPrintable(v) {
				return false
			}
		}
	}
	return size <= smallBody
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// isPrintable reports whether s can be the value of a header.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// isToken reports whether s can be the name of a header (RFC 9110, 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c|0x20 < 'a' || c|0x20 > 'z' {
			if (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
				return false
			}
		}
	}
	return s != ""
}

// repeatable reports whether a request may be sent again, by the rule of net/http.
func repeatable(req *http.Request) bool {
	_, yes := req.Header["Idempotency-Key"]
	return yes
}

// again is the request once more.
func again(req *http.Request) (*http.Request, error) {
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	next := *req
	next.Body = body
	return &next, nil
}

// take finds an idle socket to the request's host that is still open, or opens one.
func (d *direct) take(req *http.Request) (s *socket, used bool, err error) {
	for {
		if s = d.pop(req.URL.Host); s == nil {
			break
		}
		if s.quiet() {
			return s, true, nil
		}
		_ = s.Close()
	}
	port := req.URL.Port()
	if port == "" {
		port = "80"
	}
	conn, err := d.DialContext(req.Context(), "tcp", net.JoinHostPort(req.URL.Hostname(), port))
	if err != nil {
		return nil, false, err
	}
	s = &socket{Conn: conn, host: req.URL.Host, home: d}
	s.r, s.w = bufio.NewReader(s), bufio.NewWriter(s)
	if raw, ok := conn.(syscall.Conn); ok {
		s.raw, _ = raw.SyscallConn() // without it, the socket is used once
	}
	return s, false, nil
}

// pop takes the socket to host that was used last.
func (d *direct) pop(host string) *socket {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, s := range slices.Backward(d.idle) {
		if s.host == host {
			d.idle = slices.Delete(d.idle, i, i+1)
			return s
		}
	}
	return nil
}

// give takes a socket back, for the next request.
func (d *direct) give(s *socket) {
	if s.raw == nil || s.r.Buffered() > 0 {
		_ = s.Close()
		return
	}
	s.since = time.Now()
	if oldest := d.keep(s); oldest != nil {
		_ = oldest.Close()
	}
}

// keep puts a socket to the idle ones, and returns the one that has to go for it.
func (d *direct) keep(s *socket) (oldest *socket) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.idle) >= maxIdlePerHost {
		oldest = d.idle[0]
		d.idle = slices.Delete(d.idle, 0, 1)
	}
	d.idle = append(d.idle, s)
	if !d.sweeping {
		d.sweeping = true
		time.AfterFunc(keepIdle, d.expire)
	}
	return oldest
}

// expire closes the sockets that nobody used for too long, and comes again when
// the next one may be due.
func (d *direct) expire() {
	d.mu.Lock()
	n := 0
	for n < len(d.idle) && time.Since(d.idle[n].since) >= keepIdle {
		n++
	}
	old := slices.Clone(d.idle[:n])
	d.idle = slices.Delete(d.idle, 0, n)
	if d.sweeping = len(d.idle) > 0; d.sweeping {
		time.AfterFunc(keepIdle-time.Since(d.idle[0].since), d.expire)
	}
	d.mu.Unlock()
	for _, s := range old {
		_ = s.Close()
	}
}

// CloseIdleConnections closes every idle socket.
func (d *direct) CloseIdleConnections() {
	d.Transport.CloseIdleConnections()
	d.mu.Lock()
	idle := d.idle
	d.idle = nil
	d.mu.Unlock()
	for _, s := range idle {
		_ = s.Close()
	}
}

// socket is one connection. It belongs to one request, or to the idle ones.
type socket struct {
	net.Conn
	host  string
	home  *direct
	raw   syscall.RawConn // for quiet; nil: it cannot be looked at
	r     *bufio.Reader
	w     *bufio.Writer
	since time.Time // idle

	// Of the present request.
	sent, got int64 // bytes
	most      int64 // that may be got; zero: as many as come
}

// Read reads from the connection, and counts.
func (s *socket) Read(b []byte) (int, error) {
	if s.most > 0 && s.got >= s.most {
		return 0, fmt.Errorf("the headers of the answer are longer than %d bytes", s.most)
	}
	n, err := s.Conn.Read(b)
	s.got += int64(n)
	return n, err
}

// Write writes to the connection, and counts.
func (s *socket) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.sent += int64(n)
	return n, err
}

// roundTrip sends a request and reads the head of its answer.
func (s *socket) roundTrip(req *http.Request) (*http.Response, error) {
	s.sent, s.got, s.most = 0, 0, maxHeaderBytes
	// Closing is what ends a read or write that is under way.
	detach := context.AfterFunc(req.Context(), func() { _ = s.Close() })
	resp, err := s.exchange(req)
	if err != nil {
		detach()
		return nil, err
	}
	s.most = 0
	b := &body{ReadCloser: resp.Body, s: s, ctx: req.Context(), detach: detach, keep: !resp.Close}
	if resp.Body == http.NoBody {
		b.end(b.keep)
	}
	resp.Body = b
	return resp, nil
}

// exchange sends a request and reads its answer. A server that refuses a request
// early may answer, and close, while it is still being sent; then the answer counts.
func (s *socket) exchange(req *http.Request) (*http.Response, error) {
	unsent := req.Write(s.w) // closes the request's body
	if unsent == nil {
		unsent = s.w.Flush()
	}
	if unsent != nil && s.sent == 0 {
		return nil, unsent
	}
	resp, err := s.answer(req)
	switch {
	case unsent == nil:
		return resp, err
	case err != nil:
		return nil, unsent
	}
	resp.Close = true
	return resp, nil
}

func (s *socket) answer(req *http.Request) (*http.Response, error) {
	for range interim {
		resp, err := http.ReadResponse(s.r, req)
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF) && s.got == 0:
			return nil, io.EOF
		case err != nil:
			return nil, err
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, errors.New("the server switches to a protocol that nobody asked for")
		case resp.StatusCode >= http.StatusOK:
			return resp, nil
		}
	}
	return nil, errors.New("the server does not come to its answer (HTTP 1xx)")
}

// body is the body of an answer. When all of it was read, its socket is free.
type body struct {
	io.ReadCloser
	s      *socket
	ctx    context.Context //nolint:containedctx // the request's, which the body is a part of
	detach func() bool     // from ctx
	keep   bool            // the socket may be used again
	over   atomic.Bool
}

// Read reads from the body.
func (b *body) Read(p []byte) (int, error) {
	if b.over.Load() {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		b.end(b.keep)
	case b.ctx.Err() != nil:
		err = context.Cause(b.ctx)
	}
	return n, err
}

// Close ends the body. What was not read of it by then ends the socket, too.
func (b *body) Close() error {
	b.end(false)
	return nil
}

// end lets go of the socket, once.
func (b *body) end(keep bool) {
	if b.over.Swap(true) {
		return
	}
	if b.detach() && keep {
		b.s.home.give(b.s)
	} else {
		_ = b.s.Close()
	}
}
