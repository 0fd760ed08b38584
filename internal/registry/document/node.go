package document

// Kind says what a Node holds.
type Kind uint8

// The kinds. Scalars are kept as they are written: what a number or a truth
// value means is decided by who asks for it.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Map
)

// String is the kind in words for a person.
func (k Kind) String() string {
	switch k {
	case Bool:
		return "true or false"
	case Number:
		return "a number"
	case String:
		return "text"
	case List:
		return "a list"
	case Map:
		return "a map"
	case Null:
	}
	return "nothing"
}

// Pos is a place in a file. Lines and columns count from 1, columns in
// characters; zero means that the place is not known.
type Pos struct {
	Line   int
	Column int
}

// Node is one value. Nodes that an alias names are shared, so a tree must not
// be changed.
type Node struct {
	Pos
	Kind   Kind
	Text   string // of a scalar: the text itself for String, the source for the rest
	Items  []*Node
	Fields []Field

	size int // nodes in the tree below, this one included, aliases spelled out
}

// Field is one entry of a map. Its Pos is the key's.
type Field struct {
	Pos
	Key   string
	Value *Node
}

// Get is the value of a map's key, or nil.
func (n *Node) Get(key string) *Node {
	if f, ok := n.Field(key); ok {
		return f.Value
	}
	return nil
}

// Field finds a map's entry.
func (n *Node) Field(key string) (Field, bool) {
	if n != nil {
		for _, f := range n.Fields {
			if f.Key == key {
				return f, true
			}
		}
	}
	return Field{}, false
}

// All are a map's entries; none of what is no map.
func (n *Node) All() []Field {
	if n == nil {
		return nil
	}
	return n.Fields
}

// IsNull reports whether there is no value: an absent node, or one without
// content.
func (n *Node) IsNull() bool { return n == nil || n.Kind == Null }

// At is where the node stands; the zero Pos for an absent one.
func (n *Node) At() Pos {
	if n == nil {
		return Pos{}
	}
	return n.Pos
}
