package upstream

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

var ourGuard = []string{"/proc/self/exe", "guard"}

// guarded puts a guard before the process.
func guarded(o Options) Options {
	o.Guard = ourGuard
	return o
}

// pidsIn reads the process ids that a script wrote down, one a line.
func pidsIn(t *testing.T, path string, n int) []int {
	t.Helper()
	for range 500 {
		text, err := os.ReadFile(path)
		var pids []int
		for line := range strings.Lines(string(text)) {
			pid, _ := strconv.Atoi(strings.TrimSpace(line))
			pids = append(pids, pid)
		}
		if err == nil && len(pids) == n && strings.HasSuffix(string(text), "\n") {
			return pids
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not %d processes in %s", n, path)
	return nil
}

func sayGo(t *testing.T, c *Conn) {
	t.Helper()
	if _, err := c.link.(*process).stdin.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
}

// gatewayEnds is what the end of the gateway does.
func gatewayEnds(t *testing.T, c *Conn) {
	t.Helper()
	if err := c.link.(*process).life.Close(); err != nil {
		t.Fatal(err)
	}
}

// deaf is a grandchild that hears nothing but SIGKILL, in the group of its parent
// or, with setsid, out of its reach; and it has a child of its own.
const deaf = ` sh -c 'trap "" TERM HUP INT; echo $$ >>PIDS; sleep 1000 & echo $! >>PIDS; while :; do sleep 0.2; done' & `

func TestAGuardEndsAllThatAProcessStarted(t *testing.T) {
	const own = `echo $$ >>PIDS; ` + deaf + ` setsid ` + deaf
	for name, c := range map[string]struct {
		script string
		end    func(t *testing.T, c *Conn)
	}{
		"when the connection is closed":    {own + hello + `cat >/dev/null`, shut},
		"when the process is deaf itself":  {`trap "" TERM; ` + own + hello + `while :; do sleep 0.2; done`, shut},
		"when the process ends":            {own + hello + `read l; exit 0`, sayGo},
		"when the gateway is gone":         {own + hello + `while :; do sleep 0.2; done`, gatewayEnds},
		"when a daemon has left its group": {`echo $$ >>PIDS; ( setsid ` + deaf + ` ) & ( setsid ` + deaf + ` ) & ` + hello + `cat >/dev/null`, shut},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pids := filepath.Join(t.TempDir(), "pids")
			conn, err := Dial(t.Context(), guarded(legacyShell(strings.ReplaceAll(c.script, "PIDS", pids))))
			if err != nil {
				t.Fatal(err)
			}
			all := pidsIn(t, pids, 5)
			all = append(all, conn.link.(*process).cmd.Process.Pid)
			c.end(t, conn)
			for _, pid := range all {
				ended(t, pid)
			}
			shut(t, conn)
		})
	}
}

func TestAProcessEndsWithItsGuard(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	conn, err := Dial(t.Context(), guarded(legacyShell(strings.ReplaceAll(`echo $$ >>PIDS; `+deaf+hello+`cat >/dev/null`, "PIDS", pids))))
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, conn)
	all := pidsIn(t, pids, 3)
	if err := conn.link.(*process).cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range all {
		ended(t, pid)
	}
	if _, err := conn.Do(t.Context(), &exchange.Request{Method: "tools/list"}, nil); jackfield.CodeOf(err) != jackfield.Unavailable {
		t.Errorf("got %v", err)
	}
}

func TestAGuardSaysHowTheProcessEnded(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("\x7fELF"), 0o700); err != nil {
		t.Fatal(err)
	}
	for script, says := range map[string]string{
		`echo "no key" >&2; exit 3`: "exit status 3); its last words: no key",
		`kill -9 $$`:                "signal: killed",
		`kill -TERM $$; sleep 1000`: "exit status 143",
		`kill -SEGV $$; sleep 1000`: "exit status 139",
		`exec ` + text:              "exit status 126",
	} {
		j, e := refused(t, guarded(shell(script)))
		if e.Stage != StageSpawn || !strings.Contains(j.Message, says) {
			t.Errorf("%s: %v: %s", script, e.Stage, j.Message)
		}
	}
	o := guarded(shell(""))
	o.Endpoint.Command, o.Endpoint.Args = text, nil
	j, _ := refused(t, o)
	if !strings.Contains(j.Message, "cannot start") || !strings.Contains(j.Message, "exec format error") {
		t.Errorf("got %s", j.Message)
	}
}

func TestAGuardSpeaksToNobody(t *testing.T) {
	d := patch(t, upstreamtest.New(t, everyKind["legacy process"]), func(o *Options) { o.Guard = ourGuard })
	d.call(t, "echo", `{}`)
	_, err := d.Do(t.Context(), tool(t, d.Conn, "exit", `{"code":4,"text":"out of memory"}`), nil)
	if !strings.Contains(fmt.Sprint(err), "exit status 4") || !strings.Contains(fmt.Sprint(err), "out of memory") {
		t.Errorf("got %v", err)
	}
}

func TestAProcessHasTheLimitsOfItsDefinition(t *testing.T) {
	o := guarded(legacyShell(hello + `read l; id=${l#*'"id":'}; echo '{"jsonrpc":"2.0","id":'${id%%,*}',"result":{"files":"'$(ulimit -Sn) $(ulimit -Hn)'","data":"'$(ulimit -Hd)'"}}'; cat >/dev/null`))
	o.Endpoint.Limits = jackfield.ProcessLimits{Memory: 64 << 20, Files: 77, Processes: 100_000}
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, c)
	res, err := c.Do(t.Context(), &exchange.Request{Method: "tools/list"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(res.Raw), `{"files":"77 77","data":"65536"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLimitsThatNobodyWouldSetStartNothing(t *testing.T) {
	o := shell("exit 0")
	o.Endpoint.Limits.Files = 10
	if j, e := refused(t, o); j.Code != jackfield.Invalid || e.Temporary || !strings.Contains(j.Message, "guard") {
		t.Errorf("got %v, %+v: %s", j.Code, e, j.Message)
	}
}

// TestAProcessWithoutAGuardEndsWithTheGateway is about the process alone: of what
// it started, only a guard knows.
func TestAProcessWithoutAGuardEndsWithTheGateway(t *testing.T) {
	c, err := Dial(t.Context(), legacyShell(hello+`cat >/dev/null`))
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, c)
	if got := c.link.(*process).cmd.SysProcAttr.Pdeathsig; got != syscall.SIGKILL {
		t.Errorf("the signal of our end is %v", got)
	}
}

// Whoever waits for a process that does not answer is told when its time is up, and
// not when it has ended as well, which it has no reason to take its time for.
func TestAProcessThatNeverServedIsAskedToEndAtOnce(t *testing.T) {
	for _, guarded := range []bool{false, true} {
		o := legacyShell(`sleep 1000`)
		o.InitTimeout = time.Second
		if guarded {
			o.Guard = ourGuard
		}
		begun := time.Now()
		_, d := refused(t, o)
		if took := time.Since(begun); took >= o.InitTimeout+stopGrace || d.Stage != StageInitialize {
			t.Errorf("guarded %v: %v after %v", guarded, d, took)
		}
	}
}
