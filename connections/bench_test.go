package connections

import (
	"context"
	"sync"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
)

// BenchmarkGetFrom8 is Repository.Get and Release of connections that are open,
// from 8 goroutines at once, over 8 servers.
func BenchmarkGetFrom8(b *testing.B) {
	const goroutines = 8
	names := [...]string{"a", "b", "c", "d", "e", "f", "g", "h"}
	board := New(Options[*line]{
		Lookup: func(id jackfield.ServerID) (jackfield.Server, bool) {
			return jackfield.Server{ID: id, Name: string(id), Version: 1}, true
		},
		Dial: func(context.Context, jackfield.Server, pool.Key, string) (*line, error) {
			return &line{shape: modern}, nil
		},
		ShapeOf: func(l *line) exchange.Shape { return l.shape },
	})
	r := board.Repository(ann)
	r.GetMany(b.Context(), names[:]...).Release()
	b.ReportAllocs()
	b.ResetTimer()
	var done sync.WaitGroup
	for g := range goroutines {
		done.Go(func() {
			for i := range b.N / goroutines {
				l, err := r.Get(b.Context(), names[(g+i)%len(names)])
				if err != nil {
					b.Error(err)
					return
				}
				l.Release()
			}
		})
	}
	done.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "gets/s")
}
