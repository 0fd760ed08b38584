package document

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ParseJSON makes the tree of a JSON text that is no file of this machine. It
// returns nil when there is something wrong with the syntax, which is then in the
// report.
func ParseJSON(src []byte, r *Report) *Node {
	if !utf8.Valid(src) {
		r.Fault(Pos{}, "this is not UTF-8", "send it as UTF-8")
		return nil
	}
	if n := quickJSON(src); n != nil {
		return n
	}
	return parseJSON(src, r)
}

// AppendJSON appends the tree as JSON, with the keys in the order in which they
// were written. It is for trees that were read from JSON.
func (n *Node) AppendJSON(b []byte) []byte {
	if n == nil {
		return append(b, "null"...)
	}
	switch n.Kind {
	case String:
		return appendString(b, n.Text)
	case Bool, Number:
		return append(b, n.Text...)
	case List:
		b = append(b, '[')
		for i, item := range n.Items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.AppendJSON(b)
		}
		return append(b, ']')
	case Map:
		b = append(b, '{')
		for i, f := range n.Fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, f.Key), ':')
			b = f.Value.AppendJSON(b)
		}
		return append(b, '}')
	case Null:
	}
	return append(b, "null"...)
}

func appendString(b []byte, s string) []byte {
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // text cannot fail
	return append(b, strings.TrimSuffix(out.String(), "\n")...)
}

// Paths names the places of a tree as its keys lead to them, such as
// headers.Authorization or args[2]. A key stands where its entry begins, a value
// where the value does.
func (n *Node) Paths() map[Pos]string {
	paths := map[Pos]string{}
	n.paths("", paths)
	return paths
}

func (n *Node) paths(at string, into map[Pos]string) {
	if n == nil {
		return
	}
	if _, known := into[n.Pos]; !known {
		into[n.Pos] = at
	}
	for i, item := range n.Items {
		item.paths(fmt.Sprintf("%s[%d]", at, i), into)
	}
	for _, f := range n.Fields {
		path := f.Key
		if at != "" {
			path = at + "." + f.Key
		}
		into[f.Pos] = path
		f.Value.paths(path, into)
	}
}
