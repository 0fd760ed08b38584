package app

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

func schema(t *testing.T) (*jsonschema.Resolved, []byte) {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err = json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return resolved, text
}

func TestTheSchemaInTheDocsIsTheOneThatTheProgramPrints(t *testing.T) {
	_, text := schema(t)
	golden(t, "../docs/config.schema.json", text)
	if again, _ := Schema(); !bytes.Equal(text, again) {
		t.Error("the schema differs from call to call")
	}
}

func TestEverySettingHasADescription(t *testing.T) {
	_, text := schema(t)
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	var look func(string, *jsonschema.Schema)
	look = func(name string, s *jsonschema.Schema) {
		for key, p := range s.Properties {
			if p.Description == "" {
				t.Errorf("%s.%s has no description", name, key)
			}
			look(name+"."+key, p)
		}
	}
	look("", &s)
	look("server", s.Defs["server"])
}

func TestTheSchemaAgreesWithTheLoader(t *testing.T) {
	s, _ := schema(t)
	check := func(text string) error {
		t.Helper()
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(text, err)
		}
		return s.Validate(v)
	}
	for _, name := range []string{"claude-desktop.json", "claude-code.json", "cursor.json"} {
		text, err := os.ReadFile(filepath.Join("testdata/config", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := check(string(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, test := range []struct {
		good bool
		text string
	}{
		{true, `{"$schema": "x", "listen": "127.0.0.1:1", "x-any": 1, "servers": {"a": {"command": "x", "x-any": {}}}}`},
		{true, `{"mcpServers": {"a": {"command": "x", "args": ["-p", 80], "env": {"A": 1, "B": true}, "timeout": 30000, "initTimeout": "30s",
			"startup": false, "sharing": "owner", "tools": {"allow": ["a*"], "deny": []}, "serverInstructions": true, "title": "X"}}}`},
		{true, `{"limits": {"body": "4MiB", "message": 65536, "dials": {"total": 1, "perServer": 1, "perOwner": 1}, "idle": "15m"},
			"log": {"level": "warn", "format": "json"}, "auth": {"token": "` + longToken + `"}, "mcpServers": {"a": {"url": "https://x"}}}`},
		{false, `{"lisen": "127.0.0.1:1"}`},
		{false, `{"log": {"level": "loud"}}`},
		{false, `{"limits": {"body": []}}`},
		{false, `{"limits": {"dials": {"all": 1}}}`},
		{false, `{"mcpServers": []}`},
		{false, `{"mcpServers": {"a": "x"}}`},
		{false, `{"mcpServers": {"a": {"command": "x", "timout": 1}}}`},
		{false, `{"mcpServers": {"a": {"command": "x", "sharing": "all"}}}`},
		{true, `{"mcpServers": {"a": {"command": "x", "onSessionLoss": "replay"}}}`},
		{false, `{"mcpServers": {"a": {"command": "x", "onSessionLoss": "retry"}}}`},
		{false, `{"mcpServers": {"a": {"command": "x", "args": "y"}}}`},
		{false, `{"mcpServers": {"a": {"command": "x", "startup": "no"}}}`},
		{false, `{"mcpServers": {"a": {"command": "x", "tools": ["*"]}}}`},
	} {
		if err := check(test.text); (err == nil) != test.good {
			t.Errorf("%s: %v", test.text, err)
		}
		_, found, err := Load(write(t, "a.json", test.text), Overrides{Env: testEnv})
		bad := err != nil
		for _, p := range found {
			bad = bad || p.Severity == SeverityInvalid
		}
		if bad == test.good && !strings.Contains(test.text, "x-any") {
			t.Errorf("the loader finds otherwise for %s: %v", test.text, found)
		}
	}
}
