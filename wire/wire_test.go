package wire

import "testing"

func TestObjectEdits(t *testing.T) {
	keys := []string{"a", "b", "c", "z"}
	for _, c := range []struct {
		in, want string
		edit     func(*Object)
	}{
		{`{"a":1,"b":2,"c":3}`, `{"c":3}`, func(o *Object) { o.Delete("a"); o.Delete("b") }},
		{`{"a":1,"b":2,"c":3}`, `{"a":1}`, func(o *Object) { o.Delete("b"); o.Delete("c") }},
		{`{"a":1,"b":2,"c":3}`, `{"b":2}`, func(o *Object) { o.Delete("a"); o.Delete("c") }},
		{`{"a":1,"b":2,"c":3}`, `{}`, func(o *Object) { o.Delete("a"); o.Delete("b"); o.Delete("c") }},
		{`{"a":1,"b":2,"c":3}`, `{"z":9}`, func(o *Object) { o.Delete("a"); o.Delete("b"); o.Delete("c"); o.Set("z", Raw("9")) }},
		{`{"a":1,"x":5,"b":2, "c" : 3 }`, `{"x":5,"b":[7], "c" : 3,"z":9 }`, func(o *Object) { o.Delete("a"); o.Set("b", Raw("[7]")); o.Set("z", Raw("9")) }},
		{`{ }`, `{"a":1 }`, func(o *Object) { o.Set("a", Raw("1")) }},
	} {
		o, err := ScanObject(Raw(c.in), keys)
		if err != nil {
			t.Fatal(err)
		}
		c.edit(&o)
		if got := string(o.Raw()); got != c.want {
			t.Errorf("%s: got %s want %s", c.in, got, c.want)
		}
	}
}
func TestParse(t *testing.T) {
	m, err := Parse([]byte(`{"jsonrpc":"2.0","id":1152921504606846976,"method":"tools\/call","params":{"x":[1,{"y":"}"}]}}`))
	if err != nil || m.Method != "tools/call" || m.Kind != Request || string(m.ID) != "1152921504606846976" {
		t.Fatal(m, err)
	}
	b := []byte(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"x":[1,{"y":"}"}]}}`)
	if n := testing.AllocsPerRun(100, func() { _, _ = Parse(b) }); n != 0 {
		t.Error(n)
	}
}
