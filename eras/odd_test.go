package eras

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
)

// odd makes JSON that is legal and that nobody would write.
type odd struct{ *rand.Rand }

var (
	oddNumbers = []string{
		"9007199254740993", "-9007199254740995", "123456789012345678901234567890", "1E400", "-1e-400", "-0", "-0.0", "1.0e+3", "0.10",
		"6.02E+23", "0.30000000000000004", "18446744073709551615", "0e0",
	}
	oddStrings = []string{
		`"\u0061"`, `"\/"`, `"/"`, `"\ud83d\ude00"`, `"😀"`, `"\u2028\u2029"`, "\"\u2028\u2029\"", `"\ud800"`, `"<>&"`, `"\u003c\u003E"`,
		"\"\x7f\"", "\"\u00e9\"", "\"e\u0301\"", `"\b\f\n\r\t\"\\"`, `""`, `"data: x\n\nid: 7"`, "\"\ufeff\"", `"\u0000"`, `"null"`, "\"\U0010ffff\ufffd\"",
		`"}],"`, `"\\\""`,
	}
	// Keys that look alike and are not, and none that means something where they are put.
	oddKeys = []string{
		`"a"`, `"A"`, "\"\u00e1\"", "\"a\u0301\"", "\"n\u0430me\"", `"name "`, `""`, `" "`, `"__proto__"`, `"$ref"`, `"constructor"`, `"x.y/z"`, "\"\u2028\"",
		`"\u006b\u0031"`, `"k2"`, `"\ud83d\ude00"`, `"\n"`, `"9007199254740993"`, `"type2"`,
	}
	oddSpaces = []string{"", "", "", " ", "\t", "  "}
)

func pick(o odd, of []string) string { return of[o.IntN(len(of))] }

func (o odd) space() string { return pick(o, oddSpaces) }

// value is any value.
func (o odd) value(deep int) string {
	n := 6
	if deep == 0 {
		n = 4
	}
	switch o.IntN(n) {
	case 0:
		return pick(o, oddNumbers)
	case 1, 2:
		return pick(o, oddStrings)
	case 3:
		return pick(o, []string{"null", "true", "false", "[]", "{}", "[ ]", "{\t}"})
	case 4:
		all := make([]string, o.IntN(4))
		for i := range all {
			all[i] = o.space() + o.value(deep-1) + o.space()
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	return o.object(deep - 1)
}

// object is an object with the members given and others, in any order.
func (o odd) object(deep int, given ...string) string {
	members := append([]string(nil), given...)
	for _, k := range o.Perm(len(oddKeys))[:o.IntN(5)] {
		members = append(members, oddKeys[k]+o.space()+":"+o.space()+o.value(deep))
	}
	o.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	for i := range members {
		members[i] = o.space() + members[i] + o.space()
	}
	return "{" + strings.Join(members, ",") + "}"
}

// member is one member of an object, its key and value as they are written.
type member struct{ key, value string }

// membersOf takes an object apart, with nothing of the gateway's.
func membersOf(text string) ([]member, error) {
	d := json.NewDecoder(strings.NewReader(text))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	var all []member
	for d.More() {
		from := d.InputOffset()
		if _, err := d.Token(); err != nil {
			return nil, err
		}
		m := member{key: strings.TrimLeft(text[from:d.InputOffset()], ", \t\r\n")}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		m.value = string(value)
		all = append(all, m)
	}
	return all, nil
}

// without is what is left of an object besides the members named, and what those
// are. Members keep their order.
func without(text string, keys ...string) (rest []member, taken map[string]string, err error) {
	all, err := membersOf(text)
	taken = map[string]string{}
	for _, m := range all {
		mine := false
		for _, k := range keys {
			mine = mine || m.key == `"`+k+`"`
		}
		if mine {
			taken[strings.Trim(m.key, `"`)] = m.value
			continue
		}
		rest = append(rest, m)
	}
	return rest, taken, err
}
