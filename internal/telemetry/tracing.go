package telemetry

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// Tracing makes spans. A nil Tracing makes none, and passes everything on as it is.
type Tracing struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

const scopeName = "github.com/jackfield-dev/jackfield"

func newTracing(p *sdk.TracerProvider, version string) *Tracing {
	return &Tracing{provider: p, tracer: p.Tracer(scopeName, trace.WithInstrumentationVersion(version))}
}

// w3c is how contexts travel: traceparent and tracestate (W3C Trace Context).
// Baggage is the client's and passes as it is, in _meta only: what is in it is for
// those whom the client sends it to.
var w3c = propagation.TraceContext{}

// metaKeys are where a context stands inside params._meta (MCP 2026-07-28, SEP-414).
var metaKeys = []string{"traceparent", "tracestate"}

// meta is params._meta as something that carries a context.
type meta struct{ *wire.Object }

func (m meta) Get(key string) string {
	text, _ := wire.String(m.Object.Get(key))
	return text
}

func (m meta) Set(key, value string) {
	if value == "" {
		m.Delete(key)
		return
	}
	m.Object.Set(key, wire.AppendString(nil, value))
}

func (m meta) Keys() []string { return metaKeys }

// Call is broker.Trace.Span: a span for a request that is for one server. Its
// parent is what the request's _meta says, else what the HTTP headers said, and the
// server is told the span in the same places.
func (t *Tracing) Call(ctx context.Context, s *jackfield.Server, r *exchange.Request) (context.Context, func(*wire.Error, error)) {
	m, ok := readMeta(r)
	if ok {
		ctx = w3c.Extract(ctx, m)
	}
	name := clip(r.Method)
	attrs := []attribute.KeyValue{attribute.String("jackfield.server", s.Name), attribute.String("mcp.method.name", name)}
	if target, named := wire.String(r.Params.Get("name")); named {
		target = clip(target)
		name += " " + target
		switch r.Method {
		case "tools/call":
			attrs = append(attrs, attribute.String("gen_ai.tool.name", target))
		case "prompts/get":
			attrs = append(attrs, attribute.String("gen_ai.prompt.name", target))
		}
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attrs...))
	given := r.Params.Get("_meta")
	if ok {
		w3c.Inject(ctx, m)
		r.Params.Set("_meta", m.Raw())
	}
	return ctx, func(answer *wire.Error, err error) {
		switch {
		case !ok:
		case given == nil:
			r.Params.Delete("_meta")
		default:
			r.Params.Set("_meta", given)
		}
		end(span, answer, err)
	}
}

// maxText is how many bytes of what a client wrote a span holds: spans wait in memory
// until they are sent.
const maxText = 200

func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "")
}

// readMeta takes _meta apart; not ok when it is nothing that could carry a context.
func readMeta(r *exchange.Request) (meta, bool) {
	raw := r.Params.Get("_meta")
	if raw == nil {
		o := wire.NewObject(metaKeys)
		return meta{&o}, true
	}
	o, err := wire.ScanObject(raw, metaKeys)
	return meta{&o}, err == nil
}

// Dial is a span for opening a connection. Many callers may wait for it, so it is
// the child of none.
func (t *Tracing) Dial(ctx context.Context, s jackfield.Server) (context.Context, func(error)) {
	return t.work(ctx, "dial", s)
}

// Listing is a span for a visit to list what a server offers.
func (t *Tracing) Listing(ctx context.Context, s jackfield.Server) (context.Context, func(error)) {
	return t.work(ctx, "list", s)
}

func (t *Tracing) work(ctx context.Context, name string, s jackfield.Server) (context.Context, func(error)) {
	if t == nil {
		return ctx, func(error) {}
	}
	ctx, span := t.tracer.Start(ctx, name+" "+s.Name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("jackfield.server", s.Name), attribute.String("jackfield.transport", string(s.Endpoint.Transport)),
	))
	return ctx, func(err error) { end(span, nil, err) }
}

// end ends a span. What a server answers with is its own words, which may hold
// anything, so the span gets the code alone.
func end(span trace.Span, answer *wire.Error, err error) {
	defer span.End()
	if answer == nil && err == nil {
		return
	}
	outcome := outcomeOf(answer, err)
	span.SetAttributes(attribute.String("error.type", outcome))
	if answer != nil {
		span.SetAttributes(attribute.Int("rpc.jsonrpc.error_code", answer.Code))
	}
	span.SetStatus(codes.Error, outcome)
}

// Incoming takes the context out of a client's HTTP headers.
func (t *Tracing) Incoming(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := w3c.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		if ctx != r.Context() {
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// Outgoing is client, which says in the headers of each request whose work it is.
func (t *Tracing) Outgoing(client *http.Client) *http.Client {
	if t == nil {
		return client
	}
	own := *client
	own.Transport = outgoing{cmp.Or(client.Transport, http.DefaultTransport)}
	return &own
}

type outgoing struct{ next http.RoundTripper }

// RoundTrip adds the headers to a copy of the request.
func (o outgoing) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace.SpanContextFromContext(r.Context()).IsValid() {
		told := *r
		told.Header = r.Header.Clone()
		w3c.Inject(r.Context(), propagation.HeaderCarrier(told.Header))
		r = &told
	}
	return o.next.RoundTrip(r)
}

// says passes what the OpenTelemetry library complains of to the log.
type says struct{ log *slog.Logger }

func (s says) Handle(err error) {
	s.log.Warn("telemetry cannot be sent", slog.String("error", withoutURL(err)))
}

// withoutURL is the error without the address, which may hold a key.
func withoutURL(err error) string {
	var u interface{ Unwrap() error }
	if errors.As(err, &u) && strings.Contains(err.Error(), "://") {
		if inner := u.Unwrap(); inner != nil {
			return withoutURL(inner)
		}
	}
	if strings.Contains(err.Error(), "://") {
		return "the collector cannot be reached"
	}
	return err.Error()
}

// complain is set once: the library has one handler for the process.
var complain sync.Once

func complainTo(log *slog.Logger) { complain.Do(func() { otel.SetErrorHandler(says{log}) }) }
