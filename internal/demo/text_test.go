package demo

import (
	"strings"
	"testing"
	"time"
)

func TestDiffsCountLinesAsPatchDoes(t *testing.T) {
	lines := func(n int, changed ...int) string {
		var s strings.Builder
		for i := range n {
			mark := ""
			for _, c := range changed {
				if c == i {
					mark = "!"
				}
			}
			s.WriteString(string(rune('a'+i)) + mark + "\n")
		}
		return s.String()
	}
	for _, c := range []struct{ name, before, after, want string }{
		{"from nothing", "", "a\n", "@@ -0,0 +1 @@\n+a\n"},
		{"to nothing", "a\n", "", "@@ -1 +0,0 @@\n-a\n"},
		{"in the middle", lines(9), lines(9, 4), "@@ -2,7 +2,7 @@\n b\n c\n d\n-e\n+e!\n f\n g\n h\n"},
		{"two hunks", lines(12), lines(12, 0, 11), "@@ -1,4 +1,4 @@\n-a\n+a!\n b\n c\n d\n@@ -9,4 +9,4 @@\n i\n j\n k\n-l\n+l!\n"},
		{"one hunk for neighbours", lines(8), lines(8, 0, 7), "@@ -1,8 +1,8 @@\n-a\n+a!\n b\n c\n d\n e\n f\n g\n-h\n+h!\n"},
	} {
		edits, err := diffLines(splitLines(c.before), splitLines(c.after))
		if got := unified(edits); err != nil || got != c.want {
			t.Errorf("%s: got\n%swant\n%s%v", c.name, got, c.want, err)
		}
	}
}

func FuzzADiffLeadsFromBeforeToAfter(f *testing.F) {
	f.Add("a\nb\nc", "a\nc\nd")
	f.Add("", "x")
	f.Add("a\na\na", "a\na")
	f.Fuzz(func(t *testing.T, before, after string) {
		a, b := splitLines(before), splitLines(after)
		if len(a) > 200 || len(b) > 200 {
			return
		}
		edits, err := diffLines(a, b)
		if err != nil {
			t.Fatal(err)
		}
		var from, to []string
		for _, e := range edits {
			if e.op != '+' {
				from = append(from, e.line)
			}
			if e.op != '-' {
				to = append(to, e.line)
			}
		}
		if strings.Join(from, "\n") != strings.Join(a, "\n") || strings.Join(to, "\n") != strings.Join(b, "\n") {
			t.Fatalf("%q and %q became %v", before, after, edits)
		}
		if (unified(edits) == "") != (strings.Join(a, "\n") == strings.Join(b, "\n") && len(a) == len(b)) {
			t.Fatalf("%q and %q: %q", before, after, unified(edits))
		}
	})
}

func FuzzMomentsCanBeToldAndReadAgain(f *testing.F) {
	for _, s := range []string{"now", "2026-03-01T15:04:05Z", "2026-03-01 15:04", "15:04", "1700000000", "-1", "Mon, 02 Jan 2006 15:04:05 MST", "9999-12-31", ""} {
		f.Add(s, "Europe/Berlin")
	}
	f.Fuzz(func(t *testing.T, text, zone string) {
		m, err := parseMoment(text, zone)
		if err != nil {
			return
		}
		told := tell(m)
		again, err := time.Parse(time.RFC3339, told.Time)
		if err != nil || again.Unix() != told.Unix {
			t.Fatalf("%q became %v: %v", text, told, err)
		}
	})
}
