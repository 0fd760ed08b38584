//go:build unix

package upstream

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
	"github.com/jackfield-dev/jackfield/wire"
)

// shell is a server that is a shell script.
func shell(script string) Options {
	return Options{Name: "scripted", Endpoint: jackfield.Endpoint{Transport: jackfield.TransportStdio, Command: "sh", Args: []string{"-c", script}}}
}

// hello is how a shell script gets through initialize.
const hello = `read l; id=${l#*'"id":'}; echo '{"jsonrpc":"2.0","id":'${id%%,*}',"result":{"protocolVersion":"2025-11-25","capabilities":{}}}'; read l; `

// legacyShell is a shell script that begins with initialize.
func legacyShell(script string) Options {
	o := shell(script)
	o.Shape = &exchange.Shape{Transport: "stdio", Version: exchange.V20251125, Session: true}
	return o
}

func TestACommandThatDoesNotRunSaysSo(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		endpoint jackfield.Endpoint
		says     string
	}{
		"unknown command":  {jackfield.Endpoint{Command: "no-such-command-anywhere"}, `the command "no-such-command-anywhere" was not found; install it, or write its full path`},
		"unknown path":     {jackfield.Endpoint{Command: missing}, "no such file or directory"},
		"unknown dir":      {jackfield.Endpoint{Command: "sh", Dir: missing}, "in the directory"},
		"not on its path":  {jackfield.Endpoint{Command: "sh", Env: map[string]jackfield.Secret{"PATH": jackfield.Secret(t.TempDir())}}, `the command "sh" was not found`},
		"not a program":    {jackfield.Endpoint{Command: text}, "permission denied"},
		"an empty command": {jackfield.Endpoint{}, "was not found"},
	} {
		t.Run(name, func(t *testing.T) {
			c.endpoint.Transport = jackfield.TransportStdio
			j, e := refused(t, Options{Name: "scripted", Endpoint: c.endpoint})
			if j.Code != jackfield.Unavailable || e.Stage != StageSpawn || !e.Temporary || !strings.Contains(j.Message, c.says) {
				t.Errorf("got %v, %+v: %s", j.Code, e, j.Message)
			}
		})
	}
}

func TestAProcessThatEndsAtOnceLeavesItsLastWords(t *testing.T) {
	for _, script := range []string{
		`for i in $(seq 30); do echo "line $i" >&2; done; echo "Usage: the key is $KEY" >&2; exit 3`,
		`for i in $(seq 30); do echo "line $i"; done; echo "Usage: the key is $KEY"; exit 3`,
	} {
		o := shell(script)
		o.Endpoint.Env = map[string]jackfield.Secret{"KEY": "sesame-open"}
		j, e := refused(t, o)
		if e.Stage != StageSpawn || !strings.Contains(j.Message, "exit status 3") || !strings.Contains(j.Message, "line 30") || strings.Contains(j.Message, "line 1 ") {
			t.Errorf("got %v: %s", e.Stage, j.Message)
		}
		if strings.Contains(j.Message, "sesame") || !strings.Contains(j.Message, "the key is [redacted]") {
			t.Errorf("the secret shows, or the output is missing: %s", j.Message)
		}
	}
}

func TestAProcessThatEndsInTheMiddleFailsTheCallAndIsNotStartedAgain(t *testing.T) {
	d := patch(t, upstreamtest.New(t, everyKind["legacy process"]))
	_, err := d.Do(t.Context(), tool(t, d.Conn, "exit", `{"code":4,"text":"out of memory"}`), nil)
	if jackfield.CodeOf(err) != jackfield.Unavailable || NotSent(err) || !strings.Contains(err.Error(), "exit status 4") || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("got %v, not sent: %v", err, NotSent(err))
	}
	if d.Err() == nil {
		t.Error("the connection counts as alive")
	}
	if _, err := d.Do(t.Context(), tool(t, d.Conn, "echo", `{}`), nil); !NotSent(err) {
		t.Errorf("got %v", err)
	}
	if d.s.Count("process") != 1 {
		t.Errorf("%d processes", d.s.Count("process"))
	}
}

func TestAProcessEndsWhenItsInputIsClosed(t *testing.T) {
	s := upstreamtest.New(t, everyKind["legacy process"])
	d := &desk{}
	c, err := Dial(t.Context(), d.optionsFor(s))
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	shut(t, c)
	if took := time.Since(begun); took >= stopGrace {
		t.Errorf("took %v", took)
	}
	if s.Count("exit") != 1 {
		t.Error("it did not end by itself")
	}
	if pid := c.link.(*process).cmd.Process.Pid; syscall.Kill(pid, 0) == nil {
		t.Error("it is still there, or was not waited for")
	}
}

func TestAStubbornProcessIsEndedWithAllThatItStarted(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	for name, c := range map[string]struct {
		script string
		atMost time.Duration
	}{
		"deaf to the end of its input": {`sleep 1000 & echo $! >>` + pids + `; echo $$ >>` + pids + `; exec 3<&0; ` + hello + ` while :; do sleep 0.05; done`, 2 * stopGrace},
		"deaf to SIGTERM, too":         {`trap "" TERM; sleep 1000 & echo $! >>` + pids + `; echo $$ >>` + pids + `; ` + hello + ` while :; do sleep 0.05; done`, 3 * stopGrace},
		"gone, but not its child":      {`sleep 1000 & echo $! >>` + pids + `; ` + hello + ` cat >/dev/null`, stopGrace},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := Dial(t.Context(), legacyShell(c.script))
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			shut(t, conn)
			if took := time.Since(begun); took > c.atMost {
				t.Errorf("took %v", took)
			}
		})
	}
	t.Cleanup(func() {
		text, err := os.ReadFile(pids)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var pid int
			if _, err := fmt.Sscan(line, &pid); err != nil {
				t.Fatal(err)
			}
			ended(t, pid)
		}
	})
}

// ended wants a process to be gone, or to be no more than a zombie of init's.
func ended(t *testing.T, pid int) {
	t.Helper()
	for range 100 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
}

func TestAProcessGetsAMinimalEnvironment(t *testing.T) {
	t.Setenv("JACKFIELD_TEST_SECRET", "not yours")
	t.Setenv("LANG", "de_DE.UTF-8")
	o := legacyShell(hello + `read l; id=${l#*'"id":'}; env >&2; echo '{"jsonrpc":"2.0","id":'${id%%,*}',"result":{"dir":"'$PWD'","own":"'$OWN'","lang":"'$LANG'","leak":"'$JACKFIELD_TEST_SECRET'","path":"'$PATH'"}}'`)
	o.Endpoint.Env = map[string]jackfield.Secret{"OWN": "mine", "LANG": "C"}
	o.Endpoint.Dir = t.TempDir()
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, c)
	res, err := c.Do(t.Context(), &exchange.Request{Method: "tools/list"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`{"dir":%q,"own":"mine","lang":"C","leak":"","path":%q}`, o.Endpoint.Dir, os.Getenv("PATH")); string(res.Raw) != want {
		t.Errorf("got %s, want %s", res.Raw, want)
	}
}

func TestWhatIsNoMessageIsPassedOver(t *testing.T) {
	d := patch(t, upstreamtest.New(t, everyKind["legacy process"]))
	for _, text := range []string{"a banner", "{not json", `{"jsonrpc":"1.0"}`, `[1,2]`, `[]`, `{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"?"}}`} {
		quoted := strings.ReplaceAll(text, `"`, `\"`)
		if got := d.call(t, "garbage", `{"text":"`+quoted+`"}`); !strings.Contains(got, "after all") {
			t.Errorf("%s: got %s", text, got)
		}
	}
	if ignored := d.seen(&d.ignored); len(ignored) < 5 {
		t.Errorf("noted %q", ignored)
	}
}

func TestAnAnswerThatCannotBeReadEndsItsCallOnly(t *testing.T) {
	o := legacyShell(hello + `read l; id=${l#*'"id":'}; echo '{"jsonrpc":"2.0","id":'${id%%,*}',"result":{},"result":{}}'; read l; id=${l#*'"id":'}; echo '{"jsonrpc":"2.0","id":'${id%%,*}',"result":{},"error":{"code":1,"message":"x"}}'; read l; id=${l#*'"id":'}; echo '{"jsonrpc":"2.0","id":'${id%%,*}',"result":{}}'`)
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, c)
	if _, err := c.Do(t.Context(), &exchange.Request{Method: "tools/list"}, nil); jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(fmt.Sprint(err), "is not JSON-RPC") {
		t.Errorf("got %v", err)
	}
}

func TestAMessageThatIsTooLongFailsTheOnlyCall(t *testing.T) {
	for _, name := range []string{"legacy process", "modern process"} {
		d := patch(t, upstreamtest.New(t, everyKind[name]), func(o *Options) { o.Limits.Message = 10_000 })
		_, err := d.Do(t.Context(), tool(t, d.Conn, "big", `{"bytes":20000}`), nil)
		if jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(fmt.Sprint(err), "longer than 10000 bytes") {
			t.Errorf("got %v", err)
		}
		d.call(t, "echo", `{}`)
	}
}

func TestAMessageThatIsTooLongEndsTheConnectionWhenNobodyKnowsWhoseItIs(t *testing.T) {
	d := patch(t, upstreamtest.New(t, everyKind["legacy process"]), func(o *Options) { o.Limits.Message = 10_000 })
	other := make(chan error, 1)
	go func() {
		_, err := d.Do(t.Context(), tool(t, d.Conn, "slow", `{}`), nil)
		other <- err
	}()
	d.s.Wait(t, "tool:slow", 1)
	_, err := d.Do(t.Context(), tool(t, d.Conn, "big", `{"bytes":20000}`), nil)
	for _, err := range []error{err, <-other, d.Err()} {
		if !strings.Contains(fmt.Sprint(err), "longer than 10000 bytes") {
			t.Errorf("got %v", err)
		}
	}
}

func TestLineEndsInParamsDoNotBreakTheLine(t *testing.T) {
	d := patch(t, upstreamtest.New(t, everyKind["legacy process"]))
	params, err := wire.ScanObject(wire.Raw("{\n\t\"name\": \"echo\",\r\n\"arguments\": {\"text\":\n\"a b\"}}"), exchange.ParamKeys)
	if err != nil {
		t.Fatal(err)
	}
	res, err := d.Do(t.Context(), &exchange.Request{Method: "tools/call", Params: params}, nil)
	if err != nil || !strings.Contains(string(res.Raw), "a b") {
		t.Errorf("got %s, %v", res.Raw, err)
	}
}

func TestAProcessThatClosesItsInputIsOfNoUse(t *testing.T) {
	c, err := Dial(t.Context(), legacyShell(hello+`read l; exec <&-; sleep 60`))
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, c)
	for i := 0; ; i++ { // what is written before it closes is lost in silence
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := c.Do(ctx, &exchange.Request{Method: "tools/list"}, nil)
		cancel()
		if c.Err() == nil && i < 300 {
			continue
		}
		if !strings.Contains(fmt.Sprint(c.Err()), "the process closed its input") {
			t.Errorf("%d calls: %v, %v", i, err, c.Err())
		}
		break
	}
	if _, err := c.Do(t.Context(), &exchange.Request{Method: "tools/call"}, nil); !NotSent(err) {
		t.Errorf("a later call: %v", err)
	}
}

func TestAProcessThatClosesItsOutputIsOfNoUse(t *testing.T) {
	c, err := Dial(t.Context(), legacyShell(hello+`exec >&-; cat >/dev/null`))
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, c)
	if _, err := c.Do(t.Context(), &exchange.Request{Method: "tools/list"}, nil); !strings.Contains(fmt.Sprint(err), "the process closed its output") || c.Err() == nil {
		t.Errorf("got %v", err)
	}
}

func TestAProcessThatDoesNotReadHoldsUpNobodyWhoLeaves(t *testing.T) {
	c, err := Dial(t.Context(), legacyShell(hello+`sleep 1000`))
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, c)
	big := `{"name":"x","arguments":{"text":"` + strings.Repeat("x", 1<<20) + `"}}`
	for range 3 {
		params, err := wire.ScanObject(wire.Raw(big), exchange.ParamKeys)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := withTimeout(t, 100*time.Millisecond)
		begun := time.Now()
		if _, err := c.Do(ctx, &exchange.Request{Method: "tools/call", Params: params}, nil); err == nil {
			t.Error("no error")
		}
		cancel()
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
	}
}
