package registry

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// all are places where everything may stand.
func all() *places {
	return &places{
		lookup: env, dir: "/etc/jackfield", identity: true, inputs: []Input{{ID: "in-1", Sensitive: true, Description: "D"}},
		vars: []jackfield.Variable{{Name: "KEY"}, {Name: "region"}},
	}
}

// shown is a template as text, its places in <>.
func shown(t jackfield.Template) string {
	return spelled(t, func(p jackfield.Part) string { return "<" + string(p.From) + " " + p.Name + ">" })
}

func TestPlacesAreReadOnceAndWhatFillsThemIsNot(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"plain {x} {{}} {{.Go}}":  "plain {x} {{}} {{.Go}}",
		"Bearer {{var.KEY}}":      "Bearer <var KEY>",
		"{{ user.id }}{{team}}":   "<user id><team >",
		"{{KEY}}-{{region}}":      "<var KEY>-<var region>",
		"{{LIBRECHAT_USER_ID}}":   "<user id>",
		"{{LIBRECHAT_USER_NAME}}": "<user name>", "{{LIBRECHAT_USER_USERNAME}}": "<user name>",
		"{{LIBRECHAT_USER_EMAIL}}":      "<user email>",
		"${A}{{user.email}}${A}":        "1<user email>1",
		"${DOLLAR}":                     "${A}",
		"${file:/run/k} ${file:k}":      "<secret file:/run/k> <secret file:/etc/jackfield/k>",
		"${vault:secret/app/key#field}": "<secret vault:secret/app/key#field>",
		"${input:in-1}":                 "<var in-1>",
		"$${A} $${input:x} {{var.KEY}}": "${A} ${input:x} <var KEY>",
		"{{${A}}} {{":                   "{{1}} {{",
		"{{user.id}}{{ unclosed":        "<user id>{{ unclosed",
		"${NO:-default} {{user.id":      "default {{user.id",
		"a{{{user.id}}}":                "a{{{user.id}}}",
	} {
		got, err := all().parse(text)
		if err != nil || shown(got) != want {
			t.Errorf("%q: got %q, %v", text, shown(got), err)
		}
	}
	hostile := &places{identity: true, vars: []jackfield.Variable{{Name: "KEY"}}, lookup: func(string) (string, bool) { return "{{user.id}}${A}{{var.KEY}}", true }}
	if got, err := hostile.parse("x${A}y"); err != nil || len(got) != 1 || got[0].Text != "x{{user.id}}${A}{{var.KEY}}y" {
		t.Errorf("what a variable holds was looked at again: %v %v", got, err)
	}
	p := all()
	if _, err := p.parse("${input:in-1}${input:in-1}"); err != nil || len(p.vars) != 3 || !reflect.DeepEqual(p.vars[2], jackfield.Variable{Name: "in-1", Description: "D", Sensitive: true, Required: true}) {
		t.Errorf("%+v %v", p.vars, err)
	}
	if got, _ := (&places{identity: true, team: "data"}).parse("{{team}}"); len(got) != 1 || got[0].Text != "data" {
		t.Errorf("%v", got)
	}
}

func TestAPlaceThatNothingFillsSaysWhatToWrite(t *testing.T) {
	for text, want := range map[string]string{
		"{{usr.id}}":                       "{{usr.id}}, which nothing fills in here; did you mean {{user.id}}?",
		"{{user.ID}}":                      "did you mean {{user.id}}?",
		"{{teams}}":                        "did you mean {{team}}?",
		"{{var.KEYS}}":                     "is not declared under vars; did you mean {{var.KEY}}?",
		"{{var.TOKEN}}":                    "is not declared under vars; write vars: {TOKEN: {title: …}} beside it",
		"{{regoin}}":                       "did you mean {{var.region}}?",
		"{{range}}":                        "nothing fills in here; write the value",
		"{{LIBRECHAT_OPENID_TOKEN}}":       "a token of the caller's sign-in: this version does not fill it in",
		"{{LIBRECHAT_BODY_MESSAGEID}}":     "a value of a chat: this version",
		"{{LIBRECHAT_GRAPH_ACCESS_TOKEN}}": "a token of Microsoft Graph: this version",
		"{{LIBRECHAT_USER_ROLE}}":          "a field of a LibreChat user: this version",
		"${input:none}":                    "an input that the file does not have",
		"${vault:secret}":                  "names no field of a secret", "${vault:a/b}": "names no field", "${vault:/b#c}": "names no field", "${vault:a/../../sys#c}": "names no field",
		"${file:~/x}":        "~, which only a shell",
		"${file}":            "a variable of an editor",
		"${NO:-{{user.id}}}": "holds another {{",
		"${NO}":              "NO is not set",
		"${A":                "never closed",
	} {
		_, err := all().parse(text)
		says := ""
		switch e := err.(type) { //nolint:errorlint // as it is returned
		case *placeError:
			says = e.Message + "; " + e.Fix
		case *ExpandError:
			says = e.Message + "; " + e.Fix
		}
		if !strings.Contains(says, want) {
			t.Errorf("%q: got %q", text, says)
		}
	}
}

func readFile(t *testing.T, doc string) ([]jackfield.Server, string) {
	t.Helper()
	report := document.NewReport("x.json")
	servers := Servers(document.Parse("x.json", []byte(doc), report), Source{Lookup: env, Dir: "/d", Inputs: []Input{{ID: "in"}}}, report)
	var says []string
	for _, p := range report.Problems() {
		says = append(says, p.String())
	}
	return servers, strings.Join(says, "\n")
}

func TestValuesWithPlacesAreFilledInAndOthersStay(t *testing.T) {
	servers, says := readFile(t, `{
		"p": {"command": "p", "args": ["-k", "{{var.KEY}}", "${A}"], "env": {"U": "{{user.id}}", "C": "${A}"}, "vars": {"KEY": {"title": "T", "required": false}}},
		"h": {"url": "https://h.test/${A}/{{user.id}}?k={{var.K}}", "headers": {"authorization": "Bearer ${input:in} ", "X-C": "c"}, "customUserVars": {"K": {"title": "K", "description": "D", "sensitive": false}}}
	}`)
	if says != "" {
		t.Fatal(says)
	}
	p, h := servers[0], servers[1]
	if got := fmt.Sprint(p.Endpoint.Args, shown(p.Fill.Args[1]), len(p.Fill.Args), shown(p.Fill.Env["U"]), len(p.Fill.Env), len(p.Endpoint.Env), p.Endpoint.Env["C"].Reveal(), p.Vars); got != "[-k {{var.KEY}} 1]<var KEY>1<user id>1 11[{KEY T  true false}]" {
		t.Error(got)
	}
	if got := fmt.Sprint(h.Endpoint.URL, " ", shown(h.Fill.URL), " ", shown(h.Fill.Headers["Authorization"]), len(h.Endpoint.Headers), h.Endpoint.Headers["X-C"].Reveal(), h.Vars); got !=
		"https://h.test/1/{{user.id}}?k={{var.K}} https://h.test/1/<user id>?k=<var K> Bearer <var in>1c[{K K D false true} {in   false true}]" {
		t.Error(got)
	}
}

func TestVariablesRulesAndRatesAreChecked(t *testing.T) {
	for entry, want := range map[string]string{
		`"vars":{"K":{}}`: "warning: server \"a\": nothing uses the variable K",
		`"vars":{"K":{}},"customUserVars":{"K":{}}`: "both vars and customUserVars",
		`"vars":{"1":{}}`:            "cannot be a variable's name",
		`"vars":{"K":{"titel":"x"}}`: "vars.K.titel is not a known setting; did you mean title?",
		`"vars":{"K":{"title":"` + strings.Repeat("x", 300) + `"}}`: "vars.K.title is longer",
		`"headers":{"X":"{{var.K}}"}`:                               "headers.X holds {{var.K}}, which is not declared",
		`"cwd":"{{user.id}}"`:                                       "cwd is ignored",
		`"tls":{"serverName":"{{user.id}}"}`:                        "tls.serverName is the same for everybody",
		`"access":{"allow":[]}`:                                     "access.allow is empty",
		`"access":{"allow":["data"]}`:                               `access.allow cannot hold "data"; write team:NAME or user:NAME`,
		`"access":{"deny":[1]}`:                                     "access.deny holds a number",
		`"access":{"deny":"team:x"}`:                                "access.deny must be a list",
		`"access":{"deny":["team:"]}`:                               "access.deny cannot hold",
		`"access":{"tools":[{"tools":["a*b"],"deny":["user:x"]}]}`:  "access.tools[0].tools cannot hold",
		`"access":{"tools":[{"deny":["user:x"]}]}`:                  "access.tools[0] names no tools",
		`"access":{"tools":[{"tools":["x"]}]}`:                      "access.tools[0] names nobody",
		`"access":{"alow":["user:x"]}`:                              "did you mean allow?",
		`"rate":"60"`:                                               `rate "60" is not a rate`, `"rate":60`: "rate must be a rate",
		`"rate":"0/m"`: "rate allows nothing", `"rate":"-1/m"`: "allows nothing", `"ratePerPerson":"1/y"`: "is not a rate",
		`"ratePerPerson":"1/100h"`: "not between a second and a day", `"rate":"9999999999/s"`: "is more than",
		`"enabled":true`:                   "enabled is not a known setting; write disabled: true",
		`"extends":true`:                   "extends stands in a definition that is no team's",
		`"overlays":[]`:                    "overlays must be a map",
		`"overlays":{"t":{"overlays":{}}}`: "overlays stand in the servers",
		`"overlays":{"t/x":{}}`:            "an overlay is ignored: the team name",
		`"overlays":{"t":{"nonsense":1}}`:  `server "team:t/a": nonsense is not a known`,
	} {
		if _, says := readFile(t, `{"a":{"url":"https://a.test",`+entry+`}}`); !strings.Contains(says, want) {
			t.Errorf("%s: got %s", entry, says)
		}
	}
	servers, says := readFile(t, `{"a":{"url":"https://a.test","rate":"600/m","ratePerPerson":"5/10s","access":{"allow":["team:x"],"deny":["user:y:z",{"team":"w"}],"tools":[{"tools":["d*"],"deny":["user:y"]}]}}}`)
	want := jackfield.Rules{
		Allow: []jackfield.Scope{jackfield.Team("x")}, Deny: []jackfield.Scope{jackfield.User("y:z"), jackfield.Team("w")},
		Tools: []jackfield.ToolRule{{Tools: []string{"d*"}, Deny: []jackfield.Scope{jackfield.User("y")}}},
	}
	if u := servers[0].Usage; says != "" || !reflect.DeepEqual(servers[0].Rules, want) || u.Rate != (jackfield.Rate{Calls: 600, Per: time.Minute}) || u.PersonRate != (jackfield.Rate{Calls: 5, Per: 10 * time.Second}) {
		t.Errorf("%+v %s", servers[0], says)
	}
}

func TestAnOverlayReplacesWhatItSays(t *testing.T) {
	base := `"url":"https://a.test/x?t={{team}}","title":"A","sharing":"owner","headers":{"X":"1","Y":"{{user.id}}","T":"{{team}}/{{user.id}}"},"vars":{"K":{}},"rate":"60/m","tls":{"serverName":"n.test"}`
	for _, c := range [][2]string{
		{`{}`, "A owner https://a.test/x?t=d%2Fa 1 [T Y] 60 n.test"},
		{`{"title":"B"}`, "B owner https://a.test/x?t=d%2Fa 1 [T Y] 60 n.test"},
		{`{"headers":{"Z":"{{var.K}}"}}`, "A owner https://a.test/x?t=d%2Fa 0 [Z] 60 n.test"},
		{`{"url":"https://A.test:443/y"}`, "A owner https://A.test:443/y 1 [T Y] 60 n.test"},
		{`{"url":"https://b.test/{{team}}"}`, "A owner https://b.test/d%2Fa 0 [] 60 "},
		{`{"url":"https://b.test","headers":{"Z":"z"}}`, "A owner https://b.test 1 [] 60 "},
		{`{"sharing":"app","rate":"600/m","tls":{"serverName":"m.test"}}`, "A app https://a.test/x?t=d%2Fa 1 [T Y] 600 m.test"},
		{`{"enabled":false}`, "hidden"},
		{`{"disabled":true}`, "none"},
		{`{"headers":{"Z":"{{var.NONE}}"}}`, "it uses {{var.NONE}}, which is not declared; write vars: {NONE: {title: …}} in the overlay"},
		{`{"url":"https://b.test","headers":{"Z":"{{var.K}}"}}`, "it uses {{var.K}}, which is not declared; write vars: {K: {title: …}} in the overlay"},
		{`{"type":"stdio"}`, "type is stdio, but the server that this is laid over is reached by http"},
	} {
		over, want := c[0], c[1]
		doc := fmt.Sprintf(`{"a":{%s,"overlays":{"d/a":%s}}}`, base, over)
		report := document.NewReport("x.json")
		n := document.Parse("x.json", []byte(doc), report)
		d := &definition{node: n.Get("a"), from: Source{Lookup: env}, report: report.ForServer("a"), operator: true, file: true}
		read := d.read("a")
		o := &definition{node: n.Get("a").Get("overlays").Get("d/a"), from: Source{Lookup: env}, report: report.ForServer("o"), operator: true, file: true, overlay: true, scope: jackfield.Team("d/a")}
		laidOver := o.read("a")
		s := lay(&read.server, &laidOver)
		var filled []string
		for _, name := range []string{"T", "Y", "Z"} {
			if len(s.Fill.Headers[name]) > 0 {
				filled = append(filled, name)
			}
		}
		got := fmt.Sprint(s.About.Title, " ", s.Usage.Sharing, " ", s.Endpoint.URL, " ", len(s.Endpoint.Headers), " ", filled, " ", s.Usage.Rate.Calls, " ", s.Endpoint.TLS.ServerName)
		switch {
		case laidOver.disabled:
			got = "none"
		case isHidden(&s):
			got = "hidden"
		case s.Invalid != "":
			got = s.Invalid
		case len(s.Fill.URL) > 0:
			t.Errorf("%s: %v is still to be filled in", over, s.Fill.URL)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", over, got, want)
		}
		if want != "none" && s.Invalid == "" && len(s.Fill.Headers["T"]) > 0 && shown(s.Fill.Headers["T"]) != "d/a/<user id>" {
			t.Errorf("%s: the team is %s", over, shown(s.Fill.Headers["T"]))
		}
	}
}

func TestAnOverlayOfAnotherAuthorTakesAwayOnly(t *testing.T) {
	r, _ := stored(t)
	apply(t, r, file(t, `{"a":{"url":"https://a.test","sharing":"owner","requiresOAuth":true,"rate":"60/m","ratePerPerson":"6/m","headers":{"X":"${A}"}}}`)...)
	put(t, r, edna, jackfield.Team("data"), "a", `{"extends":true,"sharing":"app","requiresOAuth":false,"rate":"1000/s","ratePerPerson":"3/m"}`)
	s, err := r.Find(ann, "a")
	if err != nil || s.Usage.Sharing != jackfield.SharingOwner || !s.Usage.RequiresOAuth || s.Usage.Rate.Calls != 60 || s.Usage.PersonRate.Calls != 3 || !s.Operator || s.Endpoint.Headers["X"].Reveal() != "1" {
		t.Errorf("%+v %v", s, err)
	}
	put(t, r, edna, jackfield.Team("data"), "a", `{"extends":true,"url":"https://b.test","sharing":"app","requiresOAuth":false}`)
	s, err = r.Find(ann, "a")
	if err != nil || s.Usage.Sharing != jackfield.SharingApp || s.Usage.RequiresOAuth || s.Operator || len(s.Endpoint.Headers) > 0 {
		t.Errorf("%+v %v", s, err)
	}
}

func TestInputsOfVSCodeAreRead(t *testing.T) {
	for list, want := range map[string]string{
		`[{"id":"a","type":"promptString","description":"D","password":true},{"id":"b-1","type":"pickString","options":["x"]}]`: "[{a D true} {b-1  false}]",
		`[{"id":"a","type":"command"}]`:      "which only an editor can run",
		`[{"id":"a","type":"prompt"}]`:       "of a type that is not known",
		`[{"id":"a b","type":"pickString"}]`: "with the id",
		`[{"id":"a"},{"id":"a"}]`:            "twice",
		`[1]`:                                "no map",
		`{}`:                                 "must be a list",
		`[null]`:                             "no map",
	} {
		var in Inputs
		message, fix := in.DecodeNode(document.Parse("x.json", []byte(list), document.NewReport("")))
		if got := message + " " + fix; !strings.Contains(got, want) && fmt.Sprint(in) != want {
			t.Errorf("%s: got %s %v", list, got, in)
		}
	}
}

// FuzzPlaces looks for texts that make the parser panic or loop, for values that are
// looked at twice, and for templates that are not what was written.
func FuzzPlaces(f *testing.F) {
	for _, s := range []string{"", "{{user.id}}", "a{{var.KEY}}b${A}", "$${A}{{team}}", "${file:/x}${vault:a/b#c}", "{{{{user.id}}}}", "${input:in-1}", "{{", "${", "{{${A}}}", "${NO:-{{x}}}", "{{LIBRECHAT_BODY_X}}"} {
		f.Add(s, "v")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		p := all()
		p.lookup = func(string) (string, bool) { return value, true }
		got, err := p.parse(text)
		if err != nil {
			if err.Error() == "" || got != nil {
				t.Errorf("%q: %v with %v", text, err, got)
			}
			return
		}
		for i, part := range got {
			if part.From == "" && i > 0 && got[i-1].From == "" {
				t.Errorf("%q: two texts side by side in %v", text, got)
			}
			if part.From == jackfield.FromVar && !p.used[part.Name] {
				t.Errorf("%q: %s is used and not told", text, part.Name)
			}
		}
		onlyPlaces := func(t jackfield.Template) (out []jackfield.Part) {
			for _, part := range t {
				if part.From != "" {
					out = append(out, part)
				}
			}
			return out
		}
		hostile := all()
		hostile.lookup = func(string) (string, bool) { return "{{user.id}}${A}{{team}}", true }
		if again, err := hostile.parse(text); err != nil || value != "" && !reflect.DeepEqual(onlyPlaces(got), onlyPlaces(again)) {
			t.Errorf("%q: %s and, with another environment, %s, %v", text, shown(got), shown(again), err)
		}
		stranger := &places{vars: all().vars}
		if got, err := stranger.parse(text); err == nil {
			for _, part := range got {
				if part.From != "" && part.From != jackfield.FromVar {
					t.Errorf("%q: a stranger gets %+v", text, part)
				}
			}
		}
	})
}

// FuzzPut looks for documents that make a dry run panic, that are taken with a fault
// or refused without a word, and whose secrets are shown.
func FuzzPut(f *testing.F) {
	for _, s := range []string{
		`{"url":"https://a.test"}`, `{"url":"https://a.test","headers":{"X":"hunter2","Y":"[sealed]"}}`, `{"extends":true,"headers":{"A":"{{var.K}}"},"vars":{"K":{}}}`,
		`{"command":"x","env":{"A":"${A}"},"args":[1,true]}`, `{"url":"https://a.test/{{var.K}}","customUserVars":{"K":{"title":"x"}},"access":{"allow":["team:x"],"tools":[{"tools":["*"],"deny":["user:x"]}]}}`,
		`{"tls":{"key":"k"},"url":"https://a.test"}`, `[]`, `{`, `null`, `{"headers":[1],"env":{"a":{}},"tls":1}`, `{"url":"https://a.test","rate":"1/s","extends":"true"}`, `{"headers":{"X":null},"url":"http://1.1"}`,
	} {
		f.Add([]byte(s), "a", true)
	}
	m := &memory{}
	r := New(options(m))
	m.take = append(m.take, r.Take)
	if _, err := r.Apply([]jackfield.Server{server("base", "https://a.test")}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, doc []byte, name string, team bool) {
		for _, p := range []jackfield.Principal{edna, host} {
			scope := p.Scope()
			if team {
				scope, name = jackfield.Team("data"), "base"
			}
			d, problems, err := r.Put(t.Context(), p, scope, name, doc, Condition{DryRun: true})
			if (err == nil) == hasFault(problems) && len(problems) > 0 && jackfield.CodeOf(err) == jackfield.Invalid {
				t.Errorf("%v with %v", err, problems)
			}
			if err != nil {
				if jackfield.CodeOf(err) == jackfield.Internal || !utf8.ValidString(err.Error()) {
					t.Errorf("%v", err)
				}
				continue
			}
			if m.head != 0 || !json.Valid(d.Doc) {
				t.Errorf("%s", d.Doc)
			}
			e, _, _, err := r.prepare(p, scope, name, doc, Condition{DryRun: true})
			if err != nil {
				t.Fatal(err)
			}
			s := e.reading.server
			if !p.Operator && (s.Endpoint.Transport == jackfield.TransportStdio || s.Operator || s.Endpoint.Command+s.Endpoint.Dir != "" || len(s.Endpoint.Env)+len(s.Endpoint.Args) > 0) {
				t.Errorf("%s makes %+v", doc, s)
			}
			for key, secret := range e.secrets {
				if len(secret) > 12 && strings.Count(string(d.Doc), secret) >= strings.Count(string(doc), secret) {
					t.Errorf("%s is shown in %s", key, d.Doc)
				}
			}
		}
	})
}
