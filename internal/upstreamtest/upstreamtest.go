// Package upstreamtest is a scripted MCP server for tests: any protocol era, any
// transport, any misbehaviour that a client has to survive, and a count of
// everything that was asked of it.
//
//	s := upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy})
//	conn, err := upstream.Dial(ctx, upstream.Options{Name: "s", Endpoint: s.Endpoint(), Client: s.Client()})
//	… call the tool "ask" …
//	if n := s.Count("initialize"); n != 1 { … }
//
// What a call does is said by the call: the tools are the words listed at
// [Server.call], such as echo, slow, ask, progress, drop and exit. What goes
// wrong outside of calls is said by Script.Faults.
//
// Over HTTP the server runs in the test's own process: on a loopback socket, or
// with Script.InProcess on pipes, which makes it usable inside a synctest bubble
// (through [Server.Client]). Over stdio it is the test binary itself, started
// anew; the package under test needs
//
//	func TestMain(m *testing.M) {
//		upstreamtest.RunAsChild()
//		goleak.VerifyTestMain(m)
//	}
package upstreamtest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// Era is which protocol era a server speaks.
type Era string

// The eras.
const (
	Modern      Era = "modern"      // 2026-07-28 and nothing else
	Legacy      Era = "legacy"      // initialize, with a session id over HTTP
	Sessionless Era = "sessionless" // initialize, without a session id
	Dual        Era = "dual"        // both, on one address
)

// Script says what kind of server to be. The zero value is a modern server over
// HTTP.
type Script struct {
	Era       Era
	Transport jackfield.Transport // http (the default), sse or stdio
	InProcess bool                // HTTP over pipes instead of sockets

	Version      string   // the legacy revision that initialize agrees to; empty: 2025-11-25
	Instructions string   //
	Tools        []string // more tools, which answer with their own name
	Header       string   // adds the tool routed, whose argument region travels in Mcp-Param-{Header} too, and badly, which no HTTP client may call (modern)
	Bare         bool     // no tools of ours, only Tools
	App          string   // ui:// URI that every tool links to, which is not listed
	Tasks        bool     // declares that calls can be tasks; the tool is task, see makeTask
	Page         int      // items on a page of a list; 0: all
	Pages        int      // how many pages a list claims to have, with the same items again; 0: as many as it has
	TTL          int      // ttlMs of lists
	Scope        string   // cacheScope of lists; empty: private
	JSON         bool     // answer with one JSON text where nothing else has to be said
	NoStream     bool     // GET gets 405
	Asleep       bool     // server/discover gets no answer (legacy)
	Delicate     bool     // ends, over stdio, when anything comes before initialize
	Stubborn     bool     // goes on, over stdio, when its input ends or it is asked to end
	Token        string   // wanted as Authorization: Bearer; else 401
	Endpoint     string   // what the endpoint event says (sse); empty: the right address
	Faults       []Fault

	Journal string // file for the counts of child processes; set by New
}

// Fault is something that goes wrong when a method is asked for.
type Fault struct {
	Method     string // a JSON-RPC method, or GET or DELETE
	Status     int    // the HTTP status of the answer
	RetryAfter string
	Location   string
	Type, Body string                                   // content type and text of the answer; over stdio Body is written as a line
	Hang       bool                                     // no answer at all
	Do         func(http.ResponseWriter, *http.Request) `json:"-"` // answers, over HTTP
	Drop       bool                                     // the socket is closed; a process ends
	Times      int                                      // how often; 0: always
}

// Server is a server that follows a script.
type Server struct {
	script Script
	url    string
	client *http.Client
	tasks  tasks
	life   context.Context // ends with the test
	end    context.CancelFunc
	work   sync.WaitGroup // HTTP+SSE: what is worked on

	mu        sync.Mutex // guards what follows
	changed   chan struct{}
	counts    map[string]int
	faults    []Fault
	parts     bool // see Part
	sessions  map[string]*session
	listeners map[*listener]bool
	logs      map[string]*eventLog
	extra     []string // tools that came later
	onAnswer  func(text string)
	heard     map[string]wire.Raw // params of the last notification, by method
	last      int
}

func newServer(script Script) *Server {
	if script.Era == "" {
		script.Era = Modern
	}
	if script.Transport == "" {
		script.Transport = jackfield.TransportHTTP
	}
	if script.Version == "" {
		script.Version = "2025-11-25"
	}
	if script.Scope == "" {
		script.Scope = "private"
	}
	life, end := context.WithCancel(context.Background())
	return &Server{
		life: life, end: end,
		script: script, faults: script.Faults, changed: make(chan struct{}), counts: map[string]int{},
		heard: map[string]wire.Raw{}, sessions: map[string]*session{}, listeners: map[*listener]bool{}, logs: map[string]*eventLog{},
	}
}

// New starts a server that lasts as long as the test. Over stdio nothing is
// started: Endpoint says how to.
func New(t testing.TB, script Script) *Server {
	t.Helper()
	s := newServer(script)
	switch {
	case s.script.Transport == jackfield.TransportStdio:
		s.script.Journal = filepath.Join(t.TempDir(), "journal")
	case s.script.InProcess:
		s.servePipes(t)
	default:
		ts := httptest.NewUnstartedServer(s)
		ts.Config.ConnState = s.connState
		ts.Start()
		t.Cleanup(func() {
			s.die()
			ts.CloseClientConnections()
			ts.Close()
			s.work.Wait()
		})
		s.url = ts.URL
	}
	return s
}

func (s *Server) connState(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		s.count("socket")
	}
}

// Endpoint is how to reach the server.
func (s *Server) Endpoint() jackfield.Endpoint {
	e := jackfield.Endpoint{Transport: s.script.Transport, URL: s.url + "/mcp"}
	switch {
	case s.script.Transport == jackfield.TransportStdio:
		script, err := json.Marshal(s.script)
		if err != nil {
			panic(err)
		}
		exe, err := os.Executable()
		if err != nil {
			panic(err)
		}
		return jackfield.Endpoint{
			Transport: jackfield.TransportStdio, Command: exe,
			Env: map[string]jackfield.Secret{
				childVariable: jackfield.Secret(script),
				"GORACE":      "atexit_sleep_ms=0", // a test binary with -race takes a second to end, otherwise
			},
		}
	case s.script.Token != "":
		e.Headers = map[string]jackfield.Secret{"Authorization": jackfield.Secret("Bearer " + s.script.Token)}
	}
	return e
}

// URL is the address over HTTP, without a path.
func (s *Server) URL() string { return s.url }

// Client reaches the server when it runs on pipes; nil otherwise.
func (s *Server) Client() *http.Client { return s.client }

// Count is how often something happened: a JSON-RPC method was asked for or
// notified, or one of POST, GET, DELETE, socket, process, session (one was made),
// exit (a process ended by itself), cancelled (a call was), abandoned (its stream
// was closed), answer (to a question of ours) and tool:NAME.
func (s *Server) Count(what string) int {
	if s.script.Journal != "" {
		text, err := os.ReadFile(s.script.Journal)
		if err != nil {
			return 0
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			if line == what+"\n" {
				n++
			}
		}
		return n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[what]
}

// Wait waits until Count(what) is at least n.
func (s *Server) Wait(t testing.TB, what string, n int) {
	t.Helper()
	const patience = 10 * time.Second
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond) // child processes cannot wake anybody
	defer poll.Stop()
	for s.Count(what) < n {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-poll.C:
		case <-deadline.C:
			t.Fatalf("upstreamtest: %d × %s within %v, want %d", s.Count(what), what, patience, n)
		}
	}
}

func (s *Server) count(what string) {
	if s.script.Journal != "" {
		f, err := os.OpenFile(s.script.Journal, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			panic(err)
		}
		defer func() { _ = f.Close() }()
		if _, err := f.WriteString(what + "\n"); err != nil {
			panic(err)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
	s.wakeLocked()
}

func (s *Server) wakeLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Fault adds a fault.
func (s *Server) Fault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
}

// Heal removes all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.parts = nil, false
}

// Part says whether a server over HTTP closes the connection after each answer.
func (s *Server) Part(parts bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts = parts
}

// Turn makes it a server of another era, as after an upgrade.
func (s *Server) Turn(era Era) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script.Era = era
}

// AddTool makes the server list one more tool. It tells nobody; Emit does.
func (s *Server) AddTool(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extra = append(s.extra, name)
}

// Rename makes the tool routed mirror its argument in another header. It tells
// nobody.
func (s *Server) Rename(header string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script.Header = header
}

// Header is the header that Script.Header, or Rename, named.
func (s *Server) Header() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.script.Header
}

// misrouted reports whether a call of the tool routed lacks its header.
func (s *Server) misrouted(name, region string, header http.Header) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return name == "routed" && s.script.Header != "" && header.Get(wire.HeaderParamPrefix+s.script.Header) != region
}

// Restart is what a restart does to a server over HTTP, but for its sockets: its
// sessions and what it works on in them are gone.
func (s *Server) Restart() {
	s.mu.Lock()
	gone := slices.Collect(maps.Values(s.sessions))
	clear(s.sessions)
	s.mu.Unlock()
	for _, x := range gone {
		x.end()
	}
}

// Forget forgets all sessions, and goes on with what it works on in them.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

// Sessions is how many sessions are alive.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Listeners is how many event streams stand: GET streams, subscriptions/listen,
// and the streams of HTTP+SSE.
func (s *Server) Listeners() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.listeners)
}

// WaitListeners waits until that many event streams stand.
func (s *Server) WaitListeners(t testing.TB, n int) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		changed, now := s.changed, len(s.listeners)
		s.mu.Unlock()
		if now == n {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			t.Fatalf("upstreamtest: %d event streams, want %d", now, n)
		}
	}
}

func (s *Server) die() {
	s.end()
	s.DropStreams()
}

// DropStreams ends all event streams.
func (s *Server) DropStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listeners {
		l.drop()
	}
}

// Emit sends a notification to all event streams that want it.
func (s *Server) Emit(method, params string) { s.emit(method, params) }

// AskAtLarge sends a request on every event stream of a legacy server, where
// nothing says which call it belongs to. Its id is "at-large".
func (s *Server) AskAtLarge(method, params string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listeners {
		l.send(fmt.Appendf(nil, `{"jsonrpc":"2.0","id":"at-large","method":%q,"params":%s}`, method, params))
	}
}

// OnAnswer calls f with the result or error in each answer to a question.
func (s *Server) OnAnswer(f func(text string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onAnswer = f
}

// hear notes a notification of the client's.
func (s *Server) hear(m wire.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard[m.Method] = m.Params
}

func (s *Server) lastHeard(method string) wire.Raw {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard[method]
}

// takeFault returns the fault that is due for a method.
func (s *Server) takeFault(method string) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.faults {
		f := &s.faults[i]
		if f.Method != method {
			continue
		}
		due := *f
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
			}
		}
		return due, true
	}
	return Fault{}, false
}

func (s *Server) era() Era {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.script.Era
}
