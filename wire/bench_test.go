package wire

import (
	"strconv"
	"strings"
	"testing"
)

// request is a tools/call of about n bytes: a long text, as tools are given, and
// some structure.
func request(n int) string {
	head := `{"jsonrpc":"2.0","id":12345,"method":"tools/call","params":{`
	if n <= 64 {
		return head + `}}`
	}
	text := strings.Repeat(`A line of text, as models write them.\n`, (n-300)/39)
	return head + `"name":"echo","arguments":{"path":"/tmp/x","limit":100,"flags":[true,false,null],"options":{"a":1,"b":2.5}` +
		`,"text":"` + text + `"},"_meta":{"progressToken":7,"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`
}

func BenchmarkParse(b *testing.B) {
	for _, size := range []int{64, 2 << 10, 64 << 10} {
		text := []byte(request(size))
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkScanObject(b *testing.B) {
	keys := []string{"name", "uri", "ref", "cursor", "_meta", "inputResponses", "requestState", "level", "taskId"}
	for _, size := range []int{2 << 10, 64 << 10} {
		m, err := Parse([]byte(request(size)))
		if err != nil {
			b.Fatal(err)
		}
		var out []byte
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(m.Params)))
			for b.Loop() {
				if _, err := ScanObject(m.Params, keys); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(strconv.Itoa(size)+"/edit", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(m.Params)))
			for b.Loop() {
				o, err := ScanObject(m.Params, keys)
				if err != nil {
					b.Fatal(err)
				}
				o.Set("_meta", Raw(`{}`))
				out = o.AppendTo(out[:0])
			}
		})
	}
}

func BenchmarkDigestObject(b *testing.B) {
	m, err := Parse([]byte(request(2 << 10)))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DigestObject(m.Params, "_meta"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEventReader(b *testing.B) {
	stream := strings.Repeat(string(AppendEvent(nil, Event{ID: "1", Data: []byte(request(2 << 10))})), 100)
	b.ReportAllocs()
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		r := NewEventReader(strings.NewReader(stream), 0)
		for range 100 {
			if _, err := r.Next(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
