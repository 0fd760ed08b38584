package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// ways to deliver a stream in pieces.
var ways = map[string]func(string) io.Reader{
	"at once":        func(s string) io.Reader { return strings.NewReader(s) },
	"byte by byte":   func(s string) io.Reader { return iotest.OneByteReader(strings.NewReader(s)) },
	"half by half":   func(s string) io.Reader { return iotest.HalfReader(strings.NewReader(s)) },
	"end with bytes": func(s string) io.Reader { return iotest.DataErrReader(strings.NewReader(s)) },
}

func readEvents(r *EventReader) ([]Event, error) {
	var all []Event
	for {
		ev, err := r.Next()
		if err != nil {
			return all, err
		}
		ev.Data = bytes.Clone(ev.Data)
		all = append(all, ev)
	}
}

func TestEventReaderFollowsTheRulesOfEventStreams(t *testing.T) {
	data := func(s string) Event { return Event{Data: []byte(s)} }
	for _, c := range []struct {
		name, in string
		want     []Event
		end      error
	}{
		{"nothing", "", nil, io.EOF},
		{"one event", "data: x\n\n", []Event{data("x")}, io.EOF},
		{"CR", "data: x\r\rdata: y\r\r", []Event{data("x"), data("y")}, io.EOF},
		{"CRLF", "data: x\r\n\r\ndata: y\r\n\r\n", []Event{data("x"), data("y")}, io.EOF},
		{"all line ends in one stream", "data: a\rdata: b\ndata: c\r\n\rdata: d\n\r\n", []Event{data("a\nb\nc"), data("d")}, io.EOF},
		{"byte order mark", "\uFEFFdata: x\n\n\uFEFFdata: y\n\n", []Event{data("x")}, io.EOF},
		{"comments", ": hello\n\n:\n\ndata: x\n: in between\ndata: y\n\n", []Event{data("x\ny")}, io.EOF},
		{"one space is taken off", "data:x\n\ndata:  x\n\ndata: \n\n", []Event{data("x"), data(" x"), data("")}, io.EOF},
		{"no colon", "data\n\ndata\ndata\n\n", []Event{data(""), data("\n")}, io.EOF},
		{"name", "event: endpoint\ndata: /messages\n\ndata: x\n\n", []Event{{Name: "endpoint", Data: []byte("/messages")}, data("x")}, io.EOF},
		{"name without data", "event: ping\n\ndata: x\n\n", []Event{data("x")}, io.EOF},
		{"unknown fields", "foo: bar\ndata: x\nData: y\n data: z\n\n", []Event{data("x")}, io.EOF},
		{"the last id stays", "id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", []Event{{ID: "1", Data: []byte("a")}, {ID: "1", Data: []byte("b")}, data("c")}, io.EOF},
		{"an id with NUL is ignored", "id: 1\ndata: a\n\nid: 2\x00\ndata: b\n\n", []Event{{ID: "1", Data: []byte("a")}, {ID: "1", Data: []byte("b")}}, io.EOF},
		{"priming, empty data", "id: 7\nretry: 250\ndata:\n\n", []Event{{ID: "7", Retry: 250 * time.Millisecond, Data: []byte{}}}, io.EOF},
		{"priming, no data", "id: 7\n\nretry: 10\n\n", []Event{{ID: "7"}, {ID: "7", Retry: 10 * time.Millisecond}}, io.EOF},
		{"no data after data", "data: x\n\nid: 7\n\n", []Event{data("x"), {ID: "7"}}, io.EOF},
		{"retry that is no number", "retry: 1s\nretry: -1\nretry:\nretry: 99999999999\ndata: x\n\n", []Event{data("x")}, io.EOF},
		{"end inside an event", "data: x\n\ndata: y\n", []Event{data("x")}, io.ErrUnexpectedEOF},
		{"end inside a line", "data: x\n\ndata: y", []Event{data("x")}, io.ErrUnexpectedEOF},
		{"end behind a comment", "data: x\n\n: bye\n", []Event{data("x")}, io.EOF},
		{"colons in the data", "data: {\"a\":\"b\"}\n\n", []Event{data(`{"a":"b"}`)}, io.EOF},
	} {
		for way, deliver := range ways {
			t.Run(c.name+", "+way, func(t *testing.T) {
				r := NewEventReader(deliver(c.in), 0)
				got, err := readEvents(r)
				if !reflect.DeepEqual(got, c.want) || !errors.Is(err, c.end) {
					t.Errorf("got %q, %v\nwant %q, %v", got, err, c.want, c.end)
				}
				if _, again := r.Next(); !errors.Is(again, c.end) {
					t.Errorf("then %v", again)
				}
			})
		}
	}
}

func TestAnEventIsDeliveredBeforeAnythingFollowsIt(t *testing.T) {
	for _, in := range []string{"data: x\n\n", "data: x\r\r", "data: x\r\n\r\n"} {
		pr, pw := io.Pipe()
		go func() { _, _ = io.WriteString(pw, in) }() // and the stream stays open
		ev, err := NewEventReader(pr, 0).Next()
		if err != nil || string(ev.Data) != "x" {
			t.Errorf("%q: %q, %v", in, ev.Data, err)
		}
		if err := pw.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAnEventBeyondItsLimitEndsTheStreamAndNamesTheLimit(t *testing.T) {
	fits := "data: " + strings.Repeat("x", 94) + "\n\n"
	for name, in := range map[string]string{
		"one line":   fits + "data: " + strings.Repeat("x", 95) + "\n\ndata: y\n\n",
		"many lines": fits + strings.Repeat("data: 123456789\n", 11) + "\ndata: y\n\n",
		"a comment":  fits + ":" + strings.Repeat("x", 1000),
	} {
		for way, deliver := range ways {
			r := NewEventReader(deliver(in), 100)
			got, err := readEvents(r)
			if len(got) != 1 || !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "100 bytes") {
				t.Errorf("%s, %s: %d events, %v", name, way, len(got), err)
			}
			if _, again := r.Next(); !errors.Is(again, ErrTooLarge) {
				t.Errorf("%s, %s: then %v", name, way, again)
			}
		}
	}
	_, err := NewEventReader(strings.NewReader("id: "+strings.Repeat("i", maxEventID+1)+"\n\n"), 0).Next()
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("an endless id: %v", err)
	}
}

func TestABigEventDoesNotPinItsMemory(t *testing.T) {
	big := AppendEvent(nil, Event{Data: bytes.Repeat([]byte("x"), 1<<20)})
	r := NewEventReader(io.MultiReader(bytes.NewReader(big), strings.NewReader("data: a\n\ndata: b\n\n")), 0)
	for range 3 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if cap(r.data) > keptBuffer || len(r.lines.buf) > keptBuffer {
		t.Errorf("%d and %d bytes are kept", cap(r.data), len(r.lines.buf))
	}
}

func TestAppendEventCannotBeBrokenOutOf(t *testing.T) {
	for _, c := range []struct {
		ev   Event
		want string
	}{
		{Event{}, "\n"},
		{Event{Data: []byte{}}, "data: \n\n"},
		{Event{ID: "1", Name: "message", Retry: 1500 * time.Millisecond, Data: []byte(`{}`)}, "id: 1\nevent: message\nretry: 1500\ndata: {}\n\n"},
		{Event{ID: "1\n\ndata: evil\x00", Data: []byte("a\n\nb\rc\r\nd\n")}, "id: 1data: evil\ndata: a\ndata: \ndata: b\ndata: c\ndata: d\ndata: \n\n"},
		{Event{Name: "a\rdata: b"}, "event: adata: b\n\n"},
	} {
		if got := string(AppendEvent(nil, c.ev)); got != c.want {
			t.Errorf("%q: got %q, want %q", c.ev, got, c.want)
		}
	}
	if got := string(AppendComment(nil, "still\nhere")); got != ": stillhere\n\n" {
		t.Errorf("%q", got)
	}
}

// plainEvents reads an event stream the way the specification words it.
func plainEvents(s string) (all []Event) {
	s = strings.TrimPrefix(s, "\uFEFF")
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	lines := strings.Split(s, "\n")
	var data, name, id string
	var retry time.Duration
	told := false
	for _, line := range lines[:len(lines)-1] { // the last one has no line end
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if data != "" || told {
				ev := Event{ID: id, Name: name, Retry: retry}
				if data != "" {
					ev.Data = []byte(strings.TrimSuffix(data, "\n"))
				}
				all = append(all, ev)
			}
			data, name, retry, told = "", "", 0, false
		case field == "data":
			data += value + "\n"
		case field == "event":
			name = value
		case field == "id" && !strings.Contains(value, "\x00"):
			id, told = value, true
		case field == "retry":
			var n uint32
			if _, err := fmt.Sscanf(value+"$", "%d$", &n); err == nil && strings.Trim(value, "0123456789") == "" {
				retry, told = time.Duration(n)*time.Millisecond, true
			}
		}
	}
	return all
}

func FuzzEventReader(f *testing.F) {
	for _, s := range []string{
		"data: x\n\n", "\uFEFFid: 1\r\ndata: a\rdata: b\n\n", "retry: 10\n\nid\n\n:c\n\nevent: e\n\n", "id: a\x00b\ndata\n\n", "data: x",
		"event: a\nevent: b\ndata:  y\n\r\r\n", "retry: 4294967296\nretry: 00001\n\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := plainEvents(s)
		for way, deliver := range ways {
			got, err := readEvents(NewEventReader(deliver(s), 1<<20))
			if !reflect.DeepEqual(got, want) || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%s: got %q, %v\nwant %q", way, got, err, want)
			}
			_, _ = readEvents(NewEventReader(deliver(s), 8)) // must end
		}
		// What we write is read as one event, whatever is in it.
		wrote := Event{ID: s, Name: s, Data: []byte(s), Retry: 5 * time.Millisecond}
		got, err := readEvents(NewEventReader(bytes.NewReader(AppendComment(AppendEvent(nil, wrote), s)), 1<<20))
		if len(s) > maxEventID {
			return
		}
		clean := strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(s)
		lf := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
		if !errors.Is(err, io.EOF) || len(got) != 1 || got[0].ID != clean || got[0].Name != clean || string(got[0].Data) != lf {
			t.Fatalf("%q was read as %q, %v", wrote, got, err)
		}
	})
}

func TestLineReaderGivesOneMessageALine(t *testing.T) {
	for way, deliver := range ways {
		r := NewLineReader(deliver("{\"a\":1}\r\n\n\r\n  {} \n[\r]\nlast"), 0)
		for _, want := range []string{`{"a":1}`, "  {} ", "[\r]", "last"} {
			if got, err := r.Next(); err != nil || string(got) != want {
				t.Errorf("%s: %q, %v; want %q", way, got, err, want)
			}
		}
		for range 2 {
			if got, err := r.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("%s: %q, %v at the end", way, got, err)
			}
		}
	}
}

func TestAnOverlongLineIsDroppedAndTheNextOneIsRead(t *testing.T) {
	long := strings.Repeat("x", 10000)
	for way, deliver := range ways {
		r := NewLineReader(deliver("0123456789\n"+long+"\nb\n0123456789x\nc\n"+long), 10)
		for _, want := range []string{"0123456789", "", "b", "", "c", ""} {
			got, err := r.Next()
			if want == "" {
				if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "10 bytes") || got != nil {
					t.Errorf("%s: %q, %v for a line that is too long", way, got, err)
				}
			} else if err != nil || string(got) != want {
				t.Errorf("%s: %q, %v; want %q", way, got, err, want)
			}
		}
		if got, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %q, %v at the end", way, got, err)
		}
	}
}

func TestAnEndlessLineIsReportedAtOnceAndNeverKept(t *testing.T) {
	endless := readerFunc(func(p []byte) (int, error) { return copy(p, "xxxxxxxxxxxxxxxx"), nil })
	r := NewLineReader(endless, 1000)
	if _, err := r.Next(); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	if len(r.lines.buf) > 1000+firstBuffer {
		t.Errorf("%d bytes are kept", len(r.lines.buf))
	}
}

func TestAReaderThatFailsOrStandsStillIsReported(t *testing.T) {
	broken := errors.New("broken")
	r := NewLineReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)), 0)
	for _, want := range []string{"a", "b"} {
		if got, err := r.Next(); err != nil || string(got) != want {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if _, err := r.Next(); !errors.Is(err, broken) {
		t.Error(err)
	}
	stuck := readerFunc(func([]byte) (int, error) { return 0, nil })
	if _, err := NewLineReader(stuck, 0).Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
	if _, err := NewEventReader(stuck, 0).Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func FuzzLineReader(f *testing.F) {
	for _, s := range []string{"a\nb\n", "a\r\n\r\n\n", "no end", "0123456789\n\nx", "\r\r\n"} {
		f.Add(s, 5)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(1, limit&0xFF)
		type read struct {
			line string
			long bool
		}
		var want []read
		for line := range strings.SplitSeq(s, "\n") {
			switch bare := strings.TrimSuffix(line, "\r"); {
			case len(line) > limit:
				want = append(want, read{"", true})
			case bare != "":
				want = append(want, read{bare, false})
			}
		}
		for way, deliver := range ways {
			var got []read
			r := NewLineReader(deliver(s), limit)
			for {
				line, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil && !errors.Is(err, ErrTooLarge) {
					t.Fatal(err)
				}
				got = append(got, read{string(line), err != nil})
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s, at most %d: got %v\nwant %v", way, limit, got, want)
			}
		}
	})
}
