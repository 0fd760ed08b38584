package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// table is text in columns. The last column takes what the terminal leaves.
type table struct {
	head []string
	rows [][]cell
	most map[int]int // the most characters of a column, on a terminal
}

// cell is one piece of text with a colour; an empty colour is none.
type cell struct{ text, colour string }

func (t *table) row(cells ...cell) { t.rows = append(t.rows, cells) }

func text(s string) cell { return cell{text: s} }

// print prints t on the shell's output.
func (s *shell) print(t table) { s.printTo(s.out, t) }

// printTo prints t: cut to the width of a terminal, in full to everything else.
func (s *shell) printTo(out io.Writer, t table) {
	width, onTerminal := s.terminal(out)
	colour := s.painter(out)
	widths := make([]int, len(t.head))
	for i, h := range t.head {
		widths[i] = utf8.RuneCountInString(h)
	}
	for _, row := range t.rows {
		for i := range row {
			row[i].text = printable(row[i].text)
			if most := t.most[i]; onTerminal && most > 0 {
				row[i].text = clip(row[i].text, most)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
	}
	last := len(t.head) - 1
	left := width
	for _, w := range widths[:last] {
		left -= w + 2
	}
	line := func(row []cell) {
		var b strings.Builder
		for i, c := range row {
			if i == last && onTerminal {
				c.text = clip(c.text, max(left, 10))
			}
			shown := c.text
			if c.colour != "" {
				shown = colour(c.colour, c.text)
			}
			b.WriteString(shown)
			if i < last {
				b.WriteString(strings.Repeat(" ", widths[i]+2-utf8.RuneCountInString(c.text)))
			}
		}
		fmt.Fprintln(out, strings.TrimRight(b.String(), " "))
	}
	head := make([]cell, len(t.head))
	for i, h := range t.head {
		head[i] = cell{h, dim}
	}
	line(head)
	for _, row := range t.rows {
		line(row)
	}
}
