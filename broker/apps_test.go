package broker

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestWhatIsReadUnderAnotherURIComesUnderThatOne(t *testing.T) {
	const own, asked = "ui://x", "ui://jackfield/b/ui:%2F%2Fx"
	for in, want := range map[string]string{
		`{"contents":[{"uri":"ui://x","text":"<p>","_meta":{"ui":{"csp":{}}}},{"text":"t","uri":"ui:\/\/x"}],"n":1e400}`: `{"contents":[{"uri":"` + asked + `","text":"<p>","_meta":{"ui":{"csp":{}}}},{"text":"t","uri":"` + asked + `"}],"n":1e400}`,
		`{"contents":[{"uri":"ui://x/part"}, 7, {}]}`:                                                                    `{"contents":[{"uri":"ui://x/part"}, 7, {}]}`,
		`{"contents":7}`: `{"contents":7}`,
		`{}`:             `{}`,
		`[]`:             `[]`,
	} {
		equal(t, string(underURI(wire.Raw(in), own, asked)), want)
	}
}

func TestAUserInterfaceIsReadFromTheServerOfItsTool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{}, "a", "b")
		for _, s := range []string{"a", "b"} {
			h.set(s, func(sc *script) {
				sc.lists[catalog.Tools] = []string{"show"}
				sc.extra = map[string]string{"show": `"_meta":{"ui":{"resourceUri":"ui://x"}}`}
				sc.answer = func(_ *conn, _ context.Context, r *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
					return exchange.Result{Raw: wire.Raw(`{"contents":[{"uri":"ui://x","text":"` + s + `"}]}`)}, nil
				}
			})
		}
		for _, s := range []string{"a", "b"} {
			uri := "ui://jackfield/" + s + "/ui:%2F%2Fx"
			equal(t, h.do(user("ann"), "resources/read", `{"uri":"`+uri+`"}`), `{"contents":[{"uri":"`+uri+`","text":"`+s+`"}]}`)
			equal(t, h.calls(s)[0].heard(), `[resources/read {"uri":"ui://x"}]`)
		}
		h.fails(user("ann"), "resources/read", `{"uri":"ui://x"}`, jackfield.Invalid, "ui://jackfield/a/ui:%2F%2Fx", "ui://jackfield/b/ui:%2F%2Fx")
		h.set("b", func(sc *script) { sc.extra = nil })
		h.cat.Invalidate(h.servers()[1], jackfield.App(), "notifications/tools/list_changed")
		h.do(user("ann"), "tools/list", "")
		synctest.Wait()
		equal(t, h.do(user("ann"), "resources/read", `{"uri":"ui://x"}`), `{"contents":[{"uri":"ui://x","text":"a"}]}`)
	})
}
