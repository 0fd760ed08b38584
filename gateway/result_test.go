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
