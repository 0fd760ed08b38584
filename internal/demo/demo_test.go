package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// clients are a client of each era.
var clients = map[string]func(p *peer) *peer{
	"modern": func(p *peer) *peer { return p.modern(`{}`) },
	"legacy": func(p *peer) *peer { return p.legacy("2025-11-25", `{}`) },
	"oldest": func(p *peer) *peer { return p.legacy("2024-11-05", `{}`) },
}

func TestEveryToolIsDescribedWellEnoughForAModelToUse(t *testing.T) {
	for _, about := range Servers() {
		for era, client := range clients {
			inBubble(t, about.Name, Options{}, func(p *peer) {
				tools, _ := client(p).ok("tools/list", "")["tools"].([]any)
				if len(tools) < 4 {
					t.Errorf("%s offers %d tools to a client that is %s", about.Name, len(tools), era)
				}
				for _, listed := range tools {
					tool := listed.(map[string]any)
					for _, member := range []string{"name", "title", "description", "inputSchema", "outputSchema", "annotations"} {
						if tool[member] == nil || tool[member] == "" {
							t.Errorf("%s: the tool %v has no %s", about.Name, tool["name"], member)
						}
					}
					for _, schema := range []string{"inputSchema", "outputSchema"} {
						if s := tool[schema].(map[string]any); s["type"] != "object" || s["additionalProperties"] != false {
							t.Errorf("%s: the %s of %v is %v", about.Name, schema, tool["name"], s)
						}
					}
				}
			})
		}
	}
}

// toolCases call every tool, in this order, on one connection for each server.
var toolCases = []struct {
	server, tool, args, want string
	isError                  bool
}{
	{"time", "now", `{}`, "Saturday, 2000-01-01T00:00:00Z (UTC)", false},
	{"time", "now", `{"zone":"Asia/Tokyo"}`, "Saturday, 2000-01-01T09:00:00+09:00 (Asia/Tokyo)", false},
	{"time", "now", `{"zone":"Mars/Olympus"}`, `there is no time zone "Mars/Olympus": use a name such as Europe/Berlin or America/New_York`, true},
	{"time", "convert", `{"time":"2026-07-01 12:00","from":"Europe/Berlin","to":"America/New_York"}`, "Wednesday, 2026-07-01T06:00:00-04:00 (America/New_York)", false},
	{"time", "convert", `{"time":"12:30","to":"UTC"}`, "Saturday, 2000-01-01T12:30:00Z (UTC)", false},
	{"time", "convert", `{"time":"soon","to":"UTC"}`, `"soon" is not a moment: write it as 2026-03-01T15:04:05Z, 2026-03-01 15:04, 2026-03-01 or 15:04`, true},
	{"time", "difference", `{"from":"2000-01-01","to":"2000-01-03T01:01:05Z"}`, "2 days 1 hour 1 minute 5 seconds", false},
	{"time", "difference", `{"from":"2000-01-02"}`, "minus 1 day", false},
	{"time", "difference", `{"from":"now"}`, "no time at all", false},
	{"time", "difference", `{"from":"0001-01-01","to":"9999-12-31"}`, "3652058 days", false},
	{"time", "add", `{"time":"2024-01-31","months":1}`, "Saturday, 2024-03-02T00:00:00Z (UTC)", false},
	{"time", "add", `{"time":"2024-03-30T12:00","days":1,"zone":"Europe/Berlin"}`, "Sunday, 2024-03-31T12:00:00+02:00 (Europe/Berlin)", false},
	{"time", "add", `{"time":"2024-03-30T12:00:00Z","days":1,"zone":"Europe/Berlin"}`, "Sunday, 2024-03-31T13:00:00+02:00 (Europe/Berlin)", false},
	{"time", "add", `{"hours":-1,"minutes":-30}`, "Friday, 1999-12-31T22:30:00Z (UTC)", false},
	{"time", "add", `{"years":2000000}`, "2000000 is too much: at most 1000000 of each unit can be added", true},
	{"time", "add", `{"years":100000}`, "the year 102000 cannot be written as a date: stay between 0 and 9999", true},
	{"text", "hash", `{"text":"abc"}`, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", false},
	{"text", "hash", `{"text":"abc","algorithm":"md5"}`, "900150983cd24fb0d6963f7d28e17f72", false},
	{"text", "hash", `{"text":"abc","algorithm":"sha1"}`, "a9993e364706816aba3e25717850c26c9cd0d89d", false},
	{"text", "base64", `{"text":"grüße?>"}`, "Z3LDvMOfZT8+", false},
	{"text", "base64", `{"text":"grüße?>","url":true}`, "Z3LDvMOfZT8-", false},
	{"text", "base64", `{"text":"Z3LDvMOfZT8+","direction":"decode"}`, "grüße?>", false},
	{"text", "base64", `{"text":"/w==","direction":"decode"}`, "this is Base64 of 1 bytes that are not text", true},
	{"text", "base64", `{"text":"***","direction":"decode"}`, "this is not Base64 of the chosen alphabet: illegal base64 data at input byte 0", true},
	{"text", "count", `{"text":"eins zwei\ndrei ü\n"}`, "17 characters, 4 words, 2 lines, 18 bytes", false},
	{"text", "slugify", `{"text":"  Größe & Crème brûlée: it's 5€!"}`, "groesse-and-creme-brulee-its-5", false},
	{"text", "slugify", `{"text":"one two three","max":8}`, "one-two", false},
	{"text", "slugify", `{"text":"€€"}`, `there is no letter and no digit in "€€" to make a slug of`, true},
	{"text", "diff", `{"before":"a\nb\nc\n","after":"a\nB\nc\nd"}`, "@@ -1,3 +1,4 @@\n a\n-b\n+B\n c\n+d\n", false},
	{"text", "diff", `{"before":"same","after":"same\n"}`, "the texts are the same", false},
	{"text", "find", `{"text":"a1\nb22 c3","pattern":"([a-z])(\\d+)"}`, "line 1: a1\nline 2: b22\nline 2: c3", false},
	{"text", "find", `{"text":"aaa","pattern":"a","max":2}`, "line 1: a\nline 1: a\nthere are more than these 2", false},
	{"text", "find", `{"text":"x","pattern":"y"}`, "nothing matches", false},
	{"text", "find", `{"text":"x","pattern":"("}`, "the pattern is not a regular expression that RE2 knows: error parsing regexp: missing closing ): `(`", true},
	{"notes", "list_notes", `{}`, "no notes", false},
	{"notes", "clear_notes", `{}`, "There are no notes to delete", false},
	{"notes", "add_note", `{"title":"Milk","text":"two litres","tags":["shop"]}`, "Added note 1: Milk", false},
	{"notes", "add_note", `{"title":"Call Ann"}`, "Added note 2: Call Ann", false},
	{"notes", "add_note", `{"title":" "}`, "a note needs a title", true},
	{"notes", "list_notes", `{}`, "1. Milk [shop]\n2. Call Ann", false},
	{"notes", "list_notes", `{"tag":"shop"}`, "1. Milk [shop]", false},
	{"notes", "list_notes", `{"query":"ANN"}`, "2. Call Ann", false},
	{"notes", "edit_note", `{"id":1,"text":"three litres"}`, "Edited note 1: Milk", false},
	{"notes", "edit_note", `{"id":9}`, "there is no note 9: list_notes tells the numbers", true},
	{"notes", "edit_note", `{"id":1,"tags":["a","b","c","d","e","f","g","h","i","j","k"]}`, "a note has at most 10 tags", true},
	{"notes", "read_note", `{"id":1}`, "# Milk\n\nthree litres\n\nTags: shop\n", false},
	{"notes", "read_note", `{"id":7}`, "there is no note 7: list_notes tells the numbers", true},
	{"notes", "export_notes", `{}`, "# Milk\n\nthree litres\n\nTags: shop\n\n# Call Ann\n\n\n", false},
	{"notes", "export_notes", `{"seconds":-1}`, "seconds is -1, but must be between 0 and 2", true},
	{"notes", "export_notes", `{"seconds":60}`, "seconds is 60, but must be between 0 and 2", true},
	{"notes", "delete_note", `{"id":2}`, "Deleted note 2: Call Ann", false},
	{"notes", "delete_note", `{"id":2}`, "there is no note 2: list_notes tells the numbers", true},
	{"notes", "clear_notes", `{}`, "this client cannot be asked for confirmation: ask the person, and if the answer is yes call clear_notes with confirm: true", true},
	{"notes", "clear_notes", `{"confirm":true}`, "Deleted 1 note", false},
}

func TestEveryToolAnswersInEveryEraWithDataThatItsSchemaAllows(t *testing.T) {
	called := map[string]bool{}
	for _, about := range Servers() {
		for era, client := range clients {
			inBubble(t, about.Name, Options{}, func(p *peer) {
				schemas := outputSchemas(t, client(p).ok("tools/list", ""))
				for _, c := range toolCases {
					if c.server != about.Name {
						continue
					}
					called[c.tool] = true
					r := p.ok("tools/call", `{"name":"`+c.tool+`","arguments":`+c.args+`}`)
					if got := textOf(t, r); got != c.want || (r["isError"] == true) != c.isError {
						t.Errorf("%s: %s %s\n got %q, error %v\nwant %q, error %v", era, c.tool, c.args, got, r["isError"], c.want, c.isError)
					}
					if !c.isError {
						if err := schemas[c.tool].Validate(r["structuredContent"]); err != nil {
							t.Errorf("%s %s: %v", c.tool, c.args, err)
						}
					}
					if (r["resultType"] == "complete") != (era == "modern") {
						t.Errorf("%s: resultType %v", era, r["resultType"])
					}
				}
				for name := range schemas {
					if !called[name] {
						t.Errorf("the tool %s is never called by this test", name)
					}
				}
			})
		}
	}
}

func outputSchemas(t *testing.T, listed map[string]any) map[string]*jsonschema.Resolved {
	t.Helper()
	raw, err := json.Marshal(listed["tools"])
	if err != nil {
		t.Fatal(err)
	}
	var tools []struct {
		Name         string
		OutputSchema *jsonschema.Schema
	}
	if err = json.Unmarshal(raw, &tools); err != nil {
		t.Fatal(err)
	}
	all := map[string]*jsonschema.Resolved{}
	for _, tool := range tools {
		if all[tool.Name], err = tool.OutputSchema.Resolve(nil); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestArgumentsThatTheSchemaForbidsAreToldToTheModel(t *testing.T) {
	for _, c := range []struct{ server, tool, args, want string }{
		{"text", "hash", `{"text":"x","algorithm":"crc"}`, "algorithm"},
		{"text", "hash", `{"text":5}`, "text"},
		{"text", "hash", `{}`, "text"},
		{"text", "hash", `{"text":"x","txt":"y"}`, "txt"},
		{"text", "hash", `[]`, "arguments of hash"},
		{"notes", "read_note", `{"id":1.5}`, "id"},
		{"notes", "read_note", `{"id":99999999999999999999}`, "read_note"},
	} {
		inBubble(t, c.server, Options{}, func(p *peer) {
			got, isError := p.modern(`{}`).call(c.tool, c.args)
			if !isError || !strings.Contains(got, c.want) {
				t.Errorf("%s %s: %q, error %v; want an error that speaks of %s", c.tool, c.args, got, isError, c.want)
			}
		})
	}
}

func TestTextsBeyondTheLimitAreRefused(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	for tool, args := range map[string]string{
		"hash": `{"text":"` + long + `"}`, "base64": `{"text":"` + long + `"}`, "count": `{"text":"` + long + `"}`,
		"slugify": `{"text":"` + long + `"}`, "find": `{"pattern":"y","text":"` + long + `"}`,
		"diff": `{"before":"","after":"` + long + `"}`,
	} {
		inBubble(t, "text", Options{}, func(p *peer) {
			if got, isError := p.modern(`{}`).call(tool, args); !isError || !strings.Contains(got, "more than the 1048576 that are allowed") {
				t.Errorf("%s: %.80q, error %v", tool, got, isError)
			}
		})
	}
	inBubble(t, "text", Options{}, func(p *peer) {
		different := strings.Repeat(`x\n`, maxDiffLines+1)
		if got, isError := p.modern(`{}`).call("diff", `{"before":"y","after":"`+different+`"}`); !isError || !strings.Contains(got, "too many lines") {
			t.Errorf("%q, error %v", got, isError)
		}
	})
	inBubble(t, "notes", Options{}, func(p *peer) {
		p.modern(`{}`)
		for range maxNotes {
			p.call("add_note", `{"title":"n"}`)
		}
		if got, isError := p.call("add_note", `{"title":"n"}`); !isError || !strings.Contains(got, "no more fit") {
			t.Errorf("note %d: %q, error %v", maxNotes+1, got, isError)
		}
		if got, isError := p.call("edit_note", `{"id":1,"text":"`+strings.Repeat("x", maxNote+1)+`"}`); !isError || !strings.Contains(got, "more than the 65536") {
			t.Errorf("a long note: %q, error %v", got, isError)
		}
	})
}

func TestLegacyClientsGetTheRevisionTheyAskForOrOurNewest(t *testing.T) {
	for asked, want := range map[string]string{
		"2025-11-25": "2025-11-25", "2025-06-18": "2025-06-18", "2025-03-26": "2025-03-26", "2024-11-05": "2024-11-05",
		"2026-07-28": "2025-11-25", "1999-01-01": "2025-11-25", "": "2025-11-25",
	} {
		inBubble(t, "time", Options{Version: "v1.2.3"}, func(p *peer) {
			r := p.ok("initialize", `{"protocolVersion":"`+asked+`","capabilities":{}}`)
			info, _ := r["serverInfo"].(map[string]any)
			if r["protocolVersion"] != want || info["name"] != "jackfield-demo-time" || info["version"] != "v1.2.3" {
				t.Errorf("asked for %q: %v", asked, r)
			}
		})
	}
}

func TestDiscoverTellsVersionsCapabilitiesAndHowLongItHolds(t *testing.T) {
	inBubble(t, "notes", Options{}, func(p *peer) {
		r := p.modern(`{}`).ok("server/discover", "")
		want := map[string]any{
			"resources": map[string]any{"listChanged": true, "subscribe": true}, "tools": map[string]any{},
			"prompts": map[string]any{}, "completions": map[string]any{}, "logging": map[string]any{},
		}
		if !reflect.DeepEqual(r["capabilities"], want) {
			t.Errorf("capabilities %v", r["capabilities"])
		}
		if v, _ := r["supportedVersions"].([]any); len(v) != 5 || v[0] != "2026-07-28" {
			t.Errorf("supportedVersions %v", r["supportedVersions"])
		}
		meta, _ := r["_meta"].(map[string]any)
		if r["resultType"] != "complete" || r["ttlMs"] != 300000.0 || r["cacheScope"] != "public" || meta[metaServerInfo] == nil || r["instructions"] == "" {
			t.Errorf("%v", r)
		}
	})
	inBubble(t, "time", Options{}, func(p *peer) {
		if c := p.modern(`{}`).ok("server/discover", "")["capabilities"]; !reflect.DeepEqual(c, map[string]any{"tools": map[string]any{}}) {
			t.Errorf("capabilities of time: %v", c)
		}
	})
}

func TestAnEraCanBeSwitchedOff(t *testing.T) {
	inBubble(t, "time", Options{Era: EraLegacy}, func(p *peer) {
		if e := p.modern(`{}`).fails("server/discover", ""); e.Code != wire.CodeMethodNotFound {
			t.Errorf("legacy only: discover: %v", e)
		}
		if got, _ := p.legacy("2025-06-18", `{}`).call("now", `{}`); !strings.Contains(got, "2000") {
			t.Errorf("legacy only: %q", got)
		}
	})
	inBubble(t, "time", Options{Era: EraModern}, func(p *peer) {
		e := p.fails("initialize", `{"protocolVersion":"2025-11-25","capabilities":{}}`)
		if e.Code != wire.CodeUnsupportedVersion || string(e.Data) != `{"requested":"2025-11-25","supported":["2026-07-28"]}` {
			t.Errorf("modern only: initialize: %v %s", e, e.Data)
		}
		if v, _ := p.modern(`{}`).ok("server/discover", "")["supportedVersions"].([]any); len(v) != 1 {
			t.Errorf("modern only: supportedVersions %v", v)
		}
	})
}

func TestServeRefusesWhatDoesNotExist(t *testing.T) {
	err := Serve(t.Context(), "nope", strings.NewReader(""), io.Discard, Options{})
	if jackfield.CodeOf(err) != jackfield.NotFound || err.Error() != `there is no demo server "nope": choose time, text or notes` {
		t.Errorf("unknown name: %v", err)
	}
	err = Serve(t.Context(), "time", strings.NewReader(""), io.Discard, Options{Era: "bronze"})
	if jackfield.CodeOf(err) != jackfield.Invalid {
		t.Errorf("unknown era: %v", err)
	}
}

func TestBadMessagesGetOneClearErrorAndNothingElseIsLost(t *testing.T) {
	meta := `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	for _, c := range []struct {
		name, line string
		id         string
		code       int
	}{
		{"not JSON", `hello`, "null", wire.CodeParse},
		{"a batch", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, "null", wire.CodeInvalidRequest},
		{"no version", `{"id":1,"method":"ping"}`, "1", wire.CodeInvalidRequest},
		{"id null", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, "null", wire.CodeInvalidRequest},
		{"id twice", `{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`, "null", wire.CodeInvalidRequest},
		{"params of the wrong type", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":5}}`, "1", wire.CodeInvalidParams},
		{"before initialize", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, "1", wire.CodeInvalidRequest},
		{"too deep", `{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}}`, "1", wire.CodeInvalidRequest},
		{"too long", `{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("x", maxLine) + `"}`, "null", wire.CodeInvalidRequest},
		{"unknown modern method", `{"jsonrpc":"2.0","id":"a","method":"ping","params":{` + meta + `}}`, `"a"`, wire.CodeMethodNotFound},
		{"unknown version", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2030-01-01","io.modelcontextprotocol/clientCapabilities":{}}}}`, "1", wire.CodeUnsupportedVersion},
		{"version that is no string", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":5,"io.modelcontextprotocol/clientCapabilities":{}}}}`, "1", wire.CodeInvalidParams},
		{"no capabilities", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`, "1", wire.CodeInvalidParams},
		{"capabilities of the wrong type", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":[]}}}`, "1", wire.CodeInvalidParams},
		{"unknown log level", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/logLevel":"loud","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`, "1", wire.CodeInvalidParams},
		{"unknown tool", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"fly",` + meta + `}}`, "1", wire.CodeInvalidParams},
		{"unknown prompt", `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"fly",` + meta + `}}`, "1", wire.CodeInvalidParams},
		{"unknown resource", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"notes://07",` + meta + `}}`, "1", wire.CodeInvalidParams},
		{"prompt arguments of the wrong type", `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"review_notes","arguments":{"tag":1},` + meta + `}}`, "1", wire.CodeInvalidParams},
		{"a prompt about nothing", `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"review_notes",` + meta + `}}`, "1", wire.CodeInvalidParams},
		{"a foreign cursor", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"from-99",` + meta + `}}`, "1", wire.CodeInvalidParams},
		{"a cursor before the beginning", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"from--1",` + meta + `}}`, "1", wire.CodeInvalidParams},
		{"listen to nothing", `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{` + meta + `}}`, "1", wire.CodeInvalidParams},
		{"a removed method", `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"notes://1",` + meta + `}}`, "1", wire.CodeMethodNotFound},
	} {
		inBubble(t, "notes", Options{}, func(p *peer) {
			p.send(c.line)
			m := p.next()
			if m.Error == nil || string(m.ID) != c.id || wire.ParseError(m.Error).Code != c.code {
				t.Errorf("%s: id %s, error %s, result %s; want the code %d for id %s", c.name, m.ID, m.Error, m.Result, c.code, c.id)
			}
			p.ok("ping", "")
		})
	}
}

func TestLegacyErrorsOfResourcesAndLevels(t *testing.T) {
	inBubble(t, "notes", Options{}, func(p *peer) {
		p.legacy("2025-11-25", `{}`)
		for method, params := range map[string]string{
			"resources/read":      `{"uri":"notes://1"}`,
			"resources/subscribe": `{"uri":"file:///etc/passwd"}`,
		} {
			if e := p.fails(method, params); e.Code != wire.CodeResourceNotFound {
				t.Errorf("%s: %v", method, e)
			}
		}
		if e := p.fails("logging/setLevel", `{"level":"loud"}`); e.Code != wire.CodeInvalidParams {
			t.Errorf("setLevel: %v", e)
		}
		if e := p.fails("subscriptions/listen", `{}`); e.Code != wire.CodeMethodNotFound {
			t.Errorf("listen: %v", e)
		}
		if e := p.fails("vendor/thing", `{}`); e.Code != wire.CodeMethodNotFound {
			t.Errorf("vendor: %v", e)
		}
	})
	inBubble(t, "time", Options{}, func(p *peer) {
		p.legacy("2025-11-25", `{}`)
		for _, method := range []string{"resources/list", "completion/complete", "logging/setLevel"} {
			if e := p.fails(method, `{}`); e.Code != wire.CodeMethodNotFound {
				t.Errorf("time, %s: %v", method, e)
			}
		}
	})
}

func TestASlowToolReportsProgressToWhoeverWantsIt(t *testing.T) {
	for era, client := range clients {
		inBubble(t, "notes", Options{}, func(p *peer) {
			client(p)
			p.call("add_note", `{"title":"a"}`)
			p.call("add_note", `{"title":"b"}`)
			p.heard = nil
			began := time.Now()
			p.ok("tools/call", `{"name":"export_notes","arguments":{"seconds":0.5}}`)
			if took := time.Since(began); took != time.Second || len(p.methods()) != 0 {
				t.Errorf("%s: took %v, heard %v; nothing was asked for", era, took, p.methods())
			}
			meta := `"progressToken":"t-1"`
			if p.meta != "" {
				meta += "," + p.meta
			}
			p.ok("tools/call", `{"_meta":{`+meta+`},"name":"export_notes","arguments":{"seconds":0}}`)
			var got []string
			for _, m := range p.heard {
				got = append(got, string(m.Params))
			}
			want := []string{
				`{"message":"writing a","progress":0,"progressToken":"t-1","total":2}`,
				`{"message":"writing b","progress":1,"progressToken":"t-1","total":2}`,
				`{"message":"done","progress":2,"progressToken":"t-1","total":2}`,
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q", era, got)
			}
		})
	}
}

func TestACancelledCallEndsWithoutAnAnswerAndOthersGoOn(t *testing.T) {
	inBubble(t, "notes", Options{}, func(p *peer) {
		p.modern(`{}`).call("add_note", `{"title":"a"}`)
		p.heard = nil
		cancelled := map[string]bool{}
		for range 20 {
			id := p.begin("tools/call", `{"name":"export_notes","arguments":{"seconds":2}}`)
			p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `}}`)
			cancelled[id] = true
		}
		p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"unknown"}}`)
		p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":[]}`)
		p.call("list_notes", `{}`)
		time.Sleep(time.Minute)
		synctest.Wait()
		for len(p.lines) > 0 {
			p.heard = append(p.heard, p.next())
		}
		for _, m := range p.heard {
			if cancelled[string(m.ID)] {
				t.Errorf("a cancelled call was answered: %s%s", m.Result, m.Error)
			}
		}
	})
}

func TestTheSameIDCannotBeUnderWayTwice(t *testing.T) {
	inBubble(t, "notes", Options{}, func(p *peer) {
		p.modern(`{}`).call("add_note", `{"title":"a"}`)
		line := `{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"export_notes","_meta":{` + p.meta + `}}}`
		p.send(line)
		p.send(line)
		if m := p.next(); m.Error == nil || wire.ParseError(m.Error).Code != wire.CodeInvalidRequest {
			t.Errorf("the second: %s %s", m.Error, m.Result)
		}
		if m := p.next(); m.Error != nil {
			t.Errorf("the first: %s", m.Error)
		}
	})
}

func TestRequestsUnderWayAreBounded(t *testing.T) {
	inBubble(t, "notes", Options{}, func(p *peer) {
		p.modern(`{}`)
		for range maxOpen {
			p.begin("subscriptions/listen", `{"notifications":{"resourcesListChanged":true}}`)
			p.next()
		}
		if e := p.fails("subscriptions/listen", `{"notifications":{}}`); e.Code != 1429 {
			t.Errorf("one more: %v", e)
		}
		p.ok("tools/list", "")
	})
}

func TestTheEndOfInputLetsQuickCallsFinishAndBoundsSlowOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, "notes", Options{}).modern(`{"elicitation":{}}`)
		for range 9 {
			p.call("add_note", `{"title":"a"}`)
		}
		p.heard = nil
		quick := p.begin("tools/call", `{"name":"export_notes","arguments":{"seconds":0.1}}`)
		slow := p.begin("tools/call", `{"name":"export_notes","arguments":{"seconds":2}}`)
		listen := p.begin("subscriptions/listen", `{"notifications":{"resourcesListChanged":true}}`)
		synctest.Wait()
		began := time.Now()
		p.end()
		answered := map[string]bool{}
		for _, m := range p.heard {
			answered[string(m.ID)] = m.Kind == wire.Response && m.Error == nil
		}
		if !answered[quick] || answered[slow] || !answered[listen] {
			t.Errorf("answered: %v; want %s and %s but not %s", answered, quick, listen, slow)
		}
		if took := time.Since(began); took != endGrace {
			t.Errorf("the end took %v", took)
		}
	})
}

func TestOneLineOnAPipeIsAnswered(t *testing.T) {
	var out bytes.Buffer
	err := Serve(t.Context(), "time", strings.NewReader("\n  \n"+`{"jsonrpc":"2.0","id":1,"method":"ping"}`), &out, Options{})
	if err != nil || out.String() != `{"jsonrpc":"2.0","id":1,"result":{}}`+"\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Read([]byte) (int, error)  { return 0, errors.New("torn") }
func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("torn") }

func TestServeEndsWhenTheClientIsGone(t *testing.T) {
	if err := Serve(t.Context(), "time", brokenPipe{}, io.Discard, Options{}); err == nil || !strings.Contains(err.Error(), "torn") {
		t.Errorf("input torn: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		in, feed := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- Serve(t.Context(), "time", in, brokenPipe{}, Options{}) }()
		_, _ = feed.Write([]byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}` + "\n"))
		if err := <-done; err == nil || err.Error() != "torn" {
			t.Errorf("output torn: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		in, _ := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- Serve(ctx, "time", in, io.Discard, Options{}) }()
		synctest.Wait()
		reason := errors.New("stopped")
		cancel(reason)
		if err := <-done; !errors.Is(err, reason) {
			t.Errorf("stopped: %v", err)
		}
	})
}
