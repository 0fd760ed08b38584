package demo

import (
	"context"
	"crypto/md5"  //nolint:gosec // offered by name, for checksums of old files
	"crypto/sha1" //nolint:gosec // offered by name, for checksums of old files
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxText = 1 << 20 // bytes of one text

func textOffer() *offer {
	return &offer{
		name:        "text",
		title:       "Text",
		description: "Exact work on text: checksums, Base64, counting, slugs, line differences and pattern search",
		instructions: "Use these tools for whatever must be exact to the letter: counting characters, checksums, " +
			"encodings, differences.",
		tools: []tool{
			define("hash", "Checksum", "Computes the checksum of a text, as hexadecimal digits.", hints{}, hash),
			define("base64", "Base64", "Encodes a text as Base64, or decodes Base64 that holds text.", hints{}, base64Text),
			define("count", "Count", "Counts the characters, words, lines and bytes of a text.", hints{}, count),
			define("slugify", "Slug", "Makes a name for a URL or a file out of a title: "+
				"lower case letters and digits joined by dashes.", hints{}, slugify),
			define("diff", "Difference", "Shows how one text differs from another, line by line, as a unified diff.", hints{}, diffTexts),
			define("find", "Find a pattern", "Finds everything in a text that matches a regular expression (RE2 syntax).", hints{}, find),
		},
	}
}

func checkText(texts ...string) error {
	for _, t := range texts {
		if len(t) > maxText {
			return fmt.Errorf("the text has %d bytes, more than the %d that are allowed", len(t), maxText)
		}
	}
	return nil
}

type hashIn struct {
	Text      string `json:"text"`
	Algorithm string `json:"algorithm,omitempty" enum:"sha256,sha512,sha1,md5" default:"\"sha256\""`
}

type hashOut struct {
	Algorithm string `json:"algorithm"`
	Hex       string `json:"hex"`
}

func hash(_ context.Context, _ *call, in hashIn) (reply[hashOut], error) {
	if err := checkText(in.Text); err != nil {
		return reply[hashOut]{}, err
	}
	text := []byte(in.Text)
	var sum []byte
	switch in.Algorithm {
	case "sha512":
		s := sha512.Sum512(text)
		sum = s[:]
	case "sha1":
		s := sha1.Sum(text) //nolint:gosec // as above
		sum = s[:]
	case "md5":
		s := md5.Sum(text) //nolint:gosec // as above
		sum = s[:]
	default:
		s := sha256.Sum256(text)
		in.Algorithm, sum = "sha256", s[:]
	}
	digits := hex.EncodeToString(sum)
	return reply[hashOut]{text: digits, data: hashOut{Algorithm: in.Algorithm, Hex: digits}}, nil
}

type base64In struct {
	Text      string `json:"text" jsonschema:"the text to encode, or the Base64 to decode"`
	Direction string `json:"direction,omitempty" enum:"encode,decode" default:"\"encode\""`
	URL       bool   `json:"url,omitempty" jsonschema:"use the alphabet for URLs and file names, without padding" default:"false"`
}

type textOut struct {
	Text string `json:"text"`
}

func textReply(s string) reply[textOut] { return reply[textOut]{text: s, data: textOut{Text: s}} }

func base64Text(_ context.Context, _ *call, in base64In) (reply[textOut], error) {
	if err := checkText(in.Text); err != nil {
		return reply[textOut]{}, err
	}
	encoding := base64.StdEncoding
	if in.URL {
		encoding = base64.RawURLEncoding
	}
	if in.Direction != "decode" {
		return textReply(encoding.EncodeToString([]byte(in.Text))), nil
	}
	plain, err := encoding.DecodeString(strings.TrimSpace(in.Text))
	switch {
	case err != nil:
		return reply[textOut]{}, fmt.Errorf("this is not Base64 of the chosen alphabet: %w", err)
	case !utf8.Valid(plain):
		return reply[textOut]{}, fmt.Errorf("this is Base64 of %d bytes that are not text", len(plain))
	}
	return textReply(string(plain)), nil
}

type countIn struct {
	Text string `json:"text"`
}

type countOut struct {
	Characters int `json:"characters" jsonschema:"Unicode code points"`
	Words      int `json:"words" jsonschema:"separated by white space"`
	Lines      int `json:"lines"`
	Bytes      int `json:"bytes" jsonschema:"in UTF-8"`
}

func count(_ context.Context, _ *call, in countIn) (reply[countOut], error) {
	if err := checkText(in.Text); err != nil {
		return reply[countOut]{}, err
	}
	out := countOut{
		Characters: utf8.RuneCountInString(in.Text), Words: len(strings.Fields(in.Text)),
		Lines: len(splitLines(in.Text)), Bytes: len(in.Text),
	}
	return reply[countOut]{
		text: fmt.Sprintf("%d characters, %d words, %d lines, %d bytes", out.Characters, out.Words, out.Lines, out.Bytes),
		data: out,
	}, nil
}

// splitLines are the lines of s without their ends; a newline at the very end
// begins no line.
func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

type slugifyIn struct {
	Text string `json:"text"`
	Max  int    `json:"max,omitempty" jsonschema:"the most characters that the slug may have" default:"60"`
}

// plainLetters are the letters that people expect to find in another spelling.
var plainLetters = strings.NewReplacer(
	"ä", "ae", "ö", "oe", "ü", "ue", "ß", "ss", "æ", "ae", "œ", "oe", "ø", "o", "å", "a",
	"à", "a", "á", "a", "â", "a", "ã", "a", "ç", "c", "è", "e", "é", "e", "ê", "e", "ë", "e",
	"ì", "i", "í", "i", "î", "i", "ï", "i", "ñ", "n", "ò", "o", "ó", "o", "ô", "o", "õ", "o",
	"ù", "u", "ú", "u", "û", "u", "ý", "y", "ÿ", "y", "ł", "l", "ś", "s", "š", "s", "ž", "z",
	"č", "c", "ć", "c", "ř", "r", "ę", "e", "ą", "a", "đ", "d", "&", " and ", "'", "", "’", "",
)

func slugify(_ context.Context, _ *call, in slugifyIn) (reply[textOut], error) {
	if err := checkText(in.Text); err != nil {
		return reply[textOut]{}, err
	}
	if in.Max <= 0 {
		in.Max = 60
	}
	words := strings.FieldsFunc(plainLetters.Replace(strings.ToLower(in.Text)), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	slug := []rune(strings.Join(words, "-"))
	if len(slug) > in.Max {
		slug = slug[:in.Max]
	}
	s := strings.TrimRight(string(slug), "-")
	if s == "" {
		return reply[textOut]{}, fmt.Errorf("there is no letter and no digit in %.40q to make a slug of", in.Text)
	}
	return textReply(s), nil
}

type findIn struct {
	Text    string `json:"text"`
	Pattern string `json:"pattern" jsonschema:"a regular expression in RE2 syntax; (?i) at its start ignores case"`
	Max     int    `json:"max,omitempty" jsonschema:"the most matches to return" default:"100"`
}

type match struct {
	Text   string   `json:"text"`
	Line   int      `json:"line" jsonschema:"from 1"`
	Groups []string `json:"groups,omitempty" jsonschema:"what the parentheses matched"`
}

type findOut struct {
	Matches []match `json:"matches"`
	More    bool    `json:"more" jsonschema:"there are more matches than returned"`
}

const maxMatches = 1000

func find(_ context.Context, _ *call, in findIn) (reply[findOut], error) {
	if err := checkText(in.Text); err != nil {
		return reply[findOut]{}, err
	}
	if len(in.Pattern) > 1000 {
		return reply[findOut]{}, fmt.Errorf("the pattern has %d characters: use at most 1000", len(in.Pattern))
	}
	re, err := regexp.Compile(in.Pattern)
	if err != nil {
		return reply[findOut]{}, fmt.Errorf("the pattern is not a regular expression that RE2 knows: %w", err)
	}
	if in.Max <= 0 || in.Max > maxMatches {
		in.Max = min(maxMatches, max(in.Max, 100))
	}
	out := findOut{Matches: []match{}}
	var text strings.Builder
	line, from := 1, 0
	for _, at := range re.FindAllStringSubmatchIndex(in.Text, in.Max+1) {
		if len(out.Matches) == in.Max {
			out.More = true
			break
		}
		line += strings.Count(in.Text[from:at[0]], "\n")
		from = at[0]
		m := match{Text: in.Text[at[0]:at[1]], Line: line}
		for g := 2; g < len(at); g += 2 {
			group := ""
			if at[g] >= 0 {
				group = in.Text[at[g]:at[g+1]]
			}
			m.Groups = append(m.Groups, group)
		}
		out.Matches = append(out.Matches, m)
		fmt.Fprintf(&text, "line %d: %s\n", m.Line, m.Text)
	}
	switch {
	case len(out.Matches) == 0:
		text.WriteString("nothing matches")
	case out.More:
		fmt.Fprintf(&text, "there are more than these %d", in.Max)
	}
	return reply[findOut]{text: strings.TrimSuffix(text.String(), "\n"), data: out}, nil
}
