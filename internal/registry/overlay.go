package registry

import (
	"fmt"
	"maps"
	"slices"

	"github.com/jackfield-dev/jackfield"
)

// lay is what becomes of a server when an overlay is laid over it. The overlay's ID,
// Scope, Revision and Version are set; both counters of the outcome are sums, so that
// they grow with either. What a key of the overlay says takes the place of what the
// base says; but of a base at another address it gets nothing that was meant for that
// address, and what somebody wrote who does not run the gateway takes away only, where
// it reaches the server that the operator's rules are about.
func lay(base *jackfield.Server, over *reading) jackfield.Server {
	from := &over.server
	out := clone(*base)
	out.ID, out.Scope, out.Base = from.ID, from.Scope, base.ID
	out.Revision, out.Version = base.Revision+from.Revision, base.Version+from.Version
	address := from.Endpoint.URL != "" || from.Endpoint.Command != ""
	out.Operator = base.Operator && (!address || from.Operator)
	moved := address && (from.Endpoint.Command != "" || origin(from.Endpoint.URL) != origin(base.Endpoint.URL))
	switch {
	case from.Invalid != "" || over.hidden:
		return unusable(out, from.Invalid)
	case base.Invalid != "" && !moved:
		return unusable(out, base.Invalid)
	}
	layAbout(&out, over)
	layUsage(&out, over, moved || from.Operator)
	layAccess(&out, over, moved || from.Operator)
	if moved {
		out.Invalid = ""
		out.Endpoint, out.Fill, out.Vars = from.Endpoint, from.Fill, from.Vars
	} else if why := layEndpoint(&out, over); why != "" {
		return unusable(out, why)
	}
	ownTeam(&out)
	if name := undeclared(&out); name != "" {
		return unusable(out, fmt.Sprintf("it uses {{var.%s}}, which is not declared; write vars: {%s: {title: …}} in the overlay", name, name))
	}
	if !base.Operator && over.bound != "" && over.bound != binding(&out) {
		return unusable(out, "the server that this is laid over went to another address since the secrets here were entered; enter them again")
	}
	return out
}

// unusable is the server with a reason why it cannot be used; none: it is hidden.
func unusable(s jackfield.Server, why string) jackfield.Server {
	s.Endpoint, s.Fill, s.Vars, s.Invalid = jackfield.Endpoint{}, jackfield.Fill{}, nil, why
	return s
}

// isHidden reports whether the server is what an overlay made that hides it.
func isHidden(s *jackfield.Server) bool {
	return s.Base != "" && s.Invalid == "" && s.Endpoint.Transport == ""
}

func layAbout(out *jackfield.Server, over *reading) {
	from, has := over.server.About, over.keys
	if has["title"] {
		out.About.Title = from.Title
	}
	if has["description"] {
		out.About.Description = from.Description
	}
	if has["icon"] {
		out.About.Icon = from.Icon
	}
	if has["serverInstructions"] {
		out.About.Instructions = from.Instructions
	}
}

// layUsage lays the usage over. Unless it is free to, the overlay shares no more
// widely and is called no more often.
func layUsage(out *jackfield.Server, over *reading, free bool) {
	from, has, u := over.server.Usage, over.keys, &out.Usage
	if has["timeout"] {
		u.Timeout = from.Timeout
	}
	if has["initTimeout"] {
		u.InitTimeout = from.InitTimeout
	}
	if has["startup"] {
		u.OnDemand = from.OnDemand
	}
	if has["onSessionLoss"] {
		u.OnSessionLoss = from.OnSessionLoss
	}
	if has["requiresOAuth"] && (free || from.RequiresOAuth) {
		u.RequiresOAuth = from.RequiresOAuth
	}
	narrower := func(a, b jackfield.Sharing) bool {
		widest := []jackfield.Sharing{jackfield.SharingApp, jackfield.SharingAuto, jackfield.SharingOwner, jackfield.SharingSession, jackfield.SharingCall}
		return slices.Index(widest, a) > slices.Index(widest, b)
	}
	if has["sharing"] && (free || narrower(from.Sharing, u.Sharing)) {
		u.Sharing = from.Sharing
	}
	slower := func(a, b jackfield.Rate) bool {
		return b.Calls == 0 || float64(a.Calls)*float64(b.Per) < float64(b.Calls)*float64(a.Per)
	}
	if has["rate"] && (free || slower(from.Rate, u.Rate)) {
		u.Rate = from.Rate
	}
	if has["ratePerPerson"] && (free || slower(from.PersonRate, u.PersonRate)) {
		u.PersonRate = from.PersonRate
	}
}

// layAccess lays over which tools there are, and for whom. Unless it is free to, the
// overlay leaves all that the base refuses refused.
func layAccess(out *jackfield.Server, over *reading, free bool) {
	from, has := over.server, over.keys
	switch {
	case !has["tools"]:
	case free:
		out.Tools = from.Tools
	default:
		out.Tools = jackfield.ToolFilter{Allow: from.Tools.Allow, Deny: from.Tools.Deny, Also: []jackfield.ToolFilter{out.Tools}}
	}
	switch {
	case !has["access"]:
	case free:
		out.Rules = from.Rules
	default:
		out.Rules = jackfield.Rules{
			Allow: inBoth(out.Rules.Allow, from.Rules.Allow, out.Scope),
			Deny:  slices.Concat(out.Rules.Deny, from.Rules.Deny),
			Tools: slices.Concat(out.Rules.Tools, from.Rules.Tools),
		}
	}
}

// inBoth is who is on both lists, of those in the scope. An empty list is everybody.
// A team and one of its members that stand on one list each are not found: it is
// rather nobody than somebody too many.
func inBoth(a, b []jackfield.Scope, scope jackfield.Scope) []jackfield.Scope {
	everybody := func(l []jackfield.Scope) bool { return len(l) == 0 || slices.Contains(l, scope) }
	switch {
	case everybody(a):
		return b
	case everybody(b):
		return a
	}
	var both []jackfield.Scope
	for _, s := range a {
		if slices.Contains(b, s) {
			both = append(both, s)
		}
	}
	if both == nil {
		return []jackfield.Scope{jackfield.Team("")} // nobody is in it
	}
	return both
}

// layEndpoint lays over how the server is reached, where it stays at its address. It
// returns why that cannot be.
func layEndpoint(out *jackfield.Server, over *reading) string {
	from, fill, has, e := over.server.Endpoint, over.server.Fill, over.keys, &out.Endpoint
	if has["type"] {
		if (from.Transport == jackfield.TransportStdio) != (e.Transport == jackfield.TransportStdio) {
			return fmt.Sprintf("type is %s, but the server that this is laid over is reached by %s", from.Transport, e.Transport)
		}
		e.Transport = from.Transport
	}
	if has["vars"] || has["customUserVars"] {
		out.Vars = over.server.Vars
	} else {
		for _, v := range over.server.Vars { // those of inputs
			if !slices.ContainsFunc(out.Vars, func(known jackfield.Variable) bool { return known.Name == v.Name }) {
				out.Vars = append(slices.Clip(out.Vars), v)
			}
		}
	}
	if e.Transport == jackfield.TransportStdio {
		if has["args"] {
			e.Args, out.Fill.Args = from.Args, fill.Args
		}
		if has["env"] {
			e.Env, out.Fill.Env = from.Env, fill.Env
		}
		if has["cwd"] {
			e.Dir = from.Dir
		}
		if has["limits"] {
			e.Limits = from.Limits
		}
		return ""
	}
	if from.URL != "" {
		e.URL, out.Fill.URL = from.URL, fill.URL
	}
	if has["headers"] {
		e.Headers, out.Fill.Headers = from.Headers, fill.Headers
	}
	if has["tls"] {
		if !over.server.Operator {
			return "tls decides whom the secrets of the server that this is laid over are sent to; write it with a url of your own, or ask for it there"
		}
		e.TLS = from.TLS
	}
	return ""
}

// ownTeam fills in the team of an overlay, which is the same for all who see it.
func ownTeam(s *jackfield.Server) {
	if s.Scope.Kind != jackfield.ScopeTeam {
		return
	}
	fill := func(t jackfield.Template, team string) jackfield.Template {
		if !slices.ContainsFunc(t, func(p jackfield.Part) bool { return p.From == jackfield.FromTeam }) {
			return t
		}
		var out jackfield.Template
		for _, p := range t {
			if p.From == jackfield.FromTeam {
				p = jackfield.Part{Text: jackfield.Secret(team)}
			}
			if n := len(out); n > 0 && p.From == "" && out[n-1].From == "" {
				out[n-1].Text += p.Text
				continue
			}
			out = append(out, p)
		}
		return out
	}
	e, f := &s.Endpoint, &s.Fill
	if t := fill(f.URL, escaped(s.Scope.ID)); t != nil {
		f.URL, e.URL = t, spelled(t, written)
		if _, ok := constant(t); ok {
			f.URL = nil
		}
	}
	e.Args, f.Args = slices.Clone(e.Args), maps.Clone(f.Args)
	for i, t := range f.Args {
		t = fill(t, s.Scope.ID)
		f.Args[i], e.Args[i] = t, spelled(t, written)
		if _, ok := constant(t); ok {
			delete(f.Args, i)
		}
	}
	both := func(constants map[string]jackfield.Secret, filled map[string]jackfield.Template) (map[string]jackfield.Secret, map[string]jackfield.Template) {
		constants, filled = maps.Clone(constants), maps.Clone(filled)
		for name, t := range filled {
			t = fill(t, s.Scope.ID)
			if text, ok := constant(t); ok {
				if constants == nil {
					constants = map[string]jackfield.Secret{}
				}
				constants[name] = jackfield.Secret(text)
				delete(filled, name)
				continue
			}
			filled[name] = t
		}
		return constants, filled
	}
	e.Env, f.Env = both(e.Env, f.Env)
	e.Headers, f.Headers = both(e.Headers, f.Headers)
}

// undeclared is the first variable that a server uses and does not declare.
func undeclared(s *jackfield.Server) string {
	var missing []string
	for t := range s.Fill.All() {
		for _, p := range t {
			if p.From == jackfield.FromVar && !slices.ContainsFunc(s.Vars, func(v jackfield.Variable) bool { return v.Name == p.Name }) {
				missing = append(missing, p.Name)
			}
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return slices.Min(missing)
}

// binding is whom the secrets of a definition are sent to.
func binding(s *jackfield.Server) string {
	if s.Endpoint.Transport == jackfield.TransportStdio {
		return "stdio " + s.Endpoint.Command
	}
	return string(s.Endpoint.Transport) + " " + origin(s.Endpoint.URL)
}
