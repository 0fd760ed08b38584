package authn

import (
	"net/http"
	"testing"

	"github.com/jackfield-dev/jackfield"
)

func TestWhoCallsIsDecidedByTheBearerToken(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	for _, c := range []struct {
		name    string
		token   jackfield.Secret
		headers []string
		who     string // empty: refused
	}{
		{"no token is asked for", "", nil, "local"},
		{"no token is asked for, one is sent", "", []string{"Bearer x"}, ""},
		{"the right token", token, []string{"Bearer " + token}, "token"},
		{"the scheme in another case", token, []string{"bearer " + token}, "token"},
		{"nothing sent", token, nil, ""},
		{"a wrong token", token, []string{"Bearer " + token[1:] + "x"}, ""},
		{"a prefix of the token", token, []string{"Bearer " + token[:31]}, ""},
		{"an empty token", token, []string{"Bearer "}, ""},
		{"another scheme", token, []string{"Basic " + token}, ""},
		{"the right token twice", token, []string{"Bearer " + token, "Bearer " + token}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{"Authorization": c.headers}}
			if c.headers == nil {
				r.Header = http.Header{}
			}
			who, err := Token(c.token)(r)
			if c.who == "" {
				if jackfield.CodeOf(err) != jackfield.AuthRequired {
					t.Errorf("got %v and %v, want AuthRequired", who, err)
				}
				return
			}
			if err != nil || who.Subject != c.who {
				t.Errorf("got %v and %v, want %s", who, err, c.who)
			}
		})
	}
}
