//go:build linux

package faults

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

// kind is a transport, and an era where it matters.
type kind string

const (
	stdio  kind = "stdio"
	legacy kind = "legacy"
	modern kind = "modern"
	sse    kind = "sse"
)

var scripts = map[kind]upstreamtest.Script{
	stdio:  {Era: upstreamtest.Legacy, Transport: jackfield.TransportStdio},
	legacy: {Era: upstreamtest.Legacy},
	modern: {Era: upstreamtest.Modern},
	sse:    {Era: upstreamtest.Legacy, Transport: jackfield.TransportSSE, Version: exchange.V20241105},
}

// broken is a server whose faults can be begun and ended: over HTTP it stands
// behind a front, over stdio it is whatever its file says.
type broken struct {
	*upstreamtest.Server
	t     *testing.T
	def   jackfield.Server
	front *front // over HTTP
	host  string // the name by which it is reached over HTTP; empty: its address
	file  string // over stdio: a script for sh
}

const (
	shortInit  = 2 * time.Second // of broken servers
	childInit  = 4 * time.Second // of broken servers that are a process, which a busy machine starts slowly
	shortCall  = time.Second     // beyond that
	soundChild = `exec "$SOUND"` // a process that is a server
)

func newBroken(t *testing.T, name string, k kind, script upstreamtest.Script, c *tls.Config) *broken {
	t.Helper()
	script.Tools = append(upstreamtest.FaultyWords(), script.Tools...)
	b := &broken{Server: upstreamtest.New(t, script), t: t}
	b.def = jackfield.Server{
		Name: name, Endpoint: b.Endpoint(),
		Usage: jackfield.Usage{InitTimeout: shortInit, Timeout: shortInit + shortCall},
	}
	e := &b.def.Endpoint
	if k == stdio {
		b.def.Usage.InitTimeout, b.def.Usage.Timeout = childInit, childInit+shortCall
		b.file = filepath.Join(t.TempDir(), "server.sh")
		e.Env["SOUND"], e.Env["FILE"] = jackfield.Secret(e.Command), jackfield.Secret(b.file)
		e.Command, e.Args = "sh", []string{"-c", `. "$FILE"`}
		b.is(soundChild)
		return b
	}
	b.front = newFront(t, strings.TrimPrefix(b.URL(), "http://"), c)
	e.URL = "http://" + b.front.addr + "/mcp"
	if c != nil {
		e.URL = "https://" + b.front.addr + "/mcp"
		e.TLS.CA = authority().pem
	}
	return b
}

// named has the server reached by a name.
func (b *broken) named(host string) {
	b.host = host
	names.set(host, home)
	b.def.Endpoint.URL = strings.Replace(b.def.Endpoint.URL, home, host, 1)
}

// is makes the process another one, from its next start on.
func (b *broken) is(script string) {
	next := b.file + ".next"
	err := os.WriteFile(next, []byte(script+"\n"), 0o600)
	if err == nil {
		err = os.Rename(next, b.file)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// heal ends every fault.
func (b *broken) heal() {
	if b.front == nil {
		b.is(soundChild)
		return
	}
	b.Heal()
	if b.host != "" {
		names.set(b.host, home)
		b.front.at(home) // and who is connected looks it up again
	}
	b.front.set(pass)
}

// all gives a fault to every method with which a server is met.
func (b *broken) all(f upstreamtest.Fault) {
	for _, method := range []string{"server/discover", "initialize", "GET"} {
		f.Method = method
		b.Fault(f)
	}
}

// certificates are an authority and what it signs.
type certificates struct {
	pem  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var authority = sync.OnceValue(newAuthority)

func newAuthority() *certificates {
	a := &certificates{}
	cert := sign(nil, time.Hour)
	a.key = cert.PrivateKey.(*ecdsa.PrivateKey)
	var err error
	if a.cert, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
		panic(err)
	}
	a.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))
	return a
}

// sign makes a certificate for 127.0.0.1 that ends after that time; nil: it signs
// itself.
func sign(a *certificates, lasts time.Duration) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "upstreamtest"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(lasts),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: a == nil,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	parent, by := template, key
	if a != nil {
		parent, by = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// wardrobe is what a front over TLS shows; it can be changed.
type wardrobe struct {
	mu   sync.Mutex // guards cert
	cert tls.Certificate
}

func (w *wardrobe) wear(c tls.Certificate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cert = c
}

func (w *wardrobe) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		c := w.cert
		return &c, nil
	}}
}

// marked are the processes that have the text in their environment, which those
// inherit that they start.
func marked(text string) []string {
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil
	}
	var found []string
	for _, path := range all {
		if env, err := os.ReadFile(path); err == nil && bytes.Contains(env, []byte(text)) {
			found = append(found, path)
		}
	}
	return found
}
