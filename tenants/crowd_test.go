package tenants

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/authn"
	"github.com/jackfield-dev/jackfield/internal/credentials"
	"github.com/jackfield-dev/jackfield/internal/record"
	"github.com/jackfield-dev/jackfield/internal/registry"
	"github.com/jackfield-dev/jackfield/internal/seal"
	"github.com/jackfield-dev/jackfield/internal/store"
	"github.com/jackfield-dev/jackfield/wire"
)

// crowd is a data directory with many servers and people in its store, for gateways
// that begin with a copy of it. Each member of a team sees the app's servers and the
// team's. One of the app's wants each person's own key, which the first of the users
// have entered.
type crowd struct {
	app, teams, each, users, values int

	dir  string
	all  *httptest.Server // all the servers, each at a path of its own
	keys []string         // of the first member of each team
}

// servers is how many definitions there are.
func (c *crowd) servers() int { return c.app + c.teams*c.each }

// member is the name of the first member of a team.
func (c *crowd) member(team int) string { return person(team) }

func person(i int) string { return fmt.Sprintf("person-%06d", i) }

// crowds are those of this process, by their sizes. To make a large one takes longer
// than to measure it.
var crowds = map[[5]int]*crowd{}

// run runs the tests, and removes the crowds after them.
type run struct{ *testing.M }

func (r run) Run() int {
	defer func() {
		for _, c := range crowds {
			c.all.Close()
			_ = os.RemoveAll(c.dir)
		}
	}()
	return r.M.Run()
}

// gather makes a crowd, unless there is one of the size.
func gather(t testing.TB, app, teams, each, users, values int) *crowd {
	t.Helper()
	size := [...]int{app, teams, each, users, values}
	if c := crowds[size]; c != nil {
		return c
	}
	dir, err := os.MkdirTemp("", "crowd-")
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{app: app, teams: teams, each: each, users: users, values: values, dir: dir, all: httptest.NewServer(http.HandlerFunc(serveTools))}
	crowds[size] = c
	if err := c.fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// batches keep what is to be written until there is enough of it.
type batches struct {
	*store.Store
	held []record.Write
}

// Write says only that it will be written.
func (b *batches) Write(_ context.Context, _ string, writes ...record.Write) ([]record.Record, error) {
	b.held = append(b.held, writes...)
	return make([]record.Record, len(writes)), nil
}

// flush writes what is held, and returns everything that there is.
func (b *batches) flush(ctx context.Context) (record.Batch, error) {
	for some := range slices.Chunk(b.held, 5000) {
		if _, err := b.Store.Write(ctx, "root", some...); err != nil {
			return record.Batch{}, err
		}
	}
	b.held = nil
	return b.All(ctx)
}

// fill writes the store, with the parts of a gateway.
func (c *crowd) fill(ctx context.Context) (err error) {
	keys, err := seal.Load(seal.Options{Dir: c.dir})
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Options{Dir: c.dir})
	if err != nil {
		return err
	}
	defer func() {
		if closed := s.Close(); err == nil {
			err = closed
		}
	}()
	b := &batches{Store: s}
	people, defs := authn.New(authn.Options{Writer: b}), registry.New(registry.Options{Writer: b, Seal: keys})
	if err = c.fillPeople(ctx, b, people); err != nil {
		return err
	}
	if err = c.define(ctx, defs); err != nil {
		return err
	}
	everything, err := b.flush(ctx)
	if err != nil {
		return err
	}
	defs.Take(everything)
	own, ok := defs.Snapshot().ByID(jackfield.ServerID("app/" + c.server(jackfield.App(), 0)))
	if !ok {
		return fmt.Errorf("of %d records there is no server of the app", len(everything.Records))
	}
	values := credentials.New(credentials.Options{Writer: b, Seal: keys})
	for i := range c.values {
		key, who := jackfield.Secret("key of "+person(i)), jackfield.User(person(i))
		if err = values.Set(ctx, authn.Bearer, who, own, map[string]*jackfield.Secret{"KEY": &key}); err != nil {
			return err
		}
	}
	_, err = b.flush(ctx)
	return err
}

func (c *crowd) fillPeople(ctx context.Context, b *batches, people *authn.Directory) error {
	for i := range c.teams {
		if _, err := people.Teams().Put(ctx, authn.Bearer, authn.Team{ID: team(i), Title: fmt.Sprintf("The team number %d", i)}, authn.Condition{}); err != nil {
			return err
		}
	}
	teams, err := b.flush(ctx)
	if err != nil {
		return err
	}
	people.Take(teams)
	for i := range c.users {
		_, err = people.Users().Put(ctx, authn.Bearer, authn.User{
			Subject: person(i), Name: fmt.Sprintf("The Person %d", i), Email: person(i) + "@example.com", Teams: []string{team(i % c.teams)},
		}, authn.Condition{})
		if err != nil {
			return err
		}
	}
	users, err := b.flush(ctx)
	if err != nil {
		return err
	}
	people.Take(users)
	for i := range c.teams {
		_, key, err := people.Keys().Make(ctx, authn.Bearer, authn.Key{Name: "laptop", User: c.member(i)})
		if err != nil {
			return err
		}
		c.keys = append(c.keys, key.Reveal())
	}
	return nil
}

func team(i int) string { return fmt.Sprintf("team-%04d", i) }

// server is the name of a server of a scope.
func (c *crowd) server(of jackfield.Scope, i int) string {
	if of == jackfield.App() {
		return fmt.Sprintf("shared-%02d", i)
	}
	return fmt.Sprintf("%s-%02d", of.ID, i)
}

// define writes all definitions.
func (c *crowd) define(ctx context.Context, to *registry.Registry) error {
	put := func(scope jackfield.Scope, i int) error {
		name := c.server(scope, i)
		doc := map[string]any{
			"type": "http", "url": c.all.URL + "/" + name + "/mcp", "title": "What is called " + name,
			"description": "Finds, reads and changes what " + scope.String() + " keeps in " + name + ", and tells who did.",
			"headers":     map[string]string{"X-Region": "eu-west-1"}, "timeout": "30s",
		}
		if scope == jackfield.App() && i == 0 {
			doc["headers"] = map[string]string{"Authorization": "Bearer {{var.KEY}}"}
			doc["vars"] = map[string]any{"KEY": map[string]any{"title": "API key", "description": "See https://example.com/keys"}}
		}
		text, err := json.Marshal(doc)
		if err != nil {
			return err
		}
		_, _, err = to.Put(ctx, authn.Bearer, scope, name, text, registry.Condition{})
		if jackfield.CodeOf(err) == jackfield.NotFound {
			return nil // it is not there before it is flushed
		}
		return err
	}
	for i := range c.app {
		if err := put(jackfield.App(), i); err != nil {
			return err
		}
	}
	for n := range c.teams {
		for i := range c.each {
			if err := put(jackfield.Team(team(n)), i); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyTo makes a data directory of it.
func (c *crowd) copyTo(t testing.TB, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(c.dir)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"master.key", "jackfield.db"} {
		if err := os.Chmod(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// toolsEach is how many tools a server has.
const toolsEach = 20

// serveTools is every server: the tools are called after the path.
func serveTools(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	m, wrong := wire.Parse(text)
	if err != nil || wrong != nil {
		http.Error(w, "no message", http.StatusBadRequest)
		return
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	result := ""
	switch m.Method {
	case "server/discover":
		result = `"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"serverInfo":{"name":"crowd","version":"1"},"ttlMs":3600000,"cacheScope":"private"`
	case "tools/list":
		tools := make([]string, toolsEach)
		for i := range tools {
			tools[i] = fmt.Sprintf(`{"name":"find_%d","description":"Finds what %s keeps under the number %d: give what it is called, or a part of that.",`+
				`"inputSchema":{"type":"object","properties":{"query":{"type":"string","description":"What to look for"},"limit":{"type":"integer","minimum":1,"maximum":100}},"required":["query"]}}`, i, name, i)
		}
		result = `"tools":[` + strings.Join(tools, ",") + `],"ttlMs":3600000,"cacheScope":"private"`
	case "tools/call":
		result = `"content":[{"type":"text","text":"found"}]`
	default:
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete",%s}}`, m.ID, result)
}
