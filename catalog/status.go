package catalog

import (
	"cmp"
	"slices"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
)

// Status is what is known of one server.
type Status struct {
	Shape    exchange.Shape
	Known    bool // Shape is
	Listings []Listing
}

// Listing is the status of what a server lists for one audience.
type Listing struct {
	Scope    jackfield.Scope // the app's: everybody
	Lists    [numKinds]ListStatus
	Visiting bool      // it is being fetched
	Err      error     // why the last visit failed; nil: it did not
	Since    time.Time // of the first failure in a row
	Barred   bool      // no visit until somebody signs in, enters what is missing, or changes the definition
	Retry    time.Time // no visit before this; zero: at once, or when somebody has done something
}

// ListStatus is the status of one list.
type ListStatus struct {
	Known   bool // it was listed at least once
	Count   int
	Fetched time.Time // when it was last good
	Fresh   bool
	Due     time.Time // when it stops being fresh
	Public  bool
	Cut     string // why it is not complete; empty when it is
	Err     error  // why this one list could not be fetched the last time
}

// Status tells what is known of the server, for people.
func (c *Catalog) Status(s jackfield.Server) Status {
	var st Status
	st.Shape, st.Known = c.Shape(s)
	c.mu.RLock()
	defer c.mu.RUnlock()
	now := time.Now()
	for _, e := range c.of[s.ID] {
		st.Listings = append(st.Listings, e.status(now))
	}
	slices.SortFunc(st.Listings, func(a, b Listing) int {
		return cmp.Or(cmp.Compare(a.Scope.Kind, b.Scope.Kind), cmp.Compare(a.Scope.ID, b.Scope.ID))
	})
	return st
}

func (e *entry) status(now time.Time) Listing {
	l := Listing{Scope: e.scope, Visiting: e.fetch != nil, Err: e.err, Since: e.failed, Retry: e.retry, Barred: e.barred}
	for k := range Kind(numKinds) {
		s := &e.lists[k]
		if l.Lists[k].Err = s.err; s.list == nil {
			continue
		}
		l.Lists[k] = ListStatus{
			Known: true, Count: len(s.list.items), Fetched: s.fetched,
			Fresh: e.need(k, now) < aged, Due: e.due(k), Public: s.public, Cut: s.cut, Err: s.err,
		}
	}
	return l
}
