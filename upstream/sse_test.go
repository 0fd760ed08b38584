package upstream

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

func TestAnEndpointElsewhereIsRefused(t *testing.T) {
	for _, endpoint := range []string{
		"http://evil.test/messages", "https://evil.test/messages", "//evil.test/messages", "http://upstream.test:81/messages",
		"http://user:pass@upstream.test/messages", "https://upstream.test/messages", "file:///etc/passwd", "http://[::1", "http://upstream.test@evil.test/",
	} {
		t.Run(endpoint, func(t *testing.T) {
			s := sameHost(t, everyKind["HTTP+SSE"], endpoint)
			d := &desk{}
			j, e := refused(t, d.optionsFor(s))
			if e.Stage != StageProtocol || !strings.Contains(j.Message, "endpoint") && !strings.Contains(j.Message, "another origin") {
				t.Errorf("got %v: %s", e.Stage, j.Message)
			}
			if n := s.Count(http.MethodPost); n != 0 {
				t.Errorf("%d × POST", n)
			}
			if strings.Contains(j.Message, "pass") && !strings.Contains(endpoint, "passwd") {
				t.Errorf("a password shows: %s", j.Message)
			}
		})
	}
}

// sameHost is a server on pipes, whose address is known before it starts.
func sameHost(t *testing.T, script upstreamtest.Script, endpoint string) *upstreamtest.Server {
	t.Helper()
	script.InProcess = true
	script.Endpoint = endpoint
	return upstreamtest.New(t, script)
}

func TestAnEndpointInAnyFormOfTheSamePlaceIsTaken(t *testing.T) {
	for _, endpoint := range []string{
		"messages?session=sse-1", "/messages?session=sse-1", "?session=sse-1", "http://upstream.test/messages?session=sse-1",
		"http://UPSTREAM.test:80/messages?session=sse-1", "//upstream.test/messages?session=sse-1",
	} {
		script := everyKind["HTTP+SSE"]
		s := sameHost(t, script, endpoint)
		d := &desk{}
		o := d.optionsFor(s)
		if strings.HasPrefix(endpoint, "?") {
			o.Client = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPost {
					r.URL.Path = "/messages"
				}
				return s.Client().Transport.RoundTrip(r)
			})}
		}
		c, err := Dial(t.Context(), o)
		if err != nil {
			t.Errorf("%s: %v", endpoint, err)
			continue
		}
		shut(t, c)
	}
}

func TestAStreamThatIsNoneFailsTheDial(t *testing.T) {
	for name, c := range map[string]struct {
		fault Fault
		code  jackfield.Code
		stage string
		says  string
	}{
		"401":              {Fault{Status: 401}, jackfield.AuthRequired, StageAuth, "HTTP 401"},
		"404":              {Fault{Status: 404}, jackfield.Unavailable, StageHTTP, "HTTP 404"},
		"a page":           {Fault{Type: "text/html", Body: "<p>"}, jackfield.Unavailable, StageProtocol, "something else than an event stream"},
		"no endpoint":      {Fault{Type: "text/event-stream", Body: "event: hello\ndata: x\n\n"}, jackfield.Unavailable, StageProtocol, "before it named an endpoint"},
		"a message first":  {Fault{Type: "text/event-stream", Body: "data: {}\n\n"}, jackfield.Unavailable, StageProtocol, "before it named an endpoint"},
		"an endless event": {Fault{Type: "text/event-stream", Body: "event: endpoint\ndata: " + strings.Repeat("x", 20_000)}, jackfield.Unavailable, StageProtocol, "before it named an endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			s := upstreamtest.New(t, everyKind["HTTP+SSE"])
			c.fault.Method = http.MethodGet
			s.Fault(c.fault)
			d := &desk{}
			o := d.optionsFor(s)
			o.Limits.Message = 10_000
			j, e := refused(t, o)
			if j.Code != c.code || e.Stage != c.stage || !strings.Contains(j.Message, c.says) {
				t.Errorf("got %v, %v: %s", j.Code, e.Stage, j.Message)
			}
		})
	}
}

func TestTheEndOfTheStreamEndsTheConnection(t *testing.T) {
	d := patch(t, upstreamtest.New(t, everyKind["HTTP+SSE"]))
	failed := make(chan error, 1)
	go func() {
		_, err := d.Do(t.Context(), tool(t, d.Conn, "slow", `{}`), nil)
		failed <- err
	}()
	d.s.Wait(t, "tool:slow", 1)
	d.s.DropStreams()
	err := <-failed
	if jackfield.CodeOf(err) != jackfield.Unavailable || NotSent(err) || !strings.Contains(fmt.Sprint(err), "its event stream has ended") || d.Err() == nil {
		t.Errorf("got %v, not sent: %v, Err: %v", err, NotSent(err), d.Err())
	}
}

func TestAMessageThatTheSessionIsForgottenForWasNotSent(t *testing.T) {
	d := patch(t, upstreamtest.New(t, everyKind["HTTP+SSE"]))
	d.s.Forget()
	_, err := d.Do(t.Context(), tool(t, d.Conn, "echo", `{}`), nil)
	if jackfield.CodeOf(err) != jackfield.Unavailable || !NotSent(err) || !strings.Contains(fmt.Sprint(err), "forgotten the session") || d.Err() == nil {
		t.Errorf("got %v, not sent: %v, Err: %v", err, NotSent(err), d.Err())
	}
}

func TestAMessageThatTheServerRefusesFailsItsCall(t *testing.T) {
	d := patch(t, upstreamtest.New(t, everyKind["HTTP+SSE"]))
	d.s.Fault(Fault{Method: "tools/call", Status: 413, Times: 1})
	_, err := d.Do(t.Context(), tool(t, d.Conn, "echo", `{}`), nil)
	if jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(fmt.Sprint(err), "HTTP 413") || d.Err() != nil {
		t.Errorf("got %v", err)
	}
	d.call(t, "echo", `{}`)
}

func TestAnEventThatIsTooLongEndsTheConnection(t *testing.T) {
	d := patch(t, upstreamtest.New(t, everyKind["HTTP+SSE"]), func(o *Options) { o.Limits.Message = 10_000 })
	_, err := d.Do(t.Context(), tool(t, d.Conn, "big", `{"bytes":20000}`), nil)
	if jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(fmt.Sprint(err), "longer than 10000 bytes") || d.Err() == nil {
		t.Errorf("got %v", err)
	}
}

func TestAWrongMemoryOfHTTPAndSSEDoesNotKillWhatComesAfterIt(t *testing.T) {
	// The stream opens, but initialize over it is refused: the next attempt must not
	// die with the stream of the first.
	s := upstreamtest.New(t, everyKind["HTTP+SSE"])
	s.Fault(Fault{Method: "initialize", Status: 500, Times: 1})
	d := patch(t, s, func(o *Options) {
		o.Endpoint.Transport = jackfield.TransportHTTP
		o.Shape = &exchange.Shape{Transport: "sse", Version: exchange.V20241105, Session: true}
	})
	d.call(t, "echo", `{}`)
}
