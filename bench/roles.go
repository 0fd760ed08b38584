package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/app"
	"github.com/jackfield-dev/jackfield/wire"
)

const serverName = "fast"

// play is one of the processes that a run is made of. It prints its address and
// serves until its standard input ends. With BENCH_PROFILE set to a directory it
// leaves a CPU profile and an allocation profile there.
func play(role, upstream string) error {
	if dir := os.Getenv("BENCH_PROFILE"); dir != "" {
		stop, err := profile(dir, role)
		if err != nil {
			return err
		}
		defer stop()
	}
	var handler http.Handler
	switch role {
	case "fleet":
		var f fleet
		if err := json.Unmarshal([]byte(upstream), &f); err != nil {
			return err
		}
		return f.play()
	case "upstream":
		handler = http.HandlerFunc(serveFast)
	case "floor":
		handler = newFloor(upstream)
	case "reverseproxy":
		target, err := url.Parse(upstream)
		if err != nil {
			return err
		}
		handler = bufferedProxy(target)
	case "gateway":
		gateway, err := newGateway(upstream)
		if err != nil {
			return err
		}
		defer func() { _ = gateway.Stop(context.Background()) }()
		handler = gateway.Handler()
	default:
		return fmt.Errorf("there is no role %q", role)
	}
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/mallocs" {
			handler.ServeHTTP(w, r)
			return
		}
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		_, _ = fmt.Fprint(w, stats.Mallocs)
	})
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: counted, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	if _, err := fmt.Println(listener.Addr()); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return server.Close()
}

// profile begins to profile; stop writes what was found.
func profile(dir, role string) (stop func(), err error) {
	cpu, err := os.Create(filepath.Join(dir, role+".cpu"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		allocs, failed := os.Create(filepath.Join(dir, role+".allocs"))
		if failed == nil {
			failed = errors.Join(pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close())
		}
		if err := errors.Join(failed, cpu.Close()); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
		}
	}, nil
}

func transport() *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute, DisableCompression: true}
}

// bufferedProxy is httputil.ReverseProxy with the request body in memory: one that
// passes r.Body through truncates some answers.
func bufferedProxy(target *url.URL) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host})
			r.Out.URL.Path = target.Path
		},
		Transport: transport(),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	})
}

func newGateway(upstream string) (*app.App, error) {
	return app.New(app.Options{Version: "bench", Config: &app.Config{
		Listen: "127.0.0.1:0",
		Servers: []jackfield.Server{{
			Name:     serverName,
			Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: upstream},
		}},
	}})
}

// serveFast is an MCP server that does as little as one can: the tool echo gives
// back its arguments. Its path says which era it speaks.
func serveFast(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	m, err := wire.Parse(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if m.Kind != wire.Request {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	modern := r.URL.Path == "/modern"
	complete, status := "", http.StatusOK
	if modern {
		complete = `"resultType":"complete",`
	}
	var result []byte
	switch m.Method {
	case "server/discover":
		if !modern {
			status = http.StatusNotFound
			break
		}
		result = []byte(`{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"serverInfo":{"name":"fast","version":"1"},"ttlMs":3600000,"cacheScope":"public"}`)
	case "initialize":
		if w.Header().Get(sessionHeader) == "" {
			w.Header().Set(sessionHeader, "s"+strconv.FormatInt(time.Now().UnixNano(), 36))
		}
		result = []byte(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"fast","version":"1"}}`)
	case "tools/list":
		result = []byte(`{` + complete + `"ttlMs":3600000,"cacheScope":"public","tools":[{"name":"echo","inputSchema":{"type":"object"}}]}`)
	case "tools/call":
		var p struct{ Arguments json.RawMessage }
		_ = json.Unmarshal(m.Params, &p)
		result = append([]byte(`{`+complete+`"content":[],"structuredContent":`), p.Arguments...)
		result = append(result, '}')
	}
	text := wire.AppendResult(nil, m.ID, result)
	if result == nil {
		text = wire.AppendError(nil, m.ID, &wire.Error{Code: wire.CodeMethodNotFound, Message: "unknown method"})
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
