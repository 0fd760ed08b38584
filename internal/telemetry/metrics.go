package telemetry

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// Metrics are the numbers of one gateway. The methods are hooks of the parts; they
// may be called concurrently and cost a few atomic additions.
type Metrics struct {
	registry *prometheus.Registry
	from     Sources

	calls, replays, dials, listings, refused, exhausted *prometheus.CounterVec
	callTime, dialTime                                  *prometheus.HistogramVec

	mu      sync.Mutex // held while servers is replaced
	servers atomic.Pointer[map[jackfield.ServerID]*server]
}

// server is what is counted for one server.
type server struct {
	inFlight atomic.Int64
	total    atomic.Uint64
	failed   atomic.Uint64
	ok       prometheus.Counter
	took     prometheus.Observer
}

// How long things take, in seconds: from a call that is answered from memory to
// one that works for minutes.
var (
	callBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
	dialBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
)

const namespace = "jackfield"

// NewMetrics makes the numbers of a gateway of that version. What is now is asked of
// from whenever somebody looks.
func NewMetrics(version string, from Sources) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), from: from}
	none := map[jackfield.ServerID]*server{}
	m.servers.Store(&none)
	count := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	times := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		}, []string{"server"})
		m.registry.MustRegister(v)
		return v
	}
	m.calls = count("calls_total", "Requests passed to a server, by how they ended.", "server", "outcome")
	m.replays = count("replays_total", "Requests that were sent once more, because the first time did nothing or twice does no more.", "server")
	m.callTime = times("call_duration_seconds", "How long they took, waiting for a connection included.", callBuckets)
	m.dials = count("dials_total", "Connections that were opened, or could not be.", "server", "outcome")
	m.dialTime = times("dial_duration_seconds", "How long opening a connection took, also when it failed.", dialBuckets)
	m.listings = count("listings_total", "Visits to a server to list what it offers.", "server", "outcome")
	m.refused = count("refused_total", "Requests of clients that were answered with an HTTP error.", "status")
	m.exhausted = count("exhausted_total", "Calls refused because a limit was reached.", "limit")
	m.registry.MustRegister(
		now{m},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "What runs; the value says nothing.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	info.Set(1)
	m.registry.MustRegister(info)
	return m
}

// Handler serves the numbers as Prometheus reads them.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, ErrorHandling: promhttp.ContinueOnError})
}

// people is the label of all servers that belong to one person. There may be very many,
// and whose they are, and what they are called, is nobody's business.
const people = "user:*"

// label is what a server is called in the numbers.
func label(id jackfield.ServerID) string {
	if owner, _, inStore := strings.Cut(string(id), "/"); inStore && strings.HasPrefix(owner, "user:") {
		return people
	}
	return string(id)
}

// of is what is counted for a server; nil for one that was removed.
func (m *Metrics) of(id jackfield.ServerID) *server {
	if s := (*m.servers.Load())[id]; s != nil {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := *m.servers.Load()
	if s := old[id]; s != nil || !m.knows(id) {
		return s
	}
	s := &server{ok: m.calls.WithLabelValues(label(id), outcomeOK), took: m.callTime.WithLabelValues(label(id))}
	all := maps.Clone(old)
	all[id] = s
	m.servers.Store(&all)
	return s
}

// Forget drops what was counted for a server that is no more.
func (m *Metrics) Forget(id jackfield.ServerID) {
	m.mu.Lock()
	all := maps.Clone(*m.servers.Load())
	delete(all, id)
	m.servers.Store(&all)
	m.mu.Unlock()
	if label(id) != string(id) {
		return // others are counted there too
	}
	of := prometheus.Labels{"server": string(id)}
	for _, v := range []*prometheus.CounterVec{m.calls, m.replays, m.dials, m.listings} {
		v.DeletePartialMatch(of)
	}
	m.callTime.DeletePartialMatch(of)
	m.dialTime.DeletePartialMatch(of)
}

// CallBegan counts a call that is under way.
func (m *Metrics) CallBegan(s *jackfield.Server) {
	if of := m.of(s.ID); of != nil {
		of.inFlight.Add(1)
	}
}

// Replayed counts a call that is sent once more.
func (m *Metrics) Replayed(s *jackfield.Server) {
	if m.knows(s.ID) {
		m.replays.WithLabelValues(label(s.ID)).Inc()
	}
}

// CallEnded counts how a call ended.
func (m *Metrics) CallEnded(s *jackfield.Server, took time.Duration, answer *wire.Error, err error) {
	of := (*m.servers.Load())[s.ID]
	if of == nil {
		return // it was removed meanwhile
	}
	if of.inFlight.Add(-1) < 0 {
		of.inFlight.Add(1) // it began before a server of that name was removed
	}
	of.total.Add(1)
	of.took.Observe(took.Seconds())
	if answer == nil && err == nil {
		of.ok.Inc()
		return
	}
	outcome := outcomeOf(answer, err)
	if outcome != outcomeCancelled {
		of.failed.Add(1)
	}
	m.calls.WithLabelValues(label(s.ID), outcome).Inc()
	if jackfield.CodeOf(err) == jackfield.Exhausted {
		m.exhausted.WithLabelValues(limitOf(err)).Inc()
	}
}

// Calls are the numbers of one server's calls since the start: those under way,
// those that ended, and those among them that failed.
func (m *Metrics) Calls(id jackfield.ServerID) (inFlight int64, ended, failed uint64) {
	s := (*m.servers.Load())[id]
	if s == nil {
		return 0, 0, 0
	}
	return max(0, s.inFlight.Load()), s.total.Load(), s.failed.Load()
}

// Dialed counts an attempt to open a connection.
func (m *Metrics) Dialed(id jackfield.ServerID, took time.Duration, err error) {
	if !m.knows(id) {
		return
	}
	m.dials.WithLabelValues(label(id), outcomeOf(nil, err)).Inc()
	m.dialTime.WithLabelValues(label(id)).Observe(took.Seconds())
}

// Listed counts a visit to list what a server offers.
func (m *Metrics) Listed(id jackfield.ServerID, err error) {
	if !m.knows(id) {
		return
	}
	m.listings.WithLabelValues(label(id), outcomeOf(nil, err)).Inc()
}

// knows reports whether there is such a server: what ends after it was removed is
// not counted, or its series would come back.
func (m *Metrics) knows(id jackfield.ServerID) bool {
	return m.from.Known == nil || m.from.Known(id)
}

// Refused counts a request that was answered with an HTTP error.
func (m *Metrics) Refused(status int) { m.refused.WithLabelValues(strconv.Itoa(status)).Inc() }

const (
	outcomeOK        = "ok"
	outcomeError     = "error"     // the server answered with an error
	outcomeCancelled = "cancelled" // nobody waited any more
)

// outcomeOf is how something ended, in one of a few words.
func outcomeOf(answer *wire.Error, err error) string {
	switch {
	case answer != nil:
		return outcomeError
	case err == nil:
		return outcomeOK
	case errors.Is(err, context.Canceled):
		return outcomeCancelled
	}
	if f := jackfield.FailureOf(err); f != nil && f.Kind != "" {
		return string(f.Kind)
	}
	return jackfield.CodeOf(err).String()
}

// limitOf names the limit that err speaks of.
func limitOf(err error) string {
	if f := jackfield.FailureOf(err); f != nil && f.Limit != "" {
		return f.Limit
	}
	return "other"
}
