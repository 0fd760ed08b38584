package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func digest(t testing.TB, raw string, except ...string) Digest {
	t.Helper()
	d, err := DigestObject(Raw(raw), except...)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return d
}

func TestTheDigestIsOfWhatIsSaid(t *testing.T) {
	want := digest(t, `{"name":"é/x","arguments":{"b":[1,true,null],"a":{}}}`)
	for _, same := range []string{
		` { "arguments" : {"a":{ },"b":[ 1 ,true, null]}, "name":"é/x" } `,
		`{"name":"\u00e9\/x","arguments":{"b":[1,true,null],"\u0061":{}}}`,
	} {
		if digest(t, same) != want {
			t.Errorf("%s differs", same)
		}
	}
	if digest(t, `{"_meta":{"x":1},"name":"é/x","requestState":"s","arguments":{"b":[1,true,null],"a":{}}}`, "_meta", "requestState", "inputResponses") != want {
		t.Error("excepted members count")
	}
	if digest(t, `{"_m\u0065ta":1,"name":"é/x","arguments":{"b":[1,true,null],"a":{}}}`, "_meta") != want {
		t.Error("an excepted member in another spelling counts")
	}
	none, err := DigestObject(nil)
	if err != nil || none != digest(t, "{}") {
		t.Error("nil is not an empty object", err)
	}
}

func TestDifferentThingsHaveDifferentDigests(t *testing.T) {
	seen := map[Digest]string{}
	for _, raw := range []string{
		`{}`, `{"a":{}}`, `{"a":[]}`, `{"a":""}`, `{"a":null}`, `{"a":"null"}`, `{"a":true}`, `{"a":false}`, `{"a":0}`,
		`{"a":1}`, `{"a":1.0}`, `{"a":1e0}`, `{"a":"1"}`, `{"b":1}`, `{"":1}`, `{"a":[1,2]}`, `{"a":[2,1]}`, `{"a":[12]}`, `{"a":[[1],2]}`,
		`{"a":[[1,2]]}`, `{"a":[],"b":[]}`, `{"a":[{"b":1}]}`, `{"a":{"b":1}}`, `{"a":9007199254740993}`, `{"a":9007199254740992}`,
		`{"a":["a","b"]}`, `{"a":["a\"b"]}`, `{"a":["a\u0001b"]}`,
		`{"a":"\ud800"}`, `{"a":"\ud801"}`, `{"a":"\ufffd"}`, `{"a":1,"a":2}`, `{"a":2,"a":1}`, `{"a":{"_meta":1}}`, `{"a":"x","b":"y"}`, `{"a":"x\",\"b\":\"y"}`,
	} {
		d := digest(t, raw, "_meta")
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have the same digest", raw, other)
		}
		seen[d] = raw
	}
}

func TestAMemberThatStandsTwiceCountsInItsOrder(t *testing.T) {
	object := func(step int, first, second string) string {
		var b strings.Builder
		for i := range 41 {
			fmt.Fprintf(&b, `"k%d":0,`, i*step%41)
		}
		return `{"x":` + first + `,` + b.String() + `"x":` + second + `}`
	}
	want := digest(t, object(1, "1", "2"))
	if digest(t, object(1, "2", "1")) == want {
		t.Error("the order makes no difference")
	}
	for step := range 40 { // the others may stand in any order
		if step > 0 && digest(t, object(step, "1", "2")) != want {
			t.Errorf("the order of the others makes a difference, step %d", step)
		}
	}
}

func TestWhatCannotBeReadHasNoDigest(t *testing.T) {
	for in, kind := range map[string]error{``: ErrSyntax, `{`: ErrSyntax, `[]`: ErrAmbiguous, `{}{}`: ErrSyntax, "{\"a\":\"\xff\"}": ErrSyntax} {
		if _, err := DigestObject(Raw(in)); !errors.Is(err, kind) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestTheWorkOfADigestGrowsWithTheTextOnly(t *testing.T) {
	// Deep nesting with the members of each level out of order: a digest that
	// copied what is inside at every level would copy two gigabytes here.
	deep := MaxDepth - 2
	raw := strings.Repeat(`{"b":1,"a":`, deep) + `"` + strings.Repeat("x", 4<<20) + `"` + strings.Repeat("}", deep)
	began := time.Now()
	digest(t, raw)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func FuzzDigestObject(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Add([]byte(`{"b":[1,{"c":"\u00e9","a":1e5}],"a":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DigestObject(b, "_meta")
		if !checkRefusal(t, b, nil, err) {
			return
		}
		if err != nil {
			t.Fatalf("refused: %v: %q", err, b)
		}
		if bytes.Contains(b, []byte(`\u`)) && bytes.ContainsAny(b, "dD") || hasDuplicates(b) {
			return // encoding/json loses half surrogates and members that stand twice
		}
		// Decoded and written anew by encoding/json, which sorts the members.
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		var v map[string]any
		if dec.Decode(&v) != nil {
			t.Fatalf("encoding/json does not read %q", b)
		}
		delete(v, "_meta")
		anew, err := json.Marshal(v)
		if err != nil || !utf8.Valid(anew) {
			t.Fatal(err)
		}
		if digest(t, string(anew)) != d {
			t.Fatalf("%q and %q differ", b, anew)
		}
		v[fmt.Sprint("new", len(v))] = 1
		if more, err := json.Marshal(v); err != nil || digest(t, string(more)) == d {
			t.Fatalf("%q and %q do not differ, %v", b, more, err)
		}
	})
}

// hasDuplicates reports whether any object in valid JSON has a member twice.
func hasDuplicates(b []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(b))
	var walk func() bool
	walk = func() bool {
		token, _ := dec.Token()
		seen := map[any]bool{}
		switch token {
		case json.Delim('{'):
			for dec.More() {
				key, _ := dec.Token()
				if twice := seen[key]; walk() || twice {
					return true
				}
				seen[key] = true
			}
			_, _ = dec.Token()
		case json.Delim('['):
			for dec.More() {
				if walk() {
					return true
				}
			}
			_, _ = dec.Token()
		}
		return false
	}
	return walk()
}
