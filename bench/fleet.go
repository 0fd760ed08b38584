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
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield/wire"
)

// fleet says how many servers one process plays, and how they behave. All speak
// 2025-11-25 and keep sessions, as most servers that there are do.
type fleet struct {
	Hosts []string      // where they listen; empty: Count of them on free ports
	Count int           //
	Hello time.Duration // how long initialize takes
	Hung  int           // so many of them answer nothing, but for half of these initialize and lists
}

// launch starts the process and waits for all its servers.
func (f fleet) launch() (*process, error) {
	text, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	return spawn("", "fleet", string(text))
}

// play serves until standard input ends.
func (f fleet) play() error {
	if len(f.Hosts) == 0 {
		f.Hosts = make([]string, f.Count)
	}
	var addresses []string
	for i, host := range f.Hosts {
		if host == "" {
			host = "127.0.0.1:0"
		}
		listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", host)
		if err != nil {
			return err
		}
		s := &sailor{fleet: f, silent: i < f.Hung, greets: i%2 == 0}
		addresses = append(addresses, listener.Addr().String())
		server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(listener) }()
	}
	if _, err := fmt.Println(strings.Join(addresses, " ")); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// sailor is one server of a fleet.
type sailor struct {
	fleet  fleet
	silent bool // it hangs
	greets bool // but it answers initialize

	hellos atomic.Int64
	known  sync.Map // ids of sessions
}

func (s *sailor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(sessionHeader)
	switch {
	case r.URL.Path == "/hellos":
		_, _ = fmt.Fprint(w, s.hellos.Load())
		return
	case r.Method == http.MethodDelete:
		s.known.Delete(id)
		return
	case r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(r.Body)
	m, bad := wire.Parse(body)
	if err = errors.Join(err, bad); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if _, known := s.known.Load(id); !known && id != "" {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	if s.silent && (!s.greets || m.Method == "tools/call") {
		<-r.Context().Done()
		return
	}
	if m.Method == "initialize" {
		s.hellos.Add(1)
		pause := time.NewTimer(s.fleet.Hello)
		defer pause.Stop()
		<-pause.C
		id := strconv.FormatInt(lastID.Add(1), 36) + "-" + strconv.FormatInt(began, 36)
		s.known.Store(id, nil)
		w.Header().Set(sessionHeader, id)
	}
	r.URL.Path, r.Body = "/legacy", io.NopCloser(bytes.NewReader(body))
	serveFast(w, r)
}

var (
	lastID atomic.Int64
	began  = time.Now().UnixNano()
)

// hellos is how often the servers at hosts were asked to initialize.
func hellos(hosts []string) (total int, err error) {
	for _, host := range hosts {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+host+"/hellos", http.NoBody)
		if err != nil {
			return 0, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		n := 0
		_, err = fmt.Fscan(resp.Body, &n)
		_ = resp.Body.Close()
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}
