package wire

import (
	"errors"
	"strings"
	"testing"
)

var watch = []string{"a", "b", "c", "name", "_meta", "z"}

func TestEditsTouchNothingElse(t *testing.T) {
	drop := func(keys ...string) func(*Object) {
		return func(o *Object) {
			for _, k := range keys {
				o.Delete(k)
			}
		}
	}
	for _, c := range []struct {
		in, want string
		edit     func(*Object)
	}{
		{`{"a":1,"b":2,"c":3}`, `{"c":3}`, drop("a", "b")},
		{`{"a":1,"b":2,"c":3}`, `{"c":3}`, drop("b", "a")},
		{`{"a":1,"b":2,"c":3}`, `{"a":1}`, drop("b", "c")},
		{`{"a":1,"b":2,"c":3}`, `{"b":2}`, drop("a", "c")},
		{`{"a":1,"b":2,"c":3}`, `{}`, drop("a", "b", "c")},
		{`{"a":1,"b":2,"c":3}`, `{"a":1,"b":2,"c":3}`, drop("z")},
		{`{"a":1,"b":2,"c":3}`, `{"z":9}`, func(o *Object) { drop("a", "b", "c")(o); o.Set("z", Raw("9")) }},
		{`{"c":3,"a":1,"b":2}`, `{"a":1}`, drop("b", "c")},
		{`{"z":1,"x":0,"name":2,"c":3,"a":4}`, `{"z":5,"x":0,"c":[],"a":6}`, func(o *Object) {
			o.Set("a", Raw("6"))
			o.Set("c", Raw("[]"))
			o.Delete("name")
			o.Set("z", Raw("5"))
		}},
		{`{"x":1,"a":2,"y":3}`, `{"x":1,"y":3}`, drop("a")},
		{`{"a":0,"x":1,"b":2,"y":3,"c":4}`, `{"x":1,"y":3}`, drop("a", "b", "c")},
		{
			`{"a":1,"x":5,"b":2, "c" : 3 }`, `{"x":5,"b":[7], "c" : 3,"z":9 }`,
			func(o *Object) { o.Delete("a"); o.Set("b", Raw("[7]")); o.Set("z", Raw("9")) },
		},
		{`{ }`, `{"a":1 }`, func(o *Object) { o.Set("a", Raw("1")) }},
		{" {} \n", " {\"a\":1} \n", func(o *Object) { o.Set("a", Raw("1")) }},
		{`{"a":1}`, `{"a":2}`, func(o *Object) { o.Delete("a"); o.Set("a", Raw("2")) }},
		{`{"a":1}`, `{}`, func(o *Object) { o.Set("a", Raw("2")); o.Delete("a") }},
		{`{"a":1}`, `{}`, func(o *Object) { o.Set("a", nil) }},
		{`{}`, `{}`, func(o *Object) { o.Set("z", Raw("2")); o.Delete("z") }},
		{`{"x":"}"}`, `{"x":"}","a":1}`, func(o *Object) { o.Set("a", Raw("1")) }},
	} {
		o, err := ScanObject(Raw(c.in), watch)
		if err != nil {
			t.Fatal(err)
		}
		c.edit(&o)
		if got := string(o.Raw()); got != c.want {
			t.Errorf("%s: got %s want %s", c.in, got, c.want)
		}
		if n := len(pairs(t, []byte(c.want))); o.Len() != n {
			t.Errorf("%s: %d members, want %d", c.want, o.Len(), n)
		}
	}
}

func TestAnObjectWithoutEditsIsTheTextItself(t *testing.T) {
	raw := Raw(` {"x":9007199254740993, "a":1 } `)
	o, err := ScanObject(raw, watch)
	if err != nil {
		t.Fatal(err)
	}
	o.Delete("b") // is not there
	if got := o.Raw(); &got[0] != &raw[0] || len(got) != len(raw) {
		t.Errorf("copied or changed: %s", got)
	}
	if string(o.Get("a")) != "1" || o.Get("b") != nil {
		t.Error(string(o.Get("a")), string(o.Get("b")))
	}
}

func TestACopyOfAnObjectHasEditsOfItsOwn(t *testing.T) {
	o, err := ScanObject(Raw(`{"a":1}`), watch)
	if err != nil {
		t.Fatal(err)
	}
	o.Set("b", Raw("2"))
	p := o
	p.Delete("a")
	if string(o.Raw()) != `{"a":1,"b":2}` || string(p.Raw()) != `{"b":2}` {
		t.Errorf("%s and %s", o.Raw(), p.Raw())
	}
}

func TestTheZeroObjectIsAnEmptyObject(t *testing.T) {
	var o Object
	if !o.IsZero() || o.Len() != 0 || o.Get("a") != nil || string(o.Raw()) != "{}" {
		t.Errorf("%+v", o)
	}
	o = NewObject(watch)
	if !o.IsZero() {
		t.Error("a new object is not zero")
	}
	o.Set("b", Raw("2"))
	o.Set("a", Raw("1"))
	if o.IsZero() || o.Len() != 2 || string(o.Raw()) != `{"a":1,"b":2}` || string(o.Get("b")) != "2" {
		t.Errorf("%s", o.Raw())
	}
}

func TestMisuseOfAnObjectPanics(t *testing.T) {
	for name, f := range map[string]func(){
		"a member that is not watched": func() { o := NewObject(watch); o.Set("x", Raw("1")) },
		"too many keys":                func() { NewObject(strings.Split("abcdefghijklm", "")) },
		"too many keys to scan for":    func() { _, _ = ScanObject(Raw(`{}`), strings.Split("abcdefghijklm", "")) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestOnlyWatchedMembersMustBeUnambiguous(t *testing.T) {
	if _, err := ScanObject(Raw(`{"x":1,"x":2,"\u0078":3,"A\u0042":4,"names":5}`), watch); err != nil {
		t.Error(err)
	}
	for _, in := range []string{`{"a":1,"a":2}`, `{"\u0061":1}`, `{"A":1}`, `{"a":1,"x":0,"A":2}`, `{"_META":{}}`, `{"_\u004deta":{}}`} {
		if _, err := ScanObject(Raw(in), watch); !errors.Is(err, ErrAmbiguous) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestScanObjectDoesNotAllocate(t *testing.T) {
	raw := Raw(`{"name":"x","x":[1,{"a":"é\n"}],"_meta":{"progressToken":1},"arguments":{"text":"0123456789"}}`)
	if n := testing.AllocsPerRun(100, func() {
		if o, err := ScanObject(raw, watch); err != nil || o.Get("name") == nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzObject scans any text and edits what it accepts as script says: two bits a
// watched member, 0 keep, 1 delete, 2 and 3 set. A list of pairs, edited in the
// plainest way, is what must come out.
func FuzzObject(f *testing.F) {
	for i, s := range seeds {
		f.Add([]byte(s), uint16(i*2731))
	}
	f.Add([]byte(`{"a":1,"b":2,"c":3,"z":4}`), uint16(0b01_01_01_01))
	f.Add([]byte(`{"z":1,"_meta":{},"c":3,"x":0,"a":4}`), uint16(0b10_01_01_10_00_10))
	f.Add([]byte("{\"a\":1 ,\n\"x\":2 , \"b\":3}"), uint16(0b10_01_01))
	f.Fuzz(func(t *testing.T, b []byte, script uint16) {
		o, err := ScanObject(b, watch)
		if !checkRefusal(t, b, watch, err) {
			return
		}
		if err != nil {
			t.Fatalf("refused: %v: %q", err, b)
		}
		want := pairs(t, b)
		for _, k := range watch {
			at := -1
			for i, p := range want {
				if p.key == k {
					at = i
				}
			}
			if at < 0 && o.Get(k) != nil || at >= 0 && string(o.Get(k)) != string(want[at].value) {
				t.Fatalf("%s is %q in %q", k, o.Get(k), b)
			}
			set := Raw(`["new"]`)
			switch script & 3 {
			case 1:
				o.Delete(k)
				if at >= 0 {
					want = append(want[:at], want[at+1:]...)
				}
			case 2, 3:
				if o.Set(k, set); at >= 0 {
					want[at].value = set
				} else {
					want = append(want, pair{k, k, set})
				}
			}
			script >>= 2
		}
		got := pairs(t, o.Raw())
		if len(got) != len(want) || o.Len() != len(want) {
			t.Fatalf("%d and %d members, want %d: %q became %q", len(got), o.Len(), len(want), b, o.Raw())
		}
		for i := range want {
			if got[i].spelled != want[i].spelled || string(got[i].value) != string(want[i].value) {
				t.Fatalf("member %d is %q, want %q: %q became %q", i, got[i], want[i], b, o.Raw())
			}
		}
		if _, err := ScanObject(o.Raw(), watch); err != nil {
			t.Fatalf("%v: %q became %q", err, b, o.Raw())
		}
	})
}

func TestSpanSaysWhereAValueStandsInTheText(t *testing.T) {
	text := Raw(`{ "a" : 1, "name" :  "x\u0041" , "b":[2] }`)
	o, err := ScanObject(text, []string{"name", "b", "gone"})
	if err != nil {
		t.Fatal(err)
	}
	o.Set("name", Raw(`"other"`)) // where it stood does not change
	for key, want := range map[string]string{"name": `"x\u0041"`, "b": `[2]`, "gone": ``} {
		if from, to := o.Span(key); string(text[from:to]) != want {
			t.Errorf("%s stands at %d to %d, which is %q; want %q", key, from, to, text[from:to], want)
		}
	}
	var zero Object
	if from, to := zero.Span("name"); from != 0 || to != 0 {
		t.Errorf("in the zero Object it stands at %d to %d", from, to)
	}
}
