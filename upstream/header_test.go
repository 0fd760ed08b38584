package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

// overheard notes the requests that pass.
type overheard struct {
	http.RoundTripper

	mu   sync.Mutex
	seen []*http.Request
}

func (o *overheard) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	o.seen = append(o.seen, r.Clone(context.Background()))
	o.mu.Unlock()
	return o.RoundTripper.RoundTrip(r)
}

func TestEveryRequestCarriesTheHeadersOfTheMoment(t *testing.T) {
	for name, script := range everyKind {
		if script.Transport == jackfield.TransportStdio {
			continue
		}
		t.Run(name, func(t *testing.T) {
			s := upstreamtest.New(t, script)
			sockets := newTransport(nil)
			t.Cleanup(sockets.CloseIdleConnections)
			ear := &overheard{RoundTripper: sockets}
			var asked atomic.Int64
			d := &desk{}
			o := d.optionsFor(s)
			o.Client = &http.Client{Transport: ear}
			o.Endpoint.Headers = map[string]jackfield.Secret{"Authorization": "Bearer everybody", "X-Fixed": "stays"}
			o.Header = func(context.Context) (http.Header, error) {
				return http.Header{
					"authorization": {fmt.Sprint("Bearer ", asked.Add(1))}, "Accept": {"evil/*"}, "Content-Type": {"evil/x"}, "Mcp-Session-Id": {"evil"},
					"MCP-Protocol-Version": {"evil"}, "Mcp-Method": {"evil"}, "Mcp-Name": {"evil"}, "Mcp-Param-Region": {"evil"}, "Last-Event-ID": {"evil"},
					"Idempotency-Key": {"evil"},
				}, nil
			}
			c, err := Dial(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			d.Conn = c
			for range 3 {
				d.call(t, "echo", `{"text":"x"}`)
			}
			shut(t, c)
			ear.mu.Lock()
			defer ear.mu.Unlock()
			got := map[string]bool{}
			for _, r := range ear.seen {
				got[r.Header.Get("Authorization")] = true
				if r.Header.Get("X-Fixed") != "stays" {
					t.Errorf("%s without the fixed header", r.Method)
				}
				for name, values := range r.Header {
					if slices.ContainsFunc(values, func(v string) bool { return strings.HasPrefix(v, "evil") }) {
						t.Errorf("%s says %s: %q", r.Method, name, values)
					}
				}
			}
			if len(got) != len(ear.seen) || int(asked.Load()) != len(ear.seen) || got["Bearer everybody"] {
				t.Errorf("%d requests, %d different headers, asked %d times: %v", len(ear.seen), len(got), asked.Load(), got)
			}
		})
	}
}

func TestPersonalHeadersStayAtTheOrigin(t *testing.T) {
	m, o := lost(t, everyKind["modern, JSON"], http.StatusTemporaryRedirect, map[string]string{
		home: "http://home.test/two", "http://home.test/two": "http://elsewhere.test/mcp",
	})
	o.Header = func(context.Context) (http.Header, error) {
		return http.Header{"X-Person": {"alice"}, "Host": {"tenant.test"}}, nil
	}
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, c)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.seen {
		if own := r.URL.Host == "home.test"; own != (r.Header.Get("X-Person") == "alice") || own != (r.Host == "tenant.test") {
			t.Errorf("%s got X-Person %q and Host %q", r.URL, r.Header.Get("X-Person"), r.Host)
		}
	}
	if len(m.seen) < 3 {
		t.Errorf("%d requests", len(m.seen))
	}
}

func TestWithoutItsHeadersNothingIsSent(t *testing.T) {
	missing := &jackfield.Error{Code: jackfield.AuthRequired, Message: "server \"scripted\" needs your API key: enter it", Err: &jackfield.Failure{Kind: jackfield.FailureAuth}}
	for name, c := range map[string]struct {
		header http.Header
		err    error
		code   jackfield.Code
		says   string
		cause  error
	}{
		"missing":          {nil, missing, jackfield.AuthRequired, `server "scripted" needs your API key: enter it`, missing},
		"without a code":   {nil, io.ErrUnexpectedEOF, jackfield.Internal, `server "scripted": the headers of a request`, io.ErrUnexpectedEOF},
		"a line break":     {http.Header{"X-Key": {"topsecret\r\nX-Admin: yes"}}, nil, jackfield.Invalid, "control character", nil},
		"a name with one":  {http.Header{"X-Key\r\nX-Admin": {"topsecret"}}, nil, jackfield.Invalid, "cannot be sent", nil},
		"a name that ends": {http.Header{"X-Key: y": {"topsecret"}}, nil, jackfield.Invalid, "cannot be sent", nil},
	} {
		for kind, script := range everyKind {
			if script.Transport == jackfield.TransportStdio {
				continue
			}
			t.Run(name+"/"+kind, func(t *testing.T) {
				s := upstreamtest.New(t, script)
				var broken atomic.Bool
				change := func(o *Options) {
					o.Header = func(context.Context) (http.Header, error) {
						if broken.Load() {
							return c.header, c.err
						}
						return nil, nil
					}
				}
				check := func(err error) {
					t.Helper()
					var dial *DialError
					j, _ := errors.AsType[*jackfield.Error](err)
					switch f := jackfield.FailureOf(err); {
					case j == nil || j.Code != c.code || !NotSent(err) || f == nil || f.Kind != jackfield.FailureAuth:
						t.Fatalf("%v (not sent: %v, %+v)", err, NotSent(err), f)
					case !strings.Contains(j.Message, c.says) || strings.Count(j.Message, "scripted") != 1 || strings.Contains(j.Message, "topsecret"):
						t.Errorf("it says %q", j.Message)
					case c.cause != nil && !errors.Is(err, c.cause):
						t.Error("the cause is not in the chain")
					case errors.As(err, &dial) && dial.Temporary != (c.code == jackfield.Internal):
						t.Errorf("Temporary: %v", dial.Temporary)
					}
				}
				d := patch(t, s, change)
				before := s.Count("tools/call")
				broken.Store(true)
				_, err := d.Do(t.Context(), tool(t, d.Conn, "echo", `{"text":"x"}`), nil)
				check(err)
				_, err = Dial(t.Context(), func() Options { o := (&desk{}).optionsFor(s); change(&o); return o }())
				check(err)
				broken.Store(false)
				if n := s.Count("tools/call"); n != before {
					t.Errorf("%d calls arrived", n-before)
				}
				if got := d.call(t, "echo", `{"text":"again"}`); !strings.Contains(got, `"again"`) {
					t.Errorf("afterwards: %q", got)
				}
			})
		}
	}
}

// mirror is a server of both eras whose tool says who called it.
func mirror() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		m, err := wire.Parse(text)
		if err != nil || m.Kind != wire.Request {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		result := `{"resultType":"complete","content":[{"type":"text","text":"` + r.Header.Get("X-Person") + `"}]}`
		switch m.Method {
		case "server/discover":
			result = `{"resultType":"complete","supportedVersions":["` + exchange.Modern + `"],"capabilities":{"tools":{}}}`
		case "initialize":
			result = `{"protocolVersion":"` + exchange.LatestLegacy + `","capabilities":{"tools":{}},"serverInfo":{"name":"mirror","version":"1"}}`
		}
		answer := wire.AppendResult(nil, m.ID, wire.Raw(result))
		if len(m.ID)%2 == 0 {
			w.Header().Set("Content-Type", typeStream)
			answer = wire.AppendEvent(nil, wire.Event{Data: answer})
		} else {
			w.Header().Set("Content-Type", typeJSON)
		}
		_, _ = w.Write(answer)
	})
}

type callNumber struct{}

// Identity belongs to the call: however many connections share the sockets of one
// client, each request carries what its own connection's Header says for its own
// context.
func TestNoRequestEverCarriesTheHeadersOfAnother(t *testing.T) {
	server := httptest.NewServer(mirror())
	t.Cleanup(server.Close)
	const people, callers, calls = 50, 4, 20
	client := server.Client()
	conns := make([]*Conn, people)
	for i := range conns {
		shape := exchange.Shape{Version: exchange.Modern, Transport: string(jackfield.TransportHTTP)}
		if i%2 == 1 {
			shape.Version = exchange.LatestLegacy
		}
		c, err := Dial(t.Context(), Options{
			Name: "mirror", Endpoint: jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: server.URL}, Client: client, Shape: &shape,
			Header: func(ctx context.Context) (http.Header, error) {
				return http.Header{"X-Person": {fmt.Sprint(i, "/", ctx.Value(callNumber{}))}}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { shut(t, c) })
		conns[i] = c
	}
	var all sync.WaitGroup
	var right atomic.Int64
	for i, c := range conns {
		for j := range callers {
			all.Go(func() {
				for k := range calls {
					number := fmt.Sprint(j, ".", k)
					res, err := c.Do(context.WithValue(t.Context(), callNumber{}, number), tool(t, c, "who", `{}`), nil)
					want := `"` + fmt.Sprint(i, "/", number) + `"`
					if err != nil || !strings.Contains(string(res.Raw), want) {
						t.Errorf("%s got %s, %v", want, res.Raw, err)
						continue
					}
					right.Add(1)
				}
			})
		}
	}
	all.Wait()
	if n := right.Load(); n != people*callers*calls {
		t.Errorf("%d of %d", n, people*callers*calls)
	}
}
