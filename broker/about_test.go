package broker

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

func (h *house) about(c Caller) About {
	h.t.Helper()
	a, err := h.b.About(h.ctx(), c)
	if err != nil {
		h.t.Fatal(err)
	}
	if !json.Valid(a.Capabilities) || a.Capabilities[0] != '{' {
		h.t.Fatalf("%s", a.Capabilities)
	}
	return a
}

func TestOneServerSpeaksForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a")
		const caps = `{"tools":{},"experimental":{"x":{"y":1}},"extensions":{}}`
		h.set("a", func(s *script) {
			s.shape.Capabilities = wire.Raw(caps)
			s.def.About.Instructions.FromServer = true
		})
		a := h.about(user("ann").only("a"))
		equal(t, string(a.Capabilities), caps)
		equal(t, string(a.ServerInfo), `{"name":"a"}`)
		equal(t, a.Instructions, "Use a.")
		equal(t, a.TTL, 5*time.Minute)
		equal(t, h.dials("a"), 1)
		h.about(user("ann").only("a"))
		equal(t, h.dials("a"), 1)
		if _, err := h.b.About(t.Context(), user("ann").only("b")); jackfield.CodeOf(err) != jackfield.NotFound {
			t.Error(err)
		}
	})
}

func TestAllTogetherCanDoWhatAnyOfThemCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "b", "c", "broken")
		for s, caps := range map[string]string{
			"a": `{"tools":{},"experimental":{"x":{}}}`, "b": `{"prompts":{"listChanged":true},"completions":{}}`, "c": `{"resources":{"subscribe":true}}`, "broken": `7`,
		} {
			h.set(s, func(sc *script) { sc.shape.Capabilities = wire.Raw(caps) })
		}
		a := h.about(user("ann"))
		equal(t, string(a.Capabilities), `{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true},"completions":{}}`)
		equal(t, a.ServerInfo == nil, true)
		equal(t, a.Instructions, "")
		h.set("c", func(s *script) { s.shape.Capabilities = wire.Raw(`{"logging":{},"resources":{}}`) })
		h.cat.Learn(h.scripts["c"].def, h.scripts["c"].shape)
		equal(t, strings.Contains(string(h.about(user("ann")).Capabilities), `"resources":{"listChanged":true},"completions":{},"logging":{}`), true)
	})
}

func TestServersThatDoNotAnswerAreAwaitedForAMomentAndTakenForAble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "hung", "lazy")
		h.set("a", func(s *script) { s.shape.Capabilities = wire.Raw(`{"tools":{}}`) })
		h.set("hung", func(s *script) { s.dialing = time.Hour })
		h.set("lazy", func(s *script) { s.def.Usage.OnDemand = true })
		before := time.Now()
		a := h.about(user("ann"))
		equal(t, time.Since(before), waitShape)
		equal(t, a.TTL, time.Duration(0))
		for _, part := range []string{"tools", "prompts", "resources", "completions"} {
			if !strings.Contains(string(a.Capabilities), `"`+part+`"`) {
				t.Errorf("%s lacks %s", a.Capabilities, part)
			}
		}
		equal(t, h.dials("lazy"), 0)
		before = time.Now()
		h.about(user("ann"))
		equal(t, time.Since(before), time.Duration(0))
		h.about(user("ann").only("lazy"))
		equal(t, h.dials("lazy"), 1)
	})
}

func TestInstructionsAreWhatTheDefinitionsSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "own", "given", "none", "long")
		h.set("own", func(s *script) { s.def.About.Instructions.FromServer = true })
		h.set("given", func(s *script) { s.def.About.Instructions.Text = " Be kind.\n" })
		equal(t, h.about(user("ann")).Instructions, "# own\n\nUse own.\n\n# given\n\nBe kind.")
		equal(t, h.about(user("ann").only("given")).Instructions, " Be kind.\n")
		equal(t, h.about(user("ann").only("none")).Instructions, "")
		h.set("long", func(s *script) { s.def.About.Instructions.Text = strings.Repeat("ä", 1<<20) })
		if n := len(h.about(user("ann")).Instructions); n > 17<<10 {
			t.Errorf("%d bytes", n)
		}
		var many strings.Builder
		for range 100 {
			appendInstructions(&many, "s", strings.Repeat("x", 5000))
		}
		if many.Len() > maxInstructions+100 {
			t.Errorf("%d bytes", many.Len())
		}
	})
}
