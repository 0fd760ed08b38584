package upstream

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// ending is what a connection keeps for the case that it is lost.
type ending struct {
	used  atomic.Bool // a call was answered that may have left something behind
	told  sync.Once
	spent atomic.Pointer[failure] // why nothing new goes over it
}

// fail declares the connection dead: what is open on it fails.
func (c *Conn) fail(f *failure) {
	c.lose(f)
	c.end(f)
}

// spend declares the connection of no more use: what is open on it may finish, but
// for listening.
func (c *Conn) spend(f *failure) {
	c.lose(f)
	c.ending.spent.CompareAndSwap(nil, f)
	c.ear.hush()
}

// lose tells that the connection is lost, before any call can find out.
func (c *Conn) lose(f *failure) {
	c.ending.told.Do(func() {
		shape := c.shape.Load()
		if h := c.opts.Hooks.Lost; h != nil && shape != nil && c.Err() == nil {
			h(c.opts.callError("", f), c.ending.used.Load() && shape.Session && !shape.Modern())
		}
	})
}

// note notes what an exchange may have left behind at the server.
func (c *Conn) note(x *call, err error) {
	if x.effect != exchange.EffectNone && !c.ending.used.Load() && (err == nil || !NotSent(err)) {
		c.ending.used.Store(true)
	}
}

// hush ends the hearing; whoever listens is told why by the end of the connection.
func (e *ear) hush() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.now != nil {
		e.now.cancel()
	}
}

// untaken are the statuses of an address that takes no such message: whatever it
// was, nothing read it.
var untaken = []int{
	http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusGone,
	http.StatusUnsupportedMediaType, http.StatusMisdirectedRequest, http.StatusUpgradeRequired,
}

// refusedText is what a refusal says, in JSON-RPC or in words.
type refusedText struct {
	id   string // as it stands in the answer; empty: it is no JSON-RPC
	code int
	said string // in lower case
}

func readRefusal(text []byte) refusedText {
	var answer struct {
		ID    wire.Raw `json:"id"`
		Error *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.Error == nil {
		return refusedText{said: strings.ToLower(string(text[:min(len(text), 1<<10)]))}
	}
	return refusedText{id: string(answer.ID), code: answer.Error.Code, said: strings.ToLower(answer.Error.Message)}
}

// mentions reports whether the refusal speaks of a session.
func (r refusedText) mentions() bool {
	return strings.Contains(r.said, "session") || strings.Contains(r.said, "not initialized")
}

// says reports whether the whole refusal is that there is no such session. A tool
// may have sessions of its own to speak of, so nothing else may stand there.
func (r refusedText) says() bool {
	said := strings.Trim(strings.TrimPrefix(strings.TrimPrefix(r.said, "bad request: "), "unauthorized: "), " .!\r\n")
	return slices.Contains([]string{
		"session not found", "session terminated", "session expired", "session has expired", "session does not exist", "unknown session",
		"invalid session", "invalid session id", "no valid session id", "no valid session id provided", "missing session id",
		"server not initialized",
	}, said)
}

// saysOurs reports whether the refusal speaks of the session that we named.
func (r refusedText) saysOurs() bool {
	return r.says() || strings.Contains(r.said, "session id") || strings.Contains(r.said, "session not found")
}

// forgotten reports whether a legacy server's HTTP answer to the request with the id
// key (nil: to something else) says that it does not know our session any more: 404
// in every revision that has sessions, 400 or 401 with a word about it from servers
// that do not follow them, 405 and 406 from those that are about to be something
// else. An answer to the very request says that the server still listens, unless it
// says nothing else; what its tools say of sessions of their own is theirs.
func forgotten(status int, text []byte, key wire.Raw) bool {
	r := readRefusal(text)
	if key != nil && r.id == string(key) && (status != http.StatusNotFound || !isLegacyCode(r.code)) {
		return isLegacyCode(r.code) && r.saysOurs() || isSessionCode(r.code) && r.says()
	}
	switch status {
	case http.StatusNotFound:
		return true
	case http.StatusMethodNotAllowed, http.StatusNotAcceptable:
		return key != nil
	case http.StatusBadRequest:
		switch {
		case r.code == wire.CodeInvalidRequest: // may also be about the request
			return r.saysOurs()
		case r.id == "" && r.code == 0, isLegacyCode(r.code):
			return r.mentions()
		}
	case http.StatusUnauthorized:
		return r.says()
	}
	return false
}

// isSessionCode reports whether servers use code to say that they know no session.
func isSessionCode(code int) bool { return isLegacyCode(code) || code == wire.CodeInvalidRequest }

// forgets reports whether the answer to a request, whatever its HTTP status, is that
// there is no such session.
func (l *httpLink) forgets(e *wire.Error) bool {
	return l.session != "" && isSessionCode(e.Code) && refusedText{said: strings.ToLower(e.Message)}.says()
}
