package upstreamtest

import (
	"context"
	"io"
	"net/http"
	"strconv"

	"github.com/jackfield-dev/jackfield/wire"
)

// serveSSE is HTTP+SSE (2024-11-05).
func (s *Server) serveSSE(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/mcp":
		s.mu.Lock()
		s.last++
		id := "sse-" + strconv.Itoa(s.last)
		s.mu.Unlock()
		sess := s.session(id, true)
		sess.stream = newListener()
		ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
		defer cancel()
		sess.life = ctx
		endpoint := s.script.Endpoint
		if endpoint == "" {
			endpoint = "/messages?session=" + id
		}
		s.serveEvents(w, r, sess.stream, []wire.Event{{Name: "endpoint", Data: []byte(endpoint)}})
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sessions, id)
	case r.Method == http.MethodPost && r.URL.Path == "/messages":
		s.postSSE(w, r)
	default:
		http.Error(w, "not here", http.StatusMethodNotAllowed)
	}
}

func (s *Server) postSSE(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	sess := s.session(r.URL.Query().Get("session"), false)
	if sess == nil {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	m, err := wire.Parse(text)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if m.Kind == wire.Request {
		s.count(m.Method)
		if f, ok := s.takeFault(m.Method); ok {
			s.misanswer(w, r, f)
			return
		}
	}
	w.WriteHeader(http.StatusAccepted)
	if m.Kind != wire.Request {
		sess.take(s, m)
		return
	}
	t := &turn{s: s, sess: sess, m: m, meta: metaOf(orNull(m.Params)), mirror: r.Header}
	t.send = sess.stream.send
	t.drop = sess.stream.drop
	t.raw = func(_ int, f Fault) { sess.stream.send([]byte(f.Body)) }
	s.work.Go(func() {
		ctx, end := sess.begin(sess.life, string(m.ID))
		defer end()
		if answer := s.handle(ctx, t); answer != nil {
			sess.stream.send(answer)
		}
	})
}
