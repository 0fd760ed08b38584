package registry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// maxPEM is how much of a file of certificates is read, in bytes.
const maxPEM = 1 << 20

// tls reads the certificates of a server with an https URL. What is wrong with them
// is found here, and not by whoever calls the server first.
func (d *definition) tls(address string) jackfield.TLS {
	t := d.entry.TLS
	if t == nil {
		return jackfield.TLS{}
	}
	before := len(d.report.Faults())
	n := d.node.Get("tls")
	out := jackfield.TLS{
		CA:         d.pem(n, "ca", t.CA),
		Cert:       d.pem(n, "cert", t.Cert),
		Key:        jackfield.Secret(d.pem(n, "key", t.Key)),
		ServerName: d.expand("tls.serverName", n.Get("serverName"), t.ServerName),
	}
	if len(d.report.Faults()) > before {
		return jackfield.TLS{}
	}
	if _, err := out.Config(); err != nil {
		d.report.Fault(n.Pos, "tls: "+err.Error(), "name files in PEM form, or write their text here")
	}
	if strings.HasPrefix(strings.ToLower(address), "http://") {
		d.report.Warn(n.Pos, "tls is ignored", "only a url that begins with https:// has it")
	}
	return out
}

// pem is the text that a setting holds, or that is in the file it names. Nothing of
// either is shown.
func (d *definition) pem(n *document.Node, key, text string) string {
	what := "tls." + key
	text = d.expand(what, n.Get(key), text)
	if text == "" || strings.Contains(text, "-----BEGIN ") {
		return text
	}
	fault := func(why string) string {
		d.report.Fault(n.Get(key).At(), what+" cannot be read: "+why, "name a file in PEM form that the user who runs Jackfield may read, or write its text here")
		return ""
	}
	if !filepath.IsAbs(text) {
		text = filepath.Join(d.from.Dir, text)
	}
	info, err := os.Stat(text)
	switch {
	case err != nil:
		return fault(reason(err))
	case !info.Mode().IsRegular():
		return fault("it is no file")
	case info.Size() > maxPEM:
		return fault("it is larger than certificates are")
	}
	content, err := os.ReadFile(text)
	if err != nil {
		return fault(reason(err))
	}
	return string(content)
}

// reason is why a file cannot be read, without its name.
func reason(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
