package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
)

// Digest is a SHA-256 over what an object says, not over how it is written.
type Digest [sha256.Size]byte

// DigestObject digests the object raw without the members named by except.
// White space, the order of members and the spelling of strings make no
// difference; the text of a number does, because 1 and 1.0 may mean different
// things to a server. A nil raw is an empty object. It refuses an object, at
// any level, that has a member twice.
func DigestObject(raw Raw, except ...string) (Digest, error) {
	if raw == nil {
		raw = Raw("{}")
	}
	text, err := appendCanonical(nil, raw, except)
	if err != nil {
		return Digest{}, err
	}
	return sha256.Sum256(text), nil
}

func appendCanonical(dst []byte, raw Raw, except []string) ([]byte, error) {
	// Scanning first gives encoding/json nothing that the scanner would refuse.
	if _, err := ScanObject(raw, nil); err != nil {
		return nil, err
	}
	c := canonical{dec: json.NewDecoder(bytes.NewReader(raw))}
	c.dec.UseNumber()
	return c.appendValue(dst, except)
}

type canonical struct{ dec *json.Decoder }

func (c canonical) appendValue(dst []byte, except []string) ([]byte, error) {
	token, err := c.dec.Token()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	switch t := token.(type) {
	case string:
		return AppendString(dst, t), nil
	case json.Number:
		return append(dst, t...), nil
	case bool:
		if t {
			return append(dst, litTrue...), nil
		}
		return append(dst, litFalse...), nil
	case json.Delim:
		if t == '{' {
			return c.appendObject(dst, except)
		}
		return c.appendArray(dst)
	}
	return append(dst, litNull...), nil
}

func (c canonical) appendArray(dst []byte) ([]byte, error) {
	dst = append(dst, '[')
	for n := 0; c.dec.More(); n++ {
		if n > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = c.appendValue(dst, nil); err != nil {
			return nil, err
		}
	}
	_, err := c.dec.Token() // the closing bracket
	return append(dst, ']'), err
}

func (c canonical) appendObject(dst []byte, except []string) ([]byte, error) {
	type entry struct {
		key  string
		text []byte // key, colon and value
	}
	var entries []entry
	for c.dec.More() {
		token, err := c.dec.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
		}
		key, _ := token.(string)
		text := append(AppendString(nil, key), ':')
		if text, err = c.appendValue(text, nil); err != nil {
			return nil, err
		}
		entries = append(entries, entry{key, text})
	}
	if _, err := c.dec.Token(); err != nil { // the closing brace
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return bytes.Compare([]byte(a.key), []byte(b.key)) })
	dst = append(dst, '{')
	comma := false
	for i, e := range entries {
		if i > 0 && e.key == entries[i-1].key {
			return nil, ambiguous("the member %q stands twice", e.key)
		}
		if slices.Contains(except, e.key) {
			continue
		}
		if comma {
			dst = append(dst, ',')
		}
		dst = append(dst, e.text...)
		comma = true
	}
	return append(dst, '}'), nil
}
