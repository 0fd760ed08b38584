package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A gateway that is killed under load leaves nothing behind: not the shells that
// launched its servers, nor Node behind them, which hears neither SIGTERM nor the
// end of its input.

const deafNode = `process.on("SIGTERM", () => {}); setInterval(() => {}, 1e6); await import(process.argv[1])`

// echo calls the tool of that name through the gateway.
func echo(base, server, text string) error {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":%q},`+
		`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`, text)
	req, err := http.NewRequest(http.MethodPost, base+"/mcp/"+server, strings.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "echo",
	} {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && !bytes.Contains(answer, []byte(text)) {
		err = fmt.Errorf("%s", answer)
	}
	return err
}

func TestOfAKilledGatewayNothingIsLeftAndTheNextOneServesEverything(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	behind := servers{}
	for name, launch := range map[string]string{
		"plain": `"$0" "$@" <&3 & wait`, "apart": `setsid "$0" "$@" <&3 & wait`, "deep": `(trap "" TERM HUP; "$0" "$@" <&3 & wait) & wait`,
	} {
		s := stdioServer("sh", "-c", "exec 3<&0; "+launch, node, "--input-type=module", "-e", deafNode,
			filepath.Join(npm, "node_modules/@modelcontextprotocol/server-everything/dist/index.js"))
		s["env"] = map[string]string{"E2E_MARK": mark}
		behind[name] = s
	}
	text, err := json.Marshal(map[string]any{"mcpServers": behind})
	if err != nil {
		t.Fatal(err)
	}
	config, data := filepath.Join(t.TempDir(), "jackfield.json"), t.TempDir()
	if err = os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	g := &gateway{base: fmt.Sprintf("http://127.0.0.1:%d", port), data: data}
	cmd := exec.Command(jackfieldBin, "serve", "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--data", data, "--config", config)
	cmd.Env = cleanEnv("HOME=" + t.TempDir())
	g.process = start(t, "the gateway to kill", cmd)
	g.waitFor(t, "jackfield serve", func() bool { return listening(port) })
	for name := range behind {
		g.waitForListing(t, name)
	}
	tools := strings.Count(g.cli(t, "tools"), "\n")

	var calls atomic.Int64
	var load sync.WaitGroup
	for i := range 6 {
		load.Go(func() {
			for n := 0; ; n++ {
				if err := echo(g.base, []string{"plain", "apart", "deep"}[i%3], fmt.Sprint("call ", i, n)); err != nil {
					return
				}
				calls.Add(1)
			}
		})
	}
	g.waitFor(t, "load", func() bool { return calls.Load() > 200 })
	before := marked(t, mark)
	_ = g.cmd.Process.Kill()
	killed := time.Now()
	<-g.exited
	left := marked(t, mark)
	for len(left) > 0 && time.Since(killed) < 3*time.Second {
		time.Sleep(10 * time.Millisecond)
		left = marked(t, mark)
	}
	took := time.Since(killed)
	load.Wait()
	if len(before) < 3*len(behind) || len(left) > 0 {
		t.Errorf("%d processes before, %d are left after %v: %q", len(before), len(left), took, left)
	}

	begun := time.Now()
	next := serveWith(t, "--config", config, "--data", data)
	next.data = data
	if n := strings.Count(next.cli(t, "tools"), "\n"); n != tools {
		t.Errorf("the next start lists %d lines of tools, not %d", n, tools)
	}
	listed := time.Since(begun)
	for name := range behind {
		if err := echo(next.base, name, "again"); err != nil {
			t.Errorf("%s after the next start: %v", name, err)
		}
	}
	shown(t, "kill -9 under load: %d processes of 3 servers gone within %v; the next start listed everything after %v",
		len(before), took.Round(10*time.Millisecond), listed.Round(10*time.Millisecond))
}
