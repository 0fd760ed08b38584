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

// kinds are the kinds of listing.
var kinds = []string{"tools", "prompts", "resources", "templates"}

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

// ListingStatus is a Listing as the API tells it.
type ListingStatus struct {
	Count        int        `json:"count"`
	FetchedAt    *time.Time `json:"fetchedAt,omitempty"`    // absent: never
	AgeSeconds   *int64     `json:"ageSeconds,omitempty"`   // absent: never
	Fresh        bool       `json:"fresh,omitempty"`        // false: the next question has it listed anew
	Error        string     `json:"error,omitempty"`        // why it is old: the newest attempt failed
	FailingSince *time.Time `json:"failingSince,omitempty"` // with error
	NextAttempt  *time.Time `json:"nextAttempt,omitempty"`  // with error: not before this
	Truncated    string     `json:"truncated,omitempty"`
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

// ServerStatus is what the API tells of one server.
type ServerStatus struct {
	Name        string `json:"name"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`

	State       string             `json:"state"`                 // one of the States
	Stage       string             `json:"stage,omitempty"`       // how far the state's work is, or how far it came
	Reason      string             `json:"reason,omitempty"`      // why, in words for a person
	Since       *time.Time         `json:"since,omitempty"`       // when it entered the state
	NextAttempt *time.Time         `json:"nextAttempt,omitempty"` // failed: no call dials before this; absent: only someone can end it
	Attempts    int                `json:"attempts,omitempty"`    // failed: failures in a row
	Failure     *jackfield.Failure `json:"failure,omitempty"`     // failed: the last one, for programs

	Era             string            `json:"era,omitempty"`             // modern or legacy; absent: not known yet
	ProtocolVersion string            `json:"protocolVersion,omitempty"` // the revision in use; absent: not known yet
	Transport       string            `json:"transport"`                 // stdio, http or sse
	OnDemand        bool              `json:"onDemand,omitempty"`        // listed on first use, not in the background
	Sharing         jackfield.Sharing `json:"sharing,omitempty"`         // who shares a connection
	SharingWhy      string            `json:"sharingWhy,omitempty"`

	Connections Connections              `json:"connections"`
	Leases      int                      `json:"leases"` // calls and streams under way
	Calls       *Calls                   `json:"calls,omitempty"`
	Listings    map[string]ListingStatus `json:"listings,omitempty"`
	Warnings    []string                 `json:"warnings,omitempty"`
	Revision    uint64                   `json:"revision"`       // of the definition
	Keys        []Key                    `json:"keys,omitempty"` // only of /api/v1/servers/{name}
}

// Calls counts the calls of a server since the gateway started.
type Calls struct {
	InFlight int64  `json:"inFlight"` // under way, waiting for a connection included
	Total    uint64 `json:"total"`    // ended
	Failed   uint64 `json:"failed"`   // of those, without a result; those that their clients cancelled are not among them
}

// Connections counts what the pool holds for a server.
type Connections struct {
	Ready      int `json:"ready"`
	Connecting int `json:"connecting"`
	Draining   int `json:"draining"`
	Failed     int `json:"failed"`
}

// Key is one connection, or the memory that it failed.
type Key struct {
	Scope       string             `json:"scope"`               // whose: app, team:ID or user:ID
	Isolation   string             `json:"isolation,omitempty"` // what divides the scope: session, call, probe, listing; absent: nothing
	State       string             `json:"state"`
	Stage       string             `json:"stage,omitempty"`
	Reason      string             `json:"reason,omitempty"`
	Since       *time.Time         `json:"since,omitempty"`
	NextAttempt *time.Time         `json:"nextAttempt,omitempty"`
	LastGood    *time.Time         `json:"lastGood,omitempty"`
	Attempts    int                `json:"attempts,omitempty"`
	Failure     *jackfield.Failure `json:"failure,omitempty"`
	Leases      int                `json:"leases"`
	Waiters     int                `json:"waiters"`
}

// MaxKeys is how many connections of one server are told one by one.
const MaxKeys = 200

// slot is one entry of the pool.
type slot struct {
	key pool.Key
	pool.Status
}

// held is what the pool holds, by server.
func (h *Handler) held() map[jackfield.ServerID][]slot {
	all := map[jackfield.ServerID][]slot{}
	if h.Connections == nil {
		return all
	}
	for k, st := range h.Connections() {
		all[k.Server] = append(all[k.Server], slot{k, st})
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

// describe is the status of s, to which slots are held in the order of
// compareSlots.
func (h *Handler) describe(s jackfield.Server, slots []slot, now time.Time) ServerStatus {
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
	h.describeKnown(&status, s, now)
	return status
}

// describeKnown adds what the parts that may be missing know of s.
func (h *Handler) describeKnown(status *ServerStatus, s jackfield.Server, now time.Time) {
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
	if h.Listings == nil {
		return
	}
	for _, l := range h.Listings(s) {
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

// keysOf tells slots one by one, at most MaxKeys. Ids of sessions and calls are
// nobody's business.
func keysOf(slots []slot) []Key {
	keys := make([]Key, 0, min(len(slots), MaxKeys))
	for _, s := range slots[:min(len(slots), MaxKeys)] {
		isolation, _, _ := strings.Cut(s.key.Isolation.ID, ":")
		keys = append(keys, Key{
			Scope: s.key.Scope.String(), Isolation: isolation, State: stateOf(s.State), Stage: s.Stage, Reason: s.Reason,
			Since: moment(s.Since), NextAttempt: moment(s.Next), LastGood: moment(s.LastGood),
			Attempts: s.Attempts, Failure: shown(s.Failure), Leases: s.Leases, Waiters: s.Waiters,
		})
	}
	return keys
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
