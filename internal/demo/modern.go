package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// What is only said in 2026-07-28.
const (
	metaServerInfo   = "io.modelcontextprotocol/serverInfo"
	metaSubscription = "io.modelcontextprotocol/subscriptionId"
)

// listen is an open subscriptions/listen request.
type listen struct {
	id     wire.Raw
	cancel context.CancelFunc
	acked  chan struct{} // closed once the acknowledgement is on its way, or never will be
	lists  bool
	uris   map[string]bool
}

// interest is the filter of subscriptions/listen.
type interest struct {
	Tools     bool     `json:"toolsListChanged,omitempty"`
	Prompts   bool     `json:"promptsListChanged,omitempty"`
	Resources bool     `json:"resourcesListChanged,omitempty"`
	URIs      []string `json:"resourceSubscriptions,omitempty"`
}

const maxWatched = 256 // resources that one client may watch

// beginModern reads what each modern request says of its client.
func (c *conn) beginModern(m wire.Message, p *params) (*call, *wire.Error) {
	if m.Method == "initialize" {
		return nil, unsupported(p.ProtocolVersion)
	}
	version, ok := wire.String(p.Meta[exchange.MetaProtocolVersion])
	switch {
	case !ok:
		return nil, invalid("params._meta must name the protocol version as %s", exchange.MetaProtocolVersion)
	case version != exchange.Modern:
		return nil, unsupported(version)
	}
	declared := bytes.TrimSpace(p.Meta[exchange.MetaClientCapabilities])
	caps, err := exchange.ParseCapabilities(wire.Raw(declared))
	if len(declared) == 0 || declared[0] != '{' || err != nil {
		return nil, invalid("params._meta must hold the client's capabilities, an object, as %s", exchange.MetaClientCapabilities)
	}
	level, _ := wire.String(p.Meta[exchange.MetaLogLevel])
	if level != "" && rank(level) < 0 {
		return nil, invalid("there is no log level %q", level)
	}
	return &call{
		conn: c, id: m.ID, modern: true, version: version, caps: caps, level: level,
		token: p.Meta[exchange.MetaProgressToken], state: p.RequestState, answers: p.InputResponses,
	}, nil
}

func unsupported(version string) *wire.Error {
	data, err := json.Marshal(object{"supported": []string{exchange.Modern}, "requested": version})
	if err != nil {
		data = nil // strings always marshal
	}
	return &wire.Error{
		Code:    wire.CodeUnsupportedVersion,
		Message: fmt.Sprintf("protocol version %q is not spoken here, %s is", version, exchange.Modern),
		Data:    data,
	}
}

// discover answers server/discover.
func (c *conn) discover() object {
	versions := exchange.Versions
	if c.o.Era == EraModern {
		versions = []string{exchange.Modern}
	}
	return cached(object{
		"supportedVersions": versions,
		"capabilities":      c.offer.capabilities(),
		"instructions":      c.offer.instructions,
	}, staticTTL, "public")
}

// dress adds what a modern result must carry.
func (c *conn) dress(result object) {
	if result["resultType"] == nil {
		result["resultType"] = "complete"
	}
	meta, _ := result["_meta"].(object)
	if meta == nil {
		meta = object{}
		result["_meta"] = meta
	}
	meta[metaServerInfo] = c.serverInfo()
}

// listen answers subscriptions/listen: it acknowledges, and stays open until the
// client cancels or the input ends.
func (c *conn) listen(ctx context.Context, k *call, want *interest) (object, error) {
	if want == nil {
		return nil, invalid("params.notifications must say what to listen for")
	}
	if len(want.URIs) > maxWatched {
		return nil, invalid("at most %d resources can be listened to in one request", maxWatched)
	}
	ends, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &listen{id: k.id, cancel: cancel, acked: make(chan struct{}), uris: map[string]bool{}}
	honoured := interest{}
	if c.offer.resources != nil {
		l.lists, honoured.Resources = want.Resources, want.Resources
		for _, uri := range want.URIs {
			l.uris[uri] = true
		}
		honoured.URIs = want.URIs
	}
	meta := object{metaSubscription: k.id}
	// Known before it is acknowledged, so that whoever has the acknowledgement
	// misses nothing; acked keeps what is to tell behind it.
	c.mu.Lock()
	c.listens[l] = struct{}{}
	c.mu.Unlock()
	c.notify(ctx, "notifications/subscriptions/acknowledged", object{"_meta": meta, "notifications": honoured})
	close(l.acked)
	<-ends.Done()
	c.mu.Lock()
	delete(c.listens, l)
	c.mu.Unlock()
	return object{"_meta": meta}, nil
}

// inputRequired is the error by which a tool says that it has asked the client
// in its result and will be called again with the answer.
type inputRequired struct {
	key      string
	question object
	state    string
}

func (*inputRequired) Error() string { return "the client has to answer first" }

func (q *inputRequired) result() object {
	return object{
		"resultType":    "input_required",
		"inputRequests": object{q.key: q.question},
		"requestState":  q.state,
	}
}
