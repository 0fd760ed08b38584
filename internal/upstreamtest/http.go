package upstreamtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// session is what a legacy server keeps of one client.
type session struct {
	id string

	mu     sync.Mutex // guards what follows
	asked  map[string]chan wire.Message
	open   map[string]context.CancelFunc
	ended  bool
	stream *listener       // HTTP+SSE: everything goes there
	life   context.Context // HTTP+SSE: lasts as long as the stream
}

func newSession(id string) *session {
	return &session{id: id, asked: map[string]chan wire.Message{}, open: map[string]context.CancelFunc{}}
}

// ask sends a request to the client and waits for its answer.
func (x *session) ask(ctx context.Context, s *Server, send func([]byte), method, params string) (string, error) {
	s.mu.Lock()
	s.last++
	id := fmt.Sprintf(`"ask-%d"`, s.last)
	s.mu.Unlock()
	answer := make(chan wire.Message, 1)
	x.mu.Lock()
	x.asked[id] = answer
	x.mu.Unlock()
	send(wire.AppendRequest(nil, wire.Raw(id), method, wire.Raw(params)))
	select {
	case m := <-answer:
		if m.Error != nil {
			return string(m.Error), nil
		}
		return string(m.Result), nil
	case <-ctx.Done():
		send(wire.AppendNotification(nil, "notifications/cancelled", wire.Raw(`{"requestId":`+id+`}`)))
		return "", ctx.Err()
	}
}

// begin notes that a request is worked on; cancelled ends it.
func (x *session) begin(ctx context.Context, id string) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.open[id] = cancel
	if x.ended {
		cancel()
	}
	return ctx, func() {
		cancel()
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.open, id)
	}
}

// end ends what is worked on, and what comes later.
func (x *session) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended = true
	for _, cancel := range x.open {
		cancel()
	}
}

// take takes what is no request.
func (x *session) take(s *Server, m wire.Message) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if m.Kind == wire.Response {
		s.count("answer")
		s.mu.Lock()
		tell := s.onAnswer
		s.mu.Unlock()
		if tell != nil {
			tell(string(m.Result) + string(m.Error))
		}
		if c := x.asked[string(m.ID)]; c != nil {
			delete(x.asked, string(m.ID))
			c <- m
		}
		return
	}
	s.count(m.Method)
	s.hear(m)
	if m.Method == "notifications/cancelled" {
		var p struct {
			ID json.RawMessage `json:"requestId"`
		}
		_ = json.Unmarshal(m.Params, &p)
		if cancel := x.open[string(p.ID)]; cancel != nil {
			s.count("cancelled")
			cancel()
		}
	}
}

// listener is one event stream.
type listener struct {
	queue   chan []byte
	dropped chan struct{}
	once    sync.Once

	id     string // of the subscriptions/listen request; empty: legacy, hears everything
	filter filter
}

type filter struct {
	Tools     bool     `json:"toolsListChanged,omitempty"`
	Prompts   bool     `json:"promptsListChanged,omitempty"`
	Resources bool     `json:"resourcesListChanged,omitempty"`
	URIs      []string `json:"resourceSubscriptions,omitempty"`
	Tasks     []string `json:"taskIds,omitempty"`
}

func newListener() *listener {
	const room = 256
	return &listener{queue: make(chan []byte, room), dropped: make(chan struct{})}
}

// send queues a message; one too many is dropped.
func (l *listener) send(message []byte) {
	select {
	case l.queue <- message:
	default:
	}
}

func (l *listener) drop() { l.once.Do(func() { close(l.dropped) }) }

func (s *Server) listen(l *listener) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners[l] = true
	s.wakeLocked()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, l)
		s.wakeLocked()
	}
}

func (s *Server) broadcast(message []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listeners {
		l.send(message)
	}
}

func (s *Server) emit(method, params string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listeners {
		p := params
		if l.id != "" {
			if !l.filter.wants(method, params) {
				continue
			}
			tag := `"_meta":{"io.modelcontextprotocol/subscriptionId":` + l.id + `}`
			if p = strings.TrimSuffix(params, "}"); p != "{" {
				p += ","
			}
			p += tag + "}"
		}
		l.send(wire.AppendNotification(nil, method, wire.Raw(p)))
	}
}

func (f filter) wants(method, params string) bool {
	switch method {
	case "notifications/tasks":
		var p struct {
			TaskID string `json:"taskId"`
		}
		_ = json.Unmarshal([]byte(params), &p)
		return slices.Contains(f.Tasks, p.TaskID)
	case "notifications/tools/list_changed":
		return f.Tools
	case "notifications/prompts/list_changed":
		return f.Prompts
	case "notifications/resources/list_changed":
		return f.Resources
	case "notifications/resources/updated":
		var p struct {
			URI string `json:"uri"`
		}
		_ = json.Unmarshal([]byte(params), &p)
		return slices.Contains(f.URIs, p.URI)
	}
	return false
}

// servePipes serves HTTP on pipes, for a client that only s.Client is.
func (s *Server) servePipes(t testing.TB) {
	ln := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	srv := &http.Server{Handler: s, ConnState: s.connState}
	var done sync.WaitGroup
	done.Go(func() { _ = srv.Serve(ln) })
	transport := &http.Transport{DialContext: ln.dial}
	s.client = &http.Client{Transport: transport}
	s.url = "http://upstream.test"
	t.Cleanup(func() {
		s.die()
		transport.CloseIdleConnections()
		_ = srv.Close()
		done.Wait()
		s.work.Wait()
	})
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: errors.New("connection refused")}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// ServeHTTP is the server over HTTP.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.count(r.Method)
	s.mu.Lock()
	if s.parts {
		w.Header().Set("Connection", "close")
	}
	s.mu.Unlock()
	if s.script.Token != "" && r.Header.Get("Authorization") != "Bearer "+s.script.Token {
		w.Header().Set("WWW-Authenticate", `Bearer realm="upstreamtest"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	if f, ok := s.takeFault(r.Method); ok {
		s.misanswer(w, r, f)
		return
	}
	switch {
	case s.script.Transport == jackfield.TransportSSE:
		s.serveSSE(w, r)
	case r.Method == http.MethodPost:
		s.post(w, r)
	case s.era() == Modern:
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
	case r.Method == http.MethodGet:
		s.get(w, r)
	case r.Method == http.MethodDelete:
		s.delete(w, r)
	default:
		http.Error(w, "no such method", http.StatusMethodNotAllowed)
	}
}

// misanswer answers as a fault says.
func (s *Server) misanswer(w http.ResponseWriter, r *http.Request, f Fault) {
	switch {
	case f.Hang:
		_, _ = io.Copy(io.Discard, r.Body) // or the client's leaving goes unnoticed
		select {
		case <-r.Context().Done():
		case <-s.life.Done():
		}
		return
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.Do != nil:
		f.Do(w, r)
		return
	}
	for name, value := range map[string]string{"Retry-After": f.RetryAfter, "Location": f.Location, "Content-Type": f.Type} {
		if value != "" {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(max(f.Status, http.StatusOK))
	_, _ = io.WriteString(w, f.Body)
}

func refuse(w http.ResponseWriter, status int, id wire.Raw, code int, message, data string) {
	e := &wire.Error{Code: code, Message: message}
	if data != "" {
		e.Data = wire.Raw(data)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(wire.AppendError(nil, id, e))
}

func (s *Server) post(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	m, err := wire.Parse(text)
	if err != nil {
		refuse(w, http.StatusBadRequest, nil, wire.CodeParse, err.Error(), "")
		return
	}
	if m.Kind == wire.Request {
		s.count(m.Method)
		if f, ok := s.takeFault(m.Method); ok {
			s.misanswer(w, r, f)
			return
		}
	}
	if m.Kind == wire.Notification && r.Header.Get(wire.HeaderProtocolVersion) == "2026-07-28" && s.era() != Legacy && s.era() != Sessionless {
		s.count(m.Method)
		s.hear(m)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	meta := metaOf(orNull(m.Params))
	if meta.Version != "" || m.Method == "subscriptions/listen" {
		s.postModern(w, r, m, meta)
		return
	}
	s.postLegacy(w, r, m, meta)
}

func (s *Server) postModern(w http.ResponseWriter, r *http.Request, m wire.Message, meta meta) {
	switch {
	case (s.era() == Legacy || s.era() == Sessionless) && s.script.Asleep:
		<-r.Context().Done()
		return
	case s.era() == Legacy:
		refuse(w, http.StatusBadRequest, nil, -32000, "Bad Request: Server not initialized", "")
		return
	case s.era() == Sessionless:
		refuse(w, http.StatusOK, m.ID, wire.CodeMethodNotFound, "Method not found", "")
		return
	case meta.Version != "2026-07-28":
		refuse(w, http.StatusBadRequest, m.ID, wire.CodeUnsupportedVersion, "Unsupported protocol version", `{"supported":["2026-07-28"]}`)
		return
	}
	var p struct {
		Name, URI, TaskID string
		Arguments         struct{ Region string }
	}
	_ = json.Unmarshal(m.Params, &p)
	wantName := map[string]string{
		"tools/call": p.Name, "prompts/get": p.Name, "resources/read": p.URI,
		"tasks/get": p.TaskID, "tasks/update": p.TaskID, "tasks/cancel": p.TaskID,
	}[m.Method]
	name, err := wire.DecodeHeaderValue(r.Header.Get(wire.HeaderName))
	if err != nil || r.Header.Get(wire.HeaderProtocolVersion) != meta.Version || r.Header.Get(wire.HeaderMethod) != m.Method || name != wantName ||
		s.misrouted(p.Name, p.Arguments.Region, r.Header) {
		refuse(w, http.StatusBadRequest, m.ID, wire.CodeHeaderMismatch, "headers and body differ", "")
		return
	}
	if m.Method == "subscriptions/listen" {
		s.subscribe(w, r, m)
		return
	}
	s.answer(w, r, &turn{s: s, modern: true, m: m, meta: meta})
}

func (s *Server) postLegacy(w http.ResponseWriter, r *http.Request, m wire.Message, meta meta) {
	if s.era() == Modern {
		refuse(w, http.StatusBadRequest, m.ID, wire.CodeUnsupportedVersion, "Unsupported protocol version", `{"supported":["2026-07-28"]}`)
		return
	}
	var sess *session
	switch id := r.Header.Get(wire.HeaderSession); {
	case s.era() == Sessionless:
		sess = s.session("sessionless", m.Method == "initialize")
	case m.Method == "initialize":
		s.mu.Lock()
		s.last++
		id = "session-" + strconv.Itoa(s.last)
		s.mu.Unlock()
		sess = s.session(id, true)
		w.Header().Set(wire.HeaderSession, id)
	case id == "":
		refuse(w, http.StatusBadRequest, nil, -32000, "Bad Request: Mcp-Session-Id header is required", "")
		return
	default:
		if sess = s.session(id, false); sess == nil {
			refuse(w, http.StatusNotFound, nil, -32001, "Session not found", "")
			return
		}
	}
	if m.Kind != wire.Request {
		sess.take(s, m)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	s.answer(w, r, &turn{s: s, sess: sess, m: m, meta: meta})
}

// session finds a session; make makes it when there is none.
func (s *Server) session(id string, create bool) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess := s.sessions[id]
	if sess == nil && create {
		sess = newSession(id)
		s.sessions[id] = sess
		s.counts["session"]++
		s.wakeLocked()
	}
	return sess
}

func (s *Server) delete(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	id := r.Header.Get(wire.HeaderSession)
	gone := s.sessions[id]
	delete(s.sessions, id)
	s.wakeLocked()
	s.mu.Unlock()
	if gone == nil {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	gone.end()
	w.WriteHeader(http.StatusNoContent)
}

// answer works on a request and answers it: with one JSON text, or with a stream
// when more is to be said.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, t *turn) {
	ctx := r.Context()
	if t.sess != nil {
		// A client that disconnects has not cancelled (2025-11-25, transports).
		var end func()
		ctx, end = t.sess.begin(s.life, string(t.m.ID))
		defer end()
	}
	out := &events{w: w}
	t.mirror = r.Header
	t.send = out.send
	t.drop = func() { panic(http.ErrAbortHandler) }
	t.raw = func(status int, f Fault) {
		f.Status = status
		s.misanswer(w, r, f)
	}
	if t.sess != nil && !t.modern {
		t.poll = func(retry, times int) error { return s.poll(t, out, retry, times) }
	}
	text := s.handle(ctx, t)
	switch {
	case text == nil:
		if r.Context().Err() != nil {
			s.count("abandoned")
		}
	case out.polled != nil:
		out.polled.finish(text)
	case s.script.JSON && !out.begun:
		w.Header().Set("Content-Type", "application/json")
		if t.modern {
			w.WriteHeader(modernStatus(text))
		}
		_, _ = w.Write(text)
	default:
		out.send(text)
	}
}

// modernStatus is the HTTP status of a response (2026-07-28, Streamable HTTP).
func modernStatus(text []byte) int {
	m, err := wire.Parse(text)
	if err != nil || m.Error == nil {
		return http.StatusOK
	}
	switch wire.ParseError(m.Error).Code {
	case wire.CodeMethodNotFound:
		return http.StatusNotFound
	case wire.CodeInvalidParams:
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// events is an event stream of an answer.
type events struct {
	mu     sync.Mutex
	w      http.ResponseWriter
	begun  bool
	polled *eventLog
}

func (e *events) send(message []byte) { e.event(wire.Event{Data: message}) }

func (e *events) event(ev wire.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.w == nil {
		return
	}
	e.beginLocked()
	_, _ = e.w.Write(wire.AppendEvent(nil, ev))
	flush(e.w)
}

func (e *events) beginLocked() {
	if !e.begun {
		e.begun = true
		e.w.Header().Set("Content-Type", "text/event-stream")
		e.w.WriteHeader(http.StatusOK)
	}
}

// end closes the stream for its handler; what comes later is dropped.
func (e *events) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.w = nil
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// eventLog is the rest of a stream that the server closed in the middle
// (SEP-1699).
type eventLog struct {
	mu    sync.Mutex
	left  int // visits until the answer is there
	retry int
	text  []byte
}

// poll closes the stream of t after an event that names a place to come back to.
func (s *Server) poll(t *turn, out *events, retry, times int) error {
	log := &eventLog{left: max(times, 1), retry: retry}
	id := "stream-" + string(t.m.ID)
	s.mu.Lock()
	s.logs[id] = log
	s.mu.Unlock()
	out.event(wire.Event{ID: id, Data: []byte{}})
	out.event(wire.Event{Data: wire.AppendNotification(nil, "notifications/message", wire.Raw(`{"level":"info","data":"before"}`)), ID: id + "/1"})
	out.event(wire.Event{Retry: msToDuration(retry), ID: id})
	out.end()
	out.polled = log
	return nil
}

func (l *eventLog) finish(text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = text
}

// get is the GET stream, or the rest of a stream.
func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	if last := r.Header.Get(wire.HeaderLastEventID); last != "" {
		s.resume(w, last)
		return
	}
	if s.script.NoStream {
		http.Error(w, "no stream here", http.StatusMethodNotAllowed)
		return
	}
	if s.era() != Sessionless && s.session(r.Header.Get(wire.HeaderSession), false) == nil {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	s.serveEvents(w, r, newListener(), nil)
}

func (s *Server) resume(w http.ResponseWriter, last string) {
	s.count("resume")
	id, _, _ := strings.Cut(last, "/")
	s.mu.Lock()
	log := s.logs[id]
	s.mu.Unlock()
	if log == nil {
		http.Error(w, "no such event", http.StatusBadRequest)
		return
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	out := &events{w: w}
	log.left--
	if log.left > 0 || log.text == nil {
		out.event(wire.Event{ID: id, Retry: msToDuration(log.retry), Data: []byte{}})
		return
	}
	// A careless server begins with what the client has seen already.
	out.event(wire.Event{ID: last, Data: wire.AppendNotification(nil, "notifications/message", wire.Raw(`{"level":"info","data":"before"}`))})
	out.event(wire.Event{ID: id + "/2", Data: log.text})
}

// serveEvents holds an event stream open.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request, l *listener, first []wire.Event) {
	defer s.listen(l)()
	out := &events{w: w}
	for _, ev := range first {
		out.event(ev)
	}
	out.mu.Lock()
	out.beginLocked()
	_, _ = w.Write(wire.AppendComment(nil, "hello"))
	flush(w)
	out.mu.Unlock()
	for {
		select {
		case message := <-l.queue:
			out.send(message)
		case <-l.dropped:
			for len(l.queue) > 0 { // what was said before
				out.send(<-l.queue)
			}
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Server) subscribe(w http.ResponseWriter, r *http.Request, m wire.Message) {
	l, ack := newSubscription(m)
	s.serveEvents(w, r, l, []wire.Event{{Data: ack}})
}

func newSubscription(m wire.Message) (*listener, []byte) {
	var p struct {
		Notifications filter `json:"notifications"`
	}
	_ = json.Unmarshal(m.Params, &p)
	agreed, err := json.Marshal(p.Notifications)
	if err != nil {
		panic(err)
	}
	params := fmt.Sprintf(`{"_meta":{"io.modelcontextprotocol/subscriptionId":%s},"notifications":%s}`, m.ID, agreed)
	ack := wire.AppendNotification(nil, "notifications/subscriptions/acknowledged", wire.Raw(params))
	l := newListener()
	l.id, l.filter = string(m.ID), p.Notifications
	return l, ack
}
