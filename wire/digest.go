package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// Digest is a SHA-256 over what an object says, not over how it is written.
type Digest [sha256.Size]byte

// DigestObject digests the object raw without the members named by except.
// White space, the order of members and the spelling of strings make no
// difference; the text of a number does, because 1 and 1.0 may mean different
// things to a server. Nil is an empty object. Errors are those of ScanObject.
//
// The digest is over a binary form: every object and array stands for itself by
// its own digest, members sorted by name. So the work grows with the length of
// the text and with nothing else.
func DigestObject(raw Raw, except ...string) (Digest, error) {
	if raw == nil {
		raw = Raw("{}")
	}
	if _, err := ScanObject(raw, nil); err != nil {
		return Digest{}, err
	}
	d := digester{text: raw}
	_, sum := d.object(skipSpace(raw, 0), except)
	return sum, nil
}

// digester walks text that was scanned, so it meets no errors.
type digester struct {
	text []byte
	form []byte // what is written of the objects and arrays that are open
}

// value appends the form of the value at text[i] and returns the index behind
// it.
func (d *digester) value(i int) int {
	switch c := d.text[i]; c {
	case '{':
		end, sum := d.object(i, nil)
		d.form = append(append(d.form, '{'), sum[:]...)
		return end
	case '[':
		end, sum := d.array(i)
		d.form = append(append(d.form, '['), sum[:]...)
		return end
	case '"':
		return d.string(i)
	default:
		end, _ := skipScalar(d.text, i)
		d.form = append(d.form, d.text[i:end]...)
		d.form = append(d.form, ',')
		return end
	}
}

func (d *digester) string(i int) int {
	end, escaped, _ := skipString(d.text, i)
	s := d.text[i+1 : end-1]
	if escaped {
		s, _ = unescape(s)
	}
	d.form = append(d.form, '"')
	d.form = binary.AppendUvarint(d.form, uint64(len(s)))
	d.form = append(d.form, s...)
	return end
}

func (d *digester) array(i int) (int, Digest) {
	base := len(d.form)
	for i = skipSpace(d.text, i+1); d.text[i] != ']'; {
		i = skipSpace(d.text, d.value(i))
		if d.text[i] == ',' {
			i = skipSpace(d.text, i+1)
		}
	}
	sum := sha256.Sum256(d.form[base:])
	d.form = d.form[:base]
	return i + 1, sum
}

func (d *digester) object(i int, except []string) (int, Digest) {
	type member struct{ start, value, end int } // in form
	var members []member
	base := len(d.form)
	for i = skipSpace(d.text, i+1); d.text[i] != '}'; {
		_, key, _, _ := skipKey(d.text, i)
		m := member{start: len(d.form)}
		i = d.string(i)
		m.value = len(d.form)
		i = skipSpace(d.text, skipSpace(d.text, i)+1) // over the colon
		i = skipSpace(d.text, d.value(i))
		m.end = len(d.form)
		if !excepted(key, except) {
			members = append(members, m)
		}
		if d.text[i] == ',' {
			i = skipSpace(d.text, i+1)
		}
	}
	// A name that stands twice keeps its order: the two may mean different things.
	slices.SortStableFunc(members, func(a, b member) int {
		return bytes.Compare(d.form[a.start:a.value], d.form[b.start:b.value])
	})
	hash := sha256.New()
	for _, m := range members {
		hash.Write(d.form[m.start:m.end])
	}
	d.form = d.form[:base]
	var sum Digest
	hash.Sum(sum[:0])
	return i + 1, sum
}

// excepted reports whether the key, between its quotes, is one of names.
func excepted(key []byte, names []string) bool {
	if len(names) == 0 {
		return false
	}
	name, _ := unescape(key)
	return slices.Contains(names, string(name))
}
