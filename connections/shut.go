package connections

import (
	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/pool"
)

// shut says that a server lets nobody in with the credentials of a scope, or that the
// scope has none.
type shut struct {
	versions jackfield.Versions // of what was tried
	err      error
}

const shutMax = 4096

// classify sees to it that what only a person can end is not tried by anybody else.
func classify(f func(error) pool.Failure) func(error) pool.Failure {
	return func(err error) pool.Failure {
		out := pool.Failure{Failure: jackfield.Failure{Stage: "dial"}, Temporary: true, DialStage: true}
		if f != nil {
			out = f(err)
		}
		if jackfield.CodeOf(err) != jackfield.AuthRequired {
			return out
		}
		if known := jackfield.FailureOf(err); known != nil && f == nil {
			out.Failure = *known
		}
		out.Kind, out.Temporary, out.DialStage = jackfield.FailureAuth, false, false
		return out
	}
}

// refuse remembers that only a person can open the door that the call stands at.
func (b *Board[C]) refuse(c *call, err error) {
	f := jackfield.FailureOf(err)
	if jackfield.CodeOf(err) != jackfield.AuthRequired || f == nil || f.Since.IsZero() || !f.Next.IsZero() {
		return // not the pool's word on a dial
	}
	at := site{c.server, c.wide}
	b.mu.Lock()
	defer b.mu.Unlock()
	if was, ok := b.shut[at]; ok && !was.versions.Older(c.versions) || b.resets != c.resets {
		return
	}
	for k := range b.shut {
		if len(b.shut) < shutMax {
			break
		}
		delete(b.shut, k) // it is only a memory
	}
	b.shut[at] = shut{c.versions, err}
}

// refused is why the call is not let in anywhere; nil: nobody knows.
func (b *Board[C]) refused(c *call) error {
	at := site{c.server, c.wide}
	b.mu.Lock()
	defer b.mu.Unlock()
	c.resets = b.resets
	was, ok := b.shut[at]
	if !ok {
		return nil
	}
	if was.versions.Older(c.versions) {
		delete(b.shut, at)
		return nil
	}
	return was.err
}

// forgive forgets what matches.
func (b *Board[C]) forgive(match func(pool.Key) bool) {
	b.mu.Lock()
	b.resets++
	var all []site
	for at := range b.shut {
		all = append(all, at)
	}
	b.mu.Unlock()
	for _, at := range all {
		if match(pool.Key{Server: at.server, Scope: at.scope}) {
			b.mu.Lock()
			delete(b.shut, at)
			b.mu.Unlock()
		}
	}
}
