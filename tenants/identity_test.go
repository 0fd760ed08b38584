package tenants

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

// door stands in front of a server and compares who a request says it is from, in
// its headers, with whom the call in it is for, in its arguments.
type door struct {
	*httptest.Server
	calls, wrong atomic.Int64

	mu    sync.Mutex
	whose map[string]string // of each session, the first who came with it
	first string            // what was wrong first
}

func newDoor(t testing.TB, s *upstreamtest.Server) *door {
	t.Helper()
	to, err := url.Parse(s.Endpoint().URL)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{whose: map[string]string{}}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: to.Scheme, Host: to.Host})
			r.Out.URL.Path = to.Path
		},
		FlushInterval: -1,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 256},
	}
	t.Cleanup(func() { proxy.Transport.(*http.Transport).CloseIdleConnections() })
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		d.look(r, body)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *door) look(r *http.Request, body []byte) {
	who, token := r.Header.Get("X-User"), r.Header.Get("Authorization")
	var m struct {
		Method string `json:"method"`
		Params struct {
			Arguments struct {
				Text string `json:"text"`
			} `json:"arguments"`
		} `json:"params"`
	}
	_ = json.Unmarshal(body, &m) // a GET or DELETE has none
	d.mu.Lock()
	defer d.mu.Unlock()
	complain := func(format string, args ...any) {
		d.wrong.Add(1)
		if d.first == "" {
			d.first = fmt.Sprintf(format, args...)
		}
	}
	if token != "Bearer key of "+who {
		complain("%s came with %q", who, token)
	}
	if id := r.Header.Get(wire.HeaderSession); id != "" {
		if first := d.whose[id]; first == "" {
			d.whose[id] = who
		} else if first != who {
			complain("%s came in the session of %s", who, first)
		}
	}
	if m.Method == "tools/call" {
		d.calls.Add(1)
		if m.Params.Arguments.Text != "I am "+who {
			complain("%q came from %s", m.Params.Arguments.Text, who)
		}
	}
}

// calls is how many calls the property is tried with: JACKFIELD_IDENTITY_CALLS, for
// the figure in docs/operations.md, else what a test run has time for.
func calls(t testing.TB) int {
	if text := os.Getenv("JACKFIELD_IDENTITY_CALLS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 4000
}

// TestNobodyCallsAsSomebodyElse: fifty people, servers that everybody shares the
// definition of, headers with each person's own name and key. The server counts.
func TestNobodyCallsAsSomebodyElse(t *testing.T) {
	const people = 50
	kinds := map[string]upstreamtest.Script{
		"modern": {Era: upstreamtest.Modern}, "legacy": {Era: upstreamtest.Legacy}, "sessionless": {Era: upstreamtest.Sessionless},
	}
	doors := map[string]*door{}
	config := "limits: {programs: {perOwner: 1}}\nmcpServers:\n"
	for name, script := range kinds {
		doors[name] = newDoor(t, upstreamtest.New(t, script))
		config += fmt.Sprintf("  %s:\n    url: %s\n    headers: {X-User: \"{{user.id}}\", Authorization: \"Bearer {{var.KEY}}\"}\n    vars: {KEY: {title: Key}}\n", name, doors[name].URL)
	}
	members := make([]member, people)
	for i := range members {
		members[i].subject = fmt.Sprintf("person-%d", i)
	}
	h := open(t, config, members...)
	for _, m := range members {
		for name := range kinds {
			h.must(m.subject, http.MethodPut, "/servers/"+name+"/variables/KEY", "", map[string]string{"value": "key of " + m.subject})
		}
	}

	var left, failed atomic.Int64
	left.Store(int64(calls(t)))
	var work sync.WaitGroup
	names := []string{"modern", "legacy", "sessionless"}
	for range 200 {
		work.Go(func() {
			for left.Add(-1) >= 0 {
				who := members[rand.IntN(people)].subject
				server := names[rand.IntN(len(names))]
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				text, err := h.call(ctx, who, server, "echo", fmt.Sprintf(`{"text":"I am %s"}`, who))
				cancel()
				if err != nil || !strings.Contains(text, "I am "+who+`"`) {
					if failed.Add(1) == 1 {
						t.Errorf("%s at %s: %s %v", who, server, text, err)
					}
				}
			}
		})
	}
	work.Wait()
	seen, wrong := int64(0), int64(0)
	for name, d := range doors {
		seen += d.calls.Load()
		wrong += d.wrong.Load()
		if d.first != "" {
			t.Errorf("%s: %s", name, d.first)
		}
	}
	t.Logf("%d people, %d calls seen by the servers, %d failed, %d with a wrong identity", people, seen, failed.Load(), wrong)
	if wrong != 0 || failed.Load() != 0 || seen < int64(calls(t)) {
		t.Errorf("%d of %d calls had a wrong identity, %d failed", wrong, seen, failed.Load())
	}
}
