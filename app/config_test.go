package app

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
)

var update = flag.Bool("update", false, "write golden files anew")

const longToken = "0123456789abcdef0123456789abcdef"

// testEnv is the environment of every test here.
func testEnv(name string) (string, bool) {
	v, ok := map[string]string{
		"HOME":       "/home/ann",
		"API_KEY":    "s3cret-key",
		"EMPTY":      "",
		"MULTILINE":  "s3cret\nline",
		"AUTH_TOKEN": longToken,
		"ZERO":       "s3cret\x00",
	}[name]
	return v, ok
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run the test with -update and look at the change.\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

// describe is what a golden file holds: the problems as they are printed, and
// what would start.
func describe(c *Config, found []Problem, err error) []byte {
	var out strings.Builder
	for _, p := range found {
		fmt.Fprintln(&out, p)
	}
	if err != nil {
		fmt.Fprintln(&out, "=> nothing starts")
		return []byte(out.String())
	}
	for _, s := range c.Servers {
		fmt.Fprintf(&out, "=> %q", s.Name)
		if s.Invalid != "" {
			fmt.Fprintf(&out, " invalid: %s\n", s.Invalid)
			continue
		}
		e, u := s.Endpoint, s.Usage
		fmt.Fprintf(&out, " %s %s", e.Transport, strings.Join(append([]string{e.Command + e.URL}, e.Args...), " "))
		for _, m := range []map[string]jackfield.Secret{e.Env, e.Headers} {
			for _, key := range slices.Sorted(func(yield func(string) bool) {
				for k := range m {
					if !yield(k) {
						return
					}
				}
			}) {
				fmt.Fprintf(&out, " %s=%s", key, m[key].Reveal())
			}
		}
		if e.Dir != "" {
			wd, _ := os.Getwd()
			fmt.Fprintf(&out, " in %s", strings.TrimPrefix(e.Dir, wd+"/"))
		}
		fmt.Fprintf(&out, " timeout=%s/%s ondemand=%t oauth=%t sharing=%s about=%q tools=%q\n",
			u.Timeout, u.InitTimeout, u.OnDemand, u.RequiresOAuth, u.Sharing, fmt.Sprint(s.About), fmt.Sprint(s.Tools))
	}
	return []byte(out.String())
}

func TestEachConfigurationGetsItsProblemsWithPlaceAndRemedy(t *testing.T) {
	files, err := filepath.Glob("testdata/config/*")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, path := range files {
		if filepath.Ext(path) == ".golden" {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			c, found, err := Load(path, Overrides{Env: testEnv})
			got := describe(c, found, err)
			golden(t, path+".golden", got)
			for i, p := range found {
				if strings.Contains(p.String(), "s3cret") || strings.Contains(p.String(), "hunter2") {
					t.Errorf("a problem tells a secret: %s", p)
				}
				if i > 0 && p.Line < found[i-1].Line {
					t.Errorf("problems are not in the file's order: %s after %s", p, found[i-1])
				}
			}
		})
	}
}

func TestAGoodConfigurationIsTakenAsItIsWritten(t *testing.T) {
	c, found, err := Load("testdata/config/good.yaml", Overrides{Env: testEnv})
	if err != nil || len(found) != 0 {
		t.Fatal(found, err)
	}
	servers := c.Servers
	c.Servers, c.read = nil, nil
	want := Config{
		File: "testdata/config/good.yaml", Listen: "0.0.0.0:9000", PublicURL: "https://mcp.example.com/gate",
		Data: "testdata/config/state", Auth: Auth{Token: longToken, Required: true},
		Limits: Limits{
			Body: 1 << 20, Message: 65536,
			Sessions: Budget{Total: 100, PerOwner: 10}, Dials: Budget{8, 2, 4},
			Connections: Budget{50, 20, 10}, Programs: Budget{PerOwner: 4},
			Idle: 90 * time.Second, Drain: 10 * time.Second, Call: 20 * time.Second, Connect: 5 * time.Second,
		},
		Log: Log{Level: slog.LevelDebug, Format: "json"},
	}
	if fmt.Sprintf("%#v", *c) != fmt.Sprintf("%#v", want) || c.Auth.Token != longToken {
		t.Errorf("got  %#v\nwant %#v", *c, want)
	}
	if len(servers) != 2 || servers[0].Name != "everything" || servers[1].Usage.Sharing != jackfield.SharingAuto {
		t.Errorf("servers: %+v", servers)
	}
}

func TestFlagsComeBeforeTheEnvironmentBeforeTheFileBeforeDefaults(t *testing.T) {
	file := write(t, "jackfield.yaml", "listen: 127.0.0.1:1\ndata: /file\npublicURL: http://localhost:1\n"+
		"auth: {token: file-"+longToken+"}\nlog: {level: error, format: json}\nmcpServers: {a: {command: x}}\n")
	env := map[string]string{
		"JACKFIELD_LISTEN": "127.0.0.1:2", "JACKFIELD_DATA": "/env", "JACKFIELD_PUBLIC_URL": "http://localhost:2",
		"JACKFIELD_AUTH_TOKEN": "env-" + longToken, "JACKFIELD_LOG_LEVEL": "WARN", "JACKFIELD_LOG_FORMAT": "text",
		"HOME": "/home/ann",
	}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	show := func(path string, o Overrides) string {
		t.Helper()
		o.Env = lookup
		c, found, err := Load(path, o)
		if err != nil {
			t.Fatal(found, err)
		}
		return fmt.Sprint(c.Listen, " ", c.Data, " ", c.PublicURL, " ", c.Auth.Token.Reveal(), " ", c.Log)
	}
	flags := Overrides{Listen: "127.0.0.1:3", Data: "/flag", PublicURL: "http://localhost:3", LogLevel: "debug", LogFormat: "json"}
	for _, step := range []struct{ what, got, want string }{
		{"flags", show(file, flags), "127.0.0.1:3 /flag http://localhost:3 env-" + longToken + " {DEBUG json}"},
		{"environment", show(file, Overrides{}), "127.0.0.1:2 /env http://localhost:2 env-" + longToken + " {WARN text}"},
		{"file", func() string { clear(env); env["HOME"] = "/home/ann"; return show(file, Overrides{}) }(), "127.0.0.1:1 /file http://localhost:1 file-" + longToken + " {ERROR json}"},
		{"defaults", show("", Overrides{}), "127.0.0.1:8420 /home/ann/.local/share/jackfield   {INFO text}"},
		{"empty and relative variables", func() string {
			for _, name := range []string{"LISTEN", "DATA", "PUBLIC_URL", "AUTH_TOKEN", "LOG_LEVEL", "LOG_FORMAT", "CONFIG"} {
				env["JACKFIELD_"+name] = ""
			}
			env["XDG_DATA_HOME"] = "relative"
			return show("", Overrides{}) + show(file, Overrides{})
		}(), "127.0.0.1:8420 /home/ann/.local/share/jackfield   {INFO text}127.0.0.1:1 /file http://localhost:1 file-" + longToken + " {ERROR json}"},
		{"XDG", func() string { env["XDG_DATA_HOME"] = "/xdg"; return show("", Overrides{}) }(), "127.0.0.1:8420 /xdg/jackfield   {INFO text}"},
		{"the file of the environment", func() string { env["JACKFIELD_CONFIG"] = file; return show("", Overrides{}) }(), "127.0.0.1:1 /file http://localhost:1 file-" + longToken + " {ERROR json}"},
	} {
		if step.got != step.want {
			t.Errorf("%s:\ngot  %s\nwant %s", step.what, step.got, step.want)
		}
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantOnly checks that a file has exactly one problem, an error, and that
// nothing starts.
func wantOnly(t *testing.T, path string, o Overrides, message string) {
	t.Helper()
	if o.Env == nil {
		o.Env = testEnv
	}
	c, found, err := Load(path, o)
	if len(found) != 1 || found[0].Severity != SeverityError || c != nil {
		t.Fatalf("got %v, %v", found, err)
	}
	if got := strings.TrimPrefix(found[0].String(), path); got != message {
		t.Errorf("got  %s\nwant %s", got, message)
	}
	var e *jackfield.Error
	if !errors.As(err, &e) || e.Code != jackfield.Invalid || !strings.Contains(e.Message, found[0].String()) {
		t.Errorf("the error does not say it: %v", err)
	}
}

func TestAFileThatIsNoConfigurationIsRefusedWithOneClearError(t *testing.T) {
	const good = "mcpServers: {a: {command: x}}\n"
	utf16 := func(order ...byte) string {
		out := string(order)
		for _, c := range good {
			if order[0] == 0xff {
				out += string([]byte{byte(c), 0})
			} else {
				out += string([]byte{0, byte(c)})
			}
		}
		return out
	}
	dir := t.TempDir()
	for name, test := range map[string]struct{ path, want string }{
		"missing":       {filepath.Join(dir, "no.yaml"), ": error: the file does not exist; name an existing file with --config or JACKFIELD_CONFIG"},
		"directory":     {dir, ": error: this is a directory, not a file; name the file in it, such as " + filepath.Join(dir, "jackfield.yaml")},
		"10 MB":         {write(t, "a.yaml", good+strings.Repeat("# comment\n", 1<<20)), ": error: the file is larger than 4 MiB; name a configuration file; this looks like something else"},
		"in a file":     {write(t, "a.yaml", good) + "/b.yaml", ": error: the file cannot be read: not a directory"},
		"UTF-16 LE":     {write(t, "a.yaml", utf16(0xff, 0xfe)), ": error: the file is in UTF-16; save the file as UTF-8"},
		"UTF-16 BE":     {write(t, "a.yaml", utf16(0xfe, 0xff)), ": error: the file is in UTF-16; save the file as UTF-8"},
		"UTF-16 no BOM": {write(t, "a.yaml", "m\x00c\x00p\x00"), ":1:2: error: the control character 0x00 does not belong in a text file; save the file as UTF-8"},
		"Latin-1":       {write(t, "a.yaml", "# caf\n# für ü\n"+"# caf\xe9\n"+good), ":3:6: error: byte 0xe9 is not UTF-8; the file may be in Latin-1; save the file as UTF-8"},
		"a program":     {write(t, "a.yaml", "\x7fELF\x02\x01"), ":1:1: error: the control character 0x7f does not belong in a text file; save the file as UTF-8"},
		"too many":      {write(t, "a.yaml", "x-a: ["+strings.Repeat("a,", 60_000)+"]\n"), ": error: the file has more than 100000 words and signs of YAML; write so long a file as JSON"},
	} {
		t.Run(name, func(t *testing.T) { wantOnly(t, test.path, Overrides{}, test.want) })
	}
}

func TestAByteOrderMarkAndWindowsLineEndsAreFine(t *testing.T) {
	for _, name := range []string{"a.yaml", "a.json", "a"} {
		text := "\xef\xbb\xbfmcpServers:\r\n  a:\r\n    command: x\r\n"
		if name == "a.json" {
			text = "\xef\xbb\xbf{\r\n\"mcpServers\": {\"a\": {\"command\": \"x\"}}\r\n}\r\n"
		}
		c, found, err := Load(write(t, name, text), Overrides{Env: testEnv})
		if err != nil || len(found) != 0 || c.Servers[0].Endpoint.Command != "x" {
			t.Error(name, found, err)
		}
	}
}

func TestAnAddressForOthersNeedsAToken(t *testing.T) {
	file := write(t, "a.yaml", "mcpServers: {a: {command: x}}\n")
	for _, listen := range []string{":8420", "0.0.0.0:8420", "[::]:8420", "10.0.0.1:1", "gateway.local:1", "localhost.example.com:1", "[fe80::1%eth0]:1"} {
		wantOnly(t, file, Overrides{Listen: listen}, "--listen: error: "+listen+
			" can be reached from other machines, and nobody is asked who they are; set auth.token (JACKFIELD_AUTH_TOKEN, at least 32 random characters) or auth.keys, or listen on 127.0.0.1:8420")
		env := func(name string) (string, bool) {
			v, ok := map[string]string{"JACKFIELD_AUTH_TOKEN": longToken, "HOME": "/"}[name]
			return v, ok
		}
		if _, found, err := Load(file, Overrides{Listen: listen, Env: env}); err != nil {
			t.Error(listen, found)
		}
	}
	for _, listen := range []string{"127.0.0.1:0", "127.9.9.9:65535", "[::1]:1", "localhost:1", "LOCALHOST:1", "[::ffff:127.0.0.1]:1"} {
		if _, found, err := Load(file, Overrides{Listen: listen, Env: testEnv}); err != nil {
			t.Error(listen, found)
		}
	}
	for _, listen := range []string{"8420", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:http", "::1:80", "a:99999999999999999999"} {
		if _, found, err := Load(file, Overrides{Listen: listen, Env: testEnv}); err == nil || len(found) != 1 {
			t.Error(listen, found, err)
		}
	}
}

func TestTheTokenIsLongEnoughAndNeverShown(t *testing.T) {
	const servers = "mcpServers: {a: {command: x}}\n"
	short := "hunter2-hunter2-hunter2-hunter2"
	secret := write(t, "token", longToken+"\n")
	for name, test := range map[string]struct{ text, want string }{
		"short":         {"auth: {token: " + short + "}\n", ":1:15: error: auth.token has 31 characters; it needs at least 32; make one with: openssl rand -hex 32"},
		"a space in it": {"auth: {token: " + short + " x}\n", ":1:15: error: auth.token holds a space or a character that cannot stand in a header; make one with: openssl rand -hex 32"},
		"unset":         {"listen: :1\nauth: {token: \"${NOT_SET}\"}\n", ":2:15: error: auth.token: the environment variable NOT_SET is not set; set it where Jackfield is started, or write ${NOT_SET:-default}"},
		"empty":         {"listen: :1\nauth: {token: \"\"}\n", ":2:15: error: auth.token is empty; write ${NAME} of an environment variable with at least 32 characters, or remove it"},
		"both":          {"auth: {token: " + longToken + ", tokenFile: x}\n", ":1:7: error: auth has both a token and a tokenFile; keep one of the two"},
		"no file":       {"listen: :1\nauth: {tokenFile: /no/such}\n", ":2:19: error: auth.tokenFile cannot be read: stat /no/such: no such file or directory; name a file that the user who runs Jackfield may read"},
		"a directory":   {"auth: {tokenFile: .}\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, "a.yaml", test.text+servers)
			if test.want == "" {
				test.want = ":1:19: error: auth.tokenFile cannot be read: " + filepath.Dir(path) +
					" is a directory, or larger than a token can be; name a file that the user who runs Jackfield may read"
			}
			wantOnly(t, path, Overrides{}, test.want)
			_, _, err := Load(path, Overrides{Env: testEnv})
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error tells the token")
			}
		})
	}
	large := write(t, "token", strings.Repeat("x", 64<<10+1))
	wantOnly(t, write(t, "a.yaml", "auth: {tokenFile: "+large+"}\n"+servers), Overrides{}, ":1:19: error: auth.tokenFile cannot be read: "+
		large+" is a directory, or larger than a token can be; name a file that the user who runs Jackfield may read")
	c, found, err := Load(write(t, "a.yaml", "listen: :1\nauth: {tokenFile: "+secret+"}\n"+servers), Overrides{Env: testEnv})
	if err != nil || c.Auth.Token != longToken || c.Auth.TokenFile != secret {
		t.Error(found, err)
	}
	if text := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(text, longToken) {
		t.Error("a printed Config tells the token")
	}
}

func TestWhatOnlyARestartTakesOverIsNamed(t *testing.T) {
	a := &Config{Listen: "a", Servers: []jackfield.Server{{Name: "x"}}}
	b := &Config{Listen: "a"}
	if got := a.NeedsRestart(b); len(got) != 0 {
		t.Error("other servers need no restart, got", got)
	}
	b = &Config{Listen: "b", PublicURL: "x", Data: "x", Auth: Auth{Token: "x"}, Limits: Limits{Idle: 1}, Log: Log{Format: "json"}}
	want := []string{"listen", "publicURL", "data", "auth", "limits", "log"}
	if got := a.NeedsRestart(b); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAPublicAddressWithoutATokenIsWarnedOf(t *testing.T) {
	file := write(t, "a.yaml", "mcpServers: {a: {command: x}}\n")
	for address, warned := range map[string]bool{"https://mcp.example.com": true, "http://localhost:9": false, "http://127.0.0.1": false} {
		_, found, err := Load(file, Overrides{PublicURL: address, Env: testEnv})
		if err != nil || (len(found) == 1 && found[0].Severity == SeverityWarning) != warned {
			t.Error(address, found, err)
		}
	}
}

func TestAConfigOfAProgramsOwnIsNotServedToAllEither(t *testing.T) {
	for _, test := range []struct {
		config Config
		want   string
	}{
		{Config{}, DefaultListen},
		{Config{Listen: "localhost:0"}, "localhost:0"},
		{Config{Listen: ":1", Auth: Auth{Token: longToken}}, ":1"},
		{Config{Listen: ":1"}, ""},
		{Config{Listen: "gateway.local:1"}, ""},
	} {
		got, err := test.config.listen()
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%+v: got %q, %v", test.config, got, err)
		}
	}
}

func TestWhatAServerSaysOfItselfIsBounded(t *testing.T) {
	for field, most := range map[string]int{"title": 256, "description": 4 << 10, "serverInstructions": 64 << 10, "icon": 256 << 10} {
		for _, over := range []bool{false, true} {
			text := "https://" + strings.Repeat("x", most-len("https://"))
			if over {
				text += "x"
			}
			c, found, err := Load(write(t, "a.yaml", "mcpServers: {a: {command: x, "+field+": \""+text+"\"}}\n"), Overrides{Env: testEnv})
			if err != nil || (c.Servers[0].Invalid != "") != over || len(found) > 1 || over && found[0].Message != fmt.Sprintf("%s is longer than %d bytes", field, most) {
				t.Errorf("%s of %d bytes: %v %v", field, len(text), found, err)
			}
		}
	}
}

func TestLimitsThatNoProgramCouldRunWithinAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"memory: 512MiB, files: 256, processes: 100": "",
		"memory: 2GiB": "", "files: 16": "", "processes: 1": "",
		"memory: 1MiB":  "no program runs with limits.memory of 1MiB",
		"files: 3":      "no program runs with limits.files of 3",
		"files: -1":     "limits.files must be a whole number",
		"processes: 0":  "no program runs with limits.processes of 0",
		"procs: 100":    "limits.procs is not a known setting",
		"memory: a lot": `limits.memory "a lot" is not a size`,
	} {
		c, found, err := Load(write(t, "a.yaml", "mcpServers: {a: {command: x, limits: {"+text+"}}}\n"), Overrides{Env: testEnv})
		if err != nil || (c.Servers[0].Invalid != "") != (want != "") || want != "" && !strings.Contains(found[0].Message, want) {
			t.Errorf("%s: %v %v", text, found, err)
		}
		if want == "" && c.Servers[0].Endpoint.Limits == (jackfield.ProcessLimits{}) {
			t.Errorf("%s: there are no limits", text)
		}
	}
	if _, found, err := Load(write(t, "a.yaml", "mcpServers: {a: {url: 'http://x/', limits: {files: 100}}}\n"), Overrides{Env: testEnv}); err != nil || len(found) != 1 || !strings.Contains(found[0].Message, "limits is ignored") {
		t.Errorf("limits of a remote server: %v %v", found, err)
	}
}

func TestNoZeroByteReachesAProgram(t *testing.T) {
	for what, text := range map[string]string{
		"command": `{"command": "x\u0000y"}`,
		"args[1]": `{"command": "x", "args": ["a", "${ZERO}"]}`,
		"env.A":   `{"command": "x", "env": {"A": "${ZERO}"}}`,
		"cwd":     `{"command": "x", "cwd": "/${ZERO}"}`,
	} {
		c, found, err := Load(write(t, "a.json", `{"mcpServers": {"a": `+text+"}}"), Overrides{Env: testEnv})
		if err != nil || len(found) != 1 || found[0].Message != what+" holds a zero byte" || c.Servers[0].Invalid == "" {
			t.Error(what, found, err)
		}
	}
}

// BenchmarkLoad shows that the time grows with the length of a file: JSON's in
// proportion, YAML's somewhat faster up to its bound.
func BenchmarkLoad(b *testing.B) {
	for _, count := range []int{10, 1000, 8000} {
		var json, yaml strings.Builder
		for i := range count {
			fmt.Fprintf(&json, "\n\"s%d\": {\"url\": \"https://example.com/mcp\"},", i)
			fmt.Fprintf(&yaml, "  s%d:\n    url: https://example.com/mcp\n", i)
		}
		for name, text := range map[string]string{"a.json": `{"mcpServers": {` + json.String() + "}}", "a.yaml": "mcpServers:\n" + yaml.String()} {
			path := filepath.Join(b.TempDir(), name)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("%s/%d", name[2:], count), func(b *testing.B) {
				for b.Loop() {
					if c, found, err := Load(path, Overrides{Env: testEnv}); err != nil || len(c.Servers) != count {
						b.Fatal(found, err)
					}
				}
			})
		}
	}
}
