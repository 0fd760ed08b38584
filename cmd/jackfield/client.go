package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/upstream"
)

const (
	answerIn    = 10 * time.Second // the API has everything in memory
	maxAnswer   = 16 << 20         // bytes of an answer of the API
	maxToken    = 4096             // bytes of a token file
	closeWithin = 2 * time.Second
)

// reach says where the gateway is and how to be let in.
type reach struct{ url, data, tokenFile string }

func (r *reach) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.url, "url", "", "where the gateway is, such as http://127.0.0.1:8420 (JACKFIELD_URL)")
	f.StringVar(&r.data, "data", "", "the gateway's data directory, whose address file says where it is (JACKFIELD_DATA)")
	f.StringVar(&r.tokenFile, "token-file", "", "file with the gateway's token (else JACKFIELD_TOKEN)")
}

// client is the way to one gateway.
type client struct {
	base   string // without a slash at the end
	source string // who said so
	token  jackfield.Secret
	http   *http.Client
}

// client finds the gateway.
func (s *shell) client(r reach) (*client, error) {
	address, source, err := s.find(r.url, r.data)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, usagef("%s: %.200q is not the address of a gateway; write it as http://127.0.0.1:8420", source, address)
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/mcp")
	c := &client{base: u.String(), source: source, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	c.token, err = s.token(r.tokenFile)
	return c, err
}

func (s *shell) token(file string) (jackfield.Secret, error) {
	if file == "" {
		token, _ := s.env("JACKFIELD_TOKEN")
		return jackfield.Secret(strings.TrimSpace(token)), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", usagef("--token-file: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	switch {
	case err != nil:
		return "", usagef("--token-file: %w", err)
	case len(text) > maxToken || strings.TrimSpace(string(text)) == "":
		return "", usagef("--token-file: %s holds no token", file)
	}
	return jackfield.Secret(strings.TrimSpace(string(text))), nil
}

// get asks the API and decodes the answer.
func (c *client) get(ctx context.Context, path string, into any) error {
	return c.send(ctx, http.MethodGet, path, into)
}

// send asks the API for something.
func (c *client) send(ctx context.Context, method, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, http.NoBody)
	if err != nil {
		return err
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return c.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }() // whatever it says, the answer is here or it is not
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.unreachable(err)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, into); err != nil {
			return c.stranger()
		}
		return nil
	}
	return c.refused(resp, body)
}

// refused is an answer that is not the one hoped for.
func (c *client) refused(resp *http.Response, body []byte) error {
	var p api.Problem
	switch {
	case resp.StatusCode == http.StatusUnauthorized && c.token == "":
		return jackfield.Errorf(jackfield.AuthRequired, "the gateway at %s wants a token; set JACKFIELD_TOKEN or use --token-file", c.base)
	case resp.StatusCode == http.StatusUnauthorized:
		return jackfield.Errorf(jackfield.AuthRequired, "the gateway at %s does not take this token; check JACKFIELD_TOKEN or --token-file", c.base)
	case !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") || json.Unmarshal(body, &p) != nil:
		if resp.StatusCode == http.StatusForbidden {
			return jackfield.Errorf(jackfield.Forbidden, "%s", printable(strings.TrimSpace(clip(string(body), 300))))
		}
		return c.stranger()
	}
	for _, code := range jackfield.Codes() {
		if code.String() == p.Code {
			return jackfield.Errorf(code, "%s", printable(p.Detail))
		}
	}
	return jackfield.Errorf(jackfield.Internal, "%s", printable(p.Detail))
}

func (c *client) stranger() error {
	return jackfield.Errorf(jackfield.Unavailable, "what answers at %s (from %s) is not a Jackfield gateway", c.base, c.source)
}

// unreachable explains why there was no answer.
func (c *client) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	why := err
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		why = wrapped.Err
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return jackfield.Errorf(jackfield.Unavailable,
			"no gateway answers at %s (from %s); start one with jackfield serve, or name another with --url", c.base, c.source)
	case errors.Is(err, context.DeadlineExceeded):
		return jackfield.Errorf(jackfield.Unavailable, "the gateway at %s (from %s) does not answer", c.base, c.source)
	}
	return jackfield.Errorf(jackfield.Unavailable, "the gateway at %s (from %s) cannot be reached: %w", c.base, c.source, why)
}

// server is the status of one server.
func (c *client) server(ctx context.Context, name string) (api.ServerStatus, error) {
	var status api.ServerStatus
	err := c.get(ctx, "/api/v1/servers/"+url.PathEscape(name), &status)
	return status, err
}

// mcp opens an MCP connection to one server. caps is the client capabilities
// object. A legacy one begins with initialize and has a session.
func (c *client) mcp(ctx context.Context, server, caps string, legacy bool, headers func(method, name string) []upstream.ParamHeader) (*upstream.Conn, error) {
	o := upstream.Options{
		Name:         server,
		Endpoint:     jackfield.Endpoint{Transport: jackfield.TransportHTTP, URL: c.base + "/mcp/" + url.PathEscape(server)},
		Client:       c.http,
		Caps:         caps,
		Shape:        &exchange.Shape{Transport: string(jackfield.TransportHTTP), Version: exchange.Modern},
		ParamHeaders: headers,
		InitTimeout:  answerIn,
	}
	if legacy {
		o.Shape = &exchange.Shape{Transport: string(jackfield.TransportHTTP), Version: exchange.LatestLegacy, Session: true}
	}
	if c.token != "" {
		o.Endpoint.Headers = map[string]jackfield.Secret{"Authorization": "Bearer " + c.token}
	}
	conn, err := upstream.Dial(ctx, o)
	var dial *upstream.DialError
	if errors.As(err, &dial) && (dial.Stage == upstream.StageConnect || dial.Stage == upstream.StageDNS) {
		return nil, c.unreachable(dial.Err)
	}
	return conn, err
}

// hangUp ends an MCP connection.
func hangUp(ctx context.Context, conn *upstream.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer cancel()
	_ = conn.Close(ctx) // what was asked for is here already
}

// usable is an error when a server's definition cannot be used.
func usable(s api.ServerStatus) error {
	if s.State == api.StateInvalid {
		return &exitError{exitConfig, fmt.Errorf("server %q cannot be used: %s", s.Name, printable(s.Reason))}
	}
	return nil
}
