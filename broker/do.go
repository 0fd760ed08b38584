package broker

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/connections"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// How long a call waits for servers that were never listed, to find out whose
// the thing is that it names.
const (
	waitName = 30 * time.Second // the name says which server it could be
	waitURI  = 2 * time.Second  // it could be anybody's
)

var empty = wire.Raw("{}")

// Do answers one request. Lists come from the catalog, as modern results with
// resultType, ttlMs and cacheScope; everything else goes to the one server that it
// is for: which one that is of a task, r.Server has to say. r is as it was when Do returns. p may be nil. Errors are
// *jackfield.Error, or the cause of ctx for a caller who left; the server's own
// error is Result.Err.
func (b *Broker) Do(ctx context.Context, c Caller, r *exchange.Request, p exchange.Peer) (exchange.Result, error) {
	asOf := b.changes.Load()
	cl, v, err := b.view(&c)
	if err != nil {
		return exchange.Result{}, err
	}
	b.known(&c)
	q := query{b: b, c: &c, cl: cl, asOf: asOf, v: v, r: r, p: p, owner: c.Principal.Scope()}
	if k, ok := catalog.KindOf(r.Method); ok {
		return q.list(ctx, k)
	}
	switch r.Method {
	case "tools/call":
		return q.named(ctx, catalog.Tools)
	case "prompts/get":
		return q.named(ctx, catalog.Prompts)
	case "resources/read":
		return q.read(ctx)
	case "completion/complete":
		return q.complete(ctx)
	case "tasks/get", "tasks/update", "tasks/cancel", "tasks/result", "tasks/list":
		return q.task(ctx)
	case "resources/subscribe":
		return q.subscribe(ctx)
	case "resources/unsubscribe":
		return q.unsubscribe(ctx)
	case "ping", "logging/setLevel":
		return exchange.Result{Raw: empty}, nil // the faces keep both to themselves
	}
	return q.vendor(ctx)
}

// query is one request under way.
type query struct {
	b     *Broker
	c     *Caller
	cl    *class
	asOf  uint64 // Broker.changes, when cl was looked at
	v     *catalog.View
	r     *exchange.Request
	p     exchange.Peer
	owner jackfield.Scope
}

// list answers from the catalog.
func (q *query) list(ctx context.Context, k catalog.Kind) (exchange.Result, error) {
	cursor, ok := text(q.r.Params.Get("cursor"))
	if !ok {
		return exchange.Result{}, jackfield.Errorf(jackfield.Invalid, "the cursor of %s is not a string", q.r.Method)
	}
	page, err := q.v.Page(ctx, q.owner, k, cursor)
	if err != nil {
		return exchange.Result{}, err
	}
	return exchange.Result{Raw: page.Raw, Modern: true, Bare: page.Bare}, nil
}

// text is a string member; absent and null are the empty string.
func text(raw wire.Raw) (string, bool) {
	if raw == nil || string(raw) == "null" {
		return "", true
	}
	return wire.String(raw)
}

// named passes on a request that names a tool or prompt.
func (q *query) named(ctx context.Context, k catalog.Kind) (exchange.Result, error) {
	name, ok := text(q.r.Params.Get("name"))
	if !ok || name == "" {
		return exchange.Result{}, jackfield.Errorf(jackfield.Invalid, "%s needs the name of one of those that %s lists, as a string", q.r.Method, k.Method())
	}
	t, ok := q.v.Find(q.owner, k, name)
	if !ok && q.c.Only == "" {
		// It may be known to the client from before a restart, or from yesterday.
		if err := q.v.Settle(ctx, q.owner, k, name, waitName); err != nil {
			return exchange.Result{}, err
		}
		if t, ok = q.v.Find(q.owner, k, name); !ok {
			if err := q.v.Lacking(q.owner, k, name); err != nil {
				return exchange.Result{}, err
			}
		}
	}
	if !ok {
		return exchange.Result{}, q.unknownName(k, name)
	}
	given := q.r.Effect
	q.r.Effect = max(given, t.Effect)
	defer func() { q.r.Effect = given }()
	return q.rewritten(ctx, "name", t)
}

// read passes on a request for a resource.
func (q *query) read(ctx context.Context) (exchange.Result, error) {
	uri, ok := text(q.r.Params.Get("uri"))
	if !ok || uri == "" {
		return exchange.Result{}, jackfield.Errorf(jackfield.Invalid, "%s needs the uri of a resource, as a string", q.r.Method)
	}
	t, err := q.resource(ctx, uri)
	if err != nil {
		return exchange.Result{}, err
	}
	res, err := q.rewritten(ctx, "uri", t)
	if err == nil && q.c.Only == "" && t.Key != uri {
		res.Raw = underURI(res.Raw, t.Key, uri)
	}
	return res, err
}

// resource finds the one server that has a resource: it is listed, or a tool links to
// it as its user interface, or a template expands to it, or the caller was given a
// link to it.
func (q *query) resource(ctx context.Context, uri string) (catalog.Target, error) {
	found := q.v.FindURI(q.owner, uri)
	if len(found) == 0 {
		if t, ok := q.linked(uri, nil); ok {
			return t, nil
		}
		kinds := []catalog.Kind{catalog.Resources, catalog.Templates}
		if strings.HasPrefix(uri, "ui://") {
			kinds = append(kinds, catalog.Tools)
		}
		for _, k := range kinds {
			if err := q.v.Settle(ctx, q.owner, k, "", waitURI); err != nil {
				return catalog.Target{}, err
			}
		}
		found = q.v.FindURI(q.owner, uri)
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return catalog.Target{}, q.unknownURI(uri)
	}
	if t, ok := q.linked(uri, found); ok {
		return t, nil
	}
	return catalog.Target{}, ambiguous(uri, found)
}

// linked is the server that gave the caller a link to uri not long ago: any one of
// the view, or one of those found.
func (q *query) linked(uri string, found []catalog.Target) (catalog.Target, bool) {
	id, ok := q.b.links.get(q.c.Principal.Subject, uri)
	if !ok {
		return catalog.Target{}, false
	}
	for _, t := range found {
		if t.Server.ID == id {
			return t, true
		}
	}
	if s, ok := q.server(id); ok && found == nil {
		return catalog.Target{Server: s, Key: uri, Quoted: q.r.Params.Get("uri")}, true
	}
	return catalog.Target{}, false
}

// server finds a server of the caller's view.
func (q *query) server(id jackfield.ServerID) (*jackfield.Server, bool) {
	s, ok := q.cl.server(id)
	return s, ok && (q.c.Only == "" || q.c.Only == s.Name)
}

var refKeys = []string{"type", "name", "uri"}

// complete passes on a request to complete an argument of a prompt or template.
func (q *query) complete(ctx context.Context) (exchange.Result, error) {
	given := q.r.Params.Get("ref")
	ref, err := wire.ScanObject(given, refKeys)
	if err != nil {
		return exchange.Result{}, jackfield.Errorf(jackfield.Invalid, "%s needs a ref that is an object: %w", q.r.Method, err)
	}
	var t catalog.Target
	var ok bool
	member := "name"
	switch kind, _ := text(ref.Get("type")); kind {
	case "ref/prompt":
		name, _ := text(ref.Get("name"))
		if t, ok = q.v.Find(q.owner, catalog.Prompts, name); !ok {
			return exchange.Result{}, q.unknownName(catalog.Prompts, name)
		}
	case "ref/resource":
		member = "uri"
		uri, _ := text(ref.Get("uri"))
		found := q.v.FindTemplate(q.owner, uri)
		if t, ok = q.linked(uri, found); !ok && len(found) > 1 {
			return exchange.Result{}, ambiguous(uri, found)
		} else if !ok && len(found) == 0 {
			return exchange.Result{}, q.unknownURI(uri)
		} else if !ok {
			t = found[0]
		}
	default:
		return exchange.Result{}, jackfield.Errorf(jackfield.Invalid, `%s knows refs of type "ref/prompt" and "ref/resource" only`, q.r.Method)
	}
	if q.c.Only == "" {
		ref.Set(member, t.Quoted)
		q.r.Params.Set("ref", ref.Raw())
		defer q.r.Params.Set("ref", given)
	}
	return q.send(ctx, t.Server)
}

// vendor passes on a request that the protocol does not define. It can only be for
// the one server that was asked.
func (q *query) vendor(ctx context.Context) (exchange.Result, error) {
	if q.c.Only == "" || ours(q.r.Method) {
		return exchange.Result{Err: methodNotFound(q.r.Method, q.c.Only == "")}, nil
	}
	res, err := q.send(ctx, &q.v.Servers()[0])
	// Some servers with sessions refuse what they do not know with a status alone.
	if f := jackfield.FailureOf(err); f != nil && f.Status == http.StatusBadRequest {
		e := methodNotFound(q.r.Method, false)
		e.Message += ": " + err.Error()
		return exchange.Result{Err: e}, nil
	}
	return res, err
}

// ours reports whether a method is between the client and the gateway.
func ours(method string) bool {
	switch method {
	case "initialize", "server/discover", "subscriptions/listen":
		return true
	}
	return strings.HasPrefix(method, "notifications/")
}

// rewritten sends the request under the name or URI that the server knows.
func (q *query) rewritten(ctx context.Context, member string, t catalog.Target) (exchange.Result, error) {
	if q.c.Only != "" {
		return q.send(ctx, t.Server)
	}
	given := q.r.Params.Get(member)
	q.r.Params.Set(member, t.Quoted)
	defer q.r.Params.Set(member, given)
	res, err := q.send(ctx, t.Server)
	if err == nil {
		q.b.links.note(q.c.Principal.Subject, t.Server.ID, res.Raw)
	}
	return res, err
}

// ask does the request on the connection that the caller uses for the server, and
// once more on another when that is safe.
func (q *query) ask(ctx context.Context, s *jackfield.Server) (exchange.Result, error) {
	if back := q.r.Resume; back != nil && back.Server != "" && back.Server != string(s.ID) {
		// What the request names was another server's when the question was asked.
		return exchange.Result{}, jackfield.Errorf(jackfield.Invalid, "this requestState was given by another server; send the request again without it")
	}
	ctx, k := q.b.startClock(ctx, s, q.r.Method, q.p)
	defer k.stop()
	want := connections.Want{Server: *s, Owner: q.owner, Session: q.c.Session, Caps: q.c.Caps.Declared}
	for again := false; ; again = true {
		lease, err := q.b.o.Connections.Acquire(ctx, want)
		if err != nil {
			return exchange.Result{}, q.unconnected(k, s, err)
		}
		k.connected.Store(true)
		q.b.opened(s, lease)
		if err = q.bereft(s, lease); err != nil {
			lease.Release()
			return exchange.Result{}, err
		}
		res, err := lease.Conn().Do(ctx, q.r, k)
		if err == nil {
			lease.Release()
			res.Server = string(s.ID)
			return res, nil
		}
		key := lease.Key()
		lease.Release()
		switch {
		case ctx.Err() != nil:
			return exchange.Result{}, q.failed(k, s, err)
		case again || !q.again(k, err):
			return exchange.Result{}, q.told(key, q.failed(k, s, err))
		}
		if e, ok := errors.AsType[*wire.Error](err); ok && e.Code == wire.CodeHeaderMismatch {
			// The tool mirrors other arguments in headers than it did when it was listed.
			_ = q.b.o.Catalog.Only(*s).Settle(ctx, q.owner, catalog.Tools, "", waitURI)
		}
		if t := q.b.o.Trace; t != nil && t.Again != nil {
			t.Again(s)
		}
	}
}

// unconnected is why there is no connection to ask the server on.
func (q *query) unconnected(k *clock, s *jackfield.Server, err error) error {
	late := k.late()
	if late == nil || !errors.Is(err, late) || k.connected.Load() {
		return q.failed(k, s, err)
	}
	f := &jackfield.Failure{Kind: jackfield.FailureTimeout, Stage: "connect", Message: err.Error(), Err: err}
	return &jackfield.Error{Code: jackfield.Unavailable, Message: f.At(time.Time{}), Err: f}
}

// failed is why the server could not be asked, or did not answer.
func (q *query) failed(k *clock, s *jackfield.Server, err error) error {
	if late := k.late(); late != nil {
		return late
	}
	var e *jackfield.Error
	switch {
	case errors.Is(err, context.Canceled), errors.As(err, &e) && strings.Contains(e.Message, s.Name):
		return err
	case e != nil:
		return jackfield.Errorf(e.Code, "server %q: %w", s.Name, err)
	}
	return jackfield.Errorf(jackfield.CodeOf(err), "server %q: %s failed: %w", s.Name, q.r.Method, err)
}
