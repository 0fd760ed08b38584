package document

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

// plain is a tree without its places, to compare and to print.
func plain(n *Node) any {
	switch {
	case n == nil:
		return "nil"
	case n.Kind == List:
		out := []any{}
		for _, item := range n.Items {
			out = append(out, plain(item))
		}
		return out
	case n.Kind == Map:
		out := map[string]any{}
		for _, f := range n.Fields {
			out[f.Key] = plain(f.Value)
		}
		return out
	}
	return fmt.Sprint(n.Kind, ":", n.Text)
}

func TestYAMLAndJSONMakeTheSameTree(t *testing.T) {
	yaml := `
a: text
b: 12
c: true
d: null
e: [1.5, "x: y", {f: g}]
h: {}
i: |
  two
  lines
j: "\u00e4\n"
`
	json := `{"a": "text", "b": 12, "c": true, "d": null, "e": [1.5, "x: y", {"f": "g"}], "h": {},
	"i": "two\nlines\n", /* comment */ "j": "\u00e4\n", // the end
	}`
	y, j := Parse("a.yaml", []byte(yaml), NewReport("")), Parse("a.json", []byte(json), NewReport(""))
	if !reflect.DeepEqual(plain(y), plain(j)) {
		t.Errorf("\nYAML %v\nJSON %v", plain(y), plain(j))
	}
	if at := y.Get("e").Items[1].Pos; at != (Pos{6, 10}) {
		t.Errorf("YAML place %v", at)
	}
	if at := j.Get("i").Pos; at != (Pos{2, 7}) {
		t.Errorf("JSON place %v", at)
	}
}

func TestTheNameOrTheFirstBraceTellsJSONFromYAML(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"x", `{"a": "b"} // JSON`, "map[a:text:b]"},
		{"x", "{a: b} # YAML", "map[a:text:b]"},
		{"x.yml", `{"a": "b", /* JSON */}`, "map[a:text:b]"},
		{"x", "a: b", "map[a:text:b]"},
		{"x.json", "{a: b}", "nil"},
		{"X.JSONC", "a: b", "nil"},
		{"x.json", " \n", "nothing:"},
	} {
		if got := fmt.Sprint(plain(Parse(test.name, []byte(test.text), NewReport("")))); got != test.want {
			t.Errorf("%s %q: got %s, want %s", test.name, test.text, got, test.want)
		}
	}
}

func TestCommentsAndTrailingCommasAreBlankedOutsideOfText(t *testing.T) {
	for in, want := range map[string]string{
		`{"a//b": "/* c */,}",}`: `{"a//b": "/* c */,}" }`,
		"[1, // x\n]":            "[1      \n]",
		"[1, /* \n */ 2,\n\n]":   "[1,    \n    2 \n\n]",
		`["\"//", ]`:             `["\"//"  ]`,
		`[1,,]`:                  `[1, ]`,
		`/* never closed`:        `               `,
		`"never closed // `:      `"never closed // `,
		`{"a": 1 / 2}`:           `{"a": 1 / 2}`,
	} {
		if got := string(plainJSON([]byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestMergedKeysYieldToOwnOnes(t *testing.T) {
	n := Parse("a.yaml", []byte("x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz: {b: 5, <<: [*x, *y], d: 6}\n"), NewReport(""))
	if got := fmt.Sprint(plain(n.Get("z"))); got != "map[a:a number:1 b:a number:5 c:a number:4 d:a number:6]" {
		t.Error(got)
	}
}

func TestAliasesMayRepeatMuchButNotWithoutBound(t *testing.T) {
	bomb := func(times int) string {
		item := strings.TrimSuffix(strings.Repeat("*b,", times), ",")
		return "a: &a [" + strings.TrimSuffix(strings.Repeat("x,", 300), ",") + "]\nb: &b [" +
			strings.TrimSuffix(strings.Repeat("*a,", 300), ",") + "]\nc: [" + item + "]\n"
	}
	r := NewReport("")
	if n := Parse("a.yaml", []byte(bomb(1)), r); n == nil {
		t.Error("half of the bound is refused:", r.Problems())
	}
	r = NewReport("")
	if n := Parse("a.yaml", []byte(bomb(2)), r); n != nil || len(r.Problems()) != 1 {
		t.Error("more than the bound is taken:", r.Problems())
	}
}

type sample struct {
	inner
	Text  string            `json:"text"`
	Flag  *bool             `json:"flag"`
	Count int               `json:"count"`
	Items []string          `json:"items"`
	Map   map[string]string `json:"map"`
	Time  Duration          `json:"time"`
	Size  Size              `json:"size"`
	not   string
}

type inner struct {
	Deep string `json:"deep"`
}

func decode(t *testing.T, yaml string) (sample, []string) {
	t.Helper()
	r := NewReport("f")
	n := Parse("a.yaml", []byte(yaml), r)
	var s sample
	if n != nil {
		Decode(n, &s, r, nil)
	}
	var out []string
	for _, p := range r.Problems() {
		out = append(out, p.String())
	}
	return s, out
}

func TestDecodeFillsAStructAndReportsAllThatDoesNotFit(t *testing.T) {
	s, problems := decode(t, `
deep: down
text: 010
flag: false
count: 3
items: [a, 1, true]
map: {a: 1.50, b: x}
time: 1m
size: 2KiB
x-anything: [goes]
`)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	no := false
	want := sample{inner{"down"}, "010", &no, 3, []string{"a", "1", "true"}, map[string]string{"a": "1.50", "b": "x"}, Duration(time.Minute), 2048, ""}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v", s)
	}
	_, problems = decode(t, "not: x\ntext: []\nflag: 1\ncount: -1\nitems: [[a], null]\nmap: {a: {b: c}}\ntime: [1]\nsize: true\nDeep: x\n")
	want2 := []string{
		"f:1:1: error: not is not a known setting; known here: deep, text, flag, count, items, map, time, size",
		"f:2:7: error: text must be text, not a list; write one text",
		"f:3:7: error: flag must be true or false, not a number; write true or false without quotes",
		"f:4:8: error: count must be a whole number, 0 or more",
		"f:5:9: error: items[0] must be text, not a list; write one text",
		`f:5:14: error: items[1] has no value; write "" for empty text, or remove it`,
		"f:6:10: error: map.a must be text, not a map; write one text",
		"f:7:7: error: time must be a duration, not a list; write a duration such as 30s, 5m or 1m30s, or a whole number of milliseconds",
		"f:8:7: error: size must be a size, not true or false; write a size such as 512KiB or 4MiB, or a whole number of bytes",
		"f:9:1: error: Deep is not a known setting; did you mean deep?",
	}
	if !reflect.DeepEqual(problems, want2) {
		t.Errorf("got\n%s", strings.Join(problems, "\n"))
	}
}

func TestSizesAndDurations(t *testing.T) {
	for text, want := range map[string]Size{
		"1": 1, "65536": 65536, "4MiB": 4 << 20, "4 MiB": 4 << 20, "1.5KiB": 1536, "2mb": 2_000_000, "2GiB": 2 << 30, "10b": 10,
		"0": 0, "-1": 0, "1.5": 0, "65GiB": 0, "MiB": 0, "1TiB": 0, "NaN": 0, "Inf": 0, "1e400": 0, "0x10": 0, "": 0,
	} {
		var s Size
		if message, _ := s.DecodeNode(&Node{Kind: String, Text: text}); s != want || (message == "") != (want > 0) {
			t.Errorf("size %q: got %d, %q", text, s, message)
		}
	}
	for text, want := range map[string]Duration{
		"30s": Duration(30 * time.Second), "1h1m1s": Duration(time.Hour + time.Minute + time.Second), "24h": Duration(24 * time.Hour),
		"24h1ns": 0, "0s": 0, "-1s": 0, "30": 0, "1d": 0, "": 0,
	} {
		var d Duration
		if message, _ := d.DecodeNode(&Node{Kind: String, Text: text}); d != want || (message == "") != (want > 0) {
			t.Errorf("duration %q: got %v, %q", text, d, message)
		}
	}
	for text, want := range map[string]Duration{
		"1500": Duration(1500 * time.Millisecond), "86400000": Duration(24 * time.Hour),
		"86400001": 0, "0": 0, "-5": 0, "1.5": 0, "99999999999999999999": 0,
	} {
		var d Duration
		if message, _ := d.DecodeNode(&Node{Kind: Number, Text: text}); d != want || (message == "") != (want > 0) {
			t.Errorf("milliseconds %s: got %v, %q", text, d, message)
		}
	}
}

func TestNearestFindsWhatWasMeantAndNothingElse(t *testing.T) {
	known := []string{"command", "args", "env", "url", "headers", "initTimeout", "http"}
	for word, want := range map[string]string{
		"comand": "command", "commnad": "command", "COMMAND": "command", "arg": "args", "init_timeout": "initTimeout", "init-timout": "initTimeout",
		"haeders": "headers", "htpp": "http", "ulr": "url",
		"x": "", "": "", "description": "", "lru": "", strings.Repeat("a", 100): "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "a: b", `{"a": [1, null, true, "x"]}`, "{a: b", "a: &a [*a]", "<<: *x", "? [a]\n: b", "a: |\n  x", "- - - a", "\ta: b",
		"a: 1\na: 2", "{\"a\": 1, \"a\": 2,}", "// c\n[1,]", "%YAML 1.2\n---\na: b\n...\n", "a: !!str 1", "&a a: b", "'a': \"\\u00e4\"",
		"a:\n  - b\n -c", "a: {{X}}", "[${A}]", "a: >-\n\n x\n", "*", "&", "!", "? ", ": ", "a: @b", "a: %", "\"", "---\n---\na: b", "<<: [x]",
	} {
		f.Add("a.yaml", []byte(s))
		f.Add("a.json", []byte(s))
	}
	f.Fuzz(func(t *testing.T, name string, src []byte) {
		if len(src) > 4<<10 {
			return
		}
		r := NewReport(name)
		text, ok := clean(src, r)
		if !ok {
			if len(r.Faults()) != 1 {
				t.Fatal("refused without a word")
			}
			return
		}
		n := Parse(name, text, r)
		if (n == nil) != (len(r.Faults()) > 0) {
			t.Fatalf("node %v with problems %v", n, r.Problems())
		}
		lines := strings.Count(string(text), "\n") + strings.Count(string(text), "\r") + 1 // a lone \r ends a line of YAML
		for _, p := range r.Problems() {
			if p.Line < 0 || p.Line > lines || p.Message == "" {
				t.Errorf("%d lines, but %v", lines, p)
			}
		}
		walk(t, n, lines, 0)
		if json.Valid(text) && len(text) > 0 && n != nil {
			if want := standard(t, text); want != nil && !reflect.DeepEqual(plain(n), want) {
				t.Errorf("%q: got %v, encoding/json has %v", text, plain(n), want)
			}
		}
	})
}

// walk checks that every node of a tree stands within the file and that no map
// has a key twice.
func walk(t *testing.T, n *Node, lines, depth int) {
	if n == nil {
		return
	}
	if depth > maxDepth+1 {
		t.Fatal("too deep")
	}
	if n.Line < 0 || n.Line > lines {
		t.Errorf("%v of %d lines", n.Pos, lines)
	}
	for _, item := range n.Items {
		walk(t, item, lines, depth+1)
	}
	keys := map[string]bool{}
	for _, f := range n.Fields {
		if keys[f.Key] {
			t.Errorf("%q twice", f.Key)
		}
		keys[f.Key] = true
		walk(t, f.Value, lines, depth+1)
	}
}

// standard is what encoding/json makes of a JSON text that begins with a brace;
// nil for others, which may be read as YAML.
func standard(t *testing.T, text []byte) any {
	if !strings.HasPrefix(strings.TrimSpace(string(text)), "{") {
		return nil
	}
	var v any
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return shape(v)
}

func shape(v any) any {
	switch v := v.(type) {
	case []any:
		out := []any{}
		for _, item := range v {
			out = append(out, shape(item))
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, item := range v {
			out[k] = shape(item)
		}
		return out
	case json.Number:
		return fmt.Sprint(Number, ":", v)
	case bool:
		return fmt.Sprint(Bool, ":", v)
	case string:
		return fmt.Sprint(String, ":", v)
	}
	return fmt.Sprint(Null, ":")
}
