package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/app"
)

// profiles serves Go's profiles at /debug/pprof/ until stop is called; nothing
// without an address. They show memory, and so secrets: where other machines could
// ask, somebody has to have said that it is meant.
func profiles(ctx context.Context, address string, exposed bool, log *slog.Logger) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, usagef("--pprof: %q is no address; write host:port, such as 127.0.0.1:6060", address)
	}
	if ip, name := netip.ParseAddr(host); !exposed && !strings.EqualFold(host, "localhost") && (name != nil || !ip.IsLoopback()) {
		return nil, usagef("--pprof: other machines can reach %s, and profiles show secrets; use 127.0.0.1, or add --pprof-exposed", address)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, jackfield.Errorf(jackfield.Unavailable, "--pprof: cannot listen on %s: %w", address, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: app.NotForPages(mux, false), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("stopped serving profiles", slog.Any("error", err))
		}
	}()
	log.Warn("profiles are served; they show what is in memory", slog.String("url", "http://"+listener.Addr().String()+"/debug/pprof/"))
	return func() {
		_ = server.Close() // a profile that is being taken is nobody's loss
		<-done
	}, nil
}
