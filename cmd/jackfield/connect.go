package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/app"
)

const (
	lookWithin   = 2 * time.Second        // for a gateway to say that it is there
	attachWithin = 10 * time.Second       // for one that is just starting
	attachPause  = 100 * time.Millisecond // between two looks at it
)

func (s *shell) connectCommand() *cobra.Command {
	var r reach
	var file string
	cmd := &cobra.Command{
		Use:   "connect [SERVER]",
		Short: "Be an MCP server on stdin and stdout, for clients that only start commands",
		Long: `Speaks MCP over stdin and stdout and passes everything to a gateway: the one that
--url names, else the one that runs with the same data directory, else one of its
own, with the configuration file, for as long as the client lasts. With SERVER the
client gets that server alone, under its own names.

What goes wrong is told on stderr.`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/mcp"
			if len(args) > 0 {
				path += "/" + url.PathEscape(args[0])
			}
			return s.connect(cmd.Context(), r, file, path)
		},
	}
	r.flags(cmd)
	cmd.Flags().StringVar(&file, "config", "", "the configuration `FILE` for a gateway of its own (JACKFIELD_CONFIG)")
	return cmd
}

// connect serves the client on stdin and stdout until it closes stdin.
func (s *shell) connect(ctx context.Context, r reach, file, path string) error {
	gateway, stop, err := s.attach(ctx, r, file)
	if err != nil {
		return err
	}
	p := &pump{out: s.out, gateway: gateway, path: path}
	p.serve(ctx, s.in)
	return stop()
}

// attach finds a gateway, or starts one; stop ends what it started.
func (s *shell) attach(ctx context.Context, r reach, file string) (gateway *client, stop func() error, err error) {
	stop = func() error { return nil }
	if known, _ := s.env("JACKFIELD_URL"); r.url != "" || known != "" {
		gateway, err = s.client(r)
		return gateway, stop, err
	}
	o := app.Overrides{Env: s.env, Data: r.data, Listen: "127.0.0.1:0"}
	config, problems, err := s.load(file, o)
	if err != nil {
		return nil, nil, err
	}
	r.data = config.Data
	deadline := time.Now().Add(attachWithin)
	for {
		if gateway, err = s.running(ctx, r, config); gateway != nil || err != nil {
			return gateway, stop, err
		}
		gateway, stop, err = s.own(ctx, config, problems)
		if jackfield.CodeOf(err) != jackfield.Conflict || time.Now().After(deadline) {
			return gateway, stop, err
		}
		// Another process has the data directory, and will say where it is.
		pause := time.NewTimer(attachPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, nil, context.Cause(ctx)
		}
	}
}

// running is the gateway that runs with the data directory; nil: none answers.
func (s *shell) running(ctx context.Context, r reach, config *app.Config) (*client, error) {
	address, err := readAddress(config.Data)
	if err != nil {
		return nil, nil //nolint:nilerr // nobody has written where a gateway is
	}
	r.url = address
	c, err := s.client(r)
	if err != nil {
		return nil, err
	}
	if c.token == "" {
		c.token = config.Auth.Token
	}
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/healthz", http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil //nolint:nilerr // what is left of one that has ended
	}
	_ = resp.Body.Close()
	return c, nil
}

// own starts a gateway in this process, on an address that only this machine
// reaches, where other commands find it.
func (s *shell) own(ctx context.Context, config *app.Config, problems []app.Problem) (*client, func() error, error) {
	log := s.logger(config.Log)
	gateway, err := app.New(app.Options{Config: config, Problems: problems, Log: log, Version: thisBuild().Version, Guard: guard()})
	if err != nil {
		return nil, nil, err
	}
	if err = gateway.Start(ctx); err != nil {
		return nil, nil, errors.Join(err, s.end(gateway, config))
	}
	here := "http://" + local(gateway.Addr())
	if err = writeAddress(config.Data, here); err != nil {
		log.Warn("the address file cannot be written; other commands need --url", slog.Any("error", err))
	}
	stop := func() error {
		err := s.end(gateway, config)
		if gone := removeAddress(config.Data, here); gone != nil {
			log.Warn("the address file cannot be removed", slog.Any("error", gone))
		}
		return err
	}
	c := &client{base: here, source: "this process", token: config.Auth.Token, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	return c, stop, nil
}
