package catalog

import (
	"net/url"
	"regexp"
	"strings"
)

// A URI that two servers list stands in the view as jackfield://{server}/{URI},
// the server's name and the URI escaped as path segments.
const uriScheme = "jackfield://"

// QualifiedURI is a URI in a view that says whose resource it stands for. Every view
// understands it.
func QualifiedURI(server, uri string) string {
	return uriScheme + url.PathEscape(server) + "/" + url.PathEscape(uri)
}

// splitURI is the inverse of QualifiedURI.
func splitURI(final string) (server, uri string, ok bool) {
	rest, ok := strings.CutPrefix(final, uriScheme)
	if !ok {
		return "", "", false
	}
	server, uri, ok = strings.Cut(rest, "/")
	if !ok || server == "" || uri == "" {
		return "", "", false
	}
	server, err := url.PathUnescape(server)
	if err != nil {
		return "", "", false
	}
	uri, err = url.PathUnescape(uri)
	return server, uri, err == nil
}

const (
	maxTemplate    = 2048 // bytes of a URI template that is matched
	maxExpressions = 32   // expressions in it
	maxURI         = 8192 // bytes of a URI that is matched
)

// template is a URI template (RFC 6570) that URIs can be matched with.
type template struct {
	pieces  []piece
	match   *regexp.Regexp // what it expands to
	literal int            // bytes outside expressions: how specific it is
}

// piece is a literal, or an expression with its braces.
type piece struct {
	text       string
	expression bool
}

// parseTemplate reads a URI template. It fails for text that is none, and for one
// that is too long to match with.
func parseTemplate(text string) (*template, bool) {
	if len(text) > maxTemplate {
		return nil, false
	}
	t := &template{}
	expressions := 0
	for rest := text; rest != ""; {
		open := strings.IndexAny(rest, "{}")
		if open < 0 {
			open = len(rest)
		}
		if open > 0 {
			t.pieces = append(t.pieces, piece{text: rest[:open]})
			t.literal += open
			rest = rest[open:]
			continue
		}
		end := strings.IndexByte(rest, '}')
		if end < 2 || strings.IndexByte(rest[1:end], '{') >= 0 {
			return nil, false
		}
		t.pieces = append(t.pieces, piece{text: rest[:end+1], expression: true})
		expressions++
		rest = rest[end+1:]
	}
	if expressions == 0 || expressions > maxExpressions {
		return nil, false
	}
	var err error
	t.match, err = regexp.Compile(t.pattern(func(s string) string { return s }))
	return t, err == nil
}

// pattern is the regular expression of what the template expands to, with what
// each expression became as a group. Each literal goes through spell.
func (t *template) pattern(spell func(string) string) string {
	var b strings.Builder
	b.WriteString("(?s)^")
	for _, p := range t.pieces {
		if p.expression {
			b.WriteString("(" + expansion(p.text[1]) + ")")
		} else {
			b.WriteString(regexp.QuoteMeta(spell(p.text)))
		}
	}
	b.WriteString("$")
	return b.String()
}

// expansion is what an expression with the operator can become (RFC 6570,
// section 3.2). A value that servers let run on further than the RFC does is
// their own affair: this only finds whose the URI is.
func expansion(operator byte) string {
	switch operator {
	case '+':
		return `.*`
	case '#':
		return `(?:#.*)?`
	case '.':
		return `(?:\.[^/?#]*)?`
	case '/':
		return `(?:/[^?#]*)?`
	case ';':
		return `(?:;[^/?#]*)?`
	case '?':
		return `(?:\?[^#]*)?`
	case '&':
		return `(?:&[^#]*)?`
	}
	return `[^/?#]*`
}

// matches reports whether the template can expand to uri.
func (t *template) matches(uri string) bool {
	return len(uri) <= maxURI && t.match.MatchString(uri)
}

// final is the template as it stands in a view where another server lists the
// same one: its literals escaped as in QualifiedURI, its expressions unchanged.
func (t *template) final(server string) string {
	var b strings.Builder
	b.WriteString(uriScheme + url.PathEscape(server) + "/")
	for _, p := range t.pieces {
		if p.expression {
			b.WriteString(p.text)
		} else {
			b.WriteString(url.PathEscape(p.text))
		}
	}
	return b.String()
}

// undo finds the URI that the server knows in one that the final template
// expanded to: literals as they were, values exactly as they came.
func (t *template) undo(escaped string) (string, bool) {
	if len(escaped) > maxURI {
		return "", false
	}
	re, err := regexp.Compile(t.pattern(url.PathEscape))
	if err != nil {
		return "", false
	}
	values := re.FindStringSubmatch(escaped)
	if values == nil {
		return "", false
	}
	var b strings.Builder
	n := 1
	for _, p := range t.pieces {
		if p.expression {
			b.WriteString(values[n])
			n++
		} else {
			b.WriteString(p.text)
		}
	}
	return b.String(), true
}
