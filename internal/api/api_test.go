package api

import (
	"bytes"
	"errors"
	"flag"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
)

var update = flag.Bool("update", false, "write the golden files anew")

const hidden = "s3cr3t-that-nobody-may-see"

// servers are one of each kind: every secret that a definition can hold is in
// them.
var servers = []jackfield.Server{
	{
		ID: "github", Name: "github", Revision: 3, Version: 2,
		About:    jackfield.About{Title: "GitHub", Description: "Issues & pull requests"},
		Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: "https://example.com/mcp?key=" + hidden, Headers: map[string]jackfield.Secret{"Authorization": hidden}},
		Usage:    jackfield.Usage{OnDemand: true},
	},
	{
		ID: "files", Name: "files", Revision: 1,
		Endpoint: jackfield.Endpoint{Transport: jackfield.TransportStdio, Command: "npx", Args: []string{hidden}, Env: map[string]jackfield.Secret{"KEY": hidden}},
	},
	{ID: "broken", Name: "broken", Revision: 1, Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP}, Invalid: "the variable TOKEN is not set"},
	{ID: "com.x/y", Name: "com.x/y", Revision: 1, Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP}},
	{ID: "old", Name: "old", Revision: 1, Endpoint: jackfield.Endpoint{Transport: jackfield.TransportSSE}},
	{ID: "new", Name: "new", Revision: 1, Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP}},
}

// house is a Handler over those servers, 90 seconds after the bubble began.
func house(log *bytes.Buffer) *Handler {
	began := time.Now()
	return &Handler{
		Servers: func() []jackfield.Server { return servers },
		Authenticate: func(r *http.Request) (jackfield.Principal, error) {
			switch r.Header.Get("Authorization") {
			case "Bearer right":
				return jackfield.Principal{Subject: "token", Role: jackfield.RoleAdmin}, nil
			case "Bearer broken":
				return jackfield.Principal{}, errors.New("the disk is full of " + hidden)
			}
			return jackfield.Principal{}, jackfield.Errorf(jackfield.AuthRequired, "send the token of this gateway as Authorization: Bearer …")
		},
		Calls: func(id jackfield.ServerID) Calls {
			if id == "github" {
				return Calls{InFlight: 2, Total: 40, Failed: 3}
			}
			return Calls{}
		},
		Warnings: func(id jackfield.ServerID) []string {
			if id == "files" {
				return []string{`"autoApprove" is another product's and ignored`}
			}
			return nil
		},
		Connections: func() iter.Seq2[pool.Key, pool.Status] { return connections(began) },
		Shape: func(s jackfield.Server) (exchange.Shape, bool) {
			switch s.ID {
			case "github":
				return exchange.Shape{Transport: "http", Version: exchange.V20260728}, true
			case "old":
				return exchange.Shape{Version: exchange.V20241105, Session: true}, true
			}
			return exchange.Shape{}, false
		},
		Sharing: func(s jackfield.Server) (jackfield.Sharing, string) {
			return jackfield.SharingApp, "it keeps no state for a client"
		},
		Listings: func(s jackfield.Server, _ jackfield.Scope) []Listing {
			switch s.ID {
			case "github":
				return []Listing{
					{Kind: "tools", Count: 93, Fetched: began, Fresh: true, Failing: began, Next: began},
					{Kind: "resources", Count: 2, Fetched: began, Error: "it did not answer within 60s", Failing: began.Add(time.Minute), Next: began.Add(2 * time.Minute), Truncated: "more than 10000 items"},
				}
			case "old":
				return []Listing{{Kind: "tools", Error: "github answered 500", Failing: began, Next: began.Add(time.Minute)}}
			}
			return nil
		},
		Version: "v1.2.3",
		Log:     slog.New(slog.NewTextHandler(log, nil)),
	}
}

func connections(began time.Time) iter.Seq2[pool.Key, pool.Status] {
	key := func(id string, scope jackfield.Scope, isolation string) pool.Key {
		return pool.Key{Server: jackfield.ServerID(id), Scope: scope, Isolation: pool.Isolation{ID: isolation, Caps: `{"roots":{}}`}}
	}
	all := []struct {
		key    pool.Key
		status pool.Status
	}{
		{key("github", jackfield.User("bob"), ""), pool.Status{State: pool.Failed, Stage: "auth", Reason: "the token was refused", Since: began, Attempts: 2}},
		{key("github", jackfield.User("ann"), "session:"+hidden), pool.Status{State: pool.Ready, Since: began.Add(time.Minute), Leases: 2, LastGood: began.Add(time.Minute)}},
		{key("github", jackfield.App(), ""), pool.Status{State: pool.Ready, Since: began.Add(30 * time.Second), Leases: 1, LastGood: began.Add(30 * time.Second)}},
		{key("old", jackfield.App(), ""), pool.Status{State: pool.Failed, Stage: "connect", Reason: "connection refused", Since: began, Next: began.Add(2 * time.Minute), Attempts: 1}},
		{key("old", jackfield.User("ann"), ""), pool.Status{State: pool.Failed, Stage: "dns", Reason: "no such host", Since: began.Add(time.Second), Next: began.Add(3 * time.Minute), Attempts: 4}},
		{key("old", jackfield.App(), "call:7"), pool.Status{State: pool.Draining, Reason: "idle", Since: began, Leases: 1}},
		{key("com.x/y", jackfield.App(), "call:8"), pool.Status{State: pool.Draining, Stage: "closing", Reason: "idle", Since: began, Leases: 1}},
		{key("new", jackfield.App(), "probe"), pool.Status{State: pool.Connecting, Stage: "queued", Since: began, Waiters: 5}},
		{key("gone", jackfield.App(), ""), pool.Status{State: pool.Ready, Since: began}},
	}
	return func(yield func(pool.Key, pool.Status) bool) {
		for _, e := range all {
			if !yield(e.key, e.status) {
				return
			}
		}
	}
}

func TestTheAPI(t *testing.T) {
	for _, c := range []struct {
		name, method, path, token string
		status                    int
		change                    func(*Handler)
	}{
		{name: "servers", path: "/api/v1/servers", token: "right", status: 200},
		{name: "servers-none", path: "/api/v1/servers", token: "right", status: 200, change: func(h *Handler) {
			h.Servers = func() []jackfield.Server { return nil }
		}},
		{name: "servers-bare", path: "/api/v1/servers", token: "right", status: 200, change: func(h *Handler) {
			*h = Handler{Servers: h.Servers, Authenticate: h.Authenticate}
		}},
		{name: "servers-no-token", path: "/api/v1/servers", status: 401},
		{name: "servers-broken", path: "/api/v1/servers", token: "broken", status: 500},
		{name: "servers-post", method: "POST", path: "/api/v1/servers", token: "right", status: 405},
		{name: "servers-parameter", path: "/api/v1/servers?verbose=1", token: "right", status: 400},
		{name: "server-github", path: "/api/v1/servers/github", token: "right", status: 200},
		{name: "server-old", path: "/api/v1/servers/old", token: "right", status: 200},
		{name: "server-slash", path: "/api/v1/servers/com.x%2Fy", token: "right", status: 200},
		{name: "server-unknown", path: "/api/v1/servers/nope", token: "right", status: 404},
		{name: "server-no-token", path: "/api/v1/servers/nope", status: 401},
		{name: "listings", path: "/api/v1/listings", token: "right", status: 200},
		{name: "listings-bare", path: "/api/v1/listings", token: "right", status: 200, change: func(h *Handler) { h.Listings = nil }},
		{name: "listings-server", path: "/api/v1/listings?server=old", token: "right", status: 200},
		{name: "listings-kind", path: "/api/v1/listings?kind=resources", token: "right", status: 200},
		{name: "listings-unknown-server", path: "/api/v1/listings?server=", token: "right", status: 404},
		{name: "listings-unknown-kind", path: "/api/v1/listings?kind=apples", token: "right", status: 400},
		{name: "listings-twice", path: "/api/v1/listings?server=old&server=new", token: "right", status: 400},
		{name: "listings-parameter", path: "/api/v1/listings?sever=old", token: "right", status: 400},
		{name: "unknown", path: "/api/v2/servers", token: "right", status: 404},
		{name: "healthz", path: "/healthz", status: 200},
		{name: "healthz-degraded", path: "/healthz", status: 200, change: func(h *Handler) {
			h.Degraded = func() error { return errors.New("the catalog cannot be kept") }
		}},
		{name: "healthz-head", method: "HEAD", path: "/healthz", status: 200},
		{name: "healthz-post", method: "POST", path: "/healthz", status: 405},
		{name: "healthz-failing", path: "/healthz", status: 503, change: func(h *Handler) {
			h.Health = func() error { return errors.New("the gateway is stopping") }
		}},
		{name: "readyz", path: "/readyz", status: 200},
		{name: "readyz-degraded", path: "/readyz", status: 200, change: func(h *Handler) {
			h.Readiness = func() (Readiness, []string) {
				return Ready, []string{"2 of 6 servers cannot be reached", "the catalog cannot be kept"}
			}
		}},
		{name: "readyz-starting", path: "/readyz", status: 503, change: func(h *Handler) {
			h.Readiness = func() (Readiness, []string) { return Starting, nil }
		}},
		{name: "readyz-draining", path: "/readyz", status: 503, change: func(h *Handler) {
			h.Readiness = func() (Readiness, []string) { return Draining, nil }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				h := house(&log)
				time.Sleep(90 * time.Second)
				if c.change != nil {
					c.change(h)
				}
				w := ask(h, c.method, c.path, c.token)
				want := "application/problem+json"
				if c.status == 200 || strings.HasSuffix(c.path, "z") && c.status == 503 {
					want = "application/json"
				}
				if w.Code != c.status || w.Header().Get("Content-Type") != want || w.Header().Get("Cache-Control") != "no-store" {
					t.Errorf("%d %v, want %d and %s", w.Code, w.Header(), c.status, want)
				}
				if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") == "Bearer") || (w.Code == 405) != (w.Header().Get("Allow") != "") {
					t.Errorf("headers %v", w.Header())
				}
				if strings.Contains(w.Body.String(), hidden) {
					t.Errorf("a secret is told: %s", w.Body)
				}
				if (w.Code == 500) != strings.Contains(log.String(), "the disk is full") {
					t.Errorf("the log says %q", log.String())
				}
				golden(t, c.name, w.Body.Bytes())
			})
		})
	}
}

func ask(h *Handler, method, path, token string) *httptest.ResponseRecorder {
	mux := http.NewServeMux()
	h.Mount(mux)
	r := httptest.NewRequest(method, path, http.NoBody)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s\n(go test -update writes it anew)", name, got, want)
	}
}

func TestEveryCodeHasAnHTTPStatus(t *testing.T) {
	seen := map[int]jackfield.Code{}
	for _, code := range jackfield.Codes() {
		if status[code] < 400 {
			t.Errorf("%v has no status", code)
		}
		if other, ok := seen[status[code]]; ok {
			t.Errorf("%v and %v are both %d", code, other, status[code])
		}
		seen[status[code]] = code
	}
	if len(status) != len(jackfield.Codes()) {
		t.Errorf("%d statuses for %d codes", len(status), len(jackfield.Codes()))
	}
}

func TestThousandsOfConnectionsAreCountedAndNotAllTold(t *testing.T) {
	h := house(&bytes.Buffer{})
	h.Connections = func() iter.Seq2[pool.Key, pool.Status] {
		return func(yield func(pool.Key, pool.Status) bool) {
			for i := range 5000 {
				k := pool.Key{Server: "files", Scope: jackfield.User("u" + string(rune('a'+i%26)))}
				if !yield(k, pool.Status{State: pool.Ready, Leases: 1}) {
					return
				}
			}
		}
	}
	body := ask(h, "GET", "/api/v1/servers/files", "right").Body.String()
	if !strings.Contains(body, `"ready": 5000`) || !strings.Contains(body, `"leases": 5000`) || strings.Count(body, `"waiters"`) != MaxKeys {
		t.Errorf("%.600s … with %d keys", body, strings.Count(body, `"waiters"`))
	}
}

func TestAnUnknownServerIsToldFromAtMostTwentyOthers(t *testing.T) {
	h := house(&bytes.Buffer{})
	h.Servers = func() []jackfield.Server {
		many := make([]jackfield.Server, 100)
		for i := range many {
			many[i].Name = "n"
		}
		return many
	}
	if body := ask(h, "GET", "/api/v1/servers/x", "right").Body.String(); strings.Count(body, "n, ") != 20 || !strings.Contains(body, "…") {
		t.Errorf("%s", body)
	}
}

// TestTheDocumentationNamesEveryRouteAndMember holds docs/api.md to what is served.
func TestTheDocumentationNamesEveryRouteAndMember(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	w := newWorld(t)
	for route := range w.operations() {
		if _, path, _ := strings.Cut(route, " "); !strings.Contains(doc, strings.TrimPrefix(path, base)+"`") {
			t.Errorf("docs/api.md does not speak of %s", route)
		}
	}
	for name, schema := range w.edge.huma.OpenAPI().Components.Schemas.Map() {
		for member := range schema.Properties {
			if !strings.Contains(doc, "`"+member+"`") {
				t.Errorf("docs/api.md does not speak of the member %s of %s", member, name)
			}
		}
	}
}
