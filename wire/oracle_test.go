package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

// pair is one member of an object as encoding/json finds it.
type pair struct {
	spelled string // the key between its quotes, as it is written
	key     string
	value   Raw
}

// pairs reads the members of a valid object with encoding/json, in order.
func pairs(t testing.TB, b []byte) []pair {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(b))
	if first, err := dec.Token(); err != nil || first != json.Delim('{') {
		t.Fatalf("not an object: %q", b)
	}
	var all []pair
	for dec.More() {
		from := dec.InputOffset()
		token, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		spelled := strings.Trim(string(b[from:dec.InputOffset()]), ", \t\r\n")
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
		all = append(all, pair{spelled[1 : len(spelled)-1], token.(string), Raw(value)})
	}
	return all
}

// depth is how deep valid JSON nests.
func depth(b []byte) int {
	dec := json.NewDecoder(bytes.NewReader(b))
	deepest, now := 0, 0
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			now++
			deepest = max(deepest, now)
		case json.Delim('}'), json.Delim(']'):
			now--
		}
	}
}

// refusals lists why valid JSON is not accepted as an object whose members keys
// are read: everything that doc.go lists, and nothing else.
func refusals(t testing.TB, b []byte, keys []string) []string {
	t.Helper()
	if depth(b) > MaxDepth {
		return []string{"too deep"}
	}
	if bytes.TrimLeft(b, " \t\r\n")[0] != '{' {
		return []string{"not an object"}
	}
	var why []string
	count := map[string]int{}
	for _, p := range pairs(t, b) {
		for _, k := range keys {
			if !strings.EqualFold(p.key, k) {
				continue
			}
			switch count[k]++; {
			case p.spelled != p.key:
				why = append(why, "spelled with escapes: "+k)
			case p.key != k:
				why = append(why, "another case: "+k)
			case count[k] > 1:
				why = append(why, "twice: "+k)
			}
		}
	}
	return why
}

// checkRefusal holds an error of the scanner against encoding/json: it reports
// whether b should have been accepted, and fails the test when it should not
// have been and was, or was refused as something that it is not.
func checkRefusal(t testing.TB, b []byte, keys []string, err error) (accepted bool) {
	t.Helper()
	if !json.Valid(b) || !utf8.Valid(b) {
		// A text that is too deep is not read to its end.
		if !errors.Is(err, ErrSyntax) && !strings.Contains(errorText(err), "nested deeper") {
			t.Fatalf("not JSON in UTF-8, but %v: %q", err, b)
		}
		return false
	}
	if why := refusals(t, b, keys); len(why) > 0 {
		if !errors.Is(err, ErrAmbiguous) {
			t.Fatalf("should be refused (%s), but %v: %q", why, err, b)
		}
		return false
	}
	return true
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
