package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield/internal/authn"
)

func TestValuesAreTypedPipedOrRefused(t *testing.T) {
	const variables = `{"variables":[{"name":"TOKEN","title":"GitHub token","sensitive":true,"required":true,"set":false},
{"name":"REGION","required":true,"set":true,"value":"eu","changedAt":"2026-01-02T03:04:05Z"},
{"name":"OLD","sensitive":true,"required":true,"set":true,"stale":"the url moved to another host"},{"name":"NOTE","set":false}]}`
	f := newFakeAPI(t)
	f.keep("servers/x@app", `{"name":"x","state":"idle","transport":"http"}`)
	var put []string
	f.mux.HandleFunc("GET /api/v1/servers/x/variables", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(variables)) })
	f.mux.HandleFunc("PUT /api/v1/servers/x/variables", func(w http.ResponseWriter, r *http.Request) {
		var body json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&body)
		put = append(put, r.URL.RawQuery+string(body))
		_, _ = w.Write([]byte(variables))
	})
	for name, c := range map[string]struct {
		in    string
		args  []string
		width int
		code  int
		put   string
		says  string
	}{
		"typed":               {" s3cret \n", []string{"set", "x", "TOKEN"}, 80, exitOK, `{"values":{"TOKEN":"s3cret"}}`, "x needs GitHub token: "},
		"all that is missing": {"one\ntwo\n", []string{"set", "x"}, 80, exitOK, `{"values":{"OLD":"two","TOKEN":"one"}}`, "Kept. Try it: jackfield tools x"},
		"piped":               {"s3\ncret\n", []string{"set", "x", "TOKEN", "-"}, 0, exitOK, `{"values":{"TOKEN":"s3\ncret"}}`, "Kept."},
		"not sensitive":       {"", []string{"set", "x", "REGION=us=1"}, 0, exitOK, `{"values":{"REGION":"us=1"}}`, "Kept."},
		"for others":          {"", []string{"set", "x", "REGION=us", "--user", "al ice"}, 0, exitOK, `user=al+ice{"values":{"REGION":"us"}}`, "Kept.\n"},
		"taken away":          {"", []string{"rm", "x", "TOKEN"}, 0, exitOK, `{"values":{"TOKEN":null}}`, "Taken away."},
		"in sight":            {"", []string{"set", "x", "TOKEN=s3cret"}, 0, exitUsage, "", "TOKEN is sensitive"},
		"nobody":              {"", []string{"set", "x", "TOKEN"}, 0, exitUsage, "", "pipe it into jackfield var set x TOKEN -"},
		"nothing":             {"\n", []string{"set", "x", "TOKEN"}, 80, exitFailure, "", "nothing was entered"},
		"the end":             {"", []string{"set", "x", "TOKEN"}, 80, exitFailure, "", "nothing was entered"},
		"empty":               {"\n", []string{"set", "x", "TOKEN", "-"}, 0, exitUsage, "", "no value was given; jackfield var rm x TOKEN takes one away"},
		"unknown":             {"", []string{"set", "x", "NOPE", "-"}, 0, exitUsage, "", `x has no variable "NOPE"; it has TOKEN, REGION, OLD, NOTE`},
		"unknown rm":          {"", []string{"rm", "x", "NOPE"}, 0, exitUsage, "", "x has no variable"},
		"a value behind":      {"", []string{"set", "x", "REGION", "us"}, 0, exitUsage, "", `"us" is too much; write REGION=VALUE`},
	} {
		put = nil
		f.width = c.width
		code, out, errs := f.run(c.in, append([]string{"var"}, c.args...)...)
		if code != c.code || strings.Join(put, "") != c.put || !strings.Contains(out+errs, c.says) || strings.Contains(out+errs, "s3cret") {
			t.Errorf("%s: code %d, put %q\n%s%s", name, code, put, out, errs)
		}
	}
	f.width = 0
	_, out, _ := f.run("", "var", "ls", "x")
	for _, want := range []string{"TOKEN GitHub token missing -", "REGION - eu ", "OLD - to be entered again - the url moved", "NOTE - none (optional)"} {
		if !strings.Contains(squeeze(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if _, out, _ := f.run("", "var", "ls"); !strings.Contains(out, "No server needs anything from you") {
		t.Error(out)
	}
	f.keep("servers/y@app", `{"name":"y","needs":[{"name":"K","title":"your key","reason":"never entered","where":"here"}]}`)
	if _, out, _ := f.run("", "var", "ls"); !strings.Contains(squeeze(out), "y K your key never entered") {
		t.Error(out)
	}
}

func TestAKeyIsShownOnceAndAlone(t *testing.T) {
	f := newFakeAPI(t)
	var asked string
	f.mux.HandleFunc("POST /api/v1/keys", func(w http.ResponseWriter, r *http.Request) {
		var body json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&body)
		asked = string(body)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"id":"abc","name":"ci","user":"alice","role":"user","teams":["data"],"servers":["github"],"key":"jf_abc_s3cret"}`))
	})
	code, out, errs := f.run("", "key", "add", "ci", "--user", "alice", "--team", "data", "--server", "github,jira", "--role", "user")
	if want := `{"name":"ci","user":"alice","role":"user","teams":["data"],"servers":["github","jira"]}`; code != exitOK || out != "jf_abc_s3cret\n" || asked != want {
		t.Errorf("code %d, %q, asked %s", code, out, asked)
	}
	if !strings.Contains(errs, "It is for alice, as user, in data, for github only, until it is removed.") || strings.Contains(errs, "s3cret") || !strings.Contains(errs, "jackfield key rm abc") {
		t.Error(errs)
	}
	if code, _, errs := f.run("", "key", "add", "ci", "--expires", "soon"); code != exitUsage || !strings.Contains(errs, `"soon" is no time; write how long, such as 90d`) {
		t.Errorf("code %d, %s", code, errs)
	}
}

func TestWhenAKeyEnds(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for given, want := range map[string]string{
		"90d": "2026-08-02T03:02:01Z", "12h": "2026-05-04T15:02:01Z", "2w": "2026-05-18T03:02:01Z", "1y": "2027-05-04T03:02:01Z",
		"2026-12-31": "2026-12-31T00:00:00Z", "2026-12-31T01:00:00+01:00": "2026-12-31T00:00:00Z", "": "", "never": "",
		"0d": "error", "-3d": "error", "2026-01-01": "error", "x": "error", "d": "error", "90": "error", "٣d": "error",
	} {
		at, err := moment(given, now)
		got := ""
		if at != nil {
			got = at.Format(time.RFC3339)
		}
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s (%v), want %s", given, got, err, want)
		}
	}
}

func TestKeysOfTheFileAreHashedHere(t *testing.T) {
	r := newRig(t)
	code, out, _ := r.run("", "key", "hash", "--json")
	var h hashed
	if err := json.Unmarshal([]byte(out), &h); code != exitOK || err != nil || authn.HashOf(h.Key) != h.Hash {
		t.Fatalf("code %d, %v: %s", code, err, out)
	}
	if code, out, _ := r.run(h.Key+"\n", "key", "hash", "-"); code != exitOK || out != h.Hash+"\n" {
		t.Errorf("code %d: %s, want %s", code, out, h.Hash)
	}
	if code, out, errs := r.run("", "key", "hash"); code != exitOK || !strings.HasPrefix(out, "key   jf_") || !strings.Contains(errs, "auth:\n    keys:") {
		t.Errorf("code %d: %s%s", code, out, errs)
	}
	for in, args := range map[string][]string{"": {"-"}, "short\n": {"-"}, "x": {"jf_abc"}} {
		if code, _, errs := r.run(in, append([]string{"key", "hash"}, args...)...); code != exitUsage || errs == "" {
			t.Errorf("%q: code %d, %s", in, code, errs)
		}
	}
}

func TestABackupIsThereWholeOrNotAtAll(t *testing.T) {
	f := newFakeAPI(t)
	database := func(w http.ResponseWriter) { _, _ = w.Write([]byte(sqliteHead + strings.Repeat("x", 100_000))) }
	answer := database
	f.mux.HandleFunc("POST /api/v1/backup", func(w http.ResponseWriter, _ *http.Request) { answer(w) })
	dir := t.TempDir()
	file := filepath.Join(dir, "b.db")
	code, out, errs := f.run("", "backup", file)
	if info, err := os.Stat(file); code != exitOK || err != nil || info.Size() != 100_016 || info.Mode().Perm() != 0o600 || !strings.Contains(out, "97 KiB") {
		t.Fatalf("code %d, %v, %v\n%s%s", code, info, err, out, errs)
	}
	if code, _, errs := f.run("", "backup", file); code != exitUsage || !strings.Contains(errs, "is there already") {
		t.Errorf("code %d, %s", code, errs)
	}
	before, _ := os.ReadFile(file)
	for name, broken := range map[string]func(http.ResponseWriter){
		"cut":      func(w http.ResponseWriter) { database(w); panic(http.ErrAbortHandler) },
		"no file":  func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) },
		"nothing":  func(http.ResponseWriter) {},
		"postgres": func(w http.ResponseWriter) { f.problem(w, http.StatusNotImplemented, "invalid", "use pg_dump") },
	} {
		answer = broken
		code, _, errs := f.run("", "backup", file, "--force")
		after, _ := os.ReadFile(file)
		left, _ := os.ReadDir(dir)
		if code == exitOK || string(after) != string(before) || len(left) != 1 || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: code %d, left %v\n%s", name, code, left, errs)
		}
	}
	answer = database
	if code, _, errs := f.run("", "backup", filepath.Join(dir, "nowhere", "b.db")); code != exitUsage || !strings.Contains(errs, "nowhere") {
		t.Errorf("code %d, %s", code, errs)
	}
}

func TestARestoreSetsAsideWhatIsThereOrLeavesIt(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "jackfield.db")
	for _, end := range []string{"", "-wal"} {
		if err := os.WriteFile(old+end, []byte("old"+end), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What is no backup is refused before anything moves.
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(file, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(dir, "nowhere"), dir} {
		if code, _, errs := r.run("", "restore", path, "--data", dir, "--force"); code != exitUsage {
			t.Errorf("code %d, %s", code, errs)
		}
	}
	if _, err := os.Stat(old); err != nil {
		t.Error(err)
	}
}

func TestAnImportIsShownFirst(t *testing.T) {
	f := newFakeAPI(t)
	var asked []string
	f.mux.HandleFunc("POST /api/v1/import", func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		_, _ = w.Write([]byte(`{"added":1,"changed":1,"kept":3,"needsSecret":1,"items":[{"kind":"team","id":"data","outcome":"added"},
{"kind":"user","id":"alice","outcome":"changed"},{"kind":"server","id":"app/x","outcome":"needs_secret","detail":"headers.X-Key"}]}`))
	})
	const document = `{"jackfield":1,"teams":[],"users":[],"definitions":[]}`
	code, out, errs := f.run(document, "import-state", "-", "--dry-run")
	for _, want := range []string{"+ team data added", "~ user alice changed", "! server app/x needs its secrets: not taken headers.X-Key", "1 to add, 1 to change, 3 as they are, 1 need secrets, 0 refused."} {
		if !strings.Contains(squeeze(errs), want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
	if code != exitFailure || out != "" || len(asked) != 1 {
		t.Errorf("code %d, asked %q\n%s", code, asked, out)
	}
	code, out, _ = f.run(document, "import-state", "-", "--yes")
	if code != exitFailure || out != "1 added, 1 changed, 3 as they were.\n" || strings.Join(asked, "|") != "dryRun=true|dryRun=true|" {
		t.Errorf("code %d, asked %q\n%s", code, asked, out)
	}
	if code, _, _ := f.run(document, "import-state", "-"); code != exitUsage || len(asked) != 4 {
		t.Errorf("code %d, asked %q", code, asked)
	}
	if code, _, errs := f.run(`{"mcpServers":{}}`, "import-state", "-"); code != exitUsage || !strings.Contains(errs, "no document of jackfield export") {
		t.Errorf("code %d, %s", code, errs)
	}
}

func TestAnExportIsForItsOwnerAlone(t *testing.T) {
	f := newFakeAPI(t)
	const document = `{"jackfield":1,"teams":[{"id":"a"}],"users":[],"definitions":[{"scope":"app","name":"x","definition":{}},{"scope":"app","name":"y","definition":{}}]}` + "\n"
	f.mux.HandleFunc("GET /api/v1/export", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(document)) })
	if code, out, _ := f.run("", "export"); code != exitOK || out != document {
		t.Errorf("code %d, %s", code, out)
	}
	file := filepath.Join(t.TempDir(), "s.json")
	code, out, _ := f.run("", "export", file)
	text, err := os.ReadFile(file)
	info, _ := os.Stat(file)
	if code != exitOK || err != nil || string(text) != document || info.Mode().Perm() != 0o600 || !strings.Contains(out, "1 team, 0 users and 2 definitions") {
		t.Errorf("code %d, %v, %s%s", code, err, out, text)
	}
	if code, _, _ := f.run("", "export", file); code != exitUsage {
		t.Errorf("code %d", code)
	}
}

func TestEventsGoOnWhereTheyWere(t *testing.T) {
	f := newFakeAPI(t)
	var after []string
	f.mux.HandleFunc("GET /api/v1/events", func(w http.ResponseWriter, r *http.Request) {
		after = append(after, r.Header.Get("Last-Event-ID"))
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "event: hello\ndata: {\"number\":7,\"reason\":\"\"}\n\n: still here\n\n")
		if len(after) == 1 {
			fmt.Fprint(w, "event: connection\ndata: {\"server\":\"x\",\"scope\":\"app\",\"state\":\"ready\",\"at\":\"2026-01-02T03:04:05Z\"}\n\n")
			return
		}
		fmt.Fprint(w, "id: 8\nevent: change\ndata: {\"number\":8,\"kind\":\"server\",\"id\":\"app/x\",\"scope\":\"app\",\"name\":\"x\\u001b[2J\",\"gone\":true,\"at\":\"2026-01-02T03:04:05Z\",\"by\":\"alice\"}\n\n")
	})
	code, out, errs := f.run("", "events", "--count", "2")
	if want := "  -  connection of x (app) ready\n"; code != exitOK || !strings.Contains(out, want) || !strings.Contains(out, "  8  server x\uFFFD[2J (app) removed by alice\n") {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
	if strings.Join(after, "|") != "|7" || !strings.Contains(errs, "; trying again\n") {
		t.Errorf("after %q\n%s", after, errs)
	}
	code, out, _ = f.run("", "events", "--count", "1", "--since", "3", "--json")
	if code != exitOK || !strings.HasPrefix(out, `{"event":"change","data":{"number":8,`) || strings.Count(out, "\n") != 1 || after[2] != "3" {
		t.Errorf("code %d, after %q\n%s", code, after, out)
	}
}

func TestTheLogIsReadToItsEnd(t *testing.T) {
	f := newFakeAPI(t)
	f.mux.HandleFunc("GET /api/v1/log", func(w http.ResponseWriter, r *http.Request) {
		since := 0
		_, _ = fmt.Sscan(r.URL.Query().Get("since"), &since)
		text, most := "", 40
		if newest := r.URL.Query().Get("last"); newest != "" {
			_, _ = fmt.Sscan(newest, &most)
			since = max(since, 100-most)
		}
		for n := since + 1; n <= min(since+most, 100); n++ {
			text += fmt.Sprintf(`,{"number":%d,"kind":"team","id":"t%d","at":"2026-01-02T03:04:05Z","by":"alice"}`, n, n)
		}
		fmt.Fprintf(w, `{"changes":[%s],"next":%d}`, strings.TrimPrefix(text, ","), min(since+most, 100))
	})
	for want, args := range map[string][]string{"51 100 50": {}, "96 100 5": {"--last", "5"}, "98 100 3": {"--since", "97"}, "1 100 100": {"--last", "0"}} {
		code, out, _ := f.run("", append([]string{"log", "--json"}, args...)...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		var first, last struct{ Number int }
		_ = json.Unmarshal([]byte(lines[0]), &first)
		_ = json.Unmarshal([]byte(lines[len(lines)-1]), &last)
		if got := fmt.Sprint(first.Number, last.Number, len(lines)); code != exitOK || got != want {
			t.Errorf("%q: code %d, %s, want %s", args, code, got, want)
		}
	}
	if _, out, _ := f.run("", "log", "--last", "1"); !strings.Contains(squeeze(out), "alice team t100 written") {
		t.Error(out)
	}
	if _, out, _ := f.run("", "log", "--since", "100"); out != "Nothing was changed.\n" {
		t.Error(out)
	}
}

func TestPeopleAreMadeAndChanged(t *testing.T) {
	f := newFakeAPI(t)
	do := func(want int, in string, args ...string) string {
		t.Helper()
		code, out, errs := f.run(in, args...)
		if code != want {
			t.Errorf("%q: code %d\n%s%s", args, code, out, errs)
		}
		return out + errs
	}
	do(exitOK, "", "team", "add", "data", "--title", "Data")
	do(exitOK, "", "user", "add", "al/ice", "--name", "Alice", "--role", "editor", "--team", "data")
	if said := do(exitOK, "", "user", "ls"); !strings.Contains(squeeze(said), "al/ice Alice - editor data") {
		t.Error(said)
	}
	said := do(exitOK, "", "user", "edit", "al/ice", "--name", "", "--email", "a@example.com", "--team", "x", "--team", "y", "--yes")
	for _, want := range []string{"- name Alice", "+ email a@example.com", `~ teams ["data"] → ["x","y"]`, "user al/ice is changed."} {
		if !strings.Contains(squeeze(said), want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	do(exitUsage, "", "user", "edit", "al/ice")
	do(exitOK, "", "user", "disable", "al/ice", "--yes")
	if said := do(exitOK, "", "user", "show", "al/ice"); !strings.Contains(said, "disabled") || !strings.Contains(squeeze(said), "teams x, y") {
		t.Error(said)
	}
	do(exitOK, "", "user", "enable", "al/ice", "--yes")
	if said := do(exitOK, "", "user", "show", "al/ice"); strings.Contains(said, "disabled") {
		t.Error(said)
	}
	if said := do(exitOK, "", "user", "enable", "al/ice"); !strings.Contains(said, "is so already") {
		t.Error(said)
	}
	do(exitConflict, "", "team", "add", "data")
	do(exitOK, "", "team", "edit", "data", "--description", "d", "--yes")
	do(exitUsage, "", "team", "rm", "data")
	do(exitOK, "", "team", "rm", "data", "--yes")
	do(exitUsage, "", "team", "show", "data")
	if said := do(exitOK, "", "team", "ls"); said != "There are no teams. jackfield team add ID makes one.\n" {
		t.Error(said)
	}
	if said := do(exitUsage, "", "team", "jion", "data"); !strings.Contains(said, "did you mean jackfield team join?") {
		t.Error(said)
	}
}

func TestWhoMayNotIsToldWhatToDo(t *testing.T) {
	f := newFakeAPI(t)
	status, code := 0, ""
	f.mux.HandleFunc("GET /api/v1/me", func(w http.ResponseWriter, _ *http.Request) {
		if status == 0 {
			_, _ = w.Write([]byte(`{"subject":"alice","role":"editor","teams":["data"],"edits":["user:alice","team:data"],"key":"abc","operator":true}`))
			return
		}
		f.problem(w, status, code, "because\nof \x1b[2Jthis")
	})
	for _, c := range []struct {
		status int
		code   string
		token  string
		exit   int
		says   string
	}{
		{401, "auth_required", "", exitFailure, "wants a token; set JACKFIELD_TOKEN or use --token-file\n"},
		{401, "auth_required", "t", exitFailure, "does not take this token: because of \uFFFD[2Jthis; check JACKFIELD_TOKEN"},
		{403, "forbidden", "t", exitFailure, "because of \uFFFD[2Jthis; jackfield whoami says who you are and what you may\n"},
		{404, "not_found", "t", exitUsage, "because of \uFFFD[2Jthis\n"},
		{409, "conflict", "t", exitConflict, "because"},
		{412, "conflict", "t", exitConflict, "because"},
		{428, "invalid", "t", exitUsage, "this command line is older than the gateway"},
		{429, "exhausted", "t", exitFailure, "because"},
		{501, "unavailable", "t", exitUnreachable, "because"},
		{500, "new one", "t", exitFailure, "because"},
	} {
		status, code = c.status, c.code
		f.env["JACKFIELD_TOKEN"] = c.token
		if exit, _, errs := f.run("", "whoami"); exit != c.exit || !strings.Contains(errs, c.says) {
			t.Errorf("%d: code %d, %q", c.status, exit, errs)
		}
	}
	status = 0
	if code, out, _ := f.run("", "whoami"); code != exitOK || !strings.Contains(squeeze(out), "alice role editor: your own things, and the servers of your teams and you run the gateway") {
		t.Errorf("code %d\n%s", code, out)
	}
}

func TestALongListIsReadToItsEnd(t *testing.T) {
	f := newFakeAPI(t)
	f.mux.HandleFunc("GET /api/v1/users", func(w http.ResponseWriter, r *http.Request) {
		switch q := r.URL.Query(); q.Get("cursor") {
		case "":
			_, _ = w.Write([]byte(`{"users":[{"subject":"a"}],"nextCursor":"a&b"}`))
		case "a&b":
			_, _ = w.Write([]byte(`{"users":[{"subject":"b"}],"nextCursor":"c"}`))
		default:
			_, _ = w.Write([]byte(`{"users":[{"subject":"` + url.QueryEscape(q.Get("cursor")) + `"}]}`))
		}
	})
	if _, out, _ := f.run("", "__complete", "user", "show", ""); !strings.HasPrefix(out, "a\nb\nc\n:4\n") {
		t.Error(out)
	}
}
