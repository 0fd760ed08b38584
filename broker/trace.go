package broker

import (
	"context"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// Trace are hooks for metrics and traces, around each request that is for one
// server: from before there is a connection until its answer is here. Each may be
// nil; none may block; they may be called concurrently.
type Trace struct {
	Began func(s *jackfield.Server)
	Again func(s *jackfield.Server) // it is sent once more, on another connection
	// Ended is told the server's own error, if it answered with one, or why there
	// is no answer.
	Ended func(s *jackfield.Server, took time.Duration, answer *wire.Error, err error)
	// Span gives the context that the request is made with, and may edit its params.
	// What it returns is called when the request ended, and undoes that.
	Span func(ctx context.Context, s *jackfield.Server, r *exchange.Request) (context.Context, func(answer *wire.Error, err error))
}

// send does the request on the connection that the caller uses for the server, and
// tells the hooks.
func (q *query) send(ctx context.Context, s *jackfield.Server) (exchange.Result, error) {
	t := q.b.o.Trace
	if t == nil {
		return q.counted(ctx, s)
	}
	var began time.Time
	if t.Ended != nil {
		began = time.Now()
	}
	if t.Began != nil {
		t.Began(s)
	}
	var end func(*wire.Error, error)
	if t.Span != nil {
		ctx, end = t.Span(ctx, s, q.r)
	}
	res, err := q.counted(ctx, s)
	if end != nil {
		end(res.Err, err)
	}
	if t.Ended != nil {
		t.Ended(s, time.Since(began), res.Err, err)
	}
	return res, err
}
