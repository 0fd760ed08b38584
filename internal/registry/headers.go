package registry

import (
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"github.com/jackfield-dev/jackfield"
)

// ownHeaders are set by the gateway on every request, from the message it
// carries; a fixed value would break the protocol or the connection.
var ownHeaders = map[string]bool{
	"Accept": true, "Content-Type": true, "Content-Length": true, "Content-Encoding": true, "Accept-Encoding": true,
	"Connection": true, "Transfer-Encoding": true, "Te": true, "Trailer": true, "Upgrade": true, "Host": true,
	"Via": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authorization": true, "Expect": true,
	"Mcp-Session-Id": true, "Mcp-Protocol-Version": true, "Mcp-Method": true, "Mcp-Name": true, "Last-Event-Id": true,
}

// headers reads and checks the headers, under their canonical names.
func (d *definition) headers() map[string]jackfield.Secret {
	values := d.templates("headers", d.entry.Headers)
	if len(values) == 0 {
		return nil
	}
	out := make(map[string]jackfield.Template, len(values))
	for _, f := range d.node.Get("headers").Fields {
		name, value := textproto.CanonicalMIMEHeaderKey(f.Key), values[f.Key]
		_, twice := out[name]
		switch {
		case !isToken(f.Key):
			d.report.Fault(f.Pos, fmt.Sprintf("%q cannot be the name of a header", clip(f.Key)), "write a name such as Authorization or X-Api-Key")
		case ownHeaders[name] || strings.HasPrefix(name, "Mcp-Param-"):
			d.report.Warn(f.Pos, fmt.Sprintf("the header %s is ignored", f.Key), "Jackfield sets it itself")
		case twice:
			d.report.Fault(f.Pos, fmt.Sprintf("the header %s stands twice; upper and lower case are the same", name), "keep one of the two")
		case slices.ContainsFunc(value, func(p jackfield.Part) bool { return strings.ContainsFunc(p.Text.Reveal(), breaksHeader) }):
			d.report.Fault(f.Value.At(), fmt.Sprintf("the value of the header %s holds a line break or a control character", f.Key), "write it on one line; look at the end of the variable's value")
		default:
			out[name] = trimmed(value)
		}
	}
	constants, filled := d.split(out)
	d.fill.Headers = filled
	return constants
}

func breaksHeader(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }

// trimmed is a header's value without the space around it, which is not part of it.
func trimmed(t jackfield.Template) jackfield.Template {
	if n := len(t); n > 0 {
		t[0].Text = jackfield.Secret(strings.TrimLeft(t[0].Text.Reveal(), " \t"))
		t[n-1].Text = jackfield.Secret(strings.TrimRight(t[n-1].Text.Reveal(), " \t"))
	}
	return t
}

// isToken reports whether the name may be a header's (RFC 9110, section 5.6.2).
func isToken(name string) bool {
	for _, c := range []byte(name) {
		letter := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return name != ""
}
