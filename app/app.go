package app

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/connections"
	"github.com/jackfield-dev/jackfield/pool"
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
	Trace   *pool.Trace  // told what becomes of connections; nil: nobody

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

	metrics *http.Server // nil: /metrics is where everything is

	reloading sync.Mutex // one reload at a time

	mu         sync.Mutex // guards what follows
	listener   net.Listener
	scraped    net.Listener    // of metrics; nil without
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
	a.http = a.server(a.guard)
	if o.Config.Metrics.Listen != "" {
		a.metrics = a.server(a.parts.metricsAlone())
	}
	return a, nil
}

// server serves h.
func (a *App) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       keptAlive,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          log.New(complaints{a.parts.log}, "", 0),
	}
}

// complaints are what net/http logs: panics, mostly, and clients that break off.
type complaints struct{ log *slog.Logger }

func (c complaints) Write(text []byte) (int, error) {
	c.log.Error("an HTTP connection failed", slog.String("error", strings.TrimSpace(string(text))))
	return len(text), nil
}

// Handler serves everything the gateway has: /mcp, /api/v1 and /metrics, behind
// the check of Host and Origin, and /healthz and /readyz. It is for programs that
// listen themselves, and begins what Start begins in the background; Stop ends it.
func (a *App) Handler() http.Handler {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.live(context.Background())
	return a.guard
}

// Repository gives the connections of one scope, for programs that call servers
// themselves.
func (a *App) Repository(scope jackfield.Scope) *connections.Repository[broker.Conn] {
	return a.parts.board.Repository(scope)
}

// Start listens and serves until Stop. It returns as soon as clients can connect;
// servers are listed in the background. ctx bounds nothing but Start itself.
func (a *App) Start(ctx context.Context) error {
	listen, err := a.opts.Config.listen()
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return jackfield.Errorf(jackfield.Unavailable, "cannot listen on %s: %w; choose another address with --listen", listen, err)
	}
	var scraped net.Listener
	if a.metrics != nil {
		scraped, err = new(net.ListenConfig).Listen(ctx, "tcp", a.opts.Config.Metrics.Listen)
		if err != nil {
			return errors.Join(jackfield.Errorf(jackfield.Unavailable,
				"cannot listen on %s: %w; choose another address with --metrics-listen", a.opts.Config.Metrics.Listen, err), listener.Close())
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped || a.listener != nil {
		err = errors.Join(jackfield.Errorf(jackfield.Conflict, "the gateway was started before"), listener.Close())
		if scraped != nil {
			err = errors.Join(err, scraped.Close())
		}
		return err
	}
	a.listener, a.scraped = listener, scraped
	at := listener.Addr().String()
	a.parts.listening.Store(&at)
	a.live(ctx)
	a.serve(a.http, listener)
	if scraped != nil {
		a.serve(a.metrics, scraped)
	}
	return nil
}

// live begins what runs in the background until Stop: it lists servers, follows the
// store, ends keys that expire, and watches secrets and the configuration. mu is held.
func (a *App) live(ctx context.Context) { //nolint:contextcheck // what runs in the background outlives the call
	a.parts.phase.advance(serving)
	if a.stopped || a.life != nil {
		return
	}
	a.life, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	life := a.life
	a.background.Go(func() { a.parts.catalog.Warm(life, a.parts.everybodys()) })
	a.background.Go(func() { a.parts.follower.run(life) })
	a.background.Go(func() { a.parts.directory.Run(life, a.parts.lose) })
	a.background.Go(func() { a.parts.credentials.Run(life, a.parts.renew) })
	a.background.Go(func() { a.parts.reseal(life) })
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
}

// serve serves on a listener, in the background. mu is held.
func (a *App) serve(s *http.Server, on net.Listener) {
	a.background.Go(func() {
		if err := s.Serve(on); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("stopped serving", slog.Any("error", err))
		}
	})
}

// warm lists, in the background, what was never listed.
func (a *App) warm() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if life := a.life; life != nil && !a.stopped {
		a.background.Go(func() { a.parts.catalog.Warm(life, a.parts.everybodys()) })
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
