//go:build unix

package upstream

import (
	"strings"
	"sync"
	"testing"

	"github.com/jackfield-dev/jackfield/exchange"
)

// What a program asks, and how it reads the id of a request and answers it with what
// it was told.
const (
	asks    = `echo '{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{}}'; read told; `
	reads   = `read l; id=${l#*'"id":'}; id=${id%%,*}; `
	answers = `echo '{"jsonrpc":"2.0","id":'$id',"result":{"told":'$told'}}'; `
)

// asksFirst asks and reads two lines, of which one is the answer and one a request.
const asksFirst = `echo '{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{}}'; read one; read two; ` +
	`case $one in *'"method"'*) l=$one; told=$two;; *) l=$two; told=$one;; esac; id=${l#*'"id":'}; id=${id%%,*}; `

func TestAQuestionOfAProgramThatBelongsToNoCallIsPutToNobody(t *testing.T) {
	const declined = `{"jsonrpc":"2.0","id":"q","result":{"action":"decline"}}`
	for name, c := range map[string]struct {
		script string
		calls  int
		home   exchange.Peer
		want   string
	}{
		"outside any call":               {asksFirst + answers, 1, nil, declined},
		"outside any call, with a home":  {asksFirst + answers, 1, named("home"), `"by":"home"`},
		"with one call open":             {reads + asks + answers, 1, nil, `"by":"ann"`},
		"with two calls open":            {reads + `one=$id; ` + reads + asks + answers + `id=$one; ` + answers, 2, nil, declined},
		"with two open, and with a home": {reads + `one=$id; ` + reads + asks + answers + `id=$one; ` + answers, 2, named("home"), `"by":"home"`},
	} {
		t.Run(name, func(t *testing.T) {
			o := legacyShell(hello + c.script + "read l")
			withCaps(&o)
			asked := make(chan struct{}, 1)
			o.Hooks.Declined = func(string, string) { asked <- struct{}{} }
			if c.home != nil {
				o.Home = func() exchange.Peer {
					select {
					case asked <- struct{}{}:
					default:
					}
					return c.home
				}
			}
			conn, err := Dial(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer shut(t, conn)
			if strings.HasPrefix(name, "outside") {
				<-asked
			}
			var all sync.WaitGroup
			for i := range c.calls {
				all.Go(func() {
					res, err := conn.Do(t.Context(), tool(t, conn, "x", `{}`), named([]string{"ann", "bob"}[i]))
					if err != nil || !strings.Contains(string(res.Raw), c.want) {
						t.Errorf("got %s, %v", res.Raw, err)
					}
				})
			}
			all.Wait()
		})
	}
}
