package wire

import (
	"bytes"
	"unicode/utf8"
)

// maxKeys is how many members an Object can watch.
const maxKeys = 12

// Object is a JSON object that was scanned once: its text, and where the few
// members stand that anybody may read, replace or remove. Edits are kept beside
// the text and applied when it is written, in one pass; whatever is not edited
// is written byte for byte, in its place and order.
//
// The zero Object is an empty object without text. An Object keeps the text it
// was scanned from, which must not change while it is in use. Copying an Object
// copies its edits.
type Object struct {
	raw   Raw
	keys  []string
	spans [maxKeys]span
	total int // members in the text
}

// span is where a watched member stands, and what becomes of it.
type span struct {
	found, set, gone   bool
	comma, start       int32 // as in member
	value, end, follow int32 // follow: start of the next member, or 0 for the last
	replace            Raw
}

// ScanObject checks raw, which must be one JSON object and nothing else, and
// finds the members named by keys (at most 12; the slice is kept). It refuses
// a watched member that stands twice or in a disguised spelling.
func ScanObject(raw Raw, keys []string) (Object, error) {
	if len(keys) > maxKeys {
		panic("wire: an Object cannot watch so many members")
	}
	o := Object{raw: raw, keys: keys}
	prev := -1
	err := walkObject(raw, func(m member) error {
		o.total++
		if prev >= 0 {
			o.spans[prev].follow = int32(m.start)
			prev = -1
		}
		k, err := watched(keys, m)
		if err != nil || k < 0 {
			return err
		}
		if o.spans[k].found {
			return ambiguous("the member %q stands twice", keys[k])
		}
		o.spans[k] = span{
			found: true, comma: int32(m.comma), start: int32(m.start),
			value: int32(m.value), end: int32(m.end),
		}
		prev = k
		return nil
	})
	if err != nil {
		return Object{}, err
	}
	return o, nil
}

// watched finds the member's key among keys: its index, -1 when it is none of
// them, and an error when another reader could take it for one of them.
func watched(keys []string, m member) (int, error) {
	name := m.key
	if m.escaped {
		name, _ = unescape(m.key)
	} else {
		for i, k := range keys {
			if string(name) == k {
				return i, nil
			}
		}
	}
	plain := ascii(name) // then only a name of the same length can be another spelling
	for _, k := range keys {
		if plain && len(name) != len(k) || !bytes.EqualFold(name, []byte(k)) {
			continue
		}
		if m.escaped {
			return -1, ambiguous("the member %q is spelled with escapes", k)
		}
		return -1, ambiguous("the member %q is spelled %q", k, name)
	}
	return -1, nil
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// IsZero reports whether the Object has neither text nor edits.
func (o *Object) IsZero() bool {
	if o.raw != nil {
		return false
	}
	for i := range o.spans {
		if o.spans[i].set {
			return false
		}
	}
	return true
}

func (o *Object) index(key string) int {
	for i, k := range o.keys {
		if k == key {
			return i
		}
	}
	panic("wire: the Object does not watch " + key)
}

// Get returns the value of a watched member, edits included; nil when there is
// none.
func (o *Object) Get(key string) Raw {
	if o.keys == nil {
		return nil
	}
	s := &o.spans[o.index(key)]
	switch {
	case s.set:
		return s.replace
	case s.found && !s.gone:
		return o.raw[s.value:s.end:s.end]
	}
	return nil
}

// Span is where the value of a watched member stands in the text that was
// scanned; 0, 0 when the text has no such member.
func (o *Object) Span(key string) (from, to int) {
	if o.keys == nil {
		return 0, 0
	}
	s := &o.spans[o.index(key)]
	if !s.found {
		return 0, 0
	}
	return int(s.value), int(s.end)
}

// Set gives a watched member a new value: in its place, or at the end when the
// text has no such member. The value must be valid JSON; it is not copied. A nil
// value removes the member.
func (o *Object) Set(key string, value Raw) {
	if value == nil {
		o.Delete(key)
		return
	}
	s := &o.spans[o.index(key)]
	s.set, s.gone, s.replace = true, false, value
}

// Delete removes a watched member.
func (o *Object) Delete(key string) {
	s := &o.spans[o.index(key)]
	s.set, s.gone, s.replace = false, true, nil
}

// Len is the number of members, edits included.
func (o *Object) Len() int {
	n := o.total
	for i := range o.keys {
		switch s := &o.spans[i]; {
		case s.found && s.gone:
			n--
		case !s.found && s.set:
			n++
		}
	}
	return n
}

// Raw is the text with all edits applied. Without edits it is the text the
// Object was scanned from, not a copy.
func (o *Object) Raw() Raw {
	const around = len(`,"":`)
	edited, size := o.raw == nil, len(o.raw)+len("{}")
	for i, k := range o.keys {
		s := &o.spans[i]
		edited = edited || s.set || s.gone && s.found
		if s.set {
			size += around + len(k) + len(s.replace)
		}
	}
	if !edited {
		return o.raw
	}
	return o.AppendTo(make([]byte, 0, size))
}

// AppendTo appends the text with all edits applied.
func (o *Object) AppendTo(dst []byte) []byte {
	if o.raw == nil {
		dst = append(dst, '{')
		return append(o.appendNew(dst, false), '}')
	}
	// Edits in the order in which they stand in the text.
	var order [maxKeys]int
	n := 0
	for i := range o.keys {
		s := &o.spans[i]
		if !s.found || !s.set && !s.gone {
			continue
		}
		at := n
		for ; at > 0 && o.spans[order[at-1]].start > s.start; at-- {
			order[at] = order[at-1]
		}
		order[at] = i
		n++
	}
	pos := int32(0)
	lead := int32(-1) // start of the member behind a run of removed leading members
	left := o.total
	for _, i := range order[:n] {
		s := &o.spans[i]
		switch {
		case s.set:
			dst = append(dst, o.raw[pos:s.value]...)
			dst = append(dst, s.replace...)
			pos = s.end
		case s.comma < 0 || s.start == lead:
			dst = append(dst, o.raw[pos:s.start]...)
			if pos, lead = s.follow, s.follow; pos == 0 {
				pos = s.end
			}
			left--
		default:
			dst = append(dst, o.raw[pos:s.comma]...)
			pos = s.end
			left--
		}
	}
	brace := int32(bytes.LastIndexByte(o.raw, '}'))
	tail := brace
	for tail > pos && isSpace(o.raw[tail-1]) {
		tail--
	}
	dst = append(dst, o.raw[pos:tail]...)
	return append(o.appendNew(dst, left > 0), o.raw[tail:]...)
}

// appendNew appends the members that were set and that the text does not have.
func (o *Object) appendNew(dst []byte, comma bool) []byte {
	for i, k := range o.keys {
		s := &o.spans[i]
		if s.found || !s.set {
			continue
		}
		if comma {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, k)
		dst = append(dst, ':')
		dst = append(dst, s.replace...)
		comma = true
	}
	return dst
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// NewObject is an empty object that can be given the members named by keys.
func NewObject(keys []string) Object {
	if len(keys) > maxKeys {
		panic("wire: an Object cannot watch so many members")
	}
	return Object{keys: keys}
}
