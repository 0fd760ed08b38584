package document

import (
	"reflect"
	"testing"
	"unicode/utf8"
)

var quickSeeds = []string{
	`{"a":1,"b":[true,false,null,-1.5e3],"c":{"d":"ä\n\u00e9"}}`, "{\n \"ä\": \"x\",\r\n\t\"y\" : [ ]\n}\n", `[]`, `{}`, `""`, `0`, ` null `,
	`{"a":1,"a":2}`, `{"a":1,}`, `[1,]`, `[,1]`, `{"a" 1}`, `{a:1}`, `// x`, `[1] 2`, `01`, `tru`, `"a`, `"\ud800"`, `"\x"`, "\"\x01\"", `{"a":`, `[[[[`, `{"a":1 "b":2}`, `[1 2]`, `nullx`, `[1]]`,
}

func TestJSONIsReadQuicklyAsItIsReadWithCare(t *testing.T) {
	quick := 0
	for _, src := range quickSeeds {
		got := quickJSON([]byte(src))
		if got == nil {
			continue
		}
		quick++
		if want := parseJSON([]byte(src), NewReport("")); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", src, got, want)
		}
	}
	if quick != 8 {
		t.Errorf("%d were read quickly", quick)
	}
}

// FuzzQuickJSON looks for texts that the two parsers read differently.
func FuzzQuickJSON(f *testing.F) {
	for _, s := range quickSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if !utf8.Valid(src) {
			return
		}
		got := quickJSON(src)
		if got == nil {
			return
		}
		if want := parseJSON(src, NewReport("")); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", src, got, want)
		}
		if again := quickJSON(got.AppendJSON(nil)); again == nil || string(again.AppendJSON(nil)) != string(got.AppendJSON(nil)) {
			t.Errorf("%q: written as %s", src, got.AppendJSON(nil))
		}
	})
}
