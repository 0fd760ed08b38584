package gateway

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// older is what a client's revision lacks that may stand in a result.
type older struct {
	links      bool // resource_link, since 2025-06-18
	audio      bool // since 2025-03-26
	structured bool // structuredContent that is no object, since 2026-07-28
}

// olderIn finds what in raw the revision lacks: most results have nothing of it.
func olderIn(version string, res exchange.Result, raw wire.Raw) older {
	return older{
		links:      version < exchange.V20250618 && bytes.Contains(raw, []byte(`"resource_link"`)),
		audio:      version < exchange.V20250326 && bytes.Contains(raw, []byte(`"audio"`)),
		structured: res.Modern && bytes.Contains(raw, []byte(`"structuredContent"`)),
	}
}

var (
	contentKeys = []string{"content", "structuredContent"}
	messageKeys = []string{"content"}
	promptKeys  = []string{"messages"}
	blockKeys   = []string{"type", "uri", "name", "title", "description", "mimeType", "data"}
)

// converted is a result as a client of an older revision can read it: what the
// revision lacks stands there in words.
func converted(version, method string, res exchange.Result, raw wire.Raw) (wire.Raw, error) {
	old := olderIn(version, res, raw)
	if old == (older{}) {
		return raw, nil
	}
	switch method {
	case "tools/call":
		o, err := wire.ScanObject(raw, contentKeys)
		if err != nil {
			return nil, malformed(err)
		}
		if err := old.each(&o, "content", old.block); err != nil {
			return nil, malformed(err)
		}
		if value := o.Get("structuredContent"); old.structured && value != nil && value[0] != '{' {
			o.Delete("structuredContent")
			if content := o.Get("content"); content == nil || string(bytes.TrimSpace(content[1:])) == "]" {
				o.Set("content", append(append(wire.Raw{'['}, textBlock(string(value))...), ']'))
			}
		}
		return o.Raw(), nil
	case "prompts/get":
		o, err := wire.ScanObject(raw, promptKeys)
		if err == nil {
			err = old.each(&o, "messages", old.message)
		}
		if err != nil {
			return nil, malformed(err)
		}
		return o.Raw(), nil
	}
	return raw, nil
}

// each rewrites the elements of an array.
func (old older) each(o *wire.Object, member string, rewrite func(wire.Raw) (wire.Raw, error)) error {
	raw := o.Get(member)
	if raw == nil || !old.links && !old.audio {
		return nil
	}
	var all []json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	out := []byte{'['}
	for i, one := range all {
		if i > 0 {
			out = append(out, ',')
		}
		text, err := rewrite(wire.Raw(one))
		if err != nil {
			return err
		}
		out = append(out, text...)
	}
	o.Set(member, append(out, ']'))
	return nil
}

// message rewrites the content of a prompt's message.
func (old older) message(raw wire.Raw) (wire.Raw, error) {
	o, err := wire.ScanObject(raw, messageKeys)
	if err != nil || o.Get("content") == nil {
		return raw, err
	}
	block, err := old.block(o.Get("content"))
	if err != nil {
		return nil, err
	}
	o.Set("content", block)
	return o.Raw(), nil
}

// block rewrites one block of content.
func (old older) block(raw wire.Raw) (wire.Raw, error) {
	if len(raw) == 0 || raw[0] != '{' {
		return raw, nil
	}
	o, err := wire.ScanObject(raw, blockKeys)
	if err != nil {
		return nil, err
	}
	say := func(member string) string { s, _ := wire.String(o.Get(member)); return s }
	switch kind := say("type"); {
	case kind == "resource_link" && old.links:
		text := say("title")
		if text == "" {
			text = say("name")
		}
		for _, more := range []string{say("description"), say("uri")} {
			if text != "" && more != "" {
				text += ": "
			}
			text += more
		}
		return textBlock(text), nil
	case kind == "audio" && old.audio:
		const bits, bitsOfByte = 6, 8 // of a character of base64
		n := len(say("data")) * bits / bitsOfByte
		return textBlock("(audio, " + say("mimeType") + ", " + strconv.Itoa(n) + " bytes; protocol " + exchange.V20241105 + " has no way to show it)"), nil
	}
	return raw, nil
}

func textBlock(text string) wire.Raw {
	return append(wire.AppendString(wire.Raw(`{"type":"text","text":`), text), '}')
}
