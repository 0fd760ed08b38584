package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDepth bounds the nesting of lists and maps, which is 5 in a sensible file.
const maxDepth = 64

// parseJSON reads JSON, with the comments and trailing commas that editors
// allow in their settings.
func parseJSON(src []byte, r *Report) *Node {
	src = plainJSON(src)
	if len(bytes.TrimSpace(src)) == 0 {
		return &Node{Pos: Pos{Line: 1, Column: 1}, size: 1}
	}
	p := &jsonParser{src: src, dec: json.NewDecoder(bytes.NewReader(src)), report: r, at: Pos{1, 1}}
	p.dec.UseNumber()
	n := p.value(0)
	if n == nil {
		return nil
	}
	if at, more := p.skip(); more {
		r.Fault(at, "something follows the end of the JSON value", "remove it: a file holds one value")
		return nil
	}
	if len(p.report.Faults()) > 0 {
		return nil
	}
	return n
}

// plainJSON blanks comments and trailing commas, so that all places stay where
// they are.
func plainJSON(src []byte) []byte {
	out := bytes.Clone(src)
	comma := -1 // the last comma after which nothing came yet
	for i := 0; i < len(out); i++ {
		switch c := out[i]; {
		case c == '"':
			comma = -1
			for i++; i < len(out) && out[i] != '"'; i++ {
				if out[i] == '\\' {
					i++
				}
			}
		case c == '/' && i+1 < len(out) && (out[i+1] == '/' || out[i+1] == '*'):
			i = blankComment(out, i)
		case c == ',':
			comma = i
		case (c == '}' || c == ']') && comma >= 0:
			out[comma], comma = ' ', -1
		case c != ' ' && c != '\t' && c != '\r' && c != '\n':
			comma = -1
		}
	}
	return out
}

// blankComment blanks the comment that begins at i and returns its last byte.
func blankComment(out []byte, i int) int {
	end, after := []byte("\n"), 0
	if out[i+1] == '*' {
		end, after = []byte("*/"), 2
	}
	n := bytes.Index(out[i+2:], end)
	if n < 0 {
		n, after = len(out)-i-2, 0
	}
	n += 2 + after
	for j := i; j < i+n; j++ {
		if out[j] != '\n' {
			out[j] = ' '
		}
	}
	return i + n - 1
}

type jsonParser struct {
	src    []byte
	dec    *json.Decoder
	report *Report

	at   Pos // of the byte at done; places are asked for in order
	done int
}

// skip finds where the next token begins, and whether there is one.
func (p *jsonParser) skip() (Pos, bool) {
	at := int(p.dec.InputOffset())
	for at < len(p.src) && strings.IndexByte(" \t\r\n,:", p.src[at]) >= 0 {
		at++
	}
	if next := position(p.src[p.done:], at-p.done); next.Line > 1 {
		p.at = Pos{Line: p.at.Line + next.Line - 1, Column: next.Column}
	} else {
		p.at.Column += next.Column - 1
	}
	p.done = at
	return p.at, at < len(p.src)
}

// token reads one token. It reports and returns nil at the end or when there is
// none.
func (p *jsonParser) token() (json.Token, Pos) {
	at, _ := p.skip()
	t, err := p.dec.Token()
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return t, at
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		p.report.Fault(at, "the JSON ends too early", "close what is open with } or ] or a quote")
	case errors.As(err, &syntax):
		p.report.Fault(at, "this is not JSON: "+syntax.Error(), jsonHint(p.src, at))
	default:
		p.report.Fault(at, "this is not JSON: "+err.Error(), "")
	}
	return nil, at
}

// jsonHint guesses what is missing: mostly it is a comma.
func jsonHint(src []byte, at Pos) string {
	lines := strings.Split(string(src), "\n")
	if at.Line > len(lines) || at.Line < 1 {
		return ""
	}
	rest := []rune(lines[at.Line-1])
	if at.Column-1 < len(rest) {
		switch rest[at.Column-1] {
		case '\'':
			return `write text in double quotes: "…"`
		case '"', '{', '[':
			return "look for a missing comma or colon before this"
		}
	}
	return `write text and keys in double quotes: "…"`
}

// value reads one value. It returns nil after a fault.
func (p *jsonParser) value(depth int) *Node {
	t, at := p.token()
	n := &Node{Pos: at, size: 1}
	switch t := t.(type) {
	case nil:
		if len(p.report.Faults()) > 0 {
			return nil
		}
	case bool:
		n.Kind, n.Text = Bool, fmt.Sprint(t)
	case json.Number:
		n.Kind, n.Text = Number, t.String()
	case string:
		n.Kind, n.Text = String, t
	case json.Delim:
		return p.nested(n, t, depth)
	}
	return n
}

func (p *jsonParser) nested(n *Node, open json.Delim, depth int) *Node {
	if depth == maxDepth {
		p.report.Fault(n.Pos, fmt.Sprintf("lists and maps are nested more than %d deep", maxDepth), "")
		return nil
	}
	keys := keySet{}
	n.Kind = List
	if open == '{' {
		n.Kind = Map
	}
	for p.dec.More() {
		var f Field
		if n.Kind == Map {
			t, at := p.token()
			key, ok := t.(string)
			if !ok {
				if t != nil {
					p.report.Fault(at, "a key must be text in double quotes", "")
				}
				return nil
			}
			f = Field{Pos: at, Key: key}
			keys.add(f, p.report)
		}
		v := p.value(depth + 1)
		if v == nil {
			return nil
		}
		n.size += v.size
		if n.Kind == List {
			n.Items = append(n.Items, v)
			continue
		}
		f.Value = v
		n.Fields = append(n.Fields, f)
	}
	if t, _ := p.token(); t == nil {
		return nil
	}
	return n
}

// keySet finds keys that stand twice in one map.
type keySet map[string]Pos

func (s keySet) add(f Field, r *Report) {
	if first, twice := s[f.Key]; twice {
		r.Fault(f.Pos, fmt.Sprintf("%q is already on line %d", f.Key, first.Line), "keep one of the two")
		return
	}
	s[f.Key] = f.Pos
}
