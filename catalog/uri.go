package catalog

import (
	"net/url"
	"regexp"
	"strings"
)

// What two servers list under one URI stands in the view as
//
//	jackfield://{server}/{URI}     a resource, the URI escaped as a path segment
//	jackfield://{server}//{URI}    a template, as it is, so that its values come back as they went
//
// with the server's name escaped as a path segment. An escaped URI never begins with
// a slash, so that the two cannot be confused. What begins with ui:// stands below
// ui://jackfield/ instead: clients that show user interfaces take no other scheme.
const (
	uriScheme = "jackfield://"
	uiPrefix  = uiScheme + "jackfield/"
)

// prefixOf begins the URIs in a view that say whose resource they stand for.
func prefixOf(uri string) string {
	if strings.HasPrefix(uri, uiScheme) {
		return uiPrefix
	}
	return uriScheme
}

// QualifiedURI is a URI in a view that says whose resource it stands for. Every view
// understands it.
func QualifiedURI(server, uri string) string {
	return prefixOf(uri) + url.PathEscape(server) + "/" + url.PathEscape(uri)
}

// qualifiedTemplate is a template whose expansions say whose resource they stand for.
func qualifiedTemplate(server, text string) string {
	return prefixOf(text) + url.PathEscape(server) + "//" + text
}

// splitURI is the inverse of QualifiedURI, and of what a qualifiedTemplate expands to.
func splitURI(final string) (server, uri string, ok bool) {
	rest, ok := strings.CutPrefix(final, uriScheme)
	if !ok {
		if rest, ok = strings.CutPrefix(final, uiPrefix); !ok {
			return "", "", false
		}
	}
	server, uri, ok = strings.Cut(rest, "/")
	if !ok || server == "" || uri == "" {
		return "", "", false
	}
	server, err := url.PathUnescape(server)
	if err != nil {
		return "", "", false
	}
	if plain, ok := strings.CutPrefix(uri, "/"); ok {
		return server, plain, plain != ""
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
	match   *regexp.Regexp // what it expands to
	literal int            // bytes outside expressions: how specific it is
}

// parseTemplate reads a URI template. It fails for text that is none, and for one
// that is too long to match with.
func parseTemplate(text string) (*template, bool) {
	if len(text) > maxTemplate {
		return nil, false
	}
	t := &template{}
	var pattern strings.Builder
	pattern.WriteString("(?s)^")
	expressions := 0
	for rest := text; rest != ""; {
		open := strings.IndexAny(rest, "{}")
		if open < 0 {
			open = len(rest)
		}
		if open > 0 {
			pattern.WriteString(regexp.QuoteMeta(rest[:open]))
			t.literal += open
			rest = rest[open:]
			continue
		}
		end := strings.IndexByte(rest, '}')
		if end < 2 || strings.IndexByte(rest[1:end], '{') >= 0 {
			return nil, false
		}
		pattern.WriteString(expansion(rest[1]))
		expressions++
		rest = rest[end+1:]
	}
	if expressions == 0 || expressions > maxExpressions {
		return nil, false
	}
	pattern.WriteString("$")
	var err error
	t.match, err = regexp.Compile(pattern.String())
	return t, err == nil
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
