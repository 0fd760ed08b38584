package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"
)

// MaxBytes is the size of the largest file that is read.
const MaxBytes = 4 << 20

// Load reads a file from disk. It reports and returns false when there is no
// file, when it is a directory, empty, too large or not UTF-8 text.
func Load(path string, r *Report) ([]byte, bool) {
	src, err := read(path)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist):
		r.Fault(Pos{}, "the file does not exist", "name an existing file with --config or JACKFIELD_CONFIG")
		return nil, false
	case errors.Is(err, fs.ErrPermission):
		r.Fault(Pos{}, "the file may not be read by the user that runs Jackfield", "give that user the right to read it")
		return nil, false
	case errors.Is(err, syscall.EISDIR):
		r.Fault(Pos{}, "this is a directory, not a file", "name the file in it, such as "+filepath.Join(path, "jackfield.yaml"))
		return nil, false
	default:
		r.Fault(Pos{}, "the file cannot be read: "+reason(err), "")
		return nil, false
	}
	if len(src) > MaxBytes {
		r.Fault(Pos{}, fmt.Sprintf("the file is larger than %d MiB", MaxBytes>>20),
			"name a configuration file; this looks like something else")
		return nil, false
	}
	return clean(src, r)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	return io.ReadAll(io.LimitReader(f, MaxBytes+1))
}

// reason is an error from the operating system without the path, which the
// report already names.
func reason(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err.Error()
	}
	return err.Error()
}

// clean takes away a byte order mark and refuses what is not UTF-8.
func clean(src []byte, r *Report) ([]byte, bool) {
	const save = "save the file as UTF-8"
	if bytes.HasPrefix(src, []byte{0xff, 0xfe}) || bytes.HasPrefix(src, []byte{0xfe, 0xff}) {
		r.Fault(Pos{}, "the file is in UTF-16", save)
		return nil, false
	}
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	for at, rest := 0, src; len(rest) > 0; {
		c, n := utf8.DecodeRune(rest)
		switch {
		case c == utf8.RuneError && n == 1:
			r.Fault(position(src, at), fmt.Sprintf("byte 0x%02x is not UTF-8; the file may be in Latin-1", rest[0]), save)
			return nil, false
		case c < ' ' && c != '\n' && c != '\r' && c != '\t', c == 0x7f:
			r.Fault(position(src, at), fmt.Sprintf("the control character 0x%02x does not belong in a text file", c), save)
			return nil, false
		}
		at, rest = at+n, rest[n:]
	}
	return src, true
}

// position turns a byte offset into line and column.
func position(src []byte, offset int) Pos {
	offset = min(max(offset, 0), len(src))
	before := src[:offset]
	start := bytes.LastIndexByte(before, '\n') + 1
	return Pos{Line: 1 + bytes.Count(before, []byte("\n")), Column: 1 + utf8.RuneCount(before[start:])}
}

// Parse makes the tree of a file's text. The name decides between YAML and JSON
// where it can; otherwise a text that begins with a brace is read as JSON, and
// as YAML if it is none. It returns nil when there is something wrong with the
// syntax, which is then in the report.
func Parse(name string, src []byte, r *Report) *Node {
	ext := strings.ToLower(filepath.Ext(name))
	isJSON := ext == ".json" || ext == ".jsonc"
	if !isJSON && !bytes.HasPrefix(bytes.TrimSpace(src), []byte("{")) {
		return parseYAML(src, r)
	}
	asJSON := NewReport(r.file)
	n := parseJSON(src, asJSON)
	if n == nil && !isJSON {
		n = parseYAML(src, NewReport(r.file))
	}
	if n == nil {
		*r.problems = append(*r.problems, asJSON.Problems()...)
	}
	return n
}
