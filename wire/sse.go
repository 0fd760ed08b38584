package wire

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// Event is one event of an event stream (WHATWG HTML, server-sent events).
type Event struct {
	// ID is, when read, the last event id that the stream has named, in this
	// event or before it: what Last-Event-ID asks for to resume behind it. When
	// written it is this event's own id; empty: none.
	ID   string
	Name string // the event field; empty means "message"
	// Data is the event's data, lines joined by LF. Nil means that the event has
	// no data field at all, and empty that it has an empty one.
	Data  []byte
	Retry time.Duration // how long to wait before reconnecting, in whole milliseconds; zero: not said
}

// maxEventID is how many bytes of event id are kept: it is sent back as a
// header.
const maxEventID = 4 << 10

// EventReader reads an event stream. It may not be used concurrently.
type EventReader struct {
	lines lines
	begun bool
	id    string
	data  []byte
}

// NewEventReader reads events of at most maxEvent bytes of data from r; zero or
// less means DefaultMaxMessage.
func NewEventReader(r io.Reader, maxEvent int) *EventReader {
	return &EventReader{lines: newLines(r, maxEvent, true)}
}

// Next returns the next event. Its Data is valid until the next call. Other than
// a browser does, it also returns events without data when they name an id or a
// retry: MCP servers begin a stream with such a one (2025-11-25, SEP-1699).
//
// Every error is final: io.EOF is the end of the stream, io.ErrUnexpectedEOF its
// end inside an event, which is dropped, and one that matches ErrTooLarge says
// which limit an event exceeded.
func (r *EventReader) Next() (Event, error) {
	var ev Event
	if r.data = r.data[:0]; cap(r.data) > keptBuffer {
		r.data = nil
	}
	begun, told := false, false // it has data; it has an id or a retry
	for {
		line, err := r.line()
		switch {
		case err != nil:
			if errors.Is(err, io.EOF) && (begun || len(line) > 0) {
				err = io.ErrUnexpectedEOF
			}
			r.lines.err = err
			return Event{}, err
		case len(line) == 0 && (begun || told):
			ev.ID = r.id
			if begun {
				ev.Data = r.data
			}
			return ev, nil
		case len(line) == 0:
			ev = Event{}
			continue
		case line[0] == ':': // a comment
			continue
		}
		field, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch string(field) {
		case "data":
			if begun {
				r.data = append(r.data, '\n')
			} else if begun = true; r.data == nil {
				r.data = make([]byte, 0, len(value))
			}
			if r.data = append(r.data, value...); len(r.data) > r.lines.max {
				return Event{}, r.fail(tooLarge("an event", r.lines.max))
			}
		case "event":
			ev.Name = string(value)
		case "id":
			if len(value) > maxEventID {
				return Event{}, r.fail(tooLarge("an event id", maxEventID))
			}
			if bytes.IndexByte(value, 0) < 0 {
				r.id, told = string(value), true
			}
		case "retry":
			if d, ok := milliseconds(value); ok {
				ev.Retry, told = d, true
			}
		}
	}
}

// line returns the next line, without the byte order mark that a stream may
// begin with.
func (r *EventReader) line() ([]byte, error) {
	line, err := r.lines.next()
	if errors.Is(err, ErrTooLarge) {
		err = r.fail(err)
	}
	if !r.begun {
		r.begun = true
		line = bytes.TrimPrefix(line, []byte("\uFEFF"))
	}
	return line, err
}

// fail makes err the answer to every further call.
func (r *EventReader) fail(err error) error {
	r.lines = lines{max: r.lines.max, err: err}
	return err
}

// milliseconds reads the value of a retry field: digits and nothing else.
func milliseconds(value []byte) (time.Duration, bool) {
	for _, c := range value {
		if !isDigit(c) {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(string(value), 10, 32)
	return time.Duration(n) * time.Millisecond, err == nil
}

// AppendEvent appends an event with the blank line that ends it. Line ends in
// Data, CR and CRLF included, become LF; in ID and Name they, and NUL, are left
// out, so that nothing in an event can begin another one.
func AppendEvent(dst []byte, ev Event) []byte {
	if ev.ID != "" {
		dst = appendField(dst, "id: ", ev.ID)
	}
	if ev.Name != "" {
		dst = appendField(dst, "event: ", ev.Name)
	}
	if ev.Retry > 0 {
		dst = append(dst, "retry: "...)
		dst = strconv.AppendInt(dst, ev.Retry.Milliseconds(), 10)
		dst = append(dst, '\n')
	}
	for rest, more := ev.Data, ev.Data != nil; more; {
		line, after, found := bytes.Cut(rest, []byte{'\n'})
		if cr := bytes.IndexByte(line, '\r'); cr >= 0 {
			line, after, found = rest[:cr], rest[cr+1:], true
			after = bytes.TrimPrefix(after, []byte{'\n'})
		}
		dst = append(dst, "data: "...)
		dst = append(dst, line...)
		dst = append(dst, '\n')
		rest, more = after, found
	}
	return append(dst, '\n')
}

// AppendComment appends a comment, which readers ignore: it keeps a quiet
// stream alive. Line ends in text are left out.
func AppendComment(dst []byte, text string) []byte {
	return append(appendField(dst, ": ", text), '\n')
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	if strings.ContainsAny(value, "\r\n\x00") {
		value = strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(value)
	}
	dst = append(dst, value...)
	return append(dst, '\n')
}
