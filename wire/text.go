package wire

import (
	"bytes"
	"unicode/utf16"
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

// String decodes raw as a JSON string. ok is false when it is something else,
// and for a string with half of a surrogate pair in it, which every language
// reads in its own way.
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
	b, whole := unescape(raw[1 : end-1])
	return string(b), whole
}

// unescape decodes the inside of a JSON string that skipString accepted.
// Half of a surrogate pair is written as if it were a whole character, which no
// UTF-8 text can hold, and makes whole false.
func unescape(inside []byte) (out []byte, whole bool) {
	whole = true
	for {
		i := bytes.IndexByte(inside, '\\')
		if i < 0 {
			return append(out, inside...), whole
		}
		out = append(out, inside[:i]...)
		c := inside[i+1]
		inside = inside[i+2:]
		switch c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(inside)
			inside = inside[4:]
			if utf16.IsSurrogate(r) {
				pair := utf8.RuneError
				if len(inside) >= 6 && inside[0] == '\\' && inside[1] == 'u' {
					pair = utf16.DecodeRune(r, hex4(inside[2:]))
				}
				if pair == utf8.RuneError {
					whole = false
					out = append(out, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
					continue
				}
				r, inside = pair, inside[6:]
			}
			out = utf8.AppendRune(out, r)
		default: // a quote, a slash or a backslash
			out = append(out, c)
		}
	}
}

// hex4 reads four hex digits.
func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= 'a':
			c -= 'a' - 10
		case c >= 'A':
			c -= 'A' - 10
		default:
			c -= '0'
		}
		r = r<<4 | rune(c)
	}
	return r
}
