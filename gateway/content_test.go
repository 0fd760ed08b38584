package gateway

import (
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

const (
	linkBlock  = `{"type":"resource_link","uri":"file:///a","name":"a","description":"the first"}`
	audioBlock = `{"type":"audio","data":"QUJDREVG","mimeType":"audio/wav"}`
	plainBlock = `{"type":"text","text":"plain \"resource_link\" and \"audio\"","annotations":{"priority":1.0}}`
)

func TestContentThatARevisionLacksIsToldInWords(t *testing.T) {
	const (
		link  = `{"type":"text","text":"a: the first: file:///a"}`
		audio = `{"type":"text","text":"(audio, audio/wav, 6 bytes; protocol 2024-11-05 has no way to show it)"}`
	)
	all := `{"content":[` + linkBlock + `,` + audioBlock + `, ` + plainBlock + `],"_meta":{"n":9007199254740993}}`
	with := func(l, a string) string {
		return `{"content":[` + l + `,` + a + `,` + plainBlock + `],"_meta":{"n":9007199254740993}}`
	}
	for _, c := range []struct{ version, method, raw, want string }{
		{exchange.V20251125, "tools/call", all, all},
		{exchange.V20250618, "tools/call", all, all},
		{exchange.V20250326, "tools/call", all, with(link, audioBlock)},
		{exchange.V20241105, "tools/call", all, with(link, audio)},
		{
			exchange.V20241105, "prompts/get", `{"messages":[{"role":"user","content":` + linkBlock + `},{"role":"user","content":` + audioBlock + `}]}`,
			`{"messages":[{"role":"user","content":` + link + `},{"role":"user","content":` + audio + `}]}`,
		},
		{exchange.V20241105, "tools/call", `{"content":[` + plainBlock + `, 7]}`, `{"content":[` + plainBlock + `, 7]}`},
		{exchange.V20241105, "resources/read", `{"contents":[` + audioBlock + `]}`, `{"contents":[` + audioBlock + `]}`},
		{exchange.V20241105, "tools/call", `{"content":[{"type":"resource_link"}]}`, `{"content":[{"type":"text","text":""}]}`},
	} {
		got, err := converted(c.version, c.method, exchange.Result{}, wire.Raw(c.raw))
		if err != nil || string(got) != c.want {
			t.Errorf("%s %s: %s %v\nwant %s", c.version, c.method, got, err, c.want)
		}
	}
}

func TestStructuredContentOfOlderClientsIsAnObject(t *testing.T) {
	for raw, want := range map[string]string{
		`{"content":[],"structuredContent":{"a":1}}`:                               `{"content":[],"structuredContent":{"a":1}}`,
		`{"content":[ ],"structuredContent":[1,2]}`:                                `{"content":[{"type":"text","text":"[1,2]"}]}`,
		`{"structuredContent":"x"}`:                                                `{"content":[{"type":"text","text":"\"x\""}]}`,
		`{"content":[{"type":"text","text":"[1,2]"}],"structuredContent":[1,2]}`:   `{"content":[{"type":"text","text":"[1,2]"}]}`,
		`{"content":[{"type":"text","text":"\"structuredContent\""}],"other":[1]}`: `{"content":[{"type":"text","text":"\"structuredContent\""}],"other":[1]}`,
	} {
		got, err := converted(exchange.V20251125, "tools/call", exchange.Result{Modern: true}, wire.Raw(raw))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s %v\nwant %s", raw, got, err, want)
		}
	}
}

func TestConvertingCostsNothingWhereThereIsNothingToConvert(t *testing.T) {
	raw := wire.Raw(`{"content":[{"type":"text","text":"` + strings.Repeat("x", 10_000) + `"}]}`)
	if n := testing.AllocsPerRun(10, func() { _, _ = converted(exchange.V20241105, "tools/call", exchange.Result{Modern: true}, raw) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzConverted rewrites arbitrary results: what it gives is valid, and nothing of
// what the revision lacks is left in it.
func FuzzConverted(f *testing.F) {
	f.Add([]byte(`{"content":[` + linkBlock + `,` + audioBlock + `],"structuredContent":[]}`))
	f.Add([]byte(`{"messages":[{"role":"user","content":` + audioBlock + `}]}`))
	f.Add([]byte(`{"content":{"audio":"audio"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := wire.ScanObject(b, nil); err != nil {
			return
		}
		for _, method := range []string{"tools/call", "prompts/get"} {
			got, err := converted(exchange.V20241105, method, exchange.Result{Modern: true}, b)
			if err != nil {
				continue
			}
			if _, err := wire.ScanObject(got, nil); err != nil {
				t.Errorf("%s became %s: %v", b, got, err)
			}
			if again, err := converted(exchange.V20241105, method, exchange.Result{Modern: true}, got); err != nil || string(again) != string(got) {
				t.Errorf("%s became %s, and that %s, %v", b, got, again, err)
			}
		}
	})
}
