package pool

import (
	"context"
	"testing"

	"github.com/jackfield-dev/jackfield"
)

type nilConn struct{}

func (*nilConn) Err() error                  { return nil }
func (*nilConn) Close(context.Context) error { return nil }
func (*nilConn) Abort(error)                 {}

var warmKey = Key{
	Server:    "everything",
	Scope:     jackfield.User("ann"),
	Isolation: Isolation{ID: "session:0123456789abcdef", Caps: `{"elicitation":{},"sampling":{}}`},
}

func warm(tb testing.TB) *Pool[*nilConn] {
	p := New(Options[*nilConn]{Dial: func(context.Context, Key, jackfield.Versions) (*nilConn, error) { return &nilConn{}, nil }})
	l, err := p.Acquire(tb.Context(), warmKey, jackfield.Versions{})
	if err != nil {
		tb.Fatal(err)
	}
	l.Release()
	return p
}

func TestAWarmAcquireAllocatesNothing(t *testing.T) {
	p := warm(t)
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() {
		l, _ := p.Acquire(ctx, warmKey, jackfield.Versions{})
		l.Release()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkAcquire is Acquire alone, without the Release that follows it elsewhere.
func BenchmarkAcquire(b *testing.B) {
	p := warm(b)
	ctx := b.Context()
	var leases [1000]Lease[*nilConn]
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(leases) {
		for i := range leases {
			leases[i], _ = p.Acquire(ctx, warmKey, jackfield.Versions{})
		}
		b.StopTimer()
		for _, l := range leases {
			l.Release()
		}
		b.StartTimer()
	}
}

// BenchmarkAcquireHit takes an idle connection and gives it back: two looks at the
// clock are in it.
func BenchmarkAcquireHit(b *testing.B) {
	p := warm(b)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		l, _ := p.Acquire(ctx, warmKey, jackfield.Versions{})
		l.Release()
	}
}

// BenchmarkAcquireShared joins a connection that somebody else uses.
func BenchmarkAcquireShared(b *testing.B) {
	p := warm(b)
	ctx := b.Context()
	other, _ := p.Acquire(ctx, warmKey, jackfield.Versions{})
	defer other.Release()
	b.ReportAllocs()
	for b.Loop() {
		l, _ := p.Acquire(ctx, warmKey, jackfield.Versions{})
		l.Release()
	}
}

// BenchmarkAcquireContended is Hit from all processors at once.
func BenchmarkAcquireContended(b *testing.B) {
	p := warm(b)
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l, _ := p.Acquire(ctx, warmKey, jackfield.Versions{})
			l.Release()
		}
	})
}
