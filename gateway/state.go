package gateway

import (
	"encoding/binary"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/wire"
)

// binding is what a request state is good for: one principal's retry of one
// request, for some time. The server's own state travels inside. It is on the
// client's side between the rounds, so any replica takes it, and it may be sent
// more than once.
type binding struct {
	subject string
	only    string // server path
	method  string
	digest  wire.Digest // of the params, see bindingOf
	expires time.Time
}

const stateVersion = 1

// bindingOf binds to x's request. raw are its params as they came.
func (x *inbound) bindingOf(raw wire.Raw) (binding, error) {
	digest, err := wire.DigestObject(raw, "_meta", "inputResponses", "requestState")
	return binding{
		subject: x.who.Subject, only: x.only, method: x.msg.Method, digest: digest,
		expires: time.Now().Add(x.opts.Timing.State),
	}, err
}

// sealState wraps the server's state, a JSON string, into ours.
func (h *Handler) sealState(b binding, state wire.Raw) wire.Raw {
	plain := []byte{stateVersion}
	plain = binary.BigEndian.AppendUint64(plain, uint64(b.expires.Unix()))
	plain = append(plain, b.digest[:]...)
	plain = appendText(plain, b.subject)
	plain = appendText(plain, b.only)
	plain = appendText(plain, b.method)
	plain = append(plain, state...)
	return wire.AppendString(nil, h.states.seal(plain))
}

// openState unwraps the state of a retry that is bound to b. It fails for one
// that was not made here, for another request or another principal, or too long
// ago.
func (h *Handler) openState(b binding, raw wire.Raw) (wire.Raw, error) {
	text, ok := wire.String(raw)
	if !ok {
		return nil, jackfield.Errorf(jackfield.Invalid, "requestState must be a string, exactly as it was given")
	}
	plain, err := h.states.open(text)
	if err != nil || len(plain) < 9+len(b.digest) || plain[0] != stateVersion {
		return nil, jackfield.Errorf(jackfield.Invalid, "this requestState was not made here or was changed; send the request again without it")
	}
	expires := time.Unix(int64(binary.BigEndian.Uint64(plain[1:])), 0)
	digest, rest := wire.Digest(plain[9:9+len(b.digest)]), plain[9+len(b.digest):]
	var subject, only, method string
	for _, field := range []*string{&subject, &only, &method} {
		if *field, rest, ok = cutText(rest); !ok {
			return nil, jackfield.Errorf(jackfield.Invalid, "this requestState is of another form; send the request again without it")
		}
	}
	switch {
	case subject != b.subject || only != b.only:
		return nil, jackfield.Errorf(jackfield.Invalid, "this requestState was given to somebody else or by another endpoint; send the request again without it")
	case method != b.method || digest != b.digest:
		return nil, jackfield.Errorf(jackfield.Invalid, "this requestState belongs to another request: a retry must repeat the params unchanged")
	case !time.Now().Before(expires):
		return nil, jackfield.Errorf(jackfield.Invalid, "this requestState has expired; send the request again without it")
	}
	return wire.Raw(rest), nil
}
