package gateway

import (
	"encoding/binary"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// binding is what a request state is good for: one principal's retry of one
// request, for some time.
type binding struct {
	subject string
	only    string // server path
	method  string
	digest  wire.Digest // of the params, see bindingOf
	expires time.Time
}

// stateKind is what a request state holds besides its binding. Its values stand in
// states that clients hold: they keep their meaning.
type stateKind byte

const (
	relayedState stateKind = 1 // a server and its own state: any replica takes it, as often as it comes
	parkedState  stateKind = 2 // where the exchange is parked, see ticket
	openState    stateKind = 3 // nothing: the user has to open an address first
)

// bindingOf binds to x's request. raw are its params as they came.
func (x *inbound) bindingOf(raw wire.Raw) (binding, error) {
	digest, err := wire.DigestObject(raw, "_meta", "inputResponses", "requestState")
	return binding{
		subject: x.who.Subject, only: x.only, method: x.msg.Method, digest: digest,
		expires: time.Now().Add(x.opts.Timing.State),
	}, err
}

// sealState makes a request state of what stands inside.
func (h *Handler) sealState(b binding, kind stateKind, inside []byte) wire.Raw {
	plain := []byte{byte(kind)}
	plain = binary.BigEndian.AppendUint64(plain, uint64(b.expires.Unix()))
	plain = append(plain, b.digest[:]...)
	plain = appendText(plain, b.subject)
	plain = appendText(plain, b.only)
	plain = appendText(plain, b.method)
	plain = append(plain, inside...)
	return wire.AppendString(nil, h.states.seal(plain))
}

// unsealState opens the state of a retry that is bound to b. It fails for one that
// was not made here, for another request or another principal, or too long ago.
func (h *Handler) unsealState(b binding, raw wire.Raw) (kind stateKind, inside []byte, err error) {
	text, ok := wire.String(raw)
	if !ok {
		return 0, nil, jackfield.Errorf(jackfield.Invalid, "requestState must be a string, exactly as it was given")
	}
	plain, err := h.states.open(text)
	if err != nil || len(plain) < 9+len(b.digest) {
		return 0, nil, jackfield.Errorf(jackfield.Invalid, "this requestState was not made here or was changed; send the request again without it")
	}
	expires := time.Unix(int64(binary.BigEndian.Uint64(plain[1:])), 0)
	digest, rest := wire.Digest(plain[9:9+len(b.digest)]), plain[9+len(b.digest):]
	var subject, only, method string
	for _, field := range []*string{&subject, &only, &method} {
		if *field, rest, ok = cutText(rest); !ok {
			return 0, nil, jackfield.Errorf(jackfield.Invalid, "this requestState is of another form; send the request again without it")
		}
	}
	switch {
	case plain[0] < byte(relayedState) || plain[0] > byte(openState):
		return 0, nil, jackfield.Errorf(jackfield.Invalid, "this requestState is of another form; send the request again without it")
	case subject != b.subject || only != b.only:
		return 0, nil, jackfield.Errorf(jackfield.Invalid, "this requestState was given to somebody else or by another endpoint; send the request again without it")
	case method != b.method || digest != b.digest:
		return 0, nil, jackfield.Errorf(jackfield.Invalid, "this requestState belongs to another request: a retry must repeat the params unchanged")
	case !time.Now().Before(expires):
		return 0, nil, jackfield.Errorf(jackfield.Invalid, "this requestState has expired; send the request again without it")
	}
	return stateKind(plain[0]), rest, nil
}
