package app

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/jackfield-dev/jackfield"
)

type fileStore struct {
	URL           string `json:"url,omitempty" jsonschema:"postgres://… of a PostgreSQL database, best as ${NAME} of an environment variable. Default: SQLite in the data directory."`
	HintsURL      string `json:"hintsURL,omitempty" jsonschema:"postgres://… that goes past a connection pooler, to hear of changes at once; off: changes are only looked for, every 2 s. Default: url."`
	MasterKeyFile string `json:"masterKeyFile,omitempty" jsonschema:"File with the key that seals secrets in the store. Default: JACKFIELD_MASTER_KEY, else master.key in the data directory, which is made."`
}

func (l *loader) store() Store {
	var out Store
	if s, ok := l.pick("", "", "JACKFIELD_DATABASE_URL", l.file.Store.URL, "store", "url"); ok {
		out.URL = database(s, "store.url")
	}
	if s, ok := l.pick("", "", "JACKFIELD_HINTS_URL", l.file.Store.HintsURL, "store", "hintsURL"); ok {
		if s.text == "off" {
			out.HintsURL = "off"
		} else {
			out.HintsURL = database(s, "store.hintsURL")
		}
		if out.URL == "" {
			s.report.Warn(s.at, "store.hintsURL is ignored", "it belongs to a PostgreSQL store: write store.url")
		}
	}
	if s, ok := l.pick("", "", "JACKFIELD_MASTER_KEY_FILE", l.file.Store.MasterKeyFile, "store", "masterKeyFile"); ok {
		out.MasterKeyFile = l.relative(s.text)
	}
	key, _ := l.overrides.env("JACKFIELD_MASTER_KEY")
	out.MasterKey = jackfield.Secret(key)
	return out
}

// database checks the address of a database, of which no message quotes more than
// its scheme.
func database(s setting, what string) jackfield.Secret {
	u, err := url.Parse(s.text)
	const fix = "write postgres://USER:PASSWORD@HOST:5432/DATABASE" //nolint:gosec // the form of one
	switch {
	case err != nil:
		s.fault(what+" is not well formed", fix)
	case u.Scheme != "postgres" && u.Scheme != "postgresql":
		scheme, _, found := strings.Cut(s.text, "://")
		if !found || len(scheme) > 20 {
			scheme = ""
		}
		s.fault(fmt.Sprintf("%s begins with %q, which is no database that Jackfield can use", what, scheme), fix)
	}
	return jackfield.Secret(s.text)
}
