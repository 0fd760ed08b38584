package catalog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield/wire"
)

// TestTheBareFormOfAPageLacksWhatOnlyTheNewestRevisionKnows takes it out again
// where the gateway would, on the first page, on one behind a cursor and on the last.
func TestTheBareFormOfAPageLacksWhatOnlyTheNewestRevisionKnows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, Options{Limits: Limits{Items: 2}}, "a")
		w.set("a", func(s *script) {
			for i := range 4 {
				s.names[Tools] = append(s.names[Tools], fmt.Sprint("tool", i))
			}
		})
		v, cursor := w.view("a"), ""
		for pages := 1; ; pages++ {
			for range 2 { // written, and as it was written
				p, err := v.Page(t.Context(), ann, Tools, cursor)
				if err != nil {
					t.Fatal(err)
				}
				o, err := wire.ScanObject(p.Raw, []string{"resultType", "ttlMs", "cacheScope", "nextCursor"})
				if err != nil {
					t.Fatal(err)
				}
				for _, k := range []string{"resultType", "ttlMs", "cacheScope"} {
					if o.Get(k) == nil {
						t.Errorf("%s is missing: %s", k, p.Raw)
					}
					o.Delete(k)
				}
				if got, want := string(p.Bare()), string(o.Raw()); got != want {
					t.Errorf("%s\nwant\n%s", got, want)
				}
			}
			p, _ := v.Page(t.Context(), ann, Tools, cursor)
			o, _ := wire.ScanObject(p.Raw, []string{"nextCursor"})
			if cursor, _ = wire.String(o.Get("nextCursor")); cursor == "" {
				if pages != 3 {
					t.Errorf("%d pages", pages)
				}
				return
			}
		}
	})
}

// A client of an older revision may refuse a whole list for one tool whose results
// are no objects.
func TestTheBareFormHasNoOutputSchemaThatOlderRevisionsForbid(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const plain = `{"outputSchema":{"type":"object"},"name":"plain"}`
		const list, bare = `{"outputSchema":{"type":"array"},"name":"list","x":1}`, `{"name":"list","x":1}`
		w := newWorld(t, Options{}, "a")
		w.set("a", func(s *script) { s.names[Tools], s.raws[Tools] = nil, []wire.Raw{wire.Raw(plain), wire.Raw(list)} })
		for range 2 { // written, and as it was written
			p, err := w.view("a").Page(t.Context(), ann, Tools, "")
			if err != nil {
				t.Fatal(err)
			}
			o, err := wire.ScanObject(p.Raw, []string{"tools"})
			if got, want := string(o.Get("tools")), "["+strings.ReplaceAll(plain+","+list, `"name":"`, `"name":"a__`)+"]"; err != nil || got != want {
				t.Errorf("%s\nwant\n%s, %v", got, want, err)
			}
			if got, want := string(p.Bare()), `{"tools":[`+strings.ReplaceAll(plain+","+bare, `"name":"`, `"name":"a__`)+"]}"; got != want {
				t.Errorf("%s\nwant\n%s", got, want)
			}
		}
	})
}
