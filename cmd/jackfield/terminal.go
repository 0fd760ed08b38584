package main

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	usualWidth = 100 // of a terminal that does not say how wide it is
	leastWidth = 40
)

// terminal reports whether stream is a terminal, and how wide it is.
func terminal(stream any) (width int, yes bool) {
	f, ok := stream.(*os.File)
	if !ok {
		return 0, false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return 0, false
	}
	width, yes = windowWidth(f)
	if columns, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && columns > 0 {
		width = columns
	}
	if width <= 0 {
		width = usualWidth
	}
	return max(width, leastWidth), yes
}

// paint colours text with an ANSI code.
type paint func(code, text string) string

const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func plain(_, text string) string { return text }

func coloured(code, text string) string {
	if text == "" {
		return ""
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// painter colours what goes to stream, when that is a terminal and nobody asked
// for NO_COLOR.
func (s *shell) painter(stream any) paint {
	off, _ := s.env("NO_COLOR")
	if _, yes := s.terminal(stream); !yes || off != "" {
		return plain
	}
	return coloured
}

// printable is text from elsewhere without anything that a terminal would obey;
// newlines and tabs become spaces.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, text)
}

// printableLines is printable, line by line.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = printable(strings.ReplaceAll(strings.TrimSuffix(l, "\r"), "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

// clip is text cut to at most width characters, with an ellipsis where something
// is missing.
func clip(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	if width <= 1 {
		return "…"
	}
	return strings.TrimRight(string([]rune(text)[:width-1]), " ") + "…"
}

// live is one line at the bottom of a terminal that is written again and again.
type live struct {
	shell *shell
	width int // zero: not a terminal, nothing is shown

	mu    sync.Mutex // guards what follows, and keeps what is written whole
	shown bool
	taken bool // there is more to say than that one waits
}

func (s *shell) live() *live {
	width, yes := s.terminal(s.err)
	if !yes {
		width = 0
	}
	return &live{shell: s, width: width}
}

// show replaces the line.
func (l *live) show(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = true
	l.showLocked(text)
}

func (l *live) showLocked(text string) {
	if l.width == 0 {
		return
	}
	_, _ = l.shell.err.Write([]byte("\r\x1b[K" + clip(printable(text), l.width-1)))
	l.shown = true
}

// clear takes the line away.
func (l *live) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = true
	l.clearLocked()
}

const waitsFrom = time.Second // it is said that one waits, and then every second for how long

// wait says, from the first second on, what one waits for and how long already,
// until stop is called or there is something better to say.
func (l *live) wait(what func() string) (stop func()) {
	if l.width == 0 {
		return func() {}
	}
	began := time.Now()
	ticker := time.NewTicker(waitsFrom)
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				l.tick(what() + " … " + duration(time.Since(began)))
			}
		}
	})
	return sync.OnceFunc(func() {
		ticker.Stop()
		close(done)
		ended.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.taken {
			l.clearLocked()
		}
	})
}

// tick shows the text, unless something else was said meanwhile.
func (l *live) tick(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.taken {
		l.showLocked(text)
	}
}

// waiting is wait on a line of its own.
func (s *shell) waiting(what string) (stop func()) {
	return s.live().wait(func() string { return what })
}

func (l *live) clearLocked() {
	if l.shown {
		_, _ = l.shell.err.Write([]byte("\r\x1b[K"))
		l.shown = false
	}
}

// print writes a line that stays, above the live one.
func (l *live) print(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = true
	l.clearLocked()
	_, _ = l.shell.err.Write([]byte(text + "\n"))
}
