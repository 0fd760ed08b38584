package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "demo" || os.Args[1] == guardCommand) {
		main() // a gateway inside a test runs its demo servers so, and their guards
	}
	testscript.Main(m, map[string]func(){"jackfield": main})
}

// TestScripts runs each script in testdata/script: one behaviour a script, in a
// process of its own, as a person would type it. UPDATE=1 writes expected output
// anew.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("NO_COLOR", "")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command takes a second more under -race
			env.Setenv("XDG_DATA_HOME", "")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "started": started, "listening": listening, "eventually": eventually, "web": web,
		},
	})
}

// exits runs a command that must end with an exit code: exits 3 jackfield servers.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGS...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

const patience = 20 * time.Second

// started waits until the gateway whose data directory is given (data, when none
// is) answers and has listed its servers for the first time.
func started(ts *testscript.TestScript, _ bool, args []string) {
	dir := "data"
	if len(args) > 0 {
		dir = args[0]
	}
	until(ts, "the gateway has not started", func() bool {
		address, err := readAddress(ts.MkAbs(dir))
		if err != nil {
			return false
		}
		resp, err := http.Get(address + "/healthz")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
}

// listening sets a variable to the host:port of the gateway in data.
func listening(ts *testscript.TestScript, _ bool, args []string) {
	address, err := readAddress(ts.MkAbs("data"))
	ts.Check(err)
	ts.Setenv(args[0], strings.TrimPrefix(address, "http://"))
}

// eventually runs a command until it succeeds.
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, "it never succeeded: "+strings.Join(args, " "), func() bool {
		return ts.Exec(args[0], args[1:]...) == nil
	})
}

func until(ts *testscript.TestScript, otherwise string, done func() bool) {
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("%s", otherwise)
		}
	}
}

// web sets a variable to the address of something that is no gateway.
func web(ts *testscript.TestScript, _ bool, args []string) {
	problem := func(w http.ResponseWriter, status int, body string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		where, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		switch where {
		case "json":
			_, _ = w.Write([]byte(`["not what you expect"]`))
		case "redirect":
			http.Redirect(w, r, "/empty/api/v1/servers", http.StatusFound)
		case "empty":
			_, _ = w.Write([]byte(`{"servers":[]}`))
		case "forbidden":
			http.Error(w, "requests for this host are not served here", http.StatusForbidden)
		case "broken":
			problem(w, 500, `{"status":500,"code":"internal","detail":"something went wrong\ninside"}`)
		default:
			_, _ = w.Write([]byte("<html>hello</html>"))
		}
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
}
