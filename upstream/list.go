package upstream

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// List is what a server lists, all pages of it.
type List struct {
	Items []wire.Raw // exactly as the server wrote them, in its order
	// TTL is for how long the list may be taken for fresh, and Public whether it
	// may be shown to anybody (2026-07-28, caching): the least of all pages.
	TTL    time.Duration
	Public bool
	// Truncated is why items are missing at the end; empty: none are.
	Truncated string
}

// listed is where a list's items stand in its result.
var listed = map[string]string{
	"tools/list":               "tools",
	"prompts/list":             "prompts",
	"resources/list":           "resources",
	"resources/templates/list": "resourceTemplates",
}

// List fetches all pages of tools/list, prompts/list, resources/list or
// resources/templates/list, within Limits. A server that does not know the
// method lists nothing.
func (c *Conn) List(ctx context.Context, method string) (List, error) {
	member, ok := listed[method]
	if !ok {
		return List{}, jackfield.Errorf(jackfield.Invalid, "%s is not a list", method)
	}
	var (
		list   List
		bytes  int
		cursor wire.Raw
		seen   = map[string]bool{}
	)
	for page := 1; ; page++ {
		next, err := c.page(ctx, &list, method, member, cursor, page == 1)
		if err != nil {
			return List{}, c.opts.callError(method, err)
		}
		if next.missing {
			return List{}, nil
		}
		bytes += next.bytes
		limits := &c.opts.Limits
		switch {
		case len(list.Items) > limits.Items:
			list.Items = list.Items[:limits.Items]
			list.Truncated = fmt.Sprintf("more than %d items; the rest is left out", limits.Items)
			return list, nil
		case bytes > limits.ListBytes:
			list.Truncated = fmt.Sprintf("more than %d bytes; the pages behind page %d are left out", limits.ListBytes, page)
			return list, nil
		case next.cursor == nil:
			return list, nil
		case seen[string(next.cursor)]:
			list.Truncated = fmt.Sprintf("the server's pages go round in a circle; it names the same next page again on page %d", page)
			return list, nil
		case page == limits.Pages:
			list.Truncated = fmt.Sprintf("more than %d pages; the rest is left out", limits.Pages)
			return list, nil
		}
		cursor = next.cursor
		seen[string(cursor)] = true
	}
}

// page is what one page adds to a list.
type page struct {
	cursor  wire.Raw // of the next page; nil: none
	bytes   int
	missing bool // the server does not know the method
}

var pageKeys = []string{"tools", "prompts", "resources", "resourceTemplates", "nextCursor", "ttlMs", "cacheScope"}

func (c *Conn) page(ctx context.Context, list *List, method, member string, cursor wire.Raw, first bool) (page, error) {
	r := exchange.Request{Method: method, Params: wire.NewObject(exchange.ParamKeys)}
	if cursor != nil {
		r.Params.Set("cursor", cursor)
	}
	res, err := c.do(ctx, &r, nil)
	switch {
	case err != nil:
		return page{}, err
	case res.Err != nil && res.Err.Code == wire.CodeMethodNotFound && first:
		return page{missing: true}, nil
	case res.Err != nil:
		return page{}, &failure{code: jackfield.Unavailable, err: res.Err, what: method + " failed: " + snippet([]byte(res.Err.Message))}
	}
	o, err := wire.ScanObject(res.Raw, pageKeys)
	if err != nil {
		return page{}, protocolFailure("its result of %s cannot be read: %w", method, err)
	}
	var items []wire.Raw
	if raw := o.Get(member); raw == nil {
		return page{}, protocolFailure("its result of %s lacks %q", method, member)
	} else if err := json.Unmarshal(raw, &items); err != nil {
		return page{}, protocolFailure("its result of %s cannot be read: %w", method, err)
	}
	list.Items = append(list.Items, items...)
	ttl := timeToLive(o.Get("ttlMs"))
	public := string(o.Get("cacheScope")) == `"public"`
	if first {
		list.TTL, list.Public = ttl, public
	}
	list.TTL, list.Public = min(list.TTL, ttl), list.Public && public
	next := page{cursor: o.Get("nextCursor"), bytes: len(res.Raw)}
	if s := string(next.cursor); s == "null" || s == `""` {
		next.cursor = nil
	}
	return next, nil
}

// timeToLive reads ttlMs; absent, negative or nonsense is zero, and nothing is
// fresh for longer than a day.
func timeToLive(raw wire.Raw) time.Duration {
	var ms float64
	if raw == nil || json.Unmarshal(raw, &ms) != nil || ms <= 0 {
		return 0
	}
	const day = 24 * time.Hour
	return time.Duration(min(ms, float64(day/time.Millisecond))) * time.Millisecond
}
