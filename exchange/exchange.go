// Package exchange is one request in no protocol revision: what is asked, what
// may be asked back while it is open, and how it ended. Each side of the
// gateway has a face that speaks one protocol era on the wire and this package's
// words towards the other side, so that N revisions need N faces and not N×N
// translations.
//
//	client ⇄ downstream face ⇄ Request, Peer, Result ⇄ upstream face ⇄ server
//
// Raw JSON stays raw: nothing here is decoded to be encoded again.
package exchange

import (
	"context"

	"github.com/jackfield-dev/jackfield/wire"
)

// Request is one request on its way to a server.
type Request struct {
	Method string
	// Params are the request's own params, scanned with ParamKeys. The faces take
	// out what belongs to their protocol era: inside _meta the keys of MetaKeys,
	// and inputResponses and requestState, which stand in Resume. Everything else,
	// foreign _meta keys and trace context included, passes unchanged.
	Params wire.Object
	Caps   Capabilities
	Meta   Meta
	Resume *Resume // set when a modern client comes back with answers
	Effect Effect  // what is known beyond EffectOf the method: what a tool's annotations say
	Server string  // the id of the server that it is for, where its params name a task; else empty
}

// ParamKeys are the members of params that somebody on the way reads or edits.
var ParamKeys = []string{
	"name", "uri", "ref", "cursor", "_meta", "inputResponses", "requestState", "level", "taskId", "task",
}

// The keys inside params._meta that belong to the protocol and not to the
// people who use it. A downstream face takes them out, an upstream face puts its
// own in.
const (
	MetaProtocolVersion    = "io.modelcontextprotocol/protocolVersion"
	MetaClientCapabilities = "io.modelcontextprotocol/clientCapabilities"
	MetaClientInfo         = "io.modelcontextprotocol/clientInfo"
	MetaLogLevel           = "io.modelcontextprotocol/logLevel"
	MetaProgressToken      = "progressToken"
)

// MetaRelatedTask is the key of _meta that says which task a message belongs to
// (2025-11-25).
const MetaRelatedTask = "io.modelcontextprotocol/related-task"

// MetaKeys lists the protocol's own keys of params._meta.
var MetaKeys = []string{
	MetaProtocolVersion, MetaClientCapabilities, MetaClientInfo, MetaLogLevel, MetaProgressToken,
}

// Meta is what the asker wants to hear while the exchange is open, and who it
// says it is.
type Meta struct {
	LogLevel   string   // log messages of this level and above are wanted; empty: none
	ClientInfo wire.Raw // display only; nil when unknown
}

// Resume is a modern client's retry of a request that ended in questions
// (2026-07-28, multi round-trip requests).
type Resume struct {
	State   wire.Raw // the upstream's requestState, a JSON string; nil when it gave none
	Answers wire.Raw // the inputResponses object; nil when absent
	Server  string   // the id of the server that State is of; empty: not known
}

// Peer is what the upstream half of an exchange may do to the downstream half
// while the exchange is open. Its methods may be called concurrently.
type Peer interface {
	// Notify passes a notification on: progress, a log message, a vendor's. Servers
	// are always asked for progress: it is a sign of life. A progress notification
	// carries any token; the downstream face puts its client's own in, or keeps it
	// back from one that did not ask. Notify never blocks for long; what cannot be delivered is dropped.
	Notify(ctx context.Context, method string, params wire.Raw) error
	// Ask passes questions on and waits for the answers, one for each question and
	// in the same order. It fails when the client cannot be asked; the error then
	// says why.
	Ask(ctx context.Context, questions []Question) ([]Answer, error)
}

// Question is a request of the server to the client: elicitation/create,
// sampling/createMessage or roots/list.
type Question struct {
	Key    string // the server's name for it among the questions of one round
	Method string
	Params wire.Raw // nil when absent
}

var modeKeys = []string{"mode"}

// IsURL reports whether q asks for an address to be opened.
func (q Question) IsURL() bool {
	o, err := wire.ScanObject(q.Params, modeKeys)
	return err == nil && q.Method == "elicitation/create" && string(o.Get("mode")) == `"url"`
}

// Answer is the client's answer: a result or an error, exactly as it came.
type Answer struct {
	Result wire.Raw
	Err    *wire.Error
}

// Result is how an exchange ended, when the server was reached and answered.
type Result struct {
	Raw    wire.Raw    // the result object as the server wrote it; nil when Err is set
	Err    *wire.Error // the server's error answer
	Modern bool        // the server speaks 2026-07-28: resultType and its kin may stand in Raw
	// Input is set when the server answered with questions (resultType
	// "input_required") to an asker that takes them so; Raw is that answer.
	Input *Input
	// Bare, when set, gives what Raw is without the members that only 2026-07-28
	// knows in every result. Nil: whoever needs that takes them out.
	Bare func() wire.Raw

	Server string // the id of the server that answered; empty: it came from the catalog
	Task   bool   // Raw is a task that the asker comes back for, and not yet the result
}

// Input are the questions of one round and the server's state.
type Input struct {
	Questions []Question
	State     wire.Raw // requestState, a JSON string; nil when absent
}

// Event is a notification of a server that belongs to no exchange: a changed
// list, an updated resource, a log line, a vendor's.
type Event struct {
	Method string
	Params wire.Raw // nil when absent
	Server string   // the id of the server, where the event names a thing of its own; else empty
}
