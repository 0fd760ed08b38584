package app

import (
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/authn"
)

const servers1 = "mcpServers: {a: {command: x}}\n"

func TestKeysOfTheFileAreRead(t *testing.T) {
	hash := authn.HashOf("whatever")
	file := write(t, "a.yaml", "listen: :8420\nauth: {keys: [{name: ci, hash: \""+hash+"\", user: bot, teams: [data], role: editor, servers: [a], expires: 2999-01-31}]}\n"+servers1)
	c, found, err := Load(file, Overrides{Env: testEnv})
	if err != nil || len(found) != 0 {
		t.Fatal(found, err)
	}
	want := time.Date(2999, 2, 1, 0, 0, 0, 0, time.UTC)
	if k := c.Auth.Keys; len(k) != 1 || k[0].Name != "ci" || k[0].User != "bot" || k[0].Role != jackfield.RoleEditor || k[0].Servers[0] != "a" || !k[0].Expires.Equal(want) || c.Auth.Open() {
		t.Errorf("%+v", c.Auth)
	}
}

func TestKeysThatCannotBeUsedStopTheStart(t *testing.T) {
	hash := authn.HashOf("whatever")
	for text, want := range map[string]string{
		"{name: a, hash: nothing}":                                                                "sha256:",
		"{name: a, hash: \"" + hash + "\", role: king}":                                           "role",
		"{name: a, hash: \"" + hash + "\", expires: soon}":                                        `"soon" is not the time`,
		"{name: a, hash: \"" + hash + "\"}, {name: a, hash: \"" + authn.HashOf("another") + "\"}": "two of auth.keys have the name",
		"{name: a, hash: \"" + hash + "\"}, {name: b, hash: \"" + hash + "\"}":                    "the same key",
		"{name: a, hash: \"" + hash + "\", team: x}":                                              "team is not a known setting",
	} {
		_, found, err := Load(write(t, "a.yaml", "auth: {keys: ["+text+"]}\n"+servers1), Overrides{Env: testEnv})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v", text, found, err)
		}
	}
	_, found, err := Load(write(t, "a.yaml", "auth: {required: false, token: "+longToken+"}\n"+servers1), Overrides{Env: testEnv})
	if err == nil || !strings.Contains(err.Error(), "auth.required is false") {
		t.Error(found, err)
	}
}

func TestAStoreIsChosenByItsAddress(t *testing.T) {
	c, found, err := Load(write(t, "a.yaml", "store: {url: \"postgres://u:${PASS}@db/jackfield\", hintsURL: \"off\", masterKeyFile: keys/master}\n"+servers1), Overrides{
		Env: func(name string) (string, bool) {
			v, ok := map[string]string{"HOME": "/h", "PASS": "s3cret", "JACKFIELD_MASTER_KEY": "k"}[name]
			return v, ok
		},
	})
	if err != nil || len(found) != 0 {
		t.Fatal(found, err)
	}
	if s := c.Store; s.URL.Reveal() != "postgres://u:s3cret@db/jackfield" || s.HintsURL.Reveal() != "off" || !strings.HasSuffix(s.MasterKeyFile, "keys/master") || s.MasterKey.Reveal() != "k" {
		t.Errorf("%q %q %q", c.Store.URL.Reveal(), c.Store.HintsURL.Reveal(), c.Store.MasterKeyFile)
	}
	for text, want := range map[string]string{
		"mysql://u:s3cret@db/x": `begins with "mysql"`,
		"s3cret":                `begins with ""`,
		"postgres://%zz":        "not well formed",
	} {
		_, _, err := Load(write(t, "a.yaml", "store: {url: \""+text+"\"}\n"+servers1), Overrides{Env: testEnv})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAGatewayThatNobodyCanEnterIsWarnedOf(t *testing.T) {
	_, found, err := Load(write(t, "a.yaml", "auth: {required: true}\n"), Overrides{Env: testEnv})
	if err != nil || len(found) != 1 || found[0].Severity != SeverityWarning || !strings.Contains(found[0].Message, "there is none here") {
		t.Error(found, err)
	}
}
