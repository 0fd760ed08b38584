package authn

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// A key reads jf_ID_SECRET. It has no other underscore in it, and its length is
// always the same.
const (
	keyPrefix   = "jf_"
	idLength    = 10
	secretChars = 43 // of 62: more than 256 bits
	keyLength   = len(keyPrefix) + idLength + 1 + secretChars

	idAlphabet     = "abcdefghijklmnopqrstuvwxyz234567"
	secretAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

const hashPrefix = "sha256:"

// digest is the SHA-256 of a whole key or token.
type digest [sha256.Size]byte

// FileKey is an API key of the configuration.
type FileKey struct {
	Name    string         // in logs; its user's, if that is empty
	Hash    string         // what HashOf gives for the key
	User    string         // the subject
	Teams   []string       // besides those of the user
	Role    jackfield.Role // empty: that of the user
	Servers []string       // the names of the only servers that it is for; empty: all
	Expires time.Time      // zero: never
}

// NewKey makes a key: its text, which is shown once, the id that may be shown, and the
// hash that is kept.
func NewKey() (key jackfield.Secret, id, hash string) {
	id = random(idLength, idAlphabet)
	text := keyPrefix + id + "_" + random(secretChars, secretAlphabet)
	return jackfield.Secret(text), id, HashOf(text)
}

// HashOf is a key or token as a configuration keeps it: "sha256:" and hex digits.
func HashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hashPrefix + hex.EncodeToString(sum[:])
}

// Check says what is wrong with the key. One that has expired is none the worse.
func (k FileKey) Check() error {
	var faults Faults
	faults.subject("name", k.Name)
	if k.User != "" {
		faults.subject("user", k.User)
	}
	if _, ok := parseHash(k.Hash); !ok {
		faults.add("hash", `is not "sha256:" and 64 hex digits; jackfield key hash makes a key and its hash`)
	}
	if k.User == "" && reserved(k.Name) {
		faults.add("name", "%q is somebody already; choose another one, or say whose key it is with user", k.Name)
	}
	faults.role("role", k.Role)
	faults.teams("teams", k.Teams)
	faults.servers("servers", k.Servers)
	return faults.in("the key " + quoted(k.Name))
}

func parseHash(text string) (digest, bool) {
	var d digest
	hexed, ok := strings.CutPrefix(text, hashPrefix)
	if !ok || len(hexed) != hex.EncodedLen(len(d)) {
		return digest{}, false
	}
	n, err := hex.Decode(d[:], []byte(hexed))
	return d, err == nil && n == len(d)
}

// keyID is the id in the text of a key; empty when it is not one.
func keyID(text string) string {
	if len(text) != keyLength || text[:len(keyPrefix)] != keyPrefix || text[len(keyPrefix)+idLength] != '_' {
		return ""
	}
	return text[len(keyPrefix) : len(keyPrefix)+idLength]
}

// random is text of n characters, each of which is as likely as any other.
func random(n int, alphabet string) string {
	out := make([]byte, 0, n)
	limit := 256 - 256%len(alphabet)
	for buf := make([]byte, 2*n); len(out) < n; {
		_, _ = rand.Read(buf) // it never fails
		for _, b := range buf {
			if int(b) < limit && len(out) < n {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(out)
}
