package catalog

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestItemsKeepTheServersBytesButForTheName(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		const odd = "{ \"big\":123456789012345678901234567890,\"z\":1e5 , \"description\":\"\\u00e4 / \",\n \"name\" : \"e\\u0063ho\" ,\"x-vendor\":{\"name\":\"inner\"}, \"a\":[1, 2]}"
		w.set("a", func(s *script) { s.names[Tools], s.raws[Tools] = nil, []wire.Raw{wire.Raw(odd)} })
		raw, err := w.view("a").List(t.Context(), ann, Tools, "")
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Replace(odd, `"e\u0063ho"`, `"a__echo"`, 1)
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s\nlacks\n%s", raw, want)
		}
		only, err := w.c.Only(w.def("a")).List(t.Context(), ann, Tools, "")
		if err != nil || !strings.Contains(string(only), odd) {
			t.Errorf("%v %s", err, only)
		}
		got, ok := w.view("a").Find(ann, Tools, "a__echo")
		if !ok || got.Key != "echo" || string(got.Quoted) != `"e\u0063ho"` || got.Server.ID != "a" {
			t.Errorf("%+v %v", got, ok)
		}
	})
}

func TestWhatCannotBeOfferedIsLeftOutAndReported(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.set("a", func(s *script) {
			s.names[Tools] = []string{"good", "good"}
			s.raws[Tools] = []wire.Raw{
				wire.Raw(`{"title":"nameless"}`), wire.Raw(`{"name":7}`), wire.Raw(`"text"`), wire.Raw(`{"name":""}`),
				wire.Raw(`{"name":"twice","name":"other"}`), wire.Raw(`{"name":"disguised","Name":"other"}`),
			}
		})
		w.list(w.view("a"), Tools).want(t, "a__good")
		if len(w.dropped) != 5 || !has(w.dropped, "a/tools/good: it is listed twice") || !has(w.dropped, "a/tools/: an item of tools/list has no name (3)") {
			t.Errorf("%q", w.dropped)
		}
	})
}

func TestWhatIsLeftOutForTheSameReasonIsReportedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.set("a", func(s *script) {
			s.names[Tools] = []string{"good"}
			for i := range 3000 {
				s.names[Tools] = append(s.names[Tools], "good")
				s.raws[Tools] = append(s.raws[Tools], wire.Raw(`{"name":7}`), wire.Raw(fmt.Sprintf(`{"name":"n%d","name":"m"}`, i)))
			}
		})
		w.list(w.view("a"), Tools).want(t, "a__good")
		if len(w.dropped) > mostReasons || !has(w.dropped, "a/tools/good: it is listed twice; the first one counts (3000)") {
			t.Errorf("%q", w.dropped)
		}
	})
}

func TestTheToolFilterAppliesToListsAndNames(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		w.set("a", func(s *script) {
			s.names[Tools], s.names[Prompts] = []string{"get_x", "set_x", "get_secret"}, []string{"set_x"}
			s.def.Tools = jackfield.ToolFilter{Allow: []string{"get_*"}, Deny: []string{"get_secret"}}
		})
		v := w.view("a")
		w.list(v, Tools).want(t, "a__get_x")
		w.list(v, Prompts).want(t, "a__set_x")
		for _, view := range []*View{v, w.c.Only(w.def("a"))} {
			for _, name := range []string{"set_x", "get_secret", "a__set_x", "a__get_secret"} {
				if _, ok := view.Find(ann, Tools, name); ok {
					t.Errorf("found %q, which the filter keeps back", name)
				}
			}
		}
		w.list(w.c.Only(w.def("a")), Tools).want(t, "get_x")
	})
}

func TestInvalidServersAreNotInAView(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a", "b")
		w.set("a", func(s *script) { s.def.Invalid = "no command" })
		w.list(w.view("a", "b"), Tools).want(t, "b__echo")
		if w.visits("a") != 0 {
			t.Error("an invalid server was visited")
		}
		p := w.list(w.view("a"), Tools)
		p.want(t)
		p.wantTook(t, 0)
	})
}

func TestATableIsBuiltOnceAndAgainAfterAChange(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a", "b")
		v := w.view("a", "b")
		w.list(v, Tools)
		first := v.table(ann, Tools)
		sleep(6 * time.Minute)
		w.list(v, Tools)
		sleep(time.Second)
		w.list(v, Tools)
		if v.table(bob, Tools) != first {
			t.Error("built anew though nothing changed")
		}
		w.set("b", func(s *script) { s.names[Tools] = []string{"new"} })
		w.c.Invalidate(w.def("b"), ann, "notifications/tools/list_changed")
		w.list(v, Tools).want(t, "a__echo", "b__new")
		if len(first.rows) != 2 || first.rows[1].final != "b__echo" {
			t.Error("a table that was handed out has changed")
		}
	})
}

func TestPagesHoldEverythingOnceInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, limits := range []Limits{{Items: 7}, {Bytes: 700}, {Items: 1}, {Items: 100}, {Bytes: 1}} {
			w := newWorld(t, Options{Limits: limits}, "a", "b")
			var want []string
			for _, s := range []string{"a", "b"} {
				var names []string
				for i := range 50 {
					names = append(names, fmt.Sprintf("t%02d", i))
					want = append(want, fmt.Sprintf("%s__t%02d", s, i))
				}
				w.set(s, func(sc *script) { sc.names[Tools] = names })
			}
			v := w.view("a", "b")
			var got []string
			pages := 0
			for cursor := ""; ; pages++ {
				p := w.listFor(ann, v, Tools, cursor)
				got = append(got, p.names...)
				if cursor = p.Next; cursor == "" {
					break
				}
				if pages > 200 {
					t.Fatal("no end of pages")
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v: %d pages hold %q", limits, pages, got)
			}
			if pages == 0 && limits.Items < 100 {
				t.Errorf("%+v: all on one page", limits)
			}
		}
	})
}

func TestACursorGoesOnBehindTheSameThingWhenTheListHasChanged(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{Limits: Limits{Items: 2}}, "a")
		w.set("a", func(s *script) { s.names[Tools] = []string{"1", "2", "3", "4"} })
		v := w.view("a")
		p := w.list(v, Tools)
		p.want(t, "a__1", "a__2")
		sleep(time.Minute)
		w.set("a", func(s *script) { s.names[Tools] = []string{"0", "1", "2", "new", "4"} })
		w.c.Invalidate(w.def("a"), ann, "notifications/tools/list_changed")
		sleep(time.Second)
		w.listFor(ann, v, Tools, p.Next).want(t, "a__new", "a__4")
		sleep(time.Minute)
		w.set("a", func(s *script) { s.names[Tools] = []string{"4"} })
		w.c.Invalidate(w.def("a"), ann, "notifications/tools/list_changed")
		sleep(time.Second)
		w.list(v, Tools).want(t, "a__4")
		_, err := w.tryList(ann, v, Tools, p.Next)
		if jackfield.CodeOf(err) != jackfield.Invalid || !strings.Contains(err.Error(), "from the beginning") {
			t.Errorf("%v", err)
		}
	})
}

func TestAForeignCursorIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{Limits: Limits{Items: 1}}, "a")
		w.set("a", func(s *script) { s.names[Tools], s.names[Prompts] = []string{"1", "2"}, []string{"1", "2"} })
		v := w.view("a")
		p := w.list(v, Prompts)
		w.list(v, Tools)
		for _, cursor := range []string{p.Next, "x", "AAAA", strings.Repeat("A", 100_000), p.Next + "!", "\x00"} {
			if _, err := v.List(t.Context(), ann, Tools, cursor); jackfield.CodeOf(err) != jackfield.Invalid {
				t.Errorf("cursor %.40q: %v", cursor, err)
			}
		}
	})
}

func FuzzCursors(f *testing.F) {
	c := New(Options{Limits: Limits{Items: 2}})
	var raws []wire.Raw
	for i := range 9 {
		raws = append(raws, thing(Tools, fmt.Sprint("t", i)))
	}
	v := c.View([]jackfield.Server{{ID: "s", Name: "s"}})
	tab := v.build(Tools, []*listing{prepare(Tools, raws, false, nil)})
	f.Add("")
	f.Add(tab.cursor(2))
	f.Add(tab.cursor(8))
	f.Add("AQAAAAAAAAAAAAAAAAA")
	beyond := binary.BigEndian.AppendUint64([]byte{cursorForm, byte(Tools)}, tab.digest)
	f.Add(base64.RawURLEncoding.EncodeToString(binary.AppendUvarint(beyond, 1000)))
	f.Add(base64.RawURLEncoding.EncodeToString(binary.AppendUvarint(beyond, 1<<63)))
	f.Fuzz(func(t *testing.T, cursor string) {
		from, err := tab.begin(cursor)
		if err != nil {
			if jackfield.CodeOf(err) != jackfield.Invalid {
				t.Fatal(err)
			}
			return
		}
		if from < 0 || from > len(tab.rows) {
			t.Fatalf("begins with row %d", from)
		}
		raw := tab.page(from, &freshness{due: time.Now()}, time.Now())
		if !json.Valid(raw) {
			t.Fatalf("%s", raw)
		}
	})
}

func TestNamesOfServersThatWereNeverListedAreAwaited(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "slow", "other")
		w.set("slow", func(s *script) { s.took = 20 * time.Second })
		w.set("other", func(s *script) { s.took = time.Hour })
		v := w.view("slow", "other")
		before := time.Now()
		if err := v.Settle(t.Context(), ann, Tools, "slow__echo", 30*time.Second); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(before); took != 20*time.Second {
			t.Errorf("took %v", took)
		}
		if _, ok := v.Find(ann, Tools, "slow__echo"); !ok {
			t.Error("not found after its server was listed")
		}
		if w.visits("other") != 0 {
			t.Error("a server was opened that cannot have the name")
		}
		before = time.Now()
		_ = v.Settle(t.Context(), ann, Tools, "slow__nothing", 30*time.Second)
		if took := time.Since(before); took != 0 {
			t.Errorf("waited %v for a server that is listed", took)
		}
		if got := v.Unlisted(ann, Tools); !slices.Equal(got, []string{"other"}) {
			t.Errorf("%q", got)
		}
	})
}

func TestResourcesAreFoundByTheirURIs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a", "b")
		w.set("a", func(s *script) {
			s.names[Resources] = []string{"file:///a", "db://same", "odd uri/ä"}
			s.names[Templates] = []string{"file:///a/{name}", "note://{id}", "x://{+path}"}
		})
		w.set("b", func(s *script) {
			s.names[Resources] = []string{"file:///b", "db://same"}
			s.names[Templates] = []string{"note://{id}", "x://{+path}/b", "x://{+more}"}
		})
		v := w.view("a", "b")
		w.list(v, Resources).want(t, "file:///a", "jackfield://a/db:%2F%2Fsame", "odd uri/ä", "file:///b", "jackfield://b/db:%2F%2Fsame")
		w.list(v, Templates).want(t, "file:///a/{name}", "jackfield://a//note://{id}", "x://{+path}", "jackfield://b//note://{id}", "x://{+path}/b", "x://{+more}")
		for uri, want := range map[string]string{
			"file:///a":                        "a file:///a",
			"file:///b":                        "b file:///b",
			"file:///a/x%20y":                  "a file:///a/x%20y",
			"odd uri/ä":                        "a odd uri/ä",
			"db://same":                        "a db://same, b db://same",
			"jackfield://a/db:%2F%2Fsame":      "a db://same",
			"jackfield://b/db:%2F%2Fsame":      "b db://same",
			"jackfield://b/file:%2F%2F%2Fa":    "b file:///a",
			"note://7":                         "a note://7, b note://7",
			"jackfield://b//note://x%2Fy":      "b note://x%2Fy",
			"jackfield://b/note:%2F%2Fx%252Fy": "b note://x%2Fy",
			"x://1/2/3":                        "a x://1/2/3, b x://1/2/3",
			"x://1/2/b":                        "b x://1/2/b",
			"jackfield://c/x":                  "",
			"jackfield://a/":                   "",
			"jackfield://a":                    "",
			"file:///c":                        "",
			"":                                 "",
		} {
			var got []string
			for _, f := range v.FindURI(ann, uri) {
				if s, ok := wire.String(f.Quoted); !ok || s != f.Key {
					t.Errorf("%q: quoted %s, want %q", uri, f.Quoted, f.Key)
				}
				got = append(got, f.Server.Name+" "+f.Key)
			}
			if s := strings.Join(got, ", "); s != want {
				t.Errorf("%q is %q, want %q", uri, s, want)
			}
		}
		if got := w.view("b", "a").FindURI(ann, "x://1/2/b"); len(got) != 1 || got[0].Server.Name != "b" {
			t.Errorf("%+v, want the most specific template's server alone", got)
		}
		for uri, want := range map[string]string{"note://{id}": "2", "x://{+path}": "1", "file:///a": "1", "jackfield://b//note://{id}": "1"} {
			if got := v.FindTemplate(ann, uri); fmt.Sprint(len(got)) != want {
				t.Errorf("%q has %d targets, want %s", uri, len(got), want)
			}
		}
		if got := v.FinalURI(ann, "b", "db://same"); got != "jackfield://b/db:%2F%2Fsame" {
			t.Errorf("%q", got)
		}
		if got := v.FinalURI(ann, "b", "file:///b"); got != "file:///b" {
			t.Errorf("%q", got)
		}
	})
}

func TestOneServerAloneKeepsItsURIs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		v := w.c.Only(w.def("a"))
		for _, uri := range []string{"x", "jackfield://a/x", "test://{id}"} {
			for _, got := range [][]Target{v.FindURI(ann, uri), v.FindTemplate(ann, uri)} {
				if len(got) != 1 || got[0].Key != uri {
					t.Errorf("%q: %+v", uri, got)
				}
			}
			if got := v.FinalURI(ann, "a", uri); got != uri {
				t.Errorf("%q", got)
			}
		}
	})
}

func TestAServerThatListsAURIOfOursIsNotTakenForTheOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a", "b", "evil")
		w.set("a", func(s *script) { s.names[Resources] = []string{"db://x"} })
		w.set("b", func(s *script) { s.names[Resources] = []string{"db://x"} })
		w.set("evil", func(s *script) { s.names[Resources] = []string{"jackfield://a/db:%2F%2Fx"} })
		v := w.view("evil", "a", "b")
		w.list(v, Resources).want(t, "jackfield://a/db:%2F%2Fx", "jackfield://b/db:%2F%2Fx")
		if got := v.FindURI(ann, "jackfield://a/db:%2F%2Fx"); len(got) != 1 || got[0].Server.Name != "a" {
			t.Errorf("%+v", got)
		}
		if !has(w.dropped, "evil/resources/") {
			t.Errorf("%q", w.dropped)
		}
	})
}

func TestAnAggregateOfNobodyIsEmpty(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		for k := range Kind(numKinds) {
			w.list(w.view(), k).want(t)
		}
	})
}

func TestHeadersOfToolsAreKnownAndBadOnesDropTheTool(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		tool := func(name, schema string) wire.Raw {
			return wire.Raw(`{"name":"` + name + `","inputSchema":` + schema + `}`)
		}
		good := tool("good", `{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"Region"},"o":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}}}}`)
		bad := tool("bad", `{"type":"object","properties":{"r":{"type":"number","x-mcp-header":"Region"}}}`)
		w.set("a", func(s *script) {
			s.names[Tools], s.raws[Tools], s.shape.Version = nil, []wire.Raw{good, bad}, exchange.Modern
		})
		w.list(w.view("a"), Tools).want(t, "a__good")
		got := w.c.ParamHeaders("a", ann, "good")
		if fmt.Sprint(got) != "[{N [o n]} {Region [r]}]" {
			t.Errorf("%v", got)
		}
		if got := w.c.ParamHeaders("a", ann, "other"); got != nil {
			t.Errorf("%v", got)
		}
		if !has(w.dropped, "a/tools/bad: x-mcp-header") {
			t.Errorf("%q", w.dropped)
		}
		// A process has no headers, and an older revision does not know the rule.
		w.set("a", func(s *script) { s.def.Endpoint.Transport, s.def.Version = jackfield.TransportStdio, 2 })
		w.list(w.view("a"), Tools).want(t, "a__good", "a__bad")
		w.set("a", func(s *script) {
			s.def.Endpoint.Transport, s.def.Version, s.shape.Version = jackfield.TransportHTTP, 3, exchange.LatestLegacy
		})
		w.list(w.view("a"), Tools).want(t, "a__good", "a__bad")
		// Modern clients send them to us whatever the server is.
		if got := w.c.ParamHeaders("a", ann, "good"); fmt.Sprint(got) != "[{N [o n]} {Region [r]}]" {
			t.Errorf("%v", got)
		}
		if got := w.c.ParamHeaders("a", ann, "bad"); got != nil {
			t.Errorf("%v", got)
		}
	})
}

func TestAnnotationsAreJudged(t *testing.T) {
	for schema, want := range map[string]string{
		`{}`: "",
		`{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}`:                                            "A:a",
		`{"properties":{"a":{"type":"boolean","x-mcp-header":"A"},"b":{"type":"integer","x-mcp-header":"B"}}}`: "A:a B:b",
		`{"properties":{"a":{"properties":{"b":{"type":"string","x-mcp-header":"A.b"}}}}}`:                     "A.b:a/b",
		`{"properties":{"x-mcp-header":{"type":"string"}}}`:                                                    "",
		`{"properties":{"a":{"type":"string","default":{"x-mcp-header":1},"enum":[{"x-mcp-header":1}]}}}`:      "",
		`{"properties":{"a":{"type":"string","x-mcp-header":""}}}`:                                             "!",
		`{"properties":{"a":{"type":"string","x-mcp-header":7}}}`:                                              "!",
		`{"properties":{"a":{"type":"string","x-mcp-header":"a b"}}}`:                                          "!",
		`{"properties":{"a":{"type":"string","x-mcp-header":"a\r\nX"}}}`:                                       "!",
		`{"properties":{"a":{"type":"string","x-mcp-header":"ä"}}}`:                                            "!",
		`{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}`:                                            "!",
		`{"properties":{"a":{"type":["string","null"],"x-mcp-header":"A"}}}`:                                   "!",
		`{"properties":{"a":{"type":"object","x-mcp-header":"A"}}}`:                                            "!",
		`{"properties":{"a":{"x-mcp-header":"A"}}}`:                                                            "!",
		`{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}`:   "!",
		`{"properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}}`:                   "!",
		`{"anyOf":[{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}]}`:                                "!",
		`{"$defs":{"d":{"type":"string","x-mcp-header":"A"}}}`:                                                 "!",
		`{"properties":{"a":{"not":{"properties":{"b":{"type":"string","x-mcp-header":"A"}}}}}}`:               "!",
		`{"type":"string","x-mcp-header":"A"}`:                                                                 "!",
		`{"patternProperties":{"^a":{"type":"string","x-mcp-header":"A"}}}`:                                    "!",
		`{"properties":{"a":{"type":"string","x\u002dmcp-header":"A"}}}`:                                       "A:a",
	} {
		got, err := paramHeaders(wire.Raw(`{"name":"t","inputSchema":` + schema + `}`))
		var s []string
		for _, h := range got {
			s = append(s, h.Name+":"+strings.Join(h.Path, "/"))
		}
		text := strings.Join(s, " ")
		if err != nil {
			text = "!"
		}
		if text != want {
			t.Errorf("%s: %q (%v), want %q", schema, text, err, want)
		}
	}
}

func TestPagesAreAsLongAsTheServersItems(t *testing.T) {
	// A page is written once and served to many: it must not depend on the owner or
	// on who asked first.
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		v := w.view("a")
		one, _ := v.List(t.Context(), ann, Tools, "")
		two, _ := v.List(t.Context(), bob, Tools, "")
		if &one[0] != &two[0] {
			t.Error("written twice")
		}
		w.set("a", said(5*time.Minute, true))
		w.c.Invalidate(w.def("a"), ann, "notifications/tools/list_changed")
		if public, _ := v.List(t.Context(), bob, Tools, ""); !strings.Contains(string(public), `"cacheScope":"public"`) {
			t.Errorf("%s", public)
		}
		sleep(time.Second)
		three, _ := v.List(t.Context(), bob, Tools, "")
		if string(one) == string(three) || !strings.Contains(string(three), `"ttlMs":299000`) {
			t.Errorf("%s", three)
		}
	})
}

func TestAToolsAnnotationsSayWhatItsCallsLeaveBehind(t *testing.T) {
	for annotations, want := range map[string]exchange.Effect{
		`{"readOnlyHint":true}`:                        exchange.EffectNone,
		`{"readOnlyHint":true,"idempotentHint":false}`: exchange.EffectNone,
		`{"idempotentHint":true}`:                      exchange.EffectOnce,
		`{"readOnlyHint":false}`:                       exchange.EffectUnknown,
		`{"readOnlyHint":"true"}`:                      exchange.EffectUnknown,
		`{}`:                                           exchange.EffectUnknown,
		`[true]`:                                       exchange.EffectUnknown,
		`null`:                                         exchange.EffectUnknown,
	} {
		it, err := parseItem(Tools, wire.Raw(`{"name":"t","annotations":`+annotations+`}`))
		if err != nil || it.effect != want {
			t.Errorf("%s: got %v, %v", annotations, it.effect, err)
		}
	}
	if it, err := parseItem(Tools, wire.Raw(`{"name":"t"}`)); err != nil || it.effect != exchange.EffectUnknown {
		t.Errorf("without: got %v, %v", it.effect, err)
	}
}

func TestAServerThatWasNeverListedIsTriedAgainAtOneTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{}, "a")
		failure := &jackfield.Failure{
			Kind: jackfield.FailureRefused, Message: `nobody listens where server "a" should be`,
			Since: time.Now(), Attempts: 1, Next: time.Now().Add(30 * time.Second),
		}
		w.set("a", func(s *script) {
			s.err = &jackfield.Error{Code: jackfield.Unavailable, Message: failure.At(time.Now()), Err: failure}
		})
		only := w.c.Only(w.def("a"))
		_, _ = only.List(t.Context(), ann, Tools, "")
		time.Sleep(10 * time.Second)
		_, err := only.List(t.Context(), ann, Tools, "")
		text := fmt.Sprint(err)
		if strings.Count(text, "the next attempt") != 1 || strings.Contains(text, "tried again") || !strings.Contains(text, "in 20s") || jackfield.FailureOf(err) != failure {
			t.Error(text)
		}
		w.set("a", func(s *script) { s.err = jackfield.Errorf(jackfield.Unavailable, "it is confused") })
		time.Sleep(time.Hour)
		_, _ = only.List(t.Context(), ann, Tools, "")
		_, err = only.List(t.Context(), ann, Tools, "")
		if text = fmt.Sprint(err); !strings.Contains(text, "it is confused (failing since ") || !strings.Contains(text, "tried again in") {
			t.Error(text)
		}
	})
}
