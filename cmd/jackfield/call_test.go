package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/wire"
)

func parsed(t *testing.T, text string) schema {
	t.Helper()
	var s schema
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

const everyType = `{"type":"object","properties":{
"s":{"type":"string"},"n":{"type":"number"},"i":{"type":"integer"},"b":{"type":"boolean"},
"o":{"type":"object"},"l":{"type":"array","items":{"type":"integer"}},"any":{},
"sn":{"type":["null","number"]},"choice":{"enum":["a","b"]},"bool":true}}`

func TestArgumentsTakeTheTypesOfTheSchema(t *testing.T) {
	s := parsed(t, everyType)
	for _, c := range []struct {
		pairs []string
		want  string
	}{
		{nil, `{}`},
		{[]string{"s=12"}, `{"s":"12"}`},
		{[]string{"s="}, `{"s":""}`},
		{[]string{"s=a=b\nc\"d"}, `{"s":"a=b\nc\"d"}`},
		{[]string{"n=1.50", "i=9007199254740993"}, `{"n":1.50,"i":9007199254740993}`},
		{[]string{"b=true", "s=x"}, `{"b":true,"s":"x"}`},
		{[]string{"b=0"}, `{"b":false}`},
		{[]string{`o={"a":1}`}, `{"o":{"a":1}}`},
		{[]string{"l=1", "s=x", "l=2"}, `{"l":[1,2],"s":"x"}`},
		{[]string{"l=[1,2]"}, `{"l":[1,2]}`},
		{[]string{"any=5"}, `{"any":5}`},
		{[]string{"any=five"}, `{"any":"five"}`},
		{[]string{`any="five"`}, `{"any":"\"five\""}`},
		{[]string{"any="}, `{"any":""}`},
		{[]string{"sn=null"}, `{"sn":null}`},
		{[]string{"unknown=[1]"}, `{"unknown":[1]}`},
		{[]string{"bool=x"}, `{"bool":"x"}`},
	} {
		raw, err := pairs(c.pairs, s)
		if err != nil || string(raw) != c.want {
			t.Errorf("%q: %s, %v; want %s", c.pairs, raw, err, c.want)
		}
	}
	for pair, want := range map[string]string{
		"n=x":   `--arg n: "x" is not a number`,
		"n=":    `--arg n: "" is not a number`,
		"n=NaN": `--arg n: "NaN" is not a number`,
		"b=x":   `--arg b: "x" is not true or false`,
		"o=x":   `--arg o: "x" is not a JSON object`,
		"l=x":   `--arg l: "x" is not a number`,
		"sn=x":  `--arg sn: "x" is not a number`,
		"=x":    `--arg "=x" is not NAME=VALUE`,
	} {
		if _, err := pairs([]string{pair}, s); err == nil || err.Error() != want || exitCode(err) != exitUsage {
			t.Errorf("%s: %v, want %s", pair, err, want)
		}
	}
}

func FuzzArgumentsAreAlwaysAJSONObject(f *testing.F) {
	f.Add(everyType, "s=1", "l=2")
	f.Add(everyType, "any={", "any=}")
	f.Add(`{"properties":[]}`, "a=\xff", "\"=1")
	f.Fuzz(func(t *testing.T, text, one, two string) {
		var s schema
		if json.Unmarshal([]byte(text), &s) != nil {
			return
		}
		raw, err := pairs([]string{one, two}, s)
		if err == nil && !json.Valid(raw) {
			t.Fatalf("%q and %q became %s", one, two, raw)
		}
	})
}

func FuzzAnyToolCanBeShown(f *testing.F) {
	f.Add(`{"name":"a","description":"x\ny","inputSchema":{"properties":{"b":{"type":"string","x-mcp-header":"B"},"a":{}},"required":["a"]}}`)
	f.Add(`{"name":"a","inputSchema":{"properties":{"a":1,"a":{}}}}`)
	f.Add(`{"name":"a","inputSchema":{"properties":null,"type":5}}`)
	f.Fuzz(func(t *testing.T, text string) {
		tool, err := parseTool(wire.Raw(text))
		if err != nil {
			return
		}
		if names := tool.InputSchema.all(); len(slices.Compact(slices.Sorted(slices.Values(names)))) != len(names) {
			t.Fatalf("a name stands twice: %q", names)
		}
		if strings.ContainsAny(printable(tool.usage()+tool.about()), "\n\x1b") {
			t.Fatalf("%q and %q are not for a table", tool.usage(), tool.about())
		}
		tool.InputSchema.mirrors()
	})
}

func TestToolsAreShownWithTheirArgumentsInOrder(t *testing.T) {
	tool, err := parseTool(wire.Raw(`{"name":"t","title":"T","description":"  First.\nSecond.","inputSchema":{
"properties":{"z":{},"y":{"type":"object","properties":{"in":{"type":"string","x-mcp-header":"Inner"}}},"a":{"x-mcp-header":"A"}},"required":["a","z"]}}`))
	if err != nil || tool.usage() != "z a [y]" || tool.about() != "First." {
		t.Errorf("%q, %q, %v", tool.usage(), tool.about(), err)
	}
	if got := fmt.Sprint(tool.InputSchema.mirrors()); got != "[{Inner [y in]} {A [a]}]" {
		t.Errorf("mirrored: %s", got)
	}
	if _, err := parseTool(wire.Raw(`{"title":"no name"}`)); err == nil {
		t.Error("a tool without a name passes")
	}
}

func TestEveryKindOfContentIsShownOrNamed(t *testing.T) {
	var out screen
	s := &shell{out: &out, terminal: func(any) (int, bool) { return 0, false }}
	var blocks []content
	if err := json.Unmarshal([]byte(`[
{"type":"text","text":"plain\n"},
{"type":"resource","resource":{"uri":"a://1","text":"inside"}},
{"type":"resource","resource":{"uri":"a://2","blob":"AAAA"}},
{"type":"resource_link","uri":"a://3","name":"Three"},
{"type":"image","mimeType":"image/png","data":"AAAAAAAA"},
{"type":"hologram"}]`), &blocks); err != nil {
		t.Fatal(err)
	}
	s.printContent(&out, blocks, nil)
	s.printContent(&out, nil, wire.Raw(`{"a":1}`))
	s.printContent(&out, nil, nil)
	want := "plain\ninside\n[resource a://2; see it with --json]\n→ a://3 Three\n[image, image/png, 6 bytes; see it with --json]\n[hologram; see it with --json]\n{\"a\":1}\n(nothing)\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestTextOnATerminalCannotSteerIt(t *testing.T) {
	if got := printableLines("a\tb\r\n\x1b[2Jc\u202e"); got != "a    b\n\uFFFD[2Jc\uFFFD" {
		t.Errorf("%q", got)
	}
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"a bcd", 3, "a…"}, {"äöü", 2, "ä…"}, {"ab", 1, "…"}, {"ab", -5, "…"}} {
		if got := clip(c.text, c.width); got != c.want || utf8.RuneCountInString(got) > max(c.width, 1) {
			t.Errorf("%q to %d: %q, want %q", c.text, c.width, got, c.want)
		}
	}
}

func TestDurationsFitAColumn(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 59 * time.Minute: "59m",
		time.Hour: "1h", 47 * time.Hour: "47h", 48 * time.Hour: "2d",
	} {
		if got := duration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestTheReasonIsTheMostImportantThingToSay(t *testing.T) {
	for want, v := range map[string]api.ServerStatus{
		"":                                    {},
		"refused":                             {Reason: "refused", Warnings: []string{"w"}},
		"the tools could not be listed: slow": {Listings: map[string]api.ListingStatus{"tools": {Error: "slow", Truncated: "x"}}, Warnings: []string{"w"}},
		"the list of tools is not complete: over a limit": {Listings: map[string]api.ListingStatus{"tools": {Truncated: "over a limit"}}, Warnings: []string{"w"}},
		"warning: w": {Warnings: []string{"w", "v"}},
	} {
		if got := reason(v); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestThisMachineFindsAListenerOnEveryAddress(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:1": "127.0.0.1:1", "0.0.0.0:2": "127.0.0.1:2", "[::]:3": "[::1]:3", "[::1]:4": "[::1]:4", "example.com:5": "example.com:5", "odd": "odd",
	} {
		if got := local(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}
