package upstream

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

func TestAListThatIsCutSaysSo(t *testing.T) {
	tools := make([]string, 10)
	for i := range tools {
		tools[i] = fmt.Sprint("tool", i)
	}
	for name, c := range map[string]struct {
		script upstreamtest.Script
		limits Limits
		items  int
		says   string
	}{
		"items":        {upstreamtest.Script{Page: 4}, Limits{Items: 6}, 6, "more than 6 items"},
		"pages":        {upstreamtest.Script{Page: 2}, Limits{Pages: 3}, 6, "more than 3 pages"},
		"bytes":        {upstreamtest.Script{Page: 5}, Limits{ListBytes: 300}, 5, "more than 300 bytes"},
		"just enough":  {upstreamtest.Script{Page: 5}, Limits{Items: 10, Pages: 2}, 10, ""},
		"endless":      {upstreamtest.Script{Page: 1, Pages: 1000}, Limits{}, 50, "more than 50 pages"},
		"as they come": {upstreamtest.Script{}, Limits{}, 10, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.script.Bare, c.script.Tools = true, tools
			d := patch(t, upstreamtest.New(t, c.script), func(o *Options) { o.Limits = c.limits })
			list, err := d.List(t.Context(), "tools/list")
			if err != nil {
				t.Fatal(err)
			}
			if len(list.Items) != c.items || !strings.HasPrefix(list.Truncated, c.says) || (c.says == "") != (list.Truncated == "") {
				t.Errorf("%d items, %q", len(list.Items), list.Truncated)
			}
		})
	}
}

func TestListsThatAreNotQuiteRight(t *testing.T) {
	const result = `{"jsonrpc":"2.0","id":ID,"result":`
	for name, c := range map[string]struct {
		answer string
		items  int
		public bool
		says   string // of the error; or of Truncated, when there are items
	}{
		"round in a circle":   {result + `{"tools":[{"name":"a"}],"nextCursor":"again"}}`, 2, false, "round in a circle"},
		"null cursor":         {result + `{"tools":[{"name":"a"}],"nextCursor":null,"cacheScope":"public"}}`, 1, true, ""},
		"empty cursor":        {result + `{"tools":[{"name":"a"}],"nextCursor":"","ttlMs":-5}}`, 1, false, ""},
		"nonsense ttl":        {result + `{"tools":[],"ttlMs":"soon"}}`, 0, false, ""},
		"unknown method":      {`{"jsonrpc":"2.0","id":ID,"error":{"code":-32601,"message":"no"}}`, 0, false, ""},
		"another error":       {`{"jsonrpc":"2.0","id":ID,"error":{"code":-32603,"message":"out of paper"}}`, 0, false, "tools/list failed: out of paper"},
		"no list":             {result + `{"things":[]}}`, 0, false, `lacks "tools"`},
		"not a list":          {result + `{"tools":{"a":1}}}`, 0, false, "cannot be read"},
		"not an object":       {result + `[]}`, 0, false, "cannot be read"},
		"two lists in one":    {result + `{"tools":[],"tools":[]}}`, 0, false, "stands twice"},
		"a list in disguise":  {result + `{"tools":[],"Tools":[]}}`, 0, false, `is spelled`},
		"more than we expect": {result + `{"x":[1],"tools":[{"a":{"b":[1.0]}},7,"s"],"y":2}}`, 3, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			front := httptest.NewServer(canned(t, map[string]string{
				"initialize": result + `{"protocolVersion":"2025-11-25","capabilities":{}}}`, "tools/list": c.answer,
			}, func(string) {}))
			t.Cleanup(front.Close)
			conn, err := Dial(t.Context(), Options{Name: "x", Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: front.URL}})
			if err != nil {
				t.Fatal(err)
			}
			defer shut(t, conn)
			list, err := conn.List(t.Context(), "tools/list")
			said := list.Truncated
			if err != nil {
				said = err.Error()
			}
			if len(list.Items) != c.items || list.Public != c.public || list.TTL != 0 || !strings.Contains(said, c.says) || (c.says == "") != (said == "") {
				t.Errorf("got %s, public %v, ttl %v: %q", list.Items, list.Public, list.TTL, said)
			}
		})
	}
}

func TestAListIsAsFreshAndAsPublicAsTheLeastOfItsPages(t *testing.T) {
	pages := []string{
		`{"tools":[],"nextCursor":"1","ttlMs":1000,"cacheScope":"public"}`,
		`{"tools":[],"nextCursor":"2","ttlMs":500,"cacheScope":"private"}`,
		`{"tools":[],"ttlMs":2000,"cacheScope":"public"}`,
	}
	calls := 0
	answers := map[string]string{"initialize": `{"jsonrpc":"2.0","id":ID,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}`}
	front := httptest.NewServer(canned(t, answers, func(text string) {
		if strings.Contains(text, "tools/list") {
			answers["tools/list"] = `{"jsonrpc":"2.0","id":ID,"result":` + pages[calls] + `}`
			calls++
		}
	}))
	t.Cleanup(front.Close)
	conn, err := Dial(t.Context(), Options{Name: "x", Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: front.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, conn)
	if list, err := conn.List(t.Context(), "tools/list"); err != nil || list.TTL != 500*time.Millisecond || list.Public || calls != 3 {
		t.Errorf("got %+v, %v after %d pages", list, err, calls)
	}
}

func TestOnlyListsAreListed(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
	if _, err := d.List(t.Context(), "tools/call"); jackfield.CodeOf(err) != jackfield.Invalid {
		t.Errorf("got %v", err)
	}
}
