package exchange

import (
	"slices"
	"testing"

	"github.com/jackfield-dev/jackfield/wire"
)

func TestCapabilitiesSayWhichQuestionsCanBeAnswered(t *testing.T) {
	for in, want := range map[string]Capabilities{
		"":                                       {},
		"{}":                                     {},
		" {} ":                                   {},
		`{"elicitation":{}}`:                     {Declared: `{"elicitation":{}}`, Form: true},
		`{"elicitation":{"form":{}}}`:            {Declared: `{"elicitation":{"form":{}}}`, Form: true},
		`{"elicitation":{"url":{}}}`:             {Declared: `{"elicitation":{"url":{}}}`, URL: true},
		`{"elicitation":{"form":{},"url":{}}}`:   {Declared: `{"elicitation":{"form":{},"url":{}}}`, Form: true, URL: true},
		`{"sampling":{"tools":{}}}`:              {Declared: `{"sampling":{"tools":{}}}`, Sampling: true},
		`{"roots":{"listChanged":true}, "x":1 }`: {Declared: `{"roots":{"listChanged":true}, "x":1 }`, Roots: true},
		`{"elicitation":null,"sampling":null}`:   {Declared: `{"elicitation":null,"sampling":null}`},
		`{"extensions":{"io.modelcontextprotocol/tasks":{}}}`: {
			Declared: `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`, TaskResults: true,
		},
		`{"extensions":{"x":1}}`: {Declared: `{"extensions":{"x":1}}`},
	} {
		got, err := ParseCapabilities(wire.Raw(in))
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{`[]`, `null`, `{"elicitation":1}`, `{"extensions":1}`, `{"elicitation":`, `x`} {
		if got, err := ParseCapabilities(wire.Raw(in)); err == nil {
			t.Errorf("%s: %+v", in, got)
		}
	}
}

func TestCapabilitiesAreWrittenAsTheyWereDeclared(t *testing.T) {
	if got := (Capabilities{}).Raw(); string(got) != "{}" {
		t.Errorf("none: %s", got)
	}
	declared := `{ "sampling" : {} }`
	caps, err := ParseCapabilities(wire.Raw(declared))
	if err != nil || string(caps.Raw()) != declared {
		t.Errorf("%s, %v", caps.Raw(), err)
	}
}

func TestAnOlderClientTakesNoTaskForAnAnswer(t *testing.T) {
	caps, err := ParseCapabilities(wire.Raw(`{"extensions":{"io.modelcontextprotocol/tasks":{},"io.modelcontextprotocol/ui":{"mimeTypes":["m"]}},"tasks":{}}`))
	if err != nil || !caps.TaskResults {
		t.Fatal(caps, err)
	}
	caps.Bridge()
	if got := string(caps.Bridged()); caps.TaskResults || got != `{"extensions":{"io.modelcontextprotocol/ui":{"mimeTypes":["m"]}}}` {
		t.Errorf("%t, %s", caps.TaskResults, got)
	}
	if all, err := ParseCapabilities(wire.Raw(Everything)); err != nil || !all.TaskResults || !all.Tasks || !all.Form || !all.URL {
		t.Errorf("everything is %+v, %v", all, err)
	}
}

func TestEveryRevisionIsEitherModernOrLegacy(t *testing.T) {
	for _, v := range Versions {
		if (v == Modern) == IsLegacy(v) {
			t.Errorf("%s is both or neither", v)
		}
		if (Shape{Version: v}).Modern() != (v == Modern) {
			t.Errorf("the shape of a %s server is of the wrong era", v)
		}
	}
	newestFirst := func(a, b string) int { return -slices.Compare([]byte(a), []byte(b)) }
	if !slices.IsSortedFunc(Versions, newestFirst) || !slices.IsSortedFunc(LegacyVersions, newestFirst) {
		t.Error("the newest revision is not first")
	}
	if LegacyVersions[0] != LatestLegacy || len(Versions) != len(LegacyVersions)+1 {
		t.Error("the lists of revisions do not agree")
	}
	if IsLegacy("") || IsLegacy("2026-01-01") {
		t.Error("an unknown revision counts as legacy")
	}
}

func TestAnObjectCanWatchEveryKeyThatTheFacesUse(t *testing.T) {
	params := wire.NewObject(ParamKeys) // panics when they are too many
	for _, k := range ParamKeys {
		params.Set(k, wire.Raw("1"))
	}
	meta := wire.NewObject(MetaKeys)
	for _, k := range MetaKeys {
		meta.Set(k, wire.Raw("1"))
	}
	if params.Len() != len(ParamKeys) || meta.Len() != len(MetaKeys) {
		t.Error("a key is listed twice")
	}
}

func FuzzParseCapabilities(f *testing.F) {
	for _, s := range []string{"", "{}", `{"elicitation":{"url":{}},"roots":{}}`, `{"sampling":{},"sampling":null}`, `null`, `[1]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		caps, err := ParseCapabilities(b)
		if err != nil {
			return
		}
		again, err := ParseCapabilities(caps.Raw())
		if err != nil || again != caps {
			t.Fatalf("%q: %+v, then %+v, %v", b, caps, again, err)
		}
	})
}
