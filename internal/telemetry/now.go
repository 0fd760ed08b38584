package telemetry

import (
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/gateway"
	"github.com/jackfield-dev/jackfield/pool"
)

// Sources are asked what is, whenever somebody looks. Each may be nil; none may
// dial.
type Sources struct {
	Servers     func() []jackfield.Server
	Known       func(jackfield.ServerID) bool // nil: every server is
	Connections func() iter.Seq2[pool.Key, pool.Status]
	Listings    func(jackfield.Server) catalog.Status
	Gateway     func() gateway.Status
	Limits      func() []Budget
}

// Budget is one of the process's limits, and how much of it is in use.
type Budget struct {
	Name       string // in the configuration
	Used, Most int
}

// now tells what is, not what was counted.
type now struct{ *Metrics }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	descInFlight    = desc("calls_in_flight", "Requests passed to a server that have no answer yet.", "server")
	descConnections = desc("connections", "Connections to a server, by state; failed ones are remembered and not open.", "server", "state")
	descDialing     = desc("dials_in_flight", "Connections being opened.", "server")
	descQueued      = desc("dials_queued", "Connections that wait for a place to be opened.", "server")
	descPrograms    = desc("programs", "Running programs of a server with a command.", "server")
	descLeases      = desc("leases", "Calls and streams under way on connections to a server.", "server")
	descWaiters     = desc("waiters", "Calls that wait for a connection to be opened.", "server")
	descItems       = desc("listing_items", "Things in the last good listing that most people see.", "server", "kind")
	descAge         = desc("listing_age_seconds", "How old that listing is.", "server", "kind")
	descRequests    = desc("requests_in_flight", "Requests of clients being answered.")
	descStreams     = desc("streams", "Streams of clients that wait for changes.")
	descSessions    = desc("sessions", "Sessions of clients that have them.")
	descParked      = desc("parked", "Calls of clients without sessions that wait for answers to questions.")
	descEvents      = desc("event_bytes", "Bytes of events that wait for clients, or are kept for those that come back.")
	descLimit       = desc("limit", "What a limit on the whole process allows.", "limit")
	descUsed        = desc("limit_used", "How much of it is in use.", "limit")
	descDropped     = desc("notifications_dropped_total", "Notifications that a client was too slow for.")
)

// Describe tells which numbers there are.
func (now) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descInFlight, descConnections, descDialing, descQueued, descPrograms, descLeases, descWaiters, descItems, descAge,
		descRequests, descStreams, descSessions, descParked, descEvents, descDropped,
		descLimit, descUsed,
	} {
		to <- d
	}
}

// Collect tells the numbers.
func (n now) Collect(to chan<- prometheus.Metric) {
	tell := gauges(to)
	inFlight := map[string]int64{}
	for id, s := range *n.servers.Load() {
		inFlight[label(id)] += max(0, s.inFlight.Load())
	}
	for name, n := range inFlight {
		tell(descInFlight, float64(n), name)
	}
	n.connections(tell)
	n.listings(tell)
	if n.from.Limits != nil {
		for _, l := range n.from.Limits() {
			tell(descLimit, float64(l.Most), l.Name)
			tell(descUsed, float64(l.Used), l.Name)
		}
	}
	if n.from.Gateway != nil {
		st := n.from.Gateway()
		tell(descRequests, float64(st.Requests))
		tell(descStreams, float64(st.Streams))
		tell(descSessions, float64(st.Sessions))
		tell(descParked, float64(st.Parked))
		tell(descEvents, float64(st.Events))
		to <- prometheus.MustNewConstMetric(descDropped, prometheus.CounterValue, float64(st.Dropped))
	}
}

func gauges(to chan<- prometheus.Metric) func(d *prometheus.Desc, v float64, labels ...string) {
	return func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
}

// held counts the connections of one server.
type held struct {
	program                                    bool   // it is a command
	idle                                       bool   // it is not everybody's, and has none; there may be very many such
	states                                     [4]int // as stateNames
	dialing, queued, programs, leases, waiters int
}

var stateNames = [4]string{"ready", "connecting", "draining", "failed"}

func (n now) connections(tell func(*prometheus.Desc, float64, ...string)) {
	if n.from.Servers == nil || n.from.Connections == nil {
		return
	}
	all := map[jackfield.ServerID]*held{}
	named := map[string]*held{}
	program := map[jackfield.ServerID]bool{}
	for _, s := range n.from.Servers() {
		name := label(s.ID)
		if named[name] == nil {
			named[name] = &held{idle: s.Scope.Kind != jackfield.ScopeApp}
		}
		all[s.ID] = named[name]
		program[s.ID] = s.Endpoint.Transport == jackfield.TransportStdio
		named[name].program = named[name].program || program[s.ID]
	}
	for k, st := range n.from.Connections() {
		if h := all[k.Server]; h != nil { // else it was just removed
			h.add(st, program[k.Server])
		}
	}
	for name, h := range named {
		if h.idle {
			continue
		}
		for i, state := range stateNames {
			tell(descConnections, float64(h.states[i]), name, state)
		}
		tell(descDialing, float64(h.dialing), name)
		tell(descQueued, float64(h.queued), name)
		tell(descLeases, float64(h.leases), name)
		tell(descWaiters, float64(h.waiters), name)
		if h.program {
			tell(descPrograms, float64(h.programs), name)
		}
	}
}

func (h *held) add(st pool.Status, program bool) {
	h.idle = false
	h.leases += st.Leases
	h.waiters += st.Waiters
	open := true
	switch st.State {
	case pool.Ready:
		h.states[0]++
	case pool.Connecting:
		h.states[1]++
		if st.Stage == "queued" {
			h.queued++
			open = false
		} else {
			h.dialing++
		}
	case pool.Failed:
		h.states[3]++
		open = false
	default:
		h.states[2]++
	}
	if open && program {
		h.programs++
	}
}

func (n now) listings(tell func(*prometheus.Desc, float64, ...string)) {
	if n.from.Servers == nil || n.from.Listings == nil {
		return
	}
	for _, s := range n.from.Servers() {
		if label(s.ID) != string(s.ID) {
			continue
		}
		st := n.from.Listings(s)
		if len(st.Listings) == 0 {
			continue
		}
		for k, l := range st.Listings[0].Lists {
			if l.Known {
				kind := catalog.Kind(k).String()
				tell(descItems, float64(l.Count), string(s.ID), kind)
				tell(descAge, max(0, time.Since(l.Fetched).Seconds()), string(s.ID), kind)
			}
		}
	}
}
