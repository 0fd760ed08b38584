package wire

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestParseFindsTheMembersOfAMessageAsTheyAreWritten(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Message
	}{
		{
			`{"jsonrpc":"2.0","id":1152921504606846976,"method":"tools/call","params":{"x":[1,{"y":"}"}]}}`,
			Message{Kind: Request, Method: "tools/call", ID: Raw("1152921504606846976"), Params: Raw(`{"x":[1,{"y":"}"}]}`)},
		},
		{
			" {\n\t\"params\" : { } , \"method\" : \"tools\\/call\" ,\r\n \"id\" : \"a\\\"b\" , \"jsonrpc\" : \"2.0\" } \n",
			Message{Kind: Request, Method: "tools/call", ID: Raw(`"a\"b"`), Params: Raw(`{ }`)},
		},
		{
			`{"jsonrpc":"2.0","method":"notifications/vendor","vendor":{"id":1}}`,
			Message{Kind: Notification, Method: "notifications/vendor"},
		},
		{`{"jsonrpc":"2.0","id":-0,"method":"ping","params":null}`, Message{Kind: Request, Method: "ping", ID: Raw("-0")}},
		{`{"jsonrpc":"2.0","id":1,"result":{"a":1}}`, Message{Kind: Response, ID: Raw("1"), Result: Raw(`{"a":1}`)}},
		{`{"jsonrpc":"2.0","id":1,"result":null}`, Message{Kind: Response, ID: Raw("1"), Result: Raw(`null`)}},
		{
			`{"jsonrpc":"2.0","id":"x","error":{"code":1,"message":"m"}}`,
			Message{Kind: Response, ID: Raw(`"x"`), Error: Raw(`{"code":1,"message":"m"}`)},
		},
		{
			`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}`,
			Message{Kind: Response, ID: Raw("null"), Error: Raw(`{"code":-32700,"message":"m"}`)},
		},
	} {
		got, err := Parse([]byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got.Kind != c.want.Kind || got.Method != c.want.Method || string(got.ID) != string(c.want.ID) ||
			string(got.Params) != string(c.want.Params) || string(got.Result) != string(c.want.Result) ||
			string(got.Error) != string(c.want.Error) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.in, got, c.want)
		}
	}
}

func TestParseRefusesWhatTwoReadersCouldReadDifferently(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`[`, n) + strings.Repeat(`]`, n) }
	for _, c := range []struct {
		name, in string
		kind     error
		id       string // that the refused message still comes with
	}{
		{"nothing", ``, ErrSyntax, ""},
		{"white space", " \r\n\t", ErrSyntax, ""},
		{"not JSON", `hello`, ErrSyntax, ""},
		{"byte order mark", "\uFEFF{}", ErrSyntax, ""},
		{"half a message", `{"jsonrpc":"2.0","id":1`, ErrSyntax, ""},
		{"half a key", `{"jsonr`, ErrSyntax, ""},
		{"trailing comma", `{"jsonrpc":"2.0","id":1,}`, ErrSyntax, ""},
		{"two commas", `{"a":1,,"b":2}`, ErrSyntax, ""},
		{"leading comma", `{,"a":1}`, ErrSyntax, ""},
		{"no colon", `{"a" 1}`, ErrSyntax, ""},
		{"no value", `{"a":}`, ErrSyntax, ""},
		{"key without quotes", `{a:1}`, ErrSyntax, ""},
		{"wrong bracket", `{"a":[1}}`, ErrSyntax, ""},
		{"wrong brace", `{"a":[1,{]}`, ErrSyntax, ""},
		{"bracket that closes a brace", `{"a":{"b":1]}`, ErrSyntax, ""},
		{"leading zero", `{"a":01}`, ErrSyntax, ""},
		{"lonely minus", `{"a":-}`, ErrSyntax, ""},
		{"no digits behind the point", `{"a":1.}`, ErrSyntax, ""},
		{"no digits in the exponent", `{"a":1e+}`, ErrSyntax, ""},
		{"plus sign", `{"a":+1}`, ErrSyntax, ""},
		{"half a literal", `{"a":tru}`, ErrSyntax, ""},
		{"literal with more", `{"a":truee}`, ErrSyntax, ""},
		{"unknown escape", `{"a":"\x"}`, ErrSyntax, ""},
		{"short \\u", `{"a":"\u12"}`, ErrSyntax, ""},
		{"bad \\u", `{"a":"\u12g4"}`, ErrSyntax, ""},
		{"escape at the end", `{"a":"\`, ErrSyntax, ""},
		{"control character", "{\"a\":\"x\ny\"}", ErrSyntax, ""},
		{"control character far into a string", "{\"a\":\"0123456789abcdef\x00\"}", ErrSyntax, ""},
		{"not UTF-8", "{\"a\":\"0123456789\xff\"}", ErrSyntax, ""},
		{"not UTF-8 in a key", "{\"\xc3\x28\":1}", ErrSyntax, ""},
		{"a second message behind it", `{"jsonrpc":"2.0","id":1,"method":"ping"}{}`, ErrSyntax, ""},
		{"garbage behind it", `{"jsonrpc":"2.0","id":1,"method":"ping"} x`, ErrSyntax, ""},
		{"garbage behind a refusal", `{"id":1,"id":2} x`, ErrSyntax, ""},
		{"batch", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, ErrAmbiguous, ""},
		{"string", `"hello"`, ErrAmbiguous, ""},
		{"nested too deep", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":` + deep(MaxDepth-1) + `}}`, ErrAmbiguous, "1"},
		{"method twice", `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}`, ErrAmbiguous, "1"},
		{"id twice", `{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`, ErrAmbiguous, ""},
		{"id three times", `{"jsonrpc":"2.0","id":1,"id":2,"id":3,"method":"ping"}`, ErrAmbiguous, ""},
		{"params twice", `{"jsonrpc":"2.0","id":1,"params":null,"params":{},"method":"ping"}`, ErrAmbiguous, "1"},
		{"escaped key", `{"jsonrpc":"2.0","id":1,"m\u0065thod":"ping"}`, ErrAmbiguous, "1"},
		{"escaped key beside the plain one", `{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"x"}`, ErrAmbiguous, "1"},
		{"key in capitals", `{"jsonrpc":"2.0","id":1,"Method":"ping"}`, ErrAmbiguous, "1"},
		{"key with the long s", `{"jſonrpc":"2.0","id":1,"method":"ping"}`, ErrAmbiguous, ""},
		{"no version", `{"id":1,"method":"ping"}`, ErrAmbiguous, "1"},
		{"version as a number", `{"jsonrpc":2.0,"id":1,"method":"ping"}`, ErrAmbiguous, "1"},
		{"other version", `{"jsonrpc":"1.0","id":1,"method":"ping"}`, ErrAmbiguous, "1"},
		{"id null", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, ErrAmbiguous, ""},
		{"id with a fraction", `{"jsonrpc":"2.0","id":1.5,"method":"ping"}`, ErrAmbiguous, ""},
		{"id with an exponent", `{"jsonrpc":"2.0","id":1e3,"method":"ping"}`, ErrAmbiguous, ""},
		{"id true", `{"jsonrpc":"2.0","id":true,"method":"ping"}`, ErrAmbiguous, ""},
		{"id object", `{"jsonrpc":"2.0","id":{},"method":"ping"}`, ErrAmbiguous, ""},
		{"id too long", `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", maxID) + `","method":"ping"}`, ErrAmbiguous, ""},
		{"method number", `{"jsonrpc":"2.0","id":1,"method":7}`, ErrAmbiguous, "1"},
		{"method null", `{"jsonrpc":"2.0","id":1,"method":null}`, ErrAmbiguous, "1"},
		{"method with half a surrogate pair", `{"jsonrpc":"2.0","id":1,"method":"\ud800"}`, ErrAmbiguous, "1"},
		{"params array", `{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}`, ErrAmbiguous, "1"},
		{"method and result", `{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}`, ErrAmbiguous, "1"},
		{"method and error", `{"jsonrpc":"2.0","id":1,"method":"ping","error":{}}`, ErrAmbiguous, "1"},
		{"result and error", `{"jsonrpc":"2.0","id":1,"result":{},"error":null}`, ErrAmbiguous, "1"},
		{"error null", `{"jsonrpc":"2.0","id":1,"error":null}`, ErrAmbiguous, "1"},
		{"result without id", `{"jsonrpc":"2.0","result":{}}`, ErrAmbiguous, ""},
		{"result with id null", `{"jsonrpc":"2.0","id":null,"result":{}}`, ErrAmbiguous, ""},
		{"neither", `{"jsonrpc":"2.0","id":1}`, ErrAmbiguous, "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse([]byte(c.in))
			if !errors.Is(err, c.kind) {
				t.Fatalf("got %v, want %v", err, c.kind)
			}
			if string(m.ID) != c.id {
				t.Errorf("came with the id %q, want %q", m.ID, c.id)
			}
		})
	}
}

func TestParseAcceptsNestingUpToMaxDepth(t *testing.T) {
	params := `{"a":` + strings.Repeat("[", MaxDepth-2) + strings.Repeat("]", MaxDepth-2) + `}`
	m, err := Parse([]byte(`{"jsonrpc":"2.0","method":"m","params":` + params + `}`))
	if err != nil || string(m.Params) != params {
		t.Fatal(err)
	}
}

func TestParseKnowsEveryMethodThatItNames(t *testing.T) {
	for name := range methods {
		m, err := Parse([]byte(`{"jsonrpc":"2.0","id":1,"method":"` + name + `"}`))
		if err != nil || m.Method != name {
			t.Errorf("%s: %q, %v", name, m.Method, err)
		}
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	for _, in := range []string{request(64), request(2 << 10), `{"jsonrpc":"2.0","id":"é","result":{"a":"\u00e9"}}`} {
		b := []byte(in)
		if n := testing.AllocsPerRun(100, func() {
			if _, err := Parse(b); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations for %d bytes", n, len(b))
		}
	}
}

func TestMessagesOfOurOwnAreReadAsWhatTheyAre(t *testing.T) {
	id := AppendInt(nil, 42)
	for _, c := range []struct {
		text []byte
		kind Kind
		want string
	}{
		{AppendRequest(nil, id, "a\"b", Raw(`{"x":1}`)), Request, `{"jsonrpc":"2.0","id":42,"method":"a\"b","params":{"x":1}}`},
		{AppendRequest(nil, Raw(`"s"`), "ping", nil), Request, `{"jsonrpc":"2.0","id":"s","method":"ping"}`},
		{AppendNotification(nil, "n", Raw(`{}`)), Notification, `{"jsonrpc":"2.0","method":"n","params":{}}`},
		{AppendResult(nil, id, Raw(`{}`)), Response, `{"jsonrpc":"2.0","id":42,"result":{}}`},
		{
			AppendError(nil, nil, &Error{Code: CodeParse, Message: "line\nend", Data: Raw(`[1]`)}),
			Response, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"line\nend","data":[1]}}`,
		},
	} {
		m, err := Parse(c.text)
		if err != nil || m.Kind != c.kind || string(c.text) != c.want {
			t.Errorf("got %s (%v, %v)\nwant %s", c.text, m.Kind, err, c.want)
		}
	}
}

func TestAReceivedErrorIsPassedOnUnchanged(t *testing.T) {
	in := Raw(`{ "code": -32042, "vendor":9007199254740993, "message":"sign in", "data":{"elicitations":[]} }`)
	e := ParseError(in)
	if e.Code != CodeURLElicitationFirst || e.Message != "sign in" || string(e.Data) != `{"elicitations":[]}` {
		t.Errorf("read as %+v", e)
	}
	if got := AppendError(nil, Raw("1"), e); string(got) != `{"jsonrpc":"2.0","id":1,"error":`+string(in)+`}` {
		t.Errorf("written as %s", got)
	}
	if e.Error() != "sign in (JSON-RPC error -32042)" {
		t.Error(e.Error())
	}
}

func TestAMalformedErrorIsStillAnError(t *testing.T) {
	for _, in := range []string{`{"code":"x"}`, `{}`, `{"code":1e99,"message":"m"}`, `{"code":1.5}`, `{"message":[]}`} {
		if e := ParseError(Raw(in)); e == nil || e.Code != CodeInternal {
			t.Errorf("%s: %+v", in, e)
		}
	}
}

func TestSplitArrayGivesEachElementAsItIsWritten(t *testing.T) {
	for in, want := range map[string][]string{
		`[]`:                           {},
		" [ ] ":                        {},
		`[1]`:                          {"1"},
		"[ {\"a\": [1,2]} ,\n\"]\" ] ": {`{"a": [1,2]}`, `"]"`},
	} {
		got, err := SplitArray(Raw(in))
		if err != nil || got == nil || len(got) != len(want) {
			t.Errorf("%q: %q, %v", in, got, err)
			continue
		}
		for i := range want {
			if string(got[i]) != want[i] {
				t.Errorf("%q: element %d is %q", in, i, got[i])
			}
		}
	}
	apart, err := SplitArray(Raw(`[1,2]`))
	if err != nil {
		t.Fatal(err)
	}
	if _ = append(apart[0], ' ', '3'); string(apart[1]) != "2" {
		t.Error("appending to one element writes over the next")
	}
	for in, kind := range map[string]error{
		``: ErrSyntax, `[`: ErrSyntax, `[1`: ErrSyntax, `[1,]`: ErrSyntax, `[1}`: ErrSyntax, `[1]]`: ErrSyntax, `[] x`: ErrSyntax,
		`{}`: ErrAmbiguous, `1`: ErrAmbiguous, `{`: ErrSyntax,
		strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1): ErrAmbiguous,
	} {
		if got, err := SplitArray(Raw(in)); !errors.Is(err, kind) || got != nil {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if !checkRefusal(t, b, envelope, err) {
			return
		}
		found := map[string]string{}
		for _, p := range pairs(t, b) {
			found[p.key] = string(p.value)
		}
		if err != nil {
			// JSON, and unambiguous: then it is not a message of JSON-RPC or MCP.
			if !errors.Is(err, ErrAmbiguous) || isMessage(found) {
				t.Fatalf("refused: %v: %q", err, b)
			}
			return
		}
		if !isMessage(found) {
			t.Fatalf("accepted: %q", b)
		}
		var method string
		if found["method"] != "" && json.Unmarshal([]byte(found["method"]), &method) != nil || m.Method != method {
			t.Fatalf("method %q, want %s", m.Method, found["method"])
		}
		if found["params"] == "null" {
			delete(found, "params")
		}
		for key, got := range map[string]Raw{"id": m.ID, "params": m.Params, "result": m.Result, "error": m.Error} {
			if string(got) != found[key] {
				t.Fatalf("%s is %q, want %q", key, got, found[key])
			}
		}
	})
}

// isMessage is JSON-RPC 2.0 with MCP's restrictions, said in another way.
func isMessage(found map[string]string) bool {
	_, hasID := found["id"]
	_, hasMethod := found["method"]
	_, hasResult := found["result"]
	_, hasError := found["error"]
	begins := func(key, with string) bool { return strings.HasPrefix(found[key], with) }
	id := len(found["id"]) <= maxID && (begins("id", `"`) || hasID && strings.Trim(found["id"], "-0123456789") == "")
	if found["jsonrpc"] != `"2.0"` {
		return false
	}
	if hasMethod {
		_, whole := String(Raw(found["method"]))
		params := found["params"]
		return whole && !hasResult && !hasError && (id || !hasID) && (params == "" || params == "null" || params[0] == '{')
	}
	return hasResult != hasError && (id || hasError && found["id"] == "null") && (hasResult || begins("error", "{"))
}

var seeds = []string{
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"b":[1,2,{"c":"d"}]},"_meta":{"progressToken":7}}}`,
	`{"jsonrpc":"2.0","id":"x","result":{"content":[{"type":"text","text":"\u00e9\n"}],"resultType":"complete"}}`,
	`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}`,
	`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1152921504606846977}}`,
	`{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`,
	`{"jsonrpc":"2.0","id":1,"Method":"ping"}`,
	`{"jsonrpc":"2.0","id":1,"m\u0065thod":"ping"}`,
	`{"jſonrpc":"2.0","method":"\ud800"}`,
	`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`,
	` { "a" : -0.0e+1 , "b" : [ ] , "c" : { } , "name" : "\"" } `,
	`{"a":1}{"a":2}`, `{"a":"` + "\xff" + `"}`, `{"a":"0123456789"}`, `{"name":"x","uri":null,"cursor":true}`,
	`{"a":[[[[[[]]]]]],"b":{"b":{"b":{}}}}`, `{`, `"`, `\`, ``,
}
