package document

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// Decoder is a type with a form of its own in the file. DecodeNode is never
// called with a Null node. It returns what is wrong and what to write instead,
// both empty when nothing is.
type Decoder interface {
	DecodeNode(n *Node) (message, fix string)
}

// Unknown decides about a map's entry that the struct has no field for. It
// returns false to have it reported as unknown, with the nearest known key.
type Unknown func(f Field) bool

// Decode fills the struct that into points to from a map, by json tags; embedded
// structs count as their fields. A value without content counts as absent. Text
// fields take any scalar as it is written. Everything that does not fit is
// reported, and the rest filled in. Unknown may be nil.
func Decode(n *Node, into any, r *Report, unknown Unknown) {
	d := decoder{report: r, unknown: unknown}
	d.value(n, reflect.ValueOf(into).Elem(), "")
}

type decoder struct {
	report  *Report
	unknown Unknown // applies to the outermost struct only
}

func (d decoder) value(n *Node, v reflect.Value, name string) {
	if n.IsNull() {
		return
	}
	if own, ok := reflect.TypeAssert[Decoder](v.Addr()); ok {
		if message, fix := own.DecodeNode(n); message != "" {
			d.report.Fault(n.Pos, subject(name, message), fix)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), name)
	case reflect.Struct:
		if d.want(n, Map, name) {
			d.fields(n, v, name)
		}
	case reflect.Map:
		if d.want(n, Map, name) {
			v.Set(reflect.MakeMapWithSize(v.Type(), len(n.Fields)))
			for _, f := range n.Fields {
				item := reflect.New(v.Type().Elem()).Elem()
				d.element(f.Value, item, name+"."+f.Key)
				v.SetMapIndex(reflect.ValueOf(f.Key), item)
			}
		}
	case reflect.Slice:
		if d.want(n, List, name) {
			v.Set(reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items)))
			for i, item := range n.Items {
				d.element(item, v.Index(i), fmt.Sprintf("%s[%d]", name, i))
			}
		}
	default:
		d.scalar(n, v, name)
	}
}

// element is a member of a list or a map, which must have a value.
func (d decoder) element(n *Node, v reflect.Value, name string) {
	if n.IsNull() {
		d.report.Fault(n.At(), name+" has no value", `write "" for empty text, or remove it`)
		return
	}
	d.value(n, v, name)
}

func (d decoder) scalar(n *Node, v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.String:
		if n.Kind == List || n.Kind == Map {
			d.want(n, String, name)
			return
		}
		v.SetString(n.Text)
	case reflect.Bool:
		if d.want(n, Bool, name) {
			v.SetBool(strings.EqualFold(n.Text, "true"))
		}
	case reflect.Int:
		i, err := strconv.ParseInt(n.Text, 10, 32)
		if n.Kind != Number || err != nil || i < 0 {
			d.report.Fault(n.Pos, subject(name, "must be a whole number, 0 or more"), "")
			return
		}
		v.SetInt(i)
	default:
		panic("document: no way to decode a " + v.Type().String())
	}
}

// want reports a value of the wrong kind.
func (d decoder) want(n *Node, k Kind, name string) bool {
	if n.Kind == k {
		return true
	}
	key := name[strings.LastIndexByte(name, '.')+1:]
	fix := map[Kind]string{
		Bool:   "write true or false without quotes",
		String: "write one text",
		List:   fmt.Sprintf("write %s: [one, two]", key),
		Map:    fmt.Sprintf("write %s: {key: value}", key),
	}[k]
	if name == "" {
		fix = "write key: value"
	}
	d.report.Fault(n.Pos, subject(name, fmt.Sprintf("must be %s, not %s", k, n.Kind)), fix)
	return false
}

func subject(name, message string) string {
	if name == "" {
		return "this " + message
	}
	return name + " " + message
}

func (d decoder) fields(n *Node, v reflect.Value, name string) {
	known := Keys(v.Type())
	inner := decoder{report: d.report}
	for _, f := range n.Fields {
		full := f.Key
		if name != "" {
			full = name + "." + f.Key
		}
		if index, ok := known.index[f.Key]; ok {
			inner.value(f.Value, v.FieldByIndex(index), full)
			continue
		}
		if strings.HasPrefix(f.Key, "x-") || d.unknown != nil && d.unknown(f) {
			continue
		}
		d.report.Fault(f.Pos, fmt.Sprintf("%s is not a known setting", full), known.suggest(f.Key))
	}
}

// KeySet is the keys of a struct, in the order of its fields.
type KeySet struct {
	Names []string
	index map[string][]int
}

var keySets sync.Map // from reflect.Type to its KeySet: there are about ten

// Keys lists what a struct takes from a map.
func Keys(t reflect.Type) KeySet {
	if keys, known := keySets.Load(t); known {
		return keys.(KeySet)
	}
	keys := KeySet{index: map[string][]int{}}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		keys.Names = append(keys.Names, name)
		keys.index[name] = f.Index
	}
	keySets.Store(t, keys)
	return keys
}

func (k KeySet) suggest(key string) string {
	if near := Nearest(key, k.Names); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	const most = 10 // for one line
	if len(k.Names) > most {
		return "remove it; jackfield config schema lists what there is"
	}
	return "known here: " + strings.Join(k.Names, ", ")
}
