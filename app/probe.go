package app

import (
	"context"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/upstream"
)

// Finding is what Probe found out about one server.
type Finding struct {
	Era       string             // modern or legacy; empty when it was not reached
	Version   string             // the protocol revision
	Transport string             // as it was found to be
	Tools     int                // that it lists; -1: it could not list them
	Took      time.Duration      // until it was connected, or was not
	Failure   *jackfield.Failure // why not; nil: it answered
}

// hangUpWithin is how long a probed server's session, or its program, gets to end.
const hangUpWithin = 5 * time.Second

// Probe connects to a server as a gateway of o would, asks it what it lists and hangs
// up. It needs no gateway that runs, and disturbs none.
func Probe(ctx context.Context, o Options, s jackfield.Server) Finding {
	out, err := wayOut(o.Config.Egress)
	if err != nil {
		return Finding{Failure: whyNot(err)}
	}
	defer out.CloseIdle()
	wait := s.Usage.InitTimeout
	if wait == 0 {
		wait = o.Config.Limits.Connect
	}
	began := time.Now()
	conn, err := upstream.Dial(ctx, upstream.Options{
		Name: s.Name, Endpoint: s.Endpoint, Client: out.For(s), Guard: o.Guard, InitTimeout: wait,
		Limits: upstream.Limits{Message: int(o.Config.Limits.Message)},
	})
	found := Finding{Took: time.Since(began)}
	if err != nil {
		found.Failure = whyNot(err)
		return found
	}
	defer func() {
		polite, cancel := context.WithTimeout(context.WithoutCancel(ctx), hangUpWithin)
		defer cancel()
		_ = conn.Close(polite) // what was asked for is here
	}()
	shape := conn.Shape()
	found.Era, found.Version, found.Transport, found.Tools = "legacy", shape.Version, shape.Transport, -1
	if shape.Modern() {
		found.Era = "modern"
	}
	if list, err := conn.List(ctx, "tools/list"); err == nil {
		found.Tools = len(list.Items)
	}
	return found
}

// whyNot is the failure that err is.
func whyNot(err error) *jackfield.Failure {
	if f := jackfield.FailureOf(err); f != nil {
		return f
	}
	return &jackfield.Failure{Kind: jackfield.FailureOther, Message: err.Error(), Err: err}
}
