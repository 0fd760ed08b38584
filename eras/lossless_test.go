package eras

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

// What arrives is what was sent, byte for byte, but for what stands here. Whatever
// is not named in this table and differs is a fault.
//
//	message                 what may differ, and why
//	-----------------------------------------------------------------------------------------
//	every message           the request's id between gateway and server; white space between the
//	                        members of params and result; line ends, on transports of lines
//	params of a request     _meta: the protocol's own keys, which each revision has its own of
//	                        name, at /mcp: the server knows a tool by its own name
//	                        task, across eras: it means something else there
//	a result                resultType, ttlMs, cacheScope: only 2026-07-28 has them
//	                        _meta: serverInfo is added for clients of 2026-07-28
//	                        blocks and structuredContent that a revision lacks, see
//	                        TestContentThatARevisionLacks
//	an error                code -32002, and -32020 to -32099 of older servers, for clients of
//	                        2026-07-28; -32042 and -32021 where they are told in words
//	a question              elicitationId and task, across eras
//	progress                progressToken: the client's own
//	an event                _meta: the subscription's id; uri, at /mcp, where it clashes
var (
	metaOfRequests = []string{
		exchange.MetaProtocolVersion, exchange.MetaClientCapabilities, exchange.MetaClientInfo, exchange.MetaLogLevel, exchange.MetaProgressToken,
	}
	ofOneEra      = []string{"resultType", "ttlMs", "cacheScope", "_meta"}
	metaOfResults = []string{"io.modelcontextprotocol/serverInfo"}
)

var seed = flag.Uint64("seed", rand.Uint64(), "what the messages of the lossless tests are made from")

// losslessKinds are the servers: each era on each of its transports.
func losslessKinds() map[string]upstreamtest.Script {
	some := map[string]upstreamtest.Script{}
	for _, kind := range []string{"2026-07-28 http", "2026-07-28 stdio", "2025-11-25 http", "2025-06-18 stdio", "2024-11-05 sse"} {
		some[kind] = kinds[kind]
	}
	return some
}

// traffic is one client with one server.
type traffic struct {
	*testing.T
	odd
	c      *client
	server string // its kind
	door   string // what stands before the names of its tools
}

func TestNothingIsLost(t *testing.T) {
	h := open(t, losslessKinds())
	t.Logf("-seed=%d", *seed)
	for _, version := range []string{exchange.Modern, exchange.V20251125, overSSE} {
		for kind := range losslessKinds() {
			for _, all := range []bool{false, true} {
				if all && version == overSSE {
					continue // the same as its elder sister
				}
				name := version + "/" + kind
				path, door := pathOf(kind), ""
				if all {
					name += "/with all others"
					path, door = "/mcp", strings.ReplaceAll(kind, " ", "-")+"__"
				}
				t.Run(name, func(t *testing.T) {
					x := &traffic{
						T: t, odd: odd{rand.New(rand.NewPCG(*seed, uint64(len(name))))},
						c: connect(t, h.url, path, version, allCaps(version)), server: kind, door: door,
					}
					x.c.spell = x.id
					x.run()
				})
			}
		}
	}
}

func (x *traffic) run() {
	x.c.call(x.door+"echo", `{"text":"first"}`, "") // the list is there
	if x.c.modern() {
		x.c.spell = x.id
	} else if _, failed := x.c.do(x.Context(), "logging/setLevel", `{"level":"debug"}`, ""); failed != nil {
		x.Fatal(failed)
	}
	for range 3 {
		x.params("tools/call", `"name":"`+x.door+`mirror"`, x.door != "")
		x.result()
		x.failure()
		x.notices()
		x.question()
		if x.door == "" {
			x.params("vendor/odd", `"x":1`, false)
			x.params("prompts/get", `"name":"greet"`, false)
			x.params("resources/read", `"uri":"test://a"`, false)
			x.params("completion/complete", `"ref":`+x.object(2, `"type":"ref/prompt"`, `"name":"greet"`), false)
			x.notifies()
		}
		if x.Failed() {
			return
		}
	}
}

// id spells the n-th id in one of the ways that an id can be spelled.
func (x *traffic) id(n int64) string {
	return []string{
		fmt.Sprint(n), fmt.Sprintf("-%d", n), fmt.Sprintf("9007199254740993%05d", n), fmt.Sprintf(`"%d"`, n), fmt.Sprintf("\"\u2028ü%d\"", n),
		fmt.Sprintf(`"\u0061\/%d"`, n), fmt.Sprintf(`"%s%d"`, strings.Repeat("long ", 200), n),
	}[n%7]
}

// same compares what arrived with what was sent.
func (x *traffic) same(what string, sent, got []member) {
	x.Helper()
	if !slices.Equal(sent, got) {
		x.Errorf("%s (-seed=%d):\nsent %q\ngot  %q", what, *seed, sent, got)
	}
}

// apart takes the object apart, and its _meta.
func (x *traffic) apart(text string, keys, metaKeys []string) (rest, meta []member) {
	x.Helper()
	rest, taken, err := without(text, keys...)
	if err == nil && taken["_meta"] != "" {
		meta, _, err = without(taken["_meta"], metaKeys...)
	}
	if err != nil {
		x.Fatalf("%v: %s", err, text)
	}
	return rest, meta
}

// envelope are the members of _meta that the client has to send, in any order
// among others.
func (x *traffic) meta(more ...string) string {
	if x.c.modern() {
		more = append(more, `"io.modelcontextprotocol/protocolVersion":"2026-07-28"`, `"io.modelcontextprotocol/clientCapabilities":`+x.c.caps,
			`"io.modelcontextprotocol/logLevel":"debug"`)
	}
	return `"_meta":` + x.object(2, more...)
}

// ask sends a request with these params, and answers what is asked back.
func (x *traffic) send(method, params string) (wire.Raw, *wire.Error) {
	x.Helper()
	_, head, err := without(params, "name", "uri")
	if err != nil {
		x.Fatal(err)
	}
	header := map[string]string{}
	if x.c.modern() {
		header[wire.HeaderMethod] = method
		if method != "completion/complete" && method != "vendor/odd" {
			header[wire.HeaderName] = strings.Trim(head["name"]+head["uri"], `"`)
		}
	}
	id := x.c.nextID()
	return x.c.exchange(x.Context(), id, `{"jsonrpc":"2.0","id":`+id+`,"method":"`+method+`","params":`+params+`}`, header)
}

// params sends odd params, which the server sends back.
func (x *traffic) params(method, named string, renamed bool) {
	x.Helper()
	given := []string{named, `"x-mirror":true`, x.meta(`"progressToken":"p"`)}
	if method == "tools/call" {
		given = append(given, `"arguments":`+x.object(4))
	}
	sent := x.object(3, given...)
	result, failed := x.send(method, sent)
	if failed != nil {
		x.Fatalf("%s %s: %v", method, sent, failed)
	}
	_, taken, err := without(string(result), "params")
	if err != nil {
		x.Fatal(err)
	}
	keys := []string{"_meta"}
	if renamed {
		keys = append(keys, "name")
	}
	rest, meta := x.apart(sent, keys, metaOfRequests)
	gotRest, gotMeta := x.apart(taken["params"], keys, metaOfRequests)
	x.same("params of "+method, rest, gotRest)
	x.same("_meta of "+method, meta, gotMeta)
}

// result has the server answer with something odd.
func (x *traffic) result() {
	x.Helper()
	given := []string{
		`"content":[` + x.space() + x.object(2, `"type":"text"`, `"text":`+pick(x.odd, oddStrings)) + `,` + x.object(2, `"type":"vendor/hologram"`) + `]`,
		`"structuredContent":` + x.object(3), `"_meta":` + x.object(3),
	}
	if strings.HasPrefix(x.server, exchange.Modern) {
		given = append(given, `"resultType":"complete"`)
	}
	sent := x.object(3, given...)
	result, failed := x.send("tools/call", `{"name":"`+x.door+`raw","arguments":{"result":`+sent+`},`+x.meta()+`}`)
	if failed != nil {
		x.Fatalf("%s: %v", sent, failed)
	}
	rest, meta := x.apart(sent, ofOneEra, metaOfResults)
	gotRest, gotMeta := x.apart(string(result), ofOneEra, metaOfResults)
	x.same("result", rest, gotRest)
	x.same("_meta of a result", meta, gotMeta)
}

// failure has the server answer with an odd error.
func (x *traffic) failure() {
	x.Helper()
	code := pick(x.odd, []string{"-32603", "-32000", "7", "-1", "-31999", "2147483648"})
	sent := x.object(3, `"code":`+code, `"message":`+pick(x.odd, oddStrings), `"data":`+x.value(4))
	_, failed := x.send("tools/call", `{"name":"`+x.door+`error","arguments":{"result":`+sent+`},`+x.meta()+`}`)
	if failed == nil {
		x.Fatalf("no error for %s", sent)
	}
	m, err := wire.Parse(wire.AppendError(nil, wire.Raw("1"), failed))
	if err != nil || string(m.Error) != sent {
		x.Errorf("error (-seed=%d): %v\nsent %s\ngot  %s", *seed, err, sent, m.Error)
	}
}

// notices has the server say odd things during a call.
func (x *traffic) notices() {
	x.Helper()
	token := pick(x.odd, []string{`"\u0070\/"`, "9007199254740993", "-7", "\"\u2028\""})
	for method, given := range map[string][]string{
		"notifications/progress":    {`"progressToken":"TOKEN"`, `"progress":1.0e+3`},
		"notifications/message":     {`"level":"error"`, `"data":` + x.value(3)},
		"notifications/vendor/odd2": {},
	} {
		sent := x.object(3, given...)
		before := len(x.c.toldBy(method))
		_, failed := x.send("tools/call", `{"name":"`+x.door+`say","arguments":{"method":"`+method+`","params":`+sent+`},`+x.meta(`"progressToken":`+token)+`}`)
		if failed != nil {
			x.Fatalf("%s %s: %v", method, sent, failed)
		}
		told := x.c.toldBy(method)[before:]
		if want := method + " " + strings.ReplaceAll(sent, `"TOKEN"`, token); len(told) != 1 || told[0] != want {
			x.Errorf("(-seed=%d)\nsent %q\ngot  %q", *seed, want, told)
		}
	}
}

// question has the server ask something odd, and answers oddly.
func (x *traffic) question() {
	x.Helper()
	for method, given := range map[string][]string{
		"elicitation/create":     {`"message":` + pick(x.odd, oddStrings), `"requestedSchema":` + x.object(2, `"type":"object"`, `"properties":{}`)},
		"sampling/createMessage": {`"messages":[]`, `"maxTokens":9007199254740993`},
		"roots/list":             {},
	} {
		if !asksFor(x.c.version, method) {
			continue
		}
		params, answer := x.object(3, given...), x.object(3)
		asked := ""
		x.c.answer = func(got string, params wire.Raw) string { asked = got + string(params); return answer }
		result, failed := x.c.do(x.Context(), "tools/call", `{"name":"`+x.door+`ask","arguments":{"method":"`+method+`","params":`+params+`}}`, "")
		text, err := textOf(result)
		if failed != nil || err != nil {
			x.Fatalf("%s %s: %s %v %v", method, params, result, failed, err)
		}
		if asked != method+params {
			x.Errorf("question (-seed=%d)\nsent %s\ngot  %s", *seed, method+params, asked)
		}
		if want := text[:strings.LastIndex(text, answer)+len(answer)]; !strings.HasPrefix(text, "answers: ") || len(text)-len(want) > 1 {
			x.Errorf("answer (-seed=%d)\nsent %s\ngot  %s", *seed, answer, text)
		}
	}
}

// notifies sends the server an odd notification, and asks what arrived.
func (x *traffic) notifies() {
	x.Helper()
	sent := x.object(4)
	x.c.send(`{"jsonrpc":"2.0","method":"notifications/vendor/odd","params":` + sent + `}`)
	deadline := patience(x.T)
	for {
		result, failed := x.send("tools/call", `{"name":"heard","arguments":{"method":"notifications/vendor/odd"},`+x.meta()+`}`)
		if failed != nil {
			x.Fatal(failed)
		}
		_, taken, err := without(string(result), "params")
		if err == nil && taken["params"] == sent {
			return
		}
		select {
		case <-deadline:
			x.Fatalf("notification (-seed=%d)\nsent %s\ngot  %s", *seed, sent, result)
		default:
		}
	}
}

func TestWhatIsLargeOrDeepIsNotLost(t *testing.T) {
	h := open(t, losslessKinds())
	const deep = wire.MaxDepth - 4 // the answer adds an object, and a message its own and two members
	for _, version := range []string{exchange.Modern, exchange.V20251125, overSSE} {
		for kind := range losslessKinds() {
			t.Run(version+"/"+kind, func(t *testing.T) {
				c := connect(t, h.url, pathOf(kind), version, allCaps(version))
				for what, value := range map[string]string{
					"large": `"` + strings.Repeat(`\u2028é `, 1<<17) + `"`,
					"deep":  strings.Repeat("[", deep) + "9007199254740993" + strings.Repeat("]", deep),
					"wide":  "[" + strings.Repeat("{},", 1<<17) + "-0]",
				} {
					result, failed := c.do(t.Context(), "tools/call", `{"name":"mirror","arguments":{"x":`+value+`}}`, "")
					if failed != nil {
						t.Errorf("%s: %v", what, failed)
						continue
					}
					_, taken, err := without(string(result), "params")
					if err == nil {
						_, taken, err = without(taken["params"], "arguments")
					}
					if err != nil || taken["arguments"] != `{"x":`+value+`}` {
						t.Errorf("%s: %d bytes became %d: %v", what, len(value), len(taken["arguments"]), err)
					}
				}
			})
		}
	}
}

// FuzzAnyValue sends any value through the four cells, as an argument and in the
// result that comes of it.
func FuzzAnyValue(f *testing.F) {
	for _, all := range [][]string{oddNumbers, oddStrings} {
		for _, text := range all {
			f.Add(text)
		}
	}
	f.Add(`{"a":1,"A":2,"a\u0301":[{"b":null}],"_meta":{"progressToken":1}}`)
	f.Add("{\"x\":[1 ,\t2]}")
	four := map[string]upstreamtest.Script{"modern": {}, "legacy": {Era: upstreamtest.Legacy}}
	h := open(f, four)
	var clients []*client
	for _, version := range []string{exchange.Modern, exchange.V20251125} {
		for name := range four {
			clients = append(clients, connect(f, h.url, "/mcp/"+name, version, "{}"))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := wire.ScanObject(wire.Raw(`{"x":`+text+`}`), nil); err != nil || strings.ContainsAny(text, "\r\n") {
			return // not legal, or with white space that a transport may change
		}
		want := `{"x":` + text + `}`
		for _, c := range clients {
			c.t = t
			result, failed := c.do(t.Context(), "tools/call", `{"name":"mirror","arguments":`+want+`}`, "")
			if failed != nil {
				t.Fatalf("%s: %v", text, failed)
			}
			_, taken, err := without(string(result), "params")
			if err == nil {
				_, taken, err = without(taken["params"], "arguments")
			}
			if err != nil || taken["arguments"] != want {
				t.Errorf("%q became %q: %v", want, taken["arguments"], err)
			}
		}
	})
}
