package main

import (
	"context"
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

func (r *reach) flags(cmd *cobra.Command) { r.flagsBut(cmd, "url") }

// flagsBut are the flags of a command on which --url is something else.
func (r *reach) flagsBut(cmd *cobra.Command, url string) {
	f := cmd.Flags()
	f.StringVar(&r.url, url, "", "where the gateway is, such as http://127.0.0.1:8420 (JACKFIELD_URL)")
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
	err := c.get(ctx, place("servers", name), &status)
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
