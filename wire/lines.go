package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// DefaultMaxMessage is how many bytes one message of a stream may have when
// nothing else is asked for.
const DefaultMaxMessage = 16 << 20

// ErrTooLarge matches every error that says that something was longer than its
// limit; the error itself names the limit.
var ErrTooLarge = errors.New("too large")

func tooLarge(what string, limit int) error {
	return fmt.Errorf("%w: %s longer than %d bytes", ErrTooLarge, what, limit)
}

// LineReader cuts a stream into lines, one message a line, as the stdio
// transport has them (MCP, transports, stdio).
type LineReader struct{ lines lines }

// NewLineReader reads lines of at most maxLine bytes from r; zero or less means
// DefaultMaxMessage.
func NewLineReader(r io.Reader, maxLine int) *LineReader {
	return &LineReader{newLines(r, maxLine, false)}
}

// Next returns the next line that is not blank, without its line end, which is
// LF or CRLF. It is valid until the next call. A last line that lacks its line
// end counts. An error that matches ErrTooLarge says that one line was dropped;
// the call after it goes on behind that line. Every other error is final, and
// io.EOF is the end of the stream.
func (r *LineReader) Next() ([]byte, error) {
	for {
		line, err := r.lines.next()
		if line = bytes.TrimSuffix(line, []byte{'\r'}); len(line) > 0 {
			return line, nil // an err comes again
		}
		if err != nil {
			return nil, err
		}
	}
}

// lines is the buffer under both stream readers. It hands out one line at a
// time and never holds much more than the longest line allowed.
type lines struct {
	r   io.Reader
	max int
	cr  bool // a CR by itself ends a line too

	buf        []byte
	start, end int   // buf[start:end] is read and not handed out yet
	seen       int   // that many bytes behind start hold no line end
	skipLF     bool  // the last line ended with CR: an LF that follows belongs to it
	dropping   bool  // inside a line that was too long
	err        error // from r; final
}

const (
	firstBuffer = 4 << 10
	keptBuffer  = 64 << 10 // a larger one is not kept for the next line
)

func newLines(r io.Reader, limit int, cr bool) lines {
	if limit <= 0 {
		limit = DefaultMaxMessage
	}
	return lines{r: r, max: limit, cr: cr}
}

// next returns the next line, valid until the next call. With a final error it
// returns the rest of the stream, which had no line end.
func (l *lines) next() ([]byte, error) {
	for {
		if l.skipLF && l.start < l.end {
			if l.buf[l.start] == '\n' {
				l.start++
			}
			l.skipLF = false
		}
		unread := l.buf[l.start:l.end]
		if n := l.lineEnd(unread[l.seen:]); n >= 0 {
			line := unread[:l.seen+n]
			l.skipLF = unread[len(line)] == '\r'
			l.start += len(line) + 1
			l.seen = 0
			switch {
			case l.dropping:
				l.dropping = false
				continue
			case len(line) > l.max:
				return nil, tooLarge("a line", l.max)
			}
			return line, nil
		}
		if l.seen = len(unread); l.seen > l.max || l.dropping {
			l.start, l.end, l.seen = 0, 0, 0
			if !l.dropping {
				l.dropping = true
				return nil, tooLarge("a line", l.max)
			}
		}
		if l.err != nil {
			rest := l.buf[l.start:l.end]
			l.start, l.end, l.seen = 0, 0, 0
			return rest, l.err
		}
		l.fill()
	}
}

// lineEnd finds the first line end in b; -1 when there is none.
func (l *lines) lineEnd(b []byte) int {
	n := bytes.IndexByte(b, '\n')
	if !l.cr {
		return n
	}
	if n >= 0 {
		b = b[:n]
	}
	if cr := bytes.IndexByte(b, '\r'); cr >= 0 {
		return cr
	}
	return n
}

// fill makes room and reads once.
func (l *lines) fill() {
	if l.start == l.end {
		l.start, l.end = 0, 0
		if len(l.buf) > keptBuffer {
			l.buf = nil // one big message must not pin its memory for as long as the stream lives
		}
	}
	if l.end == len(l.buf) {
		room := l.buf
		if l.start < len(l.buf)/2+1 { // moving down would not give much room
			room = make([]byte, max(firstBuffer, min(2*len(l.buf), l.max+firstBuffer)))
		}
		l.end = copy(room, l.buf[l.start:l.end])
		l.start, l.buf = 0, room
	}
	for range 100 {
		n, err := l.r.Read(l.buf[l.end:])
		l.end += n
		l.err = err
		if n > 0 || err != nil {
			return
		}
	}
	l.err = io.ErrNoProgress
}
