package authn

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// The refusals that say the same to everybody. Whoever sends something wrong does not
// learn how close it was.
var (
	errNothing = jackfield.Errorf(jackfield.AuthRequired,
		"this gateway asks who you are: send \"Authorization: Bearer KEY\" with an API key or the gateway's token; an admin makes keys with jackfield key add")
	errForm = jackfield.Errorf(jackfield.AuthRequired,
		"the Authorization header that was sent is not understood; send it once, as \"Authorization: Bearer KEY\" with an API key or the gateway's token")
	errUnknown = jackfield.Errorf(jackfield.AuthRequired,
		"the key or token that was sent is not one of this gateway's, or not any more; look at auth.token in its configuration, or make another key with jackfield key add")
)

// Authenticate says who sent a request. Its errors have the code AuthRequired. What it
// returns may be shared and must not be changed.
func (d *Directory) Authenticate(r *http.Request) (jackfield.Principal, error) {
	sent := r.Header["Authorization"]
	if len(sent) == 0 {
		if !d.open {
			return jackfield.Principal{}, errNothing
		}
		d.mu.RLock()
		defer d.mu.RUnlock()
		return d.local, nil
	}
	text, ok := bearer(sent)
	if !ok {
		return jackfield.Principal{}, errForm
	}
	return d.identify(text)
}

// identify says whose key or token a text is.
func (d *Directory) identify(text string) (jackfield.Principal, error) {
	sum := digestOf(text)
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.hasToken && same(&sum, &d.token) {
		return d.bearer, nil
	}
	k := d.keys.byID[keyID(text)]
	if k == nil {
		k = d.fileKeys[[8]byte(sum[:])]
	}
	switch {
	case k == nil || !same(&sum, &k.digest):
		return jackfield.Principal{}, errUnknown
	case k.principal.Subject == "":
		return jackfield.Principal{}, jackfield.Errorf(jackfield.AuthRequired, "the key %s is refused: %s", quoted(k.Name), k.refused)
	case !k.Expires.IsZero() && k.expired(time.Now()):
		return jackfield.Principal{}, jackfield.Errorf(jackfield.AuthRequired, "the key %s is refused: %s; make another one with jackfield key add",
			quoted(k.Name), k.expiry())
	}
	return k.principal, nil
}

// bearer is the key or token in what was sent as Authorization (RFC 6750, section
// 2.1). It is text without spaces.
func bearer(sent []string) (string, bool) {
	const scheme = "Bearer"
	if len(sent) != 1 || len(sent[0]) <= len(scheme) || !strings.EqualFold(sent[0][:len(scheme)], scheme) || sent[0][len(scheme)] != ' ' {
		return "", false
	}
	text := strings.Trim(sent[0][len(scheme):], " \t")
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return "", false
		}
	}
	return text, text != ""
}

func same(a, b *digest) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// digestOf hashes a text. One of ordinary length is not copied to the heap for that.
func digestOf(text string) digest {
	var room [256]byte
	return sha256.Sum256(append(room[:0], text...))
}
