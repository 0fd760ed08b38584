package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/connections"
	"github.com/jackfield-dev/jackfield/gateway"
	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/internal/authn"
	"github.com/jackfield-dev/jackfield/internal/credentials"
	"github.com/jackfield-dev/jackfield/internal/egress"
	"github.com/jackfield-dev/jackfield/internal/policy"
	"github.com/jackfield-dev/jackfield/internal/record"
	"github.com/jackfield-dev/jackfield/internal/registry"
	"github.com/jackfield-dev/jackfield/internal/seal"
	"github.com/jackfield-dev/jackfield/internal/store"
	"github.com/jackfield-dev/jackfield/internal/telemetry"
	"github.com/jackfield-dev/jackfield/pool"
	"github.com/jackfield-dev/jackfield/wire"
)

// parts are the rooms of the house and the doors between them.
type parts struct {
	config   *Config // as the gateway was started; a reload changes only what the registry holds
	version  string
	guard    []string // Options.Guard
	log      *slog.Logger
	egress   *egress.Clients
	store    *store.Store // nil: nothing outlives the process
	keys     *seal.Keys   // nil without a store
	saves    saves
	follower follower
	events   api.Events
	shared   *record.Record // the key of the replicas; nil: there is none

	registry    *registry.Registry
	directory   *authn.Directory
	credentials *credentials.Credentials
	rates       *policy.Rates
	warnings    atomic.Pointer[map[jackfield.ServerID][]string]
	listening   atomic.Pointer[string] // host:port, once it is known
	via         string                 // what marks this gateway's requests

	catalog *catalog.Catalog
	board   *connections.Board[broker.Conn]
	broker  *broker.Broker
	gateway *gateway.Handler

	following sync.Mutex // definitions come from the file and from the store

	phase   phase
	stale   atomic.Bool // the last reload was refused: the configuration has errors
	limiter *telemetry.Limiter
	metrics *telemetry.Metrics
	otlp    *telemetry.OTLP
}

func newParts(o Options, key []byte) (*parts, error) {
	p := &parts{config: o.Config, version: o.Version, guard: o.Guard, log: o.Log}
	var err error
	if p.egress, err = wayOut(o.Config.Egress); err != nil {
		return nil, err
	}
	if err = p.openStore(context.Background()); err != nil {
		return nil, err
	}
	if err = p.watch(o.Log); err != nil {
		return nil, errors.Join(err, p.closeStore())
	}
	if err = p.learn(o); err != nil {
		return nil, errors.Join(err, p.closeStore())
	}
	if key, err = p.sharedKey(context.Background(), key); err != nil {
		return nil, errors.Join(err, p.closeStore())
	}
	p.via = via(key)
	limits := o.Config.Limits
	known := catalog.Options{Fetch: p.fetch, Hooks: p.catalogHooks(), Fingerprint: fingerprints(key)}
	if p.store != nil {
		known.Store = p.store
	}
	p.catalog = catalog.New(known)
	p.restore(context.Background())
	p.board = connections.New(connections.Options[broker.Conn]{
		Lookup: p.lookup,
		All:    func(scope jackfield.Scope) []jackfield.Server { return p.registry.See(p.principal(scope)) },
		Find: func(scope jackfield.Scope, name string) (jackfield.Server, error) {
			return p.registry.Find(p.principal(scope), name)
		},
		Dial:       p.dial,
		Credential: p.credentials.Version,
		Shape:      p.catalog.Shape,
		ShapeOf:    broker.Conn.Shape,
		Claimed:    claimed,
		Classify:   classify,
		Trace:      p.poolTrace(o.Trace),
		Limits: pool.Limits{
			DialsProcess: limits.Dials.Total, DialsServer: limits.Dials.PerServer, DialsOwner: limits.Dials.PerOwner,
			Queue: limits.Queue.Total, QueueServer: limits.Queue.PerServer,
			OpenProcess: limits.Connections.Total, OpenServer: limits.Connections.PerServer, OpenOwner: p.share(limits.Connections, 64),
			ChildrenOwner: cmp.Or(limits.Programs.PerOwner, programs),
			Idle:          limits.Idle, Drain: limits.Drain,
		},
	})
	p.broker = broker.New(broker.Options{
		Sees:        p.registry.See,
		Public:      p.public,
		Lookup:      p.lookup,
		Admit:       p.rates.Admit,
		Connections: p.board,
		Catalog:     p.catalog,
		Limits: broker.Limits{
			Call: limits.Call, Calls: limits.Calls.Total, OwnerCalls: p.share(limits.Calls, 1024), Result: int(limits.Result),
		},
		Trace: p.brokerTrace(),
	})
	p.gateway = gateway.New(gateway.Options{
		Broker:       p.broker,
		Authenticate: p.directory.Authenticate,
		Find:         p.find,
		ParamHeaders: p.paramHeaders,
		Repeatable:   p.broker.Repeatable,
		Guard:        gateway.Guard{PublicURL: o.Config.PublicURL},
		Key:          key,
		ServerInfo:   p.serverInfo(),
		Limits: gateway.Limits{
			Body: int(limits.Body), Sessions: limits.Sessions.Total, OwnerSessions: limits.Sessions.PerOwner,
			Parked: limits.Parked.Total, OwnerParked: limits.Parked.PerOwner,
		},
		Log:     p.log,
		Refused: p.metrics.Refused,
	})
	return p, nil
}

// wayOut makes the clients that requests to servers go through.
func wayOut(c Egress) (*egress.Clients, error) {
	var o egress.Options
	for _, text := range c.Allow {
		rule, err := egress.ParseRule(text)
		if err != nil {
			return nil, jackfield.Errorf(jackfield.Invalid, "egress.allow: %q cannot be allowed: %w", text, err)
		}
		o.Allow = append(o.Allow, rule)
	}
	return egress.New(o), nil
}

// programs is how many child processes one owner may have.
const programs = 128

// share is how many connections, or calls, one owner may have, if the configuration
// does not say. Where nobody says who they are everybody is one principal, and its
// share is whatever there is.
func (p *parts) share(b Budget, fair int) int {
	if len(p.config.Auth.Keys) > 0 || p.config.Auth.Required && p.config.Auth.Token == "" {
		return cmp.Or(b.PerOwner, fair)
	}
	return cmp.Or(b.PerOwner, b.Total, math.MaxInt)
}

// The paths of the gateway, below which stands one for each server.
const (
	endpoint = "/mcp"
	oldPath  = "/sse" // HTTP+SSE, the transport of 2024-11-05
)

func isGateway(path string) bool {
	return path == endpoint || strings.HasPrefix(path, endpoint+"/") || path == oldPath || strings.HasPrefix(path, oldPath+"/")
}

// handler is everything that is served, behind the check of Host and Origin.
func (p *parts) handler() http.Handler {
	mux := http.NewServeMux()
	rest := &api.Handler{
		Authenticate: p.directory.Authenticate,
		Servers:      p.servers,
		Registry:     p.registry,
		People:       p.directory,
		Credentials:  p.credentials,
		Board:        p.board,
		Events:       &p.events,
		Warnings:     func(id jackfield.ServerID) []string { return (*p.warnings.Load())[id] },
		Connections:  p.board.Status,
		Shape:        p.catalog.Shape,
		Sharing:      p.sharing,
		Listings:     p.listings,
		Calls:        p.counted,
		Reset:        p.reset,
		Connect:      p.connect,
		Degraded:     p.degraded,
		Readiness:    p.readiness,
		Version:      p.version,
		Log:          p.log,
	}
	if p.store != nil {
		rest.Backup, rest.ReadLog = p.backup, p.store.Log
	}
	rest.Mount(mux)
	if p.config.Metrics.Listen == "" {
		mux.Handle("GET /metrics", p.metricsFor(rest.Authenticate))
	}
	guarded := gateway.Guard{PublicURL: p.config.PublicURL}.Wrap(mux)
	calls := p.unlooped(p.otlp.Tracing.Incoming(p.gateway))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case isGateway(path):
			calls.ServeHTTP(w, r) // which has a guard of its own, and most of what comes is for it
		case path == "/healthz" || path == "/readyz":
			mux.ServeHTTP(w, r) // who asks by an address of his own learns nothing
		default:
			guarded.ServeHTTP(w, r)
		}
	})
}

// close gives back what is left when everything has ended.
func (p *parts) close(ctx context.Context) error {
	p.egress.CloseIdle()
	if err := p.otlp.Close(ctx); err != nil {
		p.log.Warn("the last traces and metrics were not sent", slog.Any("error", err))
	}
	return p.closeStore()
}

func (p *parts) closeStore() error {
	if p.store == nil {
		return nil
	}
	if err := p.store.Close(); err != nil {
		return fmt.Errorf("the data directory: %w", err)
	}
	return nil
}

func (p *parts) servers() []jackfield.Server { return p.registry.Snapshot().Servers() }

// everybodys are the definitions of the app's scope. Those of teams and people are
// not opened before somebody asks.
func (p *parts) everybodys() []jackfield.Server {
	all := p.servers()
	var out []jackfield.Server // few of many, and kept for a while
	for i := range all {
		if all[i].Scope == jackfield.App() {
			out = append(out, all[i])
		}
	}
	return out
}

func (p *parts) lookup(id jackfield.ServerID) (jackfield.Server, bool) {
	return p.registry.Snapshot().ByID(id)
}

// find answers whether /mcp/{server} exists, in the broker's words.
func (p *parts) find(who jackfield.Principal, server string) error {
	return p.broker.Find(who, server)
}

// sharing says who shares a server's connections, for people.
func (p *parts) sharing(s jackfield.Server) (jackfield.Sharing, string) {
	shape, known := p.catalog.Shape(s)
	return connections.Decide(s, s.OwnCredentials(), shape, known)
}

func (p *parts) serverInfo() wire.Raw {
	b := append([]byte(`{"name":"jackfield","title":"Jackfield","version":`), wire.AppendString(nil, p.version)...)
	return append(b, '}')
}

// listings tells what the catalog holds of a server, as its owner sees it: what is
// everybody's, and of a server that each person reaches on credentials of their own
// the person's own. Why a visit failed may tell of who asked, and is told to nobody
// else.
func (p *parts) listings(s jackfield.Server, owner jackfield.Scope) []api.Listing {
	var shared, own *catalog.Listing
	status := p.catalog.Status(s)
	for i := range status.Listings {
		switch l := &status.Listings[i]; {
		case l.Scope == jackfield.App():
			shared = l
		case l.Scope == owner && s.OwnCredentials():
			own = l
		}
	}
	var out []api.Listing
	for k := range catalog.Kind(len(catalog.Listing{}.Lists)) {
		switch {
		case shared != nil && !s.OwnCredentials():
			out = append(out, listed(k, shared))
		case shared != nil && shared.Lists[k].Public && (own == nil || !own.Lists[k].Known):
			l := shared.Lists[k]
			out = append(out, api.Listing{Kind: k.String(), Count: l.Count, Fetched: l.Fetched, Fresh: l.Fresh, Truncated: l.Cut})
		case own != nil:
			out = append(out, listed(k, own))
		}
	}
	return out
}

func listed(k catalog.Kind, from *catalog.Listing) api.Listing {
	l := &from.Lists[k]
	out := api.Listing{
		Kind: k.String(), Count: l.Count, Fetched: l.Fetched, Fresh: l.Fresh, Truncated: l.Cut,
		Failing: from.Since, Next: from.Retry,
	}
	switch {
	case l.Err != nil:
		out.Error = l.Err.Error()
	case from.Err != nil:
		out.Error = from.Err.Error()
	}
	return out
}

// warn keeps what Load warned about, by server, to be shown with it.
func (p *parts) warn(problems []Problem) {
	all := map[jackfield.ServerID][]string{}
	for _, problem := range problems {
		if problem.Server != "" && problem.Severity == SeverityWarning {
			id := jackfield.ServerID(problem.Server)
			all[id] = append(all[id], problem.String())
		}
	}
	p.warnings.Store(&all)
}

// apply puts the definitions of the file in force.
func (p *parts) apply(c *Config, problems []Problem) (registry.Change, error) {
	change, err := p.registry.Apply(c.Servers)
	if err != nil || change.Empty() {
		return change, err
	}
	p.warn(problems)
	p.follow(change)
	return change, nil
}

// follow does what a change of definitions asks for: what was removed is cut, what
// must be dialed anew is drained, and every view learns of it.
func (p *parts) follow(change registry.Change) {
	if change.Empty() {
		return
	}
	for _, id := range change.Removed {
		p.board.Cut(ofServer(id), jackfield.Errorf(jackfield.NotFound, "server %q was removed", id))
		p.egress.Forget(id)
		p.metrics.Forget(id)
	}
	for _, id := range change.Redial {
		p.board.Reset(ofServer(id))
	}
	p.following.Lock() // so that whoever is last has the newest definitions
	defer p.following.Unlock()
	servers := p.servers()
	p.credentials.Secrets(servers)
	p.catalog.Keep(servers)
	p.broker.Changed(change.Removed)
}

// reset has a server begun anew: nothing that failed keeps the next call from it.
func (p *parts) reset(s jackfield.Server) {
	p.board.Reset(ofServer(s.ID))
	p.catalog.Retry(s.ID)
}

func ofServer(id jackfield.ServerID) func(pool.Key) bool {
	return func(k pool.Key) bool { return k.Server == id }
}
