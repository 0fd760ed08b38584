package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/jackfield-dev/jackfield/internal/api"
)

// fakeAPI keeps things as the gateway's API does: by path, each with a revision. What
// a definition has under headers is secret, but for what has a place in it.
type fakeAPI struct {
	*rig
	mux *http.ServeMux

	mu       sync.Mutex
	revision uint64
	kept     map[string]map[string]any // by path and scope
	at       map[string]uint64
	asked    []string                  // what was asked for, in order: method, path, query, If-Match
	before   func(method, path string) // called before each write that is no dry run
}

func newFakeAPI(t *testing.T) *fakeAPI {
	t.Helper()
	f := &fakeAPI{rig: newRig(t), mux: http.NewServeMux(), kept: map[string]map[string]any{}, at: map[string]uint64{}}
	f.mux.HandleFunc("/api/v1/{kind}", f.collection)
	f.mux.HandleFunc("/api/v1/{kind}/{id}", f.thing)
	server := httptest.NewServer(f.mux)
	t.Cleanup(server.Close)
	f.env["JACKFIELD_URL"] = server.URL
	return f
}

func (f *fakeAPI) problem(w http.ResponseWriter, status int, code, detail string, violations ...api.Violation) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(api.Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail, Errors: violations})
}

func (f *fakeAPI) write(w http.ResponseWriter, key string, v any) {
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, f.at[key]))
	_ = json.NewEncoder(w).Encode(v)
}

// keep keeps something, as if somebody else had written it.
func (f *fakeAPI) keep(key, text string) {
	f.t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		f.t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revision++
	f.kept[key], f.at[key] = v, f.revision
}

func (f *fakeAPI) note(r *http.Request) {
	f.asked = append(f.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("If-Match")))
}

// wrote are the requests that were to change something.
func (f *fakeAPI) wrote() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, a := range f.asked {
		if !strings.HasPrefix(a, "GET ") && !strings.Contains(a, "dryRun") {
			all = append(all, a)
		}
	}
	return all
}

func (f *fakeAPI) collection(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note(r)
	kind := r.PathValue("kind")
	if r.Method == http.MethodGet {
		all := []any{}
		for key, v := range f.kept {
			if strings.HasPrefix(key, kind+"/") {
				all = append(all, v)
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{kind: all})
		return
	}
	var v map[string]any
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
		f.problem(w, 400, "invalid", err.Error())
		return
	}
	id := fmt.Sprint(v["name"])
	for _, name := range []string{"id", "subject"} {
		if v[name] != nil {
			id = fmt.Sprint(v[name])
		}
	}
	key := kind + "/" + id
	if kind == "servers" {
		if v["scope"] == nil {
			v["scope"] = "app"
		}
		key += "@" + fmt.Sprint(v["scope"])
	}
	f.put(w, r, key, v, http.StatusCreated)
}

func (f *fakeAPI) put(w http.ResponseWriter, r *http.Request, key string, v map[string]any, status int) {
	if d, ok := v["definition"].(map[string]any); ok {
		v["source"] = "store"
		if d["url"] == "http://10.0.0.1" {
			f.problem(w, 400, "invalid", "the definition cannot be taken: 10.0.0.1 is a private address; is wrong as well",
				api.Violation{Location: "body.definition.url", Message: "10.0.0.1 is a private address"},
				api.Violation{Location: "body.definition.title", Message: "is wrong as well"})
			return
		}
		headers, _ := d["headers"].(map[string]any)
		for name, value := range headers {
			if !strings.Contains(fmt.Sprint(value), "{{") {
				headers[name] = sealed
			}
		}
	}
	if r.URL.Query().Get("dryRun") != "true" {
		if _, there := f.kept[key]; there && status == http.StatusCreated {
			f.problem(w, 409, "conflict", key+" is there already")
			return
		}
		f.revision++
		f.kept[key], f.at[key] = v, f.revision
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, f.revision))
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (f *fakeAPI) thing(w http.ResponseWriter, r *http.Request) {
	dry := r.URL.Query().Get("dryRun") == "true"
	f.mu.Lock()
	before := f.before
	f.mu.Unlock()
	if before != nil && r.Method != http.MethodGet && !dry {
		before(r.Method, r.URL.Path)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note(r)
	key := r.PathValue("kind") + "/" + r.PathValue("id")
	if r.PathValue("kind") == "servers" {
		scope := r.URL.Query().Get("scope")
		if scope == "" {
			scope = "app"
		}
		key += "@" + scope
	}
	was, there := f.kept[key]
	switch {
	case !there:
		f.problem(w, 404, "not_found", fmt.Sprintf("there is no %s", key))
		return
	case r.Method == http.MethodGet:
		f.write(w, key, was)
		return
	case r.Header.Get("If-Match") == "":
		f.problem(w, 428, "invalid", "If-Match is missing")
		return
	case r.Header.Get("If-Match") != fmt.Sprintf(`"%d"`, f.at[key]):
		f.problem(w, 412, "conflict", fmt.Sprintf("%s was changed meanwhile: its revision is %d", key, f.at[key]))
		return
	case r.Method == http.MethodDelete:
		delete(f.kept, key)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	var v map[string]any
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
		f.problem(w, 400, "invalid", err.Error())
		return
	}
	raw, _ := json.Marshal(was) // a copy
	next := map[string]any{}
	_ = json.Unmarshal(raw, &next)
	if r.PathValue("kind") == "servers" {
		next["definition"] = v["definition"]
	} else {
		for _, name := range []string{"title", "description", "name", "email", "role", "teams", "disabled"} {
			delete(next, name)
		}
		maps.Copy(next, v)
	}
	f.put(w, r, key, next, http.StatusOK)
}

// definitionOf is the definition that is kept under a key, as JSON.
func (f *fakeAPI) definitionOf(key string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(f.kept[key]["definition"])
	return strings.TrimSpace(b.String())
}
