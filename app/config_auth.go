package app

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/authn"
)

// minToken is how long auth.token must be, in characters.
const minToken = 32

type fileAuth struct {
	Token     string    `json:"token,omitempty" jsonschema:"What callers may send as Authorization: Bearer, to be admins. At least 32 characters, best as ${NAME} of an environment variable."`
	TokenFile string    `json:"tokenFile,omitempty" jsonschema:"File that holds the token. A relative one is taken from the directory of this file."`
	Keys      []fileKey `json:"keys,omitempty" jsonschema:"API keys, each a principal of its own. More of them can be made while the gateway runs."`
	Required  *bool     `json:"required,omitempty" jsonschema:"Whether everybody has to bring a token or key. Default: true if there is a token or a key in this file or the listen address is not loopback."`
}

type fileKey struct {
	Name    string   `json:"name" jsonschema:"What it is called in logs."`
	Hash    string   `json:"hash" jsonschema:"sha256:… of the key, as jackfield key hash prints it."`
	User    string   `json:"user,omitempty" jsonschema:"Who comes with it. Default: its name."`
	Teams   []string `json:"teams,omitempty" jsonschema:"The teams that it belongs to, besides those of the user."`
	Role    string   `json:"role,omitempty" jsonschema:"admin, editor or user. Default: that of the user, else user."`
	Servers []string `json:"servers,omitempty" jsonschema:"The names of the only servers that it is for. Default: all that its user sees."`
	Expires string   `json:"expires,omitempty" jsonschema:"The day on which it ends, 2027-01-31, or the time, 2027-01-31T12:00:00Z. Default: never."`
}

// auth finds out who may call, and says whether anybody was meant to be asked: then
// nobody needs to be told twice.
func (l *loader) auth() (auth Auth, asked bool) {
	auth, asked = l.token()
	auth.Keys = l.keys()
	asked = asked || len(l.file.Auth.Keys) > 0
	auth.Required = asked
	if r := l.file.Auth.Required; r != nil {
		if !*r && asked {
			l.report.Fault(l.root.Get("auth").Get("required").At(), "auth.required is false, but there is a token or a key, which nobody would have to bring",
				"remove it, or the token and the keys")
		}
		if *r && !asked {
			l.report.Warn(l.root.Get("auth").Get("required").At(), "everybody has to bring a key, and there is none here: only keys that the store has let anybody in",
				"unless it has an admin's, write auth.keys with one; jackfield key hash makes it")
		}
		auth.Required = *r
		asked = asked || *r
	}
	return auth, asked
}

// token finds the one token, and says whether there was meant to be one.
func (l *loader) token() (auth Auth, asked bool) {
	f := l.file.Auth
	if f.Token != "" && f.TokenFile != "" {
		l.report.Fault(l.root.Get("auth").At(), "auth has both a token and a tokenFile", "keep one of the two")
		return Auth{}, true
	}
	s, ok := l.pick("", "", "JACKFIELD_AUTH_TOKEN", f.Token, "auth", "token")
	switch {
	case ok:
		return Auth{Token: checkToken(s, "")}, true
	case f.Token != "":
		return Auth{}, true
	case f.TokenFile != "":
		return l.tokenFile(), true
	}
	if n := l.root.Get("auth").Get("token"); n != nil {
		l.report.Fault(n.Pos, "auth.token is empty", "write ${NAME} of an environment variable with at least 32 characters, or remove it")
		return Auth{}, true
	}
	return Auth{}, false
}

func (l *loader) tokenFile() Auth {
	s, ok := l.pick("", "", "", l.file.Auth.TokenFile, "auth", "tokenFile")
	if !ok {
		return Auth{}
	}
	path := l.relative(s.text)
	text, err := readToken(path)
	if err != nil {
		s.fault("auth.tokenFile cannot be read: "+err.Error(), "name a file that the user who runs Jackfield may read")
		return Auth{}
	}
	s.text = text
	return Auth{Token: checkToken(s, " (from "+path+")"), TokenFile: path}
}

func readToken(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	const most = 64 << 10
	if info.IsDir() || info.Size() > most {
		return "", fmt.Errorf("%s is a directory, or larger than a token can be", path)
	}
	text, err := os.ReadFile(path)
	return string(bytes.TrimSpace(text)), err
}

// checkToken checks a token, of which no message may say anything but its length.
func checkToken(s setting, from string) jackfield.Secret {
	const fix = "make one with: openssl rand -hex 32"
	switch {
	case len([]rune(s.text)) < minToken:
		s.fault(fmt.Sprintf("auth.token has %d characters%s; it needs at least %d", len([]rune(s.text)), from, minToken), fix)
	case strings.ContainsFunc(s.text, func(c rune) bool { return c <= ' ' || c > '~' }):
		s.fault("auth.token holds a space or a character that cannot stand in a header"+from, fix)
	}
	return jackfield.Secret(s.text)
}

// keys reads the keys. One that cannot be used is an error of the file: whoever
// wrote it must not believe that it limits anybody.
func (l *loader) keys() []Key {
	list := l.root.Get("auth").Get("keys")
	var keys []Key
	var names []string
	for i, f := range l.file.Auth.Keys {
		at := list.Items[i].At()
		if slices.Contains(names, f.Name) {
			l.report.Fault(at, fmt.Sprintf("two of auth.keys have the name %q", f.Name), "give each a name of its own")
			continue
		}
		names = append(names, f.Name)
		if slices.ContainsFunc(keys, func(k Key) bool { return k.Hash == f.Hash }) {
			l.report.Fault(at, fmt.Sprintf("auth.keys: %q has the same key as another", f.Name), "make one for each with jackfield key hash")
			continue
		}
		k := Key{Name: f.Name, Hash: f.Hash, User: f.User, Teams: f.Teams, Role: jackfield.Role(f.Role), Servers: f.Servers}
		if f.Expires != "" {
			var ok bool
			if k.Expires, ok = moment(f.Expires); !ok {
				l.report.Fault(at, fmt.Sprintf("auth.keys: %q is not the time when the key %q expires", f.Expires, f.Name), "write a day, 2027-01-31, or a time, 2027-01-31T12:00:00Z")
				continue
			}
		}
		if err := k.file().Check(); err != nil {
			l.report.Fault(at, "auth.keys: "+err.Error(), "")
			continue
		}
		if !k.Expires.IsZero() && k.Expires.Before(time.Now()) {
			l.report.Warn(at, fmt.Sprintf("the key %q of auth.keys has expired and lets nobody in", f.Name), "remove it")
		}
		keys = append(keys, k)
	}
	return keys
}

// moment reads a time, or a day, which ends with its last second in UTC.
func moment(text string) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, true
	}
	t, err := time.Parse(time.DateOnly, text)
	return t.AddDate(0, 0, 1), err == nil
}

// file is the key as the directory takes it.
func (k Key) file() authn.FileKey { return authn.FileKey(k) }

// directoryKeys are the keys as the directory takes them.
func directoryKeys(keys []Key) []authn.FileKey {
	out := make([]authn.FileKey, len(keys))
	for i, k := range keys {
		out[i] = k.file()
	}
	return out
}
