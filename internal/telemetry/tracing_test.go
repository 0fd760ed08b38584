package telemetry

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

const (
	theirTrace = "0af7651916cd43dd8448eb211c80319c"
	headerSpan = "00-" + theirTrace + "-b7ad6b7169203331-01"
	metaSpan   = "00-" + theirTrace + "-00f067aa0ba902b7-01"
)

func recorded(t *testing.T) (*Tracing, *tracetest.InMemoryExporter) {
	t.Helper()
	kept := tracetest.NewInMemoryExporter()
	p := sdk.NewTracerProvider(sdk.WithSyncer(kept))
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	return newTracing(p, "v1"), kept
}

func asked(t *testing.T, params string) *exchange.Request {
	t.Helper()
	o, err := wire.ScanObject(wire.Raw(params), exchange.ParamKeys)
	if err != nil {
		t.Fatal(err)
	}
	return &exchange.Request{Method: "tools/call", Params: o}
}

var github = &jackfield.Server{ID: "github", Name: "github"}

func TestACallsParentIsWhatItsMetaSaysAndTheServerIsToldTheGatewaysOwnSpan(t *testing.T) {
	tracing, kept := recorded(t)
	const params = `{"name":"search","_meta":{"x":1,"traceparent":"` + metaSpan + `","tracestate":"a=b","baggage":"k=v"},"arguments":{}}`
	r := asked(t, params)
	ctx, done := tracing.Call(t.Context(), github, r)
	sent := string(r.Params.Raw())
	done(nil, nil)
	span := kept.GetSpans()[0]
	if span.Parent.SpanID().String() != "00f067aa0ba902b7" || span.SpanContext.TraceID().String() != theirTrace || !span.Parent.IsRemote() {
		t.Errorf("%+v", span.Parent)
	}
	if want := `"traceparent":"00-` + theirTrace + "-" + span.SpanContext.SpanID().String() + `-01"`; !strings.Contains(sent, want) {
		t.Errorf("%s does not have %s", sent, want)
	}
	if !strings.Contains(sent, `"tracestate":"a=b"`) || !strings.Contains(sent, `"x":1`) || !strings.Contains(sent, `"baggage":"k=v"`) {
		t.Error(sent)
	}
	if string(r.Params.Raw()) != params {
		t.Errorf("afterwards it is %s", r.Params.Raw())
	}
	if span.Name != "tools/call search" || ctx == t.Context() {
		t.Error(span.Name)
	}
}

func TestWithoutMetaTheHeadersSayWhoseWorkItIs(t *testing.T) {
	tracing, kept := recorded(t)
	tracing.Incoming(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		req := asked(t, `{"name":"search"}`)
		_, done := tracing.Call(r.Context(), github, req)
		if !strings.Contains(string(req.Params.Raw()), `"_meta":{"traceparent":"00-`+theirTrace) {
			t.Errorf("%s", req.Params.Raw())
		}
		done(nil, nil)
		if string(req.Params.Raw()) != `{"name":"search"}` {
			t.Errorf("%s", req.Params.Raw())
		}
	})).ServeHTTP(nil, traced(t))
	if got := kept.GetSpans()[0].Parent.SpanID().String(); got != "b7ad6b7169203331" {
		t.Error(got)
	}
}

func traced(t *testing.T) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/mcp", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("traceparent", headerSpan)
	return r
}

func TestWhatMakesNoContextIsLeftAlone(t *testing.T) {
	tracing, kept := recorded(t)
	for _, params := range []string{
		`{"_meta":{"traceparent":"rubbish"}}`,
		`{"_meta":{"traceparent":7}}`,
		`{"_meta":{"Traceparent":"` + metaSpan + `"}}`, // ambiguous, and so not touched
		`{}`,
	} {
		r := asked(t, params)
		_, done := tracing.Call(t.Context(), github, r)
		done(nil, nil)
		if string(r.Params.Raw()) != params {
			t.Errorf("%s became %s", params, r.Params.Raw())
		}
	}
	for _, s := range kept.GetSpans() {
		if s.Parent.IsValid() {
			t.Errorf("%+v", s.Parent)
		}
	}
}

func TestASpanSaysHowItEndedButNotInTheServersWords(t *testing.T) {
	tracing, kept := recorded(t)
	_, done := tracing.Call(t.Context(), github, asked(t, `{}`))
	done(&wire.Error{Code: -32000, Message: "the password hunter2 is wrong"}, nil)
	_, dialed := tracing.Dial(t.Context(), *github)
	dialed(jackfield.Errorf(jackfield.Unavailable, "it is down: %w", &jackfield.Failure{Kind: jackfield.FailureRefused}))
	_, listed := tracing.Listing(t.Context(), *github)
	listed(nil)
	spans := kept.GetSpans()
	for i, want := range []string{"error", "refused", ""} {
		if got := spans[i].Status.Description; got != want {
			t.Errorf("%s: %q", spans[i].Name, got)
		}
	}
	for _, a := range spans[0].Attributes {
		if strings.Contains(a.Value.String(), "hunter2") {
			t.Error(a)
		}
	}
}

func TestWhatAClientWroteTakesLittleRoomInASpan(t *testing.T) {
	tracing, kept := recorded(t)
	long := strings.Repeat("ä", 1<<20)
	for _, method := range []string{"tools/call", "vendor/" + long} {
		r := asked(t, `{"name":"`+long+`"}`)
		r.Method = method
		_, done := tracing.Call(t.Context(), github, r)
		done(nil, nil)
	}
	for _, s := range kept.GetSpans() {
		if len(s.Name) > 2*maxText || !utf8.ValidString(s.Name) {
			t.Errorf("a name of %d bytes", len(s.Name))
		}
		for _, a := range s.Attributes {
			if len(a.Value.String()) > maxText {
				t.Errorf("%s has %d bytes", a.Key, len(a.Value.String()))
			}
		}
	}
}

type sees func(*http.Request) (*http.Response, error)

func (s sees) RoundTrip(r *http.Request) (*http.Response, error) { return s(r) }

func TestOutgoingRequestsSayWhoseWorkTheyAreAndNoHeaderIsShared(t *testing.T) {
	tracing, _ := recorded(t)
	var got []string
	client := tracing.Outgoing(&http.Client{Transport: sees(func(r *http.Request) (*http.Response, error) {
		got = append(got, r.Header.Get("traceparent"))
		return nil, errors.New("enough")
	})})
	ctx, done := tracing.Dial(t.Context(), *github)
	defer done(nil)
	r := traced(t)
	r.Header = http.Header{}
	for _, ctx := range []context.Context{ctx, t.Context()} {
		_, _ = client.Transport.RoundTrip(r.WithContext(ctx))
	}
	if !strings.HasPrefix(got[0], "00-") || got[1] != "" || len(r.Header) != 0 {
		t.Errorf("%q, shared %v", got, r.Header)
	}
}

func TestWithoutTracingNothingIsInTheWay(t *testing.T) {
	var none *Tracing
	h, client := http.NewServeMux(), &http.Client{}
	ctx, done := none.Dial(t.Context(), *github)
	done(nil)
	if none.Incoming(h) != http.Handler(h) || none.Outgoing(client) != client || ctx != t.Context() {
		t.Error("something is")
	}
}
