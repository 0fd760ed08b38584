// Package authn says who is calling.
package authn

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/jackfield-dev/jackfield"
)

// Local is the principal of whoever reaches a gateway that asks for no
// credentials. Such a gateway listens on loopback only.
var Local = jackfield.Principal{Subject: "local"}

// Bearer is the principal of whoever knows the gateway's one token.
var Bearer = jackfield.Principal{Subject: "token"}

// Token returns the check for one bearer token (RFC 6750, section 2.1). An empty
// token means that everybody is Local. Tokens are compared in constant time.
func Token(token jackfield.Secret) func(*http.Request) (jackfield.Principal, error) {
	if token == "" {
		return func(*http.Request) (jackfield.Principal, error) { return Local, nil }
	}
	// Comparing digests takes the same time whatever the length of what was sent.
	want := sha256.Sum256([]byte(token.Reveal()))
	return func(r *http.Request) (jackfield.Principal, error) {
		headers := r.Header.Values("Authorization")
		if len(headers) == 0 {
			return jackfield.Principal{}, jackfield.Errorf(jackfield.AuthRequired,
				"this gateway asks for its token; send it as \"Authorization: Bearer TOKEN\"")
		}
		scheme, sent, _ := strings.Cut(headers[0], " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(sent)))
		if len(headers) > 1 || !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			return jackfield.Principal{}, jackfield.Errorf(jackfield.AuthRequired,
				"the token that was sent is not this gateway's; look at auth.token in its configuration")
		}
		return Bearer, nil
	}
}
