package document

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxTokens bounds the length of a YAML file. The parser's time grows with
	// the square of a map's length; at this bound it is about two seconds.
	maxTokens = 100_000
	// maxNodes bounds what aliases may blow a file up to.
	maxNodes = 200_000
)

// parseYAML reads YAML 1.2: one document of scalars, lists and maps with text
// keys. Anchors, aliases and merge keys are resolved here; tags other than the
// core ones are refused.
func parseYAML(src []byte, r *Report) *Node {
	file, err := syntaxTree(src, r)
	if len(r.Faults()) > 0 {
		return nil
	}
	if err != nil {
		at, message := syntaxError(err)
		r.Fault(at, "this is not YAML: "+message, yamlHint(src, at, message))
		return nil
	}
	root := &Node{Pos: Pos{Line: 1, Column: 1}, size: 1}
	found := false
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.DirectiveType || doc.Body.Type() == ast.CommentType {
			continue
		}
		y := &yamlParser{report: r, anchors: map[string]*Node{}}
		next := y.node(doc.Body)
		if found {
			r.Fault(next.At(), "a second document begins in this file", "keep one document; remove the line ---")
			return nil
		}
		root, found = next, true
	}
	if len(r.Faults()) > 0 {
		return nil
	}
	return root
}

// syntaxTree calls the parser. A panic of its on odd input is an error: it must
// not end a gateway that only wanted to reload its file.
func syntaxTree(src []byte, r *Report) (file *ast.File, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("panic") // syntaxError has words for it
		}
	}()
	tokens := lexer.Tokenize(string(src))
	if !bounded(tokens, r) {
		return nil, nil
	}
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// bounded refuses what would keep the parser busy for long.
func bounded(tokens token.Tokens, r *Report) bool {
	if len(tokens) > maxTokens {
		r.Fault(Pos{}, fmt.Sprintf("the file has more than %d words and signs of YAML", maxTokens), "write so long a file as JSON")
		return false
	}
	flow, dashes, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			dashes++
		default:
		}
		if flow > maxDepth || dashes > maxDepth {
			r.Fault(where(t), fmt.Sprintf("lists and maps are nested more than %d deep", maxDepth), "")
			return false
		}
	}
	return true
}

// syntaxError takes place and message out of the parser's error, whose own text
// quotes lines of the file, secrets included.
func syntaxError(err error) (Pos, string) {
	var e interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if !errors.As(err, &e) {
		return Pos{}, "the structure is wrong"
	}
	return where(e.GetToken()), strings.ReplaceAll(e.GetMessage(), "\t", `\t`)
}

func where(t *token.Token) Pos {
	if t == nil || t.Position == nil {
		return Pos{}
	}
	return Pos{Line: t.Position.Line, Column: t.Position.Column}
}

// yamlHint says what to write instead, for the mistakes that people make.
func yamlHint(src []byte, at Pos, message string) string {
	var line string
	if lines := strings.Split(string(src), "\n"); at.Line >= 1 && at.Line <= len(lines) {
		line = lines[at.Line-1]
	}
	switch {
	case strings.Contains(message, `\t`) || strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
		return "indent with spaces, not with tabs"
	case strings.Contains(line, "{{"):
		return `put text that begins with {{ in quotes: "{{…}}"`
	case strings.Contains(line, "${"):
		return `put ${…} in quotes inside [ ] and { }: "${NAME}"`
	case strings.Contains(message, "mapping value is not allowed"):
		return `put text that holds ": " in quotes, and indent the keys of one map alike`
	case strings.Contains(message, "reserved character"), strings.Contains(message, "cannot start any token"):
		return "put this text in quotes"
	case strings.Contains(message, "end character"):
		return "close the quote"
	}
	return "check the quotes, brackets and indentation on this line and the one before"
}

type yamlParser struct {
	report  *Report
	anchors map[string]*Node
	depth   int
}

// node converts one value. After a fault it returns a Null node, so that the
// rest is still looked at.
func (y *yamlParser) node(n ast.Node) *Node {
	if n == nil {
		return &Node{size: 1}
	}
	out := &Node{Pos: where(n.GetToken()), size: 1}
	if y.depth++; y.depth > maxDepth {
		y.report.Fault(out.Pos, fmt.Sprintf("lists and maps are nested more than %d deep", maxDepth), "")
		return out
	}
	defer func() { y.depth-- }()
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.StringNode:
		out.Kind, out.Text = String, n.Value
	case *ast.LiteralNode:
		out.Kind, out.Text = String, n.Value.Value
	case *ast.BoolNode:
		out.Kind, out.Text = Bool, n.Token.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.Kind, out.Text = Number, n.GetToken().Value
	case *ast.SequenceNode:
		out.Kind = List
		for _, item := range n.Values {
			v := y.node(item)
			out.Items = append(out.Items, v)
			y.grow(out, v)
		}
	case *ast.MappingNode:
		y.fields(out, n.Values)
		if start := n.Start; n.IsFlowStyle && start != nil {
			out.Pos = where(start)
		}
	case *ast.MappingValueNode:
		y.fields(out, []*ast.MappingValueNode{n})
	case *ast.AnchorNode:
		out = y.node(n.Value)
		y.anchors[n.Name.GetToken().Value] = out
	case *ast.AliasNode:
		return y.alias(n)
	case *ast.TagNode:
		return y.tagged(n)
	default:
		y.report.Fault(out.Pos, "this kind of YAML is not read here", "write plain text, lists and maps")
	}
	return out
}

// grow counts a child, and reports the moment when aliases make the tree too
// large.
func (y *yamlParser) grow(parent, child *Node) {
	before := parent.size
	parent.size = min(parent.size+child.size, maxNodes+1)
	if parent.size > maxNodes && before <= maxNodes && child.size <= maxNodes {
		y.report.Fault(parent.Pos, fmt.Sprintf("aliases make this larger than %d values", maxNodes), "write it out, or use fewer aliases")
	}
}

func (y *yamlParser) alias(n *ast.AliasNode) *Node {
	at, name := where(n.Start), n.Value.GetToken().Value
	target, ok := y.anchors[name]
	if !ok {
		y.report.Fault(at, fmt.Sprintf("no anchor &%s stands before this alias", name), "define it above, or put the text in quotes")
		return &Node{Pos: at, size: 1}
	}
	return target
}

// tagged allows the tags of the core schema, of which !!str makes text of a
// number.
func (y *yamlParser) tagged(n *ast.TagNode) *Node {
	out := y.node(n.Value)
	switch n.Start.Value {
	case "!!str":
		if out.Kind == Bool || out.Kind == Number {
			out = &Node{Pos: out.Pos, Kind: String, Text: out.Text, size: 1}
		}
	case "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq":
	default:
		y.report.Fault(where(n.Start), fmt.Sprintf("the YAML tag %s is not read here", n.Start.Value), "remove it")
	}
	return out
}

// fields fills a map. Keys of its own win over merged ones, wherever they stand.
func (y *yamlParser) fields(out *Node, values []*ast.MappingValueNode) {
	out.Kind = Map
	keys := keySet{}
	var merged []*Node
	for i, v := range values {
		key, at, ok := y.key(v.Key)
		if i == 0 {
			out.Pos = at
		}
		if v.Key.IsMergeKey() {
			merged = append(merged, y.node(v.Value))
			continue
		}
		f := Field{Pos: at, Key: key, Value: y.node(v.Value)}
		if f.Value.Line == 0 {
			f.Value.Pos = at
		}
		y.grow(out, f.Value)
		if ok {
			keys.add(f, y.report)
			out.Fields = append(out.Fields, f)
		}
	}
	for _, m := range merged {
		y.merge(out, m, keys)
	}
}

// merge adds the fields of a merge key's value that the map does not have.
func (y *yamlParser) merge(out, from *Node, have keySet) {
	switch from.Kind {
	case Map:
		for _, f := range from.Fields {
			if _, own := have[f.Key]; own {
				continue
			}
			have[f.Key] = f.Pos
			out.Fields = append(out.Fields, f)
			y.grow(out, f.Value)
		}
	case List:
		for _, m := range from.Items {
			if m.Kind != Map {
				y.report.Fault(m.Pos, "a merge key takes maps only", "write <<: *anchor of a map")
				continue
			}
			y.merge(out, m, have)
		}
	default:
		y.report.Fault(from.Pos, "a merge key takes maps only", "write <<: *anchor of a map")
	}
}

func (y *yamlParser) key(n ast.MapKeyNode) (string, Pos, bool) {
	var node ast.Node = n
	if k, ok := node.(*ast.MappingKeyNode); ok {
		node = k.Value
	}
	switch k := node.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.MergeKeyNode,
		*ast.InfinityNode, *ast.NanNode:
		return k.GetToken().Value, where(k.GetToken()), true
	}
	at := where(n.GetToken())
	y.report.Fault(at, "a key must be plain text", "write the key in quotes")
	return "", at, false
}
