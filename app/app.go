package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/connections"
)

// Options make an App. Only Config is required.
type Options struct {
	Config   *Config
	Problems []Problem // what Load said about Config; its warnings are shown with the servers

	// Reread loads the configuration once more, for Reload. Nil: the configuration
	// is what it is.
	Reread func() (*Config, []Problem, error)

	Log     *slog.Logger // nil: nothing is logged
	Version string       // of the gateway, as it tells clients and servers

	// Guard is the command line of a program that calls upstream.Guard; it stands
	// guard over the programs of stdio servers. Empty: they are not guarded, and what
	// they leave behind is only ended as far as their process group reaches.
	Guard []string
}

// App is one gateway with everything in it: New wires it, Start serves, Stop ends
// it. It is the only place that knows all parts.
type App struct {
	opts  Options
	log   *slog.Logger
	parts *parts
	http  *http.Server
	guard http.Handler

	reloading sync.Mutex // one reload at a time

	mu         sync.Mutex // guards what follows
	listener   net.Listener
	life       context.Context //nolint:containedctx // of what runs in the background; nil before Start
	cancel     context.CancelFunc
	background sync.WaitGroup
	stopped    bool
}

const (
	headerTimeout = 10 * time.Second
	keptAlive     = 3 * time.Minute
	headerBytes   = 64 << 10
)

// New wires a gateway. It opens no socket, dials nobody and starts nothing. It takes
// the data directory, with the key and the catalog in it, for itself: Stop gives it
// back, also when Start was never called.
func New(o Options) (*App, error) {
	if o.Config == nil {
		return nil, jackfield.Errorf(jackfield.Invalid, "app.Options.Config is missing")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	key, err := loadKey(o.Config.Data)
	if err != nil {
		return nil, err
	}
	a := &App{opts: o, log: o.Log}
	if a.parts, err = newParts(o, key); err != nil {
		return nil, err
	}
	a.guard = a.parts.handler()
	a.http = &http.Server{
		Handler:           a.guard,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       keptAlive,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelError), // panics, mostly
	}
	return a, nil
}

// Handler serves everything the gateway has: /mcp, /api/v1 and /healthz, behind
// the check of Host and Origin. It is for programs that listen themselves.
func (a *App) Handler() http.Handler { return a.guard }

// Repository gives the connections of one scope, for programs that call servers
// themselves.
func (a *App) Repository(scope jackfield.Scope) *connections.Repository[broker.Conn] {
	return a.parts.board.Repository(scope)
}

// Start listens and serves until Stop. It returns as soon as clients can connect;
// servers are listed in the background. ctx bounds nothing but Start itself.
func (a *App) Start(ctx context.Context) error { //nolint:contextcheck // what runs in the background outlives the call
	listen, err := a.opts.Config.listen()
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return jackfield.Errorf(jackfield.Unavailable, "cannot listen on %s: %w; choose another address with --listen", listen, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped || a.listener != nil {
		return errors.Join(jackfield.Errorf(jackfield.Conflict, "the gateway was started before"), listener.Close())
	}
	a.listener = listener
	a.life, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	a.background.Go(func() {
		if err := a.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("stopped serving", slog.Any("error", err))
		}
	})
	life := a.life
	a.background.Go(func() { a.parts.catalog.Warm(life, a.parts.servers()) })
	if a.opts.Config.File != "" && a.opts.Reread != nil {
		seen := a.opts.Config.source()
		a.background.Go(func() {
			seen.watch(life, func() {
				if err := a.Reload(); err != nil {
					a.log.Error("the changed configuration was not taken over", slog.Any("error", err))
				}
			})
		})
	}
	return nil
}

// warm lists, in the background, what was never listed.
func (a *App) warm() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if life := a.life; life != nil && !a.stopped {
		a.background.Go(func() { a.parts.catalog.Warm(life, a.parts.servers()) })
	}
}

// Addr is the address that Start listens on, as host:port; empty before.
func (a *App) Addr() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listener == nil {
		return ""
	}
	return a.listener.Addr().String()
}

// URL is where clients find the gateway: its public URL, or http:// and the
// address that it listens on.
func (a *App) URL() string {
	if a.opts.Config.PublicURL != "" {
		return a.opts.Config.PublicURL
	}
	return "http://" + a.Addr()
}

// Stop ends the gateway: no new requests, the running ones are ended, sessions at
// servers and child processes closed. It returns when all of that is done, or with
// what was cut when ctx ends first. Stop may be called more than once.
func (a *App) Stop(ctx context.Context) error {
	a.mu.Lock()
	first := !a.stopped
	a.stopped = true
	cancel := a.cancel
	a.mu.Unlock()
	if !first {
		return nil
	}
	if cancel != nil {
		cancel()
	}
	var errs []error
	step := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	step("clients' requests", a.parts.gateway.Close(ctx))
	if err := a.http.Shutdown(ctx); err != nil {
		step("clients' connections", errors.Join(err, a.http.Close()))
	}
	step("what clients listen for", a.parts.broker.Close(ctx))
	step("listing of servers", a.parts.catalog.Close(ctx))
	step("connections to servers", a.parts.board.Close(ctx))
	a.background.Wait()
	step("the data directory", a.parts.close())
	return errors.Join(errs...)
}

// Run starts the gateway, serves until ctx ends, and stops it within grace.
func (a *App) Run(ctx context.Context, grace time.Duration) error {
	if err := a.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return a.Stop(stop)
}
