package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/app"
)

// cold is the first minute of a day: many callers share one session, and no server
// of many is connected yet.
type cold struct {
	callers, servers int
	hello            time.Duration // what initialize takes
}

func (c cold) run() error {
	upstream, err := fleet{Count: c.servers, Hello: c.hello}.launch()
	if err != nil {
		return err
	}
	defer upstream.stop()
	hosts := strings.Fields(upstream.host)
	gateway, err := newHouse(definitions(hosts, jackfield.Usage{}))
	if err != nil {
		return err
	}
	defer stop(gateway)
	t := &target{name: "gateway", host: gateway.Addr(), path: "/mcp"}
	session, err := t.initialize(cell{})
	if err != nil {
		return err
	}
	// Listing has connections of its own, which end with it.
	for listed := 0; listed < len(hosts); {
		var text string
		if text, err = t.post(context.Background(), session, "tools/list", ""); err != nil {
			return err
		}
		listed = strings.Count(text, `"inputSchema"`)
	}
	before, err := hellos(hosts)
	if err != nil {
		return err
	}
	var failed atomic.Int64
	var work sync.WaitGroup
	start := time.Now()
	for i := range c.callers {
		work.Go(func() {
			for j := range hosts {
				name := nameOf((i + j) % len(hosts))
				_, wrong := t.post(context.Background(), session, "tools/call", `"name":"`+name+`__echo","arguments":{}`)
				if wrong != nil {
					failed.Add(1)
				}
			}
		})
	}
	work.Wait()
	took := time.Since(start)
	after, err := hellos(hosts)
	if err != nil {
		return err
	}
	fmt.Printf("\ncold: %d callers share a session, %d servers that take %v for initialize, everybody calls everything\n", c.callers, c.servers, c.hello)
	fmt.Printf("  dials             %d for %d servers\n", after-before, c.servers)
	fmt.Printf("  served            %d of %d calls, the last after %v\n",
		int64(c.callers*c.servers)-failed.Load(), c.callers*c.servers, took.Round(time.Millisecond))
	return nil
}

// post sends a request in a session and returns the answer, which is a result.
func (t *target) post(ctx context.Context, session, method, params string) (string, error) {
	id := strconv.FormatInt(lastID.Add(1), 10) // callers who share a session share its ids
	body := `{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `","params":{` + params + `}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+t.host+t.path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		sessionHeader: {session}, versionHeader: {"2025-11-25"},
	}
	resp, err := patientClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && !bytes.Contains(text, []byte(`"result":`)) {
		err = fmt.Errorf("%s: status %d: %.300s", method, resp.StatusCode, text)
	}
	return string(text), err
}

var patientClient = &http.Client{Transport: transport()}

func newHouse(servers []jackfield.Server) (*app.App, error) {
	gateway, err := app.New(app.Options{Version: "bench", Config: &app.Config{Listen: "127.0.0.1:0", Servers: servers}})
	if err != nil {
		return nil, err
	}
	return gateway, gateway.Start(context.Background())
}

// beside measures what servers that hang cost those who call others.
type beside struct {
	servers int
	healthy int // of which nobody hangs, and which are measured
	hung    []int
	rounds  int
	length  time.Duration
}

// ward is one gateway with some servers that hang.
type ward struct {
	hung int
	target
	p50, p99 []float64 // of each round, in seconds
}

func (b beside) run() error {
	var wards []*ward
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	for _, hung := range b.hung {
		upstream, err := fleet{Count: b.servers, Hung: hung}.launch()
		if err != nil {
			return err
		}
		defer upstream.stop()
		hosts := strings.Fields(upstream.host)
		gateway, err := newHouse(definitions(hosts, jackfield.Usage{Timeout: 2 * time.Second, InitTimeout: 2 * time.Second}))
		if err != nil {
			return err
		}
		defer stop(gateway)
		w := &ward{hung: hung, target: target{name: "gateway", host: gateway.Addr(), path: "/mcp"}}
		wards = append(wards, w)
		b.disturb(ctx, w, &work)
		c := cell{payload: "64B"}
		for i := b.servers - b.healthy; i < b.servers; i++ {
			w.tool = nameOf(i) + "__echo"
			call, err := w.caller(c)
			if err == nil {
				_, err = call() // which dials
			}
			if err != nil {
				return err
			}
			w.callers = append(w.callers, call)
		}
	}
	for round := -1; round < b.rounds; round++ { // the first one warms up
		for _, w := range wards {
			took, err := w.load(b.length)
			if err != nil {
				return err
			}
			if round >= 0 {
				w.p50 = append(w.p50, took[len(took)/2].Seconds())
				w.p99 = append(w.p99, took[len(took)*99/100].Seconds())
			}
		}
	}
	fmt.Printf("\nbeside: %d servers, of which some hang, half of these in initialize and half in calls; %d others are measured\n%-10s %10s %10s %10s %10s\n",
		b.servers, b.healthy, "hung", "p50", "×", "p99", "×")
	for _, w := range wards {
		fmt.Printf("%-10d %8.0fµs %10.2f %8.0fµs %10.2f\n", w.hung, 1e6*middle(w.p50), ratio(w.p50, wards[0].p50), 1e6*middle(w.p99), ratio(w.p99, wards[0].p99))
	}
	return nil
}

// disturb has three callers call each of the servers that may hang, again and again.
func (b beside) disturb(ctx context.Context, w *ward, work *sync.WaitGroup) {
	for i := range b.servers - b.healthy {
		for range 3 {
			work.Go(func() {
				session, err := w.initialize(cell{})
				for err == nil && ctx.Err() == nil {
					_, _ = w.post(ctx, session, "tools/call", `"name":"`+nameOf(i)+`__echo","arguments":{}`) // it fails, or not
					pause := time.NewTimer(50 * time.Millisecond)
					<-pause.C
				}
			})
		}
	}
}

func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// ratio is the middle of the rounds' own ratios.
func ratio(values, base []float64) float64 {
	each := make([]float64, len(values))
	for i := range each {
		each[i] = values[i] / base[i]
	}
	return middle(each)
}
