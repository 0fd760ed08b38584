package catalog

import (
	"cmp"
	"container/list"
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// table is everything of one kind that a view shows. It is immutable, but for
// what is known of its freshness.
type table struct {
	kind    Kind
	only    bool
	limits  Limits
	shelf   *shelf
	deps    []*listing // what it was built from, one for each server, of tools two; nil: never listed
	rows    []row
	byKey   map[string]int32   // row of each final name or URI
	clashes map[string][]int32 // rows of each URI that more than one server lists
	digest  uint64             // over the final names, in order

	linked    map[string][]*jackfield.Server // who links to each URI; of tools
	elsewhere map[owned]bool                 // links that the view must rewrite

	first atomic.Pointer[written] // the first page, as it was last written

	two       bool                     // some items differ before 2026-07-28
	firstBare atomic.Pointer[wire.Raw] // the first page as the revisions before know it

	read atomic.Bool // a page, since the shelf was last searched

	// Protected by shelf.mu.
	holders int // how many tables have it
	size    int // about, in bytes, without what is listed
	pages   int // bytes of pages that are kept
	at      *list.Element
}

// row is one thing under its final name.
type row struct {
	server *jackfield.Server
	item   *item
	final  string
}

func (r *row) target() Target {
	return Target{Server: r.server, Key: r.item.key, Quoted: r.item.quoted(), Effect: r.item.effect}
}

func (t *table) targets(rows []int32) []Target {
	all := make([]Target, len(rows))
	for i, n := range rows {
		all[i] = t.rows[n].target()
	}
	return all
}

// freshness is how long a table may be shown without a look at what it was built
// from.
type freshness struct {
	gen    uint64    // Catalog.gen when it was found
	look   time.Time // when to look again
	due    time.Time // until when a client may keep a copy
	public bool      // it is the same for everybody
}

// build makes the table of what the servers of the view list.
func (v *View) build(k Kind, deps []*listing) *table {
	t := &table{kind: k, only: v.only, limits: v.c.o.Limits, shelf: v.c.shelf, deps: deps}
	lists, others := deps[:len(v.servers)], deps[len(v.servers):]
	n := 0
	for _, l := range lists {
		if l != nil {
			n += len(l.items)
		}
	}
	t.rows = make([]row, 0, n)
	for i, l := range lists {
		if l == nil {
			continue
		}
		s := &v.servers[i]
		for j := range l.items {
			it := &l.items[j]
			if k == Tools && !s.Tools.Allows(it.key) {
				continue
			}
			r := row{server: s, item: it, final: it.key}
			if !v.only && k <= Prompts {
				r.final = FinalName(s.Name, it.key)
			}
			t.rows = append(t.rows, r)
			t.two = t.two || it.bare != nil
			t.size += rowSize + len(r.final)
		}
	}
	if !v.only && k >= Resources {
		t.part()
	}
	t.index(v.c)
	if !v.only && k == Tools {
		t.link(v.servers, others)
	}
	return t
}

// part gives what more than one server lists under the same URI a URI for each.
func (t *table) part() {
	first := make(map[string]int32, len(t.rows))
	for i := range t.rows {
		uri := t.rows[i].item.key
		j, twice := first[uri]
		if !twice {
			first[uri] = int32(i)
			continue
		}
		if t.clashes == nil {
			t.clashes = map[string][]int32{}
		}
		if t.clashes[uri] == nil {
			t.clashes[uri] = []int32{j}
		}
		t.clashes[uri] = append(t.clashes[uri], int32(i))
	}
	for _, rows := range t.clashes {
		for _, n := range rows {
			r := &t.rows[n]
			if t.kind == Templates {
				r.final = qualifiedTemplate(r.server.Name, r.item.key)
			} else {
				r.final = QualifiedURI(r.server.Name, r.item.key)
			}
		}
	}
}

// index makes the final names unique and finds them. Two can only be equal if
// the hashes in them are, or if a server lists something that looks like a URI of
// ours: then the first by server and name has it, whatever else is in the view.
func (t *table) index(c *Catalog) {
	t.byKey = make(map[string]int32, len(t.rows))
	var lost []int32
	for i := range t.rows {
		r := &t.rows[i]
		n, taken := t.byKey[r.final]
		if !taken {
			t.byKey[r.final] = int32(i)
			continue
		}
		loser := int32(i)
		if holder := &t.rows[n]; cmp.Or(cmp.Compare(r.server.ID, holder.server.ID), cmp.Compare(r.item.key, holder.item.key)) < 0 {
			t.byKey[r.final], loser = int32(i), n
		}
		lost = append(lost, loser)
	}
	if lost != nil {
		t.drop(c, lost)
		return
	}
	digest := fnv.New64a()
	for i := range t.rows {
		_, _ = digest.Write([]byte(t.rows[i].final)) // cannot fail
		_, _ = digest.Write([]byte{0})
	}
	t.digest = digest.Sum64()
}

// drop takes rows out of the table and indexes the rest anew.
func (t *table) drop(c *Catalog, lost []int32) {
	rows := t.rows
	t.rows = nil
	for i := range rows {
		if r := rows[i]; slices.Contains(lost, int32(i)) {
			c.dropped(*r.server, t.kind, r.item.key, "its final name "+strconv.Quote(r.final)+" belongs to something else", 1)
		} else {
			t.rows = append(t.rows, r)
		}
	}
	for uri := range t.clashes {
		t.clashes[uri] = nil
		for i := range t.rows {
			if t.rows[i].item.key == uri {
				t.clashes[uri] = append(t.clashes[uri], int32(i))
			}
		}
	}
	t.index(c)
}

// expanded are the targets of a URI that templates expand to: those of the most
// specific ones, one for each server.
func (t *table) expanded(uri string) []Target {
	var found []Target
	best := -1
	for i := range t.rows {
		r := &t.rows[i]
		tmpl := r.item.template
		if tmpl == nil || tmpl.literal < best || !tmpl.matches(uri) {
			continue
		}
		if tmpl.literal > best {
			best, found = tmpl.literal, nil
		}
		if !slices.ContainsFunc(found, func(f Target) bool { return f.Server == r.server }) {
			found = append(found, Target{Server: r.server, Key: uri, Quoted: wire.AppendString(nil, uri)})
		}
	}
	return found
}

// written is a page as it was last written. It serves as long as its members are
// the same.
type written struct {
	seconds int64
	public  bool
	text    wire.Raw
}

// page writes the page that begins with the row from. The result is shared and
// must not change.
func (t *table) page(from int, f *freshness, now time.Time) wire.Raw {
	// Whole seconds: a client loses less than one, and the page serves longer.
	seconds := max(0, int64(f.due.Sub(now)/time.Second))
	if w := t.first.Load(); from == 0 && w != nil && w.seconds == seconds && w.public == f.public {
		t.reads()
		return w.text
	}
	to, size := t.end(from)
	b := make([]byte, 0, size+256)
	b = append(b, `{"resultType":"complete","ttlMs":`...)
	b = strconv.AppendInt(b, seconds*1000, 10)
	if f.public && t.elsewhere == nil { // which of them are rewritten may depend on who looks
		b = append(b, `,"cacheScope":"public",`...)
	} else {
		b = append(b, `,"cacheScope":"private",`...)
	}
	b = t.write(b, from, to, false)
	if from == 0 {
		t.first.Store(&written{seconds: seconds, public: f.public, text: b})
		t.reads()
		t.shelf.wrote(t)
	}
	return b
}

// reads notes that somebody reads a page that is kept.
func (t *table) reads() {
	if !t.read.Load() {
		t.read.Store(true)
	}
}

// kept is how many bytes of pages are kept.
func (t *table) kept() int {
	n := 0
	if w := t.first.Load(); w != nil {
		n = len(w.text)
	}
	if w := t.firstBare.Load(); w != nil {
		n += len(*w)
	}
	return n
}

// unwrite forgets the pages.
func (t *table) unwrite() {
	t.first.Store(nil)
	t.firstBare.Store(nil)
}

// bare is page as revisions before 2026-07-28 know it, which does not depend on the
// time: it is written once. The result is shared and must not change.
func (t *table) bare(from int) wire.Raw {
	if w := t.firstBare.Load(); from == 0 && w != nil {
		t.reads()
		return *w
	}
	to, size := t.end(from)
	b := wire.Raw(t.write(append(make([]byte, 0, size+256), '{'), from, to, true))
	if from == 0 {
		t.firstBare.Store(&b)
		t.reads()
		t.shelf.wrote(t)
	}
	return b
}

// write appends what a page says of the rows from one to another, and closes it.
func (t *table) write(b []byte, from, to int, bare bool) []byte {
	if to < len(t.rows) {
		b = append(b, `"nextCursor":"`...)
		b = append(b, t.cursor(to)...)
		b = append(b, `",`...)
	}
	b = append(b, '"')
	b = append(b, kindMembers[t.kind]...)
	b = append(b, `":[`...)
	for i := from; i < to; i++ {
		if i > from {
			b = append(b, ',')
		}
		b = t.appendRow(b, &t.rows[i], bare)
	}
	return append(b, `]}`...)
}

// appendRow appends an item as its server wrote it, under its final name; bare
// without what revisions before 2026-07-28 do not know.
func (t *table) appendRow(b []byte, r *row, bare bool) []byte {
	it := r.item
	if bare && it.bare != nil {
		it = it.bare
	}
	if t.elsewhere != nil && len(it.links) > 0 {
		return t.appendLinked(b, r, it)
	}
	if r.final == it.key {
		return append(b, it.raw...)
	}
	b = append(b, it.raw[:it.at]...)
	b = wire.AppendString(b, r.final)
	return append(b, it.raw[it.end:]...)
}

// end is where the page that begins with the row from ends, and how long it is.
func (t *table) end(from int) (to, size int) {
	for to = from; to < len(t.rows) && to-from < t.limits.Items; to++ {
		r := &t.rows[to]
		n := len(r.item.raw) + len(r.final) + 1
		if to > from && size+n > t.limits.Bytes {
			break
		}
		size += n
	}
	return to, size
}

// A cursor holds: a byte that says what it is, the kind, the digest of the table
// it was made for, the row that comes next, and the final name before it.
const cursorForm = 1

const maxCursor = 16 << 10

func (t *table) cursor(next int) string {
	b := []byte{cursorForm, byte(t.kind)}
	b = binary.BigEndian.AppendUint64(b, t.digest)
	b = binary.AppendUvarint(b, uint64(next))
	b = append(b, t.rows[next-1].final...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// begin is the row with which the page of the cursor begins. A cursor of an older
// table goes on behind the same thing, if it is still there.
func (t *table) begin(cursor string) (int, error) {
	if cursor == "" {
		return 0, nil
	}
	if len(cursor) <= maxCursor {
		b, err := base64.RawURLEncoding.DecodeString(cursor)
		if err == nil && len(b) > 10 && b[0] == cursorForm && b[1] == byte(t.kind) {
			next, n := binary.Uvarint(b[10:])
			if n > 0 && binary.BigEndian.Uint64(b[2:]) == t.digest && next > 0 && next < uint64(len(t.rows)) {
				return int(next), nil
			}
			if i, ok := t.byKey[string(b[10+max(0, n):])]; ok && n > 0 {
				return int(i) + 1, nil
			}
		}
	}
	return 0, jackfield.Errorf(jackfield.Invalid, "the cursor of %s is not one of ours, or the list changed since; list again from the beginning", t.kind.Method())
}
