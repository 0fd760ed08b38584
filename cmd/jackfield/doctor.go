package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/app"
	"github.com/jackfield-dev/jackfield/internal/api"
)

const (
	probesAtOnce = 8
	probeWithin  = 30 * time.Second // one server, unless --timeout says otherwise
	statusWithin = 2 * time.Second  // a gateway that runs has it in memory
)

func (s *shell) doctorCommand() *cobra.Command {
	var file string
	var o app.Overrides
	within := probeWithin
	cmd := &cobra.Command{
		Use:   "doctor [SERVER...]",
		Short: "Look for what is wrong, and say what to do",
		Long: `Looks at the configuration, the data directory, a gateway that runs, and at each
server: whether it can be reached, what it speaks, whether it wants a sign-in and how
long it takes. It connects to the servers by itself, as the gateway would, and needs
no gateway that runs. With names, only those servers are looked at.

Exit code 0 when all is well, 5 when the configuration has errors, else 1.`,
		RunE: func(cmd *cobra.Command, names []string) error {
			o.Env = s.env
			return s.doctor(cmd.Context(), file, o, names, within)
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "config", "", "the configuration `FILE` (JACKFIELD_CONFIG)")
	f.StringVar(&o.Data, "data", "", "the data `DIRECTORY` (JACKFIELD_DATA)")
	f.DurationVar(&within, "timeout", within, "how long one server may take")
	return cmd
}

// diagnosis is the answer of doctor.
type diagnosis struct {
	OK            bool                `json:"ok"`
	Configuration configurationHealth `json:"configuration"`
	Data          dataHealth          `json:"data"`
	Gateway       gatewayHealth       `json:"gateway"`
	Servers       []serverHealth      `json:"servers"`
}

type configurationHealth struct {
	File     string        `json:"file,omitempty"` // absent: none, the demo servers
	OK       bool          `json:"ok"`
	Problems []app.Problem `json:"problems"`
}

type dataHealth struct {
	Directory string `json:"directory"`
	OK        bool   `json:"ok"`
	Problem   string `json:"problem,omitempty"`
	Fix       string `json:"fix,omitempty"`
}

type gatewayHealth struct {
	Running bool     `json:"running"`
	URL     string   `json:"url,omitempty"`
	Status  string   `json:"status,omitempty"` // that of /readyz
	Version string   `json:"version,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
	Problem string   `json:"problem,omitempty"`
}

type serverHealth struct {
	Name            string             `json:"name"`
	OK              bool               `json:"ok"`
	Transport       string             `json:"transport"`
	Era             string             `json:"era,omitempty"`
	ProtocolVersion string             `json:"protocolVersion,omitempty"`
	Tools           *int               `json:"tools,omitempty"` // absent: it could not list them
	NeedsSignIn     bool               `json:"needsSignIn"`
	Milliseconds    int64              `json:"milliseconds"` // until it was connected, or was not
	Failure         *jackfield.Failure `json:"failure,omitempty"`
	Fix             string             `json:"fix,omitempty"`
}

func (s *shell) doctor(ctx context.Context, file string, o app.Overrides, names []string, within time.Duration) error {
	config, problems, err := s.load(file, o)
	d := diagnosis{
		Configuration: configurationHealth{File: file, OK: err == nil, Problems: append([]app.Problem{}, problems...)},
		Servers:       []serverHealth{},
	}
	if config == nil {
		if s.json {
			return errors.Join(s.printJSON(d), &exitError{code: exitConfig})
		}
		return err
	}
	d.Configuration.File = config.File
	servers, err := chosen(config.Servers, names)
	if err != nil {
		return err
	}
	d.Data = lookAtData(config.Data)
	d.Gateway = s.lookAtGateway(ctx, config.Data)
	stop := s.waiting("asking " + plural(len(servers), "server"))
	d.Servers = probeAll(ctx, app.Options{Config: config, Guard: guard()}, servers, within)
	stop()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	d.OK = d.Data.OK && d.Gateway.Problem == "" && !slices.ContainsFunc(d.Servers, func(h serverHealth) bool { return !h.OK })
	if s.json {
		err = s.printJSON(d)
	} else {
		s.printDiagnosis(d)
	}
	if err == nil && !d.OK {
		err = &exitError{code: exitFailure}
	}
	return err
}

// chosen are the servers of those names; without names, all.
func chosen(all []jackfield.Server, names []string) ([]jackfield.Server, error) {
	if len(names) == 0 {
		return all, nil
	}
	var out []jackfield.Server
	for _, name := range names {
		i := slices.IndexFunc(all, func(s jackfield.Server) bool { return s.Name == name })
		if i < 0 {
			return nil, usagef("there is no server %q in the configuration", name)
		}
		out = append(out, all[i])
	}
	return out, nil
}

// lookAtData says whether a gateway could keep its data there. It makes nothing that
// stays.
func lookAtData(dir string) dataHealth {
	h := dataHealth{Directory: dir, OK: true}
	bad := func(problem, fix string) dataHealth {
		h.OK, h.Problem, h.Fix = false, problem, fix
		return h
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return h // the first start makes it
	case err != nil:
		return bad(err.Error(), "choose another with --data")
	case !info.IsDir():
		return bad("it is not a directory", "choose another with --data")
	}
	probe, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return bad("it cannot be written: "+err.Error(), "make it belong to the user who runs the gateway")
	}
	_ = errors.Join(probe.Close(), os.Remove(probe.Name())) // that it could be made is the answer
	key, err := os.Stat(filepath.Join(dir, "gateway.key"))
	if err == nil && !readableByItsUserOnly(key) {
		return bad("gateway.key can be read by others", "chmod 0600 "+filepath.Join(dir, "gateway.key"))
	}
	return h
}

// lookAtGateway asks the gateway that has the data directory.
func (s *shell) lookAtGateway(ctx context.Context, dir string) gatewayHealth {
	address, err := readAddress(dir)
	if err != nil {
		return gatewayHealth{}
	}
	h := gatewayHealth{URL: address}
	c, err := s.client(reach{url: address})
	if err != nil {
		h.Problem = err.Error()
		return h
	}
	ctx, cancel := context.WithTimeout(ctx, statusWithin)
	defer cancel()
	var ready api.ReadyAnswer
	if err := c.get(ctx, "/readyz", &ready); err != nil {
		h.Problem = err.Error() + "; if it was killed, the next start puts that right"
		return h
	}
	h.Running, h.Status, h.Version, h.Reasons = true, string(ready.Status), ready.Version, ready.Reasons
	return h
}

// probeAll asks every server, some at once.
func probeAll(ctx context.Context, o app.Options, servers []jackfield.Server, within time.Duration) []serverHealth {
	all := make([]serverHealth, len(servers))
	places := make(chan struct{}, probesAtOnce)
	var wait sync.WaitGroup
	for i, server := range servers {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			one, cancel := context.WithTimeout(ctx, within)
			defer cancel()
			all[i] = examine(one, o, server)
		})
	}
	wait.Wait()
	return all
}

func examine(ctx context.Context, o app.Options, server jackfield.Server) serverHealth {
	h := serverHealth{Name: server.Name, Transport: string(server.Endpoint.Transport)}
	if server.Invalid != "" {
		h.Failure = &jackfield.Failure{Kind: jackfield.FailureOther, Message: server.Invalid}
		h.Fix = "correct its definition; jackfield config check names the line"
		return h
	}
	found := app.Probe(ctx, o, server)
	h.OK, h.Failure = found.Failure == nil, found.Failure
	h.Era, h.ProtocolVersion, h.Milliseconds = found.Era, found.Version, found.Took.Milliseconds()
	h.Transport = cmp.Or(found.Transport, h.Transport)
	if h.OK {
		if found.Tools >= 0 {
			h.Tools = &found.Tools
		}
		return h
	}
	h.NeedsSignIn = found.Failure.Kind == jackfield.FailureAuth
	h.Fix = fixes[found.Failure.Kind]
	return h
}

// fixes is what a person can do about each kind of failure.
var fixes = map[jackfield.FailureKind]string{
	jackfield.FailureDNS:         "check the host in its url, and the name servers of this machine",
	jackfield.FailureRefused:     "start the server, or correct the port in its url",
	jackfield.FailureUnreachable: "check the network and firewalls on the way",
	jackfield.FailureTLS:         "check https or http in its url; for a certificate of your own authority set tls.ca",
	jackfield.FailureTimeout:     "try it again; if it only needs longer, raise its initTimeout",
	jackfield.FailureBroken:      "look at the server's own log, and at proxies on the way",
	jackfield.FailureHTTP:        "check the path of its url, and look at the server's own log",
	jackfield.FailureProtocol:    "check that the url or command is that of an MCP server",
	jackfield.FailureAuth:        "put its credentials under headers or env, as ${NAME} of an environment variable",
	jackfield.FailureSession:     "try it again; the server was restarted",
	jackfield.FailurePolicy:      "if it may be reached, name it under egress.allow",
	jackfield.FailureBudget:      "raise the limit that is named",
	jackfield.FailureStart:       "check the command and PATH; it is looked up as the user who runs the gateway",
	jackfield.FailureExited:      "run the command by hand and see what it says",
	jackfield.FailureOther:       "see the reason",
}

func (s *shell) printDiagnosis(d diagnosis) {
	colour := s.painter(s.out)
	line := func(ok bool, what, text, fix string) {
		mark := colour(green, "ok  ")
		if !ok {
			mark = colour(red, "FAIL")
		}
		fmt.Fprintf(s.out, "%s  %s  %s\n", mark, colour(bold, printable(what)), printable(text))
		if fix != "" {
			fmt.Fprintf(s.out, "      %s %s\n", colour(dim, "to do:"), printable(fix))
		}
	}
	where := cmp.Or(d.Configuration.File, "none, so the demo servers")
	line(true, "configuration", where, "")
	for _, p := range d.Configuration.Problems {
		fmt.Fprintf(s.out, "      %s\n", printable(p.String()))
	}
	line(d.Data.OK, "data", strings.TrimSuffix(d.Data.Directory+": "+d.Data.Problem, ": "), d.Data.Fix)
	switch g := d.Gateway; {
	case g.Problem != "":
		line(false, "gateway", g.Problem, "")
	case g.Running:
		line(true, "gateway", strings.TrimSuffix(fmt.Sprintf("%s runs at %s and is %s: %s", g.Version, g.URL, g.Status, strings.Join(g.Reasons, "; ")), ": "), "")
	default:
		line(true, "gateway", "none runs with this data directory", "")
	}
	bad := 0
	for _, h := range d.Servers {
		if !h.OK {
			bad++
			line(false, h.Name, h.Failure.Label()+": "+h.Failure.Message, h.Fix)
			continue
		}
		tools := "its tools could not be listed"
		if h.Tools != nil {
			tools = plural(*h.Tools, "tool")
		}
		line(true, h.Name, fmt.Sprintf("%s, %s over %s, %s, %d ms", h.Era, h.ProtocolVersion, h.Transport, tools, h.Milliseconds), "")
	}
	fmt.Fprintf(s.out, "%s asked, %d in order\n", plural(len(d.Servers), "server"), len(d.Servers)-bad)
}
