package wire

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// The HTTP headers of MCP, in the spelling of net/http.
const (
	HeaderMethod          = "Mcp-Method"           // 2026-07-28: the message's method
	HeaderName            = "Mcp-Name"             // 2026-07-28: params.name, or params.uri for resources/read; may be encoded
	HeaderProtocolVersion = "Mcp-Protocol-Version" // since 2025-06-18
	HeaderSession         = "Mcp-Session-Id"       // 2025-03-26 to 2025-11-25
	HeaderLastEventID     = "Last-Event-Id"        // 2025-03-26 to 2025-11-25
	HeaderParamPrefix     = "Mcp-Param-"           // 2026-07-28: arguments that a tool's schema mirrors with x-mcp-header
)

const (
	encodedPrefix = "=?base64?"
	encodedSuffix = "?="
)

// EncodeHeaderValue writes s as the value of Mcp-Name or of an Mcp-Param
// header: as it is when it is printable ASCII, else as =?base64?…?=
// (2026-07-28, Streamable HTTP, header encoding).
func EncodeHeaderValue(s string) string {
	plain := !isEncoded(s) && strings.TrimSpace(s) == s
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= ' ' && s[i] <= '~'
	}
	if plain {
		return s
	}
	return encodedPrefix + base64.StdEncoding.EncodeToString([]byte(s)) + encodedSuffix
}

func isEncoded(s string) bool {
	return len(s) >= len(encodedPrefix)+len(encodedSuffix) &&
		strings.HasPrefix(s, encodedPrefix) && strings.HasSuffix(s, encodedSuffix)
}

// DecodeHeaderValue reads the value of Mcp-Name or of an Mcp-Param header. It
// fails for an encoded value that is not proper base64; everything that is not
// marked as encoded stands for itself.
func DecodeHeaderValue(value string) (string, error) {
	value = strings.Trim(value, " \t")
	if !isEncoded(value) {
		return value, nil
	}
	inside := value[len(encodedPrefix) : len(value)-len(encodedSuffix)]
	b, err := base64.StdEncoding.Strict().DecodeString(inside)
	if err != nil || strings.ContainsAny(inside, "\r\n") {
		return "", fmt.Errorf("%w: a header value marked as base64 that is not base64", ErrSyntax)
	}
	return string(b), nil
}

// NamedBy is the member of params whose text Mcp-Name repeats for a method; empty:
// the method has none (2026-07-28, basic/transports/streamable-http).
func NamedBy(method string) string {
	switch method {
	case "tools/call", "prompts/get":
		return "name"
	case "resources/read":
		return "uri"
	case "tasks/get", "tasks/update", "tasks/cancel":
		return "taskId"
	}
	return ""
}

// Argument is the argument of a tool at path, in the params of tools/call; nil when
// there is none. Errors match ErrSyntax or ErrAmbiguous.
func Argument(params Raw, path []string) (Raw, error) {
	at := params
	for i := -1; i < len(path); i++ {
		key := "arguments"
		if i >= 0 {
			key = path[i]
		}
		if len(at) == 0 || at[0] != '{' {
			return nil, nil
		}
		o, err := ScanObject(at, []string{key})
		if err != nil {
			return nil, err
		}
		at = o.Get(key)
	}
	return at, nil
}

// HeaderParam is how an argument travels in its Mcp-Param header: a string
// encoded as EncodeHeaderValue does it, a number or boolean as its own text. ok
// is false for everything that has no header: null, nil, arrays and objects.
func HeaderParam(arg Raw) (value string, ok bool) {
	if len(arg) == 0 {
		return "", false
	}
	switch c := arg[0]; {
	case c == '"':
		s, ok := String(arg)
		return EncodeHeaderValue(s), ok
	case c == '-', isDigit(c), c == 't', c == 'f':
		return string(arg), true
	}
	return "", false
}

// HeaderParamMatches reports whether the value of an Mcp-Param header says the
// same as the argument that it mirrors. Numbers are compared as numbers: 42 and
// 42.0 are the same.
func HeaderParamMatches(value string, arg Raw) bool {
	decoded, err := DecodeHeaderValue(value)
	if err != nil || len(arg) == 0 {
		return false
	}
	switch c := arg[0]; {
	case c == '"':
		s, ok := String(arg)
		return ok && s == decoded
	case c == '-', isDigit(c):
		a, okA := parseDecimal(decoded)
		b, okB := parseDecimal(string(arg))
		return okA && okB && a == b
	case c == 't', c == 'f':
		return decoded == string(arg)
	}
	return false
}

// decimal is a number in its one normal form: ±digits × 10^exp, where digits
// neither begins nor ends with a zero and is empty for zero.
type decimal struct {
	negative bool
	digits   string
	exp      int
}

// parseDecimal reads a number as JSON writes it. It refuses exponents beyond
// nine digits.
func parseDecimal(s string) (decimal, bool) {
	if s == "" || s[0] != '-' && !isDigit(s[0]) {
		return decimal{}, false
	}
	if end, err := skipNumber([]byte(s), 0); err != nil || end != len(s) {
		return decimal{}, false
	}
	d := decimal{}
	s, d.negative = strings.CutPrefix(s, "-")
	if e := strings.IndexAny(s, "eE"); e >= 0 {
		exp, err := strconv.ParseInt(s[e+1:], 10, 32)
		if err != nil {
			return decimal{}, false
		}
		s, d.exp = s[:e], int(exp)
	}
	whole, fraction, _ := strings.Cut(s, ".")
	d.exp -= len(fraction)
	d.digits = strings.TrimLeft(whole+fraction, "0")
	trimmed := strings.TrimRight(d.digits, "0")
	d.exp += len(d.digits) - len(trimmed)
	if d.digits = trimmed; d.digits == "" {
		return decimal{}, true
	}
	return d, true
}
