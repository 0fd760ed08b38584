//go:build linux

package faults

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// names is the name server of this test binary.
var names = &nameServer{names: map[string]string{}}

// The addresses that names lead to here: the second is for servers that move.
const (
	home     = "127.0.0.1"
	newHome  = "127.0.0.2"
	nowhere  = "127.0.0.3"
	noName   = ""       // there is no such name
	noAnswer = "silent" // the name server does not answer
)

// nameServer says where names lead: to an address, or one of the words above.
type nameServer struct {
	mu    sync.Mutex // guards names
	names map[string]string
}

func (n *nameServer) set(name, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[name] = to
}

// resolver asks this name server.
func (n *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go n.serve(server) // until the client closes
		return client, nil
	}}
}

func (n *nameServer) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	for {
		var size uint16
		if binary.Read(c, binary.BigEndian, &size) != nil {
			return
		}
		question := make([]byte, size)
		if _, err := io.ReadFull(c, question); err != nil {
			return
		}
		answer, err := n.answer(question)
		if err != nil {
			return
		}
		if answer == nil {
			_, _ = io.Copy(io.Discard, c)
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

func (n *nameServer) answer(question []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	q := m.Questions[0]
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	n.mu.Lock()
	to := n.names[strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))]
	n.mu.Unlock()
	switch {
	case to == noAnswer:
		return nil, nil
	case to == noName:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(to).As4()},
		}}
	}
	return m.Pack()
}

// leads makes the server's name lead elsewhere. Who is connected is cut off, or
// nobody would look it up again.
func leads(to string) func(*broken) {
	return func(b *broken) {
		names.set(b.host, to)
		b.front.cut()
	}
}

// moves is a server that moves to another address, and its name with it.
func moves(b *broken) {
	b.front.at(newHome)
	names.set(b.host, newHome)
}
