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
	Name     string // as people and clients write it: /mcp/{name}
	Revision uint64 // grows with every edit
	Version  uint64 // grows when the Endpoint or the Sharing changes

	// Operator says that whoever runs the gateway wrote the definition, which then
	// may reach any address. What anybody else wrote reaches public ones only.
	Operator bool

	About    About
	Endpoint Endpoint
	Usage    Usage
	Tools    ToolFilter

	// Invalid is why the definition cannot be used; empty when it can. An
	// invalid definition is listed with this reason and never dialed.
	Invalid string
}

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
}

// Allows reports whether the filter lets the tool through.
func (f ToolFilter) Allows(tool string) bool {
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
