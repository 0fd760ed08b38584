package registry

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/jackfield-dev/jackfield"
)

const plainNames = "use letters, digits, - and _"

// checkName refuses names that could not be a path segment, or would not look
// like what they are.
func checkName(name string) (message, fix string) {
	bad := strings.IndexFunc(name, func(c rune) bool {
		return unicode.IsControl(c) || unicode.In(c, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	})
	switch {
	case name == "":
		return "a server's name is empty", plainNames
	case len(name) > maxName:
		return fmt.Sprintf("the server name %q is longer than %d bytes", clip(name), maxName), "shorten it; write title for what people see"
	case strings.Contains(name, "/"):
		return fmt.Sprintf("the server name %q holds a /, which cannot stand in /mcp/{server}", clip(name)), "write - instead; write title for what people see"
	case name == "." || name == ".." || name != strings.TrimSpace(name):
		return fmt.Sprintf("%q cannot be a server's name", clip(name)), plainNames
	case bad >= 0:
		return fmt.Sprintf("the server name %q holds a character that cannot be seen", clip(name)), plainNames
	}
	return "", ""
}

// checkPlain refuses more: what is not seen, what is written in two ways, and what
// could be taken for a path or an id. Names of the file may be so, for they were.
func checkPlain(name string) (message, fix string) {
	kind, _, scoped := strings.Cut(strings.ToLower(norm.NFKC.String(name)), ":")
	switch {
	case !utf8.ValidString(name):
		return "the server name is not UTF-8", plainNames
	case strings.ContainsFunc(name, unseen):
		return fmt.Sprintf("the server name %q holds a character that cannot be seen", clip(name)), plainNames
	case !norm.NFC.IsNormalString(name):
		return fmt.Sprintf("the server name %q is not in the normal form of Unicode (NFC)", clip(name)), "type it anew, or " + plainNames
	case strings.ContainsAny(name, `\%?#`):
		return fmt.Sprintf("the server name %q holds one of \\ %% ? #, which mean something in addresses", clip(name)), plainNames
	case strings.ContainsAny(norm.NFKC.String(name), `/\`) || strings.Trim(norm.NFKC.String(name), ". ") == "":
		return fmt.Sprintf("the server name %q looks like a path", clip(name)), plainNames
	case scoped && (kind == "team" || kind == "user" || kind == "app"):
		return fmt.Sprintf("the server name %q looks like an id", clip(name)), "write it without " + kind + ":"
	}
	return "", ""
}

// unseen reports whether a letter leaves no mark of its own: control and format
// characters, spaces other than the usual one, fillers, and what no font has.
func unseen(c rune) bool {
	switch c {
	case ' ':
		return false
	case '\u034f', '\u115f', '\u1160', '\u17b4', '\u17b5', '\u2800', '\u3164', '\uffa0', utf8.RuneError:
		return true
	}
	return unicode.In(c, unicode.C, unicode.Z, unicode.Variation_Selector)
}

// foldName is the same for names that look alike: their case, their dashes, and their
// widths do not count.
func foldName(name string) string {
	return strings.Map(func(c rune) rune {
		if unicode.Is(unicode.Pd, c) || c == '\u2212' || c == '\u2043' || c == '\u02d7' {
			return '-'
		}
		return c
	}, norm.NFKC.String(strings.ToLower(norm.NFKC.String(name))))
}

// checkScope refuses owners whose name could not be told from another's.
func checkScope(s jackfield.Scope) (message, fix string) {
	switch {
	case s.Kind == jackfield.ScopeApp:
		return "", ""
	case s.ID == "":
		return "the scope names nobody", "write team:NAME or user:NAME"
	case len(s.ID) > maxOwner:
		return fmt.Sprintf("the scope's name is longer than %d bytes", maxOwner), "name an existing team or user"
	case !utf8.ValidString(s.ID) || strings.ContainsFunc(s.ID, unseen):
		return "the scope's name holds a character that cannot be seen", "name an existing team or user"
	}
	return "", ""
}

// storeID is the id of a definition of the store, and of every overlay.
func storeID(s jackfield.Scope, name string) jackfield.ServerID {
	return jackfield.ServerID(s.String() + "/" + name)
}

// parseID takes apart what storeID made. Names hold no /, but subjects may.
func parseID(id string) (s jackfield.Scope, name string, ok bool) {
	at := strings.LastIndexByte(id, '/')
	if at < 0 {
		return s, "", false
	}
	owner, name := id[:at], id[at+1:]
	if owner == "app" {
		return jackfield.App(), name, name != ""
	}
	s, ok = parseScope(owner)
	return s, name, ok && name != ""
}

// parseScope reads team:ID or user:ID.
func parseScope(text string) (jackfield.Scope, bool) {
	kind, id, _ := strings.Cut(text, ":")
	switch {
	case id == "":
	case kind == "team":
		return jackfield.Team(id), true
	case kind == "user":
		return jackfield.User(id), true
	}
	return jackfield.Scope{}, false
}
