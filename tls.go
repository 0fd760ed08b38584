package jackfield

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// TLS is how an https server is recognised, and how the gateway shows itself to
// it. Everything is PEM text. The zero value trusts what the system trusts, and
// shows nothing.
type TLS struct {
	CA         string // certificates to trust besides those of the system
	Cert       string // what the gateway shows, and the rest of its chain
	Key        Secret // the private key of Cert
	ServerName string // who the server's certificate must be for; empty: the host of the URL
}

// Config makes the settings that crypto/tls takes; nil for the zero value. An
// error says which part is wrong, and quotes none of it.
func (t TLS) Config() (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil //nolint:nilnil // no settings are crypto/tls's own
	}
	c := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool() // an image without any
		}
		if !roots.AppendCertsFromPEM([]byte(t.CA)) {
			return nil, errors.New("ca holds no certificate that can be read; it begins with -----BEGIN CERTIFICATE-----")
		}
		c.RootCAs = roots
	}
	switch {
	case t.Cert == "" && t.Key == "":
		return c, nil
	case t.Key == "":
		return nil, errors.New("there is a cert but no key")
	case t.Cert == "":
		return nil, errors.New("there is a key but no cert")
	}
	pair, err := tls.X509KeyPair([]byte(t.Cert), []byte(t.Key.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("cert and key cannot be used: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}
