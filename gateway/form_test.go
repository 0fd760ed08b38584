package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestAChoiceWithTitlesIsWrittenInTheClientsRevision(t *testing.T) {
	form := func(properties string) string {
		return `{"message":"m","requestedSchema":{"type":"object","properties":` + properties + `,"required":["z"]}}`
	}
	const titled = `{"type":"string","title":"T","oneOf":[{"const":"r","title":"Red"},{"const":"\"g"}],"default":"r"}`
	for _, c := range []struct{ version, method, in, want string }{
		{
			"2025-06-18", "elicitation/create", form(`{"z":` + titled + `, "a" : {"type":"integer","maximum":9007199254740993}}`),
			form(`{"z":{"type":"string","title":"T","default":"r","enum":["r","\"g"],"enumNames":["Red","\"g"]},"a":{"type":"integer","maximum":9007199254740993}}`),
		},
		{"2025-11-25", "elicitation/create", form(`{"z":` + titled + `}`), ""},
		{"2025-06-18", "sampling/createMessage", form(`{"z":` + titled + `}`), ""},
		{"2025-06-18", "elicitation/create", form(`{"z":{"type":"string","oneOf":[{"minLength":1}]}}`), ""},
		{"2025-06-18", "elicitation/create", form(`{"z":{"type":"string","oneOf":7}}`), ""},
		{"2025-06-18", "elicitation/create", form(`["oneOf"]`), ""},
		{"2025-06-18", "elicitation/create", `{"requestedSchema":"oneOf","oneOf":1}`, ""},
	} {
		if c.want == "" {
			c.want = c.in
		}
		got := inRevision(c.version, exchange.Question{Method: c.method, Params: wire.Raw(c.in)})
		if string(got.Params) != c.want {
			t.Errorf("%s %s:\n%s\nbecame\n%s", c.version, c.method, c.in, got.Params)
		}
	}
}

func TestAClientIsAskedInItsRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Broker: &examiner{rounds: [][]exchange.Question{{{Method: "elicitation/create", Params: wire.Raw(
			`{"message":"m","requestedSchema":{"properties":{"z":{"type":"string","oneOf":[{"const":"r","title":"Red"}]}}}}`)}}}}})
		hs := initialize(t, h, "/mcp", "2025-06-18", `{"elicitation":{}}`)
		c := dial(h, http.MethodPost, "/mcp", legacyCall("1", "tools/call", `{"name":"x"}`), hs)
		asked := c.message(t)
		if !strings.Contains(asked, `"z":{"type":"string","enum":["r"],"enumNames":["Red"]}`) {
			t.Errorf("got %s", asked)
		}
		m, err := wire.Parse([]byte(asked))
		if err != nil {
			t.Fatal(err)
		}
		send(h, http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{"action":"accept","content":{"z":"r"}}}`, hs)
		for !strings.Contains(asked, `"told"`) {
			asked = c.message(t)
		}
		c.wantEnd(t)
		shut(t, h)
	})
}

func FuzzInRevision(f *testing.F) {
	f.Add([]byte(`{"requestedSchema":{"properties":{"z":{"type":"string","oneOf":[{"const":"r","title":"Red"}]}}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if !json.Valid(b) || !strings.HasPrefix(string(b), "{") {
			return
		}
		if got := inRevision(exchange.V20250618, exchange.Question{Method: "elicitation/create", Params: b}); !json.Valid(got.Params) {
			t.Errorf("%s became %s", b, got.Params)
		}
	})
}
