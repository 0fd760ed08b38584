package catalog

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
)

const (
	maxName   = 64   // bytes of a final name: the strictest client's limit
	separator = "__" // between server and tool
	markLen   = 14   // "_0" and 12 characters of the hash
	minServer = 24   // bytes of the server's name that a shortened name keeps
)

var markText = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// FinalName is the name under which a tool or prompt of a server is listed beside
// those of other servers. It matches [A-Za-z0-9_-]{1,64} and depends on its two
// arguments alone, so that adding a server never renames another's tool.
//
// Where server__tool is such a name and can be read in one way only, it is that.
// Else what does not fit is replaced and shortened, and a mark follows that holds
// 60 bits of a hash over both names. No name of the first form ends like a mark,
// and each can be split in one way only, so that two names clash only if two
// hashes do.
func FinalName(server, tool string) string {
	if name := server + separator + tool; isPlain(server, tool) && !isMarked(name) {
		return name
	}
	s, t := clean(server), clean(tool)
	room := maxName - markLen - len(separator)
	if len(s)+len(t) > room {
		s = s[:min(len(s), max(minServer, room-len(t)))]
		t = t[:min(len(t), room-len(s))]
	}
	return s + separator + t + mark(server, tool)
}

// couldName reports whether a tool of the server could have the final name.
func couldName(server, name string) bool {
	s := clean(server)
	if len(s) <= minServer {
		return strings.HasPrefix(name, s+separator)
	}
	return strings.HasPrefix(name, s[:minServer])
}

// isPlain reports whether server__tool is a final name that splits in one way
// only: at the first separator in it.
func isPlain(server, tool string) bool {
	return server != "" && tool != "" && len(server)+len(separator)+len(tool) <= maxName &&
		!strings.Contains(server, separator) && !strings.HasSuffix(server, "_") &&
		clean(server) == server && clean(tool) == tool
}

// isMarked reports whether the name ends like one that holds a hash.
func isMarked(name string) bool {
	if len(name) < markLen {
		return false
	}
	end := name[len(name)-markLen:]
	if end[0] != '_' || end[1] != '0' {
		return false
	}
	for i := 2; i < markLen; i++ {
		if c := end[i]; (c < '0' || c > '9') && (c < 'a' || c > 'v') {
			return false
		}
	}
	return true
}

// mark ends a name that does not tell all of its server and tool.
func mark(server, tool string) string {
	h := sha256.New()
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(server)))
	h.Write(size[:])
	h.Write([]byte(server))
	h.Write([]byte(tool))
	return "_0" + markText.EncodeToString(h.Sum(nil))[:markLen-2]
}

// clean replaces each character that a final name may not hold.
func clean(s string) string {
	for i := 0; i < len(s); i++ {
		if !isNameByte(s[i]) {
			return strings.Map(func(r rune) rune {
				if r < 0x80 && isNameByte(byte(r)) {
					return r
				}
				return '_'
			}, s)
		}
	}
	return s
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// closest finds the name that the wanted one was probably meant to be: the one
// with the fewest edits, if they are few. Only the part behind the separator
// counts for a name that misses its server.
func closest(wanted string, names func(yield func(string) bool)) string {
	const mostNames, longest = 5000, 2 * maxName
	if len(wanted) > longest {
		return ""
	}
	best, bestCost := "", 1+len(wanted)/3
	seen := 0
	names(func(name string) bool {
		cost := edits(wanted, name, bestCost+1)
		if _, tool, ok := strings.Cut(name, separator); ok {
			cost = min(cost, edits(wanted, tool, bestCost+1))
		}
		if cost < bestCost || cost == bestCost && best != "" && name < best {
			best, bestCost = name, cost
		}
		seen++
		return seen < mostNames
	})
	return best
}

// edits is the number of single-byte edits from a to b, case aside; at least
// most when it would be more.
func edits(a, b string, most int) int {
	if d := len(a) - len(b); d >= most || -d >= most {
		return most
	}
	a, b = strings.ToLower(a), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, row[j], row[j-1])
			}
			diagonal, row[j] = row[j], cost
			least = min(least, cost)
		}
		if least >= most {
			return most
		}
	}
	return row[len(b)]
}
