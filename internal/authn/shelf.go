package authn

import (
	"slices"
	"strings"
)

// shelf holds things of one kind by their ids, and in the order of these.
type shelf[T any] struct {
	id    func(*T) string
	byID  map[string]*T
	order []*T
}

func newShelf[T any](id func(*T) string) shelf[T] {
	return shelf[T]{id: id, byID: map[string]*T{}}
}

// few is how many things are moved one by one.
const few = 64

// add adds things that are not there.
func (s *shelf[T]) add(things []*T) {
	if len(s.byID) == 0 {
		s.byID, s.order = make(map[string]*T, len(things)), make([]*T, 0, len(things))
	}
	for _, t := range things {
		s.byID[s.id(t)] = t
	}
	if len(things) > few {
		s.order = append(s.order, things...)
		slices.SortFunc(s.order, s.compare) // at once for the first, which are in order
		return
	}
	for _, t := range things {
		at, _ := s.find(s.id(t))
		s.order = slices.Insert(s.order, at, t)
	}
}

// drop removes things that are there.
func (s *shelf[T]) drop(ids []string) {
	for _, id := range ids {
		delete(s.byID, id)
	}
	if len(ids) > few {
		s.order = slices.DeleteFunc(s.order, func(t *T) bool { return s.byID[s.id(t)] == nil })
		return
	}
	for _, id := range ids {
		if at, ok := s.find(id); ok {
			s.order = slices.Delete(s.order, at, at+1)
		}
	}
}

// page calls visit for the things behind the id after, until it returns false.
func (s *shelf[T]) page(after string, visit func(*T) bool) {
	at, found := s.find(after)
	if found {
		at++
	}
	for _, t := range s.order[at:] {
		if !visit(t) {
			return
		}
	}
}

func (s *shelf[T]) find(id string) (int, bool) {
	return slices.BinarySearchFunc(s.order, id, func(t *T, id string) int { return strings.Compare(s.id(t), id) })
}

func (s *shelf[T]) compare(a, b *T) int { return strings.Compare(s.id(a), s.id(b)) }
