package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

// stop ends a house before its test does.
func (h *house) stop() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := h.Stop(ctx); err != nil {
		h.t.Fatal(err)
	}
}

// read asks the read API.
func (h *house) read(path string, into any) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.URL()+path, http.NoBody)
	if err != nil {
		h.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		h.t.Fatal(err)
	}
}

// waitListed waits until what the API tells of each list is as wanted.
func (h *house) waitListed(ok func(api.ListedKind) bool) api.ListingList {
	h.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var all api.ListingList
		for next := ""; ; {
			var page api.ListingList
			h.read("/api/v1/listings?limit=1000&cursor="+url.QueryEscape(next), &page)
			all.Listings = append(all.Listings, page.Listings...)
			if next = page.NextCursor; next == "" {
				break
			}
		}
		if len(all.Listings) == 4*len(h.config.Servers) && !slices.ContainsFunc(all.Listings, func(l api.ListedKind) bool { return !ok(l) }) {
			return all
		}
		if time.Now().After(end) {
			h.t.Fatalf("the listings never became as wanted: %+v", all)
		}
	}
}

func listedOnce(l api.ListedKind) bool { return l.FetchedAt != nil }

// everything is what a client sees of all servers.
func (h *house) everything() map[string][]string {
	h.t.Helper()
	all := map[string][]string{}
	for method, key := range map[string]string{
		"tools/list": "name", "prompts/list": "name", "resources/list": "uri", "resources/templates/list": "uriTemplate",
	} {
		result, failed := h.ask("/mcp", method, "{}")
		if failed != nil {
			h.t.Fatalf("%s: %v", method, failed)
		}
		var lists map[string]json.RawMessage
		if err := json.Unmarshal(result, &lists); err != nil {
			h.t.Fatal(err)
		}
		for _, list := range lists {
			var items []map[string]any
			if json.Unmarshal(list, &items) != nil {
				continue
			}
			for _, it := range items {
				all[method] = append(all[method], fmt.Sprint(it[key], " ", it["description"]))
			}
		}
	}
	return all
}

// mortal are servers of every kind, and how all of them die.
func mortal(t *testing.T) (servers []jackfield.Server, scripts []*upstreamtest.Server, die func()) {
	t.Helper()
	for i, script := range []upstreamtest.Script{
		{Era: upstreamtest.Modern, TTL: 3_600_000}, // old after a restart whatever it said
		{Era: upstreamtest.Legacy, Instructions: "speak slowly"},
		{Era: upstreamtest.Sessionless, Scope: "public"},
		{Era: upstreamtest.Legacy, Transport: jackfield.TransportSSE, Version: exchange.V20241105},
	} {
		script.Tools = []string{fmt.Sprintf("own%d", i)}
		s := upstreamtest.New(t, script)
		scripts = append(scripts, s)
		servers = append(servers, server(fmt.Sprintf("s%d", i), s))
	}
	child := upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, Transport: jackfield.TransportStdio})
	def := server("child", child)
	program := filepath.Join(t.TempDir(), "program")
	if err := os.Symlink(def.Endpoint.Command, program); err != nil {
		t.Fatal(err)
	}
	def.Endpoint.Command = program
	return append(servers, def), scripts, func() {
		for _, s := range scripts {
			for _, method := range []string{
				"server/discover", "initialize", "tools/list", "prompts/list", "resources/list", "resources/templates/list",
				http.MethodGet,
			} {
				s.Fault(upstreamtest.Fault{Method: method, Status: http.StatusServiceUnavailable})
			}
		}
		if err := os.Remove(program); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARestartWithEveryServerDeadListsEverything(t *testing.T) {
	servers, _, die := mortal(t)
	config := Config{Data: t.TempDir()}
	first := start(t, &Config{Data: config.Data}, servers...)
	first.waitListed(listedOnce)
	before := first.everything()
	about, _ := first.ask("/mcp", "server/discover", "{}")
	own, _ := first.ask("/mcp/s1", "server/discover", "{}")
	first.stop()
	die()

	began := time.Now()
	second := start(t, &config, servers...)
	after := second.everything()
	took := time.Since(began)
	if !reflect.DeepEqual(before, after) || len(after["tools/list"]) < 20 || len(after["resources/templates/list"]) != 5 {
		t.Errorf("before the restart:\n%v\nafter it:\n%v", before, after)
	}
	if took > 3*time.Second {
		t.Errorf("the start and four lists took %v", took)
	}
	t.Logf("start and four lists: %v", took)
	for path, want := range map[string]wire.Raw{"/mcp": about, "/mcp/s1": own} {
		if got, failed := second.ask(path, "server/discover", "{}"); failed != nil || string(got) != string(want) {
			t.Errorf("%s: server/discover\n%s\nbefore the restart\n%s (%v)", path, got, want, failed)
		}
	}
	all := second.waitListed(func(l api.ListedKind) bool { return l.Error != "" })
	for _, l := range all.Listings {
		if l.Fresh || l.FetchedAt == nil || l.FetchedAt.After(began) || l.AgeSeconds == nil || l.FailingSince == nil {
			t.Errorf("what is told of an old list: %+v", l)
		}
	}
}

func TestAfterARestartNobodyIsProbedAgain(t *testing.T) {
	legacy := upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy})
	config := Config{Data: t.TempDir()}
	first := start(t, &Config{Data: config.Data}, server("a", legacy))
	first.waitListed(listedOnce)
	probes := legacy.Count("server/discover")
	if probes == 0 {
		t.Fatal("nobody was probed at all, so this shows nothing")
	}
	first.stop()
	second := start(t, &config, server("a", legacy))
	second.call("/mcp", "a__echo", "{}")
	if n := legacy.Count("server/discover"); n != probes {
		t.Errorf("%d probes, %d of them before the restart", n, probes)
	}
}

func TestADefinitionEditedWhileTheGatewayWasOffShowsNothingOfTheOldServer(t *testing.T) {
	one := upstreamtest.New(t, upstreamtest.Script{Tools: []string{"of_one"}, Bare: true, Token: "secret-one"})
	config := Config{Data: t.TempDir()}
	first := start(t, &Config{Data: config.Data}, server("a", one))
	first.waitListed(listedOnce)
	first.stop()
	for what, edit := range map[string]func(*jackfield.Server){
		"address": func(s *jackfield.Server) { s.Endpoint.URL = "http://127.0.0.1:1/mcp" },
		"credential": func(s *jackfield.Server) {
			s.Endpoint.Headers = map[string]jackfield.Secret{"Authorization": "Bearer other"}
		},
	} {
		t.Run(what, func(t *testing.T) {
			data := t.TempDir()
			if err := os.CopyFS(data, os.DirFS(config.Data)); err != nil {
				t.Fatal(err)
			}
			for _, private := range []string{keyFile, "master.key"} {
				if err := os.Chmod(filepath.Join(data, private), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			other := server("a", one)
			edit(&other)
			h := start(t, &Config{Data: data}, other)
			if result, failed := h.ask("/mcp", "tools/list", "{}"); failed != nil || strings.Contains(string(result), "of_one") {
				t.Errorf("tools/list: %s, %v", result, failed)
			}
		})
	}
}

func TestSecretsAreNotInTheDataDirectory(t *testing.T) {
	const token = "0123456789abcdef-secret"
	s := upstreamtest.New(t, upstreamtest.Script{Token: token})
	data := t.TempDir()
	h := start(t, &Config{Data: data}, server("a", s))
	h.waitListed(listedOnce)
	h.stop()
	err := filepath.WalkDir(data, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", d.Name(), info.Mode())
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), token) || strings.Contains(string(text), s.URL()) {
			t.Errorf("%s holds a secret or an address", d.Name())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheFingerprintTellsDefinitionsApartThatReachSomethingElse(t *testing.T) {
	of := fingerprints([]byte("key"))
	seen := map[string]string{of(jackfield.Server{}): "the empty one"}
	definition := reflect.TypeFor[jackfield.Endpoint]()
	for i := range definition.NumField() {
		var s jackfield.Server
		f := reflect.ValueOf(&s.Endpoint).Elem().Field(i)
		switch f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{"x"}))
		case reflect.Struct:
			if first := f.Field(0); first.CanInt() {
				first.SetInt(1)
			} else {
				first.SetString("x")
			}
		case reflect.Map:
			f.Set(reflect.ValueOf(map[string]jackfield.Secret{"X": "x"}))
		default:
			t.Fatalf("the test does not know how to set %s", definition.Field(i).Name)
		}
		print := of(s)
		if other, same := seen[print]; same {
			t.Errorf("%s has the fingerprint of %s", definition.Field(i).Name, other)
		}
		seen[print] = definition.Field(i).Name
	}
	for name, s := range map[string]jackfield.Server{
		"another secret": {Endpoint: jackfield.Endpoint{Env: map[string]jackfield.Secret{"X": "y"}}},
		"sharing":        {Usage: jackfield.Usage{Sharing: jackfield.SharingCall}},
		"sign-in":        {Usage: jackfield.Usage{RequiresOAuth: true}},
	} {
		if other, same := seen[of(s)]; same {
			t.Errorf("%s has the fingerprint of %s", name, other)
		}
	}
	s := jackfield.Server{Name: "a", Revision: 7, Version: 3, About: jackfield.About{Title: "T"}}
	if of(s) != of(jackfield.Server{}) {
		t.Error("what does not decide a connection changes the fingerprint")
	}
	if of(s) == fingerprints([]byte("another key"))(s) {
		t.Error("the fingerprint does not depend on the key")
	}
}

func TestASecondGatewayOnTheSameDataIsRefused(t *testing.T) {
	h := start(t, &Config{})
	_, err := New(Options{Config: &Config{Data: h.config.Data}})
	if jackfield.CodeOf(err) != jackfield.Conflict || !strings.Contains(err.Error(), h.config.Data) ||
		!strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) || !strings.Contains(err.Error(), "--data") {
		t.Errorf("the second gateway: %v", err)
	}
}
