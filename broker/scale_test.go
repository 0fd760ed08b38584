package broker

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/connections"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
	"github.com/jackfield-dev/jackfield/wire"
)

// nowhere are connections that nobody gets.
type nowhere struct{}

func (nowhere) Acquire(context.Context, connections.Want) (pool.Lease[Conn], error) {
	return pool.Lease[Conn]{}, jackfield.Errorf(jackfield.Unavailable, "nobody is there")
}

func (nowhere) Loaded(jackfield.Scope, string) iter.Seq[pool.Lease[Conn]] {
	return func(func(pool.Lease[Conn]) bool) {}
}
func (nowhere) Drain(func(pool.Key) bool) {}

// crowd is a gateway with many servers, of which each class of callers sees some.
type crowd struct {
	b       *Broker
	cat     *catalog.Catalog
	all     []jackfield.Server
	callers []Caller
}

const (
	crowdServers = 10_000
	crowdClasses = 1000
	crowdSeen    = 50
	crowdTools   = 20
)

func newCrowd(b *testing.B) *crowd {
	cr := &crowd{}
	schema := `,"description":"` + strings.Repeat("What it does. ", 12) + `","inputSchema":{"type":"object","properties":{"query":{"type":"string"}}}}`
	cr.cat = catalog.New(catalog.Options{Fetch: func(context.Context, jackfield.Server, jackfield.Scope, catalog.Kinds) (catalog.Fetched, error) {
		got := catalog.Fetched{Shape: exchange.Shape{Version: exchange.Modern}}
		for i := range crowdTools {
			got.Lists[catalog.Tools].Items = append(got.Lists[catalog.Tools].Items, wire.Raw(fmt.Sprintf(`{"name":"tool_%d"`, i)+schema))
		}
		return got, nil
	}})
	b.Cleanup(func() { _ = cr.cat.Close(context.Background()) })
	for i := range crowdServers {
		name := fmt.Sprintf("server%d", i)
		cr.all = append(cr.all, jackfield.Server{ID: jackfield.ServerID("app/" + name), Name: name, Version: 1, Revision: 1})
	}
	cr.cat.Warm(context.Background(), cr.all)
	sees := map[string][]jackfield.Server{}
	for i := range crowdClasses {
		var seen []jackfield.Server
		for j := range crowdSeen {
			s := cr.all[(i*37+j*101)%crowdServers]
			if j == 0 {
				s.Tools.Deny = []string{"tool_0"}
			}
			seen = append(seen, s)
		}
		who := fmt.Sprint("person", i)
		sees[who] = seen
		cr.callers = append(cr.callers, user(who))
	}
	cr.b = New(Options{
		Sees:        func(p jackfield.Principal) []jackfield.Server { return sees[p.Subject] },
		Lookup:      func(jackfield.ServerID) (jackfield.Server, bool) { return jackfield.Server{}, false },
		Connections: nowhere{}, Catalog: cr.cat,
	})
	return cr
}

// list lists the tools of one caller, and says how long that took.
func (cr *crowd) list(b *testing.B, c Caller, r *exchange.Request) time.Duration {
	began := time.Now()
	res, err := cr.b.Do(context.Background(), c, r, nil)
	took := time.Since(began)
	if n := crowdSeen*crowdTools - 1; err != nil || len(res.Raw) < n*100 {
		b.Fatal(err, len(res.Raw))
	}
	return took
}

// BenchmarkListOfFiftyServersOfTenThousand is what a person waits for who lists the
// tools of 50 servers, where a thousand others see another choice of them. Changing:
// before each list the list of one server of all has changed.
func BenchmarkListOfFiftyServersOfTenThousand(b *testing.B) {
	cr := newCrowd(b)
	r := request(b, "tools/list", "")
	for _, c := range cr.callers {
		cr.list(b, c, r)
	}
	for name, changing := range map[string]bool{"warm": false, "changing": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				if changing {
					cr.cat.Renewed(cr.all[i%crowdServers].ID, jackfield.App())
				}
				took = append(took, cr.list(b, cr.callers[i%crowdClasses], r))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}
