package wire

import (
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestHeaderValuesAreEncodedOnlyWhenTheyMustBe(t *testing.T) {
	for s, want := range map[string]string{
		"":                        "",
		"us-west1":                "us-west1",
		"a b~":                    "a b~",
		"file:///x?y=1":           "file:///x?y=1",
		" padded":                 "=?base64?IHBhZGRlZA==?=",
		"padded\t":                "=?base64?cGFkZGVkCQ==?=",
		"Hello, 世界":               "=?base64?SGVsbG8sIOS4lueVjA==?=",
		"line\nbreak":             "=?base64?bGluZQpicmVhaw==?=",
		"=?base64?literal?=":      "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=",
		"=?base64?open":           "=?base64?open",
		"=?base64?=":              "=?base64?=", // too short to hold both marks
		"tool with \x7f":          "=?base64?dG9vbCB3aXRoIH8=?=",
		"=?BASE64?aGVsbG8=?=":     "=?BASE64?aGVsbG8=?=",
		"jackfield://a/b%20c#d~1": "jackfield://a/b%20c#d~1",
	} {
		got := EncodeHeaderValue(s)
		if got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
		if back, err := DecodeHeaderValue(got); err != nil || back != s {
			t.Errorf("%q came back as %q, %v", s, back, err)
		}
	}
}

func TestHeaderValuesThatAreNotBase64AreRefused(t *testing.T) {
	for _, value := range []string{"=?base64?*?=", "=?base64?SGVsbG8?=", "=?base64?SGVs\nbG8=?=", "=?base64?SGVsbG9=?=", "=?base64?SGVs?bG8=?="} {
		if got, err := DecodeHeaderValue(value); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %q, %v", value, got, err)
		}
	}
	if got, err := DecodeHeaderValue(" \tx y\t "); err != nil || got != "x y" {
		t.Errorf("optional white space: %q, %v", got, err)
	}
}

func TestHeaderNamesAreSpelledAsNetHTTPKeepsThem(t *testing.T) {
	for _, name := range []string{HeaderMethod, HeaderName, HeaderProtocolVersion, HeaderSession, HeaderLastEventID, HeaderParamPrefix + "X"} {
		if http.CanonicalHeaderKey(name) != name {
			t.Error(name)
		}
	}
}

func TestArgumentsTravelInHeaders(t *testing.T) {
	for arg, want := range map[string]string{
		`"us-west1"`: "us-west1", `"\u00e9"`: "=?base64?w6k=?=", `42`: "42", `-1.50`: "-1.50", `true`: "true", `false`: "false", `""`: "",
	} {
		got, ok := HeaderParam(Raw(arg))
		if !ok || got != want {
			t.Errorf("%s: %q, %v", arg, got, ok)
		}
		if !HeaderParamMatches(got, Raw(arg)) {
			t.Errorf("%s does not match itself", arg)
		}
	}
	for _, arg := range []string{``, `null`, `[]`, `{}`, `"\ud800"`} {
		if got, ok := HeaderParam(Raw(arg)); ok {
			t.Errorf("%s: %q", arg, got)
		}
		if HeaderParamMatches("", Raw(arg)) || HeaderParamMatches("null", Raw(arg)) {
			t.Errorf("%s matches", arg)
		}
	}
}

func TestNumbersInHeadersAreComparedAsNumbers(t *testing.T) {
	for _, c := range []struct {
		value, arg string
		want       bool
	}{
		{"42", "42.0", true},
		{"42.0", "42", true},
		{"4.2e1", "42", true},
		{"420e-1", "42", true},
		{"0", "-0.0e5", true},
		{"=?base64?NDI=?=", "42", true},
		{"9007199254740993", "9007199254740993", true},
		{"9007199254740993", "9007199254740992", false},
		{"42", "-42", false},
		{"42", "43", false},
		{"042", "42", false},
		{"+42", "42", false},
		{"0x2a", "42", false},
		{"42 ", "42", true},
		{"", "0", false},
		{"1e99999999999", "1e99999999999", false}, // an exponent beyond reason
		{"True", "true", false},
		{"1", "true", false},
		{"42", `"42"`, true},
		{"42.0", `"42"`, false},
		{"=?base64?*?=", `"x"`, false},
	} {
		if got := HeaderParamMatches(c.value, Raw(c.arg)); got != c.want {
			t.Errorf("%q and %s: %v", c.value, c.arg, got)
		}
	}
}

func FuzzHeaderValue(f *testing.F) {
	for _, s := range []string{"", "x", " x", "=?base64?eA==?=", "é", "\r\n", "=?base64??="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		value := EncodeHeaderValue(s)
		if strings.Trim(value, " \t") != value || strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
			t.Fatalf("%q cannot travel in a header: %q", s, value)
		}
		if back, err := DecodeHeaderValue(value); err != nil || back != s {
			t.Fatalf("%q became %q and came back as %q, %v", s, value, back, err)
		}
		_, _ = DecodeHeaderValue(s)
	})
}

func FuzzHeaderParam(f *testing.F) {
	for _, c := range [][2]string{{"42", "42.0"}, {"1e2", "100"}, {"0.10", "1e-1"}, {"-0", "0"}, {"x", `"x"`}, {"true", "true"}, {"1e400", "1e401"}, {"0", "0E00600000000000000"}} {
		f.Add(c[0], c[1])
	}
	refused := regexp.MustCompile(`[eE][+-]?[0-9]{10}`) // whatever the number is
	f.Fuzz(func(t *testing.T, value, arg string) {
		if !json.Valid([]byte(arg)) {
			return
		}
		arg = strings.Trim(arg, " \t\r\n")
		if own, ok := HeaderParam(Raw(arg)); ok && !HeaderParamMatches(own, Raw(arg)) && !strings.ContainsAny(arg, "eE") {
			t.Fatalf("%s travels as %q and does not match", arg, own)
		}
		matches := HeaderParamMatches(value, Raw(arg))
		if !json.Valid([]byte(value)) || len(value)+len(arg) > 40 || refused.MatchString(value+" "+arg) || !strings.ContainsAny(arg[:1], "-0123456789") {
			return
		}
		a, okA := new(big.Rat).SetString(strings.Trim(value, " \t\r\n"))
		b, okB := new(big.Rat).SetString(arg)
		if okA && okB && strings.Trim(value, " \t") == strings.TrimSpace(value) && matches != (a.Cmp(b) == 0) {
			t.Fatalf("%q and %s: %v", value, arg, matches)
		}
	})
}
