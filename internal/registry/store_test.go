package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/policy"
	"github.com/jackfield-dev/jackfield/internal/record"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// memory is a store of records in memory, which the registry hears of at once.
type memory struct {
	mu      sync.Mutex
	head    uint64
	records map[record.Ref]record.Record
	take    []func(record.Batch) Change
	last    Change
	before  func() // is called before each write
}

func (m *memory) Write(_ context.Context, by string, writes ...record.Write) ([]record.Record, error) {
	if m.before != nil {
		before := m.before
		m.before = nil
		before()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []record.Record
	batch := record.Batch{}
	for _, w := range writes {
		old, there := m.records[w.Ref]
		if !w.Anyway && w.If != old.Revision {
			return nil, (&record.Conflict{Ref: w.Ref, Current: old.Revision}).AsError()
		}
		m.head++
		if w.Remove {
			delete(m.records, w.Ref)
			batch.Gone, out = append(batch.Gone, w.Ref), append(out, record.Record{})
			continue
		}
		r := record.Record{
			Ref: w.Ref, Body: w.Body, Sealed: w.Sealed, Seal: w.Seal, Revision: m.head, Version: old.Version,
			Created: old.Created, Changed: time.Unix(int64(m.head), 0), By: by,
		}
		if w.NewVersion || !there {
			r.Version = m.head
		}
		if m.records == nil {
			m.records = map[record.Ref]record.Record{}
		}
		m.records[w.Ref] = r
		batch.Records, out = append(batch.Records, r), append(out, r)
	}
	batch.Head = m.head
	for _, take := range m.take {
		m.last = take(batch)
	}
	return out, nil
}

func (m *memory) all() record.Batch {
	b := record.Batch{All: true, Head: m.head}
	for _, r := range m.records {
		b.Records = append(b.Records, r)
	}
	return b
}

// plain seals by writing what it is bound to in front.
type plain struct{ wrong bool }

func (p plain) Seal(bind string, text []byte) ([]byte, uint32, error) {
	return append([]byte(bind+"\n"), text...), 7, nil
}

func (p plain) Open(bind string, sealed []byte, key uint32) ([]byte, error) {
	text, ok := bytes.CutPrefix(sealed, []byte(bind+"\n"))
	if !ok || key != 7 || p.wrong {
		return nil, errors.New("it was sealed with another key")
	}
	return text, nil
}

var (
	root = jackfield.Principal{Subject: "root", Role: jackfield.RoleAdmin}
	host = jackfield.Principal{Subject: "local", Role: jackfield.RoleAdmin, Operator: true}
	ann  = jackfield.Principal{Subject: "ann", Teams: []string{"data"}}
	edna = jackfield.Principal{Subject: "edna", Teams: []string{"data"}, Role: jackfield.RoleEditor}
)

func options(m *memory) Options {
	return Options{
		Writer: m, Seal: plain{}, Decide: policy.Decide, Lookup: env,
		Loops: func(u *url.URL) bool {
			return u.Host == "gate.test:443" || u.Host == "127.0.0.1:8420" || u.Host == "[::1]:8420"
		},
		Allowed: func(u *url.URL) error {
			if strings.HasPrefix(u.Host, "10.") {
				return errors.New("10.0.0.0/8 is private")
			}
			return nil
		},
	}
}

func stored(*testing.T) (*Registry, *memory) {
	m := &memory{}
	r := New(options(m))
	m.take = append(m.take, r.Take)
	return r, m
}

// put writes a definition that must be good, whatever is there.
func put(t *testing.T, r *Registry, p jackfield.Principal, scope jackfield.Scope, name, doc string) Definition {
	t.Helper()
	d, problems, err := r.Put(t.Context(), p, scope, name, []byte(doc), Condition{Anyway: true})
	if err != nil {
		t.Fatalf("%s: %v %v", doc, err, problems)
	}
	return d
}

// refused tries to write a definition, and is what the faults are.
func refused(t *testing.T, r *Registry, p jackfield.Principal, scope jackfield.Scope, name, doc string) string {
	t.Helper()
	_, problems, err := r.Put(t.Context(), p, scope, name, []byte(doc), Condition{Anyway: true})
	if err == nil {
		t.Errorf("%s was taken", doc)
		return ""
	}
	if code := jackfield.CodeOf(err); code != jackfield.Invalid {
		t.Errorf("%s: %v", doc, err)
	}
	out := err.Error() + "\n"
	for _, p := range problems {
		out += p.Path + ": " + p.Message + "; " + p.Fix + "\n"
	}
	return out
}

// file reads definitions as a configuration file has them.
func file(t *testing.T, doc string) []jackfield.Server {
	t.Helper()
	report := document.NewReport("test.json")
	servers := Servers(document.Parse("test.json", []byte(doc), report), Source{Lookup: env}, report)
	for _, p := range report.Problems() {
		if p.Severity != document.Warning {
			t.Fatal(p)
		}
	}
	return servers
}

func see(r *Registry, p jackfield.Principal) string {
	var out []string
	for _, s := range r.See(p) {
		out = append(out, string(s.ID))
	}
	return strings.Join(out, " ")
}

func TestWhatIsWrittenIsSeenAndComesBackAsItWasWritten(t *testing.T) {
	r, m := stored(t)
	doc := `{"url":"https://a.test/mcp","headers":{"Authorization":"Bearer {{var.KEY}}","X-Api-Key":"hunter2","x-other":"Basic hunter3"},"vars":{"KEY":{"title":"Key"}},"title":"A"}`
	d := put(t, r, ann, jackfield.User("ann"), "a", doc)
	want := `{"url":"https://a.test/mcp","headers":{"Authorization":"Bearer {{var.KEY}}","X-Api-Key":"[sealed]","x-other":"[sealed]"},"vars":{"KEY":{"title":"Key"}},"title":"A"}`
	if string(d.Doc) != want || d.ID != "user:ann/a" || !d.Editable || d.Source != FromStore || d.Revision != 1 || d.Version != 1 || d.By != "ann" {
		t.Errorf("%+v\n%s", d, d.Doc)
	}
	for _, rec := range m.records {
		if strings.Contains(string(rec.Body), "hunter") || !strings.Contains(string(rec.Sealed), "hunter2") {
			t.Errorf("kept as %s and %s", rec.Body, rec.Sealed)
		}
	}
	again := New(options(m)) // another process
	again.Take(m.all())
	for _, r := range []*Registry{r, again} {
		s, err := r.Find(ann, "a")
		if err != nil || s.Endpoint.Headers["X-Api-Key"].Reveal() != "hunter2" || s.Endpoint.Headers["X-Other"].Reveal() != "Basic hunter3" || s.Operator {
			t.Errorf("%+v, %v", s, err)
		}
		if got := fmt.Sprint(spelled(s.Fill.Headers["Authorization"], written), s.Vars); got != "Bearer {{var.KEY}}[{KEY Key  true true}]" {
			t.Error(got)
		}
	}
}

func TestASealedSecretStaysUntilWhereItGoesChanges(t *testing.T) {
	r, m := stored(t)
	me := jackfield.User("ann")
	put(t, r, ann, me, "a", `{"url":"https://a.test/mcp","headers":{"X-Key":"hunter2"}}`)
	for _, doc := range []string{
		`{"url":"https://a.test/mcp","headers":{"X-Key":"[sealed]"},"title":"T"}`,
		`{"url":"https://A.test:443/other","headers":{"x-key":"[sealed]"}}`,
		`{"url":"https://a.test/mcp","headers":{"X-Key":"[sealed]","X-Two":"2"}}`,
	} {
		put(t, r, ann, me, "a", doc)
		if s, _ := r.Find(ann, "a"); s.Endpoint.Headers["X-Key"].Reveal() != "hunter2" {
			t.Errorf("%s: lost", doc)
		}
	}
	for _, doc := range []string{
		`{"url":"https://b.test/mcp","headers":{"X-Key":"[sealed]"}}`,
		`{"url":"http://a.test/mcp","headers":{"X-Key":"[sealed]"}}`,
		`{"url":"https://a.test:8443/mcp","headers":{"X-Key":"[sealed]"}}`,
		`{"url":"https://a.test/mcp","type":"sse","headers":{"X-Key":"[sealed]"}}`,
		`{"url":"https://a.test/mcp","headers":{"X-Other-Key":"[sealed]"}}`,
	} {
		if says := refused(t, r, ann, me, "a", doc); !strings.Contains(says, "enter ") || !strings.Contains(says, "headers.X-") || strings.Contains(says, "hunter") {
			t.Errorf("%s: %s", doc, says)
		}
	}
	put(t, r, ann, me, "a", `{"url":"https://b.test/mcp","headers":{"X-Key":"hunter3"}}`)
	if says := refused(t, r, ann, me, "b", `{"url":"https://b.test/mcp","headers":{"X-Key":"[sealed]"}}`); !strings.Contains(says, "nothing is kept there") {
		t.Error(says)
	}
	put(t, r, host, jackfield.App(), "p", `{"command":"good","env":{"KEY":"hunter2","SHOWN":"${A}"}}`)
	if says := refused(t, r, host, jackfield.App(), "p", `{"command":"bad","env":{"KEY":"[sealed]"}}`); !strings.Contains(says, "another address or program") {
		t.Error(says)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, rec := range m.records {
		if strings.Contains(string(rec.Body), "hunter") {
			t.Errorf("%s", rec.Body)
		}
	}
}

func TestTheSecretsOfAnOverlayGoOnlyWhereTheyWereEnteredFor(t *testing.T) {
	r, _ := stored(t)
	put(t, r, root, jackfield.App(), "a", `{"url":"https://a.test/mcp"}`)
	put(t, r, edna, jackfield.Team("data"), "a", `{"extends":true,"headers":{"X-Key":"hunter2"}}`)
	put(t, r, root, jackfield.App(), "a", `{"url":"https://a.test/other"}`)
	if s, err := r.Find(ann, "a"); err != nil || s.Endpoint.Headers["X-Key"].Reveal() != "hunter2" || s.Endpoint.URL != "https://a.test/other" {
		t.Errorf("%+v %v", s, err)
	}
	put(t, r, root, jackfield.App(), "a", `{"url":"https://evil.test/mcp"}`)
	s, err := r.Find(ann, "a")
	if jackfield.CodeOf(err) != jackfield.Invalid || !strings.Contains(s.Invalid, "enter them again") || len(s.Endpoint.Headers) > 0 {
		t.Errorf("%+v %v", s, err)
	}
}

func TestAnOverlayWithASecretIsSwitchedOffAndOnAgainButNotElsewhere(t *testing.T) {
	r, _ := stored(t)
	team := jackfield.Team("data")
	put(t, r, root, jackfield.App(), "a", `{"url":"https://a.test/mcp"}`)
	put(t, r, edna, team, "a", `{"extends":true,"headers":{"X-Key":"hunter2"}}`)
	put(t, r, edna, team, "a", `{"extends":true,"headers":{"X-Key":"[sealed]"},"enabled":false}`)
	if _, err := r.Find(ann, "a"); jackfield.CodeOf(err) != jackfield.NotFound {
		t.Error(err)
	}
	put(t, r, edna, team, "a", `{"extends":true,"headers":{"X-Key":"[sealed]"}}`)
	if s, err := r.Find(ann, "a"); err != nil || s.Endpoint.Headers["X-Key"].Reveal() != "hunter2" {
		t.Errorf("%+v %v", s, err)
	}
	// Neither the way by which it is off, nor that what it is laid over moves meanwhile,
	// takes the secret elsewhere.
	put(t, r, edna, team, "a", `{"extends":true,"url":"https://b.test/mcp","headers":{"X-Key":"[sealed]"},"enabled":false}`)
	if says := refused(t, r, edna, team, "a", `{"extends":true,"url":"https://b.test/mcp","headers":{"X-Key":"[sealed]"}}`); !strings.Contains(says, "another address") {
		t.Error(says)
	}
	put(t, r, root, jackfield.App(), "a", `{"url":"https://evil.test/mcp"}`)
	put(t, r, edna, team, "a", `{"extends":true,"headers":{"X-Key":"[sealed]"},"enabled":false}`)
	if says := refused(t, r, edna, team, "a", `{"extends":true,"headers":{"X-Key":"[sealed]"}}`); !strings.Contains(says, "another address") {
		t.Error(says)
	}
	put(t, r, edna, team, "a", `{"extends":true,"headers":{"X-Key":"hunter3"},"enabled":false}`)
	put(t, r, edna, team, "a", `{"extends":true,"headers":{"X-Key":"[sealed]"}}`)
	if s, err := r.Find(ann, "a"); err != nil || s.Endpoint.Headers["X-Key"].Reveal() != "hunter3" || s.Endpoint.URL != "https://evil.test/mcp" {
		t.Errorf("%+v %v", s, err)
	}
}

func TestNobodyWhoDoesNotRunTheGatewayDefinesWhatOnlyTheOperatorMay(t *testing.T) {
	r, _ := stored(t)
	for doc, says := range map[string]string{
		`{"command":"sh"}`:                                                 "command: command is for programs",
		`{"type":"stdio"}`:                                                 "type is stdio",
		`{"url":"https://a.test","args":[]}`:                               "args: args is for programs",
		`{"url":"https://a.test","env":{"LD_PRELOAD":"x"}}`:                "env: env is for programs",
		`{"url":"https://a.test","cwd":"/"}`:                               "cwd is for programs",
		`{"url":"https://a.test","limits":{}}`:                             "limits is for programs",
		`{"url":"https://a.test/${HOME}"}`:                                 "url: url: ${…} is for whoever runs the gateway only",
		`{"url":"https://a.test","headers":{"X":"${A}"}}`:                  "headers.X: ${…} is for",
		`{"url":"https://a.test","headers":{"X":"${file:/etc/passwd}"}}`:   "${…} is for",
		`{"url":"https://a.test","headers":{"X":"${vault:a/b#c}"}}`:        "${…} is for",
		`{"url":"https://a.test","headers":{"X":"{{user.id}}"}}`:           "{{user.id}}, which only",
		`{"url":"https://a.test","headers":{"X":"{{team}}"}}`:              "{{team}}, which only",
		`{"url":"https://a.test","headers":{"X":"{{LIBRECHAT_USER_ID}}"}}`: "which only",
		`{"url":"https://a.test/?u={{user.email}}"}`:                       "{{user.email}}, which only",
		`{"url":"https://a.test","tls":{"ca":"/etc/passwd"}}`:              "tls.ca: tls.ca names a file of the gateway",
		`{"url":"https://a.test","tls":{"key":"k.pem"}}`:                   "tls.key names a file",
		`{"url":"https://10.1.2.3/mcp"}`:                                   "may not be reached: 10.0.0.0/8 is private",
		`{"url":"https://10.66051/mcp"}`:                                   "may not be reached",
		`{"url":"https://ｇate.test/mcp"}`:                                  "letters beyond a to z",
		`{"url":"https://a.test","overlays":{"x":{}}}`:                     "overlays stand in",
		`{"url":"https://a.test","enabled":true}`:                          "write disabled",
		`{"url":"https://a.test","extends":true}`:                          "no team's",
		`{"url":"https://{{var.H}}.test","vars":{"H":{}}}`:                 "place in its host",
		`{"url":"https://a{{var.H}}","vars":{"H":{}}}`:                     "place in its host",
		`{"url":"https://a.test:{{var.H}}/","vars":{"H":{}}}`:              "url is not well formed",
		`{"url":"{{var.H}}","vars":{"H":{}}}`:                              "begins with neither",
		`{"url":"ws://a.test"}`:                                            "websocket",
		`{"url":"file:///etc/passwd"}`:                                     "begins with neither",
		`{"url":"https://a.test","title":"\u202egp"}`:                      "title holds a character",
		`{"url":"https://a.test","headers":{"X":"a\nb"}}`:                  "line break",
		`{"url":"https://a.test","headers":{"X":"a\u0000b"}}`:              "zero byte",
		`{"url":"https://a.test","headers":{"X: y\r\nZ":"a"}}`:             "name of a header",
		`{"url":"https://a.test","nonsense":1}`:                            "nonsense: nonsense is not a known setting",
		`[]`:                                                               "must be a map",
		`{`:                                                                "ends too early",
		``:                                                                 "nothing is said",
		`null`:                                                             "nothing is said",
		"{\"url\":\"\xff\"}":                                               "not UTF-8",
		`{"url":"https://a.test"} {}`:                                      "something follows",
		strings.Repeat(`[`, 1000):                                          "nested more than",
		strings.Repeat(` `, 300_000):                                       "longer than",
		`{"url":"https://a.test","url":"https://b.test"}`:                  "is already on line",
	} {
		if got := refused(t, r, ann, jackfield.User("ann"), "a", doc); !strings.Contains(got, says) {
			t.Errorf("%.80s: got %s", doc, got)
		}
	}
	for _, p := range []jackfield.Principal{ann, edna} { // what identifies people only an admin may send
		if d, _, err := r.Put(t.Context(), p, jackfield.App(), "a", []byte(`{"url":"https://a.test"}`), Condition{}); jackfield.CodeOf(err) != jackfield.Forbidden {
			t.Error(d, err)
		}
	}
	put(t, r, root, jackfield.App(), "a", `{"url":"https://a.test/{{user.id}}","headers":{"X-Team":"{{team}}"}}`)
	if s, _ := r.Find(ann, "a"); !s.OwnCredentials() || s.Operator || s.Endpoint.URL != "https://a.test/{{user.id}}" {
		t.Errorf("%+v", s)
	}
	put(t, r, host, jackfield.App(), "b", `{"command":"sh","args":["-c","${A}"],"env":{"X":"${file:/x}"}}`)
	if s, _ := r.Find(ann, "b"); s.Endpoint.Args[1] != "1" || !s.Operator || s.Fill.Env["X"][0].Name != "file:/x" {
		t.Errorf("%+v", s)
	}
}

func TestAnAddressOfTheGatewayIsNoServer(t *testing.T) {
	r, _ := stored(t)
	for _, address := range []string{
		"https://gate.test", "https://GATE.TEST/mcp", "https://gate.test:443/x", "https://gate.test./mcp", "HTTPS://Gate.Test:0443/",
		"http://127.0.0.1:8420/mcp", "http://127.1:8420", "http://0x7f000001:8420", "http://2130706433:8420", "http://0177.0.0.1:8420",
		"http://[::1]:8420/mcp", "http://[0:0:0:0:0:0:0:1]:8420", "http://[::ffff:127.0.0.1]:8420", "http://[::ffff:7f00:1]:8420",
	} {
		if says := refused(t, r, host, jackfield.App(), "a", fmt.Sprintf(`{"url":%q}`, address)); !strings.Contains(says, "an address of this gateway") {
			t.Errorf("%s: %s", address, says)
		}
	}
	for _, address := range []string{"https://me@gate.test/mcp", "https://me:pw@gate.test/mcp"} {
		if says := refused(t, r, ann, ann.Scope(), "a", fmt.Sprintf(`{"url":%q}`, address)); !strings.Contains(says, "user name or password") {
			t.Errorf("%s: %s", address, says)
		}
	}
	report := document.NewReport("x")
	servers := Servers(document.Parse("x.json", []byte(`{"a":{"url":"https://ｇate.test。/"}}`), report), Source{Loops: r.o.Loops}, report)
	if !strings.Contains(servers[0].Invalid, "an address of this gateway") {
		t.Errorf("the file: %+v", servers)
	}
}

func TestNamesThatDeceiveAreRefused(t *testing.T) {
	r, _ := stored(t)
	apply(t, r, server("Files", "https://f.test"))
	put(t, r, root, jackfield.App(), "git-hub", `{"url":"https://a.test"}`)
	for _, name := range []string{
		"", ".", "..", "a/b", `a\b`, " a", "a ", "a\tb", "a\x00", "a\u200b", "a\u202eb", "\ufeffa", "a\u00adb", "a\u2028", "a\u00a0b", "a\u3164",
		"a\ufe0f", "cafe\u0301", "\xff", "team:x", "User:y", "ｔeam:z", "app:a", "..\u200d", "．．", "a／b", "a%2fb", "a?b", "a#b", strings.Repeat("a", 129),
		"GIT-HUB", "git\u2010hub", "git\u2212hub", "ｇit-hub", "git\u2014hub", "files", "ＦILES",
	} {
		if says := refused(t, r, root, jackfield.App(), name, `{"url":"https://a.test"}`); says != "" && !strings.Contains(says, "name") {
			t.Errorf("%q: %s", name, says)
		}
	}
	for _, name := range []string{"github", "GitHub2", "wiki der Firma", "café", "日本語", "a.b", "_", "@x", "😀", "team"} {
		put(t, r, ann, ann.Scope(), name, `{"url":"https://a.test"}`)
	}
	put(t, r, ann, ann.Scope(), "GIT-HUB", `{"url":"https://a.test"}`) // another scope
	report := document.NewReport("x")
	servers := Servers(document.Parse("x.json", []byte(`{"a":{"url":"https://a.test"},"A":{"url":"https://a.test"},"team:x":{"url":"https://a.test"},"b\u200b":{"url":"https://a.test"}}`), report), Source{}, report)
	if len(servers) != 4 || len(report.Problems()) != 3 || slices.ContainsFunc(servers, func(s jackfield.Server) bool { return s.Invalid != "" }) {
		t.Errorf("names that the file could have: %+v %v", servers, report.Problems())
	}
	for _, scope := range []jackfield.Scope{jackfield.User(""), jackfield.Team(""), jackfield.User("a\u202e"), jackfield.Team(strings.Repeat("x", 300))} {
		refused(t, r, root, scope, "a", `{"url":"https://a.test"}`)
	}
}

func TestAWriteIsMadeOnlyOfWhatOneHasSeen(t *testing.T) {
	r, m := stored(t)
	me, doc := ann.Scope(), []byte(`{"url":"https://a.test"}`)
	conflict := func(cond Condition, current uint64) {
		t.Helper()
		_, _, err := r.Put(t.Context(), ann, me, "a", doc, cond)
		var c *record.Conflict
		if !errors.As(err, &c) || c.Current != current || jackfield.CodeOf(err) != jackfield.Conflict {
			t.Errorf("%+v: %v", cond, err)
		}
	}
	conflict(Condition{If: 3}, 0)
	if d, _, err := r.Put(t.Context(), ann, me, "a", doc, Condition{DryRun: true}); err != nil || d.Revision != 0 || m.head != 0 {
		t.Errorf("a dry run: %+v %v", d, err)
	}
	put(t, r, ann, me, "a", string(doc))
	conflict(Condition{}, 1)
	conflict(Condition{If: 2}, 1)
	conflict(Condition{If: 2, DryRun: true}, 1)
	if d, _, err := r.Put(t.Context(), ann, me, "a", doc, Condition{If: 1}); err != nil || d.Revision != 1 || m.head != 1 {
		t.Errorf("what is the same was written: %+v %v", d, err)
	}
	m.before = func() { put(t, r, ann, me, "a", `{"url":"https://a.test","headers":{"X":"newer"}}`) }
	d, _, err := r.Put(t.Context(), ann, me, "a", []byte(`{"url":"https://a.test","title":"x"}`), Condition{Anyway: true})
	if err != nil || d.Revision != 3 {
		t.Errorf("somebody got in the way: %+v %v", d, err)
	}
	m.before = func() { put(t, r, ann, me, "a", `{"url":"https://a.test"}`) }
	doc = []byte(`{"url":"https://b.test"}`)
	conflict(Condition{If: 3}, 4)
	if err := r.Remove(t.Context(), ann, me, "a", Condition{If: 3}); jackfield.CodeOf(err) != jackfield.Conflict {
		t.Error(err)
	}
	if err := r.Remove(t.Context(), edna, me, "a", Condition{If: 4}); jackfield.CodeOf(err) != jackfield.Forbidden {
		t.Error(err)
	}
	if err := r.Remove(t.Context(), ann, me, "a", Condition{If: 4}); err != nil || see(r, ann) != "" {
		t.Error(err)
	}
	if err := r.Remove(t.Context(), ann, me, "a", Condition{If: 4}); jackfield.CodeOf(err) != jackfield.NotFound {
		t.Error(err)
	}
	apply(t, r, server("f", "https://f.test"))
	if err := r.Remove(t.Context(), root, jackfield.App(), "f", Condition{Anyway: true}); jackfield.CodeOf(err) != jackfield.Forbidden {
		t.Error(err)
	}
}

func TestARecordThatCannotBeReadOrOpenedIsTheOnlyOneThatSuffers(t *testing.T) {
	r, m := stored(t)
	put(t, r, root, jackfield.App(), "good", `{"url":"https://a.test"}`)
	put(t, r, root, jackfield.App(), "sealed", `{"url":"https://a.test","headers":{"X":"hunter2"}}`)
	put(t, r, root, jackfield.App(), "torn", `{"url":"https://b.test"}`)
	put(t, r, root, jackfield.App(), "odd", `{"url":"https://b.test"}`)
	torn, odd := m.records[ref("app/torn")], m.records[ref("app/odd")]
	torn.Body, odd.Body = []byte(`{"do`), []byte(`{"doc":{"url":"https://b.test","what":1}}`)
	m.records[torn.Ref], m.records[odd.Ref] = torn, odd
	m.records[record.Ref{Kind: record.Server, ID: "nonsense"}] = record.Record{Ref: record.Ref{Kind: record.Server, ID: "nonsense"}, Revision: 1}
	m.records[record.Ref{Kind: record.User, ID: "app/user"}] = record.Record{Ref: record.Ref{Kind: record.User, ID: "app/user"}, Revision: 1}
	o := options(m)
	o.Seal = plain{wrong: true}
	again := New(o)
	if c := again.Take(m.all()); len(c.Added) != 4 {
		t.Errorf("%+v", c)
	}
	for name, says := range map[string]string{"good": "", "sealed": "secrets cannot be opened: it was sealed with another key", "torn": "record cannot be read", "odd": "what is not a known setting"} {
		s, err := again.Find(ann, name)
		if !strings.Contains(s.Invalid, says) || (s.Invalid == "") != (says == "") || (err == nil) != (says == "") || says != "" && s.Endpoint.URL != "" {
			t.Errorf("%s: %q %v", name, s.Invalid, err)
		}
	}
	if d, err := again.Definition(root, jackfield.App(), "sealed"); err != nil || !strings.Contains(string(d.Doc), "[sealed]") || len(d.Problems) != 1 {
		t.Errorf("%+v %v", d, err)
	}
}

// slow is a sealer that something happens to while it opens.
type slow struct {
	plain
	meanwhile func()
}

func (s *slow) Open(bind string, sealed []byte, key uint32) ([]byte, error) {
	if f := s.meanwhile; f != nil {
		s.meanwhile = nil
		f()
	}
	return s.plain.Open(bind, sealed, key)
}

func TestARecordThatIsReadSlowlyDoesNotTakeThePlaceOfANewerOne(t *testing.T) {
	r, m := stored(t)
	put(t, r, root, jackfield.App(), "a", `{"url":"https://old.test","headers":{"X":"x"}}`)
	old := m.all()
	put(t, r, root, jackfield.App(), "a", `{"url":"https://new.test"}`)
	s := &slow{}
	o := options(m)
	o.Seal = s
	again := New(o)
	s.meanwhile = func() { again.Take(m.all()) }
	again.Take(old)
	if got, err := again.Find(ann, "a"); err != nil || got.Endpoint.URL != "https://new.test" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestWhoIsInNoScopeLooksAtNothingOfIt(t *testing.T) {
	m := &memory{}
	r := New(Options{Writer: m, Seal: plain{}}) // nobody decides
	m.take = append(m.take, r.Take)
	put(t, r, root, jackfield.User("bob"), "b", `{"url":"https://bob.test"}`)
	if d, err := r.Definition(ann, jackfield.User("bob"), "b"); jackfield.CodeOf(err) != jackfield.NotFound {
		t.Errorf("%+v %v", d, err)
	}
}

func TestOnlyWhatDecidesAConnectionMakesANewVersionInTheStore(t *testing.T) {
	r, _ := stored(t)
	apply(t, r, file(t, `{"f":{"url":"https://f.test","sharing":"auto"}}`)...)
	last := map[string]Definition{}
	for _, step := range []struct {
		scope jackfield.Scope
		name  string
		doc   string
		same  bool
	}{
		{jackfield.App(), "a", `{"url":"https://a.test"}`, false},
		{jackfield.App(), "a", `{"url":"https://a.test","title":"x","timeout":"5s","rate":"1/s","access":{"deny":["user:x"]}}`, true},
		{jackfield.App(), "a", `{"url":"https://a.test","headers":{"X":"1"}}`, false},
		{jackfield.App(), "a", `{"url":"https://a.test","headers":{"X":"2"}}`, false},
		{jackfield.App(), "a", `{"url":"https://a.test","headers":{"x":"[sealed]"},"type":"http"}`, true},
		{jackfield.App(), "a", `{"url":"https://a.test","headers":{"X":"{{user.id}}"}}`, false},
		{jackfield.App(), "a", `{"url":"https://a.test","headers":{"X":"{{var.K}}"},"vars":{"K":{}}}`, false},
		{jackfield.App(), "a", `{"url":"https://a.test","headers":{"X":"{{var.K}}"},"vars":{"K":{"title":"t","sensitive":false}}}`, true},
		{jackfield.App(), "a", `{"url":"https://a.test","headers":{"X":"{{var.K}}"},"vars":{"K":{"required":false}}}`, false},
		{jackfield.App(), "a", `{"url":"https://a.test","disabled":true}`, false},
		{jackfield.Team("data"), "f", `{"extends":true}`, false},
		{jackfield.Team("data"), "f", `{"extends":true,"title":"x"}`, true},
		{jackfield.Team("data"), "f", `{"extends":true,"title":"x","sharing":"auto"}`, false},
		{jackfield.Team("data"), "f", `{"extends":true,"enabled":false,"sharing":"auto"}`, false},
	} {
		d := put(t, r, root, step.scope, step.name, step.doc)
		was := last[step.name]
		if d.Revision <= was.Revision || (d.Version == was.Version) != step.same || d.Version < was.Version {
			t.Errorf("%s: %d/%d after %d/%d", step.doc, d.Revision, d.Version, was.Revision, was.Version)
		}
		last[step.name] = d
	}
}

func TestDefinitionsAreShownToThoseWhoMayLook(t *testing.T) {
	r, _ := stored(t)
	apply(t, r, file(t, `{"f":{"url":"https://f.test/secret/path?key=${A}","headers":{"X":"hunter2"}},"p":{"command":"p","args":["hunter2"],"overlays":{"data":{"enabled":false}}},"z":{"url":"https://z.test","access":{"deny":["user:ann"]}}}`)...)
	put(t, r, root, jackfield.App(), "a", `{"url":"https://a.test/hunter2","headers":{"X":"hunter2"}}`)
	put(t, r, root, jackfield.App(), "f", `{"url":"https://shadowed.test"}`)
	put(t, r, edna, jackfield.Team("data"), "t", `{"url":"https://t.test"}`)
	put(t, r, edna, jackfield.Team("data"), "a", `{"extends":true,"title":"x"}`)
	put(t, r, ann, ann.Scope(), "a", `{"url":"https://ann.test"}`)
	put(t, r, root, jackfield.User("bob"), "b", `{"url":"https://bob.test/hunter2"}`)
	show := func(p jackfield.Principal) string {
		var out []string
		for _, d := range r.Definitions(p) {
			text := string(d.ID)
			if d.Editable {
				text += "*"
			}
			if d.ShadowedBy != "" {
				text += "<" + string(d.ShadowedBy)
			}
			out = append(out, text)
			if strings.Contains(string(d.Doc), "hunter2") && !d.Editable || !json.Valid(d.Doc) {
				t.Errorf("%s: %s", d.ID, d.Doc)
			}
			if one, err := r.Definition(p, d.Scope, d.Name); err != nil || one.ID != d.ID && d.ID != "f" {
				t.Errorf("%s: %+v %v", d.ID, one, err)
			}
		}
		return strings.Join(out, " ")
	}
	if got := show(ann); got != "f p team:data/p app/a app/f<f team:data/a team:data/t user:ann/a*<team:data/a" {
		t.Error(got)
	}
	if got := show(edna); got != "f p z team:data/p app/a app/f<f team:data/a* team:data/t*" {
		t.Error(got)
	}
	if got := show(root); got != "f p z team:data/p app/a* app/f*<f team:data/a* team:data/t* user:ann/a*<app/a user:bob/b*" {
		t.Error(got)
	}
	if d, err := r.Definition(ann, jackfield.App(), "a"); err != nil || string(d.Doc) != `{"type":"http","url":"https://a.test:443","headers":{"X":"[sealed]"}}` {
		t.Errorf("%s %v", d.Doc, err)
	}
	for _, p := range []jackfield.Principal{ann, edna} {
		if _, err := r.Definition(p, jackfield.User("bob"), "b"); jackfield.CodeOf(err) != jackfield.NotFound {
			t.Error(err)
		}
	}
	_, problems, err := r.Put(t.Context(), root, jackfield.User("bob"), "p", []byte(`{"url":"https://x.test/?api_key=abc"}`), Condition{})
	if err != nil || len(problems) != 2 {
		t.Errorf("warnings: %v %v", problems, err)
	}
	if err := refused(t, r, edna, jackfield.Team("data"), "none", `{"extends":true}`); !strings.Contains(err, "could be laid over") {
		t.Error(err)
	}
	if _, _, err := r.Put(t.Context(), edna, jackfield.Team("data"), "p", []byte(`{"extends":true}`), Condition{}); jackfield.CodeOf(err) != jackfield.Forbidden {
		t.Error(err)
	}
}

func TestAScopeHasAsManyDefinitionsAsItMay(t *testing.T) {
	r, m := stored(t)
	batch := record.Batch{}
	for i := range maxOfUser {
		id := storeID(ann.Scope(), fmt.Sprint(i))
		batch.Records = append(batch.Records, record.Record{Ref: ref(id), Body: []byte(`{"doc":{"url":"https://a.test"}}`), Revision: 1, Version: 1})
	}
	r.Take(batch)
	if _, _, err := r.Put(t.Context(), ann, ann.Scope(), "more", []byte(`{"url":"https://a.test"}`), Condition{}); jackfield.CodeOf(err) != jackfield.Exhausted || m.head != 0 {
		t.Error(err)
	}
}

func TestADefinitionForATeamThatIsNotThereIsWarnedOf(t *testing.T) {
	m := &memory{}
	o := options(m)
	o.Team = func(id string) bool { return id == "data" }
	r := New(o)
	m.take = append(m.take, r.Take)
	for scope, want := range map[jackfield.Scope]string{
		jackfield.Team("data"): "", jackfield.App(): "", jackfield.Team("dta"): `there is no team "dta", so nobody sees this`,
	} {
		_, problems, err := r.Put(t.Context(), root, scope, "x"+scope.ID, []byte(`{"url":"https://a.test/mcp"}`), Condition{})
		got := ""
		for _, p := range problems {
			got += p.Message
			if p.Severity != document.Warning {
				t.Error(p)
			}
		}
		if err != nil || got != want {
			t.Errorf("%s: %q %v", scope, got, err)
		}
	}
}
