package upstreamtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/jackfield-dev/jackfield/wire"
)

const childVariable = "JACKFIELD_UPSTREAMTEST"

func msToDuration(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }

// RunAsChild plays the server over stdio, and does not return, when this process
// was started for that. It belongs at the beginning of TestMain.
func RunAsChild() {
	misbehaveAsChild()
	text := os.Getenv(childVariable)
	if text == "" {
		return
	}
	var script Script
	if err := json.Unmarshal([]byte(text), &script); err != nil {
		fmt.Fprintln(os.Stderr, "upstreamtest:", err)
		os.Exit(2)
	}
	os.Exit(newServer(script).serveStdio())
}

// child is a server over stdio.
type child struct {
	*Server
	sess *session

	mu sync.Mutex // held while a line is written
}

func (s *Server) serveStdio() (code int) {
	s.count("process")
	if s.script.Stubborn {
		signal.Ignore(syscall.SIGTERM)
	}
	c := &child{Server: s, sess: newSession("stdio")}
	if s.script.Era == Legacy || s.script.Era == Sessionless {
		defer s.listen(c.stdout())()
	}
	var work sync.WaitGroup
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		m, err := wire.Parse(bytes.Clone(in.Bytes()))
		if err != nil {
			c.write(wire.AppendError(nil, nil, &wire.Error{Code: wire.CodeParse, Message: err.Error()}))
			continue
		}
		if m.Kind != wire.Request {
			c.sess.take(s, m)
			continue
		}
		s.count(m.Method)
		if f, ok := s.takeFault(m.Method); ok {
			if f.Drop {
				fmt.Fprintln(os.Stderr, f.Body)
				return max(f.Status, 1)
			}
			if f.Body != "" {
				c.write([]byte(f.Body))
			}
			continue
		}
		if c.refuses(m) {
			if s.script.Delicate {
				fmt.Fprintln(os.Stderr, "expected initialize")
				return 1
			}
			continue
		}
		work.Go(func() { c.answer(m) })
	}
	if s.script.Stubborn {
		select {}
	}
	s.count("exit")
	return 0
}

// refuses answers what a server of the other era asks for.
func (c *child) refuses(m wire.Message) bool {
	modern := metaOf(orNull(m.Params)).Version != "" || m.Method == "subscriptions/listen"
	switch era := c.era(); {
	case modern && (era == Legacy || era == Sessionless):
		if !c.script.Asleep && !c.script.Delicate {
			c.write(wire.AppendError(nil, m.ID, &wire.Error{Code: wire.CodeMethodNotFound, Message: "Method not found"}))
		}
		return true
	case !modern && era == Modern:
		c.write(wire.AppendError(nil, m.ID, &wire.Error{
			Code: wire.CodeUnsupportedVersion, Message: "Unsupported protocol version", Data: wire.Raw(`{"supported":["2026-07-28"]}`),
		}))
		return true
	}
	return false
}

func (c *child) answer(m wire.Message) {
	said := metaOf(orNull(m.Params))
	ctx, end := c.sess.begin(context.Background(), string(m.ID))
	defer end()
	if m.Method == "subscriptions/listen" {
		l, ack := newSubscription(m)
		defer c.listen(l)()
		c.write(ack)
		for {
			select {
			case message := <-l.queue:
				c.write(message)
			case <-ctx.Done():
				return
			}
		}
	}
	t := &turn{s: c.Server, sess: c.sess, modern: said.Version != "", m: m, meta: said, send: c.write}
	t.drop = func() { os.Exit(1) }
	t.raw = func(_ int, f Fault) { c.write([]byte(f.Body)) }
	text := c.handle(ctx, t)
	if text == nil && m.Method == "tools/call" && ctx.Err() == nil {
		text = t.text("after all") // garbage came before it
	}
	if text != nil {
		c.write(text)
	}
}

// stdout is a listener that writes what it hears.
func (c *child) stdout() *listener {
	l := newListener()
	go func() {
		for message := range l.queue {
			c.write(message)
		}
	}()
	return l
}

func (c *child) write(message []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = os.Stdout.Write(append(bytes.Clone(message), '\n'))
}
