package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

func pair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
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

// readTLS reads a server with the settings, from the directory.
func readTLS(t *testing.T, dir, url, settings string, env map[string]string) (jackfield.Server, *document.Report) {
	t.Helper()
	r := document.NewReport("test.json")
	root := document.Parse("test.json", []byte(fmt.Sprintf(`{"a": {"url": %q, "tls": %s}}`, url, settings)), r)
	if root == nil {
		t.Fatal(r.Problems())
	}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	return Servers(root, Source{Lookup: lookup, Dir: dir}, r)[0], r
}

func TestCertificatesAreReadFromFilesAndFromText(t *testing.T) {
	cert, key := pair(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"ca.pem": cert, "cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := jackfield.TLS{CA: cert, Cert: cert, Key: jackfield.Secret(key), ServerName: "x.test"}
	env := map[string]string{"CERT": cert, "KEY": key, "DIR": dir}
	for _, settings := range []string{
		`{"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem", "serverName": "x.test"}`,
		`{"ca": "${DIR}/ca.pem", "cert": "${CERT}", "key": "${KEY}", "serverName": "x.test"}`,
		fmt.Sprintf(`{"ca": %q, "cert": %q, "key": %q, "serverName": "x.test"}`, cert, cert, key),
	} {
		s, _ := readTLS(t, dir, "https://a.test", settings, env)
		if s.Endpoint.TLS != want || s.Invalid != "" || !s.Operator {
			t.Errorf("%.60s: got %+v, %s", settings, s.Endpoint.TLS, s.Invalid)
		}
	}
	if _, r := readTLS(t, dir, "http://a.test", `{"ca": "ca.pem"}`, nil); len(r.Problems()) != 1 || !strings.Contains(r.Problems()[0].Message, "tls is ignored") {
		t.Errorf("got %v", r.Problems())
	}
}

func TestACertificateThatCannotBeUsedMakesItsServerInvalid(t *testing.T) {
	cert, key := pair(t)
	_, otherKey := pair(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "long"), make([]byte, maxPEM+1), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"CERT": cert, "KEY": key, "OTHER": otherKey, "BROKEN": "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----"}
	for settings, says := range map[string]string{
		`{"ca": "none.pem"}`:                       "tls.ca cannot be read: no such file",
		`{"ca": "."}`:                              "tls.ca cannot be read: it is no file",
		`{"ca": "long"}`:                           "larger than certificates are",
		`{"ca": "${BROKEN}"}`:                      "ca holds no certificate",
		`{"cert": "${CERT}"}`:                      "there is a cert but no key",
		`{"key": "${KEY}"}`:                        "there is a key but no cert",
		`{"cert": "${CERT}", "key": "${OTHER}"}`:   "private key does not match",
		`{"cert": "${BROKEN}", "key": "${KEY}"}`:   "cert and key cannot be used",
		`{"key": "hunter2", "cert": "${CERT}"}`:    "tls.key cannot be read",
		`{"ca": "${UNSET}"}`:                       "UNSET is not set",
		`{"caFile": "x"}`:                          "tls.caFile is not a known setting",
		`{"cert": "${KEY}", "key": "${BROKEN}"}`:   "cert and key cannot be used",
		`{"serverName": "{{NAME}}", "ca": "none"}`: "nothing fills in here",
	} {
		s, _ := readTLS(t, dir, "https://a.test", settings, env)
		if !strings.Contains(s.Invalid, says) || strings.Contains(s.Invalid, "hunter2") || s.Endpoint.URL != "" {
			t.Errorf("%s: got %q", settings, s.Invalid)
		}
	}
}
