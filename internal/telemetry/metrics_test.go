package telemetry

import (
	"context"
	"errors"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/gateway"
	"github.com/jackfield-dev/jackfield/pool"
	"github.com/jackfield-dev/jackfield/wire"
)

// house is a gateway of which everything can be said at least once.
func house() *Metrics {
	files := jackfield.Server{ID: "files", Name: "files", Endpoint: jackfield.Endpoint{Transport: jackfield.TransportStdio}}
	return NewMetrics("v1.2.3", Sources{
		Servers: func() []jackfield.Server { return []jackfield.Server{files} },
		Connections: func() iter.Seq2[pool.Key, pool.Status] {
			return maps.All(map[pool.Key]pool.Status{
				{Server: "files", Scope: jackfield.User("ann")}:  {State: pool.Ready, Leases: 2},
				{Server: "files", Scope: jackfield.User("bob")}:  {State: pool.Connecting, Stage: "queued", Waiters: 3},
				{Server: "files", Scope: jackfield.User("cem")}:  {State: pool.Connecting, Stage: "dialing", Waiters: 1},
				{Server: "files", Scope: jackfield.User("dora")}: {State: pool.Failed},
				{Server: "files", Scope: jackfield.User("eve")}:  {State: pool.Draining, Leases: 1},
				{Server: "gone", Scope: jackfield.User("eve")}:   {State: pool.Ready},
			})
		},
		Listings: func(jackfield.Server) catalog.Status {
			var l catalog.Listing
			l.Lists[catalog.Tools] = catalog.ListStatus{Known: true, Count: 12, Fetched: time.Now().Add(-time.Minute)}
			return catalog.Status{Listings: []catalog.Listing{l}}
		},
		Gateway: func() gateway.Status {
			return gateway.Status{Requests: 1, Streams: 2, Sessions: 3, Events: 4, Dropped: 5}
		},
		Limits: func() []Budget { return []Budget{{Name: "limits.calls.total", Used: 3, Most: 7}} },
	})
}

// use counts something of everything.
func use(m *Metrics) {
	s := &jackfield.Server{ID: "files", Name: "files"}
	for _, end := range []struct {
		answer *wire.Error
		err    error
	}{
		{nil, nil},
		{nil, nil},
		{&wire.Error{Code: -32602}, nil},
		{nil, context.Canceled},
		{nil, jackfield.Errorf(jackfield.Unavailable, "it is down: %w", &jackfield.Failure{Kind: jackfield.FailureRefused})},
		{nil, jackfield.Errorf(jackfield.Exhausted, "too many")},
	} {
		m.CallBegan(s)
		m.CallEnded(s, 3*time.Millisecond, end.answer, end.err)
	}
	m.CallBegan(s)
	m.Dialed("files", time.Second, nil)
	m.Dialed("files", time.Second, errors.New("?"))
	m.Listed("files", nil)
	m.Replayed(s)
	m.Refused(http.StatusUnauthorized)
}

func page(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestTheNumbersSayWhatHappenedAndWhatIs(t *testing.T) {
	m := house()
	use(m)
	got := page(t, m)
	for _, want := range []string{
		`jackfield_calls_total{outcome="ok",server="files"} 2`,
		`jackfield_calls_total{outcome="error",server="files"} 1`,
		`jackfield_calls_total{outcome="cancelled",server="files"} 1`,
		`jackfield_calls_total{outcome="refused",server="files"} 1`,
		`jackfield_calls_total{outcome="exhausted",server="files"} 1`,
		`jackfield_call_duration_seconds_count{server="files"} 6`,
		`jackfield_calls_in_flight{server="files"} 1`,
		`jackfield_replays_total{server="files"} 1`,
		`jackfield_connections{server="files",state="ready"} 1`,
		`jackfield_connections{server="files",state="connecting"} 2`,
		`jackfield_connections{server="files",state="draining"} 1`,
		`jackfield_connections{server="files",state="failed"} 1`,
		`jackfield_dials_in_flight{server="files"} 1`,
		`jackfield_dials_queued{server="files"} 1`,
		`jackfield_programs{server="files"} 3`,
		`jackfield_leases{server="files"} 3`,
		`jackfield_waiters{server="files"} 4`,
		`jackfield_listing_items{kind="tools",server="files"} 12`,
		`jackfield_sessions 3`,
		`jackfield_notifications_dropped_total 5`,
		`jackfield_refused_total{status="401"} 1`,
		`jackfield_limit{limit="limits.calls.total"} 7`,
		`jackfield_limit_used{limit="limits.calls.total"} 3`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(got, "gone") || strings.Contains(got, "ann") {
		t.Error("a removed server, or a person, is in it")
	}
	if inFlight, ended, failed := m.Calls("files"); inFlight != 1 || ended != 6 || failed != 3 {
		t.Error(inFlight, ended, failed)
	}
}

// TestAServerOfAFewWithoutConnectionsIsLeftOut: there may be thousands of them.
func TestAServerOfAFewWithoutConnectionsIsLeftOut(t *testing.T) {
	m := NewMetrics("v1", Sources{
		Servers: func() []jackfield.Server {
			return []jackfield.Server{
				{ID: "files", Scope: jackfield.App()}, {ID: "team:data/used", Scope: jackfield.Team("data")}, {ID: "team:data/idle", Scope: jackfield.Team("data")},
			}
		},
		Connections: func() iter.Seq2[pool.Key, pool.Status] {
			return maps.All(map[pool.Key]pool.Status{{Server: "team:data/used"}: {State: pool.Ready}})
		},
	})
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for server, want := range map[string]bool{"files": true, "team:data/used": true, "team:data/idle": false} {
		if got := strings.Contains(answer.Body.String(), `server="`+server+`"`); got != want {
			t.Errorf("%s is told of: %v", server, got)
		}
	}
}

func TestARemovedServerTakesItsNumbersAlong(t *testing.T) {
	m := house()
	use(m)
	m.from.Known = func(jackfield.ServerID) bool { return false }
	m.Forget("files")
	m.CallEnded(&jackfield.Server{ID: "files"}, time.Second, nil, errors.New("it was removed"))
	m.CallBegan(&jackfield.Server{ID: "files"}) // by somebody who has not heard of it yet
	m.CallEnded(&jackfield.Server{ID: "files"}, time.Second, nil, nil)
	m.Replayed(&jackfield.Server{ID: "files"})
	m.Dialed("files", time.Second, nil)
	m.Listed("files", nil)
	for line := range strings.Lines(page(t, m)) {
		if strings.Contains(line, "_total{") && strings.Contains(line, `"files"`) || strings.HasPrefix(line, "jackfield_") && strings.Contains(line, "duration_seconds_count") {
			t.Error(line)
		}
	}
}

func TestACallThatOutlivesItsServerDoesNotCountForTheNextOfThatName(t *testing.T) {
	m := house()
	s := &jackfield.Server{ID: "files", Name: "files"}
	m.CallBegan(s)
	m.Forget("files")
	m.CallBegan(s)
	m.CallEnded(s, time.Second, nil, nil)
	m.CallEnded(s, time.Second, nil, nil)
	m.CallBegan(s)
	if inFlight, _, _ := m.Calls("files"); inFlight != 1 {
		t.Errorf("%d calls are under way", inFlight)
	}
}

// TestTheTableInTheDocsIsWhatIsExported holds docs/operations.md to the metrics,
// both ways.
func TestTheTableInTheDocsIsWhatIsExported(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{} // labels by name
	for _, row := range regexp.MustCompile("(?m)^\\| `(jackfield_[a-z_]+)` \\| ([a-z]+) \\|([^|]*)\\|").FindAllStringSubmatch(string(doc), -1) {
		labels := regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(row[3], -1)
		var names []string
		for _, l := range labels {
			names = append(names, l[1])
		}
		slices.Sort(names)
		told[row[1]] = row[2] + " " + strings.Join(names, ",")
	}
	m := house()
	use(m)
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		name := f.GetName()
		if !strings.HasPrefix(name, namespace+"_") {
			continue // of Go and the process: the library's
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		want := strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ",")
		if told[name] != want {
			t.Errorf("docs/operations.md says %q of %s, which is %q", told[name], name, want)
		}
		delete(told, name)
	}
	for name := range told {
		t.Errorf("docs/operations.md tells of %s, which there is not", name)
	}
}

func TestCountingACallAllocatesNothing(t *testing.T) {
	m := house()
	s := &jackfield.Server{ID: "files", Name: "files"}
	if n := testing.AllocsPerRun(100, func() {
		m.CallBegan(s)
		m.CallEnded(s, time.Millisecond, nil, nil)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
