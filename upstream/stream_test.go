package upstream

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

func TestAStreamThatTheServerClosesIsResumedAndNothingIsDoubled(t *testing.T) {
	for _, times := range []int{1, 4} {
		t.Run(fmt.Sprint(times, " visits"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, InProcess: true}))
				peer := &asker{}
				begun := time.Now()
				res, err := d.Do(t.Context(), tool(t, d.Conn, "poll", fmt.Sprintf(`{"retry":2000,"times":%d}`, times)), peer)
				if err != nil || !strings.Contains(string(res.Raw), "polled") {
					t.Fatalf("got %s, %v", res.Raw, err)
				}
				if took, want := time.Since(begun), time.Duration(times)*2*time.Second; took != want {
					t.Errorf("came back after %v, want %v", took, want)
				}
				if heard := peer.all(); len(heard) != 1 {
					t.Errorf("heard %q", heard)
				}
				if d.s.Count("tools/call") != 1 || d.s.Count("resume") != times {
					t.Errorf("%d calls, %d visits", d.s.Count("tools/call"), d.s.Count("resume"))
				}
			})
		})
	}
}

func TestAServerThatClosesItsStreamsAtOnceIsNotVisitedWithoutPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, InProcess: true}))
		begun := time.Now()
		if got := d.call(t, "poll", `{"retry":0,"times":12}`); !strings.Contains(got, "polled") {
			t.Errorf("got %s", got)
		}
		if took := time.Since(begun); took < 10*time.Second || took > 5*time.Minute {
			t.Errorf("12 visits took %v", took)
		}
	})
}

func TestAStreamThatCannotBeResumedFailsTheCall(t *testing.T) {
	for name, c := range map[string]struct {
		fault  Fault
		visits int
		took   time.Duration // at least
	}{
		"no such event":         {Fault{Status: 400}, 1, 0},
		"no GET":                {Fault{Status: 405}, 1, 0},
		"not a stream":          {Fault{Status: 200, Type: "text/plain", Body: "hm"}, 1, 0},
		"failing again & again": {Fault{Status: 502}, resumeTries, 5 * time.Second},
		"breaking off":          {Fault{Drop: true}, resumeTries, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, InProcess: true}))
				c.fault.Method = http.MethodGet
				d.s.Fault(c.fault)
				begun := time.Now()
				_, err := d.Do(t.Context(), tool(t, d.Conn, "poll", `{"retry":1000}`), nil)
				if jackfield.CodeOf(err) != jackfield.Unavailable || NotSent(err) || !strings.Contains(fmt.Sprint(err), "whether it was carried out is unknown") {
					t.Errorf("got %v, not sent: %v", err, NotSent(err))
				}
				// net/http repeats a GET by itself when a socket that was used before is closed.
				if visits := d.s.Count(http.MethodGet); visits < c.visits || visits > 2*c.visits || d.s.Count("tools/call") != 1 {
					t.Errorf("%d visits, %d calls", d.s.Count(http.MethodGet), d.s.Count("tools/call"))
				}
				if took := time.Since(begun); took < c.took {
					t.Errorf("gave up after %v", took)
				}
				if d.Err() != nil {
					t.Errorf("the connection is dead: %v", d.Err())
				}
			})
		})
	}
}

func TestASessionThatIsForgottenWhileAStreamIsResumedWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, InProcess: true}))
		d.s.Fault(Fault{Method: http.MethodGet, Status: 404})
		_, err := d.Do(t.Context(), tool(t, d.Conn, "poll", `{"retry":1000}`), nil)
		if jackfield.CodeOf(err) != jackfield.Unavailable || NotSent(err) || d.Err() == nil {
			t.Errorf("got %v, not sent: %v, Err: %v", err, NotSent(err), d.Err())
		}
	})
}

func TestAModernStreamIsNeverResumed(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}), func(o *Options) {
		next := http.DefaultTransport
		o.Client = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			rep, err := next.RoundTrip(r)
			if err == nil && r.Header.Get("Mcp-Name") == "echo" {
				_ = rep.Body.Close()
				rep.Body = http.NoBody
				rep.Body = readCloser{strings.NewReader("id: 7\nretry: 1\ndata:\n\n")}
			}
			return rep, err
		})}
	})
	_, err := d.Do(t.Context(), tool(t, d.Conn, "echo", `{}`), nil)
	if jackfield.CodeOf(err) != jackfield.Unavailable || NotSent(err) || d.s.Count(http.MethodGet) != 0 || d.s.Count("tool:echo") != 1 {
		t.Errorf("got %v; %d × GET", err, d.s.Count(http.MethodGet))
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }
