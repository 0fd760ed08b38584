package registry

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// Entry is one server as a file writes it: the form of Claude, Cursor, VS Code
// and LibreChat, and what Jackfield adds to it. The JSON Schema is made from it.
type Entry struct {
	entryEndpoint
	entryAbout
	entryUsage
	entryPeople
}

type entryEndpoint struct {
	Type    string            `json:"type,omitempty" jsonschema:"How to reach the server: stdio (a program), http or streamable-http (Streamable HTTP) or sse (HTTP+SSE of 2024-11-05). Without it, command means stdio and url means http."`
	Command string            `json:"command,omitempty" jsonschema:"The program to start, looked up in PATH."`
	Args    []string          `json:"args,omitempty" jsonschema:"The program's arguments."`
	Env     map[string]string `json:"env,omitempty" jsonschema:"Environment variables of the program, besides a minimal set."`
	Cwd     string            `json:"cwd,omitempty" jsonschema:"The program's working directory. A relative one is taken from the directory of this file."`
	Limits  entryLimits       `json:"limits,omitzero" jsonschema:"What the system gives to the program, on Linux."`
	URL     string            `json:"url,omitempty" jsonschema:"The server's address, http:// or https://."`
	Headers map[string]string `json:"headers,omitempty" jsonschema:"HTTP headers sent with every request, such as Authorization."`
	TLS     *entryTLS         `json:"tls,omitempty" jsonschema:"Certificates, where those of the system are not enough. Each is a file in PEM form, or its text; a relative file is taken from the directory of this file."`
}

type entryTLS struct {
	CA         string `json:"ca,omitempty" jsonschema:"Certificates to trust besides those of the system."`
	Cert       string `json:"cert,omitempty" jsonschema:"The certificate to show to the server, with its chain. Needs key."`
	Key        string `json:"key,omitempty" jsonschema:"The private key of cert."`
	ServerName string `json:"serverName,omitempty" jsonschema:"The name that the server's certificate must be for, if not the url's host."`
}

type entryLimits struct {
	Memory    document.Size `json:"memory,omitzero" jsonschema:"Bytes of memory that one process of it can allocate. At least 64MiB."`
	Files     int           `json:"files,omitempty" jsonschema:"Files and sockets that one process of it can have open. At least 16."`
	Processes int           `json:"processes,omitempty" jsonschema:"Processes and threads of the user that Jackfield runs as, all of them counted."`
}

type entryAbout struct {
	Title              string       `json:"title,omitempty" jsonschema:"What people see instead of the name."`
	Description        string       `json:"description,omitempty" jsonschema:"What the server is for, in a sentence."`
	Icon               string       `json:"icon,omitempty" jsonschema:"Address of a picture, https:// or data:image/…"`
	ServerInstructions instructions `json:"serverInstructions,omitzero" jsonschema:"What clients are told about using the server: true passes on the server's own words, a text replaces them."`
}

type entryUsage struct {
	Disabled      bool              `json:"disabled,omitempty" jsonschema:"Leaves the server out altogether."`
	Startup       *bool             `json:"startup,omitempty" jsonschema:"false: the server is not connected to before somebody asks for it."`
	Timeout       document.Duration `json:"timeout,omitzero" jsonschema:"How long one call may take; progress extends it."`
	InitTimeout   document.Duration `json:"initTimeout,omitzero" jsonschema:"How long connecting and initialize may take."`
	RequiresOAuth bool              `json:"requiresOAuth,omitempty" jsonschema:"Only a person's own sign-in opens the server."`
	Sharing       string            `json:"sharing,omitempty" jsonschema:"Who may share a connection: auto, app (everybody), owner (one person), session (one client session) or call (nobody)."`
	OnSessionLoss string            `json:"onSessionLoss,omitempty" jsonschema:"What becomes of the first call after the server forgot a session that earlier calls may have left something in: tell (an error says so, the next call goes on) or replay (it is sent to the new session)."`
	Tools         *entryTools       `json:"tools,omitempty" jsonschema:"Which of the server's tools are offered."`
}

type entryPeople struct {
	Vars           map[string]entryVar `json:"vars,omitempty" jsonschema:"Values that each person enters for the server, by name. {{var.NAME}} in headers, env, args and url stands for one."`
	CustomUserVars map[string]entryVar `json:"customUserVars,omitempty" jsonschema:"The same as vars, as LibreChat calls it. Only one of the two may be there."`
	Access         *entryAccess        `json:"access,omitempty" jsonschema:"Who may see and use the server, and which of its tools."`
	Rate           document.Rate       `json:"rate,omitzero" jsonschema:"How many calls there may be by everybody together, such as 600/m."`
	RatePerPerson  document.Rate       `json:"ratePerPerson,omitzero" jsonschema:"How many calls there may be by each person, such as 60/m."`
	Overlays       overlayMap          `json:"overlays,omitzero" jsonschema:"What is different for a team, by the team's name. Only in the configuration file."`
	Extends        bool                `json:"extends,omitempty" jsonschema:"This is laid over the server of the same name that the team would see without it. Only in definitions of teams."`
	Enabled        *bool               `json:"enabled,omitempty" jsonschema:"false: the team does not see the server. Only in overlays; elsewhere write disabled."`
}

type entryVar struct {
	Title       string `json:"title,omitempty" jsonschema:"What it is called to people."`
	Description string `json:"description,omitempty" jsonschema:"Where one gets it."`
	Sensitive   *bool  `json:"sensitive,omitempty" jsonschema:"It is never shown again. Default true."`
	Required    *bool  `json:"required,omitempty" jsonschema:"Without it nothing is sent to the server. Default true."`
}

type entryAccess struct {
	Allow people            `json:"allow,omitempty" jsonschema:"Only these see the server: team:NAME or user:NAME."`
	Deny  people            `json:"deny,omitempty" jsonschema:"These do not, even if allowed."`
	Tools []entryToolAccess `json:"tools,omitempty" jsonschema:"The same for some of its tools."`
}

type entryToolAccess struct {
	Tools []string `json:"tools,omitempty" jsonschema:"Names of tools. A * at the end stands for any rest."`
	Allow people   `json:"allow,omitempty" jsonschema:"Only these see the tools: team:NAME or user:NAME."`
	Deny  people   `json:"deny,omitempty" jsonschema:"These do not, even if allowed."`
}

// people is a list of teams and users. YAML's team: ops is as good as team:ops, which
// inside of brackets not every parser tells apart.
type people []string

// DecodeNode reads the list.
func (p *people) DecodeNode(n *document.Node) (message, fix string) {
	const write = "write [team:NAME, user:NAME]"
	if n.Kind != document.List {
		return "must be a list, not " + n.Kind.String(), write
	}
	for _, item := range n.Items {
		text := item.Text
		if item.Kind == document.Map && len(item.Fields) == 1 {
			text = item.Fields[0].Key + ":" + item.Fields[0].Value.Text
		} else if item.Kind != document.String {
			return "holds " + item.Kind.String(), write
		}
		*p = append(*p, text)
	}
	return "", ""
}

// overlayMap is left to Servers.
type overlayMap struct{ node *document.Node }

// DecodeNode keeps the node.
func (m *overlayMap) DecodeNode(n *document.Node) (message, fix string) {
	if n.Kind != document.Map {
		return "must be a map, not " + n.Kind.String(), "write overlays: {TEAM: {headers: …}}"
	}
	m.node = n
	return "", ""
}

type entryTools struct {
	Allow []string `json:"allow,omitempty" jsonschema:"Only these tools are offered. A * at the end stands for any rest."`
	Deny  []string `json:"deny,omitempty" jsonschema:"These tools are never offered, even if allowed."`
}

// instructions is a truth value or a text.
type instructions jackfield.Instructions

// DecodeNode reads true, false or a text. LibreChat also writes "true".
func (i *instructions) DecodeNode(n *document.Node) (message, fix string) {
	switch {
	case n.Kind == document.List || n.Kind == document.Map:
		return "must be true, false or a text, not " + n.Kind.String(), "write true to pass on the server's own words"
	case strings.EqualFold(n.Text, "true"):
		i.FromServer = true
	case strings.EqualFold(n.Text, "false"):
	default:
		i.Text = n.Text
	}
	return "", ""
}

// ignored are the fields of other products that Jackfield knows and does not
// read: whose they are, and what that means for the person who pasted them.
var ignored = map[string]struct{ product, meaning string }{
	"chatMenu":       {"LibreChat", "there is no chat menu here"},
	"iconPath":       {"LibreChat", "write icon with the address of a picture"},
	"oauth":          {"LibreChat and Claude Code", "sign-in settings are not read by this version"},
	"oauth_headers":  {"LibreChat", "sign-in settings are not read by this version"},
	"apiKey":         {"LibreChat", "no key is sent; write it as a header under headers"},
	"obo":            {"LibreChat", "tokens are not exchanged by this version"},
	"proxy":          {"LibreChat", "set HTTPS_PROXY where Jackfield is started"},
	"sseReadTimeout": {"LibreChat", "event streams stay open for as long as somebody listens"},
	"stderr":         {"LibreChat", "the last lines a program writes there are always kept"},
	"alwaysAllow":    {"Roo Code", "approving calls is up to the client"},
	"autoApprove":    {"Cline", "approving calls is up to the client"},
	"watchPaths":     {"Roo Code", "programs are not restarted when files change"},
	"trust":          {"Gemini CLI", "approving calls is up to the client"},
	"alwaysLoad":     {"Claude Code", "which tools are loaded is up to the client"},
	"headersHelper":  {"Claude Code", "no program is run to make headers; write them under headers"},
	"auth":           {"Cursor", "sign-in settings are not read by this version"},
	"envFile":        {"VS Code and Cursor", "no variable is read from it; write them under env"},
	"dev":            {"VS Code", "programs are not restarted when files change"},
	"gallery":        {"VS Code", "it only says where an editor found the server"},
	"version":        {"VS Code", "it only says what an editor installed"},
	"sandboxEnabled": {"VS Code", "the program runs without a sandbox"},
	"sandbox":        {"VS Code", "the program runs without a sandbox"},
	"name":           {"Cherry Studio", "the key is the name; write title for what people see"},
	"provider":       {"Cherry Studio", "it is only shown there"},
	"note":           {"other products", "it is only a remark"},
}

// renamed are the names that other products have for fields of ours, where
// ignoring them would do something that nobody wants.
var renamed = map[string]string{ //nolint:gosec // field names, no credentials
	"serverUrl": "write url", "httpUrl": "write url", "uri": "write url", "endpoint": "write url", "baseUrl": "write url",
	"transport": "write type", "transportType": "write type",
	"cmd": "write command", "arguments": "write args",
	"environment": "write env", "environmentVariables": "write env",
	"workingDirectory": "write cwd", "workdir": "write cwd",
	"disabledTools": "write tools: {deny: […]}", "excludeTools": "write tools: {deny: […]}",
	"includeTools": "write tools: {allow: […]}", "enabledTools": "write tools: {allow: […]}", "allowedTools": "write tools: {allow: […]}",
	"isActive":     "write disabled: true to leave the server out",
	"instructions": "write serverInstructions",
	"token":        "write headers: {Authorization: …}", "bearerToken": "write headers: {Authorization: …}",
}

// foreign decides about a field that an Entry does not have. It reports all but
// the plainly unknown ones.
func foreign(r *document.Report) document.Unknown {
	return func(f document.Field) bool {
		if other, ok := ignored[f.Key]; ok {
			r.Warn(f.Pos, fmt.Sprintf("%s is a field of %s and is ignored", f.Key, other.product), other.meaning)
			return true
		}
		if fix, ok := renamed[f.Key]; ok {
			r.Fault(f.Pos, f.Key+" is not a known setting", fix)
			return true
		}
		ours, others := document.Keys(reflect.TypeFor[Entry]()), slices.Sorted(maps.Keys(renamed))
		if near := document.Nearest(f.Key, others); near != "" && document.Nearest(f.Key, ours.Names) == "" {
			r.Fault(f.Pos, f.Key+" is not a known setting", renamed[near])
			return true
		}
		return strings.HasPrefix(f.Key, "_") || strings.HasPrefix(f.Key, "$") // remarks, by custom
	}
}
