package credentials_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/credentials"
)

func TestWhatIsConstantStaysAsItIs(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp")
	server.Endpoint.Headers = map[string]jackfield.Secret{"X-A": "{{var.TOKEN}} and ${HOME}"}
	e, err := s.Endpoint(t.Context(), &server, alice)
	if err != nil || e.URL != server.Endpoint.URL || e.Headers["X-A"].Reveal() != "{{var.TOKEN}} and ${HOME}" {
		t.Error(e, err)
	}
	if s.Headers(&server, alice) != nil {
		t.Error("there is a func for headers that nobody fills in")
	}
}

func TestHeadersAreFilledInForEachPerson(t *testing.T) {
	s := newShelf(t)
	s.people["alice"] = credentials.Person{ID: "alice", Name: "Alice", Email: "alice@x.example", Teams: []string{"data"}}
	s.people["bob"] = credentials.Person{ID: "bob", Name: "Bob", Email: "bob@x.example", Teams: []string{"web"}}
	server := remote("https://api.example/mcp", "Authorization", "Bearer {{var.TOKEN}}", "X-Who", "{{user.id}} <{{user.email}}> {{user.name}}/{{team}}")
	s.enter(alice, server, "TOKEN=ghp_a")
	s.enter(bob, server, "TOKEN=ghp_b")
	s.wantHeader(alice, server, "Authorization", "Bearer ghp_a")
	s.wantHeader(alice, server, "X-Who", "alice <alice@x.example> Alice/data")
	s.wantHeader(bob, server, "Authorization", "Bearer ghp_b")
	s.wantHeader(bob, server, "X-Who", "bob <bob@x.example> Bob/web")
	// The same func has what was entered since.
	headers := s.Headers(&server, alice)
	s.enter(alice, server, "TOKEN=ghp_c")
	if h, err := headers(t.Context()); err != nil || h.Get("Authorization") != "Bearer ghp_c" {
		t.Error(h, err)
	}
	e, err := s.Endpoint(t.Context(), &server, alice)
	if err != nil || len(e.Headers) != 0 {
		t.Error("headers of one request are kept on a connection:", e.Headers, err)
	}
}

func TestAValueIsPutInOnceAndMeansNothing(t *testing.T) {
	s := newShelf(t)
	s.people["alice"] = credentials.Person{ID: "alice", Name: "{{var.ORG}} ${HOME} $1"}
	server := remote("https://api.example/{{var.ORG}}/mcp?k={{var.NOTE}}",
		"X-Token", "<{{var.TOKEN}}>", "X-Name", "{{user.name}}", "X-Org", "{{var.ORG}}{{var.TOKEN}}{{var.ORG}}")
	for _, odd := range []string{"$&", "$$", "$1", "{{var.ORG}}", "{{user.id}}", "${HOME}", "%s%n", `\0\1`, "{{", "}}", "[sealed]"} {
		s.enter(alice, server, "TOKEN="+odd, "ORG={{var.TOKEN}}", "NOTE="+odd)
		s.wantHeader(alice, server, "X-Token", "<"+odd+">")
		s.wantHeader(alice, server, "X-Org", "{{var.TOKEN}}"+odd+"{{var.TOKEN}}")
		s.wantHeader(alice, server, "X-Name", "{{var.ORG}} ${HOME} $1")
		e, err := s.Endpoint(t.Context(), &server, alice)
		if err != nil {
			t.Error(odd, err)
			continue
		}
		u := must(url.Parse(e.URL))
		if u.Query().Get("k") != odd || u.Path != "/{{var.TOKEN}}/mcp" {
			t.Errorf("%q becomes %s", odd, e.URL)
		}
	}
}

func TestAValueStaysWithinItsPartOfAnAddress(t *testing.T) {
	s := newShelf(t)
	for _, c := range []struct{ template, value, want string }{
		{"https://api.example/{{var.ORG}}/mcp", "a b/c?d#e", "https://api.example/a%20b%2Fc%3Fd%23e/mcp"},
		{"https://api.example/mcp?a={{var.ORG}}&b=1", "x&b=2 #+", "https://api.example/mcp?a=x%26b%3D2+%23%2B&b=1"},
		{"https://api.example/mcp?a={{var.ORG}}", "ü€", "https://api.example/mcp?a=%C3%BC%E2%82%AC"},
		{"https://API.example:443/v-{{var.ORG}}", "../x", "https://API.example:443/v-..%2Fx"},
		{"https://api.example/{{var.ORG}}", "@evil.example", "https://api.example/@evil.example"},
		{"https://api.example/{{var.ORG}}", "%2e%2e", "https://api.example/%252e%252e"},
		{"https://api.example/{{var.ORG}}", "..", ""},
		{"https://api.example/a/{{var.ORG}}./mcp", ".", ""},
		{"https://api.example/a/%2e{{var.ORG}}/mcp", ".", ""},
		{"https://api.example{{var.ORG}}", ".evil.example", ""},
		{"https://api.example:{{var.ORG}}/mcp", "80", ""},
		{"{{var.ORG}}/mcp", "https://evil.example", ""},
	} {
		server := remote(c.template)
		s.enter(alice, server, "ORG="+c.value)
		e, err := s.Endpoint(t.Context(), &server, alice)
		if e.URL != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s with %q is %q, %v", c.template, c.value, e.URL, err)
		}
		if err != nil && jackfield.CodeOf(err) != jackfield.Invalid {
			t.Errorf("%s with %q: %v", c.template, c.value, err)
		}
	}
}

func TestProgramsAreGivenWhatWasEntered(t *testing.T) {
	s := newShelf(t)
	server := remote("")
	server.Operator, server.Endpoint = true, jackfield.Endpoint{
		Transport: jackfield.TransportStdio, Command: "server", Args: []string{"--token", "{{var.TOKEN}}", "--note={{var.NOTE}}", "run"},
		Env: map[string]jackfield.Secret{"HOME": "/tmp", "KEY": "{{var.TOKEN}}", "NOTE": "{{var.NOTE}}"},
	}
	server.Fill.Args = map[int]jackfield.Template{1: tmpl("{{var.TOKEN}}"), 2: tmpl("--note={{var.NOTE}}")}
	server.Fill.Env = map[string]jackfield.Template{"KEY": tmpl("k-{{var.TOKEN}}"), "NOTE": tmpl("{{var.NOTE}}")}
	s.enter(alice, server, "TOKEN=a b\nc")
	e, err := s.Endpoint(t.Context(), &server, alice)
	if err != nil || !slices.Equal(e.Args, []string{"--token", "a b\nc", "run"}) {
		t.Errorf("%q, %v", e.Args, err)
	}
	if len(e.Env) != 2 || e.Env["HOME"].Reveal() != "/tmp" || e.Env["KEY"].Reveal() != "k-a b\nc" {
		t.Error("what is optional and missing is not left out:", len(e.Env))
	}
	if server.Endpoint.Args[1] != "{{var.TOKEN}}" || len(server.Endpoint.Env) != 3 {
		t.Error("the definition was changed")
	}
	s.enter(alice, server, "NOTE=n")
	e, err = s.Endpoint(t.Context(), &server, alice)
	if err != nil || e.Args[2] != "--note=n" || e.Env["NOTE"].Reveal() != "n" {
		t.Error(e.Args, err)
	}
}

func TestAHeaderWithSomethingOptionalThatIsMissingIsLeftOut(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp", "X-Note", "note: {{var.NOTE}}", "Authorization", "{{var.TOKEN}}")
	server.Endpoint.Headers = map[string]jackfield.Secret{"X-Note": "note: {{var.NOTE}}", "X-Fixed": "1"}
	s.enter(alice, server, "TOKEN=t")
	h, err := s.headers(alice, server)
	if _, there := h["X-Note"]; err != nil || there || len(h) != 1 {
		t.Error(h, err)
	}
	e, err := s.Endpoint(t.Context(), &server, alice)
	if _, there := e.Headers["X-Note"]; err != nil || there || e.Headers["X-Fixed"] != "1" {
		t.Error("its text would be sent as it was written:", len(e.Headers), err)
	}
	// There is nothing to leave out of an address.
	server = remote("https://api.example/{{var.NOTE}}/mcp")
	_, err = s.Endpoint(t.Context(), &server, alice)
	wantAuth(t, err, "(NOTE)")
}

func TestHeadersHoldWhatHeadersCanHold(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/mcp", "X-Name", "by {{user.name}}", "X-Id", "{{user.id}}")
	for name, want := range map[string]string{
		"Zoë":            "by Zo\xeb",
		"Ivan":           "by Ivan",
		"Иван":           "by b64:" + base64.StdEncoding.EncodeToString([]byte("Иван")),
		"emoji 🙂":        "by b64:" + base64.StdEncoding.EncodeToString([]byte("emoji 🙂")),
		"b64:already it": "by b64:already it",
	} {
		s.people["alice"] = credentials.Person{ID: "alice", Name: name}
		s.wantHeader(alice, server, "X-Name", want)
	}
	for _, name := range []string{"a\r\nX-Evil: 1", "a\nb", "a\x00b", "a\x7f", "a\u0085b", "a\tb"} {
		s.people["alice"] = credentials.Person{ID: "alice", Name: name}
		_, err := s.headers(alice, server)
		wantAuth(t, err, "your name cannot stand in the header X-Name", "control character")
	}
	s.people["иван"] = credentials.Person{Name: "Ivan"}
	s.wantHeader(jackfield.User("иван"), server, "X-Id", "b64:"+base64.StdEncoding.EncodeToString([]byte("иван")))

	// What was entered is never changed, so it is refused.
	token := remote("https://api.example/mcp", "Authorization", "Bearer {{var.TOKEN}}")
	for value, why := range map[string]string{"a\nb": "control character", "ключ": "not in ISO-8859-1", "": "is empty", "\xff": "is not text", strings.Repeat("x", 16<<10+1): "longer than 16 KiB"} {
		err := s.Set(t.Context(), jackfield.Principal{Subject: "alice"}, alice, token, given("TOKEN="+value))
		if jackfield.CodeOf(err) != jackfield.Invalid {
			t.Errorf("%.10q: %v", value, err)
		}
		wantWords(t, err, why, "TOKEN")
	}
	// A definition that puts it into a header later finds it there.
	query := remote("https://api.example/mcp?k={{var.TOKEN}}")
	s.enter(alice, query, "TOKEN=ключ")
	_, err := s.headers(alice, token)
	wantAuth(t, err, "what you entered as GitHub token cannot stand in the header Authorization", "ISO-8859-1", "jackfield var set github TOKEN")
	if strings.Contains(err.Error(), "ключ") {
		t.Error("the error quotes it:", err)
	}
	s.enter(alice, token, "TOKEN=clé")
	s.wantHeader(alice, token, "Authorization", "Bearer cl\xe9")
}

// TestNobodyIsGivenWhatIsSomebodyElses has many people ask, enter and forget at once,
// while everything is loaded again and again.
func TestNobodyIsGivenWhatIsSomebodyElses(t *testing.T) {
	s := newShelf(t)
	server := remote("https://api.example/{{var.ORG}}", "Authorization", "{{user.id}} {{var.TOKEN}} {{user.id}} {{var.TOKEN}}")
	const people, rounds = 50, 60
	for i := range people {
		id := fmt.Sprintf("p%02d", i)
		s.people[id] = credentials.Person{ID: id}
		s.enter(jackfield.User(id), server, "TOKEN="+id+"-0", "ORG="+id)
	}
	stop := make(chan struct{})
	var reload, all sync.WaitGroup
	reload.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				s.mu.Lock() // as whoever hands out news has them in order
				b := s.allLocked()
				s.Take(b)
				s.mu.Unlock()
			}
		}
	})
	for i := range people {
		all.Go(func() {
			id := fmt.Sprintf("p%02d", i)
			owner := jackfield.User(id)
			headers := s.Headers(&server, owner)
			last := uint64(0)
			for n := range rounds {
				if n%10 == 9 {
					value := fmt.Sprintf("%s-%d", id, n)
					if err := s.Set(t.Context(), jackfield.Principal{Subject: id}, owner, server, given("TOKEN="+value)); err != nil {
						t.Error(err)
					}
				}
				want := fmt.Sprintf("%s-%d", id, n/10*10-1)
				switch {
				case n%10 == 9:
					want = fmt.Sprintf("%s-%d", id, n)
				case n < 10:
					want = id + "-0"
				}
				version := s.Version(server.ID, owner)
				if version < last || n%10 == 9 && version == last {
					t.Errorf("the version is %d after %d", version, last)
				}
				last = version
				h, err := headers(t.Context())
				if err != nil || h.Get("Authorization") != id+" "+want+" "+id+" "+want {
					t.Errorf("%s: %v, %v", want, h, err)
				}
				if e, err := s.Endpoint(t.Context(), &server, owner); err != nil || e.URL != "https://api.example/"+id {
					t.Error(e.URL, err)
				}
			}
		})
	}
	all.Wait()
	close(stop)
	reload.Wait()
}

func FuzzWhatIsFilledInIsWhatWasEntered(f *testing.F) {
	f.Add("Bearer ", "ghp_1", " x ", "a/b?c=d&e#f")
	f.Add("$&", "{{var.TOKEN}}", "${HOME}", "..")
	f.Add("", "\r\nX-Evil: 1", "%", "ключ")
	f.Add("", "é\u0085", "", "\xff")
	f.Fuzz(func(t *testing.T, before, token, between, org string) {
		s := newShelf(t)
		server := remote("https://api.example/mcp")
		text := func(s string) jackfield.Part { return jackfield.Part{Text: jackfield.Secret(s)} }
		of := func(name string) jackfield.Part { return jackfield.Part{From: jackfield.FromVar, Name: name} }
		server.Fill = jackfield.Fill{
			URL:     jackfield.Template{text("https://api.example/o/"), of("ORG"), text("/mcp?k="), of("ORG"), text("&z="), of("TOKEN")},
			Headers: map[string]jackfield.Template{"X-Token": {text(before), of("TOKEN"), text(between), of("TOKEN")}},
			Env:     map[string]jackfield.Template{"A": {text(before), of("ORG"), text(between), of("TOKEN")}},
		}
		if err := s.Set(t.Context(), jackfield.Principal{Subject: "alice"}, alice, server, given("TOKEN="+token, "ORG="+org)); err != nil {
			if jackfield.CodeOf(err) != jackfield.Invalid {
				t.Fatal(err)
			}
			return
		}
		h, err := s.headers(alice, server)
		if err != nil {
			t.Fatal(err)
		}
		latin := make([]byte, 0, len(token))
		for _, r := range token {
			latin = append(latin, byte(r))
		}
		got := h["X-Token"][0]
		if got != before+string(latin)+between+string(latin) || strings.ContainsAny(string(latin), "\r\n\x00") {
			t.Fatalf("%q", got)
		}
		e, err := s.Endpoint(t.Context(), &server, alice)
		if err != nil {
			if org != "." && org != ".." {
				t.Fatal(err)
			}
			return
		}
		if e.Env["A"].Reveal() != before+org+between+token {
			t.Fatalf("%q", e.Env["A"].Reveal())
		}
		u, err := url.Parse(e.URL)
		if err != nil || u.Host != "api.example" || u.Path != "/o/"+org+"/mcp" || strings.Count(u.EscapedPath(), "/") != 3 || u.Fragment != "" {
			t.Fatalf("%s: %v", e.URL, err)
		}
		if q := u.Query(); len(q) != 2 || len(q["k"]) != 1 || q.Get("k") != org || q.Get("z") != token {
			t.Fatalf("%s", e.URL)
		}
		if _, err := http.NewRequestWithContext(context.Background(), http.MethodPost, e.URL, nil); err != nil {
			t.Fatal(err)
		}
	})
}
