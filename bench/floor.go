package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// floor is the least pass-through over net/http that understands MCP: it reads the
// envelope and the params with encoding/json, keeps the ids that clients chose, has
// sessions of its own, takes the server's prefix off a tool's name, and sends every
// request through one http.Transport. It checks nothing, serves one server, and
// speaks to it in the era in which it is spoken to. Whatever does more than this
// costs more than this; the question is how much.
type floor struct {
	upstream string
	client   http.Client

	mu       sync.Mutex        // guards sessions
	sessions map[string]string // ours to the server's
}

func newFloor(upstream string) *floor {
	return &floor{
		upstream: upstream,
		client:   http.Client{Transport: transport()},
		sessions: map[string]string{},
	}
}

type envelope struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
}

type callParams struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments,omitempty"`
	Meta      json.RawMessage `json:"_meta,omitempty"`
}

const (
	sessionHeader = "Mcp-Session-Id"
	versionHeader = "Mcp-Protocol-Version"
)

func (f *floor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var in envelope
	if err = json.Unmarshal(body, &in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name := ""
	if in.Method == "tools/call" {
		var p callParams
		if err = json.Unmarshal(in.Params, &p); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		p.Name = strings.TrimPrefix(p.Name, serverName+"__")
		name = p.Name
		in.Params, _ = json.Marshal(p)
	}
	own := in.ID
	if own != nil {
		in.ID = json.RawMessage("1")
	}
	out, err := f.send(r, &in, name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	if id := out.session; id != "" {
		w.Header().Set(sessionHeader, f.opened(id))
	}
	if own == nil {
		w.WriteHeader(out.status)
		return
	}
	var answer envelope
	if err := json.Unmarshal(out.body, &answer); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	answer.ID = own
	text, _ := json.Marshal(answer)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(out.status)
	_, _ = w.Write(text)
}

type answered struct {
	status  int
	session string
	body    []byte
}

func (f *floor) send(r *http.Request, in *envelope, name string) (answered, error) {
	text, err := json.Marshal(in)
	if err != nil {
		return answered{}, err
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, f.upstream, bytes.NewReader(text))
	if err != nil {
		return answered{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for _, h := range []string{versionHeader, "Mcp-Method"} {
		if v := r.Header.Get(h); v != "" {
			req.Header.Set(h, v)
		}
	}
	if name != "" && r.Header.Get("Mcp-Name") != "" {
		req.Header.Set("Mcp-Name", name)
	}
	if own := r.Header.Get(sessionHeader); own != "" {
		f.mu.Lock()
		req.Header.Set(sessionHeader, f.sessions[own])
		f.mu.Unlock()
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return answered{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return answered{resp.StatusCode, resp.Header.Get(sessionHeader), body}, err
}

// opened gives the client an id of ours for a session of the server's.
func (f *floor) opened(id string) string {
	own := rand.Text()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions[own] = id
	return own
}
