package pool

import (
	"context"
	"sync"
	"testing"

	"github.com/jackfield-dev/jackfield"
)

type nilConn struct{}

func (*nilConn) Err() error                  { return nil }
func (*nilConn) Close(context.Context) error { return nil }
func (*nilConn) Abort(error)                 {}

func TestSmoke(t *testing.T) {
	n := 0
	p := New(Options[*nilConn]{Dial: func(context.Context, Key, jackfield.Versions) (*nilConn, error) { n++; return &nilConn{}, nil }})
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			l, err := p.Acquire(t.Context(), Key{Server: "a"}, jackfield.Versions{})
			if err != nil {
				t.Error(err)
			}
			l.Release()
		})
	}
	wg.Wait()
	if err := p.Close(t.Context()); err != nil || n != 1 {
		t.Fatal(err, n)
	}
}

func BenchmarkAcquireHit(b *testing.B) {
	p := New(Options[*nilConn]{Dial: func(context.Context, Key, jackfield.Versions) (*nilConn, error) { return &nilConn{}, nil }})
	k := Key{Server: "everything", Scope: jackfield.User("ann"), Isolation: Isolation{ID: "session:abcdefgh", Caps: `{"sampling":{}}`}}
	l, _ := p.Acquire(b.Context(), k, jackfield.Versions{})
	l.Release()
	b.ReportAllocs()
	for b.Loop() {
		l, _ := p.Acquire(b.Context(), k, jackfield.Versions{})
		l.Release()
	}
}
