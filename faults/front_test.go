//go:build linux

package faults

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
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

// front stands before a server over HTTP, always at the same port.
type front struct {
	t    *testing.T
	addr string      // at first
	to   string      // the server's address
	tls  *tls.Config // what it shows; nil: no TLS
	work sync.WaitGroup

	mu    sync.Mutex // guards what follows
	way   way
	now   string    // where it is
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
	f.now = f.addr
	f.set(pass)
	t.Cleanup(func() {
		f.set(refuse)
		f.work.Wait()
	})
	return f
}

// at moves the front to another address of this machine.
func (f *front) at(ip string) {
	f.set(refuse)
	f.mu.Lock()
	_, port, _ := strings.Cut(f.now, ":")
	f.now = ip + ":" + port
	f.mu.Unlock()
	f.set(pass)
}

// cut cuts off whoever is connected.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutLocked()
}

// cutLocked is cut. mu is held.
func (f *front) cutLocked() {
	for c := range f.conns {
		_ = c.Close()
	}
}

// set changes the way of the front. Whoever is connected is cut off, unless nothing
// changes.
func (f *front) set(w way) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w == f.way && w == pass {
		return
	}
	f.cutLocked()
	f.way = w
	if f.ln != nil && (w == refuse || w == full) {
		_ = f.ln.Close()
		f.ln = nil
	}
	switch {
	case w == refuse:
		return
	case w == full:
		f.ln = crowded(f.t, f.now)
		return
	case f.ln != nil:
		if _, ok := f.ln.(net.Listener); ok {
			return
		}
		_ = f.ln.Close()
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		l, err := net.Listen("tcp", f.now)
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
	_, _ = io.Copy(&paced{f, c}, server)
}

// slow has the front drip from now on, also to those who are connected.
func (f *front) slow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.way = drip
}

func (f *front) drips() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.way == drip
}

// paced writes one byte a second while the front drips.
type paced struct {
	f *front
	io.Writer
}

func (p *paced) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		some := b[n:]
		if p.f.drips() {
			wait(p.f.t.Context(), time.Second)
			some = some[:1]
		}
		var m int
		m, err = p.Writer.Write(some)
		n += m
	}
	return n, err
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
