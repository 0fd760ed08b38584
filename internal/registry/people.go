package registry

import (
	"fmt"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// variables reads what each person enters, in the order of the file.
func (d *definition) variables() []jackfield.Variable {
	key, values := "vars", d.entry.Vars
	if n := d.node.Get("customUserVars"); !n.IsNull() {
		if !d.node.Get("vars").IsNull() {
			d.report.Fault(n.Pos, "there are both vars and customUserVars", "write all under vars")
			return nil
		}
		key, values = "customUserVars", d.entry.CustomUserVars
	}
	n := d.node.Get(key)
	if n.IsNull() || n.Kind != document.Map {
		return nil
	}
	if len(n.Fields) > maxVars {
		d.report.Fault(n.Pos, fmt.Sprintf("%s has more than %d entries", key, maxVars), "nobody enters so many")
		return nil
	}
	var vars []jackfield.Variable
	for _, f := range n.Fields {
		v := values[f.Key]
		d.longest(f.Value, key+"."+f.Key+".title", v.Title, maxTitle)
		d.longest(f.Value, key+"."+f.Key+".description", v.Description, maxDescription)
		if !isVarName(f.Key) {
			d.report.Fault(f.Pos, fmt.Sprintf("%q cannot be a variable's name", clip(f.Key)), "use letters, digits, - and _, at most 64, such as API_KEY")
			continue
		}
		vars = append(vars, jackfield.Variable{
			Name: f.Key, Title: v.Title, Description: v.Description,
			Sensitive: v.Sensitive == nil || *v.Sensitive,
			Required:  v.Required == nil || *v.Required,
		})
	}
	return vars
}

func (d *definition) longest(n *document.Node, what, text string, most int) {
	if len(text) > most {
		d.report.Fault(n.At(), fmt.Sprintf("%s is longer than %d bytes", what, most), "shorten it")
	}
}

// unusedVars warns of what people would be asked for in vain.
func (d *definition) unusedVars() {
	if d.overlay || len(d.report.Faults()) > 0 {
		return
	}
	for _, v := range d.places.vars {
		if !d.places.used[v.Name] {
			d.report.Warn(d.at("vars"), "nothing uses the variable "+v.Name, "write {{var."+v.Name+"}} in headers, env, args or url, or remove it")
		}
	}
}

// rules reads who may see and use the server.
func (d *definition) rules() jackfield.Rules {
	a, n := d.entry.Access, d.node.Get("access")
	if a == nil {
		return jackfield.Rules{}
	}
	r := jackfield.Rules{
		Allow: d.people("access.allow", n.Get("allow"), a.Allow),
		Deny:  d.people("access.deny", n.Get("deny"), a.Deny),
	}
	for i, t := range a.Tools {
		at, what := n.Get("tools").Items[i], fmt.Sprintf("access.tools[%d]", i)
		rule := jackfield.ToolRule{
			Tools: t.Tools,
			Allow: d.people(what+".allow", at.Get("allow"), t.Allow),
			Deny:  d.people(what+".deny", at.Get("deny"), t.Deny),
		}
		d.patterns(what+".tools", at.Get("tools"), t.Tools)
		switch {
		case len(t.Tools) == 0:
			d.report.Fault(at.At(), what+" names no tools", `write tools: ["delete_*"]`)
		case len(t.Allow)+len(t.Deny) == 0:
			d.report.Fault(at.At(), what+" names nobody", "write allow: [team:NAME] or deny: [user:NAME]")
		}
		r.Tools = append(r.Tools, rule)
	}
	return r
}

// people reads a list of teams and users.
func (d *definition) people(what string, n *document.Node, list []string) []jackfield.Scope {
	if !n.IsNull() && n.Kind == document.List && len(list) == 0 {
		d.report.Fault(n.Pos, what+" is empty", "name teams and users, or remove it")
	}
	if len(list) > maxPeople {
		d.report.Fault(n.At(), fmt.Sprintf("%s has more than %d entries", what, maxPeople), "make a team of them")
		return nil
	}
	var out []jackfield.Scope
	for i, text := range list {
		s, ok := parseScope(text)
		if message, _ := checkScope(s); !ok || message != "" {
			d.report.Fault(n.Items[i].At(), fmt.Sprintf("%s cannot hold %q", what, clip(text)), "write team:NAME or user:NAME")
			continue
		}
		out = append(out, s)
	}
	return out
}
