package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// cell is one kind of call.
type cell struct {
	modern  bool
	payload string // 64B, 64KiB or 64KiB-objects
	callers int
}

func (c cell) String() string {
	era := "legacy"
	if c.modern {
		era = "modern"
	}
	return fmt.Sprintf("%s/%s/%d", era, c.payload, c.callers)
}

// arguments is the payload as the arguments of the tool echo.
func (c cell) arguments() string {
	switch c.payload {
	case "64KiB":
		return `{"text":"` + strings.Repeat("abcdefgh", 8<<10) + `"}`
	case "64KiB-objects":
		return `{"rows":[` + strings.TrimSuffix(strings.Repeat(`{"id":12345,"name":"a name","ok":true,"x":0.25},`, 1400), ",") + `]}`
	}
	return `{"text":"` + strings.Repeat("abcdefgh", 7) + `"}`
}

// request is the whole HTTP request of a call, ready to be written again and again.
func (c cell) request(host, path, tool, session string) []byte {
	meta, headers := "", ""
	if c.modern {
		meta = `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
		headers = "Mcp-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: " + tool + "\r\n"
	} else {
		headers = "Mcp-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: " + session + "\r\n"
	}
	body := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"` + tool + `","arguments":` + c.arguments() + meta + `}}`
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n%sContent-Length: %d\r\n\r\n%s",
		path, host, headers, len(body), body)
}

// target is what calls go to.
type target struct {
	name string
	host string
	path func(cell) string
	tool string
}

// initialize opens a legacy session and returns its id.
func (t target) initialize(c cell) (string, error) {
	if c.modern {
		return "", nil
	}
	var session string
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
	} {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+t.host+t.path(c), strings.NewReader(body))
		if err != nil {
			return "", err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		if session != "" {
			req.Header.Set(sessionHeader, session)
			req.Header.Set(versionHeader, "2025-11-25")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", err
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode/100 != 2 {
			return "", fmt.Errorf("%s: initialize: status %d: %s %w", t.name, resp.StatusCode, text, err)
		}
		if id := resp.Header.Get(sessionHeader); id != "" {
			session = id
		}
	}
	return session, nil
}

// load calls t for the given time from c.callers callers, each with a session and a
// socket of its own, and returns how long each call took.
func load(t target, c cell, length time.Duration) ([]time.Duration, error) {
	took := make([][]time.Duration, c.callers)
	failed := make([]error, c.callers)
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for i := range c.callers {
		ready.Add(1)
		done.Go(func() {
			call, err := t.caller(c)
			if err == nil {
				_, err = call() // the first one dials
			}
			ready.Done()
			<-begin
			for end := time.Now().Add(length); err == nil && time.Now().Before(end); {
				var d time.Duration
				d, err = call()
				took[i] = append(took[i], d)
			}
			failed[i] = err
		})
	}
	ready.Wait()
	close(begin)
	done.Wait()
	for _, err := range failed {
		if err != nil {
			return nil, err
		}
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	return all, nil
}

// caller opens a socket and a session and returns a func that makes one call.
func (t target) caller(c cell) (func() (time.Duration, error), error) {
	session, err := t.initialize(c)
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", t.host)
	if err != nil {
		return nil, err
	}
	request := c.request(t.host, t.path(c), t.tool, session)
	want := []byte(c.arguments())
	reader := bufio.NewReaderSize(conn, 64<<10)
	var answer bytes.Buffer
	return func() (time.Duration, error) {
		start := time.Now()
		if _, err := conn.Write(request); err != nil {
			return 0, err
		}
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			return 0, err
		}
		answer.Reset()
		_, err = answer.ReadFrom(resp.Body)
		took := time.Since(start)
		_ = resp.Body.Close()
		if err == nil && (resp.StatusCode != http.StatusOK || !bytes.Contains(answer.Bytes(), want)) {
			err = fmt.Errorf("%s: status %d: %.300s", t.name, resp.StatusCode, answer.Bytes())
		}
		return took, err
	}, nil
}
