package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

// ward are servers in every state that a doctor has a word for.
func ward(t *testing.T) []struct{ name, definition, era, transport, kind, says string } {
	t.Helper()
	nobody, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = nobody.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(elsewhere.Close)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>Welcome</html>"))
	}))
	t.Cleanup(page.Close)
	mute := upstreamtest.New(t, upstreamtest.Script{})
	mute.Fault(upstreamtest.Fault{Method: http.MethodPost, Hang: true})
	at := func(url string) string { return fmt.Sprintf("{url: %q}", url) }
	up := func(s upstreamtest.Script) string { return at(upstreamtest.New(t, s).Endpoint().URL) }
	return []struct{ name, definition, era, transport, kind, says string }{
		{"modern", up(upstreamtest.Script{}), "modern", "http", "", "modern, " + exchange.Modern + " over http, "},
		{"legacy", up(upstreamtest.Script{Era: upstreamtest.Legacy}), "legacy", "http", "", "legacy, " + exchange.V20251125 + " over http, "},
		{"sse-only", up(upstreamtest.Script{Era: upstreamtest.Legacy, Transport: jackfield.TransportSSE, Version: exchange.V20241105}), "legacy", "sse", "", "legacy, " + exchange.V20241105 + " over sse, "},
		{"signed-in", fmt.Sprintf("{url: %q, headers: {Authorization: Bearer letmein}}", upstreamtest.New(t, upstreamtest.Script{Token: "letmein"}).URL()), "modern", "http", "", "modern, "},
		{"auth-needed", up(upstreamtest.Script{Token: "letmein"}), "", "http", "auth", "to do: put its credentials under headers"},
		{"refused", at("http://" + nobody.Addr().String()), "", "http", "refused", "to do: start the server, or correct the port"},
		{"wrong-path", at(elsewhere.URL + "/nothing"), "", "http", "http", "to do: check the path of its url"},
		{"web-page", at(page.URL), "", "http", "protocol", "to do: check that the url or command is that of an MCP server"},
		{"certificate", at(secure.URL), "", "http", "tls", "set tls.ca"},
		{"hangs", fmt.Sprintf("{url: %q, initTimeout: 1s}", mute.URL()), "", "http", "timeout", "raise its initTimeout"},
		{"no-program", "{command: no-such-program-here}", "", "stdio", "start", "to do: check the command and PATH"},
		{"exits", `{command: sh, args: [-c, "echo out of cheese >&2; exit 3"]}`, "", "stdio", "exited", "out of cheese"},
		{"bad", "{command: x, sharing: nonsense}", "", "", "other", "to do: correct its definition"},
	}
}

func TestTheDoctorSaysOfEveryServerWhatItIsOrWhatToDo(t *testing.T) {
	cases := ward(t)
	config := "mcpServers:\n"
	for _, c := range cases {
		config += "  " + c.name + ": " + c.definition + "\n"
	}
	r := newRig(t)
	file := filepath.Join(r.data, "jackfield.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := r.run("", "doctor", "--config", file, "--json")
	var d diagnosis
	if err := json.Unmarshal([]byte(out), &d); err != nil || code != exitFailure || d.OK || len(d.Servers) != len(cases) {
		t.Fatalf("code %d, %v: %s%s", code, err, out, errs)
	}
	if !d.Data.OK || d.Gateway.Running || d.Gateway.Problem != "" || d.Configuration.File != file {
		t.Errorf("%+v", d)
	}
	for i, c := range cases {
		got := d.Servers[i]
		kind := ""
		if got.Failure != nil {
			kind = string(got.Failure.Kind)
		}
		if got.Name != c.name || got.OK != (c.kind == "") || kind != c.kind || got.Era != c.era || got.Transport != c.transport {
			t.Errorf("%s: %+v, %s", c.name, got, kind)
		}
		if got.NeedsSignIn != (c.kind == "auth") || got.OK != (got.Tools != nil && *got.Tools > 0) || got.OK == (got.Fix != "") {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	code, out, _ = r.run("", "doctor", "--config", file)
	if code != exitFailure || !strings.Contains(out, fmt.Sprintf("%d servers asked, 4 in order\n", len(cases))) {
		t.Errorf("code %d", code)
	}
	for _, c := range cases {
		mark := "\nok    "
		if c.kind != "" {
			mark = "\nFAIL  "
		}
		_, about, found := strings.Cut(out, mark+c.name+"  ")
		if about, _, _ = strings.Cut(about, "\nok  "); true {
			about, _, _ = strings.Cut(about, "\nFAIL")
		}
		if !found || !strings.Contains(about, c.says) || strings.Contains(about, "letmein") {
			t.Errorf("%s: no %q in\n%s", c.name, c.says, about)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestTheDoctorLooksAtNamedServersAndAtTheGatewayThatRuns(t *testing.T) {
	r := newRig(t)
	file := filepath.Join(r.data, "jackfield.yaml")
	text := fmt.Sprintf("mcpServers:\n  good: {url: %q}\n  bad: {command: no-such-program-here}\n", upstreamtest.New(t, upstreamtest.Script{}).URL())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := r.serve("--config", file)
	code, out, errs := r.run("", "doctor", "--config", file, "good")
	if code != exitOK || !strings.Contains(out, " runs at http://127.0.0.1:") || !strings.Contains(out, "1 server asked, 1 in order") || strings.Contains(out, "bad") {
		t.Errorf("code %d: %s%s", code, out, errs)
	}
	if code, _, errs := r.run("", "doctor", "--config", file, "nobody"); code != exitUsage || !strings.Contains(errs, `"nobody"`) {
		t.Errorf("code %d: %s", code, errs)
	}
	r.stop(s)
	if code, out, _ := r.run("", "doctor", "--config", file, "good"); code != exitOK || !strings.Contains(out, "none runs with this data directory") {
		t.Errorf("code %d: %s", code, out)
	}
	if err := os.WriteFile(file, []byte("mcpServers: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := r.run("", "doctor", "--config", file, "--json"); code != exitConfig || !strings.Contains(out, `"ok": false`) {
		t.Errorf("code %d: %s", code, out)
	}
}

func TestTheDoctorSaysWhatIsWrongWithTheDataDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(open, "gateway.key")
	if err := os.WriteFile(key, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	for where, want := range map[string]string{
		dir: "", filepath.Join(dir, "later"): "", file: "it is not a directory", open: "gateway.key can be read by others",
	} {
		if got := lookAtData(where); got.OK != (want == "") || got.Problem != want || got.OK == (got.Fix != "") {
			t.Errorf("%s: %+v", where, got)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".doctor*")); err != nil || len(left) > 0 {
		t.Errorf("%q was left", left)
	}
}

func TestThereIsAWordForEveryKindOfFailure(t *testing.T) {
	for _, kind := range jackfield.FailureKinds() {
		if fixes[kind] == "" {
			t.Errorf("the doctor does not know what to do about %s", kind)
		}
	}
}
