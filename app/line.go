package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/gateway"
	"github.com/jackfield-dev/jackfield/pool"
	"github.com/jackfield-dev/jackfield/upstream"
)

// line is a connection with the key that it stands under. A probe is given its key
// after it was opened, so what depends on the key asks for it when it is needed.
type line struct {
	*upstream.Conn
	key atomic.Pointer[pool.Key]
}

// claimed is told by the board when a probe was given its key.
func claimed(c broker.Conn, k pool.Key) {
	if l, ok := c.(*line); ok {
		l.key.Store(&k)
	}
}

// dial opens a connection to a server. The pool calls it.
func (p *parts) dial(ctx context.Context, s jackfield.Server, k pool.Key, caps string) (_ broker.Conn, err error) {
	ctx, end := p.otlp.Tracing.Dial(ctx, s)
	defer func() { end(err) }()
	l := &line{}
	l.key.Store(&k)
	endpoint, err := p.credentials.Endpoint(ctx, &s, k.Scope)
	if err != nil {
		return nil, err
	}
	id, name := s.ID, s.Name // what follows lasts as long as the connection, and need not keep all of s
	options := upstream.Options{
		Name:        s.Name,
		Endpoint:    p.signed(endpoint),
		Header:      p.credentials.Headers(&s, k.Scope),
		Client:      p.otlp.Tracing.Outgoing(p.egress.For(s)),
		Caps:        caps,
		Home:        func() exchange.Peer { return p.home(l) },
		Guard:       p.guard,
		InitTimeout: s.Usage.InitTimeout,
		Limits:      upstream.Limits{Message: int(p.config.Limits.Message)},
		ParamHeaders: func(method, tool string) []upstream.ParamHeader {
			if method != "tools/call" {
				return nil
			}
			return mapped[upstream.ParamHeader](p.catalog.ParamHeaders(id, l.key.Load().Scope, tool))
		},
		Hooks: upstream.Hooks{
			Event: func(ev exchange.Event) { p.broker.Event(*l.key.Load(), ev) },
			Lost: func(why error, state bool) {
				key := *l.key.Load()
				p.log.Warn("no connection", serverAttr(name), scopeAttr(key.Scope), failureAttr(why), slog.Any("error", why))
				if state {
					p.broker.Lost(key, why)
				}
			},
			Declined: func(method, why string) {
				p.log.Debug("declined a server's question", serverAttr(name), slog.String("method", method), slog.String("why", why))
			},
			Ignored: func(why string) {
				p.log.Debug("ignored a server's message", serverAttr(name), slog.String("why", why))
			},
		},
	}
	if options.InitTimeout == 0 {
		options.InitTimeout = p.config.Limits.Connect
	}
	if shape, known := p.catalog.Shape(s); known {
		options.Shape = &shape
	}
	conn, err := upstream.Dial(ctx, options)
	if err != nil {
		return nil, err
	}
	l.Conn = conn
	p.catalog.Learn(s, conn.Shape())
	p.catalog.Connected(s, k.Scope)
	return l, nil
}

// home is the peer of the one downstream session that a line serves; nil when it
// serves none.
func (p *parts) home(l *line) exchange.Peer {
	id, ok := strings.CutPrefix(l.key.Load().Isolation.ID, "session:")
	if !ok {
		return nil
	}
	return p.broker.Home(id)
}

// classify tells the pool what a failed dial means.
func classify(err error) pool.Failure {
	var out pool.Failure
	if known := jackfield.FailureOf(err); known != nil {
		out.Failure = *known
	}
	if e, ok := errors.AsType[*upstream.DialError](err); ok {
		out.Stage, out.Temporary, out.RetryAfter, out.DialStage = e.Stage, e.Temporary, e.RetryAfter, e.DialStage
		return out
	}
	// What stands in the way before anything is dialed: a value that is missing, or one
	// that nobody could be reached with. Time mends the store and Vault, and not those.
	code := jackfield.CodeOf(err)
	out.Stage, out.Temporary = "dial", code != jackfield.AuthRequired && code != jackfield.Invalid
	return out
}

// fetch lists what a server offers, for the catalog, over a connection that is no
// client's own.
func (p *parts) fetch(ctx context.Context, s jackfield.Server, owner jackfield.Scope, kinds catalog.Kinds) (got catalog.Fetched, err error) {
	ctx, end := p.otlp.Tracing.Listing(ctx, s)
	defer func() { end(err) }()
	got, lost, err := p.visit(ctx, s, owner, kinds)
	if lost && ctx.Err() == nil {
		got, _, err = p.visit(ctx, s, owner, kinds) // it was restarted, or speaks something else now
	}
	return got, err
}

// visit lists on one connection. lost: that ended meanwhile.
func (p *parts) visit(ctx context.Context, s jackfield.Server, owner jackfield.Scope, kinds catalog.Kinds) (got catalog.Fetched, lost bool, err error) {
	lease, err := p.board.Listing(ctx, s, owner)
	if err != nil {
		return got, false, err
	}
	defer lease.Release()
	conn := lease.Conn()
	got.Shape = conn.Shape()
	for k := range got.Lists {
		kind := catalog.Kind(k)
		if !kinds.Has(kind) {
			continue
		}
		list, err := conn.(*line).List(ctx, kind.Method())
		got.Lists[k] = catalog.List{
			Items: list.Items, TTL: list.TTL, Told: got.Shape.Modern(), Public: list.Public, Cut: list.Truncated, Err: err,
		}
		lost = lost || err != nil && conn.Err() != nil
	}
	return got, lost, nil
}

// paramHeaders tells the gateway which arguments of a tool must stand in headers.
func (p *parts) paramHeaders(c broker.Caller, tool string) []gateway.ParamHeader {
	return mapped[gateway.ParamHeader](p.broker.ParamHeaders(c, tool))
}

// mapped turns the catalog's word for a header into another part's.
func mapped[T ~struct {
	Name string
	Path []string
}](in []catalog.ParamHeader) []T {
	if len(in) == 0 {
		return nil
	}
	out := make([]T, len(in))
	for i, h := range in {
		out[i] = T(h)
	}
	return out
}
