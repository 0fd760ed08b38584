package catalog

import (
	"bytes"
	"runtime"
	"slices"
	"sync"
	"weak"
)

// alike has one listing for all that are the same, so that what a server lists to
// each of thousands of people is in memory once. It keeps none that nobody has.
type alike struct {
	mu sync.Mutex // protects what follows
	of map[likeness][]weak.Pointer[listing]
}

// likeness is what listings are looked for by. Two that differ may have the same one.
type likeness struct {
	kind  Kind
	sum   uint64
	items int
}

// one is the listing of the kind that says what l says.
func (a *alike) one(k Kind, l *listing) *listing {
	at := likeness{k, l.sum, len(l.items)}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.of[at] {
		if known := p.Value(); known != nil && known.says(l) {
			return known
		}
	}
	a.of[at] = append(a.of[at], weak.Make(l))
	runtime.AddCleanup(l, a.tidy, at)
	return l
}

// tidy forgets listings that nobody has any more.
func (a *alike) tidy(at likeness) {
	a.mu.Lock()
	defer a.mu.Unlock()
	left := slices.DeleteFunc(a.of[at], func(p weak.Pointer[listing]) bool { return p.Value() == nil })
	if a.of[at] = left; len(left) == 0 {
		delete(a.of, at)
	}
}

// says reports whether two listings say the same, byte for byte.
func (l *listing) says(other *listing) bool {
	return slices.EqualFunc(l.items, other.items, func(a, b item) bool { return bytes.Equal(a.raw, b.raw) })
}
