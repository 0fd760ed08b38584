package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
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
	name    string
	host    string
	path    string
	tool    string
	process *process // nil: nobody measures it
	callers []func() (time.Duration, error)
}

// open gives each caller of c a socket and a session of its own, and makes the
// first call, for which a gateway has to dial.
func (t *target) open(c cell) error {
	for range c.callers {
		call, err := t.caller(c)
		if err == nil {
			_, err = call()
		}
		if err != nil {
			return err
		}
		t.callers = append(t.callers, call)
	}
	return nil
}

// initialize opens a legacy session and returns its id.
func (t *target) initialize(c cell) (string, error) {
	if c.modern {
		return "", nil
	}
	var session string
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
	} {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+t.host+t.path, strings.NewReader(body))
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

// load has all callers call for the given time and returns how long each call took.
func (t *target) load(length time.Duration) ([]time.Duration, error) {
	took := make([][]time.Duration, len(t.callers))
	failed := make([]error, len(t.callers))
	var done sync.WaitGroup
	for i, call := range t.callers {
		done.Go(func() {
			for end := time.Now().Add(length); failed[i] == nil && time.Now().Before(end); {
				var d time.Duration
				d, failed[i] = call()
				took[i] = append(took[i], d)
			}
		})
	}
	done.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	return all, errors.Join(failed...)
}

// caller opens a socket and a session and returns a func that makes one call.
func (t *target) caller(c cell) (func() (time.Duration, error), error) {
	session, err := t.initialize(c)
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", t.host)
	if err != nil {
		return nil, err
	}
	request := c.request(t.host, t.path, t.tool, session)
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
