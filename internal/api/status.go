package api

import (
	"slices"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/pool"
)

// The states of a server. They sum up the connections
// that there are to it.
const (
	StateReady      = "ready"      // a connection is open
	StateConnecting = "connecting" // one is being opened
	StateIdle       = "idle"       // none is open; a call opens one
	StateDraining   = "draining"   // the last one closes when its calls have ended
	StateFailed     = "failed"     // the last attempt failed
	StateInvalid    = "invalid"    // the definition cannot be used; nothing is dialed
)

// Listing is what the catalog holds of one kind of thing that a server lists.
type Listing struct {
	Kind      string    // tools, prompts, resources or templates
	Count     int       // in the last good listing
	Fetched   time.Time // when that was; zero: never
	Fresh     bool      // it is not due to be listed anew
	Error     string    // why the newest attempt failed; empty when it did not
	Failing   time.Time // the first of the attempts in a row that failed; zero: the newest did not
	Next      time.Time // no attempt before this; zero: with the next question
	Truncated string    // why the listing is not complete; empty when it is
}

func (l Listing) status(now time.Time) ListingStatus {
	s := ListingStatus{Count: l.Count, FetchedAt: moment(l.Fetched), Fresh: l.Fresh, Error: l.Error, Truncated: l.Truncated}
	if l.Error != "" {
		s.FailingSince = moment(l.Failing)
		if l.Next.After(now) {
			s.NextAttempt = moment(l.Next)
		}
	}
	if s.FetchedAt != nil {
		age := max(0, int64(now.Sub(l.Fetched)/time.Second))
		s.AgeSeconds = &age
	}
	return s
}

// MaxKeys is how many connections of one server are told one by one.
const MaxKeys = 200

// slot is one entry of the pool.
type slot struct {
	key pool.Key
	pool.Status
}

// held is what the pool holds that somebody has to do with, by server.
func (h *Handler) held(who jackfield.Principal) map[jackfield.ServerID][]slot {
	all := map[jackfield.ServerID][]slot{}
	if h.Connections == nil {
		return all
	}
	for k, st := range h.Connections() {
		if concerns(who, k.Scope) {
			all[k.Server] = append(all[k.Server], slot{k, st})
		}
	}
	for _, slots := range all {
		slices.SortFunc(slots, compareSlots)
	}
	return all
}

// rank orders states by what they say about a server: one open connection says
// more than a failed one, which may be somebody's own bad token.
func rank(s pool.State) int {
	switch s {
	case pool.Ready:
		return 0
	case pool.Connecting:
		return 1
	case pool.Failed:
		return 2
	case pool.Draining:
		return 3
	}
	return 4
}

// compareSlots puts the connection that speaks for the server first: by state,
// then the newest failure, else the oldest.
func compareSlots(a, b slot) int {
	if d := rank(a.State) - rank(b.State); d != 0 {
		return d
	}
	since := a.Since.Compare(b.Since)
	if a.State == pool.Failed {
		since = -since
	}
	if since != 0 {
		return since
	}
	return strings.Compare(a.key.String()+a.key.Isolation.Caps, b.key.String()+b.key.Isolation.Caps)
}

// describe is the status of s for who, to which slots are held in the order of
// compareSlots.
func (h *Handler) describe(who jackfield.Principal, s jackfield.Server, slots []slot, now time.Time) ServerStatus {
	status := ServerStatus{
		Name: s.Name, Title: s.About.Title, Description: s.About.Description,
		State: StateIdle, Transport: string(s.Endpoint.Transport),
		OnDemand: s.Usage.OnDemand, Revision: s.Revision,
	}
	for _, slot := range slots {
		status.Leases += slot.Leases
		switch slot.State {
		case pool.Ready:
			status.Connections.Ready++
		case pool.Connecting:
			status.Connections.Connecting++
		case pool.Failed:
			status.Connections.Failed++
		default:
			status.Connections.Draining++
		}
	}
	switch {
	case s.Invalid != "":
		status.State, status.Reason = StateInvalid, s.Invalid
	case len(slots) > 0:
		first := slots[0]
		status.State, status.Stage, status.Reason = stateOf(first.State), first.Stage, first.Reason
		status.Since, status.NextAttempt, status.Attempts = moment(first.Since), moment(first.Next), first.Attempts
		status.Failure = shown(first.Failure)
	}
	h.describeKnown(&status, who, s, now)
	return status
}

// describeKnown adds what the parts that may be missing know of s.
func (h *Handler) describeKnown(status *ServerStatus, who jackfield.Principal, s jackfield.Server, now time.Time) {
	h.describeAccess(status, who, &s)
	if h.Shape != nil {
		if shape, ok := h.Shape(s); ok {
			status.Era, status.ProtocolVersion = "legacy", shape.Version
			if shape.Modern() {
				status.Era = "modern"
			}
			if shape.Transport != "" {
				status.Transport = shape.Transport
			}
		}
	}
	if h.Sharing != nil && s.Invalid == "" {
		status.Sharing, status.SharingWhy = h.Sharing(s)
	}
	if h.Calls != nil {
		calls := h.Calls(s.ID)
		status.Calls = &calls
	}
	if h.Warnings != nil {
		status.Warnings = h.Warnings(s.ID)
	}
	for _, l := range h.listings(s, who) {
		if status.Listings == nil {
			status.Listings = map[string]ListingStatus{}
		}
		status.Listings[l.Kind] = l.status(now)
	}
}

func stateOf(s pool.State) string {
	if s == pool.Ready || s == pool.Connecting || s == pool.Failed {
		return s.String()
	}
	return StateDraining // and what is closing, of which nobody needs to know more
}

// keysOf tells slots one by one, at most so many.
func keysOf(slots []slot, most int) []Key {
	keys := make([]Key, 0, min(len(slots), most))
	for _, s := range slots[:min(len(slots), most)] {
		keys = append(keys, Key{
			Scope: s.key.Scope.String(), Isolation: isolation(s.key), State: stateOf(s.State), Stage: s.Stage, Reason: s.Reason,
			Since: moment(s.Since), NextAttempt: moment(s.Next), LastGood: moment(s.LastGood),
			Attempts: s.Attempts, Failure: shown(s.Failure), Leases: s.Leases, Waiters: s.Waiters,
		})
	}
	return keys
}

// isolation is what divides a scope's connections. Ids of sessions and calls are
// nobody's business.
func isolation(k pool.Key) string {
	what, _, _ := strings.Cut(k.Isolation.ID, ":")
	return what
}

// shown is f with its times as this API writes times.
func shown(f *jackfield.Failure) *jackfield.Failure {
	if f == nil {
		return nil
	}
	out := *f
	out.Since, out.Next = out.Since.UTC().Truncate(time.Second), out.Next.UTC().Truncate(time.Second)
	out.Message = (&jackfield.Failure{Message: out.Message}).At(time.Time{}) // in one line
	return &out
}

// moment is t to the second and in UTC; nil when it is zero.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}
