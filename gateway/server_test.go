package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// These tests go over real connections, for what only those do.

func listenOn(t *testing.T, o Options) string {
	t.Helper()
	server := httptest.NewServer(open(t, o))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// raw writes text to a new connection and reads the answer.
func raw(t *testing.T, addr, text string) (net.Conn, *http.Response) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err = io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return conn, resp
}

const rawHead = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: x\r\n"

func TestABodyThatNeverComesIsNotWaitedForForever(t *testing.T) {
	addr := listenOn(t, Options{Broker: &script{}, Timing: Timing{Body: 20 * time.Millisecond}})
	if _, resp := raw(t, addr, rawHead+"Content-Length: 100\r\n\r\n{"); resp.StatusCode != http.StatusBadRequest {
		t.Error(resp.Status)
	}
}

func TestABodyAnnouncedTooLargeIsRefusedUnread(t *testing.T) {
	addr := listenOn(t, Options{Broker: &script{}})
	if _, resp := raw(t, addr, rawHead+"Content-Length: 99999999\r\n\r\n"); resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
		t.Error(resp.Status, resp.Close)
	}
}

// TestDeadlinesEndWithWhatTheyAreFor holds a request open for longer than its body
// and one write may take, and sends another one behind it.
func TestDeadlinesEndWithWhatTheyAreFor(t *testing.T) {
	proceed := make(chan struct{})
	addr := listenOn(t, Options{
		Timing: Timing{Body: 200 * time.Millisecond, Write: 200 * time.Millisecond},
		Broker: &script{do: func(ctx context.Context, _ broker.Caller, _ *exchange.Request, _ exchange.Peer) (exchange.Result, error) {
			select {
			case <-proceed:
				return modernRes(`{}`), nil
			case <-ctx.Done():
				return exchange.Result{}, ctx.Err()
			}
		}},
	})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	body, _ := modernCall("1", "tools/call", `"name":"x"`, "")
	for range 2 {
		if _, err = fmt.Fprintf(conn, "%sContent-Length: %d\r\n\r\n%s", rawHead, len(body), body); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err = conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("something came too early: %v", err)
		}
		_ = conn.SetReadDeadline(time.Time{})
		proceed <- struct{}{}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || string(text) != `{"jsonrpc":"2.0","id":1,"result":{}}` {
			t.Errorf("%s %s", resp.Status, text)
		}
	}
}

func TestAConnectionThatBreaksCancelsAModernRequestOnly(t *testing.T) {
	cancelled, release := make(chan struct{}), make(chan struct{})
	b := &script{do: func(ctx context.Context, c broker.Caller, _ *exchange.Request, p exchange.Peer) (exchange.Result, error) {
		_ = p.Notify(ctx, "notifications/begun", nil)
		if c.Session == "" {
			<-ctx.Done()
			close(cancelled)
			return exchange.Result{}, ctx.Err()
		}
		<-release
		return result(`{}`), context.Cause(ctx)
	}}
	h := open(t, Options{Broker: b})
	server := httptest.NewServer(h)
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	body, _ := modernCall("1", "tools/call", `"name":"x"`, "")
	conn, _ := raw(t, addr, rawHead+fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))+body)
	_ = conn.Close()
	<-cancelled

	hs := initialize(t, h, "/mcp", "2025-11-25", "{}")
	body = legacyCall("1", "tools/call", "{}")
	conn, _ = raw(t, addr, "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+hs[0]+
		fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n", len(body))+body)
	_ = conn.Close()
	c := dial(h, http.MethodGet, "/mcp", "", append(hs, "Last-Event-ID: p1-1"))
	close(release)
	if got := c.message(t); got != `{"jsonrpc":"2.0","id":1,"result":{}}` {
		t.Error(got)
	}
	c.wantEnd(t)
}

// TestStreamsOnFreshConnectionsAreNeverCutShort is about a trap: an answer that
// begins before the body was read can lose its end.
func TestStreamsOnFreshConnectionsAreNeverCutShort(t *testing.T) {
	addr := listenOn(t, Options{Broker: &script{do: func(ctx context.Context, _ broker.Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
		for range 20 {
			_ = p.Notify(ctx, "notifications/progress", wire.Raw(`{"progress":1}`))
		}
		return modernRes(string(r.Params.Raw())), nil
	}}})
	body, hs := modernCall("1", "tools/call", `"name":"x","arguments":"`+strings.Repeat("x", 8_000)+`"`, `"progressToken":1`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for range 15 {
				r := request(t.Context(), http.MethodPost, "/mcp", "", hs)
				r.RequestURI, r.URL.Host, r.Host = "", addr, ""
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
				resp, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				all, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if n := strings.Count(string(all), "data: "); err != nil || n != 21 || !strings.HasSuffix(string(all), "}\n\n") {
					t.Errorf("%d events, %v", n, err)
				}
			}
		})
	}
	wg.Wait()
}
