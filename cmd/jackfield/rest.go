package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/api"
)

// request is something that is asked of the API.
type request struct {
	method string
	path   string // behind the gateway's address, escaped
	query  url.Values
	body   any    // sent as JSON; nil: nothing is
	match  string // If-Match; empty: it is not sent
	accept string // empty: JSON
	after  string // Last-Event-ID

	patience time.Duration // until the answer is here; 0: as usual. For do alone
}

// place is a path of the API: its words and names with slashes between them.
func place(parts ...string) string {
	var b strings.Builder
	b.WriteString("/api/v1")
	for _, p := range parts {
		b.WriteString("/" + url.PathEscape(p))
	}
	return b.String()
}

// always is the If-Match of who wants something whatever its revision is.
const always = "*"

// answer is what the API said to a request that it did.
type answer struct {
	revision string // for If-Match
	body     []byte // JSON; empty when there is none
}

// refusal is why the API did not do what was asked for. It stands in the chain of
// an Error.
type refusal struct {
	status int
}

func (r *refusal) Error() string { return fmt.Sprintf("the gateway answered %d", r.status) }

// there is err, but for something new that is there already: then it says how that is
// changed.
func there(err error, what, change string) error {
	if !refusedWith(err, http.StatusConflict) {
		return err
	}
	return &jackfield.Error{Code: jackfield.Conflict, Message: what + " is there already; " + change + " changes it", Err: err}
}

// refusedWith reports whether err is a refusal with this status.
func refusedWith(err error, status int) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.status == status
}

// do asks the API and decodes the answer; into may be nil.
func (c *client) do(ctx context.Context, q request, into any) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(q.patience, answerIn))
	defer cancel()
	resp, err := c.open(ctx, q)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }() // whatever it says, the answer is here or it is not
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, c.unreachable(err)
	}
	a := answer{revision: resp.Header.Get("ETag"), body: body}
	if into != nil && json.Unmarshal(body, into) != nil {
		return answer{}, c.stranger()
	}
	return a, nil
}

// open asks the API. The caller closes the body of the answer, which is a good one.
func (c *client) open(ctx context.Context, q request) (*http.Response, error) {
	var body io.Reader = http.NoBody
	if q.body != nil {
		raw, err := json.Marshal(q.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	address := c.base + q.path
	if len(q.query) > 0 {
		address += "?" + q.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, q.method, address, body)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{"If-Match": q.match, "Accept": q.accept, "Last-Event-ID": q.after} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	if q.body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode >= http.StatusOK && resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(err)
	}
	return nil, c.refused(resp, said)
}

const maxPages = 1000 // of a list that is read whole

// pages reads every page of a list and hands each to take, which says where the next
// one begins.
func pages[P any](ctx context.Context, c *client, path string, query url.Values, take func(P) api.Page) error {
	asked := query
	for range maxPages {
		var page P
		if _, err := c.do(ctx, request{method: http.MethodGet, path: path, query: asked}, &page); err != nil {
			return err
		}
		next := take(page).NextCursor
		if next == "" {
			return nil
		}
		asked = url.Values{"cursor": {next}, "limit": {"1000"}}
		maps.Copy(asked, query)
	}
	return jackfield.Errorf(jackfield.Unavailable, "the list at %s%s has no end", c.base, path)
}

// servers are the statuses of all servers that the caller sees.
func (c *client) servers(ctx context.Context) (api.ServerList, error) {
	all := api.ServerList{Servers: []api.ServerStatus{}}
	err := pages(ctx, c, place("servers"), nil, func(p api.ServerList) api.Page {
		all.Servers = append(all.Servers, p.Servers...)
		return p.Page
	})
	return all, err
}

// listings are what the servers list of one kind.
func (c *client) listings(ctx context.Context, kind string) ([]api.ListedKind, error) {
	var all []api.ListedKind
	err := pages(ctx, c, place("listings"), url.Values{"kind": {kind}}, func(p api.ListingList) api.Page {
		all = append(all, p.Listings...)
		return p.Page
	})
	return all, err
}

// get asks the API and decodes the answer.
func (c *client) get(ctx context.Context, path string, into any) error {
	_, err := c.do(ctx, request{method: http.MethodGet, path: path}, into)
	return err
}

// refused is an answer that is not the one hoped for.
func (c *client) refused(resp *http.Response, body []byte) error {
	var p api.Problem
	isProblem := strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") && json.Unmarshal(body, &p) == nil
	switch {
	case resp.StatusCode == http.StatusUnauthorized && c.token == "":
		return jackfield.Errorf(jackfield.AuthRequired, "the gateway at %s wants a token; set JACKFIELD_TOKEN or use --token-file", c.base)
	case resp.StatusCode == http.StatusUnauthorized && isProblem:
		return jackfield.Errorf(jackfield.AuthRequired, "the gateway at %s does not take this token: %s; check JACKFIELD_TOKEN or --token-file", c.base, printable(p.Detail))
	case resp.StatusCode == http.StatusUnauthorized:
		return jackfield.Errorf(jackfield.AuthRequired, "the gateway at %s does not take this token; check JACKFIELD_TOKEN or --token-file", c.base)
	case !isProblem && resp.StatusCode == http.StatusForbidden:
		return jackfield.Errorf(jackfield.Forbidden, "%s", printable(strings.TrimSpace(clip(string(body), 300))))
	case !isProblem:
		return c.stranger()
	}
	r := &refusal{status: resp.StatusCode}
	message := told(p)
	switch resp.StatusCode {
	case http.StatusForbidden:
		message += "; jackfield whoami says who you are and what you may"
	case http.StatusPreconditionRequired:
		message += "; this command line is older than the gateway at " + c.base
	}
	for _, code := range jackfield.Codes() {
		if code.String() == p.Code {
			return &jackfield.Error{Code: code, Message: message, Err: r}
		}
	}
	return &jackfield.Error{Code: jackfield.Internal, Message: message, Err: r}
}

// told is a problem in words: in one line, but for a definition and for requests with
// several faults, which get a line each.
func told(p api.Problem) string {
	if len(p.Errors) == 0 || len(p.Errors) == 1 && !strings.HasPrefix(p.Errors[0].Location, "body.definition.") {
		return printable(strings.TrimPrefix(p.Detail, "body."))
	}
	first, _, _ := strings.Cut(p.Errors[0].Message, "; ")
	head, _, _ := strings.Cut(p.Detail, first)
	if head = strings.TrimSuffix(strings.TrimSpace(head), ":"); head == "" || head == p.Errors[0].Location {
		head = "this cannot be taken"
	}
	lines := []string{printable(head) + ":"}
	for _, v := range p.Errors {
		where := strings.TrimPrefix(strings.TrimPrefix(v.Location, "body."), "definition.")
		lines = append(lines, "  "+printable(strings.TrimPrefix(where+": ", ": ")+v.Message))
	}
	return strings.Join(lines, "\n")
}

func (c *client) stranger() error {
	return jackfield.Errorf(jackfield.Unavailable, "what answers at %s (from %s) is not a Jackfield gateway", c.base, c.source)
}
