package gateway

import (
	"encoding/json"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

const (
	metaServerInfo     = "io.modelcontextprotocol/serverInfo"
	metaSubscriptionID = "io.modelcontextprotocol/subscriptionId"
)

var (
	resultKeys     = []string{"resultType", "ttlMs", "cacheScope", "_meta", "requestState"}
	serverInfoKeys = []string{metaServerInfo}
	listenKeys     = []string{metaSubscriptionID}
)

// cacheable are the methods whose results must say how long they hold and for
// whom (2026-07-28, server/utilities/caching).
func cacheable(method string) bool {
	switch method {
	case "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read", "server/discover":
		return true
	}
	return false
}

// asksBack are the methods that may end in questions (2026-07-28,
// basic/patterns/mrtr).
func asksBack(method string) bool {
	return method == "tools/call" || method == "prompts/get" || method == "resources/read"
}

func malformed(err error) error {
	return jackfield.Errorf(jackfield.Internal, "the server answered with something that is not a valid result: %w", err)
}

// legacyResult takes out of a result what only modern clients know.
func legacyResult(res exchange.Result) (wire.Raw, error) {
	if !res.Modern {
		return res.Raw, nil
	}
	if res.Bare != nil {
		return res.Bare(), nil
	}
	o, err := wire.ScanObject(res.Raw, resultKeys)
	if err != nil {
		return nil, malformed(err)
	}
	o.Delete("resultType")
	o.Delete("ttlMs")
	o.Delete("cacheScope")
	return o.Raw(), nil
}

// modernResult puts into a legacy server's result what modern clients must find
// in every one. info is who answers.
func modernResult(res exchange.Result, method string, info wire.Raw) (wire.Raw, error) {
	if res.Modern {
		return res.Raw, nil
	}
	o, err := wire.ScanObject(res.Raw, resultKeys)
	if err != nil {
		return nil, malformed(err)
	}
	o.Set("resultType", wire.Raw(`"complete"`))
	if cacheable(method) {
		if o.Get("ttlMs") == nil {
			o.Set("ttlMs", wire.Raw("0"))
		}
		if o.Get("cacheScope") == nil {
			o.Set("cacheScope", wire.Raw(`"private"`))
		}
	}
	meta := wire.NewObject(serverInfoKeys)
	if raw := o.Get("_meta"); raw != nil {
		if meta, err = wire.ScanObject(raw, serverInfoKeys); err != nil {
			return nil, malformed(err)
		}
	}
	if meta.Get(metaServerInfo) == nil {
		meta.Set(metaServerInfo, info)
		o.Set("_meta", meta.Raw())
	}
	return o.Raw(), nil
}

// modernError puts a server's error into what a modern client may see: -32002 is
// gone from the 2026-07-28 revision, and of -32020 to -32099 only its own codes are
// allowed (basic, error codes). An older server means something of its own by those,
// but for one that says in full which capability it misses.
func modernError(e *wire.Error, fromModern bool) *wire.Error {
	switch {
	case e.Code == wire.CodeResourceNotFound:
		return &wire.Error{Code: wire.CodeInvalidParams, Message: e.Message, Data: e.Data}
	case fromModern, e.Code == wire.CodeMissingCapability && namesCapabilities(e.Data):
		return e
	case e.Code <= -32020 && e.Code >= -32099:
		return &wire.Error{Code: wire.CodeInternal, Message: e.Message, Data: e.Data}
	}
	return e
}

// namesCapabilities reports whether the data of an error names capabilities in the
// way of 2026-07-28.
func namesCapabilities(data wire.Raw) bool {
	var d struct {
		Required map[string]wire.Raw `json:"requiredCapabilities"`
	}
	return json.Unmarshal(data, &d) == nil && len(d.Required) > 0
}
