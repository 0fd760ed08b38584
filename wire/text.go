package wire

import (
	"encoding/json"
	"unicode/utf8"
)

// AppendString appends s as a JSON string. Only what must be escaped is; text
// that is not UTF-8 gets U+FFFD in its place, as encoding/json does it.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[from:i]...)
				dst = append(dst, "\uFFFD"...)
				from = i + 1
			}
			i += n
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// String decodes raw as a JSON string; ok is false when it is something else.
func String(raw Raw) (s string, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	end, escaped, err := skipString(raw, 0)
	if err != nil || end != len(raw) {
		return "", false
	}
	if !escaped {
		return string(raw[1 : end-1]), true
	}
	b, err := unquote(raw[1 : end-1])
	return string(b), err == nil
}

// unquote decodes the inside of a JSON string that has escapes.
func unquote(inside []byte) ([]byte, error) {
	quoted := make([]byte, 0, len(inside)+2)
	quoted = append(quoted, '"')
	quoted = append(quoted, inside...)
	quoted = append(quoted, '"')
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return nil, syntaxError(0, "a malformed string")
	}
	return []byte(s), nil
}
