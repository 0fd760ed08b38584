package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/credentials"
)

// scripted is a Vault that has what a test put there.
type scripted struct {
	mu     sync.Mutex        // guards what follows
	two    map[string]string // answers in version 2 of the engine, by mount/path: the fields, as JSON
	one    map[string]string // and in version 1
	tokens []string          // that may read
	denied string            // the beginning of paths that no token may read
	status int               // of every answer; 0: as it should be
	gone   error             // nothing answers
	asked  []string
	header http.Header // of the last question
}

func newScripted() *scripted {
	return &scripted{two: map[string]string{}, one: map[string]string{}, tokens: []string{"hvs.good"}}
}

func (v *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked, v.header = append(v.asked, r.URL.EscapedPath()), r.Header.Clone()
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	mount, rest, _ := strings.Cut(path, "/")
	two, isTwo := v.two[mount+"/"+strings.TrimPrefix(rest, "data/")]
	one, isOne := v.one[path]
	switch {
	case v.status != 0:
		http.Error(w, `{"errors":["`+r.Header.Get("X-Vault-Token")+`"]}`, v.status)
	case v.denied != "" && strings.HasPrefix(path, v.denied), !slices.Contains(v.tokens, r.Header.Get("X-Vault-Token")):
		http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
	case isTwo && strings.HasPrefix(rest, "data/"):
		_, _ = fmt.Fprintf(w, `{"data":{"data":%s,"metadata":{"version":1}}}`, two)
	case isOne:
		_, _ = fmt.Fprintf(w, `{"data":%s,"lease_duration":1}`, one)
	default:
		http.Error(w, `{"errors":[]}`, http.StatusNotFound)
	}
}

// RoundTrip answers without a network, for tests in which time stands still.
func (v *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	v.mu.Lock()
	gone := v.gone
	v.mu.Unlock()
	if gone != nil {
		return nil, gone
	}
	w := httptest.NewRecorder()
	v.ServeHTTP(w, r)
	return w.Result(), nil
}

func (v *scripted) set(change func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change()
}

func (v *scripted) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.asked)
}

// behind is a gateway with a Vault.
func behind(t *testing.T, v *scripted) *shelf {
	s := newShelf(t)
	s.env["VAULT_ADDR"], s.env["VAULT_TOKEN"] = "http://vault.example:8200", "hvs.good"
	s.Credentials = s.process(&http.Client{Transport: v})
	return s
}

func using(refs ...string) jackfield.Server {
	server := remote("https://api.example/mcp")
	server.Operator = true
	server.Fill.Headers = map[string]jackfield.Template{}
	for i, ref := range refs {
		server.Fill.Headers[fmt.Sprintf("X-%d", i)] = tmpl("Bearer ${" + ref + "}")
	}
	return server
}

func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestASecretIsReadFromItsFileWithoutTheEndOfItsLine(t *testing.T) {
	s := newShelf(t)
	dir := t.TempDir()
	n := 0
	for text, want := range map[string]string{"a": "a", "b\n": "b", "c\r\n": "c", "d\n\n": "", "{{var.TOKEN}}$&\n": "{{var.TOKEN}}$&", "é": "\xe9", "\n": "", "": "", strings.Repeat("x", 64<<10) + "\n": strings.Repeat("x", 64<<10), strings.Repeat("x", 64<<10+1): ""} {
		n++
		path := put(t, filepath.Join(dir, fmt.Sprint(n)), text)
		h, err := s.headers(jackfield.App(), using("file:"+path))
		if want == "" {
			if jackfield.CodeOf(err) != jackfield.Unavailable || jackfield.FailureOf(err) == nil {
				t.Errorf("%.20q: %v", text, err)
			}
			continue
		}
		if err != nil || h.Get("X-0") != "Bearer "+want {
			t.Errorf("%.20q: %.40q, %v", text, h.Get("X-0"), err)
		}
	}
	for _, ref := range []string{"file:" + dir, "file:" + filepath.Join(dir, "none"), "keychain:x"} {
		_, err := s.headers(jackfield.App(), using(ref))
		wantWords(t, err, `server "github": the secret `+ref+` cannot be read`)
	}
}

func TestASecretOfVaultIsReadInBothVersionsOfItsEngine(t *testing.T) {
	v := newScripted()
	v.two["kv/team/github api"] = `{"token":"two","n":42,"yes":true,"none":null,"list":["x"]}`
	v.one["old/github"] = `{"token":"one"}`
	server := httptest.NewServer(v)
	defer server.Close()
	s := newShelf(t)
	s.env["VAULT_ADDR"], s.env["VAULT_TOKEN"], s.env["VAULT_NAMESPACE"] = server.URL+"/", " hvs.good\n", "org/data"
	for ref, want := range map[string]string{
		"vault:kv/team/github api#token": "two", "vault:kv/team/github api#n": "42", "vault:kv/team/github api#yes": "true", "vault:old/github#token": "one",
	} {
		s.wantHeader(jackfield.App(), using(ref), "X-0", "Bearer "+want)
	}
	// A token for version 1 may not read the path of version 2.
	v.set(func() { v.denied = "old/data/" })
	other := newShelf(t)
	other.env = s.env
	other.wantHeader(jackfield.App(), using("vault:old/github#token"), "X-0", "Bearer one")
	if v.header.Get("X-Vault-Token") != "hvs.good" || v.header.Get("X-Vault-Namespace") != "org/data" {
		t.Error(v.header)
	}
	if !slices.Contains(v.asked, "/v1/kv/data/team/github%20api") {
		t.Error(v.asked)
	}
	for ref, why := range map[string]string{
		"vault:kv/none#token": "Vault answered 404", "vault:kv/team/github api#other": `without the field "other"`, "vault:kv/team/github api#list": "is no text",
		"vault:kv/team/github api#none": "is empty", "vault:kv": "write vault:mount/path#field", "vault:kv/x": "write vault:", "vault:kv/#x": "write vault:",
	} {
		_, err := s.headers(jackfield.App(), using(ref))
		wantWords(t, err, ref+" cannot be read", why)
	}
}

func TestWhatVaultSaysIsToldAndItsTokenIsNot(t *testing.T) {
	for status, why := range map[int]string{400: "VAULT_NAMESPACE", 403: "expired", 404: "no such secret", 429: "429", 472: "472", 500: "500", 503: "sealed", 307: "active node"} {
		v := newScripted()
		v.status = status
		s := behind(t, v)
		_, err := s.headers(jackfield.App(), using("vault:kv/x#y"))
		wantWords(t, err, `server "github": the secret vault:kv/x#y cannot be read`, fmt.Sprint("Vault answered ", status), why)
		if jackfield.CodeOf(err) != jackfield.Unavailable || strings.Contains(err.Error(), "hvs.") {
			t.Error(err)
		}
	}
	server := httptest.NewServer(newScripted())
	defer server.Close()
	s := newShelf(t)
	s.env["VAULT_ADDR"], s.env["VAULT_TOKEN"] = server.URL, "hvs.\x01"
	_, err := s.headers(jackfield.App(), using("vault:kv/x#y"))
	wantWords(t, err, "Vault at 127.0.0.1:", "does not answer")
	if strings.Contains(err.Error(), "hvs.") {
		t.Error(err)
	}
	for unset, why := range map[string]string{"VAULT_TOKEN": "neither VAULT_TOKEN nor VAULT_TOKEN_FILE", "VAULT_ADDR": "VAULT_ADDR is not set"} {
		s := behind(t, newScripted())
		delete(s.env, unset)
		_, err := s.headers(jackfield.App(), using("vault:kv/x#y"))
		wantWords(t, err, why)
	}
}

func TestTheTokenOfVaultFollowsNoRedirectAndAnswersAreBounded(t *testing.T) {
	stolen := make(chan string, 1)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen <- r.Header.Get("X-Vault-Token") }))
	defer thief.Close()
	for path, handler := range map[string]http.Handler{
		"Vault answered 307":           http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect),
		"more than 1024 KiB":           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, io.LimitReader(zeros{}, 4<<20)) }),
		"what Vault answered is no":    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }),
		"what Vault answered is no se": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"data":{"data":null}}`) }),
	} {
		server := httptest.NewServer(handler)
		s := newShelf(t)
		s.env["VAULT_ADDR"], s.env["VAULT_TOKEN"] = server.URL, "hvs.good"
		_, err := s.headers(jackfield.App(), using("vault:kv/x#y"))
		wantWords(t, err, path)
		server.Close()
	}
	select {
	case token := <-stolen:
		t.Errorf("somebody else was sent %q", token)
	default:
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestTheTokenOfVaultIsReadEachTimeFromItsFile(t *testing.T) {
	v := newScripted()
	v.two["kv/x"] = `{"a":"1","b":"2"}`
	s := behind(t, v)
	delete(s.env, "VAULT_TOKEN")
	s.env["VAULT_TOKEN_FILE"] = put(t, filepath.Join(t.TempDir(), "token"), "hvs.good\n")
	s.wantHeader(jackfield.App(), using("vault:kv/x#a"), "X-0", "Bearer 1")
	v.tokens = []string{"hvs.next"}
	put(t, s.env["VAULT_TOKEN_FILE"], "hvs.next")
	s.wantHeader(jackfield.App(), using("vault:kv/x#b"), "X-0", "Bearer 2")
}

// running runs a gateway's look at secrets, and notes what it tells.
func running(s *shelf) (told func() []credentials.Changed, stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var mu sync.Mutex
	var all []credentials.Changed
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, func(c []credentials.Changed) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, c...)
		})
	}()
	return func() []credentials.Changed {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			out := all
			all = nil
			return out
		}, func() {
			cancel()
			<-done
		}
}

func wait(d time.Duration) {
	time.Sleep(d) // in a bubble
	synctest.Wait()
}

func TestAFileThatChangesGrowsTheVersionOfWhatUsesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t)
		dir := t.TempDir()
		path := put(t, filepath.Join(dir, "key"), "one\n")
		server, other := using("file:"+path), using("file:"+put(t, filepath.Join(dir, "other"), "x"))
		other.ID = "app/other"
		s.Secrets([]jackfield.Server{server, other})
		told, stop := running(s)
		defer stop()
		last := uint64(0)
		step := func(name, want string, grows bool, do func()) {
			t.Helper()
			do()
			wait(4 * time.Second)
			now, news := s.Version(server.ID, jackfield.App()), told()
			if grows != (now > last) || grows != slices.Equal(news, []credentials.Changed{{Server: server.ID}}) {
				t.Errorf("%s: from %d to %d, told of %v", name, last, now, news)
			}
			last = now
			s.wantHeader(alice, server, "X-0", "Bearer "+want)
			if v := s.Version(other.ID, jackfield.App()); v != 0 {
				t.Errorf("%s: the other is %d", name, v)
			}
		}
		step("as it was", "one", false, func() {})
		step("written anew", "two", true, func() { put(t, path, "two") })
		step("the same again", "two", false, func() { put(t, path, "two\n") })
		step("of the same size and time", "owt", true, func() {
			info := must(os.Stat(path))
			put(t, path, "owt\n")
			if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		})
		step("gone", "owt", false, func() { _ = os.Remove(path) })
		step("empty", "owt", false, func() { put(t, path, "") })
		step("back", "one", true, func() { put(t, path, "one") })
	})
}

func TestAMountedSecretIsFollowedThroughItsLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t)
		dir := t.TempDir()
		swap := func(version, text string) {
			if err := errors.Join(os.Mkdir(filepath.Join(dir, version), 0o700), os.Symlink(version, filepath.Join(dir, "..tmp"))); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(dir, version, "key"), text)
			if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
				t.Fatal(err)
			}
		}
		swap("..1", "one")
		if err := os.Symlink(filepath.Join("..data", "key"), filepath.Join(dir, "key")); err != nil {
			t.Fatal(err)
		}
		server := using("file:" + filepath.Join(dir, "key"))
		s.Secrets([]jackfield.Server{server})
		told, stop := running(s)
		defer stop()
		wait(time.Second)
		swap("..2", "two")
		wait(4 * time.Second)
		s.wantHeader(jackfield.App(), server, "X-0", "Bearer two")
		if news := told(); len(news) != 1 || s.Version(server.ID, jackfield.App()) == 0 {
			t.Error(news)
		}
	})
}

func TestVaultIsAskedEachMinuteAndServedFromMemoryWhileItIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newScripted()
		v.two["kv/x"] = `{"a":"1","b":"2"}`
		s := behind(t, v)
		server := using("vault:kv/x#a", "vault:kv/x#b")
		s.Secrets([]jackfield.Server{server})
		told, stop := running(s)
		defer stop()
		wait(30 * time.Second)
		if n := v.count(); n != 1 {
			t.Error("asked", n, "times for one secret")
		}
		s.wantHeader(jackfield.App(), server, "X-0", "Bearer 1")
		s.wantHeader(jackfield.App(), server, "X-1", "Bearer 2")
		v.set(func() { v.two["kv/x"] = `{"a":"1","b":"3"}` })
		wait(40 * time.Second)
		s.wantHeader(jackfield.App(), server, "X-1", "Bearer 3")
		if news := told(); !slices.Equal(news, []credentials.Changed{{Server: server.ID}}) || s.Version(server.ID, jackfield.App()) != 1 {
			t.Error(news, s.Version(server.ID, jackfield.App()))
		}
		for name, trouble := range map[string]func(){
			"sealed": func() { v.status = http.StatusServiceUnavailable },
			"denied": func() { v.status = http.StatusForbidden },
			"away":   func() { v.status, v.gone = 0, errors.New("connection refused") },
		} {
			v.set(trouble)
			wait(5 * time.Minute)
			s.wantHeader(jackfield.App(), server, "X-1", "Bearer 3")
			if news := told(); len(news) != 0 {
				t.Error(name, news)
			}
		}
		v.set(func() { v.status, v.gone = 0, nil; v.two["kv/x"] = `{"a":"4","b":"3"}` })
		wait(time.Minute)
		s.wantHeader(jackfield.App(), server, "X-0", "Bearer 4")
		if news := told(); len(news) != 1 || s.Version(server.ID, jackfield.App()) != 2 {
			t.Error(news)
		}
	})
}

func TestAnAbsentVaultIsAskedOnceForAllSecretsAndItsReturnIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newScripted()
		for i := range 20 {
			v.two[fmt.Sprint("kv/", i)] = `{"a":"x"}`
		}
		v.status = http.StatusServiceUnavailable
		s := behind(t, v)
		var servers []jackfield.Server
		for i := range 20 {
			server := using(fmt.Sprintf("vault:kv/%d#a", i))
			server.ID = jackfield.ServerID(fmt.Sprintf("app/%02d", i))
			servers = append(servers, server)
		}
		s.Secrets(servers)
		told, stop := running(s)
		defer stop()
		wait(time.Second)
		if n := v.count(); n != 1 {
			t.Error("asked", n, "times")
		}
		_, err := s.headers(jackfield.App(), servers[3])
		wantWords(t, err, "vault:kv/3#a", "503")
		v.set(func() { v.status = 0 })
		wait(20 * time.Second)
		if news := told(); len(news) != 20 || news[3].Server != servers[3].ID {
			t.Error(news)
		}
		s.wantHeader(jackfield.App(), servers[3], "X-0", "Bearer x")
	})
}

func TestCallersWhoWaitForASecretShareOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newScripted()
		v.status = http.StatusInternalServerError
		s := behind(t, v)
		server := using("vault:kv/x#a")
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if _, err := s.headers(jackfield.App(), server); jackfield.CodeOf(err) != jackfield.Unavailable {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := v.count(); n != 1 {
			t.Error("asked", n, "times")
		}
		v.set(func() { v.status = 0; v.two["kv/x"] = `{"a":"1"}` })
		wait(3 * time.Second)
		s.wantHeader(jackfield.App(), server, "X-0", "Bearer 1")
	})
}

// slow answers when its caller has left.
type slow struct{}

func (slow) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestAVaultThatHangsHoldsNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t)
		s.env["VAULT_ADDR"], s.env["VAULT_TOKEN"] = "http://vault.example", "t"
		s.Credentials = s.process(&http.Client{Transport: slow{}})
		server := using("vault:kv/x#a")
		begin := time.Now()
		_, err := s.headers(jackfield.App(), server)
		wantWords(t, err, "the secret vault:kv/x#a cannot be read", "does not answer")
		if d := time.Since(begin); d != 10*time.Second {
			t.Error(d)
		}
		// A caller who leaves does so at once, and leaves nothing behind.
		wait(5 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		other := using("vault:kv/y#a")
		if _, err := s.Headers(&other, jackfield.App())(ctx); !errors.Is(err, context.DeadlineExceeded) || jackfield.FailureOf(err) != nil {
			t.Error(err)
		}
		// Files are read all the same, and Run ends with its context.
		file := using("file:" + put(t, filepath.Join(t.TempDir(), "key"), "one"))
		s.Secrets([]jackfield.Server{server, other, file})
		_, stop := running(s)
		wait(time.Second)
		s.wantHeader(jackfield.App(), file, "X-0", "Bearer one")
		stop()
	})
}

func TestVersionsOfSecretsSurviveTheirDefinitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t)
		path := put(t, filepath.Join(t.TempDir(), "key"), "0")
		server := using("file:" + path)
		s.Secrets([]jackfield.Server{server})
		_, stop := running(s)
		defer stop()
		for i := range 3 {
			wait(4 * time.Second)
			put(t, path, fmt.Sprint(i+1))
		}
		wait(4 * time.Second)
		before := s.Version(server.ID, jackfield.App())
		if before != 3 {
			t.Error(before)
		}
		plain := server
		plain.Fill = jackfield.Fill{}
		for name, servers := range map[string][]jackfield.Server{"without its secret": {plain}, "with it again": {server}} {
			s.Secrets(servers)
			if now := s.Version(server.ID, jackfield.App()); now < before {
				t.Errorf("%s: from %d to %d", name, before, now)
			}
		}
		s.Secrets(nil) // it is removed, and made again
		s.Secrets([]jackfield.Server{server})
		if now := s.Version(server.ID, jackfield.App()); now < before {
			t.Errorf("made again: from %d to %d", before, now)
		}
	})
}

func TestASecretThatCannotStandWhereItShouldIsTheOperators(t *testing.T) {
	s := newShelf(t)
	dir := t.TempDir()
	for text, why := range map[string]string{"a\nb": "control character", "ключ": "ISO-8859-1", "a\xff": "is not text"} {
		path := put(t, filepath.Join(dir, fmt.Sprintf("%x", text)), text)
		_, err := s.headers(jackfield.App(), using("file:"+path))
		wantWords(t, err, `server "github": the secret file:`, "cannot stand in the header X-0", why)
		if jackfield.CodeOf(err) != jackfield.Unavailable || strings.Contains(err.Error(), text) {
			t.Error(err)
		}
	}
}
