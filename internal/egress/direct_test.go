package egress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a server that does on each socket what it is told, byte by byte.
type peer struct {
	addr    string
	sockets atomic.Int32
}

// wire is one socket of a peer.
type wire struct {
	net.Conn
	r *bufio.Reader
	n int32 // which socket of the peer, from 1
}

// read takes one request, and returns its body.
func (w *wire) read() string {
	req, err := http.ReadRequest(w.r)
	if err != nil {
		return ""
	}
	body, _ := io.ReadAll(req.Body)
	return string(body)
}

func (w *wire) say(text string) { _, _ = io.WriteString(w.Conn, text) }

func (w *wire) answer(body string) {
	w.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
}

// listen starts a peer that does f on each socket, and then closes it.
func listen(t *testing.T, f func(*wire)) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{addr: l.Addr().String()}
	var mu sync.Mutex
	var open []net.Conn
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			n := p.sockets.Add(1)
			running.Go(func() {
				defer func() { _ = c.Close() }()
				f(&wire{Conn: c, r: bufio.NewReader(c), n: n})
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return p
}

func echo(w *wire) {
	for {
		body := w.read()
		if body == "" {
			return
		}
		w.answer(body)
	}
}

func newDirect(t *testing.T) *direct {
	t.Helper()
	d := &direct{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext, MaxResponseHeaderBytes: maxHeaderBytes}}
	t.Cleanup(d.CloseIdleConnections)
	return d
}

func (p *peer) request(ctx context.Context, t *testing.T, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.addr+"/mcp", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// ask sends a request and reads all of its answer.
func ask(d http.RoundTripper, req *http.Request) (string, error) {
	resp, err := d.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

func TestASocketServesOneRequestAfterTheOther(t *testing.T) {
	p, d := listen(t, echo), newDirect(t)
	for i := range 20 {
		body := fmt.Sprint("body ", i)
		if got, err := ask(d, p.request(t.Context(), t, body)); got != body || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if n := p.sockets.Load(); n != 1 {
		t.Errorf("%d sockets for 20 requests", n)
	}
}

func TestManyAtOnceGetEachTheirOwnAnswer(t *testing.T) {
	p, d := listen(t, echo), newDirect(t)
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for j := range 50 {
				body := fmt.Sprint(i, "-", j)
				ctx, cancel := context.WithCancel(t.Context())
				if j%5 == 4 { // leaves at any moment
					go cancel()
				}
				got, err := ask(d, p.request(ctx, t, body))
				if err == nil && got != body || err != nil && ctx.Err() == nil {
					t.Errorf("%s: got %q, %v", body, got, err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.idle) > 32 {
		t.Errorf("%d idle sockets of 32 callers", len(d.idle))
	}
}

func TestASocketIsNotUsedAgainWhenItsStateIsNotKnown(t *testing.T) {
	for name, say := range map[string]string{
		"Connection: close":      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0":               "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"more than was promised": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay",
		"a second answer":        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
		"a body after 204":       "HTTP/1.1 204 No Content\r\n\r\nok",
	} {
		t.Run(name, func(t *testing.T) {
			p := listen(t, func(w *wire) {
				w.read()
				w.say(say)
				w.read() // until the client closes
			})
			d := newDirect(t)
			for range 3 {
				if got, err := ask(d, p.request(t.Context(), t, "x")); err != nil || got != "ok" && got != "" {
					t.Fatalf("got %q, %v", got, err)
				}
			}
			if n := p.sockets.Load(); n != 3 {
				t.Errorf("%d sockets for 3 requests", n)
			}
		})
	}
}

func TestABodyThatWasNotReadToItsEndEndsItsSocket(t *testing.T) {
	p := listen(t, func(w *wire) {
		w.read()
		w.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
		w.read()
	})
	d := newDirect(t)
	for range 2 {
		resp, err := d.RoundTrip(p.request(t.Context(), t, "x"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("read %d after Close, %v", n, err)
		}
	}
	if p.sockets.Load() != 2 || len(d.idle) != 0 {
		t.Errorf("%d sockets, %d idle", p.sockets.Load(), len(d.idle))
	}
}

func TestABodyOfEveryLengthIsReadWhole(t *testing.T) {
	for name, c := range map[string]struct{ say, want string }{
		"length":              {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"},
		"chunks and trailer":  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n", "hello"},
		"until it closes":     {"HTTP/1.1 200 OK\r\n\r\nhello", "hello"},
		"until it closes/1.0": {"HTTP/1.0 200 OK\r\n\r\nhello", "hello"},
		"nothing":             {"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", ""},
		"no content":          {"HTTP/1.1 204 No Content\r\n\r\n", ""},
		"after 100 and 103":   {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			p := listen(t, func(w *wire) {
				w.read()
				w.say(c.say)
			})
			if got, err := ask(newDirect(t), p.request(t.Context(), t, "x")); got != c.want || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestAnAnswerThatIsNoneIsAnError(t *testing.T) {
	for name, c := range map[string]struct{ say, want string }{
		"nothing":            {"", "EOF"},
		"garbage":            {"hello\r\n\r\n", "malformed HTTP"},
		"half a head":        {"HTTP/1.1 200 OK\r\nContent-", "malformed"},
		"half a body":        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "unexpected EOF"},
		"two lengths":        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nokay", "Content-Length"},
		"endless headers":    {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 100), "headers of the answer are longer"},
		"an endless header":  {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 100_000), "headers of the answer are longer"},
		"1xx without end":    {strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 10), "1xx"},
		"another protocol":   {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "protocol that nobody asked for"},
		"many 1xx, too long": {strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("y", 30_000)+"\r\n\r\n", 4), "headers of the answer are longer"},
	} {
		t.Run(name, func(t *testing.T) {
			p := listen(t, func(w *wire) {
				w.read()
				w.say(c.say)
			})
			got, err := ask(newDirect(t), p.request(t.Context(), t, "x"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestTheLimitOnHeadersIsNoneOnBodies(t *testing.T) {
	long := strings.Repeat("y", 4*maxHeaderBytes)
	p := listen(t, func(w *wire) {
		w.read()
		w.answer(long)
	})
	if got, err := ask(newDirect(t), p.request(t.Context(), t, "x")); got != long || err != nil {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestAnAnswerBeforeTheRequestWasReadCounts(t *testing.T) {
	p := listen(t, func(w *wire) {
		w.say("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
		_, _ = io.Copy(io.Discard, w.r)
	})
	for range 20 {
		resp, err := newDirect(t).RoundTrip(p.request(t.Context(), t, strings.Repeat("x", smallBody)))
		if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Fatalf("got %v, %v", resp, err)
		}
		_ = resp.Body.Close()
	}
}

// halting is a connection whose Write takes some bytes and fails.
type halting struct {
	net.Conn
	takes  int
	answer io.Reader
}

func (h *halting) Write([]byte) (int, error)  { return h.takes, errors.New("broken pipe") }
func (h *halting) Read(b []byte) (int, error) { return h.answer.Read(b) }
func (h *halting) Close() error               { return nil }

func TestAnAnswerCountsAlsoWhenTheRestOfTheRequestCouldNotBeSent(t *testing.T) {
	for _, c := range []struct {
		takes        int
		answer, want string
	}{
		{100, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig", "big"},
		{100, "", "broken pipe"},
		{0, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbig", "broken pipe"},
	} {
		d := newDirect(t)
		d.DialContext = func(context.Context, string, string) (net.Conn, error) {
			return &halting{takes: c.takes, answer: strings.NewReader(c.answer)}, nil
		}
		got, err := ask(d, (&peer{addr: "a.test"}).request(t.Context(), t, "x"))
		if !strings.Contains(got+fmt.Sprint(err), c.want) || len(d.idle) != 0 {
			t.Errorf("got %q, %v; %d idle", got, err, len(d.idle))
		}
	}
}

func TestARequestThatMayHaveBeenSentIsSentAgainOnlyIfItMayBe(t *testing.T) {
	for _, again := range []bool{false, true} {
		var seen atomic.Int32
		p := listen(t, func(w *wire) {
			w.read()
			w.answer("ok")
			if w.n > 1 {
				return
			}
			if w.read() != "" { // takes it, and leaves without a word
				seen.Add(1)
			}
		})
		d := newDirect(t)
		if _, err := ask(d, p.request(t.Context(), t, "first")); err != nil {
			t.Fatal(err)
		}
		req := p.request(t.Context(), t, "second")
		if again {
			req.Header["Idempotency-Key"] = nil
		}
		got, err := ask(d, req)
		if again != (got == "ok") || again != (err == nil) {
			t.Errorf("repeatable %v: got %q, %v", again, got, err)
		}
		if want := map[bool]int32{false: 1, true: 2}[again]; seen.Load() != 1 || p.sockets.Load() != want {
			t.Errorf("repeatable %v: %d sockets, seen %d times on the first", again, p.sockets.Load(), seen.Load())
		}
	}
}

func TestARequestIsNotSentAgainOnceAnAnswerHasBegun(t *testing.T) {
	p := listen(t, func(w *wire) {
		w.read()
		w.answer("ok")
		w.read()
		w.say("HTTP/1.1 2")
	})
	d := newDirect(t)
	if _, err := ask(d, p.request(t.Context(), t, "first")); err != nil {
		t.Fatal(err)
	}
	req := p.request(t.Context(), t, "second")
	req.Header["Idempotency-Key"] = nil
	if got, err := ask(d, req); err == nil || p.sockets.Load() != 1 {
		t.Errorf("got %q, %v on %d sockets", got, err, p.sockets.Load())
	}
}

func TestAFreshSocketThatClosesIsAnErrorAndNoLoop(t *testing.T) {
	p := listen(t, func(w *wire) { w.read() })
	req := p.request(t.Context(), t, "x")
	req.Header["Idempotency-Key"] = nil
	if got, err := ask(newDirect(t), req); err == nil || p.sockets.Load() != 1 {
		t.Errorf("got %q, %v on %d sockets", got, err, p.sockets.Load())
	}
}

func TestAnIdleSocketThatTheServerClosedOrSpokeOnIsNotUsed(t *testing.T) {
	for name, last := range map[string]string{"closed": "", "spoke": "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"} {
		t.Run(name, func(t *testing.T) {
			said := make(chan bool, 1)
			p := listen(t, func(w *wire) {
				body := w.read()
				w.answer(body)
				if w.n == 1 {
					w.say(last)
					if last == "" {
						_ = w.Close()
					}
					said <- true
				}
				w.read()
			})
			d := newDirect(t)
			if _, err := ask(d, p.request(t.Context(), t, "first")); err != nil {
				t.Fatal(err)
			}
			<-said
			await(t, func() bool { // the news may still be under way
				d.mu.Lock()
				defer d.mu.Unlock()
				return len(d.idle) == 0 || !d.idle[0].quiet()
			})
			if got, err := ask(d, p.request(t.Context(), t, "second")); got != "second" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			if p.sockets.Load() != 2 {
				t.Errorf("%d sockets", p.sockets.Load())
			}
		})
	}
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

func TestACallerWhoLeavesEndsTheSocketWhereverItIs(t *testing.T) {
	for name, say := range map[string]string{
		"before the answer": "",
		"in the head":       "HTTP/1.1 200 OK\r\nX-",
		"in the body":       "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
	} {
		t.Run(name, func(t *testing.T) {
			why := errors.New("gone")
			ctx, cancel := context.WithCancelCause(t.Context())
			closed := make(chan bool)
			p := listen(t, func(w *wire) {
				w.read()
				w.say(say)
				if name != "in the body" {
					cancel(why)
				}
				w.read() // until the client closes
				close(closed)
			})
			d := newDirect(t)
			resp, err := d.RoundTrip(p.request(ctx, t, "x"))
			if err == nil {
				_, _ = io.ReadFull(resp.Body, make([]byte, 4))
				cancel(why)
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			if !errors.Is(err, why) {
				t.Errorf("got %v", err)
			}
			<-closed
			if len(d.idle) != 0 {
				t.Error("the socket is idle")
			}
		})
	}
}

func TestACallerWhoLeavesWhileDialingTakesTheDialAlong(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := newDirect(t)
	d.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	var closed atomic.Bool
	req := (&peer{addr: "a.test"}).request(ctx, t, "x")
	req.Body = closing{req.Body, &closed}
	if _, err := ask(d, req); !errors.Is(err, context.Canceled) || !closed.Load() {
		t.Errorf("got %v, body closed: %v", err, closed.Load())
	}
}

type closing struct {
	io.Reader
	closed *atomic.Bool
}

func (c closing) Close() error { c.closed.Store(true); return nil }

func TestIdleSocketsAreBoundedAndToOneHostEach(t *testing.T) {
	d := newDirect(t)
	a, b := listen(t, echo), listen(t, echo)
	hold := func(p *peer, n int) {
		var bodies []io.Closer
		var rest []io.Reader
		for range n {
			resp, err := d.RoundTrip(p.request(t.Context(), t, "x"))
			if err != nil {
				t.Fatal(err)
			}
			bodies, rest = append(bodies, resp.Body), append(rest, resp.Body)
		}
		for i := range bodies {
			_, _ = io.Copy(io.Discard, rest[i])
			_ = bodies[i].Close()
		}
	}
	hold(a, maxIdlePerHost)
	hold(b, 10)
	if n := len(d.idle); n != maxIdlePerHost {
		t.Errorf("%d idle", n)
	}
	hold(a, maxIdlePerHost-10)
	if a.sockets.Load() != maxIdlePerHost || b.sockets.Load() != 10 {
		t.Errorf("%d and %d sockets", a.sockets.Load(), b.sockets.Load())
	}
	d.CloseIdleConnections()
	if len(d.idle) != 0 {
		t.Error("sockets are left")
	}
}

func TestAnIdleSocketIsClosedWhenItsTimeIsUp(t *testing.T) {
	d := newDirect(t)
	p := listen(t, echo)
	for range 2 {
		if _, err := ask(d, p.request(t.Context(), t, "x")); err != nil {
			t.Fatal(err)
		}
	}
	d.expire() // early: nothing is due
	if len(d.idle) != 1 || !d.sweeping {
		t.Errorf("%d idle, sweeping %v", len(d.idle), d.sweeping)
	}
	d.idle[0].since = time.Now().Add(-keepIdle)
	d.expire()
	if len(d.idle) != 0 || d.sweeping {
		t.Errorf("%d idle, sweeping %v", len(d.idle), d.sweeping)
	}
}

func TestOnlySmallPlainPostsGoTheirOwnWay(t *testing.T) {
	p := &peer{addr: "a.test"}
	if !simple(p.request(t.Context(), t, "x")) {
		t.Error("the simplest of all does not")
	}
	for name, change := range map[string]func(*http.Request){
		"https":              func(r *http.Request) { r.URL.Scheme = "https" },
		"GET":                func(r *http.Request) { r.Method = http.MethodGet },
		"no body":            func(r *http.Request) { r.ContentLength = 0 },
		"a large body":       func(r *http.Request) { r.ContentLength = smallBody + 1 },
		"an unknown length":  func(r *http.Request) { r.ContentLength = -1 },
		"a body read once":   func(r *http.Request) { r.GetBody = nil },
		"large headers":      func(r *http.Request) { r.Header.Set("X", strings.Repeat("y", smallBody)) },
		"Close":              func(r *http.Request) { r.Close = true },
		"Expect":             func(r *http.Request) { r.Header.Set("Expect", "100-continue") },
		"Connection":         func(r *http.Request) { r.Header.Set("Connection", "close") },
		"Upgrade":            func(r *http.Request) { r.Header.Set("Upgrade", "h2c") },
		"chunked":            func(r *http.Request) { r.TransferEncoding = []string{"chunked"} },
		"trailers":           func(r *http.Request) { r.Trailer = http.Header{"X": nil} },
		"a line break":       func(r *http.Request) { r.Header.Set("X", "a\r\nHost: b") },
		"a name with a line": func(r *http.Request) { r.Header["X: y\r\nZ"] = []string{"a"} },
		"no name":            func(r *http.Request) { r.Header[""] = []string{"a"} },
		"no host":            func(r *http.Request) { r.URL.Host = "" },
		"a host in Unicode":  func(r *http.Request) { r.URL.Host = "münchen.test" },
	} {
		req := p.request(t.Context(), t, "x")
		change(req)
		if simple(req) {
			t.Errorf("%s: it does", name)
		}
	}
}

func TestLargeBodiesArriveWhole(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}))
	defer server.Close()
	d := newDirect(t)
	for _, size := range []int{1, 4095, 4096, smallBody, smallBody + 1, 1 << 20} {
		body := bytes.Repeat([]byte("x"), size)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ask(d, req); err != nil || got != string(body) {
			t.Errorf("%d: got %d, %v", size, len(got), err)
		}
	}
}
