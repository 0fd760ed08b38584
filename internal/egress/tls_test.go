package egress

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/upstream"
)

// certificate is a self-signed one, in PEM.
func certificate(t *testing.T, change func(*x509.Certificate)) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"mcp.test"},
	}
	change(c)
	der, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

func same(*x509.Certificate) {}

// secure is a server with the certificate, which counts the certificates that it is
// shown.
func secure(t *testing.T, cert, key string, want tls.ClientAuthType) (url string, shown *atomic.Int32) {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	shown = new(atomic.Int32)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown.Add(int32(len(r.TLS.PeerCertificates)))
		_, _ = io.WriteString(w, "hello")
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: want}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, shown
}

func TestAServersOwnAuthorityIsTrustedForItAlone(t *testing.T) {
	cert, key := certificate(t, same)
	url, _ := secure(t, cert, key, tls.NoClientCert)
	c := newClients(t, Options{})
	if _, err := send(t, c.For(operators(url)), url); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("without the authority: %v", err)
	}
	s := operators(url)
	s.ID, s.Endpoint.TLS.CA = "b", cert
	if text, err := send(t, c.For(s), url); text != "hello" || err != nil {
		t.Errorf("with it: %q, %v", text, err)
	}
	if _, err := send(t, c.For(operators(url)), url); err == nil {
		t.Error("another server trusts it, too")
	}
}

func TestAClientCertificateIsShownToItsOwnServerOnly(t *testing.T) {
	cert, key := certificate(t, same)
	url, shown := secure(t, cert, key, tls.RequireAnyClientCert)
	stranger, shownToStranger := secure(t, cert, key, tls.RequestClientCert)
	c := newClients(t, Options{Allow: rules(t, "127.0.0.0/8")})
	s := operators(url)
	s.Endpoint.TLS = jackfield.TLS{CA: cert, Cert: cert, Key: jackfield.Secret(key)}
	if text, err := send(t, c.For(s), url); text != "hello" || err != nil || shown.Load() != 2 {
		t.Errorf("%q, %v, shown %d times", text, err, shown.Load())
	}
	if text, err := send(t, c.For(s), stranger); text != "hello" || err != nil || shownToStranger.Load() != 0 {
		t.Errorf("another origin: %q, %v, shown %d times", text, err, shownToStranger.Load())
	}
}

func TestTheNameOfACertificateMayBeAnother(t *testing.T) {
	cert, key := certificate(t, func(c *x509.Certificate) { c.IPAddresses = nil })
	url, _ := secure(t, cert, key, tls.NoClientCert)
	c := newClients(t, Options{})
	s := operators(url)
	s.Endpoint.TLS = jackfield.TLS{CA: cert, ServerName: "mcp.test"}
	if text, err := send(t, c.For(s), url); text != "hello" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

func TestSettingsThatCannotBeUsedSendNothing(t *testing.T) {
	own, seen := hello(t)
	for _, env := range [][]string{nil, {"HTTP_PROXY=http://127.0.0.1:1"}} {
		s := operators(own)
		s.Endpoint.TLS.CA = "nonsense"
		_, err := send(t, newClients(t, Options{Env: environment(env...)}).For(s), own)
		if jackfield.CodeOf(err) != jackfield.Invalid || !strings.Contains(err.Error(), "ca holds no certificate") || seen.Load() != 0 {
			t.Errorf("got %v", err)
		}
	}
}

// TestWhatIsWrongWithACertificateIsSaidInWords goes through upstream and out.
func TestWhatIsWrongWithACertificateIsSaidInWords(t *testing.T) {
	good, goodKey := certificate(t, same)
	expired, expiredKey := certificate(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
	future, futureKey := certificate(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) })
	other, otherKey := certificate(t, func(c *x509.Certificate) { c.IPAddresses = nil })
	plain, _ := hello(t)
	url := func(cert, key string, want tls.ClientAuthType) string { u, _ := secure(t, cert, key, want); return u }
	for name, c := range map[string]struct{ url, ca, says string }{
		"self-signed":     {url(good, goodKey, tls.NoClientCert), "", "signed by nobody that is trusted here; put the authority's certificate into tls.ca"},
		"expired":         {url(expired, expiredKey, tls.NoClientCert), expired, "its certificate has expired"},
		"not yet":         {url(future, futureKey, tls.NoClientCert), future, "its certificate is not valid yet"},
		"another's":       {url(other, otherKey, tls.NoClientCert), other, "its certificate is for another name"},
		"wants ours":      {url(good, goodKey, tls.RequireAnyClientCert), good, "it wants a certificate of ours; set tls.cert and tls.key"},
		"does not speak":  {strings.Replace(plain, "http:", "https:", 1), "", "does not speak TLS"},
		"is what we want": {url(good, goodKey, tls.NoClientCert), good, "is no answer"},
	} {
		s := operators(c.url)
		s.Endpoint.TLS.CA = c.ca
		_, err := upstream.Dial(t.Context(), upstream.Options{Name: "a", Endpoint: s.Endpoint, Client: newClients(t, Options{}).For(s)})
		if !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: got %v", name, err)
		}
		if f := jackfield.FailureOf(err); name != "is what we want" && (f == nil || f.Kind != jackfield.FailureTLS) {
			t.Errorf("%s: kind %v", name, f)
		}
	}
}
