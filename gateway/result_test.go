package gateway

import (
	"testing"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

func TestALegacyClientGetsAResultAsItsRevisionKnowsIt(t *testing.T) {
	const bare = `{"tools":[]}`
	modern := wire.Raw(`{"resultType":"complete","ttlMs":1,"cacheScope":"public","tools":[]}`)
	for name, res := range map[string]exchange.Result{
		"of a legacy server":      {Raw: wire.Raw(bare)},
		"of a modern server":      {Raw: modern, Modern: true},
		"with its legacy form":    {Raw: wire.Raw(`{"not":"this"}`), Modern: true, Bare: func() wire.Raw { return wire.Raw(bare) }},
		"that is legacy all over": {Raw: wire.Raw(bare), Bare: func() wire.Raw { return nil }},
	} {
		if got, err := legacyResult(res); err != nil || string(got) != bare {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestAModernClientGetsOnlyErrorsOfItsRevision(t *testing.T) {
	const named, other = `{"requiredCapabilities":{"sampling":{}}}`, `{"requiredCapabilities":"all"}`
	for _, c := range []struct {
		code   int
		data   string
		modern bool
		want   int
	}{
		{wire.CodeResourceNotFound, "", false, wire.CodeInvalidParams},
		{wire.CodeResourceNotFound, "", true, wire.CodeInvalidParams},
		{wire.CodeMissingCapability, named, true, wire.CodeMissingCapability},
		{wire.CodeMissingCapability, named, false, wire.CodeMissingCapability},
		{wire.CodeMissingCapability, other, false, wire.CodeInternal},
		{wire.CodeMissingCapability, "", false, wire.CodeInternal},
		{-32050, named, false, wire.CodeInternal},
		{-32601, "", false, -32601},
		{4711, "", false, 4711},
	} {
		e := modernError(&wire.Error{Code: c.code, Message: "m", Data: wire.Raw(c.data)}, c.modern)
		if e.Code != c.want || e.Message != "m" || string(e.Data) != c.data {
			t.Errorf("%d %s of a modern server %v: %+v, want %d", c.code, c.data, c.modern, e, c.want)
		}
	}
}

func TestAQuestionForAModernClientHasParamsInEveryCase(t *testing.T) {
	for want, params := range map[string]string{
		`"q":{"method":"m","params":{}}`:           "",
		`"q":{"method":"m","params":{"mode":"a"}}`: `{"mode":"a","elicitationId":"7"}`,
	} {
		q := exchange.Question{Method: "m"}
		if params != "" {
			q.Params = wire.Raw(params)
		}
		if got := string(appendQuestion(nil, "q", q)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
