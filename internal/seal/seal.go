package seal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// Keys seal and open. They are safe for use by many goroutines. A nil *Keys is that
// of a gateway which keeps nothing: it seals and opens nothing.
type Keys struct {
	primary uint32
	opens   map[uint32]tink.AEAD // by the id of the master key
	from    string               // where they were read, for people
	made    bool                 // at this start: nothing can be sealed with them yet
}

// newKeys makes what the master keys, of which there is at least one, seal and open
// with.
func newKeys(masters []master, from string) (*Keys, error) {
	k := &Keys{primary: masters[0].id, opens: make(map[uint32]tink.AEAD, len(masters)), from: from}
	for _, m := range masters {
		wrap, err := subtle.NewAESGCM(m.key)
		if err != nil {
			return nil, jackfield.Errorf(jackfield.Internal, "the master key %s cannot be used: %w", KeyID(m.id), err)
		}
		k.opens[m.id] = aead.NewKMSEnvelopeAEAD2(aead.AES256GCMKeyTemplate(), wrap)
	}
	return k, nil
}

// KeyID is the id of a master key as people see it.
func KeyID(id uint32) string { return fmt.Sprintf("%08x", id) }

// Primary is the id of the key that seals.
func (k *Keys) Primary() uint32 { return k.primary }

// Seal implements record.Sealer.
func (k *Keys) Seal(bind string, plain []byte) (sealed []byte, key uint32, err error) {
	if k == nil {
		return nil, 0, jackfield.Errorf(jackfield.Unavailable, "this gateway keeps no secrets, because it has no data directory; give it one with --data")
	}
	sealed, err = k.opens[k.primary].Encrypt(plain, []byte(bind))
	if err != nil {
		return nil, 0, jackfield.Errorf(jackfield.Internal, "sealing with the master key %s failed: %w", KeyID(k.primary), err)
	}
	return sealed, k.primary, nil
}

// Open implements record.Sealer. What does not open is an error that says which key
// is missing, or that something was changed.
func (k *Keys) Open(bind string, sealed []byte, key uint32) ([]byte, error) {
	if k == nil {
		return nil, jackfield.Errorf(jackfield.Unavailable, "this gateway has no master key, because it has no data directory; give it one with --data")
	}
	opener, ok := k.opens[key]
	if !ok {
		return nil, jackfield.Errorf(jackfield.Unavailable, "it is sealed with the master key %s, which is not among those of %s; put it back there", KeyID(key), k.from)
	}
	plain, err := opener.Decrypt(sealed, []byte(bind))
	if err != nil {
		return nil, jackfield.Errorf(jackfield.Internal, "what is sealed with the master key %s does not open: it was changed, or moved here from another record; enter it again, or restore a backup", KeyID(key))
	}
	return plain, nil
}

// Check compares the keys with those that stored records are sealed with, given
// with how many records each. The error names the ones that are missing.
func (k *Keys) Check(used map[uint32]int) error {
	var missing []string
	for _, id := range slices.Sorted(maps.Keys(used)) {
		if _, ok := k.opens[id]; !ok && used[id] > 0 {
			missing = append(missing, fmt.Sprintf("%s (%d sealed)", KeyID(id), used[id]))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	what, which := "the master key", "it"
	if len(missing) > 1 {
		what, which = "the master keys", "them"
	}
	remedy := fmt.Sprintf("add %s to %s as a line of its own, behind the first", which, k.from)
	if k.made {
		remedy = fmt.Sprintf("%s was made anew just now, because it was not there: put the one with %s in its place, from where copies of it are kept", k.from, which)
	}
	return jackfield.Errorf(jackfield.Invalid,
		"%s %s: stored secrets cannot be opened without %s, and there %s only %s; %s. Nothing was changed. If %s lost, so is what was sealed, and must be entered again: docs/security.md says how",
		what, strings.Join(missing, ", "), which, plural(len(k.opens), "is", "are"), strings.Join(k.ids(), ", "), remedy, plural(len(missing), "the key is", "the keys are"))
}

func (k *Keys) ids() []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(k.opens)) {
		ids = append(ids, KeyID(id))
	}
	return ids
}

func plural(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

// Sealed are the stored records, as Reseal needs them.
type Sealed interface {
	// SealedWith returns at most max records that are sealed with another key than
	// not.
	SealedWith(ctx context.Context, not uint32, max int) ([]record.Record, error)
	// Reseal replaces the sealed part of a record that has still the same revision,
	// and is a record.Conflict otherwise.
	Reseal(ctx context.Context, r record.Record, sealed []byte, key uint32) error
}

const (
	resealAtOnce = 100
	resealGiveUp = 1000 // records that do not open, after which the rest is left alone
)

// Reseal seals everything with the first key that is sealed with another one, and
// says how many records that were. It can be stopped at any time and begun anew.
// Records that change meanwhile are left to their writers; of those that do not open
// the error tells, after all others were done.
func (k *Keys) Reseal(ctx context.Context, from Sealed) (n int, err error) {
	left := map[record.Ref]uint64{} // revisions of what cannot be done
	var first error
	for progress := true; progress && len(left) < resealGiveUp; {
		progress = false
		records, err := from.SealedWith(ctx, k.primary, resealAtOnce+len(left))
		if err != nil {
			return n, err
		}
		for _, r := range records {
			if revision, known := left[r.Ref]; known && revision == r.Revision {
				continue
			}
			progress = true
			switch err := k.resealOne(ctx, from, r); {
			case err == nil:
				n++
			case ctx.Err() != nil:
				return n, ctx.Err()
			case jackfield.CodeOf(err) == jackfield.Conflict:
				left[r.Ref] = r.Revision
			case errors.As(err, new(*unopened)):
				left[r.Ref] = r.Revision
				first = cmp.Or(first, err)
			default:
				return n, err // the store is away
			}
		}
	}
	return n, first
}

func (k *Keys) resealOne(ctx context.Context, from Sealed, r record.Record) error {
	plain, err := k.Open(r.Bind(), r.Sealed, r.Seal)
	if err != nil {
		return jackfield.Errorf(jackfield.CodeOf(err), "the %s %q is not sealed anew: %w", r.Kind, r.ID, &unopened{err})
	}
	defer clear(plain)
	sealed, key, err := k.Seal(r.Bind(), plain)
	if err != nil {
		return err
	}
	return from.Reseal(ctx, r, sealed, key)
}

// unopened marks what is wrong with one record, and not with the store.
type unopened struct{ error }

func (u *unopened) Unwrap() error { return u.error }
