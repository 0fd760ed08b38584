package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The program of examples/embed, as it is, with official clients at its endpoint.
func TestTheEmbeddingExampleServesOfficialClients(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "embed")
	build := exec.Command("go", "build", "-C", path("../examples/embed"), "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	port := freePort(t)
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	cmd := exec.Command(bin, strings.TrimPrefix(base, "http://"))
	cmd.Env = cleanEnv("TMPDIR="+t.TempDir(), "HOME="+t.TempDir(),
		"PATH="+filepath.Dir(jackfieldBin)+string(os.PathListSeparator)+os.Getenv("PATH"))
	p := start(t, "embed", cmd)
	p.waitFor(t, "embed", func() bool { return listening(port) })

	for _, c := range []tsClient{client1, client2Modern} {
		r := c.drive(t, base+"/mcp", false, step{Tool: "text__hash", Args: args{"text": "abc"}}, step{Tool: "time__now"})
		want(t, "tools/list", r.Tools, "text__hash", "time__now")
		answered(t, c.String(), r.Steps, "ba7816bf", "UTC")
	}
	resp, err := http.Get(base + "/now")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(text), "Asia/Tokyo") {
		t.Errorf("its own page: %s: %s", resp.Status, text)
	}
}
