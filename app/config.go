package app

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

//go:generate go test -run TestTheSchemaInTheDocsIsTheOneThatTheProgramPrints . -update

// DefaultListen is where the gateway listens when nobody says otherwise.
const DefaultListen = "127.0.0.1:8420"

// Config is everything the gateway is told before it starts. Load makes one from
// a file; a program that embeds the gateway may write one itself.
type Config struct {
	File      string // where it was read from; empty if from no file
	Listen    string // host:port; port 0 takes any free one; empty: DefaultListen
	PublicURL string // how clients reach the gateway from outside, without a slash at the end; may be empty
	Data      string // directory for keys and the address file
	Auth      Auth
	Store     Store
	Limits    Limits
	Egress    Egress
	Log       Log
	Metrics   Metrics

	// Servers are the definitions in the order of the file, the Invalid ones
	// included. Their Revision and Version are not set.
	Servers []jackfield.Server

	read *watched // the file as it was before Load read it
}

// Auth says who may call.
type Auth struct {
	// Token is what callers may send as "Authorization: Bearer", to be admins.
	Token jackfield.Secret
	// TokenFile is the file that Token was read from, if any.
	TokenFile string
	// Keys are API keys, besides those in the store.
	Keys []Key
	// Required says that everybody has to bring a token or key. Where there is a token
	// or key here it is, whatever this says. Else whoever comes without is the one
	// local principal, which is refused for a Listen address that is not loopback.
	Required bool
}

// Open reports whether whoever comes without a token or key is let in.
func (a Auth) Open() bool { return !a.Required && a.Token == "" && len(a.Keys) == 0 }

// Key is an API key of the configuration: a principal with a way to prove it.
type Key struct {
	Name    string         // in logs; its user's, if that is empty
	Hash    string         // "sha256:" and the SHA-256 of the key in hex
	User    string         // the subject
	Teams   []string       // besides those of the user
	Role    jackfield.Role // empty: that of the user
	Servers []string       // the names of the only servers that it is for; empty: all
	Expires time.Time      // zero: never
}

// Store says where definitions, people, keys and variables are kept. The zero value
// is SQLite in the data directory.
type Store struct {
	URL           jackfield.Secret // of a PostgreSQL database
	HintsURL      jackfield.Secret // of the same, past a connection pooler; "off": there are no hints
	MasterKeyFile string           // with the key that seals secrets; empty: MasterKey
	MasterKey     jackfield.Secret // the key itself; empty: master.key in the data directory
}

// Egress says what may be reached.
type Egress struct {
	// Allow names what definitions that are not the operator's may reach although it
	// is not public: a host, *.host, an address or a network; :port may follow all
	// but a network.
	Allow []string
}

// Limits bounds what the gateway takes and keeps. Zero means the default.
type Limits struct {
	Body        int64          // bytes of one request body from a client; 4 MiB
	Message     int64          // bytes of one message from a server; 16 MiB
	Result      int64          // bytes of one answer to a call; none but Message's
	Sessions    Budget         // of clients that have them; 50,000, 10,000 of one person; PerServer means nothing
	Parked      Budget         // calls of clients without sessions that wait for answers; 1,024, 16 of one person; PerServer means nothing
	Dials       Budget         // connections being made at once; 64, 8 to one server, 16 for one owner
	Queue       Budget         // connections that wait to be made; 4,096, 1,024 to one server; PerOwner means nothing
	Rate        jackfield.Rate // calls of one person; zero: no bound
	Calls       Budget         // calls under way; 16,384, as many for one person; PerServer means nothing
	Connections Budget         // open connections; 4,096, 1,024 to one server, any number for one owner
	Programs    Budget         // running programs, of which only PerOwner is bounded; 128
	Idle        time.Duration  // until an unused connection is closed; 15 min
	Drain       time.Duration  // until what still uses a replaced connection is ended; 5 min
	Stop        time.Duration  // until calls under way are cut when the gateway is stopped; 10 s
	Call        time.Duration  // one call, where the server's definition has no timeout; 60 s
	Connect     time.Duration  // connecting and initialize, where it has no initTimeout; 30 s
}

// Budget bounds a number of things: in the process, for one server, and for one
// owner, which is a person or the app itself. Zero means the default.
type Budget struct {
	Total     int
	PerServer int
	PerOwner  int
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level // Info is the zero value
	Format string     // "text" or "json"; empty: text
}

// Metrics says where /metrics is.
type Metrics struct {
	// Listen is a host:port of its own, where whoever reaches it may read /metrics.
	// Empty: it is where everything is, for those who may use the API.
	Listen string
}

// Severity says what a Problem costs.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"   // nothing starts, and a reload changes nothing
	SeverityInvalid Severity = "invalid" // one server does not serve; the rest do
	SeverityWarning Severity = "warning" // something is ignored or likely not what was meant
)

// Problem is one thing that is wrong with a configuration, in words for a
// person.
type Problem struct {
	Severity Severity `json:"severity"`
	File     string   `json:"file,omitempty"`   // or the flag or variable that the value came from
	Line     int      `json:"line,omitempty"`   // from 1; 0 if it belongs to no line
	Column   int      `json:"column,omitempty"` // in characters, from 1
	Server   string   `json:"server,omitempty"` // whose definition it is in
	Message  string   `json:"message"`          // what is wrong; never holds a secret
	Fix      string   `json:"fix,omitempty"`    // what to write instead
}

// String is the problem on one line, as compilers write it.
func (p Problem) String() string {
	return document.Problem{
		Severity: document.Severity(p.Severity), File: p.File, Server: p.Server, Message: p.Message, Fix: p.Fix,
		Pos: document.Pos{Line: p.Line, Column: p.Column},
	}.String()
}

// Overrides are what comes before the file: flags, then environment variables.
// Empty fields override nothing.
type Overrides struct {
	Listen    string // --listen, then JACKFIELD_LISTEN
	PublicURL string // --public-url, then JACKFIELD_PUBLIC_URL
	Data      string // --data, then JACKFIELD_DATA
	LogLevel  string // --log-level, then JACKFIELD_LOG_LEVEL
	LogFormat string // --log-format, then JACKFIELD_LOG_FORMAT
	Metrics   string // --metrics-listen, then JACKFIELD_METRICS_LISTEN

	// Env looks up environment variables; nil: those of the process.
	Env func(name string) (string, bool)
}

func (o Overrides) env(name string) (string, bool) {
	if o.Env != nil {
		return o.Env(name)
	}
	return os.LookupEnv(name)
}

// Load reads the configuration file, which is YAML or JSON, and puts flags and
// environment variables before it and defaults behind it. An empty path stands
// for JACKFIELD_CONFIG, and without that for no file at all.
//
// The problems are everything worth telling a person, in the order of the file.
// The error is nil unless one of them is a SeverityError; it lists those, and
// then there is no Config and nothing may start. Servers with a problem of
// SeverityInvalid are in the Config, with the reason in Server.Invalid.
func Load(path string, o Overrides) (*Config, []Problem, error) {
	if path == "" {
		path, _ = o.env("JACKFIELD_CONFIG")
	}
	l := &loader{path: path, overrides: o, report: document.NewReport(path)}
	if path == "" {
		return l.load(nil)
	}
	read := watching(path)
	if src, ok := document.Load(path, l.report); ok {
		c, found, err := l.load(src)
		if err == nil {
			c.read = read
		}
		return c, found, err
	}
	found := problems(l.report)
	return nil, found, failed(found)
}

func problems(r *document.Report) []Problem {
	all := r.Problems()
	out := make([]Problem, 0, len(all))
	for _, p := range all {
		out = append(out, Problem{
			Severity: Severity(p.Severity), File: p.File, Line: p.Line, Column: p.Column,
			Server: p.Server, Message: p.Message, Fix: p.Fix,
		})
	}
	return out
}

// failed is the error for problems that keep the gateway from starting.
func failed(found []Problem) error {
	var lines []string
	for _, p := range found {
		if p.Severity == SeverityError {
			lines = append(lines, p.String())
		}
	}
	if len(lines) == 0 {
		return nil
	}
	what := "an error"
	if len(lines) > 1 {
		what = fmt.Sprintf("%d errors", len(lines))
	}
	return jackfield.Errorf(jackfield.Invalid, "the configuration has %s, and nothing of it was used:\n%s", what, strings.Join(lines, "\n"))
}

// NeedsRestart names the settings that differ from those of a newer
// configuration and only take effect when the gateway starts. Everything else
// is taken over by a reload.
func (c *Config) NeedsRestart(newer *Config) []string {
	var names []string
	for _, s := range []struct {
		name string
		same bool
	}{
		{"listen", c.Listen == newer.Listen},
		{"publicURL", c.PublicURL == newer.PublicURL},
		{"data", c.Data == newer.Data},
		{"auth", c.Auth.Token == newer.Auth.Token && c.Auth.TokenFile == newer.Auth.TokenFile && c.Auth.Open() == newer.Auth.Open()},
		{"store", c.Store == newer.Store},
		{"limits", c.Limits == newer.Limits},
		{"egress", slices.Equal(c.Egress.Allow, newer.Egress.Allow)},
		{"log", c.Log == newer.Log},
		{"metrics", c.Metrics == newer.Metrics},
	} {
		if !s.same {
			names = append(names, s.name)
		}
	}
	return names
}

// listen is where to listen, and an error when other machines can reach that and
// nobody is asked who they are. Load finds the same in a file; this is for
// programs that write their own Config.
func (c *Config) listen() (string, error) {
	address := cmp.Or(c.Listen, DefaultListen)
	if isExposed(address) && c.Auth.Open() {
		return "", jackfield.Errorf(jackfield.Invalid, "%s can be reached from other machines, and Config.Auth asks nobody who they are; "+
			"set a Token of at least %d random characters, or listen on %s", address, minToken, DefaultListen)
	}
	return address, nil
}

// source is the file to watch, as it was before it was read.
func (c *Config) source() *watched {
	if c.read == nil {
		return watching(c.File)
	}
	return c.read
}

// defaultData is the directory for data of the user that runs the gateway (XDG
// Base Directory Specification).
func defaultData(env func(string) (string, bool)) (string, bool) {
	if dir, _ := env("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "jackfield"), true
	}
	if runtime.GOOS == "windows" {
		dir, _ := env("LocalAppData")
		return filepath.Join(dir, "jackfield"), dir != ""
	}
	home, _ := env("HOME")
	return filepath.Join(home, ".local", "share", "jackfield"), home != ""
}
