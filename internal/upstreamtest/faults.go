package upstreamtest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield/wire"
)

// FaultyWords are words that a server knows whose Script.Tools lists them:
//
//	twice {text}     answers, and once more with another text
//	stranger {text}  answers a request that nobody sent, and never the one that was
//	late {ms}        answers after that time, whether or not the call was cancelled
//	stall {}         says a little, and then nothing more
//	last {}          ends the connection or the process after its answer
func FaultyWords() []string { return []string{"twice", "stranger", "late", "stall", "last"} }

func (s *Server) faulty(ctx context.Context, t *turn, name string, a arguments) []byte {
	switch name {
	case "twice":
		t.send(t.text(a.Text))
		return t.text("not " + a.Text)
	case "stranger":
		t.send(wire.AppendResult(nil, wire.Raw(`"nobody"`), wire.Raw(`{"content":[],"resultType":"complete"}`)))
		return t.silence(ctx)
	case "late":
		wait(s.life, max(a.MS, 1)) // whatever the client does
		s.count("late")
		return t.text("late")
	case "stall":
		t.notify("notifications/message", `{"level":"info","data":"a little"}`)
		return t.silence(ctx)
	case "last":
		t.send(t.text("last"))
		t.drop()
		return nil
	}
	return t.text(name)
}

// silence is no answer, for as long as somebody waits for one.
func (t *turn) silence(ctx context.Context) []byte {
	select {
	case <-ctx.Done():
	case <-t.s.life.Done():
	}
	return nil
}

// Enormous is an HTTP answer of JSON that never ends within the bytes given.
func Enormous(n int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		enormous(w, n)
	}
}

func enormous(w io.Writer, n int) {
	chunk := []byte(strings.Repeat("x", 64<<10))
	if _, err := io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"text":"`); err != nil {
		return
	}
	for ; n > 0; n -= len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
	_, _ = io.WriteString(w, "\"}}\n")
}

// GzipBomb is an HTTP answer of a few kilobytes that unpack to n bytes of JSON,
// whether or not the client takes gzip.
func GzipBomb(n int) func(http.ResponseWriter, *http.Request) {
	pack := sync.OnceValue(func() []byte {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		enormous(z, n)
		_ = z.Close() // it writes to memory
		return packed.Bytes()
	})
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(pack())
	}
}

// Drip is an HTTP answer of which one byte comes at a time, that far apart.
func Drip(apart time.Duration) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		tick := time.NewTicker(apart)
		defer tick.Stop()
		for _, b := range []byte(`{"jsonrpc":"2.0","id":1,"result":{` + strings.Repeat(" ", 1<<20)) {
			if _, err := w.Write([]byte{b}); err != nil {
				return
			}
			flush(w)
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	}
}

// The names of what Misbehave does in the place of a server over stdio.
const (
	EnormousLine = "enormous" // a line of 100 MB for each message
	DrippedLine  = "drip"     // one byte every 100 ms
)

const misbehaviourVariable = "JACKFIELD_UPSTREAMTEST_FAULT"

// Misbehaviour is the environment of a process that misbehaves instead of being a
// server.
func Misbehaviour(name string) string { return misbehaviourVariable + "=" + name }

// misbehaveAsChild does what this process was started for, if it is that.
func misbehaveAsChild() {
	switch name := os.Getenv(misbehaviourVariable); name {
	case "":
		return
	case EnormousLine:
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			enormous(os.Stdout, 100<<20)
		}
	case DrippedLine:
		for range time.Tick(100 * time.Millisecond) {
			if _, err := os.Stdout.Write([]byte("{")); err != nil {
				os.Exit(1)
			}
		}
	default:
		fmt.Fprintln(os.Stderr, "upstreamtest: no misbehaviour is called", name)
		os.Exit(2)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}
