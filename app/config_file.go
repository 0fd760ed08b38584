package app

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/egress"
	"github.com/jackfield-dev/jackfield/internal/registry"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// configFile is the file's own form. The decoder and the JSON Schema both read
// it.
type configFile struct {
	Schema     string          `json:"$schema,omitempty" jsonschema:"Where this schema is, for editors."`
	MCPServers serverMap       `json:"mcpServers,omitzero" jsonschema:"The MCP servers behind the gateway, by name."`
	Servers    serverMap       `json:"servers,omitzero" jsonschema:"The same, as VS Code calls it. Only one of the two may be there."`
	Inputs     registry.Inputs `json:"inputs,omitzero" jsonschema:"Values that each person enters, as VS Code has them: ${input:ID} stands for them in any server."`
	Listen     string          `json:"listen,omitempty" jsonschema:"Address to listen on, host:port. Any but a loopback address needs auth."`
	PublicURL  string          `json:"publicURL,omitempty" jsonschema:"How clients reach the gateway from outside, such as https://mcp.example.com. Requests for its host and from its origin are let in besides loopback ones."`
	Data       string          `json:"data,omitempty" jsonschema:"Directory for keys and the address file. A relative one is taken from the directory of this file."`
	Auth       fileAuth        `json:"auth,omitzero" jsonschema:"Who may call."`
	Limits     fileLimits      `json:"limits,omitzero" jsonschema:"What the gateway takes and keeps."`
	Egress     fileEgress      `json:"egress,omitzero" jsonschema:"What may be reached."`
	Store      fileStore       `json:"store,omitzero" jsonschema:"Where definitions, people, keys and variables are kept."`
	Log        fileLog         `json:"log,omitzero" jsonschema:"What is logged and how."`

	Metrics fileMetrics `json:"metrics,omitzero" jsonschema:"Where /metrics is."`
}

type fileLimits struct {
	Body        document.Size     `json:"body,omitzero" jsonschema:"Bytes of one request body from a client. Default 4MiB."`
	Message     document.Size     `json:"message,omitzero" jsonschema:"Bytes of one message from a server. Default 16MiB."`
	Result      document.Size     `json:"result,omitzero" jsonschema:"Bytes of one answer of a server to a call. Default: what message allows."`
	Sessions    fileSessions      `json:"sessions,omitzero" jsonschema:"Sessions of clients that have them. Default 50000, 10000 for one owner."`
	Parked      fileSessions      `json:"parked,omitzero" jsonschema:"Calls of clients without sessions that wait for a person's answer to a server's question. Default 1024, 16 for one person."`
	Dials       fileBudget        `json:"dials,omitzero" jsonschema:"Connections being made at once. Default 64, 8 to one server, 16 for one owner."`
	Queue       fileQueue         `json:"queue,omitzero" jsonschema:"Connections that wait to be made. Default 4096, 1024 to one server."`
	Rate        document.Rate     `json:"rate,omitzero" jsonschema:"Calls of one person, such as 600/m. Default: no bound."`
	Calls       fileCalls         `json:"calls,omitzero" jsonschema:"Calls under way. Default 16384; one person may have them all."`
	Connections fileBudget        `json:"connections,omitzero" jsonschema:"Open connections to servers. Default 4096, 1024 to one server; one owner may have them all."`
	Programs    filePrograms      `json:"programs,omitzero" jsonschema:"Running programs of servers with a command. Default 128 for one owner."`
	Idle        document.Duration `json:"idle,omitzero" jsonschema:"Until an unused connection is closed. Default 15m."`
	Drain       document.Duration `json:"drain,omitzero" jsonschema:"Until what still uses a replaced connection is ended. Default 5m."`
	Stop        document.Duration `json:"stop,omitzero" jsonschema:"Until calls under way are cut when the gateway is stopped. Default 10s."`
	Call        document.Duration `json:"call,omitzero" jsonschema:"One call to a server without a timeout of its own. Default 60s."`
	Connect     document.Duration `json:"connect,omitzero" jsonschema:"Connecting to a server without an initTimeout of its own. Default 30s."`
}

type fileBudget struct {
	Total     int `json:"total,omitempty" jsonschema:"In the whole process."`
	PerServer int `json:"perServer,omitempty" jsonschema:"For one server."`
	PerOwner  int `json:"perOwner,omitempty" jsonschema:"For one owner: a person, or the gateway itself."`
}

type fileQueue struct {
	Total     int `json:"total,omitempty" jsonschema:"In the whole process."`
	PerServer int `json:"perServer,omitempty" jsonschema:"For one server."`
}

type fileCalls struct {
	Total    int `json:"total,omitempty" jsonschema:"In the whole process."`
	PerOwner int `json:"perOwner,omitempty" jsonschema:"Of one person."`
}

type fileSessions struct {
	Total    int `json:"total,omitempty" jsonschema:"In the whole process."`
	PerOwner int `json:"perOwner,omitempty" jsonschema:"For one person."`
}

type filePrograms struct {
	PerOwner int `json:"perOwner,omitempty" jsonschema:"For one owner: a person, or the gateway itself."`
}

type fileEgress struct {
	Allow []string `json:"allow,omitempty" jsonschema:"What may be reached although it is not public, by what is not the operator's own word: redirects and other addresses that servers name, definitions of people. A host, *.host, an address or a network; :port may follow all but a network."`
}

type fileLog struct {
	Level  string `json:"level,omitempty" jsonschema:"debug, info, warn or error. Default info."`
	Format string `json:"format,omitempty" jsonschema:"text or json. Default text."`
}

type fileMetrics struct {
	Listen string `json:"listen,omitempty" jsonschema:"Address of its own for /metrics, host:port, where whoever reaches it may read it. Default: /metrics is where everything is, for those who may use the API."`
}

// serverMap is left to the registry.
type serverMap struct{ node *document.Node }

// DecodeNode keeps the node.
func (m *serverMap) DecodeNode(n *document.Node) (message, fix string) {
	m.node = n
	return "", ""
}

// elsewhere are the top-level keys that other products have beside the servers,
// and what becomes of them here.
var elsewhere = map[string]string{
	"mcpSettings":      "write what they allow under egress.allow",
	"globalShortcut":   "it belongs to Claude Desktop",
	"preferences":      "they belong to Claude Desktop",
	"version":          "it belongs to LibreChat",
	"cache":            "it belongs to LibreChat",
	"interface":        "it belongs to LibreChat",
	"endpoints":        "they belong to LibreChat",
	"registration":     "it belongs to LibreChat",
	"fileStrategy":     "it belongs to LibreChat",
	"fileConfig":       "it belongs to LibreChat",
	"modelSpecs":       "they belong to LibreChat",
	"memory":           "it belongs to LibreChat",
	"speech":           "it belongs to LibreChat",
	"balance":          "it belongs to LibreChat",
	"transactions":     "they belong to LibreChat",
	"rateLimits":       "they belong to LibreChat; see limits",
	"ocr":              "it belongs to LibreChat",
	"webSearch":        "it belongs to LibreChat",
	"actions":          "they belong to LibreChat",
	"turnstile":        "it belongs to LibreChat",
	"secureImageLinks": "it belongs to LibreChat",
	"imageOutputType":  "it belongs to LibreChat",
	"includedTools":    "it belongs to LibreChat; see tools of each server",
	"filteredTools":    "it belongs to LibreChat; see tools of each server",
}

// loader turns one file, the flags and the environment into a Config.
type loader struct {
	path      string
	overrides Overrides
	report    *document.Report
	root      *document.Node // nil: no file
	file      configFile
}

// setting is a text with the place that it came from.
type setting struct {
	text   string
	raw    string // as it is written: what may be quoted, for a variable may hold a secret
	at     document.Pos
	report *document.Report
}

func (s setting) fault(message, fix string) { s.report.Fault(s.at, message, fix) }

// load reads the text of the file; nil if there is no file.
func (l *loader) load(src []byte) (*Config, []Problem, error) {
	if src != nil {
		if l.root = document.Parse(l.path, src, l.report); l.root == nil {
			found := problems(l.report)
			return nil, found, failed(found)
		}
		l.decode()
	}
	c := l.config()
	found := problems(l.report)
	if err := failed(found); err != nil {
		return nil, found, err
	}
	return c, found, nil
}

func (l *loader) config() *Config {
	c := &Config{File: l.path}
	c.Log = l.log()
	auth, asked := l.auth()
	c.Auth = auth
	c.Listen = l.listen(asked)
	c.PublicURL = l.publicURL(c)
	c.Data = l.data()
	c.Store = l.store()
	c.Limits = l.limits()
	c.Egress = l.egress()
	c.Metrics = l.metrics(c)
	c.Servers = l.servers(c)
	return c
}

func (l *loader) decode() {
	if l.root.IsNull() || l.root.Kind == document.Map && len(l.root.Fields) == 0 {
		l.report.Fault(document.Pos{}, "the file is empty", "write mcpServers: and the servers under it")
		l.root = nil
		return
	}
	document.Decode(l.root, &l.file, l.report, func(f document.Field) bool {
		if meaning, ok := elsewhere[f.Key]; ok {
			l.report.Warn(f.Pos, f.Key+" is ignored", meaning)
			return true
		}
		if f.Key == "mcp" && f.Value.Get("servers") != nil {
			l.report.Fault(f.Pos, "the servers stand under mcp, as in VS Code's settings", "take out mcp and write servers at the beginning of a line")
			return true
		}
		return false
	})
}

func (l *loader) servers(c *Config) []jackfield.Server {
	if l.root == nil {
		return nil
	}
	node := l.file.MCPServers.node
	if other := l.file.Servers.node; node == nil {
		node = other
	} else if other != nil {
		l.report.Fault(other.Pos, "there are both mcpServers and servers", "write all under one of them")
	}
	if node == nil && len(l.report.Faults()) > 0 {
		return nil // whoever put them elsewhere has been told
	}
	if node == nil {
		if l.root.Get("store") != nil || l.root.Get("auth") != nil {
			return nil // it is for a gateway whose servers are in its store
		}
		l.report.Warn(document.Pos{}, "the file names no servers", "write mcpServers: and the servers under it")
		return nil
	}
	if node.Kind == document.Map && len(node.Fields) == 0 {
		l.report.Warn(node.Pos, "the file names no servers", "write name: {command: …} or name: {url: …}")
	}
	dir, err := filepath.Abs(filepath.Dir(l.path))
	if err != nil {
		dir = ""
	}
	return registry.Servers(node, registry.Source{
		Lookup: l.overrides.env, Dir: dir, Inputs: l.file.Inputs,
		Loops: func(u *url.URL) bool { return leadsTo(u, c.PublicURL, c.Listen) },
	}, l.report)
}

// pick finds a setting: in the flags, in the environment, then in the file at
// the path given, with placeholders filled in.
func (l *loader) pick(flag, flagName, variable, inFile string, path ...string) (setting, bool) {
	if flag != "" {
		return setting{text: flag, raw: flag, report: l.report.ForFile(flagName)}, true
	}
	if text, _ := l.overrides.env(variable); text != "" {
		return setting{text: text, raw: text, report: l.report.ForFile(variable)}, true
	}
	if inFile == "" {
		return setting{report: l.report}, false
	}
	node := l.root
	for _, key := range path {
		node = node.Get(key)
	}
	s := setting{text: inFile, raw: inFile, at: node.At(), report: l.report}
	return s, l.expand(&s, strings.Join(path, "."))
}

func (l *loader) expand(s *setting, what string) bool {
	text, err := registry.Expand(s.text, l.overrides.env)
	if e, ok := err.(*registry.ExpandError); ok { //nolint:errorlint // Expand returns it as it is
		s.fault(what+": "+e.Message, e.Fix)
		return false
	}
	s.text = text
	return true
}

func (l *loader) log() Log {
	var out Log
	if s, ok := l.pick(l.overrides.LogLevel, "--log-level", "JACKFIELD_LOG_LEVEL", l.file.Log.Level, "log", "level"); ok {
		levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
		level, known := levels[strings.ToLower(s.text)]
		if !known {
			s.fault(fmt.Sprintf("there is no log level %q", s.raw), "write debug, info, warn or error")
		}
		out.Level = level
	}
	out.Format = "text"
	if s, ok := l.pick(l.overrides.LogFormat, "--log-format", "JACKFIELD_LOG_FORMAT", l.file.Log.Format, "log", "format"); ok {
		if s.text != "text" && s.text != "json" {
			s.fault(fmt.Sprintf("there is no log format %q", s.raw), "write text or json")
		}
		out.Format = s.text
	}
	return out
}

func (l *loader) listen(asked bool) string {
	s, ok := l.pick(l.overrides.Listen, "--listen", "JACKFIELD_LISTEN", l.file.Listen, "listen")
	if !ok {
		return DefaultListen
	}
	if !s.isAddress(DefaultListen) {
		return s.text
	}
	if isExposed(s.text) && !asked {
		s.fault(fmt.Sprintf("%s can be reached from other machines, and nobody is asked who they are", s.raw),
			"set auth.token (JACKFIELD_AUTH_TOKEN, at least 32 random characters) or auth.keys, or listen on "+DefaultListen)
	}
	return s.text
}

// isAddress reports a setting that is no host:port.
func (s setting) isAddress(example string) bool {
	form := "write host:port, such as " + example
	_, port, err := net.SplitHostPort(s.text)
	switch {
	case err != nil:
		s.fault(fmt.Sprintf("%q is no address to listen on", s.raw), form)
		return false
	case !isPort(port):
		s.fault(fmt.Sprintf("%q has no port from 0 to 65535", s.raw), form)
		return false
	}
	return true
}

func (l *loader) metrics(c *Config) Metrics {
	s, ok := l.pick(l.overrides.Metrics, "--metrics-listen", "JACKFIELD_METRICS_LISTEN", l.file.Metrics.Listen, "metrics", "listen")
	if !ok {
		return Metrics{}
	}
	if s.isAddress("127.0.0.1:9420") && s.text == c.Listen && !strings.HasSuffix(s.text, ":0") {
		s.fault(fmt.Sprintf("%s is where the gateway listens", s.raw), "write another port, or remove metrics.listen: /metrics is there already")
	}
	return Metrics{Listen: s.text}
}

func isPort(port string) bool {
	n := 0
	for _, c := range []byte(port) {
		if c < '0' || c > '9' || n > 65535 {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return port != "" && n <= 65535
}

// isExposed reports whether other machines can reach the address.
func isExposed(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	return err == nil && !isLoopback(host)
}

// isLoopback reports whether only this machine can reach the host. A name other
// than localhost may mean anything tomorrow.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func (l *loader) publicURL(c *Config) string {
	s, ok := l.pick(l.overrides.PublicURL, "--public-url", "JACKFIELD_PUBLIC_URL", l.file.PublicURL, "publicURL")
	if !ok {
		return ""
	}
	if message, fix := registry.CheckURL(s.text); message != "" {
		s.fault("publicURL "+message, fix)
		return ""
	}
	if strings.Contains(s.text, "?") {
		s.fault("publicURL holds a ?", "write https://host, and a path if there is one")
		return ""
	}
	if u, err := url.Parse(s.text); err == nil && !isLoopback(u.Hostname()) && c.Auth.Open() {
		s.report.Warn(s.at, "publicURL is for other machines, and nobody is asked who they are: whoever reaches it may call", "set JACKFIELD_AUTH_TOKEN, unless what stands in front asks who is calling")
	}
	return strings.TrimRight(s.text, "/")
}

func (l *loader) data() string {
	s, ok := l.pick(l.overrides.Data, "--data", "JACKFIELD_DATA", l.file.Data, "data")
	if ok {
		if strings.HasPrefix(s.text, "~") {
			s.fault("data begins with ~, which only a shell replaces", "write ${HOME} instead")
		}
		if l.overrides.Data == "" && s.at.Line > 0 {
			return l.relative(s.text)
		}
		return s.text
	}
	dir, ok := defaultData(l.overrides.env)
	if !ok {
		l.report.ForFile("--data").Fault(document.Pos{}, "there is no home directory to keep data in", "name a directory with --data or JACKFIELD_DATA")
	}
	return dir
}

// relative takes a path from the file's directory.
func (l *loader) relative(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(l.path), path)
}

func (l *loader) egress() Egress {
	var out Egress
	node := l.root.Get("egress").Get("allow")
	for i, text := range l.file.Egress.Allow {
		s := setting{text: text, raw: text, at: node.Items[i].At(), report: l.report}
		if !l.expand(&s, "egress.allow") {
			continue
		}
		if _, err := egress.ParseRule(s.text); err != nil {
			s.fault(fmt.Sprintf("egress.allow cannot hold %q", s.raw), err.Error())
		}
		out.Allow = append(out.Allow, s.text)
	}
	return out
}

func (l *loader) limits() Limits {
	f := l.file.Limits
	for key, d := range map[string]document.Duration{"idle": f.Idle, "drain": f.Drain, "stop": f.Stop, "call": f.Call, "connect": f.Connect} {
		n := l.root.Get("limits").Get(key)
		if message, fix := d.LikelySeconds(n); message != "" {
			l.report.Warn(n.Pos, "limits."+key+": "+message, fix)
		}
	}
	return Limits{
		Body: int64(f.Body), Message: int64(f.Message), Result: int64(f.Result),
		Sessions:    Budget{Total: f.Sessions.Total, PerOwner: f.Sessions.PerOwner},
		Parked:      Budget{Total: f.Parked.Total, PerOwner: f.Parked.PerOwner},
		Dials:       Budget(f.Dials),
		Queue:       Budget{Total: f.Queue.Total, PerServer: f.Queue.PerServer},
		Rate:        jackfield.Rate(f.Rate),
		Calls:       Budget{Total: f.Calls.Total, PerOwner: f.Calls.PerOwner},
		Connections: Budget(f.Connections),
		Programs:    Budget{PerOwner: f.Programs.PerOwner},
		Idle:        time.Duration(f.Idle), Drain: time.Duration(f.Drain), Stop: time.Duration(f.Stop),
		Call: time.Duration(f.Call), Connect: time.Duration(f.Connect),
	}
}
