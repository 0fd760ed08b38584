package registry

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

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
	maxOwner        = 256

	maxVars   = 32 // entries, as are the rest
	maxInputs = 256
	maxPeople = 1000
)

// Source is where definitions take values from that they do not hold.
type Source struct {
	Lookup func(name string) (string, bool) // the environment, for ${NAME}
	Dir    string                           // what a relative cwd is relative to; empty: left relative
	Inputs []Input                          // of the file, for ${input:ID}
	Loops  func(*url.URL) bool              // whether an address is the gateway's own, see Options; nil: none is
}

// Servers reads the map of definitions, in its order, and after all of them what
// their overlays make of them. Faults within a definition make that server Invalid;
// a map or a name that cannot be used is a fault of the file. They are the operator's
// word. Servers that are disabled are left out. A nil map gives no servers.
//
// What an overlay makes of a server has the team's Scope, the server's ID as its Base,
// and an ID such as team:data/github. If it hides the server from the team, it has
// neither a Transport nor a reason to be Invalid.
func Servers(n *document.Node, from Source, r *document.Report) []jackfield.Server {
	if n.IsNull() {
		return nil
	}
	if n.Kind != document.Map {
		r.Fault(n.Pos, "the servers must be a map, not "+n.Kind.String(), "write name: {command: …} or name: {url: …}")
		return nil
	}
	servers := make([]jackfield.Server, 0, len(n.Fields))
	var overlays []jackfield.Server
	folded := map[string]string{}
	for _, f := range n.Fields {
		if message, fix := checkName(f.Key); message != "" {
			r.Fault(f.Pos, message, fix)
			continue
		}
		d := &definition{node: f.Value, key: f.Pos, from: from, report: r.ForServer(f.Key), operator: true, file: true}
		d.oddName(f.Key, folded)
		read := d.read(f.Key)
		if read.disabled {
			continue
		}
		servers = append(servers, read.server)
		overlays = append(overlays, d.overlays(&read.server, r)...)
	}
	return append(servers, overlays...)
}

// oddName warns of a name of the file that cannot be told from another, or that a
// definition of the store could not have.
func (d *definition) oddName(name string, folded map[string]string) {
	if message, fix := checkPlain(name); message != "" {
		d.report.Warn(d.key, message, fix)
	}
	key := foldName(name)
	if other, twice := folded[key]; twice {
		d.report.Warn(d.key, fmt.Sprintf("the name looks like %q", clip(other)), "give one of the two another name")
	}
	folded[key] = name
}

// overlays reads what is different for teams, and makes of each a server of its own.
func (d *definition) overlays(base *jackfield.Server, r *document.Report) []jackfield.Server {
	if d.entry.Overlays.node == nil {
		return nil
	}
	var out []jackfield.Server
	for _, f := range d.entry.Overlays.node.Fields {
		message, fix := checkName(f.Key)
		if message == "" {
			message, fix = checkPlain(f.Key)
		}
		if message != "" {
			d.report.Warn(f.Pos, "an overlay is ignored: "+strings.Replace(message, "server", "team", 1), fix)
			continue
		}
		scope := jackfield.Team(f.Key)
		id := storeID(scope, base.Name)
		o := &definition{node: f.Value, key: f.Pos, from: d.from, report: r.ForServer(string(id)), operator: true, file: true, overlay: true, scope: scope}
		read := o.read(base.Name)
		if read.disabled {
			continue
		}
		read.server.ID = id
		out = append(out, lay(base, &read))
	}
	return out
}

// definition is one server's entry while it is read.
type definition struct {
	node     *document.Node
	key      document.Pos
	from     Source
	scope    jackfield.Scope
	operator bool                 // whoever runs the gateway wrote it
	file     bool                 // it stands in the configuration file
	overlay  bool                 // it is laid over another definition
	allowed  func(*url.URL) error // which addresses somebody else's definitions may name; nil: all
	report   *document.Report

	entry  Entry
	places places
	fill   jackfield.Fill
}

// reading is a definition as it is written.
type reading struct {
	server   jackfield.Server // of an overlay, only what it has keys for
	keys     map[string]bool  // of an overlay: the keys that have a value
	extends  bool             // it is an overlay
	hidden   bool             // an overlay that hides what it is laid over
	disabled bool             // as if it were not there
	bound    string           // what the secrets in it were entered for, see binding; empty: not known
}

func (d *definition) read(name string) reading {
	if d.node.IsNull() && !d.overlay {
		d.report.Fault(d.key, "nothing is said about this server", "write command or url under it")
	}
	document.Decode(d.node, &d.entry, d.report, foreign(d.report))
	d.checkAuthor()
	out := reading{extends: d.overlay, disabled: d.entry.Disabled}
	if d.overlay {
		out.hidden = d.entry.Enabled != nil && !*d.entry.Enabled
		out.keys = map[string]bool{}
		for _, f := range d.node.Fields {
			out.keys[f.Key] = !f.Value.IsNull()
		}
	}
	if d.entry.Disabled && d.file {
		d.report.Warn(d.at("disabled"), "the server is disabled and left out", "remove disabled to serve it")
		return out
	}
	d.places = places{
		lookup: d.from.Lookup, dir: d.from.Dir, inputs: d.from.Inputs, open: d.overlay,
		identity: d.operator || d.scope.Kind == jackfield.ScopeApp,
		vars:     d.variables(),
	}
	if d.scope.Kind == jackfield.ScopeTeam {
		d.places.team = d.scope.ID
	}
	if !d.operator {
		d.places.lookup = nil
	}
	out.server = jackfield.Server{
		ID: jackfield.ServerID(name), Name: name, Scope: d.scope, Operator: d.operator,
		About: d.about(),
		Usage: d.usage(),
		Tools: d.tools(),
		Rules: d.rules(),
	}
	endpoint := d.endpoint()
	d.unusedVars()
	if faults := d.report.Faults(); len(faults) > 0 {
		out.server.Invalid = reasons(faults)
		return out
	}
	out.server.Endpoint, out.server.Fill, out.server.Vars = endpoint, d.fill, d.places.vars
	return out
}

// checkAuthor refuses what a definition of this kind, or of whoever wrote it, cannot
// have.
func (d *definition) checkAuthor() {
	if d.entry.Extends && !d.overlay {
		d.report.Fault(d.at("extends"), "extends stands in a definition that is no team's", "write overlays: {TEAM: {…}} in the file, or a definition of the team")
	}
	if n := d.node.Get("enabled"); !n.IsNull() && !d.overlay {
		d.report.Fault(n.Pos, "enabled is not a known setting", "write disabled: true to leave the server out")
	}
	if n := d.node.Get("overlays"); !n.IsNull() && (!d.file || d.overlay) {
		d.report.Fault(n.Pos, "overlays stand in the servers of the configuration file only", "write a definition of the team with extends: true")
	}
	if d.operator {
		return
	}
	for _, key := range []string{"command", "args", "env", "cwd", "limits"} {
		if n := d.node.Get(key); !n.IsNull() {
			d.report.Fault(n.Pos, key+" is for programs, which only whoever runs the gateway may define", "write url, or ask for it in the configuration file")
		}
	}
	if t, n := d.entry.TLS, d.node.Get("tls"); t != nil {
		for _, v := range []struct{ key, text string }{{"ca", t.CA}, {"cert", t.Cert}, {"key", t.Key}} {
			if v.text != "" && !strings.Contains(v.text, "-----BEGIN ") && v.text != sealedText {
				d.report.Fault(n.Get(v.key).At(), "tls."+v.key+" names a file of the gateway, which only whoever runs it may", "write its text, which begins with -----BEGIN")
			}
		}
	}
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
		if p.Line > 0 && p.File != "" {
			text = fmt.Sprintf("%s (%s:%d)", text, p.File, p.Line)
		}
		parts = append(parts, text)
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
	if !d.file && strings.ContainsFunc(text, func(c rune) bool { return c != '\n' && c != '\t' && unseen(c) }) {
		d.report.Fault(d.at(key), key+" holds a character that cannot be seen", "remove it")
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
		Rate:          jackfield.Rate(d.entry.Rate),
		PersonRate:    jackfield.Rate(d.entry.RatePerPerson),
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
	d.patterns("tools.allow", tools.Get("allow"), t.Allow)
	d.patterns("tools.deny", tools.Get("deny"), t.Deny)
	return jackfield.ToolFilter{Allow: t.Allow, Deny: t.Deny}
}

func (d *definition) patterns(key string, n *document.Node, list []string) {
	for i, pattern := range list {
		if star := strings.IndexByte(pattern, '*'); pattern == "" || star >= 0 && star != len(pattern)-1 {
			d.report.Fault(n.Items[i].Pos, fmt.Sprintf("%s cannot hold %q", key, clip(pattern)), "write a tool's name, or its beginning and a * at the end")
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
	if d.overlay && d.entry.Command == "" && d.entry.URL == "" { // what it is laid over decides what of it counts
		e := d.program()
		e.Transport, e.Headers, e.TLS = transport, d.headers(), d.tls("")
		return e
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
	case t == jackfield.TransportStdio && !d.operator:
		d.report.Fault(d.at("type"), "type is stdio, and only whoever runs the gateway may define programs", "write type: http and url, or ask for it in the configuration file")
	case t == jackfield.TransportStdio && address:
		d.report.Fault(d.at("type"), "type is stdio, but there is a url instead of a command", "write type: http, or command")
	case t != "" && t != jackfield.TransportStdio && command:
		d.report.Fault(d.at("type"), fmt.Sprintf("type is %s, but there is a command instead of a url", kind), "write type: stdio, or url")
	case !command && !address && d.overlay:
		return t, true
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
	d.args(&e)
	e.Env, d.fill.Env = d.split(d.templates("env", d.entry.Env))
	if len(d.entry.Env) > 0 {
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

func oneOf(word string, known []string) string {
	if near := document.Nearest(word, known); near != "" {
		return "did you mean " + near + "?"
	}
	return "write " + strings.Join(known[:len(known)-1], ", ") + " or " + known[len(known)-1]
}
