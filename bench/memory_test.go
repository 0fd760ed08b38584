package main

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/upstream"
)

// footprint is the memory in use: the heap, and the stacks of goroutines.
func footprint() float64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// distant is the fast server in a process of its own, so that its memory is not
// counted here.
func distant(tb testing.TB) string {
	tb.Helper()
	p, err := spawn("", "upstream", "")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.stop)
	return "http://" + p.host
}

// BenchmarkMemoryOfIdleConnections is what a connection to a legacy server takes
// that nobody uses now: as one of many owners' in a gateway, without a socket, and
// by itself with a transport and a kept socket of its own.
func BenchmarkMemoryOfIdleConnections(b *testing.B) {
	url := distant(b) + "/legacy"
	b.Run("no socket", func(b *testing.B) {
		const n = 500
		for b.Loop() {
			a := house(b, 1, url)
			open := func(user int) {
				l, err := a.Repository(jackfield.User(fmt.Sprint("user", user))).Get(b.Context(), "server000")
				if err != nil {
					b.Fatal(err)
				}
				l.Release()
			}
			open(-1) // the house itself, and the first socket
			before := footprint()
			for i := range n {
				open(i)
			}
			b.ReportMetric((footprint()-before)/n, "B/connection")
			runtime.KeepAlive(a)
			b.StopTimer()
			_ = a.Stop(context.Background())
			b.StartTimer()
		}
	})
	b.Run("with socket", func(b *testing.B) {
		const n = 100
		for b.Loop() {
			conns := make([]*upstream.Conn, n)
			before := footprint()
			for i := range conns {
				var err error
				conns[i], err = upstream.Dial(b.Context(), upstream.Options{Name: "fast", Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: url}})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((footprint()-before)/n, "B/connection")
			b.StopTimer()
			for _, c := range conns {
				_ = c.Close(b.Context())
			}
			b.StartTimer()
		}
	})
}

// BenchmarkMemoryOfSessions is what the session of a legacy client takes that has
// no socket open: after initialize and a list of tools.
func BenchmarkMemoryOfSessions(b *testing.B) {
	const n = 2000
	url := distant(b) + "/modern"
	for b.Loop() {
		a := house(b, 1, url)
		newClient(b, a.Handler(), false).post(b, "tools/list", "")
		before := footprint()
		for range n {
			newClient(b, a.Handler(), false).post(b, "tools/list", "")
		}
		b.ReportMetric((footprint()-before)/n, "B/session")
		runtime.KeepAlive(a)
		b.StopTimer()
		_ = a.Stop(context.Background())
		b.StartTimer()
	}
}

// BenchmarkMemoryOfOwners is what stays of people who have no connection any more.
func BenchmarkMemoryOfOwners(b *testing.B) {
	const n = 500
	url := distant(b) + "/legacy"
	for b.Loop() {
		a := house(b, 1, url)
		visit := func(user int) {
			ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
			defer cancel()
			r := a.Repository(jackfield.User(fmt.Sprint("user", user)))
			l, err := r.Get(ctx, "server000")
			if err != nil {
				b.Fatal(err)
			}
			l.Release()
			if err := r.DisconnectAll(ctx); err != nil {
				b.Fatal(err)
			}
		}
		visit(-1)
		before := footprint()
		for i := range n {
			visit(i)
		}
		b.ReportMetric((footprint()-before)/n, "B/owner")
		runtime.KeepAlive(a)
		b.StopTimer()
		_ = a.Stop(context.Background())
		b.StartTimer()
	}
	http.DefaultClient.CloseIdleConnections()
}
