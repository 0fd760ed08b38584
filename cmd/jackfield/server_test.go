package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const github = `{"name":"github","scope":"app","source":"store","state":"idle","transport":"http",
"definition":{"url":"https://github.example.com/mcp","title":"GitHub","headers":{"X-Key":"[sealed]"}}}`

func TestWhatChangesIsShownAndAskedFor(t *testing.T) {
	for name, c := range map[string]struct {
		typed    string
		args     []string
		terminal bool
		code     int
		wrote    int
		says     []string
	}{
		"yes":         {"y\n", nil, true, exitOK, 1, []string{"~ title  GitHub → GH", "+ timeout  30s", "Apply? [y/N]"}},
		"no":          {"\n", nil, true, exitFailure, 0, []string{"nothing was changed"}},
		"end":         {"", nil, true, exitFailure, 0, []string{"nothing was changed"}},
		"noise":       {"a\nb\nc\nd\ne\nf\n", nil, true, exitFailure, 0, []string{"nothing was changed: 5 answers"}},
		"nobody":      {"y\n", nil, false, exitUsage, 0, []string{"~ title", "nobody can be asked here; add --yes"}},
		"nobody, yes": {"", []string{"--yes"}, false, exitOK, 1, []string{"~ title"}},
		"dry run":     {"", []string{"--dry-run"}, false, exitOK, 0, []string{"~ title"}},
	} {
		f := newFakeAPI(t)
		f.keep("servers/github@app", github)
		if c.terminal {
			f.width = 100
		}
		args := append([]string{"server", "edit", "github", "--set", "title=GH", "--set", "timeout=30s"}, c.args...)
		code, _, errs := f.run(c.typed, args...)
		plain := uncoloured(errs)
		if wrote := f.wrote(); code != c.code || len(wrote) != c.wrote {
			t.Errorf("%s: code %d, wrote %q\n%s", name, code, wrote, errs)
		}
		for _, want := range c.says {
			if !strings.Contains(squeeze(plain), squeeze(want)) {
				t.Errorf("%s: no %q in\n%s", name, want, plain)
			}
		}
	}
}

// squeeze makes one space of several.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func uncoloured(s string) string {
	return strings.NewReplacer("\x1b[0m", "", "\x1b[1m", "", "\x1b[2m", "", "\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "").Replace(s)
}

func TestAnEditMeetsSomebodyElses(t *testing.T) {
	faster := strings.Replace(github, `"title":"GitHub"`, `"title":"GitHub","description":"by bob"`, 1)
	setup := func() *fakeAPI {
		f := newFakeAPI(t)
		f.keep("servers/github@app", github)
		once := true
		f.before = func(string, string) {
			if once {
				once = false
				f.keep("servers/github@app", faster)
			}
		}
		return f
	}
	f := setup()
	code, _, errs := f.run("", "server", "edit", "github", "--set", "title=GH", "--yes")
	if code != exitConflict || !strings.Contains(errs, "Meanwhile somebody else changed github (app):\n  + description  by bob\n") ||
		!strings.Contains(errs, "jackfield: servers/github@app was changed meanwhile") || strings.Contains(f.definitionOf("servers/github@app"), "GH") {
		t.Errorf("without a terminal: code %d\n%s", code, errs)
	}
	f = setup()
	f.width = 100
	code, out, errs := f.run("y\ny\ny\n", "server", "edit", "github", "--set", "title=GH", "--unset", "headers.X-Key")
	want := `{"description":"by bob","title":"GH","url":"https://github.example.com/mcp"}`
	if got := f.definitionOf("servers/github@app"); code != exitOK || got != want {
		t.Errorf("code %d, %s\n%s%s", code, got, out, errs)
	}
	f = setup()
	f.width = 100
	if again, _, said := f.run("y\ny\n", "server", "edit", "github", "--set", "title=GH", "--yes"); again != exitConflict || len(f.wrote()) != 1 {
		t.Errorf("--yes is for what was seen: code %d, %q\n%s", again, f.wrote(), said)
	}
	f = setup()
	f.width = 100
	if code, _, errs := f.run("y\nn\n", "server", "edit", "github", "--set", "title=GH"); code != exitFailure || len(f.wrote()) != 1 {
		t.Errorf("who does not look again: code %d, %q\n%s", code, f.wrote(), errs)
	}
}

func TestSecretsAreNeitherShownNorLost(t *testing.T) {
	f := newFakeAPI(t)
	f.keep("servers/github@app", github)
	f.width = 100
	code, out, errs := f.run("hunter22\ny\n", "server", "edit", "github", "--header", "X-Key=-")
	if code != exitOK || !strings.Contains(errs, "headers.X-Key  another secret") || strings.Contains(out+errs, "hunter22") || strings.Contains(errs, "stood on the command line") {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
	code, out, errs = f.run("y\n", "server", "edit", "github", "--header", "X-Key=hunter23")
	if code != exitOK || !strings.Contains(errs, "headers.X-Key stood on the command line") || strings.Contains(out+errs, "hunter23") {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
	wrote := len(f.wrote())
	code, _, errs = f.run("y\n", "server", "edit", "github", "--set", "title=GitHub")
	if code != exitOK || !strings.Contains(errs, "is so already; nothing was changed") || len(f.wrote()) != wrote {
		t.Errorf("code %d\n%s", code, errs)
	}
	if code, _, errs = f.run("\n", "server", "edit", "github", "--header", "X-Key=-"); code != exitUsage || !strings.Contains(errs, "no value was given") {
		t.Errorf("code %d\n%s", code, errs)
	}
}

func TestTheEditorIsOpenedUntilItIsJSON(t *testing.T) {
	f := newFakeAPI(t)
	f.keep("servers/github@app", github)
	f.width = 100
	script := filepath.Join(t.TempDir(), "editor")
	text := "#!/bin/sh\ncp \"$1\" " + script + ".saw\nif [ -e " + script + ".twice ]; then\nsed -i 's/\"GitHub\"/\"GH\"/; s/^BROKEN$//' \"$1\"\nelse\n: > " + script + ".twice; echo BROKEN >> \"$1\"\nfi\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	f.env["EDITOR"] = script
	code, _, errs := f.run("y\ny\n", "server", "edit", "github")
	if got := f.definitionOf("servers/github@app"); code != exitOK || !strings.Contains(got, `"title":"GH"`) || !strings.Contains(got, `"X-Key":"[sealed]"`) {
		t.Errorf("code %d, %s\n%s", code, got, errs)
	}
	saw, err := os.ReadFile(script + ".saw")
	if err != nil || !strings.HasPrefix(string(saw), "// The definition of github (app).") || !strings.Contains(errs, "Open it again? [y/N]") {
		t.Errorf("%v: it saw\n%s\n%s", err, saw, errs)
	}
	f.env["EDITOR"] = "false"
	if code, _, errs := f.run("y\n", "server", "edit", "github"); code != exitFailure || !strings.Contains(errs, "nothing was changed") {
		t.Errorf("code %d\n%s", code, errs)
	}
	delete(f.env, "EDITOR")
	if code, _, errs := f.run("y\n", "server", "edit", "github"); code != exitUsage || !strings.Contains(errs, "set EDITOR") {
		t.Errorf("code %d\n%s", code, errs)
	}
	f.width = 0
	if code, _, errs := f.run("", "server", "edit", "github"); code != exitUsage || !strings.Contains(errs, "--set, --unset or -f FILE") {
		t.Errorf("code %d\n%s", code, errs)
	}
}

func TestServersAreAddedFromFlagsFilesAndCommandLines(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	several := file("mcp.json", `{"servers":{"one":{"url":"https://1.example.com","headers":{"A":"Bearer ${input:tok}"}},"two":{"command":"cat"}},
		"inputs":[{"type":"promptString","id":"tok","description":"Token","password":true},{"id":"unused"}], // a comment
	}`)
	yaml := file("one.yaml", "url: https://y.example.com\ntimeout: 0x10\nvars:\n  B: {title: b}\n  A: {}\n")
	for name, c := range map[string]struct {
		args []string
		in   string
		want map[string]string
	}{
		"flags": {[]string{"x", "--url", "https://x.example.com", "--var", "TOKEN=My token", "--header", "Authorization: Bearer {{var.TOKEN}}", "--title", "X", "--set", `tools.deny=["a*"]`}, "", map[string]string{
			"x@app": `{"headers":{"Authorization":"Bearer {{var.TOKEN}}"},"title":"X","tools":{"deny":["a*"]},"url":"https://x.example.com","vars":{"TOKEN":{"title":"My token"}}}`,
		}},
		"program":      {[]string{"x", "--env", "A=b=c", "--scope", "me", "--", "npx", "-y", "--url"}, "", map[string]string{"x@user:me": `{"args":["-y","--url"],"command":"npx","env":{"A":"b=c"}}`}},
		"stdin":        {[]string{"x", "-f", "-", "--title", "T"}, `{"url":"https://s.example.com"}`, map[string]string{"x@app": `{"title":"T","url":"https://s.example.com"}`}},
		"yaml":         {[]string{"x", "-f", yaml}, "", map[string]string{"x@app": `{"timeout":"0x10","url":"https://y.example.com","vars":{"A":{},"B":{"title":"b"}}}`}},
		"one of many":  {[]string{"two", "-f", several}, "", map[string]string{"two@app": `{"command":"cat"}`}},
		"several":      {[]string{"-f", several}, "", map[string]string{"one@app": `{"headers":{"A":"Bearer {{var.tok}}"},"url":"https://1.example.com","vars":{"tok":{"title":"Token"}}}`, "two@app": `{"command":"cat"}`}},
		"header typed": {[]string{"x", "--url", "https://x.example.com", "--header", "K=-"}, "s3cret\n", map[string]string{"x@app": `{"headers":{"K":"[sealed]"},"url":"https://x.example.com"}`}},
	} {
		f := newFakeAPI(t)
		at := slices.Index(c.args, "--")
		if at < 0 {
			at = len(c.args)
		}
		args := slices.Concat([]string{"server", "add"}, c.args[:at], []string{"--yes"}, c.args[at:])
		code, _, errs := f.run(c.in, args...)
		if code != exitOK || len(f.wrote()) != len(c.want) || strings.Contains(errs, "s3cret") {
			t.Errorf("%s: code %d, wrote %q\n%s", name, code, f.wrote(), errs)
		}
		for key, want := range c.want {
			if got := f.definitionOf("servers/" + key); got != want {
				t.Errorf("%s: %s is %s, want %s", name, key, got, want)
			}
		}
	}
	f := newFakeAPI(t)
	for want, args := range map[string][]string{
		"how is x reached?":                          {"x"},
		"something is missing":                       {"--url", "https://x.example.com"},
		"is not NAME=VALUE":                          {"x", "--header", "novalue"},
		"is not PATH=VALUE":                          {"x", "--set", "novalue"},
		"leads nowhere":                              {"x", "--set", "a..b=1"},
		"cannot be set in text":                      {"x", "--url", "https://x", "--set", "url.b=1"},
		"say what the server is called":              {"-f", yaml},
		`holds no server "three"; it holds one, two`: {"three", "-f", several},
		"holds 2 servers; name one":                  {"-f", several, "--title", "t"},
		"no such file":                               {"x", "-f", filepath.Join(dir, "nowhere")},
		"is not YAML":                                {"x", "-f", file("bad.yaml", "a: [")},
		"holds text":                                 {"x", "-f", file("text.yaml", "text")},
		"is empty":                                   {"x", "-f", file("empty.yaml", "")},
		"holds no server":                            {"-f", file("none.json", `{"mcpServers":{}}`)},
	} {
		code, _, errs := f.run("", append([]string{"server", "add"}, args...)...)
		if code != exitUsage || !strings.Contains(errs, want) || len(f.wrote()) > 0 {
			t.Errorf("%q: code %d, want %q in %s", args, code, want, errs)
		}
	}
}

func TestWhatCannotBeDefinedIsToldAndTheRestIsDefined(t *testing.T) {
	f := newFakeAPI(t)
	code, out, said := f.run(`{"mcpServers":{"good":{"url":"https://g.example.com"},"bad":{"url":"http://10.0.0.1"}}}`, "server", "add", "-f", "-", "--yes")
	if code != exitFailure || f.definitionOf("servers/good@app") == "null" || f.definitionOf("servers/bad@app") != "null" ||
		!strings.Contains(said, "jackfield: bad: the definition cannot be taken:\n  url: 10.0.0.1 is a private address\n  title: is wrong as well\n") || !strings.Contains(out, "good is defined (app).") {
		t.Errorf("code %d\n%s%s", code, out, said)
	}
	if code, _, said = f.run("", "server", "add", "bad", "--url", "http://10.0.0.1", "--yes"); code != exitUsage || !strings.HasPrefix(said, "jackfield: the definition cannot be taken:\n") {
		t.Errorf("code %d\n%s", code, said)
	}
	if code, _, said = f.run("", "server", "add", "good", "--url", "https://g.example.com", "--yes"); code != exitConflict || !strings.Contains(said, "is there already") {
		t.Errorf("code %d\n%s", code, said)
	}
	code, out, _ = f.run("", "server", "add", "json", "--url", "https://g.example.com", "--yes", "--json")
	if code != exitOK || !strings.HasPrefix(out, "{\n  \"definition\": {\n") {
		t.Errorf("code %d\n%s", code, out)
	}
}

func TestAnOverlayIsLaidOrChanged(t *testing.T) {
	f := newFakeAPI(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--disable"}, `{"enabled":false,"extends":true}`},
		{[]string{"--url", "https://t.example.com"}, `{"enabled":false,"extends":true,"url":"https://t.example.com"}`},
		{[]string{"--enable"}, `{"enabled":true,"extends":true,"url":"https://t.example.com"}`},
		{[]string{"--unset", "enabled", "--title", "x"}, `{"extends":true,"title":"x","url":"https://t.example.com"}`},
	} {
		code, _, errs := f.run("", append([]string{"server", "overlay", "github", "--team", "data", "--yes"}, c.args...)...)
		if got := f.definitionOf("servers/github@team:data"); code != exitOK || got != c.want {
			t.Errorf("%q: code %d, %s\n%s", c.args, code, got, errs)
		}
	}
	for want, args := range map[string][]string{
		"for which team?":       {"github", "--disable"},
		"exclude one another":   {"github", "--team", "a", "--disable", "--enable"},
		"say what is different": {"github", "--team", "a"},
	} {
		if code, _, errs := f.run("", append([]string{"server", "overlay"}, args...)...); code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%q: code %d, %s", args, code, errs)
		}
	}
}

func TestADefinitionIsRemovedAsItWasSeen(t *testing.T) {
	f := newFakeAPI(t)
	f.keep("servers/github@app", github)
	f.keep("servers/file@app", `{"name":"file","scope":"app","source":"file","definition":{"url":"https://f.example.com"}}`)
	f.width = 100
	if code, _, errs := f.run("n\n", "server", "rm", "github"); code != exitFailure || !strings.Contains(uncoloured(errs), "- headers.X-Key  [sealed]") || len(f.wrote()) != 0 {
		t.Errorf("code %d\n%s", code, errs)
	}
	if code, out, errs := f.run("y\n", "server", "rm", "github"); code != exitOK || out != "github (app) is removed.\n" || !slices.Equal(f.wrote(), []string{`DELETE /api/v1/servers/github?scope=app "1"`}) {
		t.Errorf("code %d, %q\n%s%s", code, f.wrote(), out, errs)
	}
	if code, _, errs := f.run("y\n", "server", "rm", "github"); code != exitUsage || !strings.Contains(errs, "there is no servers/github@app") {
		t.Errorf("code %d\n%s", code, errs)
	}
	for _, verb := range [][]string{{"rm", "file"}, {"edit", "file", "--set", "title=x"}} {
		if code, _, errs := f.run("y\n", append([]string{"server"}, verb...)...); code != exitFailure || !strings.Contains(errs, "configuration file; edit it there") {
			t.Errorf("%q: code %d\n%s", verb, code, errs)
		}
	}
}
