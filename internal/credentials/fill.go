package credentials

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jackfield-dev/jackfield"
)

// target is what of a server decides what is filled in. It is kept for as long as a
// connection, and keeps nothing else of the definition.
type target struct {
	id       jackfield.ServerID
	name     string
	operator bool   // the definition is the operator's
	origin   string // of its url; empty for a program
	fill     jackfield.Fill
	vars     []jackfield.Variable
}

func targetOf(s *jackfield.Server) *target {
	return &target{id: s.ID, name: s.Name, operator: s.Operator, origin: originOf(&s.Endpoint), fill: s.Fill, vars: s.Vars}
}

// originOf is the scheme and the host of an endpoint, in one spelling; empty for a
// program, and for what is no address.
func originOf(e *jackfield.Endpoint) string {
	if e.Transport == jackfield.TransportStdio {
		return ""
	}
	return origin(e.URL)
}

// origin is that of an address whose places, if any, stand behind its host.
func origin(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return ""
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	u, err := url.Parse(strings.ToLower(scheme + "://" + rest))
	if err != nil || u.Host == "" {
		return ""
	}
	host := u.Host
	switch u.Scheme + ":" + u.Port() {
	case "http:80", "https:443", "http:", "https:":
		host = strings.TrimSuffix(host, ":"+u.Port())
	}
	return u.Scheme + "://" + host
}

// filling is one target as it is filled in for one owner: what is known of the owner
// is looked up once, so that all of it is of one moment.
type filling struct {
	c *Credentials
	*target
	owner  jackfield.Scope
	values values
	person *Person // nil until it is asked for
}

func (c *Credentials) filling(t *target, owner jackfield.Scope) *filling {
	f := &filling{c: c, target: t, owner: owner}
	if owner.Kind == jackfield.ScopeUser {
		f.values = c.person(owner.ID).mine.of(t.id)
	}
	return f
}

// who is the owner, who is a person.
func (f *filling) who() *Person {
	if f.person == nil {
		p, ok := f.c.o.Person(f.owner.ID)
		if !ok || p.ID == "" {
			p.ID = f.owner.ID
		}
		f.person = &p
	}
	return f.person
}

// Endpoint is the endpoint of a server with everything filled in but its headers, for
// an owner. Where something required is missing the error is AuthRequired, and the
// jackfield.Failure in its chain one that only somebody can end.
func (c *Credentials) Endpoint(ctx context.Context, s *jackfield.Server, owner jackfield.Scope) (jackfield.Endpoint, error) {
	e := s.Endpoint
	if s.Fill.Empty() {
		return e, nil
	}
	f := c.filling(targetOf(s), owner)
	if err := f.ready(f.fill.All()); err != nil {
		return jackfield.Endpoint{}, err
	}
	if len(f.fill.URL) > 0 {
		filled, err := f.url(ctx)
		if err != nil {
			return jackfield.Endpoint{}, err
		}
		e.URL = filled
	}
	if len(f.fill.Args) > 0 {
		e.Args = make([]string, 0, len(s.Endpoint.Args))
		for i, arg := range s.Endpoint.Args {
			t, has := f.fill.Args[i]
			if has {
				filled, ok, err := f.text(ctx, t, fmt.Sprintf("argument %d", i+1), plainText)
				if err != nil {
					return jackfield.Endpoint{}, err
				}
				if !ok {
					continue
				}
				arg = filled
			}
			e.Args = append(e.Args, arg)
		}
	}
	if len(f.fill.Env) > 0 {
		e.Env = cloned(e.Env)
		for _, name := range slices.Sorted(maps.Keys(f.fill.Env)) {
			filled, ok, err := f.text(ctx, f.fill.Env[name], "the environment variable "+name, plainText)
			if err != nil {
				return jackfield.Endpoint{}, err
			}
			if e.Env[name] = jackfield.Secret(filled); !ok {
				delete(e.Env, name)
			}
		}
	}
	if len(f.fill.Headers) > 0 {
		e.Headers = cloned(e.Headers)
		for name := range f.fill.Headers {
			delete(e.Headers, name) // Headers has it, or leaves it out
		}
	}
	return e, nil
}

func cloned(m map[string]jackfield.Secret) map[string]jackfield.Secret {
	if m == nil {
		return map[string]jackfield.Secret{}
	}
	return maps.Clone(m)
}

// Headers returns what makes the headers that are filled in, for one owner and for
// each request anew; nil when there are none. It keeps nothing of s but what it needs.
func (c *Credentials) Headers(s *jackfield.Server, owner jackfield.Scope) func(context.Context) (http.Header, error) {
	if len(s.Fill.Headers) == 0 {
		return nil
	}
	t := targetOf(s)
	t.fill = jackfield.Fill{Headers: s.Fill.Headers}
	return func(ctx context.Context) (http.Header, error) {
		f := c.filling(t, owner)
		if err := f.ready(maps.Values(t.fill.Headers)); err != nil {
			return nil, err
		}
		headers := make(http.Header, len(t.fill.Headers))
		for name, template := range t.fill.Headers {
			filled, ok, err := f.text(ctx, template, "the header "+name, headerText)
			if err != nil {
				return nil, err
			}
			if ok {
				headers[name] = []string{filled}
			}
		}
		return headers, nil
	}
}

// text is a template filled in. write is how a value is written there; what it says
// is wrong with one is why it cannot stand there. ok is false when something optional
// is missing.
func (f *filling) text(ctx context.Context, t jackfield.Template, where string, write func(jackfield.Part, string) (text, wrong string)) (text string, ok bool, err error) {
	var out strings.Builder
	for _, p := range t {
		if p.From == "" {
			out.WriteString(p.Text.Reveal())
			continue
		}
		value, ok, err := f.value(ctx, p)
		if err != nil || !ok {
			return "", false, err
		}
		written, wrong := write(p, value)
		if wrong != "" {
			return "", false, f.refuse(p, where, wrong)
		}
		out.WriteString(written)
	}
	return out.String(), true, nil
}

// value is what a place becomes. ok is false when that is missing.
func (f *filling) value(ctx context.Context, p jackfield.Part) (value string, ok bool, err error) {
	if p.From == jackfield.FromSecret {
		value, err = f.c.secrets.get(ctx, p.Name)
		if err != nil {
			return "", false, f.unreadable(err)
		}
		return value, true, nil
	}
	if reason, _ := f.missing(p); reason != "" {
		return "", false, nil
	}
	switch p.From {
	case jackfield.FromTeam:
		return f.who().Teams[0], true, nil
	case jackfield.FromUser:
		return f.who().field(p.Name), true, nil
	case jackfield.FromVar, jackfield.FromSecret:
	}
	plain, err := f.c.reveal(f.values.named(p.Name), f.owner, f.id)
	if err != nil {
		return "", false, jackfield.Errorf(jackfield.CodeOf(err), "server %q: the value that was entered for %s cannot be used: %w", f.name, f.variable(p.Name).Title, err)
	}
	return plain.Reveal(), true, nil
}

func (p *Person) field(name string) string {
	switch name {
	case "id":
		return p.ID
	case "email":
		return p.Email
	case "name":
		return p.Name
	}
	return ""
}

// url is the address. It has the origin that was written.
func (f *filling) url(ctx context.Context) (string, error) {
	var out strings.Builder
	query := false
	for i, p := range f.fill.URL {
		one := f.fill.URL[i : i+1]
		if p.From == "" {
			query = query || strings.Contains(p.Text.Reveal(), "?")
		}
		text, ok, err := f.text(ctx, one, "the url", func(_ jackfield.Part, value string) (string, string) {
			switch {
			case !utf8.ValidString(value):
				return "", "it is not text"
			case query:
				return url.QueryEscape(value), ""
			}
			return url.PathEscape(value), ""
		})
		if err != nil {
			return "", err
		}
		if !ok { // ready has refused that
			return "", jackfield.Errorf(jackfield.Internal, "server %q: something is missing in its url", f.name)
		}
		out.WriteString(text)
	}
	filled := out.String()
	if f.origin == "" || origin(filled) != f.origin {
		return "", jackfield.Errorf(jackfield.Invalid, "server %q: its url would lead to another host with what is filled in; write places behind the host only", f.name)
	}
	path, _, _ := strings.Cut(filled, "?")
	for segment := range strings.SplitSeq(path, "/") {
		if plain, err := url.PathUnescape(segment); err == nil && (plain == "." || plain == "..") {
			return "", jackfield.Errorf(jackfield.Invalid, "server %q: its url would lead elsewhere, because a value filled in is a dot; enter another", f.name)
		}
	}
	return filled, nil
}

// plainText writes a value for a program: an argument or a variable of its
// environment.
func plainText(_ jackfield.Part, value string) (text, wrong string) {
	if strings.Contains(value, "\x00") {
		return "", "it holds a character that ends a text"
	}
	return value, ""
}

// headerText writes a value for a header, in ISO-8859-1 as HTTP has it. Who somebody
// is may have letters that are not in it; it is then base64 behind "b64:".
func headerText(p jackfield.Part, value string) (text, wrong string) {
	if !utf8.ValidString(value) {
		return "", "it is not text"
	}
	latin := make([]byte, 0, len(value))
	for _, r := range value {
		if unicode.IsControl(r) {
			return "", "it holds a control character, such as the end of a line"
		}
		if r > unicode.MaxLatin1 && p.From != jackfield.FromUser && p.From != jackfield.FromTeam {
			return "", "it holds a character that is not in ISO-8859-1"
		}
		latin = append(latin, byte(r)) // not looked at where r is more than a byte
	}
	if strings.IndexFunc(value, func(r rune) bool { return r > unicode.MaxLatin1 }) >= 0 {
		return "b64:" + base64.StdEncoding.EncodeToString([]byte(value)), ""
	}
	return string(latin), ""
}
