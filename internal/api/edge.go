package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/jackfield-dev/jackfield"
)

// Bounds of what is sent.
const (
	maxDefinition = 256 << 10 // one definition
	maxImport     = 64 << 20  // one document of POST /import
	maxBody       = 64 << 10  // every other body
	maxQuery      = 16 << 10  // everything behind the ?
)

// base is below what every route of the API stands.
const base = "/api/v1"

// edge is where requests become calls of handlers: huma, and what stands around it.
// Nothing of it is global, for the gateway may be inside a program that uses huma too.
type edge struct {
	*Handler
	huma   huma.API
	routes routes
	names  map[string]bool // of the members of bodies, as they are written
}

// routes is the mux that huma is given. It remembers which methods a path has, for
// those who use another.
type routes struct {
	mux     *http.ServeMux
	methods map[string][]string // by path
}

// HandleFunc implements humago.Mux.
func (r *routes) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	r.mux.HandleFunc(pattern, handler)
	method, path, _ := strings.Cut(pattern, " ")
	r.methods[path] = append(r.methods[path], method)
	if method == http.MethodGet {
		r.methods[path] = append(r.methods[path], http.MethodHead)
	}
}

// ServeHTTP implements humago.Mux.
func (r *routes) ServeHTTP(w http.ResponseWriter, q *http.Request) { r.mux.ServeHTTP(w, q) }

// refuseOthers answers the methods that a path does not have.
func (r *routes) refuseOthers() {
	for path, methods := range r.methods {
		slices.Sort(methods)
		allow := strings.Join(methods, ", ")
		r.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", allow)
			problem(w, &Problem{
				Status: http.StatusMethodNotAllowed, Code: jackfield.Invalid.String(), Detail: "this path takes " + allow,
			})
		})
	}
}

func newEdge(h *Handler) *edge {
	e := &edge{Handler: h, routes: routes{mux: http.NewServeMux(), methods: map[string][]string{}}, names: map[string]bool{}}
	config := huma.DefaultConfig("Jackfield", h.Version)
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", "" // see document
	config.CreateHooks = nil                                             // they would put links to schemas into every answer
	format := huma.Format{Marshal: encode, Unmarshal: e.decode}
	config.Formats = map[string]huma.Format{"application/json": format, "json": format}
	config.Transformers = []huma.Transformer{func(ctx huma.Context, _ string, v any) (any, error) {
		if refusal, ok := v.(*huma.ErrorModel); ok {
			if c, ok := ctx.(*call); ok && c.broke {
				return errBroke, nil
			}
			return refused(refusal), nil
		}
		return v, nil
	}}
	config.Info.Description = "Definitions, connections, listings, credentials and people of one gateway."
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "an API key, or the token of the gateway; none where the configuration asks for none"},
	}
	config.Security = []map[string][]string{{"bearer": {}}, {}}
	e.huma = humago.New(&e.routes, config)
	e.huma.UseMiddleware(e.admit)
	return e
}

// encode writes v as every answer of the API is written.
func encode(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// decode reads a body. huma and the standard library would take members in any case;
// then two could mean the same, of which one is checked and the other used.
func (e *edge) decode(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errors.New("what was sent is not UTF-8")
	}
	if err := json.Unmarshal(data, v); err != nil {
		return err
	}
	body, ok := v.(*any)
	if !ok {
		return nil
	}
	members, _ := (*body).(map[string]any)
	for name := range members {
		if e.names[name] {
			continue
		}
		for right := range e.names {
			if strings.EqualFold(name, right) {
				return fmt.Errorf("the member %q is written %q", name, right)
			}
		}
	}
	return nil
}

type inner = huma.Context // under a name that is not that of one of its methods

// call is one request on its way to a handler: huma's context, and who is asking.
type call struct {
	inner
	who   jackfield.Principal
	query url.Values
	broke bool // the body ended before it was whole
}

// BodyReader is huma's, but that it notes when the body breaks off, which is no fault
// of the gateway.
func (c *call) BodyReader() io.Reader { return &body{c.inner.BodyReader(), c} }

type body struct {
	io.Reader
	of *call
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	var late net.Error
	if err != nil && err != io.EOF && (!errors.As(err, &late) || !late.Timeout()) {
		b.of.broke = true
	}
	return n, err
}

// Unwrap is huma's own context; its adapter asks for it.
func (c *call) Unwrap() huma.Context { return c.inner }

// SetStatus is huma's, but that what does not hold is told by one status, 400.
func (c *call) SetStatus(code int) {
	if code == http.StatusUnprocessableEntity || code == http.StatusInternalServerError && c.broke {
		code = http.StatusBadRequest
	}
	c.inner.SetStatus(code)
}

// caller is in the input of every handler: who is asking, in which words. It stands
// there, and not in a context, because huma calls handlers with the input alone.
type caller struct {
	who   jackfield.Principal
	query url.Values
}

// Resolve implements huma.Resolver.
func (c *caller) Resolve(ctx huma.Context) []error {
	from, _ := ctx.(*call)
	c.who, c.query = from.who, from.query
	return nil
}

func (c *caller) asked() *caller { return c }

// forAdmins marks, in the metadata of an operation, what others are refused before
// their body is read.
const forAdmins = "admins"

// admit lets a request through to the handler whose caller is known and which could
// be one that the handler knows.
func (e *edge) admit(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	who, err := e.Authenticate(r)
	var query url.Values
	if err == nil && ctx.Operation().Metadata[forAdmins] != nil {
		err = adminOnly(who)
	}
	if err == nil {
		query, err = checkRequest(r, ctx.Operation())
	}
	if err != nil {
		e.fail(w, r, err)
		return
	}
	next(&call{inner: ctx, who: who, query: query})
}

// checkRequest is the query of a request that says nothing that the operation does
// not know.
func checkRequest(r *http.Request, op *huma.Operation) (url.Values, error) {
	if !utf8.ValidString(r.URL.Path) {
		return nil, jackfield.Errorf(jackfield.Invalid, "the path is not UTF-8")
	}
	if len(r.URL.RawQuery) > maxQuery {
		return nil, jackfield.Errorf(jackfield.Invalid, "what stands behind the ? is longer than %d bytes", maxQuery)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, jackfield.Errorf(jackfield.Invalid, "what stands behind the ? cannot be read: it wants name=value, joined by &, with %%-escapes")
	}
	var params []string
	for _, p := range op.Parameters {
		if p.In == "query" {
			params = append(params, p.Name)
		}
	}
	if err = checkQuery(r.URL.Path, query, params); err != nil {
		return nil, err
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return query, nil
	}
	// Whatever a page of somebody else can have a browser send without being asked is
	// not of this type.
	sent := r.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(sent)
	if (sent != "" || r.ContentLength != 0) && (err != nil || media != "application/json") {
		return nil, errMediaType
	}
	if sent != "" {
		r.Header.Set("Content-Type", "application/json") // huma knows it in no other form
	}
	return query, nil
}

func checkQuery(path string, query url.Values, params []string) error {
	for name, values := range query {
		switch {
		case !slices.Contains(params, name) && len(params) == 0:
			return jackfield.Errorf(jackfield.Invalid, "%s takes no parameters, so not %.40q either", path, name)
		case !slices.Contains(params, name):
			return jackfield.Errorf(jackfield.Invalid, "there is no parameter %.40q; use %s", name, strings.Join(params, " or "))
		case len(values) > 1:
			return jackfield.Errorf(jackfield.Invalid, "the parameter %q stands %d times; give it once", name, len(values))
		case !utf8.ValidString(values[0]):
			return jackfield.Errorf(jackfield.Invalid, "the parameter %q is not UTF-8", name)
		}
	}
	return nil
}

// asks is an input that knows who is asking.
type asks[I any] interface {
	*I
	asked() *caller
}

// handle puts a handler behind a route, with its place in the document.
func handle[I, O any, P asks[I]](e *edge, op huma.Operation, do func(ctx context.Context, who jackfield.Principal, in *I) (*O, error)) {
	op.Path = base + op.Path
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = maxBody
	}
	op.MaxBodyBytes++ // huma takes one byte less than that
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["default"] = &huma.Response{
		Description: "what went wrong",
		Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: schemaOf[Problem](e.huma)},
		},
	}
	huma.Register(e.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, P(in).asked().who, in)
		if err != nil {
			return nil, e.problemOf(ctx, op.Path, err)
		}
		return out, nil
	})
}

// document serves what there is to be served, in OpenAPI 3.1.
func (e *edge) document() {
	type asked struct{ caller }
	for suffix, media := range map[string]string{"json": "application/openapi+json", "yaml": "application/openapi+yaml"} {
		handle(e, huma.Operation{
			OperationID: "openapi-" + suffix, Method: http.MethodGet, Path: "/openapi." + suffix, Tags: []string{"about"},
			Summary: "This document", Responses: map[string]*huma.Response{"200": {
				Description: "OpenAPI 3.1", Content: map[string]*huma.MediaType{media: {}},
			}},
		}, func(context.Context, jackfield.Principal, *asked) (*stream, error) {
			text, err := json.Marshal(e.huma.OpenAPI())
			if suffix == "yaml" {
				text, err = e.huma.OpenAPI().YAML()
			}
			if err != nil {
				return nil, err
			}
			return &stream{func(ctx huma.Context) {
				ctx.SetHeader("Content-Type", media)
				_, _ = ctx.BodyWriter().Write(text) // who has left reads nothing
			}}, nil
		})
	}
	for _, schema := range e.huma.OpenAPI().Components.Schemas.Map() {
		for name := range schema.Properties {
			e.names[name] = true
		}
	}
	// huma's own errors are never answered.
	delete(e.huma.OpenAPI().Components.Schemas.Map(), "ErrorModel")
	delete(e.huma.OpenAPI().Components.Schemas.Map(), "ErrorDetail")
}

// The shapes of answers.
type (
	plain[T any] struct{ Body T }

	tagged[T any] struct { // something that can be changed with If-Match
		ETag string `header:"ETag" doc:"the revision, for If-Match"`
		Body T
	}

	created[T any] struct {
		Status   int
		Location string `header:"Location" doc:"where it is now"`
		ETag     string `header:"ETag" doc:"the revision, for If-Match"`
		Body     T
	}

	stream struct{ Body func(huma.Context) }

	nothing struct{}
)
