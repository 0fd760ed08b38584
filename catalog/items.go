package catalog

import (
	"fmt"
	"hash/maphash"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// listing is all that a server lists of one kind. It is immutable.
type listing struct {
	items   []item
	headers map[string][]ParamHeader // of the tools that have any, by name
	sum     uint64                   // over the text of all items: equal means unchanged
}

// item is one tool, prompt, resource or template, as its server wrote it.
type item struct {
	raw      wire.Raw
	key      string // the name, URI or template that it is known by
	at, end  int32  // where that stands in raw, quotes included
	template *template
	effect   exchange.Effect // of a tool, as its annotations say
	links    []link          // of a tool, to its user interface; in the order in which they stand
	bare     *item           // the same for revisions before 2026-07-28, where it differs
}

// quoted is the key exactly as the server spells it.
func (i *item) quoted() wire.Raw { return i.raw[i.at:i.end] }

// keyMembers are the members that things are known by, for each kind, and what else
// is read of them.
var keyMembers = [numKinds][]string{{"name", "annotations", "outputSchema", "execution", "_meta"}, {"name"}, {"uri"}, {"uriTemplate"}}

var seed = maphash.MakeSeed()

// outcasts are items that are not offered, by the reason; a list of a server that
// lost its mind has thousands.
type outcasts []struct {
	name   string // of the first
	reason string
	items  int
}

const mostReasons = 16 // that are told apart in one list; the last one counts all others

func (o *outcasts) add(name, reason string) {
	for i := range *o {
		if x := &(*o)[i]; x.reason == reason || i == mostReasons-1 {
			x.items++
			return
		}
	}
	*o = append(*o, struct {
		name, reason string
		items        int
	}{name, reason, 1})
}

// prepare finds what each item is called. dropped is told of those that cannot be
// offered: without a name, or with one that stands twice, or (headers) with
// annotations that an HTTP client must refuse. What clients have to repeat in
// headers is found for every server: a modern client repeats it to us.
func prepare(k Kind, raws []wire.Raw, headers bool, dropped func(name, reason string)) *listing {
	l := &listing{items: make([]item, 0, len(raws))}
	var sum maphash.Hash
	sum.SetSeed(seed)
	seen := make(map[string]bool, len(raws))
	for _, raw := range raws {
		it, err := parseItem(k, raw)
		switch {
		case err != nil:
			dropped("", err.Error())
			continue
		case seen[it.key]:
			dropped(it.key, "it is listed twice; the first one counts")
			continue
		}
		if k == Tools {
			found, err := paramHeaders(raw)
			if err != nil && headers {
				dropped(it.key, err.Error())
				continue
			}
			if err == nil && found != nil {
				if l.headers == nil {
					l.headers = map[string][]ParamHeader{}
				}
				l.headers[it.key] = found
			}
		}
		seen[it.key] = true
		l.items = append(l.items, it)
		_, _ = sum.Write(it.raw) // cannot fail; what is kept for the next start is this
		_ = sum.WriteByte(0)
	}
	l.sum = sum.Sum64()
	return l
}

func parseItem(k Kind, raw wire.Raw) (item, error) {
	member := keyMembers[k]
	o, err := wire.ScanObject(raw, member)
	if err != nil {
		return item{}, err
	}
	key, ok := wire.String(o.Get(member[0]))
	if !ok || key == "" {
		return item{}, fmt.Errorf("an item of %s has no %s", k.Method(), member[0])
	}
	if k == Tools {
		if execution, ok := anyClient(o.Get("execution")); ok {
			o.Set("execution", execution)
			return parseItem(k, o.Raw())
		}
	}
	at, end := o.Span(member[0])
	it := item{raw: raw, key: key, at: int32(at), end: int32(end)}
	switch k {
	case Templates:
		it.template, _ = parseTemplate(key)
	case Tools:
		it.effect = effectIn(o.Get("annotations"))
		if meta := o.Get("_meta"); meta != nil {
			from, _ := o.Span("_meta")
			it.links = linksIn(meta, from)
		}
		if schema := o.Get("outputSchema"); schema != nil && !ofObjects(schema) {
			o.Delete("outputSchema")
			bare, err := parseItem(k, o.Raw())
			if err != nil {
				return item{}, err
			}
			it.bare = &bare
		}
	case Prompts, Resources:
	}
	return it, nil
}

var typeKeys = []string{"type"}

// ofObjects says whether a schema's root is an object, which revisions before
// 2026-07-28 ask of an output schema: their clients may refuse the whole list.
func ofObjects(schema wire.Raw) bool {
	o, err := wire.ScanObject(schema, typeKeys)
	return err == nil && string(o.Get("type")) == `"object"`
}

var hintKeys = []string{"readOnlyHint", "idempotentHint"}

// effectIn is what a tool's annotations say of its effect. They are hints: whoever
// follows them must be able to live with a server that is wrong about itself.
func effectIn(annotations wire.Raw) exchange.Effect {
	o, err := wire.ScanObject(annotations, hintKeys)
	switch {
	case err != nil:
		return exchange.EffectUnknown
	case string(o.Get("readOnlyHint")) == "true":
		return exchange.EffectNone
	case string(o.Get("idempotentHint")) == "true":
		return exchange.EffectOnce
	}
	return exchange.EffectUnknown
}
