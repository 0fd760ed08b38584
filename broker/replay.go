package broker

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
)

// maxLosses is how many losses are kept that nobody was told of.
const maxLosses = 4096

// losses are connections that were lost with what earlier calls had left at their
// servers, until a caller is told.
type losses struct {
	n atomic.Int64 // so that calls need not look while there are none

	mu  sync.Mutex // protects what follows
	all lru[pool.Key, error]
}

func (l *losses) add(k pool.Key, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.put(k, why, maxLosses)
	l.n.Store(int64(len(l.all.at)))
}

// take returns why the connection of k was lost, once; nil: it was not.
func (l *losses) take(k pool.Key) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	why, ok := l.all.get(k)
	if !ok {
		return nil
	}
	l.all.remove(k)
	l.n.Store(int64(len(l.all.at)))
	return why
}

// forget drops what is known of a session that is over.
func (l *losses) forget(session string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.all.at {
		if sessionOf(k) == session {
			l.all.remove(k)
		}
	}
	l.n.Store(int64(len(l.all.at)))
}

// Lost takes the news that the connection of key ended by itself, and with it what
// its server knew of earlier calls. Where the connection was somebody's own, the
// first call after it is told, unless the definition says that calls are to go on.
func (b *Broker) Lost(key pool.Key, why error) {
	own := sessionOf(key) != "" || key.Isolation.ID == "" && key.Scope != jackfield.App()
	if s, ok := b.server(key.Server); own && ok && s.Usage.OnSessionLoss != jackfield.LossReplay {
		b.losses.add(key, why)
	}
}

// bereft is the error for the first call after a loss, which is not sent; nil: there
// was none, or the method asks for nothing that could be missed.
func (q *query) bereft(s *jackfield.Server, lease pool.Lease[Conn]) error {
	if q.b.losses.n.Load() == 0 {
		return nil
	}
	switch q.r.Method {
	case "completion/complete", "resources/subscribe", "resources/unsubscribe":
		return nil
	}
	why := q.b.losses.take(lease.Key())
	if why == nil {
		return nil
	}
	f := jackfield.Failure{Kind: jackfield.FailureSession, Stage: "call", Err: why}
	cause := strings.TrimPrefix(why.Error(), fmt.Sprintf("server %q: ", s.Name))
	if known := jackfield.FailureOf(why); known != nil && known.Kind == jackfield.FailureSession {
		cause = "it was restarted, or cleaned up"
	}
	f.Message = fmt.Sprintf("server %q forgot its session, and what earlier calls left there (logins, open pages, choices) is gone: %s; "+
		"this call was not sent: call again, and it goes to a new session", s.Name, cause)
	return &jackfield.Error{Code: jackfield.Unavailable, Message: f.Message, Err: &f}
}

// told is the error of a call that ended with its connection. It tells of the loss as
// well, so that the next call need not.
func (q *query) told(key pool.Key, err error) error {
	if q.b.losses.n.Load() == 0 || q.b.losses.take(key) == nil {
		return err
	}
	return &jackfield.Error{
		Code:    jackfield.CodeOf(err),
		Message: err.Error() + "; what earlier calls left there is gone too, and the next call begins a new session",
		Err:     err,
	}
}

// again reports whether a request that failed with err may be sent once more: the
// server never got it, or the connection ended before the answer and twice does no
// more than once. What the client was asked something about is not begun anew.
func (q *query) again(k *clock, err error) bool {
	if jackfield.CodeOf(err) != jackfield.Unavailable {
		return false
	}
	if notSent(err) {
		return true
	}
	if max(q.r.Effect, exchange.EffectOf(q.r.Method)) == exchange.EffectUnknown || k.wasAsked() {
		return false
	}
	f := jackfield.FailureOf(err)
	if f == nil {
		return false
	}
	switch f.Kind { //nolint:exhaustive // all others are answers, or would come again
	case jackfield.FailureBroken, jackfield.FailureExited, jackfield.FailureSession:
		return true
	}
	return false
}

// notSent reports whether err proves that the server never got the request.
func notSent(err error) bool {
	var e interface{ NotSent() bool }
	return errors.As(err, &e) && e.NotSent()
}
