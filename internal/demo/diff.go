package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

type diffIn struct {
	Before string `json:"before"`
	After  string `json:"after"`
}

type diffOut struct {
	Diff    string `json:"diff" jsonschema:"in unified format; empty when the texts are the same"`
	Added   int    `json:"added" jsonschema:"lines that only after has"`
	Removed int    `json:"removed" jsonschema:"lines that only before has"`
}

const (
	maxDiffLines = 2000 // lines that differ, on either side: the table has their product
	diffContext  = 3    // lines shown around a difference
)

func diffTexts(_ context.Context, _ *call, in diffIn) (reply[diffOut], error) {
	if err := checkText(in.Before, in.After); err != nil {
		return reply[diffOut]{}, err
	}
	edits, err := diffLines(splitLines(in.Before), splitLines(in.After))
	if err != nil {
		return reply[diffOut]{}, err
	}
	out := diffOut{Diff: unified(edits)}
	for _, e := range edits {
		switch e.op {
		case '+':
			out.Added++
		case '-':
			out.Removed++
		}
	}
	text := out.Diff
	if text == "" {
		text = "the texts are the same"
	}
	return reply[diffOut]{text: text, data: out}, nil
}

// edit is one line of a comparison: kept, removed or added.
type edit struct {
	op   byte // ' ', '-' or '+'
	line string
}

// diffLines compares two texts by their longest common subsequence of lines.
func diffLines(a, b []string) ([]edit, error) {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	x, y := a[head:len(a)-tail], b[head:len(b)-tail]
	if len(x) > maxDiffLines || len(y) > maxDiffLines {
		return nil, fmt.Errorf("the texts differ in too many lines (%d and %d): at most %d can be compared", len(x), len(y), maxDiffLines)
	}
	// common[i*w+j] is the length of the longest common subsequence of x[i:], y[j:].
	w := len(y) + 1
	common := make([]uint16, (len(x)+1)*w)
	for i, before := range slices.Backward(x) {
		for j, after := range slices.Backward(y) {
			if before == after {
				common[i*w+j] = common[(i+1)*w+j+1] + 1
			} else {
				common[i*w+j] = max(common[(i+1)*w+j], common[i*w+j+1])
			}
		}
	}
	edits := make([]edit, 0, len(a)+len(b))
	for _, l := range a[:head] {
		edits = append(edits, edit{' ', l})
	}
	i, j := 0, 0
	for i < len(x) || j < len(y) {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			edits = append(edits, edit{' ', x[i]})
			i, j = i+1, j+1
		case j == len(y) || i < len(x) && common[(i+1)*w+j] >= common[i*w+j+1]:
			edits = append(edits, edit{'-', x[i]})
			i++
		default:
			edits = append(edits, edit{'+', y[j]})
			j++
		}
	}
	for _, l := range a[len(a)-tail:] {
		edits = append(edits, edit{' ', l})
	}
	return edits, nil
}

// unified writes the edits as hunks of a unified diff.
func unified(edits []edit) string {
	var s strings.Builder
	oldLine, newLine := 1, 1
	for i := 0; i < len(edits); {
		if edits[i].op == ' ' {
			if !changeAhead(edits[i:]) {
				i, oldLine, newLine = i+1, oldLine+1, newLine+1
				continue
			}
		}
		end := hunkEnd(edits, i)
		olds, news := 0, 0
		for _, e := range edits[i:end] {
			if e.op != '+' {
				olds++
			}
			if e.op != '-' {
				news++
			}
		}
		fmt.Fprintf(&s, "@@ -%s +%s @@\n", span(oldLine, olds), span(newLine, news))
		for _, e := range edits[i:end] {
			fmt.Fprintf(&s, "%c%s\n", e.op, e.line)
		}
		i, oldLine, newLine = end, oldLine+olds, newLine+news
	}
	return s.String()
}

// span is one side of a hunk's head; an empty side names the line before it.
func span(line, n int) string {
	switch n {
	case 0:
		return fmt.Sprintf("%d,0", line-1)
	case 1:
		return fmt.Sprint(line)
	}
	return fmt.Sprintf("%d,%d", line, n)
}

// changeAhead reports whether a change follows within the context.
func changeAhead(edits []edit) bool {
	for _, e := range edits[:min(len(edits), diffContext+1)] {
		if e.op != ' ' {
			return true
		}
	}
	return false
}

// hunkEnd is the index behind the hunk that begins at i: changes that are apart
// by no more than twice the context share a hunk.
func hunkEnd(edits []edit, i int) int {
	last := i // index behind the last change
	for j := i; j < len(edits) && j-last <= 2*diffContext; j++ {
		if edits[j].op != ' ' {
			last = j + 1
		}
	}
	return min(len(edits), last+diffContext)
}
