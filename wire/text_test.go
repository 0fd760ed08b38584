package wire

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestStringDecodesWhatEncodingJSONDecodes(t *testing.T) {
	for _, in := range []string{
		`""`, `"a"`, `"\"\\\/\b\f\n\r\t"`, `"\u0041\u00e9\u20ac"`, `"\ud83d\ude00"`, `"x\u0000y"`, `"é😀"`, `"\uFFFD"`, `"\uABCD\uabcd"`,
	} {
		var want string
		if err := json.Unmarshal([]byte(in), &want); err != nil {
			t.Fatal(err)
		}
		if got, ok := String(Raw(in)); !ok || got != want {
			t.Errorf("%s: %q, %v", in, got, ok)
		}
	}
	for _, in := range []string{
		``, `"`, `a`, `1`, `null`, `"a" `, `"a""`, `"a`, "\"\xff\"", `"\ud83d"`, `"\ude00"`, `"\ud83dx"`, `"\ud83d\n"`, `"\ud83d\ud83d"`, `"\ude00\ud83d"`,
	} {
		if got, ok := String(Raw(in)); ok {
			t.Errorf("%s: decoded to %q", in, got)
		}
	}
}

func TestEveryByteOfAStringIsLookedAt(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			text := []byte(`"` + strings.Repeat("x", 20) + `"`)
			text[1+at] = byte(c)
			_, ok := String(text)
			if want := c != '"' && c != '\\' && json.Valid(text) && utf8.Valid(text); ok != want {
				t.Errorf("%q: %v, want %v", text, ok, want)
			}
		}
	}
}

func FuzzString(f *testing.F) {
	for _, s := range []string{"", "a", "é😀", "\x00\n\"\\", "\xff", "0123456\"89abcdef", `"\ud83d\ude00"`, `"\ud83d"`, `"\u0041\n"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// What we write, everybody reads as what encoding/json would have written.
		written := AppendString(nil, s)
		theirs, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back, want string
		if json.Unmarshal(written, &back) != nil || json.Unmarshal(theirs, &want) != nil || back != want {
			t.Fatalf("%q was written as %s and read as %q", s, written, back)
		}
		if got, ok := String(written); !ok || got != back {
			t.Fatalf("%s was read as %q", written, got)
		}
		// What we read, encoding/json reads as the same.
		if got, ok := String(Raw(s)); ok && (json.Unmarshal([]byte(s), &back) != nil || got != back) {
			t.Fatalf("%s was read as %q, want %q", s, got, back)
		}
	})
}

func TestRawPassesThroughEncodingJSONUnchanged(t *testing.T) {
	type box struct{ A, B Raw }
	var in box
	if err := json.Unmarshal([]byte(`{"A":{"n":9007199254740993}}`), &in); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(in)
	if err != nil || string(out) != `{"A":{"n":9007199254740993},"B":null}` {
		t.Errorf("%s, %v", out, err)
	}
}
