package document

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// quickJSON reads plain JSON without a fault in it, as parseJSON does, in a fraction
// of the time: a store may hold ten thousand documents. It returns nil for all else,
// which parseJSON then has the words for.
func quickJSON(src []byte) *Node {
	p := quickParser{src: src, at: Pos{1, 1}}
	n := p.value(0)
	if n == nil || p.next() != 0 || p.i < len(src) {
		return nil
	}
	return n
}

type quickParser struct {
	src []byte
	i   int

	at   Pos // of the byte at done
	done int
}

// next is the byte that the next token begins with; 0 at the end.
func (p *quickParser) next() byte {
	for ; p.i < len(p.src); p.i++ {
		switch c := p.src[p.i]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// pos is where the next byte stands.
func (p *quickParser) pos() Pos {
	between := p.src[p.done:p.i]
	if line := bytes.LastIndexByte(between, '\n'); line >= 0 {
		p.at.Line += bytes.Count(between, []byte("\n"))
		p.at.Column = 1
		between = between[line+1:]
	}
	p.at.Column += utf8.RuneCount(between)
	p.done = p.i
	return p.at
}

// value reads a value. It returns nil for what it does not know.
func (p *quickParser) value(depth int) *Node {
	c := p.next()
	n := &Node{Pos: p.pos(), size: 1}
	switch c {
	case '{', '[':
		if depth == maxDepth || !p.nested(n, c, depth) {
			return nil
		}
	case '"':
		text, ok := p.text()
		if !ok {
			return nil
		}
		n.Kind, n.Text = String, text
	default:
		start := p.i
		for p.i < len(p.src) && bytes.IndexByte([]byte(" \t\r\n,]}"), p.src[p.i]) < 0 {
			p.i++
		}
		n.Text = string(p.src[start:p.i])
		switch {
		case n.Text == "null":
			n.Text = ""
		case n.Text == "true" || n.Text == "false":
			n.Kind = Bool
		case json.Valid(p.src[start:p.i]):
			n.Kind = Number
		default:
			return nil
		}
	}
	return n
}

// nested reads what is between braces or brackets.
func (p *quickParser) nested(n *Node, open byte, depth int) bool {
	const few = 32 // keys, until which it is quick to compare each with each
	n.Kind = List
	end := byte(']')
	if open == '{' {
		n.Kind, end = Map, '}'
	}
	p.i++
	for first := true; ; first = false {
		switch c := p.next(); {
		case c == end:
			p.i++
			return true
		case !first && c != ',':
			return false
		case !first:
			p.i++
			if p.next() == end {
				return false // a comma before it
			}
		}
		if n.Kind == List {
			v := p.value(depth + 1)
			if v == nil {
				return false
			}
			n.Items, n.size = append(n.Items, v), n.size+v.size
			continue
		}
		f, ok := p.field(depth)
		if _, twice := n.Field(f.Key); !ok || twice || len(n.Fields) == few {
			return false
		}
		n.Fields, n.size = append(n.Fields, f), n.size+f.Value.size
	}
}

// field reads one entry of a map.
func (p *quickParser) field(depth int) (f Field, ok bool) {
	if p.next() != '"' {
		return f, false
	}
	f.Pos = p.pos()
	if f.Key, ok = p.text(); !ok || p.next() != ':' {
		return f, false
	}
	p.i++
	f.Value = p.value(depth + 1)
	return f, f.Value != nil
}

// text reads a string.
func (p *quickParser) text() (string, bool) {
	start := p.i
	escaped := false
	for p.i++; p.i < len(p.src) && p.src[p.i] != '"'; p.i++ {
		switch c := p.src[p.i]; {
		case c < ' ':
			return "", false
		case c == '\\':
			escaped = true
			p.i++
		}
	}
	if p.i >= len(p.src) {
		return "", false
	}
	p.i++
	if !escaped {
		return string(p.src[start+1 : p.i-1]), true
	}
	var out string
	err := json.Unmarshal(p.src[start:p.i], &out)
	return out, err == nil
}
