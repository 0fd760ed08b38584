package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Kind says what a message is.
type Kind uint8

// The kinds of message.
const (
	Request      Kind = iota + 1 // has a method and an id
	Notification                 // has a method and no id
	Response                     // has an id and a result or an error
)

// Message is one JSON-RPC 2.0 message: what kind it is and where its members
// stand. The Raw members are slices of the text it was read from.
type Message struct {
	Kind   Kind
	Method string // decoded; empty for a response
	ID     Raw    // exactly as it was written; nil for a notification
	Params Raw    // nil when absent
	Result Raw    // nil unless this is a response that succeeded
	Error  Raw    // nil unless this is a response that failed
}

var envelope = []string{"jsonrpc", "id", "method", "params", "result", "error"}

const (
	envVersion = iota
	envID
	envMethod
	envParams
	envResult
	envError
)

const maxID = 1024 // bytes of a request id

// Parse reads b, which must be exactly one JSON-RPC message. Errors match
// ErrSyntax for text that is not JSON, ErrAmbiguous for a message that JSON-RPC,
// MCP or this package's one reading does not allow, and ErrTooLarge beyond 1 GiB.
// A message that is refused still comes with its id, when it has a usable one
// that stands before whatever is refused, so that its sender can be answered.
// Params that are null count as absent.
//
// Parse copies nothing and does not allocate for the methods that MCP defines.
func Parse(b []byte) (Message, error) {
	var m Message
	var found [6]Raw
	err := walkObject(b, func(e member) error {
		k, err := watched(envelope, e)
		if err != nil || k < 0 {
			return err
		}
		if found[k] != nil {
			found[k] = nil
			return ambiguous("the member %q stands twice", envelope[k])
		}
		found[k] = b[e.value:e.end:e.end]
		return nil
	})
	if err != nil && !errors.Is(err, ErrAmbiguous) {
		return m, err
	}
	if id := found[envID]; id != nil && validID(id) {
		m.ID = id
	}
	if err != nil {
		return m, err
	}
	if string(found[envParams]) == "null" {
		found[envParams] = nil
	}
	return m.classify(&found)
}

func (m Message) classify(found *[6]Raw) (Message, error) {
	if string(found[envVersion]) != `"2.0"` {
		return m, ambiguous(`the member "jsonrpc" is not "2.0"`)
	}
	if found[envMethod] != nil {
		method, ok := methodName(found[envMethod])
		switch {
		case !ok:
			return m, ambiguous("the method is not a string")
		case found[envResult] != nil || found[envError] != nil:
			return m, ambiguous("a method and a result or error in one message")
		case found[envID] != nil && m.ID == nil:
			return m, ambiguous("the id is neither a string nor an integer")
		case found[envParams] != nil && found[envParams][0] != '{':
			return m, ambiguous("params that are not an object")
		}
		m.Method, m.Params, m.Kind = method, found[envParams], Request
		if m.ID == nil {
			m.Kind = Notification
		}
		return m, nil
	}
	switch {
	case found[envResult] == nil && found[envError] == nil:
		return m, ambiguous("neither a method nor a result nor an error")
	case found[envResult] != nil && found[envError] != nil:
		return m, ambiguous("a result and an error in one message")
	case found[envError] != nil && found[envError][0] != '{':
		return m, ambiguous("an error that is not an object")
	case found[envError] != nil && string(found[envID]) == "null":
		m.ID = found[envID] // the answer to something unreadable
	case m.ID == nil:
		return m, ambiguous("a response without a usable id")
	}
	m.Kind, m.Result, m.Error = Response, found[envResult], found[envError]
	return m, nil
}

// validID reports whether raw may identify a request: a string or an integer.
func validID(raw Raw) bool {
	if len(raw) > maxID {
		return false
	}
	if raw[0] == '"' {
		return true
	}
	for _, c := range raw { // a number: without point and exponent, the minus is in front
		if !isDigit(c) && c != '-' {
			return false
		}
	}
	return true
}

// AppendRequest appends a request. id and params must be valid JSON; params may
// be nil.
func AppendRequest(dst []byte, id Raw, method string, params Raw) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = append(dst, id...)
	return appendCall(dst, method, params)
}

// AppendNotification appends a notification. params may be nil.
func AppendNotification(dst []byte, method string, params Raw) []byte {
	dst = append(dst, `{"jsonrpc":"2.0"`...)
	return appendCall(dst, method, params)
}

func appendCall(dst []byte, method string, params Raw) []byte {
	dst = append(dst, `,"method":`...)
	dst = AppendString(dst, method)
	if params != nil {
		dst = append(dst, `,"params":`...)
		dst = append(dst, params...)
	}
	return append(dst, '}')
}

// AppendResult appends the response that succeeded.
func AppendResult(dst []byte, id, result Raw) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = append(dst, id...)
	dst = append(dst, `,"result":`...)
	dst = append(dst, result...)
	return append(dst, '}')
}

// AppendError appends the response that failed. A nil id is written as null.
func AppendError(dst []byte, id Raw, e *Error) []byte {
	if id == nil {
		id = litNull
	}
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = append(dst, id...)
	dst = append(dst, `,"error":`...)
	dst = e.appendTo(dst)
	return append(dst, '}')
}

// AppendInt appends n as the id of a request of our own.
func AppendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

// JSON-RPC error codes: those of JSON-RPC 2.0 and those that MCP gave a meaning.
const (
	CodeParse               = -32700
	CodeInvalidRequest      = -32600
	CodeMethodNotFound      = -32601
	CodeInvalidParams       = -32602
	CodeInternal            = -32603
	CodeResourceNotFound    = -32002 // until 2025-11-25
	CodeHeaderMismatch      = -32020 // 2026-07-28
	CodeMissingCapability   = -32021 // 2026-07-28
	CodeUnsupportedVersion  = -32022 // 2026-07-28
	CodeURLElicitationFirst = -32042 // 2025-11-25
)

// Error is a JSON-RPC error object. One that was received keeps its text and is
// passed on unchanged, unknown members included.
type Error struct {
	Code    int
	Message string
	Data    Raw // nil when absent
	raw     Raw // as received; nil for our own
}

// ParseError reads an error object and keeps its text.
func ParseError(raw Raw) *Error {
	var e struct {
		Code    json.Number `json:"code"`
		Message string      `json:"message"`
		Data    Raw         `json:"data"`
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return &Error{Code: CodeInternal, Message: "the server answered with a malformed error: " + err.Error()}
	}
	code, err := strconv.Atoi(e.Code.String())
	if err != nil {
		code = CodeInternal
	}
	return &Error{Code: code, Message: e.Message, Data: e.Data, raw: raw}
}

// Error is the message with its code.
func (e *Error) Error() string { return fmt.Sprintf("%s (JSON-RPC error %d)", e.Message, e.Code) }

func (e *Error) appendTo(dst []byte) []byte {
	if e.raw != nil {
		return append(dst, e.raw...)
	}
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendInt(dst, int64(e.Code), 10)
	dst = append(dst, `,"message":`...)
	dst = AppendString(dst, e.Message)
	if e.Data != nil {
		dst = append(dst, `,"data":`...)
		dst = append(dst, e.Data...)
	}
	return append(dst, '}')
}

// methodName decodes the method without an allocation for those MCP defines.
func methodName(raw Raw) (string, bool) {
	if len(raw) > 2 && raw[0] == '"' {
		if known, ok := methods[string(raw[1:len(raw)-1])]; ok {
			return known, true
		}
	}
	return String(raw)
}

var methods = func() map[string]string {
	known := []string{
		"initialize", "ping", "server/discover",
		"tools/list", "tools/call", "prompts/list", "prompts/get",
		"resources/list", "resources/templates/list", "resources/read",
		"resources/subscribe", "resources/unsubscribe", "subscriptions/listen",
		"completion/complete", "logging/setLevel",
		"sampling/createMessage", "elicitation/create", "roots/list",
		"notifications/initialized", "notifications/cancelled", "notifications/progress",
		"notifications/message", "notifications/roots/list_changed",
		"notifications/tools/list_changed", "notifications/prompts/list_changed",
		"notifications/resources/list_changed", "notifications/resources/updated",
		"notifications/subscriptions/acknowledged", "notifications/elicitation/complete",
	}
	m := make(map[string]string, len(known))
	for _, k := range known {
		m[k] = k
	}
	return m
}()
