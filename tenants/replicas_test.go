package tenants

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/app"
	"github.com/jackfield-dev/jackfield/internal/authn"
	"github.com/jackfield-dev/jackfield/internal/pgtest"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

// asReplica has the test binary be a gateway: the configuration file to run with.
const asReplica = "JACKFIELD_TENANTS_CONFIG"

// runReplica serves until it is told to end, and says on standard output where.
func runReplica(path string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config, _, err := app.Load(path, app.Overrides{})
	if err != nil {
		return err
	}
	gateway, err := app.New(app.Options{Config: config, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	if err := gateway.Start(ctx); err != nil {
		return errors.Join(err, gateway.Stop(context.WithoutCancel(ctx)))
	}
	fmt.Println(gateway.URL())
	<-ctx.Done()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return gateway.Stop(grace)
}

// replica is a gateway in a process of its own, with the store of others.
func replica(t *testing.T, dsn, hints string, key jackfield.Secret) *house {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "jackfield.yaml")
	config := fmt.Sprintf(`listen: 127.0.0.1:0
data: %s
store: {url: %q, hintsURL: %q}
auth: {keys: [{name: root, hash: %q, role: admin}]}
egress: {allow: [127.0.0.1]}
mcpServers: {}
`, filepath.Join(dir, "data"), dsn, hints, authn.HashOf(key.Reveal()))
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), asReplica+"="+path, "JACKFIELD_MASTER_KEY="+strings.Repeat("ab", 32))
	h := spawn(t, child)
	h.keys["root"] = key.Reveal()
	return h
}

// spawn starts a gateway in a process of its own, which says on its standard output
// where it is, as JSON or without ado.
func spawn(t testing.TB, child *exec.Cmd) *house {
	t.Helper()
	h := &house{t: t, keys: map[string]string{}, log: &lines{}, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}}}
	child.Stderr = h.log
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.began = time.Now()
	if err = child.Start(); err != nil {
		t.Fatal(err)
	}
	h.pid = child.Process.Pid
	h.end = sync.OnceFunc(func() {
		_ = child.Process.Signal(syscall.SIGTERM)
		if ended := child.Wait(); ended != nil {
			t.Errorf("the replica ended with %v", ended)
		}
		h.http.CloseIdleConnections()
		if t.Failed() {
			t.Log(h.log)
		}
	})
	t.Cleanup(h.end)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the replica did not start: %v\n%s", err, h.log)
	}
	h.url = strings.TrimSpace(line)
	var said struct{ URL string }
	if json.Unmarshal([]byte(line), &said) == nil {
		h.url = said.URL
	}
	return h
}

// TestAnEditOnOneReplicaIsUsedByCallsOnAnother: a definition that is moved to another
// address on one replica; calls on the other arrive there, soon when hints get
// through, and within the poll when they do not.
func TestAnEditOnOneReplicaIsUsedByCallsOnAnother(t *testing.T) {
	for name, way := range map[string]struct {
		hints string
		most  time.Duration
	}{
		"by hint":        {"", 5 * time.Second}, // the aim is a second, on a machine that has nothing else to do
		"without a hint": {"off", 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.Start(t).DSN(t)
			key, _, _ := authn.NewKey()
			one, other := replica(t, dsn, way.hints, key), replica(t, dsn, way.hints, key)
			places := []*upstreamtest.Server{upstreamtest.New(t, upstreamtest.Script{}), upstreamtest.New(t, upstreamtest.Script{})}

			one.must("root", http.MethodPost, "/servers", "", fmt.Sprintf(`{"name":"moves","scope":"app","definition":{"url":%q}}`, places[0].Endpoint().URL))
			arrive := func(at *upstreamtest.Server) time.Duration {
				t.Helper()
				began, before := time.Now(), at.Count("tools/call")
				for time.Since(began) < patience {
					if _, err := other.call(t.Context(), "root", "moves", "echo", `{"text":"x"}`); err == nil && at.Count("tools/call") > before {
						return time.Since(began)
					}
					pause(t, 5*time.Millisecond)
				}
				t.Fatalf("calls on the other replica do not arrive:\n%s", other.log)
				return 0
			}
			first := arrive(places[0])
			var slowest time.Duration
			for i := range 6 {
				to := places[(i+1)%2]
				_, header, _ := one.rest("root", http.MethodGet, "/servers/moves", "", nil)
				one.must("root", http.MethodPut, "/servers/moves?scope=app", header.Get("ETag"), fmt.Sprintf(`{"definition":{"url":%q}}`, to.Endpoint().URL))
				slowest = max(slowest, arrive(to))
			}
			t.Logf("a new definition is used on the other replica after %v, an edit after %v at most", first.Round(time.Millisecond), slowest.Round(time.Millisecond))
			if slowest > way.most {
				t.Errorf("an edit was used after %v, not %v", slowest, way.most)
			}

			_, header, _ := one.rest("root", http.MethodGet, "/servers/moves", "", nil)
			one.must("root", http.MethodDelete, "/servers/moves?scope=app", header.Get("ETag"), nil)
			for began := time.Now(); ; pause(t, 5*time.Millisecond) {
				_, err := other.call(t.Context(), "root", "moves", "echo", `{"text":"x"}`)
				if err != nil && strings.Contains(err.Error(), "moves") && !strings.Contains(err.Error(), "503") {
					break
				}
				if time.Since(began) > patience {
					t.Fatalf("a removed definition is still used: %v", err)
				}
			}
		})
	}
}

// pause waits between two looks at another process.
func pause(t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
