package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// FuzzLoad looks for files that make the loader panic, that are refused without
// a word or taken with an error, and for problems that tell what a variable
// holds.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/config/*.[jy]*")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, path := range files {
		src, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(filepath.Base(path), src)
	}
	// Control characters make most checks fail that look at values.
	const secret = "s3cret\x01{}:#@ value"
	env := func(name string) (string, bool) {
		if strings.HasPrefix(name, "JACKFIELD_") || name == "XDG_DATA_HOME" {
			return "", false
		}
		return secret, true
	}
	f.Fuzz(func(t *testing.T, name string, src []byte) {
		if len(src) > 8<<10 || !utf8.Valid(src) || src == nil {
			return
		}
		if strings.Contains(string(src), "tokenFile") { // would read other files
			return
		}
		l := &loader{path: name, overrides: Overrides{Env: env}, report: document.NewReport(name)}
		c, found, err := l.load(src)
		if (c == nil) != (err != nil) {
			t.Fatalf("config %v with error %v", c, err)
		}
		faulty, invalid := false, map[string]bool{}
		for _, p := range found {
			faulty = faulty || p.Severity == SeverityError
			invalid[p.Server] = invalid[p.Server] || p.Severity == SeverityInvalid
			if strings.Contains(p.String(), "s3cret") && !strings.Contains(string(src)+name, "s3cret") {
				t.Errorf("a problem tells a secret: %s", p)
			}
		}
		if faulty != (err != nil) {
			t.Fatalf("error %v with problems %v", err, found)
		}
		if c == nil {
			return
		}
		ids := map[jackfield.ServerID]bool{}
		for _, s := range c.Servers {
			if s.Name == "" || len(s.Name) > 128 || strings.ContainsAny(s.Name, "/\x00\n") || ids[s.ID] {
				t.Errorf("the name %q of %q", s.Name, s.ID)
			}
			ids[s.ID] = true
			if s.Base != "" && s.Invalid == "" && s.Endpoint.Transport == "" {
				continue // an overlay that hides a server from a team
			}
			if s.Base == "" && (s.Invalid != "") != invalid[s.Name] {
				t.Errorf("%q is invalid for %q, with problems %v", s.Name, s.Invalid, found)
			}
			if s.Invalid == "" && (s.Endpoint.Command == "") == (s.Endpoint.URL == "") || s.Invalid != "" && s.Endpoint.Transport != "" {
				t.Errorf("%q is to be reached by %+v", s.Name, s.Endpoint)
			}
		}
	})
}
