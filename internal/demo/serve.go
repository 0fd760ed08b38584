package demo

import (
	"bufio"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// Era narrows which protocol revisions a demo server speaks.
type Era string

// The eras. An empty Era means EraBoth.
const (
	EraBoth   Era = "both"
	EraModern Era = "modern" // 2026-07-28 only
	EraLegacy Era = "legacy" // up to 2025-11-25 only
)

// Options change how a demo server behaves; the zero value is the usual one.
type Options struct {
	Era     Era
	Version string // what the server says it is; empty: "dev"
}

// About is what a demo server is, for lists and definitions.
type About struct {
	Name, Title, Description string
}

const (
	maxLine  = 4 << 20         // bytes of one message
	maxOpen  = 256             // requests under way at once
	askFor   = 5 * time.Minute // how long a question to the client may stay open
	endGrace = 2 * time.Second // for calls under way when the input ends
)

var offers = []func() *offer{timeOffer, textOffer, notesOffer}

// Servers lists the demo servers, in the order in which they are shown.
func Servers() []About {
	var all []About
	for _, make := range offers {
		o := make()
		all = append(all, About{Name: o.name, Title: o.title, Description: o.description})
	}
	return all
}

// Serve runs the demo server called name over in and out, one JSON-RPC message a
// line, until in ends, out fails or ctx ends. When in ends, calls under way get
// two seconds to finish and Serve returns nil. When ctx ends first, Serve returns
// its cause at once; a Read that is blocked in in is then left behind, unless in
// can be closed. An unknown name is a NotFound, an unknown era Invalid.
func Serve(ctx context.Context, name string, in io.Reader, out io.Writer, o Options) error {
	switch o.Era {
	case "", EraBoth, EraModern, EraLegacy:
	default:
		return jackfield.Errorf(jackfield.Invalid, "there is no era %q: choose both, modern or legacy", o.Era)
	}
	i := slices.IndexFunc(Servers(), func(a About) bool { return a.Name == name })
	if i < 0 {
		return jackfield.Errorf(jackfield.NotFound, "there is no demo server %q: choose %s", name, nameList())
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := newConn(offers[i](), o)
	lines := make(chan line)
	go readLines(ctx, in, lines)
	written := make(chan struct{})
	go func() {
		defer close(written)
		if err := writeLines(ctx, out, c.out); err != nil {
			cancel(err)
		}
	}()
	err := c.run(ctx, lines)
	if ctx.Err() != nil {
		if closer, ok := in.(io.Closer); ok {
			_ = closer.Close() // best effort: it only wakes the reader
		}
		return context.Cause(ctx)
	}
	close(c.out)
	select {
	case <-written:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return err
}

func nameList() string {
	var names []string
	for _, a := range Servers() {
		names = append(names, a.Name)
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// line is one line of input, or how the input ended.
type line struct {
	text    []byte
	tooLong bool
	err     error // io.EOF or what went wrong; nothing follows
}

// readLines sends each line of in that is not blank, and then the error that
// ended it. A line longer than maxLine is skipped and reported as such.
func readLines(ctx context.Context, in io.Reader, lines chan<- line) {
	r := bufio.NewReaderSize(in, 64<<10)
	var text []byte
	tooLong := false
	for {
		part, err := r.ReadSlice('\n')
		if tooLong = tooLong || len(text)+len(part) > maxLine; !tooLong {
			text = append(text, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if l := (line{text: text, tooLong: tooLong}); tooLong || strings.TrimSpace(string(text)) != "" {
			if !sendLine(ctx, lines, l) {
				return
			}
		}
		if err != nil {
			sendLine(ctx, lines, line{err: err})
			return
		}
		text, tooLong = nil, false
	}
}

func sendLine(ctx context.Context, lines chan<- line, l line) bool {
	select {
	case lines <- l:
		return true
	case <-ctx.Done():
		return false
	}
}

// writeLines writes what comes on the channel until it is closed.
func writeLines(ctx context.Context, out io.Writer, lines <-chan []byte) error {
	for {
		select {
		case l, ok := <-lines:
			if !ok {
				return nil
			}
			if _, err := out.Write(l); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}
