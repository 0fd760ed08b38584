//go:build linux

package faults

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// way is what a front does with whoever connects.
type way int

const (
	pass    way = iota // lets it through
	refuse             // nobody listens
	mute               // lets it in, and that is all
	garbage            // says what is not HTTP, nor TLS
	drip               // lets it through, and the answers out byte by byte
	full               // does not even answer that it wants to connect
)

// front stands before a server over HTTP, always at the same address.
type front struct {
	t    *testing.T
	addr string
	to   string      // the server's address
	tls  *tls.Config // what it shows; nil: no TLS
	work sync.WaitGroup

	mu    sync.Mutex // guards what follows
	way   way
	ln    io.Closer // nil: nobody listens
	conns map[net.Conn]bool
}

// newFront starts a front that lets everything through.
func newFront(t *testing.T, to string, c *tls.Config) *front {
	t.Helper()
	f := &front{t: t, to: to, tls: c, conns: map[net.Conn]bool{}, way: refuse}
	for range 100 {
		// Below the ports that the system hands out itself, or somebody else has it
		// while nobody listens.
		f.addr = fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if l, err := net.Listen("tcp", f.addr); err == nil {
			_ = l.Close()
			break
		}
	}
	f.set(pass)
	t.Cleanup(func() {
		f.set(refuse)
		f.work.Wait()
	})
	return f
}

// set changes the way of the front. Whoever is connected is cut off.
func (f *front) set(w way) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.Close()
	}
	f.way = w
	if f.ln != nil && (w == refuse || w == full) {
		_ = f.ln.Close()
		f.ln = nil
	}
	switch {
	case w == refuse:
		return
	case w == full:
		f.ln = crowded(f.t, f.addr)
		return
	case f.ln != nil:
		if _, ok := f.ln.(net.Listener); ok {
			return
		}
		_ = f.ln.Close()
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		l, err := net.Listen("tcp", f.addr)
		if err == nil {
			f.ln = l
			f.work.Go(func() { f.accept(l) })
			return
		}
		if time.Now().After(end) {
			f.t.Errorf("the front cannot listen again: %v", err)
			return
		}
	}
}

func (f *front) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.conns[c] = true
		w := f.way
		f.mu.Unlock()
		f.work.Go(func() {
			f.serve(c, w)
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.conns, c)
			_ = c.Close()
		})
	}
}

func (f *front) serve(c net.Conn, w way) {
	switch w {
	case mute:
		_, _ = io.Copy(io.Discard, c)
		return
	case garbage:
		_, _ = io.WriteString(c, "220 mail.example.com ESMTP\r\n")
		_, _ = io.Copy(io.Discard, c)
		return
	case pass, drip, refuse, full:
	}
	if f.tls != nil {
		secure := tls.Server(c, f.tls)
		if secure.HandshakeContext(f.t.Context()) != nil {
			return
		}
		c = secure
	}
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", f.to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	f.mu.Lock()
	f.conns[server] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.conns, server)
	}()
	f.work.Go(func() {
		_, _ = io.Copy(server, c)
		_ = server.Close()
	})
	var from io.Reader = server
	if w == drip {
		from = dripping{server}
	}
	_, _ = io.Copy(c, from)
}

// dripping gives one byte at a time.
type dripping struct{ io.Reader }

func (d dripping) Read(b []byte) (int, error) {
	time.Sleep(100 * time.Millisecond)
	return d.Reader.Read(b[:1])
}

// queue is a listener that nobody accepts from, with those who wait.
type queue struct {
	fd      int
	waiting []net.Conn
}

func (q *queue) Close() error {
	for _, c := range q.waiting {
		_ = c.Close()
	}
	return syscall.Close(q.fd)
}

// crowded listens and lets so many wait that the next one gets no answer.
func crowded(t *testing.T, addr string) io.Closer {
	t.Helper()
	where, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	q := &queue{}
	if q.fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	_ = syscall.SetsockoptInt(q.fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err = syscall.Bind(q.fd, &syscall.SockaddrInet4{Port: where.Port, Addr: [4]byte(where.IP.To4())}); err == nil {
		err = syscall.Listen(q.fd, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 64 {
		c, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
		if err != nil {
			return q
		}
		q.waiting = append(q.waiting, c)
	}
	t.Errorf("%d wait at %s and still more may", len(q.waiting), addr)
	return q
}
