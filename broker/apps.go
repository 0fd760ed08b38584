package broker

import (
	"encoding/json"

	"github.com/jackfield-dev/jackfield/wire"
)

var contentsKeys = []string{"contents"}

// underURI is a resource that was read under another URI than its server has for it,
// as it was asked for: clients look for the one that they asked for among the
// contents. What else is in there, parts of it, keeps the server's URIs.
func underURI(result wire.Raw, own, asked string) wire.Raw {
	o, err := wire.ScanObject(result, contentsKeys)
	if err != nil {
		return result
	}
	var all []wire.Raw
	if json.Unmarshal(o.Get("contents"), &all) != nil {
		return result
	}
	out, edited := []byte{'['}, false
	for i, one := range all {
		if c, err := wire.ScanObject(one, updatedKeys); err == nil {
			if uri, ok := wire.String(c.Get("uri")); ok && uri == own {
				c.Set("uri", wire.AppendString(nil, asked))
				one, edited = c.Raw(), true
			}
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, one...)
	}
	if !edited {
		return result
	}
	o.Set("contents", append(out, ']'))
	return o.Raw()
}
