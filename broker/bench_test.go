package broker

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackfield-dev/jackfield/catalog"
)

func BenchmarkListTools10(b *testing.B)             { benchmarkList(b, 1, 10) }
func BenchmarkListTools1000(b *testing.B)           { benchmarkList(b, 20, 50) }
func BenchmarkListTools1000Over200(b *testing.B)    { benchmarkList(b, 200, 5) } // as many tools of more servers
func BenchmarkListTools1000Changed(b *testing.B)    { benchmarkChanged(b, 20, 50) }
func BenchmarkListTools1000Changed200(b *testing.B) { benchmarkChanged(b, 200, 5) }

// benchmarkChanged is the list after one server's has changed.
func benchmarkChanged(b *testing.B, servers, tools int) {
	h := manyTools(b, servers, tools)
	r := request(b, "tools/list", "")
	c := user("ann")
	for i := 0; b.Loop(); i++ {
		h.set("s000", func(s *script) { s.lists[catalog.Tools][0] = fmt.Sprint("t", i) })
		h.cat.Invalidate(h.servers()[0], c.Principal.Scope(), "notifications/tools/list_changed")
		if _, err := h.b.Do(context.Background(), c, r, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func manyTools(b *testing.B, servers, tools int) *house {
	var names []string
	for i := range servers {
		names = append(names, fmt.Sprintf("s%03d", i))
	}
	h := newHouse(b, Options{}, names...)
	for _, n := range names {
		h.set(n, func(s *script) {
			s.lists[catalog.Tools] = nil
			for i := range tools {
				s.lists[catalog.Tools] = append(s.lists[catalog.Tools], fmt.Sprintf("tool_number_%03d", i))
			}
		})
	}
	return h
}

func benchmarkList(b *testing.B, servers, tools int) {
	h := manyTools(b, servers, tools)
	r := request(b, "tools/list", "")
	c := user("ann")
	b.ReportAllocs()
	for b.Loop() {
		res, err := h.b.Do(context.Background(), c, r, nil)
		if err != nil || len(res.Raw) < 20*tools {
			b.Fatal(err)
		}
	}
}

func BenchmarkCallTool(b *testing.B) {
	h, c := calledHouse(b, Options{}), user("ann")
	r := request(b, "tools/call", `{"name":"a__echo","arguments":{}}`)
	p := &peer{}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.b.Do(context.Background(), c, r, p); err != nil {
			b.Fatal(err)
		}
	}
}
