package seal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

var _ record.Sealer = (*Keys)(nil)

func keys(t testing.TB, letters ...string) *Keys {
	t.Helper()
	var lines []string
	for _, l := range letters {
		lines = append(lines, text(l))
	}
	k, err := Load(Options{Env: strings.Join(lines, "\n")})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWhatWasSealedOpensAsItWasAndNowhereElse(t *testing.T) {
	k := keys(t, "a")
	for _, plain := range [][]byte{nil, []byte("x"), []byte("ghp_0123456789"), bytes.Repeat([]byte("long"), 1<<14)} {
		sealed, id, err := k.Seal("variable\x00user:alice", plain)
		if err != nil || id != k.Primary() {
			t.Fatal(id, err)
		}
		if len(plain) > 4 && bytes.Contains(sealed, plain[:4]) {
			t.Error("it can be read")
		}
		got, err := k.Open("variable\x00user:alice", sealed, id)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes become %d: %v", len(plain), len(got), err)
		}
		if _, err = k.Open("variable\x00user:bob", sealed, id); err == nil || !strings.Contains(err.Error(), "moved here from another record") {
			t.Error("opened for somebody else:", err)
		}
		again, _, err := k.Seal("variable\x00user:alice", plain)
		if err != nil || bytes.Equal(again, sealed) {
			t.Error("the same value is recognised by what it is sealed to", err)
		}
	}
}

func TestNothingOpensThatWasChangedInAnyByte(t *testing.T) {
	k := keys(t, "a", "b")
	sealed, id, err := k.Seal("x", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := k.Open("x", changed, id); err == nil {
			t.Errorf("byte %d may be changed", i)
		}
		if _, err := k.Open("x", sealed[:i], id); err == nil {
			t.Errorf("%d bytes are enough", i)
		}
	}
	if _, err := k.Open("x", append(bytes.Clone(sealed), 0), id); err == nil {
		t.Error("a byte may be added")
	}
	if _, err := k.Open("x", sealed, idOf(keyOf("b"))); err == nil {
		t.Error("another key opens it")
	}
	if _, err := k.Open("x", sealed, 7); jackfield.CodeOf(err) != jackfield.Unavailable || !strings.Contains(err.Error(), "00000007") {
		t.Error("of a key that nobody has:", err)
	}
}

func TestAGatewayThatKeepsNothingSaysSo(t *testing.T) {
	var k *Keys
	if _, _, err := k.Seal("x", []byte("secret")); jackfield.CodeOf(err) != jackfield.Unavailable {
		t.Error(err)
	}
	if _, err := k.Open("x", []byte("secret"), 1); jackfield.CodeOf(err) != jackfield.Unavailable {
		t.Error(err)
	}
}

// A data key of its own: what is sealed with the master key itself is the data key,
// and no two values have the same.
func TestEachValueHasADataKeyOfItsOwn(t *testing.T) {
	k := keys(t, "a")
	var wrapped [2][]byte
	for i := range wrapped {
		sealed, _, err := k.Seal("x", []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		n := int(sealed[2])<<8 | int(sealed[3])
		wrapped[i] = sealed[4 : 4+n]
	}
	if bytes.Equal(wrapped[0], wrapped[1]) || len(wrapped[0]) < 32 {
		t.Errorf("%x and %x", wrapped[0], wrapped[1])
	}
}

func TestMissingKeysAreNamedWithWhatHangsOnThemAndWhatToDo(t *testing.T) {
	a, b, c := idOf(keyOf("a")), idOf(keyOf("b")), idOf(keyOf("c"))
	k := keys(t, "a")
	if err := k.Check(map[uint32]int{a: 10, b: 0}); err != nil {
		t.Error(err)
	}
	if err := k.Check(nil); err != nil {
		t.Error(err)
	}
	err := k.Check(map[uint32]int{a: 10, b: 3, c: 5})
	if jackfield.CodeOf(err) != jackfield.Invalid {
		t.Fatal(err)
	}
	for _, want := range []string{KeyID(b) + " (3 sealed)", KeyID(c) + " (5 sealed)", "only " + KeyID(a), "add them to JACKFIELD_MASTER_KEY", "docs/security.md"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	made, err := Load(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Check(map[uint32]int{b: 1}); err == nil || !strings.Contains(err.Error(), "made anew just now") {
		t.Error(err)
	}
}

func TestAnIDIsEightHexDigitsOfTheKeysSum(t *testing.T) {
	// sha256 of 32 times "a" begins with 3ba3f5f4.
	if got := KeyID(idOf(keyOf("a"))); got != "3ba3f5f4" {
		t.Error(got)
	}
	if got := KeyID(15); got != "0000000f" {
		t.Error(got)
	}
}

// shelf is a store of sealed records.
type shelf struct {
	records map[record.Ref]record.Record
	before  func(r record.Record) error // Reseal
}

func (s *shelf) SealedWith(_ context.Context, not uint32, most int) ([]record.Record, error) {
	var out []record.Record
	for _, r := range s.records {
		if r.Seal != 0 && r.Seal != not {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b record.Record) int { return cmp.Compare(a.ID, b.ID) })
	return out[:min(len(out), most)], nil
}

func (s *shelf) Reseal(_ context.Context, r record.Record, sealed []byte, key uint32) error {
	if s.before != nil {
		if err := s.before(r); err != nil {
			return err
		}
	}
	now := s.records[r.Ref]
	if now.Revision != r.Revision {
		return (&record.Conflict{Ref: r.Ref, Current: now.Revision}).AsError()
	}
	now.Sealed, now.Seal = sealed, key
	s.records[r.Ref] = now
	return nil
}

func fill(t *testing.T, k *Keys, n int) *shelf {
	t.Helper()
	s := &shelf{records: map[record.Ref]record.Record{}}
	for i := range n {
		r := record.Record{Ref: record.Ref{Kind: record.Variable, ID: fmt.Sprintf("%04d", i)}, Revision: uint64(i + 1)}
		var err error
		if r.Sealed, r.Seal, err = k.Seal(r.Bind(), []byte(r.ID)); err != nil {
			t.Fatal(err)
		}
		s.records[r.Ref] = r
	}
	return s
}

func (s *shelf) wantOpen(t *testing.T, k *Keys, but ...string) {
	t.Helper()
	for ref, r := range s.records {
		if slices.Contains(but, ref.ID) {
			continue
		}
		if plain, err := k.Open(r.Bind(), r.Sealed, r.Seal); err != nil || string(plain) != ref.ID || r.Revision == 0 {
			t.Errorf("%s: %q, %v", ref.ID, plain, err)
		}
	}
}

func TestAPassSealsEverythingWithTheFirstKey(t *testing.T) {
	s := fill(t, keys(t, "o"), 3*resealAtOnce+7)
	n, err := keys(t, "n", "o").Reseal(t.Context(), s)
	if err != nil || n != len(s.records) {
		t.Fatal(n, err)
	}
	s.wantOpen(t, keys(t, "n")) // without the old key
	if n, err := keys(t, "n").Reseal(t.Context(), s); n != 0 || err != nil {
		t.Error("a second pass has something to do:", n, err)
	}
}

func TestAPassLeavesWhatDoesNotOpenAndDoesTheRest(t *testing.T) {
	s := fill(t, keys(t, "o"), 3*resealAtOnce)
	// More than a batch of them, in front of the others.
	for i := range resealAtOnce + 20 {
		ref := record.Ref{Kind: record.Variable, ID: fmt.Sprintf("%04d", i)}
		r := s.records[ref]
		r.Sealed = bytes.Clone(r.Sealed)
		r.Sealed[len(r.Sealed)-1] ^= 1
		s.records[ref] = r
	}
	k := keys(t, "n", "o")
	n, err := k.Reseal(t.Context(), s)
	if n != 2*resealAtOnce-20 || err == nil || !strings.Contains(err.Error(), `variable "0000" is not sealed anew`) {
		t.Error(n, err)
	}
}

func TestAPassLeavesARecordThatChangesMeanwhileToItsWriter(t *testing.T) {
	k := keys(t, "n", "o")
	s := fill(t, keys(t, "o"), 20)
	changing := record.Ref{Kind: record.Variable, ID: "0003"}
	s.before = func(r record.Record) error {
		if now := s.records[changing]; r.Ref == changing && now.Revision == 4 {
			now.Revision = 99 // by a replica that seals with the old key still
			s.records[changing] = now
		}
		return nil
	}
	n, err := k.Reseal(t.Context(), s)
	if err != nil || n != 20 || s.records[changing].Revision != 99 {
		t.Error(n, err, s.records[changing].Revision)
	}
	s.wantOpen(t, keys(t, "n"))

	gone := fill(t, keys(t, "o"), 3)
	gone.before = func(r record.Record) error { return (&record.Conflict{Ref: r.Ref}).AsError() }
	if n, err := k.Reseal(t.Context(), gone); n != 0 || err != nil {
		t.Error(n, err)
	}
}

func TestAPassEndsWithTheStoreOrItsContext(t *testing.T) {
	k := keys(t, "n", "o")
	s := fill(t, keys(t, "o"), 20)
	away := errors.New("away")
	s.before = func(r record.Record) error {
		if r.ID == "0005" {
			return away
		}
		return nil
	}
	if n, err := k.Reseal(t.Context(), s); n != 5 || !errors.Is(err, away) {
		t.Error(n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.before = func(r record.Record) error {
		if r.ID == "0009" {
			cancel()
		}
		return ctx.Err()
	}
	if n, err := k.Reseal(ctx, s); n != 4 || !errors.Is(err, context.Canceled) {
		t.Error(n, err)
	}
	s.before = nil
	if n, err := k.Reseal(t.Context(), s); n != 11 || err != nil {
		t.Error("the rest:", n, err)
	}
}

func FuzzNothingOpensButWhatWasSealed(f *testing.F) {
	k := keys(f, "a", "b")
	f.Add("bind", []byte("secret"), "", []byte{0, 0, 0, 1, 2}, uint(0), byte(1))
	f.Add("", []byte(nil), "bind", []byte{0xff, 0xff, 0xff, 0xff, 2}, uint(70), byte(0x80))
	f.Add("variable\x00user:a", []byte("x"), "variable\x00user:b", []byte(nil), uint(3), byte(0))
	f.Fuzz(func(t *testing.T, bind string, plain []byte, other string, junk []byte, at uint, flip byte) {
		sealed, id, err := k.Seal(bind, plain)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.Open(bind, sealed, id); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%q, %v", got, err)
		}
		if got, err := k.Open(other, sealed, id); (err == nil) != (other == bind) {
			t.Fatalf("with the bind %q: %q, %v", other, got, err)
		}
		for _, in := range [][]byte{junk, append(junk, sealed...), append(sealed, junk...), changed(sealed, at, flip)} {
			if got, err := k.Open(bind, in, id); (err == nil) != bytes.Equal(in, sealed) {
				t.Fatalf("%x: %q, %v", in, got, err)
			}
		}
	})
}

func changed(sealed []byte, at uint, flip byte) []byte {
	out := bytes.Clone(sealed)
	out[at%uint(len(out))] ^= flip
	return out
}
