package registry

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// parse reads a value with its places, and reports what is wrong with it.
func (d *definition) parse(what string, n *document.Node, text string) jackfield.Template {
	t, err := d.places.parse(text)
	switch e := err.(type) { //nolint:errorlint // places returns them as they are
	case nil:
		for _, p := range t {
			if strings.Contains(p.Text.Reveal(), "\x00") {
				d.report.Fault(n.At(), what+" holds a zero byte", "remove it; look at the variables in it")
				return nil
			}
		}
		return t
	case *placeError:
		d.report.Fault(n.At(), what+" "+e.Message, e.Fix)
	case *ExpandError:
		d.report.Fault(n.At(), what+": "+e.Message, e.Fix)
	default:
		d.report.Fault(n.At(), what+": "+err.Error(), "")
	}
	return nil
}

// expand is a value that is the same for everybody.
func (d *definition) expand(what string, n *document.Node, text string) string {
	t := d.parse(what, n, text)
	out, ok := constant(t)
	if !ok {
		d.report.Fault(n.At(), what+" is the same for everybody, and holds a place that is filled in later",
			"write the value or ${NAME}; such places stand in headers, env, args and url")
	}
	return out
}

// templates reads the values of a map, in the order of the file.
func (d *definition) templates(key string, values map[string]string) map[string]jackfield.Template {
	if len(values) == 0 {
		return nil
	}
	out := make(map[string]jackfield.Template, len(values))
	for _, f := range d.node.Get(key).Fields {
		if t := d.parse(key+"."+f.Key, f.Value, values[f.Key]); t != nil {
			out[f.Key] = t
		}
	}
	return out
}

// split parts what is filled in from what is not.
func (d *definition) split(all map[string]jackfield.Template) (constants map[string]jackfield.Secret, filled map[string]jackfield.Template) {
	for name, t := range all {
		if text, ok := constant(t); ok {
			if constants == nil {
				constants = make(map[string]jackfield.Secret, len(all))
			}
			constants[name] = jackfield.Secret(text)
			continue
		}
		if filled == nil {
			filled = make(map[string]jackfield.Template, len(all))
		}
		filled[name] = t
	}
	return constants, filled
}

func (d *definition) args(e *jackfield.Endpoint) {
	args := d.node.Get("args")
	for i, arg := range d.entry.Args {
		t := d.parse(fmt.Sprintf("args[%d]", i), args.Items[i], arg)
		if _, ok := constant(t); !ok {
			if d.fill.Args == nil {
				d.fill.Args = map[int]jackfield.Template{}
			}
			d.fill.Args[i] = t
		}
		e.Args = append(e.Args, spelled(t, written))
	}
}

// address checks the url. What it reports quotes none of it: there may be a key
// in it.
func (d *definition) address() string {
	before := len(d.report.Faults())
	if team := d.places.team; team != "" {
		defer func() { d.places.team = team }()
		d.places.team = escaped(team)
	}
	node := d.node.Get("url")
	t := d.parse("url", node, d.entry.URL)
	if len(d.report.Faults()) > before {
		return ""
	}
	probe := spelled(t, func(jackfield.Part) string { return "x" })
	message, fix := CheckURL(probe)
	if message != "" {
		d.report.Fault(d.at("url"), "url "+message, fix)
		return ""
	}
	const mark = "\x00"
	if at := strings.Index(spelled(t, func(jackfield.Part) string { return mark }), mark); at >= 0 && at <= hostEnd(probe) {
		d.report.Fault(d.at("url"), "url has a place in its host, which everybody's calls and secrets go to", "write the host; {{…}} may stand in the path and behind the ?")
		return ""
	}
	d.checkReach(probe)
	if _, ok := constant(t); !ok {
		d.fill.URL = t
	}
	return spelled(t, written)
}

// hostEnd is where the host of a url ends.
func hostEnd(text string) int {
	start := strings.Index(text, "://") + len("://")
	if n := strings.IndexAny(text[start:], "/?#\\"); n >= 0 {
		return start + n
	}
	return len(text)
}

// checkReach refuses an address that this definition may not name.
func (d *definition) checkReach(address string) {
	u, err := url.Parse(address)
	if err != nil {
		return // CheckURL has said so
	}
	at := d.at("url")
	if !d.operator {
		if strings.ContainsFunc(u.Host, func(c rune) bool { return c > unicode.MaxASCII }) {
			d.report.Fault(at, "url has a host with letters beyond a to z", "write it in its ASCII form, xn--…")
			return
		}
		for key, values := range u.Query() {
			if len(values) > 0 && len(values[0]) > 1 && looksSecret(key) {
				d.report.Warn(at, fmt.Sprintf("url holds %s, which whoever may edit this definition sees", clip(key)), "send it as a header, or write {{var.NAME}} for a value that each person enters")
			}
		}
	}
	u = Normal(u)
	if d.from.Loops != nil && d.from.Loops(u) {
		d.report.Fault(at, "url is an address of this gateway, so that calls would go round in circles", "write the address of the server itself")
		return
	}
	if !d.operator && d.allowed != nil {
		if err := d.allowed(u); err != nil {
			d.report.Fault(at, "url names an address that may not be reached: "+err.Error(), "name a public address, or ask for it under egress.allow of the configuration")
		}
	}
}

func looksSecret(key string) bool {
	key = strings.ToLower(key)
	for _, word := range []string{"key", "token", "secret", "password", "auth", "sig"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// Normal is an http address in the one form that others can be compared with: scheme
// and host in lower case, without user, trailing dot and letters that only look
// different, addresses in their usual form, the port always there.
func Normal(u *url.URL) *url.URL {
	out := *u
	out.User, out.Scheme = nil, strings.ToLower(u.Scheme)
	host := strings.ToLower(norm.NFKC.String(strings.ReplaceAll(u.Hostname(), "\u3002", ".")))
	host = strings.TrimRight(host, ".")
	if a, err := netip.ParseAddr(host); err == nil {
		host = a.Unmap().WithZone("").String()
	} else if a, ok := oldAddress(host); ok {
		host = a.String()
	}
	port := u.Port()
	if n, err := strconv.Atoi(port); err == nil {
		port = strconv.Itoa(n)
	}
	if port == "" {
		port = "80"
		if out.Scheme == "https" {
			port = "443"
		}
	}
	out.Host = net.JoinHostPort(host, port)
	return &out
}

// oldAddress reads the forms of an IPv4 address that C programs take: fewer than four
// numbers, each decimal, octal or hexadecimal.
func oldAddress(host string) (netip.Addr, bool) {
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var all uint64
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 0, 32)
		most, shift := uint64(0xff), 8*(3-i)
		if i == len(parts)-1 {
			most, shift = 1<<(8*(4-i))-1, 0
		}
		if err != nil || n > most || strings.ContainsAny(part, "_obOB") {
			return netip.Addr{}, false
		}
		all |= n << shift
	}
	return netip.AddrFrom4([4]byte{byte(all >> 24), byte(all >> 16), byte(all >> 8), byte(all)}), true
}

// origin is the part of an address that decides whom a secret is sent to.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	u = Normal(u)
	return u.Scheme + "://" + u.Host
}

// escaped is text as it can stand anywhere behind the host of a url.
func escaped(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// CheckURL says what is wrong with the address of an HTTP server, and what to
// write instead; both are empty when nothing is. It quotes nothing of it but
// its scheme.
func CheckURL(text string) (message, fix string) {
	const form = "write https://host/path"
	if strings.ContainsFunc(text, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) || c == utf8.RuneError }) {
		return "holds a space or a character that cannot be seen", "remove it, or write it as %20"
	}
	if strings.ContainsAny(text, "{}") {
		return "holds {…}, which nothing fills in here", "write the value, or ${NAME} for an environment variable"
	}
	scheme, _, hasScheme := strings.Cut(text, "://")
	isHTTP := strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")
	isSocket := strings.EqualFold(scheme, "ws") || strings.EqualFold(scheme, "wss")
	u, err := url.Parse(text)
	switch {
	case !hasScheme || !isHTTP && !isSocket:
		return "begins with neither http:// nor https://", form
	case isSocket:
		return "is of a websocket, which is no transport of the protocol", "use the server's https:// address"
	case err != nil:
		return "is not well formed", form
	case u.User != nil:
		return "holds a user name or password", "send it as a header: headers: {Authorization: …}"
	case strings.Contains(text, "#"):
		return "holds a #, and what follows it is never sent", "remove it"
	case u.Hostname() == "":
		return "names no host", form
	}
	if port := u.Port(); port != "" {
		if len(port) > 5 || port == "0" || len(port) == 5 && port > "65535" {
			return "has a port that does not exist", "write a port from 1 to 65535"
		}
	}
	return "", ""
}
