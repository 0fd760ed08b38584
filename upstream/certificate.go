package upstream

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// untrusted says in words what is wrong with a secure connection, and what can be
// done about it.
func untrusted(err error) string {
	var (
		invalid x509.CertificateInvalidError
		host    x509.HostnameError
		signer  x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &signer):
		return "its certificate is signed by nobody that is trusted here; put the authority's certificate into tls.ca"
	case errors.As(err, &host):
		return fmt.Sprintf("its certificate is for another name (%v); check the url, or set tls.serverName", err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		if time.Now().Before(invalid.Cert.NotBefore) {
			return fmt.Sprintf("its certificate is not valid yet (from %s); check the clocks", invalid.Cert.NotBefore.UTC().Format(time.RFC3339))
		}
		return fmt.Sprintf("its certificate has expired (on %s); whoever runs it must renew it", invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
	case wantsCertificate(err):
		return fmt.Sprintf("it wants a certificate of ours; set tls.cert and tls.key (%v)", err)
	}
	return err.Error()
}

// wantsCertificate reports whether an alert of the server's is about the certificate
// that we did not show, or that it does not take. crypto/tls only has its words.
func wantsCertificate(alert error) bool {
	text := alert.Error()
	return strings.HasSuffix(text, "tls: certificate required") || strings.HasSuffix(text, "tls: bad certificate")
}
