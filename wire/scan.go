package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// Raw is JSON text that nobody has decoded: one value, exactly as it came.
type Raw []byte

// MarshalJSON returns the text itself.
func (r Raw) MarshalJSON() ([]byte, error) {
	if r == nil {
		return []byte("null"), nil
	}
	return r, nil
}

// UnmarshalJSON keeps a copy of the text.
func (r *Raw) UnmarshalJSON(b []byte) error {
	*r = append((*r)[:0], b...)
	return nil
}

// MaxDepth is how deep arrays and objects may nest in a message.
const MaxDepth = 512

// maxText is how long a text may be: positions are kept in 32 bits.
const maxText = 1 << 30

// The two ways in which text can be refused.
var (
	// ErrSyntax: the text is not one JSON value (JSON-RPC -32700).
	ErrSyntax = errors.New("not valid JSON")
	// ErrAmbiguous: valid JSON that two readers could read differently, or that
	// is not what the protocol allows in this place (JSON-RPC -32600).
	ErrAmbiguous = errors.New("not an acceptable message")
)

func syntaxError(at int, what string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrSyntax, what, at)
}

func ambiguous(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrAmbiguous, fmt.Sprintf(format, args...))
}

// skipSpace returns the index of the first byte at or after i that is not white
// space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// skipString returns the index behind the string that begins with the quote at
// b[i], and whether it has escapes. It looks at eight bytes at a time and stops
// only at those that mean something.
func skipString(b []byte, i int) (end int, escaped bool, err error) {
	start := i
	stop := uint64(highs) // bytes beyond ASCII stop the scan until the first was seen
	for i++; ; i++ {
		for len(b)-i >= 8 {
			hit := special(binary.LittleEndian.Uint64(b[i:]), stop)
			if hit != 0 {
				i += bits.TrailingZeros64(hit) / 8
				break
			}
			i += 8
		}
		if i >= len(b) {
			return 0, false, syntaxError(start, "an unfinished string")
		}
		switch c := b[i]; {
		case c == '"':
			if stop == 0 && !utf8.Valid(b[start+1:i]) {
				return 0, false, syntaxError(start, "a string that is not UTF-8")
			}
			return i + 1, escaped, nil
		case c == '\\':
			escaped = true
			if i, err = skipEscape(b, i); err != nil {
				return 0, false, err
			}
		case c < ' ':
			return 0, false, syntaxError(i, "a control character in a string")
		case c >= utf8.RuneSelf:
			stop = 0
		}
	}
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks, with its highest bit, each byte of w that is a quote, a
// backslash or a control character, and those whose bit is set in stop. Marks
// above the lowest may be wrong.
func special(w, stop uint64) uint64 {
	quote, slash := w^ones*'"', w^ones*'\\'
	return ((quote-ones)&^quote|(slash-ones)&^slash|(w-ones*' ')&^w)&highs | w&stop
}

// skipEscape returns the index of the last byte of the escape that begins with
// the backslash at b[i].
func skipEscape(b []byte, i int) (int, error) {
	if i++; i >= len(b) {
		return 0, syntaxError(i, "an unfinished string")
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i, nil
	case 'u':
		if len(b)-i > 4 && isHex(b[i+1]) && isHex(b[i+2]) && isHex(b[i+3]) && isHex(b[i+4]) {
			return i + 4, nil
		}
		return 0, syntaxError(i, `a \u escape without four hex digits`)
	}
	return 0, syntaxError(i, "an unknown escape")
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// skipNumber returns the index behind the number that begins at b[i].
func skipNumber(b []byte, i int) (int, error) {
	start := i
	digits := func() bool {
		from := i
		for i < len(b) && isDigit(b[i]) {
			i++
		}
		return i > from
	}
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if !digits() {
		return 0, syntaxError(start, "a malformed number")
	}
	if i < len(b) && b[i] == '.' {
		if i++; !digits() {
			return 0, syntaxError(start, "a malformed number")
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return 0, syntaxError(start, "a malformed number")
		}
	}
	return i, nil
}

var (
	litTrue  = []byte("true")
	litFalse = []byte("false")
	litNull  = []byte("null")
)

// skipScalar returns the index behind the string, number or literal at b[i].
func skipScalar(b []byte, i int) (int, error) {
	if i >= len(b) {
		return 0, syntaxError(i, "the end of the text where a value should begin")
	}
	var lit []byte
	switch c := b[i]; {
	case c == '"':
		end, _, err := skipString(b, i)
		return end, err
	case c == '-' || isDigit(c):
		return skipNumber(b, i)
	case c == 't':
		lit = litTrue
	case c == 'f':
		lit = litFalse
	case c == 'n':
		lit = litNull
	}
	if lit == nil || !bytes.HasPrefix(b[i:], lit) {
		return 0, syntaxError(i, "something that is not a value")
	}
	return i + len(lit), nil
}

// skipValue returns the index behind the value that begins at b[i], which is
// already depth levels deep.
func skipValue(b []byte, i, depth int) (int, error) {
	var inObject [MaxDepth/64 + 1]uint64
	base := depth
	for {
		// A value is due at b[i].
		if i >= len(b) {
			return 0, syntaxError(i, "the end of the text where a value should begin")
		}
		opened := false
		switch b[i] {
		case '{', '[':
			if depth++; depth > MaxDepth {
				return 0, ambiguous("nested deeper than %d levels at byte %d", MaxDepth, i)
			}
			bit := uint64(1) << (depth % 64)
			if b[i] == '{' {
				inObject[depth/64] |= bit
			} else {
				inObject[depth/64] &^= bit
			}
			closing := b[i] + 2 // '{'+2 == '}', '['+2 == ']'
			i = skipSpace(b, i+1)
			if i < len(b) && b[i] == closing {
				i++
				depth--
			} else {
				opened = true
			}
		default:
			end, err := skipScalar(b, i)
			if err != nil {
				return 0, err
			}
			i = end
		}
		// Behind a value: close what ends here, then find the next one.
		for !opened {
			if depth == base {
				return i, nil
			}
			object := inObject[depth/64]&(1<<(depth%64)) != 0
			i = skipSpace(b, i)
			if i >= len(b) {
				return 0, syntaxError(i, "the end of the text inside an object or array")
			}
			switch {
			case b[i] == ',':
				i = skipSpace(b, i+1)
				opened = true
			case object && b[i] == '}', !object && b[i] == ']':
				i++
				depth--
			default:
				return 0, syntaxError(i, "something that is neither a comma nor a closing bracket")
			}
		}
		if inObject[depth/64]&(1<<(depth%64)) != 0 {
			next, _, _, err := skipKey(b, i)
			if err != nil {
				return 0, err
			}
			i = next
		}
	}
}

// skipKey reads the key at b[i] and its colon, and returns the index of the
// value, the key between its quotes, and whether it is spelled with escapes.
func skipKey(b []byte, i int) (value int, key []byte, escaped bool, err error) {
	if i >= len(b) || b[i] != '"' {
		return 0, nil, false, syntaxError(i, "something that is not a key")
	}
	end, escaped, err := skipString(b, i)
	if err != nil {
		return 0, nil, false, err
	}
	key = b[i+1 : end-1]
	i = skipSpace(b, end)
	if i >= len(b) || b[i] != ':' {
		return 0, nil, false, syntaxError(i, "a key without a colon")
	}
	return skipSpace(b, i+1), key, escaped, nil
}

// member is one member of an object, by position.
type member struct {
	comma   int // index of the comma before it, -1 for the first member
	start   int // index of the key's opening quote
	value   int // index of the value's first byte
	end     int // index behind the value
	key     []byte
	escaped bool
}

// walkObject calls visit for each member of b, which must be one object and
// nothing else, until visit refuses one. The walk itself goes on to the end even
// then, so that text that is not JSON is called that and nothing else.
func walkObject(b []byte, visit func(member) error) error {
	if len(b) > maxText {
		return tooLarge("a message", maxText)
	}
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '{' {
		return notObject(b, i)
	}
	var refused error
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return nothingBehind(b, i+1)
	}
	for comma := -1; ; {
		value, key, escaped, err := skipKey(b, i)
		if err != nil {
			return err
		}
		end, err := skipValue(b, value, 1)
		if err != nil {
			return err
		}
		if refused == nil {
			refused = visit(member{comma: comma, start: i, value: value, end: end, key: key, escaped: escaped})
		}
		i = skipSpace(b, end)
		switch {
		case i >= len(b):
			return syntaxError(i, "the end of the text inside an object")
		case b[i] == '}':
			if err := nothingBehind(b, i+1); err != nil {
				return err
			}
			return refused
		case b[i] != ',':
			return syntaxError(i, "something that is neither a comma nor a closing brace")
		}
		comma = i
		i = skipSpace(b, i+1)
	}
}

// notObject says what b is, whose first value, at i, is not an object.
func notObject(b []byte, i int) error {
	end, err := skipValue(b, i, 0)
	if err == nil {
		err = nothingBehind(b, end)
	}
	if err == nil {
		err = ambiguous("not an object")
	}
	return err
}

func nothingBehind(b []byte, i int) error {
	if i = skipSpace(b, i); i < len(b) {
		return syntaxError(i, "something behind the end of the message")
	}
	return nil
}

// SplitArray returns the elements of raw, which must be one array and nothing
// else, each as it is written: the messages of a batch (2025-03-26), the items of
// a list. Anything else is refused with an error that matches ErrSyntax or
// ErrAmbiguous.
func SplitArray(raw Raw) ([]Raw, error) {
	i := skipSpace(raw, 0)
	if i >= len(raw) || raw[i] != '[' {
		if err := notObject(raw, i); errors.Is(err, ErrSyntax) {
			return nil, err
		}
		return nil, ambiguous("not an array")
	}
	elements := []Raw{}
	i = skipSpace(raw, i+1)
	if i < len(raw) && raw[i] == ']' {
		if err := nothingBehind(raw, i+1); err != nil {
			return nil, err
		}
		return elements, nil
	}
	for {
		end, err := skipValue(raw, i, 1)
		if err != nil {
			return nil, err
		}
		elements = append(elements, raw[i:end:end])
		i = skipSpace(raw, end)
		switch {
		case i >= len(raw):
			return nil, syntaxError(i, "the end of the text inside an array")
		case raw[i] == ']':
			if err := nothingBehind(raw, i+1); err != nil {
				return nil, err
			}
			return elements, nil
		case raw[i] != ',':
			return nil, syntaxError(i, "something that is neither a comma nor a closing bracket")
		}
		i = skipSpace(raw, i+1)
	}
}
