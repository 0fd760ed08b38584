package catalog

import (
	"strings"
	"testing"
)

func TestQualifiedURIsComeBackAsTheyWent(t *testing.T) {
	for _, c := range [][2]string{
		{"a", "file:///x y/ä?q=1#f%20"}, {"my server/ä", "x"}, {"a", "jackfield://b/c"}, {"%41", "%2F/"},
	} {
		server, uri, ok := splitURI(QualifiedURI(c[0], c[1]))
		if !ok || server != c[0] || uri != c[1] {
			t.Errorf("%q came back as %q %q %v", c, server, uri, ok)
		}
		server, uri, ok = splitURI(qualifiedTemplate(c[0], c[1]))
		if !ok || server != c[0] || uri != c[1] {
			t.Errorf("the template %q came back as %q %q %v", c, server, uri, ok)
		}
	}
}

func TestTemplatesMatchWhatTheyExpandTo(t *testing.T) {
	for _, c := range []struct {
		template string
		yes, no  []string
	}{
		{"test://{id}", []string{"test://7", "test://a%20b", "test://"}, []string{"test://a/b", "test://a?b", "xtest://7", "tes://7"}},
		{"test://{id}/data", []string{"test://7/data"}, []string{"test://7/dat", "test://7/8/data"}},
		{"file:///{+path}", []string{"file:///a/b/c", "file:///"}, []string{"file://a"}},
		{"x:{#frag}", []string{"x:", "x:#a/b"}, []string{"x:a"}},
		{"x{.ext}", []string{"x", "x.md"}, []string{"xmd"}},
		{"x{/a,b*}", []string{"x", "x/1/2"}, []string{"x1"}},
		{"x{;p}", []string{"x", "x;p=1"}, []string{"x?p=1"}},
		{"x{?q,r}", []string{"x", "x?q=1&r=2"}, []string{"x&q=1"}},
		{"x?f=1{&q}", []string{"x?f=1", "x?f=1&q=2"}, []string{"x?f=12"}},
		{"a.c{id}", []string{"a.c1"}, []string{"abc1"}},
	} {
		tm, ok := parseTemplate(c.template)
		if !ok {
			t.Errorf("%q is not read", c.template)
			continue
		}
		for _, uri := range c.yes {
			if !tm.matches(uri) {
				t.Errorf("%q does not match %q", c.template, uri)
			}
		}
		for _, uri := range append(c.no, strings.Repeat("x", maxURI+1)) {
			if tm.matches(uri) {
				t.Errorf("%q matches %.40q", c.template, uri)
			}
		}
	}
}

func TestWhatIsNoTemplateIsNotMatched(t *testing.T) {
	for _, text := range []string{
		"", "plain", "{}", "{", "}", "a{b", "a}b", "{a{b}}", "x}{y", strings.Repeat("{a}", maxExpressions+1), strings.Repeat("a", maxTemplate) + "{b}",
	} {
		if _, ok := parseTemplate(text); ok {
			t.Errorf("%.40q was read as a template", text)
		}
	}
}

// FuzzTemplates holds that a template matches its own expansion, and that a URI that
// two servers list comes back exactly.
func FuzzTemplates(f *testing.F) {
	f.Add("test://{id}/x", "a b", "srv")
	f.Add("file:///{+path}", "a%2Fb", "s/v")
	f.Add("{?a}{&b}%{c}", "", "ä")
	f.Add("(.*{x}[", "\\E", "s")
	f.Fuzz(func(t *testing.T, text, value, server string) {
		tm, ok := parseTemplate(text)
		if !ok || server == "" {
			return
		}
		var uri strings.Builder
		for rest := text; rest != ""; {
			literal, behind, found := strings.Cut(rest, "{")
			uri.WriteString(literal)
			if !found {
				break
			}
			if strings.IndexByte("+#./;?&", behind[0]) < 0 && !strings.ContainsAny(value, "/?#") {
				uri.WriteString(value)
			}
			_, rest, _ = strings.Cut(behind, "}")
		}
		if uri.Len() > maxURI || uri.Len() == 0 {
			return
		}
		if !tm.matches(uri.String()) {
			t.Fatalf("%q does not match %q", text, uri.String())
		}
		for _, final := range []string{QualifiedURI(server, uri.String()), qualifiedTemplate(server, uri.String())} {
			if s, u, ok := splitURI(final); !ok || s != server || u != uri.String() {
				t.Fatalf("%q of %q came back as %q of %q", uri.String(), server, u, s)
			}
		}
	})
}
