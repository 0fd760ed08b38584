package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/app"
	"github.com/jackfield-dev/jackfield/internal/demo"
)

// stopWithin is how long sessions and child processes get to end in order when
// the gateway is told to stop, after its calls have ended.
const stopWithin = 10 * time.Second

func (s *shell) serveCommand() *cobra.Command {
	var file string
	var o app.Overrides
	var p profiling
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Runs the gateway until it is told to stop. Without a configuration it serves
three small servers of its own, to try it out.

Every setting is taken from its flag, else from its environment variable, else from
the configuration file, else from its default. SIGHUP reads the file again, and so
does a change of it. SIGINT and SIGTERM stop it: new calls are refused, calls under
way get limits.stop (10 seconds) to end, then sessions and child processes get 10
seconds to end in order; a second signal ends everything at once.`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Env = s.env
			return s.serve(cmd.Context(), file, o, p)
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "config", "", "the configuration `FILE`, YAML or JSON (JACKFIELD_CONFIG)")
	f.StringVar(&o.Listen, "listen", "", "the `ADDRESS` to listen on (JACKFIELD_LISTEN; default "+app.DefaultListen+")")
	f.StringVar(&o.Data, "data", "", "the `DIRECTORY` for the key, the catalog and the address file (JACKFIELD_DATA; default in the user's data directory)")
	f.StringVar(&o.PublicURL, "public-url", "", "the `URL` under which clients elsewhere find the gateway (JACKFIELD_PUBLIC_URL)")
	f.StringVar(&o.LogLevel, "log-level", "", "debug, info, warn or error (JACKFIELD_LOG_LEVEL; default info)")
	f.StringVar(&o.LogFormat, "log-format", "", "text or json (JACKFIELD_LOG_FORMAT; default text)")
	f.StringVar(&o.Metrics, "metrics-listen", "", "an `ADDRESS` for /metrics alone, without a token (JACKFIELD_METRICS_LISTEN; default beside the API)")
	f.StringVar(&p.address, "pprof", "", "the `ADDRESS` to serve Go's profiles on, such as 127.0.0.1:6060")
	f.BoolVar(&p.exposed, "pprof-exposed", false, "let --pprof listen where other machines can reach it")
	complete(cmd, "log-level", oneOf("debug", "info", "warn", "error"))
	complete(cmd, "log-format", oneOf("text", "json"))
	return cmd
}

// profiling is what --pprof and --pprof-exposed say.
type profiling struct {
	address string
	exposed bool
}

// load reads the configuration; without a file the demo servers stand in it.
func (s *shell) load(file string, o app.Overrides) (*app.Config, []app.Problem, error) {
	c, problems, err := app.Load(file, o)
	if err != nil {
		return nil, problems, &exitError{exitConfig, err}
	}
	if c.File == "" {
		if c.Servers, err = demoServers(); err != nil {
			return nil, nil, err
		}
	}
	return c, problems, nil
}

// demoServers are definitions of the built-in servers, each run by this program.
func demoServers() ([]jackfield.Server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("the demo servers cannot be run: %w", err)
	}
	var all []jackfield.Server
	for _, d := range demo.Servers() {
		all = append(all, jackfield.Server{
			Name:  d.Name,
			About: jackfield.About{Title: d.Title, Description: d.Description, Instructions: jackfield.Instructions{FromServer: true}},
			Endpoint: jackfield.Endpoint{
				Transport: jackfield.TransportStdio, Command: self, Args: []string{"demo", d.Name},
			},
		})
	}
	return all, nil
}

// guard is the command line that makes this program a guard. On Linux it reaches
// the program also when its file has been replaced meanwhile.
func guard() []string {
	if runtime.GOOS == "linux" {
		return []string{"/proc/self/exe", guardCommand}
	}
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	return []string{self, guardCommand}
}

// logger writes to stderr, in the form that the configuration asks for. What the
// standard library logs by itself, such as that a server wrote to a connection that
// nobody used, is there for debugging.
func (s *shell) logger(c app.Log) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.Level}
	log := slog.New(slog.NewTextHandler(s.err, o))
	if c.Format == "json" {
		log = slog.New(slog.NewJSONHandler(s.err, o))
	}
	slog.SetLogLoggerLevel(slog.LevelDebug)
	slog.SetDefault(log)
	return log
}

func (s *shell) serve(ctx context.Context, file string, o app.Overrides, profile profiling) error {
	tuneMemory(s.env)
	config, problems, err := s.load(file, o)
	if err != nil {
		return err
	}
	log := s.logger(config.Log)
	for _, p := range problems {
		log.Warn("configuration", slog.String("problem", p.String()))
	}
	options := app.Options{Config: config, Problems: problems, Log: log, Version: thisBuild().Version, Guard: guard()}
	if config.File != "" {
		options.Reread = func() (*app.Config, []app.Problem, error) { return app.Load(file, o) }
	}
	stopProfiles, err := profiles(ctx, profile.address, profile.exposed, log)
	if err != nil {
		return err
	}
	defer stopProfiles()
	s.serving.Store(true)
	gateway, err := app.New(options)
	if err != nil {
		return err
	}
	if err = gateway.Start(ctx); err != nil {
		return errors.Join(err, s.end(gateway, config))
	}
	here := "http://" + local(gateway.Addr())
	if err = writeAddress(config.Data, here); err != nil {
		log.Warn("the address file cannot be written; other commands need --url", slog.Any("error", err))
	}
	go debug.FreeOSMemory() // what it took to read the store
	if err = s.welcome(config, gateway.URL(), here); err != nil {
		log.Warn("stdout is gone", slog.Any("error", err))
	}
	s.wait(ctx, gateway, config.File, log)
	log.Info("stopping", slog.Duration("calls", config.Limits.StopTime()), slog.Duration("rest", stopWithin))
	err = s.end(gateway, config)
	if gone := removeAddress(config.Data, here); gone != nil {
		log.Warn("the address file cannot be removed", slog.Any("error", gone))
	}
	return err
}

// wait reloads when it is told to, until ctx ends.
func (s *shell) wait(ctx context.Context, gateway *app.App, file string, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.reload:
			if file == "" {
				log.Warn("there is no configuration file to read again")
			} else if err := gateway.Reload(); err != nil {
				log.Error("the configuration was not taken over, the one before stays", slog.Any("error", err))
			}
		}
	}
}

// end stops the gateway in its time, or with the second signal.
func (s *shell) end(gateway *app.App, config *app.Config) error {
	ctx, cancel := context.WithTimeout(s.now, config.Limits.StopTime()+stopWithin)
	defer cancel()
	err := gateway.Stop(ctx)
	if err != nil {
		err = fmt.Errorf("stopped, but not everything ended by itself: %w", err)
	}
	if err != nil && s.now.Err() != nil {
		return &exitError{code: exitInterrupted, err: err}
	}
	return err
}

// local is the address under which this machine reaches a listener at addr.
func local(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil || !ip.IsUnspecified():
		return addr
	case ip.Is4():
		return net.JoinHostPort("127.0.0.1", port)
	}
	return net.JoinHostPort("::1", port)
}
