package registry

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// Bounds on what a definition may say of itself.
const (
	maxName         = 128 // bytes, as are the rest
	maxTitle        = 256
	maxDescription  = 4 << 10
	maxInstructions = 64 << 10
	maxIcon         = 256 << 10
)

// Source is where definitions take values from that they do not hold.
type Source struct {
	Lookup func(name string) (string, bool) // the environment, for ${NAME}
	Dir    string                           // what a relative cwd is relative to; empty: left relative
}

// Servers reads the map of definitions, in its order. Faults within a definition
// make that server Invalid; a map or a name that cannot be used is a fault of
// the file. They are the operator's word. Servers that are disabled are left out. A
// nil map gives no servers.
func Servers(n *document.Node, from Source, r *document.Report) []jackfield.Server {
	if n.IsNull() {
		return nil
	}
	if n.Kind != document.Map {
		r.Fault(n.Pos, "the servers must be a map, not "+n.Kind.String(), "write name: {command: …} or name: {url: …}")
		return nil
	}
	servers := make([]jackfield.Server, 0, len(n.Fields))
	for _, f := range n.Fields {
		if message, fix := checkName(f.Key); message != "" {
			r.Fault(f.Pos, message, fix)
			continue
		}
		d := &definition{node: f.Value, key: f.Pos, from: from, report: r.ForServer(f.Key)}
		if s, enabled := d.read(f.Key); enabled {
			servers = append(servers, s)
		}
	}
	return servers
}

// checkName refuses names that could not be a path segment, or would not look
// like what they are.
func checkName(name string) (message, fix string) {
	const plain = "use letters, digits, - and _"
	bad := strings.IndexFunc(name, func(c rune) bool {
		return unicode.IsControl(c) || unicode.In(c, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	})
	switch {
	case name == "":
		return "a server's name is empty", plain
	case len(name) > maxName:
		return fmt.Sprintf("the server name %q is longer than %d bytes", clip(name), maxName), "shorten it; write title for what people see"
	case strings.Contains(name, "/"):
		return fmt.Sprintf("the server name %q holds a /, which cannot stand in /mcp/{server}", clip(name)), "write - instead; write title for what people see"
	case name == "." || name == ".." || name != strings.TrimSpace(name):
		return fmt.Sprintf("%q cannot be a server's name", clip(name)), plain
	case bad >= 0:
		return fmt.Sprintf("the server name %q holds a character that cannot be seen", clip(name)), plain
	}
	return "", ""
}

// definition is one server's entry while it is read.
type definition struct {
	node   *document.Node
	key    document.Pos
	from   Source
	report *document.Report
	entry  Entry
}

func (d *definition) read(name string) (s jackfield.Server, enabled bool) {
	if d.node.IsNull() {
		d.report.Fault(d.key, "nothing is said about this server", "write command or url under it")
	}
	document.Decode(d.node, &d.entry, d.report, foreign(d.report))
	if d.entry.Disabled {
		d.report.Warn(d.at("disabled"), "the server is disabled and left out", "remove disabled to serve it")
		return jackfield.Server{}, false
	}
	s = jackfield.Server{
		ID: jackfield.ServerID(name), Name: name, Operator: true,
		About: d.about(),
		Usage: d.usage(),
		Tools: d.tools(),
	}
	endpoint := d.endpoint()
	if faults := d.report.Faults(); len(faults) > 0 {
		s.Invalid = reasons(faults)
		return s, true
	}
	s.Endpoint = endpoint
	return s, true
}

// reasons is what is shown of an invalid server: its first few faults, each with
// its place.
func reasons(faults []document.Problem) string {
	const most = 3
	var parts []string
	for _, p := range faults[:min(most, len(faults))] {
		text := p.Message
		if p.Fix != "" {
			text += "; " + p.Fix
		}
		parts = append(parts, fmt.Sprintf("%s (%s:%d)", text, p.File, p.Line))
	}
	text := strings.Join(parts, ". ")
	if more := len(faults) - most; more > 0 {
		text += fmt.Sprintf(". And %d more: see jackfield config check", more)
	}
	return text
}

// at is where a field stands, or the server's name if it does not.
func (d *definition) at(key string) document.Pos {
	if n := d.node.Get(key); !n.IsNull() && n.Line > 0 {
		return n.Pos
	}
	return d.key
}

func (d *definition) about() jackfield.About {
	a := d.entry.entryAbout
	d.bound("title", a.Title, maxTitle)
	d.bound("description", a.Description, maxDescription)
	d.bound("serverInstructions", a.ServerInstructions.Text, maxInstructions)
	d.bound("icon", a.Icon, maxIcon)
	if i := strings.ToLower(a.Icon); i != "" && !strings.HasPrefix(i, "https://") && !strings.HasPrefix(i, "http://") && !strings.HasPrefix(i, "data:image/") {
		d.report.Warn(d.at("icon"), "icon is not the address of a picture and is ignored", "write an https:// or data:image/… address")
		a.Icon = ""
	}
	return jackfield.About{
		Title: a.Title, Description: a.Description, Icon: a.Icon,
		Instructions: jackfield.Instructions(a.ServerInstructions),
	}
}

func (d *definition) bound(key, text string, most int) {
	if len(text) > most {
		d.report.Fault(d.at(key), fmt.Sprintf("%s is longer than %d bytes", key, most), "shorten it")
	}
}

var sharings = []string{
	string(jackfield.SharingAuto), string(jackfield.SharingApp), string(jackfield.SharingOwner),
	string(jackfield.SharingSession), string(jackfield.SharingCall),
}

var sessionLosses = []string{string(jackfield.LossTell), string(jackfield.LossReplay)}

func (d *definition) usage() jackfield.Usage {
	u := d.entry.entryUsage
	if u.OnSessionLoss != "" && !slices.Contains(sessionLosses, u.OnSessionLoss) {
		d.report.Fault(d.at("onSessionLoss"), fmt.Sprintf("onSessionLoss cannot be %q", clip(u.OnSessionLoss)), oneOf(u.OnSessionLoss, sessionLosses))
	}
	if u.Sharing == "" {
		u.Sharing = string(jackfield.SharingAuto)
	}
	if !slices.Contains(sharings, u.Sharing) {
		d.report.Fault(d.at("sharing"), fmt.Sprintf("sharing cannot be %q", clip(u.Sharing)), oneOf(u.Sharing, sharings))
	}
	d.likelySeconds("timeout", u.Timeout)
	d.likelySeconds("initTimeout", u.InitTimeout)
	return jackfield.Usage{
		Timeout:       time.Duration(u.Timeout),
		InitTimeout:   time.Duration(u.InitTimeout),
		OnDemand:      u.Startup != nil && !*u.Startup,
		RequiresOAuth: u.RequiresOAuth,
		Sharing:       jackfield.Sharing(u.Sharing),
		OnSessionLoss: jackfield.Loss(u.OnSessionLoss),
	}
}

func (d *definition) likelySeconds(key string, v document.Duration) {
	if message, fix := v.LikelySeconds(d.node.Get(key)); message != "" {
		d.report.Warn(d.at(key), key+": "+message, fix)
	}
}

func (d *definition) tools() jackfield.ToolFilter {
	t := d.entry.Tools
	if t == nil {
		return jackfield.ToolFilter{}
	}
	tools := d.node.Get("tools")
	if allow := tools.Get("allow"); !allow.IsNull() && allow.Kind == document.List && len(t.Allow) == 0 {
		d.report.Fault(allow.Pos, "tools.allow is empty, which would offer every tool", `name the tools, remove it to offer all, or write deny: ["*"] to offer none`)
	}
	d.patterns("allow", tools.Get("allow"), t.Allow)
	d.patterns("deny", tools.Get("deny"), t.Deny)
	return jackfield.ToolFilter{Allow: t.Allow, Deny: t.Deny}
}

func (d *definition) patterns(key string, n *document.Node, list []string) {
	for i, pattern := range list {
		if star := strings.IndexByte(pattern, '*'); pattern == "" || star >= 0 && star != len(pattern)-1 {
			d.report.Fault(n.Items[i].Pos, fmt.Sprintf("tools.%s cannot hold %q", key, clip(pattern)), "write a tool's name, or its beginning and a * at the end")
		}
	}
}

// transports are the ways to write type, dashes and case aside.
var transports = map[string]jackfield.Transport{
	"stdio":          jackfield.TransportStdio,
	"http":           jackfield.TransportHTTP,
	"streamablehttp": jackfield.TransportHTTP,
	"sse":            jackfield.TransportSSE,
}

func (d *definition) endpoint() jackfield.Endpoint {
	transport, ok := d.transport()
	if !ok {
		return jackfield.Endpoint{}
	}
	if transport == jackfield.TransportStdio {
		d.unused("headers", "only servers with a url have it")
		d.unused("tls", "only servers with a url have it")
		return d.program()
	}
	for _, key := range []string{"args", "env", "cwd", "limits"} {
		d.unused(key, "only servers with a command have it")
	}
	address := d.address()
	return jackfield.Endpoint{Transport: transport, URL: address, Headers: d.headers(), TLS: d.tls(address)}
}

// transport decides how the server is reached, from type and from which of
// command and url there is.
func (d *definition) transport() (jackfield.Transport, bool) {
	command, address, kind := d.entry.Command != "", d.entry.URL != "", d.entry.Type
	if command && address {
		d.report.Fault(d.at("url"), "there is both a command and a url", "keep command for a program, or url for a remote server")
		return "", false
	}
	t := transports[strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(kind))]
	switch {
	case kind != "" && t == "":
		d.unknownType(kind)
	case t == jackfield.TransportStdio && address:
		d.report.Fault(d.at("type"), "type is stdio, but there is a url instead of a command", "write type: http, or command")
	case t != "" && t != jackfield.TransportStdio && command:
		d.report.Fault(d.at("type"), fmt.Sprintf("type is %s, but there is a command instead of a url", kind), "write type: stdio, or url")
	case !command && !address:
		if len(d.report.Faults()) > 0 {
			break // whoever wrote serverUrl has been told
		}
		need := map[jackfield.Transport]string{"": "neither a command nor a url", jackfield.TransportStdio: "no command"}[t]
		if need == "" {
			need = "no url"
		}
		d.report.Fault(d.key, "there is "+need, "write command for a program, or url for a remote server")
	case t != "":
		return t, true
	case command:
		return jackfield.TransportStdio, true
	default:
		return jackfield.TransportHTTP, true
	}
	return "", false
}

func (d *definition) unknownType(kind string) {
	switch strings.ToLower(kind) {
	case "websocket", "ws", "wss":
		d.report.Fault(d.at("type"), "Jackfield does not speak MCP over websockets, which is no transport of the protocol", "use the server's http address and write type: http")
	default:
		d.report.Fault(d.at("type"), fmt.Sprintf("type cannot be %q", clip(kind)), oneOf(kind, []string{"stdio", "http", "streamable-http", "sse"}))
	}
}

// unused warns of a field that means nothing for this transport.
func (d *definition) unused(key, meaning string) {
	if n := d.node.Get(key); !n.IsNull() && len(n.Items)+len(n.Fields)+len(n.Text) > 0 {
		d.report.Warn(n.Pos, key+" is ignored", meaning)
	}
}

func (d *definition) program() jackfield.Endpoint {
	e := jackfield.Endpoint{Transport: jackfield.TransportStdio}
	e.Command = d.expand("command", d.node.Get("command"), d.entry.Command)
	if word, _, more := strings.Cut(e.Command, " "); more && !strings.ContainsAny(word, `/\`) {
		d.report.Fault(d.at("command"), "command holds spaces, but it is one program", "put what follows the program's name into args")
	}
	e.Dir = d.expand("cwd", d.node.Get("cwd"), d.entry.Cwd)
	d.noTilde("command", e.Command)
	d.noTilde("cwd", e.Dir)
	if e.Dir != "" && !filepath.IsAbs(e.Dir) {
		e.Dir = filepath.Join(d.from.Dir, e.Dir)
	}
	args := d.node.Get("args")
	for i, arg := range d.entry.Args {
		e.Args = append(e.Args, d.expand(fmt.Sprintf("args[%d]", i), args.Items[i], arg))
	}
	e.Env = d.secrets("env", d.entry.Env)
	if len(e.Env) > 0 {
		d.checkNames(d.node.Get("env").Fields)
	}
	e.Limits = d.limits()
	return e
}

// limits checks that a program could start within them at all.
func (d *definition) limits() jackfield.ProcessLimits {
	l := d.entry.Limits
	for _, x := range []struct {
		key          string
		value, least int64
		write        string
	}{
		{"memory", int64(l.Memory), 64 << 20, "64MiB"}, {"files", int64(l.Files), 16, "16"}, {"processes", int64(l.Processes), 1, "1"},
	} {
		if n := d.node.Get("limits").Get(x.key); !n.IsNull() && x.value < x.least && (x.value > 0 || n.Text == "0") {
			d.report.Fault(n.Pos, fmt.Sprintf("no program runs with limits.%s of %s", x.key, clip(n.Text)), "write "+x.write+" or more, or remove it")
		}
	}
	return jackfield.ProcessLimits{Memory: int64(l.Memory), Files: l.Files, Processes: l.Processes}
}

func (d *definition) noTilde(key, path string) {
	if strings.HasPrefix(path, "~") {
		d.report.Fault(d.at(key), key+" begins with ~, which only a shell replaces", "write ${HOME} instead")
	}
}

func (d *definition) checkNames(env []document.Field) {
	for _, f := range env {
		if f.Key == "" || strings.ContainsAny(f.Key, "=\x00") {
			d.report.Fault(f.Pos, fmt.Sprintf("env holds the name %q, which no environment variable can have", clip(f.Key)), "write NAME: value")
		}
	}
}

// secrets expands the values of a map, in the order of the file.
func (d *definition) secrets(key string, values map[string]string) map[string]jackfield.Secret {
	if len(values) == 0 {
		return nil
	}
	out := make(map[string]jackfield.Secret, len(values))
	for _, f := range d.node.Get(key).Fields {
		out[f.Key] = jackfield.Secret(d.expand(key+"."+f.Key, f.Value, values[f.Key]))
	}
	return out
}

// expand fills in a value's placeholders, and reports those that stay.
func (d *definition) expand(what string, n *document.Node, text string) string {
	if name, found := template(text); found {
		d.report.Fault(n.At(), fmt.Sprintf("%s holds {{%s}}, which nothing fills in here", what, name),
			"write the value, or ${NAME} for an environment variable")
		return ""
	}
	out, err := Expand(text, d.from.Lookup)
	if err != nil {
		message, fix := err.Error(), ""
		if e, ok := err.(*ExpandError); ok { //nolint:errorlint // Expand returns it as it is
			fix = e.Fix
		}
		d.report.Fault(n.At(), what+": "+message, fix)
		return ""
	}
	if strings.Contains(out, "\x00") {
		d.report.Fault(n.At(), what+" holds a zero byte", "remove it; look at the variables in it")
		return ""
	}
	return out
}

// address checks the url. What it reports quotes none of it: there may be a key
// in it.
func (d *definition) address() string {
	before := len(d.report.Faults())
	text := d.expand("url", d.node.Get("url"), d.entry.URL)
	if len(d.report.Faults()) > before {
		return ""
	}
	message, fix := CheckURL(text)
	if message != "" {
		d.report.Fault(d.at("url"), "url "+message, fix)
		return ""
	}
	return text
}

// CheckURL says what is wrong with the address of an HTTP server, and what to
// write instead; both are empty when nothing is. It quotes nothing of it but
// its scheme.
func CheckURL(text string) (message, fix string) {
	const form = "write https://host/path"
	if strings.ContainsFunc(text, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) || c == utf8.RuneError }) {
		return "holds a space or a character that cannot be seen", "remove it, or write it as %20"
	}
	if strings.ContainsAny(text, "{}") {
		return "holds {…}, which nothing fills in here", "write the value, or ${NAME} for an environment variable"
	}
	scheme, _, hasScheme := strings.Cut(text, "://")
	isHTTP := strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")
	isSocket := strings.EqualFold(scheme, "ws") || strings.EqualFold(scheme, "wss")
	u, err := url.Parse(text)
	switch {
	case !hasScheme || !isHTTP && !isSocket:
		return "begins with neither http:// nor https://", form
	case isSocket:
		return "is of a websocket, which is no transport of the protocol", "use the server's https:// address"
	case err != nil:
		return "is not well formed", form
	case u.User != nil:
		return "holds a user name or password", "send it as a header: headers: {Authorization: …}"
	case strings.Contains(text, "#"):
		return "holds a #, and what follows it is never sent", "remove it"
	case u.Hostname() == "":
		return "names no host", form
	}
	if port := u.Port(); port != "" {
		if len(port) > 5 || port == "0" || len(port) == 5 && port > "65535" {
			return "has a port that does not exist", "write a port from 1 to 65535"
		}
	}
	return "", ""
}

func oneOf(word string, known []string) string {
	if near := document.Nearest(word, known); near != "" {
		return "did you mean " + near + "?"
	}
	return "write " + strings.Join(known[:len(known)-1], ", ") + " or " + known[len(known)-1]
}
