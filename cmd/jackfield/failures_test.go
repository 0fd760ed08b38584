package main

import (
	"encoding/json"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/pool"
)

// TestEveryKindOfFailureIsToldInTheSameWords: whatever the kind, the API, the table,
// the page of one server and --json say what the client is told.
func TestEveryKindOfFailureIsToldInTheSameWords(t *testing.T) {
	now := time.Now()
	var servers []jackfield.Server
	held := map[pool.Key]pool.Status{}
	for i, kind := range jackfield.FailureKinds() {
		name := "x-" + string(kind)
		f := &jackfield.Failure{
			Kind: kind, Stage: "connect", Message: fmt.Sprintf("server %q: it went wrong; mend it", name),
			Since: now.Add(-time.Minute), Attempts: i + 1, Next: now.Add(time.Hour),
		}
		if kind == jackfield.FailureHTTP {
			f.Status = 503
		}
		servers = append(servers, jackfield.Server{ID: jackfield.ServerID(name), Name: name, Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP}})
		held[pool.Key{Server: jackfield.ServerID(name)}] = pool.Status{
			State: pool.Failed, Stage: f.Stage, Reason: f.At(now), Failure: f, Since: f.Since, Next: f.Next, Attempts: f.Attempts,
		}
	}
	mux := http.NewServeMux()
	(&api.Handler{
		Servers:      func() []jackfield.Server { return servers },
		Authenticate: func(*http.Request) (jackfield.Principal, error) { return jackfield.Principal{}, nil },
		Connections: func() iter.Seq2[pool.Key, pool.Status] {
			return func(yield func(pool.Key, pool.Status) bool) {
				for k, st := range held {
					if !yield(k, st) {
						return
					}
				}
			}
		},
	}).Mount(mux)
	gateway := httptest.NewServer(mux)
	defer gateway.Close()
	r := newRig(t)
	r.env["JACKFIELD_URL"] = gateway.URL
	_, table, _ := r.run("", "servers")
	_, text, _ := r.run("", "servers", "--json")
	var list api.ServerList
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Servers) != len(servers) {
		t.Fatal(err, text)
	}
	for _, v := range list.Servers {
		st := held[pool.Key{Server: jackfield.ServerID(v.Name)}]
		_, page, _ := r.run("", "servers", v.Name)
		for where, shown := range map[string]string{"the table": table, "the page": page, "the API": v.Reason} {
			if !strings.Contains(shown, st.Reason) {
				t.Errorf("%s of %s does not say %q:\n%s", where, v.Name, st.Reason, shown)
			}
		}
		if state := "failed (" + st.Failure.Label() + ")"; !strings.Contains(table, state) || !strings.Contains(page, state) {
			t.Errorf("%s: no state %q", v.Name, state)
		}
		if f := v.Failure; f == nil || f.Kind != st.Failure.Kind || f.Message != st.Failure.Message || f.Attempts != st.Attempts || f.Status != st.Failure.Status {
			t.Errorf("%s: failure %+v", v.Name, f)
		}
	}
}

// TestFailuresOfRealServersAreToldEverywhere: servers that fail in different ways, and
// what the caller, the table and the log say about each.
func TestFailuresOfRealServersAreToldEverywhere(t *testing.T) {
	answer := func(status int, header, value, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(header, value)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	release := make(chan struct{})
	mute := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(mute.Close)
	t.Cleanup(func() { close(release) })
	broken := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(broken.Close)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	t.Cleanup(secure.Close)
	nobody, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = nobody.Close()
	url := func(u string) string { return fmt.Sprintf("{url: %q, initTimeout: 1500ms}", u) }
	cases := []struct{ name, definition, label string }{
		{"refused", url("http://" + nobody.Addr().String()), "refused"},
		{"tls", url(secure.URL), "tls"},
		{"timeout", url(mute.URL), "timeout at initialize"},
		{"broken", url(broken.URL), "broken"},
		{"status", url(answer(500, "X", "y", "out of order")), "http 500"},
		{"crowd", url(answer(429, "Retry-After", "60", "")), "http 429"},
		{"protocol", url(answer(200, "Content-Type", "text/html", "<html>")), "protocol"},
		{"auth", url(answer(401, "X", "y", "")), "auth"},
		{"start", `{command: no-such-program-here}`, "start"},
		{"exited", `{command: sh, args: [-c, "echo out of cheese >&2; exit 3"]}`, "exited"},
	}
	config := "log: {level: warn}\nmcpServers:\n"
	for _, c := range cases {
		config += "  " + c.name + ": " + c.definition + "\n"
	}
	r := newRig(t)
	file := filepath.Join(r.data, "jackfield.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s := r.serve("--config", file)
	for _, c := range cases {
		code, _, said := r.run("", "call", c.name, "anything")
		if code == exitOK || !strings.Contains(said, "("+c.label+"; failed ") {
			t.Errorf("%s: the caller was told, code %d: %s", c.name, code, said)
			continue
		}
		said = strings.TrimPrefix(said, "jackfield: auth/anything says that it failed: ") // what the caller can mend is the result of the call
		core, _, _ := strings.Cut(strings.TrimPrefix(said, "jackfield: "), " ("+c.label+"; failed ")
		_, table, _ := r.run("", "servers", c.name)
		if !strings.Contains(table, core) || !strings.Contains(table, "failed ("+c.label+")") {
			t.Errorf("%s: the caller was told %q, and the page says:\n%s", c.name, core, table)
		}
		quoted := strings.ReplaceAll(core, `"`, `\"`)
		if log := s.errs.String(); !strings.Contains(log, quoted) || !strings.Contains(log, "server="+c.name) {
			t.Errorf("%s: the caller was told %q, and the log says:\n%s", c.name, quoted, log)
		}
	}
	code, said, errs := r.run("", "servers", "reset", "auth")
	if code != exitOK || said != "auth begins anew with the next call.\n" {
		t.Errorf("reset: code %d, %s%s", code, said, errs)
	}
	if _, page, _ := r.run("", "servers", "auth"); strings.Contains(page, "failed (") {
		t.Errorf("after the reset:\n%s", page)
	}
	if code, _, _ := r.run("", "servers", "reset", "nobody"); code != exitUsage {
		t.Errorf("reset of nobody: code %d", code)
	}
	r.signals <- os.Interrupt
	if code := s.ends(t); code != exitOK {
		t.Errorf("code %d", code)
	}
}
