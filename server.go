package jackfield

import "time"

// ServerID names a definition for as long as it exists. It is what keys,
// listings and logs refer to.
type ServerID string

// Server is a definition as it takes effect: how to reach one MCP server, with
// which credentials, and whose connection a call uses. It is immutable; an edit
// makes a new one. Everything an edit can change without a redial stands
// directly in it; what decides a connection stands in Endpoint.
type Server struct {
	ID       ServerID
	Name     string   // as people and clients write it: /mcp/{name}
	Scope    Scope    // whose definition it is; an overlay is its team's
	Base     ServerID // of an overlay: the definition that it is laid over
	Revision uint64   // grows with every edit
	Version  uint64   // grows when the Endpoint, what fills it or the Sharing changes

	// Operator says that whoever runs the gateway wrote the definition, which then
	// may reach any address. What anybody else wrote reaches public ones only.
	Operator bool

	About    About
	Endpoint Endpoint
	Fill     Fill       // of the Endpoint
	Vars     []Variable // that each person enters, in the order in which they are asked for
	Usage    Usage
	Tools    ToolFilter
	Rules    Rules

	// Invalid is why the definition cannot be used; empty when it can. An
	// invalid definition is listed with this reason and never dialed.
	Invalid string
}

// OwnCredentials reports whether each person reaches the server with credentials of
// their own, so that nothing of it may be shared with anybody else.
func (s *Server) OwnCredentials() bool { return s.Usage.RequiresOAuth || s.Fill.Personal() }

// About is what a server is called and how it is described to people.
type About struct {
	Title       string
	Description string
	Icon        string
	// Instructions decides what clients are told about using the server.
	Instructions Instructions
}

// Instructions decides what a client is told about using a server: nothing (the
// zero value), the server's own words, or the text given here instead.
type Instructions struct {
	FromServer bool
	Text       string
}

// Transport is how messages travel to a server.
type Transport string

// The transports.
const (
	TransportStdio Transport = "stdio" // a child process, one JSON message a line
	TransportHTTP  Transport = "http"  // Streamable HTTP, 2025-03-26 and later
	TransportSSE   Transport = "sse"   // HTTP+SSE, 2024-11-05
)

// Endpoint is how to reach a server. Changing anything in it makes a new
// Version of the definition and, with it, new connections.
type Endpoint struct {
	Transport Transport

	// For TransportStdio.
	Command string
	Args    []string
	Env     map[string]Secret // added to a minimal environment
	Dir     string            // working directory; empty: the gateway's own
	Limits  ProcessLimits

	// For TransportHTTP and TransportSSE.
	URL     string
	Headers map[string]Secret
	TLS     TLS
}

// ProcessLimits bound what the system gives to each process of a command, and
// to what it starts. Zero means whatever the gateway itself is given. They are
// kept on Linux; elsewhere a server with limits is not started.
type ProcessLimits struct {
	Memory    int64 // bytes of data, a process (RLIMIT_DATA); what is beyond cannot be allocated
	Files     int   // open files and sockets, a process (RLIMIT_NOFILE)
	Processes int   // processes and threads of the user that the gateway runs as, all counted (RLIMIT_NPROC)
}

// Usage says when a server is connected, for how long one waits, and who shares
// the connection. Zero durations mean the gateway's defaults.
type Usage struct {
	Timeout       time.Duration // one call; progress extends it
	InitTimeout   time.Duration // dial and initialize
	OnDemand      bool          // startup: false: listed on first use, never in the background
	RequiresOAuth bool          // only a person's own sign-in opens it
	Sharing       Sharing
	OnSessionLoss Loss
	Rate          Rate // of everybody's calls together
	PersonRate    Rate // of each person's calls
}

// Rate bounds how many calls there may be. The zero value is no bound.
type Rate struct {
	Calls int           // in each Per, evenly; as many may come at once
	Per   time.Duration // more than zero when Calls is
}

// Loss says what becomes of the first call after a server forgot the session
// that was somebody's own, when earlier calls may have left something in it.
type Loss string

// What may become of it. An empty Loss means LossTell.
const (
	LossTell   Loss = "tell"   // it is not sent: an error tells of the loss, and the next call goes on
	LossReplay Loss = "replay" // it is sent to the new session, and nobody is told
)

// Sharing says who may share a connection to a server.
type Sharing string

// The ways to share. An empty Sharing means SharingAuto.
const (
	SharingAuto    Sharing = "auto"    // as wide as credentials and the server's state allow
	SharingApp     Sharing = "app"     // everybody
	SharingOwner   Sharing = "owner"   // one person
	SharingSession Sharing = "session" // one downstream session; a person, for clients without sessions
	SharingCall    Sharing = "call"    // nobody: one connection a call
)

// ToolFilter limits which of a server's tools are offered and may be called.
// Names are the server's own; "*" at the end of a pattern matches any rest.
type ToolFilter struct {
	Allow []string // empty: all
	Deny  []string // wins over Allow
	// Also are filters that a tool must pass as well: what access rules leave of the
	// server for those who see this.
	Also []ToolFilter
}

// Allows reports whether the filter lets the tool through.
func (f ToolFilter) Allows(tool string) bool {
	for _, also := range f.Also {
		if !also.Allows(tool) {
			return false
		}
	}
	for _, p := range f.Deny {
		if matches(p, tool) {
			return false
		}
	}
	for _, p := range f.Allow {
		if matches(p, tool) {
			return true
		}
	}
	return len(f.Allow) == 0
}

// Rules say who may see and use a server, among those in whose scope it is.
type Rules struct {
	Allow []Scope // only they; empty: everybody
	Deny  []Scope // not they, whatever Allow says
	Tools []ToolRule
}

// ToolRule says who may see and call some of a server's tools.
type ToolRule struct {
	Tools []string // patterns, as a ToolFilter has them
	Allow []Scope  // only they; empty: everybody
	Deny  []Scope  // not they, whatever Allow says
}

func matches(pattern, name string) bool {
	if n := len(pattern); n > 0 && pattern[n-1] == '*' {
		return len(name) >= n-1 && name[:n-1] == pattern[:n-1]
	}
	return pattern == name
}

// Versions are the two counters that decide whether a connection is still the
// right one. A connection is only ever replaced by a newer one.
type Versions struct {
	Definition uint64 // Server.Version
	Credential uint64 // grows when a grant, a variable or a resolved secret changes
}

// Older reports whether v is older than w in either counter.
func (v Versions) Older(w Versions) bool {
	return v.Definition < w.Definition || v.Credential < w.Credential
}
