package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield/internal/api"
)

func TestTopOnceTellsWhatEachServerDid(t *testing.T) {
	r := newRig(t)
	s := r.serve()
	r.run("", "call", "notes", "add_note", "--arg", "title=Milk")
	for _, args := range [][]string{{"top", "--once"}, {"top"}} { // what is no terminal sees it once, too
		code, out, errs := r.run("", args...)
		lines := strings.Split(out, "\n")
		if code != exitOK || len(lines) < 5 || !strings.Contains(lines[0], "is ready") || !strings.HasPrefix(lines[2], "SERVER") || strings.Contains(out, "\x1b") {
			t.Fatalf("%q: code %d: %s%s", args, code, out, errs)
		}
		if !strings.Contains(out, "notes ") || !strings.Contains(out, " 0.0 ") {
			t.Errorf("%q: %s", args, out)
		}
	}
	code, out, errs := r.run("", "top", "--json")
	var a activity
	if err := json.Unmarshal([]byte(out), &a); err != nil || code != exitOK || a.Status != string(api.Ready) {
		t.Fatalf("code %d, %v: %s%s", code, err, out, errs)
	}
	for _, v := range a.Servers {
		if v.Name == "notes" && (v.Calls == 0 || v.Failed != 0 || v.State != "ready" || v.Open == 0) {
			t.Errorf("%+v", v)
		}
	}
	r.stop(s)
	if code, _, errs := r.run("", "top", "--once"); code != exitUnreachable || errs == "" {
		t.Errorf("without a gateway: code %d: %s", code, errs)
	}
}

func TestWhatHappenedBetweenTwoLooks(t *testing.T) {
	at := time.Now()
	server := func(name string, inFlight int64, total, failed uint64) api.ServerStatus {
		return api.ServerStatus{Name: name, State: api.StateReady, Calls: &api.Calls{InFlight: inFlight, Total: total, Failed: failed}}
	}
	a := between(
		look{at: at, servers: []api.ServerStatus{server("idle", 0, 7, 7), server("busy", 1, 10, 2), server("restarted", 0, 900, 5)}},
		look{at: at.Add(2 * time.Second), servers: []api.ServerStatus{
			server("idle", 0, 7, 7), server("new", 4, 50, 50), server("restarted", 0, 3, 0), server("busy", 3, 30, 6), {Name: "uncounted"},
		}},
	)
	var order []string
	for _, v := range a.Servers {
		order = append(order, v.Name)
	}
	if got := strings.Join(order, " "); got != "busy new idle restarted uncounted" {
		t.Error(got)
	}
	busy := a.Servers[0]
	if busy.CallsPerSecond != 10 || busy.FailuresPerSecond != 2 || busy.InFlight != 3 || busy.Calls != 30 {
		t.Errorf("%+v", busy)
	}
	if a.CallsPerSecond != 10 || a.FailuresPerSecond != 2 || a.InFlight != 7 {
		t.Errorf("%+v", a)
	}
}

// TestAKeyEndsTopAlsoWhileTheGatewayHangs: Ctrl-C is a key there and no signal.
func TestAKeyEndsTopAlsoWhileTheGatewayHangs(t *testing.T) {
	asked := make(chan struct{}, 1)
	gateway := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-r.Context().Done()
	}))
	defer gateway.Close()
	r := newRig(t)
	r.env["JACKFIELD_URL"], r.width = gateway.URL, 80
	keys, press := io.Pipe()
	defer func() { _ = press.Close() }()
	var out, errs screen
	code := make(chan int, 1)
	begun := time.Now()
	go func() { code <- r.program().Run(t.Context(), []string{"top"}, keys, &out, &errs) }()
	<-asked
	_, _ = press.Write([]byte{ctrlC})
	if got := <-code; got != exitOK || time.Since(begun) > answerIn/2 {
		t.Errorf("code %d after %v: %s", got, time.Since(begun), errs.String())
	}
	if text := out.String(); !strings.HasSuffix(text, "\x1b[?25h\x1b[?1049l") {
		t.Errorf("the screen is left as %q", text)
	}
}
